//! HAProxy processes that share a stick table over the peers protocol, driven over their stats sockets.

use super::{find, free_port, not_installed};
use crate::process::{Running, cpu_nanoseconds, resident_bytes};
use anyhow::{Context, Result, bail, ensure};
use std::fmt::Write as _;
use std::io::{Read, Write as _};
use std::net::Ipv4Addr;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

/// The table, as it is named in commands.
const TABLE: &str = "fleet/counts";
/// Commands in one line of the stats socket: they have to fit into a buffer of 16 384 bytes.
const LINE: usize = 100;

/// Several of them, of which those that run are peers of each other.
#[derive(Debug)]
pub(crate) struct Haproxies {
    program: PathBuf,
    dir: tempfile::TempDir,
    peer_ports: Vec<u16>,
    front_ports: Vec<u16>,
}

fn address(number: usize) -> Ipv4Addr {
    Ipv4Addr::new(127, 0, 78, 100 + u8::try_from(number).unwrap_or(0))
}

impl Haproxies {
    /// Configures `count`; the inner error says that it is not installed.
    pub(crate) fn configure(count: usize) -> Result<Result<Self, String>> {
        let Some(program) = find("haproxy") else { return Ok(Err(not_installed("haproxy"))) };
        let ports = || (1..=count).map(|number| free_port(address(number))).collect::<Result<Vec<u16>>>();
        let (peer_ports, front_ports) = (ports()?, ports()?);
        let this = Self { program, dir: tempfile::tempdir()?, peer_ports, front_ports };
        for number in 1..=count {
            std::fs::write(this.path(number, "cfg"), this.configuration(number)?)?;
        }
        Ok(Ok(this))
    }

    fn path(&self, number: usize, extension: &str) -> PathBuf {
        self.dir.path().join(format!("h{number}.{extension}"))
    }

    /// Counts by client address, three of them, as the manual's examples have it; one thread, which is what one of our
    /// rows compares with.
    fn configuration(&self, number: usize) -> Result<String> {
        let mut text = format!(
            "global\n nbthread 1\n maxconn 1000\n localpeer h{number}\n stats socket {} mode 600 level admin\n \
             stats timeout 1h\ndefaults\n mode tcp\n timeout connect 5s\n timeout client 1h\n timeout server 1h\npeers \
             fleet\n bind {}:{}\n",
            self.path(number, "sock").display(),
            address(number),
            self.peer_ports.get(number - 1).context("a port")?
        );
        for (other, port) in (1..).zip(&self.peer_ports) {
            let place = if other == number { String::new() } else { format!(" {}:{port}", address(other)) };
            let _ = writeln!(text, " server h{other}{place}");
        }
        let _ = write!(
            text,
            " table counts type ip size 4m expire 1h store conn_cur,conn_cnt,gpc0\nfrontend front\n bind {}:{}\n \
             tcp-request connection track-sc0 src table {TABLE}\n tcp-request inspect-delay 1h\n tcp-request content \
             accept if {{ req.len gt 10000 }}\n default_backend nowhere\nbackend nowhere\n server none 127.0.0.1:9\n",
            address(number),
            self.front_ports.get(number - 1).context("a port")?
        );
        Ok(text)
    }

    /// Starts the one with that number, from 1, and does not wait for its peers.
    pub(crate) fn start(&self, number: usize) -> Result<Haproxy> {
        let socket = self.path(number, "sock");
        // What one that was killed has left would be taken for the new one's.
        let _ = std::fs::remove_file(&socket);
        let mut command = Command::new(&self.program);
        command.arg("-db").arg("-f").arg(self.path(number, "cfg"));
        let dir = self.path(number, "d");
        std::fs::create_dir_all(&dir)?;
        let running = Running::start(&mut command, &dir)?;
        let stream = connect(&socket, &dir)?;
        let mut haproxy = Haproxy { running, stream, buffer: Vec::new(), front: (address(number), 0) };
        haproxy.front.1 = *self.front_ports.get(number - 1).context("a port")?;
        haproxy.command("prompt")?;
        Ok(haproxy)
    }

