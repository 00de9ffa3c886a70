//! `postfleet check --migrate`, `--format`, `--dump`: the configuration written anew, or as a tree.

use postfleet_config::{Config, Diagnostic, FileError, FileKind, Files, LoadRequest, Migrated};
use postfleet_node::FileSystem;
use std::fs;
use std::io::{Read, Write};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use super::CheckArguments;

/// What standard input is called among the files.
const STANDARD_INPUT: &str = "-";

/// The file system, and standard input under the name `-` of the working directory.
struct WithInput {
    files: FileSystem,
    path: String,
    content: Option<Vec<u8>>,
}

impl WithInput {
    fn new(words: &[String], request: &LoadRequest) -> std::io::Result<Self> {
        let mut content = None;
        if words.iter().any(|word| word == STANDARD_INPUT) {
            let mut bytes = Vec::new();
            std::io::stdin().lock().read_to_end(&mut bytes)?;
            content = Some(bytes);
        }
        let path = format!("{}/{STANDARD_INPUT}", request.working_directory.trim_end_matches('/'));
        Ok(Self { files: FileSystem::default(), path, content })
    }

    fn input(&self, path: &str) -> Option<&Vec<u8>> {
        self.content.as_ref().filter(|_| path == self.path)
    }
}

impl Files for WithInput {
    fn read(&self, path: &str) -> Result<Vec<u8>, FileError> {
        self.input(path).map_or_else(|| self.files.read(path), |content| Ok(content.clone()))
    }

    fn list(&self, directory: &str) -> Result<Vec<String>, FileError> {
        self.files.list(directory)
    }

    fn kind(&self, path: &str) -> Result<FileKind, FileError> {
        if self.input(path).is_some() { Ok(FileKind::File) } else { self.files.kind(path) }
    }

    fn canonical(&self, path: &str) -> String {
        if self.input(path).is_some() { path.to_owned() } else { self.files.canonical(path) }
    }

    fn writable(&self, path: &str) -> bool {
        self.input(path).is_none() && self.files.writable(path)
    }
}

/// The files named, else the one that is found on the search path.
fn named(files: &[&Path], request: &LoadRequest) -> anyhow::Result<Vec<String>> {
    let mut words = Vec::new();
    for file in files {
        let word =
            file.to_str().ok_or_else(|| anyhow::anyhow!("{}: the path is not UTF-8", file.display()))?;
        words.push(word.to_owned());
    }
    if words.is_empty() {
        words.extend(Config::load(&FileSystem::default(), request).main_file);
    }
    Ok(words)
}

fn nothing_found() -> anyhow::Result<ExitCode> {
    writeln!(std::io::stdout(), "No configuration found")?;
    Ok(ExitCode::from(2))
}

/// Every finding, as `postfleet check` prints them.
fn tell(diagnostics: &[Diagnostic], json: bool) -> std::io::Result<()> {
    let mut errors = std::io::stderr().lock();
    for diagnostic in diagnostics {
        if json {
            writeln!(errors, "{}", diagnostic.json())?;
        } else {
            writeln!(errors, "{diagnostic}")?;
        }
    }
    Ok(())
}

/// `--migrate`.
pub(super) fn migrate(
    files: &[&Path],
    arguments: &CheckArguments,
    request: &LoadRequest,
) -> anyhow::Result<ExitCode> {
    let words = named(files, request)?;
    if words.is_empty() {
        return nothing_found();
    }
    if arguments.in_place && words.iter().any(|word| word == STANDARD_INPUT) {
        anyhow::bail!("--in-place needs files; standard input cannot be rewritten");
    }
    let source = WithInput::new(&words, request)?;
    let migrated = postfleet_config::migrate(&source, request, &words, !arguments.no_comments);
    let mut failed = false;
    for found in &migrated {
        tell(&found.diagnostics, arguments.json)?;
        let mut errors = std::io::stderr().lock();
        if !arguments.json {
            for (at, note) in &found.notes {
                writeln!(errors, "{}:{}: note: {note}", at.file, at.line)?;
            }
            for left in &found.left {
                writeln!(
                    errors,
                    "{} includes {left}, which is of the 2.x form too: name it in the same command",
                    found.path
                )?;
            }
        }
        let Some(text) = &found.text else {
            failed = true;
            if !arguments.json {
                writeln!(errors, "{} is not migrated", found.path)?;
            }
            continue;
        };
        if !arguments.in_place {
            drop(errors);
            print(found, text, migrated.len() > 1)?;
        } else {
            let keep = if found.of_directory { Keep::Hidden } else { Keep::Old };
            match replace(Path::new(&found.path), text, keep) {
                Ok(Some(kept)) if kept.is_hidden() => {
                    writeln!(errors, "{}: the old text is {}", found.path, kept.path.display())?;
                }
                Ok(_) => {}
                Err(error) => {
                    failed = true;
                    writeln!(errors, "{} is not migrated: {error}", found.path)?;
                }
            }
        }
    }
    Ok(ExitCode::from(u8::from(failed)))
}

fn print(found: &Migrated, text: &str, several: bool) -> std::io::Result<()> {
    let mut out = std::io::stdout().lock();
    if several {
        writeln!(out, "# {}", found.path)?;
    }
    out.write_all(text.as_bytes())
}

