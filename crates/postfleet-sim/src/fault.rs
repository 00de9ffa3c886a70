//! What is done to a fleet.

use crate::engine::{Class, HostId};
use alloc::collections::BTreeSet;
use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;
use core::str::FromStr;

/// One thing that is done to the fleet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fault {
    /// The process of a host ends without a word; its daemon notices at once.
    Crash(HostId),
    /// A process with a new identity starts on a host that has none.
    Start(HostId),
    /// The process leaves in an orderly way and ends.
    Leave(HostId),
    /// `cluster reset`: both connections leave and come anew.
    Reset(HostId),
    /// The process stands still (SIGSTOP).
    Stop(HostId),
    /// It goes on (SIGCONT).
    Resume(HostId),
    /// The event loop of the process gets a turn only every so many milliseconds; zero: as it should.
    Slow(HostId, u32),
    /// The daemon stands still.
    Freeze(HostId),
    /// It goes on.
    Thaw(HostId),
    /// The daemon is killed.
    Kill(HostId),
    /// It is started again.
    Boot(HostId),
    /// Process and daemon end at once, silently.
    PowerOff(HostId),
    /// The network splits: these hosts on one side, all others on the other.
    Partition(Vec<HostId>),
    /// Nothing passes from the first to the second host.
    Block(HostId, HostId),
    /// The network is whole again.
    Heal,
    /// The rings that form next come about by way of others that nobody is told of.
    Detour,
    /// What reaches the host takes so many milliseconds longer; zero: as it should.
    Delay(HostId, u32),
    /// The daemon takes a message of this connection only every so many milliseconds; zero: as it should.
    Throttle(HostId, Class, u32),
    /// A member appears on the ring of the host that never speaks and never leaves.
    Ghost(HostId),
    /// The next message accepted from this connection vanishes.
    Drop(HostId, Class),
    /// The wall clock of the host is wrong by so many milliseconds.
    SetClock(HostId, i32),
    /// So many connections are opened and closed in one moment.
    Burst(HostId, u32),
}

/// What kinds of faults a run may contain.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// Processes end and start again.
    Crash,
    /// Processes leave, and connections are reset.
    Leave,
    /// Processes stand still.
    Stop,
    /// Event loops are slow.
    Slow,
    /// Daemons stand still.
    Freeze,
    /// Daemons are killed, hosts lose power.
    Engine,
    /// The network splits.
    Partition,
    /// Links pass in one direction only, or not between all.
    Lopsided,
    /// Links and daemons are slow.
    Delay,
    /// Ghost members.
    Ghost,
    /// Accepted messages vanish.
    Drop,
    /// Wall clocks are wrong.
    Clock,
    /// Many changes at once.
    Burst,
    /// Rings that break while the daemons get in step.
    Detour,
    /// Hosts are shut down in order.
    Halt,
}

impl Kind {
    /// All of them.
    pub const ALL: [Self; 15] = [
        Self::Crash,
        Self::Leave,
        Self::Stop,
        Self::Slow,
        Self::Freeze,
        Self::Engine,
        Self::Partition,
        Self::Lopsided,
        Self::Delay,
        Self::Ghost,
        Self::Drop,
        Self::Clock,
        Self::Burst,
        Self::Detour,
        Self::Halt,
    ];

