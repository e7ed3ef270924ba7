//! What is remembered of an address translation, and by what it is found again (agent-facts §14).

use std::net::Ipv6Addr;

use mn_flow::{NatTag, mix};
use mn_ids::{ChainId, PoolId, PoolMemberId, RuleId};
use mn_packet::{IpProtocol, to_v6};
use mn_topology::{DeviceId, NatTarget};

/// Which end of a connection is translated.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub enum NatKind {
    Source,
    Destination,
}

/// The ends of a connection as one packet of it has them.
///
/// An echo has its identifier as the port of the side that asks, and 0 as the other's: a request
/// and its reply are each other's reverse, like the packets of any connection.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct NatTuple {
    pub protocol: IpProtocol,
    pub src: Ipv6Addr,
    pub dst: Ipv6Addr,
    pub src_port: u16,
    pub dst_port: u16,
}

/// By what a translation is found: going forward the tuple that the rule saw, coming back the tuple
/// that the answer has.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct NatKey {
    pub kind: NatKind,
    /// The bridge or router whose rule translates.
    pub device: DeviceId,
    pub tuple: NatTuple,
}

/// An address, and a port or identifier.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct Endpoint {
    pub addr: Ipv6Addr,
    pub port: u16,
}

/// A translation that is remembered.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub struct NatBinding {
    /// The forward key.
    pub key: NatKey,
    /// What its source or destination becomes.
    pub to: Endpoint,
    /// Who said so: without that the translation is not used.
    pub by: NatOrigin,
}

/// What a translation was made by.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum NatOrigin {
    /// A rule of a chain.
    Rule { chain: ChainId, rule: RuleId },
    /// The router's load balancer, which chose this member for the connection.
    Pool { pool: PoolId, member: PoolMemberId },
    /// The router's load balancer keeps new connections of a client on this member. The key has the
    /// client's address and, for its port, the virtual address's, whose place is left 0, as in `to`:
    /// each virtual address has its own. No packet is translated by it.
    Client { pool: PoolId, member: PoolMemberId },
}

/// One side of what a load balancer does: a virtual address, or a member.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub struct Service {
    /// The router that the load balancer is at.
    pub device: DeviceId,
    pub protocol: IpProtocol,
    pub end: Endpoint,
}

impl NatTuple {
    /// The tuple of the answer.
    #[must_use]
    pub const fn reversed(self) -> Self {
        Self {
            protocol: self.protocol,
            src: self.dst,
            dst: self.src,
            src_port: self.dst_port,
            dst_port: self.src_port,
        }
    }

    /// The end of this kind.
    #[must_use]
    pub const fn end(self, kind: NatKind) -> Endpoint {
        match kind {
            NatKind::Source => Endpoint { addr: self.src, port: self.src_port },
            NatKind::Destination => Endpoint { addr: self.dst, port: self.dst_port },
        }
    }

    /// The tuple with another end of this kind.
    #[must_use]
    pub const fn with(self, kind: NatKind, end: Endpoint) -> Self {
        match kind {
            NatKind::Source => Self { src: end.addr, src_port: end.port, ..self },
            NatKind::Destination => Self { dst: end.addr, dst_port: end.port, ..self },
        }
    }
}

impl NatOrigin {
    /// The rule, where it was one.
    #[must_use]
    pub const fn rule(self) -> Option<RuleId> {
        match self {
            Self::Rule { rule, .. } => Some(rule),
            Self::Pool { .. } | Self::Client { .. } => None,
        }
    }
}

/// Names to flows whether a load balancer of this device has sent any connection to an address.
#[must_use]
pub fn member_tag(device: DeviceId, member: Ipv6Addr) -> NatTag {
    let (dst, src_port, dst_port) = (Ipv6Addr::UNSPECIFIED, 0, 0);
    let tuple = NatTuple { protocol: IpProtocol(0), src: member, dst, src_port, dst_port };
    NatKey { kind: NatKind::Destination, device, tuple }.tag(Way::Back)
}

impl NatBinding {
    /// The member that the connection was balanced to, and the virtual address that it came to;
    /// `None` for any other translation.
    #[must_use]
    pub fn balanced(&self) -> Option<[Service; 2]> {
        let NatOrigin::Pool { .. } = self.by else { return None };
        let (device, protocol) = (self.key.device, self.key.tuple.protocol);
        let service = |end| Service { device, protocol, end };
        Some([service(self.to), service(self.key.tuple.end(NatKind::Destination))])
    }

