//! What an agent tells about itself: to the state database ([`HostReport`]), and over its Unix
//! socket, one JSON document a line ([`Request`], [`Response`]).

mod host_report;
mod request;
mod response;

pub use host_report::{Endpoint, HostReport, Interface, InterfaceKind};
pub use request::Request;
pub use response::{
    Activity, ConnectionRow, DropCount, FlowRow, FlowUse, Link, PortRow, Response, RuleDrop,
    Status, Work,
};
