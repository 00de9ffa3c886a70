//! The extensions' checklist, one RFC after the other.
#![allow(clippy::unwrap_used, reason = "a test stops where something fails")]

#[allow(dead_code, reason = "each file of tests uses a part of it")]
mod script;

use postfleet_smtp::{Event, Extensions, MessageStart, Questions, Session, SessionSettings};
use postfleet_types::WallTime;
use script::{Driver, NOW, check, facts, settings};

const GREETING: &str = "S: 220 mx.example ESMTP P 1 Sun, 17 Mar 2030 17:46:40 +0000\n";
const HELO: &str = "C: HELO c.example\nS: 250 mx.example says HELO to 192.0.2.5\n";
const MAIL: &str = "C: MAIL FROM:<a@c.example>\nS: 250 2.1.0 MAIL FROM accepted\n";
const RCPT: &str = "C: RCPT TO:<u@example.org>\nS: 250 2.1.5 RCPT TO accepted\n";
const DATA: &str = "C: DATA\nS: 354 continue.  finished with \"\\r\\n.\\r\\n\"\n";
const MESSAGE: &str =
    "C: Subject: x\nC:\nC: hello\nC: .\nE: received x1\nS: 250 2.0.0 A2/00-04711-003BF317 accepted\n";

fn dialogue(settings: SessionSettings, parts: &[&str]) -> Driver {
    check(settings, &[GREETING, HELO, &parts.concat()].concat())
}

fn everything() -> SessionSettings {
    let extensions =
        Extensions { enhanced_status_codes: true, dsn: true, starttls: true, chunking: true, smtputf8: true };
    SessionSettings { extensions, ..settings() }
}

#[test]
fn mta_ext_1870_size() {
    let limited = SessionSettings { message_octets_max: 40, ..settings() };
    let size = "C: .
         E: abort Refused
         E: rejected Size 552 x2 (sending body response)
         S: 552 5.3.4 message size limit exceeded\n";
    let two = "C: RCPT TO:<v@example.org>\nS: 250 2.1.5 RCPT TO accepted\n";
    dialogue(
        limited.clone(),
        &[MAIL, RCPT, two, DATA, "C: Subject: x\nC:\nC: 123456789.123456789.12345\n", size],
    );
    // Dots that were stuffed in do not count: 15 + 2 + 23 octets, and no more.
    let fits = "C: Subject: xyz.\nC:\nC: ..23456789.123456789.1\nC: .\nE: received x1\n";
    dialogue(limited, &[MAIL, RCPT, DATA, fits, "S: 250 2.0.0 A2/00-04711-003BF317 accepted\n"]);
    dialogue(
        settings(),
        &[
            "D: room 1000\nC: MAIL FROM:<> SIZE=1001\nS: 452 4.3.1 insufficient system storage\n",
            "C: MAIL FROM:<> SIZE=1000\nS: 250 2.1.0 MAIL FROM accepted\nC: RSET\nS: 250 2.0.0 reset\n",
            "D: disk short\nC: MAIL FROM:<>\nS: 452 4.3.1 insufficient system storage\n",
            "D: disk ample\n",
            MAIL,
        ],
    );
}

#[test]
fn mta_ext_2034_no_codes_unless_offered() {
    let plain = SessionSettings {
        extensions: Extensions { enhanced_status_codes: false, ..Extensions::default() },
        ..settings()
    };
    dialogue(plain, &["C: FOO\nS: 500 unrecognized command\nC: NOOP\nS: 250 ok\n"]);
}

#[test]
fn mta_ext_2920_one_write_for_a_group() {
    let mut session = Session::new(settings().into(), facts("192.0.2.5:1"));
    while session.poll_event().is_some() {}
    session.receive(NOW, b"MAIL FROM:<>\r\nRCPT TO:<a@example.org>\r\nRCPT TO:<b@example.org>\r\nRSET\r\nNO");
    let Some(Event::Reply(octets)) = session.poll_event() else { panic!("a reply") };
    assert_eq!(octets.iter().filter(|b| **b == b'\n').count(), 4);
    assert_eq!(session.poll_event(), None);
    assert!(session.wants_input());
}

