//! Saving changes into files: section 9.6.

#[path = "support/console.rs"]
mod console;
mod support;

use console::Process;
use postfleet_config::live::Change;
use postfleet_config::{Config, MemoryFiles};
use proptest::prelude::*;
use support::*;

const BASE: &str = "/etc/t/base.conf";
const TUNING: &str = "/etc/t/tuning.conf";

/// What runs is what the files say.
fn saved_is_running(process: &Process) {
    let loaded = Config::load(&process.files, &request());
    let report = loaded.report();
    let loaded = loaded.config.unwrap_or_else(|| panic!("{report}"));
    let change = Change::between(process.running.configured(), &loaded, vec![]);
    assert_eq!(change.differences, []);
}

fn a62(main: &str) -> Process {
    Process::with(
        MemoryFiles::new()
            .with(MAIN, main)
            .with(BASE, "Domain \"example.org\" { Idle_Timeout = 9 }\n")
            .with(TUNING, "Domain \"example.org\" { Max_Outbound_Connections = 10 }\n"),
    )
}

const A62: &str = "Retry_Interval = 600\nreadonly_include \"base.conf\"\ninclude \"tuning.conf\"\n";
const A62_CHANGES: [&str; 4] = [
    "config set retry_interval 700",
    "config set domain example.org idle_timeout 12",
    "config set domain example.org connect_timeout 30",
    "config set domain example.net connect_timeout 40",
];

#[test]
fn configuration_a62_changes_go_where_they_belong() {
    let mut process = a62(A62);
    for line in A62_CHANGES {
        process.run(line);
    }
    let generation = process.running.generation();
    assert_eq!(
        process.write_back(None),
        "Configuration written to /etc/t/ecelerity.conf, /etc/t/tuning.conf."
    );
    assert_eq!(
        process.file(MAIN),
        "Retry_Interval = 700\nreadonly_include \"base.conf\"\ninclude \"tuning.conf\"\n\
         Domain \"example.net\" { Connect_Timeout = 40 }\n"
    );
    assert_eq!(process.file(BASE), "Domain \"example.org\" { Idle_Timeout = 9 }\n");
    assert_eq!(
        process.file(TUNING),
        "Domain \"example.org\" { Max_Outbound_Connections = 10 Idle_Timeout = 12 Connect_Timeout = 30 }\n"
    );
    assert_eq!((process.running.generation(), process.running.unsaved()), (generation, 0));
    process.check(
        "config where domain example.org idle_timeout",
        "Idle_Timeout = 12
  is set in Domain:example.org: at /etc/t/tuning.conf:1:69
  hides 9 in Domain:example.org: at /etc/t/base.conf:1:39",
    );
    process.reload();
    process.check("config eval retry_interval", "Retry_Interval = 700");
    process.check("config eval domain example.org idle_timeout", "Idle_Timeout = 12");
    process.check("config eval domain example.org connect_timeout", "Connect_Timeout = 30");
    process.check("config eval domain example.net connect_timeout", "Connect_Timeout = 40");
    assert_eq!(process.write_back(None), "No unsaved changes.");
}

#[test]
fn configuration_a62_local_changes_only_takes_all() {
    let local = "/etc/t/local.conf";
    let text = format!("Local_Changes_File = \"local.conf\" Local_Changes_Only = true\n{A62}");
    let mut process = a62(&text);
    for line in A62_CHANGES {
        process.run(line);
    }
    assert_eq!(process.write_back(None), "Configuration written to /etc/t/local.conf.");
    assert_eq!(process.file(MAIN), text);
    let written = "Retry_Interval = 700\nDomain \"example.org\" {\n  Idle_Timeout = 12\n  Connect_Timeout = 30\n}\n\
                   Domain \"example.net\" { Connect_Timeout = 40 }\n";
    assert_eq!(process.file(local), written);
    saved_is_running(&process);
    // The file exists now: values are replaced in it, others join them.
    process.run("config set retry_interval 800");
    process.run("config set domain example.org retry_interval 5");
    process.write_back(None);
    assert_eq!(
        process.file(local),
        written.replace("700", "800").replace("Timeout = 30\n}", "Timeout = 30\n  Retry_Interval = 5\n}")
    );
    // A value elsewhere cannot be unset from there.
    process.run("config unset domain example.org max_outbound_connections");
    assert_eq!(
        process.write_back(None),
        "Warning: not all changes could be saved.\n\
         # config unset domain example.org max_outbound_connections: it stays set at /etc/t/tuning.conf line 1"
    );
    assert_eq!(process.running.unsaved(), 1);
}

