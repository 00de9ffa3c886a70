//! A transaction: MAIL, the batch of recipients, the content.

use alloc::boxed::Box;
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

use bytes::BytesMut;
use postfleet_types::Monotonic;

use super::content::Encoder;
use super::event::{Event, Outcome};
use super::message::{Message, Said};
use super::reply::{PeerReply, Verdict};
use super::settings::EightBit;
use super::{Awaited, Client, OUTPUT_OCTETS_MAX};
use crate::event::OutOfTurn;

/// A message from MAIL to its last outcome.
#[derive(Debug)]
pub(super) struct Transaction {
    message: Box<Message>,
    said: Said,
    /// For each recipient: where it stands.
    standing: Vec<Standing>,
    /// Commands go out together (RFC 2920).
    pipelined: bool,
    body: Body,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Standing {
    /// Nothing is known.
    Open,
    /// RCPT was accepted.
    Accepted,
    /// It has its outcome.
    Settled,
}

#[derive(Debug)]
enum Body {
    /// Not asked for yet.
    Before(Framing, Encoder),
    /// The driver hands it in.
    Data(Encoder),
    Chunks(Encoder, BytesMut),
    /// All of it was handed in, or nobody wants it.
    After,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Framing {
    Dots,
    Chunks,
}

impl Transaction {
    fn next_open(&self) -> Option<usize> {
        self.standing.iter().position(|standing| *standing == Standing::Open)
    }

    fn accepted(&self) -> bool {
        self.standing.contains(&Standing::Accepted)
    }

    /// Whether the content is sent with DATA.
    const fn by_data(&self) -> bool {
        matches!(self.body, Body::Before(Framing::Dots, _))
    }
}

impl Client {
    /// Starts to send a message; false when all its recipients are settled without a word to the server.
    pub(super) fn begin(&mut self, message: Box<Message>) -> bool {
        let utf8 = self.offered.smtputf8 && message.asks_for_utf8();
        // With SMTPUTF8 the header section may have any UTF-8; otherwise it counts as content of eight bits.
        let eight_bit = message.eight_bit_body || (message.eight_bit_header && !utf8);
        let declare = self.offered.eight_bit_mime && (self.settings.send_eight_bit_mime || utf8);
        let said = Said { utf8, eight_bit_mime: eight_bit && declare };
        let undeclared = eight_bit && !declare && !utf8;
        let strip = undeclared && self.settings.eight_bit == EightBit::Strip;
        let framing =
            if self.settings.chunking && self.offered.chunking { Framing::Chunks } else { Framing::Dots };
        let encoder = Encoder::new(framing == Framing::Dots, strip);
        let refusal = if self.offered.size.is_some_and(|limit| limit > 0 && limit < message.octets) {
            Some((552, "5.3.4 [internal] message is larger than the remote host accepts"))
        } else if message.smtputf8 && message.eight_bit_header && !utf8 {
            Some((550, UTF8_NEEDED))
        } else if undeclared && self.settings.eight_bit == EightBit::Refuse {
            Some((
                554,
                "5.6.3 [internal] remote host does not take 8-bit content and conversion is not possible",
            ))
        } else {
            None
        };
        let mail = message.mail(said, &self.offered);
        let standing = message.recipients.iter().map(|_| Standing::Open).collect();
        let pipelined = self.offered.pipelining;
        let body = Body::Before(framing, encoder);
        self.transaction = Some(Box::new(Transaction { message, said, standing, pipelined, body }));
        let refusal = refusal.or(if mail.is_none() { Some((550, UTF8_NEEDED)) } else { None });
        let (Some(mail), None) = (mail, refusal) else {
            let (code, text) = refusal.unwrap_or((550, UTF8_NEEDED));
            self.settle_open(&self.internal(code, text));
            return false;
        };
        self.settle_unspeakable();
        let Some(transaction) = &self.transaction else { return false };
        if transaction.next_open().is_none() {
            return false;
        }
        let (pipelined, by_data) = (transaction.pipelined, transaction.by_data());
        self.say(&mail, Awaited::Mail);
        if pipelined {
            for at in 0..self.transaction.as_ref().map_or(0, |transaction| transaction.standing.len()) {
                self.say_recipient(at);
            }
            if by_data {
                self.say("DATA\r\n", Awaited::Data);
            }
        }
        true
    }

