//! From a line to a checked command.

use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;

use postfleet_types::Prefix;

use crate::audit::{self, AuditCommand, GaugeCommand};
use crate::bindings::BindingCommand;
use crate::failure::{Code, Failure};
use crate::lex::{Word, words};
use crate::logs::{LOGGERS, LogCommand};
use crate::machine::Form;
use crate::policy::{RuleCommand, ScriptletCommand, SieveCommand};
use crate::profile::{Profile, Role};
use crate::queues::QueueCommand;
use crate::table::{Availability, Entry, table};

/// A checked command. Names are as typed; comparing them is the executor's business.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Command {
    /// Words that no command of the console begins with: a policy script may have registered the first.
    Registered(Vec<String>),
    /// `cluster help`
    ClusterHelp,
    /// `cluster info`
    ClusterInfo,
    /// `cluster membership [-v]`
    Membership {
        /// Whether clock offset, heartbeat age and view of admission are wanted too.
        verbose: bool,
    },
    /// `cluster nodename`
    NodeName,
    /// `cluster nodeaddr`
    NodeAddress,
    /// `cluster reset`
    ClusterReset,
    /// `cluster shared list`
    SharedList,
    /// `cluster shared show <object> [from <node>]`
    SharedShow {
        /// The object as typed; [`canonical_object`] gives the name to look up.
        object: String,
        /// The node as typed; compare after lower-casing.
        from: Option<String>,
    },
    /// `cluster shared why <object> <key>`
    SharedWhy {
        /// The object as typed.
        object: String,
        /// The key as typed.
        key: String,
    },
    /// `cluster forget <node>`
    Forget {
        /// The node as typed; compare after lower-casing.
        node: String,
    },
    /// `throttle …`
    Throttle(ThrottleCommand),
    /// `slot …`
    Slot(SlotCommand),
    /// `config …`, `write config …`: the line is read by the configuration language.
    Config {
        /// The whole command in normal form.
        line: String,
    },
    /// `count <type> <selector>`
    Count {
        /// Which connections.
        kind: CountKind,
        /// Which addresses.
        selector: CountSelector,
    },
    /// `cache get <cache> <key>`
    CacheGet {
        /// The cache.
        cache: String,
        /// The key.
        key: String,
    },
    /// `cache set <cache> <key> <value> [<ttl>]`
    CacheSet {
        /// The cache.
        cache: String,
        /// The key.
        key: String,
        /// The value.
        value: String,
        /// The time to live as typed.
        ttl: Option<String>,
    },
    /// `cache show <cache> <key>`
    CacheShow {
        /// The cache.
        cache: String,
        /// The key.
        key: String,
    },
    /// `ds_core flush <cache>`
    DatasourceFlush {
        /// The datasource.
        name: String,
    },
    /// `ds_core query <cache> <query> [<parameter>...]`
    DatasourceQuery {
        /// The datasource.
        name: String,
        /// The query.
        query: String,
        /// Values by position, or by name.
        parameters: Parameters,
    },
    /// `ds_core stats`
    DatasourceStatistics,
    /// `help [<command>]`
    Help {
        /// The words behind `help`, joined by blanks; empty for the list of all commands.
        topic: String,
    },
    /// `inbound_audit …`
    InboundAudit(AuditCommand),
    /// `sievelib gauge_cache …`
    GaugeCache(GaugeCommand),
    /// `mailq …`
    Mailq(MailqFilter),
    /// `active`, `domain …`, `flush domain …`, `message …` and their kin.
    Queue(QueueCommand),
    /// Bindings, and mail by binding.
    Binding(BindingCommand),
    /// `pid`
    Pid,
    /// `shutdown`
    Shutdown,
    /// `summary`
    Summary,
    /// `summary reset`
    SummaryReset,
    /// `sysinfo`
    Sysinfo,
    /// `version`
    Version,
    /// `reopen logs`, `ec_logger:<instance> …` and their kin.
    Logs(LogCommand),
    /// `sieve:<instance> …`
    Sieve(SieveCommand),
    /// `scriptlet:<instance> …`
    Scriptlet(ScriptletCommand),
    /// `policy_rule …`
    PolicyRule(RuleCommand),
    /// `quit`, `exit` or `\pager` that reached a server: a client of plain mode wants to go.
    Local {
        /// Whether the connection is to be closed.
        quit: bool,
    },
}

