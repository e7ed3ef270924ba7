//! The packet that an ICMP error quotes (RFC 5508 §4.2).

use std::net::{Ipv4Addr, Ipv6Addr};

use mn_flow::Rewrite;
use mn_packet::icmp::{icmp_of, is_echo};
use mn_packet::{EtherType, IcmpHeader, IpProtocol, Layers, from_v6, icmp};

use crate::StateView;
use crate::branch::Branch;
use crate::nat::NatTuple;
use crate::simulate::Sim;

/// What an error quotes of the packet it is about.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Quote {
    /// As it came.
    arrived: NatTuple,
    /// As rules have made it.
    pub now: NatTuple,
    /// Whether ports or an echo's identifier are quoted.
    pub has_ports: bool,
}

/// Whether the quotation was read, and what was there.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(crate) enum Quoted {
    #[default]
    Unread,
    Nothing,
    Is(Quote),
}

impl Quote {
    /// The changes that make a quotation that is `self` now be `to`.
    pub fn changes(&self, to: &Self, mut emit: impl FnMut(Rewrite)) {
        let (from, to) = (self.now, to.now);
        let port = |old: u16, new: u16| (old != new).then_some(new);
        if (from.src, from.src_port) != (to.src, to.src_port) {
            emit(Rewrite::InnerSrc(from_v6(to.src), port(from.src_port, to.src_port)));
        }
        if (from.dst, from.dst_port) != (to.dst, to.dst_port) {
            emit(Rewrite::InnerDst(from_v6(to.dst), port(from.dst_port, to.dst_port)));
        }
    }

    /// The quotation as it came.
    pub const fn as_arrived(self) -> Self {
        Self { now: self.arrived, ..self }
    }
}

impl<S: StateView + ?Sized> Sim<'_, S> {
    /// The packet that an ICMP error quotes, as rules have made it; `None` for any other packet.
    ///
    /// It is in no flow key, so a verdict that looked at it is for this packet alone.
    pub(crate) fn quote(&mut self, branch: &mut Branch) -> Option<Quote> {
        if !is_error(branch) {
            return None;
        }
        self.once = true;
        if branch.quote == Quoted::Unread {
            branch.quote = read(self.packet.frame).map_or(Quoted::Nothing, Quoted::Is);
        }
        match branch.quote {
            Quoted::Is(quote) => Some(quote),
            Quoted::Unread | Quoted::Nothing => None,
        }
    }
}

/// Whether it is an ICMP error of its own version.
pub(crate) fn is_error(branch: &mut Branch) -> bool {
    icmp_type(branch).is_some_and(|(protocol, ty)| icmp::is_error(protocol, ty))
}

/// The ICMP type of a packet that has one.
pub(crate) fn icmp_type(branch: &mut Branch) -> Option<(IpProtocol, u8)> {
    let own = match branch.packet.eth_type() {
        EtherType::IPV4 => IpProtocol::ICMP,
        EtherType::IPV6 => IpProtocol::ICMPV6,
        _ => return None,
    };
    if branch.packet.nw_proto() != own || branch.packet.fragment() == mn_flow::Fragment::Later {
        return None;
    }
    Some((own, (branch.packet.tp_src() >> 8) as u8))
}

/// Reads a quotation. It may be cut anywhere after the addresses.
fn read(frame: &[u8]) -> Option<Quote> {
    let layers = Layers::of(frame).ok()?;
    let (_, quote) = IcmpHeader::split(layers.ip()?.payload).ok()?;
    let (protocol, src, dst, transport) = match quote.first()? >> 4 {
        4 => {
            let addr = |at: usize| -> Option<Ipv6Addr> {
                let octets: [u8; 4] = quote.get(at..at + 4)?.try_into().ok()?;
                Some(Ipv4Addr::from(octets).to_ipv6_mapped())
            };
            let later = u16::from_be_bytes([*quote.get(6)?, *quote.get(7)?]) & 0x1fff != 0;
            let len = usize::from(quote.first()? & 0xf) * 4;
            let transport = if later { None } else { quote.get(len..) };
            (IpProtocol(*quote.get(9)?), addr(12)?, addr(16)?, transport)
        }
        6 => {
            let addr = |at: usize| -> Option<Ipv6Addr> {
                let octets: [u8; 16] = quote.get(at..at + 16)?.try_into().ok()?;
                Some(octets.into())
            };
            (IpProtocol(*quote.get(6)?), addr(8)?, addr(24)?, quote.get(40..))
        }
        _ => return None,
    };
    let ports = transport.and_then(|transport| ports(protocol, src, transport));
    let (src_port, dst_port) = ports.unwrap_or_default();
    let arrived = NatTuple { protocol, src, dst, src_port, dst_port };
    Some(Quote { arrived, now: arrived, has_ports: ports.is_some() })
}

/// The ports of a quoted transport header; of an echo as [`NatTuple`] has them.
fn ports(protocol: IpProtocol, src: Ipv6Addr, transport: &[u8]) -> Option<(u16, u16)> {
    let word = |at: usize| -> Option<u16> {
        Some(u16::from_be_bytes([*transport.get(at)?, *transport.get(at + 1)?]))
    };
    if protocol.has_ports() {
        return Some((word(0)?, word(2)?));
    }
    let ty = *transport.first()?;
    if protocol != icmp_of(from_v6(src)) || !is_echo(protocol, ty) {
        return None;
    }
    let id = word(4)?;
    Some(if is_request(ty) { (id, 0) } else { (0, id) })
}

/// Whether an echo asks.
pub(crate) const fn is_request(ty: u8) -> bool {
    matches!(ty, IcmpHeader::ECHO_REQUEST | IcmpHeader::V6_ECHO_REQUEST)
}
