//! Load balancing: which member of a pool takes a connection to a virtual address (agent-facts §16).
//!
//! A router asks its load balancer after its own inbound filter and before it looks for a route;
//! answers are from the virtual address again before its outbound filter. So both filters see the
//! members and not the virtual address on one side only: inbound rules see what clients see, and so
//! do outbound rules of answers.

use mn_flow::{DropCause, Tag, TcpClass, mix};
use mn_packet::{IpProtocol, from_v6, to_v6};
use mn_topology::snapshot::{Eligible, LoadBalancerView, Lookup, PoolView, RouterView};
use mn_topology::{DeviceId, LbMethod, LbProtocol, Vip};

use crate::branch::Branch;
use crate::nat::{
    Endpoint, NatBinding, NatKey, NatKind, NatOrigin, NatTuple, Service, Way, member_tag,
};
use crate::quote::is_error;
use crate::simulate::{Sim, Stop};
use crate::walk::{BalanceTold, MemberBy, NatTold, Step};
use crate::{Effect, StateView};

/// How many members a new connection is tried with. One does not fit where the same client has a
/// connection to it, from the same port, by another virtual address.
const TRIES_MAX: u64 = 64;

impl<'a, S: StateView + ?Sized> Sim<'a, S> {
    /// Sends a packet to a virtual address to the member that has its connection, or to one that is
    /// chosen now.
    pub(crate) fn balance(&mut self, branch: &mut Branch, router: &RouterView) -> Result<(), Stop> {
        let Some(balancer) = self.balancer(router)? else { return Ok(()) };
        let addr = branch.packet.nw_dst();
        self.tag(Tag::Vip { load_balancer: balancer.id, addr });
        if !balancer.is_at(addr) {
            return Ok(());
        }
        let Some(subject) = self.subject(branch) else { return Ok(()) };
        let (tuple, error) = subject.of();
        let Some(vip) = vip_of(balancer, &tuple) else { return Ok(()) };
        let pool = self.pool(vip)?;
        let device = DeviceId::Router(router.id);
        let key = NatKey { kind: NatKind::Destination, device, tuple };
        self.tag(Tag::Nat(key.tag(Way::Forward)));
        let kept = self.state.nat_forward(&key).filter(|kept| is_in_force(kept, vip, pool));
        let kept = kept.filter(|kept| !self.begins_anew(branch, kept, pool));
        let from = tuple.end(NatKind::Destination);
        let (binding, told) = match kept {
            Some(kept) => (kept, BalanceTold::Known { from, to: kept.to }),
            // An error begins no connection.
            None if error => return Ok(()),
            None => {
                let (binding, by) = self.choose_member(key, vip, pool)?;
                self.effect(Effect::Translate(binding));
                (binding, BalanceTold::New { from, to: binding.to, by })
            }
        };
        self.note_balanced(vip, &binding, told);
        let begins = matches!(told, BalanceTold::New { .. });
        self.carry_forth(branch, &binding, error, begins);
        branch.translated = true;
        Ok(())
    }

    /// Makes an answer of a balanced connection come from the virtual address. One of a connection
    /// that is balanced no longer goes nowhere: its receiver never spoke to that member.
    pub(crate) fn answer_for_vip(
        &mut self,
        branch: &mut Branch,
        router: &RouterView,
    ) -> Result<(), Stop> {
        let Some(balancer) = self.balancer(router)? else { return Ok(()) };
        let (device, src) = (DeviceId::Router(router.id), branch.packet.nw_src());
        self.tag(Tag::Nat(member_tag(device, src)));
        // An error about a balanced packet may come from a router before its member.
        if !self.state.is_balanced_to(router.id, src) && !is_error(branch) {
            return Ok(());
        }
        let Some(subject) = self.subject(branch) else { return Ok(()) };
        let (tuple, _) = subject.of();
        let key = NatKey { kind: NatKind::Destination, device, tuple };
        let Some(binding) = self.state.nat_reverse(&key).filter(|it| it.balanced().is_some())
        else {
            self.tag(Tag::Nat(key.tag(Way::Back)));
            return Ok(());
        };
        self.tag(Tag::Nat(binding.tag()));
        let came_to = binding.key.tuple;
        self.tag(Tag::Vip { load_balancer: balancer.id, addr: came_to.dst });
        let gone = Err(DropCause::NoLongerBalanced.into());
        let Some(vip) = vip_of(balancer, &came_to) else { return gone };
        let pool = self.pool(vip)?;
        if !is_in_force(&binding, vip, pool) {
            self.tag(Tag::Pool(pool.id));
            self.note_balanced(vip, &binding, BalanceTold::Gone);
            return gone;
        }
        if let NatTold::Known { from, to } = self.carry_back(branch, &binding, subject) {
            self.note_balanced(vip, &binding, BalanceTold::Answer { from, to });
        }
        branch.translated = true;
        Ok(())
    }

