//! Rules that translate addresses (agent-facts §14, RFC 4787, RFC 5382, RFC 5508).

use std::net::Ipv6Addr;

use mn_flow::{DropCause, Fragment, Tag, TcpClass};
use mn_ids::ChainId;
use mn_packet::{EtherType, IpProtocol, from_v6, icmp, to_v6};
use mn_topology::snapshot::{Lookup, Probe, RuleView};
use mn_topology::{NatTarget, RuleAction};

use crate::branch::Branch;
use crate::nat::{
    Endpoint, NatBinding, NatKey, NatKind, NatOrigin, NatTuple, SourceChoice, SourceWanted, Way,
    addresses, allows, static_address,
};
use crate::quote::{Quoted, icmp_type, is_error, is_request};
use crate::simulate::{Sim, Stop};
use crate::walk::{NatTold, Step};
use crate::{Effect, StateView};

/// How many places a new destination is tried at. Each is taken only where the same machine and
/// port reached it by another public address already.
const TRIES_MAX: u64 = 64;

/// What of a packet is translated.
#[derive(Clone, Copy)]
pub(crate) enum Subject {
    /// The packet itself.
    Packet(NatTuple),
    /// The packet an ICMP error quotes, and with it the error: the tuple goes the error's way.
    Error(NatTuple),
}

