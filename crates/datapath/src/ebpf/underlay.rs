//! The network between hosts, as far as the programs know it: our addresses, the ways to peers.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::os::fd::BorrowedFd;
use std::sync::atomic::Ordering::Release;

use mn_datapath_abi::limits::LOCALS_MAX;
use mn_datapath_abi::{Plain, Route, Underlay as Table};
use mn_flow::PeerIndex;
use mn_packet::to_v6;
use nix::libc;

use super::links::{Hook, Links};
use super::netlink::{Netlink, NextHop};
use super::open::system;
use super::sys::{self, Shared};
use crate::{DatapathError, PeerAddresses};

/// What the programs need to make and to take tunnelled packets by themselves. Whatever is not
/// known here they leave to the kernel's device.
pub struct Underlay {
    table: Shared<Table>,
    routes: Shared<Route>,
    netlink: Netlink,
    peers: BTreeMap<PeerIndex, PeerAddresses>,
    /// The programs shall make and take tunnelled packets.
    enabled: bool,
}

impl Underlay {
    /// Says the UDP port of tunnels; without one the kernel makes and takes all tunnelled packets.
    pub fn open(
        table: BorrowedFd<'_>,
        routes: BorrowedFd<'_>,
        port: Option<u16>,
    ) -> Result<Self, DatapathError> {
        let table = Shared::<Table>::map(table).map_err(system("mmap of the underlay"))?;
        let mut value = table.read(0);
        value.port = port.map_or(0, u16::to_be);
        // The routes of an earlier agent may be old. They are looked up again with each peer.
        value.followed_at = 0;
        table.write(0, &value);
        Ok(Self {
            table,
            routes: Shared::map(routes).map_err(system("mmap of routes"))?,
            netlink: Netlink::open().map_err(system("netlink"))?,
            peers: BTreeMap::new(),
            enabled: port.is_some(),
        })
    }

    /// A peer's addresses are about to change: until they are set there is no way to it but the
    /// kernel's.
    pub fn forget_way(&self, peer: PeerIndex) {
        if (peer.0 as usize) < self.routes.len() {
            self.routes.half(peer.0 as usize, 0).store(0, Release);
        }
    }

    /// A peer's addresses are these now; the peer must be one there is room for.
    pub fn set_peer(&mut self, peer: PeerIndex, addresses: Option<PeerAddresses>) {
        match addresses {
            Some(addresses) => self.peers.insert(peer, addresses),
            None => self.peers.remove(&peer),
        };
        self.follow_one(peer, addresses);
    }

    /// Sets the addresses that tunnelled packets are taken for. Those of more than there is room
    /// for are left to the kernel's device.
    pub fn set_locals(&self, locals: &BTreeSet<[u8; 16]>) {
        let places = locals.iter().copied().chain(std::iter::repeat([0; 16]));
        for (place, address) in places.take(LOCALS_MAX).enumerate() {
            self.table.write_from(0, Table::LOCAL_AT + 16 * place, &address);
        }
    }

    /// Takes tunnelled packets from these interfaces and no others.
    pub fn set_interfaces(
        &self,
        links: &mut Links,
        interfaces: &[u32],
    ) -> Result<(), DatapathError> {
        let wanted: BTreeSet<u32> = interfaces.iter().copied().filter(|_| self.enabled).collect();
        for gone in links.attached(Hook::UnderlayIngress).difference(&wanted) {
            links.detach(Hook::UnderlayIngress, *gone);
        }
        // Also where it seems to be: an interface may have gone and come back with its number.
        wanted.iter().try_for_each(|ifindex| links.attach(Hook::UnderlayIngress, *ifindex))
    }

    /// Makes the routes those of the kernel.
    pub fn look_up(&self) {
        if !self.enabled {
            return;
        }
        for (peer, addresses) in &self.peers {
            self.follow_one(*peer, Some(*addresses));
        }
    }

    /// Says that the routes are those of the kernel.
    pub fn say_followed(&self) {
        if self.enabled {
            self.table.word(0, Table::FOLLOWED_AT).store(sys::monotonic_now(), Release);
        }
    }

    fn follow_one(&self, peer: PeerIndex, addresses: Option<PeerAddresses>) {
        let index = peer.0 as usize;
        let found = addresses.and_then(|both| self.netlink.next_hop(both.local, both.remote).ok());
        let route = found.flatten().map_or_else(Route::default, route_of);
        if self.routes.read(index) == route {
            return;
        }
        // None while it changes: the kernel's device knows the way, too.
        self.routes.half(index, 0).store(0, Release);
        self.routes.write_from(index, 8, &route.next_hop);
        self.routes.write_from(index, 0, &route.octets()[..8]);
    }
}

fn route_of(next_hop: NextHop) -> Route {
    let NextHop { ifindex, addr } = next_hop;
    let mut route = Route { ifindex, ..Route::default() };
    let family = match addr {
        IpAddr::V4(addr) => {
            route.next_hop[..4].copy_from_slice(&addr.octets());
            libc::AF_INET
        }
        IpAddr::V6(_) => {
            route.next_hop = to_v6(addr).octets();
            libc::AF_INET6
        }
    };
    route.family = u32::try_from(family).unwrap_or(0);
    route
}
