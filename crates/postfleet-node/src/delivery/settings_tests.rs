//! What configurations come to for queues and exchangers.

use super::*;
use postfleet_config::{LoadRequest, MemoryFiles};

fn settings(text: &str, slots: bool) -> Arc<DeliverySettings> {
    let files = MemoryFiles::new().with("/etc/postfleet/postfleet.conf", text);
    let request =
        LoadRequest { main: Some("/etc/postfleet/postfleet.conf".into()), ..LoadRequest::default() };
    let outcome = Config::load(&files, &request);
    let report = outcome.report();
    let config = outcome.config.unwrap_or_else(|| panic!("{report}"));
    Arc::new(DeliverySettings::new(&config, "mx.test.example".into(), Vec::new(), slots, (slots, slots)))
}

fn key(group: &str, binding: &str, domain: &str) -> QueueKey {
    QueueKey { binding_group: group.into(), binding: binding.into(), domain: domain.into() }
}

fn limits(settings: &Arc<DeliverySettings>, queue: &QueueKey) -> Vec<String> {
    let found = QueueOptions(Arc::clone(settings)).queue(queue);
    found.limits.iter().map(|limit| format!("{} {} {}", limit.option, limit.key, limit.most)).collect()
}

#[test]
fn mta_case_15_the_value_is_that_of_the_nearest_place_and_the_count_that_of_the_pair() {
    let settings = settings(
        "Max_Outbound_Connections = 30\n\
         Binding_Group \"group1\" { Max_Outbound_Connections = 5\n  Binding \"example\" { Domain \"example.com\" \
         { Max_Outbound_Connections = 15 } }\n  Binding \"other\" {} }\nBinding \"single\" {}",
        true,
    );
    for (group, binding, most) in
        [("group1", "example", 15), ("group1", "other", 5), ("default", "single", 30)]
    {
        let found = limits(&settings, &key(group, binding, "example.com"));
        let pair = format!("Max_Outbound_Connections binding:{binding}::domain:example.com {most}");
        assert!(found.contains(&pair), "{found:?}");
        assert_eq!(found[0], "Server_Max_Outbound_Connections global 75000");
    }
}

#[test]
fn mta_case_16_a_scope_limit_of_a_pattern_is_one_pool() {
    let settings = settings(
        "Domain \"/^(a|b)\\\\.example$/\" { Scope_Max_Outbound_Connections = 3 }\nScope_Max_Outbound_Connections = 9",
        true,
    );
    let found = limits(&settings, &key("default", "default", "a.example"));
    assert_eq!(found, limits(&settings, &key("default", "default", "b.example")));
    // All places hold, and the built-in limit of the pair is not added to that of its domain.
    assert_eq!(found.len(), 3, "{found:?}");
    assert_eq!(found[1], "Scope_Max_Outbound_Connections global 9");
    assert!(found[2].starts_with("Scope_Max_Outbound_Connections domain:/^(a|b)"), "{found:?}");
}

#[test]
fn mta_7_2_the_level_of_a_cluster_limit_decides_what_it_counts() {
    let text = "Cluster_Max_Outbound_Connections = 40\nCluster_Server_Max_Outbound_Connections = 500\n\
        Binding \"b\" { Cluster_Max_Outbound_Connections = 7 Cluster_Server_Max_Outbound_Connections = 50 }\n\
        Host \"mx1.example.net\" { Cluster_Max_Outbound_Connections = 2 Max_Outbound_Connections = 4 }";
    let fleet = settings(text, true);
    let shown = |queue: &QueueKey, host: Option<&str>| -> Vec<String> {
        let limits = fleet.cluster_limits(queue, host);
        limits.iter().map(|limit| format!("{} {} {}", limit.option, limit.key, limit.most)).collect()
    };
    let default = key("default", "default", "example.net");
    assert_eq!(
        shown(&default, Some("mx1.example.net")),
        [
            "Cluster_Server_Max_Outbound_Connections global 500",
            "Cluster_Max_Outbound_Connections domain:example.net 40",
            "Cluster_Max_Outbound_Connections host:mx1.example.net 2",
        ]
    );
    assert_eq!(
        shown(&key("default", "b", "example.net"), Some("mx2.example.net")),
        [
            "Cluster_Server_Max_Outbound_Connections global 500",
            "Cluster_Server_Max_Outbound_Connections binding:b 50",
            "Cluster_Max_Outbound_Connections binding:b::domain:example.net 7",
        ]
    );
    let host = QueueOptions(Arc::clone(&fleet)).host(&default, "mx1.example.net");
    assert_eq!(host.address_limit.as_ref().map(|limit| limit.most), Some(4));
    assert!(host.limits.is_empty());
    // Without a fleet they are limits of this node.
    let alone = settings(text, false);
    let found = limits(&alone, &default);
    assert!(
        found.contains(&"Cluster_Max_Outbound_Connections domain:example.net 40".to_owned()),
        "{found:?}"
    );
    let host = QueueOptions(alone).host(&default, "mx1.example.net");
    assert_eq!(host.limits.len(), 1);
}

