//! Later fragments, which take from their datagram's first what they have not.

use std::collections::HashMap;
use std::net::Ipv6Addr;
use std::time::Duration;

use mn_flow::{Fragment, PortNo, TcpClass};
use mn_packet::IpProtocol;
use mn_time::Instant;

use super::packet::Packet;

/// As long as receivers wait for the rest of a datagram (RFC 8200 §4.5).
const FRAGMENT_MAX: Duration = Duration::from_secs(60);

/// A datagram of a port: addresses, identification, and with IPv4 the protocol.
type Datagram = (PortNo, Ipv6Addr, Ipv6Addr, u32, IpProtocol);

/// The first fragments that were seen. None is forgotten by itself: who
/// uses the engine is gone before.
#[derive(Debug, Default)]
pub(super) struct Fragments(HashMap<Datagram, First>);

/// What a first fragment has.
#[derive(Clone, Copy, Debug)]
struct First {
    seen_at: Instant,
    ports: (u16, u16),
    protocol: IpProtocol,
    tcp: TcpClass,
}

impl Fragments {
    /// Forgets all; how many there were.
    pub fn forget(&mut self) -> usize {
        self.0.drain().count()
    }

    /// A fragment comes in: the first is remembered, a later one of its datagram gets a key like
    /// it.
    pub fn follow(&mut self, packet: &mut Packet, now: Instant) {
        let Some((ip, id)) = packet.ip.zip(packet.fragment_id) else { return };
        let key = &mut packet.key;
        let protocol = if ip.is_v4 { key.nw_proto } else { IpProtocol(0) };
        let datagram = (key.in_port, key.nw_src, key.nw_dst, id, protocol);
        match key.class.fragment {
            Fragment::None => {}
            Fragment::First => {
                let ports = (key.tp_src, key.tp_dst);
                let (protocol, tcp) = (key.nw_proto, key.class.tcp);
                self.0.insert(datagram, First { seen_at: now, ports, protocol, tcp });
            }
            Fragment::Later => {
                let Some(first) = self.0.get(&datagram) else { return };
                if now.since(first.seen_at) > FRAGMENT_MAX {
                    return;
                }
                (key.tp_src, key.tp_dst) = first.ports;
                key.nw_proto = first.protocol;
                key.class.fragment = Fragment::First;
                key.class.tcp = first.tcp;
            }
        }
    }
}
