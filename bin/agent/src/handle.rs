//! A running agent, from outside.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use mn_agent_api::{
    Activity, ConnectionRow, DropCount, FlowRow, FlowUse, PortRow, Request, Response, RuleDrop,
    Work,
};
use mn_agent_core::RuleDrops;
use mn_datapath::{Connection, Datapath, DatapathError, InstalledFlow};
use mn_flow::{Field, FlowKey, FlowMask, PortNo, TcpClass};
use mn_ids::{Class, RuleId};
use mn_nsdb_remote::RequestHandler;
use tokio::sync::{mpsc, oneshot, watch};

use crate::clock;
use crate::control::{ActivePort, Ask};
use crate::exchange::Exchange;
use crate::health::HealthReport;
use crate::worker::report::Report;

/// Asks a running agent. Cheap to clone.
#[derive(Clone)]
pub struct Handle {
    pub(crate) asks: mpsc::Sender<Ask>,
    pub(crate) datapath: Arc<dyn Datapath>,
    pub(crate) reports: Arc<[Arc<Report>]>,
    pub(crate) rule_drops: Arc<Mutex<RuleDrops>>,
    pub(crate) ports: watch::Receiver<Vec<ActivePort>>,
    /// How many objects of the topology are held.
    pub(crate) objects: watch::Receiver<Vec<(Class, usize)>>,
    pub(crate) exchange: Arc<Exchange>,
    pub(crate) health: Arc<HealthReport>,
}

impl Handle {
    /// Answers a request.
    pub async fn ask(&self, request: Request) -> Response {
        match request {
            Request::Flows { limit } => {
                let datapath = Arc::clone(&self.datapath);
                self.blocking(move || flows(&*datapath, limit)).await
            }
            Request::Connections { limit } => {
                let (ports, datapath) = (self.active_ports(), Arc::clone(&self.datapath));
                self.blocking(move || connections(&*datapath, &ports, limit)).await
            }
            Request::Activity => {
                let handle = self.clone();
                self.blocking(move || handle.activity()).await
            }
            Request::Counters => {
                let ports = self.active_ports();
                let (datapath, reports) = (Arc::clone(&self.datapath), Arc::clone(&self.reports));
                let told = move || {
                    let (ports, drops) = counted(&*datapath, &reports, &ports)?;
                    Ok(Response::Counters { ports, drops })
                };
                self.blocking(told).await
            }
            other => self.ask_control(other).await,
        }
    }

    /// Answers one line of JSON with another.
    pub async fn ask_json(&self, request: &str) -> String {
        let response = match serde_json::from_str(request) {
            Ok(request) => self.ask(request).await,
            Err(error) => Response::Error { reason: format!("this is no request: {error}") },
        };
        serde_json::to_string(&response).expect("responses have string keys only")
    }

    async fn ask_control(&self, request: Request) -> Response {
        let (reply, answer) = oneshot::channel();
        let stopping = || Response::Error { reason: "the agent is stopping".to_owned() };
        if self.asks.send(Ask { request, reply }).await.is_err() {
            return stopping();
        }
        answer.await.unwrap_or_else(|_| stopping())
    }

    async fn blocking(
        &self,
        work: impl FnOnce() -> Result<Response, DatapathError> + Send + 'static,
    ) -> Response {
        match tokio::task::spawn_blocking(work).await {
            Ok(Ok(response)) => response,
            Ok(Err(error)) => Response::Error { reason: error.to_string() },
            Err(error) => Response::Error { reason: error.to_string() },
        }
    }

    /// What the workers did and the datapath carried.
    fn activity(&self) -> Result<Response, DatapathError> {
        let mut work = Work::default();
        for report in &*self.reports {
            work.upcalls += report.upcalls.get();
            work.simulations += report.simulations.get();
            work.installed += report.installed.get();
            work.left += report.invalidated.get() + report.expired.get() + report.evicted.get();
        }
        let (ports, drops) = counted(&*self.datapath, &self.reports, &self.active_ports())?;
        let rules = self.rule_drops.lock().map(|counted| {
            let row =
                |(rule, packets): (&RuleId, &u64)| RuleDrop { rule: *rule, packets: *packets };
            counted.totals().iter().map(row).collect()
        });
        let rules = rules.unwrap_or_default();
        Ok(Response::Activity(Box::new(Activity { work, ports, drops, rules })))
    }

    /// The ports as the control thread last showed them.
    pub(crate) fn active_ports(&self) -> Vec<ActivePort> {
        self.ports.borrow().clone()
    }
}

#[async_trait]
impl RequestHandler for Handle {
    async fn handle(&self, request: &str) -> String {
        self.ask_json(request).await
    }
}

fn flows(datapath: &dyn Datapath, limit: usize) -> Result<Response, DatapathError> {
    let (mut rows, mut installed) = (Vec::new(), 0);
    datapath.flows(&mut |flow| {
        installed += 1;
        if rows.len() < limit {
            rows.push(row(&flow));
        }
    })?;
    Ok(Response::Flows { flows: rows, installed })
}

