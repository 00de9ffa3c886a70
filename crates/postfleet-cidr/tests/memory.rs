//! Bytes an address, counted by the allocator: a million addresses, each with a count in the sum and in three
//! columns.

use std::alloc::System;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use postfleet_cidr::CidrColumns;
use postfleet_types::{Monotonic, Random, View};
use stats_alloc::{INSTRUMENTED_SYSTEM, Region, StatsAlloc};

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

/// Builds the object change by change, as it grows on a node, and returns bytes an address.
fn bytes_an_address(count: u32, address: impl Fn(u32, u64) -> IpAddr) -> f64 {
    let region = Region::new(ALLOCATOR);
    let mut object = CidrColumns::new();
    let columns = [(); 3].map(|()| object.insert_column());
    let mut random = Random::seeded(11);
    for n in 0..count {
        let address = address(n, random.next_u64());
        for column in columns {
            object.change(column, address, 1, Monotonic::ZERO);
        }
    }
    let change = region.change();
    let held =
        change.bytes_allocated + change.bytes_reallocated.max(0).unsigned_abs() - change.bytes_deallocated;
    let computed = object.memory_bytes();
    let keys = object.leaves(View::Global).count();
    assert!(keys > usize::try_from(count).unwrap_or(0) / 10 * 9, "nearly all addresses differ");
    let (held, computed, keys) = (held as f64, computed as f64, keys as f64);
    assert!((held - computed).abs() < held / 20.0, "{held} bytes are held, memory_bytes says {computed}");
    held / keys
}

/// What clients of a relay look like: groups of sixteen in a /24, the /24s in 4096 of the /16s.
fn clumped(n: u32, bits: u64) -> IpAddr {
    let mut group = Random::seeded(u64::from(n / 16));
    let block = Random::seeded(group.below(4096)).below(1 << 16) << 16 | group.below(1 << 6) << 8;
    IpAddr::V4(Ipv4Addr::from_bits(u32::try_from(block | bits & 0xff).unwrap_or(0)))
}

// One test, since the allocator counts for the whole process.
#[test]
fn at_most_100_bytes_an_address_for_sum_and_three_columns() {
    let full = !cfg!(debug_assertions);
    let count = if full { 1_000_000 } else { 40_000 };
    let scattered = |_, bits: u64| IpAddr::V4(Ipv4Addr::from_bits(u32::try_from(bits >> 32).unwrap_or(0)));
    let ascending = |n: u32, _| IpAddr::V4(Ipv4Addr::from_bits(n * 4000));
    let v6 = |n: u32, bits| {
        let block = 0x2001_0db8_0000_0000 | u64::from(n % 50_000);
        IpAddr::V6(Ipv6Addr::from_bits(u128::from(block) << 64 | u128::from(bits)))
    };
    for (name, bytes, limit) in [
        ("IPv4 scattered", bytes_an_address(count, scattered), 100.0),
        ("IPv4 clumped", bytes_an_address(count, clumped), 100.0),
        ("IPv4 ascending", bytes_an_address(count, ascending), 100.0),
        ("IPv6", bytes_an_address(count, v6), 100.0),
    ] {
        println!("{name}: {bytes:.1} bytes an address at {count}");
        assert!(bytes <= limit, "{name}: {bytes:.1}");
    }
}
