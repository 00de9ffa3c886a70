//! The one table of options: what each is called, takes, means, and where it may stand.
//!
//! The checks, the resolver, the typed readings and the reference page all read it.

mod cluster;
mod global;
mod index;
mod known;
mod listener;
mod logger;
mod module;
mod outbound;
mod scopes;
mod since;

use alloc::string::String;
use alloc::vec::Vec;

pub use scopes::{Body, InstanceName, Scope, ScopeRow, Service};
pub use since::Since;

pub(crate) use index::named;
pub(crate) use known::{accepted as known_accepted, known, lists as known_lists};

use crate::files::Role;

/// What an option takes.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Kind {
    /// Any text, further checked as said.
    Text(Check),
    /// `true false yes no on off enabled disabled 1 0`.
    Bool,
    /// A whole number of 32 bits.
    Int,
    /// A whole number of 64 bits, without sign.
    Uint64,
    /// A number of bytes or entries.
    Size,
    /// A decimal number with an optional fraction.
    Float,
    /// One to four octal digits.
    Perms,
    /// One of the words.
    Words(&'static [&'static str]),
    /// One of the words, or a bool word.
    WordsOrBool(&'static [&'static str]),
    /// One of the words, or a whole number.
    WordsOrInt(&'static [&'static str]),
    /// An address without port.
    Address,
    /// An address without port, a host name, or `*`.
    AddressOrHost,
    /// An address or a block.
    Cidr,
    /// `N` or `N/S`.
    Throttle,
    /// A regular expression.
    Regex,
    /// A dictionary.
    Dict(Keys),
}

/// What a text has to look like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Check {
    /// Like nothing in particular.
    Any,
    /// An absolute path.
    Path,
    /// A DNS name.
    HostName,
    /// A domain, with `*` only as first character.
    DomainPattern,
    /// 1 to 31 characters `[A-Za-z0-9_-]`.
    GroupName,
    /// 1 to 63 characters `[a-z0-9-]`.
    NodeName,
    /// 1 to 32 printable characters without blank.
    Label,
    /// A greeting: begins with `220`.
    Banner,
    /// An SMTP extension that can be switched on.
    Extension,
    /// A port, `host:port` or an absolute path.
    BusAddress,
    /// An address with port.
    SocketAddress,
    /// A word of a debug level, or a bit mask.
    DebugWord,
    /// `W,N`: N windows of W seconds.
    Monitor,
    /// Where log lines go.
    Destination,
    /// The path of gathered logs.
    LogTemplate,
    /// Text with the macros of policy rules.
    Macros,
    /// What a policy rule does.
    Action,
    /// A host or address, with or without port.
    Gateway,
    /// An element of `Routes`.
    Route,
    /// The terms of `cap_from_text`.
    Capabilities,
    /// The name of a limit, or `*`.
    LimitName,
}

/// Which keys a dictionary may have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Keys {
    /// Any.
    Any,
    /// Names of logs.
    Logs,
    /// `uri` (required), `realm`, `log_authentication`, `stored_cleartext`.
    Authentication,
    /// `uri` (required).
    Authorization,
    /// Node names with an address each.
    Peers,
}

/// What a number counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unit {
    /// Nothing, or things that the effect names.
    None,
    /// Seconds.
    Seconds,
    /// Bytes.
    Bytes,
    /// Per cent.
    Percent,
    /// Bits.
    Bits,
    /// Entries.
    Entries,
}

/// Which numbers are allowed.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Range {
    /// All that the kind has.
    Any,
    /// From the first to the second, both included.
    Whole(i64, i64),
    /// The first, or from the second to the third.
    WholeOr(i64, i64, i64),
    /// From the first to the second, both included.
    Real(f64, f64),
    /// The first, or from the second to the third.
    RealOr(f64, f64, f64),
}

/// The value of an option that nobody set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Default {
    /// None; the effect says what that means.
    Unset,
    /// As written here; vendor names in it are replaced unless `Compatibility = "ecelerity"`.
    Is(&'static str),
    /// One text of our own and one with `Compatibility = "ecelerity"`.
    Either(&'static str, &'static str),
    /// A list.
    List(&'static [&'static str]),
    /// A dictionary.
    Dict(&'static [(&'static str, &'static str)]),
    /// Found elsewhere, as described.
    From(&'static str),
}

/// The scopes a look-up walks, most specific first. `docs/configuration/language.md` draws them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Chain {
    /// Domain in binding in group, domain in binding, domain in group, binding, group, domain, global.
    D,
    /// Binding, group, global.
    B,
    /// Domain, global.
    DG,
    /// Domain in group, group, domain, global.
    BGD,
    /// Host in binding in group, host in group, host in binding, host.
    H,
    /// Host in binding, host, domain in binding, binding, domain, global.
    CM,
    /// Global.
    G,
    /// Peer in listen, peer, listen, listener, global.
    L,
    /// Pathway in group, pathway, group, global.
    P,
    /// The instance itself.
    M,
}

