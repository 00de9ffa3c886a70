//! Addresses that move: what the stanzas say about them has to fit together.

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use core::net::IpAddr;

use super::span_of;
use crate::capability::capabilities;
use crate::config::Config;
use crate::diagnostic::Finding;
use crate::schema::Scope;
use crate::settings::{Candidate, Moving};
use crate::source::Span;
use crate::tree::{Applies, Instance};
use crate::value::{Value, clip};

/// How many addresses a cluster may move. The tables of the ownership agreement are made for it.
const ADDRESSES_MAX: usize = 10_240;

/// What bringing addresses up, announcing them and binding to them takes.
const NEEDED: [&str; 4] = ["cap_net_admin", "cap_net_bind_service", "cap_net_raw", "cap_sys_resource"];

pub(super) fn check(config: &Config, report: &mut dyn FnMut(Finding)) {
    let candidates = config.failover_candidates();
    let mut marked: BTreeMap<IpAddr, Span> = BTreeMap::new();
    let moving = Moving::of(&candidates);
    for candidate in &candidates {
        if let Some((address, span)) = own_address(config, candidate, report) {
            marked.entry(address).or_insert(span);
        }
        follower(config, &moving, candidate, report);
    }
    if marked.is_empty() {
        return;
    }
    if config.tree().anonymous(Scope::Cluster).is_none() {
        for span in marked.values() {
            let message = "a failover address without a `cluster` stanza is an ordinary address";
            report(Finding::warning(6312, *span, message).hint("add: cluster { … }"));
        }
        return;
    }
    if marked.len() > ADDRESSES_MAX
        && let Some(span) = marked.values().max()
    {
        let message = format!("{} failover addresses are too many", marked.len());
        report(Finding::error(6309, *span, message).expected(format!("at most {ADDRESSES_MAX}")));
    }
    let mut users: BTreeMap<IpAddr, Vec<&Candidate>> = BTreeMap::new();
    for candidate in candidates.iter().filter(|candidate| candidate.follows.is_none()) {
        if let Some(address) = candidate.address.filter(|address| marked.contains_key(address)) {
            users.entry(address).or_default().push(candidate);
        }
    }
    let own = own_node_address(config);
    for (address, span) in &marked {
        if own == Some(*address) {
            report(
                Finding::error(6306, *span, "Local node address cannot be DuraVIP")
                    .expected("another address"),
            );
        }
        if config.topology(*address).is_none() {
            let block = if address.is_ipv4() { "24" } else { "64" };
            let message =
                format!("no Topology has the failover address {address}: its interface is not known");
            report(
                Finding::error(6307, *span, message)
                    .expected("a Topology stanza with `interface` whose block contains the address")
                    .hint(format!("Topology \"{address}/{block}\" {{ interface = \"NAME\" }}")),
            );
        }
        of_one_address(config, *address, users.get(address).map_or(&[][..], Vec::as_slice), report);
    }
    privileges(config, marked.values().copied().min(), report);
}

fn instance<'a>(config: &'a Config, candidate: &Candidate) -> Option<&'a Instance> {
    config.tree().instance(candidate.id)
}

/// `ESMTP_listener`: how messages about failover name a listener.
fn listener_word(candidate: &Candidate) -> String {
    candidate
        .service
        .map_or_else(String::new, |service| service.scope().name().replace("Listener", "listener"))
}

fn literal_bind_address(config: &Config, candidate: &Candidate) -> Option<Span> {
    instance(config, candidate).and_then(|binding| span_of(binding, "Bind_Address"))
}

/// The address of a marked candidate and the place of the mark, if nothing is wrong with them.
fn own_address(
    config: &Config,
    candidate: &Candidate,
    report: &mut dyn FnMut(Finding),
) -> Option<(IpAddr, Span)> {
    let stanza = instance(config, candidate).filter(|_| candidate.marked)?;
    let span = span_of(stanza, "Enable_Duravip")?;
    let name = clip(&candidate.name);
    if candidate.service.is_none() {
        if candidate.address.is_none() {
            let place = literal_bind_address(config, candidate).unwrap_or(span);
            report(
                Finding::error(6305, place, format!("'{name}' cannot be a DuraVIP"))
                    .expected("Bind_Address with one address"),
            );
        }
        return Some((candidate.address?, span));
    }
    let word = listener_word(candidate);
    if candidate.follows.is_some() {
        let message = format!("'{word} '{name}' cannot be both DuraVIP and a duravip_follow");
        report(Finding::error(6301, span, message).expected("one of Enable_Duravip and Duravip_Follow"));
        return None;
    }
    if candidate.address.is_none() {
        let socket = matches!(stanza.applies, Applies::Listen(ref listen) if listen.port().is_none());
        let message = if socket {
            format!("DuraVIP marked on a Unix socket: {word} {name}")
        } else {
            format!("DuraVIP marked on INADDR_ANY {word} {name}")
        };
        report(Finding::error(6304, span, message).expected("a listener on one address"));
    }
    Some((candidate.address?, span))
}

