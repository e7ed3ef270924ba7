//! Groups that rules refer to.

use core::net::IpAddr;

use mn_ids::{IpAddrGroupId, PortGroupId, PortId};

dto! {
    /// A set of ports.
    PortGroup {
        /// Chosen by the client or, where it is left out, by the server.
        "id" id: Option<PortGroupId>,
        /// Whose it is; free text.
        "tenantId" tenant_id: Option<String>,
        /// At most 255 characters.
        "name" name: Option<String>,
        /// Its members share connection state.
        "stateful" stateful: bool,
        ro "uri" uri: Option<String>,
        ro "ports" ports: Option<String>,
    }
}

dto! {
    /// A port's membership of a group.
    PortGroupPort {
        ro "portGroupId" port_group_id: Option<PortGroupId>,
        /// Required.
        "portId" port_id: Option<PortId>,
        ro "uri" uri: Option<String>,
        ro "port" port: Option<String>,
        ro "portGroup" port_group: Option<String>,
    }
}

dto! {
    /// A set of single addresses.
    IpAddrGroup {
        /// Chosen by the client or, where it is left out, by the server.
        "id" id: Option<IpAddrGroupId>,
        /// 1 to 255 characters. Required.
        "name" name: Option<String>,
        ro "ipAddrPorts" ip_addr_ports: Vec<IpAddrPorts>,
        ro "uri" uri: Option<String>,
        ro "addrs" addrs: Option<String>,
    }
}

dto! {
    /// An address of a group and the ports it is there for.
    IpAddrPorts {
        ro "ipAddress" ip_address: Option<IpAddr>,
        ro "portIds" port_ids: Vec<PortId>,
    }
}

dto! {
    /// An address in a group.
    IpAddrGroupAddr {
        /// Required.
        "addr" addr: Option<IpAddr>,
        /// 4 or 6; follows from the address where it is left out.
        "version" version: Option<u8>,
        ro "ipAddrGroupId" ip_addr_group_id: Option<IpAddrGroupId>,
        ro "uri" uri: Option<String>,
        ro "ipAddrGroup" ip_addr_group: Option<String>,
    }
}
