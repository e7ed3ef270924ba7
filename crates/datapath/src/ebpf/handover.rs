//! Taking over from a datapath of an older version without losing a packet.
//!
//! 1. *Fill*: our maps, which no program uses yet, get what the older ones hold. A death here
//!    leaves the older datapath as it was.
//! 2. *Switch*: our directory gets its name, and then each interface's program is replaced by ours,
//!    one after the other, each in one step. Either program knows all flows and ports, so it does
//!    not matter which interface has which. A death here leaves both; the next agent goes on.
//! 3. *Gather*: what the older programs have counted is added to our counters, and the older
//!    directory goes.
//!
//! No agent lives meanwhile, so nothing but counters changes. Where all that the older maps hold means
//! the same today, they become ours instead, and there is nothing to fill or to gather.

use std::os::fd::{AsFd, BorrowedFd};
use std::sync::atomic::Ordering::Release;

use mn_datapath_abi::{Config, Meter, Port, PortStats, v1};
use mn_flow::{DropCause, GroupIndex, PeerIndex, PortNo, TunnelKey};
use mn_time::Instant;

use super::drops::Drops;
use super::flow_table::FlowTable;
use super::links::Links;
use super::open::system;
use super::outputs::Outputs;
use super::pins::Pins;
use super::ports::Ports;
use super::sys::{self, Shared};
use crate::{Counters, DatapathError, Delivery, FlowSpec, Output, PeerAddresses};

mod version1;
mod version2;

/// A datapath of an older version, read in today's terms.
///
/// What it says is complete and true as long as no agent works with it.
trait Older {
    /// When its last agent said that it lives.
    fn heartbeat_at(&self) -> u64;

    /// Attached ports.
    fn ports(&self) -> Vec<(PortNo, Port)>;

    fn peers(&self) -> Vec<(PeerIndex, PeerAddresses)>;

    fn members(&self) -> Result<Vec<std::net::IpAddr>, DatapathError>;

    fn keys(&self) -> Result<Vec<(TunnelKey, Delivery)>, DatapathError>;

    fn groups(&self) -> Vec<(GroupIndex, Vec<Output>)>;

    /// Every flow, and when it was last used; how many could not be read.
    fn flows(
        &self,
        each: &mut dyn FnMut(&FlowSpec, Instant) -> Result<(), DatapathError>,
    ) -> Result<usize, DatapathError>;

    /// What flows have counted since this was asked last.
    fn take_flow_counters(&self, each: &mut dyn FnMut(&FlowSpec, Counters));

    /// Likewise of meters.
    fn take_meters(&self, each: &mut dyn FnMut(u32, Counters));

    /// Likewise of drops.
    fn take_drops(&self, each: &mut dyn FnMut(PortNo, DropCause, u64))
    -> Result<(), DatapathError>;

    /// The ports of packets that wait for an agent, which will not be asked about any more.
    fn take_upcalls(&self) -> Result<Vec<PortNo>, DatapathError>;

    /// What ports have counted since they were attached.
    fn port_stats(&self) -> Result<Vec<(PortNo, PortStats)>, DatapathError>;
}

/// The tables that are filled.
pub struct Tables<'a> {
    pub config: &'a Shared<Config>,
    pub flows: &'a mut FlowTable,
    pub ports: &'a mut Ports,
    pub outputs: &'a mut Outputs,
    pub meters: &'a Shared<Meter>,
    pub drops: &'a Drops,
}

/// Before our maps are made: has those be ours that an older version has and that mean the same.
pub fn share(pins: &Pins) -> Result<(), DatapathError> {
    match pins.older {
        Some(version @ version2::VERSION) if pins.is_filling() => {
            version2::share(&pins.of_version(version), &pins.ours())
        }
        _ => Ok(()),
    }
}

/// Takes over from the older version, from wherever an earlier attempt got to.
pub fn run(
    pins: &mut Pins,
    links: &mut Links,
    mut tables: Tables<'_>,
) -> Result<(), DatapathError> {
    let Some(version) = pins.older else { return Ok(()) };
    let dir = pins.of_version(version);
    let older: Option<Box<dyn Older>> = match version {
        v1::VERSION => Some(Box::new(version1::Version1::open(&dir)?)),
        version2::VERSION => None,
        installed => {
            return Err(DatapathError::TooOld { installed, oldest: v1::VERSION });
        }
    };
    if pins.is_filling() {
        if let Some(older) = &older {
            tables.fill(&**older)?;
        }
        pins.filled()?;
        links.moved(pins.links());
    }
    links.take_over(&dir)?;
    sys::grace_period().map_err(system("membarrier"))?;
    if let Some(older) = older {
        tables.gather(&*older)?;
    }
    tracing::info!(version, flows = tables.flows.len(), "took over from an older datapath");
    pins.retire(version)
}

impl Tables<'_> {
    fn fill(&mut self, older: &dyn Older) -> Result<(), DatapathError> {
        for (port, value) in older.ports() {
            self.ports.restore(port, &value)?;
        }
        for (peer, addresses) in older.peers() {
            self.outputs.set_peer(peer, Some(addresses))?;
        }
        self.outputs.set_members(&older.members()?)?;
        for (key, delivery) in older.keys()? {
            self.outputs.set_key(key, Some(&delivery))?;
        }
        for (group, outputs) in older.groups() {
            self.outputs.set_group(group, &outputs)?;
        }
        let mut no_room = 0_usize;
        let unreadable = older.flows(&mut |spec, used_at| {
            match self.flows.install(spec, used_at.nanos()) {
                Err(DatapathError::Full { .. } | DatapathError::Invalid(_)) => no_room += 1,
                other => other?,
            }
            Ok(())
        })?;
        if no_room + unreadable > 0 {
            // Their next packets are asked about, as new flows are.
            tracing::warn!(no_room, unreadable, "some flows are not taken over");
        }
        // Misses are dropped, as before, until our agent says that it lives.
        self.config.word(0, Config::HEARTBEAT_AT).store(older.heartbeat_at(), Release);
        Ok(())
    }

    /// Adds what the older programs have counted. What is taken there is zero after, and is added
    /// at once: a death in between costs at most what one flow, meter or cause of drops counted.
    fn gather(&mut self, older: &dyn Older) -> Result<(), DatapathError> {
        older.take_flow_counters(&mut |spec, counters| self.flows.count(spec, counters));
        older.take_meters(&mut |index, counters| {
            super::meters::count(self.meters, index, counters);
        });
        for (port, stats) in older.port_stats()? {
            self.ports.carry(port, &stats);
        }
        older.take_drops(&mut |port, cause, count| self.drops.count(port, cause, count))?;
        for port in older.take_upcalls()? {
            self.drops.count(port, DropCause::AgentDown, 1);
        }
        Ok(())
    }
}

/// The value of a key on all processors together, of a map whose values are `size` octets.
pub fn each_processor(
    map: BorrowedFd<'_>,
    key: &[u8],
    size: usize,
) -> Result<Option<Vec<Vec<u8>>>, DatapathError> {
    let processors = super::ports::processors()?;
    let mut octets = vec![0; size * processors];
    let there = sys::map_lookup(map.as_fd(), key, &mut octets).map_err(system("bpf"))?;
    Ok(there.then(|| octets.chunks_exact(size).map(<[u8]>::to_vec).collect()))
}
