//! Findings for a terminal: the text that files and pipes get, and below each finding the line it is about, with a
//! mark below what is meant.

use miette::{
    GraphicalReportHandler, GraphicalTheme, LabeledSpan, MietteDiagnostic, NamedSource, Report, Severity,
};
use postfleet_config::{Diagnostic, LoadOutcome};
use std::ops::Range;

/// What a line with a secret in it says. Addresses of databases may hold one anywhere.
const SECRET: [&str; 5] = ["password", "passwd", "pwd", "secret", "uri"];

/// No line is broken to fit: the view shows the line as it stands in the file.
const COLUMNS: usize = 100_000;

/// All findings, with a view of the text where there is one.
pub(super) fn report(outcome: &LoadOutcome, colour: bool) -> String {
    let theme = if colour { GraphicalTheme::unicode() } else { GraphicalTheme::unicode_nocolor() };
    let handler = GraphicalReportHandler::new_themed(theme).with_width(COLUMNS).with_links(false);
    postfleet_config::report_with(&outcome.diagnostics, &|diagnostic| {
        view(outcome, diagnostic, &handler).unwrap_or_default()
    })
}

/// The frame with the text. What stands above and below it in the library's layout has been said already.
fn view(outcome: &LoadOutcome, diagnostic: &Diagnostic, handler: &GraphicalReportHandler) -> Option<String> {
    let labelled = diagnostic.labelled(&outcome.sources)?;
    let severity = if diagnostic.is_error() { Severity::Error } else { Severity::Warning };
    let shown = MietteDiagnostic::new("")
        .with_severity(severity)
        .with_label(LabeledSpan::underline(labelled.start..labelled.end));
    let text = veiled(labelled.source, labelled.start..labelled.end);
    let source = NamedSource::new(labelled.file, text);
    let report = Report::new(shown).with_source_code(source);
    let mut text = String::new();
    handler.render_report(&mut text, report.as_ref()).ok()?;
    let lines: Vec<&str> = text.lines().collect();
    let first = lines.iter().position(|line| line.contains('╭'))?;
    let last = lines.iter().rposition(|line| line.contains('╰'))?;
    let frame = lines.get(first..=last)?;
    Some(frame.iter().map(|line| format!("{line}\n")).collect())
}

/// The text with stars for the values of lines that look as if they held a secret, but for what the finding is about. Every
/// place stays where it is.
fn veiled(text: &str, shown: Range<usize>) -> String {
    let mut out = String::with_capacity(text.len());
    for line in text.split_inclusive('\n') {
        let lower = line.to_ascii_lowercase();
        if !SECRET.iter().any(|word| lower.contains(word)) {
            out.push_str(line);
            continue;
        }
        let value = line.find(['=', '"']).map_or(0, |at| at + 1);
        let begin = out.len();
        for (at, character) in line.char_indices() {
            if at < value || character.is_whitespace() || shown.contains(&(begin + at)) {
                out.push(character);
            } else {
                out.extend(std::iter::repeat_n('*', character.len_utf8()));
            }
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use postfleet_config::{Config, LoadRequest, MemoryFiles};

    #[test]
    fn the_view_stands_below_the_text() {
        let text = "Hostname = \"a\"\nESMTP_Listener {\n  Idle_Time = 5m\n}\n";
        let files = MemoryFiles::new().with("/etc/t/ecelerity.conf", text);
        let request = LoadRequest { main: Some("/etc/t/ecelerity.conf".into()), ..LoadRequest::default() };
        assert_eq!(
            report(&Config::load(&files, &request), false),
            "Configuration error in /etc/t/ecelerity.conf at line 3, column 15 near '5m'\n\
             CFG-4012 '5m' has a unit behind it; expected a plain number of seconds, e.g. 300\n   \
                ╭─[/etc/t/ecelerity.conf:3:15]\n \
              2 │ ESMTP_Listener {\n \
              3 │   Idle_Time = 5m\n   \
                ·               ──\n \
              4 │ }\n   \
                ╰────\n\
             Reconfigure failed.\n"
        );
    }

    #[test]
    fn what_stands_beside_a_finding_keeps_its_secrets() {
        let text = "# ü\nuri = \"odbc:DSN=x;PWD=geheim\" Idle_Timeout = 5m\nPassword = \"geheim\"\n";
        let place = text.find("5m").expect("it is there");
        let shown = veiled(text, place..place + 2);
        assert_eq!(shown.len(), text.len());
        assert!(!shown.contains("geheim") && shown.get(place..place + 2) == Some("5m"), "{shown}");
        assert!(shown.starts_with("# ü\nuri =") && shown.contains("\nPassword ="), "{shown}");
    }
}
