//! Lua scripts decide in sessions of real nodes, on what the fleet shares: the worked policies of docs/policy, and what
//! becomes of a script that fails. Policy document, sections 1, 2 and 6.
#![allow(clippy::unwrap_used, reason = "tests")]

mod support;

use std::time::{Duration, Instant};
use support::{Client, Fleet, SingleNode, wait_until};

const PATIENCE: Duration = Duration::from_secs(10);
const EXAMPLES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/policy");

/// The first reply of a session that comes from this address.
fn greeting(address: &str, source: &str) -> (Client, String) {
    let mut client = Client::raw(address).unwrap();
    client.send(&format!("PROXY TCP4 {source} 192.0.2.1 40000 25\r\n")).unwrap();
    let reply = client.reply().unwrap();
    (client, reply)
}

fn session(address: &str, source: &str) -> Client {
    let (mut client, reply) = greeting(address, source);
    assert!(reply.starts_with("220"), "{reply}");
    assert!(client.command("EHLO c.example").unwrap().starts_with("250-"));
    client
}

/// Puts the worked policies into force on every node of a fleet.
fn with_examples(nodes: u8) -> Fleet {
    let fleet = Fleet::start(nodes);
    let names = ["block_limit", "slow_lane", "rejections", "greylist", "sender_quota"];
    let scripts: String = names
        .iter()
        .map(|name| format!("script \"{name}\" {{ source = \"{EXAMPLES}/{name}\" }}\n"))
        .collect();
    for (at, node) in fleet.nodes.iter().enumerate() {
        let text = std::fs::read_to_string(&node.config).unwrap();
        let more = format!(
            "scriptlet \"s\" {{\n{scripts}}}\ncluster {{ Replicate \"grey\" {{ type = \"cache\" }}\n\
             Replicate \"metrics\" {{ parameters = \"audit_series;gauge_cache\" }} }}\n"
        );
        std::fs::write(&node.config, format!("{text}\n{more}")).unwrap();
        let answer = fleet.console(at, "config reload");
        assert!(answer.ends_with("Reconfigure complete\n"), "{answer}");
    }
    fleet
}

#[test]
fn the_worked_policies_decide_on_what_three_nodes_share() {
    let fleet = with_examples(3);
    let node = |at: usize| fleet.nodes[at].smtp_proxy.as_str();

    // The eleventh connection of a block is refused wherever it comes.
    let mut open = Vec::new();
    for number in 0..10 {
        let (client, reply) = greeting(node(number % 3), &format!("203.0.113.{number}"));
        assert!(reply.starts_with("220"), "{reply}");
        open.push(client);
    }
    for at in 0..3 {
        wait_until(PATIENCE, "all count ten", || {
            let shown = fleet.console(at, "cluster shared show inbound_cidr");
            (0..10).all(|number| shown.contains(&format!("203.0.113.{number}")))
        });
        let (mut refused, reply) = greeting(node(at), "203.0.113.200");
        assert_eq!(reply, "421 4.7.0 too many connections from your network\r\n");
        assert_eq!(refused.rest(), "", "and the connection is closed");
    }
    drop(open);

    // Greylisting: what one node has seen, another knows.
    let mut first = session(node(0), "198.51.100.1");
    let mut second = session(node(1), "198.51.100.1");
    first.command("MAIL FROM:<a@c.example>").unwrap();
    assert_eq!(first.command("RCPT TO:<b@demo.example>").unwrap(), "451 4.7.1 come again\r\n");
    second.command("MAIL FROM:<a@c.example>").unwrap();
    wait_until(PATIENCE, "the other node knows of it", || {
        second.command("RCPT TO:<b@demo.example>").unwrap() == "451 4.7.1 not yet\r\n"
    });
    // The key is known once its time has passed; here an operator says so.
    let key = "198.51.100.1 a@c.example b@demo.example";
    fleet.console(2, &format!("cache set grey \"{key}\" known"));
    wait_until(PATIENCE, "it is known", || {
        second.command("RCPT TO:<b@demo.example>").unwrap().starts_with("250")
    });

    // Refused recipients are counted by both nodes, and the third turns the client away.
    for client in [&mut first, &mut second] {
        for _ in 0..3 {
            let reply = client.command("RCPT TO:<nobody@demo.example>").unwrap();
            assert_eq!(reply, "550 5.1.1 no such user\r\n");
        }
    }
    wait_until(PATIENCE, "the third node has counted", || {
        greeting(node(2), "198.51.100.1").1.starts_with("554 5.7.1 too many refused recipients")
    });
    let (_other, reply) = greeting(node(2), "198.51.100.2");
    assert!(reply.starts_with("220"), "{reply}");

    // Two a period for all nodes together: whoever is third waits for the first to be over.
    let mut lanes =
        [session(node(0), "192.0.2.1"), session(node(1), "192.0.2.2"), session(node(2), "192.0.2.3")];
    let started = Instant::now();
    for lane in &mut lanes {
        assert!(lane.command("MAIL FROM:<a@bulk.example>").unwrap().starts_with("250"));
    }
    assert!(started.elapsed() >= Duration::from_millis(1900), "{:?}", started.elapsed());

    let stats = fleet.console(0, "scriptlet:s stats");
    assert!(stats.starts_with("scriptlet statistics since: "), "{stats}");
    assert!(stats.contains("\nconnect:421 (4xx) = 1\n"), "{stats}");
    assert!(stats.contains("\nrcptto:550 (5xx) = 3\n") && stats.contains("\nmailfrom:calls "), "{stats}");
    assert!(!stats.contains("errors"), "{stats}");
}

