//! Recorded sessions: what a script is shown, and the small fleet in which it happens.

use postfleet_datasource::{Rows, Value as Cell};
use postfleet_policy::Binding;
use postfleet_policy::Event;
use postfleet_policy::model::{Cache, Model, Monitor};
use serde::Deserialize;
use std::collections::BTreeMap;
use std::net::IpAddr;
use std::path::Path;

/// When records begin that do not say: 14 November 2023, at the beginning of a period of every round length.
const START_S: u64 = 1_699_920_000;

/// A file of recorded sessions.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Record {
    /// Seconds since 1970 at the beginning.
    #[serde(default = "start")]
    start: u64,
    /// Of `inbound_audit`.
    monitors: Option<Vec<String>>,
    /// What the fleet shares; all of it where nothing is said.
    replicated: Option<Vec<String>>,
    /// Replicated caches with what is in them.
    #[serde(default)]
    caches: BTreeMap<String, BTreeMap<String, String>>,
    /// The bindings of the configuration, each with its group.
    #[serde(default)]
    bindings: BTreeMap<String, String>,
    /// Connections that are open all the time.
    #[serde(default)]
    open: Vec<Open>,
    /// What happened before.
    #[serde(default)]
    happened: Vec<Happened>,
    /// What datasources answer to every query.
    #[serde(default)]
    rows: Answer,
    pub(super) sessions: Vec<Session>,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Open {
    client: IpAddr,
    #[serde(default = "one")]
    node: usize,
    #[serde(default = "one")]
    count: usize,
}

#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Kind {
    Connection,
    Reception,
    Rejection,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Happened {
    event: Kind,
    client: IpAddr,
    #[serde(default = "one")]
    node: usize,
    #[serde(default = "one_i64")]
    count: i64,
    /// Seconds before the start.
    #[serde(default)]
    ago: u64,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct Answer {
    columns: Vec<String>,
    rows: Vec<Vec<serde_json::Value>>,
}

/// One connection.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Session {
    pub(super) client: IpAddr,
    #[serde(default = "port")]
    pub(super) port: u16,
    /// Counted from 1.
    #[serde(default = "one")]
    pub(super) node: usize,
    /// Seconds after the start; where it is not said, the session follows the one before.
    pub(super) at: Option<u64>,
    /// Keys of the connection's context.
    #[serde(default)]
    pub(super) context: BTreeMap<String, String>,
    #[serde(default = "helo")]
    pub(super) helo: String,
    #[serde(default)]
    pub(super) messages: Vec<Message>,
}

/// One transaction.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Message {
    /// Empty for the null sender.
    pub(super) from: String,
    pub(super) to: Vec<String>,
    #[serde(default)]
    pub(super) headers: Vec<(String, String)>,
    #[serde(default)]
    pub(super) body: String,
}

const fn start() -> u64 {
    START_S
}

const fn one() -> usize {
    1
}

const fn one_i64() -> i64 {
    1
}

const fn port() -> u16 {
    50_000
}

fn helo() -> String {
    "client.example".to_owned()
}

/// Reads a file; what is wrong with it, with its place.
pub(super) fn read(path: &Path) -> Result<Record, String> {
    let file = path.display();
    let text = std::fs::read_to_string(path).map_err(|error| format!("{file}: {error}"))?;
    serde_json::from_str::<Record>(&text).map_err(|error| {
        let message = error.to_string();
        let what = message.split(" at line ").next().unwrap_or_default();
        format!("{file}:{}:{}: {what}", error.line(), error.column())
    })
}

impl Record {
    /// The fleet at the beginning.
    pub(super) fn fleet(&self) -> Result<Model, String> {
        let mut model = Model::default();
        if let Some(monitors) = &self.monitors {
            let monitor = |text: &String| {
                Monitor::parse(text)
                    .ok_or_else(|| format!("monitor \"{text}\" is none; expected \"SECONDS,NUMBER\""))
            };
            model.monitors = monitors.iter().map(monitor).collect::<Result<_, _>>()?;
        }
        if let Some(replicated) = &self.replicated {
            model.replicated = replicated.iter().cloned().collect();
        }
        let bindings = self.bindings.iter();
        model.bindings =
            bindings.map(|(name, group)| Binding { name: name.clone(), group: group.clone() }).collect();
        model.caches = self.caches.iter().map(|(name, pairs)| (name.clone(), cache(pairs))).collect();
        for open in &self.open {
            model.open.extend(std::iter::repeat_n((node(open.node), open.client), open.count));
        }
        for happened in &self.happened {
            model.now_ms = self.start.saturating_sub(happened.ago).saturating_mul(1000);
            model.node = node(happened.node);
            let event = match happened.event {
                Kind::Connection => Event::Connection,
                Kind::Reception => Event::Reception,
                Kind::Rejection => Event::Rejection,
            };
            model.happened(event, happened.client, happened.count);
        }
        let row = |cells: &Vec<serde_json::Value>| cells.iter().map(cell).collect();
        model.rows =
            Ok(Rows { columns: self.rows.columns.clone(), rows: self.rows.rows.iter().map(row).collect() });
        model.now_ms = self.start.saturating_mul(1000);
        Ok(model)
    }

    /// The moment of a session, in milliseconds since 1970.
    pub(super) fn moment(&self, at_s: u64) -> u64 {
        self.start.saturating_add(at_s).saturating_mul(1000)
    }
}

/// The number in a fleet of one that the record counts from 1.
pub(super) fn node(number: usize) -> usize {
    number.saturating_sub(1)
}

fn cache(pairs: &BTreeMap<String, String>) -> Cache {
    pairs.iter().map(|(key, value)| (key.clone(), (value.clone(), None))).collect()
}

fn cell(value: &serde_json::Value) -> Cell {
    match value {
        serde_json::Value::Null => Cell::Null,
        serde_json::Value::Bool(value) => Cell::Integer(i64::from(*value)),
        serde_json::Value::Number(number) => match (number.as_i64(), number.as_f64()) {
            (Some(whole), _) => Cell::Integer(whole),
            (None, Some(real)) => Cell::Real(real),
            (None, None) => Cell::Null,
        },
        serde_json::Value::String(text) => Cell::Text(text.clone()),
        serde_json::Value::Array(list) => Cell::List(
            list.iter().map(|item| item.as_str().map_or_else(|| item.to_string(), str::to_owned)).collect(),
        ),
        other @ serde_json::Value::Object(_) => Cell::Text(other.to_string()),
    }
}
