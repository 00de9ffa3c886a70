//! What was acknowledged is there after kill -9, once and intact.
#![allow(clippy::unwrap_used, reason = "tests")]

mod support;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use support::{Client, Fleet, console, wait_until};

/// All files below `spool/msg`.
fn files(spool: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut folders = vec![spool.join("msg")];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
            if entry.file_type().unwrap().is_dir() {
                folders.push(entry.path())
            } else {
                found.push(entry.path())
            }
        }
    }
    found
}

fn queued(text: &str) -> u64 {
    let line = text.lines().find(|line| line.contains("Total Queue Size:")).unwrap();
    line.rsplit(' ').next().unwrap().parse().unwrap()
}

/// Mail transfer document, acceptance case 11 (the part before delivery), and the durability rule of 4.2.
#[test]
fn mta_case_11_nothing_acknowledged_is_lost() {
    let mut fleet = Fleet::start(1);
    let mut acknowledged: BTreeSet<String> = BTreeSet::new();
    for round in 0..3 {
        let done = Mutex::new(Vec::new());
        let stop = AtomicBool::new(false);
        let smtp = fleet.nodes[0].smtp.clone();
        std::thread::scope(|scope| {
            for sender in 0..8 {
                let (done, stop, smtp) = (&done, &stop, &smtp);
                scope.spawn(move || {
                    let Ok(mut client) = Client::connect(smtp) else { return };
                    for number in 0.. {
                        if stop.load(Ordering::Relaxed) {
                            return;
                        }
                        let mark = format!("mark-{round}-{sender}-{number}-end");
                        // The connection breaks when the node dies: that message was not acknowledged.
                        if client.message("somebody@demo.example", &mark).is_err() {
                            return;
                        }
                        done.lock().unwrap().push(mark);
                    }
                });
            }
            // Enough has got through for the test to mean something; what is under way is cut off.
            wait_until(Duration::from_secs(60), "messages are acknowledged", || {
                done.lock().unwrap().len() > 40 + 17 * round
            });
            fleet.kill(0);
            stop.store(true, Ordering::Relaxed);
        });
        let fresh = done.into_inner().unwrap();
        assert!(!fresh.is_empty(), "no message got through before the kill");
        acknowledged.extend(fresh);
        fleet.restart(0);

        let contents: Vec<Vec<u8>> =
            files(&fleet.nodes[0].spool).iter().map(|path| std::fs::read(path).unwrap()).collect();
        let text: Vec<_> = contents.iter().map(|bytes| String::from_utf8_lossy(bytes)).collect();
        for mark in &acknowledged {
            let copies = text.iter().filter(|text| text.contains(mark)).count();
            assert_eq!(copies, 1, "{mark} is there {copies} times");
        }
        // The queue shows what the spool holds, and nothing half-written was taken for a message.
        let control = fleet.nodes[0].control.clone();
        let whole = u64::try_from(contents.len()).unwrap();
        wait_until(Duration::from_secs(10), "the queue is known again", || {
            queued(&String::from_utf8(console(&control, "summary").stdout).unwrap()) == whole
        });
    }
    let mailq = fleet.console(0, "mailq");
    assert!(mailq.contains("default/default"), "{mailq}");
    assert!(mailq.contains("demo.example"), "{mailq}");
}

/// The content in the spool is what was sent, byte for byte, behind the trace fields.
#[test]
fn content_is_kept_intact() {
    let fleet = Fleet::start(1);
    let mut client = Client::connect(&fleet.nodes[0].smtp).unwrap();
    let body = "line one\r\n..dots\r\n\r\n8-bit: \u{e4}\u{f6}\u{fc}\r\ntrailing blanks   ";
    let reply = client.message("a@demo.example", body).unwrap();
    let id = reply.split(' ').nth(2).unwrap();
    assert!(reply.ends_with(" accepted\r\n") && id.len() >= 20, "{reply}");
    let stored = std::fs::read(&files(&fleet.nodes[0].spool)[0]).unwrap();
    let expected =
        "Subject: t\r\n\r\nline one\r\n.dots\r\n\r\n8-bit: \u{e4}\u{f6}\u{fc}\r\ntrailing blanks   \r\n";
    assert!(stored.windows(expected.len()).any(|window| window == expected.as_bytes()));
}

/// A second process on the same spool is refused.
#[test]
fn a_spool_has_one_owner() {
    let fleet = Fleet::start(1);
    let copy = fleet.dir.path().join("second.conf");
    let text = std::fs::read_to_string(&fleet.nodes[0].config)
        .unwrap()
        .replace(&fleet.nodes[0].smtp, "127.0.1.1:0")
        .replace("/console\" {", "/console2\" {");
    std::fs::write(&copy, text.replace("127.0.1.1:0", "127.0.1.1:3999")).unwrap();
    let output = std::process::Command::new(support::PROGRAM)
        .args(["node", "-c"])
        .arg(&copy)
        .stdin(std::process::Stdio::null())
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(!output.status.success());
    assert!(text.contains("spool") && text.contains("another process"), "{text}");
}
