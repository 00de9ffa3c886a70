//! Transcripts: a dialogue as text, replayed against a session.
//!
//! `C:` is a line of the client (CR LF is added, unless it ends with `\`; `\r`, `\n` and `\0` are octets),
//! `S:` a line of the server, `E:` an event, `D:` something the driver does. Lines of the client that follow each
//! other arrive in one piece. The transcript of the run must equal the script.

use std::net::SocketAddr;
use std::sync::Arc;

use postfleet_smtp::{
    Answer, ConnectRefusal, Event, Failure, MessageStart, Reply, Resources, Session, SessionFacts,
    SessionSettings, TlsFacts,
};
use postfleet_types::{Monotonic, WallTime};

pub(crate) const NOW: Monotonic = Monotonic::ZERO;

/// Settings of the acceptance cases: `mx.example` relays for `example.org`.
pub(crate) fn settings() -> SessionSettings {
    let mut settings = SessionSettings {
        banner_hostname: "mx.example".to_string(),
        received_hostname: "mx.example".to_string(),
        product: "P 1".to_string(),
        ..SessionSettings::default()
    };
    settings.relay.domains.push("example.org".parse().unwrap());
    settings
}

pub(crate) fn facts(client: &str) -> SessionFacts {
    SessionFacts {
        client: client.parse::<SocketAddr>().unwrap(),
        local: "198.51.100.1:25".parse().unwrap(),
        opened: WallTime::from_unix_seconds(1_900_000_000),
        now: NOW,
        tls: None,
    }
}

pub(crate) struct Driver {
    pub(crate) session: Session,
    pub(crate) log: Vec<String>,
    /// Messages the spool acknowledged.
    pub(crate) spool: Vec<String>,
    message: Vec<u8>,
    /// What becomes of the next message: at its start, at its end.
    start: Option<Failure>,
    end: Option<Failure>,
    /// Whether the spool takes its time: then `D: stored` answers.
    slow: bool,
}

impl Driver {
    pub(crate) fn new(settings: SessionSettings) -> Self {
        Self {
            session: Session::new(Arc::new(settings), facts("192.0.2.5:47780")),
            log: Vec::new(),
            spool: Vec::new(),
            message: Vec::new(),
            start: None,
            end: None,
            slow: false,
        }
    }

    pub(crate) fn run(&mut self) {
        while let Some(event) = self.session.poll_event() {
            match event {
                Event::Reply(octets) => {
                    let text = String::from_utf8(octets.to_vec()).unwrap();
                    assert!(text.ends_with("\r\n"), "{text:?}");
                    self.log.extend(text.split_terminator("\r\n").map(|line| format!("S: {line}")));
                }
                Event::StartTls => {
                    self.note("handshake");
                }
                Event::Close => self.note("close"),
                Event::Question(question) => {
                    self.note(&format!("question {}", first_word(&format!("{question:?}"))))
                }
                Event::MessageBegin(_) => match self.start.take() {
                    Some(failure) => self.session.message_refused(NOW, failure).unwrap(),
                    None => {
                        let at = WallTime::from_unix_seconds(1_900_000_000);
                        let id = "A2/00-04711-003BF317".to_string();
                        self.session.message_started(NOW, MessageStart { id, at }).unwrap();
                    }
                },
                Event::Content(octets) => self.message.extend_from_slice(&octets),
                Event::MessageEnd(_) => {
                    if self.slow {
                        self.note("message waits");
                    } else if let Some(failure) = self.end.take() {
                        self.message.clear();
                        self.session.message_failed(NOW, failure).unwrap();
                    } else {
                        self.store();
                    }
                }
                Event::MessageAbort(reason) => {
                    self.message.clear();
                    self.note(&format!("abort {reason:?}"));
                }
                Event::Rejected(rejection) => {
                    let recipient =
                        rejection.recipient.map(|address| format!(" {address}")).unwrap_or_default();
                    let what = format!(
                        "rejected {:?} {} x{}{recipient} ({})",
                        rejection.kind,
                        rejection.reply.code(),
                        rejection.copies,
                        rejection.phase.as_str()
                    );
                    self.note(&what);
                }
                Event::Received { copies, .. } => self.note(&format!("received x{copies}")),
                Event::UnitSpent { accepted } => {
                    self.note(&format!("unit {}", if accepted { "spent" } else { "back" }))
                }
            }
        }
    }

