//! Lists of actions between the agent's values and the programs' slots.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use mn_datapath_abi::limits::SLOTS_MAX;
use mn_datapath_abi::{ActionSlot, Flow, Op, WITH_PORT};
use mn_flow::{Action, DropCause, GroupIndex, PeerIndex, PortNo, Rewrite, TunnelKey, Zone};
use mn_ids::RuleId;
use mn_packet::{Mac, VlanTag};

use crate::DatapathError;

/// A list as the programs read it.
#[derive(Clone, Copy, Debug, Default)]
pub struct Slots {
    pub slots: [ActionSlot; SLOTS_MAX],
    /// How many are in use.
    pub len: u8,
    /// How many take a hop; and whether one answers: [`Flow::ANSWERS`].
    pub hops: u8,
}

impl Slots {
    /// # Errors
    ///
    /// [`DatapathError::Invalid`] where the list does not fit.
    pub fn of(actions: &[Action]) -> Result<Self, DatapathError> {
        let mut out = Self::default();
        for action in actions {
            let (head, address) = encode(action)?;
            out.hops += u8::from(matches!(action, Action::Rewrite(Rewrite::DecTtl)));
            if matches!(action, Action::Rewrite(Rewrite::Answer { .. })) {
                out.hops |= Flow::ANSWERS;
            }
            out.push(head)?;
            if let Some(octets) = address {
                for half in octets.chunks_exact(8) {
                    out.push(ActionSlot::raw(half.try_into().unwrap_or_default()))?;
                }
            }
        }
        Ok(out)
    }

    fn push(&mut self, slot: ActionSlot) -> Result<(), DatapathError> {
        let Some(place) = self.slots.get_mut(usize::from(self.len)) else {
            return Err(DatapathError::Invalid(format!(
                "a list of actions takes more than {SLOTS_MAX} slots"
            )));
        };
        *place = slot;
        self.len += 1;
        Ok(())
    }

    /// The rule by which the list drops, if it does.
    pub fn rule(&self) -> Option<RuleId> {
        let mut rest = self.slots.get(..usize::from(self.len))?;
        while let [head, more @ ..] = rest {
            if head.op == Op::DropRule as u8 {
                return Some(rule_of(address_of(more)?));
            }
            let len = usize::from(head.slots & !WITH_PORT);
            rest = rest.get(len.max(1)..)?;
        }
        None
    }

    /// The list again; `None` where a slot is none of ours.
    pub fn actions(&self) -> Option<Vec<Action>> {
        let mut out = Vec::with_capacity(self.len.into());
        let mut rest = self.slots.get(..usize::from(self.len))?;
        while let [head, more @ ..] = rest {
            let len = usize::from(head.slots & !WITH_PORT);
            out.push(decode(head, address_of(more))?);
            rest = rest.get(len.max(1)..)?;
        }
        Some(out)
    }
}

/// The 16 octets in the two slots after one, where there are two.
fn address_of(more: &[ActionSlot]) -> Option<[u8; 16]> {
    let [first, second, ..] = more else { return None };
    let mut octets = [0; 16];
    octets[..8].copy_from_slice(&first.to_raw());
    octets[8..].copy_from_slice(&second.to_raw());
    Some(octets)
}

fn rule_of(octets: [u8; 16]) -> RuleId {
    RuleId::from_uuid(uuid::Uuid::from_bytes(octets))
}

/// The slot of an action, and the 16 octets that follow it for some.
fn encode(action: &Action) -> Result<(ActionSlot, Option<[u8; 16]>), DatapathError> {
    let slot = |op, a, b| Ok((ActionSlot::new(op, a, b), None));
    match *action {
        Action::Rewrite(rewrite) => Ok(encode_rewrite(&rewrite)),
        Action::Output(port) => slot(Op::Output, 0, port.0),
        Action::Tunnel { peer, key } => {
            let peer = u16::try_from(peer.0)
                .map_err(|_| DatapathError::Invalid(format!("peer {} is too high", peer.0)))?;
            slot(Op::Tunnel, peer, key.vni())
        }
        Action::Outputs(group) => slot(Op::Outputs, 0, group.0),
        Action::Track { zone, port } => {
            let port = u16::try_from(port.0)
                .map_err(|_| DatapathError::Invalid(format!("port number {}", port.0)))?;
            slot(Op::Track, port, zone.0)
        }
        Action::Follow => slot(Op::Follow, 0, 0),
        Action::Meter(index) => slot(Op::Meter, 0, index),
        Action::Copy { one_in } => slot(Op::Copy, 0, one_in),
        Action::Drop { cause, rule: None } => slot(Op::Drop, cause as u16, 0),
        Action::Drop { cause, rule: Some(rule) } => {
            Ok(long(ActionSlot::new(Op::DropRule, cause as u16, 0), *rule.uuid().as_bytes()))
        }
    }
}

