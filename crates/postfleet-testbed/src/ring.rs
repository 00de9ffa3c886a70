//! Corosync rings on one machine.
//!
//! Every host is a network namespace with two interfaces: `ring`, for the ring, on a bridge that can be cut into
//! pieces, and `mail`, for everything else, on a bridge that never is. Both bridges live in the hub, where the test
//! runs. Daemons have mount namespaces for their state; their sockets are abstract, and so belong to the network
//! namespace.

use crate::enclosure::ip;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use postfleet_bus_corosync::conf::{Host, Key, RingPlan};
use std::net::{IpAddr, Ipv4Addr};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// A host's place in the ring, from 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct HostId(pub usize);

/// For a ring that must form; a small machine that builds something else takes its time.
const FORM_PATIENCE: Duration = Duration::from_secs(60);

/// A ring of daemons.
#[derive(Debug)]
pub struct Ring {
    prefix: String,
    dir: tempfile::TempDir,
    plan: RingPlan,
    daemons: Vec<Option<Child>>,
}

impl Ring {
    /// Makes the namespaces, and the configuration that `postfleet corosync-conf` would write; `plan` may change
    /// it. Starts no daemon.
    #[must_use]
    pub fn new(prefix: &str, hosts: usize, plan: impl FnOnce(&mut RingPlan)) -> Self {
        let dir = tempfile::Builder::new().prefix("pf-ring").tempdir().unwrap();
        let list = (0..hosts)
            .map(|index| Host {
                id: None,
                name: format!("relay-{}", index + 1),
                addresses: vec![ring_address(HostId(index))],
                votes: true,
            })
            .collect();
        let mut ring_plan = RingPlan::new("testbed", list);
        ring_plan.key = Key::File(dir.path().join("authkey"));
        plan(&mut ring_plan);
        let ring = Self {
            prefix: prefix.to_owned(),
            dir,
            plan: ring_plan,
            daemons: (0..hosts).map(|_| None).collect(),
        };
        // A key of 256 bytes; corosync-keygen would wait for entropy.
        let key: Vec<u8> = (0_u16..256).map(|n| u8::try_from(n * 7 % 251).unwrap()).collect();
        std::fs::write(ring.dir.path().join("authkey"), key).unwrap();
        ring.make_networks();
        ring
    }

    fn make_networks(&self) {
        for bridge in ["mail", "ring0"] {
            ip(&["link", "add", bridge, "type", "bridge", "forward_delay", "0"]);
            ip(&["link", "set", bridge, "up"]);
        }
        ip(&["addr", "add", "10.78.0.254/24", "dev", "mail"]);
        for host in self.hosts() {
            let (namespace, number) = (self.namespace(host), host.0 + 1);
            ip(&["netns", "add", &namespace]);
            ip(&["-n", &namespace, "link", "set", "lo", "up"]);
            for (kind, net, bridge) in [("mail", 78, "mail"), ("ring", 77, "ring0")] {
                let outer = format!("{kind}.{number}");
                ip(&["link", "add", &outer, "type", "veth", "peer", "name", kind, "netns", &namespace]);
                ip(&["link", "set", &outer, "master", bridge, "up"]);
                ip(&["-n", &namespace, "addr", "add", &format!("10.{net}.0.{number}/24"), "dev", kind]);
                ip(&["-n", &namespace, "link", "set", kind, "up"]);
            }
        }
    }

    /// All hosts.
    pub fn hosts(&self) -> impl Iterator<Item = HostId> + use<> {
        (0..self.daemons.len()).map(HostId)
    }

    fn namespace(&self, host: HostId) -> String {
        format!("{}-{}", self.prefix, host.0 + 1)
    }

    /// How long a silent host stays a member.
    #[must_use]
    pub fn detection(&self) -> Duration {
        self.plan.timeouts().detection()
    }

    /// The folder of everything of this ring.
    #[must_use]
    pub fn dir(&self) -> &Path {
        self.dir.path()
    }

    /// A command that will run on a host, and die with this thread.
    #[must_use]
    pub fn command(&self, host: HostId, program: impl AsRef<std::ffi::OsStr>) -> Command {
        let mut command = Command::new("setpriv");
        command.args(["--pdeathsig", "KILL", "ip", "netns", "exec", &self.namespace(host)]).arg(program);
        command
    }

    fn log(&self, host: HostId) -> PathBuf {
        self.dir.path().join(format!("corosync-{}.log", host.0 + 1))
    }

    /// Starts a daemon and does not wait for it.
    pub fn start_daemon(&mut self, host: HostId) {
        let mut plan = self.plan.clone();
        plan.log_file = Some(self.log(host));
        let file = self.dir.path().join(format!("corosync-{}.conf", host.0 + 1));
        // No system log in a test. And a ring that is at work keeps a processor busy: in real time its daemons would
        // leave nothing to the members, which have processors of their own in a real fleet.
        let text = plan.render().unwrap().replace("to_syslog: yes", "to_syslog: no");
        let text = format!("{text}\nsystem {{\n    sched_rr: no\n    priority: max\n}}\n");
        std::fs::write(&file, text).unwrap();
        let state = self.dir.path().join(format!("state-{}", host.0 + 1));
        std::fs::create_dir_all(&state).unwrap();
        let script = "mount --bind \"$1\" /var/lib/corosync && mount -t tmpfs tmpfs /run && exec corosync -f -c \"$2\"";
        let child = self
            .command(host, "unshare")
            .args(["--mount", "--propagation", "private", "sh", "-c", script, "sh"])
            .args([&state, &file])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        self.daemons[host.0] = Some(child);
    }

    fn signal_daemon(&self, host: HostId, signal: Signal) {
        if let Some(child) = &self.daemons[host.0] {
            kill(Pid::from_raw(i32::try_from(child.id()).unwrap()), signal).unwrap();
        }
    }

