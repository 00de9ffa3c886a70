//! What consoles show beyond what is set: what always exists, what is kept and not read, what stays hidden, and what
//! members must agree on.

#[path = "support/console.rs"]
mod console;
mod support;

use console::Process;
use postfleet_config::MemoryFiles;
use postfleet_config::live::{Command, Data, Session, Step};
use support::*;

#[test]
fn what_always_exists_is_shown_as_implied() {
    let mut process = Process::new("Binding \"b1\" {}\nThreadPool \"IO\" { Concurrency = 9 }\n");
    process.check(
        "config locate binding",
        "Binding \"b1\"\n  is at Binding:b1:\nBinding \"default\"\n  is at Binding:default: (implied)",
    );
    process.check(
        "config locate binding_group",
        "Binding_Group \"default\"\n  is at Binding_Group:default: (implied)",
    );
    process.check("config locate threadpool ^IO$", "ThreadPool \"IO\"\n  is at ThreadPool:IO:");
    process.check(
        "config locate threadpool Swap",
        concat!(
            "ThreadPool \"SwapOut\"\n  is at ThreadPool:SwapOut: (implied)\n",
            "ThreadPool \"SwapIn\"\n  is at ThreadPool:SwapIn: (implied)"
        ),
    );
    process.check("config show", concat!(
        "Binding \"b1\" { ... }\nThreadPool \"IO\" { ... }\nBinding_Group \"default\" { ... }\n",
        "Binding \"default\" { ... }\nThreadPool \"SwapOut\" { ... }\nThreadPool \"SwapIn\" { ... }\n",
        "ThreadPool \"Unlink\" { ... }\nThreadPool \"Batch_Unlink\" { ... }\nThreadPool \"Close\" { ... }\n",
        "ThreadPool \"CPU\" { ... }\nThreadPool \"SpoolIn\" { ... }"
    ));
    // Text that can be read again does not say what is always so.
    process.check("config showrecurse", "Binding \"b1\" {\n}\nThreadPool \"IO\" {\n  Concurrency = 9\n}");
    process.check("config show binding default", "");
    process.check("config eval threadpool IO concurrency", "Concurrency = 9");
    process.check("config eval threadpool Unlink concurrency", "Concurrency = 6");
    process.check("config eval threadpool Unlink backlog", "Backlog = 100");
    process.check(
        "config get threadpool Unlink backlog",
        "! Option 'Backlog' is not set in scope 'ThreadPool:Unlink:'.",
    );
}

#[test]
fn an_implied_instance_that_is_unset_has_its_defaults_again() {
    let text = "Binding \"default\" { Idle_Timeout = 7 }\n";
    let mut process = Process::new(text);
    process.check("config unset binding default", "Binding \"default\" has its defaults again.");
    process.check("config eval binding default idle_timeout", "Idle_Timeout = 5");
    process.check("config locate binding", "Binding \"default\"\n  is at Binding:default: (implied)");
    process.check("config set binding default idle_timeout 8", "        Idle_Timeout = 8");
    assert_eq!(process.write_back(None), format!("Configuration written to {MAIN}."));
    assert_eq!(process.file(MAIN), "Binding \"default\" { Idle_Timeout = 8 }\n");
    process.reload();
    process.check("config get binding default idle_timeout", "        Idle_Timeout = 8");
    // Nobody wrote it, and nothing is to be saved.
    let mut process = Process::new("");
    process.check("config unset threadpool IO", "ThreadPool \"IO\" has its defaults again.");
    assert_eq!(process.running.unsaved(), 0);
    process.check("config set threadpool IO concurrency 3", "        Concurrency = 3");
    assert_eq!(process.write_back(None), format!("Configuration written to {MAIN}."));
    assert_eq!(process.file(MAIN), "ThreadPool \"IO\" { Concurrency = 3 }\n");
}

const UNREAD: &str = "conntrol {
  pwd = \"secret\"
  inner \"x\" {
    a = ( 1 2 )
  }
}
Hostname = \"mx1.example.net\"
Binding \"b\" {
  Bounce_Pattern = \"^b\\d+\"
}
EventLoop \"e\" {
  anything = 5
}
Bounce_Pattern = one
Bounce_Pattern = two
include unread.conf
";

/// What an operator has written and this version does not read is part of the text that a node gives back.
#[test]
fn write_config_has_what_is_not_read() {
    let files = MemoryFiles::new()
        .with(MAIN, UNREAD)
        .with("/etc/t/unread.conf", "Use_mmap = on\npipe_transport \"p\" { include more.conf }\n")
        .with("/etc/t/more.conf", "b = [ k = v ]\n");
    let mut process = Process::with(files);
    let text = process.running.text();
    assert_eq!(
        text,
        "Binding \"b\" {
  Bounce_Pattern = \"^b\\d+\"
}
EventLoop \"e\" {
  anything = 5
}
conntrol {
  pwd = \"secret\"
  inner \"x\" {
    a = (
      1
      2
    )
  }
}
pipe_transport \"p\" {
  b = [
    k = v
  ]
}
Hostname = \"mx1.example.net\"
Bounce_Pattern = two
Use_mmap = on
"
    );
    let again = Process::new(&text);
    assert_eq!(again.running.text(), text);
    let shown = process.run("config showrecurse");
    assert_eq!(shown, text.replace("secret", "***").trim_end());
    process.check("config show binding b", "Bounce_Pattern = \"^b\\d+\"");
    for line in [
        "config show conntrol",
        "config showrecurse conntrol",
        "config get binding b bounce_pattern",
        "config set use_mmap on",
    ] {
        let said = process.run(line);
        assert!(said.starts_with("! '") && said.contains(" is known and not read; "), "{line}: {said}");
    }
    assert!(process.run("config show").contains("conntrol { ... }\npipe_transport \"p\" { ... }\nHostname"));
}

