//! What is exposed: the list that the manual shows, and where each figure comes from.

use super::text::Page;
use crate::clock;
use crate::counts::OpenConnections;
use crate::fleet::{Class, ConnectionState, Fleet};
use crate::logs::Figures;
use crate::node::Node;
use postfleet_bus::membership::OWN_DELIVERY_BOUNDS_MICROS;
use postfleet_console::InboundService;
use postfleet_replica::{ColumnPhase, ListRow, Of, Replica, Structure};
use std::time::Duration;

/// What a figure does as time passes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Counter,
    Gauge,
    Histogram,
}

impl Kind {
    pub(super) const fn word(self) -> &'static str {
        match self {
            Self::Counter => "counter",
            Self::Gauge => "gauge",
            Self::Histogram => "histogram",
        }
    }
}

/// One figure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Figure {
    pub(super) name: &'static str,
    pub(super) kind: Kind,
    pub(super) help: &'static str,
}

macro_rules! figures {
    ($($constant:ident = $kind:ident $name:literal $help:literal;)*) => {
        $(const $constant: Figure = Figure { name: $name, kind: Kind::$kind, help: $help };)*

        /// Every figure, in the order of the page.
        #[cfg(test)]
        pub(super) const ALL: &[Figure] = &[$($constant),*];
    };
}

figures! {
    INFO = Gauge "postfleet_info" "1, with the node's name and the version of the program.";
    UPTIME = Gauge "postfleet_uptime_seconds" "Time since the start of the process.";
    CONNECTIONS = Gauge "postfleet_connections" "Open connections to this node, by service.";
    RECEIVED = Counter "postfleet_messages_received_total" "Messages accepted, a copy for each recipient domain; `summary reset` begins anew.";
    REJECTED = Counter "postfleet_messages_rejected_total" "Messages and recipients refused; `summary reset` begins anew.";
    DELIVERED = Counter "postfleet_messages_delivered_total" "Copies of messages delivered; `summary reset` begins anew.";
    FAILED = Counter "postfleet_messages_failed_total" "Copies of messages that failed for good; `summary reset` begins anew.";
    QUEUE = Gauge "postfleet_queue_messages" "Messages in the queues, active or delayed.";
    BUS_CONNECTED = Gauge "postfleet_bus_connected" "1 while a view is installed on the connection.";
    BUS_QUORATE = Gauge "postfleet_bus_quorate" "1 while this side has the majority.";
    BUS_VIEW = Gauge "postfleet_bus_view_counter" "Counter of the installed view; 0 while there is none.";
    BUS_MEMBERS = Gauge "postfleet_bus_view_members" "Members of the installed view.";
    BUS_SENT = Counter "postfleet_bus_messages_sent_total" "Messages of all types that the carrier accepted.";
    BUS_DELIVERED = Counter "postfleet_bus_messages_delivered_total" "Application messages delivered to this node.";
    BUS_BYTES_SENT = Counter "postfleet_bus_bytes_sent_total" "Bytes of messages sent.";
    BUS_BYTES_DELIVERED = Counter "postfleet_bus_bytes_delivered_total" "Bytes of the payloads of messages delivered.";
    BUS_SEND_QUEUE = Gauge "postfleet_bus_send_queue_length" "Messages that wait to be given to the carrier.";
    BUS_SEND_QUEUE_BYTES = Gauge "postfleet_bus_send_queue_bytes" "Their bytes.";
    BUS_EVENT_QUEUE = Gauge "postfleet_bus_event_queue_length" "Events that wait to be read by this node.";
    BUS_EVENT_QUEUE_BYTES = Gauge "postfleet_bus_event_queue_bytes" "Their bytes.";
    BUS_RETRIES = Counter "postfleet_bus_send_retries_total" "Times the carrier was busy and a message was given to it again.";
    BUS_OWN_DELIVERY = Histogram "postfleet_bus_own_delivery_seconds" "Time from sending an own message to its delivery to this node.";
    BUS_VIEWS = Counter "postfleet_bus_views_total" "Views installed, by cause: somebody joined, or somebody departed.";
    BUS_EXPELLED = Counter "postfleet_bus_expelled_total" "Members put out because they did not answer heartbeats.";
    BUS_GAPS = Counter "postfleet_bus_gaps_total" "Holes in the numbers of a sender's messages.";
    BUS_DROPPED = Counter "postfleet_bus_messages_dropped_total" "Messages that were delivered and not used, by reason.";
    BUS_HEARTBEAT = Gauge "postfleet_bus_heartbeat_age_seconds" "Time since the last heartbeat of each member.";
    OBJECT_COUNT = Gauge "postfleet_object_count" "Sum of a replicated object's counts in the column of each node.";
    OBJECT_TOTAL = Gauge "postfleet_object_sum" "Sum of a replicated object's counts over all columns held.";
    OBJECT_MISSING = Gauge "postfleet_object_columns_missing" "Members whose column of a replicated object has not arrived yet.";
    OBJECT_AGE = Gauge "postfleet_object_heard_seconds" "Time since something of each other member was delivered.";
    REPLICA_CHANGES = Counter "postfleet_replica_changes_total" "Changes of replicated counts, made here or received.";
    REPLICA_BATCHES = Counter "postfleet_replica_batches_total" "Batches of changes, sent or received.";
    REPLICA_BATCH_BYTES = Counter "postfleet_replica_batch_bytes_total" "Bytes of batches of changes, sent or received.";
    REPLICA_IGNORED = Counter "postfleet_replica_batches_ignored_total" "Batches received and not applied.";
    REPLICA_GAPS = Counter "postfleet_replica_gaps_total" "Holes in the numbers of a member's batches; its columns are fetched again.";
    REPLICA_MALFORMED = Counter "postfleet_replica_malformed_total" "Replication messages that could not be read.";
    REPLICA_COLUMNS = Counter "postfleet_replica_columns_received_total" "Whole columns received from other members.";
    TABLE_MESSAGES = Counter "postfleet_replica_table_messages_total" "Messages of throttles, slots and caches, sent or received.";
    TABLE_BYTES = Counter "postfleet_replica_table_bytes_sent_total" "Bytes of the messages of throttles, slots and caches that were sent.";
    THROTTLE_UNITS = Gauge "postfleet_throttle_units" "Units of all throttles of a table that the fleet has used or holds.";
    SLOTS = Gauge "postfleet_slots" "Connection slots of all keys of a table that the fleet holds; a connection holds one of each key of its path.";
    SERIES_SUM = Gauge "postfleet_metrics_sum" "Events of a metrics object over all windows, by word; of named series and gauge caches the sum of all.";
    SHADOWED = Counter "postfleet_limits_shadowed_total" "Connections, messages and sessions that limits in shadow mode would have held back on this node.";
    CACHE_PAIRS = Gauge "postfleet_cache_keys" "Keys that a replicated cache holds on this node, those included whose value has just expired.";
    SOURCE_ELEMENTS = Gauge "postfleet_datasource_elements" "Answers that a datasource remembers.";
    SOURCE_LOOKUPS = Counter "postfleet_datasource_lookups_total" "Look-ups: answered from memory, asked, or waited for somebody else's question.";
    SOURCE_INSERTS = Counter "postfleet_datasource_inserts_total" "Answers remembered.";
    SOURCE_DELETIONS = Counter "postfleet_datasource_deletions_total" "Answers dropped, by cause: by hand, by age, or because there were too many.";
    LOG_LINES = Counter "postfleet_log_lines_written_total" "Lines that a log file has.";
    LOG_WAITING = Gauge "postfleet_log_lines_waiting" "Lines that wait for a log file, because its disk is slow or full.";
    LOG_LOST = Counter "postfleet_log_lines_lost_total" "Lines that a log file will never have, because too many waited.";
}

