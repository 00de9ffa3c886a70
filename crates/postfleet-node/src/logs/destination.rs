//! Where the lines of a log go.

use rustix::fs::{FileType, Mode, OFlags};
use std::collections::VecDeque;
use std::fs::File;
use std::io::{self, Read as _, Seek as _, SeekFrom, Write as _};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

/// Octets handed to the file at once.
const PIECE_OCTETS: usize = 64 * 1024;

/// Something that takes lines. One thread calls it, and may wait for it as long as it likes.
pub(super) trait Destination: Send {
    /// Takes lines from the front, each with its line end, and removes those that it has; on an error the others stay.
    /// A destination with records of its own makes one of each line.
    fn append(&mut self, lines: &mut VecDeque<Vec<u8>>) -> io::Result<()>;

    /// Begins anew, after its file was renamed. On an error it goes on as it was. `mode` is for what it makes.
    fn reopen(&mut self, mode: u32) -> io::Result<()>;
}

/// A file that grows at its end.
pub(super) struct LogFile {
    path: PathBuf,
    file: File,
    /// Octets of the next line that the file has already.
    begun: usize,
    /// The last line in the file has no end: somebody stopped in the middle of it.
    torn: bool,
}

impl LogFile {
    /// Opens it, or makes it with this mode.
    pub(super) fn open(path: &Path, mode: u32) -> io::Result<Self> {
        let (file, torn) = open(path, mode)?;
        Ok(Self { path: path.to_path_buf(), file, begun: 0, torn })
    }

    fn write(&mut self, lines: &mut VecDeque<Vec<u8>>) -> io::Result<()> {
        if self.torn {
            self.file.write_all(b"\n")?;
            self.torn = false;
        }
        let mut piece = Vec::with_capacity(PIECE_OCTETS);
        while !lines.is_empty() {
            piece.clear();
            for line in lines.iter() {
                if !piece.is_empty() && piece.len() + line.len() > PIECE_OCTETS {
                    break;
                }
                piece.extend_from_slice(line);
            }
            let mut rest = piece.get(self.begun..).unwrap_or_default();
            while !rest.is_empty() {
                let count = match self.file.write(rest) {
                    Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                    Ok(count) => count,
                    Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                    Err(error) => return Err(error),
                };
                rest = rest.get(count..).unwrap_or_default();
                self.written(lines, count);
            }
        }
        Ok(())
    }

    /// So many octets more are in the file: lines that are complete are done.
    fn written(&mut self, lines: &mut VecDeque<Vec<u8>>, count: usize) {
        self.begun += count;
        while let Some(line) = lines.front().filter(|line| line.len() <= self.begun) {
            self.begun -= line.len();
            lines.pop_front();
        }
    }
}

impl Destination for LogFile {
    fn append(&mut self, lines: &mut VecDeque<Vec<u8>>) -> io::Result<()> {
        self.write(lines)
    }

    fn reopen(&mut self, mode: u32) -> io::Result<()> {
        let (file, torn) = open(&self.path, mode)?;
        // A line of which the old file has the beginning stands in the new one as a whole.
        *self = Self { path: std::mem::take(&mut self.path), file, begun: 0, torn };
        Ok(())
    }
}

/// Opens a file for appending, and tells whether its last line has no end.
fn open(path: &Path, mode: u32) -> io::Result<(File, bool)> {
    // Not blocking: a pipe without a reader must not hold the node up.
    let flags = OFlags::RDWR | OFlags::APPEND | OFlags::CLOEXEC | OFlags::NOCTTY | OFlags::NONBLOCK;
    let (file, new) = match rustix::fs::open(path, flags, Mode::empty()) {
        Ok(file) => (File::from(file), false),
        Err(rustix::io::Errno::NOENT) => {
            let flags = flags | OFlags::CREATE | OFlags::EXCL;
            match rustix::fs::open(path, flags, Mode::RUSR | Mode::WUSR) {
                Ok(file) => (File::from(file), true),
                // Somebody was faster.
                Err(rustix::io::Errno::EXIST) => (
                    File::from(rustix::fs::open(path, flags - OFlags::CREATE - OFlags::EXCL, Mode::empty())?),
                    false,
                ),
                Err(error) => return Err(error.into()),
            }
        }
        // A file that may be written and not read, and terminals of others.
        Err(rustix::io::Errno::ACCESS | rustix::io::Errno::PERM) => {
            let flags = (flags - OFlags::RDWR) | OFlags::WRONLY;
            (File::from(rustix::fs::open(path, flags, Mode::empty())?), false)
        }
        Err(error) => return Err(error.into()),
    };
    let kind = FileType::from_raw_mode(rustix::fs::fstat(&file)?.st_mode);
    if !matches!(kind, FileType::RegularFile | FileType::CharacterDevice) {
        return Err(io::Error::other("neither a file nor a device"));
    }
    let flags = rustix::fs::fcntl_getfl(&file)?;
    rustix::fs::fcntl_setfl(&file, flags - OFlags::NONBLOCK)?;
    if new {
        // The process has a narrow umask for its own files; logs have the mode that was asked for.
        file.set_permissions(std::fs::Permissions::from_mode(mode & 0o7777))?;
    }
    let torn = kind == FileType::RegularFile && !new && is_torn(&file);
    Ok((file, torn))
}

