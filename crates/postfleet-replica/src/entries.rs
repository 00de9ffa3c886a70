//! Lists of (key, number) as they travel: sorted, each key coded against the one before.
//!
//! Addresses: one section with a part for each family. Names: front coding. Objects whose counts know their
//! binding: a section for each binding. Layout: docs/formats/replication.md, section 3.

use alloc::borrow::ToOwned;
use alloc::string::String;
use alloc::vec::Vec;
use core::borrow::Borrow;
use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use postfleet_types::{Reader, WireError, Writer};

/// The longest key or binding name, in bytes. A domain name has at most 253, so a binding and a domain fit.
pub(crate) const KEY_BYTES_MAX: usize = 1000;

/// The largest change or count of one key, either sign. Far above what a node can have open, and small enough
/// that no sum of a million of them leaves an `i64`.
pub(crate) const NUMBER_MAX: i64 = 1 << 40;

/// More than the longest single entry takes, so that a writer that stops this far below a limit keeps it.
const ENTRY_BYTES_MAX: usize = KEY_BYTES_MAX + 32;

/// A key that can be listed.
pub(crate) trait CountKey: Ord + ToOwned<Owned: Ord + Clone + Borrow<Self>> {
    /// Writes a section.
    type Encoder: SectionEncoder<Self>;

    /// Whether the key may travel.
    fn fits(&self) -> bool;

    /// Reads a section and hands over every entry in order. Stops at the first error, the caller's included.
    fn decode<E: From<WireError>>(
        section: &[u8],
        take: impl FnMut(&Self, i64) -> Result<(), E>,
    ) -> Result<(), E>;
}

/// Writes one section; keys arrive in strictly ascending order.
pub(crate) trait SectionEncoder<K: ?Sized>: Default {
    fn push(&mut self, key: &K, number: i64);
    fn len(&self) -> usize;
    fn finish(self) -> Vec<u8>;
}

fn number(reader: &mut Reader<'_>) -> Result<i64, WireError> {
    let number = reader.signed_varint()?;
    if number == 0 || number.unsigned_abs() > NUMBER_MAX.unsigned_abs() {
        return Err(reader.invalid("number"));
    }
    Ok(number)
}

#[derive(Default)]
pub(crate) struct AddressEncoder {
    v4: Writer,
    v6: Writer,
    last_v4: Option<u32>,
    last_v6: [u8; 16],
}

impl SectionEncoder<IpAddr> for AddressEncoder {
    fn push(&mut self, key: &IpAddr, number: i64) {
        match key {
            IpAddr::V4(v4) => {
                let bits = v4.to_bits();
                // The first address as it is, the others as the number of addresses skipped.
                let gap = self.last_v4.map_or(bits, |last| bits.wrapping_sub(last).wrapping_sub(1));
                self.last_v4 = Some(bits);
                self.v4.varint(u64::from(gap)).signed_varint(number);
            }
            IpAddr::V6(v6) => {
                let octets = v6.octets();
                let shared = common(&self.last_v6, &octets).min(15);
                self.v6.u8(u8::try_from(shared).unwrap_or(0));
                self.v6.raw(octets.get(shared..).unwrap_or_default()).signed_varint(number);
                self.last_v6 = octets;
            }
        }
    }

    fn len(&self) -> usize {
        self.v4.len() + self.v6.len()
    }

    fn finish(self) -> Vec<u8> {
        let mut section = Writer::new();
        section.bytes(&self.v4.finish()).raw(&self.v6.finish());
        section.finish()
    }
}

fn common(a: &[u8], b: &[u8]) -> usize {
    a.iter().zip(b).take_while(|(a, b)| a == b).count()
}

impl CountKey for IpAddr {
    type Encoder = AddressEncoder;

    fn fits(&self) -> bool {
        true
    }

    fn decode<E: From<WireError>>(
        section: &[u8],
        mut take: impl FnMut(&Self, i64) -> Result<(), E>,
    ) -> Result<(), E> {
        let mut reader = Reader::new(section);
        let mut v4 = Reader::new(reader.bytes()?);
        let mut next: u64 = 0;
        while !v4.rest().is_empty() {
            let bits = next.checked_add(v4.varint()?).and_then(|bits| u32::try_from(bits).ok());
            let bits = bits.ok_or_else(|| v4.invalid("address"))?;
            next = u64::from(bits) + 1;
            take(&Self::V4(Ipv4Addr::from_bits(bits)), number(&mut v4)?)?;
        }
        let mut octets = [0; 16];
        let mut first = true;
        while !reader.rest().is_empty() {
            let shared = usize::from(reader.u8()?);
            let last = octets;
            let tail = octets.get_mut(shared..).filter(|tail| !tail.is_empty());
            let Some(tail) = tail else { return Err(reader.invalid("address").into()) };
            tail.copy_from_slice(reader.take(tail.len())?);
            let address = Self::V6(Ipv6Addr::from(octets));
            if !first && octets <= last || address.to_canonical() != address {
                return Err(reader.invalid("address").into());
            }
            first = false;
            take(&address, number(&mut reader)?)?;
        }
        Ok(())
    }
}

