//! A member without mail, for measurements: what a node does for its fleet, with the tasks and sockets that a node has, on
//! the local bus. Only there with the feature `rig`, with which no program for operators is built.
//!
//! It fails by panicking, like the measurements that it serves.

pub use crate::policy::rig::PolicyRig;

use crate::cluster_listener::Dialing;
use crate::fleet::rig::{Member, start};
use postfleet_replica::{Counted, Replica};
use std::fmt;
use std::net::IpAddr;
use std::path::Path;
use tokio::runtime::{Builder, Runtime};

/// One member. When it is dropped, or its process ends, it is gone without a word.
pub struct Rig {
    member: Member,
    _runtime: Runtime,
}

impl fmt::Debug for Rig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Rig").finish_non_exhaustive()
    }
}

impl Drop for Rig {
    fn drop(&mut self) {
        self.member.tasks.abort_all();
    }
}

impl Rig {
    /// Starts member `number` of the fleet whose bus is in that directory. Its cluster listener is at
    /// 127.0.78.`number`; it shares `inbound_cidr`, `outbound_domains`,
    /// `shared_named_throttles` and `outbound_slots`.
    ///
    /// # Panics
    /// When threads or sockets cannot be had.
    #[must_use]
    pub fn start(dir: &Path, number: u8) -> Self {
        let runtime = Builder::new_multi_thread().worker_threads(2).enable_all().build().expect("threads");
        let member = runtime.block_on(start(dir, number, Dialing::default(), true));
        Self { member, _runtime: runtime }
    }

    /// A connection of a client was accepted.
    #[must_use]
    pub fn opened(&self, client: IpAddr) -> Counted {
        self.member.fleet.inbound_opened(client)
    }

    /// It was closed.
    pub fn closed(&self, client: IpAddr, opened: Counted) {
        self.member.fleet.inbound_closed(client, opened);
    }

    /// Mail wants so many connections of the path beyond those that are open.
    pub fn want_slots(&self, path: &postfleet_throttle::Path, connections: u64) {
        self.member.fleet.want_slots(path, connections);
    }

    /// Takes a slot; `false` when there is none yet.
    #[must_use]
    pub fn open_slot(&self, path: &postfleet_throttle::Path) -> bool {
        self.member.fleet.open_slot(path)
    }

    /// In the view with so many, and nothing missing.
    #[must_use]
    pub fn complete(&self, members: usize) -> bool {
        self.member.complete(members)
    }

    /// Reads the replica.
    pub fn replica<T>(&self, read: impl FnOnce(&Replica) -> T) -> T {
        self.member.fleet.replica(read)
    }
}
