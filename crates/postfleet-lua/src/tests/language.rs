//! The language: what it offers, what it refuses, and where it ends.

use super::*;

#[test]
fn blocks_are_understood_and_refused() {
    let mut model = Model::default();
    init(
        &mut model,
        "msys.audit_series.define('s', 'cidr', 60, 5) msys.audit_series.define('s6', 'cidr_ipv6', 60, 5)",
    );
    let text = "for _, a in ipairs({'192.0.2.10', '192.0.2.200'}) do msys.audit_series.add('s', a) end \
        msys.audit_series.add('s6', '[2001:db8::1]') \
        print(msys.audit_series.count('s', '192.0.2.0/25'), msys.audit_series.count('s', '/24'), \
              msys.audit_series.count('s6', '[2001:db8::]/32'), msys.audit_series.count('s', '::ffff:192.0.2.10'))";
    assert_eq!(printed(&mut model, text), ["1 2 1 1"]);
    for (block, expected) in [
        ("'192.0.2.0/33'", "mask 33 is longer than an address of 32 bits"),
        ("'/33'", "mask 33 is longer than an address of 32 bits"),
        ("'host'", "'host' is no block"),
        ("'192.0.2.0/-1'", "is no block"),
        ("'/'", "is no block"),
        ("7", "a integer is no block"),
    ] {
        let error = failure(&mut model, Callout::Mailfrom, &format!("msys.audit_series.count('s', {block})"));
        assert!(error.contains(expected), "{block}: {error}");
    }
    let errors = init(&mut model, "msys.audit_series.add('s')");
    assert!(errors[0].contains("needs a connecting address, and there is none here"), "{errors:?}");
}

#[test]
fn wrong_arguments_name_function_and_place() {
    let check = |text: &str, expected: &str| {
        let error = failure(&mut Model::default(), Callout::Mailfrom, text);
        assert_eq!(error, format!("test: validate_mailfrom: test.lua:2: {expected}"), "{text}");
    };
    check(
        "msys.audit.connections()",
        "bad argument #1 to 'msys.audit.connections' (string expected, got no value)",
    );
    check(
        "msys.audit.connections('300,6', {cluster='yes'})",
        "bad option 'cluster' of 'msys.audit.connections' (boolean expected, got string)",
    );
    check(
        "msys.audit.connections('300,6', {cluter=true})",
        "'msys.audit.connections' has no option 'cluter'; it has startv, endv, cidr, cluster",
    );
    check("vctx:set_code(99, 'x')", "'99' is not a reply code; expected three digits, the first 2, 4 or 5");
    check("vctx.set_code(vctx, 250)", "bad argument #2 to 'vctx:set_code' (string expected, got no value)");
    check("vctx.set_code(550, 'x')", "call vctx:set_code(…) with a colon");
    check(
        "msys.log('loud', 'x')",
        "bad argument #1 to 'msys.log': expected debug, info, notice, warning, error or critical",
    );
    check("msys.sleep(-1)", "bad argument #1 to 'msys.sleep': expected seconds from 0 to 300");
    check("msg = nil msys.throttle.create('a', 'b')", "'b' is not a rate");
    check("vctx.x = 1", "'vctx' has no fields of its own; use a context");
    check(
        "msys.timer.after(1, print)",
        "'msys.timer.after' is not permitted in mailfrom; it is in init, the beginning of a script",
    );
    check("msys.timer.after(1)", "bad argument #2 to 'msys.timer.after' (function expected, got no value)");
}

#[test]
fn every_function_is_refused_outside_its_phases() {
    for callout in [Callout::Connect, Callout::Rcptto, Callout::Spool, Callout::SetBinding] {
        for function in FUNCTIONS.iter().filter(|function| !function.is_permitted(callout.phase())) {
            if function.phases.shown().is_empty() {
                continue;
            }
            let called = match function.name.split_once(':') {
                Some(("ac", method)) => format!("A:{method}()"),
                Some((object, method)) => format!("{}:{method}()", object.to_uppercase()),
                None => format!("{}()", function.name),
            };
            // The objects are the same in all callouts.
            let text = format!(
                "local mod = {{}} local A, VCTX, MSG function mod:validate_data(msg, accept, vctx) A, VCTX, MSG = accept, vctx, msg \
                 return 0 end function mod:{}(...) {called} return 0 end msys.registerModule('test', mod)",
                callout.name()
            );
            let program = load(&text);
            let mut model = Model::default();
            call(&mut model, &program, Callout::Data);
            let errors = call(&mut model, &program, callout).errors.join("|");
            assert!(
                errors.contains("is not permitted in"),
                "{} in {}: {errors}",
                function.name,
                callout.name()
            );
        }
    }
}

