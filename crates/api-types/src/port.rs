//! Ports and their links.

use core::net::IpAddr;

use mn_ids::{ChainId, HostId, L2InsertionId, MirrorId, PortId, QosPolicyId};
use mn_packet::{IpPrefix, Mac};
use uuid::Uuid;

words! {
    /// What a port is a port of.
    PortType {
        Bridge = "Bridge",
        Router = "Router",
        /// An older word for a port of a bridge, accepted on input.
        ExteriorBridge = "ExteriorBridge",
        /// An older word for a port of a bridge, accepted on input.
        InteriorBridge = "InteriorBridge",
        /// An older word for a port of a router, accepted on input.
        ExteriorRouter = "ExteriorRouter",
        /// An older word for a port of a router, accepted on input.
        InteriorRouter = "InteriorRouter",
    }
}

impl PortType {
    /// The same without the older words.
    #[must_use]
    pub const fn current(self) -> Self {
        match self {
            Self::Bridge | Self::ExteriorBridge | Self::InteriorBridge => Self::Bridge,
            Self::Router | Self::ExteriorRouter | Self::InteriorRouter => Self::Router,
        }
    }
}

dto! {
    /// A port of a bridge or a router. Fields that only the other kind has are null.
    Port {
        /// Chosen by the client or, where it is left out, by the server.
        "id" id: Option<PortId>,
        /// What it is a port of.
        "type" kind: Option<PortType>,
        /// Whose it is; free text.
        "tenantId" tenant_id: Option<String>,
        /// Whether anything passes it.
        "adminStateUp" admin_state_up: bool = true,
        /// The chain that packets pass which enter its device by it.
        "inboundFilterId" inbound_filter_id: Option<ChainId>,
        /// The chain that packets pass which leave its device by it.
        "outboundFilterId" outbound_filter_id: Option<ChainId>,
        /// Mirrors of what enters its device by it, before the inbound filter.
        "inboundMirrorIds" inbound_mirror_ids: Vec<MirrorId>,
        /// Mirrors of what the inbound filter lets pass.
        "postInFilterMirrorIds" post_in_filter_mirror_ids: Vec<MirrorId>,
        /// Mirrors of what leaves its device by it, before the outbound filter.
        "preOutFilterMirrorIds" pre_out_filter_mirror_ids: Vec<MirrorId>,
        /// Mirrors of what the outbound filter lets pass.
        "outboundMirrorIds" outbound_mirror_ids: Vec<MirrorId>,
        /// What inspects the machine behind it.
        ro "insertionIds" insertion_ids: Vec<L2InsertionId>,
        /// What it is held to while it is bound; null: its bridge's policy.
        "qosPolicyId" qos_policy_id: Option<QosPolicyId>,
        /// A number of its own.
        ro "tunnelKey" tunnel_key: u64,
        /// What a cloud calls the interface behind it.
        "vifId" vif_id: Option<String>,
        /// The host it is bound to. A binding is made and undone under the host, or made here.
        "hostId" host_id: Option<HostId>,
        /// The interface of that host.
        "interfaceName" interface_name: Option<String>,
        /// The port it is linked with. A link is made and undone at `link`, or made here.
        "peerId" peer_id: Option<PortId>,
        /// Whether an agent that is alive has it.
        ro "active" active: bool,
        /// The bridge or router.
        ro "deviceId" device_id: Option<Uuid>,
        /// Bridge: the VLAN an interior port carries; 0 for none.
        "vlanId" vlan_id: Option<u16>,
        /// Router: the subnet of its first IPv4 address. Follows from `portSubnet` where that is given.
        "networkAddress" network_address: Option<IpAddr>,
        /// Router: that subnet's length.
        "networkLength" network_length: Option<u8>,
        /// Router: its addresses with their lengths, both versions: `10.0.0.1/24`.
        "portSubnet" port_subnet: Vec<String>,
        /// Router: its first IPv4 address. Follows from `portSubnet` where that is given.
        "portAddress" port_address: Option<IpAddr>,
        /// Router: its Ethernet address; random where it is left out.
        "portMac" port_mac: Option<Mac>,
        /// Router: what it says in router advertisements: `slaac`, `dhcpStateless`,
        /// `dhcpStateful`; none are sent where it is left out.
        #[serde(skip_serializing_if = "Option::is_none")]
        "raMode" ra_mode: Option<RaMode>,
        /// Router: the IPv6 prefixes they offer; left out: those of its own addresses.
        #[serde(skip_serializing_if = "Vec::is_empty")]
        "raPrefixes" ra_prefixes: Vec<IpPrefix>,
        /// Router: seconds between two of them at most, 4 to 1800; left out: 600.
        #[serde(skip_serializing_if = "Option::is_none")]
        "raInterval" ra_interval: Option<u16>,
        ro "uri" uri: Option<String>,
        ro "device" device: Option<String>,
        ro "host" host: Option<String>,
        ro "peer" peer: Option<String>,
        ro "link" link: Option<String>,
        ro "portGroups" port_groups: Option<String>,
        ro "hostInterfacePort" host_interface_port: Option<String>,
        ro "inboundFilter" inbound_filter: Option<String>,
        ro "outboundFilter" outbound_filter: Option<String>,
    }
}

words! {
    /// Router advertisements of a router port.
    RaMode {
        Slaac = "slaac",
        DhcpStateless = "dhcpStateless",
        DhcpStateful = "dhcpStateful",
    }
}

dto! {
    /// A link of two ports.
    PortLink {
        /// The port; the one in the address where it is left out.
        "portId" port_id: Option<PortId>,
        /// The port it is linked with.
        "peerId" peer_id: Option<PortId>,
        ro "uri" uri: Option<String>,
        ro "port" port: Option<String>,
        ro "peer" peer: Option<String>,
    }
}
