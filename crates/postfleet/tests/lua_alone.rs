//! What Lua scripts do outside of sessions, on a real node: console commands, timers, and a change of scripts that takes its
//! time.
#![allow(clippy::unwrap_used, reason = "tests")]

mod support;

use std::io::{Read, Write};
use std::net::TcpListener;
use std::os::unix::net::UnixStream;
use std::time::Duration;
use support::{SingleNode, wait_until};

const PATIENCE: Duration = Duration::from_secs(10);

const SCRIPT: &str = r#"
require("msys.core")
require("msys.timer")
local mod = {}
local function greet(cc)
  if cc.argc < 2 then
    print("Usage: greet <name>")
    return
  end
  print("hello", cc.argv[1])
  print(msys.gauge_cache.get("g", "ticks") > 0, cc.argc)
end
msys.registerControl("greet", greet)
msys.registerControl("summary", greet)
msys.registerControl("halt", function() tick:stop() print(tick:name(), "halted") end)
msys.registerControl("again", function() tick:start() end)
msys.registerControl("broken", function() print("as far as this") error("broke") end)
msys.registerControl("wait", function()
  print("waiting", msys.throttle.tarpit("t"))
  while true do msys.gauge_cache.inc("g", "waits") msys.sleep(0.1) end
end)
msys.registerControl("endless", function() while true do end end)
tick = msys.timer.every(0.1, function() msys.gauge_cache.inc("g", "ticks") end, "tick")
function mod:init()
  msys.gauge_cache.define("g", 20, 0)
  msys.throttle.create("t", "100/60")
  mod.once = msys.timer.after(0.1, function() msys.gauge_cache.inc("g", "once") error("once more") end, "once")
  mod.past = msys.timer.at(1, function() msys.gauge_cache.inc("g", "past") end)
  msys.timer.every(0.1, function() msys.gauge_cache.inc("g", "lost") end)
  msys.timer.after(0.1, function() msys.gauge_cache.inc("g", "unkept") end)
  kept = msys.timer.every(0.1, function() msys.gauge_cache.inc("g", "kept") end)
  mod.self = msys.timer.after(0, function() msys.gauge_cache.inc("g", "self") mod.self:start() end)
  msys.timer.after(0, function() while true do msys.gauge_cache.inc("g", "asleep") msys.sleep(0.1) end end)
  return true
end
msys.registerModule("a", mod)
"#;

