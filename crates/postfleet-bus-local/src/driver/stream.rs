//! A non-blocking Unix stream with what was read of it and what waits to be written.

use crate::frame::{self, FrameError};
use bytes::Bytes;
use std::collections::VecDeque;
use std::io::{self, IoSlice, Read, Write};
use std::net::Shutdown;
use std::os::unix::net::UnixStream;
use std::sync::Arc;

const READ_BYTES: usize = 128 << 10;
const SLICES: usize = 64;

/// What an attempt to read came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Reading {
    /// Something came, and there may be more.
    More,
    /// Nothing more is readable for now.
    Dry,
    /// The stream has ended; what was read before still counts.
    Ended,
}

#[derive(Debug)]
pub(super) struct Connection {
    /// Shared with the poll loop, which waits without holding the engine.
    pub(super) stream: Arc<UnixStream>,
    input: Vec<u8>,
    /// Where the bytes that were read begin and end in `input`.
    start: usize,
    end: usize,
    output: VecDeque<Bytes>,
    /// How much of the first of `output` has been taken.
    taken: usize,
    accepted: u64,
    /// Close when `output` is empty.
    pub(super) closing: bool,
    pub(super) broken: bool,
}

impl Connection {
    pub(super) fn new(stream: UnixStream) -> io::Result<Self> {
        stream.set_nonblocking(true)?;
        Ok(Self {
            stream: Arc::new(stream),
            input: Vec::new(),
            start: 0,
            end: 0,
            output: VecDeque::new(),
            taken: 0,
            accepted: 0,
            closing: false,
            broken: false,
        })
    }

    /// Bytes the socket has taken in all.
    pub(super) const fn accepted(&self) -> u64 {
        self.accepted
    }

    pub(super) fn wants_output(&self) -> bool {
        !self.output.is_empty() && !self.broken
    }

    pub(super) fn push(&mut self, bytes: Bytes) {
        if !bytes.is_empty() && !self.broken {
            self.output.push_back(bytes);
        }
    }

    /// Forgets what the socket has not taken.
    pub(super) fn withdraw(&mut self) {
        self.output.clear();
        self.taken = 0;
    }

    /// Writes what the socket takes. Returns whether it took anything.
    pub(super) fn flush(&mut self) -> bool {
        let before = self.accepted;
        while self.wants_output() {
            let mut slices = [IoSlice::new(&[]); SLICES];
            let mut offered = 0;
            let mut count = 0;
            for (slice, bytes) in slices.iter_mut().zip(&self.output) {
                let bytes = if count == 0 { bytes.get(self.taken..).unwrap_or_default() } else { bytes };
                offered += bytes.len();
                count += 1;
                *slice = IoSlice::new(bytes);
            }
            match (&*self.stream).write_vectored(slices.get(..count).unwrap_or_default()) {
                Ok(written) => {
                    self.wrote(written);
                    if written < offered {
                        break;
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(_) => {
                    self.broken = true;
                    self.withdraw();
                }
            }
        }
        self.accepted > before
    }

    fn wrote(&mut self, written: usize) {
        self.accepted += u64::try_from(written).unwrap_or(0);
        self.taken += written;
        while let Some(first) = self.output.pop_front_if(|first| first.len() <= self.taken) {
            self.taken -= first.len();
        }
    }

    /// Reads once.
    pub(super) fn fill(&mut self) -> Reading {
        if self.start > 0 {
            self.input.copy_within(self.start..self.end, 0);
            self.end -= self.start;
            self.start = 0;
        }
        let held = self.input.get(..self.end).unwrap_or_default();
        let wanted = frame::expected(held).max(READ_BYTES).max(self.end + 1);
        if self.input.len() < wanted {
            self.input.resize(wanted, 0);
        } else if self.input.len() > 2 * READ_BYTES && wanted <= READ_BYTES {
            self.input.truncate(READ_BYTES);
            self.input.shrink_to_fit();
        }
        let space = self.input.get_mut(self.end..).unwrap_or_default();
        let room = space.len();
        loop {
            return match (&*self.stream).read(space) {
                Ok(0) => Reading::Ended,
                Ok(read) => {
                    self.end += read;
                    if read < room { Reading::Dry } else { Reading::More }
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => Reading::Dry,
                Err(_) => Reading::Ended,
            };
        }
    }

    /// The next whole frame, decoded by `decode`.
    pub(super) fn next_frame<T>(
        &mut self,
        decode: impl Fn(u8, &[u8]) -> Result<T, FrameError>,
    ) -> Result<Option<T>, FrameError> {
        let held = self.input.get(self.start..self.end).unwrap_or_default();
        let Some((kind, body, taken)) = frame::split(held)? else { return Ok(None) };
        let frame = decode(kind, body)?;
        self.start += taken;
        Ok(Some(frame))
    }

    /// From here on the other side cannot write any more; what it wrote before can still be read.
    pub(super) fn shut_reading(&self) {
        // Fails only when the other side is gone already, which is as good.
        drop(self.stream.shutdown(Shutdown::Read));
    }
}
