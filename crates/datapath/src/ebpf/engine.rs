//! The datapath as the agent sees it.

use std::net::IpAddr;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::atomic::Ordering::Release;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use mn_datapath_abi::{Config, DropKey, Plain};
use mn_flow::{Action, DropCause, FlowKey, FlowMask, GroupIndex, PeerIndex, PortNo, TunnelKey};
use mn_time::Instant;

use super::action::Slots;
use super::flow_table::FlowTable;
use super::inject::Injector;
use super::keeper;
use super::links::{Hook, Links};
use super::open::{self, Options, map_fd, silence, system};
use super::outputs::{OutputMaps, Outputs, all_keys};
use super::ports::{PortMaps, Ports};
use super::ring::Ring;
use super::sys::{self, Shared};
use crate::{
    Datapath, DatapathError, Delivery, FlowSpec, InstalledFlow, Interface, Offload, Output,
    PeerAddresses, PortCounters, UpcallLimit, Upcalls,
};

/// The kernel's datapath of the network namespace it was opened in.
pub struct Ebpf {
    config: Arc<Shared<Config>>,
    links: Mutex<Links>,
    flows: Arc<Mutex<FlowTable>>,
    ports: Mutex<Ports>,
    outputs: Mutex<Outputs>,
    injector: Injector,
    rings: OwnedFd,
    drops: OwnedFd,
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
        let opened = open::open(options)?;
        let mut links = Links::open(opened.programs, &opened.pins, options.tcx)?;
        links.attach(Hook::TunnelIngress, opened.tunnel)?;
        links.attach(Hook::InjectEgress, opened.inject)?;
        let programs = links.programs();
        let own = |name| -> Result<OwnedFd, DatapathError> {
            map_fd(programs, name)?.try_clone_to_owned().map_err(system("dup"))
        };
        let config = map_fd(programs, "mn_config")?;
        let config = Arc::new(Shared::<Config>::map(config).map_err(system("mmap"))?);
        let buckets = map_fd(programs, "mn_buckets")?;
        let chunks = own("mn_chunks")?;
        let (wake, woken) = std::sync::mpsc::sync_channel(1);
        let flows = FlowTable::open(config.clone(), buckets, chunks, options.flows_max, wake)?;
        let flows = Arc::new(Mutex::new(flows));
        keeper::start(Arc::downgrade(&flows), woken).map_err(system("starting a thread"))?;
        let ports = Ports::open(
            config.clone(),
            &PortMaps {
                ports: map_fd(programs, "mn_ports")?,
                ifaces: map_fd(programs, "mn_ifaces")?,
                ifaces_more: map_fd(programs, "mn_ifaces_more")?,
                stats: map_fd(programs, "mn_port_stats")?,
            },
        )?;
        let outputs = Outputs::open(&OutputMaps {
            peers: map_fd(programs, "mn_peers")?,
            groups: map_fd(programs, "mn_groups")?,
            segments: map_fd(programs, "mn_segments")?,
            keys: map_fd(programs, "mn_keys")?,
            members: map_fd(programs, "mn_members")?,
        })?;
        let lists = Shared::map(map_fd(programs, "mn_injects")?).map_err(system("mmap"))?;
        let injector = Injector::open(lists, opened.inject, options.workers + 2)?;
        let (rings, drops) = (own("mn_rings")?, own("mn_drops")?);
        Ok(Self {
            config,
            flows,
            ports: Mutex::new(ports),
            outputs: Mutex::new(outputs),
            injector,
            rings,
            drops,
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
    fn attach(
        &self,
        port: PortNo,
        interface: Interface,
        limit: UpcallLimit,
    ) -> Result<(), DatapathError> {
        let name = nix::net::if_::if_indextoname(interface.ifindex)
            .map_err(|_| DatapathError::Missing(format!("interface {}", interface.ifindex)))?;
        silence(&name.to_string_lossy());
        // The program first: an interface is never of a port without it.
        lock(&self.links).attach(Hook::PortIngress, interface.ifindex)?;
        lock(&self.ports).set(port, interface, limit)
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
        outputs.set_peer(peer, addresses)?;
        lock(&self.ports).set_tunnel_mtu(outputs.tunnel_mtu());
        Ok(())
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

    fn remove(&self, flow: &FlowSpec) -> Result<Option<InstalledFlow>, DatapathError> {
        Ok(lock(&self.flows).remove(flow))
    }

    fn flow(&self, key: &FlowKey, mask: FlowMask) -> Result<Option<InstalledFlow>, DatapathError> {
        Ok(lock(&self.flows).get(key, mask))
    }

    fn flows(&self, each: &mut dyn FnMut(InstalledFlow)) -> Result<(), DatapathError> {
        for chunk in 0.. {
            // Not under the lock: the caller may come back in.
            let Some(flows) = lock(&self.flows).of_chunk(chunk) else { break };
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

    fn heartbeat(&self, now: Instant) -> Result<(), DatapathError> {
        self.config.word(0, Config::HEARTBEAT_AT).store(now.nanos(), Release);
        Ok(())
    }

    fn upcalls(&self, worker: usize) -> Result<Box<dyn Upcalls>, DatapathError> {
        if worker >= self.workers {
            return Err(DatapathError::Missing(format!("worker {worker}")));
        }
        let drops = self.drops.try_clone().map_err(system("dup"))?;
        Ok(Box::new(Ring::open(self.rings.as_fd(), drops, worker)?))
    }

    fn drops(&self) -> Result<Vec<(PortNo, DropCause, u64)>, DatapathError> {
        let mut out = Vec::new();
        for key in all_keys(self.drops.as_fd(), size_of::<DropKey>())? {
            let mut value = [0; 8];
            if !sys::map_lookup(self.drops.as_fd(), &key, &mut value).map_err(system("bpf"))? {
                continue;
            }
            let key = DropKey::from_octets(&key).unwrap_or_default();
            let cause = u16::try_from(key.cause).ok().and_then(DropCause::from_code);
            if let Some(cause) = cause {
                out.push((PortNo(key.port), cause, u64::from_ne_bytes(value)));
            }
        }
        Ok(out)
    }
}
