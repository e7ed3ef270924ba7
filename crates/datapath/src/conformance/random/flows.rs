//! Random flows.

use std::net::IpAddr;

use mn_flow::{Action, Cookie, DropCause, Field, FlowKey, FlowMask, Rewrite, Zone};
use mn_packet::{EtherType, from_v6};

use super::packets::{random_mac, random_tag, random_v4, random_v6};
use super::rng::Rng;
use super::world::{GONE, GROUPS, METERS, PEERS, PORTS, ZONES, group_key, port_key};
use crate::FlowSpec;

/// A random flow that matches packets like the one of this key.
#[must_use]
pub fn random_flow(rng: &mut Rng, key: FlowKey, cookie: Cookie) -> FlowSpec {
    let mask = random_mask(rng);
    let count = 1 + rng.below(6);
    let mut actions: Vec<_> = (0..count).map(|_| random_action(rng, &key)).collect();
    if !rng.one_in(8) {
        actions.push(random_output(rng));
    }
    // Few packets are questions, and what is none takes no flow that answers.
    if rng.one_in(if key.is_arp_request() || key.is_solicitation() { 2 } else { 200 }) {
        let answer = Rewrite::Answer { mac: random_mac(rng), router: rng.one_in(2) };
        actions.insert(rng.below(2), Action::Rewrite(answer));
    }
    if rng.one_in(3) {
        let zone = PORTS.iter().position(|(port, _)| *port == key.in_port).map(|at| ZONES[at]);
        let track = Action::Track { zone: zone.unwrap_or(Zone(0)), port: key.in_port };
        actions.insert(rng.below(2), track);
    }
    if rng.one_in(4) {
        // Behind another action it does nothing.
        actions.insert(rng.below(4) / 3, Action::Follow);
    }
    FlowSpec { cookie, key, mask, actions }
}

fn random_mask(rng: &mut Rng) -> FlowMask {
    match rng.below(4) {
        0 => FlowMask::all(),
        1 => Field::InPort.into(),
        _ => {
            let mut mask = FlowMask::from(Field::InPort);
            for field in Field::ALL {
                if rng.one_in(3) {
                    mask |= match field {
                        Field::NwSrc => FlowMask::nw_src(rng.below(129) as u8),
                        Field::NwDst => FlowMask::nw_dst(rng.below(129) as u8),
                        whole => whole.into(),
                    };
                }
            }
            mask
        }
    }
}

fn random_action(rng: &mut Rng, key: &FlowKey) -> Action {
    match rng.below(20) {
        0..14 => Action::Rewrite(random_rewrite(rng, key)),
        14 => Action::Track { zone: Zone(rng.below(4) as u32), port: key.in_port },
        15 => Action::Meter(rng.below(METERS as usize) as u32),
        16 => Action::Copy { one_in: 1 },
        17 if rng.one_in(3) => {
            let cause = rng.pick(&[DropCause::Rule, DropCause::Blackhole, DropCause::Consumed]);
            let rule = rng.one_in(2).then(|| RULE.parse().expect("it is an id"));
            Action::Drop { cause, rule }
        }
        _ => random_output(rng),
    }
}

/// A rule that drops.
const RULE: &str = "6a0b3e9c-58a1-4a53-9d3e-0f3f6c1d2b4a";

fn random_output(rng: &mut Rng) -> Action {
    match rng.below(8) {
        0 => Action::Outputs(rng.pick(&GROUPS)),
        1 | 2 => {
            let key = if rng.one_in(2) { port_key(rng.u16().into()) } else { group_key(1) };
            Action::Tunnel { peer: rng.pick(&PEERS), key }
        }
        3 if rng.one_in(4) => Action::Output(GONE),
        _ => Action::Output(rng.pick(&PORTS).0),
    }
}

/// An address, mostly of the version that the packet has, often one that it has already: then
/// checksums come out as they went in, edges too.
fn random_addr(rng: &mut Rng, key: &FlowKey) -> IpAddr {
    if rng.one_in(4) {
        return from_v6(rng.pick(&[key.nw_src, key.nw_dst]));
    }
    let is_v4 = (key.eth_type == EtherType::IPV4) != rng.one_in(30);
    if is_v4 {
        return random_v4(rng).into();
    }
    // A mapped address would be IPv4 to the actions.
    let addr = random_v6(rng);
    if addr.to_ipv4_mapped().is_some() { std::net::Ipv6Addr::LOCALHOST.into() } else { addr.into() }
}

/// A rewrite that mostly fits the packet.
fn random_rewrite(rng: &mut Rng, key: &FlowKey) -> Rewrite {
    let addr = random_addr(rng, key);
    let new = rng.u16();
    let port = rng.pick(&[new, new, key.tp_src, key.tp_dst]);
    let is_icmp = key.nw_proto.is_icmp();
    let any = rng.one_in(30);
    match rng.below(15) {
        0 => Rewrite::EthSrc(random_mac(rng)),
        1 => Rewrite::EthDst(random_mac(rng)),
        2 | 3 if any || key.eth_type != EtherType::ARP => {
            if rng.one_in(2) {
                Rewrite::NwSrc(addr)
            } else {
                Rewrite::NwDst(addr)
            }
        }
        4 => Rewrite::NwTos(rng.u8()),
        5 | 6 if any || key.nw_proto.has_ports() => {
            if rng.one_in(2) {
                Rewrite::TpSrc(port)
            } else {
                Rewrite::TpDst(port)
            }
        }
        5 | 6 if is_icmp => Rewrite::IcmpId(port),
        7..10 if any || is_icmp => {
            let port = rng.one_in(2).then_some(port);
            if rng.one_in(2) {
                Rewrite::InnerSrc(addr, port)
            } else {
                Rewrite::InnerDst(addr, port)
            }
        }
        10 | 11 => Rewrite::DecTtl,
        12 if any || key.vlan.is_present() => Rewrite::PopVlan,
        13 => Rewrite::PushVlan(random_tag(rng)),
        _ if rng.one_in(2) => Rewrite::EthSrc(random_mac(rng)),
        _ => Rewrite::EthDst(random_mac(rng)),
    }
}
