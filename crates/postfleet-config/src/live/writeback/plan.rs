//! Which change goes where.

use alloc::collections::BTreeMap;
use alloc::format;
use alloc::string::{String, ToString as _};
use alloc::vec::Vec;

use super::layout::{Body, Given, Layout};
use super::splice::{self, NewItem, Splice};
use crate::config::Config;
use crate::live::command::Assignment;
use crate::live::edit::Edit;
use crate::live::place::{Place, Step};
use crate::live::shown;
use crate::schema::Row;
use crate::source::{SourceId, Span};
use crate::tree::InstanceId;

/// What is to be done with the texts.
#[derive(Debug, Default)]
pub(super) struct Plan {
    pub(super) splices: BTreeMap<SourceId, Vec<Splice>>,
    /// Items to be added, by text and end of the body.
    added: BTreeMap<(SourceId, u32), (Body, Vec<NewItem>)>,
    /// What `Local_Changes_File` is to begin with when it does not exist yet.
    pub(super) local: Vec<NewItem>,
    /// The changes that find a place.
    pub(super) saved: Vec<Edit>,
    /// Those that stand in `local` where nothing reads that file: they are written, and not yet saved.
    pub(super) unread: usize,
    /// Those that do not, and why.
    pub(super) left: Vec<(Edit, String)>,
}

/// The file that takes changes that have no other place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum LocalFile {
    /// None is configured.
    Unset,
    /// It was loaded.
    Loaded(SourceId),
    /// It does not exist yet.
    New,
    /// It was named at a console, and no file that is read can say so.
    Unnamed,
}

pub(super) struct Planner<'a> {
    config: &'a Config,
    layout: Layout,
    local: LocalFile,
    /// `Local_Changes_Only`
    only_local: bool,
    removed: Vec<Place>,
    /// The change at hand went where nothing reads it.
    unread: bool,
    plan: Plan,
}

impl<'a> Planner<'a> {
    pub(super) fn new(config: &'a Config, local: LocalFile, only_local: bool) -> Self {
        let layout = Layout::of(config);
        let (removed, plan) = (Vec::new(), Plan::default());
        Self { config, layout, local, only_local, removed, unread: false, plan }
    }

    pub(super) fn run(mut self, edits: &[Edit]) -> Plan {
        for edit in edits {
            // A change inside a stanza that is still to be taken out would be taken out with it.
            let waits = self
                .plan
                .left
                .iter()
                .find(|(earlier, _)| earlier.row().is_none() && earlier.place().contains(edit.place()));
            if let Some((earlier, _)) = waits {
                let why = format!("it waits for: {}", earlier.shown());
                self.plan.left.push((edit.clone(), why));
                continue;
            }
            let outcome = match edit {
                Edit::Set(set) => self.set(set),
                Edit::Unset(place, row, _) => self.unset(place, row),
                Edit::Remove(place, _) => self.remove(place),
            };
            match outcome {
                Ok(()) if core::mem::take(&mut self.unread) => self.plan.unread += 1,
                Ok(()) => self.plan.saved.push(edit.clone()),
                Err(why) => self.plan.left.push((edit.clone(), why)),
            }
        }
        for ((source, _), (body, items)) in core::mem::take(&mut self.plan.added) {
            let text = self.config.sources().source(source).map_or("", |source| source.text());
            let splice = splice::append(text, &body, &items);
            self.plan.splices.entry(source).or_default().push(splice);
        }
        self.plan
    }

    /// Whether changes may go there.
    fn writable(&self, source: SourceId) -> bool {
        (!self.only_local || self.local == LocalFile::Loaded(source))
            && self.config.sources().source(source).is_some_and(|source| !source.read_only())
    }

    fn text(&self, source: SourceId) -> &str {
        self.config.sources().source(source).map_or("", |source| source.text())
    }

    /// The instance in the files, unless it is taken out of them.
    fn find(&self, place: &Place) -> Option<InstanceId> {
        if self.removed.iter().any(|removed| removed.contains(place)) {
            return None;
        }
        let id = place.find(self.config.tree())?;
        // What is only implied stands in no file.
        self.config.tree().instance(id).filter(|instance| !instance.is_implied()).map(|_| id)
    }

    fn given(&self, id: InstanceId, row: &Row) -> Vec<Given> {
        let mine = |given: &&Given| given.instance == id && given.row.name == row.name;
        self.layout.given.iter().filter(mine).copied().collect()
    }

    fn set(&mut self, set: &Assignment) -> Result<(), String> {
        let value = set.value.one_line();
        let found = self.find(&set.place);
        let given = found.map(|id| self.given(id, set.row)).unwrap_or_default();
        if let Some((last, earlier)) = given.split_last() {
            let fixed = earlier.iter().find(|given| given.legacy || !self.writable(given.name.source));
            if set.row.name == "parameters"
                && let Some(fixed) = fixed
            {
                return Err(format!("the words at {} are added to it", self.place_of(fixed.name)));
            }
            if !last.legacy && self.writable(last.value.source) {
                if set.row.name == "parameters" {
                    for given in earlier {
                        self.cut(given.name.to(given.value));
                    }
                }
                let (start, end) = (last.value.start as usize, last.value.end as usize);
                let splices = self.plan.splices.entry(last.value.source).or_default();
                splices.push(Splice { start, end, text: value });
                return Ok(());
            }
        }
        let option = format!("{} = {value}", set.row.name);
        let steps = set.place.steps();
        // Rule 3 for an instance that is there, rule 4 for one that is new: the nearest one around it.
        let home = (0..=steps.len())
            .rev()
            .find_map(|length| Some((length, self.find(&Place::from_steps(steps.get(..length)?))?)));
        if let Some((length, id)) = home
            && let Some(body) = self.body(id)
            && !self.shadowed(&given, body.source, body.end)
        {
            self.add(body, steps.get(length..).unwrap_or_default(), &option);
            return Ok(());
        }
        self.last_resort(steps, &given, &option, home.is_some_and(|(_, id)| self.body(id).is_some()))
    }

