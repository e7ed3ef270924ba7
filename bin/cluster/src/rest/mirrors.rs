//! Mirrors.

use mn_api_types::{self as api, Media};
use mn_ids::MirrorId;
use mn_topology::{Condition, FragmentPolicy, Mirror};

use super::conditions;
use super::endpoint::Resource;
use super::exposed::{Exposed, create, delete_if_there, list, read, update};
use super::links::Links;
use super::problem::Problem;

pub fn resource() -> Resource {
    Resource::new(Media::MIRROR, &api::Mirror::DESCRIPTION)
        .top("mirrors", Some("mirrors"), Some("mirrorTemplate"))
        .list("/mirrors", list::<Mirror>)
        .create("/mirrors", create::<Mirror>)
        .read("/mirrors/{id}", read::<Mirror>)
        .update("/mirrors/{id}", update::<Mirror>)
        .delete("/mirrors/{id}", delete_if_there::<Mirror>)
}

impl Exposed for Mirror {
    type Document = api::Mirror;
    const COLLECTION: &'static str = "mirrors";

    fn chosen_id(sent: &api::Mirror) -> Option<MirrorId> {
        sent.id
    }

    fn from_document(id: MirrorId, sent: api::Mirror, _old: Option<Self>) -> Result<Self, Problem> {
        let to_port_id = sent.to_port_id.ok_or_else(|| Problem::required("toPortId"))?;
        let conditions = sent.conditions.iter().map(condition).collect::<Result<_, _>>()?;
        let mirror = Self { id, to_port_id, conditions };
        mirror.validate()?;
        Ok(mirror)
    }

    fn to_document(&self, links: &Links) -> api::Mirror {
        api::Mirror {
            id: Some(self.id),
            to_port_id: Some(self.to_port_id),
            conditions: self.conditions.iter().map(conditions::to_api).collect(),
            uri: Some(links.object("mirrors", self.id)),
        }
    }
}

/// Reads a condition. Of one that names ports later fragments cannot be asked.
fn condition(sent: &api::Condition) -> Result<Condition, Problem> {
    let mut condition = conditions::from_api(sent)?;
    condition.fragment_policy = match sent.fragment_policy {
        Some(policy) => conditions::stored_policy(policy),
        None if condition.reads_ports() => FragmentPolicy::Header,
        None => FragmentPolicy::Any,
    };
    Ok(condition)
}