/// The parameters of a query.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Parameters {
    /// For the first `?`, the second, and so on.
    Positional(Vec<String>),
    /// For each `:name`, in the order in which they were typed.
    Named(Vec<(String, String)>),
}

/// What is done with a named throttle of the fleet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ThrottleCommand {
    /// `throttle create <name> <rate> [<epsilon>]`
    Create {
        /// Its name.
        name: String,
        /// Its rate as typed.
        rate: String,
        /// Epsilon as typed.
        epsilon: Option<String>,
    },
    /// `throttle check <name>`
    Check {
        /// Its name.
        name: String,
    },
    /// `throttle inc <name> [<units>]`
    Inc {
        /// Its name.
        name: String,
        /// How many are recorded.
        units: u32,
    },
    /// `throttle take <name> [<units>]`
    Take {
        /// Its name.
        name: String,
        /// How many are wanted.
        units: u32,
    },
}

/// What is done with connections that are none, under a limit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SlotCommand {
    /// `slot open <key> <limit> [<connections>]`
    Open {
        /// The limit's key.
        key: String,
        /// The limit.
        limit: u32,
        /// How many more are wanted.
        connections: u32,
    },
    /// `slot close <key> [<connections>]`
    Close {
        /// The limit's key.
        key: String,
        /// How many are closed, those that still wait first; all when not named.
        connections: u32,
    },
}

/// Which connections `count` counts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CountKind {
    /// `outbound`: to all bindings.
    Outbound,
    /// `outbound/<binding>`
    OutboundBinding(String),
    /// An inbound service.
    Inbound(InboundService),
}

/// The inbound services, by the names that `count` takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum InboundService {
    /// ESMTP listeners.
    Smtp,
    /// ECStream listeners.
    EcStream,
    /// Control listeners.
    Control,
    /// Mail moving in from other nodes.
    EcMmove2,
    /// Node-to-node connections that have not named a service.
    EcCluster,
}

impl InboundService {
    /// Every service, in the order of the manual.
    pub const ALL: [Self; 5] = [Self::Smtp, Self::EcStream, Self::Control, Self::EcMmove2, Self::EcCluster];

    /// The name that operators type.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Smtp => "SMTP",
            Self::EcStream => "ECStream",
            Self::Control => "Control",
            Self::EcMmove2 => "ECmmove2",
            Self::EcCluster => "ECCluster",
        }
    }
}

impl core::fmt::Display for CountKind {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match self {
            Self::Outbound => f.write_str("outbound"),
            Self::OutboundBinding(binding) => write!(f, "outbound/{binding}"),
            Self::Inbound(service) => f.write_str(service.word()),
        }
    }
}

/// Which addresses `count` shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CountSelector {
    /// The sum over one block.
    Block(Prefix),
    /// Rows of prefixes with these lengths, `low <= high <= 128`.
    Lengths {
        /// Shortest prefix shown.
        low: u8,
        /// Longest prefix shown.
        high: u8,
    },
}

/// What `mailq` shows. No domain or binding named means all.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MailqFilter {
    /// Domains, lower case.
    pub domains: Vec<String>,
    /// Bindings, as typed.
    pub bindings: Vec<String>,
    /// Most rows shown; 20 when not named.
    pub limit: usize,
}

/// A parsed command line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    /// The form of the answer.
    pub form: Form,
    /// The line without form word, with single blanks and with aliases expanded: what authorization, accounting
    /// and the machine forms see.
    pub text: String,
    /// The command, or why there is none.
    pub command: Result<Command, Failure>,
}

/// The name under which the object that an operator calls `typed` is configured.
#[must_use]
pub fn canonical_object(typed: &str) -> &str {
    match typed {
        "outbound_domain" => "outbound_domains",
        other => other,
    }
}

