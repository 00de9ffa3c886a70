//! The host of scripts: a session's contexts and message, and the node's objects behind it.

use super::objects::{self, Objects};
use super::visit::Visit;
use crate::node::Node;
use crate::notices::{Severity, notice};
use postfleet_policy::{
    Assign, Binding, Change, Class, Context, Events, Fault, Host, Kind, Message, Nested, Path, Phase, Place,
    Scope, SeriesRead, SeriesWrite, TimerChange, Windows, spf,
};
use postfleet_queue::Assigned;
use postfleet_types::normalised;
use std::io::Write as _;
use std::sync::Arc;

/// What belongs to the language that is running.
pub(super) trait Home: Sync {
    /// How the log names it.
    fn kind(&self) -> &'static str;
    /// A run of a Sieve script that has not begun.
    fn sieve(&self, phase: Phase, file: &str) -> Result<Box<dyn Nested>, Fault>;
    /// Changes a timer of the script.
    fn timer(&self, number: u32, change: TimerChange) -> Result<(), Fault>;
    /// One more for a counter; `slot` is such as `connect_phase1`.
    fn count(&self, slot: &str, counter: &str, class: Class);
}

/// The host for one step of a run.
pub(super) struct LiveHost<'a> {
    pub(super) node: Arc<Node>,
    /// None for what belongs to no session.
    pub(super) visit: Option<&'a mut Visit>,
    pub(super) home: &'a dyn Home,
    pub(super) phase: Option<Phase>,
    pub(super) slot: &'a str,
    /// Another interpreter has done the same: what it said is not said again, and what it counted or wrote is not done twice.
    pub(super) repeats: bool,
}

impl Visit {
    /// The node's objects, as this session may use them.
    pub(crate) fn objects(&self) -> Objects<'_> {
        Objects {
            node: &self.node,
            client: Some(normalised(self.client.ip())),
            listener: Some(&self.listener),
        }
    }
}

impl<'a> LiveHost<'a> {
    pub(super) fn of(visit: &'a mut Visit, home: &'a dyn Home, phase: Phase, slot: &'a str) -> Self {
        let node = Arc::clone(&visit.node);
        Self { node, visit: Some(visit), home, phase: Some(phase), slot, repeats: false }
    }

    pub(super) fn objects(&self) -> Objects<'_> {
        match &self.visit {
            Some(visit) => visit.objects(),
            None => Objects { node: &self.node, client: None, listener: None },
        }
    }

    fn message(&self) -> Result<&Message, Fault> {
        self.visit.as_ref().and_then(|visit| visit.message.as_ref()).ok_or_else(no_message)
    }
}

/// Does what may wait for a disk where that holds up nobody else.
pub(super) fn blocking<T>(act: impl FnOnce() -> T) -> T {
    let many = tokio::runtime::Handle::try_current()
        .is_ok_and(|runtime| runtime.runtime_flavor() == tokio::runtime::RuntimeFlavor::MultiThread);
    if many { tokio::task::block_in_place(act) } else { act() }
}

fn binding(assigned: &Assigned) -> Binding {
    Binding { name: assigned.binding().to_string(), group: assigned.group().to_string() }
}

fn no_message() -> Fault {
    Fault::new("there is no message yet")
}

