//! JSON and XML from one description.
//!
//! A schema is a function that names its fields to [`Fields`]. JSON takes them in one pass. XML takes them in
//! two: scalars first, as attributes, then lists and records, as child elements. Rows are written as they are
//! visited, so an answer of a million rows needs no tree in memory beside it.

use alloc::string::String;
use core::fmt::{self, Write};

/// The form of an answer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Form {
    /// For people.
    #[default]
    Text,
    /// One JSON object on one line.
    Json,
    /// One XML element on one line.
    Xml,
}

impl Form {
    /// The form that a leading word asks for.
    pub(crate) fn of_prefix(word: &str) -> Option<Self> {
        match word {
            "json" => Some(Self::Json),
            "xml" => Some(Self::Xml),
            _ => None,
        }
    }
}

/// Writing to a `String` cannot fail.
pub(crate) fn put(out: &mut String, arguments: fmt::Arguments<'_>) {
    let written = out.write_fmt(arguments);
    debug_assert!(written.is_ok(), "a Display implementation reported an error");
}

enum Pass {
    Json { first: bool },
    Attributes,
    Children,
}

/// Receives the fields of one record.
pub(crate) struct Fields<'a> {
    out: &'a mut String,
    pass: Pass,
}

impl Fields<'_> {
    fn json_name(&mut self, name: &str) -> bool {
        let Pass::Json { first } = &mut self.pass else { return false };
        if !core::mem::replace(first, false) {
            self.out.push(',');
        }
        json_text(self.out, name);
        self.out.push(':');
        true
    }

    /// A value that JSON writes as it prints: numbers, booleans.
    fn bare(&mut self, name: &str, value: Option<fmt::Arguments<'_>>) {
        if self.json_name(name) {
            match value {
                Some(value) => put(self.out, value),
                None => self.out.push_str("null"),
            }
        } else if let (Pass::Attributes, Some(value)) = (&self.pass, value) {
            put(self.out, format_args!(" {name}=\"{value}\""));
        }
    }

    pub(crate) fn whole(&mut self, name: &str, value: impl Into<i128>) {
        self.bare(name, Some(format_args!("{}", value.into())));
    }

    pub(crate) fn maybe_whole(&mut self, name: &str, value: Option<impl Into<i128>>) {
        match value {
            Some(value) => self.whole(name, value),
            None => self.bare(name, None),
        }
    }

    /// A rate or a time: JSON has no infinities, so they become `null`.
    pub(crate) fn real(&mut self, name: &str, value: f64) {
        if value.is_finite() {
            self.bare(name, Some(format_args!("{value}")));
        } else {
            self.bare(name, None);
        }
    }

    pub(crate) fn truth(&mut self, name: &str, value: bool) {
        self.bare(name, Some(format_args!("{value}")));
    }

    pub(crate) fn text(&mut self, name: &str, value: &str) {
        if self.json_name(name) {
            json_text(self.out, value);
        } else if let Pass::Attributes = self.pass {
            put(self.out, format_args!(" {name}=\""));
            xml_text(self.out, value);
            self.out.push('"');
        }
    }

    pub(crate) fn shown(&mut self, name: &str, value: impl fmt::Display) {
        self.text(name, &alloc::format!("{value}"));
    }

    pub(crate) fn maybe_text(&mut self, name: &str, value: Option<&str>) {
        match value {
            Some(value) => self.text(name, value),
            None => self.bare(name, None),
        }
    }

    /// A list of records; in XML each is an element `element`.
    pub(crate) fn records<T>(
        &mut self,
        name: &str,
        element: &str,
        items: impl IntoIterator<Item = T>,
        describe: impl Fn(&T, &mut Fields<'_>),
    ) {
        if self.json_name(name) {
            self.out.push('[');
            for (index, item) in items.into_iter().enumerate() {
                if index > 0 {
                    self.out.push(',');
                }
                json_record(self.out, |fields| describe(&item, fields));
            }
            self.out.push(']');
        } else if let Pass::Children = self.pass {
            for item in items {
                xml_element(self.out, element, |fields| describe(&item, fields));
            }
        }
    }

    /// A list of texts; in XML each is an element `element` with the text as its `name`.
    pub(crate) fn names<'t>(&mut self, name: &str, element: &str, items: impl IntoIterator<Item = &'t str>) {
        if self.json_name(name) {
            self.out.push('[');
            for (index, item) in items.into_iter().enumerate() {
                if index > 0 {
                    self.out.push(',');
                }
                json_text(self.out, item);
            }
            self.out.push(']');
        } else if let Pass::Children = self.pass {
            for item in items {
                xml_element(self.out, element, |fields| fields.text("name", item));
            }
        }
    }

    /// A list of numbers; in XML each is an element `element` with the number as its `count`.
    pub(crate) fn wholes(&mut self, name: &str, element: &str, items: &[u64]) {
        if self.json_name(name) {
            self.out.push('[');
            for (index, item) in items.iter().enumerate() {
                let comma = if index > 0 { "," } else { "" };
                put(self.out, format_args!("{comma}{item}"));
            }
            self.out.push(']');
        } else if let Pass::Children = self.pass {
            for item in items {
                xml_element(self.out, element, |fields| fields.whole("count", *item));
            }
        }
    }

    /// Lines of text; in XML each is the content of a `Line`.
    pub(crate) fn lines<'t>(&mut self, name: &str, items: impl IntoIterator<Item = &'t str>) {
        if let Pass::Children = self.pass {
            for item in items {
                self.out.push_str("<Line>");
                xml_text(self.out, item);
                self.out.push_str("</Line>");
            }
        } else {
            self.names(name, "", items);
        }
    }

    /// A field that has no value here; not written in XML.
    pub(crate) fn absent(&mut self, name: &str) {
        self.bare(name, None);
    }

    /// A field of any kind. In XML a single value is an attribute, and the parts of others are elements.
    pub(crate) fn value(&mut self, name: &str, put: impl Fn(&mut ValueSink<'_>)) {
        if self.json_name(name) {
            put(&mut ValueSink { out: self.out, form: SinkForm::Json });
            return;
        }
        let attributes = matches!(self.pass, Pass::Attributes);
        put(&mut ValueSink { out: self.out, form: SinkForm::Xml { name, attributes } });
    }

    /// A record whose fields are named by data; in XML each is an element `element` with its name and value.
    pub(crate) fn members<T>(
        &mut self,
        name: &str,
        element: &str,
        items: &[T],
        name_of: impl Fn(&T) -> &str,
        put: impl Fn(&T, &mut ValueSink<'_>),
    ) {
        if self.json_name(name) {
            json_record(self.out, |fields| {
                for item in items {
                    fields.value(name_of(item), |sink| put(item, sink));
                }
            });
        } else if let Pass::Children = self.pass {
            for item in items {
                xml_element(self.out, element, |fields| {
                    fields.text("name", name_of(item));
                    fields.value("value", |sink| put(item, sink));
                });
            }
        }
    }

    /// A record inside the record; in XML a child element.
    pub(crate) fn record(&mut self, name: &str, element: &str, describe: impl Fn(&mut Fields<'_>)) {
        if self.json_name(name) {
            json_record(self.out, describe);
        } else if let Pass::Children = self.pass {
            xml_element(self.out, element, describe);
        }
    }
}

enum SinkForm<'a> {
    Json,
    Xml {
        name: &'a str,
        /// Whether attributes are wanted, or elements.
        attributes: bool,
    },
}

/// Receives one value whose kind is known only when it is written.
pub(crate) struct ValueSink<'a> {
    out: &'a mut String,
    form: SinkForm<'a>,
}

