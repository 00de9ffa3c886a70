//! Listener options as the SMTP core wants them.

use super::{mail_name, or_never};
use crate::edge::{Cap, PeerSettings, SmtpListener, tls};
use crate::notices::{Severity, notice};
use anyhow::Context;
use postfleet_config::ListenAddress;
use postfleet_config::{
    ClientCertificates, DateHeader, EsmtpSettings, LineLength, ListenSettings, LoneLf, LongLines, MailRules,
    MissingHeaders, NodeSettings, SessionCapKind, StarttlsInjection,
};
use postfleet_smtp::{
    DateRule, DomainGlob, Extensions, FormatRules, Injection, LineRule, LoneRule, Questions, RelayControl,
    SessionSettings,
};
use std::collections::BTreeMap;
use std::net::IpAddr;
use std::path::Path;
use std::sync::Arc;

/// The standard's longest line, without its end (RFC 5322, section 2.1.1).
const LINE_OCTETS_STANDARD: usize = 998;

/// Converts listeners; certificates that several of them use are read once.
pub(super) struct Reader {
    hostname: String,
    product: String,
    /// When sessions ask.
    questions: Questions,
    certificates: BTreeMap<(String, String), Arc<rustls::ServerConfig>>,
}

impl Reader {
    pub(super) fn new(node: &NodeSettings, questions: Questions) -> Self {
        Self {
            hostname: mail_name(node),
            product: format!("{} {}", node.product_name, env!("CARGO_PKG_VERSION")),
            questions,
            certificates: BTreeMap::new(),
        }
    }

    pub(super) fn listener(&mut self, listen: ListenSettings<EsmtpSettings>) -> anyhow::Result<SmtpListener> {
        let name = listen.address.to_string();
        let base = Arc::new(self.peer(&listen.address, listen.resolve(None))?);
        // Every combination of options is converted now, so that a bad certificate is found at the start and a
        // session costs one look-up.
        let mut converted: Vec<(Arc<EsmtpSettings>, Arc<PeerSettings>)> = Vec::new();
        for settings in listen.all() {
            let peer = self.peer(&listen.address, settings)?;
            converted.push((Arc::clone(settings), Arc::new(peer)));
        }
        let proxy = listen.socket.proxy_protocol;
        let resolve = move |client: IpAddr| {
            let settings = listen.resolve(Some(client));
            converted
                .iter()
                .find(|(from, _)| Arc::ptr_eq(from, settings))
                .map_or_else(|| Arc::clone(&base), |(_, peer)| Arc::clone(peer))
        };
        Ok(SmtpListener { name, proxy, resolve: Box::new(resolve) })
    }

    fn peer(&mut self, address: &ListenAddress, settings: &EsmtpSettings) -> anyhow::Result<PeerSettings> {
        let tls = match (&settings.tls_certificate, &settings.tls_key) {
            (Some(certificate), Some(key)) => Some(self.certificate(certificate, key)?),
            (Some(certificate), None) => {
                anyhow::bail!("ESMTP_Listener {address}: TLS_Certificate {certificate} needs a TLS_Key")
            }
            (None, _) if settings.use_ssl => {
                anyhow::bail!("ESMTP_Listener {address}: Use_SSL needs TLS_Certificate and TLS_Key")
            }
            (None, _) => None,
        };
        // A relay that was told to ask for certificates must not run as if it had.
        if settings.client_certificates == ClientCertificates::Required {
            anyhow::bail!(
                "ESMTP_Listener {address}: TLS_Verify_Mode = require is not available in this version; remove the option"
            );
        }
        Ok(PeerSettings {
            can_relay: settings.always_allow && !settings.always_deny,
            session: Arc::new(self.session(address, settings, tls.is_some())?),
            tls,
            implicit_tls: settings.use_ssl,
            caps: caps(address, settings),
            deny: settings.always_deny,
            context: settings.context.clone(),
        })
    }

    fn certificate(&mut self, certificate: &str, key: &str) -> anyhow::Result<Arc<rustls::ServerConfig>> {
        let files = (certificate.to_owned(), key.to_owned());
        if let Some(known) = self.certificates.get(&files) {
            return Ok(Arc::clone(known));
        }
        let config = tls::server_config(Path::new(certificate), Path::new(key), None)?;
        self.certificates.insert(files, Arc::clone(&config));
        Ok(config)
    }

