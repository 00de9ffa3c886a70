//! One outbound connection: moves octets between a socket and the protocol core, and messages out of the spool.

use super::outgoing::{self, Outgoing};
use super::settings::{DeliverySettings, Dialing};
use super::source::{ConnectError, connect};
use super::{Delivery, now};
use crate::clock;
use crate::lock::locked;
use crate::logs::Attempt;
use crate::node::Node;
use crate::notices::{Severity, notice};
use postfleet_queue::{ConnectionId, Ended, Next, Outcome, Target};
use postfleet_smtp::client::{self, Client, ClientSettings, Ending, Event};
use postfleet_spool::{MessageId, QueueKey};
use postfleet_types::Monotonic;
use std::future::pending;
use std::io;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadHalf, WriteHalf};
use tokio::sync::Notify;
use tokio::time::sleep_until;

/// Octets read from the socket, or from the spool, at once.
const PIECE_OCTETS: usize = 32 * 1024;

/// How long a connection that is of no more use may take to end.
const GOODBYE: Duration = Duration::from_secs(5);

/// A connection that has been decided on. Whatever becomes of the task, the queues hear of its end: nothing that it was
/// given stays with it.
pub(super) struct Opening {
    delivery: Arc<Delivery>,
    id: ConnectionId,
    queue: Arc<QueueKey>,
    target: Target,
    plain: bool,
    how: Ended,
    woken: Arc<Notify>,
    made: Made,
}

/// What a connection was made with.
struct Made {
    /// The generation in which that was looked at last.
    settings: Arc<DeliverySettings>,
    client: Arc<ClientSettings>,
    dialing: Dialing,
}

impl Made {
    fn new(delivery: &Delivery, queue: &QueueKey, plain: bool) -> Self {
        let settings = delivery.settings();
        let (client, dialing) = (Arc::new(settings.client(queue, plain)), settings.dialing(queue));
        Self { settings, client, dialing }
    }

    /// Whether a connection would be made in the same way now.
    fn still_holds(&mut self, delivery: &Delivery, queue: &QueueKey, plain: bool) -> bool {
        let settings = delivery.settings();
        if Arc::ptr_eq(&settings, &self.settings) {
            return true;
        }
        let holds = *self.client == settings.client(queue, plain) && self.dialing == settings.dialing(queue);
        if holds {
            self.settings = settings;
        }
        holds
    }
}

impl Drop for Opening {
    fn drop(&mut self) {
        locked(&self.delivery.waiting).remove(&self.id);
        self.delivery.with(|scheduler, shared| scheduler.ended(now(), self.id, self.how, shared));
        self.delivery.changed.notify_one();
    }
}

trait Octets: AsyncRead + AsyncWrite + Unpin + Send {}
impl<T: AsyncRead + AsyncWrite + Unpin + Send> Octets for T {}

/// An open connection. Both halves are used at a time: a server that refuses a message in the middle says so and does not
/// read on.
struct Wire {
    read: ReadHalf<Box<dyn Octets>>,
    write: WriteHalf<Box<dyn Octets>>,
}

impl Wire {
    fn new(stream: Box<dyn Octets>) -> Self {
        let (read, write) = tokio::io::split(stream);
        Self { read, write }
    }

