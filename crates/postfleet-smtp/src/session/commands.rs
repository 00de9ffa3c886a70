//! One function for each command that is not part of a transaction, and the dispatch.

use alloc::format;
use alloc::string::String;

use super::{Helo, Session, Waiting, shutting_down};
use crate::command::{CommandLine, Verb, helo_name};
use crate::event::{AbortReason, Answer, Event, Phase, Question, RejectionKind};
use crate::reply::Reply;
use crate::settings::Injection;

const NO_PARAMETERS: &str = "Syntax error (no parameters allowed)";

impl Session {
    /// Carries out one command line, given without its CR LF.
    pub(super) fn command(&mut self, line: &[u8]) {
        let command = CommandLine::parse(line);
        if command.verb == Verb::Quit && self.takes_nothing(command) {
            return self.quit();
        }
        if self.service_refused {
            return self.bad(&out_of_sequence());
        }
        if self.shutting_down {
            self.reply(&shutting_down());
            return self.close();
        }
        match command.verb {
            Verb::Ehlo => self.helo(line, command.argument, true),
            Verb::Helo => self.helo(line, command.argument, false),
            Verb::Mail => self.mail(line, command.argument),
            Verb::Rcpt => self.recipient(line, command.argument),
            Verb::Data => self.data(self.takes_nothing(command)),
            Verb::Bdat => self.chunk(command.argument),
            Verb::Rset => self.reset_command(self.takes_nothing(command)),
            Verb::Noop => self.reply(&Reply::new(250, "2.0.0", "ok")),
            Verb::Vrfy => self.reply(&Reply::new(252, "2.5.2", "send some mail, we will try")),
            Verb::Expn => self.reply(&not_implemented()),
            Verb::Help => self.help(),
            Verb::StartTls => self.start_tls(self.takes_nothing(command)),
            Verb::Auth => self.bad(&not_implemented()),
            Verb::Quit => self.bad(&Reply::new(501, "5.5.4", NO_PARAMETERS)),
            Verb::Unknown => self.unknown(),
        }
    }

    fn takes_nothing(&self, command: CommandLine<'_>) -> bool {
        let blank_only = command.argument.trim_matches([' ', '\t']).is_empty();
        !command.blank || (self.settings.allow_trailing_whitespace && blank_only)
    }

    /// A command that is understood and wrong.
    pub(super) fn bad(&mut self, reply: &Reply) {
        self.reply(reply);
        self.counters.bad_commands += 1;
        self.limit_errors();
    }

    fn unknown(&mut self) {
        self.reply(&Reply::new(500, "5.5.2", "unrecognized command"));
        self.counters.unrecognized_commands += 1;
        self.limit_errors();
    }

    fn helo(&mut self, line: &[u8], argument: &str, extended: bool) {
        let trimmed = if self.settings.allow_trailing_whitespace { argument.trim_end() } else { argument };
        let Some(name) = helo_name(trimmed, self.settings.extensions.smtputf8) else {
            let text = if extended { "invalid EHLO" } else { "invalid HELO" };
            return self.bad(&Reply::new(501, "5.5.2", text));
        };
        let helo = Helo { name: String::from(name), extended };
        if self.questions.ehlo {
            let line = String::from_utf8_lossy(line).into_owned();
            let question = Question::Helo { line, name: helo.name.clone() };
            self.ask(question, Waiting::Helo(helo));
        } else {
            self.helo_accepted(helo);
        }
    }

    pub(super) fn helo_answered(&mut self, helo: Helo, answer: Answer) {
        match answer {
            Answer::Continue | Answer::Accept(_) => self.helo_accepted(helo),
            Answer::Refuse(reply) => {
                let reply = reply.refusing();
                self.rejected(Phase::AwaitingHelo, RejectionKind::Policy, &reply, 1);
                self.reply(&reply);
            }
            Answer::Disconnect(reply) => self.disconnect(Phase::AwaitingHelo, reply),
            Answer::RateLimited => self.reply(&super::rate_limited()),
        }
    }

    fn helo_accepted(&mut self, helo: Helo) {
        self.end_transaction(AbortReason::Reset);
        let (verb, extended) = if helo.extended { ("EHLO", true) } else { ("HELO", false) };
        let mut text = format!("{} says {verb} to {}", self.settings.banner_hostname, self.client.ip());
        self.helo = Some(helo);
        if extended {
            let extensions = self.settings.extensions;
            text.push_str("\nPIPELINING\n8BITMIME\n");
            text.push_str(&format!("SIZE {}", self.settings.message_octets_max));
            for (offered, keyword) in [
                (extensions.enhanced_status_codes, "\nENHANCEDSTATUSCODES"),
                (extensions.starttls && self.tls.is_none(), "\nSTARTTLS"),
                (extensions.dsn, "\nDSN"),
                (extensions.chunking, "\nCHUNKING"),
                (extensions.smtputf8, "\nSMTPUTF8"),
            ] {
                text.push_str(if offered { keyword } else { "" });
            }
        }
        self.reply(&Reply::verbatim(250, text));
        self.flush();
    }

    fn reset_command(&mut self, takes_nothing: bool) {
        if self.reconfigured {
            return self.reconfiguration();
        }
        if !takes_nothing {
            return self.bad(&Reply::new(501, "5.5.4", "invalid arguments to RSET"));
        }
        self.end_transaction(AbortReason::Reset);
        self.reply(&Reply::new(250, "2.0.0", "reset"));
    }

    pub(super) fn reconfiguration(&mut self) {
        let reply = Reply::verbatim(421, self.settings.reconfig_message.clone());
        self.reply(&reply);
        self.close();
    }

    fn help(&mut self) {
        let text = "RFC 5321; commands: EHLO HELO MAIL RCPT DATA BDAT RSET NOOP VRFY STARTTLS HELP QUIT";
        self.reply(&Reply::new(214, "2.0.0", text));
    }

    fn start_tls(&mut self, takes_nothing: bool) {
        if !self.settings.extensions.starttls {
            return self.bad(&not_implemented());
        }
        if self.tls.is_some() || self.transaction.is_some() {
            return self.bad(&out_of_sequence());
        }
        if !takes_nothing {
            return self.bad(&Reply::new(501, "5.5.4", NO_PARAMETERS));
        }
        if !self.input.is_empty() {
            match self.settings.starttls_injection {
                Injection::Reject => return self.injected(),
                Injection::Ignore => self.input.clear(),
            }
        }
        self.reply(&Reply::new(220, "2.0.0", "ready to start TLS"));
        self.flush();
        self.outbox.push_back(Event::StartTls);
        self.waiting = Waiting::Tls;
    }
}

pub(super) fn out_of_sequence() -> Reply {
    Reply::new(503, "5.5.1", "bad sequence of commands")
}

pub(super) fn not_implemented() -> Reply {
    Reply::new(502, "5.5.1", "not implemented")
}
