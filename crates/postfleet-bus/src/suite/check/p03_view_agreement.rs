use super::{History, Violation};
use alloc::collections::BTreeMap;
use alloc::format;

/// P3: one view id, one list of members with the same attributes in the same order.
///
/// # Errors
/// The first violation.
pub fn view_agreement(history: &History<'_>) -> Result<(), Violation> {
    let mut known = BTreeMap::new();
    for connection in &history.connections {
        for (id, members) in connection.views() {
            let (first, by) = known.entry(id).or_insert((members, connection.name));
            if *first != members {
                return Err(format!(
                    "P3: view {id} differs\n at {by}: {first:?}\n at {}: {members:?}",
                    connection.name
                ));
            }
            let in_order = members.windows(2).all(|pair| {
                let [a, b] = pair else { return true };
                (a.age, &a.info.private_name) < (b.age, &b.info.private_name)
            });
            if !in_order {
                return Err(format!("P3: view {id} is not in membership order: {members:?}"));
            }
        }
    }
    Ok(())
}
