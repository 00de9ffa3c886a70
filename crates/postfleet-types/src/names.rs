//! Names of nodes, connections, groups and views.

use alloc::format;
use alloc::string::String;
use core::fmt;
use core::str::FromStr;

/// Why a text is no name of the wanted kind. The caller's input is at fault; nothing has changed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is no {kind}: {rule}")]
pub struct NameError {
    kind: &'static str,
    rule: &'static str,
    text: String,
}

macro_rules! name {
    ($(#[$doc:meta])* $name:ident, $kind:literal, $rule:literal, $check:expr) => {
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(String);

        impl $name {
            /// The name as text.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl FromStr for $name {
            type Err = NameError;

            fn from_str(text: &str) -> Result<Self, NameError> {
                let allowed: fn(&str) -> bool = $check;
                if allowed(text) {
                    Ok(Self(String::from(text)))
                } else {
                    Err(NameError { kind: $kind, rule: $rule, text: text.chars().take(80).collect() })
                }
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(&self.0)
            }
        }
    };
}

name!(
    /// The name of a node: 1 to 63 characters `[a-z0-9-]`.
    NodeName,
    "node name",
    "expected 1 to 63 characters a-z, 0-9 and -",
    |text| matches!(text.len(), 1..=63)
        && text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
);

name!(
    /// The name of a subcluster: 1 to 24 characters `[a-z0-9_-]`.
    SubclusterName,
    "subcluster name",
    "expected 1 to 24 characters a-z, 0-9, _ and -",
    |text| matches!(text.len(), 1..=24)
        && text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-' || b == b'_')
);

name!(
    /// The name of a bus group: 1 to 31 characters `[A-Za-z0-9_-]`.
    GroupName,
    "group name",
    "expected 1 to 31 characters A-Z, a-z, 0-9, _ and -",
    |text| matches!(text.len(), 1..=31)
        && text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
);

name!(
    /// The name of one bus connection of one process: `#<client>#<node>`.
    PrivateName,
    "private name",
    "expected #client#node with client [a-z0-9-] of 1 to 15 characters",
    |text| text.strip_prefix('#').and_then(|rest| rest.split_once('#')).is_some_and(|(client, node)| {
        matches!(client.len(), 1..=15)
            && client.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
            && node.parse::<NodeName>().is_ok()
    })
);

impl PrivateName {
    /// The main (membership and control) connection of the node process `pid`.
    #[must_use]
    pub fn main(node: &NodeName, pid: u32) -> Self {
        Self(format!("#ec0-{pid:05}#{node}"))
    }

    /// The shared-data connection of the node process `pid`.
    #[must_use]
    pub fn shared(node: &NodeName, pid: u32) -> Self {
        Self(format!("#ec1-{pid:05}#{node}"))
    }

    /// The main connection of the manager on `node`.
    #[must_use]
    pub fn manager(node: &NodeName) -> Self {
        Self(format!("#eccmgr#{node}"))
    }

    /// The part behind the second `#`.
    #[must_use]
    pub fn node(&self) -> &str {
        self.0.rsplit_once('#').map_or("", |(_, node)| node)
    }
}

/// 64 random bits drawn at every connect; (private name, epoch) is unique over time. Never printed to operators.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Epoch(pub u64);

/// The identity of a view: a counter that only grows and a tag that makes it unique.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ViewId {
    /// Grows with every view that one connection installs.
    pub counter: u64,
    /// Makes two views of one counter differ.
    pub tag: u64,
}

impl fmt::Display for ViewId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{:016x}", self.counter, self.tag)
    }
}

/// What a member is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum NodeType {
    /// A relay.
    Node,
    /// A cluster manager; carries no mail.
    Manager,
    /// Any other client of the bus.
    Other,
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Bus document, acceptance case 2; replication document, case A25.
    #[test]
    fn bus_case_02_replication_a25_private_names() {
        let uhalehe: NodeName = "uhalehe".parse().unwrap();
        let mx1: NodeName = "mx1".parse().unwrap();
        assert_eq!(PrivateName::main(&uhalehe, 8422).as_str(), "#ec0-08422#uhalehe");
        assert_eq!(PrivateName::main(&mx1, 1_234_567).as_str(), "#ec0-1234567#mx1");
        assert_eq!(PrivateName::shared(&mx1, 1_234_567).as_str(), "#ec1-1234567#mx1");
        assert_eq!(PrivateName::shared(&mx1, 1_234_567).node(), "mx1");
        assert!(PrivateName::shared(&mx1, u32::MAX).as_str().parse::<PrivateName>().is_ok());
    }

    #[test]
    fn wrong_names_are_refused_with_the_rule() {
        for text in ["", "Relay", "a.b", "a b", &"x".repeat(64)] {
            assert!(text.parse::<NodeName>().is_err(), "{text}");
        }
        assert_eq!(
            "Relay".parse::<NodeName>().unwrap_err().to_string(),
            "`Relay` is no node name: expected 1 to 63 characters a-z, 0-9 and -"
        );
        for text in ["", "#", "##", "#ec0-1#", "#EC0#a", "ec0#a", "#a#B"] {
            assert!(text.parse::<PrivateName>().is_err(), "{text}");
        }
    }

    #[test]
    fn view_ids_print_as_documented() {
        assert_eq!(ViewId { counter: 7, tag: 0xbeef }.to_string(), "7.000000000000beef");
    }
}