const SCRIPT: &str = r#"
require("msys.core") require("msys.db") require("msys.datasource") require("msys.extended.vctx")
local mod = {}
function mod:init()
  msys.gauge_cache.define("seen", 10, 60)
  return true
end
function mod:validate_connect(accept, vctx)
  if msys.gauge_cache.inc("seen", "connections") == 1 then
    vctx:tarpit(0.2) vctx:tarpit(0.2)
    vctx:set_code("554", "5.7.1 no")
  end
  return msys.core.VALIDATE_CONT
end
function mod:validate_mailfrom(sender, accept, vctx)
  if sender == "broken@c.example" then
    error("oops")
  end
  if sender == "monitor@c.example" then msys.audit.connections("60,1") end
  if sender == "silent@c.example" then return end
  if sender == "asks@c.example" then
    local row = msys.db.fetch_row("db", "SELECT ? + 1 AS n", { 41 })
    vctx:set_code(450, "4.7.1 " .. row.n)
  end
  return msys.core.VALIDATE_CONT
end
function mod:validate_rcptto(msg, recipient, accept, vctx)
  if recipient == "both@demo.example" then vctx:add_recipient("early@demo.example") end
  return msys.core.VALIDATE_CONT
end
function mod:validate_data(msg, accept, vctx)
  vctx:add_recipient({ "late@demo.example", "gone@demo.example" })
  vctx:remove_recipient("gone@demo.example")
  msg:mailfrom("rewritten@c.example")
  return msys.core.VALIDATE_CONT
end
function mod:validate_data_spool_each_rcpt(msg, accept, vctx)
  if msg:rcptto() == "drop@demo.example" then vctx:set_code(550, "5.7.1 not for you") end
  if msg:rcptto() == "move@demo.example" then msg:rcptto("moved@demo.example") end
  return msys.core.VALIDATE_CONT
end
function mod:validate_dealloc()
  msys.gauge_cache.inc("seen", "ended")
end
msys.registerModule("a", mod)
"#;

const STRICT: &str = "local mod = {} function mod:validate_ehlo() msys.audit.receptions('300,6', {cluster=true}) return 0 end \
    function mod:validate_mailfrom(sender, accept, vctx)\n\
    if sender == 'strict@c.example' then local n = nil; n.x = 1 end\n\
    return msys.core.VALIDATE_CONT end msys.registerModule('strict', mod)\n";

