//! Addresses and paths (RFC 5321, section 4.1.2; RFC 6531, section 3.3).

use alloc::string::{String, ToString};
use core::fmt;
use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use core::str::FromStr;

/// Longest local part, in octets.
pub const LOCAL_PART_OCTETS_MAX: usize = 64;
/// Longest domain, in octets.
pub const DOMAIN_OCTETS_MAX: usize = 255;

/// A mail address that has been checked.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Address {
    local: String,
    domain: Domain,
}

/// The part behind the `@`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Domain {
    /// A domain name as it was written.
    Name(String),
    /// An address literal.
    Literal(IpAddr),
}

impl Address {
    /// The local part as it was written, quotes included.
    #[must_use]
    pub fn local_part(&self) -> &str {
        &self.local
    }

    /// The domain.
    #[must_use]
    pub const fn domain(&self) -> &Domain {
        &self.domain
    }

    /// Whether the local part is `postmaster` in any case.
    #[must_use]
    pub fn is_postmaster(&self) -> bool {
        self.local.eq_ignore_ascii_case("postmaster")
    }

    /// Whether every character is ASCII.
    #[must_use]
    pub fn is_ascii(&self) -> bool {
        self.local.is_ascii() && self.domain.is_ascii()
    }
}

impl Domain {
    fn is_ascii(&self) -> bool {
        match self {
            Self::Name(name) => name.is_ascii(),
            Self::Literal(_) => true,
        }
    }

    /// The form in which domains are compared: lower case, no dot at the end; literals in brackets.
    #[must_use]
    pub fn normalised(&self) -> String {
        match self {
            Self::Name(name) => name.trim_end_matches('.').to_lowercase(),
            Self::Literal(_) => self.to_string(),
        }
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}@{}", self.local, self.domain)
    }
}

impl FromStr for Address {
    type Err = AddressError;

    /// Reads an address without brackets, such as one that was accepted and written down. Dots may stand where only
    /// pedantic rules forbid them.
    fn from_str(text: &str) -> Result<Self, AddressError> {
        let rules = PathRules {
            pedantic: false,
            allow_literal: true,
            whitespace: false,
            unqualified_domain: None,
            postmaster_domain: None,
        };
        parse_mailbox(text, rules).map_err(|PathError| AddressError)
    }
}

impl fmt::Display for Domain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Name(name) => f.write_str(name),
            Self::Literal(IpAddr::V4(address)) => write!(f, "[{address}]"),
            Self::Literal(IpAddr::V6(address)) => write!(f, "[IPv6:{address}]"),
        }
    }
}

/// The reverse-path of a transaction.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ReversePath {
    /// `<>`: a report; it is never answered with a report.
    Null,
    /// The sender.
    Address(Address),
}

impl fmt::Display for ReversePath {
    /// The address without brackets; nothing for the null path.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Null => Ok(()),
            Self::Address(address) => address.fmt(f),
        }
    }
}

/// The text is no mail address. Nothing has changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a mail address")]
pub struct AddressError;

/// The client wrote something that is no path. Nothing has changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not an address in angle brackets")]
pub(crate) struct PathError;

/// How paths are read.
#[derive(Clone, Copy, Debug)]
pub(crate) struct PathRules<'a> {
    pub(crate) pedantic: bool,
    pub(crate) allow_literal: bool,
    pub(crate) whitespace: bool,
    /// What is appended to an address without `@`; without it such an address is an error.
    pub(crate) unqualified_domain: Option<&'a str>,
    /// The domain of an unqualified postmaster, where one is accepted.
    pub(crate) postmaster_domain: Option<&'a str>,
}

/// Reads a path in angle brackets from the start of `text`; returns the address (none for `<>`) and what follows.
pub(crate) fn parse_path<'t>(
    text: &'t str,
    rules: PathRules<'_>,
) -> Result<(Option<Address>, &'t str), PathError> {
    let text = if rules.whitespace { text.trim_start_matches([' ', '\t']) } else { text };
    let inner = text.strip_prefix('<').ok_or(PathError)?;
    let end = closing_bracket(inner).ok_or(PathError)?;
    let (inner, rest) = (inner.get(..end).ok_or(PathError)?, inner.get(end + 1..).ok_or(PathError)?);
    let inner = if rules.whitespace { inner.trim_matches([' ', '\t']) } else { inner };
    if inner.is_empty() {
        return Ok((None, rest));
    }
    let mailbox = strip_source_route(inner)?;
    let address = parse_mailbox(mailbox, rules)?;
    Ok((Some(address), rest))
}

