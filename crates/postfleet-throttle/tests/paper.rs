//! Acceptance cases of shared throttles, by name: every message is delivered by hand, to all at once.

#![allow(
    clippy::unwrap_used,
    clippy::cast_possible_truncation,
    clippy::print_stdout,
    reason = "a test whose own input is wrong has to fail"
)]

use std::time::Duration;

use postfleet_throttle::{
    Configuration, Departure, Epsilon, Partition, Present, Rate, SharedThrottles, ThrottleError, ThrottleId,
    ThrottleOptions,
};
use postfleet_types::{Monotonic, PrivateName};

struct Member {
    table: SharedThrottles,
    id: ThrottleId,
    /// When it used how many.
    uses: Vec<(Monotonic, u64)>,
}

/// Members whose messages take no time.
struct Fleet {
    now: Monotonic,
    members: Vec<Member>,
    views: u64,
}

const START: Monotonic = Monotonic::from_millis(1_000_000);

fn seconds(seconds: f64) -> Duration {
    Duration::from_secs_f64(seconds)
}

fn name(of: usize) -> PrivateName {
    PrivateName::shared(&format!("{}", char::from(b'a' + u8::try_from(of).unwrap())).parse().unwrap(), 1)
}

impl Fleet {
    /// Members that share one throttle, which exists.
    fn new(members: usize, rate: &str, epsilon: &str, partition: Partition) -> Self {
        let rate: Rate = rate.parse().unwrap();
        let epsilon: Epsilon = epsilon.parse().unwrap();
        let options = ThrottleOptions { partition, ..ThrottleOptions::default() };
        let members = (0..members).map(|of| {
            let name = name(of);
            let mut table = SharedThrottles::new(&name, options);
            // Before there is a fleet nothing of the throttle exists.
            let id = table.configure(START, "unused", rate).unwrap();
            table.unconfigure(START, "unused");
            Member { table, id, uses: Vec::new() }
        });
        let mut fleet = Self { now: START, members: members.collect(), views: 0 };
        let all: Vec<usize> = (0..fleet.members.len()).collect();
        fleet.view(&all, &[], &all);
        for member in &mut fleet.members {
            member.id = member.table.create(START, "throttle", rate, epsilon).unwrap();
        }
        fleet.flush(&all);
        fleet
    }

    /// A configuration for those members; `anew` did not come along with the others.
    fn view(&mut self, present: &[usize], departed: &[(usize, Departure)], anew: &[usize]) {
        self.views += 1;
        let id = self.views * 1000 + present.iter().sum::<usize>() as u64;
        let names: Vec<PrivateName> = present.iter().map(|of| name(*of)).collect();
        let members: Vec<Present<'_>> = names.iter().map(|name| Present { name, relay: true }).collect();
        let departed: Vec<(PrivateName, Departure)> =
            departed.iter().map(|(of, how)| (name(*of), *how)).collect();
        for of in present {
            let others = anew.iter().filter(|other| *other != of);
            let joined: Vec<PrivateName> = if anew.contains(of) {
                present.iter().filter(|other| *other != of).map(|of| name(*of)).collect()
            } else {
                others.map(|of| name(*of)).collect()
            };
            let next = Configuration { id, members: &members, departed: &departed, joined: &joined };
            self.members[*of].table.reconfigure(self.now, &next);
        }
        self.flush(present);
    }

    /// The next message of one member, if it has any.
    fn drain(&mut self, of: usize) -> Option<(usize, Vec<u8>)> {
        Some((of, self.members[of].table.drain_outbox(self.now, 60_000)?))
    }

    fn deliver(&mut self, to: &[usize], (from, bytes): (usize, Vec<u8>)) {
        let from = name(from);
        for of in to {
            self.members[*of].table.apply(self.now, &from, &bytes).unwrap();
        }
    }

    fn flush(&mut self, among: &[usize]) {
        loop {
            let mut silent = true;
            for of in among {
                while let Some(message) = self.drain(*of) {
                    silent = false;
                    self.deliver(among, message);
                }
            }
            self.note(among);
            if silent {
                return;
            }
        }
    }

    fn note(&mut self, among: &[usize]) {
        for of in among {
            let member = &mut self.members[*of];
            while let Some(granted) = member.table.poll_granted() {
                member.uses.push((self.now, granted.units));
            }
        }
    }

    fn request(&mut self, of: usize, units: u64) {
        let member = &mut self.members[of];
        member.table.request(self.now, &[member.id], units).unwrap();
    }

