//! Checks that need more than the files: what the network says of names (CFG-6201), and which interfaces the host has
//! (CFG-6320).
//!
//! A check without privileges and without side effects does not make them; a daemon does when it starts, and
//! `postfleet check --online` does when it is asked to.

use alloc::format;
use alloc::string::ToString as _;
use alloc::vec::Vec;
use core::net::IpAddr;

use crate::config::Config;
use crate::diagnostic::{Diagnostic, Finding, Findings};
use crate::files::Role;
use crate::identity::{self, IdentityError};
use crate::schema::Scope;

impl Config {
    /// Whether the node has a name and an address that other members can reach it at, as the daemon will ask.
    ///
    /// `environment` and `host_name` are those of [`identity::node_name`]; `resolve` gives the addresses of a name.
    #[must_use]
    pub fn check_online(
        &self,
        environment: Option<&str>,
        host_name: Option<&str>,
        resolve: &dyn Fn(&str) -> Vec<IpAddr>,
    ) -> Vec<Diagnostic> {
        let Some(cluster) = self.cluster().filter(|cluster| cluster.enabled && self.role() == Role::Node)
        else {
            return Vec::new();
        };
        let identity = || -> Result<IpAddr, IdentityError> {
            let name = identity::node_name(cluster.nodename.as_deref(), environment, host_name)?;
            let resolved = if cluster.nodeaddr.is_some() { Vec::new() } else { resolve(name.as_str()) };
            identity::node_address(cluster.nodeaddr, &name, &resolved)
        };
        let Err(error) = identity() else { return Vec::new() };
        let text = error.to_string();
        let message = text.strip_prefix("CFG-6201 ").unwrap_or(&text);
        let stanza = self.tree().anonymous(Scope::Cluster).and_then(|id| self.tree().instance(id));
        let place = stanza.and_then(|stanza| {
            let written = ["nodeaddr", "nodename"].into_iter().find_map(|option| stanza.assigned(option));
            written.map(|assigned| assigned.span).or(stanza.opened)
        });
        let mut findings = Findings::default();
        findings.push(match place {
            Some(span) => Finding::error(6201, span, message),
            None => Finding::about(6201, self.main_file(), message),
        });
        findings.finish(self.sources())
    }
}

impl Config {
    /// Interfaces of `Topology` stanzas that the host does not have.
    #[must_use]
    pub fn check_interfaces(&self, exists: &dyn Fn(&str) -> bool) -> Vec<Diagnostic> {
        let mut findings = Findings::default();
        let cluster = self.tree().anonymous(Scope::Cluster);
        for (_, topology) in cluster.into_iter().flat_map(|id| self.tree().children(id, Scope::Topology)) {
            if let Some(assigned) = topology.assigned("interface")
                && let Some(name) = assigned.value.as_text()
                && !exists(name)
            {
                let message = format!("this host has no interface '{}'", crate::value::clip(name));
                findings.push(
                    Finding::warning(6320, assigned.span, message).expected("a name that `ip link` shows"),
                );
            }
        }
        findings.finish(self.sources())
    }
}

#[cfg(test)]
mod tests {
    use crate::{Config, LoadRequest, MemoryFiles};
    use core::net::{IpAddr, Ipv4Addr};

    #[test]
    fn a_name_that_leads_nowhere_is_found_with_its_place() {
        let check = |text: &str, addresses: &[IpAddr]| {
            let files = MemoryFiles::new().with("/etc/t/ecelerity.conf", text);
            let request =
                LoadRequest { main: Some("/etc/t/ecelerity.conf".into()), ..LoadRequest::default() };
            let config = Config::load(&files, &request).config.unwrap();
            let found = config.check_online(None, Some("labrat-1.example.net"), &|_| addresses.to_vec());
            crate::report(&found)
        };
        let loopback = [IpAddr::V4(Ipv4Addr::new(127, 0, 1, 1))];
        let address = [IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1))];
        assert_eq!(
            check("cluster {\n  nodename = \"a\"\n}\n", &loopback),
            "Configuration error in /etc/t/ecelerity.conf at line 2, column 14 near '\"a\"'\n\
             CFG-6201 a resolved to 127.0.1.1, which is invalid for clustering. Check /etc/hosts and ensure a has \
             a unique IP address\nReconfigure failed.\n"
        );
        let unresolved = check("cluster { }\n", &[]);
        assert!(
            unresolved.contains("near 'cluster'\nCFG-6201 nodename 'labrat-1' did not resolve"),
            "{unresolved}"
        );
        assert_eq!(check("cluster { }\n", &address), "");
        assert_eq!(check("Hostname = \"a\"\n", &[]), "");
    }
    #[test]
    fn interfaces_that_are_not_there_are_named() {
        let text = "cluster {\n  Topology 10.0.0.0/8 { interface = eth0 }\n  Topology ::/0 { interface = eth9 }\n}\n";
        let files = MemoryFiles::new().with("/etc/t/ecelerity.conf", text);
        let request = LoadRequest { main: Some("/etc/t/ecelerity.conf".into()), ..LoadRequest::default() };
        let config = Config::load(&files, &request).config.unwrap();
        assert_eq!(
            crate::report(&config.check_interfaces(&|name| name == "eth0")),
            "Warning in /etc/t/ecelerity.conf at line 3, column 31 near 'eth9'\n\
             CFG-6320 this host has no interface 'eth9'; expected a name that `ip link` shows\n"
        );
        assert_eq!(config.check_interfaces(&|_| true), []);
    }
}
