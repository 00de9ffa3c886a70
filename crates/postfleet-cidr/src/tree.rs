//! Addresses in order, in blocks, with the counts of all views beside them.
//!
//! A B+ tree: leaves are blocks of keys, inner nodes are blocks of children with the lowest key below each. For
//! every view a [`Plane`] holds one cell per key and one sum per child. A block of prefixes is a range of keys, so
//! the sum over any prefix is read along two paths, and a change touches one path.
//!
//! Numbers of leaves and of inner nodes are counted apart. `height` says how many levels of inner nodes lie above
//! the leaves, so a number needs no mark of its kind.

use alloc::vec;
use alloc::vec::Vec;
use core::mem::size_of;

use crate::bits::Bits;
use crate::blocks::{BLOCK, Blocks};
use crate::heads::{Found, HEAD_KEYS_MIN, Heads};
use crate::plane::Plane;

/// Blocks that hold less are joined with a neighbour, or filled from it.
const FILL_MIN: usize = BLOCK / 4;

/// The most that two blocks hold when they become one; less than a block, so that the next key does not split it.
const JOIN_MAX: usize = BLOCK * 3 / 4;

/// How full blocks are made when keys come in ascending order or the tree is built anew.
const FILL_ASCENDING: usize = BLOCK * 7 / 8;

/// Fewer free leaves than this are kept for later, however few are used. They take less than a megabyte.
const SPARE_MAX: usize = 256;

/// No leaf.
const NONE: u32 = u32::MAX;

/// How many leaves to either side of the one that a head names are looked at before the tree is searched.
const STEPS_MAX: usize = 2;

/// More levels than 2^32 blocks with at least [`FILL_MIN`] children each can have.
const HEIGHT_MAX: usize = 12;

/// The inner nodes above a leaf, from the root down, each with the child that was taken.
#[derive(Clone, Copy)]
pub(crate) struct Path {
    steps: [(u32, u32); HEIGHT_MAX],
    height: usize,
    pub(crate) leaf: u32,
    /// Where the key is in the leaf, or would be.
    pub(crate) slot: usize,
    pub(crate) found: bool,
}

impl Path {
    #[inline]
    pub(crate) fn steps(&self) -> impl DoubleEndedIterator<Item = (u32, usize)> + ExactSizeIterator + '_ {
        self.steps.iter().take(self.height).map(|(inner, child)| (*inner, *child as usize))
    }
}

/// The keys of one family and the planes of all views. Plane 0 is the global view.
#[derive(Clone, Debug)]
pub(crate) struct Tree<K> {
    keys: Blocks<K>,
    leaf_len: Vec<u8>,
    /// The leaves before and behind each leaf.
    beside: Vec<(u32, u32)>,
    free_leaves: Vec<u32>,
    /// The lowest key that may be below each child.
    lows: Blocks<K>,
    children: Blocks<u32>,
    inner_len: Vec<u8>,
    free_inners: Vec<u32>,
    root: u32,
    height: usize,
    len: usize,
    pub(crate) planes: Vec<Plane<K>>,
    pub(crate) heads: Heads,
}

impl<K: Bits> Tree<K> {
    pub(crate) fn new() -> Self {
        Self {
            keys: Blocks::new(K::HIGHEST),
            leaf_len: Vec::new(),
            beside: Vec::new(),
            free_leaves: Vec::new(),
            lows: Blocks::new(K::HIGHEST),
            children: Blocks::new(0),
            inner_len: Vec::new(),
            free_inners: Vec::new(),
            root: 0,
            height: 0,
            len: 0,
            planes: vec![Plane::new()],
            heads: Heads::default(),
        }
    }

    /// Adds an empty plane behind the others.
    pub(crate) fn insert_plane(&mut self) {
        self.planes.push(Plane::new());
    }

    /// How many keys some view has.
    pub(crate) const fn len(&self) -> usize {
        self.len
    }

    #[inline]
    fn leaf_len(&self, leaf: u32) -> usize {
        self.leaf_len.get(leaf as usize).map_or(0, |len| usize::from(*len))
    }

