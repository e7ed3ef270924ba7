//! The table of flows, written as memory shared with the programs.
//!
//! A flow is written while nothing names its place, made live, then named in the index. A removed
//! flow's place rests until every program that may still read it has ended.

mod room;

use std::os::fd::{BorrowedFd, OwnedFd};
use std::sync::atomic::Ordering::{Acquire, Relaxed, Release};
use std::sync::mpsc::SyncSender;
use std::sync::{Arc, Mutex, PoisonError};

use mn_datapath_abi::limits::{BUCKET_ENTRIES, KEY_WORDS};
use mn_datapath_abi::{ActionSlot, Bucket, Config, Flow, FlowKey as AbiKey, FlowState};
use mn_flow::{Cookie, FlowKey, FlowMask};
use mn_time::Instant;

use super::action::Slots;
use super::chunks::{Chunks, PIECE_FLOWS};
use super::key;
use super::masks::Masks;
use super::sys::{self, Shared};
use crate::{Counters, DatapathError, FlowSpec, InstalledFlow, LastUse};

/// So few free places, and more should be made.
const FREE_FEW: usize = PIECE_FLOWS / 2;
/// So many resting places, and they should be given back.
const RESTING_MANY: usize = PIECE_FLOWS / 2;

/// Flows, the index that finds them, and their masks.
pub struct FlowTable {
    buckets: Shared<Bucket>,
    pieces: Vec<Shared<Flow>>,
    more: Arc<Mutex<Chunks>>,
    /// Tells the keeper that something waits for it.
    wake: SyncSender<()>,
    seed: [u64; KEY_WORDS + 1],
    masks: Masks,
    /// Places nothing refers to.
    free: Vec<u32>,
    /// Places that programs may still read.
    resting: Vec<u32>,
    max: usize,
    len: usize,
}

/// Places looked at in one go where all are listed: some tens of microseconds.
const PART_FLOWS: usize = 128;
const _: () = assert!(PIECE_FLOWS.is_multiple_of(PART_FLOWS), "a piece has whole parts");

/// One step of the hash: the same as `hash_word` of `bpf/lookup.h`.
const fn hash_word(word: u64, seed: u64) -> u64 {
    let low = (word as u32).wrapping_add(seed as u32);
    let high = ((word >> 32) as u32).wrapping_add((seed >> 32) as u32);
    low as u64 * high as u64
}

/// Where a flow is named.
#[derive(Clone, Copy)]
struct Name {
    bucket: usize,
    entry: usize,
}

/// The two buckets a flow may be named in, and its tag.
#[derive(Clone, Copy)]
struct Home {
    first: usize,
    second: usize,
    tag: u32,
}

impl FlowTable {
    /// Opens the table, with all that an earlier agent has left in it.
    pub fn open(
        config: Arc<Shared<Config>>,
        buckets: BorrowedFd<'_>,
        chunks: OwnedFd,
        max: usize,
        wake: SyncSender<()>,
    ) -> Result<Self, DatapathError> {
        let system = |source| DatapathError::System { call: "mmap of the flow table", source };
        let buckets = Shared::map(buckets).map_err(system)?;
        let seed = config.read(0).seed;
        let masks = Masks::open(config);
        let (more, there) = Chunks::open(chunks, max)?;
        let mut table = Self {
            buckets,
            pieces: Vec::new(),
            more: Arc::new(Mutex::new(more)),
            wake,
            seed,
            masks,
            free: Vec::new(),
            resting: Vec::new(),
            max,
            len: 0,
        };
        there.into_iter().for_each(|piece| table.push_piece(piece));
        table.adopt();
        table.forget_unused();
        if table.pieces.is_empty() {
            let first = table.more.lock().unwrap_or_else(PoisonError::into_inner).take()?;
            table.push_piece(first);
        }
        Ok(table)
    }

    /// How many flows are installed.
    pub const fn len(&self) -> usize {
        self.len
    }

    /// See [`crate::Datapath::install`].
    pub fn install(&mut self, spec: &FlowSpec, now: u64) -> Result<(), DatapathError> {
        if !spec.mask.contains(mn_flow::Field::InPort) || spec.cookie == Cookie(0) {
            return Err(DatapathError::Invalid("a flow without port or cookie".into()));
        }
        if spec.actions.len() > FlowSpec::ACTIONS_MAX {
            let count = spec.actions.len();
            return Err(DatapathError::Invalid(format!("{count} actions in one flow")));
        }
        let slots = Slots::of(&spec.actions)?;
        let first = key::to_abi(&spec.key).words();
        let mask = self.masks.acquire(spec.mask)?;
        let masked = key::masked(&first, &self.masks.words(mask));
        let home = self.home(&masked, mask);
        let old = self.find(&masked, mask, home);
        let mut flow = Flow {
            state: FlowState::Live as u32,
            mask,
            slots: slots.len,
            hops: slots.hops,
            packets: 0,
            octets: 0,
            used_at: now,
            cookie: spec.cookie.0,
            key: masked,
            actions: slots.slots,
            first,
        };
        if let Some((_, number)) = old {
            let before = self.counters(number);
            (flow.packets, flow.octets) = (before.packets, before.octets);
            flow.used_at = self.word(number, Flow::USED_AT);
        }
        let result = self.put(&flow, home, old);
        if old.is_some() || result.is_err() {
            self.masks.release(mask);
        }
        result
    }

