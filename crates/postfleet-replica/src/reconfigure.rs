//! A new set of `Replicate` stanzas.

use crate::object::ObjectSpec;
use crate::ordered::{Table, cache_limits};
use crate::peer::Peer;
use crate::replica::Replica;
use crate::session::Need;
use crate::shared::Shared;
use crate::wire::BatchWriter;
use alloc::collections::BTreeSet;
use alloc::string::String;
use alloc::vec::Vec;
use postfleet_types::Monotonic;

impl Replica {
    /// Takes the objects of a new configuration, in its order.
    ///
    /// Objects that stay keep their counts and take new delays at once. An object that is gone is dropped here,
    /// and the members are told that this member's column of it is empty. A new one starts empty: connections
    /// that are open now are counted in it neither now nor when they end. Another kind or binding group is a new
    /// object under the old name.
    pub fn reconfigure(&mut self, now: Monotonic, specs: Vec<ObjectSpec>) {
        let sharing = self.sharing();
        self.generation = self.generation.saturating_add(1);
        let mut old = core::mem::take(&mut self.objects);
        let mut batch = BatchWriter::new(self.stream);
        let mut added = BTreeSet::new();
        let mut entering = BTreeSet::new();
        for spec in specs {
            let same = |object: &Shared| {
                object.spec.name == spec.name
                    && object.spec.kind == spec.kind
                    && object.spec.binding_group == spec.binding_group
            };
            if let Some(at) = old.iter().position(same) {
                let mut object = old.swap_remove(at);
                if let Some(Table::Cache(cache)) = &mut object.table {
                    cache.set_options(spec.snapped(), cache_limits(&spec));
                }
                if object.spec.partition != spec.partition
                    && let Some(table) = &mut object.table
                {
                    table.ordered_mut().set_options(now, &self.options.tables.of(&spec));
                }
                if let Some(data) = &mut object.data {
                    data.snapped = spec.snapped();
                }
                object.spec = spec;
                self.objects.push(object);
            } else {
                if spec.kind.has_columns() {
                    added.insert(spec.name.clone());
                }
                entering.insert(spec.name.clone());
                self.objects.push(Shared::new(spec, self.generation, &self.options));
            }
        }
        for Shared { spec, data, .. } in &old {
            if data.is_some() {
                batch.withdrawn(spec.kind, &spec.name);
            }
        }
        self.withdraw_tables(now, old);
        self.enter_tables(now, |name| entering.contains(name));
        let origins: Vec<_> = self.peers.values().filter_map(|peer| peer.origin).collect();
        for Shared { spec, data, .. } in &mut self.objects {
            let Some(data) = data else { continue };
            if added.contains(&spec.name) {
                batch.announced(spec.kind, &spec.name, data.next);
                for origin in &origins {
                    data.remote.insert(*origin, data.beginning(now));
                }
            }
        }
        if !sharing {
            return;
        }
        if !batch.is_empty() {
            let to = self.to_group();
            self.send_batch(batch, now, to);
        }
        if !added.is_empty() {
            let names: BTreeSet<String> = added;
            for peer in self.peers.values_mut().filter(|peer| peer.origin.is_some()) {
                let peer: &mut Peer = peer;
                peer.kinds_noticed.retain(|name| !names.contains(name));
                peer.ask(Need::Named(names.clone()));
            }
        }
    }
}
