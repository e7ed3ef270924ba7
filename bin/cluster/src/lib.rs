//! A cluster node: the REST API, and the state database for agents.

mod agents;
mod listen;
mod metrics;
mod nsdb_service;
mod process;
pub mod rest;
mod settings;
mod tls;
mod walks;

pub use agents::{Agents, NoAnswer};
pub use process::{Node, ProcessError};
pub use settings::{Engine, Settings};
