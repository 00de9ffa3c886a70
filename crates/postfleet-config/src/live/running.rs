//! The current configuration of a process and the step to the next.

use alloc::sync::Arc;
use alloc::vec::Vec;
use core::fmt;

use super::change::{Change, RestartOnly};
use super::edit::{self, Depth, Edit};
use super::effect;
use crate::config::Config;

/// The number of a configuration, from 1 at start. Every activation makes the next.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Generation(u64);

impl Generation {
    /// The generation that a process starts with.
    pub const FIRST: Self = Self(1);

    /// The number.
    #[must_use]
    pub const fn number(self) -> u64 {
        self.0
    }

    const fn next(self) -> Self {
        Self(self.0.saturating_add(1))
    }
}

impl fmt::Display for Generation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

/// The configuration changed since the proposal was made. Nothing has happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the running configuration has changed")]
pub struct Conflict;

/// A checked configuration that may become the current one.
#[derive(Clone, Debug)]
pub struct Proposal {
    base: Generation,
    files: Arc<Config>,
    edits: Vec<Edit>,
    configured: Arc<Config>,
    in_effect: Arc<Config>,
    change: Change,
}

impl Proposal {
    /// What would be in effect: options that need a restart keep the value they have. Prepare and activate this one.
    #[must_use]
    pub const fn in_effect(&self) -> &Arc<Config> {
        &self.in_effect
    }

    /// The configuration as written, options that need a restart included.
    #[must_use]
    pub const fn configured(&self) -> &Arc<Config> {
        &self.configured
    }

    /// What differs from what is in effect now.
    #[must_use]
    pub const fn change(&self) -> &Change {
        &self.change
    }
}

/// The current configuration of a process. Keep it behind one lock; no call takes long but [`Running::reload`].
#[derive(Clone, Debug)]
pub struct Running {
    generation: Generation,
    /// What the files say.
    files: Arc<Config>,
    /// What was changed since, and is not in the files.
    edits: Vec<Edit>,
    /// Both together.
    configured: Arc<Config>,
    in_effect: Arc<Config>,
    /// What the last write-back put into a `Local_Changes_File` that nothing reads.
    pub(super) unread_local: Option<super::Replacement>,
}

impl Running {
    /// The configuration that the process starts with, as generation 1.
    #[must_use]
    pub fn start(config: Config) -> Self {
        let config = Arc::new(config);
        Self {
            generation: Generation::FIRST,
            files: config.clone(),
            edits: Vec::new(),
            configured: config.clone(),
            in_effect: config,
            unread_local: None,
        }
    }

    /// The number of the current configuration.
    #[must_use]
    pub const fn generation(&self) -> Generation {
        self.generation
    }

    /// The current configuration as written.
    #[must_use]
    pub const fn configured(&self) -> &Arc<Config> {
        &self.configured
    }

    /// The current configuration as it works: options that need a restart have the value of the start.
    #[must_use]
    pub const fn in_effect(&self) -> &Arc<Config> {
        &self.in_effect
    }

    /// How many console changes are not in the files. A reload loses them.
    #[must_use]
    pub const fn unsaved(&self) -> usize {
        self.edits.len()
    }

    pub(super) const fn files(&self) -> &Arc<Config> {
        &self.files
    }

    pub(super) fn edits(&self) -> &[Edit] {
        &self.edits
    }

    /// Whether an option is known to wait for a restart already.
    pub(super) fn waits_for_restart(&self, found: &RestartOnly) -> bool {
        let (_, waiting) = effect::held(&self.configured, &self.in_effect);
        waiting.iter().any(|other| other.name == found.name && other.path == found.path)
    }

    /// Proposes a configuration that was just read from its files. Console changes that were not written back are not
    /// in it.
    #[must_use]
    pub fn reload(&self, config: Config) -> Proposal {
        self.propose(Arc::new(config.clone()), Vec::new(), config)
    }

