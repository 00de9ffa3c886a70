//! Bindings: their commands, and the layouts of their answers.

use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

use crate::answer::Answer;
use crate::failure::{Code, Failure};

/// A command about the bindings of the configuration, or about mail and the binding that it is assigned to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum BindingCommand {
    /// `binding summary [<binding>|<slot>|group:<group>]`
    Summary(SummaryOf),
    /// `binding active <binding> <threshold>`
    Active {
        /// The binding.
        binding: String,
        /// Domains with more are listed.
        threshold: u64,
    },
    /// `binding delayed <binding> <threshold>`
    Delayed {
        /// The binding.
        binding: String,
        /// Domains with more are listed.
        threshold: u64,
    },
    /// `binding flush domain <binding> <domain>|all`
    Flush {
        /// The binding.
        binding: String,
        /// The domain; none: all of them.
        domain: Option<String>,
    },
    /// `rebind <binding>|all [<domain>]`
    Rebind {
        /// The binding; none: all of them.
        binding: Option<String>,
        /// The domain; none: all of them.
        domain: Option<String>,
    },
    /// `reroute queue <from domain> <to domain>`
    Reroute {
        /// The routing domain of the messages.
        from: String,
        /// The one that they get.
        to: String,
    },
    /// `binding fail domain [quiet] <binding> <domain>|all [<reply text>]`
    Fail {
        /// The binding.
        binding: String,
        /// The domain; none: all of them.
        domain: Option<String>,
        /// What the messages fail with.
        reply: Option<String>,
        /// Nobody is told.
        quiet: bool,
    },
}

/// What a summary is of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SummaryOf {
    /// Every binding.
    All,
    /// One, by its name, or else by its place in the configuration; `default` is at 0.
    Binding(String),
    /// The bindings of a group, and their sums.
    Group(String),
}

/// What a binding, or a group, has and did.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct BindingFigures {
    /// The binding.
    pub name: String,
    /// Its group, unless that is the one that always exists.
    pub group: Option<String>,
    /// Open connections.
    pub connections: u64,
    /// Active messages.
    pub active: u64,
    /// All messages.
    pub total: u64,
    /// Messages delivered.
    pub delivered: u64,
    /// Messages that failed for good.
    pub failed: u64,
    /// Messages that came.
    pub received: u64,
    /// Messages whose content is in memory.
    pub resident: u64,
}

impl BindingFigures {
    fn add(&mut self, other: &Self) {
        self.connections += other.connections;
        self.active += other.active;
        self.total += other.total;
        self.delivered += other.delivered;
        self.failed += other.failed;
        self.received += other.received;
        self.resident += other.resident;
    }

    fn lines(&self, uptime_seconds: u64) -> [String; 10] {
        let rate = |count: u64| {
            #[expect(clippy::cast_precision_loss, reason = "shown with two decimals")]
            if uptime_seconds > 0 { count as f64 / uptime_seconds as f64 } else { 0.0 }
        };
        [
            format!("        Open Connections: {:>7}", self.connections),
            format!("        Active Queue Size: {:>6}", self.active),
            format!("        Total Queue Size: {:>6}", self.total),
            format!("        Successfully Delivered Messages: {:>6}", self.delivered),
            format!("        Failed Messages: {:>6}", self.failed),
            format!("        Received Messages: {:>6}", self.received),
            format!("        Resident Messages: {:>6}", self.resident),
            format!("        Delivery Rate: {:>6.2} messages/second", rate(self.delivered + self.failed)),
            format!("        Reception Rate: {:>6.2} messages/second", rate(self.received)),
            format!("        Uptime: {uptime_seconds:>6} seconds"),
        ]
    }
}

