//! Modules that decide: the stanzas `sieve` and `scriptlet`, in the order in which they are asked.

use alloc::format;
use alloc::string::{String, ToString as _};
use alloc::vec::Vec;

use super::Lookup;
use crate::config::Config;
use crate::diagnostic::{Diagnostic, Finding, Findings};
use crate::files;
use crate::resolve::Facts;
use crate::schema::Scope;
use crate::tree::{Instance, InstanceId};

/// The phases that a `sieve` stanza has scripts for, by the words of its options.
const SIEVE_PHASES: [&str; 9] =
    ["accept", "connect", "ehlo", "mailfrom", "rcptto", "data", "spool", "each_rcpt", "set_binding"];

/// One script of a `sieve` stanza.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ScriptSlot {
    /// The phase, such as `connect`.
    pub phase: &'static str,
    /// 1 or 2.
    pub number: u8,
    /// The absolute path of the script.
    pub path: String,
}

impl ScriptSlot {
    /// The option: `connect_phase1`.
    #[must_use]
    pub fn option(&self) -> String {
        format!("{}_phase{}", self.phase, self.number)
    }
}

/// One `sieve` stanza.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SieveSettings {
    /// Its name.
    pub name: String,
    /// `enabled`.
    pub enabled: bool,
    /// `runtime_error = fail`.
    pub errors_refuse: bool,
    /// Its scripts, in the order of phases.
    pub scripts: Vec<ScriptSlot>,
}

/// One `scriptlet` stanza.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ScriptletSettings {
    /// Its name.
    pub name: String,
    /// `enabled`.
    pub enabled: bool,
    /// `runtime_error = fail`; by default what `Policy_Failure` says.
    pub errors_refuse: bool,
    /// The shortest `script_ttl` of the scripts, in seconds; none when nobody looks at them again.
    pub script_ttl: Option<u64>,
    /// Name and `source` of each `script` that is enabled, in text order.
    pub scripts: Vec<(String, String)>,
}

/// A module that is asked in phases.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PolicyModule {
    /// `sieve`.
    Sieve(SieveSettings),
    /// `scriptlet`.
    Scriptlet(ScriptletSettings),
}

/// A script that a configuration names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ScriptUse<'a> {
    /// One of a `sieve` stanza.
    Sieve(&'a ScriptSlot),
    /// One of a `scriptlet` stanza: its name and `source`.
    Lua(&'a str, &'a str),
    /// All of a `scriptlet` stanza, once each has been looked at and is good.
    Together(&'a ScriptletSettings),
}

/// What whoever compiles a script has to say of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ScriptFinding {
    /// It cannot be used. With file and line of the script.
    Unusable(String),
    /// It names something that is not replicated: what it is, and the stanza that helps.
    NotShared {
        /// A sentence.
        message: String,
        /// What to write.
        hint: String,
    },
}

impl Config {
    /// The modules that decide, in the order in which they are asked: that of their first appearance.
    #[must_use]
    pub fn policy_modules(&self) -> Vec<PolicyModule> {
        let children = self.tree().instance(InstanceId::GLOBAL).map(|global| global.children.clone());
        let module = |id: InstanceId| {
            let instance = self.tree().instance(id)?;
            if instance.scope == Scope::Sieve {
                return Some(PolicyModule::Sieve(self.sieve(id, instance)));
            }
            let scriptlet = instance.scope == Scope::Scriptlet;
            scriptlet.then(|| PolicyModule::Scriptlet(self.scriptlet(id, instance)))
        };
        children.unwrap_or_default().into_iter().filter_map(module).collect()
    }

    fn sieve(&self, id: InstanceId, instance: &Instance) -> SieveSettings {
        let stanza = Lookup::new(self, Facts { instance: Some(id), ..Facts::default() });
        let slots = SIEVE_PHASES.into_iter().flat_map(|phase| [1, 2].map(|number| (phase, number)));
        let script = |(phase, number): (&'static str, u8)| {
            let path = stanza.filled(&format!("{phase}_phase{number}"))?;
            Some(ScriptSlot { phase, number, path: self.beside(&path) })
        };
        SieveSettings {
            name: instance.name.clone().unwrap_or_default(),
            enabled: stanza.bool("enabled"),
            errors_refuse: stanza.word("runtime_error") != "continue",
            scripts: slots.filter_map(script).collect(),
        }
    }

