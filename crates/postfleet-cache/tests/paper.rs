//! The numbered cases of the reference, and what the documentation promises.
#![allow(clippy::unwrap_used, reason = "a test whose own input is wrong has to fail")]

use std::time::Duration;

use bytes::Bytes;
use postfleet_cache::{Cache, CacheLimits, Delivered, GaugeCache, GaugeLimits, Ttl, Write, Writer};
use postfleet_types::{Monotonic, View};

fn name(text: &str) -> Writer {
    text.parse().unwrap()
}

fn at(seconds: u64) -> Monotonic {
    Monotonic::from_millis(seconds * 1000)
}

fn unbounded() -> Cache {
    Cache::new(CacheLimits { pairs_max: None })
}

fn write(key: &str, value: &str, ttl: Ttl, clock_millis: u64) -> Write {
    Write {
        key: Bytes::copy_from_slice(key.as_bytes()),
        value: Bytes::copy_from_slice(value.as_bytes()),
        ttl,
        clock_millis,
    }
}

fn value<'a>(cache: &'a Cache, key: &str, now: Monotonic) -> Option<&'a [u8]> {
    cache.value(key.as_bytes(), now).map(|value| &**value)
}

#[test]
fn replication_a15_joiners_with_and_without_a_snapshot() {
    let a = name("#ec1-00001#a");
    let (mut k1, mut k2) = (unbounded(), unbounded());
    for cache in [&mut k1, &mut k2] {
        cache.deliver(Delivered::Own(&a), write("x", "1", Ttl::NEVER, 5000), at(0));
    }
    // d joins: k2 has a snapshot, k1 has none.
    let (mut d1, mut d2) = (unbounded(), unbounded());
    d2.begin_exchange();
    d2.absorb(k2.rows(at(1)), at(7));
    d2.end_exchange();
    assert_eq!((value(&d1, "x", at(7)), value(&d2, "x", at(7))), (None, Some(&b"1"[..])));
    d1.deliver(Delivered::Other(&a), write("x", "2", Ttl::NEVER, 6000), at(8));
    assert_eq!(value(&d1, "x", at(8)), Some(&b"2"[..]));
}

#[test]
fn two_writes_of_a_key_at_once_end_the_same_everywhere() {
    let (a, b) = (name("#ec1-00001#a"), name("#ec1-00001#b"));
    let (mut on_a, mut on_b) = (unbounded(), unbounded());
    on_a.set("k".into(), "of a".into(), Ttl::NEVER, at(0));
    on_b.set("k".into(), "of b".into(), Ttl::NEVER, at(0));
    assert_eq!(value(&on_a, "k", at(0)), Some(&b"of a"[..]));
    let from_a = on_a.send(at(0), 1000).pop().unwrap();
    let from_b = on_b.send(at(0), 900).pop().unwrap();
    // The order is b's write, then a's.
    on_a.deliver(Delivered::Other(&b), from_b.clone(), at(0));
    assert_eq!(value(&on_a, "k", at(0)), Some(&b"of a"[..]), "a's own write is still on its way");
    on_b.deliver(Delivered::Own(&b), from_b, at(0));
    assert_eq!(value(&on_b, "k", at(0)), Some(&b"of b"[..]));
    on_a.deliver(Delivered::Own(&a), from_a.clone(), at(0));
    on_b.deliver(Delivered::Other(&a), from_a, at(0));
    for cache in [&on_a, &on_b] {
        assert_eq!(value(cache, "k", at(0)), Some(&b"of a"[..]));
    }
    assert!(on_a.rows(at(0)).eq(on_b.rows(at(0))));
}

#[test]
fn the_last_write_in_the_order_wins_even_with_a_clock_that_is_behind() {
    let (a, b) = (name("#ec1-00001#a"), name("#ec1-00001#b"));
    let mut cache = unbounded();
    cache.deliver(Delivered::Other(&a), write("k", "1", Ttl::NEVER, 9_000_000), at(0));
    cache.deliver(Delivered::Other(&b), write("k", "2", Ttl::NEVER, 5), at(0));
    assert_eq!(value(&cache, "k", at(0)), Some(&b"2"[..]));
    assert_eq!(cache.rows(at(0)).map(|row| row.stamp).collect::<Vec<_>>(), [9_000_001]);
}