impl<S: StateView + ?Sized> Sim<'_, S> {
    /// Carries out a rule that translates. Whether it applied: one that did not leaves the decision
    /// to the next.
    pub(crate) fn translate(
        &mut self,
        branch: &mut Branch,
        chain: ChainId,
        rule: &RuleView,
    ) -> Result<bool, Stop> {
        let (told, applied) = match &rule.action {
            RuleAction::Snat { targets, .. } => {
                self.translate_forward(branch, chain, rule, NatKind::Source, targets)?
            }
            RuleAction::Dnat { targets, .. } => {
                self.translate_forward(branch, chain, rule, NatKind::Destination, targets)?
            }
            RuleAction::RevSnat { .. } => self.translate_back(branch, NatKind::Source)?,
            RuleAction::RevDnat { .. } => self.translate_back(branch, NatKind::Destination)?,
            _ => return Ok(false),
        };
        branch.translated |= matches!(told, NatTold::New { .. } | NatTold::Known { .. });
        self.note(|| Step::Nat { chain, rule: rule.id, told });
        Ok(applied)
    }

    fn translate_forward(
        &mut self,
        branch: &mut Branch,
        chain: ChainId,
        rule: &RuleView,
        kind: NatKind,
        targets: &[NatTarget],
    ) -> Result<(NatTold, bool), Stop> {
        if let Some(to) = static_address(targets) {
            return Ok(self.set_address(branch, rule, kind, to));
        }
        let Some(subject) = self.subject(branch) else {
            return Ok((NatTold::NotTranslatable, false));
        };
        let Some(device) = branch.device else { return Ok((NatTold::NotTranslatable, false)) };
        let (tuple, error) = subject.of();
        let key = NatKey { kind, device, tuple };
        self.tag(Tag::Nat(key.tag(Way::Forward)));
        let found = self.state.nat_forward(&key);
        let found =
            found.filter(|found| found.by.rule() == Some(rule.id) && allows(targets, found));
        let (binding, told) = match found {
            Some(found) => (found, NatTold::Known { from: tuple.end(kind), to: found.to }),
            // An error begins no connection.
            None if error || !begins(branch) => return Ok((NatTold::Unknown, false)),
            None => {
                let to = self.choose(key, chain, rule, targets)?;
                let binding = NatBinding { key, to, by: NatOrigin::Rule { chain, rule: rule.id } };
                self.effect(Effect::Translate(binding));
                (binding, NatTold::New { from: tuple.end(kind), to })
            }
        };
        let begins = matches!(told, NatTold::New { .. });
        self.carry_forth(branch, &binding, error, begins);
        Ok((told, true))
    }

    /// Makes the packet, or what an error quotes, be as a translation says.
    pub(crate) fn carry_forth(
        &mut self,
        branch: &mut Branch,
        binding: &NatBinding,
        error: bool,
        begins: bool,
    ) {
        let (kind, becomes) = (binding.key.kind, binding.translated());
        if error {
            self.set_quote(branch, becomes);
            match kind {
                NatKind::Source => branch.packet.set_nw_src(becomes.src),
                NatKind::Destination => branch.packet.set_nw_dst(becomes.dst),
            }
        } else {
            self.follow(branch, &binding.key, Way::Forward, begins);
            set_end(branch, kind, binding.to);
        }
        branch.dst_rewritten |= kind == NatKind::Destination;
    }

    /// Undoes what a forward rule did, for an answer.
    fn translate_back(
        &mut self,
        branch: &mut Branch,
        kind: NatKind,
    ) -> Result<(NatTold, bool), Stop> {
        let Some(subject) = self.subject(branch) else {
            return Ok((NatTold::NotTranslatable, false));
        };
        let Some(device) = branch.device else { return Ok((NatTold::NotTranslatable, false)) };
        let key = NatKey { kind, device, tuple: subject.of().0 };
        let found = match self.state.nat_reverse(&key) {
            Some(found) => {
                self.tag(Tag::Nat(found.tag()));
                if self.in_force(&found)? { Some(found) } else { None }
            }
            None => None,
        };
        let Some(binding) = found else {
            self.tag(Tag::Nat(key.tag(Way::Back)));
            return Ok((NatTold::Unknown, false));
        };
        Ok((self.carry_back(branch, &binding, subject), true))
    }

    /// Makes an answer, or an error about a packet that was translated, be one to what the packet
    /// was before.
    pub(crate) fn carry_back(
        &mut self,
        branch: &mut Branch,
        binding: &NatBinding,
        subject: Subject,
    ) -> NatTold {
        // The answer's end of the other kind becomes what the forward packet had before.
        let kind = binding.key.kind;
        let (own, other) = match kind {
            NatKind::Source => (binding.key.tuple.end(kind), NatKind::Destination),
            NatKind::Destination => (binding.key.tuple.end(kind), NatKind::Source),
        };
        let told = NatTold::Known { from: subject.of().0.end(other), to: own };
        match subject {
            Subject::Packet(_) => {
                self.follow(branch, &binding.key, Way::Back, false);
                set_end(branch, other, own);
            }
            Subject::Error(tuple) => {
                self.set_quote(branch, tuple.with(other, own));
                match other {
                    NatKind::Destination => branch.packet.set_nw_dst(own.addr),
                    // A router on the way tells of itself; the translated machine is hidden.
                    NatKind::Source if branch.packet.nw_src() == tuple.src => {
                        branch.packet.set_nw_src(own.addr);
                    }
                    NatKind::Source => {}
                }
            }
        }
        branch.dst_rewritten |= kind == NatKind::Source;
        told
    }

    /// Follows a TCP connection: what tells of its life is seen here where the packet is decided
    /// about, and told by the flow from then on. What comes after the end has brief flows, so that a
    /// new connection between the same ends is not missed.
    fn follow(&mut self, branch: &mut Branch, key: &NatKey, way: Way, begins: bool) {
        if key.tuple.protocol != IpProtocol::TCP {
            return;
        }
        if self.state.nat_has_ended(key) {
            self.closed = true;
            branch.packet.tcp();
        } else if *self.follows.get_or_insert(way) != way {
            // A flow tells of one way alone.
            self.closes |= branch.packet.tcp_ends();
        }
        // This packet's alone: no flow's packets are judged by it.
        let class = branch.packet.headers().class.tcp;
        if !begins || matches!(class, TcpClass::Fin | TcpClass::Rst) {
            self.effect(Effect::Segment { key: *key, way, class });
        }
    }

    /// Whether the rule that made a translation still says so.
    fn in_force(&mut self, binding: &NatBinding) -> Result<bool, Stop> {
        let NatOrigin::Rule { chain: id, rule } = binding.by else { return Ok(false) };
        self.tag(Tag::Chain(id));
        let chain = match self.snapshot.chain(id) {
            Lookup::Absent => return Ok(false),
            lookup => self.found(lookup, id)?,
        };
        let rule = chain.rules().find(|other| other.id == rule);
        Ok(rule.is_some_and(|rule| match (&rule.action, binding.key.kind) {
            (RuleAction::Snat { targets, .. }, NatKind::Source)
            | (RuleAction::Dnat { targets, .. }, NatKind::Destination) => allows(targets, binding),
            _ => false,
        }))
    }

    /// Translates to one address without remembering anything; ports stay (agent-facts §14, end).
    fn set_address(
        &mut self,
        branch: &mut Branch,
        rule: &RuleView,
        kind: NatKind,
        to: Ipv6Addr,
    ) -> (NatTold, bool) {
        let same_version = match branch.packet.eth_type() {
            EtherType::IPV4 => to.to_ipv4_mapped().is_some(),
            // Where neighbour discovery has its target, other packets have their destination.
            EtherType::IPV6 => to.to_ipv4_mapped().is_none() && !branch.packet.neighbor_discovery(),
            _ => false,
        };
        if !same_version {
            return (NatTold::NotTranslatable, false);
        }
        let data = rule.condition.probes.iter().find_map(|probe| match probe {
            Probe::IcmpDataSrc(_) => Some(NatKind::Source),
            Probe::IcmpDataDst(_) => Some(NatKind::Destination),
            _ => None,
        });
        if let Some(end) = data {
            return self.set_quoted_address(branch, end, to);
        }
        let (src, dst) = (branch.packet.nw_src(), branch.packet.nw_dst());
        let was = if kind == NatKind::Source { src } else { dst };
        if is_error(branch)
            && let Some(quote) = self.quote(branch)
        {
            // What the error quotes went the other way.
            let now = quote.now;
            let hidden = Endpoint { addr: to, port: now.reversed().end(kind).port };
            if now.reversed().end(kind).addr == was {
                self.set_quote(branch, now.reversed().with(kind, hidden));
            }
        }
        match kind {
            NatKind::Source => branch.packet.set_nw_src(to),
            NatKind::Destination => {
                branch.packet.set_nw_dst(to);
                branch.dst_rewritten = true;
            }
        }
        (NatTold::Static { from: from_v6(was), to: from_v6(to) }, true)
    }

    /// Translates nothing but an address that an error quotes.
    fn set_quoted_address(
        &mut self,
        branch: &mut Branch,
        end: NatKind,
        to: Ipv6Addr,
    ) -> (NatTold, bool) {
        let Some(quote) = self.quote(branch) else { return (NatTold::NotTranslatable, false) };
        let was = quote.now.end(end);
        let now = quote.now.with(end, Endpoint { addr: to, ..was });
        self.set_quote(branch, now.reversed());
        (NatTold::Static { from: from_v6(was.addr), to: from_v6(to) }, true)
    }

    /// Makes the quoted packet that whose answer goes like this.
    fn set_quote(&self, branch: &mut Branch, way_of_error: NatTuple) {
        if let Quoted::Is(quote) = &mut branch.quote {
            quote.now = way_of_error.reversed();
        }
    }

    /// What of the packet a rule with memory translates: TCP, UDP, echoes, and errors about them.
    pub(crate) fn subject(&mut self, branch: &mut Branch) -> Option<Subject> {
        if !matches!(branch.packet.eth_type(), EtherType::IPV4 | EtherType::IPV6)
            || branch.packet.fragment() == Fragment::Later
        {
            return None;
        }
        let protocol = branch.packet.nw_proto();
        let (src_port, dst_port) = if protocol.has_ports() {
            (branch.packet.tp_src(), branch.packet.tp_dst())
        } else {
            let (protocol, ty) = icmp_type(branch)?;
            if icmp::is_error(protocol, ty) {
                let quote = self.quote(branch)?;
                let same_version =
                    quote.now.dst.to_ipv4_mapped().is_some() == (protocol == IpProtocol::ICMP);
                return (quote.has_ports && same_version)
                    .then(|| Subject::Error(quote.now.reversed()));
            }
            if !icmp::is_echo(protocol, ty) {
                return None;
            }
            let id = branch.packet.tp_dst();
            if is_request(ty) { (id, 0) } else { (0, id) }
        };
        let (src, dst) = (branch.packet.nw_src(), branch.packet.nw_dst());
        Some(Subject::Packet(NatTuple { protocol, src, dst, src_port, dst_port }))
    }

    /// A new end for a connection, that no other has.
    fn choose(
        &mut self,
        key: NatKey,
        chain: ChainId,
        rule: &RuleView,
        targets: &[NatTarget],
    ) -> Result<Endpoint, Stop> {
        let exhausted = Stop::Drop(DropCause::NatExhausted, Some(rule.id));
        let v4 = key.tuple.dst.to_ipv4_mapped().is_some();
        if !targets.iter().any(|target| target.addr_from.is_ipv4() == v4) {
            return Err(Stop::Drop(DropCause::Unsupported, Some(rule.id)));
        }
        match key.kind {
            NatKind::Source => {
                let wanted = SourceWanted { key, rule: rule.id, targets, seed: self.inputs.seed };
                let told = match self.state.free_source(&wanted) {
                    SourceChoice::Is(end) => return Ok(end),
                    SourceChoice::NoLease => NatTold::NoLease,
                    SourceChoice::Exhausted => NatTold::Exhausted,
                };
                let stop = match told {
                    NatTold::NoLease => {
                        Stop::AwaitLease { device: key.device, chain, rule: rule.id }
                    }
                    _ => exhausted,
                };
                self.note(|| Step::Nat { chain, rule: rule.id, told });
                Err(stop)
            }
            NatKind::Destination => {
                let seed = key.tag(Way::Forward).0;
                let seed = mn_flow::mix(self.inputs.seed, u128::from_be_bytes(seed));
                let found = (0..TRIES_MAX).find_map(|nth| {
                    let to = destination(targets, &key.tuple, seed.wrapping_add(nth))?;
                    let by = NatOrigin::Rule { chain, rule: rule.id };
                    let binding = NatBinding { key, to, by };
                    let holder = self.state.nat_reverse(&binding.answer());
                    holder.is_none_or(|holder| holder.key == key).then_some(to)
                });
                if found.is_none() {
                    self.note(|| Step::Nat { chain, rule: rule.id, told: NatTold::Exhausted });
                }
                found.ok_or(exhausted)
            }
        }
    }
}

