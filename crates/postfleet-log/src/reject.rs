//! The rejectlog.

use alloc::format;
use alloc::string::String;
use core::net::SocketAddr;

use postfleet_types::WallTime;

use crate::field::one_line;

/// Where in a session a rejection happened, numbered from 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "`as_str` says what each one is")]
pub enum RejectPhase {
    JustConnected,
    SendingBanner,
    AwaitingEhlo,
    SendingEhloResponse,
    AwaitingMailFrom,
    SendingMailFromResponse,
    AwaitingRcptTo,
    SendingRcptToResponse,
    DataPhase,
    ReadingBody,
    SendingBodyResponse,
    AsyncBodyHandler,
    AsyncBodyResponse,
    RelayingDenied,
    Extension1,
    Extension2,
    Extension3,
    Extension4,
    ConcurrencyLimit,
    RcptToListResponse,
    RcptToListFinalResponse,
    EsmtpSetup,
}

impl RejectPhase {
    /// Its words.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::JustConnected => "just connected",
            Self::SendingBanner => "sending banner",
            Self::AwaitingEhlo => "awaiting ehlo/helo",
            Self::SendingEhloResponse => "sending ehlo/helo response",
            Self::AwaitingMailFrom => "awaiting mailfrom",
            Self::SendingMailFromResponse => "sending mailfrom response",
            Self::AwaitingRcptTo => "awaiting rcptto",
            Self::SendingRcptToResponse => "sending rcptto response",
            Self::DataPhase => "data phase",
            Self::ReadingBody => "reading body",
            Self::SendingBodyResponse => "sending body response",
            Self::AsyncBodyHandler => "async body handler",
            Self::AsyncBodyResponse => "async body response",
            Self::RelayingDenied => "relaying denied",
            Self::Extension1 => "extension 1",
            Self::Extension2 => "extension 2",
            Self::Extension3 => "extension 3",
            Self::Extension4 => "extension 4",
            Self::ConcurrencyLimit => "concurrency limit",
            Self::RcptToListResponse => "rcptto list response",
            Self::RcptToListFinalResponse => "rcptto list final response",
            Self::EsmtpSetup => "esmtp setup phase",
        }
    }
}

/// One record of the rejectlog.
#[derive(Clone, Copy, Debug)]
pub struct RejectRecord<'a> {
    /// When.
    pub at: WallTime,
    /// The client.
    pub remote: SocketAddr,
    /// Where it connected to.
    pub local: SocketAddr,
    /// The connection.
    pub connection: &'a str,
    /// The pathway.
    pub pathway: &'a str,
    /// The pathway group.
    pub pathway_group: &'a str,
    /// Where in the session.
    pub phase: RejectPhase,
    /// The reply code.
    pub code: u16,
    /// The module that ran last; empty when none did.
    pub module: &'a str,
    /// The connection's context, in the order in which it was filled.
    pub connection_context: &'a [(&'a str, &'a str)],
    /// The message's context.
    pub message_context: &'a [(&'a str, &'a str)],
    /// What the client was told.
    pub text: &'a str,
}

impl RejectRecord<'_> {
    /// The line, without its end.
    #[must_use]
    pub fn line(&self) -> String {
        format!(
            "{}: R=\"{}\" L=\"{}\" C=\"{}\" PATH=\"{}\" PATH_GRP=\"{}\" P=\"{}\" E={:03} M={} CTXCONN=[{}] CTXMESS=[{}] {}",
            self.at.unix_seconds(),
            self.remote,
            self.local,
            inside(self.connection),
            inside(self.pathway),
            inside(self.pathway_group),
            self.phase.as_str(),
            self.code,
            one_line(self.module),
            context(self.connection_context),
            context(self.message_context),
            one_line(self.text),
        )
    }
}

fn context(pairs: &[(&str, &str)]) -> String {
    let mut out = String::new();
    for (key, value) in pairs {
        if !out.is_empty() {
            out.push(',');
        }
        out.push_str(&bare_or_quoted(key, "_.-"));
        out.push('=');
        out.push_str(&bare_or_quoted(value, "._:/+-"));
    }
    out
}

fn bare_or_quoted(text: &str, also: &str) -> String {
    if text.chars().all(|c| c.is_ascii_alphanumeric() || also.contains(c)) {
        String::from(text)
    } else {
        format!("\"{}\"", inside(text))
    }
}

/// Text between quotes.
fn inside(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '"' | '\\' => {
                out.push('\\');
                out.push(c);
            }
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            c if u32::from(c) < 0x20 || u32::from(c) == 0x7F => {
                out.push_str(&format!("\\x{:02x}", u32::from(c)));
            }
            c => out.push(c),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn logging_a31_a_rejection_at_rcpt() {
        let record = RejectRecord {
            at: WallTime::from_unix_seconds(1_700_000_200),
            remote: "192.0.2.77:51812".parse().unwrap(),
            local: "192.0.2.1:25".parse().unwrap(),
            connection: "50/00-04711-8C1F3556",
            pathway: "inbound",
            pathway_group: "edge",
            phase: RejectPhase::AwaitingRcptTo,
            code: 554,
            module: "scriptlet",
            connection_context: &[
                ("pathway", "inbound"),
                ("ehlo_string", "EHLO client.example"),
                ("ehlo_domain", "client.example"),
            ],
            message_context: &[
                ("mailfrom_domain", ""),
                ("mailfrom_string", "MAIL FROM:<>"),
                ("mailfrom_localpart", ""),
            ],
            text: "no access for you",
        };
        assert_eq!(
            record.line(),
            "1700000200: R=\"192.0.2.77:51812\" L=\"192.0.2.1:25\" C=\"50/00-04711-8C1F3556\" PATH=\"inbound\" \
             PATH_GRP=\"edge\" P=\"awaiting rcptto\" E=554 M=scriptlet \
             CTXCONN=[pathway=inbound,ehlo_string=\"EHLO client.example\",ehlo_domain=client.example] \
             CTXMESS=[mailfrom_domain=,mailfrom_string=\"MAIL FROM:<>\",mailfrom_localpart=] no access for you"
        );
        let empty = RejectRecord {
            remote: "[2001:db8::1]:42601".parse().unwrap(),
            connection_context: &[],
            message_context: &[],
            module: "",
            ..record
        };
        let line = empty.line();
        assert!(
            line.contains("R=\"[2001:db8::1]:42601\"") && line.contains(" M= CTXCONN=[] CTXMESS=[] no"),
            "{line}"
        );
        let forged = RejectRecord { text: "a\r\nb", connection_context: &[("k y", "a\"\nb")], ..record };
        assert!(forged.line().contains("CTXCONN=[\"k y\"=\"a\\\"\\nb\"]") && forged.line().ends_with("a b"));
    }
}
