//! Saving what was changed at run time into the files it belongs to.
//!
//! Nothing is written that does not say the same when it is read again: the new texts are loaded before they are
//! written, and compared with what is running.

mod frozen;
mod layout;
mod plan;
mod splice;

use alloc::collections::BTreeMap;
use alloc::format;
use alloc::string::{String, ToString as _};
use alloc::vec::Vec;

use self::frozen::Frozen;
use self::plan::{LocalFile, Plan, Planner, heading};
use self::splice::{NewItem, Offsets, Splice, spliced};
use super::change::Change;
use super::edit::{self, Depth, Edit};
use super::refusal::Refusal;
use super::reply::Reply;
use super::running::Running;
use super::shown;
use crate::config::Config;
use crate::files::{self, FileKind, Files, LoadRequest};
use crate::secret::{Secret, Secrets};
use crate::source;
use crate::tree::InstanceId;
use crate::value::Value;

/// A file to be replaced as a whole.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Replacement {
    /// The path, links resolved.
    pub path: String,
    /// What it is to hold.
    pub content: Vec<u8>,
}

/// What a write-back does. Replace the files, all or none, and then call [`Running::saved`].
#[derive(Clone, Debug)]
pub struct WriteBack {
    /// The files to be replaced; none when there is nowhere to write.
    pub replacements: Vec<Replacement>,
    settled: Option<(Config, Vec<Edit>)>,
    /// The `Local_Changes_File` that nothing reads yet.
    unread: Option<Replacement>,
    reply: Reply,
}

impl Running {
    /// Works out what `config writeback` is to write. It reads the files that it would change, and writes nothing.
    ///
    /// `request` is what the process loads its configuration with. With a path, all changes go into that file, and
    /// still count as unsaved: nothing reads it.
    ///
    /// # Errors
    /// [`Refusal::NotWritten`] when a file has changed since it was loaded, or would not say what is running.
    pub fn write_back(
        &self,
        disk: &dyn Files,
        request: &LoadRequest,
        path: Option<&str>,
    ) -> Result<WriteBack, Refusal> {
        if self.edits().is_empty() {
            let reply = Reply::lines(alloc::vec!["No unsaved changes.".to_string()]);
            return Ok(WriteBack { replacements: Vec::new(), settled: None, unread: None, reply });
        }
        match path {
            Some(path) => self.changes_to(disk, &files::absolute(&request.working_directory, path)),
            None => self.changes_in_place(disk, request),
        }
    }

    /// The files have been replaced.
    pub fn saved(&mut self, done: WriteBack) -> Reply {
        if let Some((files, left)) = done.settled {
            self.settle(files, left);
        }
        if done.unread.is_some() {
            self.unread_local = done.unread;
        }
        done.reply
    }

    /// The current configuration as one text, includes flattened.
    #[must_use]
    pub fn text(&self) -> String {
        let mut text = super::display::whole(self.configured()).join("\n");
        text.push('\n');
        text
    }

    fn changes_to(&self, disk: &dyn Files, path: &str) -> Result<WriteBack, Refusal> {
        let canonical = disk.canonical(path);
        if self.files().sources().iter().any(|source| source.path() == canonical) {
            return Err(Refusal::NotWritten(format!(
                "{path} is part of the configuration; leave the path out to write changes where they belong"
            )));
        }
        let (items, unsaid) =
            as_items(self.edits().iter().map(|edit| (edit, "a file cannot say that")), Secrets::Shown);
        let text = NewItem::lines(&items, "", "\n");
        let mut lines = alloc::vec![format!("Configuration written to {path}.")];
        if !unsaid.is_empty() {
            lines.push("Warning: not all changes could be saved.".to_string());
            lines.extend(unsaid);
        }
        Ok(WriteBack {
            replacements: alloc::vec![Replacement { path: canonical, content: text.into_bytes() }],
            settled: None,
            unread: None,
            reply: Reply::lines(lines),
        })
    }

