//! Key/value caches as ordered objects.
//!
//! Writes are bodies like all operations. When sides meet, a cache whose stanza says `snapshot` exchanges what they
//! hold, in a **round** that begins for all members at the same point of the order: the first member of each former
//! side sends the rows that its side held there, everybody says hello when there is nothing more to tell, and the first
//! that has heard all of them ends the round for all. Writes go on meanwhile, and rows are taken in as they come;
//! nothing is evicted before the end, when all hold the same ([`Cache::begin_exchange`]). Members that do not share
//! the cache say nothing, so the round also ends when somebody has waited long enough. Whoever was late holds something
//! else than the others, knows it from the end that came without its hello, and asks for another round.
//!
//! A cache without `snapshot` exchanges nothing: pairs reach a joiner, or the other side, when they are set again.

use crate::cache_wire::{Body, read, row_bytes, write, write_bytes};
use crate::ordered::{BodyError, Ordered, Waiting};
use crate::wire::{DIGEST_START, digest};
use alloc::collections::{BTreeSet, VecDeque};
use alloc::vec::Vec;
use bytes::Bytes;
use core::time::Duration;
use postfleet_cache::{Cache, CacheLimits, Delivered, Row, Ttl, Write};
use postfleet_throttle::Configuration;
use postfleet_types::{Monotonic, Notice, PrivateName, WallTime};

/// How long the silent are waited for before a round ends without them.
const PATIENCE: Duration = Duration::from_secs(5);
/// How much later each further member gives up, so that mostly one does.
const STAGGER: Duration = Duration::from_millis(500);
/// The longest key with its value, in bytes: every write has to fit a bus message beside others.
pub const PAIR_BYTES_MAX: usize = 64 * 1024;

/// A pair is too large to be shared. The caller is at fault; nothing has changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("key and value have {0} bytes together; at most {PAIR_BYTES_MAX} can be shared")]
pub struct PairTooLong(pub usize);

/// One cache on this member.
#[derive(Debug)]
pub struct SharedCache {
    own: PrivateName,
    /// Whether sides exchange what they hold.
    snapped: bool,
    cache: Cache,
    /// The wall clock minus the monotonic one when something was written last, in milliseconds. Stamps need the wall
    /// clock, and sending only knows the other.
    wall_offset_millis: u64,
    /// Since when the oldest write waits, and how many were made since then.
    waits_since: Option<Monotonic>,
    waiting: u32,
    /// Writes that were taken out of the cache to be sent and did not fit.
    ready: VecDeque<Write>,
    /// Bodies of writes that were given out and not delivered.
    under_way: u32,
    /// Everybody, in the order that all see; only this member while it is alone.
    members: Vec<PrivateName>,
    configuration: u64,
    /// Those who hold what this member holds, this one included.
    side: BTreeSet<PrivateName>,
    round: Option<Round>,
    /// A round was asked for and has not begun.
    asking: bool,
    asked: u64,
    outbox: VecDeque<Vec<u8>>,
}

/// An exchange.
#[derive(Debug)]
struct Round {
    id: u64,
    since: Monotonic,
    /// What this member still has to tell for its side, and when that was held.
    rows: VecDeque<Row>,
    hellos: BTreeSet<PrivateName>,
    /// This member has said hello, or will when its rows are told.
    greeted: bool,
    /// This member has ended the round; it is over when that is delivered.
    ending: bool,
}

impl SharedCache {
    pub(crate) fn new(own: &PrivateName, snapped: bool, limits: CacheLimits) -> Self {
        Self {
            own: own.clone(),
            snapped,
            cache: Cache::new(limits),
            wall_offset_millis: 0,
            waits_since: None,
            waiting: 0,
            ready: VecDeque::new(),
            under_way: 0,
            members: alloc::vec![own.clone()],
            configuration: 0,
            side: BTreeSet::from([own.clone()]),
            round: None,
            asking: false,
            asked: 0,
            outbox: VecDeque::new(),
        }
    }

    /// Takes other options. What sides hold is exchanged from the next configuration on.
    pub(crate) fn set_options(&mut self, snapped: bool, limits: CacheLimits) {
        self.snapped = snapped;
        self.cache.set_limits(limits);
    }

