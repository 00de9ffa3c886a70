//! Strings with places that are filled in when the string is evaluated.

use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;

use postfleet_policy::Context;

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Piece {
    Text(String),
    /// `${name}`.
    Variable(String),
    /// `%{vctx_conn:key}`, `%{vctx_mess:key}`; without a context `%{key}`: the message's, then the connection's.
    Context(Option<Context>, String),
    /// `%{rfc2822:…}` and the others that the host knows.
    Macro(String),
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Template(pub(crate) Vec<Piece>);

impl Template {
    /// The text, if nothing is filled in.
    pub(crate) fn constant(&self) -> Option<&str> {
        match self.0.as_slice() {
            [] => Some(""),
            [Piece::Text(text)] => Some(text),
            _ => None,
        }
    }

    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let mut pieces = Vec::new();
        let mut literal = String::new();
        let mut rest = text;
        while let Some(start) = rest.find(['$', '%']) {
            let (before, from) = rest.split_at(start);
            literal.push_str(before);
            let (mark, after) = from.split_at(1);
            let inner = after.strip_prefix('{').and_then(|inner| inner.split_once('}'));
            let piece = match inner {
                Some((name, _)) if mark == "$" => is_name(name).then(|| Piece::Variable(name.into())),
                Some((name, _)) => Some(expansion(name)?),
                None => None,
            };
            if let (Some(piece), Some((_, after))) = (piece, inner) {
                if !literal.is_empty() {
                    pieces.push(Piece::Text(core::mem::take(&mut literal)));
                }
                pieces.push(piece);
                rest = after;
            } else {
                literal.push_str(mark);
                rest = after;
            }
        }
        literal.push_str(rest);
        if !literal.is_empty() {
            pieces.push(Piece::Text(literal));
        }
        Ok(Self(pieces))
    }
}

fn is_name(name: &str) -> bool {
    !name.is_empty() && name.bytes().all(|c| c.is_ascii_alphanumeric() || c == b'_')
}

fn expansion(name: &str) -> Result<Piece, String> {
    match name.split_once(':') {
        None => Ok(Piece::Context(None, name.to_string())),
        Some(("vctx_conn", key)) => Ok(Piece::Context(Some(Context::Connection), key.into())),
        Some(("vctx_mess", key)) => Ok(Piece::Context(Some(Context::Message), key.into())),
        Some(("rfc822" | "rfc2822" | "spfv1", _)) => Ok(Piece::Macro(name.into())),
        Some((kind, _)) => Err(format!(
            "'%{{{name}}}' asks for '{kind}'; known are vctx_conn, vctx_mess, rfc822, rfc2822 and spfv1"
        )),
    }
}
