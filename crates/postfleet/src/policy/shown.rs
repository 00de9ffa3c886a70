//! What is printed of checks and runs.

use super::script::Script;
use super::walk::{Report, Step};
use postfleet_policy::{Disposition, Reply};
use serde_json::{Value, json};

/// One line of JSON for a file that was checked.
pub(super) fn check_json(file: &str, outcome: &Result<Script, String>) -> String {
    let object = match outcome {
        Ok(script) => {
            json!({ "file": file, "usable": true, "called_in": script.moments(), "notes": script.notes() })
        }
        Err(problem) => json!({ "file": file, "usable": false, "problem": problem }),
    };
    object.to_string()
}

fn reply(reply: &Reply) -> String {
    reply.rendered().join(" / ")
}

fn outcome(of: &Disposition) -> String {
    match of {
        Disposition::End => "goes on".to_owned(),
        Disposition::Keep | Disposition::Stop => "accepts".to_owned(),
        Disposition::Discard { reason } => match reason {
            Some(reason) => format!("swallows it ({reason})"),
            None => "swallows it".to_owned(),
        },
        Disposition::Reject { text } => format!("refuses with 550 {text}"),
        Disposition::Redirect { address } => format!("sends it to {address} instead"),
        Disposition::Action(with) if with.code() < 300 => format!("accepts with {}", reply(with)),
        Disposition::Action(with) => format!("refuses with {}", reply(with)),
        Disposition::Disconnect(with) => format!("refuses with {}, and closes", reply(with)),
        Disposition::Failed(with) => format!("refuses with {}, because of an error", reply(with)),
    }
}

const fn word(of: &Disposition) -> &'static str {
    match of {
        Disposition::End => "continue",
        Disposition::Keep | Disposition::Stop => "accept",
        Disposition::Discard { .. } => "discard",
        Disposition::Reject { .. } => "reject",
        Disposition::Redirect { .. } => "redirect",
        Disposition::Action(_) => "reply",
        Disposition::Disconnect(_) => "disconnect",
        Disposition::Failed(_) => "failed",
    }
}

#[allow(clippy::cast_precision_loss, reason = "holds are short")]
fn seconds(ms: u64) -> f64 {
    ms as f64 / 1000.0
}

/// For people.
pub(super) fn text(report: &Report) -> String {
    let mut text = String::new();
    let mut session = None;
    for step in &report.steps {
        if step.session != session {
            session.clone_from(&step.session);
            if let Some((number, name)) = &session {
                text.push_str(&format!("session {number}, {name}\n"));
            }
        }
        let margin = if step.session.is_some() { "  " } else { "" };
        let about = if step.about.is_empty() { String::new() } else { format!(" {}", step.about) };
        let held =
            if step.held_ms > 0 { format!(", after {} s", seconds(step.held_ms)) } else { String::new() };
        text.push_str(&format!("{margin}{}{about}: {}{held}\n", step.moment, outcome(&step.outcome)));
        let mut more = |what: &str, list: &[String]| {
            if !list.is_empty() {
                text.push_str(&format!("{margin}  {what} {}\n", list.join(", ")));
            }
        };
        more("reads", &step.reads);
        more("writes", &step.writes);
        for line in &step.said {
            text.push_str(&format!("{margin}  says {line}\n"));
        }
        for error in &step.errors {
            text.push_str(&format!("{margin}  ERROR {error}\n"));
        }
    }
    text
}

fn object(step: &Step) -> Value {
    let (code, lines) = match &step.outcome {
        Disposition::Action(reply) | Disposition::Disconnect(reply) | Disposition::Failed(reply) => {
            (Some(reply.code()), reply.lines().to_vec())
        }
        Disposition::Reject { text } => (Some(550), vec![text.clone()]),
        Disposition::Discard { reason } => (None, reason.iter().cloned().collect()),
        Disposition::Redirect { address } => (None, vec![address.clone()]),
        Disposition::End | Disposition::Keep | Disposition::Stop => (None, Vec::new()),
    };
    json!({
        "session": step.session.as_ref().map(|(number, _)| number),
        "moment": step.moment,
        "about": step.about,
        "outcome": word(&step.outcome),
        "code": code,
        "text": lines,
        "held_seconds": seconds(step.held_ms),
        "reads": step.reads,
        "writes": step.writes,
        "said": step.said,
        "errors": step.errors,
    })
}

/// For programs.
pub(super) fn json(report: &Report) -> String {
    let steps: Vec<Value> = report.steps.iter().map(object).collect();
    format!("{}\n", json!({ "failed": report.failed(), "steps": steps }))
}
