//! Translations on disk, so that connections survive the agent's death (contracts §6).
//!
//! One file per worker, appended to as translations come and go and never forced to the disk: it
//! is to survive the agent, not the machine, whose virtual machines die with it. A file of another
//! boot of the machine is not read.
//!
//! ```text
//! file   = boot id (16) record*
//! record = length of the body (2, little-endian) | checksum of the body (4) | body
//! body   = 1 key to(18) chain(16) rule(16)    made
//!        | 2 key                              forgotten
//!        | 3 key                              its connection has ended
//! ```
//!
//! A key and what is made are encoded as hosts tell them one another.

use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use mn_agent_core::NatTable;
use mn_flowstate::{put_binding, put_key, take_binding, take_key};
use mn_simulation::nat::{NatBinding, NatKey};
use uuid::Uuid;

/// A file is written anew when it is this much larger than what it says.
const GROWTH: usize = 4;
/// Smaller files are left as they are.
const TIDY_FROM: usize = 16 << 20;
const MADE: u8 = 1;
const ENDED: u8 = 2;
const CLOSED: u8 = 3;
const KEY_LEN: usize = 55;

/// A translation of an earlier agent.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Kept {
    pub(crate) binding: NatBinding,
    /// Its connection has ended.
    pub(crate) ended: bool,
}

/// One worker's file.
#[derive(Debug)]
pub(crate) struct NatJournal {
    path: PathBuf,
    boot: Uuid,
    /// `None`: it cannot be written; translations then die with the agent.
    file: Option<File>,
    /// What was not written yet.
    pending: Vec<u8>,
    size: usize,
}

/// What the files of an earlier agent say.
pub(crate) fn read_all(root: &Path, boot: Uuid) -> Vec<Kept> {
    let mut live = BTreeMap::new();
    let Ok(entries) = fs::read_dir(root) else { return Vec::new() };
    let mut paths: Vec<PathBuf> = entries.flatten().map(|entry| entry.path()).collect();
    paths.sort();
    for path in paths.iter().filter(|path| worker_of(path).is_some()) {
        match fs::read(path) {
            Ok(octets) => replay(&octets, boot, &mut live),
            Err(error) => {
                tracing::warn!(path = %path.display(), %error, "translations cannot be read");
            }
        }
    }
    live.into_values().collect()
}

/// The number of the worker whose file this is.
fn worker_of(path: &Path) -> Option<usize> {
    let name = path.file_name()?.to_str()?;
    name.strip_prefix("nat.")?.strip_suffix(".log")?.parse().ok()
}

/// Which boot of the machine this is.
pub(crate) fn boot_id() -> Uuid {
    let text = fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default();
    text.trim().parse().unwrap_or_default()
}

/// Removes the files of an earlier agent's workers beyond so many: what they said is in those of
/// this agent's, which have taken the place of the others.
pub(crate) fn remove_beyond(root: &Path, workers: usize) {
    let Ok(entries) = fs::read_dir(root) else { return };
    let beyond = |path: &PathBuf| worker_of(path).is_some_and(|worker| worker >= workers);
    for path in entries.flatten().map(|entry| entry.path()).filter(beyond) {
        if let Err(error) = fs::remove_file(&path) {
            tracing::warn!(path = %path.display(), %error, "old translations cannot be removed");
        }
    }
}

impl NatJournal {
    /// A file of one worker, which begins with these translations.
    ///
    /// # Errors
    ///
    /// It cannot be written.
    pub(crate) fn create<'a>(
        root: &Path,
        worker: usize,
        boot: Uuid,
        live: impl Iterator<Item = (&'a NatBinding, bool)>,
    ) -> io::Result<Self> {
        let path = root.join(format!("nat.{worker}.log"));
        let mut journal = Self { path, boot, file: None, pending: Vec::new(), size: 0 };
        journal.write_anew(live)?;
        Ok(journal)
    }

    /// Notes a translation that was made.
    pub(crate) fn made(&mut self, binding: &NatBinding) {
        let mut body = vec![MADE];
        put_binding(&mut body, binding);
        append(&mut self.pending, &body);
    }

