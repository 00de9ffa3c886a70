//! The language as its specification describes it, case by case.

use std::net::IpAddr;
use std::sync::Arc;

use postfleet_datasource::{Params, Rows, Value as Cell};
use postfleet_policy::Binding;
use postfleet_policy::model::Model;
use proptest::prelude::*;

use crate::fuzz::{SAMPLES, script};
use crate::running::{Shelf, run};
use crate::{
    Answer, Class, Disposition, ErrorMode, Event, Execution, Fault, Limits, Phase, Reply, Request,
    SCRIPT_BYTES_MAX, Script, Step,
};

/// Compiles and runs a script; the outcome's disposition.
fn check(model: &mut Model, phase: Phase, text: &str) -> Disposition {
    check_with(model, phase, text, &Shelf::default())
}

fn check_with(model: &mut Model, phase: Phase, text: &str, shelf: &Shelf) -> Disposition {
    match Script::compile("test.sieve", phase, text) {
        Ok(script) => run(model, &Arc::new(script), Limits::default(), shelf).disposition,
        Err(error) => panic!("{error}"),
    }
}

/// How long a script holds.
fn hold(model: &mut Model, script: &Arc<Script>) -> u64 {
    run(model, script, Limits::default(), &Shelf::default()).hold_ms
}

/// What a script logs.
fn logged(model: &mut Model, phase: Phase, text: &str) -> Vec<String> {
    model.logged.clear();
    let disposition = check(model, phase, text);
    assert_eq!(disposition, Disposition::End, "{:?}", model.errors);
    std::mem::take(&mut model.logged)
}

/// The value of a string after some statements.
fn value(before: &str, string: &str) -> String {
    let text = format!("{before} ec_log \"<{string}>\";");
    let lines = logged(&mut Model::default(), Phase::Mailfrom, &text);
    let [line] = lines.as_slice() else { panic!("{lines:?}") };
    line.trim_start_matches('<').trim_end_matches('>').into()
}

fn holds(test: &str) -> bool {
    let mut model = Model::default();
    check(&mut model, Phase::Mailfrom, &format!("if {test} {{ keep; }}")) == Disposition::Keep
}

fn failure(text: &str) -> String {
    let mut model = Model::default();
    assert_eq!(check(&mut model, Phase::Mailfrom, text), Disposition::Failed(Reply::policy_failure()));
    model.errors.join("|")
}

fn refused(phase: Phase, text: &str) -> String {
    match Script::compile("f.sieve", phase, text) {
        Ok(_) => panic!("this compiles: {text}"),
        Err(error) => error.to_string(),
    }
}

fn action(code: &str, text: &str) -> Disposition {
    Disposition::Action(Reply::new(code, text).expect("a valid reply"))
}

fn address(last: u8) -> IpAddr {
    IpAddr::from([192, 0, 2, last])
}

#[test]
fn policy_p01_open_connections_of_the_node_and_the_cluster() {
    let mut model = Model::default();
    model.open = [vec![(0, address(10)); 3], vec![(1, address(10)); 4]].concat();
    let text = r#"($l) = audit_service "SMTP" "/32";
($c) = audit_service "inbound_cidr" "/32";
ec_log "local ${l} cluster ${c}";"#;
    assert_eq!(logged(&mut model, Phase::Connect, text), ["local 3 cluster 7"]);
}

#[test]
fn policy_p02_open_connections_of_a_block() {
    let open = [vec![(0, address(10)); 3], vec![(1, address(10)); 4], vec![(1, address(77)); 2]].concat();
    let mut model = Model::default();
    model.open = open;
    let text = r#"$a = audit_service "inbound_cidr" "/24"; $b = audit_service "inbound_cidr" "192.0.2.77";
        $c = audit_connections_on_service "/24"; $d = audit_connections_on_listener "/32"; ec_log "${a} ${b} ${c} ${d}";"#;
    assert_eq!(logged(&mut model, Phase::Connect, text), ["9 2 3 3"]);
    assert!(failure("$a = audit_service \"smtp\" \"/24\";").ends_with("unknown service 'smtp'"));
}