/// A slot that two with 16 octets follow.
fn long(mut slot: ActionSlot, octets: [u8; 16]) -> (ActionSlot, Option<[u8; 16]>) {
    slot.slots = slot.slots & WITH_PORT | 3;
    (slot, Some(octets))
}

fn encode_rewrite(rewrite: &Rewrite) -> (ActionSlot, Option<[u8; 16]>) {
    let a = |op, a| (ActionSlot::new(op, a, 0), None);
    match *rewrite {
        Rewrite::EthSrc(mac) => (mac_slot(Op::EthSrc, mac), None),
        Rewrite::EthDst(mac) => (mac_slot(Op::EthDst, mac), None),
        Rewrite::NwSrc(addr) => address([Op::NwSrc4, Op::NwSrc6], addr, None),
        Rewrite::NwDst(addr) => address([Op::NwDst4, Op::NwDst6], addr, None),
        Rewrite::NwTos(tos) => a(Op::NwTos, tos.into()),
        Rewrite::TpSrc(port) => a(Op::TpSrc, port.to_be()),
        Rewrite::TpDst(port) => a(Op::TpDst, port.to_be()),
        Rewrite::IcmpId(id) => a(Op::IcmpId, id.to_be()),
        Rewrite::Answer { mac, router: false } => (mac_slot(Op::Answer, mac), None),
        Rewrite::Answer { mac, router: true } => (mac_slot(Op::AnswerAsRouter, mac), None),
        Rewrite::DecTtl => a(Op::DecTtl, 0),
        Rewrite::PushVlan(tag) => a(Op::PushVlan, tag.wire()),
        Rewrite::PopVlan => a(Op::PopVlan, 0),
        Rewrite::InnerSrc(addr, port) => address([Op::InnerSrc4, Op::InnerSrc6], addr, port),
        Rewrite::InnerDst(addr, port) => address([Op::InnerDst4, Op::InnerDst6], addr, port),
    }
}

fn mac_slot(op: Op, mac: Mac) -> ActionSlot {
    ActionSlot { argument: mac.0, ..ActionSlot::new(op, 0, 0) }
}

/// The slot of an address of either version, and perhaps a port.
fn address(ops: [Op; 2], addr: IpAddr, port: Option<u16>) -> (ActionSlot, Option<[u8; 16]>) {
    let with_port = |op, b| {
        let mut slot = ActionSlot::new(op, port.unwrap_or(0).to_be(), b);
        slot.slots |= if port.is_some() { WITH_PORT } else { 0 };
        slot
    };
    match addr {
        IpAddr::V4(v4) => (with_port(ops[0], u32::from_ne_bytes(v4.octets())), None),
        IpAddr::V6(v6) => long(with_port(ops[1], 0), v6.octets()),
    }
}

