//! The fleet as consoles see it.

use postfleet_bus::event::{BusStatus, Member};
use postfleet_bus::membership::Counters;
use postfleet_console::{
    Code, Failure, SharedKind, SharedList, SharedObject, SharedRows, SharedShow, SharedView, SharedWhy,
    WhyGone, WhyGrant, WhyMember,
};
use postfleet_replica::{ObjectSpec, Of, ReadError, Replica, Rows, Structure};
use postfleet_types::{Monotonic, NodeName, PrivateName, ViewId};
use std::collections::BTreeMap;
use std::time::Duration;

/// One bus connection, as of its last event.
#[derive(Clone, Debug, Default)]
pub(crate) struct ConnectionState {
    pub(crate) connected: bool,
    pub(crate) view: Option<ViewId>,
    pub(crate) leader: Option<NodeName>,
    /// How long a silent host stays in the view; none where that cannot happen.
    pub(crate) detection: Option<Duration>,
    pub(crate) members: Vec<ShownMember>,
    /// Of the connection that is up.
    pub(crate) status: Option<BusStatus>,
    /// Since the start of the node, all connections of the class together.
    pub(crate) counters: Counters,
}

/// A member, with what its heartbeats say.
#[derive(Clone, Debug)]
pub(crate) struct ShownMember {
    pub(crate) member: Member,
    pub(crate) clock_offset_ms: Option<i64>,
    pub(crate) heartbeat_at: Option<Monotonic>,
}

/// A `Replicate` stanza: what the replica needs, and what only the list shows.
#[derive(Clone, Debug)]
pub(crate) struct ConfiguredObject {
    pub(crate) spec: ObjectSpec,
    pub(crate) listed: Listed,
}

/// What machine-readable lists say of a stanza.
#[derive(Clone, Debug, Default)]
pub(crate) struct Listed {
    pub(crate) type_name: Option<String>,
    pub(crate) class: Option<String>,
    pub(crate) parameters: Vec<String>,
}

pub(super) fn list(replica: &Replica, listed: &BTreeMap<String, Listed>) -> SharedList {
    let objects = replica
        .list()
        .into_iter()
        .map(|row| {
            let stanza = listed.get(&row.name).cloned().unwrap_or_default();
            SharedObject {
                name: row.name,
                kind: kind(row.structure),
                snapshots: row.snapped,
                type_name: stanza.type_name,
                class: stanza.class,
                parameters: stanza.parameters,
            }
        })
        .collect();
    SharedList { objects }
}

/// Whether there is such an object.
pub(super) fn known(replica: &Replica, typed: &str) -> Result<(), Failure> {
    replica.object(typed).map(|_| ()).map_err(|_| Failure::unknown_object(typed))
}

pub(super) fn show(
    replica: &Replica,
    now: Monotonic,
    typed: &str,
    from: Option<&str>,
) -> Result<SharedShow, Failure> {
    let node = from.map(str::to_ascii_lowercase);
    let of = node.as_deref().map_or(Of::Global, Of::Node);
    let cache = replica.object(typed).is_ok_and(|object| object.structure() == Structure::Cache);
    let show = if cache { replica.show_cache(now, typed, of) } else { replica.show(typed, of) };
    let show = show.map_err(|error| match error {
        ReadError::UnknownObject(_) => Failure::unknown_object(typed),
        ReadError::NoView { .. } => Failure::no_view(typed, from.unwrap_or_default()),
        ReadError::NoKey { key, .. } => Failure::no_such_shared_key(typed, &key),
    })?;
    let object = replica.object(typed).map(|object| object.name().to_owned());
    Ok(SharedShow {
        typed: typed.to_owned(),
        object: object.unwrap_or_else(|_| typed.to_owned()),
        kind: kind(show.structure),
        snapped: show.snapped,
        view: match show.view.parse::<PrivateName>() {
            Ok(name) => SharedView::Node { node: name.node().to_owned(), private_name: show.view },
            Err(_) => SharedView::Global,
        },
        missing: show.missing.iter().map(ToString::to_string).collect(),
        rows: match show.rows {
            Rows::Addresses(rows) => {
                SharedRows::Cidr(rows.into_iter().map(|row| (row.prefix, row.count)).collect())
            }
            Rows::Names(rows) => SharedRows::Gauge(rows),
            Rows::Pairs(rows) => SharedRows::Cache(
                rows.into_iter()
                    .map(|(key, left)| {
                        let seconds = |left: Duration| left.as_millis().div_ceil(1000);
                        (key_text(&key), left.map(|left| u64::try_from(seconds(left)).unwrap_or(u64::MAX)))
                    })
                    .collect(),
            ),
            Rows::Throttles(rows) => SharedRows::Throttles(
                rows.into_iter().map(|(name, used, rate)| (name, used, rate.to_string())).collect(),
            ),
            Rows::Slots(rows) => SharedRows::Slots(rows),
            // Kinds that are listed and not kept yet have nothing to show.
            Rows::None => SharedRows::Gauge(Vec::new()),
        },
    })
}

