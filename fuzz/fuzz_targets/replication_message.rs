//! Messages of replicated objects, and frames of fetches, from two members that may send anything.
//!
//! The input is a row of steps: one byte says what happens, two bytes how long a message is, then the message. After
//! the last step both members leave, and nothing of them may be left in any global view.
#![no_main]

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

use bytes::Bytes;
use postfleet_bus::event::{BusEvent, Destination, GroupCause, LeaveReason, Member, MemberInfo};
use postfleet_replica::{
    FetchEnd, KIND_ANSWER, KIND_ASK, KIND_BATCH, KIND_CHUNK, KIND_MARKER, ObjectKind, ObjectSpec, Of, Replica,
    ReplicaOptions, Served, Transfer, decode_any,
};
use postfleet_types::{Epoch, GroupName, Monotonic, NodeName, NodeType, PrivateName, ViewId};

const KINDS: [u16; 5] = [KIND_BATCH, KIND_MARKER, KIND_CHUNK, KIND_ASK, KIND_ANSWER];
const MEMBERS: [&str; 3] = ["relay1", "relay2", "relay3"];

fn name(member: usize) -> PrivateName {
    let node: NodeName = MEMBERS[member].parse().expect("a node name");
    PrivateName::shared(&node, 1)
}

fn group() -> GroupName {
    "fleet".parse().expect("a group name")
}

fn member(index: usize) -> Member {
    let info = MemberInfo {
        private_name: name(index),
        node_name: MEMBERS[index].parse().expect("a node name"),
        subcluster: "default".parse().expect("a subcluster"),
        node_type: NodeType::Node,
        version: "0.1.0 r(0)".to_string(),
        address: SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 4802),
        protocol: (1, 1),
        options_digest: 0,
        heartbeats_per_second: 1,
        heartbeat_miss_limit: 10,
        boot_id: 1,
    };
    Member { info, epoch: Epoch(index as u64), age: 1, groups: vec![group()] }
}

/// The view in which `present` are there; the others have left.
fn view(counter: u64, before: &[usize], present: &[usize]) -> [BusEvent; 2] {
    let names = |members: &[usize]| members.iter().map(|&member| name(member)).collect::<Vec<_>>();
    let gone = before.iter().filter(|member| !present.contains(member));
    let new: Vec<usize> = present.iter().copied().filter(|member| !before.contains(member)).collect();
    let stayed: Vec<usize> = present.iter().copied().filter(|member| before.contains(member)).collect();
    [
        BusEvent::View {
            id: ViewId { counter, tag: 1 },
            members: present.iter().map(|&index| member(index)).collect(),
            joined: names(&new),
            left: gone.map(|&index| (name(index), LeaveReason::NodeDown)).collect(),
            transitional: names(&stayed),
        },
        BusEvent::GroupView { group: group(), members: names(present), cause: GroupCause::View },
    ]
}

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    for reading in decode_any(bytes) {
        assert!(!reading.ends_with("does not come back"), "{reading}");
    }

    let objects = [
        ObjectKind::InboundCidr,
        ObjectKind::OutboundCidr,
        ObjectKind::OutboundDomains,
        ObjectKind::OutboundBindingDomains,
    ];
    let options = ReplicaOptions::new(name(0), MEMBERS[0].parse().expect("a node name"), group());
    let mut replica = Replica::new(
        options,
        objects.iter().map(|&kind| ObjectSpec { snapshot: true, ..ObjectSpec::of(kind) }).collect(),
    );
    let mut now = Monotonic::ZERO;
    let mut open = None;
    let mut views = 1;
    let mut present = vec![0, 1, 2];
    for event in view(views, &[], &present) {
        replica.handle(now, &event);
    }

    let mut rest = bytes;
    while let [step, high, low, behind @ ..] = rest {
        let length = usize::from(u16::from_be_bytes([*high, *low])).min(behind.len());
        let (payload, next) = behind.split_at(length);
        rest = next;
        let step = usize::from(*step);
        match step {
            0..10 if present.contains(&(1 + step / 5)) => replica.handle(
                now,
                &BusEvent::Message {
                    from: name(1 + step / 5),
                    to: vec![Destination::Group(group())],
                    kind: KINDS[step % 5],
                    payload: Bytes::copy_from_slice(payload),
                    view: ViewId { counter: views, tag: 1 },
                    own: None,
                },
            ),
            10 => {
                // One connection that stays open.
                let _counted = replica.inbound_opened(now, IpAddr::V4(Ipv4Addr::new(192, 0, 2, 5)));
            }
            11 => {
                now = now + Duration::from_millis(length as u64);
                replica.handle_timeout(now);
            }
            12..14 => {
                let (before, other) = (present.clone(), step - 11);
                match present.iter().position(|&index| index == other) {
                    Some(at) => drop(present.remove(at)),
                    None => present.push(other),
                }
                views += 1;
                for event in view(views, &before, &present) {
                    replica.handle(now, &event);
                }
            }
            // A frame of the fetch opened last, its end, and a request of a member.
            14 => {
                if let Some(fetch) = open {
                    replica.fetched(now, fetch, &Bytes::copy_from_slice(payload));
                }
            }
            15..17 => {
                if let Some(fetch) = open {
                    let end = if step == 15 { FetchEnd::Broken } else { FetchEnd::Unreachable("no".into()) };
                    replica.fetch_ended(now, fetch, end);
                }
            }
            17 => {
                if let Ok(mut serving) = replica.serve(now, payload) {
                    while let Served::Frame(_) = serving.poll(now) {}
                }
            }
            _ => {}
        }
        while replica.poll_send(now).is_some() {}
        while let Some(transfer) = replica.poll_transfer(now) {
            if let Transfer::Open { fetch, .. } = transfer {
                open = Some(fetch);
            }
        }
        while replica.poll_notice().is_some() {}
    }
    for kind in objects {
        let shown = replica.show(ObjectSpec::of(kind).name.as_str(), Of::Global);
        assert!(shown.is_ok(), "{shown:?}");
    }

    for event in view(views + 1, &present, &[0]) {
        replica.handle(now, &event);
    }
    for kind in objects {
        let spec = ObjectSpec::of(kind);
        let object = replica.object(spec.name.as_str()).expect("it was configured");
        assert_eq!(
            object.total(Of::Global),
            object.total(Of::Own),
            "a member left counts behind in {}",
            spec.name
        );
    }
});
