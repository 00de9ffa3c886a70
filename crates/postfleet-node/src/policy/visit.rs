//! A session as policy sees it: who it is, its two contexts, and the message that is coming in.

use super::Policy;
use super::context::Dictionary;
use super::live::Held;
use super::message::Message;
use crate::node::Node;
use crate::socket::Endpoint;
use postfleet_sieve::Context;
use postfleet_smtp::{Address, Counters, MailFrom, ReversePath};
use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::sync::Arc;

/// What is known of a connection when it has been accepted.
pub(crate) struct Arrival {
    pub(crate) policy: Arc<Policy>,
    /// The listener that accepted it.
    pub(crate) listener: Endpoint,
    pub(crate) client: SocketAddr,
    /// `Context` of the listener, for this client.
    pub(crate) context: BTreeMap<String, String>,
    pub(crate) can_relay: bool,
}

/// See the module.
pub(crate) struct Visit {
    pub(super) node: Arc<Node>,
    pub(super) policy: Arc<Policy>,
    pub(super) listener: Endpoint,
    pub(super) client: SocketAddr,
    pub(super) connection: Dictionary,
    pub(super) context: Dictionary,
    pub(super) sender: Option<String>,
    pub(super) helo: String,
    /// The recipient that the phase is about.
    pub(super) recipient: Option<String>,
    /// Those that were accepted.
    pub(super) recipients: Vec<String>,
    pub(super) message: Option<Message>,
    /// Holds that end with the phase.
    pub(super) held: Vec<Held>,
    /// Messages are accepted and dropped: those of the connection, or the one that is coming in.
    swallow_all: bool,
    swallow_message: bool,
    /// Recipients that are told they were accepted, and get nothing.
    swallowed: BTreeSet<String>,
    /// Recipients that are replaced.
    redirected: BTreeMap<String, String>,
    /// Of each recipient of the complete message, who gets it instead; none: nobody. Only when something changes.
    destinations: Option<Vec<Option<String>>>,
}

impl Visit {
    pub(crate) fn new(node: &Arc<Node>, arrival: Arrival) -> Self {
        let mut connection = Dictionary::default();
        for (key, value) in &arrival.context {
            connection.set(key, value);
        }
        if arrival.can_relay {
            connection.set("can_relay", "true");
        }
        Self {
            node: Arc::clone(node),
            policy: arrival.policy,
            listener: arrival.listener,
            client: arrival.client,
            connection,
            context: Dictionary::default(),
            sender: None,
            helo: String::new(),
            recipient: None,
            recipients: Vec::new(),
            message: None,
            held: Vec::new(),
            swallow_all: false,
            swallow_message: false,
            swallowed: BTreeSet::new(),
            redirected: BTreeMap::new(),
            destinations: None,
        }
    }

    pub(crate) fn policy(&self) -> &Arc<Policy> {
        &self.policy
    }

    /// Whether the contexts let the client relay.
    pub(crate) fn can_relay(&self) -> bool {
        self.connection.is_true("can_relay")
    }

    pub(super) fn dictionary(&self, context: Context) -> &Dictionary {
        match context {
            Context::Connection => &self.connection,
            Context::Message => &self.context,
        }
    }

    pub(super) fn dictionary_mut(&mut self, context: Context) -> &mut Dictionary {
        match context {
            Context::Connection => &mut self.connection,
            Context::Message => &mut self.context,
        }
    }

    /// The client said EHLO or HELO.
    pub(crate) fn greeted(&mut self, line: &str, name: &str) {
        self.helo = name.to_owned();
        self.connection.set("ehlo_string", line);
        self.connection.set("ehlo_domain", name);
    }

    /// TLS is on.
    pub(crate) fn encrypted(&mut self, facts: &postfleet_smtp::TlsFacts) {
        self.connection.set("tls", &facts.version);
        self.connection.set("tls_cipher", &facts.cipher);
        if let Some(subject) = &facts.client_subject {
            self.connection.set("tls_client_cert_subject", subject);
        }
        if facts.client_verified {
            self.connection.set("tls_client_verified", "yes");
        }
    }

    /// A transaction would begin.
    pub(crate) fn mail(&mut self, line: &str, mail: &MailFrom, counters: Counters) {
        self.context.clear();
        self.forget_message();
        self.count(counters);
        let sender = mail.reverse_path.to_string();
        let (local, domain) = match &mail.reverse_path {
            ReversePath::Null => (String::new(), String::new()),
            ReversePath::Address(address) => parts(address),
        };
        self.context.set("mailfrom_string", line);
        self.context.set("mailfrom_localpart", &local);
        self.context.set("mailfrom_domain", &domain);
        self.sender = Some(sender);
    }

