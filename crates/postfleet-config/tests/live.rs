//! Display and change of the running configuration: cases of sections 11.2, 11.3, 11.5 and 11.6.

#[path = "support/console.rs"]
mod console;
mod support;

use console::Process;
use postfleet_config::live::{Data, Refusal, Session, redacted};
use postfleet_config::{MemoryFiles, Role};
use support::*;

const A26: &str = "Message_Expiration = 86400
Retry_Interval = 600
Domain \"example.org\" { Retry_Interval = 900  Idle_Timeout = 9 }
Binding_Group \"bulk\" {
  Retry_Interval = 1800
  Domain \"example.org\" { Idle_Timeout = 7 }
  Binding \"bulk-1\" {
    Message_Expiration = 3600
    Domain \"example.org\" { Max_Outbound_Connections = 4 }
  }
  Binding \"bulk-2\" {}
}
Binding \"solo\" { Retry_Interval = 60 }";

#[test]
fn configuration_a25_get_prints_the_registered_spelling() {
    Process::new("MAX_OUTBOUND_CONNECTIONS = 7")
        .check("config get max_outbound_connections", "Max_Outbound_Connections = 7");
}

#[test]
fn configuration_a26_eval_by_path() {
    let mut process = Process::new(A26);
    let bulk1 = "config eval binding_group bulk binding bulk-1 domain example.org";
    process.check(&format!("{bulk1} max_outbound_connections"), "Max_Outbound_Connections = 4");
    process.check(&format!("{bulk1} idle_timeout"), "Idle_Timeout = 7");
    process.check(&format!("{bulk1} retry_interval"), "Retry_Interval = 1800");
    process.check(
        "config eval binding_group bulk binding bulk-1 domain example.net message_expiration",
        "Message_Expiration = 3600",
    );
    process.check(
        "config eval binding_group bulk binding bulk-2 domain example.org message_expiration",
        "Message_Expiration = 86400",
    );
}

#[test]
fn configuration_a27_eval_and_get_differ() {
    let mut process = Process::new(A26);
    process.check("config eval binding solo domain example.org retry_interval", "Retry_Interval = 60");
    process.check("config eval binding solo domain example.org idle_timeout", "Idle_Timeout = 9");
    process.check("config eval domain example.org retry_interval", "Retry_Interval = 900");
    process.check("config eval domain example.net retry_interval", "Retry_Interval = 600");
    process.check(
        "config get binding solo idle_timeout",
        "! Option 'Idle_Timeout' is not set in scope 'Binding:solo:'.",
    );
    process.check("config get domain example.net retry_interval", "! No such scope 'Domain:example.net:'.");
}

#[test]
fn configuration_a28_eval_of_patterns() {
    let mut process = Process::new(
        "Domain \"example.org\" { Max_Outbound_Connections = 20 }
Domain \"/(^|[.])example[.](org|net)$/\" { Max_Outbound_Connections = 15 Max_Deliveries_Per_Connection = 5 }
Domain \"/[.]net$/\" { Max_Outbound_Connections = 8 Idle_Timeout = 2 }",
    );
    for (domain, values) in [
        ("example.org", ["20", "5", "5"]),
        ("example.net", ["15", "5", "2"]),
        ("mail.example.org", ["15", "5", "5"]),
        ("other.net", ["8", "0", "2"]),
    ] {
        for (option, value) in ["Max_Outbound_Connections", "Max_Deliveries_Per_Connection", "Idle_Timeout"]
            .into_iter()
            .zip(values)
        {
            process.check(&format!("config eval domain {domain} {option}"), &format!("{option} = {value}"));
        }
    }
    process.check("config locate domain other", "! No scope matches.");
    process.check("config locate domain net[$]/$", "Domain \"/[.]net$/\"\n  is at Domain:/[.]net$/:");
    process.check(
        "config locate domain example.*[(]org",
        "Domain \"/(^|[.])example[.](org|net)$/\"\n  is at Domain:/(^|[.])example[.](org|net)$/:",
    );
}

#[test]
fn configuration_a29_hosts_have_their_own_default() {
    let mut process = Process::new("Max_Outbound_Connections = 32 host \"mx.example.org\" {}");
    process.check("config eval max_outbound_connections", "Max_Outbound_Connections = 32");
    process
        .check("config eval host mx.example.org max_outbound_connections", "Max_Outbound_Connections = -1");
}

