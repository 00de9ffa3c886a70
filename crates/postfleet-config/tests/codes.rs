//! Every number of the table that belongs to loading can be produced, and no other is.

#[path = "support/console.rs"]
mod console;
mod support;

use std::collections::BTreeSet;

use console::Process;
use postfleet_config::live::{Refusal, Session};
use postfleet_config::{Config, LoadOutcome, LoadRequest, MemoryFiles, Stage};
use support::*;

const CLUSTER: &str = "cluster { Topology 10.0.0.0/8 { interface = e } }\n";

/// What each number is the finding of. Files other than the main one follow behind a line `--- NAME`.
const CASES: &[(u16, &str)] = &[
    (1001, "Hostname = \"a"),
    (1002, "/* a"),
    (1003, "Hostname = a/* b */"),
    (1004, "Hostname = a\0b"),
    (1005, "Hostname = “a”"),
    (1006, "*/"),
    (2001, "Hostname ="),
    (2002, "cluster {"),
    (2003, "}"),
    (2004, "Gateway = mx relay"),
    (2005, "Domain = \"x\" { }"),
    (2006, "ESMTP_Listener { Context = [ a = [ ] ] }"),
    (3001, "Hostnam = a"),
    (3002, "Idle_Time = 5"),
    (3003, "Domain = x"),
    (3004, "Domain { }"),
    (3005, "cluster \"x\" { }"),
    (3006, "Binding a { }\nBinding_Group g { Binding a { } }"),
    (3007, "Binding \"a:b\" { }"),
    (3008, "conntrol { }"),
    (3009, "cluster { subcluster = x }"),
    (3010, "Hostname = a Hostname = b"),
    (4001, "Use_IPv6 = maybe"),
    (4002, "Retry_Interval = x"),
    (4003, "Retry_Interval = 0"),
    (4004, "Spool_Mode = 0689"),
    (4005, "Gateway = \"a b\""),
    (4006, "Outbound_Throttle_Messages = x"),
    (4007, "Delivery_Method = pigeon"),
    (4008, "Hostname = ( a )"),
    (4009, "Hostname = [ a = b ]"),
    (4010, "Relay_Hosts = ( 10.0.0.0/33 )"),
    (4011, "Domain \"/(/\" { }"),
    (4012, "Retry_Interval = 20m"),
    (4013, "Relay_Hosts = ( 10.1.2.3/8 )"),
    (5001, "include no.conf"),
    (5002, "include unreadable.conf"),
    (5003, "include ecelerity.conf"),
    (5004, "include \"http://a/b\""),
    (5005, "include deep0.conf"),
    (5006, "include d\n--- d/a.bak\n"),
    (5010, "Local_Changes_File = ecelerity.conf"),
    (5011, "Local_Changes_Only = yes"),
    (6110, "cluster { Replicate x { type = cache } }"),
    (6111, "cluster { Replicate x { } }"),
    (6112, "cluster { Replicate OBTM { max_size = 1 } }"),
    (6113, "cluster { Replicate metrics { parameters = bogus } }"),
    (6114, "cluster { Replicate OBTM { parameters = connect } }"),
    (6115, "cluster { Replicate d { type = cache } }\nDatasource d { uri = \"null:\" serialized = no }"),
    (
        6116,
        "cluster { Replicate a { type = OBTM replication_name = x } Replicate b { type = OBTM replication_name = x } }",
    ),
    (6117, "cluster { Replicate outbound_cidr { binding_group = g } }"),
    (6121, "Server_Max_File_Descriptors = 2000"),
    (6122, "Security { user = root Capabilities = \"cap_net_raw+ep\" }"),
    (6130, "cluster { }\nCluster_Outbound_Throttle_Messages = 1"),
    (6131, "Cluster_Outbound_Throttle_Messages = 1"),
    (6140, "Gateway = a Routes = ( b )"),
    (6150, "Max_Retry_Interval = 5"),
    (6160, "ESMTP_Listener { Listen :25 { } }\nECStream_Listener { Listen :25 { } }"),
    (
        6170,
        "Control_Listener { Listen \"127.0.0.1:2025\" { AuthLoginParameters = [ uri = \"file:///x\" ] } }",
    ),
    (6171, "Policy_Listener { Listen :10040 { } }"),
    (6172, "Control_Listener { Listen :2025 { } }"),
    (6180, "Policy_Rule r { key = x action = discard }"),
    (6181, "Policy_Rule r { key = x limit = 1 action = discard }"),
    (6201, "cluster { nodeaddr = 127.0.0.1 }"),
    (6220, "msgc_server { port = 1 }\nmsgcserver_listener { Listen :2 { } }"),
    (6221, "msgc_server { peers = [ A = 192.0.2.1 ] }"),
    (6222, "msgc_client { keepalive_interval = 30 }"),
    (6223, "msgc_server { peers = [ a = 192.0.2.1 ] }"),
    (6224, "cluster { bus = local mbus_daemon = \"192.0.2.1:1\" }"),
    (6227, "ECCluster_Listener { TLS = required }"),
    (6230, "cluster { logs = [ a = /a ] }"),
    (6231, "ec_logger a { mainlog = \"cluster:///a\" }"),
    (6232, "ec_logger a { }\nec_logger b { }"),
    (6240, "custom_logger c { log_deliveries = on }"),
    (6241, "custom_logger c { delivery_logfile = /a }"),
    (6242, "custom_logger c { delivery_format = a }"),
    (6250, "manager: Logs { logfile = \"/%{x}\" }"),
    (6251, "manager: as_logger { series_exclude = ( a ) }"),
    (6301, "ESMTP_Listener { Listen 10.0.0.1:25 { Enable_Duravip = yes Duravip_Follow = a } }"),
    (6302, "ESMTP_Listener { Listen 10.0.0.1:25 { Duravip_Follow = a } }"),
    (6303, "ESMTP_Listener { Listen 10.0.0.1:25 { Duravip_Follow = a } }\nBinding a { }"),
    (6304, "ESMTP_Listener { Listen :25 { Enable_Duravip = yes } }"),
    (6305, "Binding a { Enable_Duravip = yes }"),
    (6306, "cluster { nodeaddr = 10.0.0.1 }\nBinding a { Enable_Duravip = yes Bind_Address = 10.0.0.1 }"),
    (6307, "cluster { }\nBinding a { Enable_Duravip = yes Bind_Address = 10.0.0.1 }"),
    (
        6308,
        "moves: Binding a { Enable_Duravip = yes Bind_Address = 10.0.0.1 Duravip_Preference = x }\n\
            Binding b { Enable_Duravip = yes Bind_Address = 10.0.0.1 Duravip_Preference = y }",
    ),
    (6309, "many: 10241"),
    (6310, "moves: Binding a { Enable_Duravip = yes Bind_Address = 10.0.0.1 }"),
    (
        6311,
        "moves: Binding a { Enable_Duravip = yes Bind_Address = 10.0.0.1 }\nBinding b { Bind_Address = 10.0.0.1 }",
    ),
    (6312, "Binding a { Enable_Duravip = yes Bind_Address = 10.0.0.1 }"),
    (6321, "cluster { duravip_lease = 10 }"),
    (6401, "Datasource d { }"),
    (6402, "Datasource d { uri = x }"),
    (6403, "Datasource d { uri = \"x:\" }"),
    (6404, "Datasource d { uri = \"null:\" cache_life = 0 }"),
];

