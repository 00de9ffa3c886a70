//! What a server offers in its EHLO reply.

use alloc::string::{String, ToString};
use alloc::vec::Vec;

use super::reply::PeerReply;

/// The extensions a server offers. After HELO, and before EHLO, nothing is offered.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[allow(missing_docs, reason = "each field without a comment is the extension of its name")]
pub struct Offered {
    pub pipelining: bool,
    /// SIZE; the limit in octets, 0 when the server names none.
    pub size: Option<u64>,
    pub eight_bit_mime: bool,
    pub smtputf8: bool,
    pub chunking: bool,
    pub starttls: bool,
    pub dsn: bool,
    pub enhanced_status_codes: bool,
    /// AUTH: the mechanisms, in upper case.
    pub auth: Vec<String>,
    /// XCLIENT: the attributes, in upper case; none when it is not offered.
    pub xclient: Option<Vec<String>>,
}

impl Offered {
    /// Reads an EHLO reply. The first line names the server; unknown words are other people's extensions.
    #[must_use]
    pub fn parse(reply: &PeerReply) -> Self {
        let mut offered = Self::default();
        for line in reply.lines().iter().skip(1) {
            let upper = line.to_ascii_uppercase();
            let mut words = upper.split_ascii_whitespace();
            let Some(keyword) = words.next() else { continue };
            match keyword {
                "PIPELINING" => offered.pipelining = true,
                "8BITMIME" => offered.eight_bit_mime = true,
                "SMTPUTF8" => offered.smtputf8 = true,
                "CHUNKING" => offered.chunking = true,
                "STARTTLS" => offered.starttls = true,
                "DSN" => offered.dsn = true,
                "ENHANCEDSTATUSCODES" => offered.enhanced_status_codes = true,
                "XCLIENT" => offered.xclient = Some(words.map(ToString::to_string).collect()),
                // A limit that cannot be read is as good as none: the server will say so itself.
                "SIZE" => {
                    offered.size = Some(words.next().and_then(|octets| octets.parse().ok()).unwrap_or(0))
                }
                "AUTH" => offered.auth.extend(words.map(ToString::to_string)),
                // The form of the draft, which old servers offer beside the other.
                _ if keyword.starts_with("AUTH=") => {
                    let first = keyword.strip_prefix("AUTH=").unwrap_or_default();
                    let all = core::iter::once(first).chain(words).filter(|word| !word.is_empty());
                    offered.auth.extend(all.map(ToString::to_string));
                }
                _ => {}
            }
        }
        offered.auth.sort();
        offered.auth.dedup();
        offered
    }
}

#[cfg(test)]
mod tests {
    use super::super::reply::ReplyReader;
    use super::*;

    fn offered(text: &str) -> Offered {
        Offered::parse(&ReplyReader::default().next(&mut text.as_bytes()).unwrap().unwrap())
    }

    #[test]
    fn extensions_are_read_in_any_case() {
        let all = "250-PIPELINING says hello\r\n250-Pipelining\r\n250-SIZE 1000\r\n250-8bitmime\r\n250-SMTPUTF8\r\n\
            250-CHUNKING\r\n250-STARTTLS\r\n250-DSN\r\n250-ENHANCEDSTATUSCODES\r\n250-AUTH plain LOGIN\r\n\
            250-AUTH=LOGIN CRAM-MD5\r\n250-XCLIENT NAME ADDR\r\n250 X-OTHER y\r\n";
        let wanted = Offered {
            pipelining: true,
            size: Some(1000),
            eight_bit_mime: true,
            smtputf8: true,
            chunking: true,
            starttls: true,
            dsn: true,
            enhanced_status_codes: true,
            auth: ["CRAM-MD5", "LOGIN", "PLAIN"].map(String::from).to_vec(),
            xclient: Some(["NAME", "ADDR"].map(String::from).to_vec()),
        };
        assert_eq!(offered(all), wanted);
        // The first line is a greeting, whatever its words.
        assert_eq!(offered("250 PIPELINING\r\n"), Offered::default());
        assert_eq!(offered("250-x\r\n250-\r\n250 SIZE\r\n").size, Some(0));
        assert_eq!(offered("250-x\r\n250 SIZE 99999999999999999999999\r\n").size, Some(0));
    }
}