/// Where the `>` is that ends the path; one inside a quoted local part does not.
fn closing_bracket(text: &str) -> Option<usize> {
    let mut quoted = false;
    let mut escaped = false;
    for (at, byte) in text.bytes().enumerate() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if quoted => escaped = true,
            b'"' => quoted = !quoted,
            b'>' if !quoted => return Some(at),
            _ => {}
        }
    }
    None
}

/// `@one,@two:user@three` is `user@three`: routes are accepted and ignored (RFC 5321, appendix C).
fn strip_source_route(text: &str) -> Result<&str, PathError> {
    if !text.starts_with('@') {
        return Ok(text);
    }
    let (route, mailbox) = text.split_once(':').ok_or(PathError)?;
    for hop in route.split(',') {
        let name = hop.strip_prefix('@').ok_or(PathError)?;
        if !is_domain(name) {
            return Err(PathError);
        }
    }
    Ok(mailbox)
}

fn parse_mailbox(text: &str, rules: PathRules<'_>) -> Result<Address, PathError> {
    let local_end =
        if text.starts_with('"') { quoted_length(text)? } else { text.find('@').unwrap_or(text.len()) };
    let (local, rest) = (text.get(..local_end).ok_or(PathError)?, text.get(local_end..).ok_or(PathError)?);
    if local.len() > LOCAL_PART_OCTETS_MAX
        || !(local.starts_with('"') || is_dot_string(local, rules.pedantic))
    {
        return Err(PathError);
    }
    let domain = match rest.strip_prefix('@') {
        Some(domain) => parse_domain(domain, rules.allow_literal)?,
        None if !rest.is_empty() => return Err(PathError),
        None => {
            let postmaster = rules.postmaster_domain.filter(|_| local.eq_ignore_ascii_case("postmaster"));
            let name = rules.unqualified_domain.or(postmaster).ok_or(PathError)?;
            Domain::Name(String::from(name))
        }
    };
    Ok(Address { local: String::from(local), domain })
}

/// The length of the quoted string at the start of `text`, both quotes included.
fn quoted_length(text: &str) -> Result<usize, PathError> {
    let mut escaped = false;
    for (at, c) in text.char_indices().skip(1) {
        match c {
            _ if c.is_control() => return Err(PathError),
            _ if escaped => {
                if !(c == ' ' || c.is_ascii_graphic()) {
                    return Err(PathError);
                }
                escaped = false;
            }
            '\\' => escaped = true,
            '"' => return Ok(at + 1),
            _ => {}
        }
    }
    Err(PathError)
}

fn is_dot_string(text: &str, pedantic: bool) -> bool {
    let atom = |c: char| c.is_ascii_alphanumeric() || "!#$%&'*+-/=?^_`{|}~".contains(c) || is_utf8_text(c);
    if text.is_empty() || text.starts_with('.') || !text.chars().all(|c| c == '.' || atom(c)) {
        return false;
    }
    !pedantic || !(text.ends_with('.') || text.contains(".."))
}

/// A character that SMTPUTF8 adds. The C1 controls are left out: nothing good comes of them in a log.
fn is_utf8_text(c: char) -> bool {
    !c.is_ascii() && !c.is_control()
}

fn parse_domain(text: &str, allow_literal: bool) -> Result<Domain, PathError> {
    match text.strip_prefix('[') {
        Some(literal) if allow_literal => {
            literal.strip_suffix(']').and_then(parse_literal).map(Domain::Literal).ok_or(PathError)
        }
        None if is_domain(text) => Ok(Domain::Name(String::from(text))),
        Some(_) | None => Err(PathError),
    }
}

/// What stands in the brackets of an address literal.
fn parse_literal(text: &str) -> Option<IpAddr> {
    match text.split_at_checked(5) {
        Some((tag, address)) if tag.eq_ignore_ascii_case("IPv6:") => {
            address.parse::<Ipv6Addr>().ok().map(IpAddr::V6)
        }
        Some(_) | None => text.parse::<Ipv4Addr>().ok().map(IpAddr::V4),
    }
}

