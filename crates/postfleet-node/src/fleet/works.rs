//! A heartbeat says that this node works, not only that a task of it runs.

use crate::notices::{Severity, notice};
use postfleet_bus::envelope::Load;
use std::sync::Arc;
use std::time::Duration;

/// What a node says of its work.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Report {
    pub(crate) load: Load,
    /// How long work has been waiting for any of it to end.
    pub(crate) stuck: Duration,
}

/// Asks the node.
pub(crate) type ReportOf = Arc<dyn Fn() -> Report + Send + Sync>;

/// Work that has been stuck for so long holds heartbeats back. A disk that is only slow ends something now and then, and
/// costs a heartbeat or two; others take a node for hung after `heartbeat_miss_limit` of them.
const STUCK: Duration = Duration::from_secs(2);

impl Report {
    pub(super) fn works(&self) -> bool {
        self.stuck < STUCK
    }
}

/// Decides on heartbeats, and tells the operator.
#[derive(Debug)]
pub(super) struct Works {
    /// From when on it is worth a line.
    tell_after: Duration,
    speaks: bool,
    told: bool,
}

impl Works {
    /// `limit`: how long others bear silence. `speaks`: one of the two connections tells.
    pub(super) fn new(limit: Duration, speaks: bool) -> Self {
        Self { tell_after: (limit / 2).max(STUCK), speaks, told: false }
    }

    /// Whether a heartbeat may be sent.
    pub(super) fn allow(&mut self, report: &Report) -> bool {
        if report.stuck >= self.tell_after && !core::mem::replace(&mut self.told, true) && self.speaks {
            notice(
                Severity::Error,
                format_args!(
                    "messages have been waiting for the spool for {} s and none became durable; its disk hangs. No \
                     heartbeats are sent until one does, and the other nodes go on without this one",
                    report.stuck.as_secs()
                ),
            );
        }
        if report.works() && core::mem::take(&mut self.told) && self.speaks {
            notice(Severity::Notice, "the spool works again; heartbeats are sent");
        }
        report.works()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_node_whose_work_hangs_sends_no_heartbeats_and_tells_once() {
        let mut works = Works::new(Duration::from_secs(10), true);
        let mut at = |millis| {
            let allowed = works.allow(&Report { stuck: Duration::from_millis(millis), ..Report::default() });
            (allowed, works.told)
        };
        assert_eq!(at(0), (true, false));
        assert_eq!(at(1999), (true, false));
        assert_eq!(at(2000), (false, false));
        assert_eq!(at(5000), (false, true));
        assert_eq!(at(9000), (false, true));
        assert_eq!(at(10), (true, false));
    }
}
