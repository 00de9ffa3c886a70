//! Anything that may happen, against a plain model: which messages exist, and how often each has failed.
#![allow(clippy::unwrap_used, reason = "tests")]

mod support;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use postfleet_queue::{Ended, Outcome, QueueSettings, Verdict};
use postfleet_spool::{MessageId, QueueKey};
use postfleet_throttle::{Through, To};
use proptest::prelude::*;
use support::{Bench, config, defaults, key, limit, pair};

#[derive(Clone, Debug)]
enum Step {
    Mail {
        queue: usize,
        copies: usize,
    },
    Pass(u64),
    /// Settle one transaction, all recipients alike.
    Settle {
        at: usize,
        outcome: u8,
    },
    End {
        at: usize,
        failed: bool,
    },
    Suspend(bool),
    Flush,
    Retry(usize),
    Fail(usize),
    Dead(bool),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => (0..4_usize, 1..5_usize).prop_map(|(queue, copies)| Step::Mail { queue, copies }),
        4 => prop_oneof![0..5_u64, 0..5000_u64].prop_map(Step::Pass),
        6 => (0..8_usize, 0..4_u8).prop_map(|(at, outcome)| Step::Settle { at, outcome }),
        2 => (0..8_usize, any::<bool>()).prop_map(|(at, failed)| Step::End { at, failed }),
        1 => any::<bool>().prop_map(Step::Suspend),
        1 => Just(Step::Flush),
        1 => (0..20_usize).prop_map(Step::Retry),
        1 => (0..20_usize).prop_map(Step::Fail),
        1 => any::<bool>().prop_map(Step::Dead),
    ]
}

fn settings(suspended: bool) -> Box<dyn postfleet_queue::Settings> {
    config(move |queue| QueueSettings {
        suspended,
        limits: vec![
            limit(Through::Any, To::Any, 5, "Server_Max_Outbound_Connections"),
            limit(Through::Binding(queue.binding.to_string()), To::Any, 4, "Server_Max_Outbound_Connections"),
            pair(queue, 2),
        ],
        batch_max: 3,
        deliveries_max: 4,
        ..defaults()
    })
}

#[derive(Default)]
struct Model {
    /// Failures of every message that is queued.
    queued: BTreeMap<MessageId, u32>,
    seen: usize,
}

impl Model {
    fn read(&mut self, bench: &Bench) {
        for report in &bench.reports[self.seen..] {
            let failures = self.queued.get_mut(&report.message).expect("a report names a queued message");
            assert_eq!(*failures, report.retries);
            match &report.verdict {
                Verdict::Delivered | Verdict::Failed { .. } => {
                    self.queued.remove(&report.message);
                }
                Verdict::Delayed { .. } => *failures += 1,
            }
        }
        self.seen = bench.reports.len();
    }

    fn check(&self, bench: &Bench) {
        assert_eq!(bench.scheduler.len(), self.queued.len());
        for (message, failures) in &self.queued {
            assert_eq!(bench.scheduler.message(*message).unwrap().failures, *failures);
        }
        let states: Vec<_> = bench.scheduler.states().collect();
        assert_eq!(
            states.iter().map(|state| state.active + state.delayed).sum::<u64>(),
            self.queued.len() as u64
        );
        // What is in transmission is in one transaction only.
        let mut sending: Vec<MessageId> =
            bench.open.values().flat_map(|open| open.sending.iter().copied()).collect();
        let count = sending.len();
        sending.sort();
        sending.dedup();
        assert_eq!(sending.len(), count);
        // Limits.
        assert!(bench.open.len() <= 5);
        assert_eq!(bench.scheduler.connections(), bench.open.len());
        let mut by_binding: BTreeMap<&str, usize> = BTreeMap::new();
        let mut by_queue: BTreeMap<&QueueKey, usize> = BTreeMap::new();
        for open in bench.open.values() {
            *by_binding.entry(open.queue.binding.as_str()).or_default() += 1;
            *by_queue.entry(&open.queue).or_default() += 1;
            assert!(open.sending.len() <= 3);
        }
        assert!(by_binding.values().all(|open| *open <= 4), "{by_binding:?}");
        assert!(by_queue.values().all(|open| *open <= 2), "{by_queue:?}");
        // What waits says why.
        for state in states.iter().filter(|state| state.active > 0 && state.connections == 0) {
            assert!(state.wait.is_some(), "{state:?}");
        }
    }
}

