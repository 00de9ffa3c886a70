//! Entry points for fuzz targets and properties. Each drives the crate with octets from outside and panics when
//! an invariant does not hold.

mod client;

use alloc::format;
use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::net::{IpAddr, Ipv4Addr, SocketAddr};

use postfleet_types::{Monotonic, Random, WallTime};

use crate::{
    Answer, ConnectRefusal, DateRule, Event, Extensions, Failure, FormatRules, Injection, LineRule, LoneRule,
    MessageStart, Questions, Reply, Session, SessionFacts, SessionSettings, parse_proxy_header,
};

pub use client::fuzz_client;

/// What a session said and handed out, in an order that does not depend on how its input was cut.
#[derive(Debug, Default, PartialEq, Eq)]
struct Trace {
    replies: Vec<u8>,
    /// Complete messages.
    messages: Vec<Vec<u8>>,
    /// Everything else, in order.
    events: Vec<String>,
}

/// Drives a session with the client's octets.
///
/// The first five octets choose settings, the answers of the driver and where the input is cut. Checked: the order of
/// events that [`Event`] promises; every reply well formed; no more replies than lines and chunks plus one;
/// no message without the end that its framing needs; and that octet by octet gives the same as all at once.
pub fn fuzz_session(octets: &[u8]) {
    let Some((choices, input)) = octets.split_first_chunk::<5>() else { return };
    let settings = Arc::new(settings(*choices));
    let seed = u64::from_le_bytes([choices[0], choices[1], choices[2], choices[3], choices[4], 0, 0, 0]);
    let whole = drive(&settings, input, Cut::Whole, seed);
    check_replies(&whole.replies);
    if !settings.extensions.chunking {
        let ends = count(input, b"\r\n.\r\n");
        assert!(whole.messages.len() <= ends, "a message ended without CR LF . CR LF");
    }
    let lines = count(input, b"\r\n");
    // The greeting; one for each line; one more for the last of too many errors.
    assert!(count(&whole.replies, b"\r\n") <= (lines + 2) * REPLY_LINES_MAX, "more replies than commands");
    for message in &whole.messages {
        check_message(message, &settings);
    }
    // Behind STARTTLS the cut decides what was sent in the clear, on purpose.
    if !settings.extensions.starttls {
        assert_eq!(whole, drive(&settings, input, Cut::Each, seed), "octet by octet");
        assert_eq!(whole, drive(&settings, input, Cut::Random, seed), "cut at random");
    } else {
        check_replies(&drive(&settings, input, Cut::Random, seed).replies);
    }
}

/// Reads a PROXY header. Checked: every beginning of the input gives the same answer or `Incomplete`, and a
/// complete header lies within the input and the limits.
pub fn fuzz_proxy(octets: &[u8]) {
    use crate::{PROXY_V1_OCTETS_MAX, PROXY_V2_OCTETS_MAX, ProxyHeader};
    let whole = parse_proxy_header(octets);
    if let Ok(ProxyHeader::Complete { length, .. }) = whole {
        let max = if octets.starts_with(b"PROXY") { PROXY_V1_OCTETS_MAX } else { PROXY_V2_OCTETS_MAX };
        assert!(length <= octets.len() && length <= max);
    }
    let mut decided = None;
    for end in 0..=octets.len().min(PROXY_V1_OCTETS_MAX + 60) {
        let part = parse_proxy_header(&octets[..end]);
        match decided {
            Some(before) => assert_eq!(part, before, "the answer changed at {end}"),
            None if part != Ok(ProxyHeader::Incomplete) => decided = Some(part),
            None => {}
        }
    }
    if let Some(decided) = decided {
        assert_eq!(whole, decided);
    }
}

/// The EHLO reply is the longest: its own line and eight extensions.
const REPLY_LINES_MAX: usize = 9;

#[derive(Clone, Copy, Debug)]
enum Cut {
    Whole,
    Each,
    Random,
}

