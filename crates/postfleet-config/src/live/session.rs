//! One console session: its transaction, and what its commands do.

use alloc::boxed::Box;
use alloc::string::{String, ToString as _};
use alloc::sync::Arc;
use alloc::vec::Vec;

use super::command::{Assignment, Command, Verb, hides};
use super::display;
use super::edit::{self, Changed, Depth, Edit};
use super::effect;
use super::place::Place;
use super::refusal::Refusal;
use super::reply::{Data, EditData, Reply};
use super::running::{Generation, Proposal, Running};
use super::shown;
use crate::config::Config;
use crate::diagnostic::Diagnostic;
use crate::schema::Row;

/// What is left to do for a command.
#[derive(Clone, Debug)]
pub enum Step {
    /// Nothing: this is the answer.
    Done(Box<Reply>),
    /// The configuration is to change: prepare and activate the proposal, call [`Session::activated`], and answer.
    Activate(Box<Activation>),
}

/// A change of the configuration that a command asks for.
#[derive(Clone, Debug)]
pub struct Activation {
    /// What is to be activated.
    pub proposal: Proposal,
    /// The answer when that is done.
    pub reply: Reply,
    /// The command was `config commit`; otherwise one `set` or `unset` by itself.
    pub commit: bool,
}

#[derive(Clone, Debug)]
struct Transaction {
    base: Generation,
    /// The changes of the running configuration, then those of the transaction.
    edits: Vec<Edit>,
    /// Those of the transaction. Another session may write the others back meanwhile.
    own: Vec<Edit>,
    /// What was typed since it began.
    lines: Vec<Arc<str>>,
    /// The configuration with the changes so far.
    view: Arc<Config>,
    from_scratch: bool,
}

/// What one console knows beyond the running configuration. A session that ends takes its transaction along.
#[derive(Clone, Debug, Default)]
pub struct Session {
    transaction: Option<Transaction>,
}

impl Session {
    /// Whether a transaction is open.
    #[must_use]
    pub const fn in_transaction(&self) -> bool {
        self.transaction.is_some()
    }

    /// Carries a command out as far as the configuration alone goes.
    ///
    /// # Errors
    /// [`Refusal`]; nothing has changed then, and an open transaction stays as it was.
    pub fn perform(&mut self, command: &Command, running: &Running) -> Result<Step, Refusal> {
        let view = self.view(running);
        let reply = match &command.0 {
            Verb::Get(place, row) => display::get(&view, place, row)?,
            Verb::Eval(place, row) => display::eval(&self.effective(running), place, row),
            Verb::Where(place, row) => display::origin(&self.effective(running), &view, place, row),
            Verb::Show(place) => display::show(&view, place)?,
            Verb::ShowRecurse(place) => display::show_recurse(&view, place)?,
            Verb::Locate { scope, pattern } => display::locate(&view, scope, pattern.as_deref())?,
            Verb::WriteConfig { path: None } => Reply::lines(display::whole(running.configured())),
            Verb::Begin { from_scratch } => self.begin(*from_scratch, running)?,
            Verb::Rollback => {
                self.transaction.take().ok_or(Refusal::NoTransaction)?;
                Reply::silent()
            }
            Verb::Replay => {
                let open = self.transaction.as_ref().ok_or(Refusal::NoTransaction)?;
                Reply::lines(open.lines.iter().map(|line| line.to_string()).collect())
            }
            Verb::Diff => self.diff(running),
            Verb::Digest => display::digest(running.in_effect())?,
            Verb::Commit => return self.commit(running),
            Verb::Set(assignment) => return self.set(assignment, running),
            Verb::Unset(place, row, line) => return self.unset(place, row, line, running),
            Verb::Remove(place, line) => return self.remove(place, line, running),
            Verb::Reload { .. } | Verb::WriteBack { .. } | Verb::WriteConfig { path: Some(_) } => {
                return Err(Refusal::Usage("The process carries this command out, not the session.".into()));
            }
        };
        Ok(Step::Done(Box::new(reply)))
    }

