//! The server's end of one control connection.
//!
//! The caller's duties, in order: send what [`Server::poll_output`] gives, give what arrives to
//! [`Server::receive`], then take events with [`Server::poll_event`], answering each run and completion when it
//! can. Output may appear after every call, and sending it may let further lines run: poll both until neither
//! gives anything, and only then read. While [`Server::wants_input`] is false, do not read: a client has sent
//! lines ahead. The idle timeout is the caller's.

use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;

use postfleet_types::WallTime;

use crate::answer::Answer;
use crate::audit::AuditCommand;
use crate::command::{Command, Request, parse};
use crate::complete::{Names, completions};
use crate::failure::{Code, Failure, Status};
use crate::machine::Form;
use crate::profile::Profile;
use crate::render::{Rendered, render};
use crate::wire::{Buffer, COMMAND_BYTES_MAX, HEADER_BYTES_MAX, OUT_BYTES, PROTOCOL_VERSION, cut, number};

/// One command of one connection, as handed to the executor. Never used twice on a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct RunId(u64);

/// What the executor has to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// Run a command, then call [`Server::answer`]. No other run or completion comes before that.
    Run {
        /// Name of the run.
        id: RunId,
        /// What to run. Its command is checked; commands the crate answers itself never appear.
        command: Command,
        /// The line in normal form, for accounting.
        text: String,
    },
    /// Find candidates, then call [`Server::complete`].
    Complete {
        /// Name of the run.
        id: RunId,
        /// The line up to the cursor.
        line: String,
    },
    /// The client no longer wants the answer. Stop the work if that is possible; an answer is ignored.
    Cancelled {
        /// Name of the run.
        id: RunId,
    },
    /// Close the connection once all output is sent. The last event.
    Close,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mode {
    /// Nothing received yet.
    Fresh,
    Framed,
    Plain,
    /// No more input is read.
    Closing,
    /// The close event has been given.
    Closed,
}

/// The command that is running, or whose output is being sent.
#[derive(Debug)]
struct Running {
    id: RunId,
    /// The number the client chose; `None` in plain mode.
    wire_id: Option<u64>,
    work: Work,
}

#[derive(Debug)]
enum Work {
    Executing(Request),
    Completing(String),
    Sending { rendered: Rendered, sent: usize },
}

/// One control connection, server side.
#[derive(Debug)]
pub struct Server {
    input: Buffer,
    end_of_input: bool,
    /// A command whose text has not all arrived: the client's number and the length.
    awaited: Option<(Verb, u64, usize)>,
    mode: Mode,
    control: Vec<u8>,
    running: Option<Running>,
    events: Vec<Event>,
    runs: u64,
    refused_logins: u8,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Verb {
    Run,
    Complete,
}

/// Answers that need no executor wait here until they are sent; beyond this many bytes no further line is looked
/// at, so that a client that asks for help a thousand times and never reads costs no memory.
const CONTROL_BYTES: usize = 256 * 1024;

/// Attempts to log in after which the connection is closed.
const REFUSED_LOGINS_MAX: u8 = 3;

impl Server {
    /// A connection that was just accepted, on an endpoint that needs no password. Its greeting is ready to be
    /// sent.
    #[must_use]
    pub fn new(profile: &Profile) -> Self {
        // The fields of the greeting are separated by blanks, so none may contain one.
        let word = |text: &str| text.replace(|c: char| c.is_whitespace() || c.is_control(), "-");
        let greeting = format!(
            "POSTFLEET-CONTROL {PROTOCOL_VERSION} {} {} {} AUTH=none\n",
            profile.role.word(),
            word(&profile.node),
            word(&profile.version),
        );
        Self {
            input: Buffer::default(),
            end_of_input: false,
            awaited: None,
            mode: Mode::Fresh,
            control: greeting.into_bytes(),
            running: None,
            events: Vec::new(),
            runs: 0,
            refused_logins: 0,
        }
    }

