//! A fleet in one process: members with clocks of their own, a bus with a total order, and everything that goes wrong,
//! decided by one seed.
//!
//! The bus keeps the promises of `postfleet-bus`: one order for a component, FIFO for a sender, own messages come back,
//! members that go on together have delivered the same, and what was sent and not ordered when the fleet splits is
//! ordered in the next configuration of its sender.

#![allow(dead_code, reason = "each test uses a part")]
#![allow(
    clippy::unwrap_used,
    clippy::cast_possible_truncation,
    reason = "a simulation whose own input is wrong has to fail"
)]

pub(crate) mod rates;
pub(crate) mod slots;

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap, VecDeque};

use postfleet_throttle::{Configuration, Departure, Present};
use postfleet_types::{Monotonic, PrivateName, Random};

/// One second in the simulation's time, which counts microseconds.
pub(crate) const SECOND: u64 = 1_000_000;

/// A table on one member.
pub(crate) trait Engine {
    fn reconfigure(&mut self, now: Monotonic, next: &Configuration<'_>);
    fn apply(&mut self, now: Monotonic, from: &PrivateName, payload: &[u8]);
    fn heard(&mut self, now: Monotonic, sent: Monotonic);
    fn poll_deadline(&self) -> Option<Monotonic>;
    fn handle_timeout(&mut self, now: Monotonic);
    fn wants_to_send(&self) -> bool;
    fn drain(&mut self, now: Monotonic) -> Option<Vec<u8>>;
    /// `None` while sides meet: until then each has a table of its own.
    fn fingerprint(&self) -> Option<u64>;
    fn check(&self);
}

/// What the members do with it.
pub(crate) trait Load {
    type Engine: Engine;
    fn engine(&mut self, name: &PrivateName, member: usize, now: Monotonic) -> Self::Engine;
    /// Called whenever something happened on a member. Returns when it wants to be called again, in true time.
    fn turn(&mut self, at: u64, member: usize, now: Monotonic, engine: &mut Self::Engine) -> Option<u64>;
    /// The member's process is gone.
    fn killed(&mut self, at: u64, member: usize);
}

/// How the bus and the clocks behave.
#[derive(Clone, Copy, Debug)]
pub(crate) struct World {
    pub(crate) seed: u64,
    pub(crate) members: usize,
    /// From sending to delivery, in microseconds: at least and at most.
    pub(crate) transit: (u64, u64),
    /// Clocks run too fast or too slow by up to so many parts per million.
    pub(crate) drift_ppm: u64,
    /// How long a silent member stays in the configuration.
    pub(crate) detection: u64,
}

impl World {
    pub(crate) const fn new(seed: u64, members: usize) -> Self {
        Self { seed, members, transit: (1500, 2500), drift_ppm: 500, detection: 3_500_000 }
    }
}

/// What goes wrong.
#[derive(Clone, Debug)]
pub(crate) enum Fault {
    /// The process ends; its host says so.
    Kill(usize),
    /// The host is gone.
    Crash(usize),
    /// The process stands still.
    Hang(usize),
    /// It goes on, and comes back into the fleet a while later.
    Resume(usize),
    /// Another process joins.
    Join,
    /// The fleet falls into these parts.
    Split(Vec<Vec<usize>>),
    /// All parts that are there meet again.
    Heal,
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Event {
    Order { from: usize, payload: Vec<u8>, heartbeat: bool, sent: u64 },
    Deliver { member: usize },
    Timer { member: usize },
    Heartbeat { member: usize },
    Install { component: usize },
    Expel { member: usize },
    Fault { number: usize },
}

#[derive(Clone, Debug)]
enum Item {
    Message { from: usize, payload: Vec<u8>, heartbeat: bool, sent: u64, place: (usize, u64) },
    View { id: u64, members: Vec<(usize, u64)> },
}

struct Component {
    members: Vec<usize>,
    /// Open for messages; before that its configuration is being agreed.
    open: bool,
    places: u64,
    waiting: VecDeque<Event>,
    last_order: u64,
}

pub(crate) struct Node<E> {
    pub(crate) name: PrivateName,
    pub(crate) engine: E,
    pub(crate) alive: bool,
    pub(crate) hung: bool,
    offset: u64,
    ppm: i64,
    component: usize,
    view: u64,
    view_members: Vec<usize>,
    inbox: VecDeque<Item>,
    last_delivery: u64,
    under_way: usize,
    last_sent: u64,
    timer: u64,
}

impl<E> Node<E> {
    pub(crate) fn local(&self, at: u64) -> Monotonic {
        let drift = i128::from(at) * i128::from(self.ppm) / 1_000_000;
        Monotonic::from_micros(u64::try_from(i128::from(self.offset) + i128::from(at) + drift).unwrap_or(0))
    }

