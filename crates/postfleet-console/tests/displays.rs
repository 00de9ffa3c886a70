//! Displays, byte for byte, and the machine forms of each.
#![allow(clippy::unwrap_used, reason = "tests")]

use postfleet_console::{
    Answer, AuditIp, AuditMonitor, AuditScope, ClusterInfo, CountKind, CountReply, CountResult, Failure,
    InboundService, Mailq, MailqFilter, MailqQueue, Member, MembershipList, Profile, SharedKind, SharedList,
    SharedObject, SharedRows, SharedShow, SharedView, Summary, Sysinfo, Windows, parse, render,
};
use postfleet_types::{NodeType, Prefix, WallTime};

/// The acceptance cases run with the vendor's words.
fn profile() -> Profile {
    Profile::node("relay-0-1", "1.0.0").compatible()
}

fn shown(line: &str, result: Result<&Answer, &Failure>) -> String {
    let profile = profile();
    let request = parse(line, &profile);
    render(&profile, &request, WallTime::from_unix_seconds(1_900_000_000), result).output
}

fn text(answer: &Answer) -> String {
    shown("pid", Ok(answer))
}

/// JSON and XML of an answer; the JSON is parsed on the way.
fn machine(line: &str, answer: &Answer) -> String {
    let json = shown(&format!("json {line}"), Ok(answer));
    serde_json::from_str::<serde_json::Value>(&json).unwrap();
    format!("{json}{}", shown(&format!("xml {line}"), Ok(answer)))
}

fn prefix(text: &str) -> Prefix {
    text.parse().unwrap()
}

fn object(name: &str, kind: SharedKind) -> SharedObject {
    SharedObject {
        name: name.into(),
        kind,
        snapshots: true,
        type_name: Some("cidr".into()).filter(|_| kind == SharedKind::CidrTree),
        class: None,
        parameters: Vec::new(),
    }
}

fn list(count: usize) -> Answer {
    let objects = [
        object("inbound_cidr", SharedKind::CidrTree),
        object("outbound_cidr", SharedKind::CidrTree),
        object("outbound_domains", SharedKind::GaugeTable),
        object("outbound_binding_domains", SharedKind::GaugeTable),
        object("shared_named_throttles", SharedKind::ThrottleTable),
    ];
    Answer::SharedList(SharedList { objects: objects.into_iter().take(count).collect() })
}

const LIST: &str = "Currently managed objects:
                  inbound_cidr [lazy, cidrtree w/ snapshots]
                 outbound_cidr [lazy, cidrtree w/ snapshots]
              outbound_domains [lazy, gauge table w/ snapshots]
";

#[test]
fn console_case_01_shared_list() {
    assert_eq!(text(&list(3)), LIST);
    insta::assert_snapshot!(machine("cluster shared list", &list(3)));
}

#[test]
fn replication_a07_shared_list() {
    assert_eq!(text(&list(3)), LIST);
    let all = format!(
        "{LIST}      outbound_binding_domains [lazy, gauge table w/ snapshots]
        shared_named_throttles [lazy, throttle table w/ snapshots]
"
    );
    assert_eq!(text(&list(5)), all);
}

fn tree(rows: &[(u64, &str)], view: SharedView) -> Answer {
    Answer::SharedShow(SharedShow {
        typed: "inbound_cidr".into(),
        object: "inbound_cidr".into(),
        kind: SharedKind::CidrTree,
        snapped: true,
        view,
        missing: Vec::new(),
        rows: SharedRows::Cidr(rows.iter().map(|(count, text)| (prefix(text), *count)).collect()),
    })
}

const TREE: &[(u64, &str)] = &[
    (31, "10.0.0.0/8"),
    (31, "10.0.0.0/24"),
    (4, "10.0.0.0/25"),
    (0, "10.0.0.20/32"),
    (4, "10.0.0.103/32"),
    (27, "10.0.0.160/27"),
    (27, "10.0.0.176/29"),
    (27, "10.0.0.180/31"),
    (14, "10.0.0.180/32"),
    (13, "10.0.0.181/32"),
];

