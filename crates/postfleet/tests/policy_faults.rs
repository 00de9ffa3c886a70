//! Scripts that loop, recurse, grow without bound or fail, in every phase of real sessions: the session goes on as
//! `runtime_error` says, the others are not held up, and the node stays as it was.
#![allow(clippy::unwrap_used, reason = "tests")]

mod support;

use std::time::{Duration, Instant};
use support::{Client, SingleNode};

/// Generous: scripts that compute without end are stopped after their instructions, one after the other.
const PATIENCE: Duration = Duration::from_secs(60);

/// The moments of a session, as both languages name them, with the Lua callout.
const PHASES: [(&str, Option<&str>); 8] = [
    ("accept", None),
    ("connect", Some("validate_connect(accept, vctx)")),
    ("ehlo", Some("validate_ehlo(str, accept, vctx)")),
    ("mailfrom", Some("validate_mailfrom(str, accept, vctx)")),
    ("rcptto", Some("validate_rcptto(msg, str, accept, vctx)")),
    ("data", Some("validate_data(msg, accept, vctx)")),
    ("spool", Some("validate_data_spool(msg, accept, vctx)")),
    ("each_rcpt", Some("validate_data_spool_each_rcpt(msg, accept, vctx)")),
];

/// What goes wrong, and a part of what the log says then.
const LUA_FAULTS: [(&str, &str); 11] = [
    ("error('on purpose')", "on purpose"),
    ("local x = nil; x.y = 1", "attempt to index"),
    ("while true do end", "too many instructions"),
    ("while true do pcall(function() while true do end end) end", "too many instructions"),
    ("local function f() return 1 + f() end f()", "stack overflow"),
    ("local function f() return f() end f()", "too many instructions"),
    ("local s = 'x' while true do s = s .. s end", "not enough memory"),
    ("local t = {} while true do t[#t + 1] = { #t } end", ""),
    ("string.rep('x', 1e9)", "not enough memory"),
    ("string.find(string.rep('a', 300), string.rep('a-', 25) .. 'b')", "too many steps"),
    ("do return 'nonsense' end", "illegal return value nonsense"),
];

/// The same in Sieve, which has no loops of its own.
const SIEVE_FAULTS: [(&str, &str); 6] = [
    ("ec_throttle_inc \"unknown\";", "no such throttle 'unknown'"),
    ("$n = ec_div 1 0;", ""),
    ("ec_include \"self_{phase}\";", "scripts within scripts"),
    ("ec_error_mode \"{mode}\"; ec_include \"twice_{phase}\";", "more than 100000 steps"),
    ("{grow}", "are kept"),
    ("ec_include \"missing\";", "missing"),
];

/// Doubles a string until it is too long.
fn grow() -> String {
    "$x = \"0123456789\"; ".to_owned() + &"$x = \"${x}${x}\"; ".repeat(30)
}

/// The address by which a session says what is to go wrong in it: in which phase, what, and in the stanza that goes on
/// (0) or refuses (1); the first octet names the language.
fn source(language: u8, phase: usize, fault: usize, refuses: bool) -> String {
    format!("{language}.{phase}.{fault}.{}", u8::from(refuses))
}

fn lua(refuses: bool) -> String {
    let mut text = "local mod = {}\nlocal faults = {\n".to_owned();
    for (fault, _) in LUA_FAULTS {
        text.push_str(&format!("function() {fault} end,\n"));
    }
    text.push_str("}\n");
    for (phase, (_, callout)) in PHASES.iter().enumerate() {
        let Some(callout) = callout else { continue };
        text.push_str(&format!(
            "function mod:{callout}\nlocal fault = msys.expandMacro('%{{spfv1:i}}'):match('^10%.{phase}%.(%d+)%.{}$')\n\
             if fault then local value = faults[fault + 1]() if value ~= nil then return value end end\n\
             return msys.core.VALIDATE_CONT end\n",
            u8::from(refuses)
        ));
    }
    format!("{text}msys.registerModule('{}', mod)\n", if refuses { "hard" } else { "soft" })
}

fn sieve(phase: usize, refuses: bool) -> String {
    let (name, _) = PHASES[phase];
    let mode = if refuses { "fail" } else { "continue" };
    let mut text = String::new();
    for (number, (fault, _)) in SIEVE_FAULTS.iter().enumerate() {
        let fault = fault.replace("{phase}", name).replace("{mode}", mode).replace("{grow}", &grow());
        let address = source(11, phase, number, refuses);
        text.push_str(&format!("if ec_test :is \"%{{spfv1:i}}\" \"{address}\" {{ {fault} }}\n"));
    }
    text
}

