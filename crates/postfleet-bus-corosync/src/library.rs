//! The C libraries of Corosync, loaded at run time: the only module of the project with `unsafe`.
//!
//! What each block relies on stands beside it; all of it comes from `cpg.h`, `quorum.h` and `cmap.h` of Corosync 3
//! (sonames libcpg.so.4, libquorum.so.5, libcmap.so.4). Libraries are never unloaded, so the functions live as long
//! as the process. Callbacks run inside a dispatch call, on the thread that made it, and put owned copies into a
//! list of that thread: no pointer of ours is ever handed to C.
#![allow(unsafe_code, reason = "calls into C; each block says what it relies on")]

use crate::status::Status;
use crate::stream::{Address, Reason, RingId, Told};
use bytes::Bytes;
use core::cell::RefCell;
use core::ffi::{c_char, c_int, c_uint, c_void};
use core::ptr;
use libloading::Library;
use postfleet_bus::carrier::RawId;
use std::ffi::CString;
use std::os::fd::BorrowedFd;
use std::sync::OnceLock;

const CS_DISPATCH_ALL: c_int = 2;
const CS_DISPATCH_ONE_NONBLOCKING: c_int = 4;
const CS_TRACK_CURRENT: c_uint = 1;
const CS_TRACK_CHANGES: c_uint = 2;
const CPG_TYPE_AGREED: c_int = 2;
const CPG_MODEL_V1: c_int = 1;
/// The first ring is told too, not only changes.
const CPG_MODEL_V1_DELIVER_INITIAL_TOTEM_CONF: c_uint = 1;
const CPG_MAX_NAME_LENGTH: usize = 128;
/// The library copies member lists into arrays of this size.
const CPG_MEMBERS_MAX: usize = 128;
/// The longest key, and its closing zero.
const CMAP_KEY_BYTES: usize = 255 + 1;

/// A library cannot be used.
#[derive(Debug)]
pub(crate) struct LoadError {
    pub(crate) file: &'static str,
    /// The Debian package that contains it.
    pub(crate) package: &'static str,
    pub(crate) source: libloading::Error,
}

#[repr(C)]
struct CpgName {
    length: u32,
    value: [u8; CPG_MAX_NAME_LENGTH],
}

#[repr(C)]
#[derive(Clone, Copy)]
struct CpgAddress {
    nodeid: u32,
    pid: u32,
    reason: u32,
}

#[repr(C)]
#[derive(Clone, Copy)]
struct CpgRingId {
    nodeid: u32,
    seq: u64,
}

#[repr(C)]
struct Iovec {
    base: *const c_void,
    length: usize,
}

type DeliverFn = extern "C" fn(u64, *const CpgName, u32, u32, *mut c_void, usize);
type ConfchgFn = extern "C" fn(
    u64,
    *const CpgName,
    *const CpgAddress,
    usize,
    *const CpgAddress,
    usize,
    *const CpgAddress,
    usize,
);
type TotemConfchgFn = extern "C" fn(u64, CpgRingId, u32, *const u32);
type QuorumNotifyFn = extern "C" fn(u64, u32, u64, u32, *const u32);

#[repr(C)]
struct CpgModelV1 {
    model: c_int,
    deliver: DeliverFn,
    confchg: ConfchgFn,
    totem_confchg: TotemConfchgFn,
    flags: c_uint,
}

#[repr(C)]
struct QuorumCallbacks {
    notify: QuorumNotifyFn,
}

thread_local! {
    /// What callbacks of this thread have told and nobody has taken yet.
    static TOLD: RefCell<Vec<Told>> = const { RefCell::new(Vec::new()) };
    /// What the last quorum notification of this thread said.
    static QUORUM: RefCell<Option<(u64, bool)>> = const { RefCell::new(None) };
}

fn tell(told: Told) {
    // The list is borrowed for this push only, so it is always free; a callback must not panic.
    TOLD.with(|list| {
        if let Ok(mut list) = list.try_borrow_mut() {
            list.push(told);
        }
    });
}

extern "C" fn on_deliver(
    _handle: u64,
    _group: *const CpgName,
    nodeid: u32,
    pid: u32,
    message: *mut c_void,
    length: usize,
) {
    let bytes = if message.is_null() {
        Bytes::new()
    } else {
        // SAFETY: the library passes `length` readable bytes that stay valid during the callback; they are copied.
        Bytes::copy_from_slice(unsafe { core::slice::from_raw_parts(message.cast::<u8>(), length) })
    };
    tell(Told::Deliver { from: RawId { major: nodeid, minor: pid }, bytes });
}

