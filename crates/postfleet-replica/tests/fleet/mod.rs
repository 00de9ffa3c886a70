//! A fleet of replicas on a model of the bus: one order for each component, FIFO, every member at its own pace,
//! views with transitional sets, group joins in the order. Everything follows from the calls made.

#![allow(dead_code, unreachable_pub, reason = "shared by test programs, each of which uses its part")]
#![allow(clippy::unwrap_used, clippy::wildcard_enum_match_arm, reason = "a test may end here")]

pub mod history;
mod links;

pub use links::Link;

use bytes::Bytes;
use postfleet_bus::event::{
    BusEvent, Destination, GroupCause, LeaveReason, LostReason, Member, MemberInfo, SendId,
};
use postfleet_replica::{
    Counted, ObjectKind, ObjectSpec, Of, Outbound, Outgoing, Replica, ReplicaOptions, Rows,
};
use postfleet_types::{
    Epoch, GroupName, Monotonic, NodeName, NodeType, PrivateName, SubclusterName, ViewId, WallTime,
};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::IpAddr;
use std::time::Duration;

pub fn group() -> GroupName {
    "ec_cluster".parse().unwrap()
}

/// A connection as a test opened it.
#[derive(Clone, Debug)]
pub enum Connection {
    Inbound(IpAddr),
    Outbound { binding: String, group: Option<String>, domain: String, host: String, address: IpAddr },
}

pub struct Open {
    connection: Connection,
    counted: Counted,
    /// The objects it is counted in, as they were then.
    instances: BTreeSet<u64>,
}

pub struct Process {
    pub name: PrivateName,
    pub node: NodeName,
    pub replica: Replica,
    pub objects: Vec<(ObjectSpec, u64)>,
    pub open: Vec<Open>,
    pub inbox: VecDeque<BusEvent>,
    pub outbox: VecDeque<Outgoing>,
    /// The side of the network it is on; `None` while it is not connected.
    pub side: Option<u32>,
    /// Members it came along with: those with the same number go together.
    lineage: u64,
    pub in_group: bool,
    age: u64,
    sent: u64,
    pub notices: Vec<String>,
    pub alive: bool,
    /// It has said that it leaves.
    pub retiring: bool,
    /// Its cluster listener takes connections.
    pub listening: bool,
    /// Its fetches.
    pub links: Vec<Link>,
    /// Frames that it received.
    pub frames: usize,
}

pub struct Fleet {
    pub now: Monotonic,
    pub processes: Vec<Process>,
    views: u64,
    instances: u64,
    pids: u32,
    /// Everything that was sent, for comparing two runs.
    pub trace: Vec<(u64, String, u16, Bytes)>,
    pub tune: fn(&mut ReplicaOptions),
    /// Why members leave.
    pub reason: LeaveReason,
    /// The time of day at the origin of the clock, in seconds.
    pub wall_base: u64,
}

pub fn specs() -> Vec<ObjectSpec> {
    let mut customers = ObjectSpec::new("outbound_cidr_cust", ObjectKind::OutboundCidr);
    customers.binding_group = Some("cust".into());
    vec![
        ObjectSpec::of(ObjectKind::InboundCidr),
        ObjectSpec::of(ObjectKind::OutboundCidr),
        customers,
        ObjectSpec::of(ObjectKind::OutboundDomains),
        ObjectSpec::of(ObjectKind::OutboundBindingDomains),
        ObjectSpec::of(ObjectKind::OutboundHosts),
        ObjectSpec::of(ObjectKind::SharedNamedThrottles),
        ObjectSpec::of(ObjectKind::OutboundSlots),
    ]
}

impl Fleet {
    pub fn new(tune: fn(&mut ReplicaOptions)) -> Self {
        Self {
            now: Monotonic::from_millis(1000),
            processes: Vec::new(),
            views: 0,
            instances: 0,
            pids: 100,
            trace: Vec::new(),
            tune,
            reason: LeaveReason::NodeDown,
            wall_base: 1_209_000_000,
        }
    }

    /// The time of day.
    pub fn wall(&self) -> WallTime {
        WallTime::from_unix_millis(self.wall_base * 1000 + self.now.as_micros() / 1000)
    }

