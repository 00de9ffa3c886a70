//! The simulated machine: processes, sockets, the lock file, a clock, and a scheduler that does harm.

use bytes::Bytes;
use postfleet_bus::carrier::{CarrierEvent, CarrierLost, RawId, Submit};
use postfleet_bus_local::attachment::Attachment;
use postfleet_bus_local::frame::{FromHub, ToHub, split};
use postfleet_bus_local::hub::{Hub, OWN, Order, Over, Stream, Surroundings};
use postfleet_bus_local::member::{Mark, MemberId};
use postfleet_bus_local::seek::{self, Found, Ground};
use postfleet_types::{Monotonic, Random};
use std::collections::{BTreeMap, VecDeque};

const TURN: u64 = 200_000;
const ATTEMPT: u64 = 10_000;

/// One event as it was delivered, with the place of the entry it came from.
#[derive(Clone, Debug, PartialEq)]
pub struct Item {
    pub mark: Mark,
    pub event: CarrierEvent,
}

/// One life of one attachment: from its first event to its end.
#[derive(Debug)]
pub struct Life {
    pub id: MemberId,
    pub delivered: Vec<Item>,
    pub accepted: u64,
    pub lost: Option<CarrierLost>,
    pub killed: bool,
}

#[derive(Debug, Default)]
struct Socket {
    to_hub: Vec<u8>,
    from_hub: Vec<u8>,
    /// The member has shut its reading side: the hub cannot write any more.
    shut: bool,
    member_closed: bool,
    hub_closed: bool,
}

#[derive(Debug)]
enum Link {
    None,
    Socket(usize),
    Own,
}

#[derive(Debug, Default)]
struct Guest {
    socket: usize,
    input: Vec<u8>,
    output: Vec<u8>,
    accepted: u64,
    closing: bool,
}

#[derive(Debug)]
struct Hosting {
    hub: Hub,
    guests: BTreeMap<Stream, Guest>,
    next: Stream,
    backlog: VecDeque<usize>,
}

#[derive(Debug)]
struct Process {
    life: usize,
    attachment: Attachment,
    link: Link,
    input: Vec<u8>,
    output: Vec<u8>,
    hosting: Option<Hosting>,
    known: Option<u64>,
    next_turn: u64,
    next_attempt: u64,
    stopped_until: Option<u64>,
}

pub struct World {
    random: Random,
    now: u64,
    processes: Vec<Option<Process>>,
    lives: Vec<Life>,
    sockets: Vec<Socket>,
    capacity: usize,
    number: u64,
    locks: BTreeMap<u64, usize>,
    listening: Option<usize>,
    next_pid: u32,
    /// The process dies at this many operations on the ground from now.
    dies_in: Option<u64>,
    quiet: bool,
    /// Only kills, and everybody has time enough: nobody may be expelled.
    gentle: bool,
}

/// Moves the first bytes from one place to another.
fn shift(from: &mut Vec<u8>, to: &mut Vec<u8>, count: usize) {
    to.extend_from_slice(&from[..count]);
    from.drain(..count);
}

/// Why an attempt was not finished.
enum Stop {
    /// The process died in the middle of it.
    Killed,
    /// What the old stream still held was the end of the attachment.
    Ended,
}

struct Host<'a> {
    processes: &'a [Option<Process>],
    own: MemberId,
    number: u64,
    locks: &'a BTreeMap<u64, usize>,
}

impl Surroundings for Host<'_> {
    fn process_exists(&mut self, id: MemberId) -> bool {
        id == self.own || self.processes.iter().flatten().any(|process| process.attachment.id() == id)
    }

    fn superseded(&mut self, generation: u64) -> bool {
        self.number > generation || self.locks.range(generation + 1..).next().is_some()
    }
}

impl World {
    pub fn new(seed: u64) -> Self {
        let mut random = Random::seeded(seed);
        let count = 3 + random.below(3);
        let capacity = usize::try_from(200 + random.below(4000)).unwrap();
        let gentle = random.below(3) == 0;
        let mut world = Self {
            random,
            gentle,
            now: 0,
            processes: (0..count).map(|_| None).collect(),
            lives: Vec::new(),
            sockets: Vec::new(),
            capacity,
            number: 0,
            locks: BTreeMap::new(),
            listening: None,
            next_pid: 100,
            dies_in: None,
            quiet: false,
        };
        for slot in 0..world.processes.len() {
            world.start(slot);
        }
        world
    }

