//! What an operator would use instead. Each is started by the row that needs it, with files of its own, on loopback
//! addresses, and ends with the row.

pub(crate) mod anvil;
pub(crate) mod haproxy;
pub(crate) mod redis;

use std::net::{Ipv4Addr, TcpListener};
use std::path::PathBuf;
use std::process::Command;

/// Where Debian has daemons that are not in a user's PATH.
const DIRS: [&str; 6] =
    ["/usr/local/sbin", "/usr/local/bin", "/usr/sbin", "/usr/bin", "/sbin", "/usr/lib/postfix/sbin"];

/// The program, if it is installed.
pub(crate) fn find(program: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path)
        .chain(DIRS.map(PathBuf::from))
        .map(|dir| dir.join(program))
        .find(|path| path.is_file())
}

/// What to say where it is not.
pub(crate) fn not_installed(program: &str) -> String {
    format!("{program} is not installed (scripts/setup peers)")
}

/// A TCP port that nobody uses at this address, at this moment.
pub(crate) fn free_port(address: Ipv4Addr) -> anyhow::Result<u16> {
    Ok(TcpListener::bind((address, 0))?.local_addr()?.port())
}

fn version(program: &str, argument: &str, words: usize) -> String {
    let said = find(program).and_then(|path| Command::new(path).arg(argument).output().ok());
    let text = said.map(|said| String::from_utf8_lossy(&said.stdout).into_owned());
    let line = text.as_deref().and_then(|text| text.lines().next()).unwrap_or("not installed");
    let words: Vec<&str> = line.split_whitespace().take(words).collect();
    format!("{program}: {}", words.join(" "))
}

/// Names and versions of all peers.
pub(crate) fn versions() -> Vec<String> {
    let postfix =
        find("postconf").and_then(|path| Command::new(path).args(["-d", "-h", "mail_version"]).output().ok());
    let postfix = postfix
        .map_or("not installed".into(), |said| String::from_utf8_lossy(&said.stdout).trim().to_owned());
    vec![
        version("redis-server", "--version", 3),
        version("haproxy", "-v", 3),
        format!("postfix: {postfix}"),
        "crates governor 0.10, prefix-trie 0.10".into(),
    ]
}
