//! What the whole cloud is in.

use mn_ids::{Id, Object, Reference, SystemStateId};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// The state of the system (`CL-09`, `BK-*`). There is one; where it is not stored it is the default.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub struct SystemState {
    pub activity: Activity,
    pub availability: Availability,
}

/// What operators are doing with the system. For people: nothing depends on it.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Activity {
    #[default]
    Active,
    Upgrade,
}

/// What the API does.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Availability {
    #[default]
    ReadWrite,
    /// Whatever would change the topology is refused: for backups that belong together.
    ReadOnly,
}

impl SystemState {
    /// The identifier of the one that there is.
    pub const ID: SystemStateId = SystemStateId::from_uuid(Uuid::from_u128(1));
}

impl Object for SystemState {
    type Kind = mn_ids::SystemState;

    fn id(&self) -> Id<Self::Kind> {
        Self::ID
    }

    fn references(&self) -> Vec<Reference> {
        Vec::new()
    }
}
