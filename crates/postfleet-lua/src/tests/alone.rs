//! What scripts do outside of sessions: console commands and timers.

use super::*;
use postfleet_policy::{Alarm, TimerChange};

fn words(line: &str) -> Vec<String> {
    line.split(' ').map(str::to_owned).collect()
}

fn command(model: &mut Model, program: &Arc<Program>, line: &str) -> Ending {
    finished(model, Execution::control(program, &words(line)).expect("a command of the script"))
}

#[test]
fn a_console_command_gets_its_words_and_answers_with_what_it_prints() {
    let program = load(
        "calls = 0
         local function greet(cc)
           calls = calls + 1
           print(cc.argc, cc.argv[0], cc.argv[1], cc.argv[2])
           msys.sleep(1)
           msys.log('info', 'greeted')
           print('bye')
         end
         msys.registerControl('greet', greet)
         msys.registerControl('fail', function() print('so far') error('so bad') end)
         msys.registerControl('flood', function() while true do print(('x'):rep(4000)) end end)
         msys.registerControl('session', function() vctx:get(msys.core.VCTX_MESS, 'k') end)",
    );
    assert_eq!(program.notes(), [] as [&str; 0]);
    assert_eq!(program.controls().collect::<Vec<_>>(), ["greet", "fail", "flood", "session"]);
    let mut model = Model::default();
    let ending = command(&mut model, &program, "greet big world");
    assert_eq!(ending.output, "3 greet big world\nbye\n");
    assert_eq!(ending.errors, [] as [&str; 0]);
    assert_eq!(model.asked, [Request::Sleep { ms: 1000 }]);
    assert_eq!(model.printed, [(Level::Info, "greeted".to_owned())]);
    assert_eq!(command(&mut model, &program, "greet").output, "1 greet nil nil\nbye\n");

    let failed = command(&mut model, &program, "fail");
    assert_eq!(failed.output, "so far\n");
    assert_eq!(failed.errors, ["fail: console command: test.lua:10: so bad"]);
    let flooded = command(&mut model, &program, "flood");
    assert!(flooded.output.len() <= 1 << 20, "{}", flooded.output.len());
    assert!(
        flooded.errors[0].ends_with("the command printed more than 1048576 bytes"),
        "{:?}",
        flooded.errors
    );
    let lost = command(&mut model, &program, "session");
    assert!(lost.errors[0].contains("attempt to index global 'vctx'"), "{:?}", lost.errors);
    assert!(Execution::control(&program, &words("nothing")).is_none());
    assert!(Execution::control(&program, &[]).is_none());
}

#[test]
fn commands_and_timers_reach_what_belongs_to_no_session() {
    let program = load(
        "require('msys.core') msys.registerControl('all', function()
           msys.gauge_cache.define('g', 10, 0) msys.gauge_cache.inc('g', 'k')
           print(msys.gauge_cache.get('g', 'k'), msys.asyncOk(), msys.expandMacro('x'))
           print(pcall(msys.audit.connections, '60,1', '/24'))
           print(pcall(msys.runSieveScript, 'x'))
           print(pcall(msys.timer.after, 1, print))
         end)",
    );
    let mut model = Model::default();
    model.client = None;
    let ending = command(&mut model, &program, "all");
    assert_eq!(ending.errors, [] as [&str; 0]);
    let lines: Vec<&str> = ending.output.lines().collect();
    assert_eq!(lines[0], "1 true x");
    assert!(lines[1].starts_with("false") && lines[1].contains("needs a connecting address"), "{}", lines[1]);
    assert!(lines[2].contains("'msys.runSieveScript' is not permitted in a console command"), "{}", lines[2]);
    assert!(lines[3].contains("is not permitted in a console command; it is in init"), "{}", lines[3]);
}

#[test]
fn a_command_that_is_taken_is_refused_and_the_script_goes_on() {
    let text = "local function f() end msys.registerControl('summary', f) msys.registerControl('mine', f)
         msys.registerControl('mine', f)";
    let program = Program::load(&[source(text)], &super::language::Files, small(), OnError::Continue, 2, 0);
    let program = program.unwrap_or_else(|error| panic!("{error}"));
    assert_eq!(program.controls().collect::<Vec<_>>(), ["mine"]);
    assert_eq!(
        program.notes(),
        [
            "msys.registerControl \"summary\" is refused: the console has a command of this name",
            "msys.registerControl \"mine\" is refused: it is registered already",
        ]
    );
    let bad = refused("msys.registerControl('two words', function() end)");
    assert!(bad.contains("expected 1 to 64 letters, digits, '_', '-' and '.'; got 'two words'"), "{bad}");
    let bad = refused("msys.registerControl('word', 'text')");
    assert!(bad.contains("function expected, got string"), "{bad}");
    for foreign in ["print", "coroutine.wrap(function() end)", "msys.gauge_cache.inc"] {
        let bad = refused(&format!("msys.registerControl('word', {foreign})"));
        assert!(bad.contains("function of the script expected; write function() … end around it"), "{bad}");
        let bad = refused(&format!("msys.timer.every(1, {foreign})"));
        assert!(bad.contains("bad argument #2 to 'msys.timer.every' (function of the script"), "{bad}");
    }
}

#[test]
fn what_init_sets_stays_and_what_a_command_sets_does_not() {
    let program = load(
        "local mod = {}
         function mod:init() kept = 'kept' return true end
         msys.registerModule('m', mod)
         msys.registerControl('show', function() print(kept, lost) lost = 1 end)",
    );
    let mut model = Model::default();
    let init = Execution::within(&program, 0, &[Callout::Init], "");
    assert_eq!(finished(&mut model, init).errors, [] as [&str; 0]);
    assert_eq!(command(&mut model, &program, "show").output, "kept nil\n");
    assert_eq!(command(&mut model, &program, "show").output, "kept nil\n");
}

