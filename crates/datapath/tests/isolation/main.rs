//! Tenants are isolated in the kernel, too: the random clouds of `mn-simulation`'s test of
//! isolation, with every packet sent through the BPF programs. Needs root.
//!
//! Frames come in by taps. A miss is decided by the walk, its verdict becomes a flow with the mask
//! the walk gave, and the frame comes again; a later frame that an earlier flow takes gets no
//! decision of its own. Where each comes out is compared with the oracle, which knows only what was
//! drawn. Flows that forget what their verdict read, or send to another port, must be noticed.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

#[expect(dead_code, reason = "what the tests of the engine itself use")]
#[path = "../kernel/bench.rs"]
mod bench;
#[path = "../../../simulation/tests/isolation/cloud.rs"]
mod cloud;
#[expect(dead_code, reason = "what the tests of the engine itself use")]
#[path = "../kernel/lab.rs"]
mod lab;
#[path = "../../../simulation/tests/isolation/oracle.rs"]
mod oracle;
#[expect(dead_code, reason = "what the walk alone is asked")]
#[path = "../../../simulation/tests/isolation/probes.rs"]
mod probes;
#[path = "../kernel/recorder.rs"]
mod recorder;

use mn_agent_core::{LocalView, Means, StateTables, Translation, translate};
use mn_datapath::conformance::Bench;
use mn_datapath::software::Sent as Out;
use mn_datapath::{FlowSpec, InstalledFlow, Offload, Output, UpcallLimit};
use mn_flow::{Action, Cookie, Expiry, Field, FlowMask, PortNo};
use mn_ids::HostId;
use mn_packet::Layers;
use mn_testkit::{Lab, Random, named};

use bench::KernelBench;
use cloud::{At, Cloud, name};
use oracle::Arrival;
use probes::Probe;

const CLOUDS: u64 = 40;
const PROBES: usize = 60;
const FIRST: u32 = 16;
const LIMIT: UpcallLimit = UpcallLimit { rate: 1_000_000, burst: 1_000_000 };

/// A flow that is not what the walk said.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Defect {
    None,
    /// The flow matches packets that differ in what the verdict read.
    Forgets(Field),
    ForgetsDestination,
    /// What goes to one port goes to the next one.
    NextPort,
}

/// One host with the machines of a cloud.
struct Host {
    bench: KernelBench,
    local: LocalView,
    machines: Vec<At>,
    cookie: u64,
}

impl Host {
    fn new() -> Self {
        let local = LocalView::new(HostId::random(), 1450);
        Self { bench: KernelBench::new(), local, machines: Vec::new(), cookie: 0 }
    }

    /// Takes away what was, and attaches the machines of this cloud.
    fn enter(&mut self, cloud: &Cloud) {
        let mut flows: Vec<InstalledFlow> = Vec::new();
        self.bench.datapath().flows(&mut |flow| flows.push(flow)).unwrap();
        for flow in flows {
            self.bench.datapath().remove(&flow.spec).unwrap();
        }
        self.machines = cloud.machines().collect();
        self.local = LocalView::new(self.local.host, 1450);
        for (number, at) in (FIRST..).zip(&self.machines) {
            let number = PortNo(number);
            let interface = self.bench.interface(number, 1500);
            self.bench.datapath().attach(number, interface, LIMIT).unwrap();
            self.local.add_port(named(&name(*at)), number);
        }
    }

    fn number(&self, at: At) -> PortNo {
        let index = self.machines.iter().position(|it| *it == at).unwrap();
        PortNo(FIRST + u32::try_from(index).unwrap())
    }

    /// Who gets the frame of a probe.
    fn send(&mut self, cloud: &Cloud, lab: &Lab, probe: &Probe, defect: Defect) -> Vec<Arrival> {
        self.bench.beat();
        let (text, number) = (probe.text(cloud), self.number(probe.from));
        let walked = lab.send(&text);
        let frame = &walked.built.frame;
        let mut out = self.bench.receive(number, frame, Offload::default());
        let asked = self.bench.asked();
        if let Some(asked) = asked.first()
            && let Some(decision) = walked.decision()
        {
            assert_eq!(out, [], "{text}: what is asked about goes nowhere by itself");
            let mut told = Translation::default();
            let (tables, here) = (StateTables::default(), self.local.host);
            let means =
                Means { tables: &tables, local: &self.local, bound: &|_| Some(here), only: None };
            translate(&walked.buffers.actions, number, decision.drop, &means, &mut told);
            assert!(told.new_groups.is_empty(), "{text}: {told:?}");
            let (mask, actions) = spoilt(defect, decision.mask, &told.actions, self.machines.len());
            if decision.expiry == Expiry::None {
                out = self.bench.execute(frame, &actions);
            } else {
                self.cookie += 1;
                let mask = mask | FlowMask::from(Field::InPort);
                let spec = FlowSpec { cookie: Cookie(self.cookie), key: asked.key, mask, actions };
                self.bench.datapath().install(&spec).unwrap();
                out = self.bench.receive(number, frame, Offload::default());
            }
        }
        out.iter().filter_map(|out| self.arrival(out)).collect()
    }

