//! What a script wants of the fleet, as far as its text says so: calls of functions by their full names.

use std::collections::BTreeMap;

use postfleet_policy::{Need, Wanted};

#[derive(Clone, Debug, PartialEq, Eq)]
enum Token {
    Name(String),
    Text(String),
    Mark(char),
}

/// The end of a long bracket that begins here, and where its content ends: `[[ … ]]`, `[==[ … ]==]`.
fn long_bracket(text: &str) -> Option<(usize, usize, usize)> {
    let level = text.strip_prefix('[')?.bytes().take_while(|byte| *byte == b'=').count();
    let open = level.checked_add(2)?;
    if text.as_bytes().get(open.checked_sub(1)?) != Some(&b'[') {
        return None;
    }
    let close = format!("]{}]", "=".repeat(level));
    let end = text.get(open..)?.find(&close).map_or(text.len(), |at| at.saturating_add(open));
    Some((open, end, end.saturating_add(close.len()).min(text.len())))
}

/// A quoted string with its end.
fn quoted(text: &str, quote: char) -> (String, usize) {
    let mut content = String::new();
    let mut escaped = false;
    for (at, c) in text.char_indices().skip(1) {
        match c {
            _ if escaped => {
                content.push(c);
                escaped = false;
            }
            '\\' => escaped = true,
            '\n' => return (content, at),
            c if c == quote => return (content, at.saturating_add(1)),
            c => content.push(c),
        }
    }
    (content, text.len())
}

/// The words of a script with their lines, without comments.
fn tokens(script: &str) -> Vec<(Token, u32)> {
    let mut tokens = Vec::new();
    let mut line = 1_u32;
    let mut rest = script;
    while let Some(first) = rest.chars().next() {
        let mut length = first.len_utf8();
        let comment = rest.strip_prefix("--");
        if let Some(after) = comment {
            let end = match long_bracket(after) {
                Some((_, _, end)) => end.saturating_add(2),
                None => rest.find('\n').unwrap_or(rest.len()),
            };
            length = end.max(2);
        } else if first.is_ascii_alphabetic() || first == '_' {
            length = rest.find(|c: char| !(c.is_ascii_alphanumeric() || c == '_')).unwrap_or(rest.len());
            tokens.push((Token::Name(rest.get(..length).unwrap_or_default().to_owned()), line));
        } else if first == '"' || first == '\'' {
            let (content, end) = quoted(rest, first);
            tokens.push((Token::Text(content), line));
            length = end;
        } else if let Some((from, to, end)) = long_bracket(rest) {
            tokens.push((Token::Text(rest.get(from..to).unwrap_or_default().to_owned()), line));
            length = end;
        } else if !first.is_whitespace() {
            tokens.push((Token::Mark(first), line));
        }
        let passed = rest.get(..length).unwrap_or(rest);
        let ends = passed.bytes().filter(|byte| *byte == b'\n').count();
        line = line.saturating_add(u32::try_from(ends).unwrap_or(u32::MAX));
        rest = rest.get(length..).unwrap_or_default();
    }
    tokens
}

/// The tokens between the parentheses of a call that begins here.
fn arguments(tokens: &[(Token, u32)]) -> &[(Token, u32)] {
    if !matches!(tokens.first(), Some((Token::Mark('('), _))) {
        return &[];
    }
    let mut depth = 0_u32;
    for (at, (token, _)) in tokens.iter().enumerate() {
        match token {
            Token::Mark('(' | '{') => depth = depth.saturating_add(1),
            Token::Mark(')' | '}') => depth = depth.saturating_sub(1),
            _ => {}
        }
        if depth == 0 {
            return tokens.get(1..at).unwrap_or_default();
        }
    }
    tokens.get(1..).unwrap_or_default()
}

/// What `name = value` gives among arguments.
fn option<'t>(arguments: &'t [(Token, u32)], name: &str) -> Option<&'t Token> {
    arguments.windows(3).find_map(|three| match three {
        [(Token::Name(found), _), (Token::Mark('='), _), (value, _)] if found == name => Some(value),
        _ => None,
    })
}

