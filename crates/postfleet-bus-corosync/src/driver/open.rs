//! Opening: libraries, daemon, size of the ring, joining the group.

use super::attempt::{Awaited, Connect, attempt};
use super::serve::serve;
use super::watch::{self, watch};
use super::{CorosyncOptions, MESSAGE_BYTES_MIN, OPEN_PATIENCE, OpenError, RING_HOSTS_LIMIT, Shared};
use crate::library::{ConnectError, Cpg, Group};
use crate::outgoing::PAUSE_MAX;
use crate::status::Status;
use core::sync::atomic::{AtomicBool, AtomicU64};
use core::time::Duration;
use nix::sys::eventfd::{EfdFlags, EventFd};
use postfleet_bus::carrier::RawId;
use std::sync::Arc;
use std::thread;
use std::time::Instant;

/// `cpg_dispatch` keeps its receive buffer of one megabyte on the stack.
const STACK_BYTES: usize = 4 << 20;

/// How long joining is tried: while the daemon forms a ring, or while an attachment of this process that has just
/// ended has not left yet.
const JOIN_PATIENCE: Duration = Duration::from_secs(5);

impl From<ConnectError> for OpenError {
    fn from(error: ConnectError) -> Self {
        match error {
            ConnectError::Load(error) => error.into(),
            ConnectError::Status(call, status) if status.is_refusal() => Self::NotPermitted { call, status },
            ConnectError::Status(call, status) => Self::NotRunning { call, status },
        }
    }
}

pub(super) fn open(options: CorosyncOptions) -> Result<Arc<Shared>, OpenError> {
    let name = options.group();
    let group = Group::new(&name).ok_or_else(|| OpenError::NameTooLong { group: name.clone() })?;
    let CorosyncOptions { class, allow_large_ring, .. } = options;
    let letter = class.letter();
    // The thread that connects is the one that dispatches.
    let thread = thread::Builder::new().name(format!("corosync.{letter}")).stack_size(STACK_BYTES);
    let shared = attempt(&name, thread, Joining { options, group })?;
    let of_watch = Arc::clone(&shared);
    thread::Builder::new()
        .name(format!("corosync-watch.{letter}"))
        .spawn(move || watch(&of_watch, class, allow_large_ring))
        .map_err(OpenError::System)?;
    Ok(shared)
}

struct Joining {
    options: CorosyncOptions,
    group: Group,
}

impl Connect for Joining {
    type Made = Arc<Shared>;

    fn connect(&self, awaited: &Awaited) -> Result<Self::Made, OpenError> {
        connect(&self.options, &self.group, awaited)
    }

    fn serve(&self, made: &Self::Made) {
        serve(made, self.options.class, &self.group);
    }

    fn undo(&self, made: &Self::Made) {
        // In order: to the others this is no process that ended.
        let _ = made.cpg.leave(&self.group);
    }
}

fn connect(options: &CorosyncOptions, group: &Group, awaited: &Awaited) -> Result<Arc<Shared>, OpenError> {
    let cpg = Cpg::connect()?;
    let ring = watch::ring(0);
    if ring.hosts > RING_HOSTS_LIMIT && !options.allow_large_ring {
        return Err(OpenError::LargeRing {
            hosts: ring.hosts,
            hosts_max: RING_HOSTS_LIMIT,
            detection: ring.timeouts.detection(),
        });
    }
    let asked = |call| move |status| OpenError::NotRunning { call, status };
    let own = RawId { major: cpg.local_node().map_err(asked("cpg_local_get"))?, minor: std::process::id() };
    let bytes_max = cpg.bytes_max().map_err(asked("cpg_max_atomic_msgsize_get"))?;
    if bytes_max < MESSAGE_BYTES_MIN {
        return Err(OpenError::SmallMessages { bytes_max });
    }
    let eventfd = || {
        EventFd::from_value_and_flags(0, EfdFlags::EFD_CLOEXEC | EfdFlags::EFD_NONBLOCK)
            .map_err(|error| OpenError::System(error.into()))
    };
    let shared = Shared {
        own,
        cpg,
        outgoing: std::sync::Mutex::default(),
        events: std::sync::Mutex::default(),
        notices: std::sync::Mutex::default(),
        wake: eventfd()?,
        wake_watch: eventfd()?,
        ended: AtomicBool::new(false),
        detach: AtomicBool::new(false),
        stop: AtomicBool::new(false),
        quorum: std::sync::Mutex::default(),
        hosts: std::sync::Mutex::default(),
        ring: AtomicU64::new(0),
        bound_ms: AtomicU64::new(0),
        bytes_max,
    };
    shared.set_timeouts(ring.timeouts);
    if !awaited.holds() {
        return Err(OpenError::Silent { patience: OPEN_PATIENCE });
    }
    join(&shared.cpg, group).map_err(|status| OpenError::Join { group: options.group(), status })?;
    Ok(Arc::new(shared))
}

fn join(cpg: &Cpg, group: &Group) -> Result<(), Status> {
    let until = Instant::now() + JOIN_PATIENCE;
    let mut pause = Duration::from_millis(1);
    loop {
        let status = cpg.join(group);
        match status {
            Status::TRY_AGAIN | Status::EXIST if Instant::now() < until => thread::sleep(pause),
            _ => return status.check(),
        }
        pause = (pause * 2).min(PAUSE_MAX);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::driver::Class;

    #[test]
    fn bus_case_20_a_ring_of_thirty_three_hosts_is_refused() {
        let refused = OpenError::LargeRing { hosts: 33, hosts_max: 32, detection: Duration::from_secs(14) };
        let text = refused.to_string();
        assert!(
            text.starts_with("CFG-6226 ")
                && text.contains("33 hosts")
                && text.contains("allow_large_ring = true"),
            "{text}"
        );
    }

    #[test]
    fn errors_name_the_package_and_the_remedy() {
        let status = Status::LIBRARY;
        let text = OpenError::from(ConnectError::Status("cpg_model_initialize", status)).to_string();
        assert!(text.starts_with("Corosync does not run on this host"), "{text}");
        assert!(text.contains("(cpg_model_initialize: CS_ERR_LIBRARY)"), "{text}");
        let text =
            OpenError::from(ConnectError::Status("cpg_model_initialize", Status::SECURITY)).to_string();
        assert!(text.contains("/etc/corosync/uidgid.d/postfleet"), "{text}");
        let text = OpenError::Silent { patience: OPEN_PATIENCE }.to_string();
        assert_eq!(text, "Corosync has not answered for 10 s; is its process stopped?");
    }

    #[test]
    fn a_group_name_that_is_too_long_is_refused_before_anything_is_opened() {
        let options = CorosyncOptions::new(&"x".repeat(200), Class::Main);
        assert!(matches!(open(options), Err(OpenError::NameTooLong { .. })));
    }
}