    /// A process that is not connected.
    pub fn spawn(&mut self, node: &str, specs: Vec<ObjectSpec>) -> usize {
        self.pids += 1;
        let node: NodeName = node.parse().unwrap();
        let name = PrivateName::shared(&node, self.pids);
        let mut options = ReplicaOptions::new(name.clone(), node.clone(), group());
        (self.tune)(&mut options);
        options.manager = node.as_str().starts_with("manager");
        let mut replica = Replica::new(options, specs.clone());
        replica.set_wall(self.wall());
        let objects = specs.into_iter().map(|spec| (spec, self.instance())).collect();
        self.processes.push(Process {
            name,
            node,
            replica,
            objects,
            open: Vec::new(),
            inbox: VecDeque::new(),
            outbox: VecDeque::new(),
            side: None,
            lineage: 0,
            in_group: false,
            age: 0,
            sent: 0,
            notices: Vec::new(),
            alive: true,
            retiring: false,
            listening: true,
            links: Vec::new(),
            frames: 0,
        });
        self.processes.len() - 1
    }

    fn instance(&mut self) -> u64 {
        self.instances += 1;
        self.instances
    }

    /// A process on side 0, in the data group.
    pub fn start(&mut self, node: &str, specs: Vec<ObjectSpec>) -> usize {
        let at = self.spawn(node, specs);
        self.connect(at, 0);
        self.join_group(at);
        at
    }

    pub fn side_members(&self, side: u32) -> Vec<usize> {
        (0..self.processes.len()).filter(|at| self.processes[*at].side == Some(side)).collect()
    }

    fn member(&self, at: usize) -> Member {
        let process = &self.processes[at];
        Member {
            info: MemberInfo {
                private_name: process.name.clone(),
                node_name: process.node.clone(),
                subcluster: "default".parse::<SubclusterName>().unwrap(),
                node_type: if process.node.as_str().starts_with("manager") {
                    NodeType::Manager
                } else {
                    NodeType::Node
                },
                version: String::from("1"),
                address: "0.0.0.0:0".parse().unwrap(),
                protocol: (1, 1),
                options_digest: 0,
                heartbeats_per_second: 10,
                heartbeat_miss_limit: 100,
                boot_id: 0,
            },
            epoch: Epoch(process.age),
            age: process.age,
            groups: if process.in_group { vec![group()] } else { Vec::new() },
        }
    }

    /// Installs a view on a side. Members with one lineage go together.
    fn install(&mut self, side: u32, left: &[PrivateName]) {
        self.views += 1;
        let mut members = self.side_members(side);
        members.sort_by_key(|at| (self.processes[*at].age, self.processes[*at].name.clone()));
        let list: Vec<Member> = members.iter().map(|at| self.member(*at)).collect();
        for at in &members {
            let (along, anew): (Vec<usize>, Vec<usize>) = members.iter().partition(|other| {
                self.processes[**other].lineage == self.processes[*at].lineage
                    && self.processes[*at].lineage != 0
            });
            let names =
                |list: &[usize]| list.iter().map(|at| self.processes[*at].name.clone()).collect::<Vec<_>>();
            let event = BusEvent::View {
                id: ViewId { counter: self.views, tag: 0 },
                members: list.clone(),
                joined: names(&anew),
                left: left.iter().map(|name| (name.clone(), self.reason)).collect(),
                transitional: names(&along),
            };
            self.processes[*at].inbox.push_back(event);
        }
        for at in members {
            self.processes[at].lineage = self.views;
        }
    }

    pub fn connect(&mut self, at: usize, side: u32) {
        let age = self.views + 1;
        let process = &mut self.processes[at];
        assert!(process.side.is_none() && process.alive);
        process.side = Some(side);
        process.in_group = false;
        process.lineage = 0;
        process.age = age;
        self.install(side, &[]);
    }

    /// The join of the data group takes its place in the order.
    pub fn join_group(&mut self, at: usize) {
        let Some(side) = self.processes[at].side else { return };
        if self.processes[at].in_group {
            return;
        }
        self.processes[at].in_group = true;
        self.group_view(side, GroupCause::Joined);
    }

    pub fn leave_group(&mut self, at: usize) {
        let Some(side) = self.processes[at].side else { return };
        self.processes[at].in_group = false;
        self.group_view(side, GroupCause::Left);
    }

    fn group_view(&mut self, side: u32, cause: GroupCause) {
        let members = self.side_members(side);
        let names: Vec<PrivateName> = members
            .iter()
            .filter(|at| self.processes[**at].in_group)
            .map(|at| self.processes[*at].name.clone())
            .collect();
        for at in members {
            self.processes[at].inbox.push_back(BusEvent::GroupView {
                group: group(),
                members: names.clone(),
                cause,
            });
        }
    }

