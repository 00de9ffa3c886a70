//! The client's dialogue with servers of every kind, as transcripts.
#![allow(clippy::unwrap_used, reason = "a test stops where something fails")]

mod peer;

use peer::{check, message};
use postfleet_smtp::client::{ClientSettings, EightBit, Stage, TlsPolicy};

fn plain() -> ClientSettings {
    ClientSettings { ehlo_hostname: "c.example".to_string(), ..ClientSettings::default() }
}

/// A dialogue up to the readiness, with a server that offers PIPELINING, then the rest.
fn pipelined(recipients: usize, rest: &str) {
    let start = "D: connected\nS: 220 mx\nC: EHLO c.example\nS: 250-mx\nS: 250 PIPELINING\nE: ready\nD: submit\n\
        C: MAIL FROM:<a@b.example>\n";
    let names = ["one", "two", "three", "four"];
    let rcpt: String =
        names.iter().take(recipients).map(|name| format!("C: RCPT TO:<{name}@example.org>\n")).collect();
    check(&plain(), &message(recipients), &format!("{start}{rcpt}C: DATA\n{rest}"));
}

/// The same with a server that offers nothing, up to MAIL.
fn stepwise(recipients: usize, rest: &str) {
    let start = "D: connected\nS: 220 mx\nC: EHLO c.example\nS: 250 mx\nE: ready\nD: submit\nC: MAIL FROM:<a@b.example>\n";
    check(&plain(), &message(recipients), &format!("{start}{rest}"));
}

const CONTENT: &str = "E: content\nC: Subject: x\nC:\nC: ..dot\nC: end\nC: .\n";

/// Case 24: a batch of three, the second refused for ever, the third for now: one transaction, three outcomes.
#[test]
fn mta_a24_a_batch_with_three_outcomes() {
    stepwise(
        3,
        &format!(
            "S: 250 ok
            C: RCPT TO:<one@example.org>
            S: 250 ok
            C: RCPT TO:<two@example.org>
            S: 550 5.1.1 nobody
            C: RCPT TO:<three@example.org>
            E: 1 permanent during RCPT TO: 550 5.1.1 nobody
            S: 451 4.2.0 later
            C: DATA
            E: 2 temporary during RCPT TO: 451 4.2.0 later
            S: 354 go
            {CONTENT}
            S: 250 2.0.0 taken
            E: 0 delivered: 250 2.0.0 taken
            E: ready
            D: 5 s
            C: QUIT
            S: 221 bye
            E: close"
        ),
    );
}

/// RFC 2920: the client sends what may go together, then reads the replies in order.
#[test]
fn mta_ext_2920_client_groups_commands() {
    let end = "S: 250 taken\nE: 0 delivered: 250 taken\nE: 1 delivered: 250 taken\nE: ready\n";
    pipelined(2, &format!("S: 250 ok\nS: 250 ok\nS: 251 ok\nS: 354 go\n{CONTENT}{end}"));
    // The next message goes over the same connection.
    let again = "D: submit\nC: MAIL FROM:<a@b.example>\nC: RCPT TO:<one@example.org>\nC: DATA\n";
    let one = format!(
        "S: 250 ok\nS: 252 ok\nS: 354 go\n{CONTENT}S: 250 taken\nE: 0 delivered: 250 taken\nE: ready\n"
    );
    pipelined(1, &format!("{one}{again}{one}D: quit\nC: QUIT\nD: closed\nE: close\n"));
}

/// RFC 2920, section 3.1: everyone was refused and DATA was not: a lone dot ends the message for nobody.
#[test]
fn mta_ext_2920_client_ends_a_message_for_nobody() {
    let refused = "S: 250 ok\nS: 550 no\nS: 450 later\nS: 354 go\nC: .\n\
        E: 0 permanent during RCPT TO: 550 no\nE: 1 temporary during RCPT TO: 450 later\n";
    pipelined(2, &format!("{refused}S: 250 taken\nE: ready"));
    pipelined(2, &format!("{refused}S: 554 nobody to send to\nC: RSET\nS: 250 ok\nE: ready"));
    pipelined(2, &format!("{refused}S: 421 bye\nE: lost"));
    let mail = "S: 450 4.7.1 later\nS: 503 no\nS: 503 no\nS: 354 go\nC: .\n\
        E: 0 temporary during MAIL FROM: 450 4.7.1 later\nE: 1 temporary during MAIL FROM: 450 4.7.1 later\n";
    pipelined(2, &format!("{mail}S: 250 taken\nE: ready"));
}

