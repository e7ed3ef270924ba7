//! The engine as a [`Datapath`].

use std::net::IpAddr;
use std::sync::Arc;

use mn_flow::{
    Action, DropCause, Field, FlowKey, FlowMask, GroupIndex, PeerIndex, PortNo, TunnelKey, Zone,
};
use mn_time::Instant;

use super::engine::{Port, Software};
use super::upcall::{TokenBucket, Worker};
use crate::{
    Aged, BroadcastLimit, Connection, Counters, Datapath, DatapathError, Delivery, FlowSpec,
    InstalledFlow, Interface, LastUse, Offload, Output, PeerAddresses, PortBandwidth, PortCounters,
    Timeouts, Tracking, Tuple, UpcallLimit, Upcalls,
};

/// As many meters as the kernel's engine has.
const METERS_MAX: u32 = 4096;

/// Whether interfaces can be attached as this port.
fn bindable(port: PortNo) -> Result<(), DatapathError> {
    match port {
        PortNo::NONE | PortNo::TUNNEL => {
            Err(DatapathError::Invalid(format!("attach an interface as port {}", port.0)))
        }
        _ => Ok(()),
    }
}

impl Datapath for Software {
    fn guard(&self, _: u32) -> Result<(), DatapathError> {
        // Frames are handed to a port, never to an interface.
        Ok(())
    }

    fn serve(
        &self,
        port: PortNo,
        interface: Interface,
        limit: UpcallLimit,
    ) -> Result<(), DatapathError> {
        bindable(port)?;
        let bucket = TokenBucket::full(limit);
        let mut state = self.state();
        let before = state.ports.remove(&port);
        let (tracking, broadcasts, bandwidth) =
            before.map_or_else(Default::default, |it| (it.tracking, it.broadcasts, it.bandwidth));
        state.ports.insert(port, Port { interface, bucket, tracking, broadcasts, bandwidth });
        Ok(())
    }

    fn set_broadcast_limit(
        &self,
        port: PortNo,
        limit: BroadcastLimit,
    ) -> Result<(), DatapathError> {
        let mut state = self.state();
        let missing = || DatapathError::Missing(format!("port {}", port.0));
        let BroadcastLimit { rate, burst } = limit;
        let bucket = (rate > 0).then(|| TokenBucket::full(UpcallLimit { rate, burst }));
        state.ports.get_mut(&port).ok_or_else(missing)?.broadcasts = bucket;
        Ok(())
    }

    fn set_bandwidth(&self, port: PortNo, bandwidth: PortBandwidth) -> Result<(), DatapathError> {
        let mut state = self.state();
        let missing = || DatapathError::Missing(format!("port {}", port.0));
        let buckets = &mut state.ports.get_mut(&port).ok_or_else(missing)?.bandwidth;
        for (bucket, limit) in buckets.iter_mut().zip([bandwidth.sent, bandwidth.received]) {
            bucket.limit(limit);
        }
        Ok(())
    }

    fn detach(&self, port: PortNo) -> Result<PortCounters, DatapathError> {
        let mut state = self.state();
        if state.ports.remove(&port).is_none() {
            return Err(DatapathError::Missing(format!("port {}", port.0)));
        }
        state.connections.maxima.remove(&port);
        Ok(state.counters.remove(&port).unwrap_or_default())
    }

    fn attached(&self) -> Result<Vec<(PortNo, Interface)>, DatapathError> {
        Ok(self.state().ports.iter().map(|(no, port)| (*no, port.interface)).collect())
    }

    fn port_counters(&self, port: PortNo) -> Result<PortCounters, DatapathError> {
        let state = self.state();
        let known = port == PortNo::TUNNEL || state.ports.contains_key(&port);
        if !known {
            return Err(DatapathError::Missing(format!("port {}", port.0)));
        }
        Ok(state.port_counters(port))
    }

    fn set_peer(
        &self,
        peer: PeerIndex,
        addresses: Option<PeerAddresses>,
    ) -> Result<(), DatapathError> {
        let mut state = self.state();
        match addresses {
            Some(both) if both.local.is_ipv4() != both.remote.is_ipv4() => {
                return Err(DatapathError::Invalid("a tunnel between two IP versions".into()));
            }
            Some(addresses) => state.peers.insert(peer, addresses),
            None => state.peers.remove(&peer),
        };
        Ok(())
    }

    /// It has no interfaces: all that is tunnelled comes in by [`Software::receive_tunnelled`].
    fn set_underlays(&self, _interfaces: &[u32]) -> Result<(), DatapathError> {
        Ok(())
    }

    fn set_members(&self, members: &[IpAddr]) -> Result<(), DatapathError> {
        self.state().members = members.iter().copied().collect();
        Ok(())
    }

    fn set_key(&self, key: TunnelKey, delivery: Option<&Delivery>) -> Result<(), DatapathError> {
        let mut state = self.state();
        match delivery {
            Some(delivery) => state.keys.insert(key, delivery.clone()),
            None => state.keys.remove(&key),
        };
        Ok(())
    }

