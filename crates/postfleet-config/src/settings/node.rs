//! Settings of the whole node.

use alloc::string::{String, ToString as _};
use alloc::vec::Vec;
use core::time::Duration;

use postfleet_types::Prefix;

use super::Lookup;
use crate::config::Config;
use crate::resolve::Facts;
use crate::value::{Throttle, Value};

/// The account and the rights the process keeps. All of it takes effect at start only.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SecuritySettings {
    /// The account, name or number.
    pub user: String,
    /// The primary group.
    pub group: String,
    /// Whether `user` or `group` was written, or is only the default.
    pub explicit: bool,
    /// Further groups.
    pub supplemental_groups: Vec<String>,
    /// The capabilities kept, in the terms of `cap_from_text`; `None`: none.
    pub capabilities: Option<String>,
    /// The root directory to change to.
    pub chroot: Option<String>,
}

/// Line feeds without carriage return.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LoneLf {
    /// Taken as they are.
    Ignore,
    /// The message is refused.
    Pedantic,
    /// The carriage return is added.
    Fix,
}

/// The longest line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LineLength {
    /// Any.
    Ignore,
    /// 998; longer ones are refused.
    Pedantic,
    /// 998; longer ones are broken.
    Fix,
    /// This many; [`LongLines`] says what happens to longer ones.
    Max(u32),
}

/// Lines longer than [`LineLength::Max`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LongLines {
    /// Taken.
    None,
    /// Broken.
    Fix,
    /// Refused.
    Reject,
}

/// Messages without a header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MissingHeaders {
    /// Refused.
    Reject,
    /// Taken.
    Allow,
}

/// A missing Date or Message-ID.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DateHeader {
    /// Left alone.
    Ignore,
    /// Added.
    IfNeeded,
    /// The message is refused.
    Pedantic,
}

/// Rules for addresses and messages that hold on every listener.
#[derive(Clone, Debug, PartialEq)]
pub struct MailRules {
    /// `Relay_Domains`.
    pub relay_domains: Vec<String>,
    /// `Bounce_Domains`.
    pub bounce_domains: Vec<String>,
    /// `Inbound_Throttle_Messages`; `None`: no limit.
    pub inbound_throttle_messages: Option<Throttle>,
    /// `RFC2821_Pedantic_Address_Rules`.
    pub pedantic_address_rules: bool,
    /// `RFC2821_Allow_Whitespace_In_Envelope`.
    pub allow_whitespace_in_envelope: bool,
    /// `RFC2822_Lone_LF_In_Body`.
    pub lone_lf_in_body: LoneLf,
    /// `RFC2822_Lone_LF_In_Headers`.
    pub lone_lf_in_headers: LoneLf,
    /// `RFC2822_Max_Line_Length`.
    pub max_line_length: LineLength,
    /// `RFC2822_Max_Line_Length_Policy`.
    pub max_line_length_policy: LongLines,
    /// `RFC2822_Missing_Headers`.
    pub missing_headers: MissingHeaders,
    /// `RFC2822_Date_Header`.
    pub date_header: DateHeader,
    /// `RFC2822_MessageID_Header`; never [`DateHeader::Pedantic`].
    pub message_id_header: DateHeader,
    /// `RFC2822_Trace_Headers`.
    pub trace_headers: bool,
}

/// The global options that a node uses.
#[derive(Clone, Debug, PartialEq)]
pub struct NodeSettings {
    /// `Hostname`; `None`: the system's host name.
    pub hostname: Option<String>,
    /// `Console_Product_Name`.
    pub product_name: String,
    /// `Console_Node_Type`.
    pub node_type: String,
    /// `Compatibility = "ecelerity"`.
    pub compatible: bool,
    /// `Pidfile`.
    pub pid_file: String,
    /// Whether `Pidfile` was written, or is only the default.
    pub pid_file_explicit: bool,
    /// `Spoolbase`.
    pub spoolbase: String,
    /// `Spool_Mode`.
    pub spool_mode: u32,
    /// `Spool_Min_Free`, in bytes.
    pub spool_min_free: u64,
    /// `Spool_Min_Free_Percent`.
    pub spool_min_free_percent: u32,
    /// `Force_Fsync`.
    pub force_fsync: bool,
    /// `Large_Message_Threshold`, in bytes.
    pub large_message_threshold: u64,
    /// `Siv_Throttle_Cache_Size`: named throttles kept, of the node and of the fleet each.
    pub named_throttles_max: u64,
    /// `Disk_Queue_Drain_Rate`.
    pub disk_queue_drain_rate: u32,
    /// `State_Dir`.
    pub state_dir: String,
    /// `Run_Dir`.
    pub run_dir: String,
    /// `TimestampFormat`.
    pub timestamp_format: String,
    /// `Server_Max_File_Descriptors`.
    pub max_file_descriptors: u64,
    /// `Control_Client_Timeout`.
    pub control_client_timeout: Duration,
    /// `Cluster_Key`: the path of the file.
    pub cluster_key: Option<String>,
    /// `Policy_Failure = "tempfail"`.
    pub policy_failure_is_tempfail: bool,
    /// `Relay_Hosts` of the global scope; listeners resolve their own.
    pub relay_hosts: Vec<Prefix>,
    /// Rules for addresses and messages.
    pub rules: MailRules,
    /// The `Security` stanza.
    pub security: SecuritySettings,
}

