//! The cluster stanza, its objects, identity, listeners of the node: the cases of section 11.5.

mod support;

use std::time::Duration;

use postfleet_config::schema::Service;
use postfleet_config::{Bus, ListenAddress, ObjectKind, Partition, identity};
use support::*;

const A42: &str = "ESMTP_Listener { Listen \":25\" {} }
cluster {
  cluster_group = \"ec_cluster\"
  control_group = \"ec_console\"
  logs = [
    rejectlog = \"/var/log/ecelerity/rejectlog.cluster\"
    paniclog = \"/var/log/ecelerity/paniclog.cluster\"
    mainlog = \"/var/log/ecelerity/mainlog.cluster\"
    acctlog = \"/var/log/ecelerity/acctlog.cluster\"
    bouncelog = \"/var/log/ecelerity/bouncelog.cluster\"
  ]
  Replicate \"inbound_cidr\" {}
  Replicate \"outbound_cidr\" {}
  Replicate \"outbound_domains\" {}
  Replicate \"outbound_binding_domains\" {}
  Replicate \"shared_named_throttles\" {}
  Topology \"10.1.1.0/24\" {
    cidrmask = \"32\"
    interface = \"eth1\"
  }
}";

#[test]
fn configuration_a42_the_usual_stanza() {
    let outcome = load(A42);
    assert!(outcome.diagnostics.iter().all(|found| found.code.0 == 6230), "{}", outcome.report());
    let config = outcome.config.unwrap();
    let cluster = config.cluster().unwrap();
    let names: Vec<&str> = cluster.replicate.iter().map(|object| object.name.as_str()).collect();
    assert_eq!(
        names,
        [
            "inbound_cidr",
            "outbound_cidr",
            "outbound_domains",
            "outbound_binding_domains",
            "shared_named_throttles"
        ]
    );
    assert_eq!(
        (cluster.cluster_group.as_str(), cluster.control_group.as_str()),
        ("ec_cluster", "ec_console")
    );
    assert_eq!(cluster.logs.len(), 5);
    assert_eq!(cluster.logs[0].0, "rejectlog");
    assert_eq!((cluster.bus, cluster.daemon.as_str()), (Bus::Corosync, "corosync"));
    assert_eq!(cluster.min_delay, Some(Duration::from_millis(10)));
    assert_eq!((cluster.heartbeats_per_second, cluster.heartbeat_miss_limit), (1, 10));
    assert_eq!(cluster.replicate[0].max_delay, Duration::from_secs(1));
    assert_eq!((cluster.replicate[0].max_pending, cluster.replicate[0].max_size), (100, None));
    assert!(cluster.replicate[0].snapshot);
}

#[test]
fn configuration_a43_parameters_of_metrics_unite() {
    let config = clean(
        "cluster { Replicate \"metrics\" { parameters = \"connect;reception; rejection\" }\n\
         Replicate \"metrics\" { parameters = \"audit_series;;connect\" }\n\
         Replicate \"metrics\" { parameters = \"gauge_cache\" } }",
    );
    let objects = config.cluster().unwrap().replicate;
    assert_eq!(objects.len(), 1);
    assert_eq!(objects[0].parameters.join(";"), "connect;reception;rejection;audit_series;gauge_cache");
    assert!(!objects[0].snapshot);
}

