//! The acceptance cases that a session alone can show.
#![allow(clippy::unwrap_used, reason = "a test stops where something fails")]

#[allow(dead_code, reason = "each file of tests uses a part of it")]
mod script;

use postfleet_smtp::{Answer, FormatRules, Questions, SessionSettings};
use script::{Driver, NOW, check, settings};

const GREETING: &str = "S: 220 mx.example ESMTP P 1 Sun, 17 Mar 2030 17:46:40 +0000\n";
const EHLO: &str = "C: EHLO c.example
    S: 250-mx.example says EHLO to 192.0.2.5
    S: 250-PIPELINING
    S: 250-8BITMIME
    S: 250-SIZE 0
    S: 250-ENHANCEDSTATUSCODES
    S: 250 DSN
";

fn after_ehlo(settings: SessionSettings, script: &str) -> Driver {
    check(settings, &[GREETING, EHLO, script].concat())
}

#[test]
fn mta_case_01_ehlo() {
    after_ehlo(settings(), "");
    let limited = SessionSettings { message_octets_max: 1000, ..settings() };
    let driver = check(limited, &[GREETING, &EHLO.replace("SIZE 0", "SIZE 1000")].concat());
    assert!(!driver.session.is_closed());
}

#[test]
fn mta_case_03_session_limit() {
    check(
        settings(),
        "D: too many sessions
         E: rejected SessionLimit 421 x1 (concurrency limit)
         S: 421 4.4.5 Service unavailable, concurrency limit reached
         E: close",
    );
}

#[test]
fn mta_case_04_relay_control() {
    let mut wild = settings();
    wild.relay.domains = vec!["*.example.com".parse().unwrap()];
    let driver = after_ehlo(
        wild,
        "C: MAIL FROM:<a@c.example>
         S: 250 2.1.0 MAIL FROM accepted
         C: RCPT TO:<u@foreign.example>
         E: rejected Relaying 550 x1 u@foreign.example (relaying denied)
         S: 550 5.7.1 relaying denied
         C: RCPT TO:<u@test.example.com>
         S: 250 2.1.5 RCPT TO accepted
         C: RCPT TO:<u@example.com>
         E: rejected Relaying 550 x1 u@example.com (relaying denied)
         S: 550 5.7.1 relaying denied",
    );
    assert_eq!(driver.session.counters().bad_commands, 0, "a refused recipient is no bad command");
}

#[test]
fn mta_case_05_wrong_commands() {
    after_ehlo(
        settings(),
        "C: RCPT TO:<u@example.org>
         S: 503 5.5.1 RCPT TO without MAIL FROM
         C: DATA now
         S: 501 5.5.4 unexpected argument to DATA
         C: FOO
         S: 500 5.5.2 unrecognized command",
    );
}

#[test]
fn mta_case_06_recipients_per_message() {
    let limited = SessionSettings { recipients_per_message_max: 100, ..settings() };
    let mut script = String::from("C: MAIL FROM:<a@c.example>\nS: 250 2.1.0 MAIL FROM accepted\n");
    for at in 0..100 {
        script.push_str(&format!("C: RCPT TO:<u{at}@example.org>\nS: 250 2.1.5 RCPT TO accepted\n"));
    }
    script.push_str(
        "C: RCPT TO:<u100@example.org>
         S: 452 4.5.3 Service unavailable, recipients per message limit reached
         C: DATA
         S: 354 continue.  finished with \"\\r\\n.\\r\\n\"
         C: Subject: x
         C: .
         E: received x100
         S: 250 2.0.0 A2/00-04711-003BF317 accepted",
    );
    after_ehlo(limited.clone(), &script);
    // Lower numbers count as 100, which is what the RFC asks for at least.
    after_ehlo(SessionSettings { recipients_per_message_max: 3, ..limited }, &script);
}

#[test]
fn mta_case_07_size_parameter() {
    let limited = SessionSettings { message_octets_max: 1000, ..settings() };
    check(
        limited,
        &[
            GREETING,
            "C: MAIL FROM:<a@b.example> SIZE=2000
             E: rejected Size 552 x1 (awaiting mailfrom)
             S: 552 5.3.4 message size limit exceeded
             C: MAIL FROM:<a@b.example> SIZE=1000
             S: 250 2.1.0 MAIL FROM accepted",
        ]
        .concat(),
    );
}

