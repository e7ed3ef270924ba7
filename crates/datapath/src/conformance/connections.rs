//! Tracked connections.

use std::time::Duration;

use mn_flow::{
    Action, Conn, DropCause, Field, FlowMask, KeyKind, PeerIndex, Rewrite, TunnelKey, TunnelOrigin,
    Zone,
};
use mn_packet::icmp::icmp_of;
use mn_packet::{IcmpHeader, IpProtocol, TcpFlags, VlanId, VlanTag, to_v6};

use super::bench::{A, B, Bench, C, Case};
use super::frames::{ENDS, addr, frame, tagged, tcp, udp};
use crate::{ConnState, Connection, Delivery, Offload, PeerAddresses, Timeouts, Tracking};

pub const CASES: &[Case] = &[
    ("the answers of a tracked packet are known, and nobody else's", answers),
    ("an answer is known as the tracked packet was delivered", rewritten),
    ("a tracked packet goes to other hosts marked, and a marked one makes its answer known", marks),
    ("every port of a flood group knows the answer to a marked packet", groups),
    ("TCP is followed from opening to end, and opens anew", segments),
    ("an ICMP error belongs to the connection it quotes", errors),
    ("echoes and other protocols are tracked", protocols),
    ("what is for many is not tracked", for_many),
    ("zones and VLANs are apart", apart),
    ("a port has no more connections than it may", limits),
    ("a connection ages by its state, and packets of either direction keep it", ages),
    ("connections of a port that is no more can be forgotten", forgetting),
];

const PEER: PeerIndex = PeerIndex(5);
const MEMBER: &str = "172.16.0.9";
const ONE: Zone = Zone(1);
const TWO: Zone = Zone(2);

/// The frames of both directions of a UDP connection.
fn both(ends: (&str, &str), ports: (u16, u16)) -> (Vec<u8>, Vec<u8>) {
    (udp(ends, ports, 10), udp((ends.1, ends.0), (ports.1, ports.0), 10))
}

/// Attaches three ports and puts [`A`] and [`B`] in zones.
fn zones(bench: &mut dyn Bench, a: Zone, b: Zone) {
    bench.three_ports();
    for (port, zone) in [(A, a), (B, b)] {
        let tracking = Tracking { zone, connections_max: 0 };
        bench.datapath().set_tracking(port, tracking).expect("an attached port has a zone");
    }
}

fn track(zone: Zone) -> Action {
    Action::Track { zone, port: A }
}

/// Gives a frame that no flow is for, and says what the table says of it.
fn conn(bench: &mut dyn Bench, port: mn_flow::PortNo, frame: &[u8]) -> Conn {
    let sent = bench.give(port, frame);
    assert_eq!(sent, [], "no flow is for it");
    match &bench.asked()[..] {
        [asked] => asked.key.conn,
        other => panic!("{} went up", other.len()),
    }
}

fn all(bench: &dyn Bench) -> Vec<Connection> {
    let mut all = Vec::new();
    bench.datapath().connections(&mut |it| all.push(it)).expect("they can be read");
    all.sort_by_key(|it| (it.zone, it.tuple));
    all
}

fn answers(bench: &mut dyn Bench) {
    for (index, ends) in ENDS.into_iter().enumerate() {
        if index == 0 {
            zones(bench, ONE, ONE);
        }
        let (there, back) = both(ends, (1111, 53));
        let (other, _) = both(ends, (1112, 53));
        assert_eq!(conn(bench, A, &there), Conn::None);
        assert_eq!(conn(bench, B, &back), Conn::None, "nobody asked for it");
        let spec = bench.exact(A, &there, &[track(ONE), Action::Output(B)]);
        assert_eq!(bench.give(A, &there).len(), 1);
        assert_eq!(conn(bench, B, &back), Conn::Return);
        assert_eq!(conn(bench, A, &back), Conn::Return, "by whichever port of the zone");
        assert_eq!(conn(bench, A, &there), Conn::Forward, "the flow was for the first");
        assert_eq!(conn(bench, A, &other), Conn::None);
        assert_eq!(conn(bench, C, &back), Conn::None, "a port without a zone");
        bench.datapath().remove(&spec).expect("a flow can be removed");
    }
    let all = all(bench);
    assert_eq!(all.len(), 2, "one entry for both directions of each: {all:?}");
    assert!(all.iter().all(|it| it.tuple.src_port == 1111 && it.port == A && it.zone == ONE));
}

