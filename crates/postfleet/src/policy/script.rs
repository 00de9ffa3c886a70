//! A script of either language, ready to run.

use postfleet_lua::{Callout, OnError, Program, Source};
use postfleet_policy::{Fault, Nested, Phase};
use postfleet_sieve::{ErrorMode, Limits};
use std::path::{Path, PathBuf};
use std::sync::Arc;

pub(super) enum Script {
    Lua(Arc<Program>),
    /// Compiled for each phase in which it may run.
    Sieve {
        phases: Vec<Arc<postfleet_sieve::Script>>,
        folder: Folder,
    },
}

/// Where included scripts and required modules are.
#[derive(Clone)]
pub(super) struct Folder(PathBuf);

impl Folder {
    fn of(file: &Path) -> Self {
        Self(file.parent().map(Path::to_path_buf).unwrap_or_default())
    }
}

impl postfleet_sieve::Library for Folder {
    fn script(&self, phase: Phase, uri: &str) -> Result<Arc<postfleet_sieve::Script>, Fault> {
        let path = self.0.join(uri.strip_prefix("file://").unwrap_or(uri));
        let text = read(&path).map_err(Fault::new)?;
        let compiled = postfleet_sieve::Script::compile(&path.display().to_string(), phase, &text);
        compiled.map(Arc::new).map_err(|error| Fault::new(error.to_string()))
    }
}

/// A run that a Lua script begins; relative names start where the tool does.
pub(super) fn nested(phase: Phase, file: &str) -> Result<Box<dyn Nested>, Fault> {
    let folder = Folder(PathBuf::new());
    let script = postfleet_sieve::Library::script(&folder, phase, file)?;
    let execution = postfleet_sieve::Execution::new(&script, ErrorMode::Continue, Limits::default());
    Ok(Box::new(execution.with_library(Arc::new(folder))))
}

impl postfleet_lua::Library for Folder {
    fn module(&self, name: &str) -> Result<Option<Source>, String> {
        let path = self.0.join(format!("{}.lua", name.replace('.', "/")));
        if !path.exists() {
            return Ok(None);
        }
        let text = read(&path)?;
        Ok(Some(Source { name: name.to_owned(), file: path.display().to_string(), text }))
    }

    fn is_command(&self, word: &str) -> bool {
        postfleet_console::is_command(word)
    }
}

fn read(path: &Path) -> Result<String, String> {
    std::fs::read_to_string(path).map_err(|error| format!("{}: {error}", path.display()))
}

impl Script {
    /// Reads and compiles a file. Sieve: for a phase, or for all in which it compiles.
    pub(super) fn load(file: &Path, phase: Option<Phase>) -> Result<Self, String> {
        let text = read(file)?;
        let shown = file.display().to_string();
        if file.extension().is_some_and(|extension| extension == "lua") {
            let name = file.file_stem().unwrap_or_default().to_string_lossy().into_owned();
            let source = Source { name, file: shown, text };
            let limits = postfleet_lua::Limits::default();
            let loaded =
                Program::load(&[source], &Folder::of(file), limits, OnError::Continue, 1, 1_699_920_000);
            return loaded.map(|program| Self::Lua(Arc::new(program))).map_err(|error| error.to_string());
        }
        let wanted: &[Phase] = match &phase {
            Some(phase) => std::slice::from_ref(phase),
            None => &Phase::ALL,
        };
        let mut phases = Vec::new();
        let mut first = None;
        for phase in wanted {
            match postfleet_sieve::Script::compile(&shown, *phase, &text) {
                Ok(script) => phases.push(Arc::new(script)),
                Err(error) => first = first.or_else(|| Some(error.to_string())),
            }
        }
        match first {
            Some(problem) if phases.is_empty() => Err(problem),
            Some(_) | None => Ok(Self::Sieve { phases, folder: Folder::of(file) }),
        }
    }

    /// A Sieve script has to be told its phase.
    pub(super) fn is_for_one_phase(&self) -> Result<(), String> {
        match self {
            Self::Sieve { phases, .. } if phases.len() != 1 => {
                Err("which phase is the script for? Name it, as in --phase connect".to_owned())
            }
            Self::Sieve { .. } | Self::Lua(_) => Ok(()),
        }
    }

    /// When it is called.
    pub(super) fn moments(&self) -> Vec<&'static str> {
        match self {
            Self::Lua(program) => {
                let called = Callout::ALL.into_iter().filter(|callout| program.listens(*callout));
                let commands = program.controls().next().map(|_| "console commands");
                let timers = program.timers().first().map(|_| "timers");
                called.map(Callout::name).chain(commands).chain(timers).collect()
            }
            Self::Sieve { phases, .. } => phases.iter().map(|script| script.phase().name()).collect(),
        }
    }

    /// What is to be said of it though it loads.
    pub(super) fn notes(&self) -> &[String] {
        match self {
            Self::Lua(program) => program.notes(),
            Self::Sieve { .. } => &[],
        }
    }

    pub(super) fn summary(&self) -> String {
        let moments = self.moments().join(", ");
        let mut summary = match self {
            Self::Lua(_) if moments.is_empty() => "loads, and is never called".to_owned(),
            Self::Lua(_) => format!("loads, called in {moments}"),
            Self::Sieve { .. } => format!("compiles for {moments}"),
        };
        for note in self.notes() {
            summary.push_str(&format!("\n  {note}"));
        }
        summary
    }

    /// What `ec_include` and errors need to run.
    pub(super) fn execution(
        script: &Arc<postfleet_sieve::Script>,
        folder: &Folder,
    ) -> postfleet_sieve::Execution {
        postfleet_sieve::Execution::new(script, ErrorMode::Fail, Limits::default())
            .with_library(Arc::new(folder.clone()))
    }
}
