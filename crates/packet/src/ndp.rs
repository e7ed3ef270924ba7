//! Neighbour discovery for IPv6 (RFC 4861).

use core::net::{IpAddr, Ipv6Addr};

use crate::wire::{take, take_len};
use crate::{EtherType, EthernetHeader, IcmpHeader, IpProtocol, Mac, WireError, ip_packet};

/// All nodes of a link.
pub const ALL_NODES: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 1);
/// All routers of a link.
pub const ALL_ROUTERS: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 2);

pub const ROUTER_SOLICITATION: u8 = 133;
pub const ROUTER_ADVERTISEMENT: u8 = 134;
pub const NEIGHBOR_SOLICITATION: u8 = 135;
pub const NEIGHBOR_ADVERTISEMENT: u8 = 136;

/// The hop limit of every message: no router has passed it on (RFC 4861 §3.1).
pub const HOP_LIMIT: u8 = 255;

const OPTION_SOURCE_MAC: u8 = 1;
const OPTION_TARGET_MAC: u8 = 2;
const OPTION_PREFIX: u8 = 3;
const OPTION_MTU: u8 = 5;

/// The group that hosts with this address listen to for solicitations (RFC 4291 §2.7.1).
#[must_use]
pub const fn solicited_node(addr: Ipv6Addr) -> Ipv6Addr {
    let [.., a, b, c] = addr.octets();
    Ipv6Addr::from_octets([0xff, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0xff, a, b, c])
}

/// The MAC that frames to an IPv6 group go to (RFC 2464 §7).
#[must_use]
pub const fn multicast_mac(group: Ipv6Addr) -> Mac {
    let [.., a, b, c, d] = group.octets();
    Mac([0x33, 0x33, a, b, c, d])
}

/// The link-local address of an interface with this MAC (RFC 4291 appendix A).
#[must_use]
pub const fn link_local(mac: Mac) -> Ipv6Addr {
    let [a, b, c, d, e, f] = mac.0;
    Ipv6Addr::from_octets([0xfe, 0x80, 0, 0, 0, 0, 0, 0, a ^ 2, b, c, 0xff, 0xfe, d, e, f])
}

/// A message of neighbour discovery; options that are not named are left out.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum NdMessage {
    RouterSolicitation {
        source_mac: Option<Mac>,
    },
    RouterAdvertisement(RouterAdvertisement),
    NeighborSolicitation {
        target: Ipv6Addr,
        /// Absent where an address is checked for duplicates.
        source_mac: Option<Mac>,
    },
    NeighborAdvertisement(NeighborAdvertisement),
}

/// Says where an address is.
///
/// ```text
/// |R|S|O|                     Reserved                            |
/// |                       Target Address (16)                     |
/// ```
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct NeighborAdvertisement {
    pub target: Ipv6Addr,
    /// The sender is a router.
    pub router: bool,
    /// It answers a solicitation.
    pub solicited: bool,
    /// It replaces what the receiver knew.
    pub overrides: bool,
    pub target_mac: Option<Mac>,
}

/// Says that a router is there, and what its link is like.
///
/// ```text
/// | Cur Hop Limit |M|O|  Reserved |       Router Lifetime         |
/// |                         Reachable Time                        |
/// |                          Retrans Timer                        |
/// ```
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct RouterAdvertisement {
    /// 0: not said.
    pub hop_limit: u8,
    /// Addresses come from DHCPv6.
    pub managed: bool,
    /// Other configuration comes from DHCPv6.
    pub other: bool,
    /// Seconds it serves as default router; 0: it does not.
    pub lifetime: u16,
    /// Milliseconds a neighbour is taken to be reachable; 0: not said.
    pub reachable_ms: u32,
    /// Milliseconds between solicitations; 0: not said.
    pub retrans_ms: u32,
    pub source_mac: Option<Mac>,
    pub mtu: Option<u32>,
    pub prefixes: Vec<PrefixInformation>,
}

