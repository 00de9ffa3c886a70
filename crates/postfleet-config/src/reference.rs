//! The reference page, from the schema.

use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;

use crate::schema::{
    self, Body, Chain, Check, Combine, Default, InstanceName, Kind, Row, Scope, Status, Unit, known_lists,
};
use crate::value::range_text;

/// The page `docs/configuration/reference.md`: every stanza and every option, from the tables that the checks read.
/// A test holds the file and this text together; `cargo xtask` writes the file.
#[must_use]
pub fn reference_markdown() -> String {
    let mut page = String::from(HEAD);
    stanzas(&mut page);
    for section in schema::sections() {
        page.push_str(&format!("\n## {}\n\n", section.title));
        if !section.intro.is_empty() {
            page.push_str(section.intro);
            page.push_str("\n\n");
        }
        page.push_str(
            "| Option | Type | Unit | Default | Range | Look-up | Since | Effect |\n|---|---|---|---|---|---|---|---|\n",
        );
        for row in section.rows() {
            option(&mut page, row);
        }
    }
    let (known, accepted) = known_lists();
    page.push_str("\n## Names that are not read\n\nSkipped with the warning CFG-3008: ");
    page.push_str(&quoted(known));
    page.push_str(".\n\nTaken without a word, because they tune machinery that does not exist here: ");
    page.push_str(&quoted(accepted));
    page.push_str(".\n");
    page
}

const HEAD: &str = "# Reference of stanzas and options

This page is written from the table in `crates/postfleet-config/src/schema/`; change the table, not the page.
[The configuration language](language.md) explains the language, [codes of findings](codes.md) the messages.

Times are plain numbers of seconds and sizes plain numbers of bytes. An empty text means unset.

| Column | Says |
|---|---|
| Default | the value when nobody set it; `–`: unset, and the effect says what that means. `ecelerity`, `eccluster` and `ecuser` in a default stand for `postfleet`, `postfleet-manager` and `postfleet` unless `Compatibility = \"ecelerity\"` |
| Look-up | the chain of scopes that the value is looked for in; it may be written in each of them. A stanza's name: only there |
| Since | the oldest line whose files may use the option: `2.x` also in the older form, `3.x` the first with braces, `3.4`, `4.3`; `postfleet`: an addition that no vendor's daemon reads |
| *Stored* | read, checked and looked up, and without effect yet; the node says so when it loads the file, once for each name |
| *Accepted* | read for the sake of existing files, without effect; said once as well |
| *Restart* | a change takes effect at the next start |

| Chain | Order, most specific first |
|---|---|
| D | `Domain` in the binding, `Domain` in its group, `Binding`, `Binding_Group`, `Domain`, global |
| B | `Binding`, `Binding_Group`, global |
| DG | `Domain`, global |
| BGD | `Domain` in the group, `Binding_Group`, `Domain`, global |
| H | `Host` in the binding or group, `Host` |
| CM | `Host` in the binding, `Host`, `Domain` in the binding, `Binding` (outside a group), `Domain`, global |
| G | global |
| L | `Peer` in the `Listen`, `Peer` in the listener, `Listen`, the listener; `+G`: then global |

`every`: each value on the way holds, as a limit of the stanza it stands in. `united`: dictionaries of all stanzas on the way count,
the narrower one winning. `total`: the global value bounds the node or cluster, that of a binding (else of its group) the
binding beside it. `exchanger`: the value of a `Host` bounds the exchanger, the next one found the domain beside it.
";

fn quoted(names: &[&str]) -> String {
    names.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ")
}

fn stanzas(page: &mut String) {
    page.push_str("\n## Stanzas\n\n| Stanza | Stands in | Name | |\n|---|---|---|---|\n");
    for row in schema::scope_rows() {
        let mut inside: Vec<&str> = row.inside.iter().map(|scope| scope.name()).collect();
        inside.sort_unstable();
        let name = match row.instance {
            InstanceName::Anonymous => "none",
            InstanceName::Exact => "a text",
            InstanceName::Binding => "a text without blank; a binding without `:` and leading `#`",
            InstanceName::Domain => "a name, or `/regex/`",
            InstanceName::Listen => "an address with port, or a path",
            InstanceName::Cidr => "an address or a block",
            InstanceName::Object => "the object",
        };
        let mut remarks: Vec<&str> = Vec::new();
        match row.role {
            Some(crate::files::Role::Node) => remarks.push("nodes only"),
            Some(crate::files::Role::Manager) => remarks.push("manager only"),
            None => {}
        }
        match row.body {
            Body::Read => {}
            Body::Accepted => remarks.push("accepted, without effect"),
        }
        page.push_str(&format!(
            "| `{}` | {} | {name} | {} |\n",
            row.name,
            inside.join(", "),
            remarks.join("; ")
        ));
    }
}

fn option(page: &mut String, row: &Row) {
    let default = match row.default {
        Default::Unset => "–".to_string(),
        Default::Is(text) => format!("`{text}`"),
        Default::Either(own, vendor) => format!("`{own}`; compatible: `{vendor}`"),
        Default::List([]) => "`()`".to_string(),
        Default::List(texts) => format!("`( {} )`", texts.join(" ")),
        Default::Dict(pairs) => {
            let keys: Vec<String> = pairs.iter().map(|(key, text)| format!("{key} = {text}")).collect();
            format!("`[ {} ]`", keys.join(" "))
        }
        Default::From(text) => text.to_string(),
    };
    let mut effect = row.effect.replace('|', "\\|");
    match row.status {
        Status::InForce => {}
        Status::Stored => effect.push_str(" *Stored.*"),
        Status::Accepted => effect.push_str(" *Accepted.*"),
    }
    if !row.dynamic {
        effect.push_str(" *Restart.*");
    }
    page.push_str(&format!(
        "| `{}` | {} | {} | {default} | {} | {} | {} | {effect} |\n",
        row.name,
        kind(row),
        unit(row.unit),
        range_text(row).unwrap_or_default(),
        lookup(row),
        row.since().word(),
    ));
}

