//! Members on the simulated engine, each on a host of its own, in virtual time.

use postfleet_bus::suite::{Agent, Capability, Command, Fault, MemberId, MemberSpec, Rig, Trace};
use postfleet_bus::{Carrier as _, RawId};
use postfleet_sim::engine::{Attachment, Class, Engine, HostId, Timing};
use postfleet_types::{Monotonic, Random};
use std::cell::Cell;
use std::rc::Rc;
use std::task::{Context, Waker};
use std::time::Duration;

type Attach = Box<dyn FnMut(Monotonic) -> Option<Attachment>>;

/// A host without members, on the ring from the beginning; the highest, so that it is nobody's turn.
const SPARE: HostId = u32::MAX;

struct Member {
    agent: Option<Agent<Attachment, Attach>>,
    host: HostId,
    /// The attachment of its present connection.
    raw: Rc<Cell<Option<RawId>>>,
    stopped: bool,
    trace: Trace,
}

pub(crate) struct SimRig {
    engine: Engine,
    random: Random,
    now: Monotonic,
    members: Vec<Member>,
}

impl SimRig {
    pub(crate) fn new(seed: u64, timing: Timing) -> Self {
        let random = Random::seeded(seed ^ 0x5eed);
        let engine = Engine::new(seed, timing);
        engine.add_host(SPARE);
        Self { engine, random, now: Monotonic::ZERO, members: Vec::new() }
    }

    pub(crate) const fn engine(&self) -> &Engine {
        &self.engine
    }

    fn host_of(&self, member: MemberId) -> HostId {
        self.members[member.0].host
    }

    fn raw_of(&self, member: MemberId) -> Option<RawId> {
        self.members[member.0].raw.get()
    }

    /// Hosts have numbers in no order, so that the lowest attachment is anybody's.
    fn any_host(&mut self) -> HostId {
        u32::try_from(self.random.below(1 << 30)).unwrap() + 1
    }

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

    fn pause(&mut self, member: MemberId, stopped: bool) {
        if let Some(raw) = self.raw_of(member) {
            self.engine.set_paused(Class::Main, raw, stopped);
        }
        self.members[member.0].stopped = stopped;
    }
}

impl Rig for SimRig {
    fn can(&self, _: Capability) -> bool {
        true
    }

    fn now(&self) -> Monotonic {
        self.now
    }

    fn start(&mut self, spec: &MemberSpec) -> MemberId {
        let raw = Rc::new(Cell::new(None));
        let host = self.any_host();
        self.engine.add_host(host);
        let (engine, shown) = (self.engine.clone(), Rc::clone(&raw));
        let mut process = 0;
        let attach: Attach = Box::new(move |_| {
            process += 1;
            let attachment = engine.attach(Class::Main, host, process).ok()?;
            shown.set(Some(attachment.id()));
            Some(attachment)
        });
        let random = Random::seeded(self.random.next_u64());
        let agent = Some(Agent::new(spec.clone(), random, attach));
        self.members.push(Member { agent, host, raw, stopped: false, trace: Trace::default() });
        self.settle();
        MemberId(self.members.len() - 1)
    }

    fn command(&mut self, member: MemberId, command: Command) {
        let now = self.now;
        if let Some(agent) = &mut self.members[member.0].agent {
            agent.command(now, command);
        }
        self.settle();
    }

    fn crash(&mut self, member: MemberId) {
        self.members[member.0].agent = None;
        self.settle();
    }

    fn stop(&mut self, member: MemberId) {
        self.pause(member, true);
    }

    fn resume(&mut self, member: MemberId) {
        self.pause(member, false);
        self.settle();
    }

    fn fault(&mut self, fault: Fault) {
        let engine = self.engine.clone();
        match fault {
            Fault::Cut(sets) => {
                let hosts = |set: &Vec<MemberId>| set.iter().map(|member| self.host_of(*member)).collect();
                engine.partition(&sets.iter().map(hosts).collect::<Vec<_>>());
            }
            Fault::Heal => engine.heal(),
            Fault::EngineStop(member) => engine.freeze(self.host_of(member)),
            Fault::EngineResume(member) => engine.thaw(self.host_of(member)),
            Fault::EngineRestart(member) => {
                engine.kill(self.host_of(member));
                engine.boot(self.host_of(member));
            }
            Fault::Throttle(member, rate) => {
                if let Some(raw) = self.raw_of(member) {
                    let pace = rate.map(|rate| Duration::from_secs(1) / rate.max(1));
                    engine.throttle(Class::Main, raw, pace);
                }
            }
            Fault::Ghost => {
                let ghost = RawId { major: self.any_host(), minor: 1 };
                engine.ghost(SPARE, Class::Main, ghost);
            }
            Fault::DropOwn(member) => {
                if let Some(raw) = self.raw_of(member) {
                    engine.drop_next(Class::Main, raw);
                }
            }
        }
        self.settle();
    }

    fn advance(&mut self, time: Duration) {
        let until = self.now + time;
        loop {
            self.engine.set_time(self.now);
            self.settle();
            if self.now >= until {
                return;
            }
            let agents = self.members.iter_mut().filter(|member| !member.stopped);
            let agents = agents.filter_map(|member| member.agent.as_mut()).filter_map(Agent::deadline).min();
            // What is due already could not be done now; look again a little later.
            let soon = self.now + Duration::from_micros(250);
            let next = agents.into_iter().chain(self.engine.next_due()).min();
            self.now = next.map_or(until, |next| next.max(soon)).min(until);
        }
    }

    fn trace(&self, member: MemberId) -> &Trace {
        &self.members[member.0].trace
    }

    fn bound(&self) -> Duration {
        self.engine.bound()
    }
}
