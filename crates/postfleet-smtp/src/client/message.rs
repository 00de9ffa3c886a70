//! What is handed to a connection, and the commands that name it.

use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::fmt::Write;

use super::ehlo::Offered;
use crate::address::{Address, ReversePath};
use crate::envelope::{Notify, OriginalRecipient, Return};

/// One transaction: a sender, a batch of recipients, and what is known of the content.
///
/// The content itself comes later, in pieces, and is never held here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    /// The sender.
    pub reverse_path: ReversePath,
    /// The sender with its domain in A-labels, when that makes it ASCII.
    pub reverse_path_ascii: Option<Address>,
    /// The recipients. Outcomes name them by their place here.
    pub recipients: Vec<MessageRecipient>,
    /// Octets of the content as it will be sent, dots not stuffed.
    pub octets: u64,
    /// There are octets above 127 in the header section.
    pub eight_bit_header: bool,
    /// There are octets above 127 in the body.
    pub eight_bit_body: bool,
    /// The message came with SMTPUTF8.
    pub smtputf8: bool,
    /// `RET=`, said where DSN is offered.
    pub ret: Option<Return>,
    /// `ENVID=`, said where DSN is offered.
    pub envelope_id: Option<String>,
}

/// One recipient of a [`Message`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MessageRecipient {
    /// The address.
    pub address: Address,
    /// The address with its domain in A-labels, when that makes it ASCII.
    pub ascii: Option<Address>,
    /// `NOTIFY=`, said where DSN is offered.
    pub notify: Option<Notify>,
    /// `ORCPT=`, said where DSN is offered.
    pub original: Option<OriginalRecipient>,
}

/// What is said with MAIL besides the sender.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Said {
    pub(crate) utf8: bool,
    pub(crate) eight_bit_mime: bool,
}

impl Message {
    /// Whether only a server that knows SMTPUTF8 can be told everything.
    pub(crate) fn asks_for_utf8(&self) -> bool {
        let sender = match &self.reverse_path {
            ReversePath::Null => false,
            ReversePath::Address(address) => !address.is_ascii(),
        };
        self.smtputf8 || sender || self.recipients.iter().any(|recipient| !recipient.address.is_ascii())
    }

    /// The sender as it can be said without SMTPUTF8; an error when it cannot.
    fn sender(&self, utf8: bool) -> Option<String> {
        match &self.reverse_path {
            ReversePath::Null => Some(String::new()),
            ReversePath::Address(address) => spoken(address, self.reverse_path_ascii.as_ref(), utf8),
        }
    }

    /// MAIL with its parameters; none when the sender cannot be named without SMTPUTF8.
    pub(crate) fn mail(&self, said: Said, offered: &Offered) -> Option<String> {
        let mut line = String::from("MAIL FROM:<");
        line.push_str(&self.sender(said.utf8)?);
        line.push('>');
        if offered.size.is_some() {
            line.push_str(" SIZE=");
            line.push_str(&self.octets.to_string());
        }
        if said.eight_bit_mime {
            line.push_str(" BODY=8BITMIME");
        }
        if said.utf8 {
            line.push_str(" SMTPUTF8");
        }
        if offered.dsn {
            match self.ret {
                Some(Return::Full) => line.push_str(" RET=FULL"),
                Some(Return::Headers) => line.push_str(" RET=HDRS"),
                None => {}
            }
            if let Some(id) = self.envelope_id.as_deref().filter(|id| !id.is_empty() && id.is_ascii()) {
                line.push_str(" ENVID=");
                xtext(id, &mut line);
            }
        }
        line.push_str("\r\n");
        Some(line)
    }
}

impl MessageRecipient {
    /// RCPT with its parameters; none when the recipient cannot be named without SMTPUTF8.
    pub(crate) fn rcpt(&self, utf8: bool, offered: &Offered) -> Option<String> {
        let mut line = String::from("RCPT TO:<");
        line.push_str(&spoken(&self.address, self.ascii.as_ref(), utf8)?);
        line.push('>');
        if offered.dsn {
            if let Some(notify) = self.notify {
                let words =
                    [(notify.success, "SUCCESS"), (notify.failure, "FAILURE"), (notify.delay, "DELAY")];
                let words: Vec<&str> =
                    words.into_iter().filter(|(wanted, _)| *wanted).map(|(_, word)| word).collect();
                line.push_str(" NOTIFY=");
                line.push_str(&if words.is_empty() { String::from("NEVER") } else { words.join(",") });
            }
            // An original that needs UTF-8 is left out where only ASCII may be said: a report names the recipient too.
            let original = self.original.as_ref().filter(|original| {
                (utf8 || original.address.is_ascii())
                    && original.kind.bytes().all(|octet| octet.is_ascii_graphic() && octet != b';')
            });
            if let Some(original) = original {
                line.push_str(" ORCPT=");
                line.push_str(&original.kind);
                line.push(';');
                xtext(&original.address, &mut line);
            }
        }
        line.push_str("\r\n");
        Some(line)
    }
}