#[test]
fn mta_case_17_throttles_are_named_by_the_place_of_their_option() {
    let settings = settings(
        "Binding_Group \"g\" { Outbound_Throttle_Messages = \"10\"\n  Binding \"x\" {}\n  Binding \"y\" \
         { Outbound_Throttle_Messages = \"10\" } }\nCluster_Outbound_Throttle_Messages = \"60/60\"",
        true,
    );
    let options = QueueOptions(Arc::clone(&settings));
    let scope =
        |binding: &str| options.queue(&key("g", binding, "example.com")).message_rates[0].scope.clone();
    assert_eq!(scope("x"), "Binding_Group:g:");
    assert_ne!(scope("x"), scope("y"));
    let name = settings.cluster_throttle(&key("g", "x", "example.com"), "Cluster_Outbound_Throttle_Messages");
    assert_eq!(name.as_deref(), Some("global"));
}

#[test]
fn what_cannot_be_done_stays_queued() {
    let queue = key("default", "default", "example.com");
    for (text, suspended) in [
        ("", false),
        ("Delivery_Method = LMTP", true),
        ("Blackhole = internal", true),
        ("Suspend_Delivery = true", true),
    ] {
        assert_eq!(QueueOptions(settings(text, true)).queue(&queue).suspended, suspended, "{text}");
    }
}

#[test]
fn mta_8_1_only_a_queue_that_may_fall_back_to_clear_text_does() {
    let settings = settings(
        "TLS = ifavailable\nTLS_Ifavailable_Fallback = true\n\
         Domain \"strict.example\" { TLS_Ifavailable_Fallback = false }",
        true,
    );
    let tls = |domain: &str| settings.client(&key("default", "default", domain), true).tls;
    assert_eq!(tls("example.com"), TlsPolicy::None);
    assert_eq!(tls("strict.example"), TlsPolicy::IfAvailable);
}

#[test]
fn addresses_reach_delivery_as_they_are_written() {
    let settings = settings(
        "Prohibited_Hosts = ( 127.0.0.0/8 \"10.0.0.1\" )\nSkip_Hosts = 192.0.2.0/24\n\
         Binding \"b\" { Bind_Address = 192.0.2.11 }\nBinding \"name\" { Bind_Address = \"out.test.example\" }",
        false,
    );
    let default = settings.route(&key("default", "default", "example.com"));
    assert_eq!(default.prohibited, ["127.0.0.0/8".parse().unwrap(), "10.0.0.1/32".parse().unwrap()]);
    assert_eq!(default.skip, ["192.0.2.0/24".parse().unwrap()]);
    let bind = |binding: &str| settings.dialing(&key("default", binding, "example.com")).bind;
    assert_eq!([bind("default"), bind("b"), bind("name")], ["*", "192.0.2.11", "out.test.example"]);
}

#[test]
fn a_listener_on_all_addresses_listens_on_those_that_the_machine_has() {
    let machine = || ["127.0.0.1", "192.0.2.7", "2001:db8::7"].map(|ip| ip.parse().unwrap()).to_vec();
    let own = |endpoint: &str| {
        let own = expanded(&[endpoint.parse().unwrap()], machine);
        own.iter().map(ToString::to_string).collect::<Vec<_>>().join(" ")
    };
    assert_eq!(own("192.0.2.9:25"), "192.0.2.9:25");
    assert_eq!(own("0.0.0.0:25"), "127.0.0.1:25 192.0.2.7:25");
    assert_eq!(own("[::]:25"), "127.0.0.1:25 192.0.2.7:25 [2001:db8::7]:25");
}
