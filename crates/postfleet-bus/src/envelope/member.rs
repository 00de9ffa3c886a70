//! The announcement of a member inside a HELLO.

use crate::event::MemberInfo;
use alloc::string::{String, ToString};
use core::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use postfleet_types::{NodeType, Reader, WireError, Writer};

/// The longest version string that is taken from a peer; it only reaches displays.
const VERSION_BYTES_MAX: usize = 128;

pub(super) fn write_member_info(writer: &mut Writer, info: &MemberInfo) {
    let mut record = Writer::new();
    record.text(info.private_name.as_str()).text(info.node_name.as_str()).text(info.subcluster.as_str());
    record.u8(match info.node_type {
        NodeType::Node => 1,
        NodeType::Manager => 2,
        NodeType::Other => 3,
    });
    record.text(cut(&info.version));
    match info.address.ip() {
        IpAddr::V4(address) => record.u8(4).raw(&address.octets()),
        IpAddr::V6(address) => record.u8(6).raw(&address.octets()),
    };
    record.u16(info.address.port()).u16(info.protocol.0).u16(info.protocol.1).u64(info.options_digest);
    record.u16(info.heartbeats_per_second).u16(info.heartbeat_miss_limit).u128(info.boot_id);
    writer.bytes(&record.finish());
}

pub(super) fn read_member_info(reader: &mut Reader<'_>) -> Result<MemberInfo, WireError> {
    // The record has its own length: a later version may append fields to it.
    let record = reader.bytes()?;
    let mut reader = Reader::new(record);
    let private_name = reader.text()?.parse().map_err(|_| reader.invalid("private name"))?;
    let node_name = reader.text()?.parse().map_err(|_| reader.invalid("node name"))?;
    let subcluster = reader.text()?.parse().map_err(|_| reader.invalid("subcluster"))?;
    let node_type = match reader.u8()? {
        1 => NodeType::Node,
        2 => NodeType::Manager,
        3 => NodeType::Other,
        _ => return Err(reader.invalid("node type")),
    };
    let version = reader.text()?;
    if version.len() > VERSION_BYTES_MAX || version.chars().any(char::is_control) {
        return Err(reader.invalid("version"));
    }
    let version: String = version.to_string();
    let ip = match reader.u8()? {
        4 => IpAddr::V4(Ipv4Addr::from(reader.array::<4>()?)),
        6 => IpAddr::V6(Ipv6Addr::from(reader.array::<16>()?)),
        _ => return Err(reader.invalid("address family")),
    };
    let address = SocketAddr::new(ip, reader.u16()?);
    let protocol = (reader.u16()?, reader.u16()?);
    if protocol.0 > protocol.1 {
        return Err(reader.invalid("protocol"));
    }
    let options_digest = reader.u64()?;
    let heartbeats_per_second = reader.u16()?;
    let heartbeat_miss_limit = reader.u16()?;
    if heartbeats_per_second == 0 || heartbeat_miss_limit == 0 {
        return Err(reader.invalid("heartbeats"));
    }
    Ok(MemberInfo {
        private_name,
        node_name,
        subcluster,
        node_type,
        version,
        address,
        protocol,
        options_digest,
        heartbeats_per_second,
        heartbeat_miss_limit,
        boot_id: reader.u128()?,
    })
}

fn cut(version: &str) -> &str {
    let mut end = version.len().min(VERSION_BYTES_MAX);
    while !version.is_char_boundary(end) {
        end -= 1;
    }
    version.get(..end).unwrap_or_default()
}
