//! The state of the system: whether the API takes changes (`CL-09`).

use std::sync::Arc;

use mn_api_types::{self as api, Media, SystemActivity};
use mn_topology::{Activity, Availability, SystemState};

use super::call::{Answer, Call};
use super::db::{Changes, Found};
use super::endpoint::Resource;
use super::problem::Problem;

/// The version old clients look for.
const VERSION: &str = "5.0.0";

pub fn resource() -> Resource {
    Resource::new(Media::SYSTEM_STATE, &api::SystemState::DESCRIPTION)
        .top("system_state", Some("systemState"), None)
        .read("/system_state", read)
        .update("/system_state", update)
}

async fn read(call: Arc<Call>) -> Result<Answer, Problem> {
    let state = call.db.find::<SystemState>(SystemState::ID).await?;
    let state = state.map(|found| found.object).unwrap_or_default();
    Ok(Answer::one(&api::SystemState {
        state: Some(match state.activity {
            Activity::Active => SystemActivity::Active,
            Activity::Upgrade => SystemActivity::Upgrade,
        }),
        availability: Some(match state.availability {
            Availability::ReadWrite => api::Availability::ReadWrite,
            Availability::ReadOnly => api::Availability::ReadOnly,
        }),
        version: Some(VERSION.to_owned()),
        information: None,
        uri: Some(call.links.to("/system_state")),
    }))
}

/// The one change that is taken while the API is read-only.
async fn update(call: Arc<Call>) -> Result<Answer, Problem> {
    let sent: api::SystemState = call.input()?;
    let found = call.db.find::<SystemState>(SystemState::ID).await?;
    let old = found.as_ref().map(|found| found.object).unwrap_or_default();
    let object = SystemState {
        activity: match sent.state {
            Some(SystemActivity::Active) => Activity::Active,
            Some(SystemActivity::Upgrade) => Activity::Upgrade,
            None => old.activity,
        },
        availability: match sent.availability {
            Some(api::Availability::ReadWrite) => Availability::ReadWrite,
            Some(api::Availability::ReadOnly) => Availability::ReadOnly,
            None => old.availability,
        },
    };
    let changes = match found {
        Some(found) => Changes::default().update(&Found { object, ..found }),
        None => Changes::default().create(&object),
    };
    call.db.commit_always(changes).await?;
    Ok(Answer::Done)
}