fn produce(case: &str) -> LoadOutcome {
    let (name, text) = match case.strip_prefix("manager: ") {
        Some(text) => ("/etc/t/eccluster.conf", text),
        None => (MAIN, case),
    };
    let mut text = match text.strip_prefix("moves: ") {
        Some(text) => format!("{CLUSTER}{text}"),
        None => text.to_string(),
    };
    if let Some(count) = text.strip_prefix("many: ") {
        let count: u32 = count.parse().expect("the case gives a number");
        let bindings: Vec<String> = (0..count)
            .map(|at| {
                let address = std::net::Ipv4Addr::from(0x0a01_0000 + at);
                format!("Binding b{at} {{ Enable_Duravip = yes Bind_Address = {address} }}\n")
            })
            .collect();
        text = format!("{CLUSTER}{}", bindings.concat());
    }
    let mut files = MemoryFiles::new().with_unreadable("/etc/t/unreadable.conf", "Permission denied");
    for at in 0..70 {
        files = files.with(&format!("/etc/t/deep{at}.conf"), format!("include deep{}.conf", at + 1));
    }
    let mut parts = text.split("\n--- ");
    files = files.with(name, parts.next().unwrap_or(""));
    for part in parts {
        let (file, content) = part.split_once('\n').unwrap_or((part, ""));
        files = files.with(&format!("/etc/t/{file}"), content);
    }
    Config::load(&files, &LoadRequest { main: Some(name.to_string()), ..request() })
}

/// Of the 2.x form.
const OLDER: &[(u16, &str)] = &[
    (6118, "Logger cluster/ec_cluster c { replicate [ type = cache ] }"),
    (6210, "Logger cluster/ec_cluster c { }\nLogger cluster/ec_cluster c { }"),
];

