//! Conditions: whether a rule or mirror is about the packet (agent-facts §13).
//!
//! A test reads what it needs and no more, and the first that fails ends the reading. A header that
//! the packet does not have is in no set: `Is` fails, `IsNot` passes.

use std::net::{IpAddr, Ipv6Addr};

use mn_flow::{Conn, Fragment, Tag, TcpClass};
use mn_ids::{PortGroupId, PortId};
use mn_packet::{EtherType, IcmpHeader, IpPrefix, IpProtocol, from_v6, icmp};
use mn_topology::snapshot::{ConditionView, Lookup, Probe};
use mn_topology::{FragmentPolicy, PortRange, Test};

use crate::branch::Branch;
use crate::simulate::{Sim, Stop};
use crate::{Entry, StateView};

impl<S: StateView + ?Sized> Sim<'_, S> {
    /// Whether the condition of a rule or a mirror holds.
    pub(crate) fn matches(
        &mut self,
        branch: &mut Branch,
        condition: &ConditionView,
    ) -> Result<bool, Stop> {
        if !looks_at(condition.fragment_policy, branch) {
            return Ok(false);
        }
        for probe in &condition.probes {
            if !self.passes(branch, probe)? {
                return Ok(condition.inverted);
            }
        }
        Ok(!condition.inverted)
    }

    fn passes(&mut self, branch: &mut Branch, probe: &Probe) -> Result<bool, Stop> {
        Ok(match probe {
            Probe::ForwardFlow => self.is_forward(branch),
            Probe::ReturnFlow => !self.is_forward(branch),
            Probe::ValidFlow(valid) => self.is_valid(branch) == *valid,
            Probe::NoVlan => !branch.packet.vlan().is_present(),
            Probe::Vlan(vlan) => {
                let tag = branch.packet.vlan();
                tag.is_present() && tag.wire() & 0xfff == *vlan
            }
            Probe::ExteriorPortGroup(test) => {
                self.in_group(test, branch.in_port.filter(|_| branch.in_exterior))?
            }
            Probe::InPortGroup(test) => self.in_group(test, branch.in_port)?,
            Probe::OutPortGroup(test) => self.in_group(test, branch.out_port)?,
            Probe::InPorts(test) => in_ports(test, branch.in_port),
            Probe::OutPorts(test) => in_ports(test, branch.out_port),
            Probe::EthType(test) => {
                let eth_type = branch.packet.eth_type();
                holds(test, Some(eth_type), |set, value| *set == value)
            }
            Probe::EthSrc(test) => {
                let mac = branch.packet.eth_src();
                holds(test, Some(mac), |set, value| set.contains(value))
            }
            Probe::EthDst(test) => {
                let mac = branch.packet.eth_dst();
                holds(test, Some(mac), |set, value| set.contains(value))
            }
            Probe::NwTos(test) => {
                let tos = is_ip(branch).then(|| branch.packet.nw_tos());
                holds(test, tos, |set, value| *set == value)
            }
            Probe::NwProto(test) => {
                // ARP has its operation there.
                let proto = has_network(branch).then(|| branch.packet.nw_proto());
                holds(test, proto, |set, value| *set == value)
            }
            Probe::NwSrc(test) => in_prefix(test, branch, Side::Src),
            Probe::NwDst(test) => in_prefix(test, branch, Side::Dst),
            Probe::TpSrc(test) => in_range(test, tp(branch, Side::Src)),
            Probe::TpDst(test) => in_range(test, tp(branch, Side::Dst)),
            Probe::AddrGroupSrc(test) => {
                let addr = has_network(branch).then(|| branch.packet.nw_src());
                self.in_addr_group(test, addr)?
            }
            Probe::AddrGroupDst(test) => {
                let addr = has_network(branch).then(|| branch.packet.nw_dst());
                self.in_addr_group(test, addr)?
            }
            Probe::TraversedDevice(test) => {
                holds(test, Some(&branch.crossed), |id, crossed| crossed.contains(id))
            }
            Probe::IcmpDataSrc(test) => {
                let quoted = self.quoted(branch);
                holds(test, quoted, |set, (src, _)| set.contains(src))
            }
            Probe::IcmpDataDst(test) => {
                let quoted = self.quoted(branch);
                holds(test, quoted, |set, (_, dst)| set.contains(dst))
            }
            Probe::NwDstRewritten => branch.dst_rewritten,
        })
    }

    /// Whether the packet goes the way its connection's first went. Packets of our own are answers.
    fn is_forward(&mut self, branch: &mut Branch) -> bool {
        if branch.own || matches!(self.inputs.entry, Entry::Egress(_) | Entry::Router(_)) {
            return false;
        }
        let forward = branch.packet.conn() != Conn::Return;
        branch.track |= forward;
        forward
    }

    /// Whether the packet belongs to a connection, or may open one. Packets of our own do.
    fn is_valid(&mut self, branch: &mut Branch) -> bool {
        // Asked first: the connection is to be followed, be it the validity alone that is wanted.
        let forward = self.is_forward(branch);
        if !forward || branch.packet.conn() == Conn::Forward {
            return true;
        }
        let is_v4 = match branch.packet.eth_type() {
            EtherType::IPV4 => true,
            EtherType::IPV6 => false,
            _ => return true,
        };
        // Its first fragment was not seen, so nothing says what it belongs to.
        if branch.packet.fragment() == Fragment::Later {
            return false;
        }
        match branch.packet.nw_proto() {
            IpProtocol::TCP => branch.packet.tcp() == TcpClass::Syn,
            IpProtocol::ICMP if is_v4 => {
                let ty = (branch.packet.tp_src() >> 8) as u8;
                ty != IcmpHeader::ECHO_REPLY && !icmp::is_error(IpProtocol::ICMP, ty)
            }
            IpProtocol::ICMPV6 if !is_v4 => {
                let ty = (branch.packet.tp_src() >> 8) as u8;
                ty != IcmpHeader::V6_ECHO_REPLY && !icmp::is_error(IpProtocol::ICMPV6, ty)
            }
            _ => true,
        }
    }

    fn in_group(&mut self, test: &Test<PortGroupId>, port: Option<PortId>) -> Result<bool, Stop> {
        let id = *test.set();
        self.tag(Tag::PortGroup(id));
        let group = match self.snapshot.port_group(id) {
            Lookup::Absent => None,
            lookup => Some(self.found(lookup, id)?),
        };
        Ok(holds(test, port, |_, port| group.is_some_and(|group| group.contains(port))))
    }

    fn in_addr_group(
        &mut self,
        test: &Test<mn_ids::IpAddrGroupId>,
        addr: Option<Ipv6Addr>,
    ) -> Result<bool, Stop> {
        let id = *test.set();
        self.tag(Tag::IpAddrGroup(id));
        let group = match self.snapshot.ip_addr_group(id) {
            Lookup::Absent => None,
            lookup => Some(self.found(lookup, id)?),
        };
        Ok(holds(test, addr, |_, addr| group.is_some_and(|group| group.contains(addr))))
    }

    /// The source and destination of the packet that an ICMP error quotes, as rules have made it.
    fn quoted(&mut self, branch: &mut Branch) -> Option<(IpAddr, IpAddr)> {
        let now = self.quote(branch)?.now;
        Some((from_v6(now.src), from_v6(now.dst)))
    }
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Side {
    Src,
    Dst,
}