/// `--format`.
pub(super) fn format(
    files: &[&Path],
    arguments: &CheckArguments,
    request: &LoadRequest,
) -> anyhow::Result<ExitCode> {
    let words = named(files, request)?;
    if words.is_empty() {
        return nothing_found();
    }
    if arguments.in_place && words.iter().any(|word| word == STANDARD_INPUT) {
        anyhow::bail!("--in-place needs files; standard input cannot be rewritten");
    }
    let source = WithInput::new(&words, request)?;
    let mut failed = false;
    for word in &words {
        let path = if word == STANDARD_INPUT {
            source.path.clone()
        } else {
            std::path::absolute(word)?.to_string_lossy().into_owned()
        };
        let bytes = match source.read(&path) {
            Ok(bytes) => bytes,
            Err(error) => {
                failed = true;
                writeln!(std::io::stderr(), "{word}: {error}")?;
                continue;
            }
        };
        match postfleet_config::format(&source.canonical(&path), &bytes) {
            Ok(text) if arguments.in_place => {
                if text.as_bytes() != bytes
                    && let Err(error) = replace(Path::new(word), &text, Keep::Nothing)
                {
                    failed = true;
                    writeln!(std::io::stderr(), "{word} is not formatted: {error}")?;
                }
            }
            Ok(text) => std::io::stdout().lock().write_all(text.as_bytes())?,
            Err(diagnostics) => {
                failed = true;
                tell(&diagnostics, arguments.json)?;
            }
        }
    }
    Ok(ExitCode::from(u8::from(failed)))
}

/// `--dump`.
pub(super) fn dump(
    files: &[&Path],
    arguments: &CheckArguments,
    mut request: LoadRequest,
) -> anyhow::Result<ExitCode> {
    if files.len() > 1 {
        anyhow::bail!("--dump takes one file: the tree of a main file and of everything it includes");
    }
    request.main = named(files, &request)?.into_iter().next();
    let outcome = Config::load(&FileSystem::pinned(), &request);
    if outcome.main_file.is_none() {
        return nothing_found();
    }
    let Some(config) = &outcome.config else {
        let report = if arguments.json {
            postfleet_config::report_json(&outcome.diagnostics)
        } else {
            postfleet_config::report(&outcome.diagnostics)
        };
        std::io::stderr().lock().write_all(report.as_bytes())?;
        return Ok(ExitCode::FAILURE);
    };
    let text = config.dump_json();
    match &arguments.output {
        Some(path) => {
            fs::write(path, text).map_err(|error| anyhow::anyhow!("{}: {error}", path.display()))?
        }
        None => std::io::stdout().lock().write_all(text.as_bytes())?,
    }
    Ok(ExitCode::SUCCESS)
}

/// What becomes of the old text.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Keep {
    /// It stays as `FILE.bak`, or as below where its directory is one that is included as a whole by its name.
    Old,
    /// It stays as `.FILE.bak`: everything else in the directory is read.
    Hidden,
    /// Nothing: the new text says the same.
    Nothing,
}

/// Puts a new text in the place of a file, whole or not at all, with its owner and mode. A link stays a link.
fn replace(path: &Path, text: &str, keep: Keep) -> anyhow::Result<Option<Kept>> {
    let path = path.canonicalize()?;
    if fs::read(&path)? == text.as_bytes() {
        return Ok(None);
    }
    let metadata = fs::metadata(&path)?;
    let kept = (keep != Keep::Nothing).then(|| Kept::beside(&path, keep == Keep::Hidden));
    if let Some(Kept { path: backup }) = &kept {
        fs::hard_link(&path, backup).map_err(|error| {
            if error.kind() == std::io::ErrorKind::AlreadyExists {
                anyhow::anyhow!("{} exists; move it away first", backup.display())
            } else {
                anyhow::anyhow!("{}: {error}", backup.display())
            }
        })?;
    }
    // A name that no include of a directory reads.
    let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    let new = path.with_file_name(format!(".{name}.new-{}", std::process::id()));
    let written = write_like(&new, text, &metadata).and_then(|()| fs::rename(&new, &path));
    if let Err(error) = written {
        let _gone = fs::remove_file(&new);
        return Err(anyhow::anyhow!("{}: {error}", new.display()));
    }
    if let Some(directory) = path.parent() {
        fs::File::open(directory)?.sync_all()?;
    }
    Ok(kept)
}

fn write_like(path: &Path, text: &str, like: &fs::Metadata) -> std::io::Result<()> {
    let mut file = fs::OpenOptions::new().write(true).create_new(true).open(path)?;
    // Only root can give files away; whoever else may write here keeps what it writes.
    let _kept = std::os::unix::fs::fchown(&file, Some(like.uid()), Some(like.gid()));
    file.set_permissions(fs::Permissions::from_mode(like.permissions().mode()))?;
    file.write_all(text.as_bytes())?;
    file.sync_all()
}

/// Where an old text stays.
struct Kept {
    path: PathBuf,
}

impl Kept {
    /// A directory called `NAME.d` is one that is included as a whole, also when the file with the include was not named.
    fn beside(path: &Path, hidden: bool) -> Self {
        let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        let whole = path.parent().and_then(Path::extension).is_some_and(|ending| ending == "d");
        let dot = if hidden || whole { "." } else { "" };
        Self { path: path.with_file_name(format!("{dot}{name}.bak")) }
    }

    fn is_hidden(&self) -> bool {
        self.path.file_name().is_some_and(|name| name.to_string_lossy().starts_with('.'))
    }
}
