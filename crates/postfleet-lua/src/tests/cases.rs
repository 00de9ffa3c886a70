//! The acceptance cases of policy, in Lua.

use super::*;

#[test]
fn policy_p01_and_p02_open_connections_in_lua() {
    let mut model = Model::default();
    model.open = [vec![(0, address(10)); 3], vec![(1, address(10)); 4], vec![(1, address(77)); 2]].concat();
    let text = r#"require("msys.audit") require("msys.extended.ac")
        print(msys.audit.inbound_session_count("/32", "SMTP"), msys.audit.inbound_session_count("/32", "inbound_cidr"),
              msys.audit.inbound_session_count("/24", "inbound_cidr"),
              msys.audit.inbound_session_count("192.0.2.77", "inbound_cidr"),
              accept:inbound_session_count(), accept:inbound_session_count(nil, "Control"),
              accept:inbound_session_count("192.0.2.0/24", "inbound_cidr"))"#;
    assert_eq!(printed_in(&mut model, Callout::Connect, text), ["3 7 9 2 3 0 9"]);
    let error = failure(&mut model, Callout::Connect, "msys.audit.inbound_session_count('/32', 'smtp')");
    assert_eq!(error, "test: validate_connect: test.lua:2: unknown service 'smtp'");
}

#[test]
fn policy_p04_events_of_the_node_and_of_all() {
    let mut model = Model::default();
    model.happened(Event::Connection, address(10), 5);
    model.node = 1;
    model.happened(Event::Connection, address(10), 7);
    model.node = 0;
    let text = r#"require("msys.audit") print(msys.audit.connections("300,6"),
        msys.audit.connections("300,6", {cluster=true}), msys.audit.connections("300,6", "192.0.2.0/24"),
        msys.audit.connections("300,6", accept), msys.audit.receptions("300,6"), msys.audit.rejections("300,6"))"#;
    assert_eq!(printed(&mut model, text), ["5 12 5 5 0 0"]);
}

#[test]
fn policy_p05_events_of_all_without_replication() {
    let mut model = Model::default();
    model.happened(Event::Connection, address(10), 5);
    model.replicated.clear();
    let text = "print(msys.audit.connections('300,6', {cluster=true}), msys.audit.connections('300,6', {cluster=true}))";
    assert_eq!(printed(&mut model, text), ["5 5"]);
    assert_eq!(model.warnings.len(), 1);
    assert!(model.warnings.iter().all(|warning| warning.contains("connect")));
}

#[test]
fn policy_p06_an_unknown_monitor_is_an_error_and_the_session_goes_on() {
    let mut model = Model::default();
    let error = failure(&mut model, Callout::Mailfrom, "local x = 1\nmsys.audit.connections('60,1')");
    assert_eq!(error, "test: validate_mailfrom: test.lua:3: no monitor \"60,1\" is configured");
    let lines: Vec<&str> = model.printed.iter().map(|(_, line)| line.as_str()).collect();
    assert_eq!(
        lines,
        [
            "validate_mailfrom error: test.lua:3: no monitor \"60,1\" is configured",
            "test error: test.lua:3: no monitor \"60,1\" is configured"
        ]
    );
    let program = load_with(&body(Callout::Mailfrom, "error('x')"), OnError::Fail);
    let ending = call(&mut model, &program, Callout::Mailfrom);
    assert_eq!(ending.outcome.disposition, Disposition::Failed(Reply::policy_failure()));
    assert!(ending.ends_phase);
}

#[test]
fn policy_p09_a_series_of_the_cluster() {
    let mut model = Model::default();
    let define = "msys.audit_series.define('bad', 'cidr', 300, 6, { replicate = 'cluster' })";
    assert_eq!(init(&mut model, define), Vec::<String>::new());
    let add = "require('msys.audit_series') msys.audit_series.add('bad')";
    printed(&mut model, add);
    printed(&mut model, add);
    model.node = 1;
    model.client = Some(address(200));
    printed(&mut model, add);
    model.client = Some(address(10));
    let count = "print(msys.audit_series.count('bad'), msys.audit_series.count('bad', '/24'), \
                 msys.audit_series.count('bad', { key = '192.0.2.200' }))";
    for node in [0, 1] {
        model.node = node;
        assert_eq!(printed(&mut model, count), ["2 3 1"]);
    }
    printed(&mut model, "msys.audit_series.remove_item('bad', '192.0.2.10')");
    for node in [0, 1] {
        model.node = node;
        assert_eq!(printed(&mut model, "print(msys.audit_series.count('bad', '/24'))"), ["1"]);
    }
}