/// What the assignments of several scopes on the way of one look-up have to do with each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Combine {
    /// The first counts.
    First,
    /// Every one holds, as a limit of the scope it stands in.
    Every,
    /// Dictionaries unite, the narrower scope winning.
    Unite,
    /// The global one is the total of the node or the cluster; the binding's, else the group's, holds beside it
    /// for the binding.
    Total,
    /// One of a host bounds the exchanger; the first behind it bounds the domain.
    Exchanger,
}

/// Whether an option does something.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Status {
    /// It has the effect described.
    InForce,
    /// It is read, checked and resolved, and has no effect yet.
    Stored,
    /// It is read and checked for the sake of existing files, and has no effect.
    Accepted,
}

/// One option.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Row {
    /// The registered spelling.
    pub name: &'static str,
    /// Where it may be written.
    pub scopes: &'static [Scope],
    /// In which listeners `Listen`, `Peer` and the listener scopes have it; empty: in all.
    pub services: &'static [Service],
    /// What it takes.
    pub kind: Kind,
    /// Whether it takes a list.
    pub array: bool,
    /// What its numbers count.
    pub unit: Unit,
    /// Which numbers are allowed.
    pub range: Range,
    /// Its value when nobody set it.
    pub default: Default,
    /// How it is looked up.
    pub chain: Chain,
    /// What several assignments on the way have to do with each other.
    pub combine: Combine,
    /// Whether a change takes effect without a restart.
    pub dynamic: bool,
    /// Whether it does something.
    pub status: Status,
    /// Other spellings of its words.
    pub aliases: &'static [(&'static str, &'static str)],
    /// Words of the vendor that are known and not read.
    pub known: &'static [&'static str],
    /// What it does, in a line.
    pub effect: &'static str,
}

impl Row {
    /// Whether the option may be written in this scope.
    #[must_use]
    pub fn valid_in(&self, scope: Scope, service: Option<Service>) -> bool {
        self.scopes.contains(&scope)
            && service.is_none_or(|service| self.services.is_empty() || self.services.contains(&service))
    }

    /// Whether a look-up of this listener option ends at a global option of the same name.
    #[must_use]
    pub fn ends_at_global(&self) -> bool {
        self.chain == Chain::L
            && (self.services.contains(&Service::Esmtp) || self.name == "Policy_Count_Connects")
            && row(Scope::Global, None, self.name).is_some()
    }

    const fn new(name: &'static str, kind: Kind, default: Default, effect: &'static str) -> Self {
        Self {
            name,
            scopes: &[Scope::Global],
            services: &[],
            kind,
            array: false,
            unit: Unit::None,
            range: Range::Any,
            default,
            chain: Chain::G,
            combine: Combine::First,
            dynamic: true,
            status: Status::InForce,
            aliases: &[],
            known: &[],
            effect,
        }
    }

    const fn at(mut self, chain: Chain, scopes: &'static [Scope]) -> Self {
        self.chain = chain;
        self.scopes = scopes;
        self
    }

    const fn of(mut self, services: &'static [Service]) -> Self {
        self.services = services;
        self
    }

    const fn seconds(mut self) -> Self {
        self.unit = Unit::Seconds;
        self
    }

    const fn unit(mut self, unit: Unit) -> Self {
        self.unit = unit;
        self
    }

    const fn min(mut self, min: i64) -> Self {
        self.range = Range::Whole(min, i64::MAX);
        self
    }

    const fn range(mut self, range: Range) -> Self {
        self.range = range;
        self
    }

    const fn list(mut self) -> Self {
        self.array = true;
        self
    }

    const fn combine(mut self, combine: Combine) -> Self {
        self.combine = combine;
        self
    }

    const fn fixed(mut self) -> Self {
        self.dynamic = false;
        self
    }

    const fn stored(mut self) -> Self {
        self.status = Status::Stored;
        self
    }

    const fn accepted(mut self) -> Self {
        self.status = Status::Accepted;
        self
    }

    const fn known(mut self, words: &'static [&'static str]) -> Self {
        self.known = words;
        self
    }

    const fn also(mut self, aliases: &'static [(&'static str, &'static str)]) -> Self {
        self.aliases = aliases;
        self
    }
}

/// The kind of replicated object of this name, in its documented spelling.
pub(crate) fn object_type(text: &str) -> Option<&'static str> {
    cluster::TYPES.iter().copied().find(|word| word.eq_ignore_ascii_case(text))
}

/// The kinds of replicated objects.
pub(crate) const fn object_types() -> &'static [&'static str] {
    cluster::TYPES
}

