//! The acctlog.

use alloc::format;
use alloc::string::String;

use postfleet_types::WallTime;

use crate::field::escaped;

/// Somebody proved who they are, or did not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Authentication<'a> {
    /// When.
    pub at: WallTime,
    /// They took too long.
    pub timed_out: bool,
    /// Where: a path, `IP:PORT` or `*:PORT`.
    pub listener: &'a str,
    /// From where; empty for local sockets.
    pub peer: &'a str,
    /// Who.
    pub user: &'a str,
    /// Whether it was right.
    pub success: bool,
}

/// How an authorization ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict<'a> {
    /// Allowed to this role.
    Allowed(&'a str),
    /// Denied.
    Denied,
    /// It could not be decided.
    Error,
}

/// Somebody wanted to run a command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Authorization<'a> {
    /// When.
    pub at: WallTime,
    /// Where.
    pub listener: &'a str,
    /// From where; empty for local sockets.
    pub peer: &'a str,
    /// Who.
    pub user: &'a str,
    /// The command.
    pub command: &'a str,
    /// What became of it.
    pub verdict: Verdict<'a>,
}

impl Authentication<'_> {
    /// The line, without its end.
    #[must_use]
    pub fn line(&self) -> String {
        let kind = if self.timed_out { "T" } else { "N" };
        format!(
            "{}@{kind}@{}@{}@{}@{}",
            self.at.unix_seconds(),
            escaped(self.listener),
            escaped(self.peer),
            escaped(self.user),
            u8::from(self.success)
        )
    }
}

impl Authorization<'_> {
    /// The line, without its end.
    #[must_use]
    pub fn line(&self) -> String {
        let (result, role) = match self.verdict {
            Verdict::Allowed(role) => ("1", format!("@{}", escaped(role))),
            Verdict::Denied => ("0", String::new()),
            Verdict::Error => ("-1", String::new()),
        };
        format!(
            "{}@Z@{}@{}@{}@{result}@{}{role}",
            self.at.unix_seconds(),
            escaped(self.listener),
            escaped(self.peer),
            escaped(self.user),
            escaped(self.command)
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn logging_a36_a_backslash_in_a_name_is_doubled() {
        let login = Authentication {
            at: WallTime::from_unix_seconds(1_700_000_405),
            timed_out: false,
            listener: "*:2025",
            peer: "192.0.2.9:4000",
            user: "jo\\n",
            success: false,
        };
        assert_eq!(login.line(), "1700000405@N@*:2025@192.0.2.9:4000@jo\\\\n@0");
        let local = Authentication {
            at: WallTime::from_unix_seconds(1_700_000_400),
            listener: "/tmp/2025",
            peer: "",
            user: "opadmin",
            success: true,
            ..login
        };
        assert_eq!(local.line(), "1700000400@N@/tmp/2025@@opadmin@1");
    }

    #[test]
    fn logging_a37_seven_fields_when_denied_and_eight_when_allowed() {
        let denied = Authorization {
            at: WallTime::from_unix_seconds(1_700_000_404),
            listener: "*:2025",
            peer: "192.0.2.60:40110",
            user: "viewer",
            command: "shutdown",
            verdict: Verdict::Denied,
        };
        assert_eq!(denied.line(), "1700000404@Z@*:2025@192.0.2.60:40110@viewer@0@shutdown");
        let allowed = Authorization {
            at: WallTime::from_unix_seconds(1_700_000_403),
            command: "cluster show logs",
            verdict: Verdict::Allowed("viewers"),
            ..denied
        };
        let line = allowed.line();
        assert_eq!(line, "1700000403@Z@*:2025@192.0.2.60:40110@viewer@1@cluster show logs@viewers");
        assert_eq!((line.split('@').count(), denied.line().split('@').count()), (8, 7));
    }
}
