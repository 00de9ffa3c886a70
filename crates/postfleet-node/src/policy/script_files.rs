//! The files of Lua scripts: found by name, read, loaded, and looked at again.

use postfleet_lua::{Library, Limits, LoadError, OnError, Program, Source};
use std::collections::BTreeMap;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use crate::lock::locked;

/// Bytes of one script; the interpreter has the same bound.
const SCRIPT_BYTES_MAX: u64 = 1 << 20;

/// Finds the files of a script, or of a module that it requires, by its name.
pub(crate) type Paths = Arc<dyn Fn(&str) -> Vec<PathBuf> + Send + Sync>;

/// Reads one script.
pub(super) fn read(name: &str, path: &Path) -> Result<Source, (std::io::ErrorKind, String)> {
    let file = path.display().to_string();
    let failed = |error: std::io::Error| (error.kind(), format!("{file}: {error}"));
    let size = std::fs::metadata(path).map_err(failed)?.len();
    if size > SCRIPT_BYTES_MAX {
        let problem = format!("{file}: {size} bytes are too many for a script; at most {SCRIPT_BYTES_MAX}");
        return Err((std::io::ErrorKind::FileTooLarge, problem));
    }
    let bytes = std::fs::read(path).map_err(failed)?;
    let text = String::from_utf8(bytes).map_err(|_| {
        (std::io::ErrorKind::InvalidData, format!("{file}: not UTF-8; save the script as UTF-8"))
    })?;
    Ok(Source { name: name.to_owned(), file, text })
}

/// The first file that is there.
fn first(name: &str, source: &str, paths: &Paths) -> Result<Option<Source>, String> {
    for path in paths(source) {
        match read(name, &path) {
            Ok(found) => return Ok(Some(found)),
            Err((std::io::ErrorKind::NotFound, _)) => {}
            Err((_, problem)) => return Err(problem),
        }
    }
    Ok(None)
}

/// Finds a script of a stanza.
pub(crate) fn find(name: &str, source: &str, paths: &Paths) -> Result<Source, String> {
    Folders::new(paths).script(name, source)
}

/// What files were, by the names under which they were looked for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Files(BTreeMap<String, Result<Option<u64>, String>>);

impl Files {
    fn note(&mut self, source: &str, found: &Result<Option<Source>, String>) {
        let digest = |source: &Source| {
            let mut hasher = DefaultHasher::new();
            (&source.file, &source.text).hash(&mut hasher);
            hasher.finish()
        };
        let seen = found.as_ref().map(|found| found.as_ref().map(digest)).map_err(String::clone);
        self.0.insert(source.to_owned(), seen);
    }

    /// Whether one of them is another one now, or gone, or there at last. Reads them.
    pub(super) fn have_changed(&self, paths: &Paths) -> bool {
        let mut now = Self::default();
        for source in self.0.keys() {
            now.note(source, &first("", source, paths));
        }
        now != *self
    }
}

/// The folders of the configuration, and what was read there.
struct Folders<'a> {
    paths: &'a Paths,
    seen: Mutex<Files>,
    /// What was found, read once: a file that changes meanwhile is the same for all interpreters.
    found: Mutex<BTreeMap<String, Result<Option<Source>, String>>>,
}

impl<'a> Folders<'a> {
    fn new(paths: &'a Paths) -> Self {
        Self { paths, seen: Mutex::default(), found: Mutex::default() }
    }

    fn script(&self, name: &str, source: &str) -> Result<Source, String> {
        if let Some(found) = self.look_for(source)? {
            return Ok(Source { name: name.to_owned(), ..found });
        }
        let looked: Vec<String> =
            (self.paths)(source).iter().map(|path| path.display().to_string()).collect();
        if looked.is_empty() {
            return Err(format!(
                "'{source}' names no script; expected names with '.' or '/' between them, as in policies.rate"
            ));
        }
        Err(format!("script '{source}' not found; it would be {}", looked.join(" or ")))
    }

