//! The console's client against a server of the same protocol, without a node.
#![allow(clippy::unwrap_used, clippy::wildcard_enum_match_arm, reason = "tests")]

use std::fs::File;
use std::io::{Read, Write};
use std::net::Shutdown;
use std::os::fd::OwnedFd;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use postfleet_console::{Answer, Command as Asked, Event, Failure, Names, Profile, Server};
use postfleet_types::WallTime;

const PROGRAM: &str = env!("CARGO_BIN_EXE_postfleet");

/// A control socket whose commands are answered by a few fixed rules.
struct Rig {
    folder: tempfile::TempDir,
    socket: PathBuf,
    /// Connections that the server has closed.
    closed: Arc<AtomicUsize>,
}

/// `shutdown` never answers, `cluster reset` closes the connection, `summary reset` closes it after the answer.
fn serve(mut stream: impl Read + Write) {
    let profile = Profile::node("relay-0-1", "1.0.0").compatible();
    let now = WallTime::from_unix_seconds(1_900_000_000);
    let mut server = Server::new(&profile);
    let mut bytes = [0; 4096];
    let mut close_soon = false;
    loop {
        let event = server.poll_event(&profile, now);
        let quiet = event.is_none();
        let closing = event == Some(Event::Close);
        match event {
            Some(Event::Run { id, command, .. }) => {
                let result = match command {
                    Asked::Pid => Some(Ok(Answer::Pid(481))),
                    Asked::SummaryReset => {
                        close_soon = true;
                        Some(Ok(Answer::statistics_cleared()))
                    }
                    Asked::SharedShow { object, .. } if object == "long" => {
                        Some(Ok(Answer::Lines((0..20_000).map(|n| format!("line {n}")).collect())))
                    }
                    Asked::SharedShow { object, .. } => Some(Err(Failure::unknown_object(&object))),
                    // `begin` opens a transaction, as far as a client can tell.
                    Asked::Config { .. } => Some(Ok(Answer::Lines(Vec::new()))),
                    Asked::ClusterReset => return,
                    Asked::Shutdown => None,
                    Asked::Registered(words) => Some(Err(Failure::unknown_command(&words[0]))),
                    other => Some(Err(Failure::internal(format!("{other:?}")))),
                };
                if let Some(result) = result {
                    server.answer(id, &profile, now, result.as_ref());
                }
            }
            Some(Event::Complete { id, .. }) => {
                let names = Names { objects: vec!["inbound_cidr".into()], ..Names::default() };
                server.complete(id, &profile, &names);
            }
            Some(Event::Cancelled { .. } | Event::Close) | None => {}
        }
        let mut sent = false;
        while let Some(output) = server.poll_output() {
            sent = true;
            if stream.write_all(&output).is_err() {
                return;
            }
        }
        if closing || close_soon {
            return;
        }
        if quiet && !sent {
            match stream.read(&mut bytes) {
                Ok(0) | Err(_) => server.receive_end(),
                Ok(count) => server.receive(&bytes[..count]),
            }
        }
    }
}

impl Rig {
    fn start() -> Self {
        let folder = tempfile::Builder::new().prefix("pf").tempdir().unwrap();
        let socket = folder.path().join("2025");
        let listener = UnixListener::bind(&socket).unwrap();
        let closed = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&closed);
        thread::spawn(move || {
            for stream in listener.incoming() {
                let (stream, count) = (stream.unwrap(), Arc::clone(&count));
                thread::spawn(move || {
                    serve(&stream);
                    // A process that another test is just starting has the socket too, until it runs its program.
                    let _ended = stream.shutdown(Shutdown::Both);
                    count.fetch_add(1, Ordering::SeqCst);
                });
            }
        });
        Self { folder, socket, closed }
    }

    /// Waits until the server has closed a connection.
    fn wait_closed(&self) {
        let deadline = Instant::now() + Duration::from_secs(20);
        while self.closed.load(Ordering::SeqCst) == 0 {
            assert!(Instant::now() < deadline);
            thread::sleep(Duration::from_millis(5));
        }
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(PROGRAM);
        command.arg("console").args(arguments).env("HOME", self.folder.path()).env("TZ", "UTC0");
        for name in ["CONSOLE_ENDPOINT", "CONSOLE_USER", "CONSOLE_PROMPT"] {
            command.env_remove(format!("POSTFLEET_{name}")).env_remove(format!("EC_{name}"));
        }
        command.env_remove("PAGER").env("TERM", "xterm").env("NO_COLOR", "1");
        command
    }

    /// Runs one command, or what is given on standard input.
    fn batch(&self, options: &[&str], words: &[&str], input: &str) -> Output {
        let socket = self.socket.to_str().unwrap();
        let arguments: Vec<&str> = options.iter().chain([&socket]).chain(words).copied().collect();
        let mut child = self
            .command(&arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        // A client that stops early does not read the rest.
        let _ = child.stdin.take().unwrap().write_all(input.as_bytes());
        child.wait_with_output().unwrap()
    }
}