#[test]
fn console_case_02_shared_show_of_a_tree() {
    assert_eq!(
        text(&tree(TREE, SharedView::Global)),
        "lazy, snapped cidrtree 'inbound_cidr', view 'global'
     31                         10.0.0.0/8
     31                         10.0.0.0/24
      4                         10.0.0.0/25
      4                         10.0.0.103/32
     27                         10.0.0.160/27
     27                         10.0.0.176/29
     27                         10.0.0.180/31
     14                         10.0.0.180/32
     13                         10.0.0.181/32
"
    );
    let node = SharedView::Node { private_name: "#ec1-12137#relay-0-1".into(), node: "relay-0-1".into() };
    let answer = tree(&[(5, "10.0.0.0/8"), (12_345_678, "2001:db8::1/128")], node);
    assert_eq!(
        text(&answer),
        "lazy, snapped cidrtree 'inbound_cidr', view '#ec1-12137#relay-0-1'
      5                         10.0.0.0/8
12345678                         2001:db8::1/128
"
    );
    insta::assert_snapshot!(machine("cluster shared show inbound_cidr from relay-0-1", &answer));
}

fn gauge(rows: &[(u64, &str)], view: SharedView) -> Answer {
    Answer::SharedShow(SharedShow {
        typed: "outbound_domain".into(),
        object: "outbound_domains".into(),
        kind: SharedKind::GaugeTable,
        snapped: true,
        view,
        missing: Vec::new(),
        rows: SharedRows::Gauge(rows.iter().map(|(count, key)| ((*key).into(), *count)).collect()),
    })
}

/// Also console case 3.
#[test]
fn replication_a08_shared_show_of_a_gauge() {
    let global = gauge(
        &[(10, "aol.com"), (23, "bellsouth.net"), (246, "hotmail.com"), (5, "omniti.com"), (65, "yahoo.com")],
        SharedView::Global,
    );
    assert_eq!(
        text(&global),
        "lazy, snapped gauge table 'outbound_domain', view 'global'
                                                     aol.com:           10
                                               bellsouth.net:           23
                                                 hotmail.com:          246
                                                  omniti.com:            5
                                                   yahoo.com:           65
"
    );
    let node = SharedView::Node { private_name: "#ec1-12137#relay-0-1".into(), node: "relay-0-1".into() };
    let own = gauge(
        &[(1, "aol.com"), (4, "bellsouth.net"), (26, "hotmail.com"), (0, "omniti.com"), (30, "yahoo.com")],
        node,
    );
    assert_eq!(
        text(&own),
        "lazy, snapped gauge table 'outbound_domain', view '#ec1-12137#relay-0-1'
                                                     aol.com:            1
                                               bellsouth.net:            4
                                                 hotmail.com:           26
                                                   yahoo.com:           30
"
    );
    insta::assert_snapshot!(machine("cluster shared show outbound_domain", &global));
}

#[test]
fn console_case_04_an_unknown_object() {
    let failure = Failure::unknown_object("nosuch");
    assert_eq!(shown("cluster shared show nosuch", Err(&failure)), "unknown shared object 'nosuch'\n");
    assert_eq!(failure.status.exit_code(), 1);
    insta::assert_snapshot!(format!(
        "{}{}",
        shown("json cluster shared show nosuch", Err(&failure)),
        shown("xml cluster shared show nosuch", Err(&failure))
    ));
}

#[test]
fn console_case_05_an_idle_cluster() {
    assert_eq!(
        text(&tree(&[], SharedView::Global)),
        "lazy, snapped cidrtree 'inbound_cidr', view 'global'\n"
    );
    let without = SharedShow {
        typed: "x".into(),
        object: "x".into(),
        kind: SharedKind::CidrTree,
        snapped: false,
        view: SharedView::Global,
        missing: Vec::new(),
        rows: SharedRows::Cidr(Vec::new()),
    };
    assert_eq!(text(&Answer::SharedShow(without)), "lazy, cidrtree 'x', view 'global'\n");
}

#[test]
fn console_case_06_no_view_from_that_node() {
    let failure = Failure::no_view("inbound_cidr", "relay-9");
    assert_eq!(
        shown("cluster shared show inbound_cidr from relay-9", Err(&failure)),
        "no view of 'inbound_cidr' from node 'relay-9'\n"
    );
}

