//! Defects to plant in what the walk sees.

use mn_packet::Mac;
use mn_testkit::{Lab, Random, named};
use mn_topology::{AnyObject, Chain, PortKind, RouteTarget, RuleAction};

use crate::cloud::{Cloud, TENANTS, bridge, name, router};

pub struct Defect {
    pub name: &'static str,
    /// Whether it could be planted.
    pub plant: fn(&Cloud, &mut Lab, &mut Random) -> bool,
}

pub const ALL: &[Defect] = &[
    Defect {
        name: "a machine's inbound filter is lost",
        plant: |cloud, lab, random| {
            let at = cloud.draw_machine(random);
            lab.port(&name(at), |port| port.inbound_filter_id = None);
            cloud.machine(at).filters.inbound.is_some()
        },
    },
    Defect {
        name: "a machine's outbound filter is lost",
        plant: |cloud, lab, random| {
            let at = cloud.draw_machine(random);
            lab.port(&name(at), |port| port.outbound_filter_id = None);
            cloud.machine(at).filters.outbound.is_some()
        },
    },
    Defect {
        name: "a machine is on the other tenant's bridge",
        plant: |cloud, lab, random| {
            let at = cloud.draw_machine(random);
            let other = bridge(1 - at.tenant, 0);
            lab.port(&name(at), |port| {
                port.kind = PortKind::Bridge { bridge_id: named(&other), vlan_id: 0 };
            });
            true
        },
    },
    Defect {
        name: "a bridge learned a MAC at the other tenant's port",
        plant: |cloud, lab, random| {
            let at = cloud.draw_machine(random);
            let twin = cloud
                .machines()
                .find(|it| it.tenant != at.tenant && cloud.addrs(*it) == cloud.addrs(at));
            let Some(twin) = twin else { return false };
            let mac: Mac = lab.station(&name(at)).mac;
            lab.tables
                .macs
                .insert((named(&bridge(at.tenant, at.network)), None, mac), named(&name(twin)));
            true
        },
    },
    Defect {
        name: "networks of two tenants hang on one router",
        plant: |cloud, lab, random| {
            let tenant = random.below(2);
            let other = 1 - tenant;
            let near = format!("{}.{}", bridge(tenant, 0), router(tenant));
            let far = format!("{}.{}", router(other), bridge(other, 0));
            lab.port(&near, |port| port.peer_id = Some(named(&far)));
            cloud.tenants[tenant].networks.len() > 1
        },
    },
    Defect {
        name: "a rule drops what it is to accept, or lets through what it is to drop",
        plant: |cloud, lab, random| {
            change_chain(cloud, lab, random, |chain| {
                let Some(rule) = chain
                    .rules
                    .iter_mut()
                    .find(|rule| matches!(rule.action, RuleAction::Accept | RuleAction::Drop))
                else {
                    return false;
                };
                rule.action = match rule.action {
                    RuleAction::Drop => RuleAction::Accept,
                    _ => RuleAction::Drop,
                };
                true
            })
        },
    },
    Defect {
        name: "a rule's inversion is forgotten",
        plant: |cloud, lab, random| {
            change_chain(cloud, lab, random, |chain| {
                let Some(rule) = chain.rules.iter_mut().find(|rule| rule.condition.inverted) else {
                    return false;
                };
                rule.condition.inverted = false;
                true
            })
        },
    },
    Defect {
        name: "a chain's rules are in another order",
        plant: |cloud, lab, random| {
            change_chain(cloud, lab, random, |chain| {
                chain.rules.reverse();
                chain.rules.len() > 1
            })
        },
    },
    Defect {
        name: "a jump that returns ends the chain",
        plant: |cloud, lab, random| {
            change_chain(cloud, lab, random, |chain| {
                let jump = chain
                    .rules
                    .iter()
                    .position(|rule| matches!(rule.action, RuleAction::Jump { .. }));
                let Some(jump) = jump else { return false };
                chain.rules.truncate(jump + 1);
                true
            })
        },
    },
    Defect {
        name: "the provider routes a network that it is to blackhole",
        plant: |_, lab, _| {
            let routes = lab.objects.values().find_map(|object| match object {
                AnyObject::Route(route) if route.target == RouteTarget::Blackhole => {
                    Some(route.clone())
                }
                _ => None,
            });
            let Some(mut route) = routes else { return false };
            let tenant = usize::from(
                route.dst.to_string().contains("101") || route.dst.to_string().contains(":65:"),
            );
            let next_hop_port = named(&format!("core.{}", router(tenant)));
            let [near, _] = crate::cloud::transit(tenant);
            let gateway = near[usize::from(route.dst.network().is_ipv6())];
            route.target = RouteTarget::Normal { next_hop_port, gateway: Some(gateway) };
            lab.put(route);
            true
        },
    },
    Defect {
        name: "a tenant's default route is lost",
        plant: |_, lab, random| {
            let mut routes = lab.objects.values().filter_map(|object| match object {
                AnyObject::Route(route) if route.dst.len() == 0 => Some(route.id),
                _ => None,
            });
            let Some(id) = routes.nth(random.below(4)) else { return false };
            lab.delete(id);
            true
        },
    },
    Defect {
        name: "a router's filters are lost",
        plant: |cloud, lab, random| {
            let tenant = random.below(2);
            let key = named::<mn_ids::Router>(&router(tenant)).into();
            let Some(AnyObject::Router(own)) = lab.objects.get(&key) else { return false };
            let mut own = own.clone();
            (own.inbound_filter_id, own.outbound_filter_id) = (None, None);
            lab.put(own);
            let filters = cloud.tenants[tenant].router;
            filters.inbound.or(filters.outbound).is_some()
        },
    },
    Defect {
        name: "a bridge's filters are lost",
        plant: |cloud, lab, random| {
            let tenant = random.below(2);
            let key = named::<mn_ids::Bridge>(&bridge(tenant, 0)).into();
            let Some(AnyObject::Bridge(own)) = lab.objects.get(&key) else { return false };
            let mut own = own.clone();
            (own.inbound_filter_id, own.outbound_filter_id) = (None, None);
            lab.put(own);
            let filters = cloud.tenants[tenant].networks[0].bridge;
            filters.inbound.or(filters.outbound).is_some()
        },
    },
    Defect {
        name: "a floating address stands for another machine",
        plant: |cloud, lab, random| change_translations(cloud, lab, random, "pre"),
    },
    Defect {
        name: "a machine is known outside by another address",
        plant: |cloud, lab, random| change_translations(cloud, lab, random, "post"),
    },
    Defect {
        name: "a tenant's translations are lost, and its filters are not",
        plant: |cloud, lab, random| {
            let tenant = random.below(2);
            let chain = named::<mn_ids::Chain>(&format!("{}pre", TENANTS[tenant])).into();
            let Some(AnyObject::Chain(chain)) = lab.objects.get(&chain) else { return false };
            let mut chain = chain.clone();
            chain.rules.retain(|rule| !matches!(rule.action, RuleAction::Dnat { .. }));
            lab.put(chain);
            !cloud.tenants[tenant].floating.is_empty()
        },
    },
    Defect {
        name: "a gateway is down",
        plant: |cloud, lab, random| {
            let at = cloud.draw_machine(random);
            let end = format!("{}.{}", router(at.tenant), bridge(at.tenant, at.network));
            lab.port(&end, |port| port.admin_state_up = false);
            true
        },
    },
];

