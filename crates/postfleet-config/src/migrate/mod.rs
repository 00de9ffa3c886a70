//! Writing a file anew in the 4.x form.

mod boot;
mod bus;
mod lines;
mod print;

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::format;
use alloc::string::{String, ToString as _};
use alloc::vec::Vec;

use crate::config::Config;
use crate::diagnostic::{Diagnostic, Findings, Severity};
use crate::files::{self, FileKind, Files, LoadRequest};
use crate::legacy::{Legacy, Place, Translated};
use crate::lexer;
use crate::loader::{self, Loaded};
use crate::source::{Position, SourceId, Sources, Span};

/// A file in the 4.x form, or why there is none.
#[derive(Clone, Debug)]
pub struct Migrated {
    /// The path as given.
    pub path: String,
    /// The new text; `None` when the file has errors.
    pub text: Option<String>,
    /// What means something else than before, or is gone; also in the text, as comments.
    pub notes: Vec<(Position, String)>,
    /// The errors of the file, and the warnings that are about more than its form.
    pub diagnostics: Vec<Diagnostic>,
    /// Files that it includes, that are of the 2.x form and that were not among those given.
    pub left: Vec<String>,
    /// It is read because its directory is included as a whole; so would be a copy beside it.
    pub of_directory: bool,
}

/// Writes files anew in the 4.x form, each by itself: what they include stays where it is.
///
/// A file that another of them includes is read as standing where it is included. `mbus.conf` and
/// `eccluster-client.conf` of the old bus and manager are known by their content.
#[must_use]
pub fn migrate(files: &dyn Files, request: &LoadRequest, paths: &[String], comments: bool) -> Vec<Migrated> {
    let mut done: BTreeMap<&str, Migrated> = BTreeMap::new();
    let mut rest: Vec<&str> = Vec::new();
    for path in paths {
        match other_form(files, request, path, comments) {
            Some(migrated) => {
                done.insert(path, migrated);
            }
            None if !rest.contains(&path.as_str()) => rest.push(path),
            None => {}
        }
    }
    for migrated in configuration(files, request, &rest, comments) {
        if let Some(path) = rest.iter().find(|path| **path == migrated.path) {
            done.insert(path, migrated);
        }
    }
    paths.iter().filter_map(|path| done.remove(path.as_str())).collect()
}

fn absolute(request: &LoadRequest, path: &str) -> String {
    files::absolute(&request.working_directory, path)
}

/// A file that is not of the configuration language at all.
fn other_form(files: &dyn Files, request: &LoadRequest, path: &str, comments: bool) -> Option<Migrated> {
    let full = absolute(request, path);
    if files.kind(&full) != Ok(FileKind::File) {
        return None;
    }
    let bytes = files.read(&full).ok()?;
    let (text, _) = crate::source::decode(&bytes);
    let converted = if bus::is_bus_file(&text) {
        bus::migrate(&text, comments)
    } else if boot::is_client_file(&text) {
        boot::migrate(&text, comments)
    } else {
        return None;
    };
    let file: alloc::sync::Arc<str> = files.canonical(&full).into();
    let notes = converted.notes.into_iter();
    Some(Migrated {
        path: path.to_string(),
        text: Some(converted.text),
        notes: notes.map(|(line, text)| (Position { file: file.clone(), line, column: 1 }, text)).collect(),
        diagnostics: Vec::new(),
        left: Vec::new(),
        of_directory: false,
    })
}

/// A text of another form, turned.
struct Converted {
    text: String,
    /// By line.
    notes: Vec<(u32, String)>,
}

