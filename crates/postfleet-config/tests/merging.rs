//! Merging, identity, resolution: the cases of sections 11.2 and 11.3.

mod support;

use std::collections::BTreeMap;
use std::net::IpAddr;

use postfleet_config::schema::{Scope, Service};
use postfleet_config::{Config, Facts, InstanceId, MemoryFiles, Origin, SessionCapKind, Value};
use support::*;

fn outbound<'a>(binding: Option<&'a str>, domain: Option<&'a str>) -> Facts<'a> {
    Facts { binding, domain, ..Facts::default() }
}

#[test]
fn configuration_a22_groups_merge_and_bindings_are_unique() {
    let text = "Binding_Group \"g1\" { Max_Outbound_Connections = 5 Binding \"b1\" {} }\n\
                binding_group \"g1\" { Binding \"b2\" {} }\n";
    let config = clean(text);
    let tree = config.tree();
    let groups = tree.children(InstanceId::GLOBAL, Scope::BindingGroup);
    let names: Vec<(Option<&str>, bool)> =
        groups.map(|(_, group)| (group.name.as_deref(), group.is_implied())).collect();
    assert_eq!(names, [(Some("g1"), false), (Some("default"), true)]);
    for binding in ["b1", "b2"] {
        assert_eq!(tree.group_of(binding), "g1");
        assert_eq!(eval(&config, "Max_Outbound_Connections", outbound(Some(binding), None)), "5");
    }
    let found = only(&format!("{text}Binding \"b1\" {{}}"));
    assert_eq!((found.code.0, found.message.as_str()), (3006, "duplicate binding name b1"));
    assert_eq!(found.see_also.unwrap().line, 1);
    assert_eq!(tree.group_of("elsewhere"), "default");
}

#[test]
fn configuration_a23_security_merges_by_option() {
    let all = "cap_net_admin+ep cap_net_bind_service+ep cap_net_raw+ep cap_sys_resource+ep";
    let outcome = load_with(
        MemoryFiles::new()
            .with(
                MAIN,
                "Security { user = \"ecuser\" Capabilities = \"cap_net_bind_service+ep\" }\ninclude c.conf",
            )
            .with("/etc/t/c.conf", format!("Security {{ Capabilities = \"{all}\" }}")),
    );
    assert_eq!(outcome.report(), "");
    let security = outcome.config.unwrap().node_settings().security;
    assert_eq!(security.user, "ecuser");
    assert_eq!(security.capabilities.as_deref(), Some(all));
    assert!(security.explicit);
}

#[test]
fn configuration_a24_spellings_of_one_socket() {
    let config = clean("ESMTP_Listener { Listen \":25\" {} Listen \"*:25\" { Idle_Time = 60 } }");
    let listeners = config.esmtp_listeners();
    assert_eq!(listeners.len(), 1);
    assert_eq!(listeners[0].name, ":25");
    assert_eq!(listeners[0].address.to_string(), "*:25");
    assert_eq!(listeners[0].resolve(None).idle_time.unwrap().as_secs(), 60);
    let config = clean("ESMTP_Listener { Listen \"[::]:25\" {} Listen \"[*]:25\" {} }");
    assert_eq!(config.esmtp_listeners().len(), 1);
    let found = only("ESMTP_Listener { Listen \"2001:db8::5:25\" {} }");
    assert_eq!((found.code.0, found.hint.as_deref()), (4005, Some("\"[2001:db8::5]:25\"")));
    let config =
        clean("ESMTP_Listener { Listen \":25\" { Peer 10.0.0.1 {} Peer 10.0.0.1/32 { Idle_Time = 1 } } }");
    let from = |text: &str| Some(text.parse::<IpAddr>().unwrap());
    assert_eq!(config.esmtp_listeners()[0].resolve(from("10.0.0.1")).idle_time.unwrap().as_secs(), 1);
}