    fn session(
        &self,
        address: &ListenAddress,
        settings: &EsmtpSettings,
        has_certificate: bool,
    ) -> anyhow::Result<SessionSettings> {
        let words = settings.extensions.iter().map(String::as_str);
        let (mut extensions, left) = Extensions::from_words(words);
        for word in left {
            notice(
                Severity::Warning,
                format_args!(
                    "ESMTP_Listener {address}: SMTP extension {word} is not offered in this version"
                ),
            );
        }
        if extensions.starttls && !has_certificate {
            notice(
                Severity::Warning,
                format_args!(
                    "ESMTP_Listener {address}: STARTTLS is not offered without TLS_Certificate and TLS_Key"
                ),
            );
        }
        // The default list gains STARTTLS with a certificate; there is nothing to start where TLS is on already.
        extensions.starttls = has_certificate && !settings.use_ssl;
        let injection = match settings.starttls_injection {
            StarttlsInjection::Ignore => Injection::Ignore,
            StarttlsInjection::Reject => Injection::Reject,
            StarttlsInjection::Allow => {
                notice(
                    Severity::Warning,
                    format_args!(
                        "ESMTP_Listener {address}: Starttls_Injection_Policy = allow would let an attacker's \
                         commands in (CVE-2011-0411); reject is used"
                    ),
                );
                Injection::Reject
            }
        };
        let rules = &settings.rules;
        let own = |name: &Option<String>| name.clone().unwrap_or_else(|| self.hostname.clone());
        let count = |limit: Option<u32>| limit.unwrap_or(0);
        Ok(SessionSettings {
            banner_hostname: own(&settings.banner_hostname),
            received_hostname: own(&settings.received_hostname),
            product: self.product.clone(),
            static_banner: settings.static_banner.clone(),
            extensions,
            idle_time: or_never(settings.idle_time),
            receptions_per_connection_max: count(settings.max_receptions_per_connection),
            recipients_per_connection_max: count(settings.max_recipients_per_connection),
            recipients_per_message_max: count(settings.max_recipients_per_message),
            message_octets_max: settings.max_message_size.unwrap_or(0),
            require_ehlo: settings.require_ehlo,
            allow_null_sender: settings.allow_null_envelope_sender,
            allow_ip_literal: settings.allow_ip_literal,
            allow_trailing_whitespace: settings.allow_trailing_whitespace,
            allow_envelope_whitespace: rules.allow_whitespace_in_envelope,
            pedantic_addresses: rules.pedantic_address_rules,
            unqualified_sender_domain: settings.domain_for_unqualified_sender.clone(),
            unqualified_recipient_domain: settings.domain_for_unqualified_recipients.clone(),
            relay: relay(address, settings)?,
            starttls_injection: injection,
            reconfig_message: settings.reconfig_message.clone(),
            format: format(rules),
            questions: self.questions,
            ..SessionSettings::default()
        })
    }
}

fn relay(address: &ListenAddress, settings: &EsmtpSettings) -> anyhow::Result<RelayControl> {
    let globs = |option: &str, domains: &[String]| -> anyhow::Result<Vec<DomainGlob>> {
        domains.iter().map(|text| text.parse().with_context(|| format!("{option}: '{text}'"))).collect()
    };
    Ok(RelayControl {
        hosts: settings.relay_hosts.clone(),
        open: settings.open_relay,
        sending_domains: globs("Relay_For_Sending_Domains", &settings.relay_for_sending_domains)?,
        domains: globs("Relay_Domains", &settings.rules.relay_domains)?,
        bounce_domains: globs("Bounce_Domains", &settings.rules.bounce_domains)?,
        own_addresses: match address {
            ListenAddress::Ip(ip, _) => vec![*ip],
            ListenAddress::AnyV4(_) | ListenAddress::AnyV6(_) | ListenAddress::Path(_) => Vec::new(),
        },
        verified_peers: settings.verified_peer_can_relay,
    })
}

/// Stanzas are named by their paths: a reload that leaves a limit alone leaves its count alone too.
fn caps(address: &ListenAddress, settings: &EsmtpSettings) -> Arc<[Cap]> {
    settings
        .caps
        .iter()
        .map(|cap| Cap {
            option: match cap.kind {
                SessionCapKind::Listener => "Listener_Sessions",
                SessionCapKind::Service => "Service_Sessions",
            },
            scope: cap.path.clone(),
            shadow: cap.shadow,
            key: match cap.kind {
                SessionCapKind::Listener => format!("Listener_Sessions {address} {}", cap.path),
                SessionCapKind::Service => format!("Service_Sessions {}", cap.path),
            },
            sessions_max: u64::from(cap.limit),
        })
        .collect()
}

fn format(rules: &MailRules) -> FormatRules {
    let lone = |rule: LoneLf| match rule {
        LoneLf::Ignore => LoneRule::Ignore,
        LoneLf::Pedantic => LoneRule::Pedantic,
        LoneLf::Fix => LoneRule::Fix,
    };
    FormatRules {
        lone_in_headers: lone(rules.lone_lf_in_headers),
        lone_in_body: lone(rules.lone_lf_in_body),
        line_length: match (rules.max_line_length, rules.max_line_length_policy) {
            (LineLength::Ignore, _) | (LineLength::Max(_), LongLines::None) => LineRule::Ignore,
            (LineLength::Pedantic, _) => LineRule::Reject(LINE_OCTETS_STANDARD),
            (LineLength::Fix, _) => LineRule::Fix(LINE_OCTETS_STANDARD),
            (LineLength::Max(octets), LongLines::Fix) => {
                LineRule::Fix(usize::try_from(octets).unwrap_or(usize::MAX))
            }
            (LineLength::Max(octets), LongLines::Reject) => {
                LineRule::Reject(usize::try_from(octets).unwrap_or(usize::MAX))
            }
        },
        allow_missing_headers: rules.missing_headers == MissingHeaders::Allow,
        date: match rules.date_header {
            DateHeader::Ignore => DateRule::Ignore,
            DateHeader::IfNeeded => DateRule::IfNeeded,
            DateHeader::Pedantic => DateRule::Pedantic,
        },
        add_message_id: rules.message_id_header != DateHeader::Ignore,
        trace: rules.trace_headers,
    }
}
