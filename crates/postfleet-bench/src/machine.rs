//! Where and with what was measured. Nothing that names the host.

use crate::peers;
use std::process::Command;
use std::time::{SystemTime, UNIX_EPOCH};

use postfleet_types::WallTime;

/// The machine and the versions.
#[derive(Clone, Debug, Default)]
pub(crate) struct Machine {
    date: String,
    processor: String,
    cores: usize,
    kernel: String,
    load: String,
    postfleet: String,
    peers: Vec<String>,
}

fn first_line(program: &str, arguments: &[&str]) -> Option<String> {
    let output =
        Command::new(program).args(arguments).output().ok().filter(|output| output.status.success())?;
    String::from_utf8_lossy(&output.stdout).lines().next().map(|line| line.trim().to_owned())
}

impl Machine {
    /// Of this machine, now.
    pub(crate) fn read() -> Self {
        let file = |path: &str| std::fs::read_to_string(path).unwrap_or_default();
        let processors = file("/proc/cpuinfo");
        let processor = processors
            .lines()
            .find_map(|line| line.strip_prefix("model name")?.split_once(':'))
            .map_or("unknown", |(_, name)| name.trim());
        let unix = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let date = WallTime::from_unix_seconds(unix.as_secs()).civil().rfc3339().to_string();
        let revision =
            first_line("git", &["rev-parse", "--short", "HEAD"]).unwrap_or_else(|| "unknown".into());
        // What is measured is what is in the files, not what the revision has.
        let changed = first_line("git", &["status", "--porcelain", "--untracked-files=no", "--", "crates"]);
        let changed = if changed.is_some() { ", with changes" } else { "" };
        Self {
            date,
            processor: processor.to_owned(),
            cores: std::thread::available_parallelism().map_or(1, usize::from),
            kernel: file("/proc/sys/kernel/osrelease").trim().to_owned(),
            load: file("/proc/loadavg").split_whitespace().take(3).collect::<Vec<_>>().join(" "),
            postfleet: format!("{} ({revision}{changed})", env!("CARGO_PKG_VERSION")),
            peers: peers::versions(),
        }
    }

    /// Everything, in the order in which it is printed.
    pub(crate) fn facts(&self) -> Vec<(&'static str, String)> {
        vec![
            ("date", self.date.clone()),
            ("processor", format!("{}, {} cores", self.processor, self.cores)),
            ("kernel", self.kernel.clone()),
            ("load average at the end", self.load.clone()),
            ("postfleet", self.postfleet.clone()),
            ("peers", self.peers.join("; ")),
        ]
    }

    /// `2026-01-31-amd-epyc-2-cores`.
    pub(crate) fn file_stem(&self) -> String {
        let day = self.date.get(..10).unwrap_or("undated");
        let mut name = String::new();
        for word in self.processor.to_lowercase().split(|c: char| !c.is_ascii_alphanumeric()) {
            if !word.is_empty() {
                name.push_str(word);
                name.push('-');
            }
        }
        format!("{day}-{name}{}-cores", self.cores)
    }
}
