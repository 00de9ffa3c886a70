//! Listener lists: `X_Listener = ( address,backlog~concurrency <attributes> [ access list ] … )`.

use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

use super::raw::Endpoint;
use super::{Place, Translator, assignment, bare, quoted};
use crate::diagnostic::Finding;
use crate::schema::{self, Scope, Service};
use crate::syntax::{Item, Word};
use crate::value::{boolean, clip};

const ATTRIBUTES: &str = "duravip, duravip_preference, duravip_follow, status, proto, file_mode";

/// Which addresses of a wildcard are meant.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Protocol {
    V4,
    V6,
    Both,
}

impl Translator<'_, '_> {
    pub(super) fn listener_list(&mut self, name: Word, endpoints: Vec<Endpoint>) -> Item {
        let shown = format!("`{} = ( … )`", clip(&name.text));
        let expected = format!("`{} {{ Listen \"ADDRESS\" {{ … }} }}`", clip(&name.text));
        self.old(name.span, &shown, expected);
        self.listener_stanza(name, endpoints)
    }

    pub(super) fn listener_stanza(&mut self, name: Word, endpoints: Vec<Endpoint>) -> Item {
        let service =
            schema::child_scope(Scope::Global, None, &name.text).and_then(|row| row.scope.service());
        let mut body = Vec::new();
        for endpoint in endpoints {
            self.endpoint(service, endpoint, &mut body);
        }
        Item::Stanza { scope: name, name: None, body }
    }

    fn endpoint(&mut self, service: Option<Service>, endpoint: Endpoint, out: &mut Vec<Item>) {
        let Endpoint { address, backlog, concurrency, attributes, rules } = endpoint;
        let mut body = Vec::new();
        for (option, number) in [("Listen_Backlog", backlog), ("Concurrency", concurrency)] {
            if let Some(number) = number {
                body.push(assignment(bare(option, number.span), number));
            }
        }
        let mut protocol: Option<(Protocol, Word)> = None;
        for (key, value) in attributes {
            match key.text.to_ascii_lowercase().as_str() {
                "duravip" => body.extend(self.enable_duravip(&key, &value)),
                "duravip_preference" => body.push(attribute("Duravip_Preference", &key, &value)),
                "duravip_follow" => body.push(attribute("Duravip_Follow", &key, &value)),
                "status" => {
                    if self.flag(&value) == Some(false) {
                        body.push(assignment(bare("Enable", key.span), bare("false", value.span)));
                    }
                }
                "file_mode" => body.push(assignment(bare("File_Mode", key.span), value)),
                "proto" => match value.text.to_ascii_lowercase().as_str() {
                    "ipv4" => protocol = Some((Protocol::V4, value)),
                    "ipv6" => protocol = Some((Protocol::V6, value)),
                    "both" => protocol = Some((Protocol::Both, value)),
                    _ => {
                        let message = format!("'{}' is not one of the words", clip(&value.text));
                        let finding = Finding::error(4007, value.span, message);
                        self.findings.push(finding.expected("ipv4, ipv6, both"));
                    }
                },
                _ => self.unknown(&key, "an attribute of a listener", ATTRIBUTES),
            }
        }
        let with_port = complete(&address.text, service);
        let names = self.wildcards(&with_port, protocol.as_ref());
        body.extend(self.peers(service, &with_port, rules));
        for text in names {
            let name = quoted(text, address.span);
            let scope = bare("Listen", address.span);
            out.push(Item::Stanza { scope, name: Some(name), body: body.clone() });
        }
    }

    /// `<duravip=…>` as an option.
    pub(super) fn enable_duravip(&mut self, key: &Word, value: &Word) -> Option<Item> {
        let on = self.flag(value)?;
        let text = if on { "true" } else { "false" };
        Some(assignment(bare("Enable_Duravip", key.span), bare(text, value.span)))
    }

    /// A bool of an attribute.
    fn flag(&mut self, value: &Word) -> Option<bool> {
        let read = boolean(&value.text);
        if read.is_none() {
            let finding = Finding::error(4001, value.span, format!("'{}' is not a bool", clip(&value.text)));
            self.findings.push(finding.expected("true/false, yes/no, on/off, enabled/disabled or 1/0"));
        }
        read
    }

    /// The addresses that an address with `proto` stands for.
    fn wildcards(&mut self, address: &str, protocol: Option<&(Protocol, Word)>) -> Vec<String> {
        let port = address.strip_prefix('*').or_else(|| address.strip_prefix("[*]")).unwrap_or(address);
        let wildcard = port.starts_with(':');
        let Some((protocol, word)) = protocol else {
            return alloc::vec![String::from(address)];
        };
        let (v4, v6) = (format!("*{port}"), format!("[*]{port}"));
        if wildcard {
            return match protocol {
                Protocol::V4 => alloc::vec![v4],
                Protocol::V6 => alloc::vec![v6],
                Protocol::Both => alloc::vec![v4, v6],
            };
        }
        let is_v6 = address.starts_with('[');
        if (is_v6 && *protocol == Protocol::V4) || (!is_v6 && *protocol == Protocol::V6) {
            let message = format!("{} is no address of {}", clip(address), clip(&word.text));
            let finding = Finding::error(4005, word.span, message);
            self.findings.push(finding.expected("the protocol of the address, or `*` as address"));
        }
        alloc::vec![String::from(address)]
    }
}

/// A text attribute as an option.
pub(super) fn attribute(option: &str, key: &Word, value: &Word) -> Item {
    assignment(bare(option, key.span), quoted(value.text.clone(), value.span))
}

/// The address with the port of the service, where it has none.
fn complete(address: &str, service: Option<Service>) -> String {
    let port = match service {
        Some(Service::Esmtp) => Some(25),
        Some(Service::Control) => Some(2025),
        Some(Service::Ecstream) => Some(1825),
        Some(Service::Eccluster) => Some(4802),
        Some(Service::Msgcserver) => Some(4809),
        Some(Service::Policy | Service::Milter | Service::Api | Service::Metrics) | None => None,
    };
    let has_port = match address.strip_prefix('[') {
        Some(rest) => !rest.ends_with(']'),
        None => address.contains(':'),
    };
    match port {
        Some(port) if !has_port && !address.starts_with('/') => format!("{address}:{port}"),
        Some(_) | None => String::from(address),
    }
}

/// Where the options of a peer in a listener of this service stand.
pub(super) fn peer_place(service: Option<Service>) -> Place {
    let listener = Place::global().inside(service.map_or("", |service| service.scope().name()));
    listener.inside("Listen").inside("Peer")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ports_that_are_left_out_are_those_of_the_service() {
        let check = |text, service, full: &str| assert_eq!(complete(text, service), full);
        check("10.0.0.1", Some(Service::Esmtp), "10.0.0.1:25");
        check("*", Some(Service::Control), "*:2025");
        check("[::1]", Some(Service::Ecstream), "[::1]:1825");
        check("[::1]:26", Some(Service::Esmtp), "[::1]:26");
        check(":587", Some(Service::Esmtp), ":587");
        check("/tmp/2025", Some(Service::Control), "/tmp/2025");
        check("10.0.0.1", None, "10.0.0.1");
    }
}