#[test]
fn errors_in_every_callout_stop_no_mail() {
    for callout in Callout::ALL {
        let mut model = Model::default();
        model.to = vec!["a@example.org".into()];
        let ending = run(&mut model, callout, "local x = nil; x.y = 1");
        assert_eq!(ending.outcome.disposition, Disposition::End, "{callout:?}");
        assert!(!ending.ends_phase);
        let expected =
            format!("test: {}: test.lua:2: attempt to index local 'x' (a nil value)", callout.name());
        assert_eq!(ending.errors, [expected]);
        assert_eq!(model.printed.len(), 2);
    }
}

#[test]
fn loops_recursion_and_memory_end() {
    let check = |text: &str, expected: &str| {
        let error = failure(&mut Model::default(), Callout::Mailfrom, text);
        assert!(error.contains(expected), "{text}: {error}");
        let placed = error.contains("test.lua:");
        assert!(placed || ["not enough memory", "stack overflow"].contains(&expected), "{error}");
    };
    check("while true do end", "took too many instructions");
    check("local function f() return f() end f()", "took too many instructions");
    check("local function f() return 1 + f() end f()", "stack overflow");
    // Nothing catches the end.
    check("while true do pcall(function() while true do end end) end", "took too many instructions");
    check(
        "while true do xpcall(function() while true do end end, function() end) end",
        "took too many instructions",
    );
    check(
        "while true do coroutine.wrap(function() while true do end end)() end",
        "took too many instructions",
    );
    check(
        "while true do coroutine.resume(coroutine.create(function() while true do end end)) end",
        "too many instructions",
    );
    check("local s = 'x' while true do s = s .. s end", "not enough memory");
    check("local s = string.rep('x', 1e9)", "not enough memory");
    check("local t = {} for i = 1, 1e9 do t[i] = {} end", "");
    check(
        "string.find(string.rep('a', 300), string.rep('a-', 25) .. 'b')",
        "the pattern took too many steps",
    );
    check("for i = 1, 1e9 do string.find('aaaa', 'b') end", "took too many instructions");
    check("string.gsub('x', 'x', function() return {} end)", "invalid replacement value (a table)");
    check("table.sort({3, 1, 2}, function() while true do end end)", "took too many instructions");
    check(
        "setmetatable({}, {__index = function() while true do end end}).x = 1 local y = setmetatable({}, {__index = function() while true do end end}).x",
        "too many instructions",
    );
}

#[test]
fn an_interpreter_serves_on_after_it_ran_out_of_memory() {
    let program = load(&body(
        Callout::Mailfrom,
        "if str == 'argument' and not BIG then local s = 'x' while true do s = s .. s end end",
    ));
    let mut model = Model::default();
    for _ in 0..20 {
        let ending = call(&mut model, &program, Callout::Mailfrom);
        assert!(ending.errors[0].contains("not enough memory"), "{:?}", ending.errors);
    }
    // Many small things, whether the script catches the error or not.
    let fill = "local t = {} while true do t[#t + 1] = { #t } end";
    for fault in [fill.to_owned(), format!("pcall(function() {fill} end)")] {
        let program = load(&body(
            Callout::Mailfrom,
            &format!("if FULL == nil and str == 'full' then {fault} end print('served')"),
        ));
        for round in 0..5 {
            finished(&mut model, Execution::new(&program, &[Callout::Mailfrom], "full"));
            model.printed.clear();
            let ending = call(&mut model, &program, Callout::Mailfrom);
            assert_eq!((ending.errors, model.printed.len()), (Vec::new(), 1), "{fault} {round}");
        }
    }
    let program = load(&body(Callout::Mailfrom, "local ok, e = pcall(string.rep, 'x', 1e9) print(ok, e)"));
    call(&mut model, &program, Callout::Mailfrom);
    assert_eq!(model.printed.last().map(|(_, line)| line.as_str()), Some("false not enough memory"));
}

