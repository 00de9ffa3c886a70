//! Bodies of `metrics` objects: sections of (tag, length, content). Layout: docs/formats/replication.md, section 3.
//!
//! Unknown tags are skipped, and so is what follows the known part of a section that is no list.

use crate::entries::{CountKey, SectionEncoder};
use alloc::boxed::Box;
use alloc::string::String;
use alloc::vec::Vec;
use core::net::IpAddr;
use core::time::Duration;
use postfleet_cache::GaugeLimits;
use postfleet_series::{Key, Monitor, SeriesKind};
use postfleet_types::{PrivateName, Reader, WireError, Writer};

/// The longest name of a series or a gauge cache, in bytes.
pub(crate) const NAME_BYTES_MAX: usize = 255;

/// More than one entry takes.
const ENTRY_BYTES_MAX: usize = crate::entries::KEY_BYTES_MAX + 32;

const WINDOW: u8 = 1;
const GAUGES: u8 = 2;
const REMOVE: u8 = 3;
const RESTATE: u8 = 4;
const REMOVE_GAUGE: u8 = 5;
const RESTATE_GAUGE: u8 = 6;
const REPLACES: u8 = 7;

/// Which series is meant: name and windows tell series apart, the kind says what it counts by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct SeriesId<'a> {
    /// Its name, 1 to 255 bytes.
    pub name: &'a str,
    /// What it counts by.
    pub kind: SeriesKind,
    /// Its windows.
    pub monitor: Monitor,
}

/// As [`SeriesId`], kept.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct OwnedId {
    pub(crate) name: Box<str>,
    pub(crate) monitor: Monitor,
    pub(crate) kind: SeriesKind,
}

impl OwnedId {
    pub(crate) fn id(&self) -> SeriesId<'_> {
        SeriesId { name: &self.name, kind: self.kind, monitor: self.monitor }
    }
}

impl From<SeriesId<'_>> for OwnedId {
    fn from(id: SeriesId<'_>) -> Self {
        Self { name: id.name.into(), monitor: id.monitor, kind: id.kind }
    }
}

/// A key that is kept.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum OwnedKey {
    Address(IpAddr),
    Text(Box<str>),
}

impl OwnedKey {
    pub(crate) fn key(&self) -> Key<'_> {
        match self {
            Self::Address(address) => Key::Address(*address),
            Self::Text(text) => Key::Text(text),
        }
    }
}

impl From<Key<'_>> for OwnedKey {
    fn from(key: Key<'_>) -> Self {
        match key {
            Key::Address(address) => Self::Address(postfleet_types::normalised(address)),
            Key::Text(text) => Self::Text(text.into()),
        }
    }
}

/// Whether a name may travel.
pub(crate) const fn name_fits(name: &str) -> bool {
    !name.is_empty() && name.len() <= NAME_BYTES_MAX
}

/// A part of a body.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Section<'a> {
    /// Counts of one window.
    Window { id: SeriesId<'a>, index: u64, entries: &'a [u8] },
    /// Counts of a gauge cache.
    Gauges { name: &'a str, limits: GaugeLimits, entries: &'a [u8] },
    /// A key goes from all columns of a series.
    Remove { id: SeriesId<'a>, key: OwnedKey },
    /// What the sender's column has for a key from here on, by window.
    Restate { id: SeriesId<'a>, key: OwnedKey, cells: Vec<(u64, i64)> },
    /// A key goes from all columns of a gauge cache.
    RemoveGauge { name: &'a str, key: &'a str },
    /// What the sender's column has for a key of a gauge cache from here on.
    RestateGauge { name: &'a str, key: &'a str, value: i64 },
    /// The sender's column of a series goes on where that of another member ended.
    Replaces { id: SeriesId<'a>, member: PrivateName },
}

const fn kind_code(kind: SeriesKind) -> u8 {
    match kind {
        SeriesKind::Cidr => 1,
        SeriesKind::CidrIpv6 => 2,
        SeriesKind::Clients => 3,
        SeriesKind::Text => 4,
    }
}

fn write_id(writer: &mut Writer, id: SeriesId<'_>) {
    writer.text(id.name).u8(kind_code(id.kind));
    writer.varint(id.monitor.interval().into()).varint(id.monitor.number().into());
}

fn read_name<'a>(reader: &mut Reader<'a>) -> Result<&'a str, WireError> {
    let name = reader.text()?;
    if name_fits(name) { Ok(name) } else { Err(reader.invalid("name of a series")) }
}