#[test]
fn configuration_a44_kinds_and_parameters() {
    let inside = |text: &str| format!("cluster {{\n{text}\n}}");
    check(
        &format!(
            "Datasource \"mycache\" {{ uri = (\"odbc:DSN=sqlserver;UID=user;PWD=pass\") serialized = true }}\n{}",
            inside("Replicate \"mycache\" { type = \"cache\" }")
        ),
        &[('W', 3008, 1, 30)],
    );
    check(&inside("Replicate \"mycache\" { type = \"cache\" }"), &[('W', 6110, 2, 1)]);
    check(&inside("Replicate \"foo\" {}"), &[('E', 6111, 2, 1)]);
    assert!(only(&inside("Replicate \"foo\" {}")).expected.unwrap().contains("inbound_cidr, outbound_cidr"));
    check(&inside("Replicate \"inbound_cidr\" { max_size = 5 }"), &[('E', 6112, 2, 28)]);
    let found = only(&inside("Replicate \"metrics\" { parameters = \"connect;bogus\" }"));
    assert_eq!(found.code.0, 6113);
    assert!(found.message.contains("'bogus'"));
    check(&inside("Replicate \"metrics\" { parameters = \"connect;snapshot\" }"), &[]);
    check(&inside("Replicate \"metrics\" { parameters = \"snapshot\" }"), &[('W', 6114, 2, 1)]);
    check(&inside("Replicate \"OBTM\" { parameters = \"connect\" }"), &[('W', 6114, 2, 33)]);
    let config = clean(&inside("Replicate \"obtm\" {}"));
    let object = &config.cluster().unwrap().replicate[0];
    assert_eq!((object.written.as_str(), object.name.as_str()), ("obtm", "OBTM"));
    assert_eq!(object.kind, ObjectKind::OutboundThrottleMessages);
    check(&inside("Replicate \"outbound_cidr\" { binding_group = \"g\" }"), &[('W', 6117, 2, 45)]);
    check(
        &inside("Replicate \"a\" { type = cache replication_name = x }\nReplicate \"x\" { class = cache }"),
        &[('W', 6110, 2, 1), ('E', 6116, 3, 1), ('W', 6110, 3, 1)],
    );
    check(&inside("Replicate \"inbound_cidr\" { shadow = ( a ) }"), &[('E', 6112, 2, 28)]);
}

#[test]
fn configuration_a48_cluster_limits_need_an_object() {
    clean("Outbound_Throttle_Messages = 10");
    let found = only("Cluster_Outbound_Throttle_Messages = 10\ncluster { }");
    assert_eq!((found.code.0, found.hint.as_deref()), (6130, Some("add: Replicate \"OBTM\" {}")));
    assert_eq!(only("Cluster_Outbound_Throttle_Messages = 10").code.0, 6131);
}

#[test]
fn configuration_a49_peers_are_in_lower_case() {
    check("msgc_server { peers = [ Node1 = \"192.0.2.10\" ] }", &[('E', 6221, 1, 25)]);
    let config = config("cluster {}\nmsgc_server { peers = [ node1 = \"192.0.2.10\" ] }");
    assert_eq!(config.cluster().unwrap().peers, [("node1".to_string(), "192.0.2.10".to_string())]);
    let config = support::config("msgc_server { peers = [ node1 = \"192.0.2.10\" ] }");
    assert_eq!(config.bus_peers(), [("node1".to_string(), "192.0.2.10".to_string())]);
}

/// The first that applies: `nodename`, the environment, the host name up to its first dot.
#[test]
fn bus_case_05_where_a_node_has_its_name_from() {
    let host = Some("relay-0-1.example.net");
    let name =
        |configured, environment| identity::node_name(configured, environment, host).unwrap().to_string();
    assert_eq!(name(None, None), "relay-0-1");
    assert_eq!(name(None, Some("mx7")), "mx7");
    assert_eq!(name(Some("mx9"), Some("mx7")), "mx9");
}

#[test]
fn configuration_a50_names_of_a_node() {
    let boot =
        identity::cluster_boot("cluster_name = east\nnode_name=east1\n# note\ncolour=red\nrepo = auto\n");
    assert_eq!((boot.cluster_name.as_deref(), boot.node_name.as_deref()), (Some("east"), Some("east1")));
    assert_eq!(boot.warnings, ["line 4: unknown key 'colour'"]);
    assert_eq!(identity::subcluster(boot.cluster_name.as_deref()).unwrap().as_str(), "east");
    let config = clean("cluster { nodename = \"n9\" }");
    let configured = config.cluster().unwrap().nodename;
    let name = |configured, environment, host| {
        identity::node_name(configured, environment, host)
            .map(|name| name.to_string())
            .map_err(|e| e.to_string())
    };
    assert_eq!(name(configured.as_deref(), Some("east1"), Some("h")), Ok("n9".to_string()));
    assert_eq!(name(None, Some("mx7"), Some("relay-0-1.example.net")), Ok("mx7".to_string()));
    assert_eq!(name(None, None, Some("Relay-0-1.example.net")), Ok("relay-0-1".to_string()));
    assert_eq!(
        name(None, None, None),
        Err("CFG-6201 nodename not specified and gethostname failed".to_string())
    );
    assert!(name(None, Some("Bad.Name"), None).is_err());
    check("cluster { nodename = \"N9\" }", &[('E', 4003, 1, 22)]);
    assert_eq!(identity::subcluster(None).unwrap().as_str(), "default");
}

