//! Flow keys and masks between the agent's values and the programs' octets.

use std::net::Ipv6Addr;

use mn_datapath_abi::{FlowKey as AbiKey, limits::KEY_WORDS};
use mn_flow::{Class, Conn, Field, FlowKey, FlowMask, PortNo};
use mn_packet::{EtherType, IpProtocol, Mac, VlanTag};

/// The octets of a key.
pub fn to_abi(key: &FlowKey) -> AbiKey {
    AbiKey {
        in_port: key.in_port.0,
        tun_key: key.tun_key,
        tun_src: key.tun_src.octets(),
        eth_dst: key.eth_dst.0,
        eth_type: key.eth_type.0.to_be_bytes(),
        eth_src: key.eth_src.0,
        vlan: key.vlan.key().to_be_bytes(),
        nw_src: key.nw_src.octets(),
        nw_dst: key.nw_dst.octets(),
        inner_vlan: key.inner_vlan.key().to_be_bytes(),
        nw_proto: key.nw_proto.0,
        nw_tos: key.nw_tos,
        class: key.class.octet(),
        conn: key.conn as u8,
        tp_src: key.tp_src.to_be_bytes(),
        tp_dst: key.tp_dst.to_be_bytes(),
        zero: [0; 6],
    }
}

/// The key of these octets; `None` where no packet has such a key.
pub fn from_abi(key: &AbiKey) -> Option<FlowKey> {
    Some(FlowKey {
        in_port: PortNo(key.in_port),
        tun_key: key.tun_key,
        tun_src: Ipv6Addr::from_octets(key.tun_src),
        eth_dst: Mac(key.eth_dst),
        eth_src: Mac(key.eth_src),
        eth_type: EtherType(u16::from_be_bytes(key.eth_type)),
        vlan: VlanTag::from_key(u16::from_be_bytes(key.vlan)),
        inner_vlan: VlanTag::from_key(u16::from_be_bytes(key.inner_vlan)),
        nw_src: Ipv6Addr::from_octets(key.nw_src),
        nw_dst: Ipv6Addr::from_octets(key.nw_dst),
        nw_proto: IpProtocol(key.nw_proto),
        nw_tos: key.nw_tos,
        class: Class::from_octet(key.class)?,
        conn: match key.conn {
            0 => Conn::None,
            1 => Conn::Forward,
            2 => Conn::Return,
            _ => return None,
        },
        tp_src: u16::from_be_bytes(key.tp_src),
        tp_dst: u16::from_be_bytes(key.tp_dst),
    })
}

/// The bits of the octet `class` that a field has.
const fn class_bits(field: Field) -> u8 {
    match field {
        Field::Fragment => Class::FRAGMENT,
        Field::Ttl => Class::TTL,
        Field::Tcp => Class::TCP,
        Field::TcpEnds => Class::TCP_ENDS,
        Field::NeighborDiscovery => Class::ND,
        _ => 0,
    }
}

/// The mask as octets: ones where a key must match.
pub fn mask_to_abi(mask: FlowMask) -> AbiKey {
    let mut out = AbiKey::default();
    for field in mask.fields() {
        match field {
            Field::InPort => out.in_port = u32::MAX,
            Field::TunKey => out.tun_key = u32::MAX,
            Field::TunSrc => out.tun_src = [0xff; 16],
            Field::EthDst => out.eth_dst = [0xff; 6],
            Field::EthSrc => out.eth_src = [0xff; 6],
            Field::EthType => out.eth_type = [0xff; 2],
            Field::Vlan => out.vlan = [0xff; 2],
            Field::InnerVlan => out.inner_vlan = [0xff; 2],
            Field::NwSrc => out.nw_src = prefix(mask.nw_src_len()),
            Field::NwDst => out.nw_dst = prefix(mask.nw_dst_len()),
            Field::NwProto => out.nw_proto = 0xff,
            Field::NwTos => out.nw_tos = 0xff,
            Field::Fragment
            | Field::Ttl
            | Field::Tcp
            | Field::TcpEnds
            | Field::NeighborDiscovery => out.class |= class_bits(field),
            Field::Conn => out.conn = 0xff,
            Field::TpSrc => out.tp_src = [0xff; 2],
            Field::TpDst => out.tp_dst = [0xff; 2],
        }
    }
    out
}