#[test]
fn configuration_a25_names_are_shown_in_registered_spelling() {
    let config = clean("MAX_OUTBOUND_CONNECTIONS = 7");
    let resolved = config.eval("max_outbound_connections", &Facts::default()).unwrap();
    assert_eq!(
        format!("{} = {}", resolved.row.name, resolved.value.unwrap()),
        "Max_Outbound_Connections = 7"
    );
}

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
fn configuration_a26_groups_come_before_the_global_domain() {
    let config = clean(A26);
    let facts =
        |binding, domain| Facts { binding_group: Some("bulk"), ..outbound(Some(binding), Some(domain)) };
    let check = |binding, domain, option: &str, value: &str| {
        assert_eq!(eval(&config, option, facts(binding, domain)), value, "{binding} {domain} {option}");
    };
    check("bulk-1", "example.org", "max_outbound_connections", "4");
    check("bulk-1", "example.org", "idle_timeout", "7");
    check("bulk-1", "example.org", "retry_interval", "1800");
    check("bulk-1", "example.net", "message_expiration", "3600");
    check("bulk-2", "example.org", "message_expiration", "86400");
    let resolved = config.eval("retry_interval", &facts("bulk-1", "example.org")).unwrap();
    assert_eq!(resolved.origin.to_string(), "Binding_Group:bulk: /etc/t/ecelerity.conf:5:20");
    let Origin::Set { instance, .. } = resolved.origin else { panic!("it is set") };
    assert_eq!(config.tree().path(instance), "Binding_Group:bulk:");
    let span = config.tree().instance(instance).unwrap().assigned("retry_interval").unwrap().span;
    assert_eq!(config.written(span), "1800");
}

#[test]
fn configuration_a27_bindings_come_before_the_global_domain() {
    let config = clean(A26);
    let check = |binding, domain, option: &str, value: &str| {
        assert_eq!(eval(&config, option, outbound(binding, Some(domain))), value, "{domain} {option}");
    };
    check(Some("solo"), "example.org", "retry_interval", "60");
    check(Some("solo"), "example.org", "idle_timeout", "9");
    check(None, "example.org", "retry_interval", "900");
    check(None, "example.net", "retry_interval", "600");
    let solo = config.tree().binding("solo").unwrap();
    assert!(config.tree().instance(solo).unwrap().assigned("idle_timeout").is_none());
    assert_eq!(config.tree().path(solo), "Binding:solo:");
}

#[test]
fn configuration_a28_patterns_apply_by_option_in_order() {
    let config = clean(
        "Domain \"example.org\" { Max_Outbound_Connections = 20 }
Domain \"/(^|[.])example[.](org|net)$/\" { Max_Outbound_Connections = 15 Max_Deliveries_Per_Connection = 5 }
Domain \"/[.]net$/\" { Max_Outbound_Connections = 8 Idle_Timeout = 2 }",
    );
    for (domain, connections, deliveries, idle) in [
        ("example.org", "20", "5", "5"),
        ("EXAMPLE.ORG.", "20", "5", "5"),
        ("example.net", "15", "5", "2"),
        ("mail.example.org", "15", "5", "5"),
        ("other.net", "8", "0", "2"),
    ] {
        let facts = outbound(None, Some(domain));
        assert_eq!(eval(&config, "Max_Outbound_Connections", facts), connections, "{domain}");
        assert_eq!(eval(&config, "Max_Deliveries_Per_Connection", facts), deliveries, "{domain}");
        assert_eq!(eval(&config, "Idle_Timeout", facts), idle, "{domain}");
    }
}

#[test]
fn configuration_a29_hosts_do_not_fall_back() {
    let config = clean("Max_Outbound_Connections = 32\nhost \"mx.example.org\" {}");
    let host = |host| Facts { host, ..Facts::default() };
    assert_eq!(eval(&config, "max_outbound_connections", host(None)), "32");
    assert_eq!(eval(&config, "max_outbound_connections", host(Some("mx.example.org"))), "-1");
}

