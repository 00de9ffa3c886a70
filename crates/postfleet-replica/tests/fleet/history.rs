//! What happens to a fleet in random histories, whatever its members count.

use super::Fleet;
use postfleet_replica::ReplicaOptions;

/// Something that happens at one member.
#[derive(Clone, Copy, Debug)]
pub enum Event {
    Sequence,
    Deliver(u8),
    Carry(u8),
    CutLinks,
    /// The connection is lost and back before anything changes.
    Blink,
    Listen,
    JoinGroup,
    LeaveGroup,
    /// The process will end in good order; it lives on until it is killed, or all come together.
    Retire,
    Kill,
    Lose,
    Reconnect,
    /// The members whose bits are set go to the other side.
    Split(u8),
}

/// Small limits put columns into many chunks and batches into many messages.
pub fn small(options: &mut ReplicaOptions) {
    options.chunk_bytes_max = 40;
    options.inline_bytes_max = 8;
    options.batch_bytes_max = 120;
}

impl Fleet {
    pub fn alive(&self) -> Vec<usize> {
        (0..self.processes.len()).filter(|at| self.processes[*at].alive).collect()
    }

    /// One of the living.
    pub fn pick(&self, of: u8) -> Option<usize> {
        let alive = self.alive();
        (!alive.is_empty()).then(|| alive[usize::from(of) % alive.len()])
    }

    pub fn happen(&mut self, at: usize, event: Event) {
        match event {
            Event::Sequence => {
                self.sequence(at);
            }
            Event::Deliver(count) => {
                for _ in 0..count {
                    self.deliver(at);
                }
            }
            Event::Carry(count) => {
                for which in 0..count {
                    self.carry(at, which.into());
                }
            }
            Event::CutLinks => self.cut_links(at),
            Event::Blink => {
                if self.processes[at].side == Some(0) {
                    self.settle();
                    self.lose(at);
                    self.settle();
                    self.connect(at, 0);
                    self.join_group(at);
                }
            }
            Event::Listen => self.processes[at].listening ^= true,
            Event::JoinGroup => self.join_group(at),
            Event::LeaveGroup => self.leave_group(at),
            Event::Retire => self.retire(at),
            Event::Kill => self.kill(at),
            Event::Lose => self.lose(at),
            Event::Reconnect => {
                if self.processes[at].side.is_none() {
                    self.connect(at, 0);
                }
            }
            Event::Split(bits) => {
                if self.side_members(1).is_empty() {
                    let away: Vec<usize> =
                        self.side_members(0).into_iter().filter(|at| bits >> (at % 8) & 1 == 1).collect();
                    self.split(0, &away, 1);
                }
            }
        }
    }

    /// Brings all that live to one side and into the group.
    pub fn reunite(&mut self) {
        for at in self.alive() {
            if self.processes[at].retiring {
                self.kill(at);
            }
        }
        self.merge(0, 1);
        for at in self.alive() {
            if self.processes[at].side.is_none() {
                self.connect(at, 0);
            }
            self.join_group(at);
        }
    }
}