fn is_true(token: Option<&Token>) -> bool {
    matches!(token, Some(Token::Name(word)) if word == "true")
}

fn wanted(function: &str, arguments: &[(Token, u32)]) -> Option<Wanted> {
    let first = match arguments.first() {
        Some((Token::Text(text), _)) => Some(text.as_str()),
        _ => None,
    };
    match function {
        "audit.connections" | "audit.receptions" | "audit.rejections" => {
            let word = match function {
                "audit.connections" => "connect",
                "audit.receptions" => "reception",
                _ => "rejection",
            };
            is_true(option(arguments, "cluster")).then_some(Wanted::Word("metrics", word))
        }
        "inbound_session_count" => {
            let fleet = arguments.iter().any(|(token, _)| *token == Token::Text("inbound_cidr".into()));
            fleet.then_some(Wanted::Object("inbound_cidr"))
        }
        "audit_series.define" => match option(arguments, "replicate") {
            Some(Token::Text(word)) if word == "cluster" => Some(Wanted::Word("metrics", "audit_series")),
            Some(Token::Text(word)) if word == "manager" => {
                Some(Wanted::Word("eccmgr_metrics", "audit_series"))
            }
            _ => None,
        },
        "gauge_cache.define" => is_true(arguments.last().map(|(token, _)| token))
            .then_some(Wanted::Word("metrics", "gauge_cache")),
        "shared_throttle.create" => Some(Wanted::Object("shared_named_throttles")),
        "cluster_cache.get" | "cluster_cache.set" | "cluster_cache.delete" => {
            first.map(|name| Wanted::Cache(name.to_owned()))
        }
        _ => None,
    }
}

/// What has to be replicated for a script, each once. A script that hides the names of functions is not seen through.
#[must_use]
pub fn needs(script: &str) -> Vec<Need> {
    let tokens = tokens(script);
    let mut found: BTreeMap<Wanted, u32> = BTreeMap::new();
    for (at, (token, line)) in tokens.iter().enumerate() {
        let Token::Name(name) = token else { continue };
        let rest = tokens.get(at.saturating_add(1)..).unwrap_or_default();
        // `msys.audit.connections (`: the function stands behind its package.
        let call = match rest {
            [(Token::Mark('.'), _), (Token::Name(function), _), ..] => {
                (format!("{name}.{function}"), rest.get(2..).unwrap_or_default())
            }
            _ => (name.clone(), rest),
        };
        if let Some(object) = wanted(&call.0, arguments(call.1)) {
            found.entry(object).or_insert(*line);
        }
    }
    found.into_iter().map(|(object, line)| Need { object, line }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_script_wants_of_the_fleet() {
        let text = r#"
-- msys.shared_throttle.create("x", "1/2")
--[[ msys.audit.connections("1,1", { cluster = true })
]]
local a = msys.audit.connections("300,6", { cidr = "/24", cluster = true })
local b = msys.audit.receptions("300,6", "192.0.2.0/24")
accept:inbound_session_count("/24", "inbound_cidr") accept:inbound_session_count("/24", "SMTP")
msys.audit_series.define("s", "cidr", 60, 5, { replicate = 'cluster' })
msys.audit_series.define("t", "cidr", 60, 5)
msys.gauge_cache.define("g", 10, 60, true) msys.gauge_cache.define("h", 10, 60)
msys.cluster_cache.get("grey", key) msys.cluster_cache.get(name, key)
print("msys.shared_throttle.create(", [[msys.shared_throttle.create(]])
"#;
        let need = |object, line| Need { object, line };
        assert_eq!(
            needs(text),
            [
                need(Wanted::Object("inbound_cidr"), 7),
                need(Wanted::Word("metrics", "audit_series"), 8),
                need(Wanted::Word("metrics", "connect"), 5),
                need(Wanted::Word("metrics", "gauge_cache"), 10),
                need(Wanted::Cache("grey".into()), 11),
            ]
        );
        for broken in ["\"", "--[[", "[==[", "msys.audit.connections(", "'\\", "é\"ü", "a.b.(", "[=", "--"]
        {
            assert_eq!(needs(broken), []);
        }
    }
}
