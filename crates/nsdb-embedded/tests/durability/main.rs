//! Whatever the machine does, what was acknowledged is there afterwards, and nothing by halves.

mod acknowledged;
mod dice;
mod disk;
mod story;

use std::collections::BTreeMap;
use std::path::Path;

use mn_nsdb::database::{Commit, Database, Dump};
use mn_nsdb::{Journal, Revision};
use mn_nsdb_embedded::File;
use mn_time::Instant;

use dice::Dice;
use disk::Disk;

/// Crashes that one disk goes through.
const CRASHES_PER_DISK: u64 = 10;

/// What may be wrong with an engine, to see that the test would notice.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Defect {
    None,
    /// The disk says that it synchronized, and did not.
    LyingDisk,
    /// Commits are acknowledged when they are taken, and written with the next ones.
    EarlyAnswer,
    /// A commit is written in two steps.
    TwoSteps,
}

/// The file, perhaps with a defect.
struct Written {
    file: File,
    defect: Defect,
    late: Vec<Commit>,
}

impl Written {
    fn append(
        &mut self,
        commits: &[Commit],
    ) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
        match self.defect {
            Defect::None | Defect::LyingDisk => self.file.append(commits),
            Defect::EarlyAnswer => {
                let now = std::mem::replace(&mut self.late, commits.to_vec());
                self.file.append(&now)
            }
            Defect::TwoSteps => commits.iter().try_for_each(|commit| {
                let (one, two) = commit.writes.split_at(commit.writes.len() / 2);
                let part = |writes: &[_]| Commit { writes: writes.to_vec(), ..commit.clone() };
                self.file.append(&[part(one)])?;
                self.file.append(&[part(two)])
            }),
        }
    }
}

/// What has to be found after a crash.
struct Expected {
    acknowledged: Revision,
    /// The database at every revision that may be found.
    states: BTreeMap<Revision, Dump>,
}

impl Expected {
    fn acknowledge(&mut self, revision: Revision) {
        self.acknowledged = revision;
        self.states.retain(|at, _| *at >= revision);
    }

    /// After a crash: this is how it goes on.
    fn found(&mut self, found: Dump) -> Result<(), String> {
        self.check(&found)?;
        self.acknowledged = found.revision;
        self.states = BTreeMap::from([(found.revision, found)]);
        Ok(())
    }

    fn check(&self, found: &Dump) -> Result<(), String> {
        let at = found.revision;
        if at < self.acknowledged {
            return Err(format!("{at} was found, {} was acknowledged", self.acknowledged));
        }
        match self.states.get(&at) {
            None => Err(format!("{at} never was")),
            Some(state) if state == found => Ok(()),
            Some(_) => Err(format!("what was found is not what was there at {at}")),
        }
    }
}

/// One disk through its crashes. Everything that happens follows from the seed.
fn live_through(seed: u64, defect: Defect) -> Result<(), String> {
    let mut dice = Dice::new(seed);
    let mut disk = Disk::new(seed, defect != Defect::LyingDisk);
    // A new file is made under another name: `open_file.rs` has the crashes meanwhile.
    File::open_on(disk.clone(), Path::new("test")).map_err(|error| error.to_string())?;
    let states = BTreeMap::from([(Revision::ZERO, Dump::default())]);
    let mut expected = Expected { acknowledged: Revision::ZERO, states };
    for _ in 0..CRASHES_PER_DISK {
        let acts = if dice.below(4) == 0 { 20 } else { 120 };
        disk.crash_after(u32::try_from(dice.below(acts)).expect("small"));
        until_crash(&disk, &mut dice, defect, &mut expected)?;
        disk = disk.after_crash();
    }
    Ok(())
}

fn until_crash(
    disk: &Disk,
    dice: &mut Dice,
    defect: Defect,
    expected: &mut Expected,
) -> Result<(), String> {
    let (file, found) = match File::open_on(disk.clone(), Path::new("test")) {
        Ok(opened) => opened,
        Err(_) if disk.crashed() => return Ok(()),
        Err(error) => return Err(error.to_string()),
    };
    let loaded = Database::load(found, Database::GRACE_FOR, Instant::ZERO);
    let mut database = loaded.map_err(|error| error.to_string())?;
    expected.found(database.dump())?;
    let mut written = Written { file, defect, late: Vec::new() };
    loop {
        let mut group = Vec::new();
        for _ in 0..=dice.below(3) {
            let commit = story::next(&mut database, dice);
            expected.states.insert(commit.revision, database.dump());
            group.push(commit);
        }
        match written.append(&group) {
            Ok(()) => expected.acknowledge(database.revision()),
            Err(_) if disk.crashed() => return Ok(()),
            Err(error) => return Err(error.to_string()),
        }
    }
}

/// How many disks a run lives through: by default a slice, with `MIDONET_LONG=1` all.
fn disks() -> u64 {
    let long = std::env::var("MIDONET_LONG").is_ok_and(|long| long == "1");
    let crashes = if long { 10_000 } else { 500 };
    crashes / CRASHES_PER_DISK
}

#[test]
fn no_crash_loses_an_acknowledged_transaction_or_shows_half_of_one() {
    for seed in 0..disks() {
        live_through(seed, Defect::None).unwrap_or_else(|why| panic!("seed {seed}: {why}"));
    }
}

/// The first seed whose crashes show a defect.
fn noticed(defect: Defect) -> Option<(u64, String)> {
    (0..20).find_map(|seed| live_through(seed, defect).err().map(|why| (seed, why)))
}

#[test]
fn a_disk_that_does_not_synchronize_is_noticed() {
    assert!(noticed(Defect::LyingDisk).is_some());
}

#[test]
fn an_answer_before_synchronization_is_noticed() {
    assert!(noticed(Defect::EarlyAnswer).is_some_and(|(_, why)| why.contains("was acknowledged")));
}

#[test]
fn half_a_transaction_is_noticed() {
    let (_, why) = noticed(Defect::TwoSteps).expect("it is noticed");
    assert!(why.contains("is not what was there"), "{why}");
}
