//! Outbound queues: commands, and the layouts of their answers.

use alloc::format;
use alloc::string::{String, ToString as _};
use alloc::vec::Vec;

use postfleet_types::WallTime;

use crate::answer::Answer;
use crate::command::Command;
use crate::failure::{Code, Failure};
use crate::lex::Word;

/// A command about queues or queued messages.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum QueueCommand {
    /// `active <threshold>`
    Active(u64),
    /// `delayed <threshold>`
    Delayed(u64),
    /// `domain all`
    Domains,
    /// `domain <domain>`
    Domain(String),
    /// `flush domain <domain>|all`
    Flush(Option<String>),
    /// `fail domain [quiet] <domain>`
    Fail {
        /// The domain.
        domain: String,
        /// Nobody is told.
        quiet: bool,
    },
    /// `refresh domain <domain>`
    Refresh(String),
    /// `showqueue [binding <binding>|binding all] <domain> [<limit>,<offset>]`
    Show {
        /// The binding; none: all of them.
        binding: Option<String>,
        /// The domain.
        domain: String,
        /// Most rows.
        limit: usize,
        /// Rows left out at the front.
        offset: usize,
    },
    /// `dig <domain>`
    Dig(String),
    /// `message details [full|body] <message id>`
    Details {
        /// The message.
        id: String,
        /// What of it.
        part: MessagePart,
    },
    /// `message retry <message id>`
    Retry(String),
    /// `message fail [quiet] <message id>`
    FailMessage {
        /// The message.
        id: String,
        /// Nobody is told.
        quiet: bool,
    },
}

/// What is shown of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MessagePart {
    /// What is known about it.
    Details,
    /// Header and body as stored.
    Body,
    /// Both.
    Full,
}

/// What a domain has and did, of one binding or of all.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DomainFigures {
    /// The domain, or the binding where the domain is known.
    pub name: String,
    /// Open connections.
    pub connections: u64,
    /// Active messages.
    pub active: u64,
    /// Delayed messages.
    pub delayed: u64,
    /// Messages that came.
    pub receptions: u64,
    /// Messages delivered.
    pub deliveries: u64,
    /// Messages that failed for good.
    pub failures: u64,
    /// Attempts that failed.
    pub transient: u64,
    /// Why active messages wait.
    pub wait: Option<String>,
}

impl DomainFigures {
    /// Adds another one's figures.
    pub fn add(&mut self, other: &Self) {
        self.connections += other.connections;
        self.active += other.active;
        self.delayed += other.delayed;
        self.receptions += other.receptions;
        self.deliveries += other.deliveries;
        self.failures += other.failures;
        self.transient += other.transient;
    }

    fn columns(&self) -> String {
        format!("A: {:>6}  D: {:>5}  S:{:>6}", self.active, self.delayed, self.deliveries)
    }

    fn row(&self) -> String {
        format!("Domain: {:>30}  C: {:>2}  {}", self.name, self.connections, self.columns())
    }
}

fn total(domains: &[DomainFigures]) -> DomainFigures {
    domains.iter().fold(DomainFigures::default(), |mut sum, domain| {
        sum.add(domain);
        sum
    })
}

/// `active` and `delayed`: domains that have more than the threshold, and the total of all.
#[must_use]
pub fn domains_above(domains: &[DomainFigures], above: impl Fn(&DomainFigures) -> bool) -> Answer {
    let sum = total(domains);
    let last = format!("{:>38}  C: {:>2}  {}", "Total:", sum.connections, sum.columns());
    let rows = domains.iter().filter(|domain| above(domain)).map(DomainFigures::row);
    Answer::Lines(rows.chain([last]).collect())
}

/// `domain all`.
#[must_use]
pub fn all_domains(domains: &[DomainFigures]) -> Answer {
    let sum = total(domains);
    let last = format!("Totals: C: {:>3}  {}", sum.connections, sum.columns());
    let first = String::from("Domain summary:");
    let rows = domains.iter().map(DomainFigures::row);
    Answer::Lines(core::iter::once(first).chain(rows).chain([last]).collect())
}

