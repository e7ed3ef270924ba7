//! The steps of a simulation as a document.

use std::net::IpAddr;

use mn_api_types::walk as api;
use mn_api_types::walk::{Step as Told, VerdictKind};
use mn_flow::{Action, DropCause, FlowKey, FlowMask};
use mn_ids::{ChainId, HostId, L2InsertionId, PortId, RuleId};
use mn_packet::{EtherType, Mac, from_v6};
use mn_simulation::Outcome;
use mn_simulation::nat::Endpoint;
use mn_simulation::walk::{BridgeLookup, ChosenBy, NatTold, RouteLost, RuleResult, Step};
use mn_topology::snapshot::{Candidate, Lookup};
use mn_topology::{RouteTarget, RuleAction};

use crate::balanced::balanced;
use crate::flow_text::{action_text, mask_words};
use crate::headers::headers;
use crate::names::Names;
use crate::way::Way;

/// What is told.
pub struct Story<'a> {
    pub names: Names<'a>,
    /// Who simulated; `None`: a cluster node.
    pub host: Option<HostId>,
    /// The host where the packet enters.
    pub entered_at: Option<HostId>,
    pub notes: Vec<String>,
    /// The revision of the topology that was simulated.
    pub revision: u64,
    pub way: &'a Way,
    /// What the datapath would do with it.
    pub actions: &'a [Action],
    /// The flow that is installed for it.
    pub flow: Option<Installed<'a>>,
    /// Where a port is, seen from the simulating host.
    pub place: &'a dyn Fn(PortId) -> Place,
}

/// Where a port is and how packets get there.
#[derive(Clone, Debug, Default)]
pub struct Place {
    pub host: Option<HostId>,
    /// What is put around a packet; `None` where the port is on the simulating host.
    pub tunnel: Option<Tunnel>,
}

/// The outside of a tunnelled packet.
#[derive(Clone, Copy, Debug)]
pub struct Tunnel {
    pub key: u32,
    pub outer_src: Option<IpAddr>,
    pub outer_dst: Option<IpAddr>,
}

/// A flow in the datapath.
#[derive(Clone, Debug)]
pub struct Installed<'a> {
    pub cookie: u64,
    pub actions: &'a [Action],
    pub packets: u64,
    pub octets: u64,
    pub idle_ms: u64,
}

/// The document of a walk.
#[must_use]
pub fn document(story: &Story<'_>) -> api::Walk {
    let mut teller =
        Teller { story, key: story.way.key, ttl: story.way.ttl, deliveries: [vec![], vec![]] };
    let steps: Vec<Told> =
        story.way.steps.steps.iter().flat_map(|step| teller.tell(step)).collect();
    let v4 = story.way.key.eth_type != EtherType::IPV6;
    let mask = match &story.way.outcome {
        Outcome::Decided(decision) => decision.mask,
        Outcome::Load(_) | Outcome::AwaitNeighbor { .. } | Outcome::AwaitLease { .. } => {
            FlowMask::NONE
        }
    };
    api::Walk {
        simulated_by: story.host.map(|host| story.names.host(host)),
        entered_at: story.entered_at.map(|host| story.names.host(host)),
        notes: story.notes.clone(),
        revision: story.revision,
        packet: headers(&story.way.key, story.way.ttl),
        verdict: verdict(&steps, story, teller.deliveries),
        steps,
        mask: mask_words(mask, v4),
        actions: story.actions.iter().map(action_text).collect(),
        flow: story.flow.as_ref().map(|flow| installed(flow, story.actions)),
        answer: None,
    }
}

/// Tells one step after the other, following the packet's headers.
struct Teller<'a> {
    story: &'a Story<'a>,
    key: FlowKey,
    ttl: Option<u8>,
    /// Those of the packet, and those of mirrors' copies.
    deliveries: [Vec<api::Delivery>; 2],
}