#[derive(Default)]
pub(crate) struct NameEncoder {
    section: Writer,
    last: Vec<u8>,
}

impl SectionEncoder<str> for NameEncoder {
    fn push(&mut self, key: &str, number: i64) {
        let shared = common(&self.last, key.as_bytes());
        let tail = key.as_bytes().get(shared..).unwrap_or_default();
        self.section.count(shared).bytes(tail).signed_varint(number);
        self.last.truncate(shared);
        self.last.extend_from_slice(tail);
    }

    fn len(&self) -> usize {
        self.section.len()
    }

    fn finish(self) -> Vec<u8> {
        self.section.finish()
    }
}

impl CountKey for str {
    type Encoder = NameEncoder;

    fn fits(&self) -> bool {
        matches!(self.len(), 1..=KEY_BYTES_MAX)
    }

    fn decode<E: From<WireError>>(
        section: &[u8],
        mut take: impl FnMut(&Self, i64) -> Result<(), E>,
    ) -> Result<(), E> {
        let mut reader = Reader::new(section);
        let mut key = Vec::new();
        while !reader.rest().is_empty() {
            let shared = usize::try_from(reader.varint()?).unwrap_or(usize::MAX);
            let tail = reader.bytes()?;
            // Ascending: the first byte that is not shared must be larger than the one it replaces.
            let ascends = match key.get(shared) {
                Some(old) => tail.first().is_some_and(|new| new > old),
                None => shared == key.len() && !tail.is_empty(),
            };
            if !ascends || shared + tail.len() > KEY_BYTES_MAX {
                return Err(reader.invalid("name").into());
            }
            key.truncate(shared);
            key.extend_from_slice(tail);
            let number = number(&mut reader)?;
            let name = core::str::from_utf8(&key).map_err(|_| reader.invalid("name"))?;
            take(name, number)?;
        }
        Ok(())
    }
}

/// Cuts a list into bodies of at most about `limit` bytes (exceeded only by a single entry that is longer).
pub(crate) struct BodyEncoder<K: CountKey + ?Sized> {
    limit: usize,
    section: K::Encoder,
    bodies: Vec<Vec<u8>>,
}

impl<K: CountKey + ?Sized> BodyEncoder<K> {
    pub(crate) fn new(limit: usize) -> Self {
        Self { limit, section: K::Encoder::default(), bodies: Vec::new() }
    }

    pub(crate) fn push(&mut self, key: &K, number: i64) {
        if number == 0 || !key.fits() {
            return;
        }
        if self.section.len() > 0 && self.section.len() + ENTRY_BYTES_MAX > self.limit {
            self.bodies.push(core::mem::take(&mut self.section).finish());
        }
        self.section.push(key, number);
    }

    pub(crate) fn finish(mut self) -> Vec<Vec<u8>> {
        if self.section.len() > 0 {
            self.bodies.push(self.section.finish());
        }
        self.bodies
    }
}

/// As [`BodyEncoder`], with a section for each binding; bindings arrive in strictly ascending order.
pub(crate) struct BoundBodyEncoder<K: CountKey + ?Sized> {
    limit: usize,
    body: Writer,
    binding: String,
    section: K::Encoder,
    bodies: Vec<Vec<u8>>,
}

impl<K: CountKey + ?Sized> BoundBodyEncoder<K> {
    pub(crate) fn new(limit: usize) -> Self {
        Self {
            limit,
            body: Writer::new(),
            binding: String::new(),
            section: K::Encoder::default(),
            bodies: Vec::new(),
        }
    }

    fn close_section(&mut self) {
        let section = core::mem::take(&mut self.section);
        if section.len() > 0 {
            self.body.text(&self.binding).bytes(&section.finish());
        }
    }

    pub(crate) fn binding(&mut self, binding: &str) {
        self.close_section();
        self.binding.clear();
        self.binding.push_str(binding);
    }

    pub(crate) fn push(&mut self, key: &K, number: i64) {
        if number == 0 || !key.fits() || !self.binding.as_str().fits() {
            return;
        }
        let length = self.body.len() + self.section.len();
        if length > 0 && length + self.binding.len() + ENTRY_BYTES_MAX > self.limit {
            self.close_section();
            self.bodies.push(core::mem::take(&mut self.body).finish());
        }
        self.section.push(key, number);
    }

    pub(crate) fn finish(mut self) -> Vec<Vec<u8>> {
        self.close_section();
        if !self.body.is_empty() {
            self.bodies.push(self.body.finish());
        }
        self.bodies
    }
}

