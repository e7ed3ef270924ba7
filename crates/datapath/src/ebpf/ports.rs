//! Ports: which interface each has, its limits and counters.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::Ordering::{Relaxed, Release};

use mn_datapath_abi::limits::{IFACES_DIRECT, PORTS_MAX, ZONES_MAX};
use mn_datapath_abi::{self as abi, Config, Iface, Plain, Port, PortStats, RateLimit};
use mn_flow::{PortNo, Zone};

use super::open::system;
use super::sys::{self, Shared};
use crate::{
    BroadcastLimit, Counters, DatapathError, Interface, PortBandwidth, PortCounters, UpcallLimit,
};

/// The tables of ports.
pub struct Ports {
    config: Arc<Shared<Config>>,
    ports: Shared<Port>,
    ifaces: Shared<Iface>,
    ifaces_more: OwnedFd,
    stats: OwnedFd,
    /// What was counted under an older version.
    before: Shared<PortStats>,
    broadcasts: Shared<RateLimit>,
    bandwidths: Shared<abi::PortBandwidth>,
    processors: usize,
    /// The smallest MTU of any tunnel.
    tunnel_mtu: u32,
}

/// The maps of [`Ports`].
pub struct PortMaps<'a> {
    pub ports: BorrowedFd<'a>,
    pub ifaces: BorrowedFd<'a>,
    pub ifaces_more: BorrowedFd<'a>,
    pub stats: BorrowedFd<'a>,
    pub before: BorrowedFd<'a>,
    pub broadcasts: BorrowedFd<'a>,
    pub bandwidths: BorrowedFd<'a>,
}

/// A limit without what its bucket holds.
const fn terms(way: abi::Bandwidth) -> (u64, u64) {
    (way.octet_time, way.burst_ns)
}

/// How many processors a value of each has.
pub fn processors() -> Result<usize, DatapathError> {
    aya::util::nr_cpus().map_err(|(path, source)| DatapathError::System {
        call: "counting processors",
        source: std::io::Error::new(source.kind(), format!("{path}: {source}")),
    })
}

impl Ports {
    pub fn open(config: Arc<Shared<Config>>, maps: &PortMaps<'_>) -> Result<Self, DatapathError> {
        let own = |fd: BorrowedFd<'_>| fd.try_clone_to_owned().map_err(system("dup"));
        Ok(Self {
            config,
            ports: Shared::map(maps.ports).map_err(system("mmap of ports"))?,
            ifaces: Shared::map(maps.ifaces).map_err(system("mmap of interfaces"))?,
            ifaces_more: own(maps.ifaces_more)?,
            stats: own(maps.stats)?,
            before: Shared::map(maps.before).map_err(system("mmap of earlier counters"))?,
            broadcasts: Shared::map(maps.broadcasts).map_err(system("mmap of limits"))?,
            bandwidths: Shared::map(maps.bandwidths).map_err(system("mmap of bandwidths"))?,
            processors: processors()?,
            tunnel_mtu: u32::MAX,
        })
    }

    /// Where a port is in its table.
    fn index(port: PortNo) -> Result<usize, DatapathError> {
        match port.0 as usize {
            index @ 0..PORTS_MAX if port != PortNo::NONE && port != PortNo::TUNNEL => Ok(index),
            _ => Err(DatapathError::Invalid(format!("port number {}", port.0))),
        }
    }

    /// Writes a port. Its program must be attached after.
    pub fn set(
        &mut self,
        port: PortNo,
        interface: Interface,
        limit: UpcallLimit,
    ) -> Result<(), DatapathError> {
        let index = Self::index(port)?;
        let old = self.ports.read(index);
        if old.ifindex != 0 && old.ifindex != interface.ifindex {
            self.forget_interface(old.ifindex, port)?;
        }
        let burst_ns = match limit.rate {
            0 => 0,
            rate => u64::from(limit.burst) * 1_000_000_000 / u64::from(rate),
        };
        let value = Port {
            ifindex: interface.ifindex,
            flags: if interface.peer_redirect { Port::PEER_REDIRECT } else { 0 },
            mtu: interface.mtu,
            rate: limit.rate,
            burst_ns,
            arrival_at: old.arrival_at,
            zone: old.zone,
            zero: 0,
        };
        self.ports.write(index, &value);
        self.learn_interface(interface.ifindex, port)?;
        self.update_mtu();
        Ok(())
    }

