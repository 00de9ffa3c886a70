//! Texts of a particular form: monitors, destinations, routes, macros, names of limits.

use alloc::format;
use alloc::string::ToString as _;

use crate::route::{Route, RouteError};
use crate::schema::Row;
use crate::settings::{LogTemplate, Monitor, MonitorError, TemplateError, destination};
use crate::value::{Problem, clip};

pub(crate) fn monitor(text: &str) -> Result<(), Problem> {
    Monitor::read(text).map(|_| ()).map_err(|error| {
        let (code, what) = match error {
            MonitorError::Form => (4002, "is not W,N"),
            MonitorError::Range => (4003, "is out of range"),
        };
        Problem::new(code, format!("'{}' {what}", clip(text)), "W,N: N windows of W seconds, both 1 or more")
    })
}

pub(crate) fn log_destination(text: &str) -> Result<(), Problem> {
    if text.is_empty() {
        return Ok(());
    }
    match destination(text) {
        Ok((_, None)) => Ok(()),
        Ok((_, Some(remark))) => Err(Problem { code: 3009, message: remark, expected: None, hint: None }),
        Err(error) => Err(Problem {
            code: error.code,
            message: error.message,
            expected: Some("a path, or cluster://PATH=>SUBSCRIBER".to_string()),
            hint: error.hint,
        }),
    }
}

pub(crate) fn log_template(text: &str) -> Result<(), Problem> {
    if text.is_empty() {
        return Ok(());
    }
    LogTemplate::read(text).map(|_| ()).map_err(|error| match error {
        TemplateError::Relative => Problem::new(
            4005,
            format!("'{}' is not the path of a file", clip(text)),
            "a path that begins with /",
        ),
        TemplateError::Unknown(placeholder) => Problem::new(
            6250,
            format!("nothing stands for '{}'", clip(&placeholder)),
            "a conversion of strftime, %{l} log, %{n} node or %{s} subcluster",
        ),
    })
}

pub(crate) const GATEWAY_FORM: &str = "a host name, IPv4 or [IPv6] address, each with or without :PORT";
pub(crate) const ROUTE_FORM: &str = "a host, __mx__, or smtp://HOST?pref=P&ttl=T&port=O&type=mx|a";

pub(crate) fn route(text: &str, read: Result<Route, RouteError>, expected: &str) -> Result<(), Problem> {
    // Empty: unset, as for every text.
    if text.is_empty() {
        return Ok(());
    }
    read.map(|_| ()).map_err(|error| Problem {
        code: 4005,
        message: error.problem,
        expected: Some(expected.to_string()),
        hint: error.meant.map(|meant| format!("\"{meant}\"")),
    })
}

/// What `%{…}` may stand for in the key of a policy rule.
const MACROS: [&str; 8] = [
    "client_addr",
    "sender",
    "sender_domain",
    "recipient",
    "recipient_domain",
    "helo",
    "auth_user",
    "pathway",
];

pub(crate) fn macros(text: &str) -> Result<(), Problem> {
    let mut rest = text;
    while let Some((_, behind)) = rest.split_once("%{") {
        let (name, behind) = behind.split_once('}').unwrap_or((behind, ""));
        if !MACROS.contains(&name) {
            let hint = crate::schema::nearest_of(name, MACROS.into_iter());
            let message = format!("'%{{{}}}' is not a macro", clip(name));
            return Err(Problem::new(4007, message, MACROS.join(", "))
                .hint(hint.map(|near| format!("did you mean '%{{{near}}}'?"))));
        }
        rest = behind;
    }
    Ok(())
}

pub(crate) fn limit_name(text: &str) -> Result<(), Problem> {
    let limit = |row: &&Row| {
        row.name.contains("Max_Outbound_Connections")
            || row.name.contains("Outbound_Throttle_")
            || row.name.ends_with("_Sessions")
    };
    let names = || crate::schema::rows().filter(limit).map(|row| row.name);
    if text == "*" || names().any(|name| name.eq_ignore_ascii_case(text)) {
        return Ok(());
    }
    let hint = crate::schema::nearest_of(text, names()).map(|near| format!("did you mean '{near}'?"));
    Err(Problem::new(
        4007,
        format!("'{}' is not the name of a limit", clip(text)),
        "the name of a limit, or *",
    )
    .hint(hint))
}
