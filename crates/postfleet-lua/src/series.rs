//! Counts: events by address, named series, open connections.

use mlua::Value;
use postfleet_policy::{
    Event, Events, Item, LuaHost, NamedSeries, Scope, SeriesKey, SeriesKind, Spread, Windows,
};

use crate::arguments::{Arguments, Options, Outcome, address_of, text_of};

/// Both ends of the windows, in either order.
fn windows(options: Option<&Options<'_>>) -> Outcome<Windows> {
    let end = |name: &str| -> Outcome<u32> {
        let number = options.map_or(Ok(None), |options| options.integer(name))?.unwrap_or(0);
        u32::try_from(number).map_err(|_| format!("window {number} is out of range; 0 is the running one"))
    };
    let (a, b) = (end("startv")?, end("endv")?);
    Ok(Windows { start: a.min(b), end: a.max(b) })
}

pub(crate) fn events(host: &mut dyn LuaHost, given: &Arguments<'_>, event: Event) -> Outcome<u64> {
    let monitor = given.text(0)?;
    let options = given.options(1, &["startv", "endv", "cidr", "cluster"])?;
    let cidr = match &options {
        Some(options) => options.get("cidr"),
        None => given.get(1).cloned(),
    };
    let cluster = options.as_ref().map_or(Ok(false), |options| options.boolean("cluster"))?;
    let windows = windows(options.as_ref())?;
    let block = given.block(host, cidr.as_ref())?;
    host.events_of(Events { event, cluster }, &monitor, windows, block).map_err(|fault| fault.0)
}

pub(crate) fn session_count(
    host: &mut dyn LuaHost,
    given: &Arguments<'_>,
    of_connection: bool,
) -> Outcome<u64> {
    let service = given.optional_text(1)?;
    if !of_connection && service.is_none() {
        return Err(given.wrong(1, "string"));
    }
    let block = given.block(host, given.get(0))?;
    let scope = match service.as_deref() {
        Some(service) => Scope::Service(service),
        None if given.get(0).is_none() => Scope::ThisListener,
        None => Scope::Service("SMTP"),
    };
    host.open_from(scope, block).map_err(|fault| fault.0)
}

pub(crate) fn define(host: &mut dyn LuaHost, given: &Arguments<'_>) -> Outcome<()> {
    let (name, kind) = (given.text(0)?, given.text(1)?);
    let kinds = [SeriesKind::Cidr, SeriesKind::CidrIpv6, SeriesKind::Text];
    let kind = kinds.into_iter().find(|known| known.name() == kind);
    let kind = kind.ok_or_else(|| given.bad(1, "expected cidr, cidr_ipv6 or string"))?;
    let (interval_s, windows) = (given.count(2, 1)?, given.count(3, 1)?);
    let options = given.options(4, &["replicate", "serialize", "persist"])?;
    if options.is_none() && given.get(4).is_some() {
        return Err(given.wrong(4, "table"));
    }
    let (mut spread, mut serialize, mut persist) = (Spread::None, false, false);
    if let Some(options) = options {
        spread = match options.text("replicate")?.as_deref() {
            None | Some("none") => Spread::None,
            Some("cluster") => Spread::Cluster,
            Some("manager") => Spread::Managers,
            Some(other) => {
                return Err(
                    given.bad(4, &format!("replicate = '{other}'; expected none, cluster or manager"))
                );
            }
        };
        serialize = options.boolean("serialize")?;
        persist = options.boolean("persist")?;
    }
    let series = NamedSeries { name: &name, kind, interval_s, windows, spread, serialize, persist };
    host.define_series(series).map_err(|fault| fault.0)
}

/// Adds or removes one element.
fn with_key<T>(
    host: &mut dyn LuaHost,
    given: &Arguments<'_>,
    key: Option<&Value>,
    act: impl FnOnce(&mut dyn LuaHost, &str, SeriesKey<'_>) -> Result<T, postfleet_policy::Fault>,
) -> Outcome<T> {
    let name = given.text(0)?;
    let kind = host.series_kind(&name).map_err(|fault| fault.0)?;
    let text = key.and_then(text_of);
    let acted = match (kind, key, &text) {
        (SeriesKind::Text, _, Some(text)) => act(host, &name, SeriesKey::Text(text)),
        (SeriesKind::Text, None, None) => {
            return Err(format!("series '{name}' is counted by text: name a key"));
        }
        (SeriesKind::Text, Some(key), None) => {
            return Err(format!(
                "a {} is no key of series '{name}', which is counted by text",
                key.type_name()
            ));
        }
        (_, None, _) => {
            given.client(host)?;
            act(host, &name, SeriesKey::Client)
        }
        (_, Some(key), _) if given.is_accept(key) => {
            given.client(host)?;
            act(host, &name, SeriesKey::Client)
        }
        (_, Some(key), text) => {
            let address = text.as_deref().and_then(address_of);
            let shown = text.clone().unwrap_or_else(|| format!("a {}", key.type_name()));
            let address = address
                .ok_or_else(|| format!("'{shown}' is no address; series '{name}' is counted by address"))?;
            act(host, &name, SeriesKey::Address(address))
        }
    };
    acted.map_err(|fault| fault.0)
}

pub(crate) fn add(host: &mut dyn LuaHost, given: &Arguments<'_>) -> Outcome<()> {
    let options = given.options(1, &["count", "key"])?;
    let (amount, key) = match &options {
        Some(options) => (options.integer("count")?.unwrap_or(1), options.get("key")),
        None => (1, given.get(1).cloned()),
    };
    with_key(host, given, key.as_ref(), |host, name, key| host.named_series_add(name, key, amount))
}

pub(crate) fn remove(host: &mut dyn LuaHost, given: &Arguments<'_>) -> Outcome<()> {
    with_key(host, given, given.get(1), |host, name, key| host.named_series_remove(name, key))
}

pub(crate) fn count(host: &mut dyn LuaHost, given: &Arguments<'_>) -> Outcome<u64> {
    let name = given.text(0)?;
    let options = given.options(1, &["startv", "endv", "key"])?;
    let key = match &options {
        Some(options) => options.get("key"),
        None => given.get(1).cloned(),
    };
    let windows = windows(options.as_ref())?;
    let kind = host.series_kind(&name).map_err(|fault| fault.0)?;
    let sum = if kind == SeriesKind::Text {
        let text = key.as_ref().and_then(text_of);
        let text = text.ok_or_else(|| format!("series '{name}' is counted by text: name a key"))?;
        host.named_series_sum(&name, Item::Text(&text), windows)
    } else {
        let block = given.block(host, key.as_ref())?;
        host.named_series_sum(&name, Item::Block(block), windows)
    };
    sum.map_err(|fault| fault.0)
}