fn is_torn(mut file: &File) -> bool {
    let mut last = [0];
    let read = file.seek(SeekFrom::End(-1)).and_then(|_| file.read_exact(&mut last));
    // An empty file has no last octet, and one that cannot be read is taken as it is.
    read.is_ok() && last != *b"\n"
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(texts: &[&str]) -> VecDeque<Vec<u8>> {
        texts.iter().map(|text| format!("{text}\n").into_bytes()).collect()
    }

    #[test]
    fn a_new_file_has_the_mode_that_was_asked_for_and_an_old_one_keeps_its_own() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("log");
        for (asked, found) in [(0o640, 0o640), (0o600, 0o640)] {
            LogFile::open(&path, asked).unwrap().append(&mut lines(&["a"])).unwrap();
            assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o7777, found);
        }
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "a\na\n");
    }

    #[test]
    fn a_line_without_an_end_gets_one_before_the_next() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("log");
        std::fs::write(&path, "whole\nhal").unwrap();
        LogFile::open(&path, 0o644).unwrap().append(&mut lines(&["next"])).unwrap();
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "whole\nhal\nnext\n");
    }

    #[test]
    fn a_renamed_file_gets_what_comes_before_the_reopening() {
        let dir = tempfile::tempdir().unwrap();
        let (path, old) = (dir.path().join("log"), dir.path().join("log.1"));
        let mut file = LogFile::open(&path, 0o644).unwrap();
        std::fs::rename(&path, &old).unwrap();
        file.append(&mut lines(&["1", "2"])).unwrap();
        file.reopen(0o600).unwrap();
        file.append(&mut lines(&["3"])).unwrap();
        assert_eq!(std::fs::read_to_string(&old).unwrap(), "1\n2\n");
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "3\n");
        // Without its folder it goes on where it is.
        std::fs::rename(dir.path(), dir.path().with_extension("gone")).unwrap();
        assert!(file.reopen(0o600).is_err());
        file.append(&mut lines(&["4"])).unwrap();
        std::fs::rename(dir.path().with_extension("gone"), dir.path()).unwrap();
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "3\n4\n");
    }

    #[test]
    fn what_is_no_file_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let pipe = dir.path().join("pipe");
        assert!(std::process::Command::new("mkfifo").arg(&pipe).status().unwrap().success());
        for path in [dir.path(), pipe.as_path(), &dir.path().join("no/folder")] {
            assert!(LogFile::open(path, 0o644).is_err(), "{}", path.display());
        }
        // A disk that is full says so, and keeps the lines.
        let mut full = LogFile::open(Path::new("/dev/full"), 0o644).unwrap();
        let mut waiting = lines(&["a", "b"]);
        assert_eq!(full.append(&mut waiting).unwrap_err().kind(), io::ErrorKind::StorageFull);
        assert_eq!(waiting.len(), 2);
    }

    #[test]
    fn lines_of_any_length_are_taken_as_they_get_into_the_file() {
        let dir = tempfile::tempdir().unwrap();
        let mut file = LogFile::open(&dir.path().join("log"), 0o644).unwrap();
        let mut waiting = lines(&["ab", "cdef", "g"]);
        // As after writes that came to an end in the middle.
        file.written(&mut waiting, 4);
        assert_eq!((waiting.len(), file.begun), (2, 1));
        file.append(&mut waiting).unwrap();
        assert_eq!(std::fs::read_to_string(dir.path().join("log")).unwrap(), "def\ng\n");
        let long = "x".repeat(3 * PIECE_OCTETS);
        let mut waiting = lines(&["a", &long, "b"]);
        file.append(&mut waiting).unwrap();
        let text = std::fs::read_to_string(dir.path().join("log")).unwrap();
        assert!(waiting.is_empty() && text == format!("def\ng\na\n{long}\nb\n"));
    }
}
