//! The envelope of a transaction and its form on disk.

use alloc::string::String;
use alloc::vec::Vec;
use core::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use postfleet_types::{Reader, WallTime, WireError, Writer};

use crate::binding::{BindingGroupName, BindingName};
use crate::id::{ID_BYTES, MessageId};

/// Everything that is known about a transaction besides its content.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Envelope {
    /// The id of the transaction and of its file: the id of its first copy.
    pub batch: MessageId,
    /// When the transaction was accepted.
    pub created: WallTime,
    /// The reverse-path without angle brackets; empty for the null reverse-path.
    pub sender: String,
    /// One for each recipient, at least one.
    pub copies: Vec<RecipientCopy>,
    /// `BODY=` of the MAIL command (RFC 6152).
    pub body: Body,
    /// Whether MAIL carried SMTPUTF8 (RFC 6531).
    pub smtputf8: bool,
    /// `RET=` of the MAIL command (RFC 3461).
    pub ret: Option<Ret>,
    /// `ENVID=` of the MAIL command, decoded (RFC 3461).
    pub envid: Option<String>,
    /// The client that handed the message in, as it was counted.
    pub client: Option<SocketAddr>,
    /// The name it gave in EHLO or HELO; empty when unknown.
    pub helo: String,
    /// The protocol as in the Received field: `ESMTP`, `ESMTPS`, …; empty when unknown.
    pub protocol: String,
    /// The id of the connection that it came in on; none for mail that was made here.
    pub connection: Option<MessageId>,
    /// The context dictionary, in the order in which it was filled.
    pub context: Vec<(String, String)>,
}

/// One queued message: a copy for one recipient.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RecipientCopy {
    /// The id of this copy.
    pub id: MessageId,
    /// The forward-path without angle brackets.
    pub recipient: String,
    /// The routing domain: lower-case A-labels of the recipient's domain, unless policy set another.
    pub domain: String,
    /// `ORCPT=` of the RCPT command, as given (RFC 3461).
    pub orcpt: Option<String>,
    /// `NOTIFY=` of the RCPT command (RFC 3461).
    pub notify: Option<Notify>,
    /// The binding the copy is queued on.
    pub binding: BindingName,
    /// The group of that binding.
    pub binding_group: BindingGroupName,
}

/// The `BODY=` parameter.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Body {
    /// `7BIT`, or not given.
    #[default]
    SevenBit,
    /// `8BITMIME`.
    EightBitMime,
}

/// The `RET=` parameter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ret {
    /// `FULL`.
    Full,
    /// `HDRS`.
    Headers,
}

/// The `NOTIFY=` parameter. `NEVER` is all three false.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Notify {
    /// `SUCCESS`.
    pub success: bool,
    /// `FAILURE`.
    pub failure: bool,
    /// `DELAY`.
    pub delay: bool,
}

/// Field numbers of the envelope. A number is never used again for something else.
mod field {
    pub(super) const BATCH: u64 = 1;
    pub(super) const CREATED: u64 = 2;
    pub(super) const SENDER: u64 = 3;
    pub(super) const COPY: u64 = 4;
    pub(super) const BODY: u64 = 5;
    pub(super) const SMTPUTF8: u64 = 6;
    pub(super) const RET: u64 = 7;
    pub(super) const ENVID: u64 = 8;
    pub(super) const CLIENT: u64 = 9;
    pub(super) const HELO: u64 = 10;
    pub(super) const PROTOCOL: u64 = 11;
    pub(super) const CONTEXT: u64 = 12;
    pub(super) const CONNECTION: u64 = 13;
}

/// Field numbers of a copy.
mod copy_field {
    pub(super) const ID: u64 = 1;
    pub(super) const RECIPIENT: u64 = 2;
    pub(super) const DOMAIN: u64 = 3;
    pub(super) const ORCPT: u64 = 4;
    pub(super) const NOTIFY: u64 = 5;
    pub(super) const BINDING: u64 = 6;
    pub(super) const BINDING_GROUP: u64 = 7;
}

