//! `postfleet check --migrate`, `--format` and `--dump`, and the names of older tools.
#![allow(clippy::unwrap_used, reason = "tests")]

mod support;

use std::fs;
use std::io::Write;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;
use std::process::{Command, Output, Stdio};
use support::PROGRAM;

const OLD: &str =
    "# the nodes\nBinding b1 <duravip=\"enabled\"> { Bind_Address = 10.0.0.1 } # first\nasync_swap_in = 3\n";
const NEW: &str = "# the nodes\nBinding \"b1\" {\n  Enable_Duravip = true\n  Bind_Address = \"10.0.0.1\"\n} # first\n\
                   # note: async_swap_in is left out: it has had no effect since version 3.0\n";

fn run(program: &Path, words: &[&str], input: &str) -> Output {
    let mut child = Command::new(program)
        .args(words)
        .env("POSTFLEET_ETC", "/nonexistent")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // A program that reads nothing closes its end.
    let _unread = child.stdin.take().unwrap().write_all(input.as_bytes());
    child.wait_with_output().unwrap()
}

fn check(words: &[&str], input: &str) -> (Option<i32>, String, String) {
    let output = run(Path::new(PROGRAM), &[&["check"], words].concat(), input);
    (output.status.code(), text(&output.stdout), text(&output.stderr))
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[test]
fn migration_prints_the_new_text_and_changes_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("ecelerity.conf");
    fs::write(&file, OLD).unwrap();
    let path = file.to_str().unwrap();
    let (code, out, errors) = check(&["--migrate", path], "");
    assert_eq!((code, out.as_str()), (Some(0), NEW), "{errors}");
    assert!(errors.contains(":3: note: async_swap_in is left out"), "{errors}");
    assert_eq!(fs::read_to_string(&file).unwrap(), OLD);
    let (code, out, _) = check(&["--migrate", "--no-comments", "-"], OLD);
    assert_eq!((code, out.contains('#')), (Some(0), false), "{out}");
    assert_eq!(check(&["--migrate", "-"], NEW).1, NEW);
    let (code, out, errors) = check(&["--migrate", "-"], "Binding b <colour=red> { }\n}\n");
    assert_eq!((code, out.as_str()), (Some(1), ""));
    assert!(errors.contains("CFG-2003") && errors.contains("- is not migrated"), "{errors}");
}

#[test]
fn migration_in_place_keeps_the_old_file() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("ecelerity.conf");
    fs::write(&file, OLD).unwrap();
    fs::set_permissions(&file, fs::Permissions::from_mode(0o640)).unwrap();
    let link = dir.path().join("link.conf");
    symlink(&file, &link).unwrap();
    let words = ["--migrate", "--in-place", link.to_str().unwrap()];
    let (code, out, errors) = check(&words, "");
    assert_eq!((code, out.as_str()), (Some(0), ""), "{errors}");
    assert_eq!(fs::read_to_string(&file).unwrap(), NEW);
    assert_eq!(fs::read_to_string(dir.path().join("ecelerity.conf.bak")).unwrap(), OLD);
    assert!(fs::symlink_metadata(&link).unwrap().is_symlink());
    assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o640);
    // A second time there is nothing to do, and a third text does not push out the first.
    assert_eq!(check(&words, "").0, Some(0));
    fs::write(&file, "Binding b2 <duravip=1> { }\n").unwrap();
    let (code, _, errors) = check(&words, "");
    assert_eq!(code, Some(1));
    assert!(errors.contains("ecelerity.conf.bak exists"), "{errors}");
    assert_eq!(fs::read_to_string(&file).unwrap(), "Binding b2 <duravip=1> { }\n");
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 3);
    let (code, _, errors) = check(&["--migrate", "--in-place", "-"], "");
    assert!(code == Some(1) && errors.contains("standard input cannot be rewritten"), "{errors}");
}

/// A copy beside a file of an included directory would be read like the others, and the old text would win.
#[test]
fn migration_in_place_hides_the_old_file_where_its_directory_is_included() {
    let dir = tempfile::tempdir().unwrap();
    for (directory, named) in [("parts", true), ("parts.d", false)] {
        let parts = dir.path().join(directory);
        fs::create_dir(&parts).unwrap();
        let main = dir.path().join(format!("{directory}.conf"));
        fs::write(&main, format!("include {directory}\n")).unwrap();
        let part = parts.join("10.conf");
        fs::write(&part, "Binding b1 <duravip=1> { Bind_Address = 10.0.0.1 }\n").unwrap();
        let mut words = vec!["--migrate", "--in-place", part.to_str().unwrap()];
        words.extend(named.then_some(main.to_str().unwrap()));
        let (code, _, errors) = check(&words, "");
        assert_eq!(code, Some(0), "{errors}");
        let kept = parts.join(".10.conf.bak");
        assert!(
            errors.contains(&format!("10.conf: the old text is {}", kept.canonicalize().unwrap().display())),
            "{errors}"
        );
        assert!(fs::read_to_string(&kept).unwrap().contains("<duravip=1>"));
        assert_eq!(fs::read_dir(&parts).unwrap().count(), 2);
        let (code, _, errors) = check(&[main.to_str().unwrap()], "");
        assert!(code == Some(0) && !errors.contains("CFG-5006") && !errors.contains("CFG-3009"), "{errors}");
    }
}

