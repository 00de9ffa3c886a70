//! A question that is on its way: whatever becomes of it, those who wait hear of it.

use super::source::{Outcome, Source};
use postfleet_datasource::Ticket;
use postfleet_drivers::Query;
use std::sync::Arc;
use tokio::sync::watch;

/// Ends the question when it is dropped: also when a driver panics, or the job is never run.
pub(super) struct Asking {
    source: Arc<Source>,
    ticket: Option<Ticket>,
    answer: watch::Sender<Option<Outcome>>,
    outcome: Option<Outcome>,
}

impl Asking {
    pub(super) fn new(
        source: Arc<Source>,
        ticket: Option<Ticket>,
        answer: watch::Sender<Option<Outcome>>,
    ) -> Self {
        Self { source, ticket, answer, outcome: None }
    }

    /// Asks. Blocks.
    pub(super) fn ask(mut self, query: &Query) {
        let outcome = self.source.ask_places(query);
        self.outcome = Some(outcome.map(Arc::new).map_err(Arc::from));
    }
}

impl Drop for Asking {
    fn drop(&mut self) {
        let outcome = self.outcome.take().unwrap_or_else(|| Err("the driver broke off".into()));
        self.source.ended(self.ticket.take(), &outcome);
        self.answer.send_replace(Some(outcome));
    }
}
