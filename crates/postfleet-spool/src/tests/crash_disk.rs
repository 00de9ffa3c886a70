//! A disk in memory with the failures of real ones.
//!
//! - A power cut before or after any call. What was not synced may survive or not, each name and each file on its
//!   own; unsynced data may be there whole, in part, or as zeros. A rename may leave both names, never none.
//! - Any call may fail. A failed sync never becomes good: what it should have kept may be lost whatever is synced
//!   later, as Linux does it.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::rc::Rc;

use crate::disk::{Disk, DiskError, DiskErrorKind, Space};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Moment {
    Before,
    After,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Node {
    File(usize),
    Folder(usize),
}

#[derive(Clone, Debug, Default)]
struct Inode {
    durable: Vec<u8>,
    volatile: Vec<u8>,
    /// A sync failed: what was not durable then never will be.
    doomed: bool,
}

/// A change of a name that is not durable yet.
#[derive(Clone, Debug)]
struct Change {
    number: u64,
    folder: usize,
    name: String,
    node: Option<Node>,
    /// The change that gives the file its new name, when this one takes the old.
    after: Option<u64>,
    doomed: bool,
}

type Names = BTreeMap<String, Node>;

#[derive(Clone, Debug)]
struct State {
    inodes: Vec<Inode>,
    durable: Vec<Names>,
    volatile: Vec<Names>,
    changes: Vec<Change>,
    change_number: u64,
    calls: u64,
    cut: Option<(u64, Moment)>,
    off: bool,
    /// First and last call that fail, and how.
    fault: Option<(u64, u64, DiskErrorKind)>,
}

pub(super) struct CrashDisk {
    state: RefCell<State>,
    locked: Rc<Cell<bool>>,
}

pub(super) struct Lock(Rc<Cell<bool>>);

impl Drop for Lock {
    fn drop(&mut self) {
        self.0.set(false);
    }
}

fn error(kind: DiskErrorKind) -> DiskError {
    DiskError::new(kind, format!("{kind:?}"))
}

impl State {
    fn resolve(&self, path: &str) -> Result<Node, DiskError> {
        path.split('/').filter(|part| !part.is_empty()).try_fold(Node::Folder(0), |at, part| match at {
            Node::Folder(folder) => {
                self.volatile[folder].get(part).copied().ok_or(error(DiskErrorKind::NotFound))
            }
            Node::File(_) => Err(error(DiskErrorKind::Other)),
        })
    }

    fn folder(&self, path: &str) -> Result<usize, DiskError> {
        match self.resolve(path)? {
            Node::Folder(folder) => Ok(folder),
            Node::File(_) => Err(error(DiskErrorKind::Other)),
        }
    }

    fn file(&self, path: &str) -> Result<usize, DiskError> {
        match self.resolve(path)? {
            Node::File(file) => Ok(file),
            Node::Folder(_) => Err(error(DiskErrorKind::Other)),
        }
    }

    fn split<'a>(&self, path: &'a str) -> Result<(usize, &'a str), DiskError> {
        let (folder, name) = path.rsplit_once('/').unwrap_or(("", path));
        Ok((self.folder(folder)?, name))
    }

    fn change(&mut self, folder: usize, name: &str, node: Option<Node>, after: Option<u64>) -> u64 {
        apply(&mut self.volatile[folder], name, node);
        self.change_number += 1;
        let number = self.change_number;
        self.changes.push(Change { number, folder, name: name.to_string(), node, after, doomed: false });
        number
    }

    fn is_free(&self, folder: usize, name: &str) -> Result<(), DiskError> {
        match self.volatile[folder].get(name) {
            None => Ok(()),
            Some(_) => Err(error(DiskErrorKind::AlreadyExists)),
        }
    }
}

fn apply(names: &mut Names, name: &str, node: Option<Node>) {
    match node {
        Some(node) => names.insert(name.to_string(), node),
        None => names.remove(name),
    };
}

impl CrashDisk {
    pub(super) fn new() -> Self {
        Self::with(State {
            inodes: Vec::new(),
            durable: vec![Names::new()],
            volatile: vec![Names::new()],
            changes: Vec::new(),
            change_number: 0,
            calls: 0,
            cut: None,
            off: false,
            fault: None,
        })
    }

    fn with(state: State) -> Self {
        Self { state: RefCell::new(state), locked: Rc::new(Cell::new(false)) }
    }

    /// The disk as the next process finds it when only the process died.
    pub(super) fn after_kill(&self) -> Self {
        let state = self.state.borrow().clone();
        Self::with(State { calls: 0, cut: None, off: false, fault: None, ..state })
    }

