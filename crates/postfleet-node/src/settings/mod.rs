//! From the configuration to what the tasks need. Reads files that options name (certificates, keys) and resolves
//! the node's own name; everything else was decided by `postfleet-config`.

mod audit;
mod cluster;
mod datasource;
mod logs;
mod policy;
mod smtp;

pub(crate) use cluster::{is_shadow, throttle_name};
pub(crate) use policy::check_scripts;

use crate::audit::AuditOptions;
use crate::cluster_listener::{ClusterListenerOptions, Dialing, FleetKey, Tls};
use crate::control::{ControlOptions, OptionsOf};
use crate::datasource::DatasourceSettings;
use crate::delivery::DeliverySettings;
use crate::edge::{SmtpListener, tls};
use crate::fleet::{ConfiguredObject, FleetSettings};
use crate::logs::LogSettings;
use crate::metrics::{MetricsListener, MetricsOptions};
use crate::node::Identity;
use crate::notices::{Severity, notice};
use crate::policy::{Policies, Policy};
use crate::socket::{Endpoint, SocketOptions};
use crate::store::StoreOptions;
use crate::system;
use anyhow::{Context, bail};
use postfleet_config::{AdapterSettings, EcclusterSettings, ListenSettings, NodeSettings, SocketSettings};
use postfleet_config::{Config, ListenAddress, Throttle};
use postfleet_console::Profile;
use postfleet_smtp::Questions;
use postfleet_spool::RoomLimits;
use postfleet_throttle::Rate;
use std::net::{IpAddr, SocketAddr};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

/// The shortest fleet key.
const KEY_BYTES_MIN: usize = 32;

/// Everything a node is told.
#[derive(Clone)]
pub(crate) struct Settings {
    pub(crate) identity: Identity,
    pub(crate) profile: Profile,
    pub(crate) pid_file: Option<PathBuf>,
    pub(crate) spool_base: PathBuf,
    pub(crate) store: StoreOptions,
    pub(crate) fleet: Option<(FleetSettings, Vec<ConfiguredObject>)>,
    pub(crate) datasources: DatasourceSettings,
    pub(crate) audit: AuditOptions,
    pub(crate) logs: LogSettings,
    pub(crate) delivery: Arc<DeliverySettings>,
    pub(crate) policy: Arc<Policy>,
    pub(crate) policies: Arc<Policies>,
    pub(crate) named_throttles_max: usize,
    /// `Inbound_Throttle_Messages`.
    pub(crate) reception_rate: Option<Rate>,
    pub(crate) listeners: Vec<Listener>,
}

/// What a node that is running knows already, and keeps.
pub(crate) struct Known {
    pub(crate) identity: Identity,
    pub(crate) policies: Arc<Policies>,
}

/// One socket to open.
#[derive(Clone)]
pub(crate) struct Listener {
    pub(crate) endpoint: Endpoint,
    pub(crate) socket: SocketOptions,
    pub(crate) kind: ListenerKind,
}

/// What is served there.
#[derive(Clone)]
pub(crate) enum ListenerKind {
    Smtp(Arc<SmtpListener>),
    Control(OptionsOf),
    Cluster(ClusterListenerOptions),
    Metrics(MetricsListener),
}

/// Who serves at a socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Service {
    Smtp,
    Control,
    Cluster,
    Metrics,
}

impl Service {
    pub(crate) const fn scope(self) -> &'static str {
        match self {
            Self::Smtp => "ESMTP_Listener",
            Self::Control => "Control_Listener",
            Self::Cluster => "ECCluster_Listener",
            Self::Metrics => "Metrics_Listener",
        }
    }
}

impl Listener {
    /// What tells it apart from other sockets.
    pub(crate) fn key(&self) -> (Service, Endpoint) {
        let service = match &self.kind {
            ListenerKind::Smtp(_) => Service::Smtp,
            ListenerKind::Control(_) => Service::Control,
            ListenerKind::Cluster(_) => Service::Cluster,
            ListenerKind::Metrics(_) => Service::Metrics,
        };
        (service, self.endpoint.clone())
    }
}

