use super::*;
use crate::carrier::{Carrier, CarrierEvent, RawReason};
use crate::connection::Connection;
use crate::envelope::{self, Install, Round};
use crate::scripted::{Network, Scripted, Timing};
use crate::solo::Solo;
use core::task::{Context, Poll, Waker};
use postfleet_types::NodeType;

const NOW: Monotonic = Monotonic::ZERO;

fn info(node: &str, address: &str) -> MemberInfo {
    let node_name = node.parse().unwrap();
    MemberInfo {
        private_name: PrivateName::main(&node_name, 42),
        node_name,
        subcluster: "default".parse().unwrap(),
        node_type: NodeType::Node,
        version: "0.1.0 r(test)".into(),
        address: format!("{address}:4802").parse().unwrap(),
        protocol: (1, 1),
        options_digest: 0,
        heartbeats_per_second: 1,
        heartbeat_miss_limit: 10,
        boot_id: 1,
    }
}

fn group(name: &str) -> GroupName {
    name.parse().unwrap()
}

fn to(name: &str) -> Vec<Destination> {
    vec![Destination::Group(group(name))]
}

/// Connections on one prompt network, with what they have said so far.
struct Table {
    network: Network,
    connections: Vec<Connection<Scripted>>,
    events: Vec<Vec<BusEvent>>,
    notices: Vec<Vec<Notice>>,
    /// A member whose process stands still: nobody polls it.
    standing_still: Option<usize>,
}

impl Table {
    fn new() -> Self {
        let network = Network::new(1, Timing::PROMPT);
        Self {
            network,
            connections: Vec::new(),
            events: Vec::new(),
            notices: Vec::new(),
            standing_still: None,
        }
    }

    fn add(&mut self, info: MemberInfo, options: Options) -> usize {
        let index = self.connections.len();
        let host = u32::try_from(index).unwrap() + 1;
        let random = Random::seeded(u64::from(host));
        self.connections.push(Connection::new(self.network.attach(host), info, random, options));
        self.events.push(Vec::new());
        self.notices.push(Vec::new());
        self.settle();
        index
    }

    fn settle(&mut self) {
        let now = self.network.now();
        let mut context = Context::from_waker(Waker::noop());
        // A round takes several turns that no application sees.
        let mut quiet_turns = 0;
        while quiet_turns < 8 {
            quiet_turns += 1;
            for (index, connection) in self.connections.iter_mut().enumerate() {
                if self.standing_still == Some(index) {
                    continue;
                }
                while let Poll::Ready(event) = connection.poll(now, &mut context) {
                    self.events[index].push(event);
                    quiet_turns = 0;
                }
                self.notices[index].extend(core::iter::from_fn(|| connection.poll_notice()));
            }
        }
    }

    /// Lets time pass a quarter of a second at a time; those in `beating` send a heartbeat each second.
    fn pass(&mut self, seconds: u64, beating: &[usize], wall: impl Fn(usize, Monotonic) -> u64) {
        for quarter in 0..seconds * 4 {
            let now = self.network.now() + Duration::from_millis(250);
            self.network.set_time(now);
            if quarter % 4 == 0 {
                for index in beating {
                    let wall = WallTime::from_unix_millis(wall(*index, now));
                    self.connections[*index].heartbeat(now, wall, Load::default());
                }
            }
            self.settle();
        }
    }

    fn has_notice(&self, index: usize, severity: Severity, text: &str) -> usize {
        self.notices[index].iter().filter(|n| n.severity == severity && n.text == text).count()
    }
}

fn honest(_: usize, now: Monotonic) -> u64 {
    1_900_000_000_000 + now.as_micros() / 1000
}