impl Teller<'_> {
    /// A step in the API's words; a delivery to another host is two.
    fn tell(&mut self, step: &Step) -> Vec<Told> {
        let names = &self.story.names;
        vec![match step {
            Step::Enter { port, device } => {
                Told::Enter(api::Enter { port: names.port(*port), device: names.device(*device) })
            }
            Step::Leave { port, device } => {
                Told::Leave(api::Leave { port: names.port(*port), device: names.device(*device) })
            }
            Step::Chain { chain, rule, position, result } => Told::ChainAsked(api::ChainAsked {
                chain: names.chain(*chain),
                rule: rule.map(|rule| self.rule(*chain, rule, *position)),
                result: result_word(*result).to_owned(),
            }),
            Step::Nat { chain, rule, told } => self.translated(*chain, *rule, *told),
            Step::Balance { load_balancer, vip, at, pool, member, told } => {
                Told::Balanced(balanced(names, (*load_balancer, *vip, *pool), *at, *member, *told))
            }
            Step::BridgeLookup { bridge, mac, found } => self.bridge_lookup(*bridge, *mac, found),
            Step::Route { router, chosen, by, lost } => Told::RouteLookup(api::RouteLookup {
                router: names.device(mn_topology::DeviceId::Router(*router)),
                chosen: chosen.as_ref().map(|route| self.route(route)),
                chosen_by: chosen_by(*by).map(str::to_owned),
                lost: lost.iter().map(|(route, why)| self.lost(route, *why)).collect(),
            }),
            Step::NextHop { router, addr, mac } => Told::NextHop(api::NextHop {
                router: names.device(mn_topology::DeviceId::Router(*router)),
                addr: Some(*addr),
                mac: *mac,
            }),
            Step::Mirrored { mirror, port } => Told::Mirrored(api::Mirrored {
                mirror: names.mirror(*mirror),
                port: names.port(*port),
            }),
            Step::Held { port, policy, dscp, limit } => Told::Held(api::Held {
                policy: names.qos_policy(*policy),
                port: names.port(*port),
                dscp: *dscp,
                max_kbps: limit.map(|limit| limit.kbps.get()),
                max_burst_kb: limit.map(|limit| limit.burst_kb.get()),
            }),
            Step::Redirected { insertion, port } => {
                self.inspection(*insertion, "sent", Some(*port))
            }
            Step::Inspected { insertion, port } => {
                self.inspection(*insertion, "returned", Some(*port))
            }
            Step::NotInspected { insertion, open } => {
                let result = if *open { "passed by" } else { "missing" };
                self.inspection(*insertion, result, None)
            }
            Step::Rewritten { before, after, hops } => self.rewritten(before, after, *hops),
            Step::Deliver { port, mirrored } => return self.deliver(*port, *mirrored),
            Step::Answered { device, with } => {
                Told::Answered(api::Answered { device: names.device(*device), with: with.clone() })
            }
            Step::Drop { cause, rule } => self.dropped(*cause, *rule, None),
            Step::CopyDropped { port, cause, rule } => self.dropped(*cause, *rule, Some(*port)),
        }]
    }

    fn inspection(&self, insertion: L2InsertionId, result: &str, port: Option<PortId>) -> Told {
        let names = &self.story.names;
        Told::Inspected(api::Inspected {
            insertion: names.nameless(insertion),
            result: result.to_owned(),
            port: port.map(|port| names.port(port)),
        })
    }

    fn translated(&self, chain: ChainId, rule: RuleId, told: NatTold) -> Told {
        let index = match self.story.names.snapshot().chain(chain) {
            Lookup::Loaded(view) => view.rules().position(|other| other.id == rule),
            Lookup::Absent | Lookup::NotLoaded => None,
        };
        let said = |result: &str| api::Translated {
            rule: Some(self.rule(chain, rule, index)),
            result: result.to_owned(),
            ..api::Translated::default()
        };
        let ends = |result: &str, from: Endpoint, to: Endpoint| api::Translated {
            from_addr: Some(from_v6(from.addr)),
            from_port: Some(from.port),
            to_addr: Some(from_v6(to.addr)),
            to_port: Some(to.port),
            ..said(result)
        };
        Told::Translated(match told {
            NatTold::Static { from, to } => {
                api::Translated { from_addr: Some(from), to_addr: Some(to), ..said("static") }
            }
            NatTold::New { from, to } => ends("new", from, to),
            NatTold::Known { from, to } => ends("found", from, to),
            NatTold::Unknown => said("none"),
            NatTold::NotTranslatable => said("unsupported"),
            NatTold::NoLease => said("waiting"),
            NatTold::Exhausted => said("exhausted"),
        })
    }

    fn bridge_lookup(&self, bridge: mn_ids::BridgeId, mac: Mac, found: &BridgeLookup) -> Told {
        let names = &self.story.names;
        let ports = match found {
            BridgeLookup::Port(port) => core::slice::from_ref(port),
            BridgeLookup::Flood(ports) => ports,
        };
        Told::BridgeLookup(api::BridgeLookup {
            bridge: names.device(mn_topology::DeviceId::Bridge(bridge)),
            mac: Some(mac),
            flooded: matches!(found, BridgeLookup::Flood(_)),
            ports: ports.iter().map(|port| names.port(*port)).collect(),
        })
    }

    fn rewritten(&mut self, before: &FlowKey, after: &FlowKey, hops: u8) -> Told {
        let ttl = self.ttl;
        self.ttl = ttl.map(|ttl| ttl.saturating_sub(hops));
        self.key = *after;
        Told::Rewritten(api::Rewritten {
            before: headers(before, ttl),
            after: headers(after, self.ttl),
        })
    }

    fn deliver(&mut self, port: PortId, mirrored: bool) -> Vec<Told> {
        let names = &self.story.names;
        let place = (self.story.place)(port);
        let host = place.host.map(|host| names.host(host));
        let interface_name = names.port(port).name;
        let tunnel = place.tunnel.map(|tunnel| api::TunnelHeader {
            key: tunnel.key,
            outer_src: tunnel.outer_src,
            outer_dst: tunnel.outer_dst,
        });
        self.deliveries[usize::from(mirrored)].push(api::Delivery {
            port: names.port(port),
            host: host.clone(),
            interface_name: interface_name.clone(),
            tunnel: tunnel.clone(),
            packet: headers(&self.key, self.ttl),
        });
        // The next copy is told from the packet as it came.
        (self.key, self.ttl) = (self.story.way.key, self.story.way.ttl);
        let mut told = Vec::new();
        if let Some(tunnel) = tunnel {
            told.push(Told::Tunneled(api::Tunneled { host: host.clone(), tunnel }));
        }
        told.push(Told::Deliver(api::Deliver { port: names.port(port), host, interface_name }));
        told
    }

    fn dropped(&self, cause: DropCause, rule: Option<RuleId>, copy: Option<PortId>) -> Told {
        let reason = cause.description().trim();
        let reason = match copy {
            Some(port) => format!("{reason} This is the copy for port {port}."),
            None => reason.to_owned(),
        };
        Told::Dropped(api::Dropped {
            cause: cause.name().to_owned(),
            reason,
            rule: rule.map(|rule| self.deciding_rule(rule)),
        })
    }

    fn rule(&self, chain: ChainId, rule: RuleId, index: Option<usize>) -> api::RuleAt {
        let kind = match self.story.names.snapshot().chain(chain) {
            Lookup::Loaded(view) => {
                view.rules().find(|other| other.id == rule).map(|rule| rule_word(&rule.action))
            }
            Lookup::Absent | Lookup::NotLoaded => None,
        };
        api::RuleAt {
            id: rule.uuid(),
            chain: Some(self.story.names.chain(chain)),
            position: index.and_then(|index| u32::try_from(index + 1).ok()),
            kind: kind.map(str::to_owned),
        }
    }

    /// The rule of a drop, with the chain that was told before.
    fn deciding_rule(&self, rule: RuleId) -> api::RuleAt {
        let asked = self.story.way.steps.steps.iter().rev().find_map(|step| match step {
            Step::Chain { chain, rule: Some(decided), position, .. } if *decided == rule => {
                Some((*chain, *position))
            }
            _ => None,
        });
        match asked {
            Some((chain, position)) => self.rule(chain, rule, position),
            None => api::RuleAt { id: rule.uuid(), ..api::RuleAt::default() },
        }
    }

    fn route(&self, route: &Candidate) -> api::RouteAt {
        let gateway = match route.target {
            RouteTarget::Normal { gateway, .. } => gateway,
            RouteTarget::Blackhole | RouteTarget::Reject | RouteTarget::Local { .. } => None,
        };
        let kind = match route.target {
            RouteTarget::Normal { .. } => "Normal",
            RouteTarget::Blackhole => "BlackHole",
            RouteTarget::Reject => "Reject",
            RouteTarget::Local { .. } => "Local",
        };
        api::RouteAt {
            id: route.id.map(mn_ids::Id::uuid).unwrap_or_default(),
            src: route.src.to_string(),
            dst: route.dst.to_string(),
            kind: kind.to_owned(),
            port: route.port().map(|port| self.story.names.port(port)),
            gateway,
            weight: route.weight,
        }
    }

    fn lost(&self, route: &Candidate, why: RouteLost) -> api::LostRoute {
        let reason = match why {
            RouteLost::ShorterPrefix => "shorter prefix",
            RouteLost::ShorterSource => "shorter source prefix",
            RouteLost::HigherWeight => "higher weight",
            RouteLost::PortDown => "port down",
            RouteLost::OtherPath => "other path",
            RouteLost::Source => "source",
        };
        api::LostRoute { route: self.route(route), reason: reason.to_owned() }
    }
}

