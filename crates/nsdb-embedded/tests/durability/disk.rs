//! A disk that crashes: what was not synchronized is lost, or not, or half.

use std::io::{Error, Result};
use std::ops::Bound;
use std::sync::{Arc, Mutex, MutexGuard};

use redb::{BackendError, StorageBackend};

use crate::dice::Dice;

/// What a disk writes in one go.
const SECTOR: usize = 512;

/// A disk. Clones are the same one.
#[derive(Clone, Debug)]
pub struct Disk(Arc<Mutex<Platters>>);

#[derive(Debug)]
struct Platters {
    /// What a crash cannot take back.
    kept: Vec<u8>,
    /// What is read.
    seen: Vec<u8>,
    /// What was done since the last synchronization.
    unsynced: Vec<Act>,
    acts_left: Option<u32>,
    crashed: bool,
    honest: bool,
    dice: Dice,
}

#[derive(Clone, Debug)]
enum Act {
    Write { offset: usize, data: Vec<u8> },
    SetLen(usize),
}

impl Act {
    fn apply(&self, to: &mut Vec<u8>) {
        match self {
            Self::Write { offset, data } => {
                let end = offset + data.len();
                if to.len() < end {
                    to.resize(end, 0);
                }
                to[*offset..end].copy_from_slice(data);
            }
            Self::SetLen(len) => to.resize(*len, 0),
        }
    }

    /// Some of its sectors reach the disk.
    fn apply_torn(&self, to: &mut Vec<u8>, dice: &mut Dice) {
        let Self::Write { offset, data } = self else { return self.apply(to) };
        for (n, sector) in data.chunks(SECTOR).enumerate() {
            if dice.flip() {
                let (offset, data) = (offset + n * SECTOR, sector.to_vec());
                Self::Write { offset, data }.apply(to);
            }
        }
    }
}

impl Disk {
    /// An empty disk. A dishonest one says that it synchronized, and did not.
    pub fn new(seed: u64, honest: bool) -> Self {
        Self(Arc::new(Mutex::new(Platters {
            kept: Vec::new(),
            seen: Vec::new(),
            unsynced: Vec::new(),
            acts_left: None,
            crashed: false,
            honest,
            dice: Dice::new(seed ^ 0xd15c),
        })))
    }

    fn lock(&self) -> MutexGuard<'_, Platters> {
        self.0.lock().expect("nothing panics under this lock")
    }

    /// Makes the machine crash in the middle of the act after so many.
    pub fn crash_after(&self, acts: u32) {
        self.lock().acts_left = Some(acts);
    }

    pub fn crashed(&self) -> bool {
        self.lock().crashed
    }

    /// The disk as it is found after the crash, in a machine of its own: whoever still has the old
    /// one only gets errors.
    pub fn after_crash(self) -> Self {
        let mut old = self.lock();
        old.crashed = true;
        let (mut kept, mut dice) = (old.kept.clone(), old.dice);
        let unsynced = std::mem::take(&mut old.unsynced);
        let fate = dice.below(3);
        let last = unsynced.len().saturating_sub(1);
        for (n, act) in unsynced.iter().enumerate() {
            match fate {
                // Everything is lost but half of the last write; or all came, but that.
                0 if n < last => {}
                1 if n < last => act.apply(&mut kept),
                // The disk did them in its own order.
                2 if dice.flip() => {}
                _ => act.apply_torn(&mut kept, &mut dice),
            }
        }
        let honest = old.honest;
        drop(old);
        let new = Self::new(dice.next(), honest);
        new.lock().seen.clone_from(&kept);
        new.lock().kept = kept;
        new
    }
}

impl Platters {
    fn check(&self) -> Result<()> {
        if self.crashed { Err(Error::other("the machine has crashed")) } else { Ok(()) }
    }

    /// Counts an act; says whether the machine crashes in it.
    fn crashes(&mut self) -> bool {
        let Some(left) = &mut self.acts_left else { return false };
        if *left == 0 {
            self.crashed = true;
        } else {
            *left -= 1;
        }
        self.crashed
    }

    fn act(&mut self, act: Act) -> Result<()> {
        self.check()?;
        let crashes = self.crashes();
        if !crashes {
            act.apply(&mut self.seen);
        }
        self.unsynced.push(act);
        self.check()
    }
}

impl StorageBackend for Disk {
    fn len(&self) -> Result<u64> {
        let disk = self.lock();
        disk.check().map(|()| disk.seen.len() as u64)
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> Result<()> {
        let disk = self.lock();
        disk.check()?;
        let start = usize::try_from(offset).expect("a small disk");
        let data = disk.seen.get(start..start + out.len());
        out.copy_from_slice(data.ok_or_else(|| Error::other("past the end"))?);
        Ok(())
    }

    fn set_len(&self, len: u64) -> Result<()> {
        self.lock().act(Act::SetLen(usize::try_from(len).expect("a small disk")))
    }

    fn sync_data(&self) -> Result<()> {
        let mut disk = self.lock();
        disk.check()?;
        if disk.crashes() || !disk.honest {
            return disk.check();
        }
        let Platters { kept, unsynced, .. } = &mut *disk;
        unsynced.drain(..).for_each(|act| act.apply(kept));
        Ok(())
    }

    fn write(&self, offset: u64, data: &[u8]) -> Result<()> {
        let offset = usize::try_from(offset).expect("a small disk");
        self.lock().act(Act::Write { offset, data: data.to_vec() })
    }

    fn try_lock_range(
        &self,
        _: Bound<u64>,
        _: Bound<u64>,
    ) -> std::result::Result<bool, BackendError> {
        Ok(true)
    }

    fn unlock_range(&self, _: Bound<u64>, _: Bound<u64>) -> std::result::Result<(), BackendError> {
        Ok(())
    }
}