#[test]
fn values_of_cluster_boot_are_checked() {
    let check = |line: &str, expected: &[&str]| {
        let boot = identity::cluster_boot(&format!("cluster_name = east\n{line}\n"));
        assert_eq!(boot.warnings, expected, "{line}");
    };
    for right in [
        "autoupdate = true",
        "autoupdate=ifunchanged",
        "reload_config_on_update = false",
        "repo = auto",
        "repo = local, 192.0.2.1:2027 ,repo.example.net, [2001:db8::1]:2027,2001:db8::1",
        "ecconfigd.1 = whatever it is",
        "node_name = mx1",
    ] {
        check(right, &[]);
    }
    check("autoupdate = yes", &["line 2: autoupdate is 'yes'; expected true, ifunchanged or false"]);
    check("reload_config_on_update = 1", &["line 2: reload_config_on_update is '1'; expected true or false"]);
    for wrong in ["", "auto,", "host:0", "host:port", "ho st", "-x", "[::1", "a:1:2"] {
        check(
            &format!("repo = {wrong}"),
            &[&format!(
                "line 2: repo is '{wrong}'; expected a list of auto, local, HOST and HOST:PORT with commas between"
            )],
        );
    }
    check("node_name = A.b", &["line 2: node_name is 'A.b'; expected 1 to 63 characters a-z, 0-9 and -"]);
    check("cluster_name = Two Words", &["line 2: cluster_name is 'Two Words'; expected one lower-case word"]);
    check("autoupdat = true", &["line 2: unknown key 'autoupdat'; did you mean 'autoupdate'?"]);
    check("nonsense", &["line 2: expected key=value"]);
    let missing = identity::cluster_boot("node_name = a\n").warnings;
    assert_eq!(missing, ["cluster_name is missing; expected cluster_name = default, or the subcluster"]);
}

#[test]
fn node_addresses() {
    let name = "x".parse().unwrap();
    let address = |configured: Option<&str>, resolved: &[&str]| {
        let resolved: Vec<_> = resolved.iter().map(|text| text.parse().unwrap()).collect();
        identity::node_address(configured.map(|text| text.parse().unwrap()), &name, &resolved)
            .map(|address| address.to_string())
            .map_err(|error| error.to_string())
    };
    assert_eq!(address(None, &["192.0.2.1"]), Ok("192.0.2.1".to_string()));
    assert_eq!(address(Some("127.0.1.2"), &[]), Ok("127.0.1.2".to_string()));
    assert!(address(Some("127.0.0.1"), &[]).is_err());
    assert!(address(Some("::1"), &[]).is_err());
    assert_eq!(
        address(None, &["127.0.0.1"]),
        Err("CFG-6201 x resolved to 127.0.0.1, which is invalid for clustering. Check /etc/hosts and ensure x has \
             a unique IP address"
            .to_string())
    );
    assert_eq!(address(None, &["127.0.1.1", "192.0.2.1"]), Ok("192.0.2.1".to_string()));
    assert!(address(None, &[]).unwrap_err().contains("nodename 'x' did not resolve"));
    check("cluster { nodeaddr = 127.0.0.1 }", &[('E', 6201, 1, 22)]);
    check("cluster { nodeaddr = 127.0.1.1 }", &[]);
}

#[test]
fn the_embedded_bus_has_a_socket_on_this_machine() {
    let socket = |options: &str| {
        let config = clean(&format!("Run_Dir = /r\ncluster {{ bus = local {options} }}"));
        let cluster = config.cluster().unwrap();
        (cluster.bus, cluster.daemon)
    };
    let local = |path: &str| Bus::Local { socket: path.to_string() };
    assert_eq!(socket(""), (local("/r/bus-default"), "local".to_string()));
    assert_eq!(socket("bus_name = x"), (local("/r/bus-x"), "local".to_string()));
    assert_eq!(socket("mbus_daemon = 4803"), (local("/r/bus-4803"), "4803".to_string()));
    assert_eq!(socket("mbus_daemon = localhost:4803"), (local("/r/bus-4803"), "localhost:4803".to_string()));
    assert_eq!(socket("mbus_daemon = 127.0.0.1:4803").0, local("/r/bus-4803"));
    assert_eq!(socket("mbus_daemon = \"[::1]:4803\"").0, local("/r/bus-4803"));
    assert_eq!(socket("mbus_daemon = /tmp/b").0, local("/tmp/b"));
    let found = only("cluster { bus = mesh mbus_daemon = 192.0.2.1:4803 }");
    assert_eq!(
        (found.code.0, found.message.as_str()),
        (6224, "bus \"local\" serves one machine; use bus = \"corosync\" for 192.0.2.1:4803")
    );
    clean("cluster { mbus_daemon = 192.0.2.1:4803 }");
    assert_eq!(config("cluster { bus = solo }").cluster().unwrap().bus, Bus::Solo);
    assert_eq!(config("cluster { bus = cpg }").cluster().unwrap().bus, Bus::Corosync);
}

