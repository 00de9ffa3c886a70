//! The command table: the one place that knows which commands there are.
//!
//! Dispatch, usage errors, `help` and completion read it, so a command cannot be known to one and unknown to
//! another. Grammar of arguments: `<x>` is a value, `[x]` optional, `a|b` a choice, `...` repeatable.

use crate::audit::build as audit;
use crate::bindings::build as bindings;
use crate::command::{Command, build};
use crate::lex::Word;
use crate::logs::build as logs;
use crate::policy::build as policy;
use crate::queues::build as queues;

/// Whether a command can be run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Availability {
    /// It can.
    Ready,
    /// It is documented; this version does not have it.
    Later,
    /// The reference has it; this product will not.
    Never,
    /// The client does it without asking the server.
    Local,
}

/// How the words behind the command become a [`Command`]; `None` is a usage error.
type Build = fn(&[Word]) -> Option<Command>;

/// One command.
#[derive(Clone, Copy, Debug)]
pub struct Entry {
    /// The command words, with single blanks between them.
    pub words: &'static str,
    /// The grammar of the arguments; empty when there are none.
    pub arguments: &'static str,
    /// What it does, in one line.
    pub description: &'static str,
    /// Whether the machine forms have a schema of their own; otherwise they carry the lines of the text.
    pub own_schema: bool,
    /// Whether it can be run.
    pub availability: Availability,
    pub(crate) build: Option<Build>,
}

impl Entry {
    /// The command with its arguments, as usage errors and help print it.
    pub fn grammar(&self) -> impl core::fmt::Display + use<'_> {
        core::fmt::from_fn(move |f| match self.arguments {
            "" => f.write_str(self.words),
            arguments => write!(f, "{} {arguments}", self.words),
        })
    }
}

/// Every command, in the order of `help`.
#[must_use]
pub const fn table() -> &'static [Entry] {
    TABLE
}

const fn ready(
    words: &'static str,
    arguments: &'static str,
    own_schema: bool,
    description: &'static str,
    build: Build,
) -> Entry {
    Entry { words, arguments, description, own_schema, availability: Availability::Ready, build: Some(build) }
}

const fn later(words: &'static str, arguments: &'static str, description: &'static str) -> Entry {
    Entry { words, arguments, description, own_schema: false, availability: Availability::Later, build: None }
}

const fn never(words: &'static str) -> Entry {
    let description = "Not available in this product";
    Entry {
        words,
        arguments: "",
        description,
        own_schema: false,
        availability: Availability::Never,
        build: None,
    }
}

const fn local(words: &'static str, description: &'static str) -> Entry {
    Entry {
        words,
        arguments: "",
        description,
        own_schema: false,
        availability: Availability::Local,
        build: None,
    }
}

const DOMAINS: &str = "<domain>|all";
const SCOPES: &str = "[<scope> [<instance>]]... <option>";

