/// When a script runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Phase {
    /// The connection was accepted.
    Accept,
    /// Before the banner.
    Connect,
    /// EHLO or HELO.
    Ehlo,
    /// MAIL FROM.
    Mailfrom,
    /// RCPT TO, each.
    Rcptto,
    /// The message was received, the reply to the final dot is open.
    Data,
    /// Once for a received message, before it is spooled.
    Spool,
    /// Once for each copy to a recipient.
    EachRcpt,
    /// The outbound binding is chosen.
    SetBinding,
}

impl Phase {
    /// All, in the order of a session.
    pub const ALL: [Self; 9] = [
        Self::Accept,
        Self::Connect,
        Self::Ehlo,
        Self::Mailfrom,
        Self::Rcptto,
        Self::Data,
        Self::Spool,
        Self::EachRcpt,
        Self::SetBinding,
    ];

    /// As the configuration and the console write it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Accept => "accept",
            Self::Connect => "connect",
            Self::Ehlo => "ehlo",
            Self::Mailfrom => "mailfrom",
            Self::Rcptto => "rcptto",
            Self::Data => "data",
            Self::Spool => "spool",
            Self::EachRcpt => "each_rcpt",
            Self::SetBinding => "set_binding",
        }
    }

    /// The phase of this name.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|phase| phase.name() == name)
    }

    /// Whether a session waits for the script's decision and can be held.
    #[must_use]
    pub fn holds_a_session(self) -> bool {
        self <= Self::Data
    }
}