const A42: &str = "cluster {
  cluster_group = \"ec_cluster\"
  control_group = \"ec_console\"
  Replicate \"inbound_cidr\" {}
  logs = [
    rejectlog = \"/var/log/ecelerity/rejectlog.cluster\"
    paniclog = \"/var/log/ecelerity/paniclog.cluster\"
    mainlog = \"/var/log/ecelerity/mainlog.cluster\"
    acctlog = \"/var/log/ecelerity/acctlog.cluster\"
    bouncelog = \"/var/log/ecelerity/bouncelog.cluster\"
  ]
  Replicate \"outbound_cidr\" {}
  Replicate \"outbound_domains\" {}
  Replicate \"outbound_binding_domains\" {}
  Replicate \"shared_named_throttles\" {}
  Topology \"10.1.1.0/24\" { cidrmask = \"32\" interface = \"eth1\" }
}";

#[test]
fn configuration_a42_the_cluster_stanza_is_shown() {
    let mut process = Process::new(A42);
    process.check(
        "config show cluster",
        "Replicate \"inbound_cidr\" { ... }
Replicate \"outbound_cidr\" { ... }
Replicate \"outbound_domains\" { ... }
Replicate \"outbound_binding_domains\" { ... }
Replicate \"shared_named_throttles\" { ... }
Topology \"10.1.1.0/24\" { ... }
cluster_group = \"ec_cluster\"
control_group = \"ec_console\"
logs = [
  rejectlog = \"/var/log/ecelerity/rejectlog.cluster\"
  paniclog = \"/var/log/ecelerity/paniclog.cluster\"
  mainlog = \"/var/log/ecelerity/mainlog.cluster\"
  acctlog = \"/var/log/ecelerity/acctlog.cluster\"
  bouncelog = \"/var/log/ecelerity/bouncelog.cluster\"
]",
    );
    process.check("config show cluster topology 10.1.1.0/24", "cidrmask = \"32\"\ninterface = \"eth1\"");
    let located = process.run("config locate replicate");
    assert!(
        located.starts_with("Replicate \"inbound_cidr\"\n  is at cluster::Replicate:inbound_cidr:\n"),
        "{located}"
    );
}

#[test]
fn configuration_a43_parameters_of_several_stanzas_are_one_value() {
    let metrics = |words: &str| format!("Replicate \"metrics\" {{ parameters = \"{words}\" }}\n");
    let text = ["connect;reception;rejection", "audit_series", "gauge_cache"].map(metrics).concat();
    let mut process = Process::new(&format!("cluster {{ {text} }}"));
    process.check(
        "config get cluster replicate metrics parameters",
        "        parameters = \"connect;reception;rejection;audit_series;gauge_cache\"",
    );
    process.check(
        "config set cluster replicate metrics parameters \"connect;reception\"",
        "        parameters = \"connect;reception\"",
    );
    process.check("config eval cluster replicate metrics parameters", "parameters = \"connect;reception\"");
}

#[test]
fn configuration_a52_get_is_not_eval() {
    let mut process = Process::new("");
    process.check("config get blackhole", "! Option 'Blackhole' is not set in scope ''.");
    process.check("config eval blackhole", "Blackhole = 0");
    process.check("config show blackhole", "Blackhole = 0");
    process.check("config eval spool_mode", "Spool_Mode = 0640");
    process.check("config eval relay_hosts", "Relay_Hosts = ()");
}

#[test]
fn configuration_a53_unset_shows_what_holds_now() {
    let mut process =
        Process::new("Message_Expiration = 86400\nDomain d1.example { Message_Expiration = 900 }");
    process.check("config get domain d1.example message_expiration", "        Message_Expiration = 900");
    process.check(
        "config unset domain d1.example message_expiration",
        "\"Message_Expiration\" has been unset. Effective value is now:\n        Message_Expiration = 86400",
    );
    process.check("config eval domain d1.example message_expiration", "Message_Expiration = 86400");
    process.check(
        "config unset domain d1.example message_expiration",
        "! Option 'Message_Expiration' is not set in scope 'Domain:d1.example:'.",
    );
}