    /// Writes what the core has to say, and hears the server meanwhile. What is left of it when the connection is over
    /// is not written. Returns how many octets were.
    async fn say(&mut self, client: &mut Client, octets: &[u8], buffer: &mut [u8]) -> u64 {
        let Self { read, write } = self;
        if client.poll_deadline().is_none() {
            // A last word, if the other side still listens.
            let goodbye = async {
                write.write_all(octets).await?;
                write.flush().await
            };
            drop(tokio::time::timeout(GOODBYE, goodbye).await);
            return 0;
        }
        let mut rest = octets;
        loop {
            let written = (octets.len() - rest.len()) as u64;
            // Over: also when all that is left is in the buffers of TLS, where it would stay for ever.
            let deadline = client.poll_deadline();
            if deadline.is_none() {
                return written;
            }
            let more = async {
                if rest.is_empty() {
                    write.flush().await.map(|()| None)
                } else {
                    write.write(rest).await.map(Some)
                }
            };
            tokio::select! {
                biased;
                more = more => match more {
                    Ok(None) => return written,
                    Ok(Some(0)) | Err(_) => {
                        client.transmit_failed();
                        return written;
                    }
                    Ok(Some(count)) => rest = rest.get(count..).unwrap_or_default(),
                },
                heard = read.read(buffer) => hear(client, heard, buffer),
                () = at(deadline) => {
                    client.handle_timeout(clock::monotonic().max(deadline.unwrap_or_default()));
                    client.transmit_failed();
                    return written;
                }
            }
        }
    }
}

fn hear(client: &mut Client, heard: io::Result<usize>, buffer: &[u8]) {
    match heard {
        Ok(0) | Err(_) => client.closed(),
        Ok(count) => client.received(clock::monotonic(), buffer.get(..count).unwrap_or_default()),
    }
}

/// Returns at this time, or never.
async fn at(time: Option<Monotonic>) {
    match time {
        Some(at) => sleep_until(clock::instant_of(at)).await,
        None => pending().await,
    }
}

/// A transaction under way.
struct Sending {
    messages: Vec<MessageId>,
    content: Outgoing,
    at: u64,
}

impl Opening {
    pub(super) fn new(
        delivery: &Arc<Delivery>,
        id: ConnectionId,
        queue: Arc<QueueKey>,
        target: Target,
        plain: bool,
    ) -> Self {
        let woken = Arc::new(Notify::new());
        locked(&delivery.waiting).insert(id, Arc::clone(&woken));
        let made = Made::new(delivery, &queue, plain);
        Self { delivery: Arc::clone(delivery), id, queue, target, plain, how: Ended::Done, woken, made }
    }

