//! Random histories of series and gauge caches: counts, removals, joins, crashes, lost connections, partitions, merges,
//! members at different paces. After quiet all members of a side agree, copies are what their owners have, and nothing is
//! counted twice. Replication document, section 17, invariants 1, 3 and 4.

#![allow(clippy::unwrap_used, reason = "a test may end here")]

mod fleet;

use fleet::Fleet;
use fleet::history::{self, Event};
use postfleet_replica::{
    GaugeLimits, Key, MetricWord, Mode, Monitor, ObjectKind, ObjectSpec, Of, ReplicaOptions, SeriesId,
    SeriesKind,
};
use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::TestRunner;
use std::collections::BTreeMap;
use std::time::Duration;

#[derive(Clone, Debug)]
enum Action {
    Add(u8, u8),
    Gauge(u8, u8),
    Remove(u8, u8),
    RemoveGauge(u8, u8),
    At(u8, Event),
    Advance(u16),
    Start,
    Merge,
}

fn action() -> impl Strategy<Value = Action> {
    use Action::*;
    use Event::*;
    prop_oneof![
        18 => (any::<u8>(), any::<u8>()).prop_map(|(p, k)| Add(p, k)),
        10 => (any::<u8>(), any::<u8>()).prop_map(|(p, k)| Gauge(p, k)),
        3 => (any::<u8>(), any::<u8>()).prop_map(|(p, k)| Remove(p, k)),
        3 => (any::<u8>(), any::<u8>()).prop_map(|(p, k)| RemoveGauge(p, k)),
        20 => any::<u8>().prop_map(|p| At(p, Sequence)),
        20 => (any::<u8>(), 1u8..6).prop_map(|(p, n)| At(p, Deliver(n))),
        16 => (any::<u8>(), 1u8..6).prop_map(|(p, n)| At(p, Carry(n))),
        1 => any::<u8>().prop_map(|p| At(p, CutLinks)),
        1 => any::<u8>().prop_map(|p| At(p, Listen)),
        12 => prop_oneof![Just(1u16), 1u16..30, 1u16..3000].prop_map(Advance),
        2 => Just(Start),
        4 => any::<u8>().prop_map(|p| At(p, JoinGroup)),
        1 => any::<u8>().prop_map(|p| At(p, LeaveGroup)),
        2 => any::<u8>().prop_map(|p| At(p, Kill)),
        2 => any::<u8>().prop_map(|p| At(p, Lose)),
        3 => any::<u8>().prop_map(|p| At(p, Reconnect)),
        2 => any::<u8>().prop_map(|p| At(p, Split(p))),
        3 => Just(Merge),
    ]
}

fn monitor() -> Monitor {
    // All of a history lies in the span, so nothing ages out.
    Monitor::new(1800, 3).unwrap()
}

const NAMES: [(&str, SeriesKind); 2] = [("texts", SeriesKind::Text), ("clients", SeriesKind::Cidr)];

fn specs() -> Vec<ObjectSpec> {
    let mut spec = ObjectSpec::of(ObjectKind::Metrics);
    spec.words = vec![MetricWord::AuditSeries, MetricWord::GaugeCache];
    spec.snapshot = true;
    vec![ObjectSpec::of(ObjectKind::InboundCidr), spec]
}

fn key(of: u8) -> String {
    format!("k{}", of % 5)
}

type Counts = BTreeMap<String, i64>;

struct World {
    fleet: Fleet,
    nodes: u32,
    /// What each process counted, by key: the plain model, of series and of gauges.
    series: Vec<Counts>,
    gauges: Vec<Counts>,
}

impl World {
    fn start(&mut self) {
        self.nodes += 1;
        let at = self.fleet.spawn(&format!("n{}", self.nodes), specs());
        self.fleet.connect(at, 0);
        self.series.push(Counts::new());
        self.gauges.push(Counts::new());
    }

    fn series_of(&self, of: u8) -> (SeriesId<'static>, OwnKey) {
        let (name, kind) = NAMES[usize::from(of / 100).min(1)];
        let key = match kind {
            SeriesKind::Text => OwnKey::Text(key(of)),
            SeriesKind::Cidr | SeriesKind::CidrIpv6 | SeriesKind::Clients => OwnKey::Address(of % 5),
        };
        (SeriesId { name, kind, monitor: monitor() }, key)
    }

