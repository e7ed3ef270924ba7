//! Frames to and from other hosts.

use std::time::Duration;

use mn_flow::{Action, DropCause, GroupIndex, KeyKind, PeerIndex, PortNo, TunnelKey, TunnelOrigin};
use mn_packet::VlanTag;

use super::bench::{A, B, Bench, C, Case, quiet};
use super::frames::{ENDS, addr, tagged, udp};
use crate::software::Sent;
use crate::{DatapathError, Delivery, Offload, Output, PeerAddresses};

pub const CASES: &[Case] = &[
    ("a frame goes to its peer with its key, and to nobody without one", sending),
    ("a frame from a member is delivered by its key, marked or not", receiving),
    ("a frame from elsewhere or with another key is dropped with its cause", refusing),
    ("tunnelled frames are delivered while no agent lives", without_an_agent),
    ("the underlay's size counts tags too", sizes),
    ("keys can be read back", reading_back),
];

const PEER: PeerIndex = PeerIndex(5);
const MEMBER: &str = "172.16.0.9";

fn key(kind: KeyKind, value: u32) -> TunnelKey {
    TunnelKey::new(kind, value).expect("the case's key fits")
}

fn peer(mtu: u32) -> PeerAddresses {
    PeerAddresses { local: addr("172.16.0.1"), remote: addr(MEMBER), mtu }
}

fn sending(bench: &mut dyn Bench) {
    bench.three_ports();
    let frame = udp(ENDS[0], (1, 2), 10);
    let to = Output::Tunnel { peer: PEER, key: key(KeyKind::Port, 77) };
    let action = Action::Tunnel { peer: PEER, key: key(KeyKind::Port, 77) };
    bench.exact(A, &frame, &[action]);
    let sent = bench.give(A, &frame);
    quiet(bench, &sent);
    assert_eq!(bench.dropped(A, DropCause::PeerGone), 1);
    bench.datapath().set_peer(PEER, Some(peer(1450))).expect("a peer can be set");
    let want = Sent { to, frame: frame.clone(), offload: Offload::default(), mark: false };
    assert_eq!(bench.give(A, &frame), std::slice::from_ref(&want));
    let group = GroupIndex(1);
    bench.datapath().set_group(group, &[to, Output::Port(B)]).expect("a mixed group");
    bench.exact(A, &frame, &[Action::Outputs(group)]);
    let sent = bench.give(A, &frame);
    assert_eq!(sent.len(), 2);
    assert!(sent.contains(&want));
    let counters = bench.datapath().port_counters(PortNo::TUNNEL).expect("always there");
    assert_eq!(counters.tx.packets, 2);
    bench.datapath().set_peer(PEER, None).expect("a peer can be set");
    assert_eq!(bench.give(A, &frame).len(), 1);
    assert_eq!(bench.dropped(A, DropCause::PeerGone), 2);
}

fn receive(bench: &mut dyn Bench, src: &str, vni: u32, frame: &[u8]) -> Vec<Sent> {
    let origin = TunnelOrigin { vni, src: addr(src) };
    bench.receive_tunnelled(origin, frame, Offload::default())
}

fn receiving(bench: &mut dyn Bench) {
    bench.three_ports();
    let (port, group) = (key(KeyKind::Port, 9), key(KeyKind::Group, 9));
    let members = [addr(MEMBER), addr("fd00::9")];
    bench.datapath().set_members(&members).expect("members can be set");
    bench.datapath().set_key(port, Some(&Delivery::Port(B))).expect("a key can be set");
    let both = Delivery::Ports(vec![B, C]);
    bench.datapath().set_key(group, Some(&both)).expect("a group key can be set");
    let frame = udp(ENDS[1], (1, 2), 10);
    let out = |port| Sent {
        to: Output::Port(port),
        frame: frame.clone(),
        offload: Offload::default(),
        mark: false,
    };
    assert_eq!(receive(bench, MEMBER, port.vni(), &frame), [out(B)]);
    assert_eq!(receive(bench, MEMBER, port.vni() | TunnelKey::MARK, &frame), [out(B)]);
    assert_eq!(receive(bench, "fd00::9", port.vni(), &frame), [out(B)]);
    let mut sent = receive(bench, MEMBER, group.vni(), &frame);
    sent.sort_by_key(|sent| sent.to != Output::Port(B));
    assert_eq!(sent, [out(B), out(C)]);
    let counters = bench.datapath().port_counters(PortNo::TUNNEL).expect("always there");
    assert_eq!(counters.rx.packets, 4);
    assert_eq!(bench.asked(), [], "tunnelled frames ask nobody");
}

