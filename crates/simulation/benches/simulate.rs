//! What a walk costs, and that it allocates nothing once its buffers have grown.

use divan::{AllocProfiler, Bencher, black_box};
use mn_simulation::walk::Walk;
use mn_simulation::{Buffers, Entry, Inputs, Outcome, Packet, simulate};
use mn_testkit::Lab;
use mn_testkit::packet::build;
use mn_time::Instant;

#[global_allocator]
static ALLOCATOR: AllocProfiler = AllocProfiler::system();

fn main() {
    divan::main();
}

/// Two bridges and a router, each machine behind filters as a cloud would draw them: anti-spoofing
/// and a security group on the way out, a security group on the way in.
const CLOUD: &str = "
    bridge blue
      vm1    02::01  10.0.1.5  in from-vm1
      vm2    02::02  10.0.1.6  out to-vm
    bridge green
      vm3    02::03  10.0.2.7  fd02::7  out to-vm
    router edge
      blue   02::a1  10.0.1.1/24  fd01::1/64
      green  02::a2  10.0.2.1/24  fd02::1/64
      up     02::b1  192.0.2.1/24  peer 02::99 192.0.2.254
      route 0.0.0.0/0 via up 192.0.2.254
      route 10.66.0.0/16 blackhole
    addresses friends 10.0.1.5 10.0.1.6 10.0.2.7
    chain from-vm1
      drop not mac-from 02::01
      drop ipv4 not from 10.0.1.5/32
      accept return-flow
      jump egress-group
    chain egress-group
      accept tcp
      accept udp
    chain to-vm
      accept return-flow
      jump ingress-group
      drop not type 2054
    chain ingress-group
      accept ipv4 tcp dport 22 from-group friends
      accept ipv4 tcp dport 80
      accept ipv4 udp dport 53
";

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