    /// Whether more bytes may be given to [`receive`](Self::receive). False while lines sent ahead in plain mode
    /// fill the buffer, and after the end. Changes with every call.
    #[must_use]
    pub fn wants_input(&self) -> bool {
        match self.mode {
            Mode::Closing | Mode::Closed => false,
            Mode::Fresh | Mode::Framed | Mode::Plain => {
                !self.end_of_input && self.input.unused().len() <= COMMAND_BYTES_MAX
            }
        }
    }

    /// Whether no command is running and no output waits: the idle timeout counts only then.
    #[must_use]
    pub fn is_idle(&self) -> bool {
        self.running.is_none() && self.control.is_empty()
    }

    /// Takes bytes from the client.
    pub fn receive(&mut self, bytes: &[u8]) {
        if !self.end_of_input && !matches!(self.mode, Mode::Closing | Mode::Closed) {
            self.input.push(bytes);
        }
    }

    /// The client will send nothing more. Lines already received are still run.
    pub fn receive_end(&mut self) {
        self.end_of_input = true;
    }

    /// The next thing to do. Lines that need no executor (errors, `help`, `version`) are answered on the way.
    pub fn poll_event(&mut self, profile: &Profile, now: WallTime) -> Option<Event> {
        loop {
            if !self.events.is_empty() {
                return Some(self.events.remove(0));
            }
            let progress = match self.mode {
                Mode::Closed => return None,
                Mode::Closing => false,
                Mode::Fresh | Mode::Framed | Mode::Plain if self.control.len() > CONTROL_BYTES => {
                    return None;
                }
                Mode::Fresh => self.first_line(),
                Mode::Framed => self.framed(profile, now),
                Mode::Plain => self.running.is_none() && self.plain(profile, now),
            };
            if progress {
                continue;
            }
            let finished = self.end_of_input || self.mode == Mode::Closing;
            if finished && self.running.is_none() && self.events.is_empty() {
                self.mode = Mode::Closed;
                return Some(Event::Close);
            }
            if self.events.is_empty() {
                return None;
            }
        }
    }

    /// Ends a run. Ignored when the run was cancelled or has been answered.
    pub fn answer(&mut self, id: RunId, profile: &Profile, now: WallTime, result: Result<&Answer, &Failure>) {
        if let Some(running) = self.running.as_mut().filter(|running| running.id == id)
            && let Work::Executing(request) = &running.work
        {
            running.work = Work::Sending { rendered: render(profile, request, now, result), sent: 0 };
        }
    }

    /// Ends a completion. Ignored when it was cancelled or has been answered.
    pub fn complete(&mut self, id: RunId, profile: &Profile, names: &Names) {
        if let Some(running) = self.running.as_mut().filter(|running| running.id == id)
            && let Work::Completing(line) = &running.work
        {
            let mut output = completions(line, profile, names).join("\n");
            if !output.is_empty() {
                output.push('\n');
            }
            let rendered = Rendered { status: Status::Ok, code: None, output };
            running.work = Work::Sending { rendered, sent: 0 };
        }
    }

    /// The next bytes to send, a few hundred kilobytes at most; `None` when there are none now. Ask again when
    /// they are written, so that a cancel can overtake the rest.
    pub fn poll_output(&mut self) -> Option<Vec<u8>> {
        if !self.control.is_empty() {
            return Some(core::mem::take(&mut self.control));
        }
        let running = self.running.as_mut()?;
        let Work::Sending { rendered, sent } = &mut running.work else { return None };
        let bytes = piece(rendered, sent, running.wire_id);
        if *sent == rendered.output.len() {
            self.running = None;
        }
        // A command in plain mode that prints nothing has nothing to send.
        if bytes.is_empty() { None } else { Some(bytes) }
    }

    /// Sends an answer that needed no executor behind whatever already waits.
    fn send_now(&mut self, wire_id: Option<u64>, rendered: &Rendered) {
        let mut sent = 0;
        loop {
            self.control.extend_from_slice(&piece(rendered, &mut sent, wire_id));
            if sent == rendered.output.len() {
                return;
            }
        }
    }

