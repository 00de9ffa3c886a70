//! Lexing, parsing, errors, includes: the cases of section 11.1.

mod support;

use postfleet_config::{Facts, LoadRequest, MemoryFiles, Value};
use support::*;

#[test]
fn configuration_a01_comments_disappear() {
    let config = clean("/* c */ Hostname = mx1.example.net # tail");
    assert_eq!(config.node_settings().hostname.as_deref(), Some("mx1.example.net"));
}

#[test]
fn configuration_a02_comments_do_not_nest() {
    let found = only("/* a /* b */ Hostname = \"x\" */");
    assert!(
        found
            .to_string()
            .starts_with("Syntax error in /etc/t/ecelerity.conf at line 1, column 29 near '*/'\nCFG-1006 "),
        "{found}"
    );
}

#[test]
fn configuration_a03_escapes() {
    let config = clean(
        "ESMTP_Listener { Listen \":25\" { Static_Banner = \"220-Welcome\\r\\n220 a\\\"b\\\\c \\d\" } }",
    );
    let listeners = config.esmtp_listeners();
    assert_eq!(listeners[0].resolve(None).static_banner.as_deref(), Some("220-Welcome\r\n220 a\"b\\c \\d"));
}

#[test]
fn configuration_a04_bare_words() {
    clean(
        "Outbound_Throttle_Messages = 60/3\nRelay_Domains = ( *.example.net )\nControl_Listener {\n\
         Peer 127.0.0.0/8 {}\nAuthDigestMD5Parameters = [ uri = digest:///opt/x/passwd ]\n}",
    );
    check("Bind_Address = 10.0.0.1/* c */", &[('E', 1003, 1, 24)]);
}

#[test]
fn configuration_a05_typographic_quotes() {
    let found = only("Hostname = “mx1.example.net”");
    assert_eq!((found.code.0, found.position.as_ref().unwrap().column), (1005, 12));
    assert!(found.message.contains("U+201C"), "{}", found.message);
    assert!(found.hint.unwrap().contains('"'));
    check("Hostname = “mx1 and more” Retry_Interval = 5", &[('E', 1005, 1, 12)]);
}

#[test]
fn configuration_a06_open_strings_are_reported_where_they_begin() {
    check("Hostname = \"mx1.example.net\nRetry_Interval = 600\n", &[('E', 1001, 1, 12)]);
}

#[test]
fn configuration_a07_open_stanzas_name_their_begin() {
    let found = only("cluster {\n  cluster_group = \"ec_cluster\"\n  Replicate \"inbound_cidr\" {\n}\n");
    assert_eq!(
        found.to_string(),
        "Syntax error in /etc/t/ecelerity.conf at line 5, column 1 near 'end of file'\n\
         CFG-2002 end of file inside stanza `cluster`; expected `}`\n  \
         see also /etc/t/ecelerity.conf at line 1, column 1\n  \
         hint: the `}` of line 4 closes what line 3 opens, and stands further left; is one missing before it?"
    );
}

#[test]
fn configuration_a08_one_value_and_items_on_one_line() {
    let found = only("Gateway = mx relay.example.net");
    assert_eq!((found.code.0, found.position.unwrap().column), (2004, 14));
    assert_eq!(found.token, "relay.example.net");
    assert!(found.hint.unwrap().contains("quote"));
    let config = clean("Retry_Interval = 900 Idle_Timeout = 9");
    assert_eq!(eval(&config, "retry_interval", Facts::default()), "900");
    assert_eq!(eval(&config, "idle_timeout", Facts::default()), "9");
    check("Retry_Interval = 600 }", &[('E', 2003, 1, 22)]);
}

#[test]
fn configuration_a09_dictionaries_hold_words_only() {
    check("ESMTP_Listener { Listen \":25\" {\nContext = [ a = ( \"x\" ) ]\n} }", &[('E', 2006, 2, 17)]);
}

