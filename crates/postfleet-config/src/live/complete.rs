//! What may stand at the cursor of a configuration command.

use alloc::string::{String, ToString as _};
use alloc::vec::Vec;

use super::place::Place;
use super::shown;
use crate::config::Config;
use crate::schema::{self, InstanceName, Kind, Row, Scope, ScopeRow};
use crate::source::{SourceId, Span};
use crate::syntax::{Quote, Word};

/// The most candidates given.
const CANDIDATES_MAX: usize = 500;

/// Candidates for the last word of a command line that begins with `config`: scopes, instances, options, values. The
/// caller leaves out those that do not begin with what has been typed of the word.
#[must_use]
pub fn completions(line: &str, config: &Config) -> Vec<String> {
    let mut typed: Vec<&str> = line.split([' ', '\t']).filter(|word| !word.is_empty()).collect();
    if !line.ends_with([' ', '\t']) {
        typed.pop();
    }
    let (Some(verb), Some(path)) = (typed.get(1).copied(), typed.get(2..)) else { return Vec::new() };
    let mut found = match verb {
        "locate" => match path {
            [] => scopes(config, |_| true),
            [_, ..] => Vec::new(),
        },
        "get" | "eval" | "where" | "show" | "showrecurse" | "unset" | "set" => along(verb, path, config),
        _ => Vec::new(),
    };
    found.truncate(CANDIDATES_MAX);
    found
}

fn scopes(config: &Config, wanted: impl Fn(&ScopeRow) -> bool) -> Vec<String> {
    let mut names: Vec<String> = schema::scope_rows()
        .filter(|row| row.role.is_none_or(|only| only == config.role()) && wanted(row))
        .map(|row| row.name.to_string())
        .collect();
    names.sort_unstable();
    names.dedup();
    names
}

fn along(verb: &str, path: &[&str], config: &Config) -> Vec<String> {
    let span = Span::at(SourceId(0), 0, 0);
    let mut words = path.iter().map(|word| Word {
        text: word.trim_matches(['"', '\'']).to_string(),
        quote: Quote::Bare,
        span,
    });
    // The name of a scope whose instance is still to be typed.
    if let Some((last, before)) = path.split_last()
        && let Ok(around) = Place::read(&mut words.clone().take(before.len()), config.role())
        && around.rest.is_none()
        && let Some(row) = schema::child_scope(around.place.scope(), around.place.service(), last)
        && row.instance != InstanceName::Anonymous
    {
        return instances(&around.place, row.scope, config);
    }
    let Ok(target) = Place::read(&mut words, config.role()) else { return Vec::new() };
    match target.rest {
        None => {
            let mut found =
                scopes(config, |row| row.valid_inside(target.place.scope(), target.place.service()));
            if verb != "showrecurse" {
                found.extend(options(&target.place));
            }
            found
        }
        Some(word) if verb == "set" && words.next().is_none_or(|word| word.text == "=") => {
            target.place.option(&word.text).map(values).unwrap_or_default()
        }
        Some(_) => Vec::new(),
    }
}

fn instances(parent: &Place, scope: Scope, config: &Config) -> Vec<String> {
    let Some(parent) = parent.find(config.tree()) else { return Vec::new() };
    let children = config.tree().children(parent, scope);
    children.filter_map(|(_, child)| child.name.as_deref().map(shown::argument)).collect()
}

fn options(place: &Place) -> Vec<String> {
    let rows =
        schema::rows().filter(|row| place.option(row.name).is_some_and(|found| found.name == row.name));
    let mut names: Vec<String> = rows.map(|row| row.name.to_string()).collect();
    names.sort_unstable();
    names.dedup();
    names
}

fn values(row: &'static Row) -> Vec<String> {
    const BOOLS: [&str; 4] = ["true", "false", "on", "off"];
    let words = |words: &[&str]| words.iter().map(|word| shown::argument(word)).collect();
    match row.kind {
        Kind::Bool => words(&BOOLS),
        Kind::Words(list) | Kind::WordsOrInt(list) => words(list),
        Kind::WordsOrBool(list) => words(&[list, &BOOLS].concat()),
        Kind::Text(_)
        | Kind::Int
        | Kind::Uint64
        | Kind::Size
        | Kind::Float
        | Kind::Perms
        | Kind::Address
        | Kind::AddressOrHost
        | Kind::Cidr
        | Kind::Throttle
        | Kind::Regex
        | Kind::Dict(_) => Vec::new(),
    }
}
