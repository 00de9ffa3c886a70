//! Options of the global scope that are spelled differently now, or gone.

use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

use super::raw::{Entry, RawValue};
use super::{Place, Translator, assignment, bare};
use crate::source::Span;
use crate::syntax::{Item, Word, Written};
use crate::value::clip;

/// Options that have had no effect since version 3.0.
const WITHOUT_EFFECT: [&str; 12] = [
    "async_close_concurrency",
    "async_reception_swap_out",
    "async_sending_swap_in",
    "async_spool_in",
    "async_swap_in",
    "async_swap_out",
    "async_unlink_backlog",
    "async_unlink_concurrency",
    "batch_unlink_concurrency",
    "extensions_dir",
    "worker_cpu_concurrency",
    "worker_io_concurrency",
];

/// The subsystems, from the lowest bit of a mask up.
const SUBSYSTEMS: [&str; 15] = [
    "ERROR", "TIME", "FD", "SMTP", "LOG1", "DNS", "DNSDS", "NET", "SIG", "MEM", "DB", "LIC", "SSL", "MOD",
    "START",
];

impl Translator<'_, '_> {
    pub(super) fn global_option(&mut self, entry: Entry, place: &Place, out: &mut Vec<Item>) {
        let lower = entry.key.text.to_ascii_lowercase();
        if WITHOUT_EFFECT.contains(&lower.as_str()) {
            let message = format!("{} is left out: it has had no effect since version 3.0", entry.key.text);
            return self.gone(entry.key.span, message);
        }
        match (lower.as_str(), entry.value) {
            ("control_listener_timeout", RawValue::Atom(value)) => {
                self.old(entry.key.span, "`control_listener_timeout`", "`Control_Listener { Timeout = … }`");
                let body = alloc::vec![assignment(bare("Timeout", entry.key.span), value)];
                out.push(Item::Stanza { scope: bare("Control_Listener", entry.key.span), name: None, body });
            }
            ("debug_flags", RawValue::Atom(value)) if mask(&value.text).is_some() => {
                self.old(entry.key.span, "`Debug_Flags = MASK`", "`Debug_Flags { DEBUG = ( … ) }`");
                self.note(
                    entry.key.span,
                    "the mask was one for all levels; it is that of DEBUG here, and ERROR and CRITICAL keep ( ALL )",
                );
                let written = self.subsystems(&value);
                let body = alloc::vec![Item::Assignment { name: bare("DEBUG", value.span), value: written }];
                out.push(Item::Stanza { scope: bare("Debug_Flags", entry.key.span), name: None, body });
            }
            ("max_resident_active_queue_size", value) => {
                self.old(entry.key.span, "`max_resident_active_queue_size`", "`Max_Resident_Active_Queue`");
                let key = bare("Max_Resident_Active_Queue", entry.key.span);
                self.plain(Entry { key, value }, place, out);
            }
            (_, value) => self.plain(Entry { key: entry.key, value }, place, out),
        }
    }

    /// A level of `Debug_Flags`, which may be a mask.
    pub(super) fn debug_level(&mut self, entry: Entry, out: &mut Vec<Item>) {
        let place = Place::global().inside("Debug_Flags");
        match entry.value {
            RawValue::Atom(value) if mask(&value.text).is_some() => {
                let shown = format!("`{} = MASK`", clip(&entry.key.text));
                self.old(entry.key.span, &shown, "the words of the subsystems");
                let written = self.subsystems(&value);
                out.push(Item::Assignment { name: entry.key, value: written });
            }
            value @ (RawValue::Atom(_) | RawValue::List(..) | RawValue::Section(..) | RawValue::Nothing) => {
                self.plain(Entry { key: entry.key, value }, &place, out)
            }
        }
    }

    /// A mask as the list of its subsystems.
    fn subsystems(&mut self, value: &Word) -> Written {
        let bits = mask(&value.text).unwrap_or(0);
        let known = (1_u64 << SUBSYSTEMS.len()) - 1;
        let named = |text: &str, span: Span| bare(String::from(text), span);
        if bits & known == known {
            return Written::List(alloc::vec![named("ALL", value.span)], value.span);
        }
        if bits & !known != 0 {
            self.note(value.span, "bits of the mask that stand for no subsystem are left out");
        }
        let words = SUBSYSTEMS
            .iter()
            .enumerate()
            .filter(|(bit, _)| bits & (1 << bit) != 0)
            .map(|(_, text)| named(text, value.span));
        Written::List(words.collect(), value.span)
    }
}

/// A bit mask in decimal digits.
fn mask(text: &str) -> Option<u64> {
    if text.bytes().all(|b| b.is_ascii_digit()) { text.parse().ok() } else { None }
}
