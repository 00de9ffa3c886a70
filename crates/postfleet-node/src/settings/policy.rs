//! Rules and scripts: `Policy_Rule`, `sieve`.

use crate::policy::rules::{Action, Trigger};
use crate::policy::sieve::{self, Sieve, SieveOptions};
use crate::policy::{Module, Policies, Policy, Rule};
use anyhow::Context as _;
use postfleet_config::{
    Config, Diagnostic, PolicyModule, RuleAction, RulePhase, RuleSettings, RuleTrigger, ScriptFinding,
    SieveSettings,
};
use postfleet_sieve::{ErrorMode, Phase};
use postfleet_smtp::Reply;
use postfleet_throttle::Rate;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Reads the rules, and compiles the scripts.
pub(super) fn read(config: &Config, policies: &Arc<Policies>) -> anyhow::Result<Policy> {
    let rules = config.policy_rules().into_iter().filter(|rule| rule.enabled).map(rule);
    let rules = rules.collect::<anyhow::Result<Vec<_>>>()?;
    let (mut modules, mut sieves): (Vec<Arc<dyn Module>>, Vec<Arc<Sieve>>) = (Vec::new(), Vec::new());
    for module in config.policy_modules() {
        match module {
            PolicyModule::Sieve(settings) if settings.enabled => {
                let options = options(config, settings)?;
                let name = options.name.clone();
                let sieve = Sieve::new(options, Arc::clone(policies)).map_err(anyhow::Error::msg);
                let sieve = Arc::new(sieve.with_context(|| format!("CFG-6182 sieve \"{name}\""))?);
                sieves.push(Arc::clone(&sieve));
                modules.push(sieve);
            }
            PolicyModule::Sieve(_) | PolicyModule::Scriptlet(_) => {}
        }
    }
    Ok(Policy::new(rules, modules, sieves))
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
        directory: Path::new(config.main_file()).parent().map(Path::to_path_buf).unwrap_or_default(),
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
                format!("{}/{}", rate.events, rate.seconds)
                    .parse::<Rate>()
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
    config.check_scripts(&|slot| {
        let Some(phase) = Phase::from_name(slot.phase) else { return Vec::new() };
        match sieve::compile(phase, Path::new(&slot.path)) {
            Ok(_) => Vec::new(),
            Err(problem) => vec![ScriptFinding::Unusable(problem)],
        }
    })
}
