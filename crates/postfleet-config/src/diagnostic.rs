//! Findings of a load and their three forms: text, JSON lines, labelled ranges.

use alloc::format;
use alloc::string::{String, ToString as _};
use alloc::vec::Vec;
use core::fmt::{self, Write as _};

use crate::source::{Position, Sources, Span};

/// No more errors than this are printed; the rest is counted.
pub const ERRORS_SHOWN_MAX: usize = 20;

/// No more findings of a kind than this are kept, so that a hostile file cannot fill the memory.
const FINDINGS_KEPT_MAX: usize = 2_000;

/// How bad a finding is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// The configuration cannot be used.
    Error,
    /// The configuration is used; the operator should look.
    Warning,
}

/// The number of a finding; prints as `CFG-NNNN`. `docs/configuration/codes.md` lists them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Code(pub u16);

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "CFG-{:04}", self.0)
    }
}

/// One finding, complete in itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Diagnostic {
    /// Error or warning.
    pub severity: Severity,
    /// The number of the condition.
    pub code: Code,
    /// Where; `None` when the finding is about the load as a whole.
    pub position: Option<Position>,
    /// The offending text as shown: at most 40 characters, control characters as `\xNN`, secrets as `***`.
    pub token: String,
    /// What was found wrong.
    pub message: String,
    /// What was expected instead.
    pub expected: Option<String>,
    /// The include directives that lead to the place, innermost first.
    pub includes: Vec<Position>,
    /// What may help.
    pub hint: Option<String>,
    /// The other place of a conflict.
    pub see_also: Option<Position>,
    span: Option<Span>,
    secret: bool,
}

/// A finding with the text around it, for a view with a caret.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Labelled<'a> {
    /// Error or warning.
    pub severity: Severity,
    /// The number of the condition.
    pub code: Code,
    /// The file the text is from.
    pub file: &'a str,
    /// The whole text of that file.
    pub source: &'a str,
    /// First byte of the offending text in `source`.
    pub start: usize,
    /// Byte behind the last; equal to `start` at the end of the file.
    pub end: usize,
    /// What was found wrong, and what was expected.
    pub message: String,
    /// What may help.
    pub help: Option<&'a str>,
}

impl Diagnostic {
    /// Whether this is an error.
    #[must_use]
    pub fn is_error(&self) -> bool {
        self.severity == Severity::Error
    }

    /// A warning that no text was at hand for.
    pub(crate) fn bare_warning(code: u16, position: Option<Position>, token: &str, message: String) -> Self {
        Self {
            severity: Severity::Warning,
            code: Code(code),
            position,
            token: shown(token),
            message,
            expected: None,
            includes: Vec::new(),
            hint: None,
            see_also: None,
            span: None,
            secret: false,
        }
    }

    /// The message with what was expected.
    #[must_use]
    pub fn sentence(&self) -> String {
        match &self.expected {
            Some(expected) => format!("{}; expected {expected}", self.message),
            None => self.message.clone(),
        }
    }

    /// One JSON object on one line.
    #[must_use]
    pub fn json(&self) -> String {
        let quoted = |text: &str| serde_json::Value::String(text.to_string()).to_string();
        let optional = |text: &Option<String>| text.as_deref().map_or_else(|| "null".to_string(), quoted);
        let (file, line, column) = match &self.position {
            Some(at) => (quoted(&at.file), at.line.to_string(), at.column.to_string()),
            None => ("null".to_string(), "null".to_string(), "null".to_string()),
        };
        let mut includes = String::new();
        for at in &self.includes {
            if !includes.is_empty() {
                includes.push(',');
            }
            let _ = write!(includes, "{{\"file\":{},\"line\":{}}}", quoted(&at.file), at.line);
        }
        let see_also = match &self.see_also {
            Some(at) => {
                format!("{{\"file\":{},\"line\":{},\"column\":{}}}", quoted(&at.file), at.line, at.column)
            }
            None => "null".to_string(),
        };
        let severity = match self.severity {
            Severity::Error => "error",
            Severity::Warning => "warning",
        };
        format!(
            "{{\"severity\":\"{severity}\",\"code\":\"{}\",\"message\":{},\"file\":{file},\"line\":{line},\
             \"column\":{column},\"token\":{},\"expected\":{},\"includes\":[{includes}],\"hint\":{},\
             \"see_also\":{see_also}}}",
            self.code,
            quoted(&self.message),
            quoted(&self.token),
            optional(&self.expected),
            optional(&self.hint),
        )
    }