#[test]
fn policy_p03_average_and_exact_sums() {
    let mut model = Model::default();
    model.now_ms = 30_000;
    model.happened(Event::Connection, address(10), 40);
    model.now_ms = 375_000;
    model.happened(Event::Connection, address(10), 10);
    let text = r#"$avg = ec_ip_connections "0" "32";
        $h = hash_create; hash_set $h "period_start" 0; $a = ec_ip_connections $h;
        hash_set $h "period_end" "1"; $b = ec_ip_connections $h;
        $i = hash_create; hash_set $i "period_start" 1; $c = ec_ip_connections $i;
        ec_log "${avg} ${a} ${b} ${c}";"#;
    assert_eq!(logged(&mut model, Phase::Connect, text), ["40 10 50 40"]);
    let backward = "$h = hash_create; hash_set $h \"period_start\" 2; hash_set $h \"period_end\" 1;";
    assert!(failure(&format!("{backward} $x = ec_ip_connections $h;")).contains("before the first"));
}

#[test]
fn policy_p06_an_unknown_monitor_fails_or_is_skipped() {
    let mut model = Model::default();
    let found = check(&mut model, Phase::Connect, "$x = ec_ip_connections \"2\" \"32\"; keep;");
    let Disposition::Failed(reply) = found else { panic!("{found:?}") };
    assert_eq!(reply.rendered(), ["451 4.3.0 temporary policy failure"]);
    assert_eq!(model.errors, ["test.sieve:1: no monitor 2; 2 are configured"]);
    let text =
        "ec_error_mode \"continue\"; $x = \"old\"; $x = ec_ip_connections \"2\" \"32\"; ec_log \"<${x}>\";";
    assert_eq!(logged(&mut model, Phase::Connect, text), ["<>"]);
}

#[test]
fn policy_p07_a_series_counts() {
    let text = r#"audit_series_add "mycounter" "1800,3" "3";
        $n = audit_series "mycounter" "1800,3" "32"; $m = audit_series "mycounter" "1800,3" "24";
        $o = audit_series "other" "1800,3" "32"; ec_log "${n} ${m} ${o}";"#;
    assert_eq!(logged(&mut Model::default(), Phase::Data, text), ["3 3 0"]);
}

#[test]
fn policy_p12_a_user_who_sends_too_much() {
    let text = r#"$user = vctx_conn_get "auth_user";
ec_gauge_cache_init "cache1" 10 300;
ec_gauge_cache_inc "cache1" "${user}";
$test = ec_gauge_cache_get "cache1" "${user}";
vctx_conn_set "seen" "${test}";
if ec_test :value "gt" :comparator "i;ascii-numeric""${test}" "10" {
  ec_action "550" "Too much spamming";
}"#;
    let mut model = Model::default();
    model.connection.insert("auth_user".into(), "alice".into());
    for run in 1..=10 {
        assert_eq!(check(&mut model, Phase::Mailfrom, text), Disposition::End, "run {run}");
    }
    assert_eq!(check(&mut model, Phase::Mailfrom, text), action("550", "Too much spamming"));
    model.now_ms += 301_000;
    assert_eq!(check(&mut model, Phase::Mailfrom, text), Disposition::End);
    assert_eq!(model.connection["seen"], "1");
}

#[test]
fn policy_p15_a_replicated_cache() {
    let mut model = Model::default();
    let text = "ec_cluster_cache_set \"mycache\" \"mykey\" \"myvalue\" \"0\"; ec_cluster_cache_set \"mycache\" \"x\" \"y\" \"2M\";
        $v = ec_cluster_cache_get \"mycache\" \"mykey\"; ec_log $v;";
    assert_eq!(logged(&mut model, Phase::Connect, text), ["myvalue"]);
    let read = "$v = ec_cluster_cache_get \"mycache\" \"x\"; ec_log \"<${v}>\";";
    model.now_ms = 119_000;
    assert_eq!(logged(&mut model, Phase::Connect, read), ["<y>"]);
    model.now_ms = 121_000;
    assert_eq!(logged(&mut model, Phase::Connect, read), ["<>"]);
    assert!(failure("$v = ec_cluster_cache_get \"nosuch\" \"x\";").contains("nosuch"));
}

