//! The attachment, the way to its hub, and the hub while this process hosts it.

use super::events::Events;
use super::hosting::{Hosting, listen};
use super::lock::LockFile;
use super::stream::{Connection, Reading};
use super::{LocalOptions, Observer, OpenError, Step, process};
use crate::attachment::Attachment;
use crate::frame::{FrameError, FromHub};
use crate::hub::{Hub, OWN, Over, RETIRE, Stream};
use crate::member::MemberId;
use crate::seek::{self, Found, Ground};
use bytes::Bytes;
use core::time::Duration;
use nix::errno::Errno;
use nix::poll::PollFlags;
use nix::sys::socket::{
    AddressFamily, SockFlag, SockType, UnixAddr, connect, getsockopt, socket, sockopt::PeerCredentials,
};
use nix::unistd::geteuid;
use postfleet_bus::carrier::{CarrierEvent, CarrierLost, RawId, Submit};
use postfleet_types::Monotonic;
use std::collections::VecDeque;
use std::io;
use std::os::fd::{AsFd, AsRawFd};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Instant;

/// The own timer's turn.
const TURN: Duration = Duration::from_millis(200);

/// Between two attempts to find the hub or to become it.
const ATTEMPT: Duration = Duration::from_millis(10);

/// Turns of silence after which the lock file is looked at: another hub may have been started meanwhile.
const LOOK_TURNS: u32 = 2;

/// Reads of 128 KiB from the hub before the rest of the work gets its turn.
const READ_ROUNDS: u32 = 8;

/// What the poll loop watches.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Token {
    Hub,
    Listener,
    Guest(Stream),
}

pub(super) struct Watched {
    pub(super) token: Token,
    pub(super) fd: Arc<dyn AsFd + Send + Sync>,
    pub(super) flags: PollFlags,
}

#[derive(Debug)]
enum Link {
    None,
    Hub(Connection),
    /// The hub is in this process.
    Own,
}

pub(super) struct Engine {
    attachment: Attachment,
    link: Link,
    hosting: Option<Hosting>,
    lock: LockFile,
    path: PathBuf,
    bus_name: String,
    observer: Option<Observer>,
    events: Arc<Events>,
    origin: Instant,
    next_turn: Instant,
    next_attempt: Instant,
    /// The number in the lock file, when it was last looked at.
    known: Option<u64>,
    detach_by: Option<Instant>,
    /// `Lost(Detached)` is held back until the hub in this process has retired.
    held_back: Option<CarrierEvent>,
    running_told: bool,
    finished: bool,
}

impl Engine {
    pub(super) fn open(id: RawId, options: &LocalOptions, events: Arc<Events>) -> Result<Self, OpenError> {
        let with = |suffix: &str| {
            let mut name = options.path.as_os_str().to_owned();
            name.push(options.class.suffix());
            name.push(suffix);
            PathBuf::from(name)
        };
        let lock_path = with(".lock");
        let fault = |source: io::Error| {
            let path = lock_path.clone();
            if matches!(source.kind(), io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem) {
                OpenError::NotPermitted { path, source }
            } else if source.kind() == io::ErrorKind::InvalidData {
                OpenError::NotALock { path }
            } else {
                OpenError::System { path, source }
            }
        };
        let lock = LockFile::open(&lock_path).map_err(fault)?;
        lock.number().map_err(fault)?;
        let id = MemberId { raw: id, started: process::started(id.major) };
        let now = Instant::now();
        Ok(Self {
            attachment: Attachment::new(id, &options.bus_name),
            link: Link::None,
            hosting: None,
            lock,
            path: with(""),
            bus_name: options.bus_name.clone(),
            observer: options.observer.clone(),
            events,
            origin: now,
            next_turn: now + TURN,
            next_attempt: now,
            known: None,
            detach_by: None,
            held_back: None,
            running_told: false,
            finished: false,
        })
    }

    pub(super) fn kept_bytes(&self) -> usize {
        self.attachment.kept().1
    }

    pub(super) const fn is_hosting(&self) -> bool {
        self.hosting.is_some()
    }

    pub(super) const fn has_ended(&self) -> bool {
        self.attachment.has_ended()
    }

