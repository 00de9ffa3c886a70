//! `postfleet demo`: a whole cluster on this machine, one process a node, on loopback addresses.

mod fleet;
mod layout;
mod process;
mod ready;
mod stop;
mod template;

use crate::console;
use anyhow::{Context, bail};
use layout::NodeLayout;
use process::Life;
use std::io::{IsTerminal, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ExitCode};
use std::time::Duration;

/// What the command line asks for.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct DemoArguments {
    /// Number of nodes (1 to 16)
    #[arg(long, default_value_t = 3, value_name = "N", value_parser = clap::value_parser!(u8).range(1..=i64::from(layout::NODES_MAX)))]
    nodes: u8,
    /// Folder of the fleet: configuration, spools, sockets, logs [default: a temporary one]
    #[arg(long, value_name = "DIR")]
    dir: Option<PathBuf>,
    /// Return when the fleet is up, and leave it running
    #[arg(long, conflicts_with = "stop")]
    detach: bool,
    /// Stop the fleet in DIR
    #[arg(long, requires = "dir")]
    stop: bool,
}

pub(crate) fn run(arguments: &DemoArguments) -> anyhow::Result<ExitCode> {
    if arguments.stop {
        let dir = arguments.dir.as_deref().context("--stop needs --dir")?;
        return stop::stop(&absolute(dir)?);
    }
    let (dir, temporary) = match &arguments.dir {
        Some(dir) => {
            std::fs::create_dir_all(dir).with_context(|| format!("cannot create {}", dir.display()))?;
            (absolute(dir)?, false)
        }
        None => (temporary_folder()?, true),
    };
    let result = start_and_serve(arguments, &dir);
    // A temporary folder goes with its fleet; after a failure it stays, for its logs.
    if temporary && !arguments.detach && result.is_ok() {
        drop(std::fs::remove_dir_all(&dir));
    }
    result
}

fn start_and_serve(arguments: &DemoArguments, dir: &Path) -> anyhow::Result<ExitCode> {
    refuse_second_fleet(dir)?;
    std::fs::create_dir_all(dir.join("bus")).with_context(|| format!("cannot write to {}", dir.display()))?;
    let turn = layout::turn();
    let nodes = layout::prepare(dir, arguments.nodes)?;
    for node in &nodes {
        let path = node.configuration();
        std::fs::write(&path, template::configuration(node, dir))
            .with_context(|| format!("cannot write {}", path.display()))?;
    }
    let life = if arguments.detach { Life::OnItsOwn } else { Life::WithUs };
    say(&format!("Starting {} nodes in {}", nodes.len(), dir.display()));
    // Signals are caught before the first node runs, so that an early Ctrl-C stops the nodes as well.
    let interrupted = interrupt_flag()?;
    let started = std::time::Instant::now();
    let mut running = Running::default();
    for node in &nodes {
        running.0.push((node.clone(), process::start(node, life)?));
        if let Some(newest) = running.0.last_mut() {
            ready::wait_for_member(newest, &interrupted)?;
        }
    }
    ready::wait(&mut running.0, &interrupted)?;
    drop(turn);
    say(&format!("All nodes see each other after {:.1} s", started.elapsed().as_secs_f64()));
    let pids: Vec<(NodeLayout, u32)> =
        running.0.iter().map(|(node, child)| (node.clone(), child.id())).collect();
    fleet::write(dir, &pids)?;
    introduce(&pids, dir);
    if arguments.detach {
        running.0.clear();
        say(&format!(
            "\nThe fleet goes on by itself. Stop it with: postfleet demo --stop --dir {}",
            dir.display()
        ));
        return Ok(ExitCode::SUCCESS);
    }
    let code = if std::io::stdin().is_terminal() && std::io::stdout().is_terminal() {
        let first = pids.first().map(|(node, _)| node.control()).context("no node")?;
        say(
            "\nThis is the console of relay-1; try `cluster membership`. `quit` ends the console and the fleet.\n",
        );
        end_with_the_terminal()?;
        console::open(&first)
    } else {
        say("\nThe fleet runs until this command is interrupted.");
        watch(&mut running.0, &interrupted);
        ExitCode::SUCCESS
    };
    running.stop();
    // A node that the user has started again belongs to the fleet as well.
    stop::stop_rest(dir)?;
    Ok(code)
}

/// The node processes that end with us.
#[derive(Default)]
struct Running(Vec<(NodeLayout, Child)>);

