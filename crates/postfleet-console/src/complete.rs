//! Candidates for the word under the cursor.

use alloc::collections::BTreeSet;
use alloc::string::{String, ToString};
use alloc::vec::Vec;

use crate::command::{InboundService, exists};
use crate::profile::{Profile, Role};
use crate::table::{Availability, Entry, table};

/// Names that only the executor knows.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Names {
    /// Replicated objects.
    pub objects: Vec<String>,
    /// Nodes of the cluster.
    pub nodes: Vec<String>,
    /// Bindings.
    pub bindings: Vec<String>,
    /// Domains with a queue.
    pub domains: Vec<String>,
    /// Replicated caches.
    pub caches: Vec<String>,
    /// Datasources.
    pub datasources: Vec<String>,
    /// Console commands of policy scripts.
    pub commands: Vec<String>,
    /// What may stand at the cursor in a configuration command: scopes, instances, options, values.
    pub config: Vec<String>,
}

/// What may stand in place of the last word of `line`, the line up to the cursor: whole words in bytewise order,
/// each beginning with what has been typed of it. Only commands that can be run are offered.
#[must_use]
pub fn completions(line: &str, profile: &Profile, names: &Names) -> Vec<String> {
    let mut typed: Vec<&str> = line.split([' ', '\t']).filter(|word| !word.is_empty()).collect();
    let partial = if line.ends_with([' ', '\t']) { "" } else { typed.pop().unwrap_or_default() };
    let mut found = BTreeSet::new();
    match typed.split_first() {
        None => found.extend(["json".to_string(), "xml".to_string()]),
        Some((&("json" | "xml"), rest)) => typed = rest.to_vec(),
        Some(_) => {}
    }
    let (help, given) = match typed.split_first() {
        Some((&("help" | "?"), rest)) => (true, rest),
        Some(_) | None => (false, typed.as_slice()),
    };
    if given.is_empty() && !help {
        found.extend(names.commands.iter().cloned());
    }
    let offered = table().iter().filter(|entry| {
        matches!(entry.availability, Availability::Ready | Availability::Local)
            && exists(entry, profile)
            && !(profile.role == Role::Manager && entry.words.starts_with("cluster "))
    });
    for entry in offered {
        let mut command = entry.words.split(' ');
        let shared = given.iter().zip(command.by_ref()).take_while(|(given, word)| **given == *word).count();
        match entry.words.split(' ').nth(given.len()) {
            Some(next) if shared == given.len() => {
                found.insert(next.to_string());
            }
            Some(_) => {}
            None if !help && shared == entry.words.split(' ').count() => {
                let arguments = given.get(shared..).unwrap_or_default();
                found.extend(argument_candidates(entry, arguments, names));
            }
            None => {}
        }
    }
    let config = given.first() == Some(&"config");
    let begins = |word: &String| {
        // Names of the configuration are written in any case.
        word.starts_with(partial)
            || (config && word.get(..partial.len()).is_some_and(|start| start.eq_ignore_ascii_case(partial)))
    };
    found.into_iter().filter(begins).collect()
}

