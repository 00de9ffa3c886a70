//! SQLite files.

use std::time::Duration;

use bytes::Bytes;
use postfleet_datasource::{Rows, Statement, Style, Value};
use rusqlite::types::{ToSqlOutput, ValueRef};
use rusqlite::{ErrorCode, OpenFlags, ToSql};

use crate::{Connection, Query, QueryError};

/// How long a query waits for another process that is writing.
const BUSY: Duration = Duration::from_secs(5);

/// An open database. The rest of its address is the path of the file.
pub(crate) struct Sqlite(rusqlite::Connection);

impl Sqlite {
    /// Opens a database that exists: a path with a mistake in it must not become an empty database.
    pub(crate) fn open(path: &str) -> Result<Self, QueryError> {
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let connection = rusqlite::Connection::open_with_flags(path, flags)
            .map_err(|error| QueryError::Unreachable(format!("{path}: {}", said(&error))))?;
        connection.busy_timeout(BUSY).map_err(|error| QueryError::Unreachable(said(&error)))?;
        Ok(Self(connection))
    }
}

impl Connection for Sqlite {
    fn query(&mut self, query: &Query) -> Result<Rows, QueryError> {
        let statement = Statement::prepare(&query.text, &query.params, Style::Question)?;
        let mut prepared = self.0.prepare(&statement.text).map_err(failed)?;
        let columns: Vec<String> = prepared.column_names().map(str::to_owned).collect();
        let values = rusqlite::params_from_iter(statement.values.iter().map(Bound));
        let mut found = prepared.query(values).map_err(failed)?;
        let mut rows = Vec::new();
        while let Some(row) = found.next().map_err(failed)? {
            // A statement that writes is stepped to its end all the same: it is done with its first step.
            if query.rows_max.is_some_and(|max| rows.len() >= max as usize) {
                break;
            }
            let values = (0..columns.len())
                .map(|column| {
                    Ok(match row.get_ref(column)? {
                        ValueRef::Null => Value::Null,
                        ValueRef::Integer(whole) => Value::Integer(whole),
                        ValueRef::Real(real) => Value::Real(real),
                        ValueRef::Text(text) => Value::Text(query.charset.decode(text)),
                        ValueRef::Blob(bytes) => Value::Blob(Bytes::copy_from_slice(bytes)),
                    })
                })
                .collect::<Result<_, _>>()
                .map_err(failed)?;
            rows.push(values);
        }
        Ok(Rows { columns, rows })
    }
}

struct Bound<'a>(&'a Value);

impl ToSql for Bound<'_> {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        Ok(match self.0 {
            Value::Null => ToSqlOutput::Borrowed(ValueRef::Null),
            Value::Integer(whole) => ToSqlOutput::Borrowed(ValueRef::Integer(*whole)),
            Value::Real(real) => ToSqlOutput::Borrowed(ValueRef::Real(*real)),
            Value::Text(text) => ToSqlOutput::Borrowed(ValueRef::Text(text.as_bytes())),
            Value::Blob(bytes) => ToSqlOutput::Borrowed(ValueRef::Blob(bytes)),
            Value::List(list) => ToSqlOutput::Owned(list.join(",").into()),
        })
    }
}

fn failed(error: rusqlite::Error) -> QueryError {
    let text = said(&error);
    match error.sqlite_error_code() {
        // The file itself is of no use; another copy may be.
        Some(
            ErrorCode::DatabaseCorrupt
            | ErrorCode::NotADatabase
            | ErrorCode::SystemIoFailure
            | ErrorCode::CannotOpen
            | ErrorCode::DatabaseBusy
            | ErrorCode::FileLockingProtocolFailed,
        ) => QueryError::Unreachable(text),
        _ => QueryError::Refused(text),
    }
}

