//! The running configuration as operators see it.

use alloc::format;
use alloc::string::{String, ToString as _};
use alloc::vec::Vec;

use super::place::Place;
use super::refusal::Refusal;
use super::reply::{Data, OptionData, OtherData, PlaceData, Reply, ScopeData};
use super::shown;
use crate::config::Config;
use crate::schema::{self, Row, Scope};
use crate::secret::{self, Secret, Secrets};
use crate::source::{Position, Span};
use crate::syntax::{self, Item};
use crate::trace::Weight;
use crate::tree::{Instance, InstanceId, display_name};
use crate::value::Pattern;

/// Where values of nested scopes begin; scripts know the column.
const NESTED: &str = "        ";

/// `NAME = VALUE` as `get` prints it: behind eight blanks in a nested scope.
fn indented(place: &Place, lines: Vec<String>) -> Vec<String> {
    if place.is_global() {
        return lines;
    }
    lines.into_iter().map(|line| format!("{NESTED}{line}")).collect()
}

/// `config get`: the value set in exactly that instance.
pub(super) fn get(config: &Config, place: &Place, row: &'static Row) -> Result<Reply, Refusal> {
    let path = || place.path(config.tree());
    let Some(id) = place.find(config.tree()) else { return Err(Refusal::NoSuchScope(path())) };
    let Some(assigned) = config.assigned(id, row) else {
        return Err(Refusal::NotSet { option: row.name, path: path() });
    };
    let lines = shown::assigned(config, id, assigned, Secrets::Hidden).lines(row.name, false);
    let data = OptionData {
        scope: place.names(),
        option: row.name,
        value: Some(Secret::of(row.name).value(&assigned.value)),
        set_in: Some(place.names()),
        position: in_file(config, assigned.span),
        beside: Vec::new(),
        hidden: Vec::new(),
    };
    Ok(Reply { lines: indented(place, lines), data: Data::Option(data) })
}

/// The echo of `config set`.
pub(super) fn set(config: &Config, place: &Place, row: &'static Row) -> Result<Reply, Refusal> {
    let mut reply = get(config, place, row)?;
    if let Some(id) = place.find(config.tree())
        && let Some(assigned) = config.assigned(id, row)
    {
        reply.lines =
            indented(place, shown::assigned(config, id, assigned, Secrets::Hidden).lines(row.name, true));
    }
    Ok(reply)
}

/// `config eval`: the value that holds for something that passes all the instances named.
pub(super) fn eval(config: &Config, place: &Place, row: &'static Row) -> Reply {
    let resolved = config.resolved(row, &place.facts(config.tree()));
    let lines = shown::resolved(config, &resolved).lines(row.name, false);
    Reply { lines, data: Data::Option(effective(config, place, row)) }
}

/// The answer of `config unset`.
pub(super) fn unset(config: &Config, place: &Place, row: &'static Row) -> Reply {
    let mut reply = eval(config, place, row);
    let mut lines = alloc::vec![format!("\"{}\" has been unset. Effective value is now:", row.name)];
    lines.extend(reply.lines.iter().map(|line| format!("{NESTED}{line}")));
    reply.lines = lines;
    reply
}

fn effective(config: &Config, place: &Place, row: &'static Row) -> OptionData {
    let resolved = config.resolved(row, &place.facts(config.tree()));
    let set = shown::set_in(config, &resolved);
    OptionData {
        scope: place.names(),
        option: row.name,
        value: resolved.value.as_ref().map(|value| Secret::of(row.name).value(value)),
        set_in: set.map(|(id, _)| Place::of(config.tree(), id).names()),
        position: set.and_then(|(_, assigned)| in_file(config, assigned.span)),
        beside: Vec::new(),
        hidden: Vec::new(),
    }
}

fn in_file(config: &Config, span: Span) -> Option<Position> {
    config.sources().position(span).filter(|at| &*at.file != "console")
}

/// `config where`: what `eval` answers, what supplied it, what counts beside it, and everything it hides. `configured` is the configuration
/// as written, for options that wait for a restart.
pub(super) fn origin(config: &Config, configured: &Config, place: &Place, row: &'static Row) -> Reply {
    let facts = place.facts(config.tree());
    let resolved = config.resolved(row, &facts);
    let mut lines = shown::resolved(config, &resolved).lines(row.name, false);
    let mut data = effective(config, place, row);
    let trace = config.traced(row, &facts);
    if trace.supplier().is_none() {
        lines.push("  is the default".to_string());
    }
    for found in &trace.assignments {
        let stands = stands(config, found.instance, Some(found.span));
        let text = &found.written;
        lines.push(match found.weight {
            Weight::Supplies => format!("  is set {stands}"),
            Weight::Joins => format!("  beside it counts {text} {stands}"),
            Weight::Hidden => format!("  hides {text} {stands}"),
        });
        let list = match found.weight {
            Weight::Supplies => continue,
            Weight::Joins => &mut data.beside,
            Weight::Hidden => &mut data.hidden,
        };
        list.push(OtherData {
            value: Secret::of(row.name).value(&found.value),
            set_in: Place::of(config.tree(), found.instance).names(),
            position: found.position.clone(),
        });
    }
    let written = configured.resolved(row, &place.facts(configured.tree()));
    if !row.dynamic && written.value != resolved.value {
        let text = shown::resolved(configured, &written).one_line();
        let place = match shown::set_in(configured, &written) {
            Some((id, assigned)) => format!(", set {}", stands(configured, id, Some(assigned.span))),
            None => String::new(),
        };
        lines.push(format!("  will be {text} after a restart{place}"));
    }
    Reply { lines, data: Data::Option(data) }
}

