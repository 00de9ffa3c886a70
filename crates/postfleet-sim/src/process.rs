//! One simulated process: two connections, a replica, open connections.

use crate::clock::Clock;
use crate::engine::{Class, Engine, HostId};
use crate::limits::{CACHE, RATES};
use crate::link::{Asked, Link, Progress, Turn};
use crate::log::Log;
use crate::plan::Settings;
use crate::truth::{OBJECTS, Truth, specs, totals};
use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use bytes::Bytes;
use core::net::{Ipv4Addr, SocketAddr};
use core::time::Duration;
use postfleet_bus::MemberInfo;
use postfleet_cache::Ttl;
use postfleet_replica::{ColumnPhase, Replica, ReplicaOptions, Transfer};
use postfleet_types::{GroupName, Monotonic, NodeName, NodeType, PrivateName, Random, ViewId, WallTime};

/// What the process of a host is.
#[derive(Debug)]
pub(crate) struct Process {
    /// Which one it is of all that ran.
    pub(crate) life: usize,
    pub(crate) host: HostId,
    pub(crate) node: NodeName,
    pub(crate) number: u32,
    pub(crate) main: Link,
    pub(crate) data: Option<Data>,
    pub(crate) stopped: bool,
    /// What it was asked to do while it stood still.
    unheard: Option<Asked>,
    pub(crate) slow: Option<Duration>,
    /// Not before this time of the simulation, when it is slow.
    pub(crate) next_turn: Monotonic,
    pub(crate) leaving: bool,
    /// Something came by another way than a connection of the bus.
    pub(crate) woken: bool,
    shown: String,
}

/// What a node shares.
#[derive(Debug)]
pub(crate) struct Data {
    pub(crate) link: Link,
    pub(crate) replica: Replica,
    pub(crate) truth: Truth,
}

impl Data {
    /// The view in which this node and others share limits; none while it is alone or tables are exchanged.
    pub(crate) fn live_view(&self) -> Option<ViewId> {
        let (id, members) = self.link.trace.view()?;
        (members.len() > 1 && self.replica.fingerprint(RATES.word()).is_some()).then_some(id)
    }
}

/// What is the same for all processes of a run.
pub(crate) struct Surroundings<'a, 'l> {
    pub(crate) engine: &'a Engine,
    pub(crate) settings: &'a Settings,
    pub(crate) random: &'a mut Random,
    pub(crate) log: &'a mut Log<'l>,
    pub(crate) now: Monotonic,
}

impl<'l> Surroundings<'_, 'l> {
    /// What the links of a process need to do something now.
    fn turn<'t>(&'t mut self, clock: &'t Clock, who: &'t str, process: u32, slow: bool) -> Turn<'t, 'l> {
        Turn {
            engine: self.engine,
            settings: self.settings,
            random: self.random,
            log: self.log,
            clock,
            now: self.now,
            slow,
            who,
            process,
        }
    }
}

/// The name of the node on a host.
pub(crate) fn node_of(host: HostId) -> String {
    format!("n{host}")
}

fn transfer_text(transfer: &Transfer) -> String {
    match transfer {
        Transfer::Open { fetch, from, .. } => format!("open {} from {}", fetch.0, from.node()),
        Transfer::Close { fetch } => format!("close {}", fetch.0),
    }
}

pub(crate) struct Birth {
    pub(crate) life: usize,
    pub(crate) host: HostId,
    pub(crate) number: u32,
    pub(crate) manager: bool,
    pub(crate) boot: u64,
}

