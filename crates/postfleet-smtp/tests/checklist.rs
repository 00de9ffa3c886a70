//! RFC 5321, line by line of the mail specification's checklist, then relay control and the options.
#![allow(clippy::unwrap_used, reason = "a test stops where something fails")]

#[allow(dead_code, reason = "each file of tests uses a part of it")]
mod script;

use std::fmt::Write as _;

use postfleet_smtp::{Event, Questions, Session, SessionSettings};
use postfleet_types::Monotonic;
use script::{Driver, NOW, check, facts, settings};

const GREETING: &str = "S: 220 mx.example ESMTP P 1 Sun, 17 Mar 2030 17:46:40 +0000\n";
const HELO: &str = "C: HELO c.example\nS: 250 mx.example says HELO to 192.0.2.5\n";
const MAIL: &str = "C: MAIL FROM:<a@c.example>\nS: 250 2.1.0 MAIL FROM accepted\n";
const RCPT: &str = "C: RCPT TO:<u@example.org>\nS: 250 2.1.5 RCPT TO accepted\n";
const DATA: &str = "C: DATA\nS: 354 continue.  finished with \"\\r\\n.\\r\\n\"\n";
const MESSAGE: &str =
    "C: Subject: x\nC:\nC: hello\nC: .\nE: received x1\nS: 250 2.0.0 A2/00-04711-003BF317 accepted\n";
const QUIT: &str = "C: QUIT\nS: 221 2.0.0 mx.example closing connection\nE: close\n";

fn dialogue(settings: SessionSettings, parts: &[&str]) -> Driver {
    check(settings, &[GREETING, HELO, &parts.concat()].concat())
}

#[test]
fn mta_rfc5321_01_only_cr_lf_ends_a_command() {
    dialogue(
        settings(),
        &[
            "C: NOOP\\nNOOP\nS: 500 5.5.2 unrecognized command\n",
            "C: NOOP\\rNOOP\nS: 500 5.5.2 unrecognized command\n",
        ],
    );
    dialogue(settings(), &["C: NOOP\\n\\\n", "C: NOOP\nS: 500 5.5.2 unrecognized command\n"]);
    dialogue(settings(), &["C: NOOP\\r\\\n", "C:\nS: 500 5.5.2 unrecognized command\n"]);
}

#[test]
fn mta_rfc5321_02_greeting() {
    let asked =
        SessionSettings { questions: Questions { connect: true, ..Questions::default() }, ..settings() };
    check(
        asked.clone(),
        "E: question Connect
         D: refuse
         E: rejected Policy 450 x1 (just connected)
         S: 450 4.7.1 slow down
         C: EHLO c
         C: NOOP
         S: 503 5.5.1 bad sequence of commands
         S: 503 5.5.1 bad sequence of commands
         C: QUIT
         S: 221 2.0.0 mx.example closing connection
         E: close",
    );
    check(
        asked.clone(),
        "E: question Connect
         D: refuse 421
         E: rejected Policy 421 x1 (just connected)
         S: 421 4.7.1 go away
         E: close",
    );
    let driver =
        check(asked, &["E: question Connect\nC: NOOP\nD: continue\n", GREETING, "S: 250 2.0.0 ok"].concat());
    assert!(driver.session.counters().early_talker);
    let banner = SessionSettings { static_banner: Some("220 hello there".to_string()), ..settings() };
    check(banner, "S: 220 hello there");
    check(settings(), "D: exhausted\nS: 421 4.3.4 allocated resources exceeded\nE: close");
    check(
        settings(),
        "D: too many from network
         E: rejected NetworkLimit 421 x1 (just connected)
         S: 421 4.7.0 Service unavailable, too many connections from your network
         E: close",
    );
}

