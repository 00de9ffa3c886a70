use super::{History, Violation, addressed_to};
use alloc::collections::{BTreeMap, BTreeSet};
use alloc::format;
use alloc::vec::Vec;

/// P12: connections that go together from one view to the next deliver the same messages in the first.
///
/// Compared are messages to groups that both were in from the beginning of the view to its end.
///
/// # Errors
/// The first violation.
pub fn virtual_synchrony(history: &History<'_>) -> Result<(), Violation> {
    let mut stays: BTreeMap<_, Vec<_>> = BTreeMap::new();
    for connection in &history.connections {
        for stay in connection.stays() {
            if let Some(next) = stay.next {
                stays.entry((stay.view, next)).or_default().push((connection.name, stay));
            }
        }
    }
    for ((view, next), together) in &stays {
        let Some(((first_name, first), others)) = together.split_first() else { continue };
        for (name, stay) in others {
            let groups: BTreeSet<_> = first.groups.intersection(&stay.groups).copied().collect();
            let common = |messages: &[super::Key<'_>]| -> Vec<_> {
                let to_both = |key: &super::Key<'_>| {
                    history.sent.get(key).is_some_and(|sent| addressed_to(sent, &groups))
                };
                messages.iter().filter(|key| to_both(key)).map(|(from, n)| ((*from).clone(), *n)).collect()
            };
            let (a, b) = (common(&first.messages), common(&stay.messages));
            if a != b {
                let at = a.iter().zip(&b).take_while(|(x, y)| x == y).count();
                return Err(format!(
                    "P12: from {view} to {next} {first_name} delivered {} messages and {name} {}; they differ at \
                     {at}: {:?} and {:?}",
                    a.len(),
                    b.len(),
                    a.get(at),
                    b.get(at)
                ));
            }
        }
    }
    Ok(())
}
