//! `corosync.conf` for a mail cluster: a plan of the ring, and the file with the reason for each setting.
//!
//! The manual (docs/corosync.md) explains the settings; [`RingPlan::render`] writes the same reasons into the file.

use crate::bound::RingTimeouts;
use core::fmt::{self, Write as _};
use std::collections::BTreeSet;
use std::net::IpAddr;
use std::path::PathBuf;

/// `token` that is recommended for mail hosts, in milliseconds.
pub const TOKEN_MS_RECOMMENDED: u32 = 2000;

/// `token_coefficient` that is recommended, in milliseconds.
pub const TOKEN_COEFFICIENT_MS_RECOMMENDED: u32 = 150;

/// The daemon has at most so many links.
const LINKS_MAX: usize = 8;

/// Process groups have at most so many members, and a host has two.
const HOSTS_MAX: usize = 100;

/// What carries the ring's packets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Transport {
    /// Several links, encryption.
    Knet,
    /// UDP to each host: one link, no encryption.
    Udpu,
}

/// How the packets of a knet ring are protected.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Key {
    /// AES-256 and SHA-256, with this key file.
    File(PathBuf),
    /// Not at all: whoever reaches the port takes part.
    None,
}

/// Whether one of two hosts alone is quorate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TwoNode {
    /// When exactly two hosts vote.
    Auto,
    /// Yes; an error with another number of votes.
    Yes,
    /// No.
    No,
}

/// A host of the ring.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Host {
    /// Its number in the ring; without one it gets the first that is free. Numbers stay when other hosts go.
    pub id: Option<u32>,
    /// Its name; that of its node.
    pub name: String,
    /// One address for each link.
    pub addresses: Vec<IpAddr>,
    /// Whether it counts for quorum; managers usually do not.
    pub votes: bool,
}

/// Everything the file says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RingPlan {
    /// Keeps rings on one network apart.
    pub cluster_name: String,
    /// Grows with every change of the file.
    pub config_version: u64,
    /// What carries the packets.
    pub transport: Transport,
    /// How they are protected.
    pub key: Key,
    /// `token`, in milliseconds.
    pub token_ms: u32,
    /// `token_coefficient`, in milliseconds.
    pub token_coefficient_ms: u32,
    /// Quorum of two.
    pub two_node: TwoNode,
    /// A log file beside the system's log.
    pub log_file: Option<PathBuf>,
    /// In the order of the file.
    pub hosts: Vec<Host>,
}

impl RingPlan {
    /// A plan with what is recommended.
    #[must_use]
    pub fn new(cluster_name: &str, hosts: Vec<Host>) -> Self {
        Self {
            cluster_name: cluster_name.to_owned(),
            config_version: 1,
            transport: Transport::Knet,
            key: Key::File("/etc/corosync/authkey".into()),
            token_ms: TOKEN_MS_RECOMMENDED,
            token_coefficient_ms: TOKEN_COEFFICIENT_MS_RECOMMENDED,
            two_node: TwoNode::Auto,
            log_file: None,
            hosts,
        }
    }
}

