//! Stanzas of the 4.x shape: attributes of bindings, and the groups that bindings name.

use alloc::collections::BTreeMap;
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

use super::listeners::attribute;
use super::raw::{Attributes, Entry, Raw, RawValue};
use super::{Place, Translator, bare, quoted};
use crate::diagnostic::Finding;
use crate::schema::Scope;
use crate::syntax::{Item, Word};
use crate::value::clip;

pub(super) struct Opened {
    pub(super) scope: Word,
    pub(super) name: Option<Word>,
    pub(super) attributes: Attributes,
    pub(super) body: Vec<Raw>,
}

impl Translator<'_, '_> {
    /// `groups`: where in `out` the group stanza stands that bindings of this body have been moved to.
    pub(super) fn stanza(
        &mut self,
        opened: Opened,
        place: &Place,
        out: &mut Vec<Item>,
        groups: &mut BTreeMap<String, usize>,
    ) {
        let Opened { scope, name, attributes, mut body } = opened;
        if place.is_global() && self.of_the_old_manager(&scope, &body) {
            return;
        }
        let inner = place.inside(&scope.text);
        let binding = inner.scope == Some(Scope::Binding);
        let mut options = Vec::new();
        if !attributes.is_empty() {
            let shown = format!("`{} NAME <…>`", clip(&scope.text));
            let expected = format!("the attributes as options of `{} \"NAME\" {{ … }}`", clip(&scope.text));
            self.old(scope.span, &shown, expected);
        }
        for (key, value) in attributes {
            match key.text.to_ascii_lowercase().as_str() {
                "duravip" if binding => options.extend(self.enable_duravip(&key, &value)),
                "duravip_preference" if binding => {
                    options.push(attribute("Duravip_Preference", &key, &value));
                }
                _ if binding => {
                    self.unknown(&key, "an attribute of a binding", "duravip, duravip_preference")
                }
                _ => {
                    let message = format!("'{}' has no attributes", clip(&scope.text));
                    let finding = Finding::error(3001, key.span, message);
                    self.findings.push(finding.expected("options between the braces"));
                }
            }
        }
        let group = if binding { self.named_group(&mut body) } else { None };
        let mut rest = Vec::new();
        let before = self.body(body, &inner, &mut rest);
        options.extend(rest);
        out.extend(before);
        let stanza = Item::Stanza { scope, name, body: options };
        let Some(group) = group else {
            out.push(stanza);
            return;
        };
        if let Some(Item::Stanza { body, .. }) = groups.get(&group.text).and_then(|at| out.get_mut(*at)) {
            body.push(stanza);
            return;
        }
        groups.insert(group.text.clone(), out.len());
        let scope = bare("Binding_Group", group.span);
        out.push(Item::Stanza {
            scope,
            name: Some(quoted(group.text, group.span)),
            body: alloc::vec![stanza],
        });
    }

    /// The group that a binding of the old form says it belongs to; the last one counts.
    fn named_group(&mut self, body: &mut Vec<Raw>) -> Option<Word> {
        let mut group: Option<Word> = None;
        let mut kept = Vec::with_capacity(body.len());
        for item in body.drain(..) {
            match item {
                Raw::Assignment(Entry { key, value: RawValue::Atom(word) })
                    if key.text.eq_ignore_ascii_case("Binding_Group") =>
                {
                    let expected =
                        format!("`Binding_Group \"{}\" {{ Binding \"…\" {{ … }} }}`", clip(&word.text));
                    self.old(key.span, "`Binding_Group = …` in a binding", expected);
                    group = Some(word);
                }
                other @ (Raw::Assignment(_)
                | Raw::Include { .. }
                | Raw::Stanza { .. }
                | Raw::Module { .. }
                | Raw::Listeners { .. }) => kept.push(other),
            }
        }
        *body = kept;
        group
    }

    /// Stanzas of the manager's file in the 2.x form, which are gone.
    fn of_the_old_manager(&mut self, scope: &Word, body: &[Raw]) -> bool {
        let named = |name: &str| scope.text.eq_ignore_ascii_case(name);
        if named("Config") || named("RTStats") {
            self.gone(scope.span, format!("`{} {{ … }}` is left out: it has no equivalent", scope.text));
            return true;
        }
        if !named("Networking") {
            return false;
        }
        let group = body.iter().find_map(|item| match item {
            Raw::Assignment(Entry { key, value: RawValue::Atom(word) })
                if key.text.eq_ignore_ascii_case("Cluster_Group") =>
            {
                Some(&word.text)
            }
            Raw::Assignment(_)
            | Raw::Include { .. }
            | Raw::Stanza { .. }
            | Raw::Module { .. }
            | Raw::Listeners { .. } => None,
        });
        let mut message = String::from(
            "`Networking { … }` is left out: its Bus was the daemon of the old bus, and the manager joins the bus of its members \
             (`bus` and `msgc_client`)",
        );
        if let Some(group) = group.filter(|group| *group != "ec_cluster") {
            message.push_str(&format!(
                "; Cluster_Group was {}: the nodes need `cluster_group = \"ec_cluster\"`, which the manager joins",
                clip(group)
            ));
        }
        self.gone(scope.span, message);
        true
    }
}
