//! The bindings and groups that are configured, and who is chosen among the bindings of a group.

use alloc::collections::BTreeMap;
use alloc::vec::Vec;

use postfleet_spool::{BindingGroupName, BindingName, QueueKey};
use postfleet_types::Random;

/// A binding with the group it is in. Only [`Bindings`] makes one, so the two belong together.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Assigned {
    group: BindingGroupName,
    binding: BindingName,
}

impl Assigned {
    /// The binding.
    #[must_use]
    pub const fn binding(&self) -> &BindingName {
        &self.binding
    }

    /// Its group.
    #[must_use]
    pub const fn group(&self) -> &BindingGroupName {
        &self.group
    }

    /// The queue of the binding for a routing domain.
    #[must_use]
    pub fn queue(&self, domain: &str) -> QueueKey {
        QueueKey { binding_group: self.group.clone(), binding: self.binding.clone(), domain: domain.into() }
    }
}

/// A binding as the configuration has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Configured {
    /// The group it is in.
    pub group: BindingGroupName,
    /// Its name.
    pub binding: BindingName,
    /// `Suspend_Delivery` holds for it.
    pub suspended: bool,
}

/// All bindings, in the order of the configuration after `default`, which is always there.
#[derive(Clone, Debug, Default)]
pub struct Bindings {
    all: Vec<Configured>,
    by_name: BTreeMap<BindingName, usize>,
    by_group: BTreeMap<BindingGroupName, Vec<usize>>,
}

impl Bindings {
    /// These, each name once; and groups, which may be without bindings.
    #[must_use]
    pub fn new(
        configured: impl IntoIterator<Item = Configured>,
        groups: impl IntoIterator<Item = BindingGroupName>,
    ) -> Self {
        let mut bindings = Self::default();
        for group in groups {
            bindings.by_group.entry(group).or_default();
        }
        let mut all: Vec<Configured> = configured.into_iter().collect();
        match all.iter().position(|one| one.binding.is_default()) {
            Some(at) => {
                if let Some(front) = all.get_mut(..=at) {
                    front.rotate_right(1);
                }
            }
            None => {
                let (group, binding) = Default::default();
                all.insert(0, Configured { group, binding, suspended: false });
            }
        }
        for one in all {
            if bindings.by_name.contains_key(&one.binding) {
                continue;
            }
            let at = bindings.all.len();
            bindings.by_name.insert(one.binding.clone(), at);
            bindings.by_group.entry(one.group.clone()).or_default().push(at);
            bindings.all.push(one);
        }
        bindings
    }

    /// The binding of this name.
    #[must_use]
    pub fn named(&self, binding: &str) -> Option<Assigned> {
        self.at(*self.by_name.get(&BindingName::from(binding))?)
    }

    /// Where mail of a binding is queued now: another group may have it, and `default` has what no other has.
    #[must_use]
    pub fn home(&self, binding: &BindingName) -> Assigned {
        self.named(binding.as_str()).or_else(|| self.at(0)).unwrap_or_default()
    }

    /// One of the bindings of a group: any of those that are not suspended, or any at all if all are. None when there is
    /// no such group, or nothing in it.
    pub fn chosen(&self, group: &str, random: &mut Random) -> Option<Assigned> {
        let members = self.by_group.get(&BindingGroupName::from(group))?;
        let suspended = |at: &usize| self.all.get(*at).is_some_and(|one| one.suspended);
        let mut candidates: Vec<usize> = members.iter().copied().filter(|at| !suspended(at)).collect();
        if candidates.is_empty() {
            candidates.clone_from(members);
        }
        let count = u64::try_from(candidates.len()).ok().filter(|count| *count > 0)?;
        let at = usize::try_from(random.below(count)).ok()?;
        self.at(*candidates.get(at)?)
    }

    /// Whether there is a group of this name.
    #[must_use]
    pub fn has_group(&self, group: &str) -> bool {
        self.by_group.contains_key(&BindingGroupName::from(group))
    }

    /// The binding at a place of the order, `default` being at 0.
    #[must_use]
    pub fn at(&self, place: usize) -> Option<Assigned> {
        self.all.get(place).map(assigned)
    }

    /// All of them, `default` first.
    pub fn all(&self) -> impl Iterator<Item = Assigned> {
        self.all.iter().map(assigned)
    }

    /// The bindings of a group, in the order of the configuration.
    pub fn of_group(&self, group: &str) -> impl Iterator<Item = Assigned> {
        let members = self.by_group.get(&BindingGroupName::from(group));
        members.into_iter().flatten().filter_map(|at| self.at(*at))
    }
}

fn assigned(one: &Configured) -> Assigned {
    Assigned { group: one.group.clone(), binding: one.binding.clone() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::string::ToString;

    fn configured(group: &str, binding: &str, suspended: bool) -> Configured {
        Configured { group: group.into(), binding: binding.into(), suspended }
    }

    fn chosen(bindings: &Bindings, group: &str) -> BTreeMap<BindingName, usize> {
        let mut random = Random::seeded(7);
        let mut times = BTreeMap::new();
        for _ in 0..3000 {
            let one = bindings.chosen(group, &mut random).unwrap();
            assert_eq!(one.group().as_str(), group);
            *times.entry(one.binding().clone()).or_default() += 1;
        }
        times
    }

    #[test]
    fn default_is_always_there_and_first() {
        let bindings = Bindings::new([configured("g", "a", false), configured("default", "b", false)], []);
        let names: Vec<_> = bindings.all().map(|one| one.binding().to_string()).collect();
        assert_eq!(names, ["default", "a", "b"]);
        assert!(bindings.has_group("default") && bindings.named("default").is_some());
        let written = [configured("g", "a", false), configured("default", "default", true)];
        assert_eq!(Bindings::new(written, []).at(0).unwrap().binding().as_str(), "default");
    }

    #[test]
    fn mta_6_1_a_group_gives_any_of_its_bindings_that_is_not_suspended() {
        let three = [("a", false), ("b", false), ("c", false)];
        let with = |bindings: &[(&str, bool)]| {
            Bindings::new(bindings.iter().map(|(name, suspended)| configured("g", name, *suspended)), [])
        };
        let even = chosen(&with(&three), "g");
        assert_eq!(even.len(), 3);
        // A third each; 3000 throws leave that by four deviations only once in ten thousand seeds.
        assert!(even.values().all(|times| (897..=1103).contains(times)), "{even:?}");
        let one_left = chosen(&with(&[("a", true), ("b", false), ("c", true)]), "g");
        assert_eq!(one_left.into_keys().collect::<Vec<_>>(), [BindingName::from("b")]);
        let none_left = chosen(&with(&[("a", true), ("b", true), ("c", true)]), "g");
        assert_eq!(none_left.len(), 3);
    }

    #[test]
    fn names_that_are_not_configured_are_told_apart_from_empty_groups() {
        let bindings = Bindings::new([configured("g", "a", false)], ["empty".into()]);
        let mut random = Random::seeded(1);
        assert_eq!(bindings.named("A"), None, "case matters");
        assert!(bindings.has_group("empty") && !bindings.has_group("a"));
        assert_eq!(bindings.chosen("empty", &mut random), None);
        assert_eq!(bindings.chosen("nobody", &mut random), None);
        // Mail of a binding that is gone belongs to the one that always exists.
        assert_eq!(bindings.home(&"gone".into()), bindings.named("default").unwrap());
        assert_eq!(bindings.home(&"a".into()).queue("d.example").binding_group.as_str(), "g");
    }
}
