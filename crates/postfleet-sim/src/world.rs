//! The fleet and what is done to it, without judgement.

use crate::clock::Clock;
use crate::engine::{Class, Engine, HostId};
use crate::fault::Fault;
use crate::limits::Limits;
use crate::link::{Asked, Progress};
use crate::log::Log;
use crate::plan::{Plan, Work};
use crate::process::{Birth, Process, Surroundings, node_of};
use crate::streams::Stream;
use crate::truth::Truth;
use alloc::collections::BTreeMap;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::time::Duration;
use postfleet_bus::RawId;
use postfleet_bus::suite::Trace;
use postfleet_replica::Replica;
use postfleet_types::{Monotonic, Random};

/// A host.
#[derive(Debug)]
pub(crate) struct Host {
    pub(crate) clock: Clock,
    pub(crate) process: Option<Process>,
    boots: u64,
    /// When the process has something to do, as it said last; none when it has been touched since.
    deadline: Option<Option<Monotonic>>,
}

impl Host {
    fn deadline(&mut self) -> Option<Monotonic> {
        let (process, clock) = (self.process.as_mut()?, &self.clock);
        *self.deadline.get_or_insert_with(|| process.deadline(clock))
    }
}

/// A process that has ended.
#[derive(Debug)]
pub(crate) struct Ended {
    pub(crate) killed: bool,
    main: Trace,
    shared: Trace,
    truth: Option<Truth>,
}

/// One process, from its start to its end.
#[derive(Debug)]
pub(crate) struct Life {
    pub(crate) host: HostId,
    /// The name of its shared connection; empty for a manager.
    pub(crate) shared_name: String,
    pub(crate) ended: Option<Ended>,
}

/// Everything that is simulated.
pub(crate) struct World<'l> {
    pub(crate) plan: Plan,
    pub(crate) engine: Engine,
    pub(crate) now: Monotonic,
    pub(crate) hosts: BTreeMap<HostId, Host>,
    pub(crate) lives: Vec<Life>,
    pub(crate) log: Log<'l>,
    /// No fault is at work since then; none while one is.
    pub(crate) calm_since: Option<Monotonic>,
    pub(crate) streams: Vec<Stream>,
    pub(crate) random: Random,
    workload: Random,
    next_change: BTreeMap<HostId, Monotonic>,
    changes: bool,
    ghosts: u32,
}

impl<'l> World<'l> {
    pub(crate) fn new(plan: Plan, log: Log<'l>) -> Self {
        let mut random = Random::seeded(plan.seed ^ 0x0077_6f72_6c64);
        let workload = Random::seeded(random.next_u64());
        let engine = Engine::new(random.next_u64(), plan.timing);
        // Three in four attachments that stay unread for long are of slow processes; a few overflow.
        engine.set_inbox_max(if plan.settings.events_max < 1000 { 1500 } else { 100_000 });
        engine.set_expected(plan.hosts().count());
        let mut hosts = BTreeMap::new();
        for host in plan.hosts() {
            engine.add_host(host);
            hosts.insert(
                host,
                Host { clock: Clock::new(&mut random), process: None, boots: 1, deadline: None },
            );
        }
        Self {
            plan,
            engine,
            now: Monotonic::ZERO,
            hosts,
            lives: Vec::new(),
            log,
            calm_since: None,
            streams: Vec::new(),
            random,
            workload,
            next_change: BTreeMap::new(),
            changes: true,
            ghosts: 0,
        }
    }

    pub(crate) fn processes(&self) -> impl Iterator<Item = &Process> {
        self.hosts.values().filter_map(|host| host.process.as_ref())
    }

    pub(crate) fn process(&self, host: HostId) -> Option<&Process> {
        self.hosts.get(&host)?.process.as_ref()
    }