#[test]
fn configuration_a54_set_echoes_what_was_typed() {
    let mut process = Process::new("");
    process.check("config set suspend_delivery on", "Suspend_Delivery = on");
    process.check("config set suspend_delivery = 1", "Suspend_Delivery = 1");
    process.check("config set suspend_delivery enabled", "Suspend_Delivery = enabled");
    process.check(
        "config set Relay_Hosts ( 10.0.0.1 10.0.0.2 )",
        "Relay_Hosts = (\n  10.0.0.1\n  10.0.0.2\n  )",
    );
    process.check("config get relay_hosts", "Relay_Hosts = (\n  10.0.0.1\n  10.0.0.2\n)");
    process.check("config set esmtp_listener listen :2525 idle_time 9", "        Idle_Time = 9");
    process.check(
        "config showrecurse esmtp_listener",
        "Esmtp_Listener {\n  Listen \":2525\" {\n    Idle_Time = 9\n  }\n}",
    );
}

#[test]
fn configuration_a55_listeners_are_shown_and_located() {
    let mut process = Process::new(
        "ESMTP_Listener { Idle_Time = 300 Listen \":25\" {}
Listen \":587\" { Enable = false SMTP_Extensions = ( \"STARTTLS\" ) } }",
    );
    process.check(
        "config show ESMTP_Listener",
        "Listen \":25\" { ... }\nListen \":587\" { ... }\nIdle_Time = 300",
    );
    process.check(
        "config showrecurse ESMTP_Listener",
        "Esmtp_Listener {
  Listen \":25\" {
  }
  Listen \":587\" {
    Enable = false
    SMTP_Extensions = (
      \"STARTTLS\"
    )
  }
  Idle_Time = 300
}",
    );
    process.check(
        "config locate listen",
        "Listen \":25\"
  is at Esmtp_Listener::Listen:\\:25:
Listen \":587\"
  is at Esmtp_Listener::Listen:\\:587:",
    );
    process.check("config locate listen 58.", "Listen \":587\"\n  is at Esmtp_Listener::Listen:\\:587:");
    process.check("config locate esmtp_listener", "Esmtp_Listener\n  is at Esmtp_Listener::");
    process.check("config locate nosuch", "! No such scope 'nosuch'.");
}

#[test]
fn configuration_a56_refusals() {
    let mut process = Process::new("");
    process.check("config unset", "! The global scope cannot be unset.");
    process.check("config get nosuch", "! Unknown option 'nosuch' in scope ''.");
    process.check(
        "config get idle_timout",
        "! Unknown option 'idle_timout' in scope ''.\nDid you mean 'Idle_Timeout'?",
    );
    process.check(
        "config set idle_timeout 5m",
        "! Invalid value '5m' for 'Idle_Timeout': expected a plain number of seconds, e.g. 300.",
    );
    process.check(
        "config set suspend_delivery maybe",
        "! Invalid value 'maybe' for 'Suspend_Delivery': expected true/false, yes/no, on/off, enabled/disabled or 1/0.",
    );
    process.check("config set esmtp_listener listen 25 idle_time 9", "! Invalid name '25' for 'Listen': expected ADDRESS:PORT, *:PORT, [IPv6]:PORT, [*]:PORT or an absolute path.");
    process.check(
        "config set spoolbase /elsewhere",
        "! 'Spoolbase' cannot be changed at run time; restart required.",
    );
    process.check("config show domain", "! Domain needs the name of an instance.");
    process.check("config show logs", "! No such scope 'logs'.");
    process.check("config set gateway mx relay", "! Invalid value 'mx relay' for 'Gateway': one value is expected; put a value that contains blanks into double quotes.");
    assert_eq!(process.running.generation().number(), 1);
    assert_eq!(process.running.unsaved(), 0);
}

#[test]
fn configuration_a57_of_two_sessions_the_first_commits() {
    let mut process = Process::new("");
    let mut first = Session::default();
    assert_eq!(process.on(&mut first, "config begin"), "");
    assert_eq!(process.on(&mut first, "config set idle_timeout 8"), "Idle_Timeout = 8");
    process.check("config eval idle_timeout", "Idle_Timeout = 5");
    assert_eq!(process.on(&mut first, "config eval idle_timeout"), "Idle_Timeout = 8");
    process.check("config set retry_interval 60", "Retry_Interval = 60");
    assert_eq!(
        process.on(&mut first, "config commit"),
        "! Commit failed: the running configuration has changed."
    );
    assert_eq!(process.on(&mut first, "config replay"), "config set idle_timeout 8");
    assert_eq!(process.on(&mut first, "config begin"), "! A transaction is already in progress.");
    assert_eq!(process.on(&mut first, "config rollback"), "");
    process.check("config eval idle_timeout", "Idle_Timeout = 5");
    process.check("config eval retry_interval", "Retry_Interval = 60");
    for command in ["commit", "rollback", "replay"] {
        process.check(&format!("config {command}"), "! No transaction in progress.");
    }
}