    /// The activation that a command asked for has succeeded.
    pub fn activated(&mut self, commit: bool) {
        if commit {
            self.transaction = None;
        }
    }

    /// What the session sees as configured.
    fn view(&self, running: &Running) -> Arc<Config> {
        match &self.transaction {
            Some(open) => open.view.clone(),
            None => running.configured().clone(),
        }
    }

    /// What the session sees as effective.
    fn effective(&self, running: &Running) -> Arc<Config> {
        match &self.transaction {
            Some(open) => Arc::new(effect::held(&open.view, running.in_effect()).0),
            None => running.in_effect().clone(),
        }
    }

    fn begin(&mut self, from_scratch: bool, running: &Running) -> Result<Reply, Refusal> {
        if self.transaction.is_some() {
            return Err(Refusal::TransactionOpen);
        }
        let mut edits = running.edits().to_vec();
        let mut view = running.configured().clone();
        let mut own = Vec::new();
        if from_scratch {
            for edit in edit::scratch(&view, running.files()) {
                own.push(edit.clone());
                edit::add(&mut edits, edit, running.files());
            }
            view = Arc::new(edit::apply(running.files(), &edits, Depth::Each).config);
        }
        let (base, lines) = (running.generation(), Vec::new());
        self.transaction = Some(Transaction { base, edits, own, lines, view, from_scratch });
        Ok(Reply::silent())
    }

    fn set(&mut self, set: &Assignment, running: &Running) -> Result<Step, Refusal> {
        let read = |changed: &Changed| display::set(&changed.config, &set.place, set.row);
        self.change(Edit::Set(set.clone()), running, read)
    }

    fn unset(
        &mut self,
        place: &Place,
        row: &'static Row,
        line: &Arc<str>,
        running: &Running,
    ) -> Result<Step, Refusal> {
        let view = self.view(running);
        // Says what is missing, the instance or the value.
        display::get(&view, place, row)?;
        self.keeps_built_in(place, Some(row))?;
        let edit = Edit::Unset(place.clone(), row, line.clone());
        let held = running.in_effect().clone();
        self.change(edit, running, move |changed| {
            Ok(display::unset(&effect::held(&changed.config, &held).0, place, row))
        })
    }

    fn remove(&mut self, place: &Place, line: &Arc<str>, running: &Running) -> Result<Step, Refusal> {
        let view = self.view(running);
        let instance = place.find(view.tree()).and_then(|id| view.tree().instance(id));
        let Some(instance) = instance else { return Err(Refusal::NoSuchScope(place.path(view.tree()))) };
        self.keeps_built_in(place, None)?;
        let heading = shown::heading(crate::tree::display_name(instance.scope), instance.name.as_deref());
        let edit = Edit::Remove(place.clone(), line.clone());
        self.change(edit, running, |changed| {
            let always = place.find(changed.config.tree()).is_some();
            let done = if always { "has its defaults again." } else { "has been unset." };
            Ok(Reply::lines(alloc::vec![alloc::format!("{heading} {done}")]))
        })
    }

    /// What a transaction from scratch begins with cannot be taken away in it.
    fn keeps_built_in(&self, place: &Place, row: Option<&'static Row>) -> Result<(), Refusal> {
        if !self.transaction.as_ref().is_some_and(|open| open.from_scratch) {
            return Ok(());
        }
        let format = row.filter(|row| place.is_global() && row.name == "TimestampFormat");
        let stanza = place.steps().first().filter(|step| {
            edit::is_built_in(step.row.scope, step.name.as_ref().map(|name| name.text.as_str()))
        });
        match (format, stanza, row) {
            (Some(row), ..) | (_, Some(_), Some(row)) => Err(Refusal::BuiltIn(row.name)),
            (None, Some(step), None) => Err(Refusal::BuiltIn(step.row.name)),
            (None, None, _) => Ok(()),
        }
    }

