//! Policies of service quality. Their rules are stored with them.

use mn_api_types::{self as api, Media};
use mn_ids::QosPolicyId;
use mn_topology::QosPolicy;

use super::call::Call;
use super::db::Changes;
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

    /// An id names one rule, whichever policy has it.
    async fn fit(&self, call: &Call, changes: Changes) -> Result<Changes, Problem> {
        if self.rules.is_empty() {
            return Ok(changes);
        }
        let own = |id| self.rules.iter().any(|rule| rule.id == id);
        for other in call.db.list::<Self>().await? {
            let other = other.object;
            let same = other.rules.iter().find(|rule| other.id != self.id && own(rule.id));
            if let Some(same) = same {
                let reason = format!("is the id of a rule of policy {}", other.id);
                return Err(Problem::taken("rules.id", same.id.to_string(), reason));
            }
        }
        Ok(changes)
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
