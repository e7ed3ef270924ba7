//! What values of version 1 are in today's layout.
//!
//! Every field is named, so that a new one cannot be forgotten here.

use super::limits::KEY_WORDS;
use super::{ActionSlot, Delivery, DropKey, FlowKey, Meter, Peer, Port, PortStats};
use crate::Plain;

impl FlowKey {
    /// The key of these words.
    #[must_use]
    pub fn from_words(words: &[u64; KEY_WORDS]) -> Self {
        let mut octets = [0; 8 * KEY_WORDS];
        for (word, octets) in words.iter().zip(octets.chunks_exact_mut(8)) {
            octets.copy_from_slice(&word.to_ne_bytes());
        }
        Self::from_octets(&octets).unwrap_or_default()
    }
}

impl From<FlowKey> for crate::FlowKey {
    fn from(old: FlowKey) -> Self {
        Self {
            in_port: old.in_port,
            tun_key: old.tun_key,
            tun_src: old.tun_src,
            eth_dst: old.eth_dst,
            eth_type: old.eth_type,
            eth_src: old.eth_src,
            vlan: old.vlan,
            nw_src: old.nw_src,
            nw_dst: old.nw_dst,
            inner_vlan: old.inner_vlan,
            nw_proto: old.nw_proto,
            nw_tos: old.nw_tos,
            class: old.class,
            conn: old.conn,
            tp_src: old.tp_src,
            tp_dst: old.tp_dst,
            zero: old.zero,
        }
    }
}

impl From<ActionSlot> for crate::ActionSlot {
    fn from(old: ActionSlot) -> Self {
        Self { op: old.op, slots: old.slots, argument: old.argument }
    }
}

impl From<Port> for crate::Port {
    fn from(old: Port) -> Self {
        Self {
            ifindex: old.ifindex,
            flags: old.flags,
            mtu: old.mtu,
            rate: old.rate,
            burst_ns: old.burst_ns,
            arrival_at: old.arrival_at,
            // Connections were not tracked.
            zone: 0,
            zero: 0,
        }
    }
}

impl From<PortStats> for crate::PortStats {
    fn from(old: PortStats) -> Self {
        Self {
            rx_packets: old.rx_packets,
            rx_octets: old.rx_octets,
            tx_packets: old.tx_packets,
            tx_octets: old.tx_octets,
            rx_dropped: old.rx_dropped,
            zero: old.zero,
        }
    }
}

impl From<DropKey> for crate::DropKey {
    fn from(old: DropKey) -> Self {
        Self { port: old.port, cause: old.cause }
    }
}

impl From<Peer> for crate::Peer {
    fn from(old: Peer) -> Self {
        Self { remote: old.remote, local: old.local, mtu: old.mtu, flags: old.flags }
    }
}

impl From<Delivery> for crate::Delivery {
    fn from(old: Delivery) -> Self {
        Self { kind: old.kind, index: old.index }
    }
}

impl From<Meter> for crate::Meter {
    fn from(old: Meter) -> Self {
        Self { packets: old.packets, octets: old.octets }
    }
}
