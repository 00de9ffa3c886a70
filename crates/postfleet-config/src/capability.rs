//! Capabilities as text, in the terms of `cap_from_text`.

use alloc::collections::BTreeSet;
use alloc::string::{String, ToString as _};

/// Every capability of Linux, by name.
const NAMES: &[&str] = &[
    "cap_audit_control",
    "cap_audit_read",
    "cap_audit_write",
    "cap_block_suspend",
    "cap_bpf",
    "cap_checkpoint_restore",
    "cap_chown",
    "cap_dac_override",
    "cap_dac_read_search",
    "cap_fowner",
    "cap_fsetid",
    "cap_ipc_lock",
    "cap_ipc_owner",
    "cap_kill",
    "cap_lease",
    "cap_linux_immutable",
    "cap_mac_admin",
    "cap_mac_override",
    "cap_mknod",
    "cap_net_admin",
    "cap_net_bind_service",
    "cap_net_broadcast",
    "cap_net_raw",
    "cap_perfmon",
    "cap_setfcap",
    "cap_setgid",
    "cap_setpcap",
    "cap_setuid",
    "cap_sys_admin",
    "cap_sys_boot",
    "cap_sys_chroot",
    "cap_sys_module",
    "cap_sys_nice",
    "cap_sys_pacct",
    "cap_sys_ptrace",
    "cap_sys_rawio",
    "cap_sys_resource",
    "cap_sys_time",
    "cap_sys_tty_config",
    "cap_syslog",
    "cap_wake_alarm",
];

/// The names of the capabilities that a text makes effective and permitted.
///
/// The text is a list of clauses with blanks between: names with commas, or `all`, then `=`, `+` or `-` with the
/// flags `e`, `i`, `p`. `none` and the empty text name none.
///
/// # Errors
/// What cannot be read.
pub fn capabilities(text: &str) -> Result<BTreeSet<&'static str>, String> {
    let mut effective: BTreeSet<&'static str> = BTreeSet::new();
    if text.eq_ignore_ascii_case("none") {
        return Ok(effective);
    }
    for clause in text.split_ascii_whitespace() {
        let at = clause.find(['=', '+', '-']).ok_or_else(|| clause.to_string())?;
        let (names, mut rest) = clause.split_at(at);
        let mut chosen: BTreeSet<&'static str> = BTreeSet::new();
        if names.is_empty() || names.eq_ignore_ascii_case("all") {
            chosen.extend(NAMES);
        } else {
            for name in names.split(',') {
                let known = NAMES.iter().copied().find(|known| known.eq_ignore_ascii_case(name));
                chosen.insert(known.ok_or_else(|| name.to_string())?);
            }
        }
        while let Some(operator) = rest.chars().next() {
            let flags = rest.get(1..).unwrap_or("");
            let end = flags.find(['=', '+', '-']).unwrap_or(flags.len());
            let (flags, behind) = flags.split_at(end);
            if flags.chars().any(|flag| !"eip".contains(flag)) {
                return Err(clause.to_string());
            }
            let usable = flags.contains('e') && flags.contains('p');
            match operator {
                '=' if usable => effective.extend(&chosen),
                '=' => effective.retain(|name| !chosen.contains(name)),
                '+' if usable => effective.extend(&chosen),
                '-' if flags.contains(['e', 'p']) => effective.retain(|name| !chosen.contains(name)),
                _ => {}
            }
            rest = behind;
        }
    }
    Ok(effective)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(text: &str) -> Result<Vec<&'static str>, String> {
        capabilities(text).map(|set| set.into_iter().collect())
    }

    #[test]
    fn texts_of_the_manual() {
        assert_eq!(names("cap_net_bind_service+ep"), Ok(vec!["cap_net_bind_service"]));
        let all = "cap_net_admin+ep cap_net_bind_service+ep cap_net_raw+ep cap_sys_resource+ep";
        assert_eq!(names(all).unwrap().len(), 4);
        assert_eq!(names("none"), Ok(vec![]));
        assert_eq!(names(""), Ok(vec![]));
        assert_eq!(names("CAP_NET_RAW,cap_chown=ep cap_chown-e"), Ok(vec!["cap_net_raw"]));
        assert_eq!(capabilities("all=ep").unwrap().len(), NAMES.len());
        assert_eq!(names("cap_net_raw+e"), Ok(vec![]));
    }

    #[test]
    fn what_cannot_be_read_is_named() {
        assert_eq!(names("cap_net_everything+ep"), Err("cap_net_everything".to_string()));
        assert_eq!(names("cap_net_raw"), Err("cap_net_raw".to_string()));
        assert_eq!(names("cap_net_raw+x"), Err("cap_net_raw+x".to_string()));
        assert!(NAMES.is_sorted());
    }
}
