//! Which policy of service quality a port is held to.

use mn_ids::{PortId, QosPolicyId};

use super::{Lookup, Snapshot};
use crate::object::{BandwidthLimit, DeviceId, Port, QosDirection};

/// How much a bound port carries.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Bandwidth {
    /// Of what the machine behind it sends.
    pub sent: Option<BandwidthLimit>,
    /// Of what the machine gets.
    pub received: Option<BandwidthLimit>,
}

impl Snapshot {
    /// The policy that a port is held to: its own, else that of its bridge (`QO-02`). Ports that are
    /// not bound are held to none: nothing enters or leaves the network there. The outer `None`
    /// where that is not known, for want of the bridge.
    #[must_use]
    pub fn policy_of(&self, port: &Port) -> Option<Option<QosPolicyId>> {
        if port.binding().is_none() {
            return Some(None);
        }
        match (port.qos_policy_id, port.device()) {
            (None, DeviceId::Bridge(id)) => match self.bridge(id) {
                Lookup::Loaded(bridge) => Some(bridge.qos_policy_id),
                Lookup::Absent => Some(None),
                Lookup::NotLoaded => None,
            },
            (own, _) => Some(own),
        }
    }

    /// How much a port carries; `None` where that is not loaded.
    #[must_use]
    pub fn bandwidth_of(&self, port: PortId) -> Option<Bandwidth> {
        let Lookup::Loaded(port) = self.port(port) else { return None };
        let Some(id) = self.policy_of(port)? else { return Some(Bandwidth::default()) };
        match self.qos_policy(id) {
            Lookup::Loaded(policy) => Some(Bandwidth {
                sent: policy.limit(QosDirection::Egress),
                received: policy.limit(QosDirection::Ingress),
            }),
            Lookup::Absent => Some(Bandwidth::default()),
            Lookup::NotLoaded => None,
        }
    }
}