/// Copies a list of the library's.
///
/// # Safety
/// `list` is null or points to `entries` readable entries.
unsafe fn addresses(list: *const CpgAddress, entries: usize) -> Vec<Address> {
    if list.is_null() {
        return Vec::new();
    }
    // SAFETY: the caller's promise; never more than the library's own arrays hold.
    let list = unsafe { core::slice::from_raw_parts(list, entries.min(CPG_MEMBERS_MAX)) };
    list.iter()
        .map(|entry| Address {
            id: RawId { major: entry.nodeid, minor: entry.pid },
            reason: Reason::from_code(entry.reason),
        })
        .collect()
}

extern "C" fn on_confchg(
    _handle: u64,
    _group: *const CpgName,
    members: *const CpgAddress,
    members_entries: usize,
    left: *const CpgAddress,
    left_entries: usize,
    joined: *const CpgAddress,
    joined_entries: usize,
) {
    // SAFETY: the library passes arrays with their lengths, valid during the callback.
    let (members, left, joined) = unsafe {
        (
            addresses(members, members_entries),
            addresses(left, left_entries),
            addresses(joined, joined_entries),
        )
    };
    tell(Told::Change { members, left, joined });
}

extern "C" fn on_totem_confchg(_handle: u64, ring: CpgRingId, entries: u32, hosts: *const u32) {
    let entries = usize::try_from(entries).unwrap_or(0);
    let hosts = if hosts.is_null() {
        Vec::new()
    } else {
        // SAFETY: the library passes an array with its length, valid during the callback.
        unsafe { core::slice::from_raw_parts(hosts, entries) }.to_vec()
    };
    tell(Told::Ring { ring: RingId { node: ring.nodeid, sequence: ring.seq }, hosts });
}

extern "C" fn on_quorum(_handle: u64, quorate: u32, ring: u64, _entries: u32, _hosts: *const u32) {
    QUORUM.with(|said| {
        if let Ok(mut said) = said.try_borrow_mut() {
            *said = Some((ring, quorate != 0));
        }
    });
}

/// Loads a library once; a failure is tried again the next time, because a package may be installed meanwhile.
fn load(file: &'static str, package: &'static str) -> Result<&'static Library, LoadError> {
    // SAFETY: Corosync's client libraries have no initialisers beyond those of the C library.
    let library = unsafe { Library::new(file) };
    match library {
        Ok(library) => Ok(Box::leak(Box::new(library))),
        Err(source) => Err(LoadError { file, package, source }),
    }
}

/// Declares a table of functions and how it is filled.
macro_rules! functions {
    ($table:ident, $file:literal, $package:literal, { $($name:ident: fn($($argument:ty),*) ,)* }) => {
        struct $table {
            $($name: unsafe extern "C" fn($($argument),*) -> c_int,)*
        }

        impl $table {
            fn get() -> Result<&'static Self, LoadError> {
                static TABLE: OnceLock<$table> = OnceLock::new();
                if let Some(table) = TABLE.get() {
                    return Ok(table);
                }
                let library = load($file, $package)?;
                let failed = |source| LoadError { file: $file, package: $package, source };
                let table = Self {
                    // SAFETY: the types are those of the header of this soname.
                    $($name: *unsafe { library.get(concat!(stringify!($name), "\0").as_bytes()) }.map_err(failed)?,)*
                };
                Ok(TABLE.get_or_init(|| table))
            }
        }
    };
}

functions!(CpgFunctions, "libcpg.so.4", "libcpg4", {
    cpg_model_initialize: fn(*mut u64, c_int, *mut c_void, *mut c_void),
    cpg_finalize: fn(u64),
    cpg_fd_get: fn(u64, *mut c_int),
    cpg_local_get: fn(u64, *mut c_uint),
    cpg_max_atomic_msgsize_get: fn(u64, *mut u32),
    cpg_join: fn(u64, *const CpgName),
    cpg_leave: fn(u64, *const CpgName),
    cpg_mcast_joined: fn(u64, c_int, *const Iovec, c_uint),
    cpg_dispatch: fn(u64, c_int),
});