    /// Writes a flow into a free place and names it, instead of the old one where there is one.
    fn put(
        &mut self,
        flow: &Flow,
        home: Home,
        old: Option<(Name, u32)>,
    ) -> Result<(), DatapathError> {
        let name = match old {
            Some((name, _)) => name,
            None if self.len >= self.max => return Err(self.full()),
            None => self.vacancy(home).ok_or_else(|| self.full())?,
        };
        let number = self.take_place()?;
        let (piece, place) = self.place(number);
        piece.write(place, flow);
        let entry = u64::from(home.tag) << 32 | u64::from(number);
        if old.is_none() && name.bucket != home.first {
            self.buckets.half(home.first, 0).fetch_add(1, Release);
        }
        self.buckets.word(name.bucket, Bucket::entry_at(name.entry)).store(entry, Release);
        match old {
            Some((_, old)) => self.carry_over(flow, old, number),
            None => self.len += 1,
        }
        Ok(())
    }

    /// Ends a flow that was replaced; what it counted since it was copied goes to its successor.
    fn carry_over(&mut self, copied: &Flow, old: u32, new: u32) {
        self.end(old);
        let last = self.counters(old);
        let (piece, place) = self.place(new);
        piece
            .word(place, Flow::PACKETS_AT)
            .fetch_add(last.packets.wrapping_sub(copied.packets), Relaxed);
        piece
            .word(place, Flow::OCTETS_AT)
            .fetch_add(last.octets.wrapping_sub(copied.octets), Relaxed);
    }

    /// See [`crate::Datapath::remove`].
    pub fn remove(&mut self, spec: &FlowSpec) -> Option<LastUse> {
        let (name, number, home, mask) = self.locate(&spec.key, spec.mask)?;
        if self.word(number, Flow::COOKIE_AT) != spec.cookie.0 {
            return None;
        }
        self.buckets.word(name.bucket, Bucket::entry_at(name.entry)).store(0, Release);
        if name.bucket != home.first {
            self.buckets.half(home.first, 0).fetch_sub(1, Release);
        }
        self.end(number);
        self.masks.release(mask);
        self.len -= 1;
        Some(LastUse { counters: self.counters(number), rule: self.slots(number).rule() })
    }

    /// Adds to the counters of a flow, if it is there with this cookie.
    pub fn count(&self, spec: &FlowSpec, more: Counters) {
        let Some((_, number, ..)) = self.locate(&spec.key, spec.mask) else { return };
        if self.read(number).cookie == spec.cookie.0 {
            let (piece, place) = self.place(number);
            piece.word(place, Flow::PACKETS_AT).fetch_add(more.packets, Relaxed);
            piece.word(place, Flow::OCTETS_AT).fetch_add(more.octets, Relaxed);
        }
    }

    /// The flow with this masked key.
    pub fn get(&self, key: &FlowKey, mask: FlowMask) -> Option<InstalledFlow> {
        let (_, number, ..) = self.locate(key, mask)?;
        self.installed(number)
    }

    /// The flows of one part of the table; `None` after the last. A list of all is made of these, so
    /// that nobody waits for all of it: a worker that installs a flow waits for one part.
    pub fn of_part(&self, part: usize) -> Option<Vec<InstalledFlow>> {
        let first = part * PART_FLOWS;
        if first >= self.pieces.len() * PIECE_FLOWS {
            return None;
        }
        let first = u32::try_from(first).ok()? + 1;
        let numbers = first..first + u32::try_from(PART_FLOWS).ok()?;
        let live = numbers.filter(|number| self.state(*number) == FlowState::Live as u32);
        Some(live.filter_map(|number| self.installed(number)).collect())
    }

