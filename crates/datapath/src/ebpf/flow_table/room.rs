//! Room in the index for one more flow.
//!
//! Each flow may be named in two buckets (cuckoo hashing, Pagh and Rodler 2001, with buckets of
//! several). Where both are full, one of those that stand there moves to its other bucket. It is
//! named twice for a moment, never not at all; a packet that looks just while it moves back to its
//! first bucket may miss it, and comes up as the first of a flow does.

use std::sync::atomic::Ordering::Release;

use mn_datapath_abi::limits::{BUCKET_ENTRIES, KEY_WORDS};
use mn_datapath_abi::{Bucket, Flow};

use super::{FlowTable, Home, Name};

impl FlowTable {
    /// An empty entry for a new flow. Two flows with one tag cannot share a bucket: the programs
    /// would only ever look at the first.
    pub(super) fn vacancy(&self, home: Home) -> Option<Name> {
        if self.tagged(home).next().is_some() {
            return None;
        }
        let buckets = [home.first, home.second];
        let empty = buckets.into_iter().find_map(|bucket| self.empty_entry(bucket));
        empty.or_else(|| buckets.into_iter().find_map(|bucket| self.make_room(bucket)))
    }

    fn empty_entry(&self, bucket: usize) -> Option<Name> {
        let mut names = (0..BUCKET_ENTRIES).map(|entry| Name { bucket, entry });
        names.find(|name| self.entry(*name) == 0)
    }

    /// Empties an entry of a full bucket by moving its flow; `None` where none can move.
    fn make_room(&self, bucket: usize) -> Option<Name> {
        let mut names = (0..BUCKET_ENTRIES).map(|entry| Name { bucket, entry });
        names.find(|name| self.move_away(*name).is_some())
    }

    fn move_away(&self, from: Name) -> Option<()> {
        let entry = self.entry(from);
        let home = self.home_of(entry as u32);
        let other = if home.first == from.bucket { home.second } else { home.first };
        let same_tag = |entry: u64| entry as u32 != 0 && (entry >> 32) as u32 == home.tag;
        let taken =
            (0..BUCKET_ENTRIES).any(|at| same_tag(self.entry(Name { bucket: other, entry: at })));
        if other == from.bucket || taken {
            return None;
        }
        let to = self.empty_entry(other)?;
        // The programs look into the second bucket only while the first says that it must be.
        if other == home.second {
            self.buckets.half(home.first, 0).fetch_add(1, Release);
        }
        self.buckets.word(to.bucket, Bucket::entry_at(to.entry)).store(entry, Release);
        self.buckets.word(from.bucket, Bucket::entry_at(from.entry)).store(0, Release);
        if other == home.first {
            self.buckets.half(home.first, 0).fetch_sub(1, Release);
        }
        Some(())
    }

    /// The buckets of a flow that is named.
    fn home_of(&self, number: u32) -> Home {
        let mut key = [0; KEY_WORDS];
        for (word, at) in key.iter_mut().zip((Flow::KEY_AT..).step_by(8)) {
            *word = self.word(number, at);
        }
        self.home(&key, Flow::mask_of(self.word(number, 0)))
    }
}
