//! What a node really has open, and every state that its columns have been in.

use crate::limits::{CACHE, Limits, RATES, TABLES};
use crate::plan::Work;
use alloc::collections::BTreeMap;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use alloc::{format, vec};
use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use postfleet_cidr::RowRange;
use postfleet_replica::{ColumnPhase, Counted, ObjectKind, ObjectSpec, Of, Outbound, ReadError, Replica};
use postfleet_types::{Monotonic, Random};

/// The objects of a simulated node, in the order of their configuration.
pub(crate) const OBJECTS: [ObjectKind; 5] = [
    ObjectKind::InboundCidr,
    ObjectKind::OutboundCidr,
    ObjectKind::OutboundDomains,
    ObjectKind::OutboundBindingDomains,
    ObjectKind::OutboundHosts,
];

const FULL: RowRange = RowRange { v4: Some(32..=32), v6: Some(128..=128) };

pub(crate) fn specs(work: Work) -> Vec<ObjectSpec> {
    let rates = (work == Work::All).then_some([RATES, ObjectKind::Obtc]).into_iter().flatten();
    let mut cache = ObjectSpec::new(CACHE, ObjectKind::Cache);
    cache.snapshot = true;
    let cache = (work == Work::All).then_some(cache);
    OBJECTS.into_iter().chain(TABLES).chain(rates).map(ObjectSpec::of).chain(cache).collect()
}

/// A connection that is open.
#[derive(Clone, Debug)]
enum Connection {
    Inbound(IpAddr),
    Outbound { binding: String, group: Option<String>, domain: String, host: String, address: IpAddr },
}

impl Connection {
    /// Few clients and destinations, so that members share keys.
    fn random(random: &mut Random) -> Self {
        let key = u8::try_from(random.below(24)).unwrap_or(0);
        let address: IpAddr = if key.is_multiple_of(3) {
            Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, u16::from(key), 1).into()
        } else {
            Ipv4Addr::new(10, 0, key % 3, key).into()
        };
        if random.below(2) == 0 {
            return Self::Inbound(address);
        }
        let binding = random.below(3);
        let domain = format!("d{}.example", random.below(7));
        Self::Outbound {
            binding: format!("b{binding}"),
            group: (binding == 1).then(|| String::from("cust")),
            host: format!("mx.{domain}"),
            domain,
            address,
        }
    }

    fn outbound(&self) -> Option<Outbound<'_>> {
        let Self::Outbound { binding, group, domain, host, address } = self else { return None };
        Some(Outbound { binding, group: group.as_deref(), domain, host: Some(host), address: *address })
    }

    fn keys(&self, kind: ObjectKind) -> Vec<String> {
        match (self, kind) {
            (Self::Inbound(address), ObjectKind::InboundCidr)
            | (Self::Outbound { address, .. }, ObjectKind::OutboundCidr) => vec![address.to_string()],
            (Self::Outbound { domain, .. }, ObjectKind::OutboundDomains) => vec![domain.clone()],
            (Self::Outbound { host, .. }, ObjectKind::OutboundHosts) => vec![host.clone()],
            (Self::Outbound { binding, group, domain, .. }, ObjectKind::OutboundBindingDomains) => {
                let mut keys =
                    vec![format!("{binding}::{domain}"), format!("{binding}::*"), format!("*::{domain}")];
                keys.extend(group.as_ref().map(|group| format!("{group}/*::{domain}")));
                keys
            }
            (Self::Inbound(_) | Self::Outbound { .. }, _) => Vec::new(),
        }
    }
}

/// Which state a column is in: a sum over its keys, so that one change moves it in constant time. Two states with
/// one fingerprint are as unlikely as a repeated random 64-bit number.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Fingerprint(u64);

impl Fingerprint {
    fn add(&mut self, key: &str, count: u64) {
        let mut hash = key.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
            (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
        });
        hash = Random::seeded(hash).next_u64();
        self.0 = self.0.wrapping_add(hash.wrapping_mul(count));
    }
}

/// Rows of a column, by key.
pub(crate) type Rows = BTreeMap<String, u64>;

/// The rows of full addresses, or of names, that a replica shows.
pub(crate) fn rows(replica: &Replica, kind: ObjectKind, of: Of<'_>) -> Result<Rows, ReadError> {
    let object = replica.object(kind.word())?;
    let addresses = object.address_rows(of, &FULL)?;
    let addresses = addresses.into_iter().map(|row| (row.prefix.address().to_string(), row.count));
    // An object has rows of one of these.
    Ok(addresses.chain(object.name_rows(of)?).collect())
}

