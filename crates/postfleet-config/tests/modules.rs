//! Modules, loggers, the manager, addresses that move: the cases of sections 8.13 to 8.17 and 11.5.

mod support;

use std::time::Duration;

use postfleet_config::schema::{Scope, Service};
use postfleet_config::{
    Agreement, Config, LoadOutcome, LoadRequest, LogDestination, LogStage, MemoryFiles, Monitor, RuleAction,
    RulePhase, RuleTrigger, Throttle,
};
use postfleet_types::CalendarTime;
use support::*;

fn manager(text: &str) -> LoadOutcome {
    let request = LoadRequest { main: Some("/etc/t/eccluster.conf".to_string()), ..request() };
    Config::load(&MemoryFiles::new().with("/etc/t/eccluster.conf", text), &request)
}

fn managed(text: &str) -> Config {
    let outcome = manager(text);
    assert_eq!(outcome.report(), "", "{text}");
    outcome.config.expect("nothing was found, so there is a configuration")
}

#[test]
fn configuration_a45_monitors() {
    let audit = clean("inbound_audit { monitors = (\"300,6\") }").inbound_audit().unwrap();
    let monitor = Monitor::parse("300,6").unwrap();
    assert_eq!(
        (audit.monitors.as_slice(), monitor.window_seconds.get(), monitor.windows.get()),
        (&[monitor][..], 300, 6)
    );
    assert_eq!(audit.maintenance_interval, Duration::from_secs(300));
    assert_eq!(audit.log_dir, "/var/log/postfleet/audit_series_logs");
    for (text, code) in [("300", 4002), ("0,6", 4003), ("300,6,1", 4002), ("300,x", 4002), ("300,0", 4003)] {
        let found = only(&format!("inbound_audit {{ monitors = (\"{text}\") }}"));
        assert_eq!(found.code.0, code, "{text}");
        assert!(found.expected.unwrap().starts_with("W,N"), "{text}");
    }
    let twice = config("inbound_audit { monitors = ( \"300,6\" \" 300 , 6 \" 1800,4 ) }");
    assert_eq!(twice.inbound_audit().unwrap().monitors.len(), 2);
    check("inbound_audit { monitors = ( \"300,6\" \" 300 , 6 \" ) }", &[('W', 3010, 1, 28)]);
    let outcome = load("inbound_audit \"ia1\" { monitors = ( \"300,6\" ) }\ninbound_audit { log_dir = /a }");
    assert_eq!(codes(&outcome), [('W', 3005, 1, 15)]);
    assert_eq!(outcome.diagnostics[0].message, "Didn't expect a name for inbound_audit; it is ignored");
    // The name is ignored: both stanzas are the one instance, which has none.
    let named = outcome.config.expect("a warning only");
    let audits: Vec<Option<&str>> = named
        .tree()
        .instances()
        .filter(|(_, instance)| instance.scope == Scope::InboundAudit)
        .map(|(_, instance)| instance.name.as_deref())
        .collect();
    assert_eq!(audits, [None]);
    let audit = named.inbound_audit().unwrap();
    assert_eq!((audit.monitors, audit.log_dir.as_str()), (vec![monitor], "/a"));
    assert!(clean("").inbound_audit().is_none());
}

