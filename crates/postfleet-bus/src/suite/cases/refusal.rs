//! Who and what is refused: T33 to T35.

use super::Field;
use super::field::SOON;
use crate::event::{LostReason, Service};
use crate::notice::Severity;
use crate::suite::{Burst, What};
use core::time::Duration;

pub(super) fn duplicate_node_name(field: &mut Field<'_>) {
    let a = field.join("a", &[]);
    let b = field.join("b", &[]);
    let twin = field.start("a", &[]);
    field.set_away(twin, true);
    field.wait("the twin is refused", SOON, |f| f.trace(twin).has_lost(LostReason::Expelled));
    let told = |what: &What| match what {
        What::Notice { severity: Severity::Critical, text } => {
            text.starts_with("Node name a is already in use by 127.")
        }
        _ => false,
    };
    field.wait("it says why", SOON, |f| f.trace(twin).has(told));
    field.run(Duration::from_secs(3));
    assert!(field.trace(twin).view().is_none());
    assert_eq!(field.trace(twin).epochs().len(), 1, "it does not come again at once");
    assert!(field.are_together(&[a, b]));
    assert_eq!(field.trace(a).epochs().len(), 1);
    field.check();
}

pub(super) fn version_skew(field: &mut Field<'_>) {
    let a = field.join("a", &[]);
    let mut spec = field.spec("b", &[]);
    spec.protocol = (2, 2);
    let b = field.start_spec(&spec);
    field.set_away(b, true);
    field.wait("the newer one is refused", SOON, |f| f.trace(b).has_lost(LostReason::Expelled));
    // What members log reaches the rig when it reaches it: members may be processes.
    field.wait("both sides say why", SOON, |f| {
        f.trace(b).has_logged("This node speaks bus protocol 2 to 2, the cluster 1 to 1")
            && f.trace(a).has_logged("it speaks bus protocol 2 to 2, the cluster 1 to 1")
    });
    assert_eq!(field.trace(a).view_size(), 1);
    // One that speaks both is welcome.
    let mut spec = field.spec("c", &[]);
    spec.protocol = (1, 2);
    field.start_spec(&spec);
    field.wait_together();
    field.check();
}

pub(super) fn safe_is_honest(field: &mut Field<'_>) {
    let a = field.join("a", &["g"]);
    let mut burst = Burst::to_group("g", 1, 1);
    burst.options.service = Service::Safe;
    field.send(a, burst);
    field.send(a, Burst::to_group("g", 2, 1));
    field.wait_messages(a, 1);
    let refused =
        |what: &What| matches!(what, What::NotSent { number: 1, error, .. } if error.contains("safe"));
    assert!(field.trace(a).has(refused));
    assert!(field.trace(a).has(|what| matches!(what, What::Message { number: 2, .. })));
    field.check_at_rest();
}