    /// Notes a translation that is forgotten.
    pub(crate) fn ended(&mut self, key: &NatKey) {
        self.note(ENDED, key);
    }

    /// Notes a translation whose connection has ended.
    pub(crate) fn closed(&mut self, key: &NatKey) {
        self.note(CLOSED, key);
    }

    fn note(&mut self, what: u8, key: &NatKey) {
        let mut body = vec![what];
        put_key(&mut body, key);
        append(&mut self.pending, &body);
    }

    /// Writes what was noted: before the packets' flows are there.
    pub(crate) fn flush(&mut self) {
        if self.pending.is_empty() {
            return;
        }
        if let Some(file) = &mut self.file
            && let Err(error) = file.write_all(&self.pending)
        {
            tracing::error!(path = %self.path.display(), %error, event = "nat-journal",
                "translations cannot be kept on disk; they would not survive this agent");
            self.file = None;
        }
        self.size += self.pending.len();
        self.pending.clear();
    }

    /// Writes the file anew where most of it is of the past.
    pub(crate) fn tidy(&mut self, table: &NatTable) {
        let live = table.len() * (KEY_LEN + 57);
        if self.size < TIDY_FROM || self.size < GROWTH * live {
            return;
        }
        self.pending.clear();
        if let Err(error) = self.write_anew(table.own()) {
            tracing::error!(path = %self.path.display(), %error, "translations cannot be kept");
        }
    }

    fn write_anew<'a>(
        &mut self,
        live: impl Iterator<Item = (&'a NatBinding, bool)>,
    ) -> io::Result<()> {
        let new = self.path.with_extension("new");
        self.pending.clear();
        self.pending.extend(self.boot.as_bytes());
        for (binding, ended) in live {
            self.made(binding);
            if ended {
                self.closed(&binding.key);
            }
        }
        fs::write(&new, &self.pending)?;
        fs::rename(&new, &self.path)?;
        self.size = self.pending.len();
        self.pending.clear();
        self.file = Some(OpenOptions::new().append(true).open(&self.path)?);
        Ok(())
    }
}

/// Appends one body with its length and checksum.
pub(crate) fn append(out: &mut Vec<u8>, body: &[u8]) {
    let len = u16::try_from(body.len()).unwrap_or(u16::MAX);
    out.extend(len.to_le_bytes());
    out.extend(checksum(body).to_le_bytes());
    out.extend(body);
}

/// FNV-1a: tells a record that was cut off.
fn checksum(body: &[u8]) -> u32 {
    body.iter().fold(0x811c_9dc5, |sum, octet| (sum ^ u32::from(*octet)).wrapping_mul(0x0100_0193))
}

/// Does what a file says, as far as it can be read.
fn replay(octets: &[u8], boot: Uuid, live: &mut BTreeMap<NatKey, Kept>) {
    each_body(octets, boot, |body| {
        match body.split_first() {
            Some((&MADE, mut body)) => {
                if let Some(binding) = take_binding(&mut body) {
                    live.insert(binding.key, Kept { binding, ended: false });
                }
            }
            Some((&ENDED, mut body)) => {
                if let Some(key) = take_key(&mut body) {
                    live.remove(&key);
                }
            }
            Some((&CLOSED, mut body)) => {
                if let Some(kept) = take_key(&mut body).and_then(|key| live.get_mut(&key)) {
                    kept.ended = true;
                }
            }
            _ => return false,
        }
        true
    });
}

/// Hands out the bodies of a file of this boot, until one is cut off or `each` has enough.
pub(crate) fn each_body(octets: &[u8], boot: Uuid, mut each: impl FnMut(&[u8]) -> bool) {
    let Some((of_boot, mut rest)) = octets.split_first_chunk::<16>() else { return };
    if of_boot != boot.as_bytes() {
        return;
    }
    while let Some((head, after)) = rest.split_first_chunk::<6>() {
        let [l0, l1, s0, s1, s2, s3] = *head;
        let len = usize::from(u16::from_le_bytes([l0, l1]));
        let Some(body) = after.get(..len) else { return };
        if checksum(body) != u32::from_le_bytes([s0, s1, s2, s3]) || !each(body) {
            return;
        }
        rest = &after[len..];
    }
}