    pub fn lives(&self) -> &[Life] {
        &self.lives
    }

    pub fn number(&self) -> u64 {
        self.number
    }

    pub fn is_gentle(&self) -> bool {
        self.gentle
    }

    /// The lives of the attachments that live at the end.
    pub fn survivors(&self) -> impl Iterator<Item = &Life> {
        self.processes.iter().flatten().map(|process| &self.lives[process.life])
    }

    fn chance(&mut self, one_in: u64) -> bool {
        self.random.below(one_in) == 0
    }

    fn start(&mut self, slot: usize) {
        // Now and then a process number comes back; only the start time differs.
        if !self.chance(8) {
            self.next_pid += 1;
        }
        // The order of the process numbers is not the order of starting.
        let lives = |world: &Self, pid| {
            world.processes.iter().flatten().any(|p| p.attachment.id().raw.major == pid ^ 5)
        };
        while lives(self, self.next_pid) {
            self.next_pid += 1;
        }
        let major = self.next_pid ^ 5;
        let started = u64::try_from(self.lives.len()).unwrap();
        let id = MemberId { raw: RawId { major, minor: 1 }, started };
        self.lives.push(Life { id, delivered: Vec::new(), accepted: 0, lost: None, killed: false });
        self.processes[slot] = Some(Process {
            life: self.lives.len() - 1,
            attachment: Attachment::new(id, "sim"),
            link: Link::None,
            input: Vec::new(),
            output: Vec::new(),
            hosting: None,
            known: None,
            next_turn: self.now + TURN,
            next_attempt: self.now,
            stopped_until: None,
        });
    }

    /// What the kernel does when a process ends.
    fn end(&mut self, slot: usize) {
        let Some(process) = self.processes[slot].take() else { return };
        if let Link::Socket(socket) = process.link {
            self.close_member(socket);
        }
        if let Some(hosting) = process.hosting {
            self.close_hub(slot, &hosting);
        }
        self.locks.retain(|_, holder| *holder != slot);
    }

    fn kill(&mut self, slot: usize) {
        if let Some(process) = &self.processes[slot] {
            let life = process.life;
            self.lives[life].killed = true;
            self.end(slot);
        }
    }

    fn close_member(&mut self, socket: usize) {
        self.sockets[socket].member_closed = true;
        self.sockets[socket].shut = true;
        self.sockets[socket].from_hub.clear();
    }

    fn close_hub(&mut self, slot: usize, hosting: &Hosting) {
        for socket in hosting.guests.values().map(|guest| guest.socket).chain(hosting.backlog.iter().copied())
        {
            self.sockets[socket].hub_closed = true;
        }
        self.locks.retain(|_, holder| *holder != slot);
        if self.listening == Some(slot) {
            self.listening = None;
        }
    }

    pub fn run_with_faults(&mut self) {
        let steps = 1500 + self.random.below(2500);
        for _ in 0..steps {
            self.step();
            if self.chance(60) {
                self.harm();
            }
        }
    }

    /// Ends all faults and lets things settle.
    pub fn heal(&mut self) {
        self.quiet = true;
        self.dies_in = None;
        for slot in 0..self.processes.len() {
            if let Some(process) = &mut self.processes[slot] {
                process.stopped_until = None;
            } else {
                self.start(slot);
            }
        }
        for round in 0..if self.gentle { 300_000 } else { 60_000 } {
            self.step();
            if round % 500 == 499 && self.is_settled() {
                return;
            }
        }
    }

    /// The state in a few lines, for a failure.
    pub fn describe(&self) -> String {
        let mut text = format!("number {} locks {:?} now {}\n", self.number, self.locks, self.now);
        for process in self.processes.iter().flatten() {
            let attachment = &process.attachment;
            text += &format!(
                "{}: link {:?} known {:?} running {} silent {} kept {:?} last {} output {} stopped {:?} hub {:?}\n",
                attachment.id(),
                process.link,
                process.known,
                attachment.is_running(),
                attachment.silent_turns(),
                attachment.kept(),
                attachment.log().last(),
                process.output.len(),
                process.stopped_until,
                process.hosting,
            );
        }
        text
    }

