//! `postfleet corosync-conf`: writes the file that describes a ring to standard output, and nothing anywhere else.

use anyhow::{Context, ensure};
use clap::ValueEnum;
use postfleet_bus_corosync::conf::{
    Host, Key, RingPlan, TOKEN_COEFFICIENT_MS_RECOMMENDED, TOKEN_MS_RECOMMENDED, Transport, TwoNode,
};
use postfleet_bus_corosync::{RING_HOSTS_LIMIT, RING_HOSTS_SUPPORTED};
use postfleet_config::{Config, MemoryFiles};
use postfleet_node::FileSystem;
use std::io::Write;
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::str::FromStr;

/// The words of `postfleet corosync-conf`.
#[derive(clap::Args)]
pub(crate) struct CorosyncConfArguments {
    /// Take hosts from this file: an mbus.conf, or a configuration file with `msgc_server { peers }`
    #[arg(value_name = "FILE")]
    file: Option<PathBuf>,
    /// A host with a node, and its address on each link; once for each host. Its number stays when others go
    #[arg(long = "node", value_name = "[ID:]NAME=ADDRESS[,ADDRESS]")]
    nodes: Vec<Named>,
    /// A host with a manager and no node; it has no vote
    #[arg(long = "manager", value_name = "[ID:]NAME=ADDRESS[,ADDRESS]")]
    managers: Vec<Named>,
    /// Managers vote: the natural third vote beside two nodes
    #[arg(long)]
    voting_managers: bool,
    /// Keeps rings on one network apart
    #[arg(long, value_name = "NAME", default_value = "postfleet")]
    cluster_name: String,
    /// What carries the packets
    #[arg(long, value_enum, default_value = "knet")]
    transport: TransportWord,
    /// The key file, the same on every host
    #[arg(long, value_name = "FILE", default_value = "/etc/corosync/authkey")]
    key: PathBuf,
    /// No encryption and no authentication; whoever reaches the port takes part
    #[arg(long, conflicts_with = "key")]
    no_key: bool,
    /// Whether one of two hosts alone is quorate; auto: with exactly two voting hosts
    #[arg(long, value_enum, default_value = "auto")]
    two_node: TwoNodeWord,
    /// Milliseconds without the token after which a ring of two breaks
    #[arg(long, value_name = "MS", default_value_t = TOKEN_MS_RECOMMENDED)]
    token: u32,
    /// Milliseconds more for each further host
    #[arg(long, value_name = "MS", default_value_t = TOKEN_COEFFICIENT_MS_RECOMMENDED)]
    token_coefficient: u32,
    /// Raise it with every change of the file
    #[arg(long, value_name = "NUMBER", default_value_t = 1)]
    config_version: u64,
    /// Log into this file too
    #[arg(long, value_name = "FILE")]
    log_file: Option<PathBuf>,
}

#[derive(Clone, Copy, ValueEnum)]
enum TransportWord {
    /// Several links, encryption
    Knet,
    /// One link, no encryption; for networks where knet does not work
    Udpu,
}

#[derive(Clone, Copy, ValueEnum)]
enum TwoNodeWord {
    Auto,
    Yes,
    No,
}

/// `[ID:]NAME=ADDRESS[,ADDRESS]`.
#[derive(Clone, Debug)]
struct Named {
    id: Option<u32>,
    name: String,
    addresses: Vec<IpAddr>,
}

impl FromStr for Named {
    type Err = anyhow::Error;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (name, list) = text.split_once('=').context("use NAME=ADDRESS, for example relay-1=10.1.0.11")?;
        let (id, name) = match name.split_once(':') {
            Some((id, name)) => {
                (Some(id.trim().parse().with_context(|| format!("\"{id}\" is no number of a host"))?), name)
            }
            None => (None, name),
        };
        let addresses = list.split(',').map(str::trim).map(address).collect::<anyhow::Result<_>>()?;
        Ok(Self { id, name: name.trim().to_ascii_lowercase(), addresses })
    }
}

/// An address, perhaps with the port of the older bus, which means nothing here.
fn address(text: &str) -> anyhow::Result<IpAddr> {
    let parsed = text.parse().or_else(|_| text.parse::<SocketAddr>().map(|address| address.ip()));
    parsed.with_context(|| format!("\"{text}\" is no IP address; a ring needs addresses, not names"))
}

impl Named {
    fn host(&self, votes: bool) -> Host {
        Host { id: self.id, name: self.name.clone(), addresses: self.addresses.clone(), votes }
    }
}

