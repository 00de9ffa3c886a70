//! The one place that reads clocks. Cores get the values.

use postfleet_types::{Monotonic, WallTime};
use rustix::time::{ClockId, clock_gettime};
use std::sync::OnceLock;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

static ORIGIN: OnceLock<Duration> = OnceLock::new();

/// The clock that goes on while the machine sleeps: units of a limit that this node owned then may be in use
/// elsewhere since.
fn since_boot() -> Duration {
    let now = clock_gettime(ClockId::Boottime);
    Duration::new(u64::try_from(now.tv_sec).unwrap_or(0), u32::try_from(now.tv_nsec).unwrap_or(0))
}

/// Now, on the monotonic clock. The origin is an hour before the first call, so that cores can subtract
/// intervals without reaching zero.
pub(crate) fn monotonic() -> Monotonic {
    let now = since_boot();
    let since = now.saturating_sub(*ORIGIN.get_or_init(|| now)) + Duration::from_secs(3600);
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