    #[inline]
    fn inner_len(&self, inner: u32) -> usize {
        self.inner_len.get(inner as usize).map_or(0, |len| usize::from(*len))
    }

    /// The child of an inner node below which the key belongs.
    #[inline]
    fn child_for(&self, inner: u32, key: K) -> usize {
        let up_to = self.lows.block(inner).map_or(0, |lows| K::up_to(lows, self.inner_len(inner), key));
        up_to.saturating_sub(1)
    }

    /// How many keys of a leaf lie below `key`.
    #[inline]
    fn below(&self, leaf: u32, key: K) -> usize {
        self.keys.block(leaf).map_or(0, |keys| K::below(keys, self.leaf_len(leaf), key))
    }

    /// How many keys of a leaf do not lie above `key`.
    #[inline]
    fn up_to(&self, leaf: u32, key: K) -> usize {
        self.keys.block(leaf).map_or(0, |keys| K::up_to(keys, self.leaf_len(leaf), key))
    }

    #[inline]
    pub(crate) fn locate(&self, key: K) -> Path {
        let mut steps = [(0, 0); HEIGHT_MAX];
        let mut node = self.root;
        for step in steps.iter_mut().take(self.height) {
            let child = self.child_for(node, key);
            *step = (node, to_u32(child));
            node = self.children.at(node, child);
        }
        let slot = self.below(node, key);
        let found = slot < self.leaf_len(node) && self.keys.at(node, slot) == key;
        Path { steps, height: self.height, leaf: node, slot, found }
    }

    /// The place of a key, which is added if need be; its cells are blank then.
    pub(crate) fn make(&mut self, key: K) -> Path {
        let path = self.locate(key);
        if path.found {
            return path;
        }
        self.insert(key);
        self.locate(key)
    }

    /// Adds a key that is not there. Full nodes on the way are split from the root down, so a parent always has
    /// room for one more child.
    fn insert(&mut self, key: K) {
        if self.len == 0 && self.height == 0 {
            self.root = self.new_leaf();
        }
        let root_len = if self.height == 0 { self.leaf_len(self.root) } else { self.inner_len(self.root) };
        if root_len >= BLOCK {
            let root = self.new_inner();
            self.lows.set(root, 0, K::LOWEST);
            self.children.set(root, 0, self.root);
            self.set_inner_len(root, 1);
            for plane in &mut self.planes {
                plane.set_sum(root, 0, plane.total);
            }
            self.root = root;
            self.height += 1;
        }
        let mut node = self.root;
        for level in (0..self.height).rev() {
            let mut child = self.child_for(node, key);
            if self.child_len(node, child, level) >= BLOCK {
                self.split_child(node, child, level, key);
                child = self.child_for(node, key);
            }
            node = self.children.at(node, child);
        }
        let slot = self.below(node, key);
        let len = self.leaf_len(node);
        self.keys.make(node);
        self.keys.open_slot(node, slot);
        self.keys.set(node, slot, key);
        self.set_leaf_len(node, len + 1);
        for plane in &mut self.planes {
            plane.cells_mut().open_slot(node, slot);
        }
        self.len += 1;
        if self.heads.is_empty() {
            if self.len > HEAD_KEYS_MIN as usize {
                self.make_heads(key, 0);
            }
        } else if let Some(length) = self.heads.insert(key) {
            self.make_heads(key, length);
        }
    }

    /// Makes the head for the block of the given length around `key`, and those below it that are due.
    fn make_heads(&mut self, key: K, length: u8) {
        let mut due = vec![(key, length)];
        while let Some((key, length)) = due.pop() {
            let low = if length == 0 { K::LOWEST } else { key.with_byte(length - 8, key.byte(length - 8)) };
            let high = low.last(length);
            let mut heads = core::mem::take(&mut self.heads);
            let inside = self.entries_from(low).take_while(|(key, _, _)| *key <= high);
            heads.make(low, length, inside);
            self.heads = heads;
            let bytes = self.heads.due(low, length);
            due.extend(bytes.into_iter().map(|byte| (low.with_byte(length, byte), length + 8)));
        }
    }

