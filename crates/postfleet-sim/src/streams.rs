//! Point-to-point connections between processes, beside the bus: the fetches of long columns.
//!
//! They go over the same links between hosts as the rings do, and do not know of rings: what is blocked waits until the
//! link is whole again, or until the attempt takes too long. They also break for no reason, or nobody listens, as
//! the seed decides.

use crate::engine::HostId;
use crate::world::World;
use alloc::collections::VecDeque;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use bytes::Bytes;
use core::time::Duration;
use postfleet_replica::{FetchEnd, FetchId, Served, Serving, Transfer};
use postfleet_types::Monotonic;

/// What connecting and being admitted may take.
const CONNECT_MAX: Duration = Duration::from_secs(10);
/// How soon something that had to wait is looked at again.
const AGAIN: Duration = Duration::from_millis(20);
/// Bytes of the length in front of a frame.
const LENGTH_BYTES: usize = 4;

#[derive(Debug)]
enum State {
    /// The request is on its way.
    Connecting(Bytes),
    /// The origin has read it.
    Served(Serving),
    /// Nothing more comes after what is on its way.
    Ending(FetchEnd),
}

/// One connection.
#[derive(Debug)]
pub(crate) struct Stream {
    fetch: FetchId,
    client: (HostId, usize),
    server: Option<(HostId, usize)>,
    state: State,
    started: Monotonic,
    /// When there is something to do again.
    at: Monotonic,
    frames: VecDeque<(Monotonic, Bytes)>,
}

impl World<'_> {
    /// Does what the process of a host wants to be done point to point.
    pub(crate) fn start_transfers(&mut self, host: HostId, transfers: Vec<Transfer>) {
        let Some(life) = self.process(host).map(|process| process.life) else { return };
        for transfer in transfers {
            match transfer {
                Transfer::Open { fetch, from, request } => {
                    let from = from.to_string();
                    let server = self.lives.iter().position(|life| life.shared_name == from);
                    let server = server.and_then(|at| self.lives.get(at).map(|life| (life.host, at)));
                    let at = self.now + self.pick_transit();
                    let refused = self.plan.settings.streams_refused;
                    let state = if refused || server.is_none() {
                        State::Ending(FetchEnd::Unreachable(String::from("connection refused")))
                    } else {
                        State::Connecting(request)
                    };
                    let (client, started) = ((host, life), self.now);
                    let frames = VecDeque::new();
                    self.streams.push(Stream { fetch, client, server, state, started, at, frames });
                }
                Transfer::Close { fetch } => {
                    self.streams.retain(|stream| stream.client != (host, life) || stream.fetch != fetch);
                }
            }
        }
    }

    fn pick_transit(&mut self) -> Duration {
        let most = u64::try_from(self.plan.timing.transit.as_micros()).unwrap_or(0);
        Duration::from_micros(200 + self.random.below(most + 1))
    }

    fn lives(&self, (host, life): (HostId, usize)) -> bool {
        self.process(host).is_some_and(|process| process.life == life)
    }

    fn runs(&self, (host, life): (HostId, usize)) -> bool {
        self.process(host).is_some_and(|process| process.life == life && !process.stopped)
    }

    /// When a stream has something to do.
    pub(crate) fn next_stream(&self) -> Option<Monotonic> {
        self.streams.iter().map(|stream| stream.at).min()
    }

    /// Does what is due on all streams. `true` when something reached a process.
    pub(crate) fn carry_streams(&mut self) -> bool {
        if self.next_stream().is_none_or(|at| at > self.now) {
            return false;
        }
        let mut any = false;
        for mut stream in core::mem::take(&mut self.streams) {
            if !self.lives(stream.client) {
                continue;
            }
            if stream.at > self.now || self.carry(&mut stream, &mut any) {
                self.streams.push(stream);
            }
        }
        any
    }

    /// One step. `false` when the stream is over.
    fn carry(&mut self, stream: &mut Stream, any: &mut bool) -> bool {
        stream.at = self.now + AGAIN;
        if !self.runs(stream.client) {
            return true;
        }
        if stream.frames.front().is_some_and(|(due, _)| *due <= self.now) {
            let frame = stream.frames.pop_front().map(|(_, frame)| frame).unwrap_or_default();
            *any = true;
            let fetch = stream.fetch;
            self.hand_over(stream.client.0, |replica, now| {
                replica.fetched(now, fetch, &frame.slice(LENGTH_BYTES.min(frame.len())..));
            });
            stream.at = stream.frames.front().map_or(self.now, |(due, _)| (*due).max(self.now));
            return true;
        }
        let server = stream.server.filter(|server| self.lives(*server));
        let passes = server.is_some_and(|server| self.engine.is_open(stream.client.0, server.0));
        match &mut stream.state {
            State::Ending(end) if stream.frames.is_empty() => {
                *any = true;
                let (fetch, end) = (stream.fetch, end.clone());
                self.hand_over(stream.client.0, |replica, now| replica.fetch_ended(now, fetch, end));
                return false;
            }
            State::Ending(_) => {}
            State::Connecting(_) if server.is_none() => {
                stream.state = State::Ending(FetchEnd::Unreachable(String::from("connection refused")));
                stream.at = self.now;
            }
            State::Connecting(_) if self.now.since(stream.started) >= CONNECT_MAX => {
                stream.state = State::Ending(FetchEnd::Unreachable(String::from("no answer")));
                stream.at = self.now;
            }
            State::Connecting(request) => {
                if let Some(server) = server.filter(|server| passes && self.runs(*server)) {
                    let request = request.clone();
                    let content = request.slice(LENGTH_BYTES.min(request.len())..);
                    let answer = self.hand_over(server.0, |replica, now| replica.serve(now, &content));
                    let due = self.now + self.pick_transit();
                    match answer {
                        Some(Ok(serving)) => stream.state = State::Served(serving),
                        Some(Err(frame)) => {
                            stream.frames.push_back((due, frame));
                            stream.state = State::Ending(FetchEnd::Broken);
                        }
                        None => stream.state = State::Ending(FetchEnd::Broken),
                    }
                    stream.at = self.now;
                }
            }
            State::Served(_) if server.is_none() => {
                stream.frames.clear();
                stream.state = State::Ending(FetchEnd::Broken);
                stream.at = self.now;
            }
            State::Served(serving) => {
                let Some(server) = server.filter(|server| passes && self.runs(*server)) else { return true };
                if self.plan.settings.streams_break && self.random.below(20) == 0 {
                    stream.state = State::Ending(FetchEnd::Broken);
                    stream.at = self.now;
                    return true;
                }
                let Some(clock) = self.hosts.get(&server.0).map(|host| host.clock.clone()) else {
                    return true;
                };
                match serving.poll(clock.local(self.now)) {
                    Served::Frame(frame) => {
                        let last = stream.frames.back().map_or(Monotonic::ZERO, |(due, _)| *due);
                        let due = (self.now + self.pick_transit()).max(last);
                        stream.frames.push_back((due, frame));
                        stream.at = self.now;
                    }
                    Served::Later(until) => stream.at = clock.global(until).max(self.now),
                    Served::Done => {
                        let due = stream.frames.back().map_or(self.now, |(due, _)| *due);
                        stream.at = due.max(self.now);
                        stream.state = State::Ending(FetchEnd::Broken);
                    }
                }
            }
        }
        if let Some((due, _)) = stream.frames.front() {
            stream.at = stream.at.min((*due).max(self.now));
        }
        true
    }
}
