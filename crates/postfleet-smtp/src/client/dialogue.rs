//! What each reply leads to, outside a transaction; and the ways in which a connection ends.

use alloc::format;
use alloc::string::String;

use postfleet_types::Monotonic;

use super::ehlo::Offered;
use super::event::{Ending, Event, Failure, Outcome};
use super::reply::{PeerReply, ReplyReader, Verdict};
use super::settings::TlsPolicy;
use super::stage::Stage;
use super::{Awaited, Client, Phase, tls_failed_reply};

impl Client {
    /// A whole reply came.
    pub(super) fn replied(&mut self, reply: PeerReply) {
        let Some(awaited) = self.awaited.front().copied() else { return self.unasked(reply) };
        if awaited == Awaited::Quit {
            return self.end(Ending::Done);
        }
        // Said at any moment, and whatever it answers: the server closes.
        if reply.code() == 421 {
            return self.lose(reply, false);
        }
        let verdict = reply.verdict();
        match awaited {
            Awaited::Banner | Awaited::Ehlo | Awaited::Helo | Awaited::StartTls | Awaited::Reset
                if verdict == Verdict::GoOn =>
            {
                return self.unanswered();
            }
            Awaited::Banner | Awaited::Helo | Awaited::Reset if verdict != Verdict::Done => {
                return self.lose(reply, false);
            }
            Awaited::Ehlo if verdict != Verdict::Done && !(500..=504).contains(&reply.code()) => {
                return self.lose(reply, false);
            }
            Awaited::Banner
            | Awaited::Ehlo
            | Awaited::Helo
            | Awaited::StartTls
            | Awaited::Mail
            | Awaited::Recipient(_)
            | Awaited::Data
            | Awaited::Chunk
            | Awaited::Confirmation
            | Awaited::Nobody
            | Awaited::Reset
            | Awaited::Quit => {}
        }
        match awaited {
            Awaited::Banner => {
                self.awaited.pop_front();
                self.hello();
            }
            Awaited::Ehlo if verdict == Verdict::Done => {
                self.awaited.pop_front();
                self.offered = Offered::parse(&reply);
                self.greeted();
            }
            Awaited::Ehlo => {
                self.awaited.pop_front();
                let line = format!("HELO {}\r\n", self.hostname());
                self.say(&line, Awaited::Helo);
            }
            Awaited::Helo => {
                self.awaited.pop_front();
                self.offered = Offered::default();
                self.greeted();
            }
            Awaited::StartTls if verdict == Verdict::Done => {
                self.awaited.pop_front();
                self.phase = Phase::Handshake;
                self.events.push_back(Event::StartTls);
            }
            Awaited::StartTls => self.starttls_refused(),
            Awaited::Reset => {
                self.awaited.pop_front();
                self.become_ready();
            }
            Awaited::Quit => self.end(Ending::Done),
            Awaited::Mail
            | Awaited::Recipient(_)
            | Awaited::Data
            | Awaited::Chunk
            | Awaited::Confirmation
            | Awaited::Nobody => self.transaction_replied(awaited, reply),
        }
    }

    /// A reply that nothing asked for: commands and replies no longer belong together, so the connection ends.
    ///
    /// While content is sent, a refusal is the server's last word on the message. A 2xx is not: the server cannot
    /// have seen the end.
    fn unasked(&mut self, reply: PeerReply) {
        match reply.verdict() {
            Verdict::Permanent if self.transaction.is_some() => {
                let failure = self.failure(reply.clone());
                self.settle_open(&Outcome::Permanent(failure));
                self.lose(reply, false);
            }
            Verdict::Temporary | Verdict::Permanent => self.lose(reply, false),
            Verdict::Done | Verdict::GoOn => self.unanswered(),
        }
    }

    pub(super) fn hello(&mut self) {
        let line = format!("EHLO {}\r\n", self.hostname());
        self.say(&line, Awaited::Ehlo);
    }

    fn hostname(&self) -> String {
        self.settings.ehlo_hostname.chars().filter(|c| !c.is_control() && *c != ' ').collect()
    }