/// A prefix of a link (RFC 4861 §4.6.2).
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct PrefixInformation {
    pub prefix: Ipv6Addr,
    /// Bits of `prefix`, at most 128.
    pub len: u8,
    /// Its addresses are on this link.
    pub on_link: bool,
    /// Hosts make addresses from it.
    pub autonomous: bool,
    /// Seconds; all ones: for ever.
    pub valid: u32,
    /// Seconds; all ones: for ever.
    pub preferred: u32,
}

impl NdMessage {
    /// Reads an ICMPv6 message; `None` where its type is not one of the four.
    ///
    /// What RFC 4861 §6.1 and §7.1 ask of the message itself is checked: code 0, its length, no
    /// option of length 0, a target that is no group. The hop limit and the checksum are not.
    ///
    /// # Errors
    ///
    /// [`WireError::Truncated`] where it ends inside a field or an option;
    /// [`WireError::Malformed`] for what else is wrong.
    pub fn parse(message: &[u8]) -> Result<Option<Self>, WireError> {
        const HEADER: &str = "neighbour discovery message";
        let Some(&ty @ ROUTER_SOLICITATION..=NEIGHBOR_ADVERTISEMENT) = message.first() else {
            return Ok(None);
        };
        let (header, body) = IcmpHeader::split(message)?;
        if header.code != 0 {
            return Err(WireError::malformed(HEADER, "its code is not 0"));
        }
        let target = || {
            let (target, rest) = take::<16>(body, HEADER)?;
            let target = Ipv6Addr::from_octets(*target);
            if target.is_multicast() {
                return Err(WireError::malformed(HEADER, "its target is a group"));
            }
            Ok((target, rest))
        };
        Ok(Some(match ty {
            ROUTER_SOLICITATION => {
                Self::RouterSolicitation { source_mac: Options::parse(body)?.source_mac }
            }
            ROUTER_ADVERTISEMENT => {
                Self::RouterAdvertisement(RouterAdvertisement::parse(header.rest, body)?)
            }
            NEIGHBOR_SOLICITATION => {
                let (target, rest) = target()?;
                Self::NeighborSolicitation { target, source_mac: Options::parse(rest)?.source_mac }
            }
            _ => {
                let (target, rest) = target()?;
                let [flags, ..] = header.rest;
                Self::NeighborAdvertisement(NeighborAdvertisement {
                    target,
                    router: flags & 0x80 != 0,
                    solicited: flags & 0x40 != 0,
                    overrides: flags & 0x20 != 0,
                    target_mac: Options::parse(rest)?.target_mac,
                })
            }
        }))
    }

    /// The ICMPv6 message between two addresses, checksum included.
    #[must_use]
    pub fn message(&self, src: Ipv6Addr, dst: Ipv6Addr) -> Vec<u8> {
        let mut body = Vec::with_capacity(64);
        let mut rest = [0; 4];
        let ty = match self {
            Self::RouterSolicitation { source_mac } => {
                emit_mac(&mut body, OPTION_SOURCE_MAC, *source_mac);
                ROUTER_SOLICITATION
            }
            Self::RouterAdvertisement(advertisement) => {
                rest = advertisement.emit(&mut body);
                ROUTER_ADVERTISEMENT
            }
            Self::NeighborSolicitation { target, source_mac } => {
                body.extend_from_slice(&target.octets());
                emit_mac(&mut body, OPTION_SOURCE_MAC, *source_mac);
                NEIGHBOR_SOLICITATION
            }
            Self::NeighborAdvertisement(advertisement) => {
                rest[0] = advertisement.flags();
                body.extend_from_slice(&advertisement.target.octets());
                emit_mac(&mut body, OPTION_TARGET_MAC, advertisement.target_mac);
                NEIGHBOR_ADVERTISEMENT
            }
        };
        IcmpHeader { ty, code: 0, rest }.message(src.into(), dst.into(), &body)
    }

    /// The frame with this message, hop limit 255, in this Ethernet header (its type is set here).
    #[must_use]
    pub fn frame(&self, ethernet: &EthernetHeader, src: Ipv6Addr, dst: Ipv6Addr) -> Vec<u8> {
        let message = self.message(src, dst);
        let (src, dst): (IpAddr, IpAddr) = (src.into(), dst.into());
        let packet = ip_packet(src, dst, HOP_LIMIT, IpProtocol::ICMPV6, &message);
        EthernetHeader { eth_type: EtherType::IPV6, ..*ethernet }.frame(&packet)
    }
}

