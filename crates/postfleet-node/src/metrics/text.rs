//! The Prometheus text format, version 0.0.4.

use super::figures::Figure;
use std::fmt::Write as _;

/// A page in the making. Samples of a figure stand together, under its two comment lines.
#[derive(Default)]
pub(super) struct Page {
    out: String,
}

impl Page {
    /// Begins a figure.
    pub(super) fn figure(&mut self, figure: &Figure) -> Samples<'_> {
        // Writing to a text cannot fail.
        let _ = writeln!(self.out, "# HELP {} {}", figure.name, escaped(figure.help, false));
        let _ = writeln!(self.out, "# TYPE {} {}", figure.name, figure.kind.word());
        Samples { out: &mut self.out, name: figure.name }
    }

    pub(super) fn finish(self) -> String {
        self.out
    }
}

/// The samples of one figure.
pub(super) struct Samples<'a> {
    out: &'a mut String,
    name: &'static str,
}

impl Samples<'_> {
    pub(super) fn put(&mut self, labels: &[(&str, &str)], value: impl Into<Number>) -> &mut Self {
        self.put_part("", labels, value)
    }

    /// A sample of a histogram: `_bucket`, `_sum`, `_count`.
    pub(super) fn put_part(
        &mut self,
        part: &str,
        labels: &[(&str, &str)],
        value: impl Into<Number>,
    ) -> &mut Self {
        let _ = write!(self.out, "{}{part}", self.name);
        for (at, (label, text)) in labels.iter().enumerate() {
            let before = if at == 0 { '{' } else { ',' };
            let _ = write!(self.out, "{before}{label}=\"{}\"", escaped(text, true));
        }
        if !labels.is_empty() {
            self.out.push('}');
        }
        let _ = match value.into() {
            Number::Whole(whole) => writeln!(self.out, " {whole}"),
            Number::Real(real) => writeln!(self.out, " {real}"),
        };
        self
    }
}

/// A value. Whole numbers keep all their digits.
pub(super) enum Number {
    Whole(i128),
    Real(f64),
}

impl From<u64> for Number {
    fn from(whole: u64) -> Self {
        Self::Whole(whole.into())
    }
}

impl From<i64> for Number {
    fn from(whole: i64) -> Self {
        Self::Whole(whole.into())
    }
}

impl From<usize> for Number {
    fn from(whole: usize) -> Self {
        Self::Whole(i128::try_from(whole).unwrap_or(i128::MAX))
    }
}

impl From<bool> for Number {
    fn from(truth: bool) -> Self {
        Self::Whole(truth.into())
    }
}

impl From<f64> for Number {
    fn from(real: f64) -> Self {
        Self::Real(real)
    }
}

fn escaped(text: &str, quoted: bool) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '"' if quoted => out.push_str("\\\""),
            c => out.push(c),
        }
    }
    out
}
