//! What the documentation promises.
#![allow(clippy::unwrap_used, reason = "a test whose own input is wrong has to fail")]

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use postfleet_datasource::{
    CacheOptions, Datasource, DecodeError, Found, HEADER, Params, PlaceholderError, Rotation, Rows,
    Statement, Statistics, Style, Ticket, Value, key,
};
use postfleet_types::Monotonic;
use proptest::prelude::*;

fn at(seconds: u64) -> Monotonic {
    Monotonic::from_millis(seconds * 1000)
}

fn text(text: &str) -> Value {
    Value::Text(text.into())
}

fn rows(value: &str) -> Arc<Rows> {
    Arc::new(Rows { columns: vec!["v".into()], rows: vec![vec![text(value)]] })
}

fn datasource() -> Datasource {
    Datasource::new(CacheOptions { life: Duration::from_secs(60), answers_max: 2 })
}

fn ask(source: &mut Datasource, key: &'static str, now: Monotonic) -> Ticket {
    match source.look_up(&Bytes::from_static(key.as_bytes()), None, now) {
        Found::Ask(ticket) => ticket,
        other @ (Found::Rows(_) | Found::Wait) => panic!("{key}: {other:?}"),
    }
}

#[test]
fn of_several_who_miss_at_once_one_asks() {
    let mut source = datasource();
    let ticket = ask(&mut source, "k", at(0));
    for _ in 0..3 {
        assert_eq!(source.look_up(ticket.key(), None, at(0)), Found::Wait);
    }
    let key = ticket.key().clone();
    assert_eq!(source.answered(ticket, &rows("1"), true, at(1)), 3);
    assert_eq!(source.look_up(&key, None, at(60)), Found::Rows(rows("1")));
    // A minute after it was stored it is asked for again.
    assert!(matches!(source.look_up(&key, None, at(61)), Found::Ask(_)));
}

#[test]
fn failures_are_not_remembered_and_empty_answers_are() {
    let mut source = datasource();
    let ticket = ask(&mut source, "k", at(0));
    assert_eq!(source.look_up(ticket.key(), None, at(0)), Found::Wait);
    assert_eq!(source.failed(ticket), 1);
    let ticket = ask(&mut source, "k", at(0));
    let key = ticket.key().clone();
    source.answered(ticket, &Arc::new(Rows::default()), true, at(0));
    assert_eq!(source.look_up(&key, None, at(1)), Found::Rows(Arc::default()));
}

#[test]
fn what_another_member_published_is_used() {
    let mut source = datasource();
    let found = source.look_up(&Bytes::from_static(b"k"), Some((*rows("theirs")).clone()), at(0));
    assert_eq!(found, Found::Rows(rows("theirs")));
    assert_eq!((source.statistics().hits, source.statistics().elements), (1, 0));
}

#[test]
fn over_its_size_the_oldest_answers_go_at_maintenance() {
    let mut source = datasource();
    for key in ["a", "b", "c"] {
        let ticket = ask(&mut source, key, at(0));
        source.answered(ticket, &rows(key), true, at(0));
    }
    assert_eq!(source.statistics().elements, 3);
    source.maintain(at(1));
    ask(&mut source, "a", at(1));
    assert!(matches!(source.look_up(&Bytes::from_static(b"b"), None, at(1)), Found::Rows(_)));
    source.maintain(at(60));
    let found = source.statistics();
    assert_eq!((found.elements, found.evicted, found.expired), (0, 1, 2));
}

#[test]
fn a_question_that_a_flush_overtook_is_not_remembered() {
    let mut source = datasource();
    let ticket = ask(&mut source, "k", at(0));
    let other = ask(&mut source, "l", at(0));
    source.answered(other, &rows("1"), true, at(0));
    assert_eq!(source.flush(), 1);
    assert_eq!(source.answered(ticket, &rows("old"), true, at(0)), 0);
    ask(&mut source, "k", at(0));
}

#[test]
fn sources_take_turns_and_dead_ones_are_passed_over() {
    let mut rotation = Rotation::new(3);
    assert_eq!(rotation.turn(at(0)), [0, 1, 2]);
    assert_eq!(rotation.turn(at(0)), [1, 2, 0]);
    assert_eq!(rotation.dead(2, at(0)), Duration::from_secs(1));
    assert_eq!(rotation.turn(at(0)), [0, 1, 2]);
    assert_eq!(rotation.turn(at(0)), [1, 0, 2]);
    // Back after its pause, which doubles with every failure up to a minute.
    assert_eq!(rotation.turn(at(2)), [2, 0, 1]);
    for pause in [2, 4, 8, 16, 32, 60, 60] {
        assert_eq!(rotation.dead(2, at(2)), Duration::from_secs(pause));
    }
    rotation.alive(2);
    assert_eq!(rotation.dead(2, at(2)), Duration::from_secs(1));
    // All dead: each is still tried.
    rotation.dead(0, at(2));
    rotation.dead(1, at(2));
    assert_eq!(rotation.turn(at(2)).len(), 3);
    assert_eq!(Rotation::new(0).turn(at(0)), Vec::<usize>::new());
}

