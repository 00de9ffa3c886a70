//! Sessions as a node would ask about them, phase by phase.

use super::record::{self, Message, Record, Session};
use super::script::Script;
use postfleet_lua::Callout;
use postfleet_policy::model::Model;
use postfleet_policy::{Disposition, Event, Outcome, Phase};

/// What came of all sessions.
pub(super) struct Report {
    pub(super) steps: Vec<Step>,
}

impl Report {
    /// Whether the script had an error.
    pub(super) fn failed(&self) -> bool {
        self.steps.iter().any(|step| !step.errors.is_empty())
    }
}

/// What a script did at one moment.
pub(super) struct Step {
    /// Counted from 1; none for what belongs to no session.
    pub(super) session: Option<(usize, String)>,
    pub(super) moment: &'static str,
    /// The name or address that it is about.
    pub(super) about: String,
    pub(super) outcome: Disposition,
    pub(super) held_ms: u64,
    pub(super) reads: Vec<String>,
    pub(super) writes: Vec<String>,
    /// What it printed or logged.
    pub(super) said: Vec<String>,
    pub(super) errors: Vec<String>,
}

struct Walk<'a> {
    script: &'a Script,
    model: Model,
    session: Option<(usize, String)>,
    steps: Vec<Step>,
}

/// Whether the session or message goes on.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Fate {
    GoesOn,
    Refused,
    Closed,
}

/// Runs a script on a record.
pub(super) fn walk(script: &Script, record: &Record) -> Report {
    let mut model = match record.fleet() {
        Ok(model) => model,
        Err(problem) => {
            let step = Step { errors: vec![problem], ..empty("record") };
            return Report { steps: vec![step] };
        }
    };
    model.sieves = Some(super::script::nested);
    let mut walk = Walk { script, model, session: None, steps: Vec::new() };
    walk.outside(Callout::Init);
    if walk.steps.iter().all(|step| step.errors.is_empty()) {
        for (at, session) in record.sessions.iter().enumerate() {
            if let Some(at) = session.at {
                walk.model.now_ms = walk.model.now_ms.max(record.moment(at));
            }
            let name = format!("{} on node {}", session.client, session.node.max(1));
            walk.session = Some((at.saturating_add(1), name));
            walk.session(session);
        }
        walk.session = None;
        walk.outside(Callout::Deinit);
    }
    Report { steps: walk.steps }
}

fn empty(moment: &'static str) -> Step {
    Step {
        session: None,
        moment,
        about: String::new(),
        outcome: Disposition::End,
        held_ms: 0,
        reads: Vec::new(),
        writes: Vec::new(),
        said: Vec::new(),
        errors: Vec::new(),
    }
}

