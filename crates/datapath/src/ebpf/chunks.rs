//! The memory of flows: chunks of the kernel, added as they are needed and mapped here in pieces.

use std::os::fd::{AsFd, AsRawFd, OwnedFd};

use mn_datapath_abi::limits::{CHUNK_FLOWS, CHUNKS_MAX};
use mn_datapath_abi::{Flow, Plain};

use super::open::system;
use super::sys::{self, Shared};
use crate::DatapathError;

/// Flows mapped in one go: an agent with few flows has one chunk, but not all of it in its memory.
pub const PIECE_FLOWS: usize = 4096;
/// Pieces of a chunk.
const PIECES: usize = CHUNK_FLOWS / PIECE_FLOWS;

const _: () = assert!(CHUNK_FLOWS.is_multiple_of(PIECE_FLOWS), "a chunk has whole pieces");
const _: () = assert!((PIECE_FLOWS * size_of::<Flow>()).is_multiple_of(4096), "a piece is pages");

/// Makes pieces, one ahead where it is asked to: adding a chunk to the programs' table takes the
/// kernel a grace period, some milliseconds, which no packet should wait for.
pub struct Chunks {
    map: OwnedFd,
    /// The chunk of the next piece, unless that is its first.
    chunk: Option<OwnedFd>,
    /// Pieces that were handed out or are ready.
    next: usize,
    /// Chunks there may be.
    max: usize,
    ready: Option<Shared<Flow>>,
}

impl Chunks {
    /// The pieces of all chunks an earlier agent has added, and what adds more, for at most so many
    /// flows.
    pub fn open(
        map: OwnedFd,
        flows_max: usize,
    ) -> Result<(Self, Vec<Shared<Flow>>), DatapathError> {
        let mut there = Vec::new();
        for index in 0..CHUNKS_MAX {
            let Some(chunk) = chunk_at(&map, index)? else { break };
            for piece in 0..PIECES {
                there.push(map_piece(&chunk, piece)?);
            }
        }
        // One more than the flows need: places rest before they are used again.
        let max = (flows_max.div_ceil(CHUNK_FLOWS) + 1).min(CHUNKS_MAX);
        Ok((Self { map, chunk: None, next: there.len(), max, ready: None }, there))
    }

    /// The next piece.
    ///
    /// # Errors
    ///
    /// [`DatapathError::Full`] where there may be no more; the kernel's errors.
    pub fn take(&mut self) -> Result<Shared<Flow>, DatapathError> {
        match self.ready.take() {
            Some(piece) => Ok(piece),
            None => self.make(),
        }
    }

    /// Makes the next piece before it is needed.
    pub fn prepare(&mut self) -> Result<(), DatapathError> {
        if self.ready.is_none() && self.next < self.max * PIECES {
            self.ready = Some(self.make()?);
        }
        Ok(())
    }

    /// Takes back pieces that nothing refers to, those from this one on; they come again.
    pub fn take_back(&mut self, first: usize) {
        (self.next, self.chunk, self.ready) = (first, None, None);
    }

    fn make(&mut self) -> Result<Shared<Flow>, DatapathError> {
        if self.next >= self.max * PIECES {
            return Err(DatapathError::Full { table: "flows", max: self.max * CHUNK_FLOWS });
        }
        let chunk = match self.chunk.take() {
            Some(chunk) => chunk,
            None => match self.chunk_there()? {
                Some(chunk) => chunk,
                None => self.add()?,
            },
        };
        let piece = map_piece(&chunk, self.next % PIECES)?;
        self.next += 1;
        self.chunk = (!self.next.is_multiple_of(PIECES)).then_some(chunk);
        Ok(piece)
    }

    /// The chunk of the next piece, where an earlier agent has added it.
    fn chunk_there(&self) -> Result<Option<OwnedFd>, DatapathError> {
        chunk_at(&self.map, self.next / PIECES)
    }

    /// Adds a chunk to the programs' table.
    fn add(&self) -> Result<OwnedFd, DatapathError> {
        let failed = system("adding flows");
        let number = |number: usize| u32::try_from(number).unwrap_or(u32::MAX);
        let (kind, flags) = (sys::BPF_MAP_TYPE_ARRAY, sys::BPF_F_MMAPABLE);
        let map = sys::map_create(kind, number(size_of::<Flow>()), number(CHUNK_FLOWS), flags)
            .map_err(&failed)?;
        let fd = u32::try_from(map.as_raw_fd()).unwrap_or(u32::MAX);
        sys::map_update(self.map.as_fd(), number(self.next / PIECES).octets(), fd.octets())
            .map_err(&failed)?;
        Ok(map)
    }
}

fn chunk_at(map: &OwnedFd, index: usize) -> Result<Option<OwnedFd>, DatapathError> {
    let failed = system("opening the flow table");
    let index = u32::try_from(index).unwrap_or(u32::MAX);
    let mut id = [0; 4];
    if !sys::map_lookup(map.as_fd(), index.octets(), &mut id).map_err(&failed)? {
        return Ok(None);
    }
    sys::map_by_id(u32::from_ne_bytes(id)).map(Some).map_err(&failed)
}

fn map_piece(chunk: &OwnedFd, piece: usize) -> Result<Shared<Flow>, DatapathError> {
    Shared::map_part(chunk.as_fd(), piece * PIECE_FLOWS, PIECE_FLOWS)
        .map_err(system("mapping flows"))
}
