//! One connection: a carrier and the membership layer above it, pumped both ways.
//!
//! A driver needs a waker and a timer: it calls [`Connection::poll`] when it is woken, after the application has
//! asked for something, and when [`Connection::deadline`] has passed.

use crate::carrier::{Carrier, Submit};
use crate::envelope::Load;
use crate::event::{BusEvent, BusStatus, Destination, MemberInfo, SendError, SendId, SendOptions};
use crate::membership::{Membership, Options};
use crate::notice::Notice;
use bytes::Bytes;
use core::task::{Context, Poll};
use postfleet_types::{GroupName, Monotonic, PrivateName, Random, WallTime};

/// Events taken from the carrier in one call of [`Connection::pump`] before others on the same thread get a turn.
const TURN_EVENTS_MAX: usize = 1024;

/// A carrier with the membership layer above it.
#[derive(Debug)]
pub struct Connection<C> {
    pub(crate) carrier: C,
    pub(crate) membership: Membership,
    carrier_ended: bool,
}

impl<C: Carrier> Connection<C> {
    /// Puts the layer above a carrier that has just been attached. `random` must come from the operating system.
    #[must_use]
    pub fn new(carrier: C, info: MemberInfo, random: Random, options: Options) -> Self {
        let membership = Membership::new(carrier.id(), info, random, options);
        Self { carrier, membership, carrier_ended: false }
    }

    /// Changes the digest that is announced; see [`Membership::set_options_digest`].
    pub const fn set_options_digest(&mut self, digest: u64) {
        self.membership.set_options_digest(digest);
    }

    /// The next event. When it is pending, the waker is woken by the carrier; the timer is the caller's.
    ///
    /// After [`BusEvent::Lost`] it is pending for ever; drop the connection then.
    pub fn poll(&mut self, now: Monotonic, context: &mut Context<'_>) -> Poll<BusEvent> {
        loop {
            if let Some(event) = self.membership.poll_event() {
                return Poll::Ready(event);
            }
            if !self.step(now, context) {
                return self.membership.poll_event().map_or(Poll::Pending, Poll::Ready);
            }
        }
    }

    /// Moves everything both ways without handing out events, for a driver that reads later. Unread events are
    /// bounded: at the bound the connection ends.
    pub fn pump(&mut self, now: Monotonic, context: &mut Context<'_>) {
        for _ in 0..TURN_EVENTS_MAX {
            if !self.step(now, context) {
                return;
            }
        }
        context.waker().wake_by_ref();
    }

    /// Takes one event of the carrier and hands on what is to be sent. `false`: nothing is left to do now.
    fn step(&mut self, now: Monotonic, context: &mut Context<'_>) -> bool {
        self.membership.set_carrier_state(self.carrier.bound(), self.carrier.quorum());
        let mut progress = self.flush(now);
        progress |= match self.carrier.poll_event(context) {
            Poll::Ready(event) => {
                self.carrier_ended |= matches!(event, crate::carrier::CarrierEvent::Lost(_));
                self.membership.handle_carrier(now, event);
                true
            }
            Poll::Pending => {
                let due = self.membership.poll_deadline().is_some_and(|deadline| deadline <= now);
                if due {
                    self.membership.handle_timeout(now);
                }
                false
            }
        };
        self.flush(now) || progress
    }

    /// `true` when the carrier has taken something, which may already have come back.
    fn flush(&mut self, now: Monotonic) -> bool {
        let mut any = false;
        while let Some(bytes) = self.membership.poll_submit() {
            let answer = self.carrier.submit(bytes.clone());
            self.membership.submitted(now, bytes, answer);
            if answer != Submit::Accepted {
                break;
            }
            any = true;
        }
        if self.membership.poll_detach() && !self.carrier_ended {
            self.carrier.detach();
            any = true;
        }
        any
    }

    /// Whether the host of a member that departed not long ago is still reached: then its process ended, and nothing
    /// of it goes on. `true` where the carrier cannot tell, and for members that nobody remembers.
    pub fn host_present(&self, departed: &PrivateName) -> bool {
        self.membership.departed(departed).is_none_or(|raw| self.carrier.host_present(raw))
    }

    /// When [`Connection::poll`] is to be called at the latest.
    pub fn deadline(&mut self) -> Option<Monotonic> {
        self.membership.poll_deadline()
    }

    /// [`Membership::join`], and out with it.
    ///
    /// # Errors
    /// As [`Membership::join`].
    pub fn join(&mut self, now: Monotonic, group: GroupName) -> Result<(), SendError> {
        self.membership.join(group)?;
        self.flush(now);
        Ok(())
    }

    /// [`Membership::leave`], and out with it.
    ///
    /// # Errors
    /// As [`Membership::leave`].
    pub fn leave(&mut self, now: Monotonic, group: GroupName) -> Result<(), SendError> {
        self.membership.leave(group)?;
        self.flush(now);
        Ok(())
    }

    /// [`Membership::send`], and out with it.
    ///
    /// # Errors
    /// As [`Membership::send`].
    pub fn send(
        &mut self,
        now: Monotonic,
        to: &[Destination],
        kind: u16,
        payload: Bytes,
        options: SendOptions,
    ) -> Result<SendId, SendError> {
        let id = self.membership.send(to, kind, payload, options)?;
        self.flush(now);
        Ok(id)
    }

    /// [`Membership::heartbeat`], and out with it.
    pub fn heartbeat(&mut self, now: Monotonic, wall: WallTime, load: Load) {
        self.membership.heartbeat(now, wall, load);
        self.flush(now);
    }

    /// [`Membership::disconnect`]. Keep polling until [`BusEvent::Lost`] comes.
    pub fn disconnect(&mut self, now: Monotonic) {
        self.membership.disconnect(now);
        self.flush(now);
    }

    /// The next line for the operator's log.
    pub fn poll_notice(&mut self) -> Option<Notice> {
        self.carrier.poll_notice().or_else(|| self.membership.poll_notice())
    }

    /// The state, with what the carrier says of itself now.
    #[must_use]
    pub fn status(&self) -> BusStatus {
        let bound = self.carrier.bound();
        let quorum = self.membership.quorum(self.carrier.quorum());
        let status = self.membership.status();
        BusStatus { bound, quorum, quorate: self.carrier.quorum().unwrap_or(status.quorate), ..status }
    }

    /// The layer, for reading: members, leader, counters, health.
    #[must_use]
    pub const fn membership(&self) -> &Membership {
        &self.membership
    }

    /// The carrier, for reading.
    #[must_use]
    pub const fn carrier(&self) -> &C {
        &self.carrier
    }
}