impl Walk<'_> {
    fn session(&mut self, session: &Session) {
        let model = &mut self.model;
        model.node = record::node(session.node);
        model.client = Some(session.client);
        model.client_port = session.port;
        model.connection = session.context.clone();
        model.message.clear();
        model.helo = session.helo.clone();
        model.open.push((model.node, session.client));
        model.happened(Event::Connection, session.client, 1);
        self.commands(session);
        let node = self.model.node;
        let here = self.model.open.iter().rposition(|open| *open == (node, session.client));
        if let Some(here) = here {
            self.model.open.remove(here);
        }
        self.outside(Callout::Dealloc);
        self.model.headers = None;
    }

    fn commands(&mut self, session: &Session) {
        for phase in [Phase::Accept, Phase::Connect] {
            if self.ask(phase, "") != Fate::GoesOn {
                return;
            }
        }
        self.model.connection.insert("ehlo_domain".into(), session.helo.clone());
        self.model.connection.insert("ehlo_string".into(), format!("EHLO {}", session.helo));
        if self.ask(Phase::Ehlo, &session.helo) != Fate::GoesOn {
            return;
        }
        for message in &session.messages {
            if self.message(message) == Fate::Closed {
                return;
            }
        }
    }

    fn message(&mut self, message: &Message) -> Fate {
        let model = &mut self.model;
        model.message.clear();
        model.headers = None;
        model.from = vec![message.from.clone()];
        model.to = Vec::new();
        model.recipient = None;
        self.parts("mailfrom", &message.from);
        let fate = self.ask(Phase::Mailfrom, &message.from);
        if fate != Fate::GoesOn {
            return fate;
        }
        let mut accepted = Vec::new();
        for recipient in &message.to {
            self.parts("rcptto", recipient);
            self.model.recipient = Some(recipient.clone());
            match self.ask(Phase::Rcptto, recipient) {
                Fate::GoesOn => accepted.push(recipient.clone()),
                Fate::Refused => {}
                Fate::Closed => return Fate::Closed,
            }
        }
        self.model.recipient = None;
        if accepted.is_empty() {
            return Fate::Refused;
        }
        accepted.append(&mut self.model.to);
        self.model.connection.insert("message_rcpt_count".into(), accepted.len().to_string());
        self.model.to = accepted;
        self.model.headers = Some(message.headers.clone());
        self.model.body = message.body.clone();
        for phase in [Phase::Data, Phase::Spool] {
            let fate = self.ask(phase, "");
            if fate != Fate::GoesOn {
                return fate;
            }
        }
        let mut stored = 0;
        for recipient in self.model.to.clone() {
            self.parts("rcptto", &recipient);
            self.model.recipient = Some(recipient.clone());
            self.model.binding = None;
            let phases = [Phase::EachRcpt, Phase::SetBinding];
            let goes = phases.into_iter().all(|phase| self.ask(phase, &recipient) == Fate::GoesOn);
            stored += i64::from(goes);
        }
        self.model.recipient = None;
        if let Some(client) = self.model.client {
            self.model.happened(Event::Reception, client, stored);
        }
        Fate::GoesOn
    }

    /// Keys of the message's context for an address.
    fn parts(&mut self, what: &str, address: &str) {
        let (local, domain) = address.rsplit_once('@').unwrap_or((address, ""));
        for (key, value) in [("string", address), ("localpart", local), ("domain", domain)] {
            self.model.message.insert(format!("{what}_{key}"), value.to_owned());
        }
    }

    /// What belongs to no session.
    fn outside(&mut self, callout: Callout) {
        let Script::Lua(program) = self.script else { return };
        if !program.listens(callout) {
            return;
        }
        let client = self.model.client.take();
        self.model.phase = None;
        let step = self.call(&[callout], "", callout.name());
        self.model.client = client;
        self.steps.push(step);
    }

    /// Asks about a phase, if the script wants to be asked, and does what a node would do then.
    fn ask(&mut self, phase: Phase, about: &str) -> Fate {
        self.model.phase = Some(phase);
        let step = match self.script {
            Script::Lua(program) => {
                if !Callout::of(phase).iter().any(|callout| program.listens(*callout)) {
                    return Fate::GoesOn;
                }
                self.call(Callout::of(phase), about, phase.name())
            }
            Script::Sieve { phases, folder } => {
                let Some(script) = phases.iter().find(|script| script.phase() == phase) else {
                    return Fate::GoesOn;
                };
                let mut execution = Script::execution(script, folder);
                self.model.errors.clear();
                let outcome = loop {
                    match execution.step(&mut self.model) {
                        postfleet_sieve::Step::Done(outcome) => break outcome,
                        postfleet_sieve::Step::Wait(request) => {
                            let answer = self.model.answer(request);
                            execution.resume(answer);
                        }
                    }
                };
                let errors = std::mem::take(&mut self.model.errors);
                self.step(phase.name(), about, outcome, errors)
            }
        };
        self.model.now_ms = self.model.now_ms.saturating_add(step.held_ms);
        let refused = |code: u16| if code < 300 { Fate::GoesOn } else { Fate::Refused };
        let fate = match &step.outcome {
            Disposition::End | Disposition::Keep | Disposition::Stop | Disposition::Redirect { .. } => {
                Fate::GoesOn
            }
            Disposition::Action(reply) | Disposition::Failed(reply) if reply.code() == 421 => Fate::Closed,
            Disposition::Action(reply) | Disposition::Failed(reply) => refused(reply.code()),
            Disposition::Disconnect(_) => Fate::Closed,
            Disposition::Discard { .. } | Disposition::Reject { .. } => Fate::Refused,
        };
        self.steps.push(step);
        if let (Some(client), true) = (self.model.client, fate != Fate::GoesOn) {
            self.model.happened(Event::Rejection, client, 1);
        }
        fate
    }

    fn call(&mut self, callouts: &[Callout], about: &str, moment: &'static str) -> Step {
        let Script::Lua(program) = self.script else { return empty(moment) };
        let mut execution = postfleet_lua::Execution::new(program, callouts, about);
        let ending = loop {
            match execution.step(&mut self.model) {
                postfleet_lua::Step::Done(ending) => break ending,
                postfleet_lua::Step::Wait(request) => {
                    let answer = self.model.answer(request);
                    execution.resume(answer);
                }
            }
        };
        // Errors are told once, not also as what was printed.
        self.model.printed.retain(|(_, line)| !ending.errors.iter().any(|error| is_told(error, line)));
        self.step(moment, about, ending.outcome, ending.errors)
    }

    /// Takes what the run left in the fleet.
    fn step(&mut self, moment: &'static str, about: &str, outcome: Outcome, errors: Vec<String>) -> Step {
        let model = &mut self.model;
        let touched = std::mem::take(&mut model.touched);
        let objects = |writes: bool| {
            touched.iter().filter(|touch| touch.writes == writes).map(|touch| touch.object.clone()).collect()
        };
        let mut said: Vec<String> = std::mem::take(&mut model.logged);
        said.extend(
            std::mem::take(&mut model.printed)
                .into_iter()
                .map(|(level, line)| format!("{}: {line}", level.name())),
        );
        said.extend(
            std::mem::take(&mut model.warnings).into_iter().map(|warning| format!("warning: {warning}")),
        );
        let mut held_ms = outcome.hold_ms;
        for asked in std::mem::take(&mut model.asked) {
            if let postfleet_policy::Request::Sleep { ms } = asked {
                // The clock has moved already.
                model.now_ms = model.now_ms.saturating_sub(ms);
                held_ms = held_ms.saturating_add(ms);
            }
        }
        Step {
            session: self.session.clone(),
            moment,
            about: about.to_owned(),
            outcome: outcome.disposition,
            held_ms,
            reads: objects(false),
            writes: objects(true),
            said,
            errors,
        }
    }
}

/// Whether a printed line is one of the two that an error makes.
fn is_told(error: &str, line: &str) -> bool {
    let Some((module, rest)) = error.split_once(": ") else { return false };
    let Some((callout, problem)) = rest.split_once(": ") else { return false };
    line == format!("{callout} error: {problem}") || line == format!("{module} error: {problem}")
}
