//! Members of pools.

use core::net::IpAddr;
use core::num::{NonZeroU16, NonZeroU32};

use mn_ids::{Id, Object, OnDelete, PoolId, PoolMemberId, Reference};
use serde::{Deserialize, Serialize};

use super::{Invalid, References, yes};

/// A server of a pool (`LB-02`).
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub struct PoolMember {
    pub id: PoolMemberId,
    pub pool_id: PoolId,
    /// Down: it keeps its connections and gets no new ones (`LB-08`).
    #[serde(default = "yes")]
    pub admin_state_up: bool,
    pub address: IpAddr,
    pub protocol_port: NonZeroU16,
    /// Its share of new connections, relative to the others'.
    #[serde(default = "one")]
    pub weight: NonZeroU32,
}

/// What the last checks of a member came to.
#[derive(Clone, Copy, Debug, Deserialize, Eq, Hash, PartialEq, Serialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum Health {
    /// It answers.
    Active,
    /// It failed as often in a row as its monitor allows.
    Inactive,
}

const fn one() -> NonZeroU32 {
    NonZeroU32::MIN
}

impl PoolMember {
    /// Refuses what cannot be stored.
    ///
    /// # Errors
    ///
    /// The first field that cannot be as it is.
    pub fn validate(&self) -> Result<(), Invalid> {
        in_service_address(self.address)
    }
}

/// Refuses what connections cannot be made to.
pub(super) fn in_service_address(addr: IpAddr) -> Result<(), Invalid> {
    let broadcast = addr == IpAddr::V4(core::net::Ipv4Addr::BROADCAST);
    let usable = !(addr.is_unspecified() || addr.is_multicast() || addr.is_loopback() || broadcast);
    Invalid::unless(usable, "address", addr, "is no address that a server can have")
}

impl Object for PoolMember {
    type Kind = mn_ids::PoolMember;

    fn id(&self) -> Id<Self::Kind> {
        self.id
    }

    fn references(&self) -> Vec<Reference> {
        References::default().to("pool_id", [self.pool_id], OnDelete::Cascade).done()
    }
}