    /// Lets time pass among members that hear each other.
    fn advance(&mut self, among: &[usize], by: f64) {
        let end = self.now + seconds(by);
        loop {
            let next = among.iter().filter_map(|of| self.members[*of].table.poll_deadline()).min();
            let heartbeat = self.now + Duration::from_secs(1);
            let next = next.unwrap_or(end).max(self.now).min(end).min(heartbeat);
            self.now = next;
            for of in among {
                self.members[*of].table.heard(next, next);
                self.members[*of].table.handle_timeout(next);
            }
            self.flush(among);
            if next == end {
                return;
            }
        }
    }

    /// What each of them owns, as the first of them has it.
    fn own(&self, among: &[usize]) -> Vec<u64> {
        let why = self.members[among[0]].table.why(self.now, "throttle").unwrap();
        among
            .iter()
            .map(|of| {
                why.members.iter().find(|one| *one.member == name(*of)).map_or(0, |one| one.used + one.held)
            })
            .collect()
    }

    /// Who waits, and for how many, in no order.
    fn wants(&self, of: usize) -> Vec<u64> {
        let why = self.members[of].table.why(self.now, "throttle").unwrap();
        why.members.iter().map(|one| one.wanted).collect()
    }

    fn used_by(&self, of: usize, from: f64, to: f64) -> u64 {
        let (from, to) = (START + seconds(from), START + seconds(to));
        self.members[of].uses.iter().filter(|(at, _)| *at >= from && *at < to).map(|(_, units)| units).sum()
    }

    fn all_equal(&self, among: &[usize]) {
        let first = self.members[among[0]].table.fingerprint();
        assert!(among.iter().all(|of| self.members[*of].table.fingerprint() == first));
    }
}

/// Claims are delivered in this order; what each was granted by its own claim.
fn claims(rate: &str, epsilon: &str, claims: &[(usize, u64)]) -> Vec<u64> {
    let members = claims.iter().map(|(of, _)| of + 1).max().unwrap();
    let mut fleet = Fleet::new(members, rate, epsilon, Partition::Share);
    let all: Vec<usize> = (0..members).collect();
    let mut waiting = Vec::new();
    let mut granted = Vec::new();
    for (of, units) in claims {
        if waiting.iter().any(|(from, _)| from == of) {
            // It claims again when its claim has come back.
            for message in waiting.drain(..) {
                let before = fleet.own(&all)[message.0];
                let of = message.0;
                fleet.deliver(&all, message);
                granted.push(fleet.own(&all)[of] - before);
            }
        }
        fleet.request(*of, *units);
        waiting.extend(fleet.drain(*of));
    }
    for message in waiting {
        let of = message.0;
        let before = fleet.own(&all)[of];
        fleet.deliver(&all, message);
        granted.push(fleet.own(&all)[of] - before);
    }
    fleet.all_equal(&all);
    granted
}

#[test]
fn replication_a19_a_claim_takes_its_part_of_what_is_left() {
    assert_eq!(claims("30/60", "0.95", &[(0, 30), (1, 30), (2, 30), (0, 30)]), [28, 1, 1, 0]);
    let eight: Vec<(usize, u64)> = (0..8).map(|of| (of, 30)).collect();
    assert_eq!(claims("30/60", "0.5", &eight), [15, 7, 4, 2, 1, 1, 0, 0]);
    assert_eq!(claims("100/60", "0.95", &[(0, 10), (1, 100), (2, 100), (3, 100)]), [10, 85, 4, 1]);
}

#[test]
fn replication_a26_units_that_have_cooled_go_to_those_that_own_fewer() {
    let mut fleet = Fleet::new(3, "10/60", "0.95", Partition::Share);
    let all = [0, 1, 2];
    for (of, units) in [(0, 10), (1, 4), (2, 1)] {
        fleet.request(of, units);
    }
    let messages: Vec<_> = all.iter().filter_map(|of| fleet.drain(*of)).collect();
    for message in messages {
        fleet.deliver(&all, message);
    }
    assert_eq!(fleet.own(&all), [9, 1, 0]);
    assert_eq!(fleet.wants(0), [1, 3, 1]);
    // a and b have more to send than they claimed.
    fleet.request(0, 20);
    fleet.request(1, 3);
    fleet.note(&all);
    assert_eq!(fleet.used_by(0, 0.0, 1.0), 9);
    fleet.advance(&all, 60.059);
    assert_eq!(fleet.own(&all), [9, 1, 0]);
    // What a says then, and nothing else: the unit of b cools at the same moment here.
    fleet.now = fleet.now + seconds(0.001);
    fleet.members[0].table.heard(fleet.now, fleet.now);
    fleet.members[0].table.handle_timeout(fleet.now);
    let message = fleet.drain(0).unwrap();
    fleet.deliver(&all, message);
    fleet.note(&all);
    assert_eq!(fleet.own(&all), [5, 4, 1]);
    assert_eq!(fleet.wants(0)[1..], [0, 0]);
    assert!(fleet.wants(0)[0] > 0);
    assert_eq!(fleet.used_by(0, 60.0, 61.0), 5);
    assert!(fleet.used_by(1, 60.0, 61.0) >= 3);
    assert_eq!(fleet.used_by(2, 60.0, 61.0), 1);
    fleet.all_equal(&all);
}

