//! Which hosts take the mail of a domain (RFC 5321 section 5.1, RFC 7505).
//!
//! [`Routing`] asks for look-ups and ends with [`Routed`]. It looks nothing up itself and remembers nothing between two
//! routings; [`Lookups`] does that.

use alloc::collections::BTreeMap;
use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use core::time::Duration;

use postfleet_config::route::{Route, RouteHost, RouteLookup};
use postfleet_types::{Monotonic, Prefix};

pub(crate) const NULL_MX: &str = "556 5.1.10 [internal] NULL MX domain does not accept mail";
pub(crate) const NO_DOMAIN: &str = "554 5.4.4 [internal] Domain Lookup Failed";
pub(crate) const NO_ADDRESS: &str = "454 4.4.4 [internal] no MX or A for domain";
pub(crate) const LOOP: &str = "554 5.4.6 mail loop detected";
pub(crate) const PRIVATE: &str = "551 5.4.6 [internal] Private/Loopback Address";
pub(crate) const NO_HOSTS: &str = "451 4.4.1 [internal] No valid hosts (unable to make any connections)";
pub(crate) const LOOKUP_FAILED: &str = "451 4.4.3 [internal] Domain Lookup Failed";

/// What the name service said.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer<T> {
    /// Records, and how long they hold.
    Found(T, Duration),
    /// The name exists, and has no such records.
    NoData,
    /// The name does not exist; said by who should know.
    NoName,
    /// No answer, or one that says nothing.
    Failed,
}

/// One MX record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mx {
    /// Lower ones first.
    pub preference: u16,
    /// The exchanger, without the dot at the end; empty for the root, which is no host.
    pub host: String,
}

/// The addresses of a name, in the order in which they are to be tried.
pub type Addresses = Vec<IpAddr>;

/// What a routing depends on, besides names.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RouteSettings {
    /// `Routes`, or one element for `Gateway`; empty: the domain's own exchangers.
    pub routes: Vec<Route>,
    /// `Remote_SMTP_Port`.
    pub port: u16,
    /// `Prohibited_Hosts`.
    pub prohibited: Vec<Prefix>,
    /// `Skip_Hosts`.
    pub skip: Vec<Prefix>,
    /// Names of this node.
    pub own_names: Vec<String>,
    /// Where this node listens for mail.
    pub own_addresses: Vec<SocketAddr>,
    /// There is a source for IPv4.
    pub ipv4: bool,
    /// `Use_IPv6`, with a source for it.
    pub ipv6: bool,
    /// Only exchangers of the best preference are used (`Only_Use_Best_MX_For_Relay_Domains`).
    pub best_only: bool,
    /// `MX_Failures_Fallback_To_A`; 0: never.
    pub fallback_after: u32,
    /// `Min_DNS_TTL`, `Max_DNS_TTL`.
    pub ttl: (Duration, Duration),
}

/// A host that takes the mail.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TargetHost {
    /// Lower ones first.
    pub preference: u32,
    /// The name as it was found; none for an address.
    pub name: Option<Arc<str>>,
    /// Where it is, at least one.
    pub addresses: Vec<SocketAddr>,
}

/// Where the mail of a domain goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Routed {
    /// To these hosts, by preference.
    Hosts {
        /// At least one.
        hosts: Vec<TargetHost>,
        /// How long this holds.
        ttl: Duration,
    },
    /// Nowhere, for good: the reply that the messages fail with.
    Nowhere(&'static str),
    /// There is no such domain, says the name service.
    NoSuchDomain,
    /// Nowhere now: the reply that the messages are delayed with.
    Later(&'static str),
    /// The name service did not answer.
    Unanswered,
}

/// A look-up that a routing needs.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Need {
    /// MX records.
    Exchangers(String),
    /// A records, and AAAA records where they are used.
    Addresses(String),
}

#[derive(Clone, Debug)]
struct Candidate {
    preference: u32,
    name: Option<String>,
    port: u16,
    /// Known beforehand.
    literal: Option<IpAddr>,
    /// It comes from the name service: it may be this node itself.
    found: bool,
}

/// One routing, on its way. Deviation from RFC 5321: none is known.
#[derive(Debug)]
pub struct Routing {
    settings: Arc<RouteSettings>,
    domain: String,
    failed_lookups: u32,
    /// What has to be looked up as exchangers: name, and the route that asks.
    pending: Vec<Need>,
    exchangers: BTreeMap<String, Answer<Vec<Mx>>>,
    addresses: BTreeMap<String, Answer<Addresses>>,
}

