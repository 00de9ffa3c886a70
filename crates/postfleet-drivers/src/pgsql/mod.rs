//! PostgreSQL.

mod params;
mod values;

use std::time::Duration;

use postfleet_datasource::{Rows, Statement, Style};
use postgres::fallible_iterator::FallibleIterator;
use postgres::types::Type;
use postgres::{Client, Config, NoTls};

use crate::{Connection, Query, QueryError};
use params::Bound;
use values::Column;

/// How long connecting may take when the address does not say (`connect_timeout`).
const CONNECT: Duration = Duration::from_secs(10);
/// How long the network may be silent over sent data when the address does not say (`tcp_user_timeout`).
const SILENCE: Duration = Duration::from_secs(30);
/// A connection that was used so shortly ago is used again without a question.
const TRUSTED: Duration = Duration::from_secs(5);
/// How long the answer to that question may take.
const ASKED: Duration = Duration::from_secs(3);
/// Rows that nobody wants and that are read all the same, to keep the connection. With more of them it is cheaper to connect
/// anew.
const DRAINED_MAX: usize = 10_000;

/// An open connection. The rest of its address is what libpq takes: `host=… user=… dbname=…`, or
/// `//user:password@host/database`.
pub(crate) struct Pgsql {
    client: Client,
    /// Rows are still on their way that nobody wants.
    spent: bool,
}

impl Pgsql {
    pub(crate) fn open(rest: &str) -> Result<Self, QueryError> {
        let mut config = config(rest)?;
        if config.get_connect_timeout().is_none() {
            config.connect_timeout(CONNECT);
        }
        if config.get_tcp_user_timeout().is_none() {
            config.tcp_user_timeout(SILENCE);
        }
        if config.get_application_name().is_none() {
            config.application_name("postfleet");
        }
        let client = config.connect(NoTls).map_err(|error| match error.as_db_error() {
            Some(said) => QueryError::Unreachable(said.message().to_owned()),
            None => QueryError::Unreachable(with_causes(&error)),
        })?;
        Ok(Self { client, spent: false })
    }
}

/// Reads an address. What is wrong is told without its text, which may hold a password.
fn config(rest: &str) -> Result<Config, QueryError> {
    let text = if rest.starts_with("//") { format!("postgresql:{rest}") } else { rest.to_owned() };
    let config: Config = text.parse().map_err(|error: postgres::Error| {
        QueryError::Refused(format!(
            "the address of the database cannot be read ({}); write pgsql:host=HOST user=USER dbname=NAME, with \
             sslmode disable or prefer",
            with_causes(&error)
        ))
    })?;
    // An encrypted connection that was asked for must not become one in clear.
    if config.get_ssl_mode() == postgres::config::SslMode::Require {
        let text = "sslmode=require: this version connects to PostgreSQL without TLS; use a Unix socket or a tunnel, and \
                    sslmode=disable";
        return Err(QueryError::Refused(text.into()));
    }
    Ok(config)
}

impl Connection for Pgsql {
    fn query(&mut self, query: &Query) -> Result<Rows, QueryError> {
        let statement = Statement::prepare(&query.text, &query.params, Style::Dollar)?;
        // The server finds the types of the parameters, as it does for texts that are written into a query.
        let bound = statement.values.iter().map(|value| (Bound(value), Type::UNKNOWN));
        let mut found =
            self.client.query_typed_raw(&statement.text, bound).map_err(|error| failed(&error))?;
        let wanted = query.rows_max.map_or(usize::MAX, |max| max as usize);
        let mut answer = Rows::default();
        let mut unwanted = 0;
        let mut fault = None;
        while let Some(row) = found.next().map_err(|error| failed(&error))? {
            if answer.columns.is_empty() {
                answer.columns = row.columns().iter().map(|column| column.name().to_owned()).collect();
            }
            if answer.rows.len() == wanted || fault.is_some() {
                unwanted += 1;
                if unwanted > DRAINED_MAX {
                    self.spent = true;
                    break;
                }
                continue;
            }
            let values = (0..row.columns().len())
                .map(|at| {
                    row.try_get::<_, Option<Column>>(at)
                        .map(|value| value.map_or(postfleet_datasource::Value::Null, |value| value.0))
                })
                .collect::<Result<Vec<_>, _>>();
            match values {
                Ok(values) => answer.rows.push(values),
                Err(error) => fault = Some(failed(&error)),
            }
        }
        match fault {
            Some(fault) => Err(fault),
            None => Ok(answer),
        }
    }

    fn is_alive(&mut self, idle: Duration) -> bool {
        // Nobody reads from a connection that is idle, so its end is only seen by asking.
        !self.spent && !self.client.is_closed() && (idle < TRUSTED || self.client.is_valid(ASKED).is_ok())
    }
}

fn failed(error: &postgres::Error) -> QueryError {
    if let Some(said) = error.as_db_error() {
        // The server ends the connection, or does not take queries now: the classes of operator intervention, of broken
        // connections, and a server that only follows another one.
        let state = said.code().code();
        let text = said.message().to_owned();
        return match state.get(..2) {
            Some("57" | "58" | "08" | "53") if state != "57014" => QueryError::Broken(text),
            _ => QueryError::Refused(text),
        };
    }
    let text = with_causes(error);
    let broken = error.is_closed()
        || std::error::Error::source(error).is_some_and(|cause| cause.is::<std::io::Error>());
    if broken { QueryError::Broken(text) } else { QueryError::Refused(text) }
}

fn with_causes(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut at = error.source();
    while let Some(cause) = at {
        let said = cause.to_string();
        // Some causes are told by the error itself.
        if !text.contains(&said) {
            text.push_str(": ");
            text.push_str(&said);
        }
        at = cause.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_those_of_libpq_and_errors_keep_passwords_to_themselves() {
        let hosts = |rest: &str| config(rest).map(|config| config.get_hosts().len());
        assert_eq!(hosts("host=db.example user=u password=secret dbname=d"), Ok(1));
        assert_eq!(hosts("//u:secret@db.example:5433/d?connect_timeout=3"), Ok(1));
        assert_eq!(hosts("host=/run/postgresql,db.example"), Ok(2));
        for rest in ["host=a sslmode=require password=secret", "password=secret nosuch=1", "password='secret"]
        {
            let error = config(rest).map(|_| ()).unwrap_err();
            assert!(matches!(&error, QueryError::Refused(text) if !text.contains("secret")), "{error:?}");
        }
    }

    #[test]
    fn nobody_there_is_unreachable() {
        let nobody = Pgsql::open("host=127.0.0.1 port=1 user=u password=secret").err();
        let Some(QueryError::Unreachable(text)) = nobody else { panic!("{nobody:?}") };
        assert!(text.contains("refused") && !text.contains("secret"), "{text}");
    }
}