#[test]
fn replication_a27_a_limit_smaller_than_the_fleet_rotates() {
    let mut fleet = Fleet::new(4, "1/10", "0.95", Partition::Share);
    let all = [0, 1, 2, 3];
    all.iter().for_each(|of| fleet.request(*of, 100));
    fleet.flush(&all);
    fleet.advance(&all, 85.0);
    let mut uses: Vec<(Duration, usize)> = Vec::new();
    for of in all {
        uses.extend(fleet.members[of].uses.iter().map(|(at, _)| (at.since(START), of)));
    }
    uses.sort_unstable();
    let order: Vec<usize> = uses.iter().map(|(_, of)| *of).collect();
    assert_eq!(order, [0, 1, 2, 3, 0, 1, 2, 3, 0]);
    for (turn, (at, _)) in uses.iter().enumerate() {
        assert_eq!(*at, Duration::from_millis(10_010 * turn as u64));
    }

    let mut fleet = Fleet::new(4, "2/10", "0.95", Partition::Share);
    all.iter().for_each(|of| fleet.request(*of, 100));
    let claims: Vec<_> = all.iter().filter_map(|of| fleet.drain(*of)).collect();
    claims.into_iter().for_each(|claim| fleet.deliver(&all, claim));
    fleet.flush(&all);
    fleet.advance(&all, 35.0);
    let turns = [0.0, 10.01, 20.02, 30.03];
    for of in all {
        let at: Vec<f64> =
            fleet.members[of].uses.iter().map(|(at, _)| at.since(START).as_secs_f64()).collect();
        assert_eq!(at, if of < 2 { [turns[0], turns[2]] } else { [turns[1], turns[3]] });
    }
}

/// a owns 4 of 6, b and c one each, and a departs at 3 s.
fn departed(how: Departure) -> Fleet {
    let mut fleet = Fleet::new(3, "6/10", "0.95", Partition::Share);
    let all = [0, 1, 2];
    for (of, units) in [(0, 4), (1, 2), (2, 3)] {
        fleet.request(of, units);
    }
    let messages: Vec<_> = all.iter().filter_map(|of| fleet.drain(*of)).collect();
    for message in messages {
        fleet.deliver(&all, message);
    }
    assert_eq!(fleet.own(&all), [4, 1, 1]);
    // Nothing is wanted beyond the first units for long, so that what b and c own stays theirs: they send more.
    fleet.request(1, 100);
    fleet.request(2, 100);
    fleet.advance(&all, 3.0);
    fleet.view(&[1, 2], &[(0, how)], &[]);
    fleet
}

#[test]
fn replication_a28_units_of_a_dead_member_are_free_when_they_have_cooled() {
    let mut fleet = departed(Departure::Certain);
    let left = [1, 2];
    assert_eq!(fleet.own(&left), [1, 1]);
    let why = fleet.members[1].table.why(fleet.now, "throttle").unwrap();
    assert_eq!((why.value, why.limit, why.gone.len()), (6, 6, 1));
    fleet.advance(&left, 10.0);
    assert_eq!(fleet.own(&left).iter().sum::<u64>(), 2);
    fleet.advance(&left, 0.02);
    assert_eq!(fleet.own(&left).iter().sum::<u64>(), 6);
    fleet.all_equal(&left);

    // Its host went silent: it may go on for four seconds, and keeps its part of the limit.
    let mut fleet = departed(Departure::Uncertain);
    fleet.advance(&left, 14.0);
    assert_eq!(fleet.own(&left).iter().sum::<u64>(), 2);
    fleet.advance(&left, 0.02);
    assert_eq!(fleet.own(&left).iter().sum::<u64>(), 4);
    // The operator says that it is gone for good.
    assert_eq!(fleet.members[1].table.forget(fleet.now, "b"), Err(ThrottleError::Present("b".to_string())));
    fleet.members[1].table.forget(fleet.now, "a").unwrap();
    fleet.flush(&left);
    assert_eq!(fleet.own(&left).iter().sum::<u64>(), 6);
    fleet.all_equal(&left);
}

