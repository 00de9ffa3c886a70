//! The paniclog.

use alloc::format;
use alloc::string::String;

use postfleet_types::WallTime;

use crate::field::one_line;

/// A text as lines of the paniclog, one for each of its lines.
pub fn panic_lines(at: WallTime, text: &str) -> impl Iterator<Item = String> {
    text.lines().map(move |line| format!("{}:{}", at.unix_seconds(), one_line(line)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn logging_14_4_each_line_has_its_time() {
        let lines: Vec<String> = panic_lines(
            WallTime::from_unix_seconds(1_700_000_300),
            "dns: resolver does not answer\nsecond\u{7}",
        )
        .collect();
        assert_eq!(lines, ["1700000300:dns: resolver does not answer", "1700000300:second\\x07"]);
    }
}
