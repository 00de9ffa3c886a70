//! The examples and acceptance cases of policy on one real node: each is a file in `policy_cases`, a session of a client says
//! which one runs, and the reply tells what came of it. What concerns several nodes is in `policy_fleet`.
#![allow(clippy::unwrap_used, reason = "tests")]

mod support;

use std::time::{Duration, Instant};
use support::{Client, SingleNode, wait_until};

const PATIENCE: Duration = Duration::from_secs(20);
const FOLDER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/policy_cases");

struct Session(Client);

impl Session {
    fn new(node: &SingleNode, source: &str) -> Self {
        let mut client = Client::connect_from(&node.smtp, source.parse().unwrap()).unwrap();
        assert!(client.command("EHLO c.example").unwrap().starts_with("250-"));
        Self(client)
    }

    /// The reply to MAIL for a case.
    fn ask(&mut self, language: &str, case: &str) -> String {
        let reply = self.0.command(&format!("MAIL FROM:<{case}@{language}.example>")).unwrap();
        self.0.command("RSET").unwrap();
        reply.trim_end().to_owned()
    }

    fn check(&mut self, language: &str, case: &str, expected: &str) {
        assert_eq!(self.ask(language, case), expected, "{language} {case}");
    }
}

#[test]
fn policy_p05_p06_p07_p10_p11_p12_p13_p15_p16_p17_p18_p22_p25_on_one_node() {
    let mut files = Vec::new();
    for entry in std::fs::read_dir(FOLDER).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_str().unwrap().to_owned();
        files.push((name, std::fs::read_to_string(&path).unwrap()));
    }
    let global = "Relay_Domains = ( \"demo.example\" )\nDatasource \"db\" { uri = ( \"sqlite::memory:\" ) }\n\
        inbound_audit { monitors = ( \"300,6\" \"1800,4\" ) }\n\
        sieve \"sieve1\" { mailfrom_phase1 = \"main.sieve\" }\n\
        scriptlet \"s\" { script \"cases\" { source = \"cases\" } }\n\
        cluster { Replicate \"mycache\" { type = \"cache\" } Replicate \"shared_named_throttles\" {} }\n";
    let listener = "Context = [ auth_user = \"alice\" ]";
    let node = SingleNode::start_with(global, listener, "Proxy_Protocol = true", &files);
    let mut a = Session::new(&node, "192.0.2.10");
    let failed = "451 4.3.0 temporary policy failure";

    // P5, with the warning of the start.
    a.check("sieve", "p05", "250 1 1");
    a.check("lua", "p05", "250 1 1");
    let log = node.log();
    let warned: Vec<&str> = log.lines().filter(|line| line.contains("'connect' is not replicated")).collect();
    assert!(warned.iter().any(|line| line.contains("cases.lua:")), "{log}");

    // P6: in Sieve the command is refused unless errors are skipped, in Lua mail goes on.
    a.check("sieve", "p06", failed);
    a.check("sieve", "p06b", "250 <>");
    assert!(a.ask("lua", "p06").starts_with("250 "), "Lua goes on");
    let log = node.log();
    assert!(log.contains("p06.sieve:2: no monitor 2; 2 are configured"), "{log}");
    assert!(log.contains("validate_mailfrom error: ") && log.contains("cases error: "), "{log}");

    a.check("sieve", "p07", "250 3 3 0");
    a.check("lua", "p10", "250 3 false audit series 'nosuch' is not defined");
    let mut six = Session::new(&node, "2001:db8::1");
    six.check("lua", "p11", "250 0 1");
    a.check("lua", "p11", "250 1 1");

    // P12: the eleventh run is one too many; after a while nothing is remembered.
    for run in 1..=10 {
        a.check("sieve", "p12", &format!("250 alice {run}"));
    }
    a.check("sieve", "p12", "550 Too much spamming");
    wait_until(PATIENCE, "the count is forgotten", || {
        std::thread::sleep(Duration::from_millis(2500));
        a.ask("sieve", "p12") == "250 alice 1"
    });

    a.check("sieve", "p13", "250 2 0 1");
    a.check("lua", "p13", "250 2 0 1");

    // P15: read at once, and no longer than it was to be kept. The cache is there when the bus is.
    wait_until(PATIENCE, "the cache takes values", || a.ask("sieve", "p15") == "250 myvalue <> y");
    a.check("sieve", "p15", "250 myvalue <y> y");
    wait_until(PATIENCE, "its time is over", || {
        std::thread::sleep(Duration::from_millis(2500));
        a.ask("sieve", "p15") == "250 myvalue <> y"
    });
    a.check("sieve", "p15b", failed);
    a.check("lua", "p15", "250 myvalue nil false");

    // P16: thirty pass, the next one does not; with a tarpit the fourth waits for the first.
    for _ in 0..30 {
        assert!(a.ask("sieve", "p16").starts_with("250 "));
    }
    a.check("sieve", "p16", "451 4.7.1 later");
    a.check("lua", "p16", "250 false false false true");
    let started = Instant::now();
    for _ in 0..4 {
        assert!(a.ask("sieve", "p16b").starts_with("250 "));
    }
    assert!(started.elapsed() >= Duration::from_millis(1900), "{:?}", started.elapsed());

    // P17: exceeded, then forgotten when it was not used for its period.
    for _ in 0..11 {
        a.ask("sieve", "p17");
    }
    wait_until(PATIENCE, "it is forgotten", || {
        std::thread::sleep(Duration::from_millis(1500));
        a.ask("sieve", "p17b") == failed
    });
    assert!(node.log().contains("no such throttle 'bar'"));

    a.check("sieve", "p18", "250 as documented");
    a.check("sieve", "p22", "250 xy<>");
    a.check("lua", "p21", "250 nil nil");
    a.check("lua", "p21", "250 1 nil");
    a.check("sieve", "section31", "250 55.540000 a-b-c a b c $x");
    a.check("sieve", "section32", "250 12 message 192.0.2.10 <>");
    a.check("sieve", "section34", "250 included first second");
    assert!(node.console("sieve:sieve1 stats").contains("mailfrom_phase1:hello:world (informational) = 1"));
    a.check("lua", "section28", "250 3 x nil string");

    // P25.
    assert!(a.0.message("b@demo.example", "x").unwrap().starts_with("250 0 nil <>"));
}

