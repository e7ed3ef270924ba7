//! Bridges.

use mn_ids::{BridgeId, ChainId, Id, MirrorId, Object, OnDelete, QosPolicyId, Reference};
use serde::{Deserialize, Serialize};

use super::{Invalid, References, yes};

/// A layer 2 virtual switch (`DV-*`).
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub struct Bridge {
    pub id: BridgeId,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tenant_id: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    #[serde(default = "yes")]
    pub admin_state_up: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub inbound_filter_id: Option<ChainId>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub outbound_filter_id: Option<ChainId>,
    /// Mirrors of what comes in, before the inbound filter.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub inbound_mirror_ids: Vec<MirrorId>,
    /// Mirrors of what goes out, after the outbound filter.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub outbound_mirror_ids: Vec<MirrorId>,
    /// What its bound ports are held to that have no policy of their own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub qos_policy_id: Option<QosPolicyId>,
}

impl Bridge {
    /// Refuses what cannot be stored.
    ///
    /// # Errors
    ///
    /// The first field that cannot be as it is.
    pub fn validate(&self) -> Result<(), Invalid> {
        Invalid::in_name(self.name.as_deref())
    }

    /// The filters of what comes in and of what goes out.
    #[must_use]
    pub const fn filters(&self) -> [Option<ChainId>; 2] {
        [self.inbound_filter_id, self.outbound_filter_id]
    }

    /// The mirrors of what comes in and of what goes out.
    #[must_use]
    pub fn mirrors(&self) -> [&[MirrorId]; 2] {
        [&self.inbound_mirror_ids, &self.outbound_mirror_ids]
    }
}

impl Object for Bridge {
    type Kind = mn_ids::Bridge;

    fn id(&self) -> Id<Self::Kind> {
        self.id
    }

    fn references(&self) -> Vec<Reference> {
        References::default()
            .to("inbound_filter_id", self.inbound_filter_id, OnDelete::Clear)
            .to("outbound_filter_id", self.outbound_filter_id, OnDelete::Clear)
            .to("inbound_mirror_ids", self.inbound_mirror_ids.iter().copied(), OnDelete::Clear)
            .to("outbound_mirror_ids", self.outbound_mirror_ids.iter().copied(), OnDelete::Clear)
            .to("qos_policy_id", self.qos_policy_id, OnDelete::Clear)
            .done()
    }
}
