//! A fleet of real processes for end-to-end tests, and a small SMTP client.
#![allow(
    dead_code,
    unreachable_pub,
    clippy::unwrap_used,
    clippy::print_stderr,
    reason = "test support; not every test file uses all of it"
)]

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{IpAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::Mutex;
use std::time::{Duration, Instant};

pub const PROGRAM: &str = env!("CARGO_BIN_EXE_postfleet");

/// Fleets of one test binary run one after another: the machine is small, and times are part of what is tested.
static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());

/// A detached demo fleet in a temporary folder; stopped and removed when dropped.
pub struct Fleet {
    pub dir: tempfile::TempDir,
    pub nodes: Vec<Node>,
    restarted: Vec<Child>,
    _turn: std::sync::MutexGuard<'static, ()>,
}

#[derive(Clone, Debug)]
pub struct Node {
    pub name: String,
    pub pid: u32,
    pub smtp: String,
    pub smtp_proxy: String,
    pub control: PathBuf,
    pub config: PathBuf,
    pub spool: PathBuf,
    pub log: PathBuf,
}

impl Fleet {
    pub fn start(nodes: u8) -> Self {
        let turn = ONE_AT_A_TIME.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let dir = tempfile::Builder::new().prefix("pf").tempdir().unwrap();
        let output = Command::new(PROGRAM)
            .args(["demo", "--detach", "--nodes", &nodes.to_string(), "--dir"])
            .arg(dir.path())
            .output()
            .unwrap();
        assert!(output.status.success(), "demo failed: {}", String::from_utf8_lossy(&output.stderr));
        let nodes = read_fleet(dir.path());
        Self { dir, nodes, restarted: Vec::new(), _turn: turn }
    }

    /// Runs a console command on a node and returns what it printed; it must succeed.
    pub fn console(&self, node: usize, command: &str) -> String {
        let output = console(&self.nodes[node].control, command);
        assert!(
            output.status.success(),
            "`{command}` on {} failed: {}{}",
            self.nodes[node].name,
            String::from_utf8_lossy(&output.stdout),
            String::from_utf8_lossy(&output.stderr)
        );
        String::from_utf8(output.stdout).unwrap()
    }

    /// Ends a process that the test has started with this fleet.
    pub fn adopt(&mut self, child: Child) {
        self.restarted.push(child);
    }

    /// SIGKILL, and nothing else.
    pub fn kill(&self, node: usize) {
        kill_9(self.nodes[node].pid);
    }

    /// Starts a node again with its own configuration file.
    pub fn restart(&mut self, node: usize) {
        let child = start_node(&self.nodes[node].config, &self.nodes[node].log);
        self.nodes[node].pid = child.id();
        self.restarted.push(child);
        let control = self.nodes[node].control.clone();
        wait_until(Duration::from_secs(20), "the node is a member again", || {
            console(&control, "cluster membership").status.success()
        });
    }
}

pub fn start_node(config: &Path, log: &Path) -> Child {
    let log = std::fs::File::options().create(true).append(true).open(log).unwrap();
    Command::new(PROGRAM)
        .args(["node", "-c"])
        .arg(config)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(log)
        .spawn()
        .unwrap()
}

impl Drop for Fleet {
    fn drop(&mut self) {
        if std::thread::panicking() {
            for node in &self.nodes {
                let log = std::fs::read_to_string(&node.log).unwrap_or_default();
                let lines: Vec<&str> = log.lines().collect();
                eprintln!(
                    "--- log of {}:\n{}",
                    node.name,
                    lines[lines.len().saturating_sub(15)..].join("\n")
                );
            }
        }
        let stopped = Command::new(PROGRAM).args(["demo", "--stop", "--dir"]).arg(self.dir.path()).output();
        for child in &mut self.restarted {
            drop(child.kill());
            drop(child.wait());
        }
        if !std::thread::panicking() {
            assert!(stopped.unwrap().status.success());
        }
    }
}

pub fn read_fleet(dir: &Path) -> Vec<Node> {
    let text = std::fs::read_to_string(dir.join("fleet.json")).unwrap();
    let list: serde_json::Value = serde_json::from_str(&text).unwrap();
    list.as_array()
        .unwrap()
        .iter()
        .map(|node| {
            let text = |key: &str| node[key].as_str().unwrap().to_owned();
            Node {
                name: text("name"),
                pid: u32::try_from(node["pid"].as_u64().unwrap()).unwrap(),
                smtp: text("smtp"),
                smtp_proxy: text("smtp_proxy"),
                control: text("control").into(),
                config: text("config").into(),
                spool: text("spool").into(),
                log: text("log").into(),
            }
        })
        .collect()
}