#[test]
fn what_is_printed_has_no_control_characters() {
    let program = load("msys.registerControl('show', function() print('a\\27[2J\\tb\\nc', 'd\\r') end)");
    assert_eq!(command(&mut Model::default(), &program, "show").output, "a\\u{1b}[2J\tb\nc d\\r\n");
}

#[test]
fn a_run_that_gets_no_answer_fails_where_it_waits() {
    let program =
        load("msys.registerControl('w', function() print('before') pcall(msys.sleep, 1) print('after') end)");
    let mut model = Model::default();
    let mut execution = Execution::control(&program, &words("w")).unwrap();
    assert!(matches!(execution.step(&mut model), Step::Wait(_)));
    execution.fail(&mut model, "took more than 300 s");
    let Step::Done(ending) = execution.step(&mut model) else { panic!("it has ended") };
    assert_eq!(
        (ending.output.as_str(), &*ending.errors),
        ("before\n", &["w: console command: took more than 300 s".to_owned()][..])
    );
}

/// Runs a timer that is there.
fn fire(model: &mut Model, program: &Arc<Program>, number: u32) -> Vec<String> {
    let execution = Execution::timer(program, number).expect("a timer that is kept");
    assert_eq!(finished(model, execution).errors, [] as [&str; 0]);
    model.printed.drain(..).map(|(_, line)| line).collect()
}

#[test]
fn timers_are_made_at_the_beginning_and_in_init_and_run_while_something_refers_to_them() {
    let program = load(
        "local mod = {}
         tick = msys.timer.every(0.5, function() count = (count or 0) + 1 print('tick', count) msys.sleep(2) end, 'tick')
         msys.timer.after(10, function() print('once') end)
         msys.timer.every(10, function() end)
         function mod:init()
           mod.later = msys.timer.at(2000, function() tick:stop() mod.later:start() print(tick:name(), mod.later:name()) end)
           return true
         end
         function mod:validate_ehlo() tick:stop() print(tostring(tick), tostring(mod.later)) return 0 end
         msys.registerModule('test', mod)",
    );
    assert_eq!(
        program.timers(),
        [
            (1, TimerChange::Make(Alarm::Every(500))),
            (2, TimerChange::Make(Alarm::After(10_000))),
            (3, TimerChange::Make(Alarm::Every(10_000))),
        ]
    );
    let mut model = Model::default();
    assert_eq!(call(&mut model, &program, Callout::Init).errors, [] as [&str; 0]);
    assert_eq!(model.timers.drain(..).collect::<Vec<_>>(), [(4, TimerChange::Make(Alarm::At(2_000_000)))]);
    // What a call sets is its own, in a timer as well.
    assert_eq!(fire(&mut model, &program, 1), ["tick 1"]);
    assert_eq!(fire(&mut model, &program, 1), ["tick 1"]);
    assert_eq!(model.asked, vec![Request::Sleep { ms: 2000 }; 2]);
    assert_eq!(fire(&mut model, &program, 4), ["tick nil"]);
    assert_eq!(model.timers.drain(..).collect::<Vec<_>>(), [(1, TimerChange::Stop), (4, TimerChange::Start)]);
    assert_eq!(call(&mut model, &program, Callout::Ehlo).errors, [] as [&str; 0]);
    assert_eq!(model.printed.pop().map(|(_, line)| line).as_deref(), Some("timer tick timer 4"));
    assert_eq!(model.timers, [(1, TimerChange::Stop)]);

    program.collect();
    assert!(Execution::timer(&program, 3).is_none(), "nothing refers to it");
    assert!(Execution::timer(&program, 4).is_some());
    assert!(Execution::timer(&program, 5).is_none());
    // One that calls once is kept until it has.
    assert_eq!(fire(&mut model, &program, 2), ["once"]);
    program.collect();
    assert!(Execution::timer(&program, 2).is_none(), "it has called");
}

#[test]
fn wrong_timers_say_so() {
    let check = |text: &str, expected: &str| {
        let found = refused(&format!("local function f() end {text}"));
        assert!(found.contains(expected), "{found}");
    };
    check("msys.timer.every(0, f)", "bad argument #1 to 'msys.timer.every': expected seconds from 0.1");
    check("msys.timer.after(-1, f)", "bad argument #1 to 'msys.timer.after': expected seconds from 0");
    check("msys.timer.at('soon', f)", "bad argument #1 to 'msys.timer.at' (number expected, got string)");
    check("msys.timer.at(1, 'print')", "bad argument #2 to 'msys.timer.at' (function expected, got string)");
    check("msys.timer.at(1, print, {})", "'msys.timer.at'");
    check("local t = msys.timer.at(1, f) t.stop()", "call timer:stop() with a colon");
    check("t = {} for i = 1, 1001 do t[i] = msys.timer.after(1, f) end", "more than 1000 timers");
}

#[test]
fn a_series_that_is_defined_outside_of_init_is_told_of_once() {
    let program = load(
        "local mod = {}
         local function define() msys.audit_series.define('s', 'cidr', 300, 6) return 0 end
         mod.validate_ehlo, mod.validate_mailfrom = define, define
         function mod:init() define() return true end
         msys.registerModule('m', mod)",
    );
    let mut model = Model::default();
    for callout in [Callout::Init, Callout::Ehlo, Callout::Mailfrom, Callout::Ehlo] {
        assert_eq!(call(&mut model, &program, callout).errors, [] as [&str; 0]);
    }
    let told = "m defines an audit series in ehlo; init is the place for it".to_owned();
    assert_eq!(model.printed, [(Level::Notice, told)]);
}
