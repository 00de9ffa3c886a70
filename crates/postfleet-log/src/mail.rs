//! The mainlog.

use alloc::format;
use alloc::string::{String, ToString as _};
use alloc::vec::Vec;
use core::net::IpAddr;
use core::time::Duration;

use postfleet_types::WallTime;

use crate::field::{escaped, one_line, one_line_octets};

/// What every record begins with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Names<'a> {
    /// When it happened.
    pub at: WallTime,
    /// The message.
    pub message: &'a str,
    /// The transaction it came in with.
    pub batch: &'a str,
    /// The connection.
    pub connection: &'a str,
    /// The binding group.
    pub binding_group: &'a str,
    /// The binding.
    pub binding: &'a str,
}

/// `R`: a message was accepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reception<'a> {
    /// Local part and domain of the recipient.
    pub recipient: (&'a str, &'a str),
    /// Local part and domain of the sender; both empty for the null sender.
    pub sender: (&'a str, &'a str),
    /// Where it came from; none for HTTP submissions.
    pub from: Option<IpAddr>,
    /// Octets.
    pub octets: u64,
    /// `esmtp`, `ecstream`, `rest`, `xfer` or `internal`.
    pub protocol: &'a str,
}

/// `D` and `X`: another host has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Handover<'a> {
    /// It moved to another node of the cluster (`X`).
    pub moved: bool,
    /// The destination domain.
    pub domain: &'a str,
    /// Octets as delivered.
    pub octets: u64,
    /// Attempts that had failed before.
    pub retries: u32,
    /// From reception to now.
    pub elapsed: Duration,
    /// Who has it.
    pub to: IpAddr,
}

/// `T` and `P`: an attempt has failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Failure<'a> {
    /// For good (`P`).
    pub permanent: bool,
    /// The destination domain.
    pub domain: &'a str,
    /// Octets sent before the failure.
    pub octets_sent: u64,
    /// The stage, 0 to 22.
    pub stage: u8,
    /// Attempts that had failed before.
    pub retries: u32,
    /// From reception to now.
    pub elapsed: Duration,
    /// Who refused; none without a connection.
    pub by: Option<IpAddr>,
    /// The reply as it came, with codes and line ends: octets that need not be UTF-8.
    pub reply: &'a [u8],
    /// It is this node's own, and no server's.
    pub internal: bool,
}

