//! Who is there: views, group views, loss of the connection.

use crate::peer::Peer;
use crate::replica::{JOIN_PATIENCE, Replica};
use crate::session::Need;
use crate::shared::Shared;
use alloc::vec::Vec;
use postfleet_bus::event::{BusEvent, Member};
use postfleet_types::{Monotonic, NodeType, PrivateName};

impl Replica {
    /// Takes the next event of the shared connection. Every event has to be handed over, in order.
    pub fn handle(&mut self, now: Monotonic, event: &BusEvent) {
        match event {
            BusEvent::View { id, members, left, transitional, .. } => {
                self.install_view(now, members, transitional);
                self.configure_by_view(now, *id, members, left, transitional);
            }
            BusEvent::GroupView { group, members, .. } => {
                if *group == self.options.group {
                    self.install_group(now, members);
                    self.configure_by_group(now, members);
                }
            }
            BusEvent::Message { from, kind, payload, .. } => self.receive(now, from, *kind, payload),
            BusEvent::SendReady => {}
            BusEvent::Lost { .. } => {
                let everybody: Vec<PrivateName> = self.peers.keys().cloned().collect();
                for name in everybody {
                    self.forget_member(now, &name);
                }
                self.order.clear();
                self.go_offline(now);
                self.fresh = true;
                self.leave_roster(now);
            }
        }
    }

    fn install_view(&mut self, now: Monotonic, members: &[Member], transitional: &[PrivateName]) {
        // A member that is back under the same name did not see what was sent meanwhile: it left and joined.
        let gone: Vec<PrivateName> = self
            .peers
            .keys()
            .filter(|name| {
                !transitional.contains(name)
                    || !members.iter().any(|member| member.info.private_name == **name)
            })
            .cloned()
            .collect();
        for name in gone {
            self.forget_member(now, &name);
        }
        self.order = members.iter().map(|member| member.info.private_name.clone()).collect();
        self.ask_for_lacking_heritage();
        let came_along = self.peers.len() + 1;
        let mut here = false;
        let mut present = Vec::new();
        let mut anew = 0;
        for member in members {
            let name = &member.info.private_name;
            let in_group = member.groups.contains(&self.options.group);
            if *name == self.options.own {
                here = self.online || in_group;
            } else if !self.peers.contains_key(name) {
                let manager = member.info.node_type == NodeType::Manager;
                self.peers.insert(name.clone(), Peer::new(manager));
                anew += 1;
                if in_group {
                    present.push(name.clone());
                }
            }
        }
        let leads = self.leads();
        for name in &present {
            self.add_to_group(now, name, leads);
        }
        let outnumbered = anew > came_along;
        if here && !self.online {
            self.go_online(now);
        } else if self.online && !here {
            self.leave_group(now);
        } else if outnumbered && !present.is_empty() && self.online {
            self.wait_until = Some(now + JOIN_PATIENCE);
        }
        self.forget_pending_when_alone(now);
        self.check_wait(now);
    }

    fn install_group(&mut self, now: Monotonic, members: &[PrivateName]) {
        let changed: Vec<(PrivateName, bool)> = self
            .peers
            .iter()
            .map(|(name, peer)| (name, peer.origin.is_some(), members.contains(name)))
            .filter(|(_, was, is)| was != is)
            .map(|(name, _, is)| (name.clone(), is))
            .collect();
        let leads = self.leads();
        for (name, is) in changed {
            if is {
                self.add_to_group(now, &name, leads);
            } else {
                let manager = self.peers.get(&name).is_some_and(|peer| peer.manager);
                self.forget_member(now, &name);
                self.peers.insert(name, Peer::new(manager));
            }
        }
        self.ask_for_lacking_heritage();
        match (self.online, members.contains(&self.options.own)) {
            (false, true) => self.go_online(now),
            (true, false) => self.leave_group(now),
            (true, true) | (false, false) => {}
        }
        self.forget_pending_when_alone(now);
        self.check_wait(now);
    }