#[cfg(test)]
mod tests {
    use mn_ids::Id;
    use mn_packet::IpProtocol;
    use mn_simulation::nat::{Endpoint, NatKind, NatOrigin, NatTuple};
    use mn_topology::DeviceId;

    use super::*;

    fn binding(n: u16) -> NatBinding {
        let tuple = NatTuple {
            protocol: IpProtocol::TCP,
            src: "::ffff:10.0.0.1".parse().unwrap(),
            dst: "2001:db8::1".parse().unwrap(),
            src_port: n,
            dst_port: 80,
        };
        let device = DeviceId::Router(Id::from_uuid(Uuid::from_u128(7)));
        let kind = if n.is_multiple_of(2) { NatKind::Source } else { NatKind::Destination };
        NatBinding {
            key: NatKey { kind, device, tuple },
            to: Endpoint { addr: "::ffff:203.0.113.2".parse().unwrap(), port: 7000 + n },
            by: NatOrigin::Rule {
                chain: Id::from_uuid(Uuid::from_u128(8)),
                rule: Id::from_uuid(Uuid::from_u128(9)),
            },
        }
    }

    fn directory() -> PathBuf {
        let path = std::env::temp_dir().join(format!("nat-journal-{}", Uuid::new_v4()));
        fs::create_dir(&path).unwrap();
        path
    }

    const BOOT: Uuid = Uuid::from_u128(1);

    fn open(bindings: &[NatBinding]) -> impl Iterator<Item = (&NatBinding, bool)> {
        bindings.iter().map(|binding| (binding, false))
    }

    #[test]
    fn what_was_made_and_not_ended_is_there_in_the_next_life() {
        let root = directory();
        let mut journal =
            NatJournal::create(&root, 0, BOOT, open(&[binding(1), binding(2)])).unwrap();
        journal.made(&binding(3));
        journal.ended(&binding(1).key);
        journal.closed(&binding(2).key);
        journal.flush();
        let mut other = NatJournal::create(&root, 1, BOOT, open(&[])).unwrap();
        other.made(&binding(4));
        other.flush();
        let mut live = read_all(&root, BOOT);
        live.sort_by_key(|kept| kept.binding.key.tuple.src_port);
        let kept = |n, ended| Kept { binding: binding(n), ended };
        assert_eq!(live, [kept(2, true), kept(3, false), kept(4, false)]);
        assert_eq!(read_all(&root, Uuid::from_u128(2)), [], "the machine was started anew");
        // The next agent has one worker: until its file is written the others' are there.
        let all: Vec<NatBinding> = live.iter().map(|kept| kept.binding).collect();
        drop(NatJournal::create(&root, 0, BOOT, open(&all)).unwrap());
        remove_beyond(&root, 1);
        assert_eq!((read_all(&root, BOOT).len(), root.join("nat.1.log").exists()), (3, false));
        fs::remove_dir_all(root).unwrap();
    }

    #[test]
    fn a_record_that_was_cut_off_takes_nothing_from_those_before_it() {
        let root = directory();
        let mut journal = NatJournal::create(&root, 0, BOOT, open(&[])).unwrap();
        journal.made(&binding(1));
        journal.made(&binding(2));
        journal.flush();
        let path = root.join("nat.0.log");
        let kept = Kept { binding: binding(1), ended: false };
        let whole = fs::read(&path).unwrap();
        for len in 0..whole.len() {
            fs::write(&path, &whole[..len]).unwrap();
            let read = read_all(&root, BOOT);
            assert!(read.is_empty() || read == [kept], "{len}: {read:?}");
        }
        let mut wrong = whole;
        let last = wrong.len() - 1;
        wrong[last] ^= 1;
        fs::write(&path, &wrong).unwrap();
        assert_eq!(read_all(&root, BOOT), [kept]);
        fs::remove_dir_all(root).unwrap();
    }
}
