//! Named ChaCha streams, seeded from the operating system's entropy.

#![allow(clippy::disallowed_methods, reason = "this is the randomness that others are given")]

use std::collections::BTreeMap;
use std::io;
use std::sync::{Mutex, PoisonError};

use rand_chacha::rand_core::{Rng, SeedableRng};
use rand_chacha::{ChaCha8Rng, ChaCha20Rng};

use super::TokioRuntime;
use crate::runtime::Random;

/// The streams drawn from so far, one per purpose.
#[derive(Debug)]
pub(super) struct RandomStreams {
    streams: Mutex<Streams>,
}

#[derive(Debug)]
struct Streams {
    /// Gives each stream its seed when it is first drawn from.
    seeds: ChaCha20Rng,
    by_purpose: BTreeMap<&'static str, ChaCha8Rng>,
}

impl RandomStreams {
    pub(super) fn from_entropy() -> io::Result<Self> {
        let mut seed = [0; 32];
        getrandom::fill(&mut seed)?;
        let streams = Streams { seeds: ChaCha20Rng::from_seed(seed), by_purpose: BTreeMap::new() };
        Ok(RandomStreams { streams: Mutex::new(streams) })
    }

    fn next(&self, purpose: &'static str) -> u64 {
        // A draw leaves nothing half done that a panic could expose.
        let mut streams = self.streams.lock().unwrap_or_else(PoisonError::into_inner);
        let Streams { seeds, by_purpose } = &mut *streams;
        let stream = by_purpose.entry(purpose).or_insert_with(|| {
            let mut seed = [0; 32];
            seeds.fill_bytes(&mut seed);
            ChaCha8Rng::from_seed(seed)
        });
        stream.next_u64()
    }
}

impl Random for TokioRuntime {
    fn random_u64(&self, purpose: &'static str) -> u64 {
        self.node.random.next(purpose)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_process_draws_other_values() {
        let [one, other] = [(); 2].map(|()| RandomStreams::from_entropy().expect("entropy"));
        assert_ne!(one.next("election"), other.next("election"));
    }
}
