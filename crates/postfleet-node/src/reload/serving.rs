//! What connections are served by: one value for the whole node, replaced in one step.

use super::listeners::Key;
use crate::cluster_listener::ClusterListenerOptions;
use crate::control::OptionsOf;
use crate::edge::SmtpListener;
use crate::metrics::MetricsListener;
use crate::policy::Policy;
use crate::settings::{ListenerKind, Service, Settings};
use crate::socket::Endpoint;
use postfleet_config::live::Generation;
use postfleet_console::Profile;
use std::collections::BTreeMap;
use std::sync::Arc;

/// The listeners' options and what consoles are told, all of one generation.
pub(crate) struct Serving {
    pub(crate) profile: Profile,
    /// The generation in which something changed that ESMTP sessions use.
    pub(crate) esmtp: Generation,
    /// What ESMTP sessions ask.
    pub(crate) policy: Arc<Policy>,
    listeners: BTreeMap<Key, ListenerKind>,
    /// Those of the generation before whose sockets are being closed: connections that were made to them are served.
    closing: BTreeMap<Key, ListenerKind>,
}

impl Serving {
    pub(super) fn new(settings: &Settings, esmtp: Generation, before: Option<&Self>) -> Self {
        let listeners: BTreeMap<Key, ListenerKind> =
            settings.listeners.iter().map(|listener| (listener.key(), listener.kind.clone())).collect();
        let closing = before
            .into_iter()
            .flat_map(|before| &before.listeners)
            .filter(|(key, _)| !listeners.contains_key(*key))
            .map(|(key, kind)| (key.clone(), kind.clone()))
            .collect();
        let policy = Arc::clone(&settings.policy);
        Self { profile: settings.profile.clone(), esmtp, policy, listeners, closing }
    }

    fn kind(&self, service: Service, endpoint: &Endpoint) -> Option<&ListenerKind> {
        let key = (service, endpoint.clone());
        self.listeners.get(&key).or_else(|| self.closing.get(&key))
    }

    /// One `Listen` of `ESMTP_Listener`.
    pub(crate) fn smtp(&self, endpoint: &Endpoint) -> Option<Arc<SmtpListener>> {
        let Some(ListenerKind::Smtp(listener)) = self.kind(Service::Smtp, endpoint) else { return None };
        Some(Arc::clone(listener))
    }

    /// One `Listen` of `Control_Listener`.
    pub(crate) fn control(&self, endpoint: &Endpoint) -> Option<OptionsOf> {
        let Some(ListenerKind::Control(options)) = self.kind(Service::Control, endpoint) else { return None };
        Some(Arc::clone(options))
    }

    /// One `Listen` of `Metrics_Listener`.
    pub(crate) fn metrics(&self, endpoint: &Endpoint) -> Option<MetricsListener> {
        let Some(ListenerKind::Metrics(listener)) = self.kind(Service::Metrics, endpoint) else {
            return None;
        };
        Some(listener.clone())
    }

    /// One `Listen` of `ECCluster_Listener`.
    pub(crate) fn cluster(&self, endpoint: &Endpoint) -> Option<ClusterListenerOptions> {
        let Some(ListenerKind::Cluster(options)) = self.kind(Service::Cluster, endpoint) else { return None };
        Some(options.clone())
    }
}