    fn look_for(&self, source: &str) -> Result<Option<Source>, String> {
        let mut found = locked(&self.found);
        let found = found.entry(source.to_owned()).or_insert_with(|| {
            let found = first(source, source, self.paths);
            locked(&self.seen).note(source, &found);
            found
        });
        found.clone()
    }

    fn load(&self, sources: &[Source], on_error: OnError, interpreters: usize) -> Result<Program, LoadError> {
        let now_s = crate::clock::wall().unix_seconds();
        Program::load(sources, self, Limits::default(), on_error, interpreters, now_s)
    }
}

impl Library for Folders<'_> {
    fn module(&self, name: &str) -> Result<Option<Source>, String> {
        self.look_for(name)
    }

    fn is_command(&self, word: &str) -> bool {
        postfleet_console::is_command(word)
    }
}

/// Loads scripts that are only looked at, into one interpreter.
pub(crate) fn load(sources: &[Source], paths: &Paths, on_error: OnError) -> Result<Program, LoadError> {
    Folders::new(paths).load(sources, on_error, 1)
}

/// Loads the scripts of a stanza, each with its name and `source`, and tells what was read, whether it can be used or not.
pub(super) fn load_all(
    scripts: &[(String, String)],
    paths: &Paths,
    on_error: OnError,
    interpreters: usize,
) -> (Result<Program, String>, Files) {
    let folders = Folders::new(paths);
    let sources = scripts.iter().map(|(name, source)| folders.script(name, source));
    let program = sources.collect::<Result<Vec<_>, String>>().and_then(|sources| {
        folders.load(&sources, on_error, interpreters).map_err(|error| error.to_string())
    });
    let files = locked(&folders.seen).clone();
    (program, files)
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    #[test]
    fn a_script_a_module_and_a_file_that_appears_are_seen_to_change() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().to_owned();
        let paths: Paths = Arc::new(move |name: &str| vec![root.join(name), root.join("lua").join(name)]);
        let write = |name: &str, text: &str| std::fs::write(dir.path().join(name), text).unwrap();
        std::fs::create_dir(dir.path().join("lua")).unwrap();
        write("lua/a", "require('b') msys.registerModule('a', { validate_ehlo = function() return 0 end })");
        write("b", "return 1");
        let scripts = [("a".to_owned(), "a".to_owned())];
        let load = || load_all(&scripts, &paths, OnError::Continue, 2);
        let (program, files) = load();
        assert!(program.is_ok() && !files.have_changed(&paths));

        write("b", "return 2");
        assert!(files.have_changed(&paths), "the module");
        let (_, files) = load();
        assert!(!files.have_changed(&paths));

        // One that comes first hides the other; what it requires and cannot be found is waited for.
        write("a", "require('c')");
        assert!(files.have_changed(&paths));
        let (program, files) = load();
        assert!(program.is_err_and(|problem| problem.contains("module 'c' not found")));
        assert!(!files.have_changed(&paths));
        write("c", "return 3");
        assert!(files.have_changed(&paths));
        assert!(load().0.is_ok());
    }

    #[test]
    fn all_interpreters_have_the_same_module() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().to_owned();
        std::fs::write(root.join("a"), "msys.registerModule('a', require('b'))").unwrap();
        let looked = Arc::new(std::sync::atomic::AtomicUsize::new(0));
        let count = Arc::clone(&looked);
        // The module is another one at every look.
        let paths: Paths = Arc::new(move |name: &str| {
            if name == "b" {
                let phase = if count.fetch_add(1, std::sync::atomic::Ordering::Relaxed) == 0 {
                    "ehlo"
                } else {
                    "data"
                };
                let text = format!("return {{ validate_{phase} = function() return 0 end }}");
                std::fs::write(root.join("b"), text).unwrap();
            }
            vec![root.join(name)]
        });
        let scripts = [("a".to_owned(), "a".to_owned())];
        let (program, files) = load_all(&scripts, &paths, OnError::Continue, 3);
        assert!(program.is_ok());
        assert_eq!(looked.load(std::sync::atomic::Ordering::Relaxed), 1);
        assert!(files.have_changed(&paths), "what is in force is what was read first");
    }
}