    fn true_time(&self, local: Monotonic) -> u64 {
        let since = i128::from(local.as_micros()) - i128::from(self.offset);
        let mut at = u64::try_from(since * 1_000_000 / (1_000_000 + i128::from(self.ppm))).unwrap_or(0);
        at = at.saturating_sub(2);
        while self.local(at) < local {
            at += 1;
        }
        at
    }
}

pub(crate) struct Sim<L: Load> {
    pub(crate) now: u64,
    pub(crate) world: World,
    pub(crate) random: Random,
    pub(crate) load: L,
    pub(crate) nodes: Vec<Node<L::Engine>>,
    pub(crate) messages: u64,
    events: BinaryHeap<Reverse<(u64, u64, Event)>>,
    sequence: u64,
    components: Vec<Component>,
    views: u64,
    faults: Vec<Fault>,
    dead: BTreeMap<usize, Departure>,
    /// What the tables were after each message, by its place in the order.
    fingerprints: BTreeMap<(usize, u64), u64>,
}

const MIN_DELAY: u64 = 10_000;
const HEARTBEAT: u64 = 250_000;

impl<L: Load> Sim<L> {
    pub(crate) fn new(world: World, load: L) -> Self {
        let mut sim = Self {
            now: 0,
            world,
            random: Random::seeded(world.seed),
            load,
            nodes: Vec::new(),
            messages: 0,
            events: BinaryHeap::new(),
            sequence: 0,
            components: vec![],
            views: 0,
            faults: Vec::new(),
            dead: BTreeMap::new(),
            fingerprints: BTreeMap::new(),
        };
        for _ in 0..world.members {
            sim.add_node();
        }
        sim.form((0..world.members).collect(), 0);
        sim
    }

    fn add_node(&mut self) -> usize {
        let member = self.nodes.len();
        let name = PrivateName::shared(&format!("relay-{member:02}").parse().unwrap(), 1);
        let ppm = self.random.below(2 * self.world.drift_ppm + 1).cast_signed()
            - self.world.drift_ppm.cast_signed();
        let offset = self.random.below(1 << 40);
        let local = Monotonic::from_micros(offset + self.now);
        let engine = self.load.engine(&name, member, local);
        self.nodes.push(Node {
            name,
            engine,
            alive: true,
            hung: false,
            offset,
            ppm,
            component: usize::MAX,
            view: 0,
            view_members: vec![member],
            inbox: VecDeque::new(),
            last_delivery: 0,
            under_way: 0,
            last_sent: 0,
            timer: u64::MAX,
        });
        let phase = self.random.below(HEARTBEAT);
        self.at(self.now + phase, Event::Heartbeat { member });
        member
    }

    fn at(&mut self, at: u64, event: Event) {
        self.sequence += 1;
        self.events.push(Reverse((at.max(self.now), self.sequence, event)));
    }

    pub(crate) fn fault(&mut self, at: u64, fault: Fault) {
        self.faults.push(fault);
        self.at(at, Event::Fault { number: self.faults.len() - 1 });
    }