    /// Whether nobody else is there: what this member writes is in force at once.
    fn is_alone(&self) -> bool {
        self.members.len() <= 1
    }

    /// Writes a pair. This member reads it at once, the others when it is delivered.
    ///
    /// # Errors
    /// [`PairTooLong`].
    pub fn set(
        &mut self,
        now: Monotonic,
        wall: WallTime,
        key: Bytes,
        value: Bytes,
        ttl: Ttl,
    ) -> Result<(), PairTooLong> {
        self.write((now, wall), now, key, value, ttl)
    }

    /// Removes a pair, as a write of nothing that has ended already: this member reads it so at once, the others a
    /// millisecond after its delivery.
    ///
    /// # Errors
    /// [`PairTooLong`].
    pub fn remove(&mut self, now: Monotonic, wall: WallTime, key: Bytes) -> Result<(), PairTooLong> {
        let past = now - Duration::from_millis(1);
        self.write((now, wall), past, key, Bytes::new(), Ttl::from_millis(1))
    }

    fn write(
        &mut self,
        (now, wall): (Monotonic, WallTime),
        written: Monotonic,
        key: Bytes,
        value: Bytes,
        ttl: Ttl,
    ) -> Result<(), PairTooLong> {
        let bytes = key.len().saturating_add(value.len());
        if bytes > PAIR_BYTES_MAX {
            return Err(PairTooLong(bytes));
        }
        self.wall_offset_millis = wall.unix_millis().saturating_sub(millis(now));
        self.cache.set(key, value, ttl, written);
        if self.is_alone() && self.under_way == 0 {
            self.write_alone(written);
        } else {
            self.waits_since.get_or_insert(now);
            self.waiting = self.waiting.saturating_add(1);
        }
        Ok(())
    }

    /// The value of a key, as this member reads it.
    #[must_use]
    pub fn value(&self, key: &[u8], now: Monotonic) -> Option<&Bytes> {
        self.cache.value(key, now)
    }

    /// A pair as the order made it: value, what is left of its time to live, last writer.
    #[must_use]
    pub fn pair(&self, key: &[u8], now: Monotonic) -> Option<(&Bytes, Ttl, &PrivateName)> {
        self.cache.pair(key, now)
    }

