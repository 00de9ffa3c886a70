//! Whole members in one process, over real sockets: joins, limits of the fleet, and what a busy fleet takes.

use super::rig::{Member, start, start_with};
use super::{LimitError, NAMED, TrialState};
use crate::cluster_listener::{Dialing, FleetKey, Tls};
use postfleet_replica::{Counted, Counters, Of};
use postfleet_throttle::{Epsilon, Limit, LimitKey, Limits, Through, To};
use std::net::IpAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

fn keyed(text: &str, tls: bool) -> Dialing {
    let key = FleetKey::new(text.repeat(8).into_bytes());
    Dialing { key: Some(key), tls: tls.then(|| Tls::new().unwrap()) }
}

impl Member {
    fn total(&self) -> u64 {
        self.fleet.replica(|replica| replica.object("inbound_cidr").unwrap().total(Of::Global).unwrap())
    }

    fn counters(&self) -> Counters {
        self.fleet.replica(|replica| replica.counters())
    }

    fn open(&self, addresses: impl Iterator<Item = u32>) -> Vec<(IpAddr, Counted)> {
        addresses
            .map(|bits| {
                let client = IpAddr::from(bits.to_be_bytes());
                (client, self.fleet.inbound_opened(client))
            })
            .collect()
    }

    async fn leave(mut self) {
        self.fleet.leave();
        // The listener's task ends with the set.
        drop(tokio::time::timeout(Duration::from_secs(5), self.tasks.join_next()).await);
        self.tasks.abort_all();
    }
}

