use super::*;
use alloc::format;

/// A name service in words: `mx NAME PREF HOST`, `a NAME ADDRESS`, `noname NAME`, `fail NAME`; all else has no data.
fn ask(zone: &str, settings: RouteSettings, domain: &str, failed: u32) -> Routed {
    let mut routing = Routing::new(Arc::new(settings), domain, failed);
    let lines: Vec<Vec<&str>> = zone.lines().map(|line| line.split_whitespace().collect()).collect();
    let is = |word: &str, name: &str| {
        lines.iter().any(|line| line.first() == Some(&word) && line.get(1) == Some(&name))
    };
    let of = |word: &str, name: &str| -> Vec<Vec<&str>> {
        let found = lines.iter().filter(|line| line.first() == Some(&word) && line.get(1) == Some(&name));
        found.map(|line| line[2..].to_vec()).collect()
    };
    for _round in 0..4 {
        let needed = match routing.poll() {
            Ok(routed) => return routed,
            Err(needed) => needed,
        };
        for need in needed {
            match need {
                Need::Exchangers(name) => {
                    let records: Vec<Mx> = of("mx", &name)
                        .iter()
                        .map(|line| Mx {
                            preference: line[0].parse().unwrap(),
                            host: line.get(1).map(|host| String::from(*host)).unwrap_or_default(),
                        })
                        .collect();
                    let answer = if is("fail", &name) {
                        Answer::Failed
                    } else if is("noname", &name) {
                        Answer::NoName
                    } else if records.is_empty() {
                        Answer::NoData
                    } else {
                        Answer::Found(records, Duration::from_secs(60))
                    };
                    routing.exchangers(&name, answer);
                }
                Need::Addresses(name) => {
                    let addresses: Addresses =
                        of("a", &name).iter().map(|line| line[0].parse().unwrap()).collect();
                    let answer = if is("silent", &name) {
                        Answer::Failed
                    } else if addresses.is_empty() {
                        Answer::NoData
                    } else {
                        Answer::Found(addresses, Duration::from_secs(30))
                    };
                    routing.addresses(&name, answer);
                }
            }
        }
    }
    panic!("a routing asks twice at most");
}

fn settings() -> RouteSettings {
    let ttl = (Duration::ZERO, Duration::from_secs(100_000));
    RouteSettings { port: 25, fallback_after: 3, ttl, ipv4: true, ..RouteSettings::default() }
}

fn shown(routed: &Routed) -> String {
    match routed {
        Routed::Hosts { hosts, .. } => {
            let shown: Vec<String> = hosts
                .iter()
                .map(|host| {
                    let addresses: Vec<String> =
                        host.addresses.iter().map(alloc::string::ToString::to_string).collect();
                    format!(
                        "{} {} {}",
                        host.preference,
                        host.name.as_deref().unwrap_or("-"),
                        addresses.join(",")
                    )
                })
                .collect();
            shown.join("; ")
        }
        Routed::Nowhere(reply) | Routed::Later(reply) => String::from(*reply),
        Routed::NoSuchDomain => String::from("no such domain"),
        Routed::Unanswered => String::from("unanswered"),
    }
}

#[track_caller]
fn check(zone: &str, settings: RouteSettings, domain: &str, expected: &str) {
    assert_eq!(shown(&ask(zone, settings, domain, 0)), expected);
}

const TWO: &str =
    "mx d.example 20 b.example\nmx d.example 10 a.example\na a.example 192.0.2.1\na b.example 192.0.2.2";

#[test]
fn exchangers_come_by_preference_and_the_address_of_the_domain_is_not_used() {
    check(
        &format!("{TWO}\na d.example 192.0.2.9"),
        settings(),
        "d.example",
        "10 a.example 192.0.2.1:25; 20 b.example 192.0.2.2:25",
    );
    check("a d.example 192.0.2.9", settings(), "d.example", "0 d.example 192.0.2.9:25");
    let Routed::Hosts { ttl, .. } = ask(TWO, settings(), "d.example", 0) else { panic!() };
    assert_eq!(ttl.as_secs(), 30, "the shortest of all");
}

#[test]
fn mta_case_21_null_mx() {
    check("mx d.example 0", settings(), "d.example", NULL_MX);
    check(
        "mx d.example 0\nmx d.example 10 a.example\na a.example 192.0.2.1",
        settings(),
        "d.example",
        "10 a.example 192.0.2.1:25",
    );
}

