//! Commands of `ds_core`.

use super::Outcome;
use crate::node::Node;
use postfleet_console::{
    Answer, Cell, Code, DatasourceFigures, DatasourceRows, DatasourceStatistics, Failure, Parameters,
};
use postfleet_datasource::{HEADER, Params, Value};
use std::sync::Arc;

pub(super) fn flush(node: &Node, name: &str) -> Outcome {
    let source = node.datasources.get(name).ok_or_else(|| Failure::no_such_datasource(name))?;
    Ok(Answer::line(format_args!("flushed {} entries from cache '{name}'", source.flush())))
}

/// Asks as a script would: the answer is remembered, and shared where that is configured.
pub(super) async fn query(node: &Arc<Node>, name: &str, query: &str, parameters: &Parameters) -> Outcome {
    let source = node.datasources.get(name).ok_or_else(|| Failure::no_such_datasource(name))?;
    let text = |text: &String| Value::Text(text.clone());
    let params = match parameters {
        Parameters::Positional(values) => Params::Positional(values.iter().map(text).collect()),
        Parameters::Named(values) => {
            Params::Named(values.iter().map(|(name, value)| (name.clone(), text(value))).collect())
        }
    };
    let rows = source.query(query, params, false).await;
    let rows = rows.map_err(|error| Failure::error(Code::QueryFailed, error))?;
    let cell = |value: &Value| match value {
        Value::Null => Cell::Null,
        Value::Integer(whole) => Cell::Whole(*whole),
        Value::Real(real) => Cell::Real(*real),
        Value::Text(text) => Cell::Text(text.clone()),
        Value::Blob(bytes) => Cell::Bytes(bytes.to_vec()),
        Value::List(list) => Cell::List(list.clone()),
    };
    Ok(Answer::Rows(DatasourceRows {
        columns: rows.columns.clone(),
        rows: rows.rows.iter().map(|row| row.iter().map(cell).collect()).collect(),
    }))
}

pub(super) fn statistics(node: &Node) -> Answer {
    let figures = |(name, found): (String, postfleet_datasource::Statistics)| DatasourceFigures {
        lines: {
            let row = found.row(&name);
            row.to_string()
        },
        name,
        elements: found.elements,
        hits: found.hits,
        misses: found.misses,
        pending: found.pending,
        inserts: found.inserts,
        deleted_by_hand: found.manual,
        deleted_by_age: found.expired,
        deleted_by_size: found.evicted,
    };
    Answer::DatasourceStatistics(DatasourceStatistics {
        header: HEADER.into(),
        datasources: node.datasources.statistics().into_iter().map(figures).collect(),
    })
}
