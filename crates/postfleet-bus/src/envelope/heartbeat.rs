//! HEARTBEAT: a sign of life of the sender's event loop.

use postfleet_types::{Reader, WallTime, WireError, Writer};

/// How busy a member is, for displays.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Load {
    /// Messages in its mail queue.
    pub queue: u64,
    /// Open connections.
    pub connections: u64,
}

/// A heartbeat.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Heartbeat {
    /// 1, 2, 3 … for each connection.
    pub number: u64,
    /// Counter of the sender's installed view.
    pub view: u64,
    /// The sender's load.
    pub load: Load,
    /// The sender's wall clock when it was sent.
    pub wall: WallTime,
    /// Digest of the options that must agree, as they are now; what a member announces is as old as the last view that
    /// somebody joined in. Absent from older senders.
    pub options_digest: Option<u64>,
}

impl Heartbeat {
    pub(super) fn encode(&self, writer: &mut Writer) {
        writer.u64(self.number).u64(self.view).u64(self.load.queue).u64(self.load.connections);
        writer.u64(self.wall.unix_millis());
        if let Some(digest) = self.options_digest {
            writer.u64(digest);
        }
    }

    pub(super) fn decode(reader: &mut Reader<'_>) -> Result<Self, WireError> {
        Ok(Self {
            number: reader.u64()?,
            view: reader.u64()?,
            load: Load { queue: reader.u64()?, connections: reader.u64()? },
            wall: WallTime::from_unix_millis(reader.u64()?),
            options_digest: reader.u64().ok(),
        })
    }
}
