//! Faults, one after the other, and after each of them every view on every node against the oracle.

use crate::fleet::{Fleet, name};
use crate::mail::Mail;
use crate::oracle::Oracle;
use postfleet_testbed::ring::{HostId, mail_address};
use std::time::{Duration, Instant};

const HOSTS: usize = 3;

#[derive(Clone, Copy, Debug)]
enum FaultKind {
    /// The ring's link of one host is cut and healed.
    Cut,
    /// The daemon of one host is killed and started again.
    DaemonKilled,
    /// The node of one host is killed and started again.
    NodeKilled,
    /// The node of one host stands still for longer than heartbeats allow, and goes on.
    NodeStopped,
    /// The daemon of one host is stopped in order and started again.
    DaemonStopped,
}

const KINDS: [FaultKind; 5] = [
    FaultKind::Cut,
    FaultKind::DaemonKilled,
    FaultKind::NodeKilled,
    FaultKind::NodeStopped,
    FaultKind::DaemonStopped,
];

/// What comes first ends first: mail has nowhere to go without a fleet.
struct Play {
    mail: Mail,
    oracle: Oracle,
    fleet: Fleet,
    stop: Duration,
}

pub fn play(prefix: &str) {
    let number = |variable: &str| std::env::var(variable).ok().and_then(|text| text.parse::<u64>().ok());
    let rounds = number("ROUNDS").unwrap_or(10);
    let seed = number("POSTFLEET_SEED").unwrap_or(0x666c_6565);
    let long = std::env::var_os("POSTFLEET_SOAK").is_some();
    let fleet = Fleet::start(&format!("{prefix}-r"), HOSTS);
    let mail = Mail::start(&fleet.hosts());
    let stop = Duration::from_secs(if long { 30 } else { 5 });
    let mut play = Play { mail, oracle: Oracle::new(seed), fleet, stop };
    eprintln!("{rounds} rounds, POSTFLEET_SEED={seed}");
    for round in 0..rounds {
        let hosts = play.fleet.hosts();
        play.oracle.change(&play.fleet, &hosts);
        let victim = hosts[play.oracle.pick(hosts.len())];
        // Every kind in turn, so that few rounds show all of them.
        let kind = KINDS[usize::try_from(round).unwrap() % KINDS.len()];
        let begun = Instant::now();
        play.round(kind, victim);
        play.fleet.wait_together();
        play.oracle.change(&play.fleet, &hosts);
        play.oracle.agree(&play.fleet, &hosts);
        play.mail.check();
        eprintln!("  round {}: {kind:?} of {} ({:.1?})", round + 1, name(victim), begun.elapsed());
    }
    for host in play.fleet.hosts() {
        assert!(play.mail.accepted(host) > rounds, "relay-{} took hardly any mail", host.0 + 1);
    }
}

impl Play {
    fn others(&self, victim: HostId) -> Vec<HostId> {
        self.fleet.hosts().into_iter().filter(|host| *host != victim).collect()
    }

    /// Mail is taken by a node while something is wrong with its bus.
    fn takes_mail(&self, host: HostId) {
        let before = self.mail.accepted(host);
        self.fleet.wait("mail is taken", || self.mail.accepted(host) > before + 1);
    }

    fn round(&mut self, kind: FaultKind, victim: HostId) {
        let others = self.others(victim);
        match kind {
            FaultKind::Cut => {
                self.fleet.ring.cut(&[others.clone(), vec![victim]]);
                self.fleet.wait_view(&others);
                self.fleet.wait_view(&[victim]);
                let all = self.fleet.hosts();
                self.oracle.change(&self.fleet, &all);
                // Two smaller fleets, each with its own sum.
                self.oracle.agree(&self.fleet, &others);
                self.oracle.agree(&self.fleet, &[victim]);
                self.takes_mail(victim);
                self.fleet.ring.heal();
            }
            FaultKind::DaemonKilled | FaultKind::DaemonStopped => {
                if matches!(kind, FaultKind::DaemonKilled) {
                    self.fleet.ring.kill_daemon(victim);
                } else {
                    self.fleet.ring.stop_daemon_in_order(victim);
                }
                let alone = |text: &str| {
                    text.starts_with("Daemon: 4803 [disconnected]\n")
                        && text.contains("Cluster Group: ec_cluster (no leader)\n")
                };
                self.fleet.wait("the console says that the bus is gone", || {
                    self.fleet.console(victim, "cluster info").is_some_and(|text| alone(&text))
                });
                self.fleet.wait_view(&others);
                let all = self.fleet.hosts();
                self.oracle.change(&self.fleet, &all);
                self.oracle.agree(&self.fleet, &others);
                // The node goes on with what it counts itself.
                let own = self.oracle.counts(|host| host == victim);
                self.fleet.wait("the lone node shows its own counts", || {
                    self.fleet.counts(victim, None).as_ref() == Some(&own)
                });
                self.takes_mail(victim);
                self.fleet.ring.start_daemon(victim);
            }
            FaultKind::NodeKilled => {
                self.mail.interrupt(victim);
                self.fleet.kill_node(victim);
                self.oracle.forget(victim);
                self.oracle.agree(&self.fleet, &others);
                self.oracle.change(&self.fleet, &others);
                self.fleet.start_node(victim);
                self.fleet.wait("the node takes connections", || {
                    std::net::TcpStream::connect((mail_address(victim), 2525)).is_ok()
                });
                self.mail.resume(victim);
            }
            FaultKind::NodeStopped => {
                self.mail.interrupt(victim);
                self.fleet.signal(victim, "-STOP");
                let until = Instant::now() + self.stop;
                self.fleet.wait_view(&others);
                self.oracle.change(&self.fleet, &others);
                self.oracle.agree(&self.fleet, &others);
                std::thread::sleep(until.saturating_duration_since(Instant::now()));
                self.fleet.signal(victim, "-CONT");
                self.mail.resume(victim);
            }
        }
    }
}