const A30: &str = "Cluster_Max_Outbound_Connections = 100
Domain \"example.org\" { Cluster_Max_Outbound_Connections = 40 }
Binding \"b1\" { Cluster_Max_Outbound_Connections = 60 Domain \"example.org\" { Cluster_Max_Outbound_Connections = 25 } }
Host \"mx1.example.org\" { Cluster_Max_Outbound_Connections = 3 }
cluster { Replicate \"outbound_domains\" {} Replicate \"outbound_binding_domains\" {} }";

#[test]
fn configuration_a30_cluster_limits() {
    let config = clean(A30);
    for (binding, domain, host, value) in [
        ("b1", "example.org", "mx1.example.org", "3"),
        ("b1", "example.org", "mx2.example.org", "25"),
        ("b1", "example.net", "mx2", "60"),
        ("b2", "example.org", "mx2", "40"),
        ("b2", "example.net", "mx2", "100"),
    ] {
        let facts = Facts { host: Some(host), ..outbound(Some(binding), Some(domain)) };
        assert_eq!(
            eval(&config, "Cluster_Max_Outbound_Connections", facts),
            value,
            "{binding} {domain} {host}"
        );
    }
    let grouped = "Binding_Group \"g\" { Binding \"b3\" { Cluster_Max_Outbound_Connections = 1 } }";
    check(grouped, &[('E', 3002, 1, 36)]);
    assert_eq!(only(grouped).hint.unwrap(), "not inside a Binding_Group: no look-up comes by there");
    let without = A30.replace("Replicate \"outbound_domains\" {}", "");
    let found: Vec<u16> = load(&without).diagnostics.iter().map(|d| d.code.0).collect();
    assert_eq!(found, [6130, 6130]);
    // Without any object, once for each setting that needs one; a host's needs none.
    let bare = without.replace("Replicate \"outbound_binding_domains\" {}", "");
    let found: Vec<u16> = load(&bare).diagnostics.iter().map(|d| d.code.0).collect();
    assert_eq!(found, [6130; 4]);
}

#[test]
fn configuration_a31_cluster_throttles() {
    let config = config(
        "Cluster_Outbound_Throttle_Messages = 100
Domain \"example.org\" { Cluster_Outbound_Throttle_Messages = \"20/60\" }
Binding_Group \"g\" { Cluster_Outbound_Throttle_Messages = 50 Domain \"example.net\" { Cluster_Outbound_Throttle_Messages = 5 } }
cluster { Replicate \"OBTM\" {} }",
    );
    let facts = |group, domain| Facts { binding_group: group, domain: Some(domain), ..Facts::default() };
    let value = |group, domain| eval(&config, "Cluster_Outbound_Throttle_Messages", facts(group, domain));
    assert_eq!(value(Some("g"), "example.net"), "\"5/1\"");
    assert_eq!(value(Some("g"), "example.org"), "\"50/1\"");
    assert_eq!(value(None, "example.org"), "\"20/60\"");
    assert_eq!(value(None, "example.net"), "\"100/1\"");
}

const A32: &str = "ESMTP_Listener {
  Idle_Time = 120
  Peer \"10.20.0.0/16\" { Idle_Time = 30 Max_Receptions_Per_Connection = 5 }
  Listen \":25\" {
    Idle_Time = 200
    Peer \"10.20.0.7\" { Max_Receptions_Per_Connection = 50 }
  }
  Listen \":587\" {}
}";

#[test]
fn configuration_a32_listener_options() {
    let config = clean(A32);
    let listeners = config.esmtp_listeners();
    for (listen, peer, idle, receptions) in [
        (0, "10.20.0.7", 30, Some(50)),
        (0, "::ffff:10.20.0.7", 30, Some(50)),
        (0, "10.20.1.1", 30, Some(5)),
        (0, "192.0.2.1", 200, None),
        (1, "192.0.2.1", 120, None),
        (1, "10.20.0.7", 30, Some(5)),
    ] {
        let settings = listeners[listen].resolve(Some(peer.parse().unwrap()));
        assert_eq!(settings.idle_time.unwrap().as_secs(), idle, "{peer}");
        assert_eq!(settings.max_receptions_per_connection, receptions, "{peer}");
        let facts = Facts {
            service: Some(Service::Esmtp),
            listen: Some(if listen == 0 { "*:25" } else { "*:587" }),
            peer: Facts::client(Some(peer.parse().unwrap())),
            ..Facts::default()
        };
        assert_eq!(eval(&config, "idle_time", facts), idle.to_string(), "the table and the walk agree");
    }
}

