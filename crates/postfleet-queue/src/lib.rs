//! Outbound queues: what is to be delivered, when, over which connection, and why something waits.
//!
//! Promises: a message that [`Scheduler::arrived`] took stays until exactly one [`Report`] says that it was delivered or
//! failed for good; no limit is exceeded on this node, and nothing is consumed by an attempt that another limit refused;
//! waiting for a limit, a throttle or a suspension counts no failure; every queue that waits names its reason; a
//! queued message takes at most 110 bytes.
//!
//! - [`Bindings`]: the bindings that are configured, and the choice among those of a group.
//! - [`Scheduler`]: queues by (binding, domain), active and delayed lists, connections, limits in their order.
//! - [`RetryPolicy`]: when a message is tried again, and when it has failed.
//! - [`Routing`]: from DNS answers to the hosts that take a domain's mail.
//!
//! Pure: no clock, socket, task or randomness but a seed. The driver in `postfleet-node` looks names up, opens
//! connections, and hands outcomes back; limits of the fleet are asked through [`Shared`].
//!
//! # The driver's duties
//!
//! 1. [`Scheduler::arrived`] once a message is durable. Never before.
//! 2. After every call, and when [`Scheduler::poll_deadline`] has come: [`Scheduler::poll`] until it returns none, and carry
//!    out what it says. All of this behind one lock: that makes the tests of the limits one critical section.
//! 3. For each [`Action::Connect`] exactly one [`Scheduler::ended`], whatever happens. In between [`Scheduler::next`] when
//!    the connection takes a message, and [`Scheduler::settled`] for each recipient of what was handed out.
//! 4. A [`Report`] of a final verdict means that the message is forgotten here. The driver removes it from the spool, after
//!    the bounce of a failed one is durable.
#![cfg_attr(not(test), no_std)]

extern crate alloc;

mod bindings;
mod choosing;
mod connection;
mod growth;
mod hosts;
mod moving;
mod opening;
mod operate;
mod queue;
mod report;
mod retry;
mod route;
mod scheduler;
mod sending;
mod settings;
mod wait;

pub use bindings::{Assigned, Bindings, Configured};
pub use connection::{ConnectionId, Ended, Next, Outcome, Target};
pub use growth::Growth;
pub use moving::{Waiting, Walk};
pub use operate::{MessageState, QueueState};
pub use report::{Action, Report, Tried, Verdict};
pub use retry::{After, RetryPolicy};
pub use route::{Addresses, Answer, Judged, Lookups, Mx, Need, RouteSettings, Routed, Routing, TargetHost};
pub use scheduler::{Arrival, Now, Scheduler, Tally};
pub use settings::{HostSettings, LocalLimit, LocalRate, QueueSettings, Settings, Shared, Unlimited};
pub use wait::{Blocked, Limited, Wait};
