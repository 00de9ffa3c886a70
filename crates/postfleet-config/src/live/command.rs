//! Configuration commands as typed.

use alloc::string::{String, ToString as _};
use alloc::sync::Arc;
use alloc::vec::Vec;

use super::place::{Place, Target};
use super::refusal::Refusal;
use crate::diagnostic::Findings;
use crate::files::Role;
use crate::lexer::{self, Kind, Token};
use crate::schema::{self, Row};
use crate::secret::is_secret;
use crate::source::{SourceId, Sources, Span};
use crate::syntax::{Quote, Word, Written};

/// A configuration command, checked against the schema. Whether its instances exist is not known yet.
#[derive(Clone, Debug, PartialEq)]
pub struct Command(pub(super) Verb);

#[derive(Clone, Debug, PartialEq)]
pub(super) enum Verb {
    Get(Place, &'static Row),
    Eval(Place, &'static Row),
    Where(Place, &'static Row),
    Set(Assignment),
    Unset(Place, &'static Row, Arc<str>),
    Remove(Place, Arc<str>),
    Show(Place),
    ShowRecurse(Place),
    Locate { scope: String, pattern: Option<String> },
    Begin { from_scratch: bool },
    Commit,
    Rollback,
    Replay,
    Diff,
    Digest,
    Reload { path: Option<String>, local: bool },
    WriteBack { path: Option<String> },
    WriteConfig { path: Option<String> },
}

/// `config set` as typed.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Assignment {
    pub(super) place: Place,
    pub(super) row: &'static Row,
    pub(super) name: Word,
    pub(super) value: Written,
    /// The whole command; the spans of the words lie in it.
    pub(super) line: Arc<str>,
}

/// What a process has to do for a command that is not settled by the configuration alone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Errand {
    /// Nothing: perform it with a session.
    Session,
    /// `config reload [PATH]`; `local` on a manager: the nodes are left alone.
    Reload {
        /// The main file of this one reload.
        path: Option<String>,
        /// The command is not passed on.
        local: bool,
    },
    /// `config writeback [PATH]`
    WriteBack {
        /// The file that takes the changes instead of those they belong to.
        path: Option<String>,
    },
    /// `write config FILE`; without a file it is for the session.
    WriteConfig {
        /// The file on the server.
        path: String,
    },
}

impl Command {
    /// Reads a command line that begins with `config` or is `write config …`.
    ///
    /// # Errors
    /// [`Refusal`] when it is no command, or names no option.
    pub fn parse(line: &str, role: Role) -> Result<Self, Refusal> {
        let mut words = Words::new(line)?;
        let (Some(first), Some(second)) = (words.next(), words.next()) else {
            return Err(usage("config get|eval|set|unset|show|locate|begin|commit|… or write config"));
        };
        let verb = match (first.text.as_str(), second.text.as_str()) {
            ("config", "get") => words.option(role, false).map(|(place, row)| Verb::Get(place, row)),
            ("config", "eval") => words.option(role, true).map(|(place, row)| Verb::Eval(place, row)),
            ("config", "where") => words.option(role, true).map(|(place, row)| Verb::Where(place, row)),
            ("config", "set") => words.assignment(role, line).map(Verb::Set),
            ("config", "unset") => words.unset(role, line),
            ("config", "show") => words.show(role),
            ("config", "showrecurse") => words.scope(role).map(Verb::ShowRecurse),
            ("config", "locate") => words.locate(),
            ("config", "begin") => words.begin(),
            ("config", "commit") => Ok(Verb::Commit),
            ("config", "rollback") => Ok(Verb::Rollback),
            ("config", "replay") => Ok(Verb::Replay),
            ("config", "diff") => Ok(Verb::Diff),
            ("config", "digest") => Ok(Verb::Digest),
            ("config", "reload") => words.reload(role),
            ("config", "writeback") => Ok(Verb::WriteBack { path: words.next().map(|word| word.text) }),
            ("write", "config") => Ok(Verb::WriteConfig { path: words.next().map(|word| word.text) }),
            _ => Err(usage("config get|eval|set|unset|show|locate|begin|commit|… or write config")),
        }?;
        words.end()?;
        Ok(Self(verb))
    }

    /// Who carries the command out.
    #[must_use]
    pub fn errand(&self) -> Errand {
        match &self.0 {
            Verb::Reload { path, local } => Errand::Reload { path: path.clone(), local: *local },
            Verb::WriteBack { path } => Errand::WriteBack { path: path.clone() },
            Verb::WriteConfig { path: Some(path) } => Errand::WriteConfig { path: path.clone() },
            Verb::WriteConfig { path: None }
            | Verb::Get(..)
            | Verb::Eval(..)
            | Verb::Where(..)
            | Verb::Set(_)
            | Verb::Unset(..)
            | Verb::Remove(..)
            | Verb::Show(_)
            | Verb::ShowRecurse(_)
            | Verb::Locate { .. }
            | Verb::Begin { .. }
            | Verb::Commit
            | Verb::Rollback
            | Verb::Replay
            | Verb::Diff
            | Verb::Digest => Errand::Session,
        }
    }
}

/// The command line for logs: values of secret options as `***`.
#[must_use]
pub fn redacted(line: &str, role: Role) -> String {
    match Command::parse(line, role) {
        Ok(Command(Verb::Set(set))) if hides(set.row) => {
            let value = set.value.span();
            let before = line.get(..value.start as usize).unwrap_or("");
            alloc::format!("{before}***")
        }
        Ok(_) => line.to_string(),
        // A line that is not understood may hold a secret anywhere behind a word that looks like one.
        Err(_) => {
            let lower = line.to_ascii_lowercase();
            match ["password", "pwd", "secret", "uri"].iter().filter_map(|word| lower.find(word)).min() {
                Some(at) => alloc::format!("{}***", line.get(..at).unwrap_or("")),
                None => line.to_string(),
            }
        }
    }
}

/// Whether values of the option stay out of messages and logs.
pub(super) fn hides(row: &Row) -> bool {
    let name = row.name.to_ascii_lowercase();
    is_secret(&name)
        || ["key", "secret"].iter().any(|ending| name.ends_with(ending))
        || name == "uri"
        || matches!(row.kind, schema::Kind::Dict(schema::Keys::Authentication))
}

fn usage(grammar: &str) -> Refusal {
    Refusal::Usage(alloc::format!("Usage: {grammar}"))
}

const OPTION: &str = "config get|eval|where [<scope> [<instance>]]... <option>";
const SET: &str = "config set [<scope> [<instance>]]... <option> [=] <value>";

/// The words and brackets of a line.
struct Words<'a> {
    line: &'a str,
    tokens: Vec<Token>,
    at: usize,
}

impl Iterator for Words<'_> {
    type Item = Word;

