//! Which packets go up.

use std::time::Duration;

use mn_flow::{Action, DropCause, PortNo, Rewrite, extract};
use mn_packet::{Arp, EthernetHeader, TcpFlags};

use super::bench::{A, Asked, B, Bench, C, Case, MTU, WIDE, quiet};
use super::frames::{ENDS, MAC_A, frame, tcp, udp, with_hops};
use crate::{BroadcastLimit, Counters, Offload, UpcallLimit, UpcallReason};

pub const CASES: &[Case] = &[
    ("a packet that no flow matches goes up whole, with its headers", misses_go_up),
    ("a packet without enough hops for its flow goes up and is not counted", spent_hops_go_up),
    ("a routed packet that its output cannot take goes up", routed_and_too_big_goes_up),
    ("a copy goes up as the packet is by then", copies_go_up),
    ("without an agent misses are dropped and flows go on", without_an_agent),
    ("a port that asks too often is dropped for it alone", limits_are_per_port),
    ("broadcasts beyond a port's limit are dropped for it alone", broadcasts_are_limited),
    ("what cannot be read is dropped with its cause and never goes up", unreadable_is_dropped),
    ("a frame of a port that is not attached goes nowhere", unattached_goes_nowhere),
];

fn misses_go_up(bench: &mut dyn Bench) {
    bench.three_ports();
    let arp = Arp::request(MAC_A, [10, 0, 0, 1].into(), [10, 0, 0, 2].into()).frame();
    let [v4, v6] = ENDS;
    for frame in [
        arp,
        udp(v4, (1, 2), 0),
        udp(v6, (1, 2), 1400),
        tcp(v4, (9, 80), TcpFlags::SYN, 0),
        frame(v4, 1, mn_packet::IpProtocol(47), &[]),
    ] {
        assert_eq!(bench.give(A, &frame), []);
        let key = extract(&frame, A, None).expect("the frame is whole");
        let want = Asked { reason: UpcallReason::Miss, key, frame, offload: Offload::default() };
        assert_eq!(bench.asked(), [want]);
    }
}

fn spent_hops_go_up(bench: &mut dyn Bench) {
    bench.three_ports();
    let dec = Action::Rewrite(Rewrite::DecTtl);
    for (count, ends) in [(1, ENDS[0]), (2, ENDS[0]), (1, ENDS[1]), (3, ENDS[1])] {
        let mut actions = vec![dec; count];
        actions.push(Action::Output(B));
        let base = udp(ends, (1, 2), 10);
        let spec = bench.port_flow(A, &base, &actions);
        for hops in 0..6 {
            let frame = with_hops(base.clone(), hops);
            let sent = bench.give(A, &frame);
            let asked = bench.asked();
            if usize::from(hops) > count {
                assert_eq!(sent.len(), 1, "{hops} hops, {count} taken");
                assert_eq!(sent[0].frame, with_hops(frame, hops - count as u8));
                assert_eq!(asked, []);
            } else {
                assert_eq!(sent, [], "{hops} hops, {count} taken");
                assert_eq!(asked.len(), 1);
                assert_eq!((asked[0].reason, &asked[0].frame), (UpcallReason::Ttl, &frame));
            }
        }
        let flow = bench.datapath().remove(&spec).expect("it can be removed").expect("it is there");
        assert_eq!(flow.counters.packets, 5 - count as u64);
    }
}

fn routed_and_too_big_goes_up(bench: &mut dyn Bench) {
    bench.three_ports();
    bench.attach(B, 1000, WIDE);
    let actions = [Action::Rewrite(Rewrite::DecTtl), Action::Output(B)];
    for (ends, headers) in [(ENDS[0], 28), (ENDS[1], 48)] {
        let fits = udp(ends, (1, 2), 1000 - headers);
        let too_big = udp(ends, (1, 2), 1001 - headers);
        bench.port_flow(A, &fits, &actions);
        assert_eq!(bench.give(A, &fits).len(), 1);
        assert_eq!(bench.give(A, &too_big), []);
        let asked = bench.asked();
        assert_eq!(asked.len(), 1);
        assert_eq!((asked[0].reason, &asked[0].frame), (UpcallReason::TooBig, &too_big));
    }
}

fn copies_go_up(bench: &mut dyn Bench) {
    bench.three_ports();
    let frame = udp(ENDS[0], (1, 2), 10);
    let new = Rewrite::EthDst(MAC_A);
    let actions = [Action::Rewrite(new), Action::Copy { one_in: 1 }, Action::Output(B)];
    bench.exact(A, &frame, &actions);
    let sent = bench.give(A, &frame);
    let asked = bench.asked();
    assert_eq!((sent.len(), asked.len()), (1, 1));
    assert_eq!(asked[0].reason, UpcallReason::Copy);
    assert_eq!(asked[0].frame, sent[0].frame);
    assert_eq!(asked[0].key, extract(&frame, A, None).expect("the frame is whole"));
}

