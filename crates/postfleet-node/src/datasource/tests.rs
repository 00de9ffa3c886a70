use super::{DatasourceSettings, Datasources, Place, SourceSettings};
use postfleet_datasource::{CacheOptions, Params, Uri, Value};
use postfleet_drivers::{Charset, PoolOptions};
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

/// Makes a database with one table of one row.
fn database(path: &Path, value: &str) {
    let made = rusqlite::Connection::open(path).unwrap();
    made.execute_batch("drop table if exists t; create table t (v text);").unwrap();
    made.execute("insert into t values (?)", [value]).unwrap();
}

fn at(path: &Path) -> Place {
    Place::At(Uri::parse(&format!("sqlite:{}", path.display())).unwrap())
}

fn settings(places: Vec<Place>) -> DatasourceSettings {
    let source = SourceSettings {
        name: "d".into(),
        places,
        cache: CacheOptions { life: Duration::from_secs(60), answers_max: 100 },
        rows_max: Some(100),
        no_cache: false,
        pool: "IO".into(),
        serialized: true,
        charset: Charset::default(),
    };
    let pools = BTreeMap::from([("IO".into(), PoolOptions { threads_max: 4, waiting_max: 100 })]);
    DatasourceSettings { sources: vec![source], pools }
}

async fn value(sources: &Datasources, query: &str) -> Result<String, Arc<str>> {
    let rows = sources.get("d").unwrap().query(query, Params::default(), false).await?;
    match rows.rows.first().and_then(|row| row.first()) {
        Some(Value::Text(text)) => Ok(text.clone()),
        other => Ok(format!("{other:?}")),
    }
}

const QUERY: &str = "select v from t";
/// Takes some tens of milliseconds.
const SLOW: &str = "with recursive n(i) as (select 1 union all select i + 1 from n where i < 200000) \
                    select v, count(*) from t, n";

#[tokio::test(flavor = "multi_thread")]
async fn concurrent_misses_share_one_query() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("d");
    database(&path, "one");
    let sources = Arc::new(Datasources::new(&settings(vec![at(&path)]), None));
    let asked: Vec<_> = (0..20)
        .map(|_| {
            let sources = Arc::clone(&sources);
            tokio::spawn(async move { value(&sources, SLOW).await })
        })
        .collect();
    for asked in asked {
        assert_eq!(asked.await.unwrap().as_deref(), Ok("one"));
    }
    let found = sources.get("d").unwrap().statistics();
    assert_eq!((found.misses, found.inserts, found.hits + found.pending), (1, 1, 19), "{found:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn answers_are_remembered_until_they_are_flushed_and_failures_are_not() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("d");
    let sources = Datasources::new(&settings(vec![at(&path)]), None);
    let failed = value(&sources, QUERY).await.unwrap_err();
    assert!(failed.contains("unable to open"), "{failed}");
    // The failure was not remembered: as soon as the file is there it is used.
    database(&path, "one");
    assert_eq!(value(&sources, QUERY).await.as_deref(), Ok("one"));
    database(&path, "two");
    assert_eq!(value(&sources, QUERY).await.as_deref(), Ok("one"));
    let source = sources.get("d").unwrap();
    let fresh = source.query(QUERY, Params::default(), true).await.unwrap();
    assert_eq!(fresh.rows, [[Value::Text("two".into())]]);
    assert_eq!(source.flush(), 1);
    assert_eq!(value(&sources, QUERY).await.as_deref(), Ok("two"));
    assert!(value(&sources, "select nosuch from t").await.unwrap_err().contains("nosuch"));
    assert_eq!(source.statistics().elements, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn sources_take_turns_and_dead_ones_are_passed_over() {
    let directory = tempfile::tempdir().unwrap();
    let paths = ["a", "b", "c"].map(|name| directory.path().join(name));
    database(&paths[0], "a");
    database(&paths[2], "c");
    let mut wanted = settings(paths.iter().map(|path| at(path)).collect());
    wanted.sources[0].no_cache = true;
    let sources = Datasources::new(&wanted, None);
    let mut seen = Vec::new();
    for _ in 0..6 {
        seen.push(value(&sources, QUERY).await.unwrap());
    }
    // The second is not there: its turn goes to the third, until nobody asks it any more.
    assert!(seen.iter().all(|value| value == "a" || value == "c"), "{seen:?}");
    assert!(seen.contains(&"a".to_owned()) && seen.contains(&"c".to_owned()), "{seen:?}");
    // A query that is at fault is not asked of the others, and costs no source its life.
    assert!(value(&sources, "select nosuch").await.is_err());
    for path in [&paths[0], &paths[2]] {
        std::fs::remove_file(path).unwrap();
    }
    database(&paths[1], "b");
    // Connections to files that were removed still work; a driver that is asked anew does not.
    wanted.sources[0].charset = "utf-8".parse().unwrap();
    sources.adopt(&wanted);
    assert_eq!(value(&sources, QUERY).await.as_deref(), Ok("b"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reload_keeps_what_an_unchanged_datasource_remembers() {
    let directory = tempfile::tempdir().unwrap();
    let (one, two) = (directory.path().join("1"), directory.path().join("2"));
    database(&one, "one");
    database(&two, "two");
    let mut wanted = settings(vec![at(&one)]);
    let sources = Datasources::new(&wanted, None);
    assert_eq!(value(&sources, QUERY).await.as_deref(), Ok("one"));
    std::fs::remove_file(&one).unwrap();
    // Another size and pool change no answer.
    wanted.sources[0].cache.answers_max = 7;
    wanted.sources[0].pool = "mine".into();
    sources.adopt(&wanted);
    assert_eq!(value(&sources, QUERY).await.as_deref(), Ok("one"));
    wanted.sources[0].places = vec![at(&two)];
    sources.adopt(&wanted);
    assert_eq!(value(&sources, QUERY).await.as_deref(), Ok("two"));
    sources.adopt(&DatasourceSettings::default());
    assert!(sources.get("d").is_none());
}

#[tokio::test]
async fn a_driver_that_is_not_built_in_fails_at_the_query() {
    let sources = Datasources::new(&settings(vec![Place::Missing("ldap".into())]), None);
    assert_eq!(value(&sources, QUERY).await.unwrap_err().as_ref(), "the driver 'ldap' is not in this build");
}
