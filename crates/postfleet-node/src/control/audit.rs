//! `inbound_audit …` and `sievelib gauge_cache …`.

use super::Outcome;
use crate::audit::{CLIENT_WORDS, Definition, unshared_gauges};
use crate::node::Node;
use crate::notices::{Severity, notice};
use postfleet_console::{
    Answer, AuditCommand, AuditIp, AuditMonitor, AuditScope, Code, Failure, GaugeCommand, Share, Windows,
};
use postfleet_replica::{
    CountError, GaugeLimits, Key, MetricWord, Mode, Monitor, Query, Range, SeriesId, SeriesKind,
};
use postfleet_types::Prefix;
use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

pub(super) async fn execute(node: &Arc<Node>, command: &AuditCommand) -> Outcome {
    match command {
        AuditCommand::Help => Err(Failure::internal("a command that others answer reached the node")),
        AuditCommand::ShowIp(block) => Ok(Answer::AuditIp(show_ip(node, *block))),
        AuditCommand::ShowAll => Ok(Answer::Lines(show_all(node))),
        AuditCommand::Add { series, windows, address, delta } => {
            let monitor = monitor(*windows)?;
            let definition =
                node.audit.definition(series, monitor).unwrap_or(Definition::plain(if address.is_ipv4() {
                    SeriesKind::Cidr
                } else {
                    SeriesKind::CidrIpv6
                }));
            let id = SeriesId { name: series, kind: definition.kind, monitor };
            let added = node.audit.add(id, Key::Address(*address), *delta, definition.mode);
            added.map(|()| Answer::silent()).map_err(refused)
        }
        AuditCommand::Count { block, series, windows, from, to } => {
            let range = Range::new(*from, *to);
            let count = node.audit.count(series, monitor(*windows)?, Query::Block(*block), range);
            Ok(Answer::line(count))
        }
        AuditCommand::Delete { address, series, windows } => {
            let monitor = monitor(*windows)?;
            let known = node.audit.definition(series, monitor).is_some_and(|definition| {
                let id = SeriesId { name: series, kind: definition.kind, monitor };
                // One that was defined and never counted has nothing to forget.
                node.audit.remove(id, Key::Address(*address));
                true
            });
            if known { Ok(Answer::silent()) } else { Err(Failure::no_such_series(series)) }
        }
        AuditCommand::Load { series, file } => match node.audit.load(series, file.as_deref()).await {
            Ok(loaded) => Ok(Answer::line(format_args!("loaded {} entries into '{series}'", loaded.entries))),
            Err(error) => Err(Failure::error(Code::InvalidValue, format_args!("{error:#}"))),
        },
        AuditCommand::Define { series, kind, windows, share, persist, serialize } => {
            let definition = Definition {
                kind: SeriesKind::from_word(kind).unwrap_or(SeriesKind::Cidr),
                mode: match share {
                    Share::None => None,
                    Share::Cluster => Some(Mode::Cluster),
                    Share::Manager => Some(Mode::Managers),
                },
                persist: *persist,
                serialize: *serialize,
            };
            define(node, series, monitor(*windows)?, definition).await
        }
    }
}

async fn define(node: &Node, series: &str, monitor: Monitor, definition: Definition) -> Outcome {
    let first = node.audit.defined(series, monitor).is_none();
    node.audit.define(series, monitor, definition).map_err(refused)?;
    if first && definition.persist {
        let restored = node.audit.restore(series, monitor, definition).await;
        return match restored {
            Ok(loaded) if loaded.entries > 0 => {
                Ok(Answer::line(format_args!("loaded {} entries into '{series}'", loaded.entries)))
            }
            Ok(_) => Ok(Answer::silent()),
            Err(error) => Err(Failure::error(
                Code::InvalidValue,
                format_args!("'{series}' is defined, and what was kept of it is not loaded: {error:#}"),
            )),
        };
    }
    Ok(Answer::silent())
}

