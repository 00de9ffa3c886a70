//! One bus connection: a task that opens the carrier, pumps it, and opens it again when it is lost.

use super::agreement::Disagreements;
use super::works::{ReportOf, Works};
use super::{BusKind, Commands, ConnectionState, Fleet, ShownMember};
use crate::clock;
use crate::notices::{Severity, notice};
use crate::system;
use anyhow::Context as _;
use postfleet_bus::carrier::Carrier;
use postfleet_bus::event::{BusEvent, LostReason, MemberInfo, SendError, SendOptions};
use postfleet_bus::membership::{Counters, Options, Reconnect};
use postfleet_bus::{Connection, Smooth, Solo};
use postfleet_bus_corosync::{CorosyncCarrier, CorosyncOptions};
use postfleet_bus_local::{LocalCarrier, LocalOptions};
use postfleet_replica::Outgoing;
use postfleet_types::{Monotonic, Random};
use std::collections::VecDeque;
use std::future::{pending, poll_fn};
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;
use tokio::sync::watch;
use tokio::time::sleep_until;

type AnyConnection = Connection<Box<dyn Carrier + Send>>;

/// The two connections of a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Class {
    /// Membership and control.
    Main,
    /// Replicated data.
    Shared,
}

/// Why a connection is over, and what comes next.
enum End {
    /// Left on purpose.
    Left,
    /// Left because an operator asked for a new start.
    Reset,
    /// Lost; to be opened again then.
    Lost(LostReason, Reconnect),
}

/// Keeps one connection until the node leaves.
pub(crate) async fn run(fleet: Arc<Fleet>, class: Class, report: ReportOf) {
    let mut commands = fleet.commands.subscribe();
    let mut failing = false;
    // What the connections before have counted.
    let mut past = Counters::default();
    loop {
        let known = *commands.borrow_and_update();
        if known.leave {
            return;
        }
        let pause = match open(&fleet, class).await {
            Ok(connection) => {
                if failing {
                    failing = false;
                    notice(Severity::Notice, format_args!("{}: messaging bus is back", class.word()));
                }
                let end = attend(&fleet, class, connection, &report, &mut commands, &mut past).await;
                publish(
                    &fleet,
                    class,
                    ConnectionState { counters: past.clone(), ..ConnectionState::default() },
                );
                match end {
                    End::Left => return,
                    End::Reset => Pause::For(Duration::ZERO),
                    End::Lost(reason, reconnect) => {
                        // What is said here covers the attempts that fail until the engine is back.
                        failing = reason == LostReason::Daemon;
                        let pause = pause(reconnect, fleet.settings().reconnect_interval);
                        notice(
                            Severity::Error,
                            format_args!(
                                "Error on messaging bus: {} ({}); relaying goes on with local data, trying again {pause}",
                                reason_text(reason),
                                class.word(),
                            ),
                        );
                        pause
                    }
                }
            }
            Err(error) => {
                if !failing {
                    failing = true;
                    notice(
                        Severity::Error,
                        format_args!(
                            "Failed connection to messaging bus ({}): {error:#}; relaying goes on with local data, \
                             trying again every {} s",
                            class.word(),
                            fleet.settings().reconnect_interval.as_secs()
                        ),
                    );
                }
                Pause::For(jitter(fleet.settings().reconnect_interval))
            }
        };
        // Limits go on without the bus.
        let tend = async {
            match class {
                Class::Main => pending().await,
                Class::Shared => fleet.tend().await,
            }
        };
        tokio::select! {
            () = pause.end(&report) => {}
            () = tend => {}
            // A reset ends the pause; leaving is seen at the top.
            _ = commands.wait_for(|commands| *commands != known) => {}
        }
    }
}

