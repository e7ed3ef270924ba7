//! The engine of a single cluster node: everything in memory, every commit in one file (redb).
//!
//! What is acknowledged survives a crash of the process and of the machine.

mod backup;
mod error;
mod file;
mod record;

pub use backup::{BackupError, back_up, restore};
pub use error::OpenError;
pub use file::{File, open, open_on};
