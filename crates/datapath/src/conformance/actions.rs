//! What actions do.

use mn_flow::{Action, DropCause, GroupIndex, PortNo, Rewrite, Zone};
use mn_packet::icmp::IcmpHeader;
use mn_packet::{Arp, IpProtocol, TcpFlags, VlanTag};

use super::bench::{A, B, Bench, C, Case, WIDE, quiet};
use super::frames::{
    ENDS, MAC_A, MAC_B, assert_checksums, frame, ip_of, tagged, tcp, udp, with_hops,
};
use crate::software::Sent;
use crate::{Counters, Offload, Output};

pub const CASES: &[Case] = &[
    ("a rewrite takes effect from its place on", rewrites_have_a_place),
    ("a drop ends the list and counts its cause", a_drop_ends_the_list),
    ("a group sends to each of its outputs and an unknown one to nobody", groups_send_to_all),
    ("tags are pushed, popped and found again", tags_come_and_go),
    ("the traffic class is set whole in both versions", tos_is_set),
    ("an action that does not fit drops the packet", misfits_drop),
    ("a bridged packet that its output cannot take is dropped there alone", bridged_and_too_big),
    ("an output that is gone is counted and the others go on", gone_outputs_are_counted),
    ("the agent's own frames go through any list", execution),
    ("tracking and metering let the packet through", track_and_meter),
    ("a meter counts what all its flows carry, and goes on when they are gone", meters_count),
];

fn out(port: PortNo, frame: &[u8]) -> Sent {
    Sent { to: Output::Port(port), frame: frame.to_vec(), offload: Offload::default(), mark: false }
}

fn set(rewrite: Rewrite) -> Action {
    Action::Rewrite(rewrite)
}

fn rewrites_have_a_place(bench: &mut dyn Bench) {
    bench.three_ports();
    let frame = udp(ENDS[0], (1, 2), 10);
    let actions = [
        Action::Output(B),
        set(Rewrite::EthSrc(MAC_B)),
        set(Rewrite::EthDst(MAC_A)),
        Action::Output(C),
    ];
    let spec = bench.exact(A, &frame, &actions);
    let mut sent = bench.give(A, &frame);
    sent.sort_by_key(|sent| sent.to != Output::Port(B));
    let mut swapped = frame.clone();
    swapped[..6].copy_from_slice(&MAC_A.0);
    swapped[6..12].copy_from_slice(&MAC_B.0);
    assert_eq!(sent, [out(B, &frame), out(C, &swapped)]);
    let one = Counters { packets: 1, octets: frame.len() as u64 };
    let flow = bench.datapath().flow(&spec.key, spec.mask).expect("readable").expect("installed");
    assert_eq!(flow.counters, one);
    for (port, rx, tx) in [(A, 1, 0), (B, 0, 1), (C, 0, 1)] {
        let counters = bench.datapath().port_counters(port).expect("attached");
        let got = (counters.rx.packets, counters.tx.packets, counters.rx_dropped);
        assert_eq!(got, (rx, tx, 0), "port {port:?}");
        assert_eq!(counters.rx.octets + counters.tx.octets, one.octets);
    }
}

fn a_drop_ends_the_list(bench: &mut dyn Bench) {
    bench.three_ports();
    let frame = udp(ENDS[1], (1, 2), 10);
    let drop = Action::Drop { cause: DropCause::Rule, rule: None };
    bench.exact(A, &frame, &[drop, Action::Output(B)]);
    let sent = bench.give(A, &frame);
    quiet(bench, &sent);
    assert_eq!(bench.dropped(A, DropCause::Rule), 1);
    // What a mirror copies goes out nevertheless.
    let copied = udp(ENDS[0], (3, 4), 10);
    bench.exact(A, &copied, &[Action::Output(B), set(Rewrite::EthDst(MAC_A)), drop]);
    assert_eq!(bench.give(A, &copied), [out(B, &copied)]);
    assert_eq!(bench.dropped(A, DropCause::Rule), 2);
}

