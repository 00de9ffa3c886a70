use super::*;
use crate::event::{LeaveReason, MemberInfo};
use postfleet_types::{NodeType, WallTime};
use proptest::prelude::*;

fn group(text: &str) -> GroupName {
    text.parse().unwrap()
}

fn info() -> MemberInfo {
    MemberInfo {
        private_name: "#ec0-08422#uhalehe".parse().unwrap(),
        node_name: "uhalehe".parse().unwrap(),
        subcluster: "default".parse().unwrap(),
        node_type: NodeType::Node,
        version: "0.1.0 r(4f2a91c)".into(),
        address: "10.79.0.15:4802".parse().unwrap(),
        protocol: (1, 2),
        options_digest: 7,
        heartbeats_per_second: 1,
        heartbeat_miss_limit: 10,
        boot_id: 99,
    }
}

fn check(body: Body) {
    let mut header = Header::new(&body, Epoch(1), 2, ViewId { counter: 3, tag: 4 });
    if let Body::Join(name) | Body::Leave(name) = &body {
        header.to = vec![Destination::Group(name.clone())];
    }
    assert_eq!(decode(&header.encode(&body)), Ok((header, body)));
}

#[test]
fn every_type_comes_back() {
    check(Body::Hello(Hello {
        nonce: 1,
        counter: 2,
        age: 3,
        delivered: 4,
        info: info(),
        groups: vec![group("ec_console"), group("ec_cluster")],
    }));
    let raw = RawId { major: 1, minor: 2 };
    check(Body::Install(Install {
        nonce: 1,
        counter: 2,
        protocol: 1,
        admitted: vec![Admitted { raw, epoch: Epoch(5), age: 1 }],
        others: vec![(raw, LeaveReason::Silent), (raw, LeaveReason::Refused), (raw, LeaveReason::Heartbeat)],
    }));
    check(Body::Join(group("g")));
    check(Body::Leave(group("g")));
    check(Body::Data(Bytes::from_static(b"payload")));
    check(Body::Bye);
    check(Body::Heartbeat(Heartbeat {
        number: 1,
        view: 2,
        load: Load { queue: 3, connections: 4 },
        wall: WallTime::from_unix_millis(5),
        options_digest: Some(77),
    }));
    check(Body::Heartbeat(Heartbeat {
        number: 1,
        view: 2,
        load: Load { queue: 3, connections: 4 },
        wall: WallTime::from_unix_millis(5),
        options_digest: None,
    }));
    check(Body::Round(Round { nonce: 1, decides: true, excluded: vec![Epoch(7)] }));
}

/// The example of docs/formats/bus-envelope.md.
#[test]
fn the_documented_bytes() {
    let body = Body::Data(Bytes::from_static(b"hi"));
    let mut header = Header::new(
        &body,
        Epoch(0x0102_0304_0506_0708),
        5,
        ViewId { counter: 2, tag: 0xaabb_ccdd_eeff_0011 },
    );
    header.kind = 7;
    header.managers_only = true;
    header.to = vec![Destination::Group(group("ec_cluster")), Destination::Member("#a#b".parse().unwrap())];
    let expected: Vec<u8> = [
        &b"MB\x01\x05\x00\x01\x00\x07"[..],
        &[1, 2, 3, 4, 5, 6, 7, 8],
        &[0, 0, 0, 0, 0, 0, 0, 5],
        &[0, 0, 0, 0, 0, 0, 0, 2, 0xaa, 0xbb, 0xcc, 0xdd, 0xee, 0xff, 0x00, 0x11],
        b"\x02\x0aec_cluster\x04#a#b",
        b"hi",
    ]
    .concat();
    assert_eq!(header.encode(&body)[..], expected[..]);
}

#[test]
fn what_is_not_understood_is_refused_by_name() {
    let body = Body::Data(Bytes::from_static(b"x"));
    let header = Header::new(&body, Epoch(1), 1, ViewId::default());
    let with = |at: usize, value: u8| {
        let mut bytes = header.encode(&body).to_vec();
        bytes[at] = value;
        decode(&Bytes::from(bytes)).map(|_| ())
    };
    assert_eq!(with(0, 0), Err(EnvelopeError::Magic));
    assert_eq!(with(2, 2), Err(EnvelopeError::Version(2)));
    assert_eq!(with(3, 9), Err(EnvelopeError::UnknownType(9)));
    assert_eq!(with(5, 4), Err(EnvelopeError::Flags(4)));
    assert_eq!(with(5, 8), Err(EnvelopeError::Flags(8)));
    assert_eq!(with(3, 3), Err(EnvelopeError::Wire(WireError::Invalid { field: "group", at: 0 })));
}

#[test]
fn a_payload_shares_the_message_and_has_a_bound() {
    let body = Body::Data(Bytes::from(vec![9; PAYLOAD_BYTES_MAX]));
    let header = Header::new(&body, Epoch(1), 1, ViewId::default());
    let message = header.encode(&body);
    let Ok((_, Body::Data(payload))) = decode(&message) else { panic!("the longest payload is read") };
    assert!(message.as_ptr_range().contains(&payload.as_ptr()));
    let longer = Body::Data(Bytes::from(vec![9; PAYLOAD_BYTES_MAX + 1]));
    assert_eq!(decode(&header.encode(&longer)), Err(EnvelopeError::TooLong));
}

#[test]
fn destinations_that_do_not_fit_are_known_beforehand() {
    let name = Destination::Group(group(&"g".repeat(31)));
    assert!(Header::bytes(&vec![name.clone(); 126]).is_some());
    assert!(Header::bytes(&vec![name; 127]).is_none());
    assert!(Header::bytes(&vec![Destination::Group(group("g")); 256]).is_none());
}

/// A later version may append to a body; this one reads what it knows.
#[test]
fn later_fields_are_skipped() {
    let round = Round { nonce: 1, decides: false, excluded: Vec::new() };
    let body = Body::Round(round.clone());
    let mut bytes = Header::new(&body, Epoch(1), 1, ViewId::default()).encode(&body).to_vec();
    bytes.extend_from_slice(b"later");
    assert_eq!(decode(&Bytes::from(bytes)).map(|(_, body)| body), Ok(Body::Round(round)));
}

proptest! {
    #[test]
    fn any_bytes_are_read_or_refused(bytes: Vec<u8>) {
        fuzz(&bytes);
    }

    #[test]
    fn damaged_messages_are_read_or_refused(at in 0_usize..200, value: u8, cut in 0_usize..260) {
        let hello = Hello { nonce: 1, counter: 2, age: 3, delivered: 4, info: info(), groups: vec![group("g")] };
        let body = Body::Hello(hello);
        let mut bytes = Header::new(&body, Epoch(1), 2, ViewId::default()).encode(&body).to_vec();
        if let Some(byte) = bytes.get_mut(at) {
            *byte = value;
        }
        bytes.truncate(cut);
        fuzz(&bytes);
    }
}