fn said(error: &rusqlite::Error) -> String {
    if let rusqlite::Error::SqliteFailure(_, Some(text)) = error { text.clone() } else { error.to_string() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Charset;
    use postfleet_datasource::Params;
    use std::collections::BTreeMap;

    fn database() -> (tempfile::TempDir, String) {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("d.sqlite").to_str().unwrap().to_owned();
        let made = rusqlite::Connection::open(&path).unwrap();
        made.execute_batch(
            "create table t (name text, n integer, r real, b blob);
             insert into t values ('a', 1, 0.5, x'ff00'), ('b', 2, null, null), (cast(x'5afc' as text), 3, 1e300, x'');",
        )
        .unwrap();
        (directory, path)
    }

    fn query(text: &str, params: Params, rows_max: Option<u32>) -> Query {
        Query { text: text.into(), params, rows_max, charset: Charset::default() }
    }

    fn text(text: &str) -> Value {
        Value::Text(text.into())
    }

    #[test]
    fn rows_of_every_kind_come_back() {
        let (_kept, path) = database();
        let mut open = Sqlite::open(&path).unwrap();
        let found = open.query(&query("select * from t order by n", Params::default(), None)).unwrap();
        assert_eq!(found.columns, ["name", "n", "r", "b"]);
        let blob = |bytes: &'static [u8]| Value::Blob(Bytes::from_static(bytes));
        assert_eq!(
            found.rows,
            [
                vec![text("a"), Value::Integer(1), Value::Real(0.5), blob(b"\xff\0")],
                vec![text("b"), Value::Integer(2), Value::Null, Value::Null],
                vec![text("Zü"), Value::Integer(3), Value::Real(1e300), blob(b"")],
            ]
        );
        let first = open.query(&query("select n from t order by n", Params::default(), Some(2))).unwrap();
        assert_eq!(first.rows, [[Value::Integer(1)], [Value::Integer(2)]]);
    }

    #[test]
    fn parameters_are_bound_and_never_text_of_the_query() {
        let (_kept, path) = database();
        let mut open = Sqlite::open(&path).unwrap();
        let hostile = Params::Positional(vec![text("a' or '1' = '1")]);
        assert!(open.query(&query("select n from t where name = ?", hostile, None)).unwrap().rows.is_empty());
        // A text is compared with a number as the column wants it.
        let by_text = Params::Positional(vec![text("2")]);
        let found = open.query(&query("select name from t where n = ?", by_text, None)).unwrap();
        assert_eq!(found.rows, [[text("b")]]);
        let named = Params::Named(BTreeMap::from([("who".into(), text("a"))]));
        let found = open.query(&query("select n, :who from t where name = :who", named, None)).unwrap();
        assert_eq!(found.rows, [[Value::Integer(1), text("a")]]);
    }

    #[test]
    fn writing_works_and_its_answer_is_empty() {
        let (_kept, path) = database();
        let mut open = Sqlite::open(&path).unwrap();
        let insert = "insert into t (name, n) values (?, ?)";
        let values = Params::Positional(vec![text("c"), Value::Integer(9)]);
        assert_eq!(open.query(&query(insert, values, Some(1))).unwrap(), Rows::default());
        let mut second = Sqlite::open(&path).unwrap();
        let found =
            second.query(&query("select n from t where name = 'c'", Params::default(), None)).unwrap();
        assert_eq!(found.rows, [[Value::Integer(9)]]);
    }

    #[test]
    fn faults_of_the_query_and_of_the_source_are_told_apart() {
        let (kept, path) = database();
        let missing = kept.path().join("typo.sqlite").to_str().unwrap().to_owned();
        let error = |opened: Result<Sqlite, QueryError>| opened.err().unwrap();
        assert!(
            matches!(error(Sqlite::open(&missing)), QueryError::Unreachable(text) if text.contains("typo"))
        );
        assert!(!std::path::Path::new(&missing).exists());
        let mut open = Sqlite::open(&path).unwrap();
        let refused =
            |open: &mut Sqlite, text: &str| open.query(&query(text, Params::default(), None)).unwrap_err();
        for text in ["select nosuch from t", "selec", "select ?", "select 1; select 2"] {
            assert!(matches!(refused(&mut open, text), QueryError::Refused(_)), "{text}");
        }
        let garbage = kept.path().join("garbage");
        std::fs::write(&garbage, vec![7; 4096]).unwrap();
        let mut open = Sqlite::open(garbage.to_str().unwrap()).unwrap();
        assert!(matches!(refused(&mut open, "select * from t"), QueryError::Unreachable(_)));
    }
}
