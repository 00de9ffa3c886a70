//! The files of a load as they were read, with some of them changed.

use alloc::collections::BTreeMap;
use alloc::string::{String, ToString as _};
use alloc::vec::Vec;

use crate::config::Config;
use crate::files::{FileError, FileKind, Files};

/// Files whose content is known by canonical path. Links and directories are those of the disk; other files are not
/// there.
pub(super) struct Frozen<'a> {
    disk: &'a dyn Files,
    contents: BTreeMap<String, Vec<u8>>,
}

impl<'a> Frozen<'a> {
    pub(super) fn new(disk: &'a dyn Files, config: &Config, changed: &BTreeMap<String, Vec<u8>>) -> Self {
        let mut contents: BTreeMap<String, Vec<u8>> = config
            .sources()
            .iter()
            .map(|source| (source.path().to_string(), source.text().as_bytes().to_vec()))
            .collect();
        contents.extend(changed.iter().map(|(path, content)| (path.clone(), content.clone())));
        Self { disk, contents }
    }

    fn content(&self, path: &str) -> Option<&Vec<u8>> {
        self.contents.get(&self.disk.canonical(path))
    }
}

impl Files for Frozen<'_> {
    fn read(&self, path: &str) -> Result<Vec<u8>, FileError> {
        self.content(path)
            .cloned()
            .ok_or_else(|| FileError { reason: "No such file or directory".to_string() })
    }

    fn list(&self, directory: &str) -> Result<Vec<String>, FileError> {
        let names = self.disk.list(directory)?;
        let inside = |name: &String| {
            let path = alloc::format!("{}/{name}", directory.trim_end_matches('/'));
            self.content(&path).is_some()
        };
        Ok(names.into_iter().filter(inside).collect())
    }

    fn kind(&self, path: &str) -> Result<FileKind, FileError> {
        if self.content(path).is_some() {
            return Ok(FileKind::File);
        }
        match self.disk.kind(path) {
            Ok(FileKind::Directory) => Ok(FileKind::Directory),
            Ok(FileKind::Missing | FileKind::File | FileKind::Other) | Err(_) => Ok(FileKind::Missing),
        }
    }

    fn canonical(&self, path: &str) -> String {
        self.disk.canonical(path)
    }

    fn writable(&self, path: &str) -> bool {
        self.disk.writable(path) || self.disk.kind(path) == Ok(FileKind::Missing)
    }
}
