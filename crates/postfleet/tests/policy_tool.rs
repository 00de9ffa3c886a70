//! `postfleet policy`: scripts that are checked, and run on recorded sessions. The worked policies of docs/policy run here on the
//! sessions beside them.
#![allow(clippy::unwrap_used, reason = "tests")]

use std::path::Path;
use std::process::{Command, Output, Stdio};

fn examples() -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/policy")
}

fn postfleet(directory: &Path, words: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_postfleet"));
    command.arg("policy").args(words).current_dir(directory).stdin(Stdio::null()).output().unwrap()
}

/// Exit status, standard output and standard error.
fn all(output: &Output) -> String {
    format!(
        "exit {}\n{}{}",
        output.status.code().unwrap(),
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    )
}

#[test]
fn the_worked_policies_on_their_recorded_sessions() {
    for name in ["block_limit", "slow_lane", "greylist", "rejections", "sender_quota"] {
        let (script, event) = (format!("{name}.lua"), format!("{name}.json"));
        let output = postfleet(&examples(), &["test", &script, "--event", &event]);
        insta::assert_snapshot!(name, all(&output));
    }
    let words = ["test", "block_limit.sieve", "--event", "block_limit.json", "--phase", "connect"];
    insta::assert_snapshot!("block_limit_sieve", all(&postfleet(&examples(), &words)));
}

#[test]
fn a_run_as_json() {
    let words = ["test", "greylist.lua", "--event", "greylist.json", "--json"];
    let output = postfleet(&examples(), &words);
    let json: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(json["failed"], false);
    let first = &json["steps"][0];
    assert_eq!(first["moment"], "rcptto");
    assert_eq!((&first["code"], &first["outcome"]), (&451.into(), &"reply".into()));
    assert_eq!(first["reads"], serde_json::json!(["cache grey"]));
    assert_eq!(first["writes"], serde_json::json!(["cache grey"]));
}

#[test]
fn scripts_that_load_and_scripts_that_do_not() {
    let dir = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| std::fs::write(dir.path().join(name), text).unwrap();
    write(
        "good.lua",
        "local m = {} function m:validate_ehlo(s, a, v) return 0 end msys.registerModule('good', m)",
    );
    write("idle.lua", "local m = {} function m:hello() end msys.registerModule('idle', m)");
    write("bad.lua", "local m = {}\nfunction m:validate_ehlo(\n");
    write("good.sieve", "$x = ec_cluster_cache_get \"c\" \"k\";\n");
    write("bad.sieve", "keep;\nec_acton 550 \"x\";\n");
    let check = |words: &[&str]| all(&postfleet(dir.path(), words));
    let files = ["good.lua", "idle.lua", "bad.lua", "good.sieve", "bad.sieve", "none.lua"];
    insta::assert_snapshot!("check", check(&[&["check"], &files[..]].concat()));
    insta::assert_snapshot!("check_json", check(&[&["check", "--json"], &files[..]].concat()));
    insta::assert_snapshot!("check_phase", check(&["check", "--phase", "set_binding", "good.sieve"]));
    assert!(check(&["check", "good.lua", "good.sieve"]).starts_with("exit 0\n"));
}

#[test]
fn errors_of_a_run_have_a_place_and_a_status() {
    let dir = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| std::fs::write(dir.path().join(name), text).unwrap();
    write(
        "e.json",
        "{ \"sessions\": [{ \"client\": \"192.0.2.1\", \"messages\": [{ \"from\": \"a@b\", \"to\": [] }] }] }",
    );
    write("field.json", "{\n  \"sessions\": [\n    { \"client\": \"192.0.2.1\", \"nodes\": 2 }\n  ]\n}\n");
    write(
        "fails.lua",
        "local m = {}\nfunction m:validate_mailfrom(s, a, v)\n  msys.audit.connections('60,1')\nend\n\
         msys.registerModule('fails', m)",
    );
    write("fails.sieve", "ec_log \"%{mailfrom_domain}\";\n$n = ec_ip_connections \"2\" \"32\";\n");
    let test = |words: &[&str]| all(&postfleet(dir.path(), &[&["test"], words].concat()));
    insta::assert_snapshot!("fails_lua", test(&["fails.lua", "--event", "e.json"]));
    insta::assert_snapshot!(
        "fails_sieve",
        test(&["fails.sieve", "--event", "e.json", "--phase", "mailfrom"])
    );
    insta::assert_snapshot!("fails_phase", test(&["fails.sieve", "--event", "e.json"]));
    insta::assert_snapshot!("fails_field", test(&["fails.lua", "--event", "field.json"]));
}
