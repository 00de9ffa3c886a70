//! What a run asks of the node: small operations, each with checked arguments.

use alloc::string::String;
use alloc::vec::Vec;

use postfleet_datasource::{Params, Rows};

use crate::binding::{Assign, Binding};
use crate::fault::Fault;

/// Which of the two dictionaries of a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Context {
    /// Lives as long as the connection.
    Connection,
    /// Emptied at the start of each message.
    Message,
}

/// Events that are counted by address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    /// A connection was accepted.
    Connection,
    /// A message was received.
    Reception,
    /// Something was refused.
    Rejection,
}

/// Events, and whether of this node or of all.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Events {
    /// What is counted.
    pub event: Event,
    /// The global view. Where it is not replicated the host gives its own and warns once for each reload.
    pub cluster: bool,
}

/// Windows of a series, both included; 0 is the running one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Windows {
    /// The latest.
    pub start: u32,
    /// The earliest; never below `start`.
    pub end: u32,
}

/// A reading of a named series.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SeriesRead<'a> {
    /// Its name.
    pub series: &'a str,
    /// `interval,number`.
    pub monitor: &'a str,
    /// What is summed.
    pub windows: Windows,
    /// Leading bits of the address; the whole address if absent.
    pub mask: Option<u8>,
    /// Instead of the client's address.
    pub address: Option<&'a str>,
}

/// To whom the additions of a series go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Spread {
    /// Nobody.
    None,
    /// All nodes.
    Cluster,
    /// Managers only.
    Managers,
}

/// An addition to the running window of a named series.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SeriesWrite<'a> {
    /// Its name.
    pub series: &'a str,
    /// `interval,number`.
    pub monitor: &'a str,
    /// May be negative.
    pub amount: i64,
    /// Who else gets it.
    pub spread: Spread,
    /// Instead of the client's address.
    pub address: Option<&'a str>,
    /// Also written to files.
    pub serialize: bool,
}

/// Where open connections are counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope<'a> {
    /// A service of this node, or `inbound_cidr` for the cluster.
    Service(&'a str),
    /// The listener that accepted this session.
    ThisListener,
}

/// Which throttles.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Of this node.
    Local,
    /// `shared_named_throttles`.
    Shared,
}

/// One more or one less.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    /// One more.
    Increment,
    /// One less.
    Decrement,
}

/// How a counter of the script's statistics is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Class {
    /// The client is to come again.
    Temporary,
    /// Refused for good.
    Permanent,
    /// Everything else.
    Informational,
}

impl Class {
    /// As the console prints it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Temporary => "4xx",
            Self::Permanent => "5xx",
            Self::Informational => "informational",
        }
    }
}

/// An address of the envelope.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Path {
    /// The sender.
    From,
    /// The recipients; in a phase for one recipient, this one.
    To,
}

/// What a script waits for. The run goes on with an [`Answer`].
#[derive(Clone, Debug, PartialEq)]
pub enum Request {
    /// A query to a datasource.
    Query {
        /// The datasource's cache.
        cache: String,
        /// With placeholders.
        query: String,
        /// Their values.
        params: Params,
        /// Run for its effect; no rows are wanted and nothing may be remembered.
        execute: bool,
        /// Asked of the source even if the cache knows the answer.
        fresh: bool,
    },
    /// Counted in a shared throttle, and told how long to hold.
    SharedTarpit {
        /// The throttle's name.
        name: String,
    },
    /// Time to pass.
    Sleep {
        /// How much.
        ms: u64,
    },
}

/// The answer to a [`Request`].
#[derive(Clone, Debug, PartialEq)]
pub enum Answer {
    /// To a query; ignored if it was only to be executed.
    Rows(Rows),
    /// To a shared tarpit: the session is to be held for so long.
    HoldMs(u64),
    /// To a shared tarpit: the session has been held for so long.
    HeldMs(u64),
    /// The time has passed.
    Slept,
    /// It could not be had.
    Failed(Fault),
}

/// The line of a script that acts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place<'a> {
    /// The script's name.
    pub file: &'a str,
    /// Counted from 1.
    pub line: u32,
}

