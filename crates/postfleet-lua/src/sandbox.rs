//! One interpreter: what scripts see of it, and who holds the reins.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use mlua::{
    Function, HookTriggers, IntoLuaMulti, Lua, LuaOptions, LuaString, MultiValue, StdLib, Table, Thread,
    Value, VmState,
};

use crate::functions::{CONSTANTS, FUNCTIONS, PACKAGES};
use crate::limits::{Limits, Meter};
use crate::pattern::{self, Capture};

/// Coroutines that are kept; a busy interpreter has that many calls waiting at a time, or more.
const IDLE_MAX: usize = 64;

/// Instructions between two looks at the meter.
const LOOK: u32 = 250;

pub(crate) struct Sandbox {
    pub(crate) lua: Lua,
    pub(crate) meter: Arc<Meter>,
    /// Marks a yield to the host.
    pub(crate) token: Table,
    pub(crate) accept: Table,
    pub(crate) vctx: Table,
    pub(crate) msg: Table,
    globals: Table,
    new_require: Function,
    /// The function and the name of a timer by its number.
    pub(crate) timer_of: Function,
    memory_max: usize,
    /// Bytes that were left when rubbish was last collected by hand.
    kept: AtomicUsize,
    /// Coroutines that have returned, to be used again.
    idle: Mutex<Vec<Thread>>,
    /// Held while the interpreter runs: the meter and the globals of a run are set for one run at a time.
    pub(crate) turn: Mutex<()>,
}

/// Where the globals of a script live: a table of its own over those that all see, and during a call one more, which the
/// call alone sees.
pub(crate) struct Globals {
    base: Table,
    pub(crate) proxy: Table,
    meta: Table,
    /// Shows what is in `base` through the table of a call.
    over_base: Table,
    /// The table that is in place, by its address; `meta` keeps it alive.
    entered: AtomicUsize,
}

impl Globals {
    /// Whether a function belongs to this script.
    pub(crate) fn holds(&self, function: &Function) -> bool {
        function.environment().is_some_and(|environment| environment == self.proxy)
    }

    /// What a script sets as it is loaded.
    pub(crate) fn enter_base(&self) -> mlua::Result<()> {
        self.enter(&self.base)
    }

    /// What `init` sets stays, as what is set outside of functions.
    pub(crate) fn of_script(&self) -> Table {
        self.base.clone()
    }

    /// What a call sets is its own. The caller holds the turn.
    pub(crate) fn enter(&self, own: &Table) -> mlua::Result<()> {
        let address = own.to_pointer().addr();
        if self.entered.load(Ordering::Relaxed) == address {
            return Ok(());
        }
        self.entered.store(0, Ordering::Relaxed);
        self.meta.raw_set("__index", own)?;
        self.meta.raw_set("__newindex", own)?;
        self.entered.store(address, Ordering::Relaxed);
        Ok(())
    }

    pub(crate) fn of_call(&self, lua: &Lua) -> mlua::Result<Table> {
        let table = lua.create_table()?;
        table.set_metatable(Some(self.over_base.clone()))?;
        Ok(table)
    }
}

/// Makes an empty table show what is in another one.
fn showing(lua: &Lua, base: &Table) -> mlua::Result<Table> {
    let meta = lua.create_table()?;
    meta.raw_set("__index", base)?;
    meta.raw_set("__metatable", false)?;
    Ok(meta)
}

