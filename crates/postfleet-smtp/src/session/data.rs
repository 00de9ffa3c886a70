//! DATA and BDAT, and what becomes of the content.

use alloc::boxed::Box;
use alloc::format;
use alloc::string::String;
use alloc::sync::Arc;

use bytes::{Buf, BytesMut};
use postfleet_types::Monotonic;

use super::transaction::{insufficient_storage, size_limit};
use super::{Session, State, Step, Waiting, commands, octets};
use crate::command::ChunkLine;
use crate::content::{Additions, Content, Fault, HeaderLimits};
use crate::envelope::Envelope;
use crate::event::{AbortReason, Event, Failure, MessageStart, OutOfTurn, Phase, RejectionKind};
use crate::framing::{Frame, Framer};
use crate::reply::Reply;
use crate::settings::{LoneRule, SessionSettings};
use crate::trace;

/// Content is handed out in pieces of about this size.
const CONTENT_OCTETS: usize = 64 * 1024;

/// A chunk that was announced.
#[derive(Clone, Copy, Debug)]
pub(super) struct Chunk {
    octets: u64,
    remaining: u64,
    last: bool,
}

/// A message while its content arrives.
#[derive(Debug)]
pub(super) struct Incoming {
    framing: Framing,
    content: Option<Content>,
    id: String,
    octets: u64,
    refusal: Option<Refusal>,
    /// The driver has a message in hand that is neither ended nor aborted.
    begun: bool,
}

#[derive(Debug)]
enum Framing {
    Dots(Box<Framer>),
    Chunk(Chunk),
}

/// Why the message will be refused when its data, or the chunk, ends.
#[derive(Debug)]
struct Refusal {
    reply: Reply,
    kind: RejectionKind,
    reported: bool,
}

/// A message that the spool is making durable.
#[derive(Debug)]
pub(super) struct Complete {
    id: String,
    copies: u32,
    content_octets: u64,
}

impl Incoming {
    /// Ends the driver's part of the message; says whether it had one.
    pub(super) const fn abort(&mut self) -> bool {
        core::mem::replace(&mut self.begun, false)
    }

    /// Takes content: first what the size limit leaves room for, so that which fault comes first does not depend
    /// on how the input was cut.
    fn take(&mut self, piece: &[u8], settings: &SessionSettings, out: &mut BytesMut) {
        let before = self.octets;
        self.octets = before.saturating_add(octets(piece.len()));
        let max = settings.message_octets_max;
        let over = max > 0 && self.octets > max;
        let room = usize::try_from(max.saturating_sub(before)).unwrap_or(usize::MAX);
        let piece = if over { piece.get(..room).unwrap_or(piece) } else { piece };
        let (None, Some(content)) = (&self.refusal, &mut self.content) else { return };
        if let Err(fault) = content.push(piece, out) {
            self.refuse_fault(fault);
        } else if over {
            self.refuse(size_limit(), RejectionKind::Size);
        }
    }

    fn refuse(&mut self, reply: Reply, kind: RejectionKind) {
        if self.refusal.is_none() {
            self.refusal = Some(Refusal { reply, kind, reported: false });
        }
        self.content = None;
    }

    fn refuse_fault(&mut self, fault: Fault) {
        let (reply, kind) = match fault {
            Fault::Loop => (Reply::new(554, "5.4.6", format!("{fault}")), RejectionKind::Loop),
            Fault::HeaderTooLarge => (Reply::new(552, "5.3.4", format!("{fault}")), RejectionKind::Size),
            Fault::LoneInHeaders
            | Fault::LoneInBody
            | Fault::HeaderLineTooLong
            | Fault::BodyLineTooLong
            | Fault::HeadersMissing
            | Fault::HeaderNotTerminated
            | Fault::InvalidHeader
            | Fault::DateMissing
            | Fault::NulInBody => (Reply::new(550, "5.6.0", format!("{fault}")), RejectionKind::Format),
        };
        self.refuse(reply, kind);
    }

    /// Takes octets from `input` until it is used up, a piece is full, or the data or chunk ends; says whether it
    /// ended.
    fn read(&mut self, input: &mut BytesMut, settings: &SessionSettings, out: &mut BytesMut) -> bool {
        while out.len() < CONTENT_OCTETS {
            let count = match &mut self.framing {
                Framing::Chunk(chunk) => {
                    let count = usize::try_from(chunk.remaining).unwrap_or(usize::MAX).min(input.len());
                    chunk.remaining -= octets(count);
                    if chunk.remaining == 0 {
                        self.take(input.get(..count).unwrap_or_default(), settings, out);
                        input.advance(count);
                        return true;
                    }
                    if count == 0 {
                        return false;
                    }
                    count
                }
                Framing::Dots(framer) => match framer.next(input) {
                    Frame::Content(count) => count,
                    Frame::Stuffing => {
                        input.advance(1);
                        let lone = framer.lone_dot() && settings.format.lone_in_body == LoneRule::Ignore;
                        // In the header section the rule for headers sees the bare octet.
                        if lone && self.content.as_ref().is_some_and(Content::in_body) {
                            self.refuse_fault(Fault::LoneInBody);
                        }
                        continue;
                    }
                    Frame::End(count) => {
                        input.advance(count);
                        return true;
                    }
                    Frame::NeedMore => return false,
                },
            };
            self.take(input.get(..count).unwrap_or_default(), settings, out);
            input.advance(count);
        }
        false
    }
}

