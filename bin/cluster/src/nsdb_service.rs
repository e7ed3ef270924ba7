//! The state database for agents: the server of `wire`.

use std::collections::VecDeque;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use mn_ids::{Class, HostId, ObjectKey};
use mn_nsdb::{ReadError, SessionId, Store, TableId, Transaction, TxError, Watch, WatchEvent};
use mn_wire::v1::nsdb_server::{Nsdb, NsdbServer};
use mn_wire::{Joined, Malformed, refusal, v1};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tokio_stream::{Stream, StreamExt};
use tonic::{Request, Response, Status, Streaming};
use uuid::Uuid;

use crate::agents::{Agents, REQUESTS_MAX, Registration};
use crate::metrics::Metrics;

/// Batches that may wait to be sent; then the engine merges what comes.
const BATCHES_MAX: usize = 16;
/// The longest a session may ask to live without a sign.
const SESSION_TTL_MAX: Duration = Duration::from_secs(600);

/// Serves one store to agents.
pub struct NsdbService {
    store: Arc<dyn Store>,
    agents: Agents,
    metrics: Arc<Metrics>,
}

impl NsdbService {
    /// The service, ready to be added to a server.
    #[must_use]
    pub fn server(
        store: Arc<dyn Store>,
        agents: Agents,
        metrics: Arc<Metrics>,
    ) -> NsdbServer<Self> {
        NsdbServer::new(Self { store, agents, metrics })
            .max_decoding_message_size(mn_wire::MESSAGE_BYTES_MAX)
            .max_encoding_message_size(mn_wire::MESSAGE_BYTES_MAX)
    }

    fn called(&self, method: &str) {
        self.metrics.nsdb_calls.with_label_values(&[method]).inc();
    }
}

type Answers<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;

fn malformed(error: Malformed) -> Status {
    Status::invalid_argument(error.to_string())
}

fn unreadable(error: ReadError) -> Status {
    match error {
        ReadError::Unavailable(source) => Status::unavailable(source.to_string()),
        ReadError::Corrupt(what) => Status::data_loss(what),
        ReadError::Storage(source) => {
            tracing::error!(%source, "the state database's storage failed");
            Status::internal("the state database's storage failed")
        }
    }
}

/// A field that must be there.
fn need<T>(field: Option<T>, what: &'static str) -> Result<T, Status> {
    field.ok_or_else(|| malformed(Malformed::Missing(what)))
}

fn id(uuid: Option<v1::Uuid>) -> Result<Uuid, Status> {
    need(uuid, "an id")?.try_into().map_err(malformed)
}

fn class(name: &str) -> Result<Class, Status> {
    name.parse().map_err(|_| Status::invalid_argument(format!("{name:?} is no class")))
}

fn answers<T, W>(items: Vec<T>) -> Response<Answers<W>>
where
    T: Into<W> + Send + 'static,
    W: Send + 'static,
{
    Response::new(Box::pin(tokio_stream::iter(items).map(|item| Ok(item.into()))))
}

/// The answer to a write.
fn written(result: Result<u64, TxError>) -> Response<v1::TransactReply> {
    use v1::transact_reply::Result as Wire;
    let result = match result {
        Ok(number) => Wire::Number(number),
        Err(error) => Wire::Refusal(refusal(&error)),
    };
    Response::new(v1::TransactReply { result: Some(result) })
}

#[tonic::async_trait]
impl Nsdb for NsdbService {
    type ListStream = Answers<v1::Stored>;
    type ReferrersStream = Answers<v1::Stored>;
    type EntriesStream = Answers<v1::Entry>;
    type EntriesAtStream = Answers<v1::Entry>;
    type WatchStream = Answers<v1::Batch>;
    type ServeStream = Answers<v1::AgentRequest>;

    async fn get(&self, request: Request<v1::Key>) -> Result<Response<v1::GetReply>, Status> {
        self.called("get");
        let key: ObjectKey = request.into_inner().try_into().map_err(malformed)?;
        let stored = self.store.get(key).await.map_err(unreadable)?;
        Ok(Response::new(v1::GetReply { stored: stored.map(Into::into) }))
    }

    async fn list(
        &self,
        request: Request<v1::ListRequest>,
    ) -> Result<Response<Self::ListStream>, Status> {
        self.called("list");
        let class = class(&request.into_inner().class)?;
        Ok(answers(self.store.list(class).await.map_err(unreadable)?))
    }

    async fn referrers(
        &self,
        request: Request<v1::ReferrersRequest>,
    ) -> Result<Response<Self::ReferrersStream>, Status> {
        self.called("referrers");
        let request = request.into_inner();
        let to = need(request.to, "a key")?.try_into().map_err(malformed)?;
        let class = class(&request.class)?;
        Ok(answers(self.store.referrers(to, class).await.map_err(unreadable)?))
    }

    async fn entries(
        &self,
        request: Request<v1::Table>,
    ) -> Result<Response<Self::EntriesStream>, Status> {
        self.called("entries");
        let table: TableId = request.into_inner().try_into().map_err(malformed)?;
        Ok(answers(self.store.entries(table).await.map_err(unreadable)?))
    }

    async fn entries_at(
        &self,
        request: Request<v1::EntriesAtRequest>,
    ) -> Result<Response<Self::EntriesAtStream>, Status> {
        self.called("entries_at");
        let request = request.into_inner();
        let table: TableId = need(request.table, "a table")?.try_into().map_err(malformed)?;
        Ok(answers(self.store.entries_at(table, &request.key).await.map_err(unreadable)?))
    }

    async fn transact(
        &self,
        request: Request<v1::Transaction>,
    ) -> Result<Response<v1::TransactReply>, Status> {
        self.called("transact");
        let transaction: Transaction = request.into_inner().try_into().map_err(malformed)?;
        Ok(written(self.store.transact(transaction).await.map(|revision| revision.0)))
    }

