//! The carrier with its threads and clock.
//!
//! ```text
//!  application thread                carrier thread                         watch thread
//!  ──────────────────                ──────────────                         ────────────
//!  submit ──► outgoing (lock) ──► cpg_mcast_joined ◄── outgoing             libquorum ──► quorum
//!  poll_event ◄── events (lock) ◄── stream ◄── cpg_dispatch                 libcmap ──► bound, hosts
//! ```
//!
//! `submit` hands a message to the library itself when nothing waits before it: the call copies it into shared
//! memory and does not wait (see [`crate::outgoing`]); the lock is not held meanwhile. The carrier's thread dispatches, sends what had to wait, and
//! leaves. Opening waits for the daemon's answer, at most [`OPEN_PATIENCE`]; nothing else waits for it.

mod attempt;
mod open;
mod serve;
mod watch;

use crate::bound::RingTimeouts;
use crate::library::{Cpg, LoadError};
use crate::outgoing::Outgoing;
use crate::status::Status;
use bytes::Bytes;
use core::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use core::task::{Context, Poll};
use core::time::Duration;
use nix::sys::eventfd::EventFd;
use postfleet_bus::carrier::{Carrier, CarrierEvent, EventQueue, RawId, Submit};
use postfleet_bus::notice::{Notice, Severity};
use postfleet_types::Monotonic;
use std::collections::{BTreeSet, VecDeque};
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Instant;

/// The longest message: what the library does not cut into pieces, or the least that a carrier must take.
const MESSAGE_BYTES_MIN: usize = 1_004_096;

/// Hosts in a ring that are supported; more give a warning. Source: docs/corosync.md, "How large a ring may be".
pub const RING_HOSTS_SUPPORTED: usize = 16;

/// Hosts in a ring above which a node does not join without `allow_large_ring`.
pub const RING_HOSTS_LIMIT: usize = 32;

/// How long opening waits for the daemon. One that stands still answers later or never.
const OPEN_PATIENCE: Duration = Duration::from_secs(10);

/// Log lines that nobody has fetched.
const NOTICES_MAX: usize = 100;

/// Which of a bus's two classes. They are two process groups, with a connection to the daemon each.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Class {
    /// Membership, control, failover: the group `postfleet/<bus name>/m`.
    Main,
    /// Replicated data: `postfleet/<bus name>/s`.
    Shared,
}

impl Class {
    const fn letter(self) -> char {
        match self {
            Self::Main => 'm',
            Self::Shared => 's',
        }
    }
}

/// Which bus on the ring.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CorosyncOptions {
    /// Part of the groups' names, so that several clusters can share a ring.
    pub bus_name: String,
    /// Which class.
    pub class: Class,
    /// Join rings of more than [`RING_HOSTS_LIMIT`] hosts too.
    pub allow_large_ring: bool,
}

impl CorosyncOptions {
    /// A bus of this name.
    #[must_use]
    pub fn new(bus_name: &str, class: Class) -> Self {
        Self { bus_name: bus_name.to_owned(), class, allow_large_ring: false }
    }

    /// The process group.
    #[must_use]
    pub fn group(&self) -> String {
        format!("postfleet/{}/{}", self.bus_name, self.class.letter())
    }
}

