//! Service quality: what machines send is marked where it enters the network (`QO-*`, agent-facts
//! §8). How much they send is the datapath's matter.

use mn_flow::Tag;
use mn_packet::EtherType;
use mn_topology::snapshot::Lookup;
use mn_topology::{DeviceId, Port, QosDirection, QosPolicy};

use crate::StateView;
use crate::branch::Branch;
use crate::simulate::{Sim, Stop};
use crate::walk::Step;

/// The bits of the TOS octet, or traffic class, that are not of the code point: congestion
/// notification (RFC 3168 §5).
const ECN: u8 = 0b11;

impl<S: StateView + ?Sized> Sim<'_, S> {
    /// Marks an IP packet that enters the network by a bound port. What an inspecting machine sends
    /// back was marked where it entered.
    pub(crate) fn mark(&mut self, branch: &mut Branch, port: &Port) -> Result<(), Stop> {
        if port.binding().is_none() {
            return Ok(());
        }
        if let (None, DeviceId::Bridge(id)) = (port.qos_policy_id, port.device()) {
            self.tag(Tag::Bridge(id));
            self.found(self.snapshot.bridge(id), id)?;
        }
        let Some(Some(id)) = self.snapshot.policy_of(port) else { return Ok(()) };
        self.tag(Tag::QosPolicy(id));
        let policy: &QosPolicy = match self.snapshot.qos_policy(id) {
            Lookup::Absent => return Ok(()),
            lookup => self.found(lookup, id)?,
        };
        let is_ip = matches!(branch.packet.eth_type(), EtherType::IPV4 | EtherType::IPV6);
        let dscp = policy.mark().filter(|_| is_ip && !port.is_service());
        let limit = policy.limit(QosDirection::Egress);
        if dscp.is_some() || limit.is_some() {
            self.note(|| Step::Held { port: port.id, policy: id, dscp, limit });
        }
        if let Some(dscp) = dscp {
            let other = branch.packet.nw_tos() & ECN;
            branch.packet.set_nw_tos(dscp << 2 | other);
        }
        Ok(())
    }

    /// Tells how much may go out by a bound port.
    pub(crate) fn tell_limit(&mut self, port: &Port) {
        let snapshot = self.snapshot;
        let Some(Some(policy)) = snapshot.policy_of(port) else { return };
        let Lookup::Loaded(object) = snapshot.qos_policy(policy) else { return };
        if let Some(limit) = object.limit(QosDirection::Ingress) {
            let (port, dscp) = (port.id, None);
            self.note(|| Step::Held { port, policy, dscp, limit: Some(limit) });
        }
    }
}
