//! Transcripts of the client: a dialogue as text, replayed against a scripted server.
//!
//! `S:` is a line of the server (CR LF is added, unless it ends with `\`; `\n` is an octet), `C:` a line of the client,
//! `E:` an event, `D:` something the driver does. Lines of the server that follow each other arrive in one piece. The
//! transcript of the run must equal the script; then the same is run octet by octet.

use std::sync::Arc;

use postfleet_smtp::ReversePath;
use postfleet_smtp::client::{
    Client, ClientSettings, Ending, Event, Failure, Message, MessageRecipient, Outcome,
};
use postfleet_types::Monotonic;

const CONTENT: &[u8] = b"Subject: x\r\n\r\n.dot\nend";

/// From `a@b.example` to one, two, … at `example.org`.
pub(crate) fn message(recipients: usize) -> Message {
    let names = ["one", "two", "three", "four"];
    let recipient = |name: &&str| MessageRecipient {
        address: format!("{name}@example.org").parse().unwrap(),
        ascii: None,
        notify: None,
        original: None,
    };
    Message {
        reverse_path: ReversePath::Address("a@b.example".parse().unwrap()),
        reverse_path_ascii: None,
        recipients: names.iter().take(recipients).map(recipient).collect(),
        octets: 22,
        eight_bit_header: false,
        eight_bit_body: false,
        smtputf8: false,
        ret: None,
        envelope_id: None,
    }
}

struct Driver {
    client: Client,
    message: Message,
    /// Content is not handed in.
    hold: bool,
    now: Monotonic,
    log: Vec<String>,
}

impl Driver {
    fn run(&mut self) {
        loop {
            if let Some(octets) = self.client.poll_transmit() {
                let text = String::from_utf8_lossy(&octets).into_owned();
                self.log.extend(
                    text.split_terminator("\r\n").map(|line| format!("C: {line}").trim_end().to_string()),
                );
            } else if let Some(event) = self.client.poll_event() {
                self.carry_out(event);
            } else {
                return;
            }
        }
    }

    fn carry_out(&mut self, event: Event) {
        let text = match event {
            Event::StartTls => "handshake".to_string(),
            Event::Ready => "ready".to_string(),
            Event::ContentWanted => {
                if !self.hold {
                    for piece in CONTENT.chunks(5) {
                        self.client.content(self.now, piece).unwrap();
                    }
                    self.client.content_end(self.now).unwrap();
                }
                "content".to_string()
            }
            Event::Settled { recipient, outcome } => {
                let outcome = match outcome {
                    Outcome::Delivered(reply) => format!("delivered: {reply}"),
                    Outcome::Temporary(why) => format!("temporary {}", failure(&why)),
                    Outcome::Permanent(why) => format!("permanent {}", failure(&why)),
                    Outcome::StaysActive(why) => format!("stays active {}", failure(&why)),
                    Outcome::AnotherConnection(why) => format!("another connection {}", failure(&why)),
                };
                format!("{recipient} {outcome}")
            }
            Event::Close(ending) => match ending {
                Ending::Done => "close".to_string(),
                Ending::Lost(_) => "lost".to_string(),
                Ending::AddressFailed(_) => "address failed".to_string(),
                Ending::RetryWithoutTls(_) => "retry without TLS".to_string(),
            },
        };
        self.log.push(format!("E: {text}"));
    }

    fn act(&mut self, what: &str) {
        match what {
            "connected" => self.client.connected(self.now).unwrap(),
            "refused" => self.client.connect_failed("Connection refused").unwrap(),
            "submit" => self.client.submit(self.now, self.message.clone()).unwrap(),
            "hold" => self.hold = true,
            "content" => self.client.content(self.now, b"part").unwrap(),
            "content end" => self.client.content_end(self.now).unwrap(),
            "content fails" => self.client.content_failed().unwrap(),
            "closed" => self.client.closed(),
            "write fails" => self.client.transmit_failed(),
            "tls" => self.client.tls_ready(self.now).unwrap(),
            "tls fails" => self.client.tls_failed().unwrap(),
            "quit" => self.client.quit(self.now).unwrap(),
            _ => {
                // `D: 300 s`: the deadline is exactly then.
                let seconds: u64 = what.strip_suffix(" s").unwrap().parse().unwrap();
                let deadline = self.client.poll_deadline().unwrap();
                assert_eq!(deadline.since(self.now).as_secs(), seconds, "{what}");
                self.client.handle_timeout(Monotonic::from_micros(deadline.as_micros() - 1));
                assert_eq!(self.client.poll_event(), None, "before the deadline");
                self.now = deadline;
                self.client.handle_timeout(deadline);
            }
        }
    }
}

fn failure(failure: &Failure) -> String {
    let doubt = if failure.in_doubt { " in doubt" } else { "" };
    format!("{}{doubt}: {}", failure.stage.as_str(), failure.reply)
}

/// Runs the script, in pieces and octet by octet.
pub(crate) fn check(settings: &ClientSettings, message: &Message, script: &str) {
    let script: Vec<&str> = script.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
    assert_eq!(run(settings, message, &script, false).join("\n"), script.join("\n"));
    // Cut finer, writing may come before an event that it came behind: each side keeps its order.
    let fine = run(settings, message, &script, true);
    for side in ["C:", "E:"] {
        let wanted: Vec<&str> = script.iter().copied().filter(|line| line.starts_with(side)).collect();
        let got: Vec<&str> = fine.iter().map(String::as_str).filter(|line| line.starts_with(side)).collect();
        assert_eq!(got.join("\n"), wanted.join("\n"), "octet by octet");
    }
}

fn run(settings: &ClientSettings, message: &Message, script: &[&str], fine: bool) -> Vec<String> {
    let mut driver = Driver {
        client: Client::new(Arc::new(settings.clone()), Monotonic::ZERO),
        message: message.clone(),
        hold: false,
        now: Monotonic::ZERO,
        log: Vec::new(),
    };
    let mut piece = Vec::new();
    for (at, line) in script.iter().enumerate() {
        let (kind, text) = line.split_at(2);
        let text = text.strip_prefix(' ').unwrap_or(text);
        match kind {
            "S:" => {
                driver.log.push((*line).to_string());
                let (text, end) = text.strip_suffix('\\').map_or((text, "\r\n"), |text| (text, ""));
                piece.extend_from_slice(text.replace("\\n", "\n").as_bytes());
                piece.extend_from_slice(end.as_bytes());
                if !script.get(at + 1).is_some_and(|next| next.starts_with("S:")) {
                    for part in piece.chunks(if fine { 1 } else { piece.len() }) {
                        driver.client.received(driver.now, part);
                        if fine {
                            driver.run();
                        }
                    }
                    piece.clear();
                    driver.run();
                }
            }
            "D:" => {
                driver.log.push((*line).to_string());
                driver.act(text);
                driver.run();
            }
            "C:" | "E:" => {}
            _ => panic!("what is {line}?"),
        }
    }
    driver.log
}
