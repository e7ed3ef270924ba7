//! Mirrors.

use mn_ids::{Id, MirrorId, Object, OnDelete, PortId, Reference};
use serde::{Deserialize, Serialize};

use super::{Condition, Invalid, References};

/// Copies packets to a port (`MR-*`). Ports, bridges and routers name the mirrors of each of their
/// hooks.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub struct Mirror {
    pub id: MirrorId,
    /// Where the copies leave. Without the port the mirror goes too.
    pub to_port_id: PortId,
    /// A packet is copied if any of them matches; without any none is.
    #[serde(default)]
    pub conditions: Vec<Condition>,
}

impl Mirror {
    /// Refuses what cannot be stored.
    ///
    /// # Errors
    ///
    /// The first field that cannot be as it is.
    pub fn validate(&self) -> Result<(), Invalid> {
        self.conditions.iter().try_for_each(Condition::validate)
    }
}

impl Object for Mirror {
    type Kind = mn_ids::Mirror;

    fn id(&self) -> Id<Self::Kind> {
        self.id
    }

    fn references(&self) -> Vec<Reference> {
        let own = References::default().to("to_port_id", [self.to_port_id], OnDelete::Cascade);
        let add =
            |references, condition: &Condition| condition.references("conditions", references);
        self.conditions.iter().fold(own, add).done()
    }
}
