//! What the machine and the program say about themselves.

use nix::sys::socket::SockaddrStorage;
use postfleet_console::Sysinfo;
use postfleet_types::WallTime;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::UNIX_EPOCH;

/// The version that members and consoles see, `<version> r(<revision>)`.
pub(crate) fn version() -> String {
    format!("{} r({})", env!("CARGO_PKG_VERSION"), env!("POSTFLEET_REVISION"))
}

/// The host's name as the system has it, lower case.
pub(crate) fn full_host_name() -> String {
    rustix::system::uname().nodename().to_string_lossy().to_lowercase()
}

/// The host's name up to the first dot, lower case.
pub(crate) fn host_name() -> String {
    full_host_name().split('.').next().unwrap_or_default().to_owned()
}

/// The name of a user of this machine; the number where the system's list has none.
pub(crate) fn user_name(uid: u32) -> String {
    let list = std::fs::read_to_string("/etc/passwd").unwrap_or_default();
    let named = list.lines().find_map(|line| {
        let mut fields = line.split(':');
        let name = fields.next()?;
        (fields.nth(1)?.parse() == Ok(uid)).then(|| name.to_owned())
    });
    named.unwrap_or_else(|| format!("uid {uid}"))
}

/// Changes when the host boots; zero where the system does not tell.
pub(crate) fn boot_id() -> u128 {
    let text = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default();
    u128::from_str_radix(&text.trim().replace('-', ""), 16).unwrap_or(0)
}

/// Whether this host has a network interface. Yes, where the system does not tell.
pub(crate) fn has_interface(name: &str) -> bool {
    let all = std::path::Path::new("/sys/class/net");
    // `eth0:1` is an address of eth0.
    let name = name.split(':').next().unwrap_or_default();
    !all.is_dir() || (!name.is_empty() && !name.contains('/') && all.join(name).exists())
}

/// The addresses of this machine, those of the loopback interface among them.
pub(crate) fn addresses() -> Vec<IpAddr> {
    let Ok(all) = nix::ifaddrs::getifaddrs() else {
        return vec![Ipv4Addr::LOCALHOST.into(), Ipv6Addr::LOCALHOST.into()];
    };
    let ip = |address: SockaddrStorage| {
        let four = address.as_sockaddr_in().map(|address| IpAddr::from(address.ip()));
        four.or_else(|| address.as_sockaddr_in6().map(|address| address.ip().into()))
    };
    all.filter_map(|interface| interface.address.and_then(ip)).collect()
}

/// 64 bits that nobody can guess.
pub(crate) fn random_seed() -> u64 {
    let mut bytes = [0; 8];
    // The call fails only where the system has no random source at all; ids then still differ by time and process.
    if getrandom::fill(&mut bytes).is_err() {
        return crate::clock::wall().unix_millis() ^ (u64::from(std::process::id()) << 40);
    }
    u64::from_be_bytes(bytes)
}

/// Asks for as many file descriptors as the configuration wants and the system allows.
pub(crate) fn raise_descriptor_limit(wanted: u64) {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let limit = getrlimit(Resource::Nofile);
    let maximum = limit.maximum.unwrap_or(u64::MAX);
    let current = limit.current.unwrap_or(u64::MAX).max(wanted.min(maximum));
    // What cannot be had is not worth a failed start; a lack shows when connections are accepted.
    let _refused = setrlimit(Resource::Nofile, Rlimit { current: Some(current), maximum: limit.maximum });
}

/// The answer to `sysinfo`; `release` is the text of `/etc/os-release`.
pub(crate) fn sysinfo(release: &str) -> Sysinfo {
    let uname = rustix::system::uname();
    let built = std::env::current_exe()
        .and_then(std::fs::metadata)
        .and_then(|metadata| metadata.modified())
        .ok()
        .and_then(|time| time.duration_since(UNIX_EPOCH).ok())
        .map(|since| WallTime::from_unix_seconds(since.as_secs()).civil());
    let pretty = release
        .lines()
        .find_map(|line| line.strip_prefix("PRETTY_NAME="))
        .map_or("unknown operating system", |name| name.trim_matches('"'));
    Sysinfo {
        bits: usize::BITS,
        build_date: built.map_or_else(|| "unknown".into(), |civil| civil.month_day_year().to_string()),
        build: if cfg!(debug_assertions) { "DEBUG" } else { "RELEASE" }.into(),
        release: pretty.into(),
        uname: [uname.sysname(), uname.nodename(), uname.release(), uname.version(), uname.machine()]
            .map(|part| part.to_string_lossy().into_owned())
            .join(" "),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_loopback_address_is_everywhere() {
        assert!(addresses().contains(&Ipv4Addr::LOCALHOST.into()), "{:?}", addresses());
    }

    #[test]
    fn the_loopback_interface_is_everywhere() {
        assert!(has_interface("lo") && has_interface("lo:1"));
        assert!(!has_interface("no-such-interface") && !has_interface("../net/lo") && !has_interface(""));
    }
}
