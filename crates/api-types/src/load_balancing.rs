//! Load balancers, pools, their members and virtual addresses, and health monitors.

use core::net::IpAddr;

use mn_ids::{HealthMonitorId, LoadBalancerId, PoolId, PoolMemberId, RouterId, VipId};

words! {
    /// What a pool balances.
    LbProtocol {
        Tcp = "TCP",
        Udp = "UDP",
    }
}

words! {
    /// How the member of a new connection is chosen.
    LbMethod {
        /// In turns.
        RoundRobin = "ROUND_ROBIN",
        /// Who has the fewest connections for its weight.
        LeastConnections = "LEAST_CONNECTIONS",
        /// By a hash of the client that moves few clients when members come and go (Maglev).
        ConsistentHash = "CONSISTENT_HASH",
    }
}

words! {
    /// What keeps a client's connections on one member.
    SessionPersistence {
        /// All connections from one address go to one member.
        SourceIp = "SOURCE_IP",
    }
}

words! {
    /// What a health monitor tries.
    HealthMonitorType {
        /// A TCP connection is made and closed.
        Tcp = "TCP",
        /// A page is asked for.
        Http = "HTTP",
        /// A datagram is sent.
        Udp = "UDP",
    }
}

words! {
    /// Whether connections can go there.
    LbStatus {
        Active = "ACTIVE",
        Inactive = "INACTIVE",
        /// Its pool has a health monitor, of which nothing was heard yet.
        NoMonitor = "NO_MONITOR",
    }
}

dto! {
    /// Virtual addresses on the way through a router.
    LoadBalancer {
        /// Chosen by the client or, where it is left out, by the server.
        "id" id: Option<LoadBalancerId>,
        /// The router it is attached to; the router's `loadBalancerId` says so and this cannot be set.
        "routerId" router_id: Option<RouterId>,
        /// Whether it balances.
        "adminStateUp" admin_state_up: bool = true,
        ro "uri" uri: Option<String>,
        ro "router" router: Option<String>,
        ro "pools" pools: Option<String>,
        ro "vips" vips: Option<String>,
    }
}

dto! {
    /// Servers that take the connections to virtual addresses.
    Pool {
        /// Chosen by the client or, where it is left out, by the server.
        "id" id: Option<PoolId>,
        /// The load balancer it belongs to.
        "loadBalancerId" load_balancer_id: Option<LoadBalancerId>,
        /// What checks its members.
        "healthMonitorId" health_monitor_id: Option<HealthMonitorId>,
        /// Of its virtual addresses too; stays as it was made.
        "protocol" protocol: LbProtocol,
        /// Required.
        "lbMethod" lb_method: Option<LbMethod>,
        /// Whether it takes connections.
        "adminStateUp" admin_state_up: bool = true,
        ro "status" status: Option<LbStatus>,
        ro "uri" uri: Option<String>,
        ro "loadBalancer" load_balancer: Option<String>,
        ro "healthMonitor" health_monitor: Option<String>,
        ro "vips" vips: Option<String>,
        ro "poolMembers" pool_members: Option<String>,
    }
}

dto! {
    /// A server of a pool.
    PoolMember {
        /// Chosen by the client or, where it is left out, by the server.
        "id" id: Option<PoolMemberId>,
        /// Required, unless the path says it.
        "poolId" pool_id: Option<PoolId>,
        /// Of the IP version of the pool's other members and virtual addresses. Required; stays as
        /// it was made.
        "address" address: Option<IpAddr>,
        /// 1 to 65535. Required; stays as it was made.
        "protocolPort" protocol_port: u16,
        /// Its share of new connections, relative to the others'; from 1.
        "weight" weight: u32 = 1,
        /// Down: it keeps its connections and gets no new ones.
        "adminStateUp" admin_state_up: bool = true,
        /// What its checks came to; `ACTIVE` where its pool has no health monitor.
        ro "status" status: Option<LbStatus>,
        ro "uri" uri: Option<String>,
        ro "pool" pool: Option<String>,
    }
}

dto! {
    /// A virtual address and port whose connections a pool takes.
    Vip {
        /// Chosen by the client or, where it is left out, by the server.
        "id" id: Option<VipId>,
        /// Required, unless the path says it.
        "poolId" pool_id: Option<PoolId>,
        ro "loadBalancerId" load_balancer_id: Option<LoadBalancerId>,
        /// Of the IP version of the pool's members and other virtual addresses. Required.
        "address" address: Option<IpAddr>,
        /// 1 to 65535. Required.
        "protocolPort" protocol_port: u16,
        /// What keeps a client's connections on one member; left out: nothing.
        "sessionPersistence" session_persistence: Option<SessionPersistence>,
        /// The most connections at a time, from 1; left out: any number.
        #[serde(skip_serializing_if = "Option::is_none")]
        "connectionLimit" connection_limit: Option<u32>,
        /// Whether it takes connections.
        "adminStateUp" admin_state_up: bool = true,
        ro "uri" uri: Option<String>,
        ro "pool" pool: Option<String>,
        ro "loadBalancer" load_balancer: Option<String>,
    }
}

dto! {
    /// How the members of pools are checked.
    HealthMonitor {
        /// Chosen by the client or, where it is left out, by the server.
        "id" id: Option<HealthMonitorId>,
        /// Required.
        "type" kind: Option<HealthMonitorType>,
        /// Seconds from one check to the next; from 1.
        "delay" delay: u32,
        /// Seconds a check may take; from 1.
        "timeout" timeout: u32,
        /// Checks in a row that must fail before a member counts as dead; from 1.
        "maxRetries" max_retries: u32,
        /// Whether it checks: a new one waits to be enabled.
        "adminStateUp" admin_state_up: bool,
        /// The page to ask for, with HTTP; `/` where it is left out.
        #[serde(skip_serializing_if = "Option::is_none")]
        "urlPath" url_path: Option<String>,
        /// The statuses that are good answers, with HTTP: `200,301-304`; `200` where it is left out.
        #[serde(skip_serializing_if = "Option::is_none")]
        "expectedCodes" expected_codes: Option<String>,
        ro "uri" uri: Option<String>,
        ro "pools" pools: Option<String>,
    }
}