/// The frame that asks all who may have `target` for its MAC.
#[must_use]
pub fn solicit(mac: Mac, src: Ipv6Addr, target: Ipv6Addr) -> Vec<u8> {
    let group = solicited_node(target);
    let ethernet = EthernetHeader::untagged(mac, multicast_mac(group), EtherType::IPV6);
    NdMessage::NeighborSolicitation { target, source_mac: Some(mac) }.frame(&ethernet, src, group)
}

/// The frame that answers a solicitation for `target`, which came from `asker` in a frame with the
/// header `asked`: it is at `mac`.
///
/// A solicitation from the unspecified address checks for duplicates: all nodes are told, and it
/// counts as unsolicited (RFC 4861 §7.2.4).
#[must_use]
pub fn advertise(
    asked: &EthernetHeader,
    asker: Ipv6Addr,
    target: Ipv6Addr,
    mac: Mac,
    router: bool,
) -> Vec<u8> {
    let ethernet = asked.reply_from(mac);
    let solicited = !asker.is_unspecified();
    let advertisement =
        NeighborAdvertisement { target, router, solicited, overrides: true, target_mac: Some(mac) };
    let message = NdMessage::NeighborAdvertisement(advertisement);
    if solicited {
        message.frame(&ethernet, target, asker)
    } else {
        let ethernet = EthernetHeader { dst: multicast_mac(ALL_NODES), ..ethernet };
        message.frame(&ethernet, target, ALL_NODES)
    }
}

/// The frame that tells all nodes, unasked, that `addr` is at `mac` (RFC 4861 §7.2.6).
#[must_use]
pub fn announce(mac: Mac, addr: Ipv6Addr, router: bool) -> Vec<u8> {
    let ethernet = EthernetHeader::untagged(mac, multicast_mac(ALL_NODES), EtherType::IPV6);
    NdMessage::NeighborAdvertisement(NeighborAdvertisement {
        target: addr,
        router,
        solicited: false,
        overrides: true,
        target_mac: Some(mac),
    })
    .frame(&ethernet, addr, ALL_NODES)
}

impl NeighborAdvertisement {
    fn flags(&self) -> u8 {
        u8::from(self.router) << 7 | u8::from(self.solicited) << 6 | u8::from(self.overrides) << 5
    }
}

impl RouterAdvertisement {
    fn parse(rest: [u8; 4], body: &[u8]) -> Result<Self, WireError> {
        let [hop_limit, flags, l0, l1] = rest;
        let (times, options) = take::<8>(body, "router advertisement")?;
        let [r0, r1, r2, r3, t0, t1, t2, t3] = *times;
        let options = Options::parse(options)?;
        Ok(Self {
            hop_limit,
            managed: flags & 0x80 != 0,
            other: flags & 0x40 != 0,
            lifetime: u16::from_be_bytes([l0, l1]),
            reachable_ms: u32::from_be_bytes([r0, r1, r2, r3]),
            retrans_ms: u32::from_be_bytes([t0, t1, t2, t3]),
            source_mac: options.source_mac,
            mtu: options.mtu,
            prefixes: options.prefixes,
        })
    }

    /// Appends what follows the first 8 octets; returns the last four of those.
    fn emit(&self, body: &mut Vec<u8>) -> [u8; 4] {
        body.extend_from_slice(&self.reachable_ms.to_be_bytes());
        body.extend_from_slice(&self.retrans_ms.to_be_bytes());
        emit_mac(body, OPTION_SOURCE_MAC, self.source_mac);
        if let Some(mtu) = self.mtu {
            body.extend_from_slice(&[OPTION_MTU, 1, 0, 0]);
            body.extend_from_slice(&mtu.to_be_bytes());
        }
        for prefix in &self.prefixes {
            prefix.emit(body);
        }
        let flags = u8::from(self.managed) << 7 | u8::from(self.other) << 6;
        let [l0, l1] = self.lifetime.to_be_bytes();
        [self.hop_limit, flags, l0, l1]
    }

