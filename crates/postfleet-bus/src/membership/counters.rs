//! Figures for `postfleet_bus_*`.

use core::time::Duration;

/// Upper bounds of the buckets of [`Counters::own_delivery`], in microseconds; the last bucket has none.
pub const OWN_DELIVERY_BOUNDS_MICROS: [u64; 9] =
    [500, 1_000, 2_500, 5_000, 10_000, 50_000, 250_000, 1_000_000, 10_000_000];

/// What a connection has counted since it began.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Messages of all types that the carrier accepted.
    pub messages_sent: u64,
    /// Their bytes.
    pub bytes_sent: u64,
    /// Application messages given to the application.
    pub messages_delivered: u64,
    /// The bytes of their payloads.
    pub bytes_delivered: u64,
    /// Times the carrier was busy.
    pub send_retries: u64,
    /// Times an application's send was refused because the queue was full.
    pub queue_full: u64,
    /// Views installed.
    pub views: u64,
    /// Views of these that a departure brought.
    pub views_departure: u64,
    /// ROUNDs sent.
    pub rounds_sent: u64,
    /// INSTALLs ignored because a raw event or a later ROUND had ended their round.
    pub installs_ignored: u64,
    /// Members that were put out because they did not answer heartbeats.
    pub expelled: u64,
    /// Holes in the numbers of senders.
    pub gaps: u64,
    /// Messages of senders that were not installed, had another epoch or a hole in their numbers.
    pub dropped_sender: u64,
    /// View-bound messages that came in another view.
    pub dropped_view_bound: u64,
    /// Messages that were addressed to others only.
    pub not_for_us: u64,
    /// Own messages to private names that nobody had.
    pub unknown_unicast: u64,
    /// Messages that could not be read.
    pub malformed: u64,
    /// Messages with an envelope version of the future.
    pub unknown_version: u64,
    /// Messages of a type of the future.
    pub unknown_type: u64,
    /// Messages with a compressed payload or an unknown flag.
    pub unsupported_flags: u64,
    /// Bursts of unread events that ended the connection.
    pub overruns: u64,
    /// How long own messages took from the carrier's acceptance to their delivery here: one count for each bound
    /// of [`OWN_DELIVERY_BOUNDS_MICROS`] and one for what took longer.
    pub own_delivery: [u64; 10],
    /// The sum of these times in microseconds.
    pub own_delivery_micros: u64,
}

impl Counters {
    /// Adds what another connection has counted.
    pub fn add(&mut self, other: &Self) {
        let pairs = [
            (&mut self.messages_sent, other.messages_sent),
            (&mut self.bytes_sent, other.bytes_sent),
            (&mut self.messages_delivered, other.messages_delivered),
            (&mut self.bytes_delivered, other.bytes_delivered),
            (&mut self.send_retries, other.send_retries),
            (&mut self.queue_full, other.queue_full),
            (&mut self.views, other.views),
            (&mut self.views_departure, other.views_departure),
            (&mut self.rounds_sent, other.rounds_sent),
            (&mut self.installs_ignored, other.installs_ignored),
            (&mut self.expelled, other.expelled),
            (&mut self.gaps, other.gaps),
            (&mut self.dropped_sender, other.dropped_sender),
            (&mut self.dropped_view_bound, other.dropped_view_bound),
            (&mut self.not_for_us, other.not_for_us),
            (&mut self.unknown_unicast, other.unknown_unicast),
            (&mut self.malformed, other.malformed),
            (&mut self.unknown_version, other.unknown_version),
            (&mut self.unknown_type, other.unknown_type),
            (&mut self.unsupported_flags, other.unsupported_flags),
            (&mut self.overruns, other.overruns),
            (&mut self.own_delivery_micros, other.own_delivery_micros),
        ];
        let buckets = self.own_delivery.iter_mut().zip(other.own_delivery);
        for (sum, count) in pairs.into_iter().chain(buckets) {
            *sum = sum.saturating_add(count);
        }
    }

    pub(super) fn own_delivered(&mut self, took: Duration) {
        let micros = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
        self.own_delivery_micros = self.own_delivery_micros.saturating_add(micros);
        let bucket = OWN_DELIVERY_BOUNDS_MICROS.iter().filter(|bound| micros > **bound).count();
        if let Some(count) = self.own_delivery.get_mut(bucket) {
            *count += 1;
        }
    }
}