    fn scriptlet(&self, id: InstanceId, instance: &Instance) -> ScriptletSettings {
        let stanza = Lookup::new(self, Facts { instance: Some(id), ..Facts::default() });
        let script = |(id, script): (InstanceId, &Instance)| {
            let options = Lookup::new(self, Facts { instance: Some(id), ..Facts::default() });
            let source = options.filled("source")?;
            options.bool("enabled").then(|| (script.name.clone().unwrap_or_default(), source))
        };
        // A script that has no time of its own has that of the stanza.
        let ttl = |(id, script): (InstanceId, &Instance)| {
            let options = Lookup::new(self, Facts { instance: Some(id), ..Facts::default() });
            let has_own = script.assigned("script_ttl").is_some();
            let ttl = if has_own { options.u64("script_ttl") } else { stanza.u64("script_ttl") };
            (ttl > 0 && options.bool("enabled")).then_some(ttl)
        };
        ScriptletSettings {
            name: instance.name.clone().unwrap_or_default(),
            enabled: stanza.bool("enabled"),
            errors_refuse: match stanza.word("runtime_error") {
                "fail" => true,
                "continue" => false,
                _ => self.node_settings().policy_failure_is_tempfail,
            },
            script_ttl: self.tree().children(id, Scope::Script).filter_map(ttl).min(),
            scripts: self.tree().children(id, Scope::Script).filter_map(script).collect(),
        }
    }

    /// A path as it is; a relative one from the directory of the main file.
    #[must_use]
    pub fn beside(&self, path: &str) -> String {
        if path.starts_with('/') {
            return path.to_string();
        }
        format!("{}/{path}", files::directory(self.main_file()).trim_end_matches('/'))
    }

    /// Where a script of a `scriptlet` stanza, or a module that it requires, is looked for: in the directory of the main file,
    /// then in `lua` below it. An absolute path is taken as it is. None for a name that leads out of them.
    #[must_use]
    pub fn script_paths(&self, source: &str) -> Vec<String> {
        if source.starts_with('/') {
            let end = if source.ends_with(".lua") { "" } else { ".lua" };
            return alloc::vec![format!("{source}{end}")];
        }
        let stem = source.strip_suffix(".lua").unwrap_or(source);
        let parts: Vec<&str> = stem.split(['.', '/']).collect();
        if parts.iter().any(|part| part.is_empty()) {
            return Vec::new();
        }
        let path = parts.join("/");
        [format!("{path}.lua"), format!("lua/{path}.lua")].iter().map(|path| self.beside(path)).collect()
    }

    /// Has every script that is configured looked at, and puts what is found at the place of its option.
    #[must_use]
    pub fn check_scripts(&self, look: &dyn Fn(ScriptUse<'_>) -> Vec<ScriptFinding>) -> Vec<Diagnostic> {
        let mut findings = Findings::default();
        let mut add = |span, found: Vec<ScriptFinding>| {
            for found in found {
                findings.push(match found {
                    ScriptFinding::Unusable(message) => Finding::error(6182, span, message),
                    ScriptFinding::NotShared { message, hint } => {
                        Finding::warning(6183, span, message).hint(hint)
                    }
                });
            }
        };
        for (id, instance) in self.tree().children(InstanceId::GLOBAL, Scope::Sieve) {
            for slot in self.sieve(id, instance).scripts {
                let span = instance.assigned(&slot.option()).map(|assigned| assigned.span);
                let Some(span) = span.or(instance.opened) else { continue };
                add(span, look(ScriptUse::Sieve(&slot)));
            }
        }
        for (id, instance) in self.tree().children(InstanceId::GLOBAL, Scope::Scriptlet) {
            let mut good = true;
            for (_, script) in self.tree().children(id, Scope::Script) {
                let assigned = script.assigned("source");
                let (Some(span), Some(source)) = (
                    assigned.map(|assigned| assigned.span).or(script.opened),
                    assigned
                        .and_then(|assigned| assigned.value.as_text())
                        .filter(|source| !source.is_empty()),
                ) else {
                    continue;
                };
                let found = look(ScriptUse::Lua(script.name.as_deref().unwrap_or_default(), source));
                good &= !found.iter().any(|found| matches!(found, ScriptFinding::Unusable(_)));
                add(span, found);
            }
            if let Some(span) = instance.opened.filter(|_| good) {
                add(span, look(ScriptUse::Together(&self.scriptlet(id, instance))));
            }
        }
        findings.finish(self.sources())
    }
}
