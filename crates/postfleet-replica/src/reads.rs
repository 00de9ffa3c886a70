//! What is known here at this moment. Nothing in this file sends or changes anything.

use crate::counts::{Counts, Origin};
use crate::metrics::Metrics;
use crate::object::{MetricWord, ObjectKind, Structure};
use crate::ordered::Table;
use crate::replica::{Replica, bound_name};
use crate::shared::{Column, Data, Shared};
use alloc::string::String;
use alloc::vec::Vec;
use bytes::Bytes;
use core::time::Duration;
use postfleet_cidr::{Row, RowRange};
use postfleet_gauge::GaugeColumns;
use postfleet_series::{Monitor, Query, Range};
use postfleet_throttle::{Rate, SlotRow, ThrottleRow};
use postfleet_types::{Monotonic, Prefix, PrivateName, View};

/// Whose counts are read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Of<'a> {
    /// All members': the sum of all columns held.
    Global,
    /// This member's.
    Own,
    /// The member's that runs on the node of that name.
    Node(&'a str),
}

/// A row of `cluster shared list`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListRow {
    /// The object's name.
    pub name: String,
    /// What it is made of.
    pub structure: Structure,
    /// Whether joiners get what exists already.
    pub snapped: bool,
}

/// What `cluster shared show` displays. All objects are lazy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Show {
    /// Whether joiners get what exists already.
    pub snapped: bool,
    /// What the object is made of.
    pub structure: Structure,
    /// The object's name as it was asked for.
    pub object: String,
    /// `global` or the private name of the member whose column it is.
    pub view: String,
    /// Members whose columns are on their way, by age: of their counts some or all are missing here.
    pub missing: Vec<PrivateName>,
    /// The rows in the order of the display.
    pub rows: Rows,
}

/// Rows with a count other than 0.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Rows {
    /// Of an object that counts by address.
    Addresses(Vec<Row>),
    /// Of an object that counts by name, ascending.
    Names(Vec<(String, u64)>),
    /// Of a cache, ascending by key: what is left of the time to live, `None` for ever.
    Pairs(Vec<(Bytes, Option<Duration>)>),
    /// Of a throttle table, by name: units owned or gone, and the rate.
    Throttles(Vec<(String, u64, Rate)>),
    /// Of a slot table, by key: slots owned, and the limit.
    Slots(Vec<(String, u64, u64)>),
    /// Of an object whose kind this build does not keep.
    None,
}

/// Why nothing can be shown. The caller's input is at fault.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ReadError {
    /// No such object is configured here.
    #[error("unknown shared object '{0}'")]
    UnknownObject(String),
    /// No member of that node is present, or it does not share the object.
    #[error("no view of '{object}' from node '{node}'")]
    NoView {
        /// The object's name as it was asked for.
        object: String,
        /// The node's name as it was asked for.
        node: String,
    },
    /// Nothing is counted or limited under that key.
    #[error("no such key '{key}' in '{object}'")]
    NoKey {
        /// The object's name as it was asked for.
        object: String,
        /// The key as it was asked for.
        key: String,
    },
}

/// How far the column of a member is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ColumnPhase {
    /// This member's: always current.
    Own,
    /// Complete up to the last delivered message.
    Live,
    /// On its way; what has come of it is counted.
    Missing,
    /// The member does not share the object.
    Absent,
}

/// The column of one member, and what it says about one key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ColumnStatus {
    /// Whose it is.
    pub member: PrivateName,
    /// How far it is.
    pub phase: ColumnPhase,
    /// When something of the member was last delivered; `None` for this member and for one not heard yet.
    pub heard: Option<Monotonic>,
    /// The count asked for.
    pub count: u64,
}

/// A handle for reading one object.
#[derive(Clone, Copy, Debug)]
pub struct ObjectView<'a> {
    replica: &'a Replica,
    shared: &'a Shared,
    /// Counts of one binding only.
    binding: Option<&'a str>,
    asked: &'a str,
}

