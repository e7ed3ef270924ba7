//! The agents that are connected to this node, and asking them.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use mn_ids::HostId;
use mn_wire::v1;
use tokio::sync::{mpsc, oneshot};

/// How long an agent may take to answer.
const ANSWER_MAX: Duration = Duration::from_secs(10);
/// Requests that may wait to be sent to one agent.
pub const REQUESTS_MAX: usize = 64;

/// Which agents are connected. Cheap to clone; all clones are one.
#[derive(Clone, Debug, Default)]
pub struct Agents(Arc<Mutex<HashMap<HostId, Connected>>>);

/// Numbers the streams of all agents, so that a stream that ends late does not take its host's
/// next one with it.
static STREAMS: AtomicU64 = AtomicU64::new(0);

#[derive(Clone, Debug)]
struct Connected {
    stream: u64,
    requests: mpsc::Sender<v1::AgentRequest>,
    waiting: Waiting,
}

/// Who waits for an answer, by the request's number.
type Waiting = Arc<Mutex<HashMap<u64, oneshot::Sender<String>>>>;

/// Why an agent gave no answer.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum NoAnswer {
    /// The host's agent is not connected to this node.
    #[error("the agent of host {0} is away")]
    Away(HostId),
    /// It is connected and did not answer.
    #[error("the agent of host {host} did not answer within {waited:?}")]
    Silent { host: HostId, waited: Duration },
}

/// The registration of one agent's stream; it ends when this is dropped.
#[derive(Debug)]
pub struct Registration {
    agents: Agents,
    host: HostId,
    stream: u64,
    waiting: Waiting,
}

impl Agents {
    /// How many agents are connected.
    #[must_use]
    pub fn count(&self) -> usize {
        self.lock().len()
    }

    /// Registers an agent's stream, in place of one it had. Requests are sent to `requests`.
    #[must_use]
    pub fn register(&self, host: HostId, requests: mpsc::Sender<v1::AgentRequest>) -> Registration {
        let stream = STREAMS.fetch_add(1, Ordering::Relaxed);
        let waiting = Waiting::default();
        let connected = Connected { stream, requests, waiting: Arc::clone(&waiting) };
        self.lock().insert(host, connected);
        Registration { agents: self.clone(), host, stream, waiting }
    }

    /// Asks an agent.
    ///
    /// # Errors
    ///
    /// [`NoAnswer`]: it is away, goes away meanwhile, or takes too long.
    pub async fn ask(&self, host: HostId, json: String) -> Result<String, NoAnswer> {
        static NUMBER: AtomicU64 = AtomicU64::new(1);
        let away = NoAnswer::Away(host);
        let connected = self.lock().get(&host).cloned().ok_or(away)?;
        let id = NUMBER.fetch_add(1, Ordering::Relaxed);
        let (sender, answer) = oneshot::channel();
        lock(&connected.waiting).insert(id, sender);
        let forget = || lock(&connected.waiting).remove(&id);
        if connected.requests.send(v1::AgentRequest { id, json }).await.is_err() {
            forget();
            return Err(away);
        }
        match tokio::time::timeout(ANSWER_MAX, answer).await {
            Ok(Ok(json)) => Ok(json),
            Ok(Err(_)) => Err(away),
            Err(_) => {
                forget();
                Err(NoAnswer::Silent { host, waited: ANSWER_MAX })
            }
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<HostId, Connected>> {
        lock(&self.0)
    }
}

/// A map is whole between any two of its operations, so a panic elsewhere leaves it usable.
fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Registration {
    /// An answer came.
    pub fn answered(&self, reply: v1::AgentReply) {
        if let Some(asker) = lock(&self.waiting).remove(&reply.id) {
            // The asker may have given up.
            drop(asker.send(reply.json));
        }
    }
}

impl Drop for Registration {
    fn drop(&mut self) {
        let mut agents = self.agents.lock();
        if agents.get(&self.host).is_some_and(|connected| connected.stream == self.stream) {
            agents.remove(&self.host);
        }
        // Whoever waits learns that no answer will come.
        lock(&self.waiting).clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn an_answer_reaches_who_asked() {
        let agents = Agents::default();
        let host = HostId::random();
        let (sender, mut requests) = mpsc::channel(REQUESTS_MAX);
        let registration = agents.register(host, sender);
        let asking = tokio::spawn({
            let agents = agents.clone();
            async move { agents.ask(host, "ping".to_owned()).await }
        });
        let request = requests.recv().await.unwrap();
        registration.answered(v1::AgentReply { id: request.id + 1, json: "not mine".to_owned() });
        registration.answered(v1::AgentReply { id: request.id, json: request.json + " pong" });
        assert_eq!(asking.await.unwrap(), Ok("ping pong".to_owned()));
    }

    #[tokio::test]
    async fn an_agent_that_goes_away_is_not_waited_for() {
        let agents = Agents::default();
        let host = HostId::random();
        assert_eq!(agents.ask(host, String::new()).await, Err(NoAnswer::Away(host)));
        let (sender, mut requests) = mpsc::channel(REQUESTS_MAX);
        let registration = agents.register(host, sender);
        let asking = tokio::spawn({
            let agents = agents.clone();
            async move { agents.ask(host, String::new()).await }
        });
        requests.recv().await.unwrap();
        drop(registration);
        assert_eq!(asking.await.unwrap(), Err(NoAnswer::Away(host)));
        assert_eq!(agents.count(), 0);
    }

    #[test]
    fn a_stream_that_ends_late_leaves_the_next_one_alone() {
        let agents = Agents::default();
        let host = HostId::random();
        let first = agents.register(host, mpsc::channel(1).0);
        let second = agents.register(host, mpsc::channel(1).0);
        drop(first);
        assert_eq!(agents.count(), 1);
        drop(second);
        assert_eq!(agents.count(), 0);
    }
}
