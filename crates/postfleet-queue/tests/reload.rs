//! What another configuration changes for queues that are at work, and several throttles at a time.
#![allow(clippy::unwrap_used, reason = "tests")]

mod support;

use std::time::Duration;

use postfleet_queue::{Action, Ended, HostSettings, Next, Outcome, QueueSettings, Routed, Settings};
use postfleet_spool::QueueKey;
use postfleet_throttle::{Through, To};
use support::{Bench, Config, config, defaults, key, limit, one_host, pair, rate};

#[test]
fn of_ten_connections_five_end_when_the_limit_falls_to_five() {
    five_end(|most| {
        config(move |key| QueueSettings {
            limits: vec![pair(key, most)],
            connections_max: Some(most),
            ..defaults()
        })
    });
}

#[test]
fn of_ten_connections_five_end_when_the_limit_of_the_host_falls_to_five() {
    let ten = |_: &QueueKey| QueueSettings { connections_max: Some(10), ..defaults() };
    let of =
        |most| limit(Through::Any, To::Host("mx.example.com".to_owned()), most, "Max_Outbound_Connections");
    five_end(|most| {
        let host = move |_: &str| HostSettings { address_limit: None, limits: vec![of(most)] };
        Box::new(Config(Box::new(ten), Box::new(host)))
    });
    five_end(|most| {
        let host = move |_: &str| HostSettings { address_limit: Some(of(most)), limits: Vec::new() };
        Box::new(Config(Box::new(ten), Box::new(host)))
    });
}

fn five_end(with: impl Fn(u64) -> Box<dyn Settings>) {
    let queue = key("default", "default", "example.com");
    let mut bench = Bench::new(with(10));
    (0..40).for_each(|_| _ = bench.mail(&queue, 1));
    bench.run();
    assert_eq!(bench.connections(&queue), 10);
    let now = bench.now();
    bench.scheduler.configure(now, with(5));
    // All come to the end of their message before the first has said goodbye.
    let mut told = Vec::new();
    for (connection, open) in &bench.open {
        for message in &open.sending {
            bench.scheduler.settled(now, *connection, *message, Outcome::Delivered);
        }
    }
    for connection in bench.open.keys() {
        if bench.scheduler.next(now, *connection, &mut *bench.shared) == Next::Quit {
            told.push(*connection);
        }
    }
    assert_eq!(told.len(), 5);
    // Asked again, the same ones end and no others.
    let again: Vec<_> = bench.open.keys().copied().collect();
    let again: Vec<_> = again
        .into_iter()
        .filter(|connection| bench.scheduler.next(now, *connection, &mut *bench.shared) == Next::Quit)
        .collect();
    assert!(again.is_empty() || again == told, "{again:?}");
    for connection in told {
        bench.open.remove(&connection);
        bench.scheduler.ended(now, connection, Ended::Done, &mut *bench.shared);
    }
    (0..10).for_each(|_| _ = bench.mail(&queue, 1));
    bench.pass(Duration::from_secs(3));
    assert_eq!(bench.connections(&queue), 5);
}

#[test]
fn no_such_domain_is_counted_once_in_five_minutes_however_often_is_reloaded() {
    let mut bench = Bench::new(config(|_| defaults()));
    bench.route = Box::new(|_| Routed::NoSuchDomain);
    let queue = key("default", "default", "nowhere.example");
    bench.mail(&queue, 1);
    bench.run();
    for _ in 0..5 {
        let now = bench.now();
        bench.scheduler.configure(now, config(|_| defaults()));
        bench.pass(Duration::from_secs(1));
    }
    assert_eq!(bench.resolved, 6, "each reload asks at once");
    assert!(bench.reports.is_empty(), "and the message lives");
    bench.pass(Duration::from_secs(295));
    assert_eq!(bench.resolved, 7);
    bench.pass(Duration::from_secs(300));
    assert_eq!(bench.reports.len(), 1, "the third look-up is believed");
}

#[test]
fn an_answer_for_a_configuration_that_is_gone_is_asked_for_again() {
    let queue = key("default", "default", "example.com");
    for outdated in [
        Routed::NoSuchDomain,
        Routed::Nowhere("556 5.1.10 [internal] NULL MX domain does not accept mail"),
        Routed::Later("454 4.4.4 [internal] no MX or A for domain"),
    ] {
        let mut bench = Bench::new(config(|_| defaults()));
        bench.mail(&queue, 1);
        let now = bench.now();
        let action = bench.scheduler.poll(now, &mut *bench.shared);
        assert!(matches!(action, Some(Action::Resolve { .. })), "{action:?}");
        bench.scheduler.configure(now, config(|_| defaults()));
        bench.scheduler.routed(now, &queue, outdated);
        bench.route = Box::new(one_host);
        bench.run();
        assert_eq!((bench.resolved, bench.connections(&queue)), (1, 1));
        assert!(bench.reports.is_empty());
    }
}

#[test]
fn of_two_throttles_both_hold() {
    // Ten at once but fifteen a minute; six a second.
    let rates = || [rate("15/60", ""), rate("6", "g")].into_iter().flatten().collect();
    let mut bench = Bench::new(config(move |_| QueueSettings { message_rates: rates(), ..defaults() }));
    let queue = key("default", "default", "example.com");
    (0..100).for_each(|_| _ = bench.mail(&queue, 1));
    let mut sent = Vec::new();
    for second in 0..60 {
        let before = bench.reports.len();
        for _ in 0..20 {
            bench.settle(|_| Outcome::Delivered);
            bench.pass(Duration::from_millis(50));
            let idle: Vec<_> = bench.open.iter().filter(|(_, open)| open.sending.is_empty()).collect();
            let idle: Vec<_> = idle.into_iter().map(|(connection, _)| *connection).collect();
            idle.into_iter().for_each(|connection| bench.ask(connection));
        }
        sent.push(bench.reports.len() - before);
        assert!(sent[second] <= 7, "{sent:?}");
    }
    let all: usize = sent.iter().sum();
    assert_eq!(all, 15, "{sent:?}");
}