#[test]
fn every_other_byte_stays() {
    let text = "\u{feff}# caf\u{e9} {\r\nRETRY_interval\t=\t\"600\"   # why\r\n\r\nESMTP_Listener\r\n{\r\n\t# first\r\n\tListen \":25\" {}\r\n\
                \tIdle_Time = 300 /* five } minutes */\r\n}\r\nRelay_Hosts = (\r\n  10.0.0.1 # one\r\n  10.0.0.2\r\n)\r\n# end";
    let mut bytes = text.as_bytes().to_vec();
    bytes.extend_from_slice(b" \xff\xfe odd\r\nMax_Retries = 3");
    let mut process = Process::with(MemoryFiles::new().with(MAIN, bytes.clone()));
    for line in [
        "config set retry_interval 700",
        "config set esmtp_listener idle_time 60",
        "config set esmtp_listener listen :25 idle_time 7",
        "config set esmtp_listener listen :587 enable false",
        "config set esmtp_listener listen :587 smtp_extensions ( STARTTLS \"8BITMIME\" )",
        "config set relay_hosts ( 10.0.0.9 )",
        "config set max_retries 4",
        "config set gateway \"mx.example\"",
    ] {
        let echoed = process.run(line);
        assert!(!echoed.starts_with('!'), "{echoed}");
    }
    assert_eq!(process.write_back(None), "Configuration written to /etc/t/ecelerity.conf.");
    use postfleet_config::Files as _;
    let written = process.files.read(MAIN).unwrap();
    let expected = text
        .replace("\"600\"", "700")
        .replace("= 300", "= 60")
        .replace("\":25\" {}", "\":25\" { Idle_Time = 7 }")
        .replace(
            "minutes */\r\n}",
            "minutes */\r\n\tListen \":587\" {\r\n\t  Enable = false\r\n\t  SMTP_Extensions = ( STARTTLS \"8BITMIME\" )\r\n\t}\r\n}",
        )
        .replace("(\r\n  10.0.0.1 # one\r\n  10.0.0.2\r\n)", "( 10.0.0.9 )");
    let mut expected = expected.into_bytes();
    expected.extend_from_slice(b" \xff\xfe odd\r\nMax_Retries = 4\r\nGateway = \"mx.example\"\r\n");
    assert_eq!(String::from_utf8_lossy(&written), String::from_utf8_lossy(&expected));
    assert_eq!(written, expected);
    saved_is_running(&process);
}

#[test]
fn what_is_unset_leaves_every_writable_file() {
    let mut process = Process::with(
        MemoryFiles::new()
            .with(
                MAIN,
                "Idle_Timeout = 7 # why\nRetry_Interval = 9\ninclude tuning.conf\nDomain a.example { Idle_Timeout = 1 Retry_Interval = 2 }\n\
                 Domain b.example {\n  Idle_Timeout = 3\n}\nreadonly_include base.conf\n",
            )
            .with(TUNING, "Idle_Timeout = 8\nDomain b.example { include more.conf }\n")
            .with("/etc/t/more.conf", "Retry_Interval = 4\n")
            .with(BASE, "Max_Retries = 3\nDomain c.example {\n}\n"),
    );
    for line in [
        "config unset idle_timeout",
        "config unset domain a.example idle_timeout",
        "config unset domain b.example",
        "config unset max_retries",
        "config unset domain c.example",
        "config set retry_interval 10",
    ] {
        let echoed = process.run(line);
        assert!(!echoed.starts_with('!'), "{echoed}");
    }
    assert_eq!(
        process.write_back(None),
        "Configuration written to /etc/t/ecelerity.conf, /etc/t/tuning.conf.
Warning: not all changes could be saved.
# config unset max_retries: it stays set at /etc/t/base.conf line 1
# config unset domain c.example: the stanza at /etc/t/base.conf line 2 cannot be taken out"
    );
    assert_eq!(
        process.file(MAIN),
        "# why\nRetry_Interval = 10\ninclude tuning.conf\nDomain a.example { Retry_Interval = 2 }\nreadonly_include base.conf\n"
    );
    assert_eq!(process.file(TUNING), "");
    assert_eq!(process.running.unsaved(), 2);
    process.check("config get max_retries", "! Option 'Max_Retries' is not set in scope ''.");
}

