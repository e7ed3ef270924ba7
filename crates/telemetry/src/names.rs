//! The registry of metric names, in alphabetical order.

/// Clients that were not tied to their member: the worker ties as many as it may.
pub const AGENT_CLIENTS_UNTIED: &str = "midonet_agent_clients_untied_total";
/// Tracked connections, by the port whose share they count in.
pub const AGENT_CONNECTIONS: &str = "midonet_agent_connections";
/// Packets sent nowhere, by port and cause.
pub const AGENT_DROPS: &str = "midonet_agent_drops_total";
/// Datapath operations that failed.
pub const AGENT_FAILURES: &str = "midonet_agent_failures_total";
/// Flows that are installed.
pub const AGENT_FLOWS: &str = "midonet_agent_flows";
/// Adopted flows that this agent would have installed too.
pub const AGENT_FLOWS_ADOPTED: &str = "midonet_agent_flows_adopted_total";
/// Flows removed for want of room.
pub const AGENT_FLOWS_EVICTED: &str = "midonet_agent_flows_evicted_total";
/// Flows removed because they were idle or brief.
pub const AGENT_FLOWS_EXPIRED: &str = "midonet_agent_flows_expired_total";
/// Flows installed.
pub const AGENT_FLOWS_INSTALLED: &str = "midonet_agent_flows_installed_total";
/// Flows removed because what they depended on changed.
pub const AGENT_FLOWS_INVALIDATED: &str = "midonet_agent_flows_invalidated_total";
/// Adopted flows that were changed or removed.
pub const AGENT_FLOWS_REPLACED: &str = "midonet_agent_flows_replaced_total";
/// Adopted flows that were not yet decided anew.
pub const AGENT_FLOWS_UNVERIFIED: &str = "midonet_agent_flows_unverified";
/// Checks of members of pools that this host made, by result.
pub const AGENT_HEALTH_CHECKS: &str = "midonet_agent_health_checks_total";
/// Members of pools that this host checks.
pub const AGENT_HEALTH_MEMBERS: &str = "midonet_agent_health_members";
/// Packets that the rate limiter dropped: the guides' `NetlinkMeter.htbDrops`.
pub const AGENT_HTB_DROPS: &str = "midonet_agent_htb_drops_total";
/// Octets that flows had carried when they left.
pub const AGENT_LEFT_OCTETS: &str = "midonet_agent_left_octets_total";
/// Packets that flows had carried when they left.
pub const AGENT_LEFT_PACKETS: &str = "midonet_agent_left_packets_total";
/// Blocks of 64 ports that are leased for address translation.
pub const AGENT_NAT_BLOCKS: &str = "midonet_agent_nat_blocks";
/// Leases of such blocks that were asked for in vain.
pub const AGENT_NAT_EXHAUSTED: &str = "midonet_agent_nat_exhausted_total";
/// Address translations that are remembered.
pub const AGENT_NAT_TRANSLATIONS: &str = "midonet_agent_nat_translations";
/// Address translations that were chosen.
pub const AGENT_NAT_TRANSLATIONS_MADE: &str = "midonet_agent_nat_translations_made_total";
/// Objects of the topology that the agent holds, by class.
pub const AGENT_OBJECTS: &str = "midonet_agent_objects";
/// Octets of a port, by direction seen from the virtual network.
pub const AGENT_PORT_OCTETS: &str = "midonet_agent_port_octets_total";
/// Packets of a port, by direction seen from the virtual network.
pub const AGENT_PORT_PACKETS: &str = "midonet_agent_port_packets_total";
/// How often a port ran into a limit of what one port may have, by port and limit.
pub const AGENT_PORT_PRESSURE: &str = "midonet_agent_port_pressure_total";
/// Packets that a rule dropped, by rule.
pub const AGENT_RULE_DROPS: &str = "midonet_agent_rule_drops_total";
/// TCP segments that flows of translated connections could not tell of, for want of room.
pub const AGENT_SEGMENTS_UNTOLD: &str = "midonet_agent_segments_untold_total";
/// Walks through the topology.
pub const AGENT_SIMULATIONS: &str = "midonet_agent_simulations_total";
/// Addresses of bridges' networks that were heard at another MAC than before.
pub const AGENT_MOVED_ADDRESSES: &str = "midonet_agent_moved_addresses_total";
/// Copies of other hosts' translations.
pub const AGENT_STATE_COPIES: &str = "midonet_agent_state_copies";
/// State records that a peer is not to be told any more: it was away for too long.
pub const AGENT_STATE_DROPPED: &str = "midonet_agent_state_dropped_total";
/// State records that peers are not known to have yet.
pub const AGENT_STATE_OWED: &str = "midonet_agent_state_owed";
/// State messages received.
pub const AGENT_STATE_RECEIVED: &str = "midonet_agent_state_received_total";
/// State messages that were not taken, by cause.
pub const AGENT_STATE_REFUSED: &str = "midonet_agent_state_refused_total";
/// State records that came again.
pub const AGENT_STATE_REPEATED: &str = "midonet_agent_state_repeated_total";
/// State messages sent.
pub const AGENT_STATE_SENT: &str = "midonet_agent_state_sent_total";
/// State records taken from peers.
pub const AGENT_STATE_TAKEN: &str = "midonet_agent_state_taken_total";
/// State records that peers are to have.
pub const AGENT_STATE_TOLD: &str = "midonet_agent_state_told_total";
/// State messages that this host's network refused.
pub const AGENT_STATE_UNSENT: &str = "midonet_agent_state_unsent_total";
/// Messages of packet workers that found the control thread's queue full.
pub const AGENT_UNHEARD: &str = "midonet_agent_unheard_total";
/// Packets the datapath asked about.
pub const AGENT_UPCALLS: &str = "midonet_agent_upcalls_total";
/// Packets that wait for topology or a neighbour.
pub const AGENT_WAITING: &str = "midonet_agent_waiting";
/// Agents that a cluster node can pass requests to.
pub const CLUSTER_AGENTS: &str = "midonet_cluster_agents";
/// Calls to the state database by method.
pub const CLUSTER_NSDB_CALLS: &str = "midonet_cluster_nsdb_calls_total";
/// Watches of the state database that are open.
pub const CLUSTER_NSDB_WATCHES: &str = "midonet_cluster_nsdb_watches";
/// REST requests by method and status.
pub const CLUSTER_REST_REQUESTS: &str = "midonet_cluster_rest_requests_total";