    /// The process prepares to end in good order.
    pub fn retire(&mut self, at: usize) {
        let now = self.now;
        self.processes[at].retiring = true;
        self.processes[at].replica.leave(now);
        self.turn_ends(at);
    }

    /// The process dies.
    pub fn kill(&mut self, at: usize) {
        self.processes[at].alive = false;
        self.processes[at].inbox.clear();
        self.processes[at].links.clear();
        self.drop_connection(at);
    }

    /// The connection ends; the process lives on and may connect again.
    pub fn lose(&mut self, at: usize) {
        if self.processes[at].side.is_none() {
            return;
        }
        self.drop_connection(at);
        // What was not read yet may be gone as well.
        self.processes[at].inbox.clear();
        self.processes[at].inbox.push_back(BusEvent::Lost { reason: LostReason::Daemon });
    }

    fn drop_connection(&mut self, at: usize) {
        self.processes[at].outbox.clear();
        let Some(side) = self.processes[at].side.take() else { return };
        self.processes[at].in_group = false;
        let name = self.processes[at].name.clone();
        self.install(side, &[name]);
    }

    /// Moves these members of a side to another, empty one.
    pub fn split(&mut self, side: u32, away: &[usize], to: u32) {
        assert!(self.side_members(to).is_empty());
        let names =
            |list: &[usize]| list.iter().map(|at| self.processes[*at].name.clone()).collect::<Vec<_>>();
        let gone = names(away);
        let stay: Vec<usize> = self.side_members(side).into_iter().filter(|at| !away.contains(at)).collect();
        let left = names(&stay);
        for at in away {
            self.processes[*at].side = Some(to);
        }
        if !stay.is_empty() && !away.is_empty() {
            self.install(side, &gone);
            self.install(to, &left);
        }
    }

    /// Brings the members of `from` to `side`.
    pub fn merge(&mut self, side: u32, from: u32) {
        let moved = self.side_members(from);
        if moved.is_empty() {
            return;
        }
        for at in moved {
            self.processes[at].side = Some(side);
        }
        self.install(side, &[]);
    }

    /// The next message of a member takes its place in the order.
    pub fn sequence(&mut self, at: usize) -> bool {
        let Some(side) = self.processes[at].side else { return false };
        let Some(outgoing) = self.processes[at].outbox.pop_front() else { return false };
        let from = self.processes[at].name.clone();
        self.processes[at].sent += 1;
        let sent = SendId(self.processes[at].sent);
        for other in self.side_members(side) {
            let process = &mut self.processes[other];
            let addressed = outgoing.to.iter().any(|to| match to {
                Destination::Group(name) => *name == group() && process.in_group,
                Destination::Member(name) => *name == process.name,
            });
            if addressed {
                process.inbox.push_back(BusEvent::Message {
                    from: from.clone(),
                    to: outgoing.to.clone(),
                    kind: outgoing.kind,
                    payload: outgoing.payload.clone(),
                    view: ViewId { counter: self.views, tag: 0 },
                    own: (other == at).then_some(sent),
                });
            }
        }
        true
    }

    /// A member reads its next event.
    pub fn deliver(&mut self, at: usize) -> bool {
        let Some(event) = self.processes[at].inbox.pop_front() else { return false };
        let wall = self.wall();
        self.processes[at].replica.set_wall(wall);
        self.processes[at].replica.handle(self.now, &event);
        self.turn_ends(at);
        true
    }

    /// What the driver does at the end of a turn.
    pub fn turn_ends(&mut self, at: usize) {
        let process = &mut self.processes[at];
        if process.side.is_some() {
            // Its heartbeats come back at once.
            process.replica.heard(self.now, self.now);
        }
        while let Some(outgoing) = process.replica.poll_send(self.now) {
            self.trace.push((
                self.now.as_micros(),
                process.name.to_string(),
                outgoing.kind,
                outgoing.payload.clone(),
            ));
            if process.side.is_some() {
                process.outbox.push_back(outgoing);
            }
        }
        while let Some(notice) = process.replica.poll_notice() {
            process.notices.push(format!("{:?}: {}", notice.severity, notice.text));
        }
        self.start_transfers(at);
    }

    pub fn advance(&mut self, by: Duration) {
        self.now = self.now + by;
        let wall = self.wall();
        for at in 0..self.processes.len() {
            let process = &mut self.processes[at];
            process.replica.set_wall(wall);
            if process.alive && process.replica.poll_deadline().is_some_and(|due| due <= self.now) {
                process.replica.handle_timeout(self.now);
                self.turn_ends(at);
            }
        }
    }

