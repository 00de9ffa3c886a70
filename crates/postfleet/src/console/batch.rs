//! Commands without a terminal: standard output is exactly the server's output, everything else goes to
//! standard error.

use std::io::{self, BufRead, IsTerminal, Write};
use std::process::ExitCode;
use std::sync::atomic::AtomicBool;

use postfleet_console::{Form, Status, error_message, pretty_json};

use super::session::Session;
use super::{ConsoleOptions, complain, exit};

/// Runs the command of the arguments, or each line of standard input.
pub(super) fn run(mut session: Session, options: &ConsoleOptions) -> ExitCode {
    let mut first_failure = 0;
    if options.command.is_empty() {
        for line in io::stdin().lock().lines() {
            let Ok(line) = line else {
                complain("Standard input is not UTF-8; stopped.");
                first_failure = if first_failure == 0 { exit::USAGE } else { first_failure };
                break;
            };
            let line = line.trim();
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            if matches!(line, "quit" | "exit") {
                break;
            }
            let code = one(&mut session, line, options.form);
            if first_failure == 0 {
                first_failure = code;
            }
            if code != 0 && !options.go_on {
                break;
            }
        }
    } else {
        first_failure = one(&mut session, options.command.trim(), options.form);
    }
    session.close();
    ExitCode::from(first_failure)
}

/// The form of the answer to `line`, and the line that asks for it.
pub(super) fn in_form(line: &str, form: Form) -> (Form, String) {
    match (line.split([' ', '\t']).next(), form) {
        (Some("json"), _) => (Form::Json, line.into()),
        (Some("xml"), _) => (Form::Xml, line.into()),
        (_, Form::Json) => (form, format!("json {line}")),
        (_, Form::Xml) => (form, format!("xml {line}")),
        (_, Form::Text) => (form, line.into()),
    }
}

/// Runs one line and gives its exit code.
fn one(session: &mut Session, line: &str, form: Form) -> u8 {
    if line == "\\pager" {
        complain("\\pager has no effect without a terminal.");
        return 0;
    }
    let (form, line) = in_form(line, form);
    let mut stdout = io::stdout().lock();
    let pretty = form == Form::Json && stdout.is_terminal();
    let mut kept = Vec::new();
    let mut written = Ok(());
    let outcome = session.run(&line, &AtomicBool::new(false), &mut |bytes| {
        if pretty {
            kept.extend_from_slice(bytes);
        } else if written.is_ok() {
            written = stdout.write_all(bytes);
        }
    });
    let code = match outcome {
        Ok(outcome) if outcome.status == Status::Ok => 0,
        Ok(outcome) => {
            // The envelope of a machine form says itself that the command failed, so it is an answer like any
            // other; people read the message on standard error.
            let text = String::from_utf8_lossy(&outcome.failure);
            if let Some(message) = error_message(form, &text) {
                if pretty {
                    kept.extend_from_slice(&outcome.failure);
                } else if written.is_ok() {
                    written = stdout.write_all(&outcome.failure);
                }
                complain(&message);
            } else if !text.is_empty() {
                complain(text.trim_end_matches('\n'));
            } else {
                complain(outcome.code.map_or("The command failed.", postfleet_console::Code::word));
            }
            outcome.status.exit_code()
        }
        Err(error) => {
            complain(&error.to_string());
            error.exit_code()
        }
    };
    if pretty && written.is_ok() {
        written = stdout.write_all(pretty_json(&String::from_utf8_lossy(&kept)).as_bytes());
    }
    match written.and_then(|()| stdout.flush()) {
        Ok(()) => code,
        // Whoever read our output has seen enough, as in `… | head`.
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => code,
        Err(error) => {
            complain(&format!("Cannot write the output: {error}."));
            if code == 0 { 1 } else { code }
        }
    }
}