    fn is_settled(&self) -> bool {
        let all: Vec<&Process> = self.processes.iter().flatten().collect();
        all.len() == self.processes.len()
            && all.iter().all(|process| {
                process.attachment.is_running()
                    && process.attachment.kept().0 == 0
                    && process.output.is_empty()
                    && match &process.hosting {
                        None => matches!(&process.link, Link::Socket(socket)
                            if self.sockets[*socket].from_hub.is_empty() && self.sockets[*socket].to_hub.is_empty()),
                        Some(hosting) => {
                            hosting.hub.is_running()
                                && hosting.hub.members().len() == all.len()
                                && hosting.guests.values().all(|guest| guest.output.is_empty())
                        }
                    }
            })
    }

    fn harm(&mut self) {
        let slot = usize::try_from(self.random.below(self.processes.len() as u64)).unwrap();
        // The hub is the one worth harming.
        let host =
            self.processes.iter().position(|process| process.as_ref().is_some_and(|p| p.hosting.is_some()));
        let slot = if self.chance(3) { host.unwrap_or(slot) } else { slot };
        let what = if self.gentle {
            [0, 6, 7, 8][usize::try_from(self.random.below(4)).unwrap()]
        } else {
            self.random.below(9)
        };
        match what {
            0 | 1 => self.kill(slot),
            2..=4 => {
                let long = if self.chance(2) { 500_000 } else { 12_000_000 };
                let until = self.now + self.random.below(long);
                if let Some(process) = &mut self.processes[slot] {
                    process.stopped_until.get_or_insert(until);
                }
            }
            5 => {
                // A hub whose frames are slow is taken to be stopped.
                if let Some(process) = &mut self.processes[slot]
                    && process.hosting.is_none()
                {
                    (0..15).for_each(|_| process.attachment.turn());
                    process.next_attempt = self.now;
                }
            }
            6 => self.dies_in = Some(self.random.below(12)),
            7 => {
                if let Some(process) = &mut self.processes[slot] {
                    process.attachment.detach();
                    self.pump(slot);
                }
            }
            _ => {
                for slot in 0..self.processes.len() {
                    if self.processes[slot].is_none() {
                        self.start(slot);
                    }
                }
            }
        }
    }

    /// Lets one process do one thing.
    fn step(&mut self) {
        self.now += self.random.below(if self.gentle {
            150
        } else if self.quiet {
            4000
        } else {
            2500
        });
        let slot = usize::try_from(self.random.below(self.processes.len() as u64)).unwrap();
        let now = self.now;
        let Some(process) = &mut self.processes[slot] else {
            if self.quiet || self.chance(40) {
                self.start(slot);
            }
            return;
        };
        if process.stopped_until.is_some_and(|until| now < until) {
            return;
        }
        process.stopped_until = None;
        if now >= process.next_turn {
            process.next_turn = now + TURN;
            process.attachment.turn();
            if let Some(hosting) = &mut process.hosting {
                hosting.hub.turn();
            }
            self.pump(slot);
        }
        match self.random.below(10) {
            0 | 1 => self.submit(slot),
            2..=4 => self.member_io(slot),
            5..=8 => self.hub_io(slot),
            _ => {}
        }
        self.seek_if_due(slot);
        self.pump(slot);
        self.reap(slot);
    }

    fn submit(&mut self, slot: usize) {
        let large = self.chance(12);
        let Some(process) = &mut self.processes[slot] else { return };
        let life = &mut self.lives[process.life];
        if self.quiet || process.attachment.has_ended() || process.attachment.kept().0 > 20 {
            return;
        }
        let mut bytes = format!("{}/{}", process.life, life.accepted + 1).into_bytes();
        bytes.resize(if large { 3000 } else { bytes.len() }, b' ');
        if process.attachment.submit(Bytes::from(bytes)) == Submit::Accepted {
            life.accepted += 1;
        }
    }

