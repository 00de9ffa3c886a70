//! What console commands read and do.

use super::{Outcome, limits};
use crate::clock;
use crate::counts;
use crate::node::Node;
use postfleet_cidr::RowRange;
use postfleet_console::{
    Answer, ClusterInfo, Command, CountKind, CountReply, CountResult, CountSelector, Failure, InboundService,
    Mailq, MailqQueue, Member, MembershipList, Names, Summary, Sysinfo,
};
use postfleet_types::View;
use std::collections::BTreeSet;
use std::sync::Arc;

pub(super) async fn execute(node: &Arc<Node>, command: &Command) -> Outcome {
    match command {
        Command::ClusterInfo => cluster_info(node),
        Command::Membership { verbose } => membership(node, *verbose),
        Command::NodeName => Ok(Answer::NodeName(node.identity.name.to_string())),
        Command::NodeAddress => Ok(Answer::NodeAddress(node.identity.address)),
        Command::ClusterReset => match &node.fleet {
            Some(_) => Ok(Answer::membership_reset()),
            None => Err(Failure::not_connected()),
        },
        Command::SharedList => shared_list(node),
        Command::SharedShow { object, from } => shared_show(node, object, from.as_deref()),
        Command::SharedWhy { object, key } => limits::why(node, object, key),
        Command::Forget { node: gone } => limits::forget(node, gone),
        Command::Throttle(command) => limits::throttle(node, command).await,
        Command::Slot(command) => limits::slot(node, command),
        Command::Count { kind, selector } => count(node, kind, *selector),
        Command::CacheGet { cache, key } => super::cache::show(node, cache, key, false),
        Command::CacheSet { cache, key, value, ttl } => {
            super::cache::set(node, cache, key, value, ttl.as_deref())
        }
        Command::CacheShow { cache, key } => super::cache::show(node, cache, key, true),
        Command::DatasourceFlush { name } => super::datasource::flush(node, name),
        Command::DatasourceQuery { name, query, parameters } => {
            super::datasource::query(node, name, query, parameters).await
        }
        Command::DatasourceStatistics => Ok(super::datasource::statistics(node)),
        Command::InboundAudit(command) => super::audit::execute(node, command).await,
        Command::GaugeCache(command) => super::audit::gauge_cache(node, command),
        Command::Queue(command) => super::queues::execute(node, command).await,
        Command::Logs(command) => super::logs::execute(node, command).await,
        Command::Binding(command) => super::bindings::execute(node, command).await,
        Command::Mailq(filter) => {
            let queues = node.delivery.queues().into_iter();
            let queues = queues.filter(|queue| queue.active + queue.delayed > 0).map(|queue| MailqQueue {
                group: queue.key.binding_group.to_string(),
                binding: queue.key.binding.to_string(),
                domain: queue.key.domain.to_string(),
                active: queue.active,
                delayed: queue.delayed,
            });
            Ok(Answer::Mailq(Mailq::select(queues, filter, node.fleet.is_some())))
        }
        Command::Sieve(command) => super::policy::sieve(node, command).await,
        Command::Scriptlet(command) => super::policy::scriptlet(node, command).await,
        Command::PolicyRule(command) => Ok(super::policy::rules(node, command)),
        Command::Pid => Ok(Answer::Pid(std::process::id())),
        Command::Shutdown => Ok(Answer::shutting_down()),
        Command::Summary => Ok(Answer::Summary(summary(node))),
        Command::SummaryReset => {
            node.statistics.reset();
            Ok(Answer::statistics_cleared())
        }
        Command::Sysinfo => Ok(Answer::Sysinfo(sysinfo().await)),
        Command::Version => Ok(Answer::Version),
        Command::Config { .. }
        | Command::Registered(_)
        | Command::ClusterHelp
        | Command::Help { .. }
        | Command::Local { .. } => Err(Failure::internal("a command that others answer reached the node")),
    }
}

/// Names for completion.
pub(super) fn names(node: &Node) -> Names {
    let mut names = Names::default();
    let bindings = node.delivery.bindings().into_iter();
    names.bindings = bindings.map(|binding| binding.binding().to_string()).collect();
    if let Some(fleet) = &node.fleet {
        names.caches = fleet.cache_names();
        names.objects =
            fleet.replica(|replica| replica.list().into_iter().map(|object| object.name).collect());
        names.nodes =
            fleet.main().members.iter().map(|shown| shown.member.info.node_name.to_string()).collect();
        names.nodes.sort();
        names.nodes.dedup();
    }
    names.commands = node.configuration.serving().policy.commands();
    names.datasources = node.datasources.names();
    names.domains = node.delivery.queues().into_iter().map(|queue| queue.key.domain.to_string()).collect();
    names.domains.sort();
    names.domains.dedup();
    names
}

