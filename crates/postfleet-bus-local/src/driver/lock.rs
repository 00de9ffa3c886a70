//! The lock file: the number of the last generation, and which generations still have a living hub.

use nix::errno::Errno;
use nix::fcntl::{FcntlArg, fcntl};
use nix::libc;
use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::Path;

/// `P.lock`. The locks belong to this open file (not to the process), so that several attachments of one
/// process exclude each other too; the kernel drops them when the process ends, by whatever means.
#[derive(Debug)]
pub(super) struct LockFile {
    file: File,
}

impl LockFile {
    /// Opens or makes the file. Close-on-exec, like every descriptor the standard library opens: a child process
    /// must not keep a dead hub's lock.
    pub(super) fn open(path: &Path) -> io::Result<Self> {
        let file =
            OpenOptions::new().read(true).write(true).create(true).truncate(false).mode(0o600).open(path)?;
        Ok(Self { file })
    }

    /// The number in the file; zero when it is empty.
    pub(super) fn number(&self) -> io::Result<u64> {
        let mut text = [0; 32];
        let length = self.file.read_at(&mut text, 0)?;
        let text = text.get(..length).unwrap_or_default();
        if text.is_empty() {
            return Ok(0);
        }
        text.strip_suffix(b"\n")
            .and_then(|digits| core::str::from_utf8(digits).ok())
            .and_then(|digits| digits.parse().ok())
            .ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, "the lock file holds no number"))
    }

    /// Replaces the number by a higher one, with one write: it never gets shorter.
    pub(super) fn write_number(&self, generation: u64) -> io::Result<()> {
        self.file.write_all_at(format!("{generation}\n").as_bytes(), 0)
    }

    /// Whether somebody else holds a lock on the byte of `generation` or a later one.
    pub(super) fn is_locked_from(&self, generation: u64) -> io::Result<bool> {
        let mut query = region(generation, 0)?;
        fcntl(&self.file, FcntlArg::F_OFD_GETLK(&mut query))?;
        Ok(libc::c_int::from(query.l_type) != libc::F_UNLCK)
    }

    /// Locks the byte of `generation`, if nobody else holds it.
    pub(super) fn lock(&self, generation: u64) -> io::Result<bool> {
        match fcntl(&self.file, FcntlArg::F_OFD_SETLK(&region(generation, 1)?)) {
            Ok(_) => Ok(true),
            Err(Errno::EAGAIN | Errno::EACCES) => Ok(false),
            Err(error) => Err(error.into()),
        }
    }

    /// Lets go of whatever this attachment has locked.
    pub(super) fn unlock(&self) {
        // It cannot fail for a lock that is held, and one that is not held needs nothing.
        if let Ok(mut whole) = region(0, 0) {
            whole.l_type = kind(libc::F_UNLCK);
            let _ = fcntl(&self.file, FcntlArg::F_OFD_SETLK(&whole));
        }
    }
}

fn kind(kind: libc::c_int) -> libc::c_short {
    libc::c_short::try_from(kind).unwrap_or_default()
}

fn region(generation: u64, length: libc::off_t) -> io::Result<libc::flock> {
    let start = libc::off_t::try_from(generation)
        .map_err(|_| io::Error::new(io::ErrorKind::InvalidData, "the generation is out of range"))?;
    Ok(libc::flock {
        l_type: kind(libc::F_WRLCK),
        l_whence: kind(libc::SEEK_SET),
        l_start: start,
        l_len: length,
        l_pid: 0,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_are_locked_one_by_one_and_freed_when_the_file_is_closed() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("bus.m.lock");
        let (one, other) = (LockFile::open(&path).unwrap(), LockFile::open(&path).unwrap());
        assert_eq!(one.number().unwrap(), 0);
        assert!(one.lock(1).unwrap());
        assert!(!other.lock(1).unwrap());
        assert!(other.lock(2).unwrap());
        assert!(one.is_locked_from(2).unwrap() && !one.is_locked_from(3).unwrap());
        assert!(other.is_locked_from(0).unwrap() && !other.is_locked_from(2).unwrap());
        drop(one);
        assert!(!other.is_locked_from(0).unwrap());
        other.unlock();
        assert!(other.lock(1).unwrap());
    }

    #[test]
    fn the_number_is_read_as_written() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("bus.m.lock");
        let file = LockFile::open(&path).unwrap();
        for number in [1, 9, 10, 99, 100] {
            file.write_number(number).unwrap();
            assert_eq!(file.number().unwrap(), number);
            assert_eq!(std::fs::read_to_string(&path).unwrap(), format!("{number}\n"));
        }
        std::fs::write(&path, "hello\n").unwrap();
        assert_eq!(file.number().unwrap_err().kind(), io::ErrorKind::InvalidData);
    }
}
