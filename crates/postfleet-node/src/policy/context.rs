//! The two dictionaries of a session that policy reads and writes.

use std::collections::BTreeMap;

/// Keys and values of one dictionary, in bytes. A script that sets more is told in the log, and the key is not set.
const BYTES_MAX: usize = 256 * 1024;

/// Text by text.
#[derive(Clone, Debug, Default)]
pub(crate) struct Dictionary {
    pairs: BTreeMap<String, String>,
    bytes: usize,
}

impl Dictionary {
    /// The value of a key.
    pub(crate) fn value(&self, key: &str) -> Option<&str> {
        self.pairs.get(key).map(String::as_str)
    }

    /// Sets a key; `false` when there is no more room.
    pub(crate) fn set(&mut self, key: &str, value: &str) -> bool {
        self.remove(key);
        let bytes = self.bytes.saturating_add(key.len()).saturating_add(value.len());
        if bytes > BYTES_MAX {
            return false;
        }
        self.bytes = bytes;
        self.pairs.insert(key.to_owned(), value.to_owned());
        true
    }

    pub(crate) fn remove(&mut self, key: &str) {
        if let Some(value) = self.pairs.remove(key) {
            self.bytes = self.bytes.saturating_sub(key.len() + value.len());
        }
    }

    pub(crate) fn clear(&mut self) {
        *self = Self::default();
    }

    /// Whether a key has the value `true`.
    pub(crate) fn is_true(&self, key: &str) -> bool {
        self.value(key) == Some("true")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_dictionary_has_a_bound_and_room_comes_back() {
        let mut dictionary = Dictionary::default();
        assert!(dictionary.set("a", &"x".repeat(BYTES_MAX - 1)));
        assert!(!dictionary.set("b", ""));
        assert!(dictionary.set("a", "true") && dictionary.is_true("a"));
        assert!(dictionary.set("b", "1"));
        dictionary.remove("a");
        assert_eq!((dictionary.value("a"), dictionary.value("b"), dictionary.bytes), (None, Some("1"), 2));
        dictionary.clear();
        assert_eq!((dictionary.value("b"), dictionary.bytes), (None, 0));
    }
}
