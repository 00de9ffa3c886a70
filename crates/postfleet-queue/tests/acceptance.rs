//! The acceptance cases that queues and limits decide.
#![allow(clippy::unwrap_used, reason = "tests")]

mod support;

use std::sync::Arc;
use std::time::Duration;

use postfleet_queue::{HostSettings, LocalLimit, LocalRate, Outcome, QueueSettings, Routed, Verdict};
use postfleet_throttle::{Through, To};
use support::{Asked, Bench, Config, config, defaults, hosts, key, limit, pair, rate};

fn temporary(reply: &str) -> Outcome {
    Outcome::Temporary(Arc::from(reply))
}

#[test]
fn mta_case_13_every_attempt_is_refused_with_451() {
    let mut bench = Bench::new(config(|_| defaults()));
    let queue = key("default", "default", "example.com");
    bench.mail(&queue, 1);
    let mut attempts = Vec::new();
    for _ in 0..7 {
        bench.run();
        attempts.push(bench.seconds());
        bench.settle(|_| temporary("451 4.2.0 later"));
        bench.close_all();
        if bench.scheduler.is_empty() {
            break;
        }
        let due = bench.scheduler.poll_deadline().unwrap();
        bench.pass(due.since(bench.now().monotonic));
        while bench.open.is_empty() {
            bench.pass(Duration::from_secs(1));
        }
    }
    assert_eq!(attempts, [0, 1200, 3600, 8400, 18_000, 37_200, 75_600]);
    let last = bench.reports.last().unwrap();
    assert_eq!(last.retries, 6);
    let Verdict::Failed { reply, last, quiet: false } = &last.verdict else { panic!("{last:?}") };
    assert_eq!(&**reply, "554 5.4.7 [internal] exceeded max retries without delivery");
    assert_eq!(last.as_deref(), Some("451 4.2.0 later"));
}

#[test]
fn of_long_replies_the_beginning_is_kept_once() {
    let mut bench = Bench::new(config(|_| defaults()));
    let messages = bench.mail(&key("default", "default", "example.com"), 3);
    bench.run();
    // Longer than is kept, and cut within a character.
    let long = format!("451 4.2.0 l{}", "\u{e4}".repeat(32_000));
    bench.settle(|_| temporary(&long));
    let kept: Vec<Arc<str>> =
        messages.iter().map(|id| bench.scheduler.message(*id).unwrap().reply.unwrap()).collect();
    assert_eq!(kept[0].len(), 399);
    assert!(long.starts_with(&*kept[0]));
    assert!(kept.iter().all(|reply| Arc::ptr_eq(reply, &kept[0])));
}

/// `max_outbound_connections`: 30 globally, 5 in group1, 15 in binding `example` for example.com.
#[test]
fn mta_case_15_limits_of_a_pair() {
    let mut bench = Bench::new(config(|queue| {
        let most = match (queue.binding_group.as_str(), queue.binding.as_str()) {
            ("group1", "example") => 15,
            ("group1", _) => 5,
            _ => 30,
        };
        QueueSettings { limits: vec![pair(queue, most)], connections_max: Some(most), ..defaults() }
    }));
    let queues = [("group1", "example", 15), ("group1", "other", 5), ("default", "single", 30)]
        .map(|(group, binding, most)| (key(group, binding, "example.com"), most));
    for (queue, _) in &queues {
        (0..400).for_each(|_| _ = bench.mail(queue, 1));
    }
    bench.pass(Duration::from_secs(3));
    for (queue, most) in &queues {
        assert_eq!(bench.connections(queue), *most, "{queue:?}");
        assert_eq!(bench.peak[queue], *most, "{queue:?}");
    }
}

