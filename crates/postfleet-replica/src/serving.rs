//! The origin's side of a fetch: chunks of a cut, point to point, at a bounded pace.

use crate::frames::{Frame, Refusal, Request, read_frame, write_frame};
use crate::replica::Replica;
use crate::wire::{DIGEST_START, digest};
use alloc::collections::VecDeque;
use alloc::vec::Vec;
use bytes::Bytes;
use core::time::Duration;
use postfleet_types::{Monotonic, PrivateName};

/// What one fetch may send a second, in bytes. A million IPv4 keys (4 MB) take a quarter of a second; four fetches,
/// as many as a node serves at a time, stay below half of a gigabit link.
const BYTES_PER_SECOND: u64 = 16 * 1024 * 1024;

/// What may leave at once after a pause, in bytes.
const BURST_BYTES: u64 = 512 * 1024;

/// One fetch that is served. It holds what it needs, so it neither touches the [`Replica`] again nor ends with the
/// view: only with its connection.
#[derive(Debug)]
pub struct Serving {
    member: PrivateName,
    chunks: VecDeque<(usize, usize, Bytes)>,
    ended: bool,
    /// When everything sent so far is covered by the pace.
    covered: Monotonic,
}

/// What a [`Serving`] wants to be done next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Served {
    /// Write these bytes, then poll again.
    Frame(Bytes),
    /// Poll again then.
    Later(Monotonic),
    /// Everything has been sent: wait until the peer closes the connection, or close it.
    Done,
}

impl Serving {
    /// Whom it serves.
    #[must_use]
    pub const fn member(&self) -> &PrivateName {
        &self.member
    }

    /// The next step. Changed by time, and by every call.
    pub fn poll(&mut self, now: Monotonic) -> Served {
        let burst = Duration::from_micros(BURST_BYTES * 1_000_000 / BYTES_PER_SECOND);
        if self.covered > now + burst {
            return Served::Later(self.covered - burst);
        }
        match self.chunks.pop_front() {
            Some((object, index, body)) => {
                let digest = digest(DIGEST_START, &body);
                let frame = write_frame(&Frame::Chunk { object, index, digest, body: &body });
                let micros = (frame.len() as u64).saturating_mul(1_000_000) / BYTES_PER_SECOND;
                self.covered = self.covered.max(now) + Duration::from_micros(micros);
                Served::Frame(frame)
            }
            None if !self.ended => {
                self.ended = true;
                Served::Frame(write_frame(&Frame::End))
            }
            None => Served::Done,
        }
    }
}

/// A frame for a peer whose fetch has to wait for others: without one for five seconds it would give up.
#[must_use]
pub fn wait_frame() -> Bytes {
    write_frame(&Frame::Wait)
}

/// A frame for a peer that cannot be served because this node is stopping or not a member.
#[must_use]
pub fn refusal_frame() -> Bytes {
    write_frame(&Frame::Refused(Some(Refusal::NotNow)))
}

impl Replica {
    /// Takes the first frame of a fetch: what a member wants of a cut of the own columns.
    ///
    /// # Errors
    /// A frame that says why not, to be written before the connection is closed. Nothing has changed.
    pub fn serve(&mut self, now: Monotonic, request: &[u8]) -> Result<Serving, Bytes> {
        let refused = |refusal| Err(write_frame(&Frame::Refused(Some(refusal))));
        let Ok(Frame::Request(Request { member, session, objects })) = read_frame(request) else {
            self.counters.malformed += 1;
            return refused(Refusal::Malformed);
        };
        let Some(session) = self.sessions.iter_mut().find(|held| held.id == session) else {
            return refused(Refusal::NoSuchCut);
        };
        // Only whom the marker was for knows what its chunks continue.
        if !session.unanswered.contains(&member) {
            return refused(Refusal::NoSuchCut);
        }
        let mut chunks = VecDeque::new();
        for (at, object) in session.objects.iter().enumerate() {
            let Some((_, first)) = objects.iter().find(|(name, _)| *name == object.name) else { continue };
            let missing: Vec<_> = object.chunks.iter().cloned().enumerate().skip(*first).collect();
            chunks.extend(missing.into_iter().map(|(index, body)| (at, index, body)));
        }
        session.fetching.insert(member.clone());
        self.counters.fetches_served += 1;
        self.counters.fetch_chunks_served += chunks.len() as u64;
        self.counters.fetch_bytes_served +=
            chunks.iter().map(|(_, _, body): &(usize, usize, Bytes)| body.len() as u64).sum::<u64>();
        Ok(Serving { member, chunks, ended: false, covered: now })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_pace_is_kept_and_everything_comes_in_order() {
        let body = Bytes::from(alloc::vec![7; 32 * 1024]);
        let chunks = (0..256).map(|index| (3, index, body.clone())).collect();
        let member = "#ec1-00042#mx1".parse().unwrap();
        let start = Monotonic::from_millis(1000);
        let mut serving = Serving { member, chunks, ended: false, covered: start };
        let (mut now, mut bytes, mut at_once, mut index) = (start, 0, 0, 0);
        loop {
            match serving.poll(now) {
                Served::Frame(frame) => {
                    bytes += frame.len() as u64;
                    let read = read_frame(&frame[4..]).unwrap();
                    if let Frame::Chunk { object: 3, index: this, digest: told, body } = read {
                        assert_eq!((this, told), (index, digest(DIGEST_START, body)));
                        index += 1;
                    } else {
                        assert_eq!((read, index), (Frame::End, 256));
                    }
                }
                Served::Later(until) => {
                    assert!(until > now);
                    at_once = if at_once == 0 { bytes } else { at_once };
                    now = until;
                }
                Served::Done => break,
            }
        }
        assert!((BURST_BYTES..BURST_BYTES + 70_000).contains(&at_once), "{at_once} bytes at once");
        let seconds = now.since(start).as_secs_f64();
        assert!((0.45..0.55).contains(&seconds), "8 MiB in {seconds} s");
    }
}
