//! What a rig tells a member.

use super::wire::{read_destinations, read_optional_view, write_destinations, write_optional_view};
use crate::event::{Destination, MemberInfo, SendOptions, Service};
use crate::membership::Options;
use alloc::format;
use alloc::vec::Vec;
use core::net::{Ipv4Addr, SocketAddr};
use core::time::Duration;
use postfleet_types::{GroupName, NodeName, NodeType, PrivateName, Reader, ViewId, WireError, Writer};

/// A member to be started.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MemberSpec {
    /// Its node name.
    pub node: NodeName,
    /// What it is.
    pub node_type: NodeType,
    /// The process number in its private name.
    pub process: u32,
    /// Bus protocols it speaks.
    pub protocol: (u16, u16),
    /// Heartbeats a second.
    pub heartbeats_per_second: u16,
    /// Heartbeats in a row that may be missing.
    pub heartbeat_miss_limit: u16,
    /// From admission until heartbeats are expected.
    pub heartbeat_start_delay: Duration,
    /// Messages in the send queue.
    pub max_backlog: usize,
    /// Unread events.
    pub events_max: usize,
    /// From the loss of the engine to the next attempt.
    pub reconnect_interval: Duration,
    /// Groups it joins as soon as it connects, and again after every reconnection.
    pub groups: Vec<GroupName>,
    /// Send one message to this group before the first view, to see it refused.
    pub send_early: Option<GroupName>,
    /// It attaches and then does nothing until [`Command::Read`]: as if it had been stopped right after it attached, which
    /// nobody can do to a process at the right moment.
    pub mute: bool,
}

impl MemberSpec {
    /// A node with fast heartbeats: expected a second after admission, four a second, eight may be missing.
    ///
    /// # Panics
    /// When `node` is no node name.
    #[must_use]
    pub fn node(node: &str, process: u32, groups: &[&str]) -> Self {
        #[expect(clippy::unwrap_used, reason = "names are literals of tests")]
        let (node, groups) = (node.parse().unwrap(), groups.iter().map(|g| g.parse().unwrap()).collect());
        Self {
            node,
            node_type: NodeType::Node,
            process,
            protocol: (1, 1),
            heartbeats_per_second: 4,
            heartbeat_miss_limit: 8,
            heartbeat_start_delay: Duration::from_secs(1),
            max_backlog: 5000,
            events_max: 100_000,
            reconnect_interval: Duration::from_secs(1),
            groups,
            send_early: None,
            mute: false,
        }
    }

    /// The name of its connection.
    #[must_use]
    pub fn private_name(&self) -> PrivateName {
        match self.node_type {
            NodeType::Manager => PrivateName::manager(&self.node),
            NodeType::Node | NodeType::Other => PrivateName::main(&self.node, self.process),
        }
    }

    /// How long it may be silent.
    #[must_use]
    pub fn heartbeat_limit(&self) -> Duration {
        Duration::from_millis(
            u64::from(self.heartbeat_miss_limit) * 1000 / u64::from(self.heartbeats_per_second.max(1)),
        )
    }

    pub(super) fn info(&self) -> MemberInfo {
        let [_, b, c, d] = self.process.to_be_bytes();
        MemberInfo {
            private_name: self.private_name(),
            node_name: self.node.clone(),
            subcluster: default_subcluster(),
            node_type: self.node_type,
            version: format!("0.1.0 r({})", self.process),
            address: SocketAddr::from((Ipv4Addr::new(127, b, c, d), 4802)),
            protocol: self.protocol,
            options_digest: 0,
            heartbeats_per_second: self.heartbeats_per_second,
            heartbeat_miss_limit: self.heartbeat_miss_limit,
            boot_id: 1,
        }
    }

    pub(super) fn options(&self) -> Options {
        Options {
            max_backlog: self.max_backlog,
            heartbeat_start_delay: self.heartbeat_start_delay,
            events_max: self.events_max,
            ..Options::default()
        }
    }

    /// The wire form, for rigs whose members are processes.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut writer = Writer::new();
        writer.text(self.node.as_str()).u8(match self.node_type {
            NodeType::Node => 1,
            NodeType::Manager => 2,
            NodeType::Other => 3,
        });
        writer.u32(self.process).u16(self.protocol.0).u16(self.protocol.1);
        writer.u16(self.heartbeats_per_second).u16(self.heartbeat_miss_limit);
        writer.varint(millis(self.heartbeat_start_delay)).count(self.max_backlog).count(self.events_max);
        writer.varint(millis(self.reconnect_interval));
        let early = self.send_early.iter();
        write_groups(&mut writer, &self.groups);
        write_groups(&mut writer, &early.cloned().collect::<Vec<_>>());
        writer.u8(u8::from(self.mute));
        writer.finish()
    }

    /// Reads the wire form.
    ///
    /// # Errors
    /// When it is none.
    pub fn decode(bytes: &[u8]) -> Result<Self, WireError> {
        let mut reader = Reader::new(bytes);
        let node = reader.text()?.parse().map_err(|_| reader.invalid("node"))?;
        let node_type = match reader.u8()? {
            1 => NodeType::Node,
            2 => NodeType::Manager,
            3 => NodeType::Other,
            _ => return Err(reader.invalid("node type")),
        };
        let spec = Self {
            node,
            node_type,
            process: reader.u32()?,
            protocol: (reader.u16()?, reader.u16()?),
            heartbeats_per_second: reader.u16()?,
            heartbeat_miss_limit: reader.u16()?,
            heartbeat_start_delay: Duration::from_millis(reader.varint()?),
            max_backlog: read_size(&mut reader)?,
            events_max: read_size(&mut reader)?,
            reconnect_interval: Duration::from_millis(reader.varint()?),
            groups: read_groups(&mut reader)?,
            send_early: read_groups(&mut reader)?.pop(),
            mute: reader.u8()? != 0,
        };
        reader.finish()?;
        Ok(spec)
    }
}

