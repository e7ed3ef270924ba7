//! The datapath as the agent sees it.

use std::net::IpAddr;
use std::os::fd::OwnedFd;
use std::sync::atomic::Ordering::Release;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use mn_datapath_abi::{Config, Meter};
use mn_flow::{
    Action, DropCause, FlowKey, FlowMask, GroupIndex, PeerIndex, PortNo, TunnelKey, Zone,
};
use mn_time::Instant;

use super::action::Slots;
use super::connections::{ConnectionMaps, Connections};
use super::drops::Drops;
use super::flow_table::FlowTable;
use super::follower;
use super::handover::{self, Tables};
use super::inject::Injector;
use super::keeper;
use super::links::{Hook, Links};
use super::meters;
use super::netlink::News;
use super::open::{self, Options, map_fd, silence, system};
use super::outputs::{OutputMaps, Outputs};
use super::ports::{PortMaps, Ports};
use super::ring::{Ring, Rings};
use super::sys::{self, Shared};
use super::underlay::Underlay;
use crate::{
    Aged, BroadcastLimit, Connection, Counters, Datapath, DatapathError, Delivery, FlowSpec,
    InstalledFlow, Interface, LastUse, Offload, Output, PeerAddresses, PortBandwidth, PortCounters,
    Timeouts, Tracking, Tuple, UpcallLimit, Upcalls,
};

/// The kernel's datapath of the network namespace it was opened in.
pub struct Ebpf {
    config: Arc<Shared<Config>>,
    links: Mutex<Links>,
    flows: Arc<Mutex<FlowTable>>,
    ports: Mutex<Ports>,
    outputs: Mutex<Outputs>,
    connections: Mutex<Connections>,
    underlay: Arc<Mutex<Underlay>>,
    injector: Injector,
    rings: Rings,
    drops: Drops,
    meters: Shared<Meter>,
    workers: usize,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Ebpf {
    /// Opens the datapath of this network namespace: makes it, or takes over the one an earlier
    /// agent has left in the same directory, with ports, keys, groups and flows.
    ///
    /// # Errors
    ///
    /// [`DatapathError::Downgrade`] where a newer agent's datapath is installed;
    /// [`DatapathError::Load`] and [`DatapathError::System`] where the kernel refuses something.
    pub fn open(options: &Options) -> Result<Self, DatapathError> {
        let open::Opened { mut pins, programs, tunnel, inject } = open::open(options)?;
        let mut links = Links::open(programs, pins.links(), options.tcx)?;
        let programs = links.programs();
        let own = |name| -> Result<OwnedFd, DatapathError> {
            map_fd(programs, name)?.try_clone_to_owned().map_err(system("dup"))
        };
        let config = map_fd(programs, "mn_config")?;
        let config = Arc::new(Shared::<Config>::map(config).map_err(system("mmap"))?);
        let (wake, woken) = std::sync::mpsc::sync_channel(1);
        let (buckets, chunks) = (map_fd(programs, "mn_buckets")?, own("mn_chunks")?);
        let mut flows = FlowTable::open(config.clone(), buckets, chunks, options.flows_max, wake)?;
        let mut ports = Ports::open(config.clone(), &port_maps(programs)?)?;
        let mut outputs = Outputs::open(&output_maps(programs)?)?;
        let connections = Connections::open(&connection_maps(programs)?)?;
        let meters = Shared::map(map_fd(programs, "mn_meters")?).map_err(system("mmap"))?;
        let lists = Shared::map(map_fd(programs, "mn_injects")?).map_err(system("mmap"))?;
        let injector = Injector::open(lists, inject, options.workers + 2)?;
        let rings = Rings {
            upcalls: own("mn_rings")?,
            followed: own("mn_followed")?,
            untold: own("mn_untold")?,
            bells: own("mn_bells")?,
        };
        let drops = Drops::open(own("mn_drops")?);
        let tables = Tables {
            config: &config,
            flows: &mut flows,
            ports: &mut ports,
            outputs: &mut outputs,
            meters: &meters,
            drops: &drops,
        };
        handover::run(&mut pins, &mut links, tables)?;
        ports.set_tunnel_mtu(outputs.tunnel_mtu());
        links.attach(Hook::TunnelIngress, tunnel)?;
        links.attach(Hook::InjectEgress, inject)?;
        let flows = Arc::new(Mutex::new(flows));
        keeper::start(Arc::downgrade(&flows), woken).map_err(system("starting a thread"))?;
        let underlay = open_underlay(links.programs(), options)?;
        Ok(Self {
            config,
            flows,
            ports: Mutex::new(ports),
            outputs: Mutex::new(outputs),
            connections: Mutex::new(connections),
            underlay,
            injector,
            rings,
            drops,
            meters,
            workers: options.workers,
            links: Mutex::new(links),
        })
    }

    /// How many flows are installed.
    #[must_use]
    pub fn flows_len(&self) -> usize {
        lock(&self.flows).len()
    }

    /// Puts the busiest masks first. To be called about once a second.
    pub fn order_masks(&self) {
        lock(&self.flows).order_masks();
    }
}

impl Datapath for Ebpf {
    fn guard(&self, ifindex: u32) -> Result<(), DatapathError> {
        let name = nix::net::if_::if_indextoname(ifindex)
            .map_err(|_| DatapathError::Missing(format!("interface {ifindex}")))?;
        silence(&name.to_string_lossy());
        lock(&self.links).attach(Hook::PortIngress, ifindex)
    }