#[test]
fn commands_and_timers_of_scripts_run_on_the_node() {
    let global = "scriptlet \"s\" { script \"a\" { source = \"a\" } }\n";
    let node = SingleNode::start_with(global, "", "", &[("a.lua".to_owned(), SCRIPT.to_owned())]);
    let gauge = |key: &str| node.console(&format!("sievelib gauge_cache show g {key}"));
    // The client writes what failed where errors belong.
    let failed = |line: &str| String::from_utf8(support::console(&node.control, line).stderr).unwrap();
    let number = |key: &str| gauge(key).trim().parse::<u64>().unwrap_or(0);
    let ticks = || number("ticks");

    wait_until(PATIENCE, "timers run", || gauge("once") == "1\n" && gauge("past") == "1\n" && ticks() > 3);
    assert_eq!(node.console("greet"), "Usage: greet <name>\n");
    assert_eq!(node.console("greet \"big world\" 2"), "hello big world\ntrue 3\n");
    let json = node.console("json greet you");
    assert!(json.contains(r#""ok":true,"data":{"lines":["hello you","true 2"]}"#), "{json}");
    assert_eq!(
        failed("broken"),
        format!("as far as this\nbroken: console command: {}/a.lua:17: broke\n", node.dir.path().display())
    );
    let endless = failed("endless");
    assert!(endless.contains("too many instructions"), "{endless}");
    assert_eq!(failed("nosuch greet"), "Unknown command: nosuch. Try 'help'.\n");
    assert!(node.console("summary").contains("Uptime"), "the console keeps its own");

    // Every interpreter has the timers, one runs them; what is stopped stands still until it is started.
    assert_eq!(node.console("halt"), "tick halted\n");
    let stopped = {
        std::thread::sleep(Duration::from_millis(200));
        ticks()
    };
    let began = number("self");
    std::thread::sleep(Duration::from_millis(500));
    assert_eq!(ticks(), stopped);
    // A timer that starts itself does so ten times a second at most.
    let selves = number("self") - began;
    assert!((2..=8).contains(&selves), "{selves}");
    assert_eq!(gauge("unkept"), "1\n");
    assert!(number("kept") > 3, "init has kept it");

    // A command that waits ends when the client takes it back.
    let mut client = UnixStream::connect(&node.control).unwrap();
    client.write_all(b"RUN 7 4\nwait").unwrap();
    wait_until(PATIENCE, "the command waits", || number("waits") > 2);
    client.write_all(b"CANCEL 7\nBYE\n").unwrap();
    let mut said = String::new();
    client.read_to_string(&mut said).unwrap();
    assert!(said.ends_with("END 7 error cancelled\n"), "{said}");
    let waits = number("waits");
    std::thread::sleep(Duration::from_millis(300));
    assert_eq!(number("waits"), waits);
    node.console("again");
    wait_until(PATIENCE, "it goes on", || ticks() > stopped + 2);
    assert_eq!((gauge("once"), gauge("past"), gauge("lost")), ("1\n".into(), "1\n".into(), String::new()));

    let log = node.log();
    for expected in [
        "msys.registerControl \"summary\" is refused: the console has a command of this name",
        "scriptlet: timer error:",
        "once more",
        "scriptlet \"s\": timer 4 is gone, nothing refers to it",
    ] {
        assert!(log.contains(expected), "{expected}\n{log}");
    }

    // Another script takes its place: its timers run, those of the one before do not, and it has other commands.
    let text = "msys.registerControl('other', function() print('here') end) \
                t = msys.timer.every(0.1, function() msys.gauge_cache.inc('g', 'other') end)";
    std::fs::write(node.dir.path().join("a.lua"), text).unwrap();
    assert!(node.console("scriptlet:s flush cache").contains("flushed"));
    let (before, asleep) = (ticks(), number("asleep"));
    wait_until(PATIENCE, "the new timer runs", || number("other") > 3);
    assert_eq!(ticks(), before);
    assert!(asleep > 3 && number("asleep") <= asleep + 1, "what a timer does ends with its script");
    assert_eq!(node.console("other"), "here\n");
    assert!(failed("greet you").starts_with("Unknown command: greet."));

    // Without the stanza there is neither.
    let config = node.dir.path().join("postfleet.conf");
    let without = std::fs::read_to_string(&config).unwrap().replace(global, "");
    std::fs::write(&config, without).unwrap();
    assert!(node.console("config reload").ends_with("Reconfigure complete\n"));
    let before = gauge("other");
    std::thread::sleep(Duration::from_millis(400));
    assert_eq!(gauge("other"), before);
    assert!(failed("other").starts_with("Unknown command: other."));
}

/// Scripts that are read anew may wait in `init`. The configuration can be changed meanwhile, and what comes too late is told
/// so and comes into effect nowhere.
#[test]
fn an_init_that_waits_holds_up_no_reload() {
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = silent.local_addr().unwrap().port();
    let script = |waits: bool| {
        let wait =
            if waits { "msys.db.fetch_row('db', 'SELECT 1', {}, { raise_error = false })" } else { "" };
        format!(
            "local mod = {{}} function mod:init() msys.gauge_cache.define('g', 10, 0) {wait} \
             msys.gauge_cache.inc('g', '{waits} init') return true end \
             function mod:deinit() msys.gauge_cache.inc('g', '{waits} deinit') return true end \
             t = msys.timer.every(0.1, function() msys.gauge_cache.inc('g', '{waits} timer') end) \
             msys.registerModule('a', mod)"
        )
    };
    let global = format!(
        "Datasource \"db\" {{ uri = ( \"pgsql:host=127.0.0.1 port={port} user=u dbname=d sslmode=disable\" ) }}\n\
         scriptlet \"s\" {{ script_ttl = 1 script \"a\" {{ source = \"a\" }} }}\n"
    );
    let node = SingleNode::start_with(&global, "", "", &[("a.lua".to_owned(), script(false))]);
    let gauge = |key: &str| node.console(&format!("sievelib gauge_cache show g \"{key}\""));

    std::fs::write(node.dir.path().join("a.lua"), script(true)).unwrap();
    // `init` of the new script has asked, and is not answered.
    let (asked, _) = silent.accept().unwrap();
    let config = node.dir.path().join("postfleet.conf");
    let without = std::fs::read_to_string(&config).unwrap();
    let at = without.find("scriptlet \"s\"").unwrap();
    let line = without[at..].lines().next().unwrap().to_owned();
    std::fs::write(&config, without.replace(&line, "")).unwrap();
    let answer = node.console("config reload");
    assert!(answer.ends_with("Reconfigure complete\n"), "{answer}");
    assert_eq!((gauge("false deinit"), gauge("true init")), ("1\n".into(), String::new()));

    drop(asked);
    drop(silent);
    wait_until(PATIENCE, "the late one ended in order", || gauge("true deinit") == "1\n");
    assert_eq!((gauge("true init"), gauge("true timer")), ("1\n".into(), String::new()));
    assert!(node.log().contains("the configuration has changed meanwhile"), "{}", node.log());
}
