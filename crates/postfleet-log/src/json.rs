//! Records of the mainlog as JSON, one object a line.

use alloc::format;
use alloc::string::{String, ToString as _};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use postfleet_types::WallTime;

use crate::account::{Authentication, Authorization, Verdict};
use crate::bounce::{BounceKind, BounceRecord, class_category, class_name};
use crate::mail::{MailRecord, Names, codes, seconds, stage_text};
use crate::reject::RejectRecord;

/// The longest line, in octets: collectors drop files with longer ones.
const LINE_OCTETS_MAX: usize = 16 * 1024;

/// The line of a record, without its end. `cluster` is the node and its subcluster.
#[must_use]
pub fn json(record: &MailRecord<'_>, names: &Names<'_>, cluster: (&str, &str)) -> String {
    fitting(|most| object(record, names, cluster, most))
}

fn object(record: &MailRecord<'_>, names: &Names<'_>, cluster: (&str, &str), most: usize) -> String {
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
    let mut out = Object::of(kind, names.at, cluster);
    let mut cut = false;
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
            out.codes(&String::from_utf8_lossy(of.reply));
            out.raw("internal", if of.internal { "true" } else { "false" });
            cut = out.cut_octets("response", of.reply, most);
        }
    }
    out.end(cut)
}

/// The line of a heartbeat.
#[must_use]
pub fn json_heartbeat(at: WallTime, cluster: (&str, &str)) -> String {
    Object::of("Heartbeat", at, cluster).end(false)
}

/// The line of a record of the bouncelog; none for messages that are not logged (Subscribe).
#[must_use]
pub fn json_bounce(record: &BounceRecord<'_>, names: &Names<'_>, cluster: (&str, &str)) -> Option<String> {
    (record.class != 80).then(|| {
        fitting(|most| {
            let mut out = Object::of("Bounce", names.at, cluster);
            if record.kind == BounceKind::Transient {
                out.raw("transient", "true");
            }
            out.text("id", names.message);
            out.text("batch_id", names.batch);
            out.text("conn_id", names.connection);
            out.text("recipient", &address(record.recipient));
            out.text("recipient_domain", record.recipient.1);
            out.raw("sender", &quoted(&address(record.sender)));
            out.text("sender_domain", record.sender.1);
            out.text("binding_group", names.binding_group);
            out.text("binding", names.binding);
            out.number("stage", u64::from(record.stage));
            out.text("stage_name", stage_text(record.stage));
            out.number("class", u64::from(record.class));
            out.text("class_name", class_name(record.class));
            out.text("category", class_category(record.class));
            out.raw("in_band", if record.stage == 21 { "false" } else { "true" });
            out.number("size", record.octets);
            out.text("peer_ip", &record.by.map(|by| by.to_string()).unwrap_or_default());
            out.codes(&String::from_utf8_lossy(record.text));
            let cut = out.cut_octets("response", record.text, most);
            out.end(cut)
        })
    })
}

/// The line of a record of the rejectlog.
#[must_use]
pub fn json_rejection(record: &RejectRecord<'_>, cluster: (&str, &str)) -> String {
    fitting(|most| {
        let mut out = Object::of("Rejection", record.at, cluster);
        out.text("peer", &record.remote.to_string());
        out.text("local", &record.local.to_string());
        out.text("conn_id", record.connection);
        out.text("pathway", record.pathway);
        out.text("pathway_group", record.pathway_group);
        out.text("phase", record.phase.as_str());
        out.number("code", u64::from(record.code));
        out.text("module", record.module);
        let mut cut = out.pairs("ctx_conn", record.connection_context, most);
        cut |= out.pairs("ctx_mess", record.message_context, most);
        cut |= out.cut("response", record.text, most);
        out.end(cut)
    })
}

/// The line of an authentication.
#[must_use]
pub fn json_authentication(record: &Authentication<'_>, cluster: (&str, &str)) -> String {
    let mut out = Object::of("AuthN", record.at, cluster);
    out.text("listener", record.listener);
    out.text("peer", record.peer);
    out.text("user", record.user);
    out.text(
        "result",
        match (record.timed_out, record.success) {
            (true, _) => "timeout",
            (false, true) => "success",
            (false, false) => "failure",
        },
    );
    out.end(false)
}

/// The line of an authorization.
#[must_use]
pub fn json_authorization(record: &Authorization<'_>, cluster: (&str, &str)) -> String {
    fitting(|most| {
        let mut out = Object::of("AuthZ", record.at, cluster);
        out.text("listener", record.listener);
        out.text("peer", record.peer);
        out.text("user", record.user);
        let (result, role) = match record.verdict {
            Verdict::Allowed(role) => ("allowed", role),
            Verdict::Denied => ("denied", ""),
            Verdict::Error => ("error", ""),
        };
        out.text("result", result);
        let cut = out.cut("command", record.command, most);
        out.text("role", role);
        out.end(cut)
    })
}

