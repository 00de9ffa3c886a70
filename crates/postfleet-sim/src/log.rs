//! The event log of a run: one line an event, in order, the same bytes for the same run.
//!
//! A line has the number of the step, the time in seconds, who it is about, what happened, and the rest as text:
//! `812 14.002250 n2 s.view 7.00ab… members=n1,n2 joined= left=n3:node-down together=n1,n2`. Lines that begin with `#`
//! are about the run as a whole. [`crate::replay`] reads them back.

use alloc::format;
use alloc::string::String;
use core::fmt;
use postfleet_types::Monotonic;

/// The first line of every log.
pub const FIRST_LINE: &str = "# postfleet-sim log 1";

/// Takes the lines of a run, or nothing.
pub struct Log<'a> {
    sink: Option<&'a mut dyn FnMut(&str)>,
    step: u64,
}

impl fmt::Debug for Log<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Log").field("step", &self.step).finish_non_exhaustive()
    }
}

impl<'a> Log<'a> {
    /// Lines go nowhere, and are not even written.
    #[must_use]
    pub const fn none() -> Self {
        Self { sink: None, step: 0 }
    }

    /// Lines go here, each without its end.
    #[must_use]
    pub fn to(sink: &'a mut dyn FnMut(&str)) -> Self {
        Self { sink: Some(sink), step: 0 }
    }

    /// Whether anybody reads it.
    #[must_use]
    pub const fn is_on(&self) -> bool {
        self.sink.is_some()
    }

    /// A line about the run.
    pub fn head(&mut self, text: fmt::Arguments<'_>) {
        if let Some(sink) = &mut self.sink {
            sink(&one_line(&format!("# {text}")));
        }
    }

    /// A line about an event.
    pub fn line(&mut self, now: Monotonic, who: &str, what: &str, rest: fmt::Arguments<'_>) {
        if let Some(sink) = &mut self.sink {
            let (seconds, micros) = (now.as_micros() / 1_000_000, now.as_micros() % 1_000_000);
            let text = format!("{} {seconds}.{micros:06} {who} {what} {rest}", self.step);
            self.step += 1;
            sink(one_line(&text).trim_end());
        }
    }
}

fn one_line(text: &str) -> String {
    text.replace(['\n', '\r'], " ")
}
