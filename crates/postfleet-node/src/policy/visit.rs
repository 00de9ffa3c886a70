//! A session as policy sees it: who it is, its two contexts, and the message that is coming in.

use super::Policy;
use super::context::{Dictionary, Pairs};
use super::live::Held;
use crate::delivery::RefusedCopy;
use crate::node::Node;
use crate::socket::Endpoint;
use postfleet_policy::{Context, Edit, Fault, Message, Path, Phase};
use postfleet_queue::Assigned;
use postfleet_smtp::{Address, Counters, MailFrom, ReversePath};
use postfleet_spool::Envelope;
use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::sync::Arc;

/// What is known of a connection when it has been accepted.
pub(crate) struct Arrival {
    pub(crate) policy: Arc<Policy>,
    /// The listener that accepted it.
    pub(crate) listener: Endpoint,
    pub(crate) client: SocketAddr,
    /// Our end of it.
    pub(crate) local: SocketAddr,
    /// `Context` of the listener, for this client.
    pub(crate) context: BTreeMap<String, String>,
    pub(crate) can_relay: bool,
}

/// One who gets the complete message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Destination {
    /// Which copy of the envelope it is; none for one that scripts added.
    pub(crate) copy: Option<usize>,
    /// The address, which may be another one than the copy had.
    pub(crate) address: String,
    /// The binding that scripts assigned it to.
    pub(crate) assigned: Option<Assigned>,
}

/// Recipients that scripts may make of one message.
const RECIPIENTS_MAX: usize = 10_000;

fn too_many() -> Fault {
    Fault::new(format!("more than {RECIPIENTS_MAX} recipients"))
}

/// An address that may stand in an envelope.
fn checked(address: &str) -> Result<String, Fault> {
    let bare = address.trim().trim_start_matches('<').trim_end_matches('>');
    let parsed = bare.parse::<Address>();
    parsed
        .map(|address| address.to_string())
        .map_err(|_| Fault::new(format!("'{address}' is not an address")))
}