#[test]
fn mta_rfc5321_03_ehlo_and_helo() {
    dialogue(
        settings(),
        &[
            "C: HELO\nS: 501 5.5.2 invalid HELO\n",
            "C: EHLO a..b\nS: 501 5.5.2 invalid EHLO\n",
            "C: EHLO (x)\nS: 501 5.5.2 invalid EHLO\n",
            "C: HELO [192.0.2.77]\nS: 250 mx.example says HELO to 192.0.2.5\n",
            "C: HELO not_my_name\nS: 250 mx.example says HELO to 192.0.2.5\n",
        ],
    );
    let required = SessionSettings { require_ehlo: true, ..settings() };
    check(
        required,
        &[GREETING, "C: MAIL FROM:<>\nS: 503 5.5.1 RFC2821 HELO/EHLO needed\n", HELO, MAIL].concat(),
    );
    // An IPv4 client on an IPv6 socket is the IPv4 client.
    let mut session = Session::new(settings().into(), facts("[::ffff:192.0.2.5]:1"));
    assert_eq!(session.origin().client.to_string(), "192.0.2.5:1");
    assert!(matches!(session.poll_event(), Some(Event::Reply(_))));
}

#[test]
fn mta_rfc5321_04_verbs_and_local_parts_keep_their_case() {
    let driver = dialogue(
        settings(),
        &[
            "C: mail from:<Joe.User@C.Example>\nS: 250 2.1.0 MAIL FROM accepted\n",
            "C: rCPT tO:<Big@Example.ORG>\nS: 250 2.1.5 RCPT TO accepted\n",
            "C: dAtA\nS: 354 continue.  finished with \"\\r\\n.\\r\\n\"\n",
            MESSAGE,
            "C: vrfy x\nS: 252 2.5.2 send some mail, we will try\n",
            "C: noop anything\nS: 250 2.0.0 ok\n",
        ],
    );
    assert!(driver.spool[0].contains("(envelope-from <Joe.User@C.Example>)"), "{}", driver.spool[0]);
}

#[test]
fn mta_rfc5321_05_order_of_commands() {
    dialogue(
        settings(),
        &[
            "C: RCPT TO:<u@example.org>\nS: 503 5.5.1 RCPT TO without MAIL FROM\n",
            "C: DATA\nS: 503 5.5.1 DATA without MAIL FROM\n",
            MAIL,
            "C: MAIL FROM:<>\nS: 503 5.5.1 MAIL FROM already established\n",
            "C: DATA\nS: 503 5.5.1 DATA without RCPT TO\n",
            RCPT,
            DATA,
            MESSAGE,
        ],
    );
}

#[test]
fn mta_rfc5321_06_what_clears_a_transaction() {
    let gone = "C: RCPT TO:<u@example.org>\nS: 503 5.5.1 RCPT TO without MAIL FROM\n";
    dialogue(settings(), &[MAIL, RCPT, "C: RSET\nS: 250 2.0.0 reset\n", gone]);
    dialogue(settings(), &[MAIL, RCPT, HELO, gone]);
    dialogue(settings(), &[MAIL, RCPT, DATA, MESSAGE, gone, QUIT]);
    dialogue(settings(), &[MAIL, "C: RSET now\nS: 501 5.5.4 invalid arguments to RSET\n", RCPT]);
    dialogue(settings(), &["C: QUIT now\nS: 501 5.5.4 Syntax error (no parameters allowed)\n", QUIT]);
}

#[test]
fn mta_rfc5321_07_sizes() {
    let noop = |length: usize| format!("C: NOOP {}\n", "x".repeat(length - 7));
    dialogue(
        settings(),
        &[
            &noop(512),
            "S: 250 2.0.0 ok\n",
            &noop(513),
            "S: 500 5.5.2 line too long\n",
            &noop(60_000),
            "S: 500 5.5.2 line too long\n",
        ],
    );
    // A line without end does not have to be read to its end.
    dialogue(settings(), &[&noop(70_000), "S: 421 4.7.0 too many errors\nE: close\n"]);
    let path = format!("{}@{}.example.org", "l".repeat(64), ["d".repeat(60).as_str(); 3].join("."));
    let mut relaying = settings();
    relaying.relay.domains.push("*.example.org".parse().unwrap());
    dialogue(
        relaying,
        &[
            MAIL,
            &format!("C: RCPT TO:<{path}>\nS: 250 2.1.5 RCPT TO accepted\n"),
            &format!("C: RCPT TO:<l{path}>\nS: 501 5.5.2 RCPT TO syntax error\n"),
            DATA,
            &format!("C: Subject: x\nC:\nC: {}\n", "y".repeat(70_000)),
            "C: .\nE: received x1\nS: 250 2.0.0 A2/00-04711-003BF317 accepted\n",
        ],
    );
}