    /// EHLO or HELO was accepted.
    fn greeted(&mut self) {
        match self.settings.tls {
            TlsPolicy::IfAvailable | TlsPolicy::Required if self.encrypted => self.become_ready(),
            TlsPolicy::IfAvailable | TlsPolicy::Required if self.offered.starttls => {
                self.say("STARTTLS\r\n", Awaited::StartTls);
            }
            TlsPolicy::Required => {
                let text = String::from("4.7.6 [internal] STARTTLS required but not advertised");
                self.lose(PeerReply::internal(451, text), false);
                self.output.extend_from_slice(b"QUIT\r\n");
            }
            TlsPolicy::None | TlsPolicy::IfAvailable => self.become_ready(),
        }
    }

    fn starttls_refused(&mut self) {
        if self.settings.tls == TlsPolicy::IfAvailable && self.settings.tls_fallback {
            self.awaited.pop_front();
            self.become_ready();
        } else {
            self.lose(tls_failed_reply(), false);
            self.output.extend_from_slice(b"QUIT\r\n");
        }
    }

    pub(super) fn handshake_failed(&mut self) {
        let again = self.settings.tls == TlsPolicy::IfAvailable && self.settings.tls_fallback;
        let failure = self.failure(tls_failed_reply());
        self.lose(tls_failed_reply(), false);
        if again && let Some(Event::Close(ending)) = self.events.back_mut() {
            *ending = Ending::RetryWithoutTls(failure);
        }
    }

    /// The connection takes a message: the one that waits, or the next.
    pub(super) fn become_ready(&mut self) {
        self.proven = true;
        self.transaction = None;
        self.phase = Phase::Idle;
        if let Some(message) = self.waiting.take() {
            self.phase = Phase::Busy;
            if self.begin(message) {
                return;
            }
            // Nothing could be said of it.
            self.transaction = None;
            self.phase = Phase::Idle;
        }
        self.events.push_back(Event::Ready);
    }

    pub(super) fn reset(&mut self) {
        self.transaction = None;
        self.say("RSET\r\n", Awaited::Reset);
    }

    pub(super) fn say_quit(&mut self, now: Monotonic) {
        self.events.retain(|event| *event != Event::Ready);
        self.phase = Phase::Quitting;
        self.say("QUIT\r\n", Awaited::Quit);
        self.touch(now);
    }

    pub(super) fn say(&mut self, line: &str, awaited: Awaited) {
        self.output.extend_from_slice(line.as_bytes());
        self.awaited.push_back(awaited);
    }

    pub(super) fn failure(&self, reply: PeerReply) -> Failure {
        Failure { stage: self.stage(), reply, in_doubt: false }
    }

    /// What came is no reply, or no reply came.
    pub(super) fn unanswered(&mut self) {
        let stage = self.stage();
        let text = if stage == Stage::Banner {
            String::from("4.4.2 [internal] no banner")
        } else {
            format!("4.4.2 [internal] no {} response", stage.word())
        };
        self.lose(PeerReply::internal(451, text), true);
    }

    /// The connection has failed, for this reason. `silent`: the server did not answer, so a message that was sent
    /// completely may have been taken.
    pub(super) fn lose(&mut self, reply: PeerReply, silent: bool) {
        let quitting = self.phase == Phase::Quitting;
        let mut failure = self.failure(reply);
        failure.in_doubt = silent && self.awaited.front() == Some(&Awaited::Confirmation);
        self.output.clear();
        self.settle_open(&Outcome::Temporary(failure.clone()));
        if let Some(message) = self.waiting.take() {
            for recipient in 0..message.recipients.len() {
                let outcome = Outcome::AnotherConnection(failure.clone());
                self.events.push_back(Event::Settled { recipient, outcome });
            }
        }
        failure.in_doubt = false;
        self.end(match (quitting, self.proven) {
            (true, _) => Ending::Done,
            (false, true) => Ending::Lost(failure),
            (false, false) => Ending::AddressFailed(failure),
        });
    }

    pub(super) fn end(&mut self, ending: Ending) {
        self.phase = Phase::Closed;
        self.awaited.clear();
        self.transaction = None;
        self.deadline = None;
        self.reader = ReplyReader::default();
        self.events.retain(|event| match event {
            Event::Settled { .. } | Event::Close(_) => true,
            Event::StartTls | Event::Ready | Event::ContentWanted => false,
        });
        self.events.push_back(Event::Close(ending));
    }
}
