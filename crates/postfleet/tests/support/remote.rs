//! The outside world of a delivery: a name server and a mail server that do as they are told.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, TcpListener, TcpStream, UdpSocket};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// `example.net MX 10 mx.example.net` and `mx.example.net A 127.0.0.1`, a line each; any other name does not exist.
pub(crate) fn name_server(zone: &str) -> String {
    let mut records: BTreeMap<String, Vec<(u16, Vec<u8>)>> = BTreeMap::new();
    for line in zone.lines() {
        let words: Vec<&str> = line.split_whitespace().collect();
        let (kind, data) = match words[1] {
            "A" => (1, words[2].parse::<Ipv4Addr>().unwrap().octets().to_vec()),
            "AAAA" => (28, words[2].parse::<Ipv6Addr>().unwrap().octets().to_vec()),
            "MX" => {
                let mut data = words[2].parse::<u16>().unwrap().to_be_bytes().to_vec();
                data.extend(encoded(words.get(3).copied().unwrap_or("")));
                (15, data)
            }
            other => panic!("{other}"),
        };
        records.entry(words[0].to_owned()).or_default().push((kind, data));
    }
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    let address = socket.local_addr().unwrap().to_string();
    std::thread::spawn(move || {
        let mut buffer = [0; 1500];
        while let Ok((count, client)) = socket.recv_from(&mut buffer) {
            let query = &buffer[..count];
            let (mut at, mut labels) = (12, Vec::new());
            while query[at] != 0 {
                let end = at + 1 + usize::from(query[at]);
                labels.push(String::from_utf8_lossy(&query[at + 1..end]).to_ascii_lowercase());
                at = end;
            }
            let question = &query[12..at + 5];
            let kind = u16::from_be_bytes([query[at + 1], query[at + 2]]);
            let found = records.get(&labels.join("."));
            let answers: Vec<&(u16, Vec<u8>)> =
                found.into_iter().flatten().filter(|record| record.0 == kind).collect();
            let mut reply = query[..2].to_vec();
            reply.extend([0x85, if found.is_some() { 0x80 } else { 0x83 }, 0, 1]);
            reply.extend(u16::try_from(answers.len()).unwrap().to_be_bytes());
            reply.extend([0; 4]);
            reply.extend(question);
            for (kind, data) in answers {
                reply.extend([0xC0, 12]);
                reply.extend(kind.to_be_bytes());
                reply.extend([0, 1, 0, 0, 0, 60]);
                reply.extend(u16::try_from(data.len()).unwrap().to_be_bytes());
                reply.extend(data);
            }
            drop(socket.send_to(&reply, client));
        }
    });
    address
}

fn encoded(name: &str) -> Vec<u8> {
    let mut bytes = Vec::new();
    for label in name.split('.').filter(|label| !label.is_empty()) {
        bytes.push(u8::try_from(label.len()).unwrap());
        bytes.extend(label.as_bytes());
    }
    bytes.push(0);
    bytes
}

/// What one transaction brought.
#[derive(Clone, Debug)]
pub(crate) struct Received {
    /// Where the connection came from, and what it said in EHLO.
    #[allow(dead_code, reason = "of no interest to some tests")]
    pub(crate) peer: IpAddr,
    #[allow(dead_code, reason = "of no interest to some tests")]
    pub(crate) helo: String,
    pub(crate) sender: String,
    pub(crate) recipients: Vec<String>,
    pub(crate) text: String,
}

/// A mail server that answers RCPT as it is told and remembers what it got.
pub(crate) struct MailServer {
    pub(crate) port: u16,
    pub(crate) received: Arc<Mutex<Vec<Received>>>,
    /// Sessions ever, open now, open at most.
    pub(crate) sessions: Arc<AtomicUsize>,
    pub(crate) open: Arc<AtomicUsize>,
    pub(crate) peak: Arc<AtomicUsize>,
    /// While this is set, no message is answered.
    pub(crate) held: Arc<AtomicBool>,
}

