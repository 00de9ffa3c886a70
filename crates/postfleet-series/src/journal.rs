//! What has been counted since the last look: the contents of files that hold one period each.

use alloc::collections::BTreeMap;
use alloc::string::String;

use postfleet_types::WallTime;

use crate::file;
use crate::monitor::Monitor;
use crate::piece::OwnedKey;
use crate::series::{Key, SeriesKind};

/// One key in one window.
#[derive(Clone, Copy, Debug, Default)]
struct Cell {
    /// What was written.
    written: i64,
    /// What the look that saw it last has found.
    found: i64,
    /// That look. One that a look does not see is at 0.
    seen: u64,
}

impl Cell {
    const fn now(self, look: u64) -> i64 {
        if self.seen == look { self.found } else { 0 }
    }
}

/// What was written of a series, and what the look under way has found.
///
/// A look tells every key of every window that is not at 0 ([`Journal::see`], in pieces, while counting goes on), and
/// ends with [`Journal::text`]. Once the text is safe, [`Journal::written`] takes it as the state that the next look
/// is compared with; a text that is not will be in the next one.
#[derive(Clone, Debug)]
pub struct Journal {
    name: String,
    kind: SeriesKind,
    monitor: Monitor,
    /// By the beginning of a window.
    known: BTreeMap<u64, BTreeMap<OwnedKey, Cell>>,
    look: u64,
}

impl Journal {
    /// Nothing has been written.
    #[must_use]
    pub fn new(name: &str, kind: SeriesKind, monitor: Monitor) -> Self {
        Self { name: name.into(), kind, monitor, known: BTreeMap::new(), look: 1 }
    }

    fn cell(&mut self, begin: WallTime, key: Key<'_>) -> &mut Cell {
        self.known.entry(begin.unix_seconds()).or_default().entry(OwnedKey::from(key)).or_default()
    }

    /// Adds what an earlier file has.
    pub fn seed(&mut self, begin: WallTime, key: Key<'_>, count: i64) {
        let cell = self.cell(begin, key);
        cell.written = cell.written.saturating_add(count);
    }

    /// A key that is not at 0 in a window. What is told twice, of two columns, counts together.
    pub fn see(&mut self, begin: WallTime, key: Key<'_>, count: i64) {
        let look = self.look;
        let cell = self.cell(begin, key);
        cell.found = cell.now(look).saturating_add(count);
        cell.seen = look;
    }

    /// Forgets windows that have left the series. `true` when nothing is left.
    pub fn age(&mut self, now: WallTime) -> bool {
        self.known = self.known.split_off(&self.monitor.oldest(now).unix_seconds());
        self.known.is_empty()
    }

    /// The file of this look; `None` when nothing has changed. Windows that have left the series are forgotten: `now` is not
    /// before the last look at it.
    pub fn text(&mut self, now: WallTime) -> Option<String> {
        self.age(now);
        let mut text = file::head(&self.name, self.kind, self.monitor);
        let head = text.len();
        for (begin, cells) in &self.known {
            let begin = WallTime::from_unix_seconds(*begin);
            for (key, cell) in cells {
                let delta = cell.now(self.look).saturating_sub(cell.written);
                if delta != 0 {
                    file::line(&mut text, begin, key.key(), delta);
                }
            }
        }
        self.look += 1;
        (text.len() > head).then_some(text)
    }

    /// The text is safe.
    pub fn written(&mut self) {
        let look = self.look - 1;
        for cells in self.known.values_mut() {
            cells.retain(|_, cell| {
                cell.written = cell.now(look);
                cell.written != 0
            });
        }
        self.known.retain(|_, cells| !cells.is_empty());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec::Vec;
    use core::net::IpAddr;

    fn key(text: &str) -> Key<'static> {
        Key::Address(text.parse::<IpAddr>().unwrap())
    }

