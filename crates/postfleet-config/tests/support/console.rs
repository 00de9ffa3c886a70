//! A process with one running configuration, and its consoles.

use postfleet_config::live::{Command, Errand, Refusal, Running, Session, Step};
use postfleet_config::{Config, MemoryFiles, Role};

use crate::support::{MAIN, load_with, request};

pub(crate) struct Process {
    pub(crate) files: MemoryFiles,
    pub(crate) running: Running,
}

#[allow(dead_code, reason = "each test file uses a part")]
impl Process {
    pub(crate) fn new(text: &str) -> Self {
        Self::with(MemoryFiles::new().with(MAIN, text))
    }

    pub(crate) fn with(files: MemoryFiles) -> Self {
        let outcome = load_with(files.clone());
        let report = outcome.report();
        let config = outcome.config.unwrap_or_else(|| panic!("{report}"));
        Self { files, running: Running::start(config) }
    }

    /// What one session prints; a failure as `! TEXT`.
    pub(crate) fn on(&mut self, session: &mut Session, line: &str) -> String {
        match self.try_on(session, line) {
            Ok(lines) => lines.join("\n"),
            Err(refusal) => format!("! {refusal}"),
        }
    }

    pub(crate) fn try_on(&mut self, session: &mut Session, line: &str) -> Result<Vec<String>, Refusal> {
        let command = Command::parse(line, Role::Node)?;
        assert_eq!(command.errand(), Errand::Session, "{line}");
        match session.perform(&command, &self.running)? {
            Step::Done(reply) => Ok(reply.lines),
            Step::Activate(activation) => {
                self.running.activate(activation.proposal).expect("nobody else changes it");
                session.activated(activation.commit);
                Ok(activation.reply.lines)
            }
        }
    }

    /// The same in a session of its own.
    pub(crate) fn run(&mut self, line: &str) -> String {
        self.on(&mut Session::default(), line)
    }

    /// `config writeback`, with the files replaced.
    pub(crate) fn write_back(&mut self, path: Option<&str>) -> String {
        match self.running.write_back(&self.files, &request(), path) {
            Err(refusal) => format!("! {refusal}"),
            Ok(done) => {
                for file in &done.replacements {
                    self.files = self.files.clone().with(&file.path, file.content.clone());
                }
                self.running.saved(done).lines.join("\n")
            }
        }
    }

    pub(crate) fn file(&self, path: &str) -> String {
        use postfleet_config::Files as _;
        String::from_utf8(self.files.read(path).expect("it is there")).expect("it is text")
    }

    pub(crate) fn reload(&mut self) {
        let config = Config::load(&self.files, &request()).config.expect("the files are right");
        let proposal = self.running.reload(config);
        self.running.activate(proposal).expect("nobody else changes it");
    }

    /// Lines of `command`, then what is printed, behind two blanks less than the text is indented by.
    pub(crate) fn check(&mut self, line: &str, expected: &str) {
        assert_eq!(self.run(line), expected, "{line}");
    }
}
