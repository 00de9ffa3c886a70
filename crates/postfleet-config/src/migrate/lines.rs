//! Lines of the new text, and the comments between and behind them.

use alloc::collections::BTreeMap;
use alloc::string::String;
use alloc::vec::Vec;

/// A line of the new text.
#[derive(Clone, Debug, Default)]
pub(super) struct Line {
    pub(super) depth: usize,
    pub(super) text: String,
    /// The offset in the old text of what the line begins with; a comment goes before the line whose anchor is the
    /// next behind it.
    pub(super) anchor: Option<u32>,
    /// Where what the line ends with ends in the old text; a comment behind that stays behind it.
    pub(super) end: Option<u32>,
    /// The line closes a body, so that what goes before it belongs one level deeper.
    pub(super) closes: bool,
}

/// A comment of the old text, or a note.
#[derive(Clone, Debug)]
pub(super) struct Remark {
    /// Where it stood.
    pub(super) at: u32,
    pub(super) text: String,
    /// What it stood behind, for a comment that ends a line.
    pub(super) after: Option<u32>,
}

/// The text of the lines with the remarks, which are in the order of their places.
pub(super) fn join(lines: Vec<Line>, remarks: Vec<Remark>, old: &str) -> String {
    // Of several lines with one anchor the first gets the comments.
    let mut anchors: BTreeMap<u32, usize> = BTreeMap::new();
    let mut ends: BTreeMap<u32, usize> = BTreeMap::new();
    for (at, line) in lines.iter().enumerate() {
        if let Some(anchor) = line.anchor {
            anchors.entry(anchor).or_insert(at);
        }
        if let Some(end) = line.end {
            ends.entry(end).or_insert(at);
        }
    }
    let mut before: BTreeMap<usize, Vec<String>> = BTreeMap::new();
    let mut behind: BTreeMap<usize, Vec<String>> = BTreeMap::new();
    for remark in remarks {
        if let Some(line) = remark.after.and_then(|end| ends.get(&end))
            && !remark.text.contains('\n')
        {
            behind.entry(*line).or_default().push(remark.text);
            continue;
        }
        // A comment that ends the line of something goes before it when it cannot stay behind it.
        let own = remark.after.and_then(|_| {
            let (anchor, line) = anchors.range(..remark.at).next_back()?;
            let between = old.get(*anchor as usize..remark.at as usize)?;
            (!between.contains('\n')).then_some(*line)
        });
        let next = || anchors.range(remark.at..).next().map(|(_, line)| *line);
        let line = own.or_else(next).unwrap_or(lines.len());
        before.entry(line).or_default().push(remark.text);
    }
    let mut text = String::new();
    for (at, line) in lines.into_iter().enumerate() {
        let depth = line.depth + usize::from(line.closes);
        for remark in before.remove(&at).into_iter().flatten() {
            indent(&mut text, depth);
            text.push_str(&remark);
            text.push('\n');
        }
        indent(&mut text, line.depth);
        text.push_str(&line.text);
        for remark in behind.remove(&at).into_iter().flatten() {
            text.push(' ');
            text.push_str(&remark);
        }
        text.push('\n');
    }
    for remark in before.into_values().flatten() {
        text.push_str(&remark);
        text.push('\n');
    }
    text
}

fn indent(text: &mut String, depth: usize) {
    for _ in 0..depth {
        text.push_str("  ");
    }
}