    pub(super) const fn is_finished(&self) -> bool {
        self.finished
    }

    pub(super) fn submit(&mut self, bytes: Bytes) -> Submit {
        self.attachment.submit(bytes)
    }

    pub(super) fn keep(&mut self, bytes: Bytes) {
        self.attachment.keep(bytes);
    }

    pub(super) fn want_ready(&mut self) {
        self.attachment.want_ready();
    }

    pub(super) fn detach(&mut self) {
        self.detach_by = Some(Instant::now() + RETIRE);
        self.attachment.detach();
    }

    /// Ends at once, as a crash would.
    pub(super) fn stop(&mut self) {
        self.link = Link::None;
        self.hosting = None;
        self.lock.unlock();
        self.finished = true;
    }

    fn now(&self) -> Monotonic {
        Monotonic::from_micros(u64::try_from(self.origin.elapsed().as_micros()).unwrap_or(u64::MAX))
    }

    fn observe(&self, step: Step) {
        if let Some(observer) = &self.observer {
            observer(step);
        }
    }

    /// Whether there is no hub, or one that must be looked after.
    fn is_seeking(&self) -> bool {
        !self.attachment.has_ended()
            && match self.link {
                Link::None => true,
                Link::Hub(_) => self.attachment.silent_turns() >= LOOK_TURNS,
                Link::Own => false,
            }
    }

    pub(super) fn timeout(&self) -> Duration {
        let now = Instant::now();
        let mut at = self.next_turn;
        if self.is_seeking() {
            at = at.min(self.next_attempt);
        }
        if let Some(deadline) = self.hosting.as_ref().and_then(|hosting| hosting.hub.deadline()) {
            at = at.min(self.origin + Duration::from_micros(deadline.as_micros()));
        }
        // Rounded up: waking a moment early would only mean waiting again.
        let wait = at.saturating_duration_since(now);
        Duration::from_millis(u64::try_from(wait.as_micros().div_ceil(1000)).unwrap_or(0))
    }

    pub(super) fn watched(&self) -> Vec<Watched> {
        let mut watched: Vec<Watched> = Vec::new();
        if let Link::Hub(connection) = &self.link {
            let mut flags = PollFlags::POLLIN;
            flags.set(PollFlags::POLLOUT, connection.wants_output());
            watched.push(Watched { token: Token::Hub, fd: Arc::clone(&connection.stream) as _, flags });
        }
        if let Some(hosting) = &self.hosting {
            let listener = Arc::clone(&hosting.listener);
            watched.push(Watched { token: Token::Listener, fd: listener as _, flags: PollFlags::POLLIN });
            for (stream, socket, write) in hosting.watched() {
                let mut flags = PollFlags::POLLIN;
                flags.set(PollFlags::POLLOUT, write);
                watched.push(Watched { token: Token::Guest(stream), fd: socket as _, flags });
            }
        }
        watched
    }

    /// The timer's turn, when it is due. It comes before anything that was received is looked at.
    pub(super) fn turn_if_due(&mut self) {
        let now = Instant::now();
        if now >= self.next_turn {
            self.next_turn = now + TURN;
            self.attachment.turn();
            if let Some(hosting) = &mut self.hosting {
                hosting.hub.turn();
            }
        }
        if self.detach_by.is_some_and(|by| now >= by) {
            self.attachment.end(CarrierLost::Detached);
        }
    }

    /// Reads and writes what the poll loop found ready.
    pub(super) fn ready(&mut self, ready: &[(Token, PollFlags)]) {
        for (token, flags) in ready {
            let readable = flags.intersects(PollFlags::POLLIN | PollFlags::POLLHUP | PollFlags::POLLERR);
            match (token, &mut self.hosting) {
                (Token::Hub, _) => {
                    if readable {
                        self.read_hub();
                    }
                    if let Link::Hub(connection) = &mut self.link {
                        connection.flush();
                    }
                }
                (Token::Listener, Some(hosting)) => hosting.accept(),
                (Token::Guest(stream), Some(hosting)) => {
                    if flags.contains(PollFlags::POLLOUT) {
                        hosting.writable(*stream);
                    }
                    if readable {
                        hosting.read(*stream);
                    }
                }
                (Token::Listener | Token::Guest(_), None) => {}
            }
        }
    }

