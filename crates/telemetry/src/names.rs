//! The registry of metric names, in alphabetical order.

/// Agents that a cluster node can pass requests to.
pub const CLUSTER_AGENTS: &str = "midonet_cluster_agents";
/// Calls to the state database by method.
pub const CLUSTER_NSDB_CALLS: &str = "midonet_cluster_nsdb_calls_total";
/// Watches of the state database that are open.
pub const CLUSTER_NSDB_WATCHES: &str = "midonet_cluster_nsdb_watches";
/// REST requests by method and status.
pub const CLUSTER_REST_REQUESTS: &str = "midonet_cluster_rest_requests_total";
