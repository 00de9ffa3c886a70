//! Every workload of the bench, small: what it results in is what it resulted in before.

use std::process::Command;

/// A change here means that a workload, or an engine's answer to it, has changed: say which in the commit.
const DIGESTS: &str = "\
\x201 d913f23371910165
 2 fe7cdc08c8ed5fa1
 3 4cfe06ebfd195f8f
 4 not built yet
 5 6841332fb27971a5
 6 b0e7825297e88984
 7 85b45f893e79d209
 8 53aa4d05e2e1b9a8
 9 fa57c3cb57e76a7e
10 b2d8dea16b97540b
11 6f484ec2cdbbb098
12 not built yet
13 1ca933298159c084
14 88201fb960ff6465
";

#[test]
fn workloads_result_in_what_they_did() {
    let output = Command::new(env!("CARGO_BIN_EXE_postfleet-bench")).arg("digests").output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert_eq!(String::from_utf8_lossy(&output.stdout), DIGESTS);
}