#[test]
fn a_write_that_waits_is_superseded_by_the_next() {
    let mut cache = unbounded();
    assert!(cache.set("k".into(), "1".into(), Ttl::NEVER, at(0)));
    assert!(!cache.set("k".into(), "2".into(), Ttl::NEVER, at(0)));
    assert!(cache.set("l".into(), "3".into(), Ttl::NEVER, at(0)));
    assert_eq!(cache.waiting(), 2);
    let sent: Vec<Bytes> = cache.send(at(0), 0).into_iter().map(|write| write.value).collect();
    assert_eq!(sent, ["2", "3"]);
    assert_eq!(cache.send(at(0), 0), []);
}

#[test]
fn what_was_sent_when_the_bus_was_lost_is_sent_again() {
    let a = name("#ec1-00001#a");
    let mut cache = unbounded();
    cache.set("k".into(), "1".into(), Ttl::NEVER, at(0));
    assert_eq!(cache.send(at(0), 0).len(), 1);
    cache.lost();
    assert_eq!(value(&cache, "k", at(1)), Some(&b"1"[..]));
    let again = cache.send(at(1), 1000).pop().unwrap();
    cache.deliver(Delivered::Own(&a), again, at(1));
    assert_eq!(value(&cache, "k", at(1)), Some(&b"1"[..]));
    assert!(cache.send(at(1), 0).is_empty());
}

#[test]
fn a_pair_ends_its_time_to_live_after_its_delivery() {
    let a = name("#ec1-00001#a");
    let mut cache = unbounded();
    cache.set("k".into(), "1".into(), Ttl::from_seconds(10), at(0));
    // It waited for four seconds, and time to live goes on while it travels.
    let write = cache.send(at(4), 0).pop().unwrap();
    assert_eq!(write.ttl, Ttl::from_seconds(6));
    cache.deliver(Delivered::Own(&a), write, at(5));
    assert!(value(&cache, "k", at(10)).is_some());
    assert_eq!(cache.poll_expire(), Some(at(11)));
    assert_eq!(value(&cache, "k", at(11)), None);
    assert_eq!(cache.shown(at(10)).map(|(_, ttl, _)| ttl.to_string()).collect::<Vec<_>>(), ["1"]);
    cache.expire(at(11));
    assert_eq!((cache.poll_expire(), cache.shown(at(11)).count()), (None, 0));
}

#[test]
fn an_own_write_on_its_way_expires_too() {
    let mut cache = unbounded();
    cache.set("k".into(), "1".into(), Ttl::from_seconds(10), at(0));
    assert!(value(&cache, "k", at(9)).is_some());
    assert_eq!(value(&cache, "k", at(10)), None);
}

#[test]
fn over_its_size_a_cache_drops_what_has_expired_then_what_was_written_longest_ago() {
    let a = name("#ec1-00001#a");
    let mut cache = Cache::new(CacheLimits { pairs_max: Some(2) });
    let mut deliver = |key, ttl, clock| {
        cache.deliver(Delivered::Other(&a), write(key, "v", ttl, clock), at(0));
        cache.rows(at(0)).map(|row| String::from_utf8(row.key.to_vec()).unwrap()).collect::<Vec<_>>()
    };
    assert_eq!(deliver("old", Ttl::NEVER, 0), ["old"]);
    assert_eq!(deliver("brief", Ttl::from_millis(500), 100), ["old", "brief"]);
    // `brief` ends at stamp 600: it goes although `old` was written before it.
    assert_eq!(deliver("new", Ttl::NEVER, 700), ["old", "new"]);
    assert_eq!(deliver("newer", Ttl::NEVER, 800), ["new", "newer"]);
    // Writing a key again makes it the youngest.
    assert_eq!(deliver("new", Ttl::NEVER, 900), ["newer", "new"]);
}

#[test]
fn a_clock_far_ahead_takes_nothing_that_lives() {
    let (a, b) = (name("#ec1-00001#a"), name("#ec1-00001#b"));
    let mut cache = unbounded();
    cache.deliver(Delivered::Other(&a), write("k", "1", Ttl::from_seconds(60), 1000), at(0));
    cache.deliver(Delivered::Other(&b), write("l", "1", Ttl::from_seconds(60), u64::MAX / 2), at(0));
    assert!(value(&cache, "k", at(59)).is_some());
}

