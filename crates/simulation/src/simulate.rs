//! The walk's frame: where it begins, what it gathers, how it ends.

use mn_flow::{DropCause, Expiry, FlowMask, Tag};
use mn_ids::{ChainId, ObjectKey, PortId, RouterId, RuleId};
use mn_topology::snapshot::{Lookup, Snapshot};
use mn_topology::{DeviceId, Port};

use crate::branch::Branch;
use crate::delivery::compile;
use crate::nat::Way;
use crate::walk::{Step, Walk};
use crate::{Buffers, Decision, Effect, Entry, Inputs, Limit, Outcome, Packet, StateView};

/// Walks a packet from where it enters to its end.
///
/// With `walk` every step is told, with the entry that decided it; without, nothing is spent on
/// that.
///
/// The verdict holds for every packet that agrees on the headers in the mask. Where it depended on
/// more than headers (the contents of an ICMP error, an answer of our own) it has
/// [`Expiry::None`]: no flow may be made of it.
#[must_use]
pub fn simulate<S: StateView + ?Sized>(
    snapshot: &Snapshot,
    state: &S,
    inputs: &Inputs,
    packet: &Packet<'_>,
    buffers: &mut Buffers,
    walk: Option<&mut Walk>,
) -> Outcome {
    buffers.clear();
    let mut sim = Sim {
        snapshot,
        state,
        inputs,
        packet,
        buffers,
        walk,
        read: FlowMask::NONE,
        once: false,
        teaches: false,
        refused: false,
        follows: None,
        closes: false,
        closed: false,
        crossings: 0,
        dropped: None,
    };
    let mut branch = Branch::arriving(packet.key);
    let end = match inputs.entry {
        Entry::Ingress(port) => sim.ingress(&mut branch, port),
        Entry::Egress(port) => {
            sim.once = true;
            sim.egress(&mut branch, port)
        }
        Entry::Router(router) => {
            sim.once = true;
            sim.originate(&mut branch, router)
        }
    };
    sim.absorb(&branch);
    sim.finish(end)
}

/// A walk while it goes on.
pub(crate) struct Sim<'a, S: ?Sized> {
    pub snapshot: &'a Snapshot,
    pub state: &'a S,
    pub inputs: &'a Inputs,
    pub packet: &'a Packet<'a>,
    pub buffers: &'a mut Buffers,
    pub walk: Option<&'a mut Walk>,
    /// What all finished branches read.
    pub read: FlowMask,
    /// The verdict is for this packet alone.
    pub once: bool,
    /// The packet may teach something, and so may each like it.
    pub teaches: bool,
    /// An error or a reset answers the packet.
    pub refused: bool,
    /// Which way it goes of a translated TCP connection.
    pub follows: Option<Way>,
    /// It ends connections of which it goes different ways: the next such is to be seen too.
    pub closes: bool,
    /// It is of a translated connection that has ended.
    pub closed: bool,
    /// Ports entered, by all branches together.
    pub crossings: u32,
    /// Why the first branch of a flood that went nowhere did.
    pub dropped: Option<(DropCause, Option<RuleId>)>,
}

/// Why a branch goes no further. A step's `?` reads as "or stop, because".
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Stop {
    Drop(DropCause, Option<RuleId>),
    /// It was answered, and the answer is delivered.
    Answered,
    /// What is missing is in the buffers.
    Load,
    AwaitNeighbor {
        router: RouterId,
        port: PortId,
        addr: std::net::IpAddr,
    },
    AwaitLease {
        device: DeviceId,
        chain: ChainId,
        rule: RuleId,
    },
}

impl From<DropCause> for Stop {
    fn from(cause: DropCause) -> Self {
        Self::Drop(cause, None)
    }
}

impl<'a, S: StateView + ?Sized> Sim<'a, S> {
    /// Notes what the verdict depends on.
    pub(crate) fn tag(&mut self, tag: Tag) {
        // Neighbouring steps like to read the same things; the caller bears the rest.
        let from = self.buffers.tags.len().saturating_sub(8);
        if !self.buffers.tags[from..].contains(&tag) {
            self.buffers.tags.push(tag);
        }
    }

    /// Tells a step, if anyone listens.
    pub(crate) fn note(&mut self, step: impl FnOnce() -> Step) {
        if let Some(walk) = &mut self.walk {
            walk.steps.push(step());
        }
    }

    pub(crate) fn effect(&mut self, effect: Effect) {
        self.buffers.effects.push(effect);
    }