enum Step {
    Need(Need),
    Candidates(Vec<Candidate>),
    End(Routed),
}

impl Routing {
    /// A routing for a domain as it stands in the address, in lower-case A-labels; `failed_lookups` in a row came before.
    #[must_use]
    pub fn new(settings: Arc<RouteSettings>, domain: &str, failed_lookups: u32) -> Self {
        Self {
            settings,
            domain: String::from(domain),
            failed_lookups,
            pending: Vec::new(),
            exchangers: BTreeMap::new(),
            addresses: BTreeMap::new(),
        }
    }

    /// The next look-ups, all of which may run at once; or the end.
    ///
    /// # Errors
    /// The look-ups that are needed.
    pub fn poll(&mut self) -> Result<Routed, Vec<Need>> {
        self.pending.clear();
        let outcome = self.run();
        if self.pending.is_empty() {
            return Ok(outcome);
        }
        let mut needed = core::mem::take(&mut self.pending);
        needed.sort();
        needed.dedup();
        Err(needed)
    }

    /// The MX records of a name.
    pub fn exchangers(&mut self, name: &str, answer: Answer<Vec<Mx>>) {
        self.exchangers.insert(String::from(name), answer);
    }

    /// The addresses of a name.
    pub fn addresses(&mut self, name: &str, answer: Answer<Addresses>) {
        self.addresses.insert(String::from(name), answer);
    }

    fn run(&mut self) -> Routed {
        let mut ttl = self.settings.ttl.1;
        if let Some(literal) = literal(&self.domain) {
            let candidate = Candidate {
                preference: 0,
                name: None,
                port: self.settings.port,
                literal: Some(literal),
                found: true,
            };
            return self.finish(Vec::from([candidate]), ttl);
        }
        let routes = if self.settings.routes.is_empty() {
            let own = Route {
                host: RouteHost::Exchangers,
                port: None,
                preference: None,
                ttl_seconds: None,
                lookup: None,
            };
            Vec::from([own])
        } else {
            self.settings.routes.clone()
        };
        let mut all = Vec::new();
        let mut ended = None;
        for (place, route) in routes.iter().enumerate() {
            // Without preferences the order of writing decides; exchangers of one element stay together.
            let base = route.preference.unwrap_or_else(|| u32::try_from(place).unwrap_or(u32::MAX));
            match self.candidates(route, &mut ttl) {
                Step::Need(need) => self.pending.push(need),
                Step::End(routed) => ended = ended.or(Some(routed)),
                Step::Candidates(mut found) => {
                    if routes.len() > 1 {
                        found.iter_mut().for_each(|candidate| {
                            candidate.preference = base
                                .saturating_mul(0x1_0000)
                                .saturating_add(candidate.preference.min(0xFFFF));
                        });
                    }
                    all.extend(found);
                }
            }
            if let Some(seconds) = route.ttl_seconds {
                ttl = ttl.min(Duration::from_secs(u64::from(seconds)));
            }
        }
        match ended {
            Some(routed) if all.is_empty() => routed,
            Some(_) | None => self.finish(all, ttl),
        }
    }