const SECRETS: &str = "Datasource \"d\" {
  uri = (
    \"odbc:DSN=a;UID=u;PWD=geheim\"
    \"mysql://u:geheim@h/d\"
  )
}
ESMTP_Listener {
  Context = [
    db_password = \"geheim\"
    other = \"seen\"
  ]
}
";

#[test]
fn consoles_show_no_passwords() {
    let mut process = Process::new(SECRETS);
    let mut commands: Vec<String> = [
        "config get datasource d uri",
        "config eval datasource d uri",
        "config where datasource d uri",
        "config show datasource d",
        "config show datasource d uri",
        "config showrecurse",
        "config show esmtp_listener",
        "config get esmtp_listener context",
        "config set datasource d uri \"odbc:DSN=b;PWD=geheim\"",
        "config where datasource d uri",
        "config diff",
    ]
    .map(String::from)
    .into();
    commands.push("config get datasource d uri".into());
    for line in &commands {
        let shown = process.run(line);
        assert!(shown.contains("***") && !shown.contains("geheim"), "{line}: {shown}");
        let command = Command::parse(line, postfleet_config::Role::Node).unwrap();
        let data = match Session::default().perform(&command, &process.running).unwrap() {
            Step::Done(reply) => reply.data,
            Step::Activate(activation) => activation.reply.data,
        };
        assert!(!format!("{data:?}").contains("geheim"), "{line}: {data:?}");
        assert!(!matches!(data, Data::Lines), "{line}");
    }
    // What is written for a file is whole.
    assert!(process.running.text().contains("\"odbc:DSN=b;PWD=geheim\""));
    assert_eq!(process.write_back(None), format!("Configuration written to {MAIN}."));
    assert!(process.file(MAIN).contains("\"odbc:DSN=b;PWD=geheim\""));
}

#[test]
fn digest_names_what_must_be_equal() {
    let mut process = Process::new(
        "cluster { partition = quorum Replicate \"OBTM\" {} Replicate \"inbound_cidr\" {} }\n\
         msgc_server { peers = [ n2 = 192.0.2.2 n1 = 192.0.2.1 ] }",
    );
    let digest = process.running.in_effect().agreement().unwrap().digest();
    let shown = process.run("config digest");
    let mut lines = shown.lines();
    assert_eq!(lines.next(), Some(format!("Digest {digest:016x}").as_str()));
    let values: Vec<(String, String)> = lines
        .map(|line| {
            let (option, rest) = line.split_at(26);
            (option.trim().to_string(), rest.trim().get(5..).unwrap_or("").to_string())
        })
        .collect();
    let expected = [
        ("cluster_group", "ec_cluster"),
        ("partition", "quorum"),
        ("duravip_balance_set_size", "1"),
        ("failover addresses", "(none)"),
        ("Replicate", "OBTM=OBTM() inbound_cidr=inbound_cidr()"),
        ("peers", "n1=192.0.2.1 n2=192.0.2.2"),
    ];
    let found: Vec<(&str, &str)> =
        values.iter().map(|(option, value)| (option.as_str(), value.as_str())).collect();
    assert_eq!(found, expected, "{shown}");
    // A member whose stanzas stand in another order has the same.
    let mut other = Process::new(
        "cluster { Replicate \"inbound_cidr\" {} Replicate \"obtm\" {} nodename = \"n2\" partition = \"QUORUM\" }\n\
         msgc_server { peers = [ n1 = 192.0.2.1 n2 = 192.0.2.2 ] }",
    );
    assert_eq!(other.run("config digest"), shown);
    Process::new("").check("config digest", "! No such scope 'cluster'.");
}

#[test]
fn where_tells_what_counts_beside_the_value() {
    let mut process = Process::new(
        "ESMTP_Listener { Listener_Sessions = 9 Listen :25 { Listener_Sessions = 5 Peer 10.0.0.0/8 { Listener_Sessions = 2 } } }\n\
         cluster { Replicate metrics { parameters = connect } Replicate metrics { parameters = audit_series } }",
    );
    process.check(
        "config where esmtp_listener listen :25 peer 10.0.0.1 listener_sessions",
        "Listener_Sessions = 2
  is set in Esmtp_Listener::Listen:\\:25:Peer:10.0.0.0/8: at /etc/t/ecelerity.conf:1:113
  beside it counts 5 in Esmtp_Listener::Listen:\\:25: at /etc/t/ecelerity.conf:1:73
  beside it counts 9 in Esmtp_Listener:: at /etc/t/ecelerity.conf:1:38",
    );
    process.check(
        "config where cluster replicate metrics parameters",
        "parameters = \"connect;audit_series\"
  is set in cluster::Replicate:metrics: at /etc/t/ecelerity.conf:2:87
  beside it counts \"connect\" in cluster::Replicate:metrics: at /etc/t/ecelerity.conf:2:44",
    );
}
