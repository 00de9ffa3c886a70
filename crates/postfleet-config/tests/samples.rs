//! Configurations as operators write them: they load, with the findings named and no others.

mod support;

use postfleet_config::{Config, LoadRequest, MemoryFiles, Severity};
use support::*;

/// File, codes of the warnings, text.
const SAMPLES: &[(&str, &[u16], &str)] = &[
    ("listener for other nodes", &[], "ECCluster_Listener {\n  Listen \"*:4802\" {}\n}\n"),
    (
        "values",
        &[],
        "Relay_Hosts = ( 127.0.0.0/8 10.10.10.0/24 )\nESMTP_Listener {\n  SMTP_Extensions = ( \"ENHANCEDSTATUSCODES\" \"AUTH LOGIN\" )\n}\n",
    ),
    (
        "console",
        &[],
        "Control_Listener {\n  Timeout = 60\n  Listen \"/tmp/2025\" { File_Mode = 0660 }\n  Listen \"127.0.0.1:2025\" {\n    Enable_Authentication = true\n    AuthDigestMD5Parameters = [ uri = \"digest:///etc/postfleet/console_passwd\" ]\n  }\n}\n",
    ),
    (
        "roles",
        &[],
        "Authorization {\n  Role \"root\"  { allow = ( \".*\" ) }\n  Role \"admin\" { allow = ( \"^config\" \"^summary$\" ) }\n}\n",
    ),
    (
        "addresses that move",
        &[6310, 6310, 6310, 6310],
        "cluster {\n  Topology \"192.0.2.0/24\" {\n    interface = \"eth1\"\n    cidrmask = \"32\"\n  }\n}\nESMTP_Listener {\n  Listen \"192.0.2.41:25\" { Enable_Duravip = true }\n  Listen \"192.0.2.51:25\" { Duravip_Follow = \"bulk-1\" }\n}\nBinding \"bulk-1\" {\n  Bind_Address = \"192.0.2.61\"\n  Enable_Duravip = true\n  Duravip_Preference = \"relay-0-2\"\n}\n",
    ),
    (
        "loggers of a cluster",
        &[],
        "ec_logger \"ec_logger_cluster\" {\n  mainlog = \"cluster:///var/log/ecelerity/mainlog.cluster=>master\"\n  paniclog = \"cluster:///var/log/ecelerity/paniclog.cluster=>master\"\n  rejectlog = \"cluster:///var/log/ecelerity/rejectlog.cluster=>master\"\n  acctlog = \"cluster:///var/log/ecelerity/acctlog.cluster=>master\"\n}\nbounce_logger \"bounce_logger_cluster\" {\n  bouncelog = \"cluster:///var/log/ecelerity/bouncelog.cluster=>master\"\n}\nECCluster_Listener { Listen \"*:4802\" {} }\ncluster {\n  logs = [\n    rejectlog = \"/var/log/ecelerity/rejectlog.cluster\"\n    paniclog = \"/var/log/ecelerity/paniclog.cluster\"\n    mainlog = \"/var/log/ecelerity/mainlog.cluster\"\n    acctlog = \"/var/log/ecelerity/acctlog.cluster\"\n    bouncelog = \"/var/log/ecelerity/bouncelog.cluster\"\n  ]\n}\n",
    ),
    (
        "mail listener",
        &[],
        "ESMTP_Listener {\n  Idle_Time = 300\n  Listen \":25\" {\n    Listen_Backlog = 200\n    Peer \"192.0.2.0/24\" { Banner_Hostname = \"in1.example.net\"  Open_Relay = true }\n  }\n  Listen \"*:465\" { Use_SSL = true  TLS_Certificate = \"/etc/postfleet/cert.pem\"  TLS_Key = \"/etc/postfleet/key.pem\" }\n}\n",
    ),
    (
        "migrated sample",
        &[6310, 6310, 6310],
        "Security {\n  user = \"ecuser\"\n  group = \"ecuser\"\n  Capabilities = \"cap_net_bind_service+ep\"\n  Privileges = \"basic net_privaddr\"\n}\nESMTP_Listener {\n  Listen \"192.168.0.1:25\" {\n    Listen_Backlog = 200\n  }\n  Listen \"192.168.0.41:25\" {\n    Listen_Backlog = 200\n    Enable_Duravip = true\n    Peer \"0.0.0.0/0\" {\n      Idle_Time = 300\n      Banner_Hostname = \"r1.example.com\"\n    }\n  }\n}\nBinding \"example\" {\n  Enable_Duravip = true\n  Bind_Address = \"192.168.0.41\"\n}\nec_logger \"ec_logger\" {\n  log_transient_failures = on\n  mainlog = \"cluster:///var/log/ecelerity/mainlog.cluster=>master\"\n  paniclog = \"cluster:///var/log/ecelerity/paniclog.cluster=>master\"\n  rejectlog = \"cluster:///var/log/ecelerity/rejectlog.cluster=>master\"\n}\ncustom_logger \"custom_logger\" {\n  permanent_failure_logfile = \"cluster:///var/log/ecelerity/bounces.cluster=>master\"\n  permanent_failure_format = \"%b %B %c %i %m@%M %H %N %p %r@%R %s %t %T %U %n\"\n}\nECCluster_Listener {\n  Listen \"*:4802\" {}\n}\ncluster {\n  cluster_group = \"ec_cluster\"\n  control_group = \"ec_console\"\n  logs = [\n    rejectlog = \"/var/log/ecelerity/rejectlog.cluster\"\n    paniclog = \"/var/log/ecelerity/paniclog.cluster\"\n    mainlog = \"/var/log/ecelerity/mainlog.cluster\"\n    bouncealllog = \"/var/log/ecelerity/bounces.cluster\"\n  ]\n  Replicate \"inbound_cidr\" {}\n  Replicate \"outbound_cidr\" {}\n  Replicate \"outbound_domains\" {}\n  Topology \"192.168.0.0/24\" {\n    cidrmask = \"32\"\n    interface = \"bge0\"\n  }\n}\n",
    ),
    (
        "policy rule",
        &[6181],
        "Policy_Rule \"per-client\" {\n  phase = \"connect\"            # connect, ehlo, mailfrom, rcptto, final\n  key = \"%{client_addr}\"       # macros\n  object = \"inbound_cidr\"      # or a series\n  limit = 20                   # or rate = \"60/60\"\n  action = \"421 4.7.0 too many connections\"\n  exempt = ( \"127.0.0.0/8\" \"::1\" )\n}\n",
    ),
    (
        "replicated objects",
        &[6110],
        "cluster {\n  Replicate \"inbound_cidr\" {}\n  Replicate \"metrics\" {\n    parameters = \"connect;reception;rejection\"\n  }\n  Replicate \"mycache\" {\n    type = \"cache\"\n    parameters=\"snapshot\"\n  }\n}\n",
    ),
    (
        "data source",
        &[3008],
        "Datasource \"mycache\" {\n  uri = (\"odbc:DSN=sqlserver;UID=user;PWD=pass\")\n  serialized = true\n}\n",
    ),
    (
        "script",
        &[],
        "scriptlet \"scriptlet\" {\n  script \"rate\" { source = \"policies.rate\" }\n}\nsieve \"sieve1\" { runtime_error = continue connect_phase1 = \"/etc/postfleet/connect.sieve\" }\n",
    ),
    (
        "custom format",
        &[],
        "custom_logger \"x\" {\n  rejection_format = \"%t|%t{%Y-%m-%d}|%H|%p|%s|%S|%i|%BI|%n|%r@%R|%m@%M|%U|%h{Subject}|%mx\"\n  mainlog = \"/var/log/x\"\n}\n",
    ),
    (
        "pools and levels",
        &[3009],
        "ThreadPool \"IO\" { Concurrency = 20 }\nDebug_Flags { DEBUG = ( SMTP CLUSTER ) ERROR = ( ALL ) CRITICAL = 4294967295 }\n",
    ),
    (
        "old bus",
        &[],
        "msgc_server {\n  peers = [\n    n1 = \"192.0.2.10\"\n    mgr = \"192.0.2.11\"\n  ]\n}\nmsgcserver_listener {\n  Listen \":4809\" {}\n}\nmsgc_client {\n  server = ( \"127.0.0.1:4809\" )\n}\n",
    ),
    (
        "four capabilities",
        &[],
        "Security { Capabilities = \"cap_net_admin+ep cap_net_bind_service+ep cap_net_raw+ep cap_sys_resource+ep\" }\n",
    ),
];