#[test]
fn files_changed_on_disk_are_not_touched() {
    let mut process = a62(A62);
    process.run("config set retry_interval 700");
    process.run("config set domain example.org idle_timeout 12");
    process.files = process.files.clone().with(TUNING, "Domain \"example.org\" {}\n");
    assert_eq!(
        process.write_back(None),
        "! /etc/t/tuning.conf has changed on disk since it was loaded; reload first"
    );
    assert_eq!(process.file(MAIN), A62);
    assert_eq!(process.running.unsaved(), 2);
    // A change to a file that is not written does not matter.
    process.run("config unset domain example.org idle_timeout");
    let mut process = a62(A62);
    process.run("config set retry_interval 700");
    process.files = process.files.clone().with(TUNING, "# other\n");
    assert_eq!(process.write_back(None), "Configuration written to /etc/t/ecelerity.conf.");
}

#[test]
fn with_nowhere_to_write_the_text_is_shown_and_kept() {
    let mut process = Process::with(
        MemoryFiles::new()
            .with_read_only(MAIN, "Retry_Interval = 600\ninclude tuning.conf")
            .with_read_only(TUNING, ""),
    );
    process.run("config set retry_interval 700");
    process.run("config set domain a.example retry_interval 5");
    let unsaved = "Warning: not all changes could be saved.\nRetry_Interval = 700\nDomain \"a.example\" { Retry_Interval = 5 }";
    assert_eq!(process.write_back(None), unsaved);
    assert_eq!(process.running.unsaved(), 2);
    assert_eq!(process.write_back(None), unsaved);
}

#[test]
fn the_local_file_takes_what_a_read_only_file_would_hide() {
    // The main file comes first, so what it says of the domain loses to the read-only file behind it.
    let main = "Domain \"example.org\" { Retry_Interval = 1 }\nreadonly_include base.conf\n";
    let mut process = Process::with(
        MemoryFiles::new().with(MAIN, main).with(BASE, "Domain \"example.org\" { Idle_Timeout = 9 }\n"),
    );
    process.run("config set domain example.org idle_timeout 12");
    assert_eq!(
        process.write_back(None),
        "Warning: not all changes could be saved.\nDomain \"example.org\" { Idle_Timeout = 12 }"
    );
    process.run("config set local_changes_file /etc/t/local.conf");
    assert_eq!(
        process.write_back(None),
        "Configuration written to /etc/t/ecelerity.conf, /etc/t/local.conf."
    );
    assert_eq!(process.file("/etc/t/local.conf"), "Domain \"example.org\" { Idle_Timeout = 12 }\n");
    assert_eq!(process.file(MAIN), format!("{main}Local_Changes_File = /etc/t/local.conf\n"));
    saved_is_running(&process);
}

#[test]
fn changes_to_one_file_are_still_unsaved() {
    let mut process = a62(A62);
    process.run("config set retry_interval 700");
    process.run("config unset domain example.org max_outbound_connections");
    assert_eq!(
        process.write_back(Some("/etc/t/changes.conf")),
        "Configuration written to /etc/t/changes.conf.
Warning: not all changes could be saved.
# config unset domain example.org max_outbound_connections: a file cannot say that"
    );
    assert_eq!(process.file("/etc/t/changes.conf"), "Retry_Interval = 700\n");
    assert_eq!(process.running.unsaved(), 2);
    assert_eq!(
        process.write_back(Some(BASE)),
        "! /etc/t/base.conf is part of the configuration; leave the path out to write changes where they belong"
    );
}