#[test]
fn mta_rfc5321_08_surplus_recipients() {
    let limited = SessionSettings { recipients_per_connection_max: 1, ..settings() };
    let surplus = "C: RCPT TO:<v@example.org>
         S: 452 4.5.3 Service unavailable, recipients per connection limit reached\n";
    dialogue(limited, &[MAIL, RCPT, surplus, DATA, MESSAGE]);
}

#[test]
fn mta_rfc5321_09_dots() {
    let text = "C: Subject: x\nC:\nC: ..one\nC: ...two\nC: .three\nC: four.\nC: .\n";
    let driver = dialogue(
        settings(),
        &[MAIL, RCPT, DATA, text, "E: received x1\nS: 250 2.0.0 A2/00-04711-003BF317 accepted\n"],
    );
    assert!(driver.spool[0].ends_with("\r\n\r\n.one\r\n..two\r\nthree\r\nfour.\r\n"), "{}", driver.spool[0]);
}

#[test]
fn mta_rfc5321_10_no_250_before_the_spool_has_it() {
    let refused = |reply: &str, kind: &str, code: u16| {
        format!("C: .\nE: rejected {kind} {code} x1 (sending body response)\nS: {reply}\n")
    };
    dialogue(
        settings(),
        &[
            MAIL,
            RCPT,
            DATA,
            "D: spool fails\n",
            "C: Subject: x\n",
            &refused("451 4.3.0 transaction failed", "Storage", 451),
            MAIL,
            RCPT,
            DATA,
            "D: spool full\n",
            "C: Subject: x\n",
            &refused("452 4.3.1 insufficient system storage", "Storage", 452),
            MAIL,
            RCPT,
            DATA,
            "D: policy refuses\n",
            "C: Subject: x\n",
            &refused("550 5.7.1 not today", "Policy", 550),
            MAIL,
            RCPT,
            "D: spool cannot start\n",
            "C: DATA\nE: rejected Storage 452 x1 (awaiting rcptto)\n",
            "S: 452 4.3.1 insufficient system storage\n",
            MAIL,
            RCPT,
            "D: spool has no room\n",
            "C: DATA\nE: rejected Storage 421 x1 (awaiting rcptto)\n",
            "S: 421 4.3.0 message is too large to process at this time\nE: close\n",
        ],
    );
    // Nothing is said while the spool works, and the next command waits.
    dialogue(
        settings(),
        &[
            MAIL,
            RCPT,
            DATA,
            "D: spool slow\n",
            "C: Subject: x\nC: .\nC: NOOP\nE: message waits\nD: stored\n",
            "E: received x1\nS: 250 2.0.0 A2/00-04711-003BF317 accepted\nS: 250 2.0.0 ok\n",
        ],
    );
    // The client leaves meanwhile: the message counts all the same.
    dialogue(
        settings(),
        &[
            MAIL,
            RCPT,
            DATA,
            "D: spool slow\n",
            "C: Subject: x\nC: .\nE: message waits\nD: lost\nE: close\n",
            "D: stored\nE: received x1\n",
        ],
    );
    dialogue(
        settings(),
        &[MAIL, RCPT, DATA, "C: Subject: x\nC: y\\\nD: lost\nE: abort ConnectionLost\nE: close\n"],
    );
}