async fn open(fleet: &Arc<Fleet>, class: Class) -> anyhow::Result<AnyConnection> {
    let settings = fleet.settings();
    let carrier: Box<dyn Carrier + Send> = match &settings.bus {
        BusKind::Solo => Box::new(Solo::new(std::process::id())),
        BusKind::Local { path, bus_name } => {
            let options = LocalOptions::new(path, bus_name, class.local());
            // Opening touches files; it must not hold up the event loop.
            let opened = tokio::task::spawn_blocking(move || LocalCarrier::open(options)).await;
            Box::new(opened.context("the opening task ended")??)
        }
        BusKind::Corosync { bus_name, allow_large_ring } => {
            let options = CorosyncOptions {
                allow_large_ring: *allow_large_ring,
                ..CorosyncOptions::new(bus_name, class.corosync())
            };
            // Opening waits for the daemon.
            let opened = tokio::task::spawn_blocking(move || CorosyncCarrier::open(options)).await;
            Box::new(opened.context("the opening task ended")??)
        }
    };
    let info = MemberInfo {
        private_name: match class {
            Class::Main => settings.main_name.clone(),
            Class::Shared => settings.shared_name.clone(),
        },
        ..settings.info.clone()
    };
    let options = Options {
        max_backlog: settings.max_backlog,
        heartbeat_start_delay: settings.heartbeat_start_delay,
        ..Options::default()
    };
    let mut connection = Connection::new(carrier, info, Random::seeded(system::random_seed()), options);
    let now = clock::monotonic();
    let groups = match class {
        Class::Main => vec![&settings.control_group, &settings.subcluster_group, &settings.cluster_group],
        Class::Shared => vec![&settings.cluster_group],
    };
    for group in groups {
        connection.join(now, group.clone()).context("Failed join on messaging bus")?;
    }
    Ok(connection)
}

/// Serves a connection until it ends.
async fn attend(
    fleet: &Arc<Fleet>,
    class: Class,
    mut connection: AnyConnection,
    report: &ReportOf,
    commands: &mut watch::Receiver<Commands>,
    past: &mut Counters,
) -> End {
    let started = *commands.borrow_and_update();
    let mut asked: Option<Commands> = None;
    let mut disagreements = Disagreements::default();
    let mut pulse = Pulse::new(fleet);
    let mut works = Works::new(pulse.interval * pulse.misses, class == Class::Main);
    let mut last_heard = None;
    let mut told_quorum = None;
    // Messages that the bus had no room for, oldest first.
    let mut kept: VecDeque<Outgoing> = VecDeque::new();
    loop {
        // However many events wait, other tasks of this thread get their turn.
        tokio::task::consume_budget().await;
        let now = clock::monotonic();
        if connection.membership().view_id().is_some() && pulse.due(now) {
            // Whoever cannot have the replica does not work.
            drop(fleet.locked());
            let report = report();
            if works.allow(&report) {
                connection.heartbeat(clock::monotonic(), clock::wall(), report.load);
            }
            publish_members(fleet, class, &connection, past);
            if class == Class::Main {
                disagreements.look(now, connection.membership());
            }
        }
        connection.set_options_digest(fleet.settings().info.options_digest);
        if asked.is_none() {
            let wanted = *commands.borrow();
            if wanted != started {
                asked = Some(wanted);
                if class == Class::Shared {
                    fleet.flush(now, wanted.leave);
                    exchange(fleet, &mut connection, &mut kept, now);
                    if wanted.leave {
                        // Who stays away has no part of the limits any more; who comes anew keeps it. A connection that
                        // is going already says it in its own way.
                        let _gone = connection.leave(now, fleet.settings().cluster_group.clone());
                    }
                }
                connection.disconnect(now);
            }
        }
        let mut deadline = connection.deadline();
        if class == Class::Shared && asked.is_none() {
            let heard = connection.membership().heard();
            let status = connection.status();
            told_quorum = status.quorum;
            fleet.attend_limits(now, heard.filter(|_| heard != last_heard), &status, |name| {
                connection.host_present(name)
            });
            last_heard = heard;
            let replica = exchange(fleet, &mut connection, &mut kept, now);
            fleet.transfer(now);
            deadline = earlier(connection.deadline(), replica);
        }
        if connection.membership().view_id().is_some() {
            deadline = earlier(deadline, Some(pulse.next));
        }
        while let Some(told) = connection.poll_notice() {
            notice(told.severity, format_args!("{} ({})", told.text, class.word()));
        }
        let timer = async {
            match deadline {
                Some(deadline) => sleep_until(clock::instant_of(deadline)).await,
                None => pending().await,
            }
        };
        tokio::select! {
            biased;
            event = poll_fn(|context| match connection.poll(clock::monotonic(), context) {
                Poll::Ready(event) => Poll::Ready(Some(event)),
                // Quorum comes and goes without an event; limits hear of it at the top.
                Poll::Pending if class == Class::Shared && connection.status().quorum != told_quorum => {
                    Poll::Ready(None)
                }
                Poll::Pending => Poll::Pending,
            }) => {
                let Some(event) = event else { continue };
                let now = clock::monotonic();
                if class == Class::Shared {
                    fleet.deliver(now, &event);
                }
                match event {
                    BusEvent::Lost { reason } => {
                        while let Some(told) = connection.poll_notice() {
                            notice(told.severity, format_args!("{} ({})", told.text, class.word()));
                        }
                        past.add(connection.membership().counters());
                        return match asked {
                            Some(Commands { leave: true, .. }) => End::Left,
                            Some(_) => End::Reset,
                            None => End::Lost(reason, connection.membership().reconnect()),
                        };
                    }
                    BusEvent::View { .. } => {
                        pulse.start(now);
                        publish_members(fleet, class, &connection, past);
                    }
                    BusEvent::GroupView { .. } => publish_members(fleet, class, &connection, past),
                    BusEvent::Message { .. } | BusEvent::SendReady => {}
                }
            }
            // What time, changes and commands bring is done at the top.
            () = timer => {}
            () = fleet.changed.notified(), if class == Class::Shared => {}
            Ok(()) = commands.changed(), if asked.is_none() => {}
        }
    }
}