fn configuration(files: &dyn Files, request: &LoadRequest, paths: &[&str], comments: bool) -> Vec<Migrated> {
    let search = loader::search(files, request);
    let full: Vec<String> = paths.iter().map(|path| absolute(request, path)).collect();
    // Files that others of them include are read where they are included.
    let mut inner: BTreeSet<String> = BTreeSet::new();
    for path in &full {
        let mut sources = Sources::default();
        let mut ignored = Findings::default();
        let _read = loader::read(files, &search, &[path], &mut sources, &mut ignored);
        inner.extend(sources.iter().skip(1).map(|source| source.path().to_string()));
    }
    let mains: Vec<&str> =
        full.iter().map(String::as_str).filter(|path| !inner.contains(&files.canonical(path))).collect();
    // Files that include each other have no outermost one.
    let mains = if mains.is_empty() { full.iter().map(String::as_str).collect() } else { mains };
    let mut sources = Sources::default();
    let mut findings = Findings::default();
    let read = loader::read(files, &search, &mains, &mut sources, &mut findings);
    let closers = read.closers.clone();
    let places = read.places.clone();
    let of_directories: BTreeSet<String> = read
        .of_directories
        .iter()
        .filter_map(|id| sources.source(*id).map(|source| source.path().to_string()))
        .collect();
    let (loaded, mut translated) = read.translate(Legacy::Accept, true, &mut findings);
    let diagnostics = findings.finish(&sources);
    let given: BTreeSet<String> = full.iter().map(|path| files.canonical(path)).collect();
    let mut outcome = Vec::new();
    for (path, full) in paths.iter().zip(&full) {
        let canonical = files.canonical(full);
        let id = source_of(&sources, &canonical);
        let about = |diagnostic: &Diagnostic| match &diagnostic.position {
            Some(at) => *at.file == *canonical,
            None => diagnostic.token == *full,
        };
        let mut found: Vec<Diagnostic> =
            diagnostics.iter().filter(|diagnostic| about(diagnostic)).cloned().collect();
        for diagnostic in &mut found {
            // What cannot be found here may well be there where the file is used.
            if diagnostic.position.is_some() && (5000..6000).contains(&diagnostic.code.0) {
                diagnostic.severity = Severity::Warning;
            }
        }
        found.retain(|diagnostic| diagnostic.is_error() || diagnostic.code.0 != 3009);
        let wrong = found.iter().any(Diagnostic::is_error);
        let (Some(id), false) = (id, wrong) else {
            outcome.push(Migrated {
                path: (*path).to_string(),
                text: None,
                notes: Vec::new(),
                diagnostics: found,
                left: Vec::new(),
                of_directory: false,
            });
            continue;
        };
        let rest = translated.remove(&id).unwrap_or_default();
        let place = places.get(&id).cloned().unwrap_or_else(Place::global);
        let text = write(&sources, id, &loaded, &closers, &place, &rest, comments);
        let left = left_behind(&sources, id, &loaded, &translated, &given);
        let notes =
            rest.notes.iter().filter_map(|(span, text)| Some((sources.position(*span)?, text.clone())));
        outcome.push(Migrated {
            path: (*path).to_string(),
            text: Some(text),
            notes: notes.collect(),
            diagnostics: found,
            left,
            of_directory: of_directories.contains(&canonical),
        });
    }
    outcome
}

fn source_of(sources: &Sources, canonical: &str) -> Option<SourceId> {
    sources.iter().position(|source| source.path() == canonical).map(|at| SourceId(crate::source::narrow(at)))
}

/// The included files that stay in the 2.x form.
fn left_behind(
    sources: &Sources,
    id: SourceId,
    loaded: &Loaded,
    translated: &BTreeMap<SourceId, Translated>,
    given: &BTreeSet<String>,
) -> Vec<String> {
    let mut left: Vec<String> = Vec::new();
    for (span, included) in &loaded.included {
        if span.source != id {
            continue;
        }
        for source in included {
            let old = translated.get(source).is_some_and(|rest| rest.constructs > 0);
            let path = sources.source(*source).map(|source| source.path().to_string());
            left.extend(path.filter(|path| old && !given.contains(path) && !left.contains(path)));
        }
    }
    left
}

