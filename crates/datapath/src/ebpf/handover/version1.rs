//! Version 1.

use std::net::{IpAddr, Ipv6Addr};
use std::os::fd::AsFd;
use std::path::Path;
use std::sync::atomic::Ordering::{Acquire, Relaxed};

use aya::maps::MapData;
use mn_datapath_abi::v1::{self, limits};
use mn_datapath_abi::{
    ActionSlot, DeliveryKind, DropKey, FlowKey, Op, Peer, Plain, Port, PortStats,
};
use mn_flow::{DropCause, GroupIndex, PeerIndex, PortNo, TunnelKey};
use mn_time::Instant;

use super::{Older, each_processor};
use crate::ebpf::action::Slots;
use crate::ebpf::key;
use crate::ebpf::open::{chain, system};
use crate::ebpf::outputs::all_keys;
use crate::ebpf::ring::ring_of;
use crate::ebpf::sys::{self, Shared};
use crate::{Counters, DatapathError, Delivery, FlowSpec, Output, PeerAddresses};

/// The maps, opened where they are pinned.
pub struct Version1 {
    config: v1::Config,
    buckets: Shared<v1::Bucket>,
    chunks: Vec<Shared<v1::Flow>>,
    ports: Shared<v1::Port>,
    peers: Shared<v1::Peer>,
    groups: Shared<u32>,
    segments: Shared<v1::Segment>,
    meters: Shared<v1::Meter>,
    keys: MapData,
    members: MapData,
    stats: MapData,
    drops: MapData,
    rings: MapData,
}

impl Version1 {
    pub fn open(dir: &Path) -> Result<Self, DatapathError> {
        let map = |name: &str| pinned(dir, name);
        let config: Shared<v1::Config> = shared(&map("mn_config")?)?;
        Ok(Self {
            config: config.read(0),
            buckets: shared(&map("mn_buckets")?)?,
            chunks: chunks(&map("mn_chunks")?)?,
            ports: shared(&map("mn_ports")?)?,
            peers: shared(&map("mn_peers")?)?,
            groups: shared(&map("mn_groups")?)?,
            segments: shared(&map("mn_segments")?)?,
            meters: shared(&map("mn_meters")?)?,
            keys: map("mn_keys")?,
            members: map("mn_members")?,
            stats: map("mn_port_stats")?,
            drops: map("mn_drops")?,
            rings: map("mn_rings")?,
        })
    }

    /// Every flow that is in force: named in the index and alive. One that is not both, its agent
    /// died over.
    fn each_flow(&self, each: &mut dyn FnMut(&Shared<v1::Flow>, usize)) {
        for bucket in 0..self.buckets.len() {
            for entry in self.buckets.read(bucket).entry {
                let Some(index) = (entry as u32 as usize).checked_sub(1) else { continue };
                let Some(chunk) = self.chunks.get(index / limits::CHUNK_FLOWS) else { continue };
                let place = index % limits::CHUNK_FLOWS;
                if chunk.half(place, 0).load(Acquire) == v1::FLOW_LIVE {
                    each(chunk, place);
                }
            }
        }
    }

    fn spec(&self, flow: &v1::Flow) -> Option<FlowSpec> {
        let key = |words| FlowKey::from(v1::FlowKey::from_words(words));
        let slots =
            Slots { slots: flow.actions.map(ActionSlot::from), len: flow.slots, hops: flow.hops };
        Some(FlowSpec {
            cookie: mn_flow::Cookie(flow.cookie),
            key: key::from_abi(&key(&flow.first))?,
            mask: key::mask_from_abi(&key(self.config.mask.get(usize::from(flow.mask))?)),
            actions: slots.actions()?,
        })
    }

    /// The outputs of a chain of segments; empty where one is none of ours.
    fn outputs(&self, first: u32) -> Vec<Output> {
        let mut out = Vec::new();
        let mut next = first as usize;
        for _ in 0..limits::SEGMENTS_CHAINED {
            if next == 0 || next >= self.segments.len() {
                break;
            }
            let segment = self.segments.read(next);
            let slots = segment.output.iter().take(segment.len as usize);
            out.extend(slots.filter_map(|slot| output(&ActionSlot::from(*slot))));
            next = segment.next as usize;
        }
        out
    }
}