fn settings(choices: [u8; 5]) -> SessionSettings {
    let [a, b, c, d, _] = choices;
    let bit = |octet: u8, at: u8| octet >> at & 1 == 1;
    let mut settings = SessionSettings {
        banner_hostname: String::from("mx.example"),
        extensions: Extensions {
            enhanced_status_codes: bit(a, 0),
            dsn: bit(a, 1),
            starttls: bit(a, 2) && bit(a, 3),
            chunking: bit(a, 4),
            smtputf8: bit(a, 5),
        },
        starttls_injection: if bit(a, 6) { Injection::Ignore } else { Injection::Reject },
        require_ehlo: bit(a, 7),
        receptions_per_connection_max: u32::from(b & 3),
        message_octets_max: if bit(b, 2) { 100 } else { 0 },
        header_octets_max: if bit(b, 3) { 120 } else { 4096 },
        received_fields_max: if bit(b, 4) { 1 } else { 100 },
        allow_trailing_whitespace: bit(b, 5),
        allow_envelope_whitespace: bit(b, 6),
        pedantic_addresses: bit(b, 7),
        format: FormatRules {
            lone_in_headers: if bit(c, 0) { LoneRule::Fix } else { LoneRule::Pedantic },
            lone_in_body: [LoneRule::Ignore, LoneRule::Ignore, LoneRule::Pedantic, LoneRule::Fix]
                [usize::from(c >> 1 & 3)],
            line_length: [LineRule::Ignore, LineRule::Ignore, LineRule::Reject(30), LineRule::Fix(78)]
                [usize::from(c >> 3 & 3)],
            allow_missing_headers: bit(c, 5),
            date: if bit(c, 6) { DateRule::Pedantic } else { DateRule::IfNeeded },
            add_message_id: bit(c, 7),
            trace: bit(d, 0),
        },
        questions: Questions { connect: bit(d, 1), ehlo: bit(d, 2), mail: bit(d, 3), recipient: bit(d, 4) },
        ..SessionSettings::default()
    };
    settings.relay.open = true;
    settings
}

fn drive(settings: &Arc<SessionSettings>, input: &[u8], cut: Cut, seed: u64) -> Trace {
    let address = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 25);
    let opened = WallTime::from_unix_seconds(1_900_000_000);
    let facts = SessionFacts { client: address, local: address, opened, now: Monotonic::ZERO, tls: None };
    let mut driver = Driver {
        session: Session::new(Arc::clone(settings), facts),
        random: Random::seeded(seed),
        cuts: Random::seeded(seed ^ 1),
        trace: Trace::default(),
        message: None,
        closed: false,
    };
    driver.run();
    let mut rest = input;
    while !rest.is_empty() && !driver.closed {
        let count = match cut {
            Cut::Whole => rest.len(),
            Cut::Each => 1,
            Cut::Random => usize::try_from(driver.cuts.below(40)).unwrap_or(1).clamp(1, rest.len()),
        };
        let (now, behind) = rest.split_at(count);
        driver.session.receive(Monotonic::ZERO, now);
        driver.run();
        rest = behind;
    }
    driver.session.connection_lost();
    driver.run();
    assert!(driver.closed && driver.message.is_none(), "the end left something open");
    driver.trace
}

struct Driver {
    session: Session,
    /// Decides the answers; asked once for each, so that the cut of the input does not matter.
    random: Random,
    cuts: Random,
    trace: Trace,
    message: Option<Vec<u8>>,
    closed: bool,
}

impl Driver {
    fn run(&mut self) {
        while let Some(event) = self.session.poll_event() {
            assert!(!self.closed, "{event:?} after Close");
            self.carry_out(event);
        }
        assert!(self.session.refuse(ConnectRefusal::SessionLimit).is_err(), "refused after the greeting");
    }

    fn note(&mut self, what: String) {
        self.trace.events.push(what);
    }

