//! A packet in the engine's hands, and where its headers are.

use mn_flow::{DropCause, FlowKey, PortNo, TunnelOrigin, Zone, extract};
use mn_packet::{EthernetHeader, IpProtocol, Layers, UdpHeader};

use crate::{Counters, Offload};

/// A frame, its flow key as it arrived, and where its headers are now.
///
/// Where headers are is found out once, when it arrives; tags that come and go move them.
#[derive(Clone, Debug)]
pub(super) struct Packet {
    pub frame: Vec<u8>,
    pub offload: Offload,
    /// As it arrived.
    pub key: FlowKey,
    /// Octets before the network header.
    pub network_at: usize,
    pub ip: Option<Ip>,
    /// Its datagram's identification, where it is a fragment.
    pub fragment_id: Option<u32>,
    /// The zone that has seen it already; 0: none.
    pub zone: Zone,
    /// It is of the forward direction of a tracked connection.
    pub track: bool,
    /// Addresses, ports or tags are not those of the key any more.
    pub rewritten: bool,
}

/// What is known of an IP packet.
#[derive(Clone, Copy, Debug)]
pub(super) struct Ip {
    pub is_v4: bool,
    /// After extension headers.
    pub protocol: IpProtocol,
    /// Octets of the frame before the transport header; `None` for a later fragment.
    pub transport_at: Option<usize>,
    /// Octets of the frame before what follows the packet.
    pub end: usize,
}

impl Packet {
    /// Reads the headers of a frame.
    pub fn read(
        frame: &[u8],
        offload: Offload,
        in_port: PortNo,
        tunnel: Option<TunnelOrigin>,
    ) -> Result<Self, DropCause> {
        let key = extract(frame, in_port, tunnel)?;
        let layers = Layers::of(frame).map_err(|_| DropCause::Malformed)?;
        let fragment_id = layers.ip().and_then(|ip| ip.fragment).map(|fragment| fragment.id);
        let ip = layers.ip().map(|ip| Ip {
            is_v4: ip.src.is_ipv4(),
            protocol: ip.protocol,
            transport_at: (!ip.is_later_fragment()).then_some(ip.transport_at),
            end: layers.network_at + ip.packet.len(),
        });
        Ok(Self {
            frame: frame.to_vec(),
            offload,
            key,
            network_at: layers.network_at,
            ip,
            fragment_id,
            zone: Zone(0),
            track: false,
            rewritten: false,
        })
    }

    /// The time to live or hop limit; `None` where it is no IP packet.
    pub fn hops(&self) -> Option<u8> {
        let at = if self.ip?.is_v4 { 8 } else { 7 };
        self.frame.get(self.network_at + at).copied()
    }

    /// Octets before the transport's payload: what each segment repeats.
    fn headers_len(&self) -> usize {
        let Some(Ip { protocol, transport_at: Some(at), .. }) = self.ip else {
            return self.network_at;
        };
        match protocol {
            IpProtocol::UDP => at + UdpHeader::LEN,
            IpProtocol::TCP => {
                let offset = self.frame.get(at + 12).map_or(0, |octet| octet >> 4);
                at + usize::from(offset) * 4
            }
            _ => at,
        }
    }

    /// The length of the longest IP packet this becomes on the wire; 0 where it is no IP packet.
    /// Padding counts, as it will be sent too.
    pub fn wire_ip_len(&self) -> usize {
        match (self.ip, self.offload.gso_size) {
            (None, _) => 0,
            (Some(_), 0) => self.frame.len() - self.network_at,
            (Some(_), size) => self.headers_len() - self.network_at + usize::from(size),
        }
    }

    /// Octets of the tags in front of the network header.
    pub fn tags_len(&self) -> usize {
        self.network_at - EthernetHeader::LEN
    }

    /// Its share of every counter.
    pub fn load(&self) -> Counters {
        let headers = self.headers_len();
        let len = self.frame.len();
        let segments = match usize::from(self.offload.gso_size) {
            0 => 1,
            size => len.saturating_sub(headers).div_ceil(size).max(1),
        };
        Counters { packets: segments as u64, octets: (len + (segments - 1) * headers) as u64 }
    }
}

/// A frame's share of the counters when its headers cannot be read.
pub(super) fn unread_load(frame: &[u8]) -> Counters {
    Counters { packets: 1, octets: frame.len() as u64 }
}
