//! One cluster node from start to stop.

use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

use axum::Router;
use axum::http::StatusCode;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use mn_nsdb::Store;
use tokio::net::TcpListener;
use tokio::task::JoinSet;
use tonic::transport::server::TcpIncoming;
use tonic::transport::{Server, ServerTlsConfig};

use crate::agents::Agents;
use crate::listen::Listener;
use crate::metrics::Metrics;
use crate::nsdb_service::NsdbService;
use crate::rest;
use crate::settings::{Engine, Settings};
use crate::tls::{self, Identity, TlsError};
use crate::walks::Walks;

/// Why a node does not start, or stops.
#[derive(Debug, thiserror::Error)]
pub enum ProcessError {
    #[error("{path} cannot be made", path = path.display())]
    Root { path: PathBuf, source: io::Error },
    #[error("the state database cannot be opened")]
    Store(#[from] mn_nsdb_embedded::OpenError),
    #[error("the state database's opening was cut off")]
    Loading(#[source] tokio::task::JoinError),
    #[error("no {what} can be served on {address}")]
    Listen { what: &'static str, address: SocketAddr, source: io::Error },
    #[error(transparent)]
    Tls(#[from] TlsError),
    #[error("metrics cannot be set up")]
    Metrics(#[from] prometheus::Error),
    #[error("agents cannot be served")]
    Grpc(#[from] tonic::transport::Error),
    #[error("signals cannot be waited for")]
    Signals(#[source] io::Error),
}

/// A node that serves. It stops when this is dropped.
pub struct Node {
    /// Where the REST API is, e.g. where port 0 was asked for.
    pub rest: SocketAddr,
    /// Where agents are served.
    pub nsdb: Vec<SocketAddr>,
    pub metrics: SocketAddr,
    agents: Agents,
    tasks: JoinSet<Result<(), ProcessError>>,
}

impl Node {
    /// Opens the database and starts to serve.
    ///
    /// # Errors
    ///
    /// [`ProcessError`]: something the settings ask for cannot be had.
    pub async fn start(settings: &Settings) -> Result<Self, ProcessError> {
        let made = std::fs::create_dir_all(&settings.root);
        made.map_err(|source| ProcessError::Root { path: settings.root.clone(), source })?;
        let store: Arc<dyn Store> = match settings.engine {
            Engine::Embedded => {
                let file = settings.root.join("nsdb.redb");
                let opened = tokio::task::spawn_blocking(move || mn_nsdb_embedded::open(&file));
                Arc::new(opened.await.map_err(ProcessError::Loading)??)
            }
            Engine::Memory => Arc::new(mn_nsdb::Engine::memory()),
        };
        Self::serve(store, settings).await
    }

    /// Serves a database that is open.
    ///
    /// # Errors
    ///
    /// [`ProcessError`]: something the settings ask for cannot be had.
    pub async fn serve(store: Arc<dyn Store>, settings: &Settings) -> Result<Self, ProcessError> {
        let identity = tls::identity(settings)?;
        let metrics = Arc::new(Metrics::new()?);
        let agents = Agents::default();
        let mut tasks = JoinSet::new();

        let rest = bind("REST API", settings.rest).await?;
        let rest_address = rest.address;
        let walks = Walks::new(Arc::clone(&store), agents.clone());
        let api = rest::Settings {
            scheme: if identity.is_some() { "https" } else { "http" },
            walks: Some(Arc::new(walks)),
            ..rest::Settings::default()
        };
        let router = rest::router(Arc::clone(&store), api);
        let router = counted(router, Arc::clone(&metrics));
        let config = identity.as_ref().map(Identity::server_config).transpose()?;
        tasks.spawn(async move {
            rest.serve(router, config).await;
            Ok(())
        });

        let mut nsdb = Vec::new();
        for address in &settings.nsdb {
            let service =
                NsdbService::server(Arc::clone(&store), agents.clone(), Arc::clone(&metrics));
            nsdb.push(serve_agents(*address, service, identity.as_ref(), &mut tasks).await?);
        }

        let listener = bind("metrics", settings.metrics).await?;
        let metrics_address = listener.address;
        let router = metrics_router(metrics, agents.clone());
        tasks.spawn(async move {
            listener.serve(router, None).await;
            Ok(())
        });
        Ok(Self { rest: rest_address, nsdb, metrics: metrics_address, agents, tasks })
    }

    /// The agents that are connected here.
    #[must_use]
    pub fn agents(&self) -> &Agents {
        &self.agents
    }

    /// Serves until the process is told to stop (SIGTERM, SIGINT) or something fails.
    ///
    /// # Errors
    ///
    /// [`ProcessError`]: what failed.
    pub async fn run(mut self) -> Result<(), ProcessError> {
        use tokio::signal::unix::{SignalKind, signal};
        let mut terminate = signal(SignalKind::terminate()).map_err(ProcessError::Signals)?;
        tokio::select! {
            _ = terminate.recv() => Ok(()),
            interrupted = tokio::signal::ctrl_c() => interrupted.map_err(ProcessError::Signals),
            Some(ended) = self.tasks.join_next() => ended.unwrap_or(Ok(())),
        }
    }
}

async fn bind(what: &'static str, address: SocketAddr) -> Result<Listener, ProcessError> {
    Listener::bind(address).await.map_err(|source| ProcessError::Listen { what, address, source })
}

/// Serves agents on one address; returns where.
async fn serve_agents(
    address: SocketAddr,
    service: mn_wire::v1::nsdb_server::NsdbServer<NsdbService>,
    identity: Option<&Identity>,
    tasks: &mut JoinSet<Result<(), ProcessError>>,
) -> Result<SocketAddr, ProcessError> {
    let failed = |source| ProcessError::Listen { what: "agent", address, source };
    let listener = TcpListener::bind(address).await.map_err(failed)?;
    let bound = listener.local_addr().map_err(failed)?;
    let mut server = Server::builder();
    if let Some(identity) = identity {
        let pem = tonic::transport::Identity::from_pem(&identity.certificate, &identity.key);
        server = server.tls_config(ServerTlsConfig::new().identity(pem))?;
    }
    // An answer is two small writes: the second must not wait for the first to be acknowledged,
    // which takes 40 ms. The builder's own setting is for listeners that it makes itself.
    let incoming = TcpIncoming::from(listener).with_nodelay(Some(true));
    let serving = server.add_service(service).serve_with_incoming(incoming);
    tasks.spawn(async move { Ok(serving.await?) });
    Ok(bound)
}

/// Counts requests by method and status.
fn counted(router: Router, metrics: Arc<Metrics>) -> Router {
    use axum::extract::Request;
    use axum::middleware::{Next, from_fn};
    router.layer(from_fn(move |request: Request, next: Next| {
        let metrics = Arc::clone(&metrics);
        async move {
            let method = request.method().to_string();
            let response = next.run(request).await;
            let status = response.status();
            metrics.rest_requests.with_label_values(&[method.as_str(), status.as_str()]).inc();
            response
        }
    }))
}

fn metrics_router(metrics: Arc<Metrics>, agents: Agents) -> Router {
    Router::new().route(
        "/metrics",
        get(async move || -> Response {
            metrics.agents.set(i64::try_from(agents.count()).unwrap_or(i64::MAX));
            match metrics.exposition() {
                Ok(text) => ([(CONTENT_TYPE, mn_telemetry::EXPOSITION_TYPE)], text).into_response(),
                Err(_) => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
            }
        }),
    )
}
