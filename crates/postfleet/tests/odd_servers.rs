//! Mail servers that do what servers are seen to do, one script each, and what becomes of the mail.
#![allow(clippy::unwrap_used, reason = "tests")]

#[path = "support/remote.rs"]
#[allow(dead_code, reason = "each test uses a part")]
mod remote;
mod support;

use remote::MailServer;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::time::Duration;
use support::{Client, SingleNode};

const PATIENCE: Duration = Duration::from_secs(30);

/// What becomes of a message.
#[derive(Clone, Copy, Debug)]
enum Fate {
    /// The server has it.
    Delivered,
    /// It is tried again later; the reply is shown.
    Delayed(&'static str),
    /// The sender is told, with this reply.
    Bounced(&'static str),
    /// It waits for the server, without a failure, for this reason.
    Waits(&'static str),
}

/// A server's script. `S:` sends a line, `C:` reads one that starts so, `T:` reads content up to the dot, `N:` reads so many
/// octets, `P:` waits so many milliseconds, `D:` sends what follows an octet at a time, `L:` sends so many octets of
/// one line, `F:` sends a line that ends with LF alone, `H:` reads no more and keeps the connection open. After the last
/// line the connection ends.
struct Odd {
    name: &'static str,
    script: &'static str,
    fate: Fate,
}

const HELLO: &str = "S: 220 odd.example ESMTP\nC: EHLO\nS: 250 odd.example\n";
const ENVELOPE: &str = "C: MAIL FROM:<sender@client.example>\nS: 250 ok\nC: RCPT TO:<x@\nS: 250 ok\n";

const ODD: &[Odd] = &[
    Odd {
        name: "slow",
        script: "P: 700\nD: 220 slow.example ESMTP\nC: EHLO\nD: 250 slow\nC: MAIL\nP: 300\nD: 250 ok\nC: RCPT\nD: 250 ok\n\
            C: DATA\nP: 300\nD: 354 go on\nT:\nP: 500\nD: 250 taken\nC: QUIT\nS: 221 bye",
        fate: Fate::Delivered,
    },
    Odd {
        name: "many-lines",
        script: "S: 220-one\nS: 220-\nS: 220 three\nC: EHLO\nS: 250-many.example\nS: 250-UNKNOWN a b c\nS: 250 HELP\nC: MAIL\n\
            S: 250-2.1.0 a\nS: 250 2.1.0 b\nC: RCPT\nS: 250-2.1.5 a\nS: 250 2.1.5 b\nC: DATA\nS: 354-go\nS: 354 on\nT:\n\
            S: 250-2.0.0 taken\nS: 250-2.0.0 and\nS: 250 2.0.0 kept\nC: QUIT\nS: 221-bye\nS: 221 bye",
        fate: Fate::Delivered,
    },
    Odd {
        name: "long-line",
        script: "L: 3000\nC: EHLO\nS: 250 long.example\n@ENVELOPE@C: DATA\nS: 354 go on\nT:\nS: 250 taken\nC: QUIT\nS: 221 bye",
        fate: Fate::Delivered,
    },
    Odd {
        name: "endless-line",
        script: "L: 100000\nH:",
        fate: Fate::Waits("no exchanger could be reached lately"),
    },
    Odd {
        name: "wants-no-mail",
        script: "S: 554 no mail here\nH:",
        fate: Fate::Waits("no exchanger could be reached lately"),
    },
    Odd {
        name: "no-esmtp",
        script: "S: 220 old.example\nC: EHLO\nS: 500 what\nC: HELO\nS: 250 old.example\nC: MAIL FROM:<sender@client.example>\r\n\
            S: 250 ok\nC: RCPT\nS: 250 ok\nC: DATA\nS: 354 go on\nT:\nS: 250 taken\nC: QUIT\nS: 221 bye",
        fate: Fate::Delivered,
    },
    Odd {
        name: "bare-lf",
        script: "F: 220 lf.example\nC: EHLO\nF: 250-lf.example\nF: 250 PIPELINING\nC: MAIL\nC: RCPT\nC: DATA\nF: 250 ok\nF: 250 ok\n\
            F: 354 go on\nT:\nF: 250 taken\nC: QUIT\nF: 221 bye",
        fate: Fate::Delivered,
    },
    Odd {
        name: "no-goodbye",
        script: "@HELLO@@ENVELOPE@C: DATA\nS: 354 go on\nT:\nS: 250 taken",
        fate: Fate::Delivered,
    },
    Odd {
        name: "closes-at-mail",
        script: "@HELLO@C: MAIL",
        fate: Fate::Delayed("451 4.4.2 [internal] connection closed by remote host"),
    },
    Odd {
        name: "closes-in-a-reply",
        script: "@HELLO@C: MAIL\nD: 250-ok",
        fate: Fate::Delayed("451 4.4.2 [internal] connection closed by remote host"),
    },
    Odd {
        name: "closes-behind-the-dot",
        script: "@HELLO@@ENVELOPE@C: DATA\nS: 354 go on\nT:",
        fate: Fate::Delayed("451 4.4.2 [internal] connection closed by remote host"),
    },
    Odd {
        name: "busy-at-rcpt",
        script: "@HELLO@C: MAIL\nS: 250 ok\nC: RCPT\nS: 421 4.3.2 later please",
        fate: Fate::Delayed("421 4.3.2 later please"),
    },
    Odd {
        name: "busy-at-data",
        script: "@HELLO@@ENVELOPE@C: DATA\nS: 421-4.3.2 later\nS: 421 4.3.2 please",
        fate: Fate::Delayed("421 4.3.2 later 4.3.2 please"),
    },
    Odd {
        name: "says-nonsense",
        script: "@HELLO@C: MAIL\nS: hello yourself\nH:",
        fate: Fate::Delayed("451 4.4.2 [internal] no MAIL FROM response"),
    },
    Odd {
        name: "refuses-in-the-middle",
        script: "@HELLO@@ENVELOPE@C: DATA\nS: 354 go on\nN: 100000\nS: 552 5.3.4 that is too much\nH:",
        fate: Fate::Bounced("552 5.3.4 that is too much"),
    },
    Odd {
        name: "tires-in-the-middle",
        script: "@HELLO@@ENVELOPE@C: DATA\nS: 354 go on\nN: 100000\nS: 452 4.3.1 no room left\nH:",
        fate: Fate::Delayed("452 4.3.1 no room left"),
    },
    Odd {
        name: "takes-it-too-soon",
        script: "@HELLO@@ENVELOPE@C: DATA\nS: 354 go on\nN: 100000\nS: 250 taken\nH:",
        fate: Fate::Delayed("451 4.4.2 [internal] no BODY response"),
    },
];

/// Plays the script; what the client did not say as it should is told.
fn play(stream: TcpStream, script: &str) -> std::io::Result<()> {
    let mut out = stream.try_clone()?;
    let mut lines = BufReader::new(stream);
    let fault = |text: String| Err(std::io::Error::other(text));
    for step in script.split('\n') {
        let (what, rest) = step.split_once(':').unwrap();
        let rest = rest.strip_prefix(' ').unwrap_or(rest);
        match what {
            "S" => out.write_all(format!("{rest}\r\n").as_bytes())?,
            "F" => out.write_all(format!("{rest}\n").as_bytes())?,
            "D" => {
                for octet in format!("{rest}\r\n").into_bytes() {
                    out.write_all(&[octet])?;
                    std::thread::sleep(Duration::from_millis(5));
                }
            }
            "L" => out.write_all(format!("220 {}\r\n", "x".repeat(rest.parse().unwrap())).as_bytes())?,
            "P" => std::thread::sleep(Duration::from_millis(rest.parse().unwrap())),
            "N" => {
                let mut content = vec![0; rest.parse().unwrap()];
                lines.read_exact(&mut content)?;
            }
            "H" => {
                // As long as the other side wants. What it sends meanwhile nobody reads.
                let mut octet = [0];
                while matches!(out.peek(&mut octet), Ok(count) if count > 0) {
                    std::thread::sleep(Duration::from_millis(20));
                }
            }
            "C" => {
                let mut line = String::new();
                lines.read_line(&mut line)?;
                if !line.starts_with(rest) {
                    return fault(format!("instead of '{rest}' came '{line}'"));
                }
            }
            "T" => loop {
                let mut line = String::new();
                if lines.read_line(&mut line)? == 0 {
                    return fault("the content has no end".to_owned());
                }
                if line == ".\r\n" {
                    break;
                }
            },
            other => panic!("{other}"),
        }
    }
    Ok(())
}

/// Listens, plays the script on every connection; returns the port.
fn odd_server(odd: &'static Odd) -> u16 {
    let script = odd.script.replace("@HELLO@", HELLO).replace("@ENVELOPE@", ENVELOPE);
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let script = script.clone();
            std::thread::spawn(move || {
                if let Err(error) = play(stream, &script) {
                    eprintln!("{}: {error}", odd.name);
                }
            });
        }
    });
    port
}