/// The page, as of now.
pub(super) fn page(node: &Node) -> String {
    let mut page = Page::default();
    about_node(&mut page, node);
    if let Some(fleet) = &node.fleet {
        about_bus(&mut page, fleet);
        fleet.replica(|replica| about_objects(&mut page, replica));
    }
    about_datasources(&mut page, node);
    about_logs(&mut page, node);
    page.finish()
}

fn about_node(page: &mut Page, node: &Node) {
    let version = crate::system::version();
    page.figure(&INFO).put(&[("node", node.identity.name.as_str()), ("version", &version)], 1_u64);
    page.figure(&UPTIME).put(&[], seconds(clock::monotonic().since(node.statistics.started)));
    let mut connections = page.figure(&CONNECTIONS);
    let open: &OpenConnections = &node.connections;
    for service in InboundService::ALL.map(InboundService::word) {
        connections.put(&[("service", service)], open.total(service));
    }
    page.figure(&RECEIVED).put(&[], node.statistics.received());
    page.figure(&REJECTED).put(&[], node.statistics.rejected());
    page.figure(&DELIVERED).put(&[], node.statistics.delivered());
    page.figure(&FAILED).put(&[], node.statistics.failed());
    let mut shadowed = page.figure(&SHADOWED);
    let of_queues: Vec<_> = node.delivery.look(|scheduler| {
        scheduler.shadows().map(|(option, scope, count)| (option, scope.to_owned(), count)).collect()
    });
    for (option, scope, count) in of_queues.into_iter().chain(node.budgets.shadows()) {
        shadowed.put(&[("option", option), ("scope", &scope)], count);
    }
    let queues = node.delivery.queues();
    page.figure(&QUEUE)
        .put(&[("state", "active")], queues.iter().map(|queue| queue.active).sum::<u64>())
        .put(&[("state", "delayed")], queues.iter().map(|queue| queue.delayed).sum::<u64>());
}

