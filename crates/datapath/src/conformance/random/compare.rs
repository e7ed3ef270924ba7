//! The comparison.

use std::fmt;
use std::time::Duration;

use mn_flow::{Cookie, PortNo, TunnelOrigin, extract};

use super::conversation::{WHOLE, answer, error_about, later_fragment, other_flags, with_flags};
use super::coverage::Coverage;
use super::flows::random_flow;
use super::packets::{mutate, random_frame};
use super::rng::Rng;
use super::world::{METERS, PORTS, SOURCES, set_up, vnis};
use crate::conformance::bench::{Asked, Bench};
use crate::conformance::frames::addr;
use crate::software::Sent;
use crate::{Connection, Counters, FlowSpec, Followed, Offload, Output, PortCounters, Timeouts};

/// Rounds between two looks at everything that is counted.
const ROUNDS_PER_LOOK: u64 = 16;
/// Packets given to one flow.
const PACKETS_PER_FLOW: usize = 6;
/// One round in so many gives its frame cut at every octet.
const ROUNDS_PER_TRUNCATION: u64 = 64;
/// How much time passes for connections at the end of a round: far from every timeout, for the
/// engines' clocks are not the same.
const PASSES: [u64; 6] = [30, 90, 150, 240, 450, 3600];

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
    /// Changes what flows tell.
    pub followed: fn(&mut Vec<Followed>),
    /// Changes the connections.
    pub connections: fn(&mut Vec<Connection>),
    /// Changes how long connections stay.
    pub timeouts: fn(&mut Timeouts),
}

impl Tamper {
    /// No change.
    pub const NONE: Self = Self {
        flow: |_| {},
        frame: |_| {},
        sent: |_| {},
        asked: |_| {},
        followed: |_| {},
        connections: |_| {},
        timeouts: |_| {},
    };
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
        let sent = self.packet(context, port)?;
        self.converse(rng, context, port, sent)?;
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
        self.age(rng, context)?;
        // Of a datagram of another round one engine's clock may say that it is over.
        let [left, right] = [&mut self.left, &mut self.right].map(|it| it.forget_fragments());
        same(context, "the datagrams whose first fragment was seen", &left, &right)?;
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

    /// What follows the first packet: later fragments, more of its direction, answers from where it
    /// went, errors about it.
    fn converse(
        &mut self,
        rng: &mut Rng,
        context: Context<'_>,
        port: PortNo,
        sent: Vec<Sent>,
    ) -> Result<(), Box<Mismatch>> {
        if let Some(later) = later_fragment(context.frame) {
            self.packet(Context { frame: &later, ..context }, port)?;
        }
        for sent in sent.iter().take(3) {
            let Output::Port(there) = sent.to else { continue };
            if sent.frame.len() < mn_packet::EthernetHeader::LEN {
                continue;
            }
            if is_tcp(&sent.frame) && rng.one_in(2) {
                let len = if rng.one_in(4) { rng.below(WHOLE.len()) } else { WHOLE.len() };
                for (answers, flags) in &WHOLE[..len] {
                    let (frame, port) = match answer(rng, &sent.frame) {
                        Some(frame) if *answers => (frame, there),
                        _ => (context.frame.to_vec(), port),
                    };
                    let frame = with_flags(&frame, *flags);
                    self.packet(Context { frame: &frame, ..context }, port)?;
                }
                continue;
            }
            for _ in 0..rng.below(5) {
                let (frame, port) = match rng.below(10) {
                    0..4 => (Some(other_flags(rng, context.frame)), port),
                    4 => (error_about(rng, &sent.frame), there),
                    5 => (error_about(rng, context.frame), there),
                    _ => (answer(rng, &sent.frame), there),
                };
                let Some(frame) = frame else { continue };
                self.packet(Context { frame: &frame, ..context }, port)?;
            }
        }
        Ok(())
    }

    /// Compares the connections, lets time pass for them, and begins the next round without any.
    fn age(&mut self, rng: &mut Rng, context: Context<'_>) -> Result<(), Box<Mismatch>> {
        self.connections(context)?;
        let passes = Duration::from_secs(rng.pick(&PASSES));
        let mut timeouts = Timeouts::default();
        let age = |bench: &dyn Bench, timeouts: &Timeouts| {
            let now = bench.now() + passes;
            bench.datapath().age_connections(now, timeouts, usize::MAX).expect("they can age")
        };
        let left = age(&*self.left, &timeouts);
        (self.tamper.timeouts)(&mut timeouts);
        let right = age(&*self.right, &timeouts);
        same(context, "the connections that are over", &left.removed, &right.removed)?;
        self.connections(context)?;
        for bench in [&*self.left, &*self.right] {
            bench.datapath().forget_connections(&|_| true).expect("they can be removed");
        }
        Ok(())
    }

