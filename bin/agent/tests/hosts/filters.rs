//! Filters of ports.

use mn_ids::{ChainId, Id, PortId, RuleId};
use mn_topology::{AnyObject, Chain, Condition, Rule, RuleAction};

use crate::lab::{Lab, SETTLE_FOR};

impl Lab {
    /// A chain of one rule; it and the rule.
    pub async fn chain(&self, condition: Condition, action: RuleAction) -> (ChainId, RuleId) {
        let rule = Rule { id: Id::random(), condition, action, meter_name: None };
        let (id, rule_id) = (Id::random(), rule.id);
        let (rules, segments) = (vec![rule], Vec::new());
        self.create(Chain { id, tenant_id: None, name: None, rules, segments }).await;
        (id, rule_id)
    }

    /// What a port sends passes this chain, within the time that changes take.
    pub async fn filter(&self, port: PortId, chain: ChainId) {
        self.change(port.into(), |object| {
            if let AnyObject::Port(port) = object {
                port.inbound_filter_id = Some(chain);
            }
        })
        .await;
        tokio::time::sleep(SETTLE_FOR).await;
    }
}