impl Host for LiveHost<'_> {
    fn context(&mut self, context: Context, key: &str) -> Option<String> {
        self.visit.as_ref().and_then(|visit| visit.dictionary(context).value(key).map(str::to_owned))
    }

    fn set_context(&mut self, context: Context, key: &str, value: Option<&str>) {
        let kind = self.home.kind();
        let Some(visit) = &mut self.visit else { return };
        let dictionary = visit.dictionary_mut(context);
        match value {
            None => dictionary.remove(key),
            Some(value) => {
                if !dictionary.set(key, value) {
                    notice(
                        Severity::Error,
                        format_args!("{kind}: the context of {} is full; a key was not set", visit.client),
                    );
                }
            }
        }
    }

    fn log(&mut self, place: Place<'_>, text: &str) {
        for line in text.split('\n') {
            notice(
                Severity::Critical,
                format_args!("{}: {}:{}: {line}", self.home.kind(), place.file, place.line),
            );
        }
    }

    fn log_error(&mut self, place: Place<'_>, text: &str) {
        notice(Severity::Error, format_args!("{}: {}:{}: {text}", self.home.kind(), place.file, place.line));
    }

    fn log_file(&mut self, uri: &str, text: &str) -> Result<(), Fault> {
        let path = uri.strip_prefix("file://").unwrap_or(uri);
        if !path.starts_with('/') {
            return Err(Fault::new(format!(
                "'{uri}' is not an absolute path; jlog:// is not available in this version"
            )));
        }
        blocking(|| {
            let mut file = std::fs::File::options().append(true).create(true).open(path)?;
            file.write_all(format!("{text}\n").as_bytes())
        })
        .map_err(|error| Fault::new(format!("{path}: {error}")))
    }

    fn count(&mut self, counter: &str, class: Class) {
        self.home.count(self.slot, counter, class);
    }

    fn events_average(&mut self, events: Events, monitor: u32, mask: Option<u8>) -> Result<u64, Fault> {
        self.objects().events_average(events, monitor, mask)
    }

    fn events_sum(
        &mut self,
        events: Events,
        monitor: Option<&str>,
        windows: Windows,
        mask: Option<u8>,
    ) -> Result<u64, Fault> {
        self.objects().events_sum(events, monitor, windows, mask)
    }

    fn series_sum(&mut self, read: SeriesRead<'_>) -> Result<u64, Fault> {
        self.objects().series_sum(read)
    }

    fn series_add(&mut self, write: SeriesWrite<'_>) -> Result<(), Fault> {
        self.objects().series_add(write)
    }

    fn open_connections(&mut self, scope: Scope<'_>, cidr: &str) -> Result<u64, Fault> {
        self.objects().open_connections(scope, cidr)
    }

    fn throttle_create(&mut self, kind: Kind, name: &str, rate: &str, epsilon: f64) -> Result<(), Fault> {
        self.objects().throttle_create(kind, name, rate, epsilon)
    }

    fn throttle_change(&mut self, kind: Kind, name: &str, change: Change) -> Result<(), Fault> {
        if self.repeats {
            return Ok(());
        }
        self.objects().throttle_change(kind, name, change)
    }

    fn throttle_exceeded(&mut self, kind: Kind, name: &str) -> Result<bool, Fault> {
        self.objects().throttle_exceeded(kind, name)
    }

    fn throttle_tarpit(&mut self, name: &str) -> Result<u64, Fault> {
        match (&mut self.visit, self.phase) {
            (Some(visit), Some(phase)) => visit.tarpit(super::ThrottleSpace::Local, name, phase),
            (_, _) => Err(Fault::new("there is no session to hold")),
        }
    }

    fn gauge_init(
        &mut self,
        name: &str,
        elements_max: u64,
        ttl_s: u64,
        replicated: bool,
    ) -> Result<(), Fault> {
        self.objects().gauge_init(name, elements_max, ttl_s, replicated)
    }

    fn gauge_change(&mut self, name: &str, key: &str, change: Change) -> Result<i64, Fault> {
        if self.repeats {
            return self.gauge(name, key);
        }
        self.objects().gauge_change(name, key, change)
    }

    fn gauge(&mut self, name: &str, key: &str) -> Result<i64, Fault> {
        self.objects().gauge(name, key)
    }

    fn cache(&mut self, name: &str, key: &str) -> Result<Option<String>, Fault> {
        self.objects().cache(name, key)
    }

    fn cache_set(&mut self, name: &str, key: &str, value: &str, ttl_s: Option<u64>) -> Result<(), Fault> {
        self.objects().cache_set(name, key, value, ttl_s)
    }

    fn binding(&mut self) -> Option<Binding> {
        self.visit.as_ref()?.assigned.as_ref().map(binding)
    }

    fn assign(&mut self, to: Assign<'_>) -> Option<Binding> {
        let (assigned, missing) = match to {
            Assign::Binding(name) => {
                (self.node.delivery.binding(name), format!("there is no binding '{name}'"))
            }
            Assign::Group(name) => (
                self.node.delivery.binding_of_group(name),
                format!("there is no binding group '{name}', or no binding in it"),
            ),
        };
        let Some(assigned) = assigned else {
            let kind = self.home.kind();
            notice(Severity::Error, format_args!("{kind}: {missing}; the message stays assigned as it was"));
            return None;
        };
        let shown = binding(&assigned);
        self.visit.as_mut()?.assigned = Some(assigned);
        Some(shown)
    }

    fn envelope(&mut self, path: Path) -> Vec<String> {
        let Some(visit) = &self.visit else { return Vec::new() };
        match path {
            Path::From => visit.sender.iter().cloned().collect(),
            Path::To => match &visit.recipient {
                Some(recipient) => vec![recipient.clone()],
                None => visit.addressees(),
            },
        }
    }

    fn headers(&mut self, name: &str) -> Result<Vec<String>, Fault> {
        self.message().map(|message| message.fields(name))
    }

    fn message_bytes(&mut self) -> Result<u64, Fault> {
        self.message().map(Message::octets)
    }

    fn expand(&mut self, name: &str) -> Result<String, Fault> {
        let unknown = || Fault::new(format!("'%{{{name}}}' means nothing"));
        match name.split_once(':') {
            Some(("rfc822", "date")) => Ok(objects::date()),
            Some(("rfc2822", words)) => self.message()?.expand(words).ok_or_else(unknown),
            Some(("spfv1", letters)) => self
                .visit
                .as_ref()
                .and_then(|visit| {
                    spf(letters, normalised(visit.client.ip()), visit.sender.as_deref(), &visit.helo)
                })
                .ok_or_else(unknown),
            _ => Err(unknown()),
        }
    }
}

impl Visit {
    /// Counts in a throttle of this node, and says for how many milliseconds the session is held.
    pub(super) fn tarpit(
        &mut self,
        space: super::ThrottleSpace,
        name: &str,
        phase: Phase,
    ) -> Result<u64, Fault> {
        let held = self.node.policies.tarpit(space, name).map_err(|error| Fault::new(error.to_string()))?;
        let milliseconds = objects::milliseconds(held.duration());
        if phase.holds_a_session() {
            self.held.push(held);
        } else {
            held.done();
        }
        Ok(milliseconds)
    }
}