    /// Sorts the masks by use, the busiest first.
    pub fn order_masks(&mut self) {
        let mut used = vec![0_u64; self.masks.len_max()];
        for number in 1..=u32::try_from(self.pieces.len() * PIECE_FLOWS).unwrap_or(u32::MAX) {
            if self.state(number) == FlowState::Live as u32 {
                let mask = Flow::mask_of(self.word(number, 0));
                if let Some(used) = used.get_mut(usize::from(mask)) {
                    *used = used.saturating_add(self.word(number, Flow::PACKETS_AT));
                }
            }
        }
        self.masks.order_by(&used);
    }

    fn locate(&self, key: &FlowKey, mask: FlowMask) -> Option<(Name, u32, Home, u16)> {
        let mask = self.masks.find(mask)?;
        let masked = key::masked(&key::to_abi(key).words(), &self.masks.words(mask));
        let home = self.home(&masked, mask);
        let (name, number) = self.find(&masked, mask, home)?;
        Some((name, number, home, mask))
    }

    /// The same as `lookup_mask` of `bpf/lookup.h`.
    fn home(&self, masked: &[u64; KEY_WORDS], mask: u16) -> Home {
        let sum = masked
            .iter()
            .zip(&self.seed)
            .fold(0_u64, |sum, (word, seed)| sum.wrapping_add(hash_word(*word, *seed)))
            .wrapping_add((u64::from(mask) + 1).wrapping_mul(self.seed[KEY_WORDS]));
        let sum = (sum ^ sum >> 32).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        let hash = sum ^ sum >> 29;
        let tag = (hash >> 32) as u32;
        let bucket_mask = self.buckets.len() - 1;
        let first = hash as usize & bucket_mask;
        Home { first, second: (first ^ (tag | 1) as usize) & bucket_mask, tag }
    }

    fn find(&self, masked: &[u64; KEY_WORDS], mask: u16, home: Home) -> Option<(Name, u32)> {
        self.tagged(home).find(|(_, number)| {
            let mut words = masked.iter().zip((Flow::KEY_AT..).step_by(8));
            Flow::mask_of(self.word(*number, 0)) == mask
                && words.all(|(word, at)| self.word(*number, at) == *word)
        })
    }

    /// Names in both buckets with the tag.
    fn tagged(&self, home: Home) -> impl Iterator<Item = (Name, u32)> {
        let entries = [home.first, home.second]
            .into_iter()
            .flat_map(|bucket| (0..BUCKET_ENTRIES).map(move |entry| Name { bucket, entry }));
        entries.filter_map(move |name| {
            let entry = self.entry(name);
            let number = entry as u32;
            (number != 0 && (entry >> 32) as u32 == home.tag).then_some((name, number))
        })
    }

    fn entry(&self, name: Name) -> u64 {
        self.buckets.word(name.bucket, Bucket::entry_at(name.entry)).load(Acquire)
    }

    fn full(&self) -> DatapathError {
        DatapathError::Full { table: "flows", max: self.max }
    }

    fn place(&self, number: u32) -> (&Shared<Flow>, usize) {
        let index = number as usize - 1;
        (&self.pieces[index / PIECE_FLOWS], index % PIECE_FLOWS)
    }

    fn read(&self, number: u32) -> Flow {
        let (piece, place) = self.place(number);
        piece.read(place)
    }

    /// One word of a flow: a whole flow is six lines of memory that other processors write to.
    fn word(&self, number: u32, at: usize) -> u64 {
        let (piece, place) = self.place(number);
        piece.word(place, at).load(Relaxed)
    }

    fn counters(&self, number: u32) -> Counters {
        Counters {
            packets: self.word(number, Flow::PACKETS_AT),
            octets: self.word(number, Flow::OCTETS_AT),
        }
    }

    /// The actions of a flow.
    fn slots(&self, number: u32) -> Slots {
        let [.., len, hops] = self.word(number, 0).to_ne_bytes();
        let mut slots = Slots { len, hops, ..Slots::default() };
        let words = (Flow::ACTIONS_AT..).step_by(8);
        for (slot, at) in slots.slots.iter_mut().take(len.into()).zip(words) {
            *slot = ActionSlot::raw(self.word(number, at).to_ne_bytes());
        }
        slots
    }

    fn state(&self, number: u32) -> u32 {
        let (piece, place) = self.place(number);
        piece.half(place, 0).load(Acquire)
    }

    /// Makes a flow unusable at once; its place may be used again after a grace period.
    fn end(&mut self, number: u32) {
        let (piece, place) = self.place(number);
        piece.half(place, 0).store(FlowState::Free as u32, Release);
        self.resting.push(number);
        if self.resting.len() == RESTING_MANY {
            self.wake();
        }
    }