#[test]
fn policy_p16_a_throttle_refuses_or_holds() {
    let text = r#"ec_throttle_create "foo" "30/1";
ec_throttle_inc "foo";
$v = ec_throttle_check "foo";
if ec_test :is $v "true" { ec_action 451 "4.7.1 later"; }"#;
    let mut model = Model::default();
    for message in 1..=30 {
        assert_eq!(check(&mut model, Phase::Mailfrom, text), Disposition::End, "message {message}");
    }
    assert_eq!(check(&mut model, Phase::Mailfrom, text), action("451", "4.7.1 later"));

    let text = "ec_throttle_create \"foo\" \"30/1\"; ec_throttle_tarpit \"foo\";";
    let script = Arc::new(Script::compile("t", Phase::Mailfrom, text).expect("it compiles"));
    let mut model = Model::default();
    let holds: Vec<u64> = (1..=31).map(|_| hold(&mut model, &script)).collect();
    assert_eq!(holds[..30], [0; 30]);
    assert_eq!(holds[30], 1000);
}

#[test]
fn policy_p17_a_shared_throttle_is_exceeded_and_forgotten() {
    let mut model = Model::default();
    let create = "ec_shared_throttle_create \"bar\" \"10/60\";";
    check(&mut model, Phase::Mailfrom, create);
    for _ in 0..11 {
        check(&mut model, Phase::Mailfrom, "ec_shared_throttle_inc \"bar\";");
    }
    let read = "$v = ec_shared_throttle_check \"bar\"; ec_log $v;";
    assert_eq!(logged(&mut model, Phase::Mailfrom, read), ["true"]);
    model.now_ms += 61_000;
    assert_eq!(check(&mut model, Phase::Mailfrom, read), Disposition::Failed(Reply::policy_failure()));
    assert_eq!(model.errors, ["test.sieve:1: no such throttle 'bar'"]);
}

#[test]
fn policy_p18_comparisons_in_scripts() {
    let numeric = |relation, a, b| {
        holds(&format!("ec_test :value \"{relation}\" :comparator \"i;ascii-numeric\" \"{a}\" \"{b}\""))
    };
    assert!(numeric("ge", "12 items", "12"));
    assert!(!numeric("gt", "9", "10"));
    assert!(!numeric("gt", "", "10"));
    assert!(numeric("gt", "55.54", "55"));
    assert!(!holds("ec_test :is \"Spam\" \"spam\""));
    assert!(holds("ec_test :is :comparator \"i;ascii-casemap\" \"Spam\" \"spam\""));
}

#[test]
fn policy_p19_a_reply_of_two_lines() {
    let mut model = Model::default();
    let found =
        check(&mut model, Phase::Mailfrom, "ec_action 550 text:\n5.7.1 first line\nsecond line\n.\n;");
    let Disposition::Action(reply) = found else { panic!("{found:?}") };
    assert_eq!(reply.rendered(), ["550-5.7.1 first line", "550 second line"]);
    let counters: Vec<_> = model.counters.into_iter().collect();
    assert_eq!(counters, [(("test.sieve:1".into(), Class::Permanent), 1)]);
}

#[test]
fn policy_p21_contexts_of_connection_and_message() {
    let mut model = Model::default();
    check(&mut model, Phase::Mailfrom, "vctx_conn_set \"a\" \"1\"; vctx_mess_set \"b\" \"2\";");
    let read = "$a = vctx_conn_get \"a\"; $b = vctx_mess_get \"b\"; ec_log \"<${a}><${b}>\";";
    assert_eq!(logged(&mut model, Phase::Mailfrom, read), ["<1><2>"]);
    model.message.clear();
    assert_eq!(logged(&mut model, Phase::Mailfrom, read), ["<1><>"]);
}