fn decode(slot: &ActionSlot, more: Option<[u8; 16]>) -> Option<Action> {
    let op = Op::from_code(slot.op)?;
    let v4 = || IpAddr::V4(Ipv4Addr::from_octets(slot.b().to_ne_bytes()));
    let v6 = || more.map(|octets| IpAddr::V6(Ipv6Addr::from_octets(octets)));
    let port = || (slot.slots & WITH_PORT != 0).then(|| u16::from_be(slot.a()));
    let cause = || DropCause::from_code(slot.a());
    Some(Action::Rewrite(match op {
        Op::Output => return Some(Action::Output(PortNo(slot.b()))),
        Op::Tunnel => {
            let (key, _) = TunnelKey::from_vni(slot.b())?;
            return Some(Action::Tunnel { peer: PeerIndex(slot.a().into()), key });
        }
        Op::Outputs => return Some(Action::Outputs(GroupIndex(slot.b()))),
        Op::Track => {
            let port = PortNo(slot.a().into());
            return Some(Action::Track { zone: Zone(slot.b()), port });
        }
        Op::Follow => return Some(Action::Follow),
        Op::Meter => return Some(Action::Meter(slot.b())),
        Op::Copy => return Some(Action::Copy { one_in: slot.b() }),
        Op::Drop => return Some(Action::Drop { cause: cause()?, rule: None }),
        Op::DropRule => {
            return Some(Action::Drop { cause: cause()?, rule: Some(rule_of(more?)) });
        }
        Op::EthSrc => Rewrite::EthSrc(Mac(slot.argument)),
        Op::EthDst => Rewrite::EthDst(Mac(slot.argument)),
        Op::NwSrc4 => Rewrite::NwSrc(v4()),
        Op::NwDst4 => Rewrite::NwDst(v4()),
        Op::NwSrc6 => Rewrite::NwSrc(v6()?),
        Op::NwDst6 => Rewrite::NwDst(v6()?),
        Op::NwTos => Rewrite::NwTos(u8::try_from(slot.a()).ok()?),
        Op::TpSrc => Rewrite::TpSrc(u16::from_be(slot.a())),
        Op::TpDst => Rewrite::TpDst(u16::from_be(slot.a())),
        Op::IcmpId => Rewrite::IcmpId(u16::from_be(slot.a())),
        Op::Answer => Rewrite::Answer { mac: Mac(slot.argument), router: false },
        Op::AnswerAsRouter => Rewrite::Answer { mac: Mac(slot.argument), router: true },
        Op::DecTtl => Rewrite::DecTtl,
        Op::PushVlan => Rewrite::PushVlan(VlanTag::from_wire(slot.a())),
        Op::PopVlan => Rewrite::PopVlan,
        Op::InnerSrc4 => Rewrite::InnerSrc(v4(), port()),
        Op::InnerDst4 => Rewrite::InnerDst(v4(), port()),
        Op::InnerSrc6 => Rewrite::InnerSrc(v6()?, port()),
        Op::InnerDst6 => Rewrite::InnerDst(v6()?, port()),
    }))
}

#[cfg(test)]
mod tests {
    use mn_flow::KeyKind;
    use mn_packet::VlanId;

    use super::*;

    #[test]
    fn every_action_comes_back() {
        let v6: IpAddr = "2001:db8::5".parse().unwrap();
        let v4: IpAddr = "10.0.0.1".parse().unwrap();
        let rewrites = [
            Rewrite::EthSrc(Mac([1, 2, 3, 4, 5, 6])),
            Rewrite::EthDst(Mac::BROADCAST),
            Rewrite::NwSrc(v4),
            Rewrite::NwDst(v6),
            Rewrite::NwTos(0xb8),
            Rewrite::TpSrc(80),
            Rewrite::TpDst(443),
            Rewrite::IcmpId(0x1234),
            Rewrite::DecTtl,
            Rewrite::PushVlan(VlanTag::of(VlanId::try_from(7).unwrap())),
            Rewrite::PopVlan,
            Rewrite::InnerSrc(v4, Some(5)),
            Rewrite::InnerSrc(v6, None),
            Rewrite::InnerDst(v4, None),
            Rewrite::InnerDst(v6, Some(6)),
            Rewrite::NwSrc(v6),
            Rewrite::NwDst(v4),
            Rewrite::Answer { mac: Mac([1, 2, 3, 4, 5, 6]), router: false },
            Rewrite::Answer { mac: Mac([6, 5, 4, 3, 2, 1]), router: true },
        ]
        .map(Action::Rewrite);
        let others = [
            Action::Output(PortNo(16)),
            Action::Tunnel { peer: PeerIndex(3), key: TunnelKey::new(KeyKind::Group, 9).unwrap() },
            Action::Outputs(GroupIndex(4)),
            Action::Track { zone: Zone(5), port: PortNo(17) },
            Action::Follow,
            Action::Meter(6),
            Action::Copy { one_in: 7 },
            Action::Drop { cause: DropCause::Rule, rule: Some(RuleId::random()) },
            Action::Drop { cause: DropCause::NoRoute, rule: None },
        ];
        for action in rewrites.into_iter().chain(others) {
            let slots = Slots::of(&[action]).unwrap();
            assert_eq!(slots.actions(), Some(vec![action]));
            let rule = match action {
                Action::Drop { rule, .. } => rule,
                _ => None,
            };
            assert_eq!(slots.rule(), rule, "{action:?}");
        }
    }

    #[test]
    fn a_list_too_long_is_refused() {
        let long = [Action::Meter(1); SLOTS_MAX + 1];
        assert!(matches!(Slots::of(&long), Err(DatapathError::Invalid(_))));
        assert!(Slots::of(&long[1..]).is_ok());
    }
}
