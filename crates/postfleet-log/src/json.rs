//! Records of the mainlog as JSON, one object a line.

use alloc::format;
use alloc::string::{String, ToString as _};

use crate::mail::{MailRecord, Names, seconds, stage_text};

/// The longest line, in octets: collectors drop files with longer ones.
const LINE_OCTETS_MAX: usize = 16 * 1024;

/// The line of a record, without its end. `cluster` is the node and its subcluster.
#[must_use]
pub fn json(record: &MailRecord<'_>, names: &Names<'_>, cluster: (&str, &str)) -> String {
    let line = object(record, names, cluster, usize::MAX);
    if line.len() <= LINE_OCTETS_MAX {
        return line;
    }
    // Escapes take six octets at most.
    object(record, names, cluster, 1024)
}

fn object(
    record: &MailRecord<'_>,
    names: &Names<'_>,
    (node, subcluster): (&str, &str),
    most: usize,
) -> String {
    let mut out = Object(String::from("{\"v\":1"));
    let kind = match record {
        MailRecord::Reception(_) => "Reception",
        MailRecord::Handover(handover) => {
            if handover.moved {
                "XferOut"
            } else {
                "Delivery"
            }
        }
        MailRecord::Failure(failure) => {
            if failure.permanent {
                "PermanentFailure"
            } else {
                "TransientFailure"
            }
        }
    };
    let civil = names.at.civil();
    out.text("type", kind);
    out.text(
        "ts",
        &format!(
            "{:04}-{:02}-{:02}T{:02}:{:02}:{:02}.{:03}000Z",
            civil.year,
            civil.month,
            civil.day,
            civil.hour,
            civil.minute,
            civil.second,
            names.at.unix_millis() % 1000
        ),
    );
    out.number("timestamp", names.at.unix_seconds());
    out.text("node", node);
    out.text("subcluster", subcluster);
    out.text("id", names.message);
    out.text("batch_id", names.batch);
    out.text("conn_id", names.connection);
    match record {
        MailRecord::Reception(of) => {
            out.text("recipient", &address(of.recipient));
            out.text("recipient_domain", of.recipient.1);
            // The one key that says something when it is empty.
            out.raw("sender", &quoted(&address(of.sender)));
            out.text("sender_domain", of.sender.1);
            out.text("peer_ip", &of.from.map(|from| from.to_string()).unwrap_or_default());
            out.number("size", of.octets);
            out.text("reception_protocol", of.protocol);
            out.text("binding_group", names.binding_group);
            out.text("binding", names.binding);
        }
        MailRecord::Handover(of) => {
            out.text("domain", of.domain);
            out.number("size", of.octets);
            out.text("binding_group", names.binding_group);
            out.text("binding", names.binding);
            out.number("retries", u64::from(of.retries));
            out.raw("elapsed", &seconds(of.elapsed, 3));
            out.text("peer_ip", &of.to.to_string());
        }
        MailRecord::Failure(of) => {
            out.text("domain", of.domain);
            out.number("bytes_sent", of.octets_sent);
            out.text("binding_group", names.binding_group);
            out.text("binding", names.binding);
            out.number("retries", u64::from(of.retries));
            out.raw("elapsed", &seconds(of.elapsed, 2));
            out.text("peer_ip", &of.by.map(|by| by.to_string()).unwrap_or_default());
            out.number("stage", u64::from(of.stage));
            out.text("stage_name", stage_text(of.stage));
            let (code, enhanced) = codes(of.reply);
            if let Some(code) = code {
                out.raw("code", code);
            }
            out.text("enhanced_code", enhanced.unwrap_or_default());
            out.raw("internal", if of.reply.contains("[internal]") { "true" } else { "false" });
            let end = of.reply.char_indices().map(|(at, _)| at).find(|at| *at >= most);
            let cut = of.reply.get(..end.unwrap_or(of.reply.len())).unwrap_or_default();
            out.text("response", cut);
            if end.is_some() {
                out.raw("truncated", "true");
            }
        }
    }
    out.0.push('}');
    out.0
}

struct Object(String);

impl Object {
    fn raw(&mut self, key: &str, value: &str) {
        self.0.push_str(&format!(",\"{key}\":{value}"));
    }
    /// Nothing when it is empty.
    fn text(&mut self, key: &str, value: &str) {
        if !value.is_empty() {
            self.raw(key, &quoted(value));
        }
    }
    fn number(&mut self, key: &str, value: u64) {
        self.raw(key, &value.to_string());
    }
}

fn address((local, domain): (&str, &str)) -> String {
    if local.is_empty() && domain.is_empty() { String::new() } else { format!("{local}@{domain}") }
}

/// The codes a reply begins with.
fn codes(reply: &str) -> (Option<&str>, Option<&str>) {
    let digits = |text: &&str| !text.is_empty() && text.bytes().all(|octet| octet.is_ascii_digit());
    let code = reply.get(..3).filter(digits);
    let enhanced = reply.get(4..).and_then(|rest| rest.split([' ', '\r', '\n']).next());
    let enhanced = enhanced.filter(|word| {
        word.split('.').count() == 3
            && word.split('.').all(|part| digits(&part))
            && reply.starts_with(word.get(..1).unwrap_or(" "))
    });
    (code, enhanced)
}

fn quoted(text: &str) -> String {
    let mut out = String::from("\"");
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            c if u32::from(c) < 0x20 => out.push_str(&format!("\\u{:04x}", u32::from(c))),
            c => out.push(c),
        }
    }
    out.push('"');
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mail::samples::{failure, handover, names, reception};

    #[test]
    fn logging_a41_a_permanent_failure_as_json() {
        let line = json(
            &failure("550 5.1.1 <carol@mail.example> unknown"),
            &names(1_700_000_110),
            ("relay-0-1", "default"),
        );
        assert_eq!(
            line,
            "{\"v\":1,\"type\":\"PermanentFailure\",\"ts\":\"2023-11-14T22:15:10.000000Z\",\
             \"timestamp\":1700000110,\"node\":\"relay-0-1\",\"subcluster\":\"default\",\
             \"id\":\"20/00-04711-461F3556\",\"batch_id\":\"30/00-04711-461F3556\",\
             \"conn_id\":\"10/00-04711-361F3556\",\"domain\":\"mail.example\",\"bytes_sent\":57,\
             \"binding_group\":\"bulk\",\"binding\":\"bulk-1\",\"retries\":1,\"elapsed\":9.31,\
             \"peer_ip\":\"198.51.100.7\",\"stage\":5,\"stage_name\":\"after RCPT TO\",\"code\":550,\
             \"enhanced_code\":\"5.1.1\",\"internal\":false,\
             \"response\":\"550 5.1.1 <carol@mail.example> unknown\"}"
        );
    }

    #[test]
    fn logging_17_2_other_records_and_long_replies() {
        let cluster = ("n", "default");
        assert!(json(&handover(false), &names(1), cluster).contains("\"type\":\"Delivery\""));
        let line = json(&reception("carol", "mail.example", "esmtp"), &names(1), cluster);
        assert!(
            line.contains("\"recipient\":\"carol@mail.example\"") && line.contains("\"size\":4821"),
            "{line}"
        );
        let long = "\u{1}\"".repeat(20_000);
        let line = json(&failure(&long), &names(1), cluster);
        assert!(line.len() <= LINE_OCTETS_MAX && line.ends_with("\"truncated\":true}"), "{}", line.len());
        assert!(
            json(&failure("550-5.1.1 a\r\n550 b"), &names(1), cluster)
                .contains("\"response\":\"550-5.1.1 a\\r\\n550 b\"")
        );
    }
}
