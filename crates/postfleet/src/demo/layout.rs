//! Where the demo fleet keeps its files, and which addresses its nodes use.

use anyhow::{Context, bail};
use std::fs::File;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};

/// Most nodes that one demo fleet has: each has a loopback address 127.0.1.N of its own, and a ring is supported
/// up to 16 members.
pub(crate) const NODES_MAX: u8 = 16;

/// A Unix socket's path is at most 107 bytes long on Linux, and the bus adds up to 33 to the folder's:
/// `/bus/fleet`, its class and a generation.
const DIR_BYTES_MAX: usize = 74;

/// Ports tried for each listener, from the first one upward.
const PORTS_TRIED: u16 = 200;

/// One node of the fleet: everything that its configuration file says.
#[derive(Clone, Debug)]
pub(crate) struct NodeLayout {
    pub(crate) name: String,
    pub(crate) home: PathBuf,
    pub(crate) smtp: SocketAddr,
    pub(crate) smtp_proxy: SocketAddr,
    pub(crate) cluster: SocketAddr,
}

impl NodeLayout {
    pub(crate) fn control(&self) -> PathBuf {
        self.home.join("console")
    }

    pub(crate) fn configuration(&self) -> PathBuf {
        self.home.join("postfleet.conf")
    }

    pub(crate) fn log(&self) -> PathBuf {
        self.home.join("node.log")
    }

    pub(crate) fn pid_file(&self) -> PathBuf {
        self.home.join("postfleet.pid")
    }

    pub(crate) fn spool(&self) -> PathBuf {
        self.home.join("spool")
    }
}

/// Held from the choice of ports until the nodes listen there: two fleets that start at once would choose the same
/// ones. Fleets of users who cannot share the lock file take their chance.
pub(crate) fn turn() -> Option<File> {
    let path = std::env::temp_dir().join("postfleet-demo.lock");
    let file = File::options().create(true).truncate(false).write(true).open(path).ok()?;
    rustix::fs::flock(&file, rustix::fs::FlockOperation::LockExclusive).ok()?;
    Some(file)
}

/// Prepares the folder for `count` nodes and picks addresses that are free now.
pub(crate) fn prepare(dir: &Path, count: u8) -> anyhow::Result<Vec<NodeLayout>> {
    let text = dir.as_os_str();
    if text.len() > DIR_BYTES_MAX {
        bail!(
            "{} is {} bytes long; sockets below it need a path of at most {DIR_BYTES_MAX}. Choose a shorter --dir",
            dir.display(),
            text.len()
        );
    }
    if dir.to_str().is_none_or(|text| text.contains(['"', '\\', '\n'])) {
        bail!(
            "{}: quotes, backslashes and bytes that are not UTF-8 cannot stand in a configuration file",
            dir.display()
        );
    }
    (1..=count).map(|number| node(dir, number)).collect()
}

fn node(dir: &Path, number: u8) -> anyhow::Result<NodeLayout> {
    let name = format!("relay-{number}");
    let home = dir.join(&name);
    std::fs::create_dir_all(home.join("spool"))
        .with_context(|| format!("cannot create {}", home.display()))?;
    let address = IpAddr::V4(Ipv4Addr::new(127, 0, 1, number));
    Ok(NodeLayout {
        name,
        home,
        smtp: free_port(address, 2525)?,
        smtp_proxy: free_port(address, 2725)?,
        cluster: free_port(address, 4802)?,
    })
}

/// The first port from `wanted` on that nothing else holds on `address`.
fn free_port(address: IpAddr, wanted: u16) -> anyhow::Result<SocketAddr> {
    let mut refused = None;
    for port in wanted..wanted + PORTS_TRIED {
        match TcpListener::bind((address, port)) {
            Ok(_) => return Ok(SocketAddr::new(address, port)),
            Err(error) => refused = Some(error),
        }
    }
    let last = wanted + PORTS_TRIED - 1;
    Err(refused.map_or_else(|| anyhow::anyhow!("no port tried"), anyhow::Error::from))
        .with_context(|| format!("no free port on {address} between {wanted} and {last}"))
}
