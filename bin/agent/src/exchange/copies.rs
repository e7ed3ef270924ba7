//! Copies of other hosts' translations, in memory and on disk: whoever asks is told of them, also
//! when the host that made them is dead, and when this agent was (contracts §6).
//!
//! ```text
//! file   = boot id (16) (length of the record(2) checksum(4) record)*
//! ```
//!
//! A record is a copy or an end, as hosts tell them.

use std::collections::HashMap;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::path::PathBuf;

use mn_agent_core::NatTimeouts;
use mn_flowstate::Record;
use mn_ids::HostId;
use mn_simulation::nat::{Endpoint, NatBinding, NatKey};
use mn_time::Instant;
use mn_topology::DeviceId;
use uuid::Uuid;

use crate::nat_journal::append;

/// A file is written anew when it is this much larger than what it says.
const GROWTH: usize = 4;
/// Smaller files are left as they are.
const TIDY_FROM: usize = 16 << 20;
/// The most copies kept.
const COPIES_MAX: usize = 1 << 20;

/// A translation that another host made.
#[derive(Clone, Copy, Debug)]
pub(super) struct Held {
    pub(super) owner: HostId,
    pub(super) binding: NatBinding,
    used_at: Instant,
}

/// All of them.
#[derive(Debug)]
pub(super) struct Copies {
    held: HashMap<NatKey, Held>,
    timeouts: NatTimeouts,
    path: PathBuf,
    boot: Uuid,
    file: Option<File>,
    pending: Vec<u8>,
    size: usize,
}

impl Copies {
    /// Those of an earlier agent of this boot of the machine.
    pub(super) fn open(
        path: PathBuf,
        boot: Uuid,
        timeouts: NatTimeouts,
        now: Instant,
    ) -> io::Result<Self> {
        let mut held = HashMap::new();
        match fs::read(&path) {
            Ok(octets) => replay(&octets, boot, now, &mut held),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
        let pending = Vec::new();
        let mut copies = Self { held, timeouts, path, boot, file: None, pending, size: 0 };
        copies.write_anew()?;
        Ok(copies)
    }

    pub(super) fn len(&self) -> usize {
        self.held.len()
    }

    pub(super) fn contains(&self, key: &NatKey) -> bool {
        self.held.contains_key(key)
    }

    pub(super) fn of(&self, device: DeviceId) -> impl Iterator<Item = &Held> {
        self.held.values().filter(move |held| held.binding.key.device == device)
    }

    pub(super) fn all(&self) -> impl Iterator<Item = &Held> {
        self.held.values()
    }

    /// Keeps a copy; whether it could be kept.
    pub(super) fn put(&mut self, owner: HostId, binding: NatBinding, now: Instant) -> bool {
        if self.held.len() >= COPIES_MAX && !self.held.contains_key(&binding.key) {
            return false;
        }
        let before = self.held.insert(binding.key, Held { owner, binding, used_at: now });
        if before.is_none_or(|it| it.owner != owner || it.binding != binding) {
            self.note(&Record::Copy { owner, binding });
        }
        true
    }

    /// Forgets a copy, if this host made the translation; whether it did.
    pub(super) fn remove(&mut self, owner: HostId, key: &NatKey, to: Endpoint) -> bool {
        let same = |held: &Held| held.owner == owner && held.binding.to == to;
        if !self.held.get(key).is_some_and(same) {
            return false;
        }
        self.held.remove(key);
        self.note(&Record::Ended { key: *key, to });
        true
    }

    pub(super) fn note_use(&mut self, key: &NatKey, used_at: Instant) {
        if let Some(held) = self.held.get_mut(key) {
            held.used_at = held.used_at.max(used_at);
        }
    }

    /// Forgets what nobody has said for long to be used: later than its owner would.
    pub(super) fn expire(&mut self, now: Instant) {
        let timeouts = self.timeouts;
        let over = |held: &Held| held.used_at + timeouts.of(&held.binding) * 3 / 2 <= now;
        let gone: Vec<Held> =
            self.held.extract_if(|_, held| over(held)).map(|(_, held)| held).collect();
        for held in gone {
            self.note(&Record::Ended { key: held.binding.key, to: held.binding.to });
        }
    }

    /// Writes what was noted: before it is acknowledged.
    pub(super) fn flush(&mut self) {
        if self.pending.is_empty() {
            return;
        }
        let Some(file) = &mut self.file else { return self.pending.clear() };
        if let Err(error) = file.write_all(&self.pending) {
            tracing::error!(path = %self.path.display(), %error, event = "state-journal",
                "copies of other hosts' translations cannot be kept on disk");
            self.file = None;
        }
        self.size += self.pending.len();
        self.pending.clear();
        if self.size >= TIDY_FROM
            && self.size >= GROWTH * self.held.len() * 130
            && let Err(error) = self.write_anew()
        {
            tracing::error!(path = %self.path.display(), %error, "copies cannot be kept");
        }
    }

    fn note(&mut self, record: &Record) {
        let mut body = Vec::new();
        record.put(&mut body);
        append(&mut self.pending, &body);
    }

    fn write_anew(&mut self) -> io::Result<()> {
        let new = self.path.with_extension("new");
        self.pending.clear();
        self.pending.extend(self.boot.as_bytes());
        let all: Vec<Held> = self.held.values().copied().collect();
        for Held { owner, binding, .. } in all {
            self.note(&Record::Copy { owner, binding });
        }
        fs::write(&new, &self.pending)?;
        fs::rename(&new, &self.path)?;
        self.size = self.pending.len();
        self.pending.clear();
        self.file = Some(OpenOptions::new().append(true).open(&self.path)?);
        Ok(())
    }
}

/// Does what a file says, as far as it can be read.
fn replay(octets: &[u8], boot: Uuid, now: Instant, held: &mut HashMap<NatKey, Held>) {
    crate::nat_journal::each_body(octets, boot, |mut body| {
        match Record::take(&mut body) {
            Ok(Record::Copy { owner, binding }) => {
                held.insert(binding.key, Held { owner, binding, used_at: now });
            }
            Ok(Record::Ended { key, .. }) => drop(held.remove(&key)),
            Ok(_) => {}
            Err(_) => return false,
        }
        true
    });
}

#[cfg(test)]
mod tests {
    use mn_ids::Id;
    use mn_packet::IpProtocol;
    use mn_simulation::nat::{NatKind, NatOrigin, NatTuple};
    use mn_time::Duration;

