//! Connections in numbers: that so many are held, and what they take of the kernel's memory.

use mn_datapath::conformance::Bench;
use mn_datapath::conformance::frames::{ENDS, udp};
use mn_datapath::ebpf::Options;
use mn_datapath::{FlowSpec, Offload, Tracking, UpcallLimit};
use mn_flow::{Action, Conn, Cookie, Field, FlowMask, PortNo, Zone, extract};

use crate::bench::KernelBench;
use crate::lab::{enter_host, is_root};

const A: PortNo = PortNo(16);
const B: PortNo = PortNo(17);
const ZONE: Zone = Zone(1);
/// What a connection may take (contracts §7).
const OCTETS_MAX: u64 = 200;
/// Where the ports of a UDP datagram in IPv4 in Ethernet are.
const PORTS_AT: usize = 34;

#[test]
fn thirty_thousand_connections_take_at_most_200_octets_of_the_kernel_each() {
    held(30_000, 30_011);
}

#[test]
#[ignore = "a million connections: for the long run"]
fn a_million_connections_are_held_and_take_at_most_200_octets_of_the_kernel_each() {
    held(1_000_000, 1_000_003);
}

/// Opens `count` connections through one flow, in a table of `room`, a number that no other table
/// has.
fn held(count: u32, room: u32) {
    if !is_root() {
        return;
    }
    enter_host();
    let connections_max = usize::try_from(room).unwrap();
    let mut bench = KernelBench::with(|options| Options { connections_max, ..options });
    let limit = UpcallLimit { rate: 1_000_000, burst: 1_000_000 };
    for port in [A, B] {
        let interface = bench.interface(port, 1500);
        bench.datapath().attach(port, interface, limit).unwrap();
        let tracking = Tracking { zone: ZONE, connections_max: 0 };
        bench.datapath().set_tracking(port, tracking).unwrap();
    }
    let actions = vec![Action::Track { zone: ZONE, port: A }, Action::Output(B)];
    let key = extract(&there(0), A, None).unwrap();
    let mask = FlowMask::from(Field::InPort);
    let spec = FlowSpec { cookie: Cookie(1), key, mask, actions };
    bench.datapath().install(&spec).unwrap();
    for number in 0..count {
        if number % 1000 == 0 {
            bench.beat();
        }
        let sent = bench.receive(A, &there(number), Offload::default());
        assert_eq!(sent.len(), 1, "connection {number}");
    }
    let mut tracked = 0;
    bench.datapath().connections(&mut |_| tracked += 1).unwrap();
    assert_eq!(tracked, count);
    bench.beat();
    for number in [0, count / 2, count - 1] {
        assert_eq!(bench.receive(B, &back(number), Offload::default()), []);
        let asked = bench.asked();
        assert_eq!(asked.first().map(|asked| asked.key.conn), Some(Conn::Return), "{number}");
    }
    let octets = memory_of_table(room) / u64::from(count);
    println!("{count} connections: {octets} octets of kernel memory each");
    assert!((1..=OCTETS_MAX).contains(&octets), "{octets} octets a connection");
}

/// The first packet of a connection. Nothing on the way looks at its checksum.
fn there(number: u32) -> Vec<u8> {
    let mut frame = udp(ENDS[0], (0, 0), 10);
    frame[PORTS_AT..PORTS_AT + 4].copy_from_slice(&number.to_be_bytes());
    frame
}

/// Its answer.
fn back(number: u32) -> Vec<u8> {
    let mut frame = udp((ENDS[0].1, ENDS[0].0), (0, 0), 10);
    frame[PORTS_AT..PORTS_AT + 4].copy_from_slice(&number.rotate_right(16).to_be_bytes());
    frame
}

/// What the kernel says that the table with room for so many takes; this process has it open.
fn memory_of_table(room: u32) -> u64 {
    let word = |text: &str, name: &str| -> Option<u64> {
        text.lines().find_map(|line| line.strip_prefix(name)?.trim().parse().ok())
    };
    let infos = std::fs::read_dir("/proc/self/fdinfo").unwrap().flatten();
    let texts = infos.filter_map(|entry| std::fs::read_to_string(entry.path()).ok());
    let of_table = |text: &String| word(text, "max_entries:") == Some(u64::from(room));
    texts.filter(of_table).filter_map(|text| word(&text, "memlock:")).max().unwrap_or(0)
}