/// `domain <domain>`: what each of its bindings has.
#[must_use]
pub fn one_domain(bindings: &[DomainFigures]) -> Answer {
    let mut lines = ["Statistics:", "-----------"].map(String::from).to_vec();
    for binding in bindings {
        lines.push(format!("Binding: {:>20}", binding.name));
        for (label, value) in [
            ("Receptions", binding.receptions),
            ("Deliveries", binding.deliveries),
            ("Failures (5xx)", binding.failures),
            ("Trans. Failures (4xx)", binding.transient),
            ("Active Queue", binding.active),
            ("Delayed Queue", binding.delayed),
        ] {
            lines.push(format!("\t{label:>24}: {value:>20}"));
        }
        lines.push(String::from("\t---------------------------------------"));
    }
    let sum = total(bindings);
    lines.extend(["Server Totals:", "--------------"].map(String::from));
    for (label, value) in [("Active Queue:", sum.active), ("Delayed Queue:", sum.delayed)] {
        lines.push(format!("\t{label:<14}{value:>17}"));
    }
    for (label, value) in [
        ("Receptions:", sum.receptions),
        ("Deliveries:", sum.deliveries),
        ("Failures (5xx):", sum.failures),
        ("Failures (4xx):", sum.transient),
    ] {
        lines.push(format!("\t{label:<15}{value:>12}"));
    }
    lines.push(format!("Active Connections: {}", sum.connections));
    for binding in bindings {
        if let Some(wait) = &binding.wait {
            lines.push(format!("[Binding: {}] Limited by: {wait}", binding.name));
        }
    }
    Answer::Lines(lines)
}

/// One message of `showqueue`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct QueuedRow {
    /// On the active list.
    pub active: bool,
    /// Its binding.
    pub binding: String,
    /// Its id.
    pub id: String,
    /// When it was accepted.
    pub created: WallTime,
    /// The reverse-path.
    pub sender: String,
    /// The forward-path.
    pub recipient: String,
}

/// `showqueue`.
#[must_use]
pub fn queue_rows(rows: &[QueuedRow]) -> Answer {
    let lines = rows.iter().flat_map(|row| {
        let list = if row.active { "active" } else { "delayed" };
        [
            format!("[{list}/{}] {} Created: {}", row.binding, row.id, row.created.unix_seconds()),
            format!("  From: <{}> To: <{}>", row.sender, row.recipient),
        ]
    });
    Answer::Lines(lines.collect())
}

/// `message details`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MessageDetails {
    /// Its id.
    pub id: String,
    /// When it was accepted.
    pub created: WallTime,
    /// When it is tried next.
    pub next: WallTime,
    /// Attempts that failed.
    pub retries: u32,
    /// How it came: `SMTP 192.0.2.103 (IPv4)`.
    pub via: String,
    /// The reverse-path.
    pub sender: String,
    /// The forward-path.
    pub recipient: String,
    /// The last reply; empty before the first.
    pub reply: String,
    /// Octets of content.
    pub octets: u64,
}

impl MessageDetails {
    /// The answer.
    #[must_use]
    pub fn answer(&self) -> Answer {
        Answer::Lines(self.lines())
    }

    /// The answer with header and body behind it, and an empty line between.
    #[must_use]
    pub fn full(&self, content: &str) -> Answer {
        let body = content.lines().map(String::from);
        Answer::Lines(self.lines().into_iter().chain([String::new()]).chain(body).collect())
    }

    fn lines(&self) -> Vec<String> {
        let mut lines =
            Vec::from([format!("Message: {}", self.id), String::from("Message Type: full message")]);
        for (label, value) in [
            ("Created", time(self.created)),
            ("Next Attempt", time(self.next)),
            ("Retries", self.retries.to_string()),
            ("Received Via", self.via.clone()),
            ("Sender", self.sender.clone()),
            ("Recipient", self.recipient.clone()),
            ("Code", self.reply.clone()),
            ("Size", self.octets.to_string()),
        ] {
            lines.push(format!("{label:>22}: {value}"));
        }
        lines
    }
}

fn time(at: WallTime) -> String {
    let civil = at.civil();
    format!(
        "{:04}-{:02}-{:02} {:02}:{:02}:{:02}",
        civil.year, civil.month, civil.day, civil.hour, civil.minute, civil.second
    )
}

impl Failure {
    /// No such domain is known.
    #[must_use]
    pub fn no_such_domain(domain: &str) -> Self {
        Self::error(Code::NoSuchDomain, format!("No such domain '{domain}' in the route cache."))
    }

