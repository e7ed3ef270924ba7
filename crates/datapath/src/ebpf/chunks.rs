//! The memory of flows, in chunks that are added as they are needed.

use std::os::fd::{AsFd, AsRawFd, OwnedFd};

use mn_datapath_abi::limits::{CHUNK_FLOWS, CHUNKS_MAX};
use mn_datapath_abi::{Flow, Plain};

use super::open::system;
use super::sys::{self, Shared};
use crate::DatapathError;

/// Makes chunks, one ahead where it is asked to: adding one to the programs' table takes the
/// kernel a grace period, some milliseconds, which no packet should wait for.
pub struct Chunks {
    map: OwnedFd,
    next: usize,
    max: usize,
    ready: Option<Shared<Flow>>,
}

impl Chunks {
    /// The chunks an earlier agent has added, and what adds more, for at most so many flows.
    pub fn open(
        map: OwnedFd,
        flows_max: usize,
    ) -> Result<(Self, Vec<Shared<Flow>>), DatapathError> {
        let failed = system("opening the flow table");
        let mut there = Vec::new();
        for index in 0..u32::try_from(CHUNKS_MAX).unwrap_or(0) {
            let mut id = [0; 4];
            if !sys::map_lookup(map.as_fd(), index.octets(), &mut id).map_err(&failed)? {
                break;
            }
            let chunk = sys::map_by_id(u32::from_ne_bytes(id)).map_err(&failed)?;
            there.push(Shared::map(chunk.as_fd()).map_err(&failed)?);
        }
        // One more than the flows need: places rest before they are used again.
        let max = (flows_max.div_ceil(CHUNK_FLOWS) + 1).min(CHUNKS_MAX);
        Ok((Self { map, next: there.len(), max, ready: None }, there))
    }

    /// The next chunk.
    ///
    /// # Errors
    ///
    /// [`DatapathError::Full`] where there may be no more; the kernel's errors.
    pub fn take(&mut self) -> Result<Shared<Flow>, DatapathError> {
        match self.ready.take() {
            Some(chunk) => Ok(chunk),
            None => self.make(),
        }
    }

    /// Makes the next chunk before it is needed.
    pub fn prepare(&mut self) -> Result<(), DatapathError> {
        if self.ready.is_none() && self.next < self.max {
            self.ready = Some(self.make()?);
        }
        Ok(())
    }

    fn make(&mut self) -> Result<Shared<Flow>, DatapathError> {
        if self.next >= self.max {
            return Err(DatapathError::Full { table: "flows", max: self.max * CHUNK_FLOWS });
        }
        let failed = system("adding flows");
        let number = |number: usize| u32::try_from(number).unwrap_or(u32::MAX);
        let (kind, flags) = (sys::BPF_MAP_TYPE_ARRAY, sys::BPF_F_MMAPABLE);
        let map = sys::map_create(kind, number(size_of::<Flow>()), number(CHUNK_FLOWS), flags)
            .map_err(&failed)?;
        let chunk = Shared::map(map.as_fd()).map_err(&failed)?;
        let fd = u32::try_from(map.as_raw_fd()).unwrap_or(u32::MAX);
        sys::map_update(self.map.as_fd(), number(self.next).octets(), fd.octets())
            .map_err(&failed)?;
        self.next += 1;
        Ok(chunk)
    }
}