    /// Decides between the two modes. They differ by the first line alone.
    fn first_line(&mut self) -> bool {
        let unused = self.input.unused();
        let Some(end) = unused.iter().position(|byte| *byte == b'\n') else {
            if unused.len() > COMMAND_BYTES_MAX || (self.end_of_input && !unused.is_empty()) {
                self.mode = Mode::Plain;
                return true;
            }
            return false;
        };
        let line = unused.get(..end).unwrap_or_default();
        let word = line.split(|byte| matches!(byte, b' ' | b'\r')).next().unwrap_or_default();
        let framed = matches!(word, b"AUTH" | b"RUN" | b"COMPLETE" | b"CANCEL" | b"NOOP" | b"BYE");
        self.mode = if framed { Mode::Framed } else { Mode::Plain };
        true
    }

    fn framed(&mut self, profile: &Profile, now: WallTime) -> bool {
        if let Some((verb, wire_id, length)) = self.awaited {
            let Some(text) = self.input.take(length) else { return false };
            self.awaited = None;
            self.begin(verb, Some(wire_id), text, profile, now);
            return true;
        }
        let Some(line) = self.input.line() else {
            if self.input.unused().len() > HEADER_BYTES_MAX {
                self.refuse("line too long");
            }
            return false;
        };
        let Ok(line) = String::from_utf8(line) else {
            self.refuse("not UTF-8");
            return true;
        };
        let mut fields = line.split(' ');
        let verb = fields.next().unwrap_or_default();
        let rest: Vec<&str> = fields.collect();
        match (verb, rest.as_slice()) {
            ("NOOP", []) => self.control.extend_from_slice(b"OK\n"),
            ("BYE", []) => self.mode = Mode::Closing,
            ("AUTH", [_] | [_, _]) => self.refuse_login(),
            ("CANCEL", [id]) => match number(id) {
                Some(id) => self.cancel(id),
                None => self.refuse("CANCEL takes a number"),
            },
            ("RUN" | "COMPLETE", [id, length]) => match (number::<u64>(id), number::<usize>(length)) {
                (Some(id), Some(length)) if length <= COMMAND_BYTES_MAX => {
                    let verb = if verb == "RUN" { Verb::Run } else { Verb::Complete };
                    self.awaited = Some((verb, id, length));
                }
                (Some(id), Some(_)) => self.too_long(Some(id)),
                _ => self.refuse("RUN and COMPLETE take a number and a length"),
            },
            _ => self.refuse("expected AUTH, RUN, COMPLETE, CANCEL, NOOP or BYE"),
        }
        true
    }

    fn plain(&mut self, profile: &Profile, now: WallTime) -> bool {
        let line = match self.input.line() {
            Some(line) => line,
            None if self.input.unused().len() > COMMAND_BYTES_MAX => {
                self.too_long(None);
                return true;
            }
            None if self.end_of_input => match self.input.unused().len() {
                0 => return false,
                length => self.input.take(length).unwrap_or_default(),
            },
            None => return false,
        };
        if line.len() > COMMAND_BYTES_MAX {
            self.too_long(None);
        } else if !line.trim_ascii().is_empty() {
            self.begin(Verb::Run, None, line, profile, now);
        }
        true
    }