#[test]
fn refusals_of_a_group_leave_the_connection_usable() {
    pipelined(
        2,
        "S: 550 5.7.1 no\nS: 503 no\nS: 503 no\nS: 503 no\nC: RSET\n\
        E: 0 permanent during MAIL FROM: 550 5.7.1 no\nE: 1 permanent during MAIL FROM: 550 5.7.1 no\n\
        S: 250 ok\nE: ready\nD: submit\nC: MAIL FROM:<a@b.example>\nC: RCPT TO:<one@example.org>\n\
        C: RCPT TO:<two@example.org>\nC: DATA",
    );
    pipelined(
        1,
        "S: 250 ok\nS: 250 ok\nS: 451 no room\nC: RSET\nE: 0 temporary during DATA: 451 no room\nS: 250 ok\nE: ready",
    );
    pipelined(
        1,
        &format!(
            "S: 250 ok\nS: 250 ok\nS: 354 go\n{CONTENT}S: 554 5.6.0 spam\nC: RSET\n\
            E: 0 permanent reading confirmation: 554 5.6.0 spam\nS: 250 ok\nE: ready"
        ),
    );
    stepwise(
        1,
        "S: 552 5.2.2 no\nC: RSET\nE: 0 permanent during MAIL FROM: 552 5.2.2 no\nS: 250 ok\nE: ready",
    );
    // A connection that cannot be reset is of no use.
    stepwise(1, "S: 552 no\nC: RSET\nE: 0 permanent during MAIL FROM: 552 no\nS: 500 what\nE: lost");
    stepwise(
        1,
        "S: 552 no\nC: RSET\nE: 0 permanent during MAIL FROM: 552 no\nD: submit\nD: 30 s\n\
        E: 0 another connection during RSET: 451 4.4.2 [internal] no RSET response\nE: lost",
    );
}

/// 452 and 552 after an accepted recipient: the rest of the batch stays active, and nothing is counted.
#[test]
fn too_many_recipients_are_no_failure() {
    for code in ["452", "552", "452 4.5.3", "552 5.5.3"] {
        pipelined(
            2,
            &format!(
                "S: 250 ok\nS: 250 ok\nS: {code} enough\nS: 354 go\n\
                E: 1 stays active during RCPT TO: {code} enough\n{CONTENT}S: 250 taken\nE: 0 delivered: 250 taken\nE: ready"
            ),
        );
    }
    let others = "S: 250 ok\nS: 250 ok\nS: 452 4.2.2 full\nS: 552 5.2.2 full\nS: 354 go\n\
        E: 1 temporary during RCPT TO: 452 4.2.2 full\nE: 2 permanent during RCPT TO: 552 5.2.2 full\n";
    pipelined(3, &format!("{others}{CONTENT}S: 250 taken\nE: 0 delivered: 250 taken\nE: ready"));
    // Before anyone was accepted it is a refusal like any other.
    pipelined(
        1,
        "S: 250 ok\nS: 452 4.5.3 enough\nS: 503 no\nC: RSET\nE: 0 temporary during RCPT TO: 452 4.5.3 enough\nS: 250 ok\nE: ready",
    );
}