fn argument_candidates(entry: &Entry, arguments: &[&str], names: &Names) -> Vec<String> {
    let texts = |list: &[&str]| list.iter().map(ToString::to_string).collect();
    match (entry.words, arguments) {
        ("cluster membership", []) => texts(&["-v"]),
        ("cluster shared show" | "cluster shared why", []) => names.objects.clone(),
        ("cluster shared show", [_]) => texts(&["from"]),
        ("cluster shared show", [_, "from"]) => names.nodes.clone(),
        ("count", []) => {
            let services = InboundService::ALL.iter().map(|service| service.word().to_string());
            let bindings = names.bindings.iter().map(|binding| alloc::format!("outbound/{binding}"));
            services.chain(["outbound".to_string()]).chain(bindings).collect()
        }
        ("cache get" | "cache set" | "cache show", []) => names.caches.clone(),
        ("ds_core flush" | "ds_core query", []) => names.datasources.clone(),
        ("config begin", []) => texts(&["from"]),
        ("config begin", ["from"]) => texts(&["scratch"]),
        (
            "config get" | "config eval" | "config set" | "config unset" | "config show"
            | "config showrecurse" | "config where" | "config locate",
            _,
        ) => names.config.clone(),
        ("rebind", []) => names.bindings.iter().cloned().chain(["all".to_string()]).collect(),
        ("rebind", [_]) | ("reroute queue", [] | [_]) => names.domains.clone(),
        ("binding summary", []) => names.bindings.clone(),
        ("binding active" | "binding delayed", []) => names.bindings.clone(),
        ("binding fail domain" | "binding fail domain quiet" | "binding flush domain", []) => {
            names.bindings.clone()
        }
        ("binding fail domain" | "binding fail domain quiet" | "binding flush domain", [_]) => {
            names.domains.iter().cloned().chain(["all".to_string()]).collect()
        }
        ("mailq", [.., "--binding" | "-b"]) => names.bindings.clone(),
        ("mailq", [.., "--domain" | "-d"]) => names.domains.clone(),
        ("mailq", [.., "--limit" | "-l"]) => Vec::new(),
        ("mailq", _) => texts(&["--binding", "--domain", "--limit"]),
        _ => Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(line: &str, expected: &[&str]) {
        let names = Names {
            objects: ["inbound_cidr", "outbound_cidr", "outbound_domains"].map(String::from).into(),
            nodes: ["relay-0-1", "relay-0-2"].map(String::from).into(),
            bindings: ["default"].map(String::from).into(),
            domains: Vec::new(),
            caches: ["users"].map(String::from).into(),
            datasources: ["aliases"].map(String::from).into(),
            commands: ["greet"].map(String::from).into(),
            config: ["ESMTP_Listener", "Idle_Timeout"].map(String::from).into(),
        };
        assert_eq!(completions(line, &Profile::node("relay-0-1", "1.0.0"), &names), expected, "{line:?}");
    }

    #[test]
    fn console_s1_5_completion() {
        check("cl", &["cluster"]);
        check("gr", &["greet"]);
        check("json gr", &["greet"]);
        check("cluster gr", &[]);
        check("cluster s", &["shared"]);
        check("cluster shared ", &["list", "show", "why"]);
        check("cluster shared show o", &["outbound_cidr", "outbound_domains"]);
        check("json cluster shared show inbound_cidr ", &["from"]);
        check("cluster shared show inbound_cidr from ", &["relay-0-1", "relay-0-2"]);
        check("cluster shared show inbound_cidr from relay-0-1 ", &[]);
        check("summary ", &["reset"]);
        check("count o", &["outbound", "outbound/default"]);
        check("mailq -b ", &["default"]);
        check("mailq -b default --d", &["--domain"]);
        check("help cluster sh", &["shared"]);
        check(
            "s",
            &[
                "scriptlet",
                "show",
                "showqueue",
                "shutdown",
                "sieve",
                "sievelib",
                "slot",
                "summary",
                "sysinfo",
            ],
        );
        check("conf", &["config"]);
        check("config ro", &["rollback"]);
        check("config begin ", &["from"]);
        check("config begin from ", &["scratch"]);
        check("config get ", &["ESMTP_Listener", "Idle_Timeout"]);
        check("config set esmtp_listener ", &["ESMTP_Listener", "Idle_Timeout"]);
        check("config set i", &["Idle_Timeout"]);
        check("j", &["json"]);
        check("cache get u", &["users"]);
        check("ds_core query a", &["aliases"]);
    }

    #[test]
    fn without_clustering_nothing_of_it_is_offered() {
        let profile = Profile { clustering: false, ..Profile::node("a", "1") };
        assert_eq!(completions("cl", &profile, &Names::default()), [""; 0]);
    }
}
