//! Remembered address translations of one worker, and the ports new ones are made from.
//!
//! Pure: no clock, no lock. Each worker owns whole blocks of ports, so two workers (and, by the
//! leases of the state database, two hosts) never give one port to one destination twice.

mod balanced;
mod ending;
mod ports;
mod table;
#[cfg(test)]
mod tests;

pub use ending::Turn;
pub use ports::{Block, Lease, NatPorts, Need};
pub use table::{Gone, NatTable, NatTimeouts, Owner as NatOwner};
