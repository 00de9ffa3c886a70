//! The acceptance cases of policy that concern several nodes, on real nodes: scripts answer MAIL with what they read.
#![allow(clippy::unwrap_used, reason = "tests")]

mod support;

use std::time::Duration;
use support::{Client, Fleet, wait_until};

const PATIENCE: Duration = Duration::from_secs(10);

/// Does what the local part of the sender says, and tells what came of it.
const LUA: &str = r#"
require("msys.core") require("msys.audit") require("msys.audit_series") require("msys.gauge_cache")
require("msys.cluster_cache") require("msys.shared_throttle") require("msys.extended.ac")
local mod = {}
function mod:init()
  msys.audit_series.define("bad", "cidr", 300, 6, { replicate = "cluster" })
  msys.audit_series.define("managers", "cidr", 300, 6, { replicate = "manager" })
  msys.gauge_cache.define("g", 10, 300, true)
  return true
end
local does = {
  open = function(ac)
    return ac:inbound_session_count("/32") .. " " .. ac:inbound_session_count("/32", "inbound_cidr") .. " " ..
      ac:inbound_session_count("/24", "inbound_cidr") .. " " .. ac:inbound_session_count("192.0.2.77", "inbound_cidr")
  end,
  events = function()
    -- The window before as well: the test may run over the end of one.
    return msys.audit.connections("300,6", { endv = 1 }) .. " " ..
      msys.audit.connections("300,6", { endv = 1, cluster = true }) .. " " ..
      msys.audit.connections("300,6", { endv = 1, cidr = "192.0.2.0/24" })
  end,
  add = function() msys.audit_series.add("bad") return "done" end,
  count = function()
    return msys.audit_series.count("bad", { endv = 1 }) .. " " ..
      msys.audit_series.count("bad", { endv = 1, key = "/24" }) .. " " ..
      msys.audit_series.count("bad", { endv = 1, key = "192.0.2.77" })
  end,
  addm = function() msys.audit_series.add("managers", { count = 3 }) return "done" end,
  countm = function() return msys.audit_series.count("managers", { endv = 1, key = "/24" }) end,
  remove = function() msys.audit_series.remove_item("bad", "192.0.2.10") return "done" end,
  inc = function() return msys.gauge_cache.inc("g", "k") end,
  dec = function() return msys.gauge_cache.dec("g", "k") end,
  get = function() return msys.gauge_cache.get("g", "k") end,
  set = function() msys.cluster_cache.set("mycache", "mykey", "myvalue") return msys.cluster_cache.get("mycache", "mykey") end,
  cached = function() return msys.cluster_cache.get("mycache", "mykey") or "nothing" end,
  delete = function() msys.cluster_cache.delete("mycache", "mykey") return msys.cluster_cache.get("mycache", "mykey") or "nothing" end,
  eight = function() msys.shared_throttle.create("bar", "10/60") for i = 1, 8 do msys.shared_throttle.inc("bar") end return "done" end,
  three = function() msys.shared_throttle.create("bar", "10/60") for i = 1, 3 do msys.shared_throttle.inc("bar") end return "done" end,
  check = function() return tostring(msys.shared_throttle.check("bar")) end,
}
function mod:validate_mailfrom(sender, accept, vctx)
  local act = does[sender:match("^(.*)@lua%.example$")]
  if act then vctx:set_code(250, "lua " .. act(accept)) end
  return msys.core.VALIDATE_CONT
end
msys.registerModule("cases", mod)
"#;

const SIEVE: &str = r#"
if ec_test :is "%{mailfrom_domain}" "sieve.example" {
  if ec_test :is "%{mailfrom_localpart}" "open" {
    ($l) = audit_service "SMTP" "/32"; ($c) = audit_service "inbound_cidr" "/32";
    ec_action 250 "local ${l} cluster ${c}";
  }
  if ec_test :is "%{mailfrom_localpart}" "events" {
    $h = hash_create; hash_set $h "period_end" 1; $o = ec_ip_connections $h; $a = ec_ip_connections_cluster $h;
    ec_action 250 "${o} ${a}";
  }
  if ec_test :is "%{mailfrom_localpart}" "add" {
    $h = hash_create; hash_set $h "series" "p8"; hash_set $h "monitor" "1,10"; hash_set $h "count" 2; hash_set $h "replicate" 1;
    audit_series_add $h;
    $i = hash_create; hash_set $i "series" "p8own"; hash_set $i "monitor" "1,10"; hash_set $i "count" 2; hash_set $i "replicate" 0;
    audit_series_add $i;
    $m = hash_create; hash_set $m "series" "p8managers"; hash_set $m "monitor" "300,3"; hash_set $m "count" 5;
    hash_set $m "replicate" "-1"; audit_series_add $m;
    ec_action 250 "done";
  }
  if ec_test :is "%{mailfrom_localpart}" "count" {
    $h = hash_create; hash_set $h "series" "p8"; hash_set $h "monitor" "1,10"; hash_set $h "ip" "192.0.2.10";
    hash_set $h "period_start" 0; hash_set $h "period_end" 9;
    $n = audit_series $h;
    hash_set $h "series" "p8own"; $o = audit_series $h;
    $m = hash_create; hash_set $m "series" "p8managers"; hash_set $m "monitor" "300,3"; hash_set $m "ip" "192.0.2.10";
    hash_set $m "period_end" 1; $p = audit_series $m;
    ec_action 250 "${n} ${o} ${p}";
  }
}
"#;

