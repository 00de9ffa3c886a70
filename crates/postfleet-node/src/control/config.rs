//! Configuration commands of one console: the language decides, this module activates, reads and writes.

use super::Outcome;
use crate::files::{self, FileSystem};
use crate::node::Node;
use crate::notices::{Severity, notice};
use crate::reload::{self, ActivateError};
use postfleet_config::live::{
    self, Command, Data, Errand, OptionData, PlaceData, Refusal, Replacement, Reply, ScopeData, Session, Step,
};
use postfleet_config::{Agreed, Position, Value};
use postfleet_console::{
    Answer, Code, ConfigAnswer, ConfigChange, ConfigData, ConfigDigest, ConfigOption, ConfigOther,
    ConfigPlace, ConfigPosition, ConfigScope, ConfigValue, Failure,
};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// How often a change starts over because another one was faster.
const TRIES: usize = 5;

/// Carries one command out.
pub(super) async fn execute(node: &Arc<Node>, session: &mut Session, line: &str) -> Outcome {
    let role = node.configuration.running().configured().role();
    let command = Command::parse(line, role).map_err(|refusal| failure(&refusal))?;
    match command.errand() {
        Errand::Session => perform(node, session, &command).await,
        Errand::Reload { path, .. } => {
            if session.in_transaction() {
                return Err(failure(&Refusal::InTransaction));
            }
            match reload::reload(node, path.as_deref().map(Path::new)).await {
                Ok(text) => Ok(Answer::Lines(text.lines().map(str::to_owned).collect())),
                Err(text) => Err(Failure::error(Code::ReconfigureFailed, text.trim_end())),
            }
        }
        Errand::WriteBack { path } => write_back(node, path).await,
        Errand::WriteConfig { path } => write_config(node, path).await,
    }
}

/// What may stand at the cursor.
pub(super) fn candidates(node: &Node, line: &str) -> Vec<String> {
    // The form of the answer changes nothing about the command.
    let command = ["json ", "xml "].iter().find_map(|form| line.strip_prefix(form)).unwrap_or(line);
    let config = node.configuration.running().configured().clone();
    if command.starts_with("config ") { live::completions(command, &config) } else { Vec::new() }
}

/// The line as logs may have it.
pub(super) fn redacted(node: &Node, line: &str) -> String {
    live::redacted(line, node.configuration.running().configured().role())
}

async fn perform(node: &Arc<Node>, session: &mut Session, command: &Command) -> Outcome {
    let mut tries = TRIES;
    loop {
        // A copy: checking a large configuration takes longer than the lock may be held.
        let running = node.configuration.running().clone();
        let step = session.perform(command, &running).map_err(|refusal| failure(&refusal))?;
        let activation = match step {
            Step::Done(reply) => return Ok(answer(*reply)),
            Step::Activate(activation) => *activation,
        };
        match reload::activate(node, activation.proposal).await {
            Ok(activated) => {
                session.activated(activation.commit);
                notice(
                    Severity::Notice,
                    format_args!("generation {} is in effect, changed from a console", activated.generation),
                );
                let mut reply = activation.reply;
                reply.lines.splice(0..0, activated.told);
                return Ok(answer(reply));
            }
            Err(ActivateError::Conflict) if activation.commit => return Err(failure(&Refusal::Conflict)),
            Err(ActivateError::Conflict) if tries > 0 => tries -= 1,
            Err(error) => {
                let message = format!("{error}\nReconfigure failed.");
                return Err(Failure::error(Code::ReconfigureFailed, message));
            }
        }
    }
}

async fn write_back(node: &Arc<Node>, path: Option<String>) -> Outcome {
    // Nothing may be changed between the look at what is unsaved and the note that it is saved.
    let _still = node.configuration.still().await;
    let running = node.configuration.running().clone();
    let main = node.configuration.main().map(Path::to_path_buf);
    let done = on_disk(move || {
        let request = files::load_request(main.as_deref()).map_err(|error| format!("{error:#}"))?;
        let done = running
            .write_back(&FileSystem::default(), &request, path.as_deref())
            .map_err(|refusal| refusal.to_string())?;
        if path.is_some() {
            for file in &done.replacements {
                files::may_be_ours(Path::new(&file.path))?;
            }
        }
        files::replace(&done.replacements)?;
        Ok(done)
    })
    .await?;
    for file in &done.replacements {
        notice(Severity::Notice, format_args!("configuration changes were written to {}", file.path));
    }
    Ok(answer(node.configuration.running().saved(done)))
}

async fn write_config(node: &Arc<Node>, path: String) -> Outcome {
    let text = node.configuration.running().text();
    let target = std::env::current_dir().unwrap_or_else(|_| PathBuf::from("/")).join(&path);
    on_disk(move || {
        files::may_be_ours(&target)?;
        let path = target.to_str().ok_or("the path is not UTF-8")?.to_owned();
        files::replace(&[Replacement { path, content: text.into_bytes() }])
    })
    .await?;
    Ok(Answer::line(format_args!("Wrote {path}.")))
}

