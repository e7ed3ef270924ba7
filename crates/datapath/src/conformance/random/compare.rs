//! The comparison.

use std::fmt;

use mn_flow::{Cookie, PortNo, TunnelOrigin, extract};

use super::coverage::Coverage;
use super::flows::random_flow;
use super::packets::{mutate, random_frame};
use super::rng::Rng;
use super::world::{METERS, PORTS, SOURCES, set_up, vnis};
use crate::conformance::bench::{Asked, Bench};
use crate::conformance::frames::addr;
use crate::software::Sent;
use crate::{Counters, FlowSpec, Offload, Output, PortCounters};

/// Rounds between two looks at everything that is counted.
const ROUNDS_PER_LOOK: u64 = 16;
/// Packets given to one flow.
const PACKETS_PER_FLOW: usize = 6;
/// One round in so many gives its frame cut at every octet.
const ROUNDS_PER_TRUNCATION: u64 = 64;

/// A change of what the right side is told or says: a planted defect.
#[derive(Clone, Copy, Debug)]
pub struct Tamper {
    /// Changes the flow before it is installed.
    pub flow: fn(&mut FlowSpec),
    /// Changes the frame before it is given.
    pub frame: fn(&mut Vec<u8>),
    /// Changes what went out.
    pub sent: fn(&mut Vec<Sent>),
    /// Changes what went up.
    pub asked: fn(&mut Vec<Asked>),
}

impl Tamper {
    /// No change.
    pub const NONE: Self = Self { flow: |_| {}, frame: |_| {}, sent: |_| {}, asked: |_| {} };
}

/// Where two engines differ first.
#[derive(Clone, Debug)]
pub struct Mismatch {
    /// The seed of this round alone: [`compare`] with it and one round shows the same.
    pub seed: u64,
    pub what: &'static str,
    pub flow: Option<FlowSpec>,
    pub frame: Vec<u8>,
    pub left: String,
    pub right: String,
}

impl fmt::Display for Mismatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{} differ, seed {}", self.what, self.seed)?;
        writeln!(f, "flow:  {:?}", self.flow)?;
        writeln!(f, "frame: {:02x?}", self.frame)?;
        writeln!(f, "left:  {}", self.left)?;
        write!(f, "right: {}", self.right)
    }
}

/// Gives both engines the same flows and packets until `packets` have gone through.
///
/// Both benches are fresh. `tamper` changes the right side.
///
/// # Errors
///
/// The first [`Mismatch`].
///
/// # Panics
///
/// Where an engine refuses what every engine must take.
pub fn compare(
    left: &mut dyn Bench,
    right: &mut dyn Bench,
    seed: u64,
    packets: u64,
    tamper: &Tamper,
) -> Result<Coverage, Box<Mismatch>> {
    set_up(left);
    set_up(right);
    let mut pair = Pair { left, right, tamper, coverage: Coverage::default() };
    let mut round = 0;
    while pair.coverage.packets < packets {
        pair.round(seed.wrapping_add(round), round)?;
        round += 1;
    }
    pair.counted(seed.wrapping_add(round))?;
    Ok(pair.coverage)
}

struct Pair<'a> {
    left: &'a mut dyn Bench,
    right: &'a mut dyn Bench,
    tamper: &'a Tamper,
    coverage: Coverage,
}

/// What is told of a mismatch besides the two sides.
#[derive(Clone, Copy)]
struct Context<'a> {
    seed: u64,
    flow: Option<&'a FlowSpec>,
    frame: &'a [u8],
}

