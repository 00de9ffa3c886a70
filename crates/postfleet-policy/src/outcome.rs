//! How a run ends.

use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

use crate::fault::Fault;
use crate::host::Class;

/// A reply to the client: a code that is valid, and at least one line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reply {
    code: u16,
    lines: Vec<String>,
}

impl Reply {
    /// A code of three digits that begins with 2, 4 or 5, and a text of one line or several.
    ///
    /// # Errors
    /// Any other code.
    pub fn new(code: &str, text: &str) -> Result<Self, Fault> {
        let three = code.len() == 3 && code.bytes().all(|c| c.is_ascii_digit());
        let first = matches!(code.as_bytes().first(), Some(b'2' | b'4' | b'5'));
        let number = code.parse::<u16>().ok().filter(|_| three && first);
        let Some(code) = number else {
            return Err(Fault::new(format!(
                "'{code}' is not a reply code; expected three digits, the first 2, 4 or 5"
            )));
        };
        // No other line ends may reach the client: a lone CR could be taken for one.
        let clean = |line: &str| line.chars().filter(|c| *c != '\r').collect();
        let lines = text.trim_end_matches(['\r', '\n']).split('\n').map(clean).collect();
        Ok(Self { code, lines })
    }

    /// What a client gets after a runtime error.
    #[must_use]
    pub fn policy_failure() -> Self {
        Self { code: 451, lines: alloc::vec!["4.3.0 temporary policy failure".into()] }
    }

    /// The code.
    #[must_use]
    pub fn code(&self) -> u16 {
        self.code
    }

    /// The lines without the code.
    #[must_use]
    pub fn lines(&self) -> &[String] {
        &self.lines
    }

    /// The lines as they are sent, without their ends.
    #[must_use]
    pub fn rendered(&self) -> Vec<String> {
        let last = self.lines.len().saturating_sub(1);
        let line = |(at, line): (usize, &String)| {
            let mark = if at == last { ' ' } else { '-' };
            format!("{}{mark}{line}", self.code)
        };
        self.lines.iter().enumerate().map(line).collect()
    }

    /// How a counter of such replies is shown.
    #[must_use]
    pub fn class(&self) -> Class {
        match self.code / 100 {
            4 => Class::Temporary,
            5 => Class::Permanent,
            _ => Class::Informational,
        }
    }
}

/// What becomes of the session or the message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Disposition {
    /// The script came to its end: the next slot of the phase runs, and after the last one this is a keep.
    End,
    /// Accepted; no further script of the phase.
    Keep,
    /// As keep, not counted.
    Stop,
    /// Swallowed; the client sees acceptance.
    Discard {
        /// For the log.
        reason: Option<String>,
    },
    /// Refused for good, or a notification to the sender where the client cannot be told any more.
    Reject {
        /// Told to the client or the sender.
        text: String,
    },
    /// Sent on to this address instead.
    Redirect {
        /// The address.
        address: String,
    },
    /// Answered with this.
    Action(Reply),
    /// Answered with this, then closed.
    Disconnect(Reply),
    /// A runtime error ended the script; it has been logged. The command is refused with this.
    Failed(Reply),
}

/// The end of a run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outcome {
    /// What is to be done.
    pub disposition: Disposition,
    /// How long to hold the session before the reply, in milliseconds; all that was asked for, added up.
    pub hold_ms: u64,
}