    /// The end of the last body of the instance in the first writable file that has one.
    fn body(&self, id: InstanceId) -> Option<Body> {
        let mine = |body: &&Body| body.instance == id && self.writable(body.source) && !self.is_cut(body);
        let first = self.layout.bodies.iter().find(mine)?;
        self.layout.bodies.iter().filter(mine).rfind(|body| body.source == first.source).copied()
    }

    fn is_cut(&self, body: &Body) -> bool {
        self.removed
            .iter()
            .filter_map(|place| place.find(self.config.tree()))
            .any(|id| self.config.tree().is_inside(body.instance, id))
    }

    /// Whether a value there would lose to one that stays where it is.
    fn shadowed(&self, given: &[Given], source: SourceId, end: u32) -> bool {
        let order = |span: Span| self.config.sources().order(span);
        let here = order(Span { source, start: end, end });
        given.iter().any(|given| order(given.value) > here)
    }

    /// `Local_Changes_File`, else the main file where that is of use.
    fn last_resort(
        &mut self,
        steps: &[Step],
        given: &[Given],
        option: &str,
        shadowed: bool,
    ) -> Result<(), String> {
        match self.local {
            LocalFile::Loaded(source) if self.writable(source) => {
                let body = self.whole(source).ok_or("there is no file to write to")?;
                self.add(body, steps, option);
                return Ok(());
            }
            LocalFile::New | LocalFile::Unnamed => {
                self.unread = self.local == LocalFile::Unnamed;
                let headings: Vec<String> = steps.iter().map(heading).collect();
                NewItem::add(&mut self.plan.local, &headings, option);
                return Ok(());
            }
            LocalFile::Loaded(_) | LocalFile::Unset => {}
        }
        let main = self.layout.bodies.first().copied().filter(|body| self.writable(body.source));
        if let Some(body) = main
            && !shadowed
            && !self.shadowed(given, body.source, body.end)
        {
            self.add(body, steps, option);
            return Ok(());
        }
        match given.last() {
            Some(last) => Err(format!("the value at {} cannot be changed", self.place_of(last.name))),
            None => Err("no file of this stanza may be written".to_string()),
        }
    }

    fn whole(&self, source: SourceId) -> Option<Body> {
        self.layout.bodies.iter().find(|body| body.source == source && body.stanza.is_none()).copied()
    }

    fn add(&mut self, body: Body, inside: &[Step], option: &str) {
        let headings: Vec<String> = inside.iter().map(heading).collect();
        let (_, items) = self.plan.added.entry((body.source, body.end)).or_insert_with(|| (body, Vec::new()));
        NewItem::add(items, &headings, option);
    }

    fn unset(&mut self, place: &Place, row: &Row) -> Result<(), String> {
        let Some(id) = self.find(place) else { return Ok(()) };
        let given = self.given(id, row);
        if let Some(fixed) = given.iter().find(|given| given.legacy || !self.writable(given.name.source)) {
            return Err(format!("it stays set at {}", self.place_of(fixed.name)));
        }
        for given in given {
            self.cut(given.name.to(given.value));
        }
        Ok(())
    }

    fn remove(&mut self, place: &Place) -> Result<(), String> {
        let Some(id) = self.find(place) else { return Ok(()) };
        let stanzas: Vec<(SourceId, u32, u32)> = self
            .layout
            .bodies
            .iter()
            .filter(|body| body.instance == id)
            .filter_map(|body| body.stanza.map(|braces| (body.source, braces.start, braces.close + 1)))
            .collect();
        let legacy = self.layout.legacy.iter().find(|(other, _)| *other == id).map(|(_, span)| *span);
        let read_only = stanzas
            .iter()
            .find(|(source, ..)| !self.writable(*source))
            .map(|(source, start, end)| Span { source: *source, start: *start, end: *end });
        if let Some(fixed) = legacy.or(read_only) {
            return Err(format!("the stanza at {} cannot be taken out", self.place_of(fixed)));
        }
        for (source, start, end) in stanzas {
            self.cut(Span { source, start, end });
        }
        self.removed.push(place.clone());
        Ok(())
    }

    fn cut(&mut self, span: Span) {
        let splice = splice::remove(self.text(span.source), span.start as usize, span.end as usize);
        self.plan.splices.entry(span.source).or_default().push(splice);
    }

    fn place_of(&self, span: Span) -> String {
        match self.config.sources().position(span) {
            Some(at) => format!("{} line {}", at.file, at.line),
            None => "an unknown place".to_string(),
        }
    }
}

/// A stanza's beginning as it is written to files.
pub(super) fn heading(step: &Step) -> String {
    shown::heading(step.row.name, step.name.as_ref().map(|name| name.text.as_str()))
}
