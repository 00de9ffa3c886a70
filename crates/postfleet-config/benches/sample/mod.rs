//! A configuration of any size, such as a large site has, for tests and benchmarks.

use std::fmt::Write as _;

/// A valid configuration of about so many stanzas: domains, bindings in groups with domains of their own, listeners with
/// clients, caches that are shared.
pub(crate) fn mixed(stanzas: usize) -> String {
    let mut text = String::from("Hostname = \"mx.example\"\nRetry_Interval = 600\n");
    let (mut listeners, mut objects) = (String::new(), String::new());
    // Each turn writes ten stanzas.
    for at in 0..stanzas.div_ceil(10) {
        let (high, low) = (at / 250 % 250, at % 250 + 1);
        let _ = write!(
            text,
            "Domain \"d{at}.example\" {{\n  Cluster_Max_Outbound_Connections = 20\n  Outbound_Throttle_Messages = 60/3\n}}\n\
             Domain \"e{at}.example\" {{\n  Gateway = \"gw.example\"\n  Idle_Timeout = 9 # a comment\n}}\n\
             Datasource \"c{at}\" {{ uri = \"null:\" }}\n\
             Binding_Group \"g{at}\" {{\n  Retry_Interval = 900\n  Domain \"d{at}.example\" {{ Max_Retries = 5 }}\n  \
             Binding \"b{at}\" {{\n    Bind_Address = \"10.1.{high}.{low}\"\n    \
             Domain \"d{at}.example\" {{ Idle_Timeout = 4 }}\n  }}\n}}\n"
        );
        let _ = write!(
            listeners,
            "  Listen \"10.2.{high}.{low}:25\" {{\n    Idle_Time = 60\n    \
             Peer \"192.0.2.0/24\" {{ Open_Relay = true }}\n  }}\n"
        );
        let _ = writeln!(objects, "  Replicate \"c{at}\" {{ type = \"cache\" }}");
    }
    format!(
        "{text}ESMTP_Listener {{\n{listeners}}}\ncluster {{\n  Replicate \"outbound_domains\" {{}}\n  \
         Replicate \"outbound_binding_domains\" {{}}\n{objects}}}\n"
    )
}
