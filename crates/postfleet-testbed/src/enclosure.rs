//! The namespace in which a test drives a ring, and the cleaning up after it.
//!
//! A test binary calls [`enter`] first. It starts itself again in a network namespace of its own, the *hub*, in which
//! all hosts of the ring can be reached, waits for that, and removes everything afterwards, also when the inner run
//! was killed.

use std::path::Path;
use std::process::{Command, ExitCode};

/// Set for the inner run: the common beginning of the names of its namespaces.
const INSIDE: &str = "POSTFLEET_TESTBED_NAMESPACES";

/// All namespaces of ours begin like this; the process id of the outer run follows.
const PREFIX: &str = "pftest";

/// What stands in the way of a ring on this machine.
#[must_use]
pub fn obstacle() -> Option<String> {
    if !nix::unistd::geteuid().is_root() {
        return Some("only root can make network namespaces".into());
    }
    for (program, package) in
        [("ip", "iproute2"), ("corosync", "corosync"), ("unshare", "util-linux"), ("setpriv", "util-linux")]
    {
        let found = Command::new(program).arg("--version").output().is_ok()
            || Command::new(program).arg("-v").output().is_ok();
        if !found {
            return Some(format!("{program} is missing (Debian package {package}; scripts/setup corosync)"));
        }
    }
    let name = format!("{PREFIX}{}-probe", std::process::id());
    let made = Command::new("ip").args(["netns", "add", &name]).output();
    let made = made.is_ok_and(|output| output.status.success());
    if made {
        remove(&name);
    }
    (!made).then(|| "this system does not let network namespaces be made".into())
}

/// The inner run gets the common beginning of its namespaces' names and goes on; the outer one gets the exit code
/// of the inner and returns it.
///
/// # Errors
/// The exit code of the outer run.
pub fn enter() -> Result<String, ExitCode> {
    if let Ok(prefix) = std::env::var(INSIDE) {
        return Ok(prefix);
    }
    remove_leftovers();
    let prefix = format!("{PREFIX}{}", std::process::id());
    let hub = format!("{prefix}-hub");
    ip(&["netns", "add", &hub]);
    ip(&["-n", &hub, "link", "set", "lo", "up"]);
    let status = Command::new("setpriv")
        .args(["--pdeathsig", "KILL", "ip", "netns", "exec", &hub])
        .arg(std::env::current_exe().unwrap())
        .args(std::env::args_os().skip(1))
        .env(INSIDE, &prefix)
        .status()
        .unwrap();
    remove_all(&prefix);
    Err(if status.success() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Runs `ip`; it must work.
pub(crate) fn ip(arguments: &[&str]) {
    let output = Command::new("ip").args(arguments).output().unwrap();
    assert!(
        output.status.success(),
        "ip {}: {}",
        arguments.join(" "),
        String::from_utf8_lossy(&output.stderr)
    );
}

fn namespaces() -> Vec<String> {
    let Ok(entries) = std::fs::read_dir("/run/netns") else { return Vec::new() };
    entries.filter_map(|entry| entry.ok()?.file_name().into_string().ok()).collect()
}

/// Ends the processes of a namespace and removes it.
fn remove(name: &str) {
    if let Ok(output) = Command::new("ip").args(["netns", "pids", name]).output() {
        for pid in String::from_utf8_lossy(&output.stdout).split_whitespace() {
            if let Ok(pid) = pid.parse() {
                // One that is gone already is what is wanted.
                let _ = nix::sys::signal::kill(
                    nix::unistd::Pid::from_raw(pid),
                    nix::sys::signal::Signal::SIGKILL,
                );
            }
        }
    }
    let _ = Command::new("ip").args(["netns", "del", name]).output();
}

fn remove_all(prefix: &str) {
    let begin = format!("{prefix}-");
    for name in namespaces().iter().filter(|name| name.starts_with(&begin)) {
        remove(name);
    }
}

/// Removes what runs that were killed have left.
fn remove_leftovers() {
    for name in namespaces() {
        let owner = name.strip_prefix(PREFIX).and_then(|rest| rest.split('-').next());
        if let Some(owner) = owner
            && !Path::new("/proc").join(owner).exists()
        {
            remove(&name);
        }
    }
}