/// Why a plan makes no ring.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PlanError {
    /// There is nobody in it.
    #[error("no hosts; name them with --node NAME=ADDRESS, or a file that lists peers")]
    NoHosts,
    /// Too many.
    #[error("{hosts} hosts; a ring has at most {HOSTS_MAX}")]
    TooManyHosts {
        /// How many.
        hosts: usize,
    },
    /// A name that Corosync or the cluster does not take.
    #[error("host name \"{name}\": use 1 to 63 of a-z, 0-9 and `-`, as the node's name")]
    Name {
        /// The name.
        name: String,
    },
    /// Two hosts of one name.
    #[error("two hosts are called {name}")]
    SameName {
        /// The name.
        name: String,
    },
    /// A number that two hosts have, or that is none.
    #[error("host {name}: number {id} is taken, or is not from 1 to 65535")]
    Id {
        /// The host.
        name: String,
        /// The number.
        id: u32,
    },
    /// Two hosts with one address.
    #[error("{address} belongs to two hosts")]
    SameAddress {
        /// The address.
        address: IpAddr,
    },
    /// An address that other hosts do not reach.
    #[error("host {name}: {address} is no address that other hosts can reach")]
    Address {
        /// The host.
        name: String,
        /// The address.
        address: IpAddr,
    },
    /// A link of two kinds of addresses.
    #[error(
        "host {name}: {address} and the first host's address on link {link} are of different IP versions"
    )]
    Family {
        /// The host.
        name: String,
        /// The address.
        address: IpAddr,
        /// The link.
        link: usize,
    },
    /// Links that not all hosts have.
    #[error(
        "host {name} has {links} addresses and {first} has {wanted}; each link needs one address on every host"
    )]
    Links {
        /// The host.
        name: String,
        /// Its addresses.
        links: usize,
        /// The first host.
        first: String,
        /// Its addresses.
        wanted: usize,
    },
    /// More links than there can be.
    #[error("{links} addresses for each host; {transport} has at most {links_max} links")]
    TooManyLinks {
        /// How many.
        links: usize,
        /// Of which transport.
        transport: &'static str,
        /// How many it may have.
        links_max: usize,
    },
    /// `two_node` without two votes.
    #[error("two-node mode needs exactly two hosts that vote, and there are {hosts}; leave it out")]
    NotTwo {
        /// How many.
        hosts: usize,
    },
    /// Nobody votes.
    #[error("no host has a vote; managers do not vote unless --voting-managers is given")]
    NoVotes,
    /// A token timeout that breaks rings without need.
    #[error("token = {token_ms} ms; use 300 to 60000")]
    Token {
        /// The value.
        token_ms: u32,
    },
    /// A name that the file cannot hold.
    #[error("cluster name \"{name}\": use 1 to 31 of A-Z, a-z, 0-9, `_` and `-`")]
    ClusterName {
        /// The name.
        name: String,
    },
    /// A path that the file cannot hold.
    #[error("{}: use an absolute path without spaces", path.display())]
    Path {
        /// The path.
        path: PathBuf,
    },
}

impl RingPlan {
    /// Writes the file.
    ///
    /// # Errors
    /// [`PlanError`]: the plan makes no ring.
    pub fn render(&self) -> Result<String, PlanError> {
        self.check()?;
        let mut text = String::new();
        // Writing to a string cannot fail.
        let _ = self.write(&mut text);
        Ok(text)
    }

    /// The timeouts of this ring.
    #[must_use]
    pub fn timeouts(&self) -> RingTimeouts {
        RingTimeouts::computed(self.token_ms, self.token_coefficient_ms, self.hosts.len())
    }

    fn votes(&self) -> usize {
        self.hosts.iter().filter(|host| host.votes).count()
    }

    /// Hosts that do not vote make no difference to Corosync (tried with 3.1.7).
    fn is_two_node(&self) -> bool {
        match self.two_node {
            TwoNode::Auto => self.votes() == 2,
            TwoNode::Yes => true,
            TwoNode::No => false,
        }
    }