    /// The member's end of its socket: reads some, writes some.
    fn member_io(&mut self, slot: usize) {
        let most = usize::try_from(1 + self.random.below(3000)).unwrap();
        let Some(process) = &mut self.processes[slot] else { return };
        let Link::Socket(index) = process.link else { return };
        let socket = &mut self.sockets[index];
        let room = self.capacity.saturating_sub(socket.to_hub.len()).min(process.output.len()).min(most);
        if socket.hub_closed {
            process.output.clear();
        } else {
            shift(&mut process.output, &mut socket.to_hub, room);
        }
        let count = most.min(socket.from_hub.len());
        shift(&mut socket.from_hub, &mut process.input, count);
        let dry = socket.from_hub.is_empty();
        let ended = dry && socket.hub_closed;
        self.deliver_input(slot);
        if ended {
            self.close_member(index);
        }
        let Some(process) = &mut self.processes[slot] else { return };
        if ended {
            process.link = Link::None;
            process.input.clear();
            process.output.clear();
            process.attachment.unlinked();
            process.next_attempt = self.now;
        } else if dry {
            process.attachment.quiet();
        }
    }

    fn deliver_input(&mut self, slot: usize) {
        loop {
            let Some(process) = &mut self.processes[slot] else { return };
            let Some((kind, body, taken)) = split(&process.input).unwrap() else { return };
            let frame = FromHub::decode(kind, body).unwrap();
            process.input.drain(..taken);
            process.attachment.frame(frame);
            self.record(slot);
        }
    }

    /// Writes down what the attachment delivered, with the place it has reached.
    fn record(&mut self, slot: usize) {
        let Some(process) = &mut self.processes[slot] else { return };
        let mark = process.attachment.log().last();
        while let Some(event) = process.attachment.next_event() {
            let life = &mut self.lives[process.life];
            match event {
                CarrierEvent::Lost(lost) => life.lost = Some(lost),
                CarrierEvent::Ready => {}
                CarrierEvent::Change { .. } | CarrierEvent::Deliver { .. } => {
                    life.delivered.push(Item { mark, event });
                }
            }
        }
    }

    /// The hub's end of one of its sockets: accepts, reads some, writes some.
    fn hub_io(&mut self, slot: usize) {
        let most = usize::try_from(1 + self.random.below(3000)).unwrap();
        let pick = self.random.next_u64();
        let what = self.random.below(3);
        let Some(Process { hosting: Some(hosting), .. }) = &mut self.processes[slot] else { return };
        if let Some(socket) = hosting.backlog.pop_front() {
            hosting.guests.insert(hosting.next, Guest { socket, ..Guest::default() });
            hosting.hub.opened(hosting.next);
            hosting.next += 1;
        }
        if hosting.guests.is_empty() {
            return;
        }
        let index = usize::try_from(pick % hosting.guests.len() as u64).unwrap();
        let Some((stream, guest)) = hosting.guests.iter_mut().nth(index) else { return };
        let stream = *stream;
        let socket = &mut self.sockets[guest.socket];
        if what > 0 {
            // Writing: as much as fits, or a part of it.
            if socket.shut {
                let accepted = guest.accepted;
                socket.hub_closed = true;
                hosting.guests.remove(&stream);
                return hosting.hub.closed(stream, accepted);
            }
            let room = self.capacity.saturating_sub(socket.from_hub.len()).min(guest.output.len()).min(most);
            shift(&mut guest.output, &mut socket.from_hub, room);
            guest.accepted += room as u64;
            let accepted = guest.accepted;
            if guest.closing && guest.output.is_empty() {
                socket.hub_closed = true;
                hosting.guests.remove(&stream);
                return hosting.hub.closed(stream, accepted);
            }
            hosting.hub.accepted(stream, accepted);
        } else {
            let count = most.min(socket.to_hub.len());
            shift(&mut socket.to_hub, &mut guest.input, count);
            while let Some((kind, body, taken)) = split(&guest.input).unwrap() {
                let frame = ToHub::decode(kind, body).unwrap();
                guest.input.drain(..taken);
                hosting.hub.frame(stream, frame);
            }
            if socket.to_hub.is_empty() && socket.member_closed {
                let accepted = guest.accepted;
                socket.hub_closed = true;
                hosting.guests.remove(&stream);
                hosting.hub.closed(stream, accepted);
            }
        }
    }

