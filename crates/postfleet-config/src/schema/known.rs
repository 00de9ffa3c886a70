//! Names that existing files use and that are not read: skipped with a warning, so that a slip of the pen can
//! be told from an option of another version.

/// Options and stanzas of the reference that are not read, in lower case, sorted.
const KNOWN: &[&str] = &[
    "acctlog",
    "acctlog_log_mode",
    "adaptive",
    "adaptive_scope",
    "antivirus",
    "assume_charset",
    "auth_ds",
    "auth_ldap",
    "auth_mysql",
    "base_dir",
    "bounce_behavior",
    "bounce_pattern",
    "bouncelog",
    "bouncelog_mode",
    "bzip2",
    "cache_life",
    "cache_size",
    "cluster_listener",
    "conntrol",
    "control_cache",
    "custom_bounce_logger",
    "delay_dsn",
    "delivery_format",
    "delivery_log_mode",
    "delivery_logfile",
    "dir_mode",
    "expensive_batch_assessment",
    "gzip",
    "http_io",
    "importlog",
    "importlog_mode",
    "jlog",
    "log_deliveries",
    "log_dir",
    "log_errors",
    "log_inband_bounces",
    "log_interval",
    "log_outofband_bounces",
    "log_permanent_failures",
    "log_receptions",
    "log_rejections",
    "log_transient_failures",
    "logfile",
    "mail_loop",
    "mainlog",
    "mainlog_mode",
    "maintenance_interval",
    "max_idle",
    "max_open",
    "max_rows",
    "monitors",
    "mxip",
    "namespace",
    "no_cache",
    "outbound_audit",
    "paniclog",
    "paniclog_mode",
    "permanent_failure_format",
    "permanent_failure_log_mode",
    "permanent_failure_logfile",
    "persist_io",
    "persistio",
    "pipe_transport",
    "pipeio",
    "reception_format",
    "reception_log_mode",
    "reception_logfile",
    "reception_timing",
    "rejection_format",
    "rejection_log_mode",
    "rejection_logfile",
    "rejectlog",
    "rejectlog_mode",
    "sanitize",
    "serialize_dir",
    "serialized",
    "series_exclude",
    "series_include",
    "series_include_default",
    "sievelib",
    "static_routes",
    "subcluster",
    "subscriber",
    "syslog_io",
    "thread_pool",
    "transient_failure_format",
    "transient_failure_log_mode",
    "transient_failure_logfile",
    "unlink_on_spool_in_failure",
    "unsafe_spool",
    "xfer_format",
    "xfer_log_mode",
    "xfer_logfile",
];

/// Names that are taken without a word: they tune machinery that does not exist here.
const ACCEPTED: &[&str] = &[
    "delivery_pool",
    "event_loop",
    "growbuf_size",
    "license",
    "maintainer_pool",
    "malloc2mmap_threshold",
    "memory_goal",
    "memory_hwm",
    "scheduler",
    "snmp",
    "snmp_traps",
    "use_mmap",
    "use_sendfile",
];

fn listed(list: &[&str], name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    list.binary_search(&name.as_str()).is_ok()
}

/// Whether existing files may use the name and it is not read.
pub(crate) fn known(name: &str) -> bool {
    listed(KNOWN, name)
}

/// Whether the name is taken without a word.
pub(crate) fn accepted(name: &str) -> bool {
    listed(ACCEPTED, name)
}

/// Both lists, for the reference page.
pub(crate) const fn lists() -> (&'static [&'static str], &'static [&'static str]) {
    (KNOWN, ACCEPTED)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_are_sorted() {
        assert!(KNOWN.is_sorted());
        assert!(ACCEPTED.is_sorted());
        assert!(known("BOUNCE_PATTERN"));
        assert!(!known("hostname"));
    }
}
