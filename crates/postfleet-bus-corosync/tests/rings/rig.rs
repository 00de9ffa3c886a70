//! The suite's rig on a ring of daemons.

use crate::member::BUS;
use postfleet_bus::suite::{Capability, Command, Fault, MemberId, MemberSpec, Rig, Trace};
use postfleet_testbed::processes::Processes;
use postfleet_testbed::ring::{HostId, Ring};
use postfleet_types::Monotonic;
use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

pub type Shared = Rc<RefCell<Ring>>;

/// Members of one case, on a bus of their own.
pub struct RingRig {
    ring: Shared,
    bus: String,
    processes: Processes,
    /// Where each member is.
    hosts: Vec<HostId>,
    throttle: Option<Throttle>,
}

impl RingRig {
    pub fn new(ring: &Shared) -> Self {
        static SERIAL: AtomicU32 = AtomicU32::new(1);
        Self {
            ring: Rc::clone(ring),
            bus: format!("case-{}", SERIAL.fetch_add(1, Ordering::Relaxed)),
            processes: Processes::default(),
            hosts: Vec::new(),
            throttle: None,
        }
    }

    fn living(&self) -> impl Iterator<Item = (MemberId, HostId)> {
        self.processes.all().filter(|m| self.processes.is_alive(*m)).map(|m| (m, self.hosts[m.0]))
    }

    /// The host with the fewest members; the first of them.
    fn freest(&self) -> HostId {
        let load = |host: &HostId| self.living().filter(|(_, at)| at == host).count();
        self.ring.borrow().hosts().min_by_key(load).unwrap()
    }

    /// Makes the daemon of a host slow until the value goes away: rings with it take seconds to get in step.
    pub fn slow_daemon(&self, host: HostId) -> Option<Throttle> {
        self.ring.borrow().daemon(host).map(Throttle::start)
    }

    /// Starts a member on a certain host.
    pub fn start_on(&mut self, host: HostId, spec: &MemberSpec) -> MemberId {
        let mut command = self.ring.borrow().command(host, std::env::current_exe().unwrap());
        command.env(BUS, &self.bus);
        self.hosts.push(host);
        self.processes.start(spec, command)
    }
}

impl Rig for RingRig {
    fn can(&self, capability: Capability) -> bool {
        match capability {
            Capability::Several
            | Capability::Crash
            | Capability::Stop
            | Capability::Cut
            | Capability::EngineStop
            | Capability::EngineRestart
            | Capability::Throttle => true,
            // Real daemons lose nothing and make no ghosts on demand.
            Capability::Inject => false,
        }
    }

    fn now(&self) -> Monotonic {
        self.processes.now()
    }

    fn start(&mut self, spec: &MemberSpec) -> MemberId {
        let host = self.freest();
        self.start_on(host, spec)
    }

    fn command(&mut self, member: MemberId, command: Command) {
        self.processes.command(member, &command);
    }

    fn crash(&mut self, member: MemberId) {
        self.processes.crash(member);
    }

    fn stop(&mut self, member: MemberId) {
        self.processes.stop(member);
    }

    fn resume(&mut self, member: MemberId) {
        self.processes.resume(member);
    }

    fn fault(&mut self, fault: Fault) {
        let mut ring = self.ring.borrow_mut();
        match fault {
            Fault::Cut(sets) => {
                let mut free: Vec<HostId> = ring.hosts().collect();
                let mut cut: Vec<Vec<HostId>> = Vec::new();
                for set in &sets {
                    let living = set.iter().filter(|member| self.processes.is_alive(**member));
                    let hosts: Vec<HostId> = living
                        .map(|member| self.hosts[member.0])
                        .filter(|host| free.contains(host))
                        .collect();
                    free.retain(|host| !hosts.contains(host));
                    cut.push(hosts);
                }
                if let Some(first) = cut.first_mut() {
                    first.append(&mut free);
                }
                ring.cut(&cut);
            }
            Fault::Heal => ring.heal(),
            Fault::EngineStop(member) => ring.pause_daemon(self.hosts[member.0]),
            Fault::EngineResume(member) => ring.resume_daemon(self.hosts[member.0]),
            Fault::EngineRestart(member) => {
                let host = self.hosts[member.0];
                ring.kill_daemon(host);
                ring.start_daemon(host);
            }
            Fault::Throttle(member, Some(_)) => {
                self.throttle = ring.daemon(self.hosts[member.0]).map(Throttle::start);
            }
            Fault::Throttle(_, None) => self.throttle = None,
            Fault::Ghost | Fault::DropOwn(_) => panic!("this rig cannot do {fault:?}"),
        }
    }

    fn advance(&mut self, time: Duration) {
        self.processes.advance(time);
    }

    fn trace(&self, member: MemberId) -> &Trace {
        self.processes.trace(member)
    }

    fn cases(&self, wanted: u32) -> u32 {
        // Real time and real processes. `POSTFLEET_CASES` plays more.
        (wanted / 40).clamp(1, 3)
    }

    fn patience(&self) -> u32 {
        5
    }

    fn bound(&self) -> Duration {
        self.ring.borrow().detection()
    }
}

/// A daemon that stands still most of the time, in pieces that the ring forgives: it takes messages slowly.
pub struct Throttle {
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Throttle {
    fn start(daemon: u32) -> Self {
        use nix::sys::signal::{Signal, kill};
        let pid = nix::unistd::Pid::from_raw(i32::try_from(daemon).unwrap());
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        kill(pid, Signal::SIGSTOP).unwrap();
        let thread = std::thread::spawn(move || {
            while !stopped.load(Ordering::Relaxed) {
                kill(pid, Signal::SIGSTOP).unwrap();
                std::thread::sleep(Duration::from_millis(300));
                kill(pid, Signal::SIGCONT).unwrap();
                std::thread::sleep(Duration::from_millis(20));
            }
        });
        Self { stop, thread: Some(thread) }
    }
}

impl Drop for Throttle {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            thread.join().unwrap();
        }
    }
}