#[test]
fn configuration_a33_throttles_count_where_they_are_written() {
    // Everything that falls back to one setting shares one counter: counts are kept by owner, as a delivery would.
    let admitted = |config: &Config, tries: &[(&str, &str)]| {
        let mut counts: BTreeMap<InstanceId, u64> = BTreeMap::new();
        let admit = |(binding, domain): &&(&str, &str)| {
            let found =
                config.eval("Outbound_Throttle_Messages", &outbound(Some(binding), Some(domain))).unwrap();
            let Origin::Set { instance, .. } = found.origin else { panic!("it is set") };
            let Some(Value::Throttle(throttle)) = found.value else { panic!("it is a throttle") };
            assert_eq!(throttle.seconds, 1);
            let count = counts.entry(instance).or_default();
            *count += 1;
            *count <= throttle.events
        };
        tries.iter().filter(admit).count()
    };
    let second: Vec<(&str, &str)> =
        (0..60).map(|at| [("a", "x.org"), ("b", "x.org"), ("a", "y.org")][at % 3]).collect();
    let shared = clean(
        "Binding_Group \"g\" { Outbound_Throttle_Messages = \"10\" Binding \"a\" {} Binding \"b\" {} }",
    );
    assert_eq!(admitted(&shared, &second), 10);
    let own = clean(
        "Binding_Group \"g\" { Outbound_Throttle_Messages = \"10\" Binding \"a\" { Outbound_Throttle_Messages = 10 } \
         Binding \"b\" { Outbound_Throttle_Messages = \"10\" } }",
    );
    assert_eq!(admitted(&own, &second), 20);
    // A pattern is one stanza and one counter for all names that match; a name of its own has another.
    let pattern =
        clean("Domain \"/[.]org$/\" { Outbound_Throttle_Messages = 10 }\nBinding \"a\" {} Binding \"b\" {}");
    assert_eq!(admitted(&pattern, &second), 10);
    let named = clean(
        "Domain \"/[.]org$/\" { Outbound_Throttle_Messages = 10 }\nDomain \"y.org\" { Outbound_Throttle_Messages = 10 }",
    );
    assert_eq!(admitted(&named, &second), 20);
}

#[test]
fn the_default_group_has_the_bindings_of_no_group() {
    let config = clean("Binding_Group \"default\" { Retry_Interval = 5 }\nBinding \"x\" {}");
    assert_eq!(eval(&config, "Retry_Interval", outbound(Some("x"), None)), "5");
    assert_eq!(eval(&config, "Retry_Interval", outbound(Some("nobody"), None)), "5");
    assert_eq!(eval(&config, "Retry_Interval", outbound(None, None)), "1200");
}

#[test]
fn options_where_no_lookup_comes_by_are_refused() {
    check("Binding \"b\" { Domain \"d\" { Host_Failure_Retry = 1 } }", &[('E', 3002, 1, 28)]);
    check("Binding \"b\" { Domain \"d\" { Cluster_Outbound_Throttle_Messages = 1 } }", &[('E', 3002, 1, 28)]);
    clean("Domain \"d\" { Host_Failure_Retry = 1 }");
}