/// A transaction up to the 354.
const TO_DATA: &str = "C: MAIL FROM:<a@c.example>
    C: RCPT TO:<u@example.org>
    C: DATA
    S: 250 2.1.0 MAIL FROM accepted
    S: 250 2.1.5 RCPT TO accepted
    S: 354 continue.  finished with \"\\r\\n.\\r\\n\"
";

#[test]
fn mta_case_08_smuggling() {
    let driver = after_ehlo(
        settings(),
        &[
            TO_DATA,
            "C: x\\n.\\nMAIL FROM:<b@c.example>\\nRCPT TO:<u@example.org>\\nDATA\\ny
             C: .
             E: abort Refused
             E: rejected Format 550 x1 (sending body response)
             S: 550 5.6.0 Lone CR or LF in headers (see RFC2822 section 2.2)",
        ]
        .concat(),
    );
    assert!(driver.spool.is_empty());
    let driver = after_ehlo(
        settings(),
        &[
            TO_DATA,
            "C: Subject: x
             C:
             C: y\\n.\\nMAIL FROM:<b@c.example>\\nRCPT TO:<u@example.org>\\nDATA\\ny
             C: .
             E: abort Refused
             E: rejected Format 550 x1 (sending body response)
             S: 550 5.6.0 Lone CR or LF in body (see RFC2822 section 2.3)",
        ]
        .concat(),
    );
    assert!(driver.spool.is_empty());
    // A dot behind CR LF is taken out like a stuffed one, and is still what a lenient reader takes for the end.
    for end in ["\\n", "\\r"] {
        let text = format!(
            "C: Subject: x
             C:
             C: y
             C: .{end}z
             C: .
             E: abort Refused
             E: rejected Format 550 x1 (sending body response)
             S: 550 5.6.0 Lone CR or LF in body (see RFC2822 section 2.3)"
        );
        after_ehlo(settings(), &[TO_DATA, &text].concat());
    }
    // Bare octets that touch no dot pass.
    let driver = after_ehlo(
        settings(),
        &[
            TO_DATA,
            "C: Subject: x\nC:\nC: y\\nz\nC: .\nE: received x1\nS: 250 2.0.0 A2/00-04711-003BF317 accepted",
        ]
        .concat(),
    );
    assert!(driver.spool[0].ends_with("\r\n\r\ny\nz\r\n"));
}

/// Every mixture of line ends around a dot, in the header section and in the body: at most one message, and never
/// a reply to a command that stands in the data.
#[test]
fn mta_case_08_smuggling_matrix() {
    let ends = ["\r\n", "\n", "\r", "\n\r", "\r\r\n", "\n\n", "\r\r", "\r\n\n", "\r\n\r"];
    for head in ["", "Subject: x\r\n\r\nbody"] {
        for before in ends {
            for after in ends {
                for dots in [".", ".."] {
                    if before.ends_with("\r\n") && after.starts_with("\r\n") && dots == "." {
                        // A real end of data; what follows is a command.
                        continue;
                    }
                    let mut driver = Driver::new(settings());
                    driver.run();
                    let start = "EHLO c\r\nMAIL FROM:<>\r\nRCPT TO:<u@example.org>\r\nDATA\r\n";
                    driver.session.receive(NOW, start.as_bytes());
                    driver.run();
                    driver.log.clear();
                    let data = format!("{head}{before}{dots}{after}NOOP\r\n.\r\n");
                    driver.session.receive(NOW, data.as_bytes());
                    driver.run();
                    let replies = driver.log.iter().filter(|line| line.starts_with("S:")).count();
                    assert_eq!(replies, 1, "{data:?} {:?}", driver.log);
                    assert!(!driver.log.iter().any(|line| line.contains("2.0.0 ok")), "{data:?}");
                    if let Some(message) = driver.spool.first() {
                        let body = message.split_once("\r\n\r\n").unwrap().1;
                        for end in ["\n.\n", "\r.\r", "\n.\r\n", "\r\n.\n", "\r\n.\r", "\r.\n"] {
                            let crlf = body.replace("\r\n.\r\n", "");
                            assert!(!crlf.contains(end), "{data:?} left {end:?}");
                        }
                    }
                }
            }
        }
    }
}

#[test]
fn mta_case_09_empty_message() {
    after_ehlo(
        settings(),
        &[
            TO_DATA,
            "C: .
             E: abort Refused
             E: rejected Format 550 x1 (sending body response)
             S: 550 5.6.0 Required headers not found (see RFC2822 section 3.6)",
        ]
        .concat(),
    );
    let format = FormatRules { allow_missing_headers: true, ..FormatRules::default() };
    let driver = after_ehlo(
        SessionSettings { format, ..settings() },
        &[TO_DATA, "C: .\nE: received x1\nS: 250 2.0.0 A2/00-04711-003BF317 accepted"].concat(),
    );
    assert!(driver.spool[0].starts_with("Received: from [192.0.2.5]"));
}

