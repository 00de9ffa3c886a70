//! The scopes: which stanzas there are, where they may stand, and how their instances are named.

use crate::files::Role;

/// A kind of stanza.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[expect(missing_docs, reason = "the names are the stanzas' own; the reference page describes them")]
pub enum Scope {
    Global,
    Security,
    DebugFlags,
    Authorization,
    Role,
    ThreadPool,
    EventLoop,
    BindingGroup,
    Binding,
    Domain,
    Host,
    PathwayGroup,
    Pathway,
    EsmtpListener,
    ControlListener,
    EcstreamListener,
    EcclusterListener,
    MsgcserverListener,
    PolicyListener,
    MilterListener,
    ApiListener,
    MetricsListener,
    Listen,
    Peer,
    Cluster,
    Replicate,
    Topology,
    Logs,
    Manager,
    Node,
    MsgcServer,
    MsgcClient,
    PolicyRule,
    InboundAudit,
    Datasource,
    DsCore,
    EcLogger,
    BounceLogger,
    CustomLogger,
    AsLogger,
    Sieve,
    Scriptlet,
    Script,
}

impl Scope {
    /// The registered spelling; `Global` for the outermost scope.
    #[must_use]
    pub fn name(self) -> &'static str {
        ROWS.iter().find(|row| row.scope == self).map_or("Global", |row| row.name)
    }

    /// The service of a listener scope.
    #[must_use]
    pub fn service(self) -> Option<Service> {
        Service::ALL.into_iter().find(|service| service.scope() == self)
    }
}

/// What a listener serves.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Service {
    /// Mail.
    Esmtp,
    /// Consoles.
    Control,
    /// Bulk injection.
    Ecstream,
    /// Other nodes.
    Eccluster,
    /// Clients of the old bus.
    Msgcserver,
    /// Postfix policy delegation.
    Policy,
    /// Milter.
    Milter,
    /// HTTP and JSON.
    Api,
    /// Metrics.
    Metrics,
}

impl Service {
    /// All of them.
    pub const ALL: [Self; 9] = [
        Self::Esmtp,
        Self::Control,
        Self::Ecstream,
        Self::Eccluster,
        Self::Msgcserver,
        Self::Policy,
        Self::Milter,
        Self::Api,
        Self::Metrics,
    ];

    /// The listener scope of the service.
    #[must_use]
    pub const fn scope(self) -> Scope {
        match self {
            Self::Esmtp => Scope::EsmtpListener,
            Self::Control => Scope::ControlListener,
            Self::Ecstream => Scope::EcstreamListener,
            Self::Eccluster => Scope::EcclusterListener,
            Self::Msgcserver => Scope::MsgcserverListener,
            Self::Policy => Scope::PolicyListener,
            Self::Milter => Scope::MilterListener,
            Self::Api => Scope::ApiListener,
            Self::Metrics => Scope::MetricsListener,
        }
    }
}

/// How the instances of a scope are named.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum InstanceName {
    /// Not at all: there is one instance in each parent.
    Anonymous,
    /// By a text in which case counts.
    Exact,
    /// A binding or a group of bindings: no blank; a binding has no `:` and no leading `#`.
    Binding,
    /// A domain or host name, in which case does not count, or `/regex/`.
    Domain,
    /// An address with port, or a path.
    Listen,
    /// An address or a block.
    Cidr,
    /// The name of a replicated object: type words without case, others exact.
    Object,
}

/// What happens to the body of a stanza.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Body {
    /// It is read.
    Read,
    /// It is read for its syntax only, without a warning.
    Accepted,
}

/// One scope.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ScopeRow {
    /// Which.
    pub scope: Scope,
    /// The registered spelling.
    pub name: &'static str,
    /// How its instances are named.
    pub instance: InstanceName,
    /// Where it may stand.
    pub inside: &'static [Scope],
    /// The only role that has it.
    pub role: Option<Role>,
    /// What happens to its body.
    pub body: Body,
}

impl ScopeRow {
    /// Whether a stanza of this scope may stand there.
    #[must_use]
    pub fn valid_inside(&self, parent: Scope, service: Option<Service>) -> bool {
        let peers = !matches!(service, Some(Service::Eccluster | Service::Msgcserver));
        self.inside.contains(&parent) && (self.scope != Scope::Peer || peers)
    }
}

const G: &[Scope] = &[Scope::Global];
const GROUPS: &[Scope] = &[Scope::Global, Scope::Binding, Scope::BindingGroup];
const LISTENERS: &[Scope] = &[
    Scope::EsmtpListener,
    Scope::ControlListener,
    Scope::EcstreamListener,
    Scope::EcclusterListener,
    Scope::MsgcserverListener,
    Scope::PolicyListener,
    Scope::MilterListener,
    Scope::ApiListener,
    Scope::MetricsListener,
];
const PEERS: &[Scope] = &[
    Scope::EsmtpListener,
    Scope::ControlListener,
    Scope::EcstreamListener,
    Scope::PolicyListener,
    Scope::MilterListener,
    Scope::ApiListener,
    Scope::MetricsListener,
    Scope::Listen,
];