/// Reads a body with sections for bindings and hands over each.
pub(crate) fn decode_bound<E: From<WireError>>(
    body: &[u8],
    mut take: impl FnMut(&str, &[u8]) -> Result<(), E>,
) -> Result<(), E> {
    let mut reader = Reader::new(body);
    let mut last: Option<&str> = None;
    while !reader.rest().is_empty() {
        let binding = reader.text()?;
        if !binding.fits() || last.is_some_and(|last| last >= binding) {
            return Err(reader.invalid("binding").into());
        }
        last = Some(binding);
        take(binding, reader.bytes()?)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeMap;

    fn round<K: CountKey + ?Sized>(
        entries: &BTreeMap<K::Owned, i64>,
        limit: usize,
    ) -> (Vec<(K::Owned, i64)>, usize) {
        let mut encoder = BodyEncoder::<K>::new(limit);
        for (key, number) in entries {
            encoder.push(key.borrow(), *number);
        }
        let bodies = encoder.finish();
        let mut back = Vec::new();
        for body in &bodies {
            K::decode::<WireError>(body, |key, number| {
                back.push((key.to_owned(), number));
                Ok(())
            })
            .unwrap();
        }
        (back, bodies.iter().map(Vec::len).max().unwrap_or(0))
    }

    fn address() -> impl Strategy<Value = IpAddr> {
        prop_oneof![
            any::<u32>().prop_map(|bits| IpAddr::V4(bits.into())),
            (0u32..300).prop_map(|bits| IpAddr::V4((0x0a00_0000 + bits).into())),
            any::<u128>().prop_map(|bits| IpAddr::V6((bits | 1 << 127).into())),
            (0u128..300).prop_map(|bits| IpAddr::V6(((0x2001_0db8 << 96) + bits).into())),
        ]
    }

    fn nonzero() -> impl Strategy<Value = i64> {
        (-NUMBER_MAX..=NUMBER_MAX).prop_filter("not zero", |number| *number != 0)
    }

    proptest! {
        #[test]
        fn addresses_come_back(entries in prop::collection::btree_map(address(), nonzero(), 0..200), limit in 1200usize..5000) {
            let (back, longest) = round::<IpAddr>(&entries, limit);
            prop_assert_eq!(back, entries.into_iter().collect::<Vec<_>>());
            prop_assert!(longest <= limit);
        }

        #[test]
        fn names_come_back(entries in prop::collection::btree_map("[a-c.é]{1,12}", nonzero(), 0..200), limit in 1200usize..5000) {
            let (back, longest) = round::<str>(&entries, limit);
            prop_assert_eq!(back, entries.into_iter().collect::<Vec<_>>());
            prop_assert!(longest <= limit);
        }

        #[test]
        fn bound_names_come_back(
            entries in prop::collection::btree_map(("[a-c]{1,3}", "[a-c.]{1,40}"), nonzero(), 0..300),
            limit in 1200usize..3000,
        ) {
            let mut encoder = BoundBodyEncoder::<str>::new(limit);
            let mut last: Option<&str> = None;
            for ((binding, key), number) in &entries {
                if last != Some(binding) {
                    encoder.binding(binding);
                    last = Some(binding);
                }
                encoder.push(key, *number);
            }
            let bodies = encoder.finish();
            let mut back = BTreeMap::new();
            for body in &bodies {
                prop_assert!(body.len() <= limit);
                decode_bound::<WireError>(body, |binding, section| {
                    str::decode(section, |key, number| {
                        assert_eq!(back.insert((binding.to_owned(), key.to_owned()), number), None);
                        Ok(())
                    })
                }).unwrap();
            }
            prop_assert_eq!(back, entries);
        }

        #[test]
        fn any_bytes_give_ascending_keys_or_an_error(bytes: Vec<u8>) {
            let mut last: Option<IpAddr> = None;
            let _ = IpAddr::decode::<WireError>(&bytes, |key, _| {
                assert!(last.is_none_or(|last| last < *key));
                last = Some(*key);
                Ok(())
            });
            let mut last: Option<String> = None;
            let _ = str::decode::<WireError>(&bytes, |key, _| {
                assert!(last.as_deref().is_none_or(|last| last < key));
                last = Some(key.to_owned());
                Ok(())
            });
        }
    }

    #[test]
    fn unordered_or_foreign_entries_are_refused() {
        let refused = |bytes: &[u8]| IpAddr::decode::<WireError>(bytes, |_, _| Ok(())).is_err();
        assert!(!refused(&[2, 5, 2]));
        assert!(refused(&[2, 5, 0]), "a change of zero");
        assert!(refused(&[8, 0xff, 0xff, 0xff, 0xff, 0x0f, 2, 0, 2]), "beyond 255.255.255.255");
        let mut mapped = vec![0, 0];
        mapped.extend_from_slice(&"::ffff:10.0.0.1".parse::<Ipv6Addr>().unwrap().octets());
        mapped.push(2);
        assert!(refused(&mapped), "an IPv4 address in the IPv6 part");
        let name = |bytes: &[u8]| str::decode::<WireError>(bytes, |_, _| Ok(())).is_err();
        assert!(!name(&[0, 1, b'a', 2, 1, 1, b'b', 2]));
        assert!(name(&[0, 1, b'b', 2, 0, 1, b'a', 2]), "descending");
        assert!(name(&[0, 1, b'a', 2, 0, 1, b'a', 2]), "twice");
        assert!(name(&[0, 0, 2]), "empty");
        assert!(name(&[0, 1, 0xff, 2]), "no text");
    }
}
