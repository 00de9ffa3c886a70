//! The file format: round trips, damage, and files of past releases.

use proptest::prelude::*;

use super::scenario::{SECOND, envelope};
use crate::format::{END, FOOTER_BYTES, MAGIC, VERSION};
use crate::{
    Body, Envelope, FormatError, MessageFile, MessageId, Notify, RecipientCopy, Ret, Traits, fuzz_spool_file,
};

const CONTENT: &str = "Subject: \u{fc}\r\n\r\nbody\r\n";

/// A transaction that uses every field.
fn full() -> Envelope {
    let mut full = envelope(SECOND, 0, 2);
    full.body = Body::EightBitMime;
    full.smtputf8 = true;
    full.ret = Some(Ret::Headers);
    full.envid = Some("QQ314159".to_string());
    full.client = Some("[2001:db8::5]:47780".parse().unwrap());
    full.protocol = "UTF8SMTPS".to_string();
    full.context = vec![("pool".to_string(), "a".to_string()), (String::new(), "\u{e9}".to_string())];
    full.copies[0].orcpt = Some("rfc822;bob@b.example".to_string());
    full.copies[0].notify = Some(Notify::default());
    full.copies[1].notify = Some(Notify { success: true, failure: false, delay: true });
    full.copies[1].binding = "b1".into();
    full.copies[1].binding_group = "g1".into();
    full
}

fn full_file() -> Vec<u8> {
    let content = CONTENT.as_bytes();
    MessageFile { envelope: full(), content, traits: Traits { eight_bit: true } }.encode().unwrap()
}

/// The file that version 0.1.0 wrote. Never to be written again: later releases must go on reading it.
const V1: &[u8] = include_bytes!("../../tests/data/v1-full.msg");

#[test]
fn a_file_of_format_1_is_read() {
    let file = MessageFile::parse(V1).unwrap();
    assert_eq!(file.envelope, full());
    assert_eq!(file.content, CONTENT.as_bytes());
    assert!(file.traits.eight_bit);
}

#[test]
fn format_1_is_still_what_is_written() {
    assert_eq!(full_file(), V1, "the format changed: raise VERSION and keep reading the old file");
    assert!(V1.starts_with(&MAGIC) && V1.ends_with(&END));
}

#[test]
fn every_truncation_is_an_error() {
    for length in 0..V1.len() {
        assert!(MessageFile::parse(&V1[..length]).is_err(), "{length} bytes");
    }
    let mut longer = V1.to_vec();
    longer.push(b'\n');
    assert!(MessageFile::parse(&longer).is_err());
}

#[test]
fn every_flipped_bit_is_an_error() {
    for bit in 0..V1.len() * 8 {
        let mut bytes = V1.to_vec();
        bytes[bit / 8] ^= 1 << (bit % 8);
        assert!(MessageFile::parse(&bytes).is_err(), "bit {bit}");
    }
}

#[test]
fn damage_is_named() {
    let check = |change: &dyn Fn(&mut Vec<u8>), text: &str| {
        let mut bytes = V1.to_vec();
        change(&mut bytes);
        assert_eq!(MessageFile::parse(&bytes).unwrap_err().to_string(), text);
    };
    let length = V1.len();
    check(&|bytes| bytes[0] = b'X', "not a message file of this spool");
    check(&|bytes| bytes[9] = 7, "format version 7, but this program reads up to 1");
    check(&|bytes| bytes[12] = 0xff, "the envelope claims 4278190320 bytes; at most 33554432 are possible");
    check(&|bytes| bytes[40] ^= 1, "the checksum of the envelope differs");
    check(&|bytes| bytes[length - 30] ^= 1, "the checksum of the content differs");
    check(&|bytes| bytes[length - 1] = b'X', "the file does not end with the end mark");
    check(
        &|bytes| drop(bytes.drain(length - 30..length - 29)),
        "the file is 307 bytes long; its parts call for 308",
    );
    check(&|bytes| bytes[length - 6] ^= 1, "the checksum of the footer differs");
    check(&|bytes| bytes.clear(), "not a message file of this spool");
}

