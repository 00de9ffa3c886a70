//! What a member process does: an agent of the suite on a Corosync carrier.

use postfleet_bus_corosync::{Class, CorosyncCarrier, CorosyncOptions};
use postfleet_testbed::member::Control;

/// The name of the bus.
pub const BUS: &str = "POSTFLEET_MEMBER_BUS";

pub fn run() -> ! {
    let bus = std::env::var(BUS).unwrap();
    let attach = move |_| match CorosyncCarrier::open(CorosyncOptions::new(&bus, Class::Main)) {
        Ok(carrier) => Some(carrier),
        Err(error) => {
            eprintln!("member {}: {error}", std::process::id());
            None
        }
    };
    Control::from_environment().serve(attach, || ())
}