/// Names what is set and does nothing.
pub(crate) fn tell_without_effect(config: &Config) {
    for ignored in config.without_effect() {
        let place = ignored.position.map_or_else(String::new, |at| format!("{}:{}: ", at.file, at.line));
        let more = match ignored.places {
            0 | 1 => String::new(),
            places => format!("; it is written in {places} places"),
        };
        notice(
            Severity::Notice,
            format_args!("{place}{} is accepted and has no effect in this version{more}", ignored.option),
        );
    }
}

/// Names the interfaces that are configured and not there.
pub(crate) fn tell_interfaces(config: &Config) {
    for warning in crate::names::check_interfaces(config) {
        notice(Severity::Warning, format_args!("{} {}", warning.code, warning.sentence()));
    }
}

/// Says that the account stays what it is, where something else was asked for.
pub(crate) fn tell_unsecured(config: &Config) {
    let security = config.node_settings().security;
    let asked = security.explicit
        || security.capabilities.is_some()
        || security.chroot.is_some()
        || !security.supplemental_groups.is_empty();
    if asked {
        notice(
            Severity::Warning,
            format_args!(
                "Security has no effect in this version: the process stays user {}, group {}, with the rights it was \
                 started with. Start it as {} (User= and AmbientCapabilities= of the service manager)",
                rustix::process::geteuid().as_raw(),
                rustix::process::getegid().as_raw(),
                security.user
            ),
        );
    }
}

/// Reads a checked configuration. A node that is running knows who it is, and keeps that name and address.
pub(crate) fn read(config: &Config, known: Option<&Known>) -> anyhow::Result<Settings> {
    let node = config.node_settings();
    let named_throttles_max = usize::try_from(node.named_throttles_max).unwrap_or(usize::MAX);
    let policies = known
        .map_or_else(|| Arc::new(Policies::new(named_throttles_max)), |known| Arc::clone(&known.policies));
    let policy = Arc::new(policy::read(config, &policies)?);
    let known = known.map(|known| &known.identity);
    let mut fleet = cluster::read(config, known)?;
    let name = match (&fleet, known) {
        (_, Some(known)) => known.name.clone(),
        (Some((fleet, _)), None) => fleet.info.node_name.clone(),
        (None, None) => cluster::own_name(None)?,
    };
    let address =
        fleet.as_ref().map_or_else(|| SocketAddr::from(([0, 0, 0, 0], 0)), |(fleet, _)| fleet.info.address);
    let key = node.cluster_key.as_deref().map(|path| cluster_key(Path::new(path))).transpose()?;
    let dialing = dialing(config, key)?;
    if let Some((fleet, _)) = &mut fleet {
        fleet.dialing = dialing.clone();
    }
    let mut profile = Profile::node(name.as_str(), env!("CARGO_PKG_VERSION"));
    if node.compatible {
        profile = profile.compatible();
    }
    profile.product.clone_from(&node.product_name);
    profile.node_type.clone_from(&node.node_type);
    profile.clustering = fleet.is_some();
    let reception_rate = node.rules.inbound_throttle_messages.map(exact_rate);
    let reception_rate = reception_rate.transpose().context("Inbound_Throttle_Messages")?;
    let mut questions = policy.questions();
    questions.mail |= reception_rate.is_some();
    let listeners = listeners(config, &node, &dialing, questions)?;
    let own = mail_endpoints(&listeners);
    let shares = |name: &str| {
        fleet.as_ref().is_some_and(|(_, objects)| objects.iter().any(|object| object.spec.name == name))
    };
    let rates = (shares("OBTM"), shares("OBTC"));
    let delivery = DeliverySettings::new(config, mail_name(&node), own, fleet.is_some(), rates);
    let identity = Identity { name, address };
    let subcluster = fleet.as_ref().map(|(fleet, _)| fleet.info.subcluster.to_string());
    let logs = logs::read(config, &identity.name, subcluster)?;
    Ok(Settings {
        delivery: Arc::new(delivery),
        identity,
        profile,
        pid_file: pid_file(&node),
        spool_base: PathBuf::from(&node.spoolbase),
        store: StoreOptions {
            file_mode: node.spool_mode,
            force_fsync: node.force_fsync,
            limits: RoomLimits {
                free_bytes_min: node.spool_min_free,
                free_percent_min: u8::try_from(node.spool_min_free_percent).unwrap_or(50),
            },
            threshold_bytes: usize::try_from(node.large_message_threshold).unwrap_or(usize::MAX),
            drain_rate: usize::try_from(node.disk_queue_drain_rate).unwrap_or(100),
        },
        fleet,
        datasources: datasource::read(config)?,
        audit: audit::read(config)?,
        logs,
        listeners,
        policy,
        policies,
        named_throttles_max,
        reception_rate,
    })
}

