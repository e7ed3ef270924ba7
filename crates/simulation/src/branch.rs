//! One copy of the packet on its way.

use mn_flow::{FlowKey, PathTag, TracedPacket};
use mn_ids::{BridgeId, MirrorId, PortId};
use mn_packet::EthernetHeader;
use mn_topology::DeviceId;
use smallvec::SmallVec;
use uuid::Uuid;

use crate::quote::Quoted;

/// One copy of the packet and the way it has come. A flood forks it.
#[derive(Clone, Debug)]
pub(crate) struct Branch {
    pub packet: TracedPacket,
    /// The port it entered the present device by; `None` for a packet of our own that has entered
    /// none yet.
    pub in_port: Option<PortId>,
    /// Whether that port is bound to an interface.
    pub in_exterior: bool,
    /// The port it is to leave the present device by, once that is decided.
    pub out_port: Option<PortId>,
    /// The bridge or router it is in; `None` before it is in any.
    pub device: Option<DeviceId>,
    /// The Ethernet header it entered the present device with.
    pub entered: EthernetHeader,
    /// All headers it entered the present device with.
    pub entered_headers: FlowKey,
    /// What it quotes, if it is an ICMP error that a rule looked into.
    pub quote: Quoted,
    /// Its destination was translated in the present device.
    pub dst_rewritten: bool,
    /// Routers it crossed: what is to be taken off its time to live.
    pub hops: u8,
    /// Devices it crossed.
    pub devices: u8,
    /// Bridges, routers and ports it crossed.
    pub crossed: SmallVec<[Uuid; 16]>,
    /// Bridges that flooded it one after the other.
    pub flooded: SmallVec<[BridgeId; 4]>,
    /// The mirrors that copied it, one the copy of another; none: it is the packet itself.
    pub mirrors: SmallVec<[MirrorId; 2]>,
    /// A rule asked for the connection's direction, and this is the forward one.
    pub track: bool,
    /// A rule with memory translated it.
    pub translated: bool,
    /// The ways it took where there were several equal ones.
    pub paths: SmallVec<[PathTag; 2]>,
    /// It is a packet of ours by now: the answer to the one that came.
    pub own: bool,
}

impl Branch {
    pub(crate) fn arriving(key: FlowKey) -> Self {
        Self {
            packet: TracedPacket::arriving(key),
            in_port: None,
            in_exterior: false,
            out_port: None,
            device: None,
            entered: ethernet(&key),
            entered_headers: key,
            quote: Quoted::Unread,
            dst_rewritten: false,
            hops: 0,
            devices: 0,
            crossed: SmallVec::new(),
            flooded: SmallVec::new(),
            mirrors: SmallVec::new(),
            track: false,
            translated: false,
            paths: SmallVec::new(),
            own: false,
        }
    }

    /// From here on it is a packet of ours, on its way back. What it has read stays read.
    pub(crate) fn returns(&mut self) {
        let begun = Self::arriving(*self.packet.headers());
        *self = Self { packet: self.packet, devices: self.devices, own: true, ..begun };
    }

    /// The Ethernet header it has now: for packets of our own, not for decisions.
    pub(crate) fn ethernet(&self) -> EthernetHeader {
        ethernet(self.packet.headers())
    }
}

fn ethernet(key: &FlowKey) -> EthernetHeader {
    EthernetHeader {
        dst: key.eth_dst,
        src: key.eth_src,
        vlan: key.vlan,
        inner_vlan: key.inner_vlan,
        eth_type: key.eth_type,
    }
}