    const fn at(seconds: u64) -> WallTime {
        WallTime::from_unix_seconds(seconds)
    }

    /// The lines of a text behind its head, and all taken as written.
    fn lines(journal: &mut Journal, now: u64) -> Vec<String> {
        let text = journal.text(at(now));
        journal.written();
        text.map_or_else(Vec::new, |text| text.lines().skip(1).map(String::from).collect())
    }

    #[test]
    fn a_file_has_what_was_counted_since_the_one_before() {
        let mut journal = Journal::new("spam", SeriesKind::Cidr, Monitor::new(300, 2).unwrap());
        journal.see(at(600), key("10.0.0.1"), 3);
        journal.see(at(600), key("10.0.0.2"), 1);
        assert_eq!(
            journal.text(at(700)).unwrap(),
            "# series spam cidr 300 2\n600\t10.0.0.1\t3\n600\t10.0.0.2\t1\n"
        );
        journal.written();
        journal.see(at(600), key("10.0.0.1"), 5);
        journal.see(at(600), key("10.0.0.2"), 1);
        journal.see(at(900), key("10.0.0.1"), 2);
        assert_eq!(lines(&mut journal, 950), ["600\t10.0.0.1\t2", "900\t10.0.0.1\t2"]);
        // What was taken away or removed is told as well.
        journal.see(at(900), key("10.0.0.1"), 2);
        assert_eq!(lines(&mut journal, 960), ["600\t10.0.0.1\t-5", "600\t10.0.0.2\t-1"]);
        journal.see(at(900), key("10.0.0.1"), 2);
        assert_eq!(lines(&mut journal, 970), [] as [String; 0]);
    }

    #[test]
    fn a_window_that_has_aged_out_is_not_taken_away() {
        let mut journal = Journal::new("spam", SeriesKind::Cidr, Monitor::new(300, 1).unwrap());
        journal.see(at(600), key("10.0.0.1"), 3);
        assert_eq!(lines(&mut journal, 700).len(), 1);
        assert_eq!(lines(&mut journal, 1200), [] as [String; 0]);
        journal.see(at(1200), key("10.0.0.1"), 3);
        assert_eq!(lines(&mut journal, 1201).len(), 1);
        assert!(!journal.age(at(1799)) && journal.age(at(1800)));
    }

    #[test]
    fn what_could_not_be_written_is_in_the_next_file() {
        let mut journal = Journal::new("s", SeriesKind::Text, Monitor::new(60, 5).unwrap());
        journal.see(at(60), Key::Text("a b"), 3);
        assert!(journal.text(at(61)).is_some());
        journal.see(at(60), Key::Text("a b"), 4);
        assert_eq!(lines(&mut journal, 62), ["60\ta%20b\t4"]);
    }

    #[test]
    fn two_columns_are_told_as_one() {
        let mut journal = Journal::new("s", SeriesKind::Text, Monitor::new(60, 5).unwrap());
        journal.see(at(60), Key::Text("a"), 3);
        journal.see(at(60), Key::Text("b"), 1);
        journal.see(at(60), Key::Text("a"), 2);
        journal.see(at(60), Key::Text("b"), -1);
        assert_eq!(lines(&mut journal, 61), ["60\ta\t5"]);
        journal.see(at(60), Key::Text("a"), 4);
        journal.see(at(60), Key::Text("a"), 1);
        assert_eq!(lines(&mut journal, 62), [] as [String; 0]);
    }

    #[test]
    fn a_restart_goes_on_behind_what_the_files_have() {
        let mut journal = Journal::new("spam", SeriesKind::Cidr, Monitor::new(300, 2).unwrap());
        journal.seed(at(600), key("10.0.0.1"), 3);
        journal.seed(at(600), key("10.0.0.1"), 2);
        journal.see(at(600), key("10.0.0.1"), 6);
        assert_eq!(lines(&mut journal, 700), ["600\t10.0.0.1\t1"]);
    }
}
