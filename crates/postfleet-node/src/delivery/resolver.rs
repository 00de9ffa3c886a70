//! Questions to the name service, behind one small interface.

use crate::notices::{Severity, notice};
use hickory_resolver::TokioResolver;
use hickory_resolver::config::{ConnectionConfig, NameServerConfig, ResolverConfig, ResolverOpts};
use hickory_resolver::net::runtime::TokioRuntimeProvider;
use hickory_resolver::proto::rr::{RData, RecordType};
use postfleet_queue::{Answer, Mx};
use std::net::{IpAddr, SocketAddr};
use std::path::Path;
use std::time::{Duration, Instant};

/// Where the machine says who answers.
const RESOLV_CONF: &str = "/etc/resolv.conf";

/// The name service.
pub(super) struct Resolver {
    resolver: Option<TokioResolver>,
    servers: Vec<SocketAddr>,
}

impl Resolver {
    /// As a file in the form of resolv.conf says. Its `search` and `domain` mean nothing for mail.
    pub(super) fn new(file: Option<&Path>) -> Self {
        let servers = read(file);
        let mut options = ResolverOpts::default();
        options.timeout = Duration::from_secs(5);
        options.attempts = 2;
        options.use_hosts_file = hickory_resolver::config::ResolveHosts::Never;
        let config =
            ResolverConfig::from_parts(None, Vec::new(), servers.iter().copied().map(server).collect());
        let mut builder = TokioResolver::builder_with_config(config, TokioRuntimeProvider::default());
        *builder.options_mut() = options;
        let resolver = builder.build();
        if let Err(error) = &resolver {
            notice(Severity::Error, format_args!("the name service cannot be used: {error}"));
        }
        Self { resolver: resolver.ok(), servers }
    }

    /// Whether the file names other servers now.
    pub(super) fn is_stale(&self, file: Option<&Path>) -> bool {
        read(file) != self.servers
    }

    /// The MX records of a name.
    pub(super) async fn exchangers(&self, name: &str) -> Answer<Vec<Mx>> {
        self.ask(name, RecordType::MX, |data| {
            let RData::MX(mx) = data else { return None };
            let host = mx.exchange.to_ascii().to_ascii_lowercase();
            Some(Mx { preference: mx.preference, host: host.trim_end_matches('.').to_owned() })
        })
        .await
    }

    /// The addresses of a name.
    pub(super) async fn addresses(&self, name: &str, six: bool) -> Answer<Vec<IpAddr>> {
        let address = |data: &RData| {
            if let RData::A(four) = data {
                return Some(IpAddr::V4(four.0));
            }
            let RData::AAAA(six) = data else { return None };
            Some(IpAddr::V6(six.0))
        };
        let four = self.ask(name, RecordType::A, address).await;
        if !six {
            return four;
        }
        match (self.ask(name, RecordType::AAAA, address).await, four) {
            (Answer::Found(mut six, ttl), Answer::Found(four, other)) => {
                six.extend(four);
                Answer::Found(six, ttl.min(other))
            }
            (found @ Answer::Found(..), _) | (_, found) => found,
        }
    }

    async fn ask<T>(
        &self,
        name: &str,
        kind: RecordType,
        read: impl Fn(&RData) -> Option<T>,
    ) -> Answer<Vec<T>> {
        let Some(resolver) = &self.resolver else { return Answer::Failed };
        // A name of mail is complete.
        let name = format!("{}.", name.trim_end_matches('.'));
        match resolver.lookup(name, kind).await {
            Ok(lookup) => {
                let ttl = lookup.valid_until().saturating_duration_since(Instant::now());
                let found: Vec<T> = lookup.answers().iter().filter_map(|record| read(&record.data)).collect();
                if found.is_empty() { Answer::NoData } else { Answer::Found(found, ttl) }
            }
            Err(error) if error.is_nx_domain() => Answer::NoName,
            Err(error) if error.is_no_records_found() => Answer::NoData,
            Err(_) => Answer::Failed,
        }
    }
}

fn read(file: Option<&Path>) -> Vec<SocketAddr> {
    let path = file.unwrap_or(Path::new(RESOLV_CONF));
    let text = std::fs::read_to_string(path).unwrap_or_else(|error| {
        notice(Severity::Error, format_args!("cannot read {}: {error}; no name is resolved", path.display()));
        String::new()
    });
    servers(&text)
}

fn server(address: SocketAddr) -> NameServerConfig {
    let connections = [ConnectionConfig::udp(), ConnectionConfig::tcp()].map(|mut connection| {
        connection.port = address.port();
        connection
    });
    NameServerConfig::new(address.ip(), true, connections.into())
}

/// The lines `nameserver ADDRESS`; with a port, as an addition: `nameserver 127.0.0.1:5353`, `nameserver [::1]:5353`.
fn servers(text: &str) -> Vec<SocketAddr> {
    let lines = text.lines().filter_map(|line| {
        let mut words = line.split_whitespace();
        (words.next() == Some("nameserver")).then(|| words.next()).flatten()
    });
    lines
        .filter_map(|word| {
            let plain = word.parse::<IpAddr>().map(|ip| SocketAddr::new(ip, 53)).ok();
            plain.or_else(|| word.parse::<SocketAddr>().ok())
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn name_servers_are_read_from_resolv_conf() {
        let text = "# x\nsearch a.example\nnameserver 192.0.2.1\n nameserver [::1]:5353\nnameserver 127.0.0.1:54\n\
                    nameserver fe80::x\noptions edns0\n";
        let found: Vec<String> = servers(text).iter().map(ToString::to_string).collect();
        assert_eq!(found, ["192.0.2.1:53", "[::1]:5353", "127.0.0.1:54"]);
    }
}
