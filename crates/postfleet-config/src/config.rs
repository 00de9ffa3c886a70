//! Loading a configuration, and the loaded one.

use alloc::collections::BTreeMap;
use alloc::string::{String, ToString as _};
use alloc::sync::Arc;
use alloc::vec::Vec;

use crate::check;
use crate::diagnostic::{self, Diagnostic, Finding, Findings};
use crate::files::{Files, LoadRequest, Role};
use crate::loader::{self, Loaded};
use crate::merge;
use crate::resolve::Facts;
use crate::schema::{self, Scope, Status};
use crate::source::{Position, Sources, Span};
use crate::tree::{InstanceId, Tree};
use crate::value::Value;

/// One complete configuration, checked. It does not change.
#[derive(Clone, Debug)]
pub struct Config {
    tree: Tree,
    sources: Arc<Sources>,
    role: Role,
    main_file: String,
    compatible: bool,
    node_name: Option<String>,
    /// What the files hold, for those who write to them.
    loaded: Arc<Loaded>,
}

/// What a load led to.
#[derive(Clone, Debug)]
pub struct LoadOutcome {
    /// The configuration; `None` when there is an error or no main file.
    pub config: Option<Config>,
    /// Everything found, by place in the merged text.
    pub diagnostics: Vec<Diagnostic>,
    /// The main file; `None` when none was found.
    pub main_file: Option<String>,
    /// The directories that files were looked for in.
    pub searched: Vec<String>,
    /// The vendor's directory was used because there is no `/etc/postfleet`.
    pub vendor_tree: bool,
    /// The texts, for views of the findings.
    pub sources: Arc<Sources>,
}

impl LoadOutcome {
    /// The findings as an operator reads them; says so when there was no file to read.
    #[must_use]
    pub fn report(&self) -> String {
        if self.main_file.is_none() {
            return "No configuration found\n".to_string();
        }
        diagnostic::report(&self.diagnostics)
    }
}

/// An option or stanza that is written and has no effect.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WithoutEffect {
    /// Its name.
    pub option: &'static str,
    /// Where it is written first.
    pub position: Option<Position>,
    /// In how many places it is written.
    pub places: usize,
}

impl Config {
    /// Finds, reads, merges and checks a configuration.
    #[must_use]
    pub fn load(files: &dyn Files, request: &LoadRequest) -> LoadOutcome {
        let search = loader::search(files, request);
        let mut sources = Sources::default();
        let mut findings = Findings::new(request.strict);
        let mut tree = None;
        let mut read = Loaded::default();
        let mut compatible = false;
        if let Some(main) = &search.main {
            let loaded = loader::load(files, &search, main, request.legacy, &mut sources, &mut findings);
            if !findings.has_errors() {
                let merged = merge::merge(&loaded, search.role, &mut findings);
                compatible = is_compatible(&merged);
                tree = Some(merged);
            }
            read = loaded;
        }
        let sources = Arc::new(sources);
        let mut config = tree.map(|tree| Self {
            tree,
            sources: sources.clone(),
            role: search.role,
            main_file: search.main.clone().unwrap_or_default(),
            compatible,
            node_name: request.node_name.clone(),
            loaded: Arc::new(read),
        });
        if let Some(config) = config.as_ref().filter(|_| !findings.has_errors()) {
            check::check(config, &mut |finding: Finding| findings.push(finding));
        }
        if findings.has_errors() {
            config = None;
        }
        let diagnostics = findings.finish(&sources);
        LoadOutcome {
            config,
            diagnostics,
            main_file: search.main,
            searched: search.directories,
            vendor_tree: search.vendor_tree,
            sources,
        }
    }

    /// The same configuration with another tree, whose places lie in these texts. The caller has checked it.
    pub(crate) fn with_tree(&self, tree: Tree, sources: Arc<Sources>) -> Self {
        let compatible = is_compatible(&tree);
        Self {
            tree,
            sources,
            role: self.role,
            main_file: self.main_file.clone(),
            compatible,
            node_name: self.node_name.clone(),
            loaded: self.loaded.clone(),
        }
    }

    /// The items of the files it was read from.
    pub(crate) fn loaded(&self) -> &Loaded {
        &self.loaded
    }

