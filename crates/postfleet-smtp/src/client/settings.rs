//! What a client has to be told, already resolved for its binding and domain.

use alloc::string::String;
use core::time::Duration;

/// The settings of one outbound connection. `Default` gives the documented defaults.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClientSettings {
    /// `EHLO_Hostname`, resolved (default `localhost`). Octets that would end the line are left out.
    pub ehlo_hostname: String,
    /// `TLS`.
    pub tls: TlsPolicy,
    /// `TLS_Ifavailable_Fallback`: after a failed handshake the same host is tried in the clear (default true).
    pub tls_fallback: bool,
    /// `Send_8BitMIME = ifavailable`: `BODY=8BITMIME` where it is offered (default false).
    pub send_eight_bit_mime: bool,
    /// What becomes of eight-bit content that cannot be declared.
    pub eight_bit: EightBit,
    /// Send content with BDAT where CHUNKING is offered, and without dots to stuff (default false).
    pub chunking: bool,
    /// How long each stage may take.
    pub timeouts: Timeouts,
}

impl Default for ClientSettings {
    fn default() -> Self {
        Self {
            ehlo_hostname: String::from("localhost"),
            tls: TlsPolicy::default(),
            tls_fallback: true,
            send_eight_bit_mime: false,
            eight_bit: EightBit::Refuse,
            chunking: false,
            timeouts: Timeouts::default(),
        }
    }
}

/// `TLS`: whether a connection is encrypted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum TlsPolicy {
    /// `no`.
    #[default]
    None,
    /// `ifavailable`: where it is offered.
    IfAvailable,
    /// `required`: nothing is sent in the clear.
    Required,
}

/// What becomes of eight-bit content when `BODY=8BITMIME` is not to be said.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EightBit {
    /// `Transform_8BitMIME_Content = no`: it is sent as it is.
    AsIs,
    /// `strip`: the eighth bits are cleared. This damages the text.
    Strip,
    /// Nothing is sent: `554 5.6.3`.
    ///
    /// Also what a caller that does not re-encode by itself gives for `ifneeded` and `strict`: this core does not turn
    /// content into quoted-printable. A caller that does, hands in the encoded message as a seven-bit one.
    Refuse,
}

/// How long each stage may take. The defaults are the minimum of RFC 5321, section 4.5.3.2, or more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timeouts {
    /// `Connect_Timeout` (300 s).
    pub connect: Duration,
    /// `EHLO_Timeout` (300 s): the greeting, EHLO, STARTTLS and the handshake, each.
    pub ehlo: Duration,
    /// `MailFrom_Timeout` (300 s).
    pub mail: Duration,
    /// `RcptTo_Timeout` (300 s), for each recipient.
    pub recipient: Duration,
    /// `Body_Timeout` (600 s): the reply to DATA, each piece of content, and the last reply.
    pub body: Duration,
    /// `RSET_Timeout` (30 s): RSET and QUIT.
    pub reset: Duration,
    /// `Idle_Timeout` (5 s): how long a connection without a message is kept.
    pub idle: Duration,
}

impl Default for Timeouts {
    fn default() -> Self {
        let seconds = Duration::from_secs;
        Self {
            connect: seconds(300),
            ehlo: seconds(300),
            mail: seconds(300),
            recipient: seconds(300),
            body: seconds(600),
            reset: seconds(30),
            idle: seconds(5),
        }
    }
}
