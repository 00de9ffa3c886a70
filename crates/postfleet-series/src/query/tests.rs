//! Questions and answers.

use super::*;
use proptest::prelude::*;

fn at(stamp: &str) -> WallTime {
    file::timestamp(stamp).unwrap()
}

/// The lines for a question over `(series, end, address, count)`.
fn lines(question: &str, cells: &[(usize, &str, &str, i64)]) -> Vec<String> {
    let Question::Count(count) = question.parse().unwrap() else { panic!("{question}") };
    let mut answer = Answer::new(&count);
    for (series, end, address, count) in cells {
        answer.add(*series, at(end), address.parse().unwrap(), *count);
    }
    answer.rows().iter().map(Row::line).collect()
}

const CELLS: [(usize, &str, &str, i64); 6] = [
    (0, "20080423T120000", "10.79.18.1", 35_000),
    (0, "20080424T000000", "10.79.18.1", 217),
    (0, "20080424T120000", "10.79.18.2", 40),
    (1, "20080424T120000", "10.79.18.1", 1264),
    (1, "20080424T120000", "10.80.0.1", 7),
    (0, "20080424T120000", "2001:db8::1", 3),
];

#[test]
fn duravip_case_30_counts_of_files() {
    assert_eq!(
        lines("show count for 0.0.0.0/0 in spam since 20080423 order by count limit 1", &CELLS[..3]),
        ["10.79.18.1/32      :     35217"]
    );
    assert_eq!(
        lines("show count for 10.79.18.1 in spam, virus", &CELLS),
        ["10.79.18.1/32      : 35217,1264"]
    );
}

#[test]
fn clauses() {
    let check = |clauses: &str, expected: &[&str]| {
        let lines = lines(&format!("show count for 10.0.0.0/8 in spam,virus {clauses}"), &CELLS);
        assert_eq!(lines, expected, "{clauses}");
    };
    check("", &["10.79.18.1/32      : 35217,1264", "10.79.18.2/32      : 40,0", "10.80.0.1/32       : 0,7"]);
    check("cidrsize 16", &["10.79.0.0/16       : 35257,1264", "10.80.0.0/16       : 0,7"]);
    check(
        "cidrsize 16 to 15",
        &[
            "10.78.0.0/15       : 35257,1264",
            "10.80.0.0/15       : 0,7",
            "10.79.0.0/16       : 35257,1264",
            "10.80.0.0/16       : 0,7",
        ],
    );
    check("ORDER BY COUNT limit 2", &["10.79.18.1/32      : 35217,1264", "10.79.18.2/32      : 40,0"]);
    check("threshold 40", &["10.79.18.1/32      : 35217,1264", "10.79.18.2/32      : 40,0"]);
    check("aggregate", &["10.0.0.0/8         : 35257,1271"]);
    // The period that ended at midnight is of the day before.
    check("aggregate daily", &["20080423 : 35217,0", "20080424 : 40,1271"]);
    check("on 20080423", &["10.79.18.1/32      : 35217,0"]);
    check("from 20080423 to 20080423", &["10.79.18.1/32      : 35217,0"]);
    check("from 20080423T120000 to 20080424T000000", &["10.79.18.1/32      : 217,0"]);
    check("since 20080425", &[]);
    check("since 20080425 aggregate", &["10.0.0.0/8         : 0,0"]);
}

#[test]
fn unions_and_the_other_family() {
    assert_eq!(
        lines("show count for 10.79.18.1 in union(spam, virus)", &CELLS),
        ["10.79.18.1/32      :     36481"]
    );
    assert_eq!(lines("show count for ::/0 in spam", &CELLS), ["2001:db8::1/128    :         3"]);
    // A series may have any name.
    assert_eq!(
        lines("show count for 10.79.18.2 in \"union\"", &CELLS[..3]),
        ["10.79.18.2/32      :        40"]
    );
}

#[test]
fn a_sum_below_0_is_0() {
    let cells = [(0, "20080423T120000", "10.0.0.1", -5), (0, "20080423T120000", "10.0.0.2", 2)];
    assert_eq!(lines("show count for 10.0.0.0/8 in s", &cells), ["10.0.0.2/32        :         2"]);
}

#[test]
fn mistakes_are_named() {
    let check = |line: &str, said: &str| {
        assert_eq!(
            line.parse::<Question>().map_err(|error| error.to_string()),
            Err(said.to_string()),
            "{line}"
        );
    };
    check("show counts", "syntax error at 'counts'");
    check("show count for 10.0.0.0/33 in spam", "syntax error at '10.0.0.0/33'");
    check("show count for 10.0.0.0/8 in spam virus", "syntax error at 'virus'");
    check("show count for 10.0.0.0/8 in spam on 20080432", "syntax error at '20080432'");
    check("show count for 10.0.0.0/8 in spam on 20080423T120000", "syntax error at '20080423T120000'");
    check("show count for 10.0.0.0/8 in spam cidrsize 33", "syntax error at '33'");
    check("show count for 10.0.0.0/8 in spam limit 1 limit 2", "syntax error at 'limit'");
    check("show count for 10.0.0.0/8 in union(spam", "syntax error at the end of the line: ) is missing");
    check(
        "show count for 10.0.0.0/8 in spam from 20080423",
        "syntax error at the end of the line: to is missing",
    );
    check("show available now", "syntax error at 'now'");
    check("", "syntax error at the end of the line: show is missing");
    assert_eq!("cache details".parse(), Ok(Question::Cache));
    assert_eq!(" Show AVAILABLE ".parse(), Ok(Question::Available));
}

#[test]
fn names_of_files() {
    let check = |series: &str, name: &str| {
        assert_eq!(file::name(series, at("20080424T200000")), name);
        assert_eq!(file::split_name(name), Some((series.to_string(), at("20080424T200000"))));
    };
    check("spam", "spam.20080424T200000");
    check("a.b c", "a.b c.20080424T200000");
    check("../x", "%2E.%2Fx.20080424T200000");
    for other in
        ["spam", "spam.20080424", "spam.20080424T200000.new", ".20080424T200000", "spam.20080424T200060"]
    {
        assert_eq!(file::split_name(other), None, "{other}");
    }
}

proptest! {
    #[test]
    fn anything_may_be_typed(line in "[ -~]{0,80}", text in "(# series a cidr 60 5\n)?([0-9]{1,4}\t[0-9.:]{1,12}\t-?[0-9]{1,3}\n){0,8}") {
        fuzz(format!("{line}\n{text}").as_bytes());
    }

    #[test]
    fn questions_that_nearly_hold(words in proptest::collection::vec(prop_oneof![
        Just("show"), Just("count"), Just("for"), Just("10.0.0.0/8"), Just("in"), Just("spam"), Just(","), Just("union("),
        Just(")"), Just("from"), Just("20080423"), Just("to"), Just("cidrsize"), Just("8"), Just("order by"), Just("\""),
    ], 0..14)) {
        fuzz(format!("show count for 10.0.0.0/8 in s {}\n# series s cidr 60 5\n60\t10.0.0.1\t5\n", words.join(" ")).as_bytes());
    }
}
