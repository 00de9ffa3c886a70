//! Command lines (RFC 5321, section 4.1) and their parameters.

use alloc::string::String;

use crate::address::{PathRules, ReversePath, is_helo_name, parse_path};
use crate::envelope::{Body, MailFrom, Notify, OriginalRecipient, Return};
use crate::settings::Extensions;
use crate::{Address, SessionSettings};

/// A command line, split into its verb and the rest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct CommandLine<'a> {
    pub(crate) verb: Verb,
    /// What follows the verb and one blank.
    pub(crate) argument: &'a str,
    /// Whether there was a blank behind the verb.
    pub(crate) blank: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verb {
    Ehlo,
    Helo,
    Mail,
    Rcpt,
    Data,
    Bdat,
    Rset,
    Noop,
    Quit,
    Vrfy,
    Expn,
    Help,
    StartTls,
    Auth,
    Unknown,
}

impl<'a> CommandLine<'a> {
    /// Splits a line without its CR LF. Octets outside ASCII are only good in addresses and names, control octets
    /// (bare CR and LF among them) nowhere: such lines are unknown commands.
    pub(crate) fn parse(line: &'a [u8]) -> Self {
        let unknown = Self { verb: Verb::Unknown, argument: "", blank: false };
        if line.iter().any(|b| (*b < 0x20 && *b != b'\t') || *b == 0x7f) {
            return unknown;
        }
        let Ok(text) = core::str::from_utf8(line) else { return unknown };
        let (word, argument, blank) = match text.split_once(' ') {
            Some((word, argument)) => (word, argument, true),
            None => (text, "", false),
        };
        let verb =
            VERBS.iter().find(|(name, _)| name.eq_ignore_ascii_case(word)).map_or(Verb::Unknown, |v| v.1);
        let utf8 = matches!(verb, Verb::Mail | Verb::Rcpt | Verb::Ehlo | Verb::Vrfy | Verb::Expn);
        if !utf8 && !text.is_ascii() {
            return unknown;
        }
        Self { verb, argument, blank }
    }
}

const VERBS: [(&str, Verb); 14] = [
    ("MAIL", Verb::Mail),
    ("RCPT", Verb::Rcpt),
    ("DATA", Verb::Data),
    ("BDAT", Verb::Bdat),
    ("RSET", Verb::Rset),
    ("EHLO", Verb::Ehlo),
    ("HELO", Verb::Helo),
    ("QUIT", Verb::Quit),
    ("NOOP", Verb::Noop),
    ("VRFY", Verb::Vrfy),
    ("EXPN", Verb::Expn),
    ("HELP", Verb::Help),
    ("STARTTLS", Verb::StartTls),
    ("AUTH", Verb::Auth),
];

/// Why MAIL or RCPT was not understood. The client is at fault; nothing has changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum ParameterError {
    #[error("syntax error")]
    Syntax,
    #[error("unsupported parameter")]
    Unsupported,
    #[error("an address outside ASCII in a transaction without SMTPUTF8")]
    NotAscii,
}

/// The name after EHLO or HELO: the first word.
pub(crate) fn helo_name(argument: &str, smtputf8: bool) -> Option<&str> {
    let name = argument.split([' ', '\t']).find(|word| !word.is_empty())?;
    (is_helo_name(name) && (smtputf8 || name.is_ascii())).then_some(name)
}

/// `FROM:<path> [parameters]`.
pub(crate) fn mail(argument: &str, settings: &SessionSettings) -> Result<MailFrom, ParameterError> {
    let rules = PathRules {
        pedantic: settings.pedantic_addresses,
        allow_literal: settings.allow_ip_literal,
        whitespace: settings.allow_envelope_whitespace,
        unqualified_domain: settings.unqualified_sender_domain.as_deref(),
        postmaster_domain: None,
    };
    let text = keyword(argument, "FROM:", settings).ok_or(ParameterError::Syntax)?;
    let (address, rest) = parse_path(text, rules).map_err(|_| ParameterError::Syntax)?;
    let mut mail = MailFrom {
        reverse_path: address.map_or(ReversePath::Null, ReversePath::Address),
        size: None,
        body: None,
        smtputf8: false,
        ret: None,
        envelope_id: None,
    };
    for parameter in parameters(rest, settings)? {
        mail_parameter(&mut mail, parameter, settings.extensions)?;
    }
    match &mail.reverse_path {
        ReversePath::Address(address) if !mail.smtputf8 && !address.is_ascii() => {
            Err(ParameterError::NotAscii)
        }
        ReversePath::Address(_) | ReversePath::Null => Ok(mail),
    }
}