fn kind(row: &Row) -> String {
    let words = |words: &[&str]| quoted(words);
    let what = match row.kind {
        Kind::Text(Check::Any) => "string".to_string(),
        Kind::Text(check) => format!("string, {}", shape(check)),
        Kind::Bool => "bool".to_string(),
        Kind::Int => "int".to_string(),
        Kind::Uint64 => "uint64".to_string(),
        Kind::Size => "size".to_string(),
        Kind::Float => "float".to_string(),
        Kind::Perms => "permissions".to_string(),
        Kind::Words(list) => words(list),
        Kind::WordsOrBool(list) => format!("bool, {}", words(list)),
        Kind::WordsOrInt(list) => format!("int, {}", words(list)),
        Kind::Address => "address".to_string(),
        Kind::AddressOrHost => "address, host name or `*`".to_string(),
        Kind::Cidr => "block".to_string(),
        Kind::Throttle => "throttle".to_string(),
        Kind::Regex => "regex".to_string(),
        Kind::Dict(_) => "dictionary".to_string(),
    };
    let array = if row.array { "list of " } else { "" };
    format!("{array}{what}")
}

const fn shape(check: Check) -> &'static str {
    match check {
        Check::Any => "",
        Check::Path => "absolute path",
        Check::HostName => "DNS name",
        Check::DomainPattern => "domain, `*` only first",
        Check::GroupName => "1 to 31 of `A-Z a-z 0-9 _ -`",
        Check::NodeName => "1 to 63 of `a-z 0-9 -`",
        Check::Label => "1 to 32 printable, no blank",
        Check::Banner => "begins with `220`",
        Check::Extension => "SMTP extension",
        Check::BusAddress => "port, `host:port` or path",
        Check::SocketAddress => "address with port",
        Check::DebugWord => "subsystem or mask",
        Check::Monitor => "`W,N`",
        Check::Destination => "path, `file://PATH` or `cluster://PATH=>SUBSCRIBER`",
        Check::LogTemplate => "path with conversions",
        Check::Macros => "with macros `%{…}`",
        Check::Action => "`CODE TEXT`, `tarpit SECONDS` or `discard`",
        Check::Gateway => "host, IPv4 or `[IPv6]`, each with or without `:port`",
        Check::Route => "as `Gateway`, `__mx__`, or `smtp://HOST?pref=P&ttl=T&port=O&type=T`",
        Check::Capabilities => "`cap_NAME+ep …`",
        Check::LimitName => "name of a limit, or `*`",
    }
}

const fn unit(unit: Unit) -> &'static str {
    match unit {
        Unit::None => "",
        Unit::Seconds => "s",
        Unit::Bytes => "B",
        Unit::Percent => "%",
        Unit::Bits => "bits",
        Unit::Entries => "entries",
    }
}

/// The chain, with what is not plain about it.
fn lookup(row: &Row) -> String {
    let names = |scopes: &[Scope]| {
        let names: Vec<&str> = scopes.iter().map(|scope| scope.name()).collect();
        quoted(&names)
    };
    let letter = match row.chain {
        Chain::D if row.scopes.contains(&Scope::Host) => "H, D",
        Chain::D => "D",
        Chain::B => "B",
        Chain::DG => "DG",
        Chain::BGD => "BGD",
        Chain::H => "H",
        Chain::CM => "CM",
        Chain::G => "G",
        Chain::L if row.ends_at_global() => "L+G",
        Chain::L => "L",
        Chain::P => "P",
        Chain::M => return names(row.scopes),
    };
    let services: Vec<&str> = row.services.iter().map(|service| service.scope().name()).collect();
    let listeners = if matches!(row.services.len(), 0 | 8 | 9) || row.chain != Chain::L {
        String::new()
    } else {
        format!(" in {}", quoted(&services))
    };
    let combine = match row.combine {
        Combine::First => "",
        Combine::Every => ", every",
        Combine::Unite => ", united",
        Combine::Total => ", total",
        Combine::Exchanger => ", exchanger",
    };
    format!("{letter}{listeners}{combine}")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// With POSTFLEET_WRITE_REFERENCE set the page is written instead.
    #[test]
    fn the_page_is_what_the_table_says() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/configuration/reference.md");
        let page = reference_markdown();
        #[expect(clippy::disallowed_methods, reason = "a test may look at its environment")]
        let write = std::env::var("POSTFLEET_WRITE_REFERENCE").is_ok();
        if write {
            std::fs::write(path, &page).unwrap();
        }
        let found = std::fs::read_to_string(path).unwrap_or_default();
        assert!(found == page, "{path} differs from the table; POSTFLEET_WRITE_REFERENCE=1 writes it");
    }

    #[test]
    fn every_option_is_on_the_page() {
        let page = reference_markdown();
        for row in schema::rows() {
            assert!(page.contains(&format!("| `{}` |", row.name)), "{}", row.name);
        }
    }
}