impl Replica {
    /// The object of that name. `outbound_domain` also finds `outbound_domains`, and `<name>/<binding>` the counts
    /// of one binding where they are kept (`outbound_cidr`, `outbound_domains`, `outbound_hosts`).
    ///
    /// # Errors
    /// [`ReadError::UnknownObject`].
    pub fn object<'a>(&'a self, name: &'a str) -> Result<ObjectView<'a>, ReadError> {
        let find = |name: &str| self.objects.iter().find(|object| object.spec.name == name);
        let view = |shared, binding| ObjectView { replica: self, shared, binding, asked: name };
        if let Some(shared) = find(name) {
            return Ok(view(shared, None));
        }
        let alias = (name == "outbound_domain").then(|| find("outbound_domains")).flatten();
        if let Some(shared) = alias.filter(|shared| shared.spec.kind == ObjectKind::OutboundDomains) {
            return Ok(view(shared, None));
        }
        if let Some((object, binding)) = name.split_once('/')
            && let Some(shared) = find(object)
            && knows_bindings(shared.spec.kind)
            && !binding.is_empty()
        {
            return Ok(view(shared, Some(binding)));
        }
        Err(ReadError::UnknownObject(String::from(name)))
    }

    /// The rows of `cluster shared list`, in the order of the configuration.
    #[must_use]
    pub fn list(&self) -> Vec<ListRow> {
        self.objects
            .iter()
            .map(|Shared { spec, .. }| ListRow {
                name: spec.name.clone(),
                structure: spec.kind.structure(),
                snapped: spec.snapped(),
            })
            .collect()
    }

    /// What `cluster shared show` displays.
    ///
    /// # Errors
    /// [`ReadError`].
    pub fn show(&self, name: &str, of: Of<'_>) -> Result<Show, ReadError> {
        let object = self.object(name)?;
        let (_, view) = object.resolve(of)?;
        let rows = match object.structure() {
            Structure::CidrTree => Rows::Addresses(object.address_rows(of, &RowRange::SHARED)?),
            Structure::GaugeTable => Rows::Names(object.name_rows(of)?),
            Structure::Metrics => {
                let sums = object.metric_sums(of)?.into_iter().filter(|(_, sum)| *sum > 0);
                Rows::Names(sums.map(|(word, sum)| (String::from(word.word()), sum)).collect())
            }
            Structure::ThrottleTable | Structure::SlotTable => object.table_rows(view),
            Structure::Cache => Rows::None,
        };
        Ok(Show {
            snapped: object.shared.spec.snapped(),
            structure: object.structure(),
            object: String::from(name),
            missing: if view.is_some() { Vec::new() } else { object.missing() },
            view: view.map_or_else(|| String::from("global"), String::from),
            rows,
        })
    }

    /// Bytes held by all objects and by columns kept for members that may come back, without what the allocator
    /// adds. Passes all keys.
    #[must_use]
    pub fn memory_bytes(&self) -> usize {
        self.datas().map(|data| data.counts.memory_bytes()).sum::<usize>() + self.parking.bytes()
    }

    /// Forgets all addresses at 0, whatever their age. For tests that compare the rows of members whose histories
    /// differ.
    pub fn prune_all_idle(&mut self) {
        for object in &mut self.objects {
            if let Some(data) = &mut object.data {
                data.counts.prune_all_idle();
            }
        }
    }
}

const fn knows_bindings(kind: ObjectKind) -> bool {
    matches!(kind, ObjectKind::OutboundCidr | ObjectKind::OutboundDomains | ObjectKind::OutboundHosts)
}

/// A table, and the view of it that was asked for; `None` where it is the same as an empty one.
type Found<'a, T> = Option<(&'a T, View)>;

