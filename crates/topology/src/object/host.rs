//! Hosts.

use mn_ids::{HostId, Id, Object, Reference};
use serde::{Deserialize, Serialize};

use super::Invalid;

/// A machine that runs an agent (`HO-*`). Whether it is alive and which interfaces it has is state
/// that its agent reports, not part of this.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub struct Host {
    pub id: HostId,
    pub name: String,
    #[serde(default = "one")]
    pub flooding_proxy_weight: u16,
    #[serde(default = "one_u32")]
    pub container_weight: u32,
    /// −1 for none.
    #[serde(default = "minus_one")]
    pub container_limit: i32,
    #[serde(default)]
    pub enforce_container_limit: bool,
}

const fn one() -> u16 {
    1
}

const fn one_u32() -> u32 {
    1
}

const fn minus_one() -> i32 {
    -1
}

impl Host {
    /// A host with the tunables' defaults.
    #[must_use]
    pub fn new(id: HostId, name: String) -> Self {
        Self {
            id,
            name,
            flooding_proxy_weight: 1,
            container_weight: 1,
            container_limit: -1,
            enforce_container_limit: false,
        }
    }
}

impl Host {
    /// Refuses what cannot be stored.
    ///
    /// # Errors
    ///
    /// The first field that cannot be as it is.
    pub fn validate(&self) -> Result<(), Invalid> {
        Invalid::in_required_name(&self.name)?;
        let limit = self.container_limit;
        Invalid::unless(limit >= -1, "container_limit", limit, "must be at least -1")
    }
}

impl Object for Host {
    type Kind = mn_ids::Host;

    fn id(&self) -> Id<Self::Kind> {
        self.id
    }

    fn references(&self) -> Vec<Reference> {
        Vec::new()
    }
}
