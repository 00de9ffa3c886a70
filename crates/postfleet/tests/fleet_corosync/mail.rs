//! Mail all the time: every node that runs takes every message.

use crate::support::Client;
use postfleet_testbed::ring::{HostId, mail_address};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

#[derive(Default)]
struct Target {
    /// Grows whenever the node is about to stop or has started; odd while it cannot be expected to answer.
    interruptions: AtomicU64,
    accepted: AtomicU64,
    refused: Mutex<Vec<String>>,
}

pub struct Mail {
    targets: Vec<Arc<Target>>,
    stop: Arc<AtomicBool>,
    threads: Vec<JoinHandle<()>>,
}

fn send(host: HostId) -> std::io::Result<()> {
    let mut client = Client::connect(&format!("{}:2525", mail_address(host)))?;
    client.command("EHLO client.example")?;
    client.message("someone@test.example", "hello")?;
    client.command("QUIT").map(drop)
}

impl Mail {
    pub fn start(hosts: &[HostId]) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let mut mail = Self { targets: Vec::new(), stop, threads: Vec::new() };
        for host in hosts.iter().copied() {
            let target = Arc::new(Target::default());
            mail.targets.push(Arc::clone(&target));
            let stop = Arc::clone(&mail.stop);
            mail.threads.push(std::thread::spawn(move || {
                while !stop.load(Ordering::Acquire) {
                    let before = target.interruptions.load(Ordering::Acquire);
                    if before % 2 == 0 {
                        match send(host) {
                            Ok(()) => drop(target.accepted.fetch_add(1, Ordering::Relaxed)),
                            Err(error) if target.interruptions.load(Ordering::Acquire) == before => {
                                target.refused.lock().unwrap().push(error.to_string());
                            }
                            Err(_) => {}
                        }
                    }
                    std::thread::sleep(Duration::from_millis(100));
                }
            }));
        }
        mail
    }

    /// The node is about to stop.
    pub fn interrupt(&self, host: HostId) {
        self.targets[host.0].interruptions.fetch_add(1, Ordering::AcqRel);
    }

    /// The node answers again.
    pub fn resume(&self, host: HostId) {
        self.interrupt(host);
    }

    pub fn accepted(&self, host: HostId) -> u64 {
        self.targets[host.0].accepted.load(Ordering::Relaxed)
    }

    /// Every message to a node that ran was accepted.
    #[track_caller]
    pub fn check(&self) {
        for (index, target) in self.targets.iter().enumerate() {
            let refused = target.refused.lock().unwrap();
            assert!(refused.is_empty(), "relay-{} refused mail: {refused:?}", index + 1);
        }
    }
}

impl Drop for Mail {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Release);
        for thread in self.threads.drain(..) {
            thread.join().unwrap();
        }
    }
}