fn refusing(bench: &mut dyn Bench) {
    bench.three_ports();
    let (port, retired) = (key(KeyKind::Port, 9), key(KeyKind::Port, 8));
    let frame = udp(ENDS[0], (1, 2), 10);
    bench.datapath().set_members(&[addr(MEMBER)]).expect("members can be set");
    bench.datapath().set_key(port, Some(&Delivery::Port(B))).expect("a key can be set");
    bench.datapath().set_key(retired, Some(&Delivery::Retired)).expect("a key can be retired");
    let state = key(KeyKind::State, 9);
    for (src, vni, cause) in [
        ("172.16.0.10", port.vni(), DropCause::TunnelNotMember),
        (MEMBER, port.vni() + 1, DropCause::TunnelUnknownKey),
        (MEMBER, state.vni(), DropCause::TunnelUnknownKey),
        (MEMBER, 3 << 22 | 9, DropCause::TunnelUnknownKey),
        (MEMBER, retired.vni(), DropCause::TunnelRetiredKey),
    ] {
        let before = bench.dropped(PortNo::TUNNEL, cause);
        let sent = receive(bench, src, vni, &frame);
        quiet(bench, &sent);
        assert_eq!(bench.dropped(PortNo::TUNNEL, cause), before + 1, "{src} {vni:#x}");
    }
    bench.datapath().set_key(port, None).expect("a key can be forgotten");
    let sent = receive(bench, MEMBER, port.vni(), &frame);
    quiet(bench, &sent);
    bench.datapath().set_members(&[]).expect("there may be none");
    receive(bench, MEMBER, retired.vni(), &frame);
    assert_eq!(bench.dropped(PortNo::TUNNEL, DropCause::TunnelNotMember), 2);
}

fn without_an_agent(bench: &mut dyn Bench) {
    bench.three_ports();
    let port = key(KeyKind::Port, 9);
    bench.datapath().set_members(&[addr(MEMBER)]).expect("members can be set");
    bench.datapath().set_key(port, Some(&Delivery::Port(B))).expect("a key can be set");
    bench.pass(Duration::from_secs(2));
    assert_eq!(receive(bench, MEMBER, port.vni(), &udp(ENDS[0], (1, 2), 10)).len(), 1);
}

fn sizes(bench: &mut dyn Bench) {
    bench.three_ports();
    bench.datapath().set_peer(PEER, Some(peer(1000))).expect("a peer can be set");
    let action = Action::Tunnel { peer: PEER, key: key(KeyKind::Port, 1) };
    for (len, tags, fits) in [(1000, 0, true), (1001, 0, false), (996, 1, true), (997, 1, false)] {
        let mut frame = udp(ENDS[0], (1, 2), len - 28);
        if tags == 1 {
            frame = tagged(frame, VlanTag::from_wire(5));
        }
        bench.exact(A, &frame, &[action]);
        let sent = bench.give(A, &frame);
        assert_eq!(sent.len(), usize::from(fits), "{len} octets with {tags} tags");
    }
    assert_eq!(bench.dropped(A, DropCause::TooBig), 2);
}

fn reading_back(bench: &mut dyn Bench) {
    let port = key(KeyKind::Port, 9);
    let group = key(KeyKind::Group, 4);
    let both = Delivery::Ports(vec![B, C]);
    bench.datapath().set_key(port, Some(&Delivery::Retired)).expect("a key can be set");
    bench.datapath().set_key(group, Some(&both)).expect("a key can be set");
    let mut keys = bench.datapath().keys().expect("keys can be read");
    keys.sort_by_key(|(key, _)| *key);
    assert_eq!(keys, [(port, Delivery::Retired), (group, both)]);
    let mixed = PeerAddresses { remote: addr("fd00::9"), ..peer(1450) };
    let refused = bench.datapath().set_peer(PEER, Some(mixed));
    assert!(matches!(refused, Err(DatapathError::Invalid(_))), "two versions make no tunnel");
}