fn write(
    sources: &Sources,
    id: SourceId,
    loaded: &Loaded,
    closers: &BTreeMap<Span, Span>,
    place: &Place,
    rest: &Translated,
    comments: bool,
) -> String {
    let items = loaded.items.get(&id).map_or(&[][..], Vec::as_slice);
    let text = sources.source(id).map_or("", |source| source.text());
    let mut remarks = Vec::new();
    if comments {
        let mut ignored = Findings::default();
        let tokens = lexer::lex(id, text, &[], &mut ignored);
        for comment in tokens.comments {
            remarks.push(lines::Remark {
                at: comment.span.start,
                text: comment_text(sources.text(comment.span)),
                after: comment.after.filter(|_| comment.last_on_line),
            });
        }
        for (span, note) in &rest.notes {
            let text = format!("# note: {}", note.replace(['\n', '\r'], " "));
            remarks.push(lines::Remark { at: span.start, text, after: None });
        }
        remarks.sort_by_key(|remark| remark.at);
    }
    let positions: Vec<u32> = remarks.iter().map(|remark| remark.at).collect();
    let place = if place.caches { Place::global() } else { place.clone() };
    let lines = print::lines(items, &place, closers, &positions);
    lines::join(lines, remarks, text)
}

/// A comment as it is written again: what was no UTF-8 has been replaced, and line ends are LF.
fn comment_text(text: &str) -> String {
    text.replace("\r\n", "\n").trim_end().to_string()
}

/// Migrates arbitrary bytes, as a whole file and as one that is included inside a module stanza. It must not panic,
/// whatever the bytes; a file that loads must load to the same tree when it has been migrated or formatted, and
/// doing so again must change nothing.
///
/// # Panics
/// When one of these promises is broken.
pub fn fuzz_migrate(bytes: &[u8]) {
    const MAIN: &str = "/etc/t/ecelerity.conf";
    const PART: &str = "/etc/t/part.conf";
    let request = LoadRequest { main: Some(MAIN.to_string()), ..LoadRequest::default() };
    let alone = |text: &[u8]| files::MemoryFiles::new().with(MAIN, text);
    let new = |text: &[u8], comments| {
        migrate(&alone(text), &request, &[MAIN.to_string()], comments).into_iter().next().and_then(|m| m.text)
    };
    let tree = |text: &[u8]| Config::load(&alone(text), &request).config;
    let old = tree(bytes);
    for comments in [true, false] {
        let Some(text) = new(bytes, comments) else {
            assert!(old.is_none(), "a file that loads can be migrated");
            continue;
        };
        // What is not of the configuration language is turned into it, and loads only then.
        if let Some(old) = &old {
            let migrated = tree(text.as_bytes());
            assert!(migrated.is_some_and(|migrated| same_tree(old, &migrated)), "another tree:\n{text}");
        }
        assert_eq!(new(text.as_bytes(), comments).as_deref(), Some(text.as_str()), "migrated twice");
    }
    if let Ok(text) = crate::format::format(MAIN, bytes) {
        let formatted = tree(text.as_bytes());
        assert!(
            match (&old, &formatted) {
                (Some(old), Some(formatted)) => same_tree(old, formatted),
                (None, None) => true,
                (Some(_), None) | (None, Some(_)) => false,
            },
            "another tree:\n{text}"
        );
        assert_eq!(
            crate::format::format(MAIN, text.as_bytes()).as_deref(),
            Ok(text.as_str()),
            "formatted twice"
        );
    }
    for around in [
        "Logger cluster/ec_cluster c { include part.conf }",
        "Module datasource/ds_core d { include part.conf }",
    ] {
        let files = files::MemoryFiles::new().with(MAIN, around).with(PART, bytes);
        let _ = Config::load(&files, &request);
        let _ = migrate(&files, &request, &[MAIN.to_string(), PART.to_string()], true);
    }
}

/// Whether two configurations say the same. The port of the old bus, which the migration leaves out, does not count.
fn same_tree(left: &Config, right: &Config) -> bool {
    let bones = |config: &Config| -> Vec<String> {
        config
            .tree()
            .instances()
            .map(|(id, instance)| {
                let mut text = format!("{} {:?}", config.tree().path(id), instance.applies);
                for assigned in instance.options() {
                    if assigned.row.name != "mbus_daemon" {
                        text.push_str(&format!(" {}={:?}", assigned.row.name, assigned.value));
                    }
                }
                text
            })
            .collect()
    };
    bones(left) == bones(right)
}
