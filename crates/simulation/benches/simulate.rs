//! What a walk costs, and that it allocates nothing once its buffers have grown.

use divan::{AllocProfiler, Bencher, black_box};
use mn_simulation::walk::Walk;
use mn_simulation::{Buffers, Entry, Inputs, Outcome, Packet, simulate};
use mn_testkit::packet::build;
use mn_testkit::{CLOUD, Lab};
use mn_time::Instant;

#[global_allocator]
static ALLOCATOR: AllocProfiler = AllocProfiler::system();

fn main() {
    divan::main();
}

const PACKETS: &[&str] = &[
    "vm1 > vm2 tcp 80 syn",
    "vm1 > vm3 tcp 80 syn",
    "vm1 > vm3 tcp 22 syn",
    "vm1 > vm3 tcp 443 syn",
    "vm1 > 198.51.100.1 tcp 80 syn",
    "vm1 > 10.66.0.1 tcp 80 syn",
];

fn run(bencher: Bencher<'_, '_>, text: &str, told: bool) {
    let lab = Lab::read(CLOUD);
    let built = build(&lab, text);
    let packet = Packet { key: built.key, frame: &built.frame, gso_size: 0 };
    let entry = Entry::Ingress(built.port);
    let inputs = Inputs { now: Instant::ZERO, seed: 0, entry, mtu: 1450 };
    let mut buffers = Buffers::default();
    let walk = |buffers: &mut Buffers| {
        let mut steps = Walk::default();
        let steps = told.then_some(&mut steps);
        simulate(&lab.snapshot, &lab.tables, &inputs, &packet, buffers, steps)
    };
    assert!(matches!(walk(&mut buffers), Outcome::Decided(_)));
    bencher.bench_local(move || black_box(walk(&mut buffers)));
}

/// As forwarding does it.
#[divan::bench(args = PACKETS)]
fn forward(bencher: Bencher<'_, '_>, text: &str) {
    run(bencher, text, false);
}

/// As the packet walk does it.
#[divan::bench(args = PACKETS)]
fn tell(bencher: Bencher<'_, '_>, text: &str) {
    run(bencher, text, true);
}

/// One port's change in a snapshot of 10,000.
#[divan::bench]
fn change_one_of_10000_ports(bencher: Bencher<'_, '_>) {
    let mut text = String::from("bridge blue\n");
    for n in 0..10_000 {
        let [high, low] = [n / 256, n % 256];
        text += &format!("vm{n} 02:00:00:00:{high:02x}:{low:02x} 10.0.{high}.{low}\n");
    }
    let lab = Lab::read(&text);
    let port = lab.objects.values().find_map(|object| match object {
        mn_topology::AnyObject::Port(port) => Some(port.clone()),
        _ => None,
    });
    let mut port = port.expect("the lab has ports");
    bencher.bench_local(move || {
        port.admin_state_up = !port.admin_state_up;
        let change = (mn_ids::Object::key(&port), Some(port.clone().into()));
        black_box(lab.snapshot.apply([change], &[]))
    });
}
