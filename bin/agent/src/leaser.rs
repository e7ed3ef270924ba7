//! Leases of blocks of ports, off the packet path (agent-facts §14, Leases).
//!
//! A block is an entry of an exclusive table of the state database: while a host has it, no other
//! can. It outlives the host's session by the grace time, and the host's next life takes it over.

use std::collections::{BTreeSet, HashMap};
use std::net::{IpAddr, Ipv6Addr};
use std::sync::Arc;
use std::sync::mpsc::Sender;
use std::time::Duration;

use mn_agent_core::{Block, Lease, Need};
use mn_ids::{HostId, Id};
use mn_nsdb::{
    Entry, Op, Owner, Remedy, Revision, Store, TableId, TableKind, Transaction, TxError,
};
use mn_packet::from_v6;
use mn_simulation::nat::{addresses, source_ports};
use mn_topology::{DeviceId, NatTarget};
use tokio::sync::{mpsc, watch};

use crate::worker::message::ToWorker;
use crate::worker::nat::Leased;

/// How often a lease is tried while others take the blocks that were chosen.
const TRIES: usize = 8;
/// Between two tries while the state database cannot be reached.
const RETRY_AFTER: Duration = Duration::from_millis(500);
/// Addresses of one target that are looked at for a free block.
const ADDRESSES_MAX: u128 = 4096;

/// What the leaser is asked for.
#[derive(Debug)]
pub(crate) enum LeaseAsk {
    /// A worker needs ports.
    Need { worker: usize, need: Need },
    /// A worker has no use for these any more.
    GiveBack(Lease),
}

/// The leaser.
pub(crate) struct Leaser {
    pub(crate) store: Arc<dyn Store>,
    pub(crate) host: HostId,
    pub(crate) workers: Vec<Sender<ToWorker>>,
    /// The host's present session.
    pub(crate) epoch: watch::Receiver<Option<u64>>,
    /// What workers have.
    pub(crate) held: HashMap<(DeviceId, Block), usize>,
    /// The session of which all of that is known to be leased.
    pub(crate) claimed: u64,
}

impl Leaser {
    /// Works until the channel closes.
    pub(crate) async fn run(mut self, mut asks: mpsc::Receiver<LeaseAsk>) {
        loop {
            tokio::select! {
                ask = asks.recv() => match ask {
                    None => return,
                    Some(LeaseAsk::Need { worker, need }) => self.need(worker, need).await,
                    Some(LeaseAsk::GiveBack(lease)) => self.give_back(lease).await,
                },
                Ok(()) = self.epoch.changed() => {}
            }
            let epoch = *self.epoch.borrow();
            if let Some(epoch) = epoch.filter(|epoch| *epoch != self.claimed) {
                self.claimed = epoch;
                self.claim_again(epoch).await;
            }
        }
    }

    async fn need(&mut self, worker: usize, need: Need) {
        let blocks = self.lease(&need).await;
        if blocks.is_empty() {
            tracing::warn!(
                device = %mn_ids::ObjectKey::from(need.device),
                rule = %need.rule,
                event = "nat-ports-exhausted",
                "no block of ports is left to lease for this rule"
            );
        }
        for block in &blocks {
            self.held.insert((need.device, *block), worker);
        }
        let lease = Lease { device: need.device, blocks };
        self.tell(worker, ToWorker::Ports(Leased { rule: need.rule, lease }));
    }

    /// Leases blocks for a rule: those this host had and nobody uses, then free ones.
    async fn lease(&mut self, need: &Need) -> Vec<Block> {
        for _ in 0..TRIES {
            let epoch = self.session().await;
            let entries = match self.store.entries(table(need.device)).await {
                Ok(entries) => entries,
                Err(error) => {
                    tracing::debug!(%error, "leases cannot be read yet");
                    tokio::time::sleep(RETRY_AFTER).await;
                    continue;
                }
            };
            let blocks = self.choose(need, &entries);
            if blocks.is_empty() || self.write(need.device, &blocks, epoch).await {
                return blocks;
            }
        }
        Vec::new()
    }

    fn choose(&self, need: &Need, entries: &[Entry]) -> Vec<Block> {
        let mut taken = BTreeSet::new();
        let mut left_over = Vec::new();
        for entry in entries {
            let Some(block) = block(&entry.key) else { continue };
            taken.insert(block);
            let own = matches!(entry.owner, Owner::Host { id, .. } if id == self.host);
            let fits = need.targets.iter().any(|target| fits(target, block));
            if own && fits && !self.held.contains_key(&(need.device, block)) {
                left_over.push(block);
            }
        }
        left_over.truncate(need.blocks);
        let mut chosen = left_over;
        let seed = Id::<mn_ids::Host>::random().uuid().as_u128();
        for target in &need.targets {
            free(target, &taken, seed, need.blocks, &mut chosen);
        }
        chosen
    }

    /// Takes a block for this host.
    fn put(&self, device: DeviceId, block: Block, epoch: u64) -> Op {
        let entry = Entry {
            key: key(block),
            value: "{}".to_owned(),
            owner: Owner::Host { id: self.host, epoch },
            revision: Revision::ZERO,
        };
        Op::PutEntry { table: table(device), entry }
    }

    /// Whether all of them are this host's now.
    async fn write(&self, device: DeviceId, blocks: &[Block], epoch: u64) -> bool {
        let ops = blocks.iter().map(|block| self.put(device, *block, epoch)).collect();
        match self.store.transact(Transaction { ops }).await {
            Ok(_) => true,
            Err(error) => {
                tracing::debug!(%error, "blocks of ports are not leased");
                if !matches!(error, TxError::Taken { .. }) {
                    tokio::time::sleep(RETRY_AFTER).await;
                }
                false
            }
        }
    }

