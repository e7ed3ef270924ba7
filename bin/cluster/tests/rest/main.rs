//! What clients of the REST API see, over the memory engine.

mod api;
mod bindings;
mod devices;
mod filters;
mod groups;