    /// The pairs that have a value, ascending by key, as the order made them.
    pub fn shown(&self, now: Monotonic) -> impl Iterator<Item = (&Bytes, Ttl, &PrivateName)> + '_ {
        self.cache.shown(now)
    }

    /// Drops pairs on this member alone. Returns how many there were.
    pub fn forget(&mut self, now: Monotonic, chosen: impl Fn(&[u8]) -> bool) -> usize {
        self.cache.forget(now, chosen)
    }

    /// How many keys are held.
    #[must_use]
    pub fn len(&self) -> usize {
        self.cache.len()
    }

    /// Whether nothing is held.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.cache.is_empty()
    }

    /// Puts what waits into force here, as if it had been delivered. Not while earlier writes are still to come back.
    fn write_alone(&mut self, now: Monotonic) {
        if self.under_way > 0 {
            return;
        }
        self.waits_since = None;
        self.waiting = 0;
        let writes = self.cache.send(now, self.wall_millis(now));
        for write in self.ready.drain(..).chain(writes) {
            self.cache.deliver(Delivered::Own(&self.own), write, now);
        }
    }

    fn wall_millis(&self, now: Monotonic) -> u64 {
        self.wall_offset_millis.saturating_add(millis(now))
    }

    /// A round begins, for all members here.
    fn start_round(&mut self, now: Monotonic, id: u64) {
        self.cache.begin_exchange();
        self.outbox.clear();
        self.asking = false;
        // The first of the side speaks for it.
        let speaks = self.members.iter().find(|member| self.side.contains(*member)) == Some(&self.own);
        let rows = if speaks { self.cache.rows(now).collect() } else { VecDeque::new() };
        self.round =
            Some(Round { id, since: now, rows, hellos: BTreeSet::new(), greeted: false, ending: false });
    }

    fn end_round(&mut self) {
        if self.round.take().is_some() {
            self.cache.end_exchange();
        }
    }

    fn ask(&mut self) {
        self.asking = true;
        self.asked += 1;
        let body = Body::Ask { configuration: self.configuration, number: self.asked };
        self.outbox.push_back(write(&body));
    }

    fn go_alone(&mut self) {
        self.end_round();
        self.members = alloc::vec![self.own.clone()];
        self.side = BTreeSet::from([self.own.clone()]);
        self.asking = false;
        self.outbox.clear();
    }

    /// Ends the round if this member is the one to do so.
    fn end_if_complete(&mut self) {
        let Some(round) = &mut self.round else { return };
        let complete = self.members.iter().all(|member| round.hellos.contains(member));
        let first = self.members.iter().find(|member| round.hellos.contains(*member)) == Some(&self.own);
        if complete && first && !round.ending {
            round.ending = true;
            self.outbox.push_back(write(&Body::End { round: round.id }));
        }
    }

    /// When this member gives the silent up.
    fn gives_up(&self) -> Option<Monotonic> {
        let round = self.round.as_ref().filter(|round| !round.ending)?;
        let place = self.members.iter().position(|member| *member == self.own).unwrap_or(0);
        Some(round.since + PATIENCE + STAGGER.saturating_mul(u32::try_from(place).unwrap_or(u32::MAX)))
    }

    /// Up to about so many bytes of the rows of this side; then the hello.
    fn poll_round(&mut self, now: Monotonic, bytes_max: usize) -> Option<Vec<u8>> {
        let round = self.round.as_mut()?;
        if round.greeted {
            return None;
        }
        let waited = u64::try_from(now.since(round.since).as_millis()).unwrap_or(u64::MAX);
        let (mut rows, mut bytes) = (Vec::new(), 0);
        while let Some(row) = round.rows.front()
            && (rows.is_empty() || bytes + row_bytes(row) <= bytes_max)
            && let Some(mut row) = round.rows.pop_front()
        {
            // Time to live goes on while a row waits.
            if let Some(left) = core::num::NonZeroU64::new(row.ttl.as_millis()) {
                row.ttl = Ttl::from_millis(left.get().saturating_sub(waited).max(1));
            }
            bytes += row_bytes(&row);
            rows.push(row);
        }
        if rows.is_empty() {
            round.greeted = true;
            return Some(write(&Body::Hello { round: round.id }));
        }
        Some(write(&Body::Part { round: round.id, rows }))
    }

    fn poll_writes(&mut self, now: Monotonic, bytes_max: usize) -> Option<Vec<u8>> {
        if self.ready.is_empty() {
            self.ready.extend(self.cache.send(now, self.wall_millis(now)));
            self.waits_since = None;
            self.waiting = 0;
        }
        let (mut writes, mut bytes) = (Vec::new(), 0);
        while let Some(write) = self.ready.front()
            && (writes.is_empty() || bytes + write_bytes(write) <= bytes_max)
            && let Some(write) = self.ready.pop_front()
        {
            bytes += write_bytes(&write);
            writes.push(write);
        }
        if writes.is_empty() {
            return None;
        }
        self.under_way = self.under_way.saturating_add(1);
        Some(write(&Body::Writes(writes)))
    }
}

impl Ordered for SharedCache {
    fn reconfigure(&mut self, now: Monotonic, next: &Configuration<'_>) {
        self.members = next.members.iter().map(|present| present.name.clone()).collect();
        self.configuration = next.id;
        let (own, members) = (&self.own, &self.members);
        self.side
            .retain(|member| member == own || (members.contains(member) && !next.joined.contains(member)));
        if self.is_alone() {
            self.go_alone();
            self.write_alone(now);
        } else if self.snapped && (!next.joined.is_empty() || self.round.is_some()) {
            self.start_round(now, next.id);
        } else if self.asking {
            // The one before was about another configuration.
            self.outbox.clear();
            self.ask();
        }
    }