fn follower(config: &Config, moving: &Moving<'_>, candidate: &Candidate, report: &mut dyn FnMut(Finding)) {
    let (Some(follows), false) = (&candidate.follows, candidate.marked) else {
        return;
    };
    let Some(stanza) = instance(config, candidate) else {
        return;
    };
    let Some(span) = span_of(stanza, "Duravip_Follow") else {
        return;
    };
    if follows == "default" {
        let finding = Finding::error(6302, span, "duravip_follow is set to default binding");
        report(finding.expected("a binding that moves, or its address"));
        return;
    }
    let target = moving.followed(follows);
    let moves = |address: IpAddr| moving.moves(address);
    if !moving.is_binding(follows) && !target.is_some_and(moves) {
        let near = crate::schema::nearest_name(follows, moving.bindings());
        report(
            Finding::error(
                6302,
                span,
                format!("duravip_follow is set to {}, which does not exist", clip(follows)),
            )
            .expected("a binding that moves, or its address")
            .maybe_hint(near.map(|near| format!("did you mean '{near}'?"))),
        );
        return;
    }
    if !target.is_some_and(moves) {
        let message = format!("duravip_follow is set to {}, which is not a DuraVIP", clip(follows));
        report(Finding::error(6303, span, message).expected("a binding with Enable_Duravip"));
    } else if target == candidate.address {
        let message =
            format!("duravip_follow is set to {}, which has the listener's own address", clip(follows));
        report(Finding::error(6303, span, message).expected("a binding with another address"));
    }
    if candidate.address.is_none() {
        let word = listener_word(candidate);
        let message =
            format!("duravip_follow on {word} {}, which has no address of its own", clip(&candidate.name));
        report(Finding::error(6304, span, message).expected("a listener on one address"));
    }
    if let Some(preference) = stanza.assigned("Duravip_Preference") {
        let message = "Duravip_Preference has no effect beside Duravip_Follow";
        report(
            Finding::warning(6308, preference.name, message).hint("set it in the binding that is followed"),
        );
    }
}

/// Those that use one address: marked all, and of one preference.
fn of_one_address(config: &Config, address: IpAddr, users: &[&Candidate], report: &mut dyn FnMut(Finding)) {
    let mut first: Option<(&str, Span)> = None;
    for user in users {
        let Some(stanza) = instance(config, user) else {
            continue;
        };
        if !user.marked
            && let Some(span) = stanza.opened
        {
            let name = clip(&user.name);
            let what = match user.service {
                Some(_) => format!("{} '{name}'", listener_word(user)),
                None => format!("'{name}'"),
            };
            report(
                Finding::warning(6311, span, format!("upgrading {what} to DuraVIP"))
                    .hint("Enable_Duravip = true"),
            );
        }
        let (Some(preference), Some(span)) = (&user.preference, span_of(stanza, "Duravip_Preference")) else {
            continue;
        };
        match first {
            Some((other, place)) if other != preference => {
                let message = format!(
                    "{address} is preferred by {} and by {}; no preference is used",
                    clip(other),
                    clip(preference)
                );
                report(Finding::warning(6308, span, message).expected("one node").see_also(place));
            }
            Some(_) => {}
            None => first = Some((preference, span)),
        }
    }
}

fn own_node_address(config: &Config) -> Option<IpAddr> {
    let cluster = config.tree().anonymous(Scope::Cluster).and_then(|id| config.tree().instance(id))?;
    if let Value::Address(address) = cluster.assigned("nodeaddr")?.value { Some(address) } else { None }
}

/// The capabilities that survive the change of account.
fn privileges(config: &Config, mark: Option<Span>, report: &mut dyn FnMut(Finding)) {
    let security = config.node_settings().security;
    if security.user == "root" || security.user == "0" {
        return;
    }
    let kept: BTreeSet<&str> =
        security.capabilities.as_deref().and_then(|text| capabilities(text).ok()).unwrap_or_default();
    let chroot = security.chroot.as_ref().map(|_| "cap_sys_chroot");
    let needed: Vec<&str> = NEEDED.into_iter().chain(chroot).collect();
    let stanza = config.tree().anonymous(Scope::Security).and_then(|id| config.tree().instance(id));
    let Some(span) = stanza.and_then(|stanza| span_of(stanza, "Capabilities")).or(mark) else {
        return;
    };
    let all: Vec<String> = needed.iter().map(|name| format!("{name}+ep")).collect();
    for missing in needed.iter().filter(|name| !kept.contains(**name)) {
        let message =
            format!("Missing capability: {missing}. Clustering with DuraVIP requires enhanced privileges");
        let hint = format!("Security {{ Capabilities = \"{}\" }}", all.join(" "));
        report(Finding::warning(6310, span, message).hint(hint));
    }
}
