//! The device or host that a path is about.

use mn_ids::{BridgeId, HostId, RouterId};
use mn_topology::{Bridge, Host, Router};

use super::call::Call;
use super::problem::Problem;

/// The bridge in the path, which must be there.
pub async fn bridge(call: &Call) -> Result<BridgeId, Problem> {
    Ok(call.db.get::<Bridge>(call.id("id")?).await?.object.id)
}

/// The router in the path, which must be there.
pub async fn router(call: &Call) -> Result<RouterId, Problem> {
    Ok(call.db.get::<Router>(call.id("id")?).await?.object.id)
}

/// The host in the path, which must be there.
pub async fn host(call: &Call) -> Result<HostId, Problem> {
    Ok(call.db.get::<Host>(call.id("id")?).await?.object.id)
}
