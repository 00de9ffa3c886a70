//! Entry points for fuzzers: each takes any bytes and panics only when a promise of this crate is broken.

use alloc::vec::Vec;

use postfleet_types::WallTime;

use crate::answer::Answer;
use crate::client::Reader;
use crate::command::parse;
use crate::complete::{Names, completions};
use crate::machine::Form;
use crate::profile::Profile;
use crate::render::render;
use crate::server::{Event, Server};

/// Parses, completes and renders the failure of a command line.
pub fn fuzz_line(bytes: &[u8]) {
    let line = alloc::string::String::from_utf8_lossy(bytes);
    let profile = Profile::node("relay-0-1", "1.0.0");
    let request = parse(&line, &profile);
    // Only one form word is removed: the text of `xml json summary` is a line that asks for a form again.
    if !["xml", "json"].iter().any(|form| request.text.split(' ').next() == Some(form)) {
        assert_eq!(parse(&request.text, &profile).command, request.command, "normal form means the same");
    }
    if let Err(failure) = &request.command {
        for form in [Form::Text, Form::Json, Form::Xml] {
            let rendered = render(
                &profile,
                &crate::command::Request { form, ..request.clone() },
                WallTime::default(),
                Err(failure),
            );
            assert!(rendered.output.ends_with('\n'));
            if form != Form::Text {
                assert_eq!(rendered.output.matches('\n').count(), 1, "one line");
                let message = crate::machine::error_message(form, &rendered.output);
                assert!(message.is_some(), "the message can be read back");
            }
        }
    }
    let names = Names { objects: ["inbound_cidr".into()].into(), ..Names::default() };
    for candidate in completions(&line, &profile, &names) {
        assert!(!candidate.is_empty());
    }
}

/// Feeds a server in one piece and in pieces of the first byte's length: the same bytes must come out. The output
/// goes through the client's reader, and the input too, as if a server had sent it.
pub fn fuzz_protocol(bytes: &[u8]) {
    let step = usize::from(bytes.first().copied().unwrap_or(1)).max(1);
    let whole = drive(bytes, bytes.len().max(1));
    let pieces = drive(bytes, step);
    assert_eq!(whole, pieces, "output depends on how the input was split");

    // Framed output is read back by our own client; plain output is for people.
    let mut reader = Reader::new();
    for piece in bytes.chunks(step) {
        reader.receive(piece);
        loop {
            match reader.poll_unit() {
                Ok(Some(_)) => {}
                Ok(None) => break,
                Err(_) => return,
            }
        }
    }
}

/// Answers every run at once and gives all output.
fn drive(bytes: &[u8], step: usize) -> Vec<u8> {
    let profile = Profile::node("relay-0-1", "1.0.0");
    let now = WallTime::default();
    let mut server = Server::new(&profile);
    let mut out = Vec::new();
    let mut chunks = bytes.chunks(step);
    let mut ended = false;
    loop {
        while let Some(output) = server.poll_output() {
            out.extend_from_slice(&output);
        }
        match server.poll_event(&profile, now) {
            Some(Event::Run { id, .. }) => server.answer(id, &profile, now, Ok(&Answer::line("done"))),
            Some(Event::Complete { id, .. }) => server.complete(id, &profile, &Names::default()),
            Some(Event::Cancelled { .. }) => {}
            Some(Event::Close) => {
                while let Some(output) = server.poll_output() {
                    out.extend_from_slice(&output);
                }
                return out;
            }
            None if !server.is_idle() => {}
            None => match chunks.next() {
                Some(chunk) => server.receive(chunk),
                None if ended => return out,
                None => {
                    ended = true;
                    server.receive_end();
                }
            },
        }
    }
}
