//! Programs on interfaces. Links are pinned by interface number and outlive the agent.
//!
//! Where the kernel has no tcx (before 6.6) the program is a filter of the clsact qdisc, which
//! needs no pin; a directory named after it says that it is there.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use aya::programs::links::{FdLink, PinnedLink};
use aya::programs::tc::{NlOptions, SchedClassifierLink, TcAttachOptions, TcHandle};
use aya::programs::{LinkOrder, SchedClassifier, TcAttachType, tc};

use super::open::{chain, system};
use crate::DatapathError;

/// Which program is on which hook.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Hook {
    PortIngress,
    TunnelIngress,
    InjectEgress,
    /// An interface of the host's own, with others' programs perhaps.
    UnderlayIngress,
}

impl Hook {
    const ALL: [Self; 4] =
        [Self::PortIngress, Self::TunnelIngress, Self::InjectEgress, Self::UnderlayIngress];

    const fn program(self) -> &'static str {
        match self {
            Self::PortIngress => "port_ingress",
            Self::TunnelIngress => "tunnel_ingress",
            Self::InjectEgress => "inject_egress",
            Self::UnderlayIngress => "underlay_ingress",
        }
    }

    const fn direction(self) -> TcAttachType {
        match self {
            Self::PortIngress | Self::TunnelIngress | Self::UnderlayIngress => {
                TcAttachType::Ingress
            }
            Self::InjectEgress => TcAttachType::Egress,
        }
    }

    /// Of the filter where there is no tcx. Elsewhere than on the host's own interfaces we are first.
    const fn priority(self) -> u16 {
        match self {
            Self::PortIngress | Self::TunnelIngress | Self::InjectEgress => 1,
            Self::UnderlayIngress => 6677,
        }
    }

    /// The hook and the interface that the name of a pin says.
    fn of_pin(name: &str) -> Option<(Self, u32)> {
        let (program, ifindex) = name.rsplit_once('-')?;
        let hook = Self::ALL.into_iter().find(|hook| hook.program() == program)?;
        Some((hook, ifindex.parse().ok()?))
    }
}

/// The programs and where they are attached.
pub struct Links {
    programs: aya::Ebpf,
    dir: PathBuf,
    tcx: bool,
}

impl Links {
    /// Loads the programs, and puts them in the place of those an earlier agent left attached.
    pub fn open(programs: aya::Ebpf, dir: PathBuf, tcx: bool) -> Result<Self, DatapathError> {
        let mut links = Self { programs, dir, tcx };
        for hook in Hook::ALL {
            links.program(hook)?.load().map_err(|error| DatapathError::Load(chain(&error)))?;
        }
        for entry in std::fs::read_dir(&links.dir).into_iter().flatten().flatten() {
            let name = entry.file_name();
            let Some((hook, ifindex)) = name.to_str().and_then(Hook::of_pin) else { continue };
            // What cannot be replaced has lost its interface.
            if entry.path().is_dir() {
                if links.attach_clsact(hook, ifindex).is_err() {
                    let _ = std::fs::remove_dir(entry.path());
                }
            } else if !links.replace(hook, &entry.path()) {
                let _ = std::fs::remove_file(entry.path());
            }
        }
        Ok(links)
    }

    /// Says where the links are pinned now.
    pub fn moved(&mut self, dir: PathBuf) {
        self.dir = dir;
    }

    /// Puts the programs in the place of those of an older version, interface by interface. What
    /// has no successor is taken off.
    pub fn take_over(&mut self, older: &Path) -> Result<(), DatapathError> {
        for entry in std::fs::read_dir(older.join("links")).into_iter().flatten().flatten() {
            let name = entry.file_name();
            let hook = name.to_str().and_then(Hook::of_pin);
            let replaced = match hook {
                Some((hook, ifindex)) if entry.path().is_dir() => {
                    self.attach_clsact(hook, ifindex).is_ok()
                }
                Some((hook, _)) => self.replace(hook, &entry.path()),
                None => false,
            };
            if replaced && !entry.path().is_dir() {
                let pin = self.dir.join(&name);
                std::fs::rename(entry.path(), pin).map_err(system("renaming a link"))?;
            } else if entry.path().is_dir() {
                std::fs::remove_dir(entry.path()).map_err(system("removing a link"))?;
            }
        }
        Ok(())
    }

    /// The maps of the programs.
    pub const fn programs(&self) -> &aya::Ebpf {
        &self.programs
    }

    fn program(&mut self, hook: Hook) -> Result<&mut SchedClassifier, DatapathError> {
        self.programs
            .program_mut(hook.program())
            .and_then(|program| program.try_into().ok())
            .ok_or_else(|| DatapathError::Load(format!("no program {}", hook.program())))
    }

