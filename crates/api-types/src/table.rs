//! Entries of a bridge's tables.

use core::net::IpAddr;

use mn_ids::PortId;
use mn_packet::Mac;

dto! {
    /// The port behind which a MAC is. One that a client makes stays until it is deleted.
    MacPort {
        /// Required.
        "macAddr" mac_addr: Option<Mac>,
        /// A port of the bridge. Required.
        "portId" port_id: Option<PortId>,
        /// 0 for untagged frames.
        "vlanId" vlan_id: Option<u16>,
        ro "uri" uri: Option<String>,
    }
}

dto! {
    /// The MAC of an address in a bridge's network. One that a client makes stays until it is deleted.
    ArpEntry {
        /// Required.
        "ip" ip: Option<IpAddr>,
        /// Required.
        "mac" mac: Option<Mac>,
        ro "uri" uri: Option<String>,
    }
}