async fn until(what: &str, condition: impl Fn() -> bool) -> Duration {
    let started = Instant::now();
    while !condition() {
        assert!(started.elapsed() < Duration::from_secs(60), "{what}");
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    started.elapsed()
}

/// `count` different addresses, far from each other.
fn scattered(count: u32) -> impl Iterator<Item = u32> {
    (0..count).map(|at| at.wrapping_mul(2_654_435_761))
}

fn rig(test: impl AsyncFnOnce(&Path)) {
    let dir = tempfile::tempdir().unwrap();
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    runtime.block_on(test(dir.path()));
    runtime.shutdown_timeout(Duration::from_millis(500));
}

/// A joiner of a member with 20 000 addresses, over real sockets.
fn joins(dialing: Dialing, joiner: Dialing, listens: bool) -> (Counters, Counters) {
    let mut counters = None;
    rig(async |dir| {
        let old = start(dir, 1, dialing, listens).await;
        until("the first is up", || old.complete(1)).await;
        let _open = old.open(scattered(20_000));
        let new = start(dir, 2, joiner, true).await;
        until("the joiner has everything", || new.complete(2) && new.total() == 20_000).await;
        counters = Some((old.counters(), new.counters()));
        new.leave().await;
        old.leave().await;
    });
    counters.unwrap()
}

#[test]
fn replication_s2_5_a_joiner_fetches_from_the_cluster_listener() {
    for dialing in [Dialing::default(), keyed("fleetkey", false), keyed("fleetkey", true)] {
        let (old, new) = joins(dialing.clone(), dialing, true);
        assert_eq!((old.fetches_served, old.chunks_sent), (1, 0));
        assert_eq!((new.fetches_opened, new.fetches_fallen_back, new.gaps), (1, 0, 0));
        assert_eq!(new.fetch_bytes_received, old.fetch_bytes_served);
    }
}

#[test]
fn replication_s2_5_the_bus_carries_what_cannot_be_fetched() {
    // Nobody listens there; or another key, so that the listener refuses.
    let closed = joins(Dialing::default(), Dialing::default(), false);
    let refused = joins(keyed("fleetkey", true), keyed("otherkey", true), true);
    for (old, new) in [closed, refused] {
        assert_eq!(new.fetches_fallen_back, 1);
        assert!(old.chunks_sent > 0 && new.chunks_received == old.chunks_sent);
        assert_eq!((old.fetches_served, new.fetch_chunks_received, new.gaps), (0, 0, 0));
    }
}

/// Two members that have exchanged their tables.
async fn two(dir: &Path) -> (Member, Member) {
    let a = start(dir, 1, Dialing::default(), true).await;
    until("the first is up", || a.complete(1)).await;
    let b = start(dir, 2, Dialing::default(), true).await;
    until("two are up", || a.complete(2) && b.complete(2)).await;
    let settled = |member: &Member| member.fleet.replica(|replica| replica.awaited(NAMED).is_empty());
    until("tables are exchanged", || settled(&a) && settled(&b)).await;
    (a, b)
}

#[test]
fn whoever_waits_for_a_unit_gets_it_when_it_is_free() {
    rig(async |dir| {
        let (a, b) = two(dir).await;
        let rate = "1/1".parse().unwrap();
        a.fleet.create_throttle("t", rate, Epsilon::default()).unwrap();
        let known = |member: &Member| member.fleet.shared_why(NAMED, "t").is_ok();
        until("both know it", || known(&a) && known(&b)).await;
        assert_eq!(a.fleet.throttle(NAMED, "t", 1).await, Ok(1));
        until("b has heard of it", || b.fleet.shared_why(NAMED, "t").unwrap().value == 1).await;
        assert_eq!(b.fleet.throttle(NAMED, "t", 1).await, Ok(0));
        let started = Instant::now();
        // One that is given up before holds up nobody.
        drop(b.fleet.hold(NAMED, "t").unwrap());
        assert!(b.fleet.hold(NAMED, "t").unwrap().granted().await);
        let waited = started.elapsed();
        assert!((0.5..30.0).contains(&waited.as_secs_f64()), "{waited:?}");
        assert!(matches!(b.fleet.hold(NAMED, "none"), Err(LimitError::Throttle(_))));
        assert!(matches!(b.fleet.throttle("OBTM", "t", 1).await, Err(LimitError::NoObject(_))));
        b.leave().await;
        a.leave().await;
    });
}

#[test]
fn connections_open_on_slots_that_come_and_say_why_not() {
    rig(async |dir| {
        let (a, b) = two(dir).await;
        let key = LimitKey { through: Through::Any, to: To::Domain("example.com".into()) };
        let limit = Limit::of_option(key, 2, "Cluster_Max_Outbound_Connections", "", false).unwrap();
        let limits = Limits::new(vec![limit]).unwrap();
        let path = limits.path();
        a.fleet.want_slots(path, 2);
        while !a.fleet.open_slot(path) {
            drop(tokio::time::timeout(Duration::from_millis(20), a.fleet.slot_ready()).await);
        }
        until("the second", || a.fleet.open_slot(path)).await;
        until("b knows", || {
            b.fleet.shared_why("outbound_slots", "domain:example.com").is_ok_and(|why| why.value == 2)
        })
        .await;
        assert_eq!(b.fleet.may_connect(&limits), Err("domain:example.com: 2 of 2 (rig-1 2)".to_owned()));
        assert!(!b.fleet.open_slot(path));
        b.fleet.want_slots(path, 1);
        until("a is asked to end one", || a.fleet.slot_at_boundary(path)).await;
        a.fleet.close_slot(path);
        until("b opens", || b.fleet.may_connect(&limits).is_ok() && b.fleet.open_slot(path)).await;
        assert_eq!(a.fleet.open_trial("domain:example.org", 1, 1).unwrap().wanted, 1);
        until("the trial opens", || a.fleet.close_trial("domain:example.org", 0).unwrap().open == 1).await;
        assert_eq!(a.fleet.close_trial("domain:example.org", 1), Ok(TrialState { open: 0, wanted: 0 }));
        b.leave().await;
        a.leave().await;
    });
}

/// While a joiner waits for the others' columns it does not see the whole fleet, and opens nothing under its limits.
#[test]
fn replication_s2_5_a_joiner_opens_nothing_until_it_is_complete() {
    rig(async |dir| {
        let key = LimitKey { through: Through::Any, to: To::Domain("example.com".into()) };
        let limit = Limit::of_option(key, 2, "Cluster_Max_Outbound_Connections", "", false).unwrap();
        let limits = Limits::new(vec![limit]).unwrap();
        let a = start(dir, 1, Dialing::default(), true).await;
        until("the first is up", || a.complete(1)).await;
        let _open = a.open(scattered(50_000));
        let b = start(dir, 2, Dialing::default(), true).await;
        let waits = |member: &Member| member.fleet.replica(|replica| replica.waiting());
        let started = Instant::now();
        let mut refused = 0;
        while !b.complete(2) {
            assert!(started.elapsed() < Duration::from_secs(60));
            let before = waits(&b);
            let (opened, answer) = (b.fleet.open_slot(limits.path()), b.fleet.may_connect(&limits));
            if before && waits(&b) {
                assert!(!opened);
                assert!(answer.is_err_and(|text| text.contains("has just joined")));
                refused += 1;
            }
            tokio::task::yield_now().await;
        }
        assert!(refused > 0, "it never waited");
        b.leave().await;
        a.leave().await;
    });
}

/// A node whose disk hangs has an event loop that runs. The others go on without it, and it stays away until its work gets
/// on.
#[test]
fn bus_s5_3_a_node_whose_work_hangs_is_put_out_and_stays_away() {
    use crate::fleet::{Report, ReportOf};
    use std::sync::atomic::{AtomicBool, Ordering};
    rig(async |dir| {
        let hangs = Arc::new(AtomicBool::new(false));
        let of_b = Arc::clone(&hangs);
        let report: ReportOf = Arc::new(move || {
            let stuck = if of_b.load(Ordering::Relaxed) { Duration::from_secs(60) } else { Duration::ZERO };
            Report { stuck, ..Report::default() }
        });
        // A second of silence is enough.
        let a = start_with(dir, 1, Dialing::default(), true, (10, 10), Arc::new(Report::default)).await;
        let b = start_with(dir, 2, Dialing::default(), true, (10, 10), report).await;
        let sees = |member: &Member, others: usize| {
            member.fleet.main().members.len() == others && member.fleet.shared().members.len() == others
        };
        until("both are members", || sees(&a, 2) && sees(&b, 2)).await;
        hangs.store(true, Ordering::Relaxed);
        until("a goes on alone", || sees(&a, 1)).await;
        until("b knows", || !b.fleet.main().connected && !b.fleet.shared().connected).await;
        hangs.store(false, Ordering::Relaxed);
        let away = until("b is back", || sees(&a, 2) && sees(&b, 2)).await;
        assert!(away >= Duration::from_millis(3500), "{away:?}");
        b.leave().await;
        a.leave().await;
    });
}

/// What an operator may expect, printed by `make measure`; docs/structures/columns.md has the figures. In an ordinary run
/// they are small and only prove that they still run.
mod measurements {
    use super::*;

    fn keys() -> u32 {
        std::env::var("POSTFLEET_KEYS").ok().and_then(|keys| keys.parse().ok()).unwrap_or(20_000)
    }

    fn say(text: std::fmt::Arguments<'_>) {
        eprintln!("{text}");
    }

    #[test]
    fn a_joiner() {
        let keys = keys();
        for (what, dialing, listens) in [
            ("plain", Dialing::default(), true),
            ("TLS 1.3", keyed("fleetkey", true), true),
            ("on the bus", Dialing::default(), false),
        ] {
            rig(async |dir| {
                let old = start(dir, 1, dialing.clone(), listens).await;
                until("the first is up", || old.complete(1)).await;
                let _open = old.open(scattered(keys));
                let new = start(dir, 2, dialing, true).await;
                let took = until("complete", || new.complete(2) && new.total() == u64::from(keys)).await;
                let bytes = old.counters().fetch_bytes_served + old.counters().chunk_bytes_sent;
                say(format_args!(
                    "joiner, {keys} keys, {what}: complete {:.2} s after its start, {bytes} bytes",
                    took.as_secs_f64()
                ));
                new.leave().await;
                old.leave().await;
            });
        }
    }

    #[test]
    fn a_busy_member() {
        let length = Duration::from_millis(u64::from(keys() / 200));
        rig(async |dir| {
            let a = start(dir, 1, Dialing::default(), true).await;
            until("the first is up", || a.complete(1)).await;
            let b = start(dir, 2, Dialing::default(), true).await;
            until("two are up", || a.complete(2) && b.complete(2)).await;
            // Ten thousand changes in a second, as of a busy relay.
            let before = a.counters();
            let addresses: Vec<u32> = scattered(10_000).collect();
            for part in addresses.chunks(100) {
                drop(a.open(part.iter().copied()));
                tokio::time::sleep(Duration::from_millis(9)).await;
            }
            until("all have arrived", || b.total() == 10_000).await;
            let after = a.counters();
            say(format_args!(
                "10 000 changes in about a second: {} messages, {} bytes on the bus",
                after.batches_sent - before.batches_sent,
                after.batch_bytes_sent - before.batch_bytes_sent
            ));
            // As many as go: opened and closed again, so that keys do not pile up.
            let received = b.counters().changes_received;
            let started = Instant::now();
            let fleet = Arc::clone(&a.fleet);
            let changing = tokio::task::spawn_blocking(move || {
                let addresses: Vec<IpAddr> =
                    scattered(500_000).skip(10_000).map(|bits| IpAddr::from(bits.to_be_bytes())).collect();
                let mut changes = 0u64;
                while started.elapsed() < length {
                    let open: Vec<_> =
                        addresses.iter().map(|client| (*client, fleet.inbound_opened(*client))).collect();
                    for (client, counted) in open {
                        fleet.inbound_closed(client, counted);
                        changes += 2;
                    }
                }
                changes
            });
            let changes = changing.await.unwrap();
            until("all have arrived", || b.total() == 10_000).await;
            let seconds = started.elapsed().as_secs_f64();
            let received = b.counters().changes_received - received;
            #[expect(clippy::cast_precision_loss, reason = "shown in thousands")]
            let rate = |count: u64| count as f64 / seconds / 1000.0;
            say(format_args!(
                "sustained: {:.0} thousand changes a second made, {:.0} thousand key updates a second applied by the \
                 other (changes of one key in one batch are one update)",
                rate(changes),
                rate(received)
            ));
            b.leave().await;
            a.leave().await;
        });
    }
}
