//! The flows by which machines find the routers next to them while no agent lives.
//!
//! A machine whose neighbour cache is empty, or that asks whether its router is there still, gets
//! no further without an answer. So the flows that answer such questions are installed before they
//! come: for every address that a machine behind a port of this host is known to speak with, and
//! every address of the routers linked to its bridge; for questions to all and to the router alone.
//! They stay while the port does, used or not: a machine may be silent for long before it asks.
//! What changes at the router's port takes them out by their tags, as it does any flow, and they are
//! entered anew as soon as it is seen.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};

use mn_agent_core::{MacPlace, limits};
use mn_datapath::worker_of;
use mn_flow::{Cookie, PortNo, extract};
use mn_ids::{BridgeId, PortId};
use mn_packet::ndp::{self, NdMessage};
use mn_packet::{Arp, EtherType, EthernetHeader, Mac, to_v6};
use mn_simulation::Packet;
use mn_time::Instant;
use mn_topology::snapshot::{BridgeView, FarEnd, Lookup};
use mn_topology::{PortKind, RouterPort};

use super::Worker;

/// Questions of one port that are foreseen: those of a handful of machines. They keep the MACs that
/// ask from being forgotten, so there must be an end.
const QUESTIONS_PER_PORT: usize = 64;

/// A question for an address of a router.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
struct Question {
    in_port: PortNo,
    mac: Mac,
    /// The address it is asked from.
    from: IpAddr,
    target: IpAddr,
    /// Who is asked alone; `None`: all.
    to: Option<Mac>,
}

/// A machine behind a port of this host.
#[derive(Clone, Copy, Debug)]
struct Machine {
    bridge: BridgeId,
    port: PortId,
    number: PortNo,
    mac: Mac,
    addr: IpAddr,
}

/// The questions that are foreseen, with their flows; none may be possible for now.
#[derive(Debug, Default)]
pub(super) struct Foreseen {
    flows: HashMap<Question, Option<Cookie>>,
    /// Something changed that they follow from.
    due: bool,
}

impl Foreseen {
    /// Something changed that questions follow from.
    pub(super) const fn note_change(&mut self) {
        self.due = true;
    }

    /// Whether something changed since this was asked last.
    pub(super) const fn take_due(&mut self) -> bool {
        std::mem::replace(&mut self.due, false)
    }
}

impl Worker {
    /// Keeps the flows of the questions that machines of this host may ask their routers, enters
    /// those that are missing, and lets go of the others.
    pub(super) fn foresee_questions(&mut self, now: Instant) {
        let mut wanted = Vec::new();
        for machine in self.machines() {
            self.questions_of(machine, &mut wanted);
        }
        let mut before = std::mem::take(&mut self.foreseen.flows);
        let mut per_port: HashMap<PortNo, usize> = HashMap::new();
        // Those that are there come first: else a crowd behind one port would take turns.
        wanted.sort_by_key(|(question, _)| !before.contains_key(question));
        for (question, port) in wanted {
            let count = per_port.entry(question.in_port).or_default();
            if *count >= QUESTIONS_PER_PORT {
                continue;
            }
            *count += 1;
            let flow = before.remove(&question).flatten();
            let flow = match flow.filter(|flow| self.flows.used_at(*flow).is_some()) {
                Some(flow) => {
                    self.flows.note_use(flow, now);
                    Some(flow)
                }
                None => self.enter_answer(&question, port, now),
            };
            self.foreseen.flows.insert(question, flow);
        }
    }

    /// The machines behind ports of this host whose addresses are known.
    fn machines(&self) -> Vec<Machine> {
        let known = self.tables.bridge_neighbors();
        let machine = |(bridge, addr, mac)| {
            let port = self.tables.mac_port(MacPlace { bridge, vlan: None, mac })?;
            let number = *self.local.ports.get(&port)?;
            Some(Machine { bridge, port, number, mac, addr })
        };
        known.filter_map(machine).collect()
    }

    /// The questions that a machine may ask, as far as they come up to this worker.
    fn questions_of(&self, machine: Machine, out: &mut Vec<(Question, PortId)>) {
        let Lookup::Loaded(bridge) = self.snapshot.bridge(machine.bridge) else { return };
        let link_local = ndp::link_local(machine.mac).into();
        // Kernels ask from there, too, though nobody may have heard it.
        let more = Some(link_local).filter(|own| machine.addr.is_ipv6() && machine.addr != *own);
        for router in self.routers_of(bridge) {
            for target in addresses(router).filter(|it| it.is_ipv4() == machine.addr.is_ipv4()) {
                for from in [Some(machine.addr), more].into_iter().flatten() {
                    let worker = worker_of(to_v6(from), to_v6(target), self.others.len());
                    if worker != self.number {
                        continue;
                    }
                    for to in [None, Some(router.mac)] {
                        let Machine { number: in_port, mac, .. } = machine;
                        let question = Question { in_port, mac, from, target, to };
                        out.push((question, machine.port));
                    }
                }
            }
        }
    }

    /// The ports of routers that are linked to a bridge.
    fn routers_of<'a>(&'a self, bridge: &'a BridgeView) -> impl Iterator<Item = &'a RouterPort> {
        let links = bridge.links().iter();
        let links = links.filter(|link| matches!(link.far, FarEnd::Router { .. }));
        links.filter_map(|link| match self.snapshot.port(link.peer) {
            Lookup::Loaded(port) => match &port.kind {
                PortKind::Router(kind) => Some(kind),
                PortKind::Bridge { .. } => None,
            },
            Lookup::Absent | Lookup::NotLoaded => None,
        })
    }

    fn enter_answer(&mut self, question: &Question, port: PortId, now: Instant) -> Option<Cookie> {
        // Others wait for room; these need none yet.
        if self.flows.is_full() {
            return None;
        }
        let frame = question.frame()?;
        let key = extract(&frame, question.in_port, None).ok()?;
        self.enter_ahead(&Packet { key, frame: &frame, gso_size: 0 }, port, now)
    }
}

/// The addresses of a router's port.
fn addresses(port: &RouterPort) -> impl Iterator<Item = IpAddr> {
    let own = port.addresses.iter().map(|own| own.addr);
    own.chain(std::iter::once(ndp::link_local(port.mac).into()))
}

impl Question {
    fn frame(&self) -> Option<Vec<u8>> {
        match (self.from, self.target) {
            (IpAddr::V4(from), IpAddr::V4(target)) => {
                let to = self.to.unwrap_or(Mac::BROADCAST);
                let ethernet = EthernetHeader::untagged(self.mac, to, EtherType::ARP);
                Some(Arp::request(self.mac, from, target).frame_in(&ethernet))
            }
            (IpAddr::V6(from), IpAddr::V6(target)) => Some(self.solicitation(from, target)),
            _ => None,
        }
    }

    fn solicitation(&self, from: Ipv6Addr, target: Ipv6Addr) -> Vec<u8> {
        let Some(to) = self.to else { return ndp::solicit(self.mac, from, target) };
        let ethernet = EthernetHeader::untagged(self.mac, to, EtherType::IPV6);
        let asked = NdMessage::NeighborSolicitation { target, source_mac: Some(self.mac) };
        asked.frame(&ethernet, from, target)
    }
}

const _: () = assert!(limits::USES_EVERY.as_secs() * 2 < limits::IDLE_FOR.as_secs());
