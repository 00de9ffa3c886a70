use alloc::string::String;

use crate::phase::Phase;

/// Phases in which something is permitted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Phases(u16);

impl Phases {
    /// All.
    pub const ANY: Self = Self(u16::MAX);
    /// While a client or its message comes in.
    pub const INBOUND: Self = Self(Self::ANY.0 & !Self::of(&[Phase::SetBinding]).0);
    /// Where a session waits for the decision and can be held.
    pub const SESSION: Self =
        Self::of(&[Phase::Accept, Phase::Connect, Phase::Ehlo, Phase::Mailfrom, Phase::Rcptto, Phase::Data]);
    /// Where a message, or a recipient of one, exists and is not accepted yet or is being spooled.
    pub const RECIPIENT_TO_COPY: Self =
        Self::of(&[Phase::Rcptto, Phase::Data, Phase::Spool, Phase::EachRcpt]);
    /// Where a message exists.
    pub const MESSAGE: Self = Self::of(&[Phase::Data, Phase::Spool, Phase::EachRcpt, Phase::SetBinding]);
    /// Where the binding of a copy is chosen.
    pub const BINDING: Self = Self::of(&[Phase::SetBinding]);
    /// After the client has its reply.
    pub const AFTER_REPLY: Self = Self::of(&[Phase::Spool, Phase::EachRcpt, Phase::SetBinding]);

    /// These.
    #[must_use]
    pub const fn of(phases: &[Phase]) -> Self {
        match phases {
            [] => Self(0),
            [first, rest @ ..] => Self((1 << *first as u16) | Self::of(rest).0),
        }
    }

    /// Whether this one is among them.
    #[must_use]
    pub fn contain(self, phase: Phase) -> bool {
        self.0 & Self::of(&[phase]).0 != 0
    }

    /// Their names with commas between them.
    #[must_use]
    pub fn shown(self) -> String {
        let mut shown = String::new();
        for phase in Phase::ALL.into_iter().filter(|phase| self.contain(*phase)) {
            shown.push_str(if shown.is_empty() { "" } else { ", " });
            shown.push_str(phase.name());
        }
        shown
    }
}
