//! VLANs of bridges' links: each is that of one link (`L2-01`). Access ports share theirs.

use mn_topology::{Bridge, DeviceId, Port};

use super::db::{Changes, Db};
use super::problem::Problem;

/// Takes the VLAN of a port that is linked for its bridge, if no other link has it.
///
/// The bridge is written unchanged: of two requests for one VLAN, one must see the other.
pub async fn claim(db: &Db, changes: Changes, port: &Port) -> Result<Changes, Problem> {
    let (Some(vlan), DeviceId::Bridge(bridge), Some(_)) =
        (port.vlan(), port.device(), port.peer_id)
    else {
        return Ok(changes);
    };
    let bridge = db.get::<Bridge>(bridge).await?;
    let others = db.referrers::<Port>(bridge.object.id).await?;
    let taken = others.iter().map(|found| &found.object).find(|other| {
        other.id != port.id
            && other.peer_id.is_some()
            && other.device() == port.device()
            && other.vlan() == Some(vlan)
    });
    match taken {
        Some(other) => {
            let reason = format!("is that of the bridge's link at port {} already", other.id);
            Err(Problem::taken("vlanId", vlan.get(), reason))
        }
        None => Ok(changes.update(&bridge)),
    }
}