fn rewritten(bench: &mut dyn Bench) {
    zones(bench, ONE, TWO);
    let (there, back) = both(ENDS[0], (1111, 53));
    let delivered = ("10.0.0.1", "172.30.0.1");
    let (_, answer) = both(delivered, (1111, 5353));
    let actions = [
        track(ONE),
        Action::Rewrite(Rewrite::NwDst(addr(delivered.1))),
        Action::Rewrite(Rewrite::TpDst(5353)),
        Action::Output(B),
    ];
    bench.exact(A, &there, &actions);
    assert_eq!(bench.give(A, &there).len(), 1);
    assert_eq!(conn(bench, B, &answer), Conn::Return);
    assert_eq!(conn(bench, B, &back), Conn::None, "that is not how it was delivered");
    assert_eq!(conn(bench, A, &back), Conn::Return, "but how it came in");
    assert_eq!(
        all(bench).iter().map(|it| (it.zone, it.port)).collect::<Vec<_>>(),
        [(ONE, A), (TWO, B)]
    );
}

fn receive(bench: &mut dyn Bench, vni: u32, frame: &[u8]) -> usize {
    let origin = TunnelOrigin { vni, src: addr(MEMBER) };
    bench.receive_tunnelled(origin, frame, Offload::default()).len()
}

fn marks(bench: &mut dyn Bench) {
    zones(bench, ONE, TWO);
    let key = TunnelKey::new(KeyKind::Port, 9).expect("a small value fits");
    let peer = PeerAddresses { local: addr("172.16.0.1"), remote: addr(MEMBER), mtu: 1450 };
    let results = [
        bench.datapath().set_peer(PEER, Some(peer)),
        bench.datapath().set_members(&[addr(MEMBER)]),
        bench.datapath().set_key(key, Some(&Delivery::Port(B))),
    ];
    results.into_iter().for_each(|result| result.expect("the underlay can be set up"));
    let (there, back) = both(ENDS[1], (7, 8));
    let tunnel = Action::Tunnel { peer: PEER, key };
    let plain = bench.exact(A, &there, &[tunnel]);
    let marked = |bench: &mut dyn Bench| bench.give(A, &there)[0].mark;
    assert!(!marked(bench));
    bench.datapath().remove(&plain).expect("a flow can be removed");
    let mask = FlowMask::from(Field::InPort);
    bench.flow(A, &there, mask, &[track(ONE), tunnel]);
    assert!(marked(bench) && marked(bench), "the first and those after it");
    assert!(!bench.give(A, &back)[0].mark, "an answer is not of the forward direction");
    // The other way round: as the other host sees it.
    assert_eq!(receive(bench, key.vni(), &there), 1);
    assert_eq!(conn(bench, B, &back), Conn::None, "it was not marked");
    assert_eq!(receive(bench, key.vni() | TunnelKey::MARK, &there), 1);
    assert_eq!(conn(bench, B, &back), Conn::Return);
    assert_eq!(conn(bench, B, &there), Conn::Forward, "an odd way, but that is its direction");
}

fn groups(bench: &mut dyn Bench) {
    zones(bench, ONE, TWO);
    let key = TunnelKey::new(KeyKind::Group, 9).expect("a small value fits");
    bench.datapath().set_members(&[addr(MEMBER)]).expect("members can be set");
    bench.datapath().set_key(key, Some(&Delivery::Ports(vec![A, B, C]))).expect("a key can be set");
    let (there, back) = both(ENDS[0], (7, 8));
    assert_eq!(receive(bench, key.vni() | TunnelKey::MARK, &there), 3);
    assert_eq!(conn(bench, A, &back), Conn::Return);
    assert_eq!(conn(bench, B, &back), Conn::Return);
    assert_eq!(conn(bench, C, &back), Conn::None);
}