    /// Orders and delivers all there is.
    pub fn settle(&mut self) {
        loop {
            let mut any = false;
            for at in 0..self.processes.len() {
                while self.sequence(at) {
                    any = true;
                }
            }
            for at in 0..self.processes.len() {
                while self.deliver(at) {
                    any = true;
                }
                for which in 0..self.processes[at].links.len() {
                    while self.carry(at, which) {
                        any = true;
                    }
                }
            }
            if !any {
                break;
            }
        }
    }

    /// Lets time pass in steps of a millisecond, with a quick bus.
    pub fn run(&mut self, millis: u64) {
        for _ in 0..millis {
            self.settle();
            self.advance(Duration::from_millis(1));
        }
        self.settle();
    }

    /// Lets time pass from deadline to deadline, with a quick bus.
    pub fn run_coarsely(&mut self, millis: u64) {
        let end = self.now + Duration::from_millis(millis);
        self.settle();
        while self.now < end {
            let next = self
                .processes
                .iter()
                .filter(|process| process.alive)
                .filter_map(|process| process.replica.poll_deadline())
                .chain(self.next_frame())
                .min()
                .map_or(end, |next| next.max(self.now + Duration::from_micros(100)).min(end));
            self.advance(next.since(self.now));
            self.settle();
        }
    }

    pub fn open(&mut self, at: usize, connection: Connection) {
        let now = self.now;
        let process = &mut self.processes[at];
        let counted = match &connection {
            Connection::Inbound(client) => process.replica.inbound_opened(now, *client),
            Connection::Outbound { .. } => process.replica.outbound_opened(now, &outbound(&connection)),
        };
        let instances = process.objects.iter().map(|(_, instance)| *instance).collect();
        process.open.push(Open { connection, counted, instances });
        self.turn_ends(at);
    }

    pub fn close(&mut self, at: usize, which: usize) {
        let now = self.now;
        let process = &mut self.processes[at];
        if process.open.is_empty() {
            return;
        }
        let which = which % process.open.len();
        let open = process.open.swap_remove(which);
        match &open.connection {
            Connection::Inbound(client) => process.replica.inbound_closed(now, *client, open.counted),
            Connection::Outbound { .. } => {
                process.replica.outbound_closed(now, &outbound(&open.connection), open.counted);
            }
        }
        self.turn_ends(at);
    }

    pub fn reconfigure(&mut self, at: usize, specs: Vec<ObjectSpec>) {
        let old = std::mem::take(&mut self.processes[at].objects);
        let mut objects = Vec::new();
        for spec in &specs {
            let kept = old.iter().find(|(o, _)| {
                o.name == spec.name && o.kind == spec.kind && o.binding_group == spec.binding_group
            });
            let instance = kept.map_or_else(|| self.instance(), |(_, instance)| *instance);
            objects.push((spec.clone(), instance));
        }
        let now = self.now;
        let process = &mut self.processes[at];
        process.objects = objects;
        process.replica.reconfigure(now, specs);
        self.turn_ends(at);
    }

    /// What a process really has open, as rows of one of its objects; `None` when it does not have the object.
    pub fn truth(&self, at: usize, name: &str, kind: ObjectKind) -> Option<BTreeMap<String, u64>> {
        let process = &self.processes[at];
        let (spec, instance) =
            process.objects.iter().find(|(spec, _)| spec.name == name && spec.kind == kind)?;
        let mut rows = BTreeMap::new();
        for open in process.open.iter().filter(|open| open.instances.contains(instance)) {
            for key in keys(spec, &open.connection) {
                *rows.entry(key).or_insert(0) += 1;
            }
        }
        Some(rows)
    }

    /// The rows of full addresses, or of names, that a process displays.
    pub fn shown(&self, at: usize, name: &str, of: Of<'_>) -> Result<BTreeMap<String, u64>, String> {
        let show = self.processes[at].replica.show(name, of).map_err(|error| error.to_string())?;
        Ok(match show.rows {
            Rows::Addresses(rows) => rows
                .into_iter()
                .filter(|row| row.prefix.length() == if row.prefix.address().is_ipv4() { 32 } else { 128 })
                .map(|row| (row.prefix.address().to_string(), row.count))
                .collect(),
            Rows::Names(rows) => rows.into_iter().collect(),
            Rows::Throttles(_) | Rows::Slots(_) | Rows::None | Rows::Pairs(_) => BTreeMap::new(),
        })
    }