    fn connections(&mut self, context: Context<'_>) -> Result<(), Box<Mismatch>> {
        let [left, mut right] = [&*self.left, &*self.right].map(|bench| {
            let mut all = Vec::new();
            bench
                .datapath()
                .connections(&mut |it| {
                    // The clocks are not the same.
                    let at = mn_time::Instant::ZERO;
                    all.push(Connection { made_at: at, used_at: at, ..it });
                })
                .expect("connections can be read");
            all.sort_by_key(|it| (it.zone, it.tuple));
            all
        });
        (self.tamper.connections)(&mut right);
        left.iter().for_each(|it| self.coverage.tracked(it));
        same(context, "the connections", &left, &right)?;
        let [left, right] = [&*self.left, &*self.right].map(|bench| {
            PORTS.map(|(port, _)| bench.datapath().tracking(port).expect("it is attached"))
        });
        same(context, "the ports' shares of connections", &left, &right)
    }

    /// One packet by a port; what went out on the left.
    fn packet(&mut self, context: Context<'_>, port: PortNo) -> Result<Vec<Sent>, Box<Mismatch>> {
        let other = self.tampered(context.frame);
        if !self.left.takes(context.frame) || !self.right.takes(&other) {
            return Ok(Vec::new());
        }
        self.coverage.packets += 1;
        self.beat();
        let left = self.left.receive(port, context.frame, Offload::default());
        let right = self.right.receive(port, &other, Offload::default());
        self.results(context, left, right)
    }

    /// Before every packet: an engine may take longer for a few than an agent may be silent.
    fn beat(&mut self) {
        self.left.beat();
        self.right.beat();
    }

    /// Now and then a packet by a tunnel, and one of the agent's.
    fn others(&mut self, rng: &mut Rng, context: Context<'_>) -> Result<(), Box<Mismatch>> {
        let (left, right) = (&*self.left, &*self.right);
        let taken = left.takes_tunnelled(context.frame) && right.takes_tunnelled(context.frame);
        if taken && rng.one_in(4) {
            self.coverage.packets += 1;
            self.beat();
            let origin = TunnelOrigin { vni: rng.pick(&vnis()), src: addr(rng.pick(&SOURCES)) };
            let left = self.left.receive_tunnelled(origin, context.frame, Offload::default());
            let other = self.tampered(context.frame);
            let right = self.right.receive_tunnelled(origin, &other, Offload::default());
            let sent = self.results(context, left, right)?;
            self.converse(rng, context, PORTS[0].0, sent)?;
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
    ) -> Result<Vec<Sent>, Box<Mismatch>> {
        (self.tamper.sent)(&mut right);
        left.sort_by_key(|sent| place(sent.to));
        right.sort_by_key(|sent| place(sent.to));
        self.coverage.sent += left.len() as u64;
        same(context, "the frames sent", &left, &right)?;
        let sent = left;
        let (mut left, mut right) = (self.left.asked(), self.right.asked());
        (self.tamper.asked)(&mut right);
        // An engine may guess this one by the checksum (contracts §2): one packet in 65,536 whose
        // checksum is computed looks as if it were not. None of ours is partial.
        for asked in left.iter_mut().chain(&mut right) {
            asked.offload.checksum_partial = false;
        }
        self.coverage.asked += left.len() as u64;
        left.iter().for_each(|asked| self.coverage.went_up(asked));
        same(context, "the packets that went up", &left, &right)?;
        let (left, mut right) = (self.left.followed(), self.right.followed());
        (self.tamper.followed)(&mut right);
        left.iter().for_each(|followed| self.coverage.told(followed));
        same(context, "the segments that flows told of", &left, &right)?;
        Ok(sent)
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

fn is_tcp(frame: &[u8]) -> bool {
    let layers = mn_packet::Layers::of(frame).ok();
    let ip = layers.as_ref().and_then(mn_packet::Layers::ip);
    ip.is_some_and(|ip| ip.protocol == mn_packet::IpProtocol::TCP)
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