#[test]
fn nothing_but_the_host_can_be_reached() {
    for name in [
        "io",
        "debug",
        "package",
        "dofile",
        "loadfile",
        "load",
        "loadstring",
        "module",
        "getfenv",
        "setfenv",
        "newproxy",
        "jit",
        "ffi",
        "string.dump",
        "os.execute",
        "os.exit",
        "os.remove",
        "os.getenv",
        "gcinfo",
    ] {
        assert_eq!(value(&format!("tostring({name})")), "nil", "{name}");
    }
    assert_eq!(value("getmetatable(''), getmetatable(_G), getmetatable(msys)"), "false false nil");
    let error = refused("require('io')");
    assert!(error.contains("module 'io' not found"), "{error}");
    let bytecode = "\u{1b}LJ\u{2}";
    assert!(Program::load(&[source(bytecode)], &NoLibrary, small(), OnError::Continue, 1, 0).is_err());
}

#[test]
fn calls_share_nothing_but_what_the_module_keeps() {
    let text = "local mod = {} local kept = 0 function helper() return 'helped' end \
        function mod:validate_mailfrom(str, accept, vctx) kept = kept + 1 print(seen, kept, helper()) seen = 'yes' \
        print(seen, _G.seen) msys.sleep(0) print(seen) return msys.core.VALIDATE_CONT end msys.registerModule('test', mod)";
    let program = load(text);
    let mut model = Model::default();
    let mut first = Execution::new(&program, &[Callout::Mailfrom], "");
    let mut second = Execution::new(&program, &[Callout::Mailfrom], "");
    assert_eq!(first.step(&mut model), Step::Wait(Request::Sleep { ms: 0 }));
    assert_eq!(second.step(&mut model), Step::Wait(Request::Sleep { ms: 0 }));
    first.resume(Answer::Slept);
    second.resume(Answer::Slept);
    assert!(matches!(first.step(&mut model), Step::Done(_)));
    assert!(matches!(second.step(&mut model), Step::Done(_)));
    let lines: Vec<&str> = model.printed.iter().map(|(_, line)| line.as_str()).collect();
    assert_eq!(lines, ["nil 1 helped", "yes yes", "nil 2 helped", "yes yes", "yes", "yes"]);
}

#[test]
fn queries_wait_and_give_rows() {
    let mut model = Model::default();
    let row = |number, text: &str| vec![Cell::Integer(number), Cell::Text(text.into()), Cell::Null];
    model.rows = Ok(Rows {
        columns: vec!["id".into(), "name".into(), "none".into()],
        rows: vec![row(1, "one"), row(2, "two")],
    });
    let text = "require('msys.db') require('msys.datasource')
        for row in msys.db.query('db', 'SELECT ?', {'x', 2}) do print(row.id, row.name, row.none) end
        local row = msys.db.fetch_row('db', 'SELECT :a', {a = 'x'}, {nocache = true}) print(row.name)
        print(msys.db.execute('db', 'DELETE'))";
    assert_eq!(printed(&mut model, text), ["1 one nil", "2 two nil", "one", "true"]);
    let query = |query: &str, params, execute, fresh| Request::Query {
        cache: "db".into(),
        query: query.into(),
        params,
        execute,
        fresh,
    };
    let positional = Params::Positional(vec![Cell::Text("x".into()), Cell::Integer(2)]);
    let named = Params::Named([("a".into(), Cell::Text("x".into()))].into());
    assert_eq!(
        model.asked,
        [
            query("SELECT ?", positional, false, false),
            query("SELECT :a", named, false, true),
            query("DELETE", Params::default(), true, false)
        ]
    );
    model.rows = Err(Fault::new("away"));
    let text = "print(msys.db.query('db', 'q', {}, {raise_error=false})) \
        print(msys.db.execute('db', 'q', nil, {raise_error=false})) print(pcall(msys.db.fetch_row, 'db', 'q'))";
    assert_eq!(printed(&mut model, text), ["nil away", "false away", "false away"]);
    let error = failure(&mut model, Callout::Mailfrom, "msys.db.query('db', 'q')");
    assert!(error.ends_with("test.lua:2: away"), "{error}");
}