#[test]
fn a_file_read_twice_is_not_written() {
    let mut process = Process::with(
        MemoryFiles::new()
            .with(MAIN, "include tuning.conf Domain a.example { include tuning.conf }\n")
            .with(TUNING, "Idle_Timeout = 3\n"),
    );
    process.run("config set idle_timeout 4");
    process.run("config set domain a.example idle_timeout 5");
    assert_eq!(process.write_back(None), "Configuration written to /etc/t/ecelerity.conf.");
    assert_eq!(
        process.file(MAIN),
        "include tuning.conf Domain a.example { include tuning.conf Idle_Timeout = 5 }\nIdle_Timeout = 4\n"
    );
    saved_is_running(&process);
}

#[test]
fn words_of_metrics_are_replaced_wherever_they_stand() {
    let text = "cluster {\n  Replicate \"metrics\" { parameters = \"connect\" }\n  Replicate \"metrics\" { parameters = \"reception\" }\n}\n";
    let mut process = Process::new(text);
    process.run("config set cluster replicate metrics parameters \"rejection\"");
    assert_eq!(process.write_back(None), "Configuration written to /etc/t/ecelerity.conf.");
    assert_eq!(
        process.file(MAIN),
        "cluster {\n  Replicate \"metrics\" { }\n  Replicate \"metrics\" { parameters = \"rejection\" }\n}\n"
    );
}

#[test]
fn stanzas_of_version_2_are_not_edited() {
    let text = "ESMTP_Listener = (\n  *:2525\n)\nRetry_Interval = 600\n";
    let mut process = Process::new(text);
    process.check("config set esmtp_listener listen *:2525 idle_time 9", "        Idle_Time = 9");
    process.run("config set retry_interval 700");
    assert_eq!(process.write_back(None), "Configuration written to /etc/t/ecelerity.conf.");
    assert_eq!(
        process.file(MAIN),
        text.replace("600", "700") + "ESMTP_Listener {\n  Listen \"*:2525\" { Idle_Time = 9 }\n}\n"
    );
    saved_is_running(&process);
}

const OPTIONS: [(&str, &[&str]); 4] = [
    ("Idle_Timeout", &["3", "\"4\"", "5"]),
    ("Retry_Interval", &["60", "'70'", "80"]),
    ("Suspend_Delivery", &["on", "0", "\"true\""]),
    ("Gateway", &["\"a.example\"", "b.example", "\"\""]),
];
const PLACES: [&str; 5] =
    ["", "Domain a.example", "Domain \"/a|b/\"", "Binding_Group g", "Binding_Group g Domain a.example"];

/// A body of random items; every line carries a comment of its own.
fn body(depth: u32) -> BoxedStrategy<String> {
    let option = (0..OPTIONS.len(), 0..3_usize, 0..4_u32).prop_map(|(option, value, style)| {
        let (name, values) = OPTIONS[option];
        match style {
            0 => format!("{name} = {}\n", values[value]),
            1 => format!("\t{}={} # note {name}\n", name.to_uppercase(), values[value]),
            2 => format!("/* before */ {name}   =\n   {}\n", values[value]),
            _ => format!("{name} = {}\r\n# line\n", values[value]),
        }
    });
    let stanza = |heading: &'static str, inner: BoxedStrategy<String>| {
        (inner, prop::bool::ANY).prop_map(move |(inner, flat)| {
            let one_line = !inner.contains(['#', '\n']) && flat;
            if inner.is_empty() || one_line {
                format!("{heading} {{{inner}}}\n")
            } else {
                format!("{heading}\n{{\n{inner}}} # closed\n")
            }
        })
    };
    let mut choices: Vec<BoxedStrategy<String>> = vec![option.boxed()];
    if depth == 0 {
        choices.push(stanza("Domain a.example", body(2)).boxed());
        choices.push(stanza("domain \"/a|b/\"", body(2)).boxed());
        choices.push(stanza("Binding_Group \"g\"", body(1)).boxed());
        choices.push(
            prop::sample::select(vec!["include tuning.conf\n", "readonly_include base.conf\n"])
                .prop_map(String::from)
                .boxed(),
        );
    } else if depth == 1 {
        choices.push(stanza("Domain A.example", body(2)).boxed());
    }
    prop::collection::vec(prop::strategy::Union::new(choices), 0..5).prop_map(|items| items.concat()).boxed()
}