functions!(QuorumFunctions, "libquorum.so.5", "libquorum5", {
    quorum_initialize: fn(*mut u64, *mut QuorumCallbacks, *mut u32),
    quorum_finalize: fn(u64),
    quorum_fd_get: fn(u64, *mut c_int),
    quorum_trackstart: fn(u64, c_uint),
    quorum_dispatch: fn(u64, c_int),
});

functions!(CmapFunctions, "libcmap.so.4", "libcmap4", {
    cmap_initialize: fn(*mut u64),
    cmap_finalize: fn(u64),
    cmap_get_uint32: fn(u64, *const c_char, *mut u32),
    cmap_iter_init: fn(u64, *const c_char, *mut u64),
    cmap_iter_next: fn(u64, u64, *mut c_char, *mut usize, *mut c_int),
    cmap_iter_finalize: fn(u64, u64),
});

/// The name of a group; at most 128 bytes.
pub(crate) struct Group(CpgName);

impl Group {
    pub(crate) fn new(name: &str) -> Option<Self> {
        let mut value = [0; CPG_MAX_NAME_LENGTH];
        value.get_mut(..name.len())?.copy_from_slice(name.as_bytes());
        Some(Self(CpgName { length: u32::try_from(name.len()).ok()?, value }))
    }
}

/// A connection to the process group service. Usable from several threads: the library counts references to a
/// handle, requests and events have channels of their own, and callers serialise requests.
pub(crate) struct Cpg {
    functions: &'static CpgFunctions,
    handle: u64,
}

/// Why there is no connection.
#[derive(Debug)]
pub(crate) enum ConnectError {
    Load(LoadError),
    Status(&'static str, Status),
}

impl Cpg {
    /// Connects to the daemon of this host. May wait as long as the daemon stands still.
    pub(crate) fn connect() -> Result<Self, ConnectError> {
        let functions = CpgFunctions::get().map_err(ConnectError::Load)?;
        let mut model = CpgModelV1 {
            model: CPG_MODEL_V1,
            deliver: on_deliver,
            confchg: on_confchg,
            totem_confchg: on_totem_confchg,
            flags: CPG_MODEL_V1_DELIVER_INITIAL_TOTEM_CONF,
        };
        let mut handle = 0;
        // SAFETY: the model data is of the model that is named; the library copies it. No context is used.
        let status = unsafe {
            (functions.cpg_model_initialize)(
                &raw mut handle,
                CPG_MODEL_V1,
                (&raw mut model).cast(),
                ptr::null_mut(),
            )
        };
        Status(status).check().map_err(|status| ConnectError::Status("cpg_model_initialize", status))?;
        Ok(Self { functions, handle })
    }

    /// The descriptor to wait on; valid as long as the connection.
    pub(crate) fn fd(&self) -> Result<BorrowedFd<'_>, Status> {
        let mut fd = -1;
        // SAFETY: an out parameter.
        Status(unsafe { (self.functions.cpg_fd_get)(self.handle, &raw mut fd) }).check()?;
        if fd < 0 {
            return Err(Status::LIBRARY);
        }
        // SAFETY: the descriptor is open until `cpg_finalize`, which needs `self` to be dropped.
        Ok(unsafe { BorrowedFd::borrow_raw(fd) })
    }

    /// The number of this host in the ring.
    pub(crate) fn local_node(&self) -> Result<u32, Status> {
        let mut node = 0;
        // SAFETY: an out parameter.
        Status(unsafe { (self.functions.cpg_local_get)(self.handle, &raw mut node) }).check()?;
        Ok(node)
    }

    /// The longest message that is not cut into pieces.
    pub(crate) fn bytes_max(&self) -> Result<usize, Status> {
        let mut bytes = 0;
        // SAFETY: an out parameter.
        Status(unsafe { (self.functions.cpg_max_atomic_msgsize_get)(self.handle, &raw mut bytes) })
            .check()?;
        usize::try_from(bytes).map_err(|_| Status::LIBRARY)
    }

    pub(crate) fn join(&self, group: &Group) -> Status {
        // SAFETY: the name is read during the call.
        Status(unsafe { (self.functions.cpg_join)(self.handle, &raw const group.0) })
    }

    pub(crate) fn leave(&self, group: &Group) -> Status {
        // SAFETY: the name is read during the call.
        Status(unsafe { (self.functions.cpg_leave)(self.handle, &raw const group.0) })
    }

