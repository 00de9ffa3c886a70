//! The client's end of one control connection.
//!
//! Requests are byte strings made by the functions of this module; what arrives goes through [`Reader`].

use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;

use crate::failure::{Code, Status};
use crate::profile::Role;
use crate::wire::{Buffer, HEADER_BYTES_MAX, OUT_BYTES_MAX, PROTOCOL_VERSION, number};

/// A request to run `line` under a number of the client's choosing. The server takes lines of at most
/// [`COMMAND_BYTES_MAX`](crate::COMMAND_BYTES_MAX) bytes.
#[must_use]
pub fn run(id: u64, line: &str) -> Vec<u8> {
    format!("RUN {id} {}\n{line}", line.len()).into_bytes()
}

/// A request for candidates; `line` is the line up to the cursor.
#[must_use]
pub fn complete(id: u64, line: &str) -> Vec<u8> {
    format!("COMPLETE {id} {}\n{line}", line.len()).into_bytes()
}

/// A request to end the command early.
#[must_use]
pub fn cancel(id: u64) -> Vec<u8> {
    format!("CANCEL {id}\n").into_bytes()
}

/// Keeps the connection from idling out.
pub const NOOP: &[u8] = b"NOOP\n";

/// Ends the connection.
pub const BYE: &[u8] = b"BYE\n";

/// The first line of the server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Greeting {
    /// Node or manager.
    pub role: Role,
    /// Name of the answering node.
    pub node: String,
    /// Its version.
    pub version: String,
    /// Mechanisms to log in with; empty when no password is needed.
    pub mechanisms: Vec<String>,
}

/// One unit from the server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Unit {
    /// The first unit of every connection.
    Greeting(Greeting),
    /// A piece of output.
    Out {
        /// The command's number.
        id: u64,
        /// The piece.
        bytes: Vec<u8>,
    },
    /// A command has ended.
    End {
        /// The command's number.
        id: u64,
        /// How.
        status: Status,
        /// Why, when it did not succeed. A word of a later version is `None`.
        code: Option<Code>,
    },
    /// The answer to a no-operation.
    Ok,
    /// The answer to a login.
    LoggedIn {
        /// As whom.
        user: String,
    },
    /// The login was refused.
    LoginRefused,
    /// The server asks for the next step of a login.
    Challenge {
        /// Base64 text.
        text: String,
    },
}

/// What arrived is not version 1 of the protocol. The server (or whoever answers at that address) is at fault;
/// the connection is of no more use.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ProtocolError {
    /// The first line is no greeting.
    #[error("this is no postfleet control socket (it says '{0}')")]
    Greeting(String),
    /// The greeting names another version.
    #[error("the server speaks version {0} of the control protocol, this client version {PROTOCOL_VERSION}")]
    Version(u32),
    /// A line that version 1 does not have.
    #[error("the server sent a line that is not part of the control protocol: '{0}'")]
    Line(String),
    /// The server did not understand us.
    #[error("the server refused the request: {0}")]
    Refused(String),
    /// A unit beyond the limit.
    #[error("the server sent a unit of {0} bytes; the limit is {OUT_BYTES_MAX}")]
    Length(usize),
}

/// Takes bytes in any split and gives units.
#[derive(Debug, Default)]
pub struct Reader {
    input: Buffer,
    greeted: bool,
    awaited: Option<(u64, usize)>,
}

impl Reader {
    /// A new connection.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes bytes from the server.
    pub fn receive(&mut self, bytes: &[u8]) {
        self.input.push(bytes);
    }