    /// A member is in the data group: it lacks the own columns, and its columns are missing here.
    /// `leads`: this member tells it of those who are gone.
    fn add_to_group(&mut self, now: Monotonic, name: &PrivateName, leads: bool) {
        let origin = self.new_origin();
        let Some(peer) = self.peers.get_mut(name) else { return };
        peer.origin = Some(origin);
        for object in &mut self.objects {
            if let Some(data) = &mut object.data {
                data.come_back(name, origin);
                data.remote.insert(origin, data.beginning(now));
            }
        }
        if self.online {
            self.needs(name, Need::All);
            if leads {
                self.heirs.add(name);
            }
        }
    }

    /// A member is gone: its columns leave the global view here and now, at the same point of the order everywhere. Of
    /// what goes on to count they stay.
    fn forget_member(&mut self, now: Monotonic, name: &PrivateName) {
        self.interrupt_heritage(name);
        self.heirs.forget(name);
        let gone = self.peers.remove(name).map_or((None, 0), |peer| (peer.origin, peer.stream));
        if let (Some(origin), stream) = gone {
            let (limit, bytes_min) = (self.chunk_bytes(), self.options.inline_bytes_max);
            for Shared { spec, data, .. } in &mut self.objects {
                if let Some(data) = data {
                    if data.keeps_departed() {
                        self.heritage_lacks |= data.depart(name, origin, stream, now);
                        continue;
                    }
                    if let Some(bodies) = data.cut_of(origin, limit) {
                        self.parking.keep(now, (name.clone(), spec.name.clone()), bodies, bytes_min);
                    }
                    data.forget(origin, now);
                }
            }
        }
        self.need.remove(name);
        self.fetches.forget(name);
        for session in &mut self.sessions {
            session.remove(name);
        }
    }

    fn go_online(&mut self, now: Monotonic) {
        self.online = true;
        let present: Vec<PrivateName> = self
            .peers
            .iter()
            .filter(|(_, peer)| peer.origin.is_some())
            .map(|(name, _)| name.clone())
            .collect();
        if self.fresh && !present.is_empty() {
            self.wait_until = Some(now + JOIN_PATIENCE);
        }
        self.fresh = false;
        for data in self.objects.iter_mut().filter_map(|object| object.data.as_mut()) {
            let origins: Vec<_> = data.remote.keys().copied().collect();
            for origin in origins {
                data.remote.insert(origin, data.beginning(now));
            }
        }
        for name in present {
            self.heirs.add(&name);
            self.needs(&name, Need::All);
        }
    }

    /// This member left the data group and stays in the view.
    fn leave_group(&mut self, now: Monotonic) {
        let everybody: Vec<PrivateName> = self
            .peers
            .iter()
            .filter(|(_, peer)| peer.origin.is_some())
            .map(|(name, _)| name.clone())
            .collect();
        for name in everybody {
            let manager = self.peers.get(&name).is_some_and(|peer| peer.manager);
            self.forget_member(now, &name);
            self.peers.insert(name.clone(), Peer::new(manager));
            self.add_to_group(now, &name, false);
        }
        self.go_offline(now);
        self.fresh = true;
    }

    fn go_offline(&mut self, now: Monotonic) {
        self.online = false;
        self.wait_until = None;
        self.sessions.clear();
        self.need.clear();
        self.outbox.clear();
        self.pacing.under_way = 0;
        self.table_pacing.under_way = 0;
        self.markers_under_way = 0;
        self.heirs.clear();
        self.forget_pending_when_alone(now);
    }

    /// Without anybody to hear of them, changes need not be kept: who comes gets the whole column.
    ///
    /// With it the stream of batches ends and another begins, so that a member that is reached by a marker from
    /// before this moment does not take what follows for its continuation.
    fn forget_pending_when_alone(&mut self, now: Monotonic) {
        if !self.sharing() {
            for object in &mut self.objects {
                if let Some(data) = &mut object.data {
                    data.forget_pending(now);
                }
            }
            self.stream = self.stream.saturating_add(1);
        }
    }
}