/// Each way to lose a connection, at each stage: what comes before, the stage, its word, its deadline.
#[test]
fn every_stage_can_be_the_last() {
    let greeting = "D: submit\nD: connected\n";
    let ehlo = format!("{greeting}S: 220 mx\nC: EHLO c.example\n");
    let mail = format!("{ehlo}S: 250 mx\nC: MAIL FROM:<a@b.example>\n");
    let rcpt = format!("{mail}S: 250 ok\nC: RCPT TO:<one@example.org>\n");
    let data = format!("{rcpt}S: 250 ok\nC: DATA\n");
    let held = format!("D: hold\n{data}S: 354 go\nE: content\n");
    let sent = format!("{data}S: 354 go\n{CONTENT}");
    let stages = [
        (greeting, "reading BANNER", "banner", 300),
        (&ehlo, "during EHLO", "HELO/EHLO", 300),
        (&mail, "during MAIL FROM", "MAIL FROM", 300),
        (&rcpt, "during RCPT TO", "RCPT TO", 300),
        (&data, "during DATA", "DATA", 600),
        (&held, "while sending BODY", "BODY", 600),
        (&sent, "reading confirmation", "BODY", 600),
    ];
    for (before, stage, word, seconds) in stages {
        let early = matches!(word, "banner" | "HELO/EHLO");
        let (outcome, end) =
            if early { ("another connection", "address failed") } else { ("temporary", "lost") };
        let doubt = if stage == "reading confirmation" { " in doubt" } else { "" };
        let silence = match stage {
            "reading BANNER" => "no banner".to_string(),
            "while sending BODY" => "send BODY failed".to_string(),
            _ => format!("no {word} response"),
        };
        let internal = |text: &str, doubt| {
            format!("E: 0 {outcome} {stage}{doubt}: 451 4.4.2 [internal] {text}\nE: {end}")
        };
        let run = |rest: String| check(&plain(), &message(1), &format!("{before}{rest}"));
        run(format!("D: closed\n{}", internal("connection closed by remote host", doubt)));
        run(format!("S: 25\\\nD: closed\n{}", internal("connection closed by remote host", doubt)));
        run(format!("D: write fails\n{}", internal(&format!("send {word} failed"), doubt)));
        run(format!("D: {seconds} s\n{}", internal(&silence, doubt)));
        // Half a reply is none, and does not buy time.
        run(format!("S: 250-a\nD: {seconds} s\n{}", internal(&silence, doubt)));
        let none = if word == "banner" { "no banner".to_string() } else { format!("no {word} response") };
        run(format!("S: garbage\n{}", internal(&none, doubt)));
        let long = "x".repeat(5000);
        run(format!("S: 250 {long}\\\n{}", internal(&none, doubt)));
        run(format!("S: 421 4.3.2 bye\nE: 0 {outcome} {stage}: 421 4.3.2 bye\nE: {end}"));
        run(format!("S: 421-bye\nS: 421 now\\n\\\nE: 0 {outcome} {stage}: 421 bye now\nE: {end}"));
    }
}

#[test]
fn connections_that_are_never_open() {
    let failed = |text: &str| {
        format!("E: 0 another connection while not connected: 450 4.4.1 [internal] {text}\nE: address failed")
    };
    check(&plain(), &message(1), &format!("D: submit\nD: 300 s\n{}", failed("Connection Timed Out")));
    check(&plain(), &message(1), &format!("D: submit\nD: refused\n{}", failed("Connection refused")));
    check(&plain(), &message(1), "D: refused\nE: address failed");
    check(&plain(), &message(1), "D: connected\nD: quit\nE: close");
}

/// RFC 5321 checklist, line 21: greetings and EHLO replies count by their first digit.
#[test]
fn mta_rfc5321_21_greetings() {
    for refused in ["554 5.7.1 no", "521 no", "450 later", "421 bye"] {
        let end = format!("E: 0 another connection reading BANNER: {refused}\nE: address failed");
        check(&plain(), &message(1), &format!("D: submit\nD: connected\nS: {refused}\n{end}"));
    }
    let slow = "D: connected\nS: 220-welcome\nS: 220-\nS: 220 mx ESMTP\\n\\\nC: EHLO c.example\n";
    check(&plain(), &message(1), &format!("{slow}S: 250 mx\nE: ready"));
    for refused in ["550 go away", "450 later"] {
        let end = format!("E: 0 another connection during EHLO: {refused}\nE: address failed");
        check(&plain(), &message(1), &format!("D: submit\n{slow}S: {refused}\n{end}"));
    }
    check(&plain(), &message(1), &format!("{slow}S: 354 go\nE: address failed"));
}

/// No ESMTP: HELO after 500 to 504.
#[test]
fn servers_without_ehlo_get_helo() {
    for code in 500..=504 {
        let start = format!(
            "D: submit\nD: connected\nS: 220 mx\nC: EHLO c.example\nS: {code} what\nC: HELO c.example\n"
        );
        check(
            &plain(),
            &message(1),
            &format!("{start}S: 250-mx\nS: 250 PIPELINING\nC: MAIL FROM:<a@b.example>"),
        );
        let refused = "S: 550 no\nE: 0 another connection during EHLO: 550 no\nE: address failed";
        check(&plain(), &message(1), &format!("{start}{refused}"));
    }
}

