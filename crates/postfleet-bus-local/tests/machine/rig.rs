//! The suite's rig for members that are processes of this machine.

use crate::member::{BUS, CHILD, DIE, STEPS};
use postfleet_bus::suite::{Capability, Command, Fault, MemberId, MemberSpec, Rig, Trace};
use postfleet_bus_local::Step;
use postfleet_testbed::processes::Processes;
use postfleet_types::Monotonic;
use std::time::Duration;

/// Members on one bus in a directory of its own.
#[derive(Default)]
pub struct ProcessRig {
    processes: Processes,
}

impl ProcessRig {
    pub fn new(_seed: u64) -> Self {
        Self::default()
    }

    /// Starts a member that dies at the `times`th step of this kind, or that starts a child process of its own.
    pub fn start_with(&mut self, spec: &MemberSpec, die: Option<(Step, u64)>, child: bool) -> MemberId {
        let mut command = std::process::Command::new(std::env::current_exe().unwrap());
        command
            .args(["--exact", "member_process", "--nocapture", "--test-threads=1"])
            .env(BUS, self.processes.dir().join("bus"));
        if let Some((step, times)) = die {
            command.env(DIE, format!("{step:?}:{times}"));
        }
        if child {
            command.env(CHILD, "1");
        }
        self.processes.start(spec, command)
    }

    /// Whether the member's process has ended.
    pub fn has_ended(&mut self, member: MemberId) -> bool {
        self.processes.has_ended(member)
    }

    /// A member's steps, and when the rig heard of them.
    pub fn steps(&self, member: MemberId) -> Vec<(Monotonic, Step)> {
        let told = self.processes.others(member).iter();
        told.map(|(at, _, body)| (*at, STEPS[usize::from(body[0])])).collect()
    }

    /// Who was last seen to take up the hub.
    pub fn host(&self) -> Option<MemberId> {
        let living = self.processes.all().filter(|member| self.processes.is_alive(*member));
        living
            .flat_map(|member| self.steps(member).into_iter().map(move |(at, step)| (at, step, member)))
            .filter(|(_, step, _)| *step == Step::Running)
            .max_by_key(|(at, ..)| *at)
            .map(|(.., member)| member)
    }

    /// Resident memory of a member, in bytes.
    pub fn memory(&self, member: MemberId) -> usize {
        self.processes.memory(member)
    }
}

impl Rig for ProcessRig {
    fn can(&self, capability: Capability) -> bool {
        match capability {
            Capability::Several | Capability::Crash | Capability::Stop => true,
            // No partitions on one machine, and no daemon beside the members: its host is one of them (L1, L5).
            Capability::Cut
            | Capability::EngineStop
            | Capability::EngineRestart
            | Capability::Throttle
            | Capability::Inject => false,
        }
    }

    fn now(&self) -> Monotonic {
        self.processes.now()
    }

    fn start(&mut self, spec: &MemberSpec) -> MemberId {
        self.start_with(spec, None, false)
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
        panic!("this rig cannot do {fault:?}");
    }

    fn advance(&mut self, time: Duration) {
        self.processes.advance(time);
    }

    fn trace(&self, member: MemberId) -> &Trace {
        self.processes.trace(member)
    }

    fn cases(&self, wanted: u32) -> u32 {
        // Real time and real processes. `POSTFLEET_CASES` plays more.
        wanted.min(1)
    }

    fn patience(&self) -> u32 {
        5
    }

    fn bound(&self) -> Duration {
        Duration::from_secs(4)
    }
}