#[test]
fn options_of_the_cluster() {
    let config = clean(
        "cluster { min_delay = -1 partition = quorum heartbeats_per_sec = 5\n\
         Replicate \"OBTM\" { max_delay = 0.25 max_pending = 7 shadow = ( \"^test\" ) }\n\
         Replicate \"OBTC\" { partition = full } Replicate \"mine\" { type = shared_named_throttles } }",
    );
    let cluster = config.cluster().unwrap();
    assert_eq!(cluster.min_delay, None);
    assert_eq!(cluster.replicate[0].partition, Partition::Quorum);
    assert_eq!(cluster.replicate[1].partition, Partition::Full);
    assert_eq!(cluster.replicate[0].max_delay, Duration::from_millis(250));
    assert!(cluster.replicate[0].shadow[0].is_match("test-1"));
    assert_eq!(cluster.replicate[2].name, "mine");
    assert_eq!(cluster.replicate[2].type_word, Some("shared_named_throttles"));
    assert_eq!((cluster.replicate[0].type_word, cluster.replicate[0].class), (None, None));
    assert_eq!((cluster.max_backlog, cluster.reconnect_interval), (5000, Duration::from_secs(5)));
    let with_client = clean("cluster {}\nmsgc_client { max_backlog = 7 }\nmsgc_server { max_backlog = 8 }");
    assert_eq!(with_client.cluster().unwrap().max_backlog, 7);
    check("cluster { min_delay = 2 }", &[('E', 4003, 1, 23)]);
    check("cluster { min_delay = 10ms }", &[('E', 4012, 1, 23)]);
    assert_eq!(
        only("cluster { min_delay = 10ms }").expected.unwrap(),
        "a plain number of seconds, e.g. 0.01"
    );
    check("cluster { duravip_lease = 3 }", &[('E', 4003, 1, 27)]);
    check("cluster { duravip_lease = 10 }", &[('W', 6321, 1, 27)]);
    check("cluster { bus_name = \"a b\" }", &[('E', 4003, 1, 22)]);
    assert!(support::config("").cluster().is_none());
}

#[test]
fn implied_listeners() {
    let config = clean("cluster {}");
    let control = config.control_listeners();
    assert_eq!(control.len(), 1);
    assert_eq!(control[0].address, ListenAddress::Path("/tmp/2025".to_string()));
    assert_eq!(control[0].socket.file_mode, 0o600);
    assert!(!control[0].is_unprotected());
    assert_eq!(config.eccluster_listeners()[0].address, ListenAddress::AnyV4(4802));
    assert!(clean("").eccluster_listeners().is_empty());
    assert!(clean("").esmtp_listeners().is_empty());
    assert!(clean("Control_Listener {}").control_listeners().is_empty());
    // Options for all sockets leave the implied one, and hold for it.
    let control = support::config("Control_Listener { File_Mode = 0660 }").control_listeners();
    assert_eq!(control.len(), 1);
    assert_eq!((&*control[0].name, control[0].socket.file_mode), ("/tmp/2025", 0o660));
    assert_eq!(support::config("control_listener_timeout = 9").control_listeners().len(), 1);
    let config = clean("cluster {}\nECCluster_Listener { Listen \"127.0.1.1:4802\" { Listen_Backlog = 7 } }");
    let listener = &config.eccluster_listeners()[0];
    assert_eq!((listener.address.port(), listener.socket.backlog), (Some(4802), 7));
}

#[test]
fn one_socket_serves_one_thing() {
    check(
        "ESMTP_Listener { Listen \":25\" {} }\nControl_Listener { Listen \"*:25\" { Always_Allow = true } }",
        &[('E', 6160, 2, 20)],
    );
    check("ESMTP_Listener { Listen \"*:4802\" {} }\ncluster {}", &[('E', 6160, 1, 18)]);
    check("Policy_Listener { Listen \":10040\" {} }", &[('E', 6171, 1, 19)]);
    check("Policy_Listener { Listen \":10040\" {} Peer 10.0.0.0/8 {} }", &[]);
    check("Policy_Listener { Listen \"127.0.0.1:10040\" {} Listen /tmp/p {} }", &[]);
    check("ECCluster_Listener { TLS = required Listen \":4802\" {} }", &[('E', 6227, 1, 28)]);
    check("Cluster_Key = /k\nECCluster_Listener { Listen \":4802\" { TLS = required } }", &[]);
}