fn stands(config: &Config, id: InstanceId, span: Option<Span>) -> String {
    let path = config.tree().path(id);
    let scope = if path.is_empty() { "in the global scope".to_string() } else { format!("in {path}") };
    match span.and_then(|span| config.sources().position(span)) {
        Some(at) if &*at.file == "console" => format!("{scope} at a console"),
        Some(at) => format!("{scope} at {at}"),
        None => scope,
    }
}

/// `config show`: the stanzas inside on a line each, then the options.
pub(super) fn show(config: &Config, place: &Place) -> Result<Reply, Refusal> {
    let (id, instance) = existing(config, place)?;
    let mut lines = Vec::new();
    for (_, child) in children(config, instance) {
        let heading = shown::heading(display_name(child.scope), child.name.as_deref());
        lines.push(format!("{heading} {{ ... }}"));
    }
    let unread = secret::hidden(instance.unread());
    for item in &unread {
        if let Item::Stanza { scope, name, .. } = item {
            let heading = shown::heading(&scope.text, name.as_ref().map(|name| name.text.as_str()));
            lines.push(format!("{heading} {{ ... }}"));
        }
    }
    lines.extend(options(config, id, instance, Secrets::Hidden));
    lines.extend(unread_lines(unread.iter().filter(|item| !is_stanza(item)), 0));
    Ok(Reply { lines, data: Data::Scope(scope_data(config, instance, 0)) })
}

fn is_stanza(item: &Item) -> bool {
    matches!(item, Item::Stanza { .. })
}

fn unread_lines<'a>(items: impl Iterator<Item = &'a Item>, depth: usize) -> Vec<String> {
    let items: Vec<Item> = items.cloned().collect();
    let indent = "  ".repeat(depth);
    syntax::print(&items).lines().map(|line| format!("{indent}{line}")).collect()
}

/// `config showrecurse`: the stanza with everything in it, as text that can be read again.
pub(super) fn show_recurse(config: &Config, place: &Place) -> Result<Reply, Refusal> {
    let (id, instance) = existing(config, place)?;
    let mut lines = Vec::new();
    if place.is_global() {
        body(config, id, instance, 0, Secrets::Hidden, &mut lines);
    } else {
        stanza(config, id, instance, 0, Secrets::Hidden, &mut lines);
    }
    Ok(Reply { lines, data: Data::Scope(scope_data(config, instance, usize::MAX)) })
}

/// The whole configuration as one text that says the same when it is read, secrets and what is not read included.
pub(super) fn whole(config: &Config) -> Vec<String> {
    let mut lines = Vec::new();
    if let Some(global) = config.tree().instance(InstanceId::GLOBAL) {
        body(config, InstanceId::GLOBAL, global, 0, Secrets::Shown, &mut lines);
    }
    lines
}

fn existing<'a>(config: &'a Config, place: &Place) -> Result<(InstanceId, &'a Instance), Refusal> {
    place
        .find(config.tree())
        .and_then(|id| Some((id, config.tree().instance(id)?)))
        .ok_or_else(|| Refusal::NoSuchScope(place.path(config.tree())))
}

fn children<'a>(
    config: &'a Config,
    instance: &'a Instance,
) -> impl Iterator<Item = (InstanceId, &'a Instance)> {
    instance.children.iter().filter_map(|id| Some((*id, config.tree().instance(*id)?)))
}

fn options(config: &Config, id: InstanceId, instance: &Instance, secrets: Secrets) -> Vec<String> {
    instance
        .options()
        .flat_map(|assigned| shown::assigned(config, id, assigned, secrets).lines(assigned.row.name, false))
        .collect()
}

