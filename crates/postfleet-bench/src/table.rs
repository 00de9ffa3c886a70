//! The table: lines, their ratios and aims, as aligned text, Markdown and JSON.

use crate::machine::Machine;
use crate::rounds::Spread;
use serde_json::{Value, json};
use std::fmt::Write;

/// What the figures of a line are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Unit {
    /// Time; less is better.
    Nanoseconds,
    /// Work done in a second; more is better.
    PerSecond,
    /// Memory; less is better.
    Bytes,
    /// A number that is right or wrong.
    Count,
}

impl Unit {
    const fn word(self) -> &'static str {
        match self {
            Self::Nanoseconds => "nanoseconds",
            Self::PerSecond => "per second",
            Self::Bytes => "bytes",
            Self::Count => "count",
        }
    }

    /// As people read it.
    fn shown(self, value: f64) -> String {
        match self {
            Self::Nanoseconds if value < 1e3 => format!("{value:.0} ns"),
            Self::Nanoseconds if value < 1e6 => format!("{:.1} µs", value / 1e3),
            Self::Nanoseconds if value < 1e9 => format!("{:.2} ms", value / 1e6),
            Self::Nanoseconds => format!("{:.2} s", value / 1e9),
            Self::PerSecond if value < 1e4 => format!("{:.2} k/s", value / 1e3),
            Self::PerSecond if value < 1e6 => format!("{:.0} k/s", value / 1e3),
            Self::PerSecond => format!("{:.2} M/s", value / 1e6),
            Self::Bytes => format!("{value:.0} B"),
            Self::Count => format!("{value:.0}"),
        }
    }
}

/// What a line has to reach.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Aim {
    /// So many times better than the peer.
    Times(f64),
    /// Our figure is at most this.
    AtMost(f64),
    /// Our figure is this.
    Exactly(f64),
    /// Shown for comparison.
    None,
}

/// The other side of a line.
#[derive(Clone, Debug)]
pub(crate) enum Beside {
    /// Its name and what the rounds gave.
    Measured(String, Vec<f64>),
    /// Why there are no figures.
    Missing(String),
    /// There is no peer.
    Nobody,
}

/// A line of the table.
#[derive(Clone, Debug)]
pub(crate) struct Line {
    row: u8,
    work: String,
    unit: Unit,
    ours: Vec<f64>,
    beside: Beside,
    aim: Aim,
    note: String,
    failed: bool,
}

impl Line {
    /// A line of what we measured of ourselves.
    pub(crate) fn new(work: impl Into<String>, unit: Unit, ours: Vec<f64>) -> Self {
        Self {
            row: 0,
            work: work.into(),
            unit,
            ours,
            beside: Beside::Nobody,
            aim: Aim::None,
            note: String::new(),
            failed: false,
        }
    }

    /// What is not built yet, so that there is nothing to measure.
    pub(crate) fn unbuilt(work: impl Into<String>, note: &str) -> Self {
        Self::new(work, Unit::Count, Vec::new()).note(format!("not built yet: {note}"))
    }

    /// A row that went wrong.
    pub(crate) fn failed(work: &str, why: &str) -> Self {
        Self { failed: true, ..Self::new(work, Unit::Count, Vec::new()).note(format!("failed: {why}")) }
    }

    pub(crate) fn beside(mut self, name: &str, figures: Vec<f64>) -> Self {
        self.beside = Beside::Measured(name.to_owned(), figures);
        self
    }

    pub(crate) fn missing(mut self, why: impl Into<String>) -> Self {
        self.beside = Beside::Missing(why.into());
        self
    }

    /// What the peer's figures are, where there are none of ours.
    pub(crate) const fn of_unit(mut self, unit: Unit) -> Self {
        self.unit = unit;
        self
    }

    pub(crate) const fn aim(mut self, aim: Aim) -> Self {
        self.aim = aim;
        self
    }

    pub(crate) fn note(mut self, note: impl Into<String>) -> Self {
        self.note = note.into();
        self
    }

    pub(crate) const fn of_row(mut self, row: u8) -> Self {
        self.row = row;
        self
    }

    pub(crate) const fn has_failed(&self) -> bool {
        self.failed
    }

    /// How many times better we are, round by round. A line without two sides has none.
    pub(crate) fn ratio(&self) -> Option<Spread> {
        let Beside::Measured(_, peer) = &self.beside else { return None };
        let ratios: Vec<f64> = self
            .ours
            .iter()
            .zip(peer)
            .filter_map(|(ours, peer)| match self.unit {
                Unit::Nanoseconds | Unit::Bytes => Some(peer / ours),
                Unit::PerSecond => Some(ours / peer),
                Unit::Count => None,
            })
            .collect();
        Spread::of(&ratios)
    }

