//! The carrier with its sockets, locks and clock.
//!
//! ```text
//!  application thread                       carrier thread (one for each attachment)
//!  ──────────────────                       ───────────────────────────────────────
//!  submit ──► engine, if it is free ──►     poll: wake-up, own stream to the hub,
//!        └──► pending, and a wake-up ──►          and while hosting: listener, members
//!  poll_event ◄── events ◄───────────────   engine: attachment, and while hosting the hub
//! ```
//!
//! The engine is behind one lock. The carrier's thread holds it while it works and not while it waits; `submit`
//! only tries it, so it never waits, and on an idle bus it writes to the socket without a change of threads.

mod engine;
mod events;
mod hosting;
mod lock;
mod process;
mod stream;

use crate::attachment::KEPT_BYTES_MAX;
use crate::frame::MESSAGE_BYTES_MAX;
use bytes::Bytes;
use core::sync::atomic::{AtomicBool, AtomicU32, AtomicUsize, Ordering};
use core::task::{Context, Poll};
use core::time::Duration;
use engine::Engine;
use events::Events;
use nix::poll::{PollFd, PollTimeout, poll};
use nix::sys::eventfd::{EfdFlags, EventFd};
use postfleet_bus::carrier::{Carrier, CarrierEvent, RawId, Submit};
use std::collections::VecDeque;
use std::os::fd::AsFd;
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, TryLockError};
use std::thread::JoinHandle;
use std::{fmt, io, thread};

/// The longest path of a Unix socket, without the closing zero byte.
const SOCKET_PATH_MAX: usize = 107;

/// What is added to the path at most: the class, and the generation while a hub is being set up.
const SUFFIX_BYTES: usize = ".m.18446744073709551615".len();

/// From this length on a message is left to the carrier's thread while this process hosts the hub: copying it
/// for everybody takes longer than `submit` may.
const DIRECT_BYTES_MAX: usize = 64 << 10;

/// Which of a bus's two classes. They are two buses, with a hub, a lock and a log each.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Class {
    /// Membership, control, failover: `P.m`.
    Main,
    /// Replicated data: `P.s`.
    Shared,
}

impl Class {
    const fn suffix(self) -> &'static str {
        match self {
            Self::Main => ".m",
            Self::Shared => ".s",
        }
    }
}

/// A point of a take-over or of the hub's work, told to [`LocalOptions::observer`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Step {
    /// The byte of the new generation is locked.
    Locked,
    /// The old stream has been left, and what it held delivered.
    Left,
    /// The number has been written.
    Numbered,
    /// The socket is there.
    Listening,
    /// The hub works.
    Running,
    /// The hub has written something to one member's socket.
    Wrote,
}

type Observer = Arc<dyn Fn(Step) + Send + Sync>;

/// Where the bus is and what it is called.
#[derive(Clone)]
pub struct LocalOptions {
    /// The path P; the files are `P.m`, `P.m.lock` and so on.
    pub path: PathBuf,
    /// Attachments of another name are turned away, so that a wrong path does not join two clusters.
    pub bus_name: String,
    /// Which class.
    pub class: Class,
    /// Called at every [`Step`]; for tests that stop a process at one. It must not call the carrier.
    pub observer: Option<Observer>,
}

impl LocalOptions {
    /// A bus at `path`.
    #[must_use]
    pub fn new(path: impl Into<PathBuf>, bus_name: &str, class: Class) -> Self {
        Self { path: path.into(), bus_name: bus_name.to_owned(), class, observer: None }
    }
}

impl fmt::Debug for LocalOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LocalOptions")
            .field("path", &self.path)
            .field("bus_name", &self.bus_name)
            .field("class", &self.class)
            .finish_non_exhaustive()
    }
}

/// Why a bus cannot be opened. Nothing was started; the configuration or the file system is at fault.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The path does not fit the system's socket addresses.
    #[error("the bus path {} has {bytes} bytes; at most {bytes_max} fit a Unix socket; choose a shorter one", path.display())]
    PathTooLong {
        /// The path.
        path: PathBuf,
        /// Its length.
        bytes: usize,
        /// The longest.
        bytes_max: usize,
    },
    /// The directory is not there.
    #[error("the directory {} of the bus socket does not exist; create it, owned by the user the node runs as", directory.display())]
    NoDirectory {
        /// The directory.
        directory: PathBuf,
    },
    /// The directory or a file in it may not be used.
    #[error("not permitted to use {}; all members of a bus run as one user (or root), and the directory must be writable to it", path.display())]
    NotPermitted {
        /// The file.
        path: PathBuf,
        #[source]
        /// What the system said.
        source: io::Error,
    },
    /// The lock file is not one.
    #[error("{} is no lock file of a bus; remove it while no node is running", path.display())]
    NotALock {
        /// The file.
        path: PathBuf,
    },
    /// The system refused something else.
    #[error("cannot set up the bus at {}", path.display())]
    System {
        /// The file, or the bus's path.
        path: PathBuf,
        #[source]
        /// What the system said.
        source: io::Error,
    },
}