impl Session {
    pub(super) fn data(&mut self, takes_nothing: bool) {
        let missing = match &self.transaction {
            None => Some("DATA without MAIL FROM"),
            Some(transaction) if transaction.recipients.is_empty() => Some("DATA without RCPT TO"),
            Some(_) => None,
        };
        if !takes_nothing {
            self.bad(&Reply::new(501, "5.5.4", "unexpected argument to DATA"));
        } else if let Some(text) = missing {
            self.bad(&Reply::new(503, "5.5.1", text));
        } else if self.chunked.is_some() {
            self.bad(&commands::out_of_sequence());
        } else {
            self.begin_message(None);
        }
    }

    pub(super) fn chunk(&mut self, argument: &str) {
        let offered = self.settings.extensions.chunking;
        let (octets, reply) = match (ChunkLine::parse(argument), offered) {
            (ChunkLine::Chunk { octets, .. } | ChunkLine::Wrong { octets }, false) => {
                (octets, commands::not_implemented())
            }
            (ChunkLine::NoNumber | ChunkLine::Uncountable, false) => {
                return self.bad(&commands::not_implemented());
            }
            (ChunkLine::NoNumber, true) => return self.bad(&wrong_chunk()),
            (ChunkLine::Uncountable, true) => {
                // Where the next command begins is not known.
                self.reply(&wrong_chunk());
                return self.close();
            }
            (ChunkLine::Wrong { octets }, true) => (octets, wrong_chunk()),
            (ChunkLine::Chunk { octets, last }, true) => {
                let ready =
                    self.transaction.as_ref().is_some_and(|transaction| !transaction.recipients.is_empty());
                if ready {
                    let chunk = Chunk { octets, remaining: octets, last };
                    return match self.chunked.take() {
                        Some(incoming) => self.begin_chunk(incoming, chunk),
                        None => self.begin_message(Some(chunk)),
                    };
                }
                (octets, commands::out_of_sequence())
            }
        };
        self.state = State::SkipChunk { octets, reply: Box::new(reply) };
    }

    pub(super) fn step_skip(&mut self, octets_left: u64, reply: Box<Reply>) -> Step {
        let count = usize::try_from(octets_left).unwrap_or(usize::MAX).min(self.input.len());
        self.input.advance(count);
        let left = octets_left.saturating_sub(octets(count));
        if left > 0 {
            self.state = State::SkipChunk { octets: left, reply };
            return Step::NeedInput;
        }
        self.bad(&reply);
        Step::Progress
    }

    fn begin_message(&mut self, chunk: Option<Chunk>) {
        let origin = self.origin();
        let Some(transaction) = &self.transaction else { return };
        let envelope =
            Envelope { mail: transaction.mail.clone(), recipients: transaction.recipients.clone(), origin };
        self.outbox.push_back(Event::MessageBegin(Box::new(envelope)));
        self.waiting = Waiting::MessageStart(chunk);
    }

    /// The driver is ready for the content of the message that began.
    ///
    /// # Errors
    /// [`OutOfTurn`] when no message begins; the connection may have ended meanwhile. The driver forgets the message.
    pub fn message_started(&mut self, now: Monotonic, start: MessageStart) -> Result<(), OutOfTurn> {
        let chunk = self.message_awaited()?;
        let origin = self.origin();
        let Some(transaction) = &self.transaction else { return Err(OutOfTurn) };
        let settings = &self.settings;
        let received = if settings.format.trace {
            let hostname = &settings.received_hostname;
            let sender = &transaction.mail.reverse_path;
            trace::received(&origin, sender, hostname, &settings.product, &start.id, start.at)
        } else {
            String::new()
        };
        let additions = Additions {
            received,
            date: trace::date(start.at),
            message_id: trace::message_id(&start.id, &settings.received_hostname),
        };
        let limits = HeaderLimits {
            octets_max: settings.header_octets_max,
            received_fields_max: settings.received_fields_max,
        };
        let incoming = Box::new(Incoming {
            framing: Framing::Dots(Box::new(Framer::new())),
            content: Some(Content::new(settings.format, limits, additions)),
            id: start.id,
            octets: 0,
            refusal: None,
            begun: true,
        });
        match chunk {
            Some(chunk) => self.begin_chunk(incoming, chunk),
            None => {
                self.reply(&Reply::new(354, "", "continue.  finished with \"\\r\\n.\\r\\n\""));
                self.flush();
                self.state = State::Data(incoming);
            }
        }
        self.touch(now);
        Ok(())
    }

