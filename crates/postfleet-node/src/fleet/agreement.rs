//! Options that must be equal on all members, and how a member that has other values is found.
//!
//! An announcement has room for 64 bits. They hold a short digest of each option, so that a difference can be
//! named: `docs/formats/bus-envelope.md`. Two values of an option have the same digest once in 1024 times; then
//! nothing is said.

use crate::notices::{Severity, notice};
use postfleet_bus::Membership;
use postfleet_config::ClusterSettings;
use postfleet_types::{NodeType, PrivateName};
use std::collections::BTreeSet;

/// The options in the order of their digests, from the lowest bit up. One may be added at the end.
const OPTIONS: [&str; 6] =
    ["cluster_group", "partition", "duravip_balance_set_size", "failover addresses", "Replicate", "peers"];
/// Bits of one digest.
const BITS: u32 = 10;
/// What stands above the digests: this layout.
const LAYOUT: u64 = 1;

/// FNV-1a, folded.
fn short(text: &str) -> u64 {
    let hash = text.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)
    });
    (hash ^ (hash >> 32) ^ (hash >> 16)) & ((1 << BITS) - 1)
}

fn layout(digest: u64) -> u64 {
    digest >> (BITS * 6)
}

/// The digests of the options as they are in effect.
pub(crate) fn digest(cluster: &ClusterSettings) -> u64 {
    let mut objects: Vec<String> = cluster
        .replicate
        .iter()
        .map(|object| {
            let mut words: Vec<String> =
                object.parameters.iter().map(|word| word.to_ascii_lowercase()).collect();
            words.sort_unstable();
            format!("{} {:?} {words:?} {:?}", object.name, object.kind, object.binding_group)
        })
        .collect();
    // The order of stanzas makes no difference.
    objects.sort_unstable();
    let mut peers = cluster.peers.clone();
    peers.sort_unstable();
    let values = [
        cluster.cluster_group.clone(),
        format!("{:?}", cluster.partition),
        cluster.duravip_balance_set_size.to_string(),
        // No address moves in this version.
        String::new(),
        objects.join("\n"),
        format!("{peers:?}"),
    ];
    values.iter().rev().fold(LAYOUT, |digest, value| (digest << BITS) | short(value))
}

/// The options that differ; all of them, where a member announces something else than digests.
fn differing(ours: u64, theirs: u64) -> Vec<&'static str> {
    if layout(ours) != layout(theirs) {
        return OPTIONS.to_vec();
    }
    let one = |digest: u64, at: u32| (digest >> (at * BITS)) & ((1 << BITS) - 1);
    (0..)
        .zip(OPTIONS)
        .filter(|(at, _)| one(ours, *at) != one(theirs, *at))
        .map(|(_, option)| option)
        .collect()
}

/// What was told of each member; the same is told once a connection.
#[derive(Default)]
pub(super) struct Disagreements(BTreeSet<(PrivateName, u64, u64)>);

impl Disagreements {
    /// Compares what the members announced with what holds here.
    pub(super) fn look(&mut self, membership: &Membership) {
        let ours = membership.info().options_digest;
        for member in membership.members() {
            let info = &member.info;
            let theirs = info.options_digest;
            if info.node_type != NodeType::Node || info.private_name == *membership.name() || theirs == ours {
                continue;
            }
            if self.0.insert((info.private_name.clone(), ours, theirs)) {
                notice(
                    Severity::Warning,
                    format_args!(
                        "CFG-7021 node {} has other values of options that must be equal on all members: {}; make \
                         them equal. It stays a member",
                        info.node_name,
                        differing(ours, theirs).join(", ")
                    ),
                );
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use postfleet_config::{Config, LoadRequest, MemoryFiles};

    fn of(text: &str) -> u64 {
        let files = MemoryFiles::new().with("/etc/t/postfleet.conf", format!("cluster {{ {text} }}"));
        let request = LoadRequest { main: Some("/etc/t/postfleet.conf".into()), ..LoadRequest::default() };
        digest(&Config::load(&files, &request).config.unwrap().cluster().unwrap())
    }

    #[test]
    fn the_options_that_differ_are_named() {
        let both = "Replicate \"inbound_cidr\" {} Replicate \"outbound_domains\" {}";
        let ours = of(both);
        assert_eq!(layout(ours), LAYOUT);
        let check = |text: &str, expected: &[&str]| assert_eq!(differing(ours, of(text)), expected, "{text}");
        check(both, &[]);
        check("Replicate \"outbound_domains\" {} Replicate \"inbound_cidr\" {}", &[]);
        check(&format!("nodename = \"b\" {both}"), &[]);
        check(&format!("partition = quorum {both}"), &["partition"]);
        check(&format!("duravip_balance_set_size = 7 {both}"), &["duravip_balance_set_size"]);
        check(&format!("cluster_group = \"other\" {both}"), &["cluster_group"]);
        check("partition = full Replicate \"inbound_cidr\" {}", &["partition", "Replicate"]);
        assert_eq!(differing(ours, 0x1234).len(), OPTIONS.len());
    }
}