#[test]
fn every_session_cap_holds_and_counts_in_its_own_stanza() {
    let config = clean(
        "ESMTP_Listener { Service_Sessions = 500 Listener_Sessions = 100\nPeer 10.0.0.0/8 { Listener_Sessions = 10 }\n\
         Listen \":25\" { Listener_Sessions = 80 Peer 10.1.0.0/16 { Service_Sessions = 0 Listener_Sessions = 5 } } }",
    );
    let listeners = config.esmtp_listeners();
    let caps = |peer: &str| -> Vec<(SessionCapKind, u32, String)> {
        let settings = listeners[0].resolve(Some(peer.parse().unwrap()));
        settings.caps.iter().map(|cap| (cap.kind, cap.limit, cap.path.clone())).collect()
    };
    let (service, listener) = (SessionCapKind::Service, SessionCapKind::Listener);
    assert_eq!(
        caps("10.1.2.3"),
        [
            (service, 500, "Esmtp_Listener::".to_string()),
            (listener, 5, "Esmtp_Listener::Listen:\\:25:Peer:10.1.0.0/16:".to_string()),
            (listener, 10, "Esmtp_Listener::Peer:10.0.0.0/8:".to_string()),
            (listener, 80, "Esmtp_Listener::Listen:\\:25:".to_string()),
            (listener, 100, "Esmtp_Listener::".to_string()),
        ]
    );
    assert_eq!(caps("192.0.2.1").len(), 3);
}

#[test]
fn contexts_of_all_scopes_unite() {
    let config = clean(
        "ESMTP_Listener { Context = [ a = 1 b = 1 c = 1 ]\nPeer 10.0.0.0/8 { Context = [ c = 4 d = 4 ] }\n\
         Listen \":25\" { Context = [ b = 2 c = 2 ] Peer 10.0.0.0/16 { Context = [ d = 3 ] } } }",
    );
    let listeners = config.esmtp_listeners();
    let context = |peer: &str| {
        let settings = listeners[0].resolve(Some(peer.parse().unwrap()));
        settings.context.iter().map(|(key, value)| format!("{key}{value}")).collect::<Vec<_>>().join(" ")
    };
    assert_eq!(context("10.0.0.1"), "a1 b2 c4 d3");
    assert_eq!(context("10.9.0.1"), "a1 b2 c4 d4");
    assert_eq!(context("192.0.2.1"), "a1 b2 c2");
}

#[test]
fn blocks_inside_blocks_with_one_first_address() {
    let config = clean(
        "ESMTP_Listener { Listen \":25\" { Peer 10.0.0.0/8 { Idle_Time = 8 } Peer 10.0.0.0/16 { Idle_Time = 16 } \
         Peer 10.0.0.0/32 { Idle_Time = 32 } Peer 0.0.0.0/0 { Idle_Time = 1 } Peer ::/0 { Idle_Time = 6 } } }",
    );
    let listeners = config.esmtp_listeners();
    let idle = |peer: &str| listeners[0].resolve(Some(peer.parse().unwrap())).idle_time.unwrap().as_secs();
    assert_eq!(idle("10.0.0.0"), 32);
    assert_eq!(idle("10.0.0.1"), 16);
    assert_eq!(idle("10.1.0.1"), 8);
    assert_eq!(idle("192.0.2.1"), 1);
    assert_eq!(idle("2001:db8::1"), 6);
    assert_eq!(listeners[0].resolve(None).idle_time.unwrap().as_secs(), 1, "a Unix socket is 127.0.0.1");
}

#[test]
fn listeners_fall_back_to_global_options() {
    let config = clean(
        "Relay_Hosts = ( 10.0.0.0/8 )\nTLS_Certificate = \"/c\"\nTLS_Key = /k\nMax_Receptions_Per_Connection = 3\n\
         Allow_IP_Literal = no\nESMTP_Listener { Listen \":25\" {} Listen \":26\" { Relay_Hosts = () \
         TLS_Certificate = none SMTP_Extensions = ( chunking ) Max_Recipients_Per_Message = 5 } }",
    );
    let listeners = config.esmtp_listeners();
    let first = listeners[0].resolve(None);
    assert_eq!(first.relay_hosts.len(), 1);
    assert_eq!(first.tls_certificate.as_deref(), Some("/c"));
    assert!(first.extensions.contains("STARTTLS") && first.extensions.contains("ENHANCEDSTATUSCODES"));
    assert_eq!(first.max_receptions_per_connection, Some(3));
    assert!(!first.allow_ip_literal);
    let second = listeners[1].resolve(None);
    assert!(second.relay_hosts.is_empty());
    assert_eq!(second.tls_certificate, None);
    assert_eq!(second.extensions.iter().collect::<Vec<_>>(), ["CHUNKING"]);
    assert_eq!(second.max_recipients_per_message, Some(100));
}