#[test]
fn policy_p10_a_series_by_text() {
    let mut model = Model::default();
    init(&mut model, "msys.audit_series.define('s', 'string', 60, 5)");
    let text = "msys.audit_series.add('s', {key='k', count=5}) msys.audit_series.add('s', {key='k', count=-2}) \
                print(msys.audit_series.count('s', 'k'))";
    assert_eq!(printed(&mut model, text), ["3"]);
    let check = |model: &mut Model, call: &str, expected: &str| {
        let error = failure(model, Callout::Mailfrom, call);
        assert!(error.ends_with(expected), "{error}");
    };
    check(&mut model, "msys.audit_series.add('s')", "series 's' is counted by text: name a key");
    check(&mut model, "msys.audit_series.add('nosuch', 'k')", "audit series 'nosuch' is not defined");
    check(
        &mut model,
        "msys.audit_series.count('s', {key='k', endv=6})",
        "there are 5 beside the running one",
    );
    // Backward windows are turned round, fractions are cut.
    let text = "msys.audit_series.add('s', {key='k', count=1.9}) print(msys.audit_series.count('s', {key='k', startv=2}))";
    assert_eq!(printed(&mut model, text), ["4"]);
}

#[test]
fn policy_p11_an_address_of_the_other_family() {
    let mut model = Model::default();
    init(&mut model, "msys.audit_series.define('v4', 'cidr', 60, 5)");
    model.client = "2001:db8::1".parse().ok();
    let text = "msys.audit_series.add('v4', accept) print(msys.audit_series.count('v4'))";
    assert_eq!(printed(&mut model, text), ["0"]);
}

#[test]
fn policy_p13_a_gauge_cache_of_two_elements() {
    let text = "require('msys.gauge_cache') msys.gauge_cache.define('g', 2, 300) \
        for _, key in ipairs({'k1', 'k2', 'k1', 'k3'}) do msys.gauge_cache.inc('g', key) end \
        print(msys.gauge_cache.get('g', 'k2'), msys.gauge_cache.get('g', 'k1'), msys.gauge_cache.get('g', 'k3'))";
    assert_eq!(printed(&mut Model::default(), text), ["0 2 1"]);
    let error = failure(&mut Model::default(), Callout::Mailfrom, "msys.gauge_cache.inc('none', 'k')");
    assert!(error.ends_with("gauge cache 'none' is not defined"), "{error}");
}

#[test]
fn policy_p14_a_gauge_cache_of_the_cluster() {
    let mut model = Model::default();
    printed(
        &mut model,
        "msys.gauge_cache.define('g', 10, 300, true) msys.gauge_cache.inc('g', 'k') \
        print(msys.gauge_cache.inc('g', 'k'))",
    );
    model.node = 1;
    assert_eq!(printed(&mut model, "print(msys.gauge_cache.dec('g', 'k'))"), ["1"]);
    model.node = 0;
    let get = "print(msys.gauge_cache.get('g', 'k'))";
    assert_eq!(printed(&mut model, get), ["1"]);
    model.forget_node(1);
    assert_eq!(printed(&mut model, get), ["1"]);
    printed(&mut model, "msys.gauge_cache.remove_item('g', 'k')");
    assert_eq!(printed(&mut model, get), ["0"]);
}