#[test]
fn replies_that_nobody_asked_for() {
    let idle = "D: connected\nS: 220 mx\nC: EHLO c.example\nS: 250 mx\nE: ready\n";
    check(&plain(), &message(1), &format!("{idle}S: 421 4.4.2 idle\nE: lost"));
    check(&plain(), &message(1), &format!("{idle}D: closed\nE: lost"));
    check(&plain(), &message(1), &format!("{idle}S: 250 ok\nE: lost"));
    // A 2xx before the content was complete delivers nothing; a refusal is believed.
    let body = "D: hold\nD: submit\nD: connected\nS: 220 mx\nC: EHLO c.example\nS: 250 mx\nC: MAIL FROM:<a@b.example>\n\
        S: 250 ok\nC: RCPT TO:<one@example.org>\nS: 250 ok\nC: DATA\nS: 354 go\nE: content\nD: content\nC: part\n";
    let early = "E: 0 temporary while sending BODY: 451 4.4.2 [internal] no BODY response\nE: lost";
    check(&plain(), &message(1), &format!("{body}S: 250 taken\n{early}"));
    check(
        &plain(),
        &message(1),
        &format!("{body}S: 552 big\nE: 0 permanent while sending BODY: 552 big\nE: lost"),
    );
    check(
        &plain(),
        &message(1),
        &format!("{body}S: 452 big\nE: 0 temporary while sending BODY: 452 big\nE: lost"),
    );
    let ours = "E: 0 temporary while sending BODY: 451 4.3.0 [internal] the message cannot be read from the spool\nE: lost";
    check(&plain(), &message(1), &format!("{body}D: content fails\n{ours}"));
    // Replies that mean something else where they come.
    stepwise(
        1,
        "S: 354 go\nE: 0 temporary during MAIL FROM: 451 4.4.2 [internal] no MAIL FROM response\nE: lost",
    );
    pipelined(
        1,
        "S: 250 ok\nS: 250 ok\nS: 250 ok\nE: 0 temporary during DATA: 451 4.4.2 [internal] no DATA response\nE: lost",
    );
    // 421 in the middle of a group: what was said before it stands.
    pipelined(
        3,
        "S: 250 ok\nS: 550 no\nS: 250 ok\nS: 421 bye\nS: 354 go\nE: 0 permanent during RCPT TO: 550 no\n\
        E: 1 temporary during RCPT TO: 421 bye\nE: 2 temporary during RCPT TO: 421 bye\nE: lost",
    );
}

fn tls(policy: TlsPolicy, fallback: bool) -> ClientSettings {
    ClientSettings { tls: policy, tls_fallback: fallback, ..plain() }
}

/// STARTTLS: what each policy makes of each answer.
#[test]
fn starttls_by_policy() {
    let start = "D: submit\nD: connected\nS: 220 mx\nC: EHLO c.example\n";
    let offered = format!("{start}S: 250-mx\nS: 250-PIPELINING\nS: 250 STARTTLS\n");
    let begun = format!("{offered}C: STARTTLS\nS: 220 go\nE: handshake\n");
    let failed = "451 4.7.5 [internal] TLS negotiation failed";
    let run = |settings: &ClientSettings, script: String| check(settings, &message(1), &script);
    use TlsPolicy::{IfAvailable, None, Required};

    run(
        &tls(None, true),
        format!("{offered}C: MAIL FROM:<a@b.example>\nC: RCPT TO:<one@example.org>\nC: DATA"),
    );
    run(&tls(IfAvailable, true), format!("{start}S: 250 mx\nC: MAIL FROM:<a@b.example>"));
    // What was offered in the clear is forgotten: no PIPELINING now.
    for policy in [IfAvailable, Required] {
        let after = "D: tls\nC: EHLO c.example\nS: 250-mx\nS: 250 STARTTLS\nC: MAIL FROM:<a@b.example>";
        run(&tls(policy, true), format!("{begun}{after}"));
    }
    let not_offered = "S: 250 mx\nC: QUIT\n\
        E: 0 another connection after EHLO: 451 4.7.6 [internal] STARTTLS required but not advertised\nE: address failed";
    run(&tls(Required, true), format!("{start}{not_offered}"));

    let handshake = format!("E: 0 another connection handshaking TLS: {failed}\n");
    for end in ["D: tls fails", "D: closed", "D: 300 s"] {
        run(&tls(IfAvailable, true), format!("{begun}{end}\n{handshake}E: retry without TLS"));
        run(&tls(IfAvailable, false), format!("{begun}{end}\n{handshake}E: address failed"));
        run(&tls(Required, true), format!("{begun}{end}\n{handshake}E: address failed"));
    }
    for refusal in ["454 4.7.0 later", "502 no"] {
        let refused = format!("{offered}C: STARTTLS\nS: {refusal}\n");
        let clear = "C: MAIL FROM:<a@b.example>\nC: RCPT TO:<one@example.org>\nC: DATA";
        run(&tls(IfAvailable, true), format!("{refused}{clear}"));
        let end = format!("C: QUIT\nE: 0 another connection during STARTTLS: {failed}\nE: address failed");
        run(&tls(IfAvailable, false), format!("{refused}{end}"));
        run(&tls(Required, true), format!("{refused}{end}"));
    }
}

