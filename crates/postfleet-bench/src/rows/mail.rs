//! Row 13: messages accepted with policy on, beside the same node without.
//!
//! Nodes are processes with all that a node has, alone on their bus, with the spool in memory where there is such a place, so
//! that the disk is not what is measured. The client is Postfix' `smtp-source`: eight sessions at a time, a connection for
//! each message. Policy reads three objects before the greeting and two at RCPT, and counts the message in a third at the end.

use super::calls::CLUSTER;
use crate::digest::Digest;
use crate::peers::{find, free_port, not_installed};
use crate::process::{Running, cpu_nanoseconds};
use crate::rounds::{Effort, alternate};
use crate::table::{Aim, Line, Unit};
use anyhow::{Context, Result, ensure};
use std::io::{BufRead, BufReader, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

const LUA: &str = r#"
require("msys.core") require("msys.audit") require("msys.cluster_cache") require("msys.gauge_cache") require("msys.extended.ac")
local mod = {}
function mod:init()
  msys.gauge_cache.define("sent", 10000, 86400, true)
  return true
end
function mod:validate_connect(accept, vctx)
  local open = accept:inbound_session_count("/24", "inbound_cidr")
  local recent = msys.audit.connections("300,6", { cidr = "/24", cluster = true })
  if open > 1000 or recent > 100000000 or msys.cluster_cache.get("known", "127.0.0.1") == "bad" then
    vctx:disconnect(421, "4.7.0 too many connections")
    return msys.core.VALIDATE_DONE
  end
  return msys.core.VALIDATE_CONT
end
function mod:validate_rcptto(msg, recipient, accept, vctx)
  local domain = vctx:get(msys.core.VCTX_MESS, "mailfrom_domain")
  if msys.cluster_cache.get("known", recipient) == "bad" or msys.gauge_cache.get("sent", domain) > 100000000 then
    vctx:set_code(451, "4.7.1 later")
    return msys.core.VALIDATE_DONE
  end
  return msys.core.VALIDATE_CONT
end
function mod:validate_data(msg, accept, vctx)
  msys.gauge_cache.inc("sent", vctx:get(msys.core.VCTX_MESS, "mailfrom_domain"))
  return msys.core.VALIDATE_CONT
end
msys.registerModule("policy", mod)
"#;

const SIEVE_CONNECT: &str = r#"
($open) = audit_service "inbound_cidr" "/24";
$h = hash_create; hash_set $h "mask" 24;
$recent = ec_ip_connections_cluster $h;
$known = ec_cluster_cache_get "known" "127.0.0.1";
if anyof (ec_test :value "gt" :comparator "i;ascii-numeric" "${open}" "1000",
          ec_test :value "gt" :comparator "i;ascii-numeric" "${recent}" "100000000", ec_test :is "${known}" "bad") {
  ec_disconnect 421 "4.7.0 too many connections";
}
"#;

const SIEVE_RCPTTO: &str = r#"
ec_gauge_cache_init "sent" 10000 86400 1;
$known = ec_cluster_cache_get "known" "%{rcptto_localpart}@%{rcptto_domain}";
$sent = ec_gauge_cache_get "sent" "%{mailfrom_domain}";
if anyof (ec_test :value "gt" :comparator "i;ascii-numeric" "${sent}" "100000000", ec_test :is "${known}" "bad") {
  ec_action 451 "4.7.1 later";
}
"#;

const SIEVE_DATA: &str =
    "ec_gauge_cache_init \"sent\" 10000 86400 1; ec_gauge_cache_inc \"sent\" \"%{mailfrom_domain}\";\n";

/// The process of a node: until standard input ends.
pub(crate) fn serve(config: PathBuf) -> Result<()> {
    let options = postfleet_node::NodeOptions { config: Some(config), while_stdin: true };
    let code = postfleet_node::run(&options);
    ensure!(code == std::process::ExitCode::SUCCESS, "the node failed");
    Ok(())
}

/// What decides on a node.
#[derive(Clone, Copy)]
enum Policy {
    Nothing,
    Lua,
    Sieve,
}

struct Mx {
    address: SocketAddr,
    running: Running,
    dir: tempfile::TempDir,
}

/// A folder in memory, or where temporary files are.
fn folder() -> Result<tempfile::TempDir> {
    let memory = Path::new("/dev/shm");
    let made = if memory.is_dir() { tempfile::tempdir_in(memory) } else { tempfile::tempdir() };
    made.context("no temporary directory")
}

impl Mx {
    fn start(policy: Policy) -> Result<Self> {
        let dir = folder()?;
        let path = dir.path().display();
        let host = Ipv4Addr::new(127, 0, 77, 1);
        let address = SocketAddr::from((host, free_port(host)?));
        for (name, text) in
            [("policy.lua", LUA), ("connect", SIEVE_CONNECT), ("rcptto", SIEVE_RCPTTO), ("data", SIEVE_DATA)]
        {
            std::fs::write(dir.path().join(name), text)?;
        }
        let stanza = match policy {
            Policy::Nothing => "",
            Policy::Lua => "scriptlet \"s\" { script \"policy\" { source = \"policy\" } }",
            Policy::Sieve => {
                "sieve \"s\" { connect_phase1 = \"connect\" rcptto_phase1 = \"rcptto\" data_phase1 = \"data\" }"
            }
        };
        let text = format!(
            "Hostname = \"mx.bench.example\"\nSpoolbase = \"{path}/spool\"\nPidfile = \"{path}/pid\"\n\
             Suspend_Delivery = true\nRelay_Domains = ( \"demo.example\" )\n{stanza}\n\
             ESMTP_Listener {{ Listen \"{address}\" {{}} }}\nControl_Listener {{ Listen \"{path}/console\" {{}} }}\n\
             ECCluster_Listener {{ Listen \"{host}:4802\" {{ Enable = false }} }}\n{}",
            CLUSTER.replace("{host}", &host.to_string())
        );
        let config = dir.path().join("postfleet.conf");
        std::fs::write(&config, text)?;
        let child = Command::new(std::env::current_exe().context("this program has no path")?)
            .arg("node")
            .arg(&config)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(std::fs::File::create(dir.path().join("log"))?)
            .spawn()
            .context("cannot start a node")?;
        let mx = Self { address, running: Running(child), dir };
        let begin = Instant::now();
        while mx.greeting().is_err() {
            ensure!(begin.elapsed() < Duration::from_secs(30), "the node does not answer: {}", mx.log());
            std::thread::sleep(Duration::from_millis(20));
        }
        Ok(mx)
    }

    fn log(&self) -> String {
        std::fs::read_to_string(self.dir.path().join("log")).unwrap_or_default()
    }

    fn greeting(&self) -> Result<BufReader<TcpStream>> {
        let stream = TcpStream::connect(self.address)?;
        stream.set_read_timeout(Some(Duration::from_secs(30)))?;
        let mut reader = BufReader::new(stream);
        ensure!(code(&mut reader)? == 220, "no greeting");
        Ok(reader)
    }

    /// The codes of one transaction.
    fn transaction(&self) -> Result<Vec<u16>> {
        let mut reader = self.greeting()?;
        let commands = [
            "HELO c.example",
            "MAIL FROM:<a@c.example>",
            "RCPT TO:<b@demo.example>",
            "DATA",
            "Subject: x\r\n\r\nx\r\n.",
        ];
        let answered = commands.map(|command| {
            reader.get_mut().write_all(format!("{command}\r\n").as_bytes())?;
            code(&mut reader)
        });
        answered.into_iter().collect()
    }

    /// How many messages a second it takes; what one costs its processors is added to `ran`.
    fn rate(&self, source: &Path, count: u32, ran: &mut Vec<f64>) -> Result<f64> {
        let (took, cpu) = self.take(source, count)?;
        ran.push(cpu);
        Ok(1e9 / took)
    }

    /// Takes so many messages; nanoseconds of one, by the clock and of the node's processors.
    fn take(&self, source: &Path, count: u32) -> Result<(f64, f64)> {
        let before = cpu_nanoseconds(self.running.id())?;
        let begin = Instant::now();
        let done = Command::new(source)
            .args(["-s", "8", "-l", "1000", "-f", "a@c.example", "-t", "b@demo.example", "-m"])
            .arg(count.to_string())
            .arg(format!("inet:{}", self.address))
            .output()
            .context("cannot start smtp-source")?;
        let took = begin.elapsed().as_secs_f64() * 1e9 / f64::from(count);
        let said = String::from_utf8_lossy(&done.stderr).into_owned();
        ensure!(done.status.success(), "smtp-source failed: {said}");
        ensure!(!self.log().contains(" error: "), "a script failed: {}", self.log());
        let ran = (cpu_nanoseconds(self.running.id())? - before) / f64::from(count);
        Ok((took, ran))
    }
}

/// The code of a reply, all of whose lines are read.
fn code(reader: &mut BufReader<TcpStream>) -> Result<u16> {
    loop {
        let mut line = String::new();
        ensure!(reader.read_line(&mut line)? > 0, "the connection is closed");
        if line.as_bytes().get(3) != Some(&b'-') {
            return line.get(..3).context("a short reply")?.parse::<u16>().context("a reply without a code");
        }
    }
}

pub(super) fn run(effort: Effort) -> Result<Vec<Line>> {
    let work = "messages accepted with policy on";
    let Some(source) = find("smtp-source") else {
        return Ok(vec![Line::new(work, Unit::PerSecond, Vec::new()).missing(not_installed("postfix"))]);
    };
    let count = effort.size(4000, 100);
    let nodes = [Mx::start(Policy::Lua)?, Mx::start(Policy::Sieve)?, Mx::start(Policy::Nothing)?];
    // What is slow the first time is over.
    for node in &nodes {
        node.take(&source, count / 4)?;
    }
    let mut ran: [Vec<f64>; 3] = Default::default();
    let [of_lua, of_sieve, of_none] = &mut ran;
    let [with_lua, with_sieve, without] = &nodes;
    let [lua, sieve, none] = alternate(
        effort,
        [
            &mut || with_lua.rate(&source, count, of_lua),
            &mut || with_sieve.rate(&source, count, of_sieve),
            &mut || without.rate(&source, count, of_none),
        ],
    )?;
    let [of_lua, of_sieve, of_none] = ran;
    let beside = "the same node without policy";
    let aim = Aim::Times(0.97);
    Ok(vec![
        Line::new(format!("{work}, Lua"), Unit::PerSecond, lua).beside(beside, none.clone()).aim(aim),
        Line::new(format!("{work}, Sieve"), Unit::PerSecond, sieve).beside(beside, none).aim(aim),
        Line::new("processor time of the node a message, Lua", Unit::Nanoseconds, of_lua)
            .beside(beside, of_none.clone()),
        Line::new("processor time of the node a message, Sieve", Unit::Nanoseconds, of_sieve)
            .beside(beside, of_none),
    ])
}

pub(super) fn digest() -> Result<u64> {
    let mut digest = Digest::default();
    for policy in [Policy::Nothing, Policy::Lua, Policy::Sieve] {
        let mx = Mx::start(policy)?;
        for code in mx.transaction()? {
            digest.add(code.into());
        }
        ensure!(!mx.log().contains(" error: "), "a script failed: {}", mx.log());
    }
    Ok(digest.value())
}
