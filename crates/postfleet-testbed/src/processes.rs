//! The half of a rig that has to do with processes.

use crate::member::{CONTROL, ORIGIN, RECORDS, read_frame, unix_micros, write_frame};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use postfleet_bus::suite::{Command, MemberId, MemberSpec, Record, Trace};
use postfleet_types::Monotonic;
use std::io::ErrorKind;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::process::{Child, Stdio};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::{Duration, Instant};

/// One frame of a member, in the order in which members told.
type Told = (usize, u8, Vec<u8>);

#[derive(Debug)]
struct Member {
    child: Child,
    control: UnixStream,
    trace: Trace,
    /// Frames of other kinds, and when the rig heard of them.
    others: Vec<(Monotonic, u8, Vec<u8>)>,
    alive: bool,
}

/// Members that are processes of this machine.
#[derive(Debug)]
pub struct Processes {
    dir: tempfile::TempDir,
    origin: u64,
    start: Instant,
    members: Vec<Member>,
    told: Receiver<Told>,
    tell: Sender<Told>,
}

impl Default for Processes {
    fn default() -> Self {
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
}

fn split(mut body: &[u8]) -> Vec<Record> {
    let mut records = Vec::new();
    while let Ok((_, record)) = read_frame(&mut body) {
        records.push(Record::decode(&record).unwrap());
    }
    records
}

/// For what a test machine must do, however busy it is.
const PATIENCE: Duration = Duration::from_secs(60);

/// Asks until there is an answer.
fn until<T>(what: &str, mut ask: impl FnMut() -> Option<T>) -> T {
    let by = Instant::now() + PATIENCE;
    loop {
        if let Some(answer) = ask() {
            return answer;
        }
        assert!(Instant::now() < by, "after {PATIENCE:?} it is not so that {what}");
        std::thread::sleep(Duration::from_millis(1));
    }
}

/// The connection of a member that was just started.
fn accept(listener: &UnixListener, child: &mut Child) -> UnixStream {
    listener.set_nonblocking(true).unwrap();
    let control = until("a member connects", || match listener.accept() {
        Ok((control, _)) => Some(control),
        Err(error) if error.kind() == ErrorKind::WouldBlock => {
            assert!(child.try_wait().unwrap().is_none(), "a member ended before it connected");
            None
        }
        Err(error) => panic!("{error}"),
    });
    control.set_nonblocking(false).unwrap();
    control
}

/// Whether all threads of a process are stopped, or it is gone.
fn stands_still(pid: u32) -> bool {
    let Ok(threads) = std::fs::read_dir(format!("/proc/{pid}/task")) else { return true };
    threads.flatten().all(|thread| {
        // proc_pid_stat(5): the state follows the name, which is in parentheses and may hold any character.
        let stat = std::fs::read_to_string(thread.path().join("stat")).unwrap_or_default();
        let state = stat.rsplit_once(')').and_then(|(_, rest)| rest.trim_start().chars().next());
        matches!(state, None | Some('T' | 't' | 'Z' | 'X'))
    })
}

impl Processes {
    /// A folder for whatever members share.
    #[must_use]
    pub fn dir(&self) -> &Path {
        self.dir.path()
    }

    /// The rig's clock.
    #[must_use]
    pub fn now(&self) -> Monotonic {
        Monotonic::from_micros(u64::try_from(self.start.elapsed().as_micros()).unwrap())
    }

