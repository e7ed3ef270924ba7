//! Conditions compiled: only the tests that are set, in the order they are to be made.

use mn_ids::{IpAddrGroupId, PortGroupId, PortId};
use mn_packet::{EtherType, IpPrefix, IpProtocol};
use uuid::Uuid;

use crate::object::{Condition, FragmentPolicy, MaskedMac, PortRange, Test};

/// The condition of a rule or a mirror.
#[derive(Clone, Debug, PartialEq)]
pub struct ConditionView {
    /// Which fragments it looks at. Not inverted by `inverted`.
    pub fragment_policy: FragmentPolicy,
    /// Matches where not all of `probes` pass.
    pub inverted: bool,
    /// The tests that are set, in the order of agent-facts §13.
    pub probes: Box<[Probe]>,
}

impl ConditionView {
    pub(super) fn of(condition: &Condition) -> Self {
        Self {
            fragment_policy: condition.fragment_policy,
            inverted: condition.inverted,
            probes: probes(condition),
        }
    }
}

/// One test of a condition. [`Test`] says whether the value is to be in the set or not.
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
