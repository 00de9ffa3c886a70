//! Reading and writing of big-endian wire forms. Nothing here trusts a length before it has been checked.

use alloc::vec::Vec;

/// Why bytes from outside could not be read. The peer (or the disk) is at fault; nothing has changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum WireError {
    /// The input ended in the middle of a field.
    #[error("the input ends at byte {at}, {missing} bytes short")]
    Truncated {
        /// Where the field began.
        at: usize,
        /// How many bytes it lacked.
        missing: usize,
    },
    /// A field holds a value that its type does not allow.
    #[error("the field `{field}` before byte {at} has a value that is not allowed")]
    Invalid {
        /// The field's name.
        field: &'static str,
        /// Where the field ended.
        at: usize,
    },
    /// Bytes are left over behind the last field.
    #[error("{count} bytes follow the last field")]
    Trailing {
        /// How many.
        count: usize,
    },
}

/// Takes fields from the front of a byte slice.
#[derive(Clone, Debug)]
pub struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
}

macro_rules! read_int {
    ($($name:ident: $int:ty),*) => {$(
        /// Reads a big-endian integer.
        ///
        /// # Errors
        /// [`WireError::Truncated`].
        pub fn $name(&mut self) -> Result<$int, WireError> {
            Ok(<$int>::from_be_bytes(self.array()?))
        }
    )*};
}

impl<'a> Reader<'a> {
    /// Starts at the first byte.
    #[must_use]
    pub const fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, at: 0 }
    }

    /// The number of bytes taken so far.
    #[must_use]
    pub const fn position(&self) -> usize {
        self.at
    }

    /// The bytes not yet taken.
    #[must_use]
    pub fn rest(&self) -> &'a [u8] {
        self.bytes.get(self.at..).unwrap_or_default()
    }

    /// Takes the next `count` bytes.
    ///
    /// # Errors
    /// [`WireError::Truncated`].
    pub fn take(&mut self, count: usize) -> Result<&'a [u8], WireError> {
        let rest = self.rest();
        let taken = rest
            .get(..count)
            .ok_or(WireError::Truncated { at: self.at, missing: count.saturating_sub(rest.len()) })?;
        self.at += count;
        Ok(taken)
    }

    /// Takes an array of fixed size.
    ///
    /// # Errors
    /// [`WireError::Truncated`].
    pub fn array<const N: usize>(&mut self) -> Result<[u8; N], WireError> {
        let mut array = [0; N];
        array.copy_from_slice(self.take(N)?);
        Ok(array)
    }

    read_int!(u8: u8, u16: u16, u32: u32, u64: u64, u128: u128, i64: i64);

    /// Reads an unsigned LEB128 integer of at most ten bytes; only the shortest form is accepted.
    ///
    /// # Errors
    /// [`WireError::Truncated`], or [`WireError::Invalid`] for an over-long or overflowing form.
    pub fn varint(&mut self) -> Result<u64, WireError> {
        let mut value: u64 = 0;
        for shift in (0..70).step_by(7) {
            let byte = self.u8()?;
            let part = u64::from(byte & 0x7f);
            if shift == 63 && part > 1 || byte == 0 && shift > 0 {
                break;
            }
            value |= part << shift;
            if byte & 0x80 == 0 {
                return Ok(value);
            }
        }
        Err(self.invalid("varint"))
    }

    /// Reads a zig-zag LEB128 integer.
    ///
    /// # Errors
    /// As [`Reader::varint`].
    pub fn signed_varint(&mut self) -> Result<i64, WireError> {
        let value = self.varint()?;
        Ok((value >> 1).cast_signed() ^ -(value & 1).cast_signed())
    }

    /// Reads a varint that counts things of at least `size_min` bytes each, so that a false count cannot make
    /// the caller reserve more memory than the input could fill.
    ///
    /// # Errors
    /// As [`Reader::varint`], or [`WireError::Invalid`] when the rest of the input is too short for so many.
    pub fn count(&mut self, size_min: usize) -> Result<usize, WireError> {
        let count = usize::try_from(self.varint()?).map_err(|_| self.invalid("count"))?;
        match count.checked_mul(size_min) {
            Some(size) if size <= self.rest().len() => Ok(count),
            Some(_) | None => Err(self.invalid("count")),
        }
    }

    /// Reads a varint length and that many bytes.
    ///
    /// # Errors
    /// As [`Reader::varint`].
    pub fn bytes(&mut self) -> Result<&'a [u8], WireError> {
        let length = self.count(1)?;
        self.take(length)
    }

    /// Reads a varint length and that many bytes of UTF-8.
    ///
    /// # Errors
    /// As [`Reader::bytes`], or [`WireError::Invalid`].
    pub fn text(&mut self) -> Result<&'a str, WireError> {
        let bytes = self.bytes()?;
        core::str::from_utf8(bytes).map_err(|_| self.invalid("text"))
    }

    /// The error for a value that was read whole but is not allowed.
    #[must_use]
    pub const fn invalid(&self, field: &'static str) -> WireError {
        WireError::Invalid { field, at: self.at }
    }

    /// Demands that nothing is left.
    ///
    /// # Errors
    /// [`WireError::Trailing`].
    pub fn finish(&self) -> Result<(), WireError> {
        match self.rest().len() {
            0 => Ok(()),
            count => Err(WireError::Trailing { count }),
        }
    }
}

