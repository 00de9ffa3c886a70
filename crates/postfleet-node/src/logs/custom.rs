//! Lines in formats of one's own.

use super::lines::{self, Attempted, Rejected};
use super::writer::Output;
use crate::notices::{Severity, notice};
use crate::zone;
use anyhow::bail;
use postfleet_config::{CustomStage, LogStage};
use postfleet_log::{Format, Macros, MailRecord, Names, RejectRecord, Sanitize};
use postfleet_queue::Verdict;
use postfleet_spool::Stored;
use std::sync::Arc;

/// One stage of a custom logger.
pub(super) struct Custom {
    pub(super) stage: LogStage,
    pub(super) form: Form,
    pub(super) output: Arc<Output>,
}

/// What its lines look like.
pub(super) struct Form {
    format: Format,
    sanitize: Sanitize,
}

/// The values of an event, and its contexts.
pub(super) struct Values<'a> {
    macros: Macros<'a>,
    connection: &'a [(&'a str, &'a str)],
    message: Vec<(&'a str, &'a str)>,
}

impl Form {
    pub(super) fn parse(logger: &str, stage: &CustomStage, sanitize: Option<&str>) -> anyhow::Result<Self> {
        let option = format!("{}_format", stage.stage.word());
        let format = match Format::parse(&stage.format) {
            Ok(format) => format,
            Err(error) => bail!(
                "CFG-6235 custom_logger \"{logger}\": {option}: %{}: {}; write %% for a percent sign",
                error.name,
                error.problem
            ),
        };
        match Sanitize::parse(sanitize.unwrap_or_default()) {
            Ok(sanitize) => Ok(Self { format, sanitize }),
            Err(error) => bail!("CFG-6235 custom_logger \"{logger}\": sanitize: {}", error.0),
        }
    }

    /// Scripts may define what nobody knows yet: no error.
    pub(super) fn tell_unknown(&self, logger: &str, stage: LogStage) {
        for name in self.format.unknown() {
            notice(
                Severity::Warning,
                format_args!(
                    "custom_logger \"{logger}\": {}_format: nothing stands for %{name}; it is left out",
                    stage.word()
                ),
            );
        }
    }
}

impl Custom {
    pub(super) fn write(&self, values: &Values<'_>) {
        let find = |pairs: &[(&str, &str)], key: &str| {
            pairs.iter().find(|(name, _)| *name == key).map(|(_, value)| (*value).to_owned())
        };
        let more = |name: &str, argument: Option<&str>| match name {
            "vctx_conn" => find(values.connection, argument?),
            "vctx_mess" => find(&values.message, argument?),
            _ => None,
        };
        let macros =
            Macros { local: Some(zone::local(values.macros.at)), more: Some(&more), ..values.macros };
        self.output.push(self.form.format.line(&macros, &self.form.sanitize));
    }
}

impl<'a> Values<'a> {
    pub(super) fn of_reception(names: &Names<'a>, record: &MailRecord<'a>, stored: &'a Stored) -> Self {
        let mut macros = named(names);
        if let MailRecord::Reception(of) = record {
            macros = Macros {
                octets: Some(of.octets),
                host: of.from,
                sender: Some(of.sender),
                recipient: Some(of.recipient),
                protocol: Some(of.protocol),
                pathway: Some(lines::PATHWAY),
                pathway_group: Some(lines::PATHWAY),
                ..macros
            };
        }
        let context = stored.envelope.context.iter();
        let message = context.map(|(name, value)| (name.as_str(), value.as_str())).collect();
        Self { macros, connection: &[], message }
    }

    pub(super) fn of_attempt(
        names: &Names<'a>,
        record: &MailRecord<'a>,
        attempted: &'a Attempted<'a>,
    ) -> Self {
        let report = attempted.report;
        let failed = match &report.verdict {
            Verdict::Delivered => None,
            Verdict::Delayed { reply, .. } | Verdict::Failed { reply, .. } => Some(&**reply),
        };
        let (host, elapsed) = match record {
            MailRecord::Handover(of) => (Some(of.to), Some(of.elapsed)),
            MailRecord::Failure(of) => (of.by, Some(of.elapsed)),
            MailRecord::Reception(_) => (None, None),
        };
        let tried = attempted.attempt.is_some() || matches!(report.verdict, Verdict::Delayed { .. });
        let macros = Macros {
            octets: Some(attempted.message.octets),
            class: failed.map(|reply| attempted.class(reply)),
            stage: failed.map(|_| attempted.stage()),
            domain: Some(&report.queue.domain),
            host,
            sender: Some(lines::parts(&attempted.message.sender)),
            recipient: Some(lines::parts(&attempted.message.recipient)),
            response: Some(attempted.reply()),
            tries: Some(report.retries.saturating_add(u32::from(tried))),
            protocol: Some(if attempted.message.connection.is_some() { "esmtp" } else { "internal" }),
            queued: elapsed,
            ..named(names)
        };
        Self { macros, connection: &[], message: Vec::new() }
    }

    pub(super) fn of_rejection(record: &RejectRecord<'a>, rejected: &'a Rejected<'a>) -> Self {
        let sender = rejected.sender.map(lines::parts);
        let macros = Macros {
            at: record.at,
            connection: Some(record.connection),
            host: Some(rejected.remote.ip()),
            sender,
            recipient: rejected.recipient.map(lines::parts),
            response: Some(record.text.as_bytes()),
            protocol: sender.map(|_| "esmtp"),
            pathway: Some(record.pathway),
            pathway_group: Some(record.pathway_group),
            ..Macros::default()
        };
        Self { macros, connection: record.connection_context, message: record.message_context.to_vec() }
    }
}

fn named<'a>(names: &Names<'a>) -> Macros<'a> {
    Macros {
        at: names.at,
        binding: Some(names.binding),
        binding_group: Some(names.binding_group),
        message: Some(names.message),
        batch: Some(names.batch),
        connection: Some(names.connection),
        ..Macros::default()
    }
}
