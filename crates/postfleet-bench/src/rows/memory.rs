//! Row 8: bytes a key.
//!
//! Ours: a million addresses, each with a count in three columns and the sum, in a process of its own. HAProxy: as many
//! entries with three counters. Both by the growth of resident memory. Redis: as many hashes with one field a node, by
//! `used_memory`. The addresses are the same, far from each other.

use crate::digest::Digest;
use crate::member::scattered;
use crate::peers::haproxy::Haproxies;
use crate::peers::redis::Redis;
use crate::process::resident_bytes;
use crate::rounds::{Effort, alternate};
use crate::table::{Aim, Line, Unit};
use anyhow::{Result, ensure};
use postfleet_cidr::CidrColumns;
use postfleet_types::{Monotonic, View};
use std::net::IpAddr;
use std::process::Command;

/// The object with every address in three columns.
fn object(addresses: u32) -> CidrColumns {
    let mut object = CidrColumns::new();
    let columns = [(); 3].map(|()| object.insert_column());
    for client in scattered(0, addresses) {
        for column in columns {
            object.change(column, IpAddr::V4(client), 1, Monotonic::ZERO);
        }
    }
    object
}

/// The process that is measured: prints by how much it has grown, and what the object says of itself.
pub(crate) fn child(addresses: u32) -> Result<()> {
    let before = resident_bytes(std::process::id())?;
    let object = object(addresses);
    let grown = resident_bytes(std::process::id())? - before;
    println!("{grown} {}", object.memory_bytes());
    Ok(())
}

/// Grown bytes and those that the object says it has.
fn measure(addresses: u32) -> Result<(f64, f64)> {
    let program = std::env::current_exe()?;
    let output = Command::new(program).args(["memory", &addresses.to_string()]).output()?;
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    let mut words = said.split_whitespace().map(str::parse::<f64>);
    match (words.next(), words.next()) {
        (Some(Ok(grown)), Some(Ok(own))) => Ok((grown, own)),
        _ => anyhow::bail!("the measured process said {said}"),
    }
}

pub(super) fn run(effort: Effort) -> Result<Vec<Line>> {
    let keys = effort.size(1_000_000, 20_000);
    // Memory does not vary: one measurement of each.
    let once = Effort { rounds: 1, ..effort };
    let mut said = 0.0;
    let mut our_side = || {
        let (grown, own) = measure(keys)?;
        said = own / f64::from(keys);
        Ok(grown / f64::from(keys))
    };
    let mut haproxy_missing = String::new();
    let mut haproxy_side = || match Haproxies::configure(1)? {
        Ok(all) => {
            let mut haproxy = all.start(1)?;
            let before = haproxy.resident_bytes()?;
            haproxy.set_all(scattered(0, keys))?;
            ensure!(haproxy.used()? == keys, "HAProxy has not taken all entries");
            Ok((haproxy.resident_bytes()? - before) / f64::from(keys))
        }
        Err(why) => {
            haproxy_missing = why;
            Ok(f64::NAN)
        }
    };
    let mut redis_missing = String::new();
    let mut redis_side = || match Redis::start()? {
        Ok(redis) => {
            let mut client = redis.connect()?;
            let before = client.used_bytes()?;
            client.pipeline(scattered(0, keys).map(|address| {
                let words = ["HSET", &address.to_string(), "relay-1", "1", "relay-2", "1", "relay-3", "1"];
                words.map(str::to_owned).to_vec()
            }))?;
            Ok((client.used_bytes()? - before) / f64::from(keys))
        }
        Err(why) => {
            redis_missing = why;
            Ok(f64::NAN)
        }
    };
    let [ours, haproxy, redis] = alternate(once, [&mut our_side, &mut haproxy_side, &mut redis_side])?;
    let work = format!("bytes a key, sum and three columns, {keys} keys");
    let beside = |line: Line, name: &str, figures: Vec<f64>, missing: String| {
        if missing.is_empty() { line.beside(name, figures) } else { line.missing(missing) }
    };
    let against = |name, figures, missing| {
        beside(Line::new(work.clone(), Unit::Bytes, ours.clone()), name, figures, missing)
            .aim(Aim::Times(2.0))
    };
    Ok(vec![
        against("HAProxy, entry with three counters", haproxy, haproxy_missing)
            .note(format!("resident memory; the object itself says {said:.1} bytes")),
        against("Redis, hash with three fields", redis, redis_missing),
        Line::new("the same", Unit::Bytes, ours.clone()).aim(Aim::AtMost(100.0)),
    ])
}

/// Sums of the object.
pub(super) fn digest() -> Result<u64> {
    let object = object(5000);
    let mut digest = Digest::default();
    let mut rows = 0;
    for (address, count) in object.leaves(View::Global) {
        if let IpAddr::V4(address) = address {
            digest.add(u64::from(address.to_bits()));
        }
        digest.add(count);
        rows += 1;
    }
    ensure!(rows == 5000, "{rows} addresses");
    Ok(digest.value())
}
