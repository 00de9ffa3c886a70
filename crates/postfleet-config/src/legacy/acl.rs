//! Access lists: chains of rules flattened to `Peer` stanzas.
//!
//! In a chain the rules are tested in the order written, and testing stops at the first that applies and does not
//! say `continue`. Peers know no order: each option is that of the longest prefix that sets it. So the rules that
//! apply are worked out for each block of the list, and what a wider block sets and this one does not is set back to
//! what it would be without any rule.

use alloc::collections::BTreeMap;
use alloc::format;
use alloc::string::{String, ToString as _};
use alloc::vec::Vec;

use postfleet_types::Prefix;

use super::listeners::peer_place;
use super::raw::{Entry, RawValue, Rule};
use super::{Translator, bare, quoted};
use crate::diagnostic::Finding;
use crate::schema::{self, Scope, Service};
use crate::source::Span;
use crate::syntax::{Item, Word, Written};
use crate::value::{self, boolean, clip};

/// Rules in one list. The work grows with their square.
const RULES_MAX: usize = 4_096;
/// Options written for all lists of a file: every block repeats what wider rules set.
const EMITTED_MAX: usize = 1_000_000;

const PROPERTIES: &str = "continue, personality, limits, context, relay_for_sending_domains, relay_hosts, LOGIN, PLAIN, \
                          CRAM-MD5, DIGEST-MD5, TLS, Authorization, ALWAYS-ALLOW, an SMTP extension";
const EXTENSIONS: [&str; 5] = ["ENHANCEDSTATUSCODES", "XCLIENT", "XREMOTEIP", "XDUMPCONTEXT", "XSETCONTEXT"];

/// One thing that a rule sets.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Key {
    /// An option, in lower case.
    Option(String),
    /// A variable of the connection's context.
    Context(String),
    /// An SMTP extension; what matters is that it is there.
    Extension(String),
}

#[derive(Clone, Debug)]
struct Setting {
    key: Key,
    name: Word,
    value: Written,
}

/// A rule whose properties have been read.
struct Read {
    block: Word,
    prefix: Prefix,
    settings: Vec<Setting>,
    goes_on: bool,
}

/// What a chain yields, in the order things were first set.
#[derive(Default)]
struct Yield<'a> {
    order: Vec<Key>,
    by_key: BTreeMap<Key, (u8, &'a Setting)>,
}

impl<'a> Yield<'a> {
    /// Of two rules that set the same the one with the longer prefix wins, and the later of two equal ones.
    fn apply(&mut self, rule: &'a Read) {
        let length = rule.prefix.length();
        for setting in &rule.settings {
            match self.by_key.get(&setting.key) {
                Some((other, _)) if *other > length => continue,
                Some(_) => {}
                None => self.order.push(setting.key.clone()),
            }
            self.by_key.insert(setting.key.clone(), (length, setting));
        }
    }

    fn has_extensions(&self) -> bool {
        self.order.iter().any(|key| matches!(key, Key::Extension(_)))
    }
}

fn contains(outer: Prefix, inner: Prefix) -> bool {
    inner.length() >= outer.length()
        && Prefix::containing(inner.address(), outer.length()).is_ok_and(|prefix| prefix == outer)
}

/// Whether every address of the block lies in a narrower block of the list.
fn is_covered(block: Prefix, listed: &BTreeMap<Prefix, usize>) -> bool {
    if !listed.keys().any(|other| *other != block && contains(block, *other)) {
        return false;
    }
    let length = block.length().saturating_add(1);
    let Ok(low) = Prefix::containing(block.address(), length) else {
        return false;
    };
    let Some(high) = upper_half(block, length) else {
        return false;
    };
    [low, high].into_iter().all(|half| listed.contains_key(&half) || is_covered(half, listed))
}

fn upper_half(block: Prefix, length: u8) -> Option<Prefix> {
    let address = match block.address() {
        core::net::IpAddr::V4(address) => {
            let bit = 1_u32.checked_shl(32_u32.checked_sub(length.into())?)?;
            core::net::IpAddr::V4((address.to_bits() | bit).into())
        }
        core::net::IpAddr::V6(address) => {
            let bit = 1_u128.checked_shl(128_u32.checked_sub(length.into())?)?;
            core::net::IpAddr::V6((address.to_bits() | bit).into())
        }
    };
    Prefix::containing(address, length).ok()
}

