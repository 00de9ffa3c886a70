//! What waits to be sent, and what was sent and has not come back.
//!
//! The library takes a message without waiting as long as its daemon reads. Behind it lies a ring of one megabyte
//! and, for each message, one byte in a socket; when the daemon stands still and the socket is full, the call
//! turns in circles. So never more than a window is under way, well below what the socket holds. What comes back
//! opens the window again.

use bytes::Bytes;
use core::time::Duration;
use postfleet_bus::carrier::Submit;
use postfleet_types::Monotonic;
use std::collections::VecDeque;

/// Messages under way. A Unix socket of the usual size (208 KiB) holds some 270 single bytes.
pub const WINDOW_MESSAGES_MAX: usize = 128;

/// Bytes under way, beyond which one more message may go: more than a ring carries in one round of the token.
pub const WINDOW_BYTES_MAX: usize = 512 << 10;

/// Waiting and under way; above it `submit` says [`Submit::Busy`]. What is accepted goes before heartbeats that come
/// later, and a ring may carry no more than some megabytes a second: several of them here would make a busy member look
/// like one that hangs.
pub const KEPT_BYTES_MAX: usize = 512 << 10;

/// Messages waiting and under way; above it `submit` says [`Submit::Busy`].
pub const KEPT_MESSAGES_MAX: usize = 2 * WINDOW_MESSAGES_MAX;

/// The pauses after [`Status::TRY_AGAIN`](crate::status::Status::TRY_AGAIN): 1, 2, 4 … milliseconds, at most this.
pub const PAUSE_MAX: Duration = Duration::from_millis(50);

/// The send side of one attachment.
#[derive(Debug, Default)]
pub struct Outgoing {
    waiting: VecDeque<Bytes>,
    waiting_bytes: usize,
    /// Lengths of what was handed to the library and has not come back.
    under_way: VecDeque<usize>,
    under_way_bytes: usize,
    pause: Duration,
    paused_until: Option<Monotonic>,
    owes_ready: bool,
    retries: u64,
    /// Somebody hands the first waiting message to the library just now.
    sending: bool,
}

/// Up to so many messages under way, `submit` may hand a message to the library itself. On an idle bus that saves a
/// change of threads; on a busy one it would make `submit` take as long as all that it flushes.
pub const DIRECT_MESSAGES_MAX: usize = 16;

impl Outgoing {
    /// Takes a message, or says that there is no room now.
    pub fn submit(&mut self, bytes: Bytes) -> Submit {
        let messages = self.waiting.len() + self.under_way.len();
        if self.kept_bytes() > KEPT_BYTES_MAX || messages > KEPT_MESSAGES_MAX {
            self.owes_ready = true;
            return Submit::Busy;
        }
        self.waiting_bytes += bytes.len();
        self.waiting.push_back(bytes);
        Submit::Accepted
    }

    /// What may be sent now. It is the caller's alone until it answers with [`Outgoing::sent`] or
    /// [`Outgoing::try_again`]; in between nobody gets anything, so that the order is kept without holding a lock.
    pub fn next(&mut self, now: Monotonic) -> Option<Bytes> {
        let open = self.under_way.len() < WINDOW_MESSAGES_MAX && self.under_way_bytes < WINDOW_BYTES_MAX;
        let paused = self.paused_until.is_some_and(|until| now < until);
        if self.sending || !open || paused {
            return None;
        }
        let next = self.waiting.pop_front()?;
        self.sending = true;
        // Under way from here on: it may come back before the thread that sends it says that it was sent.
        self.waiting_bytes -= next.len();
        self.under_way_bytes += next.len();
        self.under_way.push_back(next.len());
        Some(next)
    }

    /// [`Outgoing::next`], if the bus is idle enough for the application's own thread.
    pub fn next_direct(&mut self, now: Monotonic) -> Option<Bytes> {
        let idle = self.waiting.len() == 1 && self.under_way.len() < DIRECT_MESSAGES_MAX;
        if idle { self.next(now) } else { None }
    }

    /// When [`Outgoing::next`] is to be asked again because a pause is over.
    #[must_use]
    pub fn deadline(&self) -> Option<Monotonic> {
        self.paused_until.filter(|_| !self.waiting.is_empty())
    }

    /// The message was taken.
    pub fn sent(&mut self) {
        self.sending = false;
        self.pause = Duration::ZERO;
        self.paused_until = None;
    }

    /// The message was not taken; it is tried again after a pause that grows.
    pub fn try_again(&mut self, now: Monotonic, bytes: Bytes) {
        self.sending = false;
        // Nothing was handed out since, so it is the last.
        if let Some(length) = self.under_way.pop_back() {
            self.under_way_bytes -= length;
        }
        self.waiting_bytes += bytes.len();
        self.waiting.push_front(bytes);
        self.retries += 1;
        self.pause = (self.pause * 2).clamp(Duration::from_millis(1), PAUSE_MAX);
        self.paused_until = Some(now + self.pause);
    }

    /// One of the own messages came back. `true`: whoever was told to wait is to be told that there is room.
    pub fn returned(&mut self) -> bool {
        if let Some(length) = self.under_way.pop_front() {
            self.under_way_bytes -= length;
        }
        let room = self.kept_bytes() < KEPT_BYTES_MAX / 2
            && self.waiting.len() + self.under_way.len() < KEPT_MESSAGES_MAX / 2;
        room && core::mem::take(&mut self.owes_ready)
    }

    /// The message that was submitted last is the first to wait, so somebody must be told to send.
    #[must_use]
    pub fn waits(&self) -> bool {
        self.waiting.len() == 1 && !self.sending
    }

