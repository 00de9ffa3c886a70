//! Answers about limits: why somebody waits, and what came of trying one.

use alloc::string::String;
use alloc::vec::Vec;
use core::time::Duration;

use crate::answer::SharedKind;
use crate::machine::{Fields, put};

/// `cluster shared why`: everything known here about one key. What a kind does not have is `None`.
#[derive(Clone, Debug, PartialEq)]
pub struct SharedWhy {
    /// The object's name as typed; text echoes it.
    pub typed: String,
    /// The object's own name; machine forms carry it.
    pub object: String,
    /// The key.
    pub key: String,
    /// The object's structure.
    pub kind: SharedKind,
    /// Its value: of limits the units or slots owned or gone.
    pub value: u64,
    /// The limit of the whole fleet.
    pub limit: Option<u64>,
    /// Of a throttle the rate, such as `20/60`.
    pub rate: Option<String>,
    /// The option that says so, and the path of the stanza where it is written; empty at the global scope.
    pub source: Option<(String, String)>,
    /// The limit in force on this side of the fleet.
    pub in_force: Option<u64>,
    /// So many of so many nodes are here, and the limit in force follows from it.
    pub part: Option<(u64, u64)>,
    /// It only watches; units that it would have held back here so far.
    pub shadow: Option<u64>,
    /// Every member, in membership order.
    pub members: Vec<WhyMember>,
    /// What departed members may still be using.
    pub gone: Vec<WhyGone>,
    /// The last grants, newest first.
    pub grants: Vec<WhyGrant>,
    /// Nodes whose data is awaited.
    pub awaited: Vec<String>,
    /// This node has not heard of itself for too long and uses nothing.
    pub cut_off: bool,
}

/// One member's part.
#[derive(Clone, Debug, PartialEq)]
pub struct WhyMember {
    /// Its node name.
    pub node: String,
    /// Private name of its shared-data connection.
    pub private_name: String,
    /// In use; of other members' limits all they own.
    pub used: u64,
    /// Owned and idle; known of the answering node only.
    pub held: Option<u64>,
    /// Wanted beyond what it owns.
    pub wanted: Option<u64>,
    /// For how long it has waited.
    pub waiting: Option<Duration>,
    /// Since something of it was last delivered.
    pub seen: Option<Duration>,
}

/// What went with a departed member.
#[derive(Clone, Debug, PartialEq)]
pub struct WhyGone {
    /// Its node name.
    pub node: String,
    /// How many.
    pub units: u64,
    /// When they are free at the latest.
    pub free_in: Duration,
}

/// A grant.
#[derive(Clone, Debug, PartialEq)]
pub struct WhyGrant {
    /// The node name of the member that got it.
    pub node: String,
    /// How many.
    pub units: u64,
    /// How long ago.
    pub ago: Duration,
}

/// `throttle …`: what came of using a named throttle.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ThrottleReply {
    /// The throttle.
    pub name: String,
    /// Units asked for.
    pub asked: u64,
    /// Units used now.
    pub taken: u64,
    /// Whether the quota is exceeded.
    pub exceeded: bool,
    /// Units owned or gone in the whole fleet, as known here.
    pub used: u64,
    /// Its rate.
    pub rate: String,
}

/// `slot …`: connections held open for trying a limit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SlotReply {
    /// The limit's key.
    pub key: String,
    /// Held open by this node's consoles.
    pub open: u64,
    /// Wanted beyond that; they open when slots come.
    pub wanted: u64,
}

struct Seconds(Duration);

impl core::fmt::Display for Seconds {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "{:.1} s", self.0.as_secs_f64())
    }
}

struct Maybe(Option<u64>);

impl core::fmt::Display for Maybe {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match self.0 {
            Some(number) => write!(f, "{number}"),
            None => f.write_str("?"),
        }
    }
}