#[test]
fn without_effect_is_listed() {
    let config = clean("Hostname = a\nDomain \"d\" { LMTP_Port = 5 }");
    let stored = config.without_effect();
    assert_eq!(stored.len(), 1);
    assert_eq!(stored[0].option, "LMTP_Port");
    assert_eq!(stored[0].position.as_ref().unwrap().to_string(), "/etc/t/ecelerity.conf:2:14");
}

/// A certificate for everything is that of listeners, if not of connections to others; one of a domain is neither.
#[test]
fn a_global_certificate_has_an_effect() {
    assert!(clean("TLS_Certificate = \"/c\" TLS_Key = \"/k\"").without_effect().is_empty());
    let of_domain = clean("Domain \"d\" { TLS_Certificate = \"/c\" TLS_Key = \"/k\" }");
    let idle: Vec<&str> = of_domain.without_effect().iter().map(|idle| idle.option).collect();
    assert_eq!(idle, ["TLS_Certificate", "TLS_Key"]);
}

/// Weight, path, place and text of every assignment on the way.
fn trace(config: &Config, name: &str, facts: Facts<'_>) -> Vec<String> {
    let trace = config.trace(name, &facts).expect("the option exists");
    let line = |traced: &postfleet_config::Traced| {
        let place =
            traced.position.as_ref().map_or_else(String::new, |at| format!("{}:{}", at.line, at.column));
        format!("{:?} {} {place} {}", traced.weight, traced.path, traced.written)
    };
    trace.assignments.iter().map(line).collect()
}

#[test]
fn a_trace_tells_what_supplies_and_what_is_hidden() {
    let config = config(&format!("{A26}\nBinding_Group bulk {{ Retry_Interval = \"1900\" }}"));
    let facts = Facts { binding_group: Some("bulk"), ..outbound(Some("bulk-1"), Some("example.org")) };
    assert_eq!(
        trace(&config, "retry_interval", facts),
        [
            "Supplies Binding_Group:bulk: 14:39 \"1900\"",
            "Hidden Binding_Group:bulk: 5:20 1800",
            "Hidden Domain:example.org: 3:41 900",
            "Hidden  2:18 600",
        ]
    );
    let traced = config.trace("retry_interval", &facts).unwrap();
    assert_eq!(traced.value, config.eval("retry_interval", &facts).unwrap().value);
    assert_eq!((traced.hidden().count(), traced.joining().count()), (3, 0));
    assert_eq!(traced.supplier().unwrap().written, "\"1900\"");
    let default = config.trace("Rcptto_Timeout", &facts).unwrap();
    assert!(default.supplier().is_none() && default.assignments.is_empty());
    assert_eq!(default.value.unwrap().to_string(), "300");
    assert!(config.trace("no_such", &facts).is_none());
}

