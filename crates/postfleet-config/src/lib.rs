//! The configuration language: text to a checked, immutable configuration, and every value looked up in it.
//!
//! The crate promises that no input, whatever it is, panics; that a configuration exists only when everything in
//! it was checked; that every finding names file, line, column, the offending text and a remedy; and that
//! the same files and the same [`LoadRequest`] always give the same configuration.
//!
//! Pure: it reads files only through the [`Files`] it is given, resolves no name, opens no socket and knows no
//! clock. postfleet-node owns the file system, the environment, name resolution and the sockets.
//!
//! Start at [`Config::load`]. `docs/configuration/` describes the language and every option.
#![cfg_attr(not(test), no_std)]

extern crate alloc;

pub mod address;
mod capability;
mod check;
mod codes;
mod config;
mod diagnostic;
mod dump;
mod files;
mod format;
pub mod identity;
mod legacy;
mod lexer;
pub mod live;
mod loader;
mod merge;
mod migrate;
mod online;
mod parser;
mod reference;
mod resolve;
pub mod retry;
pub mod route;
#[cfg(test)]
#[path = "../benches/sample/mod.rs"]
mod sample;
pub mod schema;
mod secret;
mod settings;
mod source;
mod syntax;
mod text;
mod trace;
mod tree;
mod value;
mod work;

pub use address::{AddressError, ListenAddress};
pub use capability::capabilities;
pub use codes::{CodeRow, Stage, codes, codes_markdown};
pub use config::{Config, LoadOutcome, WithoutEffect, fuzz_entry};
pub use diagnostic::{
    Code, Diagnostic, ERRORS_SHOWN_MAX, Labelled, Severity, report, report_json, report_with,
};
pub use files::{FileError, FileKind, Files, LoadRequest, MemoryFiles, Role};
pub use format::format;
pub use legacy::Legacy;
pub use loader::etc_directory;
pub use migrate::{Migrated, fuzz_migrate, migrate};
pub use reference::reference_markdown;
pub use resolve::{Facts, Origin, Resolved};
pub use settings::{
    AdapterSettings, Agreed, Agreement, AsLoggerSettings, AuditSettings, BounceLoggerSettings, Bus,
    ClientCertificates, ClusterSettings, ControlSettings, CustomLoggerSettings, CustomStage,
    DatasourceSettings, DateHeader, DebugFlags, EcLoggerSettings, EcclusterSettings, EsmtpSettings,
    FailoverAddress, FailoverSettings, Follower, LineLength, ListenSettings, LogDestination, LogFile,
    LogFormat, LogStage, LogSwitches, LogTemplate, LogsSettings, LoneLf, LongLines, MailRules,
    MissingHeaders, Monitor, NodeSettings, ObjectKind, OnError, Partition, PolicyModule, ReplicateSettings,
    RoutingSettings, RuleAction, RulePhase, RuleSettings, RuleTrigger, ScriptFinding, ScriptSlot, ScriptUse,
    ScriptletSettings, SecuritySettings, SessionCap, SessionCapKind, SieveSettings, SocketSettings,
    StarttlsInjection, ThreadPoolSettings,
};
pub use source::{Position, Source, SourceId, Sources, Span};
pub use syntax::{Item, Quote, Word, Written, print};
pub use trace::{Trace, Traced, Weight};
pub use tree::{Applies, Assigned, Instance, InstanceId, Tree};
pub use value::{Pattern, Throttle, Value, boolean};

/// Parses one text by itself, without its includes; 2.x constructs come out translated. For tools that work on the source, and for tests.
#[must_use]
pub fn parse(path: &str, bytes: &[u8]) -> (alloc::vec::Vec<Item>, alloc::vec::Vec<Diagnostic>) {
    let (text, replaced) = source::decode(bytes);
    let mut sources = Sources::default();
    let id = sources.add(path.into(), text.as_str().into(), None, false, false);
    let mut findings = diagnostic::Findings::default();
    let mut all = legacy::Fleetwide::default();
    let items = legacy::read(id, &text, &replaced, &legacy::Place::global(), &mut all, &mut findings);
    (items, findings.finish(&sources))
}