/// The line of a record of the paniclog. `level` is the word of a severity in lower case.
#[must_use]
pub fn json_panic(
    at: WallTime,
    level: &str,
    (subsystem, module): (&str, &str),
    message: &str,
    cluster: (&str, &str),
) -> String {
    fitting(|most| {
        let mut out = Object::of("Panic", at, cluster);
        out.text("level", &level.to_ascii_uppercase());
        out.text("subsystem", subsystem);
        out.text("module", module);
        let cut = out.cut("message", message, most);
        out.end(cut)
    })
}

/// The whole line when it is not too long; otherwise the one with texts cut to what fits whatever they hold.
fn fitting(line: impl Fn(usize) -> String) -> String {
    let mut most = usize::MAX;
    loop {
        let made = line(most);
        if made.len() <= LINE_OCTETS_MAX || most == 0 {
            return made;
        }
        most = if most == usize::MAX { 1024 } else { most / 4 };
    }
}

struct Object(String);

impl Object {
    /// The codes of a reply.
    fn codes(&mut self, reply: &str) {
        let (code, enhanced) = codes(reply);
        if let Some(code) = code {
            self.raw("code", code);
        }
        self.text("enhanced_code", enhanced.unwrap_or_default());
    }

    /// The first octets of a text, and whether there were more.
    fn cut(&mut self, key: &str, text: &str, most: usize) -> bool {
        self.cut_octets(key, text.as_bytes(), most)
    }

    /// The same of octets. Of those that are no UTF-8 the text has a sign in their place, and `KEY_b64` has what they were.
    fn cut_octets(&mut self, key: &str, octets: &[u8], most: usize) -> bool {
        // Not in the middle of a character.
        let within = |end: &usize| octets.get(*end).is_none_or(|next| next & 0xC0 != 0x80);
        let end = most.min(octets.len());
        let end = (end.saturating_sub(3)..=end).rev().find(within).unwrap_or(end);
        let kept = octets.get(..end).unwrap_or_default();
        match core::str::from_utf8(kept) {
            Ok(text) => self.text(key, text),
            Err(_) => {
                self.text(key, &String::from_utf8_lossy(kept));
                self.text(&format!("{key}_b64"), &STANDARD.encode(kept));
            }
        }
        kept.len() < octets.len()
    }

    /// An object of texts: as many pairs as there is room for, and whether there were more.
    fn pairs(&mut self, key: &str, pairs: &[(&str, &str)], most: usize) -> bool {
        let mut inside = Self(String::new());
        let (mut room, mut cut) = (most, false);
        for (name, value) in pairs {
            let octets = name.len().saturating_add(value.len());
            if octets > room {
                cut = true;
                break;
            }
            room -= octets;
            inside.0.push_str(&format!(",{}:{}", quoted(name), quoted(value)));
        }
        let list = inside.0.get(1..).unwrap_or_default();
        if !list.is_empty() {
            self.raw(key, &format!("{{{list}}}"));
        }
        cut
    }

    /// The finished line.
    fn end(mut self, cut: bool) -> String {
        if cut {
            self.raw("truncated", "true");
        }
        self.0.push('}');
        self.0
    }