/// The mask of these octets.
pub fn mask_from_abi(octets: &AbiKey) -> FlowMask {
    let mut mask =
        FlowMask::nw_src(prefix_len(octets.nw_src)) | FlowMask::nw_dst(prefix_len(octets.nw_dst));
    for field in Field::ALL {
        let set = match field {
            Field::InPort => octets.in_port != 0,
            Field::TunKey => octets.tun_key != 0,
            Field::TunSrc => octets.tun_src[0] != 0,
            Field::EthDst => octets.eth_dst[0] != 0,
            Field::EthSrc => octets.eth_src[0] != 0,
            Field::EthType => octets.eth_type[0] != 0,
            Field::Vlan => octets.vlan[0] != 0,
            Field::InnerVlan => octets.inner_vlan[0] != 0,
            // Their lengths are there already.
            Field::NwSrc | Field::NwDst => false,
            Field::NwProto => octets.nw_proto != 0,
            Field::NwTos => octets.nw_tos != 0,
            Field::Fragment
            | Field::Ttl
            | Field::Tcp
            | Field::TcpEnds
            | Field::NeighborDiscovery => octets.class & class_bits(field) == class_bits(field),
            Field::Conn => octets.conn != 0,
            Field::TpSrc => octets.tp_src[0] != 0,
            Field::TpDst => octets.tp_dst[0] != 0,
        };
        if set {
            mask |= field.into();
        }
    }
    mask
}

/// So many ones, then zeros.
fn prefix(len: u8) -> [u8; 16] {
    u128::MAX.checked_shl(128 - u32::from(len)).unwrap_or(0).to_be_bytes()
}

fn prefix_len(octets: [u8; 16]) -> u8 {
    u8::try_from(u128::from_be_bytes(octets).leading_ones()).unwrap_or(128)
}

/// The words of a key that a mask leaves.
pub fn masked(key: &[u64; KEY_WORDS], mask: &[u64; KEY_WORDS]) -> [u64; KEY_WORDS] {
    std::array::from_fn(|n| key[n] & mask[n])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_field_of_a_mask_and_every_prefix_comes_back() {
        for field in Field::ALL {
            let mask = FlowMask::from(field);
            assert_eq!(mask_from_abi(&mask_to_abi(mask)), mask);
        }
        for len in 0..=128 {
            let mask = FlowMask::nw_src(len) | FlowMask::nw_dst(128 - len);
            assert_eq!(mask_from_abi(&mask_to_abi(mask)), mask);
        }
        assert_eq!(mask_from_abi(&mask_to_abi(FlowMask::all())), FlowMask::all());
    }

    #[test]
    fn a_key_comes_back() {
        let key = FlowKey {
            in_port: PortNo(17),
            tun_key: 0x20_0005,
            tun_src: Ipv6Addr::LOCALHOST,
            eth_dst: Mac([1, 2, 3, 4, 5, 6]),
            eth_src: Mac::BROADCAST,
            eth_type: EtherType::IPV6,
            vlan: VlanTag::from_wire(7),
            inner_vlan: VlanTag::from_wire(8),
            nw_src: Ipv6Addr::from_bits(1 << 100),
            nw_dst: Ipv6Addr::from_bits(5),
            nw_proto: IpProtocol::TCP,
            nw_tos: 3,
            class: Class::from_octet(0b0000_1101).unwrap(),
            conn: Conn::Return,
            tp_src: 80,
            tp_dst: 443,
        };
        assert_eq!(from_abi(&to_abi(&key)), Some(key));
    }
}