fn spoken(address: &Address, ascii: Option<&Address>, utf8: bool) -> Option<String> {
    if utf8 || address.is_ascii() {
        return Some(address.to_string());
    }
    ascii.filter(|address| address.is_ascii()).map(ToString::to_string)
}

/// Encodes xtext (RFC 3461, section 4). Characters beyond ASCII stay: the caller looked whether they may.
fn xtext(text: &str, out: &mut String) {
    for c in text.chars() {
        match c {
            '+' | '=' => _ = write!(out, "+{:02X}", u32::from(c)),
            _ if c.is_ascii_graphic() || (!c.is_ascii() && !c.is_control()) => out.push(c),
            _ if c.is_ascii() => _ = write!(out, "+{:02X}", u32::from(c)),
            _ => out.push('?'),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message() -> Message {
        Message {
            reverse_path: ReversePath::Address("a@b.example".parse().unwrap()),
            reverse_path_ascii: None,
            recipients: Vec::new(),
            octets: 12,
            eight_bit_header: false,
            eight_bit_body: false,
            smtputf8: false,
            ret: Some(Return::Headers),
            envelope_id: Some("a+b c=\r\n".to_string()),
        }
    }

    #[test]
    fn parameters_are_said_only_where_they_are_offered() {
        let mail = |said, offered: &Offered| message().mail(said, offered).unwrap();
        assert_eq!(mail(Said::default(), &Offered::default()), "MAIL FROM:<a@b.example>\r\n");
        let offered = Offered { size: Some(0), dsn: true, ..Offered::default() };
        assert_eq!(
            mail(Said { utf8: true, eight_bit_mime: true }, &offered),
            "MAIL FROM:<a@b.example> SIZE=12 BODY=8BITMIME SMTPUTF8 RET=HDRS ENVID=a+2Bb+20c+3D+0D+0A\r\n"
        );
        let mut recipient = MessageRecipient {
            address: "c@d.example".parse().unwrap(),
            ascii: None,
            notify: Some(Notify { success: true, failure: false, delay: true }),
            original: Some(OriginalRecipient { kind: "rfc822".to_string(), address: "c+x@d".to_string() }),
        };
        assert_eq!(recipient.rcpt(false, &Offered::default()).unwrap(), "RCPT TO:<c@d.example>\r\n");
        assert_eq!(
            recipient.rcpt(false, &offered).unwrap(),
            "RCPT TO:<c@d.example> NOTIFY=SUCCESS,DELAY ORCPT=rfc822;c+2Bx@d\r\n"
        );
        recipient.notify = Some(Notify::default());
        recipient.original =
            Some(OriginalRecipient { kind: "utf-8".to_string(), address: "\u{e9}@d".to_string() });
        assert_eq!(recipient.rcpt(false, &offered).unwrap(), "RCPT TO:<c@d.example> NOTIFY=NEVER\r\n");
        assert!(recipient.rcpt(true, &offered).unwrap().ends_with("NEVER ORCPT=utf-8;\u{e9}@d\r\n"));
    }

    #[test]
    fn addresses_beyond_ascii_need_utf8_or_their_a_labels() {
        let mut recipient = MessageRecipient {
            address: "c@d\u{e9}.example".parse().unwrap(),
            ascii: None,
            notify: None,
            original: None,
        };
        let none = Offered::default();
        assert_eq!(recipient.rcpt(false, &none), None);
        assert_eq!(recipient.rcpt(true, &none).unwrap(), "RCPT TO:<c@d\u{e9}.example>\r\n");
        recipient.ascii = Some("c@xn--d-bga.example".parse().unwrap());
        assert_eq!(recipient.rcpt(false, &none).unwrap(), "RCPT TO:<c@xn--d-bga.example>\r\n");
    }
}