/// One record of the mainlog.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MailRecord<'a> {
    /// `R`
    Reception(Reception<'a>),
    /// `D`, `X`
    Handover(Handover<'a>),
    /// `T`, `P`
    Failure(Failure<'a>),
}

impl MailRecord<'_> {
    /// The line, without its end: UTF-8, unless the reply is none.
    #[must_use]
    pub fn line(&self, names: &Names<'_>) -> Vec<u8> {
        let kind = match self {
            Self::Reception(_) => "R",
            Self::Handover(handover) => {
                if handover.moved {
                    "X"
                } else {
                    "D"
                }
            }
            Self::Failure(failure) => {
                if failure.permanent {
                    "P"
                } else {
                    "T"
                }
            }
        };
        let head = head(names, kind);
        let (group, binding) = (escaped(names.binding_group), escaped(names.binding));
        match self {
            Self::Reception(of) => format!(
                "{head}@{}@{}@{}@{}@{}@{}@{}@{group}@{}",
                escaped(of.recipient.0),
                escaped(of.recipient.1),
                escaped(of.sender.0),
                escaped(of.sender.1),
                of.from.map_or_else(|| String::from("unknown"), |from| from.to_string()),
                of.octets,
                escaped(of.protocol),
                one_line(names.binding),
            )
            .into_bytes(),
            Self::Handover(of) => format!(
                "{head}@{}@{}@{group}@{binding}@{}@{}@{}",
                escaped(of.domain),
                of.octets,
                of.retries,
                seconds(of.elapsed, 3),
                of.to,
            )
            .into_bytes(),
            Self::Failure(of) => {
                let line = format!(
                    "{head}@{}@{}@{group}@{binding}@{}@{}@{}@{}@",
                    escaped(of.domain),
                    of.octets_sent,
                    of.stage,
                    of.retries,
                    seconds(of.elapsed, 2),
                    of.by.map_or_else(|| String::from("0.0.0.0"), |by| by.to_string()),
                );
                [line.into_bytes(), one_line_octets(of.reply)].concat()
            }
        }
    }
}

/// Fields 0 to 4.
pub(crate) fn head(names: &Names<'_>, kind: &str) -> String {
    format!("{}@{}@{}@{}@{kind}", names.at.unix_seconds(), names.message, names.batch, names.connection)
}

/// The codes a reply begins with.
pub(crate) fn codes(reply: &str) -> (Option<&str>, Option<&str>) {
    let digits = |text: &&str| !text.is_empty() && text.bytes().all(|octet| octet.is_ascii_digit());
    let code = reply.get(..3).filter(digits);
    let enhanced = reply.get(4..).and_then(|rest| rest.split([' ', '\r', '\n']).next());
    let enhanced = enhanced.filter(|word| {
        word.split('.').count() == 3
            && word.split('.').all(|part| digits(&part))
            && reply.starts_with(word.get(..1).unwrap_or(" "))
    });
    (code, enhanced)
}

/// Seconds with so many decimals, rounded down: time that has not passed is not shown.
pub(crate) fn seconds(elapsed: Duration, decimals: usize) -> String {
    let fraction = format!("{:09}", elapsed.subsec_nanos());
    match fraction.get(..decimals) {
        Some("") | None => elapsed.as_secs().to_string(),
        Some(digits) => format!("{}.{digits}", elapsed.as_secs()),
    }
}

/// The words for a stage.
#[must_use]
pub const fn stage_text(stage: u8) -> &'static str {
    match stage {
        0 => "while not connected",
        1 => "while idle",
        2 => "during MAIL FROM",
        3 => "after MAIL FROM",
        4 => "during RCPT TO",
        5 => "after RCPT TO",
        6 => "during DATA",
        7 => "after DATA",
        8 => "while sending BODY",
        9 => "reading confirmation",
        10 => "during EHLO",
        11 => "after EHLO",
        12 => "reading BANNER",
        13 => "during RSET",
        14 => "after RSET",
        15 => "during STARTTLS",
        16 => "after STARTTLS",
        17 => "handshaking TLS",
        18 => "renegotiating TLS",
        19 => "during XCLIENT",
        20 => "after XCLIENT",
        21 => "out of band bounce",
        _ => "in unknown state",
    }
}

#[cfg(test)]
pub(crate) mod samples {
    use super::*;