fn groups_send_to_all(bench: &mut dyn Bench) {
    bench.three_ports();
    let frame = udp(ENDS[0], (1, 2), 10);
    let (few, unknown) = (GroupIndex(3), GroupIndex(4));
    let outputs = [Output::Port(B), Output::Port(C)];
    bench.datapath().set_group(few, &outputs).expect("a group of two");
    let actions = [Action::Outputs(unknown), set(Rewrite::NwTos(4)), Action::Outputs(few)];
    bench.exact(A, &frame, &actions);
    let mut ports: Vec<_> = bench.give(A, &frame).iter().map(|sent| sent.to).collect();
    ports.sort_by_key(|port| *port != Output::Port(B));
    assert_eq!(ports, outputs);
    bench.datapath().set_group(few, &[]).expect("it can be emptied");
    let sent = bench.give(A, &frame);
    quiet(bench, &sent);
}

fn tags_come_and_go(bench: &mut dyn Bench) {
    bench.three_ports();
    let tag = |tci| VlanTag::from_wire(tci);
    let plain = udp(ENDS[0], (1, 2), 10);
    let once = tagged(plain.clone(), tag(0x6005));
    let twice = tagged(once.clone(), tag(7));
    let push = |tci| set(Rewrite::PushVlan(tag(tci)));
    let pop = set(Rewrite::PopVlan);
    let dec = set(Rewrite::DecTtl);
    let changed = with_hops(plain.clone(), 63);
    for (frame, actions, want) in [
        (&plain, vec![push(0x6005)], once.clone()),
        (&plain, vec![push(0x6005), push(7)], twice.clone()),
        (&once, vec![pop], plain.clone()),
        (&twice, vec![pop], once.clone()),
        (&twice, vec![pop, pop], plain.clone()),
        (&twice, vec![pop, pop, push(0x6005), dec], tagged(changed.clone(), tag(0x6005))),
        (&plain, vec![push(7), dec], tagged(changed, tag(7))),
    ] {
        let spec = bench.exact(A, frame, &[&actions[..], &[Action::Output(B)]].concat());
        assert_eq!(bench.give(A, frame), [out(B, &want)], "{actions:?}");
        bench.datapath().remove(&spec).expect("it is there");
    }
    bench.exact(A, &plain, &[pop, Action::Output(B)]);
    let sent = bench.give(A, &plain);
    quiet(bench, &sent);
    assert_eq!(bench.dropped(A, DropCause::ActionFailed), 1, "no tag, nothing to pop");
}

fn tos_is_set(bench: &mut dyn Bench) {
    bench.three_ports();
    for ends in ENDS {
        for tos in [0, 0x03, 0xb8, 0xff] {
            let frame = tcp(ends, (1, 2), TcpFlags::ACK, 33);
            bench.exact(A, &frame, &[set(Rewrite::NwTos(tos)), Action::Output(B)]);
            let sent = bench.give(A, &frame);
            assert_eq!(sent.len(), 1);
            assert_eq!(ip_of(&sent[0].frame).tos, tos);
            assert_checksums(&sent[0].frame);
        }
    }
}

fn misfits_drop(bench: &mut dyn Bench) {
    bench.three_ports();
    let [v4, v6] = ENDS;
    let (ip4, ip6) = ([1, 2, 3, 4].into(), std::net::IpAddr::V6(1.into()));
    let arp = Arp::request(MAC_A, [10, 0, 0, 1].into(), [10, 0, 0, 2].into()).frame();
    let message = IcmpHeader { ty: 3, code: 1, rest: [0; 4] };
    let error = message.message(super::frames::addr(v4.0), super::frames::addr(v4.1), &[0; 28]);
    let error = frame(v4, 64, IpProtocol::ICMP, &error);
    let cases = [
        (udp(v4, (1, 2), 0), Rewrite::NwSrc(ip6)),
        (udp(v6, (1, 2), 0), Rewrite::NwDst(ip4)),
        (arp.clone(), Rewrite::NwDst(ip4)),
        (arp.clone(), Rewrite::NwTos(0)),
        (arp.clone(), Rewrite::DecTtl),
        (arp, Rewrite::TpSrc(1)),
        (frame(v4, 64, IpProtocol(47), &[0; 20]), Rewrite::TpDst(1)),
        (udp(v4, (1, 2), 0), Rewrite::IcmpId(1)),
        (error.clone(), Rewrite::IcmpId(1)),
        (error, Rewrite::InnerSrc(ip4, None)),
        (udp(v4, (1, 2), 40), Rewrite::InnerDst(ip4, None)),
    ];
    for (count, (frame, rewrite)) in cases.into_iter().enumerate() {
        bench.exact(A, &frame, &[set(rewrite), Action::Output(B)]);
        let sent = bench.give(A, &frame);
        assert_eq!(sent, [], "{rewrite:?}");
        assert_eq!(bench.dropped(A, DropCause::ActionFailed), count as u64 + 1, "{rewrite:?}");
    }
}