    /// Settles the recipients that cannot be named without SMTPUTF8.
    fn settle_unspeakable(&mut self) {
        let Some(transaction) = &self.transaction else { return };
        let recipients = transaction.message.recipients.iter().enumerate();
        let unspeakable: Vec<usize> = recipients
            .filter(|(_, recipient)| recipient.rcpt(transaction.said.utf8, &self.offered).is_none())
            .map(|(at, _)| at)
            .collect();
        for at in unspeakable {
            let outcome = self.internal(550, UTF8_NEEDED);
            self.settle(at, outcome);
        }
    }

    fn internal(&self, code: u16, text: &str) -> Outcome {
        Outcome::Permanent(self.failure(PeerReply::internal(code, String::from(text))))
    }

    /// Says RCPT for an open recipient.
    fn say_recipient(&mut self, at: usize) {
        let Some(transaction) = &self.transaction else { return };
        if transaction.standing.get(at) != Some(&Standing::Open) {
            return;
        }
        let recipient = transaction.message.recipients.get(at);
        let line = recipient.and_then(|recipient| recipient.rcpt(transaction.said.utf8, &self.offered));
        if let Some(line) = line {
            self.say(&line, Awaited::Recipient(at));
        }
    }

    fn settle(&mut self, recipient: usize, outcome: Outcome) {
        let Some(transaction) = &mut self.transaction else { return };
        let Some(standing) = transaction.standing.get_mut(recipient) else { return };
        if *standing != Standing::Settled {
            *standing = Standing::Settled;
            self.events.push_back(Event::Settled { recipient, outcome });
        }
    }

    /// Settles every recipient that has no outcome yet.
    pub(super) fn settle_open(&mut self, outcome: &Outcome) {
        let count = self.transaction.as_ref().map_or(0, |transaction| transaction.standing.len());
        (0..count).for_each(|at| self.settle(at, outcome.clone()));
    }

    /// A reply came that belongs to the transaction.
    pub(super) fn transaction_replied(&mut self, awaited: Awaited, reply: PeerReply) {
        let verdict = reply.verdict();
        let misfit = if awaited == Awaited::Data { Verdict::Done } else { Verdict::GoOn };
        let fits = verdict != misfit || awaited == Awaited::Nobody;
        if !fits {
            return self.unanswered();
        }
        let refused = match verdict {
            Verdict::Done | Verdict::GoOn => None,
            Verdict::Temporary => Some(Outcome::Temporary(self.failure(reply.clone()))),
            Verdict::Permanent => Some(Outcome::Permanent(self.failure(reply.clone()))),
        };
        let failure = self.failure(reply.clone());
        self.awaited.pop_front();
        match (awaited, refused) {
            (Awaited::Recipient(at), None) => self.accept(at),
            (Awaited::Recipient(at), Some(refused)) => {
                let accepted = self.transaction.as_ref().is_some_and(|transaction| transaction.accepted());
                let outcome =
                    if accepted && too_many(&reply) { Outcome::StaysActive(failure) } else { refused };
                self.settle(at, outcome);
            }
            (Awaited::Nobody, refused) => {
                return if refused.is_some() { self.reset() } else { self.become_ready() };
            }
            (Awaited::Confirmation, None) => {
                self.settle_open(&Outcome::Delivered(reply));
                return self.become_ready();
            }
            (Awaited::Data, None) => return self.content_may_come(),
            (Awaited::Chunk, None) => return,
            (_, None) => {}
            (_, Some(refused)) => self.settle_open(&refused),
        }
        self.go_on();
    }

    fn accept(&mut self, at: usize) {
        let Some(transaction) = &mut self.transaction else { return };
        if let Some(standing) = transaction.standing.get_mut(at)
            && *standing == Standing::Open
        {
            *standing = Standing::Accepted;
        }
    }

    /// Says what comes next, when no reply is owed.
    fn go_on(&mut self) {
        if !self.awaited.is_empty() {
            return;
        }
        let Some(transaction) = &self.transaction else { return };
        match (transaction.next_open(), &transaction.body) {
            (Some(next), _) => self.say_recipient(next),
            (None, _) if !transaction.accepted() => self.reset(),
            (None, Body::Before(Framing::Dots, _)) => self.say("DATA\r\n", Awaited::Data),
            (None, Body::Before(Framing::Chunks, _)) => self.content_may_come(),
            (None, Body::Data(_) | Body::Chunks(..) | Body::After) => {}
        }
    }

