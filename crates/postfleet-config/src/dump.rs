//! The merged tree as JSON, with the place of every value.

use alloc::format;
use alloc::string::{String, ToString as _};

use crate::config::Config;
use crate::files::Role;
use crate::secret::Secret;
use crate::source::Span;
use crate::tree::{Assigned, InstanceId};
use crate::value::Value;

impl Config {
    /// The merged tree as JSON: `role`, `main_file`, `files` in the order they were read, and `tree`, the global
    /// scope. A scope has `scope`, `name`, its place, `options` and `stanzas`; an option `name`, `value`, its place,
    /// and the places of values that no longer count. What exists without being written is `implied` and has no place. Values that
    /// nobody may see are `***`.
    #[must_use]
    pub fn dump_json(&self) -> String {
        let mut out = Out { text: String::new(), depth: 0 };
        out.open('{');
        out.field("role", &quoted(if self.role() == Role::Manager { "manager" } else { "node" }));
        out.field("main_file", &quoted(self.main_file()));
        out.key("files");
        out.open('[');
        for source in self.sources().iter() {
            out.element(&quoted(source.path()));
        }
        out.close(']');
        out.key("tree");
        self.dump_instance(InstanceId::GLOBAL, &mut out, 0);
        out.close('}');
        out.text.push('\n');
        out.text
    }

    fn dump_instance(&self, id: InstanceId, out: &mut Out, depth: usize) {
        let Some(instance) = self.tree().instance(id) else {
            return;
        };
        out.open('{');
        out.field("scope", &quoted(instance.scope.name()));
        out.field("name", &instance.name.as_deref().map_or_else(|| "null".to_string(), quoted));
        if let Some(opened) = instance.opened {
            self.place(opened, out);
        }
        if instance.is_implied() {
            out.field("implied", "true");
        }
        out.key("options");
        out.open('[');
        for assigned in instance.options() {
            out.next();
            self.dump_option(assigned, out);
        }
        out.close(']');
        out.key("stanzas");
        out.open('[');
        // Stanzas are nested as deep as scopes are, which is five levels.
        if depth < 64 {
            for child in &instance.children {
                out.next();
                self.dump_instance(*child, out, depth + 1);
            }
        }
        out.close(']');
        out.close('}');
    }

    fn dump_option(&self, assigned: &Assigned, out: &mut Out) {
        out.open('{');
        out.field("name", &quoted(assigned.row.name));
        let value = json(&Secret::of(assigned.row.name).value(&assigned.value));
        out.field("value", &value);
        self.place(assigned.span, out);
        if !assigned.shadowed.is_empty() {
            out.key("shadowed");
            out.open('[');
            for (_, span) in &assigned.shadowed {
                out.next();
                out.open('{');
                self.place(*span, out);
                out.close('}');
            }
            out.close(']');
        }
        out.close('}');
    }

    fn place(&self, span: Span, out: &mut Out) {
        if let Some(at) = self.sources().position(span) {
            out.field("file", &quoted(&at.file));
            out.field("line", &at.line.to_string());
            out.field("column", &at.column.to_string());
        }
    }
}

fn quoted(text: &str) -> String {
    serde_json::Value::String(text.to_string()).to_string()
}

fn json(value: &Value) -> String {
    let list = |parts: &mut dyn Iterator<Item = String>, open: char, close: char| {
        let mut text = String::from(open);
        for part in parts {
            if text.len() > 1 {
                text.push_str(", ");
            }
            text.push_str(&part);
        }
        text.push(close);
        text
    };
    match value {
        Value::Text(text) => quoted(text),
        Value::Word(word) => quoted(word),
        Value::Bool(value) => value.to_string(),
        Value::Int(value) => value.to_string(),
        Value::Float(value) => value.to_string(),
        Value::Address(address) => quoted(&address.to_string()),
        Value::Cidr(prefix) => quoted(&prefix.to_string()),
        Value::Throttle(throttle) => quoted(&format!("{}/{}", throttle.events, throttle.seconds)),
        Value::Pattern(pattern) => quoted(pattern.as_str()),
        Value::Dict(pairs) => list(
            &mut pairs.iter().map(|(key, value)| format!("{}: {}", quoted(key), quoted(value))),
            '{',
            '}',
        ),
        Value::List(values) => list(&mut values.iter().map(json), '[', ']'),
    }
}

/// Indented JSON.
struct Out {
    text: String,
    depth: usize,
}

impl Out {
    fn open(&mut self, bracket: char) {
        self.text.push(bracket);
        self.depth += 1;
    }

    /// Before a member of an object or a list.
    fn next(&mut self) {
        if !self.text.ends_with(['{', '[']) {
            self.text.push(',');
        }
        self.line();
    }

    fn line(&mut self) {
        self.text.push('\n');
        for _ in 0..self.depth {
            self.text.push_str("  ");
        }
    }

    fn close(&mut self, bracket: char) {
        self.depth = self.depth.saturating_sub(1);
        if !self.text.ends_with(['{', '[']) {
            self.line();
        }
        self.text.push(bracket);
    }

    fn key(&mut self, key: &str) {
        self.next();
        self.text.push_str(&quoted(key));
        self.text.push_str(": ");
    }

    fn field(&mut self, key: &str, value: &str) {
        self.key(key);
        self.text.push_str(value);
    }

    fn element(&mut self, value: &str) {
        self.next();
        self.text.push_str(value);
    }
}
