//! Which interfaces to bring under the datapath, decided apart from doing it.

use std::collections::BTreeMap;

use mn_ids::PortId;

/// An attached interface. It serves one port at a time.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Attached {
    pub port: PortId,
    pub ifindex: u32,
}

/// One change to the datapath.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum PortOp {
    /// Detach the interface from the port.
    Detach(String, PortId),
    /// Attach the interface, which is not attached, to the virtual port.
    Attach(String, Attached),
}

/// The changes that take the datapath from `actual` to what is bound.
///
/// `bound` is which port each interface is to serve; `present` has the interfaces that are there,
/// with their indexes. Takes no hint of what changed: it is given whole states, every time, so a
/// missed notification costs latency and never correctness. An interface that came back with
/// another index is attached anew. Detaches come first.
#[must_use]
pub fn plan(
    bound: &BTreeMap<String, PortId>,
    present: &BTreeMap<String, u32>,
    actual: &BTreeMap<String, Attached>,
) -> Vec<PortOp> {
    let desired: BTreeMap<&String, Attached> = bound
        .iter()
        .filter_map(|(name, port)| {
            Some((name, Attached { port: *port, ifindex: *present.get(name)? }))
        })
        .collect();
    let stale = actual.iter().filter(|(name, now)| desired.get(name) != Some(now));
    let missing = desired.iter().filter(|(name, then)| actual.get(**name) != Some(then));
    stale
        .map(|(name, now)| PortOp::Detach(name.clone(), now.port))
        .chain(missing.map(|(name, then)| PortOp::Attach((*name).clone(), then.clone())))
        .collect()
}

#[cfg(test)]
mod tests {
    use mn_ids::Id;

    use super::*;

    fn port(number: u128) -> PortId {
        Id::from_uuid(uuid::Uuid::from_u128(number))
    }

    /// Every way to give two interfaces one of `choices` each or none.
    fn every<T: Clone>(choices: &[T]) -> Vec<BTreeMap<String, T>> {
        let options: Vec<Option<&T>> =
            std::iter::once(None).chain(choices.iter().map(Some)).collect();
        let mut all = Vec::new();
        for tap0 in &options {
            for tap1 in &options {
                let pairs = [("tap0", tap0), ("tap1", tap1)];
                let some = pairs.into_iter().filter_map(|(name, choice)| {
                    choice.map(|choice| (name.to_owned(), choice.clone()))
                });
                all.push(some.collect());
            }
        }
        all
    }

    #[test]
    fn the_plan_leads_from_every_state_to_every_state_and_then_rests() {
        let attached: Vec<Attached> = [(1, 10), (1, 20), (2, 10)]
            .map(|(number, ifindex)| Attached { port: port(number), ifindex })
            .to_vec();
        for bound in every(&[port(1), port(2)]) {
            for present in every(&[10, 20]) {
                for mut actual in every(&attached) {
                    for op in plan(&bound, &present, &actual) {
                        match op {
                            PortOp::Detach(name, port) => {
                                assert_eq!(actual.remove(&name).map(|now| now.port), Some(port));
                            }
                            PortOp::Attach(name, then) => {
                                assert_eq!(present.get(&name), Some(&then.ifindex));
                                assert_eq!(actual.insert(name, then), None, "one at a time");
                            }
                        }
                    }
                    assert_eq!(plan(&bound, &present, &actual), []);
                    let both = bound.keys().filter(|name| present.contains_key(*name));
                    assert!(actual.keys().eq(both), "bound and there is what is attached");
                }
            }
        }
    }
}