#[test]
fn policy_p22_a_list_in_a_hash_is_spread() {
    let text = r#"$h = hash_create; hash_set $h "k" ["x","y"]; ($p, $q, $r) = $h["k"]; ec_log "<${p}><${q}><${r}>";
        if isset $h "nokey" { ec_log "wrong"; } if isset $h "k" { ec_log "right"; }"#;
    assert_eq!(logged(&mut Model::default(), Phase::Connect, text), ["<x><y><>", "right"]);
}

#[test]
fn set_binding_assigns_a_copy_to_a_binding_or_to_one_of_a_group() {
    let binding = |name: &str, group: &str| Binding { name: name.into(), group: group.into() };
    let mut model = Model::default();
    model.bindings = vec![binding("b1", "g"), binding("x", "other")];
    check(&mut model, Phase::SetBinding, "ec_set_binding \"x\"; ec_set_binding \"nobody\";");
    assert_eq!(model.binding, Some(binding("x", "other")));
    check(&mut model, Phase::SetBinding, "ec_set_binding_group \"g\";");
    assert_eq!(model.binding, Some(binding("b1", "g")));
    assert!(refused(Phase::EachRcpt, "ec_set_binding \"x\";").contains("it is in set_binding"));
}

#[test]
fn policy_p23_a_function_outside_its_phases_does_not_compile() {
    let error = refused(Phase::SetBinding, "\n$v = ec_cluster_cache_get \"c\" \"k\";");
    let expected = "f.sieve:2: 'ec_cluster_cache_get' is not permitted in set_binding; it is in accept, connect, ehlo, \
                    mailfrom, rcptto, data, spool, each_rcpt";
    assert_eq!(error, expected);
    assert!(refused(Phase::Connect, "ec_log_file \"f\" \"x\";").contains("spool, each_rcpt, set_binding"));
    assert!(refused(Phase::Ehlo, "discard;").contains("rcptto, data, spool, each_rcpt"));
}

#[test]
fn compile_errors_say_what_was_expected() {
    let check = |text: &str, expected: &str| {
        let error = refused(Phase::Mailfrom, text);
        assert!(error.contains(expected), "{error}");
    };
    check("ec_lgo \"x\";", "expected a function; 'ec_lgo' is not supported; did you mean 'ec_log'?");
    check("fileinto \"x\";", "'fileinto' is not supported");
    check("keep", "expected ';' after 'keep' and its arguments, found the end of the script");
    check("ec_action 550;", "'ec_action' takes 2 to 3 arguments, found 1");
    check("ec_tarpit \"soon\";", "argument 1 of 'ec_tarpit' must be a number");
    check("hash_set \"h\" \"k\" \"v\";", "argument 1 of 'hash_set' must be a variable that holds a hash");
    check("$x = ec_log \"x\";", "'ec_log' has no result");
    check("if ec_throttle_check \"x\" { keep; }", "assign its result and test the variable");
    check("if ec_test :value \"more\" \"a\" \"b\" { keep; }", "'more' is not a relation");
    check("if ec_test :comparator \"i;basic\" \"a\" \"b\" { keep; }", "'i;basic' is not a comparator");
    check("if ec_test :is :contains \"a\" \"b\" { keep; }", "after another tag");
    check("ec_log \"%{vctx_con:x}\";", "asks for 'vctx_con'");
    check("ec_log \"x;\n", ":1: this string does not end");
    check("else { keep; }", "without an 'if'");
    check(&format!("if {}true", "not ".repeat(100_000)), "nested deeper than 64");
    check(&"if true { ".repeat(100_000), "nested deeper than 64");
    check(&format!("if {} true", "anyof (".repeat(100)), "nested deeper than 64");
    check(&" ".repeat(SCRIPT_BYTES_MAX + 1), "at most 1048576 are read");
    check("$x = 99999999999999999999;", "too large");
}

