//! Everything a session has to be told, already resolved for its listener and client.

use alloc::string::String;
use alloc::vec::Vec;
use core::time::Duration;

use crate::relay::RelayControl;

/// Bad or unknown commands after which a session is ended with 421.
pub const BAD_COMMANDS_MAX: u32 = 10;

/// The settings of one session; shared by all sessions with the same resolved options.
///
/// `Default` gives the documented defaults with the host name `localhost`. The name of the configuration
/// option stands at each field; a count or size of 0 means no limit.
#[derive(Clone, Debug)]
pub struct SessionSettings {
    /// `Banner_Hostname`: the name in the greeting, in the EHLO reply and in the QUIT reply.
    pub banner_hostname: String,
    /// `Received_Hostname`: the name in our Received field and on the right side of a Message-ID we add.
    pub received_hostname: String,
    /// Product and version, as they stand in the greeting and in the Received field: `postfleet 0.1.0`.
    pub product: String,
    /// `Static_Banner`: the whole greeting line, `220` included, without CR LF.
    pub static_banner: Option<String>,
    /// `SMTP_Extensions`: what EHLO offers besides PIPELINING, 8BITMIME and SIZE.
    pub extensions: Extensions,
    /// `Idle_Time`: silence after which the client is dropped (default 300 s; zero: never).
    pub idle_time: Duration,
    /// `Max_Receptions_Per_Connection`: messages a session may deliver; the next MAIL gets 421.
    pub receptions_per_connection_max: u32,
    /// `Max_Recipients_Per_Connection`: accepted recipients a session may name.
    pub recipients_per_connection_max: u32,
    /// `Max_Recipients_Per_Message`: accepted recipients of one transaction; 1 to 99 count as 100.
    pub recipients_per_message_max: u32,
    /// `Max_Message_Size`: octets of a message as received, dots removed, our own fields not counted.
    pub message_octets_max: u64,
    /// The longest header section, in octets (default 262,144). It is held in memory until it is complete.
    pub header_octets_max: usize,
    /// `max_received_headers`: a message with more Received fields loops (default 100).
    pub received_fields_max: u32,
    /// `Require_EHLO`: MAIL needs EHLO or HELO before it.
    pub require_ehlo: bool,
    /// `Allow_NULL_Envelope_Sender`.
    pub allow_null_sender: bool,
    /// `Allow_IP_Literal`: addresses such as `user@[192.0.2.1]`.
    pub allow_ip_literal: bool,
    /// `Allow_Trailing_Whitespace_In_Commands`.
    pub allow_trailing_whitespace: bool,
    /// `RFC2821_Allow_Whitespace_In_Envelope`: blanks around and directly inside the angle brackets.
    pub allow_envelope_whitespace: bool,
    /// `RFC2821_Pedantic_Address_Rules`: false allows `a..b@` and `ab.@`.
    pub pedantic_addresses: bool,
    /// `Domain_For_Unqualified_Sender_Address`.
    pub unqualified_sender_domain: Option<String>,
    /// `Domain_For_Unqualified_Recipient_Addresses`.
    pub unqualified_recipient_domain: Option<String>,
    /// Who may send to which domains.
    pub relay: RelayControl,
    /// `Starttls_Injection_Policy`; `allow` is to be given as [`Injection::Reject`].
    pub starttls_injection: Injection,
    /// `Reconfig_Message`: what follows `421 ` after a reconfiguration.
    pub reconfig_message: String,
    /// What is checked and mended in messages.
    pub format: FormatRules,
    /// At which commands the driver is asked before the core decides.
    pub questions: Questions,
}

impl Default for SessionSettings {
    fn default() -> Self {
        Self {
            banner_hostname: String::from("localhost"),
            received_hostname: String::from("localhost"),
            product: String::from(concat!("postfleet ", env!("CARGO_PKG_VERSION"))),
            static_banner: None,
            extensions: Extensions::default(),
            idle_time: Duration::from_secs(300),
            receptions_per_connection_max: 0,
            recipients_per_connection_max: 0,
            recipients_per_message_max: 0,
            message_octets_max: 0,
            header_octets_max: 256 * 1024,
            received_fields_max: 100,
            require_ehlo: false,
            allow_null_sender: true,
            allow_ip_literal: true,
            allow_trailing_whitespace: false,
            allow_envelope_whitespace: false,
            pedantic_addresses: true,
            unqualified_sender_domain: None,
            unqualified_recipient_domain: None,
            relay: RelayControl::default(),
            starttls_injection: Injection::Reject,
            reconfig_message: String::from("4.3.2 Reconfiguration in progress"),
            format: FormatRules::default(),
            questions: Questions::default(),
        }
    }
}

