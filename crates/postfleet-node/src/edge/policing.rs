//! Where a session meets policy: questions on their way there, rulings on their way back.

use super::receptions::Reception;
use super::session::{Driver, settle};
use crate::clock;
use crate::notices::{Severity, notice};
use crate::policy::{Ruling, Visit, ask};
use crate::store::chain;
use postfleet_replica::MetricWord;
use postfleet_sieve::Phase;
use postfleet_smtp::{Answer, Failure, MessageFacts, Question, Reply, Session};
use std::pin::Pin;

/// What is being decided.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Matter {
    Connect,
    Ehlo,
    Mail,
    Recipient,
    Message,
}

/// A question that policy is looking at. It has the session's contexts meanwhile; dropped, it is forgotten, and whatever
/// it waits for with it.
pub(super) type Asked = Pin<Box<dyn Future<Output = (Box<Visit>, Matter, Ruling)> + Send>>;

/// Asks phase after phase, until one decides.
fn asking(mut visit: Box<Visit>, matter: Matter, phases: &'static [Phase]) -> Asked {
    Box::pin(async move {
        let mut ruling = Ruling::Continue;
        for phase in phases {
            if visit.policy().listens(*phase) {
                ruling = ask(&mut visit, *phase).await;
            }
            if ruling != Ruling::Continue {
                break;
            }
        }
        if matter == Matter::Message && matches!(ruling, Ruling::Continue | Ruling::Accept(_)) {
            ruling = copies(&mut visit).await.unwrap_or(ruling);
        }
        (visit, matter, ruling)
    })
}

/// Asks about each copy. One that is refused for now refuses the message, so that the client comes again with all of it;
/// so does the last one of copies that are all refused. Otherwise what becomes of each is left with the visit.
async fn copies(visit: &mut Visit) -> Option<Ruling> {
    const PHASES: [Phase; 2] = [Phase::EachRcpt, Phase::SetBinding];
    if !PHASES.into_iter().any(|phase| visit.policy().listens(phase)) {
        return None;
    }
    let recipients = visit.recipients().to_vec();
    let mut destinations = Vec::with_capacity(recipients.len());
    let (mut refused, mut last) = (0, None);
    for recipient in &recipients {
        visit.about(Some(recipient.clone()));
        let mut destination = Some(recipient.clone());
        for phase in PHASES {
            if !visit.policy().listens(phase) {
                continue;
            }
            match ask(visit, phase).await {
                Ruling::Continue | Ruling::Accept(_) => continue,
                Ruling::Refuse(reply) | Ruling::Disconnect(reply) => {
                    if reply.code() < 500 {
                        visit.about(None);
                        return Some(Ruling::Refuse(reply));
                    }
                    notice(
                        Severity::Notice,
                        format_args!(
                            "policy refuses the copy for {recipient}: {} {}",
                            reply.code(),
                            reply.text()
                        ),
                    );
                    refused += 1;
                    last = Some(reply);
                    destination = None;
                }
                Ruling::Discard(_) => destination = None,
                Ruling::Redirect(address) => destination = Some(address),
            }
            break;
        }
        destinations.push(destination);
    }
    visit.about(None);
    match last {
        Some(reply) if refused == recipients.len() => return Some(Ruling::Refuse(reply)),
        Some(_) | None => {}
    }
    if destinations.iter().map(Option::as_deref).ne(recipients.iter().map(|kept| Some(kept.as_str()))) {
        visit.readdress(destinations);
    }
    None
}

