//! Findings of a configuration check for a terminal: the line, and a caret below what is meant.

use miette::{
    GraphicalReportHandler, GraphicalTheme, LabeledSpan, MietteDiagnostic, NamedSource, Report, Severity,
};
use postfleet_config::{Diagnostic, LoadOutcome};

/// All findings, with a view of the text where there is one.
pub(crate) fn report(outcome: &LoadOutcome) -> String {
    let plain = std::env::var_os("NO_COLOR").is_some();
    let theme = if plain { GraphicalTheme::unicode_nocolor() } else { GraphicalTheme::unicode() };
    let handler = GraphicalReportHandler::new_themed(theme);
    outcome.diagnostics.iter().map(|diagnostic| one(outcome, diagnostic, &handler)).collect()
}

fn one(outcome: &LoadOutcome, diagnostic: &Diagnostic, handler: &GraphicalReportHandler) -> String {
    let plain = || postfleet_config::report(std::slice::from_ref(diagnostic));
    let Some(labelled) = diagnostic.labelled(&outcome.sources) else { return plain() };
    let severity = if diagnostic.is_error() { Severity::Error } else { Severity::Warning };
    let mut shown = MietteDiagnostic::new(labelled.message.clone())
        .with_code(diagnostic.code.to_string())
        .with_severity(severity)
        .with_label(LabeledSpan::underline(labelled.start..labelled.end));
    if let Some(help) = labelled.help {
        shown = shown.with_help(help);
    }
    let source = NamedSource::new(labelled.file, labelled.source.to_owned());
    let report = Report::new(shown).with_source_code(source);
    let mut text = String::new();
    if handler.render_report(&mut text, report.as_ref()).is_err() {
        return plain();
    }
    text.push('\n');
    text
}
