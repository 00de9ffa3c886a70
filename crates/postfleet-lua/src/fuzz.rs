//! Entry point for the fuzzer, also run by a property of the tests.

use std::sync::Arc;
use std::time::Duration;

use postfleet_policy::model::Model;

use crate::{Callout, Ending, Execution, Limits, NoLibrary, OnError, Program, Source, Step};

/// Scripts that ask for everything, to be cut and changed.
pub const SAMPLES: &[&str] = &[
    "local m = {} function m:init() msys.audit_series.define('s', 'string', 60, 5, {replicate='cluster'}) return true end
     function m:validate_mailfrom(str, accept, vctx) msys.audit_series.add('s', {key=str, count=2}) \
     local n = msys.audit_series.count('s', {key=str, startv=0, endv=1}) vctx:set(msys.core.VCTX_CONN, 'n', n) \
     if n > 3 then vctx:set_code(451, '4.7.1 ' .. n) return msys.core.VALIDATE_DONE end return msys.core.VALIDATE_CONT end \
     msys.registerModule('test', m)",
    "local m = {} function m:validate_connect(accept, vctx) local n = msys.audit.connections('300,6', {cidr='/24', cluster=true}) \
     n = n + accept:inbound_session_count('192.0.2.0/24', 'SMTP') vctx:tarpit(n / 2) return 0 end msys.registerModule('test', m)",
    "local m = {} function m:validate_data(msg, accept, vctx) msys.gauge_cache.define('g', 10, 60, true) \
     print(msys.gauge_cache.inc('g', 'k'), msys.cluster_cache.get('mycache', 'x')) msys.cluster_cache.set('mycache', 'x', 'y', '2M') \
     for row in msys.db.query('db', 'SELECT ?', {1, 'x'}) do print(row[1]) end vctx:recipient_list({'a@x'}) msg:discard('550 x') \
     print(pcall(msys.throttle.tarpit, 'none'), msg:code(), msg:reception_peer('ip')) return 0 end msys.registerModule('test', m)",
    "local m = {} function m:validate_ehlo(s, accept, vctx) print((s:gsub('%w+', function(w) return w:upper() end)), \
     s:find('(a*)(b-)$'), s:match('%f[%w](%w+)%1'), msys.expandMacro('%{vctx_conn:a}'), os.date('%c', 0)) \
     local co = coroutine.wrap(function() msys.sleep(1) coroutine.yield(1) end) co() return 0 end msys.registerModule('test', m)",
];

/// Runs to the end, answering at once what is waited for.
pub(crate) fn finished(model: &mut Model, mut execution: Execution) -> Ending {
    loop {
        match execution.step(model) {
            Step::Done(ending) => return ending,
            Step::Wait(request) => execution.resume(model.answer(request)),
        }
    }
}

/// Loads a text, and calls what it registers.
///
/// # Panics
/// If the script or a run does not keep what the crate promises.
pub fn script(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes).into_owned();
    let source = Source { name: "test".to_owned(), file: "fuzz.lua".to_owned(), text };
    let limits =
        Limits { slice_max: 20_000, call_max: 60_000, time_max: Duration::from_secs(5), memory_max: 4 << 20 };
    let Ok(program) = Program::load(&[source], &NoLibrary, limits, OnError::Continue, 1, 0) else { return };
    let program = Arc::new(program);
    let mut model = Model::default();
    model.to = vec!["a@example.org".to_owned()];
    for callout in Callout::ALL {
        model.phase = callout.phase();
        let ending = finished(&mut model, Execution::new(&program, &[callout], "aab b"));
        let holds = callout.phase().is_some_and(postfleet_policy::Phase::holds_a_session);
        assert!(holds || ending.outcome.hold_ms == 0, "held where there is no session");
        assert_eq!(
            model.printed.iter().filter(|(_, line)| line.len() > 5_000).count(),
            0,
            "a line without bound"
        );
    }
}
