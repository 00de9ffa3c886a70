//! The named throttles of one node, which policy scripts create.

use crate::rate::Rate;
use crate::record::Throttle;
use alloc::borrow::ToOwned;
use alloc::collections::{BTreeMap, BTreeSet, VecDeque};
use alloc::format;
use alloc::string::String;
use core::time::Duration;
use postfleet_types::{Monotonic, Notice, Severity};

/// An operation named a throttle that does not exist. The caller is at fault; nothing has changed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("no such throttle '{0}'")]
pub struct UnknownThrottle(pub String);

/// How many notices wait for whoever reads them.
const NOTICES_MAX: usize = 100;

/// Name → throttle. A throttle is forgotten a second after its window has become empty; when the table is full, the
/// one that was used least recently goes.
///
/// Memory: `capacity` times a name, some 150 bytes, and what [`Throttle`] says.
#[derive(Debug)]
pub struct NamedThrottles {
    capacity: usize,
    throttles: BTreeMap<String, Named>,
    /// By last use, the least recent first.
    order: BTreeMap<u64, String>,
    /// When each is due to be looked at; a throttle that was used since stays and gets a later time.
    due: BTreeSet<(Monotonic, String)>,
    uses: u64,
    notices: VecDeque<Notice>,
    dropped: u64,
}

#[derive(Debug)]
struct Named {
    throttle: Throttle,
    /// When it was last named.
    used: Monotonic,
    stamp: u64,
    /// Its time in `due`.
    due: Monotonic,
    /// A script asked for another rate and was told so.
    told: bool,
}

impl Named {
    /// When it disappears unless it is used again.
    fn expires(&self) -> Monotonic {
        let rate = self.throttle.rate();
        let last = self.throttle.latest().map_or(self.used, |latest| latest.max(self.used));
        last + rate.period() + Duration::from_secs(1)
    }
}