    /// After quiet: every member shows exactly what the members of its side have open.
    pub fn check_converged(&self) {
        for (at, process) in self.processes.iter().enumerate() {
            if !process.alive {
                continue;
            }
            for (spec, _) in process.objects.iter().filter(|(spec, _)| spec.kind.counts_connections()) {
                let mut global = self.truth(at, &spec.name, spec.kind).unwrap();
                for (other_at, other) in self.processes.iter().enumerate() {
                    let together = other.side.is_some() && other.side == process.side;
                    if other_at == at || !together || !other.in_group || !process.in_group {
                        continue;
                    }
                    let shown = self.shown(at, &spec.name, Of::Node(other.node.as_str()));
                    match self.truth(other_at, &spec.name, spec.kind) {
                        Some(rows) => {
                            assert_eq!(
                                shown.as_ref(),
                                Ok(&rows),
                                "{} from {} on {}",
                                spec.name,
                                other.node,
                                process.node
                            );
                            for (key, count) in rows {
                                *global.entry(key).or_insert(0) += count;
                            }
                        }
                        None => {
                            assert!(shown.is_err(), "{} from {} on {}", spec.name, other.node, process.node)
                        }
                    }
                }
                let shown = self.shown(at, &spec.name, Of::Global);
                assert_eq!(shown, Ok(global), "{} global on {}", spec.name, process.node);
            }
            assert_eq!(process.replica.online(), process.in_group, "{}", process.node);
            assert!(process.replica.complete() || !process.in_group, "{} is complete", process.node);
            assert!(!process.replica.waiting(), "{} does not wait", process.node);
        }
    }

    /// After quiet: the members of a side that share an ordered object hold the same.
    pub fn check_tables(&self) {
        for kind in [ObjectKind::SharedNamedThrottles, ObjectKind::OutboundSlots] {
            let mut seen: BTreeMap<u32, (&NodeName, u64)> = BTreeMap::new();
            for process in self.processes.iter().filter(|process| process.alive && process.in_group) {
                let (Some(side), true) =
                    (process.side, process.objects.iter().any(|(spec, _)| spec.kind == kind))
                else {
                    continue;
                };
                let print = process.replica.fingerprint(kind.word());
                let print = print.unwrap_or_else(|| panic!("{} exchanges {}", process.node, kind.word()));
                let (first, theirs) = seen.entry(side).or_insert((&process.node, print));
                assert_eq!(print, *theirs, "{} on {} and {first}", kind.word(), process.node);
            }
        }
    }

    /// At any moment: the global view is the sum of the columns.
    pub fn check_sums(&self) {
        for process in self.processes.iter().filter(|process| process.alive) {
            for (spec, _) in process.objects.iter().filter(|(spec, _)| spec.kind.counts_connections()) {
                let object = process.replica.object(&spec.name).unwrap();
                let columns: u64 = object.columns_total().iter().map(|column| column.count).sum();
                assert_eq!(object.total(Of::Global), Ok(columns), "{} on {}", spec.name, process.node);
            }
        }
    }
}

fn outbound(connection: &Connection) -> Outbound<'_> {
    let Connection::Outbound { binding, group, domain, host, address } = connection else {
        panic!("an outbound connection");
    };
    Outbound { binding, group: group.as_deref(), domain, host: Some(host), address: *address }
}

fn keys(spec: &ObjectSpec, connection: &Connection) -> Vec<String> {
    match connection {
        Connection::Inbound(client) => {
            if spec.kind == ObjectKind::InboundCidr {
                vec![client.to_string()]
            } else {
                Vec::new()
            }
        }
        Connection::Outbound { binding, group, domain, host, address } => {
            if spec.binding_group.is_some() && spec.binding_group != *group {
                return Vec::new();
            }
            match spec.kind {
                ObjectKind::OutboundCidr => vec![address.to_string()],
                ObjectKind::OutboundDomains => vec![domain.clone()],
                ObjectKind::OutboundHosts => vec![host.clone()],
                ObjectKind::OutboundBindingDomains => {
                    let mut keys =
                        vec![format!("{binding}::{domain}"), format!("{binding}::*"), format!("*::{domain}")];
                    keys.extend(group.as_ref().map(|group| format!("{group}/*::{domain}")));
                    keys
                }
                _ => Vec::new(),
            }
        }
    }
}
