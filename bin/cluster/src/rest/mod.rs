//! The REST API: the vendor media types, links and statuses that existing clients know.
//!
//! `registry` lists every resource; `dispatch` serves the list over axum, `openapi` writes it as a
//! document. Each resource has one file: its requests, and how its structure becomes the stored
//! object and back.

mod application;
mod auth;
mod bindings;
mod bridges;
mod call;
mod chain_parts;
mod chains;
mod compression;
mod conditions;
mod cors;
mod db;
mod dhcp;
mod dhcp_v6;
mod dispatch;
mod endpoint;
mod exposed;
mod health_monitors;
mod hosts;
mod in_path;
mod ip_addr_groups;
mod jumps;
mod l2_insertions;
mod links;
mod load_balancers;
mod local_routes;
mod login;
mod mirrors;
mod openapi;
mod peering;
mod pool_members;
mod pools;
mod port_conversion;
mod port_groups;
mod ports;
mod problem;
mod qos_policies;
mod qos_rules;
mod registry;
mod routers;
mod routes;
mod rule_conversion;
mod rule_index;
mod rules;
mod settings;
mod subnets;
mod system_state;
mod tables;
mod tenants;
mod tunnel_zones;
mod turns;
mod vips;
mod vlans;
mod walks;

pub use auth::{AuthError, AuthService, Credentials, IssuedToken, MockAuth};
pub use dispatch::router;
pub use openapi::openapi;
pub use settings::Settings;
pub use walks::{WalkError, WalkService};