/// Reads one command line. An empty line is an unknown command with an empty name; callers skip empty lines.
#[must_use]
pub fn parse(line: &str, profile: &Profile) -> Request {
    let found = match words(line) {
        Ok(found) => found,
        Err(error) => {
            let text = line.trim_matches([' ', '\t']).to_string();
            return Request { form: Form::Text, text, command: Err(Failure::unreadable(error)) };
        }
    };
    let (form, found) = match found.split_first() {
        Some((first, rest)) if !first.quoted && !rest.is_empty() => match Form::of_prefix(&first.text) {
            Some(form) => (form, rest),
            None => (Form::Text, found.as_slice()),
        },
        _ => (Form::Text, found.as_slice()),
    };
    let found = expand_alias(found);
    let text = found.iter().map(|word| word.raw.as_str()).collect::<Vec<_>>().join(" ");
    let command = dispatch(&found, profile);
    Request { form, text, command }
}

/// `kind:name`, if the word is that.
fn instance<'w>(word: &'w Word, kind: &'static str) -> Option<(&'static str, &'w str)> {
    word.raw.strip_prefix(kind)?.strip_prefix(':').filter(|name| !name.is_empty())?;
    Some((kind, word.text.get(kind.len().saturating_add(1)..).unwrap_or_default()))
}

fn expand_alias(found: &[Word]) -> Vec<Word> {
    let plain = |text: &str| Word { text: text.into(), raw: text.into(), quoted: false };
    let (head, rest): (Vec<Word>, &[Word]) = match found.split_first() {
        Some((first, rest)) if first.raw == "domains" => ([plain("domain"), plain("all")].into(), rest),
        Some((first, rest)) if first.raw == "?" => ([plain("help")].into(), rest),
        // There is one, whatever it is called.
        Some((first, rest)) if first.raw.starts_with("inbound_audit:") => {
            ([plain("inbound_audit")].into(), rest)
        }
        // The instance is an argument like any other.
        Some((first, rest)) => {
            match ["sieve", "scriptlet"].into_iter().chain(LOGGERS).find_map(|kind| instance(first, kind)) {
                Some((kind, name)) => ([plain(kind), plain(name)].into(), rest),
                None => (Vec::new(), found),
            }
        }
        None => (Vec::new(), found),
    };
    head.into_iter().chain(rest.iter().cloned()).collect()
}

/// Whether `entry` exists for this process: without a `cluster` stanza there are no commands of the fleet.
pub(crate) fn exists(entry: &Entry, profile: &Profile) -> bool {
    let of_the_fleet =
        ["cluster ", "slot ", "throttle "].iter().any(|family| entry.words.starts_with(family));
    profile.clustering || !of_the_fleet
}

fn dispatch(found: &[Word], profile: &Profile) -> Result<Command, Failure> {
    let Some(first) = found.first() else { return Err(Failure::unknown_command("")) };
    if profile.role == Role::Manager && first.raw == "cluster" {
        let message = "cluster commands run on nodes only; use broadcast or unicast.";
        return Err(Failure::error(Code::Usage, message));
    }
    let best = table()
        .iter()
        .filter(|entry| exists(entry, profile))
        .filter_map(|entry| Some((entry, strip_words(found, entry.words)?)))
        .max_by_key(|(entry, _)| entry.words.len());
    match best {
        Some((entry, arguments)) => match entry.availability {
            Availability::Ready => entry.build.and_then(|build| build(arguments)).ok_or_else(|| {
                match audit::usage(entry.words) {
                    Some(usage) => Failure::unreadable(usage),
                    None => Failure::usage(entry.grammar()),
                }
            }),
            Availability::Later => Err(Failure::not_available(entry.words)),
            Availability::Never => Err(Failure::not_in_this_product(entry.words)),
            Availability::Local if arguments.is_empty() => {
                Ok(Command::Local { quit: entry.words != "\\pager" })
            }
            Availability::Local => Err(Failure::usage(entry.grammar())),
        },
        None => match module_command(first).or_else(|| incomplete(found, profile)) {
            Some(failure) => Err(failure),
            None if profile.role == Role::Manager || is_command(&first.text) => {
                Err(Failure::unknown_command(&first.text))
            }
            None => Ok(Command::Registered(found.iter().map(|word| word.text.clone()).collect())),
        },
    }
}

/// Whether a command of the console begins with this word, in this version or a later one.
#[must_use]
pub fn is_command(word: &str) -> bool {
    let begins = |entry: &Entry| entry.words.split(' ').next() == Some(word);
    ["json", "xml"].contains(&word) || table().iter().any(begins)
}

