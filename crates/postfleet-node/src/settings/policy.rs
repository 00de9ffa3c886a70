//! Rules and scripts: `Policy_Rule`, `sieve`, `scriptlet`.

use crate::policy::rules::{Action, Trigger};
use crate::policy::script_files::{self, Paths};
use crate::policy::scriptlet::{Scriptlet, ScriptletOptions};
use crate::policy::sieve::{self, Sieve, SieveOptions};
use crate::policy::{Policies, Policy, Rule};
use anyhow::Context as _;
use postfleet_config::{
    Config, Diagnostic, PolicyModule, ReplicateSettings, RuleAction, RulePhase, RuleSettings, RuleTrigger,
    ScriptFinding, ScriptUse, ScriptletSettings, SieveSettings,
};
use postfleet_lua::{OnError, Source};
use postfleet_policy::{Need, Phase, Wanted};
use postfleet_sieve::ErrorMode;
use postfleet_smtp::Reply;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

/// Reads the rules, and compiles the scripts.
pub(super) fn read(config: &Config, policies: &Arc<Policies>) -> anyhow::Result<Policy> {
    let rules = config.policy_rules().into_iter().filter(|rule| rule.enabled).map(rule);
    let rules = rules.collect::<anyhow::Result<Vec<_>>>()?;
    let mut policy = Policy { rules, ..Policy::default() };
    for module in config.policy_modules() {
        match module {
            PolicyModule::Sieve(settings) if settings.enabled => {
                let options = options(config, settings)?;
                let name = options.name.clone();
                let sieve = Sieve::new(options, Arc::clone(policies)).map_err(anyhow::Error::msg);
                let sieve = Arc::new(sieve.with_context(|| format!("CFG-6182 sieve \"{name}\""))?);
                policy.sieves.push(Arc::clone(&sieve));
                policy.modules.push(sieve);
            }
            PolicyModule::Scriptlet(settings) if settings.enabled => {
                let options = scriptlet_options(config, settings);
                let name = options.name.clone();
                let scriptlet = Scriptlet::new(options, Arc::clone(policies)).map_err(anyhow::Error::msg);
                let scriptlet =
                    Arc::new(scriptlet.with_context(|| format!("CFG-6182 scriptlet \"{name}\""))?);
                policy.scriptlets.push(Arc::clone(&scriptlet));
                policy.modules.push(scriptlet);
            }
            PolicyModule::Sieve(_) | PolicyModule::Scriptlet(_) => {}
        }
    }
    Ok(policy)
}

fn paths(config: &Config) -> Paths {
    let config = config.clone();
    Arc::new(move |source: &str| config.script_paths(source).into_iter().map(PathBuf::from).collect())
}

/// Where relative names of Sieve scripts start.
fn directory(config: &Config) -> PathBuf {
    Path::new(config.main_file()).parent().map(Path::to_path_buf).unwrap_or_default()
}

fn on_error(settings: &ScriptletSettings) -> OnError {
    if settings.errors_refuse { OnError::Fail } else { OnError::Continue }
}

fn scriptlet_options(config: &Config, settings: ScriptletSettings) -> ScriptletOptions {
    ScriptletOptions {
        on_error: on_error(&settings),
        ttl: settings.script_ttl.map(Duration::from_secs),
        name: settings.name,
        scripts: settings.scripts,
        paths: paths(config),
        directory: directory(config),
    }
}

fn options(config: &Config, settings: SieveSettings) -> anyhow::Result<SieveOptions> {
    let slot = |slot: postfleet_config::ScriptSlot| {
        let phase =
            Phase::from_name(slot.phase).with_context(|| format!("{}: no such phase", slot.option()))?;
        Ok((phase, slot.number, PathBuf::from(slot.path)))
    };
    Ok(SieveOptions {
        name: settings.name,
        mode: if settings.errors_refuse { ErrorMode::Fail } else { ErrorMode::Continue },
        directory: directory(config),
        slots: settings.scripts.into_iter().map(slot).collect::<anyhow::Result<_>>()?,
    })
}