impl Older for Version1 {
    fn heartbeat_at(&self) -> u64 {
        self.config.heartbeat_at
    }

    fn ports(&self) -> Vec<(PortNo, Port)> {
        let all = (0_u32..).zip(0..self.ports.len());
        let all = all.map(|(number, index)| (PortNo(number), self.ports.read(index).into()));
        all.filter(|(_, port): &(PortNo, Port)| port.ifindex != 0).collect()
    }

    fn peers(&self) -> Vec<(PeerIndex, PeerAddresses)> {
        let all = (0_u32..).zip(0..self.peers.len());
        let all = all.map(|(number, index)| (PeerIndex(number), self.peers.read(index).into()));
        all.filter(|(_, peer): &(PeerIndex, Peer)| peer.remote != [0; 16])
            .map(|(number, peer)| {
                let address = |octets| match Ipv6Addr::from_octets(octets) {
                    v6 if peer.flags & Peer::V6 != 0 => IpAddr::V6(v6),
                    mapped => mapped.to_canonical(),
                };
                let (local, remote) = (address(peer.local), address(peer.remote));
                (number, PeerAddresses { local, remote, mtu: peer.mtu })
            })
            .collect()
    }

    fn members(&self) -> Result<Vec<IpAddr>, DatapathError> {
        let keys = all_keys(self.members.fd().as_fd(), 16)?;
        let address = |key: &Vec<u8>| Some(Ipv6Addr::from_octets(key.as_slice().try_into().ok()?));
        Ok(keys.iter().filter_map(address).map(|v6| v6.to_canonical()).collect())
    }

    fn keys(&self) -> Result<Vec<(TunnelKey, Delivery)>, DatapathError> {
        let mut out = Vec::new();
        let map = self.keys.fd().as_fd();
        for octets in all_keys(map, 4)? {
            let mut value = [0; size_of::<v1::Delivery>()];
            let there = sys::map_lookup(map, &octets, &mut value).map_err(system("bpf"))?;
            let vni = u32::from_octets(&octets).unwrap_or(0);
            let (true, Some((key, _))) = (there, TunnelKey::from_vni(vni)) else { continue };
            let old = v1::Delivery::from_octets(&value).unwrap_or_default();
            let delivery = mn_datapath_abi::Delivery::from(old);
            let delivery = match delivery.kind {
                kind if kind == DeliveryKind::Port as u32 => Delivery::Port(PortNo(delivery.index)),
                kind if kind == DeliveryKind::Segment as u32 => {
                    let outputs = self.outputs(delivery.index).into_iter();
                    Delivery::Ports(outputs.filter_map(port_of).collect())
                }
                _ => Delivery::Retired,
            };
            out.push((key, delivery));
        }
        Ok(out)
    }

    fn groups(&self) -> Vec<(GroupIndex, Vec<Output>)> {
        let all = (0_u32..).zip(0..self.groups.len());
        let all = all.map(|(number, index)| {
            (GroupIndex(number), self.outputs(self.groups.half(index, 0).load(Acquire)))
        });
        all.filter(|(_, outputs)| !outputs.is_empty()).collect()
    }

    fn flows(
        &self,
        each: &mut dyn FnMut(&FlowSpec, Instant) -> Result<(), DatapathError>,
    ) -> Result<usize, DatapathError> {
        let (mut unreadable, mut result) = (0, Ok(()));
        self.each_flow(&mut |chunk, place| {
            let flow = chunk.read(place);
            match self.spec(&flow) {
                Some(spec) if result.is_ok() => {
                    result = each(&spec, Instant::from_nanos(flow.used_at));
                }
                Some(_) => {}
                None => unreadable += 1,
            }
        });
        result.map(|()| unreadable)
    }

    fn take_flow_counters(&self, each: &mut dyn FnMut(&FlowSpec, Counters)) {
        self.each_flow(&mut |chunk, place| {
            let Some(spec) = self.spec(&chunk.read(place)) else { return };
            let take = |at| chunk.word(place, at).swap(0, Relaxed);
            let (packets, octets) = (take(v1::Flow::PACKETS_AT), take(v1::Flow::OCTETS_AT));
            each(&spec, Counters { packets, octets });
        });
    }