impl Driver<'_> {
    /// Learns from a question what the contexts have, and asks whoever wants to be asked.
    pub(super) fn question(&mut self, session: &mut Session, question: Question) {
        let Some(mut visit) = self.visit.take() else {
            let mail = matches!(question, Question::Mail { .. });
            return self.answer(session, if mail { Matter::Mail } else { Matter::Connect }, Answer::Continue);
        };
        let counters = session.counters();
        let (matter, phases): (Matter, &'static [Phase]) = match question {
            Question::Connect => (Matter::Connect, &[Phase::Accept, Phase::Connect]),
            Question::Helo { line, name } => {
                visit.greeted(&line, &name);
                (Matter::Ehlo, &[Phase::Ehlo])
            }
            Question::Mail { line, mail } => {
                visit.mail(&line, &mail, counters);
                (Matter::Mail, &[Phase::Mailfrom])
            }
            Question::Recipient { line, address } => {
                visit.recipient(&line, &address, counters);
                (Matter::Recipient, &[Phase::Rcptto])
            }
        };
        if phases.iter().any(|phase| visit.policy().listens(*phase)) {
            self.asked = Some(asking(visit, matter, phases));
        } else {
            self.visit = Some(visit);
            self.answer(session, matter, Answer::Continue);
        }
    }

    /// Answers the core; what lets a transaction begin waits for a unit of the inbound throttle.
    fn answer(&mut self, session: &mut Session, matter: Matter, answer: Answer) {
        let now = clock::monotonic();
        let begins = matches!(answer, Answer::Continue | Answer::Accept(_));
        let answer = if matter == Matter::Mail && begins {
            match self.node.receptions.take(self.idle_time) {
                Reception::Free => answer,
                Reception::TooLong => Answer::RateLimited,
                Reception::Unit(unit) => {
                    let release = unit.release;
                    self.unit = Some(unit);
                    if release > now {
                        self.held = Some((release, answer));
                        return;
                    }
                    answer
                }
            }
        } else {
            answer
        };
        settle(session.answer(now, answer));
    }

    /// The message is complete; `false` when nobody wants to look at it.
    pub(super) fn message_question(&mut self, facts: MessageFacts) -> bool {
        const PHASES: &[Phase] = &[Phase::Data, Phase::Spool];
        let Some(mut visit) = self.visit.take() else { return false };
        visit.message_ends(facts);
        if !visit.swallows() && self.incoming.is_some() && !visit.policy().reads_messages() {
            self.visit = Some(visit);
            return false;
        }
        self.asked = Some(asking(visit, Matter::Message, PHASES));
        true
    }

    /// Does what was decided.
    pub(super) async fn ruled(&mut self, session: &mut Session, matter: Matter, ruling: Ruling) {
        if let Some(visit) = &self.visit {
            session.set_can_relay(visit.can_relay());
        }
        if matter == Matter::Message {
            return self.message_ruled(session, ruling).await;
        }
        let answer = match ruling {
            Ruling::Continue => Answer::Continue,
            Ruling::Accept(reply) => Answer::Accept(reply),
            Ruling::Refuse(reply) => Answer::Refuse(reply),
            Ruling::Disconnect(reply) => Answer::Disconnect(reply),
            Ruling::Discard(_) => {
                if let Some(visit) = &mut self.visit {
                    match matter {
                        Matter::Connect | Matter::Ehlo => visit.swallow_connection(),
                        Matter::Mail => visit.swallow_transaction(),
                        Matter::Recipient | Matter::Message => visit.swallow_recipient(),
                    }
                }
                if matter == Matter::Recipient {
                    self.count_rejected(1);
                }
                Answer::Continue
            }
            Ruling::Redirect(address) => {
                if let Some(visit) = &mut self.visit {
                    visit.redirect_recipient(address);
                }
                Answer::Continue
            }
        };
        self.answer(session, matter, answer);
    }

    async fn message_ruled(&mut self, session: &mut Session, ruling: Ruling) {
        let now = clock::monotonic();
        let swallowed = self.visit.as_ref().is_some_and(|visit| visit.swallows());
        let said = match ruling {
            Ruling::Refuse(reply) => {
                self.abandon();
                return settle(session.message_failed(now, Failure::Policy(reply)));
            }
            Ruling::Disconnect(reply) => {
                self.abandon();
                return settle(session.message_failed(now, Failure::Disconnect(reply)));
            }
            Ruling::Discard(reason) => return self.discard(session, &discarding(&reason)),
            Ruling::Accept(reply) => Some(reply),
            Ruling::Redirect(address) => {
                if let Some(visit) = &mut self.visit {
                    visit.redirect_message(address);
                }
                None
            }
            Ruling::Continue => None,
        };
        if swallowed || self.incoming.is_none() {
            return self.discard(session, &discarding(""));
        }
        let destinations = self.visit.as_mut().and_then(|visit| visit.take_destinations());
        if let Some(destinations) = destinations {
            if destinations.iter().all(Option::is_none) {
                return self.discard(session, &discarding(""));
            }
            if let Err(failure) = self.send_to(&destinations).await {
                return settle(session.message_failed(clock::monotonic(), failure));
            }
        }
        self.end(session, said).await;
    }

    /// Gives the message that is complete another envelope.
    async fn send_to(&mut self, destinations: &[Option<String>]) -> Result<(), Failure> {
        let Some(draft) = self.incoming.take() else { return Ok(()) };
        let mut envelope = draft.envelope().clone();
        let before = envelope.copies.len();
        let mut wanted = destinations.iter();
        envelope.copies.retain_mut(|copy| match wanted.next() {
            Some(Some(destination)) => {
                super::spooled::readdress(copy, destination.clone());
                true
            }
            Some(None) | None => false,
        });
        let dropped = u32::try_from(before.saturating_sub(envelope.copies.len())).unwrap_or(u32::MAX);
        if let Some(first) = envelope.copies.first() {
            envelope.batch = first.id;
        }
        let draft = self.node.store.readdress(draft, envelope).await.map_err(|error| {
            notice(Severity::Error, format_args!("a message cannot be taken: {}", chain(&error)));
            super::session::failure(&error)
        })?;
        self.incoming = Some(draft);
        self.swallowed = self.swallowed.saturating_add(dropped);
        self.count_rejected(dropped);
        Ok(())
    }

    /// The client is told that its message was accepted, and nobody gets it.
    fn discard(&mut self, session: &mut Session, reply: &Reply) {
        let already = std::mem::take(&mut self.swallowed);
        let copies = u32::try_from(self.ids.len()).unwrap_or(u32::MAX).saturating_sub(already);
        self.abandon();
        settle(session.message_discarded(clock::monotonic(), reply, copies));
    }

    pub(super) fn count_rejected(&self, copies: u32) {
        self.node.statistics.count_rejected(u64::from(copies));
        self.node.audit.event(MetricWord::Rejection, self.client, copies);
    }

    /// The envelope without the recipients that policy swallowed, and with those that it put in others' place; none when
    /// nobody is left.
    pub(super) fn readdressed(
        &mut self,
        mut envelope: postfleet_spool::Envelope,
    ) -> Option<postfleet_spool::Envelope> {
        self.swallowed = 0;
        let Some(visit) = &mut self.visit else { return Some(envelope) };
        let before = envelope.copies.len();
        envelope.copies.retain_mut(|copy| match visit.destination(&copy.recipient) {
            None => false,
            Some(destination) => {
                super::spooled::readdress(copy, destination);
                true
            }
        });
        self.swallowed = u32::try_from(before.saturating_sub(envelope.copies.len())).unwrap_or(u32::MAX);
        visit.message_begins(envelope.copies.iter().map(|copy| copy.recipient.clone()).collect());
        (!envelope.copies.is_empty()).then_some(envelope)
    }

    /// The session is over. A message that policy was looking at was not acknowledged.
    pub(super) fn give_up(&mut self, session: &mut Session) {
        if self.asked.take().is_some() {
            // Only a message is still owed an answer when the connection has ended.
            let _owed = session.message_abandoned();
        }
        self.abandon();
    }
}

/// The reply that a swallowed message is booked with: the reason, which should begin with a code.
fn discarding(reason: &str) -> Reply {
    let code =
        reason.get(..3).and_then(|code| code.parse::<u16>().ok()).filter(|code| (400..=599).contains(code));
    match code {
        Some(code) => Reply::verbatim(code, reason.get(3..).unwrap_or_default().trim_start().to_owned()),
        None => Reply::new(550, "5.7.1", "[internal] discarded by policy"),
    }
}
