//! Where in the dialogue a connection is: the numbers and words of the logs.

use core::time::Duration;

use super::settings::Timeouts;

/// The stage of an outbound connection, as `domain` and the mainlog number it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[allow(missing_docs, reason = "`as_str` says what each one is")]
#[repr(u8)]
pub enum Stage {
    NotConnected = 0,
    Idle = 1,
    Mail = 2,
    AfterMail = 3,
    Recipient = 4,
    AfterRecipient = 5,
    Data = 6,
    AfterData = 7,
    Body = 8,
    Confirmation = 9,
    Ehlo = 10,
    AfterEhlo = 11,
    Banner = 12,
    Reset = 13,
    AfterReset = 14,
    StartTls = 15,
    AfterStartTls = 16,
    Handshake = 17,
    Unknown = 22,
}

impl Stage {
    /// The number of the stage.
    #[must_use]
    pub const fn number(self) -> u8 {
        self as u8
    }

    /// The words for the stage.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::NotConnected => "while not connected",
            Self::Idle => "while idle",
            Self::Mail => "during MAIL FROM",
            Self::AfterMail => "after MAIL FROM",
            Self::Recipient => "during RCPT TO",
            Self::AfterRecipient => "after RCPT TO",
            Self::Data => "during DATA",
            Self::AfterData => "after DATA",
            Self::Body => "while sending BODY",
            Self::Confirmation => "reading confirmation",
            Self::Ehlo => "during EHLO",
            Self::AfterEhlo => "after EHLO",
            Self::Banner => "reading BANNER",
            Self::Reset => "during RSET",
            Self::AfterReset => "after RSET",
            Self::StartTls => "during STARTTLS",
            Self::AfterStartTls => "after STARTTLS",
            Self::Handshake => "handshaking TLS",
            Self::Unknown => "in unknown state",
        }
    }

    /// The word of `no <STAGE> response` and `send <STAGE> failed`.
    pub(crate) const fn word(self) -> &'static str {
        match self {
            Self::NotConnected | Self::Idle | Self::Unknown => "QUIT",
            Self::Mail | Self::AfterMail => "MAIL FROM",
            Self::Recipient | Self::AfterRecipient => "RCPT TO",
            Self::Data | Self::AfterData => "DATA",
            Self::Body | Self::Confirmation => "BODY",
            Self::Ehlo | Self::AfterEhlo => "HELO/EHLO",
            Self::Banner => "banner",
            Self::Reset | Self::AfterReset => "RSET",
            Self::StartTls | Self::AfterStartTls | Self::Handshake => "STARTTLS",
        }
    }

    /// How long this stage may take.
    pub(crate) const fn limit(self, timeouts: &Timeouts) -> Duration {
        match self {
            Self::NotConnected => timeouts.connect,
            Self::Idle => timeouts.idle,
            Self::Mail | Self::AfterMail => timeouts.mail,
            Self::Recipient | Self::AfterRecipient => timeouts.recipient,
            Self::Data | Self::AfterData | Self::Body | Self::Confirmation => timeouts.body,
            Self::Ehlo
            | Self::AfterEhlo
            | Self::Banner
            | Self::StartTls
            | Self::AfterStartTls
            | Self::Handshake => timeouts.ehlo,
            Self::Reset | Self::AfterReset | Self::Unknown => timeouts.reset,
        }
    }
}
