//! The configuration file of a demo node. A newcomer learns the configuration from it, so it explains itself.

use super::layout::NodeLayout;
use std::path::Path;

pub(crate) fn configuration(node: &NodeLayout, dir: &Path) -> String {
    let NodeLayout { name, home, smtp, smtp_proxy, cluster } = node;
    let address = smtp.ip();
    let bus = dir.join("bus/fleet");
    let (home, bus) = (home.display(), bus.display());
    format!(
        r#"# Configuration of the demo node {name}.
#
# Names are case-insensitive, `#` starts a comment, `Scope "name" {{ … }}` opens a scope. An option that is not
# written has its default; the reference is docs/configuration/reference.md. Check this file with
#
#     postfleet check {home}/postfleet.conf
#
# and start the node with
#
#     postfleet node -c {home}/postfleet.conf

# What we call ourselves in the SMTP greeting and in Received fields.
Hostname = "{name}.demo.example"

# Files of this node. The spool holds every message that was acknowledged.
Spoolbase = "{home}/spool"
State_Dir = "{home}/state"
Pidfile = "{home}/postfleet.pid"

# What happens, a line for each event: tail -f {home}/mainlog
ec_logger "main" {{
  mainlog = "{home}/mainlog"
  rejectlog = "{home}/rejectlog"
  paniclog = "{home}/paniclog"
  acctlog = "{home}/acctlog"
}}
bounce_logger "bounces" {{
  bouncelog = "{home}/bouncelog"
}}

# Who may send to any destination through this relay (clients on this machine), and for which destinations
# mail is taken from anybody.
Relay_Hosts = ( 127.0.0.0/8 )
Relay_Domains = ( "demo.example" )

# Nothing leaves this machine: what is accepted stays queued. Without this line it is delivered.
Suspend_Delivery = true

# Where mail comes in.
ESMTP_Listener {{
  Listen "{smtp}" {{
  }}

  # The same service for clients that come through a proxy: every connection starts with a PROXY header
  # (version 1 or 2), and the client address that it carries is the one that is counted.
  Listen "{smtp_proxy}" {{
    Proxy_Protocol = true
  }}
}}

# Where the console connects: postfleet console {home}/console
Control_Listener {{
  Listen "{home}/console" {{
    File_Mode = 0600
  }}
}}

# Where other nodes reach this one, point to point.
ECCluster_Listener {{
  Listen "{cluster}" {{
  }}
}}

cluster {{
  # Each node of a cluster has its own name and its own address.
  nodename = "{name}"
  nodeaddr = "{address}"

  # What carries the messages between the nodes. "local" is the embedded bus for the nodes of one machine;
  # it lives in a Unix socket. Several machines need bus = "corosync".
  bus = "local"
  mbus_daemon = "{bus}"

  # What the nodes share. Most objects count something that is open now; every node owns its own column,
  # and the global view is the sum.
  Replicate "inbound_cidr" {{}}              # open inbound connections by client address
  Replicate "outbound_cidr" {{}}             # open outbound connections by remote address
  Replicate "outbound_domains" {{}}          # open outbound connections by destination domain
  Replicate "outbound_binding_domains" {{}}  # the same by binding and domain
  Replicate "shared_named_throttles" {{}}    # rates that hold for all nodes together
}}
"#
    )
}