impl Subject {
    /// The ends as a packet that goes its way has them, and whether it is an error about one.
    pub(crate) const fn of(self) -> (NatTuple, bool) {
        match self {
            Self::Packet(tuple) => (tuple, false),
            Self::Error(tuple) => (tuple, true),
        }
    }
}

/// Whether a packet may begin a connection: of echoes only the request.
fn begins(branch: &mut Branch) -> bool {
    icmp_type(branch).is_none_or(|(_, ty)| is_request(ty))
}

/// Sets one end of the packet.
fn set_end(branch: &mut Branch, kind: NatKind, end: Endpoint) {
    let has_ports = branch.packet.nw_proto().has_ports();
    match kind {
        NatKind::Source => branch.packet.set_nw_src(end.addr),
        NatKind::Destination => branch.packet.set_nw_dst(end.addr),
    }
    if has_ports {
        match kind {
            NatKind::Source => branch.packet.set_tp_src(end.port),
            NatKind::Destination => branch.packet.set_tp_dst(end.port),
        }
    } else if asks(branch) == (kind == NatKind::Source) {
        branch.packet.set_tp_dst(end.port);
    }
}

/// Whether an echo is the request, whose source has the identifier.
fn asks(branch: &mut Branch) -> bool {
    icmp_type(branch).is_some_and(|(_, ty)| is_request(ty))
}

