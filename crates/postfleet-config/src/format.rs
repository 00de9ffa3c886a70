//! Indentation: the lines of a file as they are, each at the depth it stands at.

use alloc::string::String;
use alloc::vec::Vec;

use crate::diagnostic::{Diagnostic, Finding, Findings};
use crate::lexer::{self, Kind};
use crate::parser;
use crate::source::{self, SourceId, Sources, Span};

/// A token or a comment.
struct Piece {
    start: usize,
    end: usize,
    line: u32,
    end_line: u32,
    /// `None`: a comment.
    kind: Option<Kind>,
}

/// The text indented anew: two blanks a level, no blanks at line ends, at most one empty line in a row. Lines stay
/// lines, and comments, strings and everything else stay as they are; the form, 2.x or 4.x, too.
///
/// # Errors
/// What is wrong with the text, when it is not of the language, or not UTF-8.
pub fn format(path: &str, bytes: &[u8]) -> Result<String, Vec<Diagnostic>> {
    let (text, replaced) = source::decode(bytes);
    let mut sources = Sources::default();
    let id = sources.add(path.into(), text.as_str().into(), None, false, false);
    let mut findings = check(id, &text, &replaced, false);
    if findings.has_errors() && !check(id, &text, &replaced, true).has_errors() {
        // A file that is included inside a module stanza of the 2.x form.
        findings = Findings::default();
    }
    if let Some(at) = replaced.first().filter(|_| !findings.has_errors()) {
        let span = Span::at(id, *at, at.saturating_add('\u{fffd}'.len_utf8()));
        let finding = Finding::error(1004, span, "bytes that are not UTF-8, which cannot be written again");
        findings.push(finding.expected("text in UTF-8"));
    }
    if findings.has_errors() {
        return Err(findings.finish(&sources));
    }
    Ok(indented(&text, &pieces(id, &text)))
}

fn check(id: SourceId, text: &str, replaced: &[usize], in_module: bool) -> Findings {
    let mut findings = Findings::default();
    let _parsed = parser::parse(id, text, replaced, in_module, &mut findings);
    findings
}

fn pieces(id: SourceId, text: &str) -> Vec<Piece> {
    let mut ignored = Findings::default();
    let tokens = lexer::lex(id, text, &[], &mut ignored);
    let mut pieces: Vec<Piece> = tokens
        .list
        .iter()
        .filter(|token| token.kind != Kind::End)
        .map(|token| Piece {
            start: token.span.start as usize,
            end: token.span.end as usize,
            line: token.line,
            end_line: token.end_line,
            kind: Some(token.kind),
        })
        .collect();
    pieces.extend(tokens.comments.iter().map(|comment| {
        let start = comment.span.start as usize;
        let written = text.get(start..comment.span.end as usize).unwrap_or("").trim_end();
        Piece {
            start,
            end: start + written.len(),
            line: comment.line,
            end_line: comment.end_line,
            kind: None,
        }
    }));
    pieces.sort_by_key(|piece| piece.start);
    pieces
}

const fn opens(kind: Option<Kind>) -> bool {
    matches!(kind, Some(Kind::OpenBrace | Kind::OpenBracket | Kind::OpenParen))
}

const fn closes(kind: Option<Kind>) -> bool {
    matches!(kind, Some(Kind::CloseBrace | Kind::CloseBracket | Kind::CloseParen))
}

fn indented(text: &str, pieces: &[Piece]) -> String {
    let mut out = String::with_capacity(text.len());
    // The depth of the line that each open bracket stands on: brackets that open on one line count once.
    let mut open: Vec<usize> = Vec::new();
    let mut last_token: Option<Kind> = None;
    let mut previous_end: Option<u32> = None;
    for line in pieces.chunk_by(|left, right| left.end_line == right.line) {
        let (Some(first), Some(last)) = (line.first(), line.last()) else {
            continue;
        };
        if previous_end.is_some_and(|end| first.line > end.saturating_add(1)) {
            out.push('\n');
        }
        previous_end = Some(last.end_line);
        let leading = line.iter().take_while(|piece| closes(piece.kind)).count();
        let depth = if leading > 0 {
            open.len().checked_sub(leading).and_then(|at| open.get(at)).copied().unwrap_or(0)
        } else {
            open.last().map_or(0, |depth| depth + 1) + usize::from(last_token == Some(Kind::Equals))
        };
        for piece in line {
            if opens(piece.kind) {
                open.push(depth);
            } else if closes(piece.kind) {
                open.pop();
            }
            last_token = piece.kind.or(last_token);
        }
        for _ in 0..depth {
            out.push_str("  ");
        }
        out.push_str(text.get(first.start..last.end).unwrap_or(""));
        out.push('\n');
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, expected: &str) {
        assert_eq!(format("/x", text.as_bytes()).as_deref(), Ok(expected));
        assert_eq!(format("/x", expected.as_bytes()).as_deref(), Ok(expected));
    }

    #[test]
    fn lines_are_indented_and_nothing_else() {
        check(
            "\n\n  Domain   \"x\" {   # the domain  \r\n\t\tRetry_Interval   = 5 \n\n\n      # end\n        }\n",
            "Domain   \"x\" {   # the domain\n  Retry_Interval   = 5\n\n  # end\n}\n",
        );
        check(
            "ESMTP_Listener = (\n*:25 <proto=both> [\n0.0.0.0/0 = ( personality [\nidle_time = 5\n] continue )\n]\n)\n",
            "ESMTP_Listener = (\n  *:25 <proto=both> [\n    0.0.0.0/0 = ( personality [\n      idle_time = 5\n    ] continue )\n  ]\n)\n",
        );
        check("a =\n\"two\n   lines\" /* c\n d */\nb = 1", "a =\n  \"two\n   lines\" /* c\n d */\nb = 1\n");
        check("", "");
        // A file for the inside of a module stanza.
        check("a [ b [ c = d ] ]\n", "a [ b [ c = d ] ]\n");
    }

    #[test]
    fn texts_that_are_not_of_the_language_are_left_alone() {
        assert!(format("/x", b"a = {").is_err());
        assert!(format("/x", b"# \xff\na = b").is_err());
    }
}
