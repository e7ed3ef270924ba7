//! What a router's port advertises (RFC 4861 §6.2), and its answers to solicitations (§6.2.6).

use std::net::{IpAddr, Ipv6Addr};

use mn_packet::ndp::{PrefixInformation, RouterAdvertisement};
use mn_packet::{IpPrefix, Ipv6Header};
use mn_topology::{DeviceId, RaMode, RouterPort};

use crate::branch::Branch;
use crate::router::Inside;
use crate::simulate::Sim;
use crate::walk::Step;
use crate::{Limit, StateView};

/// For how many of the longest times between advertisements a router serves as default router:
/// the default of RFC 4861 §6.2.1.
const LIFETIME_INTERVALS: u16 = 3;
/// The longest that may be (RFC 4861 §6.2.1).
const LIFETIME_MAX: u16 = 9000;
/// Seconds a prefix is valid (RFC 4861 §6.2.1: 30 days).
const VALID_SECONDS: u32 = 2_592_000;
/// Seconds an address made from it is preferred (RFC 4861 §6.2.1: 7 days).
const PREFERRED_SECONDS: u32 = 604_800;
/// The hop limit that hosts are told to use.
const HOP_LIMIT: u8 = 64;

impl<S: StateView + ?Sized> Sim<'_, S> {
    /// Answers a router solicitation, where the port advertises.
    pub(crate) fn advertise(&mut self, branch: &Branch, inside: Inside<'_>, asker: Ipv6Addr) {
        let Some(advertisement) = router_advertisement(inside.port, self.inputs.mtu) else {
            return;
        };
        let to = (!asker.is_unspecified()).then_some((branch.entered.src, asker));
        let frame = advertisement.frame(inside.port.mac, to);
        let device = DeviceId::Router(inside.port.router_id);
        self.note(|| Step::Answered { device, with: "router advertisement".to_owned() });
        self.emit(inside.id, frame, Limit::Answer);
    }
}

/// What a router's port tells hosts, if it advertises; `mtu` is as in [`crate::Inputs`]. With no
/// address of its own the link still has a default router, its link-local address.
#[must_use]
pub fn router_advertisement(port: &RouterPort, mtu: u32) -> Option<RouterAdvertisement> {
    if port.ra_mode.is_off() {
        return None;
    }
    let own: Vec<IpPrefix> = port.addresses.iter().filter_map(|own| own.subnet()).collect();
    let prefixes = if port.ra_prefixes.is_empty() { &own } else { &port.ra_prefixes };
    Some(RouterAdvertisement {
        hop_limit: HOP_LIMIT,
        managed: port.ra_mode == RaMode::DhcpStateful,
        other: matches!(port.ra_mode, RaMode::DhcpStateful | RaMode::DhcpStateless),
        lifetime: (port.ra_interval_seconds() * LIFETIME_INTERVALS).min(LIFETIME_MAX),
        reachable_ms: 0,
        retrans_ms: 0,
        source_mac: Some(port.mac),
        mtu: (mtu >= Ipv6Header::MTU_MIN).then_some(mtu),
        prefixes: prefixes.iter().filter_map(|prefix| information(port.ra_mode, prefix)).collect(),
    })
}

fn information(mode: RaMode, prefix: &IpPrefix) -> Option<PrefixInformation> {
    let IpAddr::V6(network) = prefix.network() else { return None };
    Some(PrefixInformation {
        prefix: network,
        len: prefix.len(),
        on_link: true,
        autonomous: mode != RaMode::DhcpStateful,
        valid: VALID_SECONDS,
        preferred: PREFERRED_SECONDS,
    })
}
