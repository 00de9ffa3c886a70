//! A client against a server that says anything.

use alloc::format;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::time::Duration;

use postfleet_types::{Monotonic, Random};

use crate::ReversePath;
use crate::client::{
    Client, ClientSettings, EightBit, Event, Message, MessageRecipient, OUTPUT_OCTETS_MAX, Outcome, TlsPolicy,
};

/// Messages that are handed in, one after the other.
const MESSAGES_MAX: usize = 3;
/// Octets of a piece of content.
const PIECE_OCTETS: usize = 30_000;

/// Drives a client with the server's octets.
///
/// The first four octets choose settings, messages, how the octets are cut and how the connection ends. Checked: every
/// recipient of every message has exactly one outcome; a delivery comes only after the end of its content was written and
/// a 2xx; `Close` is the last event; what waits to be written stays bounded; and silence ends the connection.
pub fn fuzz_client(octets: &[u8]) {
    let Some((choices, input)) = octets.split_first_chunk::<4>() else { return };
    let [a, b, c, d] = *choices;
    let bit = |octet: u8, at: u8| octet >> at & 1 == 1;
    let settings = ClientSettings {
        tls: [TlsPolicy::None, TlsPolicy::IfAvailable, TlsPolicy::Required, TlsPolicy::None]
            [usize::from(a & 3)],
        tls_fallback: bit(a, 2),
        send_eight_bit_mime: bit(a, 3),
        eight_bit: [EightBit::AsIs, EightBit::Strip, EightBit::Refuse, EightBit::AsIs]
            [usize::from(a >> 4 & 3)],
        chunking: bit(a, 6),
        ..ClientSettings::default()
    };
    let mut driver = Driver {
        client: Client::new(Arc::new(settings), Monotonic::ZERO),
        choices: *choices,
        outcomes: Vec::new(),
        content_ended: false,
        closed: false,
        now: Monotonic::ZERO,
    };
    if bit(a, 7) {
        driver.submit();
    }
    driver.client.connected(driver.now).expect("it was not connected");
    driver.run();
    let mut cuts = Random::seeded(u64::from(d));
    let mut rest = input;
    while !rest.is_empty() && !driver.closed {
        let count = match c & 3 {
            0 => rest.len(),
            1 => 1,
            // A line at a time: a server that waits for its client gets far.
            2 => rest.iter().position(|octet| *octet == b'\n').map_or(rest.len(), |at| at + 1),
            _ => usize::try_from(cuts.below(60)).unwrap_or(1).clamp(1, rest.len()),
        };
        let (now, behind) = rest.split_at(count);
        driver.now = driver.now + Duration::from_millis(1);
        driver.client.received(driver.now, now);
        driver.run();
        rest = behind;
    }
    match b & 3 {
        0 => driver.client.closed(),
        1 => driver.client.transmit_failed(),
        // Silence: at most one deadline leads to QUIT, the next one ends.
        _ => {
            for _ in 0..2 {
                if let Some(deadline) = driver.client.poll_deadline() {
                    driver.now = deadline;
                    driver.client.handle_timeout(deadline);
                    driver.run();
                }
            }
        }
    }
    driver.run();
    assert!(driver.closed, "the end left the connection open");
    assert!(driver.client.poll_deadline().is_none() && !driver.client.takes_message());
    assert!(
        driver.client.content(driver.now, b"x").is_err() && driver.client.content_end(driver.now).is_err()
    );
    for (at, outcomes) in driver.outcomes.iter().enumerate() {
        assert!(outcomes.iter().all(|settled| *settled), "a recipient of message {at} has no outcome");
    }
}

struct Driver {
    client: Client,
    choices: [u8; 4],
    /// For each message handed in, for each recipient: whether it is settled.
    outcomes: Vec<Vec<bool>>,
    /// The content of the last message was handed in to its end.
    content_ended: bool,
    closed: bool,
    now: Monotonic,
}

impl Driver {
    fn submit(&mut self) {
        let [_, b, c, d] = self.choices;
        let index = u8::try_from(self.outcomes.len()).unwrap_or(0);
        let name = if b >> 2 & 1 == 1 { "\u{e9}" } else { "x" };
        let recipients: Vec<MessageRecipient> = (0..(b >> 3 & 3).wrapping_add(index) & 3)
            .map(|at| MessageRecipient {
                address: format!("{name}{at}@example.org").parse().expect("an address"),
                ascii: (at == 1).then(|| "y@example.org".parse().expect("an address")),
                notify: None,
                original: None,
            })
            .collect();
        self.outcomes.push(recipients.iter().map(|_| false).collect());
        self.content_ended = false;
        let message = Message {
            reverse_path: ReversePath::Null,
            reverse_path_ascii: None,
            recipients,
            octets: u64::from(d),
            eight_bit_header: b >> 5 & 1 == 1,
            eight_bit_body: b >> 6 & 1 == 1,
            smtputf8: c >> 2 & 1 == 1,
            ret: None,
            envelope_id: None,
        };
        assert!(self.client.submit(self.now, message).is_ok(), "it took no message");
    }

