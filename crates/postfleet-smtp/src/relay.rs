//! Relay control: which client may send to which domain.

use alloc::string::String;
use alloc::vec::Vec;
use core::net::IpAddr;
use core::str::FromStr;

use postfleet_types::{Prefix, normalised};

use crate::address::{Address, Domain, ReversePath};

/// The lists that decide at each RCPT. First match allows; nothing matched: `550 5.7.1 relaying denied`.
#[derive(Clone, Debug, Default)]
pub struct RelayControl {
    /// `Relay_Hosts`: clients that may relay.
    pub hosts: Vec<Prefix>,
    /// `Open_Relay`.
    pub open: bool,
    /// `Relay_For_Sending_Domains`: sender domains that may relay from here.
    pub sending_domains: Vec<DomainGlob>,
    /// `Relay_Domains`: recipient domains that anyone may send to.
    pub domains: Vec<DomainGlob>,
    /// `Bounce_Domains`: the same, marked as bounce traffic.
    pub bounce_domains: Vec<DomainGlob>,
    /// Our own addresses: as a domain literal they are served for anyone.
    pub own_addresses: Vec<IpAddr>,
    /// `TLS_Verified_Peer_Can_Relay`: a verified client certificate may relay.
    pub verified_peers: bool,
}

/// Which rule allowed a recipient.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RelayRule {
    /// The session may relay: told so by the driver, or by a verified certificate.
    CanRelay,
    /// `Relay_Hosts`.
    Hosts,
    /// `Open_Relay`.
    Open,
    /// `Relay_For_Sending_Domains`.
    SendingDomain,
    /// `Relay_Domains`, one of our addresses as a literal, or `<postmaster>` without a domain.
    RelayDomain,
    /// `Bounce_Domains`.
    BounceDomain,
}

impl RelayControl {
    /// The rule that lets `client` relay anywhere, if one does (the first three of the order).
    pub(crate) fn client(&self, client: IpAddr, can_relay: bool) -> Option<RelayRule> {
        if can_relay {
            Some(RelayRule::CanRelay)
        } else if self.hosts.iter().any(|prefix| prefix.contains(normalised(client))) {
            Some(RelayRule::Hosts)
        } else if self.open {
            Some(RelayRule::Open)
        } else {
            None
        }
    }

    /// The rule that lets anyone, or this sender, send to this recipient.
    pub(crate) fn recipient(&self, sender: &ReversePath, recipient: &Address) -> Option<RelayRule> {
        let name = match recipient.domain() {
            Domain::Literal(address) => {
                let own = self.own_addresses.iter().any(|own| normalised(*own) == normalised(*address));
                return own.then_some(RelayRule::RelayDomain);
            }
            Domain::Name(_) => recipient.domain().normalised(),
        };
        let sending = match sender {
            ReversePath::Null => false,
            ReversePath::Address(sender) => matches(&self.sending_domains, &sender.domain().normalised()),
        };
        if sending {
            Some(RelayRule::SendingDomain)
        } else if matches(&self.domains, &name) {
            Some(RelayRule::RelayDomain)
        } else if matches(&self.bounce_domains, &name) {
            Some(RelayRule::BounceDomain)
        } else {
            None
        }
    }
}

fn matches(globs: &[DomainGlob], name: &str) -> bool {
    globs.iter().any(|glob| glob.matches(name))
}

/// A domain, or a `*` and what the domain ends with: `*.example.com` does not match `example.com`;
/// `*example.com` also matches `badexample.com`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DomainGlob {
    suffix: String,
    any_before: bool,
}

/// A `*` stands elsewhere than at the left, or there is nothing. The configuration is at fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("expected a domain, perhaps with one `*` at the left")]
pub struct DomainGlobError;

impl DomainGlob {
    /// Whether `name` (lower case, no dot at the end) matches. A `*` stands for any characters, or none.
    #[must_use]
    pub fn matches(&self, name: &str) -> bool {
        if self.any_before { name.ends_with(&self.suffix) } else { name == self.suffix }
    }
}

impl FromStr for DomainGlob {
    type Err = DomainGlobError;

    fn from_str(text: &str) -> Result<Self, DomainGlobError> {
        let (any_before, rest) = match text.strip_prefix('*') {
            Some(rest) => (true, rest),
            None => (false, text),
        };
        if rest.contains('*') || text.is_empty() {
            return Err(DomainGlobError);
        }
        Ok(Self { suffix: rest.trim_end_matches('.').to_lowercase(), any_before })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn globs_match_from_the_right() {
        let check = |glob: &str, name: &str, wanted: bool| {
            assert_eq!(glob.parse::<DomainGlob>().map(|g| g.matches(name)), Ok(wanted), "{glob} {name}");
        };
        check("Example.com", "example.com", true);
        check("example.com", "a.example.com", false);
        check("*.example.com", "a.b.example.com", true);
        check("*.example.com", "example.com", false);
        check("*example.com", "badexample.com", true);
        check("*example.com", "example.com", true);
        check("*", "anything.example", true);
        assert_eq!("a.*.com".parse::<DomainGlob>(), Err(DomainGlobError));
        assert_eq!("".parse::<DomainGlob>(), Err(DomainGlobError));
    }
}