    /// Sends to the group of this connection, in the one order.
    pub(crate) fn multicast(&self, bytes: &[u8]) -> Status {
        let iovec = Iovec { base: bytes.as_ptr().cast(), length: bytes.len() };
        // SAFETY: one entry, read during the call; the library never writes through it.
        Status(unsafe {
            (self.functions.cpg_mcast_joined)(self.handle, CPG_TYPE_AGREED, &raw const iovec, 1)
        })
    }

    /// Takes at most one event; what it told is appended. Needs more than one megabyte of stack.
    pub(crate) fn dispatch(&self, told: &mut Vec<Told>) -> Status {
        // SAFETY: callbacks run here, on this thread.
        let status =
            Status(unsafe { (self.functions.cpg_dispatch)(self.handle, CS_DISPATCH_ONE_NONBLOCKING) });
        TOLD.with(|list| {
            if let Ok(mut list) = list.try_borrow_mut() {
                told.append(&mut list);
            }
        });
        status
    }
}

impl Drop for Cpg {
    fn drop(&mut self) {
        // SAFETY: the handle came from `cpg_model_initialize` and is given back once.
        unsafe { (self.functions.cpg_finalize)(self.handle) };
    }
}

/// A connection to the quorum service. Used by one thread.
pub(crate) struct Quorum {
    functions: &'static QuorumFunctions,
    handle: u64,
}

impl Quorum {
    /// Connects and asks to be told of the present state and of changes.
    pub(crate) fn connect() -> Result<Self, ConnectError> {
        let functions = QuorumFunctions::get().map_err(ConnectError::Load)?;
        let mut callbacks = QuorumCallbacks { notify: on_quorum };
        let (mut handle, mut kind) = (0, 0);
        // SAFETY: out parameters; the callbacks are copied.
        let status =
            unsafe { (functions.quorum_initialize)(&raw mut handle, &raw mut callbacks, &raw mut kind) };
        Status(status).check().map_err(|status| ConnectError::Status("quorum_initialize", status))?;
        let quorum = Self { functions, handle };
        // SAFETY: plain numbers.
        let status = unsafe { (functions.quorum_trackstart)(handle, CS_TRACK_CURRENT | CS_TRACK_CHANGES) };
        Status(status).check().map_err(|status| ConnectError::Status("quorum_trackstart", status))?;
        Ok(quorum)
    }

    pub(crate) fn fd(&self) -> Result<BorrowedFd<'_>, Status> {
        let mut fd = -1;
        // SAFETY: an out parameter.
        Status(unsafe { (self.functions.quorum_fd_get)(self.handle, &raw mut fd) }).check()?;
        if fd < 0 {
            return Err(Status::LIBRARY);
        }
        // SAFETY: the descriptor is open until `quorum_finalize`, which needs `self` to be dropped.
        Ok(unsafe { BorrowedFd::borrow_raw(fd) })
    }

    /// Takes all notifications; the last one is returned: the sequence number of its ring, and whether it is quorate.
    pub(crate) fn dispatch(&self) -> Result<Option<(u64, bool)>, Status> {
        // SAFETY: callbacks run here, on this thread.
        Status(unsafe { (self.functions.quorum_dispatch)(self.handle, CS_DISPATCH_ALL) }).check()?;
        Ok(QUORUM.with(|said| said.try_borrow_mut().ok().and_then(|mut said| said.take())))
    }
}

impl Drop for Quorum {
    fn drop(&mut self) {
        // SAFETY: the handle came from `quorum_initialize` and is given back once.
        unsafe { (self.functions.quorum_finalize)(self.handle) };
    }
}

/// A connection to the daemon's map of settings and figures. Used by one thread.
pub(crate) struct Cmap {
    functions: &'static CmapFunctions,
    handle: u64,
}

impl Cmap {
    pub(crate) fn connect() -> Result<Self, ConnectError> {
        let functions = CmapFunctions::get().map_err(ConnectError::Load)?;
        let mut handle = 0;
        // SAFETY: an out parameter.
        let status = unsafe { (functions.cmap_initialize)(&raw mut handle) };
        Status(status).check().map_err(|status| ConnectError::Status("cmap_initialize", status))?;
        Ok(Self { functions, handle })
    }

