//! Configuration files on the file system, and what the process knows about itself when it looks for them.

use crate::names::{self, Names};
use crate::system;
use postfleet_config::live::Replacement;
use postfleet_config::{Config, Diagnostic, FileError, FileKind, Files, LoadOutcome, LoadRequest};
use std::borrow::Cow;
use std::fs;
use std::io::{self, Write as _};
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _};
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

/// Whether a console may have this file written: it is not there, or it is a plain file of our own user.
pub(crate) fn may_be_ours(path: &Path) -> Result<(), String> {
    match fs::symlink_metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(format!("{}: {}", path.display(), failed(error).reason)),
        Ok(found) if !found.is_file() => Err(format!("{} is not a plain file", path.display())),
        Ok(found) if found.uid() != rustix::process::geteuid().as_raw() => {
            Err(format!("{} belongs to another user", path.display()))
        }
        Ok(_) => Ok(()),
    }
}

/// A file that is complete and synced beside the one it is to replace.
struct Staged {
    beside: PathBuf,
    path: PathBuf,
}

impl Staged {
    /// Mode and owner of the file that is there are kept. A new file is readable by our own user and group.
    fn new(file: &Replacement) -> Result<Self, String> {
        let path = PathBuf::from(&file.path);
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let beside = path.with_file_name(format!(".{name}.{}.new", std::process::id()));
        let say = |error: io::Error| format!("{}: {}", path.display(), failed(error).reason);
        let staged = Self { beside, path: path.clone() };
        // What a process of this number left behind when it was killed.
        drop(fs::remove_file(&staged.beside));
        let mut out =
            fs::File::options().write(true).create_new(true).mode(0o600).open(&staged.beside).map_err(say)?;
        out.write_all(&file.content).map_err(say)?;
        match fs::metadata(&path) {
            Ok(found) => {
                let own = out.metadata().map_err(say)?;
                if (own.uid(), own.gid()) != (found.uid(), found.gid()) {
                    std::os::unix::fs::fchown(&out, Some(found.uid()), Some(found.gid())).map_err(
                        |error| {
                            format!("{}: cannot keep its owner: {}", path.display(), failed(error).reason)
                        },
                    )?;
                }
                out.set_permissions(found.permissions()).map_err(say)?;
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                out.set_permissions(fs::Permissions::from_mode(0o640)).map_err(say)?;
            }
            Err(error) => return Err(say(error)),
        }
        out.sync_all().map_err(say)?;
        Ok(staged)
    }
}

impl Drop for Staged {
    fn drop(&mut self) {
        // Nothing is left of it once it has taken its place.
        drop(fs::remove_file(&self.beside));
    }
}

/// Replaces files as a whole, all or none. All of them are on the disk before the first takes its place; a reader sees the
/// old or the new content of each, also after a crash. When one cannot take its place, those before it get their old
/// content back.
pub(crate) fn replace(files: &[Replacement]) -> Result<(), String> {
    replace_by(files, &mut |from, to| fs::rename(from, to))
}

fn replace_by(
    files: &[Replacement],
    rename: &mut dyn FnMut(&Path, &Path) -> io::Result<()>,
) -> Result<(), String> {
    let staged = files.iter().map(Staged::new).collect::<Result<Vec<Staged>, String>>()?;
    let kept = staged.iter().map(Kept::new).collect::<Result<Vec<Kept>, String>>()?;
    for (at, file) in staged.iter().enumerate() {
        let Err(error) = rename(&file.beside, &file.path).and_then(|()| sync_directory(&file.path)) else {
            continue;
        };
        let mut message = format!("{}: {}", file.path.display(), failed(error).reason);
        for kept in kept.iter().take(at + 1) {
            if let Err(error) = kept.put_back().and_then(|()| sync_directory(&kept.path)) {
                let reason = failed(error).reason;
                message.push_str(&format!("; {} may hold the new text: {reason}", kept.path.display()));
            }
        }
        return Err(message);
    }
    Ok(())
}

fn sync_directory(path: &Path) -> io::Result<()> {
    let directory = path.parent().filter(|path| !path.as_os_str().is_empty());
    fs::File::open(directory.unwrap_or(Path::new(".")))?.sync_all()
}

/// What a file was before it is replaced, under a second name.
struct Kept {
    path: PathBuf,
    /// `None`: there was no file.
    beside: Option<PathBuf>,
}