/// Changes the targets of a tenant's translations to an address of the same version that a machine
/// has.
fn change_translations(cloud: &Cloud, lab: &mut Lab, random: &mut Random, way: &str) -> bool {
    let tenant = random.below(2);
    let key = named::<mn_ids::Chain>(&format!("{}{way}", TENANTS[tenant])).into();
    let Some(AnyObject::Chain(chain)) = lab.objects.get(&key) else { return false };
    let mut chain = chain.clone();
    let [v4, v6] = cloud.addrs(cloud.draw_machine(random));
    for rule in &mut chain.rules {
        if let RuleAction::Dnat { targets, .. } | RuleAction::Snat { targets, .. } =
            &mut rule.action
        {
            for target in targets {
                let other = if target.addr_from.is_ipv4() { v4 } else { v6 };
                (target.addr_from, target.addr_to) = (other, other);
            }
        }
    }
    lab.put(chain);
    true
}

/// Changes one of the chains.
fn change_chain(
    cloud: &Cloud,
    lab: &mut Lab,
    random: &mut Random,
    change: impl FnOnce(&mut Chain) -> bool,
) -> bool {
    let index = random.below(cloud.chains.len());
    let key = named::<mn_ids::Chain>(&format!("c{index}")).into();
    let Some(AnyObject::Chain(chain)) = lab.objects.get(&key) else { return false };
    let mut chain = chain.clone();
    let changed = change(&mut chain);
    lab.put(chain);
    changed
}
