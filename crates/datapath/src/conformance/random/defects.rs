//! Planted defects: changes of the right side that the comparison must notice.

use mn_flow::{Action, DropCause, Field, FlowMask, Rewrite, TcpClass, TunnelKey};
use mn_packet::ndp::NEIGHBOR_ADVERTISEMENT;
use mn_packet::{EtherType, Mac, VlanTag};

use super::compare::Tamper;
use crate::conformance::bench::Asked;
use crate::{ConnState, Connection, FlowSpec, Followed, Output, UpcallReason};

/// What is wrong with the right side, and how it is made so.
pub const DEFECTS: &[(&str, Tamper)] = &[
    ("hops are not taken", Tamper { flow: |f| without(f, |r| r == Rewrite::DecTtl), ..NONE }),
    ("a pop does nothing", Tamper { flow: |f| without(f, |r| r == Rewrite::PopVlan), ..NONE }),
    ("a pushed tag loses its priority", Tamper { flow: |f| each(f, no_priority), ..NONE }),
    (
        "the ECN bits are kept when the traffic class is set",
        Tamper { flow: |f| each(f, dscp), ..NONE },
    ),
    ("source and destination port are mixed up", Tamper { flow: |f| each(f, mixed_ports), ..NONE }),
    (
        "a source address is not set",
        Tamper { flow: |f| without(f, |r| matches!(r, Rewrite::NwSrc(_))), ..NONE },
    ),
    (
        "an identifier of an echo is not set",
        Tamper { flow: |f| without(f, |r| matches!(r, Rewrite::IcmpId(_))), ..NONE },
    ),
    ("a quoted port is not set", Tamper { flow: |f| each(f, no_quoted_port), ..NONE }),
    (
        "a quoted destination is not set",
        Tamper { flow: |f| without(f, |r| matches!(r, Rewrite::InnerDst(..))), ..NONE },
    ),
    (
        "actions go on after a drop",
        Tamper { flow: |f| f.actions.retain(|a| !matches!(a, Action::Drop { .. })), ..NONE },
    ),
    ("drops have another cause", Tamper { flow: other_cause, ..NONE }),
    (
        "copies do not go up",
        Tamper { flow: |f| f.actions.retain(|a| !matches!(a, Action::Copy { .. })), ..NONE },
    ),
    (
        "meters do not count",
        Tamper { flow: |f| f.actions.retain(|a| !matches!(a, Action::Meter(_))), ..NONE },
    ),
    (
        "groups are not known",
        Tamper { flow: |f| f.actions.retain(|a| !matches!(a, Action::Outputs(_))), ..NONE },
    ),
    ("questions are not answered", Tamper { flow: |f| without(f, is_answer), ..NONE }),
    ("answers come from another MAC", Tamper { flow: |f| each(f, other_answerer), ..NONE }),
    (
        "answers do not say that a router gives them",
        Tamper { flow: |f| each(f, no_router), ..NONE },
    ),
    (
        "answers to solicitations have a wrong checksum",
        Tamper { sent: |s| s.iter_mut().for_each(|s| wrong_advertisement(&mut s.frame)), ..NONE },
    ),
    (
        "ARP replies do not name who asked",
        Tamper { sent: |s| s.iter_mut().for_each(|s| nameless_reply(&mut s.frame)), ..NONE },
    ),
    (
        "questions that cannot be answered are dropped instead of asked about",
        Tamper { asked: |a| a.retain(|a| a.reason != UpcallReason::Answer), ..NONE },
    ),
    ("the order of actions is not kept", Tamper { flow: |f| f.actions.reverse(), ..NONE }),
    ("the mask does not have fragments", Tamper { flow: |f| unmask(f, Field::Fragment), ..NONE }),
    ("the mask does not have hops", Tamper { flow: |f| unmask(f, Field::Ttl), ..NONE }),
    (
        "the mask does not have the inner tag",
        Tamper { flow: |f| unmask(f, Field::InnerVlan), ..NONE },
    ),
    ("the mask does not have TCP flags", Tamper { flow: |f| unmask(f, Field::Tcp), ..NONE }),
    ("destination prefixes are one bit short", Tamper { flow: short_prefix, ..NONE }),
    ("padding is cut off", Tamper { frame: cut_padding, ..NONE }),
    (
        "the IPv4 header checksum is not kept",
        Tamper { sent: |s| s.iter_mut().for_each(|s| wrong_sum(&mut s.frame)), ..NONE },
    ),
    (
        "a computed UDP checksum of 0 is sent as it is",
        Tamper { sent: |s| s.iter_mut().for_each(|s| zero_udp(&mut s.frame)), ..NONE },
    ),
    (
        "tags of services go out as tags of customers",
        Tamper { sent: |s| s.iter_mut().for_each(|s| customer_tag(&mut s.frame)), ..NONE },
    ),
    ("the second copy is lost", Tamper { sent: |s| s.truncate(1), ..NONE }),
    (
        "tunnel keys go out marked",
        Tamper { sent: |s| s.iter_mut().for_each(|s| other_key(&mut s.to)), ..NONE },
    ),
    (
        "packets go up without their last octet",
        Tamper {
            asked: |a| {
                a.iter_mut().for_each(|a| {
                    a.frame.pop();
                })
            },
            ..NONE
        },
    ),
    (
        "spent hops count as a miss",
        Tamper {
            asked: |a| {
                a.iter_mut().for_each(|a| {
                    if a.reason == UpcallReason::Ttl {
                        a.reason = UpcallReason::Miss
                    }
                })
            },
            ..NONE
        },
    ),
    (
        "connections are not tracked",
        Tamper { flow: |f| f.actions.retain(|a| !matches!(a, Action::Track { .. })), ..NONE },
    ),
    (
        "segments are not told of",
        Tamper { flow: |f| f.actions.retain(|a| *a != Action::Follow), ..NONE },
    ),
    (
        "resets are told of as ends",
        Tamper { followed: |all| all.iter_mut().for_each(no_reset), ..NONE },
    ),
    (
        "what neither begins nor ends a connection is told of each time",
        Tamper { followed: twice, ..NONE },
    ),
    ("connections are tracked in another zone", Tamper { flow: other_zone, ..NONE }),
    (
        "answers are not told from what nobody asked for",
        Tamper { asked: |a| a.iter_mut().for_each(no_answer), ..NONE },
    ),
    (
        "errors do not belong to what they quote",
        Tamper { asked: |a| a.iter_mut().for_each(unrelated), ..NONE },
    ),
    (
        "tracked packets go to other hosts unmarked",
        Tamper { sent: |s| s.iter_mut().for_each(|s| s.mark = false), ..NONE },
    ),
    (
        "resets are not followed",
        Tamper { connections: |c| state(c, ConnState::Closed, ConnState::Established), ..NONE },
    ),
    (
        "the second FIN is not followed",
        Tamper { connections: |c| state(c, ConnState::TimeWait, ConnState::FinWait), ..NONE },
    ),
    (
        "answers to datagrams are not followed",
        Tamper { connections: |c| state(c, ConnState::UdpStream, ConnState::UdpNew), ..NONE },
    ),
    (
        "a connection's direction is turned round",
        Tamper {
            connections: |c| c.iter_mut().for_each(|it| it.tuple = it.tuple.reversed()),
            ..NONE
        },
    ),
    (
        "connections of a VLAN are of all",
        Tamper { connections: |c| c.iter_mut().for_each(|it| it.tuple.vlan = None), ..NONE },
    ),
    (
        "connections count as another port's",
        Tamper { connections: |c| c.iter_mut().for_each(|it| it.port.0 ^= 1), ..NONE },
    ),
    (
        "answered datagrams age as others",
        Tamper { timeouts: |t| t.set(ConnState::UdpStream, t.of(ConnState::UdpNew)), ..NONE },
    ),
    (
        "later fragments do not follow their first",
        Tamper { asked: |a| a.iter_mut().for_each(no_first), ..NONE },
    ),
    (
        "too big packets are dropped instead of asked about",
        Tamper { asked: |a| a.retain(|a| a.reason != UpcallReason::TooBig), ..NONE },
    ),
];

