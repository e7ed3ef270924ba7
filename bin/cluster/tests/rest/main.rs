//! What clients of the REST API see, over the memory engine.

#![expect(clippy::unwrap_used, reason = "where a story cannot go on it fails")]

mod api;
mod bindings;
mod compression;
mod database;
mod devices;
mod edges;
mod filters;
mod groups;
mod l2_insertions;
mod load_balancers;
mod long_chains;
mod long_lists;
mod old_client;
mod openapi;
mod qos;
mod random;
mod vlans;
mod walks;
