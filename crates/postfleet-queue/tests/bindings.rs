//! Mail and the bindings it belongs to: what becomes of it when they change, and what one binding learns about hosts.
#![allow(clippy::unwrap_used, reason = "tests")]

mod support;

use postfleet_queue::{Bindings, Configured, Ended, HostSettings, Outcome, QueueSettings, Settings};
use postfleet_spool::{MessageId, QueueKey};
use std::sync::Arc;
use std::time::Duration;
use support::{Bench, config, defaults, key};

fn temporary(reply: &str) -> Outcome {
    Outcome::Temporary(Arc::from(reply))
}

/// A configuration with these bindings, each with its group.
#[derive(Debug)]
struct With(Bindings);

impl Settings for With {
    fn queue(&self, _: &QueueKey) -> Arc<QueueSettings> {
        Arc::new(defaults())
    }
    fn home(&self, queue: &QueueKey) -> Option<QueueKey> {
        let home = self.0.home(&queue.binding).queue(&queue.domain);
        (home != *queue).then_some(home)
    }
    fn host(&self, _: &QueueKey, _: &str) -> Arc<HostSettings> {
        Arc::default()
    }
}

fn with(bindings: &[(&str, &str)]) -> Box<dyn Settings> {
    let configured = bindings.iter().map(|(group, binding)| Configured {
        group: (*group).into(),
        binding: (*binding).into(),
        suspended: false,
    });
    Box::new(With(Bindings::new(configured, [])))
}

/// Active, delayed and connections of a queue; none when nobody knows it.
fn state(bench: &Bench, queue: &QueueKey) -> Option<(u64, u64, u64)> {
    let found = bench.scheduler.states().find(|state| *state.key == *queue)?;
    Some((found.active, found.delayed, found.connections))
}

#[test]
fn mta_6_7_mail_of_a_binding_that_is_removed_goes_to_default_with_its_failures() {
    let mut bench = Bench::new(with(&[("g", "b"), ("g", "stays")]));
    let (gone, home) = (key("g", "b", "example.com"), key("default", "default", "example.com"));
    // One is delayed, one in transmission, one will come late.
    let delayed = bench.mail(&gone, 1)[0];
    bench.run();
    bench.settle(|_| temporary("451 4.2.0 later"));
    bench.close_all();
    let sending = bench.mail(&gone, 1)[0];
    bench.run();
    assert_eq!(state(&bench, &gone), Some((1, 1, 1)));
    let stays = key("g", "stays", "example.com");
    bench.mail(&stays, 1);
    bench.run();

    let now = bench.now();
    assert_eq!(bench.scheduler.configure(now, with(&[("g", "stays")])), 1, "the delayed one goes at once");
    assert_eq!(state(&bench, &home), Some((0, 1, 0)));
    assert_eq!(bench.scheduler.message(delayed).unwrap().failures, 1);
    // The one in transmission follows when it is not delivered; its connection takes nothing more.
    bench
        .settle(|message| if message == sending { temporary("451 4.2.0 later") } else { Outcome::Delivered });
    assert_eq!(state(&bench, &home), Some((0, 2, 0)));
    assert_eq!(state(&bench, &gone), None, "the queue is forgotten");
    // What arrives for it, from the spool for one, is taken by default.
    bench.mail(&gone, 1);
    bench.run();
    assert_eq!(state(&bench, &home), Some((1, 2, 1)));
    bench.settle(|_| Outcome::Delivered);
    bench.pass(Duration::from_secs(1300));
    for _ in 0..3 {
        bench.settle(|_| Outcome::Delivered);
    }
    assert!(bench.scheduler.is_empty());
    let from_home = bench.reports.iter().filter(|report| *report.queue == home).count();
    assert_eq!(from_home, 3);
}

