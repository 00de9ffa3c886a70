//! Replies: three digits, perhaps an enhanced status code (RFC 3463), text.

use alloc::borrow::Cow;
use alloc::string::String;

use bytes::BytesMut;

/// The longest reply line that is sent, CR LF included (RFC 5321, section 4.5.3.1.5). Longer text is cut.
pub const REPLY_LINE_OCTETS_MAX: usize = 512;

/// One reply. Text with `\n` becomes a multi-line reply.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reply {
    code: u16,
    status: Cow<'static, str>,
    text: Cow<'static, str>,
}

impl Reply {
    /// A reply with an enhanced status code, which is sent only when ENHANCEDSTATUSCODES is offered.
    ///
    /// An empty `status` means none (greeting, HELO, EHLO and 3xx replies).
    #[must_use]
    pub fn new(code: u16, status: &'static str, text: impl Into<Cow<'static, str>>) -> Self {
        Self { code, status: Cow::Borrowed(status), text: text.into() }
    }

    /// A reply whose text is sent as it is (policy, configured texts): whether it carries an enhanced status
    /// code is its author's business.
    #[must_use]
    pub fn verbatim(code: u16, text: impl Into<Cow<'static, str>>) -> Self {
        Self { code, status: Cow::Borrowed(""), text: text.into() }
    }

    /// The reply code.
    #[must_use]
    pub const fn code(&self) -> u16 {
        self.code
    }

    /// The text without codes.
    #[must_use]
    pub fn text(&self) -> &str {
        &self.text
    }

    /// The enhanced status code, or an empty text.
    #[must_use]
    pub fn status(&self) -> &str {
        &self.status
    }

    /// This reply when its code may refuse something (400 to 599), otherwise the one for a policy that
    /// answered nonsense.
    #[must_use]
    pub(crate) fn refusing(self) -> Self {
        if (400..=599).contains(&self.code) {
            self
        } else {
            Self::new(550, "5.7.1", "[internal] rejected by policy")
        }
    }

    /// This reply when its code accepts something, otherwise 250 with its text.
    #[must_use]
    pub(crate) fn accepting(self) -> Self {
        if (200..=299).contains(&self.code) { self } else { Self { code: 250, ..self } }
    }

    /// What follows the reply code on a single line, for logs.
    #[must_use]
    pub fn log_text(&self) -> String {
        let mut line = String::from(&*self.status);
        for part in self.text.split('\n') {
            if !line.is_empty() {
                line.push(' ');
            }
            line.push_str(part.trim_end_matches('\r'));
        }
        line
    }

    pub(crate) fn write(&self, enhanced: bool, out: &mut BytesMut) {
        let mut lines = self.text.split('\n').peekable();
        while let Some(line) = lines.next() {
            let start = out.len();
            out.extend_from_slice(&digits(self.code));
            out.extend_from_slice(if lines.peek().is_some() { b"-" } else { b" " });
            if enhanced && !self.status.is_empty() {
                out.extend_from_slice(self.status.as_bytes());
                out.extend_from_slice(b" ");
            }
            // Control octets would let whoever chose the text forge further replies.
            out.extend(
                line.trim_end_matches('\r').bytes().map(|b| if b < 0x20 || b == 0x7f { b'?' } else { b }),
            );
            let mut end = out.len().min(start + REPLY_LINE_OCTETS_MAX - 2);
            while end < out.len() && end > start && out.get(end).is_some_and(|b| b & 0xc0 == 0x80) {
                end -= 1;
            }
            out.truncate(end);
            out.extend_from_slice(b"\r\n");
        }
    }
}

fn digits(code: u16) -> [u8; 3] {
    let digit = |divisor: u16| b'0' + u8::try_from(code / divisor % 10).unwrap_or(0);
    [digit(100), digit(10), digit(1)]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(reply: &Reply, enhanced: bool) -> String {
        let mut out = BytesMut::new();
        reply.write(enhanced, &mut out);
        String::from_utf8(out.to_vec()).unwrap()
    }

    /// RFC 2034: the code is repeated on each line, and left out when the extension is not offered.
    #[test]
    fn mta_ext_2034_status_on_every_line() {
        let reply = Reply::new(550, "5.7.1", "one\r\ntwo");
        assert_eq!(written(&reply, true), "550-5.7.1 one\r\n550 5.7.1 two\r\n");
        assert_eq!(written(&reply, false), "550-one\r\n550 two\r\n");
        assert_eq!(reply.log_text(), "5.7.1 one two");
    }

    #[test]
    fn text_cannot_forge_replies_or_overlong_lines() {
        assert_eq!(written(&Reply::verbatim(450, "a\rb\0c"), true), "450 a?b?c\r\n");
        let long = written(&Reply::verbatim(450, "\u{e9}".repeat(400)), true);
        assert!(long.len() <= REPLY_LINE_OCTETS_MAX && long.ends_with("\u{e9}\r\n"));
        assert_eq!(Reply::verbatim(250, "x").refusing().code(), 550);
        assert_eq!(Reply::verbatim(421, "x").refusing().code(), 421);
    }
}
