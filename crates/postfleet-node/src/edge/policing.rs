//! Where a session meets policy: questions on their way there, rulings on their way back.

use super::receptions::Reception;
use super::session::{Driver, settle};
use crate::clock;
use crate::delivery::RefusedCopy;
use crate::notices::{Severity, notice};
use crate::policy::{Destination, Ruling, Visit, ask};
use crate::store::chain;
use postfleet_policy::Phase;
use postfleet_replica::MetricWord;
use postfleet_smtp as smtp;
use postfleet_smtp::{Answer, Failure, MessageFacts, Question, Rejection, RejectionKind, Reply, Session};
use postfleet_spool::RecipientCopy;
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
        if matter == Matter::Message
            && let Ruling::Redirect(address) = &ruling
        {
            // The one copy that is left leaves through a binding like any other.
            visit.redirect_message(address.clone());
            ruling = Ruling::Continue;
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
    let list = visit.destinations();
    let mut kept = Vec::with_capacity(list.len());
    let (mut refused, mut dropped, mut last) = (Vec::new(), 0_u32, None);
    for one in &list {
        visit.about(Some(one.address.clone()));
        let _before = visit.take_assigned();
        let mut stays = true;
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
                            "policy refuses the copy for {}: {} {}",
                            one.address,
                            reply.code(),
                            reply.text()
                        ),
                    );
                    refused.push(RefusedCopy {
                        copy: one.copy,
                        address: one.address.clone(),
                        reply: format!("{} {}", reply.code(), reply.text().replace('\n', " ")),
                    });
                    last = Some(reply);
                    stays = false;
                }
                Ruling::Discard(_) => stays = false,
                Ruling::Redirect(address) => visit.about(Some(address)),
            }
            break;
        }
        if stays {
            // A script may have put another address in its place.
            let address = visit.recipient_at_hand().unwrap_or(&one.address).to_owned();
            kept.push(Destination { copy: one.copy, address, assigned: visit.take_assigned() });
        } else {
            dropped = dropped.saturating_add(1);
        }
    }
    visit.about(None);
    match last {
        Some(reply) if refused.len() == list.len() => return Some(Ruling::Refuse(reply)),
        Some(_) | None => {}
    }
    // What scripts did to the list meanwhile concerns recipients that are not among those asked about.
    let further = visit.destinations().into_iter().filter(|one| !list.contains(one));
    kept.extend(further);
    // The contexts are kept for a later choice of the binding.
    if kept != list || visit.kept_context().is_some() {
        visit.readdress(kept, dropped, refused);
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
            Ruling::Discard(reason) => {
                if let Some(visit) = &mut self.visit {
                    match matter {
                        Matter::Connect | Matter::Ehlo => visit.swallow_connection(),
                        Matter::Mail => visit.swallow_transaction(),
                        Matter::Recipient | Matter::Message => visit.swallow_recipient(),
                    }
                }
                if matter == Matter::Recipient {
                    self.count_rejected(1, smtp::Phase::AwaitingRecipient, discarding(&reason));
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
        let all_assigned = self.visit.as_ref().is_some_and(|visit| visit.all_assigned());
        if !all_assigned && self.node.delivery.refuses_unassigned() {
            return self.refuse_unassigned(session);
        }
        let changed = self.visit.as_mut().and_then(|visit| {
            let sender = visit.new_sender().map(str::to_owned);
            let dropped = visit.dropped();
            let context = visit.kept_context();
            Some((visit.take_destinations()?, sender, dropped, context))
        });
        let refused = self.visit.as_mut().and_then(|visit| visit.take_refused());
        let envelope =
            self.incoming.as_ref().filter(|_| refused.is_some()).map(|draft| draft.envelope().clone());
        let mut nobody_is_left = false;
        if let Some((destinations, sender, dropped, context)) = changed {
            nobody_is_left = destinations.is_empty();
            if !nobody_is_left
                && let Err(failure) = self.send_to(&destinations, sender, dropped, context).await
            {
                return settle(session.message_failed(clock::monotonic(), failure));
            }
        }
        // The client hears that the message was accepted, so what was refused is told first: a report too many is better
        // than one that is missing.
        if let (Some((refused, header)), Some(envelope)) = (refused, envelope)
            && let Err(error) = self.node.delivery.tell_refused(self.node, &envelope, &refused, &header).await
        {
            notice(
                Severity::Error,
                format_args!(
                    "the report that policy refused copies cannot be stored, so the message is not accepted: {error}"
                ),
            );
            self.abandon();
            return settle(session.message_failed(clock::monotonic(), Failure::Spool));
        }
        if nobody_is_left {
            return self.discard(session, &discarding(""));
        }
        self.end(session, said).await;
    }

    /// `Default_Binding = none`, and a copy that nobody has assigned to a binding.
    pub(super) fn refuse_unassigned(&mut self, session: &mut Session) {
        self.abandon();
        let reply = Reply::new(451, "4.3.5", "no binding for message");
        settle(session.message_failed(clock::monotonic(), Failure::Policy(reply)));
    }

    /// Gives the message that is complete another envelope.
    async fn send_to(
        &mut self,
        destinations: &[Destination],
        sender: Option<String>,
        dropped: u32,
        context: Option<Vec<(String, String)>>,
    ) -> Result<(), Failure> {
        let Some(draft) = self.incoming.take() else { return Ok(()) };
        let mut envelope = draft.envelope().clone();
        let before = std::mem::take(&mut envelope.copies);
        envelope.copies = self.copies(&before, destinations);
        if let Some(sender) = sender {
            envelope.sender = sender;
        }
        envelope.context = context.unwrap_or_default();
        if let Some(first) = envelope.copies.first() {
            envelope.batch = first.id;
        }
        self.surplus = self.surplus.saturating_add(surplus(before.len(), envelope.copies.len()));
        let draft = self.node.store.readdress(draft, envelope).await.map_err(|error| {
            notice(Severity::Error, format_args!("a message cannot be taken: {}", chain(&error)));
            super::session::failure(&error)
        })?;
        self.incoming = Some(draft);
        self.count_rejected(dropped, smtp::Phase::SendingBodyResponse, discarding(""));
        Ok(())
    }

    /// A copy for each destination: those that were there keep their id, the others get one.
    fn copies(&self, before: &[RecipientCopy], destinations: &[Destination]) -> Vec<RecipientCopy> {
        let made = destinations.iter().filter_map(|destination| {
            let mut copy = match destination.copy {
                Some(at) => before.get(at)?.clone(),
                None => {
                    let id = self.node.store.draw_ids(1).first().copied()?;
                    RecipientCopy { id, orcpt: None, notify: None, ..before.first()?.clone() }
                }
            };
            super::spooled::readdress(&mut copy, destination.address.clone());
            if let Some(assigned) = &destination.assigned {
                copy.binding = assigned.binding().clone();
                copy.binding_group = assigned.group().clone();
            }
            Some(copy)
        });
        made.collect()
    }

    /// The client is told that its message was accepted, and nobody gets it.
    fn discard(&mut self, session: &mut Session, reply: &Reply) {
        let copies = with_surplus(self.ids.len(), std::mem::take(&mut self.surplus));
        self.abandon();
        settle(session.message_discarded(clock::monotonic(), reply, copies));
    }

    /// Copies that policy took away.
    fn count_rejected(&self, copies: u32, phase: smtp::Phase, reply: Reply) {
        if copies == 0 {
            return;
        }
        self.node.statistics.count_rejected(u64::from(copies));
        self.node.audit.event(MetricWord::Rejection, self.client, copies);
        let visit = self.visit.as_deref();
        self.log_rejected(&Rejection {
            phase,
            kind: RejectionKind::Policy,
            reply,
            copies,
            sender: visit.and_then(Visit::sender).map(str::to_owned),
            recipient: visit.and_then(Visit::recipient_at_hand).map(str::to_owned),
        });
    }

    /// The envelope without the recipients that policy swallowed, and with those that it put in others' place; none when
    /// nobody is left.
    pub(super) fn readdressed(
        &mut self,
        mut envelope: postfleet_spool::Envelope,
    ) -> Option<postfleet_spool::Envelope> {
        self.surplus = 0;
        let Some(visit) = &mut self.visit else { return Some(envelope) };
        let before = envelope.copies.clone();
        let destination = |(at, copy): (usize, &RecipientCopy)| {
            let address = visit.destination(&copy.recipient)?;
            Some(Destination { copy: Some(at), address, assigned: None })
        };
        let mut destinations: Vec<Destination> = before.iter().enumerate().filter_map(destination).collect();
        for added in visit.added() {
            if !destinations.iter().any(|known| known.address == *added) {
                destinations.push(Destination { copy: None, address: added.clone(), assigned: None });
            }
        }
        if let Some(sender) = visit.new_sender() {
            envelope.sender = sender.to_owned();
        }
        envelope.copies = self.copies(&before, &destinations);
        self.surplus = surplus(before.len(), envelope.copies.len());
        if let Some(visit) = &mut self.visit {
            visit.message_begins(envelope.copies.iter().map(|copy| copy.recipient.clone()).collect());
        }
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

/// How many copies there are more than the session knows of; negative when there are fewer.
fn surplus(before: usize, after: usize) -> i64 {
    let number = |count: usize| i64::try_from(count).unwrap_or(i64::MAX);
    number(after).saturating_sub(number(before))
}

/// Copies that a message has in truth.
pub(super) fn with_surplus(known: usize, surplus: i64) -> u32 {
    let copies = i64::try_from(known).unwrap_or(i64::MAX).saturating_add(surplus);
    u32::try_from(copies.max(0)).unwrap_or(u32::MAX)
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