pub fn console(control: &Path, command: &str) -> Output {
    Command::new(PROGRAM).arg("console").arg(control).args(command.split(' ')).output().unwrap()
}

pub fn kill_9(pid: u32) {
    assert!(Command::new("kill").args(["-9", &pid.to_string()]).status().unwrap().success());
}

pub fn alive(pid: u32) -> bool {
    // A process that ended but was not collected has an empty command line.
    std::fs::read(format!("/proc/{pid}/cmdline")).is_ok_and(|line| !line.is_empty())
}

/// Waits for a condition, and says how long it took.
pub fn wait_until(patience: Duration, what: &str, mut condition: impl FnMut() -> bool) -> Duration {
    let started = Instant::now();
    while !condition() {
        assert!(started.elapsed() < patience, "not within {patience:?}: {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
    started.elapsed()
}

/// Everything that is in the files of the spool.
pub fn stored(folder: &Path) -> String {
    let mut all = String::new();
    each_stored(folder, &mut |text| all.push_str(text));
    all
}

/// The same, file by file.
pub fn each_stored(folder: &Path, see: &mut dyn FnMut(&str)) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            each_stored(&path, see);
        } else {
            match std::fs::read(&path) {
                Ok(bytes) => see(&String::from_utf8_lossy(&bytes)),
                // It left the spool meanwhile.
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
                Err(error) => panic!("{}: {error}", path.display()),
            }
        }
    }
}

/// One SMTP session.
pub struct Client {
    reader: BufReader<TcpStream>,
}

impl Client {
    /// Connects and reads the greeting.
    pub fn connect(address: &str) -> std::io::Result<Self> {
        let mut client = Self::raw(address)?;
        client.reply()?;
        Ok(client)
    }

    /// Connects through a PROXY header (version 1) that names `source` as the client.
    pub fn connect_from(address: &str, source: IpAddr) -> std::io::Result<Self> {
        let mut client = Self::raw(address)?;
        let (family, target) = if source.is_ipv4() { ("TCP4", "192.0.2.1") } else { ("TCP6", "2001:db8::1") };
        client.send(&format!("PROXY {family} {source} {target} 40000 25\r\n"))?;
        client.reply()?;
        Ok(client)
    }

    pub fn raw(address: &str) -> std::io::Result<Self> {
        let stream = TcpStream::connect(address)?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(Duration::from_secs(30)))?;
        Ok(Self { reader: BufReader::new(stream) })
    }

    pub fn send(&mut self, text: &str) -> std::io::Result<()> {
        self.reader.get_mut().write_all(text.as_bytes())
    }

    /// Reads one reply, all of its lines.
    pub fn reply(&mut self) -> std::io::Result<String> {
        let mut reply = String::new();
        loop {
            let start = reply.len();
            if self.reader.read_line(&mut reply)? == 0 {
                return Err(std::io::ErrorKind::UnexpectedEof.into());
            }
            if reply.as_bytes().get(start + 3) != Some(&b'-') {
                return Ok(reply);
            }
        }
    }

    pub fn command(&mut self, text: &str) -> std::io::Result<String> {
        self.send(text)?;
        self.send("\r\n")?;
        self.reply()
    }

    /// Sends one message; `Ok` only when it was acknowledged.
    pub fn message(&mut self, recipient: &str, body: &str) -> std::io::Result<String> {
        let expect = |reply: String, code: &str| {
            if reply.starts_with(code) { Ok(reply) } else { Err(std::io::Error::other(reply)) }
        };
        expect(self.command("MAIL FROM:<sender@client.example>")?, "250")?;
        expect(self.command(&format!("RCPT TO:<{recipient}>"))?, "250")?;
        expect(self.command("DATA")?, "354")?;
        self.send(&format!(
            "From: <sender@client.example>\r\nDate: Sat, 21 Nov 2026 12:00:00 +0000\r\nMessage-ID: <1@client.example>\r\nSubject: t\r\n\r\n{body}\r\n.\r\n"
        ))?;
        expect(self.reply()?, "250")
    }

    /// Sends one message from `sender@client.example` and returns the reply to it; everything before must be taken.
    pub fn offer(&mut self, recipients: &[&str], body: &str) -> String {
        let ok = |reply: String| assert!(reply.starts_with('2') || reply.starts_with('3'), "{reply}");
        ok(self.command("MAIL FROM:<sender@client.example>").unwrap());
        for recipient in recipients {
            ok(self.command(&format!("RCPT TO:<{recipient}>")).unwrap());
        }
        ok(self.command("DATA").unwrap());
        let head = "From: <sender@client.example>\r\nDate: Sat, 21 Nov 2026 12:00:00 +0000\r\nSubject: t\r\n";
        self.send(&format!("{head}\r\n{body}\r\n.\r\n")).unwrap();
        self.reply().unwrap()
    }

    pub fn rest(&mut self) -> String {
        let mut rest = String::new();
        drop(self.reader.read_to_string(&mut rest));
        rest
    }
}

