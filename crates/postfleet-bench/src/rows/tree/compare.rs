//! One workload, run on [`CidrColumns`] and on `prefix_trie`, alternating.
//!
//! The peer holds one sum for every prefix of every address. A change walks the prefixes that cover the address
//! in one pass (`cover_values`, cells), which is the fastest way its interface has; a read is one `get`. It has
//! the easier task: one sum, no column beside it, nothing kept of addresses that fell to 0.

use std::cell::Cell;
use std::hint::black_box;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::Instant;

use postfleet_cidr::CidrColumns;
use postfleet_types::{ColumnId, Monotonic, Prefix, Random, View};
use prefix_trie::PrefixMap;

/// How much is done.
#[derive(Clone, Copy)]
pub(super) struct Size {
    /// Addresses in the tree.
    pub(super) addresses: usize,
    /// Changes and reads that one measurement takes.
    pub(super) operations: usize,
    /// Measurements of each kind on each side; the median counts.
    pub(super) rounds: usize,
}

/// What the rounds of one work gave: nanoseconds of an operation, or bytes of an address.
pub(super) struct Measured {
    /// The set of addresses, and how many there are.
    pub(super) spread: Spread,
    pub(super) addresses: usize,
    pub(super) work: Work,
    pub(super) ours: Vec<f64>,
    /// Empty where the peer has nothing like it.
    pub(super) peer: Vec<f64>,
}

/// What is done to the trees.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Work {
    Insert,
    Change,
    /// A sum of prefixes between these lengths.
    Sum(u8, u8),
    ChangeAndSum,
    CloseAndOpen,
    Bytes,
}

/// What came out, and digests of every sum that was read, which the two sides have to share.
#[derive(Default)]
pub(super) struct Compared {
    pub(super) measured: Vec<Measured>,
    /// For each address set, of our reads and of the peer's.
    pub(super) digests: Vec<(u64, u64)>,
}

/// The sets of addresses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Spread {
    /// IPv4, anywhere.
    Uniform,
    /// IPv4, sixteen in a /24, the /24s in clumps: what clients of a mail relay look like.
    Clumped,
    /// IPv6, four in a /64, the /64s below 4096 allocations of /32.
    Sixth,
}

fn addresses(spread: Spread, count: usize, random: &mut Random) -> Vec<IpAddr> {
    let bases: Vec<u64> = (0..4096).map(|_| random.next_u64()).collect();
    let mut block = 0u64;
    let mut all: Vec<IpAddr> = (0..count)
        .map(|n| {
            let bits = random.next_u64();
            let base = bases[usize::try_from(bits >> 52).unwrap_or(0)];
            match spread {
                Spread::Uniform => v4(bits),
                Spread::Clumped => {
                    if n % 16 == 0 {
                        block = base & 0xffff_0000 | bits & 0x3f00;
                    }
                    v4(block | (bits >> 20 & 0xff))
                }
                Spread::Sixth => {
                    if n % 4 == 0 {
                        block = base >> 32 << 32 | bits & 0xffff;
                    }
                    IpAddr::V6(Ipv6Addr::from_bits(u128::from(block) << 64 | u128::from(random.next_u64())))
                }
            }
        })
        .collect();
    all.sort_unstable();
    all.dedup();
    // A shuffle, so that neighbours in the tree are no neighbours in time.
    for at in (1..all.len()).rev() {
        let other = usize::try_from(random.next_u64() % (at as u64 + 1)).unwrap_or(0);
        all.swap(at, other);
    }
    all
}

fn v4(bits: u64) -> IpAddr {
    IpAddr::V4(Ipv4Addr::from_bits(u32::try_from(bits & 0xffff_ffff).unwrap_or(0)))
}

type Key = (u128, u8);

/// The prefixes of the peer are 128 bits wide for both families; IPv4 ones begin at the top, as its own type for
/// IPv4 would have them, and cost the same steps.
enum Peer {
    V4(PrefixMap<(u32, u8), Cell<u64>>),
    V6(PrefixMap<Key, Cell<u64>>),
}