#[test]
fn mta_case_16_a_scope_limit_holds_for_all_its_domains_together() {
    let both = [key("default", "default", "a.example"), key("default", "default", "b.example")];
    let run = |limits: fn(&postfleet_spool::QueueKey) -> QueueSettings| {
        let mut bench = Bench::new(config(limits));
        for queue in &both {
            (0..100).for_each(|_| _ = bench.mail(queue, 1));
        }
        bench.pass(Duration::from_secs(3));
        (both.iter().map(|queue| bench.connections(queue)).collect::<Vec<_>>(), bench.wait(&both[0]))
    };
    let (open, wait) = run(|_| {
        let to = To::Domain("/^(a|b)\\.example$/".to_owned());
        let scope = limit(Through::Any, to, 3, "Scope_Max_Outbound_Connections");
        QueueSettings { limits: vec![scope], connections_max: None, ..defaults() }
    });
    assert_eq!(open.iter().sum::<usize>(), 3);
    assert!(open.iter().all(|open| *open > 0), "they take turns: {open:?}");
    assert_eq!(wait, "Scope_Max_Outbound_Connections at domain:/^(a|b)\\.example$/: 3 of 3");
    let (open, _) =
        run(|queue| QueueSettings { limits: vec![pair(queue, 3)], connections_max: Some(3), ..defaults() });
    assert_eq!(open, [3, 3]);
}

#[test]
fn configuration_8_4_limits_that_only_watch_hold_nothing_back_and_are_counted() {
    let mut bench = Bench::new(config(|queue| {
        let limits = vec![LocalLimit { shadow: true, ..pair(queue, 2) }];
        let rates = rate("3/60", "s").map(|rate| LocalRate { shadow: true, ..rate });
        QueueSettings {
            limits,
            connections_max: None,
            message_rates: rates.into_iter().collect(),
            ..defaults()
        }
    }));
    let queue = key("default", "default", "a.example");
    (0..10).for_each(|_| _ = bench.mail(&queue, 1));
    bench.pass(Duration::from_secs(3));
    let open = bench.peak[&queue];
    while bench.reports.len() < 10 {
        bench.settle(|_| Outcome::Delivered);
        bench.open.keys().copied().collect::<Vec<_>>().into_iter().for_each(|id| bench.ask(id));
    }
    assert!(open > 2 && bench.reports.len() == 10, "{open} connections, {} messages", bench.reports.len());
    let counts: Vec<_> = bench.scheduler.shadows().collect();
    let over = u64::try_from(open - 2).unwrap();
    let place = "binding:default::domain:a.example";
    assert_eq!(counts, [("Max_Outbound_Connections", place, over), ("Outbound_Throttle_Messages", "s", 7)]);
    // Told of when it begins, and once a minute.
    assert_eq!(bench.shadowed.iter().map(|told| told.count).collect::<Vec<_>>(), [1, 1]);
}

/// Sent in each of five seconds, by binding.
fn sent_a_second(of_x: Option<&'static str>) -> Vec<(usize, usize)> {
    let mut bench = Bench::new(config(move |queue| {
        let own = of_x.filter(|_| queue.binding == *"x").and_then(|text| rate(text, "x"));
        QueueSettings { message_rates: own.or_else(|| rate("10", "g")).into_iter().collect(), ..defaults() }
    }));
    let queues = [key("g", "x", "example.com"), key("g", "y", "example.com")];
    for queue in &queues {
        (0..500).for_each(|_| _ = bench.mail(queue, 1));
    }
    (0..5)
        .map(|_| {
            let before = bench.reports.len();
            for _ in 0..10 {
                bench.run();
                bench.settle(|_| Outcome::Delivered);
                bench.micros += 100_000;
                let all: Vec<_> = bench.open.keys().copied().collect();
                all.into_iter()
                    .filter(|id| bench.open[id].sending.is_empty())
                    .collect::<Vec<_>>()
                    .into_iter()
                    .for_each(|id| bench.ask(id));
            }
            let count = |binding: &str| {
                bench.reports[before..].iter().filter(|report| report.queue.binding == *binding).count()
            };
            (count("x"), count("y"))
        })
        .collect()
}

#[test]
fn mta_case_17_message_throttles_are_shared_by_what_falls_back_to_them() {
    for (x, y) in sent_a_second(None).into_iter().skip(1) {
        assert_eq!(x + y, 10);
    }
    for (x, y) in sent_a_second(Some("10")).into_iter().skip(1) {
        assert_eq!((x, y), (10, 10));
    }
}