pub(super) fn gauge_cache(node: &Arc<Node>, command: &GaugeCommand) -> Outcome {
    let failed = |cache: &str, error: CountError| match error {
        CountError::NoSuchCache => Failure::no_such_gauge_cache(cache),
        CountError::Name
        | CountError::Key
        | CountError::Kind(_)
        | CountError::Full
        | CountError::Reserved => refused(error),
    };
    match command {
        GaugeCommand::Add { cache, key, delta } => node
            .audit
            .add_gauge(cache, key, *delta)
            .map(|_| Answer::silent())
            .map_err(|error| failed(cache, error)),
        GaugeCommand::Show { cache, key } => match node.audit.gauge(cache, key) {
            Ok(Some(value)) => Ok(Answer::line(value)),
            Ok(None) => Err(Failure::no_such_gauge(key)),
            Err(error) => Err(failed(cache, error)),
        },
        GaugeCommand::Delete { cache, key } => match node.audit.remove_gauge(cache, key) {
            Ok(true) => Ok(Answer::silent()),
            Ok(false) => Err(Failure::no_such_gauge(key)),
            Err(error) => Err(failed(cache, error)),
        },
        GaugeCommand::Define { cache, keys, ttl, replicate } => {
            let limits = GaugeLimits {
                keys_max: usize::try_from(*keys).unwrap_or(usize::MAX),
                ttl: (*ttl > 0).then(|| Duration::from_secs(*ttl)),
            };
            let made = node.audit.init_gauges(cache, limits, *replicate);
            if !made.map_err(|error| failed(cache, error))? {
                notice(Severity::Warning, unshared_gauges(cache));
            }
            Ok(Answer::silent())
        }
    }
}

fn monitor(windows: Windows) -> Result<Monitor, Failure> {
    Monitor::new(windows.interval, windows.number).map_err(|error| Failure::error(Code::InvalidValue, error))
}

fn refused(error: CountError) -> Failure {
    Failure::error(Code::InvalidValue, error)
}

fn show_ip(node: &Node, block: Prefix) -> AuditIp {
    let windows = |monitor: Monitor| Windows { interval: monitor.interval(), number: monitor.number() };
    let counts = |word: MetricWord, monitor: Monitor| {
        let count =
            |number| node.audit.count(word.word(), monitor, Query::Block(block), Range::window(number));
        (0..=monitor.number()).map(count).collect()
    };
    let monitors = node.audit.options().monitors.into_iter().map(|monitor| AuditMonitor {
        windows: windows(monitor),
        connections: counts(MetricWord::Connect, monitor),
        receptions: counts(MetricWord::Reception, monitor),
        rejections: counts(MetricWord::Rejection, monitor),
    });
    let shared = CLIENT_WORDS.iter().filter(|word| node.audit.shares(**word)).count();
    AuditIp {
        block,
        scope: match shared {
            0 => AuditScope::Node,
            _ if shared == CLIENT_WORDS.len() => AuditScope::Cluster,
            _ => AuditScope::Mixed,
        },
        monitors: monitors.collect(),
    }
}

/// One line for each address, series and monitor with anything but zeros.
fn show_all(node: &Node) -> Vec<String> {
    const LABELS: [&str; 3] = ["connections", "receptions", "rejections"];
    let mut rows: BTreeMap<(IpAddr, usize, usize), String> = BTreeMap::new();
    let monitors = node.audit.options().monitors;
    for (label, word) in CLIENT_WORDS.into_iter().enumerate() {
        for (at, monitor) in monitors.iter().enumerate() {
            for (address, counts) in node.audit.own_rows(word, *monitor) {
                if counts.iter().all(|count| *count == 0) {
                    continue;
                }
                let name = LABELS.get(label).copied().unwrap_or_default();
                let cells: Vec<String> = counts.iter().map(i64::to_string).collect();
                let row = format!("{address},{name},{},{}", monitor.interval(), cells.join(","));
                rows.insert((address, label, at), row);
            }
        }
    }
    rows.into_values().collect()
}
