//! Packet walks.

use std::sync::Arc;

use async_trait::async_trait;
use mn_api_types::Media;
use mn_api_types::walk::{Walk, WalkRequest};
use mn_ids::ObjectKey;
use serde_json::Value;

use super::call::{Answer, Call};
use super::endpoint::Resource;
use super::problem::Problem;

/// Walks packets: on the host where they enter or, when its agent is away, here.
#[async_trait]
pub trait WalkService: Send + Sync {
    /// Walks one packet without side effects.
    ///
    /// The request has a place where the packet enters.
    async fn walk(&self, request: WalkRequest) -> Result<Walk, WalkError>;
}

/// Why a packet cannot be walked.
#[derive(Debug, thiserror::Error)]
pub enum WalkError {
    /// What the request names is not there.
    #[error("{0} does not exist")]
    Missing(ObjectKey),
    /// The request describes no packet.
    #[error("{property}: {reason}")]
    Invalid { property: String, value: Value, reason: String },
    /// Nobody can walk it now.
    #[error("{0}")]
    Unavailable(String),
}

pub fn resource() -> Resource {
    Resource::new(Media::WALK, &Walk::DESCRIPTION)
        .top("walks", Some("walks"), None)
        .ask("/walks", walk)
        .taking(&WalkRequest::DESCRIPTION)
}

async fn walk(call: Arc<Call>) -> Result<Answer, Problem> {
    let request: WalkRequest = call.input()?;
    if request.from_port.is_none() {
        if request.host_id.is_none() {
            return Err(Problem::required("fromPort"));
        }
        if request.interface_name.is_none() {
            return Err(Problem::required("interfaceName"));
        }
    }
    if request.to_port.is_none() && request.dst_addr.is_none() && request.dst_mac.is_none() {
        return Err(Problem::required("toPort"));
    }
    let Some(walks) = &call.settings.walks else {
        return Err(Problem::unavailable("no packets are walked here"));
    };
    Ok(Answer::one(&walks.walk(request).await?))
}
