//! One SMTP session: moves octets between a socket and the protocol core, and messages into the spool.

use super::policing::{Asked, with_surplus};
use super::receptions::Unit;
use super::spooled;
use super::stream::Stream;
use crate::clock;
use crate::logs::Rejected;
use crate::node::Node;
use crate::notices::{Severity, notice};
use crate::policy::Visit;
use crate::store::Incoming;
use postfleet_config::live::Generation;
use postfleet_replica::MetricWord;
use postfleet_smtp::{
    Answer, Envelope, Event, Failure, MessageStart, OutOfTurn, Rejection, Reply, Resources, Session,
    SessionFacts, SessionSettings,
};
use postfleet_spool::{MessageId, Refusal, Room, StoreError};
use postfleet_types::Monotonic;
use std::future::pending;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::{sleep_until, timeout};

/// A client that takes no reply for so long is gone (RFC 5321, section 4.5.3.2, asks for no less from servers
/// waiting for commands).
const WRITE_PATIENCE: Duration = Duration::from_secs(300);
/// A TLS handshake that takes longer is given up.
const HANDSHAKE_PATIENCE: Duration = Duration::from_secs(60);
/// Octets read from the socket at once.
const READ_OCTETS: usize = 16 * 1024;

/// What a session is given besides its socket.
pub(super) struct Beginning {
    pub(super) settings: Arc<SessionSettings>,
    /// The generation that these settings came with.
    pub(super) esmtp: Generation,
    pub(super) facts: SessionFacts,
    /// What logs call the connection.
    pub(super) connection: MessageId,
    pub(super) tls: Option<Arc<rustls::ServerConfig>>,
    pub(super) can_relay: bool,
    pub(super) refusal: Option<postfleet_smtp::ConnectRefusal>,
    /// None where no policy has anything to say.
    pub(super) visit: Option<Box<Visit>>,
}

/// Serves the session until it ends.
pub(super) async fn serve(node: &Arc<Node>, stream: Stream, beginning: Beginning) {
    let Beginning { settings, esmtp, facts, connection, tls, can_relay, refusal, visit } = beginning;
    let (client, local) = (facts.client, facts.local);
    let idle_time = settings.idle_time;
    let mut session = Session::new(settings, facts);
    session.set_can_relay(can_relay);
    if let Some(visit) = &visit {
        // Scripts that were read anew may listen where those of the configuration's start did not.
        session.ask_also(visit.policy().questions());
    }
    let refusal = refusal.or_else(|| {
        (node.store.room() == Room::Critical).then_some(postfleet_smtp::ConnectRefusal::Resources)
    });
    if let Some(refusal) = refusal {
        settle(session.refuse(refusal));
    }
    let mut driver = Driver {
        node,
        client: client.ip(),
        remote: client,
        local,
        connection,
        stream: Some(stream),
        tls,
        incoming: None,
        ids: Vec::new(),
        visit,
        asked: None,
        held: None,
        unit: None,
        idle_time,
        surplus: 0,
    };
    let mut stopping = node.stopping.subscribe();
    let mut told_to_stop = false;
    let mut changes = node.configuration.esmtp_changes();
    let mut told_of_change = false;
    let mut buffer = vec![0; READ_OCTETS];
    loop {
        session.set_resources(match node.store.room() {
            Room::Enough => Resources::Ample,
            Room::Low | Room::Critical => Resources::Short,
        });
        while let Some(event) = session.poll_event() {
            if let Err(error) = driver.carry_out(&mut session, event).await {
                notice(Severity::Debug, format_args!("session of {client} ended: {error}"));
                driver.stream = None;
                session.connection_lost();
            }
        }
        let Some(stream) = driver.stream.as_mut().filter(|_| !session.is_closed()) else { break };
        let asked = driver.asked.as_mut();
        let answered = async {
            match asked {
                Some(asked) => asked.await,
                None => pending().await,
            }
        };
        let deadline = session.poll_deadline();
        let timer = async {
            match deadline {
                Some(deadline) => sleep_until(clock::instant_of(deadline)).await,
                None => pending().await,
            }
        };
        let held = driver.held.as_ref().map(|(release, _)| clock::instant_of(*release));
        let released = async {
            match held {
                Some(release) => sleep_until(release).await,
                None => pending().await,
            }
        };
        let stop = async {
            if stopping.wait_for(|stopping| *stopping).await.is_err() {
                pending::<()>().await;
            }
        };
        let change = async {
            if changes.wait_for(|current| *current > esmtp).await.is_err() {
                pending::<()>().await;
            }
        };
        tokio::select! {
            (visit, matter, ruling) = answered => {
                driver.asked = None;
                driver.visit = Some(visit);
                driver.ruled(&mut session, matter, ruling).await;
            }
            () = released => {
                if let Some((_, answer)) = driver.held.take() {
                    settle(session.answer(clock::monotonic(), answer));
                }
            }
            // What a client says while its command is held waits; that it goes away is seen all the same.
            read = stream.read(&mut buffer), if session.wants_input() => match read {
                Ok(count @ 1..) => {
                    // What the client says after a change that came into effect is answered by the new configuration.
                    if !told_of_change && *changes.borrow() > esmtp {
                        told_of_change = true;
                        session.configuration_changed();
                    }
                    session.receive(clock::monotonic(), buffer.get(..count).unwrap_or_default());
                }
                Ok(0) => session.connection_lost(),
                Err(error) => {
                    notice(Severity::Debug, format_args!("session of {client} ended: {error}"));
                    session.connection_lost();
                }
            },
            () = timer => session.timed_out(clock::monotonic()),
            () = stop, if !told_to_stop => {
                told_to_stop = true;
                session.shut_down();
            }
            () = change, if !told_of_change => {
                told_of_change = true;
                session.configuration_changed();
            }
        }
    }
    driver.give_up(&mut session);
}

