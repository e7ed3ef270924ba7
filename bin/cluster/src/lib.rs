//! The cluster: the REST API over the state database.

pub mod rest;