    /// Moves frames between an attachment and its link, and lets the hub work.
    fn pump(&mut self, slot: usize) {
        loop {
            self.record(slot);
            let now = Monotonic::from_micros(self.now);
            let Some(mut process) = self.processes[slot].take() else { return };
            let mut frames = Vec::new();
            while let Some(frame) = process.attachment.next_frame() {
                frames.push(frame);
            }
            let mut own = Vec::new();
            let mut over = None;
            match (&process.link, &mut process.hosting) {
                (Link::None, _) | (Link::Own, None) => {}
                (Link::Socket(_), _) => {
                    let mut out = Vec::new();
                    frames.iter().for_each(|frame| frame.encode(&mut out));
                    process.output.append(&mut out);
                }
                (Link::Own, Some(hosting)) => {
                    frames.into_iter().for_each(|frame| hosting.hub.frame(OWN, frame));
                    let mut host = Host {
                        processes: &self.processes,
                        own: process.attachment.id(),
                        number: self.number,
                        locks: &self.locks,
                    };
                    hosting.hub.advance(now, &mut host);
                    while let Some(order) = hosting.hub.next_order() {
                        match order {
                            Order::Write { stream, bytes } => {
                                if let Some(guest) = hosting.guests.get_mut(&stream) {
                                    guest.output.extend_from_slice(&bytes);
                                }
                            }
                            Order::Withdraw { stream } => {
                                if let Some(guest) = hosting.guests.get_mut(&stream) {
                                    guest.output.clear();
                                }
                            }
                            Order::Close { stream, flush } => {
                                if flush {
                                    if let Some(guest) = hosting.guests.get_mut(&stream) {
                                        guest.closing = true;
                                    }
                                } else if let Some(guest) = hosting.guests.remove(&stream) {
                                    self.sockets[guest.socket].hub_closed = true;
                                }
                            }
                            Order::Own(frame) => own.push(frame),
                            Order::Over(why) => over = Some(why),
                        }
                    }
                }
            }
            let again = !own.is_empty();
            self.processes[slot] = Some(process);
            for frame in own {
                if let Some(process) = &mut self.processes[slot] {
                    process.attachment.frame(frame);
                }
                self.record(slot);
            }
            let Some(process) = &mut self.processes[slot] else { return };
            if matches!(process.link, Link::Own) {
                process.attachment.quiet();
            }
            if let Some(why) = over {
                if let Some(hosting) = process.hosting.take() {
                    process.link = Link::None;
                    process.attachment.unlinked();
                    process.next_attempt = self.now;
                    self.close_hub(slot, &hosting);
                }
                if why == Over::Retired {
                    self.end(slot);
                }
                return;
            }
            if !again {
                return;
            }
        }
    }

    /// An attachment that has ended: its process makes another one, or has left.
    fn reap(&mut self, slot: usize) {
        let Some(process) = &self.processes[slot] else { return };
        // A host that leaves in an orderly way goes on until all have its last entry.
        let retiring =
            process.hosting.is_some() && self.lives[process.life].lost == Some(CarrierLost::Detached);
        if process.attachment.has_ended() && !retiring {
            self.end(slot);
        }
    }

    fn seek_if_due(&mut self, slot: usize) {
        let Some(process) = &mut self.processes[slot] else { return };
        let seeking = match process.link {
            Link::None => true,
            Link::Socket(_) => process.attachment.silent_turns() >= 2,
            Link::Own => false,
        };
        if !seeking || process.attachment.has_ended() || self.now < process.next_attempt {
            return;
        }
        process.next_attempt = self.now + ATTEMPT;
        let (known, suspect) = (process.known, process.attachment.suspects_hub());
        if matches!(process.link, Link::Socket(_)) && !suspect {
            if known != Some(self.number) {
                self.moved(slot);
            }
            return;
        }
        let found = seek::attempt(&mut At { world: self, slot }, known, suspect);
        match found {
            Ok(Found::Moved(_)) => self.moved(slot),
            Ok(Found::Stream | Found::Host(_)) => {
                if let Some(process) = &mut self.processes[slot] {
                    process.attachment.linked();
                }
            }
            Ok(Found::Nothing) => {}
            Err(Stop::Killed) => self.kill(slot),
            Err(Stop::Ended) => {}
        }
    }

