//! Groups that rules refer to.

use core::net::IpAddr;

use mn_ids::{Id, IpAddrGroupId, Object, OnDelete, PortGroupId, PortId, Reference};
use serde::{Deserialize, Serialize};

use super::{Invalid, References};

/// A set of single addresses, both versions.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub struct IpAddrGroup {
    pub id: IpAddrGroupId,
    pub name: String,
    /// Sorted, each once.
    #[serde(default)]
    pub addrs: Vec<IpAddr>,
}

impl IpAddrGroup {
    /// Refuses what cannot be stored.
    ///
    /// # Errors
    ///
    /// The first field that cannot be as it is.
    pub fn validate(&self) -> Result<(), Invalid> {
        Invalid::in_required_name(&self.name)
    }
}

impl Object for IpAddrGroup {
    type Kind = mn_ids::IpAddrGroup;

    fn id(&self) -> Id<Self::Kind> {
        self.id
    }

    fn references(&self) -> Vec<Reference> {
        Vec::new()
    }
}

/// A set of ports (`PG-*`).
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub struct PortGroup {
    pub id: PortGroupId,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tenant_id: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// Its members share flow state.
    #[serde(default)]
    pub stateful: bool,
    /// Sorted, each once.
    #[serde(default)]
    pub port_ids: Vec<PortId>,
}

impl PortGroup {
    /// Refuses what cannot be stored.
    ///
    /// # Errors
    ///
    /// The first field that cannot be as it is.
    pub fn validate(&self) -> Result<(), Invalid> {
        Invalid::in_name(self.name.as_deref())
    }
}

impl Object for PortGroup {
    type Kind = mn_ids::PortGroup;

    fn id(&self) -> Id<Self::Kind> {
        self.id
    }

    fn references(&self) -> Vec<Reference> {
        References::default().to("port_ids", self.port_ids.iter().copied(), OnDelete::Clear).done()
    }
}
