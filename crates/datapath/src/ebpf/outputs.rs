//! Where packets go besides ports: peers, groups, and what the keys of others mean here.

use std::collections::{BTreeSet, HashSet};
use std::net::IpAddr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::atomic::Ordering::{Acquire, Release};

use mn_datapath_abi::limits::{
    GROUPS_MAX, PEERS_MAX, SEGMENT_OUTPUTS, SEGMENTS_CHAINED, SEGMENTS_MAX,
};
use mn_datapath_abi::{
    ActionSlot, Delivery as AbiDelivery, DeliveryKind, Op, Peer, Plain, Segment,
};
use mn_flow::{GroupIndex, PeerIndex, PortNo, TunnelKey};
use mn_packet::to_v6;

use super::open::system;
use super::sys::{self, Shared};
use crate::{DatapathError, Delivery, Output, PeerAddresses};

/// The tables of outputs.
pub struct Outputs {
    peers: Shared<Peer>,
    groups: Shared<u32>,
    segments: Shared<Segment>,
    /// Segments nothing refers to. Segment 0 is none.
    free: Vec<u32>,
    /// Segments that programs may still read.
    resting: Vec<u32>,
    keys: OwnedFd,
    members: OwnedFd,
}

/// The maps of [`Outputs`].
pub struct OutputMaps<'a> {
    pub peers: BorrowedFd<'a>,
    pub groups: BorrowedFd<'a>,
    pub segments: BorrowedFd<'a>,
    pub keys: BorrowedFd<'a>,
    pub members: BorrowedFd<'a>,
}

impl Outputs {
    pub fn open(maps: &OutputMaps<'_>) -> Result<Self, DatapathError> {
        let own = |fd: BorrowedFd<'_>| fd.try_clone_to_owned().map_err(system("dup"));
        let mut outputs = Self {
            peers: Shared::map(maps.peers).map_err(system("mmap of peers"))?,
            groups: Shared::map(maps.groups).map_err(system("mmap of groups"))?,
            segments: Shared::map(maps.segments).map_err(system("mmap of segments"))?,
            free: Vec::new(),
            resting: Vec::new(),
            keys: own(maps.keys)?,
            members: own(maps.members)?,
        };
        outputs.adopt()?;
        Ok(outputs)
    }

    /// Finds the segments in use; the others are free.
    fn adopt(&mut self) -> Result<(), DatapathError> {
        let mut used = HashSet::new();
        for group in 0..GROUPS_MAX {
            used.extend(self.chain(self.groups.half(group, 0).load(Acquire)));
        }
        for (_, delivery) in self.raw_keys()? {
            if delivery.kind == DeliveryKind::Segment as u32 {
                used.extend(self.chain(delivery.index));
            }
        }
        let all = 1..u32::try_from(SEGMENTS_MAX).unwrap_or(0);
        self.free = all.rev().filter(|segment| !used.contains(segment)).collect();
        Ok(())
    }

    /// See [`crate::Datapath::set_peer`].
    pub fn set_peer(
        &mut self,
        peer: PeerIndex,
        addresses: Option<PeerAddresses>,
    ) -> Result<(), DatapathError> {
        let index = peer.0 as usize;
        if index >= PEERS_MAX {
            return Err(DatapathError::Invalid(format!("peer {}", peer.0)));
        }
        if addresses.is_some_and(|both| both.local.is_ipv4() != both.remote.is_ipv4()) {
            return Err(DatapathError::Invalid("a tunnel between two IP versions".into()));
        }
        let value = addresses.map_or_else(Peer::default, |addresses| Peer {
            remote: to_v6(addresses.remote).octets(),
            local: to_v6(addresses.local).octets(),
            mtu: addresses.mtu,
            flags: if addresses.remote.is_ipv6() { Peer::V6 } else { 0 },
        });
        // Without an address while it changes: a packet is dropped rather than sent astray.
        self.peers.write_from(index, 0, &[0; 16]);
        self.peers.write_from(index, 16, &value.octets()[16..]);
        self.peers.write_from(index, 0, &value.remote);
        Ok(())
    }

