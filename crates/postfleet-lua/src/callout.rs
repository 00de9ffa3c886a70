use postfleet_policy::Phase;

/// What of a script is called when.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Callout {
    /// The script was loaded.
    Init,
    /// Another one takes its place, or the node ends.
    Deinit,
    /// Before the banner.
    Connect,
    /// EHLO or HELO.
    Ehlo,
    /// MAIL FROM.
    Mailfrom,
    /// RCPT TO, each.
    Rcptto,
    /// Each entry of the complete list of recipients.
    RcpttoList,
    /// The list of recipients is complete.
    RcpttoListFinal,
    /// The message was received, the reply to the final dot is open.
    Data,
    /// Once for a received message, before it is spooled.
    Spool,
    /// Once for each copy to a recipient.
    EachRcpt,
    /// The outbound binding is chosen.
    SetBinding,
    /// The session ends.
    Dealloc,
    /// A console command of the script was typed.
    Control,
    /// A timer of the script is due.
    Timer,
}

impl Callout {
    /// Those that modules have functions for, in the order of their moments.
    pub const ALL: [Self; 13] = [
        Self::Init,
        Self::Deinit,
        Self::Connect,
        Self::Ehlo,
        Self::Mailfrom,
        Self::Rcptto,
        Self::RcpttoList,
        Self::RcpttoListFinal,
        Self::Data,
        Self::Spool,
        Self::EachRcpt,
        Self::SetBinding,
        Self::Dealloc,
    ];

    /// The name of the function in the script.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Init => "init",
            Self::Deinit => "deinit",
            Self::Connect => "validate_connect",
            Self::Ehlo => "validate_ehlo",
            Self::Mailfrom => "validate_mailfrom",
            Self::Rcptto => "validate_rcptto",
            Self::RcpttoList => "validate_rcptto_list",
            Self::RcpttoListFinal => "validate_rcptto_list_final",
            Self::Data => "validate_data",
            Self::Spool => "validate_data_spool",
            Self::EachRcpt => "validate_data_spool_each_rcpt",
            Self::SetBinding => "validate_set_binding",
            Self::Dealloc => "validate_dealloc",
            Self::Control => "console command",
            Self::Timer => "timer",
        }
    }

    /// The phase whose permissions hold; none where there is no session.
    #[must_use]
    pub const fn phase(self) -> Option<Phase> {
        Some(match self {
            Self::Init | Self::Deinit | Self::Dealloc | Self::Control | Self::Timer => return None,
            Self::Connect => Phase::Connect,
            Self::Ehlo => Phase::Ehlo,
            Self::Mailfrom => Phase::Mailfrom,
            Self::Rcptto => Phase::Rcptto,
            // The list is complete when the client sends DATA.
            Self::RcpttoList | Self::RcpttoListFinal | Self::Data => Phase::Data,
            Self::Spool => Phase::Spool,
            Self::EachRcpt => Phase::EachRcpt,
            Self::SetBinding => Phase::SetBinding,
        })
    }

    /// What is called in a phase, in this order.
    #[must_use]
    pub const fn of(phase: Phase) -> &'static [Self] {
        match phase {
            Phase::Accept => &[],
            Phase::Connect => &[Self::Connect],
            Phase::Ehlo => &[Self::Ehlo],
            Phase::Mailfrom => &[Self::Mailfrom],
            Phase::Rcptto => &[Self::Rcptto],
            Phase::Data => &[Self::RcpttoList, Self::RcpttoListFinal, Self::Data],
            Phase::Spool => &[Self::Spool],
            Phase::EachRcpt => &[Self::EachRcpt],
            Phase::SetBinding => &[Self::SetBinding],
        }
    }

    /// As errors name the moment.
    #[must_use]
    pub const fn moment(self) -> &'static str {
        match self {
            Self::Init => "init",
            Self::Deinit => "deinit",
            Self::Dealloc => "dealloc",
            Self::Control => "a console command",
            Self::Timer => "a timer",
            _ => match self.phase() {
                Some(phase) => phase.name(),
                None => self.name(),
            },
        }
    }
}
