//! Measures throttles and slots in simulated fleets and writes the tables of docs/structures/throttle.md.
//!
//! `cargo run --release -p postfleet-throttle --example throttle_table [page]`: without a page the tables are printed.
//! With the number of a random run (`tests/fleet.rs`) instead: what was used around its fullest window.

#[path = "../tests/sim/mod.rs"]
mod sim;

use postfleet_throttle::Partition;
use sim::rates::{Demand, Run};
use sim::slots::SlotRun;
use sim::{Fault, SECOND};
use std::fmt::Write as _;

#[expect(clippy::print_stdout, reason = "a report is printed")]
fn main() {
    let argument = std::env::args().nth(1);
    if let Some(seed) = argument.as_ref().and_then(|seed| seed.parse().ok()) {
        return fullest_window(seed);
    }
    let tables = tables();
    match argument {
        Some(page) => write_into(&page, &tables),
        None => println!("{tables}"),
    }
}

const BEGIN: &str = "<!-- tables: begin -->\n";
const END: &str = "<!-- tables: end -->";

#[expect(clippy::disallowed_types, reason = "the page is a file")]
fn write_into(page: &str, tables: &str) {
    use std::io::{Read as _, Write as _};
    let mut text = String::new();
    std::fs::File::open(page)
        .and_then(|mut file| file.read_to_string(&mut text))
        .expect("the page can be read");
    let (before, rest) = text.split_once(BEGIN).expect("the page has a place for the tables");
    let (_, after) = rest.split_once(END).expect("the page has an end of the tables");
    let text = format!("{before}{BEGIN}{tables}{END}{after}");
    std::fs::File::create(page)
        .and_then(|mut file| file.write_all(text.as_bytes()))
        .expect("the page can be written");
}

fn tables() -> String {
    let mut text = String::new();
    let out = &mut text;
    heading(out, "Limit, nodes, demand, transit");
    let fast = (1500, 2500);
    let slow = (20_000, 60_000);
    for (rate, members, demand, seconds, transit) in [
        ("600/60", 10, Demand::Saturated, 661, fast),
        ("20/60", 10, Demand::Saturated, 661, fast),
        ("25/60", 10, Demand::Saturated, 3661, fast),
        ("2/10", 10, Demand::Saturated, 611, fast),
        ("1/10", 10, Demand::Saturated, 2011, fast),
        ("100/1", 50, Demand::Saturated, 62, fast),
        ("100/1", 50, Demand::OneHot, 62, fast),
        ("600/60", 10, Demand::OneHot, 661, fast),
        ("20/60", 10, Demand::OneHot, 661, fast),
        ("2/10", 10, Demand::OneHot, 611, fast),
        ("1/10", 10, Demand::OneHot, 2011, fast),
        ("10000/1", 5, Demand::OneHot, 32, fast),
        ("6000/60", 10, Demand::Saturated, 421, fast),
        ("10000/1", 5, Demand::Arrivals(15_000.0), 32, fast),
        ("10000/1", 5, Demand::Arrivals(5000.0), 32, fast),
        ("10000/1", 10, Demand::Arrivals(9800.0), 32, fast),
        ("600/60", 10, Demand::Impatient(200.0), 661, fast),
        ("20/60", 10, Demand::Impatient(200.0), 661, fast),
        ("2/10", 10, Demand::Impatient(200.0), 611, fast),
        ("1/10", 10, Demand::Impatient(200.0), 2011, fast),
        ("600/60", 10, Demand::Saturated, 661, slow),
        ("2/10", 10, Demand::Saturated, 611, slow),
        ("100/1", 50, Demand::Saturated, 62, slow),
        ("100/1", 50, Demand::OneHot, 62, slow),
    ] {
        let mut run = Run::new(rate, members, demand, seconds);
        run.world.transit = transit;
        let ms = if transit == fast { "2 ms" } else { "20 to 60 ms" };
        row(out, &format!("{rate}, {members}, {}, {ms}", wants(demand)), &run);
    }
    let _ = writeln!(out);
    heading(out, "100/10, what happens to one of how many (use, share and wait: from 25 s after it on)");
    for (what, members, faults) in [
        ("its process is killed, 5", 5, vec![(40 * SECOND, Fault::Kill(0))]),
        ("its host goes silent, 5", 5, vec![(40 * SECOND, Fault::Crash(0))]),
        ("it stands still for 3 s, 5", 5, hang(3)),
        ("it stands still for 12 s, 5", 5, hang(12)),
        ("it stands still for 40 s, 5", 5, hang(40)),
        ("five join, 3", 3, (0..5).map(|of| (40 * SECOND + of * 1_500_000, Fault::Join)).collect()),
    ] {
        let last = faults.iter().map(|(at, _)| *at).max().unwrap_or(0) / SECOND;
        let mut run = Run::new("100/10", members, Demand::Saturated, last + 180);
        run.warm_up = last + 25;
        run.faults = faults;
        row(out, what, &run);
    }
    let _ = writeln!(out);
    all_faults(out);
    let _ = writeln!(out);
    heading(out, "120/10, 6 nodes cut into parts for 60 s, policy (use and share: while they are cut)");
    let parts: [(&str, &[&[usize]]); 3] = [
        ("3, 3", &[&[0, 1, 2], &[3, 4, 5]]),
        ("1, 5", &[&[0], &[1, 2, 3, 4, 5]]),
        ("2, 2, 1, 1", &[&[0, 1], &[2, 3], &[4], &[5]]),
    ];
    for (name, parts) in parts {
        for partition in [Partition::Share, Partition::Quorum, Partition::Full] {
            let mut run = Run::new("120/10", 6, Demand::Saturated, 120);
            run.partition = partition;
            run.faults.push((40 * SECOND, Fault::Split(parts.iter().map(|part| part.to_vec()).collect())));
            run.faults.push((120 * SECOND, Fault::Heal));
            run.warm_up = 65;
            row(out, &format!("{name}: {partition:?}").to_lowercase(), &run);
        }
    }
    let _ = writeln!(out);
    slots(out);
    text
}

