//! Names that existing files use and that are not read: skipped with a warning, so that a slip of the pen can
//! be told from an option of another version.

/// Options and stanzas of the reference that are not read, in lower case, sorted.
const KNOWN: &[&str] = &[
    "adaptive",
    "adaptive_scope",
    "antivirus",
    "auth_ds",
    "auth_ldap",
    "auth_mysql",
    "bounce_behavior",
    "bounce_pattern",
    "bzip2",
    "cluster_listener",
    "conntrol",
    "custom_bounce_logger",
    "delay_dsn",
    "expensive_batch_assessment",
    "gzip",
    "http_io",
    "jlog",
    "mail_loop",
    "mxip",
    "outbound_audit",
    "persist_io",
    "persistio",
    "pipe_transport",
    "pipeio",
    "reception_timing",
    "sievelib",
    "static_routes",
    "syslog_io",
    "unlink_on_spool_in_failure",
    "unsafe_spool",
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

/// The name, if it is one that is taken without effect.
pub(crate) fn accepted(name: &str) -> Option<&'static str> {
    ACCEPTED.iter().copied().find(|known| known.eq_ignore_ascii_case(name))
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
