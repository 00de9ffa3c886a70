//! The page of functions is the table of functions, printed.

use crate::{FUNCTIONS, Function};
use std::path::Path;

/// What a function does, its units and defaults. In the order of the table.
const ABOUT: &[(&str, &str)] = &[
    (
        "msys.audit.connections",
        "Connections that were made from a block. `monitor` is one of `inbound_audit { monitors }`, such as `\"60,1\"`. `options`: `startv` and `endv`, windows counted back from the running one (0, both default 0, either order), `cidr` (default: the client), `cluster` (default false: this node alone). Anything but a table is the block.",
    ),
    (
        "msys.audit.receptions",
        "Messages that were received, a count for each copy; otherwise as `msys.audit.connections`.",
    ),
    (
        "msys.audit.rejections",
        "What was refused; otherwise as `msys.audit.connections`. A script does not see its own refusal.",
    ),
    (
        "msys.audit.inbound_session_count",
        "Connections that are open now. `service`: `SMTP`, `ECStream`, `Control`, `ECmmove2`, `ECCluster` of this node, `inbound_cidr` for the fleet. This connection is among them.",
    ),
    (
        "ac:inbound_session_count",
        "The same on the connection. Without arguments: from this client on the listener that accepted it; with a block alone: `SMTP`.",
    ),
    (
        "msys.audit_series.define",
        "Makes a series of `windows` windows of `interval` seconds beside the running one. `type`: `cidr` (IPv4), `cidr_ipv6`, `string`. `options`: `replicate` (`none`, the default; `cluster`; `manager`), `serialize` (default false: written to files), `persist` (default false: kept over an orderly restart). The same again keeps what was counted; other windows begin anew. Belongs into `init`.",
    ),
    (
        "msys.audit_series.add",
        "Adds to the running window. `options`: `count` (a whole number, also negative, default 1), `key` (an address, the connection, or a text; default: the client). Anything but a table is the key. An address of the other family is ignored.",
    ),
    (
        "msys.audit_series.count",
        "The sum over windows, never below 0. `options`: `startv`, `endv` (as above), `key` (a block in any form, or a text).",
    ),
    ("msys.audit_series.remove_item", "Forgets a key, on all nodes if the series is replicated."),
    (
        "msys.gauge_cache.define",
        "Makes a cache of counters, or changes its bounds: `elements` keys at most, the oldest go; a key is forgotten `ttl` seconds after its last change (0: never); `replicated` (default false) for all nodes.",
    ),
    ("msys.gauge_cache.inc", "One more; the new value, nobody else's change between."),
    ("msys.gauge_cache.dec", "One less; the new value, which may be negative."),
    (
        "msys.gauge_cache.get",
        "The value, 0 for a key that is not there. For the name of a replicated cache: its value, or nil.",
    ),
    ("msys.gauge_cache.remove_item", "Forgets a key, on all nodes if the cache is replicated."),
    ("msys.cluster_cache.get", "The value of a key, nil when there is none or its time is over."),
    (
        "msys.cluster_cache.set",
        "Sets a key. `ttl`: seconds, or `\"15M\"`, `\"2H\"`; default `\"0\"`: for ever. This node reads it at once, the others when it is delivered.",
    ),
    ("msys.cluster_cache.delete", "Removes a key, on all nodes."),
    (
        "msys.throttle.create",
        "Makes a throttle of this node; nothing happens if it lives. `rate`: `\"30/60\"`, 30 each 60 seconds; `\"30\"`: each second. It lives for a period after its last use.",
    ),
    ("msys.throttle.inc", "Counts one."),
    ("msys.throttle.dec", "Takes one back."),
    ("msys.throttle.check", "Whether more was counted than the rate allows."),
    (
        "msys.throttle.tarpit",
        "Counts one, and holds the session until the rate allows it; how many seconds that were. After the reply it counts and does not hold.",
    ),
    (
        "msys.shared_throttle.create",
        "The same for the fleet. `epsilon`: between 0 and 1, default 0.95; taken for compatibility.",
    ),
    ("msys.shared_throttle.inc", "Counts one for the fleet."),
    ("msys.shared_throttle.check", "Whether the fleet has counted more than the rate allows."),
    (
        "msys.shared_throttle.tarpit",
        "Counts one, and holds the session until the fleet has a unit for it; how many seconds that were.",
    ),
    (
        "msys.db.query",
        "An iterator over rows. `params`: `{ 1, \"x\" }` for `?`, `{ name = \"x\" }` for `:name`. `options`: `nocache` (default false: an answer that is known is used), `raise_error` (default true; false: nil and a message). A row has its columns by name, or by position from 1 where the driver has no names.",
    ),
    ("msys.db.fetch_row", "The first row, or nil when there is none; otherwise as `msys.db.query`."),
    (
        "msys.db.execute",
        "Runs a statement for its effect; with `raise_error = false` it gives false and a message when it fails.",
    ),
    (
        "vctx:set_code",
        "Sets the reply. `code`: three digits, the first 2, 4 or 5; each line of `text` gets it. A code from 400 refuses what the phase is about.",
    ),
    ("vctx:disconnect", "The same, and the connection is closed."),
    (
        "vctx:tarpit",
        "Holds the reply for so many seconds, fractions too. Holds of a phase add up, 300 seconds at most. After the reply it is ignored, with a line in the log.",
    ),
    (
        "vctx:get",
        "A value of a context, nil when there is none. `type`: `msys.core.VCTX_CONN` or `VCTX_MESS`.",
    ),
    ("vctx:set", "Sets a key of a context. Values are kept as text."),
    ("vctx:recipient_list", "The recipients; with an argument, these instead: one address, or a table."),
    ("vctx:add_recipient", "One address more, or a table of them. Nothing happens for one that is there."),
    ("vctx:remove_recipient", "One address less, or a table of them."),
    (
        "msg:context_get",
        "As `vctx:get`, but empty text for a key that is not there. `type`: `msys.core.ECMESS_CTX_CONN` or `ECMESS_CTX_MESS`.",
    ),
    ("msg:context_set", "As `vctx:set`."),
    ("msg:context_exists", "Whether there is such a key."),
    ("msg:context_exists_and_get", "Both at once."),
    ("msg:context_delete", "Removes a key; whether it was there."),
    ("msg:mailfrom", "The sender; with an argument, this one from now on."),
    (
        "msg:rcptto",
        "The recipient that the phase is about; with an argument, in `each_rcpt` and `set_binding`, this one from now on.",
    ),
    ("msg:reception_peer", "Where the message came from, `\"10.1.2.3:25\"` unless one part is asked for."),
    ("msg:listener_addr", "Our end of that connection."),
    (
        "msg:code",
        "What was decided to reply so far, by this script or modules before it; nothing when nothing was. With arguments: sets it; number 0 takes the code from the text. During reception prefer `vctx:set_code`.",
    ),
    (
        "msg:discard",
        "The client is told that the message was accepted, and nobody gets it; counted as a rejection. `reason` begins with a code; default `550 5.7.0 discarded by policy`. The script goes on.",
    ),
    (
        "msg:binding",
        "The binding that the copy leaves through; nil while nobody has said so. With an argument: this one from now on; nil, a line in the log and no change when there is none of this name.",
    ),
    (
        "msg:binding_group",
        "The group of that binding. With an argument: one of the bindings of this group from now on, by chance among those whose delivery is not suspended; nil, a line in the log and no change when there is none.",
    ),
    (
        "msys.expandMacro",
        "A text with its `%{…}` replaced: `%{vctx_conn:key}`, `%{vctx_mess:key}`, `%{key}`, `%{rfc822:date}`, `%{rfc2822:headers}` and its kin, `%{spfv1:i}` and the other letters of SPF.",
    ),
    ("msys.core.get_now_ts", "Seconds since 1970."),
    ("msys.sleep", "Stops the script for so many seconds, 300 at most."),
    ("msys.asyncOk", "Whether a script may be stopped here; true in every callout."),
    ("msys.log", "A line in the log. `level`: `debug`, `info`, `notice`, `warning`, `error`, `critical`."),
    ("print", "A line in the log, arguments with blanks between, at the level critical."),
    (
        "os.time",
        "Seconds since 1970; of a table with `year`, `month`, `day` and so on, in UTC, if one is given.",
    ),
    ("os.date", "As in Lua, in UTC."),
    (
        "msys.registerModule",
        "Registers the callouts in a table. `name` should be that of the script in the configuration.",
    ),
    ("require", "A package of msys, or a module of the operator's own, at the beginning of a script."),
    (
        "msys.registerControl",
        "Makes a console command: a line whose first word is `word` calls the function, one that the script wrote, with `cc`: `cc.argc` is the number of words, `cc.argv[0]` the command, `cc.argv[1]` and so on what follows it. What it prints is the answer, 1 MiB at most. `word`: letters, digits, `_`, `-`, `.`; a word of the console's own commands, or one that is registered already, is refused with a line in the log. Control characters in it are shown as escapes. Commands run in the first interpreter of the stanza, for 300 s at most.",
    ),
    (
        "msys.timer.after",
        "Calls the function once, so many seconds after the script came into force or the timer was started. The result is a timer, which runs already. The function is one that the script wrote. A timer that calls once is kept until it has called or is stopped; any other is gone when nothing refers to it any more: keep it in a global variable or in the table of the module, not in a local one of `init`. Timers run in the first interpreter of the stanza and end with the script, also in the middle of a wait, or after 300 s; one that is due while its function still runs waits for its end, and 0.1 s lie between two calls. 1000 timers at most.",
    ),
    ("msys.timer.at", "The same once at a time, in seconds since 1970; at once when it is over."),
    (
        "msys.timer.every",
        "The same again and again, with so many seconds between the beginnings; 0.1 at least. What could not be called in time is left out.",
    ),
    ("timer:start", "The time of a timer begins anew, also of one that has called or was stopped."),
    ("timer:stop", "The function is not called any more. A call that has begun goes on."),
    ("timer:name", "The name that was given, which messages use, too; nil without one."),
    (
        "msys.runSieveScript",
        "Runs a Sieve script in the phase where the call is; `phase` may say its name, and is an error where it is another one. A relative `file` starts at the folder of the configuration. What the script decides (a reply, a discard, a hold) is decided by the caller, whose own decision afterwards takes its place. `caps` is accepted: every capability is there. False with a text when the file cannot be read, does not compile for the phase, or ends with an error.",
    ),
];