    /// Starts a member; `command` runs a program that ends in [`crate::member::Control::serve`].
    pub fn start(&mut self, spec: &MemberSpec, mut command: std::process::Command) -> MemberId {
        let index = self.members.len();
        let path = self.dir.path().join(format!("control-{index}"));
        let listener = UnixListener::bind(&path).unwrap();
        command.env(CONTROL, &path).env(ORIGIN, self.origin.to_string());
        let mut child = command.stdin(Stdio::null()).stdout(Stdio::null()).spawn().unwrap();
        let mut control = accept(&listener, &mut child);
        write_frame(&mut control, 0, &spec.encode()).unwrap();
        let (tell, mut input) = (self.tell.clone(), control.try_clone().unwrap());
        std::thread::spawn(move || {
            while let Ok((kind, body)) = read_frame(&mut input) {
                if tell.send((index, kind, body)).is_err() {
                    return;
                }
            }
        });
        self.members.push(Member {
            child,
            control,
            trace: Trace::default(),
            others: Vec::new(),
            alive: true,
        });
        MemberId(index)
    }

    /// Gives a member a command. One that has ended takes none.
    pub fn command(&mut self, member: MemberId, command: &Command) {
        let _ = write_frame(&mut self.members[member.0].control, 0, &command.encode());
    }

    /// SIGKILL.
    pub fn crash(&mut self, member: MemberId) {
        let process = &mut self.members[member.0];
        process.alive = false;
        process.child.kill().unwrap();
        process.child.wait().unwrap();
    }

    fn signal(&self, member: MemberId, signal: Signal) {
        let pid = i32::try_from(self.members[member.0].child.id()).unwrap();
        kill(Pid::from_raw(pid), signal).unwrap();
    }

    /// SIGSTOP; returns when every thread of the process stands still. The signal alone waits for one of its threads to be
    /// given a processor, and the others run on until then.
    pub fn stop(&self, member: MemberId) {
        self.signal(member, Signal::SIGSTOP);
        let child = &self.members[member.0].child;
        until("a member stands still", || stands_still(child.id()).then_some(()));
    }

    /// SIGCONT.
    pub fn resume(&self, member: MemberId) {
        self.signal(member, Signal::SIGCONT);
    }

    /// Whether the member's process has ended.
    pub fn has_ended(&mut self, member: MemberId) -> bool {
        self.members[member.0].child.try_wait().unwrap().is_some()
    }

    /// Whether nobody has killed it.
    #[must_use]
    pub fn is_alive(&self, member: MemberId) -> bool {
        self.members[member.0].alive
    }

    /// All that were started.
    pub fn all(&self) -> impl Iterator<Item = MemberId> + use<> {
        (0..self.members.len()).map(MemberId)
    }

    /// Frames that are no records.
    #[must_use]
    pub fn others(&self, member: MemberId) -> &[(Monotonic, u8, Vec<u8>)] {
        &self.members[member.0].others
    }

    /// What it has recorded.
    #[must_use]
    pub fn trace(&self, member: MemberId) -> &Trace {
        &self.members[member.0].trace
    }

    /// Resident memory of a member, in bytes.
    #[must_use]
    pub fn memory(&self, member: MemberId) -> usize {
        let status = format!("/proc/{}/status", self.members[member.0].child.id());
        let status = std::fs::read_to_string(status).unwrap();
        let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap();
        line.split_whitespace().nth(1).unwrap().parse::<usize>().unwrap() * 1024
    }

    fn take(&mut self, (index, kind, body): Told) {
        let now = self.now();
        let member = &mut self.members[index];
        if kind == RECORDS {
            // What one turn of the member brought; cases may ask for all of it as soon as they see any.
            split(&body).into_iter().for_each(|record| member.trace.push(record));
        } else {
            member.others.push((now, kind, body));
        }
    }

    /// Waits for news, at most so long, and takes in all there are.
    pub fn advance(&mut self, time: Duration) {
        if let Ok(told) = self.told.recv_timeout(time) {
            self.take(told);
        }
        while let Ok(told) = self.told.try_recv() {
            self.take(told);
        }
    }
}

impl Drop for Processes {
    fn drop(&mut self) {
        for member in &mut self.members {
            // A stopped process dies of it too. Those that are gone already cannot be killed again.
            let _ = member.child.kill();
            let _ = member.child.wait();
        }
    }
}
