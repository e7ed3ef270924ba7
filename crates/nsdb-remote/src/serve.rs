//! Answering requests that a cluster node passes on to this host's agent.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use mn_ids::HostId;
use mn_wire::v1;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;

use crate::Remote;

/// Answers that may wait to be sent.
const REPLIES_MAX: usize = 64;
/// How long after the stream broke it is opened again.
const RETRY_AFTER: Duration = Duration::from_secs(1);

/// What answers. Requests and answers are JSON documents of the agent's API.
#[async_trait]
pub trait RequestHandler: Send + Sync + 'static {
    async fn handle(&self, request: &str) -> String;
}

impl Remote {
    /// Answers requests for `host` until the future is dropped, over whichever node is in use.
    pub async fn serve(&self, host: HostId, handler: Arc<dyn RequestHandler>) {
        loop {
            if let Err(error) = self.serve_once(host, &handler).await {
                tracing::debug!(error = %error, "requests from the cluster cannot reach this agent");
            }
            tokio::time::sleep(RETRY_AFTER).await;
        }
    }

    /// One life of the stream.
    async fn serve_once(
        &self,
        host: HostId,
        handler: &Arc<dyn RequestHandler>,
    ) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
        use v1::agent_message::Message;
        let mut client = self.connection.client().await?;
        let (sender, receiver) = mpsc::channel(REPLIES_MAX);
        let message = |message| v1::AgentMessage { message: Some(message) };
        sender.send(message(Message::Hello(host.uuid().into()))).await?;
        let mut requests = client.grpc.serve(ReceiverStream::new(receiver)).await?.into_inner();
        while let Some(request) = requests.message().await? {
            let (handler, sender) = (Arc::clone(handler), sender.clone());
            tokio::spawn(async move {
                let json = handler.handle(&request.json).await;
                let reply = Message::Reply(v1::AgentReply { id: request.id, json });
                // The stream broke meanwhile: whoever asked has been told so.
                drop(sender.send(message(reply)).await);
            });
        }
        Ok(())
    }
}