    fn check(&self) -> Result<(), PlanError> {
        let first = self.hosts.first().ok_or(PlanError::NoHosts)?;
        if self.hosts.len() > HOSTS_MAX {
            return Err(PlanError::TooManyHosts { hosts: self.hosts.len() });
        }
        if !is_name(&self.cluster_name, 31, |letter| letter.is_ascii_alphanumeric() || "_-".contains(letter))
        {
            return Err(PlanError::ClusterName { name: self.cluster_name.clone() });
        }
        if !(300..=60_000).contains(&self.token_ms) {
            return Err(PlanError::Token { token_ms: self.token_ms });
        }
        let key = if let Key::File(path) = &self.key { Some(path) } else { None };
        for path in key.into_iter().chain(&self.log_file) {
            let plain = path.to_str().is_some_and(|text| {
                text.starts_with('/') && text.chars().all(|letter| letter.is_ascii_graphic())
            });
            if !plain {
                return Err(PlanError::Path { path: path.clone() });
            }
        }
        let links = first.addresses.len();
        let (transport, links_max) = match self.transport {
            Transport::Knet => ("knet", LINKS_MAX),
            Transport::Udpu => ("udpu", 1),
        };
        if links > links_max {
            return Err(PlanError::TooManyLinks { links, transport, links_max });
        }
        let (mut names, mut addresses, mut ids) = (BTreeSet::new(), BTreeSet::new(), BTreeSet::new());
        for host in &self.hosts {
            if let Some(id) = host.id
                && (!(1..=65_535).contains(&id) || !ids.insert(id))
            {
                return Err(PlanError::Id { name: host.name.clone(), id });
            }
            let allowed =
                |letter: char| letter.is_ascii_lowercase() || letter.is_ascii_digit() || letter == '-';
            if !is_name(&host.name, 63, allowed) {
                return Err(PlanError::Name { name: host.name.clone() });
            }
            if !names.insert(&host.name) {
                return Err(PlanError::SameName { name: host.name.clone() });
            }
            if host.addresses.len() != links || links == 0 {
                return Err(PlanError::Links {
                    name: host.name.clone(),
                    links: host.addresses.len(),
                    first: first.name.clone(),
                    wanted: links.max(1),
                });
            }
            for (link, (address, other)) in host.addresses.iter().zip(&first.addresses).enumerate() {
                if address.is_ipv4() != other.is_ipv4() {
                    return Err(PlanError::Family { name: host.name.clone(), address: *address, link });
                }
                if address.is_loopback() || address.is_unspecified() || address.is_multicast() {
                    return Err(PlanError::Address { name: host.name.clone(), address: *address });
                }
                if !addresses.insert(*address) {
                    return Err(PlanError::SameAddress { address: *address });
                }
            }
        }
        if self.votes() == 0 {
            return Err(PlanError::NoVotes);
        }
        if self.two_node == TwoNode::Yes && self.votes() != 2 {
            return Err(PlanError::NotTwo { hosts: self.votes() });
        }
        Ok(())
    }

    fn write(&self, out: &mut String) -> fmt::Result {
        let timeouts = self.timeouts();
        writeln!(
            out,
            "# Written by postfleet corosync-conf. The same file belongs on every host, as\n\
             # /etc/corosync/corosync.conf. Every setting and every brace needs a line of its own.\n\
             #\n\
             # {} hosts: a silent host is out of the view after {:.1} s at most (token {} ms and\n\
             # consensus {} ms in force). An orderly stop takes 0.2 s, a killed process some\n\
             # milliseconds.\n",
            self.hosts.len(),
            timeouts.detection().as_secs_f64(),
            timeouts.token_ms,
            timeouts.consensus_ms,
        )?;
        self.write_totem(out)?;
        self.write_hosts(out)?;
        self.write_quorum(out)?;
        self.write_logging(out)
    }

    fn write_totem(&self, out: &mut String) -> fmt::Result {
        writeln!(out, "totem {{\n    version: 2\n")?;
        writeln!(
            out,
            "    # Keeps rings apart that share a network.\n    cluster_name: {}\n",
            self.cluster_name
        )?;
        writeln!(
            out,
            "    # Raise it with every change: a host with an older file cannot join.\n    config_version: {}\n",
            self.config_version
        )?;
        match self.transport {
            Transport::Knet => {
                writeln!(
                    out,
                    "    # knet has up to 8 links, watches them, and can encrypt.\n    transport: knet"
                )?;
                if self.hosts.first().is_some_and(|host| host.addresses.len() > 1) {
                    writeln!(
                        out,
                        "    # One link at a time, the next when it fails: if only the first network breaks, the\n    \
                         # ring survives, and nobody takes over addresses that are still served. UDP ports:\n    \
                         # 5405 for link 0, 5406 for link 1 and so on.\n    link_mode: passive"
                    )?;
                } else {
                    writeln!(
                        out,
                        "    # One link, UDP port 5405. A second one, on the network that carries the mail, keeps\n    \
                         # the ring whole when the first network breaks: give each host a second address."
                    )?;
                }
                match &self.key {
                    Key::File(path) => writeln!(
                        out,
                        "\n    # Released versions encrypt and authenticate nothing unless told to. The key:\n    \
                         # corosync-keygen, mode 0400, the same file on all hosts.\n    \
                         crypto_cipher: aes256\n    crypto_hash: sha256\n    keyfile: {}\n",
                        path.display()
                    )?,
                    Key::None => writeln!(
                        out,
                        "\n    # NOT PROTECTED: whoever reaches the port takes part in the ring and reads it.\n    \
                         crypto_cipher: none\n    crypto_hash: none\n"
                    )?,
                }
            }
            Transport::Udpu => writeln!(
                out,
                "    # udpu: one link, for networks where knet does not work. NOT PROTECTED: it neither\n    \
                 # encrypts nor authenticates; keep strangers away from UDP port 5405.\n    \
                 transport: udpu\n    crypto_cipher: none\n    crypto_hash: none\n"
            )?,
        }
        writeln!(
            out,
            "    # In force: token + (hosts - 2) x token_coefficient, and consensus 1.2 times that. Both\n    \
             # together are the time until a silent host is out. Corosync's own values (3000, 650) are\n    \
             # for hosts that stall; with less than 1500 busy mail hosts put each other out.\n    \
             token: {}\n    token_coefficient: {}",
            self.token_ms, self.token_coefficient_ms
        )?;
        writeln!(out, "}}\n")
    }

