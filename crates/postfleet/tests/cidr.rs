//! Questions about files of series, asked of the real program.
#![allow(clippy::unwrap_used, reason = "tests")]

use std::io::{BufRead, BufReader, Write};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};

fn postfleet(words: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_postfleet")).args(words).stdin(Stdio::null()).output().unwrap()
}

fn ask(directory: &Path, question: &str) -> String {
    let output = postfleet(&["cidr", "--base-dir", directory.to_str().unwrap(), question]);
    assert!(output.stderr.is_empty(), "{output:?}");
    String::from_utf8(output.stdout).unwrap()
}

fn write(directory: &Path, name: &str, head: &str, lines: &[&str]) {
    std::fs::write(directory.join(name), format!("{head}\n{}\n", lines.join("\n"))).unwrap();
}

const SPAM: &str = "# series spam cidr 60 5";
const VIRUS: &str = "# series virus cidr 60 5";

/// Three periods of one series on two days, one of another.
fn archive() -> tempfile::TempDir {
    let directory = tempfile::tempdir().unwrap();
    let at = directory.path();
    write(at, "spam.20080423T123000", SPAM, &["1208953740\t10.79.18.1\t35000"]);
    write(at, "spam.20080424T000000", SPAM, &["1208995140\t10.79.18.1\t200", "1208995140\t10.79.18.9\t5"]);
    write(at, "spam.20080610T201500", SPAM, &["1213128840\t10.79.18.1\t17", "1213128780\t10.79.18.9\t-2"]);
    write(at, "virus.20080423T123000", VIRUS, &["1208953740\t10.79.18.1\t1264"]);
    write(at, "words.20080423T123000", "# series words string 60 5", &["1208953740\tviagra\t3"]);
    // No files of series.
    write(at, "spam.20080611T201500.new", "half", &[]);
    write(at, "notes", "", &[]);
    directory
}

#[test]
fn duravip_case_30_the_query_tool() {
    let directory = archive();
    let ask = |question: &str| ask(directory.path(), question);
    assert_eq!(
        ask("show available"),
        "spam : 20080423T123000 => 20080610T201500\nvirus : 20080423T123000 => 20080423T123000\n\
         words : 20080423T123000 => 20080423T123000\n"
    );
    assert_eq!(
        ask("show count for 0.0.0.0/0 in spam since 20080423 order by count limit 1"),
        "10.79.18.1/32      :     35217\n"
    );
    assert_eq!(
        ask("show count for 10.79.18.1 in spam, virus since 20080423"),
        "10.79.18.1/32      : 35217,1264\n"
    );
    assert_eq!(
        ask("show count for 10.0.0.0/8 in spam cidrsize 24 on 20080423"),
        "10.79.18.0/24      :     35205\n"
    );
    assert_eq!(ask("show count for 10.0.0.0/8 in spam aggregate daily"), "20080423 : 35205\n20080610 : 15\n");
    assert_eq!(ask("show count for 10.0.0.0/8 in spam order by size"), "syntax error at 'size'\n");
    assert_eq!(ask("show count for 10.0.0.0/8 in ham"), "no such series 'ham'\n");
    assert_eq!(ask("show count for 10.0.0.0/8 in words"), "series 'words' counts by text, not by address\n");
}

#[test]
fn answers_as_json_and_exit_codes() {
    let directory = archive();
    let base = directory.path().to_str().unwrap();
    let output = postfleet(&[
        "cidr",
        "--base-dir",
        base,
        "--json",
        "show",
        "count",
        "for",
        "10.79.18.1",
        "in",
        "spam",
    ]);
    let answer: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(answer["ok"], true);
    assert_eq!(answer["command"], "show count for 10.79.18.1 in spam");
    assert_eq!(answer["data"]["rows"], serde_json::json!([{"cidr": "10.79.18.1/32", "counts": [35217]}]));
    let output = postfleet(&["cidr", "--base-dir", base, "--json", "show me"]);
    let answer: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(answer["error"]["message"], "syntax error at 'me'");
    assert_eq!(output.status.code(), Some(1));
    let output = postfleet(&["cidr", "--base-dir", "/nowhere/at/all", "show available"]);
    let said = String::from_utf8(output.stdout).unwrap();
    assert!(said.starts_with("cannot read /nowhere/at/all; --base-dir names the directory"), "{said}");
    assert_eq!(output.status.code(), Some(1));
}

