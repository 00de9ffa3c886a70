//! From what happened to the records of the logs.

use crate::policy::Visit;
use postfleet_log::{
    BounceKind, BounceRecord, Failure, Handover, MailRecord, Names, Reception, RejectPhase, RejectRecord,
    UNKNOWN_ID, classify,
};
use postfleet_queue::{Report, Verdict};
use postfleet_spool::{MessageId, RecipientCopy, Stored};
use postfleet_types::WallTime;
use std::net::{IpAddr, SocketAddr};

/// Every session comes in on this pathway: there are no others.
pub(super) const PATHWAY: &str = "default";
/// The class of failures that are tried again.
const TRANSIENT_CLASS: u8 = 70;

/// One attempt of a connection to hand a message over.
#[derive(Clone, Debug)]
pub(crate) struct Attempt {
    /// The server.
    pub(crate) address: IpAddr,
    /// Where in the dialogue it failed; none when it did not.
    pub(crate) stage: Option<u8>,
    /// Octets of the transaction that were sent until then.
    pub(crate) octets_sent: u64,
    /// What the server said, as it came, or what is said for it.
    pub(crate) reply: Vec<u8>,
    /// The reply is this node's own.
    pub(crate) internal: bool,
}

/// What became of a message, now or for good.
pub(crate) struct Attempted<'a> {
    pub(crate) report: &'a Report,
    /// The connection that was at it; none when there was none.
    pub(crate) attempt: Option<&'a Attempt>,
    /// What the index of the spool has of the message.
    pub(crate) message: Queued,
}

/// A queued message.
#[derive(Clone, Debug, Default)]
pub(crate) struct Queued {
    pub(crate) sender: String,
    pub(crate) recipient: String,
    pub(crate) created: WallTime,
    pub(crate) octets: u64,
    pub(crate) connection: Option<MessageId>,
}

/// A refusal that counts.
pub(crate) struct Rejected<'a> {
    pub(crate) remote: SocketAddr,
    pub(crate) local: SocketAddr,
    pub(crate) connection: MessageId,
    /// Where in the dialogue.
    pub(crate) phase: postfleet_smtp::Phase,
    pub(crate) reply: &'a postfleet_smtp::Reply,
    /// Records that it is worth.
    pub(crate) copies: u32,
    pub(crate) sender: Option<&'a str>,
    pub(crate) recipient: Option<&'a str>,
    /// The contexts, where policy has them.
    pub(crate) visit: Option<&'a Visit>,
}

type Pairs<'a> = Vec<(&'a str, &'a str)>;

impl<'a> Rejected<'a> {
    pub(super) fn contexts(&self) -> (Pairs<'a>, Pairs<'a>) {
        self.visit.map(Visit::contexts).unwrap_or_default()
    }

    /// What the client was told, without the code.
    pub(super) fn text(&self) -> String {
        self.reply.log_text()
    }

    pub(super) fn record<'b>(
        &'b self,
        at: WallTime,
        connection: &'b str,
        text: &'b str,
        (connection_context, message_context): (&'b Pairs<'b>, &'b Pairs<'b>),
    ) -> RejectRecord<'b> {
        use postfleet_smtp::Phase;
        RejectRecord {
            at,
            remote: self.remote,
            local: self.local,
            connection,
            pathway: PATHWAY,
            pathway_group: PATHWAY,
            phase: match self.phase {
                Phase::Connected => RejectPhase::JustConnected,
                Phase::AwaitingHelo => RejectPhase::AwaitingEhlo,
                Phase::AwaitingMail => RejectPhase::AwaitingMailFrom,
                Phase::AwaitingRecipient => RejectPhase::AwaitingRcptTo,
                Phase::RelayingDenied => RejectPhase::RelayingDenied,
                Phase::ConcurrencyLimit => RejectPhase::ConcurrencyLimit,
                Phase::ReadingBody => RejectPhase::ReadingBody,
                Phase::SendingBodyResponse => RejectPhase::SendingBodyResponse,
            },
            code: self.reply.code(),
            module: self.visit.map_or("", Visit::last_module),
            connection_context,
            message_context,
            text,
        }
    }
}

/// Local part and domain; a null sender has neither.
pub(super) fn parts(address: &str) -> (&str, &str) {
    address.rsplit_once('@').unwrap_or((address, ""))
}

pub(super) fn id(id: Option<MessageId>) -> String {
    id.map_or_else(|| String::from(UNKNOWN_ID), |id| id.to_string())
}

/// The ids of a record as text.
pub(super) struct Ids {
    message: String,
    batch: String,
    connection: String,
}

