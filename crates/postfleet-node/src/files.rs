//! Configuration files on the file system, and what the process knows about itself when it looks for them.

use crate::system;
use postfleet_config::{FileError, FileKind, Files, LoadRequest};
use std::fs;
use std::io;
use std::path::Path;

/// The file system.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct FileSystem;

fn failed(error: io::Error) -> FileError {
    // "Permission denied (os error 13)": operators know the words, not the number.
    let text = error.to_string();
    let reason = text.split(" (os error").next().unwrap_or_default().to_owned();
    FileError { reason }
}

impl Files for FileSystem {
    fn read(&self, path: &str) -> Result<Vec<u8>, FileError> {
        fs::read(path).map_err(failed)
    }

    fn list(&self, directory: &str) -> Result<Vec<String>, FileError> {
        let mut names = Vec::new();
        for entry in fs::read_dir(directory).map_err(failed)? {
            if let Ok(name) = entry.map_err(failed)?.file_name().into_string() {
                names.push(name);
            }
        }
        Ok(names)
    }

    fn kind(&self, path: &str) -> Result<FileKind, FileError> {
        match fs::metadata(path) {
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
        fs::canonicalize(path)
            .ok()
            .and_then(|path| path.into_os_string().into_string().ok())
            .unwrap_or_else(|| path.to_owned())
    }

    fn writable(&self, path: &str) -> bool {
        rustix::fs::access(path, rustix::fs::Access::WRITE_OK).is_ok()
    }
}

/// What a load of this process starts from.
pub(crate) fn request(main: Option<&Path>, strict: bool) -> anyhow::Result<LoadRequest> {
    let main = main
        .map(|path| {
            path.to_str()
                .map(str::to_owned)
                .ok_or_else(|| anyhow::anyhow!("{}: the path is not UTF-8", path.display()))
        })
        .transpose()?;
    let variable = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
    let host = system::host_name();
    let node_name =
        postfleet_config::identity::node_name(None, variable("EC_NODE_NAME").as_deref(), Some(&host));
    Ok(LoadRequest {
        main,
        etc: variable("POSTFLEET_ETC"),
        search_path: variable("EC_CONF_SEARCH_PATH"),
        node_name: node_name.ok().map(|name| name.to_string()),
        subcluster: Some(variable("EC_SUB_CLUSTER").unwrap_or_else(|| "default".into())),
        working_directory: std::env::current_dir()?.to_string_lossy().into_owned(),
        strict,
        ..LoadRequest::default()
    })
}
