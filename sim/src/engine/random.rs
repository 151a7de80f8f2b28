//! Every draw of a simulated world. A stream is keyed by (seed, domain, two ids, purpose), and a
//! value by its ordinal in the stream: one more draw in one place shifts no other place.

use rand_chacha::ChaCha8Rng;
use rand_core::{Rng, SeedableRng};

use super::hash::Mixer;

/// One named stream of draws.
#[derive(Clone, Debug)]
pub(super) struct Stream(ChaCha8Rng);

impl Stream {
    pub fn new(seed: u64, domain: &str, first: u64, second: u64, purpose: &str) -> Self {
        let mut mixer = Mixer::new(seed);
        mixer.fold_bytes(domain.as_bytes());
        mixer.fold(first);
        mixer.fold(second);
        mixer.fold_bytes(purpose.as_bytes());
        let mut key = [0; 32];
        key[..16].copy_from_slice(&mixer.value().to_le_bytes());
        mixer.fold(1);
        key[16..].copy_from_slice(&mixer.value().to_le_bytes());
        Stream(ChaCha8Rng::from_seed(key))
    }

    pub fn next(&mut self) -> u64 {
        self.0.next_u64()
    }

    /// A value in `0..bound`; 0 if `bound` is 0.
    pub fn below(&mut self, bound: u64) -> u64 {
        ((u128::from(self.next()) * u128::from(bound)) >> 64) as u64
    }

    /// A value in `0..=most`, without a draw if `most` is 0.
    pub fn up_to(&mut self, most: u64) -> u64 {
        if most == 0 { 0 } else { self.below(most.saturating_add(1)) }
    }

    /// True in `per_million` of a million cases; draws nothing where the answer is certain.
    pub fn happens(&mut self, per_million: u32) -> bool {
        match per_million {
            0 => false,
            1_000_000.. => true,
            _ => self.below(1_000_000) < u64::from(per_million),
        }
    }

    pub fn fill(&mut self, bytes: &mut [u8]) {
        self.0.fill_bytes(bytes);
    }
}

struct Named {
    purpose: &'static str,
    tag: u64,
    stream: Stream,
}

/// The streams of one incarnation of a node, made when they are first drawn from. There are few,
/// so that a scan is the fastest look-up.
#[derive(Default)]
pub(super) struct NamedStreams(Vec<Named>);

impl NamedStreams {
    /// A tag of the purpose's content, and the next value of its stream.
    pub fn next(&mut self, purpose: &'static str, make: impl FnOnce() -> Stream) -> (u64, u64) {
        let at = self.0.iter().position(|named| std::ptr::eq(named.purpose, purpose) || named.purpose == purpose);
        let at = at.unwrap_or_else(|| {
            self.0.push(Named { purpose, tag: Mixer::of_text(purpose), stream: make() });
            self.0.len() - 1
        });
        let named = &mut self.0[at];
        (named.tag, named.stream.next())
    }

    pub fn clear(&mut self) {
        self.0.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn streams_differ_in_every_part_of_their_key() {
        let first = |seed, domain, a, b, purpose| Stream::new(seed, domain, a, b, purpose).next();
        let values = [
            first(1, "node", 1, 1, "x"),
            first(2, "node", 1, 1, "x"),
            first(1, "link", 1, 1, "x"),
            first(1, "node", 2, 1, "x"),
            first(1, "node", 1, 2, "x"),
            first(1, "node", 1, 1, "y"),
        ];
        for (at, value) in values.iter().enumerate() {
            assert!(!values[..at].contains(value));
        }
        assert_eq!(first(1, "node", 1, 1, "x"), values[0]);
    }

    #[test]
    fn one_more_draw_for_one_purpose_shifts_no_other() {
        let make = |purpose: &'static str| move || Stream::new(1, "node", 0, 1, purpose);
        let (mut plain, mut disturbed) = (NamedStreams::default(), NamedStreams::default());
        disturbed.next("other", make("other"));
        let draw = |streams: &mut NamedStreams| [(); 3].map(|()| streams.next("election", make("election")));
        assert_eq!(draw(&mut plain), draw(&mut disturbed));
    }

    #[test]
    fn certain_answers_cost_no_draw() {
        let mut stream = Stream::new(1, "", 0, 0, "");
        let mut same = stream.clone();
        assert!(!stream.happens(0) && stream.happens(1_000_000) && stream.up_to(0) == 0);
        assert_eq!(stream.next(), same.next());
    }
}