    /// The router's load balancer, where there is one that is up.
    fn balancer(&mut self, router: &RouterView) -> Result<Option<&'a LoadBalancerView>, Stop> {
        let Some(id) = router.load_balancer_id else { return Ok(None) };
        self.tag(Tag::LoadBalancer(id));
        let balancer = match self.snapshot.load_balancer(id) {
            Lookup::Absent => return Ok(None),
            lookup => self.found(lookup, id)?,
        };
        Ok(Some(balancer).filter(|balancer| balancer.admin_state_up))
    }

    fn pool(&mut self, vip: &Vip) -> Result<&'a PoolView, Stop> {
        self.found(self.snapshot.pool(vip.pool_id), vip.pool_id)
    }

    /// Whether a packet of a connection that has ended begins one between the same ends, which its
    /// member is not to get.
    fn begins_anew(&mut self, branch: &mut Branch, kept: &NatBinding, pool: &PoolView) -> bool {
        let NatOrigin::Pool { member, .. } = kept.by else { return false };
        kept.key.tuple.protocol == IpProtocol::TCP
            && pool.member(member).is_none()
            && self.state.nat_has_ended(&kept.key)
            && branch.packet.tcp() == TcpClass::Syn
    }

    /// The member for a new connection, and what decided for it.
    fn choose_member(
        &mut self,
        key: NatKey,
        vip: &Vip,
        pool: &PoolView,
    ) -> Result<(NatBinding, MemberBy), Stop> {
        if !pool.admin_state_up || pool.total_weight() == 0 {
            self.tag(Tag::Pool(pool.id));
            return Err(self.refuse(vip, BalanceTold::NoMember, DropCause::NoPoolMember));
        }
        let NatTuple { protocol, dst, dst_port, .. } = key.tuple;
        let came_to = Endpoint { addr: dst, port: dst_port };
        let service = Service { device: key.device, protocol, end: came_to };
        if vip
            .connection_limit
            .is_some_and(|most| self.state.connections_of_vip(&service) >= most.get())
        {
            return Err(self.refuse(vip, BalanceTold::Limit, DropCause::VipConnectionLimit));
        }
        let client = vip.session_persistence.map(|_| client_key(&key));
        let had = client.and_then(|client| self.member_of_client(&client, pool));
        let had = had.map(|member| (binding(key, pool, member), MemberBy::Persistence));
        if let Some(had) = had.filter(|(binding, _)| self.is_free(binding)) {
            return Ok(had);
        }
        let chosen = (0..TRIES_MAX).find_map(|nth| {
            let (member, by) = self.pick(&key, client.is_some(), pool, nth)?;
            let chosen = binding(key, pool, member);
            self.is_free(&chosen).then_some((chosen, by))
        });
        let Some((chosen, by)) = chosen else {
            return Err(self.refuse(vip, BalanceTold::Exhausted, DropCause::NatExhausted));
        };
        if let (Some(client), NatOrigin::Pool { pool, member }) = (client, chosen.by) {
            let by = NatOrigin::Client { pool, member };
            let to = client.tuple.end(NatKind::Destination);
            self.effect(Effect::Translate(NatBinding { key: client, to, by }));
        }
        Ok((chosen, by))
    }

    /// The member that has a client's connections, if new ones may go to it.
    fn member_of_client<'p>(&self, client: &NatKey, pool: &'p PoolView) -> Option<&'p Eligible> {
        match self.state.nat_forward(client)?.by {
            NatOrigin::Client { pool: of, member } if of == pool.id => pool.member(member),
            _ => None,
        }
    }

    /// The member that the pool's method chooses; another one perhaps for every try.
    fn pick<'p>(
        &self,
        key: &NatKey,
        sticky: bool,
        pool: &'p PoolView,
        nth: u64,
    ) -> Option<(&'p Eligible, MemberBy)> {
        let NatTuple { src, src_port, .. } = key.tuple;
        // Where all connections of a client are to go to one member, hosts that hear of it at the
        // same time choose alike.
        let port = if sticky { 0 } else { src_port };
        let client = mix(mix(nth, src.to_bits()), u128::from(port));
        let chance = if sticky {
            client
        } else {
            let own = key.tag(Way::Forward).0;
            mix(self.inputs.seed.wrapping_add(nth), u128::from_be_bytes(own))
        };
        Some(match pool.lb_method {
            LbMethod::ConsistentHash => (pool.at_hash(client)?, MemberBy::Hash),
            LbMethod::LeastConnections if nth == 0 => {
                (self.least(key, pool, chance)?, MemberBy::LeastConnections)
            }
            LbMethod::LeastConnections | LbMethod::RoundRobin => {
                (pool.at_weight(chance.checked_rem(pool.total_weight())?)?, MemberBy::Weight)
            }
        })
    }

    /// The member with the fewest connections for its weight, the one that is to come counted in. Of
    /// several the first from a place that chance says. Looks at each.
    fn least<'p>(&self, key: &NatKey, pool: &'p PoolView, chance: u64) -> Option<&'p Eligible> {
        let from = usize::try_from(chance.checked_rem(pool.eligible().len() as u64)?).ok()?;
        let turn = pool.weighed().skip(from).chain(pool.weighed().take(from));
        let (device, protocol) = (key.device, key.tuple.protocol);
        let counted = turn.map(|(member, weight)| {
            let service = Service { device, protocol, end: end(member) };
            (member, u64::from(self.state.connections_of_member(&service)) + 1, weight)
        });
        let less = |a: &(_, u64, u64), b: &(_, u64, u64)| {
            (u128::from(a.1) * u128::from(b.2)).cmp(&(u128::from(b.1) * u128::from(a.2)))
        };
        counted.min_by(less).map(|(member, ..)| member)
    }

    /// Whether answers of this connection are told from those of all others.
    fn is_free(&self, binding: &NatBinding) -> bool {
        let holder = self.state.nat_reverse(&binding.answer());
        holder.is_none_or(|it| it.key == binding.key || self.state.nat_has_ended(&it.key))
    }

    fn refuse(&mut self, vip: &Vip, told: BalanceTold, cause: DropCause) -> Stop {
        self.note_balance(vip, None, told);
        cause.into()
    }

    fn note_balanced(&mut self, vip: &Vip, binding: &NatBinding, told: BalanceTold) {
        let NatOrigin::Pool { pool, member } = binding.by else { return };
        self.tag(Tag::PoolMember { pool, member });
        self.note_balance(vip, Some(member), told);
    }

    fn note_balance(&mut self, vip: &Vip, member: Option<mn_ids::PoolMemberId>, told: BalanceTold) {
        let Some(load_balancer) = vip.load_balancer_id else { return };
        let at = Endpoint { addr: to_v6(vip.address), port: vip.protocol_port.get() };
        let (vip, pool) = (vip.id, vip.pool_id);
        self.note(|| Step::Balance { load_balancer, vip, at, pool, member, told });
    }
}

