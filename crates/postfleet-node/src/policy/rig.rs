//! Policy of a node for measurements: a session in memory whose phases are asked, with everything that a question of a
//! real session costs, and no socket. Only there with the feature `rig`.
//!
//! It fails by panicking, like the measurements that it serves.

use super::{Arrival, Ruling, Visit, ask};
use crate::counts::SMTP;
use crate::files::{load_config, load_request};
use crate::node::{Node, Start, assemble};
use crate::settings;
use crate::socket::Endpoint;
use postfleet_policy::Phase;
use postfleet_replica::MetricWord;
use postfleet_smtp::{Address, Counters, MailFrom, MessageFacts, ReversePath};
use std::collections::BTreeMap;
use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::path::Path;
use std::sync::Arc;
use std::time::Instant;
use tokio::runtime::{Builder, Runtime};

/// A node that has read its configuration, and listens nowhere.
pub struct PolicyRig {
    node: Arc<Node>,
    runtime: Runtime,
}

impl fmt::Debug for PolicyRig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PolicyRig").finish_non_exhaustive()
    }
}

const CLIENT: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 10));

impl PolicyRig {
    /// Puts a node together from its main file, and lets its scripts begin.
    ///
    /// # Panics
    /// When the configuration cannot be used.
    #[must_use]
    pub fn start(config: &Path) -> Self {
        let runtime = Builder::new_multi_thread().worker_threads(2).enable_all().build().expect("threads");
        let request = load_request(Some(config)).expect("a path");
        let outcome = load_config(&request);
        let report = outcome.report();
        let main = Some(config.to_owned());
        let config = outcome.config.unwrap_or_else(|| panic!("{report}"));
        let settings = settings::read(&config, None).expect("settings");
        let node = runtime.block_on(async {
            let (node, settings) = assemble(Start { config, main, settings }).expect("a node");
            settings.policy.start(&node).await.expect("scripts that begin");
            node
        });
        Self { node, runtime }
    }

    fn visit(&self) -> Visit {
        let arrival = Arrival {
            policy: Arc::clone(&self.node.configuration.serving().policy),
            listener: Endpoint::Tcp(SocketAddr::from(([127, 0, 0, 1], 25))),
            client: SocketAddr::new(CLIENT, 50_000),
            local: SocketAddr::from(([127, 0, 0, 1], 25)),
            context: BTreeMap::new(),
            can_relay: false,
        };
        let mut visit = Visit::new(&self.node, arrival);
        visit.greeted("EHLO c.example", "c.example");
        let address = |text: &str| text.parse::<Address>().expect("an address");
        let mail = MailFrom {
            reverse_path: ReversePath::Address(address("a@c.example")),
            size: None,
            body: None,
            smtputf8: false,
            ret: None,
            envelope_id: None,
        };
        visit.mail("MAIL FROM:<a@c.example>", &mail, Counters::default());
        visit.recipient("RCPT TO:<b@demo.example>", &address("b@demo.example"), Counters::default());
        visit
    }

    /// Asks so many times about a phase, with connections of the client open and counted; nanoseconds of one question.
    ///
    /// # Panics
    /// When there is no such phase, or policy does not let the session go on.
    pub fn ask(&self, phase: &str, count: u32) -> f64 {
        let phase = Phase::from_name(phase).expect("a phase");
        let _open: Vec<_> = (0..3).map(|_| self.node.connections.open(SMTP, CLIENT)).collect();
        self.node.audit.event(MetricWord::Connect, CLIENT, 3);
        let mut visit = self.visit();
        if phase >= Phase::Data {
            visit.message_begins(vec!["b@demo.example".to_owned()]);
            visit.content(b"Subject: x\r\n\r\nhello\r\n");
            visit.message_ends(MessageFacts { header_octets: 14, ..MessageFacts::default() });
        }
        if phase == Phase::EachRcpt {
            visit.about(Some("b@demo.example".to_owned()));
        }
        self.runtime.block_on(async {
            let begin = Instant::now();
            for _ in 0..count {
                assert_eq!(ask(&mut visit, phase).await, Ruling::Continue, "{phase:?}");
            }
            begin.elapsed().as_secs_f64() * 1e9 / f64::from(count)
        })
    }

    /// How often scripts failed so far, by the statistics of a stanza such as `scriptlet:s`.
    #[must_use]
    pub fn errors(&self, stanza: &str) -> u64 {
        let counters = self.node.policies.counters(stanza);
        let rows = counters.rows().filter(|(name, ..)| name.ends_with(":errors"));
        rows.map(|(_, _, count)| count).sum()
    }
}