#[test]
fn configuration_a10_a_dictionary_needs_no_equals() {
    let with = clean("Control_Listener { AuthDigestMD5Parameters = [ uri = \"digest:///x\" ] }");
    let without = clean("Control_Listener { AuthDigestMD5Parameters [ uri = \"digest:///x\" ] }");
    let value = |config: &postfleet_config::Config| {
        let id = config.tree().anonymous(postfleet_config::schema::Scope::ControlListener).unwrap();
        config.tree().instance(id).unwrap().assigned("AuthDigestMD5Parameters").unwrap().value.clone()
    };
    assert_eq!(value(&with), value(&without));
}

const A11: &str =
    "Hostname = \"mx1.example.net\"\nDomain \"example.org\" {\n  Max_Outbound_Connection = 10\n}\n";

#[test]
fn configuration_a11_unknown_names_have_the_exact_text() {
    assert_eq!(
        load(A11).report(),
        "Syntax error in /etc/t/ecelerity.conf at line 3, column 3 near 'Max_Outbound_Connection'\n\
         CFG-3001 'Max_Outbound_Connection' is not a valid scope name in scope 'Domain'; expected an option or \
         stanza of scope 'Domain'\n  hint: did you mean 'Max_Outbound_Connections'?\nReconfigure failed.\n"
    );
    insta::assert_snapshot!(postfleet_config::report_json(&load(A11).diagnostics), @r#"{"severity":"error","code":"CFG-3001","message":"'Max_Outbound_Connection' is not a valid scope name in scope 'Domain'","file":"/etc/t/ecelerity.conf","line":3,"column":3,"token":"Max_Outbound_Connection","expected":"an option or stanza of scope 'Domain'","includes":[],"hint":"did you mean 'Max_Outbound_Connections'?","see_also":null}"#);
    let outcome = load(A11);
    let labelled = outcome.diagnostics[0].labelled(&outcome.sources).unwrap();
    assert_eq!(&labelled.source[labelled.start..labelled.end], "Max_Outbound_Connection");
    assert_eq!(labelled.file, MAIN);
}

#[test]
fn configuration_a12_units_are_refused() {
    let found = only("Retry_Interval = 20m");
    assert_eq!(found.position.as_ref().unwrap().column, 18);
    assert_eq!(
        found.to_string(),
        "Configuration error in /etc/t/ecelerity.conf at line 1, column 18 near '20m'\n\
         CFG-4012 '20m' has a unit behind it; expected a plain number of seconds, e.g. 1200"
    );
    assert_eq!(only("Spool_Min_Free = 10M").expected.unwrap(), "a plain number of bytes, e.g. 10485760");
    assert_eq!(only("Max_Resident_Messages = 10k").expected.unwrap(), "a plain number, e.g. 10240");
    assert_eq!(only("Retry_Interval = 20x").code.0, 4002);
    assert_eq!(only("Retry_Interval = 0x20").code.0, 4002);
}

#[test]
fn configuration_a13_bool_words() {
    for (words, value) in [
        (["true", "TRUE", "yes", "on", "Enabled", "1"], true),
        (["false", "no", "Off", "disabled", "FALSE", "0"], false),
    ] {
        for word in words {
            let config = clean(&format!("Force_Fsync = {word}"));
            assert_eq!(config.node_settings().force_fsync, value, "{word}");
        }
    }
    let found = only("Force_Fsync = maybe");
    assert_eq!(found.code.0, 4001);
    assert_eq!(found.expected.unwrap(), "true/false, yes/no, on/off, enabled/disabled or 1/0");
}

#[test]
fn configuration_a14_throttles() {
    for (text, shown) in
        [("\"1\"", "\"1/1\""), ("\"1/60\"", "\"1/60\""), ("60/3", "\"60/3\""), ("0", "\"0/1\"")]
    {
        let config = clean(&format!("Outbound_Throttle_Messages = {text}"));
        assert_eq!(eval(&config, "Outbound_Throttle_Messages", Facts::default()), shown);
    }
    check("Outbound_Throttle_Messages = \"10/0\"", &[('E', 4006, 1, 30)]);
    for text in ["\"1/\"", "\"/1\"", "\"a\"", "\"-1\"", "\"1/1/1\""] {
        check(&format!("Outbound_Throttle_Messages = {text}"), &[('E', 4006, 1, 30)]);
    }
}

#[test]
fn configuration_a15_permissions_and_blocks() {
    check("Spool_Mode = 0689", &[('E', 4004, 1, 14)]);
    assert_eq!(clean("Spool_Mode = 0666").node_settings().spool_mode, 0o666);
    assert_eq!(clean("Spool_Mode = 666").node_settings().spool_mode, 0o666);
    check("Control_Listener { Listen \"/t\" { File_Mode = 0689 } }", &[('E', 4004, 1, 46)]);
    for mode in ["0666", "666"] {
        let text = format!("Control_Listener {{ Listen \"/t\" {{ File_Mode = {mode} }} }}");
        assert_eq!(config(&text).control_listeners()[0].socket.file_mode, 0o666);
    }
    check("Relay_Hosts = ( 10.0.0.0/33 )", &[('E', 4010, 1, 17)]);
    check("Relay_Hosts = ( 10.1.2.3/8 )", &[('W', 4013, 1, 17)]);
    let hosts = config("Relay_Hosts = ( 10.1.2.3/8 )").node_settings().relay_hosts;
    assert_eq!(hosts, ["10.0.0.0/8".parse().unwrap()]);
}

#[test]
fn configuration_a16_instance_names() {
    let found = only("ESMTP_Listener \"smtp\" {}");
    assert_eq!((found.code.0, found.position.unwrap().column), (3005, 16));
    assert_eq!(found.message, "Didn't expect a name for ESMTP_Listener");
    check("Domain {}", &[('E', 3004, 1, 1)]);
}

#[test]
fn configuration_a17_patterns() {
    let found = only("Domain \"/(example[.]org/\" {}");
    assert_eq!(found.code.0, 4011);
    assert!(
        found.message.starts_with("error compiling regex for Domain /(example[.]org/: "),
        "{}",
        found.message
    );
    assert!(found.message.contains("(offset "), "{}", found.message);
    let found = only("Domain \"/example\" {}");
    assert_eq!((found.code.0, found.message.as_str()), (3007, "unterminated regex"));
    check("Binding \"/x/\" {}", &[('E', 3007, 1, 9)]);
    clean("Domain \"/(?<!x)(a)\\1$/\" {}");
}

#[test]
fn configuration_a18_all_errors_in_text_order() {
    let text = "\nRetry_Interval = a\n\n\nIdle_Timeout = b\n\n\n\nMax_Retry_Interval = c\n";
    check(text, &[('E', 4002, 2, 18), ('E', 4002, 5, 16), ('E', 4002, 9, 22)]);
    assert_eq!(load(text).report().matches("Reconfigure failed.").count(), 1);
    let text = "\n= 1\nHostname = a\n\nfoo bar\nRetry_Interval = 5\n\n\nx = ]\n";
    check(text, &[('E', 2001, 2, 1), ('E', 2001, 6, 1), ('E', 2001, 9, 5)]);
}

#[test]
fn configuration_a19_errors_in_included_files() {
    let outcome = load_with(
        MemoryFiles::new()
            .with(MAIN, "\n\n\n\n\n\ninclude \"throttles.conf\"\n")
            .with("/etc/t/throttles.conf", "\nIdle_Time = ten\n"),
    );
    assert_eq!(
        outcome.report(),
        "Syntax error in /etc/t/throttles.conf at line 2, column 1 near 'Idle_Time'\n\
         CFG-3002 'Idle_Time' is not valid in scope 'Global'; expected an option or stanza of scope 'Global'\n  \
         included from /etc/t/ecelerity.conf at line 7\n  \
         hint: valid in: ESMTP_Listener, Listen, Peer\nReconfigure failed.\n"
    );
}

#[test]
fn configuration_a20_cycles_and_missing_files() {
    let files = MemoryFiles::new()
        .with("/etc/t/a.conf", "include \"b.conf\"")
        .with("/etc/t/b.conf", "include a.conf");
    let request = LoadRequest { main: Some("/etc/t/a.conf".to_string()), ..request() };
    let outcome = postfleet_config::Config::load(&files, &request);
    assert_eq!(codes(&outcome), [('E', 5003, 1, 9)]);
    assert!(outcome.report().contains("a.conf → b.conf → a.conf"), "{}", outcome.report());
    let found = only("include \"no.conf\"");
    assert_eq!(found.code.0, 5001);
    assert_eq!(
        found.expected.unwrap(),
        "a file or directory of that name in /etc/t, /opt/e/etc, /opt/e/etc/conf/global, /opt/e/etc/conf/n1, \
         /opt/e/etc/conf/default"
    );
    assert!(only("include \"no.conf\"").to_string().starts_with("Include error in "));
}

#[test]
fn configuration_a21_directories_are_read_in_byte_order() {
    let outcome = load_with(
        MemoryFiles::new()
            .with(MAIN, "include config.d")
            .with("/etc/t/config.d/20-b.conf", "Retry_Interval = 20")
            .with("/etc/t/config.d/10-a.conf", "Retry_Interval = 10")
            .with("/etc/t/config.d/.hidden", "Retry_Interval = 5")
            .with("/etc/t/config.d/10-a.conf.bak", "Retry_Interval = 15"),
    );
    assert_eq!(codes(&outcome), [('W', 5006, 1, 9)]);
    let read: Vec<&str> = outcome.sources.iter().skip(1).map(|source| source.path()).collect();
    assert_eq!(
        read,
        ["/etc/t/config.d/10-a.conf", "/etc/t/config.d/10-a.conf.bak", "/etc/t/config.d/20-b.conf"]
    );
    assert_eq!(eval(&outcome.config.unwrap(), "retry_interval", Facts::default()), "20");
}

#[test]
fn include_failures_have_their_own_codes() {
    let files = || MemoryFiles::new().with("/etc/t/x.conf", "Hostname = x");
    let with = |text: &str| {
        codes(&load_with(files().with(MAIN, text).with_unreadable("/etc/t/secret", "Permission denied")))
    };
    assert_eq!(with("include secret"), [('E', 5002, 1, 9)]);
    assert_eq!(with("include http://a/b"), [('E', 5004, 1, 9)]);
    assert_eq!(with("include file:///etc/t/x.conf"), []);
    assert_eq!(with("Local_Changes_Only = true"), [('E', 5011, 1, 1)]);
    assert_eq!(with("Local_Changes_File = x.conf include x.conf"), [('E', 5010, 1, 22)]);
    let deep = (0..70).fold(MemoryFiles::new().with(MAIN, "include f0"), |files, n| {
        files.with(&format!("/etc/t/f{n}"), format!("include f{}", n + 1))
    });
    assert_eq!(codes(&load_with(deep)), [('E', 5005, 1, 9)]);
    let wide = (0..20).fold(MemoryFiles::new().with(MAIN, "include f0"), |files, n| {
        files.with(&format!("/etc/t/f{n}"), format!("include f{m} include f{m}", m = n + 1))
    });
    assert_eq!(codes(&load_with(wide.with("/etc/t/f20", "")))[0].1, 5005);
}

#[test]
fn local_changes_come_last_wherever_the_option_stands() {
    let files = MemoryFiles::new()
        .with(MAIN, "Local_Changes_File = \"local.conf\"\nHostname = a")
        .with("/etc/t/local.conf", "Hostname = b");
    let outcome = load_with(files);
    assert_eq!(outcome.report(), "");
    assert_eq!(outcome.config.unwrap().node_settings().hostname.as_deref(), Some("b"));
    clean("Local_Changes_File = \"not-yet.conf\"");
}

#[test]
fn the_search_path_decides_which_file_is_read() {
    let files = MemoryFiles::new()
        .with("/opt/e/etc/conf/n1/ecelerity.conf", "Hostname = own\ninclude part.conf")
        .with("/opt/e/etc/conf/default/ecelerity.conf", "Hostname = default")
        .with("/opt/e/etc/conf/default/part.conf", "Retry_Interval = 7");
    let load = |node: Option<&str>| {
        let request = LoadRequest { main: None, node_name: node.map(ToString::to_string), ..request() };
        postfleet_config::Config::load(&files, &request).config.unwrap()
    };
    assert_eq!(load(Some("n1")).node_settings().hostname.as_deref(), Some("own"));
    assert_eq!(eval(&load(Some("n1")), "retry_interval", Facts::default()), "7");
    assert_eq!(load(Some("n2")).node_settings().hostname.as_deref(), Some("default"));
    assert_eq!(load(None).node_settings().hostname.as_deref(), Some("default"));
    let request =
        LoadRequest { main: None, search_path: Some("/x/{SUBCLUSTER}:/y".to_string()), ..request() };
    let outcome = postfleet_config::Config::load(&files, &request);
    assert_eq!((outcome.searched.as_slice(), outcome.main_file.as_deref()), (&["/y".to_string()][..], None));
    assert_eq!(outcome.report(), "No configuration found\n");
}

#[test]
fn our_own_file_name_comes_before_the_vendors() {
    let files = MemoryFiles::new()
        .with("/etc/postfleet/postfleet.conf", "Hostname = a")
        .with("/etc/postfleet/ecelerity.conf", "");
    let request = LoadRequest { main: None, etc: None, ..request() };
    let outcome = postfleet_config::Config::load(&files, &request);
    assert_eq!(outcome.main_file.as_deref(), Some("/etc/postfleet/postfleet.conf"));
    let vendor = MemoryFiles::new().with("/opt/msys/ecelerity/etc/conf/default/ecelerity.conf", "");
    let outcome = postfleet_config::Config::load(&vendor, &request);
    assert!(outcome.vendor_tree && outcome.config.is_some());
}

#[test]
fn small_slips_are_warnings() {
    check("cluster = { bus = solo }", &[('W', 2005, 1, 9)]);
    check("Domain = \"x\" { Idle_Timeout = 1 }", &[('W', 2005, 1, 8)]);
    check("Relay_Domains = ( \"a\", \"b\" , c )", &[('W', 2005, 1, 22), ('W', 2005, 1, 28)]);
    check("Retry_Interval = 1\nretry_interval = 2", &[('W', 3010, 2, 1)]);
    check("Control_Listener { AuthDigestMD5Parameters = [ uri = a uri = b ] }", &[('W', 3010, 1, 56)]);
}

#[test]
fn options_and_stanzas_are_not_mixed_up() {
    check("Domain = x", &[('E', 3003, 1, 1)]);
    check("Gateway { }", &[('E', 3003, 1, 1)]);
    check("Relay_Hosts = [ a = b ]", &[('E', 4009, 1, 15)]);
    check("Hostname = ( a )", &[('E', 4008, 1, 12)]);
    check("Logs { }", &[('E', 3002, 1, 1)]);
    assert_eq!(only("Logs { }").message, "'Logs' is only valid in the manager configuration");
    check("Bounce_Pattern = x", &[('W', 3008, 1, 1)]);
    check("Use_mmap = x\nEventLoop \"p\" { Concurrency = 4 }\nPathway \"x\" { anything = 1 }", &[]);
    let strict = LoadRequest { strict: true, ..request() };
    let files = MemoryFiles::new().with(MAIN, "Bounce_Pattern = x");
    assert!(postfleet_config::Config::load(&files, &strict).config.is_none());
    assert_eq!(only("ESMTP_Listener { enabled = 1 }").hint.unwrap(), "did you mean 'Enable'?");
    assert_eq!(only("cluster { enable = 1 }").hint.unwrap(), "did you mean 'enabled'?");
}

#[test]
fn limits_of_the_language() {
    let nested = "Domain \"a\" {".repeat(70);
    assert_eq!(load(&nested).diagnostics[0].expected.as_deref(), Some("at most 64 levels"));
    assert_eq!(codes(&load("Hostname = a\0b"))[0].1, 1004);
    let bytes = MemoryFiles::new().with(MAIN, b"# \xff\nHostname = \xfe".to_vec());
    assert_eq!(codes(&load_with(bytes)), [('E', 1004, 2, 12)]);
    let bom = MemoryFiles::new().with(MAIN, b"\xef\xbb\xbf# \xff\nHostname = a\r\n".to_vec());
    assert_eq!(codes(&load_with(bom)), []);
    let long = format!("Hostname = {}", "a".repeat((1 << 20) + 1));
    assert_eq!(codes(&load(&long))[0].1, 2001);
}

#[test]
fn secrets_are_not_shown() {
    let outcome = load("console_password = hunter2 and");
    assert!(!outcome.report().contains("hunter2"), "{}", outcome.report());
    assert!(!outcome.report().contains("'and'"), "{}", outcome.report());
}

#[test]
fn values_keep_their_type() {
    let config = clean("Max_Retries = AUTO\nBlackhole = Inline\nRFC2822_Max_Line_Length = 998");
    assert_eq!(config.eval("max_retries", &Facts::default()).unwrap().value, Some(Value::Word("auto")));
    assert_eq!(config.eval("blackhole", &Facts::default()).unwrap().value, Some(Value::Word("inline")));
    assert_eq!(config.node_settings().rules.max_line_length, postfleet_config::LineLength::Max(998));
    check("RFC2822_Max_Line_Length = 77", &[('E', 4003, 1, 27)]);
    check("Listen_Backlog = 1", &[('E', 3002, 1, 1)]);
    check("Compatibility = ecelerty", &[('E', 4007, 1, 17)]);
    assert_eq!(only("Compatibility = ecelerty").hint.unwrap(), "did you mean 'ecelerity'?");
    check("Spool_Min_Free_Percent = 51", &[('E', 4003, 1, 26)]);
    assert_eq!(only("Spool_Min_Free_Percent = 51").expected.unwrap(), "0 to 50");
    check("Retry_Interval = 2147483648", &[('E', 4003, 1, 18)]);
    check("Retry_Interval = 007", &[]);
}

/// Slips that other languages bring along: each is told in the words of this one.
#[test]
fn habits_of_other_languages_get_a_hint() {
    let hint = |text: &str, code: u16| {
        let found = load(text).diagnostics;
        let found = found.iter().find(|found| found.code.0 == code).unwrap_or_else(|| panic!("{text}"));
        found.hint.clone().unwrap_or_default()
    };
    assert_eq!(hint("Hostname: mx.example.net\n", 2001), "for an option, write: Hostname = mx.example.net");
    assert_eq!(
        hint("Retry_Interval 900\nIdle_Timeout = 5\n", 2001),
        "for an option, write: Retry_Interval = 900"
    );
    assert_eq!(hint("DB_Password \"geheim\"\n", 2001), "for an option, write: DB_Password = VALUE");
    assert_eq!(hint("Domain example.org\n", 2001), "");
    assert_eq!(hint("- port: 25\n", 2001), "");
    assert_eq!(
        hint("ESMTP_Listener {\n  Listen :25 {\n    Idle_Time = 5\n}\nHostname = a\n", 2002),
        "the `}` of line 4 closes what line 2 opens, and stands further left; is one missing before it?"
    );
    assert_eq!(hint("ESMTP_Listener {\n  Listen :25 {\n  }\n", 2002), "");
    let parted = "values are separated by blanks, and nothing ends them: delete the last character";
    assert_eq!(hint("Relay_Hosts = ( 10.0.0.1, 10.0.0.2 )", 4010), parted);
    assert_eq!(hint("Retry_Interval = 5;", 4002), parted);
    assert_eq!(hint("Hostname = mx.example.net;", 4005), parted);
    assert_eq!(hint("ESMTP_Listener { Listen 25 { } }", 4005), "\":25\"");
}
