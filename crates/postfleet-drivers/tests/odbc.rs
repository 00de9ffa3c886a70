//! The ODBC driver against a real one: that of SQLite (Debian: unixodbc, libsqliteodbc).
#![cfg(feature = "odbc")]
#![allow(clippy::unwrap_used, clippy::print_stderr, reason = "a test")]

use postfleet_datasource::{Params, Uri, Value};
use postfleet_drivers::{Charset, Query, QueryError, open};

fn text(text: &str) -> Value {
    Value::Text(text.into())
}

#[test]
fn a_real_driver_is_asked() {
    let drivers = std::fs::read_to_string("/etc/odbcinst.ini").unwrap_or_default();
    if !drivers.contains("[SQLite3]") {
        eprintln!("left out: no ODBC driver for SQLite is installed (scripts/setup databases)");
        return;
    }
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("d.sqlite");
    rusqlite::Connection::open(&path)
        .unwrap()
        .execute_batch("create table t (name varchar(40), n integer); insert into t values ('a', 1), ('Zürich', 2), (null, 3);")
        .unwrap();
    let uri = Uri::parse(&format!("odbc:Driver=SQLite3;Database={}", path.display())).unwrap();
    let mut connection = open(&uri).unwrap();
    let mut ask = |text: &str, params: Params, rows_max| {
        connection.query(&Query { text: text.into(), params, rows_max, charset: Charset::default() })
    };
    let found = ask("select name, n from t order by n", Params::default(), None).unwrap();
    assert_eq!(found.columns, ["name", "n"]);
    assert_eq!(found.rows, [[text("a"), text("1")], [text("Zürich"), text("2")], [Value::Null, text("3")]]);
    let by_name = Params::Positional(vec![text("Zürich")]);
    assert_eq!(ask("select n from t where name = ?", by_name, None).unwrap().rows, [[text("2")]]);
    assert_eq!(ask("select n from t order by n", Params::default(), Some(1)).unwrap().rows.len(), 1);
    let insert = Params::Positional(vec![text("b"), Value::Integer(4)]);
    assert!(ask("insert into t values (?, ?)", insert, None).unwrap().rows.is_empty());
    assert_eq!(ask("select n from t where name = 'b'", Params::default(), None).unwrap().rows, [[text("4")]]);
    assert!(matches!(ask("select nosuch from t", Params::default(), None), Err(QueryError::Refused(_))));
    let nowhere = Uri::parse("odbc:DSN=nosuch;UID=u;PWD=secret").unwrap();
    let Err(QueryError::Unreachable(said)) = open(&nowhere) else { panic!("connected") };
    assert!(!said.contains("secret"), "{said}");
}
