//! `Security`, the global options, thread pools, debug flags, authorization.

use super::{Chain, Check, Default, Kind, Range, Row, Scope, Unit};
use Check::{Any, DomainPattern, HostName, Label, Path};
use Default::{Either, From, Is, List, Unset};
use Kind::{Bool, Cidr, Int, Perms, Size, Text, Throttle, Uint64, Words, WordsOrInt};

const fn g(name: &'static str, kind: Kind, default: Default, effect: &'static str) -> Row {
    Row::new(name, kind, default, effect)
}

const fn security(name: &'static str, kind: Kind, default: Default, effect: &'static str) -> Row {
    Row::new(name, kind, default, effect).at(Chain::M, &[Scope::Security]).fixed()
}

#[rustfmt::skip]
pub(super) const SECURITY: &[Row] = &[
    security("user", Text(Any), Is("ecuser"), "the account, by name or number, that the process runs as after start-up"),
    security("group", Text(Any), Is("ecuser"), "the primary group that the process runs with after start-up"),
    security("Supplemental_Groups", Text(Any), Unset, "further groups of the process; unset: none").list(),
    security("Capabilities", Text(Check::Capabilities), Unset, "exactly the capabilities kept after the change of account; unset or `none`: none"),
    security("Privileges", Text(Any), Unset, "the privilege set of another system; no effect on this one").accepted(),
    security("chroot", Text(Path), Unset, "the directory that becomes the root before privileges are dropped"),
];

const B: &[Scope] = &[Scope::Binding, Scope::BindingGroup, Scope::Global];
const D: &[Scope] = &[Scope::Binding, Scope::BindingGroup, Scope::Domain, Scope::Global];
const DG: &[Scope] = &[Scope::Domain, Scope::Global];