    fn arrival(&self, out: &Out) -> Option<Arrival> {
        let Output::Port(number) = out.to else { return None };
        let at = *self.machines.get(usize::try_from(number.0 - FIRST).ok()?)?;
        let layers = Layers::of(&out.frame).ok()?;
        layers.ip().map(|ip| Arrival { at, src: ip.src, dst: ip.dst })
    }
}

fn spoilt(
    defect: Defect,
    mask: FlowMask,
    actions: &[Action],
    machines: usize,
) -> (FlowMask, Vec<Action>) {
    let (src, dst) = (mask.nw_src_len(), mask.nw_dst_len());
    let without = |left: Option<Field>, dst: u8| {
        let fields = mask
            .fields()
            .filter(|field| Some(*field) != left && !matches!(field, Field::NwSrc | Field::NwDst));
        let kept = FlowMask::nw_src(src) | FlowMask::nw_dst(dst);
        fields.fold(kept, |kept, field| kept | FlowMask::from(field))
    };
    let last = FIRST + u32::try_from(machines).unwrap() - 1;
    let next = |action: &Action| match action {
        Action::Output(port) if port.0 < last => Action::Output(PortNo(port.0 + 1)),
        Action::Output(_) => Action::Output(PortNo(FIRST)),
        other => *other,
    };
    match defect {
        Defect::None => (mask, actions.to_vec()),
        Defect::Forgets(field) => (without(Some(field), dst), actions.to_vec()),
        Defect::ForgetsDestination => (without(None, 0), actions.to_vec()),
        Defect::NextPort => (mask, actions.iter().map(next).collect()),
    }
}

/// What of a cloud is not as the oracle says, and how many probes arrived and did not.
fn try_cloud(host: &mut Host, seed: u64, defect: Defect) -> Result<(usize, usize), String> {
    let random = &mut Random::new(seed);
    let cloud = Cloud::draw(random);
    let lab = cloud.lab();
    host.enter(&cloud);
    let (mut reached, mut stopped) = (0, 0);
    for _ in 0..PROBES {
        let probe = Probe::draw(&cloud, random);
        let wanted: Vec<Arrival> = oracle::destination(&cloud, &probe).into_iter().collect();
        let arrived = host.send(&cloud, &lab, &probe, defect);
        if arrived != wanted {
            let text = probe.text(&cloud);
            return Err(format!("cloud {seed}: {text}: arrived at {arrived:?}, not {wanted:?}"));
        }
        if wanted.is_empty() { stopped += 1 } else { reached += 1 }
    }
    Ok((reached, stopped))
}

#[test]
fn what_reaches_whom_through_the_kernel_is_what_was_drawn() {
    if !lab::is_root() {
        return;
    }
    lab::enter_host();
    let mut host = Host::new();
    let (mut reached, mut stopped) = (0, 0);
    let long = std::env::var("MIDONET_LONG").is_ok_and(|value| value == "1");
    let clouds = if long { CLOUDS * 20 } else { CLOUDS };
    for seed in 0..clouds {
        let counted =
            try_cloud(&mut host, seed, Defect::None).unwrap_or_else(|why| panic!("{why}"));
        reached += counted.0;
        stopped += counted.1;
    }
    // A test in which everything is dropped would prove nothing.
    let all = usize::try_from(clouds).unwrap() * PROBES;
    assert!(reached > all / 5 && stopped > all / 5, "{reached} arrived, {stopped} did not");
}

#[test]
fn a_flow_that_is_not_as_the_walk_said_is_noticed_in_the_kernel() {
    if !lab::is_root() {
        return;
    }
    lab::enter_host();
    let mut host = Host::new();
    let defects = [
        Defect::Forgets(Field::TpDst),
        Defect::Forgets(Field::NwProto),
        Defect::ForgetsDestination,
        Defect::NextPort,
    ];
    for defect in defects {
        let noticed = (0..CLOUDS * 5).any(|seed| try_cloud(&mut host, seed, defect).is_err());
        assert!(noticed, "nobody noticed: {defect:?}");
    }
}
