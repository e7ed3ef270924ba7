//! What hosts tell one another of connections, so that an answer finds what it needs wherever it
//! comes in (contracts §6, ADR 0017).
//!
//! Pure: no clock, no socket. A [`Peer`] is this host's half of the talk with one other host: it
//! is told records to send and datagrams that came, and says what to send when.

mod cause;
mod incoming;
mod key;
mod message;
mod outgoing;
mod pace;
mod peer;
mod record;
mod window;

pub use cause::Refused;
pub use key::{ZoneKey, ZoneKeyError};
pub use message::DATAGRAM_MAX;
pub use peer::{Epoch, Event, Peer, Received};
pub use record::{Left, Record, Shared, Stage, put_binding, put_key, take_binding, take_key};