const TOPOLOGY: &str = "Security { Capabilities = \"cap_net_admin,cap_net_bind_service,cap_net_raw,cap_sys_resource+ep\" }
cluster { Topology \"10.0.0.0/8\" { interface = \"eth0\" } Topology \"10.1.1.0/24\" { interface = \"eth1\" } }\n";

fn with_topology(text: &str) -> String {
    format!("{TOPOLOGY}{text}")
}

#[test]
fn configuration_a46_failover_listeners() {
    let listen = |address: &str, options: &str| {
        with_topology(&format!("ESMTP_Listener {{ Listen \"{address}\" {{ {options} }} }}"))
    };
    let found = only(&listen("10.1.1.1:25", "Enable_Duravip = true Duravip_Follow = \"b\""));
    assert_eq!(
        (found.code.0, found.message.as_str()),
        (6301, "'ESMTP_listener '10.1.1.1:25' cannot be both DuraVIP and a duravip_follow")
    );
    let found = only(&listen("10.1.1.1:25", "Duravip_Follow = \"nobody\""));
    assert_eq!(
        (found.code.0, found.message.as_str()),
        (6302, "duravip_follow is set to nobody, which does not exist")
    );
    let found = only(&listen("10.1.1.1:25", "Duravip_Follow = \"default\""));
    assert_eq!((found.code.0, found.message.as_str()), (6302, "duravip_follow is set to default binding"));
    let found = only(&listen(":25", "Enable_Duravip = true"));
    assert_eq!(
        (found.code.0, found.message.as_str()),
        (6304, "DuraVIP marked on INADDR_ANY ESMTP_listener *:25")
    );
    let both = with_topology(
        "ESMTP_Listener { Listen \"10.1.1.1:25\" {} }\nBinding b { Bind_Address = 10.1.1.1 Enable_Duravip = yes }",
    );
    let found = only(&both);
    assert_eq!(
        (found.code.0, found.message.as_str()),
        (6311, "upgrading ESMTP_listener '10.1.1.1:25' to DuraVIP")
    );
    let address = &config(&both).failover().addresses[&"10.1.1.1".parse().unwrap()];
    assert_eq!(address.listeners, [(Service::Esmtp, "10.1.1.1:25".to_string())]);
    assert_eq!(address.bindings, ["b"]);
}

#[test]
fn configuration_a47_interfaces_of_failover_addresses() {
    let text = |address: &str| {
        with_topology(&format!(
            "Binding b {{ Bind_Address = \"{address}\" Enable_Duravip = true Duravip_Preference = n2 }}"
        ))
    };
    let failover = clean(&text("10.1.1.9")).failover();
    let address = &failover.addresses[&"10.1.1.9".parse().unwrap()];
    assert_eq!((address.interface.as_deref(), address.mask), (Some("eth1"), 32));
    assert_eq!(address.preference.as_deref(), Some("n2"));
    assert_eq!(
        clean(&text("10.9.9.9")).topology("10.9.9.9".parse().unwrap()),
        Some(("eth0".to_string(), 32))
    );
    let found = only(&text("192.0.2.9"));
    assert_eq!(found.code.0, 6307);
    assert!(found.message.contains("192.0.2.9"));
}

#[test]
fn followers_live_where_a_binding_does() {
    let text = |follow: &str| {
        with_topology(&format!(
            "ESMTP_Listener {{ Listen \"10.1.1.2:25\" {{ Duravip_Follow = \"{follow}\" }} }}\n\
             Binding b {{ Bind_Address = 10.1.1.1 Enable_Duravip = yes }}\nBinding still {{ Bind_Address = 10.1.1.3 }}\n\
             Binding mine {{ Bind_Address = 10.1.1.2 Enable_Duravip = yes }}",
        ))
    };
    for follow in ["b", "10.1.1.1"] {
        let followers = clean(&text(follow)).failover().followers;
        assert_eq!(followers.len(), 1);
        assert_eq!(followers[0].follows.to_string(), "10.1.1.1");
    }
    assert_eq!(only(&text("still")).code.0, 6303);
    assert_eq!(only(&text("mine")).code.0, 6303);
    assert_eq!(only(&text("mind")).hint.unwrap(), "did you mean 'mine'?");
    assert_eq!(only(&text("10.1.1.9")).code.0, 6302);
}

#[test]
fn configuration_a49_ports_of_the_old_bus() {
    check("msgc_server { port = 4810 }\nmsgcserver_listener { Listen \":4809\" {} }", &[('E', 6220, 1, 22)]);
    clean("msgc_server { port = 4810 }");
    clean("msgc_server { port = 4810 }\nmsgcserver_listener { Listen \":4810\" {} }");
    check("msgc_client { idle_timeout = 5 }", &[('E', 6222, 1, 30)]);
    check("msgc_server { peers = [ other = 192.0.2.1 ] }", &[('W', 6223, 1, 15)]);
    clean("msgc_server { peers = [ n1 = 192.0.2.1 ] }");
}

#[test]
fn configuration_a51_logs_of_the_manager() {
    let config = managed(
        "Logs { logfile = \"/var/log/eccluster/%Y/%m/%d/%{l}/%{s}/%{n}\" file_mode = \"0640\" dir_mode = \"0755\"\n\
         Manager \"eastmgr\" { Node \"west1\" { Subscriber = () } }\nManager other { Subscriber = ( x ) } }",
    );
    let logs = config.logs().unwrap();
    let time = CalendarTime {
        year: 2026,
        month: 3,
        day: 5,
        hour: 0,
        minute: 0,
        second: 0,
        offset_minutes: 0,
        zone: "UTC",
        unix_seconds: 1_772_668_800,
    };
    assert_eq!(
        logs.logfile.unwrap().expand(&time, "mainlog", "node1", "mycluster"),
        "/var/log/eccluster/2026/03/05/mainlog/mycluster/node1"
    );
    assert_eq!((logs.file_mode, logs.dir_mode, logs.max_open), (0o640, 0o755, 256));
    assert!(config.subscribers("eastmgr", "west1").is_empty());
    assert_eq!(config.subscribers("eastmgr", "east1"), ["eastmgr", "master"]);
    assert_eq!(config.subscribers("other", "east1"), ["x"]);
    assert_eq!(config.subscribers("third", "east1"), ["third", "master"]);
    let found = only("Logs { logfile = \"/x\" }");
    assert_eq!(
        (found.code.0, found.message.as_str()),
        (3002, "'Logs' is only valid in the manager configuration")
    );
    let outcome = manager("cluster { }");
    assert_eq!(codes(&outcome), [('E', 3002, 1, 1)]);
    assert_eq!(outcome.diagnostics[0].message, "'cluster' is only valid in the node configuration");
    assert_eq!(codes(&manager("Policy_Rule r { }")), [('E', 3002, 1, 1)]);
    assert_eq!(codes(&manager("Logs { logfile = \"/%{x}\" }")), [('E', 6250, 1, 18)]);
    assert_eq!(codes(&manager("Logs { logfile = \"%Y\" }")), [('E', 4005, 1, 18)]);
}

#[test]
fn series_that_the_manager_writes() {
    let config = managed("as_logger { series_include = ( ^in ) }");
    let logger = config.as_logger().unwrap();
    assert!(logger.includes("inbound") && !logger.includes("main"));
    assert_eq!(logger.base_dir, "/var/log/postfleet-manager/aslogger");
    let logger =
        managed("as_logger { series_include_default = all series_exclude = ( main ) }").as_logger().unwrap();
    assert!(logger.includes("inbound") && !logger.includes("main"));
    assert_eq!(codes(&manager("as_logger { series_exclude = ( x ) }")), [('W', 6251, 1, 30)]);
}

#[test]
fn data_sources() {
    let config = clean("Datasource \"d\" { uri = \"csv:\" max_rows = -1 cache_life = 5 }");
    let source = &config.datasources()[0];
    assert_eq!((source.name.as_str(), source.uris.as_slice()), ("d", &["csv:".to_string()][..]));
    assert_eq!((source.max_rows, source.cache_size, source.serialized), (None, 1000, true));
    assert_eq!((source.cache_life, source.pool.as_str()), (Duration::from_secs(5), "IO"));
    let message = |text: &str| {
        let found = only(&format!("Datasource \"d\" {{ {text} }}"));
        (found.code.0, found.message)
    };
    assert_eq!(
        message("cache_life = 1"),
        (6401, "ds_core: cache d has no datasource uri configured".to_string())
    );
    assert_eq!(message("uri = abc"), (6402, "ds_core: cache d URI has bogus syntax: abc".to_string()));
    assert_eq!(
        message("uri = \"abc:x\""),
        (6403, "ds_core: cache d unable to find driver \"abc\"".to_string())
    );
    assert_eq!(
        message("uri = \"null:\" cache_life = 0"),
        (6404, "ds_core: d: serialized cache with 0 lifetime is an invalid configuration".to_string())
    );
    clean("Datasource d { uri = \"null:\" cache_life = 0 serialized = false }");
    let found = only("Datasource d { uri = \"null:\" pool = \"OI\" }");
    assert_eq!((found.code.0, found.hint.as_deref()), (4007, Some("did you mean 'IO'?")));
    clean("Datasource d { uri = \"null:\" pool = \"mine\" }\nThreadPool mine { Concurrency = 2 }");
    let found = only("Datasource d { uri = \"odbc:PWD=secret\" }");
    assert_eq!((found.code.0, found.token.as_str()), (3008, "***"));
    check(
        "cluster { Replicate d { type = cache } }\nDatasource d { uri = \"null:\" serialized = no }",
        &[('W', 6115, 2, 30)],
    );
}

const LOGGERS: &str = "ec_logger \"ec_logger\" { mainlog = \"cluster:///v/main=>master\" acctlog = \"\" heartbeat = 0 }
bounce_logger \"b\" { bouncelog = \"/v/bounce\" bouncelog_mode = 0600 }
custom_logger \"c\" { permanent_failure_logfile = \"jlog:///v/j?subscribers=a,b\"
  permanent_failure_format = \"%r\" delivery_format = \"%d\" rejection_format = \"%t\" log_rejections = off mainlog = /v/all }
cluster { logs = [ main = \"/v/main/\" ] }";

#[test]
fn loggers() {
    let config = clean(LOGGERS);
    let logger = &config.ec_loggers()[0];
    assert_eq!(
        logger.mainlog.as_ref().unwrap().destination,
        LogDestination::Journal {
            path: "/v/main".to_string(),
            subscribers: vec!["master".to_string()],
            served: true
        }
    );
    assert!(logger.acctlog.is_none() && logger.heartbeat.is_none() && logger.importlog.is_none());
    assert_eq!(logger.rejectlog.as_ref().unwrap().destination.path(), "/var/log/postfleet/rejectlog.ec");
    assert!(logger.switches.transient_failures && logger.enabled);
    let bounces = &config.bounce_loggers()[0];
    assert_eq!(bounces.bouncelog.as_ref().unwrap().mode, 0o600);
    assert_eq!(bounces.heartbeat, Some(Duration::from_secs(60)));
    let custom = &config.custom_loggers()[0];
    let stages: Vec<(LogStage, &str)> =
        custom.stages.iter().map(|stage| (stage.stage, stage.file.destination.path())).collect();
    assert_eq!(stages, [(LogStage::Delivery, "/v/all"), (LogStage::PermanentFailure, "/v/j")]);
    assert_eq!(custom.namespaces, ["custom_logger", "sieve"]);
}

#[test]
fn logs_that_nobody_writes_or_serves() {
    let found = only("ec_logger e { mainlog = \"cluster:///v/m=>x\" }\ncluster { logs = [ ] }");
    assert_eq!((found.code.0, found.position.as_ref().unwrap().line), (6231, 1));
    let found = only("cluster { logs = [ a = /v/m ] }");
    assert_eq!((found.code.0, found.hint.as_deref()), (6230, Some("a = \"cluster:///v/m=>master\"")));
    clean("cluster { }");
    check(
        "ec_logger a {}\nbounce_logger b { bouncelog = /var/log/postfleet/mainlog.ec }",
        &[('E', 6232, 2, 31)],
    );
    check("custom_logger c { log_deliveries = on }", &[('E', 6240, 1, 19)]);
    check("custom_logger c { xfer_logfile = /v/x }", &[('W', 6241, 1, 19)]);
    check("custom_logger c { xfer_format = x }", &[('E', 6242, 1, 19)]);
    check("custom_logger c { log_errors = yes }", &[('E', 6242, 1, 19)]);
    check("ec_logger c { mainlog = \"cluster:///m=>a,b\" }", &[('E', 4005, 1, 25)]);
    check("ec_logger c { mainlog = \"syslog://?facility=mail\" }", &[('W', 3008, 1, 25)]);
    check("ec_logger c { mainlog = \"jlog://v/m\" }", &[('W', 3009, 1, 25)]);
}

#[test]
fn policy_rules() {
    let config = config(
        "Policy_Rule \"a\" { key = \"%{client_addr}/24\" limit = 20 action = \"421 4.7.0 too many\" exempt = ( ::1 ) }\n\
         Policy_Rule \"b\" { phase = rcptto key = \"%{sender}\" rate = 60/60 action = \"tarpit 5\" shadow = yes }\n\
         cluster { Replicate inbound_cidr {} }",
    );
    let rules = config.policy_rules();
    assert_eq!(
        (rules[0].phase, rules[0].trigger, rules[0].exempt.len()),
        (RulePhase::Connect, RuleTrigger::Limit(20), 1)
    );
    assert_eq!(rules[0].action, RuleAction::Reply { code: 421, text: "4.7.0 too many".to_string() });
    assert_eq!(rules[1].trigger, RuleTrigger::Rate(Throttle { events: 60, seconds: 60 }));
    assert_eq!(rules[1].action, RuleAction::Tarpit(Duration::from_secs(5)));
    assert!(rules[1].shadow && rules[1].enabled);
    let rule = |text: &str| only(&format!("Policy_Rule r {{ {text} }}")).code.0;
    let action = "action = discard";
    assert_eq!(rule(&format!("key = x {action}")), 6180);
    assert_eq!(rule(&format!("key = x rate = 1 limit = 1 {action}")), 6180);
    assert_eq!(rule(&format!("rate = 1 {action}")), 6180);
    assert_eq!(rule("key = x rate = 1"), 6180);
    assert_eq!(rule("key = x rate = 1 action = \"250 ok\""), 6180);
    assert_eq!(rule(&format!("key = x limit = 1 {action}")), 6181);
    let found = only(&format!("Policy_Rule r {{ key = \"%{{client_adr}}\" rate = 1 {action} }}"));
    assert_eq!((found.code.0, found.hint.as_deref()), (4007, Some("did you mean '%{client_addr}'?")));
}

#[test]
fn routes_and_retries() {
    let config = clean(
        "Max_Retries = 5\nDomain d { Routes = ( __mx__ \"smtp://b.example.net?pref=5\" ) }\nBinding b { Gateway = \"[2001:db8::1]:26\" }",
    );
    let routing = config.routing(Some("b"), Some("d"));
    assert_eq!(routing.routes.iter().map(|route| route.preference).collect::<Vec<_>>(), [Some(10), Some(5)]);
    assert_eq!(routing.gateway.unwrap().port, Some(26));
    assert_eq!(routing.retry.retries_max(), Some(5));
    assert_eq!(clean("").routing(None, None).retry.retries_max(), Some(6));
    check("Domain d { Gateway = a Routes = ( b ) }", &[('W', 6140, 1, 12)]);
    check("Routes = ( b )\nBinding x { Domain d { Gateway = a } }", &[('W', 6140, 2, 24)]);
    check("Routes = ( \"smtp://b?prio=1\" )", &[('E', 4005, 1, 12)]);
    let found = only("Gateway = 2001:db8::1");
    assert_eq!((found.code.0, found.hint.as_deref()), (4005, Some("\"[2001:db8::1]\"")));
    check("Max_Retry_Interval = 1200", &[('W', 6150, 1, 1)]);
    clean("Max_Retry_Interval = 1200 Max_Retries = none");
    check("Delivery_Method = PIPE", &[('W', 3008, 1, 19)]);
}

#[test]
fn names_without_effect_are_said_once() {
    let config = clean(
        "Use_mmap = 1\nDomain a { LMTP_Port = 5 }\nDomain b { LMTP_Port = 6 }\nEventLoop x {}\nPathway p { }\nEventLoop y {}",
    );
    let found = config.without_effect();
    let shown: Vec<(&str, usize, u32)> =
        found.iter().map(|idle| (idle.option, idle.places, idle.position.as_ref().unwrap().line)).collect();
    assert_eq!(shown, [("use_mmap", 1, 1), ("LMTP_Port", 2, 2), ("EventLoop", 2, 4), ("Pathway", 1, 5)]);
}

#[test]
fn members_must_agree() {
    let first =
        config("cluster { Replicate metrics { parameters = \"connect;snapshot\" } Replicate OBTM {} }");
    let second = config(
        "cluster { Replicate obtm { } Replicate \"metrics\" { parameters = \"snapshot; connect\" } partition = share }",
    );
    let digest = |config: &Config| config.agreement().expect("there is a cluster").digest();
    assert_eq!(first.agreement(), second.agreement());
    let third = config("cluster { partition = quorum Replicate OBTM {} }");
    assert_eq!(Agreement::differing(digest(&first), digest(&third)), ["partition", "Replicate"]);
    assert_eq!(clean("").agreement(), None);
}
