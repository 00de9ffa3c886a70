//! From what the library tells to the events of a carrier.
//!
//! The library calls back with messages, changes of the group and changes of the ring, in the ring's order.
//! [`Stream`] turns them into [`CarrierEvent`]s: nothing before the own attachment, nothing of a sender that is not
//! attached, and an end when the own attachment has left. Changes that come with a new ring wait until the ring is
//! told, and until it is known whether it was formed in one attempt: see [`crate::history`].

use bytes::Bytes;
use core::fmt;
use postfleet_bus::carrier::{CarrierEvent, CarrierLost, RawId, RawReason};
use std::collections::BTreeSet;

/// Why an entry is in a list of a change (`cpg_reason_t`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    /// In lists of members.
    Undefined,
    /// It joined the group.
    Join,
    /// It left the group.
    Leave,
    /// Its host left the ring.
    NodeDown,
    /// It was in the group on a host that has joined the ring.
    NodeUp,
    /// Its process ended, or its daemon was stopped in order.
    ProcessDown,
}

impl Reason {
    /// What the number in `cpg_address` means. Numbers of later versions are [`Reason::Undefined`].
    #[must_use]
    pub const fn from_code(code: u32) -> Self {
        match code {
            1 => Self::Join,
            2 => Self::Leave,
            3 => Self::NodeDown,
            4 => Self::NodeUp,
            5 => Self::ProcessDown,
            _ => Self::Undefined,
        }
    }

    /// For somebody who has left. Without a better reason the process may live on.
    const fn of_leaver(self) -> RawReason {
        match self {
            Self::Leave => RawReason::Left,
            Self::ProcessDown => RawReason::ProcessDown,
            Self::Undefined | Self::Join | Self::NodeDown | Self::NodeUp => RawReason::NodeDown,
        }
    }
}

/// An entry of a list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Address {
    /// Host and process.
    pub id: RawId,
    /// Why it is in the list.
    pub reason: Reason,
}

/// The identity of a ring: the host that formed it, and a number that grows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct RingId {
    /// The representative.
    pub node: u32,
    /// The sequence number.
    pub sequence: u64,
}

/// As the daemon's own log prints it.
impl fmt::Display for RingId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:x}.{:x}", self.node, self.sequence)
    }
}

/// One callback of the library.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Told {
    /// A message.
    Deliver {
        /// Who sent it.
        from: RawId,
        /// What.
        bytes: Bytes,
    },
    /// The group changed.
    Change {
        /// Everybody who is in it now.
        members: Vec<Address>,
        /// Who left.
        left: Vec<Address>,
        /// Who came.
        joined: Vec<Address>,
    },
    /// The ring changed.
    Ring {
        /// The new one.
        ring: RingId,
        /// Its hosts.
        hosts: Vec<u32>,
    },
}

/// What a callback means.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Meaning {
    /// An event of the carrier; for an own message [`CarrierEvent::Deliver`] from the own id.
    Event(CarrierEvent),
    /// The ring has other hosts, or was formed anew by the same ones. [`Stream::settle`] is to be called next.
    Ring(RingId, BTreeSet<u32>),
    /// Nothing that anybody must know, or not yet.
    Nothing,
}

/// The state of the translation.
#[derive(Debug)]
pub struct Stream {
    own: RawId,
    members: BTreeSet<RawId>,
    ended: bool,
    /// Changes that came with a ring which has not been told yet.
    held: Vec<CarrierEvent>,
    /// Who was attached before them.
    before: BTreeSet<RawId>,
    /// Messages of senders that were not attached.
    dropped: u64,
}

impl Stream {
    /// A stream of an attachment that has asked to join.
    #[must_use]
    pub const fn new(own: RawId) -> Self {
        Self {
            own,
            members: BTreeSet::new(),
            ended: false,
            held: Vec::new(),
            before: BTreeSet::new(),
            dropped: 0,
        }
    }

    /// Translates one callback.
    pub fn take(&mut self, told: Told) -> Meaning {
        if self.ended {
            return Meaning::Nothing;
        }
        match told {
            Told::Ring { ring, hosts } => Meaning::Ring(ring, hosts.into_iter().collect()),
            Told::Deliver { from, .. } if !self.members.contains(&from) => {
                self.dropped += 1;
                Meaning::Nothing
            }
            Told::Deliver { from, bytes } => Meaning::Event(CarrierEvent::Deliver { from, bytes }),
            Told::Change { members, left, joined } => {
                let of_ring = left.iter().any(|gone| gone.reason == Reason::NodeDown)
                    || joined.iter().any(|came| came.reason == Reason::NodeUp);
                let holds = self.is_attached() && (of_ring || !self.held.is_empty());
                if holds && self.held.is_empty() {
                    self.before.clone_from(&self.members);
                }
                let meaning = self.change(&members, &left, &joined);
                if let Meaning::Event(event @ CarrierEvent::Change { .. }) = meaning {
                    if !holds {
                        return Meaning::Event(event);
                    }
                    self.held.push(event);
                    return Meaning::Nothing;
                }
                meaning
            }
        }
    }