/// Whether `text` is a domain name: labels of letters, digits, hyphens and underscores (common in the wild,
/// harmless here), or of characters that SMTPUTF8 adds; a dot at the end is tolerated.
pub(crate) fn is_domain(text: &str) -> bool {
    let name = text.strip_suffix('.').unwrap_or(text);
    let label = |label: &str| {
        matches!(label.len(), 1..=63)
            && label.chars().all(|c| c.is_ascii_alphanumeric() || c == '-' || c == '_' || is_utf8_text(c))
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    name.len() <= DOMAIN_OCTETS_MAX && name.split('.').all(label)
}

/// Whether `text` may follow EHLO or HELO: a domain name or an address literal.
pub(crate) fn is_helo_name(text: &str) -> bool {
    match text.strip_prefix('[') {
        Some(literal) => literal.strip_suffix(']').is_some_and(|inner| parse_literal(inner).is_some()),
        None => is_domain(text),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::format;

    const STRICT: PathRules<'static> = PathRules {
        pedantic: true,
        allow_literal: true,
        whitespace: false,
        unqualified_domain: None,
        postmaster_domain: Some("our.example"),
    };

    fn check(text: &str, rules: PathRules<'_>, wanted: Option<&str>) {
        let read = parse_path(text, rules).ok().map(|(address, rest)| {
            let address = address.map(|a| a.to_string()).unwrap_or_default();
            if rest.is_empty() { address } else { format!("{address}|{rest}") }
        });
        assert_eq!(read.as_deref(), wanted, "{text}");
    }

    /// RFC 5321 checklist, lines 3, 4, 7, 13 and 14: paths.
    #[test]
    fn mta_rfc5321_07_paths() {
        check("<>", STRICT, Some(""));
        check("<User.Name@Example.ORG>", STRICT, Some("User.Name@Example.ORG"));
        check("<a@b> SIZE=1", STRICT, Some("a@b| SIZE=1"));
        check("<\"a b>@\\\"\"@c.example>", STRICT, Some("\"a b>@\\\"\"@c.example"));
        check("<@a,@b.example:u@c>", STRICT, Some("u@c"));
        check("<u@[192.0.2.1]>", STRICT, Some("u@[192.0.2.1]"));
        check("<u@[ipv6:2001:DB8::1]>", STRICT, Some("u@[IPv6:2001:db8::1]"));
        check("<POSTmaster>", STRICT, Some("POSTmaster@our.example"));
        check("<u%v!w@c>", STRICT, Some("u%v!w@c"));
        check("<jos\u{e9}@b\u{fc}cher.example>", STRICT, Some("jos\u{e9}@b\u{fc}cher.example"));
        check(&format!("<{}@b>", "x".repeat(64)), STRICT, Some(&format!("{}@b", "x".repeat(64))));
        for bad in [
            "",
            "<",
            "a@b",
            " <a@b>",
            "< a@b>",
            "<a@b",
            "<a>",
            "<@b>",
            "<a@>",
            "<a@b@c>",
            "<a b@c>",
            "<.a@b>",
            "<a.@b>",
            "<a..b@c>",
            "<a@b..c>",
            "<a@-b>",
            "<a@[1.2.3]>",
            "<a@[1.2.3.4>",
            "<a@[x:1]>",
            "<@a:b>",
            "<@a,b:u@c>",
            "<\"a@b>",
            "<\"a\"b@c>",
            "<a@b\u{85}>",
            "<@a;u@c>",
            "<(a)@b>",
        ] {
            check(bad, STRICT, None);
        }
        check(&format!("<{}@b>", "x".repeat(65)), STRICT, None);
        check(&format!("<a@{}>", vec!["y".repeat(60); 5].join(".")), STRICT, None);
    }

    #[test]
    fn options_of_paths() {
        let loose = PathRules { pedantic: false, ..STRICT };
        check("<a..b@c>", loose, Some("a..b@c"));
        check("<ab.@c>", loose, Some("ab.@c"));
        check("<u@[192.0.2.1]>", PathRules { allow_literal: false, ..STRICT }, None);
        let blanks = PathRules { whitespace: true, ..STRICT };
        check(" < a@b > X=1", blanks, Some("a@b| X=1"));
        let named = PathRules { unqualified_domain: Some("d.example"), ..STRICT };
        check("<joe>", named, Some("joe@d.example"));
        check("<postmaster>", named, Some("postmaster@d.example"));
        check("<postmaster>", PathRules { postmaster_domain: None, ..STRICT }, None);
    }

    #[test]
    fn helo_names() {
        for good in ["c.example", "C_1", "[192.0.2.1]", "[IPv6:::1]", "a.b.", "127.0.0.1"] {
            assert!(is_helo_name(good), "{good}");
        }
        for bad in ["", ".", "a..b", "[", "[]", "[a]", "a(b", "a b", "-a"] {
            assert!(!is_helo_name(bad), "{bad}");
        }
    }
}