/// Octets behind the 220 came in the clear, from whoever could write there: never a reason to go on without TLS.
#[test]
fn starttls_injection_ends_the_connection() {
    for behind in ["250 mx", "x\\"] {
        let mut client = postfleet_smtp::client::Client::new(
            std::sync::Arc::new(tls(TlsPolicy::IfAvailable, true)),
            postfleet_types::Monotonic::ZERO,
        );
        let now = postfleet_types::Monotonic::ZERO;
        client.connected(now).unwrap();
        client.received(now, b"220 mx\r\n");
        client.received(now, b"250-mx\r\n250 STARTTLS\r\n");
        client.received(now, format!("220 go\r\n{behind}\r\n").as_bytes());
        let event = client.poll_event().unwrap();
        let text = "451 4.7.5 [internal] TLS negotiation failed";
        assert!(
            matches!(&event, postfleet_smtp::client::Event::Close(postfleet_smtp::client::Ending::AddressFailed(failure))
                if failure.reply.to_string() == text && failure.stage == Stage::Handshake),
            "{event:?}"
        );
        assert_eq!(client.poll_event(), None);
    }
}

fn offering(words: &str) -> String {
    let words: Vec<String> = words.split(' ').map(|word| word.replace('=', " ")).collect();
    let lines: String = words.iter().map(|word| format!("S: 250-{word}\n")).collect();
    format!("D: submit\nD: connected\nS: 220 mx\nC: EHLO c.example\nS: 250-mx\n{lines}S: 250 HELP\n")
}

/// SIZE: a message over the limit fails without being sent (RFC 1870).
#[test]
fn mta_ext_1870_client_knows_the_limit() {
    check(&plain(), &message(1), &format!("{}C: MAIL FROM:<a@b.example> SIZE=22", offering("SIZE=22")));
    check(&plain(), &message(1), &format!("{}C: MAIL FROM:<a@b.example> SIZE=22", offering("SIZE=0")));
    let refused = "E: 0 permanent after EHLO: 552 5.3.4 [internal] message is larger than the remote host accepts\nE: ready";
    check(&plain(), &message(1), &format!("{}{refused}", offering("SIZE=21")));
}

/// 8BITMIME: declared, sent as it is, stripped, or refused (RFC 6152).
#[test]
fn mta_ext_6152_client_with_eight_bit_content() {
    let mut eight = message(1);
    eight.eight_bit_body = true;
    let declared = ClientSettings { send_eight_bit_mime: true, ..plain() };
    check(&declared, &eight, &format!("{}C: MAIL FROM:<a@b.example> BODY=8BITMIME", offering("8BITMIME")));
    check(&declared, &message(1), &format!("{}C: MAIL FROM:<a@b.example>", offering("8BITMIME")));
    let refused = "E: 0 permanent after EHLO: 554 5.6.3 [internal] remote host does not take 8-bit content and conversion is not possible\nE: ready";
    for (settings, offered) in [(&declared, "X"), (&plain(), "8BITMIME")] {
        check(settings, &eight, &format!("{}{refused}", offering(offered)));
        for eight_bit in [EightBit::AsIs, EightBit::Strip] {
            let settings = ClientSettings { eight_bit, ..settings.clone() };
            check(&settings, &eight, &format!("{}C: MAIL FROM:<a@b.example>", offering(offered)));
        }
    }
}

