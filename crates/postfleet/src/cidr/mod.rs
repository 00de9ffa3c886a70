//! Questions about series in files: `postfleet cidr`, `cidr-server` and `cidr-maintain`.

mod archive;
mod maintain;

use anyhow::Context as _;
use archive::Archive;
use postfleet_config::Config;
use postfleet_node::{FileSystem, load_request};
use postfleet_series::file;
use postfleet_series::query::{Of, Question, Row, day_text};
use postfleet_types::WallTime;
use serde_json::{Value, json};
use std::io::{BufRead, BufReader, IsTerminal, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// The longest question.
const LINE_BYTES_MAX: u64 = 16 * 1024;

/// How long a client of the service may be silent, or not read.
const IDLE: Duration = Duration::from_secs(600);

/// Where the files are.
#[derive(clap::Args)]
struct Place {
    /// The directory of the files [default: `base_dir` of `as_logger`, else `log_dir` of `inbound_audit`]
    #[arg(long, value_name = "DIRECTORY")]
    base_dir: Option<PathBuf>,
    /// The configuration file that says where [default: found on the search path]
    #[arg(short = 'c', long = "config", value_name = "FILE", conflicts_with = "base_dir")]
    config: Option<PathBuf>,
}

impl Place {
    fn directory(&self) -> anyhow::Result<PathBuf> {
        if let Some(directory) = &self.base_dir {
            return Ok(directory.clone());
        }
        let outcome = Config::load(&FileSystem::pinned(), &load_request(self.config.as_deref())?);
        let Some(config) = outcome.config else {
            anyhow::bail!(
                "no configuration that could say where the files are; name the directory with --base-dir, or see \
                 `postfleet check`"
            );
        };
        if let Some(logger) = config.as_logger() {
            return Ok(logger.base_dir.into());
        }
        let audit = config.inbound_audit().map(|audit| audit.log_dir.into());
        audit.context(
            "the configuration has neither as_logger nor inbound_audit; name the directory with --base-dir",
        )
    }
}

/// The words of `postfleet cidr`.
#[derive(clap::Args)]
pub(crate) struct CidrArguments {
    #[command(flatten)]
    place: Place,
    /// Answer in JSON, one object a question
    #[arg(long)]
    json: bool,
    /// One question [default: each line of standard input]
    #[arg(value_name = "QUESTION", trailing_var_arg = true)]
    question: Vec<String>,
}

/// The words of `postfleet cidr-server`.
#[derive(clap::Args)]
pub(crate) struct CidrServerArguments {
    #[command(flatten)]
    place: Place,
    /// Where to listen. Whoever reaches it may ask
    #[arg(long, value_name = "ADDRESS:PORT", default_value = "127.0.0.1:9000")]
    listen: SocketAddr,
}

/// The words of `postfleet cidr-maintain`.
#[derive(clap::Args)]
pub(crate) struct CidrMaintainArguments {
    #[command(flatten)]
    place: Place,
    /// Only this series; may be given several times [default: all that are found]
    #[arg(long, value_name = "NAME")]
    series: Vec<String>,
    /// Files older than so many days are deleted
    #[arg(long, value_name = "DAYS", default_value_t = 30)]
    retention: u32,
    /// Files at least so many days old are merged into one a day; 0 is 1
    #[arg(long, value_name = "DAYS", default_value_t = 0)]
    condense: u32,
    /// Leave files as they are, and only delete old ones
    #[arg(long, conflicts_with = "condense")]
    no_condense: bool,
}

fn now() -> WallTime {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    WallTime::from_unix_seconds(since.as_secs())
}

/// `postfleet cidr`.
pub(crate) fn run(arguments: &CidrArguments) -> anyhow::Result<ExitCode> {
    let mut archive = Archive::new(arguments.place.directory()?);
    let mut out = std::io::stdout().lock();
    if !arguments.question.is_empty() {
        let answer = answer(&mut archive, &arguments.question.join(" "), arguments.json);
        out.write_all(answer.text.as_bytes())?;
        return Ok(if answer.done { ExitCode::SUCCESS } else { ExitCode::FAILURE });
    }
    let mut all = true;
    let mut ask = |line: &str, out: &mut dyn Write| -> std::io::Result<()> {
        if !line.trim().is_empty() {
            let answer = answer(&mut archive, line, arguments.json);
            all &= answer.done;
            out.write_all(answer.text.as_bytes())?;
        }
        out.flush()
    };
    if std::io::stdin().is_terminal() {
        let mut editor = rustyline::DefaultEditor::new()?;
        // Ctrl-D and Ctrl-C end it.
        while let Ok(line) = editor.readline("cidr>") {
            let _full = editor.add_history_entry(&line);
            ask(&line, &mut out)?;
        }
        return Ok(ExitCode::SUCCESS);
    }
    for line in std::io::stdin().lock().lines() {
        ask(&line?, &mut out)?;
    }
    Ok(if all { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// `postfleet cidr-server`: a thread a client, each with files of its own in memory.
pub(crate) fn serve(arguments: &CidrServerArguments) -> anyhow::Result<ExitCode> {
    let directory = arguments.place.directory()?;
    let told = || format!("cannot listen at {}", arguments.listen);
    let listener = TcpListener::bind(arguments.listen).with_context(told)?;
    writeln!(std::io::stderr(), "answering at {} from {}", listener.local_addr()?, directory.display())?;
    std::thread::scope(|scope| {
        loop {
            match listener.accept() {
                Ok((stream, _)) => {
                    let directory = &directory;
                    scope.spawn(move || drop(client(&stream, directory)));
                }
                // Out of descriptors: those that are served will end.
                Err(_) => std::thread::sleep(Duration::from_millis(100)),
            }
        }
    })
}

/// One question a line. An answer ends with an empty line, so that a program knows where.
fn client(stream: &TcpStream, directory: &Path) -> std::io::Result<()> {
    stream.set_read_timeout(Some(IDLE))?;
    stream.set_write_timeout(Some(IDLE))?;
    let mut archive = Archive::new(directory.to_owned());
    let mut input = BufReader::new(stream);
    let mut output = stream;
    loop {
        let mut line = Vec::new();
        let read = input.by_ref().take(LINE_BYTES_MAX).read_until(b'\n', &mut line)?;
        if read == 0 || line.last() != Some(&b'\n') {
            return Ok(());
        }
        let line = String::from_utf8_lossy(&line);
        let line = line.trim();
        if matches!(line, "quit" | "exit") {
            return Ok(());
        }
        if !line.is_empty() {
            let json = line.strip_prefix("json ");
            let mut answer = answer(&mut archive, json.unwrap_or(line), json.is_some()).text;
            answer.push('\n');
            output.write_all(answer.as_bytes())?;
        }
    }
}

/// `postfleet cidr-maintain`.
pub(crate) fn maintain(arguments: &CidrMaintainArguments) -> anyhow::Result<ExitCode> {
    let done = maintain::run(
        &maintain::Job {
            directory: arguments.place.directory()?,
            series: (!arguments.series.is_empty()).then(|| arguments.series.clone()),
            retention: arguments.retention.into(),
            condense: (!arguments.no_condense).then(|| arguments.condense.into()),
        },
        now(),
    )?;
    writeln!(std::io::stdout(), "{} files deleted, {} merged into {}", done.deleted, done.merged, done.into)?;
    Ok(ExitCode::SUCCESS)
}

/// An answer as it is printed, and whether the question was answered.
struct Answered {
    text: String,
    done: bool,
}

fn answer(archive: &mut Archive, line: &str, json: bool) -> Answered {
    let line = line.trim();
    let (text, data) = match asked(archive, line) {
        Ok(answer) => answer,
        Err(error) => {
            let message = format!("{error:#}");
            let text = if json {
                let error = json!({"message": message});
                format!(
                    "{}\n",
                    json!({"command": line, "time": now().civil().rfc3339().to_string(), "ok": false, "error": error})
                )
            } else {
                format!("{message}\n")
            };
            return Answered { text, done: false };
        }
    };
    let text = if json {
        format!(
            "{}\n",
            json!({"command": line, "time": now().civil().rfc3339().to_string(), "ok": true, "data": data})
        )
    } else {
        text
    };
    Answered { text, done: true }
}

/// The answer as lines, and as JSON.
fn asked(archive: &mut Archive, line: &str) -> anyhow::Result<(String, Value)> {
    let mut text = String::new();
    let data = match line.parse::<Question>()? {
        Question::Available => {
            let mut list = Vec::new();
            for (series, files) in archive.files()? {
                let (Some(first), Some(last)) = (files.first(), files.last()) else { continue };
                let (first, last) = (file::stamp(first.end), file::stamp(last.end));
                text.push_str(&format!("{series} : {first} => {last}\n"));
                list.push(json!({"name": series, "first": first, "last": last}));
            }
            json!({"series": list})
        }
        Question::Cache => {
            let cached = archive.cached();
            cached.iter().for_each(|name| text.push_str(&format!("{name}\n")));
            json!({"files": cached})
        }
        Question::Count(count) => {
            let rows = archive.count(&count)?;
            rows.iter().for_each(|row| text.push_str(&format!("{}\n", row.line())));
            let row = |row: &Row| match row.of {
                Of::Block(block) => json!({"cidr": block.to_string(), "counts": row.counts}),
                Of::Day(day) => json!({"date": day_text(day), "counts": row.counts}),
            };
            json!({"series": count.series, "union": count.union, "rows": rows.iter().map(row).collect::<Vec<_>>()})
        }
    };
    Ok((text, data))
}
