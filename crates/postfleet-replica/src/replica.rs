//! The state machine of the shared-data connection: local events and deliveries in, messages and notices out.

use crate::configuring::Roster;
use crate::counts::{Key, Origin};
use crate::departed::Heirs;
use crate::fetching::Fetches;
use crate::object::{ObjectKind, ObjectSpec};
use crate::ordered::TableOptions;
use crate::pacing::{Pacing, Which};
use crate::parked::Parking;
use crate::peer::{NOTICE_INTERVAL, Peer};
use crate::session::{Need, SESSIONS_MAX, Session};
use crate::shared::{Column, Data, Shared};
use crate::tables::table_delay;
use alloc::collections::{BTreeMap, VecDeque};
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use bytes::Bytes;
use core::net::IpAddr;
use core::time::Duration;
use postfleet_bus::event::Destination;
use postfleet_gauge::keys;
use postfleet_types::{GroupName, Monotonic, NodeName, PrivateName, normalised};
use postfleet_types::{Notice, Severity};

/// Settings of a [`Replica`].
#[derive(Clone, Debug)]
pub struct ReplicaOptions {
    /// The name of this member's shared connection.
    pub own: PrivateName,
    /// The name of this node.
    pub node: NodeName,
    /// The data group: the name of the cluster group, on the shared connections.
    pub group: GroupName,
    /// The least time between two batches (option `min_delay`, default 10 ms); `None` is the option's value -1:
    /// nothing is sent at once, only `max_delay` and `max_pending` decide.
    pub min_delay: Option<Duration>,
    /// The longest batch message in bytes, 4096 to 1 000 000. Default 900 000: what the bus takes, with room.
    pub batch_bytes_max: usize,
    /// The longest part of a column in one chunk, in bytes, at most 65 024. Default 32 768: taking one holds up the
    /// node for a millisecond or two. The same on all members, or columns that are known already are sent again.
    pub chunk_bytes_max: usize,
    /// What a marker may carry itself, in bytes, all columns together; a column that does not fit goes in chunks.
    /// Default 32 768.
    pub inline_bytes_max: usize,
    /// Settings of throttles and slots.
    pub tables: TableOptions,
    /// This member is a manager: it holds what nodes send to managers only. Default false.
    pub manager: bool,
}

impl ReplicaOptions {
    /// The defaults for a member.
    #[must_use]
    pub fn new(own: PrivateName, node: NodeName, group: GroupName) -> Self {
        Self {
            own,
            node,
            group,
            min_delay: Some(Duration::from_millis(10)),
            batch_bytes_max: 900_000,
            chunk_bytes_max: 32 * 1024,
            inline_bytes_max: 32 * 1024,
            tables: TableOptions::default(),
            manager: false,
        }
    }
}

/// A message to be submitted to the bus, in the order in which it was polled.
///
/// When the bus answers that its queue is full, keep it and submit it again before anything later. When the
/// connection has ended, drop it and hand over `Lost`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outgoing {
    /// Its destinations.
    pub to: Vec<Destination>,
    /// The kind of message for the bus.
    pub kind: u16,
    /// Its bytes.
    pub payload: Bytes,
}

/// One outbound connection, as it is counted. The end of a connection must name what its start named.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Outbound<'a> {
    /// The binding it leaves from. 1 to 255 bytes.
    pub binding: &'a str,
    /// The group of the binding, when it is in one.
    pub group: Option<&'a str>,
    /// The destination domain, as A-labels.
    pub domain: &'a str,
    /// The host as the MX record names it; `None` when it goes to an address literal.
    pub host: Option<&'a str>,
    /// The remote address.
    pub address: IpAddr,
}

/// Proof that an opening was counted. Objects that were configured later do not count the end either.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Counted {
    generation: u64,
}

