//! Labs on one machine: network namespaces as hosts, joined by an underlay; namespaces as VMs on
//! veth and tap; the real programs, and real traffic between them.
//!
//! A lab is a directory (logs, states, state file) and a set of namespaces with unique names. It
//! is taken down when it is dropped, or, after a `kill -9`, by the next lab that is set up. Only
//! processes that a lab started are ever ended, known by their id and start time.

mod capture;
mod contact;
mod control;
mod dhclient;
mod error;
mod frames;
mod host;
mod http;
mod impairment;
mod lab;
mod namespace;
mod probe;
mod process;
mod state;
mod sys;
mod tap;
mod traffic;
mod vm;
mod wire;

pub use capture::Capture;
pub use contact::{Contact, Met, Route};
pub use control::{Control, REST_PORT, wait_for};
pub use dhclient::{DhcpLease, DhcpV6, DhcpV6Lease};
pub use error::{LabError, Outcome};
pub use host::Host;
pub use http::{Answer, Http, Ready};
pub use impairment::{Impairment, Passed, Trouble};
pub use lab::{Lab, Plan};
pub use namespace::{Namespace, finish};
pub use probe::{Arrivals, Probe, Received};
pub use process::{Identity, Process, program};
pub use state::{Record, labs_directory, sweep};
pub use tap::bridge_taps;
pub use traffic::{Ping, Throughput};
pub use vm::{Attachment, Vm};
pub use wire::Wire;
