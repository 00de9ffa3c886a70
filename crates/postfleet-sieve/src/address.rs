//! Addresses in header fields and in the envelope, and their parts.

use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Part {
    All,
    Local,
    Domain,
    User,
    Detail,
}

impl Part {
    pub(crate) fn from_name(name: &str) -> Option<Self> {
        Some(match name {
            "all" => Self::All,
            "localpart" => Self::Local,
            "domain" => Self::Domain,
            "user" => Self::User,
            "detail" => Self::Detail,
            _ => return None,
        })
    }

    /// The part of an address; empty if it has none.
    pub(crate) fn of(self, address: &str) -> &str {
        let (local, domain) = address.rsplit_once('@').unwrap_or((address, ""));
        match self {
            Self::All => address,
            Self::Local => local,
            Self::Domain => domain,
            Self::User => local.split_once('+').map_or(local, |(user, _)| user),
            Self::Detail => local.split_once('+').map_or("", |(_, detail)| detail),
        }
    }
}

/// The addresses of a field such as `From`: without names, comments and groups.
pub(crate) fn addresses(field: &str) -> Vec<String> {
    let mut found = Vec::new();
    let mut plain = String::new();
    let mut angle: Option<String> = None;
    let (mut quoted, mut escaped, mut inside, mut comments) = (false, false, false, 0_usize);
    for c in field.chars() {
        let keep = if escaped {
            escaped = false;
            true
        } else {
            match c {
                '\\' if quoted || comments > 0 => {
                    escaped = true;
                    quoted
                }
                '"' if comments == 0 => {
                    quoted = !quoted;
                    true
                }
                '(' if !quoted => {
                    comments = comments.saturating_add(1);
                    false
                }
                ')' if !quoted && comments > 0 => {
                    comments = comments.saturating_sub(1);
                    false
                }
                '<' if !quoted && comments == 0 => {
                    inside = true;
                    angle = Some(String::new());
                    false
                }
                '>' if !quoted && comments == 0 => {
                    inside = false;
                    false
                }
                ',' | ';' if !quoted && !inside && comments == 0 => {
                    finish(&mut found, &mut plain, &mut angle);
                    false
                }
                // The name of a group.
                ':' if !quoted && !inside && comments == 0 => {
                    plain.clear();
                    false
                }
                _ => true,
            }
        };
        if keep && comments == 0 {
            match &mut angle {
                Some(address) if inside => address.push(c),
                Some(_) => {}
                None => plain.push(c),
            }
        }
    }
    finish(&mut found, &mut plain, &mut angle);
    found
}

fn finish(found: &mut Vec<String>, plain: &mut String, angle: &mut Option<String>) {
    let address = angle.take().unwrap_or_else(|| plain.clone());
    plain.clear();
    let address = address.trim();
    if !address.is_empty() {
        found.push(address.to_string());
    }
}

/// Whether a text is an address as an operator writes it.
pub(crate) fn is_ip(text: &str) -> bool {
    text.parse::<IpAddr>().is_ok()
}

/// Whether a text is an address literal of a mail command: `[192.0.2.1]`, `[IPv6:2001:db8::1]`.
pub(crate) fn is_literal(text: &str) -> bool {
    let Some(inner) = text.strip_prefix('[').and_then(|text| text.strip_suffix(']')) else { return false };
    let version_6 =
        inner.get(..5).filter(|tag| tag.eq_ignore_ascii_case("ipv6:")).and_then(|_| inner.get(5..));
    match version_6 {
        Some(address) => address.parse::<Ipv6Addr>().is_ok(),
        None => inner.parse::<Ipv4Addr>().is_ok(),
    }
}

#[cfg(test)]
mod tests {
    use super::{Part, addresses, is_literal};

    #[test]
    fn fields_give_their_addresses() {
        let check = |field, expected: &[&str]| assert_eq!(addresses(field), expected, "{field}");
        check("a@example.org", &["a@example.org"]);
        check("\"Doe, J\" <j@example.org>, b@example.net (b, of <c>)", &["j@example.org", "b@example.net"]);
        check("group: a@x, <b@y>;", &["a@x", "b@y"]);
        check("", &[]);
    }

    #[test]
    fn parts() {
        let parts = [Part::All, Part::Local, Part::Domain, Part::User, Part::Detail];
        let found = parts.map(|part| part.of("u+d@example.org"));
        assert_eq!(found, ["u+d@example.org", "u+d", "example.org", "u", "d"]);
        assert_eq!(Part::Domain.of("postmaster"), "");
    }

    #[test]
    fn literals() {
        assert!(is_literal("[192.0.2.1]") && is_literal("[IPv6:2001:db8::1]"));
        assert!(!is_literal("192.0.2.1") && !is_literal("[2001:db8::1]") && !is_literal("[é]"));
    }
}
