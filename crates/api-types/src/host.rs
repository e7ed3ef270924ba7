//! Hosts, their interfaces, and what is bound there.

use mn_ids::{HostId, PortId};

dto! {
    /// A machine that runs an agent.
    Host {
        /// Chosen by its agent.
        "id" id: Option<HostId>,
        /// Its own name.
        "name" name: Option<String>,
        /// The addresses of all its interfaces.
        ro "addresses" addresses: Vec<String>,
        ro "hostInterfaces" host_interfaces: Vec<Interface>,
        /// Whether its agent gives signs of life.
        ro "alive" alive: bool,
        /// The share of floods it takes over for others.
        "floodingProxyWeight" flooding_proxy_weight: Option<u16>,
        /// The share of service containers it takes.
        "containerWeight" container_weight: Option<u32>,
        /// The most service containers it takes; −1 for no limit.
        "containerLimit" container_limit: Option<i32>,
        /// Whether the limit also refuses.
        "enforceContainerLimit" enforce_container_limit: Option<bool>,
        ro "uri" uri: Option<String>,
        ro "interfaces" interfaces: Option<String>,
        ro "ports" ports: Option<String>,
    }
}

dto! {
    /// An interface of a host, as its agent sees it.
    Interface {
        ro "hostId" host_id: Option<HostId>,
        ro "name" name: Option<String>,
        ro "mac" mac: Option<mn_packet::Mac>,
        ro "mtu" mtu: u32,
        /// `Physical`, `Virtual`, `Tunnel` or `Unknown`.
        ro "type" kind: Option<String>,
        /// What is behind it: `DATAPATH`, `PHYSICAL`, `VM`, `LOCALHOST`, `TUNTAP`, `UNKNOWN`.
        ro "endpoint" endpoint: Option<String>,
        ro "portType" port_type: Option<String>,
        ro "addresses" addresses: Vec<String>,
        /// Bit 0: up; bit 1: there is a link.
        ro "status" status: u32,
        ro "uri" uri: Option<String>,
    }
}

dto! {
    /// The binding of a port to an interface of a host.
    HostInterfacePort {
        ro "hostId" host_id: Option<HostId>,
        /// Required.
        "portId" port_id: Option<PortId>,
        /// Required.
        "interfaceName" interface_name: Option<String>,
        ro "uri" uri: Option<String>,
        ro "host" host: Option<String>,
        ro "port" port: Option<String>,
    }
}