#[test]
fn every_code_of_the_older_form_can_be_produced() {
    let listed: Vec<u16> =
        postfleet_config::codes().filter(|row| row.stage == Stage::Older).map(|row| row.code).collect();
    assert_eq!(OLDER.iter().map(|(code, _)| *code).collect::<Vec<_>>(), listed);
    for (code, case) in OLDER {
        let outcome = produce(case);
        assert!(
            outcome.diagnostics.iter().any(|found| found.code.0 == *code),
            "CFG-{code}: {}",
            outcome.report()
        );
    }
}

/// Codes of the console have a test each, by the sentence that goes with them; those that need a host or other members are
/// tested where a node runs.
#[test]
fn every_code_of_the_console_can_be_produced() {
    let mut process = Process::with(MemoryFiles::new().with_read_only(MAIN, "Spoolbase = \"/a\"\n"));
    let mut session = Session::default();
    let mut tried = BTreeSet::new();
    let mut check = |code: u16, said: &str, text: &str| {
        assert!(said.contains(text), "CFG-{code}: {said}");
        tried.insert(code);
    };
    check(7011, &process.on(&mut session, "config commit"), "No transaction in progress.");
    process.on(&mut session, "config begin");
    check(7011, &process.on(&mut session, "config begin"), "A transaction is already in progress.");
    check(
        7012,
        &Refusal::InTransaction.to_string(),
        "A transaction is in progress; commit or roll back first.",
    );
    process.on(&mut session, "config set spoolbase /b");
    process.run("config set idle_timeout 9");
    check(
        7010,
        &process.on(&mut session, "config commit"),
        "Commit failed: the running configuration has changed.",
    );
    process.on(&mut session, "config rollback");
    process.on(&mut session, "config begin");
    process.on(&mut session, "config set spoolbase /b");
    check(
        7001,
        &process.on(&mut session, "config commit"),
        "CFG-7001 'Spoolbase' cannot be changed at run time",
    );
    check(7020, &process.write_back(None), "Warning: not all changes could be saved.");
    let listed: BTreeSet<u16> =
        postfleet_config::codes().filter(|row| row.stage == Stage::Command).map(|row| row.code).collect();
    assert_eq!(tried, listed);
}

#[test]
fn every_code_of_loading_can_be_produced() {
    let listed: BTreeSet<u16> =
        postfleet_config::codes().filter(|row| row.stage == Stage::Load).map(|row| row.code).collect();
    let tried: BTreeSet<u16> = CASES.iter().map(|(code, _)| *code).collect();
    assert_eq!(tried, listed, "the cases and the table name the same numbers");
    for (code, case) in CASES {
        let outcome = produce(case);
        let found = outcome.diagnostics.iter().find(|found| found.code.0 == *code);
        let found = found.unwrap_or_else(|| panic!("CFG-{code} by {case}\n{}", outcome.report()));
        let row = postfleet_config::codes().find(|row| row.code == *code).unwrap();
        assert!(
            if found.is_error() { row.error } else { row.warning },
            "CFG-{code} is of the kind in the table"
        );
        assert!(found.position.is_some(), "CFG-{code} has a place");
    }
}

/// A finding without a remedy leaves the operator alone: what was expected, a hint, or a second place.
#[test]
fn every_error_says_what_to_do() {
    let told: &[u16] = &[1003, 1004, 1006, 3002, 3005, 3006, 3007, 4011, 5002, 5003, 6111, 6224];
    for (_, case) in CASES.iter().filter(|(code, _)| *code != 6309) {
        for found in
            produce(case).diagnostics.iter().filter(|found| found.is_error() && !told.contains(&found.code.0))
        {
            assert!(
                found.expected.is_some() || found.hint.is_some() || found.see_also.is_some(),
                "CFG-{} by {case}: {found}",
                found.code.0
            );
        }
    }
}

/// The files alone do not tell these: the rings and members are tested where they are seen, the interfaces here.
#[test]
fn codes_of_a_running_node_are_few() {
    let listed: Vec<u16> =
        postfleet_config::codes().filter(|row| row.stage == Stage::Running).map(|row| row.code).collect();
    assert_eq!(listed, [6182, 6183, 6225, 6226, 6233, 6234, 6235, 6320, 7021]);
    let config = produce("cluster { Topology 10.0.0.0/8 { interface = eth9 } }").config.expect("it is right");
    let found: Vec<u16> = config.check_interfaces(&|_| false).iter().map(|found| found.code.0).collect();
    assert_eq!(found, [6320]);
}