fn edits() -> impl Strategy<Value = Vec<String>> {
    let edit =
        (0..PLACES.len(), 0..OPTIONS.len(), 0..3_usize, 0..5_u32).prop_map(|(place, option, value, what)| {
            let (name, values) = OPTIONS[option];
            match what {
                0 => format!("config unset {} {name}", PLACES[place]),
                1 => format!("config unset {}", PLACES[place]),
                _ => format!("config set {} {name} {}", PLACES[place], values[value]),
            }
        });
    prop::collection::vec(edit, 1..8)
}

fn cases() -> ProptestConfig {
    #[expect(clippy::disallowed_methods, reason = "a longer run is asked for through the environment")]
    let cases = std::env::var("POSTFLEET_CASES").ok().and_then(|text| text.parse().ok()).unwrap_or(64);
    ProptestConfig { cases, failure_persistence: None, ..ProptestConfig::default() }
}

#[test]
fn typed_lines_give_an_answer() {
    let seeds = [
        include_str!("../../../fuzz/seeds/configuration_commands/transaction"),
        include_str!("../../../fuzz/seeds/configuration_commands/places"),
        include_str!("../../../fuzz/seeds/configuration_commands/scratch"),
    ];
    for text in seeds {
        for end in (0..=text.len()).step_by(5).chain([text.len()]) {
            postfleet_config::live::fuzz_entry(&text.as_bytes()[..end]);
        }
    }
}

proptest! {
    #![proptest_config(cases())]

    /// Whatever is typed, nothing panics, and what is saved is what runs.
    #[test]
    fn any_commands_give_an_answer(words in prop::collection::vec(prop::sample::select(vec![
        "config", "begin", "from", "scratch", "commit", "set", "unset", "get", "where", "locate", "replay", "rollback", "\n",
        "\n", "idle_timeout", "domain", "a.example", "\"/a|b/\"", "binding_group", "g", "binding", "b", "esmtp_listener",
        "listen", ":25", "retry_interval", "=", "5", "\"6\"", "(", ")", "[", "]", "'", "#", "é", "\t",
    ]), 0..60)) {
        postfleet_config::live::fuzz_entry(words.join(" ").as_bytes());
        postfleet_config::live::fuzz_entry(words.concat().as_bytes());
    }

    /// Whatever was changed: what is saved and what is left together are what runs, a reload after a complete write-back
    /// changes nothing, and comments stay.
    #[test]
    fn reading_again_gives_what_runs(
        main in body(0),
        tuning in body(0).prop_map(|text| text.replace("readonly_include", "# readonly").replace("include", "# include")),
        base in body(0).prop_map(|text| text.replace("readonly_include", "# readonly").replace("include", "# include")),
        edits in edits(),
    ) {
        let mut process =
            Process::with(MemoryFiles::new().with(MAIN, main.clone()).with(TUNING, tuning.clone()).with(BASE, base.clone()));
        for line in &edits {
            process.run(line);
        }
        let before = process.running.configured().clone();
        let unsaved = process.running.unsaved();
        let said = process.write_back(None);
        prop_assert!(!said.starts_with('!'), "{said}\n{main}\n--\n{tuning}\n--\n{base}\n--\n{edits:?}");
        let change = Change::between(&before, process.running.configured(), vec![]);
        prop_assert_eq!(change.differences, vec![]);
        if process.running.unsaved() == 0 {
            saved_is_running(&process);
        } else {
            prop_assert!(said.contains("not all changes"), "{said}");
        }
        prop_assert_eq!(process.file(BASE), base);
        if unsaved == 0 {
            prop_assert_eq!(process.file(MAIN), main.clone());
        }
        // Only a stanza that is taken out takes its comments along.
        if !edits.iter().any(|line| OPTIONS.iter().all(|(name, _)| !line.contains(name))) {
            for (path, text) in [(MAIN, &main), (TUNING, &tuning)] {
                let comments = |text: &str| [text.matches('#').count(), text.matches("/*").count()];
                prop_assert_eq!(comments(&process.file(path)), comments(text), "{}", process.file(path));
            }
        }
    }
}