#[test]
fn transactions_are_checked_as_a_whole() {
    let mut process = Process::new("");
    let mut session = Session::default();
    let mut run = |line: &str| process.on(&mut session, line);
    assert_eq!(run("config begin"), "");
    assert_eq!(run("config set min_dns_ttl 100"), "Min_DNS_TTL = 100");
    assert_eq!(run("config set max_dns_ttl 10"), "Max_DNS_TTL = 10");
    let refused = run("config commit");
    assert!(
        refused.starts_with("! Configuration error in console at line 1, column 24 near '100'\nCFG-4003"),
        "{refused}"
    );
    assert!(refused.ends_with("Reconfigure failed."), "{refused}");
    // The transaction goes on.
    assert_eq!(run("config set max_dns_ttl 1000"), "Max_DNS_TTL = 1000");
    assert_eq!(run("config diff"), "config set min_dns_ttl 100\nconfig set max_dns_ttl 1000");
    assert_eq!(run("config commit"), "");
    assert_eq!(process.running.generation().number(), 2);
    assert_eq!(process.running.unsaved(), 2);
    process.check("config get max_dns_ttl", "Max_DNS_TTL = 1000");
    process.reload();
    assert_eq!((process.running.generation().number(), process.running.unsaved()), (3, 0));
    process.check("config get max_dns_ttl", "! Option 'Max_DNS_TTL' is not set in scope ''.");
}

#[test]
fn a_change_alone_is_checked_as_a_whole_and_warns_once() {
    let mut process = Process::new("");
    let warned = process.run("config set cluster_max_outbound_connections 5");
    assert!(
        warned.starts_with(
            "Warning in console at line 1, column 12 near 'cluster_max_outbound_connections'\nCFG-6131 "
        ),
        "{warned}"
    );
    assert!(warned.ends_with("\nCluster_Max_Outbound_Connections = 5"), "{warned}");
    process.check("config set idle_timeout 6", "Idle_Timeout = 6");
}

#[test]
fn transactions_from_scratch_begin_with_what_is_always_there() {
    let mut process = Process::new(
        "Idle_Timeout = 7\nTimestampFormat = \"%s\"\nDebug_Flags { INFO = ( ALL ) }\nThreadPool \"CPU\" { Concurrency = 2 }
ThreadPool \"own\" { Concurrency = 3 }\nDomain \"a.example\" { Idle_Timeout = 9 }",
    );
    let mut session = Session::default();
    let mut run = |line: &str| process.on(&mut session, line);
    assert_eq!(run("config begin from scratch"), "");
    assert_eq!(
        run("config showrecurse"),
        "Debug_Flags {
  INFO = (
    ALL
  )
}
ThreadPool \"CPU\" {
  Concurrency = 2
}
TimestampFormat = \"%s\""
    );
    assert_eq!(run("config unset timestampformat"), "! 'TimestampFormat' cannot be unset.");
    assert_eq!(run("config unset debug_flags"), "! 'Debug_Flags' cannot be unset.");
    assert_eq!(run("config unset threadpool CPU"), "! 'ThreadPool' cannot be unset.");
    assert_eq!(run("config set retry_interval 60"), "Retry_Interval = 60");
    assert_eq!(run("config replay"), "config set retry_interval 60");
    assert_eq!(run("config commit"), "");
    process.check("config get idle_timeout", "! Option 'Idle_Timeout' is not set in scope ''.");
    process.check("config locate domain", "! No scope matches.");
    process.check(
        "config diff",
        "config unset Idle_Timeout\nconfig unset ThreadPool own\nconfig unset Domain a.example\nconfig set retry_interval 60",
    );
}

