//! What the environment and `cluster.boot` call this node.

use crate::files::FileSystem;
use crate::system;
use postfleet_config::identity::{self, ClusterBoot};
use postfleet_config::{Config, Diagnostic};
use std::net::{IpAddr, ToSocketAddrs};

/// A variable that is set to something.
pub(crate) fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}

/// The directory that configuration is looked for in, and whether that is the one of the older product.
pub(crate) fn etc() -> (String, bool) {
    postfleet_config::etc_directory(&FileSystem::default(), variable("POSTFLEET_ETC").as_deref())
}

/// Names that do not come from the configuration.
#[derive(Debug, Default)]
pub(crate) struct Names {
    /// `EC_NODE_NAME`, else `node_name` of `cluster.boot`.
    pub(crate) node: Option<String>,
    /// `EC_SUB_CLUSTER`, else `cluster_name` of `cluster.boot`.
    pub(crate) subcluster: Option<String>,
    /// What is wrong with `cluster.boot`, a line each with its path.
    warnings: Vec<String>,
}

impl Names {
    /// Looks at the environment, then into `cluster.boot`, which a start script may have read already.
    pub(crate) fn read() -> Self {
        let path = format!("{}/cluster.boot", etc().0);
        let (boot, problem) = match std::fs::read_to_string(&path) {
            Ok(text) => (identity::cluster_boot(&text), None),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => (ClusterBoot::default(), None),
            Err(error) => (ClusterBoot::default(), Some(format!("cannot be read: {error}"))),
        };
        let filled = |name: Option<String>| name.filter(|name| !name.is_empty());
        Self {
            node: variable("EC_NODE_NAME").or_else(|| filled(boot.node_name)),
            subcluster: variable("EC_SUB_CLUSTER").or_else(|| filled(boot.cluster_name)),
            warnings: boot
                .warnings
                .into_iter()
                .chain(problem)
                .map(|warning| format!("{path}: {warning}"))
                .collect(),
        }
    }
}

/// The addresses of a name; none when it has none, or when nobody can be asked.
pub(crate) fn resolve(name: &str) -> Vec<IpAddr> {
    (name, 0).to_socket_addrs().map(|found| found.map(|address| address.ip()).collect()).unwrap_or_default()
}

/// What the network says against a configuration: the node has no name, or none that leads to an address at which
/// other members reach it, or an interface is not there. Asks the resolver.
#[must_use]
pub fn check_online(config: &Config) -> Vec<Diagnostic> {
    let mut found = config.check_online(Names::read().node.as_deref(), Some(&system::host_name()), &resolve);
    found.extend(check_interfaces(config));
    found
}

/// The interfaces that failover addresses are to be brought up on, and that this host does not have.
pub(crate) fn check_interfaces(config: &Config) -> Vec<Diagnostic> {
    config.check_interfaces(&system::has_interface)
}

/// What is wrong with `cluster.boot`, a line each with its path.
#[must_use]
pub fn cluster_boot_warnings() -> Vec<String> {
    Names::read().warnings
}