    fn read_hub(&mut self) {
        for _ in 0..READ_ROUNDS {
            let Link::Hub(connection) = &mut self.link else { return };
            let reading = connection.fill();
            match deliver(connection, &mut self.attachment) {
                Ok(()) => {}
                Err(_) => {
                    self.attachment.end(CarrierLost::Protocol);
                    return;
                }
            }
            match reading {
                Reading::More => {}
                Reading::Dry => {
                    self.attachment.quiet();
                    return;
                }
                Reading::Ended => {
                    self.link = Link::None;
                    self.attachment.unlinked();
                    self.next_attempt = Instant::now();
                    return;
                }
            }
        }
    }

    /// Does everything that can be done without waiting; with `may_seek`, also an attempt to find a hub that is
    /// due. Returns whether the poll loop must look again.
    pub(super) fn work(&mut self, may_seek: bool) -> bool {
        if self.finished {
            return true;
        }
        if may_seek && self.is_seeking() && Instant::now() >= self.next_attempt {
            self.seek();
        }
        self.exchange();
        self.publish();
        let waiting = match &self.link {
            Link::Hub(connection) => connection.wants_output(),
            Link::None => true,
            Link::Own => {
                self.hosting.as_ref().is_none_or(|hosting| hosting.watched().any(|(.., write)| write))
            }
        };
        waiting || self.attachment.has_ended()
    }

    /// Moves frames between the attachment and its hub until neither has more.
    fn exchange(&mut self) {
        loop {
            match &mut self.link {
                Link::None => return,
                Link::Hub(connection) => {
                    let mut out = Vec::new();
                    while let Some(frame) = self.attachment.next_frame() {
                        frame.encode(&mut out);
                    }
                    connection.push(out.into());
                    connection.flush();
                    return;
                }
                Link::Own => {
                    let Some(hosting) = &mut self.hosting else { return };
                    while let Some(frame) = self.attachment.next_frame() {
                        hosting.hub.frame(OWN, frame);
                    }
                }
            }
            let now = self.now();
            let Some(hosting) = &mut self.hosting else { return };
            let mut own = Vec::new();
            let over = hosting.work(now, &self.lock, &mut own);
            let running = hosting.hub.is_running();
            let again = !own.is_empty();
            for frame in own {
                self.attachment.frame(frame);
            }
            self.attachment.quiet();
            if running && !self.running_told {
                self.running_told = true;
                self.observe(Step::Running);
            }
            if let Some(over) = over {
                return self.hub_over(over);
            }
            if !again {
                return;
            }
        }
    }

    fn hub_over(&mut self, why: Over) {
        self.hosting = None;
        self.lock.unlock();
        self.link = Link::None;
        match why {
            Over::Superseded | Over::Expelled => {
                self.attachment.unlinked();
                self.next_attempt = Instant::now();
            }
            Over::Retired => self.finished = true,
        }
    }

    fn publish(&mut self) {
        let mut events = VecDeque::new();
        while let Some(event) = self.attachment.next_event() {
            let last = event == CarrierEvent::Lost(CarrierLost::Detached);
            if last && self.hosting.as_ref().is_some_and(|hosting| hosting.hub.is_retiring()) {
                self.held_back = Some(event);
            } else {
                events.push_back(event);
            }
        }
        if self.finished || self.hosting.is_none() {
            events.extend(self.held_back.take());
        }
        if !self.events.push(&mut events) {
            self.attachment.end(CarrierLost::Overrun);
        }
        if self.attachment.has_ended() && self.held_back.is_none() {
            self.stop();
        }
    }