    /// The keys that every record has.
    fn of(kind: &str, at: WallTime, (node, subcluster): (&str, &str)) -> Self {
        let mut out = Self(String::from("{\"v\":1"));
        let civil = at.civil();
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
                at.unix_millis() % 1000
            ),
        );
        out.number("timestamp", at.unix_seconds());
        out.text("node", node);
        out.text("subcluster", subcluster);
        out
    }

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
    use crate::mail::Failure;
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
    fn logging_17_2_a_reply_is_internal_because_this_node_made_it_and_not_by_its_words() {
        let MailRecord::Failure(of) = failure("550 5.1.1 [internal] no such user") else { panic!() };
        for internal in [false, true] {
            let record = MailRecord::Failure(Failure { internal, ..of });
            let line = json(&record, &names(1), ("n", "default"));
            assert!(line.contains(&format!("\"internal\":{internal},")), "{line}");
        }
    }

    #[test]
    fn logging_17_2_what_is_no_utf_8_is_there_in_base64_too() {
        let MailRecord::Failure(of) = failure("") else { panic!() };
        let line =
            |reply: &[u8]| json(&MailRecord::Failure(Failure { reply, ..of }), &names(1), ("n", "default"));
        let latin = line(b"550 5.1.1 \xfcber");
        assert!(
            latin.ends_with(
                "\"response\":\"550 5.1.1 \u{fffd}ber\",\"response_b64\":\"NTUwIDUuMS4xIPxiZXI=\"}"
            ),
            "{latin}"
        );
        assert!(latin.contains("\"enhanced_code\":\"5.1.1\""), "{latin}");
        assert!(!line("550 \u{fc}".as_bytes()).contains("_b64"));
        let long = line(&[&b"550 "[..], &[0xfc; 30_000]].concat());
        assert!(long.len() <= LINE_OCTETS_MAX && long.ends_with(",\"truncated\":true}"), "{}", long.len());
        let cut = line("550 \u{fc}".repeat(5000).as_bytes());
        assert!(!cut.contains("_b64") && cut.contains("\"truncated\""), "{cut}");
        for (octets, text) in
            [(&b""[..], ""), (b"f", "Zg=="), (b"fo", "Zm8="), (b"foo", "Zm9v"), (b"foob", "Zm9vYg==")]
        {
            assert_eq!(STANDARD.encode(octets), text);
        }
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

    #[test]
    fn logging_17_2_bounces_rejections_accounts_and_panics() {
        let cluster = ("n", "default");
        let common = |kind: &str, at: &str, unix: u64| {
            format!(
                "{{\"v\":1,\"type\":\"{kind}\",\"ts\":\"{at}.000000Z\",\"timestamp\":{unix},\"node\":\"n\",\"subcluster\":\"default\""
            )
        };
        let bounce = BounceRecord {
            kind: BounceKind::Bounce,
            recipient: ("carol", "mail.example"),
            sender: ("", ""),
            stage: 21,
            class: 22,
            octets: 4903,
            by: Some([198, 51, 100, 7].into()),
            text: b"552 5.2.2 full",
            user: None,
        };
        assert_eq!(
            json_bounce(&bounce, &names(1_700_003_600), cluster).unwrap(),
            common("Bounce", "2023-11-14T23:13:20", 1_700_003_600)
                + ",\"id\":\"20/00-04711-461F3556\",\"batch_id\":\"30/00-04711-461F3556\",\"conn_id\":\"10/00-04711-361F3556\",\
                   \"recipient\":\"carol@mail.example\",\"recipient_domain\":\"mail.example\",\"sender\":\"\",\
                   \"binding_group\":\"bulk\",\"binding\":\"bulk-1\",\"stage\":21,\"stage_name\":\"out of band bounce\",\
                   \"class\":22,\"class_name\":\"Mailbox Full\",\"category\":\"Soft\",\"in_band\":false,\"size\":4903,\
                   \"peer_ip\":\"198.51.100.7\",\"code\":552,\"enhanced_code\":\"5.2.2\",\"response\":\"552 5.2.2 full\"}"
        );
        let transient = BounceRecord { kind: BounceKind::Transient, ..bounce };
        assert!(json_bounce(&transient, &names(1), cluster).unwrap().contains(",\"transient\":true,"));
        assert_eq!(json_bounce(&BounceRecord { class: 80, ..bounce }, &names(1), cluster), None);

        let long = "x".repeat(20_000);
        let rejection = RejectRecord {
            at: WallTime::from_unix_seconds(1_700_000_000),
            remote: "192.0.2.77:51812".parse().unwrap(),
            local: "192.0.2.1:25".parse().unwrap(),
            connection: "50/00-04711-8C1F3556",
            pathway: "inbound",
            pathway_group: "edge",
            phase: crate::RejectPhase::AwaitingRcptTo,
            code: 554,
            module: "scriptlet",
            connection_context: &[("a", "1"), ("b \"", "2")],
            message_context: &[],
            text: "no\r\naccess",
        };
        assert_eq!(
            json_rejection(&rejection, cluster),
            common("Rejection", "2023-11-14T22:13:20", 1_700_000_000)
                + ",\"peer\":\"192.0.2.77:51812\",\"local\":\"192.0.2.1:25\",\"conn_id\":\"50/00-04711-8C1F3556\",\
                   \"pathway\":\"inbound\",\"pathway_group\":\"edge\",\"phase\":\"awaiting rcptto\",\"code\":554,\
                   \"module\":\"scriptlet\",\"ctx_conn\":{\"a\":\"1\",\"b \\\"\":\"2\"},\"response\":\"no\\r\\naccess\"}"
        );
        let longer =
            RejectRecord { connection_context: &[("a", "1"), ("b", &long)], text: &long, ..rejection };
        let line = json_rejection(&longer, cluster);
        assert!(line.len() <= LINE_OCTETS_MAX && line.contains("\"ctx_conn\":{\"a\":\"1\"},"), "{line}");
        assert!(line.ends_with("\"truncated\":true}"), "{line}");

        let login = Authentication {
            at: WallTime::from_unix_seconds(1_700_000_000),
            timed_out: false,
            listener: "/tmp/2025",
            peer: "",
            user: "op",
            success: true,
        };
        assert_eq!(
            json_authentication(&login, cluster),
            common("AuthN", "2023-11-14T22:13:20", 1_700_000_000)
                + ",\"listener\":\"/tmp/2025\",\"user\":\"op\",\"result\":\"success\"}"
        );
        let right = Authorization {
            at: login.at,
            listener: "/tmp/2025",
            peer: "",
            user: "op",
            command: "mailq",
            verdict: Verdict::Allowed("operators"),
        };
        assert!(json_authorization(&right, cluster).ends_with(
            "\"user\":\"op\",\"result\":\"allowed\",\"command\":\"mailq\",\"role\":\"operators\"}"
        ));
        assert_eq!(
            json_panic(login.at, "error", ("DNS", "delivery"), "a\nb", cluster),
            common("Panic", "2023-11-14T22:13:20", 1_700_000_000)
                + ",\"level\":\"ERROR\",\"subsystem\":\"DNS\",\"module\":\"delivery\",\"message\":\"a\\nb\"}"
        );
    }
}
