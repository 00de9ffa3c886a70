//! Tests of the whole spool on a disk that forgets what a power cut may forget.

mod crash_disk;
mod done;
mod faults;
mod file;
mod journals;
mod places;
mod power_cut;
mod queue;
mod room;
mod scenario;
