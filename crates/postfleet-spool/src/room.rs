//! When the disk is too full, or too sick, to take more mail.

use crate::disk::{DiskErrorKind, Space};
use crate::draft::{Step, StoreError, Synced};

/// How much space must stay free.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RoomLimits {
    /// `Spool_Min_Free`, in bytes (default 536,870,912).
    pub free_bytes_min: u64,
    /// `Spool_Min_Free_Percent`, of the bytes and of the inodes (0 to 50, default 5).
    pub free_percent_min: u8,
}

impl Default for RoomLimits {
    fn default() -> Self {
        Self { free_bytes_min: 512 << 20, free_percent_min: 5 }
    }
}

/// What the free space allows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Room {
    /// Mail is accepted.
    Enough,
    /// MAIL gets `452 4.3.1`.
    Low,
    /// Listeners answer 421.
    Critical,
}

impl RoomLimits {
    /// The rule: low below the smaller of the two byte limits, or with too few inodes; critical below half of that.
    ///
    /// File systems that do not count inodes (total zero) are judged by bytes alone.
    #[must_use]
    pub fn judge(&self, space: Space) -> Room {
        let percent = u128::from(self.free_percent_min);
        let bytes_min = u128::from(self.free_bytes_min) * 100;
        let bytes_min = bytes_min.min(u128::from(space.bytes_total) * percent);
        let inodes_min = u128::from(space.inodes_total) * percent;
        // All in hundredths, so that no percentage is rounded.
        let bytes_free = u128::from(space.bytes_free) * 100;
        let inodes_free = u128::from(space.inodes_free) * 100;
        if bytes_free * 2 < bytes_min || inodes_free * 2 < inodes_min {
            Room::Critical
        } else if bytes_free < bytes_min || inodes_free < inodes_min {
            Room::Low
        } else {
            Room::Enough
        }
    }
}

/// Counts syncs that the device failed. After [`SYNC_FAILURES_MAX`] in a row the node stops accepting mail until it
/// is started again: a device that loses what it was told to keep cannot be trusted with another 250.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SyncHealth {
    failed_in_a_row: u8,
}

/// Failed syncs in a row after which no mail is accepted. One may be a passing fault, and each has cost its
/// transaction only a 451.
pub const SYNC_FAILURES_MAX: u8 = 3;

impl SyncHealth {
    /// A device without a history.
    #[must_use]
    pub const fn new() -> Self {
        Self { failed_in_a_row: 0 }
    }

    /// Takes the outcome of [`crate::Sealed::sync`].
    pub fn data_sync(&mut self, outcome: &Result<Synced, StoreError>) {
        match outcome {
            Ok(_) => self.record(Ok(())),
            Err(StoreError::Disk { step: Step::SyncData, source, .. }) => self.record(Err(source.kind())),
            Err(_) => {}
        }
    }

    /// Takes [`crate::CommitReport::syncs`].
    pub fn folder_syncs(&mut self, syncs: &[Result<(), DiskErrorKind>]) {
        for &outcome in syncs {
            self.record(outcome);
        }
    }

    /// Only what the device itself failed counts; a full disk has its own rule.
    fn record(&mut self, outcome: Result<(), DiskErrorKind>) {
        match outcome {
            _ if !self.accepting() => {}
            Ok(()) => self.failed_in_a_row = 0,
            Err(DiskErrorKind::Io) => self.failed_in_a_row += 1,
            Err(_) => {}
        }
    }

    /// Whether mail may be accepted. Never true again once it is false.
    #[must_use]
    pub const fn accepting(&self) -> bool {
        self.failed_in_a_row < SYNC_FAILURES_MAX
    }
}
