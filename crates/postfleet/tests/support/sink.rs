//! Messages that are known by their number, and a mail server that knows what each of them has to look like.

use postfleet_types::Random;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::io::{BufRead, BufReader, Write as _};
use std::net::{TcpListener, TcpStream};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

/// The server takes so many milliseconds at most before it answers a message, so that there is always one under way.
const HESITATION_MS_MAX: u64 = 12;
/// What a relay may put in front of a message.
const TRACE_OCTETS_MAX: usize = 1000;

/// The text of a message. All of it follows from the number: whatever is missing, added or changed is seen.
pub(crate) fn text(number: u64) -> String {
    let mut random = Random::seeded(number);
    let lines = if number % 40 == 7 { 2000 + random.below(1500) } else { 1 + random.below(60) };
    let mut text = format!(
        "From: <sender@client.example>\r\nDate: Sat, 21 Nov 2026 12:00:00 +0000\r\n\
         Message-ID: <{number}@client.example>\r\nSubject: {number}\r\n\r\n"
    );
    for _ in 0..lines {
        // Lines that begin with a dot, or consist of one, are doubled on the way and not in the message.
        if random.below(8) == 0 {
            text.push('.');
        }
        for _ in 0..random.below(9) {
            write!(text, "{:016x}", random.next_u64()).unwrap();
        }
        text.push_str("\r\n");
    }
    text
}

/// Who gets a message: mostly one; the server puts some off once (`later`) and refuses some (`never`).
pub(crate) fn recipients(number: u64) -> Vec<String> {
    let mut random = Random::seeded(!number);
    let count = if random.below(4) == 0 { 3 } else { 1 };
    let fates = (0..count).map(|_| match random.below(20) {
        0 => "never",
        1 => "later",
        _ => "now",
    });
    fates.enumerate().map(|(place, fate)| format!("{fate}-{number}-{place}@sink.example")).collect()
}

/// Whether the server takes mail for a recipient sooner or later.
pub(crate) fn is_taken(recipient: &str) -> bool {
    !recipient.starts_with("never")
}

fn number(recipient: &str) -> Option<u64> {
    recipient.split('-').nth(1)?.parse().ok()
}

/// When a recipient got a message.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Arrival {
    /// The server asked for the content.
    pub(crate) began: Instant,
    /// It had all of it, and was about to say so.
    pub(crate) ended: Instant,
}

/// What a server has seen.
#[derive(Debug, Default)]
pub(crate) struct Seen {
    /// By recipient.
    pub(crate) arrived: BTreeMap<String, Vec<Arrival>>,
    /// How often it was reported that mail for a recipient failed.
    pub(crate) reported: BTreeMap<String, usize>,
    /// Whatever must not be.
    pub(crate) faults: Vec<String>,
    put_off: BTreeSet<String>,
}

/// A mail server for these messages and for reports about them.
pub(crate) struct Sink {
    pub(crate) port: u16,
    pub(crate) seen: Arc<Mutex<Seen>>,
    /// Copies that have arrived, those that came again among them.
    pub(crate) count: Arc<AtomicUsize>,
}

impl Sink {
    pub(crate) fn start(seed: u64) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let sink = Self { port, seen: Arc::default(), count: Arc::default() };
        let (seen, count) = (Arc::clone(&sink.seen), Arc::clone(&sink.count));
        std::thread::spawn(move || {
            for (session, stream) in (seed..).zip(listener.incoming().flatten()) {
                let (seen, count) = (Arc::clone(&seen), Arc::clone(&count));
                // A connection breaks when the node dies.
                std::thread::spawn(move || drop(serve(stream, Random::seeded(session), &seen, &count)));
            }
        });
        sink
    }
}