fn check(output: &Output, code: i32, stdout: &str, stderr: &str) {
    let shown = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    assert_eq!(
        (output.status.code(), shown(&output.stdout).as_str(), shown(&output.stderr).as_str()),
        (Some(code), stdout, stderr)
    );
}

#[test]
fn console_case_04_errors_go_to_standard_error() {
    let rig = Rig::start();
    let output = rig.batch(&[], &["cluster", "shared", "show", "nosuch"], "");
    check(&output, 1, "", "unknown shared object 'nosuch'\n");
}

#[test]
fn console_case_18_lines_of_standard_input() {
    let rig = Rig::start();
    let output = rig.batch(&[], &[], "pid\n\n# comment\nversion\n");
    let text = String::from_utf8(output.stdout.clone()).unwrap();
    assert_eq!(output.status.code(), Some(0));
    assert!(text.starts_with("481\n####"), "{text}");
    assert!(text.contains("\n# ecelerity version: 1.0.0\n"), "{text}");
    assert!(text.ends_with("###\n"), "{text}");
    assert_eq!(output.stderr, b"");
}

#[test]
fn console_case_19_exit_codes() {
    let rig = Rig::start();
    check(&rig.batch(&[], &["nosuch"], ""), 2, "", "Unknown command: nosuch. Try 'help'.\n");
    check(&rig.batch(&[], &["pid", "now"], ""), 2, "", "Usage: pid\n");
    let missing = rig.folder.path().join("none");
    let output = rig.command(&[missing.to_str().unwrap(), "pid"]).output().unwrap();
    let text = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(3), "{text}");
    assert!(text.starts_with(&format!("Cannot connect to {}: No such file", missing.display())), "{text}");
}

#[test]
fn console_case_20_no_login() {
    let rig = Rig::start();
    let output = rig.command(&["john@127.0.0.1:2025", "summary"]).stdin(Stdio::null()).output().unwrap();
    assert_eq!(output.status.code(), Some(4));
    assert!(String::from_utf8(output.stderr).unwrap().starts_with("Cannot log in as 'john'"));
}

#[test]
fn console_s1_2_a_failed_line_stops_unless_told_otherwise() {
    let rig = Rig::start();
    let failed = "unknown shared object 'x'\n";
    check(&rig.batch(&[], &[], "pid\ncluster shared show x\npid\n"), 1, "481\n", failed);
    check(
        &rig.batch(&["-c"], &[], "pid\ncluster shared show x\npid\nnosuch\n"),
        1,
        "481\n481\n",
        "unknown shared object 'x'\nUnknown command: nosuch. Try 'help'.\n",
    );
    check(&rig.batch(&[], &[], "pid\nquit\nnosuch\n"), 0, "481\n", "");
}

#[test]
fn machine_forms_answer_on_standard_output_also_when_they_fail() {
    let rig = Rig::start();
    let output = rig.batch(&["--json"], &["cluster", "shared", "show", "x"], "");
    let value: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert_eq!(value["error"]["code"], "no_such_object");
    assert_eq!(output.stderr, b"unknown shared object 'x'\n");
    let output = rig.batch(&["-x"], &["pid"], "");
    assert!(String::from_utf8(output.stdout).unwrap().ends_with("<Pid pid=\"481\"/></Response>\n"));
    let output = rig.batch(&[], &["json", "pid"], "");
    assert_eq!(serde_json::from_slice::<serde_json::Value>(&output.stdout).unwrap()["data"]["pid"], 481);
}

#[test]
fn long_output_arrives_whole() {
    let rig = Rig::start();
    let output = rig.batch(&[], &["cluster", "shared", "show", "long"], "");
    let expected: String = (0..20_000).map(|n| format!("line {n}\n")).collect();
    assert_eq!(String::from_utf8(output.stdout).unwrap(), expected);
}