/// The grants of A28 as they are worded: b and c want two and three in all.
#[test]
fn replication_a28_what_was_wanted_is_dealt_by_the_expiry() {
    let mut fleet = Fleet::new(3, "6/10", "0.95", Partition::Share);
    let all = [0, 1, 2];
    for (of, units) in [(0, 4), (1, 2), (2, 3)] {
        fleet.request(of, units);
    }
    let messages: Vec<_> = all.iter().filter_map(|of| fleet.drain(*of)).collect();
    for message in messages {
        fleet.deliver(&all, message);
    }
    fleet.now = fleet.now + seconds(3.0);
    fleet.view(&[1, 2], &[(0, Departure::Certain)], &[]);
    // b and c have used their unit and have not got it back when the units of a expire.
    let why = fleet.members[1].table.why(fleet.now, "throttle").unwrap();
    let wanted: Vec<u64> = why.members.iter().map(|one| one.wanted).collect();
    assert_eq!(wanted, [1, 2]);
    for of in [1, 2] {
        let member = &mut fleet.members[of];
        // Used again and again, so that it is never idle.
        member.table.heard(fleet.now, fleet.now);
    }
    fleet.now = fleet.now + seconds(10.01);
    for of in [1, 2] {
        fleet.members[of].table.heard(fleet.now, fleet.now);
    }
    fleet.members[1].table.handle_timeout(fleet.now);
    fleet.flush(&[1, 2]);
    let why = fleet.members[1].table.why(fleet.now, "throttle").unwrap();
    assert!(why.gone.is_empty());
    assert!(why.value <= 6);
}

#[test]
fn replication_a29_sides_of_a_split_fleet_go_on_with_their_parts() {
    let all = [0, 1, 2, 3];
    let level = |partition| {
        let mut fleet = Fleet::new(4, "8/10", "0.95", partition);
        all.iter().for_each(|of| fleet.request(*of, 1000));
        fleet.flush(&all);
        fleet.advance(&all, 45.0);
        assert_eq!(fleet.own(&all), [2, 2, 2, 2]);
        fleet
    };
    let gone = |of: &[usize]| of.iter().map(|of| (*of, Departure::Uncertain)).collect::<Vec<_>>();

    let mut fleet = level(Partition::Share);
    fleet.view(&[0, 1], &gone(&[2, 3]), &[]);
    fleet.view(&[2, 3], &gone(&[0, 1]), &[]);
    for step in 0..60 {
        fleet.advance(&[0, 1], 0.25);
        fleet.now = fleet.now - seconds(0.25);
        fleet.advance(&[2, 3], 0.25);
        for side in [[0, 1], [2, 3]] {
            assert_eq!(fleet.own(&side), [2, 2], "step {step}");
            let why = fleet.members[side[0]].table.why(fleet.now, "throttle").unwrap();
            assert_eq!((why.limit, why.part), (4, (2, 4)));
        }
    }
    let mut uses: Vec<(Monotonic, u64)> =
        fleet.members.iter().flat_map(|member| member.uses.clone()).collect();
    uses.sort_unstable();
    for (at, _) in &uses {
        let window = uses.iter().filter(|(other, _)| *other <= *at && *other + seconds(10.0) > *at);
        assert!(window.map(|(_, units)| units).sum::<u64>() <= 8);
    }

    let mut fleet = level(Partition::Quorum);
    let split = fleet.now.since(START).as_secs_f64();
    fleet.view(&[0, 1, 2], &gone(&[3]), &[]);
    fleet.view(&[3], &gone(&[0, 1, 2]), &[]);
    fleet.members[3].uses.clear();
    fleet.advance(&[0, 1, 2], 14.0);
    assert_eq!(fleet.own(&[0, 1, 2]), [2, 2, 2]);
    fleet.advance(&[0, 1, 2], 0.1);
    assert_eq!(fleet.own(&[0, 1, 2]).iter().sum::<u64>(), 8);
    fleet.now = START + seconds(split);
    fleet.advance(&[3], 30.0);
    assert_eq!(fleet.members[3].uses, []);
}