fn phases(function: &Function) -> String {
    let all = postfleet_policy::Phase::ALL.into_iter();
    let named = all.clone().filter(|phase| *phase != postfleet_policy::Phase::Accept);
    let permitted: Vec<&str> = named
        .clone()
        .filter(|phase| function.phases.contain(*phase))
        .map(postfleet_policy::Phase::name)
        .collect();
    let shown = match permitted.as_slice() {
        [] => "the beginning of a script".to_owned(),
        some if some.len() == named.count() => "any".to_owned(),
        some => some.join(", "),
    };
    if function.at_init { format!("init, {shown}") } else { shown }
}

fn objects(function: &Function) -> String {
    let uses: Vec<String> =
        function.uses.iter().map(|used| format!("{} ({})", used.object, used.access.name())).collect();
    if uses.is_empty() { "–".to_owned() } else { uses.join("; ") }
}

/// The page.
fn page() -> String {
    let mut page = "# Functions of Lua\n\nWritten from the table that scripts are checked against; do not edit. A block of addresses is `\"192.0.2.0/24\"`,\n\
        `\"192.0.2.7\"`, `\"/24\"` (of the client), the connection, or nothing (the client); IPv6 in the same forms. A wrong argument is an error\n\
        that names function and argument. \"own\" is what this node counted, \"global\" the sum of all nodes. Console commands and\n\
        timers may call whatever is no method of a session (`ac:`, `vctx:`, `msg:`), and no Sieve script; a tarpit counts there and holds nothing.\n\n\
        ## At a glance\n\n| Function | Object | Phases |\n|---|---|---|\n"
        .to_owned();
    for function in FUNCTIONS {
        page.push_str(&format!("| `{}` | {} | {} |\n", function.name, objects(function), phases(function)));
    }
    for function in FUNCTIONS {
        let about = ABOUT.iter().find(|(name, _)| *name == function.name).map(|(_, about)| *about);
        page.push_str(&format!(
            "\n## {}\n\n`{}({})` → {}\n\n{}\n\n",
            function.name,
            function.name,
            function.arguments,
            function.result,
            about.unwrap_or_default()
        ));
        if let Some(package) = function.package() {
            page.push_str(&format!("- Package: `require(\"{package}\")`\n"));
        }
        page.push_str(&format!("- Phases: {}\n- Object: {}\n", phases(function), objects(function)));
    }
    page
}

