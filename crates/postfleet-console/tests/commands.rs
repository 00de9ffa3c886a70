//! Command lines: what they mean, and what is said about those that mean nothing.
#![allow(clippy::unwrap_used, reason = "tests")]

use postfleet_console::{
    Command, CountKind, CountSelector, Event, Form, InboundService, MailqFilter, Names, Profile, Role,
    Server, Status, completions, parse, table,
};
use postfleet_types::WallTime;
use proptest::prelude::*;

fn profile() -> Profile {
    Profile::node("relay-0-1", "1.0.0")
}

fn command(line: &str) -> Command {
    parse(line, &profile()).command.unwrap_or_else(|failure| panic!("{line}: {failure}"))
}

fn failure(line: &str) -> (Status, String) {
    let failure = parse(line, &profile()).command.unwrap_err();
    (failure.status, failure.message)
}

/// What a server without an executor answers to one line of plain mode.
fn answered(line: &str, profile: &Profile) -> String {
    let mut server = Server::new(profile);
    let mut out = Vec::new();
    server.receive(line.as_bytes());
    server.receive(b"\n");
    server.receive_end();
    assert_eq!(
        server.poll_event(profile, WallTime::default()),
        Some(Event::Close),
        "{line} needs an executor"
    );
    while let Some(bytes) = server.poll_output() {
        out.extend_from_slice(&bytes);
    }
    let out = String::from_utf8(out).unwrap();
    out.split_once('\n').unwrap().1.to_string()
}

#[test]
fn commands_are_recognised() {
    assert_eq!(command("cluster info"), Command::ClusterInfo);
    assert_eq!(command("  cluster \t membership  -v "), Command::Membership { verbose: true });
    assert_eq!(
        command("cluster shared show outbound_domain from Relay-0-2"),
        Command::SharedShow { object: "outbound_domain".into(), from: Some("Relay-0-2".into()) }
    );
    assert_eq!(command("summary"), Command::Summary);
    assert_eq!(command("summary with-mobile"), Command::Summary);
    assert_eq!(command("summary reset"), Command::SummaryReset);
    assert_eq!(command("? summary reset"), Command::Help { topic: "summary reset".into() });
    assert_eq!(
        command("count SMTP 16-32"),
        Command::Count {
            kind: CountKind::Inbound(InboundService::Smtp),
            selector: CountSelector::Lengths { low: 16, high: 32 }
        }
    );
    assert_eq!(
        command("count outbound/b-1 2001:db8::/32"),
        Command::Count {
            kind: CountKind::OutboundBinding("b-1".into()),
            selector: CountSelector::Block("2001:db8::/32".parse().unwrap())
        }
    );
    assert_eq!(
        command("mailq -d Example.NET --binding b1 -d b.example -l 5"),
        Command::Mailq(MailqFilter {
            domains: vec!["example.net".into(), "b.example".into()],
            bindings: vec!["b1".into()],
            limit: 5
        })
    );
}

#[test]
fn console_s4_3_form_words_and_normal_text() {
    let request = parse("xml  cluster   shared show   'inbound_cidr'", &profile());
    assert_eq!((request.form, request.text.as_str()), (Form::Xml, "cluster shared show 'inbound_cidr'"));
    let request = parse("json domains", &profile());
    assert_eq!((request.form, request.text.as_str()), (Form::Json, "domain all"));
    assert_eq!(parse("\"xml\" summary", &profile()).form, Form::Text);
}

#[test]
fn wrong_lines_say_what_was_expected() {
    let lines = [
        "cluster",
        "cluster nosuch",
        "cluster shared",
        "cluster shared nosuch inbound_cidr",
        "cluster shared show",
        "cluster shared show a from",
        "cluster shared show a of b",
        "cluster membership -x",
        "cluster info now",
        "cluster duravip show",
        "cluster duravip",
        "cluster jobs",
        "count",
        "count smtp 32",
        "count SMTP 33-129",
        "count SMTP 32-16",
        "count SMTP 10.0.0.0/33",
        "count outbound/ 32",
        "mailq --limit",
        "mailq --limit x",
        "mailq --limits 3",
        "summary all",
        "config digest now",
        "config get",
        "config set idle_timeout",
        "config begin at once",
        "config commit now",
        "config nosuch",
        "module list",
        "inbound_audit",
        "inbound_audit show ip",
        "inbound_audit show ip 10.0.0.0/33",
        "inbound_audit:inbound_audit1 add s 300,6 10.0.0.1",
        "inbound_audit subtract s 300 10.0.0.1 1",
        "inbound_audit count_cidr 10.0.0.0/8 s 300,6 0 7",
        "inbound_audit delete_ip s 300,6 10.0.0.1",
        "inbound_audit load",
        "inbound_audit define s ip 300,6",
        "sievelib gauge_cache add c k 0",
        "sievelib gauge_cache define c 0 60",
        "nosuch:one stats",
        "threads",
        "tls rekey",
        "quit now",
        "pid 'x",
        "xml",
    ];
    let shown: Vec<String> = lines
        .iter()
        .map(|line| {
            let (status, message) = failure(line);
            format!("{line}\n    {} {message}", status.word())
        })
        .collect();
    insta::assert_snapshot!(shown.join("\n"));
}