fn serve(
    stream: TcpStream,
    mut random: Random,
    seen: &Mutex<Seen>,
    count: &AtomicUsize,
) -> std::io::Result<()> {
    stream.set_nodelay(true)?;
    let mut out = stream.try_clone()?;
    let mut lines = BufReader::new(stream);
    out.write_all(b"220 sink.example ESMTP\r\n")?;
    let (mut sender, mut recipients) = (String::new(), Vec::new());
    let path = |line: &str| {
        let path = line.split_once('<').and_then(|(_, rest)| rest.split_once('>'));
        path.map_or_else(String::new, |(path, _)| path.to_owned())
    };
    loop {
        let mut line = String::new();
        if lines.read_line(&mut line)? == 0 {
            return Ok(());
        }
        let verb: String = line.chars().take(4).collect::<String>().to_ascii_uppercase();
        let answer = match verb.as_str() {
            "EHLO" => "250-sink.example\r\n250-PIPELINING\r\n250 8BITMIME",
            "MAIL" => {
                sender = path(&line);
                recipients.clear();
                "250 2.1.0 ok"
            }
            "RCPT" => {
                let recipient = path(&line);
                if !is_taken(&recipient) {
                    "550 5.1.1 no such user"
                } else if recipient.starts_with("later")
                    && seen.lock().unwrap().put_off.insert(recipient.clone())
                {
                    "451 4.2.0 not now"
                } else {
                    recipients.push(recipient);
                    "250 2.1.5 ok"
                }
            }
            "DATA" if recipients.is_empty() => "554 5.5.1 nobody",
            "DATA" => {
                let began = Instant::now();
                out.write_all(b"354 go on\r\n")?;
                let Some(content) = content(&mut lines)? else { return Ok(()) };
                std::thread::sleep(Duration::from_millis(random.below(HESITATION_MS_MAX)));
                let taken = std::mem::take(&mut recipients);
                let report = sender.is_empty();
                let faults =
                    if report { report_faults(&taken, &content) } else { mail_faults(&taken, &content) };
                // What was checked above took its time, and others wait for the lock.
                let mut seen = seen.lock().unwrap();
                seen.faults.extend(faults);
                if report {
                    for recipient in failed(&content) {
                        *seen.reported.entry(recipient.to_owned()).or_default() += 1;
                    }
                } else {
                    let arrival = Arrival { began, ended: Instant::now() };
                    for recipient in &taken {
                        seen.arrived.entry(recipient.clone()).or_default().push(arrival);
                    }
                }
                drop(seen);
                count.fetch_add(taken.len(), Ordering::Relaxed);
                "250 2.0.0 taken"
            }
            "QUIT" => {
                out.write_all(b"221 2.0.0 bye\r\n")?;
                return Ok(());
            }
            _ => "250 2.0.0 ok",
        };
        out.write_all(format!("{answer}\r\n").as_bytes())?;
    }
}

/// Reads up to the dot. None when the connection ends before it: nobody was told that such a message arrived.
fn content(lines: &mut BufReader<TcpStream>) -> std::io::Result<Option<String>> {
    let mut text = String::new();
    loop {
        let mut line = String::new();
        if lines.read_line(&mut line)? == 0 || !line.ends_with('\n') {
            return Ok(None);
        }
        if line == ".\r\n" {
            return Ok(Some(text));
        }
        text.push_str(line.strip_prefix('.').unwrap_or(&line));
    }
}

/// What is wrong with a message for these recipients.
fn mail_faults(taken: &[String], content: &str) -> Vec<String> {
    let mut faults = Vec::new();
    for recipient in taken {
        let known = number(recipient).filter(|number| recipients(*number).contains(recipient));
        let Some(number) = known else {
            faults.push(format!("mail for {recipient}, to whom nothing was sent"));
            continue;
        };
        match content.strip_suffix(&text(number)) {
            Some(trace) if trace.starts_with("Received: ") && trace.len() <= TRACE_OCTETS_MAX => {}
            _ => faults.push(format!("{recipient} got {} octets that were not sent", content.len())),
        }
    }
    faults
}

/// Recipients that a report is about.
fn failed(content: &str) -> impl Iterator<Item = &str> {
    content.lines().filter_map(|line| line.strip_prefix("Final-Recipient: rfc822; "))
}

/// What is wrong with a report for these recipients.
fn report_faults(taken: &[String], content: &str) -> Vec<String> {
    let mut faults = Vec::new();
    // The last boundary of a multipart ends with two dashes.
    let whole = failed(content).count() > 0 && content.trim_end().ends_with("--");
    if !whole || taken != ["sender@client.example"] {
        faults.push(format!("a report to {taken:?} of {} octets", content.len()));
    }
    let wrong = failed(content).filter(|recipient| is_taken(recipient));
    faults.extend(wrong.map(|recipient| format!("a report about {recipient}, who takes mail")));
    faults
}
