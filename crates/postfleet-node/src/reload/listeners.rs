//! The sockets of a node: opened, kept and closed by the difference of two configurations.

use crate::control;
use crate::edge;
use crate::node::Node;
use crate::notices::{Severity, notice};
use crate::settings::{Listener, Service};
use crate::socket::{Endpoint, Listening, SocketOptions};
use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

/// An address that cannot be bound is tried again after this time.
const BIND_INTERVAL: Duration = Duration::from_secs(30);
/// The system gives a port free a moment after its socket was closed; so often, and at this distance, it is asked.
const FREED: (u32, Duration) = (25, Duration::from_millis(20));

/// What tells sockets apart: who serves there, and where.
pub(crate) type Key = (Service, Endpoint);

/// The sockets that are open, and those that are being tried.
#[derive(Default)]
pub(crate) struct Listeners(BTreeMap<Key, Attended>);

struct Attended {
    options: SocketOptions,
    slot: Slot,
    /// Dropping it ends the task too.
    close: oneshot::Sender<()>,
    task: JoinHandle<()>,
}

/// The socket, once it is open. A plain lock: it is held to copy a pointer.
type Slot = Arc<Mutex<Option<Arc<Listening>>>>;

fn open_in(slot: &Slot) -> Option<Arc<Listening>> {
    slot.lock().unwrap_or_else(PoisonError::into_inner).clone()
}

/// Sockets that were opened for a configuration which is not in effect yet.
pub(crate) struct Prepared(BTreeMap<Key, io::Result<Arc<Listening>>>);

impl Prepared {
    /// The first control socket that could not be opened: a node does not start without.
    pub(crate) fn missing_control(self) -> Result<Self, (Endpoint, io::Error)> {
        let mut opened = BTreeMap::new();
        for ((service, endpoint), result) in self.0 {
            match result {
                Err(error) if service == Service::Control => return Err((endpoint, error)),
                result => drop(opened.insert((service, endpoint), result)),
            }
        }
        Ok(Self(opened))
    }
}

impl Listeners {
    /// Opens what is new. What is open now is not touched.
    pub(crate) fn prepare(&self, wanted: &[Listener]) -> Prepared {
        let mut all: Vec<Arc<Listening>> =
            self.0.values().filter_map(|attended| open_in(&attended.slot)).collect();
        let mut opened: BTreeMap<Key, io::Result<Arc<Listening>>> = BTreeMap::new();
        for listener in wanted {
            let key = listener.key();
            if self.0.contains_key(&key) || opened.contains_key(&key) {
                continue;
            }
            let result = Listening::open_beside(&key.1, &listener.socket, &all).map(Arc::new);
            all.extend(result.as_ref().ok().cloned());
            opened.insert(key, result);
        }
        Prepared(opened)
    }

    /// Brings the sockets to what is wanted: closes what is not, attends to what was prepared, and gives new options to
    /// those that stay. Returns what could not be done, a sentence each; it is tried again until it works.
    pub(crate) async fn change(
        &mut self,
        node: &Arc<Node>,
        wanted: &[Listener],
        mut prepared: Prepared,
    ) -> Vec<String> {
        let mut complaints = Vec::new();
        let keys: BTreeSet<Key> = wanted.iter().map(Listener::key).collect();
        let closed = self.close(|key| !keys.contains(key)).await;
        for listener in wanted {
            let key = listener.key();
            if let Some(kept) = self.0.get_mut(&key) {
                if kept.options != listener.socket {
                    kept.options = listener.socket;
                    let adopted = open_in(&kept.slot).map_or(Ok(()), |open| open.adopt(&listener.socket));
                    if let Err(error) = adopted {
                        complaints.push(format!("{}: new socket options: {error}", shown(&key)));
                    }
                }
                continue;
            }
            let Some(mut opened) = prepared.0.remove(&key) else { continue };
            if closed && opened.is_err() {
                opened = freed(&key.1, &listener.socket).await.map(Arc::new);
            }
            let opened = match opened {
                Ok(opened) => Some(opened),
                Err(error) => {
                    complaints.push(format!(
                        "{}: cannot listen there: {error}; trying again every {} s",
                        shown(&key),
                        BIND_INTERVAL.as_secs()
                    ));
                    None
                }
            };
            self.0.insert(key.clone(), attend(Arc::clone(node), key, listener.socket, opened));
        }
        for complaint in &complaints {
            notice(Severity::Critical, complaint);
        }
        complaints
    }

    /// Closes sockets, and returns when they are closed; says whether there was one.
    async fn close(&mut self, which: impl Fn(&Key) -> bool) -> bool {
        let keys: Vec<Key> = self.0.keys().filter(|key| which(key)).cloned().collect();
        let gone: Vec<Attended> = keys.iter().filter_map(|key| self.0.remove(key)).collect();
        let tasks: Vec<JoinHandle<()>> = gone
            .into_iter()
            .map(|attended| {
                // A task that has ended already has nobody to tell.
                let _ended = attended.close.send(());
                attended.task
            })
            .collect();
        let any = !tasks.is_empty();
        for task in tasks {
            drop(task.await);
        }
        any
    }

    /// Closes all sockets: the node stops.
    pub(crate) async fn close_all(&mut self) {
        self.close(|_| true).await;
    }
}

/// Opens a socket whose address was in use by one that has just been closed.
async fn freed(endpoint: &Endpoint, options: &SocketOptions) -> io::Result<Listening> {
    let (tries, pause) = FREED;
    let mut opened = Listening::open(endpoint, options);
    for _ in 0..tries {
        if !opened.as_ref().is_err_and(|error| error.kind() == io::ErrorKind::AddrInUse) {
            break;
        }
        tokio::time::sleep(pause).await;
        opened = Listening::open(endpoint, options);
    }
    opened
}

fn shown(key: &Key) -> String {
    format!("{} {}", key.0.scope(), key.1)
}

/// Starts the task of one socket.
fn attend(node: Arc<Node>, key: Key, options: SocketOptions, opened: Option<Arc<Listening>>) -> Attended {
    let slot: Slot = Arc::new(Mutex::new(opened));
    let (close, closed) = oneshot::channel();
    let task = tokio::spawn(serve(node, key, options, Arc::clone(&slot), closed));
    Attended { options, slot, close, task }
}

async fn serve(node: Arc<Node>, key: Key, options: SocketOptions, slot: Slot, closed: oneshot::Receiver<()>) {
    let mut closing = std::pin::pin!(async { drop(closed.await) });
    while open_in(&slot).is_none() {
        tokio::select! {
            () = tokio::time::sleep(BIND_INTERVAL) => {}
            () = &mut closing => return,
        }
        if let Ok(opened) = Listening::open(&key.1, &options) {
            notice(Severity::Notice, format_args!("{}: listening at last", shown(&key)));
            *slot.lock().unwrap_or_else(PoisonError::into_inner) = Some(Arc::new(opened));
        }
    }
    // The slot gives its share of the socket up, so that the socket is closed when this task ends.
    let Some(listening) = open_in(&slot) else { return };
    drop(slot);
    let (service, endpoint) = key;
    match service {
        Service::Smtp => edge::listen(node, &listening, endpoint, closing).await,
        Service::Control => control::listen(node, &listening, endpoint, closing).await,
        Service::Metrics => crate::metrics::listen(node, &listening, endpoint, closing).await,
        Service::Cluster => crate::cluster_listener::listen(node, &listening, endpoint, closing).await,
    }
}
