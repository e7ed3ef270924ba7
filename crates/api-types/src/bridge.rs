//! Bridges.

use mn_ids::{BridgeId, ChainId, MirrorId, QosPolicyId};

dto! {
    /// A layer 2 virtual switch.
    Bridge {
        /// Chosen by the client or, where it is left out, by the server.
        "id" id: Option<BridgeId>,
        /// Whose it is; free text.
        "tenantId" tenant_id: Option<String>,
        /// At most 255 characters.
        "name" name: Option<String>,
        /// Whether it forwards.
        "adminStateUp" admin_state_up: bool = true,
        /// The chain that frames pass which enter it.
        "inboundFilterId" inbound_filter_id: Option<ChainId>,
        /// The chain that frames pass which leave it.
        "outboundFilterId" outbound_filter_id: Option<ChainId>,
        /// Mirrors of what enters it, before the inbound filter.
        "inboundMirrorIds" inbound_mirror_ids: Vec<MirrorId>,
        /// Mirrors of what leaves it, after the outbound filter.
        "outboundMirrorIds" outbound_mirror_ids: Vec<MirrorId>,
        /// What its bound ports are held to that have no policy of their own.
        "qosPolicyId" qos_policy_id: Option<QosPolicyId>,
        /// Its ports to VTEPs.
        ro "vxLanPortIds" vxlan_port_ids: Vec<mn_ids::PortId>,
        ro "uri" uri: Option<String>,
        ro "inboundFilter" inbound_filter: Option<String>,
        ro "outboundFilter" outbound_filter: Option<String>,
        ro "ports" ports: Option<String>,
        ro "peerPorts" peer_ports: Option<String>,
        ro "vxLanPorts" vxlan_ports: Option<String>,
        ro "macTable" mac_table: Option<String>,
        ro "arpTable" arp_table: Option<String>,
        ro "dhcpSubnets" dhcp_subnets: Option<String>,
        ro "dhcpSubnet6s" dhcp_v6_subnets: Option<String>,
        ro "vlanMacTableTemplate" vlan_mac_table_template: Option<String>,
        ro "macPortTemplate" mac_port_template: Option<String>,
        ro "vlanMacPortTemplate" vlan_mac_port_template: Option<String>,
    }
}
