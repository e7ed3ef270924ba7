//! A packet whose reads leave a trace.

use core::net::Ipv6Addr;

use mn_packet::{EtherType, IpProtocol, Mac, VlanTag};

use crate::{Class, Conn, Field, FlowKey, FlowMask, Fragment, PortNo, Rewrite, TcpClass};

/// What became of a packet's headers.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Trace {
    /// The headers it leaves with.
    pub headers: FlowKey,
    /// The arriving headers that were read: its flow matches these and no others.
    pub read: FlowMask,
    /// The headers its flow sets, also where this packet arrived with the value already: the next
    /// packet of the flow may not.
    pub written: FlowMask,
}

/// A packet on its way through the topology. Reading a header leaves a trace.
///
/// The datapath may apply one decision to every packet that agrees on the headers the decision
/// read as they arrived, and to no other packet. `simulation` holds packets only as this type, so
/// it cannot read a header without the mask knowing.
#[derive(Clone, Copy, Debug)]
pub struct TracedPacket {
    headers: FlowKey,
    read: FlowMask,
    written: FlowMask,
}

macro_rules! fields {
    ($($(#[$doc:meta])* $get:ident, $set:ident, $name:ident: $type:ty = $field:ident;)*) => {
        impl TracedPacket {$(
            $(#[$doc])*
            pub fn $get(&mut self) -> $type {
                self.trace(Field::$field);
                self.headers.$name
            }

            #[doc = concat!("Writes `", stringify!($name), "`.")]
            pub fn $set(&mut self, value: $type) {
                self.headers.$name = value;
                self.written |= Field::$field.into();
            }
        )*}
    };
}

fields! {
    /// Reads the destination MAC.
    eth_dst, set_eth_dst, eth_dst: Mac = EthDst;
    /// Reads the source MAC.
    eth_src, set_eth_src, eth_src: Mac = EthSrc;
    /// Reads the outer tag.
    vlan, set_vlan, vlan: VlanTag = Vlan;
    /// Reads the inner tag.
    inner_vlan, set_inner_vlan, inner_vlan: VlanTag = InnerVlan;
}

macro_rules! network_fields {
    ($($(#[$doc:meta])* $get:ident, $set:ident, $name:ident: $type:ty = $field:ident after $($outer:ident)*;)*) => {
        impl TracedPacket {$(
            $(#[$doc])*
            ///
            /// Reads what gives the field its meaning too.
            pub fn $get(&mut self) -> $type {
                $(self.trace(Field::$outer);)*
                self.trace(Field::$field);
                self.headers.$name
            }

            #[doc = concat!("Writes `", stringify!($name), "`. The packet has such a header: whoever writes has read.")]
            pub fn $set(&mut self, value: $type) {
                self.headers.$name = value;
                self.written |= Field::$field.into();
            }
        )*}
    };
}

network_fields! {
    /// Reads the whole source address: the sender's, for ARP.
    nw_src, set_nw_src, nw_src: Ipv6Addr = NwSrc after EthType;
    /// Reads the whole destination address: the target's, for ARP and neighbour discovery.
    nw_dst, set_nw_dst, nw_dst: Ipv6Addr = NwDst after EthType;
    /// Reads the protocol: the opcode, for ARP.
    nw_proto, set_nw_proto, nw_proto: IpProtocol = NwProto after EthType;
    /// Reads the TOS octet.
    nw_tos, set_nw_tos, nw_tos: u8 = NwTos after EthType;
    /// Reads the source port; for ICMP type and code.
    tp_src, set_tp_src, tp_src: u16 = TpSrc after EthType NwProto Fragment;
    /// Reads the destination port; for ICMP the identifier.
    tp_dst, set_tp_dst, tp_dst: u16 = TpDst after EthType NwProto Fragment;
}

impl TracedPacket {
    /// A packet none of whose headers has been read or written.
    #[must_use]
    pub const fn arriving(headers: FlowKey) -> Self {
        Self { headers, read: FlowMask::NONE, written: FlowMask::NONE }
    }

    /// What a flow needs to know to handle every packet like this one.
    #[must_use]
    pub const fn leave(&self) -> Trace {
        Trace { headers: self.headers, read: self.read, written: self.written }
    }

    /// Adds what another copy of this packet read, so that one flow serves both (floods).
    pub fn absorb(&mut self, other: &Self) {
        self.read |= other.read;
    }

    /// Reads the number of the port it came in by.
    pub fn in_port(&mut self) -> PortNo {
        self.trace(Field::InPort);
        self.headers.in_port
    }

    /// Reads the Ethernet type. Nothing writes it.
    pub fn eth_type(&mut self) -> EtherType {
        self.trace(Field::EthType);
        self.headers.eth_type
    }

    /// Whether the source address begins with the first `len` of the 128 bits of `prefix`; reads
    /// just those.
    pub fn nw_src_begins(&mut self, prefix: Ipv6Addr, len: u8) -> bool {
        self.trace(Field::EthType);
        if !self.written.contains(Field::NwSrc) {
            self.read |= FlowMask::nw_src(len);
        }
        begins(self.headers.nw_src, prefix, len)
    }

    /// Whether the destination address begins with the first `len` of the 128 bits of `prefix`;
    /// reads just those.
    pub fn nw_dst_begins(&mut self, prefix: Ipv6Addr, len: u8) -> bool {
        self.trace(Field::EthType);
        if !self.written.contains(Field::NwDst) {
            self.read |= FlowMask::nw_dst(len);
        }
        begins(self.headers.nw_dst, prefix, len)
    }

    /// The destination address, of which the caller's decision depends on the first `len` bits
    /// alone (a longest-prefix search that looked no further).
    pub fn nw_dst_to(&mut self, len: u8) -> Ipv6Addr {
        self.trace(Field::EthType);
        if !self.written.contains(Field::NwDst) {
            self.read |= FlowMask::nw_dst(len);
        }
        self.headers.nw_dst
    }

    /// Looks at the destination address before it is known how much of it matters. The caller
    /// must record the read with [`Self::nw_dst_to`] or [`Self::nw_dst_begins`].
    #[must_use]
    pub const fn peek_nw_dst(&self) -> Ipv6Addr {
        self.headers.nw_dst
    }

    /// Likewise for the source.
    #[must_use]
    pub const fn peek_nw_src(&self) -> Ipv6Addr {
        self.headers.nw_src
    }

    /// Reads whether the packet is a fragment.
    pub fn fragment(&mut self) -> Fragment {
        self.trace(Field::EthType);
        self.trace(Field::Fragment);
        self.headers.class.fragment
    }

    /// Reads whether the time to live is at most 1.
    pub fn ttl_spent(&mut self) -> bool {
        self.trace(Field::EthType);
        self.trace(Field::Ttl);
        self.headers.class.ttl_spent
    }

    /// Reads what the TCP flags say.
    pub fn tcp(&mut self) -> TcpClass {
        self.trace(Field::EthType);
        self.trace(Field::NwProto);
        self.trace(Field::Tcp);
        self.headers.class.tcp
    }

    /// Reads whether it is a TCP segment that ends its connection: FIN or RST.
    pub fn tcp_ends(&mut self) -> bool {
        self.trace(Field::EthType);
        self.trace(Field::NwProto);
        self.trace(Field::TcpEnds);
        matches!(self.headers.class.tcp, TcpClass::Fin | TcpClass::Rst)
    }

    /// Reads whether it is a neighbour solicitation or advertisement.
    pub fn neighbor_discovery(&mut self) -> bool {
        self.trace(Field::EthType);
        self.trace(Field::NwProto);
        self.trace(Field::NeighborDiscovery);
        self.headers.class.neighbor_discovery
    }

    /// Turns a question for a neighbour into its answer: see [`Rewrite::Answer`]. Reads all that
    /// makes it one, and what the answer takes from it.
    pub fn answer(&mut self, mac: Mac) {
        for field in [Field::EthSrc, Field::EthType, Field::NwSrc, Field::NwDst, Field::NwProto] {
            self.trace(field);
        }
        let ty = if self.headers.eth_type == EtherType::ARP {
            Field::NwProto
        } else {
            self.neighbor_discovery();
            self.tp_src();
            Field::TpSrc
        };
        Rewrite::Answer { mac, router: false }.apply(&mut self.headers);
        for field in [Field::EthDst, Field::EthSrc, Field::NwSrc, Field::NwDst, ty] {
            self.written |= field.into();
        }
    }

    /// Whether any header was written.
    #[must_use]
    pub fn is_written(&self) -> bool {
        self.written != FlowMask::NONE
    }

    /// Reads the small facts whole.
    pub fn class(&mut self) -> Class {
        for field in
            [Field::EthType, Field::Fragment, Field::Ttl, Field::Tcp, Field::NeighborDiscovery]
        {
            self.trace(field);
        }
        self.headers.class
    }

    /// Reads what the connection table says.
    pub fn conn(&mut self) -> Conn {
        self.trace(Field::Conn);
        self.headers.conn
    }

    /// Everything at once, read whole: for the packet walk's printout and packets of our own, not
    /// for decisions.
    #[must_use]
    pub const fn headers(&self) -> &FlowKey {
        &self.headers
    }

    /// Only what arrived can be matched by a flow: a value the walk wrote itself leaves no trace.
    fn trace(&mut self, field: Field) {
        if !self.written.contains(field) {
            self.read |= field.into();
        }
    }
}

/// Whether the first `len` bits agree.
fn begins(addr: Ipv6Addr, prefix: Ipv6Addr, len: u8) -> bool {
    let mask = u128::MAX.checked_shl(128 - u32::from(len)).unwrap_or(0);
    (addr.to_bits() ^ prefix.to_bits()) & mask == 0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_header_the_walk_wrote_itself_leaves_no_trace() {
        let mut packet = TracedPacket::arriving(FlowKey::default());
        packet.set_eth_dst(Mac::BROADCAST);
        assert_eq!(packet.eth_dst(), Mac::BROADCAST);
        packet.eth_src();
        let trace = packet.leave();
        assert_eq!((trace.read, trace.written), (Field::EthSrc.into(), Field::EthDst.into()));
    }

    #[test]
    fn ports_mean_nothing_without_the_headers_before_them() {
        let mut packet = TracedPacket::arriving(FlowKey::default());
        packet.tp_dst();
        let read = packet.leave().read;
        assert!(
            [Field::EthType, Field::NwProto, Field::Fragment, Field::TpDst]
                .iter()
                .all(|field| read.contains(*field))
        );
    }

    #[test]
    fn a_prefix_reads_as_many_bits_as_it_has() {
        let mut packet = TracedPacket::arriving(FlowKey::default());
        packet.nw_dst_begins(Ipv6Addr::UNSPECIFIED, 104);
        packet.nw_dst_begins(Ipv6Addr::UNSPECIFIED, 120);
        assert_eq!(packet.leave().read.nw_dst_len(), 120);
    }
}
