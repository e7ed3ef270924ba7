//! What a case needs of an engine under test.

use std::time::Duration;

use mn_flow::{Action, Cookie, DropCause, Field, FlowKey, FlowMask, PortNo, TunnelOrigin, extract};

use mn_time::Instant;

use crate::software::Sent;
use crate::{Datapath, FlowSpec, Followed, Interface, Offload, UpcallLimit, UpcallReason};

/// A packet an engine asked about.
#[derive(Clone, Debug, PartialEq)]
pub struct Asked {
    pub reason: UpcallReason,
    pub key: FlowKey,
    pub frame: Vec<u8>,
    pub offload: Offload,
}

/// An engine that stands alone: frames go in and come out by nothing but these methods.
pub trait Bench {
    fn datapath(&self) -> &dyn Datapath;

    /// An interface to attach as this port. What leaves by it is seen by the bench.
    fn interface(&mut self, port: PortNo, mtu: u32) -> Interface;

    /// Whether such a frame gets to the engine at all: a kernel throws some away before.
    fn takes(&self, frame: &[u8]) -> bool {
        let _any = frame;
        true
    }

    /// Likewise for a frame in a tunnel.
    fn takes_tunnelled(&self, frame: &[u8]) -> bool {
        self.takes(frame)
    }

    /// A frame comes in by a port; what went out because of it. Of frames to one output the order
    /// is kept; between outputs it is not.
    fn receive(&mut self, port: PortNo, frame: &[u8], offload: Offload) -> Vec<Sent>;

    /// A frame comes in by a tunnel.
    fn receive_tunnelled(
        &mut self,
        origin: TunnelOrigin,
        frame: &[u8],
        offload: Offload,
    ) -> Vec<Sent>;

    /// The agent sends a frame ([`Datapath::execute`]).
    fn execute(&mut self, frame: &[u8], actions: &[Action]) -> Vec<Sent>;

    /// What went up since it was asked last, all workers.
    fn asked(&mut self) -> Vec<Asked>;

    /// What flows have told of segments since it was asked last, all workers.
    fn followed(&mut self) -> Vec<Followed>;

    /// The agent says that it lives, now.
    fn beat(&mut self);

    /// The engine's time.
    fn now(&self) -> Instant;

    /// Time passes.
    fn pass(&mut self, time: Duration);

    /// The engine forgets the first fragments it has seen; of how many datagrams those were.
    fn forget_fragments(&mut self) -> usize;

    /// Whether frames can be given that are to be segmented yet.
    fn takes_gso(&self) -> bool;

    /// Whether frames can be given whose checksum is the pseudo-header's alone.
    fn takes_partial_checksums(&self) -> bool;
}

/// One story.
pub type Case = (&'static str, fn(&mut dyn Bench));

/// Tells every story to benches of one kind.
///
/// # Panics
///
/// Where an engine does not do what a story says; the story's name is printed before.
pub fn run(mut make: impl FnMut() -> Box<dyn Bench>) {
    for (name, case) in super::CASES.iter().flat_map(|cases| cases.iter()) {
        println!("{name}");
        case(make().as_mut());
    }
}

/// The limit of ports where upcalls are not what a case is about.
pub const WIDE: UpcallLimit = UpcallLimit { rate: 1_000_000, burst: 100_000 };
/// The MTU of ports where sizes are not what a case is about.
pub const MTU: u32 = 1500;
/// The ports that most cases use.
pub const A: PortNo = PortNo(16);
pub const B: PortNo = PortNo(17);
pub const C: PortNo = PortNo(18);

/// What cases do often.
impl dyn Bench + '_ {
    /// Attaches ports [`A`], [`B`] and [`C`], and beats.
    pub(super) fn three_ports(&mut self) {
        for port in [A, B, C] {
            self.attach(port, MTU, WIDE);
        }
        self.beat();
    }

    pub(super) fn attach(&mut self, port: PortNo, mtu: u32, limit: UpcallLimit) {
        let interface = self.interface(port, mtu);
        self.datapath().attach(port, interface, limit).expect("an interface can be attached");
    }

    /// A whole frame comes in by a port.
    pub(super) fn give(&mut self, port: PortNo, frame: &[u8]) -> Vec<Sent> {
        self.receive(port, frame, Offload::default())
    }

    /// Installs the flow of exactly this frame.
    pub(super) fn exact(&self, port: PortNo, frame: &[u8], actions: &[Action]) -> FlowSpec {
        self.flow(port, frame, FlowMask::all(), actions)
    }

    /// Installs a flow of every frame of a port.
    pub(super) fn port_flow(&self, port: PortNo, frame: &[u8], actions: &[Action]) -> FlowSpec {
        self.flow(port, frame, Field::InPort.into(), actions)
    }

    /// Installs a flow of frames like this one.
    pub(super) fn flow(
        &self,
        port: PortNo,
        frame: &[u8],
        mask: FlowMask,
        actions: &[Action],
    ) -> FlowSpec {
        let key = extract(frame, port, None).expect("the case's frame is whole");
        let cookie = Cookie(u64::from(port.0) << 32 | 1);
        let spec = FlowSpec { cookie, key, mask, actions: actions.to_vec() };
        self.datapath().install(&spec).expect("the flow can be installed");
        spec
    }

    /// How many packets a port has dropped for a cause.
    pub(super) fn dropped(&self, port: PortNo, cause: DropCause) -> u64 {
        let drops = self.datapath().drops().expect("drops can be read");
        drops.iter().filter(|(at, why, _)| (*at, *why) == (port, cause)).map(|it| it.2).sum()
    }
}

/// Asserts that nothing went out and nothing went up.
pub fn quiet(bench: &mut dyn Bench, sent: &[Sent]) {
    assert_eq!(sent, [], "nothing goes out");
    assert_eq!(bench.asked(), [], "nothing goes up");
}
