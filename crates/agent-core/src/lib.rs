//! What an agent decides, apart from doing it: pure code that reads no clock and opens no socket.
//! Time comes as an argument; what is to be done goes out as a value.
//!
//! `bin/agent` is the shell around it: threads, sockets, the state database and the datapath.

mod advertising;
mod announce;
mod arriving;
mod binding;
mod buckets;
mod by_port;
mod duplicates;
mod flood;
mod flow_table;
mod group_table;
pub mod health;
mod hearers;
mod hearing;
mod holdings;
mod icmp_limit;
mod inspectors;
mod intake;
pub mod limits;
mod local;
mod mac_age;
mod nat;
mod neighbor;
mod neighbor_age;
mod paths;
mod pending;
mod port_limits;
mod rule_drops;
mod state_tables;
mod tag_index;
mod touched;
mod translate;
mod tunnel_keys;

pub use advertising::{Advertising, Speaker};
pub use announce::{announcements, probe};
pub use arriving::{Arriving, Copies};
pub use binding::{Attached, PortOp, plan};
pub use buckets::Capacities;
pub use duplicates::Duplicates;
pub use flood::{FloodOp, FloodSets, flood_plan};
pub use flow_table::{FlowTable, Leaving, NewFlow};
pub use group_table::GroupTable;
pub use hearers::Hearers;
pub use hearing::Hearing;
pub use holdings::{Holding, Holdings};
pub use icmp_limit::ErrorLimit;
pub use inspectors::{Inspectors, Served};
pub use intake::Intake;
pub use local::LocalView;
pub use mac_age::{Learned, MacAges, MacPlace};
pub use nat::{Block, Gone, Lease, NatOwner, NatPorts, NatTable, NatTimeouts, Need, Turn};
pub use neighbor::{Due, Neighbor, NeighborEffect, NeighborEvent, Neighbors, Patience};
pub use neighbor_age::NeighborAges;
pub use paths::Paths;
pub use pending::{Pending, Refused, Stay, Wait};
pub use port_limits::{NatShares, PortLimit, PortLimits, Pressure, is_within};
pub use rule_drops::{RuleDrops, dropping_rule};
pub use state_tables::{Owner, Place, Row, RowChange, StateTables, TableName, View, vlan_number};
pub use touched::Touched;
pub use translate::{Means, Translation, translate};
pub use tunnel_keys::TunnelKeys;
