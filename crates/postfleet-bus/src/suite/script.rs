//! The rig of the scripted carrier and of `solo`: all members in this process, virtual time.

use super::{Agent, Capability, Command, Fault, MemberId, MemberSpec, Rig, Trace};
use crate::carrier::{Carrier, RawId};
use crate::scripted::{Network, Timing};
use crate::solo::Solo;
use alloc::boxed::Box;
use alloc::rc::Rc;
use alloc::vec::Vec;
use core::cell::Cell;
use core::task::{Context, Waker};
use core::time::Duration;
use postfleet_types::{Monotonic, Random};

type Attach = Box<dyn FnMut(Monotonic) -> Option<Box<dyn Carrier>>>;

struct Member {
    agent: Option<Agent<Box<dyn Carrier>, Attach>>,
    host: u32,
    /// The attachment of its present connection.
    raw: Rc<Cell<Option<RawId>>>,
    stopped: bool,
    trace: Trace,
}

/// Members on a scripted [`Network`], or each alone on [`Solo`].
pub struct ScriptedRig {
    network: Option<Network>,
    random: Random,
    now: Monotonic,
    members: Vec<Member>,
    detection: Duration,
}

impl ScriptedRig {
    /// Members on one scripted bus.
    #[must_use]
    pub fn new(seed: u64, timing: Timing) -> Self {
        let network = Network::new(seed, timing);
        Self {
            network: Some(network),
            random: Random::seeded(seed ^ 0x5eed),
            now: Monotonic::ZERO,
            members: Vec::new(),
            detection: timing.detection,
        }
    }

    /// Each member alone.
    #[must_use]
    pub fn solo(seed: u64) -> Self {
        Self {
            network: None,
            random: Random::seeded(seed),
            now: Monotonic::ZERO,
            members: Vec::new(),
            detection: Duration::ZERO,
        }
    }

    fn network(&self) -> Option<&Network> {
        self.network.as_ref()
    }

    fn hosts_of(&self, members: &[MemberId]) -> Vec<u32> {
        members.iter().filter_map(|id| self.members.get(id.0)).map(|member| member.host).collect()
    }

    fn raw_of(&self, member: MemberId) -> Option<RawId> {
        self.members.get(member.0).and_then(|member| member.raw.get())
    }

    fn host_of(&self, member: MemberId) -> u32 {
        self.members.get(member.0).map_or(0, |member| member.host)
    }

    /// Lets everybody do what can be done at this moment.
    fn settle(&mut self) {
        let mut context = Context::from_waker(Waker::noop());
        loop {
            let mut more = false;
            for member in self.members.iter_mut().filter(|member| !member.stopped) {
                let Some(agent) = &mut member.agent else { continue };
                more |= agent.poll(self.now, &mut context);
                for record in agent.take_records() {
                    more = true;
                    member.trace.push(record);
                }
            }
            if !more {
                return;
            }
        }
    }

    fn next_time(&mut self, until: Monotonic) -> Monotonic {
        let agents = self
            .members
            .iter_mut()
            .filter(|member| !member.stopped)
            .filter_map(|member| member.agent.as_mut())
            .filter_map(Agent::deadline)
            .min();
        let network = self.network.as_ref().and_then(Network::next_due);
        // What is due already could not be done now; look again a little later.
        let soon = self.now + Duration::from_micros(250);
        let next = agents.into_iter().chain(network).min().map_or(until, |next| next.max(soon));
        next.min(until)
    }
}

impl Rig for ScriptedRig {
    fn can(&self, capability: Capability) -> bool {
        let _ = capability;
        self.network.is_some()
    }

    fn now(&self) -> Monotonic {
        self.now
    }

    fn start(&mut self, spec: &MemberSpec) -> MemberId {
        let raw = Rc::new(Cell::new(None));
        // Hosts have numbers in no order, so that the lowest attachment is anybody's.
        let host = u32::try_from(self.random.below(1 << 30)).unwrap_or(0) + 1;
        let attach: Attach = match &self.network {
            Some(network) => {
                let (network, raw) = (network.clone(), Rc::clone(&raw));
                Box::new(move |_| {
                    let carrier = network.attach(host);
                    raw.set(Some(carrier.id()));
                    Some(Box::new(carrier) as Box<dyn Carrier>)
                })
            }
            None => Box::new(move |_| Some(Box::new(Solo::new(host)) as Box<dyn Carrier>)),
        };
        let random = Random::seeded(self.random.next_u64());
        let agent = Some(Agent::new(spec.clone(), random, attach));
        self.members.push(Member { agent, host, raw, stopped: false, trace: Trace::default() });
        self.settle();
        MemberId(self.members.len() - 1)
    }

    fn command(&mut self, member: MemberId, command: Command) {
        let now = self.now;
        if let Some(agent) = self.members.get_mut(member.0).and_then(|member| member.agent.as_mut()) {
            agent.command(now, command);
        }
        self.settle();
    }

    fn crash(&mut self, member: MemberId) {
        if let Some(member) = self.members.get_mut(member.0) {
            // Dropping the attachment is the end of its process.
            member.agent = None;
        }
        self.settle();
    }

    fn stop(&mut self, member: MemberId) {
        if let (Some(network), Some(raw)) = (self.network(), self.raw_of(member)) {
            network.set_paused(raw, true);
        }
        if let Some(member) = self.members.get_mut(member.0) {
            member.stopped = true;
        }
    }

    fn resume(&mut self, member: MemberId) {
        if let (Some(network), Some(raw)) = (self.network(), self.raw_of(member)) {
            network.set_paused(raw, false);
        }
        if let Some(member) = self.members.get_mut(member.0) {
            member.stopped = false;
        }
        self.settle();
    }

    fn fault(&mut self, fault: Fault) {
        let Some(network) = self.network.clone() else { return };
        match fault {
            Fault::Cut(sets) => {
                let sets: Vec<Vec<u32>> = sets.iter().map(|set| self.hosts_of(set)).collect();
                network.partition(&sets);
            }
            Fault::Heal => network.heal(),
            Fault::EngineStop(member) => network.engine_stop(self.host_of(member)),
            Fault::EngineResume(member) => network.engine_resume(self.host_of(member)),
            Fault::EngineRestart(member) => network.engine_restart(self.host_of(member)),
            Fault::Throttle(member, rate) => {
                if let Some(raw) = self.raw_of(member) {
                    network.throttle(raw, rate.map(|rate| Duration::from_secs(1) / rate.max(1)));
                }
            }
            Fault::Ghost => {
                let host = u32::try_from(self.random.below(1 << 30)).unwrap_or(0) + 1;
                let _ = network.ghost(host);
            }
            Fault::DropOwn(member) => {
                if let Some(raw) = self.raw_of(member) {
                    network.drop_next(raw);
                }
            }
        }
        self.settle();
    }

    fn advance(&mut self, time: Duration) {
        let until = self.now + time;
        loop {
            if let Some(network) = &self.network {
                network.set_time(self.now);
            }
            self.settle();
            if self.now >= until {
                return;
            }
            self.now = self.next_time(until);
        }
    }

    fn trace(&self, member: MemberId) -> &Trace {
        static NOTHING: Trace = Trace::empty();
        self.members.get(member.0).map_or(&NOTHING, |member| &member.trace)
    }

    fn bound(&self) -> Duration {
        self.detection
    }
}
