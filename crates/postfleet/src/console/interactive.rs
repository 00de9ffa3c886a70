//! A session at a terminal.

use std::cell::RefCell;
use std::io::{self, IsTerminal, Write};
use std::path::PathBuf;
use std::process::ExitCode;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use postfleet_console::{Form, Status, pretty_json};
use rustyline::completion::{Completer, Pair};
use rustyline::error::ReadlineError;
use rustyline::highlight::Highlighter;
use rustyline::hint::Hinter;
use rustyline::history::FileHistory;
use rustyline::validate::Validator;
use rustyline::{CompletionType, Config, Context, Editor, Helper};

use super::batch::in_form;
use super::prompt::{Prompt, product_of};
use super::session::{Session, SessionError};
use super::{ConsoleOptions, complain, exit, history, pager};

type Shared = Rc<RefCell<Session>>;

/// Asks the server what may stand under the cursor.
struct FromServer(Shared);

impl Completer for FromServer {
    type Candidate = Pair;

    fn complete(&self, line: &str, at: usize, _: &Context<'_>) -> rustyline::Result<(usize, Vec<Pair>)> {
        let typed = line.get(..at).unwrap_or(line);
        let start = typed.rfind([' ', '\t']).map_or(0, |blank| blank + 1);
        let found = self.0.borrow_mut().complete(typed);
        let only = found.len() == 1;
        let pairs = found.into_iter().map(|word| Pair {
            replacement: if only { format!("{word} ") } else { word.clone() },
            display: word,
        });
        Ok((start, pairs.collect()))
    }
}

impl Hinter for FromServer {
    type Hint = String;
}

impl Highlighter for FromServer {}
impl Validator for FromServer {}
impl Helper for FromServer {}

struct Terminal {
    session: Shared,
    interrupt: Arc<AtomicBool>,
    form: Form,
    paging: bool,
    colour: bool,
}

/// Reads and runs lines until the operator leaves.
pub(super) fn run(mut session: Session, options: &ConsoleOptions) -> ExitCode {
    // The banner names the product, which the prompt shows.
    let banner = match session.ask("version") {
        Ok(banner) => String::from_utf8_lossy(&banner).into_owned(),
        Err(error) => {
            complain(&error.to_string());
            return ExitCode::from(error.exit_code());
        }
    };
    if !options.quiet {
        show(banner.as_bytes());
    }
    let greeting = session.greeting().clone();
    let product = product_of(&banner).unwrap_or("postfleet").to_string();
    let prompt = Prompt::new(
        options.prompt.clone(),
        greeting.role,
        product,
        session.endpoint(),
        greeting.node.clone(),
    );
    let interrupt = Arc::new(AtomicBool::new(false));
    if let Err(error) = signal_hook::flag::register(signal_hook::consts::SIGINT, Arc::clone(&interrupt)) {
        complain(&format!("Ctrl-C will end the console, not only the command: {error}."));
    }
    let session = Rc::new(RefCell::new(session));
    let home = std::env::var_os("HOME").map(PathBuf::from);
    let config = Config::builder()
        .edit_mode(home.as_deref().map_or(rustyline::EditMode::Emacs, history::edit_mode))
        .completion_type(CompletionType::List)
        .auto_add_history(false)
        .max_history_size(history::LINES_MAX)
        .and_then(|config| config.history_ignore_dups(true))
        .map(|config| config.build());
    let editor = config.and_then(Editor::<FromServer, FileHistory>::with_config);
    let mut editor = match editor {
        Ok(editor) => editor,
        Err(error) => {
            complain(&format!("Cannot use the terminal: {error}. Give the command as arguments instead."));
            return ExitCode::from(exit::USAGE);
        }
    };
    editor.set_helper(Some(FromServer(Rc::clone(&session))));
    let kept = home.as_deref().map(history::file).filter(|file| history::protect(file).is_ok());
    if let Some(file) = &kept {
        // A history that cannot be read is an empty one.
        let _ = editor.load_history(file);
    }
    let mut terminal = Terminal {
        session: Rc::clone(&session),
        interrupt,
        form: options.form,
        paging: false,
        colour: io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none(),
    };
    let code = terminal.converse(&mut editor, &prompt);
    if let Some(file) = &kept {
        let saved = editor.append_history(file).and_then(|()| Ok(history::protect(file)?));
        if let Err(error) = saved {
            complain(&format!("History not saved to {}: {error}.", file.display()));
        }
    }
    session.borrow_mut().close();
    ExitCode::from(code)
}