#[test]
fn an_incomplete_view_says_whose_counts_are_missing() {
    let Answer::SharedShow(show) = tree(&[(5, "10.0.0.0/8")], SharedView::Global) else { panic!("a view") };
    let missing = vec!["#ec1-00101#a".into(), "#ec1-00102#b".into()];
    let answer = Answer::SharedShow(SharedShow { missing, ..show });
    assert_eq!(
        text(&answer),
        "lazy, snapped cidrtree 'inbound_cidr', view 'global'
      5                         10.0.0.0/8
not complete: counts of #ec1-00101#a, #ec1-00102#b are still to come
"
    );
    insta::assert_snapshot!(machine("cluster shared show inbound_cidr", &answer));
}

fn info() -> ClusterInfo {
    ClusterInfo {
        daemon: "4803".into(),
        membership: Some("#ec0-22787#labrat-1".into()),
        replication: Some("#ec1-22787#labrat-1".into()),
        control_group: "ec_console".into(),
        cluster_group: "ec_cluster".into(),
        leader: Some("labrat-4".into()),
        logger_group: None,
    }
}

#[test]
fn bus_case_01_cluster_info() {
    assert_eq!(
        text(&Answer::ClusterInfo(info())),
        "Daemon: 4803 [m:#ec0-22787#labrat-1,s:#ec1-22787#labrat-1]
Control Group: ec_console
Cluster Group: ec_cluster (labrat-4 is leader)
Logger Group: none
"
    );
}

/// Its text is bus case 1.
#[test]
fn console_case_07_cluster_info() {
    insta::assert_snapshot!(machine("cluster info", &Answer::ClusterInfo(info())));
}

#[test]
fn bus_case_08_cluster_info_without_the_bus() {
    let down = ClusterInfo { membership: None, replication: None, leader: None, ..info() };
    assert_eq!(
        text(&Answer::ClusterInfo(down)),
        "Daemon: 4803 [disconnected]
Control Group: ec_console
Cluster Group: ec_cluster (no leader)
Logger Group: none
"
    );
    let half = ClusterInfo { replication: None, logger_group: Some("ec_logger".into()), ..info() };
    let half = text(&Answer::ClusterInfo(half));
    assert!(half.starts_with("Daemon: 4803 [m:#ec0-22787#labrat-1,s:-]\n"), "{half}");
    assert!(half.ends_with("Logger Group: ec_logger\n"), "{half}");
}

fn member(name: &str, pid: &str, address: &str) -> Member {
    Member {
        private_name: format!("#ec0-{pid}#{name}"),
        kind: NodeType::Node,
        node_name: name.into(),
        subcluster: "default".into(),
        version: "3.0.10.30663 r(30669)".into(),
        address: Some(address.parse().unwrap()),
        groups: ["ec_console", "ec_sc_default", "ec_cluster"].map(String::from).into(),
        clock_offset_ms: Some(-3),
        heartbeat_age_ms: Some(1_240),
        admitted: 7,
    }
}

fn manager(private_name: &str) -> Member {
    Member {
        private_name: private_name.into(),
        kind: NodeType::Manager,
        groups: ["ec_cluster".into()].into(),
        clock_offset_ms: Some(2_001),
        heartbeat_age_ms: None,
        ..member("barca", "1", "192.0.2.1:4802")
    }
}

fn members(verbose: bool) -> Answer {
    Answer::Membership(MembershipList {
        members: vec![
            member("pono", "20768", "10.79.0.20:4802"),
            member("uhalehe", "08422", "10.79.0.15:4802"),
            manager("#barca#barca"),
        ],
        view: "7.000000000000beef".into(),
        detection_ms: Some(4_730),
        verbose,
    })
}

#[test]
fn bus_case_03_membership() {
    assert_eq!(
        text(&members(false)),
        "Private Name: #ec0-20768#pono
Node Name: pono
Subcluster: default
Node Type: Momentum
Version: 3.0.10.30663 r(30669)
Address: 10.79.0.20:4802
Groups: ec_console, ec_sc_default, ec_cluster

Private Name: #ec0-08422#uhalehe
Node Name: uhalehe
Subcluster: default
Node Type: Momentum
Version: 3.0.10.30663 r(30669)
Address: 10.79.0.15:4802
Groups: ec_console, ec_sc_default, ec_cluster

Private Name: #barca#barca
Node Name: (Null)
Subcluster: (Null)
Node Type: Manager
Version: 3.0.10.30663 r(30669)
Address: 0.0.0.0:0
Groups: ec_cluster
"
    );
    insta::assert_snapshot!(machine("cluster membership", &members(false)));
}

