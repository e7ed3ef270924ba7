//! What flows tell of TCP connections.

use mn_flow::{Action, Cookie, FlowMask, PortNo, TcpClass, extract};
use mn_packet::TcpFlags;

use super::bench::{A, B, Bench, Case};
use super::frames::{ENDS, tcp, udp};
use crate::{FlowSpec, Followed};

pub const CASES: &[Case] = &[
    ("a flow tells of a connection's beginning, its first other segment and its end", tells),
    ("a flow that was replaced begins anew to tell", begins_anew),
    ("behind another action, and of other protocols, nothing is told", tells_nothing),
];

const FOLLOWS: &[Action] = &[Action::Follow, Action::Output(B)];

/// The classes that a flow of A's segments told.
fn told(bench: &mut dyn Bench, cookie: Cookie) -> Vec<TcpClass> {
    let all = bench.followed();
    assert!(all.iter().all(|followed| followed.cookie == cookie), "{all:?}");
    all.iter().map(|Followed { class, .. }| *class).collect()
}

fn tells(bench: &mut dyn Bench) {
    bench.three_ports();
    let (syn, ack, fin) = (TcpFlags::SYN, TcpFlags::ACK, TcpFlags::FIN);
    for ends in ENDS {
        let segment = |flags| tcp(ends, (1, 2), flags, 10);
        let spec = follow(bench, A, &segment(syn));
        let all = [syn, ack, ack, syn | ack, fin | ack, ack, TcpFlags::RST, syn, ack];
        for flags in all {
            assert_eq!(bench.give(A, &segment(flags)).len(), 1, "{flags:?} passes");
        }
        let expected =
            [TcpClass::Syn, TcpClass::Other, TcpClass::Fin, TcpClass::Rst, TcpClass::Syn];
        assert_eq!(told(bench, spec.cookie), expected);
        assert_eq!(bench.asked(), [], "no packet waits for it");
        bench.datapath().remove(&spec).expect("it can be removed");
    }
}

fn begins_anew(bench: &mut dyn Bench) {
    bench.three_ports();
    let segment = tcp(ENDS[0], (1, 2), TcpFlags::ACK, 10);
    let first = follow(bench, A, &segment);
    bench.give(A, &segment);
    bench.give(A, &segment);
    assert_eq!(told(bench, first.cookie), [TcpClass::Other]);
    let second = FlowSpec { cookie: Cookie(first.cookie.0 + 1), ..first };
    bench.datapath().install(&second).expect("it can be replaced");
    bench.give(A, &segment);
    bench.give(A, &segment);
    assert_eq!(told(bench, second.cookie), [TcpClass::Other]);
}

fn tells_nothing(bench: &mut dyn Bench) {
    bench.three_ports();
    let fin = tcp(ENDS[0], (1, 2), TcpFlags::FIN, 10);
    bench.exact(A, &fin, &[Action::Meter(1), Action::Follow, Action::Output(B)]);
    assert_eq!(bench.give(A, &fin).len(), 1);
    assert_eq!(bench.followed(), []);
    let datagram = udp(ENDS[0], (1, 2), 10);
    bench.exact(A, &datagram, FOLLOWS);
    assert_eq!(bench.give(A, &datagram).len(), 1);
    assert_eq!(bench.followed(), []);
}

/// Installs a flow of all segments between these ends, of worker 0.
fn follow(bench: &dyn Bench, port: PortNo, frame: &[u8]) -> FlowSpec {
    let key = extract(frame, port, None).expect("the case's frame is whole");
    let fields = FlowMask::all().fields();
    let rest = fields.filter(|field| !matches!(field, mn_flow::Field::Tcp));
    let mask = rest.fold(FlowMask::NONE, |mask, field| mask | field.into());
    let cookie = Cookie(u64::from(port.0) << 32 | 1);
    let spec = FlowSpec { cookie, key, mask, actions: FOLLOWS.to_vec() };
    bench.datapath().install(&spec).expect("the flow can be installed");
    spec
}