#[test]
fn alone_on_solo() {
    let carrier: Box<dyn Carrier + Send> = Box::new(Solo::new(1));
    let mut connection =
        Connection::new(carrier, info("a", "192.0.2.1"), Random::seeded(1), Options::default());
    let mut context = Context::from_waker(Waker::noop());
    let early = connection.send(NOW, &to("g"), 7, Bytes::new(), SendOptions::default());
    assert_eq!(early, Err(SendError::NotAdmitted));
    let first = connection.poll(NOW, &mut context);
    assert!(matches!(first, Poll::Ready(BusEvent::View { id, .. }) if id.counter == 1), "{first:?}");
    connection.join(NOW, group("g")).unwrap();
    connection.send(NOW, &to("g"), 7, Bytes::from_static(b"x"), SendOptions::default()).unwrap();
    assert!(matches!(connection.poll(NOW, &mut context), Poll::Ready(BusEvent::GroupView { .. })));
    assert!(matches!(connection.poll(NOW, &mut context), Poll::Ready(BusEvent::Message { kind: 7, .. })));
    connection.disconnect(NOW);
    let last = connection.poll(NOW, &mut context);
    assert_eq!(last, Poll::Ready(BusEvent::Lost { reason: LostReason::Local }));
    assert_eq!(connection.membership().reconnect(), Reconnect::Never);
}

#[test]
fn bus_case_12_two_nodes_with_one_address() {
    let mut table = Table::new();
    let a = table.add(info("a", "192.0.2.11"), Options::default());
    let b = table.add(info("b", "192.0.2.11"), Options::default());
    table.add(info("c", "192.0.2.12"), Options::default());
    let text = "Critical cluster error! Nodes a and b have the same IP address 192.0.2.11";
    assert_eq!(table.has_notice(a, Severity::Critical, text), 1);
    assert_eq!(table.has_notice(b, Severity::Critical, text), 1);
    assert_eq!(table.connections[a].membership().members().count(), 3);
}

/// A member driven by hand: its own submissions are given back when the test says so.
fn submit_one(membership: &mut Membership) -> Bytes {
    let bytes = membership.poll_submit().expect("something to submit");
    membership.submitted(NOW, bytes.clone(), Submit::Accepted);
    bytes
}

fn change(members: &[RawId], joined: &[RawId]) -> CarrierEvent {
    CarrierEvent::Change { members: members.to_vec(), left: Vec::new(), joined: joined.to_vec() }
}

/// How long somebody who says nothing holds up an admission.
const SILENCE: Duration = admission::DECISION_PATIENCE.saturating_add(admission::NEW_PATIENCE);

/// Gives the only one that speaks what it submits, and lets time pass, until another view is in force; how long was it?
fn until_view(member: &mut Membership, own: RawId, now: Monotonic) -> Duration {
    let (mut at, before) = (now, member.view_id());
    while member.view_id() == before {
        while let Some(bytes) = member.poll_submit() {
            member.submitted(at, bytes.clone(), Submit::Accepted);
            member.handle_carrier(at, CarrierEvent::Deliver { from: own, bytes });
        }
        if member.view_id() == before {
            at = member.poll_deadline().expect("something is waited for").max(at);
            member.handle_timeout(at);
        }
    }
    at.since(now)
}

