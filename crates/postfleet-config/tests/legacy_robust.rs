//! The 2.x form under damage, and the promise of the migration: the new text loads to the same tree.
#![allow(clippy::unwrap_used, reason = "tests")]

mod support;

use postfleet_config::{Config, LoadOutcome, MemoryFiles, format, fuzz_migrate, migrate};
use proptest::prelude::*;
use support::*;

/// Samples of both forms.
const SAMPLES: [&str; 4] = [
    include_str!("samples/cluster_2x.conf"),
    include_str!("samples/cluster_2x.migrated"),
    include_str!("samples/modules_2x.conf"),
    include_str!("samples/node_4x.conf"),
];

fn migrated(text: &str) -> Option<String> {
    let files = MemoryFiles::new().with(MAIN, text);
    migrate(&files, &request(), &[MAIN.to_string()], true).remove(0).text
}

fn has_errors(outcome: &LoadOutcome) -> bool {
    outcome.diagnostics.iter().any(postfleet_config::Diagnostic::is_error)
}

/// What must hold of any text.
fn check(text: &str) {
    let outcome = load(text);
    assert_eq!(outcome.config.is_none(), has_errors(&outcome), "{text}");
    if let Some(again) = migrated(text) {
        assert_eq!(
            migrated(&again).as_deref(),
            Some(again.as_str()),
            "migrating again changes something\n{text}"
        );
        let new = load(&again);
        let before = outcome.config.as_ref().map(bones);
        let after = new.config.as_ref().map(bones);
        assert_eq!(before, after, "{text}\n--\n{}\n--\n{again}\n--\n{}", outcome.report(), new.report());
    } else {
        assert!(outcome.config.is_none(), "{text}");
    }
    if let Ok(formatted) = format(MAIN, text.as_bytes()) {
        assert_eq!(format(MAIN, formatted.as_bytes()).as_deref(), Ok(formatted.as_str()), "{text}");
        let new = load(&formatted);
        assert_eq!(outcome.config.as_ref().map(bones), new.config.as_ref().map(bones), "{text}\n{formatted}");
    }
}

#[test]
fn every_sample_loads() {
    for sample in SAMPLES {
        let outcome = load(sample);
        assert!(outcome.config.is_some(), "{}", outcome.report());
        check(sample);
    }
}

/// A prefix is an error, or a success that has nothing the whole sample does not have.
#[test]
fn no_prefix_of_a_sample_is_a_wrong_success() {
    for sample in SAMPLES {
        let whole = load(sample).config.map(|config| settings(&config)).expect("the sample loads");
        for end in (0..sample.len()).filter(|end| sample.is_char_boundary(*end)) {
            let prefix = &sample[..end];
            let outcome = load(prefix);
            assert_eq!(outcome.config.is_none(), has_errors(&outcome), "{prefix}");
            // A prefix that ends inside a bare value has a shorter value; what was whole before stays as it was.
            let last_line = prefix.rfind('\n').map_or(0, |at| at + 1);
            if let Some(config) = outcome.config
                && prefix[last_line..].trim().is_empty()
            {
                for setting in settings(&config) {
                    assert!(whole.contains(&setting), "{setting}\n{prefix}");
                }
            }
        }
    }
}

/// Every option with its place in the tree.
fn settings(config: &Config) -> Vec<String> {
    config
        .tree()
        .instances()
        .flat_map(|(id, instance)| {
            let path = config.tree().path(id);
            instance
                .options()
                .map(move |assigned| format!("{path}{} = {}", assigned.row.name, assigned.value))
                .collect::<Vec<_>>()
        })
        .collect()
}

#[test]
fn samples_without_a_piece_are_migrated_or_refused() {
    for sample in SAMPLES {
        for (start, _) in sample.char_indices().step_by(101) {
            let Some(end) = sample[start..].char_indices().nth(3).map(|(at, _)| start + at) else {
                continue;
            };
            fuzz_migrate(format!("{}{}", &sample[..start], &sample[end..]).as_bytes());
        }
    }
}

const CASES: u32 = 64;

