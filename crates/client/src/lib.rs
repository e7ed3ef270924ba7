//! The REST client of MidoNet: login, discovery, and objects as JSON or as typed values.
//!
//! Blocking. It knows the wire (media types, tokens, error bodies) and no object's meaning; the words of the
//! command line are in `mn-cli`. Source of the wire format: the API facts, sections 1 to 3.

mod client;
mod error;
mod root;
mod server;
mod transport;

pub use client::{Client, Log};
pub use error::Error;
pub use root::Root;
pub use server::{Credentials, Server, Trust, TrustError};
