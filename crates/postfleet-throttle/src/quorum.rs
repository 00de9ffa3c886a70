//! Whether this side of a split fleet is quorate, where the bus counts votes.
//!
//! Every member is told by its own host, at a moment of its own. What the members of a table agree on has to change at
//! one point of the order, so the first of them says in the order what it was told, for the configuration that stands.

/// The word of the bus on quorum, as a table follows it.
#[derive(Debug, Default)]
pub(crate) struct Quorum {
    /// What this member was told of the configuration that stands; `None`: nothing counts votes, or not yet.
    told: Option<bool>,
    /// What it has said and not yet read itself.
    sent: Option<bool>,
    /// The same on all members.
    in_force: Option<bool>,
}

impl Quorum {
    /// The bus says something. `true` when it is something else than before.
    pub(crate) fn tell(&mut self, held: Option<bool>) -> bool {
        core::mem::replace(&mut self.told, held) != held
    }

    pub(crate) const fn told(&self) -> Option<bool> {
        self.told
    }

    pub(crate) const fn in_force(&self) -> Option<bool> {
        self.in_force
    }

    /// Members departed, or came: what was told was about others. Whoever departs brings no quorum back.
    pub(crate) fn reconfigured(&mut self) {
        let lost = self.in_force == Some(false);
        *self = Self { told: None, sent: None, in_force: lost.then_some(false) };
    }

    /// Sides have met: none of their words holds for all.
    pub(crate) const fn merged(&mut self) {
        self.in_force = None;
        self.sent = None;
    }

    /// What the first member has to say.
    pub(crate) fn unsaid(&self) -> Option<bool> {
        self.told.filter(|_| self.in_force != self.told && self.sent != self.told)
    }

    pub(crate) const fn said(&mut self, held: bool) {
        self.sent = Some(held);
    }

    /// It was delivered.
    pub(crate) fn deliver(&mut self, own: bool, held: bool) {
        self.in_force = Some(held);
        if own && self.sent == Some(held) {
            self.sent = None;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_told_is_said_once_and_holds_for_its_configuration() {
        let mut quorum = Quorum::default();
        assert!(quorum.tell(Some(true)) && !quorum.tell(Some(true)));
        assert_eq!(quorum.unsaid(), Some(true));
        quorum.said(true);
        assert_eq!(quorum.unsaid(), None);
        quorum.deliver(true, true);
        assert_eq!((quorum.in_force(), quorum.unsaid()), (Some(true), None));
        quorum.reconfigured();
        assert_eq!((quorum.told(), quorum.in_force(), quorum.unsaid()), (None, None, None));
        // Whoever has no quorum does not get one because somebody else departs.
        quorum.deliver(false, false);
        quorum.reconfigured();
        assert_eq!(quorum.in_force(), Some(false));
        quorum.merged();
        assert_eq!(quorum.in_force(), None);
    }
}