#[test]
fn every_function_is_described_and_nothing_else() {
    let described: Vec<&str> = ABOUT.iter().map(|(name, _)| *name).collect();
    let known: Vec<&str> = FUNCTIONS.iter().map(|function| function.name).collect();
    assert_eq!(described, known);
}

#[test]
fn the_page_says_what_the_table_says() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/policy/lua.md");
    if std::env::var_os("POSTFLEET_WRITE_PAGES").is_some() {
        std::fs::write(&path, page()).expect("a page that can be written");
    }
    let found = std::fs::read_to_string(&path).unwrap_or_default();
    let hint = "POSTFLEET_WRITE_PAGES=1 cargo test -p postfleet-lua -p postfleet-sieve page writes it anew";
    assert!(found == page(), "docs/policy/lua.md is not what the table says; {hint}");
}

/// The table at the end of the policy document: function, object with access, phases. `any` is every phase of a session;
/// where no client is needed, `init` too.
const DOCUMENT: &[(&str, &str, &str)] = &[
    ("msys.audit.connections", "monitors, connect (reads own); metrics/connect (reads global)", "any"),
    ("msys.audit.receptions", "monitors, reception (reads own); metrics/reception (reads global)", "any"),
    ("msys.audit.rejections", "monitors, rejection (reads own); metrics/rejection (reads global)", "any"),
    (
        "msys.audit.inbound_session_count",
        "local service tree (reads own); inbound_cidr (reads global)",
        "init, any",
    ),
    ("ac:inbound_session_count", "local service tree (reads own); inbound_cidr (reads global)", "any"),
    ("msys.audit_series.define", "named series (creates)", "init, any"),
    (
        "msys.audit_series.add",
        "metrics/audit_series or eccmgr_metrics/audit_series (writes own)",
        "init, any",
    ),
    (
        "msys.audit_series.count",
        "metrics/audit_series or eccmgr_metrics/audit_series (reads global)",
        "init, any",
    ),
    (
        "msys.audit_series.remove_item",
        "metrics/audit_series or eccmgr_metrics/audit_series (writes all)",
        "init, any",
    ),
    ("msys.gauge_cache.define", "metrics/gauge_cache (creates)", "init, any"),
    ("msys.gauge_cache.inc", "metrics/gauge_cache (writes own)", "init, any"),
    ("msys.gauge_cache.dec", "metrics/gauge_cache (writes own)", "init, any"),
    ("msys.gauge_cache.get", "metrics/gauge_cache (reads global)", "init, any"),
    ("msys.gauge_cache.remove_item", "metrics/gauge_cache (writes all)", "init, any"),
    ("msys.throttle.create", "local named throttles (creates)", "init, any"),
    ("msys.throttle.inc", "local named throttles (writes own)", "init, any"),
    ("msys.throttle.dec", "local named throttles (writes own)", "init, any"),
    ("msys.throttle.check", "local named throttles (reads own)", "init, any"),
    // There is nothing to hold at `init`.
    ("msys.throttle.tarpit", "local named throttles (reads and writes)", "any"),
    ("msys.shared_throttle.create", "shared_named_throttles (creates)", "init, any"),
    ("msys.shared_throttle.inc", "shared_named_throttles (writes all)", "init, any"),
    ("msys.shared_throttle.check", "shared_named_throttles (reads global)", "init, any"),
    ("msys.shared_throttle.tarpit", "shared_named_throttles (reads and writes)", "any"),
    ("msys.cluster_cache.get", "cache (reads global)", INBOUND),
    ("msys.cluster_cache.set", "cache (writes all)", INBOUND),
    ("msys.cluster_cache.delete", "cache (writes all)", INBOUND),
    ("msys.db.query", "Datasource cache, and cache if replicated (reads and writes)", "init, any"),
    ("msys.db.fetch_row", "Datasource cache, and cache if replicated (reads and writes)", "init, any"),
    ("msys.db.execute", "Datasource cache, and cache if replicated (reads and writes)", "init, any"),
    // After `data` it does nothing, and says so.
    ("vctx:tarpit", "–", INBOUND),
    ("vctx:set_code", "metrics/rejection (writes own)", INBOUND),
    ("vctx:disconnect", "metrics/rejection (writes own)", INBOUND),
    ("print", "–", "init, any"),
    ("msys.log", "–", "init, any"),
    ("vctx:get", "contexts (reads and writes)", "any"),
    ("vctx:set", "contexts (reads and writes)", "any"),
    ("msg:context_get", "contexts (reads and writes)", MESSAGE),
    ("msg:context_set", "contexts (reads and writes)", MESSAGE),
    ("msg:context_exists", "contexts (reads and writes)", MESSAGE),
    ("msg:context_exists_and_get", "contexts (reads and writes)", MESSAGE),
    ("msg:context_delete", "contexts (reads and writes)", MESSAGE),
];

const INBOUND: &str = "connect, ehlo, mailfrom, rcptto, data, spool, each_rcpt";
const MESSAGE: &str = "data, spool, each_rcpt, set_binding";

#[test]
fn policy_section_5_functions_objects_and_phases_are_those_of_the_document() {
    for (name, object, phase) in DOCUMENT {
        let function = FUNCTIONS.iter().find(|function| function.name == *name).expect(name);
        assert_eq!((objects(function).as_str(), phases(function).as_str()), (*object, *phase), "{name}");
    }
    let touches = |function: &&Function| function.uses.iter().any(|used| used.object != "contexts");
    for function in FUNCTIONS.iter().filter(touches) {
        let further =
            ["msg:code", "msg:discard", "msg:binding", "msg:binding_group"].contains(&function.name);
        assert!(further || DOCUMENT.iter().any(|(name, ..)| *name == function.name), "{}", function.name);
    }
}