#[test]
fn what_needs_a_restart_is_stored_by_a_transaction() {
    let mut process = Process::new("Spoolbase = \"/a\"");
    let mut session = Session::default();
    let mut run = |line: &str| process.on(&mut session, line);
    assert_eq!(run("config begin"), "");
    assert_eq!(run("config set spoolbase /b"), "Spoolbase = /b");
    assert_eq!(
        run("config commit"),
        "Warning in console at line 1, column 12 near 'Spoolbase'
CFG-7001 'Spoolbase' cannot be changed at run time; restart required."
    );
    process.check("config get spoolbase", "Spoolbase = /b");
    process.check("config eval spoolbase", "Spoolbase = \"/a\"");
    process.check(
        "config where spoolbase",
        "Spoolbase = \"/a\"
  is set in the global scope at /etc/t/ecelerity.conf:1:13
  will be /b after a restart, set in the global scope at a console",
    );
    // Another change does not say it again.
    process.check("config set idle_timeout 6", "Idle_Timeout = 6");
}

#[test]
fn where_tells_what_a_value_hides() {
    let mut process = Process::new(&format!("{A26}\nRetry_Interval = 700"));
    process.check(
        "config where binding_group bulk binding bulk-1 domain example.org retry_interval",
        "Retry_Interval = 1800
  is set in Binding_Group:bulk: at /etc/t/ecelerity.conf:5:20
  hides 900 in Domain:example.org: at /etc/t/ecelerity.conf:3:41
  hides 700 in the global scope at /etc/t/ecelerity.conf:14:18
  hides 600 in the global scope at /etc/t/ecelerity.conf:2:18",
    );
    process.check("config set retry_interval 800", "Retry_Interval = 800");
    process.check(
        "config where retry_interval",
        "Retry_Interval = 800
  is set in the global scope at a console
  hides 700 in the global scope at /etc/t/ecelerity.conf:14:18
  hides 600 in the global scope at /etc/t/ecelerity.conf:2:18",
    );
    process.check("config where blackhole", "Blackhole = 0\n  is the default");
    let mut session = Session::default();
    let command = postfleet_config::live::Command::parse("config where retry_interval", Role::Node).unwrap();
    let postfleet_config::live::Step::Done(reply) = session.perform(&command, &process.running).unwrap()
    else {
        panic!("it changes nothing");
    };
    let Data::Option(data) = reply.data else { panic!("{:?}", reply.data) };
    assert_eq!((data.scope, data.set_in, data.position), (vec![], Some(vec![]), None));
    assert_eq!(data.hidden.len(), 2);
}

#[test]
fn changes_that_take_each_other_back_are_none() {
    let mut process = Process::new("Idle_Timeout = 7\nDomain \"a.example\" { Idle_Timeout = 9 }");
    process.check("config set idle_timeout 8", "Idle_Timeout = 8");
    process.check("config set idle_timeout 9", "Idle_Timeout = 9");
    assert_eq!(process.running.unsaved(), 1);
    process.check("config set idle_timeout 7", "Idle_Timeout = 7");
    assert_eq!(process.running.unsaved(), 0);
    process.check("config set domain b.example idle_timeout 1", "        Idle_Timeout = 1");
    process.check("config unset domain b.example", "Domain \"b.example\" has been unset.");
    assert_eq!(process.running.unsaved(), 0);
    process.check("config unset domain a.example", "Domain \"a.example\" has been unset.");
    process.check("config unset domain a.example", "! No such scope 'Domain:a.example:'.");
    process.check("config set domain a.example idle_timeout 9", "        Idle_Timeout = 9");
    assert_eq!(process.running.unsaved(), 2);
    assert_eq!(process.running.generation().number(), 8);
}

#[test]
fn a_new_instance_is_checked_like_one_in_a_file() {
    let mut process = Process::new("Binding_Group \"g\" { Binding \"b\" {} }");
    let refused = process.run("config set binding b message_expiration 5");
    assert!(refused.contains("CFG-3006 duplicate binding name b"), "{refused}");
    assert!(refused.contains("see also /etc/t/ecelerity.conf at line 1, column 21"), "{refused}");
    process
        .check("config set binding_group g binding b message_expiration 5", "        Message_Expiration = 5");
}

