//! Which headers a flow matches.

use core::fmt;
use core::net::Ipv6Addr;
use core::ops::{BitOr, BitOrAssign};

use mn_packet::{EtherType, IpProtocol, Mac, VlanTag};

use crate::{Class, Conn, FlowKey, Fragment, PortNo, TcpClass};

/// One header a flow can match or set.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
#[repr(u8)]
pub enum Field {
    InPort,
    TunKey,
    TunSrc,
    EthDst,
    EthSrc,
    EthType,
    Vlan,
    InnerVlan,
    NwSrc,
    NwDst,
    NwProto,
    NwTos,
    /// The fragment bits of the class.
    Fragment,
    /// The TTL bit of the class.
    Ttl,
    /// The TCP bits of the class.
    Tcp,
    /// Of these the one that tells FIN and RST from the rest.
    TcpEnds,
    /// The neighbour discovery bit of the class.
    NeighborDiscovery,
    Conn,
    TpSrc,
    TpDst,
}

impl Field {
    /// Every field, in the order of the key.
    pub const ALL: [Self; 20] = [
        Self::InPort,
        Self::TunKey,
        Self::TunSrc,
        Self::EthDst,
        Self::EthSrc,
        Self::EthType,
        Self::Vlan,
        Self::InnerVlan,
        Self::NwSrc,
        Self::NwDst,
        Self::NwProto,
        Self::NwTos,
        Self::Fragment,
        Self::Ttl,
        Self::Tcp,
        Self::TcpEnds,
        Self::NeighborDiscovery,
        Self::Conn,
        Self::TpSrc,
        Self::TpDst,
    ];
}

/// A set of fields; of `nw_src` and `nw_dst` it may hold the first bits alone. Where `Tcp` is in it,
/// so is `TcpEnds`.
#[derive(Clone, Copy, Default, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct FlowMask {
    fields: u32,
    /// Bits of the 128 of `nw_src`; 0 exactly when the field is not in the set.
    nw_src_len: u8,
    nw_dst_len: u8,
}

impl FlowMask {
    /// No field: every packet matches.
    pub const NONE: Self = Self { fields: 0, nw_src_len: 0, nw_dst_len: 0 };

    /// Every field whole.
    #[must_use]
    pub fn all() -> Self {
        Field::ALL.into_iter().fold(Self::NONE, |mask, field| mask | field.into())
    }

    /// The set with the first `len` of the 128 bits of the source address.
    #[must_use]
    pub const fn nw_src(len: u8) -> Self {
        Self {
            fields: if len > 0 { 1 << Field::NwSrc as u8 } else { 0 },
            nw_src_len: len,
            nw_dst_len: 0,
        }
    }

    /// The set with the first `len` of the 128 bits of the destination address.
    #[must_use]
    pub const fn nw_dst(len: u8) -> Self {
        Self {
            fields: if len > 0 { 1 << Field::NwDst as u8 } else { 0 },
            nw_src_len: 0,
            nw_dst_len: len,
        }
    }

    /// Whether the field is in the set, be it with some bits only.
    #[must_use]
    pub const fn contains(self, field: Field) -> bool {
        self.fields & 1 << field as u8 != 0
    }

    /// How many of the 128 bits of the source address are in the set.
    #[must_use]
    pub const fn nw_src_len(self) -> u8 {
        self.nw_src_len
    }

    /// How many of the 128 bits of the destination address are in the set.
    #[must_use]
    pub const fn nw_dst_len(self) -> u8 {
        self.nw_dst_len
    }

    /// The fields in the set, but for those that another is a part of.
    pub fn fields(self) -> impl Iterator<Item = Field> {
        let part = move |field| field == Field::TcpEnds && self.contains(Field::Tcp);
        Field::ALL.into_iter().filter(move |field| self.contains(*field) && !part(*field))
    }

    /// The key with every field and bit outside this set zeroed: two packets meet in one flow of
    /// this mask exactly when these are equal.
    #[must_use]
    pub fn apply(self, key: &FlowKey) -> FlowKey {
        let has = |field| self.contains(field);
        let class = Class {
            fragment: if has(Field::Fragment) { key.class.fragment } else { Fragment::None },
            ttl_spent: has(Field::Ttl) && key.class.ttl_spent,
            tcp: match key.class.tcp {
                class if has(Field::Tcp) => class,
                // What the two have in common, as a number.
                TcpClass::Fin | TcpClass::Rst if has(Field::TcpEnds) => TcpClass::Fin,
                _ => TcpClass::Other,
            },
            neighbor_discovery: has(Field::NeighborDiscovery) && key.class.neighbor_discovery,
        };
        FlowKey {
            in_port: if has(Field::InPort) { key.in_port } else { PortNo::NONE },
            tun_key: if has(Field::TunKey) { key.tun_key } else { 0 },
            tun_src: if has(Field::TunSrc) { key.tun_src } else { Ipv6Addr::UNSPECIFIED },
            eth_dst: if has(Field::EthDst) { key.eth_dst } else { Mac::ZERO },
            eth_src: if has(Field::EthSrc) { key.eth_src } else { Mac::ZERO },
            eth_type: if has(Field::EthType) { key.eth_type } else { EtherType(0) },
            vlan: if has(Field::Vlan) { key.vlan } else { VlanTag::NONE },
            inner_vlan: if has(Field::InnerVlan) { key.inner_vlan } else { VlanTag::NONE },
            nw_src: first_bits(key.nw_src, self.nw_src_len),
            nw_dst: first_bits(key.nw_dst, self.nw_dst_len),
            nw_proto: if has(Field::NwProto) { key.nw_proto } else { IpProtocol(0) },
            nw_tos: if has(Field::NwTos) { key.nw_tos } else { 0 },
            class,
            conn: if has(Field::Conn) { key.conn } else { Conn::None },
            tp_src: if has(Field::TpSrc) { key.tp_src } else { 0 },
            tp_dst: if has(Field::TpDst) { key.tp_dst } else { 0 },
        }
    }