fn without_an_agent(bench: &mut dyn Bench) {
    bench.three_ports();
    let known = udp(ENDS[0], (1, 2), 10);
    let unknown = udp(ENDS[0], (1, 3), 10);
    bench.exact(A, &known, &[Action::Copy { one_in: 1 }, Action::Output(B)]);
    bench.pass(Duration::from_millis(1200));
    assert_eq!(bench.give(A, &known).len(), 1, "an installed flow goes on");
    let sent = bench.give(A, &unknown);
    quiet(bench, &sent);
    assert_eq!(bench.dropped(A, DropCause::AgentDown), 1, "a lost copy is no drop");
    bench.beat();
    bench.give(A, &unknown);
    assert_eq!(bench.asked().len(), 1, "the agent is back");
}

fn limits_are_per_port(bench: &mut dyn Bench) {
    bench.three_ports();
    bench.attach(A, MTU, UpcallLimit { rate: 1, burst: 3 });
    bench.beat();
    for port in 0..5 {
        bench.give(A, &udp(ENDS[0], (1, port), 0));
    }
    assert_eq!(bench.asked().len(), 3);
    assert_eq!(bench.dropped(A, DropCause::UpcallLimit), 2);
    bench.give(B, &udp(ENDS[0], (1, 9), 0));
    assert_eq!(bench.asked().len(), 1, "another port has its own share");
}

fn broadcasts_are_limited(bench: &mut dyn Bench) {
    bench.three_ports();
    let arp = Arp::request(MAC_A, [10, 0, 0, 1].into(), [10, 0, 0, 2].into()).frame();
    let unicast = udp(ENDS[0], (1, 2), 0);
    for port in [A, C] {
        bench.port_flow(port, &arp, &[Action::Output(B)]);
    }
    let limit = |rate, burst| BroadcastLimit { rate, burst };
    let set = |bench: &dyn Bench, limit| {
        bench.datapath().set_broadcast_limit(A, limit).expect("the port is attached");
    };
    set(bench, limit(1, 3));
    let of = |bench: &mut dyn Bench, port, frame: &[u8]| -> usize {
        (0..5).map(|_| bench.give(port, frame).len()).sum()
    };
    assert_eq!(of(bench, A, &arp), 3);
    assert_eq!(bench.dropped(A, DropCause::BroadcastLimit), 2);
    assert_eq!(of(bench, A, &unicast), 5, "what has one receiver is not limited");
    assert_eq!(of(bench, C, &arp), 5, "another port has no limit");
    set(bench, limit(1000, 5));
    assert_eq!(of(bench, A, &arp), 5, "the limit is another");
    set(bench, limit(0, 0));
    assert_eq!(of(bench, A, &arp), 5, "there is none");
    assert_eq!(bench.dropped(A, DropCause::BroadcastLimit), 2);
    let missing = bench.datapath().set_broadcast_limit(PortNo(99), limit(1, 1));
    assert!(missing.is_err(), "a port that is not attached has no limit");
}

fn unreadable_is_dropped(bench: &mut dyn Bench) {
    bench.three_ports();
    let whole = tcp(ENDS[0], (1, 2), TcpFlags::SYN, 0);
    // A device gives no frame shorter than its header.
    for cut in EthernetHeader::LEN..whole.len() {
        assert!(bench.takes(&whole[..cut]), "no kernel minds these");
        let sent = bench.give(A, &whole[..cut]);
        quiet(bench, &sent);
    }
    let cuts = (whole.len() - EthernetHeader::LEN) as u64;
    assert_eq!(bench.dropped(A, DropCause::Truncated), cuts);
    let mut malformed = whole;
    malformed[14] = 0x43;
    let sent = bench.give(A, &malformed);
    quiet(bench, &sent);
    assert_eq!(bench.dropped(A, DropCause::Malformed), 1);
    let counters = bench.datapath().port_counters(A).expect("the port is attached");
    assert_eq!((counters.rx.packets, counters.rx_dropped), (cuts + 1, cuts + 1));
    assert_eq!(counters.tx, Counters::default());
}

fn unattached_goes_nowhere(bench: &mut dyn Bench) {
    bench.three_ports();
    let frame = udp(ENDS[0], (1, 2), 10);
    bench.port_flow(A, &frame, &[Action::Output(B)]);
    assert_eq!(bench.give(A, &frame).len(), 1);
    bench.datapath().detach(A).expect("it was attached");
    let sent = bench.give(A, &frame);
    quiet(bench, &sent);
    assert_eq!(bench.dropped(PortNo::NONE, DropCause::PortGone), 1);
}