    fn begin(&mut self, verb: Verb, wire_id: Option<u64>, text: Vec<u8>, profile: &Profile, now: WallTime) {
        if let (Some(_), Some(wire_id)) = (&self.running, wire_id) {
            self.control.extend_from_slice(end(wire_id, Status::Error, Some(Code::Busy)).as_bytes());
            return;
        }
        let Ok(line) = String::from_utf8(text) else {
            let failure = Failure::unreadable("The command line is not UTF-8.");
            let request = Request { form: Form::Text, text: String::new(), command: Err(failure.clone()) };
            self.send_now(wire_id, &render(profile, &request, now, Err(&failure)));
            return;
        };
        self.runs += 1;
        let id = RunId(self.runs);
        if verb == Verb::Complete {
            self.events.push(Event::Complete { id, line: line.clone() });
            self.running = Some(Running { id, wire_id, work: Work::Completing(line) });
            return;
        }
        // Over the wire one command may come with the newline it was typed with.
        let request = parse(line.trim_end_matches(['\r', '\n']), profile);
        if let Some(result) = answered_here(&request, profile) {
            self.send_now(wire_id, &render(profile, &request, now, result.as_ref()));
            if wire_id.is_none() && request.command == Ok(Command::Local { quit: true }) {
                self.mode = Mode::Closing;
            }
        } else if let Ok(command) = request.command.clone() {
            self.events.push(Event::Run { id, command, text: request.text.clone() });
            self.running = Some(Running { id, wire_id, work: Work::Executing(request) });
        }
    }

    fn cancel(&mut self, wire_id: u64) {
        let Some(running) = self.running.take_if(|running| running.wire_id == Some(wire_id)) else { return };
        if !matches!(running.work, Work::Sending { .. }) {
            self.events.push(Event::Cancelled { id: running.id });
        }
        self.control.extend_from_slice(end(wire_id, Status::Error, Some(Code::Cancelled)).as_bytes());
    }

    /// No mechanism is offered on an endpoint where the operating system has said who the client is.
    fn refuse_login(&mut self) {
        self.control.extend_from_slice(b"AUTHFAIL\n");
        self.refused_logins += 1;
        if self.refused_logins >= REFUSED_LOGINS_MAX {
            self.close();
        }
    }

    /// The client does not speak the protocol, and what follows cannot be understood.
    fn refuse(&mut self, reason: &str) {
        self.control.extend_from_slice(format!("BAD {reason}\n").as_bytes());
        self.close();
    }

    fn too_long(&mut self, wire_id: Option<u64>) {
        let text = format!("Command line too long; the limit is {COMMAND_BYTES_MAX} bytes.\n");
        let reply = match wire_id {
            Some(id) => {
                let end = end(id, Status::Usage, Some(Code::Usage));
                format!("OUT {id} {}\n{text}{end}", text.len())
            }
            None => text,
        };
        self.control.extend_from_slice(reply.as_bytes());
        self.close();
    }

