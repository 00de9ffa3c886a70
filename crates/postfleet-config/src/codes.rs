//! The numbers of findings: one table, from which the page for operators is written.

use alloc::format;
use alloc::string::String;

/// When a finding of this number can come up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// While a configuration is read and checked.
    Load,
    /// While a file in the 2.x form is translated.
    Older,
    /// At a console command that changes the configuration, or saves or reloads it.
    Command,
    /// While a node runs or starts: it takes more than the files to know.
    Running,
}

/// One number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CodeRow {
    /// The number behind `CFG-`.
    pub code: u16,
    /// Whether it can be an error.
    pub error: bool,
    /// Whether it can be a warning.
    pub warning: bool,
    /// When it comes up.
    pub stage: Stage,
    /// What it means.
    pub meaning: &'static str,
    /// What to do.
    pub remedy: &'static str,
}

const fn e(code: u16, meaning: &'static str, remedy: &'static str) -> CodeRow {
    CodeRow { code, error: true, warning: false, stage: Stage::Load, meaning, remedy }
}

const fn w(code: u16, meaning: &'static str, remedy: &'static str) -> CodeRow {
    CodeRow { code, error: false, warning: true, stage: Stage::Load, meaning, remedy }
}

const fn ew(code: u16, meaning: &'static str, remedy: &'static str) -> CodeRow {
    CodeRow { code, error: true, warning: true, stage: Stage::Load, meaning, remedy }
}

impl CodeRow {
    const fn at(mut self, stage: Stage) -> Self {
        self.stage = stage;
        self
    }
}