/// The state of the only connection.
fn state(bench: &dyn Bench) -> ConnState {
    match all(bench)[..] {
        [connection] => connection.state,
        ref other => panic!("{other:?}"),
    }
}

fn segments(bench: &mut dyn Bench) {
    zones(bench, ONE, ONE);
    let ends = ENDS[0];
    let there = |flags| tcp(ends, (1111, 80), flags, 0);
    let back = |flags| tcp((ends.1, ends.0), (80, 1111), flags, 0);
    let (syn, fin, rst) = (TcpFlags::SYN, TcpFlags::FIN, TcpFlags::RST);
    let (ack, fin_ack) = (TcpFlags::ACK, fin | TcpFlags::ACK);
    let in_port = FlowMask::from(Field::InPort);
    bench.flow(A, &there(syn), in_port, &[track(ONE), Action::Output(B)]);
    let answering = bench.flow(B, &back(syn), in_port, &[Action::Output(A)]);
    let steps = [
        (A, there(syn), ConnState::SynSent),
        (B, back(syn | TcpFlags::ACK), ConnState::SynReceived),
        (A, there(ack), ConnState::Established),
        (B, back(ack), ConnState::Established),
        (A, there(fin_ack), ConnState::FinWait),
        (B, back(ack), ConnState::FinWait),
        (B, back(fin_ack), ConnState::TimeWait),
        (A, there(ack), ConnState::TimeWait),
        (A, there(syn), ConnState::SynSent),
        (B, back(rst | TcpFlags::ACK), ConnState::Closed),
        (A, there(syn), ConnState::SynSent),
    ];
    for (step, (port, frame, want)) in steps.into_iter().enumerate() {
        assert_eq!(bench.give(port, &frame).len(), 1, "step {step}");
        assert_eq!(state(bench), want, "step {step}");
    }
    bench.give(B, &back(rst));
    bench.datapath().remove(&answering).expect("a flow can be removed");
    assert_eq!(conn(bench, B, &back(syn)), Conn::None, "the other side opens a new one");
    assert_eq!(state(bench), ConnState::Closed, "nobody has let it through");
    assert_eq!(conn(bench, B, &back(ack)), Conn::Return, "others are of the old one");
}

/// The error that quotes so many octets of a packet.
fn error(from: &str, to: &str, ty: u8, quoted: &[u8], len: usize) -> Vec<u8> {
    let (src, dst) = (addr(from), addr(to));
    let header = IcmpHeader { ty, code: 1, rest: [0; 4] };
    frame((from, to), 64, icmp_of(src), &header.message(src, dst, &quoted[..len.min(quoted.len())]))
}

fn errors(bench: &mut dyn Bench) {
    zones(bench, ONE, ONE);
    for (ends, other, types) in
        [(ENDS[0], "10.99.0.1", &[3, 11, 12][..]), (ENDS[1], "2001:db8:99::1", &[1, 2, 3, 4])]
    {
        let (src, dst) = (addr(ends.0), addr(ends.1));
        let echo = IcmpHeader { ty: if src.is_ipv4() { 8 } else { 128 }, code: 0, rest: [9; 4] };
        let echo = frame(ends, 64, icmp_of(src), &echo.message(src, dst, b"data"));
        let (there, back) = both(ends, (1111, 53));
        for ty in types {
            let about = error(other, ends.0, *ty, &there[14..], 48);
            assert_eq!(conn(bench, B, &about), Conn::None, "no such connection");
        }
        for there in [&there, &echo] {
            let spec = bench.exact(A, there, &[track(ONE), Action::Output(B)]);
            assert_eq!(bench.give(A, there).len(), 1);
            bench.datapath().remove(&spec).expect("a flow can be removed");
        }
        let head = if src.is_ipv4() { 20 } else { 40 };
        for ty in types {
            let of = |quoted: &[u8], len| error(other, ends.0, *ty, &quoted[14..], len);
            assert_eq!(conn(bench, B, &of(&there, 80)), Conn::Return, "type {ty}");
            assert_eq!(conn(bench, B, &of(&there, head + 4)), Conn::Return, "ports are enough");
            assert_eq!(conn(bench, B, &of(&there, head + 3)), Conn::None, "they are not whole");
            assert_eq!(conn(bench, B, &of(&echo, 80)), Conn::Return, "about an echo");
            let about_answer = error(other, ends.1, *ty, &back[14..], 80);
            assert_eq!(conn(bench, A, &about_answer), Conn::Forward);
        }
        let before = all(bench);
        let about = error(other, ends.0, types[0], &there[14..], 80);
        let tracking = [Action::Track { zone: ONE, port: B }];
        let spec = bench.flow(B, &about, Field::InPort.into(), &tracking);
        assert_eq!(bench.give(B, &about), []);
        assert_eq!(bench.asked(), []);
        assert_eq!(all(bench).len(), before.len(), "an error begins no connection");
        bench.datapath().remove(&spec).expect("a flow can be removed");
    }
}

