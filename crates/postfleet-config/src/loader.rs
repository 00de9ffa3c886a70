//! Finding, reading and parsing the files of a load.

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::format;
use alloc::string::{String, ToString as _};
use alloc::vec::Vec;

use crate::diagnostic::{Finding, Findings};
use crate::files::{self, FileKind, Files, LoadRequest, Role};
use crate::legacy::raw::{Entry, Parsed, Raw, RawValue};
use crate::legacy::{self, Base, Fleetwide, Legacy, Mode, Place, Translated};
use crate::parser;
use crate::source::{self, SourceId, Sources, Span};
use crate::syntax::{Item, Word};
use crate::value;

/// How deep includes may be nested.
const DEPTH_MAX: usize = 64;
/// How many files one load may read: two files that include a third twice each double the work at every level.
const FILES_MAX: usize = 10_000;
/// How much text one load may read, includes read twice counted twice (256 MiB).
const LOAD_BYTES_MAX: usize = 256 << 20;
/// The largest file.
const FILE_BYTES_MAX: usize = 64 << 20;
const BACKUPS: [&str; 8] = ["~", ".bak", ".orig", ".rpmnew", ".rpmsave", ".dpkg-old", ".dpkg-dist", ".swp"];
const OWN_ETC: &str = "/etc/postfleet";
const VENDOR_ETC: &str = "/opt/msys/ecelerity/etc";

/// The items of every file, and which files each include stands for.
#[derive(Debug, Default)]
pub(crate) struct Loaded {
    pub(crate) roots: Vec<SourceId>,
    pub(crate) items: BTreeMap<SourceId, Vec<Item>>,
    pub(crate) included: BTreeMap<Span, Vec<SourceId>>,
}

/// Where files are looked for, and what was found as main file.
pub(crate) struct Search {
    pub(crate) directories: Vec<String>,
    pub(crate) main: Option<String>,
    pub(crate) role: Role,
    /// The vendor's directory is used because ours does not exist.
    pub(crate) vendor_tree: bool,
}

fn exists(files: &dyn Files, path: &str) -> bool {
    !matches!(files.kind(path), Ok(FileKind::Missing))
}

/// The directory that configuration is looked for in: the given one, else our own, else that of the older product
/// where only it exists, which the second part says.
pub fn etc_directory(files: &dyn Files, given: Option<&str>) -> (String, bool) {
    match given {
        Some(etc) => (etc.to_string(), false),
        None if !exists(files, OWN_ETC) && exists(files, VENDOR_ETC) => (VENDOR_ETC.to_string(), true),
        None => (OWN_ETC.to_string(), false),
    }
}

/// The search path of the request and the main file found on it.
pub(crate) fn search(files: &dyn Files, request: &LoadRequest) -> Search {
    let (etc, vendor_tree) = etc_directory(files, request.etc.as_deref());
    let list = match &request.search_path {
        Some(list) => list.clone(),
        None => format!("{etc}:{etc}/conf/global:{etc}/conf/{{NODENAME}}:{etc}/conf/default"),
    };
    let mut directories: Vec<String> = Vec::new();
    for entry in list.split(':').map(str::trim).filter(|entry| !entry.is_empty()) {
        let mut entry = entry.to_string();
        for (placeholder, name) in [("{NODENAME}", &request.node_name), ("{SUBCLUSTER}", &request.subcluster)]
        {
            match name {
                Some(name) => entry = entry.replace(placeholder, name),
                None if entry.contains(placeholder) => entry.clear(),
                None => {}
            }
        }
        if !entry.is_empty() {
            directories.push(files::absolute(&request.working_directory, &entry));
        }
    }
    let names: &[&str] = if request.role == Some(Role::Manager) {
        &["postfleet-manager.conf", "eccluster.conf"]
    } else {
        &["postfleet.conf", "ecelerity.conf"]
    };
    let main = match &request.main {
        Some(path) => Some(files::absolute(&request.working_directory, path)),
        None => directories
            .iter()
            .flat_map(|directory| names.iter().map(move |name| files::absolute(directory, name)))
            .find(|path| exists(files, path)),
    };
    let role =
        request.role.unwrap_or_else(|| match main.as_deref().and_then(|path| path.rsplit('/').next()) {
            Some("eccluster.conf" | "postfleet-manager.conf") => Role::Manager,
            _ => Role::Node,
        });
    Search { directories, main, role, vendor_tree }
}

