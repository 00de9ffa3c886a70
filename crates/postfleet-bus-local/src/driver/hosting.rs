//! The hub's streams, while this process hosts it.

use super::lock::LockFile;
use super::stream::{Connection, Reading};
use super::{Observer, Step, process};
use crate::frame::ToHub;
use crate::hub::{Hub, OWN, Order, Over, Stream, Surroundings};
use crate::member::MemberId;
use nix::sys::socket::{getsockopt, sockopt::PeerCredentials};
use nix::unistd::geteuid;
use postfleet_types::Monotonic;
use std::collections::BTreeMap;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::{fs, io};

/// Bytes read from one member before the others get their turn.
const READ_ROUNDS: u32 = 4;

#[derive(Debug)]
struct Guest {
    connection: Connection,
    /// The process number the kernel names for the other end.
    pid: u32,
    writable: bool,
}

pub(super) struct Hosting {
    pub(super) hub: Hub,
    pub(super) listener: Arc<UnixListener>,
    guests: BTreeMap<Stream, Guest>,
    next: Stream,
    observer: Option<Observer>,
}

/// The hub's view of the host.
pub(super) struct Host<'a> {
    pub(super) lock: &'a LockFile,
}

impl Surroundings for Host<'_> {
    fn process_exists(&mut self, id: MemberId) -> bool {
        process::exists(id)
    }

    fn superseded(&mut self, generation: u64) -> bool {
        // What cannot be read does not speak against this hub: its own lock still stands.
        self.lock.number().is_ok_and(|number| number > generation)
            || self.lock.is_locked_from(generation.saturating_add(1)).unwrap_or(false)
    }
}

/// Makes the socket of a generation and puts it where members look.
pub(super) fn listen(path: &Path, generation: u64) -> io::Result<UnixListener> {
    let mut name = path.as_os_str().to_owned();
    name.push(format!(".{generation}"));
    let fresh = PathBuf::from(name);
    // A leftover of an earlier process that died here; the lock on this generation is ours.
    match fs::remove_file(&fresh) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        Ok(()) | Err(_) => {}
    }
    let listener = UnixListener::bind(&fresh)?;
    fs::set_permissions(&fresh, fs::Permissions::from_mode(0o600))?;
    listener.set_nonblocking(true)?;
    fs::rename(&fresh, path)?;
    Ok(listener)
}

impl Hosting {
    pub(super) fn new(hub: Hub, listener: UnixListener, observer: Option<Observer>) -> Self {
        Self { hub, listener: Arc::new(listener), guests: BTreeMap::new(), next: OWN + 1, observer }
    }

    /// The guests whose sockets are watched, and whether for writing too.
    pub(super) fn watched(&self) -> impl Iterator<Item = (Stream, Arc<UnixStream>, bool)> {
        self.guests.iter().map(|(stream, guest)| {
            let write = guest.connection.wants_output() || self.hub.is_full(*stream);
            (*stream, Arc::clone(&guest.connection.stream), write)
        })
    }

    /// Takes waiting connections.
    pub(super) fn accept(&mut self) {
        while let Ok((stream, _)) = self.listener.accept() {
            let Ok(peer) = getsockopt(&stream, PeerCredentials) else { continue };
            let allowed = peer.uid() == geteuid().as_raw() || peer.uid() == 0;
            if !allowed {
                continue;
            }
            let (Ok(connection), Ok(pid)) = (Connection::new(stream), u32::try_from(peer.pid())) else {
                continue;
            };
            self.guests.insert(self.next, Guest { connection, pid, writable: false });
            self.hub.opened(self.next);
            self.next += 1;
        }
    }

    /// Reads what a guest sent.
    pub(super) fn read(&mut self, stream: Stream) {
        for _ in 0..READ_ROUNDS {
            let Some(guest) = self.guests.get_mut(&stream) else { return };
            let reading = guest.connection.fill();
            loop {
                match guest.connection.next_frame(ToHub::decode) {
                    Ok(Some(ToHub::Attach(attach))) if attach.id.raw.major != guest.pid => {
                        // Nobody attaches in another process's name.
                        return self.end(stream);
                    }
                    Ok(Some(frame)) => self.hub.frame(stream, frame),
                    Ok(None) => break,
                    Err(_) => return self.end(stream),
                }
            }
            match reading {
                Reading::More => {}
                Reading::Dry => return,
                Reading::Ended => return self.end(stream),
            }
        }
    }

    /// A guest's socket takes bytes again.
    pub(super) fn writable(&mut self, stream: Stream) {
        if let Some(guest) = self.guests.get_mut(&stream) {
            guest.writable = true;
        }
    }

    fn end(&mut self, stream: Stream) {
        if let Some(guest) = self.guests.remove(&stream) {
            self.hub.closed(stream, guest.connection.accepted());
        }
    }

    /// Carries out the hub's orders but those for the own member, which it returns with the last order.
    pub(super) fn work(
        &mut self,
        now: Monotonic,
        lock: &LockFile,
        own: &mut Vec<crate::frame::FromHub>,
    ) -> Option<Over> {
        loop {
            self.hub.advance(now, &mut Host { lock });
            let mut any = false;
            while let Some(order) = self.hub.next_order() {
                any = true;
                match order {
                    Order::Write { stream, bytes } => {
                        if let Some(guest) = self.guests.get_mut(&stream) {
                            guest.connection.push(bytes);
                            guest.writable = true;
                        }
                    }
                    Order::Withdraw { stream } => {
                        if let Some(guest) = self.guests.get_mut(&stream) {
                            guest.connection.withdraw();
                        }
                    }
                    Order::Close { stream, flush: true } => {
                        if let Some(guest) = self.guests.get_mut(&stream) {
                            guest.connection.closing = true;
                            guest.writable = true;
                        }
                    }
                    Order::Close { stream, flush: false } => {
                        self.guests.remove(&stream);
                    }
                    Order::Own(frame) => own.push(frame),
                    Order::Over(why) => return Some(why),
                }
            }
            let streams: Vec<Stream> =
                self.guests.iter().filter(|(_, guest)| guest.writable).map(|(stream, _)| *stream).collect();
            for stream in streams {
                any = true;
                self.flush(stream);
            }
            if !any {
                return None;
            }
        }
    }

    fn flush(&mut self, stream: Stream) {
        let Some(guest) = self.guests.get_mut(&stream) else { return };
        guest.writable = false;
        let took = guest.connection.flush();
        if took && let Some(observer) = &self.observer {
            observer(Step::Wrote);
        }
        if guest.connection.broken || guest.connection.closing && !guest.connection.wants_output() {
            return self.end(stream);
        }
        self.hub.accepted(stream, guest.connection.accepted());
    }
}

impl core::fmt::Debug for Hosting {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Hosting")
            .field("hub", &self.hub)
            .field("guests", &self.guests)
            .finish_non_exhaustive()
    }
}
