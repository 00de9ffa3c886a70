//! Hosts out of `mbus.conf`, the configuration of the bus daemon of older clusters.
//!
//! ```text
//! DaemonUser = ecuser                    # settings: of no interest here
//! DebugFlags = { EXIT CONFIGURATION }
//! EventTimeStamp                         # a flag
//! Spread_Segment 10.1.0.255:4803 {       # one block for each network or subcluster
//!   relay-0-1 10.1.0.11
//!   relay-0-2 10.1.0.12
//! }
//! ```

use super::Host;
use std::net::IpAddr;

/// What is wrong with the file, and where.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: {problem}")]
pub struct PeersError {
    /// The line, from 1.
    pub line: usize,
    /// What is wrong, and what is expected.
    pub problem: String,
}

/// More hosts than any ring has; a file of another kind is not read to its end.
const HOSTS_MAX: usize = 1000;

/// Reads the hosts of all segments, in the order of the file. Names are folded to lower case.
///
/// # Errors
/// [`PeersError`] names the line.
pub fn read_mbus_conf(text: &str) -> Result<Vec<Host>, PeersError> {
    let mut hosts = Vec::new();
    let mut opened: Option<usize> = None;
    for (index, line) in text.lines().enumerate() {
        let line_number = index + 1;
        let wrong = |problem: String| PeersError { line: line_number, problem };
        let mut rest = line.split('#').next().unwrap_or_default().trim();
        if opened.is_none() {
            let Some(segment) = rest.strip_prefix("Spread_Segment") else { continue };
            let Some((_, inside)) = segment.split_once('{') else {
                return Err(wrong("a Spread_Segment is an address and a block in braces".into()));
            };
            opened = Some(line_number);
            rest = inside.trim();
        }
        let (entry, closes) = match rest.split_once('}') {
            Some((entry, _)) => (entry, true),
            None => (rest, false),
        };
        let mut words = entry.split_whitespace();
        while let Some(name) = words.next() {
            let address = words.next().ok_or_else(|| wrong(format!("host {name} has no address")))?;
            let address: IpAddr = address
                .parse()
                .map_err(|_| wrong(format!("{address} is no address; a host is a name and an IP address")))?;
            if hosts.len() >= HOSTS_MAX {
                return Err(wrong(format!("more than {HOSTS_MAX} hosts")));
            }
            let name = name.to_ascii_lowercase();
            hosts.push(Host { id: None, name, addresses: vec![address], votes: true });
        }
        if closes {
            opened = None;
        }
    }
    match opened {
        Some(line) => Err(PeersError { line, problem: "this Spread_Segment is not closed".into() }),
        None => Ok(hosts),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn hosts_of_all_segments_in_order() {
        let text = "# mbus\nSocketPortReuse = AUTO\nDebugFlags = { EXIT CONFIGURATION }\nEventTimeStamp\n\
                    Spread_Segment 10.1.0.255:4803 {\n  Relay-0-1 10.1.0.11 # first\n  relay-0-2\t10.1.0.12\n}\n\
                    Spread_Segment 10.2.0.255:4803 { relay-1-1 10.2.0.11 }\n";
        let hosts = read_mbus_conf(text).unwrap();
        let list: Vec<String> = hosts.iter().map(|h| format!("{} {}", h.name, h.addresses[0])).collect();
        assert_eq!(list, ["relay-0-1 10.1.0.11", "relay-0-2 10.1.0.12", "relay-1-1 10.2.0.11"]);
    }

    #[test]
    fn problems_have_a_line_and_a_remedy() {
        let check = |text: &str, wanted: &str| {
            assert_eq!(read_mbus_conf(text).unwrap_err().to_string(), wanted);
        };
        check(
            "\nSpread_Segment 10.1.0.255:4803",
            "line 2: a Spread_Segment is an address and a block in braces",
        );
        check("Spread_Segment x {\n a 10.0.0.1\n", "line 1: this Spread_Segment is not closed");
        check("Spread_Segment x {\n a\n}", "line 2: host a has no address");
        check("Spread_Segment x {\n a b\n}", "line 2: b is no address; a host is a name and an IP address");
    }

    proptest! {
        #[test]
        fn any_text_is_read_or_refused(text in "\\PC{0,200}|(Spread_Segment|[{}#\n ]|a|10\\.0\\.0\\.1){0,40}") {
            if let Err(error) = read_mbus_conf(&text) {
                prop_assert!(error.line >= 1 && error.line <= text.lines().count());
            }
        }
    }
}