/// `binding summary`: bindings, an empty line between them; and the sums of a group behind a line of stars.
#[must_use]
pub fn binding_summary(bindings: &[BindingFigures], group: Option<&str>, uptime_seconds: u64) -> Answer {
    let mut lines = Vec::new();
    for binding in bindings {
        if !lines.is_empty() {
            lines.push(String::new());
        }
        let group =
            binding.group.as_ref().map_or_else(String::new, |group| format!(" in Binding Group {group}"));
        lines.push(format!("Summary Statistics For Binding {}{group}", binding.name));
        lines.extend(binding.lines(uptime_seconds));
    }
    if let Some(group) = group {
        let mut sum = BindingFigures::default();
        bindings.iter().for_each(|binding| sum.add(binding));
        lines.push("*".repeat(44));
        lines.push(format!("Summary Statistics For Binding Group {group}"));
        lines.extend(sum.lines(uptime_seconds));
    }
    Answer::Lines(lines)
}

impl Failure {
    /// No binding group is called `name`.
    #[must_use]
    pub fn no_such_binding_group(name: &str) -> Self {
        Self::error(Code::NoSuchBinding, format!("No such binding group '{name}'."))
    }
}

/// Constructors of commands from their arguments; `None` when the arguments do not fit the grammar.
pub(crate) mod build {
    use super::{BindingCommand, String, SummaryOf};
    use crate::command::Command;
    use crate::lex::Word;

    fn threshold(word: &Word) -> Option<u64> {
        word.text.bytes().all(|octet| octet.is_ascii_digit()).then(|| word.text.parse().ok())?
    }

    /// A domain, or none for `all`.
    fn domain(word: &Word) -> Option<String> {
        Some(word.text.to_ascii_lowercase()).filter(|domain| domain != "all")
    }

    pub(crate) fn summary(arguments: &[Word]) -> Option<Command> {
        Some(Command::Binding(BindingCommand::Summary(match arguments {
            [] => SummaryOf::All,
            [word] => match word.text.strip_prefix("group:") {
                Some(group) => SummaryOf::Group(group.into()),
                None => SummaryOf::Binding(word.text.clone()),
            },
            _ => return None,
        })))
    }

    pub(crate) fn active(arguments: &[Word]) -> Option<Command> {
        let [binding, most] = arguments else { return None };
        let (binding, threshold) = (binding.text.clone(), threshold(most)?);
        Some(Command::Binding(BindingCommand::Active { binding, threshold }))
    }

    pub(crate) fn delayed(arguments: &[Word]) -> Option<Command> {
        let [binding, most] = arguments else { return None };
        let (binding, threshold) = (binding.text.clone(), threshold(most)?);
        Some(Command::Binding(BindingCommand::Delayed { binding, threshold }))
    }

    pub(crate) fn flush(arguments: &[Word]) -> Option<Command> {
        let [binding, word] = arguments else { return None };
        Some(Command::Binding(BindingCommand::Flush { binding: binding.text.clone(), domain: domain(word) }))
    }

    pub(crate) fn rebind(arguments: &[Word]) -> Option<Command> {
        let (binding, domain) = match arguments {
            [binding] => (binding, None),
            [binding, domain] => (binding, Some(domain.text.to_ascii_lowercase())),
            _ => return None,
        };
        let binding = Some(binding.text.clone()).filter(|binding| binding != "all");
        Some(Command::Binding(BindingCommand::Rebind { binding, domain }))
    }

    pub(crate) fn reroute(arguments: &[Word]) -> Option<Command> {
        let [from, to] = arguments else { return None };
        let (from, to) = (from.text.to_ascii_lowercase(), to.text.to_ascii_lowercase());
        Some(Command::Binding(BindingCommand::Reroute { from, to }))
    }

    pub(crate) fn fail(arguments: &[Word]) -> Option<Command> {
        let (binding, word, text) = match arguments {
            [binding, word] => (binding, word, None),
            [binding, word, text @ ..] => (binding, word, Some(reply(text)?)),
            _ => return None,
        };
        let (binding, domain) = (binding.text.clone(), domain(word));
        Some(Command::Binding(BindingCommand::Fail { binding, domain, reply: text, quiet: false }))
    }