    /// The keys from `low` on with their counts in the global view and their leaves.
    fn entries_from(&self, low: K) -> impl Iterator<Item = (K, u64, u32)> + '_ {
        let mut path = Some(self.locate(low));
        core::iter::from_fn(move || {
            loop {
                let at = path.as_mut()?;
                if let Some(key) = self.key_at(at) {
                    let count = self.planes.first().map_or(0, |plane| plane.count(at.leaf, at.slot, key));
                    at.slot += 1;
                    return Some((key, count, at.leaf));
                }
                path = self.next_leaf(at);
            }
        })
    }

    /// The number of entries of a child; `level` is the number of levels of inner nodes below its parent.
    fn child_len(&self, inner: u32, child: usize, level: usize) -> usize {
        let number = self.children.at(inner, child);
        if level == 0 { self.leaf_len(number) } else { self.inner_len(number) }
    }

    /// Splits a full child. Where the new key comes behind all keys of the child, most of them stay: keys that come
    /// in ascending order leave full blocks behind.
    fn split_child(&mut self, inner: u32, child: usize, level: usize, key: K) {
        let left = self.children.at(inner, child);
        let (right, at_end) = if level == 0 {
            (self.new_leaf(), self.below(left, key) == BLOCK)
        } else {
            (self.new_inner(), self.child_for(left, key) + 1 == BLOCK)
        };
        let len = self.inner_len(inner);
        self.lows.open_slot(inner, child + 1);
        self.children.open_slot(inner, child + 1);
        self.children.set(inner, child + 1, right);
        self.set_inner_len(inner, len + 1);
        for plane in &mut self.planes {
            plane.sums_mut().open_slot(inner, child + 1);
        }
        if level == 0 {
            self.link(left, right);
        }
        self.spread(inner, child, level, if at_end { FILL_ASCENDING } else { BLOCK / 2 });
    }

    /// Leaves `keep` entries in a child, the other entries of it and of the next child in the next, and sets right
    /// what the parent says of the two.
    fn spread(&mut self, inner: u32, child: usize, level: usize, keep: usize) {
        let (left, right) = (self.children.at(inner, child), self.children.at(inner, child + 1));
        let lens = (self.child_len(inner, child, level), self.child_len(inner, child + 1, level));
        let (from, to) = ((left, lens.0), (right, lens.1));
        let rest = lens.0 + lens.1 - keep;
        let low = if level == 0 {
            self.keys.spread(from, to, keep);
            self.set_leaf_len(left, keep);
            self.set_leaf_len(right, rest);
            self.keys.at(right, 0)
        } else {
            self.lows.spread(from, to, keep);
            self.children.spread(from, to, keep);
            self.set_inner_len(left, keep);
            self.set_inner_len(right, rest);
            self.lows.at(right, 0)
        };
        self.lows.set(inner, child + 1, low);
        for plane in &mut self.planes {
            let both = plane.children_sum(inner, child, child + 2);
            let sum = if level == 0 {
                plane.cells_mut().spread(from, to, keep);
                self.keys.block(right).map_or(0, |keys| plane.cells_sum(right, keys, 0, rest))
            } else {
                plane.sums_mut().spread(from, to, keep);
                plane.children_sum(right, 0, rest)
            };
            plane.set_sum(inner, child, both.wrapping_sub(sum));
            plane.set_sum(inner, child + 1, sum);
        }
    }

    /// Removes the key at the end of a path. Its cells have to be blank.
    pub(crate) fn remove(&mut self, path: &Path) {
        let Some(key) = self.key_at(path) else { return };
        let len = self.leaf_len(path.leaf).saturating_sub(1);
        self.keys.close_slot(path.leaf, path.slot);
        for plane in &mut self.planes {
            plane.cells_mut().close_slot(path.leaf, path.slot);
        }
        self.set_leaf_len(path.leaf, len);
        self.len -= 1;
        self.heads.remove(key);
        for (level, (inner, child)) in path.steps().rev().enumerate() {
            if self.child_len(inner, child, level) >= FILL_MIN {
                break;
            }
            self.refill(inner, child, level);
        }
        while self.height > 0 && self.inner_len(self.root) == 1 {
            let root = self.children.at(self.root, 0);
            self.free_inner(self.root);
            self.root = root;
            self.height -= 1;
        }
        // Most blocks are free after a flood: a smaller tree gives the memory back.
        if self.len == 0 || self.free_leaves.len() > SPARE_MAX.max(self.leaf_len.len() / 8 * 7) {
            self.rebuild();
        }
    }

    /// Joins a child that holds too little with a neighbour, or takes from it.
    fn refill(&mut self, inner: u32, child: usize, level: usize) {
        let children = self.inner_len(inner);
        if children < 2 {
            return;
        }
        let left = if child + 1 < children { child } else { child - 1 };
        let both = self.child_len(inner, left, level) + self.child_len(inner, left + 1, level);
        if both > JOIN_MAX {
            self.spread(inner, left, level, both / 2);
            return;
        }
        self.spread(inner, left, level, both);
        let emptied = self.children.at(inner, left + 1);
        if level == 0 {
            self.unlink(emptied);
            self.free_leaf(emptied);
        } else {
            self.free_inner(emptied);
        }
        self.lows.close_slot(inner, left + 1);
        self.children.close_slot(inner, left + 1);
        self.set_inner_len(inner, children - 1);
        for plane in &mut self.planes {
            plane.sums_mut().close_slot(inner, left + 1);
        }
    }

    /// The sum of the global view over a block that begins with `low` and is longer than /0.
    #[inline]
    pub(crate) fn global_sum(&self, low: K, length: u8) -> u64 {
        let Some(global) = self.planes.first() else { return 0 };
        let high = low.last(length);
        match self.heads.find(low, length) {
            Found::Sum(sum) => sum,
            Found::Leaf(leaf) => {
                self.sum_near(global, leaf, low, high).unwrap_or_else(|| self.sum(global, low, high))
            }
            Found::Unknown => self.sum(global, low, high),
        }
    }

    /// The sum of a plane over the keys from `low` to `high`, if they are in a leaf or close to it.
    ///
    /// From wherever the leaf is, the leaves up to the one that begins at or before `low`, and up to the one that
    /// ends at or behind `high`, hold all keys between.
    #[inline]
    fn sum_near(&self, plane: &Plane<K>, leaf: u32, low: K, high: K) -> Option<u64> {
        let mut sum = 0u64;
        let mut visit = |leaf: u32| {
            let keys = self.keys.block(leaf)?;
            let len = self.leaf_len(leaf);
            let ends = (*keys.first()? <= low, high <= *keys.get(len.checked_sub(1)?)?);
            sum = sum.wrapping_add(plane.sum_between(leaf, keys, len, low, high));
            let (before, behind) = self.beside.get(leaf as usize).copied()?;
            Some((ends, before, behind))
        };
        let ((mut begins, mut ends), mut before, mut behind) = visit(leaf)?;
        for _ in 0..STEPS_MAX {
            if !begins && before != NONE {
                ((begins, _), before, _) = visit(before)?;
            }
            if !ends && behind != NONE {
                ((_, ends), _, behind) = visit(behind)?;
            }
        }
        ((begins || before == NONE) && (ends || behind == NONE)).then_some(sum)
    }

    /// The keys of a leaf if all keys between `low` and `high` are certainly among them.
    #[inline]
    fn leaf_around(&self, leaf: u32, low: K, high: K) -> Option<&[K; BLOCK]> {
        let keys = self.keys.block(leaf)?;
        let last = self.leaf_len(leaf).checked_sub(1)?;
        (*keys.first()? <= low && high <= *keys.get(last)?).then_some(keys)
    }

    /// Where a key is: its leaf and its slot there.
    #[inline]
    pub(crate) fn find(&self, key: K) -> Option<(u32, usize)> {
        if let Found::Leaf(leaf) = self.heads.find(key, K::BITS)
            && let Some(keys) = self.leaf_around(leaf, key, key)
        {
            let slot = K::below(keys, self.leaf_len(leaf), key);
            return (keys.get(slot) == Some(&key)).then_some((leaf, slot));
        }
        let path = self.locate(key);
        path.found.then_some((path.leaf, path.slot))
    }

    /// The sum of a plane over the keys from `low` to `high`, both included.
    ///
    /// One path as long as both ends lie below the same child. Where they part, whole children between them are
    /// taken from their sums, and each end has a path of its own.
    #[inline]
    pub(crate) fn sum(&self, plane: &Plane<K>, low: K, high: K) -> u64 {
        let mut node = self.root;
        for level in (0..self.height).rev() {
            let from = self.child_for(node, low);
            if from + 1 < self.inner_len(node) && self.lows.at(node, from + 1) <= high {
                return self.sum_apart(plane, node, level, (from, low), high);
            }
            node = self.children.at(node, from);
        }
        let Some(keys) = self.keys.block(node) else { return 0 };
        plane.sum_between(node, keys, self.leaf_len(node), low, high)
    }

    /// The sum below an inner node where the ends of the range lie below different children.
    fn sum_apart(&self, plane: &Plane<K>, node: u32, level: usize, low: (usize, K), high: K) -> u64 {
        let (from, low) = low;
        let to = self.child_for(node, high);
        let between = plane.children_sum(node, from + 1, to);
        let from = self.sum_from(plane, self.children.at(node, from), level, low);
        let to = self.sum_to(plane, self.children.at(node, to), level, high);
        between.wrapping_add(from).wrapping_add(to)
    }

    /// The sum over the keys from `low` on, below a node with `height` levels of inner nodes.
    fn sum_from(&self, plane: &Plane<K>, mut node: u32, height: usize, low: K) -> u64 {
        let mut sum: u64 = 0;
        for _ in 0..height {
            let child = self.child_for(node, low);
            sum = sum.wrapping_add(plane.children_sum(node, child + 1, self.inner_len(node)));
            node = self.children.at(node, child);
        }
        let Some(keys) = self.keys.block(node) else { return sum };
        sum.wrapping_add(plane.cells_sum(node, keys, self.below(node, low), self.leaf_len(node)))
    }

    /// The sum over the keys up to `high`, below a node with `height` levels of inner nodes.
    fn sum_to(&self, plane: &Plane<K>, mut node: u32, height: usize, high: K) -> u64 {
        let mut sum: u64 = 0;
        for _ in 0..height {
            let child = self.child_for(node, high);
            sum = sum.wrapping_add(plane.children_sum(node, 0, child));
            node = self.children.at(node, child);
        }
        let Some(keys) = self.keys.block(node) else { return sum };
        sum.wrapping_add(plane.cells_sum(node, keys, 0, self.up_to(node, high)))
    }

    /// The leaves of a plane, those at 0 included, ascending.
    pub(crate) fn leaves(&self, plane: usize) -> Option<Leaves<'_, K>> {
        self.planes.get(plane).map(|plane| Leaves { tree: self, plane, path: self.first() })
    }

    /// As [`Tree::leaves`], from a key on.
    pub(crate) fn leaves_from(&self, plane: usize, key: K) -> Option<Leaves<'_, K>> {
        self.planes.get(plane).map(|plane| Leaves { tree: self, plane, path: self.locate(key) })
    }

    /// The leaf behind the one that a path leads to, as a path to its first key.
    pub(crate) fn next_leaf(&self, path: &Path) -> Option<Path> {
        let mut next = *path;
        let (level, inner, child) = path.steps().enumerate().rev().find_map(|(level, (inner, child))| {
            (child + 1 < self.inner_len(inner)).then_some((level, inner, child + 1))
        })?;
        let mut step = (inner, child);
        for entry in next.steps.iter_mut().take(self.height).skip(level) {
            *entry = (step.0, to_u32(step.1));
            step = (self.children.at(step.0, step.1), 0);
        }
        next.leaf = step.0;
        next.slot = 0;
        next.found = self.leaf_len(next.leaf) > 0;
        Some(next)
    }

    /// The path to the first key.
    pub(crate) fn first(&self) -> Path {
        self.locate(K::LOWEST)
    }

    /// The key at the end of a path.
    #[inline]
    pub(crate) fn key_at(&self, path: &Path) -> Option<K> {
        (path.slot < self.leaf_len(path.leaf)).then(|| self.keys.at(path.leaf, path.slot))
    }

    /// Whether no view has the key at the end of a path.
    pub(crate) fn is_dead(&self, path: &Path) -> bool {
        self.planes.iter().all(|plane| plane.is_blank(path.leaf, path.slot))
    }

    /// Builds the tree anew from the keys that some view still has, and all sums with it. Both trees are held for
    /// a moment; then the memory of the old one is given back.
    pub(crate) fn rebuild(&mut self) {
        let mut order = Vec::new();
        let mut path = (self.len > 0).then(|| self.first());
        while let Some(at) = path {
            order.push((at.leaf, self.leaf_len(at.leaf)));
            path = self.next_leaf(&at);
        }
        let old_keys = core::mem::replace(&mut self.keys, Blocks::new(K::HIGHEST));
        let old_cells: Vec<_> = self
            .planes
            .iter_mut()
            .map(|plane| core::mem::replace(plane.cells_mut(), Blocks::new(0)))
            .collect();
        for plane in &mut self.planes {
            *plane.sums_mut() = Blocks::new(0);
        }
        self.leaf_len.clear();
        self.beside.clear();
        self.free_leaves.clear();
        (self.lows, self.children) = (Blocks::new(K::HIGHEST), Blocks::new(0));
        self.inner_len.clear();
        self.free_inners.clear();
        (self.root, self.height, self.len) = (0, 0, 0);
        // Nodes of the level being built: number, lowest key.
        let mut level: Vec<(u32, K)> = Vec::new();
        for (leaf, len) in order {
            for slot in 0..len {
                if old_cells.iter().all(|cells| cells.at(leaf, slot) == 0) {
                    continue;
                }
                let key = old_keys.at(leaf, slot);
                let target = match level.last() {
                    Some((target, _)) if self.leaf_len(*target) < FILL_ASCENDING => *target,
                    _ => {
                        let target = self.new_leaf();
                        self.link(level.last().map_or(NONE, |(last, _)| *last), target);
                        level.push((target, if level.is_empty() { K::LOWEST } else { key }));
                        target
                    }
                };
                let at = self.leaf_len(target);
                self.keys.set(target, at, key);
                self.keys.make(target);
                for (plane, cells) in self.planes.iter_mut().zip(&old_cells) {
                    plane.cells_mut().set(target, at, cells.at(leaf, slot));
                }
                self.set_leaf_len(target, at + 1);
                self.len += 1;
            }
        }
        while level.len() > 1 {
            level = self.build_level(&level);
            self.height += 1;
        }
        self.root = level.first().map_or(0, |(node, _)| *node);
        self.rebuild_heads();
    }

    /// Makes all heads anew.
    pub(crate) fn rebuild_heads(&mut self) {
        self.heads = Heads::default();
        if self.len > HEAD_KEYS_MIN as usize {
            self.make_heads(K::LOWEST, 0);
        }
    }

    /// Builds the inner nodes above a level, evenly filled.
    fn build_level(&mut self, below: &[(u32, K)]) -> Vec<(u32, K)> {
        let nodes = below.len().div_ceil(FILL_ASCENDING);
        let mut level = Vec::with_capacity(nodes);
        for group in below.chunks(below.len().div_ceil(nodes.max(1)).max(1)) {
            let inner = self.new_inner();
            for (child, (node, low)) in group.iter().enumerate() {
                self.lows.set(inner, child, *low);
                self.children.set(inner, child, *node);
                for plane in &mut self.planes {
                    let sum = if self.height == 0 {
                        let len = self.leaf_len.get(*node as usize).map_or(0, |len| usize::from(*len));
                        self.keys.block(*node).map_or(0, |keys| plane.cells_sum(*node, keys, 0, len))
                    } else {
                        plane.children_sum(*node, 0, BLOCK)
                    };
                    plane.set_sum(inner, child, sum);
                }
            }
            self.children.make(inner);
            self.set_inner_len(inner, group.len());
            level.push((inner, group.first().map_or(K::LOWEST, |(_, low)| *low)));
        }
        level
    }

    fn new_leaf(&mut self) -> u32 {
        self.free_leaves.pop().unwrap_or_else(|| {
            self.leaf_len.push(0);
            self.beside.push((NONE, NONE));
            to_u32(self.leaf_len.len() - 1)
        })
    }

    /// Puts a new leaf behind another; `NONE` for the first.
    fn link(&mut self, left: u32, leaf: u32) {
        let right = self.beside.get(left as usize).map_or(NONE, |beside| beside.1);
        self.set_beside(left, None, Some(leaf));
        self.set_beside(right, Some(leaf), None);
        self.set_beside(leaf, Some(left), Some(right));
    }

    fn unlink(&mut self, leaf: u32) {
        let (left, right) = self.beside.get(leaf as usize).copied().unwrap_or((NONE, NONE));
        self.set_beside(left, None, Some(right));
        self.set_beside(right, Some(left), None);
        self.set_beside(leaf, Some(NONE), Some(NONE));
    }

    fn set_beside(&mut self, leaf: u32, before: Option<u32>, behind: Option<u32>) {
        if let Some(beside) = self.beside.get_mut(leaf as usize) {
            *beside = (before.unwrap_or(beside.0), behind.unwrap_or(beside.1));
        }
    }

    fn new_inner(&mut self) -> u32 {
        self.free_inners.pop().unwrap_or_else(|| {
            self.inner_len.push(0);
            to_u32(self.inner_len.len() - 1)
        })
    }

    fn free_leaf(&mut self, leaf: u32) {
        self.keys.clear(leaf);
        self.set_leaf_len(leaf, 0);
        for plane in &mut self.planes {
            plane.cells_mut().clear(leaf);
        }
        self.free_leaves.push(leaf);
    }

    fn free_inner(&mut self, inner: u32) {
        self.lows.clear(inner);
        self.children.clear(inner);
        self.set_inner_len(inner, 0);
        for plane in &mut self.planes {
            plane.sums_mut().clear(inner);
        }
        self.free_inners.push(inner);
    }

    fn set_leaf_len(&mut self, leaf: u32, len: usize) {
        if let Some(entry) = self.leaf_len.get_mut(leaf as usize) {
            *entry = u8::try_from(len).unwrap_or(u8::MAX);
        }
    }

    fn set_inner_len(&mut self, inner: u32, len: usize) {
        if let Some(entry) = self.inner_len.get_mut(inner as usize) {
            *entry = u8::try_from(len).unwrap_or(u8::MAX);
        }
    }

    pub(crate) fn memory_bytes(&self) -> usize {
        self.keys.memory_bytes()
            + self.lows.memory_bytes()
            + self.children.memory_bytes()
            + self.heads.memory_bytes()
            + self.leaf_len.capacity()
            + self.beside.capacity() * size_of::<(u32, u32)>()
            + self.inner_len.capacity()
            + (self.free_leaves.capacity() + self.free_inners.capacity()) * size_of::<u32>()
            + self.planes.iter().map(|plane| size_of::<Plane<K>>() + plane.memory_bytes()).sum::<usize>()
    }
}

/// The leaves of one view, ascending. See [`Tree::leaves`].
pub(crate) struct Leaves<'a, K> {
    tree: &'a Tree<K>,
    plane: &'a Plane<K>,
    path: Path,
}

impl<K: Bits> Iterator for Leaves<'_, K> {
    type Item = (K, u64);

    fn next(&mut self) -> Option<(K, u64)> {
        loop {
            while let Some(key) = self.tree.key_at(&self.path) {
                let slot = self.path.slot;
                self.path.slot += 1;
                if let Some(count) = self.plane.leaf(self.path.leaf, slot, key) {
                    return Some((key, count));
                }
            }
            self.path = self.tree.next_leaf(&self.path)?;
        }
    }
}

fn to_u32(number: usize) -> u32 {
    u32::try_from(number).unwrap_or(u32::MAX)
}
