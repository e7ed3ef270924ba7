//! Tunnel zones.

use core::net::IpAddr;

use mn_ids::{HostId, Id, Object, OnDelete, Reference, TunnelZoneId};
use serde::{Deserialize, Serialize};

use super::{Invalid, References};

/// A set of hosts that tunnel to one another (`TZ-*`).
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub struct TunnelZone {
    pub id: TunnelZoneId,
    pub name: String,
    pub kind: TunnelZoneKind,
    /// One entry a host at most.
    #[serde(default)]
    pub members: Vec<TunnelZoneMember>,
}

/// How the hosts of a zone tunnel.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum TunnelZoneKind {
    Gre,
    Vxlan,
    Vtep,
}

/// A host of a zone and its address on the underlay.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct TunnelZoneMember {
    pub host_id: HostId,
    pub addr: IpAddr,
}

impl TunnelZone {
    /// Refuses what cannot be stored.
    ///
    /// # Errors
    ///
    /// The first field that cannot be as it is.
    pub fn validate(&self) -> Result<(), Invalid> {
        Invalid::in_required_name(&self.name)?;
        for (index, member) in self.members.iter().enumerate() {
            let addr = member.addr;
            let usable = !(addr.is_unspecified() || addr.is_multicast() || addr.is_loopback());
            Invalid::unless(usable, "members.addr", addr, "is no address of a host")?;
            let mut earlier = self.members[..index].iter();
            let taken = earlier.any(|other| other.addr == addr);
            Invalid::unless(!taken, "members.addr", addr, "is the address of another member")?;
        }
        Ok(())
    }
}

impl Object for TunnelZone {
    type Kind = mn_ids::TunnelZone;

    fn id(&self) -> Id<Self::Kind> {
        self.id
    }

    fn references(&self) -> Vec<Reference> {
        let hosts = self.members.iter().map(|member| member.host_id);
        References::default().to("members.host_id", hosts, OnDelete::Clear).done()
    }
}
