//! What must outlive the agent's process on this machine: numbers that flows in the datapath and
//! other hosts know.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::{self, Write};
use std::num::NonZeroU64;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use mn_flow::{PeerIndex, PortNo, TunnelKey, Zone};
use mn_flowstate::Epoch;
use mn_ids::{BridgeId, HostId, PortId};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// Tunnel keys that are set aside on disk at once, so that giving one out writes nothing.
const KEYS_AHEAD: u32 = 64;
/// Ports of one host.
const PORTS_MAX: u32 = 4096;
/// Hosts one host tunnels to.
const PEERS_MAX: u32 = 4096;
/// Devices with ports on one host.
const ZONES_MAX: u32 = 4096;

/// The file's content, and where it is.
#[derive(Debug)]
pub(crate) struct Numbers {
    path: PathBuf,
    kept: Kept,
}

#[derive(Debug, Default, Deserialize, Serialize)]
#[serde(default)]
struct Kept {
    /// How often an agent was started here.
    life: u16,
    /// The same for other hosts, which never hear a smaller one of a later life.
    epoch: u64,
    /// Every tunnel key below it may have been used.
    key_limit: u32,
    next_port: u32,
    ports: BTreeMap<PortId, KeptPort>,
    peers: BTreeMap<HostId, PeerIndex>,
    floods: BTreeMap<BridgeId, KeptFlood>,
    /// Of devices with ports here. The number after the last that was given out.
    zones: BTreeMap<Uuid, Zone>,
    next_zone: u32,
}

/// A port that is, or was, attached here.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub(crate) struct KeptPort {
    pub(crate) number: PortNo,
    pub(crate) interface: String,
    pub(crate) key: TunnelKey,
}

/// A published flood group.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub(crate) struct KeptFlood {
    pub(crate) key: TunnelKey,
    pub(crate) ports: Vec<PortId>,
}

/// When written octets are on the disk.
#[derive(Clone, Copy, Eq, PartialEq)]
enum Sync {
    /// Before anything else is done: tunnel keys must not come again after a crash of the host.
    Disk,
    /// When the kernel likes: what it is about dies with the kernel's datapath.
    Later,
}

impl Kept {
    /// Where the file is lost: keys go on from a random place, so that one an earlier activation
    /// had is unlikely to come again soon.
    fn after_loss() -> Self {
        let [.., a, b, c] = PortId::random().uuid().into_bytes();
        let key_limit = u32::from_be_bytes([0, a, b, c]) & TunnelKey::VALUE_MAX;
        Self { key_limit, ..Self::default() }
    }
}

impl Numbers {
    /// Reads the file, or begins one, for another life of the agent.
    pub(crate) fn open(root: &Path) -> io::Result<Self> {
        let path = root.join("numbers.json");
        let kept = match fs::read(&path) {
            Ok(json) => serde_json::from_slice(&json).unwrap_or_else(|error| {
                tracing::error!(%error, path = %path.display(), "begun anew: it cannot be read");
                Kept::after_loss()
            }),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Kept::default(),
            Err(error) => return Err(error),
        };
        let mut numbers = Self { path, kept };
        numbers.kept.life = numbers.kept.life.wrapping_add(1);
        numbers.kept.epoch = (numbers.kept.epoch + 1).max(milliseconds());
        numbers.save(Sync::Disk)?;
        Ok(numbers)
    }

    pub(crate) const fn life(&self) -> u16 {
        self.kept.life
    }

    /// Which life it is, for other hosts: greater than all before, also where the file was lost.
    pub(crate) fn epoch(&self) -> Epoch {
        Epoch(NonZeroU64::new(self.kept.epoch).unwrap_or(NonZeroU64::MIN))
    }

    /// The first tunnel key that was never given out.
    pub(crate) const fn key_limit(&self) -> u32 {
        self.kept.key_limit
    }

    /// Makes sure that a later life begins after the key `next`.
    pub(crate) fn keys_used_to(&mut self, next: u32) {
        // Round the corner of 21 bits the limit begins again.
        let ahead = self.kept.key_limit.wrapping_sub(next) & TunnelKey::VALUE_MAX;
        if ahead == 0 || ahead > KEYS_AHEAD {
            self.kept.key_limit = (next + KEYS_AHEAD) & TunnelKey::VALUE_MAX;
            self.save_or_say(Sync::Disk);
        }
    }

    pub(crate) fn ports(&self) -> &BTreeMap<PortId, KeptPort> {
        &self.kept.ports
    }

    /// The number of a port: its own, or one that was not used lately.
    pub(crate) fn port_number(&mut self, port: PortId) -> Option<PortNo> {
        if let Some(kept) = self.kept.ports.get(&port) {
            return Some(kept.number);
        }
        let first = PortNo::FIRST_BOUND.0;
        for _ in first..PORTS_MAX {
            let number = PortNo(self.kept.next_port.clamp(first, PORTS_MAX - 1));
            self.kept.next_port = if number.0 + 1 < PORTS_MAX { number.0 + 1 } else { first };
            if self.kept.ports.values().all(|kept| kept.number != number) {
                return Some(number);
            }
        }
        None
    }

    pub(crate) fn keep_port(&mut self, port: PortId, kept: KeptPort) {
        self.kept.ports.insert(port, kept);
        self.save_or_say(Sync::Later);
    }

    pub(crate) fn forget_port(&mut self, port: PortId) {
        self.kept.ports.remove(&port);
        self.save_or_say(Sync::Later);
    }

