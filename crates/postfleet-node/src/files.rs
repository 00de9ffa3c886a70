//! Configuration files on the file system, and what the process knows about itself when it looks for them.

use crate::names::{self, Names};
use crate::system;
use postfleet_config::{FileError, FileKind, Files, LoadRequest};
use std::borrow::Cow;
use std::fs;
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::path::{Path, PathBuf};

/// The file system, as one load sees it.
///
/// A tool that brings a new configuration replaces the directory `conf` as a whole. A load that was made with
/// [`FileSystem::pinned`] reads all files from the directory that was there when it began, not some from the old one
/// and some from the new.
#[derive(Debug, Default)]
pub struct FileSystem {
    pinned: Option<(PathBuf, OwnedFd)>,
}

impl FileSystem {
    /// Holds on to the directory `conf` as it is now.
    #[must_use]
    pub fn pinned() -> Self {
        let directory = Path::new(&names::etc().0).join("conf");
        let opened = fs::File::open(&directory).ok();
        Self { pinned: opened.map(|opened| (directory, OwnedFd::from(opened))) }
    }

    /// Where a path leads for this load.
    fn real<'a>(&self, path: &'a str) -> Cow<'a, Path> {
        let below = self.pinned.as_ref().and_then(|(directory, opened)| {
            let rest = Path::new(path).strip_prefix(directory).ok()?;
            let link = Path::new("/proc/self/fd").join(opened.as_raw_fd().to_string());
            // Without /proc the path itself has to do.
            link.exists().then(|| link.join(rest))
        });
        below.map_or_else(|| Cow::Borrowed(Path::new(path)), Cow::Owned)
    }
}

fn failed(error: io::Error) -> FileError {
    // "Permission denied (os error 13)": operators know the words, not the number.
    let text = error.to_string();
    let reason = text.split(" (os error").next().unwrap_or_default().to_owned();
    FileError { reason }
}

impl Files for FileSystem {
    fn read(&self, path: &str) -> Result<Vec<u8>, FileError> {
        fs::read(self.real(path)).map_err(failed)
    }

    fn list(&self, directory: &str) -> Result<Vec<String>, FileError> {
        let mut names = Vec::new();
        for entry in fs::read_dir(self.real(directory)).map_err(failed)? {
            if let Ok(name) = entry.map_err(failed)?.file_name().into_string() {
                names.push(name);
            }
        }
        Ok(names)
    }

    fn kind(&self, path: &str) -> Result<FileKind, FileError> {
        match fs::metadata(self.real(path)) {
            Ok(found) if found.is_file() => Ok(FileKind::File),
            Ok(found) if found.is_dir() => Ok(FileKind::Directory),
            Ok(_) => Ok(FileKind::Other),
            Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {
                Ok(FileKind::Missing)
            }
            Err(error) => Err(failed(error)),
        }
    }

    fn canonical(&self, path: &str) -> String {
        fs::canonicalize(self.real(path))
            .ok()
            .and_then(|path| path.into_os_string().into_string().ok())
            .unwrap_or_else(|| path.to_owned())
    }

    fn writable(&self, path: &str) -> bool {
        rustix::fs::access(self.real(path).as_ref(), rustix::fs::Access::WRITE_OK).is_ok()
    }
}

/// What a load of this process starts from: the environment, `cluster.boot`, and a main file where one is named.
///
/// # Errors
/// The path is not UTF-8, or the process has no working directory.
pub fn load_request(main: Option<&Path>) -> anyhow::Result<LoadRequest> {
    let main = main
        .map(|path| {
            path.to_str()
                .map(str::to_owned)
                .ok_or_else(|| anyhow::anyhow!("{}: the path is not UTF-8", path.display()))
        })
        .transpose()?;
    let names = Names::read();
    let host = system::host_name();
    let node_name = postfleet_config::identity::node_name(None, names.node.as_deref(), Some(&host));
    Ok(LoadRequest {
        main,
        etc: names::variable("POSTFLEET_ETC"),
        search_path: names::variable("EC_CONF_SEARCH_PATH"),
        node_name: node_name.ok().map(|name| name.to_string()),
        subcluster: Some(names.subcluster.unwrap_or_else(|| "default".into())),
        working_directory: std::env::current_dir()?.to_string_lossy().into_owned(),
        ..LoadRequest::default()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_load_reads_one_directory_also_when_it_is_replaced_meanwhile() {
        let dir = tempfile::tempdir().unwrap();
        let conf = dir.path().join("conf");
        let write = |text: &str| {
            fs::create_dir(&conf).unwrap();
            fs::write(conf.join("a.conf"), text).unwrap();
        };
        write("old");
        let held = OwnedFd::from(fs::File::open(&conf).unwrap());
        let files = FileSystem { pinned: Some((conf.clone(), held)) };
        let path = conf.join("a.conf").display().to_string();
        assert_eq!(files.read(&path), Ok(b"old".to_vec()));
        fs::rename(&conf, dir.path().join("conf.old")).unwrap();
        write("new");
        assert_eq!(files.read(&path), Ok(b"old".to_vec()));
        assert_eq!(files.kind(&path), Ok(FileKind::File));
        assert_eq!(files.list(&conf.display().to_string()), Ok(vec!["a.conf".to_owned()]));
        assert_eq!(FileSystem::default().read(&path), Ok(b"new".to_vec()));
    }
}