/// What happened since the start. Numbers only grow.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[allow(missing_docs, reason = "the names say it")]
pub struct Counters {
    pub own_changes: u64,
    pub own_changes_clamped: u64,
    pub batches_sent: u64,
    pub batch_bytes_sent: u64,
    pub batches_received: u64,
    pub batch_bytes_received: u64,
    pub changes_received: u64,
    pub batches_ignored: u64,
    pub gaps: u64,
    pub malformed: u64,
    pub markers_sent: u64,
    pub chunks_sent: u64,
    pub chunk_bytes_sent: u64,
    pub chunks_received: u64,
    pub columns_received: u64,
    pub questions_sent: u64,
    pub fetches_opened: u64,
    pub fetches_fallen_back: u64,
    pub fetch_chunks_received: u64,
    pub fetch_bytes_received: u64,
    pub fetches_served: u64,
    pub fetch_chunks_served: u64,
    pub fetch_bytes_served: u64,
    pub columns_kept: u64,
    pub table_messages_sent: u64,
    pub table_bytes_sent: u64,
    pub table_messages_received: u64,
    pub table_bodies_applied: u64,
    pub heritage_received: u64,
}

/// How long a joiner waits for the columns of the others before it goes on without.
pub const JOIN_PATIENCE: Duration = Duration::from_secs(5);

/// Notices kept for the driver; more would mean that it does not read them.
const NOTICES_MAX: usize = 1000;

/// The shared data of this member.
///
/// Duties of the driver, in this order for each turn of its loop:
/// 1. hand over what happened: [`Replica::inbound_opened`] and its kin, [`Replica::handle`] for every event of the
///    shared connection in order, [`Replica::handle_timeout`] when [`Replica::poll_deadline`] has passed;
/// 2. call [`Replica::poll_send`] until it returns `None` and submit each message in that order;
/// 3. call [`Replica::poll_transfer`] until it returns `None` and start, or end, each fetch; fetches run beside the
///    loop, each with a connection of its own. The frames of one fetch are handed over in their order
///    ([`Replica::fetched`]), then, unless it was closed here, its end ([`Replica::fetch_ended`]); frames of several
///    fetches, and events of the bus, may come in any order. An open fetch that is neither answered nor ended stops
///    the others behind it, so connecting must have a time limit;
/// 4. call [`Replica::poll_notice`] until it returns `None`;
/// 5. sleep until the next input or [`Replica::poll_deadline`].
///
/// At any time, for a connection of another member that asks for its service of bulk state: read one frame, hand it
/// to [`Replica::serve`], and do what [`Serving::poll`](crate::Serving::poll) says. Serve few at a time, and send
/// [`wait_frame`](crate::wait_frame) once a second to those that wait.
///
/// A driver without point-to-point connections answers every [`Transfer::Open`](crate::Transfer::Open) with
/// [`FetchEnd::Unreachable`](crate::FetchEnd::Unreachable): everything then travels on the bus.
#[derive(Debug)]
pub struct Replica {
    pub(crate) options: ReplicaOptions,
    pub(crate) objects: Vec<Shared>,
    pub(crate) generation: u64,
    /// The number of the stream of batches; a new one begins whenever changes are left out because nobody is there.
    pub(crate) stream: u64,
    pub(crate) pacing: Pacing,
    /// Of the messages of ordered objects.
    pub(crate) table_pacing: Pacing,
    /// Who shares the ordered objects.
    pub(crate) roster: Roster,
    /// Departed members whose process ended on a host that seems to live: when this is said in the order.
    pub(crate) suspects: BTreeMap<PrivateName, Monotonic>,
    /// This member is in the view and in the data group.
    pub(crate) online: bool,
    /// No view has been installed since the start or the last loss of the connection.
    pub(crate) fresh: bool,
    pub(crate) peers: BTreeMap<PrivateName, Peer>,
    /// The members of the view by age, this one included.
    pub(crate) order: Vec<PrivateName>,
    pub(crate) origins: u32,
    pub(crate) need: BTreeMap<PrivateName, Need>,
    /// The cuts held, oldest first.
    pub(crate) sessions: Vec<Session>,
    pub(crate) session_numbers: u64,
    /// Markers sent and not delivered back.
    pub(crate) markers_under_way: u32,
    /// Members to be told of those who are gone.
    pub(crate) heirs: Heirs,
    /// Of a member that has gone something is missing here.
    pub(crate) heritage_lacks: bool,
    pub(crate) fetches: Fetches,
    pub(crate) parking: Parking,
    pub(crate) wait_until: Option<Monotonic>,
    pub(crate) outbox: VecDeque<Outgoing>,
    pub(crate) notices: VecDeque<Notice>,
    pub(crate) counters: Counters,
}

