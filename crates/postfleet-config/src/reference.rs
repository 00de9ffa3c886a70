//! The reference page, from the schema.

use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;

use crate::schema::{
    self, Body, Chain, Check, Default, InstanceName, Kind, Row, Scope, Service, Status, Unit, known_lists,
};
use crate::value::range_text;

/// The page `docs/configuration/reference.md`: every stanza and every option, from the tables that the checks read.
/// A test holds the file and this text together; `cargo xtask` writes the file.
#[must_use]
pub fn reference_markdown() -> String {
    let mut page = String::from(HEAD);
    stanzas(&mut page);
    let mut section: Option<(&'static [Scope], &'static [Service])> = None;
    for row in schema::rows() {
        if section != Some((row.scopes, row.services)) {
            section = Some((row.scopes, row.services));
            heading(&mut page, row);
        }
        option(&mut page, row);
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
`docs/configuration/language.md` explains the language, the look-up chains named here, and the errors.

Times are plain numbers of seconds and sizes plain numbers of bytes. `ecelerity`, `eccluster` and `ecuser` in a default
stand for `postfleet`, `postfleet-manager` and `postfleet` unless `Compatibility = \"ecelerity\"`. *Stored*: read, checked
and looked up, and without effect yet. *Accepted*: read for the sake of existing files, without effect. *Restart*: a
change takes effect at the next start.
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
            Body::Skipped => remarks.push("not read: CFG-3008"),
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

fn heading(page: &mut String, row: &Row) {
    let mut scopes: Vec<&str> = row.scopes.iter().map(|scope| scope.name()).collect();
    scopes.sort_unstable();
    page.push_str(&format!("\n## In {}\n\n", scopes.join(", ")));
    if !row.services.is_empty() {
        let of: Vec<&str> = row.services.iter().map(|service| service.scope().name()).collect();
        page.push_str(&format!("In {}.\n\n", of.join(", ")));
    }
    page.push_str("| Option | Type | Default | Range | Look-up | Effect |\n|---|---|---|---|---|---|\n");
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
        "| `{}` | {} | {default} | {} | {} | {effect} |\n",
        row.name,
        kind(row),
        range_text(row).unwrap_or_default(),
        chain(row.chain),
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
    let unit = match row.unit {
        Unit::None => "",
        Unit::Seconds => " s",
        Unit::Bytes => " B",
        Unit::Percent => " %",
        Unit::Bits => " bits",
        Unit::Entries => " entries",
    };
    let array = if row.array { "list of " } else { "" };
    format!("{array}{what}{unit}")
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
    }
}

const fn chain(chain: Chain) -> &'static str {
    match chain {
        Chain::D => "D",
        Chain::B => "B",
        Chain::DG => "DG",
        Chain::BGD => "BGD",
        Chain::H => "H",
        Chain::CM => "CM",
        Chain::G => "G",
        Chain::L => "L",
        Chain::P => "P",
        Chain::M => "M",
    }
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