#[test]
fn policy_p06_p20_p24_lua_holds_refuses_edits_and_fails_as_written() {
    let dir = tempfile::Builder::new().prefix("pf").tempdir().unwrap();
    let path = |name: &str| dir.path().join(name).display().to_string();
    let write = |name: &str, text: &str| std::fs::write(dir.path().join(name), text).unwrap();
    write("a.lua", SCRIPT);
    write("strict.lua", STRICT);
    let global = format!(
        "Relay_Domains = ( \"demo.example\" )\nDatasource \"db\" {{ uri = ( \"sqlite::memory:\" ) }}\n\
         scriptlet \"s\" {{ script \"a\" {{ source = \"{}\" }} }}\n\
         scriptlet \"t\" {{ runtime_error = \"fail\" script \"strict\" {{ source = \"{}\" }} }}\n\
         inbound_audit {{ monitors = ( \"300,6\" ) }}",
        path("a"),
        path("strict.lua")
    );
    let node = SingleNode::start(&global, "", "");

    let warned = node.log();
    assert_eq!(warned.matches("CFG-6183").count(), 1, "{warned}");
    assert!(warned.contains(&format!("{}:1: 'reception' is not replicated", path("strict.lua"))), "{warned}");

    let started = Instant::now();
    let mut refused = Client::raw(&node.smtp).unwrap();
    assert_eq!(refused.reply().unwrap(), "554 5.7.1 no\r\n");
    assert!(started.elapsed() >= Duration::from_millis(400), "{:?}", started.elapsed());
    assert!(refused.command("EHLO x").unwrap().starts_with("503 "));
    assert!(refused.command("QUIT").unwrap().starts_with("221 "));
    wait_until(PATIENCE, "the script heard of the end", || {
        node.console("sievelib gauge_cache show seen ended") == "1\n"
    });

    let mut client = Client::connect(&node.smtp).unwrap();
    client.command("EHLO c.example").unwrap();
    let mut mail = |sender: &str| {
        let reply = client.command(&format!("MAIL FROM:<{sender}@c.example>")).unwrap();
        client.command("RSET").unwrap();
        reply
    };
    for sender in ["broken", "monitor", "silent"] {
        assert!(mail(sender).starts_with("250 "), "{sender}");
    }
    assert_eq!(mail("strict"), "451 4.3.0 temporary policy failure\r\n");
    assert_eq!(mail("asks"), "450 4.7.1 42\r\n");
    let log = node.log();
    let file = path("a.lua");
    for expected in [
        format!("scriptlet: validate_mailfrom error: {file}:17: oops"),
        format!("scriptlet: a error: {file}:17: oops"),
        format!("validate_mailfrom error: {file}:19: no monitor \"60,1\" in inbound_audit; it has \"300,6\""),
        "scriptlet: validate_mailfrom error: illegal return value nothing".to_owned(),
        format!("scriptlet: strict error: {}:2: ", path("strict.lua")),
    ] {
        assert!(log.contains(&expected), "{expected}");
    }

    client.command("MAIL FROM:<a@c.example>").unwrap();
    for recipient in ["both", "drop", "move"] {
        assert!(client.command(&format!("RCPT TO:<{recipient}@demo.example>")).unwrap().starts_with("250"));
    }
    client.command("DATA").unwrap();
    client.send("Subject: x\r\n\r\nhello\r\n.\r\n").unwrap();
    assert!(client.reply().unwrap().starts_with("250 "));
    assert!(node.console("mailq").contains("demo.example       4       0"));
    // A report of the refused copy is there, too, until the sender's queue has failed it: it names the recipient in its text.
    let mut copies = Vec::new();
    support::each_stored(&node.dir.path().join("spool/msg"), &mut |text| {
        if !text.contains("report-type=delivery-status") {
            copies.push(text.to_owned());
        }
    });
    let queue = copies.concat();
    for there in ["both", "early", "late", "moved"] {
        assert!(queue.contains(&format!("{there}@demo.example")), "{there}: {queue}");
    }
    for gone in ["drop@", "move@", "gone@"] {
        assert!(!queue.contains(gone), "{gone}: {queue}");
    }
    assert!(queue.contains("rewritten@c.example"), "{queue}");
    let summary = node.console("summary");
    let figure = |name: &str| summary.lines().find(|line| line.contains(name)).unwrap_or_default().to_owned();
    assert!(figure("Received").trim_end().ends_with('4'), "{summary}");

    // What does not load, or cannot start, leaves what was in force, and says where.
    let reload = || {
        let output = support::console(&node.control, "config reload");
        format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
    };
    write("strict.lua", "local mod = {}\nfunction mod:validate_mailfrom(\n");
    let said = reload();
    assert!(said.contains("CFG-6182") && said.contains(&format!("{}:", path("strict.lua"))), "{said}");
    write(
        "strict.lua",
        "local mod = {} function mod:init() return false end msys.registerModule('strict', mod)",
    );
    let said = reload();
    assert!(said.contains("CFG-6182 scriptlet \"t\": strict: init: returned false; expected true"), "{said}");
    assert_eq!(
        client.command("MAIL FROM:<strict@c.example>").unwrap(),
        "451 4.3.0 temporary policy failure\r\n"
    );
    assert!(node.console("scriptlet:t stats").contains("mailfrom:errors (informational) = 2"));
    write("strict.lua", "msys.registerModule('strict', { validate_mailfrom = function() return 1 end })");
    assert_eq!(node.console("scriptlet:t flush cache"), "flushed 1 entries from the script cache\n");
    assert!(client.command("MAIL FROM:<strict@c.example>").unwrap().starts_with("250 "));
}