impl Replica {
    /// A member that is not connected yet. It counts from now on.
    #[must_use]
    pub fn new(options: ReplicaOptions, objects: Vec<ObjectSpec>) -> Self {
        let pacing = Pacing { min_delay: options.min_delay, under_way: 0, last_sent: None };
        Self {
            roster: Roster::new(&options.own),
            table_pacing: Pacing { min_delay: Some(table_delay(&options)), ..pacing },
            suspects: BTreeMap::new(),
            objects: objects.into_iter().map(|spec| Shared::new(spec, 1, &options)).collect(),
            options,
            generation: 1,
            stream: 1,
            pacing,
            online: false,
            fresh: true,
            peers: BTreeMap::new(),
            order: Vec::new(),
            origins: 0,
            need: BTreeMap::new(),
            sessions: Vec::new(),
            session_numbers: 0,
            markers_under_way: 0,
            heirs: Heirs::default(),
            heritage_lacks: false,
            fetches: Fetches::default(),
            parking: Parking::default(),
            wait_until: None,
            outbox: VecDeque::new(),
            notices: VecDeque::new(),
            counters: Counters::default(),
        }
    }

    /// An inbound SMTP connection was accepted. Keep the result for [`Replica::inbound_closed`].
    pub fn inbound_opened(&mut self, now: Monotonic, client: IpAddr) -> Counted {
        let opened = Counted { generation: self.generation };
        self.inbound(now, client, 1, opened);
        opened
    }

    /// It was closed; exactly once for each opening, with the same address.
    pub fn inbound_closed(&mut self, now: Monotonic, client: IpAddr, opened: Counted) {
        self.inbound(now, client, -1, opened);
    }

    fn inbound(&mut self, now: Monotonic, client: IpAddr, delta: i64, opened: Counted) {
        let key = Key::Address(normalised(client));
        self.change_each(now, delta, opened, |spec, count| {
            if spec.kind == ObjectKind::InboundCidr {
                count(key);
            }
        });
    }

    /// An outbound connect was started. Keep the result for [`Replica::outbound_closed`].
    pub fn outbound_opened(&mut self, now: Monotonic, connection: &Outbound<'_>) -> Counted {
        let opened = Counted { generation: self.generation };
        self.outbound(now, connection, 1, opened);
        opened
    }

    /// It failed, or the connection was closed; exactly once for each opening.
    pub fn outbound_closed(&mut self, now: Monotonic, connection: &Outbound<'_>, opened: Counted) {
        self.outbound(now, connection, -1, opened);
    }

    fn outbound(&mut self, now: Monotonic, connection: &Outbound<'_>, delta: i64, opened: Counted) {
        let address = normalised(connection.address);
        let domain = keys::domain_key(connection.domain);
        self.change_each(now, delta, opened, |spec, count| {
            if spec.binding_group.is_some() && spec.binding_group.as_deref() != connection.group {
                return;
            }
            match spec.kind {
                ObjectKind::OutboundCidr => count(Key::BoundAddress(connection.binding, address)),
                ObjectKind::OutboundDomains => count(Key::Name(&bound_name(&domain, connection.binding))),
                ObjectKind::OutboundHosts => {
                    if let Some(host) = connection.host {
                        let host = keys::domain_key(host);
                        count(Key::Name(&bound_name(&host, connection.binding)));
                    }
                }
                ObjectKind::OutboundBindingDomains => {
                    for key in keys::binding_domain_keys(connection.binding, connection.group, &domain) {
                        count(Key::Name(&key));
                    }
                }
                ObjectKind::InboundCidr
                | ObjectKind::Obtm
                | ObjectKind::Obtc
                | ObjectKind::SharedNamedThrottles
                | ObjectKind::OutboundSlots
                | ObjectKind::Metrics
                | ObjectKind::EccmgrMetrics
                | ObjectKind::Cache => {}
            }
        });
    }