    /// The driver cannot take the message that would begin.
    ///
    /// # Errors
    /// [`OutOfTurn`] when no message begins; the connection may have ended meanwhile.
    pub fn message_refused(&mut self, now: Monotonic, failure: Failure) -> Result<(), OutOfTurn> {
        let chunk = self.message_awaited()?;
        self.touch(now);
        let (reply, kind) = failed(failure);
        match chunk {
            Some(chunk) if reply.code() != 421 => {
                let refusal = Some(Refusal { reply, kind, reported: false });
                let framing = Framing::Chunk(chunk);
                let incoming =
                    Incoming { framing, content: None, id: String::new(), octets: 0, refusal, begun: false };
                self.state = State::Data(Box::new(incoming));
            }
            Some(_) | None => {
                self.refused_message(&reply, kind, Phase::AwaitingRecipient);
            }
        }
        Ok(())
    }

    fn message_awaited(&mut self) -> Result<Option<Chunk>, OutOfTurn> {
        if let Waiting::MessageStart(chunk) = self.waiting {
            self.waiting = Waiting::Nothing;
            Ok(chunk)
        } else {
            Err(OutOfTurn)
        }
    }

    fn begin_chunk(&mut self, mut incoming: Box<Incoming>, chunk: Chunk) {
        let max = self.settings.message_octets_max;
        if max > 0 && incoming.octets.saturating_add(chunk.octets) > max {
            incoming.refuse(size_limit(), RejectionKind::Size);
            if incoming.abort() {
                self.outbox.push_back(Event::MessageAbort(AbortReason::Refused));
            }
        }
        incoming.framing = Framing::Chunk(chunk);
        self.state = State::Data(incoming);
    }

    pub(super) fn step_data(&mut self, mut incoming: Box<Incoming>) -> Step {
        let mut out = BytesMut::new();
        let settings = Arc::clone(&self.settings);
        let ended = incoming.read(&mut self.input, &settings, &mut out);
        let last = match &incoming.framing {
            Framing::Dots(_) => ended,
            Framing::Chunk(chunk) => ended && chunk.last,
        };
        let mut facts = None;
        if last && let Some(content) = &mut incoming.content {
            match content.finish(&mut out) {
                Ok(found) => facts = Some(found),
                Err(fault) => incoming.refuse_fault(fault),
            }
        }
        if incoming.refusal.is_some() {
            if incoming.abort() {
                self.outbox.push_back(Event::MessageAbort(AbortReason::Refused));
            }
        } else if !out.is_empty() {
            self.outbox.push_back(Event::Content(out.freeze()));
        }
        if !ended {
            // A full piece left input behind; otherwise all that could be taken was taken.
            let progress = !self.outbox.is_empty();
            self.state = State::Data(incoming);
            return if progress { Step::Progress } else { Step::NeedInput };
        }
        match (facts, &mut incoming.refusal) {
            (_, Some(refusal)) => {
                let (reply, kind) = (refusal.reply.clone(), refusal.kind);
                let reported = core::mem::replace(&mut refusal.reported, true);
                if last {
                    if reported {
                        self.reply(&reply);
                        self.end_transaction(AbortReason::Refused);
                    } else {
                        self.refused_message(&reply, kind, Phase::SendingBodyResponse);
                    }
                } else {
                    if !reported {
                        self.rejected(Phase::ReadingBody, kind, &reply, self.copies());
                    }
                    self.reply(&reply);
                    self.chunked = Some(incoming);
                }
            }
            (Some(mut facts), None) => {
                facts.received_octets = incoming.octets;
                let complete =
                    Complete { id: incoming.id, copies: self.copies(), content_octets: facts.content_octets };
                self.flush();
                self.outbox.push_back(Event::MessageEnd(facts));
                self.waiting = Waiting::MessageStored(Box::new(complete));
            }
            (None, None) => {
                if let Framing::Chunk(chunk) = &incoming.framing {
                    self.reply(&Reply::new(250, "2.0.0", format!("{} octets received", chunk.octets)));
                }
                self.chunked = Some(incoming);
            }
        }
        Step::Progress
    }

