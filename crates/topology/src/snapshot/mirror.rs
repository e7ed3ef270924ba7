//! Mirrors compiled.

use mn_ids::{MirrorId, PortId};

use super::ConditionView;
use crate::object::Mirror;

/// A loaded mirror.
#[derive(Clone, Debug, PartialEq)]
pub struct MirrorView {
    pub id: MirrorId,
    /// Where the copies leave.
    pub to_port: PortId,
    /// A packet is copied if any of them matches.
    pub conditions: Box<[ConditionView]>,
}

impl MirrorView {
    pub(super) fn of(mirror: &Mirror) -> Self {
        Self {
            id: mirror.id,
            to_port: mirror.to_port_id,
            conditions: mirror.conditions.iter().map(ConditionView::of).collect(),
        }
    }
}
