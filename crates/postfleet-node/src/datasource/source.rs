//! One datasource of the node.

use super::asking::Asking;
use crate::clock;
use crate::fleet::Fleet;
use crate::notices::{Severity, notice};
use bytes::Bytes;
use postfleet_datasource::{CacheOptions, Datasource, Found, Params, Rotation, Rows, Statistics, Uri, key};
use postfleet_drivers::{Charset, Connection, Pool, Query, QueryError, only_reads, open};
use postfleet_types::Monotonic;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::watch;

/// How long a caller waits for an answer. Long enough for a database that is busy, and less than a console or a mail
/// client waits.
const PATIENCE: Duration = Duration::from_secs(45);
/// A connection that nobody has used for so long is closed.
const IDLE_MAX: Duration = Duration::from_secs(300);
/// Connections to one place that are kept for the next query.
const KEPT_MAX: usize = 20;

/// Where answers come from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    /// A driver that is known, and what it gets.
    At(Uri),
    /// A driver that this build does not have, by its name.
    Missing(String),
}

/// One `Datasource` stanza.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct SourceSettings {
    pub(crate) name: String,
    pub(crate) places: Vec<Place>,
    pub(crate) cache: CacheOptions,
    pub(crate) rows_max: Option<u32>,
    pub(crate) no_cache: bool,
    pub(crate) pool: String,
    pub(crate) serialized: bool,
    pub(crate) charset: Charset,
}

/// What a query comes to. The error is for the operator or the script.
pub(crate) type Outcome = Result<Arc<Rows>, Arc<str>>;

/// What those who wait for an answer look at.
pub(super) type Awaited = watch::Receiver<Option<Outcome>>;

/// A datasource.
pub(crate) struct Source {
    fleet: Option<Arc<Fleet>>,
    /// A plain lock: it is held for look-ups and never while a driver works.
    state: Mutex<State>,
    name: String,
}

struct State {
    settings: SourceSettings,
    pool: Pool,
    datasource: Datasource,
    rotation: Rotation,
    places: Vec<PlaceState>,
    /// The questions that are being asked.
    asked: BTreeMap<Bytes, Awaited>,
}

#[derive(Default)]
struct PlaceState {
    /// Connections that are not in use, with the time of their last use.
    idle: Vec<(Monotonic, Box<dyn Connection>)>,
    /// It could not be reached the last time, and that was told.
    failing: bool,
}

impl Source {
    pub(super) fn new(settings: SourceSettings, pool: Pool, fleet: Option<Arc<Fleet>>) -> Self {
        let places = settings.places.len();
        Self {
            fleet,
            name: settings.name.clone(),
            state: Mutex::new(State {
                pool,
                datasource: Datasource::new(settings.cache),
                rotation: Rotation::new(places),
                places: (0..places).map(|_| PlaceState::default()).collect(),
                asked: BTreeMap::new(),
                settings,
            }),
        }
    }

    /// Takes new settings into force; `false` when answers would be others, so that this datasource is of no more use.
    pub(super) fn tune(&self, wanted: &SourceSettings, pool: &Pool) -> bool {
        let mut state = self.locked();
        let now = &state.settings;
        let same = (&now.places, now.rows_max, now.no_cache, now.charset)
            == (&wanted.places, wanted.rows_max, wanted.no_cache, wanted.charset);
        if same {
            state.datasource.set_options(wanted.cache);
            state.settings = wanted.clone();
            state.pool = pool.clone();
        }
        same
    }