/// What Lua runs of the other language decides, waits and fails as if it stood in the same place.
#[test]
fn lua_runs_sieve_in_its_phase() {
    let fleet = Fleet::start(1);
    let node = &fleet.nodes[0];
    let write = |name: &str, text: &str| {
        std::fs::write(node.config.parent().unwrap().join(name), text).unwrap();
    };
    write("refuse.sieve", "ec_action 550 \"5.7.1 not from you\";");
    write("note.sieve", "vctx_mess_set \"seen\" \"by sieve\";");
    write("broken.sieve", "nosuch_action;");
    write(
        "outer.lua",
        r#"local mod = {}
function mod:validate_mailfrom(str, accept, vctx)
  if str == "refused@c.example" then
    assert(msys.runSieveScript("refuse.sieve", "mailfrom", {}))
  elseif str == "noted@c.example" then
    assert(msys.runSieveScript("note.sieve"))
    vctx:set_code(451, "4.7.0 " .. vctx:get(msys.core.VCTX_MESS, "seen"))
  elseif str == "broken@c.example" then
    local ok, problem = msys.runSieveScript("broken.sieve")
    vctx:set_code(452, "4.3.0 " .. tostring(ok) .. " " .. problem:match("broken.sieve:%d+"))
  elseif str == "missing@c.example" then
    local ok, problem = msys.runSieveScript("nowhere.sieve")
    vctx:set_code(453, "4.3.0 " .. tostring(ok) .. " " .. problem:match("nowhere.sieve"))
  elseif str == "phase@c.example" then
    local ok, problem = pcall(msys.runSieveScript, "note.sieve", "data")
    vctx:set_code(454, "4.3.0 " .. tostring(ok) .. " " .. problem:match("expected .*"))
  end
  return msys.core.VALIDATE_CONT
end
msys.registerModule("outer", mod)
"#,
    );
    let text = std::fs::read_to_string(&node.config).unwrap();
    let folder = node.config.parent().unwrap().display().to_string();
    let more = format!("scriptlet \"s\" {{ script \"outer\" {{ source = \"{folder}/outer\" }} }}\n");
    std::fs::write(&node.config, format!("{text}\n{more}")).unwrap();
    let answer = fleet.console(0, "config reload");
    assert!(answer.ends_with("Reconfigure complete\n"), "{answer}");

    let replies = [
        ("refused@c.example", "550 5.7.1 not from you"),
        ("noted@c.example", "451 4.7.0 by sieve"),
        ("broken@c.example", "452 4.3.0 false broken.sieve:1"),
        ("missing@c.example", "453 4.3.0 false nowhere.sieve"),
        ("phase@c.example", "454 4.3.0 false expected mailfrom, where the script is"),
        ("other@c.example", "250 "),
    ];
    let mut client = session(&node.smtp_proxy, "198.51.100.9");
    for (sender, expected) in replies {
        let reply = client.command(&format!("MAIL FROM:<{sender}>")).unwrap();
        assert!(reply.starts_with(expected), "{sender}: {reply}");
    }
    // A flush reads the Sieve script anew, too.
    write("refuse.sieve", "ec_action 551 \"5.7.1 never again\";");
    let flushed = fleet.console(0, "scriptlet:s flush cache");
    assert!(flushed.contains("from the script cache"), "{flushed}");
    client.command("RSET").unwrap();
    let reply = client.command("MAIL FROM:<refused@c.example>").unwrap();
    assert_eq!(reply, "551 5.7.1 never again\r\n");
}
