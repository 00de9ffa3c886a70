//! What members publish of datasources, and what operators and scripts write: answers, keys, queries, addresses.
#![no_main]

use postfleet_datasource::{Params, Rows, Statement, Style, Uri, Value, asked, is_answer, key};

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    if let Ok(rows) = Rows::decode(bytes) {
        // Compared as bytes: a number that is none is not equal to itself.
        let again = rows.encode();
        assert_eq!(Rows::decode(&again).map(|rows| rows.encode()), Ok(again));
    }
    assert!(asked(bytes).is_none() || is_answer(bytes));
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    let _either = Uri::parse(text);
    let values = text.matches('?').count();
    let params = Params::Positional(vec![Value::Text("x".into()); values]);
    assert!(asked(&key(text, &params)).is_some_and(|shown| shown.starts_with(text)));
    for style in [Style::Question, Style::Dollar] {
        if let Ok(statement) = Statement::prepare(text, &params, style) {
            assert_eq!(statement.values.len(), values);
        }
    }
});