fn row(flow: &InstalledFlow) -> FlowRow {
    let idle = clock::now().since(flow.used_at).as_millis();
    FlowRow {
        cookie: flow.spec.cookie.0,
        matches: matches(&flow.spec.key, flow.spec.mask),
        actions: flow.spec.actions.iter().map(mn_walk::action_text).collect(),
        used: FlowUse {
            packets: flow.counters.packets,
            octets: flow.counters.octets,
            idle_milliseconds: u64::try_from(idle).unwrap_or(u64::MAX),
        },
    }
}

/// What a flow matches, for people: `inPort=16 dstMac=02:…`.
fn matches(key: &FlowKey, mask: FlowMask) -> String {
    let masked = mask.apply(key);
    let words: Vec<String> = mask
        .fields()
        .map(|field| {
            let value = match field {
                Field::InPort => masked.in_port.0.to_string(),
                Field::TunKey => masked.tun_key.to_string(),
                Field::TunSrc => masked.tun_src.to_canonical().to_string(),
                Field::EthDst => masked.eth_dst.to_string(),
                Field::EthSrc => masked.eth_src.to_string(),
                Field::EthType => masked.eth_type.to_string(),
                Field::Vlan => format!("{:?}", masked.vlan),
                Field::InnerVlan => format!("{:?}", masked.inner_vlan),
                Field::NwSrc => format!("{}/{}", masked.nw_src, mask.nw_src_len()),
                Field::NwDst => format!("{}/{}", masked.nw_dst, mask.nw_dst_len()),
                Field::NwProto => masked.nw_proto.to_string(),
                Field::NwTos => masked.nw_tos.to_string(),
                Field::Fragment => format!("{:?}", masked.class.fragment),
                Field::Ttl => masked.class.ttl_spent.to_string(),
                Field::Tcp => format!("{:?}", masked.class.tcp),
                Field::TcpEnds => (masked.class.tcp != TcpClass::Other).to_string(),
                Field::NeighborDiscovery => masked.class.neighbor_discovery.to_string(),
                Field::Conn => format!("{:?}", masked.conn),
                Field::TpSrc => masked.tp_src.to_string(),
                Field::TpDst => masked.tp_dst.to_string(),
            };
            format!("{}={value}", mn_walk::field_name(field))
        })
        .collect();
    words.join(" ")
}

fn connections(
    datapath: &dyn Datapath,
    active: &[ActivePort],
    limit: usize,
) -> Result<Response, DatapathError> {
    let (mut rows, mut tracked) = (Vec::new(), 0);
    datapath.connections(&mut |connection| {
        tracked += 1;
        if rows.len() < limit {
            rows.push(connection_row(&connection, active));
        }
    })?;
    Ok(Response::Connections { connections: rows, tracked })
}

fn connection_row(connection: &Connection, active: &[ActivePort]) -> ConnectionRow {
    let tuple = &connection.tuple;
    let end = |addr: std::net::Ipv6Addr, port: u16| match (addr.to_canonical(), port) {
        (addr, 0) => addr.to_string(),
        (addr, port) => std::net::SocketAddr::new(addr, port).to_string(),
    };
    let idle = clock::now().since(connection.used_at).as_millis();
    ConnectionRow {
        zone: connection.zone.0,
        protocol: tuple.protocol.to_string(),
        source: end(tuple.src, tuple.src_port),
        destination: end(tuple.dst, tuple.dst_port),
        state: connection.state.name().to_owned(),
        port: active.iter().find(|port| port.number == connection.port).map(|port| port.port),
        idle_milliseconds: u64::try_from(idle).unwrap_or(u64::MAX),
    }
}

fn counted(
    datapath: &dyn Datapath,
    reports: &[Arc<Report>],
    active: &[ActivePort],
) -> Result<(Vec<PortRow>, Vec<DropCount>), DatapathError> {
    let mut by_number = BTreeMap::new();
    let mut ports = Vec::new();
    for ActivePort { interface, port, number } in active {
        by_number.insert(*number, *port);
        let counters = datapath.port_counters(*number)?;
        ports.push(PortRow {
            port: *port,
            interface: interface.clone(),
            rx_packets: counters.rx.packets,
            rx_octets: counters.rx.octets,
            tx_packets: counters.tx.packets,
            tx_octets: counters.tx.octets,
            rx_dropped: counters.rx_dropped,
        });
    }
    let drops = all_drops(datapath, reports)?
        .into_iter()
        .map(|((number, cause), packets)| DropCount {
            port: by_number.get(&number).copied(),
            cause: cause.name().to_owned(),
            packets,
        })
        .collect();
    Ok((ports, drops))
}

/// Dropped packets by port and cause.
pub(crate) type Drops = BTreeMap<(PortNo, mn_flow::DropCause), u64>;

/// Those of the datapath and of the workers.
pub(crate) fn all_drops(
    datapath: &dyn Datapath,
    reports: &[Arc<Report>],
) -> Result<Drops, DatapathError> {
    let mut all = BTreeMap::new();
    for (number, cause, packets) in datapath.drops()? {
        *all.entry((number, cause)).or_default() += packets;
    }
    for report in reports {
        if let Ok(drops) = report.drops.lock() {
            for (key, packets) in drops.iter() {
                *all.entry(*key).or_default() += packets;
            }
        }
    }
    Ok(all)
}