const TABLE: &[Entry] = &[
    local("\\pager", "Turn paging of long output on or off"),
    ready(
        "active",
        "<threshold>",
        false,
        "List domains whose active queue exceeds a threshold",
        queues::active,
    ),
    later("authz id", "", "Show the user and roles of this session"),
    later("authz roles list", "", "List all roles"),
    ready("binding active", "<binding> <threshold>", false, "As active, for one binding", bindings::active),
    ready(
        "binding delayed",
        "<binding> <threshold>",
        false,
        "As delayed, for one binding",
        bindings::delayed,
    ),
    ready(
        "binding fail domain",
        "<binding> <domain>|all [<reply text>]",
        false,
        "Fail queued mail and send bounces",
        bindings::fail,
    ),
    ready(
        "binding fail domain quiet",
        "<binding> <domain>|all",
        false,
        "Fail queued mail without bounces",
        bindings::fail_quiet,
    ),
    ready(
        "binding flush domain",
        "<binding> <domain>|all",
        false,
        "Make delayed mail due now",
        bindings::flush,
    ),
    ready(
        "binding summary",
        "[<binding>|<slot>|group:<group>]",
        false,
        "Show counters per binding",
        bindings::summary,
    ),
    ready("bounce_logger", "<instance> help|reopen logs", false, "Commands of a logger", logs::bounce_logger),
    ready(
        "cache get",
        "<cache> <key>",
        true,
        "Show the value of a key of a replicated cache",
        build::cache_get,
    ),
    later("cache list", "[<attribute>...]", "List caches"),
    ready(
        "cache set",
        "<cache> <key> <value> [<seconds>|<minutes>M|<hours>H]",
        false,
        "Write a pair of a replicated cache",
        build::cache_set,
    ),
    ready(
        "cache show",
        "<cache> <key>",
        true,
        "Show a pair of a replicated cache, how long it lives and who wrote it",
        build::cache_show,
    ),
    later("cache stat", "<cache>", "Show one cache in detail"),
    later("cache stats", "[<cache>...]", "Show a table of caches"),
    later("cidrdb list", "", "List address databases"),
    later("cidrdb reload", "<name>", "Read an address database again"),
    later("cluster abort", "<id>", "Abort a cluster job"),
    later("cluster arp show", "", "Show hardware addresses learned for cluster addresses"),
    later("cluster duravip announce view", "", "Announce this node's current DuraVIP view"),
    later("cluster duravip debug", "on|off", "Turn DuraVIP debugging on or off"),
    later("cluster duravip move", "<vip|binding|node> [to] <node|auto>", "Move DuraVIPs to another node"),
    later("cluster duravip show", "", "Show the state of DuraVIPs"),
    later("cluster duravip show tables", "", "Show the DuraVIP state tables as XML"),
    ready("cluster forget", "<node>", false, "Declare a lost node gone for good", build::cluster_forget),
    ready("cluster help", "", false, "Show this list", build::cluster_help),
    ready("cluster info", "", true, "Show bus connection and groups", build::cluster_info),
    later("cluster jobs", "", "List cluster jobs"),
    ready("cluster membership", "[-v]", true, "Show the members of the cluster", build::membership),
    ready("cluster nodeaddr", "", true, "Show this node's cluster service address", build::node_address),
    ready("cluster nodename", "", true, "Show this node's name", build::node_name),
    ready("cluster reset", "", false, "Leave and rejoin the cluster", build::cluster_reset),
    ready("cluster shared list", "", true, "List replicated objects", build::shared_list),
    ready(
        "cluster shared show",
        "<object> [from <node>]",
        true,
        "Show a replicated object",
        build::shared_show,
    ),
    ready(
        "cluster shared why",
        "<object> <key>",
        true,
        "Show what a limit or throttle is waiting for",
        build::shared_why,
    ),
    later("cluster show logs", "", "Show cluster logs and their subscribers"),
    ready("config begin", "[from scratch]", false, "Open a transaction", build::config_begin),
    ready("config commit", "", false, "Put the transaction into force", build::config_commit),
    ready("config diff", "", true, "Show changes that are not saved", build::config_diff),
    ready(
        "config digest",
        "",
        true,
        "Show a digest of what must be equal on all members",
        build::config_digest,
    ),
    ready("config eval", SCOPES, true, "Show the value in force", build::config_eval),
    ready("config get", SCOPES, true, "Show the value set in one scope", build::config_get),
    ready("config locate", "<scope> [<regex>]", true, "List the instances of a scope", build::config_locate),
    ready("config reload", "[<path>]", false, "Read the configuration again", build::config_reload),
    ready("config replay", "", false, "List the changes of the transaction", build::config_replay),
    ready("config rollback", "", false, "Drop the transaction", build::config_rollback),
    ready(
        "config set",
        "[<scope> [<instance>]]... <option> [=] <value>",
        true,
        "Set an option",
        build::config_set,
    ),
    ready("config show", "[<scope> [<instance>]]... [<option>]", true, "Show a scope", build::config_show),
    ready(
        "config showrecurse",
        "[<scope> [<instance>]]...",
        true,
        "Show a scope with all scopes inside",
        build::config_showrecurse,
    ),
    ready(
        "config unset",
        "[<scope> [<instance>]]... [<option>]",
        true,
        "Clear an option, or remove a scope",
        build::config_unset,
    ),
    ready("config where", SCOPES, true, "Show where a value comes from", build::config_where),
    ready(
        "config writeback",
        "[<path>]",
        false,
        "Write changes back into the files",
        build::config_writeback,
    ),
    ready(
        "count",
        "outbound[/<binding>]|SMTP|ECStream|Control|ECmmove2|ECCluster <cidr>|<mask>|<mask>-<mask>",
        true,
        "Show open connections of this node by address",
        build::count,
    ),
    later("counter add", "<name> <delta>", "Add to a policy counter"),
    later("counter help", "", "Show the counter commands"),
    later("counter increment", "<name>", "Add one to a policy counter"),
    later("counter list", "", "List policy counters"),
    later("counter reset", "<name>", "Set a policy counter to zero"),
    later("counter unlink", "<name>", "Remove a policy counter"),
    ready("custom_logger", "<instance> help|reopen logs", false, "Commands of a logger", logs::custom_logger),
    ready(
        "delayed",
        "<threshold>",
        false,
        "List domains whose delayed queue exceeds a threshold",
        queues::delayed,
    ),
    ready("dig", "<domain>", false, "Start a look-up of the routes of a domain", queues::dig),
    later("dns_cache lookup", "<name> <type>", "Look up the DNS cache"),
    later("dns_cache stats", "", "Show DNS statistics"),
    later("dns_cache submit", "<name> <type>", "Start a DNS query"),
    never("dns_cache refcnts"),
    ready(
        "domain",
        "<domain>",
        false,
        "Show queues and connections of a domain, and why mail waits",
        queues::domain,
    ),
    ready("domain all", "", false, "List all domains in the route cache", queues::domains),
    ready("ds_core flush", "<cache>", false, "Empty a datasource cache", build::datasource_flush),
    ready(
        "ds_core query",
        "<cache> <query> [<value>|:<name>=<value>]...",
        true,
        "Ask a datasource as a script would",
        build::datasource_query,
    ),
    ready("ds_core stats", "", true, "Show datasource statistics", build::datasource_statistics),
    ready("ec_logger", "<instance> help|reopen logs", false, "Commands of a logger", logs::ec_logger),
    local("exit", "End the session"),
    ready("fail domain", "<domain>", false, "Fail queued mail and send bounces", queues::fail),
    ready("fail domain quiet", "<domain>", false, "Fail queued mail without bounces", queues::fail_quiet),
    never("fingerprint"),
    ready("flush domain", DOMAINS, false, "Make delayed mail due now", queues::flush),
    ready("help", "[<command>]", false, "List commands, or explain one", build::help),
    ready(
        "inbound_audit add",
        "<series> <parameters> <ip> <increment>",
        false,
        "Add to an address in a named series",
        audit::add,
    ),
    ready(
        "inbound_audit count_cidr",
        "<ip[/mask]> <series> <parameters> <period_start> <period_end>",
        false,
        "Count an address or block in a named series",
        audit::count,
    ),
    ready(
        "inbound_audit define",
        "<series> cidr|cidr_ipv6|string <parameters> [cluster|manager] [persist] [serialize]",
        false,
        "Define a named series",
        audit::define,
    ),
    ready(
        "inbound_audit delete_ip",
        "<ip> <series> <parameters>",
        false,
        "Forget an address in a named series",
        audit::delete,
    ),
    ready("inbound_audit help", "", false, "Show the commands of the reference", audit::help),
    ready("inbound_audit load", "<series> [<filename>]", false, "Load a series from a file", audit::load),
    ready("inbound_audit show all", "", false, "Show this node's series by client as CSV", audit::show_all),
    ready(
        "inbound_audit show ip",
        "<ip[/mask]>",
        true,
        "Show the series by client of a block",
        audit::show_ip,
    ),
    ready(
        "inbound_audit subtract",
        "<series> <parameters> <ip> <decrement>",
        false,
        "Take away from an address in a named series",
        audit::subtract,
    ),
    ready(
        "mailq",
        "[--domain|-d <domain>]... [--binding|-b <binding>]... [--limit|-l <n>]",
        true,
        "Show queue sizes by binding and domain",
        build::mailq,
    ),
    later("memory", "[<type>]", "Show memory use"),
    ready("message details", "[full|body] <message id>", false, "Show one message", queues::details),
    ready("message fail", "<message id>", false, "Fail one message", queues::fail_message),
    ready(
        "message fail quiet",
        "<message id>",
        false,
        "Fail one message without a bounce",
        queues::fail_message_quiet,
    ),
    ready("message retry", "<message id>", false, "Try one message again", queues::retry),
    never("module hooks"),
    later("module list", "", "List loaded modules"),
    later("outbound_audit", "show|domain_list|clear ...", "Audit series of domains"),
    ready("paniclog", "", false, "Show recent log entries held in memory", logs::paniclog),
    ready("pid", "", true, "Show the process id", build::pid),
    ready("policy_rule reset", "", false, "Zero what rules have counted", policy::rule_reset),
    ready("policy_rule stats", "", false, "Show how often each rule fired", policy::rule_statistics),
    local("quit", "End the session"),
    ready("rebind", "<binding>|all [<domain>]", false, "Assign bindings again", bindings::rebind),
    ready("refresh domain", DOMAINS, false, "Resolve routes again", queues::refresh),
    ready("reopen logs", "", false, "Close and reopen log files", logs::reopen),
    ready(
        "reroute queue",
        "<from domain> <to domain>",
        false,
        "Move queued mail to another domain",
        bindings::reroute,
    ),
    later("sched", "list|delete|every|at|in ...", "Run console commands later"),
    ready(
        "scriptlet",
        "<instance> stats|reset|flush cache|testfile <file>",
        false,
        "Statistics, script cache and checks of a module of Lua scripts",
        policy::scriptlet,
    ),
    later("show inbound", "", "List open inbound sessions"),
    ready("show logs", "", false, "Show how log files are doing: lines written, waiting, lost", logs::show),
    later("show outbound", "", "List open outbound sessions"),
    ready(
        "showqueue",
        "[binding <binding>|binding all] <domain> [<limit>,<offset>]",
        false,
        "List messages in a queue",
        queues::show,
    ),
    ready("shutdown", "", false, "Stop the daemon in an orderly way", build::shutdown),
    ready(
        "sieve",
        "<instance> stats|reset|flush cache|test <phase> <script>|testfile <phase> <file>",
        false,
        "Statistics, script cache and checks of a Sieve module",
        policy::sieve,
    ),
    ready("sievelib gauge_cache add", "<cache> <key> <number>", false, "Add to a counter", audit::gauge_add),
    ready(
        "sievelib gauge_cache define",
        "<cache> <max elements> <ttl> [replicate]",
        false,
        "Make a gauge cache, or change its limits",
        audit::gauge_define,
    ),
    ready("sievelib gauge_cache delete", "<cache> <key>", false, "Forget a counter", audit::gauge_delete),
    ready("sievelib gauge_cache show", "<cache> <key>", false, "Show a counter", audit::gauge_show),
    ready(
        "sievelib gauge_cache sub",
        "<cache> <key> <number>",
        false,
        "Take away from a counter",
        audit::gauge_sub,
    ),
    never("signing_stats"),
    ready(
        "slot close",
        "<key> [<connections>]",
        true,
        "Close connections of slot open, all when no number is named",
        build::slot_close,
    ),
    ready(
        "slot open",
        "<key> <limit> [<connections>]",
        true,
        "Hold connections open on trial under a cluster limit",
        build::slot_open,
    ),
    never("sp_async"),
    never("spool import"),
    never("spool_in"),
    ready("summary", "", true, "Show node totals", build::summary),
    ready("summary reset", "", false, "Set the totals to zero", build::summary_reset),
    ready("sysinfo", "", true, "Show product and operating system", build::sysinfo),
    never("threads"),
    ready(
        "throttle check",
        "<name>",
        true,
        "Tell whether a named throttle of the fleet is exceeded",
        build::throttle_check,
    ),
    ready(
        "throttle create",
        "<name> <units>/<seconds> [<epsilon>]",
        true,
        "Add a named throttle for the whole fleet",
        build::throttle_create,
    ),
    ready("throttle inc", "<name> [<units>]", true, "Record units of a named throttle", build::throttle_inc),
    ready(
        "throttle take",
        "<name> [<units>]",
        true,
        "Use units of a named throttle, as many as are free",
        build::throttle_take,
    ),
    later("tls flush cache", "", "Drop TLS contexts"),
    later("tls show cache", "", "Show TLS contexts in use"),
    never("tls rekey"),
    later("trace smtp add", "<binding|*> <domain|*> <file>", "Write outbound SMTP dialogues to a file"),
    later("trace smtp list", "", "List SMTP traces"),
    later("trace smtp remove", "<id>", "End an SMTP trace"),
    never("unlink stats"),
    ready("version", "", true, "Show product and version", build::version),
    ready(
        "write config",
        "[<file>]",
        false,
        "Write the running configuration to the screen or a file",
        build::write_config,
    ),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_is_sound() {
        for (at, entry) in TABLE.iter().enumerate() {
            assert!(!entry.words.is_empty() && !entry.words.contains("  "), "{entry:?}");
            assert!(!entry.description.ends_with('.'), "{entry:?}");
            assert_eq!(entry.build.is_some(), entry.availability == Availability::Ready, "{entry:?}");
            assert!(TABLE.iter().skip(at + 1).all(|other| other.words != entry.words), "{entry:?} twice");
        }
    }
}
