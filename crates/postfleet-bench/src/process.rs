//! What the kernel knows about a process: time on processors, resident memory.

use anyhow::{Context, Result};
use std::path::Path;
use std::process::{Child, Command, Stdio};

/// A process that ends with this value.
#[derive(Debug)]
pub(crate) struct Running(pub(crate) Child);

impl Running {
    /// Starts it, quiet.
    pub(crate) fn start(command: &mut Command, dir: &Path) -> Result<Self> {
        let log = std::fs::File::create(dir.join("log"))?;
        let errors = log.try_clone()?;
        let name = command.get_program().to_string_lossy().into_owned();
        let child = command.stdin(Stdio::null()).stdout(log).stderr(errors).spawn();
        Ok(Self(child.with_context(|| format!("cannot start {name}"))?))
    }

    pub(crate) fn id(&self) -> u32 {
        self.0.id()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // One that has ended already is what is wanted.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Nanoseconds that the threads of a process have run so far, in user and kernel mode.
///
/// Threads that have ended are not counted; none of those that are measured ends.
pub(crate) fn cpu_nanoseconds(process: u32) -> Result<f64> {
    let mut sum = 0.0;
    for task in std::fs::read_dir(format!("/proc/{process}/task")).context("the process is gone")? {
        let text = std::fs::read_to_string(task?.path().join("schedstat")).unwrap_or_default();
        sum += text.split_whitespace().next().and_then(|first| first.parse::<f64>().ok()).unwrap_or(0.0);
    }
    Ok(sum)
}

/// Bytes of a process that are in memory.
pub(crate) fn resident_bytes(process: u32) -> Result<f64> {
    let status = std::fs::read_to_string(format!("/proc/{process}/status")).context("the process is gone")?;
    let kibibytes = status
        .lines()
        .find_map(|line| line.strip_prefix("VmRSS:")?.split_whitespace().next()?.parse::<f64>().ok());
    Ok(kibibytes.context("no VmRSS in the status of a process")? * 1024.0)
}