fn mail_parameter(mail: &mut MailFrom, text: &str, extensions: Extensions) -> Result<(), ParameterError> {
    let (name, value) = split(text);
    match (name.to_ascii_uppercase().as_str(), value) {
        ("SIZE", Some(value)) => set(&mut mail.size, number(value)),
        ("BODY", Some(value)) if value.eq_ignore_ascii_case("7BIT") => {
            set(&mut mail.body, Some(Body::SevenBit))
        }
        ("BODY", Some(value)) if value.eq_ignore_ascii_case("8BITMIME") => {
            set(&mut mail.body, Some(Body::EightBitMime))
        }
        ("SMTPUTF8", None) if extensions.smtputf8 && !mail.smtputf8 => {
            mail.smtputf8 = true;
            Ok(())
        }
        ("SMTPUTF8", _) if extensions.smtputf8 => Err(ParameterError::Syntax),
        ("RET", Some(value)) if extensions.dsn && value.eq_ignore_ascii_case("FULL") => {
            set(&mut mail.ret, Some(Return::Full))
        }
        ("RET", Some(value)) if extensions.dsn && value.eq_ignore_ascii_case("HDRS") => {
            set(&mut mail.ret, Some(Return::Headers))
        }
        ("ENVID", Some(value)) if extensions.dsn => {
            let id = if value.len() <= ENVELOPE_ID_OCTETS_MAX { xtext(value, false) } else { None };
            set(&mut mail.envelope_id, id)
        }
        ("SIZE", None) => Err(ParameterError::Syntax),
        ("RET" | "ENVID", _) if extensions.dsn => Err(ParameterError::Syntax),
        _ => Err(ParameterError::Unsupported),
    }
}

/// Longest ENVID (RFC 3461, section 4.4).
const ENVELOPE_ID_OCTETS_MAX: usize = 100;
/// Longest ORCPT (RFC 3461, section 4.2).
const ORIGINAL_RECIPIENT_OCTETS_MAX: usize = 500;

/// What RCPT says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct RecipientLine {
    pub(crate) address: Address,
    pub(crate) notify: Option<Notify>,
    pub(crate) original: Option<OriginalRecipient>,
    /// `<postmaster>` without a domain: ours, whatever relay control says.
    pub(crate) bare_postmaster: bool,
}

/// `TO:<path> [parameters]`.
pub(crate) fn recipient(
    argument: &str,
    settings: &SessionSettings,
    smtputf8: bool,
) -> Result<RecipientLine, ParameterError> {
    let rules = PathRules {
        pedantic: settings.pedantic_addresses,
        allow_literal: settings.allow_ip_literal,
        whitespace: settings.allow_envelope_whitespace,
        unqualified_domain: settings.unqualified_recipient_domain.as_deref(),
        postmaster_domain: Some(&settings.banner_hostname),
    };
    let text = keyword(argument, "TO:", settings).ok_or(ParameterError::Syntax)?;
    let (address, rest) = parse_path(text, rules).map_err(|_| ParameterError::Syntax)?;
    let address = address.ok_or(ParameterError::Syntax)?;
    let path = text.get(..text.len().saturating_sub(rest.len())).unwrap_or_default();
    let bare_postmaster = address.is_postmaster() && !path.contains('@');
    let mut line = RecipientLine { address, notify: None, original: None, bare_postmaster };
    for parameter in parameters(rest, settings)? {
        let (name, value) = split(parameter);
        match (name.to_ascii_uppercase().as_str(), value) {
            ("NOTIFY", Some(value)) if settings.extensions.dsn => set(&mut line.notify, notify(value))?,
            ("ORCPT", Some(value)) if settings.extensions.dsn => {
                set(&mut line.original, original_recipient(value, smtputf8))?;
            }
            ("NOTIFY" | "ORCPT", None) if settings.extensions.dsn => return Err(ParameterError::Syntax),
            _ => return Err(ParameterError::Unsupported),
        }
    }
    if !smtputf8 && !line.address.is_ascii() {
        return Err(ParameterError::NotAscii);
    }
    Ok(line)
}

