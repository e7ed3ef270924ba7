//! Walks with what a worker knows: translations are a worker's, and known to all of them.

use mn_agent_core::View;
use mn_flow::{FlowKey, PortNo};
use mn_simulation::StateView;
use mn_walk::{After, Described, NoAnswer, Setting, Way};

use super::Worker;
use super::message::FromWorker;
use crate::clock;

/// A packet to walk.
#[derive(Debug)]
pub(crate) struct WalkAsked {
    /// Which of the control thread's walks it is.
    pub(crate) number: u64,
    pub(crate) packet: Described,
    /// Its headers, with what the datapath says of its connection.
    pub(crate) key: FlowKey,
    /// Whether to walk its answer, too.
    pub(crate) both: bool,
}

/// What came of it.
#[derive(Debug)]
pub(crate) struct Walked {
    pub(crate) number: u64,
    pub(crate) way: Way,
    /// The answer's way, where it was asked for.
    pub(crate) back: Option<Result<Way, NoAnswer>>,
}

impl Worker {
    /// Walks a packet as if it came now. Nothing is learned, kept or sent.
    pub(super) fn walk(&self, asked: WalkAsked) {
        let WalkAsked { number, packet, key, both } = asked;
        let view = View {
            tables: &self.tables,
            neighbors: &self.neighbors,
            translations: &self.translations,
            paths: &self.paths,
            checks: &self.health.awaited,
        };
        let setting = Setting { now: clock::now(), seed: self.seed, mtu: self.local.mtu };
        let go = |state: &dyn StateView, packet: &Described, key| {
            Way::go(&self.snapshot, state, setting, packet, key)
        };
        let way = go(&view, &packet, key);
        let back = both.then(|| {
            let mut answer = way.answered()?;
            let number = self.local.ports.get(&answer.packet.port);
            answer.key.in_port = number.copied().unwrap_or(PortNo::NONE);
            Ok(go(&After::of(&view, &way), &answer.packet, answer.key))
        });
        self.tell_control(FromWorker::Walked(Box::new(Walked { number, way, back })));
    }
}