#[rustfmt::skip]
const CODES: &[CodeRow] = &[
    e(1001, "a string is not closed before the end of the file; the place is its opening quote", "close it; quotes inside need a backslash"),
    e(1002, "a comment is not closed; the place is its `/*`", "close it with `*/`"),
    e(1003, "`/*` inside a bare word", "quote the value, or put a blank before the comment"),
    e(1004, "a NUL byte, or bytes that are not UTF-8, outside a comment", "save the file as UTF-8"),
    e(1005, "a typographic quote where a value begins", "use `\"`"),
    e(1006, "`*/` without a comment", "comments do not nest; delete it"),
    e(2001, "something else was expected here, or a limit of nesting or length is reached", "see what the message expects"),
    e(2002, "the file ends inside a stanza, list or dictionary", "close what the message names"),
    e(2003, "a closing bracket without an opening one, or of another kind", "delete it, or close what is open"),
    e(2004, "two words behind `=`", "quote the value"),
    w(2005, "`=` before `{`, or a comma in a list", "delete it"),
    e(2006, "a list or dictionary inside a dictionary", "dictionaries hold words only"),
    e(3001, "the name is not known", "see the hint, or the reference"),
    e(3002, "the name is known, but has no meaning in this stanza or in this role", "move it to where the hint says"),
    e(3003, "a stanza is written like an option, or an option like a stanza", "see the form that the message expects"),
    e(3004, "the stanza needs a name", "put one behind the stanza's word"),
    ew(3005, "the stanza has no name", "delete the name"),
    e(3006, "a binding of this name stands elsewhere", "names of bindings are unique; see the other place"),
    e(3007, "the name of a stanza has characters that it must not have, or a pattern is not closed", "see the message"),
    w(3008, "the name, word or destination is known and not read; `--strict` makes this an error", "delete it, or do without its effect"),
    ew(3009, "an older spelling", "use the one that the message names"),
    w(3010, "an option or key is given twice in one body", "delete the first; the last counts"),
    e(4001, "not a bool", "true, false, yes, no, on, off, enabled, disabled, 1 or 0"),
    e(4002, "not a number", "digits only"),
    e(4003, "out of range, too long, or of characters that it must not have", "see the range in the message"),
    e(4004, "not octal permissions", "one to four digits 0 to 7"),
    e(4005, "not an address, port, path, host or URL", "see the form in the message"),
    e(4006, "not a throttle", "`N` or `N/S`"),
    e(4007, "not one of the words", "see the list in the message"),
    e(4008, "a list where one value is expected", "give one value"),
    e(4009, "a dictionary where none is expected, or none where one is, or a key is missing", "see the form in the message"),
    e(4010, "not an address or block", "`ADDRESS` or `ADDRESS/BITS`"),
    e(4011, "a regular expression does not compile", "see the reason and the offset"),
    e(4012, "a unit behind a number", "write the plain number in the message"),
    w(4013, "bits behind the mask are cleared", "write the block that the message names"),
    e(5001, "a file is not there", "see the directories tried"),
    e(5002, "a file cannot be read, or is too large", "check its permissions"),
    e(5003, "a file includes itself", "see the chain"),
    e(5004, "a file of this scheme cannot be included", "a path, or `file://PATH`"),
    e(5005, "includes are nested too deeply, or too many", "64 levels and 10,000 files are the limits"),
    w(5006, "a file in an included directory looks like a backup copy; it is read", "move it out of the directory"),
    e(5010, "`Local_Changes_File` is the main file or an included one", "give it a file of its own"),
    e(5011, "`Local_Changes_Only` without `Local_Changes_File`", "set the file"),
    w(6110, "a replicated cache without a `Datasource` of its name; it is a store for policy", "add the data source, or leave it"),
    e(6111, "a replicated object has no kind", "set `type`, or name the stanza after one"),
    e(6112, "an option has no meaning for objects of this kind", "delete it"),
    e(6113, "a word of `parameters` is not known", "see the list in the message"),
    w(6114, "a word of `parameters` has no effect for objects of this kind, or the object shares nothing", "delete it, or add words"),
    w(6115, "the data source of a replicated cache is not serialized; nothing will be shared", "delete `serialized = false`"),
    e(6116, "two replicated objects have one name", "rename one"),
    w(6117, "the binding group of a replicated object does not exist", "correct the name"),
    e(6118, "a cache in the 2.x form without a name", "set `replication_name`").at(Stage::Older),
    w(6121, "few descriptors for the outbound connections allowed", "raise `Server_Max_File_Descriptors` to four for each connection"),
    w(6122, "capabilities are kept for the account root, which has them anyway", "set another `user`, or delete `Capabilities`"),
    w(6130, "a cluster limit without the replicated object it reads; it counts this node only", "add the object that the hint names"),
    w(6131, "a cluster limit without a `cluster` stanza; it counts this node only", "add the stanza"),
    w(6140, "`Gateway` where `Routes` holds too; `Routes` wins", "delete one"),
    w(6150, "`Max_Retry_Interval` is set while `Max_Retries` is `auto`, which does not look at it", "set `Max_Retries` to a number or `none`"),
    e(6160, "one socket in two listeners", "give one of them another address"),
    w(6170, "passwords cross the network in clear", "use another mechanism, or a Unix socket"),
    e(6171, "everybody can reach an adapter", "say in a `Peer` stanza who may"),
    ew(6172, "a console on TCP without credentials; on a loopback address it is only not opened", "set up a mechanism, or `Always_Allow`"),
    e(6180, "a policy rule without key or action, with neither or both of `limit` and `rate`, or with an action that is none", "see the message"),
    w(6181, "a policy rule compares with an object that is not replicated; it sees this node only", "add the object that the hint names"),
    e(6182, "a policy script cannot be read or does not compile; the policy before it stays in force", "see the message; it names file and line of the script").at(Stage::Running),
    w(6183, "a policy script reads or counts what is not replicated; it sees this node only", "add the object that the hint names").at(Stage::Running),
    e(6201, "the node has no name, or no address that others can reach", "set `nodename` and `nodeaddr`"),
    e(6210, "the cluster module twice", "merge the stanzas").at(Stage::Older),
    e(6220, "the port of `msgc_server` is not one of its listener", "make them equal"),
    e(6221, "the name of a peer has upper-case letters", "use lower case, here and as node name"),
    e(6222, "`idle_timeout` is not above `keepalive_interval`", "raise the first"),
    w(6223, "this node is not among the peers", "add it"),
    e(6224, "the embedded bus with an address of another host", "use Corosync"),
    w(6225, "more than 16 hosts in the ring", "see the page on the bus").at(Stage::Running),
    e(6226, "more than 32 hosts in the ring", "`allow_large_ring`").at(Stage::Running),
    e(6227, "`Cluster_Key` is missing where it is needed, short, or readable by others", "a file of 32 bytes or more, mode 0600"),
    w(6230, "a log is served that no logger writes", "give a logger the destination in the hint"),
    w(6231, "a journal is written that no entry of `logs` serves; it would grow", "add the entry in the hint"),
    ew(6232, "two loggers write one file; a warning where both do so by default", "give one of them another path, or none"),
    e(6233, "a logger writes a journal (`cluster://`, `jlog://`), which this version does not; the loggers before it stay in force", "name a file, or `\"\"` for no log").at(Stage::Running),
    e(6234, "a log cannot be opened; the loggers before it stay in force", "make its folder, let the node's user write there, or name another file").at(Stage::Running),
    e(6235, "a format or `sanitize` of a custom logger cannot be read; the loggers before it stay in force", "see the message").at(Stage::Running),
    e(6240, "a stage of a custom logger is on and has no format", "set the format"),
    w(6241, "a stage of a custom logger has a file and no format; it is not logged", "set the format"),
    e(6242, "a stage of a custom logger is on and has no destination", "set its file, or `mainlog`"),
    e(6250, "nothing stands for a placeholder of `logfile`", "see the list in the message"),
    w(6251, "a list of series has no effect beside `series_include_default`", "delete it, or change the default"),
    e(6301, "a listener is a failover address and follows one", "choose one"),
    e(6302, "a listener follows a binding that does not exist, or the default one", "name another"),
    e(6303, "a listener follows a binding of its own address, or one that does not move", "name another, or mark the binding"),
    e(6304, "a failover listener without an address of its own", "listen on one address"),
    e(6305, "a failover binding without an address of its own", "set `Bind_Address` to one address"),
    e(6306, "the node's own address as failover address", "use another"),
    e(6307, "no `Topology` has a failover address, so nobody knows its interface", "add the stanza in the hint"),
    w(6308, "one failover address with two preferences, or with one that has no effect", "name one node"),
    e(6309, "more than 10,240 failover addresses", "fewer"),
    w(6310, "a capability is missing that failover needs; the node will own no address", "use the line in the hint"),
    w(6311, "a binding or listener on a failover address is not marked; it is treated as if it were", "mark it"),
    w(6312, "a failover address without a `cluster` stanza; it is an ordinary one", "add the stanza"),
    w(6320, "an interface is not there on this host", "correct the name").at(Stage::Running),
    w(6321, "the lease of failover addresses is not below the time after which a silent node is put out", "lower it"),
    e(6401, "a data source without `uri`", "set it"),
    e(6402, "a `uri` of a data source without a driver", "`DRIVER:REST`"),
    e(6403, "the driver of a data source is not known", "see the list in the message"),
    e(6404, "a serialized data source that keeps nothing", "set `cache_life`, or `serialized = false`"),
    w(7001, "an option was changed that takes effect at the next start", "restart the node when it suits").at(Stage::Command),
    e(7010, "the running configuration has changed since the transaction began", "`config replay` shows what to repeat").at(Stage::Command),
    e(7011, "there is no transaction, or there is one already", "`config begin`, or `config commit`").at(Stage::Command),
    e(7012, "the command is not possible in a transaction, or only in one", "end the transaction").at(Stage::Command),
    w(7020, "changes could not be saved", "set `Local_Changes_File`").at(Stage::Command),
    w(7021, "members of the cluster differ in an option that must be the same", "make it the same").at(Stage::Running),
];

