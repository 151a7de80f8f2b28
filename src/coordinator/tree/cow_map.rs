//! A sorted map in shared chunks. A clone shares all chunks and costs one pointer per chunk;
//! a write afterwards copies the one chunk that it touches. So a snapshot is taken at once, stops
//! no write, and costs memory only for what changes while it is being sent. Dense: two words per
//! entry of overhead at most, no pointers between entries.

use std::cmp::Ordering;
use std::hash::{Hash, Hasher};
use std::sync::Arc;

/// The most entries that a chunk holds: what one write copies while a snapshot is held.
const CHUNK_ENTRIES_MAX: usize = 128;
/// A chunk with fewer entries is joined to its neighbour if both fit well into one.
const CHUNK_ENTRIES_LOW: usize = 32;

type Chunk<K, V> = Arc<Vec<(K, V)>>;

/// The map. Chunks are never empty and their keys ascend, within a chunk and across chunks.
#[derive(Clone, Debug)]
pub struct CowMap<K, V> {
    chunks: Vec<Chunk<K, V>>,
    len: usize,
}

impl<K, V> Default for CowMap<K, V> {
    fn default() -> Self {
        CowMap { chunks: Vec::new(), len: 0 }
    }
}

impl<K: Ord + Clone, V: Clone> CowMap<K, V> {
    /// How many entries it has.
    #[must_use]
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether it has no entries.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Where the key stands for which `probe` says equal, or where it would be inserted. `probe`
    /// says how a key stands to the one that is looked for, and agrees with the order of keys.
    fn locate(&self, probe: &impl Fn(&K) -> Ordering) -> Result<(usize, usize), (usize, usize)> {
        let after = self.chunks.partition_point(|chunk| probe(&chunk[0].0) != Ordering::Greater);
        let chunk = after.saturating_sub(1);
        let Some(entries) = self.chunks.get(chunk) else { return Err((0, 0)) };
        match entries.binary_search_by(|(key, _)| probe(key)) {
            Ok(at) => Ok((chunk, at)),
            Err(at) => Err((chunk, at)),
        }
    }

    /// The key for which `probe` says equal, and its value.
    pub fn entry_by(&self, probe: impl Fn(&K) -> Ordering) -> Option<(&K, &V)> {
        let (chunk, at) = self.locate(&probe).ok()?;
        let (key, value) = &self.chunks[chunk][at];
        Some((key, value))
    }

    /// The value of `key`.
    pub fn get(&self, key: &K) -> Option<&V> {
        self.entry_by(|candidate| candidate.cmp(key)).map(|(_, value)| value)
    }

    /// The value of `key`, to be changed.
    pub fn get_mut(&mut self, key: &K) -> Option<&mut V> {
        let (chunk, at) = self.locate(&|candidate: &K| candidate.cmp(key)).ok()?;
        Some(&mut Arc::make_mut(&mut self.chunks[chunk])[at].1)
    }

    /// Sets the value of `key` and gives the one that it had.
    pub fn insert(&mut self, key: K, value: V) -> Option<V> {
        match self.locate(&|candidate: &K| candidate.cmp(&key)) {
            Ok((chunk, at)) => {
                let slot = &mut Arc::make_mut(&mut self.chunks[chunk])[at].1;
                Some(std::mem::replace(slot, value))
            }
            Err((chunk, at)) => {
                self.insert_new(chunk, at, (key, value));
                self.len += 1;
                None
            }
        }
    }

    fn insert_new(&mut self, chunk: usize, at: usize, entry: (K, V)) {
        let Some(entries) = self.chunks.get_mut(chunk) else {
            self.chunks.push(Arc::new(vec![entry]));
            return;
        };
        if entries.len() < CHUNK_ENTRIES_MAX {
            Arc::make_mut(entries).insert(at, entry);
        } else if at == CHUNK_ENTRIES_MAX {
            // Keys that arrive in order (sequential nodes) fill chunks instead of halving them.
            self.chunks.insert(chunk + 1, Arc::new(vec![entry]));
        } else {
            let lower = Arc::make_mut(entries);
            let mut upper = lower.split_off(CHUNK_ENTRIES_MAX / 2);
            match at.checked_sub(lower.len()) {
                Some(at) => upper.insert(at, entry),
                None => lower.insert(at, entry),
            }
            self.chunks.insert(chunk + 1, Arc::new(upper));
        }
    }

