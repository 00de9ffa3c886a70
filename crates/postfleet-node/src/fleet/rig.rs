//! Members without mail, for tests and measurements: the local bus, real cluster listeners, the tasks that a node has.
#![allow(clippy::unwrap_used, reason = "equipment fails by panicking")]

use super::{BusKind, Class, ConfiguredObject, Fleet, FleetSettings, LimitSettings, Listed, ReportOf, run};
use crate::cluster_listener::{Dialing, Door, converse, is_member};
use crate::socket::Socket;
use postfleet_bus::event::MemberInfo;
use postfleet_replica::{ObjectKind, ObjectSpec, TableOptions};
use postfleet_types::{NodeName, NodeType, PrivateName};
use std::net::{IpAddr, Ipv4Addr};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::task::JoinSet;

/// One of them.
pub(crate) struct Member {
    pub(crate) fleet: Arc<Fleet>,
    pub(crate) tasks: JoinSet<()>,
}

/// A member at 127.0.78.`number`. `listens`: whether its cluster listener is there.
pub(crate) async fn start(dir: &Path, number: u8, dialing: Dialing, listens: bool) -> Member {
    let report: ReportOf = Arc::new(super::Report::default);
    start_with(dir, number, dialing, listens, (1, 30), report).await
}

/// As [`start`], with heartbeats in a second and how many may be missing, and what the member says of its work.
pub(crate) async fn start_with(
    dir: &Path,
    number: u8,
    dialing: Dialing,
    listens: bool,
    heartbeats: (u16, u16),
    report: ReportOf,
) -> Member {
    let ip = IpAddr::V4(Ipv4Addr::new(127, 0, 78, number));
    let listener = TcpListener::bind((ip, 0)).await.unwrap();
    let address = listener.local_addr().unwrap();
    let name: NodeName = format!("rig-{number}").parse().unwrap();
    // Members of one process differ in what stands for its number.
    let process = u32::from(number);
    let settings = FleetSettings {
        bus: BusKind::Local { path: dir.join("bus"), bus_name: "rig".into() },
        daemon: String::from("bus"),
        main_name: PrivateName::main(&name, process),
        shared_name: PrivateName::shared(&name, process),
        info: MemberInfo {
            private_name: PrivateName::main(&name, process),
            node_name: name.clone(),
            subcluster: "default".parse().unwrap(),
            node_type: NodeType::Node,
            version: String::from("rig"),
            address,
            protocol: (1, 1),
            options_digest: 0,
            heartbeats_per_second: heartbeats.0,
            heartbeat_miss_limit: heartbeats.1,
            boot_id: 0,
        },
        control_group: "ec_console".parse().unwrap(),
        subcluster_group: "ec_sc_default".parse().unwrap(),
        cluster_group: "ec_cluster".parse().unwrap(),
        log_group: None,
        heartbeat_start_delay: Duration::from_secs(if heartbeats.0 > 1 { 0 } else { 15 }),
        max_backlog: 5000,
        peers: Vec::new(),
        reconnect_interval: Duration::from_secs(1),
        min_delay: Some(Duration::from_millis(10)),
        tables: TableOptions::default(),
        limits: LimitSettings::default(),
        dialing: dialing.clone(),
    };
    let objects = [
        ObjectKind::InboundCidr,
        ObjectKind::OutboundDomains,
        ObjectKind::SharedNamedThrottles,
        ObjectKind::OutboundSlots,
    ]
    .map(|kind| ConfiguredObject { spec: ObjectSpec::of(kind), listed: Listed::default() });
    let fleet = Fleet::new(settings, objects.into());
    let mut tasks = JoinSet::new();
    for class in [Class::Main, Class::Shared] {
        tasks.spawn(run(Arc::clone(&fleet), class, Arc::clone(&report)));
    }
    if listens {
        let fleet = Arc::clone(&fleet);
        tasks.spawn(async move {
            loop {
                let (stream, peer) = listener.accept().await.unwrap();
                let (fleet, dialing, name) = (Arc::clone(&fleet), dialing.clone(), name.clone());
                tokio::spawn(async move {
                    let door = Door {
                        name: name.as_str(),
                        key: dialing.key.as_ref(),
                        is_member: is_member(&fleet, peer.ip()),
                        stopping: false,
                        busy: fleet.turns.all_taken(),
                    };
                    let socket = Socket::Tcp(stream);
                    converse(Some(&fleet), socket, peer.ip(), &door, dialing.tls.as_ref()).await;
                });
            }
        });
    }
    Member { fleet, tasks }
}

impl Member {
    /// In the view with so many, and nothing missing.
    pub(crate) fn complete(&self, members: usize) -> bool {
        self.fleet.shared().members.len() == members
            && self.fleet.replica(|replica| replica.online() && replica.complete() && !replica.waiting())
    }
}
