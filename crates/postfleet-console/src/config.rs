//! Configuration commands: the answer as lines and as data. What the lines say is decided by the configuration itself.

use alloc::string::String;
use alloc::vec::Vec;

use crate::machine::{Fields, ValueSink};

/// The answer to a configuration command.
#[derive(Clone, Debug, PartialEq)]
pub struct ConfigAnswer {
    /// What people read.
    pub lines: Vec<String>,
    /// What machines read.
    pub data: ConfigData,
}

/// The answer as data.
#[derive(Clone, Debug, PartialEq)]
pub enum ConfigData {
    /// Nothing but the lines.
    Lines,
    /// `config get`, `eval`, `set`, `unset`, `where`.
    Option(ConfigOption),
    /// `config show`, `showrecurse`.
    Scope(ConfigScope),
    /// `config locate`.
    Places(Vec<ConfigPlace>),
    /// `config diff`.
    Changes(Vec<ConfigChange>),
    /// `config digest`.
    Digest(ConfigDigest),
}

/// A value of an option.
#[derive(Clone, Debug, PartialEq)]
pub enum ConfigValue {
    /// Unset, without a default.
    Null,
    /// A bool.
    Truth(bool),
    /// A whole number.
    Whole(i128),
    /// A decimal number.
    Real(f64),
    /// Everything that is written as text.
    Text(String),
    /// A list.
    List(Vec<Self>),
    /// A dictionary.
    Dict(Vec<(String, String)>),
}

/// A place in a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigPosition {
    /// The file.
    pub file: String,
    /// The line, from 1.
    pub line: u32,
}

/// An option with its value.
#[derive(Clone, Debug, PartialEq)]
pub struct ConfigOption {
    /// Scope names and instance names in turn.
    pub scope: Vec<String>,
    /// The option.
    pub option: String,
    /// The value.
    pub value: ConfigValue,
    /// Where it is set, like `scope`; `None`: it is the default.
    pub set_in: Option<Vec<String>>,
    /// The place in a file; `None` for a value from a console.
    pub position: Option<ConfigPosition>,
    /// What counts beside it: further limits that hold too, or parts that unite.
    pub beside: Vec<ConfigOther>,
    /// What it hides, the nearest first.
    pub hidden: Vec<ConfigOther>,
}

/// A value that a look-up comes by and that is not its answer.
#[derive(Clone, Debug, PartialEq)]
pub struct ConfigOther {
    /// The value.
    pub value: ConfigValue,
    /// Where it is set.
    pub set_in: Vec<String>,
    /// The place in a file.
    pub position: Option<ConfigPosition>,
}

/// An instance with what is in it.
#[derive(Clone, Debug, PartialEq)]
pub struct ConfigScope {
    /// The scope.
    pub name: String,
    /// The instance, where it has a name.
    pub instance: Option<String>,
    /// What is set in it.
    pub options: Vec<(String, ConfigValue)>,
    /// The instances inside.
    pub scopes: Vec<Self>,
}

/// An instance and where it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigPlace {
    /// The scope.
    pub scope: String,
    /// The instance, where it has a name.
    pub instance: Option<String>,
    /// Its path.
    pub path: String,
    /// Where it is written first.
    pub position: Option<ConfigPosition>,
    /// Nobody wrote it: it always exists.
    pub implied: bool,
}

/// What must be equal on all members.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigDigest {
    /// The digest that the node announces.
    pub digest: u64,
    /// Each option with its digest and its value.
    pub options: Vec<(String, u16, String)>,
}

/// A change that is in no file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigChange {
    /// The command that makes it.
    pub command: String,
    /// The scope.
    pub scope: Vec<String>,
    /// The option; `None` for a whole instance.
    pub option: Option<String>,
}

pub(crate) const fn element(answer: &ConfigAnswer) -> &'static str {
    match answer.data {
        ConfigData::Lines => "Output",
        ConfigData::Option(_) => "Option",
        ConfigData::Scope(_) => "Scope",
        ConfigData::Places(_) => "Places",
        ConfigData::Changes(_) => "Changes",
        ConfigData::Digest(_) => "Agreement",
    }
}

pub(crate) fn describe(fields: &mut Fields<'_>, answer: &ConfigAnswer) {
    match &answer.data {
        ConfigData::Lines => fields.lines("lines", answer.lines.iter().map(String::as_str)),
        ConfigData::Option(option) => describe_option(fields, option),
        ConfigData::Scope(scope) => describe_scope(scope, fields),
        ConfigData::Places(places) => fields.records("places", "Place", places, |place, fields| {
            fields.text("scope", &place.scope);
            fields.maybe_text("instance", place.instance.as_deref());
            fields.text("path", &place.path);
            describe_position(fields, place.position.as_ref());
            if place.implied {
                fields.truth("implied", true);
            }
        }),
        ConfigData::Digest(found) => {
            fields.text("digest", &alloc::format!("{:016x}", found.digest));
            fields.records("options", "Option", &found.options, |(option, digest, value), fields| {
                fields.text("option", option);
                fields.text("digest", &alloc::format!("{digest:03x}"));
                fields.text("value", value);
            });
        }
        ConfigData::Changes(changes) => fields.records("changes", "Change", changes, |change, fields| {
            fields.text("command", &change.command);
            fields.names("scope", "Step", change.scope.iter().map(String::as_str));
            fields.maybe_text("option", change.option.as_deref());
        }),
    }
}

fn describe_position(fields: &mut Fields<'_>, position: Option<&ConfigPosition>) {
    fields.maybe_text("file", position.map(|at| at.file.as_str()));
    fields.maybe_whole("line", position.map(|at| at.line));
}

fn describe_option(fields: &mut Fields<'_>, option: &ConfigOption) {
    fields.names("scope", "Step", option.scope.iter().map(String::as_str));
    fields.text("option", &option.option);
    fields.value("value", |sink| put_value(sink, &option.value));
    match &option.set_in {
        Some(steps) => fields.names("set_in", "SetIn", steps.iter().map(String::as_str)),
        None => fields.absent("set_in"),
    }
    describe_position(fields, option.position.as_ref());
    fields.truth("default", option.set_in.is_none());
    for (name, element, others) in
        [("beside", "Beside", &option.beside), ("hidden", "Hidden", &option.hidden)]
    {
        if !others.is_empty() {
            fields.records(name, element, others, |other, fields| {
                fields.value("value", |sink| put_value(sink, &other.value));
                fields.names("set_in", "SetIn", other.set_in.iter().map(String::as_str));
                describe_position(fields, other.position.as_ref());
            });
        }
    }
}

fn describe_scope(scope: &ConfigScope, fields: &mut Fields<'_>) {
    fields.text("name", &scope.name);
    fields.maybe_text("instance", scope.instance.as_deref());
    fields.members(
        "options",
        "Option",
        &scope.options,
        |(name, _)| name,
        |(_, value), sink| {
            put_value(sink, value);
        },
    );
    fields.records("scopes", "Scope", &scope.scopes, |scope, fields| describe_scope(scope, fields));
}

fn put_value(sink: &mut ValueSink<'_>, value: &ConfigValue) {
    match value {
        ConfigValue::Null => sink.null(),
        ConfigValue::Truth(truth) => sink.bare(format_args!("{truth}")),
        ConfigValue::Whole(whole) => sink.bare(format_args!("{whole}")),
        ConfigValue::Real(real) => sink.bare(format_args!("{real}")),
        ConfigValue::Text(text) => sink.text(text),
        ConfigValue::List(values) => sink.list(values, put_value),
        ConfigValue::Dict(pairs) => sink.dict(pairs),
    }
}