    /// The index of a host we tunnel to, the same in every life.
    pub(crate) fn peer(&mut self, host: HostId) -> Option<PeerIndex> {
        if let Some(index) = self.kept.peers.get(&host) {
            return Some(*index);
        }
        let used = |index| self.kept.peers.values().any(|other| *other == index);
        let index = (1..PEERS_MAX).map(PeerIndex).find(|index| !used(*index))?;
        self.kept.peers.insert(host, index);
        self.save_or_say(Sync::Later);
        Some(index)
    }

    pub(crate) fn floods(&self) -> &BTreeMap<BridgeId, KeptFlood> {
        &self.kept.floods
    }

    pub(crate) fn keep_flood(&mut self, bridge: BridgeId, flood: Option<KeptFlood>) {
        match flood {
            Some(flood) => drop(self.kept.floods.insert(bridge, flood)),
            None => drop(self.kept.floods.remove(&bridge)),
        }
        self.save_or_say(Sync::Later);
    }

    /// The zone of a device, by its id; `None` where no number is free.
    pub(crate) fn zone(&mut self, device: Uuid) -> Option<Zone> {
        if let Some(zone) = self.kept.zones.get(&device) {
            return Some(*zone);
        }
        for _ in 1..ZONES_MAX {
            let zone = Zone(self.kept.next_zone.clamp(1, ZONES_MAX - 1));
            self.kept.next_zone = zone.0 + 1;
            if self.kept.next_zone == ZONES_MAX {
                self.kept.next_zone = 1;
            }
            if self.kept.zones.values().all(|used| *used != zone) {
                self.kept.zones.insert(device, zone);
                self.save_or_say(Sync::Later);
                return Some(zone);
            }
        }
        None
    }

    /// Gives up the zones that are not among these; which those were.
    pub(crate) fn keep_zones(&mut self, used: &BTreeSet<Zone>) -> Vec<Zone> {
        let gone = self.kept.zones.extract_if(.., |_, zone| !used.contains(zone));
        let gone: Vec<Zone> = gone.map(|(_, zone)| zone).collect();
        if !gone.is_empty() {
            self.save_or_say(Sync::Later);
        }
        gone
    }

    /// Every tunnel key in use.
    pub(crate) fn keys(&self) -> impl Iterator<Item = TunnelKey> + '_ {
        let ports = self.kept.ports.values().map(|kept| kept.key);
        ports.chain(self.kept.floods.values().map(|kept| kept.key))
    }

    fn save_or_say(&self, sync: Sync) {
        if let Err(error) = self.save(sync) {
            tracing::error!(%error, path = %self.path.display(), "the agent's state cannot be kept");
        }
    }

    /// Writes the file whole or not at all.
    fn save(&self, sync: Sync) -> io::Result<()> {
        let new = self.path.with_extension("new");
        let mut file = fs::File::create(&new)?;
        file.write_all(&serde_json::to_vec(&self.kept)?)?;
        if sync == Sync::Disk {
            file.sync_all()?;
        }
        fs::rename(&new, &self.path)
    }
}

/// Since 1970.
fn milliseconds() -> u64 {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use mn_flow::KeyKind;
    use mn_ids::Id;

    use super::*;

    #[test]
    fn numbers_survive_the_process_and_keys_go_on_after_those_given_out() {
        let root = tempfile::tempdir().unwrap();
        let (port, peer) = (Id::random(), Id::random());
        let mut first = Numbers::open(root.path()).unwrap();
        let number = first.port_number(port).unwrap();
        let key = TunnelKey::new(KeyKind::Port, 5).unwrap();
        first.keep_port(port, KeptPort { number, interface: "tap0".to_owned(), key });
        let index = first.peer(peer).unwrap();
        for next in 1..200 {
            first.keys_used_to(next);
        }
        let mut second = Numbers::open(root.path()).unwrap();
        assert_eq!(second.life(), first.life() + 1);
        assert!(second.epoch() > first.epoch());
        assert_eq!((second.port_number(port), second.peer(peer)), (Some(number), Some(index)));
        assert!(second.key_limit() >= 199);
    }

    #[test]
    fn a_device_keeps_its_zone_while_it_has_ports_here() {
        let root = tempfile::tempdir().unwrap();
        let [a, b, c]: [Uuid; 3] = [(); 3].map(|()| PortId::random().uuid());
        let mut first = Numbers::open(root.path()).unwrap();
        let zones = [a, b].map(|device| first.zone(device).unwrap());
        assert_ne!(zones[0], zones[1]);
        let mut second = Numbers::open(root.path()).unwrap();
        assert_eq!([a, b].map(|device| second.zone(device).unwrap()), zones);
        assert_eq!(second.keep_zones(&[zones[1]].into()), [zones[0]]);
        assert!(!zones.contains(&second.zone(c).unwrap()), "not given to another at once");
    }

    #[test]
    fn a_number_is_not_given_to_another_port_at_once() {
        let root = tempfile::tempdir().unwrap();
        let mut numbers = Numbers::open(root.path()).unwrap();
        let key = TunnelKey::new(KeyKind::Port, 5).unwrap();
        let take = |numbers: &mut Numbers| {
            let port = Id::random();
            let number = numbers.port_number(port).unwrap();
            numbers.keep_port(port, KeptPort { number, interface: String::new(), key });
            numbers.forget_port(port);
            number
        };
        assert_ne!(take(&mut numbers), take(&mut numbers));
    }
}