impl ValueSink<'_> {
    pub(crate) fn null(&mut self) {
        if let SinkForm::Json = self.form {
            self.out.push_str("null");
        }
    }

    /// A value that prints as JSON writes it: a number or a bool.
    pub(crate) fn bare(&mut self, value: fmt::Arguments<'_>) {
        match self.form {
            SinkForm::Json => put(self.out, value),
            SinkForm::Xml { name, attributes: true } => put(self.out, format_args!(" {name}=\"{value}\"")),
            SinkForm::Xml { attributes: false, .. } => {}
        }
    }

    pub(crate) fn text(&mut self, value: &str) {
        match self.form {
            SinkForm::Json => json_text(self.out, value),
            SinkForm::Xml { name, attributes: true } => {
                put(self.out, format_args!(" {name}=\""));
                xml_text(self.out, value);
                self.out.push('"');
            }
            SinkForm::Xml { attributes: false, .. } => {}
        }
    }

    pub(crate) fn list<T>(&mut self, items: &[T], put_item: impl Fn(&mut ValueSink<'_>, &T)) {
        match self.form {
            SinkForm::Json => {
                self.out.push('[');
                for (index, item) in items.iter().enumerate() {
                    if index > 0 {
                        self.out.push(',');
                    }
                    put_item(&mut ValueSink { out: self.out, form: SinkForm::Json }, item);
                }
                self.out.push(']');
            }
            SinkForm::Xml { attributes: false, .. } => {
                for item in items {
                    xml_element(self.out, "Item", |fields| {
                        fields.value("value", |sink| put_item(sink, item));
                    });
                }
            }
            SinkForm::Xml { attributes: true, .. } => {}
        }
    }

    pub(crate) fn dict(&mut self, pairs: &[(String, String)]) {
        match self.form {
            SinkForm::Json => json_record(self.out, |fields| {
                for (key, value) in pairs {
                    fields.text(key, value);
                }
            }),
            SinkForm::Xml { attributes: false, .. } => {
                for (key, value) in pairs {
                    xml_element(self.out, "Entry", |fields| {
                        fields.text("key", key);
                        fields.text("value", value);
                    });
                }
            }
            SinkForm::Xml { attributes: true, .. } => {}
        }
    }
}