/// The optional extensions. The default is ENHANCEDSTATUSCODES and DSN; set `starttls` when there is a certificate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "each field is the extension of its name")]
pub struct Extensions {
    pub enhanced_status_codes: bool,
    pub dsn: bool,
    pub starttls: bool,
    pub chunking: bool,
    pub smtputf8: bool,
}

impl Default for Extensions {
    fn default() -> Self {
        Self { enhanced_status_codes: true, dsn: true, starttls: false, chunking: false, smtputf8: false }
    }
}

/// What happens to input that was sent in the clear behind STARTTLS.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Injection {
    /// 554, and the connection is closed.
    #[default]
    Reject,
    /// That input is discarded; TLS starts.
    Ignore,
}

/// At which points [`Event::Question`](crate::Event::Question) is asked. All false by default: then no command
/// waits for the driver, except for the spool.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Questions {
    /// Before the greeting.
    pub connect: bool,
    /// At EHLO and HELO.
    pub ehlo: bool,
    /// At MAIL, after its syntax and limits. An inbound throttle needs it.
    pub mail: bool,
    /// At RCPT, after its syntax and limits, before relay control.
    pub recipient: bool,
}

impl Questions {
    /// The points of both.
    #[must_use]
    pub const fn and(self, other: Self) -> Self {
        Self {
            connect: self.connect || other.connect,
            ehlo: self.ehlo || other.ehlo,
            mail: self.mail || other.mail,
            recipient: self.recipient || other.recipient,
        }
    }
}

/// The `RFC2822_*` options.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FormatRules {
    /// `RFC2822_Lone_LF_In_Headers` (default pedantic); `Ignore` is not offered there and counts as pedantic.
    pub lone_in_headers: LoneRule,
    /// `RFC2822_Lone_LF_In_Body` (default ignore).
    pub lone_in_body: LoneRule,
    /// `RFC2822_Max_Line_Length` and its policy (default ignore).
    pub line_length: LineRule,
    /// `RFC2822_Missing_Headers = allow` (default false: reject): a message without any header field passes.
    pub allow_missing_headers: bool,
    /// `RFC2822_Date_Header` (default if needed).
    pub date: DateRule,
    /// `RFC2822_MessageID_Header = ifneeded` (default): add a missing Message-ID.
    pub add_message_id: bool,
    /// `RFC2822_Trace_Headers` (default true): prepend a Received field.
    pub trace: bool,
}

impl Default for FormatRules {
    fn default() -> Self {
        Self {
            lone_in_headers: LoneRule::Pedantic,
            lone_in_body: LoneRule::Ignore,
            line_length: LineRule::Ignore,
            allow_missing_headers: false,
            date: DateRule::IfNeeded,
            add_message_id: true,
            trace: true,
        }
    }
}

/// What is done about a CR or LF that is not part of CR LF.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LoneRule {
    /// Kept, unless it touches a line that is only a dot (which a lenient next hop could take for the end).
    Ignore,
    /// The message is refused.
    Pedantic,
    /// Replaced by CR LF.
    Fix,
}

/// What is done about long lines. Lengths are octets without CR LF; the standard's limit is 998.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LineRule {
    /// Any length is accepted.
    Ignore,
    /// A longer line refuses the message (`pedantic` is `Reject(998)`).
    Reject(usize),
    /// A longer line is folded (headers) or broken (body). Lengths below 78 count as 78.
    Fix(usize),
}

/// What is done about a missing Date field.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DateRule {
    /// Nothing.
    Ignore,
    /// The message is refused.
    Pedantic,
    /// The field is added.
    IfNeeded,
}

/// Names that options are written with, for the few that are lists of words.
impl Extensions {
    /// The extensions named in `SMTP_Extensions`, and the words that are not built (AUTH and the X commands) or
    /// not known, for the caller to warn about.
    #[must_use]
    pub fn from_words<'a>(words: impl IntoIterator<Item = &'a str>) -> (Self, Vec<&'a str>) {
        let mut extensions = Self {
            enhanced_status_codes: false,
            dsn: false,
            starttls: false,
            chunking: false,
            smtputf8: false,
        };
        let mut left = Vec::new();
        for word in words {
            let field = match word.to_ascii_uppercase().as_str() {
                "ENHANCEDSTATUSCODES" => &mut extensions.enhanced_status_codes,
                "DSN" => &mut extensions.dsn,
                "STARTTLS" => &mut extensions.starttls,
                "CHUNKING" => &mut extensions.chunking,
                "SMTPUTF8" => &mut extensions.smtputf8,
                _ => {
                    left.push(word);
                    continue;
                }
            };
            *field = true;
        }
        (extensions, left)
    }
}
