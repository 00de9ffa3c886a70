//! Reads an event log back: what happened at each step, and what everybody had seen by then.

use crate::log::FIRST_LINE;
use alloc::collections::BTreeMap;
use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;

/// A log that was read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Recording {
    /// Lines about the run as a whole, without their `#`.
    pub heads: Vec<String>,
    /// One a step.
    pub lines: Vec<Line>,
}

/// One event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Line {
    /// Its number.
    pub step: u64,
    /// Seconds since the beginning, as text.
    pub at: String,
    /// The node it is about; `-` for what was done to the fleet.
    pub who: String,
    /// What happened. `m.` and `s.` in front mean the main and the shared connection.
    pub what: String,
    /// The rest.
    pub rest: String,
}

impl fmt::Display for Line {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:>7} {:>11} {:<4} {:<12} {}", self.step, self.at, self.who, self.what, self.rest)
    }
}

/// Why a text is no log.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RecordingError {
    /// The first line is another.
    #[error("line 1 is not `{FIRST_LINE}`: this is no log of `postfleet sim`, or one of another release")]
    NotALog,
    /// A line does not have its parts.
    #[error("line {number} is not `STEP SECONDS WHO WHAT …`; the log is cut or was edited")]
    Line {
        /// Which, counted from 1.
        number: usize,
    },
}

/// What a member had seen at some step.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Member {
    /// What was last done to it, or what it last did of itself.
    pub status: String,
    /// The view of its main connection.
    pub main: Option<String>,
    /// The view of its shared connection.
    pub shared: Option<String>,
    /// Every object with the sum and each column.
    pub columns: Vec<String>,
}

impl Recording {
    /// Reads a log.
    ///
    /// # Errors
    /// [`RecordingError`].
    pub fn parse(text: &str) -> Result<Self, RecordingError> {
        if text.lines().next() != Some(FIRST_LINE) {
            return Err(RecordingError::NotALog);
        }
        let mut recording = Self::default();
        for (at, line) in text.lines().enumerate().skip(1) {
            if let Some(head) = line.strip_prefix("# ") {
                recording.heads.push(String::from(head));
                continue;
            }
            let parsed = parse_line(line).ok_or(RecordingError::Line { number: at + 1 })?;
            recording.lines.push(parsed);
        }
        Ok(recording)
    }

    /// The place of the line with this step, or of the last one before it.
    #[must_use]
    pub fn place_of(&self, step: u64) -> usize {
        self.lines.partition_point(|line| line.step <= step).saturating_sub(1)
    }

    /// What everybody had seen after the line at this place.
    #[must_use]
    pub fn members_at(&self, place: usize) -> BTreeMap<&str, Member> {
        let mut members: BTreeMap<&str, Member> = BTreeMap::new();
        for line in self.lines.iter().take(place + 1) {
            if line.who == "-" {
                for word in line.rest.split(' ').filter(|word| is_node(word)) {
                    let member = members.entry(word).or_default();
                    member.status.clone_from(&line.rest);
                    if line.rest.starts_with("crash") || line.rest.starts_with("power off") {
                        *member = Member { status: line.rest.clone(), ..Member::default() };
                    }
                }
                continue;
            }
            let member = members.entry(line.who.as_str()).or_default();
            match line.what.as_str() {
                "m.view" => member.main = Some(line.rest.clone()),
                "s.view" => member.shared = Some(line.rest.clone()),
                "m.lost" => member.main = None,
                "s.lost" => member.shared = None,
                "left" => *member = Member { status: String::from("left"), ..Member::default() },
                "columns" => {
                    member.columns =
                        line.rest.split(' ').filter(|t| !t.is_empty()).map(String::from).collect();
                }
                _ => {}
            }
        }
        members
    }

    /// The place of the first line that another log does not have in the same way.
    #[must_use]
    pub fn first_difference(&self, other: &Self) -> Option<usize> {
        let same = self.lines.iter().zip(&other.lines).take_while(|(one, two)| one == two).count();
        (same < self.lines.len() || same < other.lines.len()).then_some(same)
    }
}

fn is_node(word: &str) -> bool {
    word.strip_prefix('n')
        .is_some_and(|number| !number.is_empty() && number.bytes().all(|b| b.is_ascii_digit()))
}

fn parse_line(line: &str) -> Option<Line> {
    let mut parts = line.splitn(5, ' ');
    Some(Line {
        step: parts.next()?.parse().ok()?,
        at: String::from(parts.next()?),
        who: String::from(parts.next()?),
        what: String::from(parts.next()?),
        rest: String::from(parts.next().unwrap_or_default()),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const LOG: &str = "# postfleet-sim log 1\n# seed 1\n\
        0 0.000000 - fault start n1\n\
        1 0.010000 n1 s.view 1.aa members=n1 joined=n1 left= along=\n\
        2 0.020000 n1 columns inbound_cidr=3(n1:3)\n\
        3 0.030000 n1 s.lost Daemon\n\
        4 0.040000 - fault crash n1\n";

    #[test]
    fn the_state_at_a_step_is_what_was_seen_until_then() {
        let log = Recording::parse(LOG).unwrap();
        assert_eq!(log.heads, ["seed 1"]);
        let at = |step| log.members_at(log.place_of(step)).get("n1").cloned().unwrap();
        assert_eq!(at(1).shared.as_deref(), Some("1.aa members=n1 joined=n1 left= along="));
        assert_eq!(at(2).columns, ["inbound_cidr=3(n1:3)"]);
        assert_eq!((at(3).shared, at(3).columns.len()), (None, 1));
        assert_eq!(at(99), Member { status: "crash n1".into(), ..Member::default() });
    }

    #[test]
    fn two_logs_part_at_the_first_line_that_differs() {
        let log = Recording::parse(LOG).unwrap();
        assert_eq!(log.first_difference(&log), None);
        let other = Recording::parse(&LOG.replace("0.030000", "0.030001")).unwrap();
        assert_eq!(log.first_difference(&other), Some(3));
        let mut shorter = log.clone();
        shorter.lines.pop();
        assert_eq!(log.first_difference(&shorter), Some(4));
    }

    #[test]
    fn what_is_no_log_is_refused_with_the_place() {
        assert_eq!(Recording::parse("# something"), Err(RecordingError::NotALog));
        let cut = "# postfleet-sim log 1\n0 0.0 n1";
        assert_eq!(Recording::parse(cut), Err(RecordingError::Line { number: 2 }));
    }
}