const NONE: Tamper = Tamper::NONE;

fn without(flow: &mut FlowSpec, is: fn(Rewrite) -> bool) {
    flow.actions.retain(|action| !matches!(action, Action::Rewrite(rewrite) if is(*rewrite)));
}

fn each(flow: &mut FlowSpec, change: fn(Rewrite) -> Rewrite) {
    for action in &mut flow.actions {
        if let Action::Rewrite(rewrite) = action {
            *rewrite = change(*rewrite);
        }
    }
}

fn no_priority(rewrite: Rewrite) -> Rewrite {
    match rewrite {
        Rewrite::PushVlan(tag) => Rewrite::PushVlan(VlanTag::from_wire(tag.wire() & 0x0fff)),
        other => other,
    }
}

fn dscp(rewrite: Rewrite) -> Rewrite {
    match rewrite {
        Rewrite::NwTos(tos) => Rewrite::NwTos(tos & 0xfc),
        other => other,
    }
}

fn mixed_ports(rewrite: Rewrite) -> Rewrite {
    match rewrite {
        Rewrite::TpSrc(port) => Rewrite::TpDst(port),
        other => other,
    }
}

const fn is_answer(rewrite: Rewrite) -> bool {
    matches!(rewrite, Rewrite::Answer { .. })
}

fn other_answerer(rewrite: Rewrite) -> Rewrite {
    match rewrite {
        Rewrite::Answer { mac: Mac([a, b, c, d, e, f]), router } => {
            Rewrite::Answer { mac: Mac([a, b, c, d, e, f ^ 1]), router }
        }
        other => other,
    }
}

const fn no_router(rewrite: Rewrite) -> Rewrite {
    match rewrite {
        Rewrite::Answer { mac, .. } => Rewrite::Answer { mac, router: false },
        other => other,
    }
}