/// The arguments when `found` begins with `words`. Command words are never quoted and match in their own case.
pub(crate) fn strip_words<'a>(found: &'a [Word], words: &str) -> Option<&'a [Word]> {
    let mut rest = found;
    for expected in words.split(' ') {
        let (first, behind) = rest.split_first()?;
        if first.quoted || first.text != expected {
            return None;
        }
        rest = behind;
    }
    Some(rest)
}

/// `<scope>:<instance> …`
fn module_command(first: &Word) -> Option<Failure> {
    let (scope, _) = first.text.split_once(':')?;
    let known = ["outbound_audit", "ds_core", "cidrdb", "sched"];
    if known.contains(&scope) {
        return Some(Failure::not_available(&first.text));
    }
    let message = format!("No such module instance '{}'.", first.text);
    Some(Failure::error(Code::NoSuchModule, message))
}

/// The line begins like a command of several words but does not go on like one.
fn incomplete(found: &[Word], profile: &Profile) -> Option<Failure> {
    let mut given = String::new();
    let mut longest: Option<(String, Vec<&'static Entry>)> = None;
    for word in found.iter().take_while(|word| !word.quoted) {
        given.push_str(&word.text);
        given.push(' ');
        let family: Vec<_> =
            table().iter().filter(|e| exists(e, profile) && e.words.starts_with(given.as_str())).collect();
        if family.is_empty() {
            break;
        }
        longest = Some((given.trim_end().to_string(), family));
    }
    let (given, family) = longest?;
    if family.iter().all(|entry| entry.availability == Availability::Never) {
        return Some(Failure::not_in_this_product(&given));
    }
    if family.iter().all(|entry| entry.availability != Availability::Ready) {
        return Some(Failure::not_available(&given));
    }
    let mut next: Vec<&str> =
        family.iter().filter_map(|entry| entry.words.get(given.len()..)?.split_whitespace().next()).collect();
    next.dedup();
    Some(Failure::usage(format!("{given} {}", next.join("|"))))
}

/// Constructors of commands from their arguments; `None` when the arguments do not fit the grammar.
pub(crate) mod build {
    use super::{
        Command, CountKind, CountSelector, InboundService, MailqFilter, Parameters, SlotCommand, String,
        ThrottleCommand, Vec, Word,
    };

    fn alone(arguments: &[Word], command: Command) -> Option<Command> {
        arguments.is_empty().then_some(command)
    }

    macro_rules! without_arguments {
        ($($name:ident => $command:ident),* $(,)?) => {
            $(pub(crate) fn $name(arguments: &[Word]) -> Option<Command> {
                alone(arguments, Command::$command)
            })*
        };
    }

    without_arguments! {
        cluster_help => ClusterHelp,
        cluster_info => ClusterInfo,
        node_name => NodeName,
        node_address => NodeAddress,
        cluster_reset => ClusterReset,
        datasource_statistics => DatasourceStatistics,
        shared_list => SharedList,
        pid => Pid,
        shutdown => Shutdown,
        summary_reset => SummaryReset,
        sysinfo => Sysinfo,
        version => Version,
    }

    /// What the words behind a configuration command have to be here: the rest is for the configuration language.
    fn config(words: &str, arguments: &[Word], fits: bool) -> Option<Command> {
        let raw = arguments.iter().map(|word| word.raw.as_str());
        let line = core::iter::once(words).chain(raw).collect::<Vec<_>>().join(" ");
        fits.then_some(Command::Config { line })
    }

    macro_rules! config_commands {
        ($($name:ident => $words:literal, $fits:expr);* $(;)?) => {
            $(pub(crate) fn $name(arguments: &[Word]) -> Option<Command> {
                let fits: fn(&[Word]) -> bool = $fits;
                config($words, arguments, fits(arguments))
            })*
        };
    }

    config_commands! {
        config_begin => "config begin", |words| {
            matches!(words, []) || matches!(words, [from, scratch] if from.text == "from" && scratch.text == "scratch")
        };
        config_commit => "config commit", <[Word]>::is_empty;
        config_diff => "config diff", <[Word]>::is_empty;
        config_digest => "config digest", <[Word]>::is_empty;
        config_eval => "config eval", |words| !words.is_empty();
        config_get => "config get", |words| !words.is_empty();
        config_locate => "config locate", |words| !words.is_empty();
        config_reload => "config reload", |words| words.len() <= 1;
        config_replay => "config replay", <[Word]>::is_empty;
        config_rollback => "config rollback", <[Word]>::is_empty;
        config_set => "config set", |words| words.len() >= 2;
        config_show => "config show", |_| true;
        config_showrecurse => "config showrecurse", |_| true;
        config_unset => "config unset", |_| true;
        config_where => "config where", |words| !words.is_empty();
        config_writeback => "config writeback", |words| words.len() <= 1;
        write_config => "write config", |words| words.len() <= 1;
    }

    /// `with-mobile` is a word of the reference that changes nothing here.
    pub(crate) fn summary(arguments: &[Word]) -> Option<Command> {
        match arguments {
            [] => Some(Command::Summary),
            [word] if word.text == "with-mobile" => Some(Command::Summary),
            _ => None,
        }
    }

    pub(crate) fn membership(arguments: &[Word]) -> Option<Command> {
        match arguments {
            [] => Some(Command::Membership { verbose: false }),
            [flag] if flag.text == "-v" => Some(Command::Membership { verbose: true }),
            _ => None,
        }
    }

    pub(crate) fn shared_show(arguments: &[Word]) -> Option<Command> {
        match arguments {
            [object] => Some(Command::SharedShow { object: object.text.clone(), from: None }),
            [object, from, node] if from.text == "from" => {
                Some(Command::SharedShow { object: object.text.clone(), from: Some(node.text.clone()) })
            }
            _ => None,
        }
    }

    pub(crate) fn cache_get(arguments: &[Word]) -> Option<Command> {
        let [cache, key] = arguments else { return None };
        Some(Command::CacheGet { cache: cache.text.clone(), key: key.text.clone() })
    }

    pub(crate) fn cache_set(arguments: &[Word]) -> Option<Command> {
        let (cache, key, value, ttl) = match arguments {
            [cache, key, value] => (cache, key, value, None),
            [cache, key, value, ttl] => (cache, key, value, Some(ttl.text.clone())),
            _ => return None,
        };
        let text = |word: &Word| word.text.clone();
        Some(Command::CacheSet { cache: text(cache), key: text(key), value: text(value), ttl })
    }

    pub(crate) fn cache_show(arguments: &[Word]) -> Option<Command> {
        let [cache, key] = arguments else { return None };
        Some(Command::CacheShow { cache: cache.text.clone(), key: key.text.clone() })
    }

    pub(crate) fn datasource_flush(arguments: &[Word]) -> Option<Command> {
        let [name] = arguments else { return None };
        Some(Command::DatasourceFlush { name: name.text.clone() })
    }

    /// Parameters are all `:name=value`, or all plain values. A quoted value is never a name.
    pub(crate) fn datasource_query(arguments: &[Word]) -> Option<Command> {
        let [name, query, values @ ..] = arguments else { return None };
        let named = |word: &Word| -> Option<(String, String)> {
            let (name, value) = word.text.strip_prefix(':').filter(|_| !word.quoted)?.split_once('=')?;
            Some((name.into(), value.into()))
        };
        let by_name: Vec<_> = values.iter().filter_map(named).collect();
        let parameters = match by_name.len() {
            0 => Parameters::Positional(values.iter().map(|word| word.text.clone()).collect()),
            all if all == values.len() => Parameters::Named(by_name),
            _ => return None,
        };
        Some(Command::DatasourceQuery { name: name.text.clone(), query: query.text.clone(), parameters })
    }

    pub(crate) fn shared_why(arguments: &[Word]) -> Option<Command> {
        let [object, key] = arguments else { return None };
        Some(Command::SharedWhy { object: object.text.clone(), key: key.text.clone() })
    }

    pub(crate) fn cluster_forget(arguments: &[Word]) -> Option<Command> {
        let [node] = arguments else { return None };
        Some(Command::Forget { node: node.text.clone() })
    }

    /// A whole number from 1; 1 when it is not written.
    fn units(words: &[Word], otherwise: u32) -> Option<u32> {
        match words {
            [] => Some(otherwise),
            [word] if word.text.bytes().all(|b| b.is_ascii_digit()) => {
                word.text.parse().ok().filter(|n| *n > 0)
            }
            _ => None,
        }
    }

    pub(crate) fn throttle_create(arguments: &[Word]) -> Option<Command> {
        let [name, rate, epsilon @ ..] = arguments else { return None };
        let epsilon = match epsilon {
            [] => None,
            [epsilon] => Some(epsilon.text.clone()),
            _ => return None,
        };
        let (name, rate) = (name.text.clone(), rate.text.clone());
        Some(Command::Throttle(ThrottleCommand::Create { name, rate, epsilon }))
    }

    pub(crate) fn throttle_check(arguments: &[Word]) -> Option<Command> {
        let [name] = arguments else { return None };
        Some(Command::Throttle(ThrottleCommand::Check { name: name.text.clone() }))
    }

    pub(crate) fn throttle_inc(arguments: &[Word]) -> Option<Command> {
        let [name, rest @ ..] = arguments else { return None };
        Some(Command::Throttle(ThrottleCommand::Inc { name: name.text.clone(), units: units(rest, 1)? }))
    }

    pub(crate) fn throttle_take(arguments: &[Word]) -> Option<Command> {
        let [name, rest @ ..] = arguments else { return None };
        Some(Command::Throttle(ThrottleCommand::Take { name: name.text.clone(), units: units(rest, 1)? }))
    }

    pub(crate) fn slot_open(arguments: &[Word]) -> Option<Command> {
        let [key, limit, rest @ ..] = arguments else { return None };
        let limit = units(core::slice::from_ref(limit), 1)?;
        let connections = units(rest, 1)?;
        Some(Command::Slot(SlotCommand::Open { key: key.text.clone(), limit, connections }))
    }

    pub(crate) fn slot_close(arguments: &[Word]) -> Option<Command> {
        let [key, rest @ ..] = arguments else { return None };
        let connections = units(rest, u32::MAX)?;
        Some(Command::Slot(SlotCommand::Close { key: key.text.clone(), connections }))
    }

    #[expect(clippy::unnecessary_wraps, reason = "one signature for all constructors")]
    pub(crate) fn help(arguments: &[Word]) -> Option<Command> {
        let topic = arguments.iter().map(|word| word.text.as_str()).collect::<Vec<_>>().join(" ");
        Some(Command::Help { topic })
    }

    pub(crate) fn count(arguments: &[Word]) -> Option<Command> {
        let [kind, selector] = arguments else { return None };
        let kind = match kind.text.as_str() {
            "outbound" => CountKind::Outbound,
            other => match other.strip_prefix("outbound/") {
                Some("") => return None,
                Some(binding) => CountKind::OutboundBinding(binding.into()),
                None => CountKind::Inbound(InboundService::ALL.into_iter().find(|s| s.word() == other)?),
            },
        };
        Some(Command::Count { kind, selector: count_selector(&selector.text)? })
    }

    fn count_selector(text: &str) -> Option<CountSelector> {
        if let Ok(block) = text.parse() {
            return Some(CountSelector::Block(block));
        }
        let (low, high) = match text.split_once('-') {
            Some((low, high)) => (mask(low)?, mask(high)?),
            None => (mask(text)?, mask(text)?),
        };
        (low <= high).then_some(CountSelector::Lengths { low, high })
    }

    fn mask(text: &str) -> Option<u8> {
        let digits = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
        text.parse().ok().filter(|mask| digits && *mask <= 128)
    }

    pub(crate) fn mailq(arguments: &[Word]) -> Option<Command> {
        let mut filter = MailqFilter { domains: Vec::new(), bindings: Vec::new(), limit: 20 };
        let mut rest = arguments.iter();
        while let Some(option) = rest.next() {
            let value: &String = &rest.next()?.text;
            match option.text.as_str() {
                "--domain" | "-d" => filter.domains.push(value.to_ascii_lowercase()),
                "--binding" | "-b" => filter.bindings.push(value.clone()),
                "--limit" | "-l" => filter.limit = value.parse().ok()?,
                _ => return None,
            }
        }
        Some(Command::Mailq(filter))
    }
}
