//! MAIL and RCPT.

use alloc::boxed::Box;
use alloc::string::{String, ToString};
use alloc::vec::Vec;

use super::{Session, Waiting, commands};
use crate::address::ReversePath;
use crate::command::{self, ParameterError, RecipientLine};
use crate::envelope::{MailFrom, Recipient};
use crate::event::{AbortReason, Answer, Event, Phase, Question, Rejection, RejectionKind, Resources};
use crate::relay::RelayRule;
use crate::reply::Reply;

/// Recipients of one transaction when `Max_Recipients_Per_Message` sets no limit. It bounds memory, at some 200
/// octets each, and is far above what any client sends; the surplus gets 452 like any other.
pub const RECIPIENTS_MAX: usize = 50_000;

/// The smallest limit that RFC 5321, section 4.5.3.1.8, allows.
const RECIPIENTS_PER_MESSAGE_FLOOR: u32 = 100;

/// From MAIL to the end of the data.
#[derive(Debug)]
pub(super) struct Transaction {
    pub(super) mail: MailFrom,
    pub(super) recipients: Vec<Recipient>,
}

impl Transaction {
    pub(super) fn copies(&self) -> u32 {
        u32::try_from(self.recipients.len()).unwrap_or(u32::MAX)
    }
}

/// A MAIL command that policy is looking at.
#[derive(Debug)]
pub(super) struct PendingMail {
    mail: MailFrom,
}

/// A RCPT command that policy is looking at.
#[derive(Debug)]
pub(super) struct PendingRecipient {
    line: RecipientLine,
}

impl Session {
    pub(super) fn mail(&mut self, line: &[u8], argument: &str) {
        if self.reconfigured {
            return self.reconfiguration();
        }
        if self.settings.require_ehlo && self.helo.is_none() {
            return self.bad(&Reply::new(503, "5.5.1", "RFC2821 HELO/EHLO needed"));
        }
        if self.transaction.is_some() {
            return self.bad(&Reply::new(503, "5.5.1", "MAIL FROM already established"));
        }
        let receptions_max = self.settings.receptions_per_connection_max;
        if receptions_max > 0 && self.counters.messages >= receptions_max {
            self.reply(&Reply::new(421, "4.5.3", "Service unavailable, batch limit reached"));
            return self.close();
        }
        let mail = match command::mail(argument, &self.settings) {
            Ok(mail) => mail,
            Err(error) => return self.wrong_path(error, "MAIL FROM syntax error"),
        };
        let size_max = self.settings.message_octets_max;
        if mail.reverse_path == ReversePath::Null && !self.settings.allow_null_sender {
            let reply = Reply::new(550, "5.7.1", "null envelope sender refused");
            return self.mail_rejected(&mail, RejectionKind::Policy, reply);
        }
        if size_max > 0 && mail.size.is_some_and(|size| size > size_max) {
            return self.mail_rejected(&mail, RejectionKind::Size, size_limit());
        }
        let room = match self.resources {
            Resources::Ample => true,
            Resources::Room(octets) => mail.size.is_none_or(|size| size <= octets),
            Resources::Short => false,
        };
        if !room {
            return self.reply(&insufficient_storage());
        }
        if self.questions.mail {
            let pending = PendingMail { mail: mail.clone() };
            let line = String::from_utf8_lossy(line).into_owned();
            self.ask(Question::Mail { line, mail: Box::new(mail) }, Waiting::Mail(Box::new(pending)));
        } else {
            self.mail_accepted(mail, None);
        }
    }

    fn mail_accepted(&mut self, mail: MailFrom, said: Option<Reply>) {
        self.transaction = Some(Transaction { mail, recipients: Vec::new() });
        self.reply(&said.unwrap_or_else(|| Reply::new(250, "2.1.0", "MAIL FROM accepted")));
    }

    fn mail_rejected(&mut self, mail: &MailFrom, kind: RejectionKind, reply: Reply) {
        self.reply(&reply);
        let sender = Some(mail.reverse_path.to_string());
        self.report(Rejection {
            phase: Phase::AwaitingMail,
            kind,
            reply,
            copies: 1,
            sender,
            recipient: None,
        });
    }

    pub(super) fn mail_answered(&mut self, pending: PendingMail, answer: Answer) {
        match answer {
            Answer::Continue => {
                self.unit_open = true;
                self.mail_accepted(pending.mail, None);
            }
            Answer::Accept(reply) => {
                self.unit_open = true;
                self.mail_accepted(pending.mail, Some(reply.accepting()));
            }
            Answer::Refuse(reply) => {
                self.mail_rejected(&pending.mail, RejectionKind::Policy, reply.refusing())
            }
            Answer::Disconnect(reply) => {
                self.mail_rejected(&pending.mail, RejectionKind::Policy, reply.refusing());
                self.close();
            }
            Answer::RateLimited => self.reply(&super::rate_limited()),
        }
    }

