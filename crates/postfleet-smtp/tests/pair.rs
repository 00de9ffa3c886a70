//! The client talks to this crate's own server, in memory: what was delivered arrived, octet by octet.
#![allow(clippy::unwrap_used, reason = "a test stops where something fails")]

use std::net::SocketAddr;
use std::sync::Arc;

use postfleet_smtp::client::{
    Client, ClientSettings, Ending, Event as Told, Message, MessageRecipient, Outcome, TlsPolicy,
};
use postfleet_smtp::{
    Event, Extensions, Failure, FormatRules, MessageStart, ReversePath, Session, SessionFacts,
    SessionSettings, TlsFacts,
};
use postfleet_types::{Monotonic, Random, WallTime};
use proptest::prelude::*;

const NOW: Monotonic = Monotonic::ZERO;

/// What the run is about.
#[derive(Clone, Debug)]
struct Case {
    tls: bool,
    /// CHUNKING is offered and used.
    chunking: bool,
    /// PIPELINING is offered.
    pipelining: bool,
    /// Messages: recipients (odd ones at a domain the server does not relay for), and the body.
    messages: Vec<(usize, Vec<u8>)>,
    seed: u64,
}

/// Both ends and the octets on their way.
struct Pair {
    case: Case,
    random: Random,
    client: Client,
    server: Session,
    to_client: Vec<u8>,
    to_server: Vec<u8>,
    handshake: (bool, bool),
    /// What is left of the content, and whether its end was handed in.
    content: Vec<u8>,
    content_due: bool,
    submitted: usize,
    outcomes: Vec<Vec<Option<Outcome>>>,
    arriving: Vec<u8>,
    /// For each message in the server's spool: who it is for, and the octets.
    spool: Vec<(Vec<String>, Vec<u8>)>,
    envelope: Vec<String>,
    ending: Option<Ending>,
}

fn content(body: &[u8]) -> Vec<u8> {
    [b"From: a@b.example\r\nDate: Thu, 1 Jan 1970 00:00:00 +0000\r\nMessage-ID: <1@b.example>\r\n\r\n", body]
        .concat()
}

/// The content as it is to arrive, from the words of the rule: CR LF, CR and LF are line ends, and the last line has one.
fn normalised(content: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    let mut at = 0;
    while at < content.len() {
        match content[at] {
            b'\r' if content.get(at + 1) == Some(&b'\n') => {
                out.extend_from_slice(b"\r\n");
                at += 1;
            }
            b'\r' | b'\n' => out.extend_from_slice(b"\r\n"),
            other => out.push(other),
        }
        at += 1;
    }
    if !out.ends_with(b"\r\n") {
        out.extend_from_slice(b"\r\n");
    }
    out
}

fn address(at: usize) -> String {
    format!("r{at}@{}", if at.is_multiple_of(2) { "example.org" } else { "elsewhere.example" })
}

impl Pair {
    fn new(case: Case) -> Self {
        let mut settings = SessionSettings {
            extensions: Extensions {
                starttls: case.tls,
                chunking: case.chunking,
                smtputf8: true,
                ..Extensions::default()
            },
            format: FormatRules { trace: false, add_message_id: false, ..FormatRules::default() },
            ..SessionSettings::default()
        };
        settings.relay.domains.push("example.org".parse().unwrap());
        let address: SocketAddr = "192.0.2.5:47780".parse().unwrap();
        let opened = WallTime::from_unix_seconds(1_900_000_000);
        let facts = SessionFacts { client: address, local: address, opened, now: NOW, tls: None };
        let client = ClientSettings {
            tls: if case.tls { TlsPolicy::Required } else { TlsPolicy::None },
            chunking: case.chunking,
            ..ClientSettings::default()
        };
        let mut pair = Self {
            random: Random::seeded(case.seed),
            client: Client::new(Arc::new(client), NOW),
            server: Session::new(Arc::new(settings), facts),
            case,
            to_client: Vec::new(),
            to_server: Vec::new(),
            handshake: (false, false),
            content: Vec::new(),
            content_due: false,
            submitted: 0,
            outcomes: Vec::new(),
            arriving: Vec::new(),
            spool: Vec::new(),
            envelope: Vec::new(),
            ending: None,
        };
        pair.client.connected(NOW).unwrap();
        pair
    }