impl Translator<'_, '_> {
    /// The peers that an access list comes to.
    pub(super) fn peers(&mut self, service: Option<Service>, listen: &str, rules: Vec<Rule>) -> Vec<Item> {
        if rules.len() > RULES_MAX {
            if let Some(rule) = rules.get(RULES_MAX) {
                let finding = Finding::error(2001, rule.block.span, "too many rules in one list");
                self.findings.push(finding.expected("at most 4096"));
            }
            return Vec::new();
        }
        let mut read = Vec::new();
        for rule in rules {
            match value::cidr(&rule.block.text) {
                Ok((prefix, _)) => {
                    let mut goes_on = false;
                    let settings = self.properties(rule.properties, service, &mut goes_on);
                    read.push(Read { block: rule.block, prefix, settings, goes_on });
                }
                Err(problem) => {
                    let mut finding = Finding::error(problem.code, rule.block.span, problem.message);
                    if let Some(expected) = problem.expected {
                        finding = finding.expected(expected);
                    }
                    self.findings.push(finding.maybe_hint(problem.hint));
                }
            }
        }
        let mut listed: BTreeMap<Prefix, usize> = BTreeMap::new();
        let mut blocks: Vec<(Prefix, Word)> = Vec::new();
        for rule in &read {
            listed.entry(rule.prefix).or_insert_with(|| {
                blocks.push((rule.prefix, rule.block.clone()));
                blocks.len() - 1
            });
        }
        let mut reached = alloc::vec![false; read.len()];
        let mut yields: Vec<Yield<'_>> = Vec::with_capacity(blocks.len());
        for (block, word) in &blocks {
            let somebody = !is_covered(*block, &listed);
            let mut outcome = Yield::default();
            for (rule, reached) in read.iter().zip(&mut reached) {
                if contains(rule.prefix, *block) {
                    *reached |= somebody;
                    outcome.apply(rule);
                    if !rule.goes_on {
                        break;
                    }
                }
            }
            self.emitted = self.emitted.saturating_add(outcome.order.len());
            yields.push(outcome);
            if self.emitted > EMITTED_MAX {
                self.too_many_options(word.span);
                return Vec::new();
            }
        }
        self.unreached(&read, &reached);
        let mut peers = Vec::new();
        for (at, (block, word)) in blocks.iter().enumerate() {
            let mut wider: Vec<&Yield<'_>> = Vec::new();
            for length in 0..block.length() {
                let found = Prefix::containing(block.address(), length)
                    .ok()
                    .and_then(|outer| listed.get(&outer))
                    .and_then(|index| yields.get(*index));
                wider.extend(found);
            }
            let Some(own) = yields.get(at) else {
                continue;
            };
            let mut body = options(own);
            self.set_back(own, &wider, service, listen, word.span, &mut body);
            if self.emitted > EMITTED_MAX {
                self.too_many_options(word.span);
                return Vec::new();
            }
            let name = quoted(word.text.clone(), word.span);
            peers.push(Item::Stanza { scope: bare("Peer", word.span), name: Some(name), body });
        }
        peers
    }

    fn too_many_options(&mut self, span: Span) {
        if !self.too_many {
            self.too_many = true;
            let finding = Finding::error(2001, span, "the access lists set too many options in all");
            self.findings.push(finding.expected("at most 1000000 options in Peer stanzas"));
        }
    }

    fn unreached(&mut self, rules: &[Read], reached: &[bool]) {
        for (at, (rule, reached)) in rules.iter().zip(reached).enumerate() {
            if *reached {
                continue;
            }
            let message = format!("the rule for {} is never reached", clip(&rule.block.text));
            self.note(rule.block.span, message.clone());
            let blocker = rules
                .iter()
                .take(at)
                .find(|other| !other.goes_on && contains(other.prefix, rule.prefix))
                .map(|other| other.block.span);
            let mut finding = Finding::warning(3009, rule.block.span, message);
            if let Some(span) = blocker {
                finding = finding.see_also(span);
            }
            self.push(finding.hint("narrower rules first, or `continue` in the wider one"));
        }
    }