    /// What the ring that was told last has brought. Whoever is on a host that has `parted`, and is told to have
    /// stayed, has left and come back: it may not have delivered what this side has.
    pub fn settle(&mut self, parted: &BTreeSet<u32>) -> Vec<CarrierEvent> {
        let mut events = core::mem::take(&mut self.held);
        if !self.is_attached() {
            return events;
        }
        if events.is_empty() {
            self.before.clone_from(&self.members);
        }
        let elsewhere = |id: &RawId| parted.contains(&id.major) && id.major != self.own.major;
        let mut back: BTreeSet<RawId> =
            self.before.intersection(&self.members).copied().filter(elsewhere).collect();
        for event in &events {
            if let CarrierEvent::Change { left, joined, .. } = event {
                back.retain(|id| !joined.contains(id) && left.iter().all(|(gone, _)| gone != id));
            }
        }
        if back.is_empty() {
            return events;
        }
        if events.is_empty() {
            let members = self.members.iter().copied().collect();
            events.push(CarrierEvent::Change { members, left: Vec::new(), joined: Vec::new() });
        }
        if let Some(CarrierEvent::Change { left, joined, .. }) = events.first_mut() {
            left.extend(back.iter().map(|id| (*id, RawReason::NodeDown)));
            left.sort_unstable_by_key(|(id, _)| *id);
            joined.extend(back);
            joined.sort_unstable();
        }
        events
    }

    fn change(&mut self, members: &[Address], left: &[Address], joined: &[Address]) -> Meaning {
        let now: BTreeSet<RawId> = members.iter().map(|address| address.id).collect();
        if !now.contains(&self.own) {
            if self.members.is_empty() {
                return Meaning::Nothing;
            }
            self.ended = true;
            let own = left.iter().find(|address| address.id == self.own);
            let reason = match own.map(|address| address.reason) {
                Some(Reason::Leave) => CarrierLost::Detached,
                Some(
                    Reason::Undefined
                    | Reason::Join
                    | Reason::NodeDown
                    | Reason::NodeUp
                    | Reason::ProcessDown,
                )
                | None => CarrierLost::Expelled,
            };
            return Meaning::Event(CarrierEvent::Lost(reason));
        }
        let first = self.members.is_empty();
        let mut gone: Vec<(RawId, RawReason)> = left
            .iter()
            .filter(|address| self.members.contains(&address.id))
            .map(|address| (address.id, address.reason.of_leaver()))
            .collect();
        // The lists are believed for reasons, the list of members for who is there.
        for missing in self.members.difference(&now) {
            if !gone.iter().any(|(id, _)| id == missing) {
                gone.push((*missing, RawReason::NodeDown));
            }
        }
        let mut came: Vec<RawId> =
            joined.iter().map(|address| address.id).filter(|id| now.contains(id)).collect();
        if !first {
            came.extend(now.difference(&self.members));
        }
        came.sort_unstable();
        came.dedup();
        gone.sort_unstable_by_key(|(id, _)| *id);
        gone.dedup_by_key(|(id, _)| *id);
        let members = now.iter().copied().collect();
        self.members = now;
        Meaning::Event(CarrierEvent::Change { members, left: gone, joined: came })
    }

    /// Whether the own attachment has been seen.
    #[must_use]
    pub fn is_attached(&self) -> bool {
        !self.members.is_empty() && !self.ended
    }

    /// Messages of senders that were not attached.
    #[must_use]
    pub const fn dropped(&self) -> u64 {
        self.dropped
    }
}