/// The number of octets and whether `LAST` follows, of a BDAT command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ChunkLine {
    Chunk {
        octets: u64,
        last: bool,
    },
    /// The number is there, what follows it is wrong: the octets come all the same.
    Wrong {
        octets: u64,
    },
    /// There is no number.
    NoNumber,
    /// A number beyond 64 bits: where the next command begins cannot be known.
    Uncountable,
}

impl ChunkLine {
    pub(crate) fn parse(argument: &str) -> Self {
        let (digits, rest) = match argument.split_once(' ') {
            Some((digits, rest)) => (digits, Some(rest)),
            None => (argument, None),
        };
        if digits.is_empty() || !digits.bytes().all(|b| b.is_ascii_digit()) {
            return Self::NoNumber;
        }
        let Ok(octets) = digits.parse::<u64>() else { return Self::Uncountable };
        match rest {
            None => Self::Chunk { octets, last: false },
            Some(word) if word.eq_ignore_ascii_case("LAST") => Self::Chunk { octets, last: true },
            Some(_) => Self::Wrong { octets },
        }
    }
}

fn keyword<'a>(argument: &'a str, word: &str, settings: &SessionSettings) -> Option<&'a str> {
    let argument =
        if settings.allow_envelope_whitespace { argument.trim_start_matches([' ', '\t']) } else { argument };
    let (head, rest) = argument.split_at_checked(word.len())?;
    head.eq_ignore_ascii_case(word).then_some(rest)
}

/// The words behind a path. Each is preceded by exactly one blank, unless the options allow more.
fn parameters<'a>(
    rest: &'a str,
    settings: &SessionSettings,
) -> Result<impl Iterator<Item = &'a str>, ParameterError> {
    let rest = if settings.allow_trailing_whitespace || settings.allow_envelope_whitespace {
        rest.trim_end_matches([' ', '\t'])
    } else {
        rest
    };
    let words = match rest.strip_prefix(' ') {
        Some(words) => words,
        None if rest.is_empty() => "",
        None => return Err(ParameterError::Syntax),
    };
    let blanks = settings.allow_envelope_whitespace;
    let wrong = |word: &str| (word.is_empty() && !blanks) || word.contains('\t');
    if !rest.is_empty() && words.split(' ').any(wrong) {
        return Err(ParameterError::Syntax);
    }
    Ok(words.split(' ').filter(|word| !word.is_empty()))
}

fn split(parameter: &str) -> (&str, Option<&str>) {
    match parameter.split_once('=') {
        Some((name, value)) => (name, Some(value)),
        None => (parameter, None),
    }
}

/// A parameter may stand only once, and its value must be right.
fn set<T>(field: &mut Option<T>, value: Option<T>) -> Result<(), ParameterError> {
    if field.is_some() || value.is_none() {
        return Err(ParameterError::Syntax);
    }
    *field = value;
    Ok(())
}

fn number(text: &str) -> Option<u64> {
    if !matches!(text.len(), 1..=20) || !text.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    // Twenty digits can say more than 64 bits hold; every limit is below that.
    Some(text.parse().unwrap_or(u64::MAX))
}

fn notify(text: &str) -> Option<Notify> {
    let mut notify = Notify::default();
    if text.eq_ignore_ascii_case("NEVER") {
        return Some(notify);
    }
    for word in text.split(',') {
        let field = match word.to_ascii_uppercase().as_str() {
            "SUCCESS" => &mut notify.success,
            "FAILURE" => &mut notify.failure,
            "DELAY" => &mut notify.delay,
            _ => return None,
        };
        *field = true;
    }
    Some(notify)
}

