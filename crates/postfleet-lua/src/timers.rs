//! Timers of scripts, as far as an interpreter knows them.
//!
//! A timer is an object of the interpreter that keeps its function; the host keeps the time. Timers are numbered in the
//! order in which they are made, so that they have the same numbers in all interpreters of a program: one that is stopped
//! in any of them is stopped. They run in the first, and what nothing refers to there any more is gone.

use mlua::{Function, Lua, Value};
use postfleet_policy::{Alarm, TimerChange};

use crate::arguments::{Arguments, Outcome};
use crate::functions::{Begin, Op};

/// What is expected where only a function that the script wrote can be called.
pub(crate) const OF_A_SCRIPT: &str = "function of the script expected; write function() … end around it";

/// Timers of a program.
const TIMERS_MAX: u32 = 1000;

/// The shortest time between two calls.
const EVERY_SECONDS_MIN: f64 = 0.1;

/// Whether a function is one that a script wrote: it runs with the variables of its script, and others have none.
pub(crate) fn is_of_a_script(lua: &Lua, function: &Function) -> bool {
    function.environment().is_some_and(|environment| environment != lua.globals())
}

/// What an operation on a timer asks of the host; none for another operation.
pub(crate) fn change(lua: &Lua, given: &Arguments<'_>) -> Option<Outcome<(u32, TimerChange)>> {
    Some(match given.function.op {
        Op::Timer(begin) => made(lua, given, begin),
        Op::TimerStart => number(given, 0).map(|number| (number, TimerChange::Start)),
        Op::TimerStop => number(given, 0).map(|number| (number, TimerChange::Stop)),
        _ => return None,
    })
}

fn made(lua: &Lua, given: &Arguments<'_>, begin: Begin) -> Outcome<(u32, TimerChange)> {
    // The interpreter gives the function behind the number.
    if !matches!(given.get(2), Some(Value::Function(function)) if is_of_a_script(lua, function)) {
        return Err(format!("bad argument #2 to '{}' ({OF_A_SCRIPT})", given.function.name));
    }
    let number = number(given, 1)?;
    let seconds = given.number(0)?;
    let least = if begin == Begin::Every { EVERY_SECONDS_MIN } else { 0.0 };
    if !seconds.is_finite() || seconds < least {
        return Err(given.bad(0, &format!("expected seconds from {least}")));
    }
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "saturates; not negative")]
    let ms = (seconds * 1000.0) as u64;
    let alarm = match begin {
        Begin::After => Alarm::After(ms),
        Begin::At => Alarm::At(ms),
        Begin::Every => Alarm::Every(ms),
    };
    Ok((number, TimerChange::Make(alarm)))
}

/// The interpreter gives numbers itself.
fn number(given: &Arguments<'_>, at: usize) -> Outcome<u32> {
    let number = given.count(at, 0)?;
    if number > TIMERS_MAX { Err(format!("more than {TIMERS_MAX} timers")) } else { Ok(number) }
}

/// The function of a timer, if something still refers to the timer.
pub(crate) fn function(lookup: &Function, number: u32) -> Option<(Function, String)> {
    match lookup.call::<(Value, Value)>(number).ok()? {
        (Value::Function(function), name) => {
            let name = crate::arguments::text_of(&name);
            Some((function, name.map_or_else(|| format!("timer {number}"), |name| format!("timer {name}"))))
        }
        _ => None,
    }
}