#[test]
fn console_s1_6_lost_and_late_answers() {
    let rig = Rig::start();
    let lost = "Connection lost while the command was running; whether it took effect is not known.\n";
    check(&rig.batch(&[], &["cluster", "reset"], ""), 6, "", lost);
    let late = "No answer within 0.2 seconds; whether the command took effect is not known.\n";
    check(&rig.batch(&["-t", "0.2"], &["shutdown"], ""), 6, "", late);
}

#[test]
fn console_case_24_a_closed_connection_is_renewed() {
    let rig = Rig::start();
    let mut client = rig
        .command(&[rig.socket.to_str().unwrap()])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut keys = client.stdin.take().unwrap();
    keys.write_all(b"summary reset\n").unwrap();
    rig.wait_closed();
    keys.write_all(b"pid\n").unwrap();
    drop(keys);
    check(&client.wait_with_output().unwrap(), 0, "statistics cleared.\n481\n", "");
}

#[test]
fn console_case_24_a_transaction_goes_with_its_connection() {
    let rig = Rig::start();
    let mut terminal = Terminal::open(&rig, &["-q", "--prompt", "%p> "]);
    terminal.wait_for("ecelerity> ");
    terminal.press("config begin\r");
    terminal.wait_for("ecelerity*> ");
    terminal.press("config rollback\r");
    terminal.wait_for("ecelerity> ");
    terminal.press("config begin\r");
    terminal.wait_for("ecelerity*> ");
    terminal.press("summary reset\r");
    terminal.wait_for("statistics cleared.");
    rig.wait_closed();
    terminal.wait_for("ecelerity*> ");
    terminal.press("config commit\r");
    terminal.wait_for("Connection lost; transaction discarded.");
    terminal.wait_for("ecelerity> ");
    terminal.press("pid\r");
    terminal.wait_for("481");
    terminal.press("quit\r");
    assert!(terminal.child.wait().unwrap().success());
}

#[test]
fn console_s1_1_tcp_endpoints() {
    let rig = Rig::start();
    for address in ["127.0.0.1:0", "[::1]:0"] {
        // A machine without IPv6 tests the other form only.
        let Ok(listener) = std::net::TcpListener::bind(address) else { continue };
        let endpoint = listener.local_addr().unwrap().to_string();
        let server = thread::spawn(move || serve(listener.accept().unwrap().0));
        let output = rig.command(&[&endpoint, "pid"]).output().unwrap();
        check(&output, 0, "481\n", "");
        server.join().unwrap();
    }
}

#[test]
fn something_else_behind_the_socket_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let socket = folder.path().join("other");
    let listener = UnixListener::bind(&socket).unwrap();
    let other =
        thread::spawn(move || listener.accept().unwrap().0.write_all(b"220 mx.example ESMTP\r\n").unwrap());
    let output = Command::new(PROGRAM).arg("console").arg(&socket).arg("pid").output().unwrap();
    other.join().unwrap();
    let text = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(3), "{text}");
    assert!(text.contains("this is no postfleet control socket (it says '220 mx.example ESMTP')"), "{text}");
}

#[test]
fn console_s3_plain_mode_over_a_socket() {
    let rig = Rig::start();
    let mut stream = UnixStream::connect(&rig.socket).unwrap();
    stream.write_all(b"pid\nnosuch\n").unwrap();
    stream.shutdown(std::net::Shutdown::Write).unwrap();
    let mut text = String::new();
    stream.read_to_string(&mut text).unwrap();
    assert_eq!(
        text,
        "POSTFLEET-CONTROL 1 node relay-0-1 1.0.0 AUTH=none\n481\nUnknown command: nosuch. Try 'help'.\n"
    );
}

/// A terminal with the client at its other end.
struct Terminal {
    keys: File,
    screen: std::sync::mpsc::Receiver<Vec<u8>>,
    seen: String,
    child: std::process::Child,
}