struct Session(Client);

impl Session {
    fn new(address: &str, source: &str) -> Self {
        let mut client = Client::connect_from(address, source.parse().unwrap()).unwrap();
        assert!(client.command("EHLO c.example").unwrap().starts_with("250-"));
        Self(client)
    }

    fn ask(&mut self, language: &str, what: &str) -> String {
        let reply = self.0.command(&format!("MAIL FROM:<{what}@{language}.example>")).unwrap();
        self.0.command("RSET").unwrap();
        let said = reply.trim_end().strip_prefix("250 ").unwrap_or(&reply).to_owned();
        said.strip_prefix("lua ").unwrap_or(&said).to_owned()
    }

    fn becomes(&mut self, language: &str, what: &str, expected: &str) {
        let mut last = String::new();
        wait_until(PATIENCE, &format!("{language} {what} is {expected}"), || {
            last = self.ask(language, what);
            last == expected
        });
    }
}

#[test]
fn policy_p01_p02_p04_p08_p09_p14_p15_p17_on_two_nodes() {
    let fleet = Fleet::start(2);
    std::fs::write(fleet.dir.path().join("cases.lua"), LUA).unwrap();
    std::fs::write(fleet.dir.path().join("cases.sieve"), SIEVE).unwrap();
    let dir = fleet.dir.path().display();
    for (at, node) in fleet.nodes.iter().enumerate() {
        let text = std::fs::read_to_string(&node.config).unwrap();
        let more = format!(
            "sieve \"sieve1\" {{ mailfrom_phase1 = \"{dir}/cases.sieve\" }}\n\
             scriptlet \"s\" {{ script \"cases\" {{ source = \"{dir}/cases\" }} }}\n\
             inbound_audit {{ monitors = ( \"300,6\" \"1800,4\" ) }}\n\
             cluster {{ Replicate \"mycache\" {{ type = \"cache\" }}\n\
             Replicate \"metrics\" {{ parameters = \"connect;audit_series;gauge_cache\" }}\n\
             Replicate \"eccmgr_metrics\" {{ parameters = \"audit_series\" }} }}\n"
        );
        std::fs::write(&node.config, format!("{text}\n{more}")).unwrap();
        let answer = fleet.console(at, "config reload");
        assert!(answer.ends_with("Reconfigure complete\n") && !answer.contains("CFG-6183"), "{answer}");
    }
    let address = |at: usize| fleet.nodes[at].smtp_proxy.as_str();
    let mut a = Session::new(address(0), "192.0.2.10");
    let _others: Vec<Session> = (0..2).map(|_| Session::new(address(0), "192.0.2.10")).collect();
    let mut b = Session::new(address(1), "192.0.2.10");
    let _more: Vec<Session> = (0..3).map(|_| Session::new(address(1), "192.0.2.10")).collect();
    let mut other = Session::new(address(1), "192.0.2.77");
    let _another = Session::new(address(1), "192.0.2.77");

    // P1, P2: open connections.
    a.becomes("lua", "open", "3 7 9 2");
    assert_eq!(a.ask("sieve", "open"), "local 3 cluster 7");
    b.becomes("lua", "open", "4 7 9 2");

    // P4: events.
    a.becomes("lua", "events", "3 7 3");
    a.becomes("sieve", "events", "3 7");
    b.becomes("lua", "events", "4 7 6");

    // P8: a series that is shared, one that is not, and one for managers, of which other nodes hear nothing.
    assert_eq!(a.ask("sieve", "add"), "done");
    let own = a.ask("sieve", "count");
    assert!(own.ends_with(" 2 5"), "{own}");
    b.becomes("sieve", "count", "2 0 0");
    assert_eq!((a.ask("lua", "addm"), b.ask("lua", "addm")), ("done".into(), "done".into()));
    a.becomes("lua", "countm", "3");
    b.becomes("lua", "countm", "3");

    // P9: a series that Lua defined.
    assert_eq!(
        (a.ask("lua", "add"), a.ask("lua", "add"), other.ask("lua", "add")),
        ("done".into(), "done".into(), "done".into())
    );
    a.becomes("lua", "count", "2 3 1");
    b.becomes("lua", "count", "2 3 1");
    assert_eq!(b.ask("lua", "remove"), "done");
    a.becomes("lua", "count", "0 1 1");
    b.becomes("lua", "count", "0 1 1");

    // P14: a gauge cache that is shared.
    assert_eq!((a.ask("lua", "inc"), a.ask("lua", "inc")), ("1".into(), "2".into()));
    b.becomes("lua", "get", "2");
    assert_eq!(b.ask("lua", "dec"), "1");
    a.becomes("lua", "get", "1");

    // P15: a replicated cache, at once here and later there; so is a removal.
    assert_eq!(a.ask("lua", "set"), "myvalue");
    b.becomes("lua", "cached", "myvalue");
    assert_eq!(b.ask("lua", "delete"), "nothing");
    a.becomes("lua", "cached", "nothing");

    // P17: a shared throttle.
    assert_eq!((a.ask("lua", "eight"), b.ask("lua", "three")), ("done".into(), "done".into()));
    a.becomes("lua", "check", "true");
    b.becomes("lua", "check", "true");

    // P14: what the dead node counted stays; its open connections do not.
    fleet.kill(1);
    a.becomes("lua", "open", "3 3 3 0");
    assert_eq!(a.ask("lua", "get"), "1");
}