    /// Makes a change in the open transaction, or as a transaction of its own.
    fn change(
        &mut self,
        edit: Edit,
        running: &Running,
        answer: impl FnOnce(&Changed) -> Result<Reply, Refusal>,
    ) -> Result<Step, Refusal> {
        let files = running.files();
        let depth = if self.transaction.is_some() { Depth::Each } else { Depth::Together };
        let mut edits = match &self.transaction {
            Some(open) => open.edits.clone(),
            None => running.edits().to_vec(),
        };
        let before = self.view(running);
        let line: Arc<str> = edit.line().into();
        edit::add(&mut edits, edit.clone(), files);
        let changed = edit::apply(files, &edits, depth);
        if changed.has_errors() {
            return Err(refusal(&edit, &changed));
        }
        let mut reply = answer(&changed)?;
        let Some(open) = &mut self.transaction else {
            let warnings = changed.new_warnings(&before);
            prepend(&mut reply, &warnings);
            let proposal = running.propose(files.clone(), edits, changed.config);
            let waits = |found: &&super::RestartOnly| !running.waits_for_restart(found);
            if let Some(found) = proposal.change().restart_only.iter().find(waits) {
                return Err(Refusal::NotDynamic(found.name));
            }
            return Ok(Step::Activate(Box::new(Activation { proposal, reply, commit: false })));
        };
        open.edits = edits;
        open.own.push(edit);
        open.lines.push(line);
        open.view = Arc::new(changed.config);
        Ok(Step::Done(Box::new(reply)))
    }

    fn commit(&self, running: &Running) -> Result<Step, Refusal> {
        let open = self.transaction.as_ref().ok_or(Refusal::NoTransaction)?;
        if open.base != running.generation() {
            return Err(Refusal::Conflict);
        }
        let mut edits = running.edits().to_vec();
        for edit in &open.own {
            edit::add(&mut edits, edit.clone(), running.files());
        }
        let changed = edit::apply(running.files(), &edits, Depth::Together);
        if changed.has_errors() {
            return Err(changed.report());
        }
        let mut warnings = changed.new_warnings(running.configured());
        let proposal = running.propose(running.files().clone(), edits, changed.config);
        let restart = proposal.change().restart_only.iter();
        warnings.extend(
            restart.filter(|found| !running.waits_for_restart(found)).map(super::RestartOnly::warning),
        );
        let mut reply = Reply::silent();
        prepend(&mut reply, &warnings);
        Ok(Step::Activate(Box::new(Activation { proposal, reply, commit: true })))
    }

    fn diff(&self, running: &Running) -> Reply {
        let edits: Vec<&Edit> = match &self.transaction {
            // What the transaction adds to what is running.
            Some(open) => open.edits.iter().filter(|edit| !running.edits().contains(edit)).collect(),
            None => running.edits().iter().collect(),
        };
        let data = |edit: &&Edit| EditData {
            command: edit.shown(),
            scope: edit.place().names(),
            option: edit.row().map(|row| row.name),
        };
        Reply {
            lines: edits.iter().map(|edit| edit.shown()).collect(),
            data: Data::Edits(edits.iter().map(data).collect()),
        }
    }
}

fn prepend(reply: &mut Reply, warnings: &[Diagnostic]) {
    let mut lines: Vec<String> = warnings
        .iter()
        .flat_map(|warning| warning.to_string().lines().map(String::from).collect::<Vec<_>>())
        .collect();
    lines.append(&mut reply.lines);
    reply.lines = lines;
}

/// Why the change cannot be made: in one sentence when it is about the value typed.
fn refusal(edit: &Edit, changed: &Changed) -> Refusal {
    let Edit::Set(set) = edit else { return changed.report() };
    let mut errors = changed.findings.iter().filter(|found| found.is_error());
    match (errors.next(), errors.next()) {
        (Some(error), None)
            if error.code.0 / 1000 == 4
                && error.position.as_ref().is_some_and(|at| &*at.file == "console") =>
        {
            let reason = match &error.expected {
                Some(expected) => alloc::format!("expected {expected}"),
                None => error.message.clone(),
            };
            let value = match hides(set.row) {
                true => "***".to_string(),
                false => crate::value::clip(set.value.one_line().trim_matches('"')),
            };
            Refusal::InvalidValue { value, option: set.row.name, reason }
        }
        _ => changed.report(),
    }
}