fn about_bus(page: &mut Page, fleet: &Fleet) {
    let both = [(Class::Main, fleet.main()), (Class::Shared, fleet.shared())].map(|(class, state)| {
        let word = match class {
            Class::Main => "main",
            Class::Shared => "shared",
        };
        (word, state)
    });
    let now = clock::monotonic();
    macro_rules! each {
        ($figure:expr, |$state:ident| $value:expr) => {{
            let mut samples = page.figure(&$figure);
            for (conn, $state) in &both {
                samples.put(&[("conn", *conn)], $value);
            }
        }};
    }
    let status = |state: &ConnectionState| state.status.clone().unwrap_or_default();
    each!(BUS_CONNECTED, |state| state.connected);
    each!(BUS_QUORATE, |state| status(state).quorate);
    each!(BUS_VIEW, |state| state.view.map_or(0, |view| view.counter));
    each!(BUS_MEMBERS, |state| state.members.len());
    each!(BUS_SENT, |state| state.counters.messages_sent);
    each!(BUS_DELIVERED, |state| state.counters.messages_delivered);
    each!(BUS_BYTES_SENT, |state| state.counters.bytes_sent);
    each!(BUS_BYTES_DELIVERED, |state| state.counters.bytes_delivered);
    each!(BUS_SEND_QUEUE, |state| status(state).send_queue.0);
    each!(BUS_SEND_QUEUE_BYTES, |state| status(state).send_queue.1);
    each!(BUS_EVENT_QUEUE, |state| status(state).event_queue.0);
    each!(BUS_EVENT_QUEUE_BYTES, |state| status(state).event_queue.1);
    each!(BUS_RETRIES, |state| state.counters.send_retries);
    let mut delivery = page.figure(&BUS_OWN_DELIVERY);
    for (conn, state) in &both {
        let mut below = 0;
        let bounds =
            OWN_DELIVERY_BOUNDS_MICROS.map(|micros| seconds(Duration::from_micros(micros)).to_string());
        let bounds = bounds.iter().map(String::as_str).chain(["+Inf"]);
        for (bound, count) in bounds.zip(state.counters.own_delivery) {
            below += count;
            delivery.put_part("_bucket", &[("conn", conn), ("le", bound)], below);
        }
        let sum = seconds(Duration::from_micros(state.counters.own_delivery_micros));
        delivery.put_part("_sum", &[("conn", conn)], sum).put_part("_count", &[("conn", conn)], below);
    }
    let mut views = page.figure(&BUS_VIEWS);
    for (conn, state) in &both {
        let departures = state.counters.views_departure;
        views.put(&[("conn", conn), ("cause", "departure")], departures);
        views.put(&[("conn", conn), ("cause", "join")], state.counters.views.saturating_sub(departures));
    }
    each!(BUS_EXPELLED, |state| state.counters.expelled);
    each!(BUS_GAPS, |state| state.counters.gaps);
    let mut dropped = page.figure(&BUS_DROPPED);
    for (conn, state) in &both {
        let counters = &state.counters;
        for (reason, count) in [
            ("sender", counters.dropped_sender),
            ("other_view", counters.dropped_view_bound),
            ("malformed", counters.malformed),
            ("unknown_version", counters.unknown_version),
            ("unknown_type", counters.unknown_type),
            ("unsupported_flags", counters.unsupported_flags),
        ] {
            dropped.put(&[("conn", conn), ("reason", reason)], count);
        }
    }
    let mut heartbeats = page.figure(&BUS_HEARTBEAT);
    for (conn, state) in &both {
        for shown in &state.members {
            let Some(at) = shown.heartbeat_at else { continue };
            let node = shown.member.info.private_name.node();
            heartbeats.put(&[("conn", conn), ("node", node)], seconds(now.since(at)));
        }
    }
}

