//! Bytes that a queued message takes, counted by the allocator.

use std::alloc::System;
use std::sync::Arc;
use std::time::Duration;

use postfleet_config::retry::{Retries, RetrySchedule};
use postfleet_queue::{Arrival, Growth, HostSettings, Now, QueueSettings, RetryPolicy, Scheduler, Settings};
use postfleet_spool::{MessageId, QueueKey};
use postfleet_types::{Monotonic, WallTime};
use stats_alloc::{INSTRUMENTED_SYSTEM, Region, StatsAlloc};

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

/// What the crate promises.
const BYTES_MAX: usize = 110;

#[derive(Debug)]
struct Suspended;

impl Settings for Suspended {
    fn queue(&self, _: &QueueKey) -> Arc<QueueSettings> {
        let schedule = RetrySchedule {
            interval_seconds: 1200,
            interval_seconds_max: 43_200,
            expiration_seconds: 86_400,
            retries: Retries::Auto,
        };
        Arc::new(QueueSettings {
            retry: RetryPolicy { schedule, never_retry: false, never_attempt_expired: false },
            suspended: true,
            limits: Vec::new(),
            connections_max: None,
            growth: Growth::Normal,
            deliveries_max: 0,
            recipients_max: 0,
            batch_max: 100,
            host_failure_retry: Duration::ZERO,
            source_retry: Duration::from_secs(60),
            failures_to_delay: 0,
            silence_to_delay: Duration::ZERO,
            delay_fuzz: Duration::ZERO,
            message_rates: Vec::new(),
            idle_timeout: Duration::from_secs(5),
            connection_rates: Vec::new(),
            lookup_failures_to_purge: 10,
        })
    }
    fn host(&self, _: &QueueKey, _: &str) -> Arc<HostSettings> {
        Arc::default()
    }
}

#[test]
fn a_queued_message_takes_at_most_110_bytes() {
    const MESSAGES: u32 = 200_000;
    let region = Region::new(ALLOCATOR);
    let mut scheduler = Scheduler::new(Box::new(Suspended), 1);
    let now = Now { monotonic: Monotonic::ZERO, wall: WallTime::from_unix_seconds(1_900_000_000) };
    for number in 0..MESSAGES {
        let queue = QueueKey {
            binding_group: "default".into(),
            binding: "default".into(),
            domain: format!("d{}.example", number % 100).into(),
        };
        let message = MessageId::from_parts(1_900_000_000 + number / 1000, 4711, (number % 1000) as u16);
        let arrival = Arrival {
            message,
            batch: message,
            queue: &queue,
            created: now.wall,
            failures: 0,
            due_in: Duration::ZERO,
        };
        assert!(scheduler.arrived(now, &arrival));
    }
    let change = region.change();
    let held = change.bytes_allocated as isize + change.bytes_reallocated - change.bytes_deallocated as isize;
    let each = usize::try_from(held).unwrap_or(0) / MESSAGES as usize;
    println!("{each} bytes a message");
    assert!(each > 40 && each <= BYTES_MAX, "{each} bytes a message");
    drop(scheduler);
}