/// The options of one part of the reference page.
pub(crate) struct Section {
    pub(crate) title: &'static str,
    pub(crate) intro: &'static str,
    rows: &'static [&'static [Row]],
}

impl Section {
    pub(crate) fn rows(&self) -> impl Iterator<Item = &'static Row> {
        self.rows.iter().copied().flatten()
    }
}

const fn section(title: &'static str, intro: &'static str, rows: &'static [&'static [Row]]) -> Section {
    Section { title, intro, rows }
}

const SECTIONS: &[Section] = &[
    section(
        "The account of the process",
        "Stanza `Security`. Two stanzas merge option by option; a later `Capabilities` replaces an earlier one.",
        &[global::SECURITY],
    ),
    section(
        "The whole node",
        "Written outside of every stanza; those with another look-up also in the stanzas of that chain.",
        &[global::GLOBAL],
    ),
    section(
        "Thread pools, debug flags, roles",
        "Stanzas `ThreadPool`, `Debug_Flags` and `Role`.",
        &[global::POOLS],
    ),
    section(
        "Limits of outbound connections and throttles",
        "Every limit that applies must have room. A throttle counts in the stanza that supplies it; a 0 there means no \
         limit and ends the look-up.",
        &[outbound::LIMITS],
    ),
    section("Routing and delivery", "", &[outbound::ROUTING]),
    section(
        "Retries and expiry",
        "Retry n waits `Retry_Interval` × 2ⁿ⁻¹, at most `Max_Retry_Interval`.",
        &[outbound::RETRY],
    ),
    section("Outbound sessions, TLS, addresses that move", "", &[outbound::SESSION]),
    section("Every listener", "In the listener's stanza and its `Listen`.", &[listener::COMMON]),
    section("Mail listeners", "In `ESMTP_Listener`, its `Listen` and `Peer`.", &[listener::ESMTP]),
    section("Console listeners", "In `Control_Listener`, its `Listen` and `Peer`.", &[listener::CONTROL]),
    section("Listeners for other nodes and bulk injection", "", &[listener::ECCLUSTER]),
    section(
        "Adapters",
        "In `Policy_Listener`, `Milter_Listener`, `API_Listener` and `Metrics_Listener`.",
        &[listener::ADAPTERS],
    ),
    section("The cluster", "Stanza `cluster`, on nodes only.", &[cluster::CLUSTER]),
    section(
        "Replicated objects",
        "Stanza `Replicate \"NAME\"` in `cluster`. The kind is `type`, else `class`, else the name. Nothing is shared \
         unless it is declared.",
        &[cluster::REPLICATE],
    ),
    section(
        "Interfaces",
        "Stanza `Topology \"BLOCK\"` in `cluster`; the longest prefix wins.",
        &[cluster::TOPOLOGY],
    ),
    section("The bus of earlier releases", "Stanzas `msgc_server` and `msgc_client`.", &[cluster::BUS]),
    section("Every module", "", &[module::COMMON]),
    section("Audit series", "Stanza `inbound_audit`.", &[module::AUDIT]),
    section("Data sources", "Stanza `Datasource \"NAME\"`.", &[module::DATASOURCE]),
    section(
        "Loggers",
        "Stanzas `ec_logger`, `bounce_logger` and `custom_logger`, each with a name.",
        &[logger::LOGGERS],
    ),
    section(
        "The manager",
        "Stanzas `Logs`, `Manager` and `Node`, on the manager only, and `as_logger`, which a node may have too. The block of \
         another manager is checked and not used.",
        &[logger::MANAGER],
    ),
    section("Scripts", "Stanzas `sieve`, `scriptlet` and `script`.", &[module::SCRIPTS]),
    section(
        "Policy rules",
        "Stanza `Policy_Rule \"NAME\"`, on nodes only; tried in text order.",
        &[module::RULES],
    ),
];

/// The parts of the reference page.
pub(crate) fn sections() -> impl Iterator<Item = &'static Section> {
    SECTIONS.iter()
}

/// Every option, in the order of the reference page.
pub fn rows() -> impl Iterator<Item = &'static Row> {
    SECTIONS.iter().flat_map(Section::rows)
}

/// The option of this name in this scope.
#[must_use]
pub fn row(scope: Scope, service: Option<Service>, name: &str) -> Option<&'static Row> {
    index::named(name).find(|row| row.valid_in(scope, service))
}

/// The scope of this name inside this one.
#[must_use]
pub fn child_scope(parent: Scope, service: Option<Service>, name: &str) -> Option<&'static ScopeRow> {
    scopes::ROWS.iter().find(|row| row.valid_inside(parent, service) && row.name.eq_ignore_ascii_case(name))
}

/// Every scope of this name, wherever it may stand.
pub(crate) fn scopes_named(name: &str) -> impl Iterator<Item = &'static ScopeRow> {
    scopes::ROWS.iter().filter(move |row| row.name.eq_ignore_ascii_case(name))
}