    fn seek(&mut self) {
        // A number that is new is looked at once more at once, so a dead hub costs no pause.
        for _ in 0..2 {
            let suspect = self.attachment.suspects_hub();
            if matches!(self.link, Link::Hub(_)) && !suspect {
                let number = self.lock.number().ok();
                if number != self.known {
                    self.moved(number);
                }
                if matches!(self.link, Link::Hub(_)) {
                    break;
                }
                continue;
            }
            let known = self.known;
            match seek::attempt(self, known, suspect) {
                Ok(Found::Moved(number)) => self.moved(Some(number)),
                Ok(Found::Stream | Found::Host(_)) => {
                    self.attachment.linked();
                    return;
                }
                Ok(Found::Nothing) => break,
                Err(_) => {
                    // An attempt that broke off half-way must not stand in the way of others.
                    self.lock.unlock();
                    break;
                }
            }
        }
        self.next_attempt = Instant::now() + ATTEMPT;
    }

    fn moved(&mut self, number: Option<u64>) {
        self.known = number;
        self.attachment.hub_changed();
        if matches!(self.link, Link::Hub(_)) && self.attachment.hub_generation() < number {
            self.leave_stream();
        }
    }

    fn leave_stream(&mut self) {
        if let Link::Hub(mut connection) = core::mem::replace(&mut self.link, Link::None) {
            connection.shut_reading();
            loop {
                let reading = connection.fill();
                // What is damaged or cut off at the end was never there.
                if deliver(&mut connection, &mut self.attachment).is_err() || reading == Reading::Ended {
                    break;
                }
            }
            self.attachment.unlinked();
        }
    }
}

/// Hands the frames that were read to the attachment.
fn deliver(connection: &mut Connection, attachment: &mut Attachment) -> Result<(), FrameError> {
    while let Some(frame) = connection.next_frame(FromHub::decode)? {
        attachment.frame(frame);
    }
    Ok(())
}

impl Ground for Engine {
    type Stop = io::Error;

    fn connect(&mut self) -> io::Result<bool> {
        // Non-blocking from the start: a stopped hub's queue of connections may be full.
        let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
        let socket = socket(AddressFamily::Unix, SockType::Stream, flags, None)?;
        match connect(socket.as_raw_fd(), &UnixAddr::new(&self.path)?) {
            Ok(()) => {}
            Err(Errno::ENOENT | Errno::ECONNREFUSED | Errno::EAGAIN) => return Ok(false),
            Err(error) => return Err(error.into()),
        }
        let stream = UnixStream::from(socket);
        let (hub, own) = (getsockopt(&stream, PeerCredentials)?.uid(), geteuid().as_raw());
        if hub != own && hub != 0 && own != 0 {
            return Err(io::ErrorKind::PermissionDenied.into());
        }
        self.link = Link::Hub(Connection::new(stream)?);
        Ok(true)
    }

    fn number(&mut self) -> io::Result<u64> {
        self.lock.number()
    }

    fn is_locked(&mut self) -> io::Result<bool> {
        self.lock.is_locked_from(0)
    }

    fn lock(&mut self, generation: u64) -> io::Result<bool> {
        let locked = self.lock.lock(generation)?;
        if locked {
            self.observe(Step::Locked);
        }
        Ok(locked)
    }

    fn unlock(&mut self) {
        self.lock.unlock();
    }

    fn leave(&mut self) -> io::Result<()> {
        self.leave_stream();
        self.observe(Step::Left);
        // What the old stream still held may have been the end; then nobody is left to host for.
        if self.attachment.has_ended() { Err(io::ErrorKind::Interrupted.into()) } else { Ok(()) }
    }

    fn write_number(&mut self, generation: u64) -> io::Result<()> {
        self.lock.write_number(generation)?;
        self.known = Some(generation);
        self.observe(Step::Numbered);
        Ok(())
    }

    fn listen(&mut self, generation: u64) -> io::Result<()> {
        let listener = listen(&self.path, generation)?;
        self.observe(Step::Listening);
        let mut hub = Hub::new(generation, &self.bus_name, self.now());
        hub.opened(OWN);
        self.hosting = Some(Hosting::new(hub, listener, self.observer.clone()));
        self.link = Link::Own;
        self.running_told = false;
        Ok(())
    }
}

impl core::fmt::Debug for Engine {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Engine")
            .field("attachment", &self.attachment)
            .field("link", &self.link)
            .field("hosting", &self.hosting)
            .finish_non_exhaustive()
    }
}