    /// What the node of this shared connection has or had open.
    pub(crate) fn truth_of(&self, shared_name: &str) -> Option<(usize, &Truth)> {
        let (life, of) = self.lives.iter().enumerate().find(|(_, life)| life.shared_name == shared_name)?;
        if let Some(ended) = &of.ended {
            return Some((life, ended.truth.as_ref()?));
        }
        let process = self.process(of.host).filter(|process| process.life == life)?;
        Some((life, &process.data.as_ref()?.truth))
    }

    /// What all that ever ran did under limits.
    pub(crate) fn limits(&self) -> impl Iterator<Item = &Limits> {
        let ended = self.lives.iter().filter_map(|life| life.ended.as_ref()?.truth.as_ref());
        let running = self.processes().filter_map(|process| process.data.as_ref()).map(|data| &data.truth);
        ended.chain(running).map(|truth| &truth.limits)
    }

    /// The traces of all lives in one class, with whether the process was killed.
    pub(crate) fn traces(&self, class: Class) -> Vec<(usize, &Trace, bool)> {
        let mut traces = Vec::new();
        for (at, life) in self.lives.iter().enumerate() {
            let running = || self.process(life.host).filter(|process| process.life == at);
            let found = match (&life.ended, class) {
                (Some(ended), Class::Main) => Some((&ended.main, ended.killed)),
                (Some(ended), Class::Shared) => Some((&ended.shared, ended.killed)),
                (None, Class::Main) => running().map(|process| (&process.main.trace, false)),
                (None, Class::Shared) => {
                    running().and_then(|process| process.data.as_ref()).map(|data| (&data.link.trace, false))
                }
            };
            traces.extend(found.map(|(trace, killed)| (at, trace, killed)));
        }
        traces
    }

    fn with<T>(
        &mut self,
        host: HostId,
        act: impl FnOnce(&mut Process, &mut Surroundings<'_, 'l>, &Clock) -> T,
    ) -> Option<T> {
        let found = self.hosts.get_mut(&host)?;
        let mut world = Surroundings {
            engine: &self.engine,
            settings: &self.plan.settings,
            random: &mut self.random,
            log: &mut self.log,
            now: self.now,
        };
        let process = found.process.as_mut()?;
        found.deadline = None;
        let result = act(process, &mut world, &found.clock);
        if process.is_over() {
            self.log.line(self.now, &node_of(host), "left", format_args!(""));
            self.end(host, false);
        }
        Some(result)
    }

    /// Whether the process of a host has something to do now.
    pub(crate) fn is_due(&mut self, host: HostId) -> bool {
        let (now, engine) = (self.now, self.engine.clone());
        let Some(found) = self.hosts.get_mut(&host) else { return false };
        let Some(process) = found.process.as_ref().filter(|process| !process.stopped) else { return false };
        process.next_turn <= now
            && (process.woken || process.readable(&engine) || found.deadline().is_some_and(|at| at <= now))
    }

    /// Gives the process of a host a turn.
    pub(crate) fn turn(&mut self, host: HostId) -> Option<[Progress; 2]> {
        let mut progress = self.with(host, |process, world, clock| process.turn(world, clock))?;
        let [_, shared] = &mut progress;
        self.start_transfers(host, core::mem::take(&mut shared.transfers));
        Some(progress)
    }

    /// Lets the replica of a host take something that did not come by the bus.
    pub(crate) fn hand_over<T>(
        &mut self,
        host: HostId,
        act: impl FnOnce(&mut Replica, Monotonic) -> T,
    ) -> Option<T> {
        self.with(host, |process, world, clock| {
            process.woken = true;
            let data = process.data.as_mut()?;
            Some(act(&mut data.replica, clock.local(world.now)))
        })?
    }