fn bridged_and_too_big(bench: &mut dyn Bench) {
    bench.three_ports();
    bench.attach(B, 1000, WIDE);
    let frame = udp(ENDS[0], (1, 2), 1200);
    bench.exact(A, &frame, &[Action::Output(B), Action::Output(C)]);
    assert_eq!(bench.give(A, &frame), [out(C, &frame)]);
    assert_eq!(bench.dropped(A, DropCause::TooBig), 1);
    assert_eq!(bench.asked(), []);
}

fn gone_outputs_are_counted(bench: &mut dyn Bench) {
    bench.three_ports();
    let frame = udp(ENDS[0], (1, 2), 10);
    bench.exact(A, &frame, &[Action::Output(B), Action::Output(PortNo(99)), Action::Output(C)]);
    assert_eq!(bench.give(A, &frame).len(), 2);
    assert_eq!(bench.dropped(A, DropCause::PortGone), 1);
    let counters = bench.datapath().detach(B).expect("it was attached");
    assert_eq!(counters.tx.packets, 1);
    assert_eq!(bench.give(A, &frame), [out(C, &frame)]);
    assert_eq!(bench.dropped(A, DropCause::PortGone), 3);
}

fn execution(bench: &mut dyn Bench) {
    bench.three_ports();
    let frame = with_hops(udp(ENDS[0], (1, 2), 10), 1);
    let actions = [set(Rewrite::EthDst(MAC_A)), Action::Output(B)];
    let mut want = frame.clone();
    want[..6].copy_from_slice(&MAC_A.0);
    assert_eq!(bench.execute(&frame, &actions), [out(B, &want)]);
    let sent = bench.execute(&frame, &[set(Rewrite::PopVlan), Action::Output(B)]);
    quiet(bench, &sent);
    assert_eq!(bench.dropped(PortNo::NONE, DropCause::ActionFailed), 1);
}

fn track_and_meter(bench: &mut dyn Bench) {
    bench.three_ports();
    let frame = udp(ENDS[1], (1, 2), 10);
    bench.exact(
        A,
        &frame,
        &[Action::Track { zone: Zone(5), port: A }, Action::Meter(1), Action::Output(B)],
    );
    assert_eq!(bench.give(A, &frame), [out(B, &frame)]);
}

fn meters_count(bench: &mut dyn Bench) {
    bench.three_ports();
    let (small, large) = (udp(ENDS[0], (1, 2), 10), udp(ENDS[1], (3, 4), 700));
    let flows = [
        bench.exact(A, &small, &[Action::Meter(7), Action::Output(B)]),
        bench.exact(C, &large, &[Action::Output(B), Action::Meter(7)]),
    ];
    for (port, frame) in [(A, &small), (A, &small), (C, &large)] {
        assert_eq!(bench.give(port, frame), [out(B, frame)]);
    }
    let octets = 2 * small.len() as u64 + large.len() as u64;
    for flow in &flows {
        assert_eq!(bench.datapath().meter(7).expect("readable"), Counters { packets: 3, octets });
        bench.datapath().remove(flow).expect("removable").expect("installed");
    }
    assert_eq!(bench.datapath().meter(7).expect("readable"), Counters { packets: 3, octets });
    assert_eq!(bench.datapath().meter(8).expect("readable"), Counters::default());
    assert!(bench.datapath().meter(4096).is_err(), "there are 4,096");
    // A flow that names one that is not there forwards, and counts nowhere.
    bench.exact(A, &small, &[Action::Meter(4096), Action::Output(B)]);
    assert_eq!(bench.give(A, &small), [out(B, &small)]);
}
