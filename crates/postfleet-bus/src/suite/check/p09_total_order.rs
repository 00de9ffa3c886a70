use super::{Connection, History, Violation};
use crate::suite::What;
use alloc::collections::BTreeMap;
use alloc::format;
use alloc::vec::Vec;
use postfleet_types::{GroupName, PrivateName, ViewId};

/// Something that several connections may see: a message, a view, a change of a group in a view.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Item<'a> {
    Message(&'a PrivateName, u64),
    View(ViewId),
    Group(ViewId, &'a GroupName, &'a [PrivateName], usize),
}

/// P9: any two connections see what they have in common in one order.
///
/// # Errors
/// The first violation.
pub fn total_order(history: &History<'_>) -> Result<(), Violation> {
    let sequences: Vec<_> = history.connections.iter().map(items).collect();
    for (index, a) in sequences.iter().enumerate() {
        let places: BTreeMap<&Item<'_>, usize> = a.iter().enumerate().map(|(at, item)| (item, at)).collect();
        for (other, b) in sequences.iter().enumerate().skip(index + 1) {
            let mut last: Option<(usize, &Item<'_>)> = None;
            for item in b {
                let Some(place) = places.get(item) else { continue };
                if let Some((before, earlier)) = last
                    && before > *place
                {
                    let name = |at: usize| history.connections.get(at).map(|c| c.name);
                    return Err(format!(
                        "P9: {:?} has {earlier:?} before {item:?}, {:?} the other way round",
                        name(other),
                        name(index)
                    ));
                }
                last = Some((*place, item));
            }
        }
    }
    Ok(())
}

fn items<'a>(connection: &Connection<'a>) -> Vec<Item<'a>> {
    let mut view = ViewId::default();
    let mut repeats: BTreeMap<(&GroupName, &[PrivateName]), usize> = BTreeMap::new();
    let mut items = Vec::new();
    for record in connection.records {
        match &record.what {
            What::View { id, .. } => {
                view = *id;
                repeats.clear();
                items.push(Item::View(*id));
            }
            What::Message { from, number, .. } => items.push(Item::Message(from, *number)),
            What::GroupView {
                group,
                members,
                cause: crate::GroupCause::Joined | crate::GroupCause::Left,
            } => {
                let count = repeats.entry((group, members)).or_insert(0);
                *count += 1;
                items.push(Item::Group(view, group, members, *count));
            }
            What::GroupView { cause: crate::GroupCause::View, .. }
            | What::Connecting { .. }
            | What::Sent { .. }
            | What::NotSent { .. }
            | What::SendReady
            | What::Lost { .. }
            | What::Notice { .. }
            | What::Figures { .. } => {}
        }
    }
    items
}
