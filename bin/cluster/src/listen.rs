//! Serving HTTP: with TLS or without, and with limits on what a client may send.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use rustls::ServerConfig;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio_rustls::TlsAcceptor;

/// Octets of a request's line and headers.
const HEADERS_BYTES_MAX: usize = 64 * 1024;
/// How long a client may take to send them, or to shake hands.
const HEADERS_WITHIN: Duration = Duration::from_secs(30);
/// Connections at a time; more wait to be accepted.
const CONNECTIONS_MAX: usize = 4096;
/// After an error of the listener itself (no file descriptors left): time for others to end.
const PAUSE: Duration = Duration::from_millis(100);

/// A listener that is bound but serves nobody yet.
#[derive(Debug)]
pub struct Listener {
    listener: TcpListener,
    /// Where it listens: the port is there where 0 was asked for.
    pub address: SocketAddr,
}

impl Listener {
    /// Binds an address.
    ///
    /// # Errors
    ///
    /// The address is in use or not this machine's.
    pub async fn bind(address: SocketAddr) -> io::Result<Self> {
        let listener = TcpListener::bind(address).await?;
        let address = listener.local_addr()?;
        Ok(Self { listener, address })
    }

    /// Serves `router` until the future is dropped; with TLS where there is a configuration.
    pub async fn serve(self, router: Router, tls: Option<Arc<ServerConfig>>) {
        let acceptor = tls.map(TlsAcceptor::from);
        let places = Arc::new(Semaphore::new(CONNECTIONS_MAX));
        loop {
            let Ok(place) = Arc::clone(&places).acquire_owned().await else { return };
            let stream = match self.listener.accept().await {
                Ok((stream, _)) => stream,
                Err(error) => {
                    tracing::warn!(%error, "a connection cannot be accepted");
                    tokio::time::sleep(PAUSE).await;
                    continue;
                }
            };
            let (router, acceptor) = (router.clone(), acceptor.clone());
            tokio::spawn(async move {
                connection(stream, router, acceptor).await;
                drop(place);
            });
        }
    }
}

/// Serves one connection. What goes wrong with it is its client's business.
async fn connection(stream: TcpStream, router: Router, acceptor: Option<TlsAcceptor>) {
    drop(stream.set_nodelay(true));
    match acceptor {
        None => http(stream, router).await,
        Some(acceptor) => {
            match tokio::time::timeout(HEADERS_WITHIN, acceptor.accept(stream)).await {
                Ok(Ok(stream)) => http(stream, router).await,
                Ok(Err(error)) => tracing::debug!(%error, "a client's handshake failed"),
                Err(_) => tracing::debug!("a client did not finish its handshake"),
            }
        }
    }
}

async fn http<S: AsyncRead + AsyncWrite + Unpin + Send + 'static>(stream: S, router: Router) {
    let service = TowerToHyperService::new(router);
    let served = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEADERS_WITHIN)
        .max_buf_size(HEADERS_BYTES_MAX)
        .serve_connection(TokioIo::new(stream), service)
        .with_upgrades()
        .await;
    if let Err(error) = served {
        tracing::debug!(%error, "a client's connection ended early");
    }
}