    pub(super) async fn run(mut self, node: &Arc<Node>) {
        let host = self.target.host.clone();
        let _counted = node.connections.open_outbound(&self.queue, host.as_deref(), self.target.address.ip());
        let dialing = self.made.dialing.clone();
        let mut client = Client::new(Arc::clone(&self.made.client), clock::monotonic());
        let mut stopping = node.stopping.subscribe();
        let connecting = tokio::time::timeout(dialing.connect, connect(&dialing.bind, self.target.address));
        let connected = tokio::select! {
            connected = connecting => connected,
            _ = stopping.wait_for(|stopping| *stopping) => return,
        };
        let mut wire = match connected {
            Ok(Ok(stream)) => {
                self.delivery.has_source(&self.queue);
                let _slower = stream.set_nodelay(true);
                let _open = client.connected(clock::monotonic());
                Some(Wire::new(Box::new(stream)))
            }
            Ok(Err(ConnectError::NoSource(error))) => {
                self.delivery.no_source(&self.queue, &dialing.bind, &error);
                self.how = Ended::NoSource;
                return;
            }
            Ok(Err(ConnectError::NoPort(error))) => {
                self.delivery.no_port(&self.queue, self.target.address, &error);
                self.how = Ended::NoPort;
                return;
            }
            Ok(Err(ConnectError::Refused(error))) => return self.address_failed(&error.to_string()),
            Err(_) => return self.address_failed("Connection Timed Out"),
        };
        let mut sending: Option<Sending> = None;
        // Octets of the transaction.
        let mut sent = 0;
        // When the queues are to be asked again, without a message.
        let mut ask_at = None;
        let mut buffer = vec![0; PIECE_OCTETS];
        loop {
            // Write and carry out until the core waits.
            loop {
                while let Some(octets) = client.poll_transmit() {
                    let Some(wire) = &mut wire else { break };
                    sent += wire.say(&mut client, &octets, &mut buffer).await;
                }
                match client.poll_event() {
                    Some(Event::StartTls) => {
                        let Some(Wire { read, write }) = wire.take() else { continue };
                        let clear = read.unsplit(write);
                        let name = host
                            .as_deref()
                            .map_or_else(|| self.target.address.ip().to_string(), str::to_owned);
                        let connector = self.delivery.connector.get(&dialing);
                        let handshake = tls_stream(connector, &name, clear);
                        let limit =
                            client.poll_deadline().map(|at| at.since(clock::monotonic())).unwrap_or_default();
                        match tokio::time::timeout(limit, handshake).await {
                            Ok(Ok(encrypted)) => {
                                wire = Some(Wire::new(encrypted));
                                let _ready = client.tls_ready(clock::monotonic());
                            }
                            Ok(Err(_)) | Err(_) => _ = client.tls_failed(),
                        }
                    }
                    Some(Event::Ready) => {
                        sending = None;
                        sent = 0;
                        ask_at = self.ask(node, &mut client, &mut sending).await;
                    }
                    Some(Event::ContentWanted) => {
                        if let Some(sending) = &mut sending {
                            sending.at = 0;
                        }
                    }
                    Some(Event::Settled { recipient, outcome }) => {
                        let message =
                            sending.as_ref().and_then(|sending| sending.messages.get(recipient)).copied();
                        if let Some(message) = message {
                            self.settle(node, message, outcome, sent);
                        }
                    }
                    Some(Event::Close(ending)) => {
                        self.how = match ending {
                            Ending::Done | Ending::Lost(_) => Ended::Done,
                            Ending::AddressFailed(failure) => {
                                self.tell(&failure.reply.to_string());
                                Ended::AddressFailed { stage: stage_of(&failure).number() }
                            }
                            Ending::RetryWithoutTls(_) => Ended::RetryWithoutTls,
                        };
                        if let Some(mut wire) = wire.take() {
                            let closing = wire.write.shutdown();
                            drop(tokio::time::timeout(GOODBYE, closing).await);
                        }
                        return;
                    }
                    None if client.wants_content() => {
                        let Some(sending) = &mut sending else { return };
                        match sending.content.read(&node.store, sending.at, PIECE_OCTETS).await {
                            Ok(piece) if piece.is_empty() => _ = client.content_end(clock::monotonic()),
                            Ok(piece) => {
                                sending.at += piece.len() as u64;
                                let _wanted = client.content(clock::monotonic(), &piece);
                            }
                            Err(()) => _ = client.content_failed(),
                        }
                    }
                    None => break,
                }
            }
            let Some(open) = &mut wire else { return };
            let free = client.takes_message();
            let idle = free && client.stage() == client::Stage::Idle;
            let deadline = client.poll_deadline();
            let stop = async {
                if stopping.wait_for(|stopping| *stopping).await.is_err() {
                    pending::<()>().await;
                }
            };
            tokio::select! {
                heard = open.read.read(&mut buffer) => hear(&mut client, heard, &buffer),
                () = at(deadline) => client.handle_timeout(clock::monotonic()),
                () = self.woken.notified(), if idle => ask_at = self.ask(node, &mut client, &mut sending).await,
                () = at(ask_at), if idle => ask_at = self.ask(node, &mut client, &mut sending).await,
                () = stop, if free => {
                    let _busy = client.quit(clock::monotonic());
                }
            }
        }
    }

    fn address_failed(&mut self, why: &str) {
        self.how = Ended::AddressFailed { stage: client::Stage::NotConnected.number() };
        self.tell(why);
    }

    /// Why an address is of no use now.
    fn tell(&self, why: &str) {
        let host = self.target.host.as_deref().unwrap_or("an address");
        notice(
            Severity::Debug,
            format!("{host} ({}) for {} has failed: {why}", self.target.address, self.queue.domain),
        );
    }

    /// What is to be encrypted, say, must not go over a connection that was made when it was not.
    fn still_holds(&mut self) -> bool {
        self.made.still_holds(&self.delivery, &self.queue, self.plain)
    }