#[expect(clippy::unwrap_used, reason = "the literal is a subcluster name")]
fn default_subcluster() -> postfleet_types::SubclusterName {
    "default".parse().unwrap()
}

/// Numbered messages to be sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Burst {
    /// Where to.
    pub to: Vec<Destination>,
    /// The number of the first message; numbers must be unique for a member.
    pub first: u64,
    /// How many.
    pub count: u64,
    /// Bytes of each payload, at least 8.
    pub bytes: usize,
    /// From one message to the next; zero is as fast as the queue takes them.
    pub interval: Duration,
    /// Options of every message.
    pub options: SendOptions,
}

impl Burst {
    /// Small messages to a group, as fast as possible.
    ///
    /// # Panics
    /// When `group` is no group name.
    #[must_use]
    #[expect(clippy::unwrap_used, reason = "names are literals of tests")]
    pub fn to_group(group: &str, first: u64, count: u64) -> Self {
        Self {
            to: alloc::vec![Destination::Group(group.parse().unwrap())],
            first,
            count,
            bytes: 32,
            interval: Duration::ZERO,
            options: SendOptions::default(),
        }
    }
}

/// What a member is to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Command {
    /// Join a group now and after every reconnection.
    Join(GroupName),
    /// Leave it.
    Leave(GroupName),
    /// Send messages. Several bursts are sent one after the other.
    Send(Burst),
    /// Forget the bursts that are under way.
    Quiet,
    /// Leave in an orderly way and stay away.
    Disconnect,
    /// Connect after [`Command::Disconnect`].
    Connect,
    /// Leave and connect again (`cluster reset`).
    Reset,
    /// Read events, or leave them unread.
    Read(bool),
    /// Record the counters.
    Figures,
}

impl Command {
    /// The wire form, for rigs whose members are processes.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut writer = Writer::new();
        match self {
            Self::Join(group) => {
                writer.u8(1).text(group.as_str());
            }
            Self::Leave(group) => {
                writer.u8(2).text(group.as_str());
            }
            Self::Send(burst) => {
                writer.u8(3);
                write_destinations(&mut writer, &burst.to);
                writer.varint(burst.first).varint(burst.count).count(burst.bytes);
                writer.varint(u64::try_from(burst.interval.as_micros()).unwrap_or(u64::MAX));
                writer.u8(u8::from(burst.options.service == Service::Safe));
                writer.u8(u8::from(burst.options.managers_only));
                write_optional_view(&mut writer, burst.options.only_in);
            }
            Self::Quiet => {
                writer.u8(4);
            }
            Self::Disconnect => {
                writer.u8(5);
            }
            Self::Connect => {
                writer.u8(6);
            }
            Self::Reset => {
                writer.u8(7);
            }
            Self::Read(reads) => {
                writer.u8(8).u8(u8::from(*reads));
            }
            Self::Figures => {
                writer.u8(9);
            }
        }
        writer.finish()
    }

    /// Reads the wire form.
    ///
    /// # Errors
    /// When it is none.
    pub fn decode(bytes: &[u8]) -> Result<Self, WireError> {
        let mut reader = Reader::new(bytes);
        let command = match reader.u8()? {
            1 => Self::Join(reader.text()?.parse().map_err(|_| reader.invalid("group"))?),
            2 => Self::Leave(reader.text()?.parse().map_err(|_| reader.invalid("group"))?),
            3 => Self::Send(Burst {
                to: read_destinations(&mut reader)?,
                first: reader.varint()?,
                count: reader.varint()?,
                bytes: read_size(&mut reader)?,
                interval: Duration::from_micros(reader.varint()?),
                options: SendOptions {
                    service: if reader.u8()? == 1 { Service::Safe } else { Service::Agreed },
                    managers_only: reader.u8()? == 1,
                    only_in: read_optional_view(&mut reader)?,
                },
            }),
            4 => Self::Quiet,
            5 => Self::Disconnect,
            6 => Self::Connect,
            7 => Self::Reset,
            8 => Self::Read(reader.u8()? == 1),
            9 => Self::Figures,
            _ => return Err(reader.invalid("command")),
        };
        reader.finish()?;
        Ok(command)
    }

    /// A burst bound to a view.
    #[must_use]
    pub fn send_in(view: ViewId, mut burst: Burst) -> Self {
        burst.options.only_in = Some(view);
        Self::Send(burst)
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

fn read_size(reader: &mut Reader<'_>) -> Result<usize, WireError> {
    usize::try_from(reader.varint()?).map_err(|_| reader.invalid("size"))
}

fn write_groups(writer: &mut Writer, groups: &[GroupName]) {
    writer.count(groups.len());
    for group in groups {
        writer.text(group.as_str());
    }
}

fn read_groups(reader: &mut Reader<'_>) -> Result<Vec<GroupName>, WireError> {
    let count = reader.count(2)?;
    (0..count).map(|_| reader.text()?.parse().map_err(|_| reader.invalid("group"))).collect()
}
