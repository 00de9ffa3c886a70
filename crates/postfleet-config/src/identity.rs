//! Names and addresses a node knows itself by.

use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use postfleet_types::{NodeName, SubclusterName, normalised};

/// Why a node has no name or address. The operator is at fault, or the name service.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum IdentityError {
    /// There is no name to use.
    #[error("CFG-6201 nodename not specified and gethostname failed")]
    NoName,
    /// The name has characters that node names do not have.
    #[error(
        "CFG-6201 node name '{0}' is not 1 to 63 characters a-z, 0-9 and -; set nodename in the cluster stanza"
    )]
    BadName(String),
    /// The subcluster name has characters that it must not have.
    #[error("CFG-6201 subcluster '{0}' is not one lower-case word")]
    BadSubcluster(String),
    /// The name leads to no address.
    #[error("CFG-6201 nodename '{0}' did not resolve; set nodeaddr in the cluster stanza")]
    Unresolved(String),
    /// The address is one that other members cannot reach.
    #[error(
        "CFG-6201 {name} resolved to {address}, which is invalid for clustering. Check /etc/hosts and ensure {name} has a unique IP address"
    )]
    Loopback {
        /// The node name.
        name: String,
        /// What it resolved to.
        address: IpAddr,
    },
    /// `nodeaddr` is one that other members cannot reach.
    #[error("CFG-6201 nodeaddr {0} is invalid for clustering; it must be reachable by the other members")]
    BadAddress(IpAddr),
}

/// The node name: `nodename`, else `EC_NODE_NAME`, else the host name up to its first dot.
///
/// The first two must be names as they stand; the host name is taken in lower case.
///
/// # Errors
/// [`IdentityError`] when none of them is there, or the first that is there is no node name.
pub fn node_name(
    configured: Option<&str>,
    environment: Option<&str>,
    host_name: Option<&str>,
) -> Result<NodeName, IdentityError> {
    let given = [configured, environment].into_iter().flatten().find(|name| !name.is_empty());
    let name = match (given, host_name) {
        (Some(name), _) => name.to_string(),
        (None, Some(host)) => host.split('.').next().unwrap_or("").to_ascii_lowercase(),
        (None, None) => return Err(IdentityError::NoName),
    };
    if name.is_empty() {
        return Err(IdentityError::NoName);
    }
    name.parse().map_err(|_| IdentityError::BadName(name))
}

/// The subcluster: `EC_SUB_CLUSTER`, else `default`.
///
/// # Errors
/// [`IdentityError::BadSubcluster`] when it is not one lower-case word.
pub fn subcluster(environment: Option<&str>) -> Result<SubclusterName, IdentityError> {
    let name = environment.filter(|name| !name.is_empty()).unwrap_or("default");
    name.parse().map_err(|_| IdentityError::BadSubcluster(name.to_string()))
}

/// The address other members reach this node at: `nodeaddr`, else the first that the name resolves to and that
/// is not a loopback address.
///
/// 127.0.0.1 and ::1 are refused. Other addresses of 127/8 may be written as `nodeaddr`, so that several nodes
/// can run on one machine.
///
/// # Errors
/// [`IdentityError`]; the node must not join a bus.
pub fn node_address(
    configured: Option<IpAddr>,
    name: &NodeName,
    resolved: &[IpAddr],
) -> Result<IpAddr, IdentityError> {
    if let Some(address) = configured {
        return if is_refused(address) { Err(IdentityError::BadAddress(address)) } else { Ok(address) };
    }
    let usable = resolved.iter().copied().find(|address| !address.is_loopback() && !address.is_unspecified());
    match (usable, resolved.first()) {
        (Some(address), _) => Ok(address),
        (None, Some(address)) => Err(IdentityError::Loopback { name: name.to_string(), address: *address }),
        (None, None) => Err(IdentityError::Unresolved(name.to_string())),
    }
}

/// Addresses that no other member can reach.
pub(crate) fn is_refused(address: IpAddr) -> bool {
    let address = normalised(address);
    address == IpAddr::V4(Ipv4Addr::LOCALHOST)
        || address == IpAddr::V6(Ipv6Addr::LOCALHOST)
        || address.is_unspecified()
}

/// What `cluster.boot` says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ClusterBoot {
    /// The subcluster.
    pub cluster_name: Option<String>,
    /// The node name.
    pub node_name: Option<String>,
    /// The other known keys, as written.
    pub other: Vec<(String, String)>,
    /// What is wrong with it, a line each.
    pub warnings: Vec<String>,
}

/// Reads `cluster.boot`: lines `key=value`, `#` comments, lower-case keys. What is wrong is told, and the rest holds.
#[must_use]
pub fn cluster_boot(text: &str) -> ClusterBoot {
    let mut boot = ClusterBoot::default();
    for (at, line) in text.lines().enumerate() {
        let line = line.trim();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let Some((key, value)) = line.split_once('=') else {
            boot.warnings.push(format!("line {}: expected key=value", at + 1));
            continue;
        };
        let (key, value) = (key.trim(), value.trim().to_string());
        let wrong = match key {
            "cluster_name" => value.parse::<SubclusterName>().is_err().then_some("one lower-case word"),
            "node_name" => value.parse::<NodeName>().is_err().then_some("1 to 63 characters a-z, 0-9 and -"),
            "autoupdate" => (!["true", "ifunchanged", "false"].contains(&value.as_str()))
                .then_some("true, ifunchanged or false"),
            "reload_config_on_update" => {
                (!["true", "false"].contains(&value.as_str())).then_some("true or false")
            }
            "repo" => (!value.split(',').all(|place| is_repository(place.trim())))
                .then_some("a list of auto, local, HOST and HOST:PORT with commas between"),
            _ if key.starts_with("ecconfigd.") => None,
            _ => {
                let near = crate::schema::nearest_of(key, KEYS.into_iter());
                let hint = near.map_or_else(String::new, |near| format!("; did you mean '{near}'?"));
                let key = crate::value::clip(key);
                boot.warnings.push(format!("line {}: unknown key '{key}'{hint}", at + 1));
                continue;
            }
        };
        if let Some(expected) = wrong {
            let value = crate::value::clip(&value);
            boot.warnings.push(format!("line {}: {key} is '{value}'; expected {expected}", at + 1));
        }
        match key {
            "cluster_name" => boot.cluster_name = Some(value),
            "node_name" => boot.node_name = Some(value),
            _ => boot.other.push((key.to_string(), value)),
        }
    }
    if boot.cluster_name.is_none() {
        boot.warnings
            .push("cluster_name is missing; expected cluster_name = default, or the subcluster".into());
    }
    boot
}

const KEYS: [&str; 5] = ["cluster_name", "node_name", "autoupdate", "repo", "reload_config_on_update"];

/// `auto`, `local`, a host, or a host with a port.
fn is_repository(text: &str) -> bool {
    let (host, port) = match text.rsplit_once(':') {
        // An IPv6 address without brackets has no port behind it.
        Some((host, _)) if host.contains(':') && !host.ends_with(']') => (text, None),
        Some((host, port)) => (host, Some(port)),
        None => (text, None),
    };
    let bare = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
    let named = !host.is_empty()
        && host.chars().all(|c| c.is_ascii_alphanumeric() || "-._".contains(c))
        && host.starts_with(|c: char| c.is_ascii_alphanumeric());
    let port_fits = port.is_none_or(|port| port.parse::<u16>().is_ok_and(|port| port != 0));
    (named || crate::address::ip(bare).is_some()) && port_fits
}