    /// No such message is queued.
    #[must_use]
    pub fn no_such_message(id: &str) -> Self {
        Self::error(Code::NoSuchMessage, format!("No such message '{id}'."))
    }

    /// A connection has the message.
    #[must_use]
    pub fn message_in_transmission() -> Self {
        Self::error(Code::Busy, "Message is being delivered; details not available.")
    }
}

/// Constructors of commands from their arguments; `None` when the arguments do not fit the grammar.
pub(crate) mod build {
    use super::{Command, MessagePart, QueueCommand, String, Word};

    fn one(arguments: &[Word], command: fn(String) -> QueueCommand) -> Option<Command> {
        match arguments {
            [word] => Some(Command::Queue(command(word.text.clone()))),
            _ => None,
        }
    }

    fn lower(word: &Word) -> String {
        word.text.to_ascii_lowercase()
    }

    fn threshold(arguments: &[Word]) -> Option<u64> {
        match arguments {
            [word] if word.text.bytes().all(|octet| octet.is_ascii_digit()) => word.text.parse().ok(),
            _ => None,
        }
    }

    pub(crate) fn active(arguments: &[Word]) -> Option<Command> {
        Some(Command::Queue(QueueCommand::Active(threshold(arguments)?)))
    }

    pub(crate) fn delayed(arguments: &[Word]) -> Option<Command> {
        Some(Command::Queue(QueueCommand::Delayed(threshold(arguments)?)))
    }

    pub(crate) fn domains(arguments: &[Word]) -> Option<Command> {
        arguments.is_empty().then_some(Command::Queue(QueueCommand::Domains))
    }

    pub(crate) fn domain(arguments: &[Word]) -> Option<Command> {
        match arguments {
            [word] => Some(Command::Queue(QueueCommand::Domain(lower(word)))),
            _ => None,
        }
    }

    pub(crate) fn flush(arguments: &[Word]) -> Option<Command> {
        match arguments {
            [word] => {
                Some(Command::Queue(QueueCommand::Flush(Some(lower(word)).filter(|name| name != "all"))))
            }
            _ => None,
        }
    }

    pub(crate) fn fail(arguments: &[Word]) -> Option<Command> {
        fail_domain(arguments, false)
    }

    pub(crate) fn fail_quiet(arguments: &[Word]) -> Option<Command> {
        fail_domain(arguments, true)
    }

    /// `all` has to be said for each binding.
    fn fail_domain(arguments: &[Word], quiet: bool) -> Option<Command> {
        match arguments {
            [word] if word.text != "all" => {
                Some(Command::Queue(QueueCommand::Fail { domain: lower(word), quiet }))
            }
            _ => None,
        }
    }

    pub(crate) fn refresh(arguments: &[Word]) -> Option<Command> {
        match arguments {
            [word] => Some(Command::Queue(QueueCommand::Refresh(lower(word)))),
            _ => None,
        }
    }

    pub(crate) fn dig(arguments: &[Word]) -> Option<Command> {
        match arguments {
            [word] => Some(Command::Queue(QueueCommand::Dig(lower(word)))),
            _ => None,
        }
    }

    pub(crate) fn details(arguments: &[Word]) -> Option<Command> {
        let (part, id) = match arguments {
            [id] => (MessagePart::Details, id),
            [part, id] if part.text == "full" => (MessagePart::Full, id),
            [part, id] if part.text == "body" => (MessagePart::Body, id),
            _ => return None,
        };
        Some(Command::Queue(QueueCommand::Details { id: id.text.clone(), part }))
    }

    pub(crate) fn retry(arguments: &[Word]) -> Option<Command> {
        one(arguments, QueueCommand::Retry)
    }

    pub(crate) fn fail_message(arguments: &[Word]) -> Option<Command> {
        one(arguments, |id| QueueCommand::FailMessage { id, quiet: false })
    }

    pub(crate) fn fail_message_quiet(arguments: &[Word]) -> Option<Command> {
        one(arguments, |id| QueueCommand::FailMessage { id, quiet: true })
    }