    /// The message is durable: the client gets its 250, if it is still there.
    ///
    /// # Errors
    /// [`OutOfTurn`] when no message ended.
    pub fn message_stored(&mut self, now: Monotonic) -> Result<(), OutOfTurn> {
        self.message_stored_as(now, None)
    }

    /// As [`message_stored`](Self::message_stored), and the client is told this instead of the usual text.
    ///
    /// # Errors
    /// [`OutOfTurn`] when no message ended.
    pub fn message_stored_as(&mut self, now: Monotonic, said: Option<Reply>) -> Result<(), OutOfTurn> {
        let complete = self.stored_awaited()?;
        let (copies, content_octets) = (complete.copies, complete.content_octets);
        self.outbox.push_back(Event::Received { copies, content_octets });
        self.acknowledged(now, &complete, said);
        Ok(())
    }

    /// Policy swallows the message: the client is told that it was accepted, and it counts as a rejection of `copies`
    /// with that reply.
    ///
    /// # Errors
    /// [`OutOfTurn`] when no message ended.
    pub fn message_discarded(&mut self, now: Monotonic, reply: &Reply, copies: u32) -> Result<(), OutOfTurn> {
        let complete = self.stored_awaited()?;
        if copies > 0 {
            self.rejected(Phase::SendingBodyResponse, RejectionKind::Policy, reply, copies);
        }
        self.acknowledged(now, &complete, None);
        Ok(())
    }

    /// The client went away while policy was looking at the message: nobody was told anything, and it is forgotten.
    ///
    /// # Errors
    /// [`OutOfTurn`] when no message ended, or when the client is still there.
    pub fn message_abandoned(&mut self) -> Result<(), OutOfTurn> {
        if !self.is_closed() {
            return Err(OutOfTurn);
        }
        self.stored_awaited()?;
        self.settle(false);
        Ok(())
    }

    fn acknowledged(&mut self, now: Monotonic, complete: &Complete, said: Option<Reply>) {
        self.counters.messages = self.counters.messages.saturating_add(1);
        self.settle(true);
        self.transaction = None;
        if !self.is_closed() {
            let usual = || Reply::new(250, "2.0.0", format!("{} accepted", complete.id));
            self.reply(&said.map_or_else(usual, Reply::accepting));
            self.touch(now);
        }
    }

    /// The message could not be made durable, or policy refuses it after having read it.
    ///
    /// # Errors
    /// [`OutOfTurn`] when no message ended.
    pub fn message_failed(&mut self, now: Monotonic, failure: Failure) -> Result<(), OutOfTurn> {
        let complete = self.stored_awaited()?;
        let closes = matches!(failure, Failure::Disconnect(_));
        let (reply, kind) = failed(failure);
        if self.is_closed() {
            self.rejected(Phase::SendingBodyResponse, kind, &reply, complete.copies);
            self.settle(false);
        } else {
            self.touch(now);
            self.refused_message(&reply, kind, Phase::SendingBodyResponse);
            if closes {
                self.close();
            }
        }
        Ok(())
    }

    fn stored_awaited(&mut self) -> Result<Box<Complete>, OutOfTurn> {
        match core::mem::replace(&mut self.waiting, Waiting::Nothing) {
            Waiting::MessageStored(complete) => Ok(complete),
            other @ (Waiting::Nothing
            | Waiting::Connect
            | Waiting::Helo(_)
            | Waiting::Mail(_)
            | Waiting::Recipient(_)
            | Waiting::MessageStart(_)
            | Waiting::Tls) => {
                self.waiting = other;
                Err(OutOfTurn)
            }
        }
    }

    /// Every copy is refused with this reply, and the transaction is over. 421 ends the session too.
    fn refused_message(&mut self, reply: &Reply, kind: RejectionKind, phase: Phase) {
        self.rejected(phase, kind, reply, self.copies());
        self.reply(reply);
        self.end_transaction(AbortReason::Refused);
        if reply.code() == 421 {
            self.close();
        }
    }

    fn copies(&self) -> u32 {
        self.transaction.as_ref().map_or(0, super::transaction::Transaction::copies)
    }
}

fn failed(failure: Failure) -> (Reply, RejectionKind) {
    match failure {
        Failure::Spool => (Reply::new(451, "4.3.0", "transaction failed"), RejectionKind::Storage),
        Failure::Storage => (insufficient_storage(), RejectionKind::Storage),
        Failure::TooLargeNow => {
            let text = "message is too large to process at this time";
            (Reply::new(421, "4.3.0", text), RejectionKind::Storage)
        }
        Failure::Policy(reply) | Failure::Disconnect(reply) => (reply.refusing(), RejectionKind::Policy),
    }
}

fn wrong_chunk() -> Reply {
    Reply::new(501, "5.5.4", "invalid arguments to BDAT")
}
