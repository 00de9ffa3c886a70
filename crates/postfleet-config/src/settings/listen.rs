//! Listeners, and what holds for a client of each.

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::string::{String, ToString as _};
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::net::{IpAddr, Ipv4Addr};
use core::time::Duration;

use postfleet_types::{Prefix, normalised};

use super::Lookup;
use super::node::MailRules;
use crate::address::ListenAddress;
use crate::config::Config;
use crate::resolve::Facts;
use crate::schema::{Scope, Service};
use crate::tree::{Applies, InstanceId};
use crate::value::Value;

/// The socket of one `Listen`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SocketSettings {
    /// Whether it is opened.
    pub enable: bool,
    /// Connections that may wait to be accepted.
    pub backlog: u32,
    /// Accepted sessions that may wait to be served; `None`: no limit.
    pub accept_queue: Option<u32>,
    /// Mode of a Unix socket.
    pub file_mode: u32,
    /// Receive buffer, when it is written and not 0.
    pub receive_buffer: Option<u64>,
    /// Send buffer, when it is written and not 0.
    pub send_buffer: Option<u64>,
    /// Small segments are sent at once.
    pub no_delay: bool,
    /// A PROXY header is expected, within this time.
    pub proxy_protocol: Option<Duration>,
}

/// One `Listen` with what holds for its clients.
#[derive(Clone, Debug)]
pub struct ListenSettings<S> {
    /// The address in canonical form; it tells sockets apart.
    pub address: ListenAddress,
    /// The name as first written, for displays.
    pub name: String,
    /// The stanza; `None` for an implied one.
    pub instance: Option<InstanceId>,
    /// The socket.
    pub socket: SocketSettings,
    base: Arc<S>,
    by_prefix: BTreeMap<Prefix, Arc<S>>,
    /// The prefix lengths in use, longest first.
    lengths_v4: Vec<u8>,
    lengths_v6: Vec<u8>,
}

impl<S> ListenSettings<S> {
    /// What holds for a client; `None`: a client of a Unix socket, which counts as 127.0.0.1.
    ///
    /// Everything has been computed: one ordered-map look-up for each prefix length in use.
    #[must_use]
    pub fn resolve(&self, peer: Option<IpAddr>) -> &Arc<S> {
        let peer = normalised(peer.unwrap_or(IpAddr::V4(Ipv4Addr::LOCALHOST)));
        let lengths = if peer.is_ipv4() { &self.lengths_v4 } else { &self.lengths_v6 };
        lengths
            .iter()
            .filter_map(|length| Prefix::containing(peer, *length).ok())
            .find_map(|prefix| self.by_prefix.get(&prefix))
            .unwrap_or(&self.base)
    }

    /// Whether a client may come at all where `Peer` stanzas say who may: everybody where there are none, clients of a
    /// Unix socket (`None`), which its mode admits, and clients that a stanza applies to.
    #[must_use]
    pub fn admits(&self, peer: Option<IpAddr>) -> bool {
        let Some(peer) = peer.map(normalised) else { return true };
        self.by_prefix.is_empty() || self.by_prefix.keys().any(|prefix| prefix.contains(peer))
    }

    /// What holds for clients without a `Peer`, then what holds for those of each.
    pub fn all(&self) -> impl Iterator<Item = &Arc<S>> {
        core::iter::once(&self.base).chain(self.by_prefix.values())
    }
}

impl ListenSettings<ControlSettings> {
    /// Whether some client would get a console without credentials: such a socket is not opened.
    #[must_use]
    pub fn is_unprotected(&self) -> bool {
        self.all().any(|settings| settings.unprotected)
    }
}

/// Which sessions a cap counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum SessionCapKind {
    /// Those of one `Listen`.
    Listener,
    /// Those of all `Listen`s of the service.
    Service,
}

