//! Patterns of Lua, with a bound of steps: what the interpreter brings cannot be interrupted, and a short pattern can keep
//! it busy for years. Reference manual of Lua 5.1, section 5.4.1.

use crate::limits::Meter;

/// Captures of one pattern, as in the reference implementation.
const CAPTURES_MAX: usize = 32;

/// Patterns within patterns that are matched one inside the other.
const DEPTH_MAX: u32 = 200;

/// What a capture holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Capture {
    /// From this byte up to another, the first counted from 0.
    Text(usize, usize),
    /// `()`: a position, counted from 1.
    Position(usize),
}

/// A match: where it begins, where it ends, its captures.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Found {
    pub(crate) from: usize,
    pub(crate) to: usize,
    pub(crate) captures: Vec<Capture>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Length {
    Open,
    Position,
    Known(usize),
}

struct Matcher<'a> {
    text: &'a [u8],
    pattern: &'a [u8],
    captures: Vec<(usize, Length)>,
    depth: u32,
    meter: &'a Meter,
    unpaid: u64,
}

type Outcome<T> = Result<T, String>;

/// The first match at or after `from`. With `anchored`, a leading `^` means the beginning.
pub(crate) fn find(
    meter: &Meter,
    text: &[u8],
    pattern: &[u8],
    from: usize,
    anchored: bool,
) -> Outcome<Option<Found>> {
    let anchor = anchored && pattern.first() == Some(&b'^');
    let pattern = if anchor { pattern.get(1..).unwrap_or_default() } else { pattern };
    let mut matcher = Matcher { text, pattern, captures: Vec::new(), depth: 0, meter, unpaid: 0 };
    let mut start = from;
    while start <= text.len() {
        matcher.captures.clear();
        if let Some(to) = matcher.matches(start, 0)? {
            let captures = matcher.finished()?;
            matcher.pay()?;
            return Ok(Some(Found { from: start, to, captures }));
        }
        if anchor {
            break;
        }
        start = start.saturating_add(1);
    }
    matcher.pay()?;
    Ok(None)
}