fn cases() -> u32 {
    #[expect(clippy::disallowed_methods, reason = "a longer run is asked for through the environment")]
    std::env::var("POSTFLEET_CASES").ok().and_then(|text| text.parse().ok()).unwrap_or(CASES)
}

/// The same cases every time, unless a longer run is asked for.
fn seed() -> proptest::test_runner::RngSeed {
    if cases() == CASES {
        proptest::test_runner::RngSeed::Fixed(2)
    } else {
        proptest::test_runner::RngSeed::Random
    }
}

fn block() -> impl Strategy<Value = String> {
    prop::sample::select(vec![
        "0.0.0.0/0",
        "10.0.0.0/8",
        "10.1.0.0/16",
        "10.1.2.0/24",
        "10.1.2.3",
        "10.128.0.0/9",
        "10.0.0.0/9",
        "192.0.2.0/24",
        "::/0",
        "2001:db8::/32",
        "10.1.2.3/32",
    ])
    .prop_map(str::to_string)
}

fn property() -> impl Strategy<Value = String> {
    prop_oneof![
        (1..9_u32).prop_map(|n| format!("personality [ idle_time = {n} ]")),
        (1..9_u32)
            .prop_map(|n| format!("limits [ max_receptions_per_connection = {n} message_size = {n}000 ]")),
        "[a-c]".prop_map(|k| format!("context [ {k} = v{k} ]")),
        Just("relay_for_sending_domains".to_string()),
        Just("relay_hosts ( 10.0.0.0/8 )".to_string()),
        Just("XCLIENT [ extension = XCLIENT ]".to_string()),
        Just("ALWAYS-ALLOW".to_string()),
        Just("personality [ banner_hostname = \"mx.example\" static_banner = \"220 x\" ]".to_string()),
    ]
}

fn rule() -> impl Strategy<Value = (String, String, bool)> {
    (block(), prop::collection::vec(property(), 0..4).prop_map(|all| all.join(" ")), any::<bool>())
}

fn comment() -> impl Strategy<Value = String> {
    prop_oneof![
        Just(String::new()),
        "[a-z ]{0,8}".prop_map(|text| format!("# {text}\n")),
        "[a-z \n]{0,8}".prop_map(|t| format!("/*{t}*/"))
    ]
}

fn attributes() -> impl Strategy<Value = &'static str> {
    prop::sample::select(vec!["", "<status=disabled>", "<duravip=no>", "<file_mode=0666>"])
}

fn list() -> impl Strategy<Value = String> {
    let endpoint = (
        0..4_u32,
        prop::option::of(1..500_u32),
        attributes(),
        prop::collection::vec(rule(), 0..5),
        comment(),
    );
    prop::collection::vec(endpoint, 0..3).prop_map(|endpoints| {
        let mut text = String::from("ESMTP_Listener = (\n");
        for (at, (host, backlog, attributes, rules, comment)) in endpoints.into_iter().enumerate() {
            let backlog = backlog.map_or_else(String::new, |n| format!(",{n}~2"));
            text.push_str(&format!("{comment}127.0.{at}.{host}:25{backlog} {attributes} [\n"));
            for (block, properties, goes_on) in rules {
                let more = if goes_on { "continue" } else { "" };
                text.push_str(&format!("  {block} = ( {properties} {more} )\n"));
            }
            text.push_str("]\n");
        }
        text.push_str(")\n");
        text
    })
}

fn stanza() -> impl Strategy<Value = String> {
    prop_oneof![
        list(),
        ("[a-c]{1,2}", any::<bool>(), prop::option::of("[d-e]")).prop_map(|(name, on, group)| {
            let group = group.map_or_else(String::new, |group| format!("Binding_Group = {group}"));
            format!("Binding {name}{on} <duravip={on}> {{ Gateway = mx {group} }}\n")
        }),
        (1..99_u32, comment(), any::<bool>()).prop_map(|(n, comment, off)| {
            let off = if off { "passive" } else { "" };
            format!("Logger cluster/ec_cluster c {off} {{ {comment}\n nodename = n{n}\n replicate [ type = metrics parameters = \"connect\" ]\n\
                     10.{n}.0.0/16 [ interface = eth0 ] logs [ a = /v/a ] dml [ x = y ] mbus_daemon = 4803 }}\n")
        }),
        (1..9_u32, comment()).prop_map(|(n, comment)| format!("{comment}\nDebug_Flags = {n} async_swap_in = 1 # {n}\n")),
        "[a-z]{1,4}".prop_map(|name| format!("Logger logging/ec_logger {name} {{ mainlog = /v/{name} }}\n")),
        ("[a-d]", "[ -~é\n\t]{0,10}").prop_map(|(name, text)| {
            format!("Domain {name}.example {{ EHLO_Hostname = {name} Mailerdaemon = '{}' }}\n", text.replace('\'', ""))
        }),
        (1..9_u32).prop_map(|n| format!("control_listener_timeout = {n}\nRelay_Hosts = ( 10.{n}.0.0/16 )\nESMTP_Listener {{ Idle_Time = {n} }}\n")),
    ]
}

