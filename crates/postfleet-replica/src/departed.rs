//! Columns of members that have departed, where what they counted goes on to count: series and gauge caches. What has
//! happened does not un-happen.
//!
//! A column is kept under its member's name until nothing is left in it. Where joiners get what exists, the oldest member of
//! each side tells them of it too: parts on the bus, a few at a time, in their order. Of two copies the one that is further in
//! its member's stream holds.

use crate::counts::Origin;
use crate::replica::{Outgoing, Replica};
use crate::shared::{Column, Data, Shared};
use crate::wire::{
    Ask, DIGEST_START, Heritage, KIND_ASK, KIND_HERITAGE, MessageError, digest, read_heritage, write_ask,
    write_heritage,
};
use alloc::collections::{BTreeSet, VecDeque};
use alloc::string::String;
use alloc::vec;
use alloc::vec::Vec;
use bytes::Bytes;
use core::cmp::Ordering;
use postfleet_bus::event::Destination;
use postfleet_types::{Monotonic, PrivateName};

/// Parts on the bus at a time.
const UNDER_WAY_MAX: u32 = 4;

/// How far a column was when its member left: its stream, and the number of the batch that would have come next. 0 where
/// something of it was missing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Reached {
    pub(crate) stream: u64,
    pub(crate) next: u64,
}

/// The column of a member that is gone.
#[derive(Debug)]
pub(crate) struct Departed {
    pub(crate) origin: Origin,
    pub(crate) reached: Reached,
    /// While it comes from another member: who sends it, and the part that comes next.
    coming: Option<(PrivateName, usize)>,
}

/// What is to be told to members that have come.
#[derive(Debug, Default)]
pub(crate) struct Heirs {
    members: BTreeSet<PrivateName>,
    /// Who was told, or will be, and is there: they hear from this member of what it learns later.
    told: BTreeSet<PrivateName>,
    parts: VecDeque<Bytes>,
    /// Whom the parts are for.
    to: BTreeSet<PrivateName>,
    under_way: u32,
}

impl Heirs {
    pub(crate) fn add(&mut self, member: &PrivateName) {
        self.members.insert(member.clone());
        self.told.insert(member.clone());
    }

    pub(crate) fn forget(&mut self, member: &PrivateName) {
        self.members.remove(member);
        self.told.remove(member);
        self.to.remove(member);
    }

    pub(crate) fn clear(&mut self) {
        *self = Self::default();
    }

    /// Whether parts are on their way that may not know of what is done now.
    pub(crate) fn under_way(&self) -> bool {
        self.under_way > 0 || !self.parts.is_empty()
    }

    /// One of the own parts came back.
    pub(crate) fn delivered(&mut self) {
        self.under_way = self.under_way.saturating_sub(1);
    }
}

impl Data {
    /// Whether columns outlive their members.
    pub(crate) fn keeps_departed(&self) -> bool {
        self.counts.metrics().is_some()
    }

    /// A member leaves; its column stays under its name.
    /// `true` when something of it is missing here that others may have.
    pub(crate) fn depart(&mut self, name: &PrivateName, origin: Origin, stream: u64, now: Monotonic) -> bool {
        let awaiting = matches!(self.remote.get(&origin), Some(Column::Awaiting { .. }));
        let (next, lacks) = match self.remote.remove(&origin) {
            Some(Column::Live { next }) => (next, false),
            Some(Column::Fresh) => (0, false),
            Some(Column::Awaiting { .. } | Column::Receiving(_)) => (0, true),
            Some(Column::Absent) | None => {
                self.counts.remove(origin, now);
                self.retained.remove(&origin);
                return false;
            }
        };
        let retained = self.retained.remove(&origin).filter(|_| awaiting);
        let reached = match next {
            0 => retained.unwrap_or(Reached { stream: 0, next: 0 }),
            next => Reached { stream, next },
        };
        self.departed.insert(name.clone(), Departed { origin, reached, coming: None });
        self.drop_bare();
        lacks
    }