    fn serve(
        &self,
        port: PortNo,
        interface: Interface,
        limit: UpcallLimit,
    ) -> Result<(), DatapathError> {
        lock(&self.ports).set(port, interface, limit)
    }

    fn set_broadcast_limit(
        &self,
        port: PortNo,
        limit: BroadcastLimit,
    ) -> Result<(), DatapathError> {
        lock(&self.ports).set_broadcast_limit(port, limit)
    }

    fn set_bandwidth(&self, port: PortNo, bandwidth: PortBandwidth) -> Result<(), DatapathError> {
        lock(&self.ports).set_bandwidth(port, bandwidth)
    }

    fn detach(&self, port: PortNo) -> Result<PortCounters, DatapathError> {
        // The program stays, and drops what the interface sends: it must not reach the host.
        lock(&self.ports).clear(port)
    }

    fn attached(&self) -> Result<Vec<(PortNo, Interface)>, DatapathError> {
        Ok(lock(&self.ports).attached())
    }

    fn port_counters(&self, port: PortNo) -> Result<PortCounters, DatapathError> {
        let ports = lock(&self.ports);
        if port != PortNo::TUNNEL && !ports.is_attached(port) {
            return Err(DatapathError::Missing(format!("port {}", port.0)));
        }
        ports.counters(port)
    }

    fn set_peer(
        &self,
        peer: PeerIndex,
        addresses: Option<PeerAddresses>,
    ) -> Result<(), DatapathError> {
        let mut outputs = lock(&self.outputs);
        let mut underlay = lock(&self.underlay);
        underlay.forget_way(peer);
        outputs.set_peer(peer, addresses)?;
        underlay.set_peer(peer, addresses);
        underlay.set_locals(&outputs.locals());
        lock(&self.ports).set_tunnel_mtu(outputs.tunnel_mtu());
        Ok(())
    }

    fn set_underlays(&self, interfaces: &[u32]) -> Result<(), DatapathError> {
        lock(&self.underlay).set_interfaces(&mut lock(&self.links), interfaces)
    }

    fn set_members(&self, members: &[IpAddr]) -> Result<(), DatapathError> {
        lock(&self.outputs).set_members(members)
    }

    fn set_key(&self, key: TunnelKey, delivery: Option<&Delivery>) -> Result<(), DatapathError> {
        lock(&self.outputs).set_key(key, delivery)
    }

    fn keys(&self) -> Result<Vec<(TunnelKey, Delivery)>, DatapathError> {
        lock(&self.outputs).keys()
    }

    fn set_group(&self, group: GroupIndex, outputs: &[Output]) -> Result<(), DatapathError> {
        lock(&self.outputs).set_group(group, outputs)
    }

    fn install(&self, flow: &FlowSpec) -> Result<(), DatapathError> {
        lock(&self.flows).install(flow, sys::monotonic_now())
    }

    fn remove(&self, flow: &FlowSpec) -> Result<Option<LastUse>, DatapathError> {
        Ok(lock(&self.flows).remove(flow))
    }

    fn flow(&self, key: &FlowKey, mask: FlowMask) -> Result<Option<InstalledFlow>, DatapathError> {
        Ok(lock(&self.flows).get(key, mask))
    }

    fn flows(&self, each: &mut dyn FnMut(InstalledFlow)) -> Result<(), DatapathError> {
        for part in 0.. {
            // Not under the lock: the caller may come back in.
            let Some(flows) = lock(&self.flows).of_part(part) else { break };
            flows.into_iter().for_each(&mut *each);
        }
        Ok(())
    }

