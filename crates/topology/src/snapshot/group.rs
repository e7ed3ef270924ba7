//! Groups as sets.

use core::net::Ipv6Addr;

use mn_ids::PortId;
use mn_packet::to_v6;

use crate::object::{IpAddrGroup, PortGroup};

/// The members of a port group.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct PortSet(Box<[PortId]>);

impl PortSet {
    pub(super) fn of(group: &PortGroup) -> Self {
        Self(sorted(group.port_ids.iter().copied()))
    }

    /// Whether the port is a member.
    #[must_use]
    pub fn contains(&self, port: PortId) -> bool {
        self.0.binary_search(&port).is_ok()
    }
}

/// The addresses of an IP address group, as flow keys have them.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct AddrSet(Box<[Ipv6Addr]>);

impl AddrSet {
    pub(super) fn of(group: &IpAddrGroup) -> Self {
        Self(sorted(group.addrs.iter().map(|addr| to_v6(*addr))))
    }

    /// Whether the address is in the group.
    #[must_use]
    pub fn contains(&self, addr: Ipv6Addr) -> bool {
        self.0.binary_search(&addr).is_ok()
    }
}

fn sorted<T: Ord>(items: impl Iterator<Item = T>) -> Box<[T]> {
    let mut items: Vec<T> = items.collect();
    items.sort_unstable();
    items.dedup();
    items.into_boxed_slice()
}
