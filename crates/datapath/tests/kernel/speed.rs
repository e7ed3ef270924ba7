//! What a lookup and a whole packet cost in the kernel, by BPF_PROG_TEST_RUN. Prints nanoseconds;
//! fails only far from what is wanted, for these run beside other tests.

use aya::EbpfLoader;
use aya::programs::{SchedClassifier, TestRun, TestRunOptions};
use mn_datapath::conformance::frames::{ENDS, tcp};
use mn_datapath::ebpf::{Ebpf, Options};
use mn_datapath::{Datapath, FlowSpec};
use mn_flow::{Action, Cookie, Field, FlowMask, extract};
use mn_packet::TcpFlags;

use crate::lab::{Dir, Vm, enter_host, is_root};
use crate::many;

static BENCH: &[u8] = aya::include_bytes_aligned!(concat!(env!("OUT_DIR"), "/bench.bpf.o"));
static DATAPATH: &[u8] = aya::include_bytes_aligned!(concat!(env!("OUT_DIR"), "/datapath.bpf.o"));

/// Offsets in `struct __sk_buff`, and its length.
const MARK: usize = 8;
const PRIORITY: usize = 32;
const IFINDEX: usize = 40;
const CONTEXT_LEN: usize = 192;
const TC_ACT_REDIRECT: u32 = 7;

/// Nanoseconds a run, the best of five, and what the program returned last.
fn measure(
    dir: &Dir,
    object: &[u8],
    program: &str,
    context: &[(usize, u32)],
    frame: &[u8],
) -> (u64, u32) {
    let mut loaded = EbpfLoader::new()
        .default_map_pin_directory(
            dir.path().join(format!("bpf/v{}", mn_datapath_abi::ABI_VERSION)),
        )
        .load(object)
        .unwrap();
    let program: &mut SchedClassifier = loaded.program_mut(program).unwrap().try_into().unwrap();
    program.load().unwrap();
    let mut octets = [0; CONTEXT_LEN];
    for (at, value) in context {
        octets[*at..at + 4].copy_from_slice(&value.to_ne_bytes());
    }
    let runs = (0..5).map(|_| {
        let options = TestRunOptions {
            data_in: Some(frame),
            ctx_in: Some(&octets),
            repeat: 1_000_000,
            ..TestRunOptions::new()
        };
        let result = program.test_run(options).unwrap();
        (u64::try_from(result.duration.as_nanos()).unwrap(), result.return_value)
    });
    runs.min().unwrap()
}

fn lookup(dir: &Dir, keys: u32, skewed: bool) -> u64 {
    let context = [(MARK, keys), (PRIORITY, u32::from(skewed))];
    let (ns, result) = measure(dir, BENCH, "lookup_bench", &context, &[0; 64]);
    assert_eq!(result, 0, "every key is found");
    ns
}

#[test]
fn a_lookup_takes_no_longer_with_sixteen_masks_than_with_one() {
    if !is_root() {
        return;
    }
    enter_host();
    for masks in [1, 4, 16, 64] {
        let dir = Dir::new();
        let datapath = dir.open();
        // The keys asked for have the last mask; the ones before belong to others.
        for mask in 0..masks {
            let other = many::spec(1 << 20 | u32::from(mask), mask);
            datapath.install(&other).unwrap();
        }
        for number in 0..16 {
            datapath.install(&many::spec(number, masks - 1)).unwrap();
        }
        let ns = lookup(&dir, 16, false);
        println!("{masks} masks, 16 flows: {ns} ns a lookup with counters");
        assert!(ns < 400, "{ns} ns with {masks} masks");
    }
}

#[test]
#[ignore = "a million flows: for the long run"]
fn a_lookup_among_a_million_flows() {
    if !is_root() {
        return;
    }
    enter_host();
    let dir = Dir::new();
    let options = Options { flows_max: 1 << 20, ..dir.options() };
    let datapath = Ebpf::open(&options).unwrap();
    let start = std::time::Instant::now();
    for number in 0..1 << 20 {
        datapath
            .install(&many::spec(number, 0))
            .unwrap_or_else(|error| panic!("{number}: {error}"));
    }
    println!("{:?} for 1,048,576 installations", start.elapsed());
    for keys in [1, 16, 1 << 10, 1 << 14, 1 << 17, 1 << 20] {
        println!("{keys} flows, uniform: {} ns", lookup(&dir, keys, false));
    }
    println!("1,048,576 flows, skewed: {} ns", lookup(&dir, 1 << 20, true));
    let start = std::time::Instant::now();
    let mut count = 0;
    datapath.flows(&mut |_| count += 1).unwrap();
    println!("{:?} to list {count}", start.elapsed());
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
        let (ns, result) = measure(&dir, DATAPATH, "port_ingress", &context, &frame);
        println!("{name}: {ns} ns a packet");
        assert_eq!(result, TC_ACT_REDIRECT, "{name}");
    }
}