/// Sends what the replica wants to be sent; returns when it wants to be asked again.
fn exchange(
    fleet: &Fleet,
    connection: &mut AnyConnection,
    kept: &mut VecDeque<Outgoing>,
    now: Monotonic,
) -> Option<Monotonic> {
    while let Some(outgoing) = kept.pop_front() {
        if let Err(outgoing) = submit(connection, now, outgoing) {
            kept.push_front(outgoing);
            return None;
        }
    }
    fleet.turn(now, &mut |outgoing| match submit(connection, now, outgoing) {
        Ok(()) => true,
        Err(outgoing) => {
            kept.push_back(outgoing);
            false
        }
    })
}

/// Gives the message back when it must be tried again after `SendReady`.
fn submit(connection: &mut AnyConnection, now: Monotonic, outgoing: Outgoing) -> Result<(), Outgoing> {
    let sent =
        connection.send(now, &outgoing.to, outgoing.kind, outgoing.payload.clone(), SendOptions::default());
    match sent {
        Ok(_) => Ok(()),
        Err(SendError::QueueFull) => Err(outgoing),
        // The connection is about to end; the replica starts over with its `Lost`.
        Err(SendError::NotConnected | SendError::NotAdmitted) => Ok(()),
        Err(error @ (SendError::TooLarge { .. } | SendError::Unsupported | SendError::BadDestination)) => {
            notice(Severity::Error, format_args!("a replication message could not be sent: {error}"));
            Ok(())
        }
    }
}

/// When heartbeats are due. They are sent by this task, so that a stalled event loop sends none; and see [`Works`].
struct Pulse {
    interval: Duration,
    /// How many may be missing.
    misses: u32,
    next: Monotonic,
}

impl Pulse {
    fn new(fleet: &Fleet) -> Self {
        let info = &fleet.settings().info;
        let rate = u32::from(info.heartbeats_per_second.max(1));
        let misses = u32::from(info.heartbeat_miss_limit);
        Self { interval: Duration::from_secs(1) / rate, misses, next: clock::monotonic() }
    }

    /// A view was installed: others shall see a sign of life soon.
    fn start(&mut self, now: Monotonic) {
        self.next = self.next.min(now + Duration::from_millis(20));
    }

    fn due(&mut self, now: Monotonic) -> bool {
        if now < self.next {
            return false;
        }
        self.next = now + self.interval;
        true
    }
}