pub(crate) fn text_why(out: &mut String, why: &SharedWhy) {
    put(out, format_args!("{} '{}': {}", why.typed, why.key, why.value));
    match (&why.rate, why.limit) {
        (Some(rate), _) => put(out, format_args!(" of {rate}")),
        (None, Some(limit)) => put(out, format_args!(" of {limit}")),
        (None, None) => {}
    }
    if let Some((option, scope)) = &why.source {
        let scope = if scope.is_empty() { "the global scope" } else { scope };
        put(out, format_args!(" ({option} at {scope})"));
    }
    if let (Some(in_force), Some((here, all))) = (why.in_force, why.part)
        && why.limit != Some(in_force)
    {
        put(out, format_args!(", {in_force} in force: "));
        if in_force == 0 {
            // The other policies leave at least one to every side.
            out.push_str("the partition policy 'quorum' allows nothing here, ");
        }
        put(out, format_args!("{here} of {all} nodes are here"));
    }
    if why.shadow.is_some() {
        out.push_str(" shadow");
    }
    out.push('\n');
    for member in &why.members {
        let (node, used, held) = (&member.node, member.used, Maybe(member.held));
        put(out, format_args!("  {node}: {used} used, {held} held, {} wanted", Maybe(member.wanted)));
        if let Some(waiting) = member.waiting {
            put(out, format_args!(" since {}", Seconds(waiting)));
        }
        match member.seen {
            Some(seen) => put(out, format_args!(", seen {} ago\n", Seconds(seen))),
            None => out.push_str(", not seen yet\n"),
        }
    }
    for gone in &why.gone {
        let free_in = Seconds(gone.free_in);
        put(out, format_args!("  {} left with {}, free in {free_in} at the latest\n", gone.node, gone.units));
    }
    for grant in &why.grants {
        put(out, format_args!("  granted {} to {}, {} ago\n", grant.units, grant.node, Seconds(grant.ago)));
    }
    if let Some(units) = why.shadow {
        put(out, format_args!("  {units} would have been held back here\n"));
    }
    if !why.awaited.is_empty() {
        let awaited = why.awaited.join(", ");
        match why.limit {
            Some(_) => put(out, format_args!("  nothing changes owner until {awaited} has sent its table\n")),
            None => put(out, format_args!("  not complete: counts of {awaited} are still to come\n")),
        }
    }
    if why.cut_off {
        out.push_str("  this node does not hear itself on the bus and uses nothing\n");
    }
}

fn seconds(fields: &mut Fields<'_>, name: &str, time: Option<Duration>) {
    match time {
        // Tenths are what text shows; more would only be noise.
        Some(time) => {
            fields.real(name, f64::from(u32::try_from(time.as_millis() / 100).unwrap_or(u32::MAX)) / 10.0)
        }
        None => fields.maybe_text(name, None),
    }
}

pub(crate) fn describe_why(fields: &mut Fields<'_>, why: &SharedWhy) {
    fields.text("object", &why.object);
    fields.text("kind", why.kind.words());
    fields.text("key", &why.key);
    fields.whole("value", why.value);
    fields.maybe_whole("limit", why.limit);
    fields.maybe_text("rate", why.rate.as_deref());
    fields.maybe_text("option", why.source.as_ref().map(|(option, _)| option.as_str()));
    fields.maybe_text("scope", why.source.as_ref().map(|(_, scope)| scope.as_str()));
    fields.maybe_whole("in_force", why.in_force);
    fields.maybe_whole("seats_here", why.part.map(|(here, _)| here));
    fields.maybe_whole("seats", why.part.map(|(_, all)| all));
    fields.truth("shadow", why.shadow.is_some());
    fields.maybe_whole("shadowed", why.shadow);
    fields.truth("cut_off", why.cut_off);
    fields.records("nodes", "Node", &why.members, |member, fields| {
        fields.text("node", &member.node);
        fields.text("private_name", &member.private_name);
        fields.whole("used", member.used);
        fields.maybe_whole("held", member.held);
        fields.maybe_whole("wanted", member.wanted);
        seconds(fields, "waiting", member.waiting);
        seconds(fields, "seen_ago", member.seen);
    });
    fields.records("gone", "Gone", &why.gone, |gone, fields| {
        fields.text("node", &gone.node);
        fields.whole("units", gone.units);
        seconds(fields, "free_in", Some(gone.free_in));
    });
    fields.records("grants", "Grant", &why.grants, |grant, fields| {
        fields.text("node", &grant.node);
        fields.whole("units", grant.units);
        seconds(fields, "ago", Some(grant.ago));
    });
    fields.names("awaited", "Awaited", why.awaited.iter().map(String::as_str));
}

pub(crate) fn text_throttle(out: &mut String, reply: &ThrottleReply) {
    let ThrottleReply { name, asked, taken, used, rate, .. } = reply;
    put(out, format_args!("{name}: "));
    if *asked > 0 {
        put(out, format_args!("{taken} of {asked} used now, "));
    }
    let exceeded = if reply.exceeded { ", exceeded" } else { "" };
    put(out, format_args!("{used} of {rate} in the fleet{exceeded}\n"));
}

