//! What a load balancer did, as a document.

use mn_api_types::walk as api;
use mn_ids::{LoadBalancerId, PoolId, PoolMemberId, VipId};
use mn_packet::from_v6;
use mn_simulation::nat::Endpoint;
use mn_simulation::walk::{BalanceTold, MemberBy};
use mn_topology::PoolMember;
use mn_topology::snapshot::{Lookup, Standing};

use crate::names::Names;

/// How many members that get no connections are told.
const OTHERS_MAX: usize = 100;

/// The step of a load balancer: who has the connection, and who gets no new ones and why.
pub(crate) fn balanced(
    names: &Names<'_>,
    (load_balancer, vip, pool): (LoadBalancerId, VipId, PoolId),
    at: Endpoint,
    member: Option<PoolMemberId>,
    told: BalanceTold,
) -> api::Balanced {
    let members: Vec<_> = match names.snapshot().pool(pool) {
        Lookup::Loaded(view) => view.standings().collect(),
        Lookup::Absent | Lookup::NotLoaded => Vec::new(),
    };
    let chosen = member.map(|id| {
        let found = members.iter().find(|(member, _)| member.id == id);
        let unknown = api::MemberAt { id: id.uuid(), ..api::MemberAt::default() };
        found.map_or(unknown, |(member, standing)| member_at(member, *standing))
    });
    let others = members
        .iter()
        .filter(|(other, standing)| *standing != Standing::Eligible && Some(other.id) != member);
    let (result, by) = result_words(told);
    api::Balanced {
        load_balancer: names.nameless(load_balancer),
        vip: names.nameless(vip),
        vip_addr: Some(from_v6(at.addr)),
        vip_port: at.port,
        pool: names.nameless(pool),
        member: chosen,
        result: result.to_owned(),
        chosen_by: by.map(str::to_owned),
        others: others
            .take(OTHERS_MAX)
            .map(|(other, standing)| member_at(other, *standing))
            .collect(),
    }
}

fn member_at(member: &PoolMember, standing: Standing) -> api::MemberAt {
    let reason = match standing {
        Standing::Eligible => None,
        Standing::Draining => Some("down"),
        Standing::Dead => Some("dead"),
        Standing::OtherVersion => Some("other IP version"),
    };
    api::MemberAt {
        id: member.id.uuid(),
        addr: Some(member.address),
        port: member.protocol_port.get(),
        reason: reason.map(str::to_owned),
    }
}

const fn result_words(told: BalanceTold) -> (&'static str, Option<&'static str>) {
    match told {
        BalanceTold::New { by, .. } => {
            let by = match by {
                MemberBy::Weight => "weight",
                MemberBy::LeastConnections => "least connections",
                MemberBy::Hash => "client hash",
                MemberBy::Persistence => "persistence",
            };
            ("new", Some(by))
        }
        BalanceTold::Known { .. } => ("found", None),
        BalanceTold::Answer { .. } => ("answer", None),
        BalanceTold::NoMember => ("no member", None),
        BalanceTold::Limit => ("limit", None),
        BalanceTold::Exhausted => ("exhausted", None),
        BalanceTold::Gone => ("gone", None),
    }
}