    /// The finding with the text it is about, for a view with a caret. `None` when it is about no place in a
    /// text, or when the text around it is secret.
    #[must_use]
    pub fn labelled<'a>(&'a self, sources: &'a Sources) -> Option<Labelled<'a>> {
        let span = self.span.filter(|_| !self.secret)?;
        let source = sources.source(span.source)?;
        Some(Labelled {
            severity: self.severity,
            code: self.code,
            file: source.path(),
            source: source.text(),
            start: span.start as usize,
            end: span.end as usize,
            message: self.sentence(),
            help: self.hint.as_deref(),
        })
    }
}

impl fmt::Display for Diagnostic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = match (self.severity, self.code.0 / 1000) {
            (Severity::Warning, _) => "Warning",
            (Severity::Error, 5) => "Include error",
            (Severity::Error, 4 | 6..) => "Configuration error",
            (Severity::Error, _) => "Syntax error",
        };
        match &self.position {
            Some(at) => writeln!(
                f,
                "{kind} in {} at line {}, column {} near '{}'",
                at.file, at.line, at.column, self.token
            )?,
            None => writeln!(f, "{kind} in {}", self.token)?,
        }
        write!(f, "{} {}", self.code, self.sentence())?;
        if let Some(at) = &self.see_also {
            write!(f, "\n  see also {} at line {}, column {}", at.file, at.line, at.column)?;
        }
        for at in &self.includes {
            write!(f, "\n  included from {} at line {}", at.file, at.line)?;
        }
        if let Some(hint) = &self.hint {
            write!(f, "\n  hint: {hint}")?;
        }
        Ok(())
    }
}

/// All findings as an operator reads them: warnings unlimited, at most [`ERRORS_SHOWN_MAX`] errors, and
/// `Reconfigure failed.` behind them when there is an error.
#[must_use]
pub fn report(diagnostics: &[Diagnostic]) -> String {
    report_with(diagnostics, &|_| String::new())
}

/// The same with something below each finding: whole lines, or nothing.
#[must_use]
pub fn report_with(diagnostics: &[Diagnostic], below: &dyn Fn(&Diagnostic) -> String) -> String {
    let mut text = String::new();
    let errors = diagnostics.iter().filter(|diagnostic| diagnostic.is_error()).count();
    let mut shown = 0;
    for diagnostic in diagnostics {
        if diagnostic.is_error() {
            shown += 1;
            if shown > ERRORS_SHOWN_MAX {
                continue;
            }
        }
        let _ = writeln!(text, "{diagnostic}");
        text.push_str(&below(diagnostic));
    }
    if errors > ERRORS_SHOWN_MAX {
        let _ = writeln!(text, "… {} more errors", errors - ERRORS_SHOWN_MAX);
    }
    if errors > 0 {
        text.push_str("Reconfigure failed.\n");
    }
    text
}

/// All findings as JSON, one object a line.
#[must_use]
pub fn report_json(diagnostics: &[Diagnostic]) -> String {
    let mut text = String::new();
    for diagnostic in diagnostics {
        text.push_str(&diagnostic.json());
        text.push('\n');
    }
    text
}

/// A finding before its place has been turned into words.
#[derive(Clone, Debug)]
pub(crate) struct Finding {
    code: u16,
    severity: Severity,
    span: Option<Span>,
    subject: Option<String>,
    message: String,
    expected: Option<String>,
    hint: Option<String>,
    see_also: Option<Span>,
    secret: bool,
}

impl Finding {
    pub(crate) fn error(code: u16, span: Span, message: impl Into<String>) -> Self {
        Self {
            code,
            severity: Severity::Error,
            span: Some(span),
            subject: None,
            message: message.into(),
            expected: None,
            hint: None,
            see_also: None,
            secret: false,
        }
    }

    pub(crate) fn warning(code: u16, span: Span, message: impl Into<String>) -> Self {
        Self { severity: Severity::Warning, ..Self::error(code, span, message) }
    }

    /// An error about a file that has no place in a text, such as a main file that cannot be read.
    pub(crate) fn about(code: u16, subject: &str, message: impl Into<String>) -> Self {
        Self {
            code,
            severity: Severity::Error,
            span: None,
            subject: Some(subject.to_string()),
            message: message.into(),
            expected: None,
            hint: None,
            see_also: None,
            secret: false,
        }
    }

    pub(crate) fn expected(mut self, expected: impl Into<String>) -> Self {
        self.expected = Some(expected.into());
        self
    }

    pub(crate) fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    pub(crate) fn maybe_hint(mut self, hint: Option<String>) -> Self {
        self.hint = hint.or(self.hint);
        self
    }