    /// Whether the aim is reached; `None` where there is none, or nothing to compare.
    pub(crate) fn is_met(&self) -> Option<bool> {
        let ours = Spread::of(&self.ours)?;
        match self.aim {
            Aim::Times(times) => Some(self.ratio()?.median >= times),
            Aim::AtMost(most) => Some(ours.median <= most),
            Aim::Exactly(value) => Some(self.ours.iter().all(|ours| (ours - value).abs() < 0.5)),
            Aim::None => None,
        }
    }

    fn cells(&self) -> [String; 8] {
        let shown = |figures: &[f64]| {
            Spread::of(figures).map_or_else(|| "—".into(), |spread| self.unit.shown(spread.median))
        };
        let (peer, name) = match &self.beside {
            Beside::Measured(name, figures) => (shown(figures), name.clone()),
            Beside::Missing(why) => ("—".into(), why.clone()),
            Beside::Nobody => ("—".into(), String::new()),
        };
        let times = |value: f64| if value < 10.0 { format!("{value:.2}") } else { format!("{value:.0}") };
        let ratio = self.ratio().map_or_else(
            || "—".into(),
            |ratio| format!("{} / {} / {}", times(ratio.least), times(ratio.median), times(ratio.greatest)),
        );
        let aim = match self.aim {
            Aim::Times(value) => format!("≥ {value} ×"),
            Aim::AtMost(value) => format!("≤ {}", self.unit.shown(value)),
            Aim::Exactly(value) => self.unit.shown(value),
            Aim::None => String::new(),
        };
        let met = match self.is_met() {
            Some(true) => "yes",
            Some(false) => "NO",
            None => "",
        };
        [self.row.to_string(), self.work.clone(), shown(&self.ours), peer, name, ratio, aim, met.into()]
    }

    /// What is said of it as soon as it is measured.
    pub(crate) fn short(&self) -> String {
        let [_, work, ours, peer, name, ratio, aim, met] = self.cells();
        let peer = if name.is_empty() { String::new() } else { format!("; {name}: {peer}, ratio {ratio}") };
        let aim = if aim.is_empty() { String::new() } else { format!("; aim {aim}: {met}") };
        let note = if self.note.is_empty() { String::new() } else { format!(" ({})", self.note) };
        format!("  {work}: {ours}{peer}{aim}{note}")
    }

    fn json(&self) -> Value {
        let spread = |spread: Option<Spread>| {
            spread.map(|s| json!({ "min": s.least, "median": s.median, "max": s.greatest }))
        };
        let (peer, figures) = match &self.beside {
            Beside::Measured(name, figures) => (Some(name.clone()), figures.clone()),
            Beside::Missing(why) => (Some(why.clone()), Vec::new()),
            Beside::Nobody => (None, Vec::new()),
        };
        json!({
            "row": self.row,
            "work": self.work,
            "unit": self.unit.word(),
            "ours": self.ours,
            "peer": peer,
            "peer_figures": figures,
            "ratio": spread(self.ratio()),
            "aim": match self.aim {
                Aim::Times(value) => json!({ "times": value }),
                Aim::AtMost(value) => json!({ "at_most": value }),
                Aim::Exactly(value) => json!({ "exactly": value }),
                Aim::None => Value::Null,
            },
            "met": self.is_met(),
            "note": self.note,
        })
    }
}

const HEADINGS: [&str; 8] =
    ["row", "work", "ours", "peer", "beside", "ratio min / median / max", "aim", "met"];

/// Everything that was measured.
#[derive(Debug)]
pub(crate) struct Report {
    pub(crate) machine: Machine,
    pub(crate) rounds: usize,
    pub(crate) quick: bool,
    pub(crate) lines: Vec<Line>,
}

impl Report {
    fn caption(&self) -> String {
        let quick =
            if self.quick { " Quick: small workloads, no figures to compare with others." } else { "" };
        format!("{} rounds, alternating; medians; a ratio above 1 is in our favour.{quick}", self.rounds)
    }