    fn take_meters(&self, each: &mut dyn FnMut(u32, Counters)) {
        for (number, index) in (0_u32..).zip(0..self.meters.len()) {
            let take = |at| self.meters.word(index, at).swap(0, Relaxed);
            let (packets, octets) = (take(v1::Meter::PACKETS_AT), take(v1::Meter::OCTETS_AT));
            if packets > 0 {
                each(number, Counters { packets, octets });
            }
        }
    }

    fn take_drops(
        &self,
        each: &mut dyn FnMut(PortNo, DropCause, u64),
    ) -> Result<(), DatapathError> {
        let map = self.drops.fd().as_fd();
        for octets in all_keys(map, size_of::<v1::DropKey>())? {
            let mut value = [0; 8];
            if !sys::map_lookup(map, &octets, &mut value).map_err(system("bpf"))? {
                continue;
            }
            sys::map_delete(map, &octets).map_err(system("bpf"))?;
            let key: DropKey = v1::DropKey::from_octets(&octets).unwrap_or_default().into();
            let cause = u16::try_from(key.cause).ok().and_then(DropCause::from_code);
            if let Some(cause) = cause {
                each(PortNo(key.port), cause, u64::from_ne_bytes(value));
            }
        }
        Ok(())
    }

    fn take_upcalls(&self) -> Result<Vec<PortNo>, DatapathError> {
        let mut out = Vec::new();
        for worker in 0..limits::RINGS_MAX {
            let Some(mut ring) = ring_of(self.rings.fd().as_fd(), worker)? else { continue };
            while let Some(record) = ring.next() {
                let header = v1::UpcallHeader::from_octets(&record).unwrap_or_default();
                out.push(PortNo(header.key.in_port));
            }
        }
        Ok(out)
    }

    fn port_stats(&self) -> Result<Vec<(PortNo, PortStats)>, DatapathError> {
        let mut out = Vec::new();
        for number in 0..u32::try_from(self.ports.len()).unwrap_or(0) {
            let size = size_of::<v1::PortStats>();
            let all = each_processor(self.stats.fd().as_fd(), number.octets(), size)?;
            let all = all.iter().flatten().map(|octets| {
                PortStats::from(v1::PortStats::from_octets(octets).unwrap_or_default())
            });
            out.push((PortNo(number), all.fold(PortStats::default(), PortStats::plus)));
        }
        Ok(out)
    }
}

fn pinned(dir: &Path, name: &str) -> Result<MapData, DatapathError> {
    MapData::from_pin(dir.join(name)).map_err(|error| DatapathError::Load(chain(&error)))
}

fn shared<T: Plain>(map: &MapData) -> Result<Shared<T>, DatapathError> {
    Shared::map(map.fd().as_fd()).map_err(system("mmap of an older map"))
}

fn chunks(map: &MapData) -> Result<Vec<Shared<v1::Flow>>, DatapathError> {
    let failed = system("opening an older flow table");
    let mut out = Vec::new();
    for index in 0..u32::try_from(limits::CHUNKS_MAX).unwrap_or(0) {
        let mut id = [0; 4];
        if !sys::map_lookup(map.fd().as_fd(), index.octets(), &mut id).map_err(&failed)? {
            break;
        }
        let chunk = sys::map_by_id(u32::from_ne_bytes(id)).map_err(&failed)?;
        out.push(Shared::map(chunk.as_fd()).map_err(&failed)?);
    }
    Ok(out)
}

fn output(slot: &ActionSlot) -> Option<Output> {
    match Op::from_code(slot.op)? {
        Op::Output => Some(Output::Port(PortNo(slot.b()))),
        Op::Tunnel => {
            let (key, _) = TunnelKey::from_vni(slot.b())?;
            Some(Output::Tunnel { peer: PeerIndex(slot.a().into()), key })
        }
        _ => None,
    }
}

const fn port_of(output: Output) -> Option<PortNo> {
    match output {
        Output::Port(port) => Some(port),
        Output::Tunnel { .. } => None,
    }
}
