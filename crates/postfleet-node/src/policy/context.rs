//! The two dictionaries of a session that policy reads and writes.

use std::collections::BTreeMap;

/// Keys and values, in the order in which keys were first set.
pub(crate) type Pairs<'a> = Vec<(&'a str, &'a str)>;

/// Keys and values of one dictionary, in bytes. A script that sets more is told in the log, and the key is not set.
const BYTES_MAX: usize = 256 * 1024;

/// Text by text.
#[derive(Clone, Debug, Default)]
pub(crate) struct Dictionary {
    /// The value, and which key of all it was when it was first set.
    pairs: BTreeMap<String, (u64, String)>,
    bytes: usize,
    next: u64,
}

impl Dictionary {
    /// The value of a key.
    pub(crate) fn value(&self, key: &str) -> Option<&str> {
        self.pairs.get(key).map(|(_, value)| value.as_str())
    }

    /// Sets a key; `false` when there is no more room.
    pub(crate) fn set(&mut self, key: &str, value: &str) -> bool {
        let place = self.pairs.get(key).map(|(place, _)| *place);
        self.remove(key);
        let bytes = self.bytes.saturating_add(key.len()).saturating_add(value.len());
        if bytes > BYTES_MAX {
            return false;
        }
        self.bytes = bytes;
        let place = place.unwrap_or_else(|| {
            self.next = self.next.saturating_add(1);
            self.next
        });
        self.pairs.insert(key.to_owned(), (place, value.to_owned()));
        true
    }

    pub(crate) fn remove(&mut self, key: &str) {
        if let Some((_, value)) = self.pairs.remove(key) {
            self.bytes = self.bytes.saturating_sub(key.len() + value.len());
        }
    }

    /// All pairs, in the order in which keys were first set.
    pub(crate) fn in_order(&self) -> Pairs<'_> {
        let mut pairs: Vec<_> = self.pairs.iter().collect();
        pairs.sort_by_key(|(_, (place, _))| *place);
        pairs.into_iter().map(|(key, (_, value))| (key.as_str(), value.as_str())).collect()
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
        assert!(dictionary.set("0", "2") && dictionary.set("b", "3"));
        assert_eq!(dictionary.in_order(), [("b", "3"), ("0", "2")]);
        dictionary.clear();
        assert_eq!((dictionary.value("b"), dictionary.bytes), (None, 0));
    }
}
