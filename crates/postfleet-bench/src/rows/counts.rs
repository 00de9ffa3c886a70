//! Row 10: three nodes hold five connections each of one client; what each of them shows.
//!
//! Ours: connections counted on three nodes. HAProxy: real TCP connections to three processes that track their source in
//! a shared table (`conn_cur`), where the last update of any of them replaces what the others have.

use crate::digest::Digest;
use crate::member::Member;
use crate::peers::haproxy::Haproxies;
use crate::rounds::Effort;
use crate::table::{Aim, Line, Unit};
use anyhow::{Context, Result, ensure};
use std::net::{Ipv4Addr, TcpStream};
use std::time::{Duration, Instant};

const EACH: u32 = 5;
const CLIENT: Ipv4Addr = Ipv4Addr::LOCALHOST;
/// Enough for everything to have been told.
const SETTLED: Duration = Duration::from_millis(1500);

/// What each node of ours shows.
fn ours() -> Result<Vec<f64>> {
    let dir = tempfile::tempdir()?;
    let mut members = Member::fleet(dir.path(), 3)?;
    for member in &mut members {
        for _ in 0..EACH {
            member.ask(&format!("open {CLIENT}"))?;
        }
    }
    let read = format!("sum {CLIENT}/32");
    let begin = Instant::now();
    loop {
        let shown: Vec<u64> = members.iter_mut().map(|member| member.number(&read)).collect::<Result<_>>()?;
        let all_told = shown.iter().all(|shown| *shown == u64::from(3 * EACH));
        if all_told || begin.elapsed() > SETTLED {
            return Ok(shown.into_iter().map(|shown| shown as f64).collect());
        }
        std::thread::sleep(Duration::from_millis(1));
    }
}

/// What each HAProxy shows.
fn theirs(peers: &Haproxies) -> Result<Vec<f64>> {
    let mut all = peers.start_all()?;
    let mut open = Vec::new();
    for haproxy in &mut all {
        for _ in 0..EACH {
            open.push(TcpStream::connect(haproxy.front)?);
        }
        // Counted here before the next one counts.
        let begin = Instant::now();
        while haproxy.read(CLIENT, "conn_cur")? != Some(EACH) {
            ensure!(begin.elapsed() < Duration::from_secs(10), "HAProxy does not count its connections");
            std::thread::sleep(Duration::from_millis(5));
        }
    }
    std::thread::sleep(SETTLED);
    let shown = all.iter_mut().map(|haproxy| {
        Ok(f64::from(haproxy.read(CLIENT, "conn_cur")?.context("HAProxy has forgotten the client")?))
    });
    shown.collect()
}

pub(super) fn run(_: Effort) -> Result<Vec<Line>> {
    let line = Line::new("three nodes hold 5 + 5 + 5 connections of one client; shown", Unit::Count, ours()?)
        .aim(Aim::Exactly(f64::from(3 * EACH)));
    Ok(vec![match Haproxies::configure(3)? {
        Ok(peers) => line.beside("HAProxy peers, conn_cur", theirs(&peers)?),
        Err(why) => line.missing(why),
    }])
}

pub(super) fn digest() -> Result<u64> {
    let mut digest = Digest::default();
    for shown in ours()? {
        digest.add(shown.to_bits());
    }
    Ok(digest.value())
}