#[test]
fn mta_ext_2920_unread_input_stops_reading() {
    let asked = SessionSettings { questions: Questions { mail: true, ..Questions::default() }, ..settings() };
    let mut session = Session::new(asked.into(), facts("192.0.2.5:1"));
    while session.poll_event().is_some() {}
    session.receive(NOW, b"MAIL FROM:<>\r\n");
    while session.poll_event().is_some() {}
    assert!(session.wants_input());
    session.receive(NOW, "NOOP\r\n".repeat(20_000).as_bytes());
    assert!(!session.wants_input());
    session.answer(NOW, postfleet_smtp::Answer::Continue).unwrap();
    while session.poll_event().is_some() {}
    assert!(session.wants_input());
}

#[test]
fn mta_ext_3030_the_rules_for_content_hold_in_chunks() {
    let script = "C: BDAT 12
         C: Subject: a
         S: 250 2.0.0 12 octets received
         C: BDAT 7 LAST
         C:
         C: b\\n.\\r\\n\\
         E: abort Refused
         E: rejected Format 550 x1 (sending body response)
         S: 550 5.6.0 Lone CR or LF in body (see RFC2822 section 2.3)\n";
    dialogue(everything(), &[MAIL, RCPT, script]);
}

#[test]
fn mta_ext_3030_order_and_refusals() {
    // Octets of a refused chunk are read and dropped, whatever they say.
    dialogue(
        everything(),
        &[
            "C: BDAT 6 LAST\nC: QUIT\nC: NOOP\nS: 503 5.5.1 bad sequence of commands\nS: 250 2.0.0 ok\n",
            "C: BDAT 6 NEXT\nC: QUIT\nC: NOOP\nS: 501 5.5.4 invalid arguments to BDAT\nS: 250 2.0.0 ok\n",
            "C: BDAT x\nS: 501 5.5.4 invalid arguments to BDAT\n",
            "C: BDAT 99999999999999999999\nS: 501 5.5.4 invalid arguments to BDAT\nE: close\n",
        ],
    );
    dialogue(
        settings(),
        &["C: BDAT 6 LAST\nC: QUIT\nC: NOOP\nS: 502 5.5.1 not implemented\nS: 250 2.0.0 ok\n"],
    );
    let first = "C: BDAT 12\nC: Subject: a\nS: 250 2.0.0 12 octets received\n";
    dialogue(
        everything(),
        &[
            MAIL,
            RCPT,
            first,
            "C: DATA\nS: 503 5.5.1 bad sequence of commands\n",
            "C: RCPT TO:<v@example.org>\nS: 503 5.5.1 bad sequence of commands\n",
            "C: MAIL FROM:<>\nS: 503 5.5.1 MAIL FROM already established\n",
            "C: RSET\nE: abort Reset\nS: 250 2.0.0 reset\n",
            MAIL,
            RCPT,
            first,
            "C: QUIT\nS: 221 2.0.0 mx.example closing connection\nE: abort ConnectionLost\nE: close\n",
        ],
    );
    let limited = SessionSettings { message_octets_max: 15, ..everything() };
    dialogue(
        limited,
        &[
            MAIL,
            RCPT,
            first,
            "C: BDAT 6\nC: NOOP\nE: abort Refused\nE: rejected Size 552 x1 (reading body)\n",
            "S: 552 5.3.4 message size limit exceeded\n",
            "C: BDAT 6 LAST\nC: QUIT\nC: NOOP\nS: 552 5.3.4 message size limit exceeded\nS: 250 2.0.0 ok\n",
            MAIL,
        ],
    );
    dialogue(
        everything(),
        &[
            MAIL,
            RCPT,
            "D: spool cannot start\n",
            "C: BDAT 6\nC: QUIT\nE: rejected Storage 452 x1 (reading body)\nS: 452 4.3.1 insufficient system storage\n",
            "C: BDAT 0 LAST\nS: 452 4.3.1 insufficient system storage\n",
            MAIL,
        ],
    );
}