    fn changes_in_place(&self, disk: &dyn Files, request: &LoadRequest) -> Result<WriteBack, Refusal> {
        let files = self.files();
        let only_local = global_value(self.configured(), "Local_Changes_Only") == Some(Value::Bool(true));
        let (local, local_path) = self.local_file(disk, only_local);
        let unnamed = local == LocalFile::Unnamed;
        let plan = Planner::new(files, local, only_local).run(self.edits());
        let mut changed = self.splices(disk, &plan)?;
        let local_text = match local_path.filter(|_| !plan.local.is_empty()) {
            Some(path) => Some(self.local_text(disk, &path, &plan)?),
            None => None,
        };
        let unread = local_text.clone().filter(|_| unnamed);
        changed.extend(local_text.into_iter().filter(|_| !unnamed).map(|file| (file.path, file.content)));
        let left: Vec<Edit> =
            self.edits().iter().filter(|edit| !plan.saved.contains(edit)).cloned().collect();
        let mut lines = Vec::new();
        let mut settled = None;
        if !changed.is_empty() {
            let loaded = self.read_again(disk, request, &changed)?;
            let expected = edit::apply(files, &plan.saved, Depth::Each).config;
            let change = Change::between(&expected, &loaded, Vec::new());
            if let Some(first) = change.differences.first() {
                let what = first.option.unwrap_or("the stanza");
                return Err(Refusal::NotWritten(format!(
                    "Nothing was written: read again, {}{what} would not be what it is now; \
                     write config FILE saves everything",
                    first.path
                )));
            }
            settled = Some((loaded, left));
        }
        let paths: Vec<&str> =
            changed.keys().map(String::as_str).chain(unread.iter().map(|file| file.path.as_str())).collect();
        if !paths.is_empty() {
            lines.push(format!("Configuration written to {}.", paths.join(", ")));
        }
        if let Some(file) = &unread {
            lines.push(format!(
                "Warning: nothing reads {}; put Local_Changes_File = {} into {}, or a reload loses {} change(s).",
                file.path,
                shown::quoted(&file.path),
                files.main_file(),
                plan.unread
            ));
        }
        if !plan.left.is_empty() {
            lines.push("Warning: not all changes could be saved.".to_string());
            let (items, unsaid) =
                as_items(plan.left.iter().map(|(edit, why)| (edit, why.as_str())), Secrets::Hidden);
            lines.extend(NewItem::lines(&items, "", "\n").lines().map(String::from));
            lines.extend(unsaid);
        }
        let mut replacements: Vec<Replacement> =
            changed.into_iter().map(|(path, content)| Replacement { path, content }).collect();
        replacements.extend(unread.clone());
        Ok(WriteBack { replacements, settled, unread, reply: Reply::lines(lines) })
    }

    /// `Local_Changes_File` of the files, or the one that this write-back puts into them.
    fn local_file(&self, disk: &dyn Files, only_local: bool) -> (LocalFile, Option<String>) {
        let Some(Value::Text(path)) = global_value(self.configured(), "Local_Changes_File") else {
            return (LocalFile::Unset, None);
        };
        if path.is_empty() {
            return (LocalFile::Unset, None);
        }
        let directory = files::directory(self.files().main_file());
        let canonical = disk.canonical(&files::absolute(directory, &path));
        let sources = self.files().sources();
        match sources.ids().find(|id| sources.source(*id).is_some_and(|source| source.path() == canonical)) {
            Some(id) => (LocalFile::Loaded(id), Some(canonical)),
            None if global_value(self.files(), "Local_Changes_File").is_none()
                && !self.can_name_local(only_local) =>
            {
                (LocalFile::Unnamed, Some(canonical))
            }
            None => (LocalFile::New, Some(canonical)),
        }
    }

    /// Whether the name of a `Local_Changes_File` that was given at a console finds a place in a file that is read.
    fn can_name_local(&self, only_local: bool) -> bool {
        let names: Vec<Edit> = self
            .edits()
            .iter()
            .filter(|edit| {
                edit.place().is_global() && edit.row().is_some_and(|row| row.name == "Local_Changes_File")
            })
            .cloned()
            .collect();
        Planner::new(self.files(), LocalFile::Unset, only_local).run(&names).left.is_empty()
    }