/// Of an untagged neighbour advertisement without extension headers.
fn wrong_advertisement(frame: &mut [u8]) {
    let is_v6 = frame.len() >= 86 && frame[12..14] == EtherType::IPV6.0.to_be_bytes();
    if is_v6 && frame[20] == 58 && frame[54] == NEIGHBOR_ADVERTISEMENT {
        frame[56] ^= 1;
    }
}

/// Of an untagged ARP reply.
fn nameless_reply(frame: &mut [u8]) {
    let is_arp = frame.len() >= 42 && frame[12..14] == EtherType::ARP.0.to_be_bytes();
    if is_arp && frame[20..22] == [0, 2] {
        frame[38] ^= 1;
    }
}

fn no_quoted_port(rewrite: Rewrite) -> Rewrite {
    match rewrite {
        Rewrite::InnerSrc(addr, _) => Rewrite::InnerSrc(addr, None),
        other => other,
    }
}

fn other_cause(flow: &mut FlowSpec) {
    for action in &mut flow.actions {
        if let Action::Drop { cause, .. } = action {
            *cause = DropCause::NoRoute;
        }
    }
}

fn other_zone(flow: &mut FlowSpec) {
    for action in &mut flow.actions {
        if let Action::Track { zone, .. } = action {
            zone.0 ^= 2;
        }
    }
}

fn no_reset(followed: &mut Followed) {
    if followed.class == TcpClass::Rst {
        followed.class = TcpClass::Fin;
    }
}

fn twice(all: &mut Vec<Followed>) {
    let others: Vec<_> = all.iter().filter(|it| it.class == TcpClass::Other).copied().collect();
    all.extend(others);
}

fn no_answer(asked: &mut Asked) {
    asked.key.conn = mn_flow::Conn::None;
}

fn unrelated(asked: &mut Asked) {
    let key = &mut asked.key;
    if key.nw_proto.is_icmp() && mn_packet::icmp::is_error(key.nw_proto, key.icmp_type()) {
        key.conn = mn_flow::Conn::None;
    }
}

/// A later fragment of IPv4, untagged, as if its first had not been seen.
fn no_first(asked: &mut Asked) {
    if is_v4(&asked.frame) && (asked.frame[20] & 0x1f, asked.frame[21]) != (0, 0) {
        asked.key.class.fragment = mn_flow::Fragment::Later;
    }
}

fn state(connections: &mut [Connection], from: ConnState, to: ConnState) {
    for connection in connections.iter_mut().filter(|it| it.state == from) {
        connection.state = to;
    }
}

/// Rebuilds the mask without one field.
fn unmask(flow: &mut FlowSpec, without: Field) {
    let (src, dst) = (flow.mask.nw_src_len(), flow.mask.nw_dst_len());
    let whole = |field: &Field| !matches!(field, Field::NwSrc | Field::NwDst) && *field != without;
    let kept = flow.mask.fields().filter(whole);
    let mask = kept.fold(FlowMask::NONE, |mask, field| mask | field.into());
    flow.mask = mask | FlowMask::nw_src(src) | FlowMask::nw_dst(dst);
}

fn short_prefix(flow: &mut FlowSpec) {
    let len = flow.mask.nw_dst_len();
    unmask(flow, Field::NwDst);
    let whole = flow.mask.fields().filter(|field| !matches!(field, Field::NwSrc | Field::NwDst));
    let mask = whole.fold(FlowMask::NONE, |mask, field| mask | field.into());
    let src = FlowMask::nw_src(flow.mask.nw_src_len());
    flow.mask = mask | src | FlowMask::nw_dst(len.saturating_sub(1));
}

/// Whether the frame is untagged IPv4.
fn is_v4(frame: &[u8]) -> bool {
    frame.len() >= 34 && frame[12..14] == EtherType::IPV4.0.to_be_bytes()
}

fn cut_padding(frame: &mut Vec<u8>) {
    if is_v4(frame) {
        let len = u16::from_be_bytes([frame[16], frame[17]]);
        frame.truncate(14 + usize::from(len).max(20));
    }
}

fn wrong_sum(frame: &mut [u8]) {
    if is_v4(frame) {
        frame[25] ^= 1;
    }
}

/// A checksum of all ones as 0, in an untagged IPv4 packet without options.
fn zero_udp(frame: &mut [u8]) {
    if is_v4(frame) && frame[14] == 0x45 && frame[23] == 17 && frame.len() >= 42 {
        let is_first = frame[20] & 0x1f == 0 && frame[21] == 0;
        if is_first && frame[40..42] == [0xff, 0xff] {
            frame[40..42].copy_from_slice(&[0, 0]);
        }
    }
}

fn customer_tag(frame: &mut [u8]) {
    if frame[12..14] == EtherType::QINQ.0.to_be_bytes() {
        frame[12..14].copy_from_slice(&EtherType::VLAN.0.to_be_bytes());
    }
}

fn other_key(to: &mut Output) {
    if let Output::Tunnel { key, .. } = to
        && let Some(other) = TunnelKey::new(key.kind(), key.value() ^ 1)
    {
        *key = other;
    }
}