    /// Sends a packet of our own out of a port. The packet it answers makes no flow.
    pub(crate) fn emit(&mut self, port: PortId, frame: Vec<u8>, limit: Limit) {
        match limit {
            Limit::Answer => self.once = true,
            Limit::Error => self.refused = true,
        }
        self.effect(Effect::Emit { port, frame, limit });
    }

    /// What a lookup found. What does not exist leads nowhere: a reference that dangles must not
    /// let a packet past a filter.
    pub(crate) fn found<T>(
        &mut self,
        lookup: Lookup<'a, T>,
        key: impl Into<ObjectKey>,
    ) -> Result<&'a T, Stop> {
        match lookup {
            Lookup::Loaded(object) => Ok(object),
            Lookup::Absent => Err(DropCause::NoTopology.into()),
            Lookup::NotLoaded => Err(self.load(key)),
        }
    }

    /// Asks for something to be loaded.
    pub(crate) fn load(&mut self, key: impl Into<ObjectKey>) -> Stop {
        self.buffers.missing.push(key.into());
        Stop::Load
    }

    /// A port, of which the verdict depends from now on.
    pub(crate) fn port(&mut self, id: PortId) -> Result<&'a Port, Stop> {
        self.tag(Tag::Port(id));
        self.found(self.snapshot.port(id), id)
    }

    /// Adds what a branch read to what the verdict read.
    pub(crate) fn absorb(&mut self, branch: &Branch) {
        self.read |= branch.packet.leave().read;
        self.note_paths(branch);
    }

    fn finish(mut self, end: Result<(), Stop>) -> Outcome {
        match end {
            Err(Stop::Load) => return self.missing(),
            Err(Stop::AwaitNeighbor { router, port, addr }) => {
                return Outcome::AwaitNeighbor { router, port, addr };
            }
            Err(Stop::AwaitLease { device, chain, rule }) => {
                return Outcome::AwaitLease { device, chain, rule };
            }
            Err(Stop::Drop(cause, rule)) => self.dropped = Some((cause, rule)),
            Ok(()) | Err(Stop::Answered) => {}
        }
        let buffers = &mut *self.buffers;
        let drop = if buffers.deliveries.iter().all(|delivery| delivery.mirrored) {
            // What sends nothing, and is not answered, needs no port to send it from.
            let answered = |effect: &Effect| matches!(effect, Effect::Emit { .. });
            if !buffers.effects.iter().any(answered) {
                buffers.effects.retain(|effect| {
                    !matches!(effect, Effect::Translate(_) | Effect::Segment { .. })
                });
            }
            // A flood that had nobody to go to has the port it came by left.
            Some(self.dropped.unwrap_or((DropCause::SamePort, None)))
        } else {
            None
        };
        let arrived = &self.packet.key;
        compile(arrived, &mut buffers.deliveries, &mut self.read, &mut buffers.actions);
        if let Some((cause, rule)) = drop {
            self.note(|| Step::Drop { cause, rule });
        }
        // The flow that answers shows copies of its packets, so that they can teach.
        let copies = self.buffers.deliveries.iter().any(|delivery| delivery.answerer.is_some());
        let alone = self.teaches && !copies;
        let expiry = match drop {
            _ if self.once || self.refused || alone => Expiry::None,
            Some((cause, _)) if may_mend(cause) => Expiry::Brief,
            Some(_) => Expiry::Idle,
            None if self.closes => Expiry::None,
            None if self.closed => Expiry::Brief,
            None => Expiry::Idle,
        };
        let follows = self.follows.filter(|_| drop.is_none());
        let budgeted = self.refused && !self.once && !alone && drop.is_some();
        Outcome::Decided(Decision { mask: self.read, expiry, budgeted, follows, drop })
    }

    /// Everything that is known to be missing, so that few round trips are needed.
    fn missing(self) -> Outcome {
        let mut missing = std::mem::take(&mut self.buffers.missing);
        if let Some(port) = self.begins_at() {
            self.snapshot.missing_around(port, &mut missing);
        }
        missing.sort_unstable();
        missing.dedup();
        Outcome::Load(missing)
    }
}

/// Whether a packet dropped for this cause may get through soon without any change that a tag tells.
const fn may_mend(cause: DropCause) -> bool {
    matches!(
        cause,
        DropCause::NeighborUnreachable
            | DropCause::NoTopology
            | DropCause::Looped
            | DropCause::NatExhausted
            | DropCause::VipConnectionLimit
    )
}