impl Kept {
    fn new(file: &Staged) -> Result<Self, String> {
        let beside = file.beside.with_extension("old");
        // What a process of this number left behind when it was killed.
        drop(fs::remove_file(&beside));
        // A file system without links has copies.
        let linked = fs::hard_link(&file.path, &beside).or_else(|error| {
            if error.kind() == io::ErrorKind::NotFound {
                return Err(error);
            }
            fs::copy(&file.path, &beside).map(drop)
        });
        let path = file.path.clone();
        match linked {
            Ok(()) => Ok(Self { path, beside: Some(beside) }),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Self { path, beside: None }),
            Err(error) => Err(format!("{}: {}", path.display(), failed(error).reason)),
        }
    }

    /// Does nothing where the file has not been replaced.
    fn put_back(&self) -> io::Result<()> {
        match &self.beside {
            Some(beside) => fs::rename(beside, &self.path),
            None => match fs::remove_file(&self.path) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
                Ok(()) | Err(_) => Ok(()),
            },
        }
    }
}

impl Drop for Kept {
    fn drop(&mut self) {
        if let Some(beside) = &self.beside {
            drop(fs::remove_file(beside));
        }
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

/// Loads a configuration from the file system, and looks also at the scripts that it names.
#[must_use]
pub fn load_config(request: &LoadRequest) -> LoadOutcome {
    let mut outcome = Config::load(&FileSystem::pinned(), request);
    if let Some(config) = &outcome.config {
        outcome.diagnostics.extend(crate::settings::check_scripts(config));
        if outcome.diagnostics.iter().any(Diagnostic::is_error) {
            outcome.config = None;
        }
    }
    outcome
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_are_replaced_as_a_whole_and_keep_their_mode() {
        let dir = tempfile::tempdir().unwrap();
        let file = |name: &str| dir.path().join(name);
        let with = |name: &str, content: &str| Replacement {
            path: file(name).display().to_string(),
            content: content.as_bytes().to_vec(),
        };
        fs::write(file("a"), "old").unwrap();
        fs::set_permissions(file("a"), fs::Permissions::from_mode(0o604)).unwrap();
        replace(&[with("a", "new"), with("b", "fresh")]).unwrap();
        let mode = |name: &str| fs::metadata(file(name)).unwrap().permissions().mode() & 0o777;
        assert_eq!((fs::read(file("a")).unwrap(), mode("a")), (b"new".to_vec(), 0o604));
        assert_eq!((fs::read(file("b")).unwrap(), mode("b")), (b"fresh".to_vec(), 0o640));
        // One that cannot be staged leaves all others alone.
        let error = replace(&[with("a", "newer"), with("none/c", "x")]).unwrap_err();
        assert!(error.ends_with("none/c: No such file or directory"), "{error}");
        assert_eq!(fs::read(file("a")).unwrap(), b"new");
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 2);
    }

    #[test]
    fn a_file_that_cannot_take_its_place_leaves_all_as_they_were() {
        let dir = tempfile::tempdir().unwrap();
        let file = |name: &str| dir.path().join(name);
        let with =
            |name: &str| Replacement { path: file(name).display().to_string(), content: b"changed".to_vec() };
        fs::write(file("a"), "old a").unwrap();
        fs::set_permissions(file("a"), fs::Permissions::from_mode(0o604)).unwrap();
        fs::write(file("c"), "old c").unwrap();
        // The file "new" does not exist before; the third rename fails.
        let mut renames = 0;
        let error = replace_by(&[with("a"), with("new"), with("c"), with("d")], &mut |from, to| {
            renames += 1;
            if renames == 3 { Err(io::ErrorKind::StorageFull.into()) } else { fs::rename(from, to) }
        })
        .unwrap_err();
        assert_eq!(error, format!("{}: no storage space", file("c").display()));
        let mode = fs::metadata(file("a")).unwrap().permissions().mode() & 0o777;
        assert_eq!((fs::read(file("a")).unwrap(), mode), (b"old a".to_vec(), 0o604));
        assert_eq!(fs::read(file("c")).unwrap(), b"old c");
        let mut left: Vec<_> =
            fs::read_dir(dir.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        left.sort();
        assert_eq!(left, ["a", "c"]);
    }

    #[test]
    fn only_plain_files_of_our_own_are_overwritten() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("plain"), "").unwrap();
        std::os::unix::fs::symlink(dir.path().join("plain"), dir.path().join("link")).unwrap();
        assert_eq!(may_be_ours(&dir.path().join("plain")), Ok(()));
        assert_eq!(may_be_ours(&dir.path().join("new")), Ok(()));
        for name in ["link", "."] {
            assert!(may_be_ours(&dir.path().join(name)).unwrap_err().ends_with(" is not a plain file"));
        }
    }

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