impl Terminal {
    /// Gives the exit code of the session: what commands came to has been seen by the operator.
    fn converse(&mut self, editor: &mut Editor<FromServer, FileHistory>, prompt: &Prompt) -> u8 {
        loop {
            // Completion borrows the session while the line is read.
            let shown = prompt.draw(self.session.borrow().in_transaction());
            let line = match editor.readline(&shown) {
                Ok(line) => line,
                Err(ReadlineError::Interrupted) => continue,
                Err(ReadlineError::Eof) => return 0,
                Err(error) => {
                    complain(&format!("Cannot read from the terminal: {error}."));
                    return exit::USAGE;
                }
            };
            if history::may_keep(&line) {
                // The line has already been read; a history that does not take it changes nothing.
                let _ = editor.add_history_entry(&line);
            }
            match line.trim() {
                "" => {}
                comment if comment.starts_with('#') => {}
                "quit" | "exit" => return 0,
                "\\pager" => {
                    self.paging = !self.paging;
                    show(if self.paging { b"Pager is on.\n" } else { b"Pager is off.\n" });
                }
                "cluster reset" if !agreed(editor, "Reset cluster membership? [y/N] ") => {}
                command => self.run(command),
            }
        }
    }

    fn run(&mut self, command: &str) {
        let (form, line) = in_form(command, self.form);
        let whole = self.paging || form == Form::Json;
        let mut kept = Vec::new();
        self.interrupt.store(false, Ordering::Relaxed);
        let outcome = self.session.borrow_mut().run(&line, &self.interrupt, &mut |bytes| {
            if whole {
                kept.extend_from_slice(bytes);
            } else {
                show(bytes);
            }
        });
        let pretty = |text: &[u8]| match form {
            Form::Json => pretty_json(&String::from_utf8_lossy(text)).into_bytes(),
            Form::Text | Form::Xml => text.to_vec(),
        };
        if !kept.is_empty() {
            let text = pretty(&kept);
            if self.paging {
                if let Err(error) = pager::show(&text) {
                    complain(&format!("Cannot show the output: {error}."));
                }
            } else {
                show(&text);
            }
        }
        match outcome {
            Ok(outcome) if outcome.status == Status::Ok => {}
            Ok(outcome) if outcome.code == Some(postfleet_console::Code::Cancelled) => show(b"^C\n"),
            Ok(outcome) => self.warn(String::from_utf8_lossy(&pretty(&outcome.failure)).trim_end()),
            Err(error @ SessionError::Lost) => {
                if self.interrupt.swap(false, Ordering::Relaxed) {
                    show(b"^C\n");
                }
                self.warn(&error.to_string());
            }
            Err(error) => self.warn(&error.to_string()),
        }
    }

    fn warn(&self, text: &str) {
        if self.colour {
            complain(&format!("\x1b[31m{text}\x1b[0m"));
        } else {
            complain(text);
        }
    }
}

fn agreed(editor: &mut Editor<FromServer, FileHistory>, question: &str) -> bool {
    editor.readline(question).is_ok_and(|answer| matches!(answer.trim(), "y" | "Y" | "yes"))
}

/// Writes to the terminal. When it is gone, the next read ends the session.
fn show(bytes: &[u8]) {
    let mut stdout = io::stdout().lock();
    let _ = stdout.write_all(bytes).and_then(|()| stdout.flush());
}
