//! Lines of the cluster stanza.

use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

use super::raw::{Attributes, Endpoint, Entry, RawValue};
use super::{Place, Translator, assignment, bare, quoted};
use crate::diagnostic::Finding;
use crate::schema;
use crate::source::Span;
use crate::syntax::{Item, Word};

/// The port that every file of the old product names and nothing listens on any more.
const OLD_BUS_PORT: &str = "4803";

impl Translator<'_, '_> {
    pub(super) fn cluster_line(
        &mut self,
        entry: Entry,
        place: &Place,
        out: &mut Vec<Item>,
        before: &mut Vec<Item>,
    ) {
        let key = entry.key.text.to_ascii_lowercase();
        match (key.as_str(), &entry.value) {
            ("replicate", RawValue::Section(..)) => {
                self.line(place, entry.key.span, "`replicate [ … ]`", "`Replicate \"NAME\" { … }`");
                if let RawValue::Section(entries, _) = entry.value
                    && let Some(stanza) = self.replicate(&entry.key, entries, place)
                {
                    out.push(stanza);
                }
            }
            ("dml", RawValue::Section(..)) => {
                self.gone(
                    entry.key.span,
                    "`dml [ … ]` is left out: the statistics queue is not part of this product",
                );
            }
            ("cluster_listener", RawValue::Atom(address)) => {
                let endpoint = Endpoint {
                    address: address.clone(),
                    backlog: None,
                    concurrency: None,
                    attributes: Attributes::new(),
                    rules: Vec::new(),
                };
                before.extend(self.cluster_listener(&entry.key, alloc::vec![split_numbers(endpoint)], place));
            }
            ("mbus_daemon", RawValue::Atom(address))
                if self.mode.migrating && address.text == OLD_BUS_PORT =>
            {
                self.note(
                    entry.key.span,
                    "mbus_daemon = 4803 is left out: the old bus listened there, and nothing does now",
                );
            }
            (_, RawValue::Section(..)) if is_block(&entry.key) => {
                self.line(place, entry.key.span, "a block with its interface", "`Topology \"CIDR\" { … }`");
                let inner = place.inside("Topology");
                let mut body = Vec::new();
                if let RawValue::Section(entries, _) = entry.value {
                    for entry in entries {
                        self.plain(entry, &inner, &mut body);
                    }
                }
                let name = quoted(entry.key.text, entry.key.span);
                out.push(Item::Stanza { scope: bare("Topology", name.span), name: Some(name), body });
            }
            _ => self.plain(entry, place, out),
        }
    }

    /// A 2.x line is remarked on by itself only where the stanza around it is of the 4.x form.
    fn line(&mut self, place: &Place, span: Span, what: &str, now: &str) {
        if place.old {
            self.constructs += 1;
        } else {
            self.old(span, what, now);
        }
    }

    fn replicate(&mut self, key: &Word, entries: Vec<Entry>, place: &Place) -> Option<Item> {
        let inner = place.inside("Replicate");
        let mut kind: Option<Word> = None;
        let mut class: Option<Word> = None;
        let mut given: Option<Word> = None;
        let mut options = Vec::new();
        for entry in entries {
            let slot = match entry.key.text.to_ascii_lowercase().as_str() {
                "type" => &mut kind,
                "class" => &mut class,
                "replication_name" => &mut given,
                _ => {
                    self.plain(entry, &inner, &mut options);
                    continue;
                }
            };
            if let RawValue::Atom(word) = entry.value {
                *slot = Some(word);
            } else {
                let finding = Finding::error(4008, entry.key.span, "a list is given");
                self.findings.push(finding.expected("a single value"));
                return None;
            }
        }
        let Some(word) = kind.as_ref().or(class.as_ref()) else {
            let finding = Finding::error(6111, key.span, "the replicated object has no type");
            self.findings
                .push(finding.expected(format!("type = one of {}", schema::object_types().join(", "))));
            return None;
        };
        let name = match given {
            Some(name) => quoted(name.text, name.span),
            None if schema::object_type(&word.text) == Some("cache") => {
                let finding = Finding::error(6118, key.span, "a replicated cache has no name");
                self.findings.push(finding.expected("replication_name = \"NAME\""));
                return None;
            }
            None => quoted(word.text.clone(), word.span),
        };
        let mut body = Vec::new();
        for (option, word) in [("type", kind), ("class", class)] {
            if let Some(word) = word.filter(|word| !word.text.eq_ignore_ascii_case(&name.text)) {
                body.push(assignment(bare(option, word.span), quoted(word.text, word.span)));
            }
        }
        body.extend(options);
        Some(Item::Stanza { scope: bare("Replicate", key.span), name: Some(name), body })
    }

    pub(super) fn cluster_listener(
        &mut self,
        key: &Word,
        endpoints: Vec<Endpoint>,
        place: &Place,
    ) -> Option<Item> {
        let now = "`ECCluster_Listener { Listen \"ADDRESS\" {} }` at the top level";
        self.line(place, key.span, "`cluster_listener`", now);
        let listener = bare("ECCluster_Listener", key.span);
        Some(self.listener_stanza(listener, endpoints))
    }
}

/// The numbers behind an address that was read as one value.
fn split_numbers(mut endpoint: Endpoint) -> Endpoint {
    let address = &endpoint.address;
    if let Some((host, numbers)) = address.text.split_once(',') {
        let (backlog, concurrency) = match numbers.split_once('~') {
            Some((backlog, concurrency)) => (backlog, Some(bare(concurrency, address.span))),
            None => (numbers, None),
        };
        let (host, backlog) = (String::from(host), bare(backlog, address.span));
        endpoint.backlog = Some(backlog);
        endpoint.concurrency = concurrency;
        endpoint.address.text = host;
    }
    endpoint
}

/// Whether a key is an address or a block rather than the name of an option. What is wrong with it is found later.
fn is_block(key: &Word) -> bool {
    key.text.contains([':', '/'])
        || (key.text.contains('.') && key.text.starts_with(|c: char| c.is_ascii_digit()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::source::SourceId;

    #[test]
    fn blocks_are_told_from_options() {
        let check = |text: &str| is_block(&bare(text, Span::at(SourceId(0), 0, 0)));
        assert!(check("192.168.0.0/24") && check("10.0.0.1") && check("2001:db8::/32"));
        assert!(!check("logs") && !check("10") && !check("a.b"));
    }
}
