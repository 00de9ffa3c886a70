use alloc::sync::Arc;

use postfleet_policy::{Fault, Phase};

use crate::compile::Script;

/// Where `ec_include` finds scripts.
pub trait Library: Send + Sync {
    /// A script compiled for a phase.
    ///
    /// # Errors
    /// It is missing or does not compile.
    fn script(&self, phase: Phase, uri: &str) -> Result<Arc<Script>, Fault>;
}
