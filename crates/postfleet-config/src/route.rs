//! `Gateway` and the elements of `Routes`: where mail goes instead of to a domain's exchangers.

use alloc::format;
use alloc::string::{String, ToString as _};
use alloc::vec::Vec;
use core::net::IpAddr;

use crate::address;

/// A host by name or address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RouteHost {
    /// A name, in lower case.
    Name(String),
    /// An address.
    Address(IpAddr),
    /// The domain's own exchangers.
    Exchangers,
}

/// How a name is looked up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RouteLookup {
    /// Its exchangers.
    Mx,
    /// Its addresses.
    A,
}

/// One element of `Routes`, or `Gateway`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Route {
    /// The host.
    pub host: RouteHost,
    /// The port; `None`: `Remote_SMTP_Port`.
    pub port: Option<u16>,
    /// Lower ones first; `None`: by place in the list.
    pub preference: Option<u32>,
    /// How long the answer is kept, in seconds; `None`: as long as DNS says.
    pub ttl_seconds: Option<u32>,
    /// How the name is looked up; `None`: exchangers, then addresses.
    pub lookup: Option<RouteLookup>,
}

/// Why a text is no route.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{problem}")]
pub struct RouteError {
    /// What is wrong.
    pub problem: String,
    /// The spelling that was probably meant.
    pub meant: Option<String>,
}

fn wrong(problem: impl Into<String>) -> RouteError {
    RouteError { problem: problem.into(), meant: None }
}

impl Route {
    /// Reads a value of `Gateway`: a host name, an IPv4 or `[IPv6]` address, each with or without `:port`.
    ///
    /// # Errors
    /// [`RouteError`] says what is wrong.
    pub fn gateway(text: &str) -> Result<Self, RouteError> {
        let (host, port) = host_port(text)?;
        Ok(Self { host, port, preference: None, ttl_seconds: None, lookup: None })
    }

    /// Reads an element of `Routes`: `__mx__`, a host, or `smtp://HOST?pref=P&ttl=T&port=O&type=mx|a`.
    ///
    /// # Errors
    /// [`RouteError`] says what is wrong.
    pub fn parse(text: &str) -> Result<Self, RouteError> {
        let Some((scheme, rest)) = text.split_once("://") else {
            if text.eq_ignore_ascii_case("__mx__") {
                return Ok(Self {
                    host: RouteHost::Exchangers,
                    port: None,
                    preference: None,
                    ttl_seconds: None,
                    lookup: None,
                });
            }
            return Self::gateway(text);
        };
        if !scheme.eq_ignore_ascii_case("smtp") {
            return Err(wrong(format!("the scheme '{}' is not known", crate::value::clip(scheme))));
        }
        let (host, query) = rest.split_once('?').unwrap_or((rest, ""));
        let mut route =
            if host.eq_ignore_ascii_case("__mx__") { Self::parse(host)? } else { Self::gateway(host)? };
        for pair in query.split('&').filter(|pair| !pair.is_empty()) {
            let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
            let number = || {
                let digits = !value.is_empty() && value.bytes().all(|b| b.is_ascii_digit());
                let number = digits.then(|| value.parse::<u32>().ok()).flatten();
                number.ok_or_else(|| {
                    wrong(format!("'{}' of '{key}' is not a number", crate::value::clip(value)))
                })
            };
            match key.to_ascii_lowercase().as_str() {
                "pref" => route.preference = Some(number()?),
                "ttl" => route.ttl_seconds = Some(number()?),
                "port" => {
                    let port = address::port(value);
                    route.port =
                        Some(port.ok_or_else(|| {
                            wrong(format!("'{}' is not a port", crate::value::clip(value)))
                        })?);
                }
                "type" if value.eq_ignore_ascii_case("mx") => route.lookup = Some(RouteLookup::Mx),
                "type" if value.eq_ignore_ascii_case("a") => route.lookup = Some(RouteLookup::A),
                "type" => return Err(wrong(format!("'{}' is not mx or a", crate::value::clip(value)))),
                _ => return Err(wrong(format!("the key '{}' is not known", crate::value::clip(key)))),
            }
        }
        Ok(route)
    }
}

/// Gives elements without a preference 10, 20, 30 … by their place, where others of the list have one.
pub fn number_routes(routes: &mut [Route]) {
    if routes.iter().all(|route| route.preference.is_none()) {
        return;
    }
    for (at, route) in routes.iter_mut().enumerate() {
        let place = u32::try_from(at).unwrap_or(u32::MAX).saturating_add(1).saturating_mul(10);
        route.preference = route.preference.or(Some(place));
    }
}

