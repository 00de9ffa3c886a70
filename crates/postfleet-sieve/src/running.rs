//! Scripts on the host in memory.

use alloc::collections::BTreeMap;
use alloc::format;
use alloc::string::String;
use alloc::sync::Arc;

use postfleet_policy::model::Model;
use postfleet_policy::{Fault, Outcome, Phase};

use crate::compile::Script;
use crate::library::Library;
use crate::run::{ErrorMode, Execution, Limits, Step};

/// Compiled scripts by name, whatever their phase.
#[derive(Clone, Default)]
pub(crate) struct Shelf(pub(crate) BTreeMap<String, Arc<Script>>);

impl Library for Shelf {
    fn script(&self, _: Phase, uri: &str) -> Result<Arc<Script>, Fault> {
        self.0.get(uri).cloned().ok_or_else(|| Fault::new(format!("no script '{uri}'")))
    }
}

/// Runs a script to its end, answering at once what it waits for.
pub(crate) fn run(model: &mut Model, script: &Arc<Script>, limits: Limits, shelf: &Shelf) -> Outcome {
    let library = Arc::new(shelf.clone());
    let mut execution = Execution::new(script, ErrorMode::Fail, limits).with_library(library);
    loop {
        match execution.step(model) {
            Step::Done(outcome) => return outcome,
            Step::Wait(request) => execution.resume(model.answer(request)),
        }
    }
}