/// The table of phases: what a script sets up is done once, whatever the number of interpreters, and a script whose file has
/// changed is read anew when its time is over, with what it listens to.
#[test]
fn a_script_begins_once_and_is_looked_at_again_when_its_time_is_over() {
    let script = |more: &str| {
        format!(
            "local mod = {{}} local ready\n\
             function mod:init() msys.gauge_cache.define('g', 10, 0) print('begins', msys.gauge_cache.inc('g', 'init'))\n\
             msys.throttle.create('t', '1/300') msys.throttle.inc('t') ready = 'ready' return true end\n\
             function mod:deinit() msys.gauge_cache.inc('g', 'deinit') return true end\n\
             function mod:validate_mailfrom(s, accept, vctx) vctx:set_code(250, ready .. ' ' .. msys.gauge_cache.get('g', 'init') .. \
             ' ' .. msys.gauge_cache.get('g', 'deinit') .. ' ' .. tostring(msys.throttle.check('t'))) return 0 end\n\
             {more}\nmsys.registerModule('a', mod)"
        )
    };
    let files = [("a.lua".to_owned(), script(""))];
    let global = "scriptlet \"s\" { script_ttl = 1 script \"a\" { source = \"a\" } }\n";
    let node = SingleNode::start_with(global, "", "", &files);
    let mail = || {
        let mut client = Client::connect(&node.smtp).unwrap();
        client.command("EHLO c.example").unwrap();
        client.command("MAIL FROM:<a@c.example>").unwrap().trim_end().to_owned()
    };
    // Every interpreter is ready, and what they count together is what one counts.
    for _ in 0..20 {
        assert_eq!(mail(), "250 ready 1 0 false");
    }
    assert_eq!(node.log().matches("scriptlet: begins 1").count(), 1);

    // A file that cannot be used is complained of once, and changes nothing.
    let write = |text: &str| std::fs::write(node.dir.path().join("a.lua"), text).unwrap();
    write("this is no Lua");
    wait_until(PATIENCE, "the new file is seen", || node.log().contains("the scripts before stay in force"));
    std::thread::sleep(Duration::from_millis(2500));
    assert_eq!(node.log().matches("the scripts before stay in force").count(), 1, "{}", node.log());
    assert_eq!(mail(), "250 ready 1 0 false");

    // One that can be used takes its place, and is asked where nobody listened before.
    write(&script(
        "function mod:validate_ehlo(s, accept, vctx) if s == 'new.example' then vctx:set_code(450, 'new') end return 0 end",
    ));
    wait_until(PATIENCE, "the new script is in force", || {
        let mut client = Client::connect(&node.smtp).unwrap();
        client.command("EHLO new.example").unwrap() == "450 new\r\n"
    });
    assert_eq!(mail(), "250 ready 2 1 true");
    assert!(node.log().contains("scriptlet \"s\": files have changed; 1 scripts were loaded anew"));

    // By hand it does not wait.
    write(&script("function mod:validate_connect(accept, vctx) vctx:set_code(554, 'shut') return 0 end"));
    node.console("scriptlet:s flush cache");
    assert_eq!(Client::raw(&node.smtp).unwrap().reply().unwrap(), "554 shut\r\n");
}
