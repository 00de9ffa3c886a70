//! What must be the same on all members, and the digest of it that they announce to each other.
//!
//! An announcement has room for 64 bits. They hold a short digest of each option, so that a difference can be named:
//! `docs/formats/bus-envelope.md`. Two values of an option have the same digest once in 1024 times; then nothing is said.

use alloc::format;
use alloc::string::{String, ToString as _};
use alloc::vec::Vec;

use crate::config::Config;
use crate::settings::{Partition, ReplicateSettings};

/// The options in the order of their digests, from the lowest bit up. One may be added at the end.
const OPTIONS: [&str; 6] =
    ["cluster_group", "partition", "duravip_balance_set_size", "failover addresses", "Replicate", "peers"];
/// Bits of one digest.
const BITS: u32 = 10;
/// What stands above the digests: this layout.
const LAYOUT: u64 = 1;

/// An option that must be the same on all members.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Agreed {
    /// The option, or what several stanzas say together.
    pub option: &'static str,
    /// What it amounts to: the order of stanzas and the spelling of values do not matter.
    pub value: String,
}

impl Agreed {
    /// The digest of the value, of ten bits: FNV-1a, folded.
    #[must_use]
    pub fn digest(&self) -> u16 {
        let hash = self.value.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
            (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)
        });
        let folded = (hash ^ (hash >> 32) ^ (hash >> 16)) & ((1 << BITS) - 1);
        u16::try_from(folded).unwrap_or(0)
    }
}

/// Everything that must be the same on all members. A node says a digest of it when it joins; two members that differ
/// are shown, not refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Agreement([Agreed; OPTIONS.len()]);

impl Agreement {
    /// The options, in the order of their digests.
    #[must_use]
    pub fn options(&self) -> &[Agreed] {
        &self.0
    }

    /// The digests of all options in one word.
    #[must_use]
    pub fn digest(&self) -> u64 {
        self.0.iter().rev().fold(LAYOUT, |word, option| (word << BITS) | u64::from(option.digest()))
    }

    /// The options in which two digests differ; all of them, where one of the two is of another layout.
    #[must_use]
    pub fn differing(ours: u64, theirs: u64) -> Vec<&'static str> {
        let layout = |word: u64| word >> (BITS * 6);
        if layout(ours) != layout(theirs) {
            return OPTIONS.to_vec();
        }
        let one = |word: u64, at: u32| (word >> (at * BITS)) & ((1 << BITS) - 1);
        let differs = |(at, _): &(u32, &str)| one(ours, *at) != one(theirs, *at);
        (0..).zip(OPTIONS).filter(differs).map(|(_, option)| option).collect()
    }
}

impl Config {
    /// What must be the same on all members. `None` without a `cluster` stanza.
    #[must_use]
    pub fn agreement(&self) -> Option<Agreement> {
        let cluster = self.cluster()?;
        let mut peers: Vec<String> =
            cluster.peers.iter().map(|(name, address)| format!("{name}={address}")).collect();
        peers.sort_unstable();
        let mut objects: Vec<String> =
            cluster.replicate.iter().map(|stanza| object(stanza, cluster.partition)).collect();
        objects.sort_unstable();
        let address = |(address, found): (&core::net::IpAddr, &crate::settings::FailoverAddress)| {
            let mut bindings = found.bindings.clone();
            bindings.sort_unstable();
            format!("{address}={}", bindings.join(","))
        };
        let addresses: Vec<String> = self.failover().addresses.iter().map(address).collect();
        let values = [
            cluster.cluster_group,
            word(cluster.partition).to_string(),
            cluster.duravip_balance_set_size.to_string(),
            addresses.join(" "),
            objects.join(" "),
            peers.join(" "),
        ];
        let mut options = OPTIONS.into_iter();
        Some(Agreement(values.map(|value| Agreed { option: options.next().unwrap_or_default(), value })))
    }
}

const fn word(partition: Partition) -> &'static str {
    match partition {
        Partition::Share => "share",
        Partition::Quorum => "quorum",
        Partition::Full => "full",
    }
}

/// `name=kind(parameters)`, then a partition that is not that of the cluster, and the group whose connections alone are
/// counted.
fn object(object: &ReplicateSettings, of_cluster: Partition) -> String {
    let mut words = object.parameters.clone();
    words.sort_unstable();
    let mut text = format!("{}={}({})", object.name, object.kind.word(), words.join(";"));
    if object.partition != of_cluster {
        text.push_str(&format!(",partition={}", word(object.partition)));
    }
    if let Some(group) = &object.binding_group {
        text.push_str(&format!(",binding_group={group}"));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{LoadRequest, MemoryFiles};

    fn of(text: &str) -> Agreement {
        let files = MemoryFiles::new().with("/etc/t/postfleet.conf", text);
        let request = LoadRequest { main: Some("/etc/t/postfleet.conf".into()), ..LoadRequest::default() };
        Config::load(&files, &request).config.unwrap().agreement().unwrap()
    }

    #[test]
    fn the_options_that_differ_are_named() {
        let both = "Replicate \"inbound_cidr\" {} Replicate \"outbound_domains\" {}";
        let clustered = |text: &str| of(&format!("cluster {{ {text} }}")).digest();
        let ours = clustered(both);
        assert_eq!(ours >> 60, LAYOUT);
        let differing = |theirs: u64| Agreement::differing(ours, theirs);
        let check = |text: &str, expected: &[&str]| {
            assert_eq!(differing(clustered(text)), expected, "{text}");
        };
        check(both, &[]);
        check("Replicate \"outbound_domains\" {} Replicate \"inbound_cidr\" {}", &[]);
        check(&format!("nodename = \"b\" {both}"), &[]);
        check(&format!("partition = quorum {both}"), &["partition"]);
        check("partition = full Replicate \"inbound_cidr\" {}", &["partition", "Replicate"]);
        check(
            "Replicate \"inbound_cidr\" {} Replicate \"outbound_domains\" { partition = full }",
            &["Replicate"],
        );
        check(&format!("duravip_balance_set_size = 7 {both}"), &["duravip_balance_set_size"]);
        check(&format!("cluster_group = \"other\" {both}"), &["cluster_group"]);
        check("Replicate \"inbound_cidr\" {}", &["Replicate"]);
        check(
            "Replicate \"inbound_cidr\" {} Replicate \"outbound_domains\" { binding_group = g }",
            &["Replicate"],
        );
        assert_eq!(differing(0x1234).len(), OPTIONS.len());
        let peers = of(&format!("cluster {{ {both} }} msgc_server {{ peers = [ n1 = 192.0.2.1 ] }}"));
        assert_eq!(differing(peers.digest()), ["peers"]);
        let moves = |name: &str| {
            of(&format!(
                "cluster {{ Topology 10.0.0.0/8 {{ interface = e }} {both} }}\n\
                 Binding {name} {{ Bind_Address = 10.0.0.1 Enable_Duravip = on }}"
            ))
        };
        assert_eq!(differing(moves("b").digest()), ["failover addresses"]);
        assert_eq!(Agreement::differing(moves("b").digest(), moves("c").digest()), ["failover addresses"]);
    }
}
