//! Chains compiled: per rule only the tests it has, in the order they are to be made.

use std::collections::BTreeMap;
use std::sync::Arc;

use mn_ids::{ChainId, ChainSegmentId, IpAddrGroupId, PortGroupId, PortId, RuleId};
use mn_packet::{EtherType, IpPrefix, IpProtocol};
use uuid::Uuid;

use super::{Lookup, Single};
use crate::object::{
    Chain, ChainSegment, Condition, FragmentPolicy, MaskedMac, PortRange, Rule, RuleAction, Test,
};

/// A loaded chain.
#[derive(Clone, Debug, PartialEq)]
pub struct ChainView {
    pub id: ChainId,
    /// For people. No flow reads it.
    pub name: Option<String>,
    /// Its rules in runs, as they are stored: an edit replaces one and shares the others.
    parts: Box<[Arc<[RuleView]>]>,
}

/// A rule of a loaded chain.
#[derive(Clone, Debug, PartialEq)]
pub struct RuleView {
    pub id: RuleId,
    /// Which fragments it looks at. Not inverted by `inverted`.
    pub fragment_policy: FragmentPolicy,
    /// Matches where not all of `probes` pass.
    pub inverted: bool,
    /// The tests that are set, in the order of agent-facts §13.
    pub probes: Box<[Probe]>,
    pub action: RuleAction,
    pub meter_name: Option<String>,
}

/// One test of a rule. [`Test`] says whether the value is to be in the set or not.
#[derive(Clone, Debug, PartialEq)]
pub enum Probe {
    ForwardFlow,
    ReturnFlow,
    /// Whether it belongs to a connection or may open one; or, with `false`, that it does not.
    ValidFlow(bool),
    NoVlan,
    Vlan(u16),
    /// The group of the port it entered this device by, of exterior ports only.
    ExteriorPortGroup(Test<PortGroupId>),
    InPortGroup(Test<PortGroupId>),
    OutPortGroup(Test<PortGroupId>),
    InPorts(Test<Box<[PortId]>>),
    OutPorts(Test<Box<[PortId]>>),
    EthType(Test<EtherType>),
    EthSrc(Test<MaskedMac>),
    EthDst(Test<MaskedMac>),
    NwTos(Test<u8>),
    NwProto(Test<IpProtocol>),
    NwSrc(Test<IpPrefix>),
    NwDst(Test<IpPrefix>),
    TpSrc(Test<PortRange>),
    TpDst(Test<PortRange>),
    AddrGroupSrc(Test<IpAddrGroupId>),
    AddrGroupDst(Test<IpAddrGroupId>),
    TraversedDevice(Test<Uuid>),
    IcmpDataSrc(Test<IpPrefix>),
    IcmpDataDst(Test<IpPrefix>),
    NwDstRewritten,
}

impl<A> Test<A> {
    /// The same test of what `f` makes of the set.
    fn map<B>(&self, f: impl FnOnce(&A) -> B) -> Test<B> {
        match self {
            Self::Is(set) => Test::Is(f(set)),
            Self::IsNot(set) => Test::IsNot(f(set)),
        }
    }
}

impl ChainView {
    /// Its rules, in order.
    pub fn rules(&self) -> impl Iterator<Item = &RuleView> {
        self.parts.iter().flat_map(|part| part.iter())
    }

    /// Whether both have the same rules, however they are stored.
    fn has_rules_of(&self, other: &Self) -> bool {
        let both = self.parts.iter().zip(&other.parts);
        let shared = both.take_while(|(one, other)| Arc::ptr_eq(one, other)).count();
        let own = self.parts[shared..].iter().flat_map(|part| part.iter());
        own.eq(other.parts[shared..].iter().flat_map(|part| part.iter()))
    }
}

/// A chain on its way to be loaded.
#[derive(Clone, Debug, Default)]
pub(super) struct ChainEntry {
    pub(super) chain: Single<Head>,
    pub(super) segments_complete: bool,
    segments: BTreeMap<ChainSegmentId, Arc<[RuleView]>>,
    view: Option<Arc<ChainView>>,
}

/// What is stored in the chain's own document.
#[derive(Debug)]
pub(super) struct Head {
    id: ChainId,
    name: Option<String>,
    rules: Arc<[RuleView]>,
    segments: Vec<ChainSegmentId>,
}

impl Head {
    pub(super) fn of(chain: &Chain) -> Self {
        Self {
            id: chain.id,
            name: chain.name.clone(),
            rules: compiled(&chain.rules),
            segments: chain.segments.clone(),
        }
    }
}