/// Appends fields to a byte vector.
#[derive(Clone, Debug, Default)]
pub struct Writer(Vec<u8>);

macro_rules! write_int {
    ($($name:ident: $int:ty),*) => {$(
        /// Appends a big-endian integer.
        pub fn $name(&mut self, value: $int) -> &mut Self {
            self.0.extend_from_slice(&value.to_be_bytes());
            self
        }
    )*};
}

impl Writer {
    /// Starts empty.
    #[must_use]
    pub const fn new() -> Self {
        Self(Vec::new())
    }

    /// Bytes written so far.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether nothing was written.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    write_int!(u8: u8, u16: u16, u32: u32, u64: u64, u128: u128, i64: i64);

    /// Appends raw bytes.
    pub fn raw(&mut self, bytes: &[u8]) -> &mut Self {
        self.0.extend_from_slice(bytes);
        self
    }

    /// Appends an unsigned LEB128 integer.
    pub fn varint(&mut self, mut value: u64) -> &mut Self {
        while value >= 0x80 {
            self.0.push(value.to_le_bytes()[0] | 0x80);
            value >>= 7;
        }
        self.0.push(value.to_le_bytes()[0]);
        self
    }

    /// Appends a zig-zag LEB128 integer.
    pub fn signed_varint(&mut self, value: i64) -> &mut Self {
        self.varint(((value << 1) ^ (value >> 63)).cast_unsigned())
    }

    /// Appends a count as a varint.
    pub fn count(&mut self, count: usize) -> &mut Self {
        self.varint(u64::try_from(count).unwrap_or(u64::MAX))
    }

    /// Appends a varint length and the bytes.
    pub fn bytes(&mut self, bytes: &[u8]) -> &mut Self {
        self.count(bytes.len()).raw(bytes)
    }

    /// Appends a varint length and the text.
    pub fn text(&mut self, text: &str) -> &mut Self {
        self.bytes(text.as_bytes())
    }

    /// The bytes.
    #[must_use]
    pub fn finish(self) -> Vec<u8> {
        self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn what_is_written_is_read(a: u64, b: i64, c: Vec<u8>, d: String, e: u16) {
            let mut writer = Writer::new();
            writer.varint(a).signed_varint(b).bytes(&c).text(&d).u16(e);
            let bytes = writer.finish();
            let mut reader = Reader::new(&bytes);
            prop_assert_eq!(reader.varint(), Ok(a));
            prop_assert_eq!(reader.signed_varint(), Ok(b));
            prop_assert_eq!(reader.bytes(), Ok(&c[..]));
            prop_assert_eq!(reader.text(), Ok(&d[..]));
            prop_assert_eq!(reader.u16(), Ok(e));
            prop_assert_eq!(reader.finish(), Ok(()));
        }

        #[test]
        fn any_bytes_are_read_or_refused(bytes: Vec<u8>) {
            let mut reader = Reader::new(&bytes);
            while reader.varint().is_ok() && reader.bytes().is_ok() && reader.signed_varint().is_ok() {}
        }
    }

    #[test]
    fn long_forms_of_a_varint_are_refused() {
        assert!(Reader::new(&[0x80, 0x00]).varint().is_err());
        assert!(Reader::new(&[0xff; 10]).varint().is_err());
        assert_eq!(Reader::new(&[0x00]).varint(), Ok(0));
    }

    #[test]
    fn a_false_count_reserves_nothing() {
        assert!(Reader::new(&[0xff, 0xff, 0x7f, 1, 2]).count(1).is_err());
    }
}
