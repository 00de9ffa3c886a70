use alloc::borrow::ToOwned as _;
use alloc::format;
use alloc::string::{String, ToString as _};
use alloc::vec::Vec;
use core::net::IpAddr;

/// What `%{spfv1:…}` stands for: one macro letter with its transformers (RFC 7208, section 7); none when it means nothing.
#[must_use]
pub fn spf(text: &str, client: IpAddr, sender: Option<&str>, helo: &str) -> Option<String> {
    let letter = text.chars().next()?;
    let rest = text.get(letter.len_utf8()..)?;
    let sender = match sender {
        None | Some("") => format!("postmaster@{helo}"),
        Some(sender) => sender.to_owned(),
    };
    let (local, domain) = sender.rsplit_once('@').unwrap_or(("postmaster", sender.as_str()));
    let value = match letter.to_ascii_lowercase() {
        's' => sender.clone(),
        'l' => local.to_owned(),
        'o' | 'd' => domain.to_owned(),
        'h' => helo.to_owned(),
        'v' => if client.is_ipv4() { "in-addr" } else { "ip6" }.to_owned(),
        'i' => match client {
            IpAddr::V4(address) => address.to_string(),
            IpAddr::V6(address) => {
                let nibbles: Vec<String> = address
                    .octets()
                    .iter()
                    .flat_map(|octet| [octet >> 4, octet & 15])
                    .map(|nibble| format!("{nibble:x}"))
                    .collect();
                nibbles.join(".")
            }
        },
        _ => return None,
    };
    let digits: String = rest.chars().take_while(char::is_ascii_digit).collect();
    let rest = rest.get(digits.len()..)?;
    let (reversed, delimiters) = match rest.strip_prefix(['r', 'R']) {
        Some(rest) => (true, rest),
        None => (false, rest),
    };
    if !delimiters.chars().all(|c| ".-+,/_=".contains(c)) {
        return None;
    }
    if digits.is_empty() && !reversed && delimiters.is_empty() {
        return Some(value);
    }
    let delimiters = if delimiters.is_empty() { "." } else { delimiters };
    let mut parts: Vec<&str> = value.split(|c| delimiters.contains(c)).collect();
    if reversed {
        parts.reverse();
    }
    let kept = if digits.is_empty() { parts.len() } else { digits.parse().ok().filter(|kept| *kept > 0)? };
    let from = parts.len().saturating_sub(kept);
    Some(parts.get(from..).unwrap_or_default().join("."))
}