    /// Everything has gone out and come back.
    #[must_use]
    pub fn is_idle(&self) -> bool {
        self.waiting.is_empty() && self.under_way.is_empty()
    }

    /// How often the daemon had no room.
    #[must_use]
    pub const fn retries(&self) -> u64 {
        self.retries
    }

    const fn kept_bytes(&self) -> usize {
        self.waiting_bytes + self.under_way_bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Monotonic = Monotonic::from_millis(1000);

    fn message(length: usize) -> Bytes {
        Bytes::from(vec![7; length])
    }

    fn send_all(outgoing: &mut Outgoing) -> usize {
        let mut sent = 0;
        while outgoing.next(NOW).is_some() {
            outgoing.sent();
            sent += 1;
        }
        sent
    }

    #[test]
    fn small_messages_are_bounded_by_number() {
        let mut outgoing = Outgoing::default();
        let mut accepted = 0;
        while outgoing.submit(message(1)) == Submit::Accepted {
            accepted += 1;
        }
        assert_eq!(accepted, KEPT_MESSAGES_MAX + 1);
        assert_eq!(send_all(&mut outgoing), WINDOW_MESSAGES_MAX);
        // Each that comes back lets one go, and room is reported once.
        let mut ready = 0;
        while !outgoing.is_idle() {
            ready += usize::from(outgoing.returned());
            send_all(&mut outgoing);
        }
        assert_eq!(ready, 1);
    }

    #[test]
    fn large_messages_are_bounded_by_bytes() {
        let mut outgoing = Outgoing::default();
        let mut accepted = 0;
        while outgoing.submit(message(1_000_000)) == Submit::Accepted {
            accepted += 1;
        }
        assert_eq!(accepted, 1);
        assert_eq!(send_all(&mut outgoing), 1);
        assert!(outgoing.returned());
        accepted = 0;
        while outgoing.submit(message(100_000)) == Submit::Accepted {
            accepted += 1;
        }
        assert_eq!(accepted, KEPT_BYTES_MAX / 100_000 + 1);
        assert_eq!(send_all(&mut outgoing), accepted);
    }

    #[test]
    fn a_message_longer_than_the_window_still_goes() {
        let mut outgoing = Outgoing::default();
        assert_eq!(outgoing.submit(message(WINDOW_BYTES_MAX + 1)), Submit::Accepted);
        assert_eq!(outgoing.submit(message(1)), Submit::Busy);
        assert_eq!(send_all(&mut outgoing), 1);
        assert!(outgoing.returned());
        assert_eq!(outgoing.submit(message(1)), Submit::Accepted);
        assert_eq!(send_all(&mut outgoing), 1);
    }

    #[test]
    fn pauses_grow_to_fifty_milliseconds_and_end_with_success() {
        let mut outgoing = Outgoing::default();
        assert_eq!(outgoing.submit(message(1)), Submit::Accepted);
        let mut now = NOW;
        let mut pauses = Vec::new();
        for _ in 0..8 {
            let bytes = outgoing.next(now).unwrap();
            outgoing.try_again(now, bytes);
            assert!(outgoing.next(now).is_none(), "paused");
            let until = outgoing.deadline().unwrap();
            pauses.push(until.since(now).as_millis());
            now = until;
        }
        assert_eq!(pauses, [1, 2, 4, 8, 16, 32, 50, 50]);
        assert_eq!(outgoing.retries(), 8);
        assert!(outgoing.next(now).is_some());
        outgoing.sent();
        assert_eq!(outgoing.deadline(), None);
        outgoing.returned();
        assert!(outgoing.is_idle());
    }

    #[test]
    fn only_one_sends_at_a_time_and_the_application_only_when_the_bus_is_idle() {
        let mut outgoing = Outgoing::default();
        for n in 0..DIRECT_MESSAGES_MAX {
            assert_eq!(outgoing.submit(message(n)), Submit::Accepted);
            assert_eq!(outgoing.next_direct(NOW), Some(message(n)));
            assert_eq!(outgoing.next(NOW), None, "the other thread keeps away");
            outgoing.sent();
        }
        assert_eq!(outgoing.submit(message(1)), Submit::Accepted);
        assert_eq!(outgoing.next_direct(NOW), None);
        assert_eq!(outgoing.next(NOW), Some(message(1)));
        outgoing.sent();
    }

    /// The thread that sends may be held up behind the call, while the daemon is quick.
    #[test]
    fn what_comes_back_before_it_is_said_to_be_sent_leaves_the_window_open() {
        let mut outgoing = Outgoing::default();
        for _ in 0..3 {
            assert_eq!(outgoing.submit(message(WINDOW_BYTES_MAX)), Submit::Accepted);
            assert!(outgoing.next(NOW).is_some());
            outgoing.returned();
            outgoing.sent();
            assert!(outgoing.is_idle());
        }
    }

    #[test]
    fn a_message_that_was_not_taken_stays_before_later_ones() {
        let mut outgoing = Outgoing::default();
        for n in 1..=3 {
            assert_eq!(outgoing.submit(message(n)), Submit::Accepted);
        }
        let first = outgoing.next(NOW).unwrap();
        outgoing.try_again(NOW, first);
        let later = NOW + PAUSE_MAX;
        for n in 1..=3 {
            assert_eq!(outgoing.next(later), Some(message(n)));
            outgoing.sent();
        }
    }

    #[test]
    fn what_nobody_sent_does_no_harm() {
        let mut outgoing = Outgoing::default();
        outgoing.sent();
        assert!(!outgoing.returned());
        assert!(outgoing.is_idle());
    }
}
