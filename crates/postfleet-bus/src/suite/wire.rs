//! Wire forms that commands and records share.

use crate::envelope::Hello;
use crate::event::{Destination, Member};
use alloc::vec::Vec;
use postfleet_types::{Epoch, PrivateName, Reader, ViewId, WireError, Writer};

pub(super) fn write_view(writer: &mut Writer, view: ViewId) {
    writer.u64(view.counter).u64(view.tag);
}

pub(super) fn read_view(reader: &mut Reader<'_>) -> Result<ViewId, WireError> {
    Ok(ViewId { counter: reader.u64()?, tag: reader.u64()? })
}

pub(super) fn write_optional_view(writer: &mut Writer, view: Option<ViewId>) {
    writer.u8(u8::from(view.is_some()));
    write_view(writer, view.unwrap_or_default());
}

pub(super) fn read_optional_view(reader: &mut Reader<'_>) -> Result<Option<ViewId>, WireError> {
    let is_some = reader.u8()? == 1;
    let view = read_view(reader)?;
    Ok(is_some.then_some(view))
}

pub(super) fn write_destinations(writer: &mut Writer, to: &[Destination]) {
    writer.count(to.len());
    for destination in to {
        match destination {
            Destination::Group(group) => writer.text(group.as_str()),
            Destination::Member(name) => writer.text(name.as_str()),
        };
    }
}

pub(super) fn read_destinations(reader: &mut Reader<'_>) -> Result<Vec<Destination>, WireError> {
    let count = reader.count(1)?;
    (0..count)
        .map(|_| {
            let text = reader.text()?;
            if text.starts_with('#') {
                text.parse().map(Destination::Member).map_err(|_| reader.invalid("destination"))
            } else {
                text.parse().map(Destination::Group).map_err(|_| reader.invalid("destination"))
            }
        })
        .collect()
}

pub(super) fn write_names(writer: &mut Writer, names: &[PrivateName]) {
    writer.count(names.len());
    for name in names {
        writer.text(name.as_str());
    }
}

pub(super) fn read_names(reader: &mut Reader<'_>) -> Result<Vec<PrivateName>, WireError> {
    let count = reader.count(1)?;
    (0..count).map(|_| reader.text()?.parse().map_err(|_| reader.invalid("private name"))).collect()
}

/// A member in the form of the HELLO that announces it.
pub(super) fn write_member(writer: &mut Writer, member: &Member) {
    let hello = Hello {
        nonce: 0,
        counter: 0,
        age: member.age,
        delivered: 0,
        info: member.info.clone(),
        groups: member.groups.clone(),
    };
    let mut inner = Writer::new();
    hello.encode(&mut inner);
    writer.u64(member.epoch.0).bytes(&inner.finish());
}

pub(super) fn read_member(reader: &mut Reader<'_>) -> Result<Member, WireError> {
    let epoch = Epoch(reader.u64()?);
    let hello = Hello::decode(&mut Reader::new(reader.bytes()?))?;
    Ok(Member { info: hello.info, epoch, age: hello.age, groups: hello.groups })
}
