//! Mirrors: copies of what passes a hook (`MR-*`, agent-facts §24).

use mn_flow::{DropCause, Tag};
use mn_ids::MirrorId;
use mn_topology::snapshot::{Lookup, MirrorView};

use crate::StateView;
use crate::branch::Branch;
use crate::port::{CROSSINGS_MAX, DEVICES_MAX};
use crate::simulate::{Sim, Stop};
use crate::walk::Step;

impl<S: StateView + ?Sized> Sim<'_, S> {
    /// Copies the packet, as it is now, to the port of each of these mirrors that has a condition
    /// for it. What becomes of a copy changes nothing for the packet.
    pub(crate) fn mirror(&mut self, branch: &mut Branch, hook: &[MirrorId]) -> Result<(), Stop> {
        for id in hook {
            self.tag(Tag::Mirror(*id));
            let mirror = match self.snapshot.mirror(*id) {
                Lookup::Absent => continue,
                lookup => self.found(lookup, *id)?,
            };
            // A mirror does not see its own copies: else a loop of mirrors would fill the line.
            if !branch.mirrors.contains(id) && self.is_mirrored(branch, mirror)? {
                self.send_copy(branch, mirror)?;
            }
        }
        Ok(())
    }

    fn is_mirrored(&mut self, branch: &mut Branch, mirror: &MirrorView) -> Result<bool, Stop> {
        for condition in &mirror.conditions {
            if self.matches(branch, condition)? {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Sends a copy out of a mirror's port. On its way nothing is learned from it, translated for
    /// it or answered to it.
    fn send_copy(&mut self, branch: &Branch, mirror: &MirrorView) -> Result<(), Stop> {
        let port = mirror.to_port;
        self.note(|| Step::Mirrored { mirror: mirror.id, port });
        let mut copy = branch.clone();
        copy.mirrors.push(mirror.id);
        copy.in_port = None;
        copy.devices += 1;
        self.crossings += 1;
        let (effects, refused) = (self.buffers.effects.len(), self.refused);
        let end = if copy.devices > DEVICES_MAX || self.crossings > CROSSINGS_MAX {
            Err(DropCause::Looped.into())
        } else {
            self.egress(&mut copy, port)
        };
        self.absorb(&copy);
        self.buffers.effects.truncate(effects);
        self.refused = refused;
        let (cause, rule) = match end {
            Ok(()) | Err(Stop::Answered) => return Ok(()),
            Err(Stop::Load) => return Err(Stop::Load),
            Err(Stop::Drop(cause, rule)) => (cause, rule),
            // The packet does not wait for its copies.
            Err(Stop::AwaitNeighbor { .. }) => (DropCause::NeighborUnreachable, None),
            Err(Stop::AwaitLease { rule, .. }) => (DropCause::NatExhausted, Some(rule)),
        };
        self.note(|| Step::CopyDropped { port, cause, rule });
        Ok(())
    }
}