fn host_port(text: &str) -> Result<(RouteHost, Option<u16>), RouteError> {
    if let Some(rest) = text.strip_prefix('[') {
        let Some((inside, behind)) = rest.split_once(']') else {
            return Err(wrong("the bracket is not closed"));
        };
        let inside = inside.strip_prefix("IPv6:").unwrap_or(inside);
        let address = address::ip(inside).filter(IpAddr::is_ipv6);
        let address = address
            .ok_or_else(|| wrong(format!("'{}' is not an IPv6 address", crate::value::clip(inside))))?;
        let port = match behind.strip_prefix(':') {
            Some(digits) => Some(port_of(digits)?),
            None if behind.is_empty() => None,
            None => return Err(wrong("text behind the bracket")),
        };
        return Ok((RouteHost::Address(address), port));
    }
    if text.matches(':').count() > 1 {
        let meant = address::ip(text).map(|_| format!("[{text}]"));
        return Err(RouteError { problem: "an IPv6 address needs brackets".to_string(), meant });
    }
    let (host, port) = match text.split_once(':') {
        Some((host, digits)) => (host, Some(port_of(digits)?)),
        None => (text, None),
    };
    if let Some(address) = address::ip(host) {
        return Ok((RouteHost::Address(address), port));
    }
    let numeric = !host.is_empty() && host.split('.').all(|part| part.bytes().all(|b| b.is_ascii_digit()));
    if numeric || !address::is_host_name(host) {
        return Err(wrong(format!("'{}' is not a host name or address", crate::value::clip(host))));
    }
    Ok((RouteHost::Name(host.to_ascii_lowercase()), port))
}

fn port_of(digits: &str) -> Result<u16, RouteError> {
    address::port(digits).ok_or_else(|| wrong(format!("'{}' is not a port", crate::value::clip(digits))))
}

/// Reads all elements that are routes; the check of the configuration has refused the others.
pub(crate) fn parse_all<'a>(texts: impl Iterator<Item = &'a str>) -> Vec<Route> {
    let mut routes: Vec<Route> = texts.filter_map(|text| Route::parse(text).ok()).collect();
    number_routes(&mut routes);
    routes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gateways() {
        let check = |text: &str, host: &str, port: Option<u16>| {
            let route = Route::gateway(text).unwrap();
            let found = match route.host {
                RouteHost::Name(name) => name,
                RouteHost::Address(address) => address.to_string(),
                RouteHost::Exchangers => "__mx__".to_string(),
            };
            assert_eq!((found.as_str(), route.port), (host, port), "{text}");
        };
        check("Relay.example.net", "relay.example.net", None);
        check("relay.example.net:2525", "relay.example.net", Some(2525));
        check("192.0.2.1", "192.0.2.1", None);
        check("192.0.2.1:26", "192.0.2.1", Some(26));
        check("[2001:db8::1]:26", "2001:db8::1", Some(26));
        check("[2001:db8::1]", "2001:db8::1", None);
        assert_eq!(Route::gateway("2001:db8::1").unwrap_err().meant.as_deref(), Some("[2001:db8::1]"));
        for text in ["", "a b", "mx:0", "mx:70000", "[::1", "[::1]x", "[192.0.2.1]", "300.0.0.1", "mx:"] {
            assert!(Route::gateway(text).is_err(), "{text}");
        }
    }

    #[test]
    fn routes() {
        let route = Route::parse("smtp://mx.example.net?type=a&pref=5&ttl=60&port=2525").unwrap();
        assert_eq!(route.host, RouteHost::Name("mx.example.net".to_string()));
        assert_eq!((route.preference, route.ttl_seconds, route.port), (Some(5), Some(60), Some(2525)));
        assert_eq!(route.lookup, Some(RouteLookup::A));
        assert_eq!(Route::parse("__MX__").unwrap().host, RouteHost::Exchangers);
        assert!(Route::parse("smtp://[2001:db8::1]?pref=1").is_ok());
        for text in
            ["smtp://mx?prio=1", "smtp://mx?pref=-1", "smtp://mx?type=aaaa", "smtp://mx?port=0", "http://mx"]
        {
            assert!(Route::parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn places_stand_in_for_preferences() {
        let preferences = |texts: &[&str]| -> Vec<Option<u32>> {
            parse_all(texts.iter().copied()).iter().map(|route| route.preference).collect()
        };
        assert_eq!(preferences(&["a", "b"]), [None, None]);
        assert_eq!(preferences(&["a", "smtp://b?pref=5", "c"]), [Some(10), Some(5), Some(30)]);
    }
}