    /// Limits the frames to several receivers of an attached port.
    pub fn set_broadcast_limit(
        &self,
        port: PortNo,
        limit: BroadcastLimit,
    ) -> Result<(), DatapathError> {
        self.zone(port)?;
        let burst_ns = u64::from(limit.burst) * 1_000_000_000;
        let value = RateLimit {
            arrival_at: 0,
            burst_ns: burst_ns.checked_div(limit.rate.into()).unwrap_or(0),
            rate: limit.rate,
            zero: 0,
        };
        self.broadcasts.write(Self::index(port)?, &value);
        Ok(())
    }

    /// Says how much an attached port carries. What is as before is left alone, with its bucket: it
    /// may have been said by an earlier agent.
    pub fn set_bandwidth(
        &self,
        port: PortNo,
        bandwidth: PortBandwidth,
    ) -> Result<(), DatapathError> {
        self.zone(port)?;
        let index = Self::index(port)?;
        let mut value = self.bandwidths.read(index);
        let before = value;
        for (way, limit) in value.way.iter_mut().zip([bandwidth.sent, bandwidth.received]) {
            let (octet_time, burst_ns) = limit.times().unwrap_or_default();
            if (way.octet_time, way.burst_ns) != (octet_time, burst_ns) {
                *way = abi::Bandwidth { octet_time, burst_ns, ..abi::Bandwidth::default() };
            }
        }
        if value.way.map(terms) != before.way.map(terms) {
            self.bandwidths.write(index, &value);
        }
        Ok(())
    }

    /// Writes a port as an older version had it.
    pub fn restore(&mut self, port: PortNo, value: &Port) -> Result<(), DatapathError> {
        self.ports.write(Self::index(port)?, value);
        self.learn_interface(value.ifindex, port)?;
        self.update_mtu();
        Ok(())
    }

    /// Says what a port had counted under an older version.
    pub fn carry(&self, port: PortNo, stats: &PortStats) {
        let place = port.0 as usize;
        if place < self.before.len() {
            self.before.write(place, stats);
        }
    }

    /// Clears a port; its last counters.
    pub fn clear(&mut self, port: PortNo) -> Result<PortCounters, DatapathError> {
        let index = Self::index(port).unwrap_or(0);
        let old = self.ports.read(index);
        if old.ifindex == 0 {
            return Err(DatapathError::Missing(format!("port {}", port.0)));
        }
        self.forget_interface(old.ifindex, port)?;
        self.ports.half(index, Port::IFINDEX_AT).store(0, Release);
        self.ports.half(index, Port::ZONE_AT).store(0, Release);
        self.broadcasts.write(index, &RateLimit::default());
        self.bandwidths.write(index, &abi::PortBandwidth::default());
        let counters = self.counters(port)?;
        let zero = vec![0; size_of::<PortStats>() * self.processors];
        sys::map_update(self.stats.as_fd(), port.0.octets(), &zero).map_err(system("bpf"))?;
        self.carry(port, &PortStats::default());
        self.update_mtu();
        Ok(counters)
    }

    /// Every attached port.
    pub fn attached(&self) -> Vec<(PortNo, Interface)> {
        (0..self.ports.len())
            .map(|index| (index, self.ports.read(index)))
            .filter(|(_, port)| port.ifindex != 0)
            .map(|(index, port)| {
                let interface = Interface {
                    ifindex: port.ifindex,
                    peer_redirect: port.flags & Port::PEER_REDIRECT != 0,
                    mtu: port.mtu,
                };
                (PortNo(u32::try_from(index).unwrap_or(0)), interface)
            })
            .collect()
    }