#[derive(Debug, Default)]
struct Pending {
    messages: VecDeque<Bytes>,
    bytes: usize,
    /// A submission was answered `Busy` because of what waits here.
    busy: bool,
}

/// What the application's side and the carrier's thread share.
#[derive(Debug)]
struct Shared {
    engine: Mutex<Engine>,
    pending: Mutex<Pending>,
    events: Arc<Events>,
    wake: Arc<EventFd>,
    kept_bytes: AtomicUsize,
    hosting: AtomicBool,
    ended: AtomicBool,
    detach: AtomicBool,
    stop: AtomicBool,
}

impl Shared {
    fn pending(&self) -> MutexGuard<'_, Pending> {
        self.pending.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn wake(&self) {
        // It can only fail because it is awake already.
        let _ = self.wake.write(1);
    }

    fn publish_state(&self, engine: &Engine) {
        self.kept_bytes.store(engine.kept_bytes(), Ordering::Relaxed);
        self.hosting.store(engine.is_hosting(), Ordering::Relaxed);
        self.ended.store(engine.has_ended(), Ordering::Relaxed);
    }
}

/// One attachment to one class of the bus of this machine.
///
/// Dropping it without [`Carrier::detach`] is what a crash is to the others, except that its process still exists.
#[derive(Debug)]
pub struct LocalCarrier {
    id: RawId,
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
    detached: bool,
}

impl LocalCarrier {
    /// Attaches to the bus, or starts it. Returns at once; the first event comes when the attachment is made.
    ///
    /// # Errors
    /// [`OpenError`].
    pub fn open(options: LocalOptions) -> Result<Self, OpenError> {
        static SERIAL: AtomicU32 = AtomicU32::new(1);
        let bytes = options.path.as_os_str().as_bytes().len();
        let bytes_max = SOCKET_PATH_MAX - SUFFIX_BYTES;
        if bytes > bytes_max {
            return Err(OpenError::PathTooLong { path: options.path, bytes, bytes_max });
        }
        let directory = match options.path.parent() {
            Some(parent) if !parent.as_os_str().is_empty() => parent.to_owned(),
            Some(_) | None => PathBuf::from("."),
        };
        if !directory.is_dir() {
            return Err(OpenError::NoDirectory { directory });
        }
        let path = options.path.clone();
        let system = |source| OpenError::System { path: path.clone(), source };
        let id = RawId { major: std::process::id(), minor: SERIAL.fetch_add(1, Ordering::Relaxed) };
        let wake = EventFd::from_value_and_flags(0, EfdFlags::EFD_CLOEXEC | EfdFlags::EFD_NONBLOCK);
        let wake = Arc::new(wake.map_err(|error| system(error.into()))?);
        let events = Arc::new(Events::default());
        let engine = Engine::open(id, &options, Arc::clone(&events))?;
        let shared = Arc::new(Shared {
            engine: Mutex::new(engine),
            pending: Mutex::default(),
            events,
            wake,
            kept_bytes: AtomicUsize::new(0),
            hosting: AtomicBool::new(false),
            ended: AtomicBool::new(false),
            detach: AtomicBool::new(false),
            stop: AtomicBool::new(false),
        });
        let of_thread = Arc::clone(&shared);
        let thread = thread::Builder::new()
            .name(format!("bus{}", options.class.suffix()))
            .spawn(move || serve(&of_thread))
            .map_err(system)?;
        Ok(Self { id, shared, thread: Some(thread), detached: false })
    }

    /// Whether this process hosts the hub at the moment; for displays.
    #[must_use]
    pub fn is_hosting(&self) -> bool {
        self.shared.hosting.load(Ordering::Relaxed)
    }
}

impl Carrier for LocalCarrier {
    fn id(&self) -> RawId {
        self.id
    }