    /// The merged tree.
    #[must_use]
    pub const fn tree(&self) -> &Tree {
        &self.tree
    }

    /// The texts it was read from.
    #[must_use]
    pub fn sources(&self) -> &Sources {
        &self.sources
    }

    /// What the configuration is for.
    #[must_use]
    pub const fn role(&self) -> Role {
        self.role
    }

    /// The main file.
    #[must_use]
    pub fn main_file(&self) -> &str {
        &self.main_file
    }

    /// Whether `Compatibility = "ecelerity"` is set.
    #[must_use]
    pub const fn compatible(&self) -> bool {
        self.compatible
    }

    /// The node name that the search path was built with.
    #[must_use]
    pub fn search_name(&self) -> Option<&str> {
        self.node_name.as_deref()
    }

    /// A value as written, for displays.
    #[must_use]
    pub fn written(&self, span: Span) -> &str {
        self.sources.text(span)
    }

    /// What is written and has no effect, each name once, in text order.
    #[must_use]
    pub fn without_effect(&self) -> Vec<WithoutEffect> {
        let mut found: BTreeMap<&'static str, (Span, usize)> = BTreeMap::new();
        let set = self.tree.instances().flat_map(|(id, of)| of.options().map(move |assigned| (id, assigned)));
        let idle = set.filter(|(id, assigned)| {
            matches!(assigned.row.status, Status::Stored | Status::Accepted)
                && !(*id == InstanceId::GLOBAL && serves_listeners(assigned.row.name))
        });
        for (_, assigned) in idle {
            found.entry(assigned.row.name).or_insert((assigned.name, 0)).1 += 1;
        }
        for (name, span, places) in self.tree.accepted() {
            found.entry(name).or_insert((span, 0)).1 += places;
        }
        let mut list: Vec<(&'static str, Span, usize)> =
            found.into_iter().map(|(name, (span, places))| (name, span, places)).collect();
        list.sort_by_cached_key(|(_, span, _)| self.sources.order(*span));
        let shown = list.into_iter().map(|(option, span, places)| WithoutEffect {
            option,
            position: self.sources.position(span),
            places,
        });
        shown.collect()
    }
}

/// Whether listeners use the global value of an option, whatever else does not.
fn serves_listeners(name: &str) -> bool {
    schema::row(Scope::EsmtpListener, None, name)
        .is_some_and(|of| of.status == Status::InForce && of.ends_at_global())
}

fn is_compatible(tree: &Tree) -> bool {
    tree.instance(InstanceId::GLOBAL)
        .and_then(|global| global.assigned("Compatibility"))
        .is_some_and(|assigned| assigned.value == Value::Word("ecelerity"))
}

/// Reads arbitrary bytes as a main file. It must not panic, whatever the bytes.
pub fn fuzz_entry(bytes: &[u8]) {
    let files = crate::files::MemoryFiles::new()
        .with("/etc/t/ecelerity.conf", bytes)
        .with("/etc/t/again.conf", bytes)
        .with("/etc/t/d/10.conf", bytes);
    let request = LoadRequest { main: Some("/etc/t/ecelerity.conf".to_string()), ..LoadRequest::default() };
    let outcome = Config::load(&files, &request);
    let _ = diagnostic::report(&outcome.diagnostics);
    let _ = diagnostic::report_json(&outcome.diagnostics);
    for diagnostic in &outcome.diagnostics {
        let _ = diagnostic.labelled(&outcome.sources);
    }
    if let Some(config) = &outcome.config {
        let _ = config.node_settings();
        let _ = config.cluster();
        for listener in config.esmtp_listeners() {
            let _ = listener.resolve(None);
        }
        let _ = config.control_listeners();
        let _ = (config.inbound_audit(), config.datasources(), config.thread_pools(), config.policy_rules());
        let _ = (config.ec_loggers(), config.bounce_loggers(), config.custom_loggers());
        let _ = (config.failover(), config.agreement(), config.without_effect());
        let _ = config.routing(None, Some("example.org"));
        let _ = config.eccluster_listeners();
        for row in schema::rows() {
            let _ = config.eval(row.name, &Facts { domain: Some("example.org"), ..Facts::default() });
        }
    }
}
