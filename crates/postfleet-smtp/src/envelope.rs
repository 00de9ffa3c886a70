//! What a transaction is made of.

use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;
use core::net::SocketAddr;

use crate::address::{Address, ReversePath};
use crate::relay::RelayRule;

/// Where a session comes from, as it stands when a message begins.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Origin {
    /// The client's address and port (from the PROXY header where there was one).
    pub client: SocketAddr,
    /// The address and port the client connected to.
    pub local: SocketAddr,
    /// The name given with EHLO or HELO.
    pub helo: Option<String>,
    /// The protocol.
    pub protocol: Protocol,
    /// TLS, when it is on.
    pub tls: Option<TlsFacts>,
}

/// What the TLS layer found out.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TlsFacts {
    /// `TLSv1.3`.
    pub version: String,
    /// The cipher suite's name.
    pub cipher: String,
    /// Bits of its key; 0 when unknown.
    pub cipher_bits: u16,
    /// Subject of the client certificate, if one was presented.
    pub client_subject: Option<String>,
    /// Whether the client certificate was verified.
    pub client_verified: bool,
}

/// The protocol word of the Received field and the logs (RFC 3848, RFC 6531).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Protocol {
    /// EHLO was used.
    pub extended: bool,
    /// TLS is on.
    pub tls: bool,
    /// The transaction is an SMTPUTF8 one.
    pub utf8: bool,
}

impl fmt::Display for Protocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match (self.utf8, self.extended, self.tls) {
            (true, _, true) => "UTF8SMTPS",
            (true, _, false) => "UTF8SMTP",
            (false, _, true) => "ESMTPS",
            (false, true, false) => "ESMTP",
            (false, false, false) => "SMTP",
        })
    }
}

/// `BODY=`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Body {
    /// `7BIT`.
    SevenBit,
    /// `8BITMIME`.
    EightBitMime,
}

/// `RET=` (RFC 3461).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Return {
    /// `FULL`: a failure report contains the message.
    Full,
    /// `HDRS`: a failure report contains the header section.
    Headers,
}

/// `NOTIFY=` (RFC 3461): when a report is wanted. All false is `NEVER`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Notify {
    /// On success.
    pub success: bool,
    /// On failure.
    pub failure: bool,
    /// On delay.
    pub delay: bool,
}

/// `ORCPT=` (RFC 3461).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OriginalRecipient {
    /// The address type, usually `rfc822`.
    pub kind: String,
    /// The address, xtext removed.
    pub address: String,
}

/// What came with MAIL.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MailFrom {
    /// The sender.
    pub reverse_path: ReversePath,
    /// `SIZE=`.
    pub size: Option<u64>,
    /// `BODY=`.
    pub body: Option<Body>,
    /// `SMTPUTF8`.
    pub smtputf8: bool,
    /// `RET=`.
    pub ret: Option<Return>,
    /// `ENVID=`, xtext removed.
    pub envelope_id: Option<String>,
}

/// One accepted recipient.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Recipient {
    /// The address, source route removed.
    pub address: Address,
    /// `NOTIFY=`; none when it was not given.
    pub notify: Option<Notify>,
    /// `ORCPT=`.
    pub original: Option<OriginalRecipient>,
    /// Why it was accepted. [`RelayRule::BounceDomain`] marks bounce traffic.
    pub rule: RelayRule,
}

/// A whole envelope: a message becomes one copy for each recipient.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Envelope {
    /// What came with MAIL.
    pub mail: MailFrom,
    /// The recipients, in the order in which they were accepted; never empty.
    pub recipients: Vec<Recipient>,
    /// Where the message comes from.
    pub origin: Origin,
}

/// What was found in a complete message.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct MessageFacts {
    /// Octets received, dots removed, before anything was added or mended.
    pub received_octets: u64,
    /// Octets handed out as content.
    pub content_octets: u64,
    /// Octets of the header section as handed out, the empty line included: where the body starts.
    pub header_octets: u64,
    /// There are octets above 127 in the header section.
    pub eight_bit_header: bool,
    /// There are octets above 127 in the body.
    pub eight_bit_body: bool,
    /// The message came without a Date field.
    pub date_missing: bool,
    /// The message came without a Message-ID field.
    pub message_id_missing: bool,
    /// Received fields it came with.
    pub received_fields: u32,
}