fn publish(fleet: &Fleet, class: Class, state: ConnectionState) {
    match class {
        Class::Main => fleet.main.send_replace(state),
        Class::Shared => fleet.shared.send_replace(state),
    };
}

fn publish_members(fleet: &Fleet, class: Class, connection: &AnyConnection, past: &Counters) {
    let now = clock::monotonic();
    let membership = connection.membership();
    let health = membership.health(now);
    let members = membership
        .members()
        .map(|member| {
            let health = health.iter().find(|health| health.name == member.info.private_name);
            ShownMember {
                member: member.clone(),
                clock_offset_ms: health.and_then(|health| health.clock_offset_millis),
                heartbeat_at: health.and_then(|health| health.heartbeat_age).map(|age| now - age),
            }
        })
        .collect();
    publish(
        fleet,
        class,
        ConnectionState {
            connected: membership.view_id().is_some(),
            view: membership.view_id(),
            leader: membership.leader().map(|leader| leader.info.node_name.clone()),
            detection: Some(connection.status().bound).filter(|bound| !bound.is_zero()),
            members,
            status: Some(connection.status()),
            counters: {
                let mut counters = past.clone();
                counters.add(membership.counters());
                counters
            },
        },
    );
}

fn earlier(a: Option<Monotonic>, b: Option<Monotonic>) -> Option<Monotonic> {
    match (a, b) {
        (Some(a), Some(b)) => Some(a.min(b)),
        (one, other) => one.or(other),
    }
}

/// What comes before the next attempt.
#[derive(Clone, Copy, Debug)]
enum Pause {
    For(Duration),
    /// Until this node has run and worked for so long without standing still.
    Smooth(Duration),
}

impl Pause {
    async fn end(self, report: &ReportOf) {
        match self {
            Self::For(pause) => tokio::time::sleep(pause).await,
            Self::Smooth(needed) => {
                let mut smooth = Smooth::new(clock::monotonic(), needed);
                while !smooth.tick(clock::monotonic(), report().works()) {
                    sleep_until(clock::instant_of(smooth.next_tick())).await;
                }
            }
        }
    }
}

impl std::fmt::Display for Pause {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::For(pause) => write!(f, "in {:.1} s", pause.as_secs_f64()),
            Self::Smooth(needed) => write!(f, "after {:.1} s without a standstill", needed.as_secs_f64()),
        }
    }
}

fn pause(reconnect: Reconnect, interval: Duration) -> Pause {
    match reconnect {
        Reconnect::Never | Reconnect::Now => Pause::For(Duration::ZERO),
        Reconnect::Interval => Pause::For(jitter(interval)),
        Reconnect::After(pause) => Pause::For(pause),
        Reconnect::Smooth(needed) => Pause::Smooth(needed),
    }
}

/// ± 20 %, so that nodes that lost one bus together do not come back in one moment.
fn jitter(interval: Duration) -> Duration {
    let share = Random::seeded(system::random_seed()).below(401);
    interval * u32::try_from(800 + share).unwrap_or(1000) / 1000
}

const fn reason_text(reason: LostReason) -> &'static str {
    match reason {
        LostReason::Daemon => "the engine went away",
        LostReason::Overrun => "this node did not keep up with its messages",
        LostReason::Expelled => "the other members went on without this node",
        LostReason::OwnGap => "a message of this node vanished",
        LostReason::Protocol => "the protocol was broken",
        LostReason::Local => "disconnected",
    }
}

impl Class {
    const fn word(self) -> &'static str {
        match self {
            Self::Main => "main connection",
            Self::Shared => "shared connection",
        }
    }

    const fn local(self) -> postfleet_bus_local::Class {
        match self {
            Self::Main => postfleet_bus_local::Class::Main,
            Self::Shared => postfleet_bus_local::Class::Shared,
        }
    }

    const fn corosync(self) -> postfleet_bus_corosync::Class {
        match self {
            Self::Main => postfleet_bus_corosync::Class::Main,
            Self::Shared => postfleet_bus_corosync::Class::Shared,
        }
    }
}