fn read_id<'a>(reader: &mut Reader<'a>) -> Result<SeriesId<'a>, WireError> {
    let name = read_name(reader)?;
    let code = reader.u8()?;
    let kind = [SeriesKind::Cidr, SeriesKind::CidrIpv6, SeriesKind::Clients, SeriesKind::Text]
        .into_iter()
        .find(|kind| kind_code(*kind) == code)
        .ok_or_else(|| reader.invalid("type of a series"))?;
    let (interval, number) = (reader.varint()?, reader.varint()?);
    let monitor = u32::try_from(interval)
        .ok()
        .zip(u16::try_from(number).ok())
        .and_then(|(interval, number)| Monitor::new(interval, number).ok())
        .ok_or_else(|| reader.invalid("windows of a series"))?;
    Ok(SeriesId { name, kind, monitor })
}

fn write_key(writer: &mut Writer, key: &OwnedKey) {
    match key {
        OwnedKey::Address(IpAddr::V4(v4)) => writer.bytes(&v4.octets()),
        OwnedKey::Address(IpAddr::V6(v6)) => writer.bytes(&v6.octets()),
        OwnedKey::Text(text) => writer.text(text),
    };
}

fn read_key(reader: &mut Reader<'_>, kind: SeriesKind) -> Result<OwnedKey, WireError> {
    if kind == SeriesKind::Text {
        let text = reader.text()?;
        return if text.fits() { Ok(OwnedKey::Text(text.into())) } else { Err(reader.invalid("key")) };
    }
    let bytes = reader.bytes()?;
    let address = if let Ok(v4) = <[u8; 4]>::try_from(bytes) {
        IpAddr::from(v4)
    } else if let Ok(v6) = <[u8; 16]>::try_from(bytes) {
        IpAddr::from(v6)
    } else {
        return Err(reader.invalid("key"));
    };
    Ok(Key::Address(address).into())
}

fn number(reader: &mut Reader<'_>) -> Result<i64, WireError> {
    let number = reader.signed_varint()?;
    if number.unsigned_abs() > crate::entries::NUMBER_MAX.unsigned_abs() {
        return Err(reader.invalid("number"));
    }
    Ok(number)
}

fn limits(reader: &mut Reader<'_>) -> Result<GaugeLimits, WireError> {
    let keys_max = usize::try_from(reader.varint()?).unwrap_or(usize::MAX);
    let millis = reader.varint()?;
    Ok(GaugeLimits { keys_max, ttl: (millis > 0).then(|| Duration::from_millis(millis)) })
}