/// See the module.
pub(crate) struct Visit {
    pub(super) node: Arc<Node>,
    pub(super) policy: Arc<Policy>,
    pub(super) listener: Endpoint,
    pub(super) client: SocketAddr,
    pub(super) local: SocketAddr,
    pub(super) connection: Dictionary,
    pub(super) context: Dictionary,
    pub(super) sender: Option<String>,
    pub(super) helo: String,
    /// The recipient that the phase is about.
    pub(super) recipient: Option<String>,
    /// The binding that its copy was assigned to.
    pub(super) assigned: Option<Assigned>,
    /// Those that were accepted.
    pub(super) recipients: Vec<String>,
    pub(super) message: Option<Message>,
    /// Holds that end with the phase.
    pub(super) held: Vec<Held>,
    /// What modules before the running one decided to reply in this phase.
    pub(super) decided: Option<postfleet_policy::Reply>,
    /// The module that ran last.
    pub(super) last_module: Option<Box<str>>,
    /// Messages are accepted and dropped: those of the connection, or the one that is coming in.
    swallow_all: bool,
    swallow_message: bool,
    /// Recipients that are told they were accepted, and get nothing.
    swallowed: BTreeSet<String>,
    /// Recipients that are replaced.
    redirected: BTreeMap<String, String>,
    /// Recipients that scripts added before the message began.
    added: Vec<String>,
    /// Who gets the complete message. Only when something changes.
    destinations: Option<Vec<Destination>>,
    /// Copies of the complete message that were refused or swallowed.
    dropped: u32,
    /// Copies of the complete message that were refused while others were not.
    refused: Vec<RefusedCopy>,
    /// Scripts replaced the sender.
    sender_changed: bool,
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
            local: arrival.local,
            connection,
            context: Dictionary::default(),
            sender: None,
            helo: String::new(),
            recipient: None,
            assigned: None,
            recipients: Vec::new(),
            message: None,
            held: Vec::new(),
            decided: None,
            last_module: None,
            swallow_all: false,
            swallow_message: false,
            swallowed: BTreeSet::new(),
            redirected: BTreeMap::new(),
            added: Vec::new(),
            destinations: None,
            dropped: 0,
            refused: Vec::new(),
            sender_changed: false,
        }
    }

    /// The contexts of connection and message.
    pub(crate) fn contexts(&self) -> (Pairs<'_>, Pairs<'_>) {
        (self.connection.in_order(), self.context.in_order())
    }

    /// The module that ran last; empty when none did.
    pub(crate) fn last_module(&self) -> &str {
        self.last_module.as_deref().unwrap_or_default()
    }

    /// A message that is queued, for those who choose its binding again. Its session is long over: of the contexts there is
    /// what the spool kept.
    pub(crate) fn of_queued(node: &Arc<Node>, policy: Arc<Policy>, envelope: &Envelope) -> Self {
        let nowhere = SocketAddr::from(([0, 0, 0, 0], 0));
        let mut visit = Self::new(
            node,
            Arrival {
                policy,
                listener: Endpoint::Tcp(nowhere),
                client: envelope.client.unwrap_or(nowhere),
                local: nowhere,
                context: BTreeMap::new(),
                can_relay: false,
            },
        );
        visit.helo.clone_from(&envelope.helo);
        visit.sender = Some(envelope.sender.clone());
        for (key, value) in &envelope.context {
            visit.context.set(key, value);
        }
        visit.recipients = envelope.copies.iter().map(|copy| copy.recipient.clone()).collect();
        visit
    }

    /// The content of a message that is queued.
    pub(crate) fn holds(&mut self, message: Message) {
        self.message = Some(message);
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
        if facts.cipher_bits > 0 {
            let bits = facts.cipher_bits.to_string();
            self.connection.set("tls_cipher_algbits", &bits);
            self.connection.set("tls_cipher_usebits", &bits);
        }
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
        self.added.clear();
        self.destinations = None;
        self.dropped = 0;
        self.refused.clear();
        self.sender_changed = false;
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

    /// Recipients that scripts added before the message began.
    pub(crate) fn added(&self) -> &[String] {
        &self.added
    }

    /// The sender, if scripts replaced it.
    pub(crate) fn new_sender(&self) -> Option<&str> {
        self.sender.as_deref().filter(|_| self.sender_changed)
    }

    /// Who gets the copies of the complete message, as things stand.
    pub(crate) fn destinations(&self) -> Vec<Destination> {
        self.destinations.clone().unwrap_or_else(|| self.all_as_named())
    }

    fn all_as_named(&self) -> Vec<Destination> {
        let copy = |(at, address): (usize, &String)| Destination {
            copy: Some(at),
            address: address.clone(),
            assigned: None,
        };
        self.recipients.iter().enumerate().map(copy).collect()
    }

    /// Who gets the copies of the complete message, and how many copies were refused or swallowed.
    pub(crate) fn readdress(
        &mut self,
        destinations: Vec<Destination>,
        dropped: u32,
        refused: Vec<RefusedCopy>,
    ) {
        self.destinations = Some(destinations);
        self.dropped = dropped;
        self.refused = refused;
    }

    /// The refused copies that the sender is to be told of, and the header section of the message.
    pub(crate) fn take_refused(&mut self) -> Option<(Vec<RefusedCopy>, Vec<u8>)> {
        let refused = std::mem::take(&mut self.refused);
        let header = || self.message.as_ref().map(|message| message.header().to_vec()).unwrap_or_default();
        (!refused.is_empty()).then(|| (refused, header()))
    }

    /// How many copies of the complete message were refused or swallowed.
    pub(crate) const fn dropped(&self) -> u32 {
        self.dropped
    }

    /// Everything goes to one address instead.
    pub(crate) fn redirect_message(&mut self, address: String) {
        self.destinations = Some(vec![Destination { copy: Some(0), address, assigned: None }]);
    }

    /// What changed of the envelope of the complete message: who gets it.
    pub(crate) fn take_destinations(&mut self) -> Option<Vec<Destination>> {
        let destinations =
            self.destinations.take().or_else(|| self.sender_changed.then(|| self.all_as_named()))?;
        let same = !self.sender_changed
            && destinations == self.all_as_named()
            && !self.policy.listens(Phase::SetBinding);
        (!same).then_some(destinations)
    }

    /// The message context as the spool keeps it for a later choice of the binding; none where nobody chooses.
    pub(crate) fn kept_context(&self) -> Option<Vec<(String, String)>> {
        let owned = |(key, value): (&str, &str)| (key.to_owned(), value.to_owned());
        self.policy
            .listens(Phase::SetBinding)
            .then(|| self.context.in_order().into_iter().map(owned).collect())
    }

    /// Whether scripts have assigned every copy of the complete message to a binding.
    pub(crate) fn all_assigned(&self) -> bool {
        self.destinations.as_ref().is_some_and(|all| all.iter().all(|one| one.assigned.is_some()))
    }

    /// The addresses of those who get the message, as things stand.
    pub(super) fn addressees(&self) -> Vec<String> {
        match &self.destinations {
            Some(destinations) => destinations.iter().map(|to| to.address.clone()).collect(),
            None => self.recipients.clone(),
        }
    }

    /// A script changes who gets the message. Before it begins, further recipients can be named.
    pub(super) fn edit_recipients(&mut self, edit: Edit, addresses: &[String]) -> Result<(), Fault> {
        let addresses = addresses.iter().map(|address| checked(address)).collect::<Result<Vec<_>, _>>()?;
        if self.recipients.is_empty() {
            match edit {
                Edit::Add | Edit::Replace => {
                    for address in addresses {
                        if !self.added.contains(&address) {
                            self.added.push(address);
                        }
                    }
                }
                Edit::Remove => {
                    self.added.retain(|added| !addresses.contains(added));
                    self.swallowed.extend(addresses);
                }
            }
            return if self.added.len() > RECIPIENTS_MAX { Err(too_many()) } else { Ok(()) };
        }
        let mut list = self.destinations();
        if edit != Edit::Add {
            list.retain(|to| addresses.contains(&to.address) == (edit == Edit::Replace));
        }
        if edit != Edit::Remove {
            for address in addresses {
                if list.iter().any(|to| to.address == address) {
                    continue;
                }
                let copy = self.recipients.iter().position(|recipient| *recipient == address);
                list.push(Destination { copy, address, assigned: None });
            }
        }
        if list.len() > RECIPIENTS_MAX {
            return Err(too_many());
        }
        self.destinations = Some(list);
        Ok(())
    }

    /// A script changes the sender, or the recipient of this copy.
    pub(super) fn set_envelope(&mut self, path: Path, address: &str) -> Result<(), Fault> {
        match path {
            Path::From => {
                let sender = if address.is_empty() { String::new() } else { checked(address)? };
                self.sender_changed |= self.sender.as_deref() != Some(&sender);
                self.sender = Some(sender);
            }
            Path::To if self.message_is_complete() && self.recipient.is_some() => {
                self.recipient = Some(checked(address)?);
            }
            Path::To => {
                return Err(Fault::new("the recipient can be changed in each_rcpt and set_binding only"));
            }
        }
        Ok(())
    }

    fn message_is_complete(&self) -> bool {
        !self.recipients.is_empty()
    }

    /// What a phase is about, as scripts get it: the name of EHLO, the address of MAIL or RCPT.
    pub(super) fn argument(&self, phase: Phase) -> String {
        match phase {
            Phase::Ehlo => self.helo.clone(),
            Phase::Mailfrom => self.sender.clone().unwrap_or_default(),
            Phase::Rcptto | Phase::EachRcpt => self.recipient.clone().unwrap_or_default(),
            Phase::Accept | Phase::Connect | Phase::Data | Phase::Spool | Phase::SetBinding => String::new(),
        }
    }

    /// The sender of the transaction.
    pub(crate) fn sender(&self) -> Option<&str> {
        self.sender.as_deref()
    }

    /// The binding that the copy at hand was assigned to. The next copy is assigned to none.
    pub(crate) fn take_assigned(&mut self) -> Option<Assigned> {
        self.assigned.take()
    }

    /// The recipient that the phase was about.
    pub(crate) fn recipient_at_hand(&self) -> Option<&str> {
        self.recipient.as_deref()
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
