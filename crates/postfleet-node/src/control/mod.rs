//! The control listener: one task a console connection.

mod answers;
mod audit;
mod bindings;
mod cache;
mod config;
mod datasource;
mod limits;
mod logs;
mod policy;
mod queues;

use crate::clock;
use crate::counts;
use crate::node::Node;
use crate::notices::{Severity, notice};
use crate::socket::{Endpoint, Listening, Socket};
use postfleet_config::live::Session;
use postfleet_console::{Answer, Command, Event, Profile, RunId, Server};
use postfleet_log::Authentication;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

/// What a control listener is told by the configuration for one client.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ControlOptions {
    /// Idle connections are closed after this; zero means never.
    pub(crate) timeout: Duration,
    /// `Always_Deny`: the connection is closed before the greeting.
    pub(crate) deny: bool,
}

/// The options for a client address. Clients of a Unix socket come from 127.0.0.1.
pub(crate) type OptionsOf = Arc<dyn Fn(IpAddr) -> ControlOptions + Send + Sync>;

/// Accepts until the socket is to be closed.
pub(crate) async fn listen(
    node: Arc<Node>,
    listening: &Listening,
    endpoint: Endpoint,
    closing: impl Future<Output = ()>,
) {
    let connection = |socket: Socket, peer: SocketAddr| {
        let node = Arc::clone(&node);
        let (options, endpoint) = (node.configuration.serving().control(&endpoint), endpoint.clone());
        async move {
            let Some(options) = options.map(|options| options(peer.ip())) else { return };
            account(&node, &endpoint, peer, socket.user().as_deref(), !options.deny);
            if options.deny {
                notice(Severity::Notice, format_args!("Control_Listener: {} is denied", peer.ip()));
            } else {
                serve(&node, socket, peer.ip(), &options).await;
            }
        }
    };
    listening.serve("Control_Listener", closing, connection).await;
}

/// Who a client of a Unix socket is.
fn user_of(socket: &Socket, peer: IpAddr) -> String {
    socket.user().unwrap_or_else(|| peer.to_string())
}

/// The kernel has said who it is: that is the authentication of a Unix socket. Over TCP nobody has.
fn account(node: &Node, endpoint: &Endpoint, peer: SocketAddr, user: Option<&str>, success: bool) {
    let (listener, peer) = match endpoint {
        Endpoint::Unix(_) => (endpoint.to_string(), String::new()),
        Endpoint::Tcp(own) if own.ip().is_unspecified() => (format!("*:{}", own.port()), peer.to_string()),
        Endpoint::Tcp(own) => (own.to_string(), peer.to_string()),
    };
    node.logs.authenticated(&Authentication {
        at: clock::wall(),
        timed_out: false,
        listener: &listener,
        peer: &peer,
        user: user.unwrap_or_default(),
        success,
    });
}

async fn serve(node: &Arc<Node>, mut stream: Socket, peer: IpAddr, options: &ControlOptions) {
    let _counted = node.connections.open(counts::CONTROL, peer);
    let profile = node.configuration.serving().profile.clone();
    let mut server = Server::new(&profile);
    let mut buffer = vec![0; 16 * 1024];
    let mut stop_requested = false;
    // An open transaction goes with the connection.
    let mut session = Session::default();
    let user = user_of(&stream, peer);
    loop {
        let event = server.poll_event(&profile, clock::wall());
        let idle = event.is_none();
        let mut close = false;
        match event {
            Some(Event::Run { id, command, .. }) => {
                let result = if let Command::Config { line } = &command {
                    let shown = config::redacted(node, line);
                    notice(Severity::Info, format_args!("{user}: {shown}"));
                    config::execute(node, &mut session, line).await
                } else if let Command::Registered(words) = &command {
                    let run = policy::registered(node, words);
                    match heeding(run, id, &mut server, &mut stream, &mut buffer, &profile).await {
                        Some(result) => result,
                        None => continue,
                    }
                } else {
                    answers::execute(node, &command).await
                };
                server.answer(id, &profile, clock::wall(), result.as_ref());
                // What ends connections is done once the answer is on its way.
                stop_requested |= command == Command::Shutdown;
                if command == Command::ClusterReset
                    && let Some(fleet) = &node.fleet
                {
                    fleet.reset();
                }
            }
            Some(Event::Complete { id, line }) => {
                let mut names = answers::names(node);
                names.config = config::candidates(node, &line);
                server.complete(id, &profile, &names);
            }
            Some(Event::Close) => close = true,
            // A command of a script is ended where it runs; no other takes long enough to be stopped half-way.
            Some(Event::Cancelled { .. }) | None => {}
        }
        let sent = write_out(&mut server, &mut stream, options).await;
        if stop_requested && server.is_idle() {
            node.stop();
        }
        match sent {
            Some(_) if close => {
                let _gone = stream.shutdown().await;
                return;
            }
            None => return,
            // Sending may have made room for the next event.
            Some(true) => continue,
            Some(false) if !idle => continue,
            Some(false) => {}
        }
        if !server.wants_input() {
            // Everything is answered and sent, and still no input is wanted: the connection is over.
            return;
        }
        let read = stream.read(&mut buffer);
        let outcome = if options.timeout.is_zero() {
            read.await
        } else {
            match tokio::time::timeout(options.timeout, read).await {
                Ok(outcome) => outcome,
                Err(_idle) => return,
            }
        };
        match outcome {
            Ok(0) => server.receive_end(),
            Ok(count) => server.receive(buffer.get(..count).unwrap_or_default()),
            Err(_gone) => return,
        }
    }
}

/// Runs what may wait for long, and reads meanwhile: none when the client takes it back or is gone.
async fn heeding(
    run: impl Future<Output = Outcome>,
    id: RunId,
    server: &mut Server,
    stream: &mut Socket,
    buffer: &mut [u8],
    profile: &Profile,
) -> Option<Outcome> {
    tokio::pin!(run);
    loop {
        let read = tokio::select! {
            outcome = &mut run => return Some(outcome),
            read = stream.read(buffer), if server.wants_input() => read.ok()?,
        };
        match read {
            // Who sends nothing more may still read.
            0 => server.receive_end(),
            count => server.receive(buffer.get(..count).unwrap_or_default()),
        }
        while let Some(event) = server.poll_event(profile, clock::wall()) {
            if event == (Event::Cancelled { id }) {
                return None;
            }
        }
    }
}

/// Sends all output, and says whether there was any; none when the client is gone, or has not read for the
/// time-out.
async fn write_out(server: &mut Server, stream: &mut Socket, options: &ControlOptions) -> Option<bool> {
    let mut any = false;
    while let Some(output) = server.poll_output() {
        any = true;
        let write = stream.write_all(&output);
        if options.timeout.is_zero() {
            write.await.ok()?;
        } else {
            tokio::time::timeout(options.timeout, write).await.ok()?.ok()?;
        }
    }
    Some(any)
}

/// The answer to a command that did what it says.
type Outcome = Result<Answer, postfleet_console::Failure>;
