//! Lines for the operator: on standard error, in paniclogs, and the last of them in memory.
//!
//! Every line says where, what, what to do, and what was done meanwhile. Logged once, where the matter is handled.

use crate::clock;
use crate::lock::locked;
use crate::logs::Logs;
use crate::zone;
use postfleet_throttle::Shadowed;
pub(crate) use postfleet_types::Severity;
use postfleet_types::WallTime;
use std::collections::VecDeque;
use std::fmt;
use std::io::Write;
use std::panic::Location;
use std::sync::{Arc, Mutex, PoisonError, RwLock};

/// Lines of each severity that `paniclog` shows.
const RECENT: usize = 10;

/// The logs of this process. A plain lock: it is read for every line, and written at the start.
static LOGS: RwLock<Option<Arc<Logs>>> = RwLock::new(None);

static LATEST: Mutex<Latest> = Mutex::new(Latest { lines: VecDeque::new() });

/// The last lines of each severity, oldest first.
struct Latest {
    lines: VecDeque<(WallTime, Severity, String)>,
}

/// Where a line comes from: the part of the node, and what `Debug_Flags` calls it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Origin<'a> {
    /// `edge`, `delivery`, …; empty when the text says it itself.
    pub(crate) module: &'a str,
    /// `SMTP`, `DNS`, …
    pub(crate) subsystem: &'static str,
    /// It tells of start and stop: paniclogs have it whatever `Debug_Flags` says.
    pub(crate) life: bool,
}

impl<'a> Origin<'a> {
    /// From the path of a source file.
    fn of(file: &'a str) -> Self {
        let inside = file.rsplit_once("postfleet-node/src/").map_or(file, |(_, inside)| inside);
        let module = inside.split('/').next().unwrap_or_default().trim_end_matches(".rs");
        let subsystem = match module {
            _ if inside.ends_with("resolver.rs") || module == "names" => "DNS",
            _ if inside.ends_with("tls.rs") => "SSL",
            "edge" | "delivery" => "SMTP",
            "store" | "audit" => "FD",
            "socket" | "control" | "metrics" => "NET",
            "datasource" => "DB",
            // What scripts write has a mask of its own; they name themselves.
            "policy" => return Self { module: "", subsystem: "LOG1", life: false },
            "fleet" => "REPL",
            "cluster_listener" => "CLUSTER",
            "reload" | "settings" | "files" => "CONF",
            "logs" => return Self { module: "logging", subsystem: "ERROR", life: false },
            _ => "ERROR",
        };
        Self { module, subsystem, life: false }
    }
}

/// Lines go to the paniclogs of these logs from now on; with `None`, to none.
pub(crate) fn log_to(logs: Option<Arc<Logs>>) {
    *LOGS.write().unwrap_or_else(PoisonError::into_inner) = logs;
}

/// Tells the operator.
#[track_caller]
pub(crate) fn notice(severity: Severity, text: impl fmt::Display) {
    tell(severity, &text, Origin::of(Location::caller().file()));
}

/// Tells what a limit that only watches would have done.
pub(crate) fn shadowed(told: &Shadowed) {
    let Shadowed { option, scope, count } = told;
    let place = if scope.is_empty() { "the global scope" } else { scope };
    let text =
        format!("{option} at {place} would have held back {count} more; Shadow_Limits has it watch only");
    tell(Severity::Notice, &text, Origin::of(file!()));
}

/// Tells of the start or the end of the node.
pub(crate) fn life(text: impl fmt::Display) {
    tell(Severity::Notice, &text, Origin { module: "node", subsystem: "START", life: true });
}

fn tell(severity: Severity, text: &dyn fmt::Display, origin: Origin<'_>) {
    let logs = LOGS.read().unwrap_or_else(PoisonError::into_inner).clone();
    let logs = logs.filter(|logs| logs.wants_notice(severity, &origin));
    let shown = severity != Severity::Debug || std::env::var_os("POSTFLEET_DEBUG").is_some();
    if !shown && logs.is_none() {
        return;
    }
    let at = clock::wall();
    let text = text.to_string();
    if shown {
        print(at, severity, &text);
    }
    remember(at, severity, &text);
    if let Some(logs) = logs {
        logs.noticed(at, severity, &origin, &text);
    }
}

/// Prints one line. Control characters are shown as `\xNN`, so that nobody can forge a second line.
fn print(at: WallTime, severity: Severity, text: &str) {
    let line = format!("{} [{}] {}\n", at.civil().rfc3339(), severity.word(), visible(text));
    // A closed standard error must not take the relay down.
    drop(std::io::stderr().lock().write_all(line.as_bytes()));
}

fn visible(text: &str) -> String {
    let mut line = String::with_capacity(text.len());
    for c in text.chars() {
        if c.is_control() {
            line.push_str(&format!("\\x{:02x}", u32::from(c)));
        } else {
            line.push(c);
        }
    }
    line
}

fn remember(at: WallTime, severity: Severity, text: &str) {
    let mut latest = locked(&LATEST);
    latest.lines.push_back((at, severity, visible(text)));
    let of_this = |line: &(WallTime, Severity, String)| line.1 == severity;
    if latest.lines.iter().filter(|line| of_this(line)).count() > RECENT
        && let Some(oldest) = latest.lines.iter().position(of_this)
    {
        latest.lines.remove(oldest);
    }
}

/// The last lines of each severity, oldest first, with the local time.
pub(crate) fn recent() -> Vec<String> {
    let latest = locked(&LATEST);
    let shown = latest.lines.iter().map(|(at, severity, text)| {
        format!("[{}] [{}] {text}", zone::local(*at).format(*at, "%a %d %b %Y %H:%M:%S"), severity.word())
    });
    shown.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_tell_where_they_come_from() {
        let of = |file| (Origin::of(file).module, Origin::of(file).subsystem);
        assert_eq!(of("crates/postfleet-node/src/edge/session.rs"), ("edge", "SMTP"));
        assert_eq!(of("/x/postfleet-node/src/delivery/resolver.rs"), ("delivery", "DNS"));
        assert_eq!(of("crates/postfleet-node/src/policy/host.rs"), ("", "LOG1"));
        assert_eq!(of("crates/postfleet-node/src/node.rs"), ("node", "ERROR"));
    }

    #[test]
    fn the_last_ten_of_each_level_are_kept() {
        for number in 0..12 {
            remember(
                WallTime::from_unix_seconds(1_700_000_000),
                Severity::Critical,
                &format!("kept {number}"),
            );
        }
        remember(WallTime::from_unix_seconds(1_700_000_000), Severity::Error, "one\nline");
        let lines = recent();
        let kept: Vec<&String> = lines.iter().filter(|line| line.contains("[critical] kept")).collect();
        assert_eq!(kept.len(), 10);
        assert!(kept[0].ends_with("[critical] kept 2") && kept[9].ends_with("kept 11"), "{kept:?}");
        assert!(
            lines.iter().any(|line| line.contains(" Nov 2023 ") && line.ends_with("[error] one\\x0aline"))
        );
    }
}
