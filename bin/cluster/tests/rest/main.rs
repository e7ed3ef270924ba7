//! What clients of the REST API see, over the memory engine.

mod api;
mod bindings;
mod devices;
mod edges;
mod filters;
mod groups;
mod old_client;
mod openapi;
mod random;
mod walks;
