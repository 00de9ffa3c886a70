//! Texts whose driver does not say how they are encoded.

use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;

use encoding_rs::Encoding;

/// `assume_charset`: how bytes are read that are no UTF-8.
///
/// Bytes that are UTF-8 are taken as such, whatever the option says: a text in another character set is almost never
/// UTF-8 by chance, and files of today are UTF-8 whatever an old configuration says.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Charset(&'static Encoding);

/// The name of a character set that is not known. The configuration is at fault.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("no character set is called '{0}'; use a name such as ISO-8859-1, windows-1252 or UTF-8")]
pub struct CharsetError(pub String);

impl FromStr for Charset {
    type Err = CharsetError;

    /// Takes the names of the WHATWG's list; `ISO-8859-1` and `US-ASCII` are windows-1252 there, which adds printable
    /// characters where they have control characters.
    fn from_str(name: &str) -> Result<Self, CharsetError> {
        Encoding::for_label(name.as_bytes()).map(Self).ok_or_else(|| CharsetError(name.into()))
    }
}

impl Default for Charset {
    fn default() -> Self {
        Self(encoding_rs::WINDOWS_1252)
    }
}

impl Charset {
    /// The text of those bytes. What has no meaning in the character set becomes U+FFFD.
    #[must_use]
    pub fn decode(self, bytes: &[u8]) -> String {
        match std::str::from_utf8(bytes) {
            Ok(text) => text.to_owned(),
            Err(_) => match self.0.decode_without_bom_handling(bytes).0 {
                Cow::Borrowed(text) => text.to_owned(),
                Cow::Owned(text) => text,
            },
        }
    }
}

impl fmt::Debug for Charset {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn utf_8_stays_and_the_rest_is_read_as_configured() {
        let latin: Charset = "iso-8859-1".parse().unwrap();
        assert_eq!(latin, Charset::default());
        assert_eq!(latin.decode("Zürich".as_bytes()), "Zürich");
        assert_eq!(latin.decode(b"Z\xfcrich"), "Zürich");
        assert_eq!("koi8-r".parse::<Charset>().unwrap().decode(b"\xcd\xc9\xd2"), "мир");
        assert_eq!("ebcdic".parse::<Charset>(), Err(CharsetError("ebcdic".into())));
    }
}