    /// These members make a component whose configuration is agreed after `delay`.
    fn form(&mut self, members: Vec<usize>, delay: u64) {
        let component = self.components.len();
        for member in &members {
            self.nodes[*member].component = component;
        }
        self.components.push(Component {
            members,
            open: false,
            places: 0,
            waiting: VecDeque::new(),
            last_order: self.now,
        });
        self.at(self.now + delay, Event::Install { component });
    }

    pub(crate) fn run_until(&mut self, end: u64) {
        while let Some(Reverse((at, _, _))) = self.events.peek()
            && *at <= end
        {
            let Some(Reverse((at, _, event))) = self.events.pop() else { break };
            self.now = at;
            self.step(event);
        }
        self.now = end;
    }

    fn step(&mut self, event: Event) {
        match event {
            Event::Order { from, .. } => {
                let component = self.nodes[from].component;
                if !self.nodes[from].alive {
                } else if self.components[component].open {
                    self.order(component, event);
                } else {
                    self.components[component].waiting.push_back(event);
                }
            }
            Event::Install { component } => self.install(component),
            Event::Deliver { member } => {
                if self.nodes[member].alive && !self.nodes[member].hung {
                    self.deliver_next(member);
                    self.turn(member);
                }
            }
            Event::Timer { member } => {
                if self.nodes[member].timer == self.now
                    && self.nodes[member].alive
                    && !self.nodes[member].hung
                {
                    self.nodes[member].timer = u64::MAX;
                    self.turn(member);
                }
            }
            Event::Heartbeat { member } => {
                if self.nodes[member].alive {
                    if !self.nodes[member].hung {
                        self.send(member, Vec::new(), true);
                    }
                    self.at(self.now + HEARTBEAT, Event::Heartbeat { member });
                }
            }
            Event::Expel { member } => self.expel(member),
            Event::Fault { number } => self.strike(self.faults[number].clone()),
        }
    }

    fn transit(&mut self) -> u64 {
        let (least, most) = self.world.transit;
        least + self.random.below(most - least + 1)
    }

    fn send(&mut self, member: usize, payload: Vec<u8>, heartbeat: bool) {
        let sent = self.nodes[member].local(self.now).as_micros();
        let delay = self.transit() / 2;
        self.at(self.now + delay, Event::Order { from: member, payload, heartbeat, sent });
    }

    fn order(&mut self, component: usize, event: Event) {
        let Event::Order { from, payload, heartbeat, sent } = event else { return };
        self.components[component].places += 1;
        let place = (component, self.components[component].places);
        let item = Item::Message { from, payload, heartbeat, sent, place };
        self.spread(component, item);
    }

    /// Puts an item into the inboxes of a component, in one order.
    fn spread(&mut self, component: usize, item: Item) {
        for member in self.components[component].members.clone() {
            let delay = self.transit() / 2;
            let node = &mut self.nodes[member];
            if !node.alive || node.component != component {
                continue;
            }
            node.inbox.push_back(item.clone());
            node.last_delivery = node.last_delivery.max(self.now + delay);
            let at = node.last_delivery;
            self.at(at, Event::Deliver { member });
        }
    }

    fn install(&mut self, component: usize) {
        let members: Vec<usize> = self.components[component].members.clone();
        if !members.iter().all(|member| self.nodes[*member].component == component) {
            return;
        }
        self.views += 1;
        let id = self.views * 1_000_003 + self.world.seed;
        // The view in which each member will have been when it takes this one.
        let before = |node: &Node<L::Engine>| {
            node.inbox.iter().rev().find_map(|item| match item {
                Item::View { id, .. } => Some(*id),
                Item::Message { .. } => None,
            })
        };
        let members: Vec<(usize, u64)> = members
            .into_iter()
            .map(|member| {
                let node = &self.nodes[member];
                let before = before(node).unwrap_or(node.view);
                // Whoever has been in no view yet came along with nobody.
                (member, if before == 0 { u64::MAX - member as u64 } else { before })
            })
            .collect();
        self.spread(component, Item::View { id, members });
        self.components[component].open = true;
        for event in std::mem::take(&mut self.components[component].waiting) {
            self.order(component, event);
        }
    }