#[test]
fn mta_rfc5321_11_received_field() {
    let script = [
        GREETING,
        "C: EHLO client.example
         S: 250-mx.example says EHLO to 192.0.2.5
         S: 250-PIPELINING
         S: 250-8BITMIME
         S: 250-SIZE 0
         S: 250-ENHANCEDSTATUSCODES
         S: 250 DSN
         ",
        "C: MAIL FROM:<\"a(b\"@c.example>\nS: 250 2.1.0 MAIL FROM accepted\n",
        RCPT,
        DATA,
        "C: Received: earlier\nC: Subject: x\nC:\nC: hello\nC: .\n",
        "E: received x1\nS: 250 2.0.0 A2/00-04711-003BF317 accepted\n",
    ];
    let driver = check(settings(), &script.concat());
    assert_eq!(
        driver.spool[0],
        "Received: from [192.0.2.5] ([192.0.2.5:47780] helo=client.example)\r\n\
         \tby mx.example (envelope-from <\"a\\(b\"@c.example>)\r\n\
         \t(P 1) with ESMTP\r\n\
         \tid A2/00-04711-003BF317; Sun, 17 Mar 2030 17:46:40 +0000\r\n\
         Received: earlier\r\n\
         Subject: x\r\n\
         Date: Sun, 17 Mar 2030 17:46:40 +0000\r\n\
         Message-ID: <A2.00.04711.003BF317@mx.example>\r\n\
         \r\n\
         hello\r\n"
    );
}

#[test]
fn mta_rfc5321_12_null_reverse_path() {
    let driver =
        dialogue(settings(), &["C: MAIL FROM:<>\nS: 250 2.1.0 MAIL FROM accepted\n", RCPT, DATA, MESSAGE]);
    assert!(driver.spool[0].contains("(envelope-from <>)"));
    let refused = "C: MAIL FROM:<>
         E: rejected Policy 550 x1 (awaiting mailfrom)
         S: 550 5.7.1 null envelope sender refused\n";
    dialogue(SessionSettings { allow_null_sender: false, ..settings() }, &[refused]);
}

#[test]
fn mta_rfc5321_13_postmaster() {
    let accepted = |address: &str| format!("C: RCPT TO:<{address}>\nS: 250 2.1.5 RCPT TO accepted\n");
    dialogue(
        settings(),
        &[
            MAIL,
            &accepted("PostMaster"),
            &accepted("POSTMASTER@example.org"),
            DATA,
            MESSAGE.replace("x1", "x2").as_str(),
        ],
    );
    dialogue(
        settings(),
        &[
            MAIL,
            "C: RCPT TO:<postmaster@foreign.example>
             E: rejected Relaying 550 x1 postmaster@foreign.example (relaying denied)
             S: 550 5.7.1 relaying denied\n",
        ],
    );
}

#[test]
fn mta_rfc5321_14_source_routes() {
    dialogue(
        settings(),
        &[
            "C: MAIL FROM:<@x.example:a@c.example>\nS: 250 2.1.0 MAIL FROM accepted\n",
            "C: RCPT TO:<@example.org,@y.example:u@foreign.example>
             E: rejected Relaying 550 x1 u@foreign.example (relaying denied)
             S: 550 5.7.1 relaying denied\n",
            "C: RCPT TO:<u%foreign.example@example.org>\nS: 250 2.1.5 RCPT TO accepted\n",
        ],
    );
}

#[test]
fn mta_rfc5321_15_vrfy_and_expn() {
    dialogue(
        settings(),
        &[
            "C: VRFY a@b\nS: 252 2.5.2 send some mail, we will try\n",
            "C: EXPN list\nS: 502 5.5.1 not implemented\n",
        ],
    );
}

#[test]
fn mta_rfc5321_17_idle() {
    let driver = dialogue(
        settings(),
        &[MAIL, "D: silence\nS: 421 4.4.2 idle timeout, closing connection\nE: close\n"],
    );
    assert_eq!(driver.session.poll_deadline(), None);
    dialogue(
        settings(),
        &[
            MAIL,
            RCPT,
            DATA,
            "C: Subject: x\nD: silence\nS: 421 4.4.2 idle timeout, closing connection\n",
            "E: abort ConnectionLost\nE: close\n",
        ],
    );
    let mut session = Session::new(settings().into(), facts("192.0.2.5:1"));
    while session.poll_event().is_some() {}
    assert_eq!(session.poll_deadline(), Some(Monotonic::from_millis(300_000)));
    session.receive(Monotonic::from_millis(1000), b"NOOP\r\n");
    while session.poll_event().is_some() {}
    assert_eq!(session.poll_deadline(), Some(Monotonic::from_millis(301_000)));
    session.timed_out(Monotonic::from_millis(300_999));
    assert!(!session.is_closed());
    let never = SessionSettings { idle_time: std::time::Duration::ZERO, ..settings() };
    assert_eq!(Session::new(never.into(), facts("192.0.2.5:1")).poll_deadline(), None);
    dialogue(settings(), &["D: shutdown\nC: NOOP\nS: 421 4.3.2 shutting down\nE: close\n"]);
    dialogue(settings(), &["D: shutdown\n", QUIT]);
}