    fn all_peers(&self) -> impl Iterator<Item = Peer> {
        (0..PEERS_MAX).map(|index| self.peers.read(index)).filter(|peer| peer.remote != [0; 16])
    }

    /// The smallest MTU of all peers.
    pub fn tunnel_mtu(&self) -> u32 {
        self.all_peers().map(|peer| peer.mtu).min().unwrap_or(u32::MAX)
    }

    /// Our own tunnel addresses.
    pub fn locals(&self) -> BTreeSet<[u8; 16]> {
        self.all_peers().map(|peer| peer.local).collect()
    }

    /// See [`crate::Datapath::set_members`].
    pub fn set_members(&mut self, members: &[IpAddr]) -> Result<(), DatapathError> {
        let wanted: HashSet<[u8; 16]> = members.iter().map(|addr| to_v6(*addr).octets()).collect();
        for address in &wanted {
            sys::map_update(self.members.as_fd(), address, 1_u32.octets())
                .map_err(system("bpf"))?;
        }
        for key in all_keys(self.members.as_fd(), 16)? {
            if !wanted.contains(key.as_slice()) {
                sys::map_delete(self.members.as_fd(), &key).map_err(system("bpf"))?;
            }
        }
        Ok(())
    }

    /// See [`crate::Datapath::set_key`].
    pub fn set_key(
        &mut self,
        key: TunnelKey,
        delivery: Option<&Delivery>,
    ) -> Result<(), DatapathError> {
        let vni = key.vni();
        let mut old = [0; 8];
        let known =
            sys::map_lookup(self.keys.as_fd(), vni.octets(), &mut old).map_err(system("bpf"))?;
        let value = match delivery {
            None => None,
            Some(Delivery::Retired) => Some((DeliveryKind::Retired, 0)),
            Some(Delivery::Port(port)) => Some((DeliveryKind::Port, port.0)),
            Some(Delivery::Ports(ports)) => {
                let outputs: Vec<Output> = ports.iter().copied().map(Output::Port).collect();
                Some((DeliveryKind::Segment, self.write_chain(&outputs)?))
            }
        };
        match value {
            Some((kind, index)) => {
                let value = AbiDelivery { kind: kind as u32, index };
                sys::map_update(self.keys.as_fd(), vni.octets(), value.octets())
            }
            None => sys::map_delete(self.keys.as_fd(), vni.octets()).map(drop),
        }
        .map_err(system("bpf"))?;
        let old = AbiDelivery::from_octets(&old).unwrap_or_default();
        if known && old.kind == DeliveryKind::Segment as u32 {
            self.release_chain(old.index);
        }
        Ok(())
    }

    /// See [`crate::Datapath::keys`].
    pub fn keys(&self) -> Result<Vec<(TunnelKey, Delivery)>, DatapathError> {
        let keys = self.raw_keys()?.into_iter().filter_map(|(vni, delivery)| {
            let (key, _) = TunnelKey::from_vni(vni)?;
            let delivery = match delivery.kind {
                kind if kind == DeliveryKind::Port as u32 => Delivery::Port(PortNo(delivery.index)),
                kind if kind == DeliveryKind::Segment as u32 => {
                    Delivery::Ports(self.ports_of(delivery.index))
                }
                _ => Delivery::Retired,
            };
            Some((key, delivery))
        });
        Ok(keys.collect())
    }

    fn raw_keys(&self) -> Result<Vec<(u32, AbiDelivery)>, DatapathError> {
        let mut out = Vec::new();
        for key in all_keys(self.keys.as_fd(), 4)? {
            let mut value = [0; 8];
            if sys::map_lookup(self.keys.as_fd(), &key, &mut value).map_err(system("bpf"))? {
                let vni = u32::from_octets(&key).unwrap_or(0);
                out.push((vni, AbiDelivery::from_octets(&value).unwrap_or_default()));
            }
        }
        Ok(out)
    }

