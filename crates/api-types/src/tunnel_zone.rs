//! Tunnel zones.

use core::net::IpAddr;

use mn_ids::{HostId, TunnelZoneId};

words! {
    /// How the hosts of a zone tunnel.
    TunnelZoneType {
        Vxlan = "vxlan",
        Gre = "gre",
        Vtep = "vtep",
    }
}

dto! {
    /// A set of hosts that tunnel to one another.
    TunnelZone {
        /// Chosen by the client or, where it is left out, by the server.
        "id" id: Option<TunnelZoneId>,
        /// 1 to 255 characters, of no other zone. Required.
        "name" name: Option<String>,
        /// Required.
        "type" kind: Option<TunnelZoneType>,
        ro "uri" uri: Option<String>,
        ro "hosts" hosts: Option<String>,
    }
}

dto! {
    /// A host in a tunnel zone.
    TunnelZoneHost {
        ro "tunnelZoneId" tunnel_zone_id: Option<TunnelZoneId>,
        /// Required.
        "hostId" host_id: Option<HostId>,
        /// Its address on the underlay. Required.
        "ipAddress" ip_address: Option<IpAddr>,
        ro "uri" uri: Option<String>,
        ro "host" host: Option<String>,
        ro "tunnelZone" tunnel_zone: Option<String>,
    }
}