/// Does something where disks may take their time. What went wrong is the operator's answer.
async fn on_disk<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, String> + Send + 'static,
) -> Result<T, Failure> {
    match tokio::task::spawn_blocking(work).await {
        Ok(done) => done.map_err(|message| Failure::error(Code::ReconfigureFailed, message)),
        Err(_) => Err(Failure::internal("the writing task ended")),
    }
}

fn failure(refusal: &Refusal) -> Failure {
    let code = match refusal {
        Refusal::Usage(_) | Refusal::NameMissing(_) => return Failure::unreadable(refusal),
        Refusal::InvalidName { .. } | Refusal::InvalidValue { .. } => Code::InvalidValue,
        Refusal::NoSuchScope(_) | Refusal::NoMatch => Code::NoSuchScope,
        Refusal::UnknownOption { .. } | Refusal::NotRead(_) => Code::UnknownOption,
        Refusal::NotSet { .. } => Code::NotSet,
        Refusal::GlobalUnset | Refusal::BuiltIn(_) => Code::Usage,
        Refusal::NotDynamic(_) => Code::NotDynamic,
        Refusal::NoTransaction => Code::NoTransaction,
        Refusal::TransactionOpen | Refusal::InTransaction => Code::InTransaction,
        Refusal::Conflict => Code::Conflict,
        Refusal::Errors(_) | Refusal::NotWritten(_) => Code::ReconfigureFailed,
    };
    let machine_text = refusal.machine_text();
    if let Some(text) = &machine_text {
        notice(Severity::Info, text);
    }
    Failure::error(code, refusal).with_machine_message(machine_text)
}

fn answer(reply: Reply) -> Answer {
    let data = match reply.data {
        Data::Lines => ConfigData::Lines,
        Data::Option(option) => ConfigData::Option(config_option(option)),
        Data::Scope(scope) => ConfigData::Scope(config_scope(scope)),
        Data::Places(places) => ConfigData::Places(places.into_iter().map(config_place).collect()),
        Data::Edits(edits) => {
            let change = |edit: live::EditData| ConfigChange {
                command: edit.command,
                scope: edit.scope,
                option: edit.option.map(str::to_owned),
            };
            ConfigData::Changes(edits.into_iter().map(change).collect())
        }
        Data::Agreement(agreement) => {
            let option = |option: &Agreed| (option.option.to_owned(), option.digest(), option.value.clone());
            ConfigData::Digest(ConfigDigest {
                digest: agreement.digest(),
                options: agreement.options().iter().map(option).collect(),
            })
        }
    };
    Answer::Config(ConfigAnswer { lines: reply.lines, data })
}

fn config_option(option: OptionData) -> ConfigOption {
    let other = |other: live::OtherData| ConfigOther {
        value: config_value(&other.value),
        set_in: other.set_in,
        position: position(other.position),
    };
    ConfigOption {
        scope: option.scope,
        option: option.option.into(),
        value: option.value.as_ref().map_or(ConfigValue::Null, config_value),
        set_in: option.set_in,
        position: position(option.position),
        beside: option.beside.into_iter().map(other).collect(),
        hidden: option.hidden.into_iter().map(other).collect(),
    }
}

fn config_scope(scope: ScopeData) -> ConfigScope {
    ConfigScope {
        name: scope.name.into(),
        instance: scope.instance,
        options: scope
            .options
            .iter()
            .map(|(name, value)| ((*name).to_owned(), config_value(value)))
            .collect(),
        scopes: scope.scopes.into_iter().map(config_scope).collect(),
    }
}

fn config_place(place: PlaceData) -> ConfigPlace {
    ConfigPlace {
        scope: place.scope.into(),
        instance: place.instance,
        path: place.path,
        position: position(place.position),
        implied: place.implied,
    }
}

fn position(position: Option<Position>) -> Option<ConfigPosition> {
    position
        .filter(|at| &*at.file != "console")
        .map(|at| ConfigPosition { file: at.file.to_string(), line: at.line })
}

fn config_value(value: &Value) -> ConfigValue {
    match value {
        Value::Text(text) => ConfigValue::Text(text.clone()),
        Value::Word(word) => ConfigValue::Text((*word).to_owned()),
        Value::Bool(truth) => ConfigValue::Truth(*truth),
        Value::Int(whole) => ConfigValue::Whole(*whole),
        Value::Float(real) => ConfigValue::Real(*real),
        Value::Address(address) => ConfigValue::Text(address.to_string()),
        Value::Cidr(prefix) => ConfigValue::Text(prefix.to_string()),
        Value::Throttle(throttle) => ConfigValue::Text(format!("{}/{}", throttle.events, throttle.seconds)),
        Value::Pattern(pattern) => ConfigValue::Text(pattern.as_str().to_owned()),
        Value::Dict(pairs) => ConfigValue::Dict(pairs.clone()),
        Value::List(values) => ConfigValue::List(values.iter().map(config_value).collect()),
    }
}
