//! Answers about datasources and caches.

use alloc::string::{String, ToString as _};
use alloc::vec::Vec;

use crate::machine::{Fields, ValueSink, put};

/// The answer to `ds_core query`.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct DatasourceRows {
    /// The names of the columns; empty where the driver gives none.
    pub columns: Vec<String>,
    /// The rows.
    pub rows: Vec<Vec<Cell>>,
}

/// The answer to `cache get` and `cache show`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CachePair {
    /// The cache.
    pub cache: String,
    /// The key.
    pub key: String,
    /// The value.
    pub value: String,
    /// What is left of its time to live, in seconds; `None` for ever.
    pub left: Option<u64>,
    /// The private name of its last writer; `None` while the write is on its way.
    pub writer: Option<String>,
    /// Whether text shows more than the value.
    pub full: bool,
}

/// A value of a row.
#[derive(Clone, Debug, PartialEq)]
pub enum Cell {
    /// Nothing.
    Null,
    /// A whole number.
    Whole(i64),
    /// A number.
    Real(f64),
    /// A text.
    Text(String),
    /// Bytes that are no text.
    Bytes(Vec<u8>),
    /// Several texts.
    List(Vec<String>),
}

/// The answer to `ds_core stats`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DatasourceStatistics {
    /// What stands above all datasources.
    pub header: String,
    /// The datasources, by name.
    pub datasources: Vec<DatasourceFigures>,
}

/// The figures of one datasource.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[allow(missing_docs, reason = "the names say it")]
pub struct DatasourceFigures {
    pub name: String,
    /// Its lines in the table.
    pub lines: String,
    pub elements: u64,
    pub hits: u64,
    pub misses: u64,
    pub pending: u64,
    pub inserts: u64,
    pub deleted_by_hand: u64,
    pub deleted_by_age: u64,
    pub deleted_by_size: u64,
}

impl DatasourceRows {
    pub(crate) fn describe(&self, fields: &mut Fields<'_>) {
        fields.names("columns", "Column", self.columns.iter().map(String::as_str));
        fields.records("rows", "Row", &self.rows, |row, fields| {
            fields.value("values", |sink| sink.list(row, put_cell));
        });
    }

    /// Columns are separated by tabs, so that they can be cut; whatever would break that is escaped.
    pub(crate) fn text(&self, out: &mut String) {
        let mut line = |cells: &mut dyn Iterator<Item = String>| {
            for (at, cell) in cells.enumerate() {
                if at > 0 {
                    out.push('\t');
                }
                for c in cell.chars() {
                    match c {
                        '\\' => out.push_str("\\\\"),
                        '\t' => out.push_str("\\t"),
                        '\n' => out.push_str("\\n"),
                        c if c.is_control() => put(out, format_args!("\\x{:02x}", u32::from(c))),
                        c => out.push(c),
                    }
                }
            }
            out.push('\n');
        };
        if !self.columns.is_empty() {
            line(&mut self.columns.iter().cloned());
        }
        for row in &self.rows {
            line(&mut row.iter().map(Cell::shown));
        }
        let rows = self.rows.len();
        put(out, format_args!("({rows} {})\n", if rows == 1 { "row" } else { "rows" }));
    }
}

impl CachePair {
    pub(crate) fn describe(&self, fields: &mut Fields<'_>) {
        fields.text("cache", &self.cache);
        fields.text("key", &self.key);
        fields.text("value", &self.value);
        fields.maybe_whole("left", self.left);
        fields.maybe_text("writer", self.writer.as_deref());
    }

    pub(crate) fn text(&self, out: &mut String) {
        if !self.full {
            return put(out, format_args!("{}\n", self.value));
        }
        put(out, format_args!("Key: {}\nValue: {}\n", self.key, self.value));
        match self.left {
            Some(left) => put(out, format_args!("Left: {left} s\n")),
            None => put(out, format_args!("Left: never ends\n")),
        }
        let writer = self.writer.as_deref().unwrap_or("this node; the write is on its way");
        put(out, format_args!("Writer: {writer}\n"));
    }
}

impl Cell {
    fn shown(&self) -> String {
        match self {
            Self::Null => "NULL".into(),
            Self::Whole(whole) => whole.to_string(),
            Self::Real(real) => real.to_string(),
            Self::Text(text) => text.clone(),
            Self::Bytes(bytes) => hex(bytes),
            Self::List(list) => list.join(", "),
        }
    }
}

fn hex(bytes: &[u8]) -> String {
    let mut text = String::from("0x");
    for byte in bytes {
        put(&mut text, format_args!("{byte:02x}"));
    }
    text
}

fn put_cell(sink: &mut ValueSink<'_>, cell: &Cell) {
    match cell {
        Cell::Null => sink.null(),
        Cell::Whole(whole) => sink.bare(format_args!("{whole}")),
        Cell::Real(real) if real.is_finite() => sink.bare(format_args!("{real}")),
        Cell::Real(real) => sink.text(&real.to_string()),
        Cell::Text(text) => sink.text(text),
        Cell::Bytes(bytes) => sink.text(&hex(bytes)),
        Cell::List(list) => sink.list(list, |sink, text| sink.text(text)),
    }
}

impl DatasourceStatistics {
    pub(crate) fn describe(&self, fields: &mut Fields<'_>) {
        fields.records("datasources", "Datasource", &self.datasources, |source, fields| {
            fields.text("name", &source.name);
            fields.whole("elements", source.elements);
            fields.whole("hits", source.hits);
            fields.whole("misses", source.misses);
            fields.whole("pending", source.pending);
            fields.whole("inserts", source.inserts);
            fields.whole("deleted_by_hand", source.deleted_by_hand);
            fields.whole("deleted_by_age", source.deleted_by_age);
            fields.whole("deleted_by_size", source.deleted_by_size);
        });
    }

    pub(crate) fn text(&self, out: &mut String) {
        put(out, format_args!("{}\n", self.header));
        for source in &self.datasources {
            put(out, format_args!("{}\n", source.lines));
        }
    }
}
