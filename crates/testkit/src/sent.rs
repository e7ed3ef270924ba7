//! What became of a packet, and what a test says of it.

use std::collections::BTreeSet;
use std::fmt::Write as _;

use mn_flow::{DropCause, Expiry, FlowKey, FlowMask, Rewrite, Tag, VirtualAction};
use mn_ids::PortId;
use mn_packet::{Layers, Network, ndp};
use mn_simulation::walk::Walk;
use mn_simulation::{Buffers, Decision, Effect, Outcome};

use crate::packet::Built;
use crate::{Lab, named};

/// A packet that was simulated. Each assertion prints the lab and the walk where it fails.
#[derive(Debug)]
pub struct Sent<'a> {
    pub(crate) lab: &'a Lab,
    pub(crate) text: String,
    pub built: Built,
    pub outcome: Outcome,
    pub buffers: Buffers,
    pub walk: Walk,
}

/// One copy that was delivered, by the actions.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Arrival {
    pub port: PortId,
    pub headers: FlowKey,
    /// How many hops were taken off.
    pub hops: u8,
    /// Its connection is tracked.
    pub tracked: bool,
}

impl Sent<'_> {
    /// It arrives at the port of this name, alone; `hops` are taken off its time to live.
    #[track_caller]
    pub fn arrives(&self, port: &str, hops: u8) -> &Self {
        let at = self.arrivals();
        let want = named(port);
        let right = matches!(at[..], [only] if only.port == want && only.hops == hops);
        self.check(right, &format!("arrives at {port} {hops} hops older"))
    }

    /// Copies arrive at just these ports, in any order.
    #[track_caller]
    pub fn floods(&self, ports: &[&str]) -> &Self {
        let got: BTreeSet<PortId> = self.arrivals().iter().map(|at| at.port).collect();
        let want: BTreeSet<PortId> = ports.iter().map(|port| named(port)).collect();
        let once = self.arrivals().len() == want.len();
        self.check(got == want && once, &format!("floods to {ports:?}"))
    }

    /// It goes nowhere, for this cause.
    #[track_caller]
    pub fn drops(&self, cause: DropCause) -> &Self {
        self.drops_but_copies(cause, &[])
    }

    /// It goes nowhere, for this cause; copies of it arrive at just these ports.
    #[track_caller]
    pub fn drops_but_copies(&self, cause: DropCause, ports: &[&str]) -> &Self {
        let right = self.decision().is_some_and(|it| it.drop.map(|drop| drop.0) == Some(cause));
        self.check(right, &format!("drops: {cause}")).floods(ports)
    }

    /// The rule at this place of a chain sends it nowhere.
    #[track_caller]
    pub fn drops_by(&self, chain: &str, index: usize) -> &Self {
        let rule = named(&format!("{chain}:{index}"));
        let right = self.decision().is_some_and(|it| it.drop.and_then(|drop| drop.1) == Some(rule));
        self.check(right, &format!("drops by rule {index} of {chain}"))
    }

    /// It waits for a neighbour.
    #[track_caller]
    pub fn awaits(&self, port: &str, addr: &str) -> &Self {
        let want = (named(port), addr.parse().unwrap());
        let right = matches!(self.outcome, Outcome::AwaitNeighbor { port, addr, .. } if (port, addr) == want);
        self.check(right, &format!("awaits {addr} at {port}"))
    }

    /// It waits for ports to be leased.
    #[track_caller]
    pub fn awaits_lease(&self, chain: &str, index: usize) -> &Self {
        let (chain_id, rule_id) = (named(chain), named(&format!("{chain}:{index}")));
        let right = matches!(self.outcome, Outcome::AwaitLease { chain, rule, .. } if (chain, rule) == (chain_id, rule_id));
        self.check(right, &format!("awaits a lease for rule {index} of {chain}"))
    }

    /// The verdict read just these headers.
    #[track_caller]
    pub fn reads(&self, mask: FlowMask) -> &Self {
        let right = self.decision().is_some_and(|decision| decision.mask == mask);
        self.check(right, &format!("reads {mask:?}"))
    }

    /// The verdict read no more than these headers.
    #[track_caller]
    pub fn reads_only(&self, mask: FlowMask) -> &Self {
        let right = self.decision().is_some_and(|decision| mask.covers(decision.mask));
        self.check(right, &format!("reads nothing outside of {mask:?}"))
    }

    /// The verdict depends on this.
    #[track_caller]
    pub fn tagged(&self, tag: Tag) -> &Self {
        self.check(self.buffers.tags.contains(&tag), &format!("has the tag {tag:?}"))
    }

    /// A flow is made of it, or none.
    #[track_caller]
    pub fn lasts(&self, expiry: Expiry) -> &Self {
        let right = self.decision().is_some_and(|decision| decision.expiry == expiry);
        self.check(right, &format!("lasts {expiry:?}"))
    }

    /// Nothing is answered.
    #[track_caller]
    pub fn silently(&self) -> &Self {
        self.check(self.answers().is_empty(), "is not answered")
    }

    /// The one packet of our own that it gives, which leaves by the port of this name.
    #[track_caller]
    pub fn answered_at(&self, port: &str) -> Vec<u8> {
        let answers = self.answers();
        let right = matches!(answers[..], [(at, _)] if at == named(port));
        self.check(right, &format!("has one answer, at {port}"));
        answers[0].1.to_vec()
    }

    /// What its flow turns it into: the answer, which goes back to the port of this name alone.
    #[track_caller]
    pub fn answered_back(&self, port: &str) -> Vec<u8> {
        self.arrives(port, 0);
        let answers = self.buffers.actions.iter().find_map(|action| match action {
            VirtualAction::Rewrite(Rewrite::Answer { mac, router }) => Some((*mac, *router)),
            _ => None,
        });
        let (mac, router) = answers.expect("its flow answers it");
        let layers = Layers::of(&self.built.frame).unwrap();
        match (&layers.network, self.built.key.nw_src, self.built.key.nw_dst) {
            (Network::Arp(request), ..) => {
                request.reply(mac).frame_in(&layers.ethernet.reply_from(mac))
            }
            (_, asker, target) => ndp::advertise(&layers.ethernet, asker, target, mac, router),
        }
    }

    /// An effect follows from it.
    #[track_caller]
    pub fn teaches(&self, effect: &Effect) -> &Self {
        self.check(self.buffers.effects.contains(effect), &format!("teaches {effect:?}"))
    }

    /// Nothing is learned from it.
    #[track_caller]
    pub fn teaches_nothing(&self) -> &Self {
        let right = self.buffers.effects.iter().all(|it| matches!(it, Effect::Emit { .. }));
        self.check(right, "teaches nothing")
    }

    /// The verdict, where there is one.
    #[must_use]
    pub fn decision(&self) -> Option<Decision> {
        match self.outcome {
            Outcome::Decided(decision) => Some(decision),
            Outcome::Load(_) | Outcome::AwaitNeighbor { .. } | Outcome::AwaitLease { .. } => None,
        }
    }

    /// The packets of our own, and the ports they leave by.
    #[must_use]
    pub fn answers(&self) -> Vec<(PortId, &[u8])> {
        let answer = |effect| match effect {
            &Effect::Emit { port, ref frame, .. } => Some((port, &frame[..])),
            _ => None,
        };
        self.buffers.effects.iter().filter_map(answer).collect()
    }

    /// The copies that its actions deliver.
    #[must_use]
    pub fn arrivals(&self) -> Vec<Arrival> {
        if self.decision().is_none() {
            return Vec::new();
        }
        deliver(&self.built.key, &self.buffers.actions)
    }

    #[track_caller]
    fn check(&self, right: bool, what: &str) -> &Self {
        assert!(right, "{:?} {what}: no.\n{}", self.text, self.story());
        self
    }

    /// The lab and all that happened.
    fn story(&self) -> String {
        let mut story = self.lab.text().to_owned();
        for step in &self.walk.steps {
            let _ = writeln!(story, "  {step:?}");
        }
        let names: Vec<String> =
            self.arrivals().iter().map(|at| self.lab.name_of(at.port)).collect();
        let _ = writeln!(story, "outcome {:?}\narrives at {names:?}", self.outcome);
        let _ = writeln!(story, "actions {:?}", self.buffers.actions);
        let _ = writeln!(story, "effects {:?}\ntags {:?}", self.buffers.effects, self.buffers.tags);
        for (_, frame) in self.answers() {
            let _ = writeln!(story, "answer {:?}", Layers::of(frame));
        }
        story
    }
}

/// What a list of actions does to a packet with these headers.
#[must_use]
pub fn deliver(key: &FlowKey, actions: &[VirtualAction]) -> Vec<Arrival> {
    let (mut headers, mut hops, mut tracked) = (*key, 0, false);
    let mut arrivals = Vec::new();
    for action in actions {
        match *action {
            VirtualAction::Rewrite(Rewrite::DecTtl) => hops += 1,
            VirtualAction::Rewrite(rewrite) => rewrite.apply(&mut headers),
            VirtualAction::Deliver(port) => {
                arrivals.push(Arrival { port, headers, hops, tracked });
                tracked = false;
            }
            VirtualAction::Track => tracked = true,
            VirtualAction::Meter(_) | VirtualAction::Copy => {}
        }
    }
    arrivals
}
