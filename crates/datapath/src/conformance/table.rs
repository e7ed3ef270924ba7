//! Flows that come, go and are counted.

use mn_flow::{Action, Cookie, DropCause, Field, FlowMask, PortNo};
use mn_packet::TcpFlags;

use super::bench::{A, B, Bench, C, Case, MTU, WIDE};
use super::frames::{ENDS, tcp, udp};
use crate::{DatapathError, FlowSpec, Output};

pub const CASES: &[Case] = &[
    ("a flow matches the fields of its mask and no others", masks_decide),
    ("addresses match by their first bits", prefixes_match),
    ("flows of several masks stand side by side", masks_stand_side_by_side),
    ("a flow that replaces another goes on with its counters", replacing),
    ("a flow is removed by its own cookie only", removing),
    ("installed flows are listed with their keys as they came", listing),
    ("what cannot be is refused", refusing),
    ("attached ports are listed and can be replaced", attaching),
];

fn masks_decide(bench: &mut dyn Bench) {
    bench.three_ports();
    let base = tcp(ENDS[0], (1, 2), TcpFlags::ACK, 0);
    let mask = FlowMask::from(Field::InPort) | Field::EthType.into() | Field::TpDst.into();
    bench.flow(A, &base, mask, &[Action::Output(B)]);
    for (frame, matches) in [
        (tcp(ENDS[0], (9, 2), TcpFlags::SYN, 5), true),
        (udp(ENDS[0], (9, 2), 5), true),
        (tcp(ENDS[0], (1, 3), TcpFlags::ACK, 0), false),
        (tcp(ENDS[1], (1, 2), TcpFlags::ACK, 0), false),
    ] {
        assert_eq!(bench.give(A, &frame).len(), usize::from(matches));
        assert_eq!(bench.asked().len(), usize::from(!matches));
    }
    bench.give(B, &base);
    assert_eq!(bench.asked().len(), 1, "another port");
}

fn prefixes_match(bench: &mut dyn Bench) {
    bench.three_ports();
    let to = |dst| udp(("10.0.0.1", dst), (1, 2), 0);
    let mask = FlowMask::from(Field::InPort) | FlowMask::nw_dst(96 + 22);
    bench.flow(A, &to("10.1.4.0"), mask, &[Action::Output(B)]);
    for (dst, matches) in
        [("10.1.4.0", true), ("10.1.7.255", true), ("10.1.8.0", false), ("10.1.3.255", false)]
    {
        assert_eq!(bench.give(A, &to(dst)).len(), usize::from(matches), "{dst}");
    }
}

fn masks_stand_side_by_side(bench: &mut dyn Bench) {
    bench.three_ports();
    let base = |port| udp(ENDS[0], (1, port), 0);
    let one = FlowMask::from(Field::InPort) | Field::TpDst.into();
    let two = FlowMask::from(Field::InPort) | Field::EthType.into() | FlowMask::nw_src(3);
    bench.flow(A, &base(53), one, &[Action::Output(B)]);
    bench.flow(A, &base(80), one, &[Action::Output(C)]);
    bench.flow(A, &udp(ENDS[1], (1, 2), 0), two, &[Action::Output(A)]);
    let mut to = |frame: &[u8]| bench.give(A, frame).iter().map(|it| it.to).collect::<Vec<_>>();
    assert_eq!(to(&base(53)), [Output::Port(B)]);
    assert_eq!(to(&base(80)), [Output::Port(C)]);
    assert_eq!(to(&udp(ENDS[1], (7, 7), 0)), [Output::Port(A)], "out of where it came in");
    assert_eq!(to(&base(54)), []);
}

fn replacing(bench: &mut dyn Bench) {
    bench.three_ports();
    let frame = udp(ENDS[0], (1, 2), 10);
    let old = bench.exact(A, &frame, &[Action::Output(B)]);
    bench.give(A, &frame);
    let new = FlowSpec { cookie: Cookie(99), actions: vec![Action::Output(C)], ..old.clone() };
    bench.datapath().install(&new).expect("a flow can be replaced");
    let to: Vec<_> = bench.give(A, &frame).iter().map(|it| it.to).collect();
    assert_eq!(to, [Output::Port(C)]);
    let flow = bench.datapath().flow(&new.key, new.mask).expect("readable").expect("installed");
    assert_eq!((flow.spec.cookie, flow.counters.packets), (Cookie(99), 2));
    assert_eq!(bench.datapath().remove(&old).expect("no error"), None, "the old one is gone");
}