/// Whoever is cut off while an INSTALL is under way sees its own messages in the old view, others see them in the new:
/// so there must be none behind the HELLO. Rounds that only wait hold up nobody.
#[test]
fn data_wait_from_the_hello_to_the_install() {
    let (a, b) = (RawId { major: 1, minor: 1 }, RawId { major: 2, minor: 2 });
    let mut member = Membership::new(a, info("a", "192.0.2.1"), Random::seeded(1), Options::default());
    let back = |member: &mut Membership, at: Monotonic| {
        let bytes = member.poll_submit().expect("something to submit");
        member.submitted(at, bytes.clone(), Submit::Accepted);
        member.handle_carrier(at, CarrierEvent::Deliver { from: a, bytes: bytes.clone() });
        envelope::decode(&bytes).expect("an envelope").1
    };
    member.handle_carrier(NOW, change(&[a], &[a]));
    assert_eq!(until_view(&mut member, a, NOW), Duration::ZERO);
    member.handle_carrier(NOW, change(&[a, b], &[b]));
    let send = |member: &mut Membership| {
        member.send(&to("g"), 1, Bytes::new(), SendOptions::default()).expect("a member may send");
    };
    assert!(matches!(back(&mut member, NOW), Body::Round(Round { decides: true, .. })));
    send(&mut member);
    assert!(matches!(back(&mut member, NOW), Body::Hello(_)));
    assert_eq!(member.poll_submit(), None);
    // B says nothing: the next round only waits, and data go out.
    let waits = NOW + admission::DECISION_PATIENCE;
    member.handle_timeout(waits);
    assert!(matches!(back(&mut member, waits), Body::Round(Round { decides: false, .. })));
    assert!(matches!(back(&mut member, waits), Body::Hello(_)));
    assert!(matches!(back(&mut member, waits), Body::Data(_)));
    let decides = waits + admission::NEW_PATIENCE;
    member.handle_timeout(decides);
    send(&mut member);
    assert!(matches!(back(&mut member, decides), Body::Round(Round { decides: true, .. })));
    assert!(matches!(back(&mut member, decides), Body::Hello(_)));
    assert!(matches!(back(&mut member, decides), Body::Install(_)));
    assert!(matches!(back(&mut member, decides), Body::Data(_)));
}

/// The engine lost what it had accepted. A member that has no view sends nothing else that would tell.
#[test]
fn a_question_that_vanished_is_asked_again() {
    let a = RawId { major: 1, minor: 1 };
    let mut member = Membership::new(a, info("a", "192.0.2.1"), Random::seeded(1), Options::default());
    member.set_carrier_state(Duration::from_secs(4), Some(true));
    member.handle_carrier(NOW, change(&[a], &[a]));
    submit_one(&mut member);
    let patience = Monotonic::from_millis(8000);
    member.handle_timeout(patience);
    let bytes = submit_one(&mut member);
    assert!(matches!(envelope::decode(&bytes), Ok((_, Body::Round(_)))));
    member.handle_carrier(patience, CarrierEvent::Deliver { from: a, bytes });
    assert_eq!(member.ended(), Some(LostReason::OwnGap));
    assert_eq!(member.reconnect(), Reconnect::Now);
}

/// Those who are coming may be the quorum, and use what this side would use as well.
#[test]
fn quorum_is_gained_with_the_view_of_those_who_bring_it() {
    let (a, b) = (RawId { major: 1, minor: 1 }, RawId { major: 2, minor: 2 });
    let mut member = Membership::new(a, info("a", "192.0.2.1"), Random::seeded(1), Options::default());
    member.set_carrier_state(Duration::from_secs(4), Some(true));
    member.handle_carrier(NOW, change(&[a], &[a]));
    assert_eq!(member.status().quorum, None);
    for _ in 0..3 {
        let bytes = submit_one(&mut member);
        member.handle_carrier(NOW, CarrierEvent::Deliver { from: a, bytes });
    }
    // The view is there and has not been read.
    assert_eq!((member.view_id().is_some(), member.status().quorum), (true, None));
    while member.poll_event().is_some() {}
    assert_eq!(member.status().quorum, Some(true));
    member.handle_carrier(NOW, change(&[a, b], &[b]));
    assert_eq!((member.status().quorum, member.status().quorate), (None, true));
    // A loss counts at once.
    member.set_carrier_state(Duration::from_secs(4), Some(false));
    assert_eq!(member.status().quorum, Some(false));
    member.set_carrier_state(Duration::from_secs(4), None);
    assert_eq!((member.status().quorum, member.status().quorate), (None, false));
}

