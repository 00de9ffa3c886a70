//! Loggers, and the logs that are served to others.

use alloc::collections::BTreeMap;
use alloc::format;
use alloc::string::{String, ToString as _};
use alloc::vec::Vec;

use super::span_of;
use crate::config::Config;
use crate::diagnostic::Finding;
use crate::schema::Scope;
use crate::settings::{LogDestination, LogStage};
use crate::source::Span;
use crate::tree::{Instance, InstanceId};
use crate::value::clip;

pub(super) fn check(config: &Config, report: &mut dyn FnMut(Finding)) {
    let written = config.log_destinations();
    shared(config, &written, report);
    served(config, &written, report);
    for (_, logger) in config.tree().children(InstanceId::GLOBAL, Scope::CustomLogger) {
        custom(logger, report);
    }
    series(config, report);
}

/// Two loggers must not append to one file: their lines would mix. Where nobody wrote the path, existing files may
/// have it so for years: that is only remarked on.
fn shared(config: &Config, written: &[(InstanceId, Span, LogDestination)], report: &mut dyn FnMut(Finding)) {
    let implied = |logger: InstanceId, span: Span| {
        config.tree().instance(logger).and_then(|logger| logger.opened) == Some(span)
    };
    let mut owners: BTreeMap<&str, (InstanceId, Span)> = BTreeMap::new();
    for (logger, span, destination) in written {
        let (owner, first) = *owners.entry(destination.path()).or_insert((*logger, *span));
        if owner == *logger {
            continue;
        }
        let message = format!("{} is written by another logger already", clip(destination.path()));
        let finding = if implied(*logger, *span) && implied(owner, first) {
            Finding::warning(6232, *span, format!("{message}, both by default"))
        } else {
            Finding::error(6232, *span, message)
        };
        report(finding.expected("a path of its own, or \"\" for no log").see_also(first));
    }
}

/// What `logs` serves has to be written, and what is written for others has to be served.
fn served(config: &Config, written: &[(InstanceId, Span, LogDestination)], report: &mut dyn FnMut(Finding)) {
    let journals: Vec<(&Span, &str)> = written
        .iter()
        .filter_map(|(_, span, destination)| match destination {
            LogDestination::Journal { path, served: true, .. } => Some((span, path.as_str())),
            LogDestination::Journal { .. } | LogDestination::File { .. } => None,
        })
        .collect();
    let cluster = config.tree().anonymous(Scope::Cluster).and_then(|id| config.tree().instance(id));
    let logs: Vec<(String, String)> = config.cluster().map(|cluster| cluster.logs).unwrap_or_default();
    let bare = |path: &str| path.trim_end_matches('/').to_string();
    if let Some(cluster) = cluster
        && (cluster.assigned("logs").is_some() || !journals.is_empty())
        && let Some(span) = cluster.assigned("logs").map(|assigned| assigned.name).or(cluster.opened)
    {
        let any = |path: &str| {
            written.iter().any(|(_, _, destination)| {
                matches!(destination, LogDestination::Journal { .. }) && destination.path() == bare(path)
            })
        };
        for (name, path) in logs.iter().filter(|(_, path)| !any(path)) {
            let message = format!("no logger writes {}: nothing of '{}' will arrive", clip(path), clip(name));
            report(
                Finding::warning(6230, span, message).hint(format!("{name} = \"cluster://{path}=>master\"")),
            );
        }
    }
    for (span, path) in journals {
        if !logs.iter().any(|(_, directory)| bare(directory) == path) {
            let message = format!("no entry of `logs` serves {}: it would grow without end", clip(path));
            let name = path.rsplit('/').next().and_then(|last| last.split('.').next()).unwrap_or("mainlog");
            report(
                Finding::warning(6231, *span, message)
                    .hint(format!("cluster {{ logs = [ {name} = \"{path}\" ] }}")),
            );
        }
    }
}

fn custom(logger: &Instance, report: &mut dyn FnMut(Finding)) {
    let set = |name: &str| {
        logger.assigned(name).filter(|assigned| assigned.value.as_text().is_none_or(|text| !text.is_empty()))
    };
    for stage in LogStage::ALL {
        let word = stage.word();
        let format = set(&format!("{word}_format"));
        let file = set(&format!("{word}_logfile"));
        let switch = stage.switch().and_then(|switch| logger.assigned(switch));
        let switched = switch.and_then(|assigned| assigned.value.as_bool());
        match (format, switched) {
            (None, Some(true)) => {
                if let Some(switch) = switch {
                    let message = format!("{} is on and has no format", switch.row.name);
                    report(Finding::error(6240, switch.name, message).expected(format!("{word}_format")));
                }
            }
            (None, None) => {
                if let Some(file) = file {
                    let message = format!("{word}_logfile has no format: the stage is not logged");
                    report(Finding::warning(6241, file.name, message).hint(format!("{word}_format = \"…\"")));
                }
            }
            (Some(_), Some(false)) | (None, Some(false)) => {}
            (Some(format), Some(true) | None) => {
                if file.is_none() && set("mainlog").is_none() {
                    let message = format!("the stage {word} has no destination");
                    let finding = Finding::error(6242, format.name, message);
                    report(finding.expected(format!("{word}_logfile, or mainlog")));
                }
            }
        }
    }
    if let Some(errors) =
        logger.assigned("log_errors").filter(|assigned| assigned.value.as_bool() == Some(true))
        && set("paniclog").is_none()
    {
        let finding = Finding::error(6242, errors.name, "log_errors has no destination");
        report(finding.expected("paniclog"));
    }
}

fn series(config: &Config, report: &mut dyn FnMut(Finding)) {
    let Some(logger) = config.tree().anonymous(Scope::AsLogger).and_then(|id| config.tree().instance(id))
    else {
        return;
    };
    let all = logger
        .assigned("series_include_default")
        .is_some_and(|assigned| assigned.value.as_text() == Some("all"));
    let (idle, word) = if all { ("series_include", "all") } else { ("series_exclude", "none") };
    if logger.assigned(idle).is_some_and(|list| list.value.as_list().is_some_and(|list| !list.is_empty()))
        && let Some(span) = span_of(logger, idle)
    {
        let message = format!("{idle} has no effect while series_include_default is {word}");
        report(Finding::warning(6251, span, message));
    }
}
