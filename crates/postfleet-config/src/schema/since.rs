//! Since when files may use an option.

use super::{Chain, Row, Scope, Service};

/// The oldest line whose files may use an option.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Since {
    /// 2.x, in the older form, perhaps under another spelling.
    V2,
    /// 3.x, the first with braces.
    V3,
    /// 3.4, the first with a bus of its own.
    V34,
    /// 4.x, later than 4.2.
    V43,
    /// This product: no vendor's daemon reads it.
    Own,
}

impl Since {
    /// The word of the reference page.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::V2 => "2.x",
            Self::V3 => "3.x",
            Self::V34 => "3.4",
            Self::V43 => "4.3",
            Self::Own => "postfleet",
        }
    }
}

/// Options that the 2.x form can express.
#[rustfmt::skip]
const V2: &[&str] = &[
    "Always_Allow", "AuthCramMD5Parameters", "AuthDigestMD5Parameters", "AuthLoginParameters", "AuthPlainParameters",
    "AuthorizationParameters", "Banner_Hostname", "Bind_Address", "cache_life", "cache_size", "Capabilities",
    "cidrmask", "cluster_group", "Concurrency", "Context", "control_group", "CRITICAL", "DEBUG", "debug_level",
    "Duravip_Follow", "Duravip_Preference", "dir_mode", "Enable_Authorization", "Enable_Duravip", "enabled", "ERROR",
    "file_mode", "group", "Hostname", "Idle_Time", "INFO", "interface", "Listen_Backlog", "log_errors",
    "log_receptions", "log_deliveries", "log_permanent_failures", "log_rejections", "log_transient_failures",
    "logfile", "logs", "mainlog", "max_idle", "max_open", "Max_Message_Size", "Max_Receptions_Per_Connection",
    "Max_Resident_Active_Queue", "mbus_daemon", "monitors", "nodeaddr", "nodename", "NOTICE", "Open_Relay", "paniclog",
    "parameters", "permanent_failure_format", "permanent_failure_logfile", "Privileges", "rejectlog",
    "Relay_For_Sending_Domains", "Relay_Hosts", "replication_name", "serialized", "SMTP_Extensions", "Timeout",
    "TLS_Certificate", "TLS_Ciphers", "TLS_Client_CA", "TLS_Key", "type", "uri", "user", "WARNING",
];

const LATER: &[&str] = &["Proxy_Protocol", "Proxy_Protocol_Timeout"];

#[rustfmt::skip]
const OWN: &[&str] = &[
    "allow_large_ring", "arp_notify", "arp_refresh_interval", "bus", "bus_name", "Cluster_Key", "Compatibility",
    "Console_Node_Type", "Console_Product_Name", "duravip_drain_time", "duravip_lease", "duravip_quorum",
    "heartbeat_miss_limit", "min_delay", "partition", "Policy_Count_Connects", "Policy_Failure", "record_format",
    "Run_Dir", "runtime_error", "shadow", "Shadow_Limits", "slot_handover", "Spool_Min_Free", "Spool_Min_Free_Percent",
    "State_Dir",
];

impl Row {
    /// The oldest line whose files may use the option.
    #[must_use]
    pub fn since(&self) -> Since {
        const ADAPTERS: [Service; 4] = [Service::Policy, Service::Milter, Service::Api, Service::Metrics];
        let adapter = !self.services.is_empty() && self.services.iter().all(|of| ADAPTERS.contains(of));
        let between_nodes = self.name == "TLS" && self.services == [Service::Eccluster];
        let bus = |scope: &Scope| matches!(scope, Scope::MsgcServer | Scope::MsgcClient);
        if self.scopes == [Scope::PolicyRule] || adapter || between_nodes || OWN.contains(&self.name) {
            Since::Own
        } else if LATER.contains(&self.name)
            || (self.chain == Chain::H && self.name.starts_with("Outbound_Throttle_"))
        {
            Since::V43
        } else if self.scopes.iter().all(bus) {
            Since::V34
        } else if V2.contains(&self.name) {
            Since::V2
        } else {
            Since::V3
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::schema::rows;

    #[test]
    fn every_listed_name_is_an_option() {
        for name in V2.iter().chain(LATER).chain(OWN) {
            assert!(rows().any(|row| row.name == *name), "{name}");
        }
    }
}