/// A rate of delivery, as near as it gets; 0 is no limit.
pub(crate) fn rate(throttle: Throttle) -> Option<Rate> {
    let number = |value: u64| u32::try_from(value).unwrap_or(u32::MAX);
    Rate::new(number(throttle.events), number(throttle.seconds)).ok()
}

/// A rate that is kept as it is written, or refused.
fn exact_rate(throttle: Throttle) -> anyhow::Result<Rate> {
    let Throttle { events, seconds } = throttle;
    format!("{events}/{seconds}").parse().with_context(|| format!("\"{events}/{seconds}\""))
}

/// Where this node takes mail.
fn mail_endpoints(listeners: &[Listener]) -> Vec<SocketAddr> {
    let smtp = listeners.iter().filter(|listener| matches!(listener.kind, ListenerKind::Smtp(_)));
    smtp.filter_map(|listener| match &listener.endpoint {
        Endpoint::Tcp(address) => Some(*address),
        _ => None,
    })
    .collect()
}

/// The default path needs rights that a node started by hand may not have; a path that was written down is meant.
fn pid_file(node: &NodeSettings) -> Option<PathBuf> {
    let path = PathBuf::from(&node.pid_file);
    let usable = node.pid_file_explicit
        || path
            .parent()
            .is_some_and(|parent| rustix::fs::access(parent, rustix::fs::Access::WRITE_OK).is_ok());
    usable.then_some(path)
}

fn listeners(
    config: &Config,
    node: &NodeSettings,
    dialing: &Dialing,
    questions: Questions,
) -> anyhow::Result<Vec<Listener>> {
    let mut listeners = Vec::new();
    for listen in config.control_listeners() {
        let shown = &listen.address;
        let why = listen.all().filter(|options| !options.always_deny).find_map(|options| {
            if options.unprotected {
                Some("it needs credentials, and none are configured")
            } else if options.authenticate && !options.always_allow {
                Some("console passwords are not available in this version")
            } else if options.authorize {
                Some("authorization of console commands is not available in this version")
            } else {
                None
            }
        });
        if let Some(why) = why {
            notice(
                Severity::Critical,
                format_args!(
                    "Control_Listener: {shown} is not opened: {why}; use a Unix socket, which knows its user"
                ),
            );
            continue;
        }
        let (endpoint, socket) = (endpoint(&listen.address), socket(&listen.socket));
        if listen.socket.enable {
            let resolve = move |client: IpAddr| {
                let options = listen.resolve(Some(client));
                ControlOptions { timeout: options.timeout, deny: options.always_deny }
            };
            listeners.push(Listener { endpoint, socket, kind: ListenerKind::Control(Arc::new(resolve)) });
        }
    }
    for listen in config.eccluster_listeners() {
        let tls = dialing.tls.clone().filter(|_| listen.resolve(None).tls);
        let options = ClusterListenerOptions { key: dialing.key.clone(), tls };
        push(&mut listeners, &listen, ListenerKind::Cluster(options));
    }
    for listen in config.adapter_listeners(postfleet_config::schema::Service::Metrics) {
        let kind = ListenerKind::Metrics(metrics(listen.clone())?);
        push(&mut listeners, &listen, kind);
    }
    let mut smtp = smtp::Reader::new(node, questions);
    for listen in config.esmtp_listeners() {
        let kind = ListenerKind::Smtp(Arc::new(smtp.listener(listen.clone())?));
        push(&mut listeners, &listen, kind);
    }
    Ok(listeners)
}

