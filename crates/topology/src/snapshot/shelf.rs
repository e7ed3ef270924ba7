//! A map by identifier that is cheap to clone and to change a little.

use core::array;
use core::hash::{BuildHasherDefault, Hasher};
use std::collections::HashMap;
use std::sync::Arc;

use mn_flow::mix;
use uuid::Uuid;

/// A change copies one shard of 10,000 entries' forty, and this many pointers.
const SHARDS: usize = 256;

type Shard<V> = HashMap<u128, V, BuildHasherDefault<IdHasher>>;

/// A map from UUIDs. A clone shares everything; a change to it copies the shard it is in.
#[derive(Debug)]
pub(super) struct Shelf<V> {
    shards: Arc<[Arc<Shard<V>>; SHARDS]>,
}

impl<V> Clone for Shelf<V> {
    fn clone(&self) -> Self {
        Self { shards: Arc::clone(&self.shards) }
    }
}

impl<V> Default for Shelf<V> {
    fn default() -> Self {
        let empty = Arc::new(Shard::default());
        Self { shards: Arc::new(array::from_fn(|_| Arc::clone(&empty))) }
    }
}

impl<V> Shelf<V> {
    pub(super) fn get(&self, id: Uuid) -> Option<&V> {
        let key = id.as_u128();
        self.shards[shard_of(key)].get(&key)
    }

    /// Everything in it, in no order that means anything.
    pub(super) fn values(&self) -> impl Iterator<Item = &V> {
        self.shards.iter().flat_map(|shard| shard.values())
    }

    pub(super) fn len(&self) -> usize {
        self.shards.iter().map(|shard| shard.len()).sum()
    }
}

impl<V: Clone> Shelf<V> {
    /// Puts a value there and returns what was there.
    pub(super) fn insert(&mut self, id: Uuid, value: V) -> Option<V> {
        self.shard(id).insert(id.as_u128(), value)
    }

    pub(super) fn remove(&mut self, id: Uuid) -> Option<V> {
        self.get(id)?;
        self.shard(id).remove(&id.as_u128())
    }

    fn shard(&mut self, id: Uuid) -> &mut Shard<V> {
        Arc::make_mut(&mut Arc::make_mut(&mut self.shards)[shard_of(id.as_u128())])
    }
}

impl<V: Clone + Default> Shelf<V> {
    /// The value there, made now where there was none.
    pub(super) fn entry(&mut self, id: Uuid) -> &mut V {
        self.shard(id).entry(id.as_u128()).or_default()
    }
}

fn shard_of(key: u128) -> usize {
    usize::from(mix(0, key).to_be_bytes()[0])
}

/// Hashes one identifier.
#[derive(Default)]
pub(super) struct IdHasher(u64);

impl Hasher for IdHasher {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.write_u128(u128::from(*byte));
        }
    }

    fn write_u128(&mut self, key: u128) {
        // The rotation keeps the bits that chose the shard from choosing the bucket too.
        self.0 = (self.0 ^ mix(0, key)).rotate_left(23);
    }
}