const fn anonymous(scope: Scope, name: &'static str, inside: &'static [Scope]) -> ScopeRow {
    ScopeRow { scope, name, instance: InstanceName::Anonymous, inside, role: None, body: Body::Read }
}

const fn named(
    scope: Scope,
    name: &'static str,
    instance: InstanceName,
    inside: &'static [Scope],
) -> ScopeRow {
    ScopeRow { scope, name, instance, inside, role: None, body: Body::Read }
}

impl ScopeRow {
    const fn node(mut self) -> Self {
        self.role = Some(Role::Node);
        self
    }

    const fn manager(mut self) -> Self {
        self.role = Some(Role::Manager);
        self
    }

    const fn body(mut self, body: Body) -> Self {
        self.body = body;
        self
    }
}

pub(super) const ROWS: &[ScopeRow] = &[
    anonymous(Scope::Security, "Security", G),
    anonymous(Scope::DebugFlags, "Debug_Flags", G),
    anonymous(Scope::Authorization, "Authorization", G),
    named(Scope::Role, "Role", InstanceName::Exact, &[Scope::Authorization]),
    named(Scope::ThreadPool, "ThreadPool", InstanceName::Exact, G),
    named(Scope::EventLoop, "EventLoop", InstanceName::Exact, G).body(Body::Accepted),
    named(Scope::BindingGroup, "Binding_Group", InstanceName::Binding, G),
    named(Scope::Binding, "Binding", InstanceName::Binding, &[Scope::Global, Scope::BindingGroup]),
    named(Scope::Domain, "Domain", InstanceName::Domain, GROUPS),
    named(Scope::Host, "Host", InstanceName::Domain, GROUPS),
    named(Scope::PathwayGroup, "Pathway_Group", InstanceName::Exact, G).body(Body::Accepted),
    named(Scope::Pathway, "Pathway", InstanceName::Exact, &[Scope::Global, Scope::PathwayGroup])
        .body(Body::Accepted),
    anonymous(Scope::EsmtpListener, "ESMTP_Listener", G),
    anonymous(Scope::ControlListener, "Control_Listener", G),
    anonymous(Scope::EcstreamListener, "ECStream_Listener", G),
    anonymous(Scope::EcclusterListener, "ECCluster_Listener", G),
    anonymous(Scope::MsgcserverListener, "msgcserver_listener", G),
    anonymous(Scope::PolicyListener, "Policy_Listener", G).node(),
    anonymous(Scope::MilterListener, "Milter_Listener", G).node(),
    anonymous(Scope::ApiListener, "API_Listener", G).node(),
    anonymous(Scope::MetricsListener, "Metrics_Listener", G).node(),
    named(Scope::Listen, "Listen", InstanceName::Listen, LISTENERS),
    named(Scope::Peer, "Peer", InstanceName::Cidr, PEERS),
    anonymous(Scope::Cluster, "cluster", G).node(),
    named(Scope::Replicate, "Replicate", InstanceName::Object, &[Scope::Cluster]),
    named(Scope::Topology, "Topology", InstanceName::Cidr, &[Scope::Cluster]),
    anonymous(Scope::Logs, "Logs", G).manager(),
    named(Scope::Manager, "Manager", InstanceName::Exact, &[Scope::Logs]),
    named(Scope::Node, "Node", InstanceName::Exact, &[Scope::Manager]),
    anonymous(Scope::MsgcServer, "msgc_server", G),
    anonymous(Scope::MsgcClient, "msgc_client", G),
    named(Scope::PolicyRule, "Policy_Rule", InstanceName::Exact, G).node(),
    anonymous(Scope::InboundAudit, "inbound_audit", G),
    named(Scope::Datasource, "Datasource", InstanceName::Exact, G),
    anonymous(Scope::DsCore, "ds_core", G),
    named(Scope::EcLogger, "ec_logger", InstanceName::Exact, G),
    named(Scope::BounceLogger, "bounce_logger", InstanceName::Exact, G),
    named(Scope::CustomLogger, "custom_logger", InstanceName::Exact, G),
    anonymous(Scope::AsLogger, "as_logger", G),
    named(Scope::Sieve, "sieve", InstanceName::Exact, G),
    named(Scope::Scriptlet, "scriptlet", InstanceName::Exact, G),
    named(Scope::Script, "script", InstanceName::Exact, &[Scope::Scriptlet]),
];