fn protocols(bench: &mut dyn Bench) {
    zones(bench, ONE, ONE);
    for ends in ENDS {
        let src = addr(ends.0);
        let icmp = icmp_of(src);
        let [ask, reply] = if src.is_ipv4() { [8, 0] } else { [128, 129] };
        let echo = |ty, id: u8, ends: (&str, &str)| {
            let header = IcmpHeader { ty, code: 0, rest: [0, id, 0, 1] };
            frame(ends, 64, icmp, &header.message(addr(ends.0), addr(ends.1), b"data"))
        };
        let back = (ends.1, ends.0);
        let gre = IpProtocol(47);
        let kinds = [
            (echo(ask, 7, ends), echo(reply, 7, back), echo(reply, 8, back), ConnState::Icmp),
            (
                frame(ends, 64, gre, b"any payload"),
                frame(back, 64, gre, b"any other"),
                frame(back, 64, IpProtocol(50), b"any"),
                ConnState::Other,
            ),
        ];
        for (there, answer, stranger, want) in kinds {
            bench.exact(A, &there, &[track(ONE), Action::Output(B)]);
            assert_eq!(bench.give(A, &there).len(), 1);
            assert_eq!(conn(bench, B, &answer), Conn::Return);
            assert_eq!(conn(bench, B, &stranger), Conn::None);
            let is_it = |it: &Connection| it.state == want && it.tuple.src == to_v6(src);
            assert!(all(bench).iter().any(is_it));
        }
    }
}

fn for_many(bench: &mut dyn Bench) {
    zones(bench, ONE, ONE);
    let (mut there, _) = both(ENDS[0], (68, 67));
    there[..6].copy_from_slice(&[0xff; 6]);
    bench.exact(A, &there, &[track(ONE), Action::Output(B)]);
    assert_eq!(bench.give(A, &there).len(), 1);
    assert_eq!(all(bench), []);
}

fn apart(bench: &mut dyn Bench) {
    zones(bench, ONE, TWO);
    let (there, back) = both(ENDS[0], (1111, 53));
    let tag = |id| VlanTag::of(VlanId::try_from(id).expect("a number of a VLAN"));
    let with = |frame: &[u8], id| tagged(frame.to_vec(), tag(id));
    bench.exact(A, &with(&there, 7), &[track(ONE), Action::Output(C)]);
    assert_eq!(bench.give(A, &with(&there, 7)).len(), 1);
    assert_eq!(conn(bench, A, &with(&back, 7)), Conn::Return);
    assert_eq!(conn(bench, A, &with(&back, 8)), Conn::None, "another VLAN");
    assert_eq!(conn(bench, A, &back), Conn::None, "no VLAN");
    assert_eq!(conn(bench, B, &with(&back, 7)), Conn::None, "another zone");
    let priority = tagged(back.clone(), VlanTag::from_wire(tag(7).wire() | 5 << 13));
    assert_eq!(conn(bench, A, &priority), Conn::Return, "whatever its priority");
}