    fn keys(&self) -> Result<Vec<(TunnelKey, Delivery)>, DatapathError> {
        Ok(self.state().keys.iter().map(|(key, delivery)| (*key, delivery.clone())).collect())
    }

    fn set_group(&self, group: GroupIndex, outputs: &[Output]) -> Result<(), DatapathError> {
        let mut state = self.state();
        if outputs.is_empty() {
            state.groups.remove(&group);
        } else {
            state.groups.insert(group, outputs.to_vec());
        }
        Ok(())
    }

    fn install(&self, flow: &FlowSpec) -> Result<(), DatapathError> {
        if flow.cookie.0 == 0 {
            return Err(DatapathError::Invalid("a flow with cookie 0".into()));
        }
        if !flow.mask.contains(Field::InPort) {
            return Err(DatapathError::Invalid("a flow of every port".into()));
        }
        if flow.actions.len() > FlowSpec::ACTIONS_MAX {
            let count = flow.actions.len();
            return Err(DatapathError::Invalid(format!("{count} actions in one flow")));
        }
        let mut state = self.state();
        let now = state.now;
        state.flows.install(flow, now);
        Ok(())
    }

    fn remove(&self, flow: &FlowSpec) -> Result<Option<LastUse>, DatapathError> {
        let removed = self.state().flows.remove(&flow.key, flow.mask, flow.cookie);
        Ok(removed.map(|flow| LastUse {
            counters: flow.counters,
            rule: flow.spec.actions.iter().find_map(|action| match action {
                Action::Drop { rule, .. } => *rule,
                _ => None,
            }),
        }))
    }

    fn flow(&self, key: &FlowKey, mask: FlowMask) -> Result<Option<InstalledFlow>, DatapathError> {
        Ok(self.state().flows.get(key, mask).cloned())
    }

    fn flows(&self, each: &mut dyn FnMut(InstalledFlow)) -> Result<(), DatapathError> {
        // Not under the lock: the caller may come back in.
        let flows: Vec<_> = self.state().flows.iter().cloned().collect();
        flows.into_iter().for_each(each);
        Ok(())
    }

    fn execute(
        &self,
        frame: &[u8],
        offload: Offload,
        actions: &[Action],
    ) -> Result<(), DatapathError> {
        self.state().execute(frame, offload, actions);
        Ok(())
    }

    fn set_tracking(&self, port: PortNo, tracking: Tracking) -> Result<(), DatapathError> {
        let mut state = self.state();
        let missing = || DatapathError::Missing(format!("port {}", port.0));
        state.ports.get_mut(&port).ok_or_else(missing)?.tracking = tracking;
        state.connections.maxima.insert(port, tracking.connections_max);
        Ok(())
    }

    fn tracking(&self, port: PortNo) -> Result<(Tracking, usize), DatapathError> {
        let state = self.state();
        let missing = || DatapathError::Missing(format!("port {}", port.0));
        let tracking = state.ports.get(&port).ok_or_else(missing)?.tracking;
        Ok((tracking, state.connections.share(port)))
    }

    fn connection(&self, zone: Zone, tuple: &Tuple) -> Result<Option<Connection>, DatapathError> {
        Ok(self.state().connections.get(zone, tuple))
    }

    fn connections(&self, each: &mut dyn FnMut(Connection)) -> Result<(), DatapathError> {
        let connections: Vec<_> = self.state().connections.iter().collect();
        connections.into_iter().for_each(each);
        Ok(())
    }

    fn age_connections(
        &self,
        now: Instant,
        timeouts: &Timeouts,
        _at_once: usize,
    ) -> Result<Aged, DatapathError> {
        let mut state = self.state();
        let looked_at = state.connections.iter().count();
        let removed = state.connections.age(timeouts, now);
        Ok(Aged { looked_at, removed, whole: true })
    }

    fn forget_connections(
        &self,
        is_one: &dyn Fn(&Connection) -> bool,
    ) -> Result<usize, DatapathError> {
        Ok(self.state().connections.remove(is_one))
    }

    fn heartbeat(&self, now: Instant) -> Result<(), DatapathError> {
        let mut state = self.state();
        state.now = state.now.max(now);
        state.heartbeat_at = Some(now);
        Ok(())
    }

    fn upcalls(&self, worker: usize) -> Result<Box<dyn Upcalls>, DatapathError> {
        let missing = || DatapathError::Missing(format!("worker {worker}"));
        let queue = self.queues.get(worker).ok_or_else(missing)?;
        Ok(Box::new(Worker(Arc::clone(queue))))
    }

    fn meter(&self, index: u32) -> Result<Counters, DatapathError> {
        if index >= METERS_MAX {
            return Err(DatapathError::Invalid(format!("meter {index}")));
        }
        Ok(self.state().meters.get(&index).copied().unwrap_or_default())
    }

    fn drops(&self) -> Result<Vec<(PortNo, DropCause, u64)>, DatapathError> {
        let state = self.state();
        Ok(state.drops.iter().map(|((port, cause), count)| (*port, *cause, *count)).collect())
    }
}