#[test]
fn the_whole_configuration_as_one_text_loads_again() {
    let mut process = Process::with(
        MemoryFiles::new()
            .with(
                MAIN,
                format!("include c.conf\n{A26}\nESMTP_Listener {{ Reconfig_Message = 'a \"b\"' }} # why\n"),
            )
            .with("/etc/t/c.conf", format!("{A42}\nTimestampFormat = \"q\\\"uote\\\\d\\\\n\"")),
    );
    process.check("config set idle_timeout 12", "Idle_Timeout = 12");
    let text = process.run("write config");
    let again = Process::new(&text);
    let change = postfleet_config::live::Change::between(
        process.running.configured(),
        again.running.configured(),
        vec![],
    );
    assert_eq!(change.differences, []);
}

#[test]
fn secrets_stay_out_of_logs_and_messages() {
    let log = |line: &str| redacted(line, Role::Node);
    assert_eq!(log("config set idle_timeout 5"), "config set idle_timeout 5");
    assert_eq!(
        log("config set control_listener authdigestmd5parameters [ uri = \"digest:///x\" ]"),
        "config set control_listener authdigestmd5parameters ***"
    );
    assert_eq!(log("config set nosuch password hunter2"), "config set nosuch ***");
    assert_eq!(log("config get idle_timeout"), "config get idle_timeout");
}

#[test]
fn lines_that_are_no_commands_are_refused() {
    let mut process = Process::new("");
    for line in [
        "config",
        "config nosuch",
        "config get",
        "config set idle_timeout",
        "config begin at once",
        "config set relay_hosts ( 10.0.0.1",
        "config set idle_timeout \"5",
        "config get idle_timeout more",
        "config locate",
        "write",
        "config set Binding = 5",
    ] {
        let refused = process.try_on(&mut Session::default(), line);
        assert!(
            matches!(
                refused,
                Err(Refusal::Usage(_) | Refusal::UnknownOption { .. } | Refusal::NameMissing(_))
            ),
            "{line}: {refused:?}"
        );
    }
}

#[test]
fn candidates_follow_the_schema_and_the_instances() {
    let process = Process::new(
        "ESMTP_Listener { Listen \":25\" { Peer \"10.0.0.0/8\" {} } } Domain \"a.example\" {} Domain \"/x y/\" {}",
    );
    let candidates = |line: &str| postfleet_config::live::completions(line, process.running.configured());
    let has = |line: &str, words: &[&str]| {
        let found = candidates(line);
        for word in words {
            assert!(found.iter().any(|other| other == word), "{line}: {word} is not in {found:?}");
        }
    };
    has("config get ", &["Domain", "ESMTP_Listener", "Idle_Timeout"]);
    has("config get Idl", &["Idle_Timeout"]);
    assert_eq!(candidates("config get domain "), ["a.example", "\"/x y/\""]);
    has("config set esmtp_listener listen :25 ", &["Peer", "Idle_Time", "Enable"]);
    assert_eq!(candidates("config set esmtp_listener listen "), [":25"]);
    assert_eq!(candidates("config show esmtp_listener listen :25 peer "), ["10.0.0.0/8"]);
    assert_eq!(candidates("config set suspend_delivery "), ["true", "false", "on", "off"]);
    assert_eq!(candidates("config set suspend_delivery = "), ["true", "false", "on", "off"]);
    assert_eq!(candidates("config get suspend_delivery "), [""; 0]);
    has("config locate ", &["Listen", "Domain"]);
    assert!(!candidates("config locate ").contains(&"Logs".to_string()));
    assert!(!candidates("config showrecurse ").contains(&"Idle_Timeout".to_string()));
    for line in ["config", "config nosuch ", "config get nosuch ", "config get domain a.example nosuch "] {
        assert_eq!(candidates(line), [""; 0], "{line}");
    }
}

#[test]
fn what_another_session_saves_during_a_transaction_stays_saved() {
    let mut process = Process::new("");
    process.check("config set retry_interval 60", "Retry_Interval = 60");
    let mut first = Session::default();
    assert_eq!(process.on(&mut first, "config begin"), "");
    assert_eq!(process.on(&mut first, "config set idle_timeout 8"), "Idle_Timeout = 8");
    assert_eq!(process.write_back(None), "Configuration written to /etc/t/ecelerity.conf.");
    assert_eq!(process.on(&mut first, "config commit"), "");
    assert_eq!(process.running.unsaved(), 1);
    process.check("config diff", "config set idle_timeout 8");
    process.check("config eval retry_interval", "Retry_Interval = 60");
}
