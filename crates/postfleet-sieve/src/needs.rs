//! What a script wants of the fleet, as far as its text says so.

use alloc::collections::BTreeMap;
use alloc::vec::Vec;

use crate::compile::{Call, Code, Expression, Script};
use crate::functions::{Function, ThrottleCall};
use postfleet_policy::{Event, Kind, Need, Wanted};

#[allow(clippy::wildcard_enum_match_arm, reason = "all other expressions are one case")]
fn text(argument: Option<&Expression>) -> Option<&str> {
    match argument {
        Some(Expression::Text(template)) => template.constant(),
        _ => None,
    }
}

#[allow(clippy::wildcard_enum_match_arm, reason = "all other functions want nothing")]
fn wanted(call: &Call) -> Option<Wanted> {
    let argument = |at: usize| call.arguments.get(at);
    match call.function {
        Function::Events(events) if events.cluster => {
            let word = match events.event {
                Event::Connection => "connect",
                Event::Reception => "reception",
                Event::Rejection => "rejection",
            };
            Some(Wanted::Word("metrics", word))
        }
        Function::Service if text(argument(0)) == Some("inbound_cidr") => {
            Some(Wanted::Object("inbound_cidr"))
        }
        Function::Throttle(Kind::Shared, ThrottleCall::Create) => {
            Some(Wanted::Object("shared_named_throttles"))
        }
        Function::GaugeInit => match argument(3) {
            None | Some(Expression::Number(0)) => None,
            Some(Expression::Text(template)) if template.constant() == Some("0") => None,
            Some(_) => Some(Wanted::Word("metrics", "gauge_cache")),
        },
        Function::CacheRead | Function::CacheWrite => {
            text(argument(0)).map(|name| Wanted::Cache(name.into()))
        }
        _ => None,
    }
}

impl Script {
    /// What has to be replicated for it, each once.
    #[must_use]
    pub fn needs(&self) -> Vec<Need> {
        let mut found: BTreeMap<Wanted, u32> = BTreeMap::new();
        for step in &self.steps {
            if let Code::Call { call, .. } = &step.code
                && let Some(object) = wanted(call)
            {
                found.entry(object).or_insert(step.line);
            }
        }
        found.into_iter().map(|(object, line)| Need { object, line }).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use postfleet_policy::Phase;

    #[test]
    fn what_a_script_wants_of_the_fleet() {
        let text = "$a = ec_ip_connections \"0\" \"32\";\n$b = ec_ip_connections_cluster \"0\" \"32\";\n\
            ($c) = audit_service \"inbound_cidr\" \"/24\"; ($d) = audit_service \"SMTP\" \"/24\";\n\
            ec_shared_throttle_create \"t\" \"1/2\"; ec_gauge_cache_init \"g\" 1 2 1; ec_gauge_cache_init \"h\" 1 2;\n\
            if true { $e = ec_cluster_cache_get \"grey\" \"k\"; $f = ec_cluster_cache_get \"${a}\" \"k\"; }\n";
        let script = Script::compile("x", Phase::Connect, text).expect("a script");
        let need = |object, line| Need { object, line };
        assert_eq!(
            script.needs(),
            [
                need(Wanted::Object("inbound_cidr"), 3),
                need(Wanted::Object("shared_named_throttles"), 4),
                need(Wanted::Word("metrics", "connect"), 2),
                need(Wanted::Word("metrics", "gauge_cache"), 4),
                need(Wanted::Cache("grey".into()), 5),
            ]
        );
    }
}