    /// When something happens next.
    pub(crate) fn next_time(&mut self) -> Option<Monotonic> {
        let engine = self.engine.clone();
        let mut next = engine.next_due();
        let mut earlier = |at: Option<Monotonic>| {
            if let Some(at) = at {
                next = Some(next.map_or(at, |next| next.min(at)));
            }
        };
        let streams = self.next_stream();
        for host in self.hosts.values_mut() {
            let Some(process) = host.process.as_ref().filter(|process| !process.stopped) else { continue };
            if process.slow.is_some() && process.readable(&engine) {
                earlier(Some(process.next_turn));
            }
            earlier(host.deadline());
        }
        earlier(streams);
        if self.changes {
            earlier(self.next_change.values().min().copied());
        }
        // What is due already could not be done now; look again a little later.
        next.map(|next| next.max(self.now + Duration::from_micros(250)))
    }

    pub(crate) fn set_time(&mut self, now: Monotonic) {
        self.now = now;
        self.engine.set_time(now);
    }

    /// Connections open and close, and control messages are sent, as time has brought.
    pub(crate) fn work(&mut self) {
        if !self.changes {
            return;
        }
        let due: Vec<HostId> =
            self.next_change.iter().filter(|(_, at)| **at <= self.now).map(|(host, _)| *host).collect();
        for host in due {
            let mean = u64::try_from(self.plan.change_interval.as_micros()).unwrap_or(1);
            let pause = Duration::from_micros(1 + self.workload.below(2 * mean));
            self.next_change.insert(host, self.now + pause);
            let is_running = self.process(host).is_some_and(|process| !process.stopped && !process.leaving);
            if !is_running {
                continue;
            }
            if self.workload.below(8) == 0 {
                self.with(host, Process::control);
            }
            self.change(host, 1);
        }
    }

    fn change(&mut self, host: HostId, count: u32) {
        let mut workload = self.workload.clone();
        self.with(host, |process, world, clock| {
            process.woken = true;
            process.change(world.now, (clock.local(world.now), clock.wall(world.now)), count, &mut workload);
        });
        self.workload = workload;
    }

    /// Nothing opens or closes any more.
    pub(crate) const fn stop_work(&mut self) {
        self.changes = false;
    }

    /// Ends everything that a fault began, and starts what is missing.
    pub(crate) fn repair(&mut self) {
        self.fault(&Fault::Heal);
        let hosts: Vec<HostId> = self.hosts.keys().copied().collect();
        for host in hosts {
            let stays_away = self.random.below(8) == 0;
            let is_there = self.process(host).is_some();
            self.fault(&Fault::Thaw(host));
            self.fault(&Fault::Boot(host));
            self.fault(&Fault::Delay(host, 0));
            self.fault(&Fault::Resume(host));
            self.fault(&Fault::Slow(host, 0));
            for class in Class::ALL {
                self.fault(&Fault::Throttle(host, class, 0));
            }
            if !is_there && !stays_away {
                self.fault(&Fault::Start(host));
            }
        }
        self.calm_since = Some(self.now);
    }