#[test]
fn bus_case_23_an_install_after_a_raw_event_is_ignored() {
    let (a, b) = (RawId { major: 1, minor: 1 }, RawId { major: 2, minor: 2 });
    let mut member = Membership::new(a, info("a", "192.0.2.1"), Random::seeded(1), Options::default());
    let back = |member: &mut Membership, bytes: &Bytes| {
        member.handle_carrier(NOW, CarrierEvent::Deliver { from: a, bytes: bytes.clone() });
    };
    member.handle_carrier(NOW, change(&[a], &[a]));
    let round = submit_one(&mut member);
    back(&mut member, &round);
    let hello = submit_one(&mut member);
    back(&mut member, &hello);
    let install = submit_one(&mut member);
    assert!(matches!(envelope::decode(&install), Ok((_, Body::Install(Install { counter: 1, .. })))));
    member.handle_carrier(NOW, change(&[a, b], &[b]));
    back(&mut member, &install);
    assert_eq!(member.view_id(), None);
    assert_eq!(member.counters().installs_ignored, 1);
    // The next round installs: B says nothing, and is waited for.
    for _ in 0..2 {
        let bytes = submit_one(&mut member);
        back(&mut member, &bytes);
    }
    assert_eq!(member.poll_submit(), None);
    assert_eq!(until_view(&mut member, a, NOW), SILENCE);
    assert_eq!(member.view_id().map(|id| id.counter), Some(1));
}

/// Twenty attachments that say nothing and come before the only member: each is waited for once, not in every round.
#[test]
fn ghosts_hold_up_one_round_only() {
    let raw = |major| RawId { major, minor: 1 };
    let (own, next) = (raw(100), raw(200));
    let ghosts: Vec<RawId> = (1..=20).map(raw).collect();
    let mut all: Vec<RawId> = ghosts.iter().copied().chain([own]).collect();
    let mut member = Membership::new(own, info("a", "192.0.2.1"), Random::seeded(1), Options::default());
    member.handle_carrier(NOW, change(&all, &all));
    assert_eq!(until_view(&mut member, own, NOW), Duration::from_secs(20) + SILENCE);
    // Somebody new: it is our turn at once, and only the new one is waited for.
    let now = Monotonic::from_millis(60_000);
    all.push(next);
    member.handle_carrier(now, change(&all, &[next]));
    assert_eq!(until_view(&mut member, own, now), SILENCE);
    // One that comes anew may speak now.
    let now = Monotonic::from_millis(120_000);
    member.handle_carrier(now, change(&all, &[ghosts[0]]));
    assert_eq!(until_view(&mut member, own, now), Duration::from_secs(1) + SILENCE);
    // When somebody goes, nobody new is there, and nothing is needed.
    let now = Monotonic::from_millis(180_000);
    all.pop();
    let left = vec![(next, RawReason::NodeDown)];
    member.handle_carrier(now, CarrierEvent::Change { members: all, left, joined: Vec::new() });
    assert_eq!(member.poll_submit(), None);
}

#[test]
fn who_said_bye_has_left_whatever_the_carrier_saw() {
    let mut table = Table::new();
    let a = table.add(info("a", "192.0.2.1"), Options::default());
    let b = table.add(info("b", "192.0.2.2"), Options::default());
    let raw = table.connections[b].carrier().id();
    // The BYE goes out; the process ends before the carrier has detached.
    table.connections[b].membership.disconnect(NOW);
    let bye = table.connections[b].membership.poll_submit().unwrap();
    assert_eq!(table.connections[b].carrier.submit(bye), Submit::Accepted);
    table.network.crash(raw);
    table.settle();
    let Some(BusEvent::View { left, .. }) = table.events[a].last() else { panic!("a view") };
    assert_eq!(left[..], [(PrivateName::main(&"b".parse().unwrap(), 42), LeaveReason::Left)]);
}