/// Who is quorate is the bus's to say where it counts votes: managers may vote, and of two hosts one may be enough.
#[test]
fn replication_9_4_5_the_quorate_side_is_the_one_that_the_bus_names() {
    let gone = |of: &[usize]| of.iter().map(|of| (*of, Departure::Uncertain)).collect::<Vec<_>>();
    let mut fleet = Fleet::new(4, "8/10", "0.95", Partition::Quorum);
    let limit = |fleet: &Fleet, of: usize| fleet.members[of].table.why(fleet.now, "throttle").unwrap().limit;
    let tell = |fleet: &mut Fleet, of: &[usize], held| {
        let now = fleet.now;
        of.iter().for_each(|of| fleet.members[*of].table.set_quorum(now, held));
        fleet.flush(of);
    };
    let (large, small) = ([0, 1, 2], [3]);
    fleet.view(&large, &gone(&small), &[]);
    fleet.view(&small, &gone(&large), &[]);
    // Until something is said, more than half of the seats.
    assert_eq!([limit(&fleet, 0), limit(&fleet, 2), limit(&fleet, 3)], [8, 8, 0]);
    // The hosts of the fourth and two managers are the majority. Only the first one's word is taken to the others.
    tell(&mut fleet, &[1], Some(false));
    assert_eq!(limit(&fleet, 1), 8);
    tell(&mut fleet, &large, Some(false));
    tell(&mut fleet, &small, Some(true));
    assert_eq!([0, 1, 2, 3].map(|of| limit(&fleet, of)), [0, 0, 0, 8]);
    // One more departs: that brings nothing back, before anything is said again.
    fleet.view(&[0, 1], &gone(&[2]), &[]);
    assert_eq!([limit(&fleet, 0), limit(&fleet, 1)], [0, 0]);
    // The managers come over to this side.
    tell(&mut fleet, &[0, 1], Some(true));
    tell(&mut fleet, &small, Some(false));
    assert_eq!([0, 1, 3].map(|of| limit(&fleet, of)), [8, 8, 0]);
    // Together again: what sides were told is about others, and everybody but the third is here.
    fleet.view(&[0, 1, 3], &[], &[3]);
    assert_eq!([0, 1, 3].map(|of| limit(&fleet, of)), [8, 8, 8]);
    // The word of a member about a configuration that has passed says nothing.
    let now = fleet.now;
    fleet.members[0].table.set_quorum(now, Some(false));
    let late = fleet.drain(0).unwrap();
    fleet.view(&[0, 1], &gone(&[3]), &[]);
    fleet.deliver(&[0, 1], late);
    assert_eq!([limit(&fleet, 0), limit(&fleet, 1)], [0, 0]);
    tell(&mut fleet, &[0, 1], Some(true));
    assert_eq!([limit(&fleet, 0), limit(&fleet, 1)], [8, 8]);
    // Without the bus nobody says anything.
    fleet.members[0].table.lost(fleet.now);
    assert_eq!(limit(&fleet, 0), 0);
}

#[test]
fn policy_p17_counts_of_all_nodes_exceed_a_shared_throttle() {
    let mut fleet = Fleet::new(2, "10/60", "0.95", Partition::Share);
    let all = [0, 1];
    for (of, incs) in [(0, 8), (1, 3)] {
        for _ in 0..incs {
            let member = &mut fleet.members[of];
            member.table.inc(fleet.now, member.id).unwrap();
        }
    }
    // Before anything is delivered each knows its own only.
    let check = |fleet: &Fleet, of: usize| fleet.members[of].table.check(fleet.members[of].id);
    assert_eq!(check(&fleet, 1), Ok(false));
    fleet.flush(&all);
    assert_eq!((check(&fleet, 0), check(&fleet, 1)), (Ok(true), Ok(true)));
    fleet.advance(&all, 60.0);
    assert_eq!(check(&fleet, 0), Ok(true));
    fleet.advance(&all, 0.07);
    assert_eq!(check(&fleet, 0), Ok(false));
    fleet.advance(&all, 0.94);
    assert_eq!((check(&fleet, 0), check(&fleet, 1)), (Err(ThrottleError::Stale), Err(ThrottleError::Stale)));
    assert_eq!(fleet.members[0].table.lookup("throttle"), None);
}

