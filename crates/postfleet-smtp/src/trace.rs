//! The fields that are added to a message.

use alloc::format;
use alloc::string::String;

use postfleet_types::WallTime;

use crate::address::ReversePath;
use crate::envelope::Origin;

/// The Received field (RFC 5321, section 4.4), CR LF included.
pub(crate) fn received(
    origin: &Origin,
    sender: &ReversePath,
    hostname: &str,
    product: &str,
    id: &str,
    at: WallTime,
) -> String {
    let address = match origin.client.ip() {
        core::net::IpAddr::V4(address) => format!("[{address}]"),
        core::net::IpAddr::V6(address) => format!("[IPv6:{address}]"),
    };
    let helo = match &origin.helo {
        Some(name) => format!(" helo={name}"),
        None => String::new(),
    };
    format!(
        "Received: from {address} ([{client}]{helo})\r\n\tby {hostname} (envelope-from <{sender}>)\r\n\t({product}) with {protocol}\r\n\tid {id}; {date}\r\n",
        client = origin.client,
        sender = commented(&format!("{sender}")),
        protocol = origin.protocol,
        date = at.civil().rfc5322(),
    )
}

/// Text as it may stand in a comment: a quoted local part may hold parentheses.
fn commented(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        if matches!(c, '(' | ')' | '\\') {
            out.push('\\');
        }
        out.push(c);
    }
    out
}

/// A Date field, CR LF included.
pub(crate) fn date(at: WallTime) -> String {
    format!("Date: {}\r\n", at.civil().rfc5322())
}

/// A Message-ID field, CR LF included: the id with `/` and `-` as dots.
pub(crate) fn message_id(id: &str, hostname: &str) -> String {
    let left: String = id.chars().map(|c| if matches!(c, '/' | '-') { '.' } else { c }).collect();
    format!("Message-ID: <{left}@{hostname}>\r\n")
}
