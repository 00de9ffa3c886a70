//! The SMTP edge of a real node: limits, relay control, TLS, PROXY headers.
#![allow(clippy::unwrap_used, reason = "tests")]

mod support;

use rustls::pki_types::ServerName;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::Arc;
use std::time::{Duration, Instant};
use support::{Client, SingleNode, wait_until};

const SHOW: &str = "cluster shared show inbound_cidr";

/// Mail transfer document, acceptance cases 1 and 4.
#[test]
fn mta_cases_01_and_04_greeting_and_relay_control() {
    let node = SingleNode::start("Relay_Domains = ( \"*.example.com\" )", "", "");
    let mut client = Client::connect(&node.smtp).unwrap();
    let reply = client.command("EHLO c.example").unwrap();
    let lines: Vec<&str> = reply.lines().collect();
    assert_eq!(lines[0], "250-mx.test.example says EHLO to 127.0.0.1");
    for extension in ["250-PIPELINING", "250-8BITMIME", "250-SIZE 0", "250-ENHANCEDSTATUSCODES"] {
        assert!(lines.contains(&extension), "{reply}");
    }
    assert!(lines.last().unwrap().starts_with("250 "));
    assert_eq!(client.command("MAIL FROM:<a@b.example>").unwrap(), "250 2.1.0 MAIL FROM accepted\r\n");
    assert_eq!(client.command("RCPT TO:<x@test.example.com>").unwrap(), "250 2.1.5 RCPT TO accepted\r\n");
    assert_eq!(client.command("RCPT TO:<x@example.com>").unwrap(), "550 5.7.1 relaying denied\r\n");
    assert!(node.console("summary").contains("Rejected Messages:      1\n"));
}

/// Mail transfer document, acceptance case 3: the refused session gets its reply, and the others stay counted.
#[test]
fn mta_case_03_session_limit() {
    let node = SingleNode::start("", "  Listener_Sessions = 2", "");
    let held: Vec<Client> = (0..2).map(|_| Client::connect(&node.smtp).unwrap()).collect();
    let mut third = Client::raw(&node.smtp).unwrap();
    assert_eq!(third.reply().unwrap(), "421 4.4.5 Service unavailable, concurrency limit reached\r\n");
    assert_eq!(third.rest(), "");
    wait_until(Duration::from_secs(5), "two are counted", || {
        node.console(SHOW).contains("      2                         127.0.0.1/32\n")
    });
    drop(held);
    wait_until(Duration::from_secs(5), "the places are free again", || {
        Client::connect(&node.smtp)
            .and_then(|mut client| client.command("NOOP"))
            .is_ok_and(|reply| reply.starts_with("250"))
    });
}

/// Mail transfer document, acceptance case 8, over a real socket.
#[test]
fn mta_case_08_a_bare_line_feed_never_ends_the_data() {
    let node = SingleNode::start("Relay_Hosts = ( 127.0.0.0/8 )", "", "");
    let mut client = Client::connect(&node.smtp).unwrap();
    client.command("EHLO c.example").unwrap();
    client.command("MAIL FROM:<a@b.example>").unwrap();
    client.command("RCPT TO:<c@d.example>").unwrap();
    client.command("DATA").unwrap();
    client
        .send("From: a\r\nDate: d\r\n\r\nx\n.\nMAIL FROM:<evil@b.example>\nRCPT TO:<c@d.example>\nDATA\ny\r\n.\r\n")
        .unwrap();
    let reply = client.reply().unwrap();
    assert_eq!(reply, "550 5.6.0 Lone CR or LF in body (see RFC2822 section 2.3)\r\n");
    assert!(client.command("NOOP").unwrap().starts_with("250"));
    assert!(node.console("summary").contains("Total Queue Size:      0\n"));
}

/// Mail transfer document, acceptance case 30, ten times as fast.
#[test]
fn mta_case_30_mail_waits_for_a_unit_of_the_inbound_throttle() {
    let node = SingleNode::start("Inbound_Throttle_Messages = \"1/1\"", "", "");
    let mut clients: Vec<Client> = (0..3).map(|_| Client::connect(&node.smtp).unwrap()).collect();
    for client in &mut clients {
        client.command("EHLO c.example").unwrap();
    }
    let started = Instant::now();
    for client in &mut clients {
        client.send("MAIL FROM:<a@b.example>\r\n").unwrap();
    }
    for client in &mut clients {
        assert_eq!(client.reply().unwrap(), "250 2.1.0 MAIL FROM accepted\r\n");
    }
    assert!(started.elapsed() >= Duration::from_secs(2), "{:?}", started.elapsed());
}