fn rule(settings: RuleSettings) -> anyhow::Result<Rule> {
    Ok(Rule {
        phase: match settings.phase {
            RulePhase::Connect => Phase::Connect,
            RulePhase::Ehlo => Phase::Ehlo,
            RulePhase::Mailfrom => Phase::Mailfrom,
            RulePhase::Rcptto => Phase::Rcptto,
            RulePhase::Final => Phase::Data,
        },
        trigger: match settings.trigger {
            RuleTrigger::Limit(limit) => Trigger::Limit(u64::from(limit)),
            RuleTrigger::Rate(rate) => Trigger::Rate(
                super::exact_rate(rate)
                    .with_context(|| format!("Policy_Rule \"{}\": rate", settings.name))?,
            ),
        },
        action: match settings.action {
            RuleAction::Reply { code, text } => Action::Reply(Reply::verbatim(code, text)),
            RuleAction::Tarpit(time) => Action::Tarpit(time),
            RuleAction::Discard => Action::Discard,
        },
        name: settings.name,
        key: settings.key,
        object: settings.object,
        exempt: settings.exempt,
        shadow: settings.shadow,
    })
}

/// What is wrong with the scripts that a configuration names. Reads them.
pub(crate) fn check_scripts(config: &Config) -> Vec<Diagnostic> {
    let paths = paths(config);
    let checked = |result: Result<(), String>| match result {
        Ok(()) => Vec::new(),
        Err(problem) => vec![ScriptFinding::Unusable(problem)],
    };
    let shared = Shared::of(config);
    let look = |sources: &[Source]| {
        let loaded = script_files::load(sources, &paths, OnError::Continue);
        checked(loaded.map(drop).map_err(|error| error.to_string()))
    };
    config.check_scripts(&|script| match script {
        ScriptUse::Sieve(slot) => {
            let Some(phase) = Phase::from_name(slot.phase) else { return Vec::new() };
            match sieve::compile(phase, Path::new(&slot.path)) {
                Ok(script) => shared.missing(&slot.path, script.needs()),
                Err(problem) => checked(Err(problem)),
            }
        }
        ScriptUse::Lua(name, source) => match script_files::find(name, source, &paths) {
            Ok(source) => {
                let mut found = look(std::slice::from_ref(&source));
                found.extend(shared.missing(&source.file, postfleet_lua::needs(&source.text)));
                found
            }
            Err(problem) => checked(Err(problem)),
        },
        // What is left are two modules of one name.
        ScriptUse::Together(settings) => {
            let scripts = settings.scripts.iter();
            let sources: Result<Vec<Source>, String> =
                scripts.map(|(name, source)| script_files::find(name, source, &paths)).collect();
            sources.map(|sources| look(&sources)).unwrap_or_default()
        }
    })
}

/// What the configuration replicates.
struct Shared(Vec<ReplicateSettings>);

impl Shared {
    fn of(config: &Config) -> Self {
        Self(config.cluster().map(|cluster| cluster.replicate).unwrap_or_default())
    }

    fn has(&self, wanted: &Wanted) -> bool {
        self.0.iter().any(|object| match wanted {
            Wanted::Object(kind) => object.kind.word() == *kind,
            Wanted::Word(kind, word) => {
                object.kind.word() == *kind && object.parameters.iter().any(|known| known == word)
            }
            Wanted::Cache(name) => object.name == *name,
        })
    }

    /// What a script wants and nobody shares.
    fn missing(&self, file: &str, needs: Vec<Need>) -> Vec<ScriptFinding> {
        let needs = needs.into_iter().filter(|need| !self.has(&need.object));
        let finding = |need: Need| {
            let line = need.line;
            let (message, hint) = match &need.object {
                Wanted::Object(kind) => (
                    format!("{file}:{line}: '{kind}' is not replicated; the script sees this node only"),
                    format!("add: cluster {{ Replicate \"{kind}\" {{}} }}"),
                ),
                Wanted::Word(kind, word) => (
                    format!("{file}:{line}: '{word}' is not replicated; the script sees this node only"),
                    format!("add: cluster {{ Replicate \"{kind}\" {{ parameters = \"{word}\" }} }}"),
                ),
                Wanted::Cache(name) => (
                    format!(
                        "{file}:{line}: there is no replicated cache '{name}'; the script will fail there"
                    ),
                    format!("add: cluster {{ Replicate \"{name}\" {{ type = \"cache\" }} }}"),
                ),
            };
            ScriptFinding::NotShared { message, hint }
        };
        needs.map(finding).collect()
    }
}