    /// Removes `key` and gives its value.
    pub fn remove(&mut self, key: &K) -> Option<V> {
        let (chunk, at) = self.locate(&|candidate: &K| candidate.cmp(key)).ok()?;
        let entries = Arc::make_mut(&mut self.chunks[chunk]);
        let (_, value) = entries.remove(at);
        self.len -= 1;
        if entries.is_empty() {
            self.chunks.remove(chunk);
        } else if entries.len() < CHUNK_ENTRIES_LOW {
            self.join_with_next(chunk);
        }
        Some(value)
    }

    fn join_with_next(&mut self, chunk: usize) {
        let Some(next) = self.chunks.get(chunk + 1) else { return };
        if self.chunks[chunk].len() + next.len() <= CHUNK_ENTRIES_MAX * 3 / 4 {
            let next = self.chunks.remove(chunk + 1);
            Arc::make_mut(&mut self.chunks[chunk]).extend(next.iter().cloned());
        }
    }

    /// All entries in ascending order.
    pub fn iter(&self) -> impl Iterator<Item = (&K, &V)> {
        self.chunks.iter().flat_map(|chunk| chunk.iter()).map(|(key, value)| (key, value))
    }

    /// The entries from the first key on that is not below what `probe` looks for.
    pub fn iter_from(&self, probe: impl Fn(&K) -> Ordering) -> impl Iterator<Item = (&K, &V)> {
        let (chunk, at) = self.locate(&probe).unwrap_or_else(|insertion| insertion);
        let chunks = self.chunks.get(chunk..).unwrap_or_default();
        chunks.iter().flat_map(|chunk| chunk.iter()).skip(at).map(|(key, value)| (key, value))
    }
}

impl<K: Ord + Clone, V: Clone + PartialEq> PartialEq for CowMap<K, V> {
    fn eq(&self, other: &Self) -> bool {
        self.iter().eq(other.iter())
    }
}

impl<K: Ord + Clone, V: Clone + Eq> Eq for CowMap<K, V> {}

impl<K: Ord + Clone + Hash, V: Clone + Hash> Hash for CowMap<K, V> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write_usize(self.len);
        self.iter().for_each(|entry| entry.hash(state));
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    fn check_chunks<K: Ord + Clone, V: Clone>(map: &CowMap<K, V>) {
        assert!(map.chunks.iter().all(|chunk| (1..=CHUNK_ENTRIES_MAX).contains(&chunk.len())));
        assert!(map.iter().map(|(key, _)| key).is_sorted_by(|a, b| a < b));
        assert_eq!(map.chunks.iter().map(|chunk| chunk.len()).sum::<usize>(), map.len);
    }

    proptest! {
        #[test]
        fn it_behaves_as_the_standard_map_and_clones_are_frozen(
            ops in proptest::collection::vec((0u8..3, 0u16..600, any::<u8>()), 0..3000),
            freeze_at in 0usize..3000,
        ) {
            let (mut map, mut model) = (CowMap::default(), BTreeMap::new());
            let mut frozen = None;
            for (step, (op, key, value)) in ops.into_iter().enumerate() {
                if step == freeze_at {
                    frozen = Some((map.clone(), model.clone()));
                }
                match op {
                    0 | 1 => prop_assert_eq!(map.insert(key, value), model.insert(key, value)),
                    _ => prop_assert_eq!(map.remove(&key), model.remove(&key)),
                }
            }
            check_chunks(&map);
            prop_assert!(map.iter().eq(model.iter()));
            prop_assert!(map.iter_from(|key| key.cmp(&300)).eq(model.range(300..)));
            prop_assert_eq!(map.get(&17), model.get(&17));
            if let Some((map, model)) = frozen {
                prop_assert!(map.iter().eq(model.iter()));
            }
        }
    }

    #[test]
    fn maps_are_equal_that_have_the_same_entries_in_whatever_chunks() {
        let of = |keys: &[u32]| {
            let mut map = CowMap::default();
            keys.iter().for_each(|key| assert_eq!(map.insert(*key, key % 7), None));
            map
        };
        let rising: Vec<_> = (0..300).collect();
        let falling: Vec<_> = (0..300).rev().collect();
        assert_eq!(of(&rising), of(&falling));
        assert_ne!(of(&rising), of(&rising[1..]));
        assert_ne!(of(&rising), of(&rising[..299]));
        assert_ne!(of(&[1, 2]), of(&[1, 3]));
    }

    #[test]
    fn keys_in_order_fill_their_chunks() {
        let mut map = CowMap::default();
        for key in 0..10 * CHUNK_ENTRIES_MAX {
            map.insert(key, ());
        }
        assert_eq!(map.chunks.len(), 10);
        for key in 0..10 * CHUNK_ENTRIES_MAX {
            assert!(map.remove(&key).is_some());
        }
        assert!(map.is_empty() && map.chunks.is_empty());
    }
}