    fn run(&mut self) {
        // Each round moves something; the bound only keeps a fault from hanging the test.
        for _ in 0..2_000_000 {
            let moved = self.server_turn() | self.client_turn() | self.carry();
            if self.ending.is_some() || !moved {
                return;
            }
        }
        panic!("the dialogue has no end");
    }

    fn server_turn(&mut self) -> bool {
        let Some(event) = self.server.poll_event() else { return false };
        match event {
            Event::Reply(octets) => {
                // The server always offers PIPELINING; a client that does not see it goes step by step.
                let text = String::from_utf8(octets.to_vec()).unwrap();
                let text = if self.case.pipelining { text } else { text.replace("PIPELINING", "X-NOTHING") };
                self.to_client.extend_from_slice(text.as_bytes());
            }
            Event::StartTls => self.handshake.0 = true,
            Event::MessageBegin(envelope) => {
                self.envelope = envelope.recipients.iter().map(|one| one.address.to_string()).collect();
                self.arriving.clear();
                let start = MessageStart { id: "1/2-3".to_string(), at: WallTime::from_unix_seconds(1) };
                self.server.message_started(NOW, start).unwrap();
            }
            Event::Content(octets) => self.arriving.extend_from_slice(&octets),
            Event::MessageEnd(_) => {
                if self.random.below(8) == 0 {
                    self.server.message_failed(NOW, Failure::Storage).unwrap();
                } else {
                    let octets = std::mem::take(&mut self.arriving);
                    self.spool.push((std::mem::take(&mut self.envelope), octets));
                    self.server.message_stored(NOW).unwrap();
                }
            }
            Event::Close
            | Event::MessageAbort(_)
            | Event::Rejected(_)
            | Event::Received { .. }
            | Event::UnitSpent { .. } => {}
            Event::Question(question) => panic!("{question:?}"),
        }
        true
    }

    fn client_turn(&mut self) -> bool {
        if let Some(octets) = self.client.poll_transmit() {
            self.to_server.extend_from_slice(&octets);
            return true;
        }
        if let Some(event) = self.client.poll_event() {
            match event {
                Told::StartTls => self.handshake.1 = true,
                Told::Ready => self.next_message(),
                Told::ContentWanted => self.content_due = true,
                Told::Settled { recipient, outcome } => {
                    let slot = &mut self.outcomes.last_mut().unwrap()[recipient];
                    assert!(slot.replace(outcome).is_none(), "settled twice");
                }
                Told::Close(ending) => self.ending = Some(ending),
            }
            return true;
        }
        if self.content_due && self.client.wants_content() {
            if self.content.is_empty() {
                self.content_due = false;
                self.client.content_end(NOW).unwrap();
            } else {
                let count = self.cut(self.content.len(), 100_000);
                let piece: Vec<u8> = self.content.drain(..count).collect();
                self.client.content(NOW, &piece).unwrap();
            }
            return true;
        }
        false
    }

    /// Carries some octets one way or the other; both ends of the handshake when the wires are empty.
    fn carry(&mut self) -> bool {
        if self.handshake == (true, true) && self.to_client.is_empty() && self.to_server.is_empty() {
            self.handshake = (false, false);
            self.server.tls_started(NOW, TlsFacts::default()).unwrap();
            self.client.tls_ready(NOW).unwrap();
            return true;
        }
        let up = self.random.below(2) == 0;
        let max = [1, 7, 600, 70_000][usize::try_from(self.random.below(4)).unwrap()];
        if (up || self.to_client.is_empty()) && !self.to_server.is_empty() && self.server.wants_input() {
            let count = self.cut(self.to_server.len(), max);
            let piece: Vec<u8> = self.to_server.drain(..count).collect();
            self.server.receive(NOW, &piece);
            return true;
        }
        if self.to_client.is_empty() {
            return false;
        }
        let count = self.cut(self.to_client.len(), max);
        let piece: Vec<u8> = self.to_client.drain(..count).collect();
        self.client.received(NOW, &piece);
        true
    }

