//! Tells the program which revision it was built from, for `cluster membership`.
#![allow(clippy::print_stdout, reason = "a build script talks to cargo on standard output")]

use std::path::Path;
use std::process::Command;

fn main() {
    // A source archive has no history; the version alone says what it is.
    let history = Path::new("../../.git/logs/HEAD");
    if history.exists() {
        println!("cargo:rerun-if-changed={}", history.display());
    }
    println!("cargo:rerun-if-changed=build.rs");
    let revision = Command::new("git")
        .args(["rev-parse", "--short=7", "HEAD"])
        .output()
        .ok()
        .filter(|output| output.status.success())
        .and_then(|output| String::from_utf8(output.stdout).ok())
        .unwrap_or_default();
    let revision = if revision.trim().is_empty() { "release" } else { revision.trim() };
    println!("cargo:rustc-env=POSTFLEET_REVISION={revision}");
}