impl<'a> ObjectView<'a> {
    /// Its name in the configuration.
    #[must_use]
    pub fn name(&self) -> &'a str {
        &self.shared.spec.name
    }

    /// Its kind.
    #[must_use]
    pub const fn kind(&self) -> ObjectKind {
        self.shared.spec.kind
    }

    /// What it is made of.
    #[must_use]
    pub const fn structure(&self) -> Structure {
        self.shared.spec.kind.structure()
    }

    /// The members whose columns are on their way, by age. While there are any, sums are too low.
    #[must_use]
    pub fn missing(&self) -> Vec<PrivateName> {
        let replica = self.replica;
        if let Some(table) = &self.shared.table {
            return table.ordered().awaited().into_iter().cloned().collect();
        }
        let lacks = |name: &&PrivateName| {
            let origin = replica.peers.get(*name).and_then(|peer| peer.origin);
            let column = origin.and_then(|origin| self.shared.data.as_ref()?.remote.get(&origin));
            column.is_some_and(|column| !column.complete())
        };
        replica.order.iter().filter(lacks).cloned().collect()
    }

    /// The origin (`None`: all) and the private name of a view.
    fn resolve(&self, of: Of<'_>) -> Result<(Option<Origin>, Option<&'a str>), ReadError> {
        let replica = self.replica;
        let own = (Some(Origin::OWN), Some(replica.options.own.as_str()));
        match of {
            Of::Global => Ok((None, None)),
            Of::Own => Ok(own),
            Of::Node(node) if node == replica.options.node.as_str() => Ok(own),
            Of::Node(node) => {
                // The youngest first: a node that has restarted may be here twice for a moment.
                for name in replica.order.iter().rev().filter(|name| name.node() == node) {
                    let Some(origin) = replica.peers.get(name).and_then(|peer| peer.origin) else { continue };
                    if self.shared.table.is_some() {
                        return Ok((Some(origin), Some(name.as_str())));
                    }
                    let column = self.shared.data.as_ref().and_then(|data| data.remote.get(&origin));
                    if matches!(column, Some(Column::Live { .. } | Column::Fresh)) {
                        return Ok((Some(origin), Some(name.as_str())));
                    }
                }
                Err(ReadError::NoView { object: String::from(self.asked), node: String::from(node) })
            }
        }
    }

    /// The rows of an ordered object: of all members, or of the one with that private name.
    fn table_rows(&self, of: Option<&str>) -> Rows {
        let Some(table) = &self.shared.table else { return Rows::None };
        let own = &self.replica.options.own;
        let member = of.map(|of| self.replica.order.iter().find(|name| name.as_str() == of).unwrap_or(own));
        match table {
            Table::Throttles(table) => {
                let row = |row: ThrottleRow<'_>| (String::from(row.name), row.used, row.rate);
                Rows::Throttles(match member {
                    None => table.rows().map(row).collect(),
                    Some(member) => table.rows_of(member).map(row).collect(),
                })
            }
            Table::Slots(table) => {
                let row = |row: SlotRow<'_>| (String::from(row.key), row.owned, row.limit);
                Rows::Slots(match member {
                    None => table.rows().map(row).collect(),
                    Some(member) => table.rows_of(member).map(row).collect(),
                })
            }
            Table::Cache(_) => Rows::None,
        }
    }

    fn addresses(&self, origin: Option<Origin>) -> Found<'a, postfleet_cidr::CidrColumns> {
        let sheet = match (&self.shared.data.as_ref()?.counts, self.binding) {
            (Counts::Addresses(sheet) | Counts::BoundAddresses { sum: sheet, .. }, None) => sheet,
            (Counts::BoundAddresses { bindings, .. }, Some(binding)) => bindings.get(binding)?,
            (Counts::Addresses(_) | Counts::Names(_) | Counts::Metrics(_), _) => return None,
        };
        Some((&sheet.table, sheet.view(origin)?))
    }

    fn names(&self, origin: Option<Origin>) -> Found<'a, GaugeColumns> {
        match &self.shared.data.as_ref()?.counts {
            Counts::Names(sheet) => Some((&sheet.table, sheet.view(origin)?)),
            Counts::Addresses(_) | Counts::BoundAddresses { .. } | Counts::Metrics(_) => None,
        }
    }

    fn metrics(&self) -> Option<&'a Metrics> {
        self.shared.data.as_ref()?.counts.metrics()
    }

    /// A row for each word of `parameters`: of a built-in series the sum over the windows of its first monitor, of the
    /// named series and of the gauge caches the sum of all.
    ///
    /// # Errors
    /// [`ReadError::NoView`].
    pub fn metric_sums(&self, of: Of<'_>) -> Result<Vec<(MetricWord, u64)>, ReadError> {
        let (origin, _) = self.resolve(of)?;
        Ok(self.shared.spec.words.iter().map(|word| (*word, self.metric_sum(origin, *word))).collect())
    }

    fn metric_sum(&self, origin: Option<Origin>, word: MetricWord) -> u64 {
        let Some(metrics) = self.metrics() else { return 0 };
        let sum = match (word, self.shared.spec.monitors(word).first()) {
            (MetricWord::AuditSeries, _) => metrics.named_total(origin, MetricWord::names_series),
            (MetricWord::GaugeCache, _) => metrics.gauges_total(origin),
            (_, Some(monitor)) => {
                metrics.sum_of(word.word(), *monitor, origin, Query::All, Range::new(0, u16::MAX))
            }
            (_, None) => 0,
        };
        u64::try_from(sum).unwrap_or(0)
    }

    /// The sum of the counts in a block of addresses; 0 for an object that counts by name.
    ///
    /// # Errors
    /// [`ReadError::NoView`].
    pub fn sum(&self, of: Of<'_>, prefix: Prefix) -> Result<u64, ReadError> {
        let (origin, _) = self.resolve(of)?;
        Ok(self.sum_of(origin, prefix))
    }

    fn sum_of(&self, origin: Option<Origin>, prefix: Prefix) -> u64 {
        self.addresses(origin).map_or(0, |(table, view)| table.sum(view, prefix))
    }

    /// The count of a name: a domain, a host (over all bindings, unless the object was asked for one), or a key
    /// of `outbound_binding_domains`. 0 for an object that counts by address.
    ///
    /// # Errors
    /// [`ReadError::NoView`].
    pub fn count(&self, of: Of<'_>, name: &str) -> Result<u64, ReadError> {
        let (origin, _) = self.resolve(of)?;
        Ok(self.count_of(origin, name))
    }

    fn count_of(&self, origin: Option<Origin>, name: &str) -> u64 {
        let Some((table, view)) = self.names(origin) else { return 0 };
        if !knows_bindings(self.kind()) {
            return table.count(view, name);
        }
        match self.binding {
            Some(binding) => table.count(view, &bound_name(name, binding)),
            None => table.leaves_with_prefix(view, &bound_name(name, "")).map(|(_, count)| count).sum(),
        }
    }

    /// The sum of all counts. Passes all keys when one binding of an object that counts by name was asked for.
    ///
    /// # Errors
    /// [`ReadError::NoView`].
    pub fn total(&self, of: Of<'_>) -> Result<u64, ReadError> {
        let (origin, _) = self.resolve(of)?;
        if let Some((table, view)) = self.addresses(origin) {
            return Ok(table.total(view));
        }
        if self.binding.is_some() {
            return Ok(self.name_rows(of)?.into_iter().map(|(_, count)| count).sum());
        }
        if let Some(metrics) = self.metrics() {
            return Ok(metrics.total(origin));
        }
        Ok(self.names(origin).map_or(0, |(table, view)| table.total(view)))
    }

    /// The rows of an object that counts by address, for a range of prefix lengths.
    ///
    /// # Errors
    /// [`ReadError::NoView`].
    pub fn address_rows(&self, of: Of<'_>, range: &RowRange) -> Result<Vec<Row>, ReadError> {
        let (origin, _) = self.resolve(of)?;
        Ok(self.addresses(origin).map(|(table, view)| table.rows(view, range)).unwrap_or_default())
    }

    /// The rows of an object that counts by name, ascending by bytes; counts that know their binding are summed
    /// over the bindings.
    ///
    /// # Errors
    /// [`ReadError::NoView`].
    pub fn name_rows(&self, of: Of<'_>) -> Result<Vec<(String, u64)>, ReadError> {
        let (origin, _) = self.resolve(of)?;
        let mut rows: Vec<(String, u64)> = Vec::new();
        let Some((table, view)) = self.names(origin) else { return Ok(rows) };
        let bound = knows_bindings(self.kind());
        for (key, count) in table.leaves(view) {
            let (name, binding) = if bound { key.split_once('\0').unwrap_or((key, "")) } else { (key, "") };
            if self.binding.is_some_and(|asked| asked != binding) {
                continue;
            }
            match rows.last_mut() {
                Some((last, sum)) if last == name => *sum = sum.saturating_add(count),
                Some(_) | None => rows.push((String::from(name), count)),
            }
        }
        Ok(rows)
    }

    /// Every key of a series with its counts from window 0 to the oldest, ascending; keys with nothing but zeros are left
    /// out. Passes all keys.
    ///
    /// # Errors
    /// [`ReadError::NoView`].
    pub fn series_rows(
        &self,
        of: Of<'_>,
        name: &str,
        monitor: Monitor,
    ) -> Result<Vec<(String, Vec<i64>)>, ReadError> {
        let (origin, _) = self.resolve(of)?;
        Ok(self.metrics().map(|metrics| metrics.rows_of(origin, name, monitor)).unwrap_or_default())
    }

    /// The counters of a gauge cache, ascending.
    ///
    /// # Errors
    /// [`ReadError::NoView`].
    pub fn gauge_rows(
        &self,
        of: Of<'_>,
        name: &str,
        now: Monotonic,
    ) -> Result<Vec<(String, i64)>, ReadError> {
        let (origin, _) = self.resolve(of)?;
        let Some(metrics) = self.metrics() else { return Ok(Vec::new()) };
        Ok(match origin {
            None => metrics.gauge_rows(name, now),
            Some(origin) => metrics.gauges_of(origin, name),
        })
    }

    /// The counts of a block of addresses in every member's column, by age of the members, this one included.
    #[must_use]
    pub fn columns_of_prefix(&self, prefix: Prefix) -> Vec<ColumnStatus> {
        self.columns(|origin| self.sum_of(Some(origin), prefix))
    }

    /// The counts of a name in every member's column, by age of the members, this one included.
    #[must_use]
    pub fn columns_of_name(&self, name: &str) -> Vec<ColumnStatus> {
        self.columns(|origin| self.count_of(Some(origin), name))
    }

    /// What every member's column has of a word of series, by age of the members, this one included.
    pub(crate) fn columns_of_word(&self, word: MetricWord) -> Vec<ColumnStatus> {
        self.columns(|origin| self.metric_sum(Some(origin), word))
    }

    /// The totals of every member's column, by age of the members, this one included.
    #[must_use]
    pub fn columns_total(&self) -> Vec<ColumnStatus> {
        let total = |data: &Data, origin| data.counts.total(Some(origin));
        self.columns(|origin| self.shared.data.as_ref().map_or(0, |data| total(data, origin)))
    }

    fn columns(&self, count: impl Fn(Origin) -> u64) -> Vec<ColumnStatus> {
        let replica = self.replica;
        let own = ColumnStatus {
            member: replica.options.own.clone(),
            phase: ColumnPhase::Own,
            heard: None,
            count: count(Origin::OWN),
        };
        let mut columns = Vec::new();
        for name in &replica.order {
            if *name == replica.options.own {
                columns.push(own.clone());
                continue;
            }
            let Some(peer) = replica.peers.get(name) else { continue };
            let Some(origin) = peer.origin else { continue };
            let phase = match self.shared.data.as_ref().and_then(|data| data.remote.get(&origin)) {
                Some(Column::Live { .. } | Column::Fresh) => ColumnPhase::Live,
                Some(Column::Awaiting { .. } | Column::Receiving(_)) => ColumnPhase::Missing,
                Some(Column::Absent) | None => ColumnPhase::Absent,
            };
            columns.push(ColumnStatus {
                member: name.clone(),
                phase,
                heard: peer.heard,
                count: count(origin),
            });
        }
        if columns.is_empty() {
            columns.push(own);
        }
        columns
    }
}