impl Terminal {
    fn open(rig: &Rig, options: &[&str]) -> Self {
        use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
        let master = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).unwrap();
        grantpt(&master).unwrap();
        unlockpt(&master).unwrap();
        let name = ptsname(&master, Vec::new()).unwrap();
        let side = || -> OwnedFd {
            File::options().read(true).write(true).open(Path::new(name.to_str().unwrap())).unwrap().into()
        };
        let socket = rig.socket.to_str().unwrap();
        let arguments: Vec<&str> = options.iter().copied().chain([socket]).collect();
        let child = rig.command(&arguments).stdin(side()).stdout(side()).stderr(side()).spawn().unwrap();
        let keys = File::from(master);
        let mut output = keys.try_clone().unwrap();
        let (sender, screen) = std::sync::mpsc::channel();
        thread::spawn(move || {
            let mut bytes = [0; 4096];
            // The read fails when the client has left.
            while let Ok(count @ 1..) = output.read(&mut bytes) {
                if sender.send(bytes[..count].to_vec()).is_err() {
                    return;
                }
            }
        });
        Self { keys, screen, seen: String::new(), child }
    }

    /// Waits until the screen has shown `text`, and forgets everything up to its end.
    fn wait_for(&mut self, text: &str) {
        let deadline = Instant::now() + Duration::from_secs(20);
        while !self.seen.contains(text) {
            let left = deadline.saturating_duration_since(Instant::now());
            let bytes = self.screen.recv_timeout(left);
            let bytes = bytes.unwrap_or_else(|_| panic!("no '{text}' in '{}'", self.seen.escape_debug()));
            self.seen.push_str(&String::from_utf8_lossy(&bytes));
        }
        let end = self.seen.find(text).unwrap() + text.len();
        self.seen.drain(..end);
    }

    fn press(&mut self, keys: &str) {
        self.keys.write_all(keys.as_bytes()).unwrap();
    }
}

#[test]
fn a_session_at_a_terminal() {
    let rig = Rig::start();
    let mut terminal = Terminal::open(&rig, &["--prompt", "%p(%n)> "]);
    terminal.wait_for("# ecelerity version: 1.0.0");
    terminal.wait_for("ecelerity(relay-0-1)> ");
    terminal.press("pid\r");
    terminal.wait_for("481");
    terminal.wait_for("> ");
    terminal.press("cluster shared show inb\t");
    terminal.wait_for("inbound_cidr ");
    terminal.press("\r");
    terminal.wait_for("unknown shared object 'inbound_cidr'");
    terminal.wait_for("> ");
    terminal.press("\\pager\r");
    terminal.wait_for("Pager is on.");
    terminal.press("\\pager\r");
    terminal.wait_for("Pager is off.");
    terminal.wait_for("> ");
    terminal.press("cluster reset\r");
    terminal.wait_for("Reset cluster membership? [y/N] ");
    terminal.press("n\r");
    terminal.wait_for("ecelerity(relay-0-1)> ");
    terminal.press("summary reset\r");
    terminal.wait_for("statistics cleared.");
    rig.wait_closed();
    terminal.wait_for("> ");
    terminal.press("json pid\r");
    terminal.wait_for("\"data\": {\r\n    \"pid\": 481");
    terminal.wait_for("> ");
    terminal.press(" pid\r");
    terminal.wait_for("481");
    terminal.wait_for("> ");
    terminal.press("quit\r");
    assert!(terminal.child.wait().unwrap().success());
    let history = std::fs::read_to_string(rig.folder.path().join(".postfleet_history")).unwrap();
    assert!(history.contains("\npid\ncluster shared show inbound_cidr \n"), "{history}");
    assert!(history.ends_with("\njson pid\nquit\n"), "a line with a leading blank is not kept: {history}");
}

#[test]
fn an_interrupt_ends_the_command_and_not_the_session() {
    let rig = Rig::start();
    let mut terminal = Terminal::open(&rig, &["-q", "--prompt", "> "]);
    terminal.wait_for("> ");
    terminal.press("shutdown\r");
    // The editor has given the terminal back.
    terminal.wait_for("\u{1b}[?2004l\r\n");
    let pid = terminal.child.id().to_string();
    let deadline = Instant::now() + Duration::from_secs(20);
    // The key reaches the process as a signal only when the terminal is its controlling one, so send the signal.
    // One that arrives before the command is on its way is for the line editor; hence the repetition.
    while !terminal.seen.contains("^C") {
        assert!(Instant::now() < deadline, "{}", terminal.seen);
        Command::new("kill").args(["-INT", &pid]).status().unwrap();
        if let Ok(bytes) = terminal.screen.recv_timeout(Duration::from_secs(1)) {
            terminal.seen.push_str(&String::from_utf8_lossy(&bytes));
        }
    }
    terminal.press("pid\r");
    terminal.wait_for("481");
    // An end of input that comes before the editor has the terminal again would be a key that means nothing to it.
    terminal.wait_for("\u{1b}[?2004h");
    terminal.press("\u{4}");
    assert!(terminal.child.wait().unwrap().success());
}