#[test]
fn policy_p15_a_replicated_cache_in_lua() {
    let mut model = Model::default();
    let set = "require('msys.cluster_cache') msys.cluster_cache.set('mycache', 'mykey', 'myvalue') \
        msys.cluster_cache.set('mycache', 'x', 'y', '2M') print(msys.cluster_cache.get('mycache', 'mykey'))";
    assert_eq!(printed(&mut model, set), ["myvalue"]);
    let get = "print(msys.cluster_cache.get('mycache', 'x'))";
    model.now_ms = 119_000;
    assert_eq!(printed(&mut model, get), ["y"]);
    model.now_ms = 121_000;
    assert_eq!(printed(&mut model, get), ["nil"]);
    // The older way: a gauge cache's name that is a cache's.
    let old = "msys.gauge_cache.define('mycache', 10, 60) print(msys.gauge_cache.get('mycache', 'mykey'))";
    assert_eq!(printed(&mut model, old), ["myvalue"]);
    printed(&mut model, "msys.cluster_cache.delete('mycache', 'mykey')");
    assert_eq!(printed(&mut model, "print(msys.cluster_cache.get('mycache', 'mykey'))"), ["nil"]);
    let error = failure(&mut model, Callout::Mailfrom, "msys.cluster_cache.get('nosuch', 'x')");
    assert!(error.ends_with("no replicated cache 'nosuch'"), "{error}");
    let error = failure(&mut model, Callout::SetBinding, "msys.cluster_cache.get('mycache', 'x')");
    assert!(error.contains("not permitted in set_binding; it is in accept, connect"), "{error}");
}

#[test]
fn set_binding_assigns_a_copy_to_a_binding_or_to_one_of_a_group() {
    let binding = |name: &str, group: &str| Binding { name: name.into(), group: group.into() };
    let mut model = Model::default();
    model.bindings = vec![binding("b1", "g"), binding("x", "other")];
    let package = "require('msys.extended.message') ";
    let lines = printed_in(
        &mut model,
        Callout::SetBinding,
        &format!(
            "{package} print(msg:binding(), msg:binding_group()) print(msg:binding('x'), msg:binding_group()) \
             print(msg:binding('nobody'), msg:binding()) print(msg:binding_group('g'), msg:binding())"
        ),
    );
    assert_eq!(lines, ["nil nil", "x other", "nil x", "g b1"]);
    assert_eq!(model.binding, Some(binding("b1", "g")));
    let error = failure(&mut model, Callout::Spool, &format!("{package} msg:binding('x')"));
    assert!(error.contains("not permitted in spool; it is in set_binding"), "{error}");
}

#[test]
fn policy_p16_a_throttle_in_lua() {
    let text = "require('msys.throttle') msys.throttle.create('foo', '30/1') msys.throttle.inc('foo') \
        if msys.throttle.check('foo') then vctx:set_code(451, '4.7.1 later') end";
    let mut model = Model::default();
    let program = load(&body(Callout::Mailfrom, text));
    for message in 1..=30 {
        let ending = call(&mut model, &program, Callout::Mailfrom);
        assert_eq!(ending.outcome.disposition, Disposition::End, "message {message}");
    }
    let ending = call(&mut model, &program, Callout::Mailfrom);
    assert_eq!(ending.outcome.disposition, reply("451", "4.7.1 later"));

    let text = "msys.throttle.create('foo', '30/1') print(msys.throttle.tarpit('foo'))";
    let mut model = Model::default();
    let program = load(&body(Callout::Mailfrom, text));
    for _ in 1..=31 {
        call(&mut model, &program, Callout::Mailfrom);
    }
    assert_eq!(model.asked, [Request::Sleep { ms: 1000 }]);
    assert_eq!(model.printed.last().map(|(_, line)| line.as_str()), Some("1"));
}

#[test]
fn policy_p17_a_shared_throttle_in_lua() {
    let mut model = Model::default();
    let text = "require('msys.shared_throttle') msys.shared_throttle.create('bar', '10/60') \
        for i = 1, 11 do msys.shared_throttle.inc('bar') end print(msys.shared_throttle.check('bar'))";
    assert_eq!(printed(&mut model, text), ["true"]);
    model.now_ms = 61_000;
    let error = failure(&mut model, Callout::Mailfrom, "msys.shared_throttle.check('bar')");
    assert!(error.ends_with("no such throttle 'bar'"), "{error}");
    let error = failure(&mut model, Callout::Mailfrom, "msys.shared_throttle.create('bar', '10/60', 1)");
    assert!(
        error
            .ends_with("bad argument #3 to 'msys.shared_throttle.create': expected a number between 0 and 1")
    );
}

