//! Insertions of inspecting machines.

use mn_ids::{L2InsertionId, PortId};
use mn_packet::Mac;

dto! {
    /// Has what a machine sends and gets go by way of another, which inspects it.
    L2Insertion {
        /// Chosen by the client or, where it is left out, by the server.
        "id" id: Option<L2InsertionId>,
        /// The port of the protected machine. Required; cannot be changed.
        "portId" port_id: Option<PortId>,
        /// The port of the inspecting machine. Required; cannot be changed.
        "srvPortId" srv_port_id: Option<PortId>,
        /// The MAC of the protected machine. Required.
        "mac" mac: Option<Mac>,
        /// The VLAN of frames on their way through the inspecting machine, which has to leave the
        /// tag as it is; 0 for no tag.
        "vlan" vlan: u16,
        /// The lowest inspects first.
        "position" position: u32,
        /// While the inspecting machine is not there frames go on without it; else they are dropped.
        "failOpen" fail_open: bool,
        /// The inspecting machine is there while it sends back the frames that ask it; else while
        /// its port has a link.
        "heartbeat" heartbeat: bool,
        /// Whether it is there, as its host last said: `ACTIVE` or `INACTIVE`; null: nobody said.
        ro "status" status: Option<String>,
        ro "uri" uri: Option<String>,
        ro "port" port: Option<String>,
        ro "srvPort" srv_port: Option<String>,
    }
}