    fn locked(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// The figures of `ds_core stats`.
    pub(crate) fn statistics(&self) -> Statistics {
        self.locked().datasource.statistics()
    }

    /// Forgets what this node remembers. Returns how many answers there were.
    pub(crate) fn flush(&self) -> usize {
        let (flushed, shared) = {
            let mut state = self.locked();
            (state.datasource.flush(), state.settings.serialized)
        };
        let shared = match &self.fleet {
            Some(fleet) if shared => fleet.cache_forget_answers(&self.name),
            _ => 0,
        };
        // An answer that was found out here is held in both places.
        flushed.max(shared)
    }

    pub(super) fn maintain(&self, now: Monotonic) {
        let mut state = self.locked();
        state.datasource.maintain(now);
        let mut closed = Vec::new();
        for place in &mut state.places {
            let (kept, old) = std::mem::take(&mut place.idle)
                .into_iter()
                .partition(|(used, _)| now.since(*used) < IDLE_MAX);
            place.idle = kept;
            closed.extend::<Vec<_>>(old);
        }
        let pool = state.pool.clone();
        drop(state);
        if !closed.is_empty() {
            pool.dispose(closed);
        }
    }

    /// Asks, or looks up what was answered before. `fresh` goes to the source in any case, and changes nothing that is
    /// remembered.
    pub(crate) async fn query(self: &Arc<Self>, text: &str, params: Params, fresh: bool) -> Outcome {
        let mut awaited = match self.begin(text, params, fresh)? {
            Begun::Known(rows) => return Ok(rows),
            Begun::Asked(awaited) => awaited,
        };
        let answered = tokio::time::timeout(PATIENCE, awaited.wait_for(Option::is_some)).await;
        match answered {
            Ok(Ok(outcome)) => outcome.clone().unwrap_or_else(|| Err("no answer".into())),
            Ok(Err(_)) => Err("the query was given up".into()),
            Err(_) => Err(format!(
                "no answer within {} s; the query goes on, and its answer will be remembered",
                PATIENCE.as_secs()
            )
            .into()),
        }
    }

    fn begin(self: &Arc<Self>, text: &str, params: Params, fresh: bool) -> Result<Begun, Arc<str>> {
        let key = key(text, &params);
        let shared = if fresh { None } else { self.shared(&key) };
        let now = clock::monotonic();
        let mut state = self.locked();
        let ticket = if fresh {
            None
        } else {
            match state.datasource.look_up(&key, shared, now) {
                Found::Rows(rows) => return Ok(Begun::Known(rows)),
                Found::Wait => {
                    let awaited = state.asked.get(&key).cloned().ok_or("the query was given up")?;
                    return Ok(Begun::Asked(awaited));
                }
                Found::Ask(ticket) => Some(ticket),
            }
        };
        let (answer, awaited) = watch::channel(None);
        if ticket.is_some() {
            state.asked.insert(key, awaited.clone());
        }
        let query = Query {
            text: text.to_owned(),
            params,
            rows_max: state.settings.rows_max,
            charset: state.settings.charset,
        };
        let pool = state.pool.clone();
        drop(state);
        let asking = Asking::new(Arc::clone(self), ticket, answer);
        pool.run(move || asking.ask(&query)).map_err(|busy| format!("pool: {busy}"))?;
        Ok(Begun::Asked(awaited))
    }

    /// What another member, or this one, has published.
    fn shared(&self, key: &[u8]) -> Option<Rows> {
        let fleet = self.fleet.as_ref()?;
        let looks = {
            let state = self.locked();
            state.settings.serialized && !state.settings.no_cache
        };
        // Answers of a later version are as good as none.
        looks
            .then(|| fleet.cache_value(&self.name, key))
            .flatten()
            .and_then(|bytes| Rows::decode(&bytes).ok())
    }

    /// Asks one place after the other. Blocks.
    pub(super) fn ask_places(&self, query: &Query) -> Result<Rows, String> {
        let order = {
            let mut state = self.locked();
            state.rotation.turn(clock::monotonic())
        };
        let mut last = String::from("no source is configured");
        for place in order {
            match self.ask_place(place, query) {
                Ok(rows) => {
                    self.reached(place);
                    return Ok(rows);
                }
                Err(QueryError::Refused(text)) => {
                    self.reached(place);
                    return Err(text);
                }
                Err(QueryError::Unreachable(text)) => {
                    self.not_reached(place, &text);
                    last = text;
                }
                Err(QueryError::Broken(text)) => {
                    self.not_reached(place, &text);
                    if !only_reads(&query.text) {
                        return Err(format!("{text}; whether the query was carried out is not known"));
                    }
                    last = text;
                }
            }
        }
        Err(last)
    }

    fn ask_place(&self, place: usize, query: &Query) -> Result<Rows, QueryError> {
        while let Some(mut connection) = self.idle(place) {
            match connection.query(query) {
                // It broke while nobody looked; a new one may work.
                Err(QueryError::Broken(_)) if only_reads(&query.text) => {}
                outcome => return self.put_back(place, connection, outcome),
            }
        }
        let uri = {
            let state = self.locked();
            match state.settings.places.get(place) {
                Some(Place::At(uri)) => uri.clone(),
                Some(Place::Missing(driver)) => {
                    return Err(QueryError::Unreachable(format!(
                        "the driver '{driver}' is not in this build"
                    )));
                }
                None => return Err(QueryError::Unreachable("no such source".into())),
            }
        };
        // An address that can never work must not keep the others from being asked.
        let mut connection = open(&uri).map_err(|error| QueryError::Unreachable(error.to_string()))?;
        let outcome = connection.query(query);
        self.put_back(place, connection, outcome)
    }

    /// A connection that may be used again.
    fn idle(&self, place: usize) -> Option<Box<dyn Connection>> {
        loop {
            let (used, mut connection) = self.locked().places.get_mut(place)?.idle.pop()?;
            // The question may take its time: the lock is not held.
            if connection.is_alive(clock::monotonic().since(used)) {
                return Some(connection);
            }
        }
    }

    fn put_back(
        &self,
        place: usize,
        connection: Box<dyn Connection>,
        outcome: Result<Rows, QueryError>,
    ) -> Result<Rows, QueryError> {
        if matches!(outcome, Ok(_) | Err(QueryError::Refused(_))) {
            let mut state = self.locked();
            if let Some(place) = state.places.get_mut(place).filter(|place| place.idle.len() < KEPT_MAX) {
                place.idle.push((clock::monotonic(), connection));
            }
        }
        outcome
    }

    fn reached(&self, place: usize) {
        let mut state = self.locked();
        state.rotation.alive(place);
        let failed = state.places.get_mut(place).is_some_and(|place| std::mem::take(&mut place.failing));
        drop(state);
        if failed {
            notice(Severity::Notice, format_args!("{}: answers again", self.shown(place)));
        }
    }

    fn not_reached(&self, place: usize, why: &str) {
        let mut state = self.locked();
        let pause = state.rotation.dead(place, clock::monotonic());
        let told =
            state.places.get_mut(place).is_none_or(|place| std::mem::replace(&mut place.failing, true));
        drop(state);
        if !told {
            notice(
                Severity::Error,
                format_args!(
                    "{}: {why}; passed over for {} s, then tried again after longer pauses",
                    self.shown(place),
                    pause.as_secs()
                ),
            );
        }
    }

    /// A source, without what may be a password.
    fn shown(&self, place: usize) -> String {
        let state = self.locked();
        let driver = match state.settings.places.get(place) {
            Some(Place::At(uri)) => uri.driver.word(),
            Some(Place::Missing(driver)) => driver,
            None => "",
        };
        format!("Datasource \"{}\": uri {} of {} ({driver})", self.name, place + 1, state.places.len())
    }

    /// Ends a question: remembers and publishes its answer.
    pub(super) fn ended(&self, ticket: Option<postfleet_datasource::Ticket>, outcome: &Outcome) {
        let Some(ticket) = ticket else { return };
        let key = ticket.key().clone();
        let now = clock::monotonic();
        let mut state = self.locked();
        state.asked.remove(&key);
        let settings = &state.settings;
        let remember = !settings.no_cache && !settings.cache.life.is_zero();
        let publish = remember && settings.serialized;
        let life = settings.cache.life;
        match outcome {
            Ok(rows) => drop(state.datasource.answered(ticket, rows, remember, now)),
            Err(_) => drop(state.datasource.failed(ticket)),
        }
        drop(state);
        if let (Ok(rows), Some(fleet), true) = (outcome, &self.fleet, publish) {
            fleet.cache_publish_answer(&self.name, key, rows, life);
        }
    }
}

impl Drop for Source {
    fn drop(&mut self) {
        let state = self.state.get_mut().unwrap_or_else(PoisonError::into_inner);
        let idle: Vec<_> =
            state.places.iter_mut().flat_map(|place| std::mem::take(&mut place.idle)).collect();
        if !idle.is_empty() {
            // Drivers may wait for the other end when they close a connection; a task must not.
            state.pool.dispose(idle);
        }
    }
}

enum Begun {
    Known(Arc<Rows>),
    Asked(Awaited),
}