    /// The frame from `mac` and its link-local address: to all nodes, or to `to` alone.
    #[must_use]
    pub fn frame(&self, mac: Mac, to: Option<(Mac, Ipv6Addr)>) -> Vec<u8> {
        let (dst_mac, dst) = to.unwrap_or((multicast_mac(ALL_NODES), ALL_NODES));
        let ethernet = EthernetHeader::untagged(mac, dst_mac, EtherType::IPV6);
        NdMessage::RouterAdvertisement(self.clone()).frame(&ethernet, link_local(mac), dst)
    }
}

impl PrefixInformation {
    fn parse(option: &[u8; 32]) -> Result<Self, WireError> {
        let [_, _, len, flags, v0, v1, v2, v3, p0, p1, p2, p3, _, _, _, _, prefix @ ..] = *option;
        if len > 128 {
            return Err(WireError::malformed("prefix information", "longer than 128 bits"));
        }
        Ok(Self {
            prefix: Ipv6Addr::from_octets(prefix),
            len,
            on_link: flags & 0x80 != 0,
            autonomous: flags & 0x40 != 0,
            valid: u32::from_be_bytes([v0, v1, v2, v3]),
            preferred: u32::from_be_bytes([p0, p1, p2, p3]),
        })
    }

    fn emit(&self, out: &mut Vec<u8>) {
        let flags = u8::from(self.on_link) << 7 | u8::from(self.autonomous) << 6;
        out.extend_from_slice(&[OPTION_PREFIX, 4, self.len, flags]);
        out.extend_from_slice(&self.valid.to_be_bytes());
        out.extend_from_slice(&self.preferred.to_be_bytes());
        out.extend_from_slice(&[0; 4]);
        out.extend_from_slice(&self.prefix.octets());
    }
}

/// The options we know; of one that comes twice the first counts, of prefixes all.
#[derive(Default)]
struct Options {
    source_mac: Option<Mac>,
    target_mac: Option<Mac>,
    mtu: Option<u32>,
    prefixes: Vec<PrefixInformation>,
}

impl Options {
    /// Reads options: type, length in units of 8 octets, value. Unknown ones are passed over, known
    /// ones of another length too.
    fn parse(mut octets: &[u8]) -> Result<Self, WireError> {
        const HEADER: &str = "neighbour discovery option";
        let mut options = Self::default();
        while !octets.is_empty() {
            let (&[ty, units], _) = take::<2>(octets, HEADER)?;
            if units == 0 {
                return Err(WireError::malformed(HEADER, "its length is 0"));
            }
            let (option, rest) = take_len(octets, usize::from(units) * 8, HEADER)?;
            octets = rest;
            match (ty, option) {
                (OPTION_SOURCE_MAC, [_, _, mac @ ..]) => note_mac(&mut options.source_mac, mac),
                (OPTION_TARGET_MAC, [_, _, mac @ ..]) => note_mac(&mut options.target_mac, mac),
                (OPTION_MTU, &[_, _, _, _, a, b, c, d]) => {
                    options.mtu.get_or_insert(u32::from_be_bytes([a, b, c, d]));
                }
                (OPTION_PREFIX, option) => {
                    if let Ok(option) = option.try_into() {
                        options.prefixes.push(PrefixInformation::parse(option)?);
                    }
                }
                _ => {}
            }
        }
        Ok(options)
    }
}

/// Takes a MAC of an option in, if it has the length of one and none is known.
fn note_mac(known: &mut Option<Mac>, octets: &[u8]) {
    if let Ok(mac) = octets.try_into() {
        known.get_or_insert(Mac(mac));
    }
}

/// Appends a link-layer address option.
fn emit_mac(out: &mut Vec<u8>, option: u8, mac: Option<Mac>) {
    if let Some(mac) = mac {
        out.extend_from_slice(&[option, 1]);
        out.extend_from_slice(&mac.0);
    }
}

#[cfg(test)]
mod tests;