    fn store(&mut self) {
        self.spool.push(String::from_utf8(std::mem::take(&mut self.message)).unwrap());
        self.session.message_stored(NOW).unwrap();
    }

    fn note(&mut self, what: &str) {
        self.log.push(format!("E: {what}"));
    }

    fn act(&mut self, what: &str) {
        match what {
            "tls" => {
                let facts = TlsFacts { version: "TLSv1.3".to_string(), ..TlsFacts::default() };
                self.session.tls_started(NOW, facts).unwrap();
            }
            "lost" => self.session.connection_lost(),
            "shutdown" => self.session.shut_down(),
            "reconfigured" => self.session.configuration_changed(),
            "disk short" => self.session.set_resources(Resources::Short),
            "room 1000" => self.session.set_resources(Resources::Room(1000)),
            "disk ample" => self.session.set_resources(Resources::Ample),
            "may relay" => self.session.set_can_relay(true),
            "silence" => self.session.timed_out(Monotonic::from_millis(300_000)),
            "spool fails" => self.end = Some(Failure::Spool),
            "spool full" => self.end = Some(Failure::Storage),
            "spool cannot start" => self.start = Some(Failure::Storage),
            "spool has no room" => self.start = Some(Failure::TooLargeNow),
            "spool slow" => self.slow = true,
            "stored" => self.store(),
            "policy refuses" => self.end = Some(Failure::Policy(Reply::new(550, "5.7.1", "not today"))),
            "continue" => self.session.answer(NOW, Answer::Continue).unwrap(),
            "refuse" => {
                self.session.answer(NOW, Answer::Refuse(Reply::verbatim(450, "4.7.1 slow down"))).unwrap()
            }
            "refuse 421" => {
                self.session.answer(NOW, Answer::Refuse(Reply::verbatim(421, "4.7.1 go away"))).unwrap()
            }
            "disconnect" => {
                self.session.answer(NOW, Answer::Disconnect(Reply::verbatim(554, "5.7.1 go"))).unwrap()
            }
            "rate" => self.session.answer(NOW, Answer::RateLimited).unwrap(),
            "too many sessions" => self.session.refuse(ConnectRefusal::SessionLimit).unwrap(),
            "too many from network" => self.session.refuse(ConnectRefusal::NetworkLimit).unwrap(),
            "exhausted" => self.session.refuse(ConnectRefusal::Resources).unwrap(),
            other => panic!("unknown action {other}"),
        }
    }
}

fn first_word(text: &str) -> &str {
    text.split(|c: char| !c.is_alphanumeric()).next().unwrap_or_default()
}

/// Runs the script with these settings, and returns the driver for further questions.
pub(crate) fn check(settings: SessionSettings, script: &str) -> Driver {
    let script: Vec<&str> = script.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
    let mut driver = Driver::new(settings);
    // What the driver does before anything was said.
    let early = script.iter().take_while(|line| line.starts_with("D:")).count();
    for line in &script[..early] {
        driver.log.push((*line).to_string());
        driver.act(line[2..].trim());
    }
    driver.run();
    let mut piece = Vec::new();
    for (at, line) in script.iter().enumerate().skip(early) {
        let (kind, text) = line.split_at(2);
        let text = text.strip_prefix(' ').unwrap_or(text);
        match kind {
            "C:" => {
                driver.log.push((*line).to_string());
                piece.extend_from_slice(&client_line(text));
                if !script.get(at + 1).is_some_and(|next| next.starts_with("C:")) {
                    driver.session.receive(NOW, &piece);
                    piece.clear();
                    driver.run();
                }
            }
            "D:" => {
                driver.log.push((*line).to_string());
                driver.act(text);
                driver.run();
            }
            "S:" | "E:" => {}
            _ => panic!("what is {line}?"),
        }
    }
    let log: Vec<&str> = driver.log.iter().map(|line| line.trim()).collect();
    assert_eq!(log.join("\n"), script.join("\n"));
    driver
}

fn client_line(text: &str) -> Vec<u8> {
    let (text, end) = match text.strip_suffix('\\') {
        Some(text) => (text, ""),
        None => (text, "\r\n"),
    };
    let text = text.replace("\\r", "\r").replace("\\n", "\n").replace("\\0", "\0");
    [text.as_bytes(), end.as_bytes()].concat()
}
