//! Comma separated files. The query names one: `/path/file.csv?cols=2`.

use std::io::Read;

use postfleet_datasource::{Params, Rows, Value};

use crate::{Connection, Query, QueryError};

/// The most bytes that are read of a file: all its rows are held in memory, and sent to other members.
const FILE_BYTES_MAX: u64 = 64 * 1024 * 1024;

/// Nothing is kept open between queries: a file that was replaced is read anew.
pub(crate) struct Csv;

/// What a query asks for.
#[derive(Debug, PartialEq, Eq)]
struct Asked<'a> {
    path: &'a str,
    /// Every row gets so many values: what is too much is cut off, what lacks is nothing.
    columns: Option<usize>,
}

impl<'a> Asked<'a> {
    fn read(text: &'a str) -> Result<Self, QueryError> {
        let (path, options) = text.split_once('?').unwrap_or((text, ""));
        if !path.starts_with('/') {
            return Err(refused(format!(
                "'{path}' is no absolute path; a query is /path/file.csv or /path/file.csv?cols=2"
            )));
        }
        let mut columns = None;
        for option in options.split('&').filter(|option| !option.is_empty()) {
            let number = option.strip_prefix("cols=").and_then(|number| number.parse().ok());
            match number {
                Some(number @ 1..=10_000) => columns = Some(number),
                _ => {
                    return Err(refused(format!(
                        "'{option}' is not understood; only cols=NUMBER may follow the ?"
                    )));
                }
            }
        }
        Ok(Self { path, columns })
    }
}

impl Connection for Csv {
    fn query(&mut self, query: &Query) -> Result<Rows, QueryError> {
        let asked = Asked::read(&query.text)?;
        if query.params != Params::default() {
            return Err(refused("csv takes no parameters; it gives all rows of the file".into()));
        }
        // The query names the file, so nothing is the matter with the source.
        let unreadable = |error: std::io::Error| refused(format!("{}: {error}", asked.path));
        let file = std::fs::File::open(asked.path).map_err(unreadable)?;
        if !file.metadata().map_err(unreadable)?.is_file() {
            return Err(refused(format!("{}: not a file", asked.path)));
        }
        let mut reader = csv::ReaderBuilder::new()
            .has_headers(false)
            .flexible(true)
            .from_reader(file.take(FILE_BYTES_MAX + 1));
        let mut rows = Vec::new();
        let mut record = csv::ByteRecord::new();
        while query.rows_max.is_none_or(|max| rows.len() < max as usize) {
            match reader.read_byte_record(&mut record) {
                Ok(true) => {}
                Ok(false) => break,
                Err(error) => return Err(refused(format!("{}: {error}", asked.path))),
            }
            if reader.position().byte() > FILE_BYTES_MAX {
                return Err(refused(format!("{}: longer than {FILE_BYTES_MAX} bytes", asked.path)));
            }
            let mut values: Vec<Value> =
                record.iter().map(|field| Value::Text(query.charset.decode(field))).collect();
            if let Some(columns) = asked.columns {
                values.resize(columns, Value::Null);
            }
            rows.push(values);
        }
        Ok(Rows { columns: Vec::new(), rows })
    }
}

fn refused(text: String) -> QueryError {
    QueryError::Refused(text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Charset;

    fn ask(text: &str, rows_max: Option<u32>) -> Result<Rows, QueryError> {
        Csv.query(&Query {
            text: text.into(),
            params: Params::default(),
            rows_max,
            charset: Charset::default(),
        })
    }

    fn text(text: &str) -> Value {
        Value::Text(text.into())
    }

    #[test]
    fn all_rows_of_the_file_come_back() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("a.csv");
        std::fs::write(&path, b"one,1\r\n\"two, or\nso\",\"\"\"2\"\"\"\n\nZ\xfcrich,3,more\nlast").unwrap();
        let path = path.to_str().unwrap();
        let rows = ask(path, None).unwrap().rows;
        assert_eq!(
            rows,
            [
                vec![text("one"), text("1")],
                vec![text("two, or\nso"), text("\"2\"")],
                vec![text("Zürich"), text("3"), text("more")],
                vec![text("last")],
            ]
        );
        let two = ask(&format!("{path}?cols=2"), None).unwrap().rows;
        assert_eq!(two[2], [text("Zürich"), text("3")]);
        assert_eq!(two[3], [text("last"), Value::Null]);
        assert_eq!(ask(path, Some(1)).unwrap().rows.len(), 1);
        std::fs::write(path, "").unwrap();
        assert_eq!(ask(path, None), Ok(Rows::default()));
    }

    #[test]
    fn what_is_no_file_is_told() {
        let error = |text: &str| ask(text, None).unwrap_err();
        assert!(
            matches!(error("/nonexistent/a.csv"), QueryError::Refused(text) if text.starts_with("/nonexistent/a.csv: "))
        );
        for text in ["a.csv", "", "/", "/dev/null", "/a.csv?cols=0", "/a.csv?cols=x", "/a.csv?rows=1"] {
            assert!(matches!(error(text), QueryError::Refused(_)), "{text}");
        }
        let with = Query {
            text: "/a.csv".into(),
            params: Params::Positional(vec![Value::Null]),
            rows_max: None,
            charset: Charset::default(),
        };
        assert!(matches!(Csv.query(&with), Err(QueryError::Refused(text)) if text.contains("no parameters")));
    }
}