impl Ids {
    pub(super) fn new(message: MessageId, batch: MessageId, connection: Option<MessageId>) -> Self {
        Self { message: message.to_string(), batch: batch.to_string(), connection: id(connection) }
    }

    pub(super) fn names<'a>(&'a self, at: WallTime, binding_group: &'a str, binding: &'a str) -> Names<'a> {
        Names {
            at,
            message: &self.message,
            batch: &self.batch,
            connection: &self.connection,
            binding_group,
            binding,
        }
    }
}

/// The word of the logs for the protocol of an envelope: which extensions were used does not show.
pub(super) fn protocol(of_envelope: &str) -> &str {
    if of_envelope.contains("SMTP") { "esmtp" } else { of_envelope }
}

pub(super) fn reception<'a>(stored: &'a Stored, copy: &'a RecipientCopy) -> MailRecord<'a> {
    let envelope = &stored.envelope;
    MailRecord::Reception(Reception {
        recipient: parts(&copy.recipient),
        sender: parts(&envelope.sender),
        from: envelope.client.map(|client| client.ip()),
        octets: stored.content_bytes,
        protocol: protocol(&envelope.protocol),
    })
}

impl Attempted<'_> {
    pub(super) fn ids(&self) -> Ids {
        Ids::new(self.report.message, self.report.batch, self.message.connection)
    }

    /// From its reception to now. The index of the spool forgets a message when it is done, and has milliseconds.
    pub(super) fn elapsed(&self, now: WallTime) -> std::time::Duration {
        let created = if self.message.created == WallTime::default() {
            self.report.created
        } else {
            self.message.created
        };
        std::time::Duration::from_millis(now.unix_millis().saturating_sub(created.unix_millis()))
    }

    pub(super) fn stage(&self) -> u8 {
        let stage = self.attempt.and_then(|attempt| attempt.stage);
        stage.or(self.report.tried.map(|tried| tried.stage)).unwrap_or(0)
    }

    /// The server that had the message, or that it could not be brought to.
    fn by(&self) -> Option<IpAddr> {
        let tried = self.report.tried.map(|tried| tried.address.ip());
        self.attempt.map(|attempt| attempt.address).or(tried)
    }

    /// Whether the reply that tells of its failure is this node's own.
    fn is_internal(&self) -> bool {
        // What the retry schedule says stands before what the server said.
        matches!(self.report.verdict, Verdict::Failed { last: Some(_), .. })
            || self.attempt.is_none_or(|attempt| attempt.internal)
    }

    /// The reply that tells what became of it, as it came.
    pub(super) fn reply(&self) -> &[u8] {
        let said = self.attempt.map(|attempt| attempt.reply.as_slice());
        match &self.report.verdict {
            Verdict::Delivered => said.unwrap_or_default(),
            // The schedule's, not the server's.
            Verdict::Failed { reply, last: Some(_), .. } => reply.as_bytes(),
            Verdict::Delayed { reply, .. } | Verdict::Failed { reply, .. } => {
                said.unwrap_or(reply.as_bytes())
            }
        }
    }

    /// The classification of its failure.
    pub(super) fn class(&self, reply: &str) -> u8 {
        match self.report.verdict {
            Verdict::Delayed { .. } => TRANSIENT_CLASS,
            Verdict::Delivered | Verdict::Failed { .. } => classify(reply, self.stage()),
        }
    }

    pub(super) fn bounce(&self, kind: BounceKind, reply: &str) -> BounceRecord<'_> {
        BounceRecord {
            kind,
            recipient: parts(&self.message.recipient),
            sender: parts(&self.message.sender),
            stage: self.stage(),
            class: self.class(reply),
            octets: self.message.octets,
            by: self.by(),
            text: self.reply(),
            user: None,
        }
    }

    pub(super) fn record(&self, now: WallTime) -> MailRecord<'_> {
        let domain = &*self.report.queue.domain;
        let elapsed = self.elapsed(now);
        let by = self.by();
        let failure = |permanent| {
            MailRecord::Failure(Failure {
                permanent,
                domain,
                octets_sent: self.attempt.map_or(0, |attempt| attempt.octets_sent),
                stage: self.stage(),
                retries: self.report.retries,
                elapsed,
                by,
                reply: self.reply(),
                internal: self.is_internal(),
            })
        };
        match &self.report.verdict {
            Verdict::Delivered => MailRecord::Handover(Handover {
                moved: false,
                domain,
                octets: self.message.octets,
                retries: self.report.retries,
                elapsed,
                to: by.unwrap_or(IpAddr::from([0, 0, 0, 0])),
            }),
            Verdict::Delayed { .. } => failure(false),
            Verdict::Failed { .. } => failure(true),
        }
    }
}