    fn deliver_next(&mut self, member: usize) {
        let now = self.nodes[member].local(self.now);
        let Some(item) = self.nodes[member].inbox.pop_front() else { return };
        match item {
            Item::View { id, members } => {
                let mine = members.iter().find(|(of, _)| *of == member).map_or(0, |(_, before)| *before);
                let joined: Vec<PrivateName> = members
                    .iter()
                    .filter(|(of, before)| *of != member && *before != mine)
                    .map(|(of, _)| self.nodes[*of].name.clone())
                    .collect();
                let came = |of: &usize| members.iter().any(|(m, before)| m == of && *before == mine);
                let departed: Vec<(PrivateName, Departure)> = self.nodes[member]
                    .view_members
                    .iter()
                    .filter(|of| **of != member && !came(of))
                    .map(|of| {
                        let how = self.dead.get(of).copied().unwrap_or(Departure::Uncertain);
                        (self.nodes[*of].name.clone(), how)
                    })
                    .collect();
                let names: Vec<PrivateName> =
                    members.iter().map(|(of, _)| self.nodes[*of].name.clone()).collect();
                let present: Vec<Present<'_>> =
                    names.iter().map(|name| Present { name, relay: true }).collect();
                let node = &mut self.nodes[member];
                node.view = id;
                node.view_members = members.iter().map(|(of, _)| *of).collect();
                let next = Configuration { id, members: &present, departed: &departed, joined: &joined };
                node.engine.reconfigure(now, &next);
            }
            Item::Message { from, payload, heartbeat, sent, place } => {
                if from == member && !heartbeat {
                    self.nodes[member].under_way = self.nodes[member].under_way.saturating_sub(1);
                }
                let name = self.nodes[from].name.clone();
                let engine = &mut self.nodes[member].engine;
                if heartbeat {
                    if from == member {
                        engine.heard(now, Monotonic::from_micros(sent));
                    }
                } else {
                    engine.apply(now, &name, &payload);
                    if let Some(print) = engine.fingerprint() {
                        let first = *self.fingerprints.entry(place).or_insert(print);
                        assert_eq!(
                            print, first,
                            "{name} disagrees about the table at {place:?}, {} us, seed {}",
                            self.now, self.world.seed
                        );
                    }
                }
            }
        }
        self.nodes[member].engine.check();
    }

    /// The member's loop.
    fn turn(&mut self, member: usize) {
        let at = self.now;
        let now = self.nodes[member].local(at);
        if self.nodes[member].engine.poll_deadline().is_some_and(|due| due <= now) {
            self.nodes[member].engine.handle_timeout(now);
        }
        let wake = self.load.turn(at, member, now, &mut self.nodes[member].engine);
        let node = &mut self.nodes[member];
        let mut send_at = None;
        if node.engine.wants_to_send() && node.under_way == 0 {
            if node.last_sent + MIN_DELAY <= at {
                let mut batch = Vec::new();
                while let Some(payload) = node.engine.drain(now) {
                    batch.push(payload);
                }
                node.under_way += batch.len();
                node.last_sent = at;
                // Bodies of one turn share a message of the bus.
                self.messages += u64::from(!batch.is_empty());
                for payload in batch {
                    self.send_in_order(member, payload);
                }
            } else {
                send_at = Some(node.last_sent + MIN_DELAY);
            }
        }
        let node = &self.nodes[member];
        let due = node.engine.poll_deadline().map(|due| node.true_time(due).max(at + 1));
        if let Some(next) = [due, wake.map(|wake| wake.max(at + 1)), send_at].into_iter().flatten().min()
            && next != node.timer
        {
            self.nodes[member].timer = next;
            self.at(next, Event::Timer { member });
        }
    }

