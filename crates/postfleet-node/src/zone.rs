//! The local time zone, as `TZ` or the system has it.

use postfleet_log::LocalTime;
use postfleet_types::WallTime;
use std::sync::OnceLock;
use tz::TimeZone;

static ZONE: OnceLock<TimeZone> = OnceLock::new();

/// A zone that cannot be read is universal time.
fn zone() -> &'static TimeZone {
    ZONE.get_or_init(|| {
        let zone = match std::env::var("TZ") {
            Ok(name) if !name.is_empty() => TimeZone::from_posix_tz(&name).ok(),
            Ok(_) => None,
            Err(_) => TimeZone::local().ok(),
        };
        zone.unwrap_or_else(TimeZone::utc)
    })
}

/// What clocks on the wall show at that moment.
pub(crate) fn local(at: WallTime) -> LocalTime<'static> {
    let seconds = i64::try_from(at.unix_seconds()).unwrap_or(i64::MAX);
    match zone().find_local_time_type(seconds) {
        Ok(found) => LocalTime { offset_seconds: found.ut_offset(), name: found.time_zone_designation() },
        Err(_) => LocalTime::UTC,
    }
}