    pub(crate) fn see_also(mut self, span: Span) -> Self {
        self.see_also = Some(span);
        self
    }

    pub(crate) fn secret(mut self, secret: bool) -> Self {
        self.secret |= secret;
        self
    }

    pub(crate) const fn severity(mut self, severity: Severity) -> Self {
        self.severity = severity;
        self
    }

    fn finish(self, sources: &Sources) -> Diagnostic {
        let raw = match (self.span, self.subject) {
            (_, Some(subject)) => subject,
            (Some(span), None) if span.start == span.end => "end of file".to_string(),
            (Some(_), None) if self.secret => "***".to_string(),
            (Some(span), None) => sources.text(span).to_string(),
            (None, None) => String::new(),
        };
        Diagnostic {
            severity: self.severity,
            code: Code(self.code),
            position: self.span.and_then(|span| sources.position(span)),
            token: if self.span.is_some() { shown(&raw) } else { raw },
            message: self.message,
            expected: self.expected,
            includes: self.span.map(|span| sources.includes(span)).unwrap_or_default(),
            hint: self.hint,
            see_also: self.see_also.and_then(|span| sources.position(span)),
            span: self.span,
            secret: self.secret,
        }
    }
}

/// Everything found during one load.
#[derive(Debug, Default)]
pub(crate) struct Findings {
    list: Vec<Finding>,
    errors: usize,
    warnings: usize,
    strict: bool,
}

impl Findings {
    pub(crate) fn new(strict: bool) -> Self {
        Self { strict, ..Self::default() }
    }

    pub(crate) fn push(&mut self, mut finding: Finding) {
        debug_assert!(crate::codes::is_listed(finding.code), "{} is in no table", finding.code);
        if self.strict && finding.code == 3008 {
            finding.severity = Severity::Error;
        }
        let count = match finding.severity {
            Severity::Error => &mut self.errors,
            Severity::Warning => &mut self.warnings,
        };
        *count += 1;
        if *count <= FINDINGS_KEPT_MAX {
            self.list.push(finding);
        }
    }

    pub(crate) const fn has_errors(&self) -> bool {
        self.errors > 0
    }

    pub(crate) fn finish(self, sources: &Sources) -> Vec<Diagnostic> {
        let mut list = self.list;
        list.sort_by_cached_key(|finding| finding.span.map(|span| sources.order(span)));
        list.into_iter().map(|finding| finding.finish(sources)).collect()
    }
}

/// At most 40 characters of a token; control characters as `\xNN`.
pub(crate) fn shown(token: &str) -> String {
    let mut text = String::new();
    for (count, character) in token.chars().enumerate() {
        if count == 40 {
            text.push('…');
            break;
        }
        if character.is_control() {
            let _ = write!(text, "\\x{:02X}", u32::from(character));
        } else {
            text.push(character);
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_are_cut_and_cleaned() {
        assert_eq!(shown("a\nb"), "a\\x0Ab");
        assert_eq!(shown(&"x".repeat(41)), format!("{}…", "x".repeat(40)));
        assert_eq!(shown(&"x".repeat(40)), "x".repeat(40));
    }

    #[test]
    fn json_escapes_and_keeps_the_order_of_fields() {
        let mut sources = Sources::default();
        let id = sources.add("/a".into(), "x\"y".into(), None, false, false);
        let mut findings = Findings::default();
        findings.push(Finding::error(4001, Span::at(id, 0, 3), "no \"bool\"").expected("one"));
        let json = report_json(&findings.finish(&sources));
        assert_eq!(
            json,
            "{\"severity\":\"error\",\"code\":\"CFG-4001\",\"message\":\"no \\\"bool\\\"\",\"file\":\"/a\",\
             \"line\":1,\"column\":1,\"token\":\"x\\\"y\",\"expected\":\"one\",\"includes\":[],\"hint\":null,\
             \"see_also\":null}\n"
        );
    }

    #[test]
    fn more_than_twenty_errors_are_counted() {
        let mut sources = Sources::default();
        let id = sources.add("/a".into(), "x".into(), None, false, false);
        let mut findings = Findings::default();
        for _ in 0..23 {
            findings.push(Finding::error(2001, Span::at(id, 0, 1), "m"));
        }
        let text = report(&findings.finish(&sources));
        assert!(text.ends_with("… 3 more errors\nReconfigure failed.\n"), "{text}");
        assert_eq!(text.matches("CFG-2001").count(), 20);
    }
}