fn metrics(listen: ListenSettings<AdapterSettings>) -> anyhow::Result<MetricsListener> {
    let settings = listen.resolve(None);
    let tls = match (&settings.tls_certificate, &settings.tls_key, &settings.tls_client_ca) {
        (Some(certificate), Some(key), authorities) => {
            let authorities = authorities.as_deref().map(Path::new);
            Some(tls::server_config(Path::new(certificate), Path::new(key), authorities)?)
        }
        (None, None, None) => None,
        // What was meant to be protected must not be served in clear.
        _ => bail!("Metrics_Listener {}: TLS needs both TLS_Certificate and TLS_Key", listen.address),
    };
    let resolve = move |client: Option<IpAddr>| {
        let options = listen.resolve(client);
        MetricsOptions {
            timeout: options.timeout,
            connections_max: options.max_connections,
            admitted: listen.admits(client),
        }
    };
    Ok(MetricsListener { resolve: Arc::new(resolve), tls })
}

fn push<S>(listeners: &mut Vec<Listener>, listen: &ListenSettings<S>, kind: ListenerKind) {
    if listen.socket.enable {
        listeners.push(Listener {
            endpoint: endpoint(&listen.address),
            socket: socket(&listen.socket),
            kind,
        });
    }
}

fn endpoint(address: &ListenAddress) -> Endpoint {
    match (address, address.bind_address(), address.port()) {
        (_, Some(ip), Some(port)) => Endpoint::Tcp(SocketAddr::new(ip, port)),
        (address, _, _) => Endpoint::Unix(address.to_string().into()),
    }
}

fn socket(settings: &SocketSettings) -> SocketOptions {
    let size = |bytes: u64| usize::try_from(bytes).ok();
    SocketOptions {
        backlog: i32::try_from(settings.backlog).unwrap_or(i32::MAX),
        file_mode: settings.file_mode,
        receive_buffer: settings.receive_buffer.and_then(size),
        send_buffer: settings.send_buffer.and_then(size),
    }
}

/// How this node connects to others: with TLS when its own first listener, whose address they use, wants it.
fn dialing(config: &Config, key: Option<FleetKey>) -> anyhow::Result<Dialing> {
    let listeners = config.eccluster_listeners();
    let wants = |listen: &ListenSettings<EcclusterSettings>| listen.resolve(None).tls;
    let any = listeners.iter().any(wants);
    if any && key.is_none() {
        bail!("CFG-6227 ECCluster_Listener: TLS = required needs the fleet's key; set Cluster_Key");
    }
    if let Some(first) = listeners.first()
        && listeners.iter().any(|listen| wants(listen) != wants(first))
    {
        bail!(
            "ECCluster_Listener: TLS differs between the Listen stanzas; a node connects to others in one way"
        );
    }
    Ok(Dialing { key, tls: any.then(Tls::new).transpose()? })
}

/// The fleet key: long enough, and nobody else's business.
fn cluster_key(path: &Path) -> anyhow::Result<FleetKey> {
    let file = std::fs::metadata(path)
        .with_context(|| format!("CFG-6227 Cluster_Key: cannot read {}", path.display()))?;
    if file.permissions().mode() & 0o077 != 0 {
        bail!("CFG-6227 Cluster_Key: {} can be read by others; chmod 600 it", path.display());
    }
    let key = std::fs::read(path)
        .with_context(|| format!("CFG-6227 Cluster_Key: cannot read {}", path.display()))?;
    if key.len() < KEY_BYTES_MIN {
        bail!(
            "CFG-6227 Cluster_Key: {} has {} bytes; at least {KEY_BYTES_MIN} are needed",
            path.display(),
            key.len()
        );
    }
    Ok(FleetKey::new(key))
}

/// An idle time as the core wants it: zero is never.
pub(crate) fn or_never(time: Option<Duration>) -> Duration {
    time.unwrap_or(Duration::ZERO)
}

/// The host name for SMTP when none is configured.
pub(crate) fn mail_name(node: &NodeSettings) -> String {
    node.hostname.clone().unwrap_or_else(|| {
        let name = system::full_host_name();
        if name.is_empty() { "localhost".into() } else { name }
    })
}