    /// What wider blocks set and this one does not, as it would be without any rule.
    fn set_back(
        &mut self,
        own: &Yield<'_>,
        wider: &[&Yield<'_>],
        service: Option<Service>,
        listen: &str,
        span: Span,
        body: &mut Vec<Item>,
    ) {
        let Some(service) = service else {
            return;
        };
        let mut done: BTreeMap<String, ()> = BTreeMap::new();
        let mut context: Vec<(Word, Word)> = Vec::new();
        for outcome in wider {
            for key in &outcome.order {
                if own.by_key.contains_key(key) {
                    continue;
                }
                let name = match key {
                    Key::Option(name) => name.clone(),
                    Key::Extension(_) if own.has_extensions() => continue,
                    Key::Extension(_) => "smtp_extensions".to_string(),
                    Key::Context(name) => format!("context {name}"),
                };
                if done.insert(name.clone(), ()).is_some() {
                    continue;
                }
                self.emitted = self.emitted.saturating_add(1);
                if let Key::Context(name) = key {
                    let base = self.mode.base.context(service, listen, name);
                    let value = base.map_or_else(String::new, |word| word.text.clone());
                    context.push((bare(name.clone(), span), quoted(value, span)));
                    continue;
                }
                let Some(row) = schema::row(Scope::Peer, Some(service), &name) else {
                    continue;
                };
                if matches!(row.name, "Listener_Sessions" | "Service_Sessions") {
                    self.note(
                        span,
                        format!(
                            "the {} of the wider block holds here too; in the 2.x form it did not",
                            row.name
                        ),
                    );
                }
                let value = self.mode.base.value(service, listen, row, span);
                body.push(Item::Assignment { name: bare(row.name, span), value });
            }
        }
        if !context.is_empty() {
            let found = body.iter_mut().find_map(|item| match item {
                Item::Assignment { name, value: Written::Dict(pairs, _) } if name.text == "Context" => {
                    Some(pairs)
                }
                Item::Assignment { .. } | Item::Stanza { .. } | Item::Include { .. } => None,
            });
            match found {
                Some(pairs) => pairs.extend(context),
                None => body.push(Item::Assignment {
                    name: bare("Context", span),
                    value: Written::Dict(context, span),
                }),
            }
        }
    }

    /// The properties of a rule as settings.
    fn properties(
        &mut self,
        properties: Vec<Entry>,
        service: Option<Service>,
        goes_on: &mut bool,
    ) -> Vec<Setting> {
        let mut settings = Vec::new();
        for Entry { key, value } in properties {
            let lower = key.text.to_ascii_lowercase();
            match (lower.as_str(), value) {
                ("continue", RawValue::Nothing) => *goes_on = true,
                ("always-allow", RawValue::Nothing) => settings.push(truth("Always_Allow", key.span)),
                ("relay_for_sending_domains", RawValue::Nothing) => {
                    settings.push(truth("Open_Relay", key.span))
                }
                ("relay_for_sending_domains", RawValue::Section(entries, span)) => {
                    let mut words = Vec::new();
                    for entry in entries {
                        let on = match &entry.value {
                            RawValue::Atom(word) => boolean(&word.text),
                            RawValue::List(..) | RawValue::Section(..) | RawValue::Nothing => None,
                        };
                        match on {
                            Some(true) => words.push(quoted(entry.key.text, entry.key.span)),
                            Some(false) => {}
                            None => {
                                let message = format!("'{}' has no bool", clip(&entry.key.text));
                                let finding = Finding::error(4001, entry.key.span, message);
                                self.findings.push(finding.expected("DOMAIN = true"));
                            }
                        }
                    }
                    settings.push(option("Relay_For_Sending_Domains", key.span, Written::List(words, span)));
                }
                ("relay_hosts", RawValue::List(words, span)) => {
                    settings.push(option("Relay_Hosts", key.span, Written::List(words, span)));
                }
                ("personality" | "limits", RawValue::Section(entries, _)) => {
                    self.options_of(entries, service, &mut settings);
                }
                ("context", RawValue::Section(entries, _)) => self.context_of(entries, &mut settings),
                ("login" | "plain" | "cram-md5" | "digest-md5", RawValue::Section(entries, span)) => {
                    self.mechanism(&lower, &key, entries, span, &mut settings);
                }
                ("authorization", RawValue::Section(entries, span)) => {
                    if let Some(pairs) = self.pairs(entries, &peer_place(service)) {
                        settings.push(option(
                            "AuthorizationParameters",
                            key.span,
                            Written::Dict(pairs, span),
                        ));
                        settings.push(truth("Enable_Authorization", key.span));
                    }
                }
                ("tls", RawValue::Section(entries, _)) => self.tls(entries, &mut settings),
                (_, RawValue::Section(entries, _))
                    if EXTENSIONS.iter().any(|known| known.eq_ignore_ascii_case(&key.text)) =>
                {
                    for entry in entries {
                        match entry {
                            Entry { key, value: RawValue::Atom(word) }
                                if key.text.eq_ignore_ascii_case("extension") =>
                            {
                                settings.push(extension(&word.text, word.span));
                            }
                            Entry { key, .. } => self.unknown(&key, "a key of an extension", "extension"),
                        }
                    }
                }
                (_, value) => {
                    let form = match value {
                        RawValue::Nothing => "",
                        RawValue::Section(..) => " [ … ]",
                        RawValue::List(..) => " ( … )",
                        RawValue::Atom(_) => " = …",
                    };
                    let message = format!("'{}{form}' is not a property of a rule", clip(&key.text));
                    self.findings.push(Finding::error(3001, key.span, message).expected(PROPERTIES));
                }
            }
        }
        settings
    }

    /// Keys that are options by their own name.
    fn options_of(&mut self, entries: Vec<Entry>, service: Option<Service>, settings: &mut Vec<Setting>) {
        let place = peer_place(service);
        for Entry { key, value } in entries {
            if key.text.eq_ignore_ascii_case("context")
                && let RawValue::Section(entries, _) = value
            {
                self.context_of(entries, settings);
                continue;
            }
            let name = if key.text.eq_ignore_ascii_case("message_size") {
                bare("Max_Message_Size", key.span)
            } else if let Some(name) = self.option_name(key) {
                name
            } else {
                continue;
            };
            if name.text.eq_ignore_ascii_case("SMTP_Extensions") {
                let words = match value {
                    RawValue::Atom(word) => alloc::vec![word],
                    RawValue::List(words, _) => words,
                    RawValue::Section(..) | RawValue::Nothing => Vec::new(),
                };
                settings.extend(words.iter().map(|word| extension(&word.text, word.span)));
            } else if let Some(value) = self.written(&name, value, &place) {
                settings.push(Setting { key: Key::Option(name.text.to_ascii_lowercase()), name, value });
            }
        }
    }

    fn context_of(&mut self, entries: Vec<Entry>, settings: &mut Vec<Setting>) {
        for Entry { key, value } in entries {
            if let RawValue::Atom(value) = value {
                let value = quoted(value.text, value.span);
                settings.push(Setting {
                    key: Key::Context(key.text.to_ascii_lowercase()),
                    name: key,
                    value: Written::Atom(value),
                });
            } else {
                let finding = Finding::error(2006, key.span, "a list or section inside `context`");
                self.findings.push(finding.expected("one word or string for each key"));
            }
        }
    }

    /// An authentication mechanism: parameters, and the extension that offers it.
    fn mechanism(
        &mut self,
        lower: &str,
        key: &Word,
        entries: Vec<Entry>,
        span: Span,
        settings: &mut Vec<Setting>,
    ) {
        let name = match lower {
            "login" => "AuthLoginParameters",
            "plain" => "AuthPlainParameters",
            "cram-md5" => "AuthCramMD5Parameters",
            _ => "AuthDigestMD5Parameters",
        };
        let mut offered: Option<Word> = None;
        let mut argument: Option<Word> = None;
        let mut parameters = Vec::new();
        for entry in entries {
            match (entry.key.text.to_ascii_lowercase().as_str(), entry.value) {
                ("extension", RawValue::Atom(word)) => offered = Some(word),
                ("extension_argument", RawValue::Atom(word)) => argument = Some(word),
                (_, RawValue::Atom(word)) => parameters.push((entry.key, quoted(word.text, word.span))),
                (_, RawValue::List(..) | RawValue::Section(..) | RawValue::Nothing) => {
                    let finding = Finding::error(2006, entry.key.span, "a list or section inside a section");
                    self.findings.push(finding.expected("one word or string for each key"));
                }
            }
        }
        settings.push(option(name, key.span, Written::Dict(parameters, span)));
        if let Some(word) = offered {
            if word.text.eq_ignore_ascii_case("AUTH") {
                let argument = argument.map_or_else(|| key.text.to_ascii_uppercase(), |word| word.text);
                settings.push(extension(&format!("AUTH {argument}"), word.span));
            } else {
                let finding =
                    Finding::error(4007, word.span, format!("'{}' offers no login", clip(&word.text)));
                self.findings.push(finding.expected("extension = AUTH"));
            }
        }
    }

    fn tls(&mut self, entries: Vec<Entry>, settings: &mut Vec<Setting>) {
        for Entry { key, value } in entries {
            let RawValue::Atom(value) = value else {
                let finding = Finding::error(2006, key.span, "a list or section inside `TLS`");
                self.findings.push(finding.expected("one word or string for each key"));
                continue;
            };
            let name = match key.text.to_ascii_lowercase().as_str() {
                "extension" => {
                    settings.push(extension(&value.text, value.span));
                    continue;
                }
                "certificate" => "TLS_Certificate",
                "key" => "TLS_Key",
                "clientca" => "TLS_Client_CA",
                "ciphers" => "TLS_Ciphers",
                _ => {
                    self.unknown(&key, "a key of TLS", "extension, certificate, key, clientca, ciphers");
                    continue;
                }
            };
            settings.push(option(name, key.span, Written::Atom(quoted(value.text, value.span))));
        }
    }
}

fn option(name: &str, span: Span, value: Written) -> Setting {
    Setting { key: Key::Option(name.to_ascii_lowercase()), name: bare(name, span), value }
}

fn truth(name: &str, span: Span) -> Setting {
    option(name, span, Written::Atom(bare("true", span)))
}

fn extension(text: &str, span: Span) -> Setting {
    let text = text.to_ascii_uppercase();
    let value = Written::Atom(quoted(text.clone(), span));
    Setting { key: Key::Extension(text), name: bare("SMTP_Extensions", span), value }
}

/// What a chain yields as options: contexts as one dictionary, extensions as one list.
fn options(outcome: &Yield<'_>) -> Vec<Item> {
    let mut body: Vec<Item> = Vec::new();
    let mut context: Option<usize> = None;
    let mut extensions: Option<usize> = None;
    for (key, (_, setting)) in outcome.order.iter().filter_map(|key| outcome.by_key.get_key_value(key)) {
        let span = setting.name.span;
        match (key, &setting.value) {
            (Key::Option(_), value) => {
                body.push(Item::Assignment { name: setting.name.clone(), value: value.clone() });
            }
            (Key::Context(_), Written::Atom(word)) => {
                let pair = (setting.name.clone(), word.clone());
                match context.and_then(|at| body.get_mut(at)) {
                    Some(Item::Assignment { value: Written::Dict(pairs, _), .. }) => pairs.push(pair),
                    Some(_) | None => {
                        context = Some(body.len());
                        let value = Written::Dict(alloc::vec![pair], span);
                        body.push(Item::Assignment { name: bare("Context", span), value });
                    }
                }
            }
            (Key::Extension(_), Written::Atom(word)) => match extensions.and_then(|at| body.get_mut(at)) {
                Some(Item::Assignment { value: Written::List(words, _), .. }) => words.push(word.clone()),
                Some(_) | None => {
                    extensions = Some(body.len());
                    let value = Written::List(alloc::vec![word.clone()], span);
                    body.push(Item::Assignment { name: bare("SMTP_Extensions", span), value });
                }
            },
            (Key::Context(_) | Key::Extension(_), Written::List(..) | Written::Dict(..)) => {}
        }
    }
    body
}

#[cfg(test)]
mod tests {
    use super::*;

    fn listed(blocks: &[&str]) -> BTreeMap<Prefix, usize> {
        blocks.iter().map(|text| (value::cidr(text).unwrap().0, 0)).collect()
    }

    #[test]
    fn a_block_is_covered_by_its_halves_and_by_nothing_less() {
        let check = |block: &str, others: &[&str], covered| {
            let mut all = others.to_vec();
            all.push(block);
            assert_eq!(
                is_covered(value::cidr(block).unwrap().0, &listed(&all)),
                covered,
                "{block} {others:?}"
            );
        };
        check("10.0.0.0/8", &["10.0.0.0/9", "10.128.0.0/9"], true);
        check("10.0.0.0/8", &["10.0.0.0/9", "10.128.0.0/10", "10.192.0.0/10"], true);
        check("10.0.0.0/8", &["10.0.0.0/9", "10.128.0.0/10"], false);
        check("10.0.0.0/8", &[], false);
        check("10.0.0.1/32", &["10.0.0.0/8"], false);
        check("::/0", &["::/1", "8000::/1"], true);
        check("0.0.0.0/0", &["::/1", "8000::/1"], false);
    }
}
