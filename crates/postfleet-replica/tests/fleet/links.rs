//! Point-to-point connections between the members of a side: what a driver does with fetches.

use super::Fleet;
use bytes::Bytes;
use postfleet_replica::{FetchEnd, FetchId, Served, Serving, Transfer};
use postfleet_types::{Monotonic, PrivateName};

/// A connection that a process opened for a fetch.
pub struct Link {
    fetch: FetchId,
    from: PrivateName,
    request: Bytes,
    /// None until the origin has read the request.
    serving: Option<Serving>,
    /// Nothing can be read before.
    pub later: Option<Monotonic>,
}

impl Fleet {
    /// Does what a process wants to be done point to point.
    pub fn start_transfers(&mut self, at: usize) {
        while let Some(transfer) = self.processes[at].replica.poll_transfer(self.now) {
            let links = &mut self.processes[at].links;
            match transfer {
                Transfer::Open { fetch, from, request } => {
                    links.push(Link { fetch, from, request, serving: None, later: None });
                }
                Transfer::Close { fetch } => links.retain(|link| link.fetch != fetch),
            }
        }
    }

    fn origin_of(&self, at: usize, from: &PrivateName) -> Option<usize> {
        let side = self.processes[at].side?;
        self.processes.iter().position(|process| process.name == *from && process.side == Some(side))
    }

    /// One step of one connection of a process: the request is read, a frame arrives, or the end is noticed.
    pub fn carry(&mut self, at: usize, which: usize) -> bool {
        if self.processes[at].links.is_empty() || !self.processes[at].alive {
            return false;
        }
        let which = which % self.processes[at].links.len();
        let mut link = self.processes[at].links.remove(which);
        let now = self.now;
        let origin = self.origin_of(at, &link.from);
        let end = match (origin, link.serving.as_mut()) {
            (Some(origin), None) if self.processes[origin].listening => {
                match self.processes[origin].replica.serve(now, &link.request[4..]) {
                    Ok(serving) => {
                        link.serving = Some(serving);
                        None
                    }
                    Err(frame) => {
                        self.arrive(at, link.fetch, &frame);
                        Some(FetchEnd::Broken)
                    }
                }
            }
            (_, None) => Some(FetchEnd::Unreachable("connection refused".into())),
            (None, Some(_)) => Some(FetchEnd::Broken),
            (Some(_), Some(serving)) => match serving.poll(now) {
                Served::Frame(frame) => {
                    self.arrive(at, link.fetch, &frame);
                    None
                }
                Served::Later(until) => {
                    link.later = Some(until);
                    let links = &mut self.processes[at].links;
                    links.insert(which.min(links.len()), link);
                    return false;
                }
                Served::Done => Some(FetchEnd::Broken),
            },
        };
        match end {
            Some(end) => self.processes[at].replica.fetch_ended(now, link.fetch, end),
            None => {
                link.later = None;
                let links = &mut self.processes[at].links;
                links.insert(which.min(links.len()), link);
            }
        }
        self.turn_ends(at);
        true
    }

    fn arrive(&mut self, at: usize, fetch: FetchId, frame: &Bytes) {
        let process = &mut self.processes[at];
        process.frames += 1;
        process.replica.fetched(self.now, fetch, &frame.slice(4..));
    }

    /// Every connection of a process breaks.
    pub fn cut_links(&mut self, at: usize) {
        for link in std::mem::take(&mut self.processes[at].links) {
            self.processes[at].replica.fetch_ended(self.now, link.fetch, FetchEnd::Broken);
        }
        self.turn_ends(at);
    }

    /// The next moment at which a paced connection goes on.
    pub fn next_frame(&self) -> Option<Monotonic> {
        self.processes.iter().flat_map(|process| &process.links).filter_map(|link| link.later).min()
    }
}
