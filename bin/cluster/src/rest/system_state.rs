//! The state of the system.

use std::sync::Arc;

use mn_api_types::{Media, SystemState};

use super::call::{Answer, Call};
use super::endpoint::Resource;
use super::problem::Problem;

/// The version old clients look for.
const VERSION: &str = "5.0.0";

pub fn resource() -> Resource {
    Resource::new(Media::SYSTEM_STATE, &SystemState::DESCRIPTION)
        .top("system_state", Some("systemState"), None)
        .read("/system_state", read)
}

/// It cannot be changed: a system that answers works (api-facts §4.20).
async fn read(call: Arc<Call>) -> Result<Answer, Problem> {
    Ok(Answer::one(&SystemState {
        state: Some("ACTIVE".to_owned()),
        availability: Some("READWRITE".to_owned()),
        version: Some(VERSION.to_owned()),
        information: None,
        uri: Some(call.links.to("/system_state")),
    }))
}