    pub(super) fn propose(&self, files: Arc<Config>, edits: Vec<Edit>, config: Config) -> Proposal {
        let (in_effect, restart_only) = effect::held(&config, &self.in_effect);
        let change = Change::between(&self.in_effect, &in_effect, restart_only);
        Proposal {
            base: self.generation,
            files,
            edits,
            configured: Arc::new(config),
            in_effect: Arc::new(in_effect),
            change,
        }
    }

    /// The files were read again and say what was changed, but for what is left. The configuration is the same; its
    /// places are new.
    pub(super) fn settle(&mut self, files: Config, left: Vec<Edit>) {
        let configured = edit::apply(&files, &left, Depth::Each).config;
        self.in_effect = Arc::new(effect::held(&configured, &self.in_effect).0);
        self.configured = Arc::new(configured);
        self.files = Arc::new(files);
        self.edits = left;
    }

    /// Whether the proposal was made for the configuration that is current now.
    #[must_use]
    pub fn is_current(&self, proposal: &Proposal) -> bool {
        proposal.base == self.generation
    }

    /// Makes the proposal the current configuration. Call it when everything is prepared, under the same lock as the
    /// switch of what serves.
    ///
    /// # Errors
    /// [`Conflict`] when another proposal was activated meanwhile.
    pub fn activate(&mut self, proposal: Proposal) -> Result<Generation, Conflict> {
        if proposal.base != self.generation {
            return Err(Conflict);
        }
        self.generation = self.generation.next();
        self.files = proposal.files;
        self.edits = proposal.edits;
        self.configured = proposal.configured;
        self.in_effect = proposal.in_effect;
        Ok(self.generation)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::files::{LoadRequest, MemoryFiles};
    use crate::live::Area;
    use crate::resolve::Facts;
    use crate::schema::Service;

    fn load(text: &str) -> Config {
        let files = MemoryFiles::new().with("/etc/t/ecelerity.conf", text);
        let request = LoadRequest { main: Some("/etc/t/ecelerity.conf".into()), ..LoadRequest::default() };
        let outcome = Config::load(&files, &request);
        let report = outcome.report();
        outcome.config.unwrap_or_else(|| panic!("{report}"))
    }

    fn eval(config: &Config, name: &str) -> String {
        config
            .eval(name, &Facts::default())
            .and_then(|found| found.value)
            .map(|v| v.to_string())
            .unwrap_or_default()
    }

    const CLUSTER: &str = "cluster { bus = \"solo\" nodename = \"a\" heartbeat_miss_limit = 7 Replicate \"inbound_cidr\" {} }\n";

    #[test]
    fn configuration_a59_what_needs_a_restart_stays_as_it_is() {
        let mut running = Running::start(load("Spoolbase = \"/a\"\nIdle_Timeout = 5"));
        let proposal = running.reload(load("Idle_Timeout = 6\nSpoolbase = \"/b\""));
        let [restart] = proposal.change().restart_only.as_slice() else { panic!("{:?}", proposal.change()) };
        assert_eq!(restart.message(), "'Spoolbase' cannot be changed at run time; restart required.");
        assert_eq!(restart.position.as_ref().map(|at| at.line), Some(2));
        assert_eq!(eval(proposal.in_effect(), "Spoolbase"), "\"/a\"");
        assert_eq!(eval(proposal.configured(), "Spoolbase"), "\"/b\"");
        assert_eq!(eval(proposal.in_effect(), "Idle_Timeout"), "6");
        assert_eq!(running.activate(proposal).map(Generation::number), Ok(2));
        // Once more: the warning is repeated while the files say so, and the place of the held value is known.
        let proposal = running.reload(load("Spoolbase = \"/b\""));
        assert_eq!(proposal.change().restart_only.len(), 1);
        let held =
            proposal.in_effect().eval("Spoolbase", &Facts::default()).map(|found| found.origin.to_string());
        assert_eq!(held.as_deref(), Some("/etc/t/ecelerity.conf:1:13"));
        // Written back to what is in effect, there is nothing to say.
        assert_eq!(running.reload(load("Spoolbase = \"/a\"")).change().restart_only, []);
    }

    #[test]
    fn a_default_written_out_is_no_change() {
        let running = Running::start(load(""));
        let change =
            running.reload(load("Force_Fsync = on Security { user = \"postfleet\" }")).change().clone();
        assert_eq!(change.restart_only, []);
    }

    #[test]
    fn a_stanza_that_is_gone_keeps_what_needs_a_restart() {
        let running = Running::start(load("Security { user = \"mail\" }"));
        let proposal = running.reload(load(""));
        assert_eq!(proposal.change().restart_only.len(), 1);
        assert_eq!(proposal.in_effect().node_settings().security.user, "mail");
    }

    #[test]
    fn a_node_does_not_join_or_leave_a_cluster_while_it_runs() {
        let running = Running::start(load(""));
        let proposal = running.reload(load(CLUSTER));
        assert_eq!(proposal.change().restart_only[0].name, "cluster");
        assert!(proposal.in_effect().cluster().is_none());
        assert!(proposal.change().is_empty());
        let running = Running::start(load(CLUSTER));
        let proposal = running.reload(load("Idle_Timeout = 5"));
        let names: Vec<&str> = proposal.change().restart_only.iter().map(|found| found.name).collect();
        assert_eq!(names, ["cluster"]);
        let cluster = proposal.in_effect().cluster().expect("it is still there");
        assert_eq!(cluster.replicate.len(), 1);
        assert!(!proposal.change().touches(Area::Replication));
        assert!(proposal.change().touches(Area::Outbound));
    }

    #[test]
    fn changes_are_told_by_area() {
        let check = |before: &str, after: &str, areas: &[Area], esmtp: bool| {
            let running = Running::start(load(before));
            let proposal = running.reload(load(after));
            let touched: Vec<Area> = proposal.change().touched().iter().copied().collect();
            assert_eq!(touched, areas, "{before} -> {after}");
            assert_eq!(proposal.change().touches_esmtp(), esmtp, "{before} -> {after}");
        };
        let esmtp = Area::Listener(Service::Esmtp);
        check("Idle_Timeout = 5", "idle_timeout = \"5\" # the same", &[], false);
        check("", "Idle_Timeout = 5", &[Area::Outbound], false);
        check("Domain \"a\" { Idle_Timeout = 5 }", "", &[Area::Outbound], false);
        check("ESMTP_Listener { Listen \":25\" {} }", "ESMTP_Listener { Listen \"*:25\" {} }", &[], false);
        check("ESMTP_Listener { Listen \":25\" {} }", "ESMTP_Listener { Listen \":26\" {} }", &[esmtp], true);
        check("", "ESMTP_Listener { Listen \":25\" { Peer 10.0.0.1 { Idle_Time = 1 } } }", &[esmtp], true);
        check("", "Relay_Domains = ( \"a.example\" )", &[Area::Global], true);
        check(CLUSTER, &CLUSTER.replace("inbound_cidr", "outbound_cidr"), &[Area::Replication], false);
        check(CLUSTER, &CLUSTER.replace("limit = 7", "limit = 8"), &[Area::Cluster], false);
        check(
            "Domain \"/a/\" {} Domain \"/b/\" {}",
            "Domain \"/b/\" {} Domain \"/a/\" {}",
            &[Area::Outbound],
            false,
        );
    }

    #[test]
    fn of_two_proposals_one_is_activated() {
        let mut running = Running::start(load(""));
        let (first, second) =
            (running.reload(load("Idle_Timeout = 6")), running.reload(load("Idle_Timeout = 7")));
        assert_eq!(running.activate(first).map(Generation::number), Ok(2));
        assert_eq!(running.activate(second), Err(Conflict));
        assert_eq!(eval(running.configured(), "Idle_Timeout"), "6");
    }
}
