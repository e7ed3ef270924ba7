//! Which node is spoken to.

use std::error::Error;
use std::time::Duration;

use mn_wire::v1::nsdb_client::NsdbClient;
use tokio::sync::Mutex;
use tonic::transport::{Certificate, Channel, ClientTlsConfig, Endpoint};

/// How long a node may take to accept a connection before the next is tried.
const CONNECT_MAX: Duration = Duration::from_secs(2);
/// How often an idle connection is probed, so that a node that vanished without a word is noticed.
const PROBE_EVERY: Duration = Duration::from_secs(5);
/// How long a probe may go unanswered.
const PROBE_MAX: Duration = Duration::from_secs(3);

/// How to reach a cluster.
#[derive(Clone, Debug)]
pub struct Settings {
    /// `https://HOST:PORT`, or `http://…` with [`Tls::Insecure`]. At least one; tried in order.
    pub nodes: Vec<String>,
    pub tls: Tls,
}

/// Whom to trust.
#[derive(Clone, Debug)]
pub enum Tls {
    /// Nodes whose certificate this authority (PEM) signed.
    Authority(String),
    /// Anyone, in plain text: for labs.
    Insecure,
}

/// Settings that cannot work.
#[derive(Debug, thiserror::Error)]
pub enum SettingsError {
    #[error("no cluster node is given")]
    NoNodes,
    #[error("{node:?} is not https://HOST:PORT")]
    Address { node: String },
    #[error("{node:?} is plain text: it needs --insecure")]
    PlainText { node: String },
    #[error("the certificate authority cannot be used")]
    Authority(#[source] tonic::transport::Error),
}

/// The nodes, and a connection to one of them.
#[derive(Debug)]
pub(crate) struct Connection {
    nodes: Vec<Endpoint>,
    current: Mutex<Current>,
}

#[derive(Debug)]
struct Current {
    /// The node to try next, or in use.
    index: usize,
    channel: Option<Channel>,
    /// Rises whenever a channel is given up.
    generation: u64,
}

/// A client, and which life of the connection it belongs to.
pub(crate) struct Client {
    pub(crate) grpc: NsdbClient<Channel>,
    pub(crate) generation: u64,
}

impl Connection {
    pub(crate) fn new(settings: &Settings) -> Result<Self, SettingsError> {
        if settings.nodes.is_empty() {
            return Err(SettingsError::NoNodes);
        }
        let endpoint = |node: &String| endpoint(node, &settings.tls);
        let nodes = settings.nodes.iter().map(endpoint).collect::<Result<_, _>>()?;
        let current = Mutex::new(Current { index: 0, channel: None, generation: 0 });
        Ok(Self { nodes, current })
    }

    /// A client of the current node, or of the first that accepts a connection.
    pub(crate) async fn client(&self) -> Result<Client, Box<dyn Error + Send + Sync>> {
        let mut current = self.current.lock().await;
        let mut failed = None;
        for _ in 0..self.nodes.len() {
            if current.channel.is_none() {
                match self.nodes[current.index].connect().await {
                    Ok(channel) => current.channel = Some(channel),
                    Err(error) => {
                        failed = Some(error);
                        current.index = (current.index + 1) % self.nodes.len();
                    }
                }
            }
            if let Some(channel) = &current.channel {
                let grpc = NsdbClient::new(channel.clone())
                    .max_decoding_message_size(mn_wire::MESSAGE_BYTES_MAX)
                    .max_encoding_message_size(mn_wire::MESSAGE_BYTES_MAX);
                return Ok(Client { grpc, generation: current.generation });
            }
        }
        Err(failed.map_or_else(|| "no node".into(), Into::into))
    }

    /// Gives up the connection of this life; the next client is of the next node. Of several who
    /// notice the same failure only the first counts.
    pub(crate) async fn failed(&self, generation: u64) {
        let mut current = self.current.lock().await;
        if current.generation == generation {
            current.generation += 1;
            current.channel = None;
            current.index = (current.index + 1) % self.nodes.len();
        }
    }
}

fn endpoint(node: &str, tls: &Tls) -> Result<Endpoint, SettingsError> {
    let wrong = || SettingsError::Address { node: node.to_owned() };
    let endpoint = Endpoint::from_shared(node.to_owned()).map_err(|_| wrong())?;
    let scheme = endpoint.uri().scheme_str().map(str::to_owned);
    let endpoint = endpoint
        .connect_timeout(CONNECT_MAX)
        .http2_keep_alive_interval(PROBE_EVERY)
        .keep_alive_timeout(PROBE_MAX)
        .keep_alive_while_idle(true)
        .tcp_nodelay(true);
    match (scheme.as_deref(), tls) {
        (Some("http"), Tls::Insecure) => Ok(endpoint),
        (Some("http"), Tls::Authority(_)) => {
            Err(SettingsError::PlainText { node: node.to_owned() })
        }
        (Some("https"), Tls::Authority(pem)) => {
            let config = ClientTlsConfig::new().ca_certificate(Certificate::from_pem(pem));
            endpoint.tls_config(config).map_err(SettingsError::Authority)
        }
        _ => Err(wrong()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(nodes: &[&str], tls: Tls) -> Result<Connection, SettingsError> {
        Connection::new(&Settings { nodes: nodes.iter().map(|node| (*node).into()).collect(), tls })
    }

    #[test]
    fn plain_text_needs_to_be_asked_for() {
        assert!(settings(&["http://10.0.0.1:2346"], Tls::Insecure).is_ok());
        let refused = settings(&["http://10.0.0.1:2346"], Tls::Authority(String::new()));
        assert!(matches!(refused, Err(SettingsError::PlainText { .. })));
    }

    #[test]
    fn an_address_that_is_none_is_refused() {
        for wrong in ["", "10.0.0.1", "ftp://10.0.0.1:1", "https://"] {
            let refused = settings(&[wrong], Tls::Insecure);
            assert!(matches!(refused, Err(SettingsError::Address { .. })), "{wrong:?}");
        }
        assert!(matches!(settings(&[], Tls::Insecure), Err(SettingsError::NoNodes)));
    }
}