/// The virtual address that a connection with these ends is one to.
fn vip_of<'b>(balancer: &'b LoadBalancerView, tuple: &NatTuple) -> Option<&'b Vip> {
    let protocol = LbProtocol::from_number(tuple.protocol)?;
    balancer.vip(tuple.dst, protocol, tuple.dst_port)
}

/// Whether a connection still goes to its member: to whom it was balanced may keep it as long as
/// nobody found it dead.
fn is_in_force(binding: &NatBinding, vip: &Vip, pool: &PoolView) -> bool {
    let NatOrigin::Pool { pool: of, member } = binding.by else { return false };
    of == vip.pool_id
        && pool.keeper(member).is_some_and(|(addr, port)| {
            (addr, port.get()) == (from_v6(binding.to.addr), binding.to.port)
        })
}

fn binding(key: NatKey, pool: &PoolView, member: &Eligible) -> NatBinding {
    NatBinding { key, to: end(member), by: NatOrigin::Pool { pool: pool.id, member: member.id } }
}

fn end(member: &Eligible) -> Endpoint {
    Endpoint { addr: to_v6(member.address), port: member.port.get() }
}

/// By what all connections of a client to one virtual address are known. It is no connection's key:
/// a client's port may be 0 (RFC 768), but no virtual address has port 0.
const fn client_key(key: &NatKey) -> NatKey {
    NatKey { tuple: NatTuple { src_port: key.tuple.dst_port, dst_port: 0, ..key.tuple }, ..*key }
}
