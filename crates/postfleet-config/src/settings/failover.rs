//! Addresses that move from node to node.

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::string::{String, ToString as _};
use alloc::vec::Vec;
use core::net::IpAddr;

use postfleet_types::Prefix;

use super::Lookup;
use crate::address::{self, ListenAddress};
use crate::config::Config;
use crate::resolve::Facts;
use crate::schema::{Scope, Service};
use crate::tree::{Applies, InstanceId};
use crate::value::Value;

/// One address, and what uses it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FailoverAddress {
    /// The interface it is brought up on; `None`: no `Topology` has it.
    pub interface: Option<String>,
    /// The mask it is brought up with.
    pub mask: u8,
    /// The bindings that send from it, in text order.
    pub bindings: Vec<String>,
    /// The listeners on it: service and canonical address.
    pub listeners: Vec<(Service, String)>,
    /// The node that has it while it is a member; `None` also when two are named.
    pub preference: Option<String>,
}

/// A listener that lives where a binding's address is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Follower {
    /// Its service.
    pub service: Service,
    /// Its canonical address.
    pub listen: String,
    /// The address of its own.
    pub address: IpAddr,
    /// The address it follows.
    pub follows: IpAddr,
}

/// Every address that moves.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FailoverSettings {
    /// By address.
    pub addresses: BTreeMap<IpAddr, FailoverAddress>,
    /// Listeners that follow one of them.
    pub followers: Vec<Follower>,
}

/// What may be or become a failover address.
pub(crate) struct Candidate {
    pub(crate) id: InstanceId,
    /// The service of a listener; `None`: a binding.
    pub(crate) service: Option<Service>,
    /// The name of the binding, or the canonical address of the listener.
    pub(crate) name: String,
    /// Its address, where it is one.
    pub(crate) address: Option<IpAddr>,
    /// `Enable_Duravip` is true.
    pub(crate) marked: bool,
    pub(crate) preference: Option<String>,
    pub(crate) follows: Option<String>,
}

impl Config {
    /// Every binding, then every listener, with what it says about failover.
    pub(crate) fn failover_candidates(&self) -> Vec<Candidate> {
        let tree = self.tree();
        let mut found = Vec::new();
        for (id, instance) in tree.instances() {
            let own = Lookup::new(self, Facts { instance: Some(id), ..Facts::default() });
            let candidate = |service, name: String, address, follows| Candidate {
                id,
                service,
                name,
                address,
                marked: own.bool("Enable_Duravip"),
                preference: own.filled("Duravip_Preference"),
                follows,
            };
            match (instance.scope, &instance.applies) {
                (Scope::Binding, _) => {
                    let name = instance.name.clone().unwrap_or_default();
                    let facts = Facts { binding: Some(&name), ..Facts::default() };
                    let address = match Lookup::new(self, facts).value("Bind_Address") {
                        Some(Value::Address(address)) if !address.is_unspecified() => Some(address),
                        Some(_) | None => None,
                    };
                    found.push(candidate(None, name, address, None));
                }
                (Scope::Listen, Applies::Listen(listen)) => {
                    let address = match listen {
                        ListenAddress::Ip(address, _) => Some(*address),
                        ListenAddress::AnyV4(_) | ListenAddress::AnyV6(_) | ListenAddress::Path(_) => None,
                    };
                    found.push(candidate(
                        instance.service,
                        listen.to_string(),
                        address,
                        own.filled("Duravip_Follow"),
                    ));
                }
                _ => {}
            }
        }
        found.sort_by_key(|candidate| candidate.service.is_some());
        found
    }

    /// The interface and mask of an address: what the `Topology` with the longest prefix says.
    #[must_use]
    pub fn topology(&self, address: IpAddr) -> Option<(String, u8)> {
        let cluster = self.tree().anonymous(Scope::Cluster)?;
        let found = self.tree().containing(cluster, Scope::Topology, Prefix::host(address));
        let set = |name: &str| {
            found
                .iter()
                .find_map(|id| self.tree().instance(*id)?.assigned(name))
                .map(|assigned| assigned.value.clone())
        };
        let interface = set("interface")?.as_text()?.to_string();
        let full = if address.is_ipv4() { 32 } else { 128 };
        let mask = set("cidrmask").and_then(|value| value.as_int()).and_then(|bits| u8::try_from(bits).ok());
        Some((interface, mask.unwrap_or(full).min(full)))
    }

    /// Every address that moves, those upgraded for the sake of another use included.
    #[must_use]
    pub fn failover(&self) -> FailoverSettings {
        let mut settings = FailoverSettings::default();
        if self.tree().anonymous(Scope::Cluster).is_none() {
            return settings;
        }
        let candidates = self.failover_candidates();
        let moving = Moving::of(&candidates);
        let mut users: BTreeMap<IpAddr, Vec<&Candidate>> = BTreeMap::new();
        for user in candidates.iter().filter(|user| user.follows.is_none()) {
            if let Some(address) = user.address {
                users.entry(address).or_default().push(user);
            }
        }
        for address in candidates.iter().filter(|candidate| candidate.marked).filter_map(|c| c.address) {
            settings.addresses.entry(address).or_default();
        }
        for (address, found) in &mut settings.addresses {
            match self.topology(*address) {
                Some((interface, mask)) => (found.interface, found.mask) = (Some(interface), mask),
                None => found.mask = if address.is_ipv4() { 32 } else { 128 },
            }
            let mut preferences: Vec<String> = Vec::new();
            for user in users.get(address).into_iter().flatten() {
                match user.service {
                    None => found.bindings.push(user.name.clone()),
                    Some(service) => found.listeners.push((service, user.name.clone())),
                }
                preferences.extend(user.preference.clone());
            }
            preferences.sort_unstable();
            preferences.dedup();
            found.preference = if preferences.len() == 1 { preferences.pop() } else { None };
        }
        for candidate in &candidates {
            if let (Some(service), Some(address), Some(follows)) =
                (candidate.service, candidate.address, &candidate.follows)
                && let Some(followed) = moving.followed(follows)
                && settings.addresses.contains_key(&followed)
            {
                let listen = candidate.name.clone();
                settings.followers.push(Follower { service, listen, address, follows: followed });
            }
        }
        settings
    }
}

/// What can be followed.
pub(crate) struct Moving<'a> {
    bindings: BTreeMap<&'a str, Option<IpAddr>>,
    marked: BTreeSet<IpAddr>,
}

impl<'a> Moving<'a> {
    pub(crate) fn of(candidates: &'a [Candidate]) -> Self {
        let bindings = candidates.iter().filter(|candidate| candidate.service.is_none());
        let marked = candidates.iter().filter(|candidate| candidate.marked);
        Self {
            bindings: bindings.map(|binding| (binding.name.as_str(), binding.address)).collect(),
            marked: marked.filter_map(|candidate| candidate.address).collect(),
        }
    }

    /// The address that `Duravip_Follow` names: that of a binding, or itself.
    pub(crate) fn followed(&self, follows: &str) -> Option<IpAddr> {
        self.bindings.get(follows).copied().unwrap_or_else(|| address::ip(follows))
    }

    pub(crate) fn moves(&self, address: IpAddr) -> bool {
        self.marked.contains(&address)
    }

    pub(crate) fn is_binding(&self, name: &str) -> bool {
        self.bindings.contains_key(name)
    }

    /// The names of all bindings.
    pub(crate) fn bindings(&self) -> impl Iterator<Item = &'a str> {
        self.bindings.keys().copied()
    }
}
