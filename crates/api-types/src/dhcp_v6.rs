//! DHCPv6 subnets of bridges.

use core::net::Ipv6Addr;

dto! {
    /// A subnet whose hosts get their addresses by DHCPv6.
    DhcpV6Subnet {
        /// Required.
        "prefix" prefix: Option<Ipv6Addr>,
        /// 0 to 128.
        "prefixLength" prefix_length: u8,
        /// The name servers that every client is told of.
        "dnsServerAddrs" dns_server_addrs: Option<Vec<Ipv6Addr>>,
        ro "uri" uri: Option<String>,
        ro "hosts" hosts: Option<String>,
    }
}

dto! {
    /// A client of DHCPv6 and the address it gets.
    DhcpV6Host {
        /// Required: its identifier (DUID) in hex, or the MAC of its interface.
        "clientId" client_id: Option<String>,
        /// Required.
        "fixedAddress" fixed_address: Option<Ipv6Addr>,
        /// Required.
        "name" name: Option<String>,
        ro "uri" uri: Option<String>,
    }
}