    /// A member is back under its name, and its column goes on until it has told of it.
    pub(crate) fn come_back(&mut self, name: &PrivateName, origin: Origin) {
        if let Some(departed) = self.departed.remove(name)
            && let Some(metrics) = self.counts.metrics_mut()
        {
            metrics.rename(departed.origin, origin);
            self.retained.insert(origin, departed.reached);
        }
    }

    /// Forgets columns in which nothing is left.
    pub(crate) fn drop_bare(&mut self) {
        let Some(metrics) = self.counts.metrics_mut() else { return };
        self.departed.retain(|_, departed| {
            let keep = departed.coming.is_some() || !metrics.is_empty(departed.origin);
            if !keep {
                metrics.remove(departed.origin);
            }
            keep
        });
    }

    /// Takes a part of a column from another member. `origin` is a new one. `true` when the column is complete with it.
    fn inherit(
        &mut self,
        origin: Origin,
        from: &PrivateName,
        part: &Heritage<'_>,
        limit: usize,
        now: Monotonic,
    ) -> bool {
        let reached = Reached { stream: part.stream, next: part.next };
        if part.part == 0 {
            if let Some(held) = self.departed.get(&part.member) {
                // Equally far, and yet another: something was removed on one side only. All take the same of the two.
                let ours = || {
                    let bodies = self.counts.encode(held.origin, limit);
                    bodies.iter().fold(DIGEST_START, |sum, body| digest(sum, body))
                };
                let better = match reached.cmp(&held.reached) {
                    Ordering::Greater => true,
                    Ordering::Less => false,
                    Ordering::Equal => held.coming.is_none() && part.digest < ours(),
                };
                if !better {
                    return false;
                }
            }
            if let Some(old) = self.departed.remove(&part.member) {
                self.counts.remove(old.origin, now);
            }
            let coming = Some((from.clone(), 0));
            self.departed.insert(part.member.clone(), Departed { origin, reached, coming });
        }
        let Some(held) = self.departed.get_mut(&part.member) else { return false };
        if held.reached != reached || held.coming != Some((from.clone(), part.part)) {
            return false;
        }
        let complete = part.part + 1 >= part.parts;
        held.coming = (!complete).then(|| (from.clone(), part.part + 1));
        let origin = held.origin;
        let Some(metrics) = self.counts.metrics_mut() else { return false };
        // What cannot be read is left out; parts of it that can be are not.
        metrics.inherit(origin, &part.member, part.body, now).is_ok() && complete
    }

    /// Who was sending columns has gone: what is not complete may be superseded by anybody's copy.
    /// `true` when there was any.
    fn interrupt(&mut self, from: &PrivateName) -> bool {
        let mut interrupted = false;
        for departed in self.departed.values_mut() {
            if departed.coming.as_ref().is_some_and(|(sender, _)| sender == from) {
                departed.coming = None;
                departed.reached = Reached { stream: 0, next: 0 };
                interrupted = true;
            }
        }
        interrupted
    }
}

impl Replica {
    /// Whether this member speaks for those it came along with: it is the oldest of them in the data group. To be asked before
    /// the ones that have come are taken in.
    pub(crate) fn leads(&self) -> bool {
        let among = |name: &&PrivateName| {
            **name == self.options.own || self.peers.get(*name).is_some_and(|peer| peer.origin.is_some())
        };
        self.order.iter().find(among).is_none_or(|name| *name == self.options.own)
    }

    /// Cuts the columns of departed members for those who have come.
    fn cut_heritage(&mut self) {
        if self.heirs.members.is_empty() || !self.heirs.parts.is_empty() {
            return;
        }
        let limit = self.chunk_bytes();
        self.heirs.to = core::mem::take(&mut self.heirs.members);
        for Shared { spec, data, .. } in &self.objects {
            let Some(data) = data.as_ref().filter(|data| data.snapped && data.foreign) else { continue };
            for (member, departed) in &data.departed {
                let bodies = data.counts.encode(departed.origin, limit);
                if departed.coming.is_some() {
                    continue;
                }
                let digest = bodies.iter().fold(DIGEST_START, |sum, body| digest(sum, body));
                for (part, body) in bodies.iter().enumerate() {
                    let Reached { stream, next } = departed.reached;
                    let heritage = Heritage {
                        kind: spec.kind.code(),
                        name: &spec.name,
                        member: member.clone(),
                        stream,
                        next,
                        part,
                        parts: bodies.len(),
                        digest,
                        body,
                    };
                    self.heirs.parts.push_back(Bytes::from(write_heritage(&heritage)));
                }
            }
        }
    }