/// Why there is no attachment. Nothing was joined.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// A library is not installed, or is none.
    #[error(
        "{file} cannot be loaded; on Debian and its kin it is in the package {package} (apt install corosync libcpg4 \
         libquorum5 libcmap4)"
    )]
    Library {
        /// Its file name.
        file: &'static str,
        /// The Debian package with it.
        package: &'static str,
        /// What the loader said.
        #[source]
        source: libloading::Error,
    },
    /// There is no daemon.
    #[error(
        "Corosync does not run on this host, or is not ready yet ({call}: {status}); start it (systemctl start \
         corosync, Debian package corosync), and see its log when it does not stay"
    )]
    NotRunning {
        /// The call that failed.
        call: &'static str,
        /// Its answer.
        status: Status,
    },
    /// The daemon does not let this user in.
    #[error(
        "Corosync does not accept this user ({call}: {status}); create /etc/corosync/uidgid.d/postfleet with the \
         lines `uidgid {{`, `uid: USER`, `gid: GROUP`, `}}` and run corosync-cfgtool -R"
    )]
    NotPermitted {
        /// The call that failed.
        call: &'static str,
        /// Its answer.
        status: Status,
    },
    /// The daemon does not answer.
    #[error("Corosync has not answered for {} s; is its process stopped?", patience.as_secs())]
    Silent {
        /// How long was waited.
        patience: Duration,
    },
    /// Joining the process group failed.
    #[error("Failed join on messaging bus: {status} (group {group})")]
    Join {
        /// The group.
        group: String,
        /// The daemon's answer.
        status: Status,
    },
    /// The ring is larger than this version was made for.
    #[error(
        "CFG-6226 the Corosync ring has {hosts} hosts; more than {hosts_max} are not supported, because a silent host is \
         noticed only after {} s. Use several rings, or set allow_large_ring = true in the cluster stanza",
        detection.as_secs()
    )]
    LargeRing {
        /// Hosts in the node list.
        hosts: usize,
        /// The most without the option.
        hosts_max: usize,
        /// How long a silent host stays a member of this ring.
        detection: Duration,
    },
    /// The name of the group does not fit.
    #[error("the bus name is too long: the process group {group} has more than 128 bytes")]
    NameTooLong {
        /// The group.
        group: String,
    },
    /// This Corosync cuts messages into pieces that are too small.
    #[error(
        "this Corosync takes messages of {bytes_max} bytes in one piece, and {MESSAGE_BYTES_MIN} are needed; run \
         Corosync 3"
    )]
    SmallMessages {
        /// What it takes.
        bytes_max: usize,
    },
    /// The system refused something.
    #[error("cannot set up the connection to Corosync")]
    System(#[source] io::Error),
}

impl From<LoadError> for OpenError {
    fn from(error: LoadError) -> Self {
        Self::Library { file: error.file, package: error.package, source: error.source }
    }
}

/// What the application's side and the threads share. Each lock is held for one push, pop or send, and never while
/// something is waited for; `outgoing` is never taken by who holds another.
struct Shared {
    own: RawId,
    cpg: Cpg,
    outgoing: Mutex<Outgoing>,
    events: Mutex<EventQueue>,
    notices: Mutex<VecDeque<Notice>>,
    /// Wakes the carrier's thread.
    wake: EventFd,
    /// Wakes the watch thread.
    wake_watch: EventFd,
    ended: AtomicBool,
    detach: AtomicBool,
    stop: AtomicBool,
    /// What Corosync last said of quorum, and of which ring: the sequence number of its identity.
    quorum: Mutex<Option<(u64, bool)>>,
    /// The hosts of the ring whose events were handed over last.
    hosts: Mutex<BTreeSet<u32>>,
    /// The sequence number of that ring.
    ring: AtomicU64,
    bound_ms: AtomicU64,
    bytes_max: usize,
}

impl Shared {
    fn outgoing(&self) -> MutexGuard<'_, Outgoing> {
        self.outgoing.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Hands events over; false when the reader is too slow.
    fn publish(&self, events: impl IntoIterator<Item = CarrierEvent>) -> bool {
        let mut queue = self.events.lock().unwrap_or_else(PoisonError::into_inner);
        let in_time = queue.push(events);
        let waker = queue.take_waker();
        drop(queue);
        if let Some(waker) = waker {
            waker.wake();
        }
        in_time
    }

    /// Lets the application look at `bound` and `quorum` again.
    fn nudge(&self) {
        self.publish([]);
    }

    fn notice(&self, severity: Severity, text: String) {
        let mut notices = self.notices.lock().unwrap_or_else(PoisonError::into_inner);
        if notices.len() >= NOTICES_MAX {
            notices.pop_front();
        }
        notices.push_back(Notice { severity, text });
        drop(notices);
        self.nudge();
    }

    fn wake(&self) {
        // It can only fail because it is awake already.
        let _ = self.wake.write(1);
    }

    fn set_timeouts(&self, timeouts: RingTimeouts) {
        let ms = u64::try_from(timeouts.detection().as_millis()).unwrap_or(u64::MAX);
        self.bound_ms.store(ms, Ordering::Relaxed);
    }

    /// Sends what may be sent. `Err`: the connection to the daemon is broken.
    fn send(&self) -> Result<(), Status> {
        let now = monotonic();
        loop {
            // A statement of its own: the lock is free while the library works.
            let next = self.outgoing().next(now);
            let Some(bytes) = next else { return Ok(()) };
            self.send_one(now, bytes)?;
        }
    }

