//! Which processes exist.

use crate::member::MemberId;
use nix::errno::Errno;
use nix::sys::signal::kill;
use nix::unistd::Pid;
use std::fs;

/// Set in a process's flags once it has begun to end and runs nothing of its own any more (`PF_EXITING`).
///
/// Its sockets are closed a moment later, before it counts as a zombie; without this bit, whoever sees the
/// end of the stream would still find a living process.
const EXITING: u64 = 0x4;

struct Stat {
    state: u8,
    flags: u64,
    started: u64,
}

fn stat(pid: u32) -> Option<Stat> {
    parse(&fs::read(format!("/proc/{pid}/stat")).ok()?)
}

fn parse(text: &[u8]) -> Option<Stat> {
    // The second field is the program's name in parentheses and may itself hold blanks and parentheses.
    let after_name = text.iter().rposition(|byte| *byte == b')')? + 1;
    let mut fields = text.get(after_name..)?.split(u8::is_ascii_whitespace).filter(|field| !field.is_empty());
    let state = *fields.next()?.first()?;
    let mut number = |skip| core::str::from_utf8(fields.nth(skip)?).ok()?.parse().ok();
    Some(Stat { state, flags: number(5)?, started: number(12)? })
}

/// When the process started, in clock ticks since boot; zero when the system does not tell.
pub(super) fn started(pid: u32) -> u64 {
    stat(pid).map_or(0, |stat| stat.started)
}

/// Whether the member's process can still do anything.
pub(super) fn exists(id: MemberId) -> bool {
    match stat(id.raw.major) {
        Some(stat) => {
            stat.started == id.started
                && !matches!(stat.state, b'Z' | b'X' | b'x')
                && stat.flags & EXITING == 0
        }
        None => {
            i32::try_from(id.raw.major).is_ok_and(|pid| kill(Pid::from_raw(pid), None) != Err(Errno::ESRCH))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use postfleet_bus::carrier::RawId;

    fn member(pid: u32, started: u64) -> MemberId {
        MemberId { raw: RawId { major: pid, minor: 1 }, started }
    }

    #[test]
    fn the_fields_are_found_behind_any_name() {
        let line = b"4711 (a) S (b) R 1 2 3 4 5 4194308 7 8 9 10 11 12 13 14 15 16 17 18 9876543 20 21\n";
        let stat = parse(line).unwrap();
        assert_eq!((stat.state, stat.flags & EXITING, stat.started), (b'R', 4, 9_876_543));
        assert!(parse(b"").is_none());
    }

    #[test]
    fn a_zombie_and_a_later_process_of_the_same_number_do_not_exist() {
        let own = std::process::id();
        assert!(exists(member(own, started(own))));
        assert!(!exists(member(own, started(own) + 1)));
        let mut child = std::process::Command::new("sleep").arg("60").spawn().unwrap();
        let id = member(child.id(), started(child.id()));
        assert!(exists(id));
        child.kill().unwrap();
        while exists(id) {
            std::thread::yield_now();
        }
        // Not yet waited for: a zombie.
        assert!(stat(child.id()).is_some());
        child.wait().unwrap();
        assert!(!exists(id));
    }
}
