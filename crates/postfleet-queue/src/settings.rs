//! What the configuration says about a queue, and the questions to the fleet.

use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::fmt;
use core::time::Duration;

use postfleet_spool::QueueKey;
use postfleet_throttle::{LimitKey, Rate};

use crate::connection::ConnectionId;
use crate::growth::Growth;
use crate::retry::RetryPolicy;
use crate::wait::Blocked;

/// A limit on connections of this node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LocalLimit {
    /// What it counts.
    pub key: LimitKey,
    /// How many it allows; 0: none.
    pub most: u64,
    /// Room beyond that for a queue that has no connection, in the reserve sweep (`Server_Reserve_…`).
    pub reserve: u64,
    /// The option.
    pub option: &'static str,
    /// Where it is written; empty for the global scope.
    pub scope: String,
    /// It is counted, and refuses nothing.
    pub shadow: bool,
}

/// A throttle of this node. Queues with the same option and scope share its units.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LocalRate {
    /// The option.
    pub option: &'static str,
    /// Where it is written: the throttle's name.
    pub scope: String,
    /// The rate.
    pub rate: Rate,
    /// It is counted, and holds nothing back.
    pub shadow: bool,
}

/// What holds for one queue.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct QueueSettings {
    /// When a message is tried again.
    pub retry: RetryPolicy,
    /// `Suspend_Delivery`.
    pub suspended: bool,
    /// Limits of this node, in the order in which they are tested.
    pub limits: Vec<LocalLimit>,
    /// `Max_Outbound_Connections`; none: no limit. It is among `limits` too.
    pub connections_max: Option<u64>,
    /// How many connections are wanted.
    pub growth: Growth,
    /// `Max_Deliveries_Per_Connection`; 0: no limit.
    pub deliveries_max: u32,
    /// `Max_Recipients_Per_Connection`; 0: no limit.
    pub recipients_max: u32,
    /// `Max_Recipients_Per_Batch`, at least 1.
    pub batch_max: u32,
    /// `Host_Failure_Retry`.
    pub host_failure_retry: Duration,
    /// `Binding_Auto_Replumb_Interval`: when a source address that was not there is tried again.
    pub source_retry: Duration,
    /// `MX_Failures_To_Delay`; 0: never.
    pub failures_to_delay: u32,
    /// `Connect_Timeout_To_Delay`; zero: never.
    pub silence_to_delay: Duration,
    /// `Delayed_Binding_Domain_Fuzz`.
    pub delay_fuzz: Duration,
    /// `Outbound_Throttle_Messages`, and the fleet's where the fleet shares none. All of them hold.
    pub message_rates: Vec<LocalRate>,
    /// `Idle_Timeout`: a connection that waits longer for the message throttle ends.
    pub idle_timeout: Duration,
    /// `Outbound_Throttle_Connections`, likewise.
    pub connection_rates: Vec<LocalRate>,
    /// `DNS_Failures_To_Purge`.
    pub lookup_failures_to_purge: u32,
}

/// What holds for one exchanger, besides.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HostSettings {
    /// `Max_Outbound_Connections` in `Host`: for each address. The key names the exchanger; the address is added.
    pub address_limit: Option<LocalLimit>,
    /// `Scope_Max_Outbound_Connections` in `Host`.
    pub limits: Vec<LocalLimit>,
}

/// The configuration, resolved for queues and exchangers.
pub trait Settings: fmt::Debug + Send {
    /// What holds for a queue.
    fn queue(&self, queue: &QueueKey) -> Arc<QueueSettings>;
    /// Where mail of a queue belongs, when that is another queue: its binding is not configured, or is in another group.
    fn home(&self, _queue: &QueueKey) -> Option<QueueKey> {
        None
    }
    /// What holds for an exchanger.
    fn host(&self, queue: &QueueKey, host: &str) -> Arc<HostSettings>;
}

/// Limits and throttles of the fleet, for what one queue does. Everything answers from memory.
pub trait Shared {
    /// Whether a connection may start, as far as connection limits go, for a queue that would open `wanted` more.
    /// Consumes nothing; what is missing is claimed.
    ///
    /// # Errors
    /// The limit that has no room.
    fn may_connect(&mut self, queue: &QueueKey, host: Option<&str>, wanted: u64) -> Result<(), Blocked>;
    /// Takes the slot for a connection that starts now. `false`: it has gone meanwhile.
    fn take_slot(&mut self, connection: ConnectionId, queue: &Arc<QueueKey>, host: Option<&str>) -> bool;
    /// Limits of the fleet that only watch, and of which such a connection, which starts now, is one too many: option and
    /// scope.
    fn shadowed(&mut self, queue: &QueueKey, host: Option<&str>) -> Vec<(&'static str, String)> {
        let _ = (queue, host);
        Vec::new()
    }
    /// The connection has ended, or was not started after all.
    fn give_slot(&mut self, connection: ConnectionId);
    /// Whether a connection between two messages has to end, so that others get its slot.
    fn must_end(&mut self, connection: ConnectionId) -> bool;
    /// Takes a unit of the connection throttle. An error names the scope of the throttle that has none.
    ///
    /// # Errors
    /// The scope.
    fn connection_unit(&mut self, queue: &QueueKey) -> Result<(), String>;
    /// Takes up to so many units of the message throttle, and says how many. An error names the scope when there is none.
    ///
    /// # Errors
    /// The scope.
    fn message_units(&mut self, queue: &QueueKey, units: u64) -> Result<u64, String>;
    /// A queue that was told of no room wants no more connections.
    fn wants_none(&mut self, queue: &QueueKey);
}

/// A node that shares nothing.
#[derive(Clone, Copy, Debug, Default)]
pub struct Unlimited;

impl Shared for Unlimited {
    fn may_connect(&mut self, _: &QueueKey, _: Option<&str>, _: u64) -> Result<(), Blocked> {
        Ok(())
    }
    fn take_slot(&mut self, _: ConnectionId, _: &Arc<QueueKey>, _: Option<&str>) -> bool {
        true
    }
    fn give_slot(&mut self, _: ConnectionId) {}
    fn must_end(&mut self, _: ConnectionId) -> bool {
        false
    }
    fn connection_unit(&mut self, _: &QueueKey) -> Result<(), String> {
        Ok(())
    }
    fn message_units(&mut self, _: &QueueKey, units: u64) -> Result<u64, String> {
        Ok(units)
    }
    fn wants_none(&mut self, _: &QueueKey) {}
}