fn wants(demand: Demand) -> String {
    match demand {
        Demand::Saturated => "every node wants more".to_string(),
        Demand::OneHot => "one node wants more".to_string(),
        Demand::Arrivals(each_second) => format!("{each_second:.0} a second arrive"),
        Demand::Impatient(each_second) => format!("{each_second:.0} a second ask and do not wait"),
    }
}

/// One run for each limit and demand, in which everything happens one after the other.
fn all_faults(out: &mut String) {
    heading(
        out,
        "Limit, nodes, demand: a process is killed, 5 s later one stands still for 12 s, 40 s after the kill the fleet is cut in \
         halves for 30 s (use, share and wait: from 25 s after that on)",
    );
    for (rate, members) in
        [("600/60", 10), ("20/60", 10), ("2/10", 10), ("1/10", 10), ("100/1", 50), ("10000/1", 5)]
    {
        for demand in [Demand::Saturated, Demand::OneHot] {
            let mut run = Run::new(rate, members, demand, 0);
            let (period, first) = (u64::from(run.rate.seconds()), 2 * u64::from(run.rate.seconds()) + 10);
            let half = members / 2;
            run.faults = vec![
                (first * SECOND, Fault::Kill(1)),
                ((first + 5) * SECOND, Fault::Hang(2)),
                ((first + 17) * SECOND, Fault::Resume(2)),
                ((first + 40) * SECOND, Fault::Split(vec![(0..half).collect(), (half..members).collect()])),
                ((first + 70) * SECOND, Fault::Heal),
            ];
            run.warm_up = first + 95;
            // Whole rounds of a small limit.
            let units = usize::try_from(run.rate.units()).unwrap_or(usize::MAX);
            let rounds = u64::try_from((members - 1).div_ceil(units)).unwrap_or(1);
            run.seconds = run.warm_up + 10 * period * rounds;
            row(out, &format!("{rate}, {members}, {}", wants(demand)), &run);
        }
    }
}

