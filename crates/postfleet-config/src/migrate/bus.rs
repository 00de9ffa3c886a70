//! `mbus.conf`, the file of the bus that 2.x and 3.x used, to the stanza that lists the members of a bus.

use alloc::format;
use alloc::string::{String, ToString as _};
use alloc::vec::Vec;

use super::Converted;
use super::print::double;
use crate::source::narrow;

const SEGMENT: &str = "Spread_Segment";

/// Whether a line of the text opens a segment of the old bus.
pub(super) fn is_bus_file(text: &str) -> bool {
    text.lines().any(|line| {
        let line = line.trim_start();
        line.get(..SEGMENT.len()).is_some_and(|start| start.eq_ignore_ascii_case(SEGMENT))
            && line
                .get(SEGMENT.len()..)
                .is_some_and(|rest| rest.starts_with([' ', '\t']) && !rest.trim_start().starts_with('='))
    })
}

/// `Subcluster: NAME => HOST` in a comment.
fn subcluster(comment: &str) -> Option<(&str, &str)> {
    let rest = comment.trim_start_matches('#').trim();
    let (head, rest) = rest.split_once(':')?;
    if !head.trim().eq_ignore_ascii_case("Subcluster") {
        return None;
    }
    let (name, host) = rest.split_once("=>")?;
    Some((name.trim(), host.trim())).filter(|(name, host)| !name.is_empty() && !host.is_empty())
}

pub(super) fn migrate(text: &str, comments: bool) -> Converted {
    let mut peers: Vec<(String, String)> = Vec::new();
    let mut lines: Vec<String> = Vec::new();
    let mut notes: Vec<(u32, String)> = Vec::new();
    let mut head: Vec<String> = Vec::new();
    // How many braces are open: 1 in a segment, 2 in the interfaces of a member.
    let mut depth = 0_usize;
    // A brace that belongs to no segment, such as that of `DebugFlags = { … }`.
    let mut foreign = 0_usize;
    for (at, line) in text.lines().enumerate() {
        let number = narrow(at + 1);
        let (code, comment) = match line.find('#') {
            Some(start) => (line.get(..start).unwrap_or(""), line.get(start..)),
            None => (line, None),
        };
        if let Some(comment) = comment {
            if let Some((name, host)) = subcluster(comment) {
                let note = format!(
                    "{host} is in subcluster {name}: put `cluster_name = {name}` into its cluster.boot"
                );
                lines.push(format!("    # note: {note}"));
                notes.push((number, note));
            } else if depth > 0 {
                lines.push(format!("    {}", comment.trim_end()));
            } else if peers.is_empty() && lines.is_empty() {
                head.push(comment.trim_end().to_string());
            } else {
                lines.push(format!("    {}", comment.trim_end()));
            }
        }
        let code = code.trim();
        let begins = code.get(..SEGMENT.len()).is_some_and(|start| start.eq_ignore_ascii_case(SEGMENT));
        let code = if depth == 0 && foreign == 0 && begins {
            match code.split_once('{') {
                Some((_, rest)) => {
                    depth = 1;
                    rest
                }
                None => {
                    // The brace stands on a line of its own.
                    depth = 1;
                    continue;
                }
            }
        } else if depth == 0 {
            foreign =
                foreign.saturating_add(code.matches('{').count()).saturating_sub(code.matches('}').count());
            continue;
        } else {
            code
        };
        let mut words: Vec<&str> = Vec::new();
        let spaced = code.replace('{', " { ").replace('}', " } ");
        for word in spaced.split_whitespace() {
            match word {
                "{" if words.is_empty() && depth == 1 => {}
                "{" => depth += 1,
                "}" => {
                    depth = depth.saturating_sub(1);
                }
                word if depth == 1 => words.push(word),
                _ => {}
            }
            if depth == 0 {
                break;
            }
        }
        for pair in words.chunks(2) {
            let &[name, address] = pair else {
                notes.push((number, "a member without an address is left out".to_string()));
                continue;
            };
            let lower = name.to_ascii_lowercase();
            if peers.iter().any(|(other, _)| *other == lower) {
                notes.push((number, format!("{lower} is listed twice; the first address counts")));
                continue;
            }
            // The old bus may give a member a port of its own; the new one has one for all.
            let address = address
                .rsplit_once(':')
                .filter(|(host, _)| !host.contains(':'))
                .map_or(address, |(host, _)| host);
            lines.push(format!("    {} = {}", key(&lower), double(address)));
            peers.push((lower, address.to_string()));
        }
    }
    let mut out = String::new();
    if comments {
        for line in &head {
            out.push_str(line);
            out.push('\n');
        }
    }
    lines.retain(|line| comments || !line.trim_start().starts_with('#'));
    if lines.is_empty() {
        out.push_str("msgc_server {\n  peers = []\n}\n");
    } else {
        out.push_str("msgc_server {\n  peers = [\n");
        for line in &lines {
            out.push_str(line);
            out.push('\n');
        }
        out.push_str("  ]\n}\n");
    }
    Converted { text: out, notes }
}

fn key(name: &str) -> String {
    let plain = name.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.'));
    if plain { String::from(name) } else { double(name) }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SAMPLE: &str = "# members of the bus\nSocketPortReuse = AUTO\nDebugFlags = { EXIT CONFIGURATION }\n\
        EventTimeStamp\n# Subcluster: east => Relay1\nSpread_Segment 192.0.2.255:4803 {\n  Relay1 192.0.2.1\n  \
        # the second\n  relay2 192.0.2.2\n}\nSpread_Segment 198.51.100.255:4803\n{\n  mgr 198.51.100.9 { D 10.0.0.1 }\n}\n";

    #[test]
    fn members_of_all_segments_become_peers() {
        assert!(is_bus_file(SAMPLE));
        let found = migrate(SAMPLE, true);
        assert_eq!(
            found.text,
            "# members of the bus\nmsgc_server {\n  peers = [\n    # note: Relay1 is in subcluster east: put \
             `cluster_name = east` into its cluster.boot\n    relay1 = \"192.0.2.1\"\n    # the second\n    \
             relay2 = \"192.0.2.2\"\n    mgr = \"198.51.100.9\"\n  ]\n}\n"
        );
        assert_eq!(found.notes.len(), 1);
        assert_eq!(
            migrate(SAMPLE, false).text,
            "msgc_server {\n  peers = [\n    relay1 = \"192.0.2.1\"\n    relay2 = \"192.0.2.2\"\n    \
             mgr = \"198.51.100.9\"\n  ]\n}\n"
        );
    }

    #[test]
    fn a_comment_makes_no_bus_file() {
        assert!(!is_bus_file("# Spread_Segment 192.0.2.255:4803 {\nHostname = x\n"));
        assert!(!is_bus_file("msgc_server { }"));
    }
}
