//! Options by name. A file of ten thousand stanzas asks for one at every line, so the way is short: the table is
//! made when the program is compiled.

use super::{Row, SECTIONS};

const COUNT: usize = {
    let mut count = 0;
    let mut at = 0;
    while at < SECTIONS.len() {
        let mut part = 0;
        while part < SECTIONS[at].rows.len() {
            count += SECTIONS[at].rows[part].len();
            part += 1;
        }
        at += 1;
    }
    count
};

const BUCKETS: usize = 1024;
/// No row: ends a bucket's list.
const NONE: u16 = u16::MAX;

/// Every row, in the order of the reference page.
static ROWS: [&Row; COUNT] = {
    let mut rows: [&Row; COUNT] = [&SECTIONS[0].rows[0][0]; COUNT];
    let (mut filled, mut at) = (0, 0);
    while at < SECTIONS.len() {
        let mut part = 0;
        while part < SECTIONS[at].rows.len() {
            let mut row = 0;
            while row < SECTIONS[at].rows[part].len() {
                rows[filled] = &SECTIONS[at].rows[part][row];
                filled += 1;
                row += 1;
            }
            part += 1;
        }
        at += 1;
    }
    rows
};

/// The first row of each bucket, and for each row the next one of its bucket.
static INDEX: ([u16; BUCKETS], [u16; COUNT]) = {
    let mut first = [NONE; BUCKETS];
    let mut next = [NONE; COUNT];
    let mut at = COUNT;
    while at > 0 {
        at -= 1;
        let bucket = bucket(ROWS[at].name.as_bytes());
        next[at] = first[bucket];
        #[expect(
            clippy::cast_possible_truncation,
            reason = "there are some hundred rows, as the assertion says"
        )]
        {
            first[bucket] = at as u16;
        }
    }
    assert!(COUNT < NONE as usize);
    (first, next)
};

/// FNV-1a over the name in lower case.
const fn bucket(name: &[u8]) -> usize {
    let mut hash: u32 = 0x811c_9dc5;
    let mut at = 0;
    while at < name.len() {
        hash = (hash ^ name[at].to_ascii_lowercase() as u32).wrapping_mul(0x0100_0193);
        at += 1;
    }
    (hash ^ (hash >> 16)) as usize % BUCKETS
}

/// The rows of this name, in the order of the reference page; case does not matter.
pub(crate) fn named(name: &str) -> impl Iterator<Item = &'static Row> {
    let mut at = INDEX.0.get(bucket(name.as_bytes())).copied().unwrap_or(NONE);
    core::iter::from_fn(move || {
        let row = ROWS.get(usize::from(at)).copied()?;
        at = INDEX.1.get(usize::from(at)).copied().unwrap_or(NONE);
        Some(row)
    })
    .filter(move |row| row.name.eq_ignore_ascii_case(name))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::schema::rows;

    #[test]
    fn every_row_is_found_by_its_name() {
        assert_eq!(rows().count(), COUNT);
        for row in rows() {
            let same: Vec<&Row> = rows().filter(|other| other.name.eq_ignore_ascii_case(row.name)).collect();
            let found: Vec<&Row> = named(&row.name.to_ascii_uppercase()).collect();
            assert_eq!(found, same, "{}", row.name);
        }
        assert_eq!(named("").count(), 0);
        assert_eq!(named("no_such_option").count(), 0);
    }

    #[test]
    fn buckets_are_short() {
        let longest =
            (0..BUCKETS).map(|at| ROWS.iter().filter(|row| bucket(row.name.as_bytes()) == at).count()).max();
        assert!(longest.unwrap_or(0) <= 16, "{longest:?}");
    }
}
