//! Corosync's quorum, and what it decides.

use crate::fleet::Fleet;
use postfleet_testbed::ring::HostId;

/// Bus document 12.7, replication document 9.4.5: of three hosts only the first votes. Cut off from the other two it has the
/// limits, although they are more; and they have them again when it is back.
pub fn votes_decide(prefix: &str) {
    let mut fleet = Fleet::without_daemons(&format!("{prefix}-q"), 3, |plan| {
        plan.hosts.iter_mut().skip(1).for_each(|host| host.votes = false);
    });
    let hosts = fleet.hosts();
    for host in &hosts {
        fleet.configure(*host, "partition = quorum\n  Replicate \"shared_named_throttles\" {}");
    }
    fleet.ring.form();
    hosts.iter().for_each(|host| fleet.start_node(*host));
    fleet.wait_together();
    fleet.console(hosts[0], "throttle create bulk 60/60").unwrap();
    // A throttle that nobody uses disappears after a while.
    let in_force = |host: HostId| {
        fleet.console(host, "throttle take bulk 1");
        let why = fleet.console(host, "cluster shared why shared_named_throttles bulk")?;
        let first = why.lines().next()?;
        Some(first.to_owned())
    };
    let all_of_it = |host: HostId| in_force(host).is_some_and(|line| !line.contains("in force"));
    let nothing = |host: HostId| in_force(host).is_some_and(|line| line.contains(", 0 in force"));
    fleet.wait("all have all of it", || hosts.iter().all(|host| all_of_it(*host)));
    fleet.ring.cut(&[vec![hosts[0]], vec![hosts[1], hosts[2]]]);
    fleet.wait_view(&[hosts[1], hosts[2]]);
    fleet.wait_view(&[hosts[0]]);
    fleet.wait("two of three have nothing", || nothing(hosts[1]) && nothing(hosts[2]));
    fleet.wait("one has everything", || all_of_it(hosts[0]));
    for host in &hosts[1..] {
        let says = "The cluster is no longer quorate on this side";
        fleet.wait("it is said", || fleet.log(*host).contains(says));
    }
    assert!(!fleet.log(hosts[0]).contains("no longer quorate"), "{}", fleet.log(hosts[0]));
    fleet.ring.heal();
    fleet.wait_together();
    fleet.wait("all have all of it again", || hosts.iter().all(|host| all_of_it(*host)));
}
