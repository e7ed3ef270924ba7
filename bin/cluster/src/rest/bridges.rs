//! Bridges.

use mn_api_types::{self as api, Media};
use mn_ids::BridgeId;
use mn_topology::Bridge;

use super::call::Call;
use super::endpoint::Resource;
use super::exposed::{Exposed, Filter, create, delete, list, read, update};
use super::links::Links;
use super::problem::Problem;

pub fn resource() -> Resource {
    Resource::new(Media::BRIDGE, &api::Bridge::DESCRIPTION)
        .top("bridges", Some("bridges"), Some("bridgeTemplate"))
        .list("/bridges", list::<Bridge>)
        .query(&["tenant_id"])
        .create("/bridges", create::<Bridge>)
        .read("/bridges/{id}", read::<Bridge>)
        .update("/bridges/{id}", update::<Bridge>)
        .delete("/bridges/{id}", delete::<Bridge>)
}

impl Exposed for Bridge {
    type Document = api::Bridge;
    const COLLECTION: &'static str = "bridges";

    fn chosen_id(sent: &api::Bridge) -> Option<BridgeId> {
        sent.id
    }

    fn from_document(id: BridgeId, sent: api::Bridge, _old: Option<Self>) -> Result<Self, Problem> {
        let bridge = Self {
            id,
            tenant_id: sent.tenant_id,
            name: sent.name,
            admin_state_up: sent.admin_state_up,
            inbound_filter_id: sent.inbound_filter_id,
            outbound_filter_id: sent.outbound_filter_id,
            inbound_mirror_ids: sent.inbound_mirror_ids,
            outbound_mirror_ids: sent.outbound_mirror_ids,
            qos_policy_id: sent.qos_policy_id,
        };
        bridge.validate()?;
        Ok(bridge)
    }

    fn wanted(call: &Call) -> Result<Filter<'_, Self>, Problem> {
        Ok(Box::new(|object| call.wants_tenant(object.tenant_id.as_deref())))
    }

    fn to_document(&self, links: &Links) -> api::Bridge {
        let uri = links.object("bridges", self.id);
        let below = |path: &str| Some(format!("{uri}/{path}"));
        api::Bridge {
            id: Some(self.id),
            tenant_id: self.tenant_id.clone(),
            name: self.name.clone(),
            admin_state_up: self.admin_state_up,
            inbound_filter_id: self.inbound_filter_id,
            outbound_filter_id: self.outbound_filter_id,
            inbound_mirror_ids: self.inbound_mirror_ids.clone(),
            outbound_mirror_ids: self.outbound_mirror_ids.clone(),
            qos_policy_id: self.qos_policy_id,
            vxlan_port_ids: Vec::new(),
            inbound_filter: links.maybe("chains", self.inbound_filter_id),
            outbound_filter: links.maybe("chains", self.outbound_filter_id),
            ports: below("ports"),
            peer_ports: below("peer_ports"),
            vxlan_ports: below("vxlan_ports"),
            mac_table: below("mac_table"),
            arp_table: below("arp_table"),
            dhcp_subnets: below("dhcp"),
            dhcp_v6_subnets: below("dhcpV6"),
            vlan_mac_table_template: below("vlans/{vlanId}/mac_table"),
            mac_port_template: below("mac_table/{macAddress}_{portId}"),
            vlan_mac_port_template: below("vlans/{vlanId}/mac_table/{macAddress}_{portId}"),
            uri: Some(uri),
        }
    }
}
