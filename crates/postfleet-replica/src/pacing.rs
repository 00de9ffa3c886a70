//! When the buffers are sent: at once when idle, in batches when busy.

use crate::shared::Shared;
use core::time::Duration;
use postfleet_types::Monotonic;

/// The batches of this member on the bus.
#[derive(Debug)]
pub(crate) struct Pacing {
    /// The least time between two batches; `None` never sends at once (the option's value -1).
    pub(crate) min_delay: Option<Duration>,
    /// Batch messages sent and not delivered back.
    pub(crate) under_way: u32,
    /// When the last one was sent.
    pub(crate) last_sent: Option<Monotonic>,
}

/// Which buffers are sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Which {
    /// None.
    None,
    /// Those that are a reason to send.
    Due,
    /// All.
    All,
}

impl Pacing {
    /// Which buffers are to be sent now. All objects share a message, so one that is due takes the others along,
    /// except where the reference's behaviour was asked for.
    pub(crate) fn which(&self, objects: &[Shared], now: Monotonic) -> Which {
        let waits = |object: &Shared| object.data.as_ref().is_some_and(|data| data.oldest.is_some());
        if !objects.iter().any(waits) {
            Which::None
        } else if self.idle(now) {
            Which::All
        } else if objects.iter().any(|object| self.object_due(object, now)) {
            if self.min_delay.is_some() { Which::All } else { Which::Due }
        } else {
            Which::None
        }
    }

    /// Whether the buffer of this object is a reason to send now.
    ///
    /// Rules 2 and 3 of the lazy sending; rule 1 is [`Pacing::idle`].
    pub(crate) fn object_due(&self, object: &Shared, now: Monotonic) -> bool {
        let Some(data) = &object.data else { return false };
        let Some(oldest) = data.oldest else { return false };
        let full = data.mutations >= object.spec.max_pending;
        now.since(oldest) >= object.spec.max_delay
            || full && (self.min_delay.is_none() || self.under_way == 0)
    }

    /// Whether a change may leave at once: nothing under way, and the last batch long enough ago.
    pub(crate) fn idle(&self, now: Monotonic) -> bool {
        self.idle_from().is_some_and(|from| from <= now)
    }

    pub(crate) fn idle_from(&self) -> Option<Monotonic> {
        let min_delay = self.min_delay?;
        (self.under_way == 0).then(|| self.last_sent.map_or(Monotonic::ZERO, |last| last + min_delay))
    }

    /// When the buffers have to be looked at again, if nothing else happens.
    pub(crate) fn deadline(&self, objects: &[Shared]) -> Option<Monotonic> {
        let by_object = |object: &Shared| {
            let data = object.data.as_ref()?;
            let oldest = data.oldest?;
            let mut due = oldest + object.spec.max_delay;
            if data.mutations >= object.spec.max_pending && (self.min_delay.is_none() || self.under_way == 0)
            {
                due = oldest;
            }
            Some(self.idle_from().map_or(due, |idle| due.min(idle.max(oldest))))
        };
        objects.iter().filter_map(by_object).min()
    }
}