    fn quit(&self, client: &mut Client) {
        self.delivery.with(|scheduler, _| scheduler.ends(self.id));
        let _busy = client.quit(clock::monotonic());
    }

    /// Asks the queues what to send.
    async fn ask(
        &mut self,
        node: &Arc<Node>,
        client: &mut Client,
        sending: &mut Option<Sending>,
    ) -> Option<Monotonic> {
        if !self.still_holds() || *node.stopping.borrow() {
            self.quit(client);
            return None;
        }
        loop {
            match self.delivery.with(|scheduler, shared| scheduler.next(now(), self.id, shared)) {
                Next::Stay { until, .. } => {
                    // It may have failed messages that were too old.
                    self.delivery.changed.notify_one();
                    return until;
                }
                Next::Quit => {
                    let _busy = client.quit(clock::monotonic());
                    return None;
                }
                Next::Send { batch, messages } => {
                    let opened = outgoing::open(&node.store, batch, &messages).await;
                    let (content, message) = match opened {
                        Ok(opened) => opened,
                        Err(reply) => {
                            for message in messages {
                                self.report(
                                    node,
                                    message,
                                    Outcome::Temporary(Arc::from(reply.as_str())),
                                    None,
                                    &self.unsent(&reply),
                                );
                            }
                            continue;
                        }
                    };
                    let holds = self.still_holds();
                    if holds && client.submit(clock::monotonic(), message).is_ok() {
                        *sending = Some(Sending { messages, content, at: 0 });
                        return None;
                    }
                    // There was a reload meanwhile, or the connection has ended.
                    if !holds {
                        self.quit(client);
                    }
                    for message in messages {
                        self.report(node, message, Outcome::Stays, None, &self.unsent(""));
                    }
                    return None;
                }
            }
        }
    }

    fn settle(&self, node: &Arc<Node>, message: MessageId, outcome: client::Outcome, octets_sent: u64) {
        let text = |failure: &client::Failure| Arc::from(failure.reply.to_string());
        let attempt = attempt(self.target.address.ip(), &outcome, octets_sent);
        let outcome = match &outcome {
            client::Outcome::Delivered(_) => Outcome::Delivered,
            client::Outcome::Temporary(failure) => Outcome::Temporary(text(failure)),
            client::Outcome::Permanent(failure) => Outcome::Permanent(text(failure)),
            client::Outcome::StaysActive(_) | client::Outcome::AnotherConnection(_) => Outcome::Stays,
        };
        let host = || {
            let address = || format!("[{}]", self.target.address.ip());
            self.target.host.as_deref().map_or_else(address, str::to_owned)
        };
        // Nobody is said to have said what this node says.
        let remote = (!attempt.internal).then(host);
        self.report(node, message, outcome, remote, &attempt);
    }

    /// An attempt that ended before anything was sent.
    fn unsent(&self, reply: &str) -> Attempt {
        let stage = Some(client::Stage::Idle.number());
        Attempt {
            address: self.target.address.ip(),
            stage,
            octets_sent: 0,
            reply: reply.into(),
            internal: true,
        }
    }

    fn report(
        &self,
        node: &Arc<Node>,
        message: MessageId,
        outcome: Outcome,
        remote: Option<String>,
        attempt: &Attempt,
    ) {
        let report = locked(&self.delivery.state).scheduler.settled(now(), self.id, message, outcome);
        self.delivery.changed.notify_one();
        if let Some(report) = report {
            self.delivery.reported(node, report, remote, Some(attempt));
        }
    }
}

/// What the logs hear of an attempt.
fn attempt(address: IpAddr, outcome: &client::Outcome, octets_sent: u64) -> Attempt {
    let (stage, reply) = match outcome {
        client::Outcome::Delivered(reply) => (None, reply),
        client::Outcome::Temporary(failure)
        | client::Outcome::Permanent(failure)
        | client::Outcome::StaysActive(failure)
        | client::Outcome::AnotherConnection(failure) => (Some(stage_of(failure).number()), &failure.reply),
    };
    Attempt { address, stage, octets_sent, reply: reply.octets().to_vec(), internal: reply.is_internal() }
}

