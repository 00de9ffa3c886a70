//! Row 14: a question of policy that reads three objects of the fleet, phase by phase, as a session of a node asks it.

use crate::digest::Digest;
use crate::rounds::Effort;
use crate::table::{Aim, Line, Unit};
use anyhow::{Result, ensure};
use postfleet_node::rig::PolicyRig;
use std::path::Path;

/// What the nodes of rows 13 and 14 share.
pub(super) const CLUSTER: &str = "inbound_audit { monitors = ( \"300,6\" ) }\n\
    cluster { bus = \"solo\" nodename = \"solo\" nodeaddr = \"{host}\"\n\
    Replicate \"inbound_cidr\" {}\nReplicate \"known\" { type = \"cache\" }\n\
    Replicate \"metrics\" { parameters = \"connect;gauge_cache\" } }\n";

/// Those in which all three may be read.
const PHASES: [&str; 7] = ["connect", "ehlo", "mailfrom", "rcptto", "data", "spool", "each_rcpt"];

const LUA: &str = include_str!("../../../postfleet-lua/benches/policy.lua");

const SIEVE: &str = r#"
($open) = audit_service "inbound_cidr" "/24";
$h = hash_create; hash_set $h "mask" 24;
$recent = ec_ip_connections_cluster $h;
$known = ec_cluster_cache_get "known" "192.0.2.10";
if anyof (ec_test :value "gt" :comparator "i;ascii-numeric" "${open}" "100",
          ec_test :value "gt" :comparator "i;ascii-numeric" "${recent}" "100000000", ec_test :is "${known}" "bad") {
  ec_action 421 "4.7.0 too many connections";
}
"#;

fn rig(dir: &Path, lua: bool) -> Result<PolicyRig> {
    std::fs::write(dir.join("policy.lua"), LUA)?;
    std::fs::write(dir.join("policy.sieve"), SIEVE)?;
    let slots: String = PHASES.iter().map(|phase| format!("{phase}_phase1 = \"policy.sieve\"\n")).collect();
    let stanza = if lua {
        "scriptlet \"s\" { runtime_error = \"fail\" script \"policy\" { source = \"policy\" } }".to_owned()
    } else {
        format!("sieve \"s\" {{\n{slots}}}")
    };
    let config = dir.join("postfleet.conf");
    let path = dir.display();
    let host = "127.0.77.2";
    let text = format!(
        "Hostname = \"mx.bench.example\"\nSpoolbase = \"{path}/spool\"\n{stanza}\n\
         ECCluster_Listener {{ Listen \"{host}:4802\" {{ Enable = false }} }}\n{}",
        CLUSTER.replace("{host}", host)
    );
    std::fs::write(&config, text)?;
    Ok(PolicyRig::start(&config))
}

pub(super) fn run(effort: Effort) -> Result<Vec<Line>> {
    let (lua_dir, sieve_dir) = (tempfile::tempdir()?, tempfile::tempdir()?);
    let (lua, sieve) = (rig(lua_dir.path(), true)?, rig(sieve_dir.path(), false)?);
    let count = effort.size(50_000, 200);
    let mut lines = Vec::new();
    for phase in PHASES {
        let mut figures = [Vec::new(), Vec::new()];
        for _ in 0..effort.rounds {
            figures[0].push(lua.ask(phase, count));
            figures[1].push(sieve.ask(phase, count));
        }
        for (language, figures) in ["Lua", "Sieve"].into_iter().zip(figures) {
            let work = format!("policy that reads three objects, {phase}, {language}");
            lines.push(Line::new(work, Unit::Nanoseconds, figures).aim(Aim::AtMost(20_000.0)));
        }
    }
    Ok(lines)
}

pub(super) fn digest() -> Result<u64> {
    let mut digest = Digest::default();
    for language in [true, false] {
        let dir = tempfile::tempdir()?;
        let rig = rig(dir.path(), language)?;
        for phase in PHASES {
            ensure!(rig.ask(phase, 2) > 0.0, "no time has passed");
        }
        digest.add(rig.errors("scriptlet:s"));
    }
    Ok(digest.value())
}