    /// The lines with every column as wide as it has to be.
    pub(crate) fn text(&self) -> String {
        let rows: Vec<[String; 8]> =
            std::iter::once(HEADINGS.map(str::to_owned)).chain(self.lines.iter().map(Line::cells)).collect();
        let widths: Vec<usize> =
            (0..8).map(|at| rows.iter().map(|row| row[at].chars().count()).max().unwrap_or(0)).collect();
        let mut out = String::new();
        for (key, value) in self.machine.facts() {
            // Writing to a string cannot fail.
            let _ = writeln!(out, "{key}: {value}");
        }
        let _ = writeln!(out, "{}\n", self.caption());
        for (at, row) in rows.iter().enumerate() {
            let mut line = String::new();
            for ((cell, width), column) in row.iter().zip(&widths).zip(0..) {
                let pad = " ".repeat(width - cell.chars().count());
                // Figures stand to the right.
                let is_figure = matches!(column, 0 | 2 | 3) && at > 0;
                let _ = if is_figure { write!(line, "{pad}{cell}  ") } else { write!(line, "{cell}{pad}  ") };
            }
            let _ = writeln!(out, "{}", line.trim_end());
            if let Some(note) = at.checked_sub(1).and_then(|at| self.lines.get(at)).map(|line| &line.note)
                && !note.is_empty()
            {
                let _ = writeln!(out, "     {note}");
            }
        }
        out
    }

    /// The same for reading in a browser.
    pub(crate) fn markdown(&self) -> String {
        let mut out = String::from("# Results of `make bench`\n\n");
        for (key, value) in self.machine.facts() {
            let _ = writeln!(out, "- {key}: {value}");
        }
        let _ = writeln!(
            out,
            "\n{} How each row is measured: [docs/bench.md](../../docs/bench.md).\n",
            self.caption()
        );
        let _ = writeln!(out, "| {} | note |", HEADINGS.join(" | "));
        let _ = writeln!(out, "|{}", "---|".repeat(HEADINGS.len() + 1));
        for line in &self.lines {
            let _ = writeln!(out, "| {} | {} |", line.cells().join(" | "), line.note);
        }
        out
    }

    /// The same for programs, with the figure of every round.
    pub(crate) fn json(&self) -> String {
        let facts: serde_json::Map<String, Value> =
            self.machine.facts().into_iter().map(|(key, value)| (key.to_owned(), json!(value))).collect();
        let lines: Vec<Value> = self.lines.iter().map(Line::json).collect();
        let all = json!({ "machine": facts, "rounds": self.rounds, "quick": self.quick, "lines": lines });
        let mut text = serde_json::to_string_pretty(&all).unwrap_or_default();
        text.push('\n');
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ratios_are_in_our_favour_above_one() {
        let time =
            Line::new("w", Unit::Nanoseconds, vec![10.0, 20.0, 10.0]).beside("p", vec![100.0, 100.0, 100.0]);
        assert_eq!(time.ratio().map(|ratio| ratio.median), Some(10.0));
        let rate = Line::new("w", Unit::PerSecond, vec![50.0]).beside("p", vec![100.0]);
        assert_eq!(rate.ratio().map(|ratio| ratio.median), Some(0.5));
        assert_eq!(time.clone().aim(Aim::Times(10.0)).is_met(), Some(true));
        assert_eq!(rate.aim(Aim::Times(1.0)).is_met(), Some(false));
        assert_eq!(time.aim(Aim::AtMost(9.0)).is_met(), Some(false));
    }

    #[test]
    fn what_was_not_measured_has_no_figure_and_no_verdict() {
        let line =
            Line::unbuilt("address takeover", "nothing owns addresses").aim(Aim::AtMost(1e9)).of_row(12);
        assert_eq!(line.is_met(), None);
        assert_eq!(line.cells()[2], "—");
        let alone = Line::new("w", Unit::Nanoseconds, vec![10.0]).missing("redis-server is not installed");
        assert_eq!((alone.ratio(), alone.clone().aim(Aim::Times(2.0)).is_met()), (None, None));
        assert_eq!(alone.cells()[4], "redis-server is not installed");
    }

    #[test]
    fn columns_are_aligned() {
        let lines = vec![
            Line::new("short", Unit::Nanoseconds, vec![10.0]).beside("redis", vec![30_000.0]).of_row(1),
            Line::new("rather longer", Unit::Nanoseconds, vec![1e9]).note("a note").of_row(10),
        ];
        let report = Report { machine: Machine::default(), rounds: 1, quick: false, lines };
        let text = report.text();
        let table: Vec<&str> = text.lines().skip_while(|line| !line.starts_with("row")).collect();
        assert_eq!(table[0].find("beside"), Some(table[1].replace('µ', "u").find("redis").unwrap()));
        assert_eq!(table[3], "     a note");
        let parsed: Value = serde_json::from_str(&report.json()).unwrap();
        assert_eq!(parsed["lines"][0]["ratio"]["median"], json!(3000.0));
    }
}