    /// 354, or chunks may be sent.
    fn content_may_come(&mut self) {
        let Some(transaction) = &mut self.transaction else { return };
        let wanted = transaction.accepted();
        match core::mem::replace(&mut transaction.body, Body::After) {
            Body::Before(..) if !wanted => {
                // Every recipient was refused, and yet the server waits for a message (RFC 2920, section 3.1).
                self.say(".\r\n", Awaited::Nobody);
            }
            Body::Before(Framing::Dots, encoder) => {
                transaction.body = Body::Data(encoder);
                self.events.push_back(Event::ContentWanted);
            }
            Body::Before(Framing::Chunks, encoder) => {
                transaction.body = Body::Chunks(encoder, BytesMut::new());
                self.events.push_back(Event::ContentWanted);
            }
            other @ (Body::Data(_) | Body::Chunks(..) | Body::After) => transaction.body = other,
        }
    }

    /// Whether content was asked for and is not complete.
    pub(super) fn sends_content(&self) -> bool {
        let body = self.transaction.as_ref().map(|transaction| &transaction.body);
        matches!(body, Some(Body::Data(_) | Body::Chunks(..)))
    }

    /// Whether the next piece of content may be handed in.
    #[must_use]
    pub fn wants_content(&self) -> bool {
        self.sends_content() && self.awaited.is_empty() && self.output.len() < OUTPUT_OCTETS_MAX
    }

    /// Hands in the next piece of the content. Hand in the next one when this one is written: the deadline moves.
    ///
    /// # Errors
    /// [`OutOfTurn`] when no content is wanted.
    pub fn content(&mut self, now: Monotonic, octets: &[u8]) -> Result<(), OutOfTurn> {
        if !self.wants_content() {
            return Err(OutOfTurn);
        }
        let Some(transaction) = &mut self.transaction else { return Err(OutOfTurn) };
        match &mut transaction.body {
            Body::Data(encoder) => encoder.push(octets, &mut self.output),
            Body::Chunks(encoder, chunk) => {
                encoder.push(octets, chunk);
                if chunk.len() >= OUTPUT_OCTETS_MAX {
                    let chunk = chunk.split();
                    self.output.extend_from_slice(format!("BDAT {}\r\n", chunk.len()).as_bytes());
                    self.output.unsplit(chunk);
                    self.awaited.push_back(Awaited::Chunk);
                }
            }
            Body::Before(..) | Body::After => return Err(OutOfTurn),
        }
        self.touch(now);
        Ok(())
    }

    /// The content is complete.
    ///
    /// # Errors
    /// [`OutOfTurn`] when no content is wanted.
    pub fn content_end(&mut self, now: Monotonic) -> Result<(), OutOfTurn> {
        let Some(transaction) = &mut self.transaction else { return Err(OutOfTurn) };
        if !self.awaited.is_empty() {
            return Err(OutOfTurn);
        }
        match core::mem::replace(&mut transaction.body, Body::After) {
            Body::Data(mut encoder) => {
                encoder.finish(&mut self.output);
                self.output.extend_from_slice(b".\r\n");
            }
            Body::Chunks(mut encoder, mut chunk) => {
                encoder.finish(&mut chunk);
                self.output.extend_from_slice(format!("BDAT {} LAST\r\n", chunk.len()).as_bytes());
                self.output.unsplit(chunk);
            }
            other @ (Body::Before(..) | Body::After) => {
                transaction.body = other;
                return Err(OutOfTurn);
            }
        }
        self.awaited.push_back(Awaited::Confirmation);
        self.touch(now);
        Ok(())
    }

    /// The content cannot be read to its end. The connection is closed, so that the server forgets what it got.
    ///
    /// # Errors
    /// [`OutOfTurn`] when no content is being sent.
    pub fn content_failed(&mut self) -> Result<(), OutOfTurn> {
        if !self.sends_content() {
            return Err(OutOfTurn);
        }
        let text = String::from("4.3.0 [internal] the message cannot be read from the spool");
        self.lose(PeerReply::internal(451, text), false);
        Ok(())
    }
}

const UTF8_NEEDED: &str = "5.6.7 [internal] remote host does not support SMTPUTF8";

/// Whether this refusal of a recipient means that the transaction has enough of them.
fn too_many(reply: &PeerReply) -> bool {
    let other = reply.status().is_some_and(|status| (status.subject, status.detail) != (5, 3));
    matches!(reply.code(), 452 | 552) && !other
}