#[test]
fn bus_case_04_a_manager_in_the_membership() {
    let list = MembershipList {
        members: vec![manager("#eccmgr#labrat-3")],
        view: "1.0".into(),
        detection_ms: None,
        verbose: false,
    };
    assert_eq!(
        text(&Answer::Membership(list)),
        "Private Name: #eccmgr#labrat-3
Node Name: (Null)
Subcluster: (Null)
Node Type: Manager
Version: 3.0.10.30663 r(30669)
Address: 0.0.0.0:0
Groups: ec_cluster
"
    );
}

#[test]
fn membership_with_details() {
    insta::assert_snapshot!(text(&members(true)));
}

#[test]
fn our_own_words_without_compatibility() {
    let profile = Profile::node("relay-0-1", "1.0.0");
    let request = parse("cluster membership", &profile);
    let shown = render(&profile, &request, WallTime::default(), Ok(&members(false))).output;
    assert!(shown.contains("\nNode Type: Postfleet\n"), "{shown}");
}

#[test]
fn bus_case_05_node_address_and_name() {
    let address = |text: &str| Answer::NodeAddress(text.parse().unwrap());
    assert_eq!(text(&address("10.80.116.201:4802")), "10.80.116.201:4802\n");
    assert_eq!(text(&address("[2001:db8::11]:4802")), "[2001:db8::11]:4802\n");
    assert_eq!(text(&Answer::NodeName("relay-0-1".into())), "relay-0-1\n");
}

/// Its text is bus case 5.
#[test]
fn console_case_09_node_address_and_name() {
    let address = Answer::NodeAddress("10.80.116.201:4802".parse().unwrap());
    insta::assert_snapshot!(format!(
        "{}{}",
        machine("cluster nodeaddr", &address),
        machine("cluster nodename", &Answer::NodeName("relay-0-1".into()))
    ));
}

fn rows(low: u8, high: u8, rows: &[(u64, &str)]) -> CountResult {
    CountResult::Rows { low, high, rows: rows.iter().map(|(count, text)| (prefix(text), *count)).collect() }
}

#[test]
fn replication_a06_count_rows() {
    let outbound = |result| text(&Answer::Count(CountReply { kind: CountKind::Outbound, result }));
    assert_eq!(
        outbound(rows(16, 32, &[(1, "216.200.0.0/16"), (1, "216.200.145.35/32"), (5, "217.117.0.0/16")])),
        "      1                 216.200.0.0/16
      1                                 216.200.145.35/32
      5                 217.117.0.0/16
"
    );
    assert_eq!(
        outbound(rows(8, 24, &[(3, "216.0.0.0/8"), (3, "216.192.0.0/10"), (1, "216.200.145.0/24")])),
        "      3         216.0.0.0/8
      3           216.192.0.0/10
      1                         216.200.145.0/24
"
    );
    assert_eq!(outbound(CountResult::Sessions(5)), "5 sessions\n");
}

#[test]
fn console_case_26_count_of_a_service() {
    let answer = Answer::Count(CountReply {
        kind: CountKind::Inbound(InboundService::Smtp),
        result: rows(32, 32, &[(1, "127.0.0.1/32")]),
    });
    assert_eq!(
        text(&answer),
        "Displaying 'SMTP' from /32 to /32\n      1                                 127.0.0.1/32\n"
    );
    let sessions =
        CountReply { kind: CountKind::OutboundBinding("b1".into()), result: CountResult::Sessions(2) };
    insta::assert_snapshot!(format!(
        "{}{}",
        machine("count SMTP 32", &answer),
        machine("count outbound/b1 10.0.0.0/8", &Answer::Count(sessions))
    ));
}

fn summary() -> Summary {
    Summary {
        outbound_concurrency: 48,
        inbound_concurrency: 90,
        active_domains: 711,
        active_queue_size: 793,
        delayed_queue_size: 3175,
        dns_a_queries: 5284,
        dns_mx_queries: 2281,
        pending_dns_queries: 6,
        query_rate: 9.08,
        successfully_delivered_messages: 102_439,
        failed_messages: 2439,
        rejected_messages: 1,
        received_messages: 108_846,
        delivery_rate: 51.76,
        reception_rate: 54.82,
        since_reset: 881,
        uptime: 890,
    }
}

