//! What a load is given: files, and the facts of the process and the machine.

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::string::{String, ToString};
use alloc::vec::Vec;

use crate::legacy::Legacy;

/// What a path leads to, links followed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FileKind {
    /// Nothing is there.
    Missing,
    /// A regular file.
    File,
    /// A directory.
    Directory,
    /// Something else, such as a socket.
    Other,
}

/// Why a file could not be read. The machine is at fault, or the permissions of the process.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{reason}")]
pub struct FileError {
    /// The system's words, such as `Permission denied`.
    pub reason: String,
}

/// The files of a load. postfleet-node implements it on the file system, [`MemoryFiles`] in memory.
///
/// Every path handed in is absolute.
pub trait Files {
    /// The content of a file.
    ///
    /// # Errors
    /// [`FileError`] with the system's words.
    fn read(&self, path: &str) -> Result<Vec<u8>, FileError>;

    /// The names in a directory, in any order, without `.` and `..`.
    ///
    /// # Errors
    /// [`FileError`] with the system's words.
    fn list(&self, directory: &str) -> Result<Vec<String>, FileError>;

    /// What the path leads to, links followed.
    ///
    /// # Errors
    /// [`FileError`] when that cannot be found out; a path that leads nowhere is no error.
    fn kind(&self, path: &str) -> Result<FileKind, FileError>;

    /// The path with links resolved; the path itself when that cannot be done.
    fn canonical(&self, path: &str) -> String;

    /// Whether the process may write the file.
    fn writable(&self, path: &str) -> bool;
}

/// Files in memory. Directories exist where a file lies below them.
#[derive(Clone, Debug, Default)]
pub struct MemoryFiles {
    files: BTreeMap<String, Result<Vec<u8>, FileError>>,
    links: BTreeMap<String, String>,
    read_only: BTreeSet<String>,
}

impl MemoryFiles {
    /// No files.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// The same with this file.
    #[must_use]
    pub fn with(mut self, path: &str, content: impl Into<Vec<u8>>) -> Self {
        self.files.insert(path.to_string(), Ok(content.into()));
        self
    }

    /// The same with a file that cannot be read.
    #[must_use]
    pub fn with_unreadable(mut self, path: &str, reason: &str) -> Self {
        self.files.insert(path.to_string(), Err(FileError { reason: reason.to_string() }));
        self
    }

    /// The same with a file that the process may not write.
    #[must_use]
    pub fn with_read_only(mut self, path: &str, content: impl Into<Vec<u8>>) -> Self {
        self.read_only.insert(path.to_string());
        self.with(path, content)
    }

    /// The same with a link.
    #[must_use]
    pub fn with_link(mut self, path: &str, to: &str) -> Self {
        self.links.insert(path.to_string(), to.to_string());
        self
    }

    fn below(&self, directory: &str) -> impl Iterator<Item = &str> {
        let prefix = alloc::format!("{}/", directory.trim_end_matches('/'));
        self.files.keys().chain(self.links.keys()).filter_map(move |path| {
            path.strip_prefix(&prefix).and_then(|rest| rest.split('/').next()).filter(|name| !name.is_empty())
        })
    }
}

impl Files for MemoryFiles {
    fn read(&self, path: &str) -> Result<Vec<u8>, FileError> {
        match self.files.get(&self.canonical(path)) {
            Some(content) => content.clone(),
            None => Err(FileError { reason: "No such file or directory".to_string() }),
        }
    }

    fn list(&self, directory: &str) -> Result<Vec<String>, FileError> {
        let mut names: Vec<String> = self.below(directory).map(ToString::to_string).collect();
        names.dedup();
        Ok(names)
    }

    fn kind(&self, path: &str) -> Result<FileKind, FileError> {
        let path = self.canonical(path);
        match self.files.get(&path) {
            Some(Ok(_)) => Ok(FileKind::File),
            Some(Err(error)) => Err(error.clone()),
            None if self.below(&path).next().is_some() => Ok(FileKind::Directory),
            None => Ok(FileKind::Missing),
        }
    }

    fn canonical(&self, path: &str) -> String {
        self.links.get(path).cloned().unwrap_or_else(|| path.to_string())
    }

    fn writable(&self, path: &str) -> bool {
        !self.read_only.contains(&self.canonical(path))
    }
}

/// Which daemon the configuration is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// A relay.
    Node,
    /// The cluster manager.
    Manager,
}

/// What a load starts from. Everything comes from the caller; nothing is looked up behind its back.
#[derive(Clone, Debug, Default)]
pub struct LoadRequest {
    /// The main file, as given on a command line; `None`: it is searched for.
    pub main: Option<String>,
    /// The role; `None`: by the name of the main file, a node when that says nothing.
    pub role: Option<Role>,
    /// `POSTFLEET_ETC`; `None`: `/etc/postfleet`, or the vendor's directory where only that exists.
    pub etc: Option<String>,
    /// `EC_CONF_SEARCH_PATH`: directories with `:` between them, `{NODENAME}` and `{SUBCLUSTER}` replaced.
    pub search_path: Option<String>,
    /// The node name for `{NODENAME}`; see [`crate::identity::node_name`].
    pub node_name: Option<String>,
    /// The subcluster for `{SUBCLUSTER}`; see [`crate::identity::subcluster`].
    pub subcluster: Option<String>,
    /// Where a relative main file is looked for.
    pub working_directory: String,
    /// Names that are known and not read are errors.
    pub strict: bool,
    /// What happens to constructs of the 2.x form.
    pub legacy: Legacy,
}

/// `path`, absolute.
pub(crate) fn absolute(directory: &str, path: &str) -> String {
    let joined = if path.starts_with('/') {
        path.to_string()
    } else {
        alloc::format!("{}/{path}", directory.trim_end_matches('/'))
    };
    let mut parts: Vec<&str> = Vec::new();
    for part in joined.split('/') {
        match part {
            "" | "." => {}
            ".." => {
                parts.pop();
            }
            other => parts.push(other),
        }
    }
    alloc::format!("/{}", parts.join("/"))
}

/// The directory that a path lies in.
pub(crate) fn directory(path: &str) -> &str {
    match path.rfind('/') {
        Some(0) | None => "/",
        Some(at) => path.get(..at).unwrap_or("/"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_become_absolute() {
        assert_eq!(absolute("/a/b", "c"), "/a/b/c");
        assert_eq!(absolute("/a/b", "../c/./d"), "/a/c/d");
        assert_eq!(absolute("/a/b", "/c//d"), "/c/d");
        assert_eq!(directory("/a/b"), "/a");
        assert_eq!(directory("/a"), "/");
    }

    #[test]
    fn directories_exist_where_files_lie() {
        let files = MemoryFiles::new().with("/a/b/c", "").with("/a/d", "");
        assert_eq!(files.kind("/a"), Ok(FileKind::Directory));
        assert_eq!(files.list("/a"), Ok(vec!["b".to_string(), "d".to_string()]));
        assert_eq!(files.kind("/x"), Ok(FileKind::Missing));
    }
}