/// What a chain means, said again in another way: the rules in the order written, until one does not go on.
fn expected_idle(rules: &[(String, String, bool)], client: std::net::IpAddr) -> Option<u64> {
    let contains = |block: &str| {
        let (prefix, _) = postfleet_types::Prefix::parse_lenient(block).unwrap();
        (
            postfleet_types::Prefix::containing(client, prefix.length()).is_ok_and(|found| found == prefix),
            prefix.length(),
        )
    };
    let mut found: Option<(u8, u64)> = None;
    for (block, properties, goes_on) in rules {
        let (applies, length) = contains(block);
        if !applies {
            continue;
        }
        for part in properties.split("idle_time = ").skip(1) {
            let value: u64 = part.split(' ').next().unwrap().parse().unwrap();
            if found.is_none_or(|(other, _)| length >= other) {
                found = Some((length, value));
            }
        }
        if !goes_on {
            break;
        }
    }
    found.map(|(_, value)| value)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: cases(), failure_persistence: None, rng_seed: seed(), ..ProptestConfig::default() })]

    #[test]
    fn migrated_files_load_to_the_same_tree(stanzas in prop::collection::vec(stanza(), 0..5)) {
        check(&stanzas.concat());
    }

    #[test]
    fn access_lists_give_every_client_the_same(
        rules in prop::collection::vec(rule(), 0..6),
        client in prop::sample::select(vec!["10.1.2.3", "10.1.2.4", "10.1.9.9", "10.9.9.9", "10.200.0.1", "192.0.2.1", "8.8.8.8", "2001:db8::1", "::9"]),
    ) {
        let chain: Vec<String> = rules.iter().map(|(block, properties, goes_on)| {
            format!("{block} = ( {properties} {} )", if *goes_on { "continue" } else { "" })
        }).collect();
        let config = config(&format!("ESMTP_Listener {{ Idle_Time = 77 }} ESMTP_Listener = ( *:25 [ {} ] [ ] )", chain.join("\n")));
        let client: std::net::IpAddr = client.parse().unwrap();
        let settings = config.esmtp_listeners()[0].resolve(Some(client)).clone();
        let idle = settings.idle_time.map(|time| time.as_secs());
        prop_assert_eq!(idle, Some(expected_idle(&rules, client).unwrap_or(77)), "{}", chain.join("\n"));
    }

    #[test]
    fn any_bytes_are_migrated_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        fuzz_migrate(&bytes);
    }

    #[test]
    fn any_pieces_are_migrated_or_refused(pieces in prop::collection::vec(
        prop::sample::select(vec![
            "{", "}", "[", "]", "(", ")", "=", "<", ">", "\n", " ", "\"", "'", "# c\n", "/* c */", "include x.conf", "Logger",
            "cluster/ec_cluster", "datasource/ds_core", "s", "passive", "replicate", "type", "cache", "ESMTP_Listener", "10.0.0.0/8",
            "continue", "personality", "idle_time", "5", ",", "*:25,5~2", "[::1]:25", "proto", "both", "Binding", "Binding_Group",
            "cluster_listener", "dml", "TLS", "Spread_Segment x:1 {\n", "Debug_Flags",
        ]), 0..50)) {
        fuzz_migrate(pieces.join(" ").as_bytes());
        fuzz_migrate(pieces.concat().as_bytes());
    }
}
