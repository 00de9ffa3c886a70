//! The service `state`: columns that a marker announced, for members that fetch them.

use super::channel::Channel;
use crate::clock;
use crate::fleet::Fleet;
use bytes::Bytes;
use postfleet_replica::{FrameLengthError, Served, Serving, frame_length, refusal_frame, wait_frame};
use postfleet_types::PrivateName;
use std::io;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt};
use tokio::sync::Semaphore;
use tokio::time::{sleep, timeout};

/// Fetches that are served at a time; others wait. Their pace times four is what a node sends at most.
const SERVED_MAX: usize = 4;

/// Fetches that may wait. A fleet has no more members; above it peers are told that the node is busy.
const WAITING_MAX: usize = 128;

/// How often one that waits is told that it is not forgotten.
const WAIT_INTERVAL: Duration = Duration::from_secs(1);

/// How long the peer may take to send its request, to read a frame, or to close.
const PEER_PATIENCE: Duration = Duration::from_secs(10);

/// What is written at a time without waiting for the peer, in bytes. Listeners have small buffers by default.
const SEND_BUFFER_BYTES: usize = 256 * 1024;

/// Who is served, and who waits.
pub(crate) struct Turns {
    served: Semaphore,
    held: Semaphore,
}

impl Default for Turns {
    fn default() -> Self {
        Self { served: Semaphore::new(SERVED_MAX), held: Semaphore::new(SERVED_MAX + WAITING_MAX) }
    }
}

impl Turns {
    pub(crate) fn all_taken(&self) -> bool {
        self.held.available_permits() == 0
    }
}

/// Serves one fetch.
pub(super) async fn serve(fleet: &Arc<Fleet>, mut channel: Channel, client: &PrivateName) -> io::Result<()> {
    let turns = &fleet.turns;
    let Ok(_held) = turns.held.try_acquire() else {
        return channel.write_all(&refusal_frame()).await;
    };
    channel.socket().want_send_buffer(SEND_BUFFER_BYTES);
    let request = timeout(PEER_PATIENCE, read_frame(&mut channel)).await??;
    let mut serving = match fleet.serve(clock::monotonic(), &request) {
        // The name that was admitted is the main connection's; the node's name is what a proof covers.
        Ok(serving) if serving.member().node() == client.node() => serving,
        Ok(_) => return channel.write_all(&refusal_frame()).await,
        Err(refusal) => return channel.write_all(&refusal).await,
    };
    let turn = loop {
        match timeout(WAIT_INTERVAL, turns.served.acquire()).await {
            Ok(turn) => break turn,
            Err(_) => write(&mut channel, &wait_frame()).await?,
        }
    };
    pour(&mut channel, &mut serving).await?;
    drop(turn);
    channel.flush().await?;
    // The peer closes when it has taken everything.
    let mut byte = [0];
    let _closed = timeout(PEER_PATIENCE, channel.read(&mut byte)).await;
    Ok(())
}

async fn pour(channel: &mut Channel, serving: &mut Serving) -> io::Result<()> {
    loop {
        match serving.poll(clock::monotonic()) {
            Served::Frame(frame) => write(channel, &frame).await?,
            Served::Later(until) => {
                channel.flush().await?;
                sleep(until.since(clock::monotonic())).await;
            }
            Served::Done => return channel.flush().await,
        }
    }
}

async fn write(channel: &mut Channel, frame: &[u8]) -> io::Result<()> {
    timeout(PEER_PATIENCE, channel.write_all(frame)).await?
}

/// One frame, without its length.
pub(crate) async fn read_frame(stream: &mut (impl AsyncRead + Unpin)) -> io::Result<Bytes> {
    let mut length = [0; 4];
    stream.read_exact(&mut length).await?;
    let wrong = |error: FrameLengthError| io::Error::new(io::ErrorKind::InvalidData, error.to_string());
    let mut content = vec![0; frame_length(length).map_err(wrong)?];
    stream.read_exact(&mut content).await?;
    Ok(content.into())
}
