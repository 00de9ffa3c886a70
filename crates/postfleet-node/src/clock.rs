//! The one place that reads clocks. Cores get the values.

use postfleet_types::{Monotonic, WallTime};
use std::sync::OnceLock;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

static ORIGIN: OnceLock<Instant> = OnceLock::new();

/// Now, on the monotonic clock. The origin is an hour before the first call, so that cores can subtract
/// intervals without reaching zero.
pub(crate) fn monotonic() -> Monotonic {
    let since = ORIGIN.get_or_init(Instant::now).elapsed() + Duration::from_secs(3600);
    Monotonic::from_micros(u64::try_from(since.as_micros()).unwrap_or(u64::MAX))
}

/// Now, in civil time.
pub(crate) fn wall() -> WallTime {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    WallTime::from_unix_millis(u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
}

/// The instant at which a deadline of a core falls due.
pub(crate) fn instant_of(deadline: Monotonic) -> tokio::time::Instant {
    tokio::time::Instant::now() + deadline.since(monotonic())
}
