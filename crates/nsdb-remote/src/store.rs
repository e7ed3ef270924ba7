//! The database's operations as calls to a node.

use std::error::Error;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use mn_ids::{Class, HostId, ObjectKey};
use mn_nsdb::{
    Entry, ReadError, Revision, Session, SessionId, Store, Stored, TableId, Transaction, TxError,
    Watch,
};
use mn_wire::{Malformed, tx_error, v1};
use tokio_stream::StreamExt;
use tonic::{Response, Status, Streaming};

use crate::connection::{Client, Connection, Settings, SettingsError};
use crate::watch::RemoteWatch;

/// How long a node may take to answer.
const ANSWER_MAX: Duration = Duration::from_secs(10);

/// A state database behind cluster nodes.
#[derive(Clone, Debug)]
pub struct Remote {
    pub(crate) connection: Arc<Connection>,
}

impl Remote {
    /// A database at these nodes. Connects when it is first used.
    ///
    /// # Errors
    ///
    /// [`SettingsError`]: the settings cannot work.
    pub fn new(settings: &Settings) -> Result<Self, SettingsError> {
        Ok(Self { connection: Arc::new(Connection::new(settings)?) })
    }

    /// Calls a node for something that changes nothing.
    async fn read<T, F, Fut>(&self, call: F) -> Result<T, ReadError>
    where
        F: FnOnce(Client) -> Fut,
        Fut: Future<Output = Result<T, Failure>>,
    {
        let client = self.connection.client().await.map_err(ReadError::Unavailable)?;
        let generation = client.generation;
        match within(call(client)).await {
            Ok(value) => Ok(value),
            Err(failure) => {
                self.connection.failed(generation).await;
                Err(failure.into_read())
            }
        }
    }

    /// Calls a node for something that changes the database.
    async fn write<T, F, Fut>(&self, call: F) -> Result<T, TxError>
    where
        F: FnOnce(Client) -> Fut,
        Fut: Future<Output = Result<Result<T, v1::Refusal>, Failure>>,
    {
        let client = self.connection.client().await.map_err(TxError::Unavailable)?;
        let generation = client.generation;
        let failure = match within(call(client)).await {
            Ok(Ok(value)) => return Ok(value),
            Ok(Err(refusal)) => match tx_error(refusal) {
                Ok(error) => return Err(error),
                Err(malformed) => malformed.into(),
            },
            Err(failure) => failure,
        };
        self.connection.failed(generation).await;
        Err(failure.into_tx())
    }
}

/// A call that brought no answer of the database.
#[derive(Debug)]
pub(crate) enum Failure {
    Status(Box<Status>),
    Malformed(Malformed),
    NoAnswer,
}

impl From<Status> for Failure {
    fn from(status: Status) -> Self {
        Self::Status(Box::new(status))
    }
}

impl From<Malformed> for Failure {
    fn from(malformed: Malformed) -> Self {
        Self::Malformed(malformed)
    }
}

impl Failure {
    fn into_read(self) -> ReadError {
        match self {
            Self::Status(status) if status.code() == tonic::Code::DataLoss => {
                ReadError::Corrupt(status.message().to_owned())
            }
            Self::Status(status) => ReadError::Unavailable(status),
            Self::Malformed(malformed) => ReadError::Corrupt(malformed.to_string()),
            Self::NoAnswer => ReadError::Unavailable("no answer".into()),
        }
    }

    fn into_tx(self) -> TxError {
        match self {
            Self::Status(status) if never_sent(&status) => TxError::Unavailable(status),
            Self::Status(_) | Self::Malformed(_) | Self::NoAnswer => {
                TxError::Undecided { waited: ANSWER_MAX }
            }
        }
    }
}

/// Whether the call failed before a connection was there.
fn never_sent(status: &Status) -> bool {
    let mut source = status.source();
    while let Some(error) = source {
        if error.is::<tonic::ConnectError>() {
            return true;
        }
        source = error.source();
    }
    false
}

async fn within<T>(call: impl Future<Output = Result<T, Failure>>) -> Result<T, Failure> {
    tokio::time::timeout(ANSWER_MAX, call).await.unwrap_or(Err(Failure::NoAnswer))
}

/// Takes a whole stream of messages.
async fn all<W, T>(answer: Response<Streaming<W>>) -> Result<Vec<T>, Failure>
where
    T: TryFrom<W, Error = Malformed>,
{
    let mut stream = answer.into_inner();
    let mut items = Vec::new();
    while let Some(item) = stream.next().await {
        items.push(item?.try_into()?);
    }
    Ok(items)
}