    /// The ports of a chain of segments.
    fn ports_of(&self, first: u32) -> Vec<PortNo> {
        let segments = self.chain(first).into_iter();
        let outputs = segments.map(|number| self.segments.read(number as usize));
        outputs
            .flat_map(|segment| {
                let len = (segment.len as usize).min(SEGMENT_OUTPUTS);
                segment.output[..len].iter().map(|slot| PortNo(slot.b())).collect::<Vec<_>>()
            })
            .collect()
    }

    /// See [`crate::Datapath::set_group`].
    pub fn set_group(
        &mut self,
        group: GroupIndex,
        outputs: &[Output],
    ) -> Result<(), DatapathError> {
        let index = group.0 as usize;
        if index >= GROUPS_MAX {
            return Err(DatapathError::Invalid(format!("group {}", group.0)));
        }
        let first = self.write_chain(outputs)?;
        let old = self.groups.half(index, 0).swap(first, Release);
        self.release_chain(old);
        Ok(())
    }

    /// Writes a list of outputs; its first segment, 0 for an empty one.
    fn write_chain(&mut self, outputs: &[Output]) -> Result<u32, DatapathError> {
        let full = DatapathError::Full { table: "outputs", max: SEGMENTS_MAX * SEGMENT_OUTPUTS };
        let pieces: Vec<&[Output]> = outputs.chunks(SEGMENT_OUTPUTS).collect();
        if pieces.len() > SEGMENTS_CHAINED {
            let max = SEGMENTS_CHAINED * SEGMENT_OUTPUTS;
            return Err(DatapathError::Full { table: "outputs of one group", max });
        }
        if self.free.len() < pieces.len() {
            self.recycle()?;
        }
        if self.free.len() < pieces.len() {
            return Err(full);
        }
        let mut next = 0;
        for piece in pieces.into_iter().rev() {
            let mut segment = Segment {
                len: u32::try_from(piece.len()).unwrap_or(0),
                next,
                ..Segment::default()
            };
            for (slot, output) in segment.output.iter_mut().zip(piece) {
                *slot = slot_of(output)?;
            }
            next = self.free.pop().unwrap_or(0);
            self.segments.write(next as usize, &segment);
        }
        std::sync::atomic::fence(Release);
        Ok(next)
    }

    fn release_chain(&mut self, first: u32) {
        let chain = self.chain(first);
        self.resting.extend(chain);
    }

    /// The segments of a chain.
    fn chain(&self, first: u32) -> Vec<u32> {
        let mut out = Vec::new();
        let mut next = first;
        while next != 0 && (next as usize) < SEGMENTS_MAX && out.len() < SEGMENTS_CHAINED {
            out.push(next);
            next = self.segments.half(next as usize, 4).load(Acquire);
        }
        out
    }

    fn recycle(&mut self) -> Result<(), DatapathError> {
        sys::grace_period().map_err(system("membarrier"))?;
        self.free.append(&mut self.resting);
        Ok(())
    }
}

/// All keys of a hash map; those that come or go meanwhile may be missed.
pub fn all_keys(map: BorrowedFd<'_>, len: usize) -> Result<Vec<Vec<u8>>, DatapathError> {
    let mut out: Vec<Vec<u8>> = Vec::new();
    let mut next = vec![0; len];
    let max = sys::map_info(map).map_err(system("bpf"))?.max_entries as usize;
    while out.len() < max
        && sys::map_next_key(map, out.last().map(Vec::as_slice), &mut next)
            .map_err(system("bpf"))?
    {
        out.push(next.clone());
    }
    Ok(out)
}

fn slot_of(output: &Output) -> Result<ActionSlot, DatapathError> {
    Ok(match *output {
        Output::Port(port) => ActionSlot::new(Op::Output, 0, port.0),
        Output::Tunnel { peer, key } => {
            let peer = u16::try_from(peer.0)
                .map_err(|_| DatapathError::Invalid(format!("peer {}", peer.0)))?;
            ActionSlot::new(Op::Tunnel, peer, key.vni())
        }
    })
}
