//! Loggers.

use crate::logs::{LogSettings, check};
use postfleet_config::Config;
use postfleet_types::NodeName;

pub(super) fn read(
    config: &Config,
    node: &NodeName,
    subcluster: Option<String>,
) -> anyhow::Result<LogSettings> {
    let subcluster = subcluster.unwrap_or_else(|| String::from("default"));
    let settings = LogSettings {
        cluster: (node.to_string(), subcluster),
        debug: config.debug_flags(),
        ec: config.ec_loggers(),
        bounce: config.bounce_loggers(),
        custom: config.custom_loggers(),
    };
    check(&settings)?;
    Ok(settings)
}