/// A limit of sessions at a time. Every cap of a client holds, not only the narrowest.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct SessionCap {
    /// Which sessions it counts.
    pub kind: SessionCapKind,
    /// The most there may be.
    pub limit: u32,
    /// The stanza it is set in. Together with `kind`, and with the address for [`SessionCapKind::Listener`], it
    /// names the counter.
    pub instance: InstanceId,
    /// The scope path of that stanza.
    pub path: String,
    /// It only watches: `Shadow_Limits` at that stanza or around it.
    pub shadow: bool,
}

/// What happens to commands sent in clear behind STARTTLS.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StarttlsInjection {
    /// The session is refused.
    Reject,
    /// They are dropped.
    Ignore,
    /// They are carried out.
    Allow,
}

/// How client certificates are treated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ClientCertificates {
    /// Not asked for.
    Ignored,
    /// Checked when shown.
    Checked,
    /// Required.
    Required,
}

/// Everything that holds for one SMTP client.
#[derive(Clone, Debug, PartialEq)]
pub struct EsmtpSettings {
    /// `Idle_Time`; `None`: never.
    pub idle_time: Option<Duration>,
    /// All caps of sessions.
    pub caps: Vec<SessionCap>,
    /// `Max_Receptions_Per_Connection`.
    pub max_receptions_per_connection: Option<u32>,
    /// `Max_Recipients_Per_Connection`.
    pub max_recipients_per_connection: Option<u32>,
    /// `Max_Recipients_Per_Message`, at least 100.
    pub max_recipients_per_message: Option<u32>,
    /// `Max_Message_Size`, in bytes.
    pub max_message_size: Option<u64>,
    /// `Banner_Hostname`; `None`: `Hostname`.
    pub banner_hostname: Option<String>,
    /// `Received_Hostname`; `None`: `Hostname`.
    pub received_hostname: Option<String>,
    /// `Static_Banner`.
    pub static_banner: Option<String>,
    /// `Context`, of all matching scopes.
    pub context: BTreeMap<String, String>,
    /// `SMTP_Extensions` in upper case, with STARTTLS when it is unset and there is a certificate.
    pub extensions: BTreeSet<String>,
    /// `Use_SSL`.
    pub use_ssl: bool,
    /// `TLS_Certificate`; `none` counts as unset.
    pub tls_certificate: Option<String>,
    /// `TLS_Key`.
    pub tls_key: Option<String>,
    /// `TLS_Client_CA`.
    pub tls_client_ca: Option<String>,
    /// `TLS_Ciphers`.
    pub tls_ciphers: Option<String>,
    /// `TLS_Protocols`.
    pub tls_protocols: Option<String>,
    /// `TLS_Verify_Mode`.
    pub client_certificates: ClientCertificates,
    /// `TLS_Verified_Peer_Can_Relay`.
    pub verified_peer_can_relay: bool,
    /// `Starttls_Injection_Policy`.
    pub starttls_injection: StarttlsInjection,
    /// `Require_EHLO`.
    pub require_ehlo: bool,
    /// `Allow_NULL_Envelope_Sender`.
    pub allow_null_envelope_sender: bool,
    /// `Allow_IP_Literal`.
    pub allow_ip_literal: bool,
    /// `Allow_Trailing_Whitespace_In_Commands`.
    pub allow_trailing_whitespace: bool,
    /// `Domain_For_Unqualified_Sender_Address`.
    pub domain_for_unqualified_sender: Option<String>,
    /// `Domain_For_Unqualified_Recipient_Addresses`.
    pub domain_for_unqualified_recipients: Option<String>,
    /// `Relay_Hosts`.
    pub relay_hosts: Vec<Prefix>,
    /// `Open_Relay`.
    pub open_relay: bool,
    /// `Relay_For_Sending_Domains`.
    pub relay_for_sending_domains: Vec<String>,
    /// `Reconfig_Message`.
    pub reconfig_message: String,
    /// `Enable_Authentication`.
    pub enable_authentication: bool,
    /// `Always_Allow`.
    pub always_allow: bool,
    /// `Always_Deny`.
    pub always_deny: bool,
    /// `Auth…Parameters` that are set: mechanism and dictionary.
    pub authentication: Vec<(&'static str, Vec<(String, String)>)>,
    /// Rules that hold on every listener.
    pub rules: Arc<MailRules>,
}

/// Everything that holds for one console.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ControlSettings {
    /// `Timeout`.
    pub timeout: Duration,
    /// Whether a login is required: `Enable_Authentication`, or on TCP parameters while that is not written.
    pub authenticate: bool,
    /// `Enable_Authorization`.
    pub authorize: bool,
    /// `Always_Allow`.
    pub always_allow: bool,
    /// `Always_Deny`.
    pub always_deny: bool,
    /// `Auth…Parameters` that are set: mechanism and dictionary.
    pub authentication: Vec<(&'static str, Vec<(String, String)>)>,
    /// `AuthorizationParameters`.
    pub authorization: Option<Vec<(String, String)>>,
    /// On TCP, none of a login, `Always_Allow` and `Always_Deny`.
    pub unprotected: bool,
}

/// Everything that holds for connections from other nodes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EcclusterSettings {
    /// `TLS = "required"`.
    pub tls: bool,
}