fn removing(bench: &mut dyn Bench) {
    bench.three_ports();
    let frame = udp(ENDS[0], (1, 2), 10);
    let spec = bench.exact(A, &frame, &[Action::Output(B)]);
    let other = FlowSpec { cookie: Cookie(1234), ..spec.clone() };
    assert_eq!(bench.datapath().remove(&other).expect("no error"), None);
    assert_eq!(bench.give(A, &frame).len(), 1, "it is still there");
    let last = bench.datapath().remove(&spec).expect("no error").expect("it was there");
    assert_eq!((last.rule, last.counters.packets), (None, 1));
    assert_eq!(bench.give(A, &frame), []);
    assert_eq!(bench.asked().len(), 1);
    assert_eq!(bench.datapath().flow(&spec.key, spec.mask).expect("readable"), None);
    assert_eq!(bench.datapath().remove(&spec).expect("no error"), None);
    let rule = Some(mn_ids::Id::random());
    let drops = [Action::Meter(1), Action::Drop { cause: DropCause::Rule, rule }];
    let spec = bench.exact(A, &frame, &drops);
    assert_eq!(bench.give(A, &frame), []);
    let last = bench.datapath().remove(&spec).expect("no error").expect("it was there");
    assert_eq!((last.rule, last.counters.packets), (rule, 1), "the rule that dropped");
}

fn listing(bench: &mut dyn Bench) {
    bench.three_ports();
    let mut want = Vec::new();
    for port in 0..100 {
        let frame = udp(ENDS[usize::from(port) % 2], (port, 2), 10);
        let mask = FlowMask::from(Field::InPort) | Field::TpSrc.into();
        let spec = bench.flow(A, &frame, mask, &[Action::Output(B)]);
        want.push(spec.key);
    }
    let mut got = Vec::new();
    bench.datapath().flows(&mut |flow| got.push(flow.spec.key)).expect("flows can be listed");
    got.sort_by_key(|key| key.tp_src);
    assert_eq!(got, want);
}

fn refusing(bench: &mut dyn Bench) {
    bench.three_ports();
    let frame = udp(ENDS[0], (1, 2), 10);
    let good = bench.exact(A, &frame, &[Action::Output(B)]);
    let long = vec![Action::Output(B); FlowSpec::ACTIONS_MAX + 1];
    for bad in [
        FlowSpec { cookie: Cookie(0), ..good.clone() },
        FlowSpec { mask: Field::EthType.into(), ..good.clone() },
        FlowSpec { actions: long, ..good.clone() },
    ] {
        let refused = bench.datapath().install(&bad);
        assert!(matches!(refused, Err(DatapathError::Invalid(_))), "{refused:?}");
    }
    let most = FlowSpec { actions: vec![Action::Output(B); FlowSpec::ACTIONS_MAX], ..good };
    bench.datapath().install(&most).expect("the most actions");
    assert_eq!(bench.give(A, &frame).len(), FlowSpec::ACTIONS_MAX);
    for port in [PortNo::NONE, PortNo::TUNNEL] {
        let interface = bench.interface(C, MTU);
        let refused = bench.datapath().attach(port, interface, WIDE);
        assert!(matches!(refused, Err(DatapathError::Invalid(_))), "{refused:?}");
    }
    let missing = bench.datapath().detach(PortNo(99));
    assert!(matches!(missing, Err(DatapathError::Missing(_))), "{missing:?}");
    let missing = bench.datapath().port_counters(PortNo(99));
    assert!(matches!(missing, Err(DatapathError::Missing(_))), "{missing:?}");
    assert!(matches!(bench.datapath().upcalls(999), Err(DatapathError::Missing(_))));
}

fn attaching(bench: &mut dyn Bench) {
    bench.three_ports();
    let ports = |bench: &dyn Bench| {
        let mut ports: Vec<_> = bench.datapath().attached().expect("ports can be listed");
        ports.sort_by_key(|(port, _)| *port);
        ports.iter().map(|(port, interface)| (*port, interface.mtu)).collect::<Vec<_>>()
    };
    assert_eq!(ports(bench), [(A, MTU), (B, MTU), (C, MTU)]);
    bench.attach(B, 1400, WIDE);
    bench.datapath().detach(C).expect("it was attached");
    assert_eq!(ports(bench), [(A, MTU), (B, 1400)]);
}