fn limits(bench: &mut dyn Bench) {
    zones(bench, ONE, ONE);
    let two = Tracking { zone: ONE, connections_max: 2 };
    bench.datapath().set_tracking(A, two).expect("an attached port has a zone");
    let (first, _) = both(ENDS[0], (1, 53));
    let in_port = FlowMask::from(Field::InPort);
    bench.flow(A, &first, in_port, &[track(ONE), Action::Output(B)]);
    let give = |bench: &mut dyn Bench, port| bench.give(A, &both(ENDS[0], (port, 53)).0).len();
    assert_eq!([1, 2, 3, 1, 2].map(|port| give(bench, port)), [1, 1, 0, 1, 1]);
    assert_eq!(bench.dropped(A, DropCause::ConnectionLimit), 1);
    assert_eq!(bench.datapath().tracking(A).expect("it is attached"), (two, 2));
    let removed = bench.datapath().forget_connections(&|it| it.tuple.src_port == 1);
    assert_eq!(removed.expect("they can be removed"), 1);
    assert_eq!([3, 1].map(|port| give(bench, port)), [1, 0], "there is room for one");
    assert_eq!(bench.datapath().tracking(B).expect("it is attached").1, 0, "it has none");
}

fn ages(bench: &mut dyn Bench) {
    zones(bench, ONE, ONE);
    let (there, back) = both(ENDS[0], (1111, 53));
    bench.exact(A, &there, &[track(ONE), Action::Output(B)]);
    assert_eq!(bench.give(A, &there).len(), 1);
    let timeouts = Timeouts::default();
    let age = |bench: &mut dyn Bench, seconds| {
        let now = bench.now() + Duration::from_secs(seconds);
        bench.datapath().age_connections(now, &timeouts, 100).expect("they can age").removed
    };
    let alone = timeouts.of(ConnState::UdpNew).as_secs();
    assert_eq!(age(bench, alone - 20), 0);
    // An answer keeps it, longer than before.
    assert_eq!(conn(bench, B, &back), Conn::Return);
    assert_eq!(age(bench, alone + 20), 0);
    bench.pass(Duration::from_millis(300));
    let streaming = timeouts.of(ConnState::UdpStream);
    let short = |bench: &mut dyn Bench| {
        let now = bench.now();
        let soon = Timeouts::all(Duration::from_millis(200));
        bench.datapath().age_connections(now, &soon, 100).expect("they can age").removed
    };
    assert_eq!(conn(bench, B, &back), Conn::Return);
    assert_eq!(short(bench), 0, "the answer was its last packet");
    bench.pass(Duration::from_millis(300));
    assert_eq!(conn(bench, A, &there), Conn::Forward);
    assert_eq!(short(bench), 0, "as is a packet that no flow is for");
    assert_eq!(age(bench, streaming.as_secs() - 20), 0);
    assert_eq!(age(bench, streaming.as_secs() + 20), 1);
    assert_eq!(conn(bench, B, &back), Conn::None);
    assert_eq!(bench.datapath().tracking(A).expect("it is attached").1, 0);
}

fn forgetting(bench: &mut dyn Bench) {
    zones(bench, ONE, TWO);
    let (there, back) = both(ENDS[0], (1111, 53));
    bench.exact(A, &there, &[track(ONE), Action::Output(B)]);
    assert_eq!(bench.give(A, &there).len(), 1);
    let removed = bench.datapath().forget_connections(&|it| it.zone == TWO);
    assert_eq!(removed.expect("they can be removed"), 1);
    assert_eq!(conn(bench, B, &back), Conn::None);
    assert_eq!(conn(bench, A, &back), Conn::Return, "the other zone keeps its own");
    let tuple = all(bench)[0].tuple;
    let found = bench.datapath().connection(ONE, &tuple.reversed()).expect("it can be read");
    assert_eq!(found.map(|it| it.tuple), Some(tuple));
    assert_eq!(bench.datapath().connection(TWO, &tuple).expect("it can be read"), None);
}
