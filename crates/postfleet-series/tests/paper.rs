//! The numbered cases of the reference, and what the documentation promises.

use postfleet_series::{BookError, Booked, Key, Monitor, Query, Range, Series, SeriesKind, file};
use postfleet_types::{Prefix, View, WallTime};

fn at(seconds: u64) -> WallTime {
    WallTime::from_unix_seconds(seconds)
}

fn address(text: &str) -> Key<'static> {
    Key::Address(text.parse().expect("an address"))
}

fn block(text: &str) -> Query<'static> {
    Query::Block(text.parse::<Prefix>().expect("a block"))
}

/// Noon of some day: a window begins.
const NOON: u64 = 1_700_006_400 + 12 * 3600;

#[test]
fn replication_a22_an_event_is_booked_by_its_own_time() {
    let mut series = Series::new(SeriesKind::Cidr, "300,6".parse().unwrap(), at(NOON));
    let (_, theirs) = (series.insert_column(), series.insert_column());
    series.advance(at(NOON + 301));
    let booked = series.book(theirs, address("192.0.2.1"), 3, at(NOON + 290));
    assert_eq!(booked, Ok(Booked::In(1)));
    assert_eq!(series.sum(View::Global, Query::All, Range::window(0)), 0);
    assert_eq!(series.sum(View::Global, Query::All, Range::window(1)), 3);
}

#[test]
fn replication_a09_one_monitor_in_windows_of_half_an_hour() {
    let mut series = Series::new(SeriesKind::Clients, "1800,4".parse().unwrap(), at(NOON));
    let own = series.insert_column();
    for host in 0..30 {
        let key = Key::Address([10, 0, host, 1].into());
        series.book(own, key, 1, at(NOON + 60)).unwrap();
    }
    series.book(own, address("192.0.2.1"), 1, at(NOON + 60)).unwrap();
    let windows: Vec<u64> =
        (0..=4).map(|n| series.sum(View::Global, block("10.0.0.0/8"), Range::window(n))).collect();
    assert_eq!(windows, [30, 0, 0, 0, 0]);
}

#[test]
fn the_running_window_and_number_past_ones_are_kept() {
    let mut series = Series::new(SeriesKind::Text, "10,2".parse().unwrap(), at(1000));
    let own = series.insert_column();
    for window in 0..5 {
        let now = at(1000 + 10 * window);
        series.advance(now);
        series.book(own, Key::Text("k"), 1 << window, now).unwrap();
    }
    let sum = |low, high| series.sum(View::Global, Query::Text("k"), Range::new(low, high));
    assert_eq!([sum(0, 0), sum(1, 1), sum(2, 2), sum(3, 3)], [16, 8, 4, 0]);
    assert_eq!(sum(2, 0), 28);
    assert_eq!(sum(0, u16::MAX), 28);
}

#[test]
fn old_events_are_dropped_and_those_of_the_future_count_as_now() {
    let mut series = Series::new(SeriesKind::Text, "10,2".parse().unwrap(), at(1000));
    let own = series.insert_column();
    let mut book = |seconds| series.book(own, Key::Text("k"), 1, at(seconds));
    assert_eq!(book(979), Ok(Booked::TooOld));
    assert_eq!(book(980), Ok(Booked::In(2)));
    assert_eq!(book(5000), Ok(Booked::In(0)));
    assert_eq!(series.sum(View::Global, Query::All, Range::new(0, 2)), 2);
}

#[test]
fn a_weighted_average_slides_from_the_last_window_into_the_running_one() {
    let mut series = Series::new(SeriesKind::Clients, "300,6".parse().unwrap(), at(NOON));
    let own = series.insert_column();
    series.book(own, address("192.0.2.1"), 100, at(NOON)).unwrap();
    series.advance(at(NOON + 300));
    series.book(own, address("192.0.2.1"), 10, at(NOON + 300)).unwrap();
    let average = |seconds| series.average(View::Global, block("192.0.2.0/24"), at(NOON + seconds));
    assert_eq!(average(300), 110);
    assert_eq!(average(375), 10 + 75);
    // 10 + 100 × 1 ÷ 300, rounded down.
    assert_eq!(average(599), 10);
}

#[test]
fn counts_may_be_negative_and_answers_are_not() {
    let mut series = Series::new(SeriesKind::Cidr, "300,6".parse().unwrap(), at(NOON));
    let (one, other) = (series.insert_column(), series.insert_column());
    series.book(one, address("192.0.2.1"), -5, at(NOON)).unwrap();
    assert_eq!(series.sum(View::Global, Query::All, Range::window(0)), 0);
    series.book(other, address("192.0.2.1"), 7, at(NOON)).unwrap();
    assert_eq!(series.sum(View::Global, Query::All, Range::window(0)), 2);
    assert_eq!(series.sum(View::Column(one), Query::All, Range::window(0)), 0);
    assert_eq!(series.rows(View::Column(one)), [("192.0.2.1".into(), vec![-5, 0, 0, 0, 0, 0, 0])]);
}

#[test]
fn keys_of_the_wrong_kind_are_refused() {
    let mut series = Series::new(SeriesKind::Cidr, "300,6".parse().unwrap(), at(NOON));
    let own = series.insert_column();
    let mut book = |key| series.book(own, key, 1, at(NOON));
    assert_eq!(book(address("2001:db8::1")), Err(BookError::Kind(SeriesKind::Cidr)));
    assert_eq!(book(Key::Text("k")), Err(BookError::Kind(SeriesKind::Cidr)));
    assert_eq!(book(address("::ffff:192.0.2.1")), Ok(Booked::In(0)));
    assert_eq!(series.sum(View::Global, block("192.0.2.1/32"), Range::window(0)), 1);
}