/// What an adapter answers when the policy fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OnError {
    /// Policy: no opinion.
    Dunno,
    /// Policy: refuse for now.
    Defer,
    /// Policy: close the connection.
    Close,
    /// Milter: accept.
    Accept,
    /// Milter: refuse for now.
    Tempfail,
}

/// Everything that holds for one client of an adapter.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AdapterSettings {
    /// `Timeout`.
    pub timeout: Duration,
    /// `Max_Connections`.
    pub max_connections: u32,
    /// `On_Error`; `None` for adapters without policy.
    pub on_error: Option<OnError>,
    /// `Policy_Count_Connects`.
    pub count_connects: bool,
    /// `Allow_Users`; `None`: root and the `Security` user.
    pub allow_users: Option<Vec<String>>,
    /// `Token_File`.
    pub token_file: Option<String>,
    /// `TLS_Certificate`.
    pub tls_certificate: Option<String>,
    /// `TLS_Key`.
    pub tls_key: Option<String>,
    /// `TLS_Client_CA`.
    pub tls_client_ca: Option<String>,
}

const MECHANISMS: [(&str, &str); 4] = [
    ("DIGEST-MD5", "AuthDigestMD5Parameters"),
    ("CRAM-MD5", "AuthCramMD5Parameters"),
    ("LOGIN", "AuthLoginParameters"),
    ("PLAIN", "AuthPlainParameters"),
];

fn mechanisms(lookup: &Lookup<'_>) -> Vec<(&'static str, Vec<(String, String)>)> {
    MECHANISMS
        .into_iter()
        .filter_map(|(mechanism, option)| Some((mechanism, lookup.dict(option)?)))
        .filter(|(_, pairs)| !pairs.is_empty())
        .collect()
}

/// A file name where `none` means explicitly none.
fn file(lookup: &Lookup<'_>, option: &str) -> Option<String> {
    lookup.filled(option).filter(|text| !text.eq_ignore_ascii_case("none"))
}

/// The union of the dictionaries of all matching scopes; of one key the narrowest scope's value.
fn context(lookup: &Lookup<'_>) -> BTreeMap<String, String> {
    let mut context = BTreeMap::new();
    for (_, assigned) in lookup.owners("Context").into_iter().flat_map(|(_, owners)| owners) {
        for (key, value) in assigned.value.as_dict().unwrap_or(&[]) {
            context.entry(key.clone()).or_insert_with(|| value.clone());
        }
    }
    context
}

impl Config {
    /// The SMTP listeners, in text order, disabled ones included.
    #[must_use]
    pub fn esmtp_listeners(&self) -> Vec<ListenSettings<EsmtpSettings>> {
        let rules = Arc::new(self.mail_rules());
        self.listeners(Service::Esmtp, None, &|facts, _| self.esmtp(facts, &rules))
    }

