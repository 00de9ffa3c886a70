//! The 2.x form: the cases of section 11.4, and what each construct becomes.

mod support;

use postfleet_config::{Config, Diagnostic, Legacy, LoadRequest, MemoryFiles, Severity, migrate};
use support::*;

/// The reference sample of a cluster in the 2.x form.
const CLUSTER: &str = include_str!("samples/cluster_2x.conf");
/// The same in the 4.x form.
const CLUSTER_4X: &str = include_str!("samples/cluster_2x.migrated");

/// The migrated text, without comments.
fn migrated(text: &str) -> String {
    let files = MemoryFiles::new().with(MAIN, text);
    let mut found = migrate(&files, &request(), &[MAIN.to_string()], false);
    let found = found.remove(0);
    found.text.unwrap_or_else(|| panic!("{text}\n{}", postfleet_config::report(&found.diagnostics)))
}

/// With comments.
fn migrated_with_comments(text: &str) -> String {
    let files = MemoryFiles::new().with(MAIN, text);
    migrate(&files, &request(), &[MAIN.to_string()], true).remove(0).text.expect("the text has no errors")
}

/// One line, blanks collapsed.
fn flat(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

fn becomes(old: &str, new: &str) {
    assert_eq!(flat(&migrated(old)), flat(new), "{old}");
    same(old, &migrated(old));
}

/// Both texts load to one tree.
fn same(old: &str, new: &str) {
    let (old_outcome, new_outcome) = (load(old), load(new));
    assert_eq!(
        old_outcome.config.as_ref().map(bones),
        new_outcome.config.as_ref().map(bones),
        "{old}\n{}\n{new}\n{}",
        old_outcome.report(),
        new_outcome.report()
    );
    assert!(new_outcome.diagnostics.iter().all(|d| d.code.0 != 3009), "{}", new_outcome.report());
    assert_eq!(migrated(new), new, "migrating again changes nothing");
}

/// Findings that are about more than the form.
fn other(text: &str) -> Vec<Diagnostic> {
    let mut found = load(text).diagnostics;
    found.retain(|d| !(d.code.0 == 3009 && d.message.contains("is the 2.x form")) && d.code.0 != 3008);
    found
}

#[test]
fn configuration_a34_the_cluster_sample_migrates_to_the_letter() {
    assert_eq!(migrated(CLUSTER), CLUSTER_4X);
    same(CLUSTER, CLUSTER_4X);
    let outcome = load(CLUSTER);
    assert!(outcome.config.is_some(), "{}", outcome.report());
    let old: Vec<(String, u32)> = outcome
        .diagnostics
        .iter()
        .filter(|d| d.code.0 == 3009)
        .map(|d| (d.token.clone(), d.position.as_ref().map_or(0, |at| at.column)))
        .collect();
    let first_words = ["ESMTP_Listener", "Binding", "Logger", "Logger", "Logger"];
    assert_eq!(old, first_words.map(|word| (word.to_string(), 1)));
}

#[test]
fn configuration_a35_bare_types_and_the_other_symbol() {
    becomes(
        "Logger cluster/ec_cluster ec_cluster { replicate [ type = inbound_cidr ] replicate [ type = outbound_cidr ] \
         replicate [ type = outbound_domains ] }",
        "cluster { Replicate \"inbound_cidr\" {} Replicate \"outbound_cidr\" {} Replicate \"outbound_domains\" {} }",
    );
}

#[test]
fn configuration_a36_replicated_metrics_and_caches() {
    let cluster = |line: &str| format!("Logger cluster/ec_cluster cluster {{ {line} }}");
    becomes(
        &cluster("replicate [ type = \"metrics\" parameters=\"connect;reception;rejection\" ]"),
        "cluster { Replicate \"metrics\" { parameters = \"connect;reception;rejection\" } }",
    );
    becomes(
        &cluster("replicate [ type = \"cache\" replication_name=\"mycache\" parameters=\"snapshot\" ]"),
        "cluster { Replicate \"mycache\" { type = \"cache\" parameters = \"snapshot\" } }",
    );
    let found = other(&cluster("replicate [ type = \"cache\" parameters=\"snapshot\" ]"));
    assert_eq!((found.len(), found[0].code.0, found[0].token.as_str()), (1, 6118, "replicate"));
}

#[test]
fn configuration_a37_monitors_collect() {
    let audit = |lines: &str| format!("Validate validate/inbound_audit inbound_audit {{ {lines} }}");
    becomes(&audit("monitor = \"300,6\""), "inbound_audit { monitors = ( \"300,6\" ) }");
    becomes(
        &audit("monitor = \"300,6\"\nmonitor = \"1800,4\""),
        "inbound_audit { monitors = ( \"300,6\" \"1800,4\" ) }",
    );
}

#[test]
fn configuration_a38_data_sources() {
    becomes(
        "Module datasource/ds_core ds_core {\n  mycache [\n    uri = \"odbc:DSN=sqlserver;UID=user;PWD=pass\"\n    \
         cache_size = 200\n    cache_life = 360\n    serialized = true\n  ]\n}\n",
        "Datasource \"mycache\" { uri = ( \"odbc:DSN=sqlserver;UID=user;PWD=pass\" ) cache_size = 200 \
         cache_life = 360 serialized = true }",
    );
    becomes(
        "Module datasource/ds_core ds_core { a [ uri3 = \"x:3\" cache_life = 1 uri = \"x:1\" uri2 = \"x:2\" ] \
         b [ uri = \"y:\" ] }",
        "Datasource \"a\" { uri = ( \"x:1\" \"x:3\" \"x:2\" ) cache_life = 1 } Datasource \"b\" { uri = ( \"y:\" ) }",
    );
}

/// The peers of a chain.
fn chain(rules: &str) -> (String, Vec<Diagnostic>) {
    let text = format!("ESMTP_Listener = ( 192.0.2.1:25 [ {rules} ] )");
    let found = flat(&migrated(&text));
    same(&text, &migrated(&text));
    let found = found.strip_prefix("ESMTP_Listener { Listen \"192.0.2.1:25\" { ").expect("a listener");
    (found.strip_suffix(" } }").expect("closed").to_string(), other(&text))
}

#[test]
fn configuration_a39_chains_become_peers() {
    let check = |rules: &str, peers: &str, warned: bool| {
        let (found, findings) = chain(rules);
        assert_eq!(found, flat(peers), "{rules}");
        assert_eq!(findings.len(), usize::from(warned), "{rules}");
        assert!(findings.iter().all(|d| d.severity == Severity::Warning), "{rules}");
    };
    check(
        "10.0.0.0/8 = ( personality [ idle_time = 60 max_receptions_per_connection = 10 ] continue ) \
         10.1.0.0/16 = ( personality [ idle_time = 300 ] )",
        "Peer \"10.0.0.0/8\" { Idle_Time = 60 Max_Receptions_Per_Connection = 10 } \
         Peer \"10.1.0.0/16\" { Idle_Time = 300 Max_Receptions_Per_Connection = 10 }",
        false,
    );
    check(
        "10.1.0.0/16 = ( personality [ idle_time = 300 ] ) \
         0.0.0.0/0 = ( personality [ banner_hostname = \"mx.example.net\" idle_time = 60 ] )",
        "Peer \"10.1.0.0/16\" { Idle_Time = 300 Banner_Hostname = \"\" } \
         Peer \"0.0.0.0/0\" { Banner_Hostname = \"mx.example.net\" Idle_Time = 60 }",
        false,
    );
    check(
        "0.0.0.0/0 = ( personality [ idle_time = 60 ] ) 10.1.0.0/16 = ( personality [ idle_time = 300 ] )",
        "Peer \"0.0.0.0/0\" { Idle_Time = 60 } Peer \"10.1.0.0/16\" { Idle_Time = 60 }",
        true,
    );
    check(
        "192.0.2.0/24 = ( relay_for_sending_domains continue ) 0.0.0.0/0 = ( personality [ idle_time = 30 ] )",
        "Peer \"192.0.2.0/24\" { Open_Relay = true Idle_Time = 30 } Peer \"0.0.0.0/0\" { Idle_Time = 30 }",
        false,
    );
}

#[test]
fn configuration_a40_listeners_of_both_protocols() {
    becomes(
        "ESMTP_Listener = ( [::1]:25,50~4 *:26 <proto=both> )",
        "ESMTP_Listener { Listen \"[::1]:25\" { Listen_Backlog = 50 Concurrency = 4 } Listen \"*:26\" {} \
         Listen \"[*]:26\" {} }",
    );
}

#[test]
fn configuration_a41_modifiers_of_modules() {
    let found = only("Logger logging/ec_logger ec_logger maybe {}");
    assert_eq!(found.message, "Module modifier must be either 'enabled' or 'disabled'; you have 'maybe'");
    assert_eq!((found.code.0, found.position.as_ref().unwrap().column), (2001, 36));
}

#[test]
fn module_stanzas_keep_the_wording_of_their_errors() {
    let check = |text: &str, message: &str| {
        let found = only(text);
        assert_eq!((found.code.0, found.message.as_str()), (2001, message), "{text}");
    };
    check("Logger { }", "No module path specified");
    check("Logger ec_logger { }", "No module path specified");
    check("Logger logging/ec_logger { }", "No module symbol specified");
    check("Logger logging/ec_logger ec_logger enabled twice { }", "Too many modifiers for module loader");
    let found = other(
        "Logger cluster/ec_cluster cluster { cluster_group = \"a\" }\nLogger cluster/ec_cluster ec_cluster { }\n",
    );
    assert_eq!(
        (found[0].code.0, found[0].message.as_str()),
        (6210, "Module ec_cluster may only be loaded once")
    );
    assert_eq!(found[0].position.as_ref().unwrap().line, 2);
    check_codes("Logger cluster/ec_cluster x <colour=red> { }", &[3001]);
    check_codes("Module generic/nonsense_thing x { a [ b = c d [ e = f ] ] }", &[3001]);
}

fn check_codes(text: &str, codes: &[u16]) {
    let found: Vec<u16> = load(text).diagnostics.iter().filter(|d| d.is_error()).map(|d| d.code.0).collect();
    assert_eq!(found, codes, "{text}\n{}", load(text).report());
}

#[test]
fn modules_become_stanzas() {
    becomes(
        "Logger logging/bounce_logger bounce_logger <name=\"b1\" debug_level=\"DEBUG\"> { bouncelog = \"/v/b\" }",
        "bounce_logger \"b1\" { debug_level = \"DEBUG\" bouncelog = \"/v/b\" }",
    );
    becomes(
        "Logger logging/ec_logger ec_logger passive { mainlog = /a/b }\nLogger logging/ec_logger ec_logger enabled {}",
        "ec_logger \"ec_logger\" { enabled = false mainlog = \"/a/b\" } ec_logger \"ec_logger_2\" {}",
    );
    becomes(
        "Module datasource/ds_sqlite ds_sqlite {}\nModule generic/jlog jlog {}\nModule auth/auth_ldap auth_ldap { }\n\
         Retry_Interval = 5",
        "Retry_Interval = 5",
    );
    let gone = other("Module auth/auth_mysql x { }");
    assert!(gone[0].message.contains("no equivalent") && !gone[0].is_error());
}

#[test]
fn lines_of_the_cluster_stanza() {
    becomes(
        "Logger cluster/ec_cluster cluster {\n mbus_daemon = 4803\n cluster_listener = 10.0.0.1:4802,20\n dml [ a = b ]\n\
         nodename = n1\n 10.0.0.0/8 [ cidrmask = 32 interface = eth0 ]\n logs [ a = /b ]\n}\n",
        "ECCluster_Listener { Listen \"10.0.0.1:4802\" { Listen_Backlog = 20 } } cluster { nodename = \"n1\" \
         Topology \"10.0.0.0/8\" { cidrmask = 32 interface = \"eth0\" } logs = [ a = \"/b\" ] }",
    );
    // A port that somebody chose is kept, and the load keeps any.
    assert!(migrated("cluster { mbus_daemon = 4805 }").contains("4805"));
    let config = load("cluster { bus = local mbus_daemon = 4803 }").config.unwrap();
    assert!(config.tree().instances().any(|(_, i)| i.assigned("mbus_daemon").is_some()));
    // Lines of the old form in a stanza of the new one have a warning each.
    let text = "cluster {\n  replicate [ type = inbound_cidr ]\n  10.0.0.0/8 [ interface = eth0 ]\n}";
    assert_eq!(codes(&load(text)), [('W', 3009, 2, 3), ('W', 3009, 3, 3)]);
    becomes(
        text,
        "cluster { Replicate \"inbound_cidr\" {} Topology \"10.0.0.0/8\" { interface = \"eth0\" } }",
    );
    check_codes("cluster { replicate [ parameters = snapshot ] }", &[6111]);
    check_codes("cluster { 10.0.0.0/99 [ interface = eth0 ] }", &[4010]);
}

#[test]
fn sockets_and_their_attributes() {
    becomes(
        "ESMTP_Listener = (\n 10.0.0.1\n 10.0.0.2, 300 <status=\"disabled\" duravip=yes duravip_preference=n1>\n\
         *:587 <proto=ipv6>\n *:588 <proto=ipv4 duravip_follow=\"b\">\n)\nControl_Listener = ( /tmp/2025 <file_mode=0666> )",
        "ESMTP_Listener { Listen \"10.0.0.1:25\" {} Listen \"10.0.0.2:25\" { Listen_Backlog = 300 Enable = false \
         Enable_Duravip = true Duravip_Preference = \"n1\" } Listen \"[*]:587\" {} Listen \"*:588\" { Duravip_Follow = \"b\" } } \
         Control_Listener { Listen \"/tmp/2025\" { File_Mode = 0666 } }",
    );
    check_codes("ESMTP_Listener = ( *:25 <colour=red> )", &[3001]);
    check_codes("ESMTP_Listener = ( *:25 <proto=ipx> )", &[4007]);
    check_codes("ESMTP_Listener = ( *:25 <status=maybe> )", &[4001]);
    check_codes("ESMTP_Listener = ( *:25,many )", &[4002]);
    check_codes("ESMTP_Listener = ( ::1:25 )", &[4005]);
    check_codes("ESMTP_Listener = ( *:25 [ 10.0.0.0/40 = ( continue ) ] )", &[4010]);
    check_codes("ESMTP_Listener = ( *:25 [ 10.0.0.0/8 = ( colour ) ] )", &[3001]);
    check_codes("ESMTP_Listener = ( *:25 [ 10.0.0.0/8 = ( personality [ colour = red ] ) ] )", &[3001]);
    check_codes("ESMTP_Listener = ( *:25 [ 10.0.0.0/8 = ( limits [ a = ) ] )\nRetry_Interval = 5", &[2003]);
}

#[test]
fn properties_of_rules() {
    let (found, findings) = chain(
        "10.0.0.0/8 = ( limits [ message_size = 1000 ] context [ a = b \"c\" = \"d\" ] \
         relay_for_sending_domains [ x.example = true y.example = false ] relay_hosts ( 10.1.0.0/16 ) \
         ENHANCEDSTATUSCODES [ extension = ENHANCEDSTATUSCODES ] \
         LOGIN [ extension = AUTH extension_argument = LOGIN uri = digest:///x ] \
         TLS [ extension=\"STARTTLS\" certificate=\"/c\" key=\"/k\" clientca=\"/ca\" ciphers=\"ALL\" ] ALWAYS-ALLOW )",
    );
    assert_eq!(
        found,
        "Peer \"10.0.0.0/8\" { Max_Message_Size = 1000 Context = [ a = \"b\" \"c\" = \"d\" ] \
         Relay_For_Sending_Domains = ( \"x.example\" ) Relay_Hosts = ( \"10.1.0.0/16\" ) \
         SMTP_Extensions = ( \"ENHANCEDSTATUSCODES\" \"AUTH LOGIN\" \"STARTTLS\" ) \
         AuthLoginParameters = [ uri = \"digest:///x\" ] TLS_Certificate = \"/c\" TLS_Key = \"/k\" \
         TLS_Client_CA = \"/ca\" TLS_Ciphers = \"ALL\" Always_Allow = true }"
    );
    assert_eq!(findings.len(), 0);
}

/// What a rule does not say comes from the listener and the global scope, as without any rule.
#[test]
fn options_are_set_back_to_what_the_listener_gives() {
    let text = "Relay_Hosts = ( 10.0.0.0/8 )\nESMTP_Listener { Idle_Time = 77 Context = [ a = base ] }\nESMTP_Listener = ( *:25 [\n\
                192.0.2.0/24 = ( relay_for_sending_domains )\n\
                0.0.0.0/0 = ( relay_hosts ( 127.0.0.1 ) personality [ idle_time = 5 static_banner = \"220 x\" ] \
                context [ a = x b = y ] ) ] )\n";
    let found = flat(&migrated(text));
    assert!(
        found.contains(
            "Peer \"192.0.2.0/24\" { Open_Relay = true Relay_Hosts = ( \"10.0.0.0/8\" ) Idle_Time = 77 \
             Static_Banner = \"\" Context = [ a = \"base\" b = \"\" ] }"
        ),
        "{found}"
    );
    same(text, &migrated(text));
    let config = load(text).config.unwrap();
    let settings = config.esmtp_listeners();
    let inside = settings[0].resolve(Some("192.0.2.9".parse().unwrap())).clone();
    assert_eq!(
        (inside.static_banner.clone(), inside.idle_time),
        (None, Some(core::time::Duration::from_secs(77)))
    );
}

#[test]
fn bindings_and_their_groups() {
    becomes(
        "Binding example <duravip=\"enabled\" duravip_preference=\"node5\"> { Bind_Address = 10.0.0.1 Match_Domain = \"d\" }",
        "Binding \"example\" { Enable_Duravip = true Duravip_Preference = \"node5\" Bind_Address = \"10.0.0.1\" }",
    );
    becomes(
        "Binding a { Binding_Group = companya Gateway = \"x\" }\nBinding c { }\nBinding b { Binding_Group = \"companya\" }",
        "Binding_Group \"companya\" { Binding \"a\" { Gateway = \"x\" } Binding \"b\" {} } Binding \"c\" {}",
    );
    check_codes("Binding a <colour=red> { }", &[3001]);
    check_codes("Domain a <duravip=1> { }", &[3001]);
}

#[test]
fn other_options_of_the_old_form() {
    becomes(
        "async_spool_in = 5\ncontrol_listener_timeout = 9\nmax_resident_active_queue_size = 7\nDebug_Flags = 9\nRTStats { a = b }",
        "Control_Listener { Timeout = 9 } Max_Resident_Active_Queue = 7 Debug_Flags { DEBUG = ( \"ERROR\" \"SMTP\" ) }",
    );
    becomes("Debug_Flags { INFO = 32767 }", "Debug_Flags { INFO = ( \"ALL\" ) }");
}

#[test]
fn the_old_form_can_be_refused() {
    let files = MemoryFiles::new().with(MAIN, "Binding a <duravip=1> { Bind_Address = 10.0.0.1 }");
    let outcome = Config::load(&files, &LoadRequest { legacy: Legacy::Reject, ..request() });
    assert!(outcome.config.is_none());
    assert_eq!(codes(&outcome), [('E', 3009, 1, 1)]);
}

#[test]
fn included_files_are_read_as_standing_where_they_are_included() {
    let files = MemoryFiles::new()
        .with(MAIN, "Logger cluster/ec_cluster cluster {\n include \"shared.conf\"\n}\nModule datasource/ds_core ds_core { include \"caches.conf\" }\n")
        .with("/etc/t/shared.conf", "replicate [ type = inbound_cidr ]\n10.0.0.0/8 [ interface = eth0 ]\n")
        .with("/etc/t/caches.conf", "one [ uri = \"null:\" uri2 = \"null:2\" ]\n");
    let outcome = load_with(files.clone());
    let before = outcome.config.as_ref().map(bones).unwrap_or_else(|| panic!("{}", outcome.report()));
    let paths = [MAIN, "/etc/t/caches.conf", "/etc/t/shared.conf"].map(str::to_string);
    let mut after = MemoryFiles::new();
    for found in migrate(&files, &request(), &paths, true) {
        after = after.with(&found.path, found.text.expect("no errors"));
        assert_eq!(found.left, Vec::<String>::new());
    }
    let outcome = load_with(after);
    assert_eq!(outcome.config.as_ref().map(bones), Some(before), "{}", outcome.report());
    assert!(outcome.diagnostics.iter().all(|d| d.code.0 != 3009), "{}", outcome.report());
    // Given alone, the main file tells what stays behind.
    let alone = migrate(&files, &request(), &paths[..1], true).remove(0);
    assert_eq!(alone.left, ["/etc/t/shared.conf", "/etc/t/caches.conf"]);
    // What belongs to the top level cannot come from inside.
    let files = MemoryFiles::new()
        .with(MAIN, "cluster { include x.conf }")
        .with("/etc/t/x.conf", "cluster_listener = *:4802");
    assert!(codes(&load_with(files)).contains(&('E', 3009, 1, 1)));
}

#[test]
fn comments_stay_with_what_they_are_about() {
    let old = "# head\n\n# the listeners\nESMTP_Listener = ( # all of them\n  192.168.0.1:25,200  # main\n  # second\n  192.168.0.2:25 [\n\
               /* everybody */ 0.0.0.0/0 = ( continue )\n  ]\n)\n\
               Logger cluster/ec_cluster cluster {\n  # where\n  cluster_listener = *:4802\n  # gone\n  dml [ a = b ]\n  logs [ # two\n    a = \"/b\" # first log\n  ]\n  # last\n}\n\
               async_swap_in = 3\nHostname = x # its name\n# end\n";
    let new = migrated_with_comments(old);
    insta::assert_snapshot!(new);
    assert_eq!(migrated_with_comments(&new), new);
    for comment in [
        "head",
        "the listeners",
        "all of them",
        "main",
        "second",
        "everybody",
        "where",
        "gone\n",
        "two",
        "first log",
        "last",
        "its name",
        "end",
    ] {
        assert_eq!(new.matches(comment).count(), 1, "{comment}\n{new}");
    }
}
