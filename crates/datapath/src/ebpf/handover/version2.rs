//! Version 2.
//!
//! Every value of it means the same today: there are three actions, a reason to ask and a bit of a
//! flow more, which its programs never wrote. So its maps are ours from the beginning, and while
//! both versions' programs are attached they work on the same flows, connections and counters.
//! What it has not (limits of broadcasts) is made anew. The first change of a layout ends this: it
//! freezes the layouts of then, as those of version 1 are.

use std::path::Path;

use aya::maps::MapData;

use crate::DatapathError;
use crate::ebpf::open::{chain, system};

/// The version these maps belong to.
pub const VERSION: u32 = 2;

const _: () = assert!(mn_datapath_abi::ABI_VERSION == 3);

/// Pins every map of `older` in `ours`, too.
pub fn share(older: &Path, ours: &Path) -> Result<(), DatapathError> {
    for entry in std::fs::read_dir(older).map_err(system("readdir"))?.flatten() {
        if entry.path().is_dir() {
            continue;
        }
        let map = MapData::from_pin(entry.path()).map_err(|e| DatapathError::Load(chain(&e)))?;
        map.pin(ours.join(entry.file_name())).map_err(|e| DatapathError::Load(chain(&e)))?;
    }
    Ok(())
}
