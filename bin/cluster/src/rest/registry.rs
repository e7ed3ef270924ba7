//! Every resource there is.

use super::endpoint::Resource;
use super::{
    application, bindings, bridges, chains, dhcp, dhcp_v6, health_monitors, hosts, ip_addr_groups,
    l2_insertions, load_balancers, mirrors, peering, pool_members, pools, port_groups, ports,
    qos_policies, qos_rules, routers, routes, rules, system_state, tables, tenants, tunnel_zones,
    vips, walks,
};

/// Every resource there is, once.
pub fn resources() -> Vec<Resource> {
    vec![
        application::resource(),
        bridges::resource(),
        tables::mac_resource(),
        tables::arp_resource(),
        dhcp::subnet_resource(),
        dhcp::host_resource(),
        dhcp_v6::subnet_resource(),
        dhcp_v6::host_resource(),
        chains::resource(),
        rules::resource(),
        health_monitors::resource(),
        hosts::resource(),
        hosts::interface_resource(),
        bindings::resource(),
        ip_addr_groups::resource(),
        ip_addr_groups::addr_resource(),
        load_balancers::resource(),
        pools::resource(),
        pool_members::resource(),
        vips::resource(),
        l2_insertions::resource(),
        mirrors::resource(),
        qos_policies::resource(),
        qos_rules::limit_resource(),
        qos_rules::mark_resource(),
        port_groups::resource(),
        port_groups::member_resource(),
        ports::resource(),
        peering::resource(),
        routers::resource(),
        routes::resource(),
        system_state::resource(),
        tenants::resource(),
        tunnel_zones::resource(),
        tunnel_zones::host_resource(),
        walks::resource(),
    ]
}