    /// The number of each host.
    fn ids(&self) -> Vec<u32> {
        let mut taken: BTreeSet<u32> = self.hosts.iter().filter_map(|host| host.id).collect();
        let mut free = || {
            let id = (1..).find(|id| !taken.contains(id)).unwrap_or(u32::MAX);
            taken.insert(id);
            id
        };
        self.hosts.iter().map(|host| host.id.unwrap_or_else(&mut free)).collect()
    }

    fn write_hosts(&self, out: &mut String) -> fmt::Result {
        writeln!(
            out,
            "# Numbers are small and fixed, so that logs can be read and lists keep their order. Names are\n\
             # those of the nodes. A removed host's number is not given to another one."
        )?;
        writeln!(out, "nodelist {{")?;
        for (host, id) in self.hosts.iter().zip(self.ids()) {
            writeln!(out, "    node {{\n        nodeid: {id}\n        name: {}", host.name)?;
            for (link, address) in host.addresses.iter().enumerate() {
                writeln!(out, "        ring{link}_addr: {address}")?;
            }
            if !host.votes {
                writeln!(
                    out,
                    "        # Takes part, and does not count for quorum.\n        quorum_votes: 0"
                )?;
            }
            writeln!(out, "    }}")?;
        }
        writeln!(out, "}}\n")
    }

    fn write_quorum(&self, out: &mut String) -> fmt::Result {
        writeln!(out, "quorum {{")?;
        writeln!(
            out,
            "    # The bus works without quorum. It decides which side of a split may take over addresses\n    \
             # and, with partition = \"quorum\", which side has the limits.\n    \
             provider: corosync_votequorum"
        )?;
        if self.is_two_node() {
            writeln!(
                out,
                "    # One host alone is quorate: with two there is no majority. It would imply wait_for_all,\n    \
                 # set back here: after a power cut one host alone must start mail.\n    \
                 two_node: 1\n    wait_for_all: 0"
            )?;
        } else if self.votes() == 2 {
            writeln!(
                out,
                "    # Two votes: no side of a split has a majority. A third vote (a manager that votes) is the\n    \
                 # remedy."
            )?;
        } else {
            writeln!(out, "    # The majority is computed from the node list; odd numbers split best.")?;
        }
        writeln!(out, "}}\n")
    }

    fn write_logging(&self, out: &mut String) -> fmt::Result {
        writeln!(
            out,
            "# Worth an alert: \"Token has not been received\", \"not scheduled for\", \"Retransmit List\",\n\
             # \"link: ... is down\".\n\
             logging {{\n    to_stderr: no\n    to_syslog: yes\n    timestamp: hires"
        )?;
        if let Some(path) = &self.log_file {
            writeln!(out, "    to_logfile: yes\n    logfile: {}", path.display())?;
        }
        writeln!(out, "}}")
    }
}

fn is_name(text: &str, length_max: usize, allowed: impl Fn(char) -> bool) -> bool {
    (1..=length_max).contains(&text.len()) && text.chars().all(allowed)
}

#[cfg(test)]
mod tests;