impl Matcher<'_> {
    fn step(&mut self) -> Outcome<()> {
        self.unpaid = self.unpaid.saturating_add(1);
        if self.unpaid >= 10_000 { self.pay() } else { Ok(()) }
    }

    fn pay(&mut self) -> Outcome<()> {
        let unpaid = std::mem::take(&mut self.unpaid);
        if self.meter.take(unpaid) { Ok(()) } else { Err("the pattern took too many steps".to_owned()) }
    }

    fn finished(&self) -> Outcome<Vec<Capture>> {
        self.captures
            .iter()
            .map(|(start, length)| match length {
                Length::Position => Ok(Capture::Position(start.saturating_add(1))),
                Length::Known(length) => Ok(Capture::Text(*start, start.saturating_add(*length))),
                Length::Open => Err("unfinished capture".to_owned()),
            })
            .collect()
    }

    fn at(&self, p: usize) -> Option<u8> {
        self.pattern.get(p).copied()
    }

    /// The end of the single-character class that begins at `p`.
    fn class_end(&self, p: usize) -> Outcome<usize> {
        let next = p.saturating_add(1);
        match self.at(p) {
            Some(b'%') => match self.at(next) {
                Some(_) => Ok(next.saturating_add(1)),
                None => Err("malformed pattern (ends with '%')".to_owned()),
            },
            Some(b'[') => {
                let mut p = if self.at(next) == Some(b'^') { next.saturating_add(1) } else { next };
                // A bracket in the first place is a character.
                loop {
                    match self.at(p) {
                        None => return Err("malformed pattern (missing ']')".to_owned()),
                        Some(b'%') => p = p.saturating_add(2),
                        Some(_) => p = p.saturating_add(1),
                    }
                    if self.at(p) == Some(b']') {
                        return Ok(p.saturating_add(1));
                    }
                }
            }
            _ => Ok(next),
        }
    }

    fn single(&self, s: usize, p: usize, end: usize) -> bool {
        let Some(&c) = self.text.get(s) else { return false };
        match self.at(p) {
            Some(b'.') => true,
            Some(b'%') => self.at(p.saturating_add(1)).is_some_and(|class| in_class(c, class)),
            Some(b'[') => self.in_set(c, p, end.saturating_sub(1)),
            other => other == Some(c),
        }
    }

    /// Whether a byte is in the set between the bracket at `p` and the one at `end`.
    fn in_set(&self, c: u8, p: usize, end: usize) -> bool {
        let mut p = p.saturating_add(1);
        let negated = self.at(p) == Some(b'^');
        if negated {
            p = p.saturating_add(1);
        }
        while p < end {
            let (first, second, third) =
                (self.at(p), self.at(p.saturating_add(1)), self.at(p.saturating_add(2)));
            if first == Some(b'%') {
                if second.is_some_and(|class| in_class(c, class)) {
                    return !negated;
                }
                p = p.saturating_add(2);
            } else if second == Some(b'-') && p.saturating_add(2) < end {
                if first.is_some_and(|low| low <= c) && third.is_some_and(|high| c <= high) {
                    return !negated;
                }
                p = p.saturating_add(3);
            } else {
                if first == Some(c) {
                    return !negated;
                }
                p = p.saturating_add(1);
            }
        }
        negated
    }

    fn matches(&mut self, s: usize, p: usize) -> Outcome<Option<usize>> {
        self.depth = self.depth.saturating_add(1);
        let found = if self.depth > DEPTH_MAX {
            Err("pattern too complex".to_owned())
        } else {
            self.matches_inside(s, p)
        };
        self.depth = self.depth.saturating_sub(1);
        found
    }

    fn matches_inside(&mut self, mut s: usize, mut p: usize) -> Outcome<Option<usize>> {
        loop {
            self.step()?;
            let next = p.saturating_add(1);
            match self.at(p) {
                None => return Ok(Some(s)),
                Some(b'(') if self.at(next) == Some(b')') => {
                    return self.open(s, next.saturating_add(1), Length::Position);
                }
                Some(b'(') => return self.open(s, next, Length::Open),
                Some(b')') => return self.close(s, next),
                Some(b'$') if self.at(next).is_none() => return Ok((s == self.text.len()).then_some(s)),
                Some(b'%') => match self.at(next) {
                    Some(b'b') => match self.balanced(s, next.saturating_add(1))? {
                        Some(after) => {
                            s = after;
                            p = p.saturating_add(4);
                            continue;
                        }
                        None => return Ok(None),
                    },
                    Some(b'f') => {
                        let set = next.saturating_add(1);
                        if self.at(set) != Some(b'[') {
                            return Err("missing '[' after '%f' in pattern".to_owned());
                        }
                        let end = self.class_end(set)?;
                        let before = s.checked_sub(1).and_then(|at| self.text.get(at)).copied().unwrap_or(0);
                        let here = self.text.get(s).copied().unwrap_or(0);
                        let last = end.saturating_sub(1);
                        if self.in_set(before, set, last) || !self.in_set(here, set, last) {
                            return Ok(None);
                        }
                        p = end;
                        continue;
                    }
                    Some(digit) if digit.is_ascii_digit() => {
                        let (from, to) = self.captured(digit)?;
                        let text = self.text.get(from..to).unwrap_or_default();
                        self.unpaid =
                            self.unpaid.saturating_add(u64::try_from(text.len()).unwrap_or(u64::MAX));
                        if !self.text.get(s..).is_some_and(|rest| rest.starts_with(text)) {
                            return Ok(None);
                        }
                        s = s.saturating_add(text.len());
                        p = next.saturating_add(1);
                        continue;
                    }
                    _ => {}
                },
                Some(_) => {}
            }
            let end = self.class_end(p)?;
            let after = end.saturating_add(1);
            match self.at(end) {
                Some(b'?') => {
                    if self.single(s, p, end)
                        && let Some(found) = self.matches(s.saturating_add(1), after)?
                    {
                        return Ok(Some(found));
                    }
                    p = after;
                }
                Some(b'*') => return self.longest(s, p, end, 0),
                Some(b'+') => return self.longest(s, p, end, 1),
                Some(b'-') => loop {
                    self.step()?;
                    if let Some(found) = self.matches(s, after)? {
                        return Ok(Some(found));
                    }
                    if !self.single(s, p, end) {
                        return Ok(None);
                    }
                    s = s.saturating_add(1);
                },
                _ => {
                    if !self.single(s, p, end) {
                        return Ok(None);
                    }
                    s = s.saturating_add(1);
                    p = end;
                }
            }
        }
    }

    fn longest(&mut self, s: usize, p: usize, end: usize, least: usize) -> Outcome<Option<usize>> {
        let mut count = 0_usize;
        while self.single(s.saturating_add(count), p, end) {
            self.step()?;
            count = count.saturating_add(1);
        }
        while count >= least {
            if let Some(found) = self.matches(s.saturating_add(count), end.saturating_add(1))? {
                return Ok(Some(found));
            }
            match count.checked_sub(1) {
                Some(less) => count = less,
                None => break,
            }
        }
        Ok(None)
    }

    fn open(&mut self, s: usize, p: usize, length: Length) -> Outcome<Option<usize>> {
        if self.captures.len() >= CAPTURES_MAX {
            return Err("too many captures".to_owned());
        }
        let count = self.captures.len();
        self.captures.push((s, length));
        let found = self.matches(s, p)?;
        if found.is_none() {
            self.captures.truncate(count);
        }
        Ok(found)
    }

    fn close(&mut self, s: usize, p: usize) -> Outcome<Option<usize>> {
        let Some(at) = self.captures.iter().rposition(|(_, length)| *length == Length::Open) else {
            return Err("invalid pattern capture".to_owned());
        };
        if let Some(capture) = self.captures.get_mut(at) {
            capture.1 = Length::Known(s.saturating_sub(capture.0));
        }
        let found = self.matches(s, p)?;
        if found.is_none()
            && let Some(capture) = self.captures.get_mut(at)
        {
            capture.1 = Length::Open;
        }
        Ok(found)
    }

    fn captured(&self, digit: u8) -> Outcome<(usize, usize)> {
        let at = usize::from(digit).checked_sub(usize::from(b'1'));
        match at.and_then(|at| self.captures.get(at)) {
            Some((start, Length::Known(length))) => Ok((*start, start.saturating_add(*length))),
            _ => Err(format!("invalid capture index %{}", char::from(digit))),
        }
    }

    fn balanced(&mut self, s: usize, p: usize) -> Outcome<Option<usize>> {
        let (Some(open), Some(close)) = (self.at(p), self.at(p.saturating_add(1))) else {
            return Err("unbalanced pattern".to_owned());
        };
        if self.text.get(s) != Some(&open) {
            return Ok(None);
        }
        let mut depth = 1_usize;
        let mut at = s.saturating_add(1);
        while let Some(&c) = self.text.get(at) {
            self.step()?;
            if c == close {
                depth = depth.saturating_sub(1);
                if depth == 0 {
                    return Ok(Some(at.saturating_add(1)));
                }
            } else if c == open {
                depth = depth.saturating_add(1);
            }
            at = at.saturating_add(1);
        }
        Ok(None)
    }
}