    fn next(&mut self) -> Option<Word> {
        let token = self.tokens.get(self.at)?;
        let Kind::Word(quote) = token.kind else { return None };
        self.at += 1;
        Some(Word { text: token.text.clone(), quote, span: token.span })
    }
}

impl<'a> Words<'a> {
    fn new(line: &'a str) -> Result<Self, Refusal> {
        let mut findings = Findings::default();
        let mut sources = Sources::default();
        let source = sources.add("console".into(), line.into(), None, false, false);
        let tokens = lexer::lex(source, line, &[], &mut findings);
        if findings.has_errors() {
            let reason = findings.finish(&sources).first().map(crate::diagnostic::Diagnostic::sentence);
            return Err(Refusal::Usage(reason.unwrap_or_default()));
        }
        Ok(Self { line, tokens: tokens.list, at: 0 })
    }

    fn kind(&self) -> Kind {
        self.tokens.get(self.at).map_or(Kind::End, |token| token.kind)
    }

    /// The place of the token at hand.
    fn span(&self) -> Span {
        self.tokens.get(self.at).map_or(Span::at(SourceId(0), 0, 0), |token| token.span)
    }

    fn end(&self) -> Result<(), Refusal> {
        match self.tokens.get(self.at) {
            Some(token) if token.kind != Kind::End => {
                let what = if token.text.is_empty() { "punctuation" } else { token.text.as_str() };
                Err(Refusal::Usage(alloc::format!(
                    "Unexpected '{what}' at column {}; the command ends before it.",
                    token.span.start.saturating_add(1)
                )))
            }
            Some(_) | None => Ok(()),
        }
    }