#[test]
fn replication_9_4_4_a_check_fears_what_others_have_not_said() {
    let mut fleet = Fleet::new(2, "10/60", "0.5", Partition::Share);
    // Half of what is left may be used here without asking: the sixth is too much.
    let member = &mut fleet.members[0];
    for inc in 1..=6 {
        member.table.inc(fleet.now, member.id).unwrap();
        assert_eq!(member.table.check(member.id), Ok(inc > 5), "{inc}");
    }
}

#[test]
fn replication_9_3_the_first_create_delivered_decides() {
    let options = ThrottleOptions::default();
    let mut fleet = Fleet::new(2, "10/60", "0.95", Partition::Share);
    let all = [0, 1];
    let create = |fleet: &mut Fleet, of: usize, rate: &str| {
        let now = fleet.now;
        fleet.members[of].table.create(now, "late", rate.parse().unwrap(), Epsilon::default()).unwrap();
        fleet.drain(of).unwrap()
    };
    let first = create(&mut fleet, 1, "3/10");
    let second = create(&mut fleet, 0, "4/10");
    fleet.deliver(&all, first);
    fleet.deliver(&all, second);
    for of in all {
        let why = fleet.members[of].table.why(fleet.now, "late").unwrap();
        assert_eq!((why.rate.to_string(), why.limit), ("3/10".to_string(), 3));
    }
    let notice = fleet.members[0].table.poll_notice().unwrap();
    assert_eq!(
        notice.text,
        "throttle 'late' stays at 3/10; a script asked for 4/10, which will take effect when it has been idle for 11 s"
    );
    assert_eq!(options.capacity, None);
}

/// mta 7.5: all or nothing.
#[test]
fn replication_9_4_a_refusal_by_the_third_consumes_nothing_of_the_others() {
    let mut fleet = Fleet::new(2, "10/60", "0.95", Partition::Share);
    let all = [0, 1];
    let now = fleet.now;
    let ids: Vec<ThrottleId> = [("global", "100/60"), ("group", "50/60"), ("domain", "1/60")]
        .into_iter()
        .map(|(name, rate)| fleet.members[0].table.configure(now, name, rate.parse().unwrap()).unwrap())
        .collect();
    fleet.flush(&all);
    let ticket = fleet.members[0].table.request(now, &ids, 1).unwrap();
    // The units come in turns, the slowest throttle first; then the ticket has them all.
    let mut got = Vec::new();
    for _ in 0..8 {
        if let Some(message) = fleet.drain(0) {
            fleet.deliver(&all, message);
        }
        got.extend(fleet.members[0].table.poll_granted());
    }
    assert_eq!(got.len(), 1);
    assert_eq!((got[0].ticket, got[0].units, got[0].last), (ticket, 1, true));
    let used = |fleet: &Fleet| {
        let rows = fleet.members[0].table.rows();
        rows.filter(|row| row.name != "throttle")
            .map(|row| (row.name.to_string(), row.used))
            .collect::<Vec<_>>()
    };
    let before = used(&fleet);
    assert_eq!(before.iter().map(|(_, used)| *used).sum::<u64>(), 3, "{before:?}");
    assert_eq!(fleet.members[0].table.take(now, &ids, 5), Ok(0));
    fleet.flush(&all);
    assert_eq!(used(&fleet), before);
    // Whoever waits for the third holds nothing of the first two.
    let ticket = fleet.members[0].table.request(now, &ids, 2).unwrap();
    fleet.flush(&all);
    assert_eq!(used(&fleet), before);
    assert_eq!(fleet.members[0].table.cancel(now, ticket), 2);
    // Without the third there is room.
    fleet.members[0].table.request(now, &ids[..2], 3).unwrap();
    fleet.flush(&all);
    assert_eq!(fleet.members[0].uses.iter().map(|(_, units)| units).sum::<u64>(), 3);
}

#[test]
fn configuration_8_4_a_shadowed_throttle_holds_nothing_back_and_shows_what_it_would() {
    let mut fleet = Fleet::new(2, "3/60", "0.95", Partition::Share);
    let all = [0, 1];
    let now = fleet.now;
    let member = &mut fleet.members[0];
    member.table.set_shadow(now, member.id, true).unwrap();
    for _ in 0..10 {
        assert_eq!(member.table.take(now, &[member.id], 1), Ok(1));
    }
    fleet.flush(&all);
    let why = fleet.members[0].table.why(now, "throttle").unwrap();
    assert_eq!((why.shadow, why.value, why.limit), (Some(10), 3, 3));
    assert!(why.members[0].wanted > 0 && why.members[0].waiting.is_some());
    assert_eq!(why.grants.iter().map(|grant| grant.units).sum::<u64>(), 3);
}

