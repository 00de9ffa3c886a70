//! What kind of failure a reply tells of.

use crate::mail::codes;

/// The classification code of a permanent failure: by its enhanced status code (RFC 3463) first, then by words that
/// servers use, then by the place in the dialogue.
#[must_use]
pub fn classify(reply: &str, stage: u8) -> u8 {
    let lower = reply.to_ascii_lowercase();
    let says = |words: &[&str]| words.iter().any(|word| lower.contains(word));
    let (code, enhanced) = codes(reply);
    let status = enhanced.and_then(|enhanced| enhanced.split_once('.')).map(|(_, status)| status);
    if says(&["relay access denied", "relaying denied", "not permitted to relay", "relay not permitted"]) {
        return 54;
    }
    match status {
        Some("1.1" | "1.3" | "1.6" | "2.1") => return 10,
        Some("1.2" | "1.10" | "4.3" | "4.4") => return 21,
        Some("2.2") => return 22,
        Some("2.3" | "3.4") => return 23,
        Some("4.1" | "4.2" | "4.7") => return 24,
        Some("3.0" | "3.1" | "3.5") => return 25,
        Some("6.0") if says(&["attachment"]) => return 53,
        Some(status) if status.starts_with("7.") => {
            return if says(&["attachment"]) {
                53
            } else if says(&["spam content", "content rejected", "message content"]) {
                52
            } else if says(&["spam", "blacklist", "blocklist", "reputation", "dnsbl", "rbl"]) {
                51
            } else {
                50
            };
        }
        Some(_) | None => {}
    }
    if says(&["user unknown", "unknown user", "no such user", "does not exist", "mailbox unavailable"]) {
        10
    } else if says(&["quota", "mailbox full", "mailbox is full"]) {
        22
    } else if says(&["spam"]) {
        51
    } else {
        match (code, stage) {
            // A recipient that the server refused, and did not say why.
            (Some("550" | "551" | "553"), 4 | 5) => 10,
            (Some("552"), _) => 23,
            (Some(_), 2..=9) => 40,
            (Some(_) | None, _) => 1,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn replies_and_their_classes() {
        for (reply, stage, class) in [
            ("550 5.1.1 <carol@mail.example> unknown", 5, 10),
            ("552 5.2.2 mailbox of <carol@mail.example> is full", 21, 22),
            ("556 5.1.10 [internal] NULL MX domain does not accept mail", 0, 21),
            ("552 5.3.4 too big", 3, 23),
            ("554 5.4.7 [internal] exceeded max time without delivery", 0, 24),
            ("554 5.7.1 Relay access denied", 5, 54),
            ("550 5.7.1 blocked for spam", 3, 51),
            ("550 5.7.1 no", 3, 50),
            ("552 5.7.0 this attachment is not wanted", 9, 53),
            ("550 no such user here", 5, 10),
            ("550 go away", 5, 10),
            ("554 no", 9, 40),
            ("something", 0, 1),
            ("", 22, 1),
        ] {
            assert_eq!(classify(reply, stage), class, "{reply}");
        }
    }
}