    pub(crate) fn show(arguments: &[Word]) -> Option<Command> {
        let (binding, rest) = match arguments {
            [first, name, rest @ ..] if first.text == "binding" => {
                (Some(name.text.clone()).filter(|name| name != "all"), rest)
            }
            rest => (Some(String::from("default")), rest),
        };
        let (domain, limit, offset) = match rest {
            [domain] => (domain, 100, 0),
            [domain, range] => {
                let (limit, offset) = range.text.split_once(',').unwrap_or((range.text.as_str(), "0"));
                (domain, limit.parse().ok()?, offset.parse().ok()?)
            }
            _ => return None,
        };
        Some(Command::Queue(QueueCommand::Show { binding, domain: lower(domain), limit, offset }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(answer: &Answer) -> &[String] {
        let Answer::Lines(lines) = answer else { panic!("lines") };
        lines
    }

    fn domain(name: &str, connections: u64, active: u64, delayed: u64, deliveries: u64) -> DomainFigures {
        DomainFigures {
            name: name.into(),
            connections,
            active,
            delayed,
            deliveries,
            ..DomainFigures::default()
        }
    }

    #[test]
    fn console_8_3_rows_of_domains() {
        let all = [
            domain("slow.example.net", 12, 530, 1204, 7120),
            domain("z.example", 628, 21_347, 32_898, 1_815_190),
        ];
        let answer = domains_above(&all, |domain| domain.active > 529 && domain.active < 1000);
        assert_eq!(
            lines(&answer),
            [
                "Domain:               slow.example.net  C: 12  A:    530  D:  1204  S:  7120",
                "                                Total:  C: 640  A:  21877  D: 34102  S:1822310",
            ]
        );
        let all = all_domains(&all[..1]);
        assert_eq!(lines(&all)[0], "Domain summary:");
        assert_eq!(lines(&all)[2], "Totals: C:  12  A:    530  D:  1204  S:  7120");
    }

    #[test]
    fn console_8_6_statistics_of_a_domain() {
        let binding = DomainFigures {
            name: "default".into(),
            connections: 2,
            active: 40,
            delayed: 7,
            receptions: 3450,
            deliveries: 3400,
            failures: 3,
            transient: 25,
            wait: Some("Max_Outbound_Connections at global: 2 of 2".into()),
        };
        let text = lines(&one_domain(&[binding])).join("\n");
        let expected = "\
Statistics:
-----------
Binding:              default
\t              Receptions:                 3450
\t              Deliveries:                 3400
\t          Failures (5xx):                    3
\t   Trans. Failures (4xx):                   25
\t            Active Queue:                   40
\t           Delayed Queue:                    7
\t---------------------------------------
Server Totals:
--------------
\tActive Queue:                40
\tDelayed Queue:                7
\tReceptions:            3450
\tDeliveries:            3400
\tFailures (5xx):           3
\tFailures (4xx):          25
Active Connections: 2
[Binding: default] Limited by: Max_Outbound_Connections at global: 2 of 2";
        assert_eq!(text, expected);
    }

    #[test]
    fn console_8_7_messages() {
        let row = QueuedRow {
            active: true,
            binding: "default".into(),
            id: "A2/00-04711-003BF317".into(),
            created: WallTime::from_unix_seconds(1_900_000_000),
            sender: "sender@example.org".into(),
            recipient: "rcpt1@example.com".into(),
        };
        assert_eq!(
            lines(&queue_rows(&[row])),
            [
                "[active/default] A2/00-04711-003BF317 Created: 1900000000",
                "  From: <sender@example.org> To: <rcpt1@example.com>",
            ]
        );
        let details = MessageDetails {
            id: "A2/00-04711-003BF317".into(),
            created: WallTime::from_unix_seconds(1_900_000_000),
            next: WallTime::from_unix_seconds(1_900_018_000),
            retries: 3,
            via: "SMTP 192.0.2.103 (IPv4)".into(),
            sender: "sender@example.org".into(),
            recipient: "someaddress@example.com".into(),
            reply: "451 4.4.1 [internal] No valid hosts (unable to make any connections)".into(),
            octets: 20_480,
        };
        let expected = "\
Message: A2/00-04711-003BF317
Message Type: full message
               Created: 2030-03-17 17:46:40
          Next Attempt: 2030-03-17 22:46:40
               Retries: 3
          Received Via: SMTP 192.0.2.103 (IPv4)
                Sender: sender@example.org
             Recipient: someaddress@example.com
                  Code: 451 4.4.1 [internal] No valid hosts (unable to make any connections)
                  Size: 20480";
        assert_eq!(lines(&details.answer()).join("\n"), expected);
    }
}