    async fn give_back(&mut self, lease: Lease) {
        let epoch = self.session().await;
        let owner = Owner::Host { id: self.host, epoch };
        for block in &lease.blocks {
            self.held.remove(&(lease.device, *block));
        }
        let remove =
            |block: &Block| Op::RemoveEntry { table: table(lease.device), key: key(*block), owner };
        let ops = lease.blocks.iter().map(remove).collect();
        if let Err(error) = self.store.transact(Transaction { ops }).await {
            // They stay this host's, and are the first to be used again.
            tracing::debug!(%error, "blocks of ports are not given back");
        }
    }

    /// A new session: what it took over is there still, and what was lost meanwhile (the state
    /// database was out of reach for longer than the grace time) is leased again, unless another
    /// has it now.
    async fn claim_again(&mut self, epoch: u64) {
        for ((device, block), worker) in self.held.clone() {
            loop {
                let ops = vec![self.put(device, block, epoch)];
                let Err(error) = self.store.transact(Transaction { ops }).await else { break };
                match error {
                    TxError::Taken { by, .. } => {
                        tracing::warn!(%by, block = %key(block), event = "nat-ports-lost",
                            "a block of ports is another host's now; its connections end");
                        self.held.remove(&(device, block));
                        let lost = Lease { device, blocks: vec![block] };
                        self.tell(worker, ToWorker::PortsLost(lost));
                        break;
                    }
                    other if matches!(other.remedy(), Remedy::RetryLater | Remedy::ReadBack) => {
                        tokio::time::sleep(RETRY_AFTER).await;
                    }
                    // The device is gone, or the session is over already: another comes.
                    _ => break,
                }
            }
        }
    }

    /// The epoch of the present session; waits for one.
    async fn session(&mut self) -> u64 {
        let epoch = self.epoch.wait_for(Option::is_some).await.ok().and_then(|epoch| *epoch);
        match epoch {
            Some(epoch) => epoch,
            // The control thread has ended: so does this task, with its channel.
            None => std::future::pending().await,
        }
    }

    fn tell(&self, worker: usize, message: ToWorker) {
        if self.workers.get(worker).is_some_and(|sender| sender.send(message).is_err()) {
            tracing::error!(worker, "a packet worker has ended");
        }
    }
}

fn table(device: DeviceId) -> TableId {
    match device {
        DeviceId::Bridge(id) => TableId::of(TableKind::BridgePorts, id),
        DeviceId::Router(id) => TableId::of(TableKind::RouterPorts, id),
    }
}

fn key(block: Block) -> String {
    format!("{}/{}", from_v6(block.addr), block.number)
}

fn block(key: &str) -> Option<Block> {
    let (addr, number) = key.split_once('/')?;
    let addr: IpAddr = addr.parse().ok()?;
    Some(Block { addr: mn_packet::to_v6(addr), number: number.parse().ok()? })
}

fn fits(target: &NatTarget, block: Block) -> bool {
    let ((first, last), (from, to)) = (addresses(target), source_ports(target));
    (first..=last).contains(&block.addr.to_bits()) && (from / 64..=to / 64).contains(&block.number)
}

/// Adds free blocks of a target until there are `count`; where the search begins is up to `seed`,
/// so that hosts seldom choose the same.
fn free(
    target: &NatTarget,
    taken: &BTreeSet<Block>,
    seed: u128,
    count: usize,
    chosen: &mut Vec<Block>,
) {
    let ((first, last), (from, to)) = (addresses(target), source_ports(target));
    let (from, blocks) = (from / 64, to / 64 - from / 64 + 1);
    let addrs = (last - first).saturating_add(1);
    let begin = (seed >> 64) % addrs;
    for nth in 0..addrs.min(ADDRESSES_MAX) {
        let addr = Ipv6Addr::from(first + (begin + nth) % addrs);
        for turn in 0..blocks {
            if chosen.len() >= count {
                return;
            }
            let number = from + ((seed as u16 % blocks) + turn) % blocks;
            let block = Block { addr, number };
            if !taken.contains(&block) && !chosen.contains(&block) {
                chosen.push(block);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn target(from: u16, to: u16) -> NatTarget {
        NatTarget {
            addr_from: "203.0.113.2".parse().unwrap(),
            addr_to: "203.0.113.3".parse().unwrap(),
            port_from: from,
            port_to: to,
        }
    }

    #[test]
    fn every_block_of_a_range_is_found_whatever_the_seed() {
        for seed in [0, 1, u128::MAX, 0x1234_5678 << 64 | 0x9abc] {
            let (mut taken, mut count) = (BTreeSet::new(), 0);
            loop {
                let mut chosen = Vec::new();
                free(&target(1000, 1300), &taken, seed, 1, &mut chosen);
                let Some(block) = chosen.pop() else { break };
                assert!(fits(&target(1000, 1300), block));
                assert!(taken.insert(block));
                count += 1;
            }
            assert_eq!(count, 2 * 6, "1000 to 1300 are the blocks 15 to 20, of two addresses");
        }
    }

    #[test]
    fn a_block_reads_back_as_it_is_written() {
        for addr in ["203.0.113.2", "2001:db8::2"] {
            let addr: IpAddr = addr.parse().unwrap();
            let it = Block { addr: mn_packet::to_v6(addr), number: 1023 };
            assert_eq!(block(&key(it)), Some(it));
        }
    }
}
