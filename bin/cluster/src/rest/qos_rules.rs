//! Rules of policies of service quality, of each kind by itself.

use std::num::NonZeroU32;
use std::sync::Arc;

use mn_api_types::{self as api, Described, Media};
use mn_ids::QosPolicyId;
use mn_topology::{QosDirection, QosPolicy, QosRule, QosRuleKind};
use serde::Serialize;
use serde::de::DeserializeOwned;
use uuid::Uuid;

use super::call::{Answer, Call};
use super::db::{Changes, Found};
use super::endpoint::Resource;
use super::links::Links;
use super::problem::Problem;

pub fn limit_resource() -> Resource {
    Resource::new(Media::QOS_BW_LIMIT_RULE, &api::QosBwLimitRule::DESCRIPTION)
        .top("qos_bw_limit_rules", None, Some("qosBwLimitRuleTemplate"))
        .list("/qos_policies/{id}/qos_bw_limit_rules", list::<api::QosBwLimitRule>)
        .create("/qos_policies/{id}/qos_bw_limit_rules", create::<api::QosBwLimitRule>)
        .read("/qos_bw_limit_rules/{id}", read::<api::QosBwLimitRule>)
        .update("/qos_bw_limit_rules/{id}", update::<api::QosBwLimitRule>)
        .delete("/qos_bw_limit_rules/{id}", delete::<api::QosBwLimitRule>)
}

pub fn mark_resource() -> Resource {
    Resource::new(Media::QOS_DSCP_RULE, &api::QosDscpRule::DESCRIPTION)
        .top("qos_dscp_rules", None, Some("qosDscpRuleTemplate"))
        .list("/qos_policies/{id}/qos_dscp_rules", list::<api::QosDscpRule>)
        .create("/qos_policies/{id}/qos_dscp_rules", create::<api::QosDscpRule>)
        .read("/qos_dscp_rules/{id}", read::<api::QosDscpRule>)
        .update("/qos_dscp_rules/{id}", update::<api::QosDscpRule>)
        .delete("/qos_dscp_rules/{id}", delete::<api::QosDscpRule>)
}

/// The document of one kind of rule.
trait Rule: Described + DeserializeOwned + Serialize + Send {
    const COLLECTION: &'static str;

    fn chosen_id(&self) -> Option<Uuid>;

    fn policy_id(&self) -> Option<QosPolicyId>;

    fn kind(&self) -> Result<QosRuleKind, Problem>;

    /// `None` where the rule is of the other kind.
    fn of(policy: &QosPolicy, rule: &QosRule, links: &Links) -> Option<Self>;
}

impl Rule for api::QosBwLimitRule {
    const COLLECTION: &'static str = "qos_bw_limit_rules";

    fn chosen_id(&self) -> Option<Uuid> {
        self.id
    }

    fn policy_id(&self) -> Option<QosPolicyId> {
        self.policy_id
    }

    fn kind(&self) -> Result<QosRuleKind, Problem> {
        limit(["maxKbps", "maxBurstKb"], self.max_kbps, self.max_burst_kb, self.direction)
    }

    fn of(policy: &QosPolicy, rule: &QosRule, links: &Links) -> Option<Self> {
        let QosRuleKind::BandwidthLimit { max_kbps, max_burst_kb, direction } = rule.kind else {
            return None;
        };
        Some(Self {
            id: Some(rule.id),
            policy_id: Some(policy.id),
            max_kbps: Some(max_kbps.get()),
            max_burst_kb: max_burst_kb.map(NonZeroU32::get),
            direction: match direction {
                QosDirection::Egress => None,
                QosDirection::Ingress => Some(api::QosDirection::Ingress),
            },
            uri: Some(links.to(format_args!("/{}/{}", Self::COLLECTION, rule.id))),
            policy: Some(links.object("qos_policies", policy.id)),
        })
    }
}

impl Rule for api::QosDscpRule {
    const COLLECTION: &'static str = "qos_dscp_rules";

    fn chosen_id(&self) -> Option<Uuid> {
        self.id
    }

    fn policy_id(&self) -> Option<QosPolicyId> {
        self.policy_id
    }

    fn kind(&self) -> Result<QosRuleKind, Problem> {
        mark("dscpMark", self.dscp_mark)
    }

    fn of(policy: &QosPolicy, rule: &QosRule, links: &Links) -> Option<Self> {
        let QosRuleKind::DscpMarking { dscp_mark } = rule.kind else { return None };
        Some(Self {
            id: Some(rule.id),
            policy_id: Some(policy.id),
            dscp_mark: Some(dscp_mark),
            uri: Some(links.to(format_args!("/{}/{}", Self::COLLECTION, rule.id))),
            policy: Some(links.object("qos_policies", policy.id)),
        })
    }
}

/// A rule as its policy brings it.
pub fn embedded(sent: &api::QosRule) -> Result<QosRule, Problem> {
    let kind = match sent.kind.ok_or_else(|| Problem::required("rules.type"))? {
        api::QosRuleType::BandwidthLimit => {
            let names = ["rules.max_kbps", "rules.max_burst_kbps"];
            limit(names, sent.max_kbps, sent.max_burst_kbps, sent.direction)?
        }
        api::QosRuleType::DscpMarking => mark("rules.dscp_mark", sent.dscp_mark)?,
    };
    Ok(QosRule { id: sent.id.unwrap_or_else(Uuid::new_v4), kind })
}