/// Reads and parses the main file and everything it leads to, and translates what is of the 2.x form.
pub(crate) fn load(
    files: &dyn Files,
    search: &Search,
    main: &str,
    legacy: Legacy,
    sources: &mut Sources,
    findings: &mut Findings,
) -> Loaded {
    let read = read(files, search, &[main], sources, findings);
    if findings.has_errors() {
        return Loaded::default();
    }
    let (loaded, _) = read.translate(legacy, false, findings);
    loaded
}

/// The parsed files of a load, before the translation.
#[derive(Debug, Default)]
pub(crate) struct ReadFiles {
    pub(crate) roots: Vec<SourceId>,
    pub(crate) items: BTreeMap<SourceId, Vec<Raw>>,
    pub(crate) closers: BTreeMap<Span, Span>,
    pub(crate) places: BTreeMap<SourceId, Place>,
    /// What was read because its directory is included as a whole.
    pub(crate) of_directories: BTreeSet<SourceId>,
    pub(crate) included: BTreeMap<Span, Vec<SourceId>>,
}

impl ReadFiles {
    /// What a translation of a file adds to its items comes second, by file.
    pub(crate) fn translate(
        self,
        legacy: Legacy,
        migrating: bool,
        findings: &mut Findings,
    ) -> (Loaded, BTreeMap<SourceId, Translated>) {
        let files = legacy::Files { items: &self.items, included: &self.included };
        let base = Base::of(&self.roots, &files);
        let mode = Mode { legacy, migrating, base: &base };
        let mut all = Fleetwide::default();
        let mut loaded = Loaded { roots: self.roots, items: BTreeMap::new(), included: self.included };
        let mut rest = BTreeMap::new();
        for (source, items) in self.items {
            let place = self.places.get(&source).cloned().unwrap_or_else(Place::global);
            let mut translated = legacy::translate(items, &place, mode, &mut all, findings);
            loaded.items.insert(source, core::mem::take(&mut translated.items));
            rest.insert(source, translated);
        }
        (loaded, rest)
    }
}

/// Reads and parses main files and everything they lead to.
pub(crate) fn read(
    files: &dyn Files,
    search: &Search,
    mains: &[&str],
    sources: &mut Sources,
    findings: &mut Findings,
) -> ReadFiles {
    let main = mains.first().copied().unwrap_or("/");
    let mut loader = Loader {
        files,
        directories: &search.directories,
        sources,
        findings,
        read: ReadFiles::default(),
        main_directory: files::directory(main).to_string(),
        count: 0,
        bytes: 0,
        readings: BTreeMap::new(),
    };
    for main in mains {
        match loader.content(main) {
            Ok(bytes) => {
                let root = loader.text(main, &bytes, None, false, &[], &Place::global());
                loader.read.roots.push(root);
                loader.local_changes(main, root);
            }
            Err((5001, _)) => {
                loader.findings.push(Finding::about(5001, main, format!("'{main}' does not exist")));
            }
            Err((code, message)) => loader.findings.push(Finding::about(code, main, message)),
        }
    }
    loader.read
}

struct Loader<'a> {
    files: &'a dyn Files,
    directories: &'a [String],
    sources: &'a mut Sources,
    findings: &'a mut Findings,
    read: ReadFiles,
    main_directory: String,
    count: usize,
    bytes: usize,
    /// What has been read of each file.
    readings: BTreeMap<String, Vec<SourceId>>,
}

