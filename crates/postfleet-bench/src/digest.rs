//! Digests of what the workloads result in: small, without times and peers, so that a test can hold them and no row
//! rots.

use crate::rows::ROWS;
use anyhow::{Context, Result};

/// FNV-1a over numbers.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Digest(u64);

impl Default for Digest {
    fn default() -> Self {
        Self(0xcbf2_9ce4_8422_2325)
    }
}

impl Digest {
    pub(crate) fn add(&mut self, number: u64) {
        for byte in number.to_le_bytes() {
            self.0 = (self.0 ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
        }
    }

    pub(crate) const fn value(self) -> u64 {
        self.0
    }
}

/// Prints that of every row.
pub(crate) fn print_all() -> Result<()> {
    for row in ROWS {
        match row.digest {
            Some(digest) => {
                let value = digest().with_context(|| format!("row {}: {}", row.number, row.what))?;
                println!("{:2} {value:016x}", row.number);
            }
            None => println!("{:2} not built yet", row.number),
        }
    }
    Ok(())
}
