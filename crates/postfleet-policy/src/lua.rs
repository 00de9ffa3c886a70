//! What only Lua asks of the node.

use alloc::boxed::Box;
use alloc::string::String;
use alloc::vec::Vec;
use core::net::{IpAddr, SocketAddr};

use crate::fault::Fault;
use crate::host::{Answer, Events, Host, Path, Request, Scope, Spread, Windows};
use crate::outcome::{Outcome, Reply};
use crate::phase::Phase;
use postfleet_types::Prefix;

/// How urgent a line of the log is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// For whoever looks for a fault.
    Debug,
    /// Ordinary.
    Info,
    /// Ordinary, but not every day.
    Notice,
    /// May become a fault.
    Warning,
    /// Something did not work.
    Error,
    /// Somebody has to look.
    Critical,
}

impl Level {
    /// All, the least urgent first.
    pub const ALL: [Self; 6] =
        [Self::Debug, Self::Info, Self::Notice, Self::Warning, Self::Error, Self::Critical];

    /// As scripts write it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Debug => "debug",
            Self::Info => "info",
            Self::Notice => "notice",
            Self::Warning => "warning",
            Self::Error => "error",
            Self::Critical => "critical",
        }
    }
}

/// What a defined series is counted by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SeriesKind {
    /// IPv4 addresses.
    Cidr,
    /// IPv6 addresses.
    CidrIpv6,
    /// Texts.
    Text,
}

impl SeriesKind {
    /// As scripts write it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Cidr => "cidr",
            Self::CidrIpv6 => "cidr_ipv6",
            Self::Text => "string",
        }
    }
}

/// The definition of a series that scripts then name without its monitor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NamedSeries<'a> {
    /// Its name.
    pub name: &'a str,
    /// What it is counted by.
    pub kind: SeriesKind,
    /// How long a window is; never 0.
    pub interval_s: u32,
    /// Windows beside the running one; never 0.
    pub windows: u32,
    /// Who else gets the additions.
    pub spread: Spread,
    /// Written to files from time to time.
    pub serialize: bool,
    /// Saved at the end of the node, read at its start.
    pub persist: bool,
}

/// One element of a defined series.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SeriesKey<'a> {
    /// The client's address.
    Client,
    /// Of a series by address.
    Address(IpAddr),
    /// Of a series by text.
    Text(&'a str),
}

/// What is summed of a defined series.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Item<'a> {
    /// Of a series by address.
    Block(Prefix),
    /// Of a series by text.
    Text(&'a str),
}

/// What is done to the list of recipients.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Edit {
    /// These and no others.
    Replace,
    /// These as well.
    Add,
    /// All but these.
    Remove,
}

/// Where a run of another language stands.
#[derive(Clone, Debug, PartialEq)]
pub enum NestedStep {
    /// It goes on with the answer.
    Wait(Request),
    /// It has ended.
    Done(Outcome),
}

/// A run of a script of another language, begun by a script.
pub trait Nested: Send {
    /// Goes on until it has to wait or ends.
    fn step(&mut self, host: &mut dyn Host) -> NestedStep;
    /// Takes the answer to what it waits for.
    fn resume(&mut self, answer: Answer);
    /// Statements, or what else its steps are, so far.
    fn spent(&self) -> u64;
}

/// When a timer of a script calls its function.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Alarm {
    /// Once, so many milliseconds after it was started.
    After(u64),
    /// Once, at this time in milliseconds since 1970.
    At(u64),
    /// Again and again, with so many milliseconds between.
    Every(u64),
}

/// What a script wants of one of its timers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TimerChange {
    /// It is there from now on, and started.
    Make(Alarm),
    /// Its time begins anew.
    Start,
    /// It does not call any more.
    Stop,
}

/// A [`Host`] for Lua.
pub trait LuaHost: Host {
    /// A run of a Sieve script in this phase that has not begun.
    ///
    /// # Errors
    /// The file cannot be read, or does not compile for the phase.
    fn sieve(&mut self, phase: Phase, file: &str) -> Result<Box<dyn Nested>, Fault>;
    /// The address of the client; in `set_binding` of the client from which the message came; none where there is no
    /// connection.
    fn client(&mut self) -> Option<IpAddr>;
    /// The client's end of the connection, and ours.
    fn peers(&mut self) -> Option<(SocketAddr, SocketAddr)>;
    /// Seconds since 1970.
    fn now_s(&mut self) -> u64;
    /// A line of the log in the words of the script, without its place.
    fn print(&mut self, level: Level, text: &str);
    /// The exact sum of events of a block over windows.
    ///
    /// # Errors
    /// No such monitor or window.
    fn events_of(
        &mut self,
        events: Events,
        monitor: &str,
        windows: Windows,
        block: Prefix,
    ) -> Result<u64, Fault>;
    /// Connections open now from a block.
    ///
    /// # Errors
    /// An unknown service.
    fn open_from(&mut self, scope: Scope<'_>, block: Prefix) -> Result<u64, Fault>;
    /// Defines a series. A live one of the same kind, interval and windows keeps its counts.
    ///
    /// # Errors
    /// It cannot be kept.
    fn define_series(&mut self, series: NamedSeries<'_>) -> Result<(), Fault>;
    /// What a series is counted by.
    ///
    /// # Errors
    /// It is not defined.
    fn series_kind(&mut self, name: &str) -> Result<SeriesKind, Fault>;
    /// Adds to the running window. An address of the other family is ignored.
    ///
    /// # Errors
    /// It is not defined, or is counted by something else; no client.
    fn named_series_add(&mut self, name: &str, key: SeriesKey<'_>, amount: i64) -> Result<(), Fault>;
    /// The sum over windows; 0 for a block of the other family.
    ///
    /// # Errors
    /// It is not defined, or is counted by something else; no such window.
    fn named_series_sum(&mut self, name: &str, item: Item<'_>, windows: Windows) -> Result<u64, Fault>;
    /// Forgets an element, everywhere if the series is shared.
    ///
    /// # Errors
    /// It is not defined, or is counted by something else; no client.
    fn named_series_remove(&mut self, name: &str, key: SeriesKey<'_>) -> Result<(), Fault>;
    /// Forgets a key of a gauge cache, everywhere if it is shared.
    ///
    /// # Errors
    /// The gauge cache was never defined.
    fn gauge_remove(&mut self, name: &str, key: &str) -> Result<(), Fault>;
    /// Whether a replicated cache has this name.
    fn has_cache(&mut self, name: &str) -> bool;
    /// Removes a value of a replicated cache.
    ///
    /// # Errors
    /// No such cache.
    fn cache_delete(&mut self, name: &str, key: &str) -> Result<(), Fault>;
    /// Changes the list of recipients of the message.
    ///
    /// # Errors
    /// There is no list in this phase, or an address is none.
    fn edit_recipients(&mut self, edit: Edit, addresses: &[String]) -> Result<(), Fault>;
    /// Changes the sender, or the recipient of this copy.
    ///
    /// # Errors
    /// Not in this phase, or the address is none.
    fn set_envelope(&mut self, path: Path, address: &str) -> Result<(), Fault>;
    /// What was decided to reply so far, by modules before this one.
    fn decided(&mut self) -> Option<Reply>;
    /// Changes a timer. They are numbered by the script, in the same way in all interpreters of a program.
    ///
    /// # Errors
    /// There are no timers here.
    fn timer(&mut self, number: u32, change: TimerChange) -> Result<(), Fault>;
    /// All addresses of the list of recipients, also in a phase for one of them.
    fn recipients(&mut self) -> Vec<String>;
}