/// Every number, in order.
pub fn codes() -> impl Iterator<Item = &'static CodeRow> {
    CODES.iter()
}

pub(crate) fn is_listed(code: u16) -> bool {
    CODES.binary_search_by_key(&code, |row| row.code).is_ok()
}

/// The page `docs/configuration/codes.md`.
#[must_use]
pub fn codes_markdown() -> String {
    let mut page = String::from(HEAD);
    let mut part = 0;
    for row in CODES {
        if row.code / 1000 != part {
            part = row.code / 1000;
            let title = match part {
                1 => "Text",
                2 => "Grammar",
                3 => "Names",
                4 => "Values",
                5 => "Files",
                6 => "Across stanzas",
                _ => "Changes at run time",
            };
            page.push_str(&format!("\n## {title}\n\n| Code | | Meaning | What to do |\n|---|---|---|---|\n"));
        }
        let kind = match (row.error, row.warning) {
            (true, true) => "either",
            (_, false) => "error",
            (false, true) => "warning",
        };
        let stage = match row.stage {
            Stage::Load | Stage::Command => "",
            Stage::Older => ", 2.x form",
            Stage::Running => ", running",
        };
        page.push_str(&format!("| CFG-{} | {kind}{stage} | {} | {} |\n", row.code, row.meaning, row.remedy));
    }
    page
}

const HEAD: &str = "# Codes of findings

This page is written from the table in `crates/postfleet-config/src/codes.rs`; change the table, not the page.

Every finding has a number, file, line, column, what is wrong, what was expected, and often a hint. An error keeps a
configuration from being used; a running node stays with the one it has. A warning does not. *Running*: the files alone do not
tell; a node says it when it starts or while it runs.
";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_in_order_and_mean_something() {
        assert!(CODES.is_sorted_by(|left, right| left.code < right.code));
        for row in CODES {
            assert!(row.error || row.warning, "{}", row.code);
            assert!(!row.meaning.is_empty() && !row.remedy.is_empty(), "{}", row.code);
        }
    }

    #[test]
    fn the_page_is_what_the_table_says() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/configuration/codes.md");
        let found = std::fs::read_to_string(path).unwrap_or_default();
        assert!(
            found == codes_markdown(),
            "{path} differs from the table; `cargo xtask reference` writes it"
        );
    }
}
