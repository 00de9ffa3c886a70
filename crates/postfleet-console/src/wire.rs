//! What both ends of the control protocol share.

use alloc::vec::Vec;

/// Version in the greeting.
pub const PROTOCOL_VERSION: u32 = 1;

/// Longest command line, in bytes; from the protocol. A longer one ends the connection.
pub const COMMAND_BYTES_MAX: usize = 65_536;

/// Longest unit of output that a client accepts. Servers cut output at 32 KiB; the text of a failure is
/// one unit, and no failure comes near this.
pub const OUT_BYTES_MAX: usize = 1 << 20;

/// Units of output are this long at most, so that a cancel or a stop takes effect between them.
pub(crate) const OUT_BYTES: usize = 32 * 1024;

/// Longest line of the protocol itself. Greeting and headers are far shorter.
pub(crate) const HEADER_BYTES_MAX: usize = 1024;

/// Bytes received and not yet used.
#[derive(Debug, Default)]
pub(crate) struct Buffer {
    bytes: Vec<u8>,
    used: usize,
}

impl Buffer {
    pub(crate) fn push(&mut self, bytes: &[u8]) {
        // Moving the rest only when at least half is used keeps the cost of many small lines linear.
        if self.used * 2 >= self.bytes.len() {
            self.bytes.drain(..self.used);
            self.used = 0;
        }
        self.bytes.extend_from_slice(bytes);
    }

    pub(crate) fn unused(&self) -> &[u8] {
        self.bytes.get(self.used..).unwrap_or_default()
    }

    pub(crate) fn clear(&mut self) {
        *self = Self::default();
    }

    /// The next line without its LF and a CR before it, when all of it is here.
    pub(crate) fn line(&mut self) -> Option<Vec<u8>> {
        let end = self.unused().iter().position(|byte| *byte == b'\n')?;
        let mut line = self.take(end)?;
        self.used += 1;
        if line.last() == Some(&b'\r') {
            line.pop();
        }
        Some(line)
    }

    /// The next `count` bytes, when all of them are here.
    pub(crate) fn take(&mut self, count: usize) -> Option<Vec<u8>> {
        let taken = self.unused().get(..count)?.to_vec();
        self.used += count;
        Some(taken)
    }
}

/// A decimal number without sign.
pub(crate) fn number<N: core::str::FromStr>(text: &str) -> Option<N> {
    (!text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit())).then(|| text.parse().ok())?
}

/// The longest prefix of `text` of at most `limit` bytes that ends between characters.
pub(crate) fn cut(text: &str, limit: usize) -> &str {
    let mut end = limit.min(text.len());
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    text.get(..end).unwrap_or_default()
}
