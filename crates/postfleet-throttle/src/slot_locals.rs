//! What one member does with the slots of its paths, by numbers that only it knows.
//!
//! A connection names its path with every call. It is found once, and from there on everything that concerns it goes
//! by number: comparing lists of names is most of what a decision would take otherwise.

use crate::slot_pool::{Entry, PathId, SlotPool};
use crate::slots::Path;
use crate::wire::{Op, OpsWriter};
use alloc::borrow::ToOwned;
use alloc::collections::{BTreeMap, BTreeSet, VecDeque};
use alloc::string::String;
use alloc::vec::Vec;
use postfleet_types::Monotonic;

/// A path of this member. Numbers of forgotten paths are used again.
pub(crate) type LocalId = u32;

/// What this member does on one path.
#[derive(Debug, Default)]
pub(crate) struct Local {
    pub(crate) names: Vec<String>,
    /// The limits as this member's configuration has them.
    pub(crate) limits: Vec<u64>,
    /// The path in the pool when it was last looked up. The pool never gives a number twice, so one that it does not
    /// know is out of date; what does is another pool.
    pub(crate) path: Option<PathId>,
    /// Open connections.
    pub(crate) used: u64,
    /// Of these, the ones that have been told to end at a message boundary.
    pub(crate) closing: u64,
    /// Connections wanted beyond those that are open.
    /// The configuration has other limits now, and nobody has been told.
    pub(crate) limits_unsaid: bool,
    pub(crate) wanted: u64,
    pub(crate) gives_unsent: u64,
    pub(crate) gives_under_way: u64,
    pub(crate) adopts_unsent: u64,
    pub(crate) adopts_under_way: u64,
    pub(crate) claiming: bool,
    pub(crate) idle_since: Monotonic,
    /// When each owned slot was granted, oldest first.
    pub(crate) since: VecDeque<Monotonic>,
    /// It has been said that a slot is idle.
    pub(crate) told: bool,
    /// Its time in the table's `due`.
    pub(crate) due: Option<Monotonic>,
}

impl Local {
    pub(crate) const fn gives(&self) -> u64 {
        self.gives_unsent + self.gives_under_way
    }

    /// Slots that are owned, not used and not on their way to somebody else.
    pub(crate) fn idle(&self, own: u64) -> u64 {
        let adopts = self.adopts_unsent + self.adopts_under_way;
        (own + adopts).saturating_sub(self.gives()).saturating_sub(self.used)
    }

    /// The names of its keys, as operations carry them.
    pub(crate) fn keys(&self) -> Vec<&str> {
        self.names.iter().map(String::as_str).collect()
    }

    /// Writes its limits. The last one delivered is in force; one that is in force already need not be said.
    pub(crate) fn write_limits(&self, pool: &SlotPool, known: bool, writer: &mut OpsWriter) {
        for (name, limit) in self.names.iter().zip(&self.limits) {
            let whole = pool.key_of(name).and_then(|key| pool.key(key)).map(|key| key.whole);
            if whole != Some(*limit) || !known {
                writer.push(&Op::Limit { key: name, units: *limit });
            }
        }
    }

    /// `own`: its entry in the pool. A wish that the others still have may be served before it is withdrawn, and nobody would
    /// be there to give the slot back.
    pub(crate) fn is_unused(&self, own: Entry) -> bool {
        own.own == 0
            && own.want == 0
            && self.used == 0
            && self.wanted == 0
            && self.gives() == 0
            && self.adopts_unsent + self.adopts_under_way == 0
            && !self.claiming
    }
}

/// All paths of this member.
#[derive(Debug, Default)]
pub(crate) struct Locals {
    by_names: BTreeMap<Vec<String>, LocalId>,
    all: Vec<Option<Local>>,
    free: Vec<LocalId>,
    /// Paths by each of their keys.
    on_key: BTreeMap<String, BTreeSet<LocalId>>,
}

impl Locals {
    pub(crate) fn find(&self, path: &Path) -> Option<LocalId> {
        self.by_names.get(path.names()).copied()
    }

    /// As [`Locals::find`], by the names in a message.
    pub(crate) fn find_names(&self, names: &[&str]) -> Option<LocalId> {
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        self.by_names.get(&names).copied()
    }

    /// The path, made when it is not there. Its limits are those that are given: the configuration may have changed.
    pub(crate) fn make(&mut self, path: &Path) -> (LocalId, &mut Local) {
        let Self { by_names, all, free, on_key } = self;
        let id = match by_names.get(path.names()) {
            Some(id) => *id,
            None => {
                let id = free.pop().unwrap_or_else(|| LocalId::try_from(all.len()).unwrap_or(LocalId::MAX));
                for name in path.names() {
                    on_key.entry(name.clone()).or_default().insert(id);
                }
                by_names.insert(path.names().to_vec(), id);
                id
            }
        };
        let place = usize::try_from(id).unwrap_or(usize::MAX);
        if all.len() <= place {
            all.resize_with(place + 1, || None);
        }
        #[expect(clippy::indexing_slicing, reason = "it was just made as long as that")]
        let local =
            all[place].get_or_insert_with(|| Local { names: path.names().to_vec(), ..Local::default() });
        if local.limits != path.limits() {
            // Said once: nodes of an older configuration may say theirs after it.
            local.limits_unsaid = !local.limits.is_empty();
            local.limits = path.limits().to_vec();
        }
        (id, local)
    }

    pub(crate) fn get(&self, id: LocalId) -> Option<&Local> {
        self.all.get(usize::try_from(id).ok()?)?.as_ref()
    }

    pub(crate) fn get_mut(&mut self, id: LocalId) -> Option<&mut Local> {
        self.all.get_mut(usize::try_from(id).ok()?)?.as_mut()
    }

    pub(crate) fn remove(&mut self, id: LocalId) -> Option<Local> {
        let local = self.all.get_mut(usize::try_from(id).ok()?)?.take()?;
        self.by_names.remove(&local.names);
        for name in &local.names {
            if let Some(paths) = self.on_key.get_mut(name) {
                paths.remove(&id);
                if paths.is_empty() {
                    self.on_key.remove(name);
                }
            }
        }
        self.free.push(id);
        Some(local)
    }

    pub(crate) fn ids(&self) -> impl Iterator<Item = LocalId> {
        self.by_names.values().copied()
    }

    pub(crate) fn values_mut(&mut self) -> impl Iterator<Item = &mut Local> {
        self.all.iter_mut().flatten()
    }

    /// The paths that a key is part of.
    pub(crate) fn on(&self, key: &str) -> impl Iterator<Item = LocalId> {
        self.on_key.get(key).into_iter().flatten().copied()
    }
}