#[test]
fn policy_p20_a_hold_and_a_refusal_of_the_connection() {
    let mut model = Model::default();
    let text =
        "require('msys.extended.vctx') vctx:tarpit(1.5) vctx:tarpit(0.5) vctx:set_code('554', '5.7.1 no')";
    let ending = run(&mut model, Callout::Connect, text);
    assert_eq!(ending.outcome.disposition, reply("554", "5.7.1 no"));
    assert_eq!(ending.outcome.hold_ms, 2000);
    let ending = run(&mut model, Callout::Spool, "vctx:tarpit(1)");
    assert_eq!(ending.outcome.hold_ms, 0);
    assert_eq!(model.printed, [(Level::Warning, "vctx:tarpit: there is no session left to hold".into())]);
}

#[test]
fn policy_p21_contexts_in_lua() {
    let mut model = Model::default();
    printed(&mut model, "vctx:set(msys.core.VCTX_CONN, 'a', 1) vctx:set(msys.core.VCTX_MESS, 'b', 2.5)");
    assert_eq!((model.connection["a"].as_str(), model.message["b"].as_str()), ("1", "2.5"));
    model.message.clear();
    let text = "print(vctx:get(msys.core.VCTX_CONN, 'a'), vctx:get(msys.core.VCTX_MESS, 'b'))";
    assert_eq!(printed(&mut model, text), ["1 nil"]);
}

#[test]
fn policy_p24_a_callout_without_a_return() {
    let text =
        "local mod = {} function mod:validate_data(msg, accept, vctx) end msys.registerModule('test', mod)";
    let mut model = Model::default();
    let ending = call(&mut model, &load(text), Callout::Data);
    assert_eq!(ending.outcome.disposition, Disposition::End);
    let lines: Vec<&str> = model.printed.iter().map(|(_, line)| line.as_str()).collect();
    let [first, second] = lines.as_slice() else { panic!("{lines:?}") };
    assert!(first.starts_with("validate_data error: illegal return value nothing"), "{first}");
    assert!(second.starts_with("test error: illegal return value nothing"), "{second}");
}

#[test]
fn policy_p25_a_key_that_is_not_there() {
    let text = "local e, v = msg:context_exists_and_get(msys.core.ECMESS_CTX_MESS, 'none') \
        print(e, v, '<' .. msg:context_get(msys.core.ECMESS_CTX_MESS, 'none') .. '>') \
        msg:context_set(msys.core.ECMESS_CTX_CONN, 'k', 'v') \
        print(msg:context_exists(msys.core.ECMESS_CTX_CONN, 'k'), msg:context_delete(msys.core.ECMESS_CTX_CONN, 'k'), \
              msg:context_delete(msys.core.ECMESS_CTX_CONN, 'k'))";
    let lines = printed_in(&mut Model::default(), Callout::Data, text);
    assert_eq!(lines, ["0 nil <>", "1 1 0"]);
}

/// The example of section 2.1.
#[test]
fn policy_section_2_1_a_script_in_full() {
    let text = r#"
require("msys.core")
require("msys.audit")

local mod = {}

function mod:validate_mailfrom(str, accept, vctx)
  local n = msys.audit.connections("60,1", { cidr = "/24", cluster = true })
  if n > 500 then
    vctx:set_code("451", "4.7.1 slow down")
    return msys.core.VALIDATE_DONE
  end
  return msys.core.VALIDATE_CONT
end

msys.registerModule("test", mod)
"#;
    let program = load(text);
    let mut model = Model::default();
    model.monitors = postfleet_policy::model::Monitor::parse("60,1").into_iter().collect();
    model.happened(Event::Connection, address(77), 500);
    let ending = call(&mut model, &program, Callout::Mailfrom);
    assert_eq!((ending.outcome.disposition, ending.ends_phase), (Disposition::End, false));
    model.node = 1;
    model.happened(Event::Connection, address(78), 1);
    model.node = 0;
    let ending = call(&mut model, &program, Callout::Mailfrom);
    assert_eq!((ending.outcome.disposition, ending.ends_phase), (reply("451", "4.7.1 slow down"), true));
    assert_eq!(ending.errors, Vec::<String>::new());
}

