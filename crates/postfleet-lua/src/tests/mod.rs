//! Scripts on the host in memory.

mod alone;
mod cases;
mod language;
mod reference;

use std::net::IpAddr;
use std::sync::Arc;

use postfleet_datasource::{Params, Rows, Value as Cell};
use postfleet_policy::model::Model;
use postfleet_policy::{Answer, Binding, Disposition, Event, Fault, Level, Phase, Reply, Request};

use crate::fuzz::{SAMPLES, finished, script};
use crate::{
    Callout, Ending, Execution, FUNCTIONS, Library, Limits, NoLibrary, OnError, Program, Source, Step,
};
use proptest::prelude::*;

fn source(text: &str) -> Source {
    Source { name: "test".into(), file: "test.lua".into(), text: text.into() }
}

fn small() -> Limits {
    Limits { slice_max: 200_000, call_max: 1_000_000, memory_max: 8 << 20, ..Limits::default() }
}

fn load_with(text: &str, on_error: OnError) -> Arc<Program> {
    match Program::load(&[source(text)], &NoLibrary, small(), on_error, 1, 1_000) {
        Ok(program) => Arc::new(program),
        Err(error) => panic!("{error}"),
    }
}

fn load(text: &str) -> Arc<Program> {
    load_with(text, OnError::Continue)
}

fn refused(text: &str) -> String {
    match Program::load(&[source(text)], &NoLibrary, small(), OnError::Continue, 1, 1_000) {
        Ok(_) => panic!("this loads: {text}"),
        Err(error) => error.to_string(),
    }
}

/// A module whose callout has this body; it goes on unless the body returns.
fn body(callout: Callout, text: &str) -> String {
    let arguments = match callout {
        Callout::Connect => "accept, vctx",
        Callout::Ehlo | Callout::Mailfrom => "str, accept, vctx",
        Callout::Rcptto => "msg, str, accept, vctx",
        Callout::Data | Callout::Spool | Callout::EachRcpt => "msg, accept, vctx",
        Callout::SetBinding => "msg",
        _ => "",
    };
    let name = callout.name();
    format!(
        "require('msys.core') local mod = {{}} function mod:{name}({arguments})\n{text}\nreturn msys.core.VALIDATE_CONT \
         end msys.registerModule('test', mod)"
    )
}

fn call(model: &mut Model, program: &Arc<Program>, callout: Callout) -> Ending {
    model.phase = callout.phase();
    finished(model, Execution::new(program, &[callout], "argument"))
}

fn run(model: &mut Model, callout: Callout, text: &str) -> Ending {
    call(model, &load(&body(callout, text)), callout)
}

/// What a body prints in a callout, if nothing goes wrong.
fn printed_in(model: &mut Model, callout: Callout, text: &str) -> Vec<String> {
    model.printed.clear();
    let ending = run(model, callout, text);
    assert_eq!(ending.errors, Vec::<String>::new());
    model.printed.drain(..).map(|(_, line)| line).collect()
}

fn printed(model: &mut Model, text: &str) -> Vec<String> {
    printed_in(model, Callout::Mailfrom, text)
}

fn value(expression: &str) -> String {
    printed(&mut Model::default(), &format!("print({expression})")).join("|")
}

/// The error of a body.
fn failure(model: &mut Model, callout: Callout, text: &str) -> String {
    let ending = run(model, callout, text);
    assert_eq!(ending.outcome.disposition, Disposition::End);
    ending.errors.join("|")
}

fn reply(code: &str, text: &str) -> Disposition {
    Disposition::Action(Reply::new(code, text).expect("a good reply"))
}

fn address(last: u8) -> IpAddr {
    IpAddr::from([192, 0, 2, last])
}

/// Runs `init`; what went wrong.
fn init(model: &mut Model, text: &str) -> Vec<String> {
    let program = load(&format!(
        "local mod = {{}} function mod:init()\n{text}\nreturn true end msys.registerModule('test', mod)"
    ));
    model.phase = None;
    let client = model.client.take();
    let ending = finished(model, Execution::new(&program, &[Callout::Init], ""));
    model.client = client;
    ending.errors
}