    fn carry_out(&mut self, event: Event) {
        let now = Monotonic::ZERO;
        match event {
            Event::Reply(octets) => self.trace.replies.extend_from_slice(&octets),
            Event::StartTls => {
                self.note(String::from("tls"));
                self.session.tls_started(now, crate::TlsFacts::default()).expect("a handshake was asked for");
            }
            Event::Close => self.closed = true,
            Event::Question(question) => {
                self.note(format!("{question:?}"));
                let answer = match self.random.below(12) {
                    0 => Answer::Refuse(Reply::new(450, "4.7.1", "later\nor never")),
                    1 => Answer::Disconnect(Reply::verbatim(554, "no")),
                    2 => Answer::RateLimited,
                    3 => Answer::Refuse(Reply::verbatim(200, "nonsense")),
                    _ => Answer::Continue,
                };
                self.session.answer(now, answer).expect("a question was asked");
                assert!(self.session.answer(now, Answer::Continue).is_err(), "answered twice");
            }
            Event::MessageBegin(envelope) => {
                assert!(self.message.is_none() && !envelope.recipients.is_empty());
                self.note(format!("{envelope:?}"));
                if self.random.below(10) == 0 {
                    self.session.message_refused(now, Failure::Spool).expect("a message began");
                } else {
                    self.message = Some(Vec::new());
                    let start =
                        MessageStart { id: String::from("1/2-3"), at: WallTime::from_unix_seconds(1) };
                    self.session.message_started(now, start).expect("a message began");
                }
            }
            Event::Content(octets) => {
                self.message.as_mut().expect("content belongs to a message").extend_from_slice(&octets);
            }
            Event::MessageEnd(facts) => {
                let message = self.message.take().expect("the end of a message");
                assert_eq!(facts.content_octets, u64::try_from(message.len()).unwrap_or(0));
                assert!(facts.header_octets <= facts.content_octets);
                self.note(format!("{facts:?}"));
                match self.random.below(10) {
                    0 => self.session.message_failed(now, Failure::TooLargeNow).expect("a message ended"),
                    1 => self.session.message_failed(now, Failure::Storage).expect("a message ended"),
                    _ => {
                        self.trace.messages.push(message);
                        self.session.message_stored(now).expect("a message ended");
                    }
                }
            }
            Event::MessageAbort(reason) => {
                assert!(self.message.take().is_some(), "nothing to abort");
                self.note(format!("{reason:?}"));
            }
            Event::Rejected(_) | Event::Received { .. } | Event::UnitSpent { .. } => {
                self.note(format!("{event:?}"))
            }
        }
    }
}

fn count(octets: &[u8], what: &[u8]) -> usize {
    octets.windows(what.len()).filter(|window| *window == what).count()
}

fn check_replies(replies: &[u8]) {
    let text = core::str::from_utf8(replies).expect("replies are text");
    assert!(text.is_empty() || text.ends_with("\r\n"));
    for line in text.split_terminator("\r\n") {
        assert!(line.len() + 2 <= crate::REPLY_LINE_OCTETS_MAX, "{line}");
        let (code, rest) = line.split_at(3);
        assert!(code.starts_with(['2', '3', '4', '5']) && code.bytes().all(|b| b.is_ascii_digit()), "{line}");
        assert!(rest.starts_with(['-', ' ']), "{line}");
        assert!(!line.bytes().any(|b| b < 0x20 || b == 0x7f), "{line}");
    }
}

