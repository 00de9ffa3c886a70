//! `make bench`: what postfleet does beside what an operator would use instead.
//!
//! Every row runs one workload on postfleet and on a peer, alternating, and prints ratios: what else the machine does
//! meanwhile slows both sides. docs/bench.md says how to read the table and what each row measures. Impure by purpose,
//! used by nobody, not shipped.
//!
//! ```text
//!  main ─► rows/* ─► rounds (A B A B …) ─► table ─► standard output, bench/results
//!             ├─► engine …   in this process
//!             ├─► member           real nodes without mail, a process each (this program, started again)
//!             ├─► rows/mail        real nodes with mail, the same way
//!             └─► peers/*          redis-server, haproxy, anvil: processes of their own on loopback addresses
//! ```
#![allow(clippy::print_stdout, reason = "a bench prints what it found")]
#![allow(clippy::print_stderr, reason = "and what it is doing")]

mod digest;
mod engine;
mod machine;
mod member;
mod peers;
mod process;
mod rounds;
mod rows;
mod table;

use anyhow::{Context, Result, bail};
use clap::{Parser, Subcommand};
use rounds::Effort;
use rows::ROWS;
use std::path::{Path, PathBuf};
use table::{Line, Report};

/// The comparison table. Without a command: measures.
#[derive(Debug, Parser)]
struct Arguments {
    #[command(subcommand)]
    command: Option<Command>,
    /// Rows by number, for example 1,2,9; all of them when not given
    #[arg(long, value_delimiter = ',')]
    rows: Vec<u8>,
    /// How often each side of a row is measured
    #[arg(long)]
    rounds: Option<usize>,
    /// Small and short: to see that everything works, not what it takes
    #[arg(long)]
    quick: bool,
    /// More lines for the tree: other lengths of prefixes, inserting, closing, memory
    #[arg(long)]
    detail: bool,
    /// Where the results are written
    #[arg(long, default_value = "bench/results")]
    out: PathBuf,
    /// Write no files
    #[arg(long)]
    no_write: bool,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Print a digest of what each workload results in, small, without peers and times
    Digests,
    /// A node without mail, driven over standard input; for the rows that need real nodes
    #[command(hide = true)]
    Member { dir: PathBuf, number: u8 },
    /// A node with mail, until standard input ends
    #[command(hide = true)]
    Node { config: PathBuf },
    /// Memory of so many addresses in the sum and three columns
    #[command(hide = true)]
    Memory { addresses: u32 },
}

fn main() -> Result<()> {
    let arguments = Arguments::parse();
    match &arguments.command {
        Some(Command::Digests) => digest::print_all(),
        Some(Command::Member { dir, number }) => member::serve(dir, *number),
        Some(Command::Node { config }) => rows::mail::serve(config.clone()),
        Some(Command::Memory { addresses }) => rows::memory::child(*addresses),
        None => measure(&arguments),
    }
}

fn measure(arguments: &Arguments) -> Result<()> {
    if let Some(unknown) = arguments.rows.iter().find(|number| !ROWS.iter().any(|row| row.number == **number))
    {
        bail!("there is no row {unknown}; rows are 1 to {}", ROWS.len());
    }
    if cfg!(debug_assertions) && !arguments.quick {
        bail!("built without optimisation; use `make bench`, or --quick to see that everything works");
    }
    let rounds = arguments.rounds.unwrap_or(if arguments.quick { 1 } else { 5 });
    if rounds == 0 {
        bail!("--rounds has to be at least 1");
    }
    let effort = Effort { rounds, quick: arguments.quick, detail: arguments.detail };
    let mut report =
        Report { machine: machine::Machine::read(), rounds, quick: arguments.quick, lines: Vec::new() };
    let stem = arguments.out.join(report.machine.file_stem());
    for row in ROWS.iter().filter(|row| arguments.rows.is_empty() || arguments.rows.contains(&row.number)) {
        eprintln!("row {}: {}", row.number, row.what);
        // A row that fails does not take the others with it.
        let measured = (row.run)(effort)
            .unwrap_or_else(|error| vec![Line::failed(row.what, &format!("{error:#}"))])
            .into_iter()
            .map(|line| line.of_row(row.number));
        for line in measured {
            eprintln!("{}", line.short());
            report.lines.push(line);
        }
        // After each row, so that what took an hour is not lost with what is stopped.
        if !arguments.no_write {
            report.machine = machine::Machine::read();
            write(&report, &stem)?;
        }
    }
    report.machine = machine::Machine::read();
    print!("{}", report.text());
    if !arguments.no_write {
        eprintln!("written: {0}.md and {0}.json", stem.display());
    }
    if report.lines.iter().any(|line| line.has_failed()) {
        bail!("a row could not be measured; the table says why");
    }
    Ok(())
}

/// The report as a page and as JSON, beside each other.
fn write(report: &Report, stem: &Path) -> Result<()> {
    let folder = stem.parent().unwrap_or(Path::new("."));
    std::fs::create_dir_all(folder).with_context(|| format!("cannot make {}", folder.display()))?;
    for (extension, text) in [("md", report.markdown()), ("json", report.json())] {
        let path = PathBuf::from(format!("{}.{extension}", stem.display()));
        std::fs::write(&path, text).with_context(|| format!("cannot write {}", path.display()))?;
    }
    Ok(())
}