    pub(super) fn recipient(&mut self, written: &[u8], argument: &str) {
        let Some(transaction) = &self.transaction else {
            return self.bad(&Reply::new(503, "5.5.1", "RCPT TO without MAIL FROM"));
        };
        if self.chunked.is_some() {
            return self.bad(&commands::out_of_sequence());
        }
        let (accepted, count) = (transaction.copies(), transaction.recipients.len());
        let line = match command::recipient(argument, &self.settings, transaction.mail.smtputf8) {
            Ok(line) => line,
            Err(error) => return self.wrong_path(error, "RCPT TO syntax error"),
        };
        let per_message = match self.settings.recipients_per_message_max {
            0 => u32::MAX,
            limit => limit.max(RECIPIENTS_PER_MESSAGE_FLOOR),
        };
        if accepted >= per_message || count >= RECIPIENTS_MAX {
            let text = "Service unavailable, recipients per message limit reached";
            return self.reply(&Reply::new(452, "4.5.3", text));
        }
        let per_connection = self.settings.recipients_per_connection_max;
        if per_connection > 0 && self.counters.recipients >= per_connection {
            let text = "Service unavailable, recipients per connection limit reached";
            return self.reply(&Reply::new(452, "4.5.3", text));
        }
        if self.questions.recipient {
            let written = String::from_utf8_lossy(written).into_owned();
            let question = Question::Recipient { line: written, address: Box::new(line.address.clone()) };
            self.ask(question, Waiting::Recipient(Box::new(PendingRecipient { line })));
        } else {
            self.recipient_checked(line, None);
        }
    }

    pub(super) fn recipient_answered(&mut self, pending: PendingRecipient, answer: Answer) {
        let PendingRecipient { line } = pending;
        match answer {
            Answer::Continue => self.recipient_checked(line, None),
            Answer::Accept(reply) => self.recipient_checked(line, Some(reply.accepting())),
            Answer::Refuse(reply) => {
                self.recipient_rejected(
                    &line,
                    Phase::AwaitingRecipient,
                    RejectionKind::Policy,
                    reply.refusing(),
                );
            }
            Answer::Disconnect(reply) => {
                self.recipient_rejected(
                    &line,
                    Phase::AwaitingRecipient,
                    RejectionKind::Policy,
                    reply.refusing(),
                );
                self.close();
            }
            Answer::RateLimited => self.reply(&super::rate_limited()),
        }
    }

    /// Relay control.
    fn recipient_checked(&mut self, line: RecipientLine, said: Option<Reply>) {
        let client = self.settings.relay.client(self.client.ip(), self.can_relay);
        let Some(transaction) = &mut self.transaction else { return };
        let postmaster = line.bare_postmaster.then_some(RelayRule::RelayDomain);
        let by_domain = || self.settings.relay.recipient(&transaction.mail.reverse_path, &line.address);
        let Some(rule) = client.or(postmaster).or_else(by_domain) else {
            let reply = Reply::new(550, "5.7.1", "relaying denied");
            return self.recipient_rejected(&line, Phase::RelayingDenied, RejectionKind::Relaying, reply);
        };
        let RecipientLine { address, notify, original, bare_postmaster: _ } = line;
        transaction.recipients.push(Recipient { address, notify, original, rule });
        self.counters.recipients = self.counters.recipients.saturating_add(1);
        self.reply(&said.unwrap_or_else(|| Reply::new(250, "2.1.5", "RCPT TO accepted")));
    }

    fn recipient_rejected(&mut self, line: &RecipientLine, phase: Phase, kind: RejectionKind, reply: Reply) {
        self.reply(&reply);
        let sender = self.transaction.as_ref().map(|transaction| transaction.mail.reverse_path.to_string());
        let recipient = Some(line.address.to_string());
        self.report(Rejection { phase, kind, reply, copies: 1, sender, recipient });
    }

    fn wrong_path(&mut self, error: ParameterError, syntax: &'static str) {
        match error {
            ParameterError::Syntax => self.bad(&Reply::new(501, "5.5.2", syntax)),
            ParameterError::Unsupported => self.bad(&Reply::new(555, "5.5.4", "unsupported parameter")),
            ParameterError::NotAscii => {
                self.reply(&Reply::new(553, "5.6.7", "non-ASCII address without SMTPUTF8"));
            }
        }
    }

    /// Forgets the transaction, and the message that has begun in chunks.
    pub(super) fn end_transaction(&mut self, reason: AbortReason) {
        if self.chunked.take().is_some_and(|mut incoming| incoming.abort()) {
            self.outbox.push_back(Event::MessageAbort(reason));
        }
        self.transaction = None;
        self.settle(false);
    }
}

pub(super) fn size_limit() -> Reply {
    Reply::new(552, "5.3.4", "message size limit exceeded")
}

pub(super) fn insufficient_storage() -> Reply {
    Reply::new(452, "4.3.1", "insufficient system storage")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The formula in docs/smtp.md.
    #[test]
    fn memory_as_documented() {
        assert!(size_of::<Session>() <= 640, "{}", size_of::<Session>());
        assert!(size_of::<Recipient>() <= 128, "{}", size_of::<Recipient>());
    }
}