    fn run(&mut self) {
        loop {
            if let Some(octets) = self.client.poll_transmit() {
                assert!(octets.len() <= OUTPUT_OCTETS_MAX * 2 + PIECE_OCTETS * 2 + 1000, "too much to write");
            } else if let Some(event) = self.client.poll_event() {
                assert!(!self.closed, "{event:?} after Close");
                self.carry_out(event);
            } else if self.content_due() {
                let piece = [b'.'; PIECE_OCTETS];
                let pieces = usize::from(self.choices[2] >> 4);
                for _ in 0..pieces {
                    if self.client.wants_content() {
                        self.client.content(self.now, &piece).expect("content was wanted");
                    }
                }
                if self.client.content_end(self.now).is_ok() {
                    self.content_ended = true;
                }
            } else {
                return;
            }
        }
    }

    fn content_due(&self) -> bool {
        self.choices[2] >> 3 & 1 == 0 && self.client.wants_content()
    }

    fn carry_out(&mut self, event: Event) {
        match event {
            Event::StartTls => {
                if self.choices[1] >> 7 == 1 {
                    self.client.tls_ready(self.now).expect("a handshake was asked for");
                } else {
                    self.client.tls_failed().expect("a handshake was asked for");
                }
            }
            Event::Ready if self.outcomes.len() < MESSAGES_MAX => self.submit(),
            Event::Ready => self.client.quit(self.now).expect("it is idle"),
            Event::ContentWanted => assert!(!self.content_ended, "the content is wanted twice"),
            Event::Settled { recipient, outcome } => {
                if let Outcome::Delivered(reply) = &outcome {
                    assert!(self.content_ended && reply.code() / 100 == 2, "delivered without its content");
                }
                let outcomes = self.outcomes.last_mut().expect("a message was handed in");
                let settled = outcomes.get_mut(recipient).expect("a recipient of the message");
                assert!(!core::mem::replace(settled, true), "settled twice");
            }
            Event::Close(_) => self.closed = true,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::string::String;
    use proptest::prelude::*;

    const WORDS: &[&str] = &[
        "220 hello\r\n",
        "220 hello\r\n250-x\r\n250 PIPELINING\r\n",
        "220 hello\r\n250-x\r\n250-SIZE 100\r\n250-CHUNKING\r\n250-SMTPUTF8\r\n250 8BITMIME\r\n",
        "220 hello\r\n250-x\r\n250-PIPELINING\r\n250 STARTTLS\r\n220 go\r\n",
        "250 ok\r\n",
        "250 ok\r\n250 ok\r\n",
        "250 ok\r\n250 ok\r\n354 go\r\n250 taken\r\n",
        "354 go\r\n",
        "354 go\r\n250 taken\r\n",
        "421 bye\r\n",
        "450 later\r\n",
        "452 4.5.3 enough\r\n",
        "502 what\r\n",
        "550 no\r\n",
        "550-no\r\n550 no\r\n",
        "250-\r\n",
        "250",
        "\n",
        "garbage\r\n",
        "\0",
    ];

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(crate::cases(1500)))]

        #[test]
        fn hostile_servers_of_likely_words(
            choices in any::<[u8; 4]>(),
            words in proptest::collection::vec(proptest::sample::select(WORDS), 0..30),
        ) {
            fuzz_client(&[&choices, words.concat().as_bytes()].concat());
        }

        /// Servers that mostly do what they should get far into the dialogue.
        #[test]
        fn servers_with_one_fault(
            mut choices in any::<[u8; 4]>(),
            start in 0..4usize,
            words in proptest::collection::vec(proptest::sample::select(&WORDS[4..14]), 1..20),
        ) {
            choices[2] = choices[2] & !3 | 2;
            let input: String = core::iter::once(WORDS[start]).chain(words).collect();
            fuzz_client(&[&choices, input.as_bytes()].concat());
        }

        #[test]
        fn hostile_servers_of_any_octets(octets in proptest::collection::vec(any::<u8>(), 0..200)) {
            fuzz_client(&octets);
        }
    }
}
