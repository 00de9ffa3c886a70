//! The bouncelog.

use alloc::format;
use alloc::string::{String, ToString as _};
use alloc::vec::Vec;
use core::net::IpAddr;

use crate::field::{escaped, escaped_octets, one_line, one_line_octets};
use crate::mail::{Names, head};

/// What a record tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BounceKind {
    /// `B`
    Bounce,
    /// `T`
    Transient,
}

/// One record of the bouncelog.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BounceRecord<'a> {
    /// `B` or `T`.
    pub kind: BounceKind,
    /// Local part and domain of the recipient of the original message.
    pub recipient: (&'a str, &'a str),
    /// Local part and domain of its sender.
    pub sender: (&'a str, &'a str),
    /// The stage; 21 is out of band.
    pub stage: u8,
    /// The classification code.
    pub class: u8,
    /// Octets of the message.
    pub octets: u64,
    /// The server that bounced.
    pub by: Option<IpAddr>,
    /// What it said: octets that need not be UTF-8.
    pub text: &'a [u8],
    /// `user_string`, expanded.
    pub user: Option<&'a str>,
}

impl BounceRecord<'_> {
    /// The line, without its end: UTF-8, unless the text is none. Messages of class 80 (Subscribe) are not logged.
    #[must_use]
    pub fn line(&self, names: &Names<'_>) -> Option<Vec<u8>> {
        if self.class == 80 {
            return None;
        }
        let kind = match self.kind {
            BounceKind::Bounce => "B",
            BounceKind::Transient => "T",
        };
        let head = format!(
            "{}@{}@{}@{}@{}@{}@{}@{}@{}@{}@{}@",
            head(names, kind),
            escaped(self.recipient.0),
            escaped(self.recipient.1),
            escaped(self.sender.0),
            escaped(self.sender.1),
            escaped(names.binding_group),
            escaped(names.binding),
            self.stage,
            self.class,
            self.octets,
            self.by.map_or_else(|| String::from("0.0.0.0"), |by| by.to_string()),
        );
        Some(match self.user {
            None => [head.into_bytes(), one_line_octets(self.text)].concat(),
            Some(user) => {
                let user = format!("@{}", one_line(user)).into_bytes();
                [head.into_bytes(), escaped_octets(self.text), user].concat()
            }
        })
    }
}

/// Classification codes with names and categories.
pub const CLASSES: [(u8, &str, &str); 20] = [
    (1, "Undetermined", "Undetermined"),
    (10, "Invalid Recipient", "Hard"),
    (20, "Soft Bounce", "Soft"),
    (21, "DNS Failure", "Soft"),
    (22, "Mailbox Full", "Soft"),
    (23, "Too Large", "Soft"),
    (24, "Timeout", "Soft"),
    (25, "Admin Failure", "Admin"),
    (30, "Generic Bounce: No RCPT", "Hard"),
    (40, "Generic Bounce", "Soft"),
    (50, "Mail Block", "Block"),
    (51, "Spam Block", "Block"),
    (52, "Spam Content", "Block"),
    (53, "Prohibited Attachment", "Block"),
    (54, "Relaying Denied", "Block"),
    (60, "Auto-Reply", "Soft"),
    (70, "Transient Failure", "Soft"),
    (80, "Subscribe", "Admin"),
    (90, "Unsubscribe", "Hard"),
    (100, "Challenge-Response", "Soft"),
];

/// The name of a classification code.
#[must_use]
pub fn class_name(code: u8) -> &'static str {
    CLASSES.iter().find(|class| class.0 == code).map_or("Undetermined", |class| class.1)
}

/// The category of a classification code.
#[must_use]
pub fn class_category(code: u8) -> &'static str {
    CLASSES.iter().find(|class| class.0 == code).map_or("Undetermined", |class| class.2)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mail::samples::names;

    #[test]
    fn logging_a30_an_out_of_band_bounce() {
        let record = BounceRecord {
            kind: BounceKind::Bounce,
            recipient: ("carol", "mail.example"),
            sender: ("news", "sender.example"),
            stage: 21,
            class: 22,
            octets: 4903,
            by: Some([198, 51, 100, 7].into()),
            text: b"552 5.2.2 mailbox of <carol@mail.example> is full",
            user: None,
        };
        let line = String::from_utf8(record.line(&names(1_700_003_600)).unwrap()).unwrap();
        assert_eq!(
            line,
            "1700003600@20/00-04711-461F3556@30/00-04711-461F3556@10/00-04711-361F3556@B@\
             carol@mail.example@news@sender.example@bulk@bulk-1@21@22@4903@198.51.100.7@\
             552 5.2.2 mailbox of <carol@mail.example> is full"
        );
        assert_eq!(line.splitn(16, '@').nth(15), Some("552 5.2.2 mailbox of <carol@mail.example> is full"));
        let custom = BounceRecord { user: Some("tenant@7"), ..record }.line(&names(1)).unwrap();
        let custom = String::from_utf8(custom).unwrap();
        assert!(custom.ends_with("<carol\\@mail.example> is full@tenant@7"), "{custom}");
        assert_eq!(BounceRecord { class: 80, ..record }.line(&names(1)), None);
        assert_eq!((class_name(22), class_category(22)), ("Mailbox Full", "Soft"));
    }
}
