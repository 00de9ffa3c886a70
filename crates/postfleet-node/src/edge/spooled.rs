//! From the envelope of a session to the envelope in the spool.

use postfleet_smtp::{Body, Domain, Envelope, Notify, Return};
use postfleet_spool::{BindingGroupName, BindingName, MessageId, RecipientCopy};
use postfleet_types::WallTime;

/// The stored form of an envelope: one copy a recipient.
pub(super) fn envelope(
    envelope: &Envelope,
    ids: &[MessageId],
    batch: MessageId,
    created: WallTime,
    connection: MessageId,
) -> postfleet_spool::Envelope {
    let copies = envelope
        .recipients
        .iter()
        .zip(ids)
        .map(|(recipient, id)| RecipientCopy {
            id: *id,
            recipient: recipient.address.to_string(),
            domain: routing_domain(recipient.address.domain()),
            orcpt: recipient
                .original
                .as_ref()
                .map(|original| format!("{};{}", original.kind, original.address)),
            notify: recipient.notify.map(notify),
            binding: BindingName::default(),
            binding_group: BindingGroupName::default(),
        })
        .collect();
    postfleet_spool::Envelope {
        batch,
        created,
        sender: envelope.mail.reverse_path.to_string(),
        copies,
        body: match envelope.mail.body {
            Some(Body::EightBitMime) => postfleet_spool::Body::EightBitMime,
            Some(Body::SevenBit) | None => postfleet_spool::Body::SevenBit,
        },
        smtputf8: envelope.mail.smtputf8,
        ret: envelope.mail.ret.map(|ret| match ret {
            Return::Full => postfleet_spool::Ret::Full,
            Return::Headers => postfleet_spool::Ret::Headers,
        }),
        envid: envelope.mail.envelope_id.clone(),
        client: Some(envelope.origin.client),
        helo: envelope.origin.helo.clone().unwrap_or_default(),
        protocol: envelope.origin.protocol.to_string(),
        connection: Some(connection),
        context: Vec::new(),
    }
}

/// Sends a copy to another address.
pub(super) fn readdress(copy: &mut RecipientCopy, destination: String) {
    if copy.recipient == destination {
        return;
    }
    copy.domain = domain_of(&destination);
    copy.recipient = destination;
}

/// The domain that mail for an address goes to.
pub(crate) fn domain_of(address: &str) -> String {
    let domain = address.rsplit_once('@').map_or(address, |(_, domain)| domain);
    let name = domain.to_ascii_lowercase();
    if name.is_ascii() { name } else { idna::domain_to_ascii(&name).unwrap_or(name) }
}

/// The domain as it is resolved and counted: lower-case A-labels. A name that cannot be converted stays as it is;
/// delivery will say what is wrong with it.
fn routing_domain(domain: &Domain) -> String {
    let name = domain.normalised();
    if name.is_ascii() { name } else { idna::domain_to_ascii(&name).unwrap_or(name) }
}

const fn notify(notify: Notify) -> postfleet_spool::Notify {
    postfleet_spool::Notify { success: notify.success, failure: notify.failure, delay: notify.delay }
}
