//! What is watched.

use std::collections::HashSet;

use mn_agent_core::{Holding, Holdings};
use mn_ids::{Class, HostId, ObjectKey, PortId, TunnelZoneId};
use mn_nsdb::{Selector, TableId, TableKind};
use mn_time::Duration;
use mn_topology::snapshot::Loaded;

use crate::clock;

/// The selectors asked for so far and not given up since.
#[derive(Debug)]
pub(crate) struct Subscriptions {
    asked: HashSet<Selector>,
    new: Vec<Selector>,
    /// Given up, to be told to the watch.
    old: Vec<Selector>,
    /// Given up, once for each time; what they show holds until the watch tells their end.
    ending: Vec<Selector>,
    pub(crate) holdings: Holdings,
}

impl Subscriptions {
    /// What every agent watches: its own host, the ports bound to it, the tunnel zones and port groups. What else
    /// comes is given up after nothing has needed it for so long.
    pub(crate) fn of_host(host: HostId, unused_for: Duration) -> Self {
        let mut all = Self {
            asked: HashSet::new(),
            new: Vec::new(),
            old: Vec::new(),
            ending: Vec::new(),
            holdings: Holdings::new(unused_for),
        };
        all.want(Selector::Object(host.into()));
        all.want(Selector::Referrers { to: host.into(), class: Class::Port });
        all.want(Selector::Class(Class::TunnelZone));
        all.want(Selector::Class(Class::PortGroup));
        all
    }

    /// An object with all that belongs to it: what its lookup needs, and its tables.
    pub(crate) fn object(&mut self, key: ObjectKey) {
        self.hold(Holding::Object(key));
    }

    /// Whatever it is.
    pub(crate) fn load(&mut self, holding: Holding) {
        self.hold(holding);
    }

    /// Where a port is.
    pub(crate) fn place(&mut self, port: PortId) {
        self.hold(Holding::Place(port));
    }

    fn hold(&mut self, holding: Holding) {
        if self.holdings.hold(holding, clock::now()) {
            for selector in selectors(holding) {
                self.want(selector);
            }
        }
    }

    /// Ends the watches of something. It stays known until the watch tells the end.
    pub(crate) fn end(&mut self, holding: Holding) {
        for selector in selectors(holding) {
            if self.is_wanted_otherwise(holding, selector) || !self.asked.remove(&selector) {
                continue;
            }
            match self.new.iter().position(|new| *new == selector) {
                Some(untold) => drop(self.new.swap_remove(untold)),
                None => {
                    self.old.push(selector);
                    self.ending.push(selector);
                }
            }
        }
    }

    /// Whether an object is wanted with all that belongs to it, or without, when the other is given
    /// up.
    fn is_wanted_otherwise(&self, holding: Holding, selector: Selector) -> bool {
        let Selector::Object(key) = selector else { return false };
        let other = match holding {
            Holding::Object(_) => Holding::Alone(key),
            Holding::Alone(_) => Holding::Object(key),
            Holding::Place(_) => return false,
        };
        self.holdings.has(other)
    }

    /// The watch told the end of a selector.
    pub(crate) fn ended(&mut self, selector: &Selector) {
        if let Some(place) = self.ending.iter().position(|ending| ending == selector) {
            self.ending.swap_remove(place);
        }
    }

    /// What a host reports.
    pub(crate) fn report(&mut self, host: HostId) {
        let table = TableId::global(TableKind::HostReport);
        self.want(Selector::Entry { table, key: host.uuid() });
    }

    /// The secret of a zone.
    pub(crate) fn secret(&mut self, zone: TunnelZoneId) {
        let table = TableId::global(TableKind::ZoneSecret);
        self.want(Selector::Entry { table, key: zone.uuid() });
    }

    /// What was added since the last call.
    pub(crate) fn take_new(&mut self) -> Vec<Selector> {
        std::mem::take(&mut self.new)
    }

    /// What was given up since the last call. Of one selector it happened before it was asked for
    /// again.
    pub(crate) fn take_old(&mut self) -> Vec<Selector> {
        std::mem::take(&mut self.old)
    }

    /// For a new watch: everything that is to be watched, and what ended with the one before, which
    /// will tell the end of nothing any more.
    pub(crate) fn start_over(&mut self) -> (Vec<Selector>, Vec<Selector>) {
        self.new.clear();
        self.old.clear();
        (self.asked.iter().copied().collect(), std::mem::take(&mut self.ending))
    }