#[test]
fn a_trace_tells_what_holds_beside_the_value() {
    let config = config(A30);
    let facts = Facts { host: Some("mx1.example.org"), ..outbound(Some("b1"), Some("example.org")) };
    assert_eq!(
        trace(&config, "Cluster_Max_Outbound_Connections", facts),
        [
            "Supplies Host:mx1.example.org: 4:61 3",
            "Joins Binding:b1:Domain:example.org: 3:112 25",
            "Hidden Binding:b1: 3:51 60",
            "Hidden Domain:example.org: 2:59 40",
            "Hidden  1:36 100",
        ]
    );
    let totals = clean(
        "Server_Max_Outbound_Connections = 50\nBinding_Group g { Server_Max_Outbound_Connections = 20\n\
         Binding a { Server_Max_Outbound_Connections = 5 } }",
    );
    let name = "Server_Max_Outbound_Connections";
    assert_eq!(
        trace(&totals, name, outbound(Some("a"), None)),
        ["Supplies Binding_Group:g:Binding:a: 3:47 5", "Hidden Binding_Group:g: 2:53 20", "Joins  1:35 50"]
    );
    assert_eq!(eval(&totals, name, outbound(None, None)), "50");
    assert_eq!(eval(&clean(""), name, outbound(None, None)), "75000");
    assert_eq!(eval(&clean("Binding b {}"), name, outbound(Some("b"), None)), "", "no limit of its own");
    let scopes = clean(
        "Scope_Max_Outbound_Connections = 9\nHost mx { Scope_Max_Outbound_Connections = 1 }\n\
         Domain d { Scope_Max_Outbound_Connections = 3 }",
    );
    let facts = Facts { host: Some("mx"), ..outbound(None, Some("d")) };
    assert_eq!(
        trace(&scopes, "Scope_Max_Outbound_Connections", facts),
        ["Supplies Host:mx: 2:44 1", "Joins Domain:d: 3:45 3", "Joins  1:34 9"]
    );
}

#[test]
fn a_trace_of_what_unites() {
    let config = clean(
        "ESMTP_Listener { Context = [ a = 1 b = 1 ]\nListen \":25\" { Context = [ b = 2 ] } }\n\
         cluster { Replicate metrics { parameters = \"connect\" }\nReplicate metrics { parameters = \"gauge_cache\" } }",
    );
    let facts = Facts { service: Some(Service::Esmtp), listen: Some("*:25"), ..Facts::default() };
    assert_eq!(
        trace(&config, "context", facts),
        [
            "Supplies Esmtp_Listener::Listen:\\:25: 2:26 [ b = 2 ]",
            "Joins Esmtp_Listener:: 1:28 [ a = 1 b = 1 ]",
        ]
    );
    assert_eq!(eval(&config, "context", facts), "[ b = \"2\" a = \"1\" ]");
    let tree = config.tree();
    let cluster = tree.anonymous(Scope::Cluster).unwrap();
    let metrics = tree.child(cluster, Scope::Replicate, "metrics");
    let facts = Facts { instance: metrics, ..Facts::default() };
    assert_eq!(eval(&config, "parameters", facts), "\"connect;gauge_cache\"");
    assert_eq!(
        trace(&config, "parameters", facts),
        [
            "Supplies cluster::Replicate:metrics: 4:34 \"gauge_cache\"",
            "Joins cluster::Replicate:metrics: 3:44 \"connect\"",
        ]
    );
}

/// The arithmetic on the way of a delivery: from the text of a file to the schedule of a binding and domain.
#[test]
fn configuration_a64_retry_schedules_of_files() {
    let schedule = |text: &str, domain: &str| config(text).routing(None, Some(domain)).retry;
    let check = |text: &str, retries: Option<u32>, last: u32, seconds: u64| {
        let found = schedule(text, "example.org");
        assert_eq!(found.retries_max(), retries, "{text}");
        assert_eq!(found.elapsed(last).as_secs(), seconds, "{text}");
    };
    check("Retry_Interval = 1200 Max_Retry_Interval = 1200 Max_Retries = 5", Some(5), 5, 6000);
    check("Max_Retries = 5", Some(5), 5, 37_200);
    check("", Some(6), 6, 75_600);
    check("Message_Expiration = 604800", Some(8), 8, 162_000);
    check("Message_Expiration = 604800 Max_Retries = none", None, 1, 1200);
    // Each option comes from its own place on the chain.
    let text = "Message_Expiration = 604800\nDomain \"example.org\" { Retry_Interval = 600 }\n\
                Binding_Group \"g\" { Max_Retries = 3 Binding \"b\" {} }";
    assert_eq!(schedule(text, "example.org").retries_max(), Some(9));
    assert_eq!(schedule(text, "example.net").retries_max(), Some(8));
    let grouped = config(text).routing(Some("b"), Some("example.org")).retry;
    assert_eq!((grouped.retries_max(), grouped.delay(1).as_secs()), (Some(3), 600));
}