/// Totals of objects and of columns: never a sample for an address or a name.
fn about_objects(page: &mut Page, replica: &Replica) {
    let now = clock::monotonic();
    let list = replica.list();
    let objects: Vec<_> = list
        .iter()
        .filter_map(|row| replica.object(&row.name).ok())
        .filter(|object| object.kind().counts_connections())
        .collect();
    let columns: Vec<_> = objects.iter().map(|object| (object.name(), object.columns_total())).collect();
    let mut counts = page.figure(&OBJECT_COUNT);
    for (object, columns) in &columns {
        for column in columns {
            counts.put(&[("object", *object), ("node", column.member.node())], column.count);
        }
    }
    let mut totals = page.figure(&OBJECT_TOTAL);
    for object in &objects {
        totals.put(&[("object", object.name())], object.total(Of::Global).unwrap_or(0));
    }
    let mut missing = page.figure(&OBJECT_MISSING);
    for object in &objects {
        missing.put(&[("object", object.name())], object.missing().len());
    }
    let mut heard = page.figure(&OBJECT_AGE);
    for (object, columns) in &columns {
        for column in columns.iter().filter(|column| column.phase != ColumnPhase::Own) {
            let Some(at) = column.heard else { continue };
            heard.put(&[("object", *object), ("node", column.member.node())], seconds(now.since(at)));
        }
    }
    let counters = replica.counters();
    let mut both = |figure: &Figure, label: &str, values: [(&str, u64); 2]| {
        let mut samples = page.figure(figure);
        for (text, value) in values {
            samples.put(&[(label, text)], value);
        }
    };
    both(
        &REPLICA_CHANGES,
        "origin",
        [("own", counters.own_changes), ("received", counters.changes_received)],
    );
    both(
        &REPLICA_BATCHES,
        "direction",
        [("sent", counters.batches_sent), ("received", counters.batches_received)],
    );
    let bytes = [("sent", counters.batch_bytes_sent), ("received", counters.batch_bytes_received)];
    both(&REPLICA_BATCH_BYTES, "direction", bytes);
    page.figure(&REPLICA_IGNORED).put(&[], counters.batches_ignored);
    page.figure(&REPLICA_GAPS).put(&[], counters.gaps);
    page.figure(&REPLICA_MALFORMED).put(&[], counters.malformed);
    page.figure(&REPLICA_COLUMNS).put(&[], counters.columns_received);
    let tables = [("sent", counters.table_messages_sent), ("received", counters.table_messages_received)];
    let mut messages = page.figure(&TABLE_MESSAGES);
    for (direction, count) in tables {
        messages.put(&[("direction", direction)], count);
    }
    page.figure(&TABLE_BYTES).put(&[], counters.table_bytes_sent);
    about_limits_and_series(page, replica, &list);
    let mut caches = page.figure(&CACHE_PAIRS);
    for row in &list {
        if let Some(cache) = replica.cache(&row.name) {
            caches.put(&[("cache", &row.name)], cache.len());
        }
    }
}

/// What all nodes together have in tables and series: one sample for each, or for each word.
fn about_limits_and_series(page: &mut Page, replica: &Replica, list: &[ListRow]) {
    let mut units = page.figure(&THROTTLE_UNITS);
    for row in list {
        if let Some(table) = replica.throttles(&row.name) {
            units.put(&[("object", &row.name)], table.rows().map(|throttle| throttle.used).sum::<u64>());
        }
    }
    let mut slots = page.figure(&SLOTS);
    for row in list {
        if let Some(table) = replica.slots(&row.name) {
            slots.put(&[("object", &row.name)], table.rows().map(|key| key.owned).sum::<u64>());
        }
    }
    let mut sums = page.figure(&SERIES_SUM);
    for row in list.iter().filter(|row| row.structure == Structure::Metrics) {
        for (word, sum) in
            replica.object(&row.name).and_then(|object| object.metric_sums(Of::Global)).unwrap_or_default()
        {
            sums.put(&[("object", &row.name), ("word", word.word())], sum);
        }
    }
}

fn about_datasources(page: &mut Page, node: &Node) {
    let sources = node.datasources.statistics();
    let mut elements = page.figure(&SOURCE_ELEMENTS);
    for (name, found) in &sources {
        elements.put(&[("datasource", name)], found.elements);
    }
    let mut lookups = page.figure(&SOURCE_LOOKUPS);
    for (name, found) in &sources {
        for (result, count) in [("hit", found.hits), ("miss", found.misses), ("pending", found.pending)] {
            lookups.put(&[("datasource", name), ("result", result)], count);
        }
    }
    let mut inserts = page.figure(&SOURCE_INSERTS);
    for (name, found) in &sources {
        inserts.put(&[("datasource", name)], found.inserts);
    }
    let mut deletions = page.figure(&SOURCE_DELETIONS);
    for (name, found) in &sources {
        for (cause, count) in [("manual", found.manual), ("ttl", found.expired), ("lru", found.evicted)] {
            deletions.put(&[("datasource", name), ("cause", cause)], count);
        }
    }
}

fn about_logs(page: &mut Page, node: &Node) {
    let logs = node.logs.figures();
    let mut put = |figure: &Figure, of: fn(&Figures) -> u64| {
        let mut samples = page.figure(figure);
        for log in &logs {
            samples.put(&[("log", &log.name)], of(log));
        }
    };
    put(&LOG_LINES, |log| log.written);
    put(&LOG_WAITING, |log| log.waiting);
    put(&LOG_LOST, |log| log.lost);
}

fn seconds(time: Duration) -> f64 {
    time.as_secs_f64()
}
