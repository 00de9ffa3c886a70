//! What the line editor remembers, and how its keys work.

use std::fs::{OpenOptions, Permissions};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use rustyline::EditMode;

/// Lines kept between sessions.
pub(super) const LINES_MAX: usize = 1000;

/// The history file in the operator's home.
pub(super) fn file(home: &Path) -> PathBuf {
    home.join(".postfleet_history")
}

/// Makes sure that nobody else can read the file before anything is written to it.
pub(super) fn protect(file: &Path) -> std::io::Result<()> {
    OpenOptions::new().append(true).create(true).mode(0o600).open(file)?;
    std::fs::set_permissions(file, Permissions::from_mode(0o600))
}

/// Whether a line may be kept: not what the operator hid with a leading blank, and no passwords.
pub(super) fn may_keep(line: &str) -> bool {
    let lower = line.to_lowercase();
    !line.starts_with([' ', '\t'])
        && !line.trim().is_empty()
        && !lower.contains("pwd=")
        && !lower.contains("password")
}

/// The keys the operator is used to: `bind -v` or `bind -e` of `~/.editrc`; without such a line,
/// `set editing-mode vi|emacs` of `~/.inputrc`. Everything else in these files is for other programs.
pub(super) fn edit_mode(home: &Path) -> EditMode {
    let read = |name: &str| std::fs::read_to_string(home.join(name)).unwrap_or_default();
    let words = |line: &str| line.split_whitespace().map(String::from).collect::<Vec<_>>().join(" ");
    let editrc = read(".editrc")
        .lines()
        .filter_map(|line| match words(line).as_str() {
            "bind -v" => Some(EditMode::Vi),
            "bind -e" => Some(EditMode::Emacs),
            _ => None,
        })
        .next_back();
    let inputrc = || {
        read(".inputrc")
            .lines()
            .filter_map(|line| match words(line).as_str() {
                "set editing-mode vi" => Some(EditMode::Vi),
                "set editing-mode emacs" => Some(EditMode::Emacs),
                _ => None,
            })
            .next_back()
    };
    editrc.or_else(inputrc).unwrap_or(EditMode::Emacs)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn console_s1_5_what_history_keeps() {
        for kept in ["summary", "cluster shared show x"] {
            assert!(may_keep(kept), "{kept}");
        }
        for dropped in ["", "  ", " summary", "config set x PWD=y", "config set Password x"] {
            assert!(!may_keep(dropped), "{dropped}");
        }
    }

    #[test]
    fn console_s1_5_start_up_files() {
        let home = tempfile::tempdir().unwrap();
        let write = |name: &str, text: &str| std::fs::write(home.path().join(name), text).unwrap();
        assert_eq!(edit_mode(home.path()), EditMode::Emacs);
        write(".inputrc", "# x\nset  editing-mode vi\nset bell-style none\n");
        assert_eq!(edit_mode(home.path()), EditMode::Vi);
        write(".editrc", "bind -e\nbind ^L something\n");
        assert_eq!(edit_mode(home.path()), EditMode::Emacs);
        write(".editrc", "edit on\n");
        assert_eq!(edit_mode(home.path()), EditMode::Vi);
    }

    #[test]
    fn the_history_file_is_private() {
        let home = tempfile::tempdir().unwrap();
        let path = file(home.path());
        std::fs::write(&path, "summary\n").unwrap();
        protect(&path).unwrap();
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "summary\n");
    }
}