#[test]
fn mta_case_19_an_exchanger_at_its_limit_is_passed_over() {
    let two = |name: &str| {
        let limits = if name == "mx1.example.net" {
            vec![limit(Through::Any, To::Host(name.to_owned()), 2, "Max_Outbound_Connections")]
        } else {
            Vec::new()
        };
        HostSettings { address_limit: None, limits }
    };
    let of_queue = |_: &postfleet_spool::QueueKey| QueueSettings { connections_max: Some(6), ..defaults() };
    let mut bench = Bench::new(Box::new(Config(Box::new(of_queue), Box::new(two))));
    bench.route = Box::new(|_| {
        hosts(&[(20, "mx2.example.net", "192.0.2.2:25"), (10, "mx1.example.net", "192.0.2.1:25")])
    });
    let queue = key("default", "default", "example.net");
    (0..100).for_each(|_| _ = bench.mail(&queue, 1));
    bench.pass(Duration::from_secs(1));
    let to =
        |name: &str| bench.open.values().filter(|open| open.target.host.as_deref() == Some(name)).count();
    assert_eq!((to("mx1.example.net"), to("mx2.example.net")), (2, 4));
}

#[test]
fn mta_case_21_a_null_mx_fails_at_once_and_nothing_is_connected() {
    let mut bench = Bench::new(config(|_| defaults()));
    bench.route = Box::new(|_| Routed::Nowhere("556 5.1.10 [internal] NULL MX domain does not accept mail"));
    bench.mail(&key("default", "default", "example.com"), 2);
    bench.run();
    assert_eq!(bench.reports.len(), 2);
    assert!(bench.open.is_empty() && bench.peak.is_empty());
    assert!(bench.scheduler.is_empty());
}

#[test]
fn mta_case_23_a_suspended_binding_keeps_its_mail() {
    let suspended = |suspended: bool| {
        config(move |queue| QueueSettings { suspended: suspended && queue.binding == *"b1", ..defaults() })
    };
    let mut bench = Bench::new(suspended(true));
    let (first, second) = (key("g", "b1", "example.com"), key("g", "b2", "example.com"));
    bench.mail(&first, 1);
    bench.mail(&second, 1);
    // Longer than its life: nothing expires while delivery is suspended.
    bench.pass(Duration::from_secs(100_000));
    bench.settle(|_| Outcome::Delivered);
    assert_eq!(bench.connections(&first), 0);
    assert_eq!(bench.wait(&first), "delivery is suspended (Suspend_Delivery)");
    let active = |bench: &Bench| bench.scheduler.states().map(|state| state.active).sum::<u64>();
    assert_eq!((active(&bench), bench.reports.len()), (1, 1));
    let now = bench.now();
    bench.scheduler.configure(now, suspended(false));
    bench.run();
    bench.settle(|_| Outcome::Delivered);
    assert_eq!((active(&bench), bench.reports.len()), (0, 2));
}

#[test]
fn mta_case_24_a_batch_is_one_transaction_with_an_outcome_for_each() {
    let mut bench = Bench::new(config(|_| defaults()));
    let queue = key("default", "default", "example.com");
    let ids = bench.mail(&queue, 3);
    bench.run();
    let sending: Vec<_> = bench.open.values().map(|open| open.sending.clone()).collect();
    assert_eq!(sending, std::slice::from_ref(&ids), "one connection, one transaction");
    let (second, third) = (ids[1], ids[2]);
    bench.settle(|id| match id {
        id if id == second => Outcome::Permanent(Arc::from("550 5.1.1 no")),
        id if id == third => temporary("451 4.2.0 later"),
        _ => Outcome::Delivered,
    });
    let verdicts: Vec<_> = ids
        .iter()
        .map(|id| &bench.reports.iter().find(|report| report.message == *id).unwrap().verdict)
        .collect();
    assert!(matches!(verdicts[0], Verdict::Delivered));
    assert!(matches!(verdicts[1], Verdict::Failed { .. }));
    assert!(matches!(verdicts[2], Verdict::Delayed { .. }));
    assert_eq!(bench.scheduler.len(), 1);
    bench.pass(Duration::from_secs(1201));
    assert_eq!(
        bench.open.values().map(|open| open.sending.len()).sum::<usize>(),
        1,
        "the third is tried again"
    );
}

