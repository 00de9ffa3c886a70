//! The spool's disk: real files below `Spoolbase`.

use postfleet_spool::{Disk, DiskError, DiskErrorKind, Space};
use rustix::fs::{AtFlags, CWD, FlockOperation, Mode, OFlags, RenameFlags};
use rustix::io::Errno;
use std::fs::File;
use std::io::{self, Write};
use std::os::unix::fs::{FileExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

/// Files below one folder.
#[derive(Clone, Debug)]
pub(crate) struct FolderDisk {
    base: PathBuf,
    file_mode: u32,
    /// `Force_Fsync`; false makes every sync a no-operation, which is reported as unsafe at the start.
    synced: bool,
}

impl FolderDisk {
    pub(crate) fn new(base: &Path, file_mode: u32, synced: bool) -> Self {
        Self { base: base.to_path_buf(), file_mode, synced }
    }

    fn path(&self, path: &str) -> PathBuf {
        if path.is_empty() { self.base.clone() } else { self.base.join(path) }
    }
}

impl Disk for FolderDisk {
    type File = File;
    type Lock = File;

    fn create_new(&self, path: &str) -> Result<File, DiskError> {
        let file = File::options()
            .append(true)
            .create_new(true)
            .mode(0o600)
            .open(self.path(path))
            .map_err(failed)?;
        // The process's umask is private; the mode is what Spool_Mode says, whatever the umask.
        if self.file_mode != 0o600 {
            file.set_permissions(std::fs::Permissions::from_mode(self.file_mode)).map_err(failed)?;
        }
        Ok(file)
    }

    fn write(&self, file: &mut File, bytes: &[u8]) -> Result<(), DiskError> {
        file.write_all(bytes).map_err(failed)
    }

    fn sync_data(&self, file: &mut File) -> Result<(), DiskError> {
        if self.synced { file.sync_data().map_err(failed) } else { Ok(()) }
    }

    fn open(&self, path: &str) -> Result<File, DiskError> {
        File::open(self.path(path)).map_err(failed)
    }

    fn length(&self, file: &File) -> Result<u64, DiskError> {
        file.metadata().map(|metadata| metadata.len()).map_err(failed)
    }

    fn read_at(&self, file: &File, at: u64, buffer: &mut [u8]) -> Result<usize, DiskError> {
        let mut filled = 0;
        while let Some(rest) = buffer.get_mut(filled..).filter(|rest| !rest.is_empty()) {
            match file.read_at(rest, at + filled as u64) {
                Ok(0) => break,
                Ok(count) => filled += count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(failed(error)),
            }
        }
        Ok(filled)
    }

    fn rename_new(&self, from: &str, to: &str) -> Result<(), DiskError> {
        let (from, to) = (self.path(from), self.path(to));
        match rustix::fs::renameat_with(CWD, &from, CWD, &to, RenameFlags::NOREPLACE) {
            // Some file systems do not know the flag; a link fails in the same way when the name is taken.
            Err(Errno::INVAL | Errno::NOSYS) => rustix::fs::linkat(CWD, &from, CWD, &to, AtFlags::empty())
                .map_err(io::Error::from)
                .and_then(|()| {
                    // Under both names it would be taken for a message at the next start.
                    std::fs::remove_file(&from).inspect_err(|_| drop(std::fs::remove_file(&to)))
                }),
            other => other.map_err(io::Error::from),
        }
        .map_err(failed)
    }

    fn unlink(&self, path: &str) -> Result<(), DiskError> {
        std::fs::remove_file(self.path(path)).map_err(failed)
    }

    fn create_folder(&self, path: &str) -> Result<(), DiskError> {
        match std::fs::create_dir(self.path(path)) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
            other => other.map_err(failed),
        }
    }

    fn sync_folder(&self, path: &str) -> Result<(), DiskError> {
        if !self.synced {
            return Ok(());
        }
        File::open(self.path(path)).and_then(|folder| folder.sync_all()).map_err(failed)
    }

    fn list(&self, path: &str) -> Result<Vec<String>, DiskError> {
        let mut names = Vec::new();
        for entry in std::fs::read_dir(self.path(path)).map_err(failed)? {
            if let Ok(name) = entry.map_err(failed)?.file_name().into_string() {
                names.push(name);
            }
        }
        Ok(names)
    }

    fn lock(&self, path: &str) -> Result<File, DiskError> {
        let file = rustix::fs::open(
            self.path(path),
            OFlags::RDWR | OFlags::CREATE | OFlags::CLOEXEC,
            Mode::from_raw_mode(0o600),
        )
        .map_err(|error| failed(error.into()))?;
        match rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => Ok(File::from(file)),
            Err(Errno::WOULDBLOCK) => {
                Err(DiskError::new(DiskErrorKind::Locked, "another process holds the lock"))
            }
            Err(error) => Err(failed(error.into())),
        }
    }

    fn space(&self) -> Result<Space, DiskError> {
        let found = rustix::fs::statvfs(&self.base).map_err(|error| failed(error.into()))?;
        Ok(Space {
            bytes_total: found.f_blocks.saturating_mul(found.f_frsize),
            bytes_free: found.f_bavail.saturating_mul(found.f_frsize),
            inodes_total: found.f_files,
            inodes_free: found.f_favail,
        })
    }
}

#[expect(clippy::needless_pass_by_value, reason = "stands in map_err")]
fn failed(error: io::Error) -> DiskError {
    let kind = match error.raw_os_error().map(Errno::from_raw_os_error) {
        Some(Errno::NOENT) => DiskErrorKind::NotFound,
        Some(Errno::EXIST) => DiskErrorKind::AlreadyExists,
        Some(Errno::NOSPC | Errno::DQUOT) => DiskErrorKind::NoSpace,
        Some(Errno::MFILE | Errno::NFILE | Errno::NOMEM) => DiskErrorKind::NoResources,
        Some(Errno::ROFS) => DiskErrorKind::ReadOnly,
        Some(Errno::IO) => DiskErrorKind::Io,
        _ => DiskErrorKind::Other,
    };
    DiskError::new(kind, error.to_string())
}