#[test]
fn who_detaches_without_a_bye_may_live_on() {
    let mut table = Table::new();
    let a = table.add(info("a", "192.0.2.1"), Options::default());
    let b = table.add(info("b", "192.0.2.2"), Options::default());
    table.connections[b].carrier.detach();
    table.settle();
    let Some(BusEvent::View { left, .. }) = table.events[a].last() else { panic!("a view") };
    assert_eq!(left[..], [(PrivateName::main(&"b".parse().unwrap(), 42), LeaveReason::NodeDown)]);
}

#[test]
fn back_pressure_by_messages_and_by_bytes() {
    let mut table = Table::new();
    let options = Options { max_backlog: 10, ..Options::default() };
    let a = table.add(info("a", "192.0.2.1"), options);
    let connection = &mut table.connections[a];
    connection.membership.queue.busy = true;
    let send = |connection: &mut Connection<Scripted>, bytes: usize| {
        connection.membership.send(&to("g"), 1, Bytes::from(vec![0; bytes]), SendOptions::default())
    };
    for _ in 0..10 {
        send(connection, 1).unwrap();
    }
    assert_eq!(send(connection, 1), Err(SendError::QueueFull));
    for _ in 0..6 {
        connection.membership.queue.busy = false;
        let bytes = connection.membership.poll_submit().unwrap();
        assert_eq!(connection.membership.poll_event(), None, "not below half yet");
        connection.membership.submitted(NOW, bytes, Submit::Accepted);
    }
    assert_eq!(connection.membership.poll_event(), Some(BusEvent::SendReady));
    connection.membership.queue.drop_ordered();
    connection.membership.options.max_backlog = 5000;
    let accepted = (0..100).take_while(|_| send(connection, 1_000_000).is_ok()).count();
    assert_eq!(accepted, (64 << 20) / 1_000_000);
    assert_eq!(connection.membership.counters().queue_full, 2);
}

#[test]
fn own_messages_that_do_not_come_back() {
    let a = RawId { major: 1, minor: 1 };
    let mut member = Membership::new(a, info("a", "192.0.2.1"), Random::seeded(1), Options::default());
    member.set_carrier_state(Duration::from_secs(4), Some(true));
    member.handle_carrier(NOW, change(&[a], &[a]));
    submit_one(&mut member);
    let mut lines = Vec::new();
    let mut last = NOW;
    while let Some(deadline) = member.poll_deadline() {
        assert!(deadline > last || deadline == NOW, "time goes on");
        last = deadline;
        member.handle_timeout(deadline);
        lines.extend(core::iter::from_fn(|| member.poll_notice()).map(|n| (last, n.severity)));
    }
    assert_eq!(member.ended(), Some(LostReason::Daemon));
    let at = Monotonic::from_millis;
    // The driver logs the end itself: it knows what comes next.
    assert_eq!((lines, last), (vec![(at(8000), Severity::Warning)], at(60_000)));
}

#[test]
fn heartbeats_expel_who_stands_still_and_nobody_else() {
    let mut table = Table::new();
    let a = table.add(info("a", "192.0.2.1"), Options::default());
    let b = table.add(info("b", "192.0.2.2"), Options::default());
    let c = table.add(info("c", "192.0.2.3"), Options::default());
    // Nothing is expected in the first 15 + 10 seconds.
    table.pass(24, &[a, b], honest);
    assert_eq!(table.connections[a].membership().members().count(), 3);
    table.pass(4, &[a, b], honest);
    assert_eq!(table.connections[a].membership().members().count(), 2);
    let text = "Node c does not answer heartbeats; removed from the cluster view";
    assert_eq!(table.has_notice(a, Severity::Error, text), 1);
    assert_eq!(table.has_notice(b, Severity::Error, text), 1);
    assert_eq!(table.events[c].last(), Some(&BusEvent::Lost { reason: LostReason::Expelled }));
    assert_eq!(table.connections[c].membership().reconnect(), Reconnect::Smooth(SMOOTH));
    // Without heartbeats of its own nobody is a witness.
    table.pass(60, &[], honest);
    assert_eq!(table.connections[a].membership().members().count(), 2);
}