impl Peer {
    fn insert(&mut self, address: IpAddr) {
        match (self, address) {
            (Self::V4(map), IpAddr::V4(v4)) => {
                for length in 0..=32 {
                    let sum = map.entry((cut(v4.to_bits(), length), length)).or_default();
                    sum.set(sum.get() + 1);
                }
            }
            (Self::V6(map), IpAddr::V6(v6)) => {
                for length in 0..=128 {
                    let bits = v6.to_bits() & u128::MAX.checked_shl(128 - u32::from(length)).unwrap_or(0);
                    let sum = map.entry((bits, length)).or_default();
                    sum.set(sum.get() + 1);
                }
            }
            _ => {}
        }
    }

    fn change(&self, address: IpAddr, delta: i64) {
        let add = |sum: &Cell<u64>| sum.set(sum.get().wrapping_add_signed(delta));
        match (self, address) {
            (Self::V4(map), IpAddr::V4(v4)) => map.cover_values(&(v4.to_bits(), 32)).for_each(add),
            (Self::V6(map), IpAddr::V6(v6)) => map.cover_values(&(v6.to_bits(), 128)).for_each(add),
            _ => {}
        }
    }

    fn sum(&self, prefix: Prefix) -> u64 {
        let sum = match (self, prefix.address()) {
            (Self::V4(map), IpAddr::V4(v4)) => map.get(&(v4.to_bits(), prefix.length())),
            (Self::V6(map), IpAddr::V6(v6)) => map.get(&(v6.to_bits(), prefix.length())),
            _ => None,
        };
        sum.map_or(0, Cell::get)
    }

    fn memory_bytes(&self) -> usize {
        match self {
            Self::V4(map) => map.mem_size(),
            Self::V6(map) => map.mem_size(),
        }
    }
}

fn cut(bits: u32, length: u8) -> u32 {
    bits & u32::MAX.checked_shl(32 - u32::from(length)).unwrap_or(0)
}

struct Ours {
    object: CidrColumns,
    own: ColumnId,
}

impl Ours {
    fn change(&mut self, address: IpAddr, delta: i64) {
        black_box(self.object.change(self.own, address, delta, Monotonic::ZERO));
    }
}

fn nanoseconds(operations: usize, work: impl FnOnce()) -> f64 {
    let begin = Instant::now();
    work();
    begin.elapsed().as_secs_f64() * 1e9 / operations as f64
}

/// Runs a part of the work first, so that what the other side left in the caches is gone.
fn warmed<T: Copy>(work: &[T], mut each: impl FnMut(T)) -> f64 {
    let (warm, measured) = work.split_at(work.len() / 4);
    warm.iter().for_each(|item| each(*item));
    nanoseconds(measured.len(), || measured.iter().for_each(|item| each(*item)))
}

fn digest(sum: &mut u64, read: u64) {
    *sum = sum.wrapping_mul(31).wrapping_add(read);
}

/// Runs everything.
pub(super) fn run(size: Size) -> Compared {
    let mut compared = Compared::default();
    for spread in [Spread::Uniform, Spread::Clumped, Spread::Sixth] {
        run_set(spread, size, &mut compared);
    }
    compared
}