/// Why an envelope could not be read. The disk (or who wrote the file) is at fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EnvelopeError {
    /// The bytes do not form fields.
    #[error("the fields are damaged")]
    Wire(#[from] WireError),
    /// A field that every envelope has is missing.
    #[error("the field `{0}` is missing")]
    Missing(&'static str),
    /// A field that may be there once is there twice.
    #[error("the field `{0}` is there twice")]
    Twice(&'static str),
}

/// Appends one field: number, length, value.
pub(crate) fn put(writer: &mut Writer, number: u64, value: &[u8]) {
    writer.varint(number).bytes(value);
}

fn put_text(writer: &mut Writer, number: u64, text: &str) {
    if !text.is_empty() {
        put(writer, number, text.as_bytes());
    }
}

/// Stores a field's value and refuses the second one.
pub(crate) fn set<T>(slot: &mut Option<T>, name: &'static str, value: T) -> Result<(), EnvelopeError> {
    match slot.replace(value) {
        None => Ok(()),
        Some(_) => Err(EnvelopeError::Twice(name)),
    }
}

/// The value of a field as text.
fn text(value: &Reader<'_>, name: &'static str) -> Result<String, WireError> {
    core::str::from_utf8(value.rest()).map(String::from).map_err(|_| value.invalid(name))
}

/// The value of a field as one byte.
pub(crate) fn byte(value: &mut Reader<'_>) -> Result<u8, WireError> {
    let byte = value.u8()?;
    value.finish()?;
    Ok(byte)
}

impl Envelope {
    /// The envelope's form on disk (`docs/formats/spool.md`).
    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut out = Writer::new();
        let mut id = Writer::new();
        self.batch.write(&mut id);
        put(&mut out, field::BATCH, &id.finish());
        put(&mut out, field::CREATED, &self.created.unix_millis().to_be_bytes());
        put_text(&mut out, field::SENDER, &self.sender);
        if self.body == Body::EightBitMime {
            put(&mut out, field::BODY, &[1]);
        }
        if self.smtputf8 {
            put(&mut out, field::SMTPUTF8, &[1]);
        }
        if let Some(ret) = self.ret {
            put(&mut out, field::RET, &[if ret == Ret::Full { 1 } else { 2 }]);
        }
        if let Some(envid) = &self.envid {
            put(&mut out, field::ENVID, envid.as_bytes());
        }
        if let Some(client) = self.client {
            let mut value = Writer::new();
            match client.ip() {
                IpAddr::V4(address) => value.raw(&address.octets()),
                IpAddr::V6(address) => value.raw(&address.octets()),
            };
            value.u16(client.port());
            put(&mut out, field::CLIENT, &value.finish());
        }
        put_text(&mut out, field::HELO, &self.helo);
        put_text(&mut out, field::PROTOCOL, &self.protocol);
        if let Some(connection) = self.connection {
            let mut value = Writer::new();
            connection.write(&mut value);
            put(&mut out, field::CONNECTION, &value.finish());
        }
        for (name, value) in &self.context {
            let mut pair = Writer::new();
            pair.bytes(name.as_bytes()).bytes(value.as_bytes());
            put(&mut out, field::CONTEXT, &pair.finish());
        }
        for copy in &self.copies {
            put(&mut out, field::COPY, &copy.encode());
        }
        out.finish()
    }

    /// Reads what [`Envelope::encode`] wrote. Fields with unknown numbers are skipped.
    pub(crate) fn decode(bytes: &[u8]) -> Result<Self, EnvelopeError> {
        let (mut batch, mut created, mut sender, mut body, mut smtputf8) = (None, None, None, None, None);
        let (mut ret, mut envid, mut client, mut helo, mut protocol) = (None, None, None, None, None);
        let (mut copies, mut context, mut connection) = (Vec::new(), Vec::new(), None);
        let mut fields = Reader::new(bytes);
        while !fields.rest().is_empty() {
            let number = fields.varint()?;
            let mut value = Reader::new(fields.bytes()?);
            match number {
                field::BATCH => set(&mut batch, "batch", id(&mut value)?)?,
                field::CREATED => {
                    let millis = value.u64()?;
                    value.finish()?;
                    set(&mut created, "created", WallTime::from_unix_millis(millis))?;
                }
                field::SENDER => set(&mut sender, "sender", text(&value, "sender")?)?,
                field::BODY => match byte(&mut value)? {
                    1 => set(&mut body, "body", Body::EightBitMime)?,
                    _ => return Err(value.invalid("body").into()),
                },
                field::SMTPUTF8 => match byte(&mut value)? {
                    1 => set(&mut smtputf8, "smtputf8", true)?,
                    _ => return Err(value.invalid("smtputf8").into()),
                },
                field::RET => match byte(&mut value)? {
                    1 => set(&mut ret, "ret", Ret::Full)?,
                    2 => set(&mut ret, "ret", Ret::Headers)?,
                    _ => return Err(value.invalid("ret").into()),
                },
                field::ENVID => set(&mut envid, "envid", text(&value, "envid")?)?,
                field::CLIENT => set(&mut client, "client", address(&mut value)?)?,
                field::HELO => set(&mut helo, "helo", text(&value, "helo")?)?,
                field::PROTOCOL => set(&mut protocol, "protocol", text(&value, "protocol")?)?,
                field::CONNECTION => set(&mut connection, "connection", id(&mut value)?)?,
                field::CONTEXT => {
                    let pair = (String::from(value.text()?), String::from(value.text()?));
                    value.finish()?;
                    context.push(pair);
                }
                field::COPY => copies.push(RecipientCopy::decode(value.rest())?),
                _ => {}
            }
        }
        if copies.is_empty() {
            return Err(EnvelopeError::Missing("copy"));
        }
        Ok(Self {
            batch: batch.ok_or(EnvelopeError::Missing("batch"))?,
            created: created.ok_or(EnvelopeError::Missing("created"))?,
            sender: sender.unwrap_or_default(),
            copies,
            body: body.unwrap_or_default(),
            smtputf8: smtputf8.unwrap_or(false),
            ret,
            envid,
            client,
            helo: helo.unwrap_or_default(),
            protocol: protocol.unwrap_or_default(),
            connection,
            context,
        })
    }
}

impl RecipientCopy {
    fn encode(&self) -> Vec<u8> {
        let mut out = Writer::new();
        let mut id = Writer::new();
        self.id.write(&mut id);
        put(&mut out, copy_field::ID, &id.finish());
        put(&mut out, copy_field::RECIPIENT, self.recipient.as_bytes());
        put_text(&mut out, copy_field::DOMAIN, &self.domain);
        if let Some(orcpt) = &self.orcpt {
            put(&mut out, copy_field::ORCPT, orcpt.as_bytes());
        }
        if let Some(notify) = self.notify {
            let bits = u8::from(notify.success) | u8::from(notify.failure) << 1 | u8::from(notify.delay) << 2;
            put(&mut out, copy_field::NOTIFY, &[bits]);
        }
        if !self.binding.is_default() {
            put(&mut out, copy_field::BINDING, self.binding.as_str().as_bytes());
        }
        if !self.binding_group.is_default() {
            put(&mut out, copy_field::BINDING_GROUP, self.binding_group.as_str().as_bytes());
        }
        out.finish()
    }

    fn decode(bytes: &[u8]) -> Result<Self, EnvelopeError> {
        let (mut own, mut recipient, mut domain, mut orcpt) = (None, None, None, None);
        let (mut notify, mut binding, mut binding_group) = (None, None, None);
        let mut fields = Reader::new(bytes);
        while !fields.rest().is_empty() {
            let number = fields.varint()?;
            let mut value = Reader::new(fields.bytes()?);
            match number {
                copy_field::ID => set(&mut own, "id", id(&mut value)?)?,
                copy_field::RECIPIENT => set(&mut recipient, "recipient", text(&value, "recipient")?)?,
                copy_field::DOMAIN => set(&mut domain, "domain", text(&value, "domain")?)?,
                copy_field::ORCPT => set(&mut orcpt, "orcpt", text(&value, "orcpt")?)?,
                copy_field::NOTIFY => {
                    let bits = byte(&mut value)?;
                    if bits > 0b111 {
                        return Err(value.invalid("notify").into());
                    }
                    let flags =
                        Notify { success: bits & 1 != 0, failure: bits & 2 != 0, delay: bits & 4 != 0 };
                    set(&mut notify, "notify", flags)?;
                }
                copy_field::BINDING => set(&mut binding, "binding", text(&value, "binding")?)?,
                copy_field::BINDING_GROUP => {
                    set(&mut binding_group, "binding group", text(&value, "binding group")?)?;
                }
                _ => {}
            }
        }
        Ok(Self {
            id: own.ok_or(EnvelopeError::Missing("id"))?,
            recipient: recipient.ok_or(EnvelopeError::Missing("recipient"))?,
            domain: domain.unwrap_or_default(),
            orcpt,
            notify,
            binding: binding.map(BindingName::from).unwrap_or_default(),
            binding_group: binding_group.map(BindingGroupName::from).unwrap_or_default(),
        })
    }
}

fn id(value: &mut Reader<'_>) -> Result<MessageId, WireError> {
    let id = MessageId::read(value)?;
    value.finish()?;
    Ok(id)
}

fn address(value: &mut Reader<'_>) -> Result<SocketAddr, WireError> {
    let ip = match value.rest().len() {
        6 => IpAddr::V4(Ipv4Addr::from(value.array::<4>()?)),
        18 => IpAddr::V6(Ipv6Addr::from(value.array::<16>()?)),
        _ => return Err(value.invalid("client")),
    };
    Ok(SocketAddr::new(ip, value.u16()?))
}

const _: () = assert!(ID_BYTES == 10, "docs/formats/spool.md says so");