/// Old clients say numbers of 32 bits with a sign.
const KILOBITS_MAX: u32 = i32::MAX.cast_unsigned();

fn limit(
    [rate, depth]: [&str; 2],
    kbps: Option<u32>,
    burst: Option<u32>,
    direction: Option<api::QosDirection>,
) -> Result<QosRuleKind, Problem> {
    let sent = kbps.ok_or_else(|| Problem::required(rate))?;
    let fitting = NonZeroU32::new(sent).filter(|kbps| kbps.get() <= KILOBITS_MAX);
    let wrong = |name, value| Problem::field(name, value, "is not within 1 to 2147483647");
    let max_kbps = fitting.ok_or_else(|| wrong(rate, sent))?;
    if let Some(burst) = burst.filter(|burst| *burst > KILOBITS_MAX) {
        return Err(wrong(depth, burst));
    }
    let direction = match direction {
        None | Some(api::QosDirection::Egress) => QosDirection::Egress,
        Some(api::QosDirection::Ingress) => QosDirection::Ingress,
    };
    let max_burst_kb = burst.and_then(NonZeroU32::new);
    Ok(QosRuleKind::BandwidthLimit { max_kbps, max_burst_kb, direction })
}

fn mark(name: &str, dscp_mark: Option<u8>) -> Result<QosRuleKind, Problem> {
    match dscp_mark.ok_or_else(|| Problem::required(name))? {
        dscp_mark @ 0..=QosPolicy::DSCP_MAX => Ok(QosRuleKind::DscpMarking { dscp_mark }),
        wrong => Err(Problem::field(name, wrong, "is not within 0 to 63")),
    }
}

async fn list<R: Rule>(call: Arc<Call>) -> Result<Answer, Problem> {
    let policy = call.db.get::<QosPolicy>(call.id("id")?).await?.object;
    Ok(Answer::many(policy.rules.iter().filter_map(|rule| R::of(&policy, rule, &call.links))))
}

async fn create<R: Rule>(call: Arc<Call>) -> Result<Answer, Problem> {
    let mut policy = call.db.get::<QosPolicy>(call.id("id")?).await?;
    let sent: R = call.input()?;
    let id = sent.chosen_id().unwrap_or_else(Uuid::new_v4);
    if find(&call, id).await?.is_some() {
        return Err(Problem::taken("id", id.to_string(), "there is such a rule already"));
    }
    refuse_other(&sent, policy.object.id, "is not the policy that gets the rule")?;
    policy.object.rules.push(QosRule { id, kind: sent.kind()? });
    policy.object.validate()?;
    call.db.commit(Changes::default().update(&policy)).await?;
    Ok(Answer::Created(call.links.to(format_args!("/{}/{id}", R::COLLECTION))))
}

async fn read<R: Rule>(call: Arc<Call>) -> Result<Answer, Problem> {
    let (policy, index) = get::<R>(&call).await?;
    let rule = R::of(&policy.object, &policy.object.rules[index], &call.links);
    rule.map(|rule| Answer::one(&rule)).ok_or_else(|| missing(&call))
}

async fn update<R: Rule>(call: Arc<Call>) -> Result<Answer, Problem> {
    let (mut policy, index) = get::<R>(&call).await?;
    let sent: R = call.input()?;
    refuse_other(&sent, policy.object.id, "cannot be changed")?;
    policy.object.rules[index].kind = sent.kind()?;
    call.db.commit(Changes::default().update(&policy)).await?;
    Ok(Answer::Done)
}

/// A rule that names its policy names the right one.
fn refuse_other(sent: &impl Rule, policy: QosPolicyId, reason: &str) -> Result<(), Problem> {
    match sent.policy_id().filter(|id| *id != policy) {
        Some(other) => Err(Problem::field("policyId", other.to_string(), reason)),
        None => Ok(()),
    }
}

/// A rule that is not there is deleted already.
async fn delete<R: Rule>(call: Arc<Call>) -> Result<Answer, Problem> {
    let Some((mut policy, index)) = find_of::<R>(&call).await? else { return Ok(Answer::Done) };
    policy.object.rules.remove(index);
    call.db.commit(Changes::default().update(&policy)).await?;
    Ok(Answer::Done)
}

async fn get<R: Rule>(call: &Call) -> Result<(Found<QosPolicy>, usize), Problem> {
    find_of::<R>(call).await?.ok_or_else(|| missing(call))
}

fn missing(call: &Call) -> Problem {
    Problem::missing(format_args!("QoS rule {}", call.segment("id").unwrap_or_default()))
}

/// The rule that the address names, if it is of this kind: its policy, and its place there.
async fn find_of<R: Rule>(call: &Call) -> Result<Option<(Found<QosPolicy>, usize)>, Problem> {
    let found = find(call, call.parsed("id", "the UUID of a QoS rule")?).await?;
    Ok(found.filter(|(policy, index)| {
        R::of(&policy.object, &policy.object.rules[*index], &call.links).is_some()
    }))
}

/// There are few policies, and a node has them all at hand.
async fn find(call: &Call, id: Uuid) -> Result<Option<(Found<QosPolicy>, usize)>, Problem> {
    let policies = call.db.list::<QosPolicy>().await?;
    Ok(policies.into_iter().find_map(|policy| {
        let index = policy.object.rules.iter().position(|rule| rule.id == id)?;
        Some((policy, index))
    }))
}