    /// Puts the next part of a departed member's column into the outbox. `false` when there is none, or enough are under way.
    pub(crate) fn produce_heritage(&mut self) -> bool {
        self.cut_heritage();
        if self.heirs.under_way >= UNDER_WAY_MAX {
            return false;
        }
        let Some(payload) = self.heirs.parts.pop_front() else { return false };
        if self.heirs.to.is_empty() {
            self.heirs.parts.clear();
            return false;
        }
        self.heirs.under_way += 1;
        let to: Vec<Destination> = self.to_members(&self.heirs.to);
        self.outbox.push_back(Outgoing { to, kind: KIND_HERITAGE, payload });
        true
    }

    pub(crate) fn receive_heritage(
        &mut self,
        now: Monotonic,
        from: &PrivateName,
        payload: &Bytes,
    ) -> Result<(), MessageError> {
        let Some(part) = read_heritage(payload)? else { return Ok(()) };
        // Of members that are here only they themselves tell.
        if part.member == self.options.own
            || self.peers.get(&part.member).is_some_and(|peer| peer.origin.is_some())
        {
            return Ok(());
        }
        let (origin, limit) = (self.new_origin(), self.chunk_bytes());
        let object = self.objects.iter_mut().find(|object| object.spec.name == part.name);
        if let Some(Shared { spec, data: Some(data), .. }) = object
            && spec.kind.code() == part.kind
            && data.keeps_departed()
            && data.foreign
            && data.inherit(origin, from, &part, limit, now)
        {
            self.counters.heritage_received += 1;
            // Who came meanwhile was told what was known then, by this member or, if it is the oldest now, by one that was.
            let leads = self.leads();
            let told = |name: &PrivateName| leads || self.heirs.told.contains(name);
            let present = self.peers.iter().filter(|(name, peer)| peer.origin.is_some() && *name != from);
            let later: Vec<PrivateName> =
                present.map(|(name, _)| name.clone()).filter(|name| told(name)).collect();
            later.iter().for_each(|name| self.heirs.add(name));
        }
        Ok(())
    }

    /// Asks the oldest of the others for columns of members that have left before all of it was here.
    pub(crate) fn ask_for_lacking_heritage(&mut self) {
        if !core::mem::take(&mut self.heritage_lacks) {
            return;
        }
        let other = |name: &&PrivateName| self.peers.get(*name).is_some_and(|peer| peer.origin.is_some());
        if let Some(oldest) = self.order.iter().find(other).filter(|_| self.online) {
            let to = vec![Destination::Member(oldest.clone())];
            let payload = Bytes::from(write_ask(&Ask::Heritage));
            self.outbox.push_back(Outgoing { to, kind: KIND_ASK, payload });
        }
    }

    /// A member that was sending columns has gone.
    pub(crate) fn interrupt_heritage(&mut self, from: &PrivateName) {
        for data in self.objects.iter_mut().filter_map(|object| object.data.as_mut()) {
            self.heritage_lacks |= data.interrupt(from);
        }
    }

    /// The columns of departed members that are held, for an object: names ascending.
    #[must_use]
    pub fn departed(&self, object: &str) -> Vec<String> {
        let object = self.objects.iter().find(|shared| shared.spec.name == object);
        let data = object.and_then(|shared| shared.data.as_ref());
        data.map_or_else(Vec::new, |data| {
            data.departed.keys().map(|name| String::from(name.as_str())).collect()
        })
    }
}
