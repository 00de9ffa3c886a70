//! The console language and the control protocol: what an operator may type, what is printed, and how both
//! travel over a control connection.
//!
//! Promises: a line becomes a checked [`Command`] or a [`Failure`] that says what was expected; an [`Answer`]
//! becomes text, JSON or XML with the same bytes every time; both ends of protocol version 1 accept any bytes in
//! any split without panicking. There is one command table, from which dispatch, usage, help and completion come.
//!
//! Pure: no sockets, clocks or files. `postfleet-node` owns the control listener and supplies the answers; the
//! `postfleet` program owns the client's sockets and terminal.
#![cfg_attr(not(test), no_std)]
extern crate alloc;

mod answer;
mod audit;
mod bindings;
pub mod client;
mod command;
mod complete;
mod config;
mod datasource;
mod failure;
pub mod fuzz;
mod help;
mod lex;
mod limits;
mod logs;
mod machine;
mod policy;
mod profile;
mod queues;
mod render;
mod server;
mod table;
mod wire;

pub use answer::{
    Answer, ClusterInfo, CountReply, CountResult, Mailq, MailqQueue, Member, MembershipList, SharedKind,
    SharedList, SharedObject, SharedRows, SharedShow, SharedView, Summary, Sysinfo,
};
pub use audit::{AuditCommand, AuditIp, AuditMonitor, AuditScope, GaugeCommand, Share, Windows};
pub use bindings::{BindingCommand, BindingFigures, SummaryOf, binding_summary};
pub use command::{
    Command, CountKind, CountSelector, InboundService, MailqFilter, Parameters, Request, SlotCommand,
    ThrottleCommand, canonical_object, is_command, parse,
};
pub use complete::{Names, completions};
pub use config::{
    ConfigAnswer, ConfigChange, ConfigData, ConfigDigest, ConfigOption, ConfigOther, ConfigPlace,
    ConfigPosition, ConfigScope, ConfigValue,
};
pub use datasource::{CachePair, Cell, DatasourceFigures, DatasourceRows, DatasourceStatistics};
pub use failure::{Code, Failure, Status};
pub use lex::{LexError, Word, words};
pub use limits::{SharedWhy, SlotReply, ThrottleReply, WhyGone, WhyGrant, WhyMember};
pub use logs::{LogCommand, LogFigures, logger_help, logs, logs_reopened};
pub use machine::{Form, error_message, pretty_json};
pub use policy::{
    RuleCommand, RuleFigures, ScriptCounter, ScriptletAction, ScriptletCommand, SieveAction, SieveCommand,
    rule_statistics, script_statistics,
};
pub use profile::{Profile, Role};
pub use queues::{
    DomainFigures, MessageDetails, MessagePart, QueueCommand, QueuedRow, all_domains, domains_above,
    one_domain, queue_rows,
};
pub use render::{Rendered, render};
pub use server::{Event, RunId, Server};
pub use table::{Availability, Entry, table};
pub use wire::{COMMAND_BYTES_MAX, OUT_BYTES_MAX, PROTOCOL_VERSION};
