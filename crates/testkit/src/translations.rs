//! Remembered translations as a test has them: searched from end to end, so that nothing is shared
//! with the agent's own.

use std::collections::BTreeSet;

use mn_flow::TcpClass;
use mn_simulation::nat::{
    Endpoint, NatBinding, NatKey, Service, SourceChoice, SourceWanted, Way, addresses, source_ports,
};

/// Translations, and the ports that may be used.
#[derive(Clone, Debug, Default)]
pub struct Translations {
    pub all: Vec<NatBinding>,
    /// Blocks of 64 ports that are leased; `None`: as many as are asked for.
    pub leased: Option<BTreeSet<(u128, u16)>>,
    /// No more blocks can be leased.
    pub exhausted: bool,
    /// Those whose connection has ended.
    pub ended: BTreeSet<NatKey>,
    /// Which way a connection sends no more.
    half: BTreeSet<(NatKey, bool)>,
}

impl Translations {
    /// Remembers a translation, in the place of one with the same key.
    pub fn insert(&mut self, binding: NatBinding) {
        self.all.retain(|other| other.key != binding.key && other.answer() != binding.answer());
        self.all.push(binding);
    }

    /// Sees a segment that ends a connection, or follows its end.
    pub fn see(&mut self, key: NatKey, way: Way, class: TcpClass) {
        let forward = way == Way::Forward;
        match class {
            TcpClass::Fin => drop(self.half.insert((key, forward))),
            TcpClass::Rst => drop(self.ended.insert(key)),
            TcpClass::Syn => {
                self.half.retain(|(other, _)| *other != key);
                self.ended.remove(&key);
            }
            TcpClass::Other => {}
        }
        if self.half.contains(&(key, true)) && self.half.contains(&(key, false)) {
            self.ended.insert(key);
        }
    }

    pub(crate) fn forward(&self, key: &NatKey) -> Option<NatBinding> {
        self.all.iter().find(|binding| binding.key == *key).copied()
    }

    pub(crate) fn reverse(&self, key: &NatKey) -> Option<NatBinding> {
        self.all.iter().find(|binding| binding.answer() == *key).copied()
    }

    /// Connections that were balanced and have not ended.
    pub(crate) fn connections(&self, of: impl Fn([Service; 2]) -> bool) -> u32 {
        let live = self.all.iter().filter(|binding| !self.ended.contains(&binding.key));
        live.filter_map(NatBinding::balanced).filter(|it| of(*it)).count() as u32
    }

    pub(crate) fn free_source(&self, wanted: &SourceWanted<'_>) -> SourceChoice {
        let v4 = wanted.key.tuple.src.to_ipv4_mapped().is_some();
        for target in wanted.targets.iter().filter(|target| target.addr_from.is_ipv4() == v4) {
            let ((first, last), (from, to)) = (addresses(target), source_ports(target));
            let ports = u64::from(to - from) + 1;
            let addrs = u64::try_from(last - first).unwrap_or(u64::MAX / ports - 1) + 1;
            let begin = wanted.seed.wrapping_mul(0x9e37_79b9_7f4a_7c15);
            for nth in 0..(addrs * ports).min(1 << 17) {
                let nth = begin.wrapping_add(nth) % (addrs * ports);
                let addr = first + u128::from(nth / ports);
                let port = from + (nth % ports) as u16;
                let leased = |leased: &BTreeSet<_>| leased.contains(&(addr, port / 64));
                let to = Endpoint { addr: addr.into(), port };
                let answer = NatKey {
                    tuple: wanted.key.tuple.with(wanted.key.kind, to).reversed(),
                    ..wanted.key
                };
                if self.leased.as_ref().is_none_or(leased) && self.reverse(&answer).is_none() {
                    return SourceChoice::Is(to);
                }
            }
        }
        if self.exhausted { SourceChoice::Exhausted } else { SourceChoice::NoLease }
    }
}