    /// Puts the program into a pinned link, in one step.
    fn replace(&mut self, hook: Hook, pin: &Path) -> bool {
        let Ok(pinned) = PinnedLink::from_pin(pin) else { return false };
        let Ok(link) = SchedClassifierLink::try_from(FdLink::from(pinned)) else { return false };
        let Ok(program) = self.program(hook) else { return false };
        let Ok(id) = program.attach_to_link(link) else { return false };
        // Dropping the link closes our descriptor; the pin holds it.
        program.take_link(id).is_ok()
    }

    /// Attaches a program to an interface, before the programs of others; an earlier one of ours
    /// is replaced.
    pub fn attach(&mut self, hook: Hook, ifindex: u32) -> Result<(), DatapathError> {
        let pin = self.dir.join(format!("{}-{ifindex}", hook.program()));
        if !self.tcx {
            return self.attach_clsact(hook, ifindex);
        }
        if pin.exists() {
            if self.replace(hook, &pin) {
                return Ok(());
            }
            let _ = std::fs::remove_file(&pin);
        }
        let name = interface_name(ifindex)?;
        let load = |error: &dyn std::error::Error| DatapathError::Load(chain(error));
        let program = self.program(hook)?;
        let options = TcAttachOptions::TcxOrder(LinkOrder::first());
        let id = program
            .attach_with_options(&name, hook.direction(), options)
            .map_err(|error| load(&error))?;
        let link = program.take_link(id).map_err(|error| load(&error))?;
        FdLink::try_from(link)
            .map_err(|error| load(&error))?
            .pin(&pin)
            .map_err(|error| load(&error))?;
        Ok(())
    }

    /// The interfaces a program is attached to, by us or an earlier agent.
    pub fn attached(&self, hook: Hook) -> BTreeSet<u32> {
        let pins = std::fs::read_dir(&self.dir).into_iter().flatten().flatten();
        let found = pins.filter_map(|entry| Hook::of_pin(entry.file_name().to_str()?));
        found.filter(|(on, _)| *on == hook).map(|(_, ifindex)| ifindex).collect()
    }

    /// Takes a program off an interface, which may be gone already.
    pub fn detach(&self, hook: Hook, ifindex: u32) {
        let pin = self.dir.join(format!("{}-{ifindex}", hook.program()));
        if pin.is_dir() {
            detach_filter(hook, ifindex);
            let _ = std::fs::remove_dir(pin);
        } else {
            let _ = std::fs::remove_file(pin);
        }
    }

    fn attach_clsact(&mut self, hook: Hook, ifindex: u32) -> Result<(), DatapathError> {
        const HANDLE: TcHandle = TcHandle::new(0, 1);
        let name = interface_name(ifindex)?;
        let load = |error: &dyn std::error::Error| DatapathError::Load(chain(error));
        // Already there is fine.
        let _ = tc::qdisc_add_clsact(&name);
        let program = self.program(hook)?;
        let options = TcAttachOptions::Netlink(NlOptions {
            priority: hook.priority(),
            handle: HANDLE,
            ..NlOptions::default()
        });
        let id = match program.attach_with_options(&name, hook.direction(), options) {
            Ok(id) => id,
            Err(_) => {
                let (direction, priority) = (hook.direction(), hook.priority());
                let old = SchedClassifierLink::attached(&name, direction, priority, HANDLE, None)
                    .map_err(|error| load(&error))?;
                program.attach_to_link(old).map_err(|error| load(&error))?
            }
        };
        let link = program.take_link(id).map_err(|error| load(&error))?;
        // Dropping it would take the filter off.
        std::mem::forget(link);
        let mark = self.dir.join(format!("{}-{ifindex}", hook.program()));
        std::fs::create_dir_all(mark).map_err(system("mkdir"))
    }
}

/// Takes off the filters that have no link to be unpinned.
pub fn detach_clsact(pins: &Path) {
    for entry in std::fs::read_dir(pins.join("links")).into_iter().flatten().flatten() {
        let name = entry.file_name();
        let Some((hook, ifindex)) = name.to_str().and_then(Hook::of_pin) else { continue };
        if entry.path().is_dir() {
            detach_filter(hook, ifindex);
        }
    }
}

/// Gone already is as good.
fn detach_filter(hook: Hook, ifindex: u32) {
    if let Ok(interface) = interface_name(ifindex) {
        let _ = tc::qdisc_detach_program(&interface, hook.direction(), hook.program());
    }
}

fn interface_name(ifindex: u32) -> Result<String, DatapathError> {
    nix::net::if_::if_indextoname(ifindex)
        .ok()
        .and_then(|name| name.into_string().ok())
        .ok_or_else(|| DatapathError::Missing(format!("interface {ifindex}")))
}