#[test]
fn mta_rfc5321_24_no_eight_bit_commands() {
    dialogue(
        settings(),
        &[
            "C: NOOP é\nS: 500 5.5.2 unrecognized command\n",
            "C: MAIL FROM:<é@c.example>\nS: 553 5.6.7 non-ASCII address without SMTPUTF8\n",
            "C: MAIL FROM:<a@c.example> SMTPUTF8\nS: 555 5.5.4 unsupported parameter\n",
            MAIL,
            "C: RCPT TO:<é@example.org>\nS: 553 5.6.7 non-ASCII address without SMTPUTF8\n",
        ],
    );
}

#[test]
fn mta_rfc5321_25_content_is_not_altered() {
    let text = "C: Subject:  two  blanks \nC: X-Folded: a\nC: \\\nC:  b\nC: Date: x\nC: Message-Id: <y>\nC:\nC: é \\\nC: x\nC: .\n";
    let end = "E: received x1\nS: 250 2.0.0 A2/00-04711-003BF317 accepted\n";
    let driver = dialogue(settings(), &[MAIL, RCPT, DATA, text, end]);
    let message = driver.spool[0].split_once("+0000\r\n").unwrap().1;
    assert_eq!(
        message,
        "Subject:  two  blanks\r\nX-Folded: a\r\n b\r\nDate: x\r\nMessage-Id: <y>\r\n\r\né x\r\n"
    );
}

#[test]
fn mta_rfc5321_26_unknown_and_bad_commands() {
    let mut script = String::new();
    for _ in 0..4 {
        script.push_str("C: FOO\nS: 500 5.5.2 unrecognized command\n");
        script.push_str("C: DATA\nS: 503 5.5.1 DATA without MAIL FROM\n");
    }
    for word in ["AUTH PLAIN", "STARTTLS"] {
        writeln!(script, "C: {word}\nS: 502 5.5.1 not implemented").unwrap();
    }
    let driver = dialogue(settings(), &[&script, "S: 421 4.7.0 too many errors\nE: close\n"]);
    assert_eq!(
        (driver.session.counters().unrecognized_commands, driver.session.counters().bad_commands),
        (4, 6)
    );
    for word in
        ["XCLIENT ADDR=1", "XREMOTEIP", "XSETCONTEXT a=b", "XDUMPCONTEXT", "LHLO a", "MAIL\tFROM:<>", ""]
    {
        dialogue(settings(), &[&format!("C: {word}\nS: 500 5.5.2 unrecognized command\n")]);
    }
}