    fn want(&mut self, selector: Selector) {
        if self.asked.insert(selector) {
            self.new.push(selector);
        }
    }
}

/// All that shows a thing whole.
fn selectors(holding: Holding) -> Vec<Selector> {
    let key = match holding {
        Holding::Object(key) => key,
        Holding::Alone(key) => return vec![Selector::Object(key)],
        Holding::Place(port) => {
            let table = TableId::global(TableKind::Location);
            return vec![Selector::Entry { table, key: port.uuid() }];
        }
    };
    let tables: &[TableKind] = match key.class {
        Class::Bridge => &[TableKind::Mac, TableKind::BridgeNeighbor, TableKind::FloodGroup],
        Class::Router => &[TableKind::Neighbor],
        Class::Pool => &[TableKind::MemberHealth],
        Class::L2Insertion => &[TableKind::InsertionHealth],
        _ => &[],
    };
    let table = |kind: &TableKind| Selector::Table(TableId { kind: *kind, device: key.id });
    Loaded::of(key).into_iter().map(selector).chain(tables.iter().map(table)).collect()
}

fn selector(loaded: Loaded) -> Selector {
    match loaded {
        Loaded::Object(key) => Selector::Object(key),
        Loaded::Referrers { to, class } => Selector::Referrers { to, class },
    }
}

/// What a complete selector means to a snapshot.
pub(crate) fn loaded(selector: &Selector) -> Option<Loaded> {
    match *selector {
        Selector::Object(key) => Some(Loaded::Object(key)),
        Selector::Referrers { to, class } => Some(Loaded::Referrers { to, class }),
        Selector::Class(_) | Selector::Table(_) | Selector::Entry { .. } => None,
    }
}

#[cfg(test)]
mod tests {
    use mn_agent_core::limits::UNUSED_FOR;
    use mn_ids::{BridgeId, Id};

    use super::*;

    fn of_host() -> Subscriptions {
        let mut subscriptions = Subscriptions::of_host(Id::random(), UNUSED_FOR);
        subscriptions.take_new();
        subscriptions
    }

    #[test]
    fn what_is_given_up_is_told_to_the_watch_and_ends_when_the_watch_says_so() {
        let (mut subscriptions, bridge) = (of_host(), BridgeId::random());
        subscriptions.object(bridge.into());
        let added = subscriptions.take_new();
        assert_eq!(added.len(), 7, "the bridge, ports, two kinds of subnets, three tables");
        subscriptions.end(Holding::Object(bridge.into()));
        assert_eq!((subscriptions.take_old(), &subscriptions.ending), (added.clone(), &added));
        added.iter().for_each(|selector| subscriptions.ended(selector));
        assert_eq!(subscriptions.start_over().1, []);
    }

    #[test]
    fn an_object_that_is_wanted_alone_stays_when_what_belongs_to_it_is_given_up() {
        let (mut subscriptions, pool) = (of_host(), mn_ids::PoolId::random());
        let object = Selector::Object(pool.into());
        subscriptions.load(Holding::Alone(pool.into()));
        assert_eq!(subscriptions.take_new(), [object]);
        subscriptions.object(pool.into());
        let more = subscriptions.take_new();
        assert!(!more.is_empty() && !more.contains(&object));
        subscriptions.end(Holding::Object(pool.into()));
        assert_eq!(subscriptions.take_old(), more, "the pool itself is watched still");
    }

    #[test]
    fn what_the_watch_never_heard_of_has_no_end() {
        let (mut subscriptions, bridge) = (of_host(), BridgeId::random());
        subscriptions.object(bridge.into());
        subscriptions.end(Holding::Object(bridge.into()));
        assert_eq!((subscriptions.take_new(), subscriptions.take_old()), (vec![], vec![]));
    }

    #[test]
    fn a_new_watch_tells_no_end_of_what_the_old_one_had() {
        let (mut subscriptions, port) = (of_host(), PortId::random());
        subscriptions.place(port);
        let place = subscriptions.take_new();
        subscriptions.end(Holding::Place(port));
        let (all, ended) = subscriptions.start_over();
        let of_host = of_host().start_over().0;
        assert_eq!((all.len(), ended), (of_host.len(), place));
        assert_eq!(subscriptions.take_old(), []);
    }
}