    fn execute(
        &self,
        frame: &[u8],
        offload: Offload,
        actions: &[Action],
    ) -> Result<(), DatapathError> {
        self.injector.send(frame, offload, &Slots::of(actions)?)
    }

    fn set_tracking(&self, port: PortNo, tracking: Tracking) -> Result<(), DatapathError> {
        lock(&self.ports).set_zone(port, tracking.zone)?;
        lock(&self.connections).set_max(port, tracking.connections_max);
        Ok(())
    }

    fn tracking(&self, port: PortNo) -> Result<(Tracking, usize), DatapathError> {
        let zone = lock(&self.ports).zone(port)?;
        let share = lock(&self.connections).share(port);
        let tracking = Tracking { zone, connections_max: share.max };
        Ok((tracking, share.connections as usize))
    }

    fn connection(&self, zone: Zone, tuple: &Tuple) -> Result<Option<Connection>, DatapathError> {
        lock(&self.connections).get(zone, tuple)
    }

    fn connections(&self, each: &mut dyn FnMut(Connection)) -> Result<(), DatapathError> {
        let mut cursor = None;
        loop {
            // Not under the lock: the caller may come back in.
            let (some, next) = lock(&self.connections).some(cursor)?;
            some.into_iter().for_each(&mut *each);
            cursor = next;
            if cursor.is_none() {
                return Ok(());
            }
        }
    }

    fn age_connections(
        &self,
        now: Instant,
        timeouts: &Timeouts,
        at_once: usize,
    ) -> Result<Aged, DatapathError> {
        lock(&self.connections).age(now, timeouts, at_once)
    }

    fn forget_connections(
        &self,
        is_one: &dyn Fn(&Connection) -> bool,
    ) -> Result<usize, DatapathError> {
        lock(&self.connections).forget(is_one)
    }

    fn heartbeat(&self, now: Instant) -> Result<(), DatapathError> {
        self.config.word(0, Config::HEARTBEAT_AT).store(now.nanos(), Release);
        Ok(())
    }

    fn upcalls(&self, worker: usize) -> Result<Box<dyn Upcalls>, DatapathError> {
        if worker >= self.workers {
            return Err(DatapathError::Missing(format!("worker {worker}")));
        }
        Ok(Box::new(Ring::open(&self.rings, self.drops.clone(), worker)?))
    }

    fn meter(&self, index: u32) -> Result<Counters, DatapathError> {
        meters::read(&self.meters, index)
    }

    fn drops(&self) -> Result<Vec<(PortNo, DropCause, u64)>, DatapathError> {
        self.drops.all()
    }
}

/// What is known of the underlay, and a thread that keeps it so.
fn open_underlay(
    programs: &aya::Ebpf,
    options: &Options,
) -> Result<Arc<Mutex<Underlay>>, DatapathError> {
    let port = (!options.tunnels_through_host).then_some(options.tunnel_port);
    let (table, routes) = (map_fd(programs, "mn_underlay")?, map_fd(programs, "mn_routes")?);
    let underlay = Arc::new(Mutex::new(Underlay::open(table, routes, port)?));
    let news = News::open().map_err(system("netlink"))?;
    follower::start(Arc::downgrade(&underlay), news).map_err(system("starting a thread"))?;
    Ok(underlay)
}

fn port_maps(programs: &aya::Ebpf) -> Result<PortMaps<'_>, DatapathError> {
    Ok(PortMaps {
        ports: map_fd(programs, "mn_ports")?,
        ifaces: map_fd(programs, "mn_ifaces")?,
        ifaces_more: map_fd(programs, "mn_ifaces_more")?,
        stats: map_fd(programs, "mn_port_stats")?,
        before: map_fd(programs, "mn_port_before")?,
        broadcasts: map_fd(programs, "mn_broadcasts")?,
        bandwidths: map_fd(programs, "mn_bandwidths")?,
    })
}

fn connection_maps(programs: &aya::Ebpf) -> Result<ConnectionMaps<'_>, DatapathError> {
    Ok(ConnectionMaps {
        connections: map_fd(programs, "mn_connections")?,
        zones: map_fd(programs, "mn_zones")?,
        shares: map_fd(programs, "mn_shares")?,
    })
}

fn output_maps(programs: &aya::Ebpf) -> Result<OutputMaps<'_>, DatapathError> {
    Ok(OutputMaps {
        peers: map_fd(programs, "mn_peers")?,
        groups: map_fd(programs, "mn_groups")?,
        segments: map_fd(programs, "mn_segments")?,
        keys: map_fd(programs, "mn_keys")?,
        members: map_fd(programs, "mn_members")?,
    })
}
