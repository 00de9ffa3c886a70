//! Entry point for the fuzzer, also run by a property of the tests.

use alloc::sync::Arc;

use crate::compile::Script;
use crate::run::Limits;
use crate::running::{Shelf, run};
use postfleet_policy::Phase;
use postfleet_policy::model::Model;

/// Scripts that use the whole language, to be cut and changed.
pub const SAMPLES: &[&str] = &[
    "require [\"fileinto\"]; # comment\n($l) = audit_service \"SMTP\" \"/32\"; /* more */ ec_log \"local ${l}\";\n",
    "$h = hash_create; hash_set $h \"k\" [\"x\",\"y\"]; ($p, $q) = $h[\"k\"]; if isset $h \"k\" { keep; } else { stop; }",
    "if allof (not header :contains \"Subject\" [\"a\", \"${x}\"], anyof (true, size :over 10K)) { discard; }\n\
     elsif ec_test :value \"gt\" :comparator \"i;ascii-numeric\"\"${n}\" \"10\" { ec_action \"550\" \"no\" \"a:b\"; }",
    "ec_action 550 text:\n5.7.1 first\n..second\n.\n;",
    "ec_error_mode \"continue\"; $n = ec_add \"55.54\" 0; $s = split \",\" \"a,b,c\"; $j = join \"-\" $s; $e = $s[1];",
    "ec_throttle_create \"t\" \"3/1\"; ec_throttle_tarpit \"t\"; ec_shared_throttle_create \"u\" \"1/60\"; \
     ec_shared_throttle_tarpit \"u\"; $v = ec_shared_throttle_check \"u\";",
    "$r = ds_fetch \"db\" \"SELECT ?\" [\"%{vctx_conn:a}\"]; if ec_test :regex \"${r}\" \"^(a+)+$\" { reject \"x\"; }",
];

/// Compiles a text for the phase that the first byte names, and runs it if it compiles.
///
/// # Panics
/// If the script or the run does not keep what the crate promises.
pub fn script(bytes: &[u8]) {
    let Some((first, text)) = bytes.split_first() else { return };
    let Ok(text) = core::str::from_utf8(text) else { return };
    let all = Phase::ALL;
    let Some(phase) = all.get(usize::from(*first) % all.len()) else { return };
    match Script::compile("fuzz", *phase, text) {
        Ok(script) => {
            let limits = Limits {
                instructions_max: 2_000,
                value_bytes_max: 4_096,
                total_bytes_max: 1 << 18,
                includes_max: 4,
            };
            let script = Arc::new(script);
            let shelf = Shelf([("self".into(), Arc::clone(&script))].into());
            let first = run(&mut Model::default(), &script, limits, &shelf);
            assert!(phase.holds_a_session() || first.hold_ms == 0, "held where there is no session");
            // The same host gives the same run.
            assert_eq!(run(&mut Model::default(), &script, limits, &shelf), first);
        }
        Err(error) => {
            let lines = text.split('\n').count();
            assert!(usize::try_from(error.line).is_ok_and(|line| (1..=lines).contains(&line)), "{error}");
        }
    }
}
