//! Insertions of inspecting machines.

use core::cmp::Ordering;

use mn_ids::{Id, L2InsertionId, Object, OnDelete, PortId, Reference};
use mn_packet::{Mac, VlanId};
use serde::{Deserialize, Serialize};

use super::{Invalid, References};

/// Has what a machine sends and gets inspected by another (`SI-*`): frames between a protected port
/// and the network go out by a service port first, and on when they come back there. Both ports name
/// their insertions.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct L2Insertion {
    pub id: L2InsertionId,
    /// The protected port.
    pub port_id: PortId,
    /// The port where the inspecting machine is.
    pub srv_port_id: PortId,
    /// The protected machine: frames from it and to it are inspected.
    pub mac: Mac,
    /// The VLAN that frames have on their way through the inspecting machine; 0 for no tag.
    #[serde(default)]
    pub vlan: u16,
    /// Of several insertions the one with the lowest comes first, in either direction.
    #[serde(default)]
    pub position: u32,
    /// What becomes of frames while the inspecting machine is not there: they go on without it, or
    /// vanish.
    #[serde(default)]
    pub fail_open: bool,
    /// Whether the machine is there is asked by frames that it has to send back; else it is there
    /// while its port has a link.
    #[serde(default)]
    pub heartbeat: bool,
}

impl L2Insertion {
    /// Refuses what cannot be stored.
    ///
    /// # Errors
    ///
    /// The first field that cannot be as it is.
    pub fn validate(&self) -> Result<(), Invalid> {
        let apart = self.port_id != self.srv_port_id;
        Invalid::unless(apart, "srv_port_id", self.srv_port_id, "cannot inspect itself")?;
        let single = !self.mac.is_multicast() && self.mac != Mac::ZERO;
        Invalid::unless(single, "machine.mac", self.mac, "is the address of no interface")?;
        Invalid::unless(self.vlan <= VlanId::MAX, "vlan", self.vlan, "is no VLAN")
    }

    /// The order in which frames pass the insertions of a port. Where positions are equal it is that
    /// of the service ports, the same on every host.
    #[must_use]
    pub fn order(&self, other: &Self) -> Ordering {
        let place = |it: &Self| (it.position, it.srv_port_id, it.id);
        place(self).cmp(&place(other))
    }

    /// The MAC that heartbeats of this insertion come from: a local one, of the bits of its id.
    #[must_use]
    pub const fn heartbeat_mac(&self) -> Mac {
        let [.., a, b, c, d, e] = *self.id.uuid().as_bytes();
        Mac([0x02, a, b, c, d, e])
    }
}

impl Object for L2Insertion {
    type Kind = mn_ids::L2Insertion;

    fn id(&self) -> Id<Self::Kind> {
        self.id
    }

    fn references(&self) -> Vec<Reference> {
        References::default()
            .to("port_id", [self.port_id], OnDelete::Cascade)
            .to("srv_port_id", [self.srv_port_id], OnDelete::Cascade)
            .done()
    }
}