/// A refusal comes behind its command; what we say ourselves, while it was under way.
fn stage_of(failure: &client::Failure) -> client::Stage {
    if failure.reply.is_internal() { failure.stage } else { answered(failure.stage) }
}

/// The stage after the reply to what was sent in this one.
const fn answered(stage: client::Stage) -> client::Stage {
    use client::Stage;
    match stage {
        Stage::Mail => Stage::AfterMail,
        Stage::Recipient => Stage::AfterRecipient,
        Stage::Data => Stage::AfterData,
        Stage::Ehlo => Stage::AfterEhlo,
        Stage::Reset => Stage::AfterReset,
        Stage::StartTls => Stage::AfterStartTls,
        Stage::NotConnected
        | Stage::Idle
        | Stage::AfterMail
        | Stage::AfterRecipient
        | Stage::AfterData
        | Stage::Body
        | Stage::Confirmation
        | Stage::AfterEhlo
        | Stage::Banner
        | Stage::AfterReset
        | Stage::AfterStartTls
        | Stage::Handshake
        | Stage::Unknown => stage,
    }
}

async fn tls_stream(
    connector: Option<tokio_rustls::TlsConnector>,
    name: &str,
    clear: Box<dyn Octets>,
) -> io::Result<Box<dyn Octets>> {
    let connector = connector.ok_or_else(|| io::Error::other("TLS cannot be used"))?;
    let name = rustls::pki_types::ServerName::try_from(name.to_owned()).map_err(io::Error::other)?;
    Ok(Box::new(connector.connect(name, clear).await?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use postfleet_smtp::client::{ClientSettings, Message, MessageRecipient};
    use postfleet_smtp::{Address, ReversePath};

    /// What becomes of a message whose recipient is answered like this; the connection ends when nothing is said.
    fn refused(reply: Option<&[u8]>) -> Attempt {
        let now = Monotonic::ZERO;
        let mut client = Client::new(Arc::new(ClientSettings::default()), now);
        client.connected(now).unwrap();
        let address: Address = "a@b.example".parse().unwrap();
        let recipient =
            MessageRecipient { address: address.clone(), ascii: None, notify: None, original: None };
        client.received(now, b"220 x\r\n250 x\r\n");
        let message = Message {
            reverse_path: ReversePath::Address(address),
            reverse_path_ascii: None,
            recipients: vec![recipient],
            octets: 1,
            eight_bit_header: false,
            eight_bit_body: false,
            smtputf8: false,
            ret: None,
            envelope_id: None,
        };
        client.submit(now, message).unwrap();
        client.received(now, b"250 ok\r\n");
        match reply {
            Some(reply) => client.received(now, reply),
            None => client.closed(),
        }
        let settled = std::iter::from_fn(|| client.poll_event()).find_map(|event| match event {
            Event::Settled { outcome, .. } => Some(outcome),
            Event::StartTls | Event::Ready | Event::ContentWanted | Event::Close(_) => None,
        });
        attempt([192, 0, 2, 1].into(), &settled.unwrap(), 0)
    }

    #[test]
    fn logs_have_replies_as_they_came() {
        let said = refused(Some(b"550-5.1.1 \xfcber\r\n550 5.1.1 no\r\n"));
        assert_eq!(said.reply, b"550-5.1.1 \xfcber\r\n550 5.1.1 no");
    }

    #[test]
    fn a_server_that_says_internal_has_refused() {
        let said = refused(Some(b"550 5.1.1 [internal] no such user\r\n"));
        assert_eq!((said.stage, said.internal), (Some(5), false), "{said:?}");
        let ours = refused(None);
        assert_eq!((ours.stage, ours.internal), (Some(4), true), "{ours:?}");
        assert_eq!(ours.reply, b"451 4.4.2 [internal] connection closed by remote host");
    }
}