const fn lone_lf(word: &str) -> LoneLf {
    match word.as_bytes() {
        b"ignore" => LoneLf::Ignore,
        b"fix" => LoneLf::Fix,
        _ => LoneLf::Pedantic,
    }
}

const fn header(word: &str) -> DateHeader {
    match word.as_bytes() {
        b"ignore" => DateHeader::Ignore,
        b"pedantic" => DateHeader::Pedantic,
        _ => DateHeader::IfNeeded,
    }
}

impl Config {
    /// The global options and `Security`.
    #[must_use]
    pub fn node_settings(&self) -> NodeSettings {
        let global = Lookup::new(self, Facts::default());
        let text = |name: &str| global.text(name).unwrap_or_default();
        NodeSettings {
            hostname: global.filled("Hostname"),
            product_name: text("Console_Product_Name"),
            node_type: text("Console_Node_Type"),
            compatible: self.compatible(),
            pid_file: text("Pidfile"),
            pid_file_explicit: global.set("Pidfile").is_some(),
            spoolbase: text("Spoolbase"),
            spool_mode: global.u32("Spool_Mode"),
            spool_min_free: global.u64("Spool_Min_Free"),
            spool_min_free_percent: global.u32("Spool_Min_Free_Percent"),
            force_fsync: global.bool("Force_Fsync"),
            large_message_threshold: global.u64("Large_Message_Threshold"),
            named_throttles_max: global.u64("Siv_Throttle_Cache_Size"),
            disk_queue_drain_rate: global.u32("Disk_Queue_Drain_Rate"),
            state_dir: text("State_Dir"),
            run_dir: text("Run_Dir"),
            timestamp_format: text("TimestampFormat"),
            max_file_descriptors: global.u64("Server_Max_File_Descriptors"),
            control_client_timeout: global.seconds("Control_Client_Timeout"),
            cluster_key: global.filled("Cluster_Key"),
            policy_failure_is_tempfail: global.word("Policy_Failure") == "tempfail",
            relay_hosts: global.prefixes("Relay_Hosts"),
            rules: self.mail_rules(),
            security: self.security(),
        }
    }

    pub(crate) fn mail_rules(&self) -> MailRules {
        let global = Lookup::new(self, Facts::default());
        MailRules {
            relay_domains: global.texts("Relay_Domains"),
            bounce_domains: global.texts("Bounce_Domains"),
            inbound_throttle_messages: match global.value("Inbound_Throttle_Messages") {
                Some(Value::Throttle(throttle)) if throttle.events > 0 => Some(throttle),
                Some(_) | None => None,
            },
            pedantic_address_rules: global.bool("RFC2821_Pedantic_Address_Rules"),
            allow_whitespace_in_envelope: global.bool("RFC2821_Allow_Whitespace_In_Envelope"),
            lone_lf_in_body: lone_lf(global.word("RFC2822_Lone_LF_In_Body")),
            lone_lf_in_headers: lone_lf(global.word("RFC2822_Lone_LF_In_Headers")),
            max_line_length: match global.word("RFC2822_Max_Line_Length") {
                "ignore" => LineLength::Ignore,
                "pedantic" => LineLength::Pedantic,
                "fix" => LineLength::Fix,
                _ => LineLength::Max(global.u32("RFC2822_Max_Line_Length")),
            },
            max_line_length_policy: match global.word("RFC2822_Max_Line_Length_Policy") {
                "fix" => LongLines::Fix,
                "reject" => LongLines::Reject,
                _ => LongLines::None,
            },
            missing_headers: if global.word("RFC2822_Missing_Headers") == "allow" {
                MissingHeaders::Allow
            } else {
                MissingHeaders::Reject
            },
            date_header: header(global.word("RFC2822_Date_Header")),
            message_id_header: header(global.word("RFC2822_MessageID_Header")),
            trace_headers: global.bool("RFC2822_Trace_Headers"),
        }
    }

    fn security(&self) -> SecuritySettings {
        let security = Lookup::new(self, Facts::default());
        let explicit = ["user", "group"].into_iter().any(|name| security.set(name).is_some());
        SecuritySettings {
            user: security.text("user").unwrap_or_default(),
            group: security.text("group").unwrap_or_default(),
            explicit,
            supplemental_groups: security.texts("Supplemental_Groups"),
            capabilities: security
                .filled("Capabilities")
                .filter(|text| !text.eq_ignore_ascii_case("none"))
                .map(|text| text.to_string()),
            chroot: security.filled("chroot"),
        }
    }
}