#[test]
fn mta_case_22_prohibited_and_skipped_addresses() {
    let zone =
        "mx d.example 10 a.example\nmx d.example 20 b.example\na a.example 127.0.0.1\na b.example 192.0.2.2";
    let loopback: Vec<Prefix> = Vec::from(["127.0.0.0/8".parse().unwrap()]);
    check(zone, RouteSettings { prohibited: loopback.clone(), ..settings() }, "d.example", PRIVATE);
    check(
        zone,
        RouteSettings { skip: loopback.clone(), ..settings() },
        "d.example",
        "20 b.example 192.0.2.2:25",
    );
    let only = "mx d.example 10 a.example\na a.example 127.0.0.1";
    check(only, RouteSettings { skip: loopback, ..settings() }, "d.example", NO_HOSTS);
}

#[test]
fn this_node_and_all_behind_it_are_left_out() {
    let own = |name: &str| RouteSettings { own_names: Vec::from([String::from(name)]), ..settings() };
    check(TWO, own("b.example"), "d.example", "10 a.example 192.0.2.1:25");
    check(TWO, own("A.example"), "d.example", LOOP);
    let at = RouteSettings { own_addresses: Vec::from(["192.0.2.2:25".parse().unwrap()]), ..settings() };
    check(TWO, at, "d.example", "10 a.example 192.0.2.1:25");
    // Another port of this machine is not this node.
    let at = RouteSettings { own_addresses: Vec::from(["192.0.2.1:2525".parse().unwrap()]), ..settings() };
    check(TWO, at, "d.example", "10 a.example 192.0.2.1:25; 20 b.example 192.0.2.2:25");
}

#[test]
fn what_the_name_service_does_not_say() {
    check("noname d.example", settings(), "d.example", "no such domain");
    check("fail d.example", settings(), "d.example", "unanswered");
    check("mx d.example 10 a.example", settings(), "d.example", NO_ADDRESS);
    check("mx d.example 10 a.example\nsilent a.example", settings(), "d.example", "unanswered");
    // After three failures the address is tried, though the exchangers are unknown.
    let routed = ask("fail d.example\na d.example 192.0.2.9", settings(), "d.example", 3);
    assert_eq!(shown(&routed), "0 d.example 192.0.2.9:25");
}

#[test]
fn gateways_and_routes_replace_the_exchangers() {
    let to = |texts: &[&str]| {
        let mut routes: Vec<Route> = texts.iter().map(|text| Route::parse(text).unwrap()).collect();
        postfleet_config::route::number_routes(&mut routes);
        RouteSettings { routes, ..settings() }
    };
    check(TWO, to(&["192.0.2.7:2525"]), "d.example", "0 - 192.0.2.7:2525");
    check("a gw.example 192.0.2.8", to(&["gw.example"]), "d.example", "0 gw.example 192.0.2.8:25");
    check(
        "noname gw.example\na gw.example 192.0.2.8",
        to(&["gw.example"]),
        "d.example",
        "0 gw.example 192.0.2.8:25",
    );
    let routed = ask(TWO, to(&["192.0.2.7", "__mx__"]), "d.example", 0);
    assert_eq!(
        shown(&routed),
        "0 - 192.0.2.7:25; 65546 a.example 192.0.2.1:25; 65556 b.example 192.0.2.2:25"
    );
    let routed =
        ask(TWO, to(&["smtp://192.0.2.7?pref=5", "smtp://192.0.2.8?pref=5&port=26"]), "d.example", 0);
    assert_eq!(shown(&routed), "327680 - 192.0.2.7:25; 327680 - 192.0.2.8:26");
}

#[test]
fn literals_and_families() {
    check("", settings(), "[192.0.2.3]", "0 - 192.0.2.3:25");
    check("", settings(), "[IPv6:2001:db8::3]", "0 - [2001:db8::3]:25");
    let zone = "a d.example 192.0.2.9\na d.example 2001:db8::9";
    check(zone, settings(), "d.example", "0 d.example 192.0.2.9:25");
    let six = RouteSettings { ipv6: true, ..settings() };
    check(zone, six, "d.example", "0 d.example [2001:db8::9]:25,192.0.2.9:25");
    let best = RouteSettings { best_only: true, ..settings() };
    check(TWO, best, "d.example", "10 a.example 192.0.2.1:25");
}

#[test]
fn mta_5_2_failures_of_the_name_service_count() {
    let mut lookups = Lookups::default();
    let at = |hours: u64| Monotonic::ZERO + Duration::from_secs(hours * 3600);
    for hour in 0..9 {
        let judged = lookups.judge(at(hour / 4), Routed::Unanswered, 10);
        assert_eq!(judged, Judged::Delay(LOOKUP_FAILED));
    }
    assert_eq!(lookups.failed(), 9);
    // The tenth fails them, and only when four hours have passed.
    assert_eq!(lookups.judge(at(3), Routed::Unanswered, 10), Judged::Delay(LOOKUP_FAILED));
    assert_eq!(lookups.judge(at(4), Routed::Unanswered, 10), Judged::Fail(NO_DOMAIN));
}