    /// The hosts behind one element of `Routes`.
    fn candidates(&self, route: &Route, ttl: &mut Duration) -> Step {
        let port = route.port.unwrap_or(self.settings.port);
        let single = |name: Option<&str>, literal, found| {
            let name = name.map(String::from);
            Step::Candidates(Vec::from([Candidate { preference: 0, name, port, literal, found }]))
        };
        let (name, own) = match &route.host {
            RouteHost::Address(address) => return single(None, Some(*address), false),
            RouteHost::Exchangers => (self.domain.as_str(), true),
            RouteHost::Name(name) if route.lookup == Some(RouteLookup::A) => {
                return single(Some(name), None, false);
            }
            RouteHost::Name(name) => (name.as_str(), false),
        };
        match self.exchangers.get(name) {
            None => Step::Need(Need::Exchangers(String::from(name))),
            Some(Answer::Found(records, found_ttl)) => {
                *ttl = (*ttl).min(*found_ttl);
                // A null MX beside others is ignored.
                let hosts: Vec<&Mx> = records.iter().filter(|mx| !mx.host.is_empty()).collect();
                if hosts.is_empty() && own {
                    return Step::End(Routed::Nowhere(NULL_MX));
                }
                let candidates = hosts.into_iter().map(|mx| Candidate {
                    preference: u32::from(mx.preference),
                    name: Some(mx.host.clone()),
                    port,
                    literal: None,
                    found: true,
                });
                Step::Candidates(candidates.collect())
            }
            Some(Answer::NoData) => single(Some(name), None, own),
            // A gateway need not be a mail domain.
            Some(Answer::NoName) if !own => single(Some(name), None, false),
            Some(Answer::NoName) => Step::End(Routed::NoSuchDomain),
            Some(Answer::Failed) => {
                let tried = self.settings.fallback_after;
                if !own || (tried > 0 && self.failed_lookups >= tried) {
                    return single(Some(name), None, own);
                }
                Step::End(Routed::Unanswered)
            }
        }
    }

    /// From candidates to hosts with addresses.
    fn finish(&mut self, mut candidates: Vec<Candidate>, mut ttl: Duration) -> Routed {
        candidates.sort_by_key(|candidate| candidate.preference);
        let mut missing = Vec::new();
        for name in
            candidates.iter().filter(|candidate| candidate.literal.is_none()).filter_map(|c| c.name.as_ref())
        {
            if !self.addresses.contains_key(name) && !self.is_own_name(name) {
                missing.push(Need::Addresses(name.clone()));
            }
        }
        if !missing.is_empty() {
            self.pending.extend(missing);
            return Routed::Unanswered;
        }
        if !self.pending.is_empty() {
            return Routed::Unanswered;
        }
        let mut hosts: Vec<(TargetHost, bool)> = Vec::new();
        let (mut looped, mut skipped, mut unanswered) = (None, false, false);
        for candidate in &candidates {
            let found = match (candidate.literal, candidate.name.as_deref()) {
                (Some(address), _) => Vec::from([address]),
                (None, Some(name)) if candidate.found && self.is_own_name(name) => {
                    looped = Some(candidate.preference);
                    break;
                }
                (None, Some(name)) => match self.addresses.get(name) {
                    Some(Answer::Found(found, found_ttl)) => {
                        ttl = ttl.min(*found_ttl);
                        self.ordered(found)
                    }
                    Some(Answer::Failed) => {
                        unanswered = true;
                        continue;
                    }
                    Some(Answer::NoData | Answer::NoName) | None => continue,
                },
                (None, None) => continue,
            };
            let at = |address: &IpAddr| SocketAddr::new(*address, candidate.port);
            if candidate.found
                && found.iter().any(|address| self.settings.own_addresses.contains(&at(address)))
            {
                looped = Some(candidate.preference);
                break;
            }
            let contains =
                |blocks: &[Prefix], address: &IpAddr| blocks.iter().any(|block| block.contains(*address));
            let prohibited = found.iter().any(|address| contains(&self.settings.prohibited, address));
            let before = found.len();
            let usable: Vec<SocketAddr> =
                found.iter().filter(|address| !contains(&self.settings.skip, address)).map(at).collect();
            skipped |= usable.len() < before;
            if usable.is_empty() {
                continue;
            }
            let name = candidate.name.as_deref().map(Arc::from);
            hosts
                .push((TargetHost { preference: candidate.preference, name, addresses: usable }, prohibited));
        }
        // This node takes the mail: whoever is not better than it must not get it (RFC 5321 section 5.1).
        if let Some(preference) = looped {
            hosts.retain(|(host, _)| host.preference < preference);
            if hosts.is_empty() {
                return Routed::Nowhere(LOOP);
            }
        }
        let Some(best) = hosts.first().map(|(host, _)| host.preference) else {
            return if unanswered {
                Routed::Unanswered
            } else if skipped {
                Routed::Later(NO_HOSTS)
            } else {
                Routed::Later(NO_ADDRESS)
            };
        };
        // A prohibited host of the best preference would be chosen; behind it, it is left out.
        if hosts.iter().any(|(host, prohibited)| *prohibited && host.preference == best) {
            return Routed::Nowhere(PRIVATE);
        }
        hosts.retain(|(host, prohibited)| {
            !prohibited && (!self.settings.best_only || host.preference == best)
        });
        let (least, most) = self.settings.ttl;
        Routed::Hosts {
            hosts: hosts.into_iter().map(|(host, _)| host).collect(),
            ttl: ttl.clamp(least, most.max(least)),
        }
    }