#[test]
fn console_case_19_unknown_command() {
    // Whether a script has registered it is for the node to say.
    let words = vec!["nosuch".to_owned(), "a b".to_owned()];
    assert_eq!(parse("nosuch 'a b'", &profile()).command, Ok(Command::Registered(words)));
    let failure = postfleet_console::Failure::unknown_command("nosuch");
    assert_eq!(
        (failure.status.exit_code(), failure.message.as_str()),
        (2, "Unknown command: nosuch. Try 'help'.")
    );
}

#[test]
fn console_s6_without_clustering_there_are_no_cluster_commands() {
    let profile = Profile { clustering: false, ..profile() };
    let failure = parse("cluster info", &profile).command.unwrap_err();
    assert_eq!(failure.message, "Unknown command: cluster. Try 'help'.");
    assert!(answered("help", &profile).lines().all(|line| !line.starts_with("cluster")));
}

#[test]
fn console_case_23_cluster_commands_on_the_manager() {
    let profile = Profile { role: Role::Manager, ..profile() };
    let failure = parse("cluster info", &profile).command.unwrap_err();
    assert_eq!(failure.message, "cluster commands run on nodes only; use broadcast or unicast.");
    assert_eq!(failure.status, Status::Error);
}

#[test]
fn console_s6_2_cluster_help() {
    assert_eq!(
        answered("cluster help", &profile()),
        "abort <id>
    Abort a cluster job
arp show
    Show hardware addresses learned for cluster addresses
duravip announce view
    Announce this node's current DuraVIP view
duravip debug on|off
    Turn DuraVIP debugging on or off
duravip move <vip|binding|node> [to] <node|auto>
    Move DuraVIPs to another node
duravip show
    Show the state of DuraVIPs
duravip show tables
    Show the DuraVIP state tables as XML
forget <node>
    Declare a lost node gone for good
help
    Show this list
info
    Show bus connection and groups
jobs
    List cluster jobs
membership [-v]
    Show the members of the cluster
nodeaddr
    Show this node's cluster service address
nodename
    Show this node's name
reset
    Leave and rejoin the cluster
shared list
    List replicated objects
shared show <object> [from <node>]
    Show a replicated object
shared why <object> <key>
    Show what a limit or throttle is waiting for
show logs
    Show cluster logs and their subscribers
"
    );
}

#[test]
fn help_pages() {
    let topics =
        ["", "summary", "cluster shared show", "cluster shared", "count", "nosuch", "config get", "threads"];
    let pages: Vec<String> = topics
        .iter()
        .map(|topic| {
            let line = format!("help {topic}");
            format!("> {}\n{}", line.trim_end(), answered(&line, &profile()))
        })
        .collect();
    insta::assert_snapshot!(pages.join("\n"));
}

#[test]
fn every_command_of_the_table_has_an_answer() {
    for entry in table() {
        let request = parse(entry.words, &profile());
        if let Err(failure) = &request.command {
            assert_ne!(
                failure.message,
                format!("Unknown command: {}. Try 'help'.", entry.words),
                "{}",
                entry.words
            );
        }
        assert!(!answered(&format!("help {}", entry.words), &profile()).is_empty(), "{}", entry.words);
    }
}

proptest! {
    #[test]
    fn any_line_is_answered(line in any::<String>()) {
        postfleet_console::fuzz::fuzz_line(line.as_bytes());
    }

    /// Lines made of the words of the language.
    #[test]
    fn lines_of_known_words_are_answered(
        words in prop::collection::vec(prop::sample::select(vec![
            "xml", "json", "cluster", "shared", "show", "from", "help", "?", "count", "SMTP", "8-32", "mailq",
            "-b", "--limit", "3", "'", "\"a b\"", "sieve:x", "summary", "reset", "domains", "\\pager",
        ]), 0..7),
    ) {
        let line = words.join(" ");
        postfleet_console::fuzz::fuzz_line(line.as_bytes());
    }

    /// A candidate put in place of the word under the cursor is a candidate again.
    #[test]
    fn candidates_are_stable(cut in 0_usize..40) {
        let names = Names { objects: vec!["inbound_cidr".into()], ..Names::default() };
        let full = "json cluster shared show inbound_cidr from";
        let line = full.get(..cut).unwrap_or(full);
        for candidate in completions(line, &profile(), &names) {
            let start = line.rfind(' ').map_or(0, |at| at + 1);
            let completed = format!("{}{candidate}", line.get(..start).unwrap());
            prop_assert!(completions(&completed, &profile(), &names).contains(&candidate));
        }
    }
}

/// Replication document, section 13.1.
#[test]
fn replication_s13_1_help_of_inbound_audit() {
    let shown = answered("inbound_audit help", &profile());
    let expected = "\
show ip <ip[/mask]>
    Display verbose statistics for the specified ip or cidr block
delete_ip <ip> <series> <parameters>
    Delete an IP from a defined named series
count_cidr <ip[/mask]> <series> <parameters> <period_start> <period_end>
    Count a CIDR in a named series
add <series> <parameters> <ip> <increment>
    Add a value to a CIDR in a named series
subtract <series> <parameters> <ip> <decrement>
    Subtract a value from a CIDR in a named series
show all
    Display verbose statistics for all domains as a CSV list
load <series> <filename>
    Load a series from a file.  The filename can be omitted if
    the file has the same name as the series
";
    assert!(shown.contains(expected), "{shown}");
}