#[test]
fn mta_7_5_a_grant_that_is_not_used_is_released() {
    let mut fleet = Fleet::new(2, "2/60", "0.95", Partition::Share);
    let all = [0, 1];
    fleet.request(0, 1);
    fleet.flush(&all);
    assert_eq!(fleet.own(&all), [1, 0]);
    let now = fleet.now;
    let member = &mut fleet.members[0];
    member.table.put_back(now, &[member.id], 1).unwrap();
    fleet.request(1, 2);
    fleet.flush(&all);
    // It goes to whom waits for it.
    assert_eq!(fleet.own(&all), [0, 2]);
}

#[test]
fn replication_9_4_5_an_orderly_leave_gives_what_is_idle() {
    let mut fleet = Fleet::new(2, "10/60", "0.95", Partition::Share);
    let all = [0, 1];
    fleet.request(0, 2);
    fleet.flush(&all);
    let now = fleet.now;
    let member = &mut fleet.members[0];
    member.table.put_back(now, &[member.id], 1).unwrap();
    member.table.leave(now);
    fleet.flush(&all);
    assert_eq!(fleet.own(&all), [1, 0]);
    fleet.view(&[1], &[(0, Departure::Certain)], &[]);
    let why = fleet.members[1].table.why(now, "throttle").unwrap();
    assert_eq!((why.limit, why.gone[0].units, why.gone[0].free_in), (10, 1, seconds(60.06)));
}

#[test]
fn replication_9_4_5_who_leaves_and_is_alone_claims_nothing_of_what_it_gives() {
    for before in [false, true] {
        let mut fleet = Fleet::new(2, "2/60", "0.95", Partition::Share);
        fleet.request(0, 5);
        fleet.flush(&[0, 1]);
        let now = fleet.now;
        if before {
            fleet.members[0].table.leave(now);
            fleet.members[0].table.lost(now);
        } else {
            fleet.members[0].table.lost(now);
            fleet.members[0].table.leave(now);
        }
        // Three still wait when the two have cooled.
        let later = now + seconds(61.0);
        fleet.members[0].table.handle_timeout(later);
        let why = fleet.members[0].table.why(later, "throttle").unwrap();
        assert_eq!(why.value, 0, "everything was given");
        assert_eq!(why.members.iter().map(|member| member.used + member.held).sum::<u64>(), 0);
    }
}

#[test]
fn replication_9_4_6_a_new_rate_is_in_force_when_it_is_delivered() {
    let mut fleet = Fleet::new(2, "10/60", "0.95", Partition::Share);
    let all = [0, 1];
    let now = fleet.now;
    for of in all {
        fleet.members[of].table.configure(now, "global", "6/10".parse().unwrap()).unwrap();
    }
    fleet.flush(&all);
    let id = fleet.members[0].table.lookup("global").unwrap();
    fleet.members[0].table.request(now, &[id], 100).unwrap();
    fleet.flush(&all);
    fleet.members[1].table.configure(now, "global", "2/10".parse().unwrap()).unwrap();
    fleet.flush(&all);
    let why = fleet.members[0].table.why(now, "global").unwrap();
    assert_eq!((why.rate.to_string().as_str(), why.value, why.limit), ("2/10", 6, 2));
    fleet.members[0].uses.clear();
    fleet.advance(&all, 10.02);
    // Six have cooled, two are used again.
    assert_eq!(fleet.members[0].table.why(fleet.now, "global").unwrap().value, 2);
    assert_eq!(fleet.members[0].uses.iter().map(|(_, units)| units).sum::<u64>(), 2);
}

#[test]
fn replication_17_5_a_member_that_has_not_heard_of_itself_uses_nothing() {
    let mut fleet = Fleet::new(2, "10/60", "0.95", Partition::Share);
    let all = [0, 1];
    fleet.request(0, 10);
    fleet.flush(&all);
    fleet.request(0, 10);
    fleet.members[0].uses.clear();
    // It stands still, and its units have cooled when it goes on.
    fleet.now = fleet.now + seconds(61.0);
    fleet.members[0].table.handle_timeout(fleet.now);
    fleet.note(&all);
    assert_eq!(fleet.members[0].uses, []);
    assert!(fleet.members[0].table.why(fleet.now, "throttle").unwrap().cut_off);
    // What it had sent before comes back late and proves nothing.
    fleet.members[0].table.heard(fleet.now, fleet.now - seconds(30.0));
    fleet.note(&all);
    assert_eq!(fleet.members[0].uses, []);
    fleet.members[0].table.heard(fleet.now, fleet.now - seconds(0.1));
    fleet.note(&all);
    assert_eq!(fleet.members[0].uses.iter().map(|(_, units)| units).sum::<u64>(), 10);
}

