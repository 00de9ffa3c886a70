//! `postfleet sim replay` as a developer runs it.
#![allow(clippy::unwrap_used, reason = "tests")]

use std::process::Command;

#[test]
fn a_step_that_there_is_not_is_an_error_that_says_how_many_there_are() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("run.log");
    let text = "# postfleet-sim log 1\n# seed 1\n1 0.000000 - fault start a\n2 0.001000 a stop\n";
    std::fs::write(&path, text).unwrap();
    let replay = |step: &str| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_postfleet"));
        let output = command.args(["sim", "replay"]).arg(&path).args(["--step", step]).output().unwrap();
        (
            output.status.success(),
            String::from_utf8(output.stdout).unwrap(),
            String::from_utf8(output.stderr).unwrap(),
        )
    };
    let (shown, out, errors) = replay("2");
    assert!(shown && out.starts_with("after step 2 at 0.001000 s: a stop"), "{out}{errors}");
    let (shown, out, errors) = replay("3");
    assert!(!shown && out.is_empty(), "{out}");
    assert!(errors.contains("there is no step 3; the run has steps up to 2"), "{errors}");
}
