//! What a cluster node counts.

use mn_telemetry::names;
use prometheus::{IntCounterVec, IntGauge, Opts, Registry};

/// The counters of one node.
#[derive(Debug)]
pub struct Metrics {
    registry: Registry,
    pub agents: IntGauge,
    /// By method.
    pub nsdb_calls: IntCounterVec,
    pub nsdb_watches: IntGauge,
    /// By method and status.
    pub rest_requests: IntCounterVec,
}

impl Metrics {
    /// Counters at zero.
    ///
    /// # Errors
    ///
    /// Two metrics have one name: a defect of ours.
    pub fn new() -> Result<Self, prometheus::Error> {
        let metrics = Self {
            registry: Registry::new(),
            agents: IntGauge::new(names::CLUSTER_AGENTS, "agents connected to this node")?,
            nsdb_calls: IntCounterVec::new(
                Opts::new(names::CLUSTER_NSDB_CALLS, "calls to the state database"),
                &["method"],
            )?,
            nsdb_watches: IntGauge::new(names::CLUSTER_NSDB_WATCHES, "open watches")?,
            rest_requests: IntCounterVec::new(
                Opts::new(names::CLUSTER_REST_REQUESTS, "REST requests answered"),
                &["method", "status"],
            )?,
        };
        metrics.registry.register(Box::new(metrics.agents.clone()))?;
        metrics.registry.register(Box::new(metrics.nsdb_calls.clone()))?;
        metrics.registry.register(Box::new(metrics.nsdb_watches.clone()))?;
        metrics.registry.register(Box::new(metrics.rest_requests.clone()))?;
        Ok(metrics)
    }

    /// All of them in the Prometheus text format.
    ///
    /// # Errors
    ///
    /// A metric breaks the rules of the format: a defect of ours.
    pub fn exposition(&self) -> Result<String, prometheus::Error> {
        mn_telemetry::exposition(&self.registry)
    }
}