    /// Messages of one sender keep their order.
    fn send_in_order(&mut self, member: usize, payload: Vec<u8>) {
        let sent = self.nodes[member].local(self.now).as_micros();
        let delay = self.world.transit.0 / 2;
        self.at(self.now + delay, Event::Order { from: member, payload, heartbeat: false, sent });
    }

    fn strike(&mut self, fault: Fault) {
        match fault {
            Fault::Kill(member) => {
                self.nodes[member].alive = false;
                self.dead.insert(member, Departure::Certain);
                self.load.killed(self.now, member);
                self.regroup_without(member, 10_000);
            }
            Fault::Crash(member) => {
                self.nodes[member].alive = false;
                self.load.killed(self.now, member);
                self.at(self.now + self.world.detection, Event::Expel { member });
            }
            Fault::Hang(member) => {
                self.nodes[member].hung = true;
                self.at(self.now + self.world.detection, Event::Expel { member });
            }
            Fault::Resume(member) => {
                if !self.nodes[member].alive {
                    return;
                }
                self.nodes[member].hung = false;
                // The worst case: it acts before it reads what came meanwhile.
                self.turn(member);
                while !self.nodes[member].inbox.is_empty() {
                    self.deliver_next(member);
                    self.turn(member);
                }
                self.fault(self.now + 2 * SECOND, Fault::Heal);
            }
            Fault::Join => {
                let member = self.add_node();
                self.form(vec![member], 0);
                self.heal();
            }
            Fault::Split(mut parts) => {
                // Whoever is not named goes with the first.
                let rest = (0..self.nodes.len()).filter(|of| !parts.iter().any(|part| part.contains(of)));
                let rest: Vec<usize> = rest.collect();
                parts[0].extend(rest);
                for part in parts {
                    let part: Vec<usize> =
                        part.into_iter().filter(|member| self.nodes[*member].alive).collect();
                    // Sides notice at different times.
                    let delay = 100_000 + self.random.below(self.world.detection);
                    if !part.is_empty() {
                        self.move_waiting(&part, delay);
                    }
                }
            }
            Fault::Heal => self.heal(),
        }
    }

    fn heal(&mut self) {
        let members =
            (0..self.nodes.len()).filter(|member| self.nodes[*member].alive && !self.nodes[*member].hung);
        let members: Vec<usize> = members.collect();
        self.move_waiting(&members, 20_000);
    }

    fn regroup_without(&mut self, member: usize, delay: u64) {
        let component = self.nodes[member].component;
        let rest: Vec<usize> =
            self.components[component].members.iter().copied().filter(|of| *of != member).collect();
        let rest: Vec<usize> = rest.into_iter().filter(|of| self.nodes[*of].component == component).collect();
        if !rest.is_empty() {
            self.move_waiting(&rest, delay);
        }
    }

    /// Forms a component; what waits for a configuration in an old one waits for this one.
    fn move_waiting(&mut self, members: &[usize], delay: u64) {
        let mut waiting = VecDeque::new();
        for component in &mut self.components {
            let (moved, kept): (VecDeque<Event>, VecDeque<Event>) = std::mem::take(&mut component.waiting)
                .into_iter()
                .partition(|event| matches!(event, Event::Order { from, .. } if members.contains(from)));
            waiting.extend(moved);
            component.waiting = kept;
        }
        self.form(members.to_vec(), delay);
        if let Some(component) = self.components.last_mut() {
            component.waiting = waiting;
        }
    }

    /// The others go on without a silent member. A member that stands still finds a configuration of its own.
    fn expel(&mut self, member: usize) {
        if self.nodes[member].alive && !self.nodes[member].hung {
            return;
        }
        self.regroup_without(member, 10_000);
        if self.nodes[member].alive {
            self.form(vec![member], 10_000);
        }
    }
}