impl Sandbox {
    pub(crate) fn new(limits: &Limits) -> mlua::Result<Self> {
        // No `jit`: without its library the compiler stays off, and only what is interpreted can be interrupted.
        let libraries = StdLib::TABLE | StdLib::STRING | StdLib::MATH | StdLib::BIT;
        let lua = Lua::new_with(libraries, LuaOptions::default())?;
        lua.set_memory_limit(limits.memory_max)?;
        let meter = Arc::new(Meter::new());
        let hooked = Arc::clone(&meter);
        lua.set_global_hook(HookTriggers::new().every_nth_instruction(LOOK), move |_, debug| {
            if hooked.take(u64::from(LOOK)) {
                return Ok(VmState::Continue);
            }
            let source = debug.source().short_src.map(|name| name.into_owned()).unwrap_or_default();
            let line = debug.current_line().unwrap_or_default();
            let problem = format!("{source}:{line}: the script took too many instructions");
            hooked.note_place(&problem);
            Err(mlua::Error::RuntimeError(problem))
        })?;
        let token = lua.create_table()?;
        let operations = lua.create_table()?;
        for (number, function) in FUNCTIONS.iter().enumerate() {
            operations.raw_set(function.name, number)?;
        }
        let constants = lua.create_table()?;
        for (name, value) in CONSTANTS {
            constants.raw_set(*name, *value)?;
        }
        let packages = lua.create_table()?;
        for name in PACKAGES.iter().copied().chain(FUNCTIONS.iter().filter_map(crate::Function::package)) {
            packages.raw_set(name, true)?;
        }
        let asked = Arc::clone(&meter);
        let spent = lua.create_function(move |_, ()| Ok(asked.is_spent()))?;
        let charged = Arc::clone(&meter);
        let longest = limits.memory_max;
        let length_of = lua.create_function(move |_, length: f64| {
            // A kilobyte that is written costs about as much as an instruction. What is too long is not written.
            #[allow(clippy::cast_precision_loss, reason = "nobody has so much memory")]
            let length = length.min(longest as f64);
            #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "saturates")]
            charged.take((length / 1024.0) as u64);
            Ok(())
        })?;
        let searching = Arc::clone(&meter);
        let find = lua.create_function(
            move |lua, (text, pattern, init, anchored, plain): (LuaString, LuaString, f64, bool, bool)| {
                find(lua, &searching, (&text, &pattern), init, anchored, plain)
            },
        )?;
        let expand = lua.create_function(expand)?;
        let prelude = lua.load(include_str!("prelude.lua")).set_name("=postfleet").into_function()?;
        let (globals, accept, vctx, msg, new_require, timer_of) =
            prelude.call((&token, spent, find, expand, length_of, operations, constants, packages))?;
        Ok(Self {
            lua,
            meter,
            token,
            accept,
            vctx,
            msg,
            globals,
            new_require,
            timer_of,
            memory_max: limits.memory_max,
            kept: AtomicUsize::new(0),
            idle: Mutex::default(),
            turn: Mutex::new(()),
        })
    }

    /// Globals for one more script.
    pub(crate) fn globals(&self) -> mlua::Result<Globals> {
        let base = self.lua.create_table()?;
        base.set_metatable(Some(showing(&self.lua, &self.globals)?))?;
        let require: Function = self.new_require.call(())?;
        base.raw_set("require", require)?;
        let proxy = self.lua.create_table()?;
        base.raw_set("_G", &proxy)?;
        let meta = self.lua.create_table()?;
        meta.raw_set("__metatable", false)?;
        meta.raw_set("__index", &base)?;
        meta.raw_set("__newindex", &base)?;
        proxy.set_metatable(Some(meta.clone()))?;
        let over_base = showing(&self.lua, &base)?;
        Ok(Globals { base, proxy, meta, over_base, entered: AtomicUsize::new(0) })
    }
}

impl Sandbox {
    /// A coroutine that has not begun.
    pub(crate) fn coroutine(&self, function: Function) -> mlua::Result<Thread> {
        let idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner).pop();
        match idle {
            Some(thread) if thread.reset(function.clone()).is_ok() => Ok(thread),
            Some(_) | None => self.lua.create_thread(function),
        }
    }

    /// Collects rubbish when half of the room that there was after the last time is used: at its bound the interpreter does
    /// not do so by itself, and a script that reached it would leave the next ones without memory. The caller holds the turn.
    pub(crate) fn tidy(&self) {
        let kept = self.kept.load(Ordering::Relaxed);
        let room = self.memory_max.saturating_sub(kept);
        if self.lua.used_memory() > kept.saturating_add(room / 2) {
            // What is still in use then is left to the bound.
            drop(self.lua.gc_collect());
            self.kept.store(self.lua.used_memory(), Ordering::Relaxed);
        }
    }

    /// Keeps a coroutine that has returned.
    pub(crate) fn keep(&self, thread: Thread) {
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        if idle.len() < IDLE_MAX {
            idle.push(thread);
        }
    }
}

/// What a turn of a coroutine came to.
pub(crate) enum Turn {
    /// It asks for a function of the host.
    Asks(usize, Vec<Value>),
    /// It returned.
    Returned(Vec<Value>),
    Failed(String),
}

