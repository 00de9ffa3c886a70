//! Module stanzas: `Class dir/MODULE symbol { … }`.

use alloc::format;
use alloc::string::ToString as _;
use alloc::vec::Vec;

use super::raw::{Attributes, Entry, Raw, RawValue};
use super::{Place, Translator, assignment, bare, is_singleton, quoted};
use crate::diagnostic::Finding;
use crate::source::Span;
use crate::syntax::{Item, Word, Written};
use crate::value::clip;

/// Modules that are loaded when something needs them.
const ON_DEMAND: [&str; 6] = ["jlog", "persist_io", "http_io", "syslog_io", "bzip2", "gzip"];
/// Words that mean something else at the begin of a stanza.
const RESERVED: [&str; 7] =
    ["include", "readonly_include", "Logger", "Module", "Validate", "IO_System", "Interpreter"];
/// Modules that nothing has taken the place of.
const NO_EQUIVALENT: [&str; 2] = ["auth_ldap", "auth_mysql"];

pub(super) struct Module {
    pub(super) class: Word,
    pub(super) path: Word,
    pub(super) symbol: Word,
    pub(super) modifier: Option<Word>,
    pub(super) attributes: Attributes,
    pub(super) body: Vec<Raw>,
}

/// The module that a path leads to.
pub(super) fn module_name(path: &str) -> &str {
    path.rsplit('/').next().unwrap_or(path)
}

/// The 4.x stanza of a module.
pub(super) fn stanza(module: &str) -> &str {
    if module.eq_ignore_ascii_case("ec_cluster") { "cluster" } else { module }
}

/// What the attributes of a module say.
struct Asked {
    name: Option<Word>,
    debug_level: Option<(Word, Word)>,
    /// The modifier that keeps the module's hooks from running.
    passive: Option<Span>,
}

impl Translator<'_, '_> {
    pub(super) fn module(&mut self, module: Module, out: &mut Vec<Item>) {
        let Module { class, path, symbol, modifier, attributes, body } = module;
        let name = module_name(&path.text).to_string();
        let shown = format!("`{} {}`", class.text, clip(&path.text));
        let is = |known: &str| name.eq_ignore_ascii_case(known);
        let driver = name.len() > 3
            && name.get(..3).is_some_and(|start| start.eq_ignore_ascii_case("ds_"))
            && !is("ds_core");
        let plain = !name.is_empty()
            && name.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-' | b'.'));
        if !plain || RESERVED.iter().any(|word| is(word)) {
            self.unknown(&path, "the path of a module", "DIRECTORY/MODULE");
            return;
        }
        if driver || ON_DEMAND.iter().any(|known| is(known)) {
            let message = format!("{shown} is left out: the module is there when something needs it");
            return self.gone(class.span, message);
        }
        if NO_EQUIVALENT.iter().any(|known| is(known)) {
            return self.gone(class.span, format!("{shown} has no equivalent; it is left out"));
        }
        let asked = self.asked(attributes, modifier.as_ref());
        let place = Place::module(&path.text);
        if place.caches {
            return self.caches(&shown, class.span, &asked, body, &place, out);
        }
        let scope = bare(stanza(&name), path.span);
        if is("ec_cluster") {
            self.old(class.span, &shown, "`cluster { … }`");
            if let Some(first) = self.cluster {
                let finding = Finding::error(6210, class.span, "Module ec_cluster may only be loaded once");
                self.findings.push(finding.expected("one stanza").see_also(first));
                return;
            }
            self.cluster = Some(class.span);
        }
        let instance = if is_singleton(&scope.text) {
            if !is("ec_cluster") {
                self.old(class.span, &shown, format!("`{} {{ … }}`", clip(&name)));
            }
            None
        } else {
            let instance = self.instance(&name, asked.name, symbol);
            let expected = format!("`{} \"{}\" {{ … }}`", clip(&name), clip(&instance.text));
            self.old(class.span, &shown, expected);
            Some(instance)
        };
        let mut options = Vec::new();
        if let Some(span) = asked.passive {
            options.push(assignment(bare("enabled", span), bare("false", span)));
        }
        if let Some((key, level)) = asked.debug_level {
            options.push(assignment(bare("debug_level", key.span), level));
        }
        let mut inner = Vec::new();
        let before = self.body(body, &place, &mut inner);
        options.extend(inner);
        out.extend(before);
        out.push(Item::Stanza { scope, name: instance, body: options });
    }