    pub(crate) fn fail_quiet(arguments: &[Word]) -> Option<Command> {
        let [binding, word] = arguments else { return None };
        let (binding, domain) = (binding.text.clone(), domain(word));
        Some(Command::Binding(BindingCommand::Fail { binding, domain, reply: None, quiet: true }))
    }

    /// A reply that mail can fail with: it begins with a code of the class 5.
    fn reply(words: &[Word]) -> Option<String> {
        let texts: alloc::vec::Vec<&str> = words.iter().map(|word| word.text.as_str()).collect();
        let text = texts.join(" ");
        let code = text.get(..3)?;
        let fits = code.starts_with('5')
            && code.bytes().all(|octet| octet.is_ascii_digit())
            && matches!(text.as_bytes().get(3), None | Some(b' '))
            && !text.contains(|c: char| c.is_control());
        fits.then_some(text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::command::{Command, parse};
    use crate::profile::Profile;

    #[test]
    fn console_8_2_summaries_of_bindings_and_of_a_group() {
        let figures = |name: &str, group: Option<&str>, delivered: u64| BindingFigures {
            name: name.into(),
            group: group.map(String::from),
            connections: 2,
            active: 40,
            total: 47,
            delivered,
            failed: 3,
            received: 3450,
            resident: 0,
        };
        let Answer::Lines(lines) = binding_summary(&[figures("default", None, 3397)], None, 100) else {
            panic!("lines")
        };
        let expected = "\
Summary Statistics For Binding default
        Open Connections:       2
        Active Queue Size:     40
        Total Queue Size:     47
        Successfully Delivered Messages:   3397
        Failed Messages:      3
        Received Messages:   3450
        Resident Messages:      0
        Delivery Rate:  34.00 messages/second
        Reception Rate:  34.50 messages/second
        Uptime:    100 seconds";
        assert_eq!(lines.join("\n"), expected);
        let both = [figures("bulk-1", Some("bulk"), 1), figures("bulk-2", Some("bulk"), 2)];
        let Answer::Lines(lines) = binding_summary(&both, Some("bulk"), 0) else { panic!("lines") };
        assert_eq!(lines[0], "Summary Statistics For Binding bulk-1 in Binding Group bulk");
        assert_eq!(
            (lines[11].as_str(), lines[12].as_str()),
            ("", "Summary Statistics For Binding bulk-2 in Binding Group bulk")
        );
        assert_eq!(lines[23], "********************************************");
        assert_eq!(lines[24], "Summary Statistics For Binding Group bulk");
        assert_eq!(lines[28], "        Successfully Delivered Messages:      3");
        assert_eq!(lines[32], "        Delivery Rate:   0.00 messages/second");
    }

    #[test]
    fn console_8_5_arguments_of_binding_commands() {
        let profile = Profile::node("n", "1.0.0");
        let read = |line: &str| parse(line, &profile).command;
        let fail = |domain: Option<&str>, reply: Option<&str>, quiet| {
            Ok(Command::Binding(BindingCommand::Fail {
                binding: "B1".into(),
                domain: domain.map(Into::into),
                reply: reply.map(Into::into),
                quiet,
            }))
        };
        assert_eq!(read("binding fail domain B1 D.example"), fail(Some("d.example"), None, false));
        assert_eq!(
            read("binding fail domain B1 all 550 5.7.1 no more"),
            fail(None, Some("550 5.7.1 no more"), false)
        );
        assert_eq!(read("binding fail domain quiet B1 all"), fail(None, None, true));
        for wrong in [
            "binding fail domain B1",
            "binding fail domain B1 d.example no more",
            "binding fail domain B1 d.example 450 later",
            "binding fail domain B1 d.example 5500 x",
            "binding fail domain quiet B1 all 550 x",
            "binding active B1 -1",
            "binding flush domain d.example",
        ] {
            assert!(read(wrong).is_err(), "{wrong}");
        }
    }
}