/// The destination that a number stands for, of all addresses and ports of the targets.
fn destination(targets: &[NatTarget], tuple: &NatTuple, number: u64) -> Option<Endpoint> {
    let v4 = tuple.dst.to_ipv4_mapped().is_some();
    let fitting =
        || targets.iter().filter(|target| to_v6(target.addr_from).to_ipv4_mapped().is_some() == v4);
    let has_ports = tuple.protocol.has_ports();
    let sizes = |target: &NatTarget| {
        let (first, last) = addresses(target);
        let ports = if has_ports && target.port_to != 0 {
            u64::from(target.port_to - target.port_from) + 1
        } else {
            1
        };
        (u64::try_from(last - first).unwrap_or(u64::MAX >> 17).min(u64::MAX >> 17) + 1, ports)
    };
    let count = |target: &NatTarget| sizes(target).0 * sizes(target).1;
    let total = fitting().map(count).fold(0_u64, u64::saturating_add);
    let mut left = number.checked_rem(total)?;
    for target in fitting() {
        if left >= count(target) {
            left -= count(target);
            continue;
        }
        let (_, ports) = sizes(target);
        let addr = addresses(target).0 + u128::from(left / ports);
        let port = if has_ports && target.port_to != 0 {
            target.port_from + (left % ports) as u16
        } else {
            tuple.dst_port
        };
        return Some(Endpoint { addr: addr.into(), port });
    }
    None
}
