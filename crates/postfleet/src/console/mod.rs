//! The console's client: one command, a file of commands, or a session at a terminal.
//!
//! The language and the protocol are `postfleet-console`'s; here are the sockets and the terminal.
//!
//! ```text
//! interactive ─┐                 ┌─ connection ── control socket
//!              ├── session ──────┤
//! batch ───────┘   (reconnects)  └─ postfleet_console::client (framing)
//! ```

mod batch;
mod connection;
mod endpoint;
mod history;
mod interactive;
mod options;
mod pager;
mod prompt;
mod session;

use std::io::{IsTerminal, Write};
use std::path::Path;
use std::process::ExitCode;

use endpoint::Endpoint;
pub(crate) use options::ConsoleOptions;
use session::Session;

/// Exit codes that no command status has.
mod exit {
    /// Wrong use of the program.
    pub(super) const USAGE: u8 = 2;
    /// No connection.
    pub(super) const UNREACHABLE: u8 = 3;
    /// The login failed, or there was nothing to log in with.
    pub(super) const NOT_LOGGED_IN: u8 = 4;
    /// The connection was lost, or the time ran out, while a command ran: its outcome is not known.
    pub(super) const UNKNOWN_OUTCOME: u8 = 6;
}

/// Reads the arguments behind `postfleet console` and runs them.
pub(crate) fn main(arguments: impl IntoIterator<Item = String>) -> ExitCode {
    match options::parse(arguments, |name| std::env::var(name).ok()) {
        Ok(options::Parsed::Run(options)) => run(*options),
        Ok(options::Parsed::Show(text)) => {
            let shown = std::io::stdout().lock().write_all(text.as_bytes());
            ExitCode::from(u8::from(shown.is_err()))
        }
        Err(problem) => {
            complain(&format!("postfleet console: {problem}\nTry 'postfleet console --help'."));
            ExitCode::from(exit::USAGE)
        }
    }
}

/// Opens the console of a demo node: a session at a terminal. The prompt names the node, not its long path.
pub(crate) fn open(socket: &Path) -> ExitCode {
    run(ConsoleOptions {
        endpoint: Endpoint::Unix(socket.to_path_buf()),
        prompt: Some("%t %p(%n)> ".into()),
        ..ConsoleOptions::default()
    })
}

/// Runs the console and gives the exit code of section "Exit codes" of docs/console.md.
pub(crate) fn run(options: ConsoleOptions) -> ExitCode {
    if let Some(refusal) = options.endpoint.refusal() {
        complain(&refusal);
        return ExitCode::from(exit::USAGE);
    }
    if let Some(user) = options.user.as_deref().or_else(|| options.endpoint.user()) {
        complain(&format!(
            "Cannot log in as '{user}': this version has no password logins. Use the node's Unix socket, \
             where the operating system says who you are."
        ));
        return ExitCode::from(exit::NOT_LOGGED_IN);
    }
    let at_terminal = std::io::stdin().is_terminal() && std::io::stdout().is_terminal();
    let session = match Session::open(options.endpoint.clone(), options.timeout) {
        Ok(session) => session,
        Err(error) => {
            complain(&error.to_string());
            return ExitCode::from(error.exit_code());
        }
    };
    if options.command.is_empty() && at_terminal {
        interactive::run(session, &options)
    } else {
        batch::run(session, &options)
    }
}

/// Tells the operator on standard error. When even that is closed, the exit code has to do.
fn complain(text: &str) {
    let _ = writeln!(std::io::stderr().lock(), "{text}");
}
