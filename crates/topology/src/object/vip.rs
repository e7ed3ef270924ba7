//! Virtual addresses.

use core::net::IpAddr;
use core::num::{NonZeroU16, NonZeroU32};

use mn_ids::{Id, LoadBalancerId, Object, OnDelete, PoolId, Reference, VipId};
use serde::{Deserialize, Serialize};

use super::pool_member::in_service_address;
use super::{Invalid, LbProtocol, References, yes};

/// An address and port whose connections the members of a pool take (`LB-03`).
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub struct Vip {
    pub id: VipId,
    pub pool_id: PoolId,
    /// The pool's, repeated so that all virtual addresses of a load balancer are found at once.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub load_balancer_id: Option<LoadBalancerId>,
    #[serde(default = "yes")]
    pub admin_state_up: bool,
    pub address: IpAddr,
    /// The pool's, repeated so that a virtual address is found without its pool.
    #[serde(default)]
    pub protocol: LbProtocol,
    pub protocol_port: NonZeroU16,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub session_persistence: Option<SessionPersistence>,
    /// The most connections at a time; more are refused.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub connection_limit: Option<NonZeroU32>,
}

/// What keeps a client's connections on one member.
#[derive(Clone, Copy, Debug, Deserialize, Eq, Hash, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum SessionPersistence {
    /// All connections from one address go to one member (`LB-07`).
    SourceIp,
}

impl Vip {
    /// Refuses what cannot be stored.
    ///
    /// # Errors
    ///
    /// The first field that cannot be as it is.
    pub fn validate(&self) -> Result<(), Invalid> {
        in_service_address(self.address)
    }
}

impl Object for Vip {
    type Kind = mn_ids::Vip;

    fn id(&self) -> Id<Self::Kind> {
        self.id
    }

    fn references(&self) -> Vec<Reference> {
        References::default()
            .to("pool_id", [self.pool_id], OnDelete::Cascade)
            .to("load_balancer_id", self.load_balancer_id, OnDelete::Cascade)
            .done()
    }
}
