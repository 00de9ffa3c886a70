//! Members whose messages are delivered by hand, to all at once.

#![allow(dead_code, reason = "each test uses a part")]
#![allow(clippy::unwrap_used, reason = "a test whose own input is wrong has to fail")]

use std::time::Duration;

use postfleet_throttle::{Configuration, Departure, Present};
use postfleet_types::{Monotonic, PrivateName};

use super::sim::Engine;

pub(crate) const START: Monotonic = Monotonic::from_millis(1_000_000);

pub(crate) fn name(of: usize) -> PrivateName {
    PrivateName::shared(&format!("{}", char::from(b'a' + u8::try_from(of).unwrap())).parse().unwrap(), 1)
}

/// Members whose messages take no time.
pub(crate) struct Hand<E> {
    pub(crate) now: Monotonic,
    pub(crate) tables: Vec<E>,
    views: u64,
}

impl<E: Engine> Hand<E> {
    /// Members in one configuration.
    pub(crate) fn new(members: usize, table: impl Fn(usize) -> E) -> Self {
        let mut hand = Self { now: START, tables: (0..members).map(table).collect(), views: 0 };
        let all = hand.all();
        hand.view(&all, &[], &all);
        hand
    }

    pub(crate) fn all(&self) -> Vec<usize> {
        (0..self.tables.len()).collect()
    }

    /// A configuration for those members; `anew` did not come along with the others.
    pub(crate) fn view(&mut self, present: &[usize], departed: &[(usize, Departure)], anew: &[usize]) {
        self.change(present, departed, anew);
        self.flush(present);
    }

    /// As [`Hand::view`], with everything that it makes members say still to be delivered.
    pub(crate) fn change(&mut self, present: &[usize], departed: &[(usize, Departure)], anew: &[usize]) {
        self.configure(present, departed, |of, other| anew.contains(&of) || anew.contains(&other));
    }

    /// Sides meet in one configuration: those of one come along with each other.
    pub(crate) fn meet(&mut self, sides: &[&[usize]]) {
        let together = |of, other| sides.iter().any(|side| side.contains(&of) && side.contains(&other));
        self.configure(&sides.concat(), &[], |of, other| !together(of, other));
    }

    fn configure(
        &mut self,
        present: &[usize],
        departed: &[(usize, Departure)],
        are_strangers: impl Fn(usize, usize) -> bool,
    ) {
        self.views += 1;
        let id = self.id(present);
        let names: Vec<PrivateName> = present.iter().map(|of| name(*of)).collect();
        let members: Vec<Present<'_>> = names.iter().map(|name| Present { name, relay: true }).collect();
        let departed: Vec<(PrivateName, Departure)> =
            departed.iter().map(|(of, how)| (name(*of), *how)).collect();
        for of in present {
            let strangers = present.iter().filter(|other| *other != of && are_strangers(*of, **other));
            let joined: Vec<PrivateName> = strangers.map(|of| name(*of)).collect();
            let next = Configuration { id, members: &members, departed: &departed, joined: &joined };
            self.tables[*of].reconfigure(self.now, &next);
        }
    }

    fn id(&self, present: &[usize]) -> u64 {
        self.views * 1000 + present.iter().sum::<usize>() as u64
    }

    /// A member's table is a new one, made while the configuration of those members stands.
    pub(crate) fn enter(
        &mut self,
        present: &[usize],
        of: usize,
        enter: impl FnOnce(&Configuration<'_>) -> E,
    ) {
        let names: Vec<PrivateName> = present.iter().map(|of| name(*of)).collect();
        let members: Vec<Present<'_>> = names.iter().map(|name| Present { name, relay: true }).collect();
        let joined: Vec<PrivateName> = names.iter().filter(|other| **other != name(of)).cloned().collect();
        let standing =
            Configuration { id: self.id(present), members: &members, departed: &[], joined: &joined };
        self.tables[of] = enter(&standing);
    }

    /// The next message of one member, if it has any.
    pub(crate) fn drain(&mut self, of: usize) -> Option<(usize, Vec<u8>)> {
        Some((of, self.tables[of].drain(self.now)?))
    }

    pub(crate) fn deliver(&mut self, to: &[usize], (from, bytes): (usize, Vec<u8>)) {
        for of in to {
            self.tables[*of].apply(self.now, &name(from), &bytes);
        }
    }

    /// Each member's next message is written before any of them is delivered.
    pub(crate) fn deliver_in_turn(&mut self, among: &[usize]) {
        let messages: Vec<_> = among.iter().filter_map(|of| self.drain(*of)).collect();
        messages.into_iter().for_each(|message| self.deliver(among, message));
    }

    /// Delivers until nobody has anything to say.
    pub(crate) fn flush(&mut self, among: &[usize]) {
        loop {
            let mut silent = true;
            for of in among {
                while let Some(message) = self.drain(*of) {
                    silent = false;
                    self.deliver(among, message);
                }
            }
            if silent {
                return self.all_equal(among);
            }
        }
    }

    /// Delivers to all of `to` what those of `among` have to say, until they have nothing; for so long each.
    pub(crate) fn flush_without(&mut self, among: &[usize], to: &[usize], seconds: u64) {
        for _ in 0..=seconds * 4 {
            for of in to {
                self.tables[*of].heard(self.now, self.now);
                if among.contains(of) {
                    self.tables[*of].handle_timeout(self.now);
                }
            }
            while let Some(message) = among.iter().find_map(|of| self.drain(*of)) {
                self.deliver(to, message);
            }
            self.now = self.now + Duration::from_millis(250);
        }
    }

    /// The next point in time at which one of them has something to do, not after `end`.
    pub(crate) fn step(&mut self, among: &[usize], end: Monotonic) {
        let next = among.iter().filter_map(|of| self.tables[*of].poll_deadline()).min();
        let heartbeat = self.now + Duration::from_secs(1);
        self.now = next.unwrap_or(end).max(self.now).min(end).min(heartbeat);
        for of in among {
            self.tables[*of].heard(self.now, self.now);
            self.tables[*of].handle_timeout(self.now);
        }
        self.flush(among);
    }

    pub(crate) fn advance(&mut self, among: &[usize], by: f64) {
        let end = self.now + Duration::from_secs_f64(by);
        while self.now < end {
            self.step(among, end);
        }
    }

    pub(crate) fn all_equal(&self, among: &[usize]) {
        let first = self.tables[among[0]].fingerprint();
        assert!(among.iter().all(|of| self.tables[*of].fingerprint() == first));
    }
}
