//! No input panics, whatever it is, and what is printed can be read again.

mod support;

use postfleet_config::schema::{self, Kind};
use postfleet_config::{Item, Quote, Span, Word, Written, fuzz_entry, parse, print};
use proptest::prelude::*;
use support::*;

/// Texts that use every part of the language.
const SAMPLES: [&str; 4] = [
    "/* a */ Hostname = mx1.example.net # tail\nSecurity { user = 'x' Capabilities = \"cap_net_raw+ep\" }\n\
     readonly_include nothing.conf include \"/etc/t/d\"\n",
    "ESMTP_Listener {\n  Peer 10.0.0.0/8 { Context = [ a = 1 \"b\" = \"c\\\"\\d\" ] }\n  Listen \"[::]:25\" {\n    \
     SMTP_Extensions = ( \"DSN\", 'CHUNKING' )\n    Static_Banner = \"220 é\nx\"\n  }\n}\n",
    "cluster {\n  logs [ a = b ]\n  Replicate \"metrics\" { parameters = \"connect\" max_delay = 0.5 }\n  \
     Topology 10.0.0.0/8 { interface = eth0 }\n}\nDomain \"/(a|b)[.]c$/\" { Retry_Interval = 60 }\n",
    "Binding_Group g { Binding b { Domain = d { Gateway = \"[::1]:25\" } } }\nLogger a/b c <x=\"y\"> { d [ e = f ] }\n\
     ESMTP_Listener = ( *:25,200~3 <p=q> [ 0.0.0.0/0 = ( c ) ] )\n} ] ) = < > } \u{201c}x\u{201d} */ a/*b*/c",
];

#[test]
fn every_prefix_of_every_sample_gives_an_answer() {
    for sample in SAMPLES {
        for end in 0..=sample.len() {
            fuzz_entry(&sample.as_bytes()[..end]);
        }
    }
}

#[test]
fn every_sample_without_one_piece_gives_an_answer() {
    for sample in SAMPLES {
        let bytes = sample.as_bytes();
        for start in 0..bytes.len() {
            let mut rest = bytes[..start].to_vec();
            rest.extend_from_slice(&bytes[(start + 3).min(bytes.len())..]);
            fuzz_entry(&rest);
        }
    }
}

fn cases() -> u32 {
    #[expect(clippy::disallowed_methods, reason = "a longer run is asked for through the environment")]
    std::env::var("POSTFLEET_CASES").ok().and_then(|text| text.parse().ok()).unwrap_or(96)
}

fn bare() -> impl Strategy<Value = String> {
    "[A-Za-z0-9_:,.;%$@+!~\\\\-][A-Za-z0-9_:.;%$@+!~\\\\-]{0,12}"
}

fn word() -> impl Strategy<Value = Word> {
    let span =
        parse("/x", b"a = b").0.into_iter().next().map_or_else(|| unreachable!(), |item| span_of(&item));
    prop_oneof![
        bare().prop_map(|text| (text, Quote::Bare)),
        "[ -~é\n\r\t]{0,12}".prop_map(|text| (text, Quote::Double)),
        "[ -&(-~é\n]{0,12}".prop_map(|text| (text, Quote::Single)),
    ]
    .prop_filter("a comma alone separates", |(text, _)| text != ",")
    .prop_map(move |(text, quote)| Word { text, quote, span })
}

fn span_of(item: &Item) -> Span {
    match item {
        Item::Include { path: word, .. }
        | Item::Assignment { name: word, .. }
        | Item::Stanza { scope: word, .. } => word.span,
    }
}

fn name() -> impl Strategy<Value = Word> {
    ("x[a-z0-9_]{0,8}", word()).prop_map(|(text, word)| Word { text, quote: Quote::Bare, span: word.span })
}

