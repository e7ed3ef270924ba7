//! Where packets leave: ports of this host, tunnels to others, groups of both.

use mn_flow::{DropCause, PortNo};

use super::engine::State;
use super::packet::Packet;
use crate::{Offload, Output};

/// A frame that went out.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Sent {
    pub to: Output,
    /// Tags in line.
    pub frame: Vec<u8>,
    pub offload: Offload,
    /// Its tunnel key is marked: it is of the forward direction of a tracked connection.
    pub mark: bool,
}

impl State {
    /// Sends a copy of a packet, or counts why not.
    pub fn send(&mut self, packet: &Packet, to: Output) {
        if let Output::Port(port) = to
            && !self.carries(port, packet)
        {
            // The port's limit is what is counted, wherever the packet came in.
            let packets = packet.load().packets;
            *self.drops.entry((port, DropCause::BandwidthReceived)).or_default() += packets;
            self.counters.entry(packet.key.in_port).or_default().rx_dropped += packets;
            return;
        }
        if let Err(cause) = self.try_send(packet, to) {
            self.drop(packet.key.in_port, cause, packet.load().packets);
        }
    }

    /// Whether a port has octets left for a packet that it can take; takes them.
    fn carries(&mut self, port: PortNo, packet: &Packet) -> bool {
        let now = self.now;
        let Some(port) = self.ports.get_mut(&port) else { return true };
        let fits = packet.wire_ip_len() <= port.interface.mtu as usize;
        !fits || port.bandwidth[1].take(packet.load().octets, now)
    }

    fn try_send(&mut self, packet: &Packet, to: Output) -> Result<(), DropCause> {
        let through = match to {
            Output::Port(number) => {
                let port = self.ports.get(&number).ok_or(DropCause::PortGone)?;
                if packet.wire_ip_len() > port.interface.mtu as usize {
                    return Err(DropCause::TooBig);
                }
                let zone = port.tracking.zone;
                self.connections.deliver(zone, number, packet, self.now)?;
                number
            }
            Output::Tunnel { peer, .. } => {
                let peer = self.peers.get(&peer).ok_or(DropCause::PeerGone)?;
                // The underlay carries the tags too.
                if packet.ip.is_some()
                    && packet.wire_ip_len() + packet.tags_len() > peer.mtu as usize
                {
                    return Err(DropCause::TooBig);
                }
                PortNo::TUNNEL
            }
        };
        let counters = self.counters.entry(through).or_default();
        counters.tx.add(packet.load());
        let mark = packet.track && matches!(to, Output::Tunnel { .. });
        self.log(Sent { to, frame: packet.frame.clone(), offload: packet.offload, mark });
        Ok(())
    }

    /// Whether a routed packet exceeds an output. Tags do not count: they are not known before the
    /// actions are carried out, and an output that they make too small drops the packet.
    pub fn exceeds(&self, packet: &Packet, to: Output) -> bool {
        let mtu = match to {
            Output::Port(number) => self.ports.get(&number).map(|port| port.interface.mtu),
            Output::Tunnel { peer, .. } => self.peers.get(&peer).map(|peer| peer.mtu),
        };
        mtu.is_some_and(|mtu| packet.wire_ip_len() > mtu as usize)
    }
}