#[test]
fn a_machine_that_slept_expels_nobody() {
    let mut table = Table::new();
    let a = table.add(info("a", "192.0.2.1"), Options::default());
    let b = table.add(info("b", "192.0.2.2"), Options::default());
    table.pass(30, &[a, b], honest);
    table.network.set_time(table.network.now() + Duration::from_secs(3600));
    // A wakes up first; B's heart beats two seconds later.
    table.pass(2, &[a], honest);
    table.pass(10, &[a, b], honest);
    assert_eq!(table.connections[a].membership().members().count(), 2);
    assert_eq!(table.connections[a].membership().counters().views, 2);
}

#[test]
fn clocks_that_differ_are_reported_once() {
    let mut table = Table::new();
    let members: Vec<usize> = (1..=3)
        .map(|n| table.add(info(&format!("n{n}"), &format!("192.0.2.{n}")), Options::default()))
        .collect();
    let late = |index: usize, now: Monotonic| honest(index, now) - if index == 2 { 3000 } else { 0 };
    table.pass(5, &members, late);
    let text = "The clock of node n3 is 3000 ms behind the median of the members; series windows depend on it. \
                Check its time synchronisation";
    for member in members {
        assert_eq!(table.has_notice(member, Severity::Warning, text), 1);
        let health = table.connections[member].membership().health(table.network.now());
        let offsets: Vec<Option<i64>> = health.iter().map(|member| member.clock_offset_millis).collect();
        assert_eq!(offsets, [Some(0), Some(0), Some(-3000)]);
        assert!(health.iter().all(|member| member.heartbeat_age < Some(Duration::from_secs(2))));
    }
}

#[test]
fn what_is_not_understood_is_counted_and_its_number_counts() {
    let mut table = Table::new();
    let a = table.add(info("a", "192.0.2.1"), Options::default());
    table.connections[a].join(NOW, group("g")).unwrap();
    let b = table.add(info("b", "192.0.2.2"), Options::default());
    table.settle();
    let raw = |table: &mut Table, type_code: u8, compressed: bool| {
        let member = &mut table.connections[b].membership;
        let body = Body::Data(Bytes::from_static(b"x"));
        let view = member.view_id().unwrap();
        let mut header = Header::new(&body, member.epoch, member.numbering.next_own(), view);
        header.type_code = type_code;
        header.compressed = compressed;
        header.to = to("g");
        let bytes = header.encode(&body);
        member.numbering.sent(NOW, None);
        assert_eq!(table.connections[b].carrier.submit(bytes), Submit::Accepted);
        table.settle();
    };
    raw(&mut table, 5, true);
    raw(&mut table, 77, false);
    raw(&mut table, 7, false);
    table.connections[b].send(NOW, &to("g"), 1, Bytes::from_static(b"y"), SendOptions::default()).unwrap();
    table.settle();
    let counters = table.connections[a].membership().counters();
    assert_eq!((counters.unsupported_flags, counters.unknown_type, counters.malformed), (1, 1, 1));
    assert_eq!((counters.gaps, counters.messages_delivered), (0, 1));
    assert!(table.notices[a].iter().any(|n| n.text.starts_with("ec_cluster: unknown message type 77")));
}

#[test]
fn an_envelope_of_the_future_is_refused_at_admission() {
    let mut table = Table::new();
    let a = table.add(info("a", "192.0.2.1"), Options::default());
    let mut stranger = table.network.attach(99);
    table.settle();
    assert_eq!(stranger.submit(Bytes::from_static(b"MB\x02whatever")), Submit::Accepted);
    table.settle();
    // Nobody waits for somebody who cannot be understood.
    let b = table.add(info("b", "192.0.2.2"), Options::default());
    assert_eq!(table.connections[b].membership().members().count(), 2);
    assert_eq!(table.connections[a].membership().counters().unknown_version, 1);
    let wanted = "attachment 99.2 speaks bus envelope version 2, this node version 1; it cannot be admitted. Run \
                  releases that share a version";
    assert_eq!(table.has_notice(a, Severity::Error, wanted), 1);
}

