//! What a change costs on the bus. docs/formats/replication.md, section 6, prints these numbers.

mod fleet;

use fleet::{Connection, Fleet, specs};
use postfleet_types::Random;
use std::net::IpAddr;

/// Bytes of one batch with that many changes of different keys.
fn batch_bytes(count: u32, connection: fn(&mut Random) -> Connection) -> usize {
    let mut fleet = Fleet::new(|_| {});
    fleet.start("relay-0-1", specs());
    fleet.start("relay-0-2", specs());
    fleet.run(50);
    let mut random = Random::seeded(7);
    // The first change leaves at once; the others wait for it to come back and travel together.
    fleet.open(1, connection(&mut Random::seeded(1)));
    fleet.advance(std::time::Duration::from_millis(20));
    let single = fleet.trace.last().map_or(0, |(_, _, _, payload)| payload.len());
    if count == 1 {
        return single;
    }
    for _ in 0..count {
        fleet.open(1, connection(&mut random));
    }
    let before = fleet.trace.len();
    fleet.run(2000);
    let batches: Vec<usize> = fleet.trace[before..].iter().map(|(_, _, _, payload)| payload.len()).collect();
    assert!(batches.iter().all(|bytes| *bytes <= 900_000));
    batches.iter().sum()
}

fn any_ipv4(random: &mut Random) -> Connection {
    let [a, b, c, d, ..] = random.next_u64().to_be_bytes();
    Connection::Inbound(IpAddr::from([a, b, c, d]))
}

fn any_ipv6(random: &mut Random) -> Connection {
    let mut octets = [0; 16];
    octets[..8].copy_from_slice(&random.next_u64().to_be_bytes());
    octets[..4].copy_from_slice(&[0x20, 0x01, 0x0d, 0xb8]);
    octets[8..].copy_from_slice(&random.next_u64().to_be_bytes());
    Connection::Inbound(IpAddr::from(octets))
}

/// A connection changes six keys in four objects.
fn any_outbound(random: &mut Random) -> Connection {
    let number = random.below(1_000_000);
    let [a, b, c, d, ..] = random.next_u64().to_be_bytes();
    Connection::Outbound {
        binding: format!("outbound-{}", number % 4),
        group: None,
        domain: format!("customer{number:06}.example"),
        host: format!("mx1.customer{number:06}.example"),
        address: IpAddr::from([a, b, c, d]),
    }
}

#[test]
fn bytes_of_a_batch() {
    let sizes = |connection| [1, 100, 10_000].map(|count| batch_bytes(count, connection));
    assert_eq!(
        [sizes(any_ipv4), sizes(any_ipv6), sizes(any_outbound)],
        [[27, 520, 39_748], [39, 1_415, 129_548], [257, 9_300, 813_270]]
    );
}

/// The example of docs/formats/replication.md, section 2.
#[test]
fn the_documented_batch() {
    let mut fleet = Fleet::new(|_| {});
    fleet.start("relay-0-1", specs());
    fleet.start("relay-0-2", specs());
    fleet.run(50);
    fleet.open(1, Connection::Inbound(IpAddr::from([192, 0, 2, 1])));
    let mut expected = vec![0x01, 0x02, 0x01, 0x17, 0x01, 0x0c];
    expected.extend_from_slice(b"inbound_cidr");
    expected.extend_from_slice(&[0x01, 0x07, 0x06, 0x81, 0x84, 0x80, 0x80, 0x0c, 0x02]);
    assert_eq!(fleet.trace.last().map(|(_, _, _, payload)| payload.to_vec()), Some(expected));
}