    fn poll_event(&mut self, context: &mut Context<'_>) -> Poll<CarrierEvent> {
        self.shared.events.poll(context.waker())
    }

    fn submit(&mut self, bytes: Bytes) -> Submit {
        let shared = &*self.shared;
        if self.detached || bytes.len() > MESSAGE_BYTES_MAX || shared.ended.load(Ordering::Relaxed) {
            return Submit::Gone;
        }
        let mut pending = shared.pending();
        if pending.messages.is_empty() {
            let engine = match shared.engine.try_lock() {
                Ok(engine) => Some(engine),
                Err(TryLockError::Poisoned(poisoned)) => Some(poisoned.into_inner()),
                Err(TryLockError::WouldBlock) => None,
            };
            if let Some(mut engine) = engine
                && (bytes.len() <= DIRECT_BYTES_MAX || !engine.is_hosting())
            {
                let answer = engine.submit(bytes);
                let wants_thread = engine.work(false);
                shared.publish_state(&engine);
                drop(engine);
                drop(pending);
                if wants_thread {
                    shared.wake();
                }
                return answer;
            }
        }
        if pending.bytes + shared.kept_bytes.load(Ordering::Relaxed) > KEPT_BYTES_MAX {
            pending.busy = true;
            drop(pending);
            shared.wake();
            return Submit::Busy;
        }
        let first = pending.messages.is_empty();
        pending.bytes += bytes.len();
        pending.messages.push_back(bytes);
        drop(pending);
        if first {
            shared.wake();
        }
        Submit::Accepted
    }

    fn detach(&mut self) {
        self.detached = true;
        self.shared.detach.store(true, Ordering::Release);
        self.shared.wake();
    }

    fn bound(&self) -> Duration {
        Duration::from_secs(4)
    }

    fn bytes_max(&self) -> usize {
        MESSAGE_BYTES_MAX
    }
}

impl Drop for LocalCarrier {
    fn drop(&mut self) {
        self.shared.stop.store(true, Ordering::Release);
        self.shared.wake();
        if let Some(thread) = self.thread.take() {
            // A panic of the thread has been reported by its own hook; here only its end matters.
            drop(thread.join());
        }
    }
}

/// The carrier's thread.
fn serve(shared: &Shared) {
    let mut ready = Vec::new();
    loop {
        let (watched, timeout) = {
            let mut engine = shared.engine.lock().unwrap_or_else(PoisonError::into_inner);
            if shared.stop.load(Ordering::Acquire) {
                engine.stop();
            }
            if shared.detach.swap(false, Ordering::AcqRel) {
                take_pending(shared, &mut engine);
                engine.detach();
            }
            engine.turn_if_due();
            engine.ready(&ready);
            take_pending(shared, &mut engine);
            engine.work(true);
            shared.publish_state(&engine);
            if engine.is_finished() {
                return;
            }
            (engine.watched(), engine.timeout())
        };
        let mut fds = Vec::with_capacity(watched.len() + 1);
        fds.push(PollFd::new(shared.wake.as_fd(), nix::poll::PollFlags::POLLIN));
        fds.extend(watched.iter().map(|watched| PollFd::new(watched.fd.as_fd(), watched.flags)));
        let timeout = PollTimeout::try_from(timeout).unwrap_or(PollTimeout::MAX);
        ready.clear();
        // An interrupted or failed poll finds nothing ready; the next round asks again.
        if poll(&mut fds, timeout).is_ok() {
            let mut results = fds.iter().map(|fd| fd.revents().unwrap_or(nix::poll::PollFlags::empty()));
            if results.next().is_some_and(|flags| !flags.is_empty()) {
                let _ = shared.wake.read();
            }
            ready.extend(
                results
                    .zip(&watched)
                    .filter(|(flags, _)| !flags.is_empty())
                    .map(|(flags, watched)| (watched.token, flags)),
            );
        }
    }
}

/// Moves what was submitted while the engine was busy into it.
fn take_pending(shared: &Shared, engine: &mut Engine) {
    let mut pending = shared.pending();
    for bytes in pending.messages.drain(..) {
        engine.keep(bytes);
    }
    pending.bytes = 0;
    if core::mem::take(&mut pending.busy) {
        engine.want_ready();
    }
    // Before the lock goes: the next submission must see the bytes here or there.
    shared.kept_bytes.store(engine.kept_bytes(), Ordering::Relaxed);
}