pub(crate) fn run(arguments: &CorosyncConfArguments) -> anyhow::Result<ExitCode> {
    let mut hosts = match &arguments.file {
        Some(file) => read(file).with_context(|| file.display().to_string())?,
        None => Vec::new(),
    };
    hosts.extend(arguments.nodes.iter().map(|named| named.host(true)));
    hosts.extend(arguments.managers.iter().map(|named| named.host(arguments.voting_managers)));
    let plan = plan(arguments, hosts);
    let text = plan.render()?;
    for warning in warnings(&plan) {
        writeln!(std::io::stderr(), "postfleet: warning: {warning}")?;
    }
    std::io::stdout().lock().write_all(text.as_bytes())?;
    Ok(ExitCode::SUCCESS)
}

fn plan(arguments: &CorosyncConfArguments, hosts: Vec<Host>) -> RingPlan {
    RingPlan {
        config_version: arguments.config_version,
        transport: match arguments.transport {
            TransportWord::Knet => Transport::Knet,
            TransportWord::Udpu => Transport::Udpu,
        },
        key: if arguments.no_key { Key::None } else { Key::File(arguments.key.clone()) },
        token_ms: arguments.token,
        token_coefficient_ms: arguments.token_coefficient,
        two_node: match arguments.two_node {
            TwoNodeWord::Auto => TwoNode::Auto,
            TwoNodeWord::Yes => TwoNode::Yes,
            TwoNodeWord::No => TwoNode::No,
        },
        log_file: arguments.log_file.clone(),
        ..RingPlan::new(&arguments.cluster_name, hosts)
    }
}

/// What the file says without being asked twice.
fn warnings(plan: &RingPlan) -> Vec<String> {
    let mut warnings = Vec::new();
    if plan.transport == Transport::Udpu || plan.key == Key::None {
        warnings.push(
            "this ring is neither encrypted nor authenticated; whoever reaches its port takes part"
                .to_owned(),
        );
    }
    let hosts = plan.hosts.len();
    let seconds = plan.timeouts().detection().as_secs_f64();
    if hosts > RING_HOSTS_LIMIT {
        warnings.push(format!(
            "{hosts} hosts; nodes refuse rings of more than {RING_HOSTS_LIMIT} unless allow_large_ring = true. A silent \
             host is noticed after {seconds:.1} s"
        ));
    } else if hosts > RING_HOSTS_SUPPORTED {
        warnings.push(format!(
            "{hosts} hosts; up to {RING_HOSTS_SUPPORTED} are supported. A silent host is noticed after {seconds:.1} s"
        ));
    }
    if plan.token_ms < 1500 {
        warnings.push(format!(
            "token = {} ms; busy mail hosts stall for longer than that now and then, and are put out",
            plan.token_ms
        ));
    }
    warnings
}

/// Where the stanza of an older file stands after it was written anew.
const TEXT: &str = "/peers.conf";

/// Hosts of a file of one of the two kinds. What looks odd in an older one goes to standard error.
fn read(file: &Path) -> anyhow::Result<Vec<Host>> {
    let mut request = postfleet_node::load_request(Some(file))?;
    let config = Config::load(&FileSystem::pinned(), &request).config;
    let mut peers = config.as_ref().map(Config::bus_peers).unwrap_or_default();
    if peers.is_empty() {
        let path = file.to_string_lossy().into_owned();
        let migrated = postfleet_config::migrate(&FileSystem::pinned(), &request, &[path], false).pop();
        let migrated = migrated.context("cannot be read")?;
        for (position, note) in &migrated.notes {
            writeln!(std::io::stderr(), "postfleet: {}:{}: {note}", file.display(), position.line)?;
        }
        let files = MemoryFiles::new().with(TEXT, migrated.text.unwrap_or_default());
        request.main = Some(TEXT.into());
        peers = Config::load(&files, &request).config.map(|config| config.bus_peers()).unwrap_or_default();
    }
    ensure!(
        !peers.is_empty(),
        "it has neither a Spread_Segment nor msgc_server {{ peers }} that can be read; name the hosts with --node \
         NAME=ADDRESS, or see what postfleet check says"
    );
    let host = |(name, text): (String, String)| -> anyhow::Result<Host> {
        let address = address(&text).with_context(|| format!("peer {name}"))?;
        Ok(Host { id: None, name, addresses: vec![address], votes: true })
    };
    peers.into_iter().map(host).collect()
}