fn value() -> impl Strategy<Value = Written> {
    prop_oneof![
        word().prop_map(Written::Atom),
        (prop::collection::vec(word(), 0..4), word()).prop_map(|(words, at)| Written::List(words, at.span)),
        (prop::collection::btree_map("[a-z]{1,6}", word(), 0..4), word()).prop_map(|(pairs, at)| {
            let pairs = pairs
                .into_iter()
                .map(|(key, value)| (Word { text: key, quote: Quote::Bare, span: at.span }, value));
            Written::Dict(pairs.collect(), at.span)
        }),
    ]
}

fn items() -> impl Strategy<Value = Vec<Item>> {
    let leaf = prop_oneof![
        (name(), value()).prop_map(|(name, value)| Item::Assignment { name, value }),
        (any::<bool>(), word()).prop_map(|(read_only, path)| Item::Include { read_only, path }),
    ];
    let item = leaf.prop_recursive(4, 24, 4, |inner| {
        (name(), prop::option::of(word()), prop::collection::vec(inner, 0..4))
            .prop_map(|(scope, name, body)| Item::Stanza { scope, name, body })
    });
    prop::collection::vec(item, 0..6)
}

/// The same without places.
fn bones(items: &[Item]) -> Vec<String> {
    let word = |word: &Word| format!("{:?}{:?}", word.quote, word.text);
    items
        .iter()
        .map(|item| match item {
            Item::Include { read_only, path } => format!("include {read_only} {}", word(path)),
            Item::Assignment { name, value } => {
                let value = match value {
                    Written::Atom(atom) => word(atom),
                    Written::List(words, _) => format!("({:?})", words.iter().map(word).collect::<Vec<_>>()),
                    Written::Dict(pairs, _) => {
                        let pairs: Vec<String> =
                            pairs.iter().map(|(k, v)| word(k) + "=" + &word(v)).collect();
                        format!("[{pairs:?}]")
                    }
                };
                format!("{} = {value}", word(name))
            }
            Item::Stanza { scope, name, body } => {
                format!("{} {:?} {:?}", word(scope), name.as_ref().map(word), bones(body))
            }
        })
        .collect()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: cases(), failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn print_and_parse_are_inverse(items in items()) {
        let text = print(&items);
        let (again, findings) = parse("/x", text.as_bytes());
        prop_assert!(findings.is_empty(), "{text}\n{}", postfleet_config::report(&findings));
        prop_assert_eq!(bones(&again), bones(&items), "{}", text);
        prop_assert_eq!(print(&again), text);
    }

    #[test]
    fn any_bytes_give_an_answer(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        fuzz_entry(&bytes);
    }

    #[test]
    fn any_pieces_give_an_answer(pieces in prop::collection::vec(
        prop::sample::select(vec![
            "{", "}", "[", "]", "(", ")", "=", "<", ">", "\n", " ", "\"", "'", "#", "/*", "*/", "include", "cluster",
            "Domain", "ESMTP_Listener", "Listen", ":25", "Peer", "10.0.0.0/8", "Replicate", "metrics", "parameters",
            "Retry_Interval", "60", "a", ",", "Logger", "x/y", "/(/", "Binding", "Local_Changes_File", "again.conf", "d",
        ]), 0..60)) {
        fuzz_entry(pieces.join(" ").as_bytes());
        fuzz_entry(pieces.concat().as_bytes());
    }

    #[test]
    fn every_option_takes_or_refuses_any_text(at in 0..schema::rows().count(), text in "[ !#-\\[\\]-~]{0,24}") {
        let row = schema::rows().nth(at).unwrap();
        let value = if matches!(row.kind, Kind::Dict(_)) { format!("[ uri = \"{text}\" ]") } else { format!("\"{text}\"") };
        let outcome = load(&format!("{} = {value}\nESMTP_Listener {{ {} = {value} }}\ncluster {{ {} = {value} }}",
            row.name, row.name, row.name));
        let errors = outcome.diagnostics.iter().any(postfleet_config::Diagnostic::is_error);
        prop_assert_eq!(outcome.config.is_none(), errors);
    }
}

#[test]
fn findings_without_number_are_bounded() {
    let outcome = load(&"= ".repeat(20_000));
    assert!(outcome.diagnostics.len() <= 2_000);
    assert!(outcome.report().lines().count() < 50);
}