pub(crate) fn json_record(out: &mut String, describe: impl Fn(&mut Fields<'_>)) {
    out.push('{');
    describe(&mut Fields { out, pass: Pass::Json { first: true } });
    out.push('}');
}

pub(crate) fn xml_element(out: &mut String, element: &str, describe: impl Fn(&mut Fields<'_>)) {
    put(out, format_args!("<{element}"));
    describe(&mut Fields { out, pass: Pass::Attributes });
    let open = out.len();
    out.push('>');
    describe(&mut Fields { out, pass: Pass::Children });
    if out.len() == open + 1 {
        out.truncate(open);
        out.push_str("/>");
    } else {
        put(out, format_args!("</{element}>"));
    }
}

/// A JSON string (RFC 8259, section 7).
fn json_text(out: &mut String, text: &str) {
    out.push('"');
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\t' => out.push_str("\\t"),
            c if u32::from(c) < 0x20 => put(out, format_args!("\\u{:04x}", u32::from(c))),
            c => out.push(c),
        }
    }
    out.push('"');
}

/// Text for attributes and content. Characters that XML 1.0 does not have become U+FFFD.
fn xml_text(out: &mut String, text: &str) {
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\n' => out.push_str("&#10;"),
            '\t' => out.push_str("&#9;"),
            '\r' => out.push_str("&#13;"),
            '\u{fffe}' | '\u{ffff}' => out.push('\u{fffd}'),
            c if u32::from(c) < 0x20 => out.push('\u{fffd}'),
            c => out.push(c),
        }
    }
}