#[test]
fn a_unit_of_the_inbound_throttle_comes_back_without_a_message_and_no_wait_outlasts_the_idle_time() {
    let node = SingleNode::start(
        "Inbound_Throttle_Messages = \"1/3600\"\nRelay_Hosts = ( 127.0.0.0/8 )",
        "  Idle_Time = 30",
        "",
    );
    let mut client = Client::connect(&node.smtp).unwrap();
    client.command("EHLO c.example").unwrap();
    for _ in 0..2 {
        assert_eq!(client.command("MAIL FROM:<a@b.example>").unwrap(), "250 2.1.0 MAIL FROM accepted\r\n");
        assert_eq!(client.command("RSET").unwrap(), "250 2.0.0 reset\r\n");
    }
    {
        let mut gone = Client::connect(&node.smtp).unwrap();
        gone.command("EHLO c.example").unwrap();
        assert!(gone.command("MAIL FROM:<a@b.example>").unwrap().starts_with("250"));
    }
    wait_until(Duration::from_secs(5), "the unit of the client that went away is back", || {
        let reply = client.command("MAIL FROM:<a@b.example>").unwrap();
        reply.starts_with("250")
    });
    client.command("RCPT TO:<c@d.example>").unwrap();
    client.command("DATA").unwrap();
    client.send("Subject: x\r\n\r\nx\r\n.\r\n").unwrap();
    assert!(client.reply().unwrap().starts_with("250"));

    let reply = client.command("MAIL FROM:<a@b.example>").unwrap();
    assert_eq!(reply, "451 4.3.2 reception rate limit, try later\r\n");
    assert!(client.command("NOOP").unwrap().starts_with("250"));
    assert!(node.console("summary").contains("Rejected Messages:      0\n"));
}

#[test]
fn a_silent_client_is_sent_away() {
    let node = SingleNode::start("", "  Idle_Time = 1", "");
    let mut client = Client::connect(&node.smtp).unwrap();
    let started = Instant::now();
    assert_eq!(client.reply().unwrap(), "421 4.4.2 idle timeout, closing connection\r\n");
    assert!(started.elapsed() >= Duration::from_millis(900));
    assert_eq!(client.rest(), "");
}

#[test]
fn a_connection_without_the_wanted_proxy_header_is_closed() {
    let node = SingleNode::start("", "", "    Proxy_Protocol = true\n    Proxy_Protocol_Timeout = 1");
    let mut client = Client::raw(&node.smtp).unwrap();
    client.send("EHLO c.example\r\nNOOP\r\n").unwrap();
    assert_eq!(client.rest(), "");
    let mut silent = Client::raw(&node.smtp).unwrap();
    assert_eq!(silent.rest(), "");
    let mut proxied = Client::connect_from(&node.smtp, "203.0.113.77".parse().unwrap()).unwrap();
    assert!(proxied.command("EHLO c").unwrap().contains("says EHLO to 203.0.113.77\r\n"));
    wait_until(Duration::from_secs(5), "the carried address is counted, the proxy's is not", || {
        let shown = node.console(SHOW);
        shown.contains("      1                         203.0.113.77/32\n") && !shown.contains("127.0.0.1")
    });
}

/// `Always_Deny` closes the console to clients it is written for; deny wins over allow.
#[test]
fn a_denied_console_gets_no_greeting() {
    let port = std::net::TcpListener::bind("127.0.2.1:0").unwrap().local_addr().unwrap();
    let node = SingleNode::start(
        &format!(
            "Control_Listener {{ Listen \"{port}\" {{ Always_Allow = true\n\
             Peer \"127.0.0.0/8\" {{ Always_Deny = true }}\n}} }}"
        ),
        "",
        "",
    );
    let mut stream = TcpStream::connect(port).unwrap();
    let mut answer = Vec::new();
    drop(stream.write_all(b"pid\n"));
    drop(stream.read_to_end(&mut answer));
    assert!(answer.is_empty(), "{}", String::from_utf8_lossy(&answer));
    // The Unix socket of the same node is another Listen.
    assert!(node.console("cluster nodename").starts_with("solo"));
}

fn certificate(dir: &std::path::Path) -> rustls::RootCertStore {
    let made = rcgen::generate_simple_self_signed(vec!["mx.test.example".to_owned()]).unwrap();
    std::fs::write(dir.join("cert.pem"), made.cert.pem()).unwrap();
    std::fs::write(dir.join("key.pem"), made.signing_key.serialize_pem()).unwrap();
    let mut roots = rustls::RootCertStore::empty();
    roots.add(made.cert.der().clone()).unwrap();
    roots
}

type Tls = rustls::StreamOwned<rustls::ClientConnection, TcpStream>;

fn handshake(stream: TcpStream, roots: rustls::RootCertStore) -> Tls {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    let name = ServerName::try_from("mx.test.example").unwrap();
    let connection = rustls::ClientConnection::new(Arc::new(config), name).unwrap();
    rustls::StreamOwned::new(connection, stream)
}

fn line(stream: &mut impl Read) -> String {
    let mut line = Vec::new();
    let mut byte = [0];
    while !line.ends_with(b"\r\n") {
        stream.read_exact(&mut byte).unwrap();
        line.push(byte[0]);
    }
    String::from_utf8(line).unwrap()
}

