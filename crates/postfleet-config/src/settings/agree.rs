//! What must be the same on all members.

use alloc::collections::BTreeMap;
use alloc::format;
use alloc::string::{String, ToString as _};
use alloc::vec::Vec;

use crate::config::Config;
use crate::settings::Partition;

impl Config {
    /// What must be the same on all members, by name and in a form that can be compared: the order of stanzas and
    /// the spelling of values do not matter. Empty without a `cluster` stanza.
    ///
    /// A node says a digest of it when it joins; two members that differ are shown, not refused.
    #[must_use]
    pub fn must_agree(&self) -> BTreeMap<&'static str, String> {
        let mut values = BTreeMap::new();
        let Some(cluster) = self.cluster() else {
            return values;
        };
        let partition = |partition: Partition| match partition {
            Partition::Share => "share",
            Partition::Quorum => "quorum",
            Partition::Full => "full",
        };
        values.insert("cluster_group", cluster.cluster_group.clone());
        values.insert("duravip_balance_set_size", cluster.duravip_balance_set_size.to_string());
        values.insert("partition", partition(cluster.partition).to_string());
        let mut peers: Vec<String> =
            cluster.peers.iter().map(|(name, address)| format!("{name}={address}")).collect();
        peers.sort_unstable();
        values.insert("peers", peers.join(" "));
        let mut objects: Vec<String> = cluster
            .replicate
            .iter()
            .map(|object| {
                let mut words = object.parameters.clone();
                words.sort_unstable();
                let side = partition(object.partition);
                format!("{}={}({}){side}", object.name, object.kind.word(), words.join(";"))
            })
            .collect();
        objects.sort_unstable();
        values.insert("Replicate", objects.join(" "));
        let addresses: Vec<String> = self
            .failover()
            .addresses
            .iter()
            .map(|(address, found)| format!("{address}={}", found.bindings.join(",")))
            .collect();
        values.insert("failover addresses", addresses.join(" "));
        values
    }
}