    /// Lets `choose` name the keys to be changed in each object, and changes them.
    fn change_each(
        &mut self,
        now: Monotonic,
        delta: i64,
        opened: Counted,
        choose: impl Fn(&ObjectSpec, &mut dyn FnMut(Key<'_>)),
    ) {
        let sharing = self.sharing();
        for Shared { spec, data, .. } in &mut self.objects {
            let Some(data) = data else { continue };
            // The opening was counted only by objects that existed then.
            if delta < 0 && opened.generation < data.since {
                continue;
            }
            let mut clamped = false;
            choose(spec, &mut |key| {
                if !data.counts.change_own(key, delta, now) {
                    clamped = true;
                    self.counters.own_changes_clamped += 1;
                } else {
                    self.counters.own_changes += 1;
                    if sharing {
                        data.note(key, delta, now);
                    }
                }
            });
            if clamped && noticed(&mut data.clamp_noticed, now) {
                let text = format!(
                    "{}: a connection was closed that had not been counted; its count stays at 0. Whatever closed \
                     it did so twice, or opened it uncounted",
                    spec.name
                );
                push_notice(&mut self.notices, Severity::Error, text);
            }
        }
    }

    /// Whether anybody is there to share with.
    pub(crate) fn sharing(&self) -> bool {
        self.online && self.peers.values().any(|peer| peer.origin.is_some())
    }

    /// The next message for the bus. Call it until it returns `None`, at the end of every turn.
    ///
    /// Changed by every other call, and by time.
    pub fn poll_send(&mut self, now: Monotonic) -> Option<Outgoing> {
        loop {
            if let Some(outgoing) = self.outbox.pop_front() {
                return Some(outgoing);
            }
            if !self.sharing() || !self.produce(now) {
                return None;
            }
        }
    }

    /// Puts the next messages that are due into the outbox. `false` when nothing is due.
    fn produce(&mut self, now: Monotonic) -> bool {
        if self.produce_tables(now) || self.produce_question(now) {
            return true;
        }
        self.sessions.retain(|session| !session.finished());
        if self.must_make_way()
            && let Some(at) = self.sessions.iter().position(|session| session.may_go(now))
        {
            let session = self.sessions.remove(at);
            // Members that have neither answered nor begun to fetch are covered by the next marker.
            for member in session.unanswered.difference(&session.fetching) {
                self.needs(member, Need::All);
            }
        }
        if self.sessions.len() < SESSIONS_MAX && !self.need.is_empty() {
            self.start_session(now);
            return true;
        }
        let which = self.pacing.which(&self.objects, now);
        self.send_pending(which, now) || self.produce_heritage() || self.produce_chunk(now)
    }

    /// Whether members wait for a cut and no more can be held.
    fn must_make_way(&self) -> bool {
        self.sessions.len() >= SESSIONS_MAX && !self.need.is_empty()
    }

    /// Sends what waits, whatever the delays say: before an orderly leave. Poll and submit the messages, then leave.
    pub fn flush(&mut self, now: Monotonic) {
        if self.sharing() {
            self.send_pending(Which::All, now);
            self.send_tables(now);
        }
    }

    /// When [`Replica::handle_timeout`] and [`Replica::poll_send`] have to be called, if nothing else happens before.
    ///
    /// Changed by every other call.
    #[must_use]
    pub fn poll_deadline(&self) -> Option<Monotonic> {
        let prune = self.objects.iter().filter_map(|object| object.data.as_ref()?.counts.poll_prune()).min();
        let mut deadlines =
            [prune, self.wait_until, None, None, None, self.parking.deadline(), self.tables_deadline(), None];
        if self.sharing() {
            deadlines[7] = self.tables_send_deadline();
            deadlines[2] = self.pacing.deadline(&self.objects);
            deadlines[3] = self.question_deadline();
            let others_wait = self.must_make_way();
            deadlines[4] = self.sessions.iter().filter_map(|session| session.deadline(others_wait)).min();
        }
        deadlines.into_iter().flatten().min()
    }

    /// Does what time has brought. Early and repeated calls do no harm.
    pub fn handle_timeout(&mut self, now: Monotonic) {
        for object in &mut self.objects {
            if let Some(data) = &mut object.data
                && data.counts.poll_prune().is_some_and(|due| due <= now)
                && data.counts.prune(now)
            {
                data.drop_bare();
            }
        }
        self.parking.expire(now);
        self.handle_tables_timeout(now);
        if self.sharing() {
            self.question_the_late(now);
        }
        self.check_wait(now);
    }

    /// The next line for the log.
    pub fn poll_notice(&mut self) -> Option<Notice> {
        self.notices.pop_front().or_else(|| self.poll_table_notice())
    }

    /// What happened since the start.
    #[must_use]
    pub const fn counters(&self) -> Counters {
        self.counters
    }

    /// The settings.
    #[must_use]
    pub const fn options(&self) -> &ReplicaOptions {
        &self.options
    }

    /// Takes a new `min_delay` at once.
    pub fn set_min_delay(&mut self, min_delay: Option<Duration>) {
        self.options.min_delay = min_delay;
        self.pacing.min_delay = min_delay;
        self.table_pacing.min_delay = Some(table_delay(&self.options));
    }

    /// Whether this member is in the view and in the data group.
    #[must_use]
    pub const fn online(&self) -> bool {
        self.online
    }

    /// Whether every column of every member that is present is held.
    #[must_use]
    pub fn complete(&self) -> bool {
        self.datas().all(|data| data.remote.values().all(Column::complete))
    }

    /// Whether this member has just joined and still waits for the others' columns: until it is complete, at most
    /// [`JOIN_PATIENCE`]. Meanwhile it must not open connections that a cluster limit governs.
    ///
    /// Joining is a first view, and a view to which more members came anew than came along.
    #[must_use]
    pub const fn waiting(&self) -> bool {
        self.wait_until.is_some()
    }

    pub(crate) fn check_wait(&mut self, now: Monotonic) {
        let Some(until) = self.wait_until else { return };
        if self.complete() {
            self.wait_until = None;
        } else if until <= now {
            self.wait_until = None;
            let mut missing: Vec<&str> = Vec::new();
            for (name, peer) in &self.peers {
                let Some(origin) = peer.origin else { continue };
                if self.datas().any(|data| data.remote.get(&origin).is_some_and(|column| !column.complete()))
                {
                    missing.push(name.as_str());
                }
            }
            let text = format!(
                "the counts of {} have not arrived within {} s; cluster limits are compared without them until they do",
                missing.join(", "),
                JOIN_PATIENCE.as_secs()
            );
            self.notice(Severity::Warning, text);
        }
    }

    pub(crate) fn datas(&self) -> impl Iterator<Item = &Data> {
        self.objects.iter().filter_map(|object| object.data.as_ref())
    }

    pub(crate) fn new_origin(&mut self) -> Origin {
        self.origins = self.origins.saturating_add(1);
        Origin(self.origins)
    }

    pub(crate) fn notice(&mut self, severity: Severity, text: String) {
        push_notice(&mut self.notices, severity, text);
    }
}

pub(crate) fn push_notice(notices: &mut VecDeque<Notice>, severity: Severity, text: String) {
    if notices.len() < NOTICES_MAX {
        notices.push_back(Notice { severity, text });
    }
}

/// Whether something may be logged again, and notes that it is.
pub(crate) fn noticed(last: &mut Option<Monotonic>, now: Monotonic) -> bool {
    let due = last.is_none_or(|last| now.since(last) >= NOTICE_INTERVAL);
    if due {
        *last = Some(now);
    }
    due
}

/// The key of a name whose counts know their binding. The separator sorts before every character of a name.
pub(crate) fn bound_name(name: &str, binding: &str) -> String {
    let mut key = String::with_capacity(name.len() + 1 + binding.len());
    key.push_str(name);
    key.push('\0');
    key.push_str(binding);
    key
}