#[test]
fn console_s8_1_summary() {
    assert_eq!(
        text(&Answer::Summary(summary())),
        "Summary Statistics
        Outbound Concurrency:      48
        Inbound Concurrency:      90
        Active Domains:     711
        Active Queue Size:    793
        Delayed Queue Size:   3175
        Destaged Queue Size:      0
        Total Queue Size:   3968
        DNS A Queries:   5284
        DNS MX Queries:   2281
        Pending DNS Queries: 6
        Query Rate:   9.08 queries/second
        Successfully Delivered Messages: 102439
        Failed Messages:   2439
        Rejected Messages:      1
        Received Messages: 108846
        Delivery Rate:  51.76 messages/second
        Reception Rate:  54.82 messages/second
        Statistics Last Reset:    881 seconds
        Uptime:    890 seconds
"
    );
    insta::assert_snapshot!(machine("summary", &Answer::Summary(summary())));
}

#[test]
fn console_case_25_summary_reset() {
    assert_eq!(text(&Answer::statistics_cleared()), "statistics cleared.\n");
    let zero = text(&Answer::Summary(Summary::default()));
    assert!(zero.contains("\n        Successfully Delivered Messages:      0\n"), "{zero}");
    assert!(zero.contains("\n        Statistics Last Reset:      0 seconds\n"), "{zero}");
    insta::assert_snapshot!(machine("summary reset", &Answer::statistics_cleared()));
}

fn queue(group: &str, binding: &str, domain: &str, active: u64, delayed: u64) -> MailqQueue {
    MailqQueue { group: group.into(), binding: binding.into(), domain: domain.into(), active, delayed }
}

fn queues() -> Vec<MailqQueue> {
    vec![
        queue("default", "default", "mail.example", 14, 2),
        queue("default", "#mmove", "slow.example.net", 0, 0),
        queue("bulk", "bulk-1", "slow.example.net", 530, 1204),
    ]
}

#[test]
fn console_s8_4_mailq() {
    let filter = MailqFilter { domains: Vec::new(), bindings: Vec::new(), limit: 20 };
    let all = Mailq::select(queues(), &filter, true);
    assert_eq!(
        text(&Answer::Mailq(all.clone())),
        "Group/Binding                                       Domain      AQ      DQ
--------------------------------------------------------------------------
bulk/bulk-1                               slow.example.net     530    1204
default/#mmove                            slow.example.net       0       0
default/default                               mail.example      14       2
"
    );
    insta::assert_snapshot!(machine("mailq", &Answer::Mailq(all)));

    let short = Mailq::select(queues(), &MailqFilter { limit: 1, ..filter.clone() }, true);
    assert_eq!((short.queues.len(), short.truncated), (1, true));
    let one = MailqFilter { domains: vec!["mail.example".into()], ..filter.clone() };
    assert_eq!(
        Mailq::select(queues(), &one, false).queues,
        [queue("default", "default", "mail.example", 14, 2)]
    );
    let long = "x".repeat(30);
    let wide = Mailq::select([queue("default", &long, "d", 1, 2)], &filter, false);
    let wide = text(&Answer::Mailq(wide));
    assert!(wide.ends_with(&format!("default/{long} {:>30}{:>8}{:>8}\n", "d", 1, 2)), "{wide}");
    let idle = text(&Answer::Mailq(Mailq::select([], &filter, true)));
    assert!(idle.ends_with(&format!("{:<27} {:>30}{:>8}{:>8}\n", "default/#mmove", "", 0, 0)), "{idle}");
}

#[test]
fn console_s8_9_the_rest() {
    assert_eq!(text(&Answer::Pid(481)), "481\n");
    assert_eq!(text(&Answer::shutting_down()), "Shutting down.\n");
    assert_eq!(text(&Answer::membership_reset()), "Cluster membership reset.\n");
    let system = Answer::Sysinfo(Sysinfo {
        bits: 64,
        build_date: "Mar 23 2030".into(),
        build: "RELEASE".into(),
        release: "Debian GNU/Linux 13 (trixie)".into(),
        uname: "Linux relay-0-1 6.12.0 x86_64".into(),
    });
    insta::assert_snapshot!(format!(
        "{}{}{}",
        text(&system),
        machine("sysinfo", &system),
        machine("pid", &Answer::Pid(481))
    ));
}