/// Whether a callback says that a message is one of the own.
#[must_use]
pub fn is_own(event: &CarrierEvent, own: RawId) -> bool {
    matches!(event, CarrierEvent::Deliver { from, .. } if *from == own)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const A: RawId = RawId { major: 1, minor: 100 };
    const B: RawId = RawId { major: 2, minor: 200 };
    const C: RawId = RawId { major: 3, minor: 300 };

    fn list(entries: &[(RawId, Reason)]) -> Vec<Address> {
        entries.iter().map(|(id, reason)| Address { id: *id, reason: *reason }).collect()
    }

    fn members(ids: &[RawId]) -> Vec<Address> {
        list(&ids.iter().map(|id| (*id, Reason::Undefined)).collect::<Vec<_>>())
    }

    fn told(now: &[RawId], left: &[(RawId, Reason)], joined: &[(RawId, Reason)]) -> Told {
        Told::Change { members: members(now), left: list(left), joined: list(joined) }
    }

    fn change(now: &[RawId], left: &[(RawId, RawReason)], joined: &[RawId]) -> Meaning {
        let (members, left, joined) = (now.to_vec(), left.to_vec(), joined.to_vec());
        Meaning::Event(CarrierEvent::Change { members, left, joined })
    }

    fn attached(others: &[RawId]) -> Stream {
        let mut stream = Stream::new(A);
        let now: Vec<RawId> = [A].iter().chain(others).copied().collect();
        assert_eq!(stream.take(told(&now, &[], &[(A, Reason::Join)])), change(&now, &[], &[A]));
        assert!(stream.is_attached());
        stream
    }

    #[test]
    fn the_first_change_contains_the_own_attachment() {
        let mut stream = Stream::new(A);
        assert_eq!(stream.take(told(&[B], &[], &[(B, Reason::Join)])), Meaning::Nothing);
        assert_eq!(stream.take(Told::Deliver { from: B, bytes: Bytes::new() }), Meaning::Nothing);
        assert_eq!(stream.take(told(&[A, B], &[], &[(A, Reason::Join)])), change(&[A, B], &[], &[A]));
    }

    #[test]
    fn reasons_as_the_daemon_gives_them() {
        let check = |reason, wanted| {
            let mut stream = attached(&[B, C]);
            assert_eq!(stream.take(told(&[A, B], &[(C, reason)], &[])), change(&[A, B], &[(C, wanted)], &[]));
        };
        check(Reason::Leave, RawReason::Left);
        check(Reason::ProcessDown, RawReason::ProcessDown);
        check(Reason::from_code(99), RawReason::NodeDown);
    }

    /// Takes the changes of a ring and the ring.
    fn of_ring(stream: &mut Stream, changes: Vec<Told>, parted: &[u32]) -> Vec<Meaning> {
        for told in changes {
            assert_eq!(stream.take(told), Meaning::Nothing, "waits for its ring");
        }
        let ring = RingId { node: 1, sequence: 8 };
        assert!(matches!(stream.take(Told::Ring { ring, hosts: vec![1] }), Meaning::Ring(..)));
        let events = stream.settle(&parted.iter().copied().collect());
        assert!(stream.settle(&BTreeSet::new()).is_empty(), "told once");
        events.into_iter().map(Meaning::Event).collect()
    }

    const BOTH_GONE: [(RawId, RawReason); 2] = [(B, RawReason::NodeDown), (C, RawReason::NodeDown)];

    /// A daemon that stood still sees everybody leave and come back, one change after the other.
    #[test]
    fn two_changes_in_a_row() {
        let mut stream = attached(&[B, C]);
        let gone = told(&[A], &[(B, Reason::NodeDown), (C, Reason::NodeDown)], &[]);
        let back = told(&[A, B, C], &[], &[(B, Reason::NodeUp), (C, Reason::NodeUp)]);
        let events = of_ring(&mut stream, vec![gone, back], &[2, 3]);
        assert_eq!(events, [change(&[A], &BOTH_GONE, &[]), change(&[A, B, C], &[], &[B, C])]);
    }

    #[test]
    fn who_comes_back_unseen_is_in_joined() {
        let mut stream = attached(&[B]);
        let back = told(&[A, B], &[], &[(B, Reason::NodeUp)]);
        assert_eq!(of_ring(&mut stream, vec![back], &[]), [change(&[A, B], &[], &[B])]);
    }

    /// B went another way, over a ring that nobody was told of; the daemon says only that C is gone.
    #[test]
    fn who_went_another_way_has_left_and_come_back() {
        let mut stream = attached(&[B, C]);
        let gone = told(&[A, B], &[(C, Reason::NodeDown)], &[]);
        assert_eq!(of_ring(&mut stream, vec![gone], &[2]), [change(&[A, B], &BOTH_GONE, &[B])]);
        // All are there again before anything was told.
        let mut stream = attached(&[B, C]);
        let events = of_ring(&mut stream, vec![], &[1, 2, 3]);
        assert_eq!(events, [change(&[A, B, C], &BOTH_GONE, &[B, C])]);
        // Nobody of the group is on that host.
        assert_eq!(of_ring(&mut stream, vec![], &[7]), []);
    }

    /// Processes that end and join without a new ring wait for nothing.
    #[test]
    fn changes_of_processes_do_not_wait() {
        let mut stream = attached(&[B]);
        let left = [(B, RawReason::ProcessDown)];
        assert_eq!(stream.take(told(&[A], &[(B, Reason::ProcessDown)], &[])), change(&[A], &left, &[]));
        // Unless they come with one.
        let mut stream = attached(&[B, C]);
        let changes =
            vec![told(&[A, B], &[(C, Reason::NodeDown)], &[]), told(&[A], &[(B, Reason::ProcessDown)], &[])];
        let (down, ended) = ([(C, RawReason::NodeDown)], [(B, RawReason::ProcessDown)]);
        assert_eq!(
            of_ring(&mut stream, changes, &[]),
            [change(&[A, B], &down, &[]), change(&[A], &ended, &[])]
        );
    }

    #[test]
    fn lists_that_say_less_than_the_members_are_completed() {
        let mut stream = attached(&[B]);
        assert_eq!(stream.take(told(&[A, C], &[], &[])), change(&[A, C], &[(B, RawReason::NodeDown)], &[C]));
    }

    #[test]
    fn the_own_leave_ends_the_stream() {
        let check = |reason, wanted| {
            let mut stream = attached(&[B]);
            assert_eq!(
                stream.take(told(&[B], &[(A, reason)], &[])),
                Meaning::Event(CarrierEvent::Lost(wanted))
            );
            assert_eq!(stream.take(told(&[A, B], &[], &[(A, Reason::Join)])), Meaning::Nothing);
            assert!(!stream.is_attached());
        };
        check(Reason::Leave, CarrierLost::Detached);
        check(Reason::ProcessDown, CarrierLost::Expelled);
    }

    #[test]
    fn messages_of_strangers_are_dropped() {
        let mut stream = attached(&[B]);
        let bytes = Bytes::from_static(b"x");
        assert_eq!(stream.take(Told::Deliver { from: C, bytes: bytes.clone() }), Meaning::Nothing);
        assert_eq!(stream.dropped(), 1);
        let own = CarrierEvent::Deliver { from: A, bytes: bytes.clone() };
        assert_eq!(stream.take(Told::Deliver { from: A, bytes }), Meaning::Event(own.clone()));
        assert!(is_own(&own, A) && !is_own(&own, B));
    }

    #[test]
    fn rings_are_printed_like_in_the_daemons_log() {
        assert_eq!(RingId { node: 1, sequence: 0x2c }.to_string(), "1.2c");
        let mut stream = attached(&[]);
        let ring = RingId { node: 1, sequence: 5 };
        let meaning = stream.take(Told::Ring { ring, hosts: vec![2, 1, 1] });
        assert_eq!(meaning, Meaning::Ring(ring, BTreeSet::from([1, 2])));
    }

    proptest! {
        /// Whatever the lists say: events follow the contract. Members ascend and contain the own id, nobody
        /// leaves who was not there, and members change exactly by those who left and joined.
        #[test]
        fn any_lists_give_a_stream_that_keeps_the_contract(
            steps in prop::collection::vec((any::<[bool; 4]>(), any::<[bool; 4]>(), any::<[bool; 4]>(), 0u32..7), 1..30),
        ) {
            let ids = [A, B, C, RawId { major: 1, minor: 7 }];
            let pick = |flags: &[bool; 4], code: u32| -> Vec<Address> {
                let chosen = ids.iter().zip(flags).filter(|(_, on)| **on);
                chosen.map(|(id, _)| Address { id: *id, reason: Reason::from_code(code) }).collect()
            };
            let mut stream = Stream::new(A);
            let mut known: BTreeSet<RawId> = BTreeSet::new();
            let mut over = false;
            for (members, left, joined, code) in steps {
                let told = Told::Change { members: pick(&members, 0), left: pick(&left, code), joined: pick(&joined, 1) };
                let of_ring: BTreeSet<u32> = if code == 3 { [2].into() } else { BTreeSet::new() };
                let (meanings, parted) = match stream.take(told) {
                    Meaning::Nothing => {
                        (stream.settle(&of_ring).into_iter().map(Meaning::Event).collect(), of_ring)
                    }
                    meaning @ (Meaning::Event(_) | Meaning::Ring(..)) => (vec![meaning], BTreeSet::new()),
                };
                for meaning in meanings { match meaning {
                    Meaning::Event(CarrierEvent::Change { members, left, joined }) => {
                        prop_assert!(!over);
                        prop_assert!(members.is_sorted() && members.contains(&A));
                        let now: BTreeSet<RawId> = members.into_iter().collect();
                        prop_assert!(left.iter().all(|(id, _)| known.contains(id)));
                        prop_assert!(joined.iter().all(|id| now.contains(id)));
                        for id in known.difference(&now) {
                            prop_assert!(left.iter().any(|(gone, _)| gone == id));
                        }
                        for id in &parted {
                            prop_assert!(!known.iter().any(|member| member.major == *id && !joined.contains(member)
                                && !left.iter().any(|(gone, _)| gone == member)), "stayed");
                        }
                        if !known.is_empty() {
                            for id in now.difference(&known) {
                                prop_assert!(joined.contains(id));
                            }
                        }
                        known = now;
                    }
                    Meaning::Event(CarrierEvent::Lost(_)) => over = true,
                    Meaning::Event(_) | Meaning::Ring(..) => prop_assert!(false),
                    Meaning::Nothing => {}
                } }
            }
        }
    }
}