    fn moved(&mut self, slot: usize) {
        let number = self.number;
        let Some(process) = &mut self.processes[slot] else { return };
        process.known = Some(number);
        process.attachment.hub_changed();
        process.next_attempt = self.now;
        if matches!(process.link, Link::Socket(_)) && process.attachment.hub_generation() < Some(number) {
            self.leave(slot);
        }
    }

    fn leave(&mut self, slot: usize) {
        let Some(process) = &mut self.processes[slot] else { return };
        let Link::Socket(index) = process.link else { return };
        self.sockets[index].shut = true;
        process.input.append(&mut self.sockets[index].from_hub);
        self.deliver_input(slot);
        self.close_member(index);
        let Some(process) = &mut self.processes[slot] else { return };
        process.link = Link::None;
        process.input.clear();
        process.output.clear();
        process.attachment.unlinked();
    }
}

/// One process's view of the ground it stands on.
struct At<'a> {
    world: &'a mut World,
    slot: usize,
}

impl At<'_> {
    /// Every operation is a point where the process may die.
    fn operation(&mut self) -> Result<(), Stop> {
        match &mut self.world.dies_in {
            Some(0) => {
                self.world.dies_in = None;
                Err(Stop::Killed)
            }
            Some(left) => {
                *left -= 1;
                Ok(())
            }
            None => Ok(()),
        }
    }
}

impl Ground for At<'_> {
    type Stop = Stop;

    fn connect(&mut self) -> Result<bool, Stop> {
        self.operation()?;
        let Some(host) = self.world.listening else { return Ok(false) };
        let index = self.world.sockets.len();
        let Some(Process { hosting: Some(hosting), .. }) = &mut self.world.processes[host] else {
            return Ok(false);
        };
        hosting.backlog.push_back(index);
        self.world.sockets.push(Socket::default());
        if let Some(process) = &mut self.world.processes[self.slot] {
            process.link = Link::Socket(index);
        }
        Ok(true)
    }

    fn number(&mut self) -> Result<u64, Stop> {
        self.operation()?;
        Ok(self.world.number)
    }

    fn is_locked(&mut self) -> Result<bool, Stop> {
        self.operation()?;
        Ok(self.world.locks.values().any(|holder| *holder != self.slot))
    }

    fn lock(&mut self, generation: u64) -> Result<bool, Stop> {
        self.operation()?;
        Ok(*self.world.locks.entry(generation).or_insert(self.slot) == self.slot)
    }

    fn unlock(&mut self) {
        let slot = self.slot;
        self.world.locks.retain(|_, holder| *holder != slot);
    }

    fn leave(&mut self) -> Result<(), Stop> {
        self.operation()?;
        self.world.leave(self.slot);
        let ended = self.world.processes[self.slot].as_ref().is_none_or(|p| p.attachment.has_ended());
        if ended { Err(Stop::Ended) } else { Ok(()) }
    }

    fn write_number(&mut self, generation: u64) -> Result<(), Stop> {
        self.operation()?;
        self.world.number = generation;
        if let Some(process) = &mut self.world.processes[self.slot] {
            process.known = Some(generation);
        }
        Ok(())
    }

    fn listen(&mut self, generation: u64) -> Result<(), Stop> {
        self.operation()?;
        self.world.listening = Some(self.slot);
        let mut hub = Hub::new(generation, "sim", Monotonic::from_micros(self.world.now));
        hub.opened(OWN);
        if let Some(process) = &mut self.world.processes[self.slot] {
            process.hosting =
                Some(Hosting { hub, guests: BTreeMap::new(), next: OWN + 1, backlog: VecDeque::new() });
            process.link = Link::Own;
        }
        Ok(())
    }
}
