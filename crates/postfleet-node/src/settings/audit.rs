//! The stanzas `inbound_audit` and `as_logger`.

use crate::audit::AuditOptions;
use anyhow::Context as _;
use postfleet_config::Config;
use postfleet_replica::Monitor;

/// Reads the stanza. Without one, or when it is switched off, no series by client are kept.
pub(super) fn read(config: &Config) -> anyhow::Result<AuditOptions> {
    let journal = config.as_logger().filter(|logger| logger.enabled);
    let Some(audit) = config.inbound_audit().filter(|audit| audit.enabled) else {
        return Ok(AuditOptions { journal, ..AuditOptions::default() });
    };
    let monitor = |monitor: &postfleet_config::Monitor| {
        let (interval, number) = (monitor.window_seconds.get(), monitor.windows.get());
        let number = u16::try_from(number).unwrap_or(u16::MAX);
        Monitor::new(interval, number)
            .with_context(|| format!("inbound_audit: monitors: \"{interval},{number}\""))
    };
    Ok(AuditOptions {
        monitors: audit.monitors.iter().map(monitor).collect::<anyhow::Result<_>>()?,
        maintenance_interval: audit.maintenance_interval,
        log_dir: audit.log_dir.into(),
        serialize_dir: audit.serialize_dir.into(),
        journal,
    })
}