impl Sandbox {
    /// Lets a coroutine go on until it asks, returns or fails. The caller holds `turn` and has started the meter.
    pub(crate) fn go_on(&self, thread: &Thread, arguments: impl IntoLuaMulti) -> Turn {
        let values = match thread.resume::<MultiValue>(arguments) {
            Ok(values) => values.into_vec(),
            Err(error) => return Turn::Failed(crate::error::text(&error)),
        };
        if !thread.is_resumable() {
            return Turn::Returned(values);
        }
        let mut values = values.into_iter();
        match (values.next(), values.next()) {
            (Some(Value::Table(token)), Some(number)) if token == self.token => {
                let number = number.as_usize().unwrap_or(usize::MAX);
                Turn::Asks(number, values.collect())
            }
            _ => Turn::Failed("coroutine.yield is for coroutines that the script made itself".to_owned()),
        }
    }
}

/// `true` and where, then the captures; `true` alone if there is no match; `false` and what is wrong.
fn find(
    lua: &Lua,
    meter: &Meter,
    (text, pattern): (&LuaString, &LuaString),
    init: f64,
    anchored: bool,
    plain: bool,
) -> mlua::Result<MultiValue> {
    let (text, pattern) = (text.as_bytes(), pattern.as_bytes());
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "saturates")]
    let from = (init.max(1.0) as usize).saturating_sub(1);
    let place = |at: usize| i64::try_from(at).unwrap_or(i64::MAX);
    if plain {
        let rest = text.get(from..);
        let cost = rest.map_or(0, <[u8]>::len).saturating_mul(pattern.len().max(1)) / 64;
        meter.take(u64::try_from(cost).unwrap_or(u64::MAX));
        let at = rest.and_then(|rest| {
            if pattern.is_empty() {
                Some(0)
            } else {
                rest.windows(pattern.len()).position(|part| part == &*pattern)
            }
        });
        return match at {
            None => true.into_lua_multi(lua),
            Some(at) => {
                let first = from.saturating_add(at);
                (true, place(first).saturating_add(1), place(first.saturating_add(pattern.len())))
                    .into_lua_multi(lua)
            }
        };
    }
    match pattern::find(meter, &text, &pattern, from, anchored) {
        Err(problem) => (false, problem).into_lua_multi(lua),
        Ok(None) => true.into_lua_multi(lua),
        Ok(Some(found)) => {
            let mut values = vec![
                Value::Boolean(true),
                Value::Integer(place(found.from).saturating_add(1)),
                Value::Integer(place(found.to)),
            ];
            for capture in found.captures {
                values.push(match capture {
                    Capture::Position(at) => Value::Integer(place(at)),
                    Capture::Text(from, to) => {
                        Value::String(lua.create_string(text.get(from..to).unwrap_or_default())?)
                    }
                });
            }
            Ok(MultiValue::from_vec(values))
        }
    }
}

/// The replacement of `gsub` for one match: `true` and the text, or `false` and what is wrong.
fn expand(
    lua: &Lua,
    (replacement, whole, captures): (LuaString, LuaString, mlua::Variadic<Value>),
) -> mlua::Result<MultiValue> {
    let replacement = replacement.as_bytes();
    let mut made: Vec<u8> = Vec::with_capacity(replacement.len());
    let mut bytes = replacement.iter().copied();
    while let Some(byte) = bytes.next() {
        if byte != b'%' {
            made.push(byte);
            continue;
        }
        let Some(mark) = bytes.next() else {
            return (false, "the replacement ends with '%'").into_lua_multi(lua);
        };
        match mark {
            b'0' => made.extend_from_slice(&whole.as_bytes()),
            b'1'..=b'9' => {
                let at = usize::from(mark.saturating_sub(b'1'));
                match captures.get(at) {
                    Some(Value::String(text)) => made.extend_from_slice(&text.as_bytes()),
                    Some(other) => made.extend_from_slice(other.to_string()?.as_bytes()),
                    None if at == 0 => made.extend_from_slice(&whole.as_bytes()),
                    None => {
                        let problem =
                            format!("invalid capture index %{} in the replacement", char::from(mark));
                        return (false, problem).into_lua_multi(lua);
                    }
                }
            }
            other => made.push(other),
        }
    }
    (true, lua.create_string(made)?).into_lua_multi(lua)
}
