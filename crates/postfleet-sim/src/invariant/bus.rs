//! The promises of the bus, as the conformance suite checks them, for each class of connections by itself.

use super::{Check, Invariant};
use postfleet_bus::suite::check;

const fn promise(
    name: &'static str,
    says: &'static str,
    holds: fn(&check::History<'_>) -> Result<(), check::Violation>,
) -> Invariant {
    Invariant { name, source: "docs/bus.md", says, check: Check::Records(holds) }
}

/// P1 to P16. What P1 says of the end covers P24, P13 also checks P19.
pub(super) const INVARIANTS: [Invariant; 16] = [
    promise("P1", "all events of a connection come in one stream, none after its end", check::one_stream),
    promise("P2", "the first event is a view that contains the connection itself", check::first_view),
    promise(
        "P3",
        "one view id, one list of members, with the same attributes in the same order",
        check::view_agreement,
    ),
    promise("P4", "counters of the views of a connection grow", check::view_growth),
    promise("P5", "a message is delivered at most once, unchanged, only if it was sent", check::integrity),
    promise("P6", "a message is delivered only while its sender is in the view", check::sender_inside),
    promise("P7", "messages of one sender come in sending order without holes", check::fifo),
    promise("P8", "nobody delivers a message before one that its sender had seen", check::causal),
    promise("P9", "what two connections have in common they see in one order", check::total_order),
    promise(
        "P10",
        "what was accepted comes back to its sender, or its connection ends",
        check::self_delivery,
    ),
    promise("P11", "a message is delivered in one view, the same everywhere", check::same_view),
    promise(
        "P12",
        "who goes together from view to view has delivered the same between them",
        check::virtual_synchrony,
    ),
    promise("P13", "members and groups never change without an event", check::no_silent_change),
    promise("P14", "the transitional set is who came along from the same view", check::transitional_set),
    promise("P15", "a message bound to a view is delivered in it or nowhere", check::view_bound),
    promise("P16", "in the end all that live are in one view", check::one_view),
];