impl Running {
    /// Asks the nodes to end in an orderly way, then not to wait for open sessions, then kills what is left.
    fn stop(&mut self) {
        for (_, child) in &self.0 {
            process::terminate(child.id());
        }
        self.wait(stop::SESSIONS_PATIENCE);
        for (_, child) in &self.0 {
            process::terminate(child.id());
        }
        self.wait(stop::PATIENCE);
        for (node, child) in &mut self.0 {
            say(&format!("{} did not stop in time and was killed", node.name));
            let _gone = child.kill();
            let _collected = child.wait();
        }
        self.0.clear();
    }

    /// Forgets the nodes that have ended.
    fn wait(&mut self, patience: Duration) {
        let until = std::time::Instant::now() + patience;
        while !self.0.is_empty() && std::time::Instant::now() < until {
            self.0.retain_mut(|(_, child)| matches!(child.try_wait(), Ok(None)));
            std::thread::sleep(Duration::from_millis(10));
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.stop();
    }
}

/// Reports nodes that end by themselves, until the user interrupts.
fn watch(nodes: &mut [(NodeLayout, Child)], interrupted: &Interrupt) {
    let mut told = vec![false; nodes.len()];
    while !interrupted.wait(Duration::from_millis(200)) {
        for ((node, child), told) in nodes.iter_mut().zip(&mut told) {
            if let (false, Ok(Some(status))) = (*told, child.try_wait()) {
                *told = true;
                say(&format!(
                    "{} ended ({status}); start it again with: postfleet node -c {}",
                    node.name,
                    node.configuration().display()
                ));
            }
        }
    }
}

/// Set by SIGINT, SIGTERM and SIGHUP.
pub(crate) struct Interrupt(std::sync::mpsc::Receiver<()>);

impl Interrupt {
    /// Waits at most `patience`; says whether the user wants us to end.
    pub(crate) fn wait(&self, patience: Duration) -> bool {
        !matches!(self.0.recv_timeout(patience), Err(std::sync::mpsc::RecvTimeoutError::Timeout))
    }
}

fn interrupt_flag() -> anyhow::Result<Interrupt> {
    use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
    let mut signals =
        signal_hook::iterator::Signals::new([SIGINT, SIGTERM, SIGHUP]).context("cannot catch signals")?;
    let (sender, receiver) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        for _ in signals.forever() {
            if sender.send(()).is_err() {
                return;
            }
        }
    });
    Ok(Interrupt(receiver))
}

/// SIGTERM and SIGHUP end the demo while its console is open: the terminal gets its settings back, and the nodes see
/// our end of their pipes close. Ctrl-C belongs to the console.
fn end_with_the_terminal() -> anyhow::Result<()> {
    use signal_hook::consts::{SIGHUP, SIGTERM};
    let mut signals =
        signal_hook::iterator::Signals::new([SIGTERM, SIGHUP]).context("cannot catch signals")?;
    let settings = rustix::termios::tcgetattr(std::io::stdin());
    std::thread::spawn(move || {
        if signals.forever().next().is_some() {
            if let Ok(settings) = settings {
                let when = rustix::termios::OptionalActions::Now;
                let _gone = rustix::termios::tcsetattr(std::io::stdin(), when, &settings);
            }
            std::process::exit(128 + SIGTERM);
        }
    });
    Ok(())
}

fn introduce(nodes: &[(NodeLayout, u32)], dir: &Path) {
    say(&format!(
        "\n{:<9} {:>7}  {:<18} {:<26} {}",
        "node", "pid", "smtp", "smtp with PROXY header", "console"
    ));
    for (node, pid) in nodes {
        say(&format!(
            "{:<9} {:>7}  {:<18} {:<26} {}",
            node.name,
            pid,
            node.smtp.to_string(),
            node.smtp_proxy.to_string(),
            node.control().display()
        ));
    }
    say(&format!("\nThe same for scripts: {}", dir.join(fleet::FILE).display()));
}

fn refuse_second_fleet(dir: &Path) -> anyhow::Result<()> {
    if !dir.join(fleet::FILE).exists() {
        return Ok(());
    }
    for node in fleet::read(dir)? {
        if stop::pid_of(&node).is_some() {
            bail!(
                "{} of the fleet in {} is running; stop it with: postfleet demo --stop --dir {}",
                node.name,
                dir.display(),
                dir.display()
            );
        }
    }
    Ok(())
}

fn temporary_folder() -> anyhow::Result<PathBuf> {
    let dir = std::env::temp_dir().join(format!("postfleet-demo-{}", std::process::id()));
    std::fs::create_dir(&dir).with_context(|| format!("cannot create {}", dir.display()))?;
    absolute(&dir)
}

fn absolute(dir: &Path) -> anyhow::Result<PathBuf> {
    dir.canonicalize().with_context(|| format!("no folder {}", dir.display()))
}

/// Progress goes to standard error, so that standard output belongs to the console.
fn say(text: &str) {
    let _unread = writeln!(std::io::stderr(), "{text}");
}