/// Sleeps once, then decides.
struct Other(Option<postfleet_policy::Outcome>, bool);

impl postfleet_policy::Nested for Other {
    fn step(&mut self, host: &mut dyn postfleet_policy::Host) -> postfleet_policy::NestedStep {
        if !self.1 {
            return postfleet_policy::NestedStep::Wait(Request::Sleep { ms: 70 });
        }
        host.set_context(postfleet_policy::Context::Message, "ran", Some("yes"));
        postfleet_policy::NestedStep::Done(self.0.take().expect("one end"))
    }

    fn resume(&mut self, _: postfleet_policy::Answer) {
        self.1 = true;
    }

    fn spent(&self) -> u64 {
        7_000
    }
}

#[test]
fn a_script_of_another_language_waits_and_decides_in_its_place() {
    let mut model = Model::default();
    model.sieves = Some(|_, file| {
        let disposition = match file {
            "refuse" => reply("550", "no"),
            "fail" => Disposition::Failed(Reply::policy_failure()),
            "end" => Disposition::End,
            _ => return Err(postfleet_policy::Fault::new("no such file")),
        };
        Ok(Box::new(Other(Some(postfleet_policy::Outcome { disposition, hold_ms: 30 }), false)))
    });
    let ending = run(
        &mut model,
        Callout::Mailfrom,
        "print(msys.runSieveScript('refuse', 'mailfrom', {})) print(vctx:get(msys.core.VCTX_MESS, 'ran'))
         print(msys.runSieveScript('end')) print(msys.runSieveScript('fail')) print(msys.runSieveScript('none'))",
    );
    assert_eq!(ending.errors, Vec::<String>::new());
    assert_eq!(ending.outcome.disposition, reply("550", "no"));
    assert_eq!(ending.outcome.hold_ms, 90);
    assert_eq!(model.asked, vec![Request::Sleep { ms: 70 }; 3]);
    let printed: Vec<&str> = model.printed.iter().map(|(_, line)| line.as_str()).collect();
    let failed = "false the Sieve script ended with an error, which is in the log";
    assert_eq!(printed, ["true", "yes", "true", failed, "false no such file"]);
    assert_eq!(
        failure(&mut model, Callout::Mailfrom, "msys.runSieveScript('end', 'data')"),
        "test: validate_mailfrom: test.lua:2: bad argument #2 to 'msys.runSieveScript': expected mailfrom, where the \
         script is"
    );
}

/// Ends at once, after so many statements.
struct Busy(u64);

impl postfleet_policy::Nested for Busy {
    fn step(&mut self, _: &mut dyn postfleet_policy::Host) -> postfleet_policy::NestedStep {
        self.0 = 3_000;
        let disposition = Disposition::End;
        postfleet_policy::NestedStep::Done(postfleet_policy::Outcome { disposition, hold_ms: 0 })
    }

    fn resume(&mut self, _: postfleet_policy::Answer) {}

    fn spent(&self) -> u64 {
        self.0
    }
}

#[test]
fn what_another_language_computes_is_paused_and_bounded_with_the_script() {
    let mut model = Model::default();
    model.sieves = Some(|_, _| Ok(Box::new(Busy(0))));
    let text = "for i = 1, 10 do assert(msys.runSieveScript('x')) end print('done')";
    assert_eq!(printed(&mut model, text), ["done"]);
    // 60,000 instructions a run, 100,000 without a pause.
    assert_eq!(model.asked, vec![Request::Sleep { ms: 0 }; 5]);
    let error = failure(&mut model, Callout::Mailfrom, "while true do msys.runSieveScript('x') end");
    assert!(error.contains("too many instructions"), "{error}");
}