    /// SIGKILL.
    pub fn kill_daemon(&mut self, host: HostId) {
        if let Some(mut child) = self.daemons[host.0].take() {
            child.kill().unwrap();
            child.wait().unwrap();
        }
    }

    /// SIGTERM: the daemon leaves in order. Waits until it has.
    pub fn stop_daemon_in_order(&mut self, host: HostId) {
        self.signal_daemon(host, Signal::SIGTERM);
        if let Some(mut child) = self.daemons[host.0].take() {
            child.wait().unwrap();
        }
    }

    /// SIGSTOP.
    pub fn pause_daemon(&self, host: HostId) {
        self.signal_daemon(host, Signal::SIGSTOP);
    }

    /// SIGCONT.
    pub fn resume_daemon(&self, host: HostId) {
        self.signal_daemon(host, Signal::SIGCONT);
    }

    /// The daemon's process, while there is one.
    #[must_use]
    pub fn daemon(&self, host: HostId) -> Option<u32> {
        self.daemons[host.0].as_ref().map(Child::id)
    }

    /// Cuts the ring's network: hosts of different sets do not hear each other. Who is in no set is in the first.
    pub fn cut(&self, sets: &[Vec<HostId>]) {
        for (index, set) in sets.iter().enumerate() {
            let bridge = format!("ring{index}");
            if index > 0 && !Path::new("/sys/class/net").join(&bridge).exists() {
                ip(&["link", "add", &bridge, "type", "bridge", "forward_delay", "0"]);
                ip(&["link", "set", &bridge, "up"]);
            }
            for host in set {
                ip(&["link", "set", &format!("ring.{}", host.0 + 1), "master", &bridge]);
            }
        }
    }

    /// Pulls the cables of a host out: both of them.
    pub fn unplug(&self, host: HostId) {
        for kind in ["ring", "mail"] {
            ip(&["link", "set", &format!("{kind}.{}", host.0 + 1), "down"]);
        }
    }

    /// Makes the network whole.
    pub fn heal(&self) {
        for host in self.hosts() {
            for kind in ["ring", "mail"] {
                ip(&["link", "set", &format!("{kind}.{}", host.0 + 1), "up"]);
            }
        }
        self.cut(&[self.hosts().collect()]);
    }

    /// Hosts that this host's daemon says are in its ring.
    #[must_use]
    pub fn members(&self, host: HostId) -> Vec<usize> {
        let log = std::fs::read_to_string(self.log(host)).unwrap_or_default();
        let last = log.lines().rev().find_map(|line| line.split_once("] Members[")?.1.split_once("]:"));
        let numbers = last.map(|(_, list)| list.split_whitespace().filter_map(|n| n.parse().ok()));
        numbers.into_iter().flatten().collect()
    }

    /// How many rings this host's daemon has formed in its present life, whether it announced them or not.
    #[must_use]
    pub fn rings_formed(&self, host: HostId) -> usize {
        let log = std::fs::read_to_string(self.log(host)).unwrap_or_default();
        log.matches("A new membership (").count()
    }

    /// Starts the daemons that do not run, and waits until all of them form one ring.
    pub fn form(&mut self) {
        for host in self.hosts() {
            if self.daemons[host.0].is_none() {
                // What the log says of an earlier life must not be taken for news.
                let _ = std::fs::remove_file(self.log(host));
                self.start_daemon(host);
            }
        }
        let wanted: Vec<usize> = self.hosts().map(|host| host.0 + 1).collect();
        let until = Instant::now() + FORM_PATIENCE;
        while !self.hosts().all(|host| self.members(host) == wanted) {
            assert!(Instant::now() < until, "the ring does not form\n{}", self.logs());
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// The ends of the daemons' logs: twelve lines each, or `POSTFLEET_LOG_LINES`.
    #[must_use]
    pub fn logs(&self) -> String {
        let wanted = std::env::var("POSTFLEET_LOG_LINES").ok().and_then(|text| text.parse().ok());
        let most: usize = wanted.unwrap_or(12);
        let mut text = String::new();
        for host in self.hosts() {
            let log = std::fs::read_to_string(self.log(host)).unwrap_or_default();
            let lines: Vec<&str> = log.lines().collect();
            let end = lines[lines.len().saturating_sub(most)..].join("\n");
            text += &format!("--- daemon of host {}:\n{end}\n", host.0 + 1);
        }
        text
    }
}

impl Drop for Ring {
    fn drop(&mut self) {
        for host in self.hosts() {
            self.kill_daemon(host);
            // Both ends of a pair go at once; a namespace goes when its last process has.
            for kind in ["ring", "mail"] {
                let _ = Command::new("ip").args(["link", "del", &format!("{kind}.{}", host.0 + 1)]).status();
            }
            let _ = Command::new("ip").args(["netns", "del", &self.namespace(host)]).status();
        }
        let bridges = (0..self.daemons.len()).map(|index| format!("ring{index}")).chain(["mail".into()]);
        for bridge in bridges.filter(|name| Path::new("/sys/class/net").join(name).exists()) {
            let _ = Command::new("ip").args(["link", "del", &bridge]).status();
        }
    }
}

/// Where a host is on the ring's network.
#[must_use]
pub fn ring_address(host: HostId) -> IpAddr {
    IpAddr::V4(Ipv4Addr::new(10, 77, 0, u8::try_from(host.0 + 1).unwrap()))
}

/// Where a host is on the network that is never cut.
#[must_use]
pub fn mail_address(host: HostId) -> IpAddr {
    IpAddr::V4(Ipv4Addr::new(10, 78, 0, u8::try_from(host.0 + 1).unwrap()))
}
