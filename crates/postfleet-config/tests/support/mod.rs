//! One way to load a text, and to look at what came of it.
#![allow(dead_code, reason = "each test file uses a part")]

use postfleet_config::{Config, Diagnostic, Facts, LoadOutcome, LoadRequest, MemoryFiles, Severity};

pub(crate) const MAIN: &str = "/etc/t/ecelerity.conf";

pub(crate) fn request() -> LoadRequest {
    LoadRequest {
        main: Some(MAIN.to_string()),
        etc: Some("/opt/e/etc".to_string()),
        node_name: Some("n1".to_string()),
        ..LoadRequest::default()
    }
}

pub(crate) fn load(text: &str) -> LoadOutcome {
    load_with(MemoryFiles::new().with(MAIN, text))
}

pub(crate) fn load_with(files: MemoryFiles) -> LoadOutcome {
    Config::load(&files, &request())
}

/// The configuration; everything found is printed when there is none.
pub(crate) fn config(text: &str) -> Config {
    let outcome = load(text);
    let report = outcome.report();
    outcome.config.unwrap_or_else(|| panic!("{report}"))
}

/// A configuration without findings.
pub(crate) fn clean(text: &str) -> Config {
    let outcome = load(text);
    assert_eq!(outcome.report(), "", "{text}");
    outcome.config.expect("nothing was found, so there is a configuration")
}

/// Severity, code, line and column of every finding.
pub(crate) fn codes(outcome: &LoadOutcome) -> Vec<(char, u16, u32, u32)> {
    outcome
        .diagnostics
        .iter()
        .map(|d| {
            let (line, column) = d.position.as_ref().map_or((0, 0), |at| (at.line, at.column));
            (if d.severity == Severity::Error { 'E' } else { 'W' }, d.code.0, line, column)
        })
        .collect()
}

/// The only finding.
pub(crate) fn only(text: &str) -> Diagnostic {
    let outcome = load(text);
    assert_eq!(outcome.diagnostics.len(), 1, "{text}\n{}", outcome.report());
    outcome.diagnostics[0].clone()
}

pub(crate) fn check(text: &str, expected: &[(char, u16, u32, u32)]) {
    let outcome = load(text);
    assert_eq!(codes(&outcome), expected, "{text}\n{}", outcome.report());
}

/// The effective value as text.
pub(crate) fn eval(config: &Config, name: &str, facts: Facts<'_>) -> String {
    let resolved = config.eval(name, &facts).expect("the option exists");
    resolved.value.map_or_else(String::new, |value| value.to_string())
}

/// What is set where, without places: two texts that say the same have the same. The address of the old bus is left out,
/// since the migration drops one value of it.
pub(crate) fn bones(config: &Config) -> Vec<String> {
    config
        .tree()
        .instances()
        .map(|(id, instance)| {
            let options: Vec<String> = instance
                .options()
                .filter(|assigned| assigned.row.name != "mbus_daemon")
                .map(|assigned| format!("{} = {}", assigned.row.name, assigned.value))
                .collect();
            format!("{} {:?} {options:?}", config.tree().path(id), instance.applies)
        })
        .collect()
}