    /// Does one thing to the fleet.
    pub(crate) fn fault(&mut self, fault: &Fault) {
        self.log.line(self.now, "-", "fault", format_args!("{fault}"));
        let engine = self.engine.clone();
        match fault {
            Fault::Crash(host) => self.end(*host, true),
            Fault::Start(host) => self.start(*host),
            Fault::Leave(host) => {
                self.with(*host, |process, world, clock| process.ask(world, clock, Asked::Leave));
            }
            Fault::Reset(host) => {
                self.with(*host, |process, world, clock| process.ask(world, clock, Asked::Reset));
            }
            Fault::Stop(host) => self.pause(*host, true),
            Fault::Resume(host) => self.pause(*host, false),
            Fault::Slow(host, millis) => {
                let slow = (*millis > 0).then(|| Duration::from_millis(u64::from(*millis)));
                self.with(*host, |process, world, _| {
                    process.slow = slow;
                    process.next_turn = process.next_turn.min(world.now);
                });
            }
            Fault::Freeze(host) => engine.freeze(*host),
            Fault::Thaw(host) => engine.thaw(*host),
            Fault::Kill(host) => engine.kill(*host),
            Fault::Boot(host) => engine.boot(*host),
            Fault::PowerOff(host) => {
                engine.kill(*host);
                if let Some(found) = self.hosts.get_mut(host) {
                    found.boots += 1;
                }
                self.end(*host, true);
            }
            Fault::Partition(side) => engine.partition(core::slice::from_ref(side)),
            Fault::Block(from, to) if from != to => engine.block(*from, *to),
            Fault::Block(..) => {}
            Fault::Heal => engine.heal(),
            Fault::Delay(host, millis) => engine.delay(*host, Duration::from_millis(u64::from(*millis))),
            Fault::Throttle(host, class, millis) => {
                let pace = (*millis > 0).then(|| Duration::from_millis(u64::from(*millis)));
                if let Some(raw) = self.raw(*host, *class) {
                    engine.throttle(*class, raw, pace);
                }
            }
            Fault::Ghost(host) => {
                self.ghosts += 1;
                // Lower or higher than everybody else's.
                let major = if self.ghosts.is_multiple_of(2) { 1000 + self.ghosts } else { 0 };
                let ghost = RawId { major, minor: self.ghosts };
                for class in Class::ALL {
                    engine.ghost(*host, class, ghost);
                }
            }
            Fault::Drop(host, class) => {
                if let Some(raw) = self.raw(*host, *class) {
                    engine.drop_next(*class, raw);
                }
            }
            Fault::SetClock(host, millis) => {
                if let Some(found) = self.hosts.get_mut(host) {
                    found.clock.set_wall_offset(i64::from(*millis));
                }
            }
            Fault::Detour => engine.detour(),
            Fault::Burst(host, count) => {
                if self.process(*host).is_some_and(|process| !process.stopped) {
                    self.change(*host, *count);
                }
            }
        }
    }

    fn raw(&self, host: HostId, class: Class) -> Option<RawId> {
        let process = self.process(host)?;
        process.links().find(|link| link.class == class)?.raw()
    }

    fn pause(&mut self, host: HostId, stopped: bool) {
        for class in Class::ALL {
            if let Some(raw) = self.raw(host, class) {
                self.engine.set_paused(class, raw, stopped);
            }
        }
        self.with(host, |process, world, clock| process.pause(world, clock, stopped));
    }

    fn start(&mut self, host: HostId) {
        let Some(found) = self.hosts.get_mut(&host).filter(|host| host.process.is_none()) else { return };
        let life = self.lives.len();
        // Lives are far apart, so that the numbers of attachments of different processes never meet.
        let number = 1000 + u32::try_from(life).unwrap_or(0) * 1000;
        let birth = Birth { life, host, number, manager: self.plan.is_manager(host), boot: found.boots };
        let Some(mut process) = Process::new(&birth, &self.plan.settings) else { return };
        if let Some(data) = process.data.as_mut().filter(|_| self.plan.settings.work == Work::All) {
            data.replica.start(found.clock.local(self.now));
        }
        let shared_name =
            process.data.as_ref().map(|data| data.replica.options().own.to_string()).unwrap_or_default();
        found.process = Some(process);
        found.deadline = None;
        self.lives.push(Life { host, shared_name, ended: None });
        self.next_change.insert(host, self.now);
    }

    /// The process is no more.
    fn end(&mut self, host: HostId, killed: bool) {
        // A manager has one name for all its lives; it is never killed, so that names tell lives apart.
        if killed && self.plan.is_manager(host) {
            return;
        }
        let Some(process) = self.hosts.get_mut(&host).and_then(|host| host.process.take()) else { return };
        let (shared, truth) = match process.data {
            Some(data) => (data.link.trace.clone(), Some(data.truth)),
            None => (Trace::default(), None),
        };
        let ended = Ended { killed, main: process.main.trace.clone(), shared, truth };
        if let Some(life) = self.lives.get_mut(process.life) {
            life.ended = Some(ended);
        }
        self.next_change.remove(&host);
    }
}