    /// The disk after a power cut. `choose(n)` decides each thing that may go one of `n` ways.
    pub(super) fn after_power_cut(&self, choose: &mut impl FnMut(usize) -> usize) -> Self {
        let State { mut inodes, durable: mut folders, changes, .. } = self.state.borrow().clone();
        let mut lost = Vec::new();
        for change in &changes {
            let possible = change.after.is_none_or(|number| !lost.contains(&number));
            if possible && choose(2) == 1 {
                apply(&mut folders[change.folder], &change.name, change.node);
            } else {
                lost.push(change.number);
            }
        }
        for (index, inode) in inodes.iter_mut().enumerate() {
            let named = folders.iter().any(|names| names.values().any(|&node| node == Node::File(index)));
            if named && inode.durable != inode.volatile {
                let known = inode.durable.len();
                let half = known + (inode.volatile.len() - known) / 2;
                match choose(4) {
                    0 => {}
                    1 => inode.durable = inode.volatile.clone(),
                    2 => inode.durable = inode.volatile[..half].to_vec(),
                    _ => inode.durable.resize(inode.volatile.len(), 0),
                }
            }
            inode.volatile = inode.durable.clone();
            inode.doomed = false;
        }
        Self::with(State {
            inodes,
            durable: folders.clone(),
            volatile: folders,
            changes: Vec::new(),
            change_number: 0,
            calls: 0,
            cut: None,
            off: false,
            fault: None,
        })
    }

    pub(super) fn cut_power(&self, call: u64, moment: Moment) {
        self.state.borrow_mut().cut = Some((call, moment));
    }

    pub(super) fn fail(&self, first: u64, last: u64, kind: DiskErrorKind) {
        self.state.borrow_mut().fault = Some((first, last, kind));
    }

    pub(super) fn is_off(&self) -> bool {
        self.state.borrow().off
    }

    pub(super) fn calls(&self) -> u64 {
        self.state.borrow().calls
    }

    /// Puts a durable file where an operator or a bad disk might leave it.
    pub(super) fn plant(&self, path: &str, bytes: &[u8]) {
        let mut state = self.state.borrow_mut();
        let (folder, name) = state.split(path).unwrap();
        let file = Node::File(state.inodes.len());
        state.inodes.push(Inode { durable: bytes.to_vec(), volatile: bytes.to_vec(), doomed: false });
        state.durable[folder].insert(name.to_string(), file);
        state.volatile[folder].insert(name.to_string(), file);
    }

    /// Makes every change durable.
    pub(super) fn settle(&self) {
        let mut state = self.state.borrow_mut();
        state.durable = state.volatile.clone();
        state.changes.clear();
        for inode in &mut state.inodes {
            inode.durable = inode.volatile.clone();
        }
        state.calls = 0;
    }

    /// Removes an empty folder, as an operator might.
    pub(super) fn remove_folder(&self, path: &str) {
        let mut state = self.state.borrow_mut();
        let (folder, name) = state.split(path).unwrap();
        state.durable[folder].remove(name);
        state.volatile[folder].remove(name);
    }

    pub(super) fn names(&self, path: &str) -> Vec<String> {
        let state = self.state.borrow();
        state.volatile[state.folder(path).unwrap()].keys().cloned().collect()
    }

    fn call<T>(
        &self,
        effect: impl FnOnce(&mut State) -> Result<T, DiskError>,
        failed: impl FnOnce(&mut State),
    ) -> Result<T, DiskError> {
        let state = &mut *self.state.borrow_mut();
        let number = state.calls;
        state.calls += 1;
        if state.off || state.cut == Some((number, Moment::Before)) {
            state.off = true;
            return Err(error(DiskErrorKind::Io));
        }
        if let Some((first, last, kind)) = state.fault
            && (first..=last).contains(&number)
        {
            failed(state);
            return Err(error(kind));
        }
        let outcome = effect(state);
        if state.cut == Some((number, Moment::After)) {
            state.off = true;
            return Err(error(DiskErrorKind::Io));
        }
        outcome
    }
}

fn nothing(_: &mut State) {}

impl Disk for CrashDisk {
    type File = usize;
    type Lock = Lock;

    fn create_new(&self, path: &str) -> Result<usize, DiskError> {
        let create = |state: &mut State| {
            let (folder, name) = state.split(path)?;
            state.is_free(folder, name)?;
            let file = state.inodes.len();
            state.inodes.push(Inode::default());
            state.change(folder, name, Some(Node::File(file)), None);
            Ok(file)
        };
        self.call(create, nothing)
    }

    fn write(&self, file: &mut usize, bytes: &[u8]) -> Result<(), DiskError> {
        let half = bytes.len() / 2;
        self.call(
            |state| {
                state.inodes[*file].volatile.extend_from_slice(bytes);
                Ok(())
            },
            |state| state.inodes[*file].volatile.extend_from_slice(&bytes[..half]),
        )
    }