pub(crate) fn describe_throttle(fields: &mut Fields<'_>, reply: &ThrottleReply) {
    fields.text("name", &reply.name);
    fields.whole("asked", reply.asked);
    fields.whole("taken", reply.taken);
    fields.truth("exceeded", reply.exceeded);
    fields.whole("used", reply.used);
    fields.text("rate", &reply.rate);
}

pub(crate) fn text_slot(out: &mut String, reply: &SlotReply) {
    put(out, format_args!("{}: {} open, {} wanted\n", reply.key, reply.open, reply.wanted));
}

pub(crate) fn describe_slot(fields: &mut Fields<'_>, reply: &SlotReply) {
    fields.text("key", &reply.key);
    fields.whole("open", reply.open);
    fields.whole("wanted", reply.wanted);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn member(node: &str, used: u64, held: Option<u64>, wanted: Option<u64>) -> WhyMember {
        WhyMember {
            node: node.into(),
            private_name: alloc::format!("#ec1-00001#{node}"),
            used,
            held,
            wanted,
            waiting: wanted.filter(|wanted| *wanted > 0).map(|_| Duration::from_millis(3200)),
            seen: Some(Duration::from_millis(100)),
        }
    }

    fn why() -> SharedWhy {
        SharedWhy {
            typed: "outbound_domain".into(),
            object: "outbound_domains".into(),
            key: "aol.com".into(),
            kind: SharedKind::GaugeTable,
            value: 20,
            limit: Some(20),
            rate: None,
            source: Some(("Cluster_Max_Outbound_Connections".into(), "Domain:aol.com:".into())),
            in_force: Some(20),
            part: Some((2, 2)),
            shadow: None,
            members: Vec::from([
                member("relay-0-1", 9, Some(0), Some(0)),
                member("relay-0-2", 11, None, Some(4)),
            ]),
            gone: Vec::new(),
            grants: Vec::from([WhyGrant {
                node: "relay-0-2".into(),
                units: 1,
                ago: Duration::from_millis(3300),
            }]),
            awaited: Vec::new(),
            cut_off: false,
        }
    }

    fn check(why: &SharedWhy, expected: &str) {
        let mut out = String::new();
        text_why(&mut out, why);
        assert_eq!(out, expected);
    }

    #[test]
    fn console_s6_10_shared_why() {
        check(
            &why(),
            "outbound_domain 'aol.com': 20 of 20 (Cluster_Max_Outbound_Connections at Domain:aol.com:)\n  \
             relay-0-1: 9 used, 0 held, 0 wanted, seen 0.1 s ago\n  \
             relay-0-2: 11 used, ? held, 4 wanted since 3.2 s, seen 0.1 s ago\n  \
             granted 1 to relay-0-2, 3.3 s ago\n",
        );
        let plain = SharedWhy {
            limit: None,
            source: None,
            in_force: None,
            part: None,
            members: Vec::from([member("a", 20, None, None)]),
            grants: Vec::new(),
            ..why()
        };
        check(&plain, "outbound_domain 'aol.com': 20\n  a: 20 used, ? held, ? wanted, seen 0.1 s ago\n");
    }

    #[test]
    fn a_split_fleet_and_a_shadow_are_told() {
        let split = SharedWhy {
            typed: "OBTM".into(),
            key: "global".into(),
            value: 7,
            limit: Some(20),
            rate: Some("20/60".into()),
            source: None,
            in_force: Some(13),
            part: Some((2, 3)),
            shadow: Some(4),
            members: Vec::new(),
            gone: Vec::from([WhyGone { node: "c".into(), units: 3, free_in: Duration::from_secs(12) }]),
            grants: Vec::new(),
            awaited: Vec::from(["b".into()]),
            cut_off: true,
            ..why()
        };
        check(
            &split,
            "OBTM 'global': 7 of 20/60, 13 in force: 2 of 3 nodes are here shadow\n  \
             c left with 3, free in 12.0 s at the latest\n  \
             4 would have been held back here\n  \
             nothing changes owner until b has sent its table\n  \
             this node does not hear itself on the bus and uses nothing\n",
        );
    }

    #[test]
    fn a_side_without_quorum_is_told_that_it_has_nothing() {
        let side =
            SharedWhy { limit: Some(20), in_force: Some(0), part: Some((1, 3)), source: None, ..why() };
        let mut out = String::new();
        text_why(&mut out, &side);
        let told =
            "20 of 20, 0 in force: the partition policy 'quorum' allows nothing here, 1 of 3 nodes are here";
        assert!(out.lines().next().is_some_and(|first| first.ends_with(told)), "{out}");
    }
}