#[test]
fn a_broken_file_is_named() {
    let directory = archive();
    write(directory.path(), "spam.20080425T000000", SPAM, &["1208995140\t10.79.18\t200"]);
    let said = ask(directory.path(), "show count for 10.0.0.0/8 in spam");
    assert!(said.contains("spam.20080425T000000: line 2: the key is not of the series' type"), "{said}");
}

/// Ends with the test.
struct Server(Child);

impl Drop for Server {
    fn drop(&mut self) {
        let _gone = self.0.kill();
        let _gone = self.0.wait();
    }
}

#[test]
fn the_service_answers_a_question_a_line() {
    let directory = archive();
    let base = directory.path().to_str().unwrap();
    let mut server = Server(
        Command::new(env!("CARGO_BIN_EXE_postfleet"))
            .args(["cidr-server", "--base-dir", base, "--listen", "127.0.0.1:0"])
            .stderr(Stdio::piped())
            .spawn()
            .unwrap(),
    );
    let mut said = String::new();
    BufReader::new(server.0.stderr.take().unwrap()).read_line(&mut said).unwrap();
    let address = said.split(' ').nth(2).unwrap();
    let mut stream = TcpStream::connect(address).unwrap();
    stream
        .write_all(b"show count for 10.79.18.9/32 in spam\r\ncache details\njson cache details\nshow\n")
        .unwrap();
    stream.shutdown(std::net::Shutdown::Write).unwrap();
    let lines: Vec<String> = BufReader::new(stream).lines().map(Result::unwrap).collect();
    assert_eq!(
        lines.iter().map(String::as_str).take(6).collect::<Vec<_>>(),
        [
            "10.79.18.9/32      :         3",
            "",
            "spam.20080423T123000",
            "spam.20080424T000000",
            "spam.20080610T201500",
            ""
        ]
    );
    assert!(lines[6].contains(r#""files":["spam.20080423T123000","#), "{}", lines[6]);
    assert_eq!(lines[8], "syntax error at the end of the line: count is missing");
}

#[test]
fn the_daily_job_merges_and_deletes() {
    let directory = tempfile::tempdir().unwrap();
    let at = directory.path();
    let base = at.to_str().unwrap();
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs();
    let name = |days: u64, second: u64| {
        let end = postfleet_types::WallTime::from_unix_seconds((now / 86_400 - days) * 86_400 + second);
        postfleet_series::file::name("spam", end)
    };
    // Ended at midnight: of the day before.
    for (file, count) in
        [(name(40, 60), 1), (name(2, 60), 2), (name(2, 120), 3), (name(1, 0), 4), (name(1, 60), 5)]
    {
        write(at, &file, SPAM, &[&format!("60\t10.0.0.1\t{count}"), "120\t10.0.0.2\t1"]);
    }
    let total = |expected: &str| {
        assert_eq!(ask(at, "show count for 10.0.0.0/8 in spam since 20200101 aggregate"), expected);
    };
    total("10.0.0.0/8         :        20\n");
    let run = |words: &[&str]| {
        let output = postfleet(&[&["cidr-maintain", "--base-dir", base], words].concat());
        String::from_utf8(output.stdout).unwrap()
    };
    assert_eq!(run(&["--no-condense", "--retention", "100"]), "0 files deleted, 0 merged into 0\n");
    // Kept as it would be after a crash between the renaming and the deletion.
    let first = std::fs::read_to_string(at.join(name(2, 60))).unwrap();
    assert_eq!(run(&[]), "1 files deleted, 3 merged into 1\n");
    total("10.0.0.0/8         :        18\n");
    let merged = std::fs::read_to_string(at.join(name(1, 0))).unwrap();
    assert!(merged.ends_with("60\t10.0.0.1\t9\n120\t10.0.0.2\t3\n"), "{merged}");
    std::fs::write(at.join(name(2, 60)), first).unwrap();
    total("10.0.0.0/8         :        18\n");
    assert_eq!(run(&[]), "0 files deleted, 2 merged into 1\n");
    total("10.0.0.0/8         :        18\n");
    assert_eq!(run(&[]), "0 files deleted, 0 merged into 0\n");
    let refused = postfleet(&["cidr-maintain", "--base-dir", base, "--series", "ham"]);
    assert!(String::from_utf8(refused.stderr).unwrap().contains("no such series 'ham'"));
}