/// The number of an answer, or why there is none.
fn number(answer: Response<v1::TransactReply>) -> Result<Result<u64, v1::Refusal>, Failure> {
    match answer.into_inner().result {
        Some(v1::transact_reply::Result::Number(number)) => Ok(Ok(number)),
        Some(v1::transact_reply::Result::Refusal(refusal)) => Ok(Err(refusal)),
        None => Err(Malformed::Missing("a result").into()),
    }
}

#[async_trait]
impl Store for Remote {
    async fn get(&self, key: ObjectKey) -> Result<Option<Stored>, ReadError> {
        self.read(async |mut client: Client| {
            let answer = client.grpc.get(v1::Key::from(key)).await?.into_inner();
            Ok(answer.stored.map(TryInto::try_into).transpose()?)
        })
        .await
    }

    async fn list(&self, class: Class) -> Result<Vec<Stored>, ReadError> {
        let request = v1::ListRequest { class: class.name().to_owned() };
        self.read(async |mut client: Client| all(client.grpc.list(request).await?).await).await
    }

    async fn referrers(&self, to: ObjectKey, class: Class) -> Result<Vec<Stored>, ReadError> {
        let class = class.name().to_owned();
        let request = v1::ReferrersRequest { to: Some(to.into()), class };
        self.read(async |mut client: Client| all(client.grpc.referrers(request).await?).await).await
    }

    async fn entries(&self, table: TableId) -> Result<Vec<Entry>, ReadError> {
        let request = v1::Table::from(table);
        self.read(async |mut client: Client| all(client.grpc.entries(request).await?).await).await
    }

    async fn entries_at(&self, table: TableId, key: &str) -> Result<Vec<Entry>, ReadError> {
        let request = v1::EntriesAtRequest { table: Some(table.into()), key: key.to_owned() };
        self.read(async |mut client: Client| all(client.grpc.entries_at(request).await?).await)
            .await
    }

    async fn transact(&self, transaction: Transaction) -> Result<Revision, TxError> {
        let request = v1::Transaction::from(transaction);
        self.write(async |mut client: Client| number(client.grpc.transact(request).await?))
            .await
            .map(Revision)
    }

    async fn next_number(&self, sequence: &str) -> Result<u64, TxError> {
        let request = v1::Sequence { name: sequence.to_owned() };
        self.write(async |mut client: Client| number(client.grpc.next_number(request).await?)).await
    }

    async fn watch(&self) -> Result<Box<dyn Watch>, ReadError> {
        Ok(Box::new(RemoteWatch::start(Arc::clone(&self.connection))))
    }

    async fn open_session(&self, host: HostId, ttl: Duration) -> Result<Session, TxError> {
        let ttl_ms = u64::try_from(ttl.as_millis()).unwrap_or(u64::MAX);
        let request = v1::OpenSessionRequest { host: Some(host.uuid().into()), ttl_ms };
        self.write(async |mut client: Client| {
            match client.grpc.open_session(request).await?.into_inner().result {
                Some(v1::session_reply::Result::Session(session)) => Ok(Ok(session.try_into()?)),
                Some(v1::session_reply::Result::Refusal(refusal)) => Ok(Err(refusal)),
                None => Err(Malformed::Missing("a result").into()),
            }
        })
        .await
    }

    async fn renew_session(&self, session: SessionId) -> Result<(), TxError> {
        let request = v1::SessionRef { id: Some(session.0.into()) };
        self.write(async |mut client: Client| number(client.grpc.renew_session(request).await?))
            .await
            .map(|_| ())
    }

    async fn close_session(&self, session: SessionId) -> Result<(), TxError> {
        let request = v1::SessionRef { id: Some(session.0.into()) };
        self.write(async |mut client: Client| number(client.grpc.close_session(request).await?))
            .await
            .map(|_| ())
    }

    async fn sessions(&self) -> Result<Vec<Session>, ReadError> {
        self.read(async |mut client: Client| {
            let list = client.grpc.sessions(v1::Nothing {}).await?.into_inner();
            let sessions = list.sessions.into_iter().map(TryInto::try_into);
            Ok(sessions.collect::<Result<_, Malformed>>()?)
        })
        .await
    }
}
