//! Commands over a connection that is renewed when it has idled out.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use postfleet_console::client::{self, Greeting, ProtocolError, Unit};
use postfleet_console::{COMMAND_BYTES_MAX, Code, Status};
use thiserror::Error;

use super::connection::{ConnectError, Connection, Received};
use super::endpoint::Endpoint;
use super::exit;

/// Longest wait for candidates: a Tab must not hang.
const COMPLETION_TIMEOUT: Duration = Duration::from_secs(2);

/// How a command ended.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Outcome {
    pub(super) status: Status,
    pub(super) code: Option<Code>,
    /// What the server said about a failure.
    pub(super) failure: Vec<u8>,
}

/// Why the end of a command is not known, or why it was not begun.
#[derive(Debug, Error)]
pub(super) enum SessionError {
    /// Not begun: there is no connection.
    #[error("{0}")]
    Connect(#[from] ConnectError),
    /// Not begun.
    #[error("Command line too long; the limit is {COMMAND_BYTES_MAX} bytes.")]
    TooLong,
    /// Not begun: the transaction that the command was meant for has gone with the connection.
    #[error("Connection lost; transaction discarded.")]
    Discarded,
    /// Begun.
    #[error("Connection lost while the command was running; whether it took effect is not known.")]
    Lost,
    /// Begun.
    #[error("No answer within {0} seconds; whether the command took effect is not known.")]
    TimedOut(f64),
    /// Begun.
    #[error("Connection closed: {0}.")]
    Protocol(ProtocolError),
}

impl SessionError {
    pub(super) fn exit_code(&self) -> u8 {
        match self {
            Self::Connect(error) => error.exit_code(),
            Self::TooLong => exit::USAGE,
            Self::Discarded | Self::Lost | Self::TimedOut(_) | Self::Protocol(_) => exit::UNKNOWN_OUTCOME,
        }
    }
}

/// A console session.
#[derive(Debug)]
pub(super) struct Session {
    endpoint: Endpoint,
    timeout: Duration,
    connection: Option<Connection>,
    greeting: Greeting,
    last_id: u64,
    /// A configuration transaction is open on the connection.
    transaction: bool,
}

impl Session {
    pub(super) fn open(endpoint: Endpoint, timeout: Duration) -> Result<Self, ConnectError> {
        let connection = Connection::open(&endpoint)?;
        let greeting = connection.greeting.clone();
        Ok(Self { endpoint, timeout, connection: Some(connection), greeting, last_id: 0, transaction: false })
    }

    pub(super) fn endpoint(&self) -> &Endpoint {
        &self.endpoint
    }

    /// Whether a configuration transaction is open.
    pub(super) const fn in_transaction(&self) -> bool {
        self.transaction
    }

    /// What the server said about itself.
    pub(super) fn greeting(&self) -> &Greeting {
        &self.greeting
    }

    /// Runs one command and gives its output to `sink` as it arrives. The last piece is held back until the end
    /// says whether it is output or the text of a failure. When `interrupt` becomes true the server is asked to
    /// end the command; when it does so again, the connection is closed.
    pub(super) fn run(
        &mut self,
        line: &str,
        interrupt: &AtomicBool,
        sink: &mut dyn FnMut(&[u8]),
    ) -> Result<Outcome, SessionError> {
        if line.len() > COMMAND_BYTES_MAX {
            return Err(SessionError::TooLong);
        }
        let timeout = self.timeout;
        let id = self.next_id();
        let result = self.exchange(id, &client::run(id, line), timeout, interrupt, sink);
        if matches!(result, Err(SessionError::Lost | SessionError::TimedOut(_) | SessionError::Protocol(_))) {
            self.connection = None;
            self.transaction = false;
        } else if matches!(&result, Ok(outcome) if outcome.status == Status::Ok) {
            self.transaction = transaction_after(line).unwrap_or(self.transaction);
        }
        result
    }

