//! DHCP subnets of bridges.

use core::net::Ipv4Addr;

use mn_packet::Mac;

dto! {
    /// A subnet whose hosts get their addresses by DHCP.
    DhcpSubnet {
        /// Required.
        "subnetPrefix" subnet_prefix: Option<Ipv4Addr>,
        /// 0 to 32.
        "subnetLength" subnet_length: u8,
        /// The router its hosts are told of.
        "defaultGateway" default_gateway: Option<Ipv4Addr>,
        /// The address that answers.
        "serverAddr" server_addr: Option<Ipv4Addr>,
        "dnsServerAddrs" dns_server_addrs: Option<Vec<Ipv4Addr>>,
        "interfaceMTU" interface_mtu: Option<u16>,
        /// Further routes its hosts are told of (option 121).
        "opt121Routes" opt121_routes: Vec<DhcpRoute>,
        /// Whether anybody answers.
        "enabled" enabled: bool = true,
        ro "uri" uri: Option<String>,
        ro "hosts" hosts: Option<String>,
    }
}

dto! {
    /// A classless static route.
    DhcpRoute {
        "destinationPrefix" destination_prefix: Option<Ipv4Addr>,
        "destinationLength" destination_length: u8,
        "gatewayAddr" gateway_addr: Option<Ipv4Addr>,
    }
}

dto! {
    /// A client of DHCP and the address it gets.
    DhcpHost {
        /// Required.
        "macAddr" mac_addr: Option<Mac>,
        /// Required.
        "ipAddr" ip_addr: Option<Ipv4Addr>,
        /// Required.
        "name" name: Option<String>,
        "extraDhcpOpts" extra_dhcp_opts: Vec<DhcpOption>,
        ro "uri" uri: Option<String>,
    }
}

dto! {
    /// A DHCP option: a name or number, and text by the option's own syntax.
    DhcpOption {
        "optName" opt_name: Option<String>,
        "optValue" opt_value: Option<String>,
    }
}