fn reply(stream: &mut impl Read) -> String {
    let mut reply = String::new();
    loop {
        let next = line(stream);
        let last = next.as_bytes()[3] == b' ';
        reply.push_str(&next);
        if last {
            return reply;
        }
    }
}

#[test]
fn starttls_protects_the_session_and_forgets_what_was_said_before() {
    let certificates = tempfile::tempdir().unwrap();
    let roots = certificate(certificates.path());
    let files = certificates.path().display();
    let tls = format!("    TLS_Certificate = \"{files}/cert.pem\"\n    TLS_Key = \"{files}/key.pem\"");
    // Policy sees what was agreed on.
    let script = "local mod = {} function mod:validate_rcptto(msg, str, ac, vctx) if str == 'facts@d.example' then \
         local function get(key) return tostring(vctx:get(msys.core.VCTX_CONN, key)) end vctx:set_code(450, get('tls') .. ' ' .. \
         get('tls_cipher') .. ' ' .. get('tls_cipher_algbits') .. ' ' .. get('tls_cipher_usebits') .. ' ' .. \
         get('tls_client_verified')) end return 0 end msys.registerModule('a', mod)";
    let global = "Relay_Hosts = ( 127.0.0.0/8 )\nscriptlet \"s\" { script \"a\" { source = \"a\" } }";
    let node = SingleNode::start_with(global, "", &tls, &[("a.lua".to_owned(), script.to_owned())]);
    let mut stream = TcpStream::connect(&node.smtp).unwrap();
    reply(&mut stream);
    stream.write_all(b"EHLO c.example\r\n").unwrap();
    assert!(reply(&mut stream).contains("STARTTLS\r\n"));
    stream.write_all(b"MAIL FROM:<a@b.example>\r\nRSET\r\nSTARTTLS\r\n").unwrap();
    reply(&mut stream);
    reply(&mut stream);
    assert_eq!(reply(&mut stream), "220 2.0.0 ready to start TLS\r\n");
    let mut secure = handshake(stream, roots);
    secure.write_all(b"EHLO c.example\r\n").unwrap();
    let offered = reply(&mut secure);
    assert!(!offered.contains("STARTTLS"), "{offered}");
    secure
        .write_all(
            b"MAIL FROM:<a@b.example>\r\nRCPT TO:<facts@d.example>\r\nRCPT TO:<c@d.example>\r\nDATA\r\n",
        )
        .unwrap();
    assert!(reply(&mut secure).starts_with("250"));
    let facts = reply(&mut secure);
    assert!(facts.starts_with("450 TLSv1.3 TLS13_AES_256_GCM_SHA384 256 256 nil"), "{facts}");
    for code in ["250", "354"] {
        assert!(reply(&mut secure).starts_with(code));
    }
    secure.write_all(b"From: a\r\nDate: d\r\nMessage-ID: <x@y>\r\n\r\nhello\r\n.\r\nQUIT\r\n").unwrap();
    assert!(reply(&mut secure).ends_with(" accepted\r\n"));
    assert!(reply(&mut secure).starts_with("221"));
    let stored = walk(&node.dir.path().join("spool/msg"));
    let text = String::from_utf8_lossy(&std::fs::read(&stored[0]).unwrap()).into_owned();
    assert!(text.contains("with ESMTPS"), "{text}");
}

/// Mail transfer document, acceptance case 10.
#[test]
fn mta_case_10_commands_behind_starttls_are_refused() {
    let certificates = tempfile::tempdir().unwrap();
    certificate(certificates.path());
    let files = certificates.path().display();
    let tls = format!("    TLS_Certificate = \"{files}/cert.pem\"\n    TLS_Key = \"{files}/key.pem\"");
    let node = SingleNode::start("", "", &tls);
    let mut client = Client::connect(&node.smtp).unwrap();
    client.command("EHLO c.example").unwrap();
    client.send("STARTTLS\r\nNOOP\r\n").unwrap();
    let answer = client.rest();
    assert!(answer.starts_with("554") && !answer.contains("250"), "{answer}");
    assert!(node.console("summary").contains("Rejected Messages:      1\n"));
}

#[test]
fn use_ssl_speaks_tls_from_the_first_octet() {
    let certificates = tempfile::tempdir().unwrap();
    let roots = certificate(certificates.path());
    let files = certificates.path().display();
    let tls = format!(
        "    Use_SSL = true\n    TLS_Certificate = \"{files}/cert.pem\"\n    TLS_Key = \"{files}/key.pem\""
    );
    let node = SingleNode::start("", "", &tls);
    let mut secure = handshake(TcpStream::connect(&node.smtp).unwrap(), roots);
    assert!(reply(&mut secure).starts_with("220 mx.test.example ESMTP"));
}

fn walk(folder: &std::path::Path) -> Vec<std::path::PathBuf> {
    let mut files = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap().flatten() {
        if entry.path().is_dir() { files.extend(walk(&entry.path())) } else { files.push(entry.path()) }
    }
    files
}
