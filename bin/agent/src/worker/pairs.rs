//! The flows by which stations ask one another whether they are there still.
//!
//! A station that sends to another asks it now and then, and it alone, whether the MAC holds (RFC
//! 1122 §2.3.2.1, RFC 4861 §7.3.1). The first such probe may come when no agent lives any more,
//! and has to be answered then, too: else the station gives the other up, and with it the flows
//! that go on. So the flows of the probes and of the answers to the other's are installed with the
//! first flow from one to the other, and stay as long as there is one. Of a link-local address that
//! is not made of the MAC there is a flow only after it was heard.

use std::collections::HashMap;
use std::net::IpAddr;

use mn_flow::{Cookie, FlowKey, PortNo, extract};
use mn_ids::{BridgeId, PortId};
use mn_packet::ndp::{NdMessage, NeighborAdvertisement};
use mn_packet::{Arp, EtherType, EthernetHeader, Mac, from_v6, ndp};
use mn_simulation::Packet;
use mn_time::Instant;
use mn_topology::DeviceId;
use mn_topology::snapshot::Lookup;

use super::Worker;

/// For so many pairs of stations: beyond, probes need a living agent.
const PAIRS_MAX: usize = 1 << 16;

/// Flows that the probes of a pair and its answers take at most.
const PROBES: usize = 3;

/// One station that speaks to another.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
struct Pair {
    in_port: PortNo,
    from: Mac,
    to: Mac,
    /// The address it speaks with.
    addr: IpAddr,
}

/// The flows of a pair.
#[derive(Clone, Copy, Debug)]
struct Flows {
    /// The latest of those that carry its packets.
    packets: Cookie,
    /// Those that carry its probes and its answers to probes; none may be possible for now.
    probes: [Option<Cookie>; PROBES],
}

/// Who speaks to whom by flows of this worker.
#[derive(Debug, Default)]
pub(super) struct Pairs(HashMap<Pair, Flows>);

impl Worker {
    /// Installs the flow of the probes that go with a flow, unless it was tried a moment ago.
    pub(super) fn prepare_probes(&mut self, key: &FlowKey, flow: Cookie, now: Instant) {
        let Some((pair, port)) = self.pair(key) else { return };
        let table = &self.flows;
        if let Some(of) = self.pairs.0.get_mut(&pair) {
            of.packets = flow;
            // Those that left did so for what they depended on, as others of the pair did. Where
            // none was possible it is tried again soon, not with every packet.
            if of.probes.iter().flatten().all(|probes| table.used_at(*probes).is_some()) {
                return;
            }
        } else if self.pairs.0.len() >= PAIRS_MAX {
            return;
        }
        let probes = self.enter_probes(key, port, now);
        self.pairs.0.insert(pair, Flows { packets: flow, probes });
    }

    /// Keeps the flows of probes between pairs whose packets flow still.
    pub(super) fn keep_probes(&mut self, now: Instant) {
        let mut again = Vec::new();
        let flows = &mut self.flows;
        self.pairs.0.retain(|pair, of| {
            let Some(used_at) = flows.used_at(of.packets) else { return false };
            for probes in of.probes.iter().flatten() {
                flows.note_use(*probes, used_at);
            }
            let there = |probes: &Cookie| flows.used_at(*probes).is_some();
            if of.probes.iter().flatten().filter(|probes| there(probes)).count() < pair.flows() {
                again.push((*pair, of.packets));
            }
            true
        });
        for (pair, packets) in again {
            let Some(key) = self.flows.key_of(packets).copied() else { continue };
            let Some(port) = self.local.by_number.get(&pair.in_port).copied() else { continue };
            let probes = self.enter_probes(&key, port, now);
            self.pairs.0.insert(pair, Flows { packets, probes });
        }
    }

    /// Who speaks to whom in a packet that came from a station of a bridge, and its port. Who
    /// speaks with another's address is none.
    fn pair(&self, key: &FlowKey) -> Option<(Pair, PortId)> {
        let is_ip = matches!(key.eth_type, EtherType::IPV4 | EtherType::IPV6);
        if !is_ip || key.class.neighbor_discovery || key.eth_dst.is_multicast() {
            return None;
        }
        let port = *self.local.by_number.get(&key.in_port)?;
        let bridge = self.bridge_of(port)?;
        let addr = from_v6(key.nw_src);
        let known = self.tables.bridge_neighbor(bridge, addr) == Some(key.eth_src);
        let pair = Pair { in_port: key.in_port, from: key.eth_src, to: key.eth_dst, addr };
        known.then_some((pair, port))
    }

    fn bridge_of(&self, port: PortId) -> Option<BridgeId> {
        match self.snapshot.port(port) {
            Lookup::Loaded(port) => match port.device() {
                DeviceId::Bridge(bridge) => Some(bridge),
                DeviceId::Router(_) => None,
            },
            Lookup::Absent | Lookup::NotLoaded => None,
        }
    }

    fn enter_probes(
        &mut self,
        packet: &FlowKey,
        port: PortId,
        now: Instant,
    ) -> [Option<Cookie>; PROBES] {
        probes(packet).map(|frame| {
            let frame = frame?;
            let key = extract(&frame, packet.in_port, None).ok()?;
            self.enter_ahead(&Packet { key, frame: &frame, gso_size: 0 }, port, now)
        })
    }
}

impl Pair {
    /// How many flows its probes and answers take: those of ARP are one.
    const fn flows(&self) -> usize {
        if self.addr.is_ipv4() { 1 } else { PROBES }
    }
}

/// What the source of a packet would ask the station it sends to, and would answer it.
fn probes(packet: &FlowKey) -> [Option<Vec<u8>>; PROBES] {
    let ethernet = EthernetHeader {
        dst: packet.eth_dst,
        src: packet.eth_src,
        vlan: packet.vlan,
        inner_vlan: packet.inner_vlan,
        eth_type: packet.eth_type,
    };
    let (src, dst, mac) = (packet.nw_src, packet.nw_dst, packet.eth_src);
    if let (IpAddr::V4(src), IpAddr::V4(dst)) = (from_v6(src), from_v6(dst)) {
        return [Some(Arp::request(mac, src, dst).frame_in(&ethernet)), None, None];
    }
    let asked = NdMessage::NeighborSolicitation { target: dst, source_mac: Some(mac) };
    let told = NdMessage::NeighborAdvertisement(NeighborAdvertisement {
        target: src,
        router: false,
        solicited: true,
        overrides: true,
        target_mac: None,
    });
    // A kernel that has no packet at hand asks from its link-local address.
    let frames = [(&asked, src), (&asked, ndp::link_local(mac)), (&told, src)];
    frames.map(|(message, src)| Some(message.frame(&ethernet, src, dst)))
}