#[test]
fn strings_and_interpolation() {
    assert_eq!(value("$a = \"x\";", "${a}${none}"), "x");
    assert_eq!(value("$l = [\"a\", \"b\"];", "${l}"), "a b");
    assert_eq!(value("$n = 2K;", "${n}"), "2048");
    assert_eq!(value("vctx_conn_set \"k\" \"c\";", "%{k}%{vctx_conn:k}%{vctx_mess:k}"), "cc");
    assert_eq!(value("vctx_conn_set \"k\" \"c\"; vctx_mess_set \"k\" \"m\";", "%{k}"), "m");
    assert_eq!(value("", "%{spfv1:i}"), "192.0.2.10");
    assert_eq!(value("", "100% of $5 ${ %{"), "100% of $5 ${ %{");
    assert_eq!(value("", r#"\\ \n \""#), r#"\ n ""#);
    assert_eq!(value("$a = text:\none\n..two\n.\n;", "${a}"), "one\n.two\n");
    assert!(failure("$h = hash_create; ec_log \"${h}\";").contains("is a hash"));
}

#[test]
fn values_and_their_functions() {
    assert_eq!(value("$a = ec_add \"55.54\" 0;", "${a}"), "55.540000");
    assert_eq!(value("$a = ec_mod 7 \"4\";", "${a}"), "3");
    assert_eq!(value("$l = split \",\" \"a,b\"; $a = $l[1]; $b = $l[2];", "${a}${b}"), "b");
    assert_eq!(value("$l = ec_explode \",\" \"a,b\"; $a = join \"-\" $l;", "${a}"), "a-b");
    assert_eq!(value("($a, $b) = [\"1\", \"2\", \"3\"];", "${a}${b}"), "12");
    assert_eq!(
        value("$h = hash_create; $i = $h; hash_set $i \"k\" \"v\"; $a = hash_get $h \"k\";", "${a}"),
        "v"
    );
    let both = "$h = hash_create; hash_set $h \"k\" \"v\"; hash_set $h \"n\" 1; $k = hash_keys $h; $v = hash_values $h;";
    assert_eq!(value(both, "${k}/${v}"), "k n/v");
    assert!(failure("$x = ec_div 1 0;").contains("division by zero"));
    assert!(failure("$h = hash_create; hash_set $h 1 \"v\";").contains("must be a string"));
    let circle = "$h = hash_create; hash_set $h \"k\" $h; hash_dump $h;";
    assert_eq!(logged(&mut Model::default(), Phase::Ehlo, circle), ["k.k.k.k.k = (a hash)"]);
}

#[test]
fn tests_of_values() {
    assert!(holds("ec_test \"1\" :is \"1\"") && holds("ec_test :is [\"a\",\"b\"] [\"c\",\"b\"]"));
    assert!(holds("ec_test :count \"eq\" [\"a\",\"b\"] \"2\""));
    assert!(holds("ec_test :contains \"\" \"\"") && !holds("ec_test :contains $unset \"\""));
    assert!(holds("ec_test :is $unset \"\""));
    assert!(!holds("vctx :contains \"k\" \"\"") && holds("vctx :is \"k\" \"\""));
    assert!(
        holds("is_true \"yes\"") && holds("is_true 2") && !holds("is_true \"0\"") && !holds("is_true \"no\"")
    );
    assert!(holds("is_valid_ip \"2001:db8::1\"") && !holds("is_valid_ip \"192.0.2\""));
    assert!(holds("is_rfc821_ip \"[192.0.2.1]\"") && !holds("is_rfc821_ip \"192.0.2.1\""));
    assert!(
        holds("type :is [\"a\"] \"stringlist\"")
            && holds("type 1 :is \"number\"")
            && holds("type \"1\" \"string\"")
    );
    assert!(holds("isset [\"a\"] 0") && !holds("isset [\"a\"] 1"));
    assert!(holds("allof (true, not false, anyof (false, true))"));
}

#[test]
fn contexts_are_compared() {
    let mut model = Model::default();
    model.connection.insert("k".into(), "c".into());
    model.message.insert("k".into(), "m".into());
    let text = "if allof (vctx \"k\" \"m\", vctx_conn \"k\" \"c\", vctx_mess [\"x\", \"k\"] [\"y\", \"m\"]) { keep; }";
    assert_eq!(check(&mut model, Phase::Data, text), Disposition::Keep);
}

#[test]
fn tests_of_messages() {
    let mut model = Model::default();
    model.from = vec!["a+b@example.org".into()];
    model.to = vec!["x@example.net".into()];
    let fields = [("Subject", "Buy now"), ("From", "A <a@example.org>")];
    model.headers = Some(fields.map(|(name, value)| (name.into(), value.into())).to_vec());
    let mut check = |test: &str, expected: bool| {
        let found = check(&mut model, Phase::Data, &format!("if {test} {{ keep; }}")) == Disposition::Keep;
        assert_eq!(found, expected, "{test}");
    };
    check("header :contains \"subject\" \"Buy\"", true);
    check("header :matches [\"subject\"] \"* later\"", false);
    check("header :count \"eq\" \"to\" \"0\"", true);
    check("address :domain \"from\" \"example.org\"", true);
    check("envelope :user \"from\" \"a\"", true);
    check("envelope :detail \"from\" \"b\"", true);
    check("envelope \"to\" \"x@example.org\"", false);
    check("exists [\"from\", \"subject\"]", true);
    check("exists [\"from\", \"to\"]", false);
    check("size :over 1K", false);
    check("size :under 1K", true);
    let text = "$d = envelope :domain \"from\"; $a = envelope \"to\"; ec_log \"${d} ${a}\";";
    assert_eq!(logged(&mut model, Phase::Data, text), ["example.org x@example.net"]);
    assert!(refused(Phase::Mailfrom, "if size :over 1K { keep; }").contains("not permitted in mailfrom"));
}

#[test]
fn branches_take_one_way() {
    let text = |n: &str| {
        format!(
            "$n = \"{n}\"; if ec_test $n \"1\" {{ ec_log \"a\"; }} elsif ec_test $n \"2\" {{ ec_log \"b\"; }} else {{ ec_log \"c\"; }} ec_log \"d\";"
        )
    };
    for (n, expected) in [("1", "a"), ("2", "b"), ("3", "c")] {
        assert_eq!(logged(&mut Model::default(), Phase::Ehlo, &text(n)), [expected, "d"]);
    }
    let broken = "ec_error_mode \"continue\"; if ec_test :regex \"x\" \"(\" { ec_log \"a\"; } else { ec_log \"b\"; } ec_log \"c\";";
    assert_eq!(logged(&mut Model::default(), Phase::Ehlo, broken), ["c"]);
}

#[test]
fn terminal_actions_end_the_script() {
    let check = |text: &str, expected: Disposition, counter: Option<(&str, Class)>| {
        let mut model = Model::default();
        assert_eq!(check(&mut model, Phase::Data, &format!("{text} ec_log \"after\";")), expected);
        assert!(model.logged.is_empty());
        let counted: Vec<_> = model.counters.keys().map(|(name, class)| (name.as_str(), *class)).collect();
        assert_eq!(counted, counter.into_iter().collect::<Vec<_>>());
    };
    let own = "test.sieve:1";
    check("keep;", Disposition::Keep, Some((own, Class::Informational)));
    check("stop;", Disposition::Stop, None);
    check(
        "ec_discard \"why\";",
        Disposition::Discard { reason: Some("why".into()) },
        Some(("why", Class::Informational)),
    );
    check("reject \"no\";", Disposition::Reject { text: "no".into() }, Some((own, Class::Permanent)));
    check(
        "redirect \"a@b\";",
        Disposition::Redirect { address: "a@b".into() },
        Some((own, Class::Informational)),
    );
    check("ec_action 451 \"x\" \"rate:x\";", action("451", "x"), Some(("rate:x", Class::Temporary)));
    let closed = Disposition::Disconnect(Reply::new("421", "bye").expect("a valid reply"));
    check("ec_disconnect \"421\" \"bye\";", closed, Some((own, Class::Temporary)));
    assert!(failure("ec_action 350 \"x\";").contains("'350' is not a reply code"));
    assert!(failure("ec_action 5500 \"x\";").contains("not a reply code"));
    assert_eq!(Reply::new("550", "a\r\nb\rc\r\n").expect("a valid reply").rendered(), ["550-a", "550 bc"]);
}

#[test]
fn holds_add_up_while_there_is_a_session() {
    let run = |phase| {
        let text = "ec_shared_throttle_create \"t\" \"1/60\"; ec_shared_throttle_tarpit \"t\"; \
                    ec_shared_throttle_tarpit \"t\"; ec_tarpit 2; ec_tarpit \"3\" \"slow\";";
        let script = Arc::new(Script::compile("t", phase, text).expect("it compiles"));
        let mut model = Model::default();
        (hold(&mut model, &script), model.errors.len(), model.asked.len())
    };
    assert_eq!(run(Phase::Data), (65_000, 0, 2));
    assert_eq!(run(Phase::Spool), (0, 2, 0));
}

#[test]
fn queries_wait_for_their_answers() {
    let text = "$r = ds_fetch \"db\" \"SELECT a, b\" [\"x\"]; ec_log \"${r}\";";
    let script = Arc::new(Script::compile("t", Phase::Data, text).expect("it compiles"));
    let mut model = Model::default();
    let mut execution = Execution::new(&script, ErrorMode::Fail, Limits::default());
    let params = Params::Positional(vec![Cell::Text("x".into())]);
    let request = Request::Query {
        cache: "db".into(),
        query: "SELECT a, b".into(),
        params,
        execute: false,
        fresh: false,
    };
    assert_eq!(execution.step(&mut model), Step::Wait(request.clone()));
    assert_eq!(execution.step(&mut model), Step::Wait(request));
    let row = vec![Cell::Integer(1), Cell::Text("two".into())];
    execution.resume(Answer::Rows(Rows {
        columns: vec!["a".into(), "b".into()],
        rows: vec![row.clone(), row.clone()],
    }));
    assert!(matches!(execution.step(&mut model), Step::Done(_)));
    assert_eq!(model.logged, ["1 two"]);

    model.rows = Ok(Rows { columns: vec!["a".into(), "b".into()], rows: vec![row.clone(), row] });
    let text = "$h = ds_fetch_hash \"db\" \"q\"; $b = $h[\"b\"]; $f = ds_fetch_flat \"db\" \"q\"; ec_log \"${b}/${f}\";
        $p = hash_create; hash_set $p \"n\" 1; ds_execute \"db\" \"q\" $p;";
    assert_eq!(logged(&mut model, Phase::Data, text), ["two/1 two 1 two"]);
    let last = model.asked.last();
    let named = Params::Named([("n".into(), Cell::Integer(1))].into());
    assert_eq!(
        last,
        Some(&Request::Query {
            cache: "db".into(),
            query: "q".into(),
            params: named,
            execute: true,
            fresh: false
        })
    );

    model.rows = Err(Fault::new("away"));
    let text = "$r = ds_fetch \"db\" \"q\"; ec_log \"<${r}>%{vctx_conn:datasource_error}\";";
    assert_eq!(logged(&mut model, Phase::Data, text), ["<>away"]);
    model.rows = Ok(Rows::default());
    assert_eq!(logged(&mut model, Phase::Data, text), ["<>"]);
}

#[test]
fn included_scripts_share_variables_and_end_the_phase() {
    let mut model = Model::default();
    let mut shelf = Shelf::default();
    let mut add = |name: &str, phase, text: &str| {
        let script = Script::compile(name, phase, text).expect("it compiles");
        shelf.0.insert(name.into(), Arc::new(script));
    };
    add("log", Phase::Data, "ec_log \"${x} ${args}\";");
    add("stop", Phase::Data, "stop;");
    add("other", Phase::Ehlo, "stop;");
    add("again", Phase::Data, "ec_include \"again\";");
    let text = "$x = \"1\"; ec_include \"log\" [\"a\", \"b\"]; ec_include \"stop\"; ec_log \"after\";";
    assert_eq!(check_with(&mut model, Phase::Data, text, &shelf), Disposition::Stop);
    assert_eq!(model.logged, ["1 a b"]);
    for (name, expected) in
        [("missing", "no script"), ("other", "compiled for ehlo"), ("again", "more than 16 scripts")]
    {
        model.errors.clear();
        let found = check_with(&mut model, Phase::Data, &format!("ec_include \"{name}\";"), &shelf);
        assert_eq!(found, Disposition::Failed(Reply::policy_failure()));
        assert!(model.errors.iter().any(|error| error.contains(expected)), "{:?}", model.errors);
    }
}

#[test]
fn bounds_of_a_run() {
    let mut model = Model::default();
    let twice = "$x = \"0123456789\"; $x = \"${x}${x}\"; ".to_owned() + &"$x = \"${x}${x}\"; ".repeat(30);
    assert_eq!(check(&mut model, Phase::Data, &twice), Disposition::Failed(Reply::policy_failure()));
    assert!(model.errors[0].contains("at most 1048576 are kept"), "{:?}", model.errors);

    let script = |text: &str| Arc::new(Script::compile("self", Phase::Data, text).expect("it compiles"));
    let endless =
        script("ec_error_mode \"continue\"; ec_include \"self\"; ec_include \"self\"; $x = ec_div 1 0;");
    let shelf = Shelf([("self".into(), Arc::clone(&endless))].into());
    model.errors.clear();
    assert_eq!(run(&mut model, &endless, Limits::default(), &shelf).disposition, Disposition::End);
    assert!(model.errors.last().is_some_and(|error| error.contains("more than 100000 steps")));
    assert_eq!(model.errors.len(), 22, "twenty errors, a word about the others, the end");

    let tight = Limits { total_bytes_max: 64, ..Limits::default() };
    let text = "$x = \"0123456789\"; ".repeat(10);
    for (mode, expected) in
        [("continue", Disposition::End), ("fail", Disposition::Failed(Reply::policy_failure()))]
    {
        let text = format!("ec_error_mode \"{mode}\"; {text} keep;");
        assert_eq!(run(&mut model, &script(&text), tight, &Shelf::default()).disposition, expected);
    }

    // Hashes may lead in circles; what is shown of them has an end.
    let circle = "$h = hash_create; ".to_owned()
        + &(0..60).map(|at| format!("hash_set $h \"{at}\" $h; ")).collect::<String>()
        + "hash_dump $h;";
    let lines = logged(&mut model, Phase::Data, &circle);
    assert_eq!((lines.len(), lines.last().map(String::as_str)), (1001, Some("…")));
}

#[test]
fn every_sample_compiles_in_data() {
    for sample in SAMPLES {
        assert_eq!(Script::compile("sample", Phase::Data, sample).map(|_| ()), Ok(()), "{sample}");
    }
}

proptest! {
    #[test]
    fn changed_samples_never_panic(
        sample in 0..SAMPLES.len(),
        phase in 0_u8..9,
        edits in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>(), 0_u8..3), 0..6),
        cut in any::<prop::sample::Index>(),
    ) {
        let marks = b"\"${}()[];:,%\\/*#\n. \xc3\xa9ak0";
        let mut bytes = vec![phase];
        bytes.extend_from_slice(SAMPLES[sample].as_bytes());
        for (at, mark, how) in edits {
            let at = 1 + at.index(bytes.len() - 1);
            let mark = marks[usize::from(mark) % marks.len()];
            match how {
                0 => bytes[at] = mark,
                1 => bytes.insert(at, mark),
                _ if bytes.len() > 2 => { bytes.remove(at); }
                _ => {}
            }
        }
        let all = bytes.len();
        script(&bytes);
        script(&bytes[..1 + cut.index(all - 1)]);
    }

    #[test]
    fn any_text_never_panics(phase in 0_u8..9, text in "\\PC{0,200}") {
        let mut bytes = vec![phase];
        bytes.extend_from_slice(text.as_bytes());
        script(&bytes);
    }
}

#[test]
fn a_run_that_waits_can_be_taken_up_by_another_thread() {
    fn check<T: Send>() {}
    check::<Execution>();
    check::<Script>();
}
