//! A walk simulated here: topology and tables are loaded as the walk asks for them.

use std::collections::HashSet;

use mn_api_types::walk::{AnswerWalk, Walk, WalkRequest};
use mn_flow::{PortNo, extract};
use mn_ids::{HostId, ObjectKey, PortId};
use mn_nsdb::{Revision, Store};
use mn_simulation::Outcome;
use mn_time::Instant;
use mn_topology::snapshot::{Loaded, Snapshot};
use mn_walk::{
    After, DescribeError, Names, NoAnswer, Place, Setting, Story, Tunnel, Way, describe, document,
};
use serde_json::Value;

use super::learned::Learned;
use super::{decode, unreadable};
use crate::rest::WalkError;

/// The most rounds of loading; every round loads something new, so more means a defect.
const ROUNDS_MAX: usize = 64;
/// What an underlay of Ethernet carries inside a tunnel, where no host says otherwise.
const TUNNEL_MTU: u32 = 1450;

const SETTING: Setting = Setting { now: Instant::ZERO, seed: 0, mtu: TUNNEL_MTU };

/// Walks a packet with what the store knows.
pub(super) async fn walk(
    store: &dyn Store,
    request: &WalkRequest,
    host: Option<HostId>,
) -> Result<Walk, WalkError> {
    let mut view = View::default();
    view.learned.load_locations(store).await.map_err(unreadable)?;
    for _ in 0..ROUNDS_MAX {
        let described = match describe(request, &view.snapshot, &view.learned) {
            Ok(described) => described,
            Err(DescribeError::Load(keys)) => {
                view.load(store, &keys).await?;
                continue;
            }
            Err(error) => return Err(invalid(&error)),
        };
        let key = extract(&described.frame, PortNo::NONE, None).map_err(malformed)?;
        let way = Way::go(&view.snapshot, &view.learned, SETTING, &described, key);
        if let Outcome::Load(keys) = &way.outcome {
            view.load(store, keys).await?;
            continue;
        }
        let back = request.both.then(|| view.answer(&way));
        if let Some(Ok(Way { outcome: Outcome::Load(keys), .. })) = &back {
            view.load(store, keys).await?;
            continue;
        }
        return Ok(view.told(&way, back, host));
    }
    Err(WalkError::Unavailable("the walk needs more of the topology than there is".to_owned()))
}

/// What is loaded so far.
#[derive(Default)]
struct View {
    snapshot: Snapshot,
    learned: Learned,
    loaded: HashSet<Loaded>,
    revision: Revision,
}

impl View {
    /// Loads objects with what belongs to them.
    async fn load(&mut self, store: &dyn Store, keys: &[ObjectKey]) -> Result<(), WalkError> {
        for key in keys {
            self.learned.load(store, *key).await.map_err(unreadable)?;
            for part in Loaded::of(*key) {
                if self.loaded.insert(part) {
                    self.load_part(store, part).await?;
                }
            }
        }
        Ok(())
    }

    async fn load_part(&mut self, store: &dyn Store, part: Loaded) -> Result<(), WalkError> {
        let stored = match part {
            Loaded::Object(key) => store.get(key).await.map(|found| found.into_iter().collect()),
            Loaded::Referrers { to, class } => store.referrers(to, class).await,
        };
        let mut changes = Vec::new();
        for stored in stored.map_err(unreadable)? {
            self.revision = self.revision.max(stored.version);
            changes.push((stored.key, Some(decode(stored.key.class, &stored.json)?)));
        }
        self.snapshot = self.snapshot.apply(changes, &[part]).0;
        Ok(())
    }

    /// The way of a packet's answer, from the state that the packet would leave.
    fn answer(&self, way: &Way) -> Result<Way, NoAnswer> {
        let answer = way.answered()?;
        let state = After::of(&self.learned, way);
        Ok(Way::go(&self.snapshot, &state, SETTING, &answer.packet, answer.key))
    }

    fn told(&self, way: &Way, back: Option<Result<Way, NoAnswer>>, host: Option<HostId>) -> Walk {
        let note = match host {
            Some(_) => "without this host's state: its agent is away",
            None => "without any host's state: the port is bound to none",
        };
        let mut notes = vec![note.to_owned()];
        let answer = match back {
            None => None,
            Some(Err(none)) => {
                notes.push(none.to_string());
                None
            }
            Some(Ok(back)) => {
                let at = self.learned.location(back.port);
                Some(AnswerWalk(Box::new(self.document(&back, at, way.leaves()))))
            }
        };
        Walk { answer, ..self.document(way, host, notes) }
    }

    fn document(&self, way: &Way, host: Option<HostId>, notes: Vec<String>) -> Walk {
        let place = |port: PortId| {
            let at = self.learned.location(port);
            let key = self.learned.tunnel_key(port).filter(|_| at.is_some() && at != host);
            let tunnel = key.map(|key| Tunnel { key, outer_src: None, outer_dst: None });
            Place { host: at, tunnel }
        };
        document(&Story {
            names: Names::of(&self.snapshot),
            host: None,
            entered_at: host,
            notes,
            revision: self.revision.0,
            way,
            // Ports and peers have numbers on a host alone.
            actions: &[],
            flow: None,
            place: &place,
        })
    }
}

fn malformed(_: mn_flow::DropCause) -> WalkError {
    WalkError::Unavailable("the described packet is malformed".to_owned())
}

/// What a client did wrong.
fn invalid(error: &DescribeError) -> WalkError {
    WalkError::Invalid {
        property: error.property().to_owned(),
        value: Value::Null,
        reason: error.to_string(),
    }
}