fn check_message(message: &[u8], settings: &SessionSettings) {
    assert!(!message.contains(&0), "NUL in an accepted message");
    let bare = |at: usize| match message[at] {
        b'\n' => at == 0 || message[at - 1] != b'\r',
        b'\r' => message.get(at + 1) != Some(&b'\n'),
        _ => false,
    };
    if settings.format.lone_in_body != LoneRule::Ignore {
        assert!(!(0..message.len()).any(bare), "bare CR or LF in an accepted message");
        return;
    }
    // A dot between two line ends of any kind, one of them bare: what a lenient reader takes for the end.
    let ending = |octet: u8| matches!(octet, b'\r' | b'\n');
    for (at, window) in message.windows(3).enumerate() {
        if let [before, b'.', after] = window
            && ending(*before)
            && ending(*after)
        {
            assert!(!bare(at) && !bare(at + 2), "a smuggled end in an accepted message");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const WORDS: [&str; 42] = [
        "EHLO c.example\r\n",
        "HELO x\r\n",
        "MAIL FROM:<a@b>\r\n",
        "MAIL FROM:<>",
        " SIZE=99",
        " BODY=8BITMIME",
        " SMTPUTF8",
        "RCPT TO:<c@d>\r\n",
        "RCPT TO:<é@d>\r\n",
        "RCPT TO:<postmaster>",
        "DATA\r\n",
        "DATA\r\n",
        "RSET\r\n",
        "NOOP\r\n",
        "QUIT\r\n",
        "STARTTLS\r\n",
        "BDAT 5\r\n",
        "BDAT 12 LAST\r\n",
        "BDAT 0 LAST\r\n",
        "BDAT 3 X\r\n",
        "VRFY a\r\n",
        "From: a\r\n",
        "Date: x\r\n",
        "Received: y\r\n",
        "\r\n\r\n",
        "\r\n.\r\n",
        "\r\n..\r\n",
        "\n.\n",
        "\r.\r",
        "\n.\r\n",
        "\r\n.\n",
        "\r",
        "\n",
        ".",
        "\r\n",
        "x",
        "hello world ",
        "\0",
        "é",
        ":",
        " ",
        "MAIL FROM:<a@b>\r\nRCPT TO:<c@d>\r\nDATA\r\nFrom: a\r\n\r\n",
    ];

    const FIELDS: &[&str] = &[
        "From: a\r\n",
        "Date: x\r\n",
        "Subject: long enough to be folded, and then some more of it, so that it is\r\n",
        "Received: y\r\n",
        "Message-ID: <a@b>\r\n",
        " more\r\n",
        "X:\n",
        "X :y\r\n",
        "é: x\r\n",
        "none\r\n",
        "..X: y\r\n",
    ];
    const BODY: &[&str] = &[
        "hello",
        "world ",
        "\r\n",
        "\r\n",
        "\r\n..\r\n",
        "\r\n.",
        ".",
        "\n",
        "\r",
        "é",
        "\r\n.\r\n",
        "a line that is much longer than any limit that is set here, so that it has to be broken somewhere.",
    ];
    const PROXY_STARTS: &[&[u8]] = &[
        b"",
        b"PROXY ",
        b"PROXY TCP4 1.2.3.4 1.2.3.4 ",
        b"PROXY UNKNOWN\r\n",
        b"\r\n\r\n\0\r\nQUIT\n",
        b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c",
        b"\r\n\r\n\0\r\nQUIT\n\x21\x21\0",
        b"\r\n\r\n\0\r\nQUIT\n\x20",
    ];

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(crate::cases(1500)))]

        #[test]
        fn sessions_of_likely_words(
            choices in any::<[u8; 5]>(),
            words in proptest::collection::vec(0..WORDS.len(), 0..40),
            long in 0usize..3000,
        ) {
            let mut octets = choices.to_vec();
            for word in words {
                octets.extend_from_slice(WORDS[word].as_bytes());
                if word == 36 && long > 2000 {
                    octets.resize(octets.len() + long, b'z');
                }
            }
            fuzz_session(&octets);
        }

        /// Whole messages, in both framings, most of them accepted.
        #[test]
        fn messages_of_likely_words(
            mut choices in any::<[u8; 5]>(),
            fields in proptest::collection::vec(proptest::sample::select(FIELDS), 0..4),
            words in proptest::collection::vec(proptest::sample::select(BODY), 0..12),
            chunked: bool,
            next in proptest::sample::select(WORDS.as_slice()),
        ) {
            choices[0] = if chunked { choices[0] | 0x10 } else { choices[0] & !0x08 };
            choices[2] |= if choices[4] & 1 == 1 { 0x20 } else { 0 };
            choices[3] &= 1;
            let content = [fields.concat(), String::from("\r\n"), words.concat()].concat();
            let message = if chunked {
                let half = (0..=content.len() / 2).rev().find(|at| content.is_char_boundary(*at)).unwrap_or(0);
                let (head, tail) = content.split_at(half);
                format!("BDAT {}\r\n{head}BDAT {} LAST\r\n{tail}", head.len(), tail.len())
            } else {
                format!("DATA\r\n{content}\r\n.\r\n")
            };
            let dialogue = format!("EHLO c\r\nMAIL FROM:<>\r\nRCPT TO:<b@c>\r\n{message}{next}QUIT\r\n");
            fuzz_session(&[&choices, dialogue.as_bytes()].concat());
        }

        #[test]
        fn sessions_of_any_octets(octets in proptest::collection::vec(any::<u8>(), 0..200)) {
            fuzz_session(&octets);
        }

        #[test]
        fn proxy_headers_of_any_octets(
            start in proptest::sample::select(PROXY_STARTS),
            rest in proptest::collection::vec(any::<u8>(), 0..150),
        ) {
            fuzz_proxy(&[start, &rest].concat());
        }
    }
}
