//! Whatever unixODBC reaches.

use std::time::Duration;

use odbc_api::buffers::TextRowSet;
use odbc_api::parameter::InputParameter;
use odbc_api::{ConnectionOptions, Cursor, Environment, IntoParameter, ResultSetMetadata, environment};
use postfleet_datasource::{Rows, Statement, Style, Value};

use crate::{Connection, Query, QueryError};

/// How long connecting may take, in seconds.
const CONNECT_SECONDS: u32 = 10;
/// The longest value that is read; longer ones refuse the query.
const VALUE_BYTES_MAX: usize = 64 * 1024;
/// Rows that are fetched at a time.
const BATCH: usize = 16;

/// An open connection. The rest of its address is the connection string: `DSN=…;UID=…;PWD=…`.
pub(crate) struct Odbc(odbc_api::Connection<'static>);

impl Odbc {
    pub(crate) fn open(rest: &str) -> Result<Self, QueryError> {
        let environment: &'static Environment = environment().map_err(|error| unreachable(&error, rest))?;
        let options = ConnectionOptions { login_timeout_sec: Some(CONNECT_SECONDS), packet_size: None };
        let connection = environment
            .connect_with_connection_string(rest, options)
            .map_err(|error| unreachable(&error, rest))?;
        Ok(Self(connection))
    }
}

impl Connection for Odbc {
    fn query(&mut self, query: &Query) -> Result<Rows, QueryError> {
        let statement = Statement::prepare(&query.text, &query.params, Style::Question)?;
        let values: Vec<Box<dyn InputParameter>> = statement.values.iter().map(bound).collect();
        let failed = |error: odbc_api::Error| self.failed(&error);
        let Some(mut cursor) = self.0.execute(&statement.text, values.as_slice(), None).map_err(failed)?
        else {
            // A statement without a result.
            return Ok(Rows::default());
        };
        let columns: Vec<String> =
            cursor.column_names().and_then(|names| names.collect::<Result<_, _>>()).map_err(failed)?;
        let mut rows = Vec::new();
        let buffer = TextRowSet::for_cursor(BATCH, &mut cursor, Some(VALUE_BYTES_MAX)).map_err(failed)?;
        let mut fetching = cursor.bind_buffer(buffer).map_err(failed)?;
        // A value that does not fit is an error: half a value would be a wrong one.
        while let Some(batch) = fetching.fetch_with_truncation_check(true).map_err(failed)? {
            for row in 0..batch.num_rows() {
                if query.rows_max.is_some_and(|max| rows.len() >= max as usize) {
                    return Ok(Rows { columns, rows });
                }
                let value = |column| {
                    batch
                        .at(column, row)
                        .map_or(Value::Null, |bytes| Value::Text(query.charset.decode(bytes)))
                };
                rows.push((0..columns.len()).map(value).collect());
            }
        }
        Ok(Rows { columns, rows })
    }

    fn is_alive(&mut self, _idle: Duration) -> bool {
        // Drivers that cannot tell are believed to be alive.
        !self.0.is_dead().unwrap_or(false)
    }
}

impl Odbc {
    fn failed(&self, error: &odbc_api::Error) -> QueryError {
        let text = error.to_string();
        if self.0.is_dead().unwrap_or(false) { QueryError::Broken(text) } else { QueryError::Refused(text) }
    }
}

fn bound(value: &Value) -> Box<dyn InputParameter> {
    match value {
        Value::Null => Box::new(None::<String>.into_parameter()),
        Value::Integer(whole) => Box::new(whole.into_parameter()),
        Value::Real(real) => Box::new(real.into_parameter()),
        Value::Text(text) => Box::new(text.clone().into_parameter()),
        Value::Blob(bytes) => Box::new(bytes.to_vec().into_parameter()),
        Value::List(list) => Box::new(list.join(",").into_parameter()),
    }
}

/// Drivers may put the connection string into what they say.
fn unreachable(error: &odbc_api::Error, rest: &str) -> QueryError {
    let mut text = error.to_string();
    for part in rest.split(';') {
        if let Some((name, value)) = part.split_once('=')
            && ["pwd", "password"].iter().any(|secret| name.trim().eq_ignore_ascii_case(secret))
            && !value.is_empty()
        {
            text = text.replace(value, "***");
        }
    }
    QueryError::Unreachable(text)
}
