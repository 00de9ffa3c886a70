//! Postfix' `anvil`, which counts connections for one host, started as Postfix' master starts it: the listening socket is
//! descriptor 6, and it tells descriptor 5 after every turn whether it is free.

use super::{find, not_installed};
use crate::process::Running;
use anyhow::{Context, Result, ensure};
use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// A running one, and a connection to it.
#[derive(Debug)]
pub(crate) struct Anvil {
    stream: UnixStream,
    _running: Running,
    _dir: tempfile::TempDir,
}

/// Puts the descriptors in place; a shell does it, which can name them.
const START: &str =
    r#"exec 3</dev/null 4>/dev/null 5>&1 6<&0 </dev/null >/dev/null; exec "$0" -n anvil -t unix -l"#;

impl Anvil {
    /// Starts one; the inner error says why there is none.
    pub(crate) fn start() -> Result<Result<Self, String>> {
        let Some(program) = find("anvil") else { return Ok(Err(not_installed("postfix"))) };
        if !nix::unistd::geteuid().is_root() {
            return Ok(Err("anvil needs root".into()));
        }
        let dir = tempfile::tempdir()?;
        let path = dir.path().display();
        let settings =
            format!("compatibility_level = 3.6\nqueue_directory = {path}\ndata_directory = {path}\n");
        std::fs::write(dir.path().join("main.cf"), settings)?;
        let socket = dir.path().join("socket");
        let listener = std::os::unix::net::UnixListener::bind(&socket)?;
        let log = std::fs::File::create(dir.path().join("log"))?;
        let mut child = Command::new("/bin/sh")
            .args(["-c", START])
            .arg(program)
            .current_dir(dir.path())
            .env_clear()
            .envs([("MAIL_CONFIG", dir.path().as_os_str()), ("GENERATION", "1".as_ref())])
            .stdin(std::os::fd::OwnedFd::from(listener))
            .stdout(Stdio::piped())
            .stderr(log)
            .spawn()
            .context("cannot start anvil")?;
        let mut status = child.stdout.take().context("no status")?;
        // Master reads how busy it is; anvil waits for that. The thread ends with the process.
        std::thread::spawn(move || std::io::copy(&mut status, &mut std::io::sink()));
        let mut anvil = Self { _running: Running(child), stream: UnixStream::connect(&socket)?, _dir: dir };
        anvil.stream.set_read_timeout(Some(Duration::from_secs(10)))?;
        // It says which protocol it speaks before it is asked.
        let hello = anvil.answer()?;
        ensure!(hello.starts_with("protocol=anvil"), "anvil said {hello}");
        Ok(Ok(anvil))
    }

    fn answer(&mut self) -> Result<String> {
        let mut text = Vec::new();
        let mut part = [0; 512];
        let begin = Instant::now();
        while !text.ends_with(b"\n\n") {
            let read = self.stream.read(&mut part).context("anvil does not answer")?;
            ensure!(read > 0 && begin.elapsed() < Duration::from_secs(10), "anvil has closed");
            text.extend_from_slice(part.get(..read).unwrap_or_default());
        }
        Ok(String::from_utf8_lossy(&text).into_owned())
    }

    /// A client has connected; returns how many connections it has.
    pub(crate) fn connect(&mut self, client: &str) -> Result<u32> {
        self.stream.write_all(format!("request=connect\nident=smtp:{client}\n\n").as_bytes())?;
        let answer = self.answer()?;
        let count = answer.lines().find_map(|line| line.strip_prefix("count="));
        count.context("anvil says no count")?.parse().context("a count")
    }
}