    /// The console listeners; `/tmp/2025` when there is no `Control_Listener`.
    #[must_use]
    pub fn control_listeners(&self) -> Vec<ListenSettings<ControlSettings>> {
        let implied = Some(ListenAddress::Path("/tmp/2025".to_string()));
        self.listeners(Service::Control, implied, &|facts, address| self.control(facts, address))
    }

    /// The listeners for other nodes; `*:4802` when there is `cluster` and no `ECCluster_Listener`.
    #[must_use]
    pub fn eccluster_listeners(&self) -> Vec<ListenSettings<EcclusterSettings>> {
        let implied = self.tree().anonymous(Scope::Cluster).map(|_| ListenAddress::AnyV4(4802));
        self.listeners(Service::Eccluster, implied, &|facts, _| EcclusterSettings {
            tls: Lookup::new(self, facts).word("TLS") == "required",
        })
    }

    /// The listeners of an adapter: policy, milter, API or metrics; none for other services.
    #[must_use]
    pub fn adapter_listeners(&self, service: Service) -> Vec<ListenSettings<AdapterSettings>> {
        if !matches!(service, Service::Policy | Service::Milter | Service::Api | Service::Metrics) {
            return Vec::new();
        }
        self.listeners(service, None, &|facts, _| self.adapter(facts))
    }