#[test]
fn mta_7_5_nothing_is_consumed_by_an_attempt_that_another_limit_refuses() {
    let asked = Asked::default();
    let mut bench = Bench::new(config(|queue| QueueSettings { limits: vec![pair(queue, 1)], ..defaults() }));
    bench.shared = Box::new(asked.clone());
    let queue = key("default", "default", "example.com");
    (0..50).for_each(|_| _ = bench.mail(&queue, 1));
    bench.pass(Duration::from_secs(5));
    // The limit of this node refused all the others.
    assert_eq!((*asked.slots.borrow(), *asked.connection_units.borrow()), (1, 1));

    // A throttle of the fleet refuses: the slot is given back.
    let asked = Asked::default();
    *asked.refuse_connection_units.borrow_mut() = true;
    let mut bench = Bench::new(config(|_| defaults()));
    bench.shared = Box::new(asked.clone());
    bench.mail(&queue, 1);
    bench.pass(Duration::from_secs(5));
    assert_eq!((*asked.slots.borrow(), *asked.connection_units.borrow()), (0, 0));
    assert_eq!(bench.wait(&queue), "Cluster_Outbound_Throttle_Connections at global: no unit is free");

    // A message throttle of this node without units: none of the fleet's is used.
    let asked = Asked::default();
    let mut bench = Bench::new(config(|_| QueueSettings {
        message_rates: Vec::from_iter(rate("1/3600", "")),
        ..defaults()
    }));
    bench.shared = Box::new(asked.clone());
    (0..5).for_each(|_| _ = bench.mail(&queue, 1));
    bench.pass(Duration::from_secs(5));
    assert_eq!(*asked.message_units.borrow(), 1);
}

#[test]
fn mta_7_4_a_batch_is_cut_to_the_units_that_are_free() {
    let mut bench = Bench::new(config(|_| QueueSettings {
        message_rates: Vec::from_iter(rate("3/60", "")),
        ..defaults()
    }));
    let queue = key("default", "default", "example.com");
    bench.mail(&queue, 5);
    bench.run();
    let sending: Vec<usize> =
        bench.open.values().map(|open| open.sending.len()).filter(|sent| *sent > 0).collect();
    assert_eq!(sending, [3]);
}

#[test]
fn mta_5_3_an_address_that_failed_is_not_tried_while_another_works() {
    let mut bench = Bench::new(config(|_| defaults()));
    bench.route = Box::new(|_| {
        hosts(&[(10, "mx1.example.net", "192.0.2.1:25"), (20, "mx2.example.net", "192.0.2.2:25")])
    });
    bench.dead = vec!["192.0.2.1:25".parse().unwrap()];
    let queue = key("default", "default", "example.net");
    bench.mail(&queue, 1);
    bench.run();
    bench.settle(|_| Outcome::Delivered);
    assert_eq!(bench.reports.len(), 1);
    assert!(bench.reports[0].retries == 0, "no failure is counted for a connection that got no message");
}

#[test]
fn mta_5_3_too_many_failures_on_every_exchanger_delay_all_active_messages() {
    let mut bench = Bench::new(config(|_| defaults()));
    bench.dead = vec!["192.0.2.1:25".parse().unwrap()];
    let queue = key("default", "default", "example.net");
    let ids = bench.mail(&queue, 2);
    bench.pass(Duration::from_secs(10));
    assert_eq!(bench.wait(&queue), "no exchanger could be reached lately");
    assert!(bench.reports.is_empty());
    bench.pass(Duration::from_secs(60));
    let reply = "421 4.4.0 [internal] no MXs for this domain could be reached at this time";
    assert_eq!(bench.reports.len(), 2);
    for report in &bench.reports {
        let Verdict::Delayed { reply: said, .. } = &report.verdict else { panic!("{report:?}") };
        assert_eq!((&**said, report.retries), (reply, 0));
    }
    assert_eq!(bench.scheduler.message(ids[0]).unwrap().failures, 1);
}

#[test]
fn mta_5_2_no_such_domain_is_believed_the_third_time() {
    let mut bench = Bench::new(config(|_| defaults()));
    bench.route = Box::new(|_| Routed::NoSuchDomain);
    let queue = key("default", "default", "nowhere.invalid");
    bench.mail(&queue, 1);
    bench.pass(Duration::from_secs(599));
    assert_eq!(bench.resolved, 2);
    assert_eq!(bench.wait(&queue), "the name service knows no such domain; it was asked 2 times of 3");
    bench.pass(Duration::from_secs(2));
    let Verdict::Failed { reply, .. } = &bench.reports[0].verdict else { panic!() };
    assert_eq!(&**reply, "554 5.4.4 [internal] Domain Lookup Failed");
}