/// Back to back, as fast as the queue takes them; `bus_case_15_two_hundred_large_messages` does it with real daemons.
#[test]
fn bus_case_15_large_messages_arrive_whole_and_in_order() {
    let mut table = Table::new();
    let members = [("a", "192.0.2.1"), ("b", "192.0.2.2"), ("c", "192.0.2.3")]
        .map(|(node, address)| table.add(info(node, address), Options::default()));
    for member in members {
        table.connections[member].join(NOW, group("g")).unwrap();
    }
    table.settle();
    let payload = Bytes::from(vec![7; 1_000_000]);
    let [a, _, _] = members;
    let (mut sent, mut full) = (0, 0);
    while sent < 200 {
        match table.connections[a].send(NOW, &to("g"), sent, payload.clone(), SendOptions::default()) {
            Ok(_) => sent += 1,
            Err(error) => {
                assert_eq!(error, SendError::QueueFull);
                full += 1;
                assert!(full < 200, "the queue does not empty");
                table.settle();
            }
        }
    }
    let large = Bytes::from(vec![7; 1_000_001]);
    let refused = table.connections[a].send(NOW, &to("g"), 200, large, SendOptions::default());
    assert!(matches!(refused, Err(SendError::TooLarge { .. })), "{refused:?}");
    table.settle();
    for member in members {
        let mut next = 0;
        for event in &table.events[member] {
            if let BusEvent::Message { kind, payload: came, .. } = event {
                assert_eq!((*kind, *came == payload), (next, true));
                next += 1;
            }
        }
        assert_eq!(next, 200);
    }
}

/// A manager commands nodes in a group that it is not in. Where a node that joins the group just then comes in, is the same
/// to all.
#[test]
fn bus_case_14_a_manager_sends_to_a_group_that_it_has_not_joined() {
    let mut table = Table::new();
    let [a, b, c] = [("a", "192.0.2.1"), ("b", "192.0.2.2"), ("c", "192.0.2.3")]
        .map(|(node, address)| table.add(info(node, address), Options::default()));
    let mut manager = info("m", "192.0.2.4");
    manager.node_type = NodeType::Manager;
    manager.private_name = PrivateName::manager(&manager.node_name);
    let m = table.add(manager, Options::default());
    for node in [a, b] {
        table.connections[node].join(NOW, group("ec_console")).unwrap();
    }
    table.settle();
    let command = |table: &mut Table, kind| {
        let sent =
            table.connections[m].send(NOW, &to("ec_console"), kind, Bytes::new(), SendOptions::default());
        sent.unwrap();
    };
    command(&mut table, 1);
    table.connections[c].join(NOW, group("ec_console")).unwrap();
    command(&mut table, 2);
    table.settle();
    command(&mut table, 3);
    table.settle();
    let name = table.connections[c].membership().name().clone();
    // Commands, and 0 where the node comes in.
    let seen = |of: usize| -> Vec<u16> {
        let what = table.events[of].iter().filter_map(|event| match event {
            BusEvent::Message { kind, .. } => Some(*kind),
            BusEvent::GroupView { group, members, .. }
                if group.as_str() == "ec_console" && members.contains(&name) =>
            {
                Some(0)
            }
            BusEvent::View { .. }
            | BusEvent::GroupView { .. }
            | BusEvent::SendReady
            | BusEvent::Lost { .. } => None,
        });
        what.collect()
    };
    assert_eq!(seen(a).iter().filter(|kind| **kind > 0).collect::<Vec<_>>(), [&1, &2, &3]);
    assert_eq!(seen(a), seen(b));
    let after: Vec<u16> = seen(a).into_iter().skip_while(|kind| *kind > 0).collect();
    assert_eq!(seen(c), after);
    assert_eq!(seen(m).iter().filter(|kind| **kind > 0).count(), 0);
}