/// Puts `fields` where the envelope is, with lengths and checksums that hold.
fn with_envelope(fields: &[u8]) -> Vec<u8> {
    let mut bytes = MAGIC.to_vec();
    bytes.extend_from_slice(&VERSION.to_be_bytes());
    bytes.extend_from_slice(&[0, 0]);
    bytes.extend_from_slice(&u32::try_from(fields.len()).unwrap().to_be_bytes());
    bytes.extend_from_slice(fields);
    bytes.extend_from_slice(&crc32fast::hash(&bytes).to_be_bytes());
    bytes.extend_from_slice(&V1[V1.len() - FOOTER_BYTES - 3 - CONTENT.len()..]);
    bytes
}

#[test]
fn unknown_fields_are_skipped() {
    let mut fields = full().encode();
    fields.extend_from_slice(&[0x63, 3, b'n', b'e', b'w']);
    let bytes = with_envelope(&fields);
    assert_eq!(MessageFile::parse(&bytes).unwrap().envelope, full());
}

#[test]
fn envelopes_that_no_writer_makes_are_refused() {
    let check = |change: &dyn Fn(&mut Vec<u8>), text: &str| {
        let mut fields = full().encode();
        change(&mut fields);
        match MessageFile::parse(&with_envelope(&fields)) {
            Err(FormatError::Envelope(cause)) => assert_eq!(cause.to_string(), text),
            other => panic!("{other:?}"),
        }
    };
    check(&|fields| fields.clear(), "the field `copy` is missing");
    check(&|fields| drop(fields.drain(..12)), "the field `batch` is missing");
    check(&|fields| fields.extend_from_slice(&[10, 1, b'x']), "the field `helo` is there twice");
    check(&|fields| fields.extend_from_slice(&[4, 0]), "the field `id` is missing");
    check(&|fields| fields.extend_from_slice(&[4, 9]), "the fields are damaged");
    check(&|fields| fields.extend_from_slice(&[12, 1, 0xff]), "the fields are damaged");
    check(&|fields| fields.extend_from_slice(&[4, 3, 5, 1, 8]), "the fields are damaged");
}

fn any_copy() -> impl Strategy<Value = RecipientCopy> {
    let texts = (any::<String>(), any::<String>(), any::<Option<String>>(), ".{0,8}", ".{0,8}");
    (any::<(u32, u32, u16)>(), texts, any::<Option<(bool, bool, bool)>>()).prop_map(|(id, texts, notify)| {
        let (recipient, domain, orcpt, binding, binding_group) = texts;
        RecipientCopy {
            id: MessageId::from_parts(id.0, id.1, id.2),
            recipient,
            domain,
            orcpt,
            notify: notify.map(|(success, failure, delay)| Notify { success, failure, delay }),
            binding: binding.into(),
            binding_group: binding_group.into(),
        }
    })
}

proptest! {
    #[test]
    fn what_is_written_is_read(
        copies in prop::collection::vec(any_copy(), 1..5),
        sender: String,
        texts: (Option<String>, String, String),
        flags: (bool, bool, Option<bool>),
        client: Option<std::net::SocketAddr>,
        context: Vec<(String, String)>,
        content: Vec<u8>,
    ) {
        let (body, smtputf8, ret) = flags;
        // Flow label and zone of an IPv6 socket address are not kept.
        let client = client.map(|client| std::net::SocketAddr::new(client.ip(), client.port()));
        let envelope = Envelope {
            copies,
            sender,
            envid: texts.0,
            helo: texts.1,
            protocol: texts.2,
            body: if body { Body::EightBitMime } else { Body::SevenBit },
            smtputf8,
            ret: ret.map(|full| if full { Ret::Full } else { Ret::Headers }),
            client,
            context,
            ..envelope(SECOND, 0, 1)
        };
        let file = MessageFile { envelope, content: &content, traits: Traits { eight_bit: body } };
        let bytes = file.encode().unwrap();
        prop_assert_eq!(MessageFile::parse(&bytes), Ok(file));
    }

    #[test]
    fn damaged_envelopes_never_panic(at: prop::sample::Index, byte: u8, cut: prop::sample::Index) {
        let mut fields = full().encode();
        let at = at.index(fields.len());
        fields[at] = byte;
        fields.truncate(cut.index(fields.len()) + 1);
        fuzz_spool_file(&with_envelope(&fields));
    }
}