impl MailServer {
    pub(crate) fn start(reply: impl Fn(&str) -> &'static str + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let server = Self {
            port: listener.local_addr().unwrap().port(),
            received: Arc::default(),
            sessions: Arc::default(),
            open: Arc::default(),
            peak: Arc::default(),
            held: Arc::default(),
        };
        let reply = Arc::new(reply);
        let (received, held) = (Arc::clone(&server.received), Arc::clone(&server.held));
        let (sessions, open, peak) =
            (Arc::clone(&server.sessions), Arc::clone(&server.open), Arc::clone(&server.peak));
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                sessions.fetch_add(1, Ordering::SeqCst);
                peak.fetch_max(open.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
                let (reply, received, open, held) =
                    (Arc::clone(&reply), Arc::clone(&received), Arc::clone(&open), Arc::clone(&held));
                std::thread::spawn(move || {
                    drop(serve(stream, &*reply, &received, &held));
                    open.fetch_sub(1, Ordering::SeqCst);
                });
            }
        });
        server
    }

    pub(crate) fn all(&self) -> Vec<Received> {
        self.received.lock().unwrap().clone()
    }
}

fn serve(
    stream: TcpStream,
    reply: &(dyn Fn(&str) -> &'static str + Send + Sync),
    received: &Mutex<Vec<Received>>,
    held: &AtomicBool,
) -> std::io::Result<()> {
    stream.set_nodelay(true)?;
    let (peer, mut helo) = (stream.peer_addr()?.ip(), String::new());
    let mut out = stream.try_clone()?;
    let mut lines = BufReader::new(stream);
    out.write_all(b"220 remote.example ESMTP\r\n")?;
    let (mut sender, mut recipients) = (String::new(), Vec::new());
    let path =
        |line: &str| line.split_once('<').and_then(|(_, rest)| rest.split_once('>')).unwrap().0.to_owned();
    loop {
        let mut line = String::new();
        if lines.read_line(&mut line)? == 0 {
            return Ok(());
        }
        let verb: String = line.chars().take(4).collect::<String>().to_ascii_uppercase();
        let answer = match verb.as_str() {
            "EHLO" => {
                helo = line.trim_end().split(' ').nth(1).unwrap_or_default().to_owned();
                "250-remote.example\r\n250-PIPELINING\r\n250 8BITMIME".to_owned()
            }
            "MAIL" => {
                sender = path(&line);
                recipients.clear();
                "250 2.1.0 ok".to_owned()
            }
            "RCPT" => {
                let recipient = path(&line);
                let answer = reply(&recipient);
                if answer.starts_with('2') {
                    recipients.push(recipient);
                }
                answer.to_owned()
            }
            "DATA" if recipients.is_empty() => "554 5.5.1 nobody".to_owned(),
            "DATA" => {
                out.write_all(b"354 go on\r\n")?;
                let mut text = String::new();
                loop {
                    let mut line = String::new();
                    if lines.read_line(&mut line)? == 0 {
                        return Ok(());
                    }
                    if line == ".\r\n" {
                        break;
                    }
                    text.push_str(line.strip_prefix('.').unwrap_or(&line));
                }
                while held.load(Ordering::SeqCst) {
                    std::thread::sleep(Duration::from_millis(5));
                }
                let (sender, recipients) = (sender.clone(), std::mem::take(&mut recipients));
                received.lock().unwrap().push(Received {
                    peer,
                    helo: helo.clone(),
                    sender,
                    recipients,
                    text,
                });
                "250 2.0.0 taken".to_owned()
            }
            "QUIT" => {
                out.write_all(b"221 2.0.0 bye\r\n")?;
                return Ok(());
            }
            _ => "250 2.0.0 ok".to_owned(),
        };
        out.write_all(format!("{answer}\r\n").as_bytes())?;
    }
}