#[rustfmt::skip]
pub(super) const GLOBAL: &[Row] = &[
    g("Hostname", Text(HostName), From("the system's host name"), "own name in the greeting, EHLO, Received fields and bounces; not the node name"),
    g("Bind_Address", Kind::AddressOrHost, Is("*"), "source address of outbound connections; `*`: the system chooses").at(Chain::B, B),
    g("Default_Binding", Words(&["normal", "suspended", "none"]), Is("normal"), "messages without a binding: use the default one, use it with delivery suspended, or refuse with 451"),
    g("Suspend_Delivery", Bool, Is("false"), "messages are accepted and queued, and nothing is delivered").at(Chain::D, D),
    g("Server_Max_File_Descriptors", Uint64, Is("3000000"), "descriptor limit asked for at start").min(1024).stored(),
    g("Prohibited_Hosts", Cidr, Unset, "domains whose exchangers have such an address fail for good").list(),
    g("Skip_Hosts", Cidr, Unset, "such exchangers are passed over").list(),
    g("Relay_Hosts", Cidr, Unset, "clients that may relay without authentication").list(),
    g("Relay_Domains", Text(DomainPattern), Unset, "recipient domains accepted from anyone; `*` only as first character").list(),
    g("Bounce_Domains", Text(DomainPattern), Unset, "as `Relay_Domains`, and marked as bounce traffic").list(),
    g("Only_Use_Best_MX_For_Relay_Domains", Bool, Is("true"), "for relay domains only the exchangers of the lowest preference value are used").stored(),
    g("Inbound_Throttle_Messages", Throttle, Unset, "receptions per period over the whole node"),
    g("Siv_Throttle_Cache_Size", Size, Is("1000"), "how many named throttles are kept, of the node and of the cluster each; equal on all nodes").unit(Unit::Entries).min(1),
    g("Control_Client_Timeout", Int, Is("60"), "network timeout of console clients").seconds().min(1),
    g("Use_IPv6", Bool, Is("false"), "whether IPv6 addresses of exchangers are used"),
    g("Use_Iflist_Cache", Bool, Is("0"), "the system's list of interfaces is cached").fixed().stored(),
    g("Binding_Auto_Replumb", Bool, Is("disabled"), "source addresses are looked at from time to time, and missing ones are not used").stored(),
    g("Binding_Auto_Replumb_Interval", Int, Is("60"), "when a source address that was not on this machine is tried again").seconds().min(1),
    g("Spoolbase", Text(Path), Is("/var/spool/ecelerity"), "root of the spool").fixed(),
    g("Spool_Mode", Perms, Is("0640"), "mode of new spool files").fixed(),
    g("Spool_Min_Free", Size, Is("536870912"), "MAIL is refused with 452 while the spool's file system has less free than the smaller of this and `Spool_Min_Free_Percent`; below half of it listeners answer 421").unit(Unit::Bytes),
    g("Spool_Min_Free_Percent", Int, Is("5"), "the same as a part of the bytes; and, alone, of the inodes").unit(Unit::Percent).range(Range::Whole(0, 50)),
    g("Force_Fsync", Bool, Is("true"), "250 only after the message is on the disk; `false` is unsafe and said so at every start").fixed(),
    g("Large_Message_Threshold", Size, Is("131072"), "larger messages go to the disk while they arrive").unit(Unit::Bytes).min(4096).stored(),
    g("Disk_Queue_Drain_Rate", Int, Is("100"), "spool files read in one turn at start").min(1).stored(),
    g("Pidfile", Text(Path), Is("/var/run/ecelerity.pid"), "file that holds the process number").fixed(),
    g("State_Dir", Text(Path), Is("/var/lib/postfleet"), "state that outlives a restart").fixed(),
    g("Run_Dir", Text(Path), Is("/run/postfleet"), "sockets of the embedded bus").fixed(),
    g("TimestampFormat", Text(Any), Is("[%a %d %b %Y %H:%M:%S] "), "what stands before messages on standard error, in the terms of strftime"),
    g("TCP_Buffer_Size", Size, Is("32768"), "socket buffer of outbound connections; 0: the system's").unit(Unit::Bytes).range(Range::WholeOr(0, 1024, i64::MAX)).stored(),
    g("Resolv_Conf", Text(Path), Unset, "resolver configuration; unset: the system's"),
    g("Min_DNS_TTL", Uint64, Is("0"), "shortest time a DNS answer is kept").seconds(),
    g("Max_DNS_TTL", Uint64, Is("4294967295"), "longest time a DNS answer is kept; not below `Min_DNS_TTL`").seconds(),
    g("DNS_Expire_Interval", Int, Is("10"), "how often domains with stale DNS data are looked for").seconds().min(1).stored(),
    g("DNS_Cache_Purge_Interval", Int, Is("60"), "how often the cache of answers is cleaned").seconds().min(1).stored(),
    g("DNS_Failures_To_Purge", Int, Is("10"), "failed look-ups in a row after which mail for the domain fails").at(Chain::DG, DG).min(1),
    g("DNS_Fallback_To_TCP", Bool, Is("false"), "answers cut short are asked for again over TCP").stored(),
    g("Max_Resident_Messages", Int, Is("32768"), "messages kept in memory; 0: no limit").at(Chain::B, B).min(0).stored(),
    g("Max_Resident_Active_Queue", Int, Is("250"), "length of a domain's active queue from which on messages leave memory, not the spool; -1: never, 0: always").at(Chain::D, D).min(-1).stored(),
    g("Max_Resident_Transfails", Int, Is("100"), "messages kept in memory after a transient failure").min(0).stored(),
    g("Transfail_Drain_Rate", Int, Is("100"), "transient failures handled in one turn").min(1).stored(),
    g("Delayed_Queue_Scan_Interval", Int, Is("15"), "how often due messages are looked for").seconds().min(1).stored(),
    g("Reserve_Maintenance_Interval", Int, Is("15"), "how often the reserve of connections is tidied").seconds().min(1).stored(),
    g("Match_Cache_Size", Size, Is("16384"), "look-ups in matching scopes that are remembered").unit(Unit::Entries).min(1).stored(),
    g("Match_Cache_Life", Int, Is("0"), "how long they are; 0: until the next change").seconds().min(0).stored(),
    g("Local_Changes_File", Text(Any), Unset, "file read after all others, so that what it says counts; not the main file nor an included one"),
    g("Local_Changes_Only", Bool, Is("false"), "every change made at run time goes to `Local_Changes_File`, which must be set"),
    g("Compatibility", Words(&["none", "ecelerity"]), Is("none"), "`ecelerity`: default paths and accounts, and the words of consoles, banners and logs, are the vendor's").fixed(),
    g("Console_Product_Name", Text(Label), Either("postfleet", "ecelerity"), "product name in the prompt, the banner, the greeting and Received fields"),
    g("Console_Node_Type", Text(Label), Either("Postfleet", "Momentum"), "what `cluster membership` prints as node type"),
    g("Cluster_Key", Text(Path), Unset, "file with the key of connections between nodes, at least 32 bytes, readable by its owner only, the same on all members"),
    g("Policy_Failure", Words(&["continue", "tempfail"]), Is("continue"), "what happens to mail when a policy of Lua fails or runs out of time; default of `runtime_error` of `scriptlet`"),
    g("Policy_Count_Connects", Bool, Is("false"), "policy requests that begin at RCPT count one connection for each message").stored(),
    g("RFC2821_Pedantic_Address_Rules", Bool, Is("true"), "refuse `a..b@` and `ab.@`"),
    g("RFC2821_Allow_Whitespace_In_Envelope", Bool, Is("false"), "allow blanks inside the angle brackets of MAIL and RCPT"),
    g("RFC2822_Trace_Headers", Bool, Is("true"), "put a Received field before every message"),
    g("RFC2822_Lone_LF_In_Body", Words(&["ignore", "pedantic", "fix"]), Is("ignore"), "a line feed without carriage return in a body: take it, refuse the message, or add the carriage return"),
    g("RFC2822_Lone_LF_In_Headers", Words(&["pedantic", "fix"]), Is("pedantic"), "the same in the header"),
    g("RFC2822_Max_Line_Length", WordsOrInt(&["ignore", "pedantic", "fix"]), Is("ignore"), "longest line; the standard says 998").min(78),
    g("RFC2822_Max_Line_Length_Policy", Words(&["none", "fix", "reject"]), Is("none"), "what happens to longer lines when `RFC2822_Max_Line_Length` is a number"),
    g("RFC2822_Missing_Headers", Words(&["reject", "allow"]), Is("reject"), "messages without a header"),
    g("RFC2822_Date_Header", Words(&["ignore", "ifneeded", "pedantic"]), Is("ifneeded"), "a missing Date: leave it, add it, or refuse the message"),
    g("RFC2822_MessageID_Header", Words(&["ignore", "ifneeded"]), Is("ifneeded"), "a missing Message-ID: leave it or add it"),
    g("Generate_Bounces_For_Multi_Recipient_Policy_Rejections", Bool, Is("true"), "recipients refused by policy after the data get a bounce when others were accepted"),
];