    /// The new contents of the files of the configuration, by path. Every one must be as it was when it was loaded.
    fn splices(&self, disk: &dyn Files, plan: &Plan) -> Result<BTreeMap<String, Vec<u8>>, Refusal> {
        let mut changed = BTreeMap::new();
        let stale = |path: &str| {
            Refusal::NotWritten(format!("{path} has changed on disk since it was loaded; reload first"))
        };
        for (id, splices) in &plan.splices {
            let Some(source) = self.files().sources().source(*id) else { continue };
            let path = source.path();
            let bytes = disk.read(path).map_err(|_| stale(path))?;
            if source::decode(&bytes).0 != source.text() {
                return Err(stale(path));
            }
            let offsets = Offsets::of(&bytes);
            let raw = |splice: &Splice| Splice {
                start: offsets.raw(splice.start),
                end: offsets.raw(splice.end),
                text: splice.text.clone(),
            };
            changed.insert(path.to_string(), spliced(&bytes, splices.iter().map(raw).collect()));
        }
        Ok(changed)
    }

    /// A `Local_Changes_File` that is not part of the configuration yet, with the changes that belong there.
    fn local_text(&self, disk: &dyn Files, path: &str, plan: &Plan) -> Result<Replacement, Refusal> {
        let ours = self
            .unread_local
            .as_ref()
            .filter(|ours| ours.path == path && disk.read(path).is_ok_and(|content| content == ours.content));
        let mut text = match disk.kind(path) {
            // What was written there last is among the changes still.
            _ if ours.is_some() => String::new(),
            Ok(FileKind::Missing) => String::new(),
            Ok(FileKind::File) => unread(disk, path)?,
            Ok(FileKind::Directory | FileKind::Other) | Err(_) => {
                return Err(Refusal::NotWritten(format!("{path} is no file that can be written")));
            }
        };
        text.push_str(&NewItem::lines(&plan.local, "", "\n"));
        Ok(Replacement { path: path.to_string(), content: text.into_bytes() })
    }

    fn read_again(
        &self,
        disk: &dyn Files,
        request: &LoadRequest,
        changed: &BTreeMap<String, Vec<u8>>,
    ) -> Result<Config, Refusal> {
        let frozen = Frozen::new(disk, self.files(), changed);
        let request = LoadRequest {
            main: Some(self.files().main_file().to_string()),
            role: Some(self.files().role()),
            ..request.clone()
        };
        let outcome = Config::load(&frozen, &request);
        let report = outcome.report();
        outcome.config.ok_or_else(|| {
            let first = report.lines().take(2).collect::<Vec<_>>().join("\n");
            Refusal::NotWritten(format!("Nothing was written: the files could not be read again.\n{first}"))
        })
    }
}

/// The text of a `Local_Changes_File` that exists and is not part of the configuration: comments at most, because what else
/// it says would come into force with the next reload.
fn unread(disk: &dyn Files, path: &str) -> Result<String, Refusal> {
    let refused = |why: &str| Refusal::NotWritten(format!("{path} {why}"));
    let bytes = disk.read(path).map_err(|_| refused("cannot be read"))?;
    let (items, findings) = crate::parse(path, &bytes);
    if !items.is_empty() || !findings.is_empty() {
        return Err(refused(
            "exists and is not part of the running configuration; empty it, name another file, or reload",
        ));
    }
    let mut text = source::decode(&bytes).0;
    if !text.is_empty() && !text.ends_with('\n') {
        text.push('\n');
    }
    Ok(text)
}

fn global_value(config: &Config, name: &str) -> Option<Value> {
    config.tree().instance(InstanceId::GLOBAL)?.assigned(name).map(|assigned| assigned.value.clone())
}

/// Values to be set as items of a file, and what no file can say as comments with the reason.
fn as_items<'a>(
    edits: impl Iterator<Item = (&'a Edit, &'a str)>,
    secrets: Secrets,
) -> (Vec<NewItem>, Vec<String>) {
    let (mut items, mut comments) = (Vec::new(), Vec::new());
    for (edit, why) in edits {
        match edit {
            Edit::Set(set) => {
                let headings: Vec<String> = set.place.steps().iter().map(heading).collect();
                let value = match secrets {
                    Secrets::Shown => set.value.one_line(),
                    Secrets::Hidden => Secret::of(set.row.name).written(&set.value).one_line(),
                };
                NewItem::add(&mut items, &headings, &format!("{} = {value}", set.row.name));
            }
            Edit::Unset(..) | Edit::Remove(..) => comments.push(format!("# {}: {why}", edit.line())),
        }
    }
    (items, comments)
}
