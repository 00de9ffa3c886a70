//! The PostgreSQL driver against a real server, which the test starts and stops. Without a server installed (Debian:
//! `scripts/setup databases`) it says that it was left out.
#![allow(clippy::unwrap_used, clippy::print_stderr, reason = "a test")]

use std::collections::BTreeMap;
use std::os::unix::fs::{MetadataExt, chown};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use postfleet_datasource::{Params, Rows, Uri, Value};
use postfleet_drivers::{Charset, Connection, Query, QueryError, open};

/// A server on a Unix socket in a directory of its own.
struct Server {
    directory: tempfile::TempDir,
    programs: PathBuf,
    /// The server refuses to run as root.
    user: Option<u32>,
    child: Option<Child>,
}

impl Server {
    fn start() -> Option<Self> {
        let versions = std::fs::read_dir("/usr/lib/postgresql").ok()?;
        let programs = versions
            .filter_map(|entry| Some(entry.ok()?.path().join("bin")))
            .filter(|programs| programs.join("initdb").exists())
            .max()?;
        let directory = tempfile::Builder::new().prefix("pg").tempdir().unwrap();
        let root = std::fs::metadata(directory.path()).unwrap().uid() == 0;
        let user = if root { Some(account("postgres")?) } else { None };
        if let Some(user) = user {
            chown(directory.path(), Some(user), None).unwrap();
        }
        let mut server = Self { directory, programs, user, child: None };
        let made = server
            .program("initdb")
            .args(["--username=relay", "--auth=trust", "--encoding=UTF8", "--locale=C", "--no-sync", "-D"])
            .arg(server.data())
            .output()
            .unwrap();
        assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
        server.run();
        Some(server)
    }

    fn data(&self) -> PathBuf {
        self.directory.path().join("data")
    }

    fn program(&self, name: &str) -> Command {
        let mut command = Command::new(self.programs.join(name));
        command.stdin(Stdio::null()).current_dir(self.directory.path());
        if let Some(user) = self.user {
            command.uid(user);
        }
        command
    }

