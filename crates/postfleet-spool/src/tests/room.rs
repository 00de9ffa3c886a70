//! The space rule.

use crate::{Room, RoomLimits, Space};

const MIB: u64 = 1 << 20;

fn check(free_mib: u64, total_mib: u64, inodes: (u64, u64), expected: Room) {
    let space = Space {
        bytes_total: total_mib * MIB,
        bytes_free: free_mib * MIB,
        inodes_free: inodes.0,
        inodes_total: inodes.1,
    };
    assert_eq!(RoomLimits::default().judge(space), expected, "{space:?}");
}

#[test]
fn mta_4_3_disk_low_on_a_large_disk_means_512_mib() {
    let inodes = (100, 100);
    check(512, 1 << 20, inodes, Room::Enough);
    check(511, 1 << 20, inodes, Room::Low);
    check(256, 1 << 20, inodes, Room::Low);
    check(255, 1 << 20, inodes, Room::Critical);
}

#[test]
fn mta_4_3_disk_low_on_a_small_disk_means_5_percent() {
    let inodes = (100, 100);
    check(50, 1000, inodes, Room::Enough);
    check(49, 1000, inodes, Room::Low);
    check(25, 1000, inodes, Room::Low);
    check(24, 1000, inodes, Room::Critical);
}

#[test]
fn mta_4_3_inodes_are_judged_by_percentage_alone() {
    check(1000, 1000, (5, 100), Room::Enough);
    check(1000, 1000, (4, 100), Room::Low);
    check(1000, 1000, (2, 100), Room::Critical);
    check(1000, 1000, (0, 0), Room::Enough);
}

#[test]
fn limits_of_zero_refuse_nothing() {
    let space = Space { bytes_total: u64::MAX, bytes_free: 0, inodes_total: u64::MAX, inodes_free: 0 };
    let limits = RoomLimits { free_bytes_min: 0, free_percent_min: 0 };
    assert_eq!(limits.judge(space), Room::Enough);
    let limits = RoomLimits { free_bytes_min: u64::MAX, free_percent_min: 50 };
    assert_eq!(limits.judge(space), Room::Critical);
}
