//! A watch over a stream that may break.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use mn_nsdb::{ReadError, Selector, Watch, WatchEvent};
use mn_wire::{Joined, Malformed, v1};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::Streaming;

use crate::connection::Connection;
use crate::resume::Resume;

/// Events that may wait for the watcher; then the stream waits, and the node merges what comes.
const EVENTS_MAX: usize = 64;
/// Commands that may wait to be sent.
const COMMANDS_MAX: usize = 64;
/// How long after a failed attempt the next is made, at first and at most.
const RETRY_FIRST: Duration = Duration::from_millis(50);
const RETRY_MAX: Duration = Duration::from_secs(2);

/// The watcher's end. The stream is kept by a task that ends with it.
pub(crate) struct RemoteWatch {
    commands: mpsc::Sender<Command>,
    events: mpsc::Receiver<WatchEvent>,
}

enum Command {
    Add(Vec<Selector>),
    Remove(Vec<Selector>),
}

impl RemoteWatch {
    pub(crate) fn start(connection: Arc<Connection>) -> Self {
        let (commands, receiver) = mpsc::channel(COMMANDS_MAX);
        let (sender, events) = mpsc::channel(EVENTS_MAX);
        let keeper = Keeper {
            connection,
            commands: receiver,
            events: sender,
            resume: Resume::default(),
            shown: false,
        };
        tokio::spawn(keeper.run());
        Self { commands, events }
    }

    async fn send(&self, command: Command) -> Result<(), ReadError> {
        let gone = |_| ReadError::Unavailable("the watch has ended".into());
        self.commands.send(command).await.map_err(gone)
    }
}

#[async_trait]
impl Watch for RemoteWatch {
    async fn add(&mut self, selectors: &[Selector]) -> Result<(), ReadError> {
        self.send(Command::Add(selectors.to_vec())).await
    }

    async fn remove(&mut self, selectors: &[Selector]) -> Result<(), ReadError> {
        self.send(Command::Remove(selectors.to_vec())).await
    }

    async fn next(&mut self) -> Option<WatchEvent> {
        self.events.recv().await
    }
}

/// Keeps the stream, and opens it again when it breaks.
struct Keeper {
    connection: Arc<Connection>,
    commands: mpsc::Receiver<Command>,
    events: mpsc::Sender<WatchEvent>,
    resume: Resume,
    /// Whether the watcher knows of a connection that may be lost.
    shown: bool,
}

/// The watcher is gone.
struct Done;

impl Keeper {
    async fn run(mut self) {
        let mut retry = RETRY_FIRST;
        loop {
            match self.connected(&mut retry).await {
                Err(Done) => return,
                Ok(()) => {
                    if self.shown && self.events.send(WatchEvent::Disconnected).await.is_err() {
                        return;
                    }
                    self.shown = false;
                }
            }
            if self.wait(retry).await.is_err() {
                return;
            }
            retry = (retry * 2).min(RETRY_MAX);
        }
    }

    /// Waits before the next attempt; commands are noted meanwhile.
    async fn wait(&mut self, time: Duration) -> Result<(), Done> {
        let until = tokio::time::Instant::now() + time;
        loop {
            tokio::select! {
                () = tokio::time::sleep_until(until) => return Ok(()),
                command = self.commands.recv() => self.note(command.as_ref().ok_or(Done)?),
            }
        }
    }

    fn note(&mut self, command: &Command) {
        match command {
            Command::Add(selectors) => self.resume.add(selectors),
            Command::Remove(selectors) => self.resume.remove(selectors),
        }
    }

    /// One life of the stream. `Ok`: it broke, or could not be opened.
    async fn connected(&mut self, retry: &mut Duration) -> Result<(), Done> {
        let Ok(mut client) = self.connection.client().await else { return Ok(()) };
        let generation = client.generation;
        let (requests, receiver) = mpsc::channel(COMMANDS_MAX);
        let everything = self.resume.selectors().map(Into::into).collect();
        let mut everything = mn_wire::request_pieces(everything, Vec::new());
        // The first message goes with the call: a server may not answer before it has one.
        let rest = everything.split_off(1);
        for first in everything {
            if requests.send(first).await.is_err() {
                return Ok(());
            }
        }
        let stream = match client.grpc.watch(ReceiverStream::new(receiver)).await {
            Ok(answer) => answer.into_inner(),
            Err(_) => {
                self.connection.failed(generation).await;
                return Ok(());
            }
        };
        *retry = RETRY_FIRST;
        self.events.send(WatchEvent::Reconnected).await.map_err(|_| Done)?;
        self.shown = true;
        self.resume.reconnected();
        for piece in rest {
            if requests.send(piece).await.is_err() {
                return Ok(());
            }
        }
        let ended = self.pump(stream, requests).await;
        self.connection.failed(generation).await;
        ended
    }

    async fn pump(
        &mut self,
        mut stream: Streaming<v1::Batch>,
        requests: mpsc::Sender<v1::WatchRequest>,
    ) -> Result<(), Done> {
        let mut joined = Joined::default();
        loop {
            tokio::select! {
                command = self.commands.recv() => {
                    let command = command.ok_or(Done)?;
                    self.note(&command);
                    for piece in request(command) {
                        if requests.send(piece).await.is_err() {
                            return Ok(());
                        }
                    }
                }
                message = stream.message() => {
                    let Ok(Some(piece)) = message else { return Ok(()) };
                    let Some(whole) = joined.take(piece) else { continue };
                    let Some(batch) = batch(whole) else { return Ok(()) };
                    if let Some(shown) = self.resume.batch(batch) {
                        self.events.send(WatchEvent::Batch(shown)).await.map_err(|_| Done)?;
                    }
                }
            }
        }
    }
}

/// The batch of a message; `None` where it is nonsense.
fn batch(message: v1::Batch) -> Option<mn_nsdb::Batch> {
    let read = message.try_into();
    read.inspect_err(|malformed: &Malformed| tracing::debug!(%malformed, "the watch broke")).ok()
}

fn request(command: Command) -> Vec<v1::WatchRequest> {
    let wire = |selectors: Vec<Selector>| selectors.into_iter().map(Into::into).collect();
    match command {
        Command::Add(selectors) => mn_wire::request_pieces(wire(selectors), Vec::new()),
        Command::Remove(selectors) => mn_wire::request_pieces(Vec::new(), wire(selectors)),
    }
}