    /// A number, when there is one under this key.
    pub(crate) fn number(&self, key: &str) -> Option<u32> {
        let key = CString::new(key).ok()?;
        let mut value = 0;
        // SAFETY: a string with its closing zero, read during the call, and an out parameter.
        let status = unsafe { (self.functions.cmap_get_uint32)(self.handle, key.as_ptr(), &raw mut value) };
        Status(status).is_ok().then_some(value)
    }

    /// The keys that begin with this.
    pub(crate) fn keys(&self, prefix: &str) -> Vec<String> {
        let Ok(prefix) = CString::new(prefix) else { return Vec::new() };
        let mut iteration = 0;
        // SAFETY: a string with its closing zero, read during the call, and an out parameter.
        let status =
            unsafe { (self.functions.cmap_iter_init)(self.handle, prefix.as_ptr(), &raw mut iteration) };
        let mut keys = Vec::new();
        if !Status(status).is_ok() {
            return keys;
        }
        loop {
            let mut key = [0_u8; CMAP_KEY_BYTES];
            let (mut length, mut kind) = (0_usize, 0);
            // SAFETY: the buffer is as long as the header asks for; the others are out parameters.
            let status = unsafe {
                (self.functions.cmap_iter_next)(
                    self.handle,
                    iteration,
                    key.as_mut_ptr().cast(),
                    &raw mut length,
                    &raw mut kind,
                )
            };
            if !Status(status).is_ok() {
                break;
            }
            let end = key.iter().position(|byte| *byte == 0).unwrap_or(0);
            keys.push(String::from_utf8_lossy(key.get(..end).unwrap_or_default()).into_owned());
        }
        // SAFETY: the iteration came from `cmap_iter_init` and is given back once.
        unsafe { (self.functions.cmap_iter_finalize)(self.handle, iteration) };
        keys
    }
}

impl Drop for Cmap {
    fn drop(&mut self) {
        // SAFETY: the handle came from `cmap_initialize` and is given back once.
        unsafe { (self.functions.cmap_finalize)(self.handle) };
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use core::mem::{align_of, offset_of, size_of};

    /// Sizes and offsets of the structures in the headers, on the 64-bit machines that are supported.
    #[test]
    fn structures_have_the_layout_of_the_headers() {
        assert_eq!((size_of::<CpgName>(), align_of::<CpgName>()), (132, 4));
        assert_eq!(size_of::<CpgAddress>(), 12);
        assert_eq!((size_of::<CpgRingId>(), offset_of!(CpgRingId, seq)), (16, 8));
        assert_eq!(size_of::<CpgModelV1>(), 40);
        assert_eq!((offset_of!(CpgModelV1, deliver), offset_of!(CpgModelV1, flags)), (8, 32));
        assert_eq!(size_of::<Iovec>(), 16);
    }

    #[test]
    fn group_names_have_at_most_128_bytes() {
        assert!(Group::new(&"x".repeat(128)).is_some());
        assert!(Group::new(&"x".repeat(129)).is_none());
        let name = Group::new("postfleet/default/m").unwrap().0;
        assert_eq!((name.length, &name.value[..4], name.value[19]), (19, &b"post"[..], 0));
    }

    /// What the library hands over is copied, also when it hands over nothing.
    #[test]
    fn callbacks_copy() {
        let take = || TOLD.with(|list| core::mem::take(&mut *list.borrow_mut()));
        let mut bytes = *b"hello";
        on_deliver(0, ptr::null(), 1, 2, bytes.as_mut_ptr().cast(), 5);
        on_deliver(0, ptr::null(), 1, 2, ptr::null_mut(), 0);
        bytes.fill(0);
        let from = RawId { major: 1, minor: 2 };
        let deliver = |bytes: &'static [u8]| Told::Deliver { from, bytes: Bytes::from_static(bytes) };
        assert_eq!(take(), [deliver(b"hello"), deliver(b"")]);
        let list = [CpgAddress { nodeid: 1, pid: 2, reason: 5 }];
        on_confchg(0, ptr::null(), ptr::null(), 0, list.as_ptr(), 1, ptr::null(), 0);
        let left = vec![Address { id: from, reason: Reason::ProcessDown }];
        assert_eq!(take(), [Told::Change { members: Vec::new(), left, joined: Vec::new() }]);
        on_totem_confchg(0, CpgRingId { nodeid: 3, seq: 9 }, 2, [3, 4].as_ptr());
        assert_eq!(take(), [Told::Ring { ring: RingId { node: 3, sequence: 9 }, hosts: vec![3, 4] }]);
    }
}
