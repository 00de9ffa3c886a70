//! Fetches: what the replica wants to have point to point, one task each.

use super::Fleet;
use crate::clock;
use crate::cluster_listener::{Service, dial, read_frame};
use bytes::Bytes;
use postfleet_replica::{FetchEnd, FetchId, Serving, Transfer};
use postfleet_types::{Monotonic, PrivateName};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::io::AsyncWriteExt;
use tokio::task::AbortHandle;
use tokio::time::timeout;

/// How long an origin may be silent; it says every second that it is alive. The replica gives up a little earlier,
/// this is for a connection whose end nobody told.
const SILENCE: Duration = Duration::from_secs(15);

/// The tasks that run.
#[derive(Default)]
pub(super) struct Transfers(Mutex<BTreeMap<FetchId, AbortHandle>>);

impl Transfers {
    fn with<T>(&self, act: impl FnOnce(&mut BTreeMap<FetchId, AbortHandle>) -> T) -> T {
        act(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Fleet {
    /// Starts and ends fetches as the replica wants it.
    pub(super) fn transfer(self: &Arc<Self>, now: Monotonic) {
        loop {
            let transfer = self.locked().poll_transfer(now);
            match transfer {
                Some(Transfer::Open { fetch, from, request }) => {
                    let fleet = Arc::clone(self);
                    // Held, so that the task cannot end before it is noted.
                    self.transfers.with(|running| {
                        let task = tokio::spawn(async move { fleet.fetch(fetch, from, request).await });
                        running.insert(fetch, task.abort_handle());
                    });
                }
                Some(Transfer::Close { fetch }) => {
                    if let Some(task) = self.transfers.with(|running| running.remove(&fetch)) {
                        task.abort();
                    }
                }
                None => return,
            }
        }
    }

    async fn fetch(self: Arc<Self>, fetch: FetchId, from: PrivateName, request: Bytes) {
        let end = match self.run_fetch(fetch, &from, &request).await {
            Ok(()) => FetchEnd::Broken,
            Err(why) => FetchEnd::Unreachable(why),
        };
        self.transfers.with(|running| running.remove(&fetch));
        self.locked().fetch_ended(clock::monotonic(), fetch, end);
        self.changed.notify_one();
    }

    /// Until the connection ends; an error when there was none.
    async fn run_fetch(&self, fetch: FetchId, from: &PrivateName, request: &Bytes) -> Result<(), String> {
        let address = self
            .shared
            .borrow()
            .members
            .iter()
            .find(|shown| shown.member.info.private_name == *from)
            .map(|shown| shown.member.info.address)
            .ok_or("it is no member any more")?;
        let settings = self.settings();
        let own = (&settings.main_name, settings.info.address.ip());
        let mut channel = dial(&settings.dialing, own, from.node(), address, Service::State)
            .await
            .map_err(|error| error.to_string())?;
        if channel.write_all(request).await.is_err() || channel.flush().await.is_err() {
            return Ok(());
        }
        while let Ok(Ok(frame)) = timeout(SILENCE, read_frame(&mut channel)).await {
            self.locked().fetched(clock::monotonic(), fetch, &frame);
            self.changed.notify_one();
            // Taking a frame is work; others on this thread, the bus first, get their turn between two.
            tokio::task::yield_now().await;
        }
        Ok(())
    }

    /// Takes the request of a member that fetches from this node.
    pub(crate) fn serve(&self, now: Monotonic, request: &[u8]) -> Result<Serving, Bytes> {
        self.locked().serve(now, request)
    }
}