/// The fingerprint of what a replica shows.
pub(crate) fn fingerprint(replica: &Replica, kind: ObjectKind, of: Of<'_>) -> Result<Fingerprint, ReadError> {
    let mut print = Fingerprint::default();
    for (key, count) in &rows(replica, kind, of)? {
        print.add(key, *count);
    }
    Ok(print)
}

/// The total of a column that a replica holds, and how far it is.
pub(crate) fn totals(replica: &Replica, kind: ObjectKind) -> Vec<(String, ColumnPhase, u64)> {
    let Ok(object) = replica.object(kind.word()) else { return Vec::new() };
    let text =
        |column: postfleet_replica::ColumnStatus| (column.member.to_string(), column.phase, column.count);
    object.columns_total().into_iter().map(text).collect()
}

/// A node's open connections.
#[derive(Debug, Default)]
pub(crate) struct Truth {
    open: Vec<(Connection, Counted)>,
    /// For each object, in order, every state it has been in; the last is the present one.
    history: [Vec<Fingerprint>; OBJECTS.len()],
    totals: [u64; OBJECTS.len()],
    pub(crate) limits: Limits,
}

impl Truth {
    pub(crate) fn new(work: Work) -> Self {
        let mut truth = Self { limits: Limits::new(work), ..Self::default() };
        for states in &mut truth.history {
            states.push(Fingerprint::default());
        }
        truth
    }

    pub(crate) const fn open(&self) -> usize {
        self.open.len()
    }

    /// Opens a connection.
    pub(crate) fn connect(&mut self, replica: &mut Replica, now: Monotonic, random: &mut Random) {
        let connection = Connection::random(random);
        let counted = match (&connection, connection.outbound()) {
            (_, Some(outbound)) => replica.outbound_opened(now, &outbound),
            (Connection::Inbound(client), _) => replica.inbound_opened(now, *client),
            (Connection::Outbound { .. }, None) => return,
        };
        self.note(&connection, 1);
        self.open.push((connection, counted));
    }

    /// Closes one of them.
    pub(crate) fn close(&mut self, replica: &mut Replica, now: Monotonic, random: &mut Random) {
        if self.open.is_empty() {
            return;
        }
        let which = usize::try_from(random.below(self.open.len() as u64)).unwrap_or(0);
        let (connection, counted) = self.open.swap_remove(which);
        match (&connection, connection.outbound()) {
            (_, Some(outbound)) => replica.outbound_closed(now, &outbound, counted),
            (Connection::Inbound(client), _) => replica.inbound_closed(now, *client, counted),
            (Connection::Outbound { .. }, None) => {}
        }
        self.note(&connection, u64::MAX);
    }

    /// Adds to or, with the largest number, takes from every state.
    fn note(&mut self, connection: &Connection, by: u64) {
        for ((kind, states), total) in OBJECTS.into_iter().zip(&mut self.history).zip(&mut self.totals) {
            let keys = connection.keys(kind);
            if keys.is_empty() {
                continue;
            }
            let mut print = states.last().copied().unwrap_or_default();
            for key in keys {
                print.add(&key, by);
                *total = total.wrapping_add(by);
            }
            states.push(print);
        }
    }

    pub(crate) fn total(&self, object: usize) -> u64 {
        self.totals.get(object).copied().unwrap_or(0)
    }

    pub(crate) fn present(&self, object: usize) -> Fingerprint {
        self.history.get(object).and_then(|states| states.last()).copied().unwrap_or_default()
    }

    /// The first place at or after `from` at which an object was in this state.
    pub(crate) fn find(&self, object: usize, state: Fingerprint, from: usize) -> Option<usize> {
        let states = self.history.get(object)?;
        states.get(from..)?.iter().position(|past| *past == state).map(|at| from + at)
    }

    /// Whether an object was in this state before that place.
    pub(crate) fn had_before(&self, object: usize, state: Fingerprint, place: usize) -> bool {
        self.history.get(object).is_some_and(|states| states.iter().take(place).any(|past| *past == state))
    }

    pub(crate) fn rows(&self, kind: ObjectKind) -> Rows {
        let mut rows = Rows::new();
        for (connection, _) in &self.open {
            for key in connection.keys(kind) {
                *rows.entry(key).or_insert(0) += 1;
            }
        }
        rows
    }
}