    fn installed(&self, number: u32) -> Option<InstalledFlow> {
        let flow = self.read(number);
        let slots = Slots { slots: flow.actions, len: flow.slots, hops: flow.hops };
        Some(InstalledFlow {
            spec: FlowSpec {
                cookie: Cookie(flow.cookie),
                key: key::from_abi(&AbiKey::from_words(&flow.first))?,
                mask: self.masks.get(flow.mask)?,
                actions: slots.actions()?,
            },
            counters: Counters { packets: flow.packets, octets: flow.octets },
            used_at: Instant::from_nanos(flow.used_at),
        })
    }

    fn take_place(&mut self) -> Result<u32, DatapathError> {
        if self.free.is_empty() {
            let more = self.more.clone();
            let piece = more.lock().unwrap_or_else(PoisonError::into_inner).take();
            match piece {
                Ok(piece) => self.push_piece(piece),
                Err(_) if !self.resting.is_empty() => self.rest()?,
                Err(error) => return Err(error),
            }
        }
        let place = self.free.pop().ok_or_else(|| self.full())?;
        if self.free.len() == FREE_FEW {
            self.wake();
        }
        Ok(place)
    }

    fn wake(&self) {
        // Awake already is as good.
        let _ = self.wake.try_send(());
    }

    /// Waits until ended flows have rested, here and now.
    fn rest(&mut self) -> Result<(), DatapathError> {
        sys::grace_period()
            .map_err(|source| DatapathError::System { call: "membarrier", source })?;
        self.free.append(&mut self.resting);
        Ok(())
    }

    /// What makes pieces; for the keeper.
    pub fn more(&self) -> Option<Arc<Mutex<Chunks>>> {
        (self.free.len() <= FREE_FEW).then(|| self.more.clone())
    }

    /// Places of ended flows, where there are many; for the keeper.
    pub fn take_resting(&mut self) -> Vec<u32> {
        if self.resting.len() < RESTING_MANY {
            return Vec::new();
        }
        std::mem::take(&mut self.resting)
    }

    /// Gives places back that have rested.
    pub fn give_rested(&mut self, mut places: Vec<u32>) {
        self.free.append(&mut places);
    }

    fn push_piece(&mut self, piece: Shared<Flow>) {
        let base = u32::try_from(self.pieces.len() * PIECE_FLOWS).unwrap_or(u32::MAX);
        let flows = u32::try_from(PIECE_FLOWS).unwrap_or(0);
        self.pieces.push(piece);
        self.free.extend((base + 1..=base + flows).rev());
    }

    /// Takes over what an earlier agent left: every live flow that is named; repairs what it was
    /// in the middle of.
    fn adopt(&mut self) {
        let mut named = vec![false; self.pieces.len() * PIECE_FLOWS + 1];
        for bucket in 0..self.buckets.len() {
            let mut overflow = 0;
            for entry in 0..BUCKET_ENTRIES {
                let name = Name { bucket, entry };
                let number = self.entry(name) as u32;
                if number != 0 && !self.adopt_name(name, number, &mut named) {
                    self.buckets.word(bucket, Bucket::entry_at(entry)).store(0, Release);
                    overflow += 1;
                }
            }
            if overflow > 0 {
                tracing::warn!(bucket, "forgot flows that a dead agent had not finished");
            }
        }
        self.free.retain(|number| !named[*number as usize]);
        for number in self.free.clone() {
            if self.state(number) != FlowState::Free as u32 {
                let (piece, place) = self.place(number);
                piece.half(place, 0).store(FlowState::Free as u32, Release);
            }
        }
        self.masks.drop_unused();
    }

    /// Gives pieces back that have no flow, the last ones: memory comes as flows do.
    fn forget_unused(&mut self) {
        let places = self.pieces.len() * PIECE_FLOWS;
        let mut is_free = vec![false; places];
        for number in &self.free {
            is_free[*number as usize - 1] = true;
        }
        let used = is_free.iter().rposition(|free| !free).map_or(0, |last| last + 1);
        let kept = used.div_ceil(PIECE_FLOWS);
        self.pieces.truncate(kept);
        self.free.retain(|number| *number as usize <= kept * PIECE_FLOWS);
        self.more.lock().unwrap_or_else(PoisonError::into_inner).take_back(kept);
    }

    /// Takes over one named flow; `false` if the name is not good.
    fn adopt_name(&mut self, name: Name, number: u32, named: &mut [bool]) -> bool {
        let known = named.get(number as usize) == Some(&false);
        if !known || self.state(number) != FlowState::Live as u32 {
            return false;
        }
        let flow = self.read(number);
        let home = self.home(&flow.key, flow.mask);
        if (home.first != name.bucket && home.second != name.bucket) || !self.masks.adopt(flow.mask)
        {
            return false;
        }
        named[number as usize] = true;
        self.len += 1;
        true
    }
}