/// The session's hands.
pub(super) struct Driver<'a> {
    pub(super) node: &'a Arc<Node>,
    pub(super) client: IpAddr,
    remote: SocketAddr,
    local: SocketAddr,
    connection: MessageId,
    /// None once the connection is closed.
    stream: Option<Stream>,
    tls: Option<Arc<rustls::ServerConfig>>,
    /// The message that is coming in.
    pub(super) incoming: Option<Incoming>,
    pub(super) ids: Vec<MessageId>,
    /// What policy knows of the session; none where nobody asks, and while policy has it.
    pub(super) visit: Option<Box<Visit>>,
    /// The question that policy is looking at.
    pub(super) asked: Option<Asked>,
    /// The answer to a MAIL command whose unit of the inbound throttle may not be used yet.
    pub(super) held: Option<(Monotonic, Answer)>,
    /// The unit that the transaction uses.
    pub(super) unit: Option<Unit>,
    pub(super) idle_time: Duration,
    /// Copies of the message that policy added, less those that it took away.
    pub(super) surplus: i64,
}

impl Driver<'_> {
    /// Does what the core wants. An error means that the connection is of no more use.
    async fn carry_out(&mut self, session: &mut Session, event: Event) -> io::Result<()> {
        match event {
            Event::Reply(octets) => self.write(&octets).await?,
            Event::StartTls => self.start_tls(session).await?,
            Event::Close => {
                if let Some(mut stream) = self.stream.take() {
                    drop(timeout(WRITE_PATIENCE, stream.shutdown()).await);
                }
            }
            Event::Question(question) => self.question(session, question),
            Event::MessageBegin(envelope) => self.begin(session, &envelope),
            Event::Content(octets) => self.content(&octets).await,
            Event::MessageEnd(facts) => {
                if !self.message_question(facts) {
                    if self.node.delivery.refuses_unassigned() {
                        self.refuse_unassigned(session);
                    } else {
                        self.end(session, None).await;
                    }
                }
            }
            Event::MessageAbort(_) => self.abandon(),
            Event::Rejected(rejection) => {
                self.node.statistics.count_rejected(u64::from(rejection.copies));
                self.node.audit.event(MetricWord::Rejection, self.client, rejection.copies);
                self.log_rejected(&rejection);
            }
            Event::Received { copies, .. } => {
                let surplus = std::mem::take(&mut self.surplus);
                let copies = with_surplus(usize::try_from(copies).unwrap_or(usize::MAX), surplus);
                self.node.statistics.count_received(u64::from(copies));
                self.node.audit.event(MetricWord::Reception, self.client, copies);
            }
            Event::UnitSpent { accepted } => {
                if let Some(unit) = self.unit.take().filter(|_| accepted) {
                    unit.spend();
                }
            }
        }
        Ok(())
    }

    pub(super) fn log_rejected(&self, rejection: &Rejection) {
        if !self.node.logs.wants_rejections() {
            return;
        }
        self.node.logs.rejected(&Rejected {
            remote: self.remote,
            local: self.local,
            connection: self.connection,
            phase: rejection.phase,
            reply: &rejection.reply,
            copies: rejection.copies,
            sender: rejection.sender.as_deref(),
            recipient: rejection.recipient.as_deref(),
            visit: self.visit.as_deref(),
        });
    }

    async fn write(&mut self, octets: &[u8]) -> io::Result<()> {
        let Some(stream) = &mut self.stream else { return Err(io::ErrorKind::NotConnected.into()) };
        let write = async {
            stream.write_all(octets).await?;
            stream.flush().await
        };
        timeout(WRITE_PATIENCE, write).await.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
    }

    async fn start_tls(&mut self, session: &mut Session) -> io::Result<()> {
        let (Some(stream), Some(config)) = (self.stream.take(), self.tls.clone()) else {
            return Err(io::Error::other("STARTTLS without a certificate"));
        };
        let stream = timeout(HANDSHAKE_PATIENCE, stream.start_tls(config))
            .await
            .unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))?;
        let facts = stream.tls_facts();
        if let Some(visit) = &mut self.visit {
            visit.encrypted(&facts);
        }
        settle(session.tls_started(clock::monotonic(), facts));
        self.stream = Some(stream);
        Ok(())
    }

    fn begin(&mut self, session: &mut Session, envelope: &Envelope) {
        let now = clock::monotonic();
        if self.node.store.room() != Room::Enough {
            settle(session.message_refused(now, Failure::Storage));
            return;
        }
        self.ids = self.node.store.draw_ids(envelope.recipients.len());
        let Some(first) = self.ids.first().copied() else {
            settle(session.message_refused(now, Failure::Spool));
            return;
        };
        let at = clock::wall();
        let stored = self.readdressed(spooled::envelope(envelope, &self.ids, first, at, self.connection));
        let draft = stored.map(|stored| self.node.store.draft(stored)).transpose();
        match draft {
            Ok(draft) => {
                self.incoming = draft;
                let start = MessageStart { id: first.to_string(), at };
                if session.message_started(now, start).is_err() {
                    self.abandon();
                }
            }
            Err(error) => {
                notice(Severity::Error, format_args!("message {first} cannot be taken: {error}"));
                settle(session.message_refused(now, failure(&error)));
            }
        }
    }

    async fn content(&mut self, octets: &[u8]) {
        if let Some(visit) = &mut self.visit {
            visit.content(octets);
        }
        let Some(mut draft) = self.incoming.take() else { return };
        self.incoming = if draft.push(octets) { self.node.store.flush(draft).await } else { Some(draft) };
    }

    /// Stores the message, and says so.
    pub(super) async fn end(&mut self, session: &mut Session, said: Option<Reply>) {
        let outcome = match self.incoming.take() {
            Some(draft) => self.node.store.store(draft).await,
            None => Err(StoreError::NoRecipient),
        };
        let now = clock::monotonic();
        settle(match outcome {
            Ok(()) => session.message_stored_as(now, said),
            Err(error) => session.message_failed(now, failure(&error)),
        });
    }

    pub(super) fn abandon(&mut self) {
        if let Some(draft) = self.incoming.take() {
            self.node.store.abandon(draft);
        }
    }
}

pub(super) fn failure(error: &StoreError) -> Failure {
    match error.refusal() {
        Refusal::InsufficientStorage => Failure::Storage,
        Refusal::Failed => Failure::Spool,
    }
}

/// The core refuses an answer that it no longer waits for, because the connection ended meanwhile. There is
/// nothing to be done then.
pub(super) fn settle(outcome: Result<(), OutOfTurn>) {
    if let Err(error) = outcome {
        notice(Severity::Debug, error);
    }
}
