//! Starting, watching and stopping node processes.

use super::layout::NodeLayout;
use anyhow::Context;
use rustix::process::{Pid, Signal, kill_process};
use std::fs::File;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};

/// How a node's life hangs on ours.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Life {
    /// It ends when we end, however we end: it watches a pipe that we hold.
    WithUs,
    /// It goes on without us.
    OnItsOwn,
}

/// Starts the node in a process group of its own, so that Ctrl-C at the demo's terminal reaches only the demo.
pub(crate) fn start(node: &NodeLayout, life: Life) -> anyhow::Result<Child> {
    let program = std::env::current_exe().context("cannot find the program's own file")?;
    let log = File::options()
        .create(true)
        .append(true)
        .open(node.log())
        .with_context(|| format!("cannot write {}", node.log().display()))?;
    let mut command = Command::new(program);
    command.arg("node").arg("-c").arg(node.configuration());
    match life {
        Life::WithUs => command.arg("--while-stdin").stdin(Stdio::piped()),
        Life::OnItsOwn => command.stdin(Stdio::null()),
    };
    command.stdout(Stdio::null()).stderr(log).process_group(0);
    command.spawn().with_context(|| format!("cannot start {}", node.name))
}

/// Whether `pid` is a node that runs with this configuration file. Process ids are reused, so the number alone
/// proves nothing.
pub(crate) fn is_node(pid: u32, configuration: &Path) -> bool {
    let Ok(arguments) = std::fs::read(format!("/proc/{pid}/cmdline")) else { return false };
    let wanted = configuration.as_os_str().as_bytes();
    let mut words = arguments.split(|byte| *byte == 0).skip(1);
    words.next() == Some(b"node") && words.any(|word| word == wanted)
}

/// Asks a process to end in an orderly way.
pub(crate) fn terminate(pid: u32) {
    signal(pid, Signal::TERM);
}

/// Ends a process at once.
pub(crate) fn kill(pid: u32) {
    signal(pid, Signal::KILL);
}

fn signal(pid: u32, signal: Signal) {
    // An error means that it is gone already, which is what was wanted.
    if let Some(pid) = as_pid(pid) {
        let _gone = kill_process(pid, signal);
    }
}

fn as_pid(pid: u32) -> Option<Pid> {
    i32::try_from(pid).ok().and_then(Pid::from_raw)
}
