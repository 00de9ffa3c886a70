//! Entry point for fuzzers: any lines, typed at a running process.

use alloc::string::{String, ToString as _};

use super::command::{Command, Errand, redacted};
use super::complete::completions;
use super::running::Running;
use super::session::{Session, Step};
use crate::config::Config;
use crate::files::{LoadRequest, MemoryFiles, Role};

const MAIN: &str = "/etc/t/ecelerity.conf";

const TEXT: &str = "# main\nIdle_Timeout = 7 # why\nDomain \"a.example\" { Retry_Interval = 9 }\n\
                    include \"more.conf\"\nreadonly_include \"base.conf\"\n";
const MORE: &str = "Domain \"/a|b/\" {\n  Gateway = \"b.example\"\n}\nESMTP_Listener { Listen \":25\" {} }\n";
const BASE: &str = "Max_Retries = 3\nBinding_Group \"g\" { Binding \"b\" {} }\n";

/// Runs every line of the bytes as a command of one session, and writes back what they changed. It must not panic,
/// whatever the bytes, and what is written must be what runs.
pub fn fuzz_entry(bytes: &[u8]) {
    let mut files =
        MemoryFiles::new().with(MAIN, TEXT).with("/etc/t/more.conf", MORE).with("/etc/t/base.conf", BASE);
    let request = LoadRequest { main: Some(MAIN.to_string()), ..LoadRequest::default() };
    let Some(config) = Config::load(&files, &request).config else { return };
    let mut running = Running::start(config);
    let mut session = Session::default();
    for line in String::from_utf8_lossy(bytes).lines() {
        let _ = completions(line, running.configured());
        let _ = redacted(line, Role::Node);
        let Ok(command) = Command::parse(line, Role::Node) else { continue };
        if command.errand() != Errand::Session {
            continue;
        }
        if let Ok(Step::Activate(activation)) = session.perform(&command, &running) {
            let commit = activation.commit;
            if running.activate(activation.proposal).is_ok() {
                session.activated(commit);
            }
        }
    }
    let before = running.unsaved();
    if let Ok(done) = running.write_back(&files, &request, None) {
        for file in &done.replacements {
            files = files.with(&file.path, file.content.clone());
        }
        let reply = running.saved(done);
        assert!(!reply.lines.is_empty(), "a write-back says what it did");
        assert!(running.unsaved() <= before, "a write-back makes nothing unsaved");
    }
    if running.unsaved() == 0 {
        let again = Config::load(&files, &request).config;
        let same = again.is_some_and(|again| {
            super::Change::between(running.configured(), &again, alloc::vec::Vec::new()).is_empty()
        });
        assert!(same, "the files say what runs");
    }
}