fn in_class(c: u8, class: u8) -> bool {
    let inside = match class.to_ascii_lowercase() {
        b'a' => c.is_ascii_alphabetic(),
        b'c' => c.is_ascii_control(),
        b'd' => c.is_ascii_digit(),
        b'l' => c.is_ascii_lowercase(),
        b'p' => c.is_ascii_punctuation(),
        b's' => matches!(c, b' ' | b'\t' | b'\n' | b'\r' | 0x0b | 0x0c),
        b'u' => c.is_ascii_uppercase(),
        b'w' => c.is_ascii_alphanumeric(),
        b'x' => c.is_ascii_hexdigit(),
        b'z' => c == 0,
        _ => return class == c,
    };
    inside != class.is_ascii_uppercase()
}

#[cfg(test)]
mod tests {
    use super::{Capture, Found, find};
    use crate::limits::Meter;
    use std::time::Duration;

    fn meter() -> Meter {
        let meter = Meter::new();
        meter.start(1_000_000, Duration::from_secs(60));
        meter
    }

    fn found(text: &str, pattern: &str) -> Option<String> {
        let found = find(&meter(), text.as_bytes(), pattern.as_bytes(), 0, true).expect("a good pattern")?;
        let shown = |capture: &Capture| match capture {
            Capture::Text(from, to) => text[*from..*to].to_owned(),
            Capture::Position(at) => at.to_string(),
        };
        let captures: Vec<String> = found.captures.iter().map(shown).collect();
        Some(format!("{}-{} {}", found.from, found.to, captures.join(",")))
    }

