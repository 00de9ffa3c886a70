//! Delivery status notifications (RFC 3461, 3464): the text of a bounce.

use alloc::format;
use alloc::string::{String, ToString as _};
use alloc::vec::Vec;

use postfleet_types::WallTime;

/// What a bounce returns of the message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Returned<'a> {
    /// Nothing.
    Nothing,
    /// Its header section.
    Headers(&'a [u8]),
    /// All of it.
    All(&'a [u8]),
}

/// One recipient that got nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failed<'a> {
    /// The address.
    pub recipient: &'a str,
    /// `ORCPT=` as it was given: `rfc822;address`.
    pub original: Option<&'a str>,
    /// The reply that says why, with its code: `550 5.1.1 no such user`.
    pub reply: &'a str,
    /// The host that said it; none when this node did.
    pub remote: Option<&'a str>,
}

/// A report that a message could not be delivered.
#[derive(Clone, Debug)]
pub struct Bounce<'a> {
    /// The name of this host.
    pub hostname: &'a str,
    /// `MailerDaemon`.
    pub from: &'a str,
    /// The sender of the message that failed. Never the null sender: nobody answers a report.
    pub to: &'a str,
    /// The id of the report.
    pub id: &'a str,
    /// When it is written.
    pub at: WallTime,
    /// When the message was accepted.
    pub arrived: WallTime,
    /// `ENVID=` of the message.
    pub envelope_id: Option<&'a str>,
    /// At least one.
    pub failed: &'a [Failed<'a>],
    /// What is returned.
    pub returned: Returned<'a>,
    /// The returned part has octets above 127.
    pub eight_bit: bool,
}

impl Bounce<'_> {
    /// The whole message, with CR LF at the ends of lines.
    #[must_use]
    pub fn write(&self) -> Vec<u8> {
        let left: String = self.id.chars().map(|c| if matches!(c, '/' | '-') { '.' } else { c }).collect();
        // A line of the returned text that looks like the boundary would end the part too early.
        let mut boundary = format!("report-{left}");
        let returned = match self.returned {
            Returned::Nothing => &[][..],
            Returned::Headers(octets) | Returned::All(octets) => octets,
        };
        while contains(returned, boundary.as_bytes()) {
            boundary.push('x');
        }
        let date = self.at.civil().rfc5322();
        let mut text = format!(
            "Date: {date}\r\nFrom: Mail Delivery System <{from}>\r\nTo: <{to}>\r\n\
             Subject: Delivery Status Notification (Failure)\r\nMessage-ID: <{left}@{host}>\r\n\
             Auto-Submitted: auto-replied\r\nMIME-Version: 1.0\r\n\
             Content-Type: multipart/report; report-type=delivery-status;\r\n\tboundary=\"{boundary}\"\r\n\r\n\
             --{boundary}\r\nContent-Type: text/plain; charset=utf-8\r\n\r\n\
             This is the mail relay at {host}.\r\n\r\n\
             Your message could not be delivered to:\r\n",
            from = line(self.from),
            to = line(self.to),
            host = self.hostname,
        );
        for failed in self.failed {
            let by = failed.remote.map_or(String::new(), |host| format!("{} said: ", line(host)));
            text.push_str(&format!("\r\n<{}>\r\n    {by}{}\r\n", line(failed.recipient), line(failed.reply)));
        }
        text.push_str(&format!(
            "\r\n--{boundary}\r\nContent-Type: message/delivery-status\r\n\r\nReporting-MTA: dns; {}\r\n",
            self.hostname
        ));
        if let Some(id) = self.envelope_id {
            text.push_str(&format!("Original-Envelope-Id: {}\r\n", line(id)));
        }
        text.push_str(&format!("Arrival-Date: {}\r\n", self.arrived.civil().rfc5322()));
        for failed in self.failed {
            text.push_str("\r\n");
            if let Some(original) = failed.original {
                text.push_str(&format!("Original-Recipient: {}\r\n", line(original)));
            }
            text.push_str(&format!(
                "Final-Recipient: rfc822; {}\r\nAction: failed\r\nStatus: {}\r\n",
                line(failed.recipient),
                status(failed.reply)
            ));
            if let Some(host) = failed.remote {
                text.push_str(&format!("Remote-MTA: dns; {}\r\n", line(host)));
            }
            text.push_str(&format!("Diagnostic-Code: smtp; {}\r\n", line(failed.reply)));
            text.push_str(&format!("Last-Attempt-Date: {date}\r\n"));
        }
        let mut octets = text.into_bytes();
        let kind = match self.returned {
            Returned::Nothing => None,
            Returned::Headers(_) => Some("text/rfc822-headers"),
            Returned::All(_) => Some("message/rfc822"),
        };
        if let Some(kind) = kind {
            let encoding = if self.eight_bit { "Content-Transfer-Encoding: 8bit\r\n" } else { "" };
            octets.extend(format!("\r\n--{boundary}\r\nContent-Type: {kind}\r\n{encoding}\r\n").into_bytes());
            octets.extend_from_slice(returned);
            if !returned.ends_with(b"\r\n") {
                octets.extend_from_slice(b"\r\n");
            }
        }
        octets.extend(format!("\r\n--{boundary}--\r\n").into_bytes());
        octets
    }
}