    pub fn is_attached(&self, port: PortNo) -> bool {
        Self::index(port).is_ok_and(|index| self.ports.read(index).ifindex != 0)
    }

    /// The zone of an attached port.
    pub fn zone(&self, port: PortNo) -> Result<Zone, DatapathError> {
        let value = self.ports.read(Self::index(port)?);
        if value.ifindex == 0 {
            return Err(DatapathError::Missing(format!("port {}", port.0)));
        }
        Ok(Zone(value.zone))
    }

    /// Says which zone an attached port is in.
    pub fn set_zone(&self, port: PortNo, zone: Zone) -> Result<(), DatapathError> {
        self.zone(port)?;
        if zone.0 as usize >= ZONES_MAX {
            return Err(DatapathError::Invalid(format!("zone {}", zone.0)));
        }
        self.ports.half(Self::index(port)?, Port::ZONE_AT).store(zone.0, Release);
        Ok(())
    }

    /// What a port has carried, on all processors.
    pub fn counters(&self, port: PortNo) -> Result<PortCounters, DatapathError> {
        let mut octets = vec![0; size_of::<PortStats>() * self.processors];
        let there = sys::map_lookup(self.stats.as_fd(), port.0.octets(), &mut octets)
            .map_err(system("bpf"))?;
        if !there {
            return Err(DatapathError::Missing(format!("port {}", port.0)));
        }
        let each = octets.chunks_exact(size_of::<PortStats>());
        let each = each.map(|octets| PortStats::from_octets(octets).unwrap_or_default());
        let before = self.before.read(port.0 as usize);
        let sum = each.fold(before, PortStats::plus);
        Ok(PortCounters {
            rx: Counters { packets: sum.rx_packets, octets: sum.rx_octets },
            tx: Counters { packets: sum.tx_packets, octets: sum.tx_octets },
            rx_dropped: sum.rx_dropped,
        })
    }

    /// The smallest MTU of the tunnels.
    pub fn set_tunnel_mtu(&mut self, mtu: u32) {
        self.tunnel_mtu = mtu;
        self.update_mtu();
    }

    /// Up to this size a packet need not be compared with any MTU.
    fn update_mtu(&self) {
        let ports = self.attached().into_iter().map(|(_, interface)| interface.mtu);
        let min = ports.min().unwrap_or(u32::MAX).min(self.tunnel_mtu);
        self.config.half(0, Config::MTU_MIN_AT).store(min, Release);
    }

    /// Says which port an interface has: in its place of the direct table, or beside it where
    /// another interface has the place.
    fn learn_interface(&self, ifindex: u32, port: PortNo) -> Result<(), DatapathError> {
        let place = ifindex as usize % IFACES_DIRECT;
        let now = self.ifaces.read(place);
        if now.ifindex == 0 || now.ifindex == ifindex {
            let value = Iface { ifindex, port: port.0 };
            self.ifaces.write(place, &value);
            return Ok(());
        }
        sys::map_update(self.ifaces_more.as_fd(), ifindex.octets(), port.0.octets())
            .map_err(system("bpf"))
    }

    /// Takes an interface from its port: its packets are dropped from now on.
    fn forget_interface(&self, ifindex: u32, port: PortNo) -> Result<(), DatapathError> {
        let place = ifindex as usize % IFACES_DIRECT;
        let now = self.ifaces.read(place);
        if now.ifindex == ifindex {
            if now.port == port.0 {
                self.ifaces.word(place, 0).store(0, Relaxed);
            }
            return Ok(());
        }
        sys::map_delete(self.ifaces_more.as_fd(), ifindex.octets()).map_err(system("bpf"))?;
        Ok(())
    }
}