#[test]
fn waits_pass_through_coroutines_and_protected_calls() {
    let text = "local function each() for i = 1, 2 do msys.sleep(1) coroutine.yield(i) end end
        for i in coroutine.wrap(each) do print(i, msys.core.get_now_ts()) end
        print(pcall(function() msys.sleep(1) return 'back' end))
        print((string.gsub('a b', '%w', function(c) msys.sleep(1) return c .. c end)))
        print(setmetatable({}, {__index = function(_, key) msys.sleep(1) return key end}).field)";
    let mut model = Model::default();
    assert_eq!(printed(&mut model, text), ["1 1", "2 2", "true back", "aa bb", "field"]);
    assert_eq!(model.now_ms, 6_000);
    let error = failure(&mut Model::default(), Callout::Mailfrom, "coroutine.yield(1)");
    assert!(error.contains("coroutine.yield is for coroutines that the script made itself"), "{error}");
}

#[test]
fn a_long_computation_that_asks_the_host_is_paused() {
    let text =
        "for i = 1, 200 do for j = 1, 1000 do end vctx:get(msys.core.VCTX_CONN, 'x') end print('done')";
    let mut model = Model::default();
    assert_eq!(printed(&mut model, text), ["done"]);
    assert!(model.asked.len() > 1 && model.asked.iter().all(|request| *request == Request::Sleep { ms: 0 }));
    let text = "for i = 1, 2000 do for j = 1, 1000 do end vctx:get(msys.core.VCTX_CONN, 'x') end";
    let error = failure(&mut Model::default(), Callout::Mailfrom, text);
    assert!(error.contains("too many instructions"), "{error}");
}

#[test]
fn strings_and_their_patterns() {
    assert_eq!(value("string.find('hello world', 'o w'), string.find('a.b', '.', 1, true)"), "5 2 2");
    assert_eq!(value("('key = value'):match('^(%w+)%s*=%s*(%w+)$')"), "key value");
    assert_eq!(value("('abc'):gsub('%w', '%0%0')"), "aabbcc 3");
    assert_eq!(value("('hello world'):gsub('o', '0', 1)"), "hell0 world 1");
    assert_eq!(value("('abc'):gsub('', '-')"), "-a-b-c- 4");
    assert_eq!(value("('$name is $x'):gsub('%$(%w+)', {name = 'lua'})"), "lua is $x 2");
    assert_eq!(value("('abc'):gsub('^a', 'x')"), "xbc 1");
    assert_eq!(value("('a,b'):gsub(',', '%%')"), "a%b 1");
    assert_eq!(
        value(
            "(function() local t = {} for k, v in ('a=1, b=2'):gmatch('(%w+)=(%w+)') do t[#t+1] = k .. v end return table.concat(t, ';') end)()"
        ),
        "a1;b2"
    );
    assert_eq!(
        value("(function() local n = 0 for w in ('one two'):gmatch('%a+') do n = n + #w end return n end)()"),
        "6"
    );
    assert_eq!(
        value("('x'):rep(3), ('%d %s'):format(5, 'y'), #'abc', 10 / 2, 7 % 3, table.getn({1, 2})"),
        "xxx 5 y 3 5 1 2"
    );
    assert_eq!(value("pcall(string.find, 'a', '[a')"), "false malformed pattern (missing ']')");
    assert_eq!(value("unpack({1, 2}), bit.band(6, 3), math.mod(7, 4)"), "1 2 3");
}

#[test]
fn macros_dates_and_the_rest() {
    let mut model = Model::default();
    model.connection.insert("a".into(), "1".into());
    model.now_ms = 86_400_000;
    let text = "print(msys.expandMacro('<%{vctx_conn:a}%{a}%{none}%{spfv1:i}>'), os.date('!%Y-%m-%d'), os.time(), \
        os.time({year=1970, month=1, day=2, hour=0}), os.date('*t', 0).year, msys.asyncOk()) \
        msys.log('notice', 'said')";
    assert_eq!(printed(&mut model, text), ["<11192.0.2.10> 1970-01-02 86400 86400 1970 true", "said"]);
    let error = failure(&mut model, Callout::Mailfrom, "msys.expandMacro('%{x')");
    assert!(error.contains("has no end"), "{error}");
}