fn cluster_info(node: &Node) -> Outcome {
    let fleet = node.fleet.as_ref().ok_or_else(Failure::not_connected)?;
    let (main, shared, settings) = (fleet.main(), fleet.shared(), fleet.settings());
    Ok(Answer::ClusterInfo(ClusterInfo {
        daemon: settings.daemon.clone(),
        membership: main.connected.then(|| settings.main_name.to_string()),
        replication: shared.connected.then(|| settings.shared_name.to_string()),
        control_group: settings.control_group.to_string(),
        cluster_group: settings.cluster_group.to_string(),
        leader: main.leader.as_ref().map(ToString::to_string),
        logger_group: settings.log_group.clone(),
    }))
}

fn membership(node: &Node, verbose: bool) -> Outcome {
    let fleet = node.fleet.as_ref().ok_or_else(Failure::not_connected)?;
    let main = fleet.main();
    let Some(view) = main.view.filter(|_| main.connected) else { return Err(Failure::not_connected()) };
    let now = clock::monotonic();
    let members = main
        .members
        .iter()
        .filter(|shown| !shown.member.groups.is_empty())
        .map(|shown| {
            let info = &shown.member.info;
            Member {
                private_name: info.private_name.to_string(),
                kind: info.node_type,
                node_name: info.node_name.to_string(),
                subcluster: info.subcluster.to_string(),
                version: info.version.clone(),
                address: Some(info.address),
                groups: shown.member.groups.iter().map(ToString::to_string).collect(),
                clock_offset_ms: shown.clock_offset_ms,
                heartbeat_age_ms: shown
                    .heartbeat_at
                    .map(|at| u64::try_from(now.since(at).as_millis()).unwrap_or(u64::MAX)),
                admitted: shown.member.age,
            }
        })
        .collect();
    let detection_ms = main.detection.map(|time| u64::try_from(time.as_millis()).unwrap_or(u64::MAX));
    Ok(Answer::Membership(MembershipList { members, view: view.to_string(), detection_ms, verbose }))
}

fn shared_list(node: &Node) -> Outcome {
    let fleet = node.fleet.as_ref().ok_or_else(Failure::not_connected)?;
    Ok(Answer::SharedList(fleet.shared_list()))
}

fn shared_show(node: &Node, typed: &str, from: Option<&str>) -> Outcome {
    let fleet = node.fleet.as_ref().ok_or_else(Failure::not_connected)?;
    fleet.shared_show(typed, from).map(Answer::SharedShow)
}

fn count(node: &Node, kind: &CountKind, selector: CountSelector) -> Outcome {
    let tree;
    let service = match kind {
        CountKind::Inbound(service) => service.word(),
        CountKind::Outbound => counts::OUTBOUND,
        CountKind::OutboundBinding(binding) => {
            let binding = super::bindings::named(node, binding)?;
            tree = counts::outbound_through(binding.binding());
            tree.as_str()
        }
    };
    let result = match selector {
        CountSelector::Block(prefix) => {
            CountResult::Sessions(node.connections.sum(service, prefix).unwrap_or(0))
        }
        CountSelector::Lengths { low, high } => {
            let rows = node
                .connections
                .read(service, |columns, view: View| columns.rows(view, &RowRange::of_lengths(low, high)));
            let rows = rows.unwrap_or_default().into_iter().map(|row| (row.prefix, row.count)).collect();
            CountResult::Rows { low, high, rows }
        }
    };
    Ok(Answer::Count(CountReply { kind: kind.clone(), result }))
}

fn summary(node: &Node) -> Summary {
    let now = clock::monotonic();
    let queues = node.delivery.queues();
    let (delivered, failed) = (node.statistics.delivered(), node.statistics.failed());
    let since_reset = now.since(node.statistics.reset_at());
    let received = node.statistics.received();
    let rate = |count: u64| {
        let seconds = since_reset.as_secs_f64();
        #[expect(clippy::cast_precision_loss, reason = "shown with two decimals")]
        if seconds > 0.0 { count as f64 / seconds } else { 0.0 }
    };
    Summary {
        inbound_concurrency: node.connections.total(InboundService::Smtp.word()),
        outbound_concurrency: node.delivery.connections() as u64,
        active_domains: queues.iter().map(|queue| &queue.key.domain).collect::<BTreeSet<_>>().len() as u64,
        active_queue_size: queues.iter().map(|queue| queue.active).sum(),
        delayed_queue_size: queues.iter().map(|queue| queue.delayed).sum(),
        successfully_delivered_messages: delivered,
        failed_messages: failed,
        delivery_rate: rate(delivered.saturating_add(failed)),
        rejected_messages: node.statistics.rejected(),
        received_messages: received,
        reception_rate: rate(received),
        since_reset: since_reset.as_secs(),
        uptime: now.since(node.statistics.started).as_secs(),
        ..Summary::default()
    }
}

async fn sysinfo() -> Sysinfo {
    let release =
        tokio::task::spawn_blocking(|| std::fs::read_to_string("/etc/os-release").unwrap_or_default())
            .await
            .unwrap_or_default();
    crate::system::sysinfo(&release)
}
