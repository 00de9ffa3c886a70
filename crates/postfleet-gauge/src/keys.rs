//! The keys of domain tables.

use alloc::borrow::Cow;
use alloc::format;
use alloc::string::String;

/// The form in which a domain is a key: ASCII letters in lower case, one trailing dot removed.
///
/// A domain with other letters has to arrive as A-labels (RFC 5890): the tables for the conversion are larger
/// than the rest of this crate, and mail transfer needs the A-labels for its DNS queries anyway. Bytes beyond
/// ASCII pass unchanged.
#[must_use]
pub fn domain_key(domain: &str) -> Cow<'_, str> {
    let domain = domain.strip_suffix('.').unwrap_or(domain);
    if domain.bytes().any(|byte| byte.is_ascii_uppercase()) {
        Cow::Owned(domain.to_ascii_lowercase())
    } else {
        Cow::Borrowed(domain)
    }
}

/// `<binding>::<domain>`: connections of the binding to the domain.
#[must_use]
pub fn binding_domain(binding: &str, domain: &str) -> String {
    format!("{binding}::{}", domain_key(domain))
}

/// `<group>/*::<domain>`: connections of all bindings of the group to the domain.
#[must_use]
pub fn group_domain(group: &str, domain: &str) -> String {
    format!("{group}/*::{}", domain_key(domain))
}

/// `<binding>::*`: all connections of the binding.
#[must_use]
pub fn binding_total(binding: &str) -> String {
    format!("{binding}::*")
}

/// `*::<domain>`: connections of all bindings to the domain.
#[must_use]
pub fn domain_total(domain: &str) -> String {
    format!("*::{}", domain_key(domain))
}

/// The keys of `outbound_binding_domains` in which one connection counts: four for a binding in a group, else
/// three.
pub fn binding_domain_keys(
    binding: &str,
    group: Option<&str>,
    domain: &str,
) -> impl Iterator<Item = String> + use<> {
    [
        Some(binding_domain(binding, domain)),
        group.map(|group| group_domain(group, domain)),
        Some(binding_total(binding)),
        Some(domain_total(domain)),
    ]
    .into_iter()
    .flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn domains_become_keys() {
        let check = |domain, key| assert_eq!(domain_key(domain), key);
        check("Example.NET.", "example.net");
        check("example.net", "example.net");
        check("XN--BCHER-KVA.example", "xn--bcher-kva.example");
        check("", "");
        check(".", "");
    }

    #[test]
    fn replication_5_keys_of_binding_domains() {
        let keys = |group| binding_domain_keys("b1", group, "AOL.com").collect::<alloc::vec::Vec<_>>();
        assert_eq!(keys(Some("g")), ["b1::aol.com", "g/*::aol.com", "b1::*", "*::aol.com"]);
        assert_eq!(keys(None), ["b1::aol.com", "b1::*", "*::aol.com"]);
    }
}
