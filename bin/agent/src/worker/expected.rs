//! Answers that come in on another host than the one that translates: that is told where the packet
//! leaves, and installs the answer's flow before it comes, so that a connection costs one upcall.

use mn_flow::{Conn, FlowKey, VirtualAction};
use mn_flowstate::{Left, Record};
use mn_ids::HostId;
use mn_packet::{VlanTag, eth_type_of, from_v6};
use mn_simulation::nat::NatBinding;
use mn_simulation::{Answer, answer, answer_to};
use mn_time::Instant;

use super::Worker;
use super::decide::host_of;

impl Worker {
    /// Tells hosts of a translation; the one where the packet of this key leaves of that, too, in one
    /// go.
    pub(super) fn tell_made(
        &self,
        key: Option<&FlowKey>,
        binding: NatBinding,
        to: &[HostId],
        now: Instant,
    ) {
        let made = Record::Made(binding);
        let leaves = key.and_then(|key| self.leaves_at(key));
        let Some((host, left)) = leaves.filter(|(host, _)| to.contains(host)) else {
            return self.exchange.tell(to, &[made], now);
        };
        let others: Vec<HostId> = to.iter().copied().filter(|other| *other != host).collect();
        self.exchange.tell(&[host], &[made, Record::Left(left)], now);
        if !others.is_empty() {
            self.exchange.tell(&others, &[made], now);
        }
    }

    /// The other host by whose port alone the packet at hand leaves, and how it does.
    fn leaves_at(&self, key: &FlowKey) -> Option<(HostId, Left)> {
        let Answer { port, left, .. } = answer(key, &self.buffers.actions)?;
        if left.inner_vlan.is_present() || self.local.ports.contains_key(&port) {
            return None;
        }
        let left = Left {
            port,
            tracked: self.buffers.actions.contains(&VirtualAction::Track),
            protocol: left.nw_proto,
            src: left.nw_src,
            dst: left.nw_dst,
            src_port: left.tp_src,
            dst_port: left.tp_dst,
            eth_dst: left.eth_dst,
            eth_src: left.eth_src,
            vlan: left.vlan.is_present().then(|| left.vlan.wire() & 0xfff),
        };
        Some((host_of(&self.snapshot, port)?, left))
    }

    /// Installs the flow of the answer to a packet that leaves by a port here.
    pub(super) fn expect_answer(&mut self, left: &Left, now: Instant) {
        // Others wait for room; this needs none yet.
        if self.flows.is_full() {
            return;
        }
        let Some(number) = self.local.ports.get(&left.port).copied() else { return };
        let Some(frame) = answer_to(&key_of(left)) else { return };
        self.enter_answer_ahead(&frame, (left.port, number), left.tracked, now);
    }
}

fn key_of(left: &Left) -> FlowKey {
    FlowKey {
        eth_dst: left.eth_dst,
        eth_src: left.eth_src,
        eth_type: eth_type_of(from_v6(left.src)),
        vlan: left.vlan.map_or(VlanTag::NONE, |vlan| VlanTag::from_wire(vlan & 0xfff)),
        nw_src: left.src,
        nw_dst: left.dst,
        nw_proto: left.protocol,
        tp_src: left.src_port,
        tp_dst: left.dst_port,
        conn: Conn::None,
        ..FlowKey::default()
    }
}
