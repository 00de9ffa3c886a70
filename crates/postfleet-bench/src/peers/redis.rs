//! A Redis of one's own: nothing written to disk, one connection, the protocol by hand.

use super::{find, free_port, not_installed};
use crate::process::{Running, cpu_nanoseconds};
use anyhow::{Context, Result, bail, ensure};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, TcpStream};
use std::process::Command;
use std::time::{Duration, Instant};

/// The generic cell rate algorithm for one key, as it is commonly written for Redis: the time of the server, one value
/// a key that expires by itself.
pub(crate) const GCRA: &str = "\
local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]
local arrival = tonumber(redis.call('GET', KEYS[1])) or now
if arrival < now then arrival = now end
local following = arrival + ARGV[1]
if following - now > tonumber(ARGV[2]) then return 0 end
redis.call('SET', KEYS[1], following, 'PX', math.ceil((following - now) / 1000))
return 1";

/// A lease in a sorted set: those that have expired are dropped, then one more is added if there is room.
pub(crate) const LEASE: &str = "\
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', now)
if redis.call('ZCARD', KEYS[1]) >= tonumber(ARGV[2]) then return 0 end
redis.call('ZADD', KEYS[1], now + ARGV[3], ARGV[1])
return 1";

/// The server.
#[derive(Debug)]
pub(crate) struct Redis {
    running: Running,
    port: u16,
    _dir: tempfile::TempDir,
}

/// What it answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Reply {
    Text(String),
    Number(i64),
    Nothing,
}

impl Redis {
    /// Starts one; the inner error says that it is not installed.
    pub(crate) fn start() -> Result<Result<Self, String>> {
        let Some(program) = find("redis-server") else { return Ok(Err(not_installed("redis-server"))) };
        let dir = tempfile::tempdir()?;
        let port = free_port(Ipv4Addr::LOCALHOST)?;
        let mut command = Command::new(program);
        command.args([
            "--port",
            &port.to_string(),
            "--bind",
            "127.0.0.1",
            "--save",
            "",
            "--appendonly",
            "no",
        ]);
        command.arg("--dir").arg(dir.path());
        let redis = Self { running: Running::start(&mut command, dir.path())?, port, _dir: dir };
        let begin = Instant::now();
        while redis.connect().and_then(|mut client| client.call(&["PING"])).is_err() {
            ensure!(begin.elapsed() < Duration::from_secs(20), "redis-server does not answer");
            std::thread::sleep(Duration::from_millis(10));
        }
        Ok(Ok(redis))
    }

    /// A connection.
    pub(crate) fn connect(&self) -> Result<Client> {
        let stream = TcpStream::connect((Ipv4Addr::LOCALHOST, self.port)).context("redis-server")?;
        stream.set_nodelay(true)?;
        Ok(Client { reader: BufReader::with_capacity(1 << 16, stream.try_clone()?), stream, out: Vec::new() })
    }

    /// Requests a second of `redis-benchmark` with 50 clients and so many keys, and how long the server's thread ran for each.
    pub(crate) fn benchmark(&self, requests: u32, keys: &str, command: &[&str]) -> Result<Throughput> {
        let program = find("redis-benchmark").context(not_installed("redis-benchmark"))?;
        let before = cpu_nanoseconds(self.running.id())?;
        let begin = Instant::now();
        let output = Command::new(program)
            .args(["-h", "127.0.0.1", "-p", &self.port.to_string(), "-c", "50", "-r", keys, "-q"])
            .args(["-n", &requests.to_string()])
            .args(command)
            .output()
            .context("redis-benchmark")?;
        let seconds = begin.elapsed().as_secs_f64();
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        ensure!(output.status.success() && said.contains("requests per second"), "redis-benchmark: {said}");
        let ran = cpu_nanoseconds(self.running.id())? - before;
        Ok(Throughput {
            elapsed: f64::from(requests) / seconds,
            of_processor: f64::from(requests) / (ran / 1e9),
        })
    }
}

/// Requests a second.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Throughput {
    /// Of time that passed.
    pub(crate) elapsed: f64,
    /// Of time that the server ran: what it could do with a core for itself, its clients somewhere else.
    pub(crate) of_processor: f64,
}

/// One connection.
#[derive(Debug)]
pub(crate) struct Client {
    stream: TcpStream,
    reader: BufReader<TcpStream>,
    out: Vec<u8>,
}

impl Client {
    fn put(&mut self, words: &[&str]) {
        // Writing to memory cannot fail.
        let _ = write!(self.out, "*{}\r\n", words.len());
        for word in words {
            let _ = write!(self.out, "${}\r\n{word}\r\n", word.len());
        }
    }

    /// Sends what was put.
    fn send(&mut self) -> Result<()> {
        self.stream.write_all(&self.out)?;
        self.out.clear();
        Ok(())
    }

    fn receive(&mut self) -> Result<Reply> {
        let mut line = String::new();
        self.reader.read_line(&mut line)?;
        let (kind, rest) = line.trim_end().split_at_checked(1).context("redis-server has closed")?;
        Ok(match kind {
            "+" => Reply::Text(rest.to_owned()),
            ":" => Reply::Number(rest.parse()?),
            "$" if rest == "-1" => Reply::Nothing,
            "$" => {
                let mut body = vec![0; rest.parse::<usize>()? + 2];
                self.reader.read_exact(&mut body)?;
                body.truncate(body.len() - 2);
                Reply::Text(String::from_utf8_lossy(&body).into_owned())
            }
            _ => bail!("redis-server: {}", line.trim_end()),
        })
    }

    /// One request and its answer.
    pub(crate) fn call(&mut self, words: &[&str]) -> Result<Reply> {
        self.put(words);
        self.send()?;
        self.receive()
    }

    /// One request that answers with a number.
    pub(crate) fn number(&mut self, words: &[&str]) -> Result<i64> {
        let reply = self.call(words)?;
        let Reply::Number(number) = reply else { bail!("{} answered {reply:?}", words.join(" ")) };
        Ok(number)
    }

    /// Many requests whose answers do not matter, as long as they are no errors.
    pub(crate) fn pipeline(&mut self, requests: impl Iterator<Item = Vec<String>>) -> Result<()> {
        let mut waiting = 0;
        for request in requests {
            let words: Vec<&str> = request.iter().map(String::as_str).collect();
            self.put(&words);
            waiting += 1;
            if waiting == 500 {
                self.drain(&mut waiting)?;
            }
        }
        self.drain(&mut waiting)
    }

    fn drain(&mut self, waiting: &mut usize) -> Result<()> {
        self.send()?;
        while *waiting > 0 {
            self.receive()?;
            *waiting -= 1;
        }
        Ok(())
    }

    /// Loads a script; returns what `EVALSHA` calls it.
    pub(crate) fn load(&mut self, script: &str) -> Result<String> {
        let reply = self.call(&["SCRIPT", "LOAD", script])?;
        let Reply::Text(name) = reply else { bail!("SCRIPT LOAD answered {reply:?}") };
        Ok(name)
    }

    /// `used_memory` of the server.
    pub(crate) fn used_bytes(&mut self) -> Result<f64> {
        let Reply::Text(text) = self.call(&["INFO", "memory"])? else { bail!("INFO answered without text") };
        let line = text.lines().find_map(|line| line.strip_prefix("used_memory:"));
        Ok(line.context("INFO has no used_memory")?.trim().parse()?)
    }
}
