//! Nodes on a ring, and what consoles say.

use crate::support::{Client, PROGRAM, console};
use postfleet_bus_corosync::conf::RingPlan;
use postfleet_testbed::ring::{HostId, Ring, mail_address};
use std::collections::BTreeMap;
use std::io::Write as _;
use std::net::IpAddr;
use std::path::PathBuf;
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

pub const SHOW: &str = "cluster shared show inbound_cidr";

/// For anything that must happen, on a machine that may be slow.
pub const PATIENCE: Duration = Duration::from_secs(40);

/// Counts by client address.
pub type Counts = BTreeMap<IpAddr, u64>;

pub struct Fleet {
    pub ring: Ring,
    nodes: Vec<Option<Child>>,
}

pub fn name(host: HostId) -> String {
    format!("relay-{}", host.0 + 1)
}

impl Fleet {
    /// Daemons in one ring, a node on each host, all of them members.
    pub fn start(prefix: &str, hosts: usize) -> Self {
        let mut fleet = Self::without_daemons(prefix, hosts, |_| ());
        fleet.ring.form();
        for host in fleet.hosts() {
            fleet.start_node(host);
        }
        fleet.wait_together();
        fleet
    }

    /// The namespaces and the configuration files; nothing runs.
    pub fn without_daemons(prefix: &str, hosts: usize, plan: impl FnOnce(&mut RingPlan)) -> Self {
        let ring = Ring::new(prefix, hosts, |known| {
            known.token_ms = 1000;
            plan(known);
        });
        let fleet = Self { ring, nodes: (0..hosts).map(|_| None).collect() };
        for host in fleet.hosts() {
            fleet.configure(host, "");
        }
        fleet
    }

    pub fn hosts(&self) -> Vec<HostId> {
        self.ring.hosts().collect()
    }

    fn file(&self, host: HostId, what: &str) -> PathBuf {
        self.ring.dir().join(format!("{}.{what}", name(host)))
    }

    /// Heartbeats are fast, so that a stopped node need not be stopped for long; a soak has the defaults. `cluster`
    /// stands in the stanza.
    pub fn configure(&self, host: HostId, cluster: &str) {
        let (name, address) = (name(host), mail_address(host));
        let heartbeats = if std::env::var_os("POSTFLEET_SOAK").is_some() {
            ""
        } else {
            "heartbeats_per_sec = 4\n  heartbeat_miss_limit = 10\n  heartbeat_start_delay = 1\n  "
        };
        let home = self.ring.dir().display();
        let text = format!(
            "Hostname = \"{name}.test.example\"\nSpoolbase = \"{home}/{name}.spool\"\n\
             State_Dir = \"{home}/{name}.state\"\nPidfile = \"{home}/{name}.pid\"\n\
             Relay_Domains = ( \"test.example\" )\nSuspend_Delivery = true\n\
             ESMTP_Listener {{\n  Listen \"{address}:2525\" {{\n  }}\n  \
             Listen \"{address}:2526\" {{\n    Proxy_Protocol = true\n  }}\n}}\n\
             Control_Listener {{\n  Listen \"{}\" {{\n  }}\n}}\n\
             ECCluster_Listener {{\n  Listen \"{address}:4802\" {{\n  }}\n}}\n\
             msgc_client {{\n  reconnect_interval = 1\n}}\n\
             cluster {{\n  nodename = \"{name}\"\n  nodeaddr = \"{address}\"\n  mbus_daemon = 4803\n  \
             {heartbeats}{cluster}\n  Replicate \"inbound_cidr\" {{}}\n}}\n",
            self.control(host).display()
        );
        std::fs::write(self.file(host, "conf"), text).unwrap();
    }

    /// More text for the end of the configuration.
    pub fn append(&self, host: HostId, text: &str) {
        let mut file = std::fs::File::options().append(true).open(self.file(host, "conf")).unwrap();
        file.write_all(text.as_bytes()).unwrap();
    }

    pub fn control(&self, host: HostId) -> PathBuf {
        self.file(host, "console")
    }

