use alloc::format;

use crate::fault::Fault;

/// Seconds that a value lives: `90`, `15M`, `2H`; none for `0`, which is for ever.
///
/// # Errors
/// The text is no such time.
pub fn lifetime(text: &str) -> Result<Option<u64>, Fault> {
    let trimmed = text.trim();
    let (digits, unit) = match trimmed.char_indices().last() {
        Some((at, 'M' | 'm')) => (trimmed.get(..at), 60),
        Some((at, 'H' | 'h')) => (trimmed.get(..at), 3600),
        _ => (Some(trimmed), 1),
    };
    let seconds =
        digits.and_then(|digits| digits.parse::<u64>().ok()).and_then(|number| number.checked_mul(unit));
    let wrong =
        || Fault::new(format!("'{text}' is not a time; expected seconds, or minutes as 15M, or hours as 2H"));
    Ok(Some(seconds.ok_or_else(wrong)?).filter(|seconds| *seconds > 0))
}