#[test]
fn only_managers_take_what_is_for_managers() {
    let mut table = Table::new();
    let a = table.add(info("a", "192.0.2.1"), Options::default());
    let mut manager = info("m", "192.0.2.2");
    manager.node_type = NodeType::Manager;
    manager.private_name = PrivateName::manager(&manager.node_name);
    let m = table.add(manager, Options::default());
    for member in [a, m] {
        table.connections[member].join(NOW, group("g")).unwrap();
    }
    let options = SendOptions { managers_only: true, ..SendOptions::default() };
    table.connections[a].send(NOW, &to("g"), 1, Bytes::from_static(b"x"), options).unwrap();
    table.settle();
    let messages = |index: usize| {
        table.events[index].iter().filter(|event| matches!(event, BusEvent::Message { .. })).count()
    };
    assert_eq!((messages(a), messages(m)), (0, 1));
    assert_eq!(table.connections[m].membership().leader().map(|l| l.info.node_name.as_str()), Some("a"));
}

#[test]
fn a_change_without_oneself_is_the_end() {
    let (a, b) = (RawId { major: 1, minor: 1 }, RawId { major: 2, minor: 2 });
    let mut member = Membership::new(a, info("a", "192.0.2.1"), Random::seeded(1), Options::default());
    member.handle_carrier(NOW, change(&[a, b], &[a]));
    let left = vec![(a, RawReason::NodeDown)];
    member.handle_carrier(NOW, CarrierEvent::Change { members: vec![b], left, joined: Vec::new() });
    assert_eq!(member.poll_event(), Some(BusEvent::Lost { reason: LostReason::Expelled }));
    assert!(member.poll_detach());
    assert_eq!(member.poll_submit(), None);
}

/// A member that stood still reads many heartbeats at once; it must not take their age for wrong clocks.
#[test]
fn old_heartbeats_say_nothing_about_clocks() {
    let mut table = Table::new();
    let a = table.add(info("a", "192.0.2.1"), Options::default());
    let b = table.add(info("b", "192.0.2.2"), Options::default());
    let known = |table: &Table| {
        let health = table.connections[b].membership().health(table.network.now());
        health.iter().filter(|member| member.clock_offset_millis.is_some()).count()
    };
    table.pass(4, &[a, b], honest);
    assert_eq!(known(&table), 2);
    table.standing_still = Some(b);
    table.pass(8, &[a], honest);
    table.standing_still = None;
    // It reads before it does anything else.
    table.settle();
    table.pass(3, &[a, b], honest);
    let warnings: Vec<&Notice> =
        table.notices[b].iter().filter(|n| n.severity == Severity::Warning).collect();
    assert!(warnings.is_empty(), "{warnings:?}");
    assert_eq!(known(&table), 2);
}

/// A bus that stood still, as a ring that is formed anew, delivers many heartbeats at once.
#[test]
fn late_heartbeats_say_nothing_about_clocks() {
    let mut table = Table::new();
    let members = [
        table.add(info("a", "192.0.2.1"), Options::default()),
        table.add(info("b", "192.0.2.2"), Options::default()),
    ];
    table.pass(4, &members, honest);
    table.network.set_stepwise(true);
    table.pass(6, &members, honest);
    table.network.set_stepwise(false);
    table.pass(6, &members, honest);
    for member in members {
        let warnings: Vec<&Notice> =
            table.notices[member].iter().filter(|n| n.text.contains("clock")).collect();
        assert!(warnings.is_empty(), "{warnings:?}");
        let health = table.connections[member].membership().health(table.network.now());
        assert!(health.iter().all(|member| member.clock_offset_millis == Some(0)), "{health:?}");
    }
}