/// What decided among several next hops.
const fn chosen_by(by: ChosenBy) -> Option<&'static str> {
    match by {
        ChosenBy::Itself => None,
        ChosenBy::Hash => Some("connection hash"),
        ChosenBy::SymmetricHash => Some("symmetric hash"),
        ChosenBy::State => Some("earlier choice"),
    }
}

const fn result_word(result: RuleResult) -> &'static str {
    match result {
        RuleResult::Accept => "accept",
        RuleResult::Drop => "drop",
        RuleResult::Reject => "reject",
    }
}

/// The type of a rule, as the API spells it.
const fn rule_word(action: &RuleAction) -> &'static str {
    match action {
        RuleAction::Accept => "accept",
        RuleAction::Drop => "drop",
        RuleAction::Reject => "reject",
        RuleAction::Return => "return",
        RuleAction::Continue => "continue",
        RuleAction::Jump { .. } => "jump",
        RuleAction::Snat { .. } => "snat",
        RuleAction::Dnat { .. } => "dnat",
        RuleAction::RevSnat { .. } => "rev_snat",
        RuleAction::RevDnat { .. } => "rev_dnat",
        RuleAction::L2Transform { .. } => "l2_transform",
    }
}

/// How the walk ends, from what was told.
fn verdict(
    steps: &[Told],
    story: &Story<'_>,
    [deliveries, copies]: [Vec<api::Delivery>; 2],
) -> api::Verdict {
    let dropped = steps.iter().rev().find_map(|step| match step {
        Told::Dropped(dropped) => Some(dropped),
        _ => None,
    });
    let answered = steps.iter().rev().find_map(|step| match step {
        Told::Answered(answered) => Some(answered),
        _ => None,
    });
    let of = |kind| api::Verdict { kind, ..api::Verdict::default() };
    if let Outcome::AwaitNeighbor { addr, .. } = &story.way.outcome {
        let reason = format!("{addr} must be asked for its MAC first: the packet waits meanwhile");
        return api::Verdict { reason: Some(reason), ..of(VerdictKind::Waiting) };
    }
    if let Outcome::AwaitLease { .. } = &story.way.outcome {
        let reason = "ports to translate to must be leased first: the packet waits meanwhile";
        return api::Verdict { reason: Some(reason.to_owned()), ..of(VerdictKind::Waiting) };
    }
    if deliveries.len() == 1 {
        return api::Verdict { deliveries, copies, ..of(VerdictKind::Delivered) };
    }
    if !deliveries.is_empty() {
        return api::Verdict { deliveries, copies, ..of(VerdictKind::Flooded) };
    }
    if let Some(answered) = answered {
        let reason = Some(answered.with.clone());
        return api::Verdict { reason, copies, ..of(VerdictKind::Answered) };
    }
    api::Verdict {
        reason: dropped.map(|dropped| dropped.reason.clone()),
        drop_cause: dropped.map(|dropped| dropped.cause.clone()),
        rule: dropped.and_then(|dropped| dropped.rule.clone()),
        copies,
        ..of(VerdictKind::Dropped)
    }
}

fn installed(flow: &Installed<'_>, actions: &[Action]) -> api::InstalledFlow {
    let agrees = flow.actions == actions;
    let difference = || {
        let index = flow.actions.iter().zip(actions).take_while(|(a, b)| a == b).count();
        let text = |list: &[Action]| list.get(index).map_or("nothing".to_owned(), action_text);
        format!("action {}: {} instead of {}", index + 1, text(flow.actions), text(actions))
    };
    api::InstalledFlow {
        cookie: flow.cookie,
        actions: flow.actions.iter().map(action_text).collect(),
        packets: flow.packets,
        bytes: flow.octets,
        idle_ms: Some(flow.idle_ms),
        agrees,
        difference: (!agrees).then(difference),
    }
}