    fn target(&mut self, role: Role) -> Result<Target, Refusal> {
        Place::read(self, role)
    }

    fn option(&mut self, role: Role, around: bool) -> Result<(Place, &'static Row), Refusal> {
        let Target { place, rest } = self.target(role)?;
        let Some(word) = rest else { return Err(usage(OPTION)) };
        let row = found(&place, &word, around, role, self.kind())?;
        Ok((place, row))
    }

    fn scope(&mut self, role: Role) -> Result<Place, Refusal> {
        let Target { place, rest } = self.target(role)?;
        match rest {
            None => Ok(place),
            Some(word) if is_kept(&word.text) => Err(Refusal::NotRead(word.text)),
            Some(word) => Err(Refusal::NoSuchScope(scope_path(&place, &word))),
        }
    }

    fn show(&mut self, role: Role) -> Result<Verb, Refusal> {
        let Target { place, rest } = self.target(role)?;
        let Some(word) = rest else { return Ok(Verb::Show(place)) };
        if place.option_around(&word.text).is_none()
            && place.option(&word.text).is_none()
            && is_scope(&word.text)
        {
            return Err(Refusal::NoSuchScope(scope_path(&place, &word)));
        }
        let row = found(&place, &word, true, role, self.kind())?;
        Ok(Verb::Eval(place, row))
    }

    fn assignment(&mut self, role: Role, line: &str) -> Result<Assignment, Refusal> {
        let Target { place, rest } = self.target(role)?;
        let Some(name) = rest else { return Err(usage(SET)) };
        let row = found(&place, &name, false, role, self.kind())?;
        if self.kind() == Kind::Equals {
            self.at += 1;
        }
        let value = self.value(row)?;
        if self.kind() != Kind::End {
            let given = line.get(value.span().start as usize..).unwrap_or("");
            return Err(Refusal::InvalidValue {
                value: if hides(row) { "***".into() } else { given.into() },
                option: row.name,
                reason: "one value is expected; put a value that contains blanks into double quotes".into(),
            });
        }
        Ok(Assignment { place, row, name, value, line: line.into() })
    }

    fn value(&mut self, row: &'static Row) -> Result<Written, Refusal> {
        let opened = self.span();
        match self.kind() {
            Kind::Word(_) => self.next().map(Written::Atom).ok_or_else(|| usage(SET)),
            Kind::OpenParen => {
                self.at += 1;
                let mut words = Vec::new();
                for word in self.by_ref() {
                    if word.quote != Quote::Bare || word.text != "," {
                        words.push(word);
                    }
                }
                let closed = self.close(Kind::CloseParen, row, "a list ends in )")?;
                Ok(Written::List(words, opened.to(closed)))
            }
            Kind::OpenBracket => {
                self.at += 1;
                let mut pairs: Vec<(Word, Word)> = Vec::new();
                while let Some(key) = self.next() {
                    if self.kind() != Kind::Equals {
                        break;
                    }
                    self.at += 1;
                    let Some(value) = self.next() else { break };
                    pairs.retain(|(other, _)| !other.text.eq_ignore_ascii_case(&key.text));
                    pairs.push((key, value));
                }
                let closed = self.close(Kind::CloseBracket, row, "a dictionary is [ key = value … ]")?;
                Ok(Written::Dict(pairs, opened.to(closed)))
            }
            Kind::Equals
            | Kind::OpenBrace
            | Kind::CloseBrace
            | Kind::CloseBracket
            | Kind::CloseParen
            | Kind::Less
            | Kind::Greater
            | Kind::End => Err(usage(SET)),
        }
    }

