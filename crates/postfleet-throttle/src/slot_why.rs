//! What a slot table shows.

use crate::slots::Slots;
use crate::why::{Digest, WhyGrant, WhyMember};
use alloc::vec::Vec;
use postfleet_types::{Monotonic, PrivateName};

/// A key and its slots.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SlotRow<'a> {
    /// The key.
    pub key: &'a str,
    /// Slots owned.
    pub owned: u64,
    /// The limit.
    pub limit: u64,
}

/// Everything about one key: why somebody waits, and for whom.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SlotWhy<'a> {
    /// Slots owned.
    pub value: u64,
    /// The limit in force on this side of the fleet.
    pub limit: u64,
    /// The limit of the whole fleet.
    pub whole: u64,
    /// So many of so many nodes are here, and the limit follows from it.
    pub part: (u64, u64),
    /// Every member, in the order that all members see.
    pub members: Vec<WhyMember<'a>>,
    /// The last grants, newest first, at most five.
    pub grants: Vec<WhyGrant<'a>>,
    /// Members whose table is awaited; until it has come no slot changes owner.
    pub awaited: Vec<&'a PrivateName>,
}

impl Slots {
    /// Every key on which somebody owns or wants slots, by name.
    pub fn rows(&self) -> impl Iterator<Item = SlotRow<'_>> {
        let keys = self.pool().keys().filter(|key| key.whole > 0);
        keys.map(|key| SlotRow { key: &key.name, owned: key.owned, limit: key.whole })
    }

    /// The slots of one member, by key.
    pub fn rows_of(&self, member: &PrivateName) -> impl Iterator<Item = SlotRow<'_>> {
        let member = self.fleet().registry.known(member);
        self.pool().keys().filter_map(move |key| {
            let owned = self.pool().owned_by(member?, self.pool().key_of(&key.name)?);
            (owned > 0).then_some(SlotRow { key: &key.name, owned, limit: key.whole })
        })
    }

    /// What a key is waiting for.
    #[must_use]
    pub fn why(&self, now: Monotonic, key: &str) -> Option<SlotWhy<'_>> {
        let id = self.pool().key_of(key)?;
        let key = self.pool().key(id)?;
        let members = self.fleet().order().iter().filter_map(|member| {
            let owned = self.pool().owned_by(*member, id);
            let held = if *member == self.fleet().own { self.held_on(&key.name).min(owned) } else { 0 };
            let (wanted, since) = self.pool().wanted_by(*member, id);
            Some(WhyMember {
                member: self.fleet().registry.name(*member)?,
                used: owned - held,
                held,
                wanted,
                waiting: since.map(|since| now.since(since)),
            })
        });
        let grants = key.grants.iter().rev().filter_map(|(member, at)| {
            let member = self.fleet().registry.name(*member)?;
            Some(WhyGrant { member, units: 1, ago: now.since(*at) })
        });
        Some(SlotWhy {
            value: key.owned,
            limit: key.limit,
            whole: key.whole,
            part: self.fleet().part(),
            members: members.collect(),
            grants: grants.collect(),
            awaited: self.fleet().awaited(),
        })
    }

    /// A digest of the state that all members agree on.
    #[must_use]
    pub fn fingerprint(&self) -> u64 {
        let mut digest = Digest::new();
        self.fleet().fingerprint(&mut digest);
        for key in self.pool().keys() {
            digest.text(&key.name).number(key.whole).number(key.limit).number(key.owned);
        }
        for (member, path, entry) in self.pool().in_order().into_iter().filter(|(_, _, entry)| entry.want > 0)
        {
            let name = self.fleet().registry.name(member).map_or("", PrivateName::as_str);
            digest.text(name).number(entry.own).number(entry.want).number(entry.skipped);
            for key in self.pool().path_names(path) {
                digest.text(key);
            }
        }
        let mut idle: Vec<(&str, Vec<&str>, u64)> = self
            .pool()
            .entries()
            .filter(|(_, _, entry)| entry.want == 0)
            .map(|(member, path, entry)| {
                let name = self.fleet().registry.name(member).map_or("", PrivateName::as_str);
                (name, self.pool().path_names(path), entry.own)
            })
            .collect();
        idle.sort_unstable();
        for (name, path, own) in idle {
            digest.text(name).number(own);
            for key in path {
                digest.text(key);
            }
        }
        digest.value()
    }
}
