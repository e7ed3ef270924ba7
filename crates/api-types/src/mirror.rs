//! Mirrors.

use mn_ids::{MirrorId, PortId};

use crate::Condition;

dto! {
    /// Copies packets to a port. Ports, bridges and routers name the mirrors of their hooks.
    Mirror {
        /// Chosen by the client or, where it is left out, by the server.
        "id" id: Option<MirrorId>,
        /// The port by which copies leave. Required.
        "toPortId" to_port_id: Option<PortId>,
        /// A packet is copied if any of them matches; without any none is.
        "conditions" conditions: Vec<Condition>,
        ro "uri" uri: Option<String>,
    }
}