/// The replies to earlier commands do not wait for the disk.
#[test]
fn mta_ext_3030_replies_come_before_the_spool_is_asked() {
    let mut driver = Driver::new(everything());
    driver.run();
    let start =
        b"HELO c\r\nMAIL FROM:<>\r\nRCPT TO:<u@example.org>\r\nBDAT 14\r\nSubject: a\r\n\r\nBDAT 1 LAST\r\nx";
    driver.session.receive(NOW, start);
    let mut kinds = Vec::new();
    while let Some(event) = driver.session.poll_event() {
        if let Event::MessageBegin(_) = event {
            let start = MessageStart { id: "1".to_string(), at: WallTime::default() };
            driver.session.message_started(NOW, start).unwrap();
        } else if let Event::Reply(octets) = &event {
            kinds.push(octets.iter().filter(|b| **b == b'\n').count());
        } else if let Event::MessageEnd(_) = event {
            kinds.push(0);
        }
    }
    // The reply to HELO goes out at once; those to MAIL, RCPT and the first chunk follow together.
    assert_eq!(kinds, [1, 3, 0]);
}

#[test]
fn mta_ext_3030_octets_are_kept() {
    let mut driver = Driver::new(everything());
    driver.run();
    let start = b"EHLO c\r\nMAIL FROM:<>\r\nRCPT TO:<u@example.org>\r\nBDAT 14\r\nSubject: a\r\n\r\nBDAT 9\r\n.\r\n..\r\n.\rBDAT 0\r\n";
    driver.session.receive(NOW, start);
    driver.run();
    driver.session.receive(NOW, b"BDAT 7 LAST\r\n\n\r\n.\r\nx");
    driver.run();
    assert!(driver.spool[0].ends_with("\r\n\r\n.\r\n..\r\n.\r\n\r\n.\r\nx"), "{:?}", driver.spool);
    assert!(driver.log.iter().any(|line| line == "S: 250 2.0.0 0 octets received"));
}

#[test]
fn mta_ext_3207_state_is_forgotten() {
    let ehlo = |word: &str| {
        format!(
            "C: EHLO c.example
         S: 250-mx.example says EHLO to 192.0.2.5
         S: 250-PIPELINING
         S: 250-8BITMIME
         S: 250-SIZE 0
         S: 250-ENHANCEDSTATUSCODES
         {word}S: 250-DSN
         S: 250-CHUNKING
         S: 250 SMTPUTF8\n"
        )
    };
    let required = SessionSettings { require_ehlo: true, ..everything() };
    let driver = dialogue(
        required,
        &[
            &ehlo("S: 250-STARTTLS\n"),
            "C: STARTTLS now\nS: 501 5.5.4 Syntax error (no parameters allowed)\n",
            MAIL,
            "C: STARTTLS\nS: 503 5.5.1 bad sequence of commands\n",
            "C: RSET\nS: 250 2.0.0 reset\n",
            "C: STARTTLS\nS: 220 2.0.0 ready to start TLS\nE: handshake\nD: tls\n",
            "C: MAIL FROM:<>\nS: 503 5.5.1 RFC2821 HELO/EHLO needed\n",
            &ehlo(""),
            "C: STARTTLS\nS: 503 5.5.1 bad sequence of commands\n",
            MAIL,
            RCPT,
            DATA,
            MESSAGE,
        ],
    );
    assert!(driver.spool[0].contains("with ESMTPS\r\n"));
    assert_eq!(driver.session.origin().tls.map(|tls| tls.version).as_deref(), Some("TLSv1.3"));
}

#[test]
fn mta_ext_6531_utf8() {
    let mut driver = Driver::new(everything());
    driver.run();
    let start = "EHLO é.example\r\nMAIL FROM:<é@c.example> SMTPUTF8\r\nRCPT TO:<ü@example.org>\r\nDATA\r\n";
    driver.session.receive(NOW, start.as_bytes());
    driver.run();
    driver.session.receive(NOW, "Subject: é\r\n.\r\n".as_bytes());
    driver.run();
    assert!(driver.spool[0].contains("helo=é.example") && driver.spool[0].contains("with UTF8SMTP\r\n"));
}
