//! What changes of the columns do to a tree: the column's plane and the global one move together.

use alloc::vec::Vec;
use core::time::Duration;

use postfleet_types::{Change, Monotonic};

use crate::bits::Bits;
use crate::heads::Heads;
use crate::plane::Plane;
use crate::tree::{Path, Tree};

/// The plane of the global view.
pub(crate) const GLOBAL: usize = 0;

/// The highest count of one address in one column: more connections than a pair of addresses has ports for.
/// Sums over 2^31 addresses of such counts still fit into 64 bits.
pub(crate) const COUNT_MAX: u64 = u32::MAX as u64;

impl<K: Bits> Tree<K> {
    fn count_at(&self, plane: usize, path: &Path, key: K) -> u64 {
        self.planes.get(plane).map_or(0, |plane| plane.count(path.leaf, path.slot, key))
    }

    /// Sets a count (see [`Plane::put`]) and the sums above it.
    #[inline]
    fn put(&mut self, plane: usize, path: &Path, key: K, count: u64, idle_since: Option<Monotonic>) {
        let is_global = plane == GLOBAL;
        let Some(plane) = self.planes.get_mut(plane) else { return };
        let change = count.wrapping_sub(plane.count(path.leaf, path.slot, key));
        plane.put(path.leaf, path.slot, key, count, idle_since);
        if change != 0 {
            for (inner, child) in path.steps() {
                plane.add_sum(inner, child, change);
            }
            plane.total = plane.total.wrapping_add(change);
            if is_global {
                self.heads.add(key, change, path.leaf);
            }
        }
    }

    /// Adds to the count of a key in a column's plane and in the global one.
    pub(crate) fn change(&mut self, plane: usize, key: K, delta: i64, now: Monotonic) -> Change {
        let mut path = self.locate(key);
        if !path.found {
            if delta <= 0 {
                return Change { count: 0, clamped: delta < 0 };
            }
            path = self.make(key);
        }
        let before = self.count_at(plane, &path, key);
        let wanted = before.checked_add_signed(delta);
        let count = wanted.unwrap_or(if delta < 0 { 0 } else { COUNT_MAX }).min(COUNT_MAX);
        if count != before {
            self.put(plane, &path, key, count, Some(now));
            let global = self.count_at(GLOBAL, &path, key);
            self.put(GLOBAL, &path, key, global.saturating_sub(before).saturating_add(count), Some(now));
        }
        Change { count, clamped: wanted != Some(count) }
    }

    /// The count of one key.
    pub(crate) fn count(&self, plane: usize, key: K) -> u64 {
        if plane == GLOBAL {
            return self.global_sum(key, K::BITS);
        }
        let (Some(plane), Some((leaf, slot))) = (self.planes.get(plane), self.find(key)) else { return 0 };
        plane.count(leaf, slot, key)
    }

    /// Begins to replace what a column holds: the old counts move to a plane of their own behind all others, and
    /// remain in the global view until [`Tree::replace_one`] or [`Tree::drop_plane`] takes them out.
    pub(crate) fn set_aside(&mut self, plane: usize) {
        if let Some(plane) = self.planes.get_mut(plane) {
            let old = core::mem::replace(plane, Plane::new());
            self.planes.push(old);
        }
    }

    /// Gives a key its new count, if it is not 0, in a column of which the old counts were set aside.
    pub(crate) fn replace_one(&mut self, plane: usize, key: K, count: u64, now: Monotonic) {
        if count == 0 {
            return;
        }
        let count = count.min(COUNT_MAX);
        let path = self.make(key);
        let before = self.count_at(plane, &path, key);
        let aside = self.planes.len() - 1;
        let old = self.count_at(aside, &path, key);
        self.put(aside, &path, key, 0, None);
        self.put(plane, &path, key, count, None);
        let global = self.count_at(GLOBAL, &path, key);
        self.put(GLOBAL, &path, key, global.saturating_sub(before + old).saturating_add(count), Some(now));
    }

    /// How many keys fall to 0 in the global view when a plane is dropped.
    pub(crate) fn only_in(&self, plane: usize) -> usize {
        let (Some(global), Some(plane)) = (self.planes.get(GLOBAL), self.planes.get(plane)) else { return 0 };
        if plane.is_empty() {
            return 0;
        }
        let mut path = Some(self.first());
        let mut only = 0;
        while let Some(mut at) = path {
            while let Some(key) = self.key_at(&at) {
                let count = plane.count(at.leaf, at.slot, key);
                only += usize::from(count > 0 && count == global.count(at.leaf, at.slot, key));
                at.slot += 1;
            }
            path = self.next_leaf(&at);
        }
        only
    }

    /// Takes a plane's counts out of the global view and drops the plane. Of the keys that fall to 0 globally,
    /// the first `skip` are forgotten at once, the others are kept as idle.
    pub(crate) fn drop_plane(&mut self, plane: usize, skip: usize, now: Monotonic) {
        if plane == GLOBAL || plane >= self.planes.len() {
            return;
        }
        let dropped = self.planes.remove(plane);
        if dropped.is_empty() {
            return;
        }
        // Made anew at the end, which takes less than to keep them right in between.
        self.heads = Heads::default();
        let (mut fell, mut dead) = (0, Vec::new());
        let dead_max = self.len() / 64;
        let mut path = Some(self.first());
        while let Some(mut at) = path {
            while let Some(key) = self.key_at(&at) {
                if let Some(count) = dropped.leaf(at.leaf, at.slot, key) {
                    let global = self.count_at(GLOBAL, &at, key);
                    let left = global.saturating_sub(count);
                    if left != global {
                        let keep = left > 0 || fell >= skip;
                        fell += usize::from(left == 0);
                        self.put(GLOBAL, &at, key, left, keep.then_some(now));
                    }
                    if dead.len() <= dead_max && self.is_dead(&at) {
                        dead.push(key);
                    }
                }
                at.slot += 1;
            }
            path = self.next_leaf(&at);
        }
        if dead.len() > dead_max {
            self.rebuild();
        } else {
            self.rebuild_heads();
            for key in dead {
                let path = self.locate(key);
                self.remove(&path);
            }
        }
    }

    /// Forgets the leaf that has been at 0 for longest in a plane.
    pub(crate) fn forget_first(&mut self, plane: usize) {
        let Some((key, _)) = self.planes.get(plane).and_then(|plane| plane.idle.first()) else { return };
        let path = self.locate(key);
        if !path.found {
            return;
        }
        self.put(plane, &path, key, 0, None);
        if self.is_dead(&path) {
            self.remove(&path);
        }
    }

    /// Forgets the leaves that have been at 0 for `age` in some plane. Returns how many.
    pub(crate) fn prune(&mut self, now: Monotonic, age: Duration) -> usize {
        let mut pruned = 0;
        for plane in 0..self.planes.len() {
            while self.idle_since(plane).is_some_and(|since| now.since(since) >= age) {
                self.forget_first(plane);
                pruned += 1;
            }
            if let Some(plane) = self.planes.get_mut(plane) {
                plane.idle.release();
            }
        }
        pruned
    }

    /// Since when the leaf that is longest at 0 in a plane has been so.
    pub(crate) fn idle_since(&self, plane: usize) -> Option<Monotonic> {
        self.planes.get(plane).and_then(|plane| plane.idle.first()).map(|(_, since)| since)
    }

    /// How many leaves are at 0 in a plane.
    pub(crate) fn idle_len(&self, plane: usize) -> usize {
        self.planes.get(plane).map_or(0, |plane| plane.idle.len())
    }
}