    pub(crate) fn names(at: u64) -> Names<'static> {
        Names {
            at: WallTime::from_unix_seconds(at),
            message: "20/00-04711-461F3556",
            batch: "30/00-04711-461F3556",
            connection: "10/00-04711-361F3556",
            binding_group: "bulk",
            binding: "bulk-1",
        }
    }

    pub(crate) fn reception(
        local: &'static str,
        domain: &'static str,
        protocol: &'static str,
    ) -> MailRecord<'static> {
        MailRecord::Reception(Reception {
            recipient: (local, domain),
            sender: ("news", "sender.example"),
            from: Some([192, 0, 2, 25].into()),
            octets: 4821,
            protocol,
        })
    }

    pub(crate) fn handover(moved: bool) -> MailRecord<'static> {
        MailRecord::Handover(Handover {
            moved,
            domain: "mail.example",
            octets: 4903,
            retries: 0,
            elapsed: Duration::from_millis(1874),
            to: [198, 51, 100, 7].into(),
        })
    }

    pub(crate) fn failure(reply: &str) -> MailRecord<'_> {
        MailRecord::Failure(Failure {
            permanent: true,
            domain: "mail.example",
            octets_sent: 57,
            stage: 5,
            retries: 1,
            elapsed: Duration::from_millis(9310),
            by: Some([198, 51, 100, 7].into()),
            reply: reply.as_bytes(),
            internal: false,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::samples::{failure, handover, names, reception};
    use super::*;

    fn line(record: &MailRecord<'_>, names: &Names<'_>) -> String {
        String::from_utf8(record.line(names)).unwrap()
    }

    #[test]
    fn logging_13c_a_reply_is_changed_only_where_it_would_end_the_line() {
        let reply = b"550-5.1.1 \xfcber\r\n550-\t\x07\n550 5.1.1 such \xc3\xbc";
        let MailRecord::Failure(of) = failure("") else { panic!() };
        let line = MailRecord::Failure(Failure { reply, ..of }).line(&names(1));
        let expected = b"@198.51.100.7@550-5.1.1 \xfcber 550-\\x09\\x07 550 5.1.1 such \xc3\xbc";
        assert!(line.ends_with(expected), "{}", line.escape_ascii());
    }

    #[test]
    fn logging_14_1_reception() {
        assert_eq!(
            line(&reception("carol", "mail.example", "esmtp"), &names(1_700_000_101)),
            "1700000101@20/00-04711-461F3556@30/00-04711-461F3556@10/00-04711-361F3556@R@\
             carol@mail.example@news@sender.example@192.0.2.25@4821@esmtp@bulk@bulk-1"
        );
    }

    #[test]
    fn logging_a32_delivery_and_permanent_failure() {
        assert_eq!(
            line(&handover(false), &names(1_700_000_103)),
            "1700000103@20/00-04711-461F3556@30/00-04711-461F3556@10/00-04711-361F3556@D@\
             mail.example@4903@bulk@bulk-1@0@1.874@198.51.100.7"
        );
        assert_eq!(
            line(&failure("550 5.1.1 <carol@mail.example> unknown"), &names(1_700_000_110)),
            "1700000110@20/00-04711-461F3556@30/00-04711-461F3556@10/00-04711-361F3556@P@\
             mail.example@57@bulk@bulk-1@5@1@9.31@198.51.100.7@550 5.1.1 <carol@mail.example> unknown"
        );
    }

    #[test]
    fn logging_a33_a_transfer_is_x_here_and_r_with_xfer_there() {
        let (here, there) =
            (line(&handover(true), &names(1)), line(&reception("carol", "mail.example", "xfer"), &names(1)));
        assert!(here.contains("@X@mail.example@4903@"), "{here}");
        assert!(there.contains("@R@carol@") && there.contains("@4821@xfer@"), "{there}");
    }

    #[test]
    fn logging_a35_a_local_part_with_an_at_sign_is_escaped() {
        let line = line(&reception("\"a@b\"", "example.com", "esmtp"), &names(1));
        assert!(line.contains("@R@\"a\\@b\"@example.com@news@"), "{line}");
    }

    #[test]
    fn logging_a40_a_reply_of_several_lines_is_one() {
        let line = line(&failure("550-5.1.1 no such\r\n550 5.1.1 such user"), &names(1));
        assert!(line.ends_with("@550-5.1.1 no such 550 5.1.1 such user"), "{line}");
        assert_eq!(line.splitn(14, '@').nth(13), Some("550-5.1.1 no such 550 5.1.1 such user"));
    }

    #[test]
    fn logging_14c_no_address_without_a_connection() {
        let MailRecord::Failure(of) = failure("421 x") else { panic!() };
        let record = MailRecord::Failure(Failure { permanent: false, by: None, stage: 0, ..of });
        assert!(line(&record, &names(1)).contains("@T@mail.example@57@bulk@bulk-1@0@1@9.31@0.0.0.0@421 x"));
        assert_eq!(stage_text(0), "while not connected");
        assert_eq!(stage_text(200), "in unknown state");
    }
}