const MANAGER: &[(&str, &str)] = &[
    (
        "subscriptions",
        "Logs {\n  logfile = \"/var/log/eccluster/%Y/%m/%d/%{l}/%{s}/%{n}\"\n  file_mode = \"0640\"\n  dir_mode = \"0755\"\n  Manager \"x\" {\n    Node \"y\" {\n      Subscriber = ()\n    }\n  }\n}\n",
    ),
    (
        "own panic log",
        "ec_logger \"ec_logger\"\n{\n  rejectlog = \"/var/log/eccluster/rejectlog.ec\"\n  mainlog = \"/var/log/eccluster/mainlog.ec\"\n  heartbeat = \"0\"\n  paniclog = \"/var/log/eccluster/paniclog.ec\"\n}\n",
    ),
    (
        "everything",
        "Security { user = \"ecuser\" }\nControl_Listener { Listen \"/tmp/2025\" {} }\nas_logger { series_include_default = \"all\" }\nmsgc_server { peers = [ n1 = 192.0.2.1 ] }\n",
    ),
];

#[test]
fn samples_of_nodes_load() {
    for (name, warnings, text) in SAMPLES {
        let outcome = load(text);
        let found: Vec<u16> = outcome.diagnostics.iter().map(|found| found.code.0).collect();
        assert_eq!(found, *warnings, "{name}\n{}", outcome.report());
        assert!(outcome.diagnostics.iter().all(|found| found.severity == Severity::Warning), "{name}");
        assert!(outcome.config.is_some(), "{name}");
    }
}

#[test]
fn samples_of_the_manager_load() {
    for (name, text) in MANAGER {
        let path = "/etc/t/eccluster.conf";
        let request = LoadRequest { main: Some(path.to_string()), ..request() };
        let outcome = Config::load(&MemoryFiles::new().with(path, *text), &request);
        assert_eq!(outcome.report(), "", "{name}");
        assert!(outcome.config.is_some(), "{name}");
    }
}