    fn listeners<S>(
        &self,
        service: Service,
        implied: Option<ListenAddress>,
        read: &dyn Fn(Facts<'_>, &ListenAddress) -> S,
    ) -> Vec<ListenSettings<S>> {
        let tree = self.tree();
        let Some(listener) = tree.anonymous(service.scope()) else {
            return implied
                .into_iter()
                .map(|address| self.listen(service, None, None, address.to_string(), address, read))
                .collect();
        };
        // Options for all sockets of a service do not take its implied socket away, or `Control_Listener { Timeout = 9 }`
        // would cost the console. Nothing but an empty stanza means that there shall be none.
        let only_options = tree.children(listener, Scope::Listen).next().is_none()
            && tree.instance(listener).is_some_and(|instance| instance.options().next().is_some());
        if let Some(address) = implied.filter(|_| only_options) {
            let name = address.to_string();
            return alloc::vec![self.listen(service, Some(listener), None, name, address, read)];
        }
        tree.children(listener, Scope::Listen)
            .filter_map(|(id, instance)| match &instance.applies {
                Applies::Listen(address) => {
                    let name = instance.name.clone().unwrap_or_default();
                    Some(self.listen(service, Some(listener), Some(id), name, address.clone(), read))
                }
                Applies::Name | Applies::Pattern(_) | Applies::Cidr(_) => None,
            })
            .collect()
    }

    fn listen<S>(
        &self,
        service: Service,
        listener: Option<InstanceId>,
        instance: Option<InstanceId>,
        name: String,
        address: ListenAddress,
        read: &dyn Fn(Facts<'_>, &ListenAddress) -> S,
    ) -> ListenSettings<S> {
        let key = address.to_string();
        let facts = Facts { service: Some(service), listen: Some(&key), ..Facts::default() };
        let mut by_prefix: BTreeMap<Prefix, Arc<S>> = BTreeMap::new();
        // The stanzas that apply to a client are all that contain the narrowest one, so that one names them.
        for container in [listener, instance].into_iter().flatten() {
            for prefix in self.tree().blocks(container, Scope::Peer) {
                by_prefix
                    .entry(prefix)
                    .or_insert_with(|| Arc::new(read(Facts { peer: Some(prefix), ..facts }, &address)));
            }
        }
        let lengths = |v4: bool| {
            let set: BTreeSet<u8> =
                by_prefix.keys().filter(|p| p.address().is_ipv4() == v4).map(|p| p.length()).collect();
            set.into_iter().rev().collect::<Vec<u8>>()
        };
        ListenSettings {
            lengths_v4: lengths(true),
            lengths_v6: lengths(false),
            socket: self.socket(facts),
            base: Arc::new(read(facts, &address)),
            by_prefix,
            name,
            instance,
            address,
        }
    }

    fn socket(&self, facts: Facts<'_>) -> SocketSettings {
        let lookup = Lookup::new(self, facts);
        let buffer = |name: &str| lookup.set(name).map(|_| lookup.u64(name)).filter(|size| *size != 0);
        SocketSettings {
            enable: lookup.bool("Enable"),
            backlog: lookup.u32("Listen_Backlog"),
            accept_queue: lookup.limit("Accept_Queue_Backlog"),
            file_mode: lookup.u32("File_Mode"),
            receive_buffer: buffer("TCP_Recv_Buffer_Size"),
            send_buffer: buffer("TCP_Send_Buffer_Size"),
            no_delay: lookup.bool("Disable_Nagle_Algorithm"),
            proxy_protocol: lookup.bool("Proxy_Protocol").then(|| lookup.seconds("Proxy_Protocol_Timeout")),
        }
    }

    fn esmtp(&self, facts: Facts<'_>, rules: &Arc<MailRules>) -> EsmtpSettings {
        let lookup = Lookup::new(self, facts);
        let certificate = file(&lookup, "TLS_Certificate");
        let mut extensions: BTreeSet<String> =
            lookup.texts("SMTP_Extensions").iter().map(|text| text.to_ascii_uppercase()).collect();
        if certificate.is_some() && lookup.set("SMTP_Extensions").is_none() {
            extensions.insert("STARTTLS".to_string());
        }
        EsmtpSettings {
            idle_time: lookup.time("Idle_Time"),
            caps: self.caps(&lookup),
            max_receptions_per_connection: lookup.limit("Max_Receptions_Per_Connection"),
            max_recipients_per_connection: lookup.limit("Max_Recipients_Per_Connection"),
            max_recipients_per_message: lookup
                .limit("Max_Recipients_Per_Message")
                .map(|limit| limit.max(100)),
            max_message_size: Some(lookup.u64("Max_Message_Size")).filter(|size| *size != 0),
            banner_hostname: lookup.filled("Banner_Hostname"),
            received_hostname: lookup.filled("Received_Hostname"),
            static_banner: lookup.filled("Static_Banner"),
            context: context(&lookup),
            extensions,
            use_ssl: lookup.bool("Use_SSL"),
            tls_key: file(&lookup, "TLS_Key"),
            tls_certificate: certificate,
            tls_client_ca: file(&lookup, "TLS_Client_CA"),
            tls_ciphers: lookup.filled("TLS_Ciphers"),
            tls_protocols: lookup.filled("TLS_Protocols"),
            client_certificates: match lookup.word("TLS_Verify_Mode") {
                "require" => ClientCertificates::Required,
                "none" => ClientCertificates::Ignored,
                _ => ClientCertificates::Checked,
            },
            verified_peer_can_relay: lookup.bool("TLS_Verified_Peer_Can_Relay"),
            starttls_injection: match lookup.word("Starttls_Injection_Policy") {
                "ignore" => StarttlsInjection::Ignore,
                "allow" => StarttlsInjection::Allow,
                _ => StarttlsInjection::Reject,
            },
            require_ehlo: lookup.bool("Require_EHLO"),
            allow_null_envelope_sender: lookup.bool("Allow_NULL_Envelope_Sender"),
            allow_ip_literal: lookup.bool("Allow_IP_Literal"),
            allow_trailing_whitespace: lookup.bool("Allow_Trailing_Whitespace_In_Commands"),
            domain_for_unqualified_sender: lookup.filled("Domain_For_Unqualified_Sender_Address"),
            domain_for_unqualified_recipients: lookup.filled("Domain_For_Unqualified_Recipient_Addresses"),
            relay_hosts: lookup.prefixes("Relay_Hosts"),
            open_relay: lookup.bool("Open_Relay"),
            relay_for_sending_domains: lookup.texts("Relay_For_Sending_Domains"),
            reconfig_message: lookup.text("Reconfig_Message").unwrap_or_default(),
            enable_authentication: lookup.bool("Enable_Authentication"),
            always_allow: lookup.bool("Always_Allow"),
            always_deny: lookup.bool("Always_Deny"),
            authentication: mechanisms(&lookup),
            rules: rules.clone(),
        }
    }

    /// Every cap that is set on the way, each with the stanza whose counter it is.
    fn caps(&self, lookup: &Lookup<'_>) -> Vec<SessionCap> {
        let mut caps = Vec::new();
        for (name, kind) in
            [("Service_Sessions", SessionCapKind::Service), ("Listener_Sessions", SessionCapKind::Listener)]
        {
            for (instance, assigned) in lookup.owners(name).into_iter().flat_map(|(_, owners)| owners) {
                let limit = assigned.value.as_int().and_then(|limit| u32::try_from(limit).ok()).unwrap_or(0);
                if limit != 0 {
                    let (path, shadow) = (self.tree().path(instance), self.is_shadow_at(instance, name));
                    caps.push(SessionCap { kind, limit, instance, path, shadow });
                }
            }
        }
        caps
    }

    /// Whether the nearest `Shadow_Limits`, from a stanza outwards, names an option.
    fn is_shadow_at(&self, instance: InstanceId, option: &str) -> bool {
        let mut at = Some(instance);
        while let Some(found) = at.and_then(|id| self.tree().instance(id)) {
            if let Some(assigned) = found.assigned("Shadow_Limits") {
                return assigned.value.names_option(option);
            }
            at = (found.scope != Scope::Global).then_some(found.parent);
        }
        false
    }

    fn control(&self, facts: Facts<'_>, address: &ListenAddress) -> ControlSettings {
        let lookup = Lookup::new(self, facts);
        let tcp = address.port().is_some();
        let authentication = mechanisms(&lookup);
        let written = lookup.set("Enable_Authentication").as_ref().and_then(Value::as_bool);
        let authenticate = written.unwrap_or(tcp && !authentication.is_empty());
        let login = authenticate && !authentication.is_empty();
        let always_allow = lookup.bool("Always_Allow");
        let always_deny = lookup.bool("Always_Deny");
        ControlSettings {
            timeout: lookup.seconds("Timeout"),
            authenticate,
            authorize: lookup.bool("Enable_Authorization"),
            always_allow,
            always_deny,
            authorization: lookup.dict("AuthorizationParameters"),
            unprotected: tcp && !login && !always_allow && !always_deny,
            authentication,
        }
    }

    fn adapter(&self, facts: Facts<'_>) -> AdapterSettings {
        let lookup = Lookup::new(self, facts);
        let api = facts.service == Some(Service::Api);
        let tls = |option: &str| {
            matches!(facts.service, Some(Service::Api | Service::Metrics))
                .then(|| file(&lookup, option))
                .flatten()
        };
        AdapterSettings {
            timeout: lookup.seconds("Timeout"),
            max_connections: lookup.u32("Max_Connections"),
            on_error: match (facts.service, lookup.word("On_Error")) {
                (Some(Service::Policy), "defer") => Some(OnError::Defer),
                (Some(Service::Policy), "close") => Some(OnError::Close),
                (Some(Service::Policy), _) => Some(OnError::Dunno),
                (Some(Service::Milter), "tempfail") => Some(OnError::Tempfail),
                (Some(Service::Milter), _) => Some(OnError::Accept),
                _ => None,
            },
            count_connects: facts.service == Some(Service::Policy) && self.count_connects(&lookup),
            allow_users: (api && lookup.set("Allow_Users").is_some()).then(|| lookup.texts("Allow_Users")),
            token_file: if api { lookup.filled("Token_File") } else { None },
            tls_certificate: tls("TLS_Certificate"),
            tls_key: tls("TLS_Key"),
            tls_client_ca: tls("TLS_Client_CA"),
        }
    }

    fn count_connects(&self, lookup: &Lookup<'_>) -> bool {
        let global = Lookup::new(self, Facts::default());
        lookup
            .set("Policy_Count_Connects")
            .as_ref()
            .and_then(Value::as_bool)
            .unwrap_or_else(|| global.bool("Policy_Count_Connects"))
    }
}
