//! Match types, relations and comparators.

use alloc::boxed::Box;
use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::cmp::Ordering;

use fancy_regex::RegexBuilder;

use crate::number::Decimal;
use postfleet_policy::Fault;

/// Steps that an expression may go back before it counts as an error, and bytes that its compiled form may have.
const REGEX_STEPS_MAX: usize = 1_000_000;
const REGEX_BYTES_MAX: usize = 1 << 20;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Relation {
    Greater,
    GreaterOrEqual,
    Less,
    LessOrEqual,
    Equal,
    NotEqual,
    BitwiseAnd,
}

impl Relation {
    pub(crate) fn from_name(name: &str) -> Option<Self> {
        Some(match name {
            "gt" => Self::Greater,
            "ge" => Self::GreaterOrEqual,
            "lt" => Self::Less,
            "le" => Self::LessOrEqual,
            "eq" => Self::Equal,
            "ne" => Self::NotEqual,
            "bitwise-and" => Self::BitwiseAnd,
            _ => return None,
        })
    }

    fn holds(self, order: Ordering) -> bool {
        match self {
            Self::Greater => order.is_gt(),
            Self::GreaterOrEqual => order.is_ge(),
            Self::Less => order.is_lt(),
            Self::LessOrEqual => order.is_le(),
            Self::Equal => order.is_eq(),
            Self::NotEqual => order.is_ne(),
            Self::BitwiseAnd => false,
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Match {
    Is,
    Contains,
    Matches,
    Regex,
    Value(Relation),
    Count(Relation),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Comparator {
    Octet,
    AsciiCasemap,
    AsciiNumeric,
}

impl Comparator {
    pub(crate) fn from_name(name: &str) -> Option<Self> {
        Some(match name {
            "i;octet" => Self::Octet,
            "i;ascii-casemap" => Self::AsciiCasemap,
            "i;ascii-numeric" => Self::AsciiNumeric,
            _ => return None,
        })
    }

    fn order(self, a: &str, b: &str) -> Ordering {
        match self {
            Self::Octet => a.cmp(b),
            Self::AsciiCasemap => a.to_ascii_lowercase().cmp(&b.to_ascii_lowercase()),
            Self::AsciiNumeric => Decimal::first_in(a).scaled.cmp(&Decimal::first_in(b).scaled),
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Comparison {
    pub(crate) kind: Match,
    pub(crate) comparator: Comparator,
}

/// The strings on the left. An unset one reads as empty, except that it contains nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Subjects {
    pub(crate) strings: Vec<String>,
    pub(crate) set: bool,
}

/// A key that subjects can be compared with.
type Prepared<'a> = Box<dyn Fn(&str) -> Result<bool, Fault> + 'a>;

impl Comparison {
    /// Whether any subject matches any key.
    pub(crate) fn any(self, subjects: &Subjects, keys: &[String]) -> Result<bool, Fault> {
        if let Match::Count(relation) = self.kind {
            let count = if subjects.set { subjects.strings.len() } else { 0 };
            return Ok(keys
                .iter()
                .any(|key| related(relation, Comparator::AsciiNumeric, &count.to_string(), key)));
        }
        for key in keys {
            let test = self.prepare(key)?;
            for subject in &subjects.strings {
                if (subjects.set || self.kind != Match::Contains) && test(subject)? {
                    return Ok(true);
                }
            }
        }
        Ok(false)
    }

    fn prepare<'a>(self, key: &'a str) -> Result<Prepared<'a>, Fault> {
        let casemap = self.comparator == Comparator::AsciiCasemap;
        let folded = move |text: &str| if casemap { text.to_ascii_lowercase() } else { text.to_string() };
        Ok(match self.kind {
            Match::Is => Box::new(move |subject| Ok(self.comparator.order(subject, key).is_eq())),
            Match::Contains => {
                let key = folded(key);
                Box::new(move |subject| Ok(folded(subject).contains(key.as_str())))
            }
            Match::Matches => {
                let key: Vec<char> = folded(key).chars().collect();
                Box::new(move |subject| Ok(glob(&folded(subject), &key)))
            }
            Match::Regex => {
                let regex = RegexBuilder::new(key)
                    .case_insensitive(casemap)
                    .backtrack_limit(REGEX_STEPS_MAX)
                    .delegate_size_limit(REGEX_BYTES_MAX)
                    .build()
                    .map_err(|error| Fault::new(format!("'{key}' is not a regular expression: {error}")))?;
                Box::new(move |subject| {
                    regex
                        .is_match(subject)
                        .map_err(|error| Fault::new(format!("regular expression '{key}': {error}")))
                })
            }
            Match::Value(relation) | Match::Count(relation) => {
                Box::new(move |subject| Ok(related(relation, self.comparator, subject, key)))
            }
        })
    }
}

fn related(relation: Relation, comparator: Comparator, subject: &str, key: &str) -> bool {
    if relation == Relation::BitwiseAnd {
        return Decimal::first_in(subject).integer() & Decimal::first_in(key).integer() != 0;
    }
    relation.holds(comparator.order(subject, key))
}

/// `*` for any characters, `?` for one, a backslash before either for itself.
fn glob(subject: &str, pattern: &[char]) -> bool {
    let subject: Vec<char> = subject.chars().collect();
    let (mut at, mut in_pattern) = (0_usize, 0_usize);
    // Where to go on if what follows the last star does not fit: one character later in the subject.
    let mut star: Option<(usize, usize)> = None;
    loop {
        let here = subject.get(at).copied();
        let wanted = pattern.get(in_pattern).copied();
        let next = in_pattern.saturating_add(1);
        let fits = match (wanted, here) {
            (None, None) => return true,
            (Some('*'), _) => {
                star = Some((next, at));
                in_pattern = next;
                continue;
            }
            (Some('?'), Some(_)) => Some(next),
            (Some('\\'), Some(c)) if pattern.get(next) == Some(&c) => Some(next.saturating_add(1)),
            (Some(wanted), Some(c)) if wanted == c && wanted != '\\' => Some(next),
            _ => None,
        };
        if let Some(next) = fits {
            in_pattern = next;
            at = at.saturating_add(1);
        } else if let (Some((after, from)), Some(_)) = (star, here) {
            at = from.saturating_add(1);
            star = Some((after, at));
            in_pattern = after;
        } else {
            return false;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Comparator, Comparison, Match, Relation, Subjects, glob};

    fn check(kind: Match, comparator: Comparator, subject: &str, key: &str, expected: bool) {
        let subjects = Subjects { strings: vec![subject.into()], set: true };
        let found = Comparison { kind, comparator }.any(&subjects, &[key.into()]);
        assert_eq!(found, Ok(expected), "{kind:?} {comparator:?} {subject} {key}");
    }

    #[test]
    fn policy_p18_comparisons() {
        use {Comparator::*, Relation::*};
        check(Match::Value(GreaterOrEqual), AsciiNumeric, "12 items", "12", true);
        check(Match::Value(Greater), AsciiNumeric, "9", "10", false);
        check(Match::Value(Greater), AsciiNumeric, "", "10", false);
        check(Match::Value(Greater), AsciiNumeric, "55.54", "55", true);
        check(Match::Is, Octet, "Spam", "spam", false);
        check(Match::Is, AsciiCasemap, "Spam", "spam", true);
    }

    #[test]
    fn other_match_types() {
        use {Comparator::*, Relation::*};
        check(Match::Contains, Octet, "", "", true);
        check(Match::Regex, Octet, "abab", r"^(ab)\1$", true);
        check(Match::Regex, AsciiCasemap, "ABC", "b", true);
        check(Match::Value(BitwiseAnd), AsciiNumeric, "6", "2", true);
        check(Match::Value(BitwiseAnd), AsciiNumeric, "6", "1", false);
        check(Match::Count(Equal), Octet, "x", "1", true);
        check(Match::Value(NotEqual), Octet, "a", "A", true);
        let broken = Comparison { kind: Match::Regex, comparator: Octet };
        assert!(broken.any(&Subjects::default(), &["(".into()]).is_err());
    }

    #[test]
    fn patterns() {
        let check = |subject, pattern: &str, expected| {
            assert_eq!(glob(subject, &pattern.chars().collect::<Vec<_>>()), expected, "{subject} {pattern}");
        };
        check("host.example.org", "*.example.???", true);
        check("aXbXc", "a*X?", true);
        check("abc", "a*d", false);
        check("a*c", r"a\*c", true);
        check("abc", r"a\*c", false);
        check("", "*", true);
        check("", "?", false);
    }
}