#[test]
fn consoles_on_tcp_need_credentials() {
    let listen = |address: &str, options: &str| {
        format!("Control_Listener {{ Timeout = 9 Listen \"{address}\" {{ {options} }} }}")
    };
    check(&listen("127.0.0.1:2025", ""), &[('W', 6172, 1, 32)]);
    check(&listen("192.0.2.1:2025", ""), &[('E', 6172, 1, 32)]);
    check(&listen("192.0.2.1:2025", "Enable = no"), &[]);
    check(&listen("192.0.2.1:2025", "Always_Allow = true"), &[]);
    let digest = "AuthDigestMD5Parameters = [ uri = \"digest:///p\" ]";
    let config = clean(&listen("192.0.2.1:2025", digest));
    let control = config.control_listeners();
    let settings = control[0].resolve(None);
    assert!(settings.authenticate && !settings.unprotected);
    assert_eq!(settings.timeout, Duration::from_secs(9));
    assert_eq!(settings.authentication[0].0, "DIGEST-MD5");
    check(
        &listen("192.0.2.1:2025", &format!("{digest} Enable_Authentication = false")),
        &[('E', 6172, 1, 32)],
    );
    check(
        &listen("192.0.2.1:2025", &format!("{digest} Peer 10.0.0.0/8 {{ Enable_Authentication = false }}")),
        &[('E', 6172, 1, 32)],
    );
    let found = only(&listen("192.0.2.1:2025", "AuthLoginParameters = [ uri = \"file:///p\" ]"));
    assert_eq!(found.code.0, 6170);
    let config = support::config(&listen("/tmp/2025", "File_Mode = 0660"));
    assert_eq!(config.control_listeners()[0].socket.file_mode, 0o660);
    check("Control_Listener { AuthDigestMD5Parameters = [ realm = x ] }", &[('E', 4009, 1, 20)]);
}

#[test]
fn compatibility_changes_the_defaults() {
    let own = clean("").node_settings();
    assert_eq!(own.spoolbase, "/var/spool/postfleet");
    assert_eq!((own.product_name.as_str(), own.node_type.as_str()), ("postfleet", "Postfleet"));
    assert_eq!((own.pid_file.as_str(), own.security.user.as_str()), ("/var/run/postfleet.pid", "postfleet"));
    assert!(!own.security.explicit);
    let theirs = clean("Compatibility = ecelerity\ncluster {}");
    let settings = theirs.node_settings();
    assert_eq!(settings.spoolbase, "/var/spool/ecelerity");
    assert_eq!((settings.product_name.as_str(), settings.node_type.as_str()), ("ecelerity", "Momentum"));
    assert_eq!(settings.security.user, "ecuser");
    assert_eq!(theirs.cluster().unwrap().logs[2].1, "/var/log/ecelerity/mainlog.cluster");
    assert_eq!(clean("cluster {}").cluster().unwrap().logs[2].1, "/var/log/postfleet/mainlog.cluster");
    assert_eq!(clean("cluster {}").cluster().unwrap().cluster_group, "ec_cluster");
}

#[test]
fn adapters_have_their_own_options() {
    let config = clean(
        "Policy_Count_Connects = yes\nPolicy_Listener { On_Error = defer Listen /p {} }\n\
         Milter_Listener { Timeout = 5 Listen /m { On_Error = tempfail } }\nAPI_Listener { Listen /a {} }",
    );
    let policy = config.adapter_listeners(Service::Policy);
    let policy = policy[0].resolve(None);
    assert!(policy.count_connects);
    assert_eq!(policy.on_error, Some(postfleet_config::OnError::Defer));
    let milter = config.adapter_listeners(Service::Milter);
    assert_eq!(milter[0].resolve(None).on_error, Some(postfleet_config::OnError::Tempfail));
    assert_eq!(milter[0].resolve(None).timeout, Duration::from_secs(5));
    assert_eq!(config.adapter_listeners(Service::Api)[0].resolve(None).allow_users, None);
    check("Policy_Listener { On_Error = tempfail }", &[('E', 4007, 1, 30)]);
}