    /// The next unit, when all of it is here. Changes only with [`receive`](Self::receive).
    ///
    /// # Errors
    /// As [`ProtocolError`]; final.
    pub fn poll_unit(&mut self) -> Result<Option<Unit>, ProtocolError> {
        if let Some((id, length)) = self.awaited {
            let Some(bytes) = self.input.take(length) else { return Ok(None) };
            self.awaited = None;
            return Ok(Some(Unit::Out { id, bytes }));
        }
        let Some(line) = self.input.line() else {
            let unused = self.input.unused();
            return if unused.len() > HEADER_BYTES_MAX { Err(self.unexpected(unused)) } else { Ok(None) };
        };
        let Ok(text) = core::str::from_utf8(&line) else { return Err(self.unexpected(&line)) };
        if !self.greeted {
            let greeting = greeting(text)?;
            self.greeted = true;
            return Ok(Some(Unit::Greeting(greeting)));
        }
        let fields: Vec<&str> = text.split(' ').collect();
        let unit = match fields.as_slice() {
            ["OUT", id, length] => match (number(id), number::<usize>(length)) {
                (Some(_), Some(length)) if length > OUT_BYTES_MAX => {
                    return Err(ProtocolError::Length(length));
                }
                (Some(id), Some(length)) => {
                    self.awaited = Some((id, length));
                    return self.poll_unit();
                }
                _ => None,
            },
            ["END", id, status, code @ ..] if code.len() <= 1 => {
                number(id).zip(status.parse().ok()).map(|(id, status)| Unit::End {
                    id,
                    status,
                    code: code.first().and_then(|c| c.parse().ok()),
                })
            }
            ["OK"] => Some(Unit::Ok),
            ["AUTHOK", user] => Some(Unit::LoggedIn { user: user.to_string() }),
            ["AUTHFAIL"] => Some(Unit::LoginRefused),
            ["CHAL", text] => Some(Unit::Challenge { text: text.to_string() }),
            ["BAD", ..] => {
                return Err(ProtocolError::Refused(printable(text.strip_prefix("BAD ").unwrap_or_default())));
            }
            _ => None,
        };
        unit.map(Some).ok_or_else(|| self.unexpected(&line))
    }

    fn unexpected(&self, line: &[u8]) -> ProtocolError {
        let text = printable(&String::from_utf8_lossy(line));
        if self.greeted { ProtocolError::Line(text) } else { ProtocolError::Greeting(text) }
    }
}

/// The beginning of a text, fit for a terminal.
fn printable(text: &str) -> String {
    text.chars().take(80).map(|c| if c.is_control() { '?' } else { c }).collect()
}

/// Fields behind the known ones are left to later versions.
fn greeting(line: &str) -> Result<Greeting, ProtocolError> {
    let wrong = || ProtocolError::Greeting(printable(line));
    let fields: Vec<&str> = line.split(' ').collect();
    let ["POSTFLEET-CONTROL", version, rest @ ..] = fields.as_slice() else { return Err(wrong()) };
    let version: u32 = number(version).ok_or_else(wrong)?;
    if version != PROTOCOL_VERSION {
        return Err(ProtocolError::Version(version));
    }
    let [role, node, version, mechanisms, ..] = rest else { return Err(wrong()) };
    let role = [Role::Node, Role::Manager].into_iter().find(|r| r.word() == *role).ok_or_else(wrong)?;
    let mechanisms = match mechanisms.strip_prefix("AUTH=").ok_or_else(wrong)? {
        "none" => Vec::new(),
        list => list.split(',').map(String::from).collect(),
    };
    Ok(Greeting { role, node: node.to_string(), version: version.to_string(), mechanisms })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn first(bytes: &[u8]) -> Result<Option<Unit>, ProtocolError> {
        let mut reader = Reader::new();
        reader.receive(bytes);
        reader.poll_unit()
    }

    #[test]
    fn greetings() {
        let expected = Greeting {
            role: Role::Manager,
            node: "labrat-3".into(),
            version: "1.0.0".into(),
            mechanisms: ["LOGIN", "SCRAM-SHA-256"].map(String::from).into(),
        };
        let line = b"POSTFLEET-CONTROL 1 manager labrat-3 1.0.0 AUTH=LOGIN,SCRAM-SHA-256 LATER=x\n";
        assert_eq!(first(line), Ok(Some(Unit::Greeting(expected))));
        assert_eq!(first(b"POSTFLEET-CONTROL 2 other things\n"), Err(ProtocolError::Version(2)));
        let error = first(b"220 mx.example ESMTP\x1b[2J\r\n").unwrap_err();
        assert_eq!(
            error.to_string(),
            "this is no postfleet control socket (it says '220 mx.example ESMTP?[2J')"
        );
        assert!(first(&[b'x'; 2000]).is_err());
        assert_eq!(first(b"POSTFLEET"), Ok(None));
    }

    #[test]
    fn nonsense_is_refused() {
        for line in
            ["OUT 1", "OUT x 1", "OUT 1 9999999", "END 1 fine", "END 1 ok a b", "WHAT", "BAD no", "OUT 1 +1"]
        {
            let mut reader = Reader::new();
            reader.receive(b"POSTFLEET-CONTROL 1 node a 1 AUTH=none\n");
            assert!(matches!(reader.poll_unit(), Ok(Some(Unit::Greeting(_)))));
            reader.receive(format!("{line}\n").as_bytes());
            assert!(reader.poll_unit().is_err(), "{line}");
        }
    }
}
