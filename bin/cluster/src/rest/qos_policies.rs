//! Policies of service quality. Their rules are stored with them.

use mn_api_types::{self as api, Media};
use mn_ids::QosPolicyId;
use mn_topology::QosPolicy;

use super::endpoint::Resource;
use super::exposed::{Exposed, create, delete_if_there, list, read, update};
use super::links::Links;
use super::problem::Problem;
use super::qos_rules::embedded;

pub fn resource() -> Resource {
    Resource::new(Media::QOS_POLICY, &api::QosPolicy::DESCRIPTION)
        .top("qos_policies", Some("qosPolicies"), Some("qosPolicyTemplate"))
        .list("/qos_policies", list::<QosPolicy>)
        .create("/qos_policies", create::<QosPolicy>)
        .read("/qos_policies/{id}", read::<QosPolicy>)
        .update("/qos_policies/{id}", update::<QosPolicy>)
        .delete("/qos_policies/{id}", delete_if_there::<QosPolicy>)
}

impl Exposed for QosPolicy {
    type Document = api::QosPolicy;
    const COLLECTION: &'static str = "qos_policies";

    fn chosen_id(sent: &api::QosPolicy) -> Option<QosPolicyId> {
        sent.id
    }

    /// Rules that are not sent stay (api-facts §4.16).
    fn from_document(
        id: QosPolicyId,
        sent: api::QosPolicy,
        old: Option<Self>,
    ) -> Result<Self, Problem> {
        let rules = match sent.rules {
            Some(rules) => rules.iter().map(embedded).collect::<Result<_, _>>()?,
            None => old.map(|old| old.rules).unwrap_or_default(),
        };
        let policy = Self {
            id,
            tenant_id: sent.tenant_id,
            name: sent.name,
            description: sent.description,
            shared: sent.shared,
            rules,
        };
        policy.validate()?;
        Ok(policy)
    }

    fn to_document(&self, links: &Links) -> api::QosPolicy {
        let uri = links.object("qos_policies", self.id);
        api::QosPolicy {
            id: Some(self.id),
            name: self.name.clone(),
            description: self.description.clone(),
            shared: self.shared,
            tenant_id: self.tenant_id.clone(),
            rules: None,
            bw_limit_rules: Some(format!("{uri}/qos_bw_limit_rules")),
            dscp_rules: Some(format!("{uri}/qos_dscp_rules")),
            uri: Some(uri),
        }
    }
}