fn original_recipient(text: &str, smtputf8: bool) -> Option<OriginalRecipient> {
    let (kind, address) = text.split_once(';')?;
    let atom = |c: char| c.is_ascii_alphanumeric() || "!#$%&'*+-/=?^_`{|}~.".contains(c);
    if text.len() > ORIGINAL_RECIPIENT_OCTETS_MAX
        || kind.is_empty()
        || address.is_empty()
        || !kind.chars().all(atom)
    {
        return None;
    }
    Some(OriginalRecipient { kind: String::from(kind), address: xtext(address, smtputf8)? })
}

/// Decodes xtext (RFC 3461, section 4). Encoded octets that are no printable ASCII are refused: they end up in
/// reports and logs.
fn xtext(text: &str, utf8: bool) -> Option<String> {
    let mut out = String::with_capacity(text.len());
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        match c {
            '+' => {
                let (high, low) = (hex(chars.next()?)?, hex(chars.next()?)?);
                let octet = high * 16 + low;
                if !(0x20..0x7f).contains(&octet) {
                    return None;
                }
                out.push(char::from(octet));
            }
            '=' => return None,
            _ if c.is_ascii_graphic() || (utf8 && !c.is_ascii() && !c.is_control()) => out.push(c),
            _ => return None,
        }
    }
    Some(out)
}

