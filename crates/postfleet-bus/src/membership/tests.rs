use super::*;
use crate::connection::Connection;
use crate::solo::Solo;
use core::task::{Context, Poll, Waker};
use postfleet_types::NodeType;

fn info(node: &str) -> MemberInfo {
    let node_name = node.parse().unwrap();
    MemberInfo {
        private_name: PrivateName::main(&node_name, 42),
        node_name,
        subcluster: "default".parse().unwrap(),
        node_type: NodeType::Node,
        version: "0.1.0 r(test)".into(),
        address: "192.0.2.1:4802".parse().unwrap(),
        protocol: (1, 1),
        options_digest: 0,
        heartbeats_per_second: 1,
        heartbeat_miss_limit: 10,
        boot_id: 1,
    }
}

#[test]
fn alone_on_solo() {
    let mut connection = Connection::new(Solo::new(1), info("a"), Random::seeded(1), Options::default());
    let mut context = Context::from_waker(Waker::noop());
    let now = Monotonic::ZERO;
    let first = connection.poll(now, &mut context);
    assert!(matches!(first, Poll::Ready(BusEvent::View { id, .. }) if id.counter == 1), "{first:?}");
    connection.join(now, "g".parse().unwrap()).unwrap();
    connection
        .send(
            now,
            &[Destination::Group("g".parse().unwrap())],
            7,
            Bytes::from_static(b"x"),
            SendOptions::default(),
        )
        .unwrap();
    assert!(matches!(connection.poll(now, &mut context), Poll::Ready(BusEvent::GroupView { .. })));
    assert!(matches!(connection.poll(now, &mut context), Poll::Ready(BusEvent::Message { kind: 7, .. })));
    connection.disconnect(now);
    assert_eq!(connection.poll(now, &mut context), Poll::Ready(BusEvent::Lost { reason: LostReason::Local }));
}