    fn cut(&mut self, available: usize, max: usize) -> usize {
        let max = u64::try_from(available.min(max)).unwrap();
        usize::try_from(self.random.below(max) + 1).unwrap()
    }

    fn next_message(&mut self) {
        let Some((recipients, body)) = self.case.messages.get(self.submitted).cloned() else {
            return self.client.quit(NOW).unwrap();
        };
        self.submitted += 1;
        self.content = content(&body);
        self.content_due = false;
        self.outcomes.push(vec![None; recipients]);
        let recipients = (0..recipients).map(|at| MessageRecipient {
            address: address(at).parse().unwrap(),
            ascii: None,
            notify: None,
            original: None,
        });
        let message = Message {
            reverse_path: ReversePath::Address("a@b.example".parse().unwrap()),
            reverse_path_ascii: None,
            recipients: recipients.collect(),
            octets: u64::try_from(self.content.len()).unwrap(),
            eight_bit_header: false,
            eight_bit_body: false,
            smtputf8: false,
            ret: None,
            envelope_id: None,
        };
        self.client.submit(NOW, message).unwrap();
    }
}

/// Runs the case and checks that outcomes and the server's spool say the same.
fn check(case: &Case) -> usize {
    let mut pair = Pair::new(case.clone());
    pair.run();
    assert_eq!(pair.ending, Some(Ending::Done), "{:?}", pair.outcomes);
    assert_eq!(pair.client.is_encrypted(), case.tls);
    assert_eq!(pair.outcomes.len(), case.messages.len());
    let mut spool = pair.spool.iter();
    for ((_, body), outcomes) in case.messages.iter().zip(&pair.outcomes) {
        let mut delivered = Vec::new();
        for (at, outcome) in outcomes.iter().enumerate() {
            match outcome.as_ref().expect("every recipient has an outcome") {
                Outcome::Delivered(_) => delivered.push(address(at)),
                Outcome::Permanent(why) => assert!(at % 2 == 1 && why.reply.code() == 550, "{why:?}"),
                Outcome::Temporary(why) => assert!(at % 2 == 0 && why.reply.code() == 452, "{why:?}"),
                Outcome::StaysActive(why) | Outcome::AnotherConnection(why) => panic!("{why:?}"),
            }
        }
        if !delivered.is_empty() {
            let (recipients, octets) = spool.next().expect("a delivered message is in the spool");
            assert_eq!(*recipients, delivered);
            let wanted = normalised(&content(body));
            assert!(
                *octets == wanted,
                "{:?}\n{:?}",
                String::from_utf8_lossy(octets),
                String::from_utf8_lossy(&wanted)
            );
        }
    }
    assert!(spool.next().is_none(), "the spool has what was not delivered");
    pair.spool.len()
}

fn body() -> impl Strategy<Value = Vec<u8>> {
    let words = vec![
        "\r\n",
        "\r\n",
        ".",
        ".",
        "\r\n.\r\n",
        "\n",
        "\r",
        "x",
        "text of a line ",
        "QUIT\r\n",
        "250 ok\r\n",
    ];
    proptest::collection::vec(proptest::sample::select(words), 0..40)
        .prop_map(|words| words.concat().into_bytes())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn what_is_delivered_arrived(
        tls: bool,
        chunking: bool,
        pipelining: bool,
        messages in proptest::collection::vec((0usize..4, body()), 1..5),
        seed: u64,
    ) {
        check(&Case { tls, chunking, pipelining, messages, seed });
    }
}

/// More than fits into any buffer, in both framings, with every dot at the start of a line.
#[test]
fn large_messages_arrive() {
    for chunking in [false, true] {
        let body = b"..a line\r\n.\r\nof mail\n".repeat(20_000);
        let stored: usize = (0..4)
            .map(|seed| {
                let messages = vec![(1, body.clone())];
                check(&Case { tls: false, chunking, pipelining: true, messages, seed })
            })
            .sum();
        assert!(stored > 0, "no message was stored");
    }
}
