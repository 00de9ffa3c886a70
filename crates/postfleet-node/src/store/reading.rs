//! A message on its way out of the spool.

use super::{Store, chain};
use postfleet_spool::{Message, MessageId, ReadError, Stored};
use std::fs::File;
use std::sync::Arc;

const CHUNK_OCTETS: usize = 64 << 10;

/// An open message whose checksums were right.
pub(crate) struct Reading {
    message: Message<File>,
    eight_bit_header: bool,
    eight_bit_body: bool,
}

impl Reading {
    pub(crate) const fn stored(&self) -> &Stored {
        self.message.stored()
    }

    /// Octets above 127 stand in the header section.
    pub(crate) const fn eight_bit_header(&self) -> bool {
        self.eight_bit_header
    }

    /// Octets above 127 stand in the body.
    pub(crate) const fn eight_bit_body(&self) -> bool {
        self.eight_bit_body
    }
}

impl Store {
    /// Opens a message and compares its checksums. The error is a sentence.
    pub(crate) async fn open_message(self: &Arc<Self>, batch: MessageId) -> Result<Reading, String> {
        let store = Arc::clone(self);
        let opened = tokio::task::spawn_blocking(move || {
            let message = Message::open(&store.disk, batch)?;
            message.verify(&store.disk)?;
            let (eight_bit_header, eight_bit_body) = if message.stored().traits.eight_bit {
                eight_bits(&store, &message)?
            } else {
                (false, false)
            };
            Ok::<Reading, ReadError>(Reading { message, eight_bit_header, eight_bit_body })
        })
        .await;
        opened.map_err(|_| String::from("the node is stopping"))?.map_err(|error| chain(&error))
    }

    /// Reads a piece of the content; empty at the end. None when the node is stopping.
    pub(crate) async fn read(
        self: &Arc<Self>,
        reading: Reading,
        at: u64,
        octets: usize,
    ) -> Option<(Reading, Result<Vec<u8>, ReadError>)> {
        let store = Arc::clone(self);
        tokio::task::spawn_blocking(move || {
            let mut piece = vec![0; octets];
            let read = reading.message.read_content(&store.disk, at, &mut piece);
            let piece = read.map(|count| {
                piece.truncate(count);
                piece
            });
            (reading, piece)
        })
        .await
        .ok()
    }
}

/// Where octets above 127 are: in the header section, in the body.
fn eight_bits(store: &Store, message: &Message<File>) -> Result<(bool, bool), ReadError> {
    let mut chunk = vec![0; CHUNK_OCTETS];
    let (mut at, mut in_body, mut found) = (0, false, (false, false));
    // The last octets, to see the empty line that ends the header section.
    let mut tail = [b'\r', b'\n', 0, 0];
    loop {
        let count = message.read_content(&store.disk, at, &mut chunk)?;
        if count == 0 {
            return Ok(found);
        }
        at += count as u64;
        for octet in chunk.get(..count).unwrap_or_default() {
            if *octet > 127 {
                if in_body {
                    found.1 = true;
                } else {
                    found.0 = true;
                }
            }
            if !in_body {
                tail = [tail[1], tail[2], tail[3], *octet];
                in_body = tail == *b"\r\n\r\n";
            }
        }
        if found.1 {
            return Ok(found);
        }
    }
}
