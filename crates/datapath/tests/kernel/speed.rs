//! What a lookup and a whole packet cost in the kernel, by BPF_PROG_TEST_RUN. Prints nanoseconds;
//! fails only far from what is wanted, for these run beside other tests.

use aya::maps::Array;
use aya::programs::{SchedClassifier, TestRun, TestRunOptions};
use aya::{Ebpf, EbpfLoader};
use mn_datapath::conformance::frames::{ENDS, tcp};
use mn_datapath::ebpf::{Ebpf as Datapath, Options};
use mn_datapath::{Datapath as _, FlowSpec};
use mn_flow::{Action, Cookie, Field, FlowMask, extract};
use mn_packet::TcpFlags;

use crate::lab::{Dir, Vm, enter_host, is_root};
use crate::many;
use crate::sample::{self, Spread};

static BENCH: &[u8] = aya::include_bytes_aligned!(concat!(env!("OUT_DIR"), "/bench.bpf.o"));
static DATAPATH: &[u8] = aya::include_bytes_aligned!(concat!(env!("OUT_DIR"), "/datapath.bpf.o"));

/// Offsets in `struct __sk_buff`, and its length.
const PRIORITY: usize = 32;
const IFINDEX: usize = 40;
const CONTEXT_LEN: usize = 192;
const TC_ACT_REDIRECT: u32 = 7;

/// Runs of a program, a million packets each.
const RUNS: usize = 5;

/// A program of an object, with the maps of the datapath in a directory.
fn load(dir: &Dir, object: &[u8], name: &str) -> Ebpf {
    let pins = dir.path().join(format!("bpf/v{}", mn_datapath_abi::ABI_VERSION));
    let mut loaded = EbpfLoader::new().default_map_pin_directory(pins).load(object).unwrap();
    let program: &mut SchedClassifier = loaded.program_mut(name).unwrap().try_into().unwrap();
    program.load().unwrap();
    loaded
}

/// Nanoseconds a packet of each run, and what the program returned last.
fn measure(
    loaded: &Ebpf,
    name: &str,
    context: &[(usize, u32)],
    frame: &[u8],
) -> ([f64; RUNS], u32) {
    let program: &SchedClassifier = loaded.program(name).unwrap().try_into().unwrap();
    let mut octets = [0; CONTEXT_LEN];
    for (at, value) in context {
        octets[*at..at + 4].copy_from_slice(&value.to_ne_bytes());
    }
    let mut returned = 0;
    let runs = std::array::from_fn(|_| {
        let options = TestRunOptions {
            data_in: Some(frame),
            ctx_in: Some(&octets),
            repeat: 1_000_000,
            ..TestRunOptions::new()
        };
        let result = program.test_run(options).unwrap();
        returned = result.return_value;
        result.duration.as_nanos() as f64
    });
    (runs, returned)
}

fn best(runs: [f64; RUNS]) -> f64 {
    runs.into_iter().fold(f64::MAX, f64::min)
}

/// Nanoseconds of a lookup with its counters.
fn lookup(dir: &Dir, spread: Spread, flows: u32) -> [f64; RUNS] {
    let loaded = sampled(dir, spread, flows);
    let (runs, result) = measure(&loaded, "lookup_bench", &[], &[0; 64]);
    assert_eq!(result, 0, "every key is found");
    runs
}

/// The program that looks up, with what it is to look for.
fn sampled(dir: &Dir, spread: Spread, flows: u32) -> Ebpf {
    let mut loaded = load(dir, BENCH, "lookup_bench");
    let map = loaded.map_mut("bench_samples").unwrap();
    let mut samples: Array<_, u32> = map.try_into().unwrap();
    for (at, number) in (0..).zip(sample::draw(spread, flows)) {
        samples.set(at, number, 0).unwrap();
    }
    loaded
}

/// A datapath of so many flows in one mask.
fn filled(flows: u32) -> (Dir, Datapath) {
    let dir = Dir::new();
    let options = Options { flows_max: flows as usize, ..dir.options() };
    let datapath = Datapath::open(&options).unwrap();
    for number in 0..flows {
        datapath
            .install(&many::spec(number, 0))
            .unwrap_or_else(|error| panic!("{number}: {error}"));
    }
    (dir, datapath)
}

