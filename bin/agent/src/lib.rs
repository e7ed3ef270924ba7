//! The agent of a host: it brings interfaces under the datapath, decides about packets that the
//! datapath asks about, and keeps what it decided true while the topology changes.
//!
//! Decisions stand in `agent-core` and `simulation`; here are the threads, sockets and files
//! around them. [`Agent`] is one agent as a value, of which tests run several in one process; [`run()`]
//! is the program.

mod agent;
mod bursts;
mod clock;
mod control;
mod exchange;
mod handle;
mod health;
mod interfaces;
mod leaser;
mod metrics;
mod nat_journal;
mod numbers;
mod presses;
mod question;
mod rows;
mod run;
mod session;
mod socket;
mod subscriptions;
mod sweep;
mod top;
mod worker;
mod writer;

pub use agent::{Agent, Connections, Parts, StartError};
pub use bursts::BurstsError;
pub use exchange::{STATE_PORT, StatePath, UdpPath};
pub use handle::Handle;
pub use interfaces::{Link, Links};
pub use metrics::serve as serve_metrics;
pub use mn_agent_core::{Capacities, Patience, PortLimits};
pub use question::{AskError, Question, ask};
pub use run::{RunError, Settings, remove, run};
pub use top::{Top, TopError, top};
