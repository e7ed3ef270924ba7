//! The hosts this one tunnels to.

use std::collections::{BTreeMap, HashMap};
use std::net::IpAddr;

use mn_agent_api::{Endpoint, HostReport};
use mn_datapath::PeerAddresses;
use mn_flow::{PeerIndex, Tag};
use mn_ids::{HostId, TunnelZoneId};
use mn_nsdb::{EntryChange, Owner};
use mn_packet::Ipv6Header;
use mn_topology::{TunnelZone, TunnelZoneKind};

use super::Control;

/// What a virtual network offers where the underlay's MTU is not known.
pub(crate) const MTU_UNKNOWN: u32 = 1500;
/// What VXLAN over IPv4 and over IPv6 puts around an IP packet, Ethernet header included.
const OVERHEAD_V4: u32 = 50;
const OVERHEAD_V6: u32 = 70;

impl Control {
    /// Makes the datapath's peers those of the zones this host is in. A peer keeps its index, so
    /// a new address or MTU of one changes no flow.
    pub(super) fn reconcile_peers(&mut self) {
        if !self.state.zones_known {
            return;
        }
        let addresses = self.peer_addresses();
        let mut peers = BTreeMap::new();
        let mut indexes = HashMap::new();
        for (host, addresses) in addresses {
            let Some(index) = self.numbers.peer(host) else {
                tracing::error!(%host, "there is no room for another peer");
                continue;
            };
            self.subscriptions.report(host);
            peers.insert(index, addresses);
            indexes.insert(host, index);
        }
        let zones = self.own_zones().map(|(zone, local)| self.zone_mtu(zone, local));
        let mtu = zones.min().unwrap_or(MTU_UNKNOWN);
        if peers == self.state.peers && mtu == self.state.local.mtu {
            return;
        }
        self.tell_datapath(&peers);
        let before = std::mem::replace(&mut self.state.local.peers, indexes);
        let after = &self.state.local.peers;
        let changed = before.keys().chain(after.keys()).filter(|h| before.get(h) != after.get(h));
        self.state.news.tags.extend(changed.map(|host| Tag::Peer(*host)));
        self.state.local.mtu = mtu;
        self.state.peers = peers;
        self.state.news.changed = true;
    }

    /// Tells the datapath which interfaces have the addresses that tunnels come to.
    pub(super) fn reconcile_underlays(&mut self) {
        if !self.state.zones_known {
            return;
        }
        let locals: Vec<IpAddr> = self.own_zones().map(|(_, local)| local).collect();
        let links = self.state.links.values().map(|link| &link.interface);
        let carriers = links.filter(|interface| {
            let carries = interface.addresses.iter().any(|address| locals.contains(address));
            // Nothing comes in by an interface whose address is the host's own loopback.
            carries && interface.endpoint != Endpoint::Localhost
        });
        let underlays: Vec<u32> = carriers.map(|interface| interface.ifindex).collect();
        if self.state.underlays.as_ref() == Some(&underlays) {
            return;
        }
        // What fails goes by the host's own stack, as always.
        if let Err(error) = self.datapath.set_underlays(&underlays) {
            tracing::warn!(%error, "tunnelled packets are not taken at the underlay's interface");
        }
        self.state.underlays = Some(underlays);
    }

    /// Members first, when they come; peers first, when they go: a packet is never sent to one
    /// that would not be listened to.
    fn tell_datapath(&self, peers: &BTreeMap<PeerIndex, PeerAddresses>) {
        let gone = self.state.peers.keys().filter(|index| !peers.contains_key(index));
        let members: Vec<IpAddr> = peers.values().map(|peer| peer.remote).collect();
        let mut results = Vec::new();
        results.extend(gone.map(|index| self.datapath.set_peer(*index, None)));
        results.push(self.datapath.set_members(&members));
        for (index, addresses) in peers {
            if self.state.peers.get(index) != Some(addresses) {
                results.push(self.datapath.set_peer(*index, Some(*addresses)));
            }
        }
        for error in results.into_iter().filter_map(Result::err) {
            tracing::error!(%error, "the datapath's peers cannot be set");
        }
    }