impl Loader<'_> {
    fn content(&self, path: &str) -> Result<Vec<u8>, (u16, String)> {
        let failed = |reason: String| (5002, format!("failed to stat '{path}': {reason}"));
        match self.files.kind(path) {
            Ok(FileKind::File) => {}
            Ok(FileKind::Missing) => return Err((5001, format!("'{path}' does not exist"))),
            Ok(FileKind::Directory) => return Err((5002, format!("'{path}' is a directory"))),
            Ok(FileKind::Other) => return Err((5002, format!("'{path}' is not a regular file"))),
            Err(error) => return Err(failed(error.reason)),
        }
        let bytes = self.files.read(path).map_err(|error| failed(error.reason))?;
        if bytes.len() > FILE_BYTES_MAX {
            return Err((5002, format!("'{path}' is larger than 64 MiB")));
        }
        Ok(bytes)
    }

    /// Parses one file and reads what it includes. `chain` holds the canonical paths that led here.
    fn text(
        &mut self,
        path: &str,
        bytes: &[u8],
        at: Option<Span>,
        read_only: bool,
        chain: &[String],
        place: &Place,
    ) -> SourceId {
        let canonical = self.files.canonical(path);
        let read_only = read_only || !self.files.writable(&canonical);
        let (text, replaced) = source::decode(bytes);
        let last = at.is_none() && !self.read.roots.is_empty();
        let id = self.sources.add(canonical.as_str().into(), text.as_str().into(), at, read_only, last);
        let readings = self.readings.entry(canonical.clone()).or_default();
        readings.push(id);
        if readings.len() > 1 {
            // The first is marked with the second; later ones find it marked.
            let unmarked = if readings.len() == 2 { readings.as_slice() } else { &[id] };
            unmarked.iter().for_each(|id| self.sources.mark_read_only(*id));
        }
        let Parsed { items, closers } = parser::parse(id, &text, &replaced, place.old, self.findings);
        let mut chain = chain.to_vec();
        chain.push(canonical);
        self.includes(&items, files::directory(path), read_only, &chain, place);
        self.read.items.insert(id, items);
        self.read.closers.extend(closers);
        self.read.places.insert(id, place.clone());
        id
    }

    fn includes(&mut self, items: &[Raw], directory: &str, read_only: bool, chain: &[String], place: &Place) {
        for item in items {
            match item {
                Raw::Assignment(_) | Raw::Listeners { .. } => {}
                Raw::Stanza { body, .. } | Raw::Module { body, .. } => {
                    if let Some(inner) = place.within(item) {
                        self.includes(body, directory, read_only, chain, &inner);
                    }
                }
                Raw::Include { read_only: marked, path } => {
                    let read = self.include(path, directory, read_only || *marked, chain, place);
                    self.read.included.insert(path.span, read);
                }
            }
        }
    }

    fn include(
        &mut self,
        word: &Word,
        directory: &str,
        read_only: bool,
        chain: &[String],
        place: &Place,
    ) -> Vec<SourceId> {
        let Some(path) = self.locate(word, directory) else {
            return Vec::new();
        };
        if self.files.kind(&path) != Ok(FileKind::Directory) {
            return self.file(word, &path, read_only, chain, place).into_iter().collect();
        }
        let mut names = match self.files.list(&path) {
            Ok(names) => names,
            Err(error) => {
                let message = format!("failed to stat '{path}': {}", error.reason);
                self.findings.push(Finding::error(5002, word.span, message));
                return Vec::new();
            }
        };
        names.sort_unstable();
        let mut read = Vec::new();
        for name in names.iter().filter(|name| !name.starts_with('.')) {
            let file = format!("{}/{name}", path.trim_end_matches('/'));
            if self.files.kind(&file) == Ok(FileKind::Directory)
                || self.files.kind(&file) == Ok(FileKind::Other)
            {
                continue;
            }
            if BACKUPS.iter().any(|ending| name.ends_with(ending)) {
                let message = format!("'{name}' looks like a backup copy and is read like every other file");
                let finding = Finding::warning(5006, word.span, message);
                self.findings.push(finding.hint("move it out of the directory"));
            }
            read.extend(self.file(word, &file, read_only, chain, place));
        }
        self.read.of_directories.extend(&read);
        read
    }

    /// The path that the word of an include names.
    fn locate(&mut self, word: &Word, directory: &str) -> Option<String> {
        let mut name = word.text.as_str();
        if let Some((scheme, rest)) = name.split_once("://") {
            if !scheme.eq_ignore_ascii_case("file") {
                let message = format!("files of the scheme '{}' cannot be included", value::clip(scheme));
                self.findings
                    .push(Finding::error(5004, word.span, message).expected("a path or file://PATH"));
                return None;
            }
            name = rest;
        }
        if name.is_empty() {
            let finding = Finding::error(5001, word.span, "the path is empty");
            self.findings.push(finding.expected("a file or directory"));
            return None;
        }
        if name.starts_with('/') {
            return Some(files::absolute("/", name));
        }
        let mut tried: Vec<&str> = Vec::new();
        for candidate in core::iter::once(directory).chain(self.directories.iter().map(String::as_str)) {
            if tried.contains(&candidate) {
                continue;
            }
            let path = files::absolute(candidate, name);
            if self.files.kind(&path) != Ok(FileKind::Missing) {
                return Some(path);
            }
            tried.push(candidate);
        }
        let message = format!("'{}' not found", value::clip(name));
        let finding = Finding::error(5001, word.span, message);
        self.findings
            .push(finding.expected(format!("a file or directory of that name in {}", tried.join(", "))));
        None
    }

    fn file(
        &mut self,
        word: &Word,
        path: &str,
        read_only: bool,
        chain: &[String],
        place: &Place,
    ) -> Option<SourceId> {
        let canonical = self.files.canonical(path);
        if chain.contains(&canonical) {
            let from = chain.iter().position(|link| *link == canonical).unwrap_or(0);
            let mut text = String::new();
            for link in chain.iter().skip(from).chain([&canonical]) {
                if !text.is_empty() {
                    text.push_str(" → ");
                }
                text.push_str(self.short(link));
            }
            self.findings.push(Finding::error(5003, word.span, format!("the file includes itself: {text}")));
            return None;
        }
        if chain.len() >= DEPTH_MAX {
            let finding = Finding::error(5005, word.span, "includes nested too deeply");
            self.findings.push(finding.expected("at most 64 levels"));
            return None;
        }
        self.count += 1;
        if self.count > FILES_MAX {
            if self.count == FILES_MAX + 1 {
                let finding = Finding::error(5005, word.span, "too many files are included");
                self.findings.push(finding.expected("at most 10000"));
            }
            return None;
        }
        match self.content(path) {
            Ok(bytes) => {
                self.bytes = self.bytes.saturating_add(bytes.len());
                if self.bytes > LOAD_BYTES_MAX {
                    // One finding is enough: nothing more is read.
                    self.count = FILES_MAX + 1;
                    let finding = Finding::error(5005, word.span, "too much text is included");
                    self.findings.push(finding.expected("at most 256 MiB in all"));
                    return None;
                }
                Some(self.text(path, &bytes, Some(word.span), read_only, chain, place))
            }
            Err((code, message)) => {
                self.findings.push(Finding::error(code, word.span, message));
                None
            }
        }
    }

    /// The path without the directory of the main file.
    fn short<'b>(&self, path: &'b str) -> &'b str {
        path.strip_prefix(self.main_directory.as_str())
            .and_then(|rest| rest.strip_prefix('/'))
            .filter(|rest| !rest.contains('/'))
            .unwrap_or(path)
    }

    /// `Local_Changes_File` and `Local_Changes_Only` decide what is read, so they are looked for before names
    /// and values are checked.
    fn local_changes(&mut self, main: &str, root: SourceId) {
        let mut file: Option<(String, Span)> = None;
        let mut only: Option<Span> = None;
        self.find_local(root, &mut file, &mut only);
        let Some((path, span)) = file else {
            if let Some(span) = only {
                let finding = Finding::error(5011, span, "`Local_Changes_Only` without `Local_Changes_File`");
                self.findings.push(finding.expected("`Local_Changes_File` with the path of a file"));
            }
            return;
        };
        let path = files::absolute(files::directory(main), &path);
        let canonical = self.files.canonical(&path);
        if self.sources.iter().any(|source| source.path() == canonical) {
            let message =
                format!("'{path}' is the main file or is included, and cannot be `Local_Changes_File`");
            self.findings.push(Finding::error(5010, span, message).expected("a file of its own"));
            return;
        }
        match self.content(&path) {
            Ok(bytes) => {
                let id = self.text(&path, &bytes, None, false, &[], &Place::global());
                self.read.roots.push(id);
            }
            // Made at the first write-back.
            Err((5001, _)) => {}
            Err((code, message)) => self.findings.push(Finding::error(code, span, message)),
        }
    }

    fn find_local(&self, source: SourceId, file: &mut Option<(String, Span)>, only: &mut Option<Span>) {
        for item in self.read.items.get(&source).map_or(&[][..], Vec::as_slice) {
            match item {
                Raw::Include { path, .. } => {
                    for included in self.read.included.get(&path.span).map_or(&[][..], Vec::as_slice) {
                        self.find_local(*included, file, only);
                    }
                }
                Raw::Assignment(Entry { key: name, value: RawValue::Atom(word) }) => {
                    if name.text.eq_ignore_ascii_case("Local_Changes_File") {
                        *file = Some((word.text.clone(), word.span)).filter(|(path, _)| !path.is_empty());
                    } else if name.text.eq_ignore_ascii_case("Local_Changes_Only") {
                        *only = value::boolean(&word.text).unwrap_or(false).then_some(name.span);
                    }
                }
                Raw::Assignment(_) | Raw::Stanza { .. } | Raw::Module { .. } | Raw::Listeners { .. } => {}
            }
        }
    }
}
