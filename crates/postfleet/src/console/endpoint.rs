//! Where a control socket is.

use std::fmt;
use std::path::PathBuf;

/// The control socket that is used when none is named.
pub(super) const DEFAULT: &str = "/tmp/2025";

/// One form of address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Endpoint {
    /// A Unix socket.
    Unix(PathBuf),
    /// TCP; `host` without brackets.
    Tcp { user: Option<String>, host: String, port: u16 },
    /// Through SSH; kept as typed.
    Ssh(String),
}

impl Default for Endpoint {
    fn default() -> Self {
        Self::Unix(DEFAULT.into())
    }
}

impl Endpoint {
    /// The endpoint that `word` names, or `None` when it begins a command. Only words that cannot be commands are
    /// endpoints: `/…`, `./…`, `../…`, `[…`, `ssh://…` and `[user@]host:digits`.
    pub(super) fn recognise(word: &str) -> Option<Result<Self, String>> {
        if ["/", "./", "../"].iter().any(|begin| word.starts_with(begin)) {
            return Some(Ok(Self::Unix(word.into())));
        }
        if word.starts_with("ssh://") {
            return Some(Ok(Self::Ssh(word.into())));
        }
        let (user, place) = match word.rsplit_once('@') {
            // A password in the address is of no use yet, and is never shown.
            Some((login, place)) => (Some(login.split(':').next().unwrap_or_default()), place),
            None => (None, word),
        };
        let bracketed = place.starts_with('[');
        let (host, port) = match place.strip_prefix('[') {
            Some(rest) => match rest.split_once("]:") {
                Some((host, port)) => (host, port),
                None => return Some(Err(format!("'{place}' is no endpoint; expected [IPv6 address]:port"))),
            },
            None => place.rsplit_once(':')?,
        };
        if !bracketed && (port.is_empty() || !port.bytes().all(|b| b.is_ascii_digit())) {
            return None;
        }
        let wrong = |what: &str| Some(Err(format!("'{place}' is no endpoint; {what}")));
        let Ok(port) = port.parse::<u16>() else { return wrong("the port is a number from 1 to 65535") };
        if port == 0 || host.is_empty() {
            return wrong("expected host:port");
        }
        if !bracketed && host.contains(':') {
            return wrong("an IPv6 address goes in brackets");
        }
        Some(Ok(Self::Tcp { user: user.map(String::from), host: host.into(), port }))
    }

    /// The user named in the address.
    pub(super) fn user(&self) -> Option<&str> {
        match self {
            Self::Tcp { user, .. } => user.as_deref(),
            Self::Unix(_) | Self::Ssh(_) => None,
        }
    }

    /// Why this endpoint cannot be used at all.
    pub(super) fn refusal(&self) -> Option<String> {
        match self {
            Self::Unix(_) | Self::Tcp { .. } => None,
            Self::Ssh(_) => Some(
                "ssh:// endpoints are not available in this version. Run the console over there instead: \
                 ssh HOST postfleet console"
                    .into(),
            ),
        }
    }

    /// The form in prompts: a socket directly under `/tmp` is its base name.
    pub(super) fn short(&self) -> String {
        let full = self.to_string();
        match full.strip_prefix("/tmp/") {
            Some(name) if !name.is_empty() && !name.contains('/') => name.into(),
            Some(_) | None => full,
        }
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unix(path) => path.display().fmt(f),
            Self::Ssh(url) => f.write_str(url),
            Self::Tcp { user, host, port } => {
                if let Some(user) = user {
                    write!(f, "{user}@")?;
                }
                if host.contains(':') { write!(f, "[{host}]:{port}") } else { write!(f, "{host}:{port}") }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn console_s1_1_endpoint_forms() {
        let shown = |word: &str| Endpoint::recognise(word).map(|e| e.map(|e| (e.to_string(), e.short())));
        let both = |a: &str, b: &str| Some(Ok((a.to_string(), b.to_string())));
        assert_eq!(shown("/tmp/2025"), both("/tmp/2025", "2025"));
        assert_eq!(shown("/tmp/a/2025"), both("/tmp/a/2025", "/tmp/a/2025"));
        assert_eq!(shown("/run/c.sock"), both("/run/c.sock", "/run/c.sock"));
        assert_eq!(shown("host:2025"), both("host:2025", "host:2025"));
        assert_eq!(shown("[2001:db8::5]:2424"), both("[2001:db8::5]:2424", "[2001:db8::5]:2424"));
        assert_eq!(shown("john:secret@127.0.0.1:2025"), both("john@127.0.0.1:2025", "john@127.0.0.1:2025"));
        for command in ["summary", "sieve:sieve1", "2025", "host:", "ec_logger:1a"] {
            assert_eq!(shown(command), None, "{command}");
        }
        for wrong in ["[::1]", "[::1]2025", "host:0", "host:70000", ":25", "::1:25"] {
            assert!(matches!(shown(wrong), Some(Err(_))), "{wrong}");
        }
        assert!(Endpoint::Ssh("ssh://a@b/c@*:2025".into()).refusal().is_some());
    }
}