/// The status of a reply (RFC 3463): its own, when it has one that fits its code, else one that says as little.
#[must_use]
pub fn status(reply: &str) -> String {
    let mut words = reply.split_whitespace();
    let code = words.next().unwrap_or_default();
    let class = code.get(..1).filter(|class| matches!(*class, "4" | "5")).unwrap_or("5");
    let given = words.next().filter(|word| {
        let mut parts = word.split('.');
        let number = |part: Option<&str>| {
            part.is_some_and(|part| (1..=3).contains(&part.len()) && part.bytes().all(|b| b.is_ascii_digit()))
        };
        parts.next() == Some(class) && number(parts.next()) && number(parts.next()) && parts.next().is_none()
    });
    match given {
        // There is no such domain.
        Some("5.4.4") if reply.contains("Domain Lookup Failed") => "5.1.2".to_string(),
        Some(given) => given.to_string(),
        None => format!("{class}.0.0"),
    }
}

/// Text from outside on one line of a header.
fn line(text: &str) -> String {
    let clean: String = text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    // Below the 998 octets that a line may have.
    let end = clean.char_indices().map(|(at, _)| at).find(|at| *at >= 800).unwrap_or(clean.len());
    clean.get(..end).unwrap_or_default().to_string()
}

fn contains(text: &[u8], part: &[u8]) -> bool {
    memchr::memmem::find(text, part).is_some()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bounce<'a>(failed: &'a [Failed<'a>], returned: Returned<'a>) -> Bounce<'a> {
        Bounce {
            hostname: "relay.example",
            from: "MAILER-DAEMON@relay.example",
            to: "sender@example.org",
            id: "00/00-02001-C6DD1CA4",
            at: WallTime::from_unix_seconds(1_900_000_000),
            arrived: WallTime::from_unix_seconds(1_899_999_000),
            envelope_id: Some("e1"),
            failed,
            returned,
            eight_bit: false,
        }
    }

    #[test]
    fn mta_10_a_bounce_has_three_parts() {
        let failed = [Failed {
            recipient: "nobody@d.example",
            original: Some("rfc822;nobody@o.example"),
            reply: "550 5.1.1 no such user",
            remote: Some("mx.d.example"),
        }];
        let text = String::from_utf8(bounce(&failed, Returned::Headers(b"Subject: hi\r\n")).write()).unwrap();
        let expected = "Date: Sun, 17 Mar 2030 17:46:40 +0000\r\n\
From: Mail Delivery System <MAILER-DAEMON@relay.example>\r\n\
To: <sender@example.org>\r\n\
Subject: Delivery Status Notification (Failure)\r\n\
Message-ID: <00.00.02001.C6DD1CA4@relay.example>\r\n\
Auto-Submitted: auto-replied\r\n\
MIME-Version: 1.0\r\n\
Content-Type: multipart/report; report-type=delivery-status;\r\n\
\tboundary=\"report-00.00.02001.C6DD1CA4\"\r\n\
\r\n\
--report-00.00.02001.C6DD1CA4\r\n\
Content-Type: text/plain; charset=utf-8\r\n\
\r\n\
This is the mail relay at relay.example.\r\n\
\r\n\
Your message could not be delivered to:\r\n\
\r\n\
<nobody@d.example>\r\n\
\x20   mx.d.example said: 550 5.1.1 no such user\r\n\
\r\n\
--report-00.00.02001.C6DD1CA4\r\n\
Content-Type: message/delivery-status\r\n\
\r\n\
Reporting-MTA: dns; relay.example\r\n\
Original-Envelope-Id: e1\r\n\
Arrival-Date: Sun, 17 Mar 2030 17:30:00 +0000\r\n\
\r\n\
Original-Recipient: rfc822;nobody@o.example\r\n\
Final-Recipient: rfc822; nobody@d.example\r\n\
Action: failed\r\n\
Status: 5.1.1\r\n\
Remote-MTA: dns; mx.d.example\r\n\
Diagnostic-Code: smtp; 550 5.1.1 no such user\r\n\
Last-Attempt-Date: Sun, 17 Mar 2030 17:46:40 +0000\r\n\
\r\n\
--report-00.00.02001.C6DD1CA4\r\n\
Content-Type: text/rfc822-headers\r\n\
\r\n\
Subject: hi\r\n\
\r\n\
--report-00.00.02001.C6DD1CA4--\r\n";
        assert_eq!(text, expected);
    }

    #[test]
    fn nobody_ends_a_part_or_a_line_from_inside() {
        let failed = [Failed {
            recipient: "a\r\nX: y@d.example",
            original: None,
            reply: "550 no\r\nAction: x",
            remote: None,
        }];
        let forged = b"--report-00.00.02001.C6DD1CA4--\r\n";
        let text = String::from_utf8(bounce(&failed, Returned::All(forged)).write()).unwrap();
        assert!(text.contains("boundary=\"report-00.00.02001.C6DD1CA4x\""), "{text}");
        assert!(!text.contains("\nX:") && text.matches("\nAction:").count() == 1, "{text}");
    }

    #[test]
    fn the_status_is_that_of_the_reply() {
        for (reply, expected) in [
            ("550 5.1.1 no", "5.1.1"),
            ("550 no", "5.0.0"),
            ("550 4.1.1 no", "5.0.0"),
            ("451 4.4.1 [internal] x", "4.4.1"),
            ("554 5.4.4 [internal] Domain Lookup Failed", "5.1.2"),
            ("554 5.4.7777 x", "5.0.0"),
            ("", "5.0.0"),
        ] {
            assert_eq!(status(reply), expected, "{reply}");
        }
    }
}
