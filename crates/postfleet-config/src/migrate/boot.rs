//! `eccluster-client.conf`, which told a 2.x node where its configuration comes from, to `cluster.boot`.

use alloc::format;
use alloc::string::{String, ToString as _};
use alloc::vec::Vec;

use super::Converted;
use crate::source::narrow;

const KEYS: [&str; 4] = ["ENABLED", "ECCMGR", "CONFIG", "NODENAME"];

fn pair(line: &str) -> Option<(&str, &str)> {
    let (key, value) = line.split_once('=')?;
    let value = value.trim();
    let value = value.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')).unwrap_or(value);
    KEYS.contains(&key.trim()).then_some((key.trim(), value))
}

/// Whether the text consists of such lines, in capitals, and names the manager.
pub(super) fn is_client_file(text: &str) -> bool {
    let mut manager = false;
    for line in text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#')) {
        match pair(line) {
            Some((key, _)) => manager |= key == "ECCMGR",
            None => return false,
        }
    }
    manager
}

pub(super) fn migrate(text: &str, comments: bool) -> Converted {
    let mut out = String::new();
    let mut notes: Vec<(u32, String)> = Vec::new();
    if !text.lines().any(|line| line.trim_start().starts_with("cluster_name")) {
        out.push_str("cluster_name = default\n");
    }
    for (at, line) in text.lines().enumerate() {
        let number = narrow(at + 1);
        let line = line.trim();
        if line.starts_with('#') {
            if comments {
                out.push_str(line);
                out.push('\n');
            }
            continue;
        }
        let Some((key, value)) = pair(line) else {
            continue;
        };
        let note = match key {
            "NODENAME" => {
                out.push_str(&format!("node_name = {}\n", value.to_ascii_lowercase()));
                continue;
            }
            "ECCMGR" => {
                out.push_str(&format!("repo = {value}\n"));
                continue;
            }
            "ENABLED" => {
                let on = crate::value::boolean(value).unwrap_or(!value.eq_ignore_ascii_case("n"));
                out.push_str(if on { "autoupdate = true\n" } else { "autoupdate = false\n" });
                continue;
            }
            _ => format!("CONFIG = {value} is left out: the configuration is looked for on the search path"),
        };
        if comments {
            out.push_str(&format!("# note: {note}\n"));
        }
        notes.push((number, note.to_string()));
    }
    Converted { text: out, notes }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_client_file_becomes_a_boot_file() {
        let text =
            "# the manager\nENABLED=yes\nECCMGR=mgr.example.net\nCONFIG=/opt/ecelerity/etc\nNODENAME=MX1\n";
        assert!(is_client_file(text));
        let found = migrate(text, true);
        let boot = crate::identity::cluster_boot(&found.text);
        assert_eq!(boot.cluster_name.as_deref(), Some("default"));
        assert_eq!(boot.node_name.as_deref(), Some("mx1"));
        assert!(boot.warnings.is_empty(), "{:?}", boot.warnings);
        assert_eq!(found.notes.len(), 1);
        assert!(!is_client_file("Hostname = x\n") && !is_client_file(""));
        assert!(!migrate(text, false).text.contains('#'));
    }
}