#[test]
fn mail_follows_its_binding_into_another_group_and_receptions_do_not_count_moves() {
    let mut bench = Bench::new(with(&[("g", "b")]));
    let ids = bench.mail(&key("g", "b", "example.com"), 3);
    let now = bench.now();
    assert_eq!(bench.scheduler.configure(now, with(&[("h", "b")])), 3);
    let moved = bench.scheduler.states().find(|state| *state.key == key("h", "b", "example.com")).unwrap();
    assert_eq!((moved.active, moved.receptions), (3, 0));
    assert_eq!(bench.scheduler.tally(&"b".into()).receptions, 3);
    // One message at a time: where it is already, or what is not here, does not move.
    let other = key("default", "default", "example.org");
    assert!(bench.scheduler.move_to(ids[0], &other) && !bench.scheduler.move_to(ids[0], &other));
    bench.run();
    assert!(!bench.scheduler.move_to(ids[1], &other), "a connection has it");
    assert_eq!(state(&bench, &other), Some((1, 0, 1)));
}

#[test]
fn a_host_that_refuses_one_binding_is_tried_by_another() {
    let mut bench = Bench::new(config(|_| defaults()));
    let (first, second) = (key("default", "a", "example.com"), key("default", "b", "example.com"));
    bench.dead = vec!["192.0.2.1:25".parse().unwrap()];
    bench.mail(&first, 1);
    bench.run();
    assert_eq!(bench.wait(&first), "no exchanger could be reached lately");
    bench.dead.clear();
    bench.mail(&second, 1);
    bench.run();
    assert_eq!((bench.connections(&first), bench.connections(&second)), (0, 1));
}

#[test]
fn a_walk_meets_each_waiting_message_once_and_nothing_that_came_later() {
    let mut bench = Bench::new(config(|_| QueueSettings { suspended: true, ..defaults() }));
    let (first, second) = (key("default", "a", "example.com"), key("default", "a", "example.org"));
    let mut ids = Vec::new();
    for _ in 0..4 {
        ids.extend(bench.mail(&first, 1));
        bench.mail(&second, 1);
    }
    let mut walk = bench.scheduler.walk();
    bench.mail(&first, 1);
    let (mut met, mut steps) = (Vec::new(), 0);
    while let Some(found) = bench.scheduler.step(&mut walk, 3, |key| *key == first) {
        met.extend(found.iter().map(|found| found.message));
        for found in found {
            assert!(bench.scheduler.move_to(found.message, &second));
            assert!(bench.scheduler.move_to(found.message, &first));
        }
        steps += 1;
    }
    assert_eq!((met, steps), (ids, 3));
    let mut none = Bench::new(config(|_| defaults())).scheduler.walk();
    assert!(bench.scheduler.step(&mut none, 3, |_| true).is_none());
}

/// Mail of a binding whose only connection has ended like this.
fn ended(how: Ended) -> (Bench, QueueKey, MessageId) {
    let mut bench = Bench::new(config(|_| defaults()));
    let queue = key("default", "a", "example.com");
    let message = bench.mail(&queue, 1)[0];
    bench.run();
    let id = *bench.open.keys().next().unwrap();
    bench.open.clear();
    let now = bench.now();
    bench.scheduler.ended(now, id, how, &mut postfleet_queue::Unlimited);
    (bench, queue, message)
}

#[test]
fn ports_that_have_run_out_are_nobodys_failure() {
    let (mut bench, queue, message) = ended(Ended::NoPort);
    bench.run();
    assert_eq!(bench.connections(&queue), 0);
    assert_eq!(bench.wait(&queue), "no local port is free for another connection to the exchanger");
    bench.pass(Duration::from_secs(1));
    assert_eq!((bench.connections(&queue), bench.scheduler.message(message).unwrap().failures), (1, 0));
}

#[test]
fn a_source_that_is_not_here_is_nobodys_failure() {
    let (mut bench, queue, message) = ended(Ended::NoSource);
    bench.pass(Duration::from_secs(59));
    assert_eq!(bench.connections(&queue), 0);
    assert_eq!(bench.wait(&queue), "the source address of the binding is not on this machine");
    bench.pass(Duration::from_secs(2));
    assert_eq!((bench.connections(&queue), bench.scheduler.message(message).unwrap().failures), (1, 0));
}