#[test]
fn placeholders_get_the_style_of_the_driver() {
    let positional = |values: &[&str]| Params::Positional(values.iter().map(|value| text(value)).collect());
    let prepare = |query, params: &Params, style| Statement::prepare(query, params, style);
    let two = positional(&["a", "b"]);
    let statement = prepare("select * from t where x = ? and y = ?", &two, Style::Dollar).unwrap();
    assert_eq!(statement.text, "select * from t where x = $1 and y = $2");
    assert_eq!(statement.values, [text("a"), text("b")]);
    let named = Params::Named(BTreeMap::from([("who".into(), text("me")), ("unused".into(), Value::Null)]));
    let query = "select :who::text, ':who', \":who\" -- :who\n, $$ :who $$ /* ? */ where x = :who";
    let statement = prepare(query, &named, Style::Question).unwrap();
    assert_eq!(statement.text, "select ?::text, ':who', \":who\" -- :who\n, $$ :who $$ /* ? */ where x = ?");
    assert_eq!(statement.values, [text("me"), text("me")]);
    let plain = prepare("select 'it''s ?'", &Params::default(), Style::Dollar).unwrap();
    assert_eq!(plain.text, "select 'it''s ?'");

    let error = |query, params: &Params| prepare(query, params, Style::Question).unwrap_err();
    assert_eq!(error("select ?", &Params::default()), PlaceholderError::Count { found: 1, given: 0 });
    assert_eq!(error("select 1", &two), PlaceholderError::Count { found: 0, given: 2 });
    assert_eq!(error("select :other", &named), PlaceholderError::Missing("other".into()));
    assert_eq!(error("select :who", &two), PlaceholderError::Mixed);
    assert_eq!(error("select ?", &named), PlaceholderError::Mixed);
    for open in ["select 'x", "select \"x", "select /* x", "select $a$ x $b$"] {
        assert_eq!(error(open, &Params::default()), PlaceholderError::Open, "{open}");
    }
}

#[test]
fn statistics_have_the_layout_of_the_reference() {
    let figures =
        Statistics { elements: 2, hits: 241, misses: 94, inserts: 6, expired: 4, ..Statistics::default() };
    let shown = format!("{HEADER}\n{}\n", figures.row("ecdb"));
    assert_eq!(
        shown,
        "\
cache name                      lookups %                  deletions %
                       elts  hit miss pend  total  inserts man ttl lru  total
---------------------- ----- -------------------- -------- ------------------
ecdb
                           2  72  28   0      335        6   0 100   0      4
"
    );
    assert!(figures.row("a_long_cache_name").to_string().starts_with("a_long_cac\n"));
}

#[test]
fn keys_say_what_was_asked() {
    let params = Params::Positional(vec![text("example.net"), Value::Integer(5), Value::Null]);
    let asked = |key: &[u8]| postfleet_datasource::asked(key);
    assert_eq!(
        asked(&key("select ?, ?, ?", &params)).as_deref(),
        Some("select ?, ?, ? [example.net, 5, NULL]")
    );
    let named = Params::Named(BTreeMap::from([("d".into(), text("x"))]));
    assert_eq!(asked(&key("select :d", &named)).as_deref(), Some("select :d [:d=x]"));
    assert_eq!(asked(&key("/etc/a.csv", &Params::default())).as_deref(), Some("/etc/a.csv"));
    for other in [&b"k"[..], b"", b"\0q1", b"\0q1\x05ab", b"\0q1\x01a\x00\x09"] {
        assert_eq!(asked(other), None);
    }
}

#[test]
fn keys_differ_whenever_questions_do() {
    let one = |values: &[Value]| key("q", &Params::Positional(values.to_vec()));
    let keys = [
        one(&[]),
        one(&[text("1")]),
        one(&[Value::Integer(1)]),
        one(&[text("1"), text("")]),
        one(&[text(""), text("1")]),
        one(&[Value::List(vec!["1".into()])]),
        key("q1", &Params::default()),
        key("q", &Params::Named(BTreeMap::new())),
    ];
    let different: std::collections::BTreeSet<&Bytes> = keys.iter().collect();
    assert_eq!(different.len(), keys.len());
    assert!(keys.iter().all(|key| key.starts_with(b"\0")), "no text that a policy sets begins so");
}

fn any_value() -> impl Strategy<Value = Value> {
    prop_oneof![
        Just(Value::Null),
        any::<i64>().prop_map(Value::Integer),
        any::<u32>().prop_map(|number| Value::Real(f64::from(number) / 8.0)),
        ".{0,8}".prop_map(Value::Text),
        prop::collection::vec(any::<u8>(), 0..8).prop_map(|bytes| Value::Blob(bytes.into())),
        prop::collection::vec(".{0,4}", 0..4).prop_map(Value::List),
    ]
}

proptest! {
    #[test]
    fn answers_are_read_as_they_were_written(
        columns in prop::collection::vec("[a-z]{0,5}", 0..4),
        table in prop::collection::vec(prop::collection::vec(any_value(), 0..4), 0..5),
    ) {
        let rows = Rows { columns, rows: table };
        let bytes = rows.encode();
        prop_assert_eq!(Rows::decode(&bytes), Ok(rows));
        for cut in 0..bytes.len() {
            prop_assert!(Rows::decode(&bytes[..cut]).is_err());
        }
    }

    #[test]
    fn no_bytes_are_too_much(mut bytes in prop::collection::vec(any::<u8>(), 1..64), known in any::<bool>()) {
        if known {
            bytes[0] = 1;
        } else if bytes[0] != 1 {
            prop_assert_eq!(Rows::decode(&bytes), Err(DecodeError::Version(bytes[0])));
        }
        let _ = Rows::decode(&bytes);
    }

    #[test]
    fn preparing_never_panics(query in "[a-z?:$'\"` */\n-]{0,24}", values in 0..3_usize) {
        let params = Params::Positional(vec![Value::Null; values]);
        for style in [Style::Question, Style::Dollar] {
            if let Ok(statement) = Statement::prepare(&query, &params, style) {
                prop_assert_eq!(statement.values.len(), values);
            }
        }
    }
}