fn compiled(rules: &[Rule]) -> Arc<[RuleView]> {
    rules.iter().map(RuleView::of).collect()
}

impl ChainEntry {
    pub(super) fn lookup(&self) -> Lookup<'_, ChainView> {
        match &self.view {
            Some(view) => Lookup::Loaded(view),
            None if self.chain.watched && self.chain.value.is_none() => Lookup::Absent,
            None => Lookup::NotLoaded,
        }
    }

    pub(super) fn set_segment(&mut self, id: ChainSegmentId, new: Option<&ChainSegment>) {
        match new {
            Some(segment) => drop(self.segments.insert(id, compiled(&segment.rules))),
            None => drop(self.segments.remove(&id)),
        }
    }

    /// The segments that are loaded.
    pub(super) fn segments(&self) -> impl Iterator<Item = ChainSegmentId> + '_ {
        self.segments.keys().copied()
    }

    /// Whether any selector shows the chain or its segments.
    pub(super) fn is_watched(&self) -> bool {
        self.chain.watched || self.segments_complete || self.chain.value.is_some()
    }

    /// Makes the view from the parts, once all are there; says whether flows see other rules now.
    pub(super) fn compile(&mut self) -> bool {
        let new = self.chain.value.as_deref().and_then(|head| self.view_of(head)).map(Arc::new);
        let same = match (&self.view, &new) {
            (Some(old), Some(new)) => old.has_rules_of(new),
            (old, new) => old.is_none() && new.is_none(),
        };
        self.view = new;
        !same
    }

    /// `None` while a segment is not there: a filter that lacks rules must not be asked.
    fn view_of(&self, head: &Head) -> Option<ChainView> {
        let segments = head.segments.iter().map(|id| self.segments.get(id).cloned());
        let segments: Option<Vec<_>> = segments.collect();
        let parts = core::iter::once(Arc::clone(&head.rules)).chain(segments?).collect();
        Some(ChainView { id: head.id, name: head.name.clone(), parts })
    }
}

impl RuleView {
    fn of(rule: &Rule) -> Self {
        Self {
            id: rule.id,
            fragment_policy: rule.condition.fragment_policy,
            inverted: rule.condition.inverted,
            probes: probes(&rule.condition),
            action: rule.action.clone(),
            meter_name: rule.meter_name.clone(),
        }
    }
}

/// The tests a condition has set. An empty set of ports is no test (agent-facts §13).
fn probes(condition: &Condition) -> Box<[Probe]> {
    let c = condition;
    let flag = |set: bool, probe: Probe| set.then_some(probe);
    let ports = |test: &Option<Test<Vec<PortId>>>| {
        test.as_ref().filter(|test| !test.set().is_empty()).map(|test| {
            test.map(|ports| {
                let mut ports = ports.clone();
                ports.sort_unstable();
                ports.into_boxed_slice()
            })
        })
    };
    [
        flag(c.match_forward_flow, Probe::ForwardFlow),
        flag(c.match_return_flow, Probe::ReturnFlow),
        c.match_valid_flow.map(Probe::ValidFlow),
        flag(c.no_vlan, Probe::NoVlan),
        c.vlan.map(Probe::Vlan),
        c.port_group.clone().map(Probe::ExteriorPortGroup),
        c.in_port_group.clone().map(Probe::InPortGroup),
        c.out_port_group.clone().map(Probe::OutPortGroup),
        ports(&c.in_ports).map(Probe::InPorts),
        ports(&c.out_ports).map(Probe::OutPorts),
        c.dl_type.clone().map(Probe::EthType),
        c.dl_src.clone().map(Probe::EthSrc),
        c.dl_dst.clone().map(Probe::EthDst),
        c.nw_tos.clone().map(Probe::NwTos),
        c.nw_proto.clone().map(Probe::NwProto),
        c.nw_src.clone().map(Probe::NwSrc),
        c.nw_dst.clone().map(Probe::NwDst),
        c.tp_src.clone().map(Probe::TpSrc),
        c.tp_dst.clone().map(Probe::TpDst),
        c.ip_addr_group_src.clone().map(Probe::AddrGroupSrc),
        c.ip_addr_group_dst.clone().map(Probe::AddrGroupDst),
        c.traversed_device.clone().map(Probe::TraversedDevice),
        c.icmp_data_src.clone().map(Probe::IcmpDataSrc),
        c.icmp_data_dst.clone().map(Probe::IcmpDataDst),
        flag(c.match_nw_dst_rewritten, Probe::NwDstRewritten),
    ]
    .into_iter()
    .flatten()
    .collect()
}
