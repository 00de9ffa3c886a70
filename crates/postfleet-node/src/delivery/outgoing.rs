//! A message on its way out of the spool.

use crate::notices::{Severity, notice};
use crate::store::{Reading, Store};
use postfleet_smtp::client::{Message, MessageRecipient};
use postfleet_smtp::{Address, Notify, OriginalRecipient, Return, ReversePath};
use postfleet_spool::{Envelope, MessageId, RecipientCopy, Ret};
use std::sync::Arc;

/// The content of a message, to be read in pieces.
pub(super) struct Outgoing(Option<Reading>);

impl Outgoing {
    /// The piece at `at`; empty at the end. The error has been told.
    pub(super) async fn read(&mut self, store: &Arc<Store>, at: u64, octets: usize) -> Result<Vec<u8>, ()> {
        let Some(reading) = self.0.take() else { return Err(()) };
        let (reading, piece) = store.read(reading, at, octets).await.ok_or(())?;
        self.0 = Some(reading);
        piece.map_err(|error| notice(Severity::Error, format_args!("{}", crate::store::chain(&error))))
    }
}

/// Opens the file of a transaction, compares its checksums, and makes of it what a client sends to some of its
/// recipients. The error is the reply that these recipients are delayed with.
pub(super) async fn open(
    store: &Arc<Store>,
    batch: MessageId,
    messages: &[MessageId],
) -> Result<(Outgoing, Message), String> {
    let reading = store.open_message(batch).await.map_err(|error| {
        notice(
            Severity::Critical,
            format_args!("message {batch} cannot be delivered: {error}; it stays queued"),
        );
        String::from("451 4.3.0 [internal] the message cannot be read from the spool")
    })?;
    let envelope = &reading.stored().envelope;
    let refused = || String::from("451 4.3.0 [internal] an address of the message cannot be used");
    let reverse_path = match envelope.sender.as_str() {
        "" => ReversePath::Null,
        sender => ReversePath::Address(sender.parse().map_err(|_| refused())?),
    };
    let mut recipients = Vec::new();
    for message in messages {
        let copy = envelope.copies.iter().find(|copy| copy.id == *message).ok_or_else(refused)?;
        recipients.push(recipient(copy).ok_or_else(refused)?);
    }
    let reverse_path_ascii = match &reverse_path {
        ReversePath::Address(address) => ascii(address),
        ReversePath::Null => None,
    };
    let message = Message {
        reverse_path,
        reverse_path_ascii,
        recipients,
        octets: reading.stored().content_bytes,
        eight_bit_header: reading.eight_bit_header(),
        eight_bit_body: reading.eight_bit_body(),
        smtputf8: envelope.smtputf8,
        ret: returned(envelope),
        envelope_id: envelope.envid.clone(),
    };
    Ok((Outgoing(Some(reading)), message))
}

fn returned(envelope: &Envelope) -> Option<Return> {
    envelope.ret.map(|ret| match ret {
        Ret::Full => Return::Full,
        Ret::Headers => Return::Headers,
    })
}

fn recipient(copy: &RecipientCopy) -> Option<MessageRecipient> {
    let address: Address = copy.recipient.parse().ok()?;
    let original = copy
        .orcpt
        .as_deref()
        .and_then(|text| text.split_once(';'))
        .map(|(kind, address)| OriginalRecipient { kind: kind.to_owned(), address: address.to_owned() });
    Some(MessageRecipient {
        ascii: ascii(&address),
        address,
        notify: copy.notify.map(|notify| Notify {
            success: notify.success,
            failure: notify.failure,
            delay: notify.delay,
        }),
        original,
    })
}

/// The address with its domain in A-labels, where that makes it ASCII.
fn ascii(address: &Address) -> Option<Address> {
    if address.is_ascii() {
        return None;
    }
    let domain = idna::domain_to_ascii(&address.domain().normalised()).ok()?;
    format!("{}@{domain}", address.local_part()).parse().ok()
}
