//! What a member process does: an agent of the suite on a local carrier.

use postfleet_bus_local::{Class, LocalCarrier, LocalOptions, Step};
use postfleet_testbed::member::{Control, Teller};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// The kind of frame that tells a step.
pub const STEP: u8 = 2;

/// Names of the variables through which the rig tells a member what it is.
pub const BUS: &str = "POSTFLEET_MEMBER_BUS";
pub const DIE: &str = "POSTFLEET_MEMBER_DIE";
pub const CHILD: &str = "POSTFLEET_MEMBER_CHILD";

pub const STEPS: [Step; 6] =
    [Step::Locked, Step::Left, Step::Numbered, Step::Listening, Step::Running, Step::Wrote];

fn die() {
    let own = nix::unistd::Pid::this();
    nix::sys::signal::kill(own, nix::sys::signal::Signal::SIGKILL).unwrap();
    loop {
        std::thread::park();
    }
}

/// Tells the rig of every step, and dies at the one it was told to die at.
fn observer(rig: Teller) -> Arc<dyn Fn(Step) + Send + Sync> {
    let fatal = std::env::var(DIE).ok().map(|text| {
        let (step, times) = text.split_once(':').unwrap();
        let step = STEPS.into_iter().find(|known| format!("{known:?}") == step).unwrap();
        (step, times.parse::<u64>().unwrap())
    });
    let seen = AtomicU64::new(0);
    Arc::new(move |step| {
        if let Some((fatal, times)) = fatal
            && fatal == step
            && seen.fetch_add(1, Ordering::Relaxed) + 1 == times
        {
            die();
        }
        if step != Step::Wrote {
            let number = STEPS.iter().position(|known| *known == step).unwrap();
            rig.tell(STEP, &[u8::try_from(number).unwrap()]);
        }
    })
}

pub fn run() -> ! {
    let control = Control::from_environment();
    let mut options = LocalOptions::new(std::env::var(BUS).unwrap(), "default", Class::Main);
    options.observer = Some(observer(control.teller()));
    let first = || {
        if std::env::var(CHILD).is_ok() {
            // Outlives this process for a while, with whatever it was left.
            let child = std::process::Command::new("sleep").arg("8").spawn().unwrap();
            std::mem::forget(child);
        }
    };
    control.serve(move |_| LocalCarrier::open(options.clone()).ok(), first)
}
