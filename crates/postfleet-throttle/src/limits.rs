//! May a connection to (binding, domain, host) start, and if not, which limit said no?

use crate::reference::{Partition, part_of};
use crate::slots::{Path, PathError, Slots};
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::fmt;
use postfleet_types::{Monotonic, PrivateName};

/// Which connections a limit counts: through whom.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Through {
    /// Any binding.
    Any,
    /// One binding.
    Binding(String),
    /// The bindings of a group, together.
    Group(String),
}

/// Which connections a limit counts: to whom.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum To {
    /// Anybody.
    Any,
    /// A domain, or all that a regular expression between slashes matches, together.
    Domain(String),
    /// A host as the MX record names it, or all that a regular expression matches, together.
    Host(String),
}

/// One thing that limits count.
///
/// Its text names it on the bus and in displays: `global`, `binding:x`, `domain:example.com`,
/// `binding:x::domain:example.com`, `group:g::domain:example.com`, `host:mx.example.com`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LimitKey {
    /// Through whom.
    pub through: Through,
    /// To whom.
    pub to: To,
}

impl fmt::Display for LimitKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.through {
            Through::Any => {}
            Through::Binding(name) => write!(f, "binding:{name}")?,
            Through::Group(name) => write!(f, "group:{name}")?,
        }
        match (&self.through, &self.to) {
            (Through::Any, To::Any) => f.write_str("global"),
            (Through::Any, To::Domain(name)) => write!(f, "domain:{name}"),
            (Through::Any, To::Host(name)) => write!(f, "host:{name}"),
            (Through::Binding(_) | Through::Group(_), To::Any) => Ok(()),
            (Through::Binding(_) | Through::Group(_), To::Domain(name)) => write!(f, "::domain:{name}"),
            (Through::Binding(_) | Through::Group(_), To::Host(name)) => write!(f, "::host:{name}"),
        }
    }
}

/// A cluster limit that governs a connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limit {
    /// What it counts.
    pub key: LimitKey,
    /// How many it allows, at least 1.
    pub most: u64,
    /// The option that says so.
    pub option: &'static str,
    /// Where the option is written, such as `Domain:aol.com:`.
    pub scope: String,
    /// It is observed, and refuses nothing.
    pub shadow: bool,
}

impl Limit {
    /// A limit as an option has it; `None` for -1 and 0, which mean no limit.
    #[must_use]
    pub fn of_option(
        key: LimitKey,
        value: i64,
        option: &'static str,
        scope: &str,
        shadow: bool,
    ) -> Option<Self> {
        let most = u64::try_from(value).ok().filter(|most| *most > 0)?;
        Some(Self { key, most, option, scope: String::from(scope), shadow })
    }
}

/// Every cluster limit that governs a connection, ready to be asked.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Limits {
    all: Vec<(String, Limit)>,
    path: Path,
}

impl Limits {
    /// Limits in the order in which they are tested, and named when several say no.
    ///
    /// # Errors
    /// [`PathError`].
    pub fn new(limits: Vec<Limit>) -> Result<Self, PathError> {
        let all: Vec<(String, Limit)> =
            limits.into_iter().map(|limit| (limit.key.to_string(), limit)).collect();
        let enforced = all.iter().filter(|(_, limit)| !limit.shadow);
        let path = Path::new(enforced.map(|(key, limit)| (key.as_str(), limit.most)))?;
        Ok(Self { all, path })
    }

    /// What a slot is needed for.
    #[must_use]
    pub const fn path(&self) -> &Path {
        &self.path
    }
}

/// Open connections on a key, from the replicated counts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Open {
    /// Of all members; the own ones without delay.
    pub all: u64,
    /// Of this node.
    pub own: u64,
}