#[test]
fn replication_9_3_the_least_recently_used_in_the_order_goes_when_the_table_is_full() {
    let options = ThrottleOptions { capacity: Some(2), ..ThrottleOptions::default() };
    let mut tables: Vec<SharedThrottles> =
        (0..2).map(|of| SharedThrottles::new(&name(of), options)).collect();
    let names = [name(0), name(1)];
    let members = [Present { name: &names[0], relay: true }, Present { name: &names[1], relay: true }];
    for of in 0..2 {
        let joined = [names[1 - of].clone()];
        let next = Configuration { id: 1, members: &members, departed: &[], joined: &joined };
        tables[of].reconfigure(START, &next);
    }
    let flush = |tables: &mut Vec<SharedThrottles>| loop {
        let Some((of, bytes)) =
            (0..2).find_map(|of| tables[of].drain_outbox(START, 60_000).map(|bytes| (of, bytes)))
        else {
            return;
        };
        tables.iter_mut().for_each(|table| table.apply(START, &names[of], &bytes).unwrap());
    };
    flush(&mut tables);
    let rate: Rate = "5/60".parse().unwrap();
    for throttle in ["a", "b"] {
        tables[0].create(START, throttle, rate, Epsilon::default()).unwrap();
    }
    flush(&mut tables);
    let a = tables[1].lookup("a").unwrap();
    tables[1].inc(START, a).unwrap();
    flush(&mut tables);
    tables[1].create(START, "c", rate, Epsilon::default()).unwrap();
    flush(&mut tables);
    for table in &tables {
        assert_eq!(table.rows().map(|row| row.name).collect::<Vec<_>>(), ["a", "c"]);
        assert_eq!(table.fingerprint(), tables[0].fingerprint());
        assert_eq!(table.counters().evicted, 1);
    }
}

#[test]
fn replication_9_4_4_a_lone_member_behaves_like_a_throttle_of_one_node() {
    let mut table = SharedThrottles::new(&name(0), ThrottleOptions::default());
    let id = table.create(START, "t", "2/10".parse().unwrap(), Epsilon::default()).unwrap();
    assert_eq!(table.take(START, &[id], 5), Ok(0), "nothing is at hand before it was asked for");
    table.request(START, &[id], 4).unwrap();
    let mut releases = Vec::new();
    let mut now = START;
    while releases.len() < 4 {
        while let Some(granted) = table.poll_granted() {
            releases.extend((0..granted.units).map(|_| now.since(START).as_secs()));
        }
        let Some(due) = table.poll_deadline() else { break };
        now = due;
        table.handle_timeout(now);
    }
    assert_eq!(releases, [0, 0, 10, 10]);
}

/// What a split fleet shares is split again: the budget of a part of a part is that of the part.
#[test]
fn replication_9_4_5_units_of_a_member_that_dies_on_one_side_count_against_that_side() {
    let all = [0, 1, 2, 3, 4];
    let mut fleet = Fleet::new(5, "80/10", "0.95", Partition::Share);
    all.iter().for_each(|of| fleet.request(*of, 5000));
    fleet.flush(&all);
    fleet.advance(&all, 45.0);
    assert_eq!(fleet.own(&all), [16; 5]);
    let side = [0, 1, 2];
    fleet.view(&side, &[(3, Departure::Uncertain), (4, Departure::Uncertain)], &[]);
    fleet.advance(&side, 30.0);
    let why = |fleet: &Fleet| {
        let why = fleet.members[0].table.why(fleet.now, "throttle").unwrap();
        (why.value, why.limit, why.part)
    };
    assert_eq!(why(&fleet), (48, 48, (3, 5)));
    // c dies: the others may have 40 of what is left of its seat, but not while the units of c cool.
    fleet.view(&[0, 1], &[(2, Departure::Certain)], &[]);
    assert_eq!(why(&fleet), (48, 40, (2, 4)));
    fleet.advance(&[0, 1], 9.9);
    assert_eq!(why(&fleet), (48, 40, (2, 4)));
    fleet.advance(&[0, 1], 0.2);
    assert_eq!(why(&fleet), (40, 40, (2, 4)));
}
