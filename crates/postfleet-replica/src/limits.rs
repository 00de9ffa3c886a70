//! Throttles and slots as ordered objects.

use crate::ordered::{BodyError, Ordered, TableOptions, Waiting};
use alloc::vec::Vec;
use postfleet_throttle::{Configuration, MessageError, SharedThrottles, SlotOptions, Slots, ThrottleOptions};
use postfleet_types::{Monotonic, Notice, PrivateName};

impl From<MessageError> for BodyError {
    fn from(error: MessageError) -> Self {
        match error {
            MessageError::Version(version) => Self::Version(version),
            MessageError::Malformed(error) => Self::Malformed(error),
        }
    }
}

const fn soon(wants_to_send: bool) -> Waiting {
    if wants_to_send { Waiting::Soon } else { Waiting::Nothing }
}

/// Both kinds of table have the same face; what they do behind it differs.
macro_rules! ordered {
    ($table:ty, $options:path) => {
        impl Ordered for $table {
            fn reconfigure(&mut self, now: Monotonic, next: &Configuration<'_>) {
                Self::reconfigure(self, now, next);
            }

            fn enter(&mut self, now: Monotonic, standing: &Configuration<'_>) {
                Self::enter(self, now, standing);
            }

            fn lost(&mut self, now: Monotonic) {
                Self::lost(self, now);
            }

            fn deliver(&mut self, now: Monotonic, from: &PrivateName, body: &[u8]) -> Result<(), BodyError> {
                Ok(self.apply(now, from, body)?)
            }

            fn waiting(&self) -> Waiting {
                soon(self.wants_to_send())
            }

            fn poll_message(&mut self, now: Monotonic, bytes_max: usize) -> Option<Vec<u8>> {
                self.drain_outbox(now, bytes_max)
            }

            fn poll_deadline(&self) -> Option<Monotonic> {
                Self::poll_deadline(self)
            }

            fn handle_timeout(&mut self, now: Monotonic) {
                Self::handle_timeout(self, now);
            }

            fn poll_notice(&mut self) -> Option<Notice> {
                Self::poll_notice(self)
            }

            fn heard(&mut self, now: Monotonic, sent: Monotonic) {
                Self::heard(self, now, sent);
            }

            fn start(&mut self, now: Monotonic) {
                Self::start(self, now);
            }

            fn set_quorum(&mut self, now: Monotonic, held: Option<bool>) {
                Self::set_quorum(self, now, held);
            }

            fn confirm_dead(&mut self, now: Monotonic, member: &PrivateName) {
                Self::confirm_dead(self, now, member);
            }

            fn forget(&mut self, now: Monotonic, node: &str) {
                // Whether the node is present was asked before.
                let _refused = Self::forget(self, now, node);
            }

            fn leave(&mut self, now: Monotonic) {
                Self::leave(self, now);
            }

            fn withdraw(&self, now: Monotonic) -> Option<Vec<u8>> {
                Some(Self::withdraw(self, now))
            }

            fn awaited(&self) -> Vec<&PrivateName> {
                Self::awaited(self)
            }

            fn fingerprint(&self) -> u64 {
                Self::fingerprint(self)
            }

            fn set_options(&mut self, now: Monotonic, options: &TableOptions) {
                let settings = $options(self, options);
                Self::set_options(self, now, settings);
            }
        }
    };
}

fn throttle_options(table: &SharedThrottles, options: &TableOptions) -> ThrottleOptions {
    ThrottleOptions {
        partition: options.partition,
        grace: options.grace,
        capacity: table.options().capacity.map(|_| options.named_throttles_max),
    }
}

const fn slot_options(_table: &Slots, options: &TableOptions) -> SlotOptions {
    SlotOptions { partition: options.partition, grace: options.grace, handover: options.slot_handover }
}

ordered!(SharedThrottles, throttle_options);
ordered!(Slots, slot_options);