/// SMTPUTF8: said where it is offered; else only what ASCII can say is sent (RFC 6531).
#[test]
fn mta_ext_6531_client_with_utf8() {
    let mut utf8 = message(2);
    utf8.smtputf8 = true;
    let needed = "550 5.6.7 [internal] remote host does not support SMTPUTF8";
    check(&plain(), &utf8, &format!("{}C: MAIL FROM:<a@b.example> SMTPUTF8", offering("SMTPUTF8 8BITMIME")));
    // Nothing in it needs the extension.
    check(&plain(), &utf8, &format!("{}C: MAIL FROM:<a@b.example>", offering("X")));
    utf8.recipients[0].address = "\u{e9}@example.org".parse().unwrap();
    utf8.recipients[1].address = "two@\u{e9}.example".parse().unwrap();
    utf8.recipients[1].ascii = Some("two@xn--9ca.example".parse().unwrap());
    let rest = "S: 250 ok\nC: RCPT TO:<two@xn--9ca.example>";
    check(
        &plain(),
        &utf8,
        &format!("{}C: MAIL FROM:<a@b.example>\nE: 0 permanent after EHLO: {needed}\n{rest}", offering("X")),
    );
    let said = format!(
        "{}C: MAIL FROM:<a@b.example> SMTPUTF8\nS: 250 ok\nC: RCPT TO:<\u{e9}@example.org>",
        offering("SMTPUTF8")
    );
    check(&plain(), &utf8, &said);
    utf8.eight_bit_header = true;
    let both = format!("E: 0 permanent after EHLO: {needed}\nE: 1 permanent after EHLO: {needed}\nE: ready");
    check(&plain(), &utf8, &format!("{}{both}", offering("X")));
}

/// CHUNKING: no DATA, no dots, and a chunk only for someone (RFC 3030).
#[test]
fn mta_ext_3030_client_sends_chunks() {
    let settings = ClientSettings { chunking: true, ..plain() };
    let group = format!(
        "{}C: MAIL FROM:<a@b.example>\nC: RCPT TO:<one@example.org>\n",
        offering("CHUNKING PIPELINING")
    );
    let body = "E: content\nC: BDAT 25 LAST\nC: Subject: x\nC:\nC: .dot\nC: end\n";
    check(
        &settings,
        &message(1),
        &format!("{group}S: 250 ok\nS: 250 ok\n{body}S: 250 ok\nE: 0 delivered: 250 ok\nE: ready"),
    );
    check(
        &settings,
        &message(1),
        &format!(
            "{group}S: 250 ok\nS: 550 no\nC: RSET\nE: 0 permanent during RCPT TO: 550 no\nS: 250 ok\nE: ready"
        ),
    );
    check(
        &settings,
        &message(1),
        &format!(
            "{group}S: 250 ok\nS: 250 ok\n{body}S: 452 full\nC: RSET\n\
        E: 0 temporary reading confirmation: 452 full\nS: 250 ok\nE: ready"
        ),
    );
}

#[test]
fn stages_have_the_numbers_of_the_logs() {
    let numbered = [
        (Stage::NotConnected, 0, "while not connected"),
        (Stage::Idle, 1, "while idle"),
        (Stage::Mail, 2, "during MAIL FROM"),
        (Stage::Recipient, 4, "during RCPT TO"),
        (Stage::Data, 6, "during DATA"),
        (Stage::Body, 8, "while sending BODY"),
        (Stage::Confirmation, 9, "reading confirmation"),
        (Stage::Ehlo, 10, "during EHLO"),
        (Stage::AfterEhlo, 11, "after EHLO"),
        (Stage::Banner, 12, "reading BANNER"),
        (Stage::Reset, 13, "during RSET"),
        (Stage::StartTls, 15, "during STARTTLS"),
        (Stage::Handshake, 17, "handshaking TLS"),
        (Stage::Unknown, 22, "in unknown state"),
    ];
    for (stage, number, words) in numbered {
        assert_eq!((stage.number(), stage.as_str()), (number, words));
    }
}
