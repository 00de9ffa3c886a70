//! What the counts must be: the test holds the connections, so it knows.

use crate::fleet::{Counts, Fleet};
use crate::support::Client;
use postfleet_testbed::ring::HostId;
use postfleet_types::Random;
use std::net::{IpAddr, Ipv4Addr};

pub struct Oracle {
    held: Vec<(HostId, IpAddr, Client)>,
    random: Random,
}

impl Oracle {
    pub fn new(seed: u64) -> Self {
        Self { held: Vec::new(), random: Random::seeded(seed) }
    }

    pub fn pick(&mut self, bound: usize) -> usize {
        usize::try_from(self.random.below(u64::try_from(bound).unwrap())).unwrap()
    }

    /// Opens and closes some connections to these nodes.
    pub fn change(&mut self, fleet: &Fleet, hosts: &[HostId]) {
        for _ in 0..12 {
            let host = hosts[self.pick(hosts.len())];
            let last = u8::try_from(self.pick(40) + 1).unwrap();
            let source = IpAddr::V4(Ipv4Addr::new(198, 51, 100, last));
            self.held.push((host, source, fleet.connect(host, source)));
        }
        for _ in 0..8 {
            let at = self.pick(self.held.len());
            // A connection to a node that stands still closes only when it goes on.
            if hosts.contains(&self.held[at].0) {
                self.held.swap_remove(at);
            }
        }
    }

    /// The node is gone, and its connections with it.
    pub fn forget(&mut self, host: HostId) {
        self.held.retain(|(at, ..)| *at != host);
    }

    pub fn counts(&self, of: impl Fn(HostId) -> bool) -> Counts {
        let mut counts = Counts::new();
        for (_, source, _) in self.held.iter().filter(|(host, ..)| of(*host)) {
            *counts.entry(*source).or_default() += 1;
        }
        counts
    }

    /// Waits until every one of these hosts shows the global view, and the view of every node among them.
    #[track_caller]
    pub fn agree(&self, fleet: &Fleet, hosts: &[HostId]) {
        let global = self.counts(|host| hosts.contains(&host));
        for host in hosts {
            let shows = |of: Option<HostId>, wanted: &Counts| {
                fleet.wait(&format!("host {} shows {wanted:?} of {of:?}", host.0 + 1), || {
                    fleet.counts(*host, of).as_ref() == Some(wanted)
                });
            };
            shows(None, &global);
            for node in hosts {
                shows(Some(*node), &self.counts(|host| host == *node));
            }
        }
    }
}