    fn act(&mut self, action: &Action) {
        match *action {
            Action::Start => {
                if self.fleet.alive().len() < 5 {
                    self.start();
                }
            }
            Action::Advance(millis) => self.fleet.advance(Duration::from_millis(millis.into())),
            Action::Merge => self.fleet.merge(0, 1),
            Action::Add(p, of) => {
                let Some(at) = self.fleet.pick(p) else { return };
                let (id, key) = self.series_of(of);
                let (now, wall) = (self.fleet.now, self.fleet.wall());
                let replica = &mut self.fleet.processes[at].replica;
                replica.set_wall(wall);
                assert_eq!(replica.count_named(now, Mode::Cluster, id, key.key(), 1, wall), Ok(true));
                *self.series[at].entry(format!("{} {}", id.name, key.key())).or_default() += 1;
                self.fleet.turn_ends(at);
            }
            Action::Gauge(p, of) => {
                let Some(at) = self.fleet.pick(p) else { return };
                let now = self.fleet.now;
                let replica = &mut self.fleet.processes[at].replica;
                replica.init_gauges("g", GaugeLimits { keys_max: 1000, ttl: None }).unwrap();
                assert_eq!(replica.add_gauge(now, "g", &key(of), 1), Ok(true));
                *self.gauges[at].entry(key(of)).or_default() += 1;
                self.fleet.turn_ends(at);
            }
            Action::Remove(p, of) => {
                let Some(at) = self.fleet.pick(p) else { return };
                let (id, key) = self.series_of(of);
                let now = self.fleet.now;
                self.fleet.processes[at].replica.remove_from_named(now, id, key.key());
                self.fleet.turn_ends(at);
            }
            Action::RemoveGauge(p, of) => {
                let Some(at) = self.fleet.pick(p) else { return };
                let now = self.fleet.now;
                self.fleet.processes[at].replica.remove_gauge(now, "g", &key(of));
                self.fleet.turn_ends(at);
            }
            Action::At(p, event) => {
                let Some(at) = self.fleet.pick(p) else { return };
                self.fleet.happen(at, event);
            }
        }
    }

    /// All that a member shows of a view: series by key over all windows, gauges by key.
    fn shown(&self, at: usize, of: Of<'_>) -> (Counts, Counts) {
        let object = self.fleet.processes[at].replica.object("metrics").unwrap();
        let mut series = Counts::new();
        for (name, _) in NAMES {
            for (key, cells) in object.series_rows(of, name, monitor()).unwrap() {
                series.insert(format!("{name} {key}"), cells.iter().sum());
            }
        }
        series.retain(|_, count| *count != 0);
        let mut gauges: Counts = object.gauge_rows(of, "g", self.fleet.now).unwrap().into_iter().collect();
        gauges.retain(|_, count| *count != 0);
        (series, gauges)
    }

    /// After quiet. `removals`: keys were removed, so that the plain model says nothing.
    fn check(&self, removals: bool) {
        for (at, process) in self.fleet.processes.iter().enumerate() {
            if !process.alive {
                continue;
            }
            let (own_series, own_gauges) = self.shown(at, Of::Own);
            if !removals {
                assert_eq!(own_series, self.series[at], "the own series of {}", process.node);
                assert_eq!(own_gauges, self.gauges[at], "the own gauges of {}", process.node);
            }
            let (series, gauges) = self.shown(at, Of::Global);
            if !removals {
                for (all, own, counted) in
                    [(&series, &self.series, "series"), (&gauges, &self.gauges, "gauges")]
                {
                    for (key, sum) in all {
                        let most: i64 = own.iter().filter_map(|counts| counts.get(key)).sum();
                        assert!(*sum <= most, "{counted} {key} on {}: {sum} of {most}", process.node);
                    }
                }
            }
            for (other_at, other) in self.fleet.processes.iter().enumerate() {
                let together = other.alive && other.side.is_some() && other.side == process.side;
                if !together || !other.in_group || !process.in_group {
                    continue;
                }
                let told = format!("{} on {}", other.node, process.node);
                if other_at != at {
                    let own = self.shown(other_at, Of::Own);
                    assert_eq!(self.shown(at, Of::Node(other.node.as_str())), own, "{told}");
                }
                assert_eq!(self.shown(other_at, Of::Global), (series.clone(), gauges.clone()), "{told}");
            }
            assert!(process.replica.complete() || !process.in_group, "{} is complete", process.node);
        }
    }
}

