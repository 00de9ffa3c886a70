//! Long output, a screenful at a time.

use std::io::{self, Write};
use std::process::{Command, Stdio};

/// Shows `text` through the operator's pager when it is longer than the terminal is high. When no pager can be
/// started, the text is written as it is.
pub(super) fn show(text: &[u8]) -> io::Result<()> {
    let height = rustix::termios::tcgetwinsize(io::stdout()).map_or(24, |size| usize::from(size.ws_row));
    let lines = text.split(|byte| *byte == b'\n').count();
    if lines > height {
        let chosen = std::env::var("PAGER").ok().filter(|pager| !pager.trim().is_empty());
        let fallback = ["less -FRX", "more"].map(String::from);
        for pager in chosen.into_iter().chain(fallback) {
            if through(&pager, text) {
                return Ok(());
            }
        }
    }
    let mut stdout = io::stdout().lock();
    stdout.write_all(text)?;
    stdout.flush()
}

/// Whether the pager could be started. `$PAGER` may carry options, so it is split at blanks.
fn through(pager: &str, text: &[u8]) -> bool {
    let mut words = pager.split_whitespace();
    let Some(program) = words.next() else { return false };
    let Ok(mut child) = Command::new(program).args(words).stdin(Stdio::piped()).spawn() else { return false };
    if let Some(mut input) = child.stdin.take() {
        // The operator may leave the pager before the end.
        let _ = input.write_all(text);
    }
    child.wait().is_ok()
}