fn send(node: &SingleNode, recipient: &str, octets: usize) {
    let body = "0123456789012345678901234567890123456789012345678\r\n".repeat(octets / 51);
    let reply = Client::connect(&node.smtp).unwrap().offer(&[recipient], body.trim_end());
    assert!(reply.starts_with("250"), "{reply}");
}

#[test]
fn odd_servers_get_their_mail_or_the_sender_is_told_why() {
    let senders = MailServer::start(|_| "250 2.1.5 ok");
    let mut domains = format!("Domain \"client.example\" {{ Gateway = \"127.0.0.1:{}\" }}\n", senders.port);
    for odd in ODD {
        let port = odd_server(odd);
        domains += &format!("Domain \"{}.example\" {{ Gateway = \"127.0.0.1:{port}\" }}\n", odd.name);
    }
    let node = SingleNode::start(
        &format!("Relay_Hosts = ( 127.0.0.0/8 )\nSuspend_Delivery = false\nIdle_Timeout = 1\n{domains}"),
        "",
        "",
    );
    for odd in ODD {
        // More than sockets hold, for those that stop reading.
        let octets =
            if odd.name.ends_with("-middle") || odd.name.ends_with("-soon") { 16_000_000 } else { 500 };
        send(&node, &format!("x@{}.example", odd.name), octets);
    }
    // What the console says of a domain, and of its message.
    let shown = |odd: &Odd| {
        let domain = format!("{}.example", odd.name);
        let rows = node.console(&format!("showqueue {domain}"));
        let id = rows.split(' ').nth(1).filter(|_| rows.starts_with("[delayed"));
        let details = id.map(|id| node.console(&format!("message details {id}"))).unwrap_or_default();
        (node.console(&format!("domain {domain}")), details)
    };
    for odd in ODD {
        let address = format!("x@{}.example", odd.name);
        let start = std::time::Instant::now();
        loop {
            let (domain, details) = shown(odd);
            let bounces = senders.all();
            let has_come_true = match odd.fate {
                Fate::Delivered => domain.contains("\tDeliveries:               1\n"),
                Fate::Delayed(reply) => details.contains(&format!("                  Code: {reply}\n")),
                Fate::Bounced(reply) => {
                    bounces.iter().any(|bounce| bounce.text.contains(reply) && bounce.text.contains(&address))
                }
                Fate::Waits(reason) => domain.contains(&format!("Limited by: {reason}\n")),
            };
            if has_come_true {
                break;
            }
            assert!(
                start.elapsed() < PATIENCE,
                "{}: {:?}\n{domain}\n{details}\n{bounces:?}",
                odd.name,
                odd.fate
            );
            std::thread::sleep(Duration::from_millis(20));
        }
    }
    // One report and no more.
    assert_eq!(senders.all().len(), 1, "{:?}", senders.all());
}