fn run_set(spread: Spread, size: Size, compared: &mut Compared) {
    let random = &mut Random::seeded(7);
    let all = addresses(spread, size.addresses, random);
    let mut object = CidrColumns::new();
    let own = object.insert_column();
    let mut ours = Ours { object, own };
    let mut peer =
        if matches!(spread, Spread::Sixth) { Peer::V6(PrefixMap::new()) } else { Peer::V4(PrefixMap::new()) };
    let mut table = |work, ours: Vec<f64>, peer: Vec<f64>| {
        compared.measured.push(Measured { spread, addresses: all.len(), work, ours, peer });
    };
    let ours_insert = nanoseconds(all.len(), || all.iter().for_each(|address| ours.change(*address, 1)));
    let peer_insert = nanoseconds(all.len(), || all.iter().for_each(|address| peer.insert(*address)));
    table(Work::Insert, vec![ours_insert], vec![peer_insert]);
    let pick = |random: &mut Random| all[usize::try_from(random.next_u64() % all.len() as u64).unwrap_or(0)];
    let mut update = (Vec::new(), Vec::new());
    for _ in 0..size.rounds {
        let chosen: Vec<IpAddr> = (0..size.operations).map(|_| pick(random)).collect();
        let both =
            chosen.iter().map(|address| (*address, 1)).chain(chosen.iter().map(|address| (*address, -1)));
        let both: Vec<(IpAddr, i64)> = both.collect();
        update.0.push(warmed(&both, |(address, delta)| ours.change(address, delta)));
        update.1.push(warmed(&both, |(address, delta)| peer.change(address, delta)));
    }
    table(Work::Change, update.0, update.1);
    let mut digests = (0u64, 0u64);
    let top = if matches!(spread, Spread::Sixth) { 128 } else { 32 };
    let ranges = [(8, top), (8, 8), (16, 16), (24, 24), (32, 32), (48, 48), (64, 64), (128, 128)];
    for (low, high) in ranges.into_iter().filter(|(_, high)| *high <= top) {
        let mut read = (Vec::new(), Vec::new());
        for _ in 0..size.rounds {
            let chosen: Vec<Prefix> = (0..size.operations)
                .filter_map(|_| {
                    let length =
                        low + u8::try_from(random.next_u64() % u64::from(high - low + 1)).unwrap_or(0);
                    Prefix::containing(pick(random), length).ok()
                })
                .collect();
            read.0.push(warmed(&chosen, |at| digest(&mut digests.0, ours.object.sum(View::Global, at))));
            read.1.push(warmed(&chosen, |at| digest(&mut digests.1, peer.sum(at))));
        }
        table(Work::Sum(low, high), read.0, read.1);
    }
    // What a node does for a connection: it counts it and reads a sum to decide.
    let mut decide = (Vec::new(), Vec::new());
    for _ in 0..size.rounds {
        let chosen: Vec<(IpAddr, Prefix)> = (0..size.operations)
            .filter_map(|_| {
                let length = 8 + u8::try_from(random.below(u64::from(top) - 7)).unwrap_or(0);
                Prefix::containing(pick(random), length).ok().map(|prefix| (pick(random), prefix))
            })
            .collect();
        decide.0.push(warmed(&chosen, |(address, at)| {
            ours.change(address, 1);
            digest(&mut digests.0, ours.object.sum(View::Global, at));
        }));
        decide.1.push(warmed(&chosen, |(address, at)| {
            peer.change(address, 1);
            digest(&mut digests.1, peer.sum(at));
        }));
        for (address, _) in chosen {
            ours.change(address, -1);
            peer.change(address, -1);
        }
    }
    table(Work::ChangeAndSum, decide.0, decide.1);
    // What the peer does not do: closing the last connection keeps the address for a while, opening finds it there.
    let mut close = Vec::new();
    for _ in 0..size.rounds {
        let mut chosen: Vec<IpAddr> = (0..size.operations.min(IDLE)).map(|_| pick(random)).collect();
        chosen.sort_unstable();
        chosen.dedup();
        close.push(nanoseconds(2 * chosen.len(), || {
            chosen.iter().rev().for_each(|address| ours.change(*address, -1));
            chosen.iter().rev().for_each(|address| ours.change(*address, 1));
        }));
    }
    table(Work::CloseAndOpen, close, Vec::new());
    let bytes = |bytes: usize| bytes as f64 / all.len() as f64;
    table(Work::Bytes, vec![bytes(ours.object.memory_bytes())], vec![bytes(peer.memory_bytes())]);
    compared.digests.push(digests);
}

const IDLE: usize = 50_000;