    /// Its word.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Crash => "crash",
            Self::Leave => "leave",
            Self::Stop => "stop",
            Self::Slow => "slow",
            Self::Freeze => "freeze",
            Self::Engine => "engine",
            Self::Partition => "partition",
            Self::Lopsided => "lopsided",
            Self::Delay => "delay",
            Self::Ghost => "ghost",
            Self::Drop => "drop",
            Self::Clock => "clock",
            Self::Burst => "burst",
            Self::Detour => "detour",
            Self::Halt => "halt",
        }
    }

    /// What it does, for help texts.
    #[must_use]
    pub const fn says(self) -> &'static str {
        match self {
            Self::Crash => "processes end without a word and start again with a new identity",
            Self::Leave => "processes leave in an orderly way; connections are reset",
            Self::Stop => "processes stand still and go on",
            Self::Slow => "event loops run late",
            Self::Freeze => "bus daemons stand still and go on",
            Self::Engine => "bus daemons are killed, hosts lose power",
            Self::Partition => "the network splits and heals",
            Self::Lopsided => "links fail in one direction, or between some hosts only",
            Self::Delay => "links are slow, daemons take messages slowly",
            Self::Ghost => "members that never speak and never leave",
            Self::Drop => "accepted messages vanish",
            Self::Clock => "wall clocks are wrong by up to an hour",
            Self::Burst => "hundreds of changes in one moment",
            Self::Detour => "rings form by way of others that nobody is told of",
            Self::Halt => "hosts are shut down in order, the process before the bus daemon, and start again",
        }
    }
}

/// A word that names no kind of fault.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("there is no kind of fault `{0}`; there are all, none, {words}", words = words())]
pub struct UnknownKind(String);

fn words() -> String {
    Kind::ALL.map(Kind::word).join(", ")
}

/// A set of kinds, as `--faults` takes it: `all`, `none`, or words separated by commas.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Kinds(pub BTreeSet<Kind>);

impl FromStr for Kinds {
    type Err = UnknownKind;

    fn from_str(text: &str) -> Result<Self, UnknownKind> {
        match text {
            "all" => Ok(Self(Kind::ALL.into_iter().collect())),
            "none" => Ok(Self(BTreeSet::new())),
            _ => {
                let one = |word: &str| {
                    let found = Kind::ALL.into_iter().find(|kind| kind.word() == word);
                    found.ok_or_else(|| UnknownKind(String::from(word)))
                };
                text.split(',').map(one).collect::<Result<_, _>>().map(Self)
            }
        }
    }
}

impl fmt::Display for Kinds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.len() == Kind::ALL.len() {
            return f.write_str("all");
        }
        if self.0.is_empty() {
            return f.write_str("none");
        }
        for (at, kind) in self.0.iter().enumerate() {
            write!(f, "{}{}", if at == 0 { "" } else { "," }, kind.word())?;
        }
        Ok(())
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let connection = |class: &Class| class.letter();
        match self {
            Self::Crash(host) => write!(f, "crash n{host}"),
            Self::Start(host) => write!(f, "start n{host}"),
            Self::Leave(host) => write!(f, "leave n{host}"),
            Self::Reset(host) => write!(f, "reset n{host}"),
            Self::Stop(host) => write!(f, "stop n{host}"),
            Self::Resume(host) => write!(f, "resume n{host}"),
            Self::Slow(host, millis) => write!(f, "slow n{host} every {millis} ms"),
            Self::Freeze(host) => write!(f, "freeze the daemon of n{host}"),
            Self::Thaw(host) => write!(f, "thaw the daemon of n{host}"),
            Self::Kill(host) => write!(f, "kill the daemon of n{host}"),
            Self::Boot(host) => write!(f, "boot the daemon of n{host}"),
            Self::PowerOff(host) => write!(f, "power off n{host}"),
            Self::Partition(side) => {
                f.write_str("partition")?;
                side.iter().try_for_each(|host| write!(f, " n{host}"))?;
                f.write_str(" from all others")
            }
            Self::Block(from, to) => write!(f, "block n{from} to n{to}"),
            Self::Heal => f.write_str("heal the network"),
            Self::Detour => f.write_str("detour of the rings that form next"),
            Self::Delay(host, millis) => write!(f, "delay n{host} by {millis} ms"),
            Self::Throttle(host, class, millis) => {
                write!(f, "throttle n{host} {} to one message every {millis} ms", connection(class))
            }
            Self::Ghost(host) => write!(f, "ghost on the ring of n{host}"),
            Self::Drop(host, class) => write!(f, "drop the next message of n{host} {}", connection(class)),
            Self::SetClock(host, millis) => write!(f, "clock of n{host} wrong by {millis} ms"),
            Self::Burst(host, count) => write!(f, "burst of {count} changes on n{host}"),
        }
    }
}