    /// Whether every field and bit of `other` is in this set.
    #[must_use]
    pub fn covers(self, other: Self) -> bool {
        self | other == self
    }
}

/// The first `len` bits; the others zero.
fn first_bits(addr: Ipv6Addr, len: u8) -> Ipv6Addr {
    let mask = u128::MAX.checked_shl(128 - u32::from(len)).unwrap_or(0);
    Ipv6Addr::from_bits(addr.to_bits() & mask)
}

impl From<Field> for FlowMask {
    fn from(field: Field) -> Self {
        let len = |this| if field == this { 128 } else { 0 };
        let part = if field == Field::Tcp { 1 << Field::TcpEnds as u8 } else { 0 };
        Self {
            fields: 1 << field as u8 | part,
            nw_src_len: len(Field::NwSrc),
            nw_dst_len: len(Field::NwDst),
        }
    }
}

impl BitOr for FlowMask {
    type Output = Self;

    fn bitor(self, other: Self) -> Self {
        Self {
            fields: self.fields | other.fields,
            nw_src_len: self.nw_src_len.max(other.nw_src_len),
            nw_dst_len: self.nw_dst_len.max(other.nw_dst_len),
        }
    }
}

impl BitOrAssign for FlowMask {
    fn bitor_assign(&mut self, other: Self) {
        *self = *self | other;
    }
}

impl fmt::Debug for FlowMask {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut set = f.debug_set();
        for field in self.fields() {
            match field {
                Field::NwSrc => set.entry(&format_args!("NwSrc/{}", self.nw_src_len)),
                Field::NwDst => set.entry(&format_args!("NwDst/{}", self.nw_dst_len)),
                other => set.entry(&other),
            };
        }
        set.finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_masked_key_has_what_the_mask_names_and_nothing_else() {
        let key = FlowKey {
            in_port: PortNo(7),
            eth_dst: Mac::BROADCAST,
            nw_dst: "2001:db8::1".parse().unwrap(),
            class: Class { ttl_spent: true, tcp: TcpClass::Syn, ..Class::default() },
            tp_dst: 80,
            ..FlowKey::default()
        };
        let mask = FlowMask::from(Field::InPort) | Field::Tcp.into() | FlowMask::nw_dst(32);
        let expected = FlowKey {
            in_port: PortNo(7),
            nw_dst: "2001:db8::".parse().unwrap(),
            class: Class { tcp: TcpClass::Syn, ..Class::default() },
            ..FlowKey::default()
        };
        assert_eq!(mask.apply(&key), expected);
        assert_eq!(FlowMask::all().apply(&key), key);
        assert_eq!(FlowMask::NONE.apply(&key), FlowKey::default());
    }

    #[test]
    fn what_ends_a_connection_is_told_from_the_rest_and_not_from_each_other() {
        let ends = FlowMask::from(Field::TcpEnds);
        let masked = |tcp| {
            let class = Class { tcp, ..Class::default() };
            ends.apply(&FlowKey { class, ..FlowKey::default() })
        };
        assert_eq!(masked(TcpClass::Syn), masked(TcpClass::Other));
        assert_eq!(masked(TcpClass::Fin), masked(TcpClass::Rst));
        assert_ne!(masked(TcpClass::Fin), masked(TcpClass::Other));
        // It is what the datapath does with the octet.
        for tcp in [TcpClass::Other, TcpClass::Syn, TcpClass::Fin, TcpClass::Rst] {
            let octet = Class { tcp, ..Class::default() }.octet();
            assert_eq!(masked(tcp).class.octet(), octet & Class::TCP_ENDS);
        }
        let whole = FlowMask::from(Field::Tcp);
        assert!(whole.covers(ends) && !ends.covers(whole));
        assert_eq!(whole.fields().collect::<Vec<_>>(), [Field::Tcp]);
        assert_eq!(ends.fields().collect::<Vec<_>>(), [Field::TcpEnds]);
    }
}