#[test]
fn console_s1_3_banner() {
    let banner = |profile: Profile| {
        let request = parse("version", &profile);
        render(&profile, &request, WallTime::default(), Ok(&Answer::Version)).output
    };
    let own = banner(Profile::node("relay-0-1", "1.0.0"));
    assert!(own.starts_with(&format!("{}\n# postfleet version: 1.0.0\n", "#".repeat(46))), "{own}");
    assert!(own.ends_with(&format!("\n{}\n", "#".repeat(46))), "{own}");
    assert!(matches!(own.lines().count(), 4 | 5), "{own}");
    assert!(banner(profile()).contains("\n# ecelerity version: 1.0.0\n"));
    let role = postfleet_console::Role::Manager;
    assert!(banner(Profile { role, ..profile() }).contains("\n# eccmgr version: 1.0.0\n"));
    let own = Profile { role, ..Profile::node("a", "1.0.0") };
    assert!(banner(own).contains("\n# postfleet-manager version: 1.0.0\n"));
    insta::assert_snapshot!(machine("version", &Answer::Version));
}

/// The first row of the JSON of case 2.
#[test]
fn console_case_22_json_of_a_tree() {
    let json = shown("json cluster shared show inbound_cidr", Ok(&tree(TREE, SharedView::Global)));
    let value: serde_json::Value = serde_json::from_str(&json).unwrap();
    assert_eq!(value["data"]["rows"][0], serde_json::json!({"cidr": "10.0.0.0/8", "count": 31}));
    assert!(json.contains(r#""rows":[{"cidr":"10.0.0.0/8","count":31},"#), "{json}");
    assert_eq!(value["data"]["rows"].as_array().unwrap().len(), 9, "zero rows are left out");
    assert_eq!(json.matches('\n').count(), 1);
}

#[test]
fn rates_that_are_no_numbers_become_null() {
    let odd = Summary { query_rate: f64::NAN, delivery_rate: f64::INFINITY, ..summary() };
    let json = shown("json summary", Ok(&Answer::Summary(odd)));
    let value: serde_json::Value = serde_json::from_str(&json).unwrap();
    assert_eq!(value["data"]["query_rate"], serde_json::Value::Null);
    assert_eq!(value["data"]["uptime"], 890);
}

fn audit_ip() -> Answer {
    let counts = |first| vec![first, 0, 0, 0, 0];
    Answer::AuditIp(AuditIp {
        block: "10.0.0.0/8".parse().unwrap(),
        scope: AuditScope::Cluster,
        monitors: vec![AuditMonitor {
            windows: Windows { interval: 1800, number: 4 },
            connections: counts(30),
            receptions: counts(1697),
            rejections: counts(0),
        }],
    })
}

#[test]
fn replication_a09_show_ip() {
    let expected = "\
Connections 1800/0: 30
Connections 1800/1: 0
Connections 1800/2: 0
Connections 1800/3: 0
Connections 1800/4: 0
Receptions 1800/0: 1697
Receptions 1800/1: 0
Receptions 1800/2: 0
Receptions 1800/3: 0
Receptions 1800/4: 0
Rejections 1800/0: 0
Rejections 1800/1: 0
Rejections 1800/2: 0
Rejections 1800/3: 0
Rejections 1800/4: 0
";
    assert_eq!(shown("inbound_audit show ip 10.0.0.0/8", Ok(&audit_ip())), expected);
    assert_eq!(shown("inbound_audit:inbound_audit1 show ip 10.0.0.0/8", Ok(&audit_ip())), expected);
    let json = shown("json inbound_audit show ip 10.0.0.0/8", Ok(&audit_ip()));
    assert!(json.contains("\"data\":{\"cidr\":\"10.0.0.0/8\",\"scope\":\"cluster\",\"monitors\":[{\"window\":1800,\"windows\":4,\
                           \"connections\":[30,0,0,0,0],\"receptions\":[1697,0,0,0,0],\"rejections\":[0,0,0,0,0]}]}"), "{json}");
    let xml = shown("xml inbound_audit show ip 10.0.0.0/8", Ok(&audit_ip()));
    assert!(xml.contains("<Audit cidr=\"10.0.0.0/8\" scope=\"cluster\"><Monitor window=\"1800\" windows=\"4\"><Connections count=\"30\"/>"), "{xml}");
}