/// The key of a pair as people read it: of an answer, what was asked.
fn key_text(key: &[u8]) -> String {
    let text = postfleet_datasource::asked(key).unwrap_or_else(|| bytes_text(key));
    // A row is a line.
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// Bytes as text; those that are no UTF-8, and control characters, as `\\xNN`.
pub(crate) fn bytes_text(bytes: &[u8]) -> String {
    let mut text = String::new();
    for chunk in bytes.utf8_chunks() {
        for c in chunk.valid().chars() {
            match c {
                '\\' => text.push_str("\\\\"),
                c if c.is_control() => text.push_str(&format!("\\x{:02x}", u32::from(c))),
                c => text.push(c),
            }
        }
        for byte in chunk.invalid() {
            text.push_str(&format!("\\x{byte:02x}"));
        }
    }
    text
}

pub(super) fn why(replica: &Replica, now: Monotonic, typed: &str, key: &str) -> Result<SharedWhy, Failure> {
    if replica.cache(typed).is_some() {
        let text = format!(
            "'{typed}' is a cache: all nodes have the same pairs; 'cluster shared show {typed}' lists them"
        );
        return Err(Failure::error(Code::NoSuchKey, text));
    }
    let why = replica.why(now, typed, key).map_err(|error| match error {
        ReadError::UnknownObject(_) => Failure::unknown_object(typed),
        ReadError::NoView { node, .. } => Failure::no_view(typed, &node),
        ReadError::NoKey { .. } => Failure::no_such_shared_key(typed, key),
    })?;
    let object = replica.object(typed).map(|object| (object.name().to_owned(), object.structure()));
    let (object, structure) = object.map_err(|_| Failure::unknown_object(typed))?;
    let counts = matches!(structure, Structure::CidrTree | Structure::GaugeTable | Structure::Metrics);
    if counts && why.value == 0 {
        return Err(Failure::no_such_shared_key(typed, key));
    }
    let node = |name: &PrivateName| name.node().to_owned();
    let rate = why.rate.map(|rate| rate.to_string());
    Ok(SharedWhy {
        typed: typed.to_owned(),
        object,
        key: key.to_owned(),
        kind: kind(structure),
        value: why.value,
        limit: why.limit,
        rate,
        source: None,
        in_force: why.in_force,
        part: why.part,
        shadow: why.shadow,
        members: why
            .members
            .iter()
            .map(|part| WhyMember {
                node: node(&part.member),
                private_name: part.member.to_string(),
                used: part.used,
                held: part.held,
                wanted: part.wanted,
                waiting: part.waiting,
                seen: part.seen,
            })
            .collect(),
        gone: why
            .gone
            .iter()
            .map(|gone| WhyGone { node: node(&gone.member), units: gone.units, free_in: gone.free_in })
            .collect(),
        grants: why
            .grants
            .iter()
            .map(|grant| WhyGrant { node: node(&grant.member), units: grant.units, ago: grant.ago })
            .collect(),
        awaited: why.awaited.iter().map(node).collect(),
        cut_off: why.cut_off,
    })
}

const fn kind(structure: Structure) -> SharedKind {
    match structure {
        Structure::CidrTree => SharedKind::CidrTree,
        Structure::GaugeTable => SharedKind::GaugeTable,
        Structure::ThrottleTable => SharedKind::ThrottleTable,
        Structure::SlotTable => SharedKind::SlotTable,
        Structure::Metrics => SharedKind::Metrics,
        Structure::Cache => SharedKind::Cache,
    }
}