    /// A recipient was named.
    pub(crate) fn recipient(&mut self, line: &str, address: &Address, counters: Counters) {
        self.count(counters);
        let (local, domain) = parts(address);
        self.context.set("rcptto_string", line);
        self.context.set("rcptto_localpart", &local);
        self.context.set("rcptto_domain", &domain);
        self.recipient = Some(address.to_string());
    }

    fn count(&mut self, counters: Counters) {
        self.connection.set("connection_message_count", &counters.messages.to_string());
        self.connection.set("connection_rcpt_count", &counters.recipients.to_string());
    }

    /// A message begins, for these recipients.
    pub(crate) fn message_begins(&mut self, recipients: Vec<String>) {
        self.message = self.policy.reads_messages().then(Message::default);
        self.recipient = None;
        self.connection.set("message_rcpt_count", &recipients.len().to_string());
        self.recipients = recipients;
    }

    /// Content of the message.
    pub(crate) fn content(&mut self, octets: &[u8]) {
        if let Some(message) = &mut self.message {
            message.push(octets);
        }
    }

    /// The message is complete.
    pub(crate) fn message_ends(&mut self, facts: postfleet_smtp::MessageFacts) {
        if let Some(message) = &mut self.message {
            message.complete(facts.header_octets);
        }
        if facts.date_missing {
            self.context.set("rfc2822_date_missing", "true");
        }
    }

    /// The transaction is over.
    pub(crate) fn forget_message(&mut self) {
        self.sender = None;
        self.recipient = None;
        self.recipients = Vec::new();
        self.message = None;
        self.swallow_message = false;
        self.swallowed.clear();
        self.redirected.clear();
        self.destinations = None;
    }

    /// Messages of this connection are accepted and dropped.
    pub(crate) fn swallow_connection(&mut self) {
        self.swallow_all = true;
    }

    /// The message of this transaction is accepted and dropped.
    pub(crate) fn swallow_transaction(&mut self) {
        self.swallow_message = true;
    }

    /// The recipient at hand is told that it was accepted, and gets nothing.
    pub(crate) fn swallow_recipient(&mut self) {
        self.swallowed.extend(self.recipient.clone());
    }

    /// The recipient at hand is replaced.
    pub(crate) fn redirect_recipient(&mut self, address: String) {
        if let Some(recipient) = self.recipient.clone() {
            self.redirected.insert(recipient, address);
        }
    }

    /// What becomes of a recipient: none when it gets nothing, otherwise who does.
    pub(crate) fn destination(&self, recipient: &str) -> Option<String> {
        if self.swallowed.contains(recipient) {
            return None;
        }
        Some(self.redirected.get(recipient).cloned().unwrap_or_else(|| recipient.to_owned()))
    }

    /// Who gets the copies of the complete message.
    pub(crate) fn readdress(&mut self, destinations: Vec<Option<String>>) {
        self.destinations = Some(destinations);
    }

    /// Everything goes to one address instead.
    pub(crate) fn redirect_message(&mut self, address: String) {
        let mut destinations: Vec<Option<String>> = vec![None; self.recipients.len()];
        if let Some(first) = destinations.first_mut() {
            *first = Some(address);
        }
        self.destinations = Some(destinations);
    }

    /// What [`Self::readdress`] left.
    pub(crate) fn take_destinations(&mut self) -> Option<Vec<Option<String>>> {
        self.destinations.take()
    }

    /// Whom the message is for.
    pub(crate) fn recipients(&self) -> &[String] {
        &self.recipients
    }

    /// Whether the message that is coming in is to be dropped.
    pub(crate) const fn swallows(&self) -> bool {
        self.swallow_all || self.swallow_message
    }

    /// The phase is about this recipient.
    pub(crate) fn about(&mut self, recipient: Option<String>) {
        if let Some((local, domain)) = recipient.as_deref().and_then(|recipient| recipient.rsplit_once('@')) {
            let (local, domain) = (local.to_owned(), domain.to_owned());
            self.context.set("rcptto_localpart", &local);
            self.context.set("rcptto_domain", &domain);
        }
        self.recipient = recipient;
    }
}

fn parts(address: &Address) -> (String, String) {
    (address.local_part().to_owned(), address.domain().to_string())
}