/// A datapath with so many masks, where the flows asked for have the last of them.
fn masked(masks: u8, flows: u32) -> (Dir, std::sync::Arc<Datapath>) {
    let dir = Dir::new();
    let datapath = dir.open();
    for mask in 0..masks {
        datapath.install(&many::spec(1 << 20 | u32::from(mask), mask)).unwrap();
    }
    for number in 0..flows {
        datapath.install(&many::spec(number, masks - 1)).unwrap();
    }
    (dir, datapath)
}

#[test]
fn a_lookup_takes_no_longer_with_sixteen_masks_than_with_one() {
    if !is_root() {
        return;
    }
    enter_host();
    for masks in [1, 4, 16, 64] {
        let (dir, _datapath) = masked(masks, 16);
        let ns = best(lookup(&dir, Spread::Uniform, 16));
        println!("{masks} masks, 16 flows: {ns} ns a lookup with counters");
        assert!(ns < 400.0, "{ns} ns with {masks} masks");
    }
}

#[test]
#[ignore = "a million flows: for the long run"]
fn a_lookup_among_a_million_flows() {
    if !is_root() {
        return;
    }
    enter_host();
    let start = std::time::Instant::now();
    let (dir, datapath) = filled(1 << 20);
    println!("{:?} for 1,048,576 installations", start.elapsed());
    for flows in [1, 16, 1 << 10, 1 << 14, 1 << 17, 1 << 20] {
        println!("{flows} flows, uniform: {} ns", best(lookup(&dir, Spread::Uniform, flows)));
    }
    println!("1,048,576 flows, Zipf(1.0): {} ns", best(lookup(&dir, Spread::Zipf, 1 << 20)));
    let start = std::time::Instant::now();
    let mut count = 0;
    datapath.flows(&mut |_| count += 1).unwrap();
    println!("{:?} to list {count}", start.elapsed());
}

/// What `cargo xtask bench` reads: one figure a line, as JSON.
#[test]
#[ignore = "a measurement: run by the bench, built for speed"]
fn figures() {
    if !is_root() {
        return;
    }
    enter_host();
    let (dir, datapath) = filled(1 << 20);
    let empty = sampled(&dir, Spread::Uniform, 1 << 20);
    let (rest, _) = measure(&empty, "lookup_bench", &[(PRIORITY, 1)], &[0; 64]);
    println!("{{\"without_lookup_ns\":{rest:?}}}");
    println!("{{\"lookup_uniform_ns\":{:?}}}", lookup(&dir, Spread::Uniform, 1 << 20));
    println!("{{\"lookup_zipf_ns\":{:?}}}", lookup(&dir, Spread::Zipf, 1 << 20));
    drop((datapath, dir));
    let (dir, _datapath) = masked(16, 16);
    println!("{{\"lookup_16_masks_ns\":{:?}}}", lookup(&dir, Spread::Uniform, 16));
}

#[test]
fn a_whole_packet_through_its_flow() {
    if !is_root() {
        return;
    }
    enter_host();
    let dir = Dir::new();
    let datapath = dir.open();
    let (a, b) = (Vm::new(1, "10.0.0.1/24"), Vm::new(2, "10.0.0.2/24"));
    for vm in [&a, &b] {
        vm.attach(&*datapath);
    }
    let frame = tcp(ENDS[0], (1, 2), TcpFlags::ACK, 10);
    let key = extract(&frame, a.port, None).unwrap();
    let rewrite = Action::Rewrite;
    let routed = [
        rewrite(mn_flow::Rewrite::EthSrc(a.mac)),
        rewrite(mn_flow::Rewrite::EthDst(b.mac)),
        // Not DecTtl: the kernel runs one packet a million times.
        rewrite(mn_flow::Rewrite::NwTos(4)),
        Action::Output(b.port),
    ];
    for (name, actions) in [("bridged", &routed[3..]), ("rewritten", &routed[..])] {
        let mask = FlowMask::from(Field::InPort);
        let spec = FlowSpec { cookie: Cookie(1), key, mask, actions: actions.to_vec() };
        datapath.install(&spec).unwrap();
        let context = [(IFINDEX, a.interface.ifindex)];
        let loaded = load(&dir, DATAPATH, "port_ingress");
        let (runs, result) = measure(&loaded, "port_ingress", &context, &frame);
        println!("{name}: {} ns a packet", best(runs));
        assert_eq!(result, TC_ACT_REDIRECT, "{name}");
    }
}