/// Applies a test to a value that may not be there.
fn holds<A, V>(test: &Test<A>, value: Option<V>, accepts: impl FnOnce(&A, V) -> bool) -> bool {
    let inside = value.is_some_and(|value| accepts(test.set(), value));
    match test {
        Test::Is(_) => inside,
        Test::IsNot(_) => !inside,
    }
}

fn in_ports(test: &Test<Box<[PortId]>>, port: Option<PortId>) -> bool {
    holds(test, port, |set, port| set.binary_search(&port).is_ok())
}

/// Whether a rule with this policy looks at the packet at all.
fn looks_at(policy: FragmentPolicy, branch: &mut Branch) -> bool {
    match policy {
        FragmentPolicy::Any => true,
        FragmentPolicy::Unfragmented => branch.packet.fragment() == Fragment::None,
        FragmentPolicy::Header => branch.packet.fragment() != Fragment::Later,
        FragmentPolicy::Nonheader => branch.packet.fragment() == Fragment::Later,
    }
}

fn is_ip(branch: &mut Branch) -> bool {
    matches!(branch.packet.eth_type(), EtherType::IPV4 | EtherType::IPV6)
}

/// Whether it has network addresses: ARP's are the sender's and the target's.
fn has_network(branch: &mut Branch) -> bool {
    matches!(branch.packet.eth_type(), EtherType::IPV4 | EtherType::IPV6 | EtherType::ARP)
}

/// Reads as many bits of an address as the prefix has, and none where the version decides.
fn in_prefix(test: &Test<IpPrefix>, branch: &mut Branch, side: Side) -> bool {
    let set = test.set();
    let v4 = match branch.packet.eth_type() {
        EtherType::IPV4 | EtherType::ARP => true,
        EtherType::IPV6 => false,
        _ => return holds(test, None::<()>, |_, ()| true),
    };
    if v4 != set.network().is_ipv4() {
        return holds(test, None::<()>, |_, ()| true);
    }
    let network = mn_packet::to_v6(set.network());
    let inside = set.len() == 0
        || match side {
            Side::Src => branch.packet.nw_src_begins(network, set.len_in_key()),
            Side::Dst => branch.packet.nw_dst_begins(network, set.len_in_key()),
        };
    inside == matches!(test, Test::Is(_))
}

/// The port of TCP and UDP; of ICMP the type as source and the code as destination.
fn tp(branch: &mut Branch, side: Side) -> Option<u16> {
    let own_icmp = match branch.packet.eth_type() {
        EtherType::IPV4 => IpProtocol::ICMP,
        EtherType::IPV6 => IpProtocol::ICMPV6,
        _ => return None,
    };
    let protocol = branch.packet.nw_proto();
    let is_icmp = protocol == own_icmp;
    if !(protocol.has_ports() || is_icmp) || branch.packet.fragment() == Fragment::Later {
        return None;
    }
    Some(match (is_icmp, side) {
        (true, Side::Src) => branch.packet.tp_src() >> 8,
        (true, Side::Dst) => branch.packet.tp_src() & 0xff,
        (false, Side::Src) => branch.packet.tp_src(),
        (false, Side::Dst) => branch.packet.tp_dst(),
    })
}

fn in_range(test: &Test<PortRange>, value: Option<u16>) -> bool {
    holds(test, value, |set, value| (set.start..=set.end).contains(&value))
}