    pub fn log(&self, host: HostId) -> String {
        std::fs::read_to_string(self.file(host, "log")).unwrap_or_default()
    }

    pub fn start_node(&mut self, host: HostId) {
        let log = std::fs::File::options().create(true).append(true).open(self.file(host, "log")).unwrap();
        let child = self
            .ring
            .command(host, PROGRAM)
            .args(["node", "-c"])
            .arg(self.file(host, "conf"))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .unwrap();
        self.nodes[host.0] = Some(child);
    }

    pub fn pid(&self, host: HostId) -> u32 {
        self.nodes[host.0].as_ref().unwrap().id()
    }

    pub fn kill_node(&mut self, host: HostId) {
        let mut child = self.nodes[host.0].take().unwrap();
        child.kill().unwrap();
        child.wait().unwrap();
    }

    pub fn signal(&self, host: HostId, signal: &str) {
        let pid = self.pid(host).to_string();
        assert!(std::process::Command::new("kill").args([signal, &pid]).status().unwrap().success());
    }

    /// What a console command prints, if it works.
    pub fn console(&self, host: HostId, command: &str) -> Option<String> {
        let output = console(&self.control(host), command);
        output.status.success().then(|| String::from_utf8(output.stdout).unwrap())
    }

    pub fn members(&self, host: HostId) -> Vec<String> {
        let text = self.console(host, "cluster membership").unwrap_or_default();
        text.lines().filter_map(|line| line.strip_prefix("Node Name: ")).map(str::to_owned).collect()
    }

    /// Counts of single addresses; those of the test's own mail are left out.
    pub fn counts(&self, host: HostId, of: Option<HostId>) -> Option<Counts> {
        let command = match of {
            Some(node) => format!("{SHOW} from {}", name(node)),
            None => SHOW.to_owned(),
        };
        let text = self.console(host, &command)?;
        let rows = text.lines().skip(1).filter_map(|line| {
            let (count, prefix) = line.trim_start().split_once(char::is_whitespace)?;
            let address = prefix.trim().strip_suffix("/32")?.parse::<IpAddr>().ok()?;
            Some((address, count.parse().ok()?))
        });
        Some(rows.filter(|(address, _)| !address.to_string().starts_with("10.78.")).collect())
    }

    /// Opens a connection that is counted for `source`.
    pub fn connect(&self, host: HostId, source: IpAddr) -> Client {
        Client::connect_from(&format!("{}:2526", mail_address(host)), source).unwrap()
    }

    #[track_caller]
    pub fn wait(&self, what: &str, mut holds: impl FnMut() -> bool) -> Duration {
        let started = Instant::now();
        while !holds() {
            assert!(started.elapsed() < PATIENCE, "not within {PATIENCE:?}: {what}\n{}", self.report());
            std::thread::sleep(Duration::from_millis(5));
        }
        started.elapsed()
    }

    /// Waits until these hosts' nodes, and nobody else, are members to each of them.
    #[track_caller]
    pub fn wait_view(&self, hosts: &[HostId]) -> Duration {
        let mut wanted: Vec<String> = hosts.iter().map(|host| name(*host)).collect();
        wanted.sort();
        self.wait(&format!("{wanted:?} are the members"), || {
            hosts.iter().all(|host| {
                let mut members = self.members(*host);
                members.sort();
                members == wanted
            })
        })
    }

    #[track_caller]
    pub fn wait_together(&self) -> Duration {
        self.wait_view(&self.hosts())
    }

    /// The ends of all logs.
    pub fn report(&self) -> String {
        let mut text = String::new();
        for host in self.hosts() {
            let log = self.log(host);
            let lines: Vec<&str> = log.lines().collect();
            let end = lines[lines.len().saturating_sub(25)..].join("\n");
            text += &format!("--- {}, members {:?}:\n{end}\n", name(host), self.members(host));
        }
        text + &self.ring.logs()
    }
}

impl Drop for Fleet {
    fn drop(&mut self) {
        for child in self.nodes.iter_mut().flatten() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}