    fn close(&mut self, closer: Kind, row: &'static Row, reason: &str) -> Result<Span, Refusal> {
        let span = self.span();
        if self.kind() == closer {
            self.at += 1;
            return Ok(span);
        }
        Err(Refusal::Usage(alloc::format!("Cannot read the value of '{}': {reason}.", row.name)))
    }

    fn unset(&mut self, role: Role, line: &str) -> Result<Verb, Refusal> {
        let Target { place, rest } = self.target(role)?;
        match rest {
            None if place.is_global() && self.kind() == Kind::End => Err(Refusal::GlobalUnset),
            None => Ok(Verb::Remove(place, line.into())),
            Some(word) => {
                let row = found(&place, &word, false, role, self.kind())?;
                Ok(Verb::Unset(place, row, line.into()))
            }
        }
    }

    fn locate(&mut self) -> Result<Verb, Refusal> {
        let Some(scope) = self.next() else { return Err(usage("config locate <scope> [<regex>]")) };
        let first = self.span();
        let only = self.tokens.get(self.at.saturating_add(1)).is_none_or(|token| token.kind == Kind::End);
        let pattern = match self.kind() {
            Kind::End => None,
            Kind::Word(_) if only => self.next().map(|word| word.text),
            // Brackets are words of their own to the language, and belong to the pattern here.
            Kind::Word(_)
            | Kind::Equals
            | Kind::OpenBrace
            | Kind::CloseBrace
            | Kind::OpenBracket
            | Kind::CloseBracket
            | Kind::OpenParen
            | Kind::CloseParen
            | Kind::Less
            | Kind::Greater => {
                Some(self.line.get(first.start as usize..).unwrap_or("").trim_end().to_string())
            }
        };
        self.at = self.tokens.len();
        Ok(Verb::Locate { scope: scope.text, pattern })
    }

    fn begin(&mut self) -> Result<Verb, Refusal> {
        match (self.next(), self.next()) {
            (None, _) => Ok(Verb::Begin { from_scratch: false }),
            (Some(from), Some(scratch)) if from.text == "from" && scratch.text == "scratch" => {
                Ok(Verb::Begin { from_scratch: true })
            }
            (Some(_), _) => Err(usage("config begin [from scratch]")),
        }
    }

    fn reload(&mut self, role: Role) -> Result<Verb, Refusal> {
        match self.next() {
            Some(word) if word.text == "local" && role == Role::Manager => {
                Ok(Verb::Reload { path: None, local: true })
            }
            path => Ok(Verb::Reload { path: path.map(|word| word.text), local: false }),
        }
    }
}

fn is_scope(word: &str) -> bool {
    schema::scope_rows().any(|row| row.name.eq_ignore_ascii_case(word))
}

/// Whether the name is kept where it is written, and not read.
fn is_kept(name: &str) -> bool {
    schema::known(name) || schema::known_accepted(name).is_some()
}

fn scope_path(place: &Place, word: &Word) -> String {
    let tree = crate::tree::Tree::new();
    alloc::format!("{}{}", place.path(&tree), word.text)
}

/// The option that a word means. A word that more words follow was meant as a scope.
fn found(place: &Place, word: &Word, around: bool, role: Role, next: Kind) -> Result<&'static Row, Refusal> {
    let row = if around { place.option_around(&word.text) } else { place.option(&word.text) };
    if let Some(row) = row {
        return Ok(row);
    }
    if is_scope(&word.text) && next.is_word() {
        return Err(Refusal::NoSuchScope(scope_path(place, word)));
    }
    if is_kept(&word.text) {
        return Err(Refusal::NotRead(word.text.clone()));
    }
    let meant = schema::nearest(place.scope(), place.service(), role, &word.text);
    Err(Refusal::UnknownOption {
        option: word.text.clone(),
        path: place.path(&crate::tree::Tree::new()),
        scope: place.scope().name(),
        meant: meant.filter(|name| !name.eq_ignore_ascii_case(&word.text)),
    })
}