#[test]
fn the_file_of_the_old_bus_becomes_a_list_of_peers() {
    let (code, out, errors) = check(
        &["--migrate", "-"],
        "# Subcluster: east => mx1\nSpread_Segment 192.0.2.255:4803 {\n  MX1 192.0.2.1\n  mx2 192.0.2.2\n}\n",
    );
    assert_eq!(code, Some(0), "{errors}");
    assert!(out.contains("msgc_server {\n  peers = [\n"), "{out}");
    assert!(out.contains("    mx1 = \"192.0.2.1\"\n    mx2 = \"192.0.2.2\"\n  ]\n}\n"), "{out}");
    assert!(errors.contains("cluster_name = east"), "{errors}");
    assert_eq!(check(&["-"], &out).0, Some(1), "`-` is a file's name where nothing is migrated");
}

#[test]
fn formatting_indents_and_keeps_lines() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("a.conf");
    fs::write(&file, "Domain \"x\" {\n# why\n      Retry_Interval = 5\n\n\n  }\n").unwrap();
    let path = file.to_str().unwrap();
    let formatted = "Domain \"x\" {\n  # why\n  Retry_Interval = 5\n\n}\n";
    assert_eq!(check(&["--format", path], "").1, formatted);
    assert_eq!(check(&["--format", "--in-place", path], "").0, Some(0));
    assert_eq!(fs::read_to_string(&file).unwrap(), formatted);
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
    let (code, out, errors) = check(&["--format", "-"], "Domain {");
    assert_eq!((code, out.as_str()), (Some(1), ""));
    assert!(errors.contains("CFG-2002"), "{errors}");
}

#[test]
fn the_tree_is_dumped_with_places() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("a.conf");
    let out = dir.path().join("out.json");
    fs::write(&file, "Retry_Interval = 5\nDomain \"x\" {\n  Routes = ( a b )\n}\nRetry_Interval = 6\n")
        .unwrap();
    let tool = dir.path().join("ec_dump_config");
    symlink(PROGRAM, &tool).unwrap();
    let words = ["-c", file.to_str().unwrap(), "-e", "/opt/x", "-f", out.to_str().unwrap()];
    let output = run(&tool, &words, "");
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    let tree: serde_json::Value = serde_json::from_slice(&fs::read(&out).unwrap()).unwrap();
    assert_eq!(tree["role"], "node");
    let global = &tree["tree"]["options"][0];
    assert_eq!(
        (&global["name"], &global["value"], &global["line"]),
        (&"Retry_Interval".into(), &6.into(), &5.into())
    );
    assert_eq!(global["shadowed"][0]["line"], 1);
    let domain = &tree["tree"]["stanzas"][0];
    assert_eq!(
        (&domain["scope"], &domain["name"], &domain["line"]),
        (&"Domain".into(), &"x".into(), &2.into())
    );
    assert_eq!(domain["options"][0]["value"], serde_json::json!(["a", "b"]));
    assert_eq!(domain["options"][0]["column"], 12);
    fs::write(&file, "}\n").unwrap();
    let (code, out, errors) = check(&["--dump", file.to_str().unwrap()], "");
    assert_eq!((code, out.as_str()), (Some(1), ""));
    assert!(errors.contains("CFG-2003") && errors.ends_with("Reconfigure failed.\n"), "{errors}");
    let (code, out, _) = check(&["--dump"], "");
    assert_eq!((code, out.as_str()), (Some(2), "No configuration found\n"));
}

#[test]
fn the_migration_answers_to_its_old_name() {
    let dir = tempfile::tempdir().unwrap();
    let tool = dir.path().join("ec_migrate_conf");
    symlink(PROGRAM, &tool).unwrap();
    assert_eq!(text(&run(&tool, &["-"], OLD).stdout), NEW);
}

#[test]
fn the_old_form_can_be_refused() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("a.conf");
    fs::write(&file, OLD).unwrap();
    let path = file.to_str().unwrap();
    let (code, _, errors) = check(&[path], "");
    assert_eq!(code, Some(0), "{errors}");
    assert!(errors.contains("Warning in ") && errors.contains("CFG-3009"), "{errors}");
    let (code, _, errors) = check(&["--legacy=reject", path], "");
    assert_eq!(code, Some(1));
    assert!(errors.contains("Syntax error in ") && errors.contains("CFG-3009"), "{errors}");
}