    /// The output of a command that the program runs for itself.
    pub(super) fn ask(&mut self, line: &str) -> Result<Vec<u8>, SessionError> {
        let mut output = Vec::new();
        self.run(line, &AtomicBool::new(false), &mut |bytes| output.extend_from_slice(bytes))?;
        Ok(output)
    }

    /// Candidates for the last word of `line`; none when the server does not answer soon.
    pub(super) fn complete(&mut self, line: &str) -> Vec<String> {
        let id = self.next_id();
        let mut output = Vec::new();
        let request = client::complete(id, line);
        let never = AtomicBool::new(false);
        let answer = self
            .exchange(id, &request, COMPLETION_TIMEOUT, &never, &mut |bytes| output.extend_from_slice(bytes));
        match answer {
            Ok(_) => String::from_utf8_lossy(&output).lines().map(String::from).collect(),
            Err(_) => {
                self.connection = None;
                Vec::new()
            }
        }
    }

    /// Says goodbye. The server does the same to a connection that just ends.
    pub(super) fn close(&mut self) {
        if let Some(mut connection) = self.connection.take() {
            connection.send(client::BYE);
        }
    }

    fn next_id(&mut self) -> u64 {
        self.last_id += 1;
        self.last_id
    }

    /// The connection, made anew when the server has closed the old one while it was idle.
    fn connection(&mut self) -> Result<&mut Connection, SessionError> {
        let mut usable = self.connection.take();
        if usable.as_mut().is_some_and(Connection::is_closed) {
            usable = None;
        }
        if usable.is_none() && std::mem::take(&mut self.transaction) {
            return Err(SessionError::Discarded);
        }
        let open = match usable {
            Some(connection) => connection,
            None => Connection::open(&self.endpoint)?,
        };
        Ok(self.connection.insert(open))
    }

    fn exchange(
        &mut self,
        id: u64,
        request: &[u8],
        timeout: Duration,
        interrupt: &AtomicBool,
        sink: &mut dyn FnMut(&[u8]),
    ) -> Result<Outcome, SessionError> {
        let connection = self.connection()?;
        if !connection.send(request) {
            return Err(SessionError::Lost);
        }
        let deadline = Instant::now() + timeout;
        let mut held = Vec::new();
        let mut cancelled = false;
        loop {
            if interrupt.swap(false, Ordering::Relaxed) {
                if cancelled || !connection.send(&client::cancel(id)) {
                    return Err(SessionError::Lost);
                }
                cancelled = true;
            }
            match connection.receive() {
                Received::Unit(Unit::Out { id: of, bytes }) if of == id => {
                    sink(&std::mem::replace(&mut held, bytes));
                }
                Received::Unit(Unit::End { id: of, status, code }) if of == id => {
                    if status == Status::Ok {
                        sink(&std::mem::take(&mut held));
                    }
                    return Ok(Outcome { status, code, failure: held });
                }
                // Of an earlier command that was given up, or the answer to a no-operation.
                Received::Unit(_) => {}
                Received::Nothing if Instant::now() < deadline => {}
                Received::Nothing => return Err(SessionError::TimedOut(timeout.as_secs_f64())),
                Received::Closed => return Err(SessionError::Lost),
                Received::Broken(error) => return Err(SessionError::Protocol(error)),
            }
        }
    }
}

/// Whether a transaction is open after a command that succeeded; `None`: the command has nothing to do with it.
fn transaction_after(line: &str) -> Option<bool> {
    let mut words = line.split_whitespace().skip_while(|word| matches!(*word, "json" | "xml"));
    match (words.next(), words.next()) {
        (Some("config"), Some("begin")) => Some(true),
        (Some("config"), Some("commit" | "rollback")) => Some(false),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn transactions_are_followed() {
        assert_eq!(transaction_after("config begin"), Some(true));
        assert_eq!(transaction_after("json  config\tbegin from scratch"), Some(true));
        assert_eq!(transaction_after("config commit"), Some(false));
        assert_eq!(transaction_after(" config rollback "), Some(false));
        assert_eq!(transaction_after("config replay"), None);
        assert_eq!(transaction_after("help config begin"), None);
    }
}