enum OwnKey {
    Text(String),
    Address(u8),
}

impl OwnKey {
    fn key(&self) -> Key<'_> {
        match self {
            Self::Text(text) => Key::Text(text),
            Self::Address(last) => Key::Address([192, 0, 2, *last].into()),
        }
    }
}

fn history(actions: &[Action], small: bool, removals: bool) -> World {
    let tune = if small { history::small } else { |_: &mut ReplicaOptions| {} };
    let mut world = World { fleet: Fleet::new(tune), nodes: 0, series: Vec::new(), gauges: Vec::new() };
    for _ in 0..3 {
        world.start();
        let last = world.fleet.processes.len() - 1;
        world.fleet.join_group(last);
    }
    for action in actions {
        let removal = matches!(action, Action::Remove(..) | Action::RemoveGauge(..));
        // What a removal means for those who leave without having seen it is told in docs/structures/columns.md.
        let departure = matches!(
            action,
            Action::At(_, Event::Kill | Event::Lose | Event::LeaveGroup | Event::Split(_)) | Action::Merge
        );
        let left_out = if removals { departure } else { removal };
        if left_out {
            continue;
        }
        world.act(action);
    }
    world.fleet.run_coarsely(8000);
    world.check(removals);
    world.fleet.reunite();
    world.fleet.run_coarsely(8000);
    world.check(removals);
    for process in &world.fleet.processes {
        for notice in &process.notices {
            assert!(!notice.starts_with("Error"), "{}: {notice}", process.node);
        }
        let counters = process.replica.counters();
        assert_eq!((counters.gaps, counters.malformed), (0, 0));
    }
    world
}

#[expect(clippy::disallowed_methods, reason = "how thorough a run is to be is the caller's choice")]
fn cases() -> u32 {
    std::env::var("POSTFLEET_CASES").ok().and_then(|cases| cases.parse().ok()).unwrap_or(100)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: cases(), ..ProptestConfig::default() })]

    #[test]
    fn nothing_is_lost_of_the_living_and_nothing_counted_twice(
        actions in prop::collection::vec(action(), 0..140),
        small: bool,
    ) {
        history(&actions, small, false);
    }

    #[test]
    fn members_agree_where_keys_are_removed(
        actions in prop::collection::vec(action(), 0..140),
        small: bool,
    ) {
        history(&actions, small, true);
    }
}

/// The histories above are worth something only if they meet what they are about.
#[test]
fn histories_meet_columns_of_the_departed() {
    let mut runner = TestRunner::deterministic();
    let strategy = prop::collection::vec(action(), 140);
    let (mut heritage, mut departed) = (0, 0);
    for _ in 0..20 {
        let world = history(&strategy.new_tree(&mut runner).unwrap().current(), true, false);
        for process in &world.fleet.processes {
            heritage += process.replica.counters().heritage_received;
            departed += process.replica.departed("metrics").len();
        }
    }
    assert!(heritage > 2 && departed > 4, "{heritage} parts, {departed} columns");
}

#[test]
fn a_member_that_comes_while_columns_are_being_told_is_told_too() {
    use Event::*;
    let actions = [
        Action::Add(95, 0),
        Action::At(106, Lose),
        Action::At(20, Deliver(2)),
        Action::At(95, Sequence),
        Action::At(108, Deliver(3)),
        Action::At(108, Deliver(5)),
        Action::Start,
        Action::At(86, Kill),
        Action::At(21, Lose),
        Action::At(235, Reconnect),
    ];
    history(&actions, false, false);
}

#[test]
fn a_key_removed_by_two_members_at_once_is_gone() {
    use Event::*;
    let actions = [
        Action::Start,
        Action::At(34, Deliver(2)),
        Action::At(169, Deliver(2)),
        Action::Add(238, 131),
        Action::At(0, JoinGroup),
        Action::Add(29, 100),
        Action::Add(0, 0),
        Action::Remove(5, 181),
        Action::At(9, Deliver(2)),
        Action::Remove(46, 231),
    ];
    history(&actions, false, true);
}
