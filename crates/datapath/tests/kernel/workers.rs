//! Which worker is asked about a packet.

use std::time::Duration;

use mn_datapath::ebpf::{Ebpf, Options};
use mn_datapath::{Datapath, worker_of};

use crate::lab::{Dir, Vm, enter_host, is_root, now};

const WORKERS: usize = 3;

#[test]
fn a_packet_goes_up_to_the_worker_that_was_foretold() {
    if !is_root() {
        return;
    }
    enter_host();
    let dir = Dir::new();
    let vm = Vm::new(1, "10.0.0.1/24");
    let options = Options { workers: WORKERS, ..dir.options() };
    let datapath = Ebpf::open(&options).unwrap();
    vm.attach(&datapath);
    vm.namespace.run("ip", "addr add fd00::1/64 dev eth0 nodad");
    let mut upcalls: Vec<_> = (0..WORKERS).map(|it| datapath.upcalls(it).unwrap()).collect();
    let mut asked = [0; WORKERS];
    for last in 10..40 {
        datapath.heartbeat(now()).unwrap();
        vm.namespace.try_run("ping", &format!("-c1 -W0.02 10.0.0.{last}"));
        vm.namespace.try_run("ping", &format!("-c1 -W0.02 fd00::{last}"));
        for (worker, upcalls) in upcalls.iter_mut().enumerate() {
            let foretold = |key: &mn_flow::FlowKey| worker_of(key.nw_src, key.nw_dst, WORKERS);
            upcalls
                .poll(64, Duration::ZERO, &mut |upcall| {
                    assert_eq!(foretold(&upcall.key), worker, "{:?}", upcall.key);
                    asked[worker] += 1;
                })
                .unwrap();
        }
    }
    assert!(asked.iter().all(|count| *count > 5), "each has its part: {asked:?}");
}
