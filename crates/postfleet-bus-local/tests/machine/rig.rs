//! The suite's rig for members that are processes of this machine.

use crate::member::{
    BUS, CHILD, CONTROL, DIE, ORIGIN, RECORDS, STEP, STEPS, read_frame, unix_micros, write_frame,
};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use postfleet_bus::suite::{Capability, Command, Fault, MemberId, MemberSpec, Record, Rig, Trace};
use postfleet_bus_local::Step;
use postfleet_types::Monotonic;
use std::os::unix::net::{UnixListener, UnixStream};
use std::process::{Child, Stdio};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::{Duration, Instant};

/// Set for the processes that are members.
pub const IS_MEMBER: &str = "POSTFLEET_TEST_MEMBER";

enum Told {
    /// What one turn of the member brought; cases may ask for all of it as soon as they see any.
    Records(Vec<Record>),
    Step(Step),
}

struct Member {
    child: Child,
    control: UnixStream,
    trace: Trace,
    /// Its steps, and when the rig heard of them.
    steps: Vec<(Monotonic, Step)>,
    alive: bool,
}

fn split(mut body: &[u8]) -> Vec<Record> {
    let mut records = Vec::new();
    while let Ok((_, record)) = read_frame(&mut body) {
        records.push(Record::decode(&record).unwrap());
    }
    records
}

/// Members on one bus in a directory of its own.
pub struct ProcessRig {
    dir: tempfile::TempDir,
    origin: u64,
    start: Instant,
    members: Vec<Member>,
    told: Receiver<(usize, Told)>,
    tell: Sender<(usize, Told)>,
}

impl ProcessRig {
    pub fn new(_seed: u64) -> Self {
        let (tell, told) = channel();
        Self {
            dir: tempfile::tempdir().unwrap(),
            origin: unix_micros(),
            start: Instant::now(),
            members: Vec::new(),
            told,
            tell,
        }
    }

    /// Starts a member that dies at the `times`th step of this kind, or that starts a child process of its own.
    pub fn start_with(&mut self, spec: &MemberSpec, die: Option<(Step, u64)>, child: bool) -> MemberId {
        let index = self.members.len();
        let path = self.dir.path().join(format!("control-{index}"));
        let listener = UnixListener::bind(&path).unwrap();
        let mut command = std::process::Command::new(std::env::current_exe().unwrap());
        command
            .args(["--exact", "member_process", "--nocapture", "--test-threads=1"])
            .env(IS_MEMBER, "1")
            .env(CONTROL, &path)
            .env(BUS, self.dir.path().join("bus"))
            .env(ORIGIN, self.origin.to_string())
            .stdin(Stdio::null())
            .stdout(Stdio::null());
        if let Some((step, times)) = die {
            command.env(DIE, format!("{step:?}:{times}"));
        }
        if child {
            command.env(CHILD, "1");
        }
        let child = command.spawn().unwrap();
        let (mut control, _) = listener.accept().unwrap();
        write_frame(&mut control, 0, &spec.encode()).unwrap();
        let (tell, mut input) = (self.tell.clone(), control.try_clone().unwrap());
        std::thread::spawn(move || {
            while let Ok((kind, body)) = read_frame(&mut input) {
                let told = match kind {
                    RECORDS => Told::Records(split(&body)),
                    STEP => Told::Step(STEPS[usize::from(body[0])]),
                    other => panic!("a member told {other}"),
                };
                if tell.send((index, told)).is_err() {
                    return;
                }
            }
        });
        self.members.push(Member { child, control, trace: Trace::default(), steps: Vec::new(), alive: true });
        MemberId(index)
    }

    fn signal(&self, member: MemberId, signal: Signal) {
        let pid = i32::try_from(self.members[member.0].child.id()).unwrap();
        kill(Pid::from_raw(pid), signal).unwrap();
    }

    /// Whether the member's process has ended.
    pub fn has_ended(&mut self, member: MemberId) -> bool {
        self.members[member.0].child.try_wait().unwrap().is_some()
    }

    pub fn steps(&self, member: MemberId) -> &[(Monotonic, Step)] {
        &self.members[member.0].steps
    }

    /// Who was last seen to take up the hub.
    pub fn host(&self) -> Option<MemberId> {
        let hosts = self.members.iter().enumerate().filter(|(_, member)| member.alive);
        hosts
            .flat_map(|(index, member)| member.steps.iter().map(move |(at, step)| (*at, *step, index)))
            .filter(|(_, step, _)| *step == Step::Running)
            .max_by_key(|(at, ..)| *at)
            .map(|(.., index)| MemberId(index))
    }

    /// Resident memory of a member, in bytes.
    pub fn memory(&self, member: MemberId) -> usize {
        let status = format!("/proc/{}/status", self.members[member.0].child.id());
        let status = std::fs::read_to_string(status).unwrap();
        let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap();
        line.split_whitespace().nth(1).unwrap().parse::<usize>().unwrap() * 1024
    }

    fn take(&mut self, index: usize, told: Told) {
        let now = self.now();
        match told {
            Told::Records(records) => {
                records.into_iter().for_each(|record| self.members[index].trace.push(record));
            }
            Told::Step(step) => self.members[index].steps.push((now, step)),
        }
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
        Monotonic::from_micros(u64::try_from(self.start.elapsed().as_micros()).unwrap())
    }

    fn start(&mut self, spec: &MemberSpec) -> MemberId {
        self.start_with(spec, None, false)
    }

    fn command(&mut self, member: MemberId, command: Command) {
        // A member that has ended takes no commands.
        let _ = write_frame(&mut self.members[member.0].control, 0, &command.encode());
    }

    fn crash(&mut self, member: MemberId) {
        let process = &mut self.members[member.0];
        process.alive = false;
        process.child.kill().unwrap();
        process.child.wait().unwrap();
    }

    fn stop(&mut self, member: MemberId) {
        self.signal(member, Signal::SIGSTOP);
    }

    fn resume(&mut self, member: MemberId) {
        self.signal(member, Signal::SIGCONT);
    }

    fn fault(&mut self, fault: Fault) {
        panic!("this rig cannot do {fault:?}");
    }

    fn advance(&mut self, time: Duration) {
        if let Ok((index, told)) = self.told.recv_timeout(time) {
            self.take(index, told);
        }
        while let Ok((index, told)) = self.told.try_recv() {
            self.take(index, told);
        }
    }

    fn trace(&self, member: MemberId) -> &Trace {
        &self.members[member.0].trace
    }

    fn cases(&self, wanted: u32) -> u32 {
        // Real time and real processes. `POSTFLEET_CASES` plays more.
        wanted.min(1)
    }

    fn bound(&self) -> Duration {
        Duration::from_secs(4)
    }
}

impl Drop for ProcessRig {
    fn drop(&mut self) {
        for member in &mut self.members {
            // A stopped process dies of it too. Those that are gone already cannot be killed again.
            let _ = member.child.kill();
            let _ = member.child.wait();
        }
    }
}
