//! The directories that hold everything pinned, one for each version of the layout.
//!
//! `vN` is a whole datapath. `vN-filling` is one that is not in use yet, `vN-done` one that is in
//! use no more: both are worth nothing and are removed by whoever finds them. bpffs renames a
//! directory in one step, so every death of an agent leaves one of these states, and the next one
//! knows what to do.

use std::path::{Path, PathBuf};

use mn_datapath_abi::{ABI_VERSION, v1};
use nix::mount::{MsFlags, mount};
use nix::sys::statfs::statfs;

use super::open::system;
use crate::DatapathError;

const BPF_FS_MAGIC: i64 = 0xcafe_4a11;
const FILLING: &str = "-filling";
const DONE: &str = "-done";

/// Where the datapath is pinned, and what is there.
#[derive(Clone, Debug)]
pub struct Pins {
    root: PathBuf,
    /// The version that is to be taken over, if there is one.
    pub older: Option<u32>,
    /// Our version is being filled: the older one is all there is.
    filling: bool,
}

impl Pins {
    /// Mounts the bpffs where it is not, looks at what is in it, and clears away what is worth
    /// nothing.
    ///
    /// # Errors
    ///
    /// [`DatapathError::Downgrade`] and [`DatapathError::TooOld`] for versions that this agent
    /// cannot read.
    pub fn open(dir: &Path) -> Result<Self, DatapathError> {
        let root = dir.join("bpf");
        std::fs::create_dir_all(&root).map_err(system("mkdir"))?;
        if !is_bpffs(&root) {
            mount(Some("bpf"), &root, Some("bpf"), MsFlags::empty(), None::<&str>)
                .map_err(|error| system("mount of bpffs")(error.into()))?;
        }
        let (mut older, mut ours, mut worthless) = (None, false, Vec::new());
        for entry in std::fs::read_dir(&root).map_err(system("readdir"))?.flatten() {
            let name = entry.file_name();
            let Some(version) = name.to_str().and_then(|name| name.strip_prefix('v')) else {
                continue;
            };
            match version.parse::<u32>() {
                Ok(installed) if installed > ABI_VERSION => {
                    return Err(DatapathError::Downgrade { installed, ours: ABI_VERSION });
                }
                Ok(installed) if installed < v1::VERSION => {
                    return Err(DatapathError::TooOld { installed, oldest: v1::VERSION });
                }
                Ok(ABI_VERSION) => ours = true,
                // Of two older ones the newer was taking over from the other.
                Ok(installed) => older = older.max(Some(installed)),
                Err(_) if version.ends_with(FILLING) || version.ends_with(DONE) => {
                    worthless.push(entry.path());
                }
                Err(_) => {}
            }
        }
        for path in worthless {
            std::fs::remove_dir_all(path).map_err(system("removing pins"))?;
        }
        let pins = Self { root, older, filling: older.is_some() && !ours };
        std::fs::create_dir_all(pins.links()).map_err(system("mkdir"))?;
        Ok(pins)
    }

    /// Whether the older version has to be copied first.
    pub const fn is_filling(&self) -> bool {
        self.filling
    }

    /// Where our version is now.
    pub fn ours(&self) -> PathBuf {
        self.root.join(format!("v{ABI_VERSION}{}", if self.filling { FILLING } else { "" }))
    }

    /// Where the links of our version are now.
    pub fn links(&self) -> PathBuf {
        self.ours().join("links")
    }

    /// Where a version is.
    pub fn of_version(&self, version: u32) -> PathBuf {
        self.root.join(format!("v{version}"))
    }

    /// Says that our version holds all that the older one does.
    pub fn filled(&mut self) -> Result<(), DatapathError> {
        let from = self.ours();
        self.filling = false;
        std::fs::rename(from, self.ours()).map_err(system("renaming pins"))
    }

    /// Removes a version that nothing uses any more.
    pub fn retire(&mut self, version: u32) -> Result<(), DatapathError> {
        self.older = None;
        let done = self.root.join(format!("v{version}{DONE}"));
        std::fs::rename(self.of_version(version), &done).map_err(system("renaming pins"))?;
        std::fs::remove_dir_all(done).map_err(system("removing pins"))
    }
}

/// Whether a bpffs is mounted there.
pub fn is_bpffs(dir: &Path) -> bool {
    statfs(dir).is_ok_and(|stat| stat.filesystem_type().0 == BPF_FS_MAGIC)
}
