//! Answers that come in before the message that tells of their connection: by a port of a stateful
//! group, of a connection that another host's port of the group saw begin.

use mn_agent_core::{Wait, limits};
use mn_datapath::Tuple;
use mn_flow::{Conn, Field, FlowKey};
use mn_flowstate::Shared;
use mn_simulation::{Decision, Entry};

use super::Worker;
use super::decide::Arrival;

/// What is known of the connection of a packet which the verdict at hand drops because it is of none.
pub(super) enum Sought {
    /// It is in the datapath by now.
    Found(Conn),
    /// Another host may be telling of it right now.
    Awaited,
}

impl Worker {
    /// Looks for the connection that the packet at hand would have to be of; `None` where the
    /// verdict stands.
    pub(super) fn seek_connection(
        &self,
        arrival: &Arrival<'_>,
        decision: &Decision,
    ) -> Option<Sought> {
        let (Entry::Ingress(port), key) = (arrival.entry, &arrival.key) else { return None };
        let asks = key.conn == Conn::None && decision.mask.contains(Field::Conn);
        if !asks || decision.drop.is_none() {
            return None;
        }
        let fellows = self.local.fellows.get(&port)?;
        if let Some(conn) = self.connection_of(key) {
            return Some(Sought::Found(conn));
        }
        // Those of this host are in the datapath before their packet goes out.
        let elsewhere = fellows.iter().any(|fellow| !self.local.ports.contains_key(fellow));
        (elsewhere && self.may_hold(arrival)).then_some(Sought::Awaited)
    }

    /// What a packet is to its connection, as the datapath has it now.
    fn connection_of(&self, key: &FlowKey) -> Option<Conn> {
        let (zone, tuple) = (*self.local.zones.get(&key.in_port)?, Tuple::of(key)?);
        let found = self.datapath.connection(zone, &tuple).ok()??;
        Some(found.says(&tuple, key.class.tcp)).filter(|conn| *conn != Conn::None)
    }

    /// Whether a packet may wait for what another host tells: once, and while there is room.
    pub(super) fn may_hold(&self, arrival: &Arrival<'_>) -> bool {
        let crowded = self.pending.len() > limits::PENDING_MAX / 4;
        !arrival.held && arrival.install && !crowded && self.exchange.has_peers()
    }

    /// Packets that waited for this connection go on.
    pub(super) fn release_shared(&mut self, shared: &Shared) {
        if !self.pending.any_for_state() {
            return;
        }
        let local = &self.local;
        let of = local.ports.get(&shared.port).and_then(|number| local.zones.get(number));
        if of.is_none() {
            return;
        }
        let there = tuple(shared);
        let waits = |key: &FlowKey, wait: Wait| {
            wait == Wait::State
                && local.zones.get(&key.in_port) == of
                && Tuple::of(key).is_some_and(|it| it == there || it == there.reversed())
        };
        self.released.extend(self.pending.find(|key, stay| waits(key, stay.wait)));
    }
}

const fn tuple(shared: &Shared) -> Tuple {
    let Shared { protocol, src, dst, src_port, dst_port, vlan, .. } = *shared;
    Tuple { src, dst, src_port, dst_port, protocol, vlan }
}