/// Reads a body and hands over every section in order. Stops at the first error, the caller's included.
pub(crate) fn decode<'a, E: From<WireError>>(
    body: &'a [u8],
    mut take: impl FnMut(Section<'a>) -> Result<(), E>,
) -> Result<(), E> {
    let mut body = Reader::new(body);
    while !body.rest().is_empty() {
        let tag = body.u8()?;
        let mut reader = Reader::new(body.bytes()?);
        let section = match tag {
            WINDOW => {
                let (id, index) = (read_id(&mut reader)?, reader.varint()?);
                Section::Window { id, index, entries: reader.rest() }
            }
            GAUGES => {
                let (name, limits) = (read_name(&mut reader)?, limits(&mut reader)?);
                Section::Gauges { name, limits, entries: reader.rest() }
            }
            REMOVE => {
                let id = read_id(&mut reader)?;
                Section::Remove { id, key: read_key(&mut reader, id.kind)? }
            }
            RESTATE => {
                let id = read_id(&mut reader)?;
                let key = read_key(&mut reader, id.kind)?;
                let mut cells = Vec::new();
                while !reader.rest().is_empty() {
                    cells.push((reader.varint()?, number(&mut reader)?));
                }
                Section::Restate { id, key, cells }
            }
            REMOVE_GAUGE => Section::RemoveGauge { name: read_name(&mut reader)?, key: reader.text()? },
            RESTATE_GAUGE => Section::RestateGauge {
                name: read_name(&mut reader)?,
                key: reader.text()?,
                value: number(&mut reader)?,
            },
            REPLACES => {
                let id = read_id(&mut reader)?;
                let member = reader.text()?.parse().map_err(|_| reader.invalid("private name"))?;
                Section::Replaces { id, member }
            }
            _ => continue,
        };
        take(section)?;
    }
    Ok(())
}