impl Process {
    /// `None` only when a name that this crate makes up is none.
    pub(crate) fn new(birth: &Birth, settings: &Settings) -> Option<Self> {
        let Birth { life, host, number, manager, boot } = *birth;
        let node: NodeName = node_of(host).parse().ok()?;
        let group = |name: &str| name.parse::<GroupName>().ok();
        let cluster = group("ec_cluster")?;
        let [_, b, c, d] = host.to_be_bytes();
        let info = MemberInfo {
            private_name: if manager {
                PrivateName::manager(&node)
            } else {
                PrivateName::main(&node, number)
            },
            node_name: node.clone(),
            subcluster: "default".parse().ok()?,
            node_type: if manager { NodeType::Manager } else { NodeType::Node },
            version: String::from("sim"),
            address: SocketAddr::from((Ipv4Addr::new(10, b, c, d), 4802)),
            protocol: (1, 1),
            options_digest: 0,
            heartbeats_per_second: settings.heartbeats_per_second,
            heartbeat_miss_limit: settings.heartbeat_miss_limit,
            boot_id: u128::from(boot),
        };
        let groups = if manager {
            Vec::from([cluster.clone()])
        } else {
            Vec::from([group("ec_console")?, group("ec_sc_default")?, cluster.clone()])
        };
        let main = Link::new(Class::Main, host, info.clone(), groups);
        let data = (!manager).then(|| {
            let own = PrivateName::shared(&node, number);
            let mut options = ReplicaOptions::new(own.clone(), node.clone(), cluster.clone());
            options.min_delay = settings.min_delay;
            options.tables.partition = settings.partition;
            if settings.small_messages {
                options.chunk_bytes_max = 40;
                options.inline_bytes_max = 8;
                options.batch_bytes_max = 4096;
            }
            let info = MemberInfo { private_name: own, ..info };
            Data {
                link: Link::new(Class::Shared, host, info, Vec::from([cluster])),
                replica: Replica::new(options, specs(settings.work)),
                truth: Truth::new(settings.work),
            }
        });
        Some(Self {
            life,
            host,
            node,
            number,
            main,
            data,
            stopped: false,
            unheard: None,
            slow: None,
            next_turn: Monotonic::ZERO,
            leaving: false,
            woken: false,
            shown: String::new(),
        })
    }

    pub(crate) fn links(&self) -> impl Iterator<Item = &Link> {
        core::iter::once(&self.main).chain(self.data.as_ref().map(|data| &data.link))
    }

    /// When it has something to do, in the time of the simulation.
    pub(crate) fn deadline(&mut self, clock: &Clock) -> Option<Monotonic> {
        let replica = self.data.as_ref().and_then(|data| data.replica.poll_deadline());
        let shared = self.data.as_mut().and_then(|data| data.link.deadline());
        let local = [self.main.deadline(), shared, replica].into_iter().flatten().min()?;
        Some(clock.global(local).max(self.next_turn))
    }

    pub(crate) fn readable(&self, engine: &Engine) -> bool {
        self.links().any(|link| link.readable(engine))
    }

    /// Does one turn of the event loop.
    pub(crate) fn turn(&mut self, world: &mut Surroundings<'_, '_>, clock: &Clock) -> [Progress; 2] {
        self.woken = false;
        if let Some(slow) = self.slow {
            self.next_turn = world.now + slow;
        }
        let who = self.node.as_str().to_string();
        let mut turn = world.turn(clock, &who, self.number, self.slow.is_some());
        let main = self.main.turn(&mut turn, None);
        let Some(data) = &mut self.data else { return [main, Progress::default()] };
        let mut shared = data.link.turn(&mut turn, Some(&mut data.replica));
        let local = clock.local(world.now);
        if data.replica.poll_deadline().is_some_and(|deadline| deadline <= local) {
            data.replica.handle_timeout(local);
        }
        let live = data.live_view();
        data.truth.limits.tend(&mut data.replica, local, world.now, live);
        while let Some(transfer) = data.replica.poll_transfer(local) {
            world.log.line(world.now, &who, "transfer", format_args!("{}", transfer_text(&transfer)));
            shared.transfers.push(transfer);
        }
        while let Some(notice) = data.replica.poll_notice() {
            if notice.severity >= postfleet_types::Severity::Error {
                shared.broken.push(notice.text.clone());
            }
            world.log.line(world.now, &who, "notice", format_args!("{notice}"));
        }
        if world.log.is_on() {
            self.log_columns(world, &who);
        }
        [main, shared]
    }