    fn asked(&mut self, attributes: Attributes, modifier: Option<&Word>) -> Asked {
        let passive =
            modifier.filter(|word| !word.text.eq_ignore_ascii_case("enabled")).map(|word| word.span);
        let mut asked = Asked { name: None, debug_level: None, passive };
        for (key, value) in attributes {
            if key.text.eq_ignore_ascii_case("name") {
                asked.name = Some(value);
            } else if key.text.eq_ignore_ascii_case("debug_level") {
                asked.debug_level = Some((key, value));
            } else {
                self.unknown(&key, "an attribute of a module", "name, debug_level");
            }
        }
        asked
    }

    /// The name of a module's instance: the one given, else the symbol, with a number where that is taken.
    fn instance(&mut self, module: &str, given: Option<Word>, symbol: Word) -> Word {
        let module = module.to_ascii_lowercase();
        if let Some(name) = given {
            self.all.names.insert((module, name.text.clone()));
            return quoted(name.text, name.span);
        }
        let mut name = symbol.text.clone();
        let mut number = 2_u32;
        while !self.all.names.insert((module.clone(), name.clone())) {
            name = format!("{}_{number}", symbol.text);
            number = number.saturating_add(1);
        }
        if name != symbol.text {
            self.note(
                symbol.span,
                format!("the second instance of a module needs a name of its own: {name}"),
            );
        }
        quoted(name, symbol.span)
    }

    fn caches(
        &mut self,
        shown: &str,
        class: Span,
        asked: &Asked,
        body: Vec<Raw>,
        place: &Place,
        out: &mut Vec<Item>,
    ) {
        if asked.passive.is_some() {
            return self.gone(class, format!("{shown} is switched off; its data sources are left out"));
        }
        self.old(class, shown, "`Datasource \"NAME\" { … }` for each section");
        let mut sources = Vec::new();
        let before = self.body(body, place, &mut sources);
        out.extend(before);
        out.extend(sources);
    }

    /// One entry of the module of data sources.
    pub(super) fn cache(&mut self, entry: Entry, out: &mut Vec<Item>) {
        let Entry { key, value } = entry;
        let RawValue::Section(entries, _) = value else {
            return self.gone(
                key.span,
                format!("'{}' beside the data sources has no 4.x form; it is left out", clip(&key.text)),
            );
        };
        self.constructs += 1;
        let inner = Place::global().inside("Datasource");
        let mut body: Vec<Item> = Vec::new();
        let mut first: Vec<Word> = Vec::new();
        let mut further: Vec<Word> = Vec::new();
        let mut uri: Option<(usize, Word)> = None;
        for Entry { key, value } in entries {
            let lower = key.text.to_ascii_lowercase();
            if !lower.starts_with("uri") {
                self.plain(Entry { key, value }, &inner, &mut body);
                continue;
            }
            let target = if lower == "uri" { &mut first } else { &mut further };
            match value {
                RawValue::Atom(word) => target.push(word),
                RawValue::List(words, _) => target.extend(words),
                RawValue::Section(..) | RawValue::Nothing => {
                    let finding = Finding::error(4009, key.span, "a section is given");
                    self.findings.push(finding.expected("uri = \"DRIVER:…\""));
                    continue;
                }
            }
            uri.get_or_insert((body.len(), key));
        }
        if let Some((at, key)) = uri {
            let mut words = first;
            words.extend(further);
            let value = Written::List(words, key.span);
            body.insert(at.min(body.len()), Item::Assignment { name: bare("uri", key.span), value });
        }
        super::collect_repeated(&mut body, &inner);
        let name = quoted(key.text, key.span);
        out.push(Item::Stanza { scope: bare("Datasource", name.span), name: Some(name), body });
    }
}