const fn pool(name: &'static str, kind: Kind, default: Default, effect: &'static str) -> Row {
    Row::new(name, kind, default, effect).at(Chain::M, &[Scope::ThreadPool])
}

const fn debug(name: &'static str, default: Default) -> Row {
    Row::new(name, Text(Check::DebugWord), default, "subsystems whose messages of this level are written")
        .at(Chain::M, &[Scope::DebugFlags])
        .list()
}

#[rustfmt::skip]
pub(super) const POOLS: &[Row] = &[
    pool("Concurrency", Int, Unset, "threads of a pool that a `Datasource` uses; unset: 20, 0: one. Other pools do not exist here").min(0),
    pool("Backlog", Int, Is("0"), "queries that may wait for a thread; 0: 10 000").min(0).fixed(),
    pool("Stack_Size", Size, Is("0"), "stack of a thread; 0: the system's").unit(Unit::Bytes).fixed().accepted(),
    debug("DEBUG", List(&[])),
    debug("INFO", List(&[])),
    debug("NOTICE", List(&[])),
    debug("WARNING", List(&[])),
    debug("ERROR", List(&["ALL"])),
    debug("CRITICAL", List(&["ALL"])),
    Row::new("allow", Kind::Regex, List(&[]), "commands that members of the role may run").at(Chain::M, &[Scope::Role]).list().stored(),
];