/// Every scope.
pub fn scope_rows() -> impl Iterator<Item = &'static ScopeRow> {
    scopes::ROWS.iter()
}

/// The names of the scopes in which an option of this name may be written, in alphabetical order.
pub(crate) fn valid_scopes(name: &str) -> Vec<&'static str> {
    let mut names: Vec<&'static str> =
        index::named(name).flat_map(|row| row.scopes.iter().map(|scope| scope.name())).collect();
    names.sort_unstable();
    names.dedup();
    names
}

/// The nearest name that may stand in the scope: at most two edits away, a swap of neighbours counting as one.
pub(crate) fn nearest(
    scope: Scope,
    service: Option<Service>,
    role: Role,
    name: &str,
) -> Option<&'static str> {
    let options = rows().filter(|row| row.valid_in(scope, service)).map(|row| row.name);
    let stanzas = scopes::ROWS
        .iter()
        .filter(|row| row.valid_inside(scope, service) && row.role.is_none_or(|only| only == role))
        .map(|row| row.name);
    nearest_of(name, options.chain(stanzas).chain(["include"]))
}

/// The candidate nearest to the text, if it is near at all.
pub(crate) fn nearest_of(text: &str, candidates: impl Iterator<Item = &'static str>) -> Option<&'static str> {
    nearest_name(text, candidates)
}

/// The same for names that a configuration gives.
pub(crate) fn nearest_name<'a>(text: &str, candidates: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    // Names are short; what is longer is not a slip of the pen, and the comparison is quadratic.
    if text.len() > 80 {
        return None;
    }
    let text = text.to_ascii_lowercase();
    candidates
        .filter_map(|candidate| {
            let distance = edits(&text, &candidate.to_ascii_lowercase());
            (distance <= 2 && distance < candidate.len()).then_some((distance, candidate))
        })
        .min()
        .map(|(_, candidate)| candidate)
}

/// Edit distance in which exchanging neighbours is one edit.
fn edits(left: &str, right: &str) -> usize {
    let left: Vec<char> = left.chars().collect();
    let right: Vec<char> = right.chars().collect();
    let mut before: Vec<usize> = Vec::new();
    let mut previous: Vec<usize> = (0..=right.len()).collect();
    for (i, a) in left.iter().enumerate() {
        let mut current: Vec<usize> = Vec::with_capacity(right.len() + 1);
        current.push(i + 1);
        for (j, b) in right.iter().enumerate() {
            let cell = |row: &[usize], at: usize| row.get(at).copied().unwrap_or(usize::MAX / 2);
            let mut best = cell(&previous, j) + usize::from(a != b);
            best = best.min(cell(&previous, j + 1) + 1).min(cell(&current, j) + 1);
            if i > 0 && j > 0 && left.get(i - 1) == Some(b) && right.get(j - 1) == Some(a) {
                best = best.min(cell(&before, j - 1) + 1);
            }
            current.push(best);
        }
        before = core::mem::replace(&mut previous, current);
    }
    previous.last().copied().unwrap_or(0)
}

/// A default with the vendor's names replaced by ours.
pub(crate) fn own_names(text: &str) -> String {
    text.replace("eccluster", "postfleet-manager")
        .replace("ecelerity", "postfleet")
        .replace("ecuser", "postfleet")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_has_one_row_in_a_scope() {
        for row in rows() {
            for scope in row.scopes {
                for service in Service::ALL {
                    let same = rows().filter(|other| {
                        other.name.eq_ignore_ascii_case(row.name) && other.valid_in(*scope, Some(service))
                    });
                    assert!(same.count() <= 1, "{} in {scope:?} of {service:?}", row.name);
                }
            }
        }
    }

    #[test]
    fn no_scope_has_a_stanza_and_an_option_of_one_name() {
        for scope in scope_rows() {
            for parent in scope.inside {
                assert_eq!(row(*parent, None, scope.name).map(|row| row.name), None, "{}", scope.name);
            }
        }
    }

    #[test]
    fn unimplemented_names_are_on_no_other_list() {
        for row in rows() {
            assert!(!known(row.name), "{}", row.name);
        }
        for row in scope_rows() {
            assert!(!known(row.name), "{}", row.name);
        }
    }

    #[test]
    fn near_names_are_found() {
        let check = |name, found| {
            assert_eq!(nearest(Scope::Domain, None, Role::Node, name), found, "{name}");
        };
        check("Max_Outbound_Connection", Some("Max_Outbound_Connections"));
        check("retry_intreval", Some("Retry_Interval"));
        check("something_else", None);
        assert_eq!(nearest(Scope::Global, None, Role::Node, "clutser"), Some("cluster"));
        assert_eq!(edits("ab", "ba"), 1);
        assert_eq!(edits("", "abc"), 3);
    }
}