fn run(steps: Vec<Step>) {
    let mut bench = Bench::new(settings(false));
    let mut model = Model::default();
    let queues = [
        key("g", "x", "a.example"),
        key("g", "x", "b.example"),
        key("g", "y", "a.example"),
        key("default", "default", "c.example"),
    ];
    let mut suspended = false;
    for step in steps {
        match step {
            Step::Mail { queue, copies } => {
                let ids = bench.mail(&queues[queue], copies);
                model.queued.extend(ids.into_iter().map(|id| (id, 0)));
            }
            Step::Pass(seconds) => bench.pass(Duration::from_secs(seconds)),
            Step::Settle { at, outcome } => {
                let busy: Vec<_> = bench.open.iter().filter(|(_, open)| !open.sending.is_empty()).collect();
                let Some(id) = busy.get(at % busy.len().max(1)).map(|(id, _)| **id) else { continue };
                let outcome = match outcome {
                    0 => Outcome::Delivered,
                    1 => Outcome::Temporary(Arc::from("451 later")),
                    2 => Outcome::Permanent(Arc::from("550 never")),
                    _ => Outcome::Stays,
                };
                let now = bench.now();
                for message in std::mem::take(&mut bench.open.get_mut(&id).unwrap().sending) {
                    let report = bench.scheduler.settled(now, id, message, outcome.clone());
                    assert_eq!(report.is_none(), outcome == Outcome::Stays);
                    bench.reports.extend(report);
                    // The driver may say a thing twice; it is heard once.
                    assert_eq!(bench.scheduler.settled(now, id, message, outcome.clone()), None);
                }
                if outcome == Outcome::Stays {
                    bench.open.remove(&id);
                    bench.scheduler.ended(now, id, Ended::Done, &mut *bench.shared);
                } else {
                    bench.ask(id);
                }
            }
            Step::End { at, failed } => {
                let Some(id) = bench.open.keys().nth(at % bench.open.len().max(1)).copied() else { continue };
                bench.open.remove(&id);
                let how = if failed { Ended::AddressFailed { stage: 0 } } else { Ended::Done };
                bench.scheduler.ended(bench.now(), id, how, &mut *bench.shared);
            }
            Step::Suspend(now_suspended) => {
                suspended = now_suspended;
                bench.scheduler.configure(bench.now(), settings(suspended));
            }
            Step::Flush => _ = bench.scheduler.flush(bench.now(), |_| true),
            Step::Retry(at) => {
                let Some(id) = model.queued.keys().nth(at).copied() else { continue };
                assert!(bench.scheduler.retry_now(bench.now(), id));
            }
            Step::Fail(at) => {
                let Some(id) = model.queued.keys().nth(at).copied() else { continue };
                let sending = bench.scheduler.message(id).unwrap().sending;
                assert_eq!(bench.scheduler.fail_now(id, "554 manually failed.", false), !sending);
            }
            Step::Dead(dead) => {
                bench.dead = if dead { vec!["192.0.2.1:25".parse().unwrap()] } else { Vec::new() };
            }
        }
        bench.run();
        model.read(&bench);
        model.check(&bench);
        if suspended {
            assert!(
                bench.open.values().all(|open| !open.sending.is_empty()),
                "nothing idles on a suspended queue"
            );
        }
    }
    // Heal, and everything leaves.
    bench.dead.clear();
    bench.scheduler.configure(bench.now(), settings(false));
    for _ in 0..200 {
        bench.pass(Duration::from_secs(600));
        bench.settle(|_| Outcome::Delivered);
        // As Idle_Timeout would.
        bench.close_all();
        model.read(&bench);
        if model.queued.is_empty() {
            break;
        }
    }
    model.check(&bench);
    assert!(bench.scheduler.is_empty(), "{} messages were forgotten in a queue", bench.scheduler.len());
}

#[allow(clippy::disallowed_methods, reason = "tests read from the environment how many cases to run")]
fn cases() -> u32 {
    std::env::var("POSTFLEET_CASES").ok().and_then(|text| text.parse().ok()).unwrap_or(200)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(cases()))]
    #[test]
    fn every_message_has_one_end(steps in proptest::collection::vec(step(), 1..60)) {
        run(steps);
    }
}