#[test]
fn mta_6_3_flush_leaves_the_retry_count() {
    let mut bench = Bench::new(config(|_| defaults()));
    let queue = key("default", "default", "example.com");
    let ids = bench.mail(&queue, 1);
    bench.run();
    bench.settle(|_| temporary("451 later"));
    let now = bench.now();
    assert_eq!(bench.scheduler.flush(now, |key| &*key.domain == "example.com"), 1);
    bench.run();
    bench.settle(|_| temporary("451 later"));
    let state = bench.scheduler.message(ids[0]).unwrap();
    assert_eq!(state.failures, 2);
    let pause = state.delayed_until.unwrap().since(bench.now().monotonic);
    assert_eq!(pause.as_secs(), 2400, "the schedule goes on");
}

#[test]
fn mta_8_2_connections_end_after_so_many_deliveries() {
    let mut bench = Bench::new(config(|_| QueueSettings {
        deliveries_max: 2,
        connections_max: Some(1),
        limits: Vec::new(),
        ..defaults()
    }));
    let queue = key("default", "default", "example.com");
    (0..5).for_each(|_| _ = bench.mail(&queue, 1));
    let mut connections = std::collections::BTreeSet::new();
    for _ in 0..10 {
        bench.run();
        connections.extend(bench.open.keys().copied());
        bench.settle(|_| Outcome::Delivered);
    }
    assert_eq!((bench.reports.len(), connections.len()), (5, 3));
}

#[test]
fn mta_7_5_the_reserve_is_for_queues_without_a_connection() {
    let mut bench = Bench::new(config(|_| {
        let mut all = limit(Through::Any, To::Any, 2, "Server_Max_Outbound_Connections");
        all.reserve = 1;
        QueueSettings { limits: vec![all], ..defaults() }
    }));
    let (big, small) = (key("default", "default", "big.example"), key("default", "default", "small.example"));
    (0..100).for_each(|_| _ = bench.mail(&big, 1));
    bench.run();
    assert_eq!(bench.connections(&big), 2);
    bench.mail(&small, 1);
    bench.run();
    assert_eq!(bench.connections(&small), 0);
    bench.pass(Duration::from_secs(16));
    assert_eq!((bench.connections(&big), bench.connections(&small)), (2, 1));
}

#[test]
fn mta_5_3_a_server_that_takes_one_connection_and_refuses_the_others_delays_nothing() {
    let mut bench = Bench::new(config(|_| defaults()));
    let queue = key("default", "default", "example.net");
    bench.mail(&queue, 1);
    bench.run();
    assert_eq!(bench.connections(&queue), 1);
    bench.dead = vec!["192.0.2.1:25".parse().unwrap()];
    (0..200).for_each(|_| _ = bench.mail(&queue, 1));
    for _ in 0..120 {
        bench.pass(Duration::from_secs(10));
        bench.settle(|_| Outcome::Delivered);
    }
    assert!(bench.reports.iter().all(|report| matches!(report.verdict, Verdict::Delivered)));
    assert_eq!(bench.reports.len(), 120);
}

#[test]
fn mta_7_6_nothing_is_opened_while_the_message_throttle_is_empty_for_longer_than_connections_wait() {
    let mut bench = Bench::new(config(|_| QueueSettings {
        message_rates: Vec::from_iter(rate("1/60", "")),
        ..defaults()
    }));
    let queue = key("default", "default", "example.com");
    (0..5).for_each(|_| _ = bench.mail(&queue, 1));
    let mut opened = std::collections::BTreeSet::new();
    for second in 0..100 {
        bench.run();
        opened.extend(bench.open.keys().copied());
        bench.settle(|_| Outcome::Delivered);
        if second % 5 == 4 {
            // Idle_Timeout.
            bench.close_all();
        }
        bench.pass(Duration::from_secs(1));
        let wait = bench.wait(&queue);
        let told = second >= 54 || wait.starts_with("Outbound_Throttle_Messages");
        assert!(told, "{second}: {wait}");
    }
    assert_eq!(bench.reports.len(), 2);
    assert!(opened.len() <= 20, "{}", opened.len());
}
