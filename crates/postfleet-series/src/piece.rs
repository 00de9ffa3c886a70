//! Reading a large series piece by piece, so that whoever holds a lock on it holds it briefly.

use alloc::boxed::Box;
use core::net::IpAddr;

use crate::series::Key;

/// A key that is kept.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum OwnedKey {
    /// An address.
    Address(IpAddr),
    /// A text.
    Text(Box<str>),
}

impl OwnedKey {
    /// The key.
    #[must_use]
    pub fn key(&self) -> Key<'_> {
        match self {
            Self::Address(address) => Key::Address(*address),
            Self::Text(text) => Key::Text(text),
        }
    }
}

impl From<Key<'_>> for OwnedKey {
    fn from(key: Key<'_>) -> Self {
        match key {
            Key::Address(address) => Self::Address(address),
            Key::Text(text) => Self::Text(text.into()),
        }
    }
}

/// Where reading goes on. Begins with the oldest window.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Place {
    /// The window, by its number since the epoch.
    pub(crate) window: u64,
    /// The last key of it that was read.
    pub(crate) after: Option<OwnedKey>,
}
