//! The suite on the carriers that this crate has.

mod scripted {
    use crate::scripted::Timing;
    use crate::suite::ScriptedRig;

    fn rig(seed: u64) -> ScriptedRig {
        ScriptedRig::new(seed, if seed.is_multiple_of(4) { Timing::PROMPT } else { Timing::UNEVEN })
    }

    crate::conformance_tests!(rig);
}

mod solo {
    use crate::suite::ScriptedRig;

    crate::conformance_tests!(ScriptedRig::solo);
}