    /// A line with all columns, when it differs from the last one.
    fn log_columns(&mut self, world: &mut Surroundings<'_, '_>, who: &str) {
        let Some(data) = &self.data else { return };
        let mut text = String::new();
        for kind in OBJECTS {
            let columns = totals(&data.replica, kind);
            let sum: u64 = columns.iter().map(|(_, _, count)| count).sum();
            let one = |(name, phase, count): &(String, ColumnPhase, u64)| {
                let node = name.rsplit('#').next().unwrap_or_default().to_string();
                match phase {
                    ColumnPhase::Own | ColumnPhase::Live => format!("{node}:{count}"),
                    ColumnPhase::Missing => format!("{node}:?"),
                    ColumnPhase::Absent => format!("{node}:-"),
                }
            };
            let parts = columns.iter().map(one).collect::<Vec<_>>().join(",");
            text.push_str(&format!("{}={sum}({parts}) ", kind.word()));
        }
        if text != self.shown {
            world.log.line(world.now, who, "columns", format_args!("{text}"));
            self.shown = text;
        }
    }

    /// Leaves the fleet, for good or to come anew. A process that stands still hears of it when it goes on.
    pub(crate) fn ask(&mut self, world: &mut Surroundings<'_, '_>, clock: &Clock, asked: Asked) {
        if self.stopped {
            if self.unheard != Some(Asked::Leave) {
                self.unheard = Some(asked);
            }
            return;
        }
        self.leaving |= asked == Asked::Leave;
        let who = self.node.as_str().to_string();
        let mut turn = world.turn(clock, &who, self.number, false);
        self.main.ask(&mut turn, asked, None);
        if let Some(data) = &mut self.data {
            data.link.ask(&mut turn, asked, Some(&mut data.replica));
        }
    }

    /// It stands still, or goes on.
    pub(crate) fn pause(&mut self, world: &mut Surroundings<'_, '_>, clock: &Clock, stopped: bool) {
        self.stopped = stopped;
        if let Some(asked) = self.unheard.take_if(|_| !stopped) {
            self.ask(world, clock, asked);
        }
    }

    /// Sends something on the main connection.
    pub(crate) fn control(&mut self, world: &mut Surroundings<'_, '_>, clock: &Clock) {
        let who = self.node.as_str().to_string();
        let mut turn = world.turn(clock, &who, self.number, false);
        self.main.control(&mut turn);
    }

    /// Whether both connections are over for good.
    pub(crate) fn is_over(&self) -> bool {
        self.leaving && self.links().all(Link::is_over)
    }

    /// Opens or closes connections.
    pub(crate) fn change(
        &mut self,
        now: Monotonic,
        (local, wall): (Monotonic, WallTime),
        count: u32,
        random: &mut Random,
    ) {
        let Some(data) = &mut self.data else { return };
        for _ in 0..count {
            // Around thirty are open.
            if random.below(60) >= data.truth.open() as u64 {
                data.truth.connect(&mut data.replica, local, random);
            } else {
                data.truth.close(&mut data.replica, local, random);
            }
            data.truth.limits.change(&mut data.replica, local, random);
            let live = data.live_view();
            data.truth.limits.note(&mut data.replica, now, live);
            if let Some(cache) = data.replica.cache_mut(CACHE) {
                let (key, value) = ([random.below(12).to_be_bytes()[7]], random.next_u64().to_be_bytes());
                let (key, value) = (Bytes::copy_from_slice(&key), Bytes::copy_from_slice(&value));
                // A pair of one key and eight bytes is never too long.
                let _ = cache.set(local, wall, key, value, Ttl::from_millis(3_600_000));
            }
        }
    }
}