#[test]
fn a_removed_item_is_gone_from_every_window_and_column() {
    let mut series = Series::new(SeriesKind::Clients, "10,3".parse().unwrap(), at(1000));
    let columns = [series.insert_column(), series.insert_column()];
    for window in 0..3 {
        let now = at(1000 + 10 * window);
        series.advance(now);
        for column in columns {
            series.book(column, address("192.0.2.1"), 1, now).unwrap();
            series.book(column, address("192.0.2.2"), -1, now).unwrap();
            series.book(column, address("2001:db8::1"), 1, now).unwrap();
        }
    }
    series.remove_item(address("192.0.2.1"));
    series.remove_item(address("192.0.2.2"));
    assert_eq!(series.rows(View::Global), [("2001:db8::1".into(), vec![2, 2, 2, 0])]);
    assert_eq!(series.sum(View::Global, block("192.0.2.0/24"), Range::new(0, 3)), 0);
}

#[test]
fn a_departed_column_is_empty_once_its_windows_have_aged_out() {
    let mut series = Series::new(SeriesKind::Text, "10,1".parse().unwrap(), at(1000));
    let own = series.insert_column();
    let gone = series.insert_column();
    series.book(gone, Key::Text("k"), 1, at(1000)).unwrap();
    series.advance(at(1010));
    assert!(!series.is_empty(View::Column(gone)) && series.is_empty(View::Column(own)));
    series.advance(at(1020));
    assert!(series.is_empty(View::Column(gone)));
    assert!(series.remove_column(gone) && !series.remove_column(gone));
}

#[test]
fn a_clock_that_is_set_back_does_not_stop_the_counting() {
    let mut series = Series::new(SeriesKind::Text, "10,2".parse().unwrap(), at(1000));
    let own = series.insert_column();
    series.book(own, Key::Text("k"), 1, at(1000)).unwrap();
    // Within the span: the running window stays.
    series.advance(at(985));
    assert_eq!(series.book(own, Key::Text("k"), 1, at(985)), Ok(Booked::In(2)));
    assert_eq!(series.sum(View::Global, Query::All, Range::new(0, 2)), 2);
    // Beyond: begun anew.
    series.advance(at(500));
    assert_eq!(series.sum(View::Global, Query::All, Range::new(0, 2)), 0);
    assert_eq!(series.book(own, Key::Text("k"), 1, at(500)), Ok(Booked::In(0)));
}

#[test]
fn files_are_read_as_they_were_written() {
    let monitor: Monitor = "300,6".parse().unwrap();
    let mut series = Series::new(SeriesKind::Text, monitor, at(NOON));
    let own = series.insert_column();
    for key in ["example.org", "with tab\tand 100%", "zeile\nzwei", "ü", ""] {
        series.book(own, Key::Text(key), 7, at(NOON)).unwrap();
        series.book(own, Key::Text(key), -9, at(NOON - 300)).unwrap();
    }
    let text = file::write("my series", &series, View::Global);
    assert_eq!(text.lines().next(), Some("# series my%20series string 300 6"));
    assert_eq!(text.lines().nth(1), Some(&*format!("{}\t\t-9", NOON - 300)));
    let (header, entries) = file::read(&text).map_err(|error| error.to_string()).unwrap();
    assert_eq!((&*header.name, header.kind, header.monitor), ("my series", SeriesKind::Text, monitor));
    let mut copy = Series::new(header.kind, header.monitor, at(NOON));
    let column = copy.insert_column();
    for entry in entries {
        let entry = entry.unwrap();
        copy.book(column, entry.key.key(), entry.count, entry.begin).unwrap();
    }
    assert_eq!(copy.rows(View::Global), series.rows(View::Global));
    assert_eq!(file::name("spam", at(1_209_067_200)), "spam.20080424T200000");
}

#[test]
fn what_is_wrong_in_a_file_is_named_with_its_line() {
    let check = |text: &str, expected: &str| {
        let error = match file::read(text) {
            Err(error) => error.to_string(),
            Ok((_, mut entries)) => {
                entries.find_map(Result::err).map(|error| error.to_string()).unwrap_or_default()
            }
        };
        assert_eq!(error, expected);
    };
    check("", "line 1: expected '# series NAME TYPE INTERVAL NUMBER'");
    check("# series s cidr 300 6 7", "line 1: expected '# series NAME TYPE INTERVAL NUMBER'");
    check("# series s tree 300 6", "line 1: the type must be cidr, cidr_ipv6 or string");
    check("# series s cidr 0 6", "line 1: the interval must be 1 to 31536000 seconds");
    let with = |line: &str| format!("# series s cidr 300 6\n300\t192.0.2.1\t1\n{line}\n");
    check(&with("300 192.0.2.1 1"), "line 3: expected WINDOW START, KEY and COUNT with a tab between them");
    check(
        &with("301\t192.0.2.1\t1"),
        "line 3: the window must begin at a multiple of the interval, in seconds since the epoch",
    );
    check(&with("300\texample\t1"), "line 3: the key is not of the series' type, or has an incomplete %XX");
    check(&with("300\t192.0.2.1\tmany"), "line 3: the count must be a whole number");
    check(&with("\n# note"), "");
}
