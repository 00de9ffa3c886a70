//! Where mail goes, and when it is tried again, for one binding and domain.

use alloc::vec::Vec;

use super::Lookup;
use crate::config::Config;
use crate::resolve::Facts;
use crate::retry::{Retries, RetrySchedule};
use crate::route::{self, Route};
use crate::value::Value;

/// The way of the mail of one binding to one domain.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RoutingSettings {
    /// `Routes`; empty: there are none. They win over `gateway`.
    pub routes: Vec<Route>,
    /// `Gateway`.
    pub gateway: Option<Route>,
    /// When mail is tried again.
    pub retry: RetrySchedule,
}

impl Config {
    /// What holds for mail of a binding to a domain.
    #[must_use]
    pub fn routing(&self, binding: Option<&str>, domain: Option<&str>) -> RoutingSettings {
        let options = Lookup::new(self, Facts { binding, domain, ..Facts::default() });
        let routes = options.texts("Routes");
        RoutingSettings {
            routes: route::parse_all(routes.iter().map(alloc::string::String::as_str)),
            gateway: options.filled("Gateway").and_then(|text| Route::gateway(&text).ok()),
            retry: RetrySchedule {
                interval_seconds: options.u64("Retry_Interval"),
                interval_seconds_max: options.u64("Max_Retry_Interval"),
                expiration_seconds: options.u64("Message_Expiration"),
                retries: match options.value("Max_Retries") {
                    Some(Value::Word("auto")) => Retries::Auto,
                    Some(Value::Int(_)) => Retries::AtMost(options.u32("Max_Retries")),
                    Some(_) | None => Retries::Unlimited,
                },
            },
        }
    }
}