#[test]
fn mta_case_10_starttls_injection() {
    let mut tls = settings();
    tls.extensions.starttls = true;
    let ehlo = EHLO.replace("S: 250 DSN", "S: 250-STARTTLS\n    S: 250 DSN");
    check(
        tls.clone(),
        &[
            GREETING,
            &ehlo,
            "C: STARTTLS
             C: NOOP
             E: rejected Injection 554 x1 (awaiting mailfrom)
             S: 554 5.5.1 input after STARTTLS refused
             E: close",
        ]
        .concat(),
    );
    // The same in two packets, both in the clear.
    check(
        tls.clone(),
        &[
            GREETING,
            &ehlo,
            "C: STARTTLS
             S: 220 2.0.0 ready to start TLS
             E: handshake
             C: NOOP
             E: rejected Injection 554 x1 (awaiting mailfrom)
             E: close",
        ]
        .concat(),
    );
    tls.starttls_injection = postfleet_smtp::Injection::Ignore;
    check(
        tls,
        &[
            GREETING,
            &ehlo,
            "C: STARTTLS
             C: NOOP
             S: 220 2.0.0 ready to start TLS
             E: handshake
             C: NOOP
             D: tls
             C: HELP
             S: 214 2.0.0 RFC 5321; commands: EHLO HELO MAIL RCPT DATA BDAT RSET NOOP VRFY STARTTLS HELP QUIT",
        ]
        .concat(),
    );
}

#[test]
fn mta_case_27_reconfiguration() {
    let transaction =
        [TO_DATA, "C: Subject: x\nC: .\nE: received x1\nS: 250 2.0.0 A2/00-04711-003BF317 accepted\n"];
    // What the session cannot see is not told to it: it goes on.
    after_ehlo(settings(), &[transaction.concat(), transaction.concat()].concat());
    let script = [
        "C: MAIL FROM:<>\nS: 250 2.1.0 MAIL FROM accepted\nD: reconfigured\n",
        "C: NOOP\nS: 250 2.0.0 ok\n",
        "C: RCPT TO:<u@example.org>\nC: DATA\nS: 250 2.1.5 RCPT TO accepted\n",
        "S: 354 continue.  finished with \"\\r\\n.\\r\\n\"\n",
        "C: Subject: x\nC: .\nE: received x1\nS: 250 2.0.0 A2/00-04711-003BF317 accepted\n",
        "C: MAIL FROM:<>\nS: 421 4.3.2 Reconfiguration in progress\nE: close",
    ];
    after_ehlo(settings(), &script.concat());
    after_ehlo(settings(), "D: reconfigured\nC: RSET\nS: 421 4.3.2 Reconfiguration in progress\nE: close");
}

#[test]
fn mta_case_30_inbound_throttle_holds_the_reply() {
    let questions = Questions { mail: true, ..Questions::default() };
    let held = SessionSettings { questions, ..settings() };
    let message = "C: RCPT TO:<u@example.org>
         C: DATA
         S: 250 2.1.5 RCPT TO accepted
         S: 354 continue.  finished with \"\\r\\n.\\r\\n\"
         C: Subject: x
         C: .
         E: received x1
         E: unit spent
         S: 250 2.0.0 A2/00-04711-003BF317 accepted
         ";
    let mut driver = after_ehlo(
        held,
        &[
            "C: NOOP
             C: MAIL FROM:<>
             C: NOOP
             S: 250 2.0.0 ok
             E: question Mail
             D: continue
             S: 250 2.1.0 MAIL FROM accepted
             S: 250 2.0.0 ok
             ",
            message,
            "C: MAIL FROM:<>
             E: question Mail
             D: continue
             S: 250 2.1.0 MAIL FROM accepted
             C: RSET
             E: unit back
             S: 250 2.0.0 reset
             C: MAIL FROM:<>
             E: question Mail
             D: rate
             S: 451 4.3.2 reception rate limit, try later
             C: MAIL FROM:<>
             E: question Mail",
        ]
        .concat(),
    );
    // The idle clock stands still while the answer is owed.
    assert_eq!(driver.session.poll_deadline(), None);
    driver.session.answer(NOW, Answer::Continue).unwrap();
    assert!(driver.session.poll_deadline().is_some());
}