impl Pair<'_> {
    /// One flow and its packets.
    fn round(&mut self, seed: u64, round: u64) -> Result<(), Box<Mismatch>> {
        let rng = &mut Rng::new(seed);
        let frame = random_frame(rng);
        let port = rng.pick(&PORTS).0;
        let key = extract(&frame, port, None).ok();
        let spec = key.map(|key| random_flow(rng, key, Cookie(round + 1)));
        if let Some(spec) = &spec {
            self.install(spec);
        }
        let context = Context { seed, flow: spec.as_ref(), frame: &frame };
        self.packet(context, port)?;
        for _ in 1..PACKETS_PER_FLOW {
            let frame = mutate(rng, &frame);
            self.packet(Context { frame: &frame, ..context }, port)?;
        }
        if seed.is_multiple_of(ROUNDS_PER_TRUNCATION) {
            for cut in mn_packet::EthernetHeader::LEN..frame.len() {
                self.packet(Context { frame: &frame[..cut], ..context }, port)?;
            }
        }
        self.others(rng, context)?;
        if let Some(spec) = &spec {
            self.remove(context, spec)?;
        }
        self.left.beat();
        self.right.beat();
        if round.is_multiple_of(ROUNDS_PER_LOOK) {
            self.counted(seed)?;
        }
        Ok(())
    }

    fn install(&mut self, spec: &FlowSpec) {
        self.left.datapath().install(spec).expect("the left engine takes the flow");
        let mut other = spec.clone();
        (self.tamper.flow)(&mut other);
        self.right.datapath().install(&other).expect("the right engine takes the flow");
    }

    fn remove(&mut self, context: Context<'_>, spec: &FlowSpec) -> Result<(), Box<Mismatch>> {
        let mut other = spec.clone();
        (self.tamper.flow)(&mut other);
        let [left, right] = [(&*self.left, spec), (&*self.right, &other)].map(|(bench, spec)| {
            let removed = bench.datapath().remove(spec).expect("a flow can be removed");
            removed.map(|flow| flow.counters)
        });
        self.coverage.took(&spec.actions, left.map_or(0, |counters| counters.packets));
        same(context, "the flow's counters", &left, &right)
    }

    /// One packet by a port.
    fn packet(&mut self, context: Context<'_>, port: PortNo) -> Result<(), Box<Mismatch>> {
        let other = self.tampered(context.frame);
        if !self.left.takes(context.frame) || !self.right.takes(&other) {
            return Ok(());
        }
        self.coverage.packets += 1;
        let left = self.left.receive(port, context.frame, Offload::default());
        let right = self.right.receive(port, &other, Offload::default());
        self.results(context, left, right)
    }

    /// Now and then a packet by a tunnel, and one of the agent's.
    fn others(&mut self, rng: &mut Rng, context: Context<'_>) -> Result<(), Box<Mismatch>> {
        let (left, right) = (&*self.left, &*self.right);
        let taken = left.takes_tunnelled(context.frame) && right.takes_tunnelled(context.frame);
        if taken && rng.one_in(4) {
            self.coverage.packets += 1;
            let origin = TunnelOrigin { vni: rng.pick(&vnis()), src: addr(rng.pick(&SOURCES)) };
            let left = self.left.receive_tunnelled(origin, context.frame, Offload::default());
            let other = self.tampered(context.frame);
            let right = self.right.receive_tunnelled(origin, &other, Offload::default());
            self.results(context, left, right)?;
        }
        if let (true, Some(spec)) = (rng.one_in(4), context.flow) {
            let mut other = spec.clone();
            (self.tamper.flow)(&mut other);
            let left = self.left.execute(context.frame, &spec.actions);
            let right = self.right.execute(context.frame, &other.actions);
            self.results(context, left, right)?;
        }
        Ok(())
    }

    fn tampered(&self, frame: &[u8]) -> Vec<u8> {
        let mut frame = frame.to_vec();
        (self.tamper.frame)(&mut frame);
        frame
    }

    /// Compares what one packet led to.
    fn results(
        &mut self,
        context: Context<'_>,
        mut left: Vec<Sent>,
        mut right: Vec<Sent>,
    ) -> Result<(), Box<Mismatch>> {
        (self.tamper.sent)(&mut right);
        left.sort_by_key(|sent| place(sent.to));
        right.sort_by_key(|sent| place(sent.to));
        self.coverage.sent += left.len() as u64;
        same(context, "the frames sent", &left, &right)?;
        let (mut left, mut right) = (self.left.asked(), self.right.asked());
        (self.tamper.asked)(&mut right);
        // An engine may guess this one by the checksum (contracts §2): one packet in 65,536 whose
        // checksum is computed looks as if it were not. None of ours is partial.
        for asked in left.iter_mut().chain(&mut right) {
            asked.offload.checksum_partial = false;
        }
        self.coverage.asked += left.len() as u64;
        same(context, "the packets that went up", &left, &right)
    }

    /// Compares everything that is counted.
    fn counted(&self, seed: u64) -> Result<(), Box<Mismatch>> {
        let context = Context { seed, flow: None, frame: &[] };
        let [left, right] = [&*self.left, &*self.right].map(|bench| {
            let mut drops = bench.datapath().drops().expect("drops can be read");
            drops.retain(|(_, _, count)| *count > 0);
            drops.sort();
            drops
        });
        same(context, "the drops", &left, &right)?;
        let [left, right] = [&*self.left, &*self.right].map(|bench| {
            let ports = PORTS.iter().map(|(port, _)| *port).chain([PortNo::TUNNEL]);
            ports.map(|port| counters(bench, port)).collect::<Vec<_>>()
        });
        same(context, "the ports' counters", &left, &right)?;
        let [left, right] = [&*self.left, &*self.right].map(|bench| {
            let read = |index| bench.datapath().meter(index).expect("the meter is there");
            (0..METERS).map(read).collect::<Vec<_>>()
        });
        same(context, "the meters", &left, &right)
    }
}

fn counters(bench: &dyn Bench, port: PortNo) -> (Counters, Counters, u64) {
    let PortCounters { rx, tx, rx_dropped } =
        bench.datapath().port_counters(port).expect("the port is attached");
    (rx, tx, rx_dropped)
}

/// An order between outputs.
fn place(to: Output) -> (u32, u32) {
    match to {
        Output::Port(port) => (port.0, 0),
        Output::Tunnel { peer, key } => (u32::MAX - peer.0, key.vni()),
    }
}

fn same<T: PartialEq + fmt::Debug>(
    context: Context<'_>,
    what: &'static str,
    left: &T,
    right: &T,
) -> Result<(), Box<Mismatch>> {
    if left == right {
        return Ok(());
    }
    Err(Box::new(Mismatch {
        seed: context.seed,
        what,
        flow: context.flow.cloned(),
        frame: context.frame.to_vec(),
        left: format!("{left:02x?}"),
        right: format!("{right:02x?}"),
    }))
}