impl NamedThrottles {
    /// A table for at most `capacity` throttles (option `siv_throttle_cache_size`, default 1000), at least one.
    #[must_use]
    pub fn new(capacity: usize) -> Self {
        Self {
            capacity: capacity.max(1),
            throttles: BTreeMap::new(),
            order: BTreeMap::new(),
            due: BTreeSet::new(),
            uses: 0,
            notices: VecDeque::new(),
            dropped: 0,
        }
    }

    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.throttles.len()
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.throttles.is_empty()
    }

    /// How many went because the table was full.
    #[must_use]
    pub const fn dropped(&self) -> u64 {
        self.dropped
    }

    /// Takes another capacity; the least recently used ones go at once.
    pub fn set_capacity(&mut self, capacity: usize) {
        self.capacity = capacity.max(1);
        self.make_room(0);
    }

    /// Adds a throttle. One that lives already is left as it is, whatever its rate.
    pub fn create(&mut self, now: Monotonic, name: &str, rate: Rate) {
        if let Ok(named) = self.touch(now, name) {
            let live = named.throttle.rate();
            if live != rate && !named.told {
                named.told = true;
                let text = format!(
                    "throttle '{name}' stays at {live}; a script asked for {rate}, which will take effect when it has \
                     been idle for {} s",
                    u64::from(live.seconds()) + 1
                );
                if self.notices.len() < NOTICES_MAX {
                    self.notices.push_back(Notice { severity: Severity::Notice, text });
                }
            }
            return;
        }
        self.make_room(1);
        self.uses += 1;
        let mut named =
            Named { throttle: Throttle::new(rate), used: now, stamp: self.uses, due: now, told: false };
        named.due = named.expires();
        self.order.insert(named.stamp, name.to_owned());
        self.due.insert((named.due, name.to_owned()));
        self.throttles.insert(name.to_owned(), named);
    }

    /// Records a unit now; never waits.
    ///
    /// # Errors
    /// [`UnknownThrottle`].
    pub fn inc(&mut self, now: Monotonic, name: &str) -> Result<(), UnknownThrottle> {
        self.touch(now, name).map(|named| named.throttle.inc(now))
    }

    /// Removes the latest recorded unit; nothing when there is none.
    ///
    /// # Errors
    /// [`UnknownThrottle`].
    pub fn dec(&mut self, now: Monotonic, name: &str) -> Result<(), UnknownThrottle> {
        self.touch(now, name).map(|named| named.throttle.dec(now))
    }

    /// Whether the quota is exceeded now.
    ///
    /// # Errors
    /// [`UnknownThrottle`].
    pub fn check(&mut self, now: Monotonic, name: &str) -> Result<bool, UnknownThrottle> {
        self.touch(now, name).map(|named| named.throttle.exceeded(now))
    }

    /// Records a unit and says until when the session has to be held. When the session ends before, hand the time
    /// to [`NamedThrottles::withdraw`].
    ///
    /// # Errors
    /// [`UnknownThrottle`].
    pub fn tarpit(&mut self, now: Monotonic, name: &str) -> Result<Monotonic, UnknownThrottle> {
        self.touch(now, name).map(|named| named.throttle.tarpit(now))
    }

    /// Uses up to `units` now, without waiting, and says how many.
    ///
    /// # Errors
    /// [`UnknownThrottle`].
    pub fn take(&mut self, now: Monotonic, name: &str, units: u64) -> Result<u64, UnknownThrottle> {
        self.touch(now, name).map(|named| named.throttle.take(now, units))
    }

    /// A session that was being held ended before its release: its unit is removed.
    pub fn withdraw(&mut self, name: &str, release: Monotonic) {
        if let Some(named) = self.throttles.get_mut(name) {
            named.throttle.withdraw(release);
        }
    }

    /// Every throttle: name, units used in the window that ends now, rate.
    pub fn rows(&self, now: Monotonic) -> impl Iterator<Item = (&str, u64, Rate)> {
        let live = self.throttles.iter().filter(move |(_, named)| named.expires() > now);
        live.map(move |(name, named)| (name.as_str(), named.throttle.used(now), named.throttle.rate()))
    }

    /// When [`NamedThrottles::handle_timeout`] has something to do. Changed by every other call.
    #[must_use]
    pub fn poll_deadline(&self) -> Option<Monotonic> {
        self.due.first().map(|(due, _)| *due)
    }

    /// Forgets what has expired. Early and repeated calls do no harm.
    pub fn handle_timeout(&mut self, now: Monotonic) {
        while let Some((due, name)) = self.due.first()
            && *due <= now
        {
            let name = name.clone();
            match self.throttles.get(&name).map(Named::expires) {
                Some(expires) if expires > now => self.set_due(&name, expires),
                Some(_) | None => self.remove(&name),
            }
        }
    }

    /// The next line for the log.
    pub fn poll_notice(&mut self) -> Option<Notice> {
        self.notices.pop_front()
    }

    fn touch(&mut self, now: Monotonic, name: &str) -> Result<&mut Named, UnknownThrottle> {
        let unknown = || UnknownThrottle(name.to_owned());
        let named = self.throttles.get(name).ok_or_else(unknown)?;
        if named.expires() <= now {
            self.remove(name);
            return Err(unknown());
        }
        self.uses += 1;
        let named = self.throttles.get_mut(name).ok_or_else(unknown)?;
        if let Some(name) = self.order.remove(&named.stamp) {
            self.order.insert(self.uses, name);
        }
        named.stamp = self.uses;
        named.used = now;
        Ok(named)
    }

    fn make_room(&mut self, wanted: usize) {
        while self.throttles.len() + wanted > self.capacity
            && let Some(name) = self.order.first_key_value().map(|(_, name)| name.clone())
        {
            self.remove(&name);
            self.dropped += 1;
        }
    }

    fn set_due(&mut self, name: &str, due: Monotonic) {
        if let Some(named) = self.throttles.get_mut(name) {
            self.due.remove(&(named.due, name.to_owned()));
            named.due = due;
            self.due.insert((due, name.to_owned()));
        }
    }

    fn remove(&mut self, name: &str) {
        if let Some(named) = self.throttles.remove(name) {
            self.order.remove(&named.stamp);
            self.due.remove(&(named.due, name.to_owned()));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rate(text: &str) -> Rate {
        text.parse().unwrap()
    }

    fn second(second: u64) -> Monotonic {
        Monotonic::from_millis(second * 1000)
    }

    #[test]
    fn replication_9_2_a_throttle_disappears_a_second_after_its_window() {
        let mut table = NamedThrottles::new(10);
        table.create(second(0), "a", rate("1/10"));
        assert_eq!(table.tarpit(second(0), "a"), Ok(second(0)));
        assert_eq!(table.tarpit(second(1), "a"), Ok(second(10)));
        // The release that waits counts: 10 + 10 + 1.
        assert_eq!(table.rows(second(20)).count(), 1);
        assert_eq!(table.check(second(20), "a"), Ok(false));
        table.handle_timeout(second(30));
        assert_eq!(table.len(), 1);
        assert_eq!(table.check(second(31), "a"), Err(UnknownThrottle("a".to_string())));
        assert_eq!(UnknownThrottle("a".to_string()).to_string(), "no such throttle 'a'");
        assert_eq!(table.poll_deadline(), None);
    }

    #[test]
    fn replication_9_2_the_least_recently_used_goes_when_the_table_is_full() {
        let mut table = NamedThrottles::new(2);
        for name in ["a", "b"] {
            table.create(second(0), name, rate("1/10"));
        }
        table.inc(second(1), "a").unwrap();
        table.create(second(1), "c", rate("1/10"));
        assert_eq!(table.rows(second(1)).map(|row| row.0).collect::<Vec<_>>(), ["a", "c"]);
        assert_eq!(table.dropped(), 1);
        table.set_capacity(1);
        assert_eq!(table.rows(second(1)).map(|row| row.0).collect::<Vec<_>>(), ["c"]);
    }

    #[test]
    fn replication_9_2_create_on_a_live_name_changes_nothing_and_says_so_once() {
        let mut table = NamedThrottles::new(10);
        table.create(second(0), "a", rate("1/10"));
        table.inc(second(0), "a").unwrap();
        table.create(second(1), "a", rate("5/10"));
        table.create(second(1), "a", rate("6/10"));
        assert_eq!(table.rows(second(1)).next(), Some(("a", 1, rate("1/10"))));
        let line = table.poll_notice().unwrap();
        assert_eq!(
            line.text,
            "throttle 'a' stays at 1/10; a script asked for 5/10, which will take effect when it has been idle for 11 s"
        );
        assert_eq!(table.poll_notice(), None);
    }

    #[test]
    fn policy_p16_the_thirty_first_message_of_a_second_is_refused_or_held() {
        let mut table = NamedThrottles::new(10);
        table.create(second(0), "foo", rate("30/1"));
        let refused = (0..31).filter(|_| {
            table.inc(second(0), "foo").unwrap();
            table.check(second(0), "foo").unwrap()
        });
        assert_eq!(refused.count(), 1);
        table.create(second(0), "bar", rate("30/1"));
        let held: Vec<u64> = (0..31)
            .map(|_| table.tarpit(second(0), "bar").unwrap().as_micros())
            .filter(|at| *at > 0)
            .collect();
        assert_eq!(held, [1_000_000]);
    }

    #[test]
    fn mta_case_30_three_mail_commands_are_answered_ten_seconds_apart() {
        let mut table = NamedThrottles::new(10);
        table.create(second(0), "inbound", rate("1/10"));
        let answers: Vec<u64> =
            (0..3).map(|_| table.tarpit(second(0), "inbound").unwrap().as_micros() / 1_000_000).collect();
        assert_eq!(answers, [0, 10, 20]);
        // Whoever hangs up while held takes its unit along.
        table.withdraw("inbound", second(20));
        assert_eq!(table.tarpit(second(1), "inbound"), Ok(second(20)));
    }
}