/// One node with a configuration of its own, alone on its bus.
pub struct SingleNode {
    pub dir: tempfile::TempDir,
    pub smtp: String,
    pub control: PathBuf,
    child: Child,
}

impl SingleNode {
    /// `global` stands at the top of the file, `listener` in `ESMTP_Listener`, `listen` in its one `Listen`.
    pub fn start(global: &str, listener: &str, listen: &str) -> Self {
        Self::start_with(global, listener, listen, &[])
    }

    /// The same with files beside the configuration.
    pub fn start_with(global: &str, listener: &str, listen: &str, files: &[(String, String)]) -> Self {
        let dir = tempfile::Builder::new().prefix("pf").tempdir().unwrap();
        for (name, text) in files {
            std::fs::write(dir.path().join(name), text).unwrap();
        }
        let path = dir.path().display();
        let smtp = std::net::TcpListener::bind("127.0.2.1:0").unwrap().local_addr().unwrap().to_string();
        let control = dir.path().join("console");
        let global = global.replace("{dir}", &path.to_string());
        let listen = listen.replace("{dir}", &path.to_string());
        // Mail goes nowhere unless a test wants it to.
        let delivers = global.contains("Suspend_Delivery");
        let suspended = if delivers { "" } else { "Suspend_Delivery = true\n" };
        let text = format!(
            "Hostname = \"mx.test.example\"\nSpoolbase = \"{path}/spool\"\nPidfile = \"{path}/pid\"\n{global}\n\
             ESMTP_Listener {{\n{listener}\n  Listen \"{smtp}\" {{\n{listen}\n  }}\n}}\n\
             Control_Listener {{ Listen \"{}\" {{}} }}\n\
             ECCluster_Listener {{ Listen \"127.0.2.1:4802\" {{ Enable = false }} }}\n\
             cluster {{ bus = \"solo\" nodename = \"solo\" nodeaddr = \"127.0.2.1\" Replicate \"inbound_cidr\" {{}} }}\n\
             {suspended}",
            control.display()
        );
        let config = dir.path().join("postfleet.conf");
        std::fs::write(&config, text).unwrap();
        let log = dir.path().join("node.log");
        let child = start_node(&config, &log);
        let node = Self { dir, smtp, control, child };
        wait_until(Duration::from_secs(20), "the node answers", || {
            console(&node.control, "cluster info").stdout.windows(4).any(|text| text == b"[m:#")
        });
        node
    }

    /// Kills the process and starts it again.
    pub fn restart(&mut self) {
        self.kill();
        self.start_again();
        wait_until(Duration::from_secs(20), "the node answers again", || {
            console(&self.control, "cluster info").stdout.windows(4).any(|text| text == b"[m:#")
        });
    }

    /// SIGKILL. The process is gone when this returns.
    pub fn kill(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }

    /// Starts the process again and does not wait for it.
    pub fn start_again(&mut self) {
        self.child = start_node(&self.dir.path().join("postfleet.conf"), &self.dir.path().join("node.log"));
    }

    pub fn console(&self, command: &str) -> String {
        String::from_utf8(console(&self.control, command).stdout).unwrap()
    }

    /// Threads of the process.
    pub fn threads(&self) -> usize {
        std::fs::read_dir(format!("/proc/{}/task", self.child.id())).unwrap().count()
    }

    pub fn log(&self) -> String {
        std::fs::read_to_string(self.dir.path().join("node.log")).unwrap()
    }
}

impl Drop for SingleNode {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let log = self.log();
            let lines: Vec<&str> = log.lines().collect();
            eprintln!("--- log:\n{}", lines[lines.len().saturating_sub(40)..].join("\n"));
        }
        self.kill();
    }
}
