//! Packet walks: by the agent of the host where the packet enters, which has the state that decides
//! it; when that is away, here, without that host's state.

mod learned;
mod local;
mod names;

use std::sync::Arc;

use async_trait::async_trait;
use mn_agent_api::{Request, Response};
use mn_api_types::walk::{Walk, WalkRequest};
use mn_ids::{Class, HostId, ObjectKey, PortId};
use mn_nsdb::{ReadError, Store};
use mn_topology::{AnyObject, Port};

use crate::agents::{Agents, NoAnswer};
use crate::rest::{WalkError, WalkService};

/// Walks packets for the REST API.
pub struct Walks {
    store: Arc<dyn Store>,
    agents: Agents,
}

impl Walks {
    /// Walks through the topology of this store, asking these agents.
    #[must_use]
    pub const fn new(store: Arc<dyn Store>, agents: Agents) -> Self {
        Self { store, agents }
    }

    /// The port a packet enters by.
    async fn entry(&self, request: &WalkRequest) -> Result<Port, WalkError> {
        if let Some(id) = request.from_port {
            return self.port(id).await;
        }
        let (Some(host), Some(name)) = (request.host_id, &request.interface_name) else {
            return Err(WalkError::Unavailable("the walk has no place to begin".to_owned()));
        };
        let key = ObjectKey::from(host);
        if self.store.get(key).await.map_err(unreadable)?.is_none() {
            return Err(WalkError::Missing(key));
        }
        let ports = self.store.referrers(key, Class::Port).await.map_err(unreadable)?;
        let bound = ports.iter().find_map(|stored| match decode(Class::Port, &stored.json) {
            Ok(AnyObject::Port(port))
                if port.host_id == Some(host) && port.interface_name.as_ref() == Some(name) =>
            {
                Some(port)
            }
            _ => None,
        });
        bound.ok_or_else(|| WalkError::Invalid {
            property: "interfaceName".to_owned(),
            value: name.as_str().into(),
            reason: "no port is bound to this interface of the host".to_owned(),
        })
    }

    async fn port(&self, id: PortId) -> Result<Port, WalkError> {
        let stored = self.store.get(id.into()).await.map_err(unreadable)?;
        let stored = stored.ok_or_else(|| WalkError::Missing(id.into()))?;
        match decode(Class::Port, &stored.json)? {
            AnyObject::Port(port) => Ok(port),
            _ => Err(WalkError::Missing(id.into())),
        }
    }

    /// Asks a host's agent; `None` where it is away.
    async fn ask(&self, host: HostId, request: &WalkRequest) -> Result<Option<Walk>, WalkError> {
        let unexpected = |what: &str| WalkError::Unavailable(format!("host {host}'s agent {what}"));
        let request = serde_json::to_string(&Request::Walk(Box::new(request.clone())))
            .map_err(|_| unexpected("cannot be asked this"))?;
        let answer = match self.agents.ask(host, request).await {
            Ok(answer) => answer,
            Err(NoAnswer::Away(_)) => return Ok(None),
            Err(silent @ NoAnswer::Silent { .. }) => {
                return Err(WalkError::Unavailable(silent.to_string()));
            }
        };
        match serde_json::from_str(&answer) {
            Ok(Response::Walk(walk)) => Ok(Some(*walk)),
            Ok(Response::Invalid { property, reason }) => {
                Err(WalkError::Invalid { property, value: serde_json::Value::Null, reason })
            }
            Ok(Response::Error { reason }) => Err(WalkError::Unavailable(reason)),
            Ok(_) | Err(_) => Err(unexpected("answered something else")),
        }
    }
}

#[async_trait]
impl WalkService for Walks {
    async fn walk(&self, mut request: WalkRequest) -> Result<Walk, WalkError> {
        let entry = self.entry(&request).await?;
        request.from_port = Some(entry.id);
        let answered = match entry.host_id {
            Some(host) => self.ask(host, &request).await?,
            None => None,
        };
        let walk = match answered {
            Some(walk) => walk,
            None => local::walk(self.store.as_ref(), &request, entry.host_id).await?,
        };
        names::fill(self.store.as_ref(), walk).await
    }
}

fn unreadable(error: ReadError) -> WalkError {
    tracing::error!(%error, "a walk cannot read the topology");
    WalkError::Unavailable("the topology cannot be read now".to_owned())
}

fn decode(class: Class, json: &str) -> Result<AnyObject, WalkError> {
    AnyObject::decode(class, json).map_err(|error| {
        tracing::error!(%error, "a walk cannot read the topology");
        WalkError::Unavailable("the topology cannot be read".to_owned())
    })
}