    /// A running command ends unheard, so that the connection can.
    fn close(&mut self) {
        if let Some(running) = self.running.take()
            && !matches!(running.work, Work::Sending { .. })
        {
            self.events.push(Event::Cancelled { id: running.id });
        }
        self.input.clear();
        self.mode = Mode::Closing;
    }
}

/// What needs no executor.
fn answered_here(request: &Request, profile: &Profile) -> Option<Result<Answer, Failure>> {
    match &request.command {
        Err(failure) => Some(Err(failure.clone())),
        Ok(Command::Help { topic }) => Some(crate::help::help(topic, profile)),
        Ok(Command::ClusterHelp) => Some(Ok(crate::help::cluster())),
        Ok(Command::InboundAudit(AuditCommand::Help)) => Some(Ok(crate::audit::help())),
        Ok(Command::Version) => Some(Ok(Answer::Version)),
        Ok(Command::NodeName) => Some(Ok(Answer::NodeName(profile.node.to_string()))),
        Ok(Command::Local { .. }) => Some(Ok(Answer::Lines(Vec::new()))),
        Ok(
            Command::ClusterInfo
            | Command::Membership { .. }
            | Command::NodeAddress
            | Command::ClusterReset
            | Command::Config { .. }
            | Command::CacheGet { .. }
            | Command::CacheSet { .. }
            | Command::CacheShow { .. }
            | Command::DatasourceFlush { .. }
            | Command::DatasourceQuery { .. }
            | Command::DatasourceStatistics
            | Command::SharedList
            | Command::SharedShow { .. }
            | Command::SharedWhy { .. }
            | Command::Forget { .. }
            | Command::Throttle(_)
            | Command::Slot(_)
            | Command::Count { .. }
            | Command::InboundAudit(_)
            | Command::GaugeCache(_)
            | Command::Logs(_)
            | Command::Mailq(_)
            | Command::Queue(_)
            | Command::Binding(_)
            | Command::Registered(_)
            | Command::Pid
            | Command::PolicyRule(_)
            | Command::Scriptlet(_)
            | Command::Sieve(_)
            | Command::Shutdown
            | Command::Summary
            | Command::SummaryReset
            | Command::Sysinfo,
        ) => None,
    }
}

/// The next unit of an answer, and the end of the command behind the last one.
fn piece(rendered: &Rendered, sent: &mut usize, wire_id: Option<u64>) -> Vec<u8> {
    let rest = rendered.output.get(*sent..).unwrap_or_default();
    // A client holds back the last unit until it knows the status, so the text of a failure is one unit.
    let unit = if rendered.status == Status::Ok { cut(rest, OUT_BYTES) } else { rest };
    *sent += unit.len();
    let Some(wire_id) = wire_id else { return unit.as_bytes().to_vec() };
    let mut bytes = Vec::new();
    if !unit.is_empty() {
        bytes.extend_from_slice(format!("OUT {wire_id} {}\n{unit}", unit.len()).as_bytes());
    }
    if *sent == rendered.output.len() {
        bytes.extend_from_slice(end(wire_id, rendered.status, rendered.code).as_bytes());
    }
    bytes
}

fn end(wire_id: u64, status: Status, code: Option<Code>) -> String {
    match code {
        Some(code) => format!("END {wire_id} {} {}\n", status.word(), code.word()),
        None => format!("END {wire_id} {}\n", status.word()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::client::{self, Reader, Unit};
    use proptest::prelude::*;

    const NOW: WallTime = WallTime::from_unix_seconds(1_900_000_000);
    const GREETING: &str = "POSTFLEET-CONTROL 1 node relay-0-1 1.0.0 AUTH=none\n";

    fn profile() -> Profile {
        Profile::node("relay-0-1", "1.0.0")
    }

    fn output(server: &mut Server) -> String {
        let mut bytes = Vec::new();
        while let Some(piece) = server.poll_output() {
            bytes.extend_from_slice(&piece);
        }
        String::from_utf8(bytes).unwrap()
    }

    /// A server that has greeted.
    fn greeted() -> Server {
        let mut server = Server::new(&profile());
        assert_eq!(output(&mut server), GREETING);
        server
    }

    fn event(server: &mut Server) -> Option<Event> {
        server.poll_event(&profile(), NOW)
    }

    fn run_id(event: Option<Event>) -> RunId {
        match event {
            Some(Event::Run { id, .. }) => id,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn console_s3_run_out_end() {
        let mut server = greeted();
        server.receive(b"RUN 7 3\npid");
        let id = run_id(event(&mut server));
        server.answer(id, &profile(), NOW, Ok(&Answer::Pid(481)));
        assert_eq!(output(&mut server), "OUT 7 4\n481\nEND 7 ok\n");
        // A script may have registered it.
        server.receive(b"RUN 8 6\nnosuch");
        let id = run_id(event(&mut server));
        server.answer(id, &profile(), NOW, Err(&Failure::unknown_command("nosuch")));
        assert_eq!(
            output(&mut server),
            "OUT 8 37\nUnknown command: nosuch. Try 'help'.\nEND 8 unknown unknown_command\n"
        );
        server.receive(b"NOOP\nBYE\n");
        assert_eq!(event(&mut server), Some(Event::Close));
        assert_eq!(output(&mut server), "OK\n");
        assert_eq!(event(&mut server), None);
    }

    #[test]
    fn console_s3_one_command_at_a_time() {
        let mut server = greeted();
        server.receive(b"RUN 1 3\npidRUN 2 3\npid");
        let id = run_id(event(&mut server));
        assert_eq!(event(&mut server), None);
        assert_eq!(output(&mut server), "END 2 error busy\n");
        server.answer(id, &profile(), NOW, Ok(&Answer::Pid(1)));
        assert_eq!(output(&mut server), "OUT 1 2\n1\nEND 1 ok\n");
    }

    #[test]
    fn console_s3_cancel_ends_the_command_at_once() {
        let mut server = greeted();
        server.receive(b"RUN 1 3\npidCANCEL 2\nCANCEL 1\n");
        let id = run_id(event(&mut server));
        assert_eq!(event(&mut server), Some(Event::Cancelled { id }));
        assert_eq!(output(&mut server), "END 1 error cancelled\n");
        server.answer(id, &profile(), NOW, Ok(&Answer::Pid(1)));
        assert_eq!(output(&mut server), "", "a late answer is ignored");
        server.receive(b"RUN 3 3\npid");
        let next = run_id(event(&mut server));
        assert_ne!(next, id);
    }

    #[test]
    fn cancel_overtakes_long_output() {
        let mut server = greeted();
        server.receive(b"RUN 1 3\npid");
        let id = run_id(event(&mut server));
        let long = Answer::Lines(Vec::from(["x".repeat(3 * OUT_BYTES)]));
        server.answer(id, &profile(), NOW, Ok(&long));
        assert!(server.poll_output().unwrap().starts_with(b"OUT 1 32768\nxxx"));
        server.receive(b"CANCEL 1\n");
        assert_eq!(event(&mut server), None);
        assert_eq!(output(&mut server), "END 1 error cancelled\n");
    }

    #[test]
    fn console_s3_plain_mode() {
        let mut server = greeted();
        server.receive(b"pid\r\n\n  \nhelp nosuch\npid");
        server.receive_end();
        let id = run_id(event(&mut server));
        assert_eq!(event(&mut server), None, "the next line waits");
        server.answer(id, &profile(), NOW, Ok(&Answer::Pid(481)));
        assert_eq!(output(&mut server), "481\n");
        let id = run_id(event(&mut server));
        server.answer(id, &profile(), NOW, Ok(&Answer::Pid(482)));
        assert_eq!(output(&mut server), "Unknown command: nosuch. Try 'help'.\n482\n");
        assert_eq!(event(&mut server), Some(Event::Close));
    }

    #[test]
    fn plain_mode_quits() {
        let mut server = greeted();
        server.receive(b"quit\npid\n");
        assert_eq!(event(&mut server), Some(Event::Close));
        assert_eq!(output(&mut server), "");
    }

    #[test]
    fn a_flood_of_answers_waits_for_the_client() {
        let mut server = greeted();
        while server.wants_input() {
            server.receive(b"help\n");
        }
        server.receive_end();
        let mut sent = 0;
        loop {
            let event = event(&mut server);
            let output = output(&mut server);
            assert!(output.len() < 2 * CONTROL_BYTES, "{}", output.len());
            sent += output.len();
            if event == Some(Event::Close) {
                break;
            }
        }
        assert!(sent > 10 * CONTROL_BYTES, "{sent}");
    }

    #[test]
    fn console_s3_limits() {
        let mut server = greeted();
        server.receive(b"RUN 1 65537\n");
        assert_eq!(event(&mut server), Some(Event::Close));
        let text = "Command line too long; the limit is 65536 bytes.\n";
        assert_eq!(output(&mut server), format!("OUT 1 {}\n{text}END 1 usage usage\n", text.len()));

        let mut server = greeted();
        while server.wants_input() {
            server.receive(&[b'x'; 1000]);
        }
        assert_eq!(event(&mut server), Some(Event::Close));
        assert_eq!(output(&mut server), text);

        let mut server = greeted();
        server.receive(b"NOOP\n");
        server.receive(&[b'x'; 2000]);
        assert_eq!(event(&mut server), Some(Event::Close));
        assert_eq!(output(&mut server), "OK\nBAD line too long\n");
    }

    #[test]
    fn console_s3_logins_are_refused_clearly() {
        let mut server = greeted();
        server.receive(b"AUTH SCRAM-SHA-256 eA==\nAUTH LOGIN\nAUTH LOGIN\nNOOP\n");
        assert_eq!(event(&mut server), Some(Event::Close));
        assert_eq!(output(&mut server), "AUTHFAIL\nAUTHFAIL\nAUTHFAIL\n");
    }

    #[test]
    fn completion_asks_for_names() {
        let mut server = greeted();
        server.receive(b"COMPLETE 4 26\ncluster shared show inboun");
        let Some(Event::Complete { id, .. }) = event(&mut server) else { panic!() };
        let names =
            Names { objects: ["inbound_cidr".into(), "outbound_cidr".into()].into(), ..Names::default() };
        server.complete(id, &profile(), &names);
        assert_eq!(output(&mut server), "OUT 4 13\ninbound_cidr\nEND 4 ok\n");
    }

    #[test]
    fn an_end_of_input_lets_the_running_command_finish() {
        let mut server = greeted();
        server.receive(b"RUN 1 3\npid");
        server.receive_end();
        let id = run_id(event(&mut server));
        assert_eq!(event(&mut server), None);
        server.answer(id, &profile(), NOW, Ok(&Answer::Pid(1)));
        assert_eq!(event(&mut server), None);
        assert_eq!(output(&mut server), "OUT 1 2\n1\nEND 1 ok\n");
        assert_eq!(event(&mut server), Some(Event::Close));
    }

    fn pieces() -> impl Strategy<Value = Vec<u8>> {
        let piece = prop_oneof![
            Just(b"RUN 1 3\npid".to_vec()),
            Just(b"RUN 2 7\nversion".to_vec()),
            Just(b"COMPLETE 3 2\ncl".to_vec()),
            Just(b"CANCEL 1\n".to_vec()),
            Just(b"NOOP\n".to_vec()),
            Just(b"AUTH X\n".to_vec()),
            Just(b"BYE\n".to_vec()),
            Just(b"pid\n".to_vec()),
            Just(b"json help summary\r\n".to_vec()),
            prop::collection::vec(any::<u8>(), 0..12),
        ];
        prop::collection::vec(piece, 0..8).prop_map(|pieces| pieces.concat())
    }

    proptest! {
        /// The same input gives the same output in any split, and never panics.
        #[test]
        fn splits_do_not_matter(step in 1_u8..20, input in pieces()) {
            let mut bytes = Vec::from([step]);
            bytes.extend_from_slice(&input);
            crate::fuzz::fuzz_protocol(&bytes);
            crate::fuzz::fuzz_protocol(&input);
        }

        /// What a client sends is what the server runs, and what the server answers is what the client reads.
        #[test]
        fn both_ends_agree(text in "[a-zäß\n\u{1}]{0,30}", step in 1_usize..9) {
            let mut server = greeted();
            let mut reader = Reader::new();
            reader.receive(GREETING.as_bytes());
            let greeting = matches!(reader.poll_unit(), Ok(Some(Unit::Greeting(_))));
            prop_assert!(greeting);
            server.receive(&client::run(9, "pid"));
            let id = run_id(event(&mut server));
            server.answer(id, &profile(), NOW, Ok(&Answer::line(&text)));
            let mut received = Vec::new();
            for piece in output(&mut server).as_bytes().chunks(step) {
                reader.receive(piece);
                while let Some(unit) = reader.poll_unit().unwrap() {
                    received.push(unit);
                }
            }
            let bytes = format!("{text}\n").into_bytes();
            prop_assert_eq!(received, [
                Unit::Out { id: 9, bytes },
                Unit::End { id: 9, status: Status::Ok, code: None },
            ]);
        }
    }
}