/// The message of a failed answer in a machine form, as it stands in an envelope this crate wrote.
#[must_use]
pub fn error_message(form: Form, output: &str) -> Option<String> {
    match form {
        Form::Text => None,
        Form::Json => {
            let (_, rest) = output.split_once(r#""ok":false,"error":{"code":""#)?;
            let (_, rest) = rest.split_once(r#"","message":""#)?;
            json_content(rest)
        }
        Form::Xml => {
            let (_, rest) = output.split_once("<Error code=\"")?;
            let (_, rest) = rest.split_once(" message=\"")?;
            let (escaped, _) = rest.split_once('"')?;
            let entities = [("&lt;", "<"), ("&gt;", ">"), ("&quot;", "\""), ("&#10;", "\n"), ("&#9;", "\t")];
            let plain =
                entities.iter().fold(String::from(escaped), |text, (from, to)| text.replace(from, to));
            Some(plain.replace("&#13;", "\r").replace("&amp;", "&"))
        }
    }
}

/// The content of a JSON string up to its closing quote, with the escapes that [`json_text`] writes.
fn json_content(text: &str) -> Option<String> {
    let mut plain = String::new();
    let mut rest = text.chars();
    loop {
        match rest.next()? {
            '"' => return Some(plain),
            '\\' => match rest.next()? {
                'n' => plain.push('\n'),
                't' => plain.push('\t'),
                'u' => {
                    let digits: String = rest.by_ref().take(4).collect();
                    plain.push(char::from_u32(u32::from_str_radix(&digits, 16).ok()?)?);
                }
                other => plain.push(other),
            },
            other => plain.push(other),
        }
    }
}

/// The same JSON, spread over lines for people. Text that is no JSON comes back in some spread form.
#[must_use]
pub fn pretty_json(json: &str) -> String {
    let mut out = String::with_capacity(json.len() * 2);
    let mut depth: usize = 0;
    let mut in_text = false;
    let mut escaped = false;
    let mut rest = json.trim_end().chars().peekable();
    let line = |out: &mut String, depth: usize| {
        out.push('\n');
        (0..depth).for_each(|_| out.push_str("  "));
    };
    while let Some(c) = rest.next() {
        if in_text {
            out.push(c);
            in_text = escaped || c != '"';
            escaped = !escaped && c == '\\';
            continue;
        }
        match c {
            '{' | '[' => {
                out.push(c);
                if let Some(close) = rest.next_if(|next| matches!(next, '}' | ']')) {
                    out.push(close);
                } else {
                    depth += 1;
                    line(&mut out, depth);
                }
            }
            '}' | ']' => {
                depth = depth.saturating_sub(1);
                line(&mut out, depth);
                out.push(c);
            }
            ',' => {
                out.push(c);
                line(&mut out, depth);
            }
            ':' => out.push_str(": "),
            '"' => {
                out.push(c);
                in_text = true;
            }
            c => out.push(c),
        }
    }
    out.push('\n');
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn json_strings_are_json(text in any::<String>()) {
            let mut out = String::new();
            json_text(&mut out, &text);
            prop_assert_eq!(serde_json::from_str::<serde_json::Value>(&out).unwrap(), serde_json::Value::from(text.clone()));
            prop_assert_eq!(json_content(out.strip_prefix('"').unwrap()), Some(text));
        }

        #[test]
        fn xml_text_needs_no_escape(text in any::<String>()) {
            let mut out = String::new();
            xml_text(&mut out, &text);
            let bare = out.contains(['<', '>', '"', '\n', '\u{0}']);
            prop_assert!(!bare, "{}", out);
        }

        #[test]
        fn pretty_keeps_the_value(texts in prop::collection::vec(any::<String>(), 0..4)) {
            let mut out = String::new();
            json_record(&mut out, |f| {
                f.names("names", "Name", texts.iter().map(String::as_str));
                f.records("rows", "Row", &texts, |t, f| f.text("x", t));
            });
            let value: serde_json::Value = serde_json::from_str(&out).unwrap();
            prop_assert_eq!(serde_json::from_str::<serde_json::Value>(&pretty_json(&out)).unwrap(), value);
        }
    }

    #[test]
    fn xml_has_scalars_as_attributes_wherever_they_are_named() {
        let mut out = String::new();
        xml_element(&mut out, "A", |f| {
            f.names("groups", "Group", ["x", "y"]);
            f.maybe_whole("n", Some(-3_i64));
            f.maybe_text("absent", None);
            f.record("view", "View", |f| f.truth("b", true));
        });
        assert_eq!(out, r#"<A n="-3"><Group name="x"/><Group name="y"/><View b="true"/></A>"#);
    }
}
