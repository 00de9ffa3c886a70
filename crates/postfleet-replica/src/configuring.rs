//! Who shares the ordered objects: configurations of the data group, from views and group views.

use crate::replica::Replica;
use crate::wire::{DIGEST_START, digest};
use alloc::collections::BTreeSet;
use alloc::vec::Vec;
use core::time::Duration;
use postfleet_bus::event::{LeaveReason, Member};
use postfleet_throttle::{Configuration, Departure, Present};
use postfleet_types::{Monotonic, NodeType, PrivateName, ViewId};

/// How long after a process ended it is said in the order that it certainly did. Whoever takes a dying host for a
/// living one learns better by then.
const DEATH_DELAY: Duration = Duration::from_secs(1);

/// The data group as the order has it.
#[derive(Debug)]
pub(crate) struct Roster {
    own: PrivateName,
    view: ViewId,
    /// Changes of the group since the view was installed; every member of the view counts alike.
    changes: u64,
    /// Members of the view that carry mail.
    relays: BTreeSet<PrivateName>,
    /// The group in the order of the view. This member is in it while it is online.
    group: Vec<PrivateName>,
}

impl Roster {
    pub(crate) fn new(own: &PrivateName) -> Self {
        Self {
            own: own.clone(),
            view: ViewId::default(),
            changes: 0,
            relays: BTreeSet::from([own.clone()]),
            group: Vec::new(),
        }
    }

    /// Whether this member shares with the group.
    pub(crate) fn is_in(&self) -> bool {
        self.group.contains(&self.own)
    }

    /// Whether a member that runs on the node of that name is in the group.
    pub(crate) fn has_node(&self, node: &str) -> bool {
        self.own.node() == node || self.group.iter().any(|name| name.node() == node)
    }

    /// The same on all members of a configuration, and different from that of any other: a view has one identity
    /// for all, and all of its members see the same changes of the group in it.
    fn id(&self) -> u64 {
        let mut id = DIGEST_START;
        for number in [self.view.counter, self.view.tag, self.changes] {
            id = digest(id, &number.to_be_bytes());
        }
        for name in &self.group {
            id = digest(digest(id, name.as_str().as_bytes()), &[0xff]);
        }
        id
    }

    fn present(&self) -> Vec<Present<'_>> {
        let present = self.group.iter();
        present.map(|name| Present { name, relay: self.relays.contains(name) }).collect()
    }
}

impl Replica {
    /// A view is in force.
    pub(crate) fn configure_by_view(
        &mut self,
        now: Monotonic,
        id: ViewId,
        members: &[Member],
        left: &[(PrivateName, LeaveReason)],
        transitional: &[PrivateName],
    ) {
        self.roster.view = id;
        self.roster.changes = 0;
        let relays = members.iter().filter(|member| member.info.node_type == NodeType::Node);
        self.roster.relays = relays.map(|member| member.info.private_name.clone()).collect();
        let group = members.iter().filter(|member| member.groups.contains(&self.options.group));
        let group = group.map(|member| member.info.private_name.clone()).collect();
        for (name, reason) in left {
            if *reason == LeaveReason::ProcessDown && self.roster.group.contains(name) {
                self.suspects.insert(name.clone(), now + DEATH_DELAY);
            }
        }
        // Whoever leaves for good leaves the group first, and stays in the view. Of all others it is not certain: who ended
        // the connection comes anew, and uses what it has meanwhile; a process that is said to have ended may be one that
        // a cut host reports so, and its own host has to confirm it.
        let departure = |name: &PrivateName| {
            let stays = members.iter().any(|member| member.info.private_name == *name)
                && left.iter().all(|(leaver, _)| leaver != name);
            if stays { Departure::Certain } else { Departure::Uncertain }
        };
        self.configure(now, group, |name| !transitional.contains(name), departure);
    }

    /// The group has changed while the view stands.
    pub(crate) fn configure_by_group(&mut self, now: Monotonic, members: &[PrivateName]) {
        // With a view comes a group view that says the same again.
        if self.roster.group.len() == members.len()
            && self.roster.group.iter().all(|name| members.contains(name))
        {
            return;
        }
        self.roster.changes += 1;
        self.configure(now, members.to_vec(), |_| false, |_| Departure::Certain);
    }

    /// The connection is gone.
    pub(crate) fn leave_roster(&mut self, now: Monotonic) {
        if self.roster.is_in() {
            self.lose_tables(now);
        }
        self.roster = Roster::new(&self.options.own);
        self.suspects.clear();
    }

    fn configure(
        &mut self,
        now: Monotonic,
        group: Vec<PrivateName>,
        anew: impl Fn(&PrivateName) -> bool,
        departure: impl Fn(&PrivateName) -> Departure,
    ) {
        let was_in = self.roster.is_in();
        let before = core::mem::replace(&mut self.roster.group, group);
        if !self.roster.is_in() {
            if was_in {
                self.lose_tables(now);
            }
            return;
        }
        let others = self.roster.group.iter().filter(|name| **name != self.roster.own);
        let joined: Vec<PrivateName> =
            others.filter(|name| !was_in || !before.contains(name) || anew(name)).cloned().collect();
        let mut departed = Vec::new();
        if was_in {
            let gone = before.iter().filter(|name| **name != self.roster.own);
            let gone = gone.filter(|name| !self.roster.group.contains(name) || joined.contains(name));
            departed.extend(gone.map(|name| (name.clone(), departure(name))));
        }
        let group = &self.roster.group;
        self.suspects.retain(|name, _| !group.contains(name));
        let members = self.roster.present();
        let next =
            Configuration { id: self.roster.id(), members: &members, departed: &departed, joined: &joined };
        for table in self.objects.iter_mut().filter_map(|object| object.table.as_mut()) {
            table.ordered_mut().reconfigure(now, &next);
        }
    }

    /// Objects that were added just now ask the others for what they hold.
    pub(crate) fn enter_tables(&mut self, now: Monotonic, is_new: impl Fn(&str) -> bool) {
        if !self.roster.is_in() {
            return;
        }
        let others = self.roster.group.iter().filter(|name| **name != self.roster.own);
        let joined: Vec<PrivateName> = others.cloned().collect();
        let members = self.roster.present();
        let standing =
            Configuration { id: self.roster.id(), members: &members, departed: &[], joined: &joined };
        for object in self.objects.iter_mut().filter(|object| is_new(&object.spec.name)) {
            if let Some(table) = &mut object.table {
                table.ordered_mut().enter(now, &standing);
            }
        }
    }
}
