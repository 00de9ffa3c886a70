//! Lines for the operator's log that wait to be fetched.

use alloc::collections::VecDeque;
use alloc::string::String;
pub use postfleet_types::{Notice, Severity};

/// Lines that nobody has fetched yet. Bounded: a driver that never fetches loses the oldest.
#[derive(Debug, Default)]
pub(crate) struct Notices(VecDeque<Notice>);

/// More waiting lines than this mean that nobody reads them.
const NOTICES_MAX: usize = 1000;

impl Notices {
    pub(crate) fn push(&mut self, severity: Severity, text: String) {
        if self.0.len() >= NOTICES_MAX {
            self.0.pop_front();
        }
        self.0.push_back(Notice { severity, text });
    }

    pub(crate) fn pop(&mut self) -> Option<Notice> {
        self.0.pop_front()
    }
}
