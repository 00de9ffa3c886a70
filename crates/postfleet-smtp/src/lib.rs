//! An ESMTP server without sockets: grammar, states and the checks on messages (RFC 5321 and its extensions).
//!
//! Promise: every octet sequence a client can send leads to replies in order, one for each command, and to
//! messages that begin and end exactly where RFC 5321 says; never to a panic, and never to memory beyond the formula
//! in docs/smtp.md.
//!
//! The other direction is [`client`]: one outbound connection, with a contract of its own. What follows is the server.
//!
//! Pure: no socket, clock, file, task or randomness. `postfleet-node` owns those: it accepts, reads and writes,
//! does TLS, spools, and asks policy.
//!
//! # The driver's duties
//!
//! 1. Limits that count sessions come first: over a limit, [`Session::refuse`] before the first poll.
//! 2. Call [`Session::poll_event`] until it returns none, carrying out each event before the next poll. Collect
//!    [`Event::Reply`] octets and write them when there is no further event, or at `StartTls` and `Close`.
//! 3. Then wait for whichever comes first: octets from the client while [`Session::wants_input`] says so
//!    ([`Session::receive`]), the deadline ([`Session::timed_out`]), the end of the connection
//!    ([`Session::connection_lost`]), or the answer that is still owed. Go to 2.
//! 4. Only the answer that fits the last question, `MessageBegin`, `MessageEnd` or `StartTls` is taken; everything
//!    else is [`OutOfTurn`], which changes nothing. It also comes when the connection ended in between.
//! 5. A connection may end while its message is being stored. `message_stored` or `message_failed` is owed
//!    even then; poll again after it.
//!
//! ```
//! use std::sync::Arc;
//! use postfleet_smtp::{Event, MessageStart, Session, SessionFacts, SessionSettings};
//! use postfleet_types::{Monotonic, WallTime};
//!
//! let mut settings = SessionSettings::default();
//! settings.relay.domains.push("example.org".parse()?);
//! let now = Monotonic::ZERO;
//! let facts = SessionFacts {
//!     client: "192.0.2.5:47780".parse()?,
//!     local: "198.51.100.1:25".parse()?,
//!     opened: WallTime::from_unix_seconds(1_900_000_000),
//!     now,
//!     tls: None,
//! };
//! let mut session = Session::new(Arc::new(settings), facts);
//! let mut arriving = vec![
//!     &b"EHLO c.example\r\nMAIL FROM:<a@c.example>\r\nRCPT TO:<b@example.org>\r\nDATA\r\n"[..],
//!     b"From: a@c.example\r\n\r\nhello\r\n.\r\nQUIT\r\n",
//! ].into_iter();
//! let (mut written, mut spool) = (Vec::new(), Vec::new());
//! 'connection: loop {
//!     while let Some(event) = session.poll_event() {
//!         match event {
//!             Event::Reply(octets) => written.extend_from_slice(&octets),
//!             Event::Close => break 'connection,
//!             Event::MessageBegin(_envelope) => {
//!                 let start = MessageStart { id: "A2/00-04711-003BF317".to_string(), at: facts_opened() };
//!                 session.message_started(now, start)?;
//!             }
//!             Event::Content(octets) => spool.extend_from_slice(&octets),
//!             // Here a driver writes, syncs, and only then says so.
//!             Event::MessageEnd(_facts) => session.message_stored(now)?,
//!             Event::MessageAbort(_) => spool.clear(),
//!             Event::Received { .. } | Event::Rejected(_) | Event::UnitSpent { .. } => {} // statistics
//!             Event::StartTls | Event::Question(_) => unreachable!("not switched on above"),
//!         }
//!     }
//!     match arriving.next() {
//!         Some(octets) => session.receive(now, octets),
//!         None => session.connection_lost(),
//!     }
//! }
//! # fn facts_opened() -> WallTime { WallTime::from_unix_seconds(1_900_000_000) }
//! assert!(written.ends_with(b"250 2.0.0 A2/00-04711-003BF317 accepted\r\n221 2.0.0 localhost closing connection\r\n"));
//! assert!(spool.ends_with(b"\r\n\r\nhello\r\n"));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
#![cfg_attr(not(test), no_std)]

extern crate alloc;

mod address;
pub mod bounce;
pub mod client;
mod command;
mod content;
mod envelope;
mod event;
mod framing;
mod proxy;
mod relay;
mod reply;
mod session;
mod settings;
mod trace;

pub use address::{Address, AddressError, DOMAIN_OCTETS_MAX, Domain, LOCAL_PART_OCTETS_MAX, ReversePath};
pub use envelope::{
    Body, Envelope, MailFrom, MessageFacts, Notify, Origin, OriginalRecipient, Protocol, Recipient, Return,
    TlsFacts,
};
pub use event::{
    AbortReason, Answer, ConnectRefusal, Counters, Event, Failure, MessageStart, OutOfTurn, Phase, Question,
    Rejection, RejectionKind, Resources, SessionFacts,
};
pub use proxy::{
    PROXY_V1_OCTETS_MAX, PROXY_V2_OCTETS_MAX, ProxyAddresses, ProxyError, ProxyHeader, parse_proxy_header,
};
pub use relay::{DomainGlob, DomainGlobError, RelayControl, RelayRule};
pub use reply::{REPLY_LINE_OCTETS_MAX, Reply};
pub use session::{
    COMMAND_OCTETS_MAX, EXTENDED_COMMAND_OCTETS_MAX, INPUT_OCTETS_MAX, RECIPIENTS_MAX, Session,
};
pub use settings::{
    BAD_COMMANDS_MAX, DateRule, Extensions, FormatRules, Injection, LineRule, LoneRule, Questions,
    SessionSettings,
};

#[cfg(any(test, feature = "fuzzing"))]
pub mod fuzz;

/// How many cases a property tries; `POSTFLEET_CASES` asks for more.
#[cfg(test)]
#[expect(clippy::disallowed_methods, reason = "tests only: whoever runs them chooses their length")]
pub(crate) fn cases(usual: u32) -> u32 {
    std::env::var("POSTFLEET_CASES").ok().and_then(|text| text.parse().ok()).unwrap_or(usual)
}