/// What decides.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Basis {
    /// Slots: exact.
    Slots,
    /// The bus is gone: the own connections, against the part of one member of so many.
    Alone {
        /// The policy.
        partition: Partition,
        /// Members of the fleet as it was.
        members: u64,
    },
    /// A member does not know slots (an upgrade is under way): the counts, which lag.
    Counts,
    /// The object that counts is not configured: the own connections, against the whole limit.
    Own,
}

/// Why not.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal<'a> {
    /// The limit that said no.
    pub limit: &'a Limit,
    /// What it counts now.
    pub count: u64,
    /// The limit in force, which is less than the option's on one side of a split fleet.
    pub in_force: u64,
    /// Who holds how many, most first. Of slots only.
    pub holders: Vec<(&'a PrivateName, u64)>,
    /// Nothing is full: the slot was asked for and has not come yet, or there was no demand.
    pub asked: bool,
}

impl Limits {
    /// Whether some of them only watch.
    #[must_use]
    pub fn has_shadows(&self) -> bool {
        self.all.iter().any(|(_, limit)| limit.shadow)
    }
}

/// The answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Decision<'a> {
    /// `None`: it may start. With slots, take one ([`Slots::open`]).
    pub refusal: Option<Refusal<'a>>,
    /// Limits in shadow mode that would have said no.
    pub shadowed: Vec<&'a Limit>,
}

/// Decides about one connection. Changes nothing.
pub fn decide<'a>(
    now: Monotonic,
    limits: &'a Limits,
    basis: Basis,
    slots: &'a Slots,
    open: impl Fn(&LimitKey) -> Open,
) -> Decision<'a> {
    let count = |limit: &Limit| {
        let open = open(&limit.key);
        match basis {
            Basis::Slots | Basis::Counts => open.all,
            Basis::Alone { .. } | Basis::Own => open.own,
        }
    };
    let in_force = |limit: &Limit| match basis {
        Basis::Alone { partition, members } => part_of(partition, limit.most, 1, members),
        Basis::Slots | Basis::Counts | Basis::Own => limit.most,
    };
    let (shadow, enforced): (Vec<&(String, Limit)>, Vec<_>) =
        limits.all.iter().partition(|(_, limit)| limit.shadow);
    let shadowed = shadow.into_iter().map(|(_, limit)| limit).filter(|limit| count(limit) >= in_force(limit));
    let shadowed = shadowed.collect();
    let refusal = if basis == Basis::Slots {
        (!slots.has_idle(now, &limits.path)).then(|| slot_refusal(&enforced, slots)).flatten()
    } else {
        enforced.iter().map(|(_, limit)| limit).find(|limit| count(limit) >= in_force(limit)).map(|limit| {
            Refusal {
                limit,
                count: count(limit),
                in_force: in_force(limit),
                holders: Vec::new(),
                asked: false,
            }
        })
    };
    Decision { refusal, shadowed }
}

/// Which of the limits no slot is free of; the first one when none is full.
fn slot_refusal<'a>(enforced: &[&'a (String, Limit)], slots: &'a Slots) -> Option<Refusal<'a>> {
    let pool = slots.pool();
    let key_of = |name: &str| pool.key_of(name).and_then(|id| Some((id, pool.key(id)?)));
    let full = enforced.iter().find(|(name, _)| key_of(name).is_some_and(|(_, key)| key.is_full()));
    let (name, limit) = full.or(enforced.first())?;
    let mut holders: Vec<(&PrivateName, u64)> = Vec::new();
    let mut refusal =
        Refusal { limit, count: 0, in_force: limit.most, holders: Vec::new(), asked: full.is_none() };
    if let Some((id, key)) = key_of(name) {
        refusal.count = key.owned;
        refusal.in_force = key.limit;
        for member in slots.fleet().order() {
            let owned = pool.owned_by(*member, id);
            if owned > 0
                && let Some(name) = slots.fleet().registry.name(*member)
            {
                holders.push((name, owned));
            }
        }
    }
    holders.sort_by_key(|(_, owned)| core::cmp::Reverse(*owned));
    refusal.holders = holders;
    Some(refusal)
}