    fn is_own_name(&self, name: &str) -> bool {
        self.settings.own_names.iter().any(|own| own.eq_ignore_ascii_case(name))
    }

    /// IPv6 first, where it is used.
    fn ordered(&self, addresses: &[IpAddr]) -> Vec<IpAddr> {
        let six = addresses.iter().filter(|address| address.is_ipv6() && self.settings.ipv6);
        let four = addresses.iter().filter(|address| address.is_ipv4() && self.settings.ipv4);
        six.chain(four).copied().collect()
    }
}

/// A domain literal: `[192.0.2.1]`, `[IPv6:2001:db8::1]`.
fn literal(domain: &str) -> Option<IpAddr> {
    let inside = domain.strip_prefix('[')?.strip_suffix(']')?;
    let tag = inside.get(..5).filter(|tag| tag.eq_ignore_ascii_case("ipv6:"));
    match tag {
        Some(tag) => inside.get(tag.len()..)?.parse::<Ipv6Addr>().ok().map(IpAddr::V6),
        None => inside.parse::<Ipv4Addr>().ok().map(IpAddr::V4),
    }
}

/// Look-ups that are repeated before it is believed that there is no such domain.
const NO_NAME_LOOKUPS: u32 = 3;
/// The time between them.
const NO_NAME_PAUSE: Duration = Duration::from_secs(300);
/// How long the name service has to fail before messages do.
const UNANSWERED_FOR: Duration = Duration::from_secs(4 * 3600);

/// What the look-ups of one domain have come to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Lookups {
    no_name: u32,
    /// Before that, no look-up counts: a reload asks at once.
    next_no_name: Option<Monotonic>,
    failed: u32,
    failed_since: Option<Monotonic>,
}

/// What follows from a routing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Judged {
    /// There are hosts.
    Hosts(Vec<TargetHost>, Duration),
    /// All messages fail with this reply.
    Fail(&'static str),
    /// Every active message counts a failure with this reply.
    Delay(&'static str),
    /// Ask again then.
    Again {
        /// Look-ups that said so.
        lookups: u32,
        /// When.
        until: Monotonic,
    },
}

impl Lookups {
    /// Look-ups in a row without an answer.
    #[must_use]
    pub const fn failed(&self) -> u32 {
        self.failed
    }

    /// Look-ups in a row that said that there is no such domain.
    #[must_use]
    pub const fn no_name(&self) -> u32 {
        self.no_name
    }

    /// Takes the outcome of a routing. `purge_after` is `DNS_Failures_To_Purge`.
    pub fn judge(&mut self, now: Monotonic, routed: Routed, purge_after: u32) -> Judged {
        match routed {
            Routed::Unanswered => {
                self.failed = self.failed.saturating_add(1);
                let since = *self.failed_since.get_or_insert(now);
                if purge_after > 0 && self.failed >= purge_after && now >= since + UNANSWERED_FOR {
                    *self = Self::default();
                    return Judged::Fail(NO_DOMAIN);
                }
                Judged::Delay(LOOKUP_FAILED)
            }
            Routed::NoSuchDomain => {
                (self.failed, self.failed_since) = (0, None);
                if let Some(until) = self.next_no_name.filter(|until| now < *until) {
                    return Judged::Again { lookups: self.no_name, until };
                }
                self.no_name += 1;
                if self.no_name >= NO_NAME_LOOKUPS {
                    (self.no_name, self.next_no_name) = (0, None);
                    return Judged::Fail(NO_DOMAIN);
                }
                let until = now + NO_NAME_PAUSE;
                self.next_no_name = Some(until);
                Judged::Again { lookups: self.no_name, until }
            }
            Routed::Hosts { hosts, ttl } => {
                *self = Self::default();
                Judged::Hosts(hosts, ttl)
            }
            Routed::Nowhere(reply) => {
                *self = Self::default();
                Judged::Fail(reply)
            }
            Routed::Later(reply) => {
                *self = Self::default();
                Judged::Delay(reply)
            }
        }
    }
}

#[cfg(test)]
mod tests;
