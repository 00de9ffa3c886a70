//! `postfleet check`: reads configuration as a daemon would, and changes nothing.
//!
//! It needs no rights but to read the files, opens no socket, starts nothing, and resolves no name unless `--online`
//! asks for it. Findings go to standard error, the verdict to standard output.

mod rewrite;
mod view;

use clap::ValueEnum;
use postfleet_config::{Diagnostic, LoadOutcome, LoadRequest};
use std::io::{IsTerminal, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// The words of `postfleet check`.
#[derive(clap::Args)]
pub(crate) struct CheckArguments {
    /// The files, each read as a main file [default: found on the search path]
    #[arg(value_name = "FILE")]
    files: Vec<PathBuf>,
    /// One more file, as older tools take it
    #[arg(short = 'c', long = "config", value_name = "FILE")]
    config: Option<PathBuf>,
    /// What the files are for [default: by the name of the file, a node when that says nothing]
    #[arg(long, value_enum)]
    role: Option<Role>,
    /// One JSON object for each problem
    #[arg(long)]
    json: bool,
    /// Names that are known and have no effect in this version are errors
    #[arg(long)]
    strict: bool,
    /// Look also at what only the network knows: the node name must lead to an address
    #[arg(long)]
    online: bool,
    /// What constructs of the 2.x form are
    #[arg(long, value_enum, default_value_t, value_name = "HOW")]
    legacy: Legacy,
    /// Print the files in the 4.x form; `-` is standard input
    #[arg(long, conflicts_with_all = ["format", "dump"])]
    migrate: bool,
    /// Print the files indented anew; `-` is standard input
    #[arg(long, conflicts_with = "dump")]
    format: bool,
    /// Print the merged tree as JSON, with file, line and column of every value
    #[arg(long)]
    dump: bool,
    /// With --migrate or --format: rewrite the files; --migrate keeps FILE.bak (.FILE.bak in an included directory)
    #[arg(long, conflicts_with = "dump")]
    in_place: bool,
    /// With --migrate: without comments and notes
    #[arg(long, requires = "migrate")]
    no_comments: bool,
    /// With --dump: write there
    #[arg(short = 'f', value_name = "OUT", requires = "dump")]
    output: Option<PathBuf>,
    /// Taken from older tools, and ignored
    #[arg(short = 'e', value_name = "DIR", hide = true, requires = "dump")]
    _directory: Option<PathBuf>,
}

/// What constructs of the 2.x form are.
#[derive(Clone, Copy, Default, ValueEnum)]
enum Legacy {
    /// Translated, with a warning each
    #[default]
    Accept,
    /// Errors
    Reject,
}

/// Which daemon reads the files.
#[derive(Clone, Copy, ValueEnum)]
enum Role {
    /// A relay
    Node,
    /// The cluster manager
    Manager,
}

impl From<Role> for postfleet_config::Role {
    fn from(role: Role) -> Self {
        match role {
            Role::Node => Self::Node,
            Role::Manager => Self::Manager,
        }
    }
}

/// What is to be said of one file, as an exit status.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Verdict {
    Valid,
    Invalid,
    Nothing,
}

impl Verdict {
    const fn code(self) -> u8 {
        match self {
            Self::Valid => 0,
            Self::Invalid => 1,
            Self::Nothing => 2,
        }
    }

    /// What standard output gets.
    const fn line(self) -> &'static str {
        match self {
            Self::Valid => "Configuration valid\n",
            Self::Invalid => "",
            Self::Nothing => "No configuration found\n",
        }
    }
}

/// Checks every file. Of several verdicts the worst is the exit status.
pub(crate) fn run(arguments: &CheckArguments) -> anyhow::Result<ExitCode> {
    let files: Vec<&Path> = arguments.config.iter().chain(&arguments.files).map(PathBuf::as_path).collect();
    let plain = || request(None, arguments);
    if arguments.migrate {
        return rewrite::migrate(&files, arguments, &plain()?);
    }
    if arguments.format {
        return rewrite::format(&files, arguments, &plain()?);
    }
    if arguments.dump {
        return rewrite::dump(&files, arguments, plain()?);
    }
    if arguments.in_place {
        anyhow::bail!("--in-place needs --migrate or --format");
    }
    for warning in postfleet_node::cluster_boot_warnings() {
        writeln!(std::io::stderr(), "{warning}")?;
    }
    let mut worst = Verdict::Valid;
    if files.is_empty() {
        worst = check(None, arguments, false)?;
    }
    for file in &files {
        worst = worst.max(check(Some(file), arguments, files.len() > 1)?);
    }
    Ok(ExitCode::from(worst.code()))
}

/// What a load of this file, or of the one that is found, starts from.
fn request(file: Option<&Path>, arguments: &CheckArguments) -> anyhow::Result<LoadRequest> {
    let mut request = postfleet_node::load_request(file)?;
    request.role = arguments.role.map(Into::into);
    request.strict = arguments.strict;
    request.legacy = match arguments.legacy {
        Legacy::Accept => postfleet_config::Legacy::Accept,
        Legacy::Reject => postfleet_config::Legacy::Reject,
    };
    Ok(request)
}

fn check(file: Option<&Path>, arguments: &CheckArguments, named: bool) -> anyhow::Result<Verdict> {
    let mut outcome = postfleet_node::load_config(&request(file, arguments)?);
    if arguments.online {
        outcome
            .diagnostics
            .extend(outcome.config.as_ref().map(postfleet_node::check_online).unwrap_or_default());
        if outcome.diagnostics.iter().any(Diagnostic::is_error) {
            outcome.config = None;
        }
    }
    let verdict = match (&outcome.config, &outcome.main_file) {
        (Some(_), _) => Verdict::Valid,
        (None, Some(_)) => Verdict::Invalid,
        (None, None) => Verdict::Nothing,
    };
    let mut errors = std::io::stderr().lock();
    errors.write_all(report(&outcome, arguments.json, errors.is_terminal()).as_bytes())?;
    // With --json both outputs are for programs: no finding is no line, and the exit status is the verdict.
    if !arguments.json && !verdict.line().is_empty() {
        let name = match file {
            Some(file) if named => format!("{}: ", file.display()),
            Some(_) | None => String::new(),
        };
        std::io::stdout().lock().write_all(format!("{name}{}", verdict.line()).as_bytes())?;
    }
    Ok(verdict)
}

fn report(outcome: &LoadOutcome, json: bool, terminal: bool) -> String {
    if json {
        postfleet_config::report_json(&outcome.diagnostics)
    } else if terminal {
        view::report(outcome, std::env::var_os("NO_COLOR").is_none())
    } else {
        postfleet_config::report(&outcome.diagnostics)
    }
}
