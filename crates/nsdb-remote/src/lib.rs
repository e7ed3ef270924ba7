//! The state database as an agent sees it: any cluster node, over gRPC.
//!
//! [`Remote`] is a [`mn_nsdb::Store`]. It uses one node at a time, goes to the next when that one
//! fails, and brings watches up to date after every interruption. [`Remote::serve`] answers the
//! requests that a node passes on to this host's agent.

mod connection;
mod resume;
mod serve;
mod store;
mod watch;

pub use connection::{Settings, SettingsError, Tls};
pub use serve::RequestHandler;
pub use store::Remote;