    fn send_one(&self, now: Monotonic, bytes: Bytes) -> Result<(), Status> {
        let status = self.cpg.multicast(&bytes);
        let mut outgoing = self.outgoing();
        match status {
            Status::OK => outgoing.sent(),
            // A broken connection ends everything; until then nobody else shall send.
            _ => outgoing.try_again(now, bytes),
        }
        if status == Status::TRY_AGAIN { Ok(()) } else { status.check() }
    }
}

/// The clock of this process, for pauses.
fn monotonic() -> Monotonic {
    static ORIGIN: OnceLock<Instant> = OnceLock::new();
    let since = ORIGIN.get_or_init(Instant::now).elapsed();
    Monotonic::from_micros(u64::try_from(since.as_micros()).unwrap_or(u64::MAX))
}

/// One attachment to one class of a bus.
///
/// Dropping it without [`Carrier::detach`] is to the others as if the process had ended.
pub struct CorosyncCarrier {
    shared: Arc<Shared>,
    detached: bool,
}

impl core::fmt::Debug for CorosyncCarrier {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("CorosyncCarrier")
            .field("own", &self.shared.own)
            .field("detached", &self.detached)
            .finish_non_exhaustive()
    }
}

impl CorosyncCarrier {
    /// Attaches to the ring of this host's daemon. Waits for the daemon's answer: some milliseconds, and at most
    /// ten seconds when the daemon stands still.
    ///
    /// # Errors
    /// [`OpenError`].
    pub fn open(options: CorosyncOptions) -> Result<Self, OpenError> {
        Ok(Self { shared: open::open(options)?, detached: false })
    }

    /// How often the daemon had no room for a message.
    #[must_use]
    pub fn send_retries(&self) -> u64 {
        self.shared.outgoing().retries()
    }
}

impl Carrier for CorosyncCarrier {
    fn id(&self) -> RawId {
        self.shared.own
    }

    fn poll_event(&mut self, context: &mut Context<'_>) -> Poll<CarrierEvent> {
        self.shared.events.lock().unwrap_or_else(PoisonError::into_inner).poll(context.waker())
    }

    fn submit(&mut self, bytes: Bytes) -> Submit {
        let shared = &*self.shared;
        if self.detached || bytes.len() > shared.bytes_max || shared.ended.load(Ordering::Relaxed) {
            return Submit::Gone;
        }
        let now = monotonic();
        let (answer, direct, waits) = {
            let mut outgoing = shared.outgoing();
            let answer = outgoing.submit(bytes);
            let direct = outgoing.next_direct(now);
            let waits = direct.is_none() && outgoing.waits();
            (answer, direct, waits)
        };
        let sent = direct.map_or(Ok(()), |bytes| shared.send_one(now, bytes));
        // What is broken is found by the carrier's thread, and what must wait is sent by it.
        if waits || sent.is_err() || shared.outgoing().deadline().is_some() {
            shared.wake();
        }
        answer
    }

    fn detach(&mut self) {
        self.detached = true;
        self.shared.detach.store(true, Ordering::Release);
        self.shared.wake();
    }

    fn bound(&self) -> Duration {
        Duration::from_millis(self.shared.bound_ms.load(Ordering::Relaxed))
    }

    /// Corosync's word is about a ring and comes on a way of its own. It counts for the ring whose events were
    /// handed over, and a gain only when they have been read.
    fn quorum(&self) -> Option<bool> {
        let shared = &*self.shared;
        let (ring, held) = (*shared.quorum.lock().unwrap_or_else(PoisonError::into_inner))?;
        let unread = || !shared.events.lock().unwrap_or_else(PoisonError::into_inner).is_empty();
        let counts = ring == shared.ring.load(Ordering::Acquire) && !(held && unread());
        counts.then_some(held)
    }

    fn host_present(&self, id: RawId) -> bool {
        let hosts = self.shared.hosts.lock().unwrap_or_else(PoisonError::into_inner);
        hosts.is_empty() || hosts.contains(&id.major)
    }

    fn bytes_max(&self) -> usize {
        self.shared.bytes_max
    }

    fn poll_notice(&mut self) -> Option<Notice> {
        self.shared.notices.lock().unwrap_or_else(PoisonError::into_inner).pop_front()
    }
}

impl Drop for CorosyncCarrier {
    fn drop(&mut self) {
        // The threads are not waited for: one may be in a call that a daemon does not answer.
        self.shared.stop.store(true, Ordering::Release);
        self.shared.wake();
        let _ = self.shared.wake_watch.write(1);
    }
}
