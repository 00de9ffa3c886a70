//! One node of the fleet: drives the pure cores with sockets, clocks, files and tasks.
//!
//! Impure by purpose: everything the cores are not allowed to do happens here, in the carriers and in the program.
//! Promises to the program: [`run`] serves until it is asked to stop; [`load_request`], [`FileSystem`] and
//! [`check_online`] are what a check of configuration needs, and change nothing.
//!
//! ```text
//!  run ─┬─ listener task a socket ──► session task a connection ──► spool threads
//!       ├─ main connection task   ◄──► bus carrier (thread)
//!       ├─ shared connection task ◄──► bus carrier (thread)
//!       ├─ watch of the spool's free space, pruning of idle addresses
//!       └─ signals: SIGHUP reloads the configuration (reload), SIGTERM and SIGINT end
//! ```

mod any_certificate;
mod audit;
mod clock;
mod cluster_listener;
mod control;
mod counts;
mod datasource;
mod delivery;
mod edge;
mod files;
mod fleet;
mod lock;
mod logs;
mod metrics;
mod names;
mod node;
mod notices;
mod policy;
mod progress;
mod reload;
#[cfg(feature = "rig")]
pub mod rig;
mod settings;
mod socket;
mod statistics;
mod store;
mod system;
mod zone;

pub use files::{FileSystem, load_config, load_request};
pub use names::{check_online, cluster_boot_warnings};
use notices::{Severity, notice};
use postfleet_config::Config;
use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;
use tokio::signal::unix::{SignalKind, signal};

/// Exit status for a configuration that cannot be used (`EX_CONFIG` of sysexits.h).
const EXIT_CONFIGURATION: u8 = 78;

/// How to run a node.
#[derive(Clone, Debug, Default)]
pub struct NodeOptions {
    /// The main configuration file; none: it is searched for.
    pub config: Option<PathBuf>,
    /// Stop in an orderly way when standard input ends.
    pub while_stdin: bool,
}

/// Runs one node in the foreground until it is asked to stop: by SIGTERM or SIGINT, by `shutdown` on its console,
/// or by the end of standard input where that was wanted. A second signal ends the wait for open sessions.
#[must_use]
pub fn run(options: &NodeOptions) -> ExitCode {
    socket::set_private_umask();
    let config = match load(options.config.as_deref()) {
        Ok(config) => config,
        Err(code) => return code,
    };
    settings::tell_without_effect(&config);
    settings::tell_unsecured(&config);
    settings::tell_interfaces(&config);
    let settings = match settings::read(&config, None) {
        Ok(settings) => settings,
        Err(error) => {
            notice(Severity::Critical, format_args!("{error:#}"));
            return ExitCode::from(EXIT_CONFIGURATION);
        }
    };
    system::raise_descriptor_limit(config.node_settings().max_file_descriptors);
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            notice(Severity::Critical, format_args!("cannot start: {error}"));
            return ExitCode::FAILURE;
        }
    };
    let start = node::Start { config, main: options.config.clone(), settings };
    let outcome = runtime.block_on(serve(start, options.while_stdin));
    // Threads that wait for a disk or a terminal must not hold up the end.
    runtime.shutdown_timeout(std::time::Duration::from_millis(200));
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            notice(Severity::Critical, format_args!("{error:#}"));
            ExitCode::FAILURE
        }
    }
}

async fn serve(start: node::Start, while_stdin: bool) -> anyhow::Result<()> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut hangup = signal(SignalKind::hangup())?;
    let (reload, reloads) = tokio::sync::mpsc::channel(1);
    tokio::spawn(async move {
        while hangup.recv().await.is_some() {
            // One that waits already will see what this one would have seen.
            let _waiting = reload.try_send(());
        }
    });
    let (ask, mut asked) = tokio::sync::mpsc::unbounded_channel();
    if while_stdin {
        let ask = ask.clone();
        std::thread::Builder::new().name("stdin".into()).spawn(move || {
            // Whatever comes in is of no interest; its end is.
            drop(std::io::copy(&mut std::io::stdin().lock(), &mut std::io::sink()));
            let _nobody_listens = ask.send(());
        })?;
    }
    tokio::spawn(async move {
        loop {
            tokio::select! {
                _ = terminate.recv() => {}
                _ = interrupt.recv() => {}
            }
            if ask.send(()).is_err() {
                return;
            }
        }
    });
    let (once, twice) = {
        let (first, stop) = tokio::sync::oneshot::channel::<()>();
        let (second, enough) = tokio::sync::oneshot::channel::<()>();
        tokio::spawn(async move {
            asked.recv().await;
            let _nobody_listens = first.send(());
            asked.recv().await;
            let _nobody_listens = second.send(());
        });
        (stop, enough)
    };
    node::run(start, reloads, async { drop(once.await) }, async { drop(twice.await) }).await
}

/// Loads the configuration, and tells what was found.
fn load(main: Option<&std::path::Path>) -> Result<Config, ExitCode> {
    let request = load_request(main).map_err(|error| {
        notice(Severity::Critical, format_args!("{error:#}"));
        ExitCode::from(EXIT_CONFIGURATION)
    })?;
    for warning in cluster_boot_warnings() {
        notice(Severity::Warning, warning);
    }
    let outcome = load_config(&request);
    if outcome.vendor_tree {
        notice(
            Severity::Notice,
            format_args!("configuration is looked for in {}", outcome.searched.join(", ")),
        );
    }
    let mut report = outcome.report();
    if outcome.config.is_none() {
        if outcome.main_file.is_none() {
            report.push_str(&format!("Looked in: {}\n", outcome.searched.join(", ")));
        }
        report.push_str("Global configuration error.\n");
    }
    drop(std::io::stderr().lock().write_all(report.as_bytes()));
    outcome.config.ok_or(ExitCode::from(EXIT_CONFIGURATION))
}
