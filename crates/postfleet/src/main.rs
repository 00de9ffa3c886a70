//! The program `postfleet`: one command for each job, all in one file to install.

mod check;
mod cidr;
mod console;
mod corosync_conf;
mod demo;
mod policy;
mod sim;

use clap::{Parser, Subcommand};
use std::ffi::OsString;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// Makes a fleet of mail relays behave as one.
#[derive(Parser)]
#[command(name = "postfleet", version, max_term_width = 100)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Run a whole cluster on this machine, with the console open
    Demo(demo::DemoArguments),
    /// Run one node in the foreground
    Node(NodeArguments),
    /// Open the console of a node, or run one command there
    #[command(disable_help_flag = true)]
    Console {
        /// Options, the node's address and a command; see `postfleet console --help`
        #[arg(trailing_var_arg = true, allow_hyphen_values = true, value_name = "ARGUMENTS")]
        arguments: Vec<String>,
    },
    /// Validate configuration files; every problem with file, line, column and remedy
    Check(check::CheckArguments),
    /// Ask the files that as_logger writes for counts
    Cidr(cidr::CidrArguments),
    /// Answer such questions on a TCP port
    CidrServer(cidr::CidrServerArguments),
    /// Delete old files of series and merge those of one day
    CidrMaintain(cidr::CidrMaintainArguments),
    /// Write a corosync.conf for the hosts of a fleet, with the reason for each setting
    CorosyncConf(corosync_conf::CorosyncConfArguments),
    /// Check policy scripts, or run them on recorded sessions
    Policy(policy::PolicyArguments),
    /// Simulate whole fleets with faults, one from each seed, and check what they promise
    Sim(sim::SimArguments),
}

#[derive(clap::Args)]
struct NodeArguments {
    /// The configuration file [default: found on the search path]
    #[arg(short = 'c', long = "config", value_name = "FILE")]
    config: Option<PathBuf>,
    /// Stop in an orderly way when standard input ends
    #[arg(long)]
    while_stdin: bool,
}

fn main() -> ExitCode {
    // Links with the names of older tools call the same program.
    let mut arguments = std::env::args_os();
    let called_as = arguments.next().unwrap_or_default();
    let called_as = Path::new(&called_as).file_name().unwrap_or_default();
    if called_as == "ec_console" {
        return console::main(arguments.map(|word| word.to_string_lossy().into_owned()));
    }
    let words: Option<&[&str]> = match called_as.to_str() {
        Some("validate_config") => Some(&["check"]),
        Some("ec_dump_config") => Some(&["check", "--dump"]),
        Some("ec_migrate_conf") => Some(&["check", "--migrate"]),
        Some("cidr_cli") => Some(&["cidr"]),
        Some("cidr_server") => Some(&["cidr-server"]),
        Some("cidr_maintain") => Some(&["cidr-maintain"]),
        Some(_) | None => None,
    };
    let cli = match words {
        Some(words) => {
            let words = ["postfleet"].iter().chain(words).map(OsString::from);
            Cli::parse_from(words.chain(arguments))
        }
        None => Cli::parse(),
    };
    let outcome = match cli.command {
        Command::Demo(arguments) => demo::run(&arguments),
        Command::Node(NodeArguments { config, while_stdin }) => {
            Ok(postfleet_node::run(&postfleet_node::NodeOptions { config, while_stdin }))
        }
        Command::Console { arguments } => Ok(console::main(arguments)),
        Command::Check(arguments) => check::run(&arguments),
        Command::Cidr(arguments) => cidr::run(&arguments),
        Command::CidrServer(arguments) => cidr::serve(&arguments),
        Command::CidrMaintain(arguments) => cidr::maintain(&arguments),
        Command::CorosyncConf(arguments) => corosync_conf::run(&arguments),
        Command::Policy(arguments) => policy::run(&arguments),
        Command::Sim(arguments) => sim::run(&arguments),
    };
    outcome.unwrap_or_else(|error| {
        // Whoever closed standard error does not want to know.
        let _unread = writeln!(std::io::stderr(), "postfleet: {error:#}");
        ExitCode::FAILURE
    })
}
