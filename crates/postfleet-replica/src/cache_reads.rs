//! What is known here of a cache, and how pairs are written.

use crate::cache::SharedCache;
use crate::ordered::Table;
use crate::reads::{Of, ReadError, Rows, Show};
use crate::replica::Replica;
use alloc::string::String;
use alloc::vec::Vec;
use postfleet_types::{Monotonic, PrivateName};

impl Replica {
    /// The cache of that name; `None` when there is none or it is something else.
    #[must_use]
    pub fn cache(&self, name: &str) -> Option<&SharedCache> {
        match self.objects.iter().find(|object| object.spec.name == name)?.table.as_ref()? {
            Table::Cache(cache) => Some(cache),
            Table::Throttles(_) | Table::Slots(_) => None,
        }
    }

    /// As [`Replica::cache`], to write pairs. Poll the messages afterwards, as after every change.
    pub fn cache_mut(&mut self, name: &str) -> Option<&mut SharedCache> {
        match self.objects.iter_mut().find(|object| object.spec.name == name)?.table.as_mut()? {
            Table::Cache(cache) => Some(cache),
            Table::Throttles(_) | Table::Slots(_) => None,
        }
    }

    /// What `cluster shared show` displays of a cache: of a node, the keys that it wrote last.
    ///
    /// # Errors
    /// [`ReadError`].
    pub fn show_cache(&self, now: Monotonic, name: &str, of: Of<'_>) -> Result<Show, ReadError> {
        let unknown = || ReadError::UnknownObject(String::from(name));
        let cache = self.cache(name).ok_or_else(unknown)?;
        let writer: Option<&PrivateName> = match of {
            Of::Global => None,
            Of::Own => Some(&self.options.own),
            Of::Node(node) if node == self.options.node.as_str() => Some(&self.options.own),
            Of::Node(node) => {
                let present = self.order.iter().rev().filter(|name| self.peers.contains_key(*name));
                let found = present.into_iter().find(|member| member.node() == node);
                Some(found.ok_or_else(|| ReadError::NoView {
                    object: String::from(name),
                    node: String::from(node),
                })?)
            }
        };
        // A node that has restarted wrote its pairs under another private name.
        let wrote = |last: &PrivateName| writer.is_none_or(|writer| writer.node() == last.node());
        let pairs = cache.shown(now).filter(|(_, _, last)| wrote(last));
        let rows: Vec<_> = pairs.map(|(key, left, _)| (key.clone(), left.duration())).collect();
        let object = self.object(name)?;
        Ok(Show {
            snapped: self.list().iter().any(|row| row.name == name && row.snapped),
            structure: object.structure(),
            object: String::from(name),
            view: writer.map_or_else(|| String::from("global"), |writer| String::from(writer.as_str())),
            missing: if writer.is_some() { Vec::new() } else { self.awaited(name) },
            rows: Rows::Pairs(rows),
        })
    }
}