#[test]
fn the_envelope_and_the_reply_in_data() {
    let mut model = Model::default();
    model.from = vec!["s@example.org".into()];
    model.to = vec!["a@example.org".into(), "b@example.org".into()];
    model.decided = Reply::new("250", "2.0.0 ok").ok();
    let text = "require('msys.extended.message') require('msys.extended.vctx')
        print(msg:mailfrom(), table.concat(vctx:recipient_list(), ','), msg:reception_peer(), msg:reception_peer('ip'),
              msg:listener_addr('port'), msg:code())
        vctx:add_recipient({'c@example.org'}) vctx:remove_recipient('a@example.org')
        print(table.concat(vctx:recipient_list(), ','), table.concat(vctx:recipient_list('d@example.org'), ','))";
    assert_eq!(
        printed_in(&mut model, Callout::Data, text),
        [
            "s@example.org a@example.org,b@example.org 192.0.2.10:50000 192.0.2.10 25 250 2.0.0 ok",
            "b@example.org,c@example.org d@example.org"
        ]
    );
    let discard = |text: &str| run(&mut Model::default(), Callout::Data, text).outcome.disposition;
    let discarded = |reason: &str| Disposition::Discard { reason: Some(reason.into()) };
    assert_eq!(discard("msg:discard()"), discarded("550 5.7.0 discarded by policy"));
    assert_eq!(discard("msg:discard('550 5.7.1 spam')"), discarded("550 5.7.1 spam"));
    assert_eq!(discard("msg:discard('spam')"), discarded("550 5.7.1 [internal] discarded by policy"));
    assert_eq!(discard("msg:code(0, '451 4.7.1 later')"), reply("451", "4.7.1 later"));
    assert_eq!(
        discard("vctx:disconnect(421, 'a\\nb')"),
        Disposition::Disconnect(Reply::new("421", "a\nb").expect("good"))
    );
}

#[test]
fn modules_are_called_in_their_order_until_one_is_done() {
    let module = |name: &str, returned: &str| Source {
        name: name.into(),
        file: format!("{name}.lua"),
        text: format!(
            "local m = {{}} function m:validate_ehlo(str, accept, vctx) print('{name}', str) vctx:set_code(250, '{name}') \
             return msys.core.{returned} end msys.registerModule('{name}', m)"
        ),
    };
    let sources = [module("a", "VALIDATE_CONT"), module("b", "VALIDATE_DONE"), module("c", "VALIDATE_CONT")];
    let program = Program::load(&sources, &NoLibrary, small(), OnError::Continue, 2, 0).expect("it loads");
    assert_eq!(program.modules().collect::<Vec<_>>(), ["a", "b", "c"]);
    assert!(program.listens(Callout::Ehlo) && !program.listens(Callout::Data));
    let mut model = Model::default();
    let ending =
        finished(&mut model, Execution::new(&Arc::new(program), Callout::of(Phase::Ehlo), "client.example"));
    assert_eq!(ending.outcome.disposition, reply("250", "b"));
    assert!(ending.ends_phase);
    let lines: Vec<&str> = model.printed.iter().map(|(_, line)| line.as_str()).collect();
    assert_eq!(lines, ["a client.example", "b client.example"]);
}

#[test]
fn something_pending_is_called_again() {
    let text = "local m = {} local n = 0 function m:validate_data(msg, accept, vctx) n = n + 1 \
        if n < 3 then return msys.core.VALIDATE_AGAIN end print(n) return msys.core.VALIDATE_CONT end \
        function m:validate_set_binding(msg) return msys.core.VALIDATE_AGAIN end msys.registerModule('test', m)";
    let program = load(text);
    let mut model = Model::default();
    call(&mut model, &program, Callout::Data);
    assert_eq!((model.printed[0].1.as_str(), model.now_ms), ("3", 200));
    let ending = call(&mut model, &program, Callout::SetBinding);
    assert!(
        ending.errors[0].contains("illegal return value 2; expected msys.core.VALIDATE_CONT, VALIDATE_DONE")
    );
}

#[test]
fn the_list_of_recipients_is_shown_entry_by_entry() {
    let text = "local m = {} function m:validate_rcptto_list(node, vctx) print(node.address) return 0 end \
        function m:validate_rcptto_list_final(node, vctx) print('final') return 0 end \
        function m:validate_data(msg, accept, vctx) print('data') return 0 end msys.registerModule('test', m)";
    let mut model = Model::default();
    model.to = vec!["a@example.org".into(), "b@example.org".into()];
    let ending = finished(&mut model, Execution::new(&load(text), Callout::of(Phase::Data), ""));
    assert_eq!(ending.errors, Vec::<String>::new());
    let lines: Vec<&str> = model.printed.iter().map(|(_, line)| line.as_str()).collect();
    assert_eq!(lines, ["a@example.org", "b@example.org", "final", "data"]);
}