/// What the node does for a run. A [`Fault`] is a runtime error of the statement.
pub trait Host {
    /// A value of a context.
    fn context(&mut self, context: Context, key: &str) -> Option<String>;
    /// Sets or, without a value, removes a key.
    fn set_context(&mut self, context: Context, key: &str, value: Option<&str>);
    /// `ec_log`; already cut to the permitted length.
    fn log(&mut self, place: Place<'_>, text: &str);
    /// A runtime error, or a statement without effect.
    fn log_error(&mut self, place: Place<'_>, text: &str);
    /// Appends a line to a file or a log.
    ///
    /// # Errors
    /// The address names nothing that can be written.
    fn log_file(&mut self, uri: &str, text: &str) -> Result<(), Fault>;
    /// One more for a counter of the statistics.
    fn count(&mut self, counter: &str, class: Class);
    /// The weighted sliding average of a monitor, by its position.
    ///
    /// # Errors
    /// No such monitor, a bad mask, no client.
    fn events_average(&mut self, events: Events, monitor: u32, mask: Option<u8>) -> Result<u64, Fault>;
    /// The exact sum over windows; the first monitor if none is named.
    ///
    /// # Errors
    /// No such monitor or window, a bad mask, no client.
    fn events_sum(
        &mut self,
        events: Events,
        monitor: Option<&str>,
        windows: Windows,
        mask: Option<u8>,
    ) -> Result<u64, Fault>;
    /// The sum of a named series; 0 if nothing was ever added.
    ///
    /// # Errors
    /// A bad monitor, window, mask or address; no client.
    fn series_sum(&mut self, read: SeriesRead<'_>) -> Result<u64, Fault>;
    /// Adds to a named series.
    ///
    /// # Errors
    /// A bad monitor or address; no client.
    fn series_add(&mut self, write: SeriesWrite<'_>) -> Result<(), Fault>;
    /// Connections open now from a block.
    ///
    /// # Errors
    /// An unknown service, a bad block, no client.
    fn open_connections(&mut self, scope: Scope<'_>, cidr: &str) -> Result<u64, Fault>;
    /// Creates a throttle; nothing happens if it lives.
    ///
    /// # Errors
    /// A bad rate.
    fn throttle_create(&mut self, kind: Kind, name: &str, rate: &str, epsilon: f64) -> Result<(), Fault>;
    /// Counts.
    ///
    /// # Errors
    /// No such throttle.
    fn throttle_change(&mut self, kind: Kind, name: &str, change: Change) -> Result<(), Fault>;
    /// Whether the quota is exceeded.
    ///
    /// # Errors
    /// No such throttle.
    fn throttle_exceeded(&mut self, kind: Kind, name: &str) -> Result<bool, Fault>;
    /// Counts in a local throttle and says for how long the session must be held, in milliseconds.
    ///
    /// # Errors
    /// No such throttle.
    fn throttle_tarpit(&mut self, name: &str) -> Result<u64, Fault>;
    /// Creates or adjusts a gauge cache.
    ///
    /// # Errors
    /// A bound that is not possible.
    fn gauge_init(
        &mut self,
        name: &str,
        elements_max: u64,
        ttl_s: u64,
        replicated: bool,
    ) -> Result<(), Fault>;
    /// Counts a key; its new value.
    ///
    /// # Errors
    /// The gauge cache was never initialised.
    fn gauge_change(&mut self, name: &str, key: &str, change: Change) -> Result<i64, Fault>;
    /// A key's value; 0 if it is missing.
    ///
    /// # Errors
    /// The gauge cache was never initialised.
    fn gauge(&mut self, name: &str, key: &str) -> Result<i64, Fault>;
    /// A value of a replicated cache.
    ///
    /// # Errors
    /// No such cache.
    fn cache(&mut self, name: &str, key: &str) -> Result<Option<String>, Fault>;
    /// Sets a value; without a time it does not expire.
    ///
    /// # Errors
    /// No such cache.
    fn cache_set(&mut self, name: &str, key: &str, value: &str, ttl_s: Option<u64>) -> Result<(), Fault>;
    /// Who the copy at hand is assigned to; none while nobody has said so.
    fn binding(&mut self) -> Option<Binding>;
    /// Assigns the copy at hand; returns the binding that it has now. None when there is no such binding, or no binding in
    /// such a group: that is told in the log, and changes nothing.
    fn assign(&mut self, to: Assign<'_>) -> Option<Binding>;
    /// Addresses of the envelope as far as they are known in this phase.
    fn envelope(&mut self, path: Path) -> Vec<String>;
    /// The bodies of all header fields of a name, unfolded; letter case of the name does not matter.
    ///
    /// # Errors
    /// There is no message.
    fn headers(&mut self, name: &str) -> Result<Vec<String>, Fault>;
    /// The message's bytes.
    ///
    /// # Errors
    /// There is no message.
    fn message_bytes(&mut self) -> Result<u64, Fault>;
    /// What `%{…}` stands for, for names that begin with `rfc822:`, `rfc2822:` or `spfv1:`.
    ///
    /// # Errors
    /// It is not known, or there is no message.
    fn expand(&mut self, name: &str) -> Result<String, Fault>;
}
