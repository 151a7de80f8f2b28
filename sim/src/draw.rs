//! Named random draws of a seed: what one purpose draws shifts no other.

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};
use wyrdlog::base::checksum::crc32c;

/// A stream of draws for one purpose of one seed.
#[derive(Clone, Debug)]
pub struct Draw {
    random: ChaCha8Rng,
}

impl Draw {
    /// The stream of `purpose` in `seed`.
    #[must_use]
    pub fn new(seed: u64, purpose: &str) -> Self {
        let mut random = ChaCha8Rng::seed_from_u64(seed);
        random.set_stream(u64::from(crc32c(purpose.as_bytes())));
        Draw { random }
    }

    /// Any number.
    pub fn number(&mut self) -> u64 {
        self.random.next_u64()
    }

    /// A number below `bound`; 0 if that is 0. Biased by less than 2^-32 for bounds below 2^32.
    pub fn below(&mut self, bound: u64) -> u64 {
        ((u128::from(self.random.next_u64()) * u128::from(bound)) >> 64) as u64
    }

    /// A number in `low..=high`.
    pub fn between(&mut self, low: u64, high: u64) -> u64 {
        low + self.below(high.saturating_sub(low).saturating_add(1))
    }

    /// True for `percent` of all draws.
    pub fn percent(&mut self, percent: u64) -> bool {
        self.below(100) < percent
    }

    /// One of `choices`, or none if there are none.
    pub fn pick<'c, T>(&mut self, choices: &'c [T]) -> Option<&'c T> {
        let at = self.below(choices.len() as u64) as usize;
        choices.get(at)
    }

    /// One of `choices` in proportion to its weight, or none if all weights are 0.
    pub fn weighted<'c, T>(&mut self, choices: &'c [(T, u32)]) -> Option<&'c T> {
        let total: u64 = choices.iter().map(|(_, weight)| u64::from(*weight)).sum();
        let mut at = self.below(total);
        choices.iter().find_map(|(choice, weight)| match at.checked_sub(u64::from(*weight)) {
            Some(rest) => {
                at = rest;
                None
            }
            None => Some(choice),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stream_is_a_function_of_seed_and_purpose() {
        let draws = |seed, purpose| {
            let mut draw = Draw::new(seed, purpose);
            [draw.number(), draw.number()]
        };
        assert_eq!(draws(1, "faults"), draws(1, "faults"));
        assert_ne!(draws(1, "faults"), draws(2, "faults"));
        assert_ne!(draws(1, "faults"), draws(1, "cluster"));
    }

    #[test]
    fn weights_of_zero_are_never_picked() {
        let mut draw = Draw::new(1, "weights");
        let choices = [("never", 0), ("often", 9), ("seldom", 1)];
        let picked: Vec<&str> = (0..1000).filter_map(|_| draw.weighted(&choices).copied()).collect();
        assert_eq!(picked.len(), 1000);
        assert!(!picked.contains(&"never"));
        let often = picked.iter().filter(|name| **name == "often").count();
        assert!((800..980).contains(&often), "{often}");
        assert_eq!(draw.weighted(&[("none", 0)]), None);
    }
}