/// Upper-case hexadecimal digits only, as the RFC has them.
fn hex(c: char) -> Option<u8> {
    match c {
        '0'..='9' | 'A'..='F' => c.to_digit(16).and_then(|digit| u8::try_from(digit).ok()),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::string::ToString;

    fn all() -> SessionSettings {
        let extensions = Extensions {
            enhanced_status_codes: true,
            dsn: true,
            starttls: true,
            chunking: true,
            smtputf8: true,
        };
        SessionSettings { extensions, ..SessionSettings::default() }
    }

    /// RFC 5321 checklist, lines 4 and 24; bare CR and LF end nothing.
    #[test]
    fn mta_rfc5321_04_verbs() {
        let verb = |line: &[u8]| CommandLine::parse(line).verb;
        assert_eq!(verb(b"mAiL FROM:<>"), Verb::Mail);
        assert_eq!(verb(b"quit"), Verb::Quit);
        assert_eq!(verb(b"MAILFROM:<>"), Verb::Unknown);
        assert_eq!(verb(b"NOOP\nNOOP"), Verb::Unknown);
        assert_eq!(verb(b"NOOP\r"), Verb::Unknown);
        assert_eq!(verb(b"NOOP \0"), Verb::Unknown);
        assert_eq!(verb("NOOP é".as_bytes()), Verb::Unknown);
        assert_eq!(verb(b"MAIL FROM:<\xff@b>"), Verb::Unknown);
        assert_eq!(verb("MAIL FROM:<é@b>".as_bytes()), Verb::Mail);
        assert_eq!(verb(b""), Verb::Unknown);
    }

    /// RFC 1870, 6152, 6531, 3461: parameters of MAIL.
    #[test]
    fn mta_ext_mail_parameters() {
        let settings = all();
        let read = |text: &str| mail(text, &settings);
        let full = read("FROM:<a@b> SIZE=10 body=8bitmime SMTPUTF8 RET=HDRS ENVID=q+2B1").unwrap();
        assert_eq!((full.size, full.body, full.smtputf8), (Some(10), Some(Body::EightBitMime), true));
        assert_eq!((full.ret, full.envelope_id.as_deref()), (Some(Return::Headers), Some("q+1")));
        assert_eq!(read("from:<a@b> SIZE=99999999999999999999").unwrap().size, Some(u64::MAX));
        for syntax in [
            "FROM <a@b>",
            "FROM: <a@b>",
            "FROM:<a@b>x",
            "FROM:<a@b> ",
            "FROM:<a@b>  SIZE=1",
            "FROM:<a@b> SIZE=",
            "TO:<a@b>",
            "FROM:<a@b> SIZE=1 SIZE=1",
            "FROM:<a@b> SIZE=+1",
            "FROM:<a@b> SIZE=1\t",
            "FROM:<a@b> RET=X",
            "FROM:<a@b> ENVID=+0A",
            "FROM:<a@b> SMTPUTF8=1",
            "FROM:<a@b> SMTPUTF8 SMTPUTF8",
            "FROM:<a@b> ENVID",
            "",
            "FROM:",
        ] {
            assert_eq!(read(syntax), Err(ParameterError::Syntax), "{syntax}");
        }
        for unsupported in
            ["FROM:<a@b> X", "FROM:<a@b> BODY=BINARYMIME", "FROM:<a@b> AUTH=<>", "FROM:<a@b> BODY"]
        {
            assert_eq!(read(unsupported), Err(ParameterError::Unsupported), "{unsupported}");
        }
        assert_eq!(read("FROM:<é@b>"), Err(ParameterError::NotAscii));
        let plain = SessionSettings {
            extensions: Extensions { dsn: false, ..Extensions::default() },
            ..SessionSettings::default()
        };
        for word in ["SMTPUTF8", "RET=FULL", "ENVID=1"] {
            let text = ["FROM:<a@b> ", word].concat();
            assert_eq!(mail(&text, &plain), Err(ParameterError::Unsupported), "{word}");
        }
    }

    /// RFC 3461: parameters of RCPT.
    #[test]
    fn mta_ext_3461_recipient_parameters() {
        let settings = all();
        let read = |text: &str| recipient(text, &settings, false);
        let full = read("TO:<a@b> NOTIFY=success,DELAY ORCPT=rfc822;x+40y").unwrap();
        assert_eq!(full.notify, Some(Notify { success: true, failure: false, delay: true }));
        assert_eq!(full.original.map(|o| o.address), Some("x@y".to_string()));
        assert_eq!(read("TO:<a@b> NOTIFY=NEVER").unwrap().notify, Some(Notify::default()));
        assert!(read("TO:<PostMaster>").unwrap().bare_postmaster);
        assert!(!read("TO:<postmaster@x>").unwrap().bare_postmaster);
        for syntax in [
            "TO:<>",
            "TO:<a@b> NOTIFY=NEVER,DELAY",
            "TO:<a@b> ORCPT=x",
            "TO:<a@b> ORCPT=;x",
            "TO:<a@b> NOTIFY",
        ] {
            assert_eq!(read(syntax), Err(ParameterError::Syntax), "{syntax}");
        }
        assert_eq!(read("TO:<a@b> SIZE=1"), Err(ParameterError::Unsupported));
        assert_eq!(read("TO:<é@b>"), Err(ParameterError::NotAscii));
        assert!(recipient("TO:<é@b> ORCPT=utf-8;é@b", &settings, true).is_ok());
    }

    #[test]
    fn whitespace_options() {
        let trailing = SessionSettings { allow_trailing_whitespace: true, ..all() };
        assert!(mail("FROM:<a@b>  \t", &trailing).is_ok());
        assert!(mail("FROM: <a@b>", &trailing).is_err());
        let inside = SessionSettings { allow_envelope_whitespace: true, ..all() };
        assert!(mail(" FROM: < a@b >  SIZE=1 ", &inside).is_ok());
    }

    #[test]
    fn mta_ext_3030_chunk_lines() {
        assert_eq!(ChunkLine::parse("10"), ChunkLine::Chunk { octets: 10, last: false });
        assert_eq!(ChunkLine::parse("0 last"), ChunkLine::Chunk { octets: 0, last: true });
        assert_eq!(ChunkLine::parse("7 FIRST"), ChunkLine::Wrong { octets: 7 });
        assert_eq!(ChunkLine::parse("7 "), ChunkLine::Wrong { octets: 7 });
        assert_eq!(ChunkLine::parse("-1"), ChunkLine::NoNumber);
        assert_eq!(ChunkLine::parse(""), ChunkLine::NoNumber);
        assert_eq!(ChunkLine::parse("99999999999999999999"), ChunkLine::Uncountable);
    }
}