    use super::*;

    const BOOT: Uuid = Uuid::from_u128(1);

    fn binding(number: u16) -> NatBinding {
        let tuple = NatTuple {
            protocol: IpProtocol::UDP,
            src: "::ffff:10.0.0.1".parse().unwrap(),
            dst: "2001:db8::1".parse().unwrap(),
            src_port: number,
            dst_port: 80,
        };
        let device = DeviceId::Router(Id::from_uuid(Uuid::from_u128(7)));
        NatBinding {
            key: NatKey { kind: NatKind::Source, device, tuple },
            to: Endpoint { addr: "::ffff:203.0.113.2".parse().unwrap(), port: number },
            by: NatOrigin::Rule {
                chain: Id::from_uuid(Uuid::from_u128(8)),
                rule: Id::from_uuid(Uuid::from_u128(9)),
            },
        }
    }

    fn at(seconds: u64) -> Instant {
        Instant::ZERO + Duration::from_secs(seconds)
    }

    fn ports(copies: &Copies) -> Vec<u16> {
        let mut ports: Vec<u16> = copies.all().map(|held| held.binding.to.port).collect();
        ports.sort_unstable();
        ports
    }

    #[test]
    fn copies_outlive_the_agent_but_not_the_machine_and_end_as_their_owner_says() {
        let root = tempfile::tempdir().unwrap();
        let path = root.path().join("peers.log");
        let (owner, other) = (Id::random(), Id::random());
        let mut copies = Copies::open(path.clone(), BOOT, NatTimeouts::default(), at(0)).unwrap();
        assert!((1..=4).all(|number| copies.put(owner, binding(number), at(0))));
        assert!(copies.remove(owner, &binding(2).key, binding(2).to));
        assert!(!copies.remove(other, &binding(3).key, binding(3).to), "not its translation");
        copies.flush();
        let again = Copies::open(path.clone(), BOOT, NatTimeouts::default(), at(9)).unwrap();
        assert_eq!(ports(&again), [1, 3, 4]);
        assert!(again.all().all(|held| held.owner == owner));
        let elsewhere =
            Copies::open(path, Uuid::from_u128(2), NatTimeouts::default(), at(9)).unwrap();
        assert_eq!(elsewhere.len(), 0, "its virtual machines are gone too");
    }

    #[test]
    fn a_copy_that_nobody_uses_goes_and_one_that_is_used_stays() {
        let root = tempfile::tempdir().unwrap();
        let path = root.path().join("peers.log");
        let mut copies = Copies::open(path.clone(), BOOT, NatTimeouts::default(), at(0)).unwrap();
        assert!((1..=2).all(|number| copies.put(Id::random(), binding(number), at(0))));
        copies.note_use(&binding(2).key, at(200));
        copies.expire(at(449));
        assert_eq!(copies.len(), 2);
        copies.expire(at(450));
        copies.flush();
        assert_eq!(ports(&copies), [2]);
        assert_eq!(ports(&Copies::open(path, BOOT, NatTimeouts::default(), at(0)).unwrap()), [2]);
    }

    #[test]
    fn a_copy_of_what_ties_a_client_stays_for_a_day_whatever_its_protocol() {
        const HOUR: u64 = 3600;
        let root = tempfile::tempdir().unwrap();
        let path = root.path().join("peers.log");
        let mut copies = Copies::open(path, BOOT, NatTimeouts::default(), at(0)).unwrap();
        let (pool, member) = (Id::random(), Id::random());
        let mut tie = NatBinding { by: NatOrigin::Client { pool, member }, ..binding(1) };
        for (protocol, port) in [(IpProtocol::TCP, 1), (IpProtocol::UDP, 2)] {
            tie.key.tuple.protocol = protocol;
            tie.to.port = port;
            assert!(copies.put(Id::random(), tie, at(0)));
        }
        copies.expire(at(24 * HOUR));
        assert_eq!(ports(&copies), [1, 2], "its owner is the one to end it");
        copies.expire(at(36 * HOUR));
        assert_eq!(copies.len(), 0);
    }
}