#[test]
fn a_local_file_that_appeared_since_the_load_may_hold_comments_only() {
    let local = "/etc/t/local.conf";
    for (held, accepted) in [("# mine", true), ("Idle_Timeout = 9\n", false)] {
        let main = "Local_Changes_File = \"local.conf\"\nLocal_Changes_Only = on\n";
        let mut process = Process::with(MemoryFiles::new().with(MAIN, main));
        process.files = process.files.clone().with(local, held);
        process.run("config set retry_interval 700");
        let answer = process.write_back(None);
        if accepted {
            assert_eq!(process.file(local), "# mine\nRetry_Interval = 700\n", "{answer}");
        } else {
            assert!(
                answer.contains("local.conf exists and is not part of the running configuration"),
                "{answer}"
            );
            assert_eq!(process.file(local), held);
        }
    }
}

/// A `Local_Changes_File` that only a console has named takes the changes, and the answer says that nothing reads it yet.
#[test]
fn a_local_file_named_at_a_console_takes_what_has_no_other_place() {
    let files = MemoryFiles::new().with_read_only(MAIN, "Retry_Interval = 600\n");
    let mut process = Process::with(files);
    process.run("config set retry_interval 700");
    process.run("config set domain example.org idle_timeout 12");
    let unsaved = process.write_back(None);
    assert!(unsaved.starts_with("Warning: not all changes could be saved.\n"), "{unsaved}");
    assert_eq!(process.running.unsaved(), 2);
    process.run("config set local_changes_file /etc/t/local.conf");
    let warned = "Configuration written to /etc/t/local.conf.\n\
                  Warning: nothing reads /etc/t/local.conf; put Local_Changes_File = \"/etc/t/local.conf\" into \
                  /etc/t/ecelerity.conf, or a reload loses 3 change(s).";
    assert_eq!(process.write_back(None), warned);
    let text = "Retry_Interval = 700\nDomain \"example.org\" { Idle_Timeout = 12 }\n\
                Local_Changes_File = /etc/t/local.conf\n";
    assert_eq!(process.file("/etc/t/local.conf"), text);
    assert_eq!(process.running.unsaved(), 3);
    // Once more, with another value: the file is ours, and holds what it should.
    process.run("config set retry_interval 800");
    assert_eq!(process.write_back(None), warned);
    let changed = text.replace("Retry_Interval = 700\n", "") + "Retry_Interval = 800\n";
    assert_eq!(process.file("/etc/t/local.conf"), changed);
    // Somebody wrote into it meanwhile.
    process.files = process.files.clone().with("/etc/t/local.conf", "Retry_Interval = 5\n");
    let refused = process.write_back(None);
    assert!(refused.starts_with("! /etc/t/local.conf exists and is not part of"), "{refused}");
    // The operator names it where it is read: everything is in effect after a reload.
    process.files = process
        .files
        .clone()
        .with("/etc/t/local.conf", text)
        .with(MAIN, "Retry_Interval = 600\nLocal_Changes_File = local.conf\n");
    process.reload();
    process.check("config get retry_interval", "Retry_Interval = 700");
    process.check("config get domain example.org idle_timeout", "        Idle_Timeout = 12");
}