    /// The addresses of every host that shares a zone with this one: in the first such zone, in
    /// the order of zone ids.
    fn peer_addresses(&self) -> BTreeMap<HostId, PeerAddresses> {
        let neighbours = self.neighbours().into_iter();
        neighbours.map(|(host, (_, addresses))| (host, addresses)).collect()
    }

    /// Likewise, with that zone.
    pub(super) fn neighbours(&self) -> BTreeMap<HostId, (TunnelZoneId, PeerAddresses)> {
        let mut found = BTreeMap::new();
        for (zone, local) in self.own_zones() {
            let mtu = self.zone_mtu(zone, local);
            for member in zone.members.iter().filter(|member| member.host_id != self.host.id) {
                if member.addr.is_ipv4() == local.is_ipv4() {
                    let addresses = PeerAddresses { local, remote: member.addr, mtu };
                    found.entry(member.host_id).or_insert((zone.id, addresses));
                }
            }
        }
        found
    }

    /// The zones this host is in, with its address there.
    pub(super) fn own_zones(&self) -> impl Iterator<Item = (&TunnelZone, IpAddr)> {
        let vxlan = self.state.zones.values().filter(|zone| zone.kind == TunnelZoneKind::Vxlan);
        vxlan.filter_map(|zone| {
            let own = zone.members.iter().find(|member| member.host_id == self.host.id)?;
            Some((zone, own.addr))
        })
    }

    /// The largest IP packet that fits every tunnel from here, by this host's own interfaces:
    /// what it reports. `None` outside of every zone.
    pub(super) fn own_mtu(&self) -> Option<u32> {
        self.own_zones().map(|(_, local)| self.tunnel_mtu(local)).min()
    }

    /// The largest IP packet that fits every tunnel of a zone: the smallest its members report
    /// (contracts §2), since a network that a packet enters here has ports on any of them.
    fn zone_mtu(&self, zone: &TunnelZone, local: IpAddr) -> u32 {
        let others = zone.members.iter().filter(|member| member.host_id != self.host.id);
        let reported = others.filter_map(|member| self.state.reported_mtus.get(&member.host_id));
        reported.copied().fold(self.tunnel_mtu(local), u32::min)
    }

    /// Notes what fits another host's tunnels, and that its agent lives. That it does not stops
    /// nothing: its datapath goes on (contracts §1).
    pub(super) fn take_report(&mut self, change: &EntryChange) {
        let Owner::Host { id, epoch } = change.owner else { return };
        let Some(entry) = &change.entry else {
            if self.state.reporting.get(&id) == Some(&epoch) {
                self.state.reporting.remove(&id);
            }
            return;
        };
        self.state.reporting.insert(id, epoch);
        match serde_json::from_str::<HostReport>(&entry.value) {
            Ok(HostReport { host, tunnel_mtu: Some(mtu), .. }) => {
                self.state.reported_mtus.insert(host, mtu.max(Ipv6Header::MTU_MIN));
            }
            Ok(HostReport { host, tunnel_mtu: None, .. }) => {
                self.state.reported_mtus.remove(&host);
            }
            Err(error) => tracing::error!(%error, host = change.key, "a report cannot be read"),
        }
    }

    /// The largest IP packet that fits a tunnel from this address.
    fn tunnel_mtu(&self, local: IpAddr) -> u32 {
        let overhead = if local.is_ipv4() { OVERHEAD_V4 } else { OVERHEAD_V6 };
        let links = self.state.links.values().map(|link| &link.interface);
        let carriers = links.filter(|interface| interface.addresses.contains(&local));
        let mtu = carriers.map(|interface| interface.mtu).min();
        mtu.map_or(MTU_UNKNOWN - overhead, |mtu| {
            mtu.saturating_sub(overhead).max(Ipv6Header::MTU_MIN)
        })
    }
}