fn node() -> SingleNode {
    let mut global = "Relay_Domains = ( \"demo.example\" )\n".to_owned();
    let mut files: Vec<(String, String)> = Vec::new();
    for (refuses, mode) in [(false, "continue"), (true, "fail")] {
        let name = if refuses { "hard" } else { "soft" };
        files.push((format!("{name}.lua"), lua(refuses)));
        let mut slots = String::new();
        for (phase, (word, _)) in PHASES.iter().enumerate() {
            files.push((format!("{name}_{word}.sieve"), sieve(phase, refuses)));
            slots.push_str(&format!("{word}_phase1 = \"{name}_{word}.sieve\"\n"));
        }
        global.push_str(&format!(
            "scriptlet \"{name}\" {{ runtime_error = \"{mode}\" script \"{name}\" {{ source = \"{name}\" }} }}\n\
             sieve \"{name}\" {{ runtime_error = \"{mode}\"\n{slots} }}\n"
        ));
    }
    for (word, _) in PHASES {
        files.push((format!("self_{word}"), format!("ec_include \"self_{word}\";")));
        files.push((format!("twice_{word}"), format!("ec_include \"twice_{word}\"; ").repeat(2)));
    }
    SingleNode::start_with(&global, "", "Proxy_Protocol = true", &files)
}

/// What a session got where something was to go wrong, after everything before it went well.
fn session(node: &SingleNode, source: &str, phase: usize) -> String {
    let mut client = Client::raw(&node.smtp).unwrap();
    client.send(&format!("PROXY TCP4 {source} 192.0.2.1 40000 25\r\n")).unwrap();
    let at = |reply: String, from: usize, to: usize, good: &str| {
        if (from..=to).contains(&phase) {
            return Some(reply);
        }
        assert!(reply.starts_with(good), "{source}: {reply}");
        None
    };
    let greeting = client.reply().unwrap();
    if let Some(reply) = at(greeting, 0, 1, "220") {
        if !reply.starts_with("220") {
            assert!(client.command("EHLO c.example").unwrap().starts_with("503 "));
            assert!(client.command("QUIT").unwrap().starts_with("221 "));
        }
        return reply;
    }
    let steps = [("EHLO c.example", 2, "250"), ("MAIL FROM:<a@c.example>", 3, "250")];
    for (command, number, good) in steps {
        let reply = client.command(command).unwrap();
        if let Some(reply) = at(reply, number, number, good) {
            return reply;
        }
    }
    let reply = client.command("RCPT TO:<b@demo.example>").unwrap();
    if let Some(reply) = at(reply, 4, 4, "250") {
        return reply;
    }
    assert!(client.command("DATA").unwrap().starts_with("354"));
    client.send("Subject: x\r\n\r\nhello\r\n.\r\n").unwrap();
    client.reply().unwrap()
}

fn is_good(reply: &str) -> bool {
    reply.starts_with("220") || reply.starts_with("250")
}