pub(super) struct Files;

impl Library for Files {
    fn module(&self, name: &str) -> Result<Option<Source>, String> {
        let text = match name {
            "helper" => "local h = {} function h.greet() return 'hello' end return h",
            "broken" => "local x = = 1",
            "loop" => "require('loop')",
            "away" => return Err("cannot be read: permission denied".into()),
            _ => return Ok(None),
        };
        Ok(Some(Source { name: name.into(), file: format!("{name}.lua"), text: text.into() }))
    }

    fn is_command(&self, word: &str) -> bool {
        word == "summary"
    }
}

#[test]
fn scripts_are_loaded_or_refused_with_their_place() {
    let load = |text: &str| Program::load(&[source(text)], &Files, small(), OnError::Continue, 1, 0);
    let program =
        load("print(require('helper').greet(), require('helper') == require('helper'))").expect("it loads");
    assert_eq!(program.notes()[0], "hello true");
    assert!(program.notes()[1].contains("registers no module"), "{:?}", program.notes());
    let refused = |text: &str| load(text).err().map(|error| error.to_string()).unwrap_or_default();
    assert_eq!(refused("local x = 1\nlocal y = = 2"), "test.lua:2: unexpected symbol near '='");
    assert_eq!(refused("require('broken')"), "broken.lua:1: unexpected symbol near '='");
    assert_eq!(refused("require('loop')"), "loop.lua:1: module 'loop' requires itself");
    assert!(refused("require('away')").ends_with("permission denied"));
    assert!(refused("\nrequire('none')").starts_with("test.lua:2: module 'none' not found"));
    assert!(refused("while true do end").contains("too many instructions"));
    assert!(refused("msys.audit.connections('1,1')").contains("call it in init or in a callout"));
    assert!(
        refused("msys.registerModule('a', {}) msys.registerModule('a', {})").contains("registered twice")
    );
    assert!(
        refused("msys.registerModule('a')")
            .contains("bad argument #2 to 'msys.registerModule' (table expected")
    );
    let program =
        load("#!/usr/bin/lua\nmsys.registerModule('other', { validate_nothing = 1 })").expect("it loads");
    assert_eq!(program.notes()[0], "no usable methods found for module other in registerModule call");
    assert!(program.notes()[1].contains("both names should be the same"));
}

#[test]
fn init_must_return_true() {
    let text = "local m = {} function m:init() return 1 end msys.registerModule('test', m)";
    let ending = call(&mut Model::default(), &load(text), Callout::Init);
    assert_eq!(ending.errors, ["test: init: returned 1; expected true"]);
}

#[test]
fn what_was_used_is_known() {
    let mut model = Model::default();
    printed(&mut model, "msys.audit.connections('300,6', {cluster=true}) msys.gauge_cache.define('g', 1, 1)");
    let used: Vec<(bool, &str)> =
        model.touched.iter().map(|touch| (touch.writes, touch.object.as_str())).collect();
    assert_eq!(used, [(false, "metrics/connect"), (true, "gauge_cache g")]);
}

#[test]
fn runs_can_be_taken_up_by_other_threads() {
    fn check<T: Send>() {}
    check::<Execution>();
    check::<Arc<Program>>();
    let program = load(&body(
        Callout::Mailfrom,
        "for i = 1, 50 do vctx:set(msys.core.VCTX_CONN, 'n', i) msys.sleep(0) end",
    ));
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                let mut model = Model::default();
                let ending = call(&mut model, &program, Callout::Mailfrom);
                assert_eq!((ending.errors.len(), model.connection["n"].as_str()), (0, "50"));
            });
        }
    });
}

#[test]
fn every_sample_loads() {
    for sample in SAMPLES {
        load(sample);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn changed_samples_never_panic(
        sample in 0..SAMPLES.len(),
        edits in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>(), 0_u8..3), 0..6),
    ) {
        let marks = b"\"'(){}[]=,.:;%~#\n -0x";
        let mut bytes = SAMPLES[sample].as_bytes().to_vec();
        for (at, mark, how) in edits {
            let at = at.index(bytes.len());
            let mark = marks[usize::from(mark) % marks.len()];
            match how {
                0 => bytes[at] = mark,
                1 => bytes.insert(at, mark),
                _ if bytes.len() > 2 => { bytes.remove(at); }
                _ => {}
            }
        }
        script(&bytes);
    }
}