    /// Whether it translates nothing, and says which member a client's connections go to.
    #[must_use]
    pub const fn ties_client(&self) -> bool {
        matches!(self.by, NatOrigin::Client { .. })
    }

    /// The tuple of packets that were translated.
    #[must_use]
    pub const fn translated(&self) -> NatTuple {
        self.key.tuple.with(self.key.kind, self.to)
    }

    /// The key by which the answer finds it.
    #[must_use]
    pub const fn answer(&self) -> NatKey {
        NatKey { tuple: self.translated().reversed(), ..self.key }
    }

    /// What all flows that use it carry.
    #[must_use]
    pub fn tag(&self) -> NatTag {
        self.key.tag(Way::Forward)
    }

    /// What flows carry that looked for it in vain with an answer.
    #[must_use]
    pub fn answer_tag(&self) -> NatTag {
        self.answer().tag(Way::Back)
    }
}

/// The way a key was looked up.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Way {
    Forward,
    Back,
}

impl NatKey {
    /// Names the key to flows that looked it up this way.
    #[must_use]
    pub fn tag(&self, way: Way) -> NatTag {
        let NatTuple { protocol, src, dst, src_port, dst_port } = self.tuple;
        let device: mn_ids::ObjectKey = self.device.into();
        let small = u128::from(protocol.0)
            | u128::from(src_port) << 8
            | u128::from(dst_port) << 24
            | (self.kind as u128) << 40
            | u128::from(way == Way::Back) << 41;
        let words = [device.id.as_u128(), src.to_bits(), dst.to_bits(), small];
        let half = |seed| words.iter().fold(seed, |hash, word| mix(hash, *word));
        let (high, low) = (half(0x6d69_646f), half(0x6e65_7421));
        NatTag((u128::from(high) << 64 | u128::from(low)).to_be_bytes())
    }
}

/// What a new source is wanted for.
#[derive(Clone, Copy, Debug)]
pub struct SourceWanted<'a> {
    /// The forward key.
    pub key: NatKey,
    pub rule: RuleId,
    pub targets: &'a [NatTarget],
    /// For choices that want chance.
    pub seed: u64,
}

/// A new source.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum SourceChoice {
    /// No other connection to the same destination has it.
    Is(Endpoint),
    /// None is free in the ports leased so far; more may be had.
    NoLease,
    /// None is free, and no more can be leased.
    Exhausted,
}

/// The ports that new sources are taken from. A target without ports stands for all that are not
/// well known: ports cannot be left alone where two machines may have chosen the same.
#[must_use]
pub fn source_ports(target: &NatTarget) -> (u16, u16) {
    if target.port_to == 0 { (1024, u16::MAX) } else { (target.port_from.max(1), target.port_to) }
}

/// The addresses of a target, first and last, as flow keys have them.
#[must_use]
pub fn addresses(target: &NatTarget) -> (u128, u128) {
    (to_v6(target.addr_from).to_bits(), to_v6(target.addr_to).to_bits())
}

/// The address of a translation that has one address and leaves ports alone: it needs no memory.
#[must_use]
pub fn static_address(targets: &[NatTarget]) -> Option<Ipv6Addr> {
    match targets {
        [one] if one.addr_from == one.addr_to && one.port_to == 0 => Some(to_v6(one.addr_from)),
        _ => None,
    }
}

/// Whether a rule with these targets may have made a translation.
#[must_use]
pub fn allows(targets: &[NatTarget], binding: &NatBinding) -> bool {
    let within = |target: &NatTarget| {
        let (first, last) = addresses(target);
        let ports = match binding.key.kind {
            NatKind::Source => Some(source_ports(target)),
            // An echo's identifier is not the destination's to choose.
            NatKind::Destination if !binding.key.tuple.protocol.has_ports() => None,
            NatKind::Destination if target.port_to == 0 => {
                let kept = binding.key.tuple.dst_port;
                Some((kept, kept))
            }
            NatKind::Destination => Some((target.port_from, target.port_to)),
        };
        let port = binding.to.port;
        (first..=last).contains(&binding.to.addr.to_bits())
            && ports.is_none_or(|(first, last)| (first..=last).contains(&port))
    };
    static_address(targets).is_none() && targets.iter().any(within)
}