    fn sync_data(&self, file: &mut usize) -> Result<(), DiskError> {
        self.call(
            |state| {
                let inode = &mut state.inodes[*file];
                if !inode.doomed {
                    inode.durable = inode.volatile.clone();
                }
                Ok(())
            },
            |state| state.inodes[*file].doomed = true,
        )
    }

    fn open(&self, path: &str) -> Result<usize, DiskError> {
        self.call(|state| state.file(path), nothing)
    }

    fn length(&self, file: &usize) -> Result<u64, DiskError> {
        self.call(|state| Ok(state.inodes[*file].volatile.len() as u64), nothing)
    }

    fn read_at(&self, file: &usize, at: u64, buffer: &mut [u8]) -> Result<usize, DiskError> {
        let read = |state: &mut State| {
            let bytes = &state.inodes[*file].volatile;
            let rest = bytes.get(usize::try_from(at).unwrap()..).unwrap_or_default();
            let filled = rest.len().min(buffer.len());
            buffer[..filled].copy_from_slice(&rest[..filled]);
            Ok(filled)
        };
        self.call(read, nothing)
    }

    fn rename_new(&self, from: &str, to: &str) -> Result<(), DiskError> {
        let rename = |state: &mut State| {
            let node = Node::File(state.file(from)?);
            let (old_folder, old_name) = state.split(from)?;
            let (new_folder, new_name) = state.split(to)?;
            state.is_free(new_folder, new_name)?;
            let added = state.change(new_folder, new_name, Some(node), None);
            state.change(old_folder, old_name, None, Some(added));
            Ok(())
        };
        self.call(rename, nothing)
    }

    fn unlink(&self, path: &str) -> Result<(), DiskError> {
        let unlink = |state: &mut State| {
            state.file(path)?;
            let (folder, name) = state.split(path)?;
            state.change(folder, name, None, None);
            Ok(())
        };
        self.call(unlink, nothing)
    }

    fn create_folder(&self, path: &str) -> Result<(), DiskError> {
        let create = |state: &mut State| {
            let (folder, name) = state.split(path)?;
            if state.is_free(folder, name).is_ok() {
                let new = state.volatile.len();
                state.volatile.push(Names::new());
                state.durable.push(Names::new());
                state.change(folder, name, Some(Node::Folder(new)), None);
            }
            Ok(())
        };
        self.call(create, nothing)
    }

    fn sync_folder(&self, path: &str) -> Result<(), DiskError> {
        let sync = |state: &mut State| {
            let folder = state.folder(path)?;
            let State { changes, durable, .. } = state;
            // The old name of a renamed file does not go before the new one is durable.
            let open: Vec<u64> = changes.iter().map(|change| change.number).collect();
            let stays = |change: &Change| {
                let waits = |number| open.contains(&number);
                change.folder != folder || change.doomed || change.after.is_some_and(waits)
            };
            changes.retain(|change| {
                let kept = stays(change);
                if !kept {
                    apply(&mut durable[change.folder], &change.name, change.node);
                }
                kept
            });
            Ok(())
        };
        self.call(sync, |state| {
            if let Ok(folder) = state.folder(path) {
                for change in state.changes.iter_mut().filter(|change| change.folder == folder) {
                    change.doomed = true;
                }
            }
        })
    }

    fn list(&self, path: &str) -> Result<Vec<String>, DiskError> {
        let list = |state: &mut State| Ok(state.volatile[state.folder(path)?].keys().cloned().collect());
        self.call(list, nothing)
    }

    fn lock(&self, _path: &str) -> Result<Lock, DiskError> {
        let take = |_: &mut State| match self.locked.replace(true) {
            true => Err(error(DiskErrorKind::Locked)),
            false => Ok(Lock(Rc::clone(&self.locked))),
        };
        self.call(take, nothing)
    }

    fn space(&self) -> Result<Space, DiskError> {
        let free = Space { bytes_total: 1, bytes_free: 1, inodes_total: 0, inodes_free: 0 };
        self.call(|_| Ok(free), nothing)
    }
}

/// Walks through all ways a row of choices can go, one way a round.
#[derive(Default)]
pub(super) struct AllWays {
    trail: Vec<(usize, usize)>,
    at: usize,
}

impl AllWays {
    pub(super) fn choose(&mut self, ways: usize) -> usize {
        if self.at == self.trail.len() {
            self.trail.push((0, ways));
        }
        self.at += 1;
        self.trail[self.at - 1].0
    }

    /// Goes to the next round; false when all were seen.
    pub(super) fn next_round(&mut self) -> bool {
        self.at = 0;
        while let Some((chosen, ways)) = self.trail.pop() {
            if chosen + 1 < ways {
                self.trail.push((chosen + 1, ways));
                return true;
            }
        }
        false
    }
}