#[test]
fn faults_of_every_phase_end_as_runtime_error_says_and_the_node_stays_as_it_was() {
    let node = node();
    let whole = |source: &str| assert!(is_good(&session(&node, source, 7)), "{source}");
    whole("192.0.2.1");
    let threads = node.threads();

    let mut cases = Vec::new();
    for (phase, (word, callout)) in PHASES.iter().enumerate() {
        for refuses in [false, true] {
            let known = callout.is_some();
            let lua = LUA_FAULTS.iter().enumerate().filter(move |_| known);
            cases.extend(lua.map(|(at, (_, log))| (10, phase, *word, at, refuses, *log)));
            let sieve = SIEVE_FAULTS.iter().enumerate();
            cases.extend(sieve.map(|(at, (_, log))| (11, phase, *word, at, refuses, *log)));
        }
    }
    // Others come and go meanwhile.
    let (cases, node_ref) = (std::sync::Mutex::new(cases.into_iter()), &node);
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                loop {
                    let Some((language, phase, word, fault, refuses, _)) = cases.lock().unwrap().next()
                    else {
                        break;
                    };
                    let source = source(language, phase, fault, refuses);
                    let started = Instant::now();
                    let reply = session(node_ref, &source, phase);
                    assert!(started.elapsed() < PATIENCE, "{source} in {word}: {:?}", started.elapsed());
                    if refuses {
                        assert_eq!(reply, "451 4.3.0 temporary policy failure\r\n", "{source} in {word}");
                    } else {
                        assert!(is_good(&reply), "{source} in {word}: {reply}");
                    }
                }
            });
        }
        scope.spawn(|| {
            for _ in 0..20 {
                let started = Instant::now();
                whole("192.0.2.2");
                assert!(started.elapsed() < PATIENCE, "{:?}", started.elapsed());
                assert!(node_ref.console("summary").contains("Received"));
            }
        });
    });

    let log = node.log();
    assert!(!log.contains("panicked"), "{log}");
    for (_, expected) in LUA_FAULTS.iter().chain(&SIEVE_FAULTS) {
        assert!(log.contains(expected), "{expected}");
    }
    for (word, callout) in PHASES {
        if let Some(callout) = callout {
            let name = callout.split('(').next().unwrap();
            for module in ["soft", "hard"] {
                assert!(
                    log.contains(&format!("{name} error: ")) && log.contains(&format!("{module} error: "))
                );
            }
        }
        assert!(log.contains(&format!("soft_{word}.sieve:")), "{word}");
    }
    whole("192.0.2.3");
    let after = node.threads();
    // Threads that wait for the disk come and go; what failed has left none behind.
    assert!(after < threads + 40, "{threads} threads before, {after} after");
}

#[test]
fn sessions_that_are_held_cost_no_threads_and_hold_up_nobody() {
    const HELD: usize = 300;
    let script = "local mod = {}\n\
        function mod:validate_connect(accept, vctx)\n\
        local how = msys.expandMacro('%{spfv1:i}'):match('^10%.(%d)%.')\n\
        if how == '0' then vctx:tarpit(3) elseif how == '1' then msys.sleep(3) elseif how == '4' then msys.sleep(120)\n\
        elseif how == '2' then msys.throttle.create('slow', '1/3') msys.throttle.inc('slow') msys.throttle.tarpit('slow') end\n\
        return 0 end msys.registerModule('holds', mod)";
    let global = "scriptlet \"s\" { script \"holds\" { source = \"holds\" } }\n\
                  sieve \"t\" { connect_phase1 = \"holds.sieve\" }\n";
    let files = [
        ("holds.lua".to_owned(), script.to_owned()),
        (
            "holds.sieve".to_owned(),
            "if ec_test :matches \"%{spfv1:i}\" \"10.3.*\" { ec_tarpit 3; }".to_owned(),
        ),
    ];
    let node = SingleNode::start_with(global, "", "Proxy_Protocol = true", &files);
    let open = |source: &str| {
        let mut client = Client::raw(&node.smtp).unwrap();
        client.send(&format!("PROXY TCP4 {source} 192.0.2.1 40000 25\r\n")).unwrap();
        client
    };
    assert!(open("192.0.2.1").reply().unwrap().starts_with("220"));
    let before = node.threads();
    let started = Instant::now();
    // Every way to be held; the throttle is taken by two, so that the second waits for the first.
    let kinds = [0, 1, 3];
    let mut held: Vec<Client> =
        (0..HELD).map(|at| open(&format!("10.{}.{}.{}", kinds[at % 3], at / 250, at % 250 + 1))).collect();
    held.push(open("10.2.0.1"));
    held.push(open("10.2.0.2"));
    let all = format!("{}", held.len());
    support::wait_until(PATIENCE, "all are connected", || {
        let shown = node.console("summary");
        shown.contains(&all) || started.elapsed() > Duration::from_secs(2)
    });
    let during = node.threads();
    assert!(during <= before + 8, "{before} threads, {during} with {all} sessions that are held");
    let asked = Instant::now();
    assert!(open("192.0.2.2").reply().unwrap().starts_with("220"));
    let answered = asked.elapsed();
    for client in &mut held {
        assert!(client.reply().unwrap().starts_with("220"));
    }
    assert!(started.elapsed() >= Duration::from_secs(3), "{:?}", started.elapsed());
    assert!(answered < Duration::from_secs(2), "others are not held: {answered:?}");

    // A client that goes away ends its hold.
    let gone = open("10.4.9.9");
    let counted = || node.console("cluster shared show inbound_cidr").contains("10.4.9.9");
    support::wait_until(PATIENCE, "it is counted", counted);
    drop(gone);
    support::wait_until(PATIENCE, "it is gone before its hold is over", || !counted());
}