#[test]
fn stamps_of_expired_pairs_are_forgotten_after_an_hour() {
    let a = name("#ec1-00001#a");
    let mut cache = unbounded();
    cache.deliver(Delivered::Other(&a), write("k", "1", Ttl::from_seconds(60), 0), at(0));
    cache.deliver(Delivered::Other(&a), write("l", "1", Ttl::NEVER, 3_659_000), at(3659));
    assert_eq!(cache.len(), 2);
    cache.deliver(Delivered::Other(&a), write("l", "1", Ttl::NEVER, 3_660_000), at(3660));
    assert_eq!(cache.len(), 1);
}

#[test]
fn forgetting_says_how_many_values_there_were() {
    let a = name("#ec1-00001#a");
    let mut cache = unbounded();
    cache.deliver(Delivered::Other(&a), write("k", "1", Ttl::NEVER, 0), at(0));
    cache.deliver(Delivered::Other(&a), write("l", "1", Ttl::from_seconds(1), 0), at(0));
    cache.deliver(Delivered::Other(&a), write("m", "1", Ttl::NEVER, 0), at(0));
    assert_eq!(cache.forget(at(2), |key| key != b"m"), 1);
    assert_eq!(
        cache.shown(at(2)).map(|(key, ..)| key.clone()).collect::<Vec<_>>(),
        [Bytes::from_static(b"m")]
    );
}

#[test]
fn a_write_during_an_exchange_wins_over_what_was_there_before() {
    let (a, b) = (name("#ec1-00001#a"), name("#ec1-00001#b"));
    let (mut one, mut other) = (unbounded(), unbounded());
    one.deliver(Delivered::Other(&a), write("k", "one", Ttl::NEVER, 9000), at(0));
    other.deliver(Delivered::Other(&b), write("k", "other", Ttl::NEVER, 50), at(0));
    let (rows, theirs) = (one.rows(at(0)).collect::<Vec<_>>(), other.rows(at(0)).collect::<Vec<_>>());
    for cache in [&mut one, &mut other] {
        cache.begin_exchange();
        // By a clock that is behind both.
        cache.deliver(Delivered::Other(&b), write("k", "new", Ttl::NEVER, 10), at(0));
    }
    one.absorb(theirs, at(0));
    other.absorb(rows, at(0));
    for cache in [&mut one, &mut other] {
        cache.end_exchange();
        let held: Vec<_> = cache.rows(at(0)).map(|row| (row.stamp, row.value)).collect();
        assert_eq!(held, [(9001, Some(Bytes::from_static(b"new")))]);
    }
}

#[test]
fn gauges_are_sums_of_columns_and_may_be_negative() {
    let mut cache = GaugeCache::new(GaugeLimits { keys_max: 10, ttl: Some(Duration::from_secs(60)) });
    let (a, b) = (cache.insert_column(), cache.insert_column());
    cache.change(a, "k", 1, at(0));
    cache.change(b, "k", -3, at(0));
    assert_eq!(cache.value(View::Global, "k", at(1)), Some(-2));
    assert_eq!(cache.value(View::Column(a), "k", at(1)), Some(1));
    assert_eq!(cache.value(View::Global, "l", at(1)), None);
    assert!(cache.remove("k") && !cache.remove("k"));
    assert_eq!(cache.value(View::Global, "k", at(1)), None);
}

#[test]
fn gauges_expire_by_their_last_modification_not_by_reads() {
    let mut cache = GaugeCache::new(GaugeLimits { keys_max: 10, ttl: Some(Duration::from_secs(60)) });
    let a = cache.insert_column();
    cache.change(a, "k", 1, at(0));
    cache.change(a, "k", 1, at(30));
    assert_eq!(cache.value(View::Global, "k", at(89)), Some(2));
    assert_eq!(cache.value(View::Global, "k", at(90)), None);
    // It begins anew at 0.
    cache.change(a, "k", 1, at(90));
    assert_eq!(cache.value(View::Global, "k", at(90)), Some(1));
}

#[test]
fn beyond_its_size_the_key_modified_longest_ago_goes() {
    let mut cache = GaugeCache::new(GaugeLimits { keys_max: 2, ttl: None });
    let a = cache.insert_column();
    for key in ["k", "l", "k", "m"] {
        cache.change(a, key, 1, at(0));
    }
    assert_eq!(cache.rows(View::Global, at(0)).collect::<Vec<_>>(), [("k", 2), ("m", 1)]);
    cache.set_limits(GaugeLimits { keys_max: 1, ttl: None });
    assert_eq!(cache.rows(View::Global, at(0)).collect::<Vec<_>>(), [("m", 1)]);
}