    fn enter(&mut self, _now: Monotonic, standing: &Configuration<'_>) {
        self.members = standing.members.iter().map(|present| present.name.clone()).collect();
        self.configuration = standing.id;
        if self.snapped && !self.is_alone() {
            self.ask();
        }
    }

    fn lost(&mut self, now: Monotonic) {
        self.go_alone();
        // What is on its way will not come back; it is in force here, and sides compare when they meet.
        self.ready.clear();
        self.under_way = 0;
        self.cache.lost();
        self.write_alone(now);
    }

    fn deliver(&mut self, now: Monotonic, from: &PrivateName, body: &[u8]) -> Result<(), BodyError> {
        match read(body)? {
            Body::Writes(writes) => {
                for write in writes {
                    let from = if *from == self.own { Delivered::Own(from) } else { Delivered::Other(from) };
                    self.cache.deliver(from, write, now);
                }
                if *from == self.own {
                    self.under_way = self.under_way.saturating_sub(1);
                    if self.is_alone() {
                        self.write_alone(now);
                    }
                }
            }
            Body::Part { round, rows } => {
                if self.round.as_ref().is_some_and(|held| held.id == round && !held.hellos.contains(from)) {
                    self.cache.absorb(rows, now);
                }
            }
            Body::Hello { round } => {
                if let Some(held) = self.round.as_mut().filter(|held| held.id == round) {
                    held.hellos.insert(from.clone());
                    self.end_if_complete();
                }
            }
            Body::End { round } => {
                let Some(held) = self.round.as_ref().filter(|held| held.id == round) else { return Ok(()) };
                let heard = held.hellos.clone();
                self.end_round();
                if heard.contains(&self.own) {
                    self.side = heard;
                } else {
                    self.side = BTreeSet::from([self.own.clone()]);
                    self.outbox.clear();
                    self.ask();
                }
            }
            Body::Ask { configuration, number } => {
                if self.snapped && configuration == self.configuration {
                    let id = digest(digest(DIGEST_START, from.as_str().as_bytes()), &number.to_be_bytes());
                    self.start_round(now, digest(id, &configuration.to_be_bytes()));
                }
            }
            Body::Unknown => {}
        }
        Ok(())
    }

    fn waiting(&self) -> Waiting {
        if !self.outbox.is_empty()
            || !self.ready.is_empty()
            || self.round.as_ref().is_some_and(|round| !round.greeted)
        {
            return Waiting::Soon;
        }
        match self.waits_since {
            Some(since) => Waiting::Lazily { since, changes: self.waiting },
            None => Waiting::Nothing,
        }
    }

    fn poll_message(&mut self, now: Monotonic, bytes_max: usize) -> Option<Vec<u8>> {
        self.outbox
            .pop_front()
            .or_else(|| self.poll_round(now, bytes_max))
            .or_else(|| self.poll_writes(now, bytes_max))
    }

    fn poll_deadline(&self) -> Option<Monotonic> {
        [self.cache.poll_expire(), self.gives_up()].into_iter().flatten().min()
    }

    fn handle_timeout(&mut self, now: Monotonic) {
        self.cache.expire(now);
        if self.gives_up().is_some_and(|due| due <= now)
            && let Some(round) = &mut self.round
        {
            round.ending = true;
            self.outbox.push_back(write(&Body::End { round: round.id }));
        }
    }

    fn poll_notice(&mut self) -> Option<Notice> {
        None
    }

    fn awaited(&self) -> Vec<&PrivateName> {
        let Some(round) = &self.round else { return Vec::new() };
        self.members.iter().filter(|member| !round.hellos.contains(*member)).collect()
    }

    /// Of keys, stamps and writers. Whether a value has expired depends on this member's clock, so values are not in it.
    fn fingerprint(&self) -> u64 {
        self.cache.rows(Monotonic::ZERO).fold(DIGEST_START, |sum, row| {
            let sum = digest(digest(sum, &row.key), &row.stamp.to_be_bytes());
            digest(digest(sum, &row.stamp_end.to_be_bytes()), row.writer.as_str().as_bytes())
        })
    }
}

fn millis(now: Monotonic) -> u64 {
    now.as_micros() / 1000
}