fn hang(seconds: u64) -> Vec<(u64, Fault)> {
    vec![(40 * SECOND, Fault::Hang(0)), ((40 + seconds) * SECOND, Fault::Resume(0))]
}

fn heading(out: &mut String, first: &str) {
    let _ = writeln!(
        out,
        "| {first} | Worst window ÷ X | Use | Least share ÷ mean | Longest wait | Messages/s, all nodes |\n\
         |---|---|---|---|---|---|"
    );
}

fn row(out: &mut String, name: &str, run: &Run) {
    let measured = run.measure();
    let least = if matches!(run.demand, Demand::OneHot) || measured.least.is_nan() {
        "–".to_string()
    } else {
        format!("{:.2}", measured.least)
    };
    let _ = writeln!(
        out,
        "| {name} | {:.2} | {:.2} | {least} | {:.2} s | {:.1} |",
        measured.worst,
        // Nothing at all sums up to -0.
        measured.used + 0.0,
        measured.longest,
        measured.messages
    );
}

fn slots(out: &mut String) {
    let _ = writeln!(
        out,
        "| Slots, nodes, messages of so many seconds, transit | Most open ÷ L | Use | Least share ÷ mean | Longest wait | \
         Messages/s, all nodes |\n|---|---|---|---|---|---|"
    );
    for (limit, members, message) in [
        (20, 10, (200_000, 2_000_000)),
        (2, 10, (200_000, 1_000_000)),
        (1, 5, (200_000, 1_000_000)),
        (100, 10, (500_000, 5_000_000)),
        (20, 10, (200_000, 60_000_000)),
    ] {
        for transit in [(1500, 2500), (20_000, 60_000)] {
            let mut run = SlotRun::new(limit, members, message, 920);
            run.world.transit = transit;
            let ms = if transit.0 < 10_000 { "2 ms" } else { "20 to 60 ms" };
            slot_row(out, limit, members, message, ms, &run);
        }
    }
    for (limit, members, message) in
        [(20, 10, (200_000, 2_000_000)), (2, 10, (200_000, 1_000_000)), (100, 10, (500_000, 5_000_000))]
    {
        let mut run = SlotRun::new(limit, members, message, 102);
        run.world.transit = (1500, 2500);
        run.faults.push((40 * SECOND, Fault::Kill(0)));
        run.warm_up = 42;
        let what = "2 ms; a process is killed, all else: from 2 s after it on";
        slot_row(out, limit, members, message, what, &run);
    }
}

fn slot_row(out: &mut String, limit: u64, members: usize, message: (u64, u64), what: &str, run: &SlotRun) {
    let measured = run.measure();
    let seconds = |micros: u64| micros as f64 / SECOND as f64;
    let _ = writeln!(
        out,
        "| {limit}, {members}, {} to {}, {what} | {:.2} | {:.2} | {:.2} | {:.1} s | {:.1} |",
        seconds(message.0),
        seconds(message.1),
        measured.most,
        measured.used,
        measured.least,
        measured.longest,
        measured.messages
    );
}

#[expect(clippy::print_stdout, reason = "a report is printed")]
fn fullest_window(seed: u64) {
    let run = Run::random(seed);
    println!("{run:#?}");
    let measured = run.measure();
    let period = u64::from(run.rate.seconds()) * SECOND;
    let mut worst = (0, 0, 0);
    let mut first = 0;
    for (last, (at, _)) in measured.uses.iter().enumerate() {
        while measured.uses[first].0 + period <= *at {
            first += 1;
        }
        worst = worst.max((last + 1 - first, first, last));
    }
    println!("{} uses of {} in one window:", worst.0, run.rate.units());
    for (at, of) in &measured.uses[worst.1.saturating_sub(100)..=worst.2] {
        println!("{:10.6} s  relay-{of:02}", *at as f64 / SECOND as f64);
    }
}