    fn run(&mut self) {
        let child = self
            .program("postgres")
            .args(["-F", "-c", "listen_addresses=", "-c", "unix_socket_directories=.", "-D"])
            .arg(self.data())
            .current_dir(self.directory.path())
            .args(["-c", &format!("unix_socket_directories={}", self.directory.path().display())])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        self.child = Some(child);
        let started = Instant::now();
        while let Err(error) = open(&self.uri()) {
            assert!(started.elapsed() < Duration::from_secs(30), "{error}");
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// Ends it as an administrator would: connections are broken.
    fn stop(&mut self) {
        let Some(mut child) = self.child.take() else { return };
        let told = Command::new("kill").args(["-INT", &child.id().to_string()]).status();
        assert!(told.unwrap().success());
        child.wait().unwrap();
    }

    fn uri(&self) -> Uri {
        Uri::parse(&format!("pgsql:host={} user=relay dbname=postgres", self.directory.path().display()))
            .unwrap()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stop();
    }
}

fn account(name: &str) -> Option<u32> {
    let list = std::fs::read_to_string(Path::new("/etc/passwd")).ok()?;
    let line = list.lines().find(|line| line.starts_with(&format!("{name}:")))?;
    line.split(':').nth(2)?.parse().ok()
}

fn ask(
    connection: &mut dyn Connection,
    text: &str,
    params: Params,
    rows_max: Option<u32>,
) -> Result<Rows, QueryError> {
    connection.query(&Query { text: text.into(), params, rows_max, charset: Charset::default() })
}

fn text(text: &str) -> Value {
    Value::Text(text.into())
}

#[test]
fn a_real_server_is_asked() {
    let Some(mut server) = Server::start() else {
        eprintln!("left out: no PostgreSQL server is installed (scripts/setup databases)");
        return;
    };
    let mut open_connection = open(&server.uri()).unwrap();
    let connection = open_connection.as_mut();
    let one = |connection: &mut dyn Connection, query: &str| ask(connection, query, Params::default(), None);

    // Writing, and what it answers.
    let table = "create table t (name text primary key, n integer, big bigint, r double precision, ok boolean, \
                 price numeric(10,2), raw bytea, day date, at timestamptz, address inet, tags text[], id uuid, j jsonb)";
    assert_eq!(one(connection, table), Ok(Rows::default()));
    let insert = "insert into t values (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)";
    let values = vec![
        text("Zürich 'x' ? :y"),
        Value::Integer(-7),
        Value::Integer(i64::MAX),
        Value::Real(0.1),
        text("true"),
        text("-12.50"),
        Value::Blob(vec![0, 1, 255].into()),
        text("2026-11-28"),
        text("2026-11-28 12:30:00.25+01"),
        text("192.0.2.0/24"),
        Value::List(vec!["a".into(), "b \"c\", \\d".into()]),
        text("00112233-4455-6677-8899-aabbccddeeff"),
        text("{\"a\": [1, 2]}"),
    ];
    assert_eq!(ask(connection, insert, Params::Positional(values), None), Ok(Rows::default()));
    let found = one(connection, "select * from t").unwrap();
    assert_eq!(found.columns.len(), 13);
    assert_eq!(found.columns[..2], ["name", "n"]);
    assert_eq!(
        found.rows,
        [[
            text("Zürich 'x' ? :y"),
            Value::Integer(-7),
            Value::Integer(i64::MAX),
            Value::Real(0.1),
            text("t"),
            text("-12.50"),
            Value::Blob(vec![0, 1, 255].into()),
            text("2026-11-28"),
            text("2026-11-28 11:30:00.25+00"),
            text("192.0.2.0/24"),
            Value::List(vec!["a".into(), "b \"c\", \\d".into()]),
            text("00112233-4455-6677-8899-aabbccddeeff"),
            text("{\"a\": [1, 2]}"),
        ]]
    );

    // Parameters by name, and of a type that the query decides.
    let named = Params::Named(BTreeMap::from([("n".into(), text("-7")), ("all".into(), Value::Null)]));
    let query = "select name from t where n = :n and (:all::text is null or name = :all)";
    assert_eq!(ask(connection, query, named, None).unwrap().rows, [[text("Zürich 'x' ? :y")]]);
    let hostile = Params::Positional(vec![text("x' or '1' = '1")]);
    assert!(ask(connection, "select n from t where name = ?", hostile, None).unwrap().rows.is_empty());

    // No more rows than wanted, and the connection goes on.
    let many = "select i from generate_series(1, 1000) as i";
    assert_eq!(ask(connection, many, Params::default(), Some(3)).unwrap().rows.len(), 3);
    assert_eq!(one(connection, many).unwrap().rows.len(), 1000);
    assert!(connection.is_alive(Duration::from_secs(60)));
    let endless = "select i from generate_series(1, 1000000) as i";
    assert_eq!(ask(connection, endless, Params::default(), Some(1)).unwrap().rows.len(), 1);
    assert!(!connection.is_alive(Duration::ZERO), "a million unwanted rows are not worth waiting for");

    let mut open_connection = open(&server.uri()).unwrap();
    let connection = open_connection.as_mut();
    for (query, said) in [
        ("select nosuch from t", "nosuch"),
        ("selec", "selec"),
        ("select 1; select 2", "multiple commands"),
        ("select interval '1 day'", "write it as (…)::text"),
        ("select 1/0", "division by zero"),
    ] {
        let error = one(connection, query).unwrap_err();
        assert!(matches!(&error, QueryError::Refused(text) if text.contains(said)), "{query}: {error:?}");
    }
    assert_eq!(one(connection, "select interval '1 day' :: text").unwrap().rows, [[text("1 day")]]);

    // A server that goes away breaks connections; when it is back a new one works.
    server.stop();
    assert!(matches!(one(connection, "select 1"), Err(QueryError::Broken(_))));
    assert!(!connection.is_alive(Duration::ZERO));
    assert!(matches!(open(&server.uri()), Err(QueryError::Unreachable(_))));
    server.run();
    let mut again = open(&server.uri()).unwrap();
    assert_eq!(one(again.as_mut(), "select n from t").unwrap().rows, [[Value::Integer(-7)]]);
    let idle = again.as_mut();
    assert!(idle.is_alive(Duration::from_secs(600)));
    server.stop();
    assert!(!idle.is_alive(Duration::from_secs(600)), "an idle connection is asked before it is used");
}