    async fn next_number(
        &self,
        request: Request<v1::Sequence>,
    ) -> Result<Response<v1::TransactReply>, Status> {
        self.called("next_number");
        Ok(written(self.store.next_number(&request.into_inner().name).await))
    }

    async fn open_session(
        &self,
        request: Request<v1::OpenSessionRequest>,
    ) -> Result<Response<v1::SessionReply>, Status> {
        use v1::session_reply::Result as Wire;
        self.called("open_session");
        let request = request.into_inner();
        let host = HostId::from_uuid(id(request.host)?);
        let ttl = Duration::from_millis(request.ttl_ms).min(SESSION_TTL_MAX);
        let result = match self.store.open_session(host, ttl).await {
            Ok(session) => Wire::Session(session.into()),
            Err(error) => Wire::Refusal(refusal(&error)),
        };
        Ok(Response::new(v1::SessionReply { result: Some(result) }))
    }

    async fn renew_session(
        &self,
        request: Request<v1::SessionRef>,
    ) -> Result<Response<v1::TransactReply>, Status> {
        self.called("renew_session");
        let session = SessionId(id(request.into_inner().id)?);
        Ok(written(self.store.renew_session(session).await.map(|()| 0)))
    }

    async fn close_session(
        &self,
        request: Request<v1::SessionRef>,
    ) -> Result<Response<v1::TransactReply>, Status> {
        self.called("close_session");
        let session = SessionId(id(request.into_inner().id)?);
        Ok(written(self.store.close_session(session).await.map(|()| 0)))
    }

    async fn sessions(
        &self,
        _request: Request<v1::Nothing>,
    ) -> Result<Response<v1::SessionList>, Status> {
        self.called("sessions");
        let sessions = self.store.sessions().await.map_err(unreadable)?;
        let sessions = sessions.into_iter().map(Into::into).collect();
        Ok(Response::new(v1::SessionList { sessions }))
    }

    async fn watch(
        &self,
        request: Request<Streaming<v1::WatchRequest>>,
    ) -> Result<Response<Self::WatchStream>, Status> {
        self.called("watch");
        let watch = self.store.watch().await.map_err(unreadable)?;
        let (sender, batches) = mpsc::channel(BATCHES_MAX);
        let open = self.metrics.nsdb_watches.clone();
        open.inc();
        tokio::spawn(async move {
            if let Err(status) = pump(watch, request.into_inner(), &sender).await {
                drop(sender.send(Err(status)).await);
            }
            open.dec();
        });
        Ok(Response::new(Box::pin(ReceiverStream::new(batches))))
    }

    async fn serve(
        &self,
        request: Request<Streaming<v1::AgentMessage>>,
    ) -> Result<Response<Self::ServeStream>, Status> {
        self.called("serve");
        let mut messages = request.into_inner();
        let Some(v1::agent_message::Message::Hello(host)) =
            messages.message().await?.and_then(|message| message.message)
        else {
            return Err(Status::invalid_argument("the first message says which host serves"));
        };
        let host = HostId::from_uuid(id(Some(host))?);
        let (sender, requests) = mpsc::channel(REQUESTS_MAX);
        tokio::spawn(answer(messages, self.agents.register(host, sender)));
        Ok(Response::new(Box::pin(ReceiverStream::new(requests).map(Ok))))
    }
}

/// Carries a watch to its client until either ends.
async fn pump(
    mut watch: Box<dyn Watch>,
    mut requests: Streaming<v1::WatchRequest>,
    batches: &mpsc::Sender<Result<v1::Batch, Status>>,
) -> Result<(), Status> {
    let mut joined = Joined::default();
    // Of the batch that is being sent. Requests are read meanwhile: a client may send many before it
    // reads on.
    let mut pieces = VecDeque::new();
    loop {
        tokio::select! {
            request = requests.message() => {
                let Some(request) = request? else { return Ok(()) };
                if let Some(request) = joined.take(request) {
                    change(watch.as_mut(), request).await?;
                }
            }
            place = batches.reserve(), if !pieces.is_empty() => match (place, pieces.pop_front()) {
                (Ok(place), Some(piece)) => place.send(Ok(piece)),
                _ => return Ok(()),
            },
            event = watch.next(), if pieces.is_empty() => match event {
                Some(WatchEvent::Batch(batch)) => pieces.extend(mn_wire::batch_pieces(batch.into())),
                Some(WatchEvent::Reconnected) => {}
                // The client opens it again, here or at another node.
                Some(WatchEvent::Disconnected) | None => {
                    return Err(Status::unavailable("this node lost the state database"));
                }
            },
        }
    }
}

async fn change(watch: &mut dyn Watch, request: v1::WatchRequest) -> Result<(), Status> {
    let read = |selectors: Vec<v1::Selector>| {
        selectors.into_iter().map(TryInto::try_into).collect::<Result<Vec<_>, _>>()
    };
    let (add, remove) = (read(request.add), read(request.remove));
    let (add, remove) = (add.map_err(malformed)?, remove.map_err(malformed)?);
    if !remove.is_empty() {
        watch.remove(&remove).await.map_err(unreadable)?;
    }
    if !add.is_empty() {
        watch.add(&add).await.map_err(unreadable)?;
    }
    Ok(())
}

/// Takes an agent's answers until its stream ends.
async fn answer(mut messages: Streaming<v1::AgentMessage>, registration: Registration) {
    while let Ok(Some(message)) = messages.message().await {
        if let Some(v1::agent_message::Message::Reply(reply)) = message.message {
            registration.answered(reply);
        }
    }
}