fn body(
    config: &Config,
    id: InstanceId,
    instance: &Instance,
    depth: usize,
    secrets: Secrets,
    lines: &mut Vec<String>,
) {
    for (child, inner) in children(config, instance).filter(|(_, inner)| !inner.is_untouched()) {
        stanza(config, child, inner, depth, secrets, lines);
    }
    let unread = match secrets {
        Secrets::Shown => instance.unread().to_vec(),
        Secrets::Hidden => secret::hidden(instance.unread()),
    };
    lines.extend(unread_lines(unread.iter().filter(|item| is_stanza(item)), depth));
    let indent = "  ".repeat(depth);
    lines.extend(options(config, id, instance, secrets).into_iter().map(|line| format!("{indent}{line}")));
    lines.extend(unread_lines(unread.iter().filter(|item| !is_stanza(item)), depth));
}

fn stanza(
    config: &Config,
    id: InstanceId,
    instance: &Instance,
    depth: usize,
    secrets: Secrets,
    lines: &mut Vec<String>,
) {
    let indent = "  ".repeat(depth);
    let heading = shown::heading(display_name(instance.scope), instance.name.as_deref());
    lines.push(format!("{indent}{heading} {{"));
    body(config, id, instance, depth.saturating_add(1), secrets, lines);
    lines.push(format!("{indent}}}"));
}

/// The instance as data, with so many levels below it in full; of what is deeper only the names.
fn scope_data(config: &Config, instance: &Instance, levels: usize) -> ScopeData {
    let inner = |(_, child): (InstanceId, &Instance)| match levels.checked_sub(1) {
        Some(levels) => scope_data(config, child, levels),
        None => ScopeData {
            name: display_name(child.scope),
            instance: child.name.clone(),
            options: Vec::new(),
            scopes: Vec::new(),
        },
    };
    ScopeData {
        name: display_name(instance.scope),
        instance: instance.name.clone(),
        options: instance
            .options()
            .map(|assigned| (assigned.row.name, Secret::of(assigned.row.name).value(&assigned.value)))
            .collect(),
        scopes: children(config, instance).map(inner).collect(),
    }
}

/// `config locate`: every instance of the scope whose name fits.
pub(super) fn locate(config: &Config, scope: &str, pattern: Option<&str>) -> Result<Reply, Refusal> {
    let mut rows = schema::scope_rows().filter(|row| row.name.eq_ignore_ascii_case(scope)).peekable();
    let Some(row) = rows.peek() else { return Err(Refusal::NoSuchScope(scope.to_string())) };
    let compiled = match pattern.map(|text| Pattern::compile(text, false)) {
        None => None,
        Some(Ok(compiled)) => Some(compiled),
        // A literal name may be no pattern, such as `/(/`.
        Some(Err(error)) => {
            let exact = config.tree().instances().any(|(_, instance)| instance.name.as_deref() == pattern);
            if !exact {
                return Err(Refusal::InvalidName {
                    name: pattern.unwrap_or_default().to_string(),
                    scope: row.name,
                    reason: format!("{} (offset {})", error.text, error.offset),
                });
            }
            None
        }
    };
    let wanted = |instance: &Instance| {
        let name = instance.name.as_deref().unwrap_or("");
        match (pattern, &compiled) {
            (None, _) => true,
            (Some(pattern), None) => name == pattern,
            (Some(pattern), Some(compiled)) => name == pattern || compiled.is_match(name),
        }
    };
    let mut lines = Vec::new();
    let mut places = Vec::new();
    for (id, instance) in config.tree().instances() {
        if id == InstanceId::GLOBAL || !instance.scope.name().eq_ignore_ascii_case(scope) || !wanted(instance)
        {
            continue;
        }
        let path = config.tree().path(id);
        lines.push(shown::heading(display_name(instance.scope), instance.name.as_deref()));
        let implied = if instance.is_implied() { " (implied)" } else { "" };
        lines.push(format!("  is at {path}{implied}"));
        places.push(PlaceData {
            scope: display_name(instance.scope),
            instance: instance.name.clone(),
            path,
            position: instance.opened.and_then(|span| config.sources().position(span)),
            implied: instance.is_implied(),
        });
    }
    if places.is_empty() {
        return Err(Refusal::NoMatch);
    }
    Ok(Reply { lines, data: Data::Places(places) })
}

/// `config digest`: what must be the same on all members.
pub(super) fn digest(config: &Config) -> Result<Reply, Refusal> {
    let agreement =
        config.agreement().ok_or_else(|| Refusal::NoSuchScope(Scope::Cluster.name().to_string()))?;
    let mut lines = alloc::vec![format!("Digest {:016x}", agreement.digest())];
    let width = agreement.options().iter().map(|option| option.option.len()).max().unwrap_or(0);
    for option in agreement.options() {
        let value = if option.value.is_empty() { "(none)" } else { option.value.as_str() };
        lines.push(format!("  {:width$}  {:03x}  {value}", option.option, option.digest()));
    }
    Ok(Reply { lines, data: Data::Agreement(agreement) })
}