/// Hands over the entries of a window.
pub(crate) fn decode_window<E: From<WireError>>(
    kind: SeriesKind,
    entries: &[u8],
    mut take: impl FnMut(Key<'_>, i64) -> Result<(), E>,
) -> Result<(), E> {
    match kind {
        SeriesKind::Text => str::decode(entries, |key, number| take(Key::Text(key), number)),
        SeriesKind::Cidr | SeriesKind::CidrIpv6 | SeriesKind::Clients => {
            IpAddr::decode(entries, |key, number| take(Key::Address(*key), number))
        }
    }
}

/// A list being written.
enum List {
    Addresses(<IpAddr as CountKey>::Encoder),
    Texts(<str as CountKey>::Encoder),
}

/// What the list belongs to.
struct Head {
    tag: u8,
    bytes: Vec<u8>,
    addresses: bool,
}

/// Writes bodies of at most about `limit` bytes (exceeded only by a single section that is longer). The keys of a
/// list arrive in strictly ascending order.
pub(crate) struct Encoder {
    limit: usize,
    body: Writer,
    head: Option<Head>,
    list: List,
    bodies: Vec<Vec<u8>>,
}

impl Encoder {
    pub(crate) fn new(limit: usize) -> Self {
        Self {
            limit,
            body: Writer::new(),
            head: None,
            list: List::Texts(Default::default()),
            bodies: Vec::new(),
        }
    }

    fn section(&mut self, tag: u8, content: &[u8]) {
        if !self.body.is_empty() && self.body.len() + content.len() + 8 > self.limit {
            self.bodies.push(core::mem::take(&mut self.body).finish());
        }
        self.body.u8(tag).bytes(content);
    }

    fn list_len(&self) -> usize {
        match &self.list {
            List::Addresses(list) => list.len(),
            List::Texts(list) => list.len(),
        }
    }

    /// Ends the list: what has been pushed becomes a section.
    fn close_list(&mut self) {
        if self.list_len() > 0
            && let Some(head) = &self.head
        {
            let list = match core::mem::replace(&mut self.list, empty_list(head.addresses)) {
                List::Addresses(list) => list.finish(),
                List::Texts(list) => list.finish(),
            };
            let mut content = head.bytes.clone();
            content.extend_from_slice(&list);
            let tag = head.tag;
            self.section(tag, &content);
        }
    }

    fn open_list(&mut self, tag: u8, head: Writer, addresses: bool) {
        self.close_list();
        self.list = empty_list(addresses);
        self.head = Some(Head { tag, bytes: head.finish(), addresses });
    }

    /// Counts of one window follow.
    pub(crate) fn window(&mut self, id: SeriesId<'_>, index: u64) {
        let mut head = Writer::new();
        write_id(&mut head, id);
        head.varint(index);
        self.open_list(WINDOW, head, id.kind != SeriesKind::Text);
    }

    /// Counts of a gauge cache follow.
    pub(crate) fn gauges(&mut self, name: &str, limits: GaugeLimits) {
        let mut head = Writer::new();
        let millis = limits.ttl.map_or(0, |ttl| u64::try_from(ttl.as_millis()).unwrap_or(u64::MAX).max(1));
        head.text(name).count(limits.keys_max).varint(millis);
        self.open_list(GAUGES, head, false);
    }

    /// An entry of the list that was opened. One of the wrong kind, one of 0, and a key that may not travel are left out.
    pub(crate) fn push(&mut self, key: Key<'_>, number: i64) {
        if number == 0 {
            return;
        }
        let head = self.head.as_ref().map_or(0, |head| head.bytes.len());
        if self.list_len() > 0
            && self.body.len() + head + self.list_len() + ENTRY_BYTES_MAX + 8
                > self.limit.max(2 * ENTRY_BYTES_MAX)
        {
            self.close_list();
        }
        match (&mut self.list, key) {
            (List::Addresses(list), Key::Address(address)) => list.push(&address, number),
            (List::Texts(list), Key::Text(text)) if text.fits() => list.push(text, number),
            (List::Addresses(_) | List::Texts(_), _) => {}
        }
    }

    /// Adds a section that is no list.
    pub(crate) fn operation(&mut self, section: &Section<'_>) {
        self.close_list();
        self.head = None;
        let mut content = Writer::new();
        let tag = match section {
            Section::Window { .. } | Section::Gauges { .. } => return,
            Section::Remove { id, key } => {
                write_id(&mut content, *id);
                write_key(&mut content, key);
                REMOVE
            }
            Section::Restate { id, key, cells } => {
                write_id(&mut content, *id);
                write_key(&mut content, key);
                for (index, count) in cells {
                    content.varint(*index).signed_varint(*count);
                }
                RESTATE
            }
            Section::RemoveGauge { name, key } => {
                content.text(name).text(key);
                REMOVE_GAUGE
            }
            Section::RestateGauge { name, key, value } => {
                content.text(name).text(key).signed_varint(*value);
                RESTATE_GAUGE
            }
            Section::Replaces { id, member } => {
                write_id(&mut content, *id);
                content.text(member.as_str());
                REPLACES
            }
        };
        self.section(tag, &content.finish());
    }

    pub(crate) fn finish(mut self) -> Vec<Vec<u8>> {
        self.close_list();
        if !self.body.is_empty() {
            self.bodies.push(self.body.finish());
        }
        self.bodies
    }
}

fn empty_list(addresses: bool) -> List {
    if addresses { List::Addresses(Default::default()) } else { List::Texts(Default::default()) }
}

/// Reads a body to its last entry: for fuzzing. How many sections and entries there were.
pub(crate) fn tally(body: &[u8]) -> Result<String, WireError> {
    let (mut sections, mut entries) = (0usize, 0usize);
    decode::<WireError>(body, |section| {
        sections += 1;
        match section {
            Section::Window { id, entries: list, .. } => decode_window::<WireError>(id.kind, list, |_, _| {
                entries += 1;
                Ok(())
            }),
            Section::Gauges { entries: list, .. } => str::decode::<WireError>(list, |_, _| {
                entries += 1;
                Ok(())
            }),
            Section::Remove { .. }
            | Section::Restate { .. }
            | Section::RemoveGauge { .. }
            | Section::RestateGauge { .. }
            | Section::Replaces { .. } => Ok(()),
        }
    })?;
    Ok(alloc::format!("{sections} sections, {entries} entries"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeMap;

    fn id(name: &str, kind: SeriesKind) -> SeriesId<'_> {
        SeriesId { name, kind, monitor: Monitor::new(300, 6).unwrap() }
    }

    #[test]
    fn operations_come_back() {
        let v6: IpAddr = "2001:db8::1".parse().unwrap();
        let sections = [
            Section::Remove {
                id: id("spam", SeriesKind::Cidr),
                key: OwnedKey::Address([192, 0, 2, 1].into()),
            },
            Section::Restate {
                id: id("spam", SeriesKind::CidrIpv6),
                key: OwnedKey::Address(v6),
                cells: vec![(4, -3), (5, 7)],
            },
            Section::RemoveGauge { name: "g", key: "a key" },
            Section::RestateGauge { name: "g", key: "k", value: 0 },
            Section::Replaces { id: id("t", SeriesKind::Text), member: "#ec1-00042#mx1".parse().unwrap() },
        ];
        let mut encoder = Encoder::new(4096);
        sections.iter().for_each(|section| encoder.operation(section));
        let bodies = encoder.finish();
        assert_eq!(bodies.len(), 1);
        let mut back = Vec::new();
        decode::<WireError>(&bodies[0], |section| {
            back.push(section);
            Ok(())
        })
        .unwrap();
        assert_eq!(back, sections);
    }

    #[test]
    fn what_a_later_release_adds_is_skipped() {
        let mut encoder = Encoder::new(4096);
        encoder.operation(&Section::RemoveGauge { name: "g", key: "k" });
        let mut body = vec![99, 2, 1, 2];
        body.extend_from_slice(&encoder.finish()[0]);
        assert_eq!(tally(&body).as_deref(), Ok("1 sections, 0 entries"));
        assert!(tally(&[WINDOW, 1, 0]).is_err(), "a series without a name");
    }

    proptest! {
        #[test]
        fn lists_come_back(
            windows in prop::collection::btree_map(
                0u64..9,
                prop::collection::btree_map(any::<u32>(), prop_oneof![1i64..9, -9i64..-1], 0..90),
                0..5,
            ),
            gauges in prop::collection::btree_map("[a-c]{1,9}", prop_oneof![1i64..9, -9i64..-1], 0..90),
            limit in 1200usize..4000,
        ) {
            let limits = GaugeLimits { keys_max: 10, ttl: Some(Duration::from_secs(3)) };
            let mut encoder = Encoder::new(limit);
            for (index, cells) in &windows {
                encoder.window(id("s", SeriesKind::Clients), *index);
                for (key, number) in cells {
                    encoder.push(Key::Address(IpAddr::V4((*key).into())), *number);
                }
            }
            encoder.gauges("g", limits);
            for (key, number) in &gauges {
                encoder.push(Key::Text(key), *number);
            }
            let mut back_windows: BTreeMap<u64, BTreeMap<u32, i64>> = BTreeMap::new();
            let mut back_gauges = BTreeMap::new();
            for body in encoder.finish() {
                prop_assert!(body.len() <= limit.max(2 * ENTRY_BYTES_MAX) + 64);
                decode::<WireError>(&body, |section| match section {
                    Section::Window { id: read, index, entries } => {
                        assert_eq!(read, id("s", SeriesKind::Clients));
                        decode_window(read.kind, entries, |key, number| {
                            if let Key::Address(IpAddr::V4(v4)) = key {
                                back_windows.entry(index).or_default().insert(v4.to_bits(), number);
                            }
                            Ok(())
                        })
                    }
                    Section::Gauges { name: "g", limits: read, entries } => {
                        assert_eq!(read, limits);
                        str::decode(entries, |key, number| {
                            back_gauges.insert(key.to_string(), number);
                            Ok(())
                        })
                    }
                    Section::Gauges { .. }
                    | Section::Remove { .. }
                    | Section::Restate { .. }
                    | Section::RemoveGauge { .. }
                    | Section::RestateGauge { .. }
                    | Section::Replaces { .. } => Ok(()),
                }).unwrap();
            }
            let windows: BTreeMap<_, _> = windows.into_iter().filter(|(_, cells)| !cells.is_empty()).collect();
            prop_assert_eq!(back_windows, windows);
            prop_assert_eq!(back_gauges, gauges);
        }

        #[test]
        fn no_bytes_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            drop(tally(&bytes));
        }
    }
}