    /// Starts all, until each has a connection with every other.
    pub(crate) fn start_all(&self) -> Result<Vec<Haproxy>> {
        let mut all = Vec::new();
        for number in 1..=self.peer_ports.len() {
            all.push(self.start(number)?);
        }
        let wanted = all.len() - 1;
        let begin = Instant::now();
        for haproxy in &mut all {
            while haproxy.command("show peers")?.matches("last_status=ESTA").count() < wanted {
                ensure!(begin.elapsed() < Duration::from_secs(60), "the HAProxy peers do not connect");
                std::thread::sleep(Duration::from_millis(20));
            }
        }
        Ok(all)
    }
}

fn connect(socket: &Path, dir: &Path) -> Result<UnixStream> {
    let begin = Instant::now();
    loop {
        match UnixStream::connect(socket) {
            Ok(stream) => return Ok(stream),
            Err(_) if begin.elapsed() < Duration::from_secs(20) => {
                std::thread::sleep(Duration::from_millis(1))
            }
            Err(error) => {
                let log = std::fs::read_to_string(dir.join("log")).unwrap_or_default();
                bail!("haproxy does not answer: {error}; it said: {log}");
            }
        }
    }
}

/// One process and its stats socket.
#[derive(Debug)]
pub(crate) struct Haproxy {
    running: Running,
    stream: UnixStream,
    buffer: Vec<u8>,
    /// Where it takes connections that it counts.
    pub(crate) front: (Ipv4Addr, u16),
}

impl Haproxy {
    /// One command, or several in one line, and what was answered.
    fn command(&mut self, command: &str) -> Result<String> {
        let prompts = command.split(';').count();
        self.stream.write_all(format!("{command}\n").as_bytes())?;
        self.buffer.clear();
        let mut part = [0; 65_536];
        // Each command of a line ends with a prompt. None of the answers that are wanted has one inside.
        while self.buffer.windows(3).filter(|end| *end == b"\n> ").count() < prompts {
            let read = self.stream.read(&mut part)?;
            ensure!(read > 0, "haproxy has closed its stats socket");
            self.buffer.extend_from_slice(part.get(..read).unwrap_or_default());
        }
        Ok(String::from_utf8_lossy(&self.buffer).into_owned())
    }

    /// Sets a counter of an address, which makes it a change for the peers.
    pub(crate) fn set(&mut self, client: Ipv4Addr, value: u32) -> Result<()> {
        self.command(&format!("set table {TABLE} key {client} data.gpc0 {value}"))?;
        Ok(())
    }

    /// The same for many addresses.
    pub(crate) fn set_all(&mut self, clients: impl Iterator<Item = Ipv4Addr>) -> Result<()> {
        let clients: Vec<Ipv4Addr> = clients.collect();
        for part in clients.chunks(LINE) {
            let line: Vec<String> =
                part.iter().map(|client| format!("set table {TABLE} key {client} data.gpc0 1")).collect();
            self.command(&line.join(";"))?;
        }
        Ok(())
    }

    /// A value of an address; `None` where the table has none.
    pub(crate) fn read(&mut self, client: Ipv4Addr, value: &str) -> Result<Option<u32>> {
        let answer = self.command(&format!("show table {TABLE} key {client}"))?;
        let key = format!("{value}=");
        Ok(answer.split_whitespace().find_map(|word| word.strip_prefix(&key)?.parse().ok()))
    }

    /// Entries in the table.
    pub(crate) fn used(&mut self) -> Result<u32> {
        // Without a name, only the heads of tables are shown.
        let answer = self.command("show table")?;
        let used = answer.split_once("used:").map(|(_, rest)| rest.split_whitespace().next().unwrap_or(""));
        Ok(used.context("show table has no used:")?.parse()?)
    }

    pub(crate) fn cpu_nanoseconds(&self) -> Result<f64> {
        cpu_nanoseconds(self.running.id())
    }

    pub(crate) fn resident_bytes(&self) -> Result<f64> {
        resident_bytes(self.running.id())
    }
}