#[test]
fn mta_rfc5321_27_replies_in_order() {
    dialogue(
        settings(),
        &["C: MAIL FROM:<>
           C: RCPT TO:<a@example.org>
           C: RCPT TO:<b@foreign.example>
           C: FOO
           C: RSET
           C: NOOP
           C: QUIT
           C: NOOP
           E: rejected Relaying 550 x1 b@foreign.example (relaying denied)
           S: 250 2.1.0 MAIL FROM accepted
           S: 250 2.1.5 RCPT TO accepted
           S: 550 5.7.1 relaying denied
           S: 500 5.5.2 unrecognized command
           S: 250 2.0.0 reset
           S: 250 2.0.0 ok
           S: 221 2.0.0 mx.example closing connection
           E: close"],
    );
}

#[test]
fn relay_order() {
    let denied = "C: RCPT TO:<u@foreign.example>
         E: rejected Relaying 550 x1 u@foreign.example (relaying denied)
         S: 550 5.7.1 relaying denied\n";
    let allowed = "C: RCPT TO:<u@foreign.example>\nS: 250 2.1.5 RCPT TO accepted\n";
    dialogue(settings(), &[MAIL, denied, "D: may relay\n", allowed]);
    let with = |change: fn(&mut SessionSettings)| {
        let mut settings = settings();
        change(&mut settings);
        settings
    };
    dialogue(with(|s| s.relay.hosts.push("192.0.2.0/24".parse().unwrap())), &[MAIL, allowed]);
    dialogue(with(|s| s.relay.hosts.push("192.0.3.0/24".parse().unwrap())), &[MAIL, denied]);
    dialogue(with(|s| s.relay.open = true), &[MAIL, allowed]);
    dialogue(with(|s| s.relay.sending_domains.push("c.example".parse().unwrap())), &[MAIL, allowed]);
    dialogue(with(|s| s.relay.bounce_domains.push("Foreign.Example".parse().unwrap())), &[MAIL, allowed]);
    let literal = "C: RCPT TO:<u@[198.51.100.1]>\nS: 250 2.1.5 RCPT TO accepted\n";
    dialogue(with(|s| s.relay.own_addresses.push("198.51.100.1".parse().unwrap())), &[MAIL, literal]);
    let foreign = "C: RCPT TO:<u@[198.51.100.1]>
         E: rejected Relaying 550 x1 u@[198.51.100.1] (relaying denied)
         S: 550 5.7.1 relaying denied\n";
    dialogue(with(|s| s.relay.sending_domains.push("c.example".parse().unwrap())), &[MAIL, foreign]);
    let none = "C: RCPT TO:<u@[198.51.100.1]>\nS: 501 5.5.2 RCPT TO syntax error\n";
    dialogue(with(|s| s.allow_ip_literal = false), &[MAIL, none]);
}

#[test]
fn receptions_per_connection() {
    let limited = SessionSettings { receptions_per_connection_max: 1, ..settings() };
    let over = "C: MAIL FROM:<>\nS: 421 4.5.3 Service unavailable, batch limit reached\nE: close\n";
    dialogue(limited, &[MAIL, RCPT, DATA, MESSAGE, over]);
}

#[test]
fn policy_answers() {
    let questions = Questions { connect: false, ehlo: true, mail: true, recipient: true };
    let asked = SessionSettings { questions, ..settings() };
    check(
        asked,
        &[
            GREETING,
            "C: HELO c
             E: question Helo
             D: refuse
             E: rejected Policy 450 x1 (awaiting ehlo/helo)
             S: 450 4.7.1 slow down
             C: MAIL FROM:<a@b>
             E: question Mail
             D: refuse
             E: rejected Policy 450 x1 (awaiting mailfrom)
             S: 450 4.7.1 slow down
             C: MAIL FROM:<a@b>
             E: question Mail
             D: continue
             S: 250 2.1.0 MAIL FROM accepted
             C: RCPT TO:<u@example.org>
             E: question Recipient
             D: refuse
             E: rejected Policy 450 x1 u@example.org (awaiting rcptto)
             S: 450 4.7.1 slow down
             C: RCPT TO:<v@example.org>
             E: question Recipient
             D: disconnect
             E: rejected Policy 554 x1 v@example.org (awaiting rcptto)
             S: 554 5.7.1 go
             E: unit back
             E: close",
        ]
        .concat(),
    );
}

#[test]
fn whitespace_options() {
    let trailing = SessionSettings { allow_trailing_whitespace: true, ..settings() };
    let mut driver = Driver::new(trailing);
    driver.run();
    driver.session.receive(NOW, b"HELO c \r\nRSET \r\nMAIL FROM:<> \r\nQUIT \t\r\n");
    driver.run();
    assert_eq!(driver.log.last().map(String::as_str), Some("E: close"));
    let mut strict = Driver::new(settings());
    strict.run();
    strict.session.receive(NOW, b"RSET \r\nMAIL FROM:<> \r\nQUIT \r\n");
    strict.run();
    let refusals = strict.log.iter().filter(|line| line.starts_with("S: 501")).count();
    assert_eq!(refusals, 3, "{:?}", strict.log);
}