    #[test]
    fn patterns_match_as_the_reference_manual_says() {
        let check = |text, pattern, expected: &str| {
            assert_eq!(found(text, pattern).as_deref(), Some(expected), "{text} {pattern}");
        };
        check("hello world", "o", "4-5 ");
        check("hello world", "(%w+) (%w+)", "0-11 hello,world");
        check("key = value", "^(%w+)%s*=%s*(%w+)$", "0-11 key,value");
        check("user@example.org", "@(.-)%.", "4-13 example");
        check("f(a(b)c)d", "%b()", "1-8 ");
        check("THE (quick) fox", "%f[%a]%a+%f[%A]", "0-3 ");
        check("[]-x", "[]-]+", "1-3 ");
        check("abc", "()b()", "1-2 2,3");
        check("\"a\" 'b'", "([\"'])(.-)%1", "0-3 \",a");
        check("", "a*", "0-0 ");
        check("ab12", "[%a%d]-$", "0-4 ");
        check("x%y", "%%", "1-2 ");
        check("2026-11-28", "(%d+)-(%d+)-(%d+)", "0-10 2026,11,28");
        assert_eq!(found("abc", "^b"), None);
        assert_eq!(found("abc", "[^a-c]"), None);
    }

    #[test]
    fn bad_patterns_are_errors() {
        for pattern in ["(", "%", "[a", "[^", "%b", "%f", "%1", "(()", ")", "[%", "(a%1)"] {
            assert!(find(&meter(), b"aaa", pattern.as_bytes(), 0, true).is_err(), "{pattern}");
        }
        let deep = "a?".repeat(400);
        let text = "a".repeat(400);
        assert_eq!(
            find(&meter(), text.as_bytes(), deep.as_bytes(), 0, true),
            Err("pattern too complex".to_owned())
        );
    }

    #[test]
    fn a_pattern_that_would_take_years_ends() {
        let text = "a".repeat(200);
        let pattern = format!("{}b", "a-".repeat(20));
        assert!(find(&meter(), text.as_bytes(), pattern.as_bytes(), 0, true).is_err());
    }

    #[test]
    fn a_search_begins_where_it_is_told_to() {
        let expected = Some(Found { from: 3, to: 4, captures: Vec::new() });
        assert_eq!(find(&meter(), b"abcabc", b"a", 1, true), Ok(expected));
        assert_eq!(find(&meter(), b"abc", b"", 4, true), Ok(None));
        // Where a pattern cannot be anchored the mark is a character.
        assert_eq!(
            find(&meter(), b"a^", b"^", 0, false).map(|found| found.map(|found| found.from)),
            Ok(Some(1))
        );
    }
}
